//===- TeamSize.h - how many threads a short call is fastest with -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Threads wait for each other some five times a layer. In a call of few microseconds that costs more than further threads save, and how much depends on the machine. Results have the
// same bits with any number of threads, so the number is found out while running: now and then a few calls run with half as many or twice as many, and the fastest number stays.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_CORE_TEAMSIZE_H
#define LLMOPT_RUNTIME_CORE_TEAMSIZE_H

#include <cstdint>

namespace llmopt {

/// Of the calls of one shape. Not safe for several threads at a time.
class TeamSize {
public:
  /// Threads for the next call: `most`, or that halved some times.
  unsigned next(unsigned most);
  /// Whether that call's time is asked for, and what it is.
  bool isTimed() const { return left_ > 0; }
  void took(int64_t nanoseconds);

private:
  unsigned most_ = 0;
  unsigned halvings_ = 0;      ///< of the fastest number so far
  unsigned tried_ = 0;         ///< of the number that is timed
  int64_t best_ = 0, least_ = 0; ///< nanoseconds of the fastest number, and of the one that is timed so far
  unsigned left_ = 0;          ///< calls to be timed
  unsigned untimed_ = 0;       ///< calls until the next comparison
  enum class Turn { Own, Half, Twice } turn_ = Turn::Own;
  void time(Turn turn, unsigned halvings);
};

} // namespace llmopt

#endif // LLMOPT_RUNTIME_CORE_TEAMSIZE_H
