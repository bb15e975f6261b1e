//===- arg_reduce.cuh - places of the extrema of rows ---------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A reduction of pairs: a number's rank above its place, so that no two are equal. What is no number is greater than all numbers. Any target, any width. Rows has, of
// reduce.cuh, kThreads, kRows and kMostParts, and
//
//   Number              float, double, u32 or u64
//   kSigned             of whole numbers
//   kLargest            or the smallest
//   kLast               of equal ones, or the first
//   Number number(i64 row, i64 column) const;
//   void storePlace(i64 row, u64 place) const;
//
//===----------------------------------------------------------------------===//
#include "order.cuh"
#include "reduce.cuh"

template <class Rows>
struct PlaceRows : Rows {
  typedef u64 Type;
  static constexpr int kTerms = 2;

  static DEVICE_MEMBER u64 rankOf(typename Rows::Number x) {
    u64 rank = 0;
    if constexpr (typename Rows::Number(0.5) != 0)
      rank = orderOf(x);
    else
      rank = u64(x) ^ u64(Rows::kSigned) << (sizeof(x) * 8 - 1);
    return Rows::kLargest ? rank : ~rank;
  }
  /// The better of equal places is the greater one; behind all elements there is none.
  static DEVICE_MEMBER u64 turned(u64 place) { return Rows::kLast ? place : ~place; }

  DEVICE_MEMBER void begin(u64 (&best)[2]) const { best[0] = best[1] = 0; }
  DEVICE_MEMBER void join(u64 (&best)[2], const u64 (&other)[2]) const {
    bool better = other[0] > best[0] || (other[0] == best[0] && other[1] > best[1]);
    best[0] = better ? other[0] : best[0];
    best[1] = better ? other[1] : best[1];
  }
  DEVICE_MEMBER void load(i64 row, i64 column, u64 (&terms)[2]) const { terms[0] = rankOf(Rows::number(row, column)), terms[1] = turned(u64(column)); }
  DEVICE_MEMBER void store(i64 row, const u64 (&best)[2]) const { Rows::storePlace(row, turned(best[1])); }
};

template <class Rows>
using ArgReduce = Reduce<PlaceRows<Rows>>;
