//===- gemm_wgmma.cuh - products of a linear layer on Hopper --------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// epilogue(x[rows, K] * weight[N, K]^T), for prompts on sm_90a. One warpgroup brings tiles by TMA through a ring of stages, two multiply:
// each has 64 of the 128 rows of a tile. Blocks stay for many tiles. Layer has
//
//   Weight              bf16, f16, e4m3 or i8
//   Input               the same; u8 for i8; or float: rounded to Weight (bf16, f16) on the way
//   kDepth              K
//   kTileN, kStages     columns of a tile (of each product), at most 256 over all products, 128 of e4m3; stages of the ring
//
// The epilogue has, instead of weight(), `const TensorMap *map(int segment, int product) const`: boxes of kTileN rows by 128 bytes. Boxes of x are
// kTileM rows by 128 bytes. All with the 128-byte swizzle. A unit is one tile.
//
//===----------------------------------------------------------------------===//
#include "fragments.cuh"

template <class Layer, class Epilogue>
struct GemmWgmma {
  typedef typename Layer::Input Input;
  typedef typename Layer::Weight Weight;
  typedef typename ProductOf<Input, Weight>::type Product;
  typedef typename SumOf<Weight>::type Sum;
  static constexpr int kTileM = 128, kTileN = Layer::kTileN, kStages = Layer::kStages, kProducts = Epilogue::kProducts, kThreads = 384;
  static constexpr bool kRounds = sizeof(Input) != sizeof(Weight);
  static constexpr bool kPromotes = HasShortSums<Weight>::value; ///< sums of a slice are added up in f32
  static constexpr int kSlice = 128 / sizeof(Weight), kSlices = (Layer::kDepth + kSlice - 1) / kSlice;
  static constexpr int kBoxesOfX = sizeof(Input) / sizeof(Weight), kBoxColumns = 128 / sizeof(Input); // 128 bytes wide each
  static constexpr u32 kTileBytesA = kBoxesOfX * kTileM * 128, kTileBytesB = kTileN * 128, kStageBytes = kTileBytesA + kProducts * kTileBytesB;
  static constexpr u32 kSharedBytes = kStages * (kStageBytes + 16);
  static_assert(kProducts * kTileN <= (kPromotes ? 128 : 256) && kTileN % 32 == 0 && kSharedBytes <= 232448);

  u32 ring;
  DEVICE_MEMBER u32 stage(u32 i) const { return ring + i * kStageBytes; }
  DEVICE_MEMBER u32 full(u32 i) const { return ring + kStages * kStageBytes + i * 8; }
  DEVICE_MEMBER u32 empty(u32 i) const { return full(kStages + i); }

  DEVICE_MEMBER static i64 units(i64 rows) { return (rows + kTileM - 1) / kTileM * ColumnTiles<Epilogue, kTileN>::kCount; }

  typedef RingCursor<kStages> Cursor;

  DEVICE_MEMBER void produce(const TensorMap *x, i64 rows, i64 units, const Epilogue &epilogue) {
    Cursor at;
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
      Tile tile = tileOfUnit<Epilogue, kTileM, kTileN>(unit, rows);
      for (int slice = 0; slice < kSlices; ++slice, at.next()) {
        mbarrierWait(empty(at.stage), at.parity ^ 1); // a new ring is empty
        mbarrierExpect(full(at.stage), kStageBytes);
        UNROLL
        for (int i = 0; i < kBoxesOfX; ++i)
          tmaLoad2(stage(at.stage) + i * kTileM * 128, x, full(at.stage), slice * kSlice + i * kBoxColumns, i32(tile.row));
        UNROLL
        for (int p = 0; p < kProducts; ++p)
          tmaLoad2(stage(at.stage) + kTileBytesA + p * kTileBytesB, epilogue.map(tile.segment, p), full(at.stage), slice * kSlice, i32(tile.column));
      }
    }
  }

  /// Rows of A that this thread holds for wgmma, from a tile of floats in two boxes.
  DEVICE_MEMBER void roundSlice(u32 tile, u32 firstRow, u32 (&fragments)[4][4]) const {
    UNROLL
    for (int step = 0; step < 4; ++step)
      UNROLL
      for (int i = 0; i < 4; ++i) {
        u32 row = firstRow + laneId() / 4 + i % 2 * 8, column = step * 16 + i / 2 * 8 + laneId() % 4 * 2; // of 64
        Vector64 pair = loadShared64(chunkAddress(tile + column / 32 * kTileM * 128, row, column % 32 / 4) + column % 4 * 4);
        fragments[step][i] = packPair(Weight(), floatOf(pair.word[0]), floatOf(pair.word[1]));
      }
  }

  DEVICE_MEMBER void multiplySlice(u32 tile, u32 group, bool accumulate, Sum (&sums)[kProducts][kTileN / 2], u32 (&fragments)[4][4]) const {
    if constexpr (kRounds)
      roundSlice(tile, group * 64 + threadIdx.x % 128 / 32 * 16, fragments);
    wgmmaFence();
    UNROLL
    for (int step = 0; step < 4; ++step)
      UNROLL
      for (int p = 0; p < kProducts; ++p) {
        u64 b = descriptor(tile + kTileBytesA + p * kTileBytesB + step * 32);
        if constexpr (kRounds)
          wgmma(Weight(), sums[p], fragments[step], b, accumulate || step);
        else
          wgmma(Product(), sums[p], descriptor(tile + group * 64 * 128 + step * 32), b, accumulate || step);
      }
    wgmmaCommit();
  }

  DEVICE_MEMBER void storeTile(const Sum (&sums)[kProducts][kTileN / 2], Tile tile, u32 group, i64 rows, const Epilogue &epilogue) const {
    UNROLL
    for (int half = 0; half < 2; ++half)
      UNROLL
      for (int j = 0; j < kTileN / 8; j += 4) {
        Sum products[kProducts][8];
        UNROLL
        for (int p = 0; p < kProducts; ++p) {
          Sum blocks[4][2];
          UNROLL
          for (int b = 0; b < 4; ++b)
            UNROLL
            for (int e = 0; e < 2; ++e)
              blocks[b][e] = sums[p][(j + b) * 4 + half * 2 + e];
          gatherColumns(blocks, products[p]);
        }
        i64 row = tile.row + group * 64 + threadIdx.x % 128 / 32 * 16 + laneId() / 4 + half * 8;
        if (row < rows)
          storeColumns(epilogue, tile.segment, row, tile.column + j * 8 + laneId() % 4 * 8, products);
      }
  }

  DEVICE_MEMBER void consume(u32 group, i64 rows, i64 units, const Epilogue &epilogue) {
    Cursor at;
    Sum sums[kProducts][kTileN / 2], ofSlice[kProducts][kTileN / 2]; // the latter where sums are promoted
    u32 fragments[4][4];
    auto release = [&](u32 i) INLINE_LAMBDA {
      if (laneId() == 0)
        mbarrierArrive(empty(i));
    };
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
      Tile tile = tileOfUnit<Epilogue, kTileM, kTileN>(unit, rows);
      // One group of products stays in flight while the next is issued; rounded fragments are its operands, so they have to wait.
      u32 previous = 0;
      for (int slice = 0; slice < kSlices; ++slice, at.next()) {
        mbarrierWait(full(at.stage), at.parity);
        if constexpr (kPromotes) {
          multiplySlice(stage(at.stage), group, false, ofSlice, fragments);
          wgmmaWait<0>();
          release(at.stage);
          UNROLL
          for (int p = 0; p < kProducts; ++p)
            UNROLL
            for (int i = 0; i < kTileN / 2; ++i)
              sums[p][i] = slice ? sums[p][i] + ofSlice[p][i] : ofSlice[p][i];
          continue;
        }
        multiplySlice(stage(at.stage), group, slice != 0, sums, fragments);
        wgmmaWait<kRounds ? 0 : 1>();
        if (kRounds)
          release(at.stage);
        else if (slice)
          release(previous);
        previous = at.stage;
      }
      if (!kRounds && !kPromotes) {
        wgmmaWait<0>();
        release(previous);
      }
      storeTile(sums, tile, group, rows, epilogue);
    }
  }

  DEVICE_MEMBER void run(unsigned char *smem, const TensorMap *x, i64 rows, i64 units, const Epilogue &epilogue) {
    ring = sharedAddress(smem);
    if (threadIdx.x == 0) {
      for (u32 i = 0; i < kStages; ++i) {
        mbarrierInit(full(i), 1);
        mbarrierInit(empty(i), 8); // a lane of each consuming warp
      }
      fenceMbarrierInit();
    }
    blockSync();
    waitForDependencies();
    u32 group = threadIdx.x / 128;
    if (group == 2) {
      lowerRegisters<40>();
      if (threadIdx.x % 128 == 0)
        produce(x, rows, units, epilogue);
    } else {
      raiseRegisters<232>();
      consume(group, rows, units, epilogue);
    }
  }
};
