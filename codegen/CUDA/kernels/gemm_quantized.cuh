//===- gemm_quantized.cuh - rows times weights of 4 and 8 bits ------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// gemm_mma.cuh for the weights of quantized.cuh. Only x goes through shared memory: a warp's weights lie as its lanes hold them, and are loaded one
// slice ahead. Layer as in both; Input is float, rounded to Weight; kDepth is a multiple of 4.
//
//===----------------------------------------------------------------------===//
#include "quantized.cuh" // a unit includes gemm_mma.cuh before

template <class Layer, class Epilogue>
struct GemmQuantized : GemmMma<Layer, Epilogue> {
  typedef GemmMma<Layer, Epilogue> Base;
  typedef QuantizedPanel<Layer> Panels;
  typedef typename Layer::Weight Weight;
  static constexpr int kProducts = Base::kProducts, kStages = Base::kStages, kBlocksM = Base::kBlocksM, kBlocksN = Base::kBlocksN, kOwnPanels = kBlocksN / 2;
  static constexpr u32 kStageBytes = Base::kTileBytesA, kSharedBytes = kStages * kStageBytes;
  static_assert(sizeof(typename Layer::Input) == 4 && sizeof(Weight) == 2);
  typedef typename Panels::Codes Codes[kProducts][kOwnPanels];

  const u8 *panels[kProducts];
  int panelsLeft; ///< of this warp's

  DEVICE_MEMBER void loadCodes(int piece, Codes &codes) {
    UNROLL
    for (int p = 0; p < kProducts; ++p)
      UNROLL
      for (int i = 0; i < kOwnPanels; ++i)
        if (i < panelsLeft)
          codes[p][i] = Panels::load(panels[p] + i * Panels::kBytes, piece);
        else
          codes[p][i] = {};
  }

  /// A[16, 16 inputs] as quantized.cuh orders them.
  static DEVICE_MEMBER void inputs(u32 tile, u32 row, int step, u32 (&fragment)[4]) {
    UNROLL
    for (int half = 0; half < 2; ++half) {
      Vector128 values = loadShared128(wideChunkAddress(tile, row + laneId() / 4 + half * 8, step * 4 + laneId() % 4));
      UNROLL
      for (int i = 0; i < 2; ++i)
        fragment[2 * i + half] = packPair(Weight(), floatOf(values.word[2 * i]), floatOf(values.word[2 * i + 1]));
    }
  }

  DEVICE_MEMBER void multiplySlice(u32 stage, int piece, const Codes &codes) {
    u32 a[4][kBlocksM][4];
    UNROLL
    for (int step = 0; step < 4; ++step)
      UNROLL
      for (int i = 0; i < kBlocksM; ++i)
        inputs(stage, this->warpRow + i * 16, step, a[step][i]);
    UNROLL
    for (int p = 0; p < kProducts; ++p)
      UNROLL
      for (int panel = 0; panel < kOwnPanels; ++panel) {
        const u8 *from = panels[p] + (panel < panelsLeft ? panel : 0) * Panels::kBytes;
        float block[2][kBlocksM][4] = {};
        u32 zeros[2];
        UNROLL
        for (int step = 0; step < 4; ++step) {
          if (step % Panels::kStepsOfGroup == 0)
            Panels::zeros(from, Panels::groupOf(piece, step), zeros);
          u32 b[4];
          Panels::fragment(codes[p][panel], step, zeros, b);
          UNROLL
          for (int half = 0; half < 2; ++half)
            UNROLL
            for (int i = 0; i < kBlocksM; ++i)
              multiply(Weight(), block[half][i], a[step][i], b + 2 * half);
          if ((step + 1) % Panels::kStepsOfGroup == 0) {
            float scales[2][2];
            Panels::scales(from, Panels::groupOf(piece, step), scales);
            UNROLL
            for (int half = 0; half < 2; ++half)
              UNROLL
              for (int i = 0; i < kBlocksM; ++i)
                addScaled(this->sums[p][i][panel * 2 + half], block[half][i], scales[half]);
          }
        }
      }
  }

  /// The products of a tile over slices [first, end) of K.
  DEVICE_MEMBER void multiplyTile(u32 ring, Tile tile, u32 first, u32 end, const float *x, i64 rows, const Epilogue &epilogue) {
    i64 panel = (tile.column + this->warpColumn) / 16, left = (columnsOf<Epilogue>(tile.segment) + 15) / 16 - panel;
    panelsLeft = left < 0 ? 0 : left > kOwnPanels ? kOwnPanels : int(left);
    UNROLL
    for (int p = 0; p < kProducts; ++p) // a warp beyond the last column reads scales of the first panel, for nothing
      panels[p] = (const u8 *)epilogue.weight(tile.segment, p) + (panelsLeft ? panel : 0) * Panels::kBytes;
    auto loadNext = [&](u32 slice) INLINE_LAMBDA {
      if (slice < end)
        copyTile<Base::kTileM, Base::kThreads, 256>(ring + slice % kStages * kStageBytes, (const u8 *)x + tile.row * Base::kInputBytes, Base::kInputBytes,
                                                    rows - tile.row, slice * 256, Base::kInputBytes);
      copyAsyncCommit(); // empty groups at the end keep the count
    };
    this->clear();
    for (u32 slice = first; slice < first + kStages - 1; ++slice)
      loadNext(slice);
    Codes next;
    loadCodes(int(first), next);
    for (u32 slice = first; slice < end; ++slice) {
      copyAsyncWait<kStages - 2>();
      blockSync(); // the slice is there for all, and nobody reads the stage that is filled next
      loadNext(slice + kStages - 1);
      Codes codes;
      UNROLL
      for (int p = 0; p < kProducts; ++p)
        UNROLL
        for (int i = 0; i < kOwnPanels; ++i)
          codes[p][i] = next[p][i];
      if (slice + 1 < end)
        loadCodes(int(slice + 1), next);
      multiplySlice(ring + slice % kStages * kStageBytes, int(slice), codes);
    }
    copyAsyncWait<0>();
    blockSync();
  }

  DEVICE_MEMBER void run(const unsigned char *smem, const float *x, i64 rows, i64 units, const Epilogue &epilogue) {
    u32 ring = sharedAddress(smem);
    this->findWarp();
    waitForDependencies();
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
      Tile tile = tileOfUnit<Epilogue, Base::kTileM, Base::kTileN>(unit, rows);
      multiplyTile(ring, tile, 0, Base::kSlices, x, rows, epilogue);
      this->storeTile(tile, rows, epilogue);
    }
  }
};
