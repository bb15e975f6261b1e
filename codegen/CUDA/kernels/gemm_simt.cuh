//===- gemm_simt.cuh - products of a linear layer without tensor cores ----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// epilogue(x[rows, K] * weight[N, K]^T), for prompts in f32 and for rows of x that are not a multiple of 16 bytes. Any target, any size.
// Layer has Input and Weight (float, bf16 or f16; weights in panels) and kDepth (K). A unit is a tile of 64 by 64.
//
//===----------------------------------------------------------------------===//
#include "fragments.cuh"
#include "vectors.cuh"

template <class Layer, class Epilogue>
struct GemmSimt {
  typedef typename Layer::Input Input;
  typedef typename Layer::Weight Weight;
  static constexpr int kProducts = Epilogue::kProducts, kDepth = Layer::kDepth, kThreads = 256;
  static constexpr int kTile = 64, kSlice = 16, kLine = kTile + 4; // lines of one k, padded so that storing a column does not collide
  static constexpr u32 kSharedBytes = (1 + kProducts) * kSlice * kLine * sizeof(float);

  DEVICE_MEMBER static i64 units(i64 rows) { return (rows + kTile - 1) / kTile * ColumnTiles<Epilogue, kTile>::kCount; }

  /// A slice of x, transposed; a thread brings four neighbours in k.
  static DEVICE_MEMBER void loadInput(float *lines, const Input *x, i64 rowsLeft, i64 k) {
    u32 row = threadIdx.x / 4, first = threadIdx.x % 4 * 4;
    UNROLL
    for (u32 e = 0; e < 4; ++e) {
      bool inside = row < rowsLeft && k + first + e < kDepth;
      lines[(first + e) * kLine + row] = inside ? convert(x[row * kDepth + k + first + e]) : 0.0f;
    }
  }
  /// A slice of weights; a thread brings four neighbouring columns.
  static DEVICE_MEMBER void loadWeight(float *lines, const Weight *panels, i64 columnsLeft, i64 k) {
    constexpr int kGroup = Panel<Weight>::kGroup;
    u32 row = threadIdx.x / 16, column = threadIdx.x % 16 * 4;
    const Weight *panel = panels + column / 16 * (kPanelBytes<Weight, kDepth> / sizeof(Weight)) + (k + row) / kGroup * 16 * kGroup + (k + row) % kGroup;
    bool inside = column / 16 * 16 < columnsLeft && k + row < kDepth; // panels are whole
    UNROLL
    for (u32 e = 0; e < 4; ++e)
      lines[row * kLine + column + e] = inside ? convert(panel[(column % 16 + e) * kGroup]) : 0.0f;
  }

  static DEVICE_MEMBER void run(unsigned char *smem, const Input *x, i64 rows, i64 units, const Epilogue &epilogue) {
    float *lines = (float *)smem;
    u32 rowOfThread = threadIdx.x / 16 * 4, columnOfThread = threadIdx.x % 16 * 4;
    waitForDependencies();
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
      Tile tile = tileOfUnit<Epilogue, kTile, kTile>(unit, rows);
      float sums[4][kProducts][4] = {};
      for (i64 k = 0; k < kDepth; k += kSlice) {
        loadInput(lines, x + tile.row * kDepth, rows - tile.row, k);
        UNROLL
        for (int p = 0; p < kProducts; ++p)
          loadWeight(lines + (1 + p) * kSlice * kLine,
                     (const Weight *)epilogue.weight(tile.segment, p) + tile.column / 16 * (kPanelBytes<Weight, kDepth> / sizeof(Weight)),
                     columnsOf<Epilogue>(tile.segment) - tile.column, k);
        blockSync();
        UNROLL
        for (int i = 0; i < kSlice; ++i)
          UNROLL
          for (int r = 0; r < 4; ++r)
            UNROLL
            for (int p = 0; p < kProducts; ++p)
              UNROLL
              for (int c = 0; c < 4; ++c)
                sums[r][p][c] += lines[i * kLine + rowOfThread + r] * lines[((1 + p) * kSlice + i) * kLine + columnOfThread + c];
        blockSync();
      }
      UNROLL
      for (int r = 0; r < 4; ++r)
        if (tile.row + rowOfThread + r < rows)
          storeColumns(epilogue, tile.segment, tile.row + rowOfThread + r, tile.column + columnOfThread, sums[r]);
    }
  }
};
