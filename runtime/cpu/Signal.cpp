//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/cpu/Signal.h"

#include <climits>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

using namespace llmopt;

// About 80 us at 2.5 GHz. A parked thread needs some 30 us to answer, and the one that wakes it 8 us: worth avoiding
// between two tokens, not between two requests.
static constexpr uint64_t kSpinTicks = 200'000;

static void futexWait(std::atomic<uint32_t> *word, uint32_t expected) {
  ::syscall(SYS_futex, reinterpret_cast<uint32_t *>(word), FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}
static void futexWake(std::atomic<uint32_t> *word, int count) {
  ::syscall(SYS_futex, reinterpret_cast<uint32_t *>(word), FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

bool cpu::Signal::spin(uint32_t old) const {
  for (uint64_t begin = __rdtsc(); value_.load(std::memory_order_acquire) == old; _mm_pause())
    if (__rdtsc() - begin > kSpinTicks)
      return false;
  return true;
}

void cpu::Signal::park(uint32_t old) {
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  while (value_.load(std::memory_order_seq_cst) == old)
    futexWait(&value_, old);
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

void cpu::Signal::wake() { futexWake(&value_, INT_MAX); }

void cpu::Turnstile::lockSlow() {
  for (uint64_t begin = __rdtsc(); __rdtsc() - begin < kSpinTicks; _mm_pause()) {
    uint32_t expected = 0;
    if (state_.load(std::memory_order_relaxed) == 0 && state_.compare_exchange_weak(expected, 1, std::memory_order_acquire))
      return;
  }
  // Whoever comes out of here marks the lock as contended, since more may sleep; that costs one needless wake at most.
  while (state_.exchange(2, std::memory_order_acquire) != 0)
    futexWait(&state_, 2);
}

void cpu::Turnstile::wakeOne() { futexWake(&state_, 1); }
