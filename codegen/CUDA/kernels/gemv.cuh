//===- gemv.cuh - products of a linear layer for a few rows ---------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// epilogue(x[rows, K] * weight[N, K]^T), for decode: reads every weight once for kRows rows. Any target, any size. Layer has
//
//   Input               float, bf16, f16 or e4m3; u8 for i8
//   Weight              float, bf16, f16, e4m3 or i8, in panels
//   kDepth              K
//   kRows               rows of x a pass takes: 1, 2, 4 or 8
//   kWarps              warps of a block, which share K
//
// A unit is one panel: 16 columns. A warp reads 512 bytes of it at once: neighbouring lanes neighbouring columns.
//
//===----------------------------------------------------------------------===//
#include "fragments.cuh"
#include "vectors.cuh"

template <class Layer, class Epilogue>
struct Gemv {
  typedef typename Layer::Input Input;
  typedef typename Layer::Weight Weight;
  typedef typename SumOf<Weight>::type Sum;
  static constexpr int kProducts = Epilogue::kProducts, kRows = Layer::kRows, kDepth = Layer::kDepth, kWarps = Layer::kWarps, kThreads = 32 * kWarps;
  static constexpr int kGroup = Panel<Weight>::kGroup, kEach = 16 / sizeof(Weight), kColumns = kEach / kGroup; // of a load: numbers, columns
  static constexpr int kLanes = 16 / kColumns, kAtOnce = 32 / kLanes;                                          // lanes of a group; groups of a warp
  static constexpr int kGroups = (kDepth + kGroup - 1) / kGroup;
  static constexpr bool kWhole = Sum(0.5f) == Sum(0); ///< sums are whole numbers
  static constexpr u32 kSharedBytes = kWarps * kRows * kProducts * 16 * sizeof(Sum);
  typedef Sum Sums[kRows][kProducts][kColumns];

  DEVICE_MEMBER static i64 units(i64) { return ColumnTiles<Epilogue, 16>::kCount; }

  /// Four neighbours of a row of bytes.
  static DEVICE_MEMBER u32 loadBytes(const u8 *row, int k) {
    if constexpr (kDepth % 4 == 0)
      return *(const u32 *)(row + k);
    u32 bytes = 0;
    UNROLL
    for (int i = 0; i < 4; ++i)
      bytes |= k + i < kDepth ? u32(row[k + i]) << 8 * i : 0;
    return bytes;
  }
  static DEVICE_MEMBER void multiplyBytes(const u8 *x, i64 rowsLeft, const u8 *const (&panels)[kProducts], int group, Sums &sums) {
    Vector128 w[kProducts];
    UNROLL
    for (int p = 0; p < kProducts; ++p)
      w[p] = loadStream128(panels[p] + (i64(group) * kLanes + laneId() % kLanes) * 16);
    UNROLL
    for (int r = 0; r < kRows; ++r) {
      u32 bytes = r < rowsLeft ? loadBytes(x + r * i64(kDepth), group * kGroup) : 0;
      UNROLL
      for (int p = 0; p < kProducts; ++p)
        UNROLL
        for (int c = 0; c < kColumns; ++c)
          sums[r][p][c] = dotBytes(bytes, w[p].word[c], sums[r][p][c]);
    }
  }

  /// kGroup neighbours of a row; those beyond K are zero.
  template <class T>
  static DEVICE_MEMBER void loadValues(const T *row, int k, bool inside, float (&values)[kGroup]) {
    UNROLL
    for (int g = 0; g < kGroup; ++g)
      values[g] = inside && (kDepth % kGroup == 0 || k + g < kDepth) ? convert(row[k + g]) : 0.0f;
  }
  static DEVICE_MEMBER void loadValues(const e4m3 *row, int k, bool inside, float (&values)[kGroup]) {
    unpackWord(e4m3(), inside ? loadBytes((const u8 *)row, k) : 0, values);
  }

  /// One load of each product times the rows' values.
  static DEVICE_MEMBER void multiplyGroup(const Input *x, i64 rowsLeft, const u8 *const (&panels)[kProducts], int group, Sums &sums) {
    float w[kProducts][kEach];
    UNROLL
    for (int p = 0; p < kProducts; ++p)
      unpack(Weight(), loadStream128(panels[p] + (i64(group) * kLanes + laneId() % kLanes) * 16), w[p]);
    UNROLL
    for (int r = 0; r < kRows; ++r) {
      float values[kGroup];
      loadValues(x + r * i64(kDepth), group * kGroup, r < rowsLeft, values);
      UNROLL
      for (int g = 0; g < kGroup; ++g)
        UNROLL
        for (int p = 0; p < kProducts; ++p)
          UNROLL
          for (int c = 0; c < kColumns; ++c)
            sums[r][p][c] += values[g] * w[p][c * kGroup + g];
    }
  }

  /// Sums of all warps for one column of one row, of each product.
  static DEVICE_MEMBER void storeRows(const Sum *parts, Tile tile, i64 row, i64 rowsLeft, const Epilogue &epilogue) {
    for (u32 i = threadIdx.x; i < kRows * 16; i += kThreads) {
      Sum products[kProducts][1];
      UNROLL
      for (int p = 0; p < kProducts; ++p) {
        products[p][0] = 0;
        UNROLL
        for (int warp = 0; warp < kWarps; ++warp)
          products[p][0] += parts[((warp * kRows + i / 16) * kProducts + p) * 16 + i % 16];
      }
      if (i / 16 < rowsLeft)
        storeColumns(epilogue, tile.segment, row + i / 16, tile.column + i % 16, products);
    }
  }

  /// One panel's products with up to kRows rows at x, which are the results' rows from `row` on.
  static DEVICE_MEMBER void multiplyPanel(Sum *parts, const Input *x, i64 rowsLeft, const u8 *const (&panels)[kProducts], Tile tile, i64 row,
                                          const Epilogue &epilogue) {
    int warp = threadIdx.x / 32, first = warp * kAtOnce + laneId() / kLanes;
    Sums sums = {};
    UNROLL_BY(4)
    for (int group = first; group < kGroups; group += kWarps * kAtOnce)
      if constexpr (kWhole)
        multiplyBytes(x, rowsLeft, panels, group, sums);
      else
        multiplyGroup(x, rowsLeft, panels, group, sums);
    UNROLL
    for (int r = 0; r < kRows; ++r)
      UNROLL
      for (int p = 0; p < kProducts; ++p)
        UNROLL
        for (int c = 0; c < kColumns; ++c) {
          UNROLL
          for (u32 mask = 16; mask >= kLanes; mask /= 2)
            sums[r][p][c] += shuffleXor(sums[r][p][c], mask);
          if (laneId() < kLanes)
            parts[((warp * kRows + r) * kProducts + p) * 16 + laneId() * kColumns + c] = sums[r][p][c];
        }
    blockSync();
    storeRows(parts, tile, row, rowsLeft, epilogue);
    blockSync();
  }

  static DEVICE_MEMBER void findPanels(Tile tile, const Epilogue &epilogue, const u8 *(&panels)[kProducts]) {
    UNROLL
    for (int p = 0; p < kProducts; ++p)
      panels[p] = (const u8 *)epilogue.weight(tile.segment, p) + tile.column / 16 * kPanelBytes<Weight, kDepth>;
  }

  /// Weights do not depend on the kernels in front: what the device reads in the microseconds between two kernels comes to L2 before x is there.
  static DEVICE_MEMBER void prefetchFirst(const Epilogue &epilogue) {
    constexpr u32 kMost = 65536 / kProducts, kBytes = kPanelBytes<Weight, kDepth> < kMost ? kPanelBytes<Weight, kDepth> : kMost;
    const u8 *panels[kProducts];
    findPanels(tileOfUnit<Epilogue, 1, 16>(blockIdx.x, 1), epilogue, panels);
    UNROLL
    for (int p = 0; p < kProducts; ++p)
      prefetchBulk(panels[p], kBytes / 16 * 16);
  }

  static DEVICE_MEMBER void run(unsigned char *smem, const Input *x, i64 rows, i64 units, const Epilogue &epilogue) {
    Sum *parts = (Sum *)smem;
    if (threadIdx.x == 0 && blockIdx.x < units)
      prefetchFirst(epilogue);
    waitForDependencies();
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
      Tile tile = tileOfUnit<Epilogue, 1, 16>(unit, 1);
      const u8 *panels[kProducts];
      findPanels(tile, epilogue, panels);
      for (i64 row = 0; row < rows; row += kRows)
        multiplyPanel(parts, x + row * kDepth, rows - row, panels, tile, row, epilogue);
    }
  }
};
