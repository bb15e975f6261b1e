//===- Signal.h - wait by spinning first, then in the kernel ----*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_CPU_SIGNAL_H
#define LLMOPT_RUNTIME_CPU_SIGNAL_H

#include <atomic>
#include <cstdint>

namespace llmopt::cpu {

/// A counter that threads wait on to change. While somebody waits less than some 80 microseconds, neither side makes a
/// system call.
class alignas(64) Signal {
public:
  uint32_t value() const { return value_.load(std::memory_order_acquire); }
  /// Returns once the value differs from `old`; everything before the `raise` is visible.
  void wait(uint32_t old) {
    if (!spin(old))
      park(old);
  }
  void raise() {
    value_.fetch_add(1, std::memory_order_seq_cst);
    // Ordered after the addition, as the sleeper's count is before its look at the value: one of both sees the other.
    if (sleepers_.load(std::memory_order_seq_cst) != 0)
      wake();
  }

private:
  bool spin(uint32_t old) const;
  void park(uint32_t old);
  void wake();
  std::atomic<uint32_t> value_{0};
  std::atomic<uint32_t> sleepers_{0};
};

/// A lock that one atomic takes when nobody else wants it.
class alignas(64) Turnstile {
public:
  void lock() {
    uint32_t expected = 0;
    if (!state_.compare_exchange_strong(expected, 1, std::memory_order_acquire))
      lockSlow();
  }
  void unlock() {
    if (state_.exchange(0, std::memory_order_release) == 2)
      wakeOne();
  }

private:
  void lockSlow();
  void wakeOne();
  std::atomic<uint32_t> state_{0}; ///< 0 free, 1 taken, 2 taken and somebody sleeps
};

} // namespace llmopt::cpu

#endif // LLMOPT_RUNTIME_CPU_SIGNAL_H
