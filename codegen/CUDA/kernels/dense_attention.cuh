//===- dense_attention.cuh - attention over padded batches on tensor cores ===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// llm.attention: softmax(scale * Q K^T + mask) V with a running maximum; nothing of the size of the scores is kept. sm_80 and later, heads of at most
// 128. Heads are float and lie in rows of features, as strides say. Problem has
//
//   Product             bf16 or f16: queries, keys, weights and values are rounded to it; float: products in three parts of tf32, some 20 bits exact
//   Mask, kMask         u8 (kMask 1: a key is seen where it is not 0) or float (kMask 2: added); kMask 0: none
//   kMaskKey            from a key's mask to the next: 1, or 0 where it repeats
//   kHeads, kKvHeads, kKeySize, kValueSize
//   kQueryStride, kKeyStride, kValueStride, kOutputStride    from a token to the next, in numbers
//   kAligned            rows of keys and values begin at multiples of 16 bytes, and their sizes are multiples of 4
//   kCausal, kWindow    the last query sees the last key; window 0: none
//   scale(), softcap()  softcap 0: none
//
// A unit is 64 rows of a key-value head of a batch entry; row r is (token r / group, head r % group of the group), so that heads share what is read.
//
//===----------------------------------------------------------------------===//
#include "fragments.cuh"
#include "running_softmax.cuh"
#include "trigonometry.cuh"
#include "vectors.cuh"

/// Where head h of batch entry b begins: offset + b * batch + h * head.
struct HeadPlaces {
  i64 offset, batch, head;
};

template <class Problem>
struct DenseOperands {
  const float *query, *key, *value;
  const typename Problem::Mask *mask;
  float *output;
  i64 queries, keys; ///< tokens of a batch entry
  HeadPlaces queryPlaces, keyPlaces, valuePlaces, outputPlaces;
  i64 maskBatch, maskHead, maskQuery; ///< strides; 0 where it repeats
};

/// Chunk `chunk`, four numbers, of a row of kSize; zero where there is none.
template <int kSize>
DEVICE Vector128 loadChunk(const float *rows, i64 stride, i64 count, u32 row, u32 chunk) {
  Vector128 numbers;
  UNROLL
  for (int e = 0; e < 4; ++e)
    numbers.word[e] = row < count && int(chunk * 4) + e < kSize ? bitsOf(rows[row * stride + chunk * 4 + e]) : 0;
  return numbers;
}
/// Starts a thread's copies to where `place` says.
template <int kSize, int kTurns, int kChunks, int kThreads, class Place>
DEVICE void copyRows(const float *rows, i64 stride, i64 count, Place place) {
  UNROLL_BY(2)
  for (int i = 0; i < kTurns; ++i) {
    u32 part = threadIdx.x + i * kThreads, row = part / kChunks, chunk = part % kChunks;
    bool inside = row < count && int(chunk * 4) < kSize;
    copyAsync16(place(row, chunk), rows + (inside ? row * stride + chunk * 4 : 0), inside ? 16 : 0);
  }
}

/// 64 rows of kSize numbers for products in 16 bits: they arrive as floats, and each thread rounds what it has copied itself.
template <class Product, int kSize, bool kAligned, int kThreads>
struct HeadTile {
  static constexpr int kChunks = (kSize + 15) / 16 * 4, kTurns = 64 * kChunks / kThreads, kStep = 16; ///< chunks of a row: four numbers
  static constexpr u32 kRawBytes = kAligned ? 64 * kChunks * 16 : 0, kBytes = kRawBytes + (kSize + 63) / 64 * 64 * 128;
  static constexpr bool kInPlace = false; ///< products read where copies arrive

  /// Eight numbers of a row in 16 bits.
  static DEVICE_MEMBER u32 place(u32 tile, u32 row, u32 part) { return chunkAddress(tile + kRawBytes + part / 8 * 64 * 128, row, part % 8); }
  /// Starts copies of `count` rows; the others become zero.
  static DEVICE_MEMBER void start(u32 tile, const float *rows, i64 stride, i64 count) {
    if constexpr (kAligned)
      copyRows<kSize, kTurns, kChunks, kThreads>(rows, stride, count, [&](u32 row, u32 chunk) INLINE_LAMBDA { return tile + (row * kChunks + chunk) * 16; });
  }
  /// What a thread does once its copies are there, before all may read.
  static DEVICE_MEMBER void finish(u32 tile, const float *rows, i64 stride, i64 count) {
    UNROLL_BY(2)
    for (int i = 0; i < kTurns; ++i) {
      u32 part = threadIdx.x + i * kThreads, row = part / kChunks, chunk = part % kChunks;
      Vector128 raw = kAligned ? loadShared128(tile + part * 16) : loadChunk<kSize>(rows, stride, count, row, chunk);
      storeShared64(place(tile, row, chunk / 2) + chunk % 2 * 8,
                    Vector64{packPair(Product(), floatOf(raw.word[0]), floatOf(raw.word[1])), packPair(Product(), floatOf(raw.word[2]), floatOf(raw.word[3]))});
    }
  }
  typedef u32 Places; ///< what reads begin from
  static DEVICE_MEMBER Places rowPlaces(u32 tile) { return tile; }
  static DEVICE_MEMBER Places columnPlaces(u32 tile) { return tile; }
  /// Keys: scores of eight rows each += query * rows [first, first + 16)^T.
  static DEVICE_MEMBER void multiplyRows(float (&left)[4], float (&right)[4], const u32 (&query)[4], u32 tile, u32 first, int step) {
    u32 b[4];
    loadFragmentB(b, tile + kRawBytes + step / 4 * 64 * 128, first, step % 4);
    multiply(Product(), left, query, b);
    multiply(Product(), right, query, b + 2);
  }
  /// Values: sums of eight columns each += weights of rows [first, first + 16) * columns [panel * 16, panel * 16 + 16).
  static DEVICE_MEMBER void multiplyColumns(float (&left)[4], float (&right)[4], const float (&weights)[2][4], u32 tile, u32 first, int panel) {
    // Sums lie in the registers as the first operand does, two blocks of 8 columns for 16 of K.
    u32 a[4] = {packPair(Product(), weights[0][0], weights[0][1]), packPair(Product(), weights[0][2], weights[0][3]),
                packPair(Product(), weights[1][0], weights[1][1]), packPair(Product(), weights[1][2], weights[1][3])};
    u32 b[4];
    loadMatrixTransposed4(b, place(tile, first + laneId() % 16, panel * 2 + laneId() / 16));
    multiply(Product(), left, a, b);
    multiply(Product(), right, a, b + 2);
  }
  /// A lane's numbers of one step of a row, whose first is *row; `left` of the row are left.
  static DEVICE_MEMBER void loadQuery(u32 &low, u32 &high, const float *row, int left, float factor) {
    auto pair = [&](int at) INLINE_LAMBDA { return packPair(Product(), at < left ? row[at] * factor : 0.0f, at + 1 < left ? row[at + 1] * factor : 0.0f); };
    low = pair(0);
    high = pair(8);
  }
};

/// The same for products in f32. The order of what is added up is free: lane q of a row has features 2 * q and 2 * q + 1 of eight, and likewise keys.
template <int kSize, bool kAligned, int kThreads>
struct HeadTile<float, kSize, kAligned, kThreads> {
  static constexpr int kChunks = (kSize + 15) / 16 * 4, kTurns = 64 * kChunks / kThreads, kStep = 8;
  static constexpr u32 kRowBytes = (kSize + 31) / 32 * 128, kBytes = 64 * kRowBytes;
  static constexpr bool kInPlace = true;

  /// Chunks change places, the same every 8 rows, so that the lanes of a read hit all banks whether their rows are neighbours (keys) or two apart (values).
  static DEVICE_MEMBER u32 place(u32 tile, u32 row, u32 chunk) { return tile + row * kRowBytes + ((chunk ^ ((row ^ (row >> 2 & 1)) & 3) << 1) << 4); }
  static DEVICE_MEMBER void start(u32 tile, const float *rows, i64 stride, i64 count) {
    if constexpr (kAligned)
      copyRows<kSize, kTurns, kChunks, kThreads>(rows, stride, count, [&](u32 row, u32 chunk) INLINE_LAMBDA { return place(tile, row, chunk); });
  }
  static DEVICE_MEMBER void finish(u32 tile, const float *rows, i64 stride, i64 count) {
    if constexpr (!kAligned)
      UNROLL_BY(1)
      for (int i = 0; i < kTurns; ++i) {
        u32 part = threadIdx.x + i * kThreads, row = part / kChunks, chunk = part % kChunks;
        storeShared128(place(tile, row, chunk), loadChunk<kSize>(rows, stride, count, row, chunk));
      }
  }
  /// Where a lane reads in the first 128 bytes of the first 8 rows; further on, distances are constants.
  struct Places {
    u32 at[8];
  };
  static DEVICE_MEMBER Places rowPlaces(u32 tile) {
    Places places;
    UNROLL
    for (int step = 0; step < 4; ++step)
      places.at[step] = place(tile, laneId() / 4, step * 2 + laneId() % 4 / 2) + laneId() % 2 * 8;
    return places;
  }
  static DEVICE_MEMBER Places columnPlaces(u32 tile) {
    Places places;
    UNROLL
    for (int i = 0; i < 8; ++i) // rows are even and odd, columns of 8
      places.at[i] = place(tile, laneId() % 4 * 2 + i % 2, i / 2 * 2 + laneId() / 16) + laneId() / 4 % 4 * 4;
    return places;
  }
  static DEVICE_MEMBER void multiplyRows(float (&left)[4], float (&right)[4], const u32 (&query)[4], const Places &places, u32 first, int step) {
    u32 at = places.at[step % 4] + first * kRowBytes + step / 4 * 128;
    Vector64 one = loadShared64(at), two = loadShared64(at + 8 * kRowBytes);
    multiply(float(), left, query, one.word);
    multiply(float(), right, query, two.word);
  }
  static DEVICE_MEMBER void multiplyColumns(float (&left)[4], float (&right)[4], const float (&weights)[2][4], const Places &places, u32 first, int panel) {
    UNROLL
    for (int half = 0; half < 2; ++half) { // eight rows each
      u32 offset = (first + half * 8) * kRowBytes + panel / 2 * 128;
      const u32 *at = places.at + panel % 2 * 4;
      u32 a[4] = {bitsOf(weights[half][0]), bitsOf(weights[half][2]), bitsOf(weights[half][1]), bitsOf(weights[half][3])};
      u32 b[4] = {loadShared32(at[0] + offset), loadShared32(at[1] + offset), loadShared32(at[2] + offset), loadShared32(at[3] + offset)};
      multiply(float(), left, a, b);
      multiply(float(), right, a, b + 2);
    }
  }
  static DEVICE_MEMBER void loadQuery(u32 &low, u32 &high, const float *row, int left, float factor) {
    low = left > 0 ? bitsOf(row[0] * factor) : 0;
    high = left > 1 ? bitsOf(row[1] * factor) : 0;
  }
};

template <class Problem>
struct DenseAttention {
  typedef DenseOperands<Problem> Operands;
  static constexpr int kThreads = 128, kRows = 64, kD = Problem::kKeySize, kE = Problem::kValueSize, kGroup = Problem::kHeads / Problem::kKvHeads;
  typedef HeadTile<typename Problem::Product, kD, Problem::kAligned, kThreads> Keys;
  typedef HeadTile<typename Problem::Product, kE, Problem::kAligned, kThreads> Values;
  static constexpr int kSteps = (kD + Keys::kStep - 1) / Keys::kStep, kPanelsE = (kE + 15) / 16;
  static constexpr bool kQueriesShared = Keys::kInPlace; ///< registers hold the queries in 16 bits only
  static constexpr u32 kSharedBytes = Keys::kBytes + Values::kBytes + (kQueriesShared ? kSteps * kThreads * 16 : 0);
  static constexpr float kLog2E = 1.44269504f;
  /// Scores are in base 2, or in base e where a mask is added to them: beside a mask of -10000 they round as the graph has it in its own base only.
  static constexpr bool kBaseE = Problem::kMask == 2;
  static_assert(kD <= 128 && kE <= 128);

  DEVICE_MEMBER static i64 tiles(i64 queries) { return (queries * kGroup + kRows - 1) / kRows; }

  /// One of the two rows that a lane has a part of.
  struct Row {
    i32 token, head, low, high;         ///< keys it sees
    const typename Problem::Mask *mask; ///< its masks begin here
    bool exists;
    RunningSoftmax softmax;
  };

  struct Unit {
    i64 batch, head, firstRow;
  };

  static DEVICE_MEMBER i64 lowOf(i64 token, const Operands &operands) {
    i64 low = token + operands.keys - operands.queries + 1 - Problem::kWindow;
    return Problem::kWindow > 0 && low > 0 ? low : 0;
  }
  static DEVICE_MEMBER i64 highOf(i64 token, const Operands &operands) {
    i64 seen = token + operands.keys - operands.queries + 1;
    seen = seen < 0 ? 0 : seen;
    return Problem::kCausal && seen < operands.keys ? seen : operands.keys;
  }

  static DEVICE_MEMBER Row rowOf(const Unit &unit, i64 row, const Operands &operands) {
    bool exists = row < operands.queries * kGroup;
    i64 token = exists ? row / kGroup : 0, head = unit.head * kGroup + row % kGroup;
    const typename Problem::Mask *mask = operands.mask;
    if (Problem::kMask)
      mask += unit.batch * operands.maskBatch + head * operands.maskHead + token * operands.maskQuery;
    return {i32(token), i32(head), i32(lowOf(token, operands)), exists ? i32(highOf(token, operands)) : 0, mask, exists, {}};
  }

  static DEVICE_MEMBER float shape(float score, const Row &row, i32 key, const Operands &operands) {
    if (key < row.low || key >= row.high)
      return floatOf(kMinusInfinity);
    if (Problem::softcap() > 0)
      score = tanhExact(score) * (Problem::softcap() * (kBaseE ? 1.0f : kLog2E));
    if constexpr (Problem::kMask == 1)
      score = row.mask[key * Problem::kMaskKey] ? score : floatOf(kMinusInfinity);
    if constexpr (Problem::kMask == 2) {
      float mask = row.mask[key * Problem::kMaskKey];
      score = mask == floatOf(kMinusInfinity) ? mask : score + mask; // hidden whatever the score is
    }
    return score;
  }

  /// Scores of 64 keys become weights; returns what earlier sums shrink by.
  static DEVICE_MEMBER float weigh(Row &row, int half, i32 key, float (&scores)[4][2][4], const Operands &operands) {
    auto score = [&](int i) INLINE_LAMBDA -> float & { return scores[i / 4][i / 2 % 2][half * 2 + i % 2]; };
    UNROLL
    for (int i = 0; i < 16; ++i)
      score(i) = shape(score(i), row, key + i / 2 * 8 + laneId() % 4 * 2 + i % 2, operands);
    return row.softmax.template weigh<16>(score, kBaseE ? kLog2E : 1.0f);
  }

  static DEVICE_MEMBER void storeRow(const Row &row, int half, const float (&sums)[2 * kPanelsE][4], const Unit &unit, const Operands &operands) {
    float total = row.softmax.total(), scale = total == 0 ? 0.0f : 1.0f / total; // nothing to see: zero
    if (!row.exists)
      return;
    const HeadPlaces &places = operands.outputPlaces;
    float *to = operands.output + places.offset + unit.batch * places.batch + row.head * places.head + i64(row.token) * Problem::kOutputStride;
    UNROLL
    for (int j = 0; j < 2 * kPanelsE; ++j)
      UNROLL
      for (int e = 0; e < 2; ++e) {
        int feature = j * 8 + laneId() % 4 * 2 + e;
        if (feature < kE)
          to[feature] = sums[j][half * 2 + e] * scale;
      }
  }

  /// A lane's parts of its rows of queries, as products take them.
  struct Queries {
    u32 fragments[kQueriesShared ? 1 : kSteps][4];
    u32 shared;
    static DEVICE_MEMBER u32 place(u32 shared, int step) { return shared + (step * kThreads + threadIdx.x) * 16; } ///< of this lane alone
    DEVICE_MEMBER void put(int step, const u32 (&fragment)[4]) {
      if constexpr (kQueriesShared)
        storeShared128(place(shared, step), Vector128{fragment[0], fragment[1], fragment[2], fragment[3]});
      else {
        UNROLL
        for (int i = 0; i < 4; ++i)
          fragments[step][i] = fragment[i];
      }
    }
    DEVICE_MEMBER void get(int step, u32 (&fragment)[4]) const {
      Vector128 words = kQueriesShared ? loadShared128(place(shared, step)) : Vector128{fragments[step][0], fragments[step][1], fragments[step][2], fragments[step][3]};
      UNROLL
      for (int i = 0; i < 4; ++i)
        fragment[i] = words.word[i];
    }
  };
  static DEVICE_MEMBER void loadQueries(const Row (&rows)[2], Queries &queries, const Unit &unit, const Operands &operands) {
    float factor = Problem::softcap() > 0 ? Problem::scale() / Problem::softcap() : Problem::scale() * (kBaseE ? 1.0f : kLog2E);
    const HeadPlaces &places = operands.queryPlaces;
    UNROLL
    for (int step = 0; step < kSteps; ++step) {
      u32 fragment[4];
      UNROLL
      for (int half = 0; half < 2; ++half) {
        const Row &row = rows[half];
        const float *query = operands.query + places.offset + unit.batch * places.batch + row.head * places.head + i64(row.token) * Problem::kQueryStride;
        int d = step * Keys::kStep + laneId() % 4 * 2;
        Keys::loadQuery(fragment[half], fragment[2 + half], query + d, row.exists ? kD - d : 0, factor);
      }
      queries.put(step, fragment);
    }
  }

  static DEVICE_MEMBER void runUnit(u32 smem, const Unit &unit, const Operands &operands) {
    i64 first = unit.firstRow + threadIdx.x / 32 * 16 + laneId() / 4, lastRow = unit.firstRow + kRows - 1;
    i64 lastToken = lastRow / kGroup < operands.queries ? lastRow / kGroup : operands.queries - 1; // rows are in the order of their tokens
    i64 low = lowOf(unit.firstRow / kGroup, operands) / 64, high = highOf(lastToken, operands), end = (high + 63) / 64;
    u32 keys = smem, values = smem + Keys::kBytes;
    const float *keyRows = operands.key + operands.keyPlaces.offset + unit.batch * operands.keyPlaces.batch + unit.head * operands.keyPlaces.head;
    const float *valueRows = operands.value + operands.valuePlaces.offset + unit.batch * operands.valuePlaces.batch + unit.head * operands.valuePlaces.head;
    auto startKeys = [&](i64 block) INLINE_LAMBDA {
      if (block < end)
        Keys::start(keys, keyRows + block * 64 * Problem::kKeyStride, Problem::kKeyStride, high - block * 64);
      copyAsyncCommit(); // empty groups keep the count
    };
    auto startValues = [&](i64 block) INLINE_LAMBDA {
      if (block < end)
        Values::start(values, valueRows + block * 64 * Problem::kValueStride, Problem::kValueStride, high - block * 64);
      copyAsyncCommit();
    };
    startKeys(low);
    startValues(low);
    Row rows[2] = {rowOf(unit, first, operands), rowOf(unit, first + 8, operands)};
    Queries queries;
    queries.shared = smem + Keys::kBytes + Values::kBytes;
    loadQueries(rows, queries, unit, operands);
    typename Keys::Places keyPlaces = Keys::rowPlaces(keys);
    typename Values::Places valuePlaces = Values::columnPlaces(values);
    float sums[2 * kPanelsE][4];
    UNROLL
    for (auto &block : sums)
      UNROLL
      for (float &sum : block)
        sum = 0;
    for (i64 block = low; block < end; ++block) {
      float scores[4][2][4];
      UNROLL
      for (auto &panel : scores)
        UNROLL
        for (auto &columns : panel)
          UNROLL
          for (float &score : columns)
            score = 0;
      copyAsyncWait<1>();
      Keys::finish(keys, keyRows + block * 64 * Problem::kKeyStride, Problem::kKeyStride, high - block * 64);
      if constexpr (!Keys::kInPlace)
        startKeys(block + 1);
      blockSync(); // the keys are there for all
      UNROLL
      for (int step = 0; step < kSteps; ++step) {
        u32 query[4];
        queries.get(step, query);
        UNROLL
        for (int panel = 0; panel < 4; ++panel)
          Keys::multiplyRows(scores[panel][0], scores[panel][1], query, keyPlaces, panel * 16, step);
      }
      if constexpr (Keys::kInPlace) {
        blockSync(); // all have read the keys
        startKeys(block + 1);
      }
      UNROLL
      for (int half = 0; half < 2; ++half) {
        float shrink = weigh(rows[half], half, i32(block * 64), scores, operands);
        UNROLL
        for (auto &columns : sums) {
          columns[half * 2] *= shrink;
          columns[half * 2 + 1] *= shrink;
        }
      }
      copyAsyncWait<1>();
      Values::finish(values, valueRows + block * 64 * Problem::kValueStride, Problem::kValueStride, high - block * 64);
      if constexpr (!Values::kInPlace)
        startValues(block + 1);
      blockSync(); // the values are there for all
      UNROLL
      for (int step = 0; step < 4; ++step)
        UNROLL
        for (int panel = 0; panel < kPanelsE; ++panel)
          Values::multiplyColumns(sums[2 * panel], sums[2 * panel + 1], scores[step], valuePlaces, step * 16, panel);
      if constexpr (Values::kInPlace) {
        blockSync(); // all have read the values
        startValues(block + 1);
      }
    }
    copyAsyncWait<0>();
    UNROLL
    for (int half = 0; half < 2; ++half)
      storeRow(rows[half], half, sums, unit, operands);
  }

  static DEVICE_MEMBER void run(unsigned char *smem, i64 units, const Operands &operands) {
    waitForDependencies();
    i64 tiles = DenseAttention::tiles(operands.queries);
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
      i64 head = quotient(unit, tiles), tile = unit - head * tiles;
      runUnit(sharedAddress(smem), {head / Problem::kKvHeads, head % Problem::kKvHeads, tile * kRows}, operands);
    }
  }
};
