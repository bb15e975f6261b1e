//===- grouped.cuh - products with the weights of experts -----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// epilogue(x[row, K] * weight[expert of row, N, K]^T) for the rows of a routed layer, sorted by expert (group_rows.cuh). All experts' tiles are
// one launch: a unit finds its expert in the offsets. Layer has, beside what gemv.cuh or gemm_mma.cuh wants,
//
//   kExperts            matrices, one behind the other
//   kShared             rows of the result that share a row of x: choices of a token, or 1
//
// Place p of `order` is a row of the result; its product is handed to the epilogue under that number.
//
//   GroupedGemv   any target, any size, each row by itself. A unit is a panel of a row
//   GroupedMma    sm_80 and later. A unit is a tile of kTileM rows of one expert; the last ones of a launch may have nothing to do
//
//===----------------------------------------------------------------------===//
#include "fragments.cuh" // a unit includes gemv.cuh and gemm_mma.cuh before

/// Rows of one expert: places [place, place + count) of the order; none where count is 0.
struct GroupTile {
  u32 expert;
  i64 place, count;
};

/// Tile `index` of all tiles of up to kTileM rows, expert by expert. All lanes of a warp ask together.
template <int kExperts, int kTileM>
DEVICE GroupTile groupTile(const i32 *offsets, i64 index) {
  u32 before = 0, wanted = u32(index);
  for (u32 base = 0; base < kExperts; base += 32) {
    u32 expert = base + laneId();
    u32 first = expert < kExperts ? u32(offsets[expert]) : 0, last = expert < kExperts ? u32(offsets[expert + 1]) : 0;
    u32 tiles = (last - first + kTileM - 1) / kTileM, end = tiles;
    UNROLL
    for (u32 step = 1; step < 32; step *= 2) {
      u32 below = shuffle(end, (laneId() - step) % 32);
      end += laneId() >= step ? below : 0;
    }
    u32 lane = bitCount(votes(before + end <= wanted)); // the first whose tiles reach so far
    if (lane < 32) {
      u32 tile = wanted - before - shuffle(end - tiles, lane);
      first = shuffle(first, lane) + tile * kTileM, last = shuffle(last, lane);
      return {base + lane, i64(first), i64(last - first < kTileM ? last - first : kTileM)};
    }
    before += shuffle(end, 31);
  }
  return {0, 0, 0};
}

/// An epilogue for rows by their place in the order, with the weights of one expert.
template <class Layer, class Inner>
struct SortedRows {
  static constexpr int kProducts = Inner::kProducts, kSegments = 1;
  static constexpr i64 kExpertBytes = (Inner::columns(0) + 15) / 16 * kPanelBytes<typename Layer::Weight, Layer::kDepth>;
  static_assert(Inner::kSegments == 1);
  DEVICE_MEMBER static constexpr i64 columns(int) { return Inner::columns(0); }
  const Inner &inner;
  const i32 *order;
  u32 expert;
  DEVICE_MEMBER const void *weight(int, int product) const { return (const u8 *)inner.weight(0, product) + expert * kExpertBytes; }
  template <int N>
  DEVICE_MEMBER void store(int, i64 place, i64 column, const float (&products)[kProducts][N]) const {
    inner.template store<N>(0, i64(order[place]), column, products);
  }
};

template <class Layer, class Epilogue>
struct GroupedGemv {
  typedef SortedRows<Layer, Epilogue> Rows;
  typedef Gemv<Layer, Rows> Family;
  typedef typename Layer::Input Input;
  static constexpr int kThreads = Family::kThreads;
  static constexpr u32 kSharedBytes = Family::kSharedBytes;
  static constexpr i64 kPanels = ColumnTiles<Rows, 16>::kCount;

  DEVICE_MEMBER static i64 units(i64 rows) { return rows * kPanels; }

  static DEVICE_MEMBER void run(unsigned char *smem, const Input *x, const i32 *order, const i32 *offsets, i64, i64 units,
                                const Epilogue &epilogue) {
    waitForDependencies();
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
      i64 index = unit / kPanels, panel = unit % kPanels;
      GroupTile group = groupTile<Layer::kExperts, 1>(offsets, index);
      Rows rows{epilogue, order, group.expert};
      const u8 *panels[Rows::kProducts];
      UNROLL
      for (int p = 0; p < Rows::kProducts; ++p)
        panels[p] = (const u8 *)rows.weight(0, p) + panel * kPanelBytes<typename Layer::Weight, Layer::kDepth>;
      if (group.count > 0)
        Family::multiplyPanel((typename Family::Sum *)smem, x + order[group.place] / Layer::kShared * i64(Layer::kDepth), 1, panels, {0, panel * 16, 0}, group.place, rows);
    }
  }
};

template <class Layer, class Epilogue>
struct GroupedMma : GemmMma<Layer, SortedRows<Layer, Epilogue>> {
  typedef SortedRows<Layer, Epilogue> Rows;
  typedef GemmMma<Layer, Rows> Family;
  typedef typename Layer::Input Input;
  static constexpr int kTileM = Layer::kTileM, kTileN = Layer::kTileN, kExperts = Layer::kExperts;
  static constexpr u32 kChunks = Family::kInputSlice / 16, kRowsAtOnce = Family::kThreads / kChunks, kEach = kTileM / kRowsAtOnce; // of a thread
  static constexpr i64 kColumnTiles = ColumnTiles<Rows, kTileN>::kCount;
  static_assert(Layer::kPanels && Family::kThreads % kChunks == 0 && kTileM % kRowsAtOnce == 0);

  /// As many as there can be: each expert's last tile may be small.
  DEVICE_MEMBER static i64 rowTiles(i64 rows) { return rows / kTileM + (rows < kExperts ? rows : kExperts); }
  DEVICE_MEMBER static i64 units(i64 rows) { return rowTiles(rows) * kColumnTiles; }

  i64 source[kEach]; ///< where the rows of x that this thread copies begin, in bytes; less than 0: there is none

  DEVICE_MEMBER void findRows(const i32 *order, GroupTile group) {
    UNROLL
    for (u32 i = 0; i < kEach; ++i) {
      u32 row = threadIdx.x / kChunks + i * kRowsAtOnce;
      source[i] = row < group.count ? order[group.place + row] / Layer::kShared * i64(Family::kInputBytes) : -1;
    }
  }

  DEVICE_MEMBER void loadInput(u32 stage, u32 slice, const Input *x) const {
    u32 chunk = threadIdx.x % kChunks, byte = slice * Family::kInputSlice + chunk * 16;
    UNROLL
    for (u32 i = 0; i < kEach; ++i) {
      u32 row = threadIdx.x / kChunks + i * kRowsAtOnce;
      bool inside = source[i] >= 0 && byte < Family::kInputBytes;
      u32 to = Family::kInputSlice == 128 ? chunkAddress(stage, row, chunk) : wideChunkAddress(stage, row, chunk);
      copyAsync16(to, (const u8 *)x + (inside ? source[i] + byte : 0), inside ? 16 : 0);
    }
  }

  /// Column by column, so that neighbours in time share an expert's weights.
  DEVICE_MEMBER void run(const unsigned char *smem, const Input *x, const i32 *order, const i32 *offsets, i64 rows, i64 units, const Epilogue &epilogue) {
    u32 ring = sharedAddress(smem);
    i64 below = rowTiles(rows);
    this->findWarp();
    waitForDependencies();
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
      i64 column = quotient(unit, below);
      GroupTile group = groupTile<kExperts, kTileM>(offsets, unit - column * below);
      if (group.count == 0)
        continue;
      Rows sorted{epilogue, order, group.expert};
      Tile tile{group.place, column * kTileN, 0};
      findRows(order, group);
      this->multiplySlices(ring, 0, Family::kSlices, [&](u32 stage, u32 slice) INLINE_LAMBDA {
        loadInput(stage, slice, x);
        this->loadWeights(stage, slice, tile, sorted);
      });
      this->storeTile(tile, group.place + group.count, sorted);
    }
  }
};
