//===- prefill_attention.cuh - attention of long steps on tensor cores ----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What paged_attention.cuh computes, for prompts, with mma.sync: queries, keys, weights and values are rounded to 16 bits, sums and the softmax
// are f32. sm_80 and later, heads of at most 128. Problem as there, with 64 rows, 4 warps (16 rows each), no splits, a cache of float, and
//
//   Product             bf16 or f16
//
// A block walks the cache block by block: while one block's keys are multiplied, its values arrive, and while those are, the next block's keys.
//
//===----------------------------------------------------------------------===//
#include "fragments.cuh" // a unit includes paged_attention.cuh before

template <class Problem>
struct PrefillAttention {
  typedef PagedAttention<Problem> Base;
  typedef typename Base::Operands Operands;
  typedef typename Base::Run Run;
  typedef typename Problem::Product Product;
  static constexpr int kRows = Problem::kRows, kThreads = Base::kThreads, kD = Problem::kKeySize, kE = Problem::kValueSize, kPartFloats = 0;
  static constexpr int kSteps = (kD + 15) / 16, kPanelsE = (kE + 15) / 16;
  static constexpr u32 kKeyBytes = 64 * kSteps * 16 * 4, kSharedBytes = kKeyBytes + 64 * kPanelsE * 16 * 4; ///< queries lie where keys come later
  static_assert(kRows == 64 && kThreads == 128 && Problem::kSplits == 1 && kD <= 128 && kE <= 128 && sizeof(typename Problem::Cache) == 4);

  DEVICE_MEMBER static i64 units(i64 tokens) { return Base::units(tokens); }

  /// Panels lie in shared memory as in the cache, lines of 16 floats; pairs of lines move their 16-byte chunks so that the reads below hit all banks.
  static DEVICE_MEMBER u32 lineChunk(u32 panel, u32 line, u32 chunk) {
    return panel + line / 2 * 128 + (((line % 2 * 4 + chunk) ^ (line / 2 % 4 * 2)) << 4);
  }
  /// Starts copies of panels of kLines lines; lines from `valid` on become zero: nobody wrote them.
  template <int kPanels, int kFrom, int kLines>
  static DEVICE_MEMBER void copyLines(u32 to, const float *panels, int valid) {
    static_assert(kPanels * kLines * 4 % kThreads == 0);
    UNROLL_BY(4)
    for (u32 i = 0; i < kPanels * kLines * 4 / kThreads; ++i) {
      u32 part = threadIdx.x + i * kThreads, panel = part / (kLines * 4), line = part / 4 % kLines, chunk = part % 4;
      bool inside = int(line) < valid;
      copyAsync16(lineChunk(to + panel * kLines * 64, line, chunk), panels + (inside ? (panel * kFrom + line) * 16 + chunk * 4 : 0), inside ? 16 : 0);
    }
  }
  /// Where a lane reads in the first panel: column lane / 4, or 8 more, of line lane % 4 * 2, or of the next.
  struct Places {
    u32 at[2][2];
  };
  static DEVICE_MEMBER Places placesIn(u32 panels) {
    Places places;
    UNROLL
    for (u32 i = 0; i < 4; ++i) {
      u32 column = laneId() / 4 + i / 2 * 8;
      places.at[i / 2][i % 2] = lineChunk(panels, laneId() % 4 * 2 + i % 2, column / 4) + column % 4 * 4;
    }
    return places;
  }
  /// B[16, 32 bytes]: K runs over 16 lines from `line` on, N over the columns of their panel. Eight lines on, a chunk lies 512 bytes on.
  static DEVICE_MEMBER void loadPanel(u32 (&fragment)[4], const Places &places, u32 line) {
    UNROLL
    for (u32 i = 0; i < 4; ++i) {
      u32 offset = line * 64 + i % 2 * 512;
      fragment[i] = packPair(Product(), floatOf(loadShared32(places.at[i / 2][0] + offset)), floatOf(loadShared32(places.at[i / 2][1] + offset)));
    }
  }

  /// One of the two rows that a lane has a part of.
  struct Row {
    int row, head;
    i32 low, high, position; ///< keys it sees
    float maximum, sum;      ///< of all keys so far, of this lane's
  };
  static DEVICE_MEMBER Row rowOf(const Run &run, int row) {
    bool has = run.has(row);
    return {row, run.queryHead(row), i32(run.low(row)), has ? i32(run.high(row)) : 0, i32(run.position(row)), floatOf(0xff800000u), 0};
  }

  /// Scores of 64 keys become weights; returns what earlier sums shrink by.
  static DEVICE_MEMBER float weigh(Row &row, int half, i32 key, float (&scores)[8][4], const Operands &operands) {
    float largest = row.maximum;
    UNROLL
    for (int j = 0; j < 8; ++j)
      UNROLL
      for (int e = 0; e < 2; ++e) {
        i32 at = key + j * 8 + laneId() % 4 * 2 + e;
        float score = Base::shape(scores[j][half * 2 + e], row.head, at - row.position, operands);
        score = at >= row.low && at < row.high ? score : floatOf(0xff800000u);
        scores[j][half * 2 + e] = score;
        largest = maximum(largest, score);
      }
    largest = maximum(largest, shuffleXor(largest, 1));
    largest = maximum(largest, shuffleXor(largest, 2));
    bool none = largest == floatOf(0xff800000u); // a row that sees nothing yet
    float shrink = none ? 1.0f : exp2Approx(row.maximum - largest), sum = 0;
    UNROLL
    for (int j = 0; j < 8; ++j)
      UNROLL
      for (int e = 0; e < 2; ++e) {
        float &weight = scores[j][half * 2 + e];
        weight = none ? 0.0f : exp2Approx(weight - largest);
        sum += weight;
      }
    row.maximum = largest;
    row.sum = row.sum * shrink + sum;
    return shrink;
  }

  static DEVICE_MEMBER void loadQueryFragments(const float *queries, u32 (&fragments)[kSteps][4]) {
    UNROLL
    for (int step = 0; step < kSteps; ++step)
      UNROLL
      for (int i = 0; i < 4; ++i) {
        int row = threadIdx.x / 32 * 16 + laneId() / 4 + i % 2 * 8, d = step * 16 + i / 2 * 8 + laneId() % 4 * 2;
        const float *from = queries + row * kD + d;
        fragments[step][i] = packPair(Product(), d < kD ? from[0] : 0.0f, d + 1 < kD ? from[1] : 0.0f);
      }
  }

  static DEVICE_MEMBER void storeRow(Row row, int half, const float (&values)[2 * kPanelsE][4], const Run &run, const Operands &operands) {
    row.sum += shuffleXor(row.sum, 1);
    row.sum += shuffleXor(row.sum, 2);
    float sink = operands.sinks ? operands.sinks[row.head] * Base::kLog2E : floatOf(0xff800000u), largest = maximum(row.maximum, sink);
    bool none = row.maximum == floatOf(0xff800000u); // nothing to see: zero
    float scale = none ? 0.0f : exp2Approx(row.maximum - largest), total = none ? 1.0f : row.sum * scale + exp2Approx(sink - largest);
    scale = scale / total;
    if (!run.has(row.row))
      return;
    float *to = operands.output + (run.token(row.row) * Problem::kHeads + row.head) * kE;
    UNROLL
    for (int j = 0; j < 2 * kPanelsE; ++j)
      UNROLL
      for (int e = 0; e < 2; ++e) {
        int feature = j * 8 + laneId() % 4 * 2 + e;
        if (feature < kE)
          to[feature] = values[j][half * 2 + e] * scale;
      }
  }

  static DEVICE_MEMBER void chunk(unsigned char *smem, const Run &run, int, i64, const Operands &operands) {
    int last = run.rows - run.firstRow < kRows ? run.rows - run.firstRow - 1 : kRows - 1;
    i32 low = i32(run.low(0) / 64), high = i32(run.high(last)), end = (high + 63) / 64; // rows are in the order of their tokens
    u32 keys = sharedAddress(smem), values = keys + kKeyBytes;
    Places keyPlaces = placesIn(keys), valuePlaces = placesIn(values);
    auto headOf = [&](i32 block) INLINE_LAMBDA {
      return operands.cache + run.blocks[run.sequence.table + block] * Base::kBlockSize + run.head * Base::kHeadSize;
    };
    auto loadKeys = [&](i32 block) INLINE_LAMBDA {
      if (block < end)
        copyLines<4, kD, kSteps * 16>(keys, headOf(block), kD);
      copyAsyncCommit(); // empty groups keep the count
    };
    auto loadValues = [&](i32 block) INLINE_LAMBDA {
      if (block < end)
        copyLines<kPanelsE, 64, 64>(values, headOf(block) + 64 * kD, high - block * 64);
      copyAsyncCommit();
    };

    u32 queries[kSteps][4];
    Base::loadQueries((float *)smem, run, operands);
    blockSync();
    loadQueryFragments((const float *)smem, queries);
    blockSync(); // queries are read: their place is free for keys
    loadKeys(low);
    loadValues(low);
    int first = threadIdx.x / 32 * 16 + laneId() / 4;
    Row rows[2] = {rowOf(run, first), rowOf(run, first + 8)};
    float sums[2 * kPanelsE][4];
    UNROLL
    for (auto &block : sums)
      UNROLL
      for (float &sum : block)
        sum = 0;
    for (i32 block = low; block < end; ++block) {
      float scores[8][4];
      UNROLL
      for (auto &columns : scores)
        UNROLL
        for (float &score : columns)
          score = 0;
      copyAsyncWait<1>();
      blockSync(); // the keys are there for all
      UNROLL
      for (int panel = 0; panel < 4; ++panel)
        UNROLL
        for (int step = 0; step < kSteps; ++step) {
          u32 b[4];
          loadPanel(b, keyPlaces, (panel * kSteps + step) * 16);
          multiply(Product(), scores[2 * panel], queries[step], b);
          multiply(Product(), scores[2 * panel + 1], queries[step], b + 2);
        }
      blockSync(); // all have read the keys
      loadKeys(block + 1);
      UNROLL
      for (int half = 0; half < 2; ++half) {
        float shrink = weigh(rows[half], half, block * 64, scores, operands);
        UNROLL
        for (auto &columns : sums) {
          columns[half * 2] *= shrink;
          columns[half * 2 + 1] *= shrink;
        }
      }
      copyAsyncWait<1>();
      blockSync(); // the values are there for all
      UNROLL
      for (int step = 0; step < 4; ++step) {
        // Sums lie in the registers as the first operand does, two blocks of 8 columns for 16 of K.
        const float(&left)[4] = scores[2 * step], (&right)[4] = scores[2 * step + 1];
        u32 a[4] = {packPair(Product(), left[0], left[1]), packPair(Product(), left[2], left[3]), packPair(Product(), right[0], right[1]),
                    packPair(Product(), right[2], right[3])};
        UNROLL
        for (int panel = 0; panel < kPanelsE; ++panel) {
          u32 b[4];
          loadPanel(b, valuePlaces, (panel * 4 + step) * 16);
          multiply(Product(), sums[2 * panel], a, b);
          multiply(Product(), sums[2 * panel + 1], a, b + 2);
        }
      }
      blockSync(); // all have read the values
      loadValues(block + 1);
    }
    copyAsyncWait<0>();
    UNROLL
    for (int half = 0; half < 2; ++half)
      storeRow(rows[half], half, sums, run, operands);
  }

  static DEVICE_MEMBER void run(unsigned char *smem, const StepTable *table, i64 units, const Operands &operands) {
    Base::template runFamily<PrefillAttention>(smem, table, units, operands);
  }
};
