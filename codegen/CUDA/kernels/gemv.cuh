//===- gemv.cuh - products of a linear layer for a few rows ---------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// epilogue(x[rows, K] * weight[N, K]^T), for decode: reads every weight once for kRows rows. Any target, any size. Layer has
//
//   Input, Weight       float, bf16 or f16; weights also i8, whose scale the epilogue applies. Rows of weights are padded to 16 bytes
//   kDepth              K
//   kRows               rows of x a pass takes: 1, 2, 4 or 8
//   kTileN              columns of a warp: 1, 2 or 4
//   kWarps              warps of a block
//
// A unit is kTileN columns: one warp's.
//
//===----------------------------------------------------------------------===//
#include "fragments.cuh"
#include "vectors.cuh"

template <class Layer, class Epilogue>
struct Gemv {
  typedef typename Layer::Input Input;
  typedef typename Layer::Weight Weight;
  static constexpr int kProducts = Epilogue::kProducts, kRows = Layer::kRows, kTileN = Layer::kTileN, kDepth = Layer::kDepth;
  static constexpr int kThreads = 32 * Layer::kWarps;
  static constexpr int kEach = 16 / sizeof(Weight); // weights of a load
  static constexpr int kStride = (kDepth + kEach - 1) / kEach * kEach;
  static constexpr u32 kSharedBytes = 0;

  static i64 units(i64) { return ColumnTiles<Epilogue, kTileN>::kCount; }

  static DEVICE_MEMBER void multiplyColumns(const Input *x, i64 row, i64 rowsLeft, Tile tile, const Epilogue &epilogue,
                                            float (&sums)[kRows][kProducts][kTileN]) {
    const Weight *weights[kProducts][kTileN];
    UNROLL
    for (int p = 0; p < kProducts; ++p)
      UNROLL
      for (int c = 0; c < kTileN; ++c) {
        i64 last = columnsOf<Epilogue>(tile.segment) - 1, column = tile.column + c; // an extra column is computed and not stored
        weights[p][c] = (const Weight *)epilogue.weight(tile.segment, p) + (column < last ? column : last) * kStride;
      }
    for (i64 k = laneId() * kEach; k < kDepth; k += 32 * kEach) {
      float w[kProducts][kTileN][kEach];
      UNROLL
      for (int p = 0; p < kProducts; ++p)
        UNROLL
        for (int c = 0; c < kTileN; ++c)
          unpack(Weight(), loadStream128(weights[p][c] + k), w[p][c]);
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
              if (kDepth % kEach == 0 || k + e < kDepth) // padding may hold anything
                sums[r][p][c] += values[e] * w[p][c][e];
      }
    }
  }

  static DEVICE_MEMBER void run(unsigned char *, const Input *x, i64 rows, i64 units, const Epilogue &epilogue) {
    waitForDependencies();
    for (i64 unit = blockIdx.x * i64(Layer::kWarps) + threadIdx.x / 32; unit < units; unit += gridDim.x * i64(Layer::kWarps)) {
      Tile tile = tileOfUnit<Epilogue, 1, kTileN>(unit, 1);
      for (i64 row = 0; row < rows; row += kRows) {
        float sums[kRows][kProducts][kTileN] = {};
        multiplyColumns(x, row, rows - row, tile, epilogue, sums);
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
          storeColumns(epilogue, tile.segment, row + laneId(), tile.column, mine);
      }
    }
  }
};
