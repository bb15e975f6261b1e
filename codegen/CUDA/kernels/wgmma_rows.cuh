//===- wgmma_rows.cuh - rows of x for wgmma, rounded in shared memory -----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What families share whose weights are wgmma's first operand, in registers, so that x is the second: a tile's 16 columns of a warp are 16 rows of the
// accumulators. A ring of slices of x (64 inputs of kTileM rows) is filled by one warpgroup, which copies floats and rounds them to Weight where they lie;
// two others multiply. Layer has
//
//   Weight              bf16 or f16: what the products are made in
//   kDepth              K, a multiple of 4
//   kTileM              rows of a tile: 32, 64 or 128
//   kStages             slices of the ring
//
// As in quantized.cuh inputs 4q to 4q+3 of every 16 are lane q's: two of the first eight that PTX counts, two of the others.
//
//===----------------------------------------------------------------------===//
#include "fragments.cuh"

template <class Layer>
struct WgmmaRows {
  typedef typename Layer::Weight Weight;
  static constexpr int kDepth = Layer::kDepth, kTileM = Layer::kTileM, kStages = Layer::kStages, kThreads = 384;
  static constexpr u32 kSlices = (kDepth + 63) / 64, kRowBytes = kDepth * 4, kStageBytes = kTileM * 256, kSharedBytes = kStages * (kStageBytes + 16);
  static constexpr u32 kOwnRows = kTileM / 4; ///< of a filling warp
  static constexpr u32 kAhead = kStages / 2;  ///< slices copied before the one that is rounded
  static constexpr u32 kMultiplying = 224, kFilling = 56; ///< registers; with 40 copies of 128 rows spill
  static_assert(sizeof(typename Layer::Input) == 4 && sizeof(Weight) == 2 && kDepth % 4 == 0 && kTileM % 32 == 0 && kStages >= 2 && kSharedBytes <= 232448);

  u32 ring;
  DEVICE_MEMBER u32 stage(u32 i) const { return ring + i * kStageBytes; }
  DEVICE_MEMBER u32 full(u32 i) const { return ring + kStages * kStageBytes + i * 8; }
  DEVICE_MEMBER u32 empty(u32 i) const { return full(kStages + i); }

  typedef RingCursor<kStages> Cursor;

  DEVICE_MEMBER void begin(unsigned char *smem) {
    ring = sharedAddress(smem);
    if (threadIdx.x == 0) {
      for (u32 i = 0; i < kStages; ++i) {
        mbarrierInit(full(i), 4);  // a lane of each filling warp
        mbarrierInit(empty(i), 8); // a lane of each multiplying warp
      }
      fenceMbarrierInit();
    }
    blockSync();
    waitForDependencies();
  }

  /// Floats of a row lie in two halves of 32, kTileM rows apart; the rounded row takes the place of the first.
  static DEVICE_MEMBER u32 floatAddress(u32 tile, u32 row, u32 chunk) { return chunkAddress(tile + chunk / 8 * kTileM * 128, row, chunk % 8); }

  /// Starts copies of this warp's rows. Lane i has the number of row i in x, or -1 where there is none.
  DEVICE_MEMBER void copy(u32 tile, u32 slice, const float *x, i32 source) const {
    u32 chunk = laneId() % 16, byte = slice * 256 + chunk * 16;
    UNROLL
    for (u32 i = 0; i < kOwnRows; i += 2) {
      i32 from = i32(shuffle(u32(source), i + laneId() / 16));
      bool inside = from >= 0 && byte < kRowBytes;
      copyAsync16(floatAddress(tile, threadIdx.x % 128 / 32 * kOwnRows + i + laneId() / 16, chunk), (const u8 *)x + (inside ? from * i64(kRowBytes) + byte : 0),
                  inside ? 16 : 0);
    }
  }

  /// Rounds this warp's rows: a lane takes 16 inputs of a row at a time.
  DEVICE_MEMBER void round(u32 tile) const {
    UNROLL_BY(1)
    for (u32 i = 0; i < kOwnRows; i += 8) {
      u32 row = threadIdx.x % 128 / 32 * kOwnRows + i + laneId() % 8, step = laneId() / 8;
      Vector128 first, second;
      UNROLL
      for (u32 c = 0; c < 4; ++c) {
        Vector128 values = loadShared128(floatAddress(tile, row, step * 4 + c));
        first.word[c] = packPair(Weight(), floatOf(values.word[0]), floatOf(values.word[1]));
        second.word[c] = packPair(Weight(), floatOf(values.word[2]), floatOf(values.word[3]));
      }
      warpSync(); // a rounded row lies on floats that other lanes have read
      storeShared128(chunkAddress(tile, row, step * 2), first);
      storeShared128(chunkAddress(tile, row, step * 2 + 1), second);
    }
  }

  /// All slices of a tile; every warp by itself. `copied` and `rounded` go on from tile to tile.
  DEVICE_MEMBER void fill(Cursor &copied, Cursor &rounded, const float *x, i32 source) const {
    for (u32 slice = 0; slice < kSlices + kAhead; ++slice) {
      if (slice < kSlices) {
        mbarrierWait(empty(copied.stage), copied.parity ^ 1); // a new ring is empty
        copy(stage(copied.stage), slice, x, source);
        copied.next();
      }
      copyAsyncCommit(); // empty groups at the end keep the count
      if (slice < kAhead)
        continue;
      copyAsyncWait<kAhead>();
      warpSync();
      round(stage(rounded.stage));
      fenceAsyncProxy();
      warpSync();
      if (laneId() == 0)
        mbarrierArrive(full(rounded.stage));
      rounded.next();
    }
  }

  /// This lane's row of x for `fill`, where rows of the tile are neighbours in x.
  static DEVICE_MEMBER i32 sourceOf(i64 firstRow, i64 rows) {
    i64 row = firstRow + threadIdx.x % 128 / 32 * kOwnRows + laneId() % kOwnRows;
    return row < rows ? i32(row) : -1;
  }

  DEVICE_MEMBER void release(u32 i) const {
    if (laneId() == 0)
      mbarrierArrive(empty(i));
  }
};
