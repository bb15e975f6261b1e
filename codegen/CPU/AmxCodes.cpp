//===- AmxCodes.cpp - products with codes in tile registers ---------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/AmxCodes.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

constexpr int64_t kRowsTogether = 4; ///< that are scaled and added
constexpr int64_t kStepWords = AmxTiles::kWords * AmxTiles::kWords; ///< of a panel

class CodeTileProductWriter {
public:
  CodeTileProductWriter(KernelBuilder &b, AmxTiles &tiles, const CodeProducts &codes, int64_t lanes, const CodeTileProduct &in) : b_(b), tiles_(tiles), codes_(codes), lanes_(lanes), in_(in) {}

  void run(function_ref<void(Value)> beside);

private:
  int64_t width() const { return in_.shape.panels * AmxTiles::kWords; }
  /// One of two.
  Value spanSums(Value number) { return b_.address(in_.spanSums, b_.mul(number, CodeTileProduct::tileElements(in_.shape)), b_.f32()); }
  Value unpackedSpan(int64_t panel, Value span) { return b_.address(in_.panels[size_t(panel)], b_.mul(span, codes_.unpackedSpan()), b_.f32()); }
  void addScaled(Value spanSums, Value span, Value first, Value count);

  KernelBuilder &b_;
  AmxTiles &tiles_;
  const CodeProducts &codes_;
  int64_t lanes_;
  const CodeTileProduct &in_;
};

void CodeTileProductWriter::run(function_ref<void(Value)> beside) {
  const int64_t stepsOfSpan = codes_.span() / 2 / AmxTiles::kWords;
  Value tileRows = b_.mul(in_.registerRows, in_.shape.rows), stepWords = b_.mul(in_.registerRows, AmxTiles::kWords), zero = b_.index(0);
  b_.forLoop(zero, in_.spans, 1, [&](Value span) {
    Value parity = b_.mod(span, 2), before = b_.max(b_.add(span, -1), zero), rowsBefore = b_.select(b_.equal(span, zero), zero, tileRows);
    Value share = b_.mul(b_.floorDiv(b_.add(rowsBefore, stepsOfSpan * kRowsTogether - 1), stepsOfSpan * kRowsTogether), kRowsTogether); // of a step
    tiles_.zeroSums(in_.shape);
    b_.forLoop(zero, b_.index(stepsOfSpan), 1, [&](Value stepOfSpan) {
      Value step = b_.add(b_.mul(span, stepsOfSpan), stepOfSpan), first = b_.min(b_.mul(stepOfSpan, share), rowsBefore);
      KernelBuilder::Values lefts, panels;
      for (Value left : in_.lefts)
        lefts.push_back(b_.address(left, b_.mul(step, stepWords), b_.f32()));
      for (int64_t i = 0; i < in_.shape.panels; ++i)
        panels.push_back(b_.address(unpackedSpan(i, span), b_.add(b_.mul(stepOfSpan, kStepWords), kPanelColumns), b_.f32()));
      tiles_.multiplyAdd(in_.shape, lefts, b_.index(AmxTiles::kWords), panels, /*streamsLefts=*/stepsOfSpan > 1);
      addScaled(spanSums(b_.sub(b_.index(1), parity)), before, first, b_.min(b_.sub(rowsBefore, first), share));
      if (beside)
        beside(step);
    });
    tiles_.storeSums(in_.shape, spanSums(parity), width());
  });
  Value last = b_.add(in_.spans, -1);
  addScaled(spanSums(b_.mod(last, 2)), last, zero, tileRows);
}

/// Adds rows [first, first + count) of a span's sums, times its scales, to the row tile's.
void CodeTileProductWriter::addScaled(Value spanSums, Value span, Value first, Value count) {
  VectorType floats = b_.vec(lanes_, b_.f32());
  KernelBuilder::Values scales;
  for (int64_t column = 0; column < width(); column += lanes_)
    scales.push_back(b_.load(floats, unpackedSpan(column / kPanelColumns, span), b_.index(column % kPanelColumns)));
  b_.forLoop(first, b_.add(first, count), kRowsTogether, [&](Value row) {
    Value place = b_.mul(row, width()), from = b_.address(spanSums, place, b_.f32()), to = b_.address(in_.sums, place, b_.f32());
    for (int64_t i = 0; i < kRowsTogether * int64_t(scales.size()); ++i) {
      Value at = b_.index(i * lanes_);
      b_.store(b_.fma(b_.load(floats, from, at), scales[size_t(i) % scales.size()], b_.load(floats, to, at)), to, at);
    }
  });
}

} // namespace

void cpu::emitCodeTileProduct(KernelBuilder &b, AmxTiles &tiles, const CodeProducts &codes, int64_t lanes, const CodeTileProduct &in, function_ref<void(Value)> beside) {
  CodeTileProductWriter(b, tiles, codes, lanes, in).run(beside);
}
