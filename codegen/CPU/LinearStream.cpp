//===- LinearStream.cpp - projections of one to four rows -----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Bound by reading the weights. One sequential stream leaves a fifth of the bandwidth unused (prefetchers start anew at each
// page), so several panels are read side by side. With four streams every form of software prefetch was slower; where the
// accumulators leave room for fewer streams, reading ahead makes up for them.
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/LinearStream.h"

#include "codegen/CPU/LinearEpilogue.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

PanelFormat cpu::panelFormat(llm::LinearOp linear) {
  Type element = getElementTypeOrSelf(linear.getWeight().getType());
  return element.isBF16() ? PanelFormat::BF16Pairs : element.isF16() ? PanelFormat::F16 : PanelFormat::Plain;
}

int64_t cpu::panelElements(llm::LinearOp linear, int64_t depth) {
  return 16 * (panelFormat(linear) == PanelFormat::BF16Pairs ? (depth + 1) / 2 * 2 : depth);
}

TileOperands cpu::tileOperands(KernelBuilder &b, const LinearContext &context, llm::LinearOp linear) {
  TileOperands in;
  in.element = b.f32();
  in.format = context.bf16Products ? PanelFormat::BF16Dot : panelFormat(linear);
  in.hasF16Conversion = llvm::is_contained(context.target.features, "f16c");
  in.hasBf16Dot = context.target.bf16Dot;
  return in;
}

Value cpu::panelAddress(KernelBuilder &b, const LinearContext &context, llm::LinearOp linear, Value panel) {
  TileOperands in = tileOperands(b, context, linear);
  int64_t elements = in.format == PanelFormat::BF16Dot ? 16 * context.depth() : panelElements(linear, context.problem.depth);
  return b.address(b.buffer(bindingOf(linear.getWeight())), b.mul(panel, elements), panelElement(b, in));
}

void cpu::emitBf16Rows(KernelBuilder &b, const LinearContext &context, Value rows, Value count, Value to) {
  int64_t inputs = context.problem.depth, lanes = context.lanes, whole = inputs / lanes * lanes;
  VectorType type = b.vec(lanes, b.f32());
  Type half = b.ops().getIntegerType(16);
  b.forLoop(b.index(0), count, 1, [&](Value row) {
    Value from = b.address(rows, b.mul(row, inputs), b.f32());
    Value target = b.address(to, b.mul(row, context.depth()), b.f32());
    b.forLoop(b.index(0), b.index(whole), lanes, [&](Value k) { b.store(b.f32ToBf16(b.load(type, from, k)), target, k); });
    b.forLoop(b.index(whole), b.index(inputs), 1,
              [&](Value k) { b.store(b.f32ToBf16(b.load(b.f32(), from, k)), target, k); });
    // The second half of the last word, where K is odd: the weight there is zero, and so must this be.
    if (inputs % 2)
      b.store(b.constantInt(half, 0), target, b.index(inputs));
  });
}

namespace {

class StreamWriter {
public:
  /// `input`: the rows, as bf16 words where products are of those.
  StreamWriter(KernelBuilder &b, const LinearContext &context, const LinearSegment &segment, int64_t rows, Value input)
      : b_(b), context_(context), segment_(segment), rows_(rows), input_(input),
        epilogue_(b, context.shapes, products(segment), segment.outputs, context.problem.leading,
                  context.shapes.symbols().constant(segment.columns), context.lanes) {}

  /// Panels [first, first + count) of every weight of the segment.
  void panels(Value first, int64_t count);

private:
  static llvm::SmallVector<Value> products(const LinearSegment &segment) {
    llvm::SmallVector<Value> values;
    for (llm::LinearOp linear : segment.linears)
      values.push_back(linear.getResult());
    return values;
  }

  void readAhead(TileOperands &in);
  KernelBuilder &b_;
  const LinearContext &context_;
  const LinearSegment &segment_;
  int64_t rows_;
  Value input_;
  LinearEpilogue epilogue_;
};

void StreamWriter::readAhead(TileOperands &in) {
  Type element = panelElement(b_, in);
  int64_t elementBytes = element.getIntOrFloatBitWidth() / 8, stepBytes = in.unroll * 16 * elementBytes;
  int64_t distance = in.format == PanelFormat::Plain ? 1024 : 2048;
  KernelBuilder *b = &b_;
  llvm::SmallVector<Value> panels = in.panels;
  in.perStep = [=](Value k) {
    for (Value panel : panels)
      for (int64_t line = 0; line < stepBytes; line += 64)
        b->prefetch(panel, b->add(b->mul(k, 16), (distance + line) / elementBytes), element, /*locality=*/3);
  };
}

void StreamWriter::panels(Value first, int64_t count) {
  int64_t depth = context_.depth(), weights = int64_t(segment_.linears.size());
  TileShape shape{rows_, count * weights, context_.lanes};
  TileOperands in = tileOperands(b_, context_, segment_.linears.front());
  in.a = input_;
  in.aRow = depth;
  in.depth = b_.index(depth);
  in.depthMultiple = depth;
  for (llm::LinearOp linear : segment_.linears)
    for (int64_t i = 0; i < count; ++i)
      in.panels.push_back(panelAddress(b_, context_, linear, b_.add(first, i)));
  if (rows_ > 1 && (shape.panels == 1 || (shape.panels < 4 && in.format != PanelFormat::Plain)))
    readAhead(in);
  KernelBuilder::Values tile = emitTileLoop(b_, shape, in, zeroTile(b_, shape, b_.f32()));
  // To scratch, a matrix of rows x (count * 16) for each weight.
  int64_t width = count * 16, productStride = rows_ * width;
  TileShape part{1, count, context_.lanes};
  for (int64_t row = 0; row < rows_; ++row)
    for (int64_t weight = 0; weight < weights; ++weight)
      storeTile(b_, part, ValueRange(tile).slice(size_t(shape.index(row, weight * count, 0)), size_t(part.accumulators())),
                b_.address(b_.scratch(), b_.index(weight * productStride + row * width), b_.f32()), width);
  auto epilogue = [&] { epilogue_.emitTile(b_.index(0), b_.index(rows_), b_.mul(first, 16), width, b_.scratch(), productStride); };
  if (epilogue_.isLight())
    epilogue();
  else
    b_.outline(epilogue);
}

} // namespace

int64_t cpu::emitLinearStream(KernelBuilder &b, const LinearContext &context, strategy::GemmBucketAttr bucket) {
  int64_t base = 0, sums = bucket.getRows() * std::max<int64_t>(bucket.getColumns(), 16 * context.problem.mostWeights());
  int64_t rows = bucket.getRows(), normed = context.normElements(rows);
  Value input;
  if (context.norm) {
    input = b.address(b.scratch(), b.index(sums), b.f32());
    context.norm(b, b.index(0), b.index(rows), input, b.equal(b.unitBegin(), b.index(0)));
  } else {
    input = b.buffer(context.problem.inputBinding);
  }
  if (context.bf16Products) {
    Value rounded = b.address(b.scratch(), b.index(sums + normed), b.f32());
    emitBf16Rows(b, context, input, b.index(rows), rounded);
    input = rounded;
  }
  for (const LinearSegment &segment : context.problem.segments) {
    StreamWriter writer(b, context, segment, rows, input);
    // This part's panels of the segment.
    Value limit = b.index(segment.panels()), zero = b.index(0);
    Value begin = b.min(b.max(b.sub(b.unitBegin(), b.index(base)), zero), limit);
    Value end = b.min(b.max(b.sub(b.unitEnd(), b.index(base)), zero), limit);
    base += segment.panels();
    int64_t most = std::max<int64_t>(1, bucket.getColumns() / 16 / int64_t(segment.linears.size()));
    for (int64_t count = int64_t(llvm::bit_floor(uint64_t(most))); count >= 1; count /= 2) {
      Value last = b.sub(end, b.mod(b.sub(end, begin), b.index(count)));
      b.forLoop(begin, last, count, [&](Value panel) { writer.panels(panel, count); });
      begin = last;
    }
  }
  return (sums + normed + (context.bf16Products ? rows * context.depth() : 0)) * 4;
}
