//===- gemv_quantized.cuh - a few rows times weights of 4 and 8 bits ------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// gemv.cuh for the weights of quantized.cuh, on tensor cores (sm_80 and later; any size). x stays as exact as 16 bits are: each number is split into
// two of Weight, the nearest and what it leaves. Up to 8 rows the two halves share a product of 16 rows. Layer as in quantized.cuh, and
//
//   Input               float
//   kRows               rows of x a pass takes: 8 or 16
//   kWarps              warps of a block, which share K
//   kAbreast            panels of 16 columns that a unit is, which share what is read of x and made of it
//
// A warp reads 512 bytes of a panel at once.
//
//===----------------------------------------------------------------------===//
#include "quantized.cuh" // a unit includes gemv.cuh before

template <class Layer, class Epilogue>
struct GemvQuantized : Gemv<Layer, Epilogue> {
  typedef Gemv<Layer, Epilogue> Base;
  typedef QuantizedPanel<Layer> Panels;
  typedef typename Layer::Weight Weight;
  static constexpr int kProducts = Epilogue::kProducts, kRows = Layer::kRows, kDepth = Layer::kDepth, kWarps = Layer::kWarps;
  static constexpr int kAbreast = Layer::kAbreast, kStreams = kAbreast * kProducts; // panel by panel, each of all products
  static constexpr int kFlight = 4 * kAbreast, kAhead = kStreams * Panels::kLoads < kFlight ? kFlight / (kStreams * Panels::kLoads) : 1; // loads, pieces at once
  static constexpr u32 kSharedBytes = kAbreast * Base::kSharedBytes;
  static_assert(kRows == 8 || kRows == 16);
  typedef float Sums[kStreams][2][4];

  DEVICE_MEMBER static i64 units(i64) { return ColumnTiles<Epilogue, 16 * kAbreast>::kCount; }

  static DEVICE_MEMBER float lowOf(bf16, u32 pair) { return floatOf(pair << 16); }
  static DEVICE_MEMBER float highOf(bf16, u32 pair) { return floatOf(pair & 0xffff0000u); }
  static DEVICE_MEMBER float lowOf(f16, u32 pair) { return lowF16(pair); }
  static DEVICE_MEMBER float highOf(f16, u32 pair) { return highF16(pair); }

  /// Two numbers as two of Weight each.
  static DEVICE_MEMBER void split(float a, float b, u32 &nearest, u32 &rest) {
    nearest = packPair(Weight(), a, b);
    rest = packPair(Weight(), a - lowOf(Weight(), nearest), b - highOf(Weight(), nearest));
  }
  static DEVICE_MEMBER void loadRow(const float *x, i64 row, i64 rowsLeft, int k, float (&values)[4]) {
    i64 left = row < rowsLeft ? kDepth - k : 0;
    if (kDepth % 4 == 0 && left > 0)
      loadVector<true>(x + row * kDepth + k, left, values);
    else
      loadVector<false>(x + row * kDepth + k, left, values);
  }

  /// A[16, 16 inputs] of x and of what rounding left of it. Up to 8 rows the second half of `nearest` is what it left of the first.
  static DEVICE_MEMBER void inputs(const float *x, i64 rowsLeft, int k, u32 (&nearest)[4], u32 (&rest)[4]) {
    UNROLL
    for (int half = 0; half < kRows / 8; ++half) {
      float values[4];
      loadRow(x, laneId() / 4 + half * 8, rowsLeft, k + laneId() % 4 * 4, values);
      UNROLL
      for (int i = 0; i < 2; ++i)
        split(values[2 * i], values[2 * i + 1], nearest[2 * i + half], kRows == 8 ? nearest[2 * i + 1] : rest[2 * i + half]);
    }
  }

  static DEVICE_MEMBER void multiplyPiece(const float *x, i64 rowsLeft, const u8 *const (&panels)[kStreams], int piece, const typename Panels::Codes (&codes)[kStreams],
                                          Sums &sums) {
    Sums block = {};
    u32 zeros[kStreams][2];
    UNROLL
    for (int step = 0; step < 4; ++step) {
      u32 nearest[4], rest[4];
      inputs(x, rowsLeft, piece * 64 + step * 16, nearest, rest);
      UNROLL
      for (int p = 0; p < kStreams; ++p) {
        if (step % Panels::kStepsOfGroup == 0)
          Panels::zeros(panels[p], Panels::groupOf(piece, step), zeros[p]);
        u32 weights[4];
        Panels::fragment(codes[p], step, zeros[p], weights);
        UNROLL
        for (int half = 0; half < 2; ++half) {
          multiply(Weight(), block[p][half], nearest, weights + 2 * half);
          if constexpr (kRows == 16)
            multiply(Weight(), block[p][half], rest, weights + 2 * half);
        }
        if ((step + 1) % Panels::kStepsOfGroup == 0) {
          float scales[2][2];
          Panels::scales(panels[p], Panels::groupOf(piece, step), scales);
          UNROLL
          for (int half = 0; half < 2; ++half)
            addScaled(sums[p][half], block[p][half], scales[half]);
        }
      }
    }
  }

  static DEVICE_MEMBER void run(unsigned char *smem, const float *x, i64 rows, i64 units, const Epilogue &epilogue) {
    float *parts = (float *)smem;
    int warp = threadIdx.x / 32;
    waitForDependencies();
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
      Tile tile = tileOfUnit<Epilogue, 1, 16 * kAbreast>(unit, 1);
      const u8 *panels[kStreams];
      UNROLL
      for (int p = 0; p < kStreams; ++p) {
        i64 column = tile.column + p / kProducts * 16;
        panels[p] = (const u8 *)epilogue.weight(tile.segment, p % kProducts) + (p < kProducts || column < columnsOf<Epilogue>(tile.segment) ? column : tile.column) / 16 * Panels::kBytes;
      }
      for (i64 row = 0; row < rows; row += kRows) {
        Sums sums = {};
        for (int first = warp; first < Panels::kPieces; first += kWarps * kAhead) {
          typename Panels::Codes codes[kAhead][kStreams];
          UNROLL
          for (int i = 0; i < kAhead; ++i)
            UNROLL
            for (int p = 0; p < kStreams; ++p)
              if (first + i * kWarps < Panels::kPieces)
                codes[i][p] = Panels::load(panels[p], first + i * kWarps);
          UNROLL
          for (int i = 0; i < kAhead; ++i)
            if (first + i * kWarps < Panels::kPieces)
              multiplyPiece(x + row * kDepth, rows - row, panels, first + i * kWarps, codes[i], sums);
        }
        UNROLL
        for (int p = 0; p < kStreams; ++p)
          UNROLL
          for (int i = 0; i < 8; ++i) { // halves of the columns, halves of the rows, neighbours
            float sum = sums[p][i / 4][i % 4];
            if (kRows == 8)
              sum += sums[p][i / 4][i % 2 + 2];
            if (kRows == 16 || i % 4 < 2)
              parts[(((p / kProducts * kWarps + warp) * kRows + laneId() / 4 + i % 4 / 2 * 8) * kProducts + p % kProducts) * 16 + i / 4 * 8 + laneId() % 4 * 2 + i % 2] = sum;
          }
        blockSync();
        UNROLL
        for (int panel = 0; panel < kAbreast; ++panel)
          if (Tile own{tile.row, tile.column + panel * 16, tile.segment}; panel == 0 || own.column < columnsOf<Epilogue>(tile.segment))
            Base::storeRows(parts + panel * kWarps * kRows * kProducts * 16, own, row, rows - row, epilogue);
        blockSync();
      }
    }
  }
};
