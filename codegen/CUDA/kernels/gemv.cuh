//===- gemv.cuh - products of a linear layer for a few rows ------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// output = epilogue(x[rows, K] * weight[N, K]^T), for decode: reads every weight once for LLMOPT_ROWS rows. Any target, any size.
//
//   LLMOPT_INPUT_TYPE, LLMOPT_WEIGHT_TYPE  float, bf16 or f16; weights also i8, whose scale the epilogue applies
//   LLMOPT_DEPTH, LLMOPT_COLUMNS           K, N; rows of weights are padded to 16 bytes
//   LLMOPT_PRODUCTS       1, or 2: two weight matrices (gate and up) meet in the epilogue
//   LLMOPT_ROWS           rows of x a pass takes: 1, 2, 4 or 8
//   LLMOPT_TILE_N         columns of a warp: 1, 2 or 4
//   LLMOPT_WARPS          warps of a block
// Parameters: x, weight (two of them if LLMOPT_PRODUCTS is 2), rows, units, epilogue.
// Threads: 32 * WARPS. Shared memory: none. A unit is WARPS * TILE_N columns.
//
//===----------------------------------------------------------------------===//
#include "fragments.cuh"
#include "vectors.cuh"

struct Gemv {
  typedef LLMOPT_INPUT_TYPE Input;
  typedef LLMOPT_WEIGHT_TYPE Weight;
  static constexpr int kProducts = LLMOPT_PRODUCTS, kRows = LLMOPT_ROWS, kTileN = LLMOPT_TILE_N, kDepth = LLMOPT_DEPTH, kColumns = LLMOPT_COLUMNS;
  static constexpr int kEach = 16 / sizeof(Weight);  // weights of a load
  static constexpr int kStride = (kDepth + kEach - 1) / kEach * kEach;

  static DEVICE_MEMBER void multiplyColumns(const Input *x, const Weight *const (&weights)[kProducts], i64 row, i64 rowsLeft, i64 column,
                                            float (&sums)[kRows][kProducts][kTileN]) {
    for (i64 k = laneId() * kEach; k < kDepth; k += 32 * kEach) {
      float w[kProducts][kTileN][kEach];
      UNROLL
      for (int p = 0; p < kProducts; ++p)
        UNROLL
        for (int c = 0; c < kTileN; ++c) {
          i64 at = column + c < kColumns ? column + c : kColumns - 1; // an extra column is computed and not stored
          unpack(Weight(), loadStream128(weights[p] + at * kStride + k), w[p][c]);
        }
      UNROLL
      for (int r = 0; r < kRows; ++r) {
        float values[kEach];

        if (r < rowsLeft)
          loadVector<kDepth % kEach == 0>(x + (row + r) * kDepth + k, kDepth - k, values);
        else
          UNROLL
          for (float &value : values)
            value = 0;
        UNROLL
        for (int p = 0; p < kProducts; ++p)
          UNROLL
          for (int c = 0; c < kTileN; ++c)
            UNROLL
            for (int e = 0; e < kEach; ++e)
              if (kDepth % kEach == 0 || k + e < kDepth)
                sums[r][p][c] += values[e] * w[p][c][e];
      }
    }
  }

  static DEVICE_MEMBER void run(const Input *x, const Weight *const (&weights)[kProducts], i64 rows, i64 units, const Epilogue &epilogue) {
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
      i64 column = (unit * LLMOPT_WARPS + threadIdx.x / 32) * kTileN;
      if (column >= kColumns)
        continue; // the whole warp
      for (i64 row = 0; row < rows; row += kRows) {
        float sums[kRows][kProducts][kTileN] = {};
        multiplyColumns(x, weights, row, rows - row, column, sums);
        float mine[kProducts][kTileN]; // lane r stores row r
        UNROLL
        for (int r = 0; r < kRows; ++r)
          UNROLL
          for (int p = 0; p < kProducts; ++p)
            UNROLL
            for (int c = 0; c < kTileN; ++c) {
              float sum = sums[r][p][c];
              UNROLL
              for (u32 mask = 16; mask; mask /= 2)
                sum += shuffleXor(sum, mask);
              if (r == 0 || laneId() == u32(r))
                mine[p][c] = sum;
            }
        if (laneId() < kRows && row + laneId() < rows)
          storeColumns<kColumns>(epilogue, row + laneId(), column, mine);
      }
    }
  }
};

extern "C" GLOBAL void LAUNCH_BOUNDS(32 * LLMOPT_WARPS)
    LLMOPT_ENTRY(const LLMOPT_INPUT_TYPE *x, LLMOPT_WEIGHT_PARAMETERS(LLMOPT_WEIGHT_TYPE), i64 rows, i64 units, GRID_CONSTANT const Epilogue epilogue) {
  const LLMOPT_WEIGHT_TYPE *const weights[] = {LLMOPT_WEIGHT_LIST};
  waitForDependencies();
  Gemv::run(x, weights, rows, units, epilogue);
}
LLMOPT_EXPORT(LLMOPT_ENTRY)
