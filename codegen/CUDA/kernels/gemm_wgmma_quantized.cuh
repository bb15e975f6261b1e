//===- gemm_wgmma_quantized.cuh - weights of 4 and 8 bits on Hopper -------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// gemm_quantized.cuh from 64 rows on, for sm_90a. A panel's codes lie as a warp holds 16 of the 64 rows of wgmma's first operand, so they go from memory
// to registers and become numbers there; x is rounded in shared memory (wgmma_rows.cuh). Each block's sums are scaled in f32, so nothing but x is rounded: while one
// warpgroup scales and makes numbers, the other's products run. Layer as in quantized.cuh and wgmma_rows.cuh; Input is float. A unit is a tile of kTileM
// rows and 128 columns; blocks stay for many tiles.
//
//===----------------------------------------------------------------------===//
#include "quantized.cuh" // a unit includes wgmma_rows.cuh before

template <class Layer, class Epilogue>
struct GemmWgmmaQuantized : WgmmaRows<Layer> {
  typedef WgmmaRows<Layer> Base;
  typedef QuantizedPanel<Layer> Panels;
  typedef typename Layer::Weight Weight;
  static constexpr int kTileM = Layer::kTileM, kTileN = 128, kProducts = Epilogue::kProducts;

  DEVICE_MEMBER static i64 units(i64 rows) { return (rows + kTileM - 1) / kTileM * ColumnTiles<Epilogue, kTileN>::kCount; }

  /// Scales of columns lane / 4 and lane / 4 + 8: of this thread's accumulators.
  static DEVICE_MEMBER void scales(const u8 *panel, int group, float (&scales)[2]) {
    const typename Layer::Scale *from = (const typename Layer::Scale *)(panel + Panels::kScalesAt) + group * 16 + laneId() / 4;
    scales[0] = convert(from[0]);
    scales[1] = convert(from[8]);
  }

  /// A[64 columns, 64 inputs] of codes.
  static DEVICE_MEMBER void numbers(const u8 *panel, int piece, const typename Panels::Codes &codes, u32 (&fragments)[4][4]) {
    u32 zeros[2];
    UNROLL
    for (int step = 0; step < 4; ++step) {
      if (step % Panels::kStepsOfGroup == 0)
        Panels::zeros(panel, Panels::groupOf(piece, step), zeros);
      u32 pairs[4]; // as mma.sync wants them for its second operand
      Panels::fragment(codes, step, zeros, pairs);
      fragments[step][0] = pairs[0], fragments[step][1] = pairs[2], fragments[step][2] = pairs[1], fragments[step][3] = pairs[3];
    }
  }

  /// Products with one matrix's slice; `block` is what they are summed in before they are scaled.
  static DEVICE_MEMBER void multiplySlice(u32 rows, const u8 *panel, int piece, const u32 (&fragments)[4][4], float (&block)[kTileM / 2], float (&sums)[kTileM / 2]) {
    UNROLL
    for (int first = 0; first < 4; first += Panels::kStepsOfGroup) {
      wgmmaFence();
      UNROLL
      for (int step = first; step < first + Panels::kStepsOfGroup; ++step)
        wgmma(Weight(), block, fragments[step], descriptor(rows + step * 32), step != first);
      wgmmaCommit();
      float factors[2];
      scales(panel, Panels::groupOf(piece, first), factors);
      wgmmaWait<0>();
      UNROLL
      for (int i = 0; i < kTileM / 2; ++i)
        sums[i] += block[i] * factors[i / 2 % 2];
    }
  }

  static DEVICE_MEMBER void storeTile(const float (&sums)[kProducts][kTileM / 2], Tile tile, i64 column, i64 rows, const Epilogue &epilogue) {
    i64 columns = columnsOf<Epilogue>(tile.segment);
    UNROLL
    for (int i = 0; i < kTileM / 2; ++i) {
      i64 row = tile.row + i / 4 * 8 + laneId() % 4 * 2 + i % 2, own = column + laneId() / 4 + i / 2 % 2 * 8;
      float one[kProducts][1];
      UNROLL
      for (int p = 0; p < kProducts; ++p)
        one[p][0] = sums[p][i];
      if (row < rows && own < columns)
        epilogue.template store<1>(tile.segment, row, own, one);
    }
  }

  DEVICE_MEMBER void consume(i64 rows, i64 units, const Epilogue &epilogue) const {
    typename Base::Cursor at;
    float sums[kProducts][kTileM / 2], block[kTileM / 2];
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
      Tile tile = tileOfUnit<Epilogue, kTileM, kTileN>(unit, rows);
      i64 column = tile.column + threadIdx.x / 32 * 16;
      const u8 *panels[kProducts];
      typename Panels::Codes next[kProducts];
      UNROLL
      for (int p = 0; p < kProducts; ++p) { // a warp beyond the last column multiplies with the first panel, for nothing
        panels[p] = (const u8 *)epilogue.weight(tile.segment, p) + (column < columnsOf<Epilogue>(tile.segment) ? column / 16 : 0) * Panels::kBytes;
        next[p] = Panels::load(panels[p], 0);
        UNROLL
        for (float &sum : sums[p])
          sum = 0;
      }
      for (u32 slice = 0; slice < Base::kSlices; ++slice, at.next()) {
        UNROLL
        for (int p = 0; p < kProducts; ++p) {
          u32 fragments[4][4];
          numbers(panels[p], int(slice), next[p], fragments);
          if (slice + 1 < Base::kSlices)
            next[p] = Panels::load(panels[p], int(slice + 1));
          if (p == 0)
            mbarrierWait(this->full(at.stage), at.parity);
          multiplySlice(this->stage(at.stage), panels[p], int(slice), fragments, block, sums[p]);
        }
        this->release(at.stage);
      }
      storeTile(sums, tile, column, rows, epilogue);
    }
  }

  DEVICE_MEMBER void run(unsigned char *smem, const float *x, i64 rows, i64 units, const Epilogue &epilogue) {
    this->begin(smem);
    if (threadIdx.x < 256) {
      raiseRegisters<Base::kMultiplying>();
      consume(rows, units, epilogue);
      return;
    }
    lowerRegisters<Base::kFilling>();
    typename Base::Cursor copied, rounded;
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x)
      this->fill(copied, rounded, x, Base::sourceOf(tileOfUnit<Epilogue, kTileM, kTileN>(unit, rows).row, rows));
  }
};
