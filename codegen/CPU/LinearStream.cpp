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

#include "codegen/CPU/Bf16Terms.h"
#include "codegen/CPU/Bf16Words.h"
#include "codegen/CPU/LinearEpilogue.h"
#include "codegen/Common/QuantizedPacking.h"
#include "codegen/Common/WeightPacking.h"
#include "llmopt/dialects/LLM/ElementTypes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

std::optional<CodeProducts> cpu::codesOf(exec::KernelOp kernel, const Target &target, strategy::GemmAttr strategy, int64_t depth) {
  std::optional<QuantizedWeight> quantized = quantizedAs(kernel);
  if (!quantized)
    return std::nullopt;
  CodeArithmetic arithmetic =
      strategy.getAmx() ? CodeArithmetic::Groups : codeArithmetic(target, strategy.getVectorBits() / 32, quantized->format.bits, /*exact=*/!strategy.getInt8Products());
  return CodeProducts{panelsOf(*quantized, CodeOrder::Words), quantized->format.zero, depth, arithmetic, strategy.getInt8Products(), std::max<int64_t>(1, strategy.getTerms())};
}

std::string cpu::weightLayout(const LinearContext &context, Projection linear) {
  return context.codes ? context.codes->panels.layout() : std::string(panelLayout(*llm::dtypeOf(linear.weightType().getElementType())));
}

DType cpu::arithmeticOf(const LinearContext &context) {
  bool integer = context.problem.integer || (context.codes && !context.codes->inFloats());
  return integer ? DType::I8 : context.inPairs() ? DType::BF16 : DType::F32;
}

PanelFormat cpu::panelFormat(Projection linear) {
  Type element = getElementTypeOrSelf(linear.getWeight().getType());
  if (element.isInteger(8))
    return PanelFormat::BytePairs;
  return element.isBF16() ? PanelFormat::BF16Pairs : element.isF16() ? PanelFormat::F16 : PanelFormat::Plain;
}

int64_t LinearContext::weightTerms() const { return terms && !codes ? weightTermsOf(problem.segments.front().linears.front().weightType().getElementType(), terms) : 1; }

int64_t cpu::panelElements(Projection linear, int64_t depth) {
  int64_t group = inputGroup(panelLayout(*llm::dtypeOf(getElementTypeOrSelf(linear.getWeight().getType()))));
  return 16 * ((depth + group - 1) / group * group);
}

TileOperands cpu::tileOperands(KernelBuilder &b, const LinearContext &context, Projection linear) {
  TileOperands in;
  in.element = context.sumElement(b);
  in.format = panelFormat(linear);
  if (context.inGroups) {
    in.format = in.format == PanelFormat::Plain ? PanelFormat::FloatGroups : in.format == PanelFormat::F16 ? PanelFormat::F16Groups : PanelFormat::BF16Groups;
    if (context.terms)
      in.unroll = 2; // the sums of two rows fill the registers
  } else if (context.inPairs() && !context.splitsWeights()) {
    in.format = PanelFormat::BF16Dot;
  } else if (context.byteDot()) {
    in.format = PanelFormat::ByteDot;
  }
  in.terms = context.terms;
  in.weightTerms = context.weightTerms();
  in.prefetchersSuffice = context.target.prefetchersSuffice;
  in.hasF16Conversion = llvm::is_contained(context.target.features, "f16c");
  in.hasBf16Dot = context.target.bf16Dot;
  in.hasByteDot = context.target.int8Dot && context.lanes == 16;
  in.targetLanes = context.target.vectorBits / 32;
  return in;
}

Value cpu::panelAddress(KernelBuilder &b, const LinearContext &context, Projection linear, Value panel) {
  if (context.codes)
    return b.address(b.buffer(bindingOf(linear.getWeight())), b.mul(panel, context.codes->panels.panelBytes(context.problem.depth)), b.ops().getI8Type());
  TileOperands in = tileOperands(b, context, linear);
  int64_t elements = context.inWords() && !context.splitsWeights() ? 16 * context.depth() : panelElements(linear, context.problem.depth);
  return b.address(b.buffer(bindingOf(linear.getWeight())), b.mul(panel, elements), panelElement(b, in));
}

int64_t cpu::weightBytes(const LinearContext &context, const LinearSegment &segment) {
  int64_t bytes = 0;
  for (Projection linear : segment.linears)
    bytes += context.codes ? context.codes->panels.bytes(segment.columns, context.problem.depth)
                           : segment.panels() * panelElements(linear, context.problem.depth) * linear.weightType().getElementTypeBitWidth() / 8;
  return bytes;
}

static void emitBf16Rows(KernelBuilder &b, const LinearContext &context, Value rows, Value count, Value to) {
  Bf16Words words(b, context.target.bf16Dot);
  int64_t inputs = context.problem.depth;
  b.forLoop(b.index(0), count, 1, [&](Value row) {
    Value from = b.address(rows, b.mul(row, inputs), b.f32()), target = b.address(to, b.mul(row, context.depth()), b.f32());
    words.roundRow(from, target, inputs, context.lanes);
  });
}

/// A word of four bytes as it is; or as two words of two i16, bytes 0 and 2 and bytes 1 and 3.
static void storeByteWords(KernelBuilder &b, bool asTheyAre, Value words, Value to, Value place) {
  if (asTheyAre)
    return b.store(words, to, place);
  OpBuilder &ops = b.ops();
  Type type = words.getType();
  Value mask = b.constantInt(type, 0x00ff00ff);
  Value even = arith::AndIOp::create(ops, b.loc(), words, mask);
  Value odd = arith::AndIOp::create(ops, b.loc(), arith::ShRUIOp::create(ops, b.loc(), words, b.constantInt(type, 8)), mask);
  Value at = b.mul(place, 2);
  auto vector = dyn_cast<VectorType>(type);
  int64_t lanes = vector ? vector.getNumElements() : 1;
  if (!vector) {
    b.store(even, to, at);
    return b.store(odd, to, b.add(at, 1));
  }
  for (int64_t half = 0; half < 2; ++half) {
    SmallVector<int64_t> order;
    for (int64_t i = 0; i < lanes; ++i)
      order.push_back(half * lanes / 2 + i / 2 + i % 2 * lanes);
    b.store(vector::ShuffleOp::create(ops, b.loc(), even, odd, order), to, b.add(at, half * lanes));
  }
}

/// The last word of a row is filled up with zeros: the weights there are zero too.
static void emitByteRows(KernelBuilder &b, const LinearContext &context, Value rows, Value count, Value to) {
  int64_t inputs = context.problem.depth, lanes = context.lanes, words = inputs / 4, whole = words / lanes * lanes;
  Type byte = b.ops().getI8Type();
  bool asTheyAre = context.byteDot();
  b.forLoop(b.index(0), count, 1, [&](Value row) {
    Value from = b.address(rows, b.mul(row, inputs), byte), target = b.address(to, b.mul(row, context.depth()), b.i32());
    b.forLoop(b.index(0), b.index(whole), lanes,
              [&](Value k) { storeByteWords(b, asTheyAre, b.load(b.vec(lanes, b.i32()), from, k, 1), target, k); });
    b.forLoop(b.index(whole), b.index(words), 1, [&](Value k) { storeByteWords(b, asTheyAre, b.load(b.i32(), from, k, 1), target, k); });
    if (inputs % 4 == 0)
      return;
    Value last = b.constantInt(b.i32(), 0);
    for (int64_t i = words * 4; i < inputs; ++i) {
      Value wide = arith::ExtUIOp::create(b.ops(), b.loc(), b.i32(), b.load(byte, from, b.index(i)));
      Value shifted = arith::ShLIOp::create(b.ops(), b.loc(), wide, b.constantInt(b.i32(), i % 4 * 8));
      last = arith::OrIOp::create(b.ops(), b.loc(), last, shifted);
    }
    storeByteWords(b, asTheyAre, last, target, b.index(words));
  });
}

void cpu::emitRowWords(KernelBuilder &b, const LinearContext &context, Value from, Value count, int64_t most, Value to) {
  if (context.codes)
    return emitRowDigits(b, *context.codes, context.lanes, from, count, most, to);
  (context.bf16Products ? emitBf16Rows : emitByteRows)(b, context, from, count, to);
}

namespace {

class StreamWriter {
public:
  /// `input`: the rows, in words where products are of those.
  StreamWriter(KernelBuilder &b, const LinearContext &context, const LinearSegment &segment, int64_t rows, Value input)
      : b_(b), context_(context), segment_(segment), rows_(rows), input_(input),
        epilogue_(b, context.shapes, context.target, segment.results(), segment.outputs, context.problem.leading,
                  context.shapes.symbols().constant(segment.columns), context.lanes) {}

  /// Panels [first, first + count) of every weight of the segment.
  void panels(Value first, int64_t count);

private:
  KernelBuilder::Values products(const TileShape &shape, TileOperands &in);
  KernelBuilder &b_;
  const LinearContext &context_;
  const LinearSegment &segment_;
  int64_t rows_;
  Value input_;
  LinearEpilogue epilogue_;
};

KernelBuilder::Values StreamWriter::products(const TileShape &shape, TileOperands &in) {
  if (context_.codes)
    return emitCodeTile(b_, *context_.codes, shape,
                        {input_, b_.index(0), b_.index(0), b_.index(context_.codes->spans()), rows_, in, /*unpacked=*/false, /*stream=*/shape.panels / int64_t(segment_.linears.size())},
                        zeroTile(b_, shape, b_.f32()));
  if (!in.prefetchersSuffice || (rows_ > 1 && (shape.panels == 1 || (shape.panels < 4 && in.format != PanelFormat::Plain))))
    readAhead(b_, in);
  return emitTileLoop(b_, shape, in, zeroTile(b_, shape, in.element));
}

void StreamWriter::panels(Value first, int64_t count) {
  int64_t depth = context_.depth(), weights = int64_t(segment_.linears.size());
  TileShape shape{rows_, count * weights, context_.lanes};
  TileOperands in = tileOperands(b_, context_, segment_.linears.front());
  in.a = input_;
  in.aRow = depth;
  in.aTerm = rows_ * depth;
  in.depth = b_.index(depth);
  in.depthMultiple = depth;
  for (Projection linear : segment_.linears)
    for (int64_t i = 0; i < count; ++i)
      in.panels.push_back(panelAddress(b_, context_, linear, b_.add(first, i)));
  KernelBuilder::Values tile = products(shape, in);
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

void cpu::readAhead(KernelBuilder &b, TileOperands &in) {
  Type element = panelElement(b, in);
  int64_t elementBytes = element.getIntOrFloatBitWidth() / 8, stepBytes = in.unroll * 16 * elementBytes;
  int64_t distance = (in.format == PanelFormat::Plain && in.prefetchersSuffice) || in.format == PanelFormat::FloatGroups ? 1024 : 2048;
  KernelBuilder *builder = &b;
  llvm::SmallVector<Value> panels = in.panels;
  in.perPanelStep = [=](Value k, int64_t panel) {
    for (int64_t line = 0; line < stepBytes; line += 64)
      builder->prefetch(panels[size_t(panel)], builder->add(builder->mul(k, 16), (distance + line) / elementBytes), element, /*locality=*/3);
  };
  in.perStep = [each = in.perPanelStep, count = int64_t(panels.size())](Value k, Value) {
    for (int64_t panel = 0; panel < count; ++panel)
      each(k, panel);
  };
}

void cpu::emitRoundedRows(KernelBuilder &b, const LinearContext &context, Value from, Value count, Value to) {
  Bf16Words words(b, context.target.bf16Dot);
  int64_t lanes = context.lanes;
  Value numbers = b.mul(count, context.problem.depth);
  b.forLoop(b.index(0), numbers, lanes, [&](Value i) {
    if (context.terms) {
      for (auto [number, term] : llvm::enumerate(splitRowTerms(b, b.load(b.vec(lanes, b.f32()), from, i), context.terms)))
        b.store(term, to, b.add(i, b.mul(numbers, int64_t(number))));
      return;
    }
    Type halves = b.vec(lanes, b.ops().getIntegerType(16));
    Value rounded = context.roundedInput ? b.load(halves, from, i) : words.round(b.load(b.vec(lanes, b.f32()), from, i));
    b.store(b.bf16ToF32(rounded), to, i);
  });
}

/// One or two rows where more of them are multiplied in tile registers: reading weights is the limit, which vectors come closer to.
static int64_t emitGroupStream(KernelBuilder &b, const LinearContext &context, strategy::GemmBucketAttr bucket) {
  LinearContext grouped = context;
  grouped.bf16Products = grouped.amx = false;
  grouped.inGroups = true;
  return emitLinearStream(b, grouped, bucket);
}

int64_t cpu::emitLinearStream(KernelBuilder &b, const LinearContext &context, strategy::GemmBucketAttr bucket) {
  if (context.amx && context.inPairs())
    return emitGroupStream(b, context, bucket);
  int64_t base = 0, sums = bucket.getRows() * std::max<int64_t>(bucket.getColumns(), 16 * context.problem.mostWeights());
  int64_t rows = bucket.getRows(), normed = context.normElements(rows);
  Value input;
  if (context.norm) {
    input = b.address(b.scratch(), b.index(sums), b.f32());
    context.norm(b, b.index(0), b.index(rows), input, b.equal(b.unitBegin(), b.index(0)));
  } else {
    input = b.buffer(context.problem.inputBinding);
  }
  if (context.inGroups) {
    Value rounded = b.address(b.scratch(), b.index(sums + normed), b.f32());
    emitRoundedRows(b, context, input, b.index(rows), rounded);
    input = rounded;
  } else if (context.makesWords()) {
    Value words = b.address(b.scratch(), b.index(sums + normed), b.f32());
    emitRowWords(b, context, input, b.index(rows), rows, words);
    input = words;
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
  return (sums + normed + (context.inGroups ? context.rowTerms() * rows * context.problem.depth : context.wordElements(rows))) * 4;
}
