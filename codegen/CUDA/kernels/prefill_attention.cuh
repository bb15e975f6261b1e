//===- prefill_attention.cuh - attention of long steps on tensor cores ----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What paged_attention.cuh computes, for prompts, with mma.sync: queries, keys, weights and values are rounded to 16 bits, sums and the softmax
// are f32. sm_80 and later, heads of at most 128. Problem as there, with 64 rows, 4 warps (16 rows each), no splits, and
//
//   Product             bf16 or f16; the cache is float or the same
//
// A block walks the cache block by block: while one block's keys are multiplied, its values arrive, and while those are, the next block's keys.
//
//===----------------------------------------------------------------------===//
#include "fragments.cuh" // a unit includes paged_attention.cuh before
#include "running_softmax.cuh"

/// The rows that a lane has a part of, as fragments of products have them: 16 rows a warp.
template <class Problem>
struct PrefillRows {
  typedef PagedAttention<Problem> Base;
  typedef typename Base::Operands Operands;
  typedef typename Base::Run Run;
  static constexpr int kD = Problem::kKeySize, kE = Problem::kValueSize;

  struct Row {
    int row, head;
    i32 low, high, position; ///< keys it sees
    RunningSoftmax softmax;
  };
  static DEVICE_MEMBER Row rowOf(const Run &run, int row) {
    bool has = run.has(row);
    return {row, run.queryHead(row), i32(run.low(row)), has ? i32(run.high(row)) : 0, i32(run.position(row)), {}};
  }

  /// A lane's numbers of row `half` of its two, for all steps of 16 features.
  template <int kSteps>
  static DEVICE_MEMBER void loadQueries(const Run &run, const Row &row, int half, u32 (&fragments)[kSteps][4], const Operands &operands) {
    bool has = run.has(row.row);
    const float *query = operands.query + (run.token(has ? row.row : 0) * Problem::kHeads + (has ? row.head : 0)) * kD;
    const typename Problem::Position *position = operands.positions + run.token(has ? row.row : 0);
    auto number = [&](int d) INLINE_LAMBDA { return has && d < kD ? rotatedElement<Problem>(query, d, position, operands.frequencies) * Base::queryFactor() : 0.0f; };
    UNROLL_BY(1) // sines are long
    for (int step = 0; step < kSteps; ++step)
      UNROLL
      for (int i = 0; i < 2; ++i) {
        int d = step * 16 + i * 8 + laneId() % 4 * 2;
        u32 pair = packPair(typename Problem::Product(), number(d), number(d + 1));
        UNROLL
        for (int s = 0; s < kSteps; ++s) // registers have no numbers at run time
          fragments[s][i * 2 + half] = s == step ? pair : fragments[s][i * 2 + half];
      }
  }

  /// Scores of the 64 keys from `key` on, of which a lane has 16 (`score(i)` refers to that of key i / 2 * 8 + ... + i % 2), become weights; returns
  /// what earlier sums shrink by.
  template <class Score>
  static DEVICE_MEMBER float weigh(Row &row, i32 key, Score score, const Operands &operands) {
    UNROLL
    for (int i = 0; i < 16; ++i) {
      i32 at = key + i / 2 * 8 + laneId() % 4 * 2 + i % 2;
      float shaped = Base::shape(score(i), row.head, at - row.position, operands);
      score(i) = at >= row.low && at < row.high ? shaped : floatOf(kMinusInfinity);
    }
    return row.softmax.template weigh<16>(score);
  }

  /// `sum(i)` is that of feature i / 2 * 8 + ... + i % 2.
  template <class Sum>
  static DEVICE_MEMBER void storeRow(const Run &run, const Row &row, Sum sum, const Operands &operands) {
    float sink = operands.sinks ? operands.sinks[row.head] * Base::kLog2E : floatOf(kMinusInfinity), total = row.softmax.total(), before = row.softmax.maximum;
    float largest = maximum(before, sink);
    bool none = before == floatOf(kMinusInfinity); // nothing to see: zero
    float scale = none ? 0.0f : exp2Approx(before - largest);
    scale = scale / (none ? 1.0f : total * scale + exp2Approx(sink - largest));
    if (!run.has(row.row))
      return;
    float *to = operands.output + (run.token(row.row) * Problem::kHeads + row.head) * kE;
    UNROLL
    for (int i = 0; i < (kE + 15) / 16 * 4; ++i) {
      int feature = i / 2 * 8 + laneId() % 4 * 2 + i % 2;
      if (feature < kE)
        to[feature] = sum(i) * scale;
    }
  }
};

/// Panels of the cache in shared memory, as operands. In f32: lines of 16, which pairs of lines move by 16-byte chunks so that the reads below hit all
/// banks, and which are rounded when they are read.
template <class Problem, class Cache>
struct PrefillPanels {
  typedef typename Problem::Product Product;
  static constexpr int kChunks = 4; ///< of a line
  static DEVICE_MEMBER u32 chunkPlace(u32 panel, u32, u32 line, u32 chunk) { return panel + line / 2 * 128 + (((line % 2 * 4 + chunk) ^ (line / 2 % 4 * 2)) << 4); }
  /// Where a lane reads in the first panel: column lane / 4, or 8 more, of line lane % 4 * 2, or of the next.
  u32 at[2][2];
  static DEVICE_MEMBER PrefillPanels in(u32 panels) {
    PrefillPanels places;
    UNROLL
    for (u32 i = 0; i < 4; ++i) {
      u32 column = laneId() / 4 + i / 2 * 8;
      places.at[i / 2][i % 2] = chunkPlace(panels, 0, laneId() % 4 * 2 + i % 2, column / 4) + column % 4 * 4;
    }
    return places;
  }
  /// B[16, 32 bytes]: K runs over 16 lines of panel `panel` of kLines lines, from `line` on; N over the panel's columns.
  template <int kLines>
  DEVICE_MEMBER void load(u32 (&fragment)[4], u32 panel, u32 line) const {
    UNROLL
    for (u32 i = 0; i < 4; ++i) {
      u32 offset = (panel * kLines + line) * 64 + i % 2 * 512; // eight lines on, a chunk lies 512 bytes on
      fragment[i] = packPair(Product(), floatOf(loadShared32(at[i / 2][0] + offset)), floatOf(loadShared32(at[i / 2][1] + offset)));
    }
  }
};
/// In 16 bits: two panels of 8, lines of 16 bytes, are one of 16.
template <class Problem>
struct PrefillPanels<Problem, typename Problem::Product> {
  static constexpr int kChunks = 2;
  static DEVICE_MEMBER u32 chunkPlace(u32 panel, u32 lines, u32 line, u32 chunk) { return panel + (chunk * lines + line) * 16; }
  u32 panels;
  static DEVICE_MEMBER PrefillPanels in(u32 panels) { return {panels}; }
  template <int kLines>
  DEVICE_MEMBER void load(u32 (&fragment)[4], u32 panel, u32 line) const {
    loadMatrixTransposed4(fragment, chunkPlace(panels + panel * kLines * 32, kLines, line + laneId() % 16, laneId() / 16));
  }
};

template <class Problem>
struct PrefillAttention {
  typedef PagedAttention<Problem> Base;
  typedef PrefillRows<Problem> Rows;
  typedef typename Base::Operands Operands;
  typedef typename Base::Run Run;
  typedef typename Problem::Cache Cache;
  typedef typename Problem::Product Product;
  typedef PrefillPanels<Problem, Cache> Panels;
  static constexpr int kRows = Problem::kRows, kThreads = Base::kThreads, kD = Problem::kKeySize, kE = Problem::kValueSize, kPartFloats = 0;
  static constexpr int kSteps = (kD + 15) / 16, kPanelsE = (kE + 15) / 16;
  static constexpr u32 kKeyBytes = 64 * kSteps * 16 * sizeof(Cache), kSharedBytes = kKeyBytes + 64 * kPanelsE * 16 * sizeof(Cache);
  static_assert(kRows == 64 && kThreads == 128 && Problem::kSplits == 1 && kD <= 128 && kE <= 128);

  DEVICE_MEMBER static i64 units(i64 tokens) { return Base::units(tokens); }

  /// Starts copies of kPanels panels of 16, each of kLines lines, of which the cache has kFrom; lines from `valid` on become zero: nobody wrote them.
  template <int kPanels, int kFrom, int kLines>
  static DEVICE_MEMBER void copyLines(u32 to, const Cache *panels, int valid) {
    constexpr u32 kChunks = Panels::kChunks, kEach = 16 / sizeof(Cache);
    static_assert(kPanels * kLines * kChunks % kThreads == 0);
    UNROLL_BY(4)
    for (u32 i = 0; i < kPanels * kLines * kChunks / kThreads; ++i) {
      u32 part = threadIdx.x + i * kThreads, panel = part / (kLines * kChunks), line = part / kChunks % kLines, chunk = part % kChunks;
      bool inside = int(line) < valid;
      if constexpr (kChunks == 2) // one panel of 8 after the other
        line = part % kLines, chunk = part / kLines % 2, inside = int(line) < valid;
      u32 from = kChunks == 2 ? ((panel * 2 + chunk) * kFrom + line) * kEach : (panel * kFrom + line) * 16 + chunk * kEach;
      copyAsync16(Panels::chunkPlace(to + panel * kLines * kChunks * 16, kLines, line, chunk), panels + (inside ? from : 0), inside ? 16 : 0);
    }
  }

  static DEVICE_MEMBER void chunk(unsigned char *smem, const Run &run, const Operands &operands) {
    int last = run.rows - run.firstRow < kRows ? run.rows - run.firstRow - 1 : kRows - 1;
    i32 low = i32(run.low(0) / 64), high = i32(run.high(last)), end = (high + 63) / 64; // rows are in the order of their tokens
    u32 keys = sharedAddress(smem), values = keys + kKeyBytes;
    Panels keyPanels = Panels::in(keys), valuePanels = Panels::in(values);
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

    loadKeys(low);
    loadValues(low);
    int first = threadIdx.x / 32 * 16 + laneId() / 4;
    typename Rows::Row rows[2] = {Rows::rowOf(run, first), Rows::rowOf(run, first + 8)};
    u32 queries[kSteps][4];
    UNROLL
    for (int half = 0; half < 2; ++half)
      Rows::template loadQueries<kSteps>(run, rows[half], half, queries, operands);
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
          keyPanels.template load<kSteps * 16>(b, panel, step * 16);
          multiply(Product(), scores[2 * panel], queries[step], b);
          multiply(Product(), scores[2 * panel + 1], queries[step], b + 2);
        }
      blockSync(); // all have read the keys
      loadKeys(block + 1);
      UNROLL
      for (int half = 0; half < 2; ++half) {
        float shrink = Rows::weigh(rows[half], block * 64, [&](int i) INLINE_LAMBDA -> float & { return scores[i / 2][half * 2 + i % 2]; }, operands);
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
          valuePanels.template load<64>(b, panel, step * 16);
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
      Rows::storeRow(run, rows[half], [&](int i) INLINE_LAMBDA { return sums[i / 2][half * 2 + i % 2]; }, operands);
  }

  static DEVICE_MEMBER void run(unsigned char *smem, const StepTable *table, i64 units, const Operands &operands) {
    Base::forEachRun(table, units, [&](const Run &run, int, i64) INLINE_LAMBDA { chunk(smem, run, operands); });
  }
};
