//===- AmxTerms.cpp - weights as sums of bf16 in tile registers -----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/AmxTerms.h"

#include "codegen/CPU/Bf16Terms.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

static constexpr int64_t kWords = AmxTiles::kWords, kColumns = 16;

Value PanelSplitter::place(int64_t i, Value number) {
  return b_.address(room_, b_.add(b_.mul(b_.mod(number, 2), panels_ * panelWords_), i * panelWords_), b_.f32());
}

void PanelSplitter::split(ArrayRef<Value> panels, Value number, Value first, Value end) {
  KernelBuilder::Values to;
  for (size_t i = 0; i < panels.size(); ++i)
    to.push_back(place(int64_t(i), number));
  b_.forLoop(first, end, 1, [&](Value word) {
    for (auto [panel, terms] : llvm::zip(panels, to))
      splitWord(panel, terms, word);
  });
}

PanelSplitter::Beside PanelSplitter::shareOf(ArrayRef<Value> next, const Share &share, Value step, int64_t places) {
  auto dividedUp = [this](Value x, Value y) { return b_.floorDiv(b_.add(x, b_.add(y, -1)), y); };
  Value each = dividedUp(share.words, b_.mul(share.rowTiles, share.steps)), part = dividedUp(each, b_.index(places));
  Value begin = b_.min(b_.mul(b_.add(b_.mul(share.rowTile, share.steps), step), each), share.words), end = b_.min(b_.add(begin, each), share.words);
  Value number = b_.add(share.number, 1);
  return [=, this](int64_t place) {
    Value first = b_.min(b_.add(begin, b_.mul(part, place)), end);
    split(next, number, first, b_.min(b_.add(first, part), end));
  };
}

PanelSplitter::Beside PanelSplitter::stepBehind(ArrayRef<Value> own, ArrayRef<Value> next, Value number, Value step, Value isLast, int64_t places) {
  KernelBuilder::Values from, to;
  for (auto [here, there] : llvm::zip(own, next)) {
    to.push_back(place(int64_t(from.size()), b_.add(number, 1)));
    from.push_back(b_.select(isLast, there, b_.address(here, b_.mul(b_.add(step, 1), 2 * kWords * kColumns), element_)));
  }
  return [=, this](int64_t place) {
    const int64_t panels = int64_t(from.size()), words = panels * kWords;
    for (int64_t i = place * words / places; i < (place + 1) * words / places; ++i)
      splitWord(from[size_t(i % panels)], to[size_t(i % panels)], b_.index(i / panels));
  };
}

/// A word of each column, of two inputs.
void PanelSplitter::splitWord(Value panel, Value terms, Value word) {
  constexpr int64_t kAheadBytes = 2048;
  const int64_t elementBytes = element_.getIntOrFloatBitWidth() / 8;
  VectorType floats = b_.vec(kColumns, b_.f32());
  Value pair = b_.address(panel, b_.mul(word, 2 * kColumns), element_);
  for (int64_t line = 0; line < 2 * kColumns * elementBytes; line += 64)
    b_.prefetch(pair, b_.index((line + kAheadBytes) / elementBytes), element_, /*locality=*/3);
  KernelBuilder::Values halves[2];
  for (int64_t half = 0; half < 2; ++half) {
    Value weights = b_.load(b_.vec(kColumns, element_), pair, b_.index(half * kColumns));
    if (!element_.isF32())
      weights = arith::ExtFOp::create(b_.ops(), b_.loc(), floats, weights);
    halves[half] = splitTerms(b_, weights, terms_);
  }
  Value place = b_.add(b_.mul(b_.floorDiv(word, kWords), kWords * kColumns * (terms_ - 1)), b_.mul(word, kColumns));
  for (int64_t term = 0; term < terms_; ++term)
    b_.store(joinTerms(b_, halves[0][size_t(term)], halves[1][size_t(term)]), terms, b_.add(place, term * kWords * kColumns));
}
