//===- gemm_mma.cuh - products of a linear layer with mma.sync ------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// epilogue(x[rows, K] * weight[N, K]^T), for prompts; sm_80 and later. Layer has
//
//   Weight              bf16, f16, e4m3, i8, or float: three products of tf32. A row of x and of weights is a multiple of 16 bytes; they begin at multiples of 16
//   Input               the same; u8 for i8; or float: rounded to Weight (bf16, f16) on the way
//   kPanels             weights lie in panels; otherwise as rows
//   kDepth              K
//   kTileM, kTileN, kStages, kWarpsM, kWarpsN    a warp has kTileM / kWarpsM rows (x 16) and kTileN / kWarpsN columns (x 32)
//
// A unit is one tile.
//
//===----------------------------------------------------------------------===//
#include "fragments.cuh"

template <class Layer, class Epilogue>
struct GemmMma {
  typedef typename Layer::Input Input;
  typedef typename Layer::Weight Weight;
  typedef typename MmaOf<typename ProductOf<Input, Weight>::type>::type Product;
  typedef typename SumOf<Weight>::type Sum;
  static constexpr int kTileM = Layer::kTileM, kTileN = Layer::kTileN, kStages = Layer::kStages, kProducts = Epilogue::kProducts;
  static constexpr int kThreads = 32 * Layer::kWarpsM * Layer::kWarpsN;
  static constexpr u32 kRowBytes = Layer::kDepth * sizeof(Weight), kInputBytes = Layer::kDepth * sizeof(Input), kSlices = (kRowBytes + 127) / 128;
  static constexpr u32 kInputSlice = 128 * sizeof(Input) / sizeof(Weight); // bytes of a row of x that meet 128 bytes of weights
  static constexpr u32 kTileBytesA = kTileM * kInputSlice, kStageBytes = kTileBytesA + kProducts * kTileN * 128, kSharedBytes = kStages * kStageBytes;
  static constexpr int kWarpM = kTileM / Layer::kWarpsM, kWarpN = kTileN / Layer::kWarpsN, kBlocksM = kWarpM / 16, kBlocksN = kWarpN / 8;
  static_assert(kInputBytes % 16 == 0 && (Layer::kPanels || kRowBytes % 16 == 0) && kWarpM % 16 == 0 && kWarpN % 32 == 0 && kStages >= 2 && kInputSlice <= 256);

  Sum sums[kProducts][kBlocksM][kBlocksN][4];
  u32 warpRow, warpColumn;

  DEVICE_MEMBER static i64 units(i64 rows) { return (rows + kTileM - 1) / kTileM * ColumnTiles<Epilogue, kTileN>::kCount; }

  DEVICE_MEMBER void clear() {
    UNROLL
    for (auto &product : sums)
      UNROLL
      for (auto &row : product)
        UNROLL
        for (auto &block : row)
          UNROLL
          for (Sum &sum : block)
            sum = 0;
  }

  DEVICE_MEMBER void load(u32 stage, u32 slice, const Input *x, Tile tile, i64 rows, const Epilogue &epilogue) {
    copyTile<kTileM, kThreads, kInputSlice>(stage, (const u8 *)x + tile.row * kInputBytes, kInputBytes, rows - tile.row, slice * kInputSlice,
                                            kInputBytes);
    loadWeights(stage, slice, tile, epilogue);
  }

  DEVICE_MEMBER void loadWeights(u32 stage, u32 slice, Tile tile, const Epilogue &epilogue) {
    i64 columnsLeft = columnsOf<Epilogue>(tile.segment) - tile.column;
    UNROLL
    for (int p = 0; p < kProducts; ++p) {
      u32 to = stage + kTileBytesA + p * kTileN * 128;
      const u8 *weight = (const u8 *)epilogue.weight(tile.segment, p);
      if constexpr (Layer::kPanels)
        copyPanels<Weight, Layer::kDepth, kTileN, kThreads>(to, weight + tile.column / 16 * kPanelBytes<Weight, Layer::kDepth>, (columnsLeft + 15) / 16,
                                                            slice);
      else
        copyTile<kTileN, kThreads>(to, weight + tile.column * kRowBytes, kRowBytes, columnsLeft, slice * 128, kRowBytes);
    }
  }

  DEVICE_MEMBER void multiplySlice(u32 stage) {
    UNROLL_BY(2) // all four at once take too many registers for addresses
    for (int step = 0; step < 4; ++step) { // 32 bytes of K each
      u32 a[kBlocksM][4];
      UNROLL
      for (int i = 0; i < kBlocksM; ++i)
        if constexpr (sizeof(Input) == sizeof(Weight))
          loadFragment(Weight(), a[i], stage, warpRow + i * 16, step);
        else
          roundFragment(Weight(), a[i], stage, warpRow + i * 16, step);
      UNROLL
      for (int p = 0; p < kProducts; ++p)
        UNROLL
        for (int j = 0; j < kBlocksN; j += 2) {
          u32 b[4];
          u32 tile = stage + kTileBytesA + p * kTileN * 128;
          if constexpr (Layer::kPanels)
            loadPanelFragment(Weight(), b, tile + (warpColumn + j * 8) * 128, step);
          else
            loadFragmentB(b, tile, warpColumn + j * 8, step);
          UNROLL
          for (int i = 0; i < kBlocksM; ++i) {
            multiply(Product(), sums[p][i][j], a[i], b);
            multiply(Product(), sums[p][i][j + 1], a[i], b + 2);
          }
        }
    }
  }

  DEVICE_MEMBER void storeTile(Tile tile, i64 rows, const Epilogue &epilogue) {
    UNROLL
    for (int i = 0; i < kBlocksM; ++i)
      UNROLL
      for (int half = 0; half < 2; ++half)
        UNROLL
        for (int j = 0; j < kBlocksN; j += 4) {
          Sum products[kProducts][8];
          UNROLL
          for (int p = 0; p < kProducts; ++p) {
            Sum blocks[4][2];
            UNROLL
            for (int b = 0; b < 4; ++b)
              UNROLL
              for (int e = 0; e < 2; ++e)
                blocks[b][e] = sums[p][i][j + b][half * 2 + e];
            gatherColumns(blocks, products[p]);
          }
          i64 row = tile.row + warpRow + i * 16 + laneId() / 4 + half * 8;
          if (row < rows)
            storeColumns(epilogue, tile.segment, row, tile.column + warpColumn + j * 8 + laneId() % 4 * 8, products);
        }
  }

  DEVICE_MEMBER void findWarp() {
    u32 warp = threadIdx.x / 32;
    warpRow = warp % Layer::kWarpsM * kWarpM;
    warpColumn = warp / Layer::kWarpsM * kWarpN;
  }

  /// The products of a tile over slices [first, end) of K.
  DEVICE_MEMBER void multiplyTile(u32 ring, Tile tile, u32 first, u32 end, const Input *x, i64 rows, const Epilogue &epilogue) {
    multiplySlices(ring, first, end, [&](u32 stage, u32 slice) INLINE_LAMBDA { load(stage, slice, x, tile, rows, epilogue); });
  }

  /// The same of slices that loadSlice(stage, slice) begins to copy.
  template <class LoadSlice>
  DEVICE_MEMBER void multiplySlices(u32 ring, u32 first, u32 end, LoadSlice loadSlice) {
    auto loadNext = [&](u32 slice) INLINE_LAMBDA {
      if (slice < end)
        loadSlice(ring + slice % kStages * kStageBytes, slice);
      copyAsyncCommit(); // empty groups at the end keep the count
    };
    clear();
    for (u32 slice = first; slice < first + kStages - 1; ++slice)
      loadNext(slice);
    for (u32 slice = first; slice < end; ++slice) {
      copyAsyncWait<kStages - 2>();
      blockSync(); // the slice is there for all, and nobody reads the stage that is filled next
      loadNext(slice + kStages - 1);
      multiplySlice(ring + slice % kStages * kStageBytes);
    }
    copyAsyncWait<0>();
    blockSync();
  }

  DEVICE_MEMBER void run(const unsigned char *smem, const Input *x, i64 rows, i64 units, const Epilogue &epilogue) {
    u32 ring = sharedAddress(smem);
    findWarp();
    waitForDependencies();
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
      Tile tile = tileOfUnit<Epilogue, kTileM, kTileN>(unit, rows);
      multiplyTile(ring, tile, 0, kSlices, x, rows, epilogue);
      storeTile(tile, rows, epilogue);
    }
  }
};
