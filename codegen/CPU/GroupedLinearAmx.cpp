//===- GroupedLinearAmx.cpp - experts' rows in tile registers -------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Intel AMX. An expert's rows lie anywhere: blocks of them are fetched, rounded and packed as LinearBlocksAmx.cpp packs rows, then all columns of the part are computed. Registers have 16
// rows whatever an expert has; rows that it does not have are computed from what lies there, and nobody reads them.
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/AmxTiles.h"
#include "codegen/CPU/Bf16Words.h"
#include "codegen/CPU/GroupedLinear.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

constexpr int64_t kTileRows = AmxTiles::kRows * AmxTiles::kMostLefts, kTilePanels = 2, kBlockRows = 8 * kTileRows;
constexpr int64_t kStepWords = AmxTiles::kRows * AmxTiles::kWords; ///< of a register of rows, and of a panel

class GroupedTiles : public GroupedWriter {
public:
  GroupedTiles(KernelBuilder &b, const LinearContext &context, const GroupedProblem &problem)
      : GroupedWriter(b, context, problem), tiles_(b, context.target, PanelFormat::BF16Dot, b.address(b.scratch(), b.index(sumElements()), b.f32())) {}

  int64_t scratchElements() const { return packedPlace() + kBlockRows * context_.depth(); }
  void emit() {
    tiles_.configure(b_.index(AmxTiles::kRows));
    run();
    tiles_.release();
  }

private:
  int64_t productStride() const { return kTileRows * kTilePanels * AmxTiles::kWords; }
  int64_t sumElements() const { return problem_.weights() * productStride(); }
  int64_t packedPlace() const { return sumElements() + AmxTiles::memoryWords(context_.target); }
  int64_t steps() const { return context_.depth() / AmxTiles::kWords; }
  Value registerAt(Value number) { return b_.address(b_.scratch(), b_.add(b_.mul(number, steps() * kStepWords), packedPlace()), b_.f32()); }

  void columns(Value firstPanel, Value first, Value last) override;
  void pack(Value first, Value count);
  void rowTiles(Value firstPanel, Value panel, int64_t panels, Value first, Value count);
  void product(AmxTiles::Shape shape, Projection linear, Value panel, Value firstRegister, Value sums);

  AmxTiles tiles_;
};

void GroupedTiles::columns(Value firstPanel, Value first, Value last) {
  int64_t whole = problem_.segment().panels() / kTilePanels, rest = problem_.segment().panels() % kTilePanels;
  b_.forLoop(first, last, kBlockRows, [&](Value place) {
    Value count = b_.min(b_.sub(last, place), b_.index(kBlockRows)), begin = b_.unitBegin(), end = b_.unitEnd(), limit = b_.index(whole);
    b_.ifThen(b_.less(begin, end), [&] { pack(place, count); });
    auto tiles = [&](Value from, Value to, int64_t panels) {
      b_.forLoop(from, to, 1, [&](Value tile) { rowTiles(firstPanel, b_.mul(tile, kTilePanels), panels, place, count); });
    };
    if (whole > 0)
      tiles(begin, b_.min(end, limit), kTilePanels);
    if (rest > 0)
      tiles(b_.max(begin, limit), end, rest);
  });
}

/// Rows at places [first, first + count) of the order in words, [register][step][row of the register][16 words].
void GroupedTiles::pack(Value first, Value count) {
  Bf16Words rounding(b_, context_.target.bf16Dot);
  VectorType floats = b_.vec(AmxTiles::kWords, b_.f32());
  b_.forLoop(b_.index(0), count, AmxTiles::kRows, [&](Value row) {
    Value place = b_.add(first, row), rows = b_.min(b_.sub(count, row), b_.index(AmxTiles::kRows)), target = registerAt(b_.floorDiv(row, AmxTiles::kRows));
    AmxTiles::eachPackedRow(b_, steps(), rows, [&](Value step, int64_t together, Value r) {
      Value from = b_.address(input_, b_.mul(inputRow(slotAt(b_.add(place, r))), context_.problem.depth), b_.f32());
      Value to = b_.address(target, b_.add(b_.mul(step, kStepWords), b_.mul(r, AmxTiles::kWords)), b_.f32());
      for (int64_t half = 0; half < 2 * together; ++half)
        b_.store(rounding.round(b_.load(floats, from, b_.add(b_.mul(step, 2 * AmxTiles::kWords), half * AmxTiles::kWords))),
                 b_.address(to, b_.index(half / 2 * kStepWords), b_.f32()), b_.index(half % 2 * AmxTiles::kWords));
    });
  });
}

void GroupedTiles::rowTiles(Value firstPanel, Value panel, int64_t panels, Value first, Value count) {
  const int64_t width = panels * AmxTiles::kWords;
  b_.forLoop(b_.index(0), count, kTileRows, [&](Value row) {
    Value rows = b_.min(b_.sub(count, row), b_.index(kTileRows)), number = b_.floorDiv(row, AmxTiles::kRows);
    for (auto [weight, linear] : llvm::enumerate(problem_.segment().linears)) {
      Value at = b_.add(firstPanel, panel), sums = b_.address(b_.scratch(), b_.index(int64_t(weight) * productStride()), b_.f32());
      b_.ifThen(
          b_.less(b_.index(AmxTiles::kRows), rows), [&] { product({2, panels}, linear, at, number, sums); }, [&] { product({1, panels}, linear, at, number, sums); });
    }
    b_.outline([&] {
      b_.forLoop(b_.index(0), rows, 1, [&](Value r) {
        Value sums = b_.address(b_.scratch(), b_.mul(r, width), b_.f32());
        epilogue_.emitTile(slotAt(b_.add(b_.add(first, row), r)), b_.index(1), b_.mul(panel, AmxTiles::kWords), width, sums, productStride());
      });
    });
  });
}

/// Weights are streams that come from memory but for the further row tiles of a block: each prefetches its own next steps.
void GroupedTiles::product(AmxTiles::Shape shape, Projection linear, Value panel, Value firstRegister, Value sums) {
  KernelBuilder::Values lefts, panels;
  for (int64_t i = 0; i < shape.rows; ++i)
    lefts.push_back(registerAt(b_.add(firstRegister, i)));
  for (int64_t i = 0; i < shape.panels; ++i)
    panels.push_back(panelAddress(b_, context_, linear, b_.add(panel, i)));
  tiles_.zeroSums(shape);
  b_.forLoop(b_.index(0), b_.index(steps()), 1, [&](Value step) {
    auto inStep = [&](ArrayRef<Value> starts) {
      KernelBuilder::Values addresses;
      for (Value start : starts)
        addresses.push_back(b_.address(start, b_.mul(step, kStepWords), b_.f32()));
      return addresses;
    };
    tiles_.multiplyAdd(shape, inStep(lefts), b_.index(AmxTiles::kWords), inStep(panels), /*streamsLefts=*/false, /*streamsPanels=*/false, [&](int64_t i) {
      for (int64_t word = 0; word < kStepWords; word += AmxTiles::kWords)
        b_.prefetch(panels[size_t(i)], b_.add(b_.mul(step, kStepWords), kStepWords + word), b_.f32(), /*locality=*/3);
    });
  });
  tiles_.storeSums(shape, sums, shape.panels * AmxTiles::kWords);
}

} // namespace

GroupedVariant cpu::emitGroupedTiles(KernelBuilder &b, const LinearContext &context, const GroupedProblem &problem) {
  GroupedTiles writer(b, context, problem);
  writer.emit();
  return {kTilePanels, context.shapes.symbols().constant(writer.scratchElements())};
}
