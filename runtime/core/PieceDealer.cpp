//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/core/PieceDealer.h"

#include <cstdlib>

using namespace llmopt;

static constexpr unsigned kMostHalvings = 3;
/// A kernel norms and packs the rows of each piece anew: with 100, encoders of 128 tokens were 2 % slower.
static constexpr double kLeastMicroseconds = 300;

PieceDealer::PieceDealer() : least_(kLeastMicroseconds) {
  if (const char *text = std::getenv("LLMOPT_PIECE_US")) {
    char *end = nullptr;
    double value = std::strtod(text, &end);
    if (end != text && *end == '\0' && value >= 0)
      least_ = value;
  }
}

unsigned PieceDealer::halvings(double shareMicroseconds) const {
  unsigned count = 0;
  for (double piece = shareMicroseconds / 2; count < kMostHalvings && piece >= least_; piece /= 2)
    ++count;
  return count;
}

void PieceDealer::begin(unsigned threads, uint64_t launches) {
  if (threads > room_) {
    queues_ = std::make_unique<Queue[]>(threads);
    room_ = threads;
  }
  threads_ = threads;
  first_ = next_;
  next_ += launches;
}

/// The state is the launch's number in 48 bits and two counters of 8. Relaxed: barriers order what pieces read and write. A thread that comes
/// late may find a queue that belongs to a later launch: then all pieces of its own were taken, else nobody would have gone on.
std::optional<unsigned> PieceDealer::take(Queue &queue, uint64_t launch, unsigned pieces, bool fromFront) {
  uint64_t seen = queue.state.load(std::memory_order_relaxed);
  while (true) {
    if (seen >> 16 > launch)
      return std::nullopt;
    uint64_t now = seen >> 16 == launch ? seen : launch << 16;
    unsigned front = now & 0xff, back = now >> 8 & 0xff;
    if (front + back == pieces)
      return std::nullopt;
    if (queue.state.compare_exchange_weak(seen, now + (fromFront ? 1 : 1 << 8), std::memory_order_relaxed))
      return fromFront ? front : pieces - 1 - back;
  }
}

/// Piece 0 is the first of two parts of the share, piece 1 the third of four, piece 2 the seventh of eight, ... and the last one what is left.
Piece PieceDealer::pieceOf(unsigned owner, unsigned piece, unsigned halvings) const {
  bool isLast = piece == halvings;
  unsigned cuts = isLast ? halvings : piece + 1;
  return {((owner + 1) << cuts) - (isLast ? 1 : 2), threads_ << cuts};
}
