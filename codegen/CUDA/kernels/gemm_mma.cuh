//===- gemm_mma.cuh - products of a linear layer with mma.sync ---------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// output = epilogue(x[rows, K] * weight[N, K]^T), for prompts; sm_80 and later, e4m3 from sm_89.
//
//   LLMOPT_INPUT_TYPE     bf16, f16, e4m3 or i8; of x and weights. A row of both is a multiple of 16 bytes, and they begin at multiples of 16
//   LLMOPT_DEPTH, LLMOPT_COLUMNS           K, N
//   LLMOPT_PRODUCTS       1, or 2: two weight matrices (gate and up) meet in the epilogue
//   LLMOPT_TILE_M, LLMOPT_TILE_N, LLMOPT_STAGES, LLMOPT_WARPS_M, LLMOPT_WARPS_N
//                         a warp has TILE_M / WARPS_M rows (x 16) and TILE_N / WARPS_N columns (x 32)
// Parameters: x, weight (two of them if LLMOPT_PRODUCTS is 2), rows, units, epilogue.
// Threads: 32 * WARPS_M * WARPS_N. Shared memory: STAGES * (TILE_M + PRODUCTS * TILE_N) * 128. A unit is one tile.
//
//===----------------------------------------------------------------------===//
#include "fragments.cuh"

struct GemmMma {
  typedef LLMOPT_INPUT_TYPE Input;
  typedef SumOf<Input>::type Sum;
  static constexpr int kTileM = LLMOPT_TILE_M, kTileN = LLMOPT_TILE_N, kStages = LLMOPT_STAGES, kProducts = LLMOPT_PRODUCTS;
  static constexpr int kColumns = LLMOPT_COLUMNS, kThreads = 32 * LLMOPT_WARPS_M * LLMOPT_WARPS_N;
  static constexpr u32 kRowBytes = LLMOPT_DEPTH * sizeof(Input), kSlices = (kRowBytes + 127) / 128;
  static constexpr u32 kStageBytes = (kTileM + kProducts * kTileN) * 128;
  static constexpr int kWarpM = kTileM / LLMOPT_WARPS_M, kWarpN = kTileN / LLMOPT_WARPS_N, kBlocksM = kWarpM / 16, kBlocksN = kWarpN / 8;
  static_assert(kRowBytes % 16 == 0 && kWarpM % 16 == 0 && kWarpN % 32 == 0 && kStages >= 2);

  Sum sums[kProducts][kBlocksM][kBlocksN][4];
  u32 warpRow, warpColumn;

  DEVICE_MEMBER void multiplySlice(u32 stage) {
    u32 lane = laneId();
    UNROLL
    for (int step = 0; step < 4; ++step) { // 32 bytes of K each
      u32 a[kBlocksM][4];
      UNROLL
      for (int i = 0; i < kBlocksM; ++i)
        loadMatrix4(a[i], chunkAddress(stage, warpRow + i * 16 + lane % 16, step * 2 + lane / 16));
      UNROLL
      for (int p = 0; p < kProducts; ++p)
        UNROLL
        for (int j = 0; j < kBlocksN; j += 2) {
          u32 b[4]; // of two blocks of 8 columns
          u32 tile = stage + (kTileM + p * kTileN) * 128;
          loadMatrix4(b, chunkAddress(tile, warpColumn + j * 8 + lane % 8 + lane / 16 * 8, step * 2 + lane / 8 % 2));
          UNROLL
          for (int i = 0; i < kBlocksM; ++i) {
            multiply(Input(), sums[p][i][j], a[i], b);
            multiply(Input(), sums[p][i][j + 1], a[i], b + 2);
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
          float products[kProducts][8];
          UNROLL
          for (int p = 0; p < kProducts; ++p) {
            float blocks[4][2];
            UNROLL
            for (int b = 0; b < 4; ++b)
              UNROLL
              for (int e = 0; e < 2; ++e)
                blocks[b][e] = float(sums[p][i][j + b][half * 2 + e]);
            gatherColumns(blocks, products[p]);
          }
          i64 row = tile.row + warpRow + i * 16 + laneId() / 4 + half * 8;
          if (row < rows)
            storeColumns<kColumns>(epilogue, row, tile.column + warpColumn + j * 8 + laneId() % 4 * 8, products);
        }
  }

  DEVICE_MEMBER void run(u32 ring, const Input *x, const Input *const (&weights)[kProducts], i64 rows, i64 units, const Epilogue &epilogue) {
    u32 warp = threadIdx.x / 32;
    warpRow = warp % LLMOPT_WARPS_M * kWarpM;
    warpColumn = warp / LLMOPT_WARPS_M * kWarpN;
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
      Tile tile = tileOfUnit<kTileM, kTileN, kColumns>(unit, rows);
      auto load = [&](u32 slice) INLINE_LAMBDA {
        u32 stage = ring + slice % kStages * kStageBytes;
        if (slice < kSlices) {
          copyTile<kTileM, kThreads>(stage, (const u8 *)x + tile.row * kRowBytes, kRowBytes, rows - tile.row, slice * 128, kRowBytes);
          UNROLL
          for (int p = 0; p < kProducts; ++p)
            copyTile<kTileN, kThreads>(stage + (kTileM + p * kTileN) * 128, (const u8 *)weights[p] + tile.column * kRowBytes, kRowBytes,
                                       kColumns - tile.column, slice * 128, kRowBytes);
        }
        copyAsyncCommit(); // empty groups at the end keep the count
      };
      UNROLL
      for (auto &product : sums)
        UNROLL
        for (auto &row : product)
          UNROLL
          for (auto &block : row)
            UNROLL
            for (Sum &sum : block)
              sum = 0;
      for (u32 slice = 0; slice < kStages - 1; ++slice)
        load(slice);
      for (u32 slice = 0; slice < kSlices; ++slice) {
        copyAsyncWait<kStages - 2>();
        blockSync(); // the slice is there for all, and nobody reads the stage that is filled next
        load(slice + kStages - 1);
        multiplySlice(ring + slice % kStages * kStageBytes);
      }
      copyAsyncWait<0>();
      blockSync();
      storeTile(tile, rows, epilogue);
    }
  }
};

extern "C" GLOBAL void LAUNCH_BOUNDS(GemmMma::kThreads)
    LLMOPT_ENTRY(const LLMOPT_INPUT_TYPE *x, LLMOPT_WEIGHT_PARAMETERS(LLMOPT_INPUT_TYPE), i64 rows, i64 units, GRID_CONSTANT const Epilogue epilogue) {
  const LLMOPT_INPUT_TYPE *const weights[] = {LLMOPT_WEIGHT_LIST};
  SHARED_MEMORY(smem);
  waitForDependencies();
  GemmMma().run(sharedAddress(smem), x, weights, rows, units, epilogue);
}
LLMOPT_EXPORT(LLMOPT_ENTRY)
