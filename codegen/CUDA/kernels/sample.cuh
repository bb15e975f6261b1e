//===- sample.cuh - from logits to tokens ---------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Greedy, or temperature, top-k, top-p, min-p and one draw, in the order and with the ties of runtime/text/Sampler.cpp. Any target, any width. Sampler has
//
//   kThreads            of a block, 256 to 1024
//
// Nothing is sorted. A candidate's rank is the number (distance of its logit's bits to the greatest) << bits of an id | id: the lower the better, no two
// are equal. "The first k", "the first of so much probability" and "the one at this point" each are a search for one rank, 8 bits of it at a time:
// the candidates of 256 intervals are counted, and the one in which the aim is reached is divided again. Probabilities are whole numbers, so that sums do not
// depend on their order. A unit is one row.
//
//===----------------------------------------------------------------------===//
#include "division.cuh"
#include "vectors.cuh"

#ifndef LLMOPT_TOKEN_CHOICE
#define LLMOPT_TOKEN_CHOICE
/// The bytes of lib/Artifact/TokenChoice.h.
struct TokenChoice {
  double temperature, topP, minP, point;
  i64 topK;
};
#endif

template <class Sampler>
struct Sample {
  static constexpr int kThreads = Sampler::kThreads, kWarps = kThreads / 32, kBins = 256;
  static constexpr u32 kSharedBytes = 0;
  static constexpr float kOne = 1099511627776.0f, kFarthest = 41; ///< 2^40 is the probability of the best; 41 powers of two below it, it is zero
  static constexpr u64 kNoRank = ~u64(0);

  struct Shared {
    u64 mass[kBins], only[kBins]; ///< of an interval; the rank of a candidate that is alone in it
    u32 count[kBins];
    u64 best[kWarps];
    u64 prefix, before; ///< the chosen interval, and the measure of all before it
    u32 state;
  };
  enum State : u32 { kDivide, kFound, kMissed };

  const float *logits;
  i64 width;
  float scale;     ///< of logits to powers of two
  float greatest;
  u32 greatestKey;
  int idBits;
  Shared *shared;

  /// Greater for greater numbers; 0 for what is no number. Both zeros are equal.
  static DEVICE_MEMBER u32 keyOf(float x) {
    u32 bits = bitsOf(x) == 0x80000000u ? 0 : bitsOf(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
      return 0;
    return bits >> 31 ? ~bits : bits | 0x80000000u;
  }
  static DEVICE_MEMBER float numberOf(u32 key) { return floatOf(key >> 31 ? key & 0x7fffffffu : ~key); }
  DEVICE_MEMBER u64 weightOf(float logit) const { return u64(exp2Approx((logit - greatest) * scale) * kOne); }
  DEVICE_MEMBER u64 rankOf(u32 key, i64 id) const { return u64(greatestKey - key) << idBits | u64(id); }

  template <class Do>
  DEVICE_MEMBER void forEach(Do action) const {
    if (width % 4 == 0)
      for (i64 i = threadIdx.x * 4; i < width; i += kThreads * 4) {
        Vector128 four = loadGlobal128(logits + i);
        UNROLL
        for (int j = 0; j < 4; ++j)
          action(floatOf(four.word[j]), i + j);
      }
    else
      for (i64 i = threadIdx.x; i < width; i += kThreads)
        action(logits[i], i);
  }

  static DEVICE_MEMBER u64 shuffleXor64(u64 value, u32 mask) { return u64(shuffleXor(u32(value >> 32), mask)) << 32 | shuffleXor(u32(value), mask); }

  /// Key of the greatest number and, below it, the complement of its id; 0 if there is no number.
  DEVICE_MEMBER u64 findBest() const {
    u64 best = 0;
    forEach([&](float logit, i64 id) INLINE_LAMBDA {
      u64 key = keyOf(logit), candidate = key << 32 | u32(~u32(id));
      best = key && candidate > best ? candidate : best;
    });
    UNROLL
    for (u32 mask = 16; mask; mask /= 2) {
      u64 other = shuffleXor64(best, mask);
      best = other > best ? other : best;
    }
    if (laneId() == 0)
      shared->best[threadIdx.x / 32] = best;
    blockSync();
    UNROLL
    for (int i = 0; i < kWarps; ++i)
      best = shared->best[i] > best ? shared->best[i] : best;
    blockSync();
    return best;
  }

  /// Of the first warp: in which interval the aim is reached. Eight intervals a lane.
  template <class Aim>
  DEVICE_MEMBER void choose(bool counts, bool isFirst, Aim aim, u64 &target) const {
    u64 own = 0;
    UNROLL
    for (int i = 0; i < 8; ++i)
      own += counts ? shared->count[laneId() * 8 + i] : shared->mass[laneId() * 8 + i];
    u64 before = 0, all = own; // of the lanes before
    UNROLL
    for (u32 distance = 1; distance < 32; distance *= 2) {
      u64 other = shuffleXor64(all, distance); // of the neighbouring group
      before += laneId() & distance ? other : 0;
      all += other;
    }
    if (isFirst)
      target = aim(all);
    u64 reached = shared->before + before;
    bool here = reached < target && reached + own >= target;
    warpSync(); // all have read what is written now
    if (here) {
      int bin = laneId() * 8;
      for (;; ++bin) {
        u64 next = counts ? shared->count[bin] : shared->mass[bin];
        if (reached + next >= target)
          break;
        reached += next;
      }
      shared->before = reached;
      shared->prefix = shared->prefix << 8 | u32(bin);
      shared->state = shared->count[bin] == 1 ? kFound : kDivide;
      if (shared->count[bin] == 1)
        shared->prefix = shared->only[bin];
    }
    if (votes(here) == 0 && laneId() == 0)
      shared->state = kMissed;
  }

  /// The rank of the first candidate up to which the candidates, or their probabilities, add up to `aim(all)`, of those up to rank `last` with at least
  /// `least` probability; kNoRank if they do not.
  template <class Aim>
  DEVICE_MEMBER u64 search(bool counts, int rankBits, u64 last, u64 least, Aim aim) const {
    u64 target = 0;
    if (threadIdx.x == 0)
      shared->prefix = shared->before = 0;
    for (int shift = (rankBits + 7) / 8 * 8 - 8;; shift -= 8) {
      for (u32 bin = threadIdx.x; bin < kBins; bin += kThreads)
        shared->mass[bin] = shared->count[bin] = 0;
      blockSync();
      u64 prefix = shared->prefix;
      forEach([&](float logit, i64 id) INLINE_LAMBDA {
        u32 key = keyOf(logit);
        u64 weight = key ? weightOf(logit) : 0, rank = rankOf(key, id);
        if (weight && weight >= least && rank <= last && (shift >= 56 ? 0 : rank >> (shift + 8)) == prefix) {
          u32 bin = u32(rank >> shift) % kBins;
          addShared(&shared->mass[bin], weight);
          addShared(&shared->count[bin], 1);
          shared->only[bin] = rank;
        }
      });
      blockSync();
      if (threadIdx.x < 32)
        choose(counts, shift + 8 >= rankBits, aim, target);
      blockSync();
      u32 state = shared->state;
      u64 found = shared->prefix;
      if (state != kDivide || shift == 0) {
        blockSync(); // before they are written again
        return state == kMissed ? kNoRank : found;
      }
    }
  }

  DEVICE_MEMBER i32 draw(const TokenChoice &choice) {
    u64 best = findBest();
    if (!best)
      return -1;
    greatestKey = u32(best >> 32);
    greatest = numberOf(greatestKey);
    i32 first = i32(~u32(best));
    if (choice.temperature <= 0 || (bitsOf(greatest) & 0x7fffffffu) == 0x7f800000u)
      return first;
    double powers = 1.4426950408889634 / choice.temperature;
    scale = powers < 1e30 ? float(powers) : 1e30f; // infinity times no distance would be no number
    idBits = bitsFor(u64(width));
    u32 farthest = keyOf(greatest - kFarthest / scale), distance = greatestKey - farthest;
    int rankBits = idBits + bitsFor(distance);
    u64 last = kNoRank;
    if (choice.topK > 0)
      last = search(true, rankBits, last, 1, [&](u64) INLINE_LAMBDA { return u64(choice.topK); });
    if (choice.topP < 1)
      last = search(false, rankBits, last, 1, [&](u64 all) INLINE_LAMBDA {
        double aim = choice.topP * double(all);
        return u64(aim) + (double(u64(aim)) < aim || aim < 1);
      });
    u64 least = u64(choice.minP * double(kOne));
    u64 drawn = search(false, rankBits, last, least ? least : 1, [&](u64 all) INLINE_LAMBDA {
      u64 aim = u64(choice.point * double(all)) + 1;
      return aim < all ? aim : all;
    });
    return drawn == kNoRank ? first : i32(drawn & ((u64(1) << idBits) - 1));
  }
  static DEVICE_MEMBER int bitsFor(u64 most) {
    int bits = 1;
    while (most >> bits)
      ++bits;
    return bits;
  }

  static DEVICE_MEMBER void run(const float *logits, i64 rows, i64 width, const TokenChoice *choices, i32 *tokens) {
    STATIC_SHARED(Shared, shared, 1);
    for (i64 row = blockIdx.x; row < rows; row += gridDim.x) {
      Sample sample{logits + row * width, width, 0, 0, 0, 0, shared};
      i32 token = sample.draw(choices[row]);
      if (threadIdx.x == 0)
        tokens[row] = token;
    }
  }
};
