//===- GroupedLinearAmx.cpp - experts' rows in tile registers -------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Intel AMX. An expert's rows lie anywhere: blocks of them are fetched, rounded and packed as LinearBlocksAmx.cpp packs rows, then all columns of the part are computed. Registers have 16
// rows whatever an expert has; rows that it does not have are computed from what lies there, and nobody reads them. Codes are unpacked for a block of K of a column tile, which all
// rows of the block then meet; one or two rows of an expert are multiplied in vectors.
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/AmxCodes.h"
#include "codegen/CPU/Bf16Terms.h"
#include "codegen/CPU/Bf16Words.h"
#include "codegen/CPU/GroupedLinear.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

constexpr int64_t kTileRows = AmxTiles::kRows * AmxTiles::kMostLefts, kTilePanels = 2, kBlockRows = 8 * kTileRows;
constexpr int64_t kFewRows = 2; ///< that read codes faster in vectors
constexpr int64_t kStepWords = AmxTiles::kRows * AmxTiles::kWords; ///< of a register of rows, and of a panel

/// Rows that the second-level cache has room for beside weights, as each column tile reads them from there: with terms they are three times as long.
int64_t termBlockRows(const LinearContext &context) {
  int64_t rows = context.target.l2Bytes * 5 / 8 / (4 * context.depth() * context.rowTerms());
  return std::clamp<int64_t>(rows / kTileRows, 1, kBlockRows / kTileRows) * kTileRows;
}

class GroupedTiles : public GroupedWriter {
public:
  GroupedTiles(KernelBuilder &b, const LinearContext &context, const GroupedProblem &problem, strategy::GemmBucketAttr bucket)
      : GroupedWriter(b, context, problem), blockRows_(context.terms ? termBlockRows(context) : kBlockRows),
        blockSpans_(context.codes ? std::max<int64_t>(1, 2 * bucket.getKBlock() / context.codes->span()) : 0),
        tiles_(b, context.target, PanelFormat::BF16Dot, b.address(b.scratch(), b.index(sumElements()), b.f32())) {}

  int64_t scratchElements() const { return unpackedPlace() + kTilePanels * unpackedPanel(); }
  void emit() {
    tiles_.configure(b_.index(AmxTiles::kRows));
    run();
    tiles_.release();
  }

private:
  /// With codes all rows of a block wait for the next block of K.
  int64_t productStride() const { return (context_.codes ? blockRows_ : kTileRows) * kTilePanels * AmxTiles::kWords; }
  int64_t sumElements() const { return problem_.weights() * productStride(); }
  int64_t spanSumsPlace() const { return sumElements() + AmxTiles::memoryWords(context_.target); }
  int64_t packedPlace() const { return spanSumsPlace() + (context_.codes ? CodeTileProduct::spanSumElements({AmxTiles::kMostLefts, kTilePanels}) : 0); }
  int64_t unpackedPlace() const { return packedPlace() + blockRows_ * context_.depth() * context_.rowTerms(); }
  int64_t unpackedPanel() const { return context_.codes ? blockSpans_ * context_.codes->unpackedSpan() : 0; }
  int64_t steps() const { return context_.depth() / AmxTiles::kWords; }
  /// Of a register of rows, with all terms.
  int64_t leftStepWords() const { return kStepWords * context_.rowTerms(); }
  Value registerAt(Value number) { return b_.address(b_.scratch(), b_.add(b_.mul(number, steps() * leftStepWords()), packedPlace()), b_.f32()); }

  void columns(Value firstPanel, Value first, Value last) override;
  void pack(Value first, Value count);
  void rowTiles(Value firstPanel, Value panel, int64_t panels, Value first, Value count);
  void product(AmxTiles::Shape shape, Projection linear, Value panel, Value firstRegister, Value sums);
  void codeProducts(Value panel, int64_t panels, Value count);
  void unpack(Projection linear, Value panel, int64_t panels, Value span, Value endSpan);
  Value inScratch(int64_t element) { return b_.address(b_.scratch(), b_.index(element), b_.f32()); }
  Value unpacked(int64_t panel) { return inScratch(unpackedPlace() + panel * unpackedPanel()); }

  int64_t blockRows_;
  int64_t blockSpans_; ///< of codes
  AmxTiles tiles_;
};

void GroupedTiles::columns(Value firstPanel, Value first, Value last) {
  auto blocks = [&] {
    rowBlocks(first, last, blockRows_, kTilePanels, [&](Value place, Value count) { pack(place, count); },
              [&](Value place, Value count, Value panel, int64_t panels) {
                if (!context_.codes)
                  return rowTiles(firstPanel, panel, panels, place, count);
                codeProducts(b_.add(firstPanel, panel), panels, count);
                finish(place, count, panel, panels, productStride());
              });
  };
  if (!context_.codes)
    return blocks();
  b_.ifThen(b_.less(b_.index(kFewRows), b_.sub(last, first)), blocks, [&] {
    b_.forLoop(first, last, 1, [&](Value place) {
      Value row = b_.address(input_, b_.mul(inputRow(slotAt(place)), context_.problem.depth), b_.f32()), rounded = inScratch(packedPlace());
      emitRoundedRows(b_, context_, row, b_.index(1), rounded);
      streamCodes(firstPanel, panelOf(b_.unitBegin(), kTilePanels), panelOf(b_.unitEnd(), kTilePanels), place, {rounded, b_.index(0)});
    });
  });
}

/// Rows at places [first, first + count) of the order in words, [register][step][row of the register][16 words]; of terms, [register][step][term][row of the register][16 words].
void GroupedTiles::pack(Value first, Value count) {
  Bf16Words rounding(b_, context_.target.bf16Dot);
  VectorType floats = b_.vec(AmxTiles::kWords, b_.f32());
  b_.forLoop(b_.index(0), count, AmxTiles::kRows, [&](Value row) {
    Value place = b_.add(first, row), rows = b_.min(b_.sub(count, row), b_.index(AmxTiles::kRows)), target = registerAt(b_.floorDiv(row, AmxTiles::kRows));
    AmxTiles::eachPackedRow(b_, steps(), rows, [&](Value step, int64_t together, Value r) {
      Value from = b_.address(input_, b_.mul(inputRow(slotAt(b_.add(place, r))), context_.problem.depth), b_.f32());
      Value to = b_.address(target, b_.add(b_.mul(step, leftStepWords()), b_.mul(r, AmxTiles::kWords)), b_.f32());
      auto paired = [&](Value halves) { return context_.codes ? pairedHalves(b_, halves) : halves; };
      for (int64_t i = 0; context_.terms && i < together; ++i)
        storeTerms(b_, b_.address(from, b_.mul(b_.add(step, i), 2 * AmxTiles::kWords), b_.f32()), AmxTiles::kWords, context_.terms, b_.address(to, b_.index(i * leftStepWords()), b_.f32()),
                   b_.index(kStepWords), paired);
      for (int64_t half = 0; !context_.terms && half < 2 * together; ++half) {
        Value rounded = rounding.round(b_.load(floats, from, b_.add(b_.mul(step, 2 * AmxTiles::kWords), half * AmxTiles::kWords)));
        b_.store(paired(rounded), b_.address(to, b_.index(half / 2 * kStepWords), b_.f32()), b_.index(half % 2 * AmxTiles::kWords));
      }
    });
  });
}

void GroupedTiles::rowTiles(Value firstPanel, Value panel, int64_t panels, Value first, Value count) {
  b_.forLoop(b_.index(0), count, kTileRows, [&](Value row) {
    Value rows = b_.min(b_.sub(count, row), b_.index(kTileRows)), number = b_.floorDiv(row, AmxTiles::kRows);
    for (auto [weight, linear] : llvm::enumerate(problem_.segment().linears)) {
      Value at = b_.add(firstPanel, panel), sums = b_.address(b_.scratch(), b_.index(int64_t(weight) * productStride()), b_.f32());
      b_.ifThen(
          b_.less(b_.index(AmxTiles::kRows), rows), [&] { product({2, panels}, linear, at, number, sums); }, [&] { product({1, panels}, linear, at, number, sums); });
    }
    finish(b_.add(first, row), rows, panel, panels, productStride());
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
    auto inStep = [&](ArrayRef<Value> starts, int64_t stepWords) {
      KernelBuilder::Values addresses;
      for (Value start : starts)
        addresses.push_back(b_.address(start, b_.mul(step, stepWords), b_.f32()));
      return addresses;
    };
    auto prefetch = [&](int64_t i) {
      for (int64_t word = 0; i < shape.panels && word < kStepWords; word += AmxTiles::kWords)
        b_.prefetch(panels[size_t(i)], b_.add(b_.mul(step, kStepWords), kStepWords + word), b_.f32(), /*locality=*/3);
    };
    KernelBuilder::Values stepLefts = inStep(lefts, leftStepWords()), stepPanels = inStep(panels, kStepWords);
    if (context_.terms)
      tiles_.multiplyAddTerms(shape, stepLefts, context_.rowTerms(), stepPanels, /*panelTerms=*/1, /*streamsLefts=*/false, prefetch);
    else
      tiles_.multiplyAdd(shape, stepLefts, b_.index(AmxTiles::kWords), stepPanels, /*streamsLefts=*/false, /*streamsPanels=*/false, prefetch);
  });
  tiles_.storeSums(shape, sums, shape.panels * AmxTiles::kWords);
}

/// Sums of `count` rows, from the block's first one on, with `panels` panels of each weight.
void GroupedTiles::codeProducts(Value panel, int64_t panels, Value count) {
  const CodeProducts &codes = *context_.codes;
  const int64_t width = panels * AmxTiles::kWords, spanWords = codes.span() / 2 * AmxTiles::kRows * codes.terms;
  Value zero = b_.index(0), spans = b_.index(codes.spans()), registers = b_.floorDiv(b_.add(count, AmxTiles::kRows - 1), AmxTiles::kRows);
  for (auto [weight, linear] : llvm::enumerate(problem_.segment().linears)) {
    Value sums = inScratch(int64_t(weight) * productStride());
    b_.forLoop(zero, b_.mul(registers, AmxTiles::kRows * width), context_.lanes, [&](Value i) { b_.store(b_.constant(b_.vec(context_.lanes, b_.f32()), 0), sums, i); });
    b_.forLoop(zero, spans, blockSpans_, [&](Value span) {
      Value endSpan = b_.min(b_.add(span, blockSpans_), spans);
      unpack(linear, panel, panels, span, endSpan);
      b_.forLoop(zero, registers, AmxTiles::kMostLefts, [&](Value number) {
        auto product = [&](int64_t rows) {
          CodeTileProduct in{{rows, panels}, b_.index(AmxTiles::kRows), {}, {}, b_.sub(endSpan, span), inScratch(spanSumsPlace()), b_.address(sums, b_.mul(number, AmxTiles::kRows * width), b_.f32())};
          for (int64_t i = 0; i < rows; ++i)
            in.lefts.push_back(b_.address(registerAt(b_.add(number, i)), b_.mul(span, spanWords), b_.f32()));
          for (int64_t i = 0; i < panels; ++i)
            in.panels.push_back(unpacked(i));
          emitCodeTileProduct(b_, tiles_, codes, context_.lanes, in);
        };
        b_.ifThen(b_.less(b_.add(number, 1), registers), [&] { product(2); }, [&] { product(1); });
      });
    });
  }
}

/// Spans [span, endSpan) of `panels` panels. Beside them those that come next are prefetched: of the same panels, or, behind their end, of the next ones.
void GroupedTiles::unpack(Projection linear, Value panel, int64_t panels, Value span, Value endSpan) {
  const CodeProducts &codes = *context_.codes;
  constexpr int64_t kLine = 64;
  int64_t panelBytes = codes.panels.panelBytes(codes.inputs);
  for (int64_t i = 0; i < panels; ++i) {
    Value from = panelAddress(b_, context_, linear, b_.add(panel, i));
    emitUnpackedCodes(b_, codes, tileOperands(b_, context_, linear), context_.lanes, from, span, endSpan, unpacked(i), [&](Value number) {
      Value place = b_.mul(b_.add(b_.add(span, number), blockSpans_), codes.spanBytes());
      place = b_.select(b_.less(place, b_.index(panelBytes)), place, b_.add(place, (panels - 1) * panelBytes));
      for (int64_t line = 0; line < codes.spanBytes(); line += kLine)
        b_.prefetch(from, b_.add(place, line), b_.ops().getI8Type(), /*locality=*/2);
    });
  }
}

} // namespace

GroupedVariant cpu::emitGroupedTiles(KernelBuilder &b, const LinearContext &context, const GroupedProblem &problem, strategy::GemmBucketAttr bucket) {
  GroupedTiles writer(b, context, problem, bucket);
  writer.emit();
  return {kTilePanels, context.shapes.symbols().constant(writer.scratchElements())};
}
