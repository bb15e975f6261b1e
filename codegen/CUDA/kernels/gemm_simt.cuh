//===- gemm_simt.cuh - products of a linear layer without tensor cores ----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// output = epilogue(x[rows, K] * weight[N, K]^T), for prompts in f32 and for rows that are not a multiple of 16 bytes. Any target, any size.
//
//   LLMOPT_INPUT_TYPE, LLMOPT_WEIGHT_TYPE  float, bf16 or f16
//   LLMOPT_DEPTH, LLMOPT_COLUMNS           K, N; rows of weights are padded to 16 bytes
//   LLMOPT_PRODUCTS       1, or 2: two weight matrices (gate and up) meet in the epilogue
// Parameters: x, weight (two of them if LLMOPT_PRODUCTS is 2), rows, units, epilogue.
// Threads: 256. Shared memory: none but static. A unit is a tile of 64 by 64.
//
//===----------------------------------------------------------------------===//
#include "fragments.cuh"
#include "vectors.cuh"

struct GemmSimt {
  typedef LLMOPT_INPUT_TYPE Input;
  typedef LLMOPT_WEIGHT_TYPE Weight;
  static constexpr int kProducts = LLMOPT_PRODUCTS, kDepth = LLMOPT_DEPTH, kColumns = LLMOPT_COLUMNS;
  static constexpr int kTile = 64, kSlice = 16, kLine = kTile + 4; // lines of one k, padded so that storing a column does not collide
  static constexpr int kEach = 16 / sizeof(Weight), kStride = (kDepth + kEach - 1) / kEach * kEach;

  /// A slice of a matrix, transposed; thread t brings four neighbours in k.
  template <class T>
  static DEVICE_MEMBER void loadSlice(float *lines, const T *matrix, i64 stride, i64 rowsLeft, i64 k) {
    u32 row = threadIdx.x / 4, first = threadIdx.x % 4 * 4;
    UNROLL
    for (u32 e = 0; e < 4; ++e) {
      bool inside = row < rowsLeft && k + first + e < kDepth;
      lines[(first + e) * kLine + row] = inside ? convert(matrix[row * stride + k + first + e]) : 0.0f;
    }
  }

  static DEVICE_MEMBER void run(float *lines, const Input *x, const Weight *const (&weights)[kProducts], i64 rows, i64 units, const Epilogue &epilogue) {
    u32 rowOfThread = threadIdx.x / 16 * 4, columnOfThread = threadIdx.x % 16 * 4;
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
      Tile tile = tileOfUnit<kTile, kTile, kColumns>(unit, rows);
      float sums[4][kProducts][4] = {};
      for (i64 k = 0; k < kDepth; k += kSlice) {
        loadSlice(lines, x + tile.row * kDepth, kDepth, rows - tile.row, k);
        UNROLL
        for (int p = 0; p < kProducts; ++p)
          loadSlice(lines + (1 + p) * kSlice * kLine, weights[p] + tile.column * kStride, kStride, kColumns - tile.column, k);
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
          storeColumns<kColumns>(epilogue, tile.row + rowOfThread + r, tile.column + columnOfThread, sums[r]);
    }
  }
};

extern "C" GLOBAL void LAUNCH_BOUNDS(256)
    LLMOPT_ENTRY(const LLMOPT_INPUT_TYPE *x, LLMOPT_WEIGHT_PARAMETERS(LLMOPT_WEIGHT_TYPE), i64 rows, i64 units, GRID_CONSTANT const Epilogue epilogue) {
  const LLMOPT_WEIGHT_TYPE *const weights[] = {LLMOPT_WEIGHT_LIST};
  STATIC_SHARED(float, lines, (1 + LLMOPT_PRODUCTS) * GemmSimt::kSlice * GemmSimt::kLine);
  waitForDependencies();
  GemmSimt::run(lines, x, weights, rows, units, epilogue);
}
LLMOPT_EXPORT(LLMOPT_ENTRY)
