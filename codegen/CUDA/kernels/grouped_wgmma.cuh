//===- grouped_wgmma.cuh - products with the weights of experts on Hopper -===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// grouped.cuh for prompts on sm_90a. Weights go from their panels to registers, as wgmma's first operand: they are not copied to rows, which would take
// their memory twice. Rows of x are gathered and rounded in shared memory (wgmma_rows.cuh). Layer as in grouped.cuh and wgmma_rows.cuh, weights bf16 or f16. A unit
// is a tile of kTileM rows of one expert and 256 columns of each product; the last ones of a launch may have nothing to do.
//
// A lane loads four neighbouring columns of two inputs: for two products of 64 rows each two of them, rows lane / 4 and lane / 4 + 8.
//
//===----------------------------------------------------------------------===//
#include "fragments.cuh" // a unit includes gemv.cuh, gemm_mma.cuh, grouped.cuh and wgmma_rows.cuh before

template <class Layer, class Epilogue>
struct GroupedWgmma : WgmmaRows<Layer> {
  typedef WgmmaRows<Layer> Base;
  typedef SortedRows<Layer, Epilogue> Rows;
  typedef typename Layer::Weight Weight;
  static constexpr int kTileM = Layer::kTileM, kTileN = 256, kProducts = Epilogue::kProducts, kExperts = Layer::kExperts;
  static constexpr int kSteps = kProducts == 1 ? 4 : 1; ///< of 16 inputs, loaded at once; two for a gate spill
  static constexpr u32 kBatches = 4 / kSteps;           ///< of a slice
  static constexpr i64 kPanel = kPanelBytes<Weight, Layer::kDepth>, kColumnTiles = ColumnTiles<Rows, kTileN>::kCount;
  static_assert(kProducts <= 2);

  DEVICE_MEMBER static i64 rowTiles(i64 rows) { return rows / kTileM + (rows < kExperts ? rows : kExperts); }
  DEVICE_MEMBER static i64 units(i64 rows) { return rowTiles(rows) * kColumnTiles; }

  /// A[2 * 64 columns, 16 inputs] for each product and step.
  struct Batch {
    u32 fragments[kProducts][kSteps][2][4];
  };

  /// Two inputs of four columns; 64 bytes of a panel have two inputs of all.
  static DEVICE_MEMBER void loadPairs(bf16, const u8 *line, u32 (&pairs)[4]) {
    Vector128 words = loadStream128(line + laneId() / 4 % 4 * 16);
    UNROLL
    for (int c = 0; c < 4; ++c)
      pairs[c] = words.word[c];
  }
  static DEVICE_MEMBER void loadPairs(f16, const u8 *line, u32 (&pairs)[4]) {
    Vector64 first = *(const Vector64 *)(line + laneId() / 4 % 4 * 8), second = *(const Vector64 *)(line + 32 + laneId() / 4 % 4 * 8);
    UNROLL
    for (int c = 0; c < 4; ++c)
      pairs[c] = permuteBytes(first.word[c / 2], second.word[c / 2], c % 2 ? 0x7632u : 0x5410u);
  }
  static DEVICE_MEMBER void load(const u8 *const (&panels)[kProducts], u32 number, Batch &batch) {
    UNROLL
    for (int p = 0; p < kProducts; ++p)
      UNROLL
      for (int step = 0; step < kSteps; ++step)
        UNROLL
        for (int r = 0; r < 2; ++r) {
          u32 line = (number * kSteps + step) * 8 + laneId() % 4 * 2 + r, pairs[4] = {};
          if (line < Layer::kDepth / 2)
            loadPairs(Weight(), panels[p] + line * 64, pairs);
          UNROLL
          for (int c = 0; c < 4; ++c)
            batch.fragments[p][step][c / 2][c % 2 + 2 * r] = pairs[c];
        }
  }

  static DEVICE_MEMBER void storeTile(const float (&sums)[kProducts][2][kTileM / 2], GroupTile group, i64 column, const Rows &sorted) {
    UNROLL
    for (int j = 0; j < kTileM / 8; ++j)
      UNROLL
      for (int e = 0; e < 2; ++e) {
        float products[kProducts][4];
        UNROLL
        for (int p = 0; p < kProducts; ++p)
          UNROLL
          for (int c = 0; c < 4; ++c)
            products[p][c] = sums[p][c / 2][j * 4 + c % 2 * 2 + e];
        i64 row = j * 8 + laneId() % 4 * 2 + e;
        if (row < group.count)
          storeColumns(sorted, 0, group.place + row, column + laneId() / 4 * 4, products);
      }
  }

  /// Tile `unit`: column by column, so that neighbours in time share an expert's weights.
  static DEVICE_MEMBER GroupTile find(const i32 *offsets, i64 rows, i64 unit, i64 &column) {
    i64 below = rowTiles(rows), index = quotient(unit, below);
    column = index * kTileN;
    return groupTile<kExperts, kTileM>(offsets, unit - index * below);
  }

  DEVICE_MEMBER void consume(const i32 *order, const i32 *offsets, i64 rows, i64 units, const Epilogue &epilogue) const {
    typename Base::Cursor at;
    float sums[kProducts][2][kTileM / 2];
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
      i64 column;
      GroupTile group = find(offsets, rows, unit, column);
      if (group.count == 0)
        continue;
      Rows sorted{epilogue, order, group.expert};
      column += threadIdx.x / 32 * 32;
      i64 panel = column / 16 + laneId() / 16;
      const u8 *panels[kProducts];
      UNROLL
      for (int p = 0; p < kProducts; ++p) // a lane beyond the last column multiplies with the first panel, for nothing
        panels[p] = (const u8 *)sorted.weight(0, p) + (panel * 16 < Rows::columns(0) ? panel : 0) * kPanel;
      Batch next;
      load(panels, 0, next);
      for (u32 slice = 0; slice < Base::kSlices; ++slice, at.next()) {
        UNROLL
        for (u32 part = 0; part < kBatches; ++part) {
          Batch batch = next;
          u32 number = slice * kBatches + part;
          if (number + 1 < Base::kSlices * kBatches)
            load(panels, number + 1, next);
          if (part == 0)
            mbarrierWait(this->full(at.stage), at.parity);
          wgmmaFence();
          UNROLL
          for (int step = 0; step < kSteps; ++step)
            UNROLL
            for (int p = 0; p < kProducts; ++p)
              UNROLL
              for (int half = 0; half < 2; ++half)
                wgmma(Weight(), sums[p][half], batch.fragments[p][step][half], descriptor(this->stage(at.stage) + (part * kSteps + step) * 32), number || step);
          wgmmaCommit();
          wgmmaWait<0>();
        }
        this->release(at.stage);
      }
      storeTile(sums, group, column, sorted);
    }
  }

  DEVICE_MEMBER void fillTiles(const float *x, const i32 *order, const i32 *offsets, i64 rows, i64 units) const {
    typename Base::Cursor copied, rounded;
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
      i64 column;
      GroupTile group = find(offsets, rows, unit, column);
      if (group.count == 0)
        continue;
      i32 place = Base::sourceOf(0, group.count);
      this->fill(copied, rounded, x, place < 0 ? -1 : order[group.place + place] / Layer::kShared);
    }
  }

  DEVICE_MEMBER void run(unsigned char *smem, const float *x, const i32 *order, const i32 *offsets, i64 rows, i64 units, const Epilogue &epilogue) {
    this->begin(smem);
    if (threadIdx.x < 256) {
      raiseRegisters<Base::kMultiplying>();
      consume(order, offsets, rows, units, epilogue);
    } else {
      lowerRegisters<Base::kFilling>();
      fillTiles(x, order, offsets, rows, units);
    }
  }
};
