//===- gemm_split.cuh - products that share K between blocks --------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// gemm_mma.cuh (or `Products`) where a few rows make too few tiles for all multiprocessors. Layer as there, and
//
//   kSplits             blocks that share a tile, at most the number of slices
//
// A unit is a split of a tile. Each leaves its sums in scratch memory, kSums numbers a thread; the last to arrive adds them up, in the order of the
// splits, so that results do not depend on who it is.
//
//===----------------------------------------------------------------------===//
#include "fragments.cuh" // a unit includes gemm_mma.cuh before

template <class Layer, class Epilogue, class Products = GemmMma<Layer, Epilogue>>
struct GemmSplit : Products {
  typedef Products Base;
  typedef typename Base::Sum Sum;
  static constexpr int kSplits = Layer::kSplits, kSums = Base::kProducts * Base::kBlocksM * Base::kBlocksN * 4;
  static_assert(kSplits > 1 && kSplits <= int(Base::kSlices));

  DEVICE_MEMBER static i64 units(i64 rows) { return Base::units(rows) * kSplits; }

  /// Each sum of this thread with its number.
  template <class Do>
  DEVICE_MEMBER void forEachSum(Do action) {
    int number = 0;
    UNROLL
    for (auto &product : this->sums)
      UNROLL
      for (auto &row : product)
        UNROLL
        for (auto &block : row)
          UNROLL
          for (Sum &sum : block)
            action(sum, number++);
  }

  /// True for the last split of a tile, which then has the sums of all. `parts` are the tile's.
  DEVICE_MEMBER bool join(u32 *arrived, Sum *parts, u32 *counter, int split) {
    auto place = [&](int part, int number) INLINE_LAMBDA { return parts + (i64(part) * kSums + number) * Base::kThreads + threadIdx.x; };
    forEachSum([&](Sum &sum, int number) INLINE_LAMBDA { *place(split, number) = sum; });
    fenceDevice();
    blockSync();
    if (threadIdx.x == 0)
      *arrived = addCounter(counter, 1);
    blockSync();
    if (*arrived + 1 != kSplits)
      return false;
    fenceDevice();
    this->clear();
    for (int part = 0; part < kSplits; ++part)
      forEachSum([&](Sum &sum, int number) INLINE_LAMBDA { sum += *place(part, number); });
    if (threadIdx.x == 0)
      *counter = 0;
    return true;
  }

  /// `counters`: one a tile, zero before and after.
  DEVICE_MEMBER void run(const unsigned char *smem, const typename Base::Input *x, i64 rows, i64 units, const Epilogue &epilogue, Sum *parts, u32 *counters) {
    STATIC_SHARED(u32, arrived, 1);
    u32 ring = sharedAddress(smem);
    this->findWarp();
    waitForDependencies();
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
      i64 number = unit / kSplits;
      int split = int(unit % kSplits);
      Tile tile = tileOfUnit<Epilogue, Base::kTileM, Base::kTileN>(number, rows);
      this->multiplyTile(ring, tile, Base::kSlices * split / kSplits, Base::kSlices * (split + 1) / kSplits, x, rows, epilogue);
      if (join(arrived, parts + number * kSplits * kSums * Base::kThreads, counters + number, split))
        this->storeTile(tile, rows, epilogue);
    }
  }
};
