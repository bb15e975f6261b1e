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

constexpr int64_t kStepWords = CodeSteps::kStepWords;

class CodeTileProductWriter {
public:
  CodeTileProductWriter(KernelBuilder &b, AmxTiles &tiles, const CodeProducts &codes, int64_t lanes, const CodeTileProduct &in) : b_(b), tiles_(tiles), codes_(codes), lanes_(lanes), in_(in) {}

  void run(function_ref<void(Value)> beside);

private:
  int64_t width() const { return in_.shape.panels * AmxTiles::kWords; }
  /// One of two.
  Value spanSums(Value number) { return b_.address(in_.spanSums, b_.mul(number, CodeTileProduct::tileElements(in_.shape)), b_.f32()); }
  Value unpackedSpan(int64_t panel, Value span) { return b_.address(in_.panels[size_t(panel)], b_.mul(span, codes_.unpackedSpan()), b_.f32()); }
  /// That are scaled and added.
  int64_t rowsTogether() const { return in_.steps ? 1 : 4; }
  Value scale(int64_t column, Value span) {
    if (in_.steps)
      return packedScales(b_, codes_, lanes_, in_.panels[size_t(column / kPanelColumns)], span, column % kPanelColumns / lanes_);
    return b_.load(b_.vec(lanes_, b_.f32()), unpackedSpan(column / kPanelColumns, span), b_.index(column % kPanelColumns));
  }
  void addScaled(Value spanSums, Value span, Value first, Value count);

  KernelBuilder &b_;
  AmxTiles &tiles_;
  const CodeProducts &codes_;
  int64_t lanes_;
  const CodeTileProduct &in_;
};

void CodeTileProductWriter::run(function_ref<void(Value)> beside) {
  const int64_t stepsOfSpan = codes_.span() / 2 / AmxTiles::kWords;
  Value tileRows = b_.mul(in_.registerRows, in_.shape.rows), stepWords = b_.mul(in_.registerRows, AmxTiles::kWords * codes_.terms), zero = b_.index(0);
  b_.forLoop(zero, in_.spans, 1, [&](Value span) {
    Value parity = b_.mod(span, 2), before = b_.max(b_.add(span, -1), zero), rowsBefore = b_.select(b_.equal(span, zero), zero, tileRows);
    const int64_t steps = stepsOfSpan * rowsTogether();
    Value share = b_.mul(b_.floorDiv(b_.add(rowsBefore, steps - 1), steps), rowsTogether()); // of a step
    tiles_.zeroSums(in_.shape);
    b_.forLoop(zero, b_.index(stepsOfSpan), 1, [&](Value stepOfSpan) {
      Value step = b_.add(b_.mul(span, stepsOfSpan), stepOfSpan), first = b_.min(b_.mul(stepOfSpan, share), rowsBefore);
      KernelBuilder::Values lefts, panels;
      for (Value left : in_.lefts)
        lefts.push_back(b_.address(left, b_.mul(step, stepWords), b_.f32()));
      std::function<void(int64_t)> unpack;
      if (in_.steps) {
        Value number = b_.add(in_.firstStep, step);
        for (int64_t i = 0; i < in_.shape.panels; ++i)
          panels.push_back(in_.steps->place(i, number));
        unpack = in_.steps->behind(in_.panels, in_.next, number, step, codes_.terms * in_.shape.panels);
      } else {
        for (int64_t i = 0; i < in_.shape.panels; ++i)
          panels.push_back(b_.address(unpackedSpan(i, span), b_.add(b_.mul(stepOfSpan, kStepWords), kPanelColumns), b_.f32()));
      }
      tiles_.multiplyAddTerms(in_.shape, lefts, codes_.terms, panels, /*panelTerms=*/1, /*streamsLefts=*/stepsOfSpan > 1 && !in_.steps, unpack ? function_ref<void(int64_t)>(unpack) : nullptr);
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
    scales.push_back(scale(column, span));
  b_.forLoop(first, b_.add(first, count), rowsTogether(), [&](Value row) {
    Value place = b_.mul(row, width()), from = b_.address(spanSums, place, b_.f32()), to = b_.address(in_.sums, place, b_.f32());
    for (int64_t i = 0; i < rowsTogether() * int64_t(scales.size()); ++i) {
      Value at = b_.index(i * lanes_);
      b_.store(b_.fma(b_.load(floats, from, at), scales[size_t(i) % scales.size()], b_.load(floats, to, at)), to, at);
    }
  });
}

} // namespace

void CodeSteps::begin(ArrayRef<Value> panels, Value number) {
  for (int64_t step = 0; step < kAhead; ++step)
    parts(panels, panels, b_.add(number, step), b_.index(step), 1)(0);
}

std::function<void(int64_t)> CodeSteps::behind(ArrayRef<Value> own, ArrayRef<Value> next, Value number, Value step, int64_t places) {
  KernelBuilder::Values panels;
  const int64_t steps = codes_.inputs / 2 / AmxTiles::kWords;
  Value later = b_.add(step, kAhead), isOwn = b_.less(later, b_.index(steps));
  for (auto [here, there] : llvm::zip(own, next))
    panels.push_back(b_.select(isOwn, here, there));
  return parts(panels, next, b_.add(number, kAhead), b_.select(isOwn, later, b_.add(later, -steps)), places);
}

/// Step `step` of the panels, each line with the prefetch of one that comes later, in the end in the panels `ahead`.
std::function<void(int64_t)> CodeSteps::parts(ArrayRef<Value> panels, ArrayRef<Value> ahead, Value number, Value step, int64_t places) {
  constexpr int64_t kLine = 64, kAheadBytes = 2048;
  Type byte = b_.ops().getI8Type();
  const int64_t stepsOfSpan = codes_.span() / 2 / AmxTiles::kWords, lines = 2 * AmxTiles::kWords / unpacker_.together(), panelBytes = codes_.panels.panelBytes(codes_.inputs);
  Value span = b_.floorDiv(step, stepsOfSpan);
  Value place = b_.add(packedCodesPlace(b_, codes_, span), b_.mul(b_.mod(step, stepsOfSpan), lines * kLine)), later = b_.add(place, kAheadBytes);
  Value inPanel = b_.less(later, b_.index(panelBytes)), laterPlace = b_.select(inPanel, later, b_.add(later, -panelBytes));
  KernelBuilder::Values from, to, prefetched;
  SmallVector<KernelBuilder::Values> zeros;
  for (auto [i, panel] : llvm::enumerate(panels)) {
    from.push_back(b_.address(panel, place, byte));
    to.push_back(this->place(int64_t(i), number));
    prefetched.push_back(b_.address(b_.select(inPanel, panel, ahead[i]), laterPlace, byte));
    zeros.push_back(unpacker_.zerosOf(panel, span));
  }
  return [=, this](int64_t part) {
    const int64_t count = int64_t(from.size()), all = count * lines;
    for (int64_t i = part * all / places; i < (part + 1) * all / places; ++i) {
      size_t panel = size_t(i % count);
      b_.prefetch(prefetched[panel], b_.index(i / count * kLine), byte, /*locality=*/3);
      unpacker_.unpack(from[panel], to[panel], b_.index(i / count), zeros[panel]);
    }
  };
}

void cpu::emitCodeTileProduct(KernelBuilder &b, AmxTiles &tiles, const CodeProducts &codes, int64_t lanes, const CodeTileProduct &in, function_ref<void(Value)> beside) {
  CodeTileProductWriter(b, tiles, codes, lanes, in).run(beside);
}
