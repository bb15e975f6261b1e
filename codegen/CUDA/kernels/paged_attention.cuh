//===- paged_attention.cuh - attention of a step over the cache -----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// llm.paged_attention, queries rotated on the way (llm.rope): softmax in f32 with a running maximum; nothing of the size of the scores is kept.
// Any target. Cache blocks lie as codegen/Common/CacheLayout.h says: keys in panels of 16 tokens, values in panels of 16 features; a cache of 16 bits
// in panels of 8, whose lines are the 16 bytes that tensor cores take as a row of 8 by 8. Problem has
//
//   Cache               float, bf16 or f16; queries and results are float
//   kHeads, kKvHeads, kKeySize, kValueSize
//   kTileTokens         tokens of the step whose queries share what is read, with all heads of a key-value head (GQA)
//   kRows               query rows a block takes at once: 1, 2, 4 or 8
//   kWarps, kSplits     a block's warps share the keys; so do kSplits blocks, the last of which joins their results (kTileTokens 1 only)
//   kTable              0: the sequence's own states, 1: the encoder's
//   kCausal, kWindow    window 0: none
//   scale(), softcap()  softcap 0: none
//   and what rope.cuh asks for
//   kBiasWidth          columns of `bias`, 0: none
//
// A unit is a split of a chunk of kRows rows of a tile of a key-value head. Scratch, for more than one split: kPartFloats floats a unit.
//
//===----------------------------------------------------------------------===//
#include "division.cuh"
#include "rope.cuh"
#include "vectors.cuh"

/// Operands of the kernel; those that a problem does not have are null.
template <class Problem>
struct PagedOperands {
  const float *query;
  const typename Problem::Position *positions;
  const float *frequencies, *slopes, *bias, *sinks;
  const typename Problem::Cache *cache;
  float *output;
  float *parts;      ///< scratch
  u32 *counters;     ///< for each unit / kSplits, zero before and after
};

template <class Problem>
struct PagedAttention {
  typedef typename Problem::Cache Cache;
  typedef PagedOperands<Problem> Operands;
  static constexpr int kRows = Problem::kRows, kWarps = Problem::kWarps, kThreads = 32 * kWarps, kSplits = Problem::kSplits;
  static constexpr int kD = Problem::kKeySize, kE = Problem::kValueSize, kPanelsE = (kE + 15) / 16;
  static constexpr int kGroup = Problem::kHeads / Problem::kKvHeads, kChunks = (Problem::kTileTokens * kGroup + kRows - 1) / kRows;
  static constexpr int kEach = 16 / sizeof(Cache), kLanes = 16 / kEach, kAtOnce = 32 / kLanes; // of a 16-byte load: numbers, lanes of a line, lines
  static constexpr int kPanel = sizeof(Cache) == 4 ? 16 : 8;
  static constexpr i64 kHeadSize = 64 * (kD + kPanelsE * 16), kBlockSize = kHeadSize * Problem::kKvHeads;
  static constexpr int kPartFloats = kRows * (kE + 2); // maximum, sum and values of each row
  static constexpr u32 kSharedBytes = (kRows * kD + kWarps * kRows * 16 + kWarps * kPartFloats) * 4 + 16;
  static constexpr float kLog2E = 1.44269504f;
  static_assert(kSplits == 1 || Problem::kTileTokens == 1);

  DEVICE_MEMBER static i64 units(i64 tokens) { return (tokens + Problem::kTileTokens - 1) / Problem::kTileTokens * Problem::kKvHeads * kChunks * kSplits; }

  /// Tokens of one sequence in a tile, and the rows of them that a block takes: row r is (token first + r / kGroup, head r % kGroup of the group).
  struct Run {
    SequenceRow sequence;
    const i32 *blocks;
    i64 first;
    int rows, firstRow, head; ///< rows of the run, first of the chunk
    DEVICE_MEMBER bool has(int r) const { return firstRow + r < rows; }
    DEVICE_MEMBER i64 token(int r) const { return first + (firstRow + r) / kGroup; }
    DEVICE_MEMBER int queryHead(int r) const { return head * kGroup + (firstRow + r) % kGroup; }
    // In 32 bits: of all rows together, 64 would take the last registers.
    DEVICE_MEMBER i32 position(int r) const { return i32(sequence.past + token(r) - sequence.first); }
    DEVICE_MEMBER i32 high(int r) const {
      i32 length = i32(sequence.length), position = this->position(r);
      return Problem::kCausal && position + 1 < length ? position + 1 : length;
    }
    DEVICE_MEMBER i32 low(int r) const {
      i64 low = i64(position(r)) + 1 - Problem::kWindow;
      return Problem::kWindow > 0 && low > 0 ? i32(low) : 0;
    }
  };

  /// What one warp knows of its rows so far; `values` of a lane: kEach features of each panel, of the tokens it reads.
  struct State {
    float maximum[kRows], sum[kRows], values[kRows][kPanelsE][kEach];
  };

  static DEVICE_MEMBER float *queries(unsigned char *smem) { return (float *)smem; }
  static DEVICE_MEMBER float *weights(unsigned char *smem) { return queries(smem) + kRows * kD + threadIdx.x / 32 * kRows * 16; }
  static DEVICE_MEMBER float *part(unsigned char *smem, int warp) { return queries(smem) + kRows * kD + kWarps * kRows * 16 + warp * kPartFloats; }

  /// Scores are in base 2, or what softcap takes.
  static DEVICE_MEMBER float queryFactor() { return Problem::softcap() > 0 ? Problem::scale() / Problem::softcap() : Problem::scale() * kLog2E; }
  static DEVICE_MEMBER void loadQueries(float *to, const Run &run, const Operands &operands) {
    for (int i = threadIdx.x; i < kRows * kD; i += kThreads) {
      int r = i / kD, d = i % kD;
      if (!run.has(r)) {
        to[i] = 0;
        continue;
      }
      const float *query = operands.query + (run.token(r) * Problem::kHeads + run.queryHead(r)) * kD;
      to[i] = rotatedElement<Problem>(query, d, operands.positions + run.token(r), operands.frequencies) * queryFactor();
    }
  }

  /// Where a lane's 16 bytes of a line of 16 begin, behind the first: in one panel, or in two of `lines` lines each.
  static DEVICE_MEMBER i64 partOfLine(int line, int lines) {
    int part = laneId() % kLanes * kEach;
    return part / kPanel * lines * kPanel + line * kPanel + part % kPanel;
  }
  /// Scores in base 2 of 16 keys from `key` on: a lane gets those of kEach keys, all groups of kLanes lanes the same.
  static DEVICE_MEMBER void scorePanel(const float *query, const Cache *keys, i32 key, const Run &run, const Operands &operands,
                                       float (&scores)[kRows][kEach]) {
    UNROLL
    for (auto &row : scores)
      UNROLL
      for (float &score : row)
        score = 0;
    UNROLL
    for (int i = 0; i < (kD + kAtOnce - 1) / kAtOnce; ++i) {
      int d = i * kAtOnce + laneId() / kLanes;
      if (kD % kAtOnce && d >= kD)
        break;
      float numbers[kEach];
      unpack(Cache(), loadGlobal128(keys + partOfLine(d, kD)), numbers);
      UNROLL
      for (int r = 0; r < kRows; ++r) {
        float q = query[r * kD + d];
        UNROLL
        for (int e = 0; e < kEach; ++e)
          scores[r][e] += q * numbers[e];
      }
    }
    UNROLL
    for (int r = 0; r < kRows; ++r)
      UNROLL
      for (int e = 0; e < kEach; ++e) {
        float score = scores[r][e];
        UNROLL
        for (u32 mask = 16; mask >= kLanes; mask /= 2)
          score += shuffleXor(score, mask);
        scores[r][e] = adjust(score, r, key + i32(laneId() % kLanes * kEach) + e, run, operands);
      }
  }

  /// Softcap and what depends on the distance between query and key.
  static DEVICE_MEMBER float shape(float score, int head, i64 distance, const Operands &operands) {
    if (Problem::softcap() > 0)
      score = tanhExact(score) * (Problem::softcap() * kLog2E);
    if (operands.slopes)
      score += operands.slopes[head] * kLog2E * float(distance);
    if constexpr (Problem::kBiasWidth > 0) {
      i64 place = distance + (Problem::kBiasWidth - 1) / 2;
      place = place < 0 ? 0 : place < Problem::kBiasWidth ? place : Problem::kBiasWidth - 1;
      score += operands.bias[head * i64(Problem::kBiasWidth) + place] * kLog2E;
    }
    return score;
  }

  static DEVICE_MEMBER float adjust(float score, int r, i32 key, const Run &run, const Operands &operands) {
    bool visible = run.has(r) && key >= run.low(r) && key < run.high(r);
    score = shape(score, run.queryHead(r), key - run.position(r), operands);
    return visible ? score : floatOf(0xff800000u); // minus infinity, also where the cache was never written
  }

  /// Takes 16 keys into account.
  static DEVICE_MEMBER void panel(State &state, const float *query, float *weights, i32 key, i32 high, const Run &run, const Operands &operands) {
    i64 block = run.blocks[run.sequence.table + key / 64];
    const Cache *keys = operands.cache + block * kBlockSize + run.head * kHeadSize, *values = keys + 64 * kD + key % 64 * kPanel;
    float scores[kRows][kEach];
    scorePanel(query, keys + key % 64 * kD, key, run, operands, scores);
    UNROLL
    for (int r = 0; r < kRows; ++r) {
      float largest = state.maximum[r];
      UNROLL
      for (float score : scores[r])
        largest = maximum(largest, score);
      UNROLL
      for (u32 mask = kLanes / 2; mask; mask /= 2)
        largest = maximum(largest, shuffleXor(largest, mask));
      bool none = largest == floatOf(0xff800000u); // a row that sees nothing yet
      float shrink = none ? 1.0f : exp2Approx(state.maximum[r] - largest), sum = 0;
      UNROLL
      for (float &score : scores[r]) {
        score = none ? 0.0f : exp2Approx(score - largest);
        sum += score;
      }
      UNROLL
      for (u32 mask = kLanes / 2; mask; mask /= 2)
        sum += shuffleXor(sum, mask);
      state.maximum[r] = largest;
      state.sum[r] = state.sum[r] * shrink + sum;
      UNROLL
      for (auto &part : state.values[r])
        UNROLL
        for (float &value : part)
          value *= shrink;
      if (laneId() < kLanes)
        UNROLL
        for (int e = 0; e < kEach; ++e)
          weights[r * 16 + laneId() * kEach + e] = scores[r][e];
    }
    warpSync();
    UNROLL
    for (int token = 0; token < 16; token += kAtOnce) {
      int mine = token + laneId() / kLanes;
      bool exists = key + mine < high; // beyond, anything may lie, and zero times that may be no number
      UNROLL
      for (int p = 0; p < kPanelsE; ++p) {
        float numbers[kEach];
        unpack(Cache(), loadGlobal128(values + p * 64 * 16 + partOfLine(mine, 64)), numbers);
        UNROLL
        for (int r = 0; r < kRows; ++r)
          UNROLL
          for (int e = 0; e < kEach; ++e)
            state.values[r][p][e] += exists ? weights[r * 16 + mine] * numbers[e] : 0.0f;
      }
    }
    warpSync();
  }

  /// A warp's rows to memory; tokens that different lanes had are added up.
  static DEVICE_MEMBER void storePart(State &state, float *part) {
    UNROLL
    for (int r = 0; r < kRows; ++r) {
      UNROLL
      for (int p = 0; p < kPanelsE; ++p)
        UNROLL
        for (int e = 0; e < kEach; ++e) {
          float value = state.values[r][p][e];
          UNROLL
          for (u32 mask = 16; mask >= kLanes; mask /= 2)
            value += shuffleXor(value, mask);
          int feature = p * 16 + laneId() * kEach + e;
          if (laneId() < kLanes && feature < kE)
            part[r * (kE + 2) + 2 + feature] = value;
        }
      if (laneId() == 0) {
        part[r * (kE + 2)] = state.maximum[r];
        part[r * (kE + 2) + 1] = state.sum[r];
      }
    }
  }

  /// Joins `count` parts: numbers of one feature, or (finish) the result.
  struct Joined {
    float maximum, sum, value;
  };
  static DEVICE_MEMBER Joined join(const float *parts, int count, int r, int feature, float sink) {
    Joined joined{sink, 0, 0};
    for (int i = 0; i < count; ++i)
      joined.maximum = maximum(joined.maximum, parts[i * kPartFloats + r * (kE + 2)]);
    if (joined.maximum == floatOf(0xff800000u))
      return joined;
    joined.sum = exp2Approx(sink - joined.maximum);
    for (int i = 0; i < count; ++i) {
      const float *row = parts + i * kPartFloats + r * (kE + 2);
      float weight = exp2Approx(row[0] - joined.maximum);
      joined.sum += row[1] * weight;
      joined.value += row[2 + feature] * weight;
    }
    return joined;
  }

  /// The result of the run's rows, from `count` parts.
  static DEVICE_MEMBER void storeRows(const float *parts, int count, const Run &run, const Operands &operands) {
    for (int i = threadIdx.x; i < kRows * kE; i += kThreads) {
      int r = i / kE;
      if (!run.has(r))
        break;
      float sink = operands.sinks ? operands.sinks[run.queryHead(r)] * kLog2E : floatOf(0xff800000u);
      Joined joined = join(parts, count, r, i % kE, sink);
      operands.output[(run.token(r) * Problem::kHeads + run.queryHead(r)) * kE + i % kE] = joined.sum > 0 ? joined.value / joined.sum : 0.0f;
    }
  }

  static DEVICE_MEMBER void chunk(unsigned char *smem, const Run &run, int split, i64 unit, const Operands &operands) {
    int last = run.rows - run.firstRow < kRows ? run.rows - run.firstRow - 1 : kRows - 1;
    i64 low = run.low(0) / 16, high = run.high(last), panels = (high + 15) / 16 - low; // rows are in the order of their tokens
    // Few keys are not worth sharing between blocks; all blocks of a group see the same.
    i64 splits = (panels + 4 * kWarps - 1) / (4 * kWarps);
    splits = splits < 1 ? 1 : splits < kSplits ? splits : kSplits;
    if (split >= splits)
      return;
    loadQueries(queries(smem), run, operands);
    blockSync();
    State state;
    UNROLL
    for (int r = 0; r < kRows; ++r) {
      state.maximum[r] = floatOf(0xff800000u);
      state.sum[r] = 0;
      UNROLL
      for (auto &part : state.values[r])
        UNROLL
        for (float &value : part)
          value = 0;
    }
    i64 begin = low + quotient(panels * split, splits), end = low + quotient(panels * (split + 1), splits);
    for (i64 p = begin + threadIdx.x / 32; p < end; p += kWarps)
      panel(state, queries(smem), weights(smem), i32(p * 16), i32(high), run, operands);
    storePart(state, part(smem, threadIdx.x / 32));
    blockSync();
    if (splits == 1)
      storeRows(part(smem, 0), kWarps, run, operands);
    else
      shareSplit(smem, run, int(splits), unit, operands);
    blockSync(); // shared memory is used again
  }

  static DEVICE_MEMBER void shareSplit(unsigned char *smem, const Run &run, int splits, i64 unit, const Operands &operands) {
    float *parts = operands.parts + unit / kSplits * kSplits * kPartFloats, *mine = operands.parts + unit * kPartFloats;
    for (int i = threadIdx.x; i < kRows * kE; i += kThreads) {
      int r = i / kE, feature = i % kE;
      Joined joined = join(part(smem, 0), kWarps, r, feature, floatOf(0xff800000u));
      mine[r * (kE + 2) + 2 + feature] = joined.value;
      if (feature == 0) {
        mine[r * (kE + 2)] = joined.maximum;
        mine[r * (kE + 2) + 1] = joined.sum;
      }
    }
    u32 *arrived = (u32 *)(smem + kSharedBytes - 16);
    fenceDevice();
    blockSync();
    if (threadIdx.x == 0)
      *arrived = addCounter(operands.counters + unit / kSplits, 1);
    blockSync();
    if (*arrived + 1 != u32(splits))
      return;
    fenceDevice();
    storeRows(parts, splits, run, operands);
    if (threadIdx.x == 0)
      operands.counters[unit / kSplits] = 0;
  }

  static DEVICE_MEMBER void run(unsigned char *smem, const StepTable *table, i64 units, const Operands &operands) {
    forEachRun(table, units, [&](const Run &run, int split, i64 unit) INLINE_LAMBDA { chunk(smem, run, split, unit, operands); });
  }

  /// Deals the units; `body` does one run of one, by its split.
  template <class Body>
  static DEVICE_MEMBER void forEachRun(const StepTable *table, i64 units, Body body) {
    waitForDependencies();
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
      int split = unit % kSplits, chunkOfTile = unit / kSplits % kChunks;
      i64 tile = unit / (kSplits * kChunks * Problem::kKvHeads), first = tile * Problem::kTileTokens;
      i64 end = first + Problem::kTileTokens < table->tokens ? first + Problem::kTileTokens : table->tokens;
      while (first < end) { // each sequence that the tile touches
        u32 sequence = table->tokenSequence[first];
        Run run;
        run.sequence = table->rows[Problem::kTable][sequence];
        run.blocks = table->blocks[Problem::kTable];
        run.first = first;
        run.head = unit / (kSplits * kChunks) % Problem::kKvHeads;
        run.firstRow = chunkOfTile * kRows;
        i64 next = first + 1;
        while (next < end && table->tokenSequence[next] == sequence)
          ++next;
        run.rows = int(next - first) * kGroup;
        if (run.firstRow < run.rows)
          body(run, split, unit);
        first = next;
      }
    }
  }
};
