//===- PieceDealer.h - which thread computes which piece --------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A stage is cut in one share for each thread, of equal size. The share of a long stage is cut again: its first half is a piece, then the
// next quarter, and so on; the last two pieces are of equal size. A thread computes its own share from the front, and then what is left of
// the others' from their ends. So a thread that is held up (another process, the host of a virtual machine) delays the barrier by no more
// than the piece that it was at, while on a quiet machine every thread has the rows it had in the stage before.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_CORE_PIECEDEALER_H
#define LLMOPT_RUNTIME_CORE_PIECEDEALER_H

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

namespace llmopt {

/// What a kernel takes as `part` and `parts`.
struct Piece {
  uint32_t part, parts;
};

class PieceDealer {
public:
  /// The least piece is LLMOPT_PIECE_US microseconds, if that is set.
  PieceDealer();
  explicit PieceDealer(double leastMicroseconds) : least_(leastMicroseconds) {}

  /// How often to halve shares that take about so long.
  unsigned halvings(double shareMicroseconds) const;

  /// Before a region of so many launches, by the thread that begins it. Allocates only if there were never as many threads.
  void begin(unsigned threads, uint64_t launches);
  /// Calls run(Piece) for the pieces of launch `index` that fall to this thread. All threads say the same number of halvings. Returns when
  /// none is left to begin; others may still be at theirs.
  template <typename Run>
  void deal(uint64_t index, unsigned thread, unsigned halvings, Run run) {
    for (unsigned i = 0; i < threads_; ++i) {
      unsigned owner = thread + i < threads_ ? thread + i : thread + i - threads_;
      while (std::optional<unsigned> piece = take(queues_[owner], first_ + index, halvings + 1, i == 0))
        run(pieceOf(owner, *piece, halvings));
    }
  }

private:
  /// Of one thread's share: the number of the launch it belongs to, and how many pieces were taken from its end and from its front.
  struct alignas(64) Queue {
    std::atomic<uint64_t> state{0};
  };
  static std::optional<unsigned> take(Queue &queue, uint64_t launch, unsigned pieces, bool fromFront);
  Piece pieceOf(unsigned owner, unsigned piece, unsigned halvings) const;

  double least_;
  std::unique_ptr<Queue[]> queues_;
  unsigned threads_ = 0, room_ = 0;
  uint64_t first_ = 1, next_ = 1; ///< launches are numbered through, so that nothing needs to be reset
};

} // namespace llmopt

#endif // LLMOPT_RUNTIME_CORE_PIECEDEALER_H
