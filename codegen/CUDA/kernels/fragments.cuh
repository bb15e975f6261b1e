//===- fragments.cuh - pieces that the tensor-core families share ------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Weights lie in panels, as codegen/Common/WeightPacking.h packs them for all targets, or as rows [N, K] padded to 16 bytes.
//
// A layer's epilogue is printed by the compiler:
//
//   struct Epilogue {
//     static constexpr int kProducts = ...;                  // weight matrices of one shape whose products meet (2: gate and up)
//     static constexpr int kSegments = ...;                  // groups of columns with weights of their own (3: q, k and v)
//     DEVICE_MEMBER static constexpr i64 columns(int segment);
//     DEVICE_MEMBER const void *weight(int segment, int product) const;
//     // Products of N consecutive columns of one row: applies the region's elementwise operations and stores its results.
//     template <int N> DEVICE_MEMBER void store(int segment, i64 row, i64 column, const float (&products)[kProducts][N]) const; // i32 of bytes
//   };
//
//===----------------------------------------------------------------------===//
#pragma once

#include "division.cuh"
#include "float8.cuh"

/// A tile in shared memory has rows of 128 bytes. The 16-byte chunks of a row change places with the row number, so that one chunk of eight
/// rows, which is what ldmatrix and TMA move, lies in eight different groups of banks.
DEVICE u32 chunkAddress(u32 tile, u32 row, u32 chunk) { return tile + row * 128 + ((chunk ^ (row & 7)) << 4); }
/// The same for rows of 256 bytes of floats, which lanes read in pairs (from four rows at once) or fours (from two).
DEVICE u32 wideChunkAddress(u32 tile, u32 row, u32 chunk) { return tile + row * 256 + ((chunk ^ ((row & 1) << 2 | (row & 2))) << 4); }

/// Starts copies of `kRows` rows' kBytes (128 or 256) at byte `offset` of each row. Rows beyond rowsLeft and bytes beyond rowBytes become zero.
template <int kRows, int kThreads, int kBytes = 128>
DEVICE void copyTile(u32 tile, const void *matrix, i64 strideBytes, i64 rowsLeft, u32 offset, u32 rowBytes) {
  constexpr u32 kChunks = kBytes / 16;
  static_assert(kRows * kChunks % kThreads == 0);
  UNROLL
  for (u32 i = 0; i < kRows * kChunks / kThreads; ++i) {
    u32 part = threadIdx.x + i * kThreads, row = part / kChunks, chunk = part % kChunks, byte = offset + chunk * 16;
    bool inside = row < rowsLeft && byte < rowBytes;
    u32 to = kBytes == 128 ? chunkAddress(tile, row, chunk) : wideChunkAddress(tile, row, chunk);
    copyAsync16(to, (const u8 *)matrix + (inside ? row * strideBytes + byte : 0), inside ? 16 : 0);
  }
}

/// A[16, 32 bytes] of a tile for `multiply`: step `step` of the slice, rows from `row` on.
template <class T>
DEVICE void loadFragment(T, u32 (&fragment)[4], u32 tile, u32 row, int step) {
  loadMatrix4(fragment, chunkAddress(tile, row + laneId() % 16, step * 2 + laneId() / 16));
}
DEVICE u32 packPair(bf16, float low, float high) { return packBf16(low, high); }
DEVICE u32 packPair(f16, float low, float high) { return packF16(low, high); }
/// The same from a tile of floats, rounded to T.
template <class T>
DEVICE void roundFragment(T, u32 (&fragment)[4], u32 tile, u32 row, int step) {
  UNROLL
  for (int i = 0; i < 4; ++i) {
    u32 column = step * 16 + i / 2 * 8 + laneId() % 4 * 2; // of 64
    Vector64 pair = loadShared64(wideChunkAddress(tile, row + laneId() / 4 + i % 2 * 8, column / 4) + column % 4 * 4);
    fragment[i] = packPair(T(), floatOf(pair.word[0]), floatOf(pair.word[1]));
  }
}
/// sums += a * b of eight in K, as if in f32: what tf32 leaves of a number is multiplied as well.
DEVICE void multiply(float, float (&sums)[4], const u32 (&a)[4], const u32 *b) {
  auto high = [](u32 bits) INLINE_LAMBDA { return (bits + 0x1000u) & 0xffffe000u; }; // to the nearest
  auto rest = [&](u32 bits) INLINE_LAMBDA { return bitsOf(floatOf(bits) - floatOf(high(bits))); };
  u32 highA[4], lowA[4], highB[2] = {high(b[0]), high(b[1])}, lowB[2] = {rest(b[0]), rest(b[1])};
  UNROLL
  for (int i = 0; i < 4; ++i) {
    highA[i] = high(a[i]);
    lowA[i] = rest(a[i]);
  }
  multiply(tf32(), sums, lowA, highB);
  multiply(tf32(), sums, highA, lowB);
  multiply(tf32(), sums, highA, highB);
}
/// B[16, 32 bytes] of a tile: registers 0 and 1 are the first eight rows, 2 and 3 the next.
DEVICE void loadFragmentB(u32 (&fragment)[4], u32 tile, u32 row, int step) {
  u32 lane = laneId();
  loadMatrix4(fragment, chunkAddress(tile, row + lane % 8 + lane / 16 * 8, step * 2 + lane / 8 % 2));
}

//===----------------------------------------------------------------------===//
// Weights in panels of 16 columns: [ceil(N / 16)][ceil(K / group)][16][group], columns beyond N are zero
//===----------------------------------------------------------------------===//

template <class T>
struct Panel {
  static constexpr int kGroup = 1; ///< neighbours in K that lie together
};
template <>
struct Panel<bf16> {
  static constexpr int kGroup = 2;
};
template <>
struct Panel<i8> {
  static constexpr int kGroup = 4;
};
template <>
struct Panel<e4m3> {
  static constexpr int kGroup = 4;
};
/// Bytes of one panel.
template <class T, int kDepth>
constexpr i64 kPanelBytes = i64((kDepth + Panel<T>::kGroup - 1) / Panel<T>::kGroup) * Panel<T>::kGroup * 16 * sizeof(T);

/// Where a 16-byte chunk of a panel's slice of 2 KiB lies in shared memory: moved so that the reads below hit all banks.
template <class T>
DEVICE u32 panelChunk(T, u32 chunk) { return chunk ^ ((chunk >> 3 & 1) << 1); } // a line is 4 bytes of K: 4 chunks
DEVICE u32 panelChunk(f16, u32 chunk) { return chunk ^ (chunk >> 3 & 1); }      // a line is one K: 2 chunks

/// Starts copies of slice `slice` (128 bytes of K) of kColumns columns. Panels beyond panelsLeft and bytes beyond a panel become zero.
template <class T, int kDepth, int kColumns, int kThreads>
DEVICE void copyPanels(u32 tile, const void *panels, i64 panelsLeft, u32 slice) {
  static_assert(kColumns * 8 % kThreads == 0);
  UNROLL
  for (u32 i = 0; i < kColumns * 8 / kThreads; ++i) {
    u32 part = threadIdx.x + i * kThreads, panel = part / 128, chunk = part % 128, byte = slice * 2048 + chunk * 16;
    bool inside = panel < panelsLeft && byte < kPanelBytes<T, kDepth>;
    const u8 *from = (const u8 *)panels + (inside ? panel * kPanelBytes<T, kDepth> + byte : 0);
    copyAsync16(tile + panel * 2048 + panelChunk(T(), chunk) * 16, from, inside ? 16 : 0);
  }
}
/// As loadFragmentB, of the panel's slice at `panel`.
template <class T>
DEVICE void loadPanelFragment(T, u32 (&fragment)[4], u32 panel, int step) {
  UNROLL
  for (u32 i = 0; i < 4; ++i) {
    u32 line = step * 8 + laneId() % 4 + i % 2 * 4, column = laneId() / 4 + i / 2 * 8;
    fragment[i] = loadShared32(panel + panelChunk(T(), line * 4 + column / 4) * 16 + column % 4 * 4);
  }
}
DEVICE void loadPanelFragment(f16, u32 (&fragment)[4], u32 panel, int step) {
  u32 k = step * 16 + laneId() % 16;
  loadMatrixTransposed4(fragment, panel + panelChunk(f16(), k * 2 + laneId() / 16) * 16);
}

/// Position in a ring of stages behind mbarriers; the parity of a phase changes with every turn.
template <u32 kStages>
struct RingCursor {
  u32 stage = 0, parity = 0;
  DEVICE_MEMBER void next() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

/// Accumulators of four neighbouring blocks of 8 columns lie as two columns a lane. Afterwards each of the four lanes of a row has the 8
/// columns of one block: lane q that of block q.
template <class Sum>
DEVICE void gatherColumns(const Sum (&blocks)[4][2], Sum (&columns)[8]) {
  bool odd = laneId() & 1, high = laneId() & 2;
  Sum halves[2][4]; // of blocks 2 * i + odd: columns of the even lane, of the odd lane
  UNROLL
  for (int i = 0; i < 2; ++i)
    UNROLL
    for (int e = 0; e < 2; ++e) {
      Sum keep = odd ? blocks[2 * i + 1][e] : blocks[2 * i][e];
      Sum got = shuffleXor(odd ? blocks[2 * i][e] : blocks[2 * i + 1][e], 1);
      halves[i][e] = odd ? got : keep;
      halves[i][2 + e] = odd ? keep : got;
    }
  UNROLL
  for (int e = 0; e < 4; ++e) {
    Sum keep = high ? halves[1][e] : halves[0][e];
    Sum got = shuffleXor(high ? halves[0][e] : halves[1][e], 2);
    columns[e] = high ? got : keep;
    columns[4 + e] = high ? keep : got;
  }
}

/// Columns of a layer's results: one or more segments (q, k and v), each of which begins a new tile.
template <class Epilogue, int kTileN>
struct ColumnTiles {
  /// Tiles before a segment; of all with kSegments.
  DEVICE_MEMBER static constexpr i64 before(int segment) {
    i64 tiles = 0;
    for (int i = 0; i < segment; ++i)
      tiles += (Epilogue::columns(i) + kTileN - 1) / kTileN;
    return tiles;
  }
  static constexpr i64 kCount = before(Epilogue::kSegments);
};

struct Tile {
  i64 row, column;
  int segment;
};
/// Which tile a unit is. Tiles go down a strip of kStrip row tiles before the next column, so that neighbours in time share weights and rows in L2.
template <class Epilogue, int kTileM, int kTileN, int kStrip = 8>
DEVICE Tile tileOfUnit(i64 unit, i64 rows) {
  typedef ColumnTiles<Epilogue, kTileN> Columns;
  i64 tilesM = (rows + kTileM - 1) / kTileM, strip = unit / (kStrip * Columns::kCount), first = strip * kStrip;
  i64 height = tilesM - first < kStrip ? tilesM - first : kStrip, inStrip = unit - first * Columns::kCount;
  i64 column = quotient(inStrip, height), below = inStrip - column * height;
  int segment = 0;
  UNROLL
  for (int i = 1; i < Epilogue::kSegments; ++i)
    segment += column >= Columns::before(i);
  UNROLL
  for (int i = 1; i < Epilogue::kSegments; ++i)
    if (segment == i)
      column -= Columns::before(i);
  return {(first + below) * kTileM, column * kTileN, segment};
}

/// Number of columns of a segment, a constant where there is one.
template <class Epilogue>
DEVICE i64 columnsOf(int segment) {
  i64 columns = Epilogue::columns(0);
  UNROLL
  for (int i = 1; i < Epilogue::kSegments; ++i)
    columns = segment == i ? Epilogue::columns(i) : columns;
  return columns;
}

/// Hands N columns of a row to the epilogue; at the right edge one by one.
template <class Epilogue, class Sum, int kProducts, int N>
DEVICE void storeColumns(const Epilogue &epilogue, int segment, i64 row, i64 column, const Sum (&products)[kProducts][N]) {
  i64 columns = columnsOf<Epilogue>(segment);
  if (column + N <= columns) {
    epilogue.template store<N>(segment, row, column, products);
    return;
  }
  UNROLL
  for (int c = 0; c < N; ++c)
    if (column + c < columns) {
      Sum one[kProducts][1];
      UNROLL
      for (int p = 0; p < kProducts; ++p)
        one[p][0] = products[p][c];
      epilogue.template store<1>(segment, row, column + c, one);
    }
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
/// What products of x with weights are made in.
template <class Input, class Weight>
struct ProductOf {
  typedef Weight type;
};
template <>
struct ProductOf<u8, i8> {
  typedef u8i8 type;
};
/// The same by mma.sync.
template <class Product>
struct MmaOf {
  typedef Product type;
};
template <>
struct MmaOf<e4m3> {
  typedef e4m3AsF16 type;
};
/// Whether wgmma's own sums are too short for all of K: on Hopper those of 8-bit floats keep some 14 bits.
template <class T>
struct HasShortSums {
  static constexpr bool value = false;
};
template <>
struct HasShortSums<e4m3> {
  static constexpr bool value = true;
};
