//===- fragments.cuh - pieces that the tensor-core families share ------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#pragma once

#include "primitives.cuh"

/// A tile in shared memory has rows of 128 bytes. The 16-byte chunks of a row change places with the row number, so that one chunk of eight
/// rows, which is what ldmatrix and TMA move, lies in eight different groups of banks.
DEVICE u32 chunkAddress(u32 tile, u32 row, u32 chunk) { return tile + row * 128 + ((chunk ^ (row & 7)) << 4); }

/// Starts copies of `kRows` rows' 128 bytes at byte `offset` of each row. Rows beyond rowsLeft and bytes beyond rowBytes become zero.
template <int kRows, int kThreads>
DEVICE void copyTile(u32 tile, const void *matrix, i64 strideBytes, i64 rowsLeft, u32 offset, u32 rowBytes) {
  static_assert(kRows * 8 % kThreads == 0);
  UNROLL
  for (u32 i = 0; i < kRows * 8 / kThreads; ++i) {
    u32 part = threadIdx.x + i * kThreads, row = part / 8, chunk = part % 8, byte = offset + chunk * 16;
    bool inside = row < rowsLeft && byte < rowBytes;
    copyAsync16(chunkAddress(tile, row, chunk), (const u8 *)matrix + (inside ? row * strideBytes + byte : 0), inside ? 16 : 0);
  }
}

/// Accumulators of four neighbouring blocks of 8 columns lie as two columns a lane. Afterwards each of the four lanes of a row has the 8
/// columns of one block: lane q that of block q.
DEVICE void gatherColumns(const float (&blocks)[4][2], float (&columns)[8]) {
  bool odd = laneId() & 1, high = laneId() & 2;
  float halves[2][4]; // of blocks 2 * i + odd: columns of the even lane, of the odd lane
  UNROLL
  for (int i = 0; i < 2; ++i)
    UNROLL
    for (int e = 0; e < 2; ++e) {
      float keep = odd ? blocks[2 * i + 1][e] : blocks[2 * i][e];
      float got = shuffleXor(odd ? blocks[2 * i][e] : blocks[2 * i + 1][e], 1);
      halves[i][e] = odd ? got : keep;
      halves[i][2 + e] = odd ? keep : got;
    }
  UNROLL
  for (int e = 0; e < 4; ++e) {
    float keep = high ? halves[1][e] : halves[0][e];
    float got = shuffleXor(high ? halves[0][e] : halves[1][e], 2);
    columns[e] = high ? got : keep;
    columns[4 + e] = high ? keep : got;
  }
}

/// Hands N columns of a row to the epilogue; at the right edge one by one.
template <int kColumns, int kProducts, int N, class Epilogue>
DEVICE void storeColumns(const Epilogue &epilogue, i64 row, i64 column, const float (&products)[kProducts][N]) {
  if (kColumns % N == 0 ? column < kColumns : column + N <= kColumns) {
    epilogue.template store<N>(row, column, products);
    return;
  }
  UNROLL
  for (int c = 0; c < N; ++c)
    if (column + c < kColumns) {
      float one[kProducts][1];
      UNROLL
      for (int p = 0; p < kProducts; ++p)
        one[p][0] = products[p][c];
      epilogue.template store<1>(row, column + c, one);
    }
}

/// Which tile a unit is. Tiles go down a strip of kStrip row tiles before the next column, so that neighbours in time share weights and rows in L2.
struct Tile {
  i64 row, column;
};
template <int kTileM, int kTileN, int kColumns, int kStrip = 8>
DEVICE Tile tileOfUnit(i64 unit, i64 rows) {
  constexpr i64 kTilesN = (kColumns + kTileN - 1) / kTileN;
  i64 tilesM = (rows + kTileM - 1) / kTileM, strip = unit / (kStrip * kTilesN), first = strip * kStrip;
  i64 height = tilesM - first < kStrip ? tilesM - first : kStrip, inStrip = unit - first * kTilesN;
  return {(first + inStrip % height) * kTileM, inStrip / height * kTileN};
}

/// Sum type of products of an operand type.
template <class T>
struct SumOf {
  typedef float type;
};
template <>
struct SumOf<i8> {
  typedef i32 type;
};

//===----------------------------------------------------------------------===//
// One or two weight matrices as kernel parameters: LLMOPT_PRODUCTS of them
//===----------------------------------------------------------------------===//

#define LLMOPT_PASTE_EXPANDED(a, b) a##b
#define LLMOPT_PASTE(a, b) LLMOPT_PASTE_EXPANDED(a, b)
#define LLMOPT_WEIGHT_PARAMETERS_1(type) const type *weight
#define LLMOPT_WEIGHT_PARAMETERS_2(type) const type *weight, const type *weight1
#define LLMOPT_WEIGHT_LIST_1 weight
#define LLMOPT_WEIGHT_LIST_2 weight, weight1
#define LLMOPT_WEIGHT_PARAMETERS(type) LLMOPT_PASTE(LLMOPT_WEIGHT_PARAMETERS_, LLMOPT_PRODUCTS)(type)
#define LLMOPT_WEIGHT_LIST LLMOPT_PASTE(LLMOPT_WEIGHT_LIST_, LLMOPT_PRODUCTS)
