//===- reduce.cuh - sums, products and extrema of rows --------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the rows are computed from, and what becomes of their numbers, is printed from the region. Any target, any width. Rows has
//
//   Type                float, double, u32 or u64
//   kThreads            of a block, 32 to 1024
//   kTerms              reductions of the same elements
//   kRows, kMostParts   where few rows are long, so many blocks share each; the number of rows, which is known then. Else 0 and 1.
//   void begin(Type (&values)[kTerms]) const;
//   void join(Type (&values)[kTerms], const Type (&others)[kTerms]) const;
//   void load(i64 row, i64 column, Type (&terms)[kTerms]) const;
//   void store(i64 row, const Type (&values)[kTerms]) const;
//
// A unit is a part of a row. The last of a row's blocks joins what all have left in `shares`, in the order of the parts: the result depends on the width, never on who
// came last.
//
//===----------------------------------------------------------------------===//
#include "block_join.cuh"
#include "division.cuh"

template <class Rows>
struct Reduce {
  typedef typename Rows::Type Type;
  static constexpr int kThreads = Rows::kThreads, kWarps = kThreads / 32, kTerms = Rows::kTerms, kChains = 4;

  /// Elements [begin, end) of a row, joined over the block.
  static DEVICE_MEMBER void joinElements(const Rows &rows, i64 row, i64 begin, i64 end, Type (&values)[kTerms], Type *parts) {
    auto join = [&](Type(&values)[kTerms], const Type(&others)[kTerms]) INLINE_LAMBDA { rows.join(values, others); };
    Type chains[kChains][kTerms], terms[kTerms];
    UNROLL
    for (auto &chain : chains)
      rows.begin(chain);
    i64 column = begin + threadIdx.x;
    for (; column + (kChains - 1) * kThreads < end; column += kChains * kThreads)
      UNROLL
      for (int i = 0; i < kChains; ++i) {
        rows.load(row, column + i64(i) * kThreads, terms);
        rows.join(chains[i], terms);
      }
    for (; column < end; column += kThreads) {
      rows.load(row, column, terms);
      rows.join(chains[0], terms);
    }
    rows.join(chains[0], chains[1]);
    rows.join(chains[2], chains[3]);
    rows.join(chains[0], chains[2]);
    UNROLL
    for (int i = 0; i < kTerms; ++i)
      values[i] = chains[0][i];
    joinOfBlock<kWarps>(values, parts, join);
  }

  /// `shares`: kMostParts * kTerms a row; `counters`: one a row, zero before and after.
  static DEVICE_MEMBER void run(const Rows &rows, i64 units, i64 width, Type *shares, u32 *counters) {
    STATIC_SHARED(Type, parts, kWarps *kTerms);
    STATIC_SHARED(u32, arrived, 1);
    waitForDependencies();
    i64 split = Rows::kMostParts > 1 ? units / Rows::kRows : 1;
    for (i64 unit = blockIdx.x; unit < units; unit += gridDim.x) {
      i64 row = quotient(u64(unit), u64(split)), part = unit - row * split;
      i64 each = quotient(u64(width + split - 1), u64(split)), first = part * each, end = first + each < width ? first + each : width;
      Type values[kTerms];
      joinElements(rows, row, first, end, values, parts);
      blockSync(); // the places are used again
      if (split > 1 && !joinShares(rows, values, shares + row * Rows::kMostParts * kTerms, counters + row, part, split, parts, arrived))
        continue;
      if (threadIdx.x == 0)
        rows.store(row, values);
    }
  }

private:
  /// True for the block that came last, which then has the values of all parts.
  static DEVICE_MEMBER bool joinShares(const Rows &rows, Type (&values)[kTerms], Type *shares, u32 *counter, i64 part, i64 split, Type *parts, u32 *arrived) {
    auto join = [&](Type(&values)[kTerms], const Type(&others)[kTerms]) INLINE_LAMBDA { rows.join(values, others); };
    if (threadIdx.x == 0) {
      UNROLL
      for (int i = 0; i < kTerms; ++i)
        shares[part * kTerms + i] = values[i];
      fenceDevice();
      *arrived = addCounter(counter, 1);
    }
    blockSync();
    if (i64(*arrived) + 1 != split) {
      blockSync(); // before it is written again
      return false;
    }
    fenceDevice();
    rows.begin(values);
    for (i64 at = threadIdx.x; at < split; at += kThreads) {
      Type others[kTerms];
      UNROLL
      for (int i = 0; i < kTerms; ++i)
        others[i] = shares[at * kTerms + i];
      rows.join(values, others);
    }
    joinOfBlock<kWarps>(values, parts, join);
    if (threadIdx.x == 0)
      *counter = 0;
    blockSync();
    return true;
  }
};
