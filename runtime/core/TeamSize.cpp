//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/core/TeamSize.h"

#include <algorithm>
#include <limits>

using namespace llmopt;

/// The first of some calls wakes threads, or finds the caches cold: only the fastest one counts.
static constexpr unsigned kTimed = 8, kUntimed = 1000;
/// Longer calls have all threads: what waiting costs is little of them.
static constexpr int64_t kShort = 1'000'000;

unsigned TeamSize::next(unsigned most) {
  if (most == 1) {
    most_ = left_ = 0;
    return 1;
  }
  if (most != most_) {
    most_ = most;
    time(Turn::Own, halvings_ = 0);
  } else if (left_ == 0 && untimed_-- == 0) {
    time(Turn::Own, halvings_);
  }
  return std::max(1u, most_ >> (left_ > 0 ? tried_ : halvings_));
}

void TeamSize::took(int64_t nanoseconds) {
  least_ = std::min(least_, nanoseconds);
  if (--left_ > 0)
    return;
  bool faster = turn_ == Turn::Own || least_ < best_ - best_ / 20;
  if (faster)
    best_ = least_, halvings_ = tried_;
  if (best_ > kShort)
    halvings_ = 0;
  else if (turn_ != Turn::Twice && faster && most_ >> halvings_ > 1)
    return time(Turn::Half, halvings_ + 1);
  else if ((turn_ != Turn::Twice || faster) && halvings_ > 0)
    return time(Turn::Twice, halvings_ - 1);
  untimed_ = kUntimed;
}

void TeamSize::time(Turn turn, unsigned halvings) {
  turn_ = turn;
  tried_ = halvings;
  least_ = std::numeric_limits<int64_t>::max();
  left_ = kTimed;
}
