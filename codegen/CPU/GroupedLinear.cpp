//===- GroupedLinear.cpp - the experts of routed layers -------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/GroupedLinear.h"

#include "codegen/CPU/Bf16Terms.h"
#include "codegen/CPU/ElementwiseHalf.h"
#include "codegen/Common/ChooseStrategy.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

GroupedWriter::GroupedWriter(KernelBuilder &b, const LinearContext &context, const GroupedProblem &problem)
    : b_(b), context_(context), problem_(problem),
      epilogue_(b, context.shapes, context.target, problem.segment().results(), problem.segment().outputs, context.problem.leading,
                context.shapes.symbols().constant(problem.segment().columns), context.lanes) {}

void GroupedWriter::run() {
  input_ = b_.buffer(context_.problem.inputBinding);
  choices_ = problem_.sharesRows() ? b_.dim(context_.problem.leading[1]) : b_.index(1);
  order_ = b_.buffer(bindingOf(problem_.op.getOrder()));
  prepareInput();
  Value offsets = b_.buffer(bindingOf(problem_.op.getOffsets()));
  b_.forLoop(b_.index(0), b_.index(problem_.experts()), 1, [&](Value expert) {
    Value first = number(offsets, expert), last = number(offsets, b_.add(expert, 1));
    b_.ifThen(b_.less(first, last), [&] { columns(b_.mul(expert, problem_.segment().panels()), first, last); });
  });
}

void GroupedWriter::columnTiles(int64_t tilePanels, llvm::function_ref<void(Value, int64_t)> tile) {
  int64_t whole = problem_.segment().panels() / tilePanels, rest = problem_.segment().panels() % tilePanels;
  Value begin = b_.unitBegin(), end = b_.unitEnd(), limit = b_.index(whole);
  auto tiles = [&](Value from, Value to, int64_t panels) { b_.forLoop(from, to, 1, [&](Value number) { tile(b_.mul(number, tilePanels), panels); }); };
  if (whole > 0)
    tiles(begin, b_.min(end, limit), tilePanels);
  if (rest > 0)
    tiles(b_.max(begin, limit), end, rest);
}

void GroupedWriter::rowBlocks(Value first, Value last, int64_t most, int64_t tilePanels, llvm::function_ref<void(Value, Value)> fetch,
                              llvm::function_ref<void(Value, Value, Value, int64_t)> tile) {
  b_.forLoop(first, last, most, [&](Value place) {
    Value count = b_.min(b_.sub(last, place), b_.index(most));
    b_.ifThen(b_.less(b_.unitBegin(), b_.unitEnd()), [&] { fetch(place, count); });
    columnTiles(tilePanels, [&](Value panel, int64_t panels) { tile(place, count, panel, panels); });
  });
}

void GroupedWriter::streams(Value begin, Value end, llvm::function_ref<void(Value, int64_t)> tile) {
  for (int64_t count = int64_t(llvm::bit_floor(uint64_t(problem_.streamPanels))); count >= 1; count /= 2) {
    Value stop = b_.sub(end, b_.mod(b_.sub(end, begin), b_.index(count)));
    b_.forLoop(begin, stop, count, [&](Value panel) { tile(panel, count); });
    begin = stop;
  }
}

void GroupedWriter::streamCodes(Value firstPanel, Value begin, Value end, Value place, const CodeRow &row) {
  Value slot = slotAt(place), zero = b_.index(0), spans = b_.index(context_.codes->spans());
  streams(begin, end, [&](Value panel, int64_t count) {
    CodeOperands in{row.rows, row.number, zero, spans, row.most, tileOperands(b_, context_, problem_.segment().linears.front()), /*unpacked=*/false, /*stream=*/count};
    for (Projection linear : problem_.segment().linears)
      for (int64_t i = 0; i < count; ++i)
        in.tile.panels.push_back(panelAddress(b_, context_, linear, b_.add(firstPanel, b_.add(panel, i))));
    TileShape shape{1, count * problem_.weights(), context_.lanes};
    storeSums(shape, emitCodeTile(b_, *context_.codes, shape, in, zeroTile(b_, shape, b_.f32())), count, 0);
    finishTile(slot, panel, count);
  });
}

void GroupedWriter::storeSums(const TileShape &shape, ValueRange sums, int64_t count, int64_t firstWeight) {
  TileShape part{1, count, context_.lanes};
  for (int64_t row = 0; row < shape.rows; ++row)
    for (int64_t w = 0; w < shape.panels / count; ++w)
      storeTile(b_, part, sums.slice(size_t(shape.index(row, w * count, 0)), size_t(part.accumulators())),
                b_.address(b_.scratch(), b_.index(((firstWeight + w) * shape.rows + row) * part.columns()), b_.f32()), part.columns());
}

void GroupedWriter::finishTile(ArrayRef<Value> slots, Value panel, int64_t count) {
  const int64_t width = count * 16, rows = int64_t(slots.size());
  auto results = [&] {
    for (int64_t row = 0; row < rows; ++row)
      epilogue_.emitTile(slots[size_t(row)], b_.index(1), b_.mul(panel, 16), width, b_.address(b_.scratch(), b_.index(row * width), b_.f32()), rows * width);
  };
  if (epilogue_.isLight())
    results();
  else
    b_.outline(results);
}

void GroupedWriter::finish(Value place, Value count, Value panel, int64_t panels, int64_t productStride) {
  b_.outline([&] {
    b_.forLoop(b_.index(0), count, 1, [&](Value row) {
      Value sums = b_.address(b_.scratch(), b_.mul(row, panels * 16), b_.f32());
      epilogue_.emitTile(slotAt(b_.add(place, row)), b_.index(1), b_.mul(panel, 16), panels * 16, sums, productStride);
    });
  });
}

Value GroupedWriter::slotAt(Value place) { return number(order_, place); }

Value GroupedWriter::number(Value base, Value at) { return arith::ExtSIOp::create(b_.ops(), b_.loc(), b_.i64(), b_.load(b_.i32(), base, at)); }

namespace {

class GroupedVectors : public GroupedWriter {
public:
  /// `tileRows` 1: one token.
  GroupedVectors(KernelBuilder &b, const LinearContext &context, const GroupedProblem &problem, int64_t tileRows, int64_t tilePanels)
      : GroupedWriter(b, context, problem), tileRows_(tileRows), tilePanels_(tilePanels) {}

  /// Floats of scratch for sums, words not counted.
  int64_t sumElements() const { return (problem_.weights() * tileRows_ * tilePanels_ * 16 + 15) / 16 * 16; }

private:
  void prepareInput() override {
    Value rows = b_.address(b_.scratch(), b_.index(sumElements()), b_.f32());
    if (context_.inGroups)
      emitRoundedRows(b_, context_, input_, b_.dim(problem_.inputRows), rows);
    else if (context_.inWords())
      emitRowWords(b_, context_, input_, b_.dim(problem_.inputRows), problem_.rowsOfToken(), rows); // the bound is for digits, which more rows have elsewhere
    else
      return;
    input_ = rows;
  }

  void columns(Value firstPanel, Value first, Value last) override {
    if (context_.codes)
      return b_.forLoop(first, last, 1, [&](Value place) { streamCodes(firstPanel, b_.unitBegin(), b_.unitEnd(), place, {input_, inputRow(slotAt(place)), problem_.rowsOfToken()}); });
    if (tileRows_ == 1) // a unit is a panel; the more at a time, the better
      return streams(b_.unitBegin(), b_.unitEnd(), [&](Value panel, int64_t count) { rowTiles(firstPanel, panel, count, first, last); });
    columnTiles(tilePanels_, [&](Value panel, int64_t count) { rowTiles(firstPanel, panel, count, first, last); });
  }

  void rowTiles(Value firstPanel, Value panel, int64_t count, Value first, Value last) {
    b_.forLoop(first, last, tileRows_, [&](Value place) {
      if (tileRows_ == 1)
        return tile(firstPanel, panel, count, place, 1);
      Value height = b_.min(b_.sub(last, place), b_.index(tileRows_));
      switchRows(b_, height, tileRows_, [&](int64_t rows) { tile(firstPanel, panel, count, place, rows); });
    });
  }

  void tile(Value firstPanel, Value panel, int64_t count, Value place, int64_t rows) {
    int64_t depth = context_.depth();
    TileOperands in = tileOperands(b_, context_, problem_.segment().linears.front());
    in.aStep = 1;
    in.aTerm = problem_.rowsOfToken() * depth;
    in.depth = b_.index(depth);
    in.depthMultiple = depth;
    if (rows > 1 && context_.target.vectorRegisters >= 32)
      in.unroll = 2; // large tiles: LLVM's scheduler spills in longer loops
    llvm::SmallVector<Value> slots;
    for (int64_t i = 0; i < rows; ++i) {
      slots.push_back(slotAt(b_.add(place, i)));
      in.aRows.push_back(b_.address(input_, b_.mul(inputRow(slots.back()), depth), context_.inWords() ? b_.f32() : context_.inputElement(b_)));
    }
    // With one row all weights are streams of one tile; else each is a tile of its own.
    bool together = tileRows_ == 1;
    for (int64_t weight = 0; weight < problem_.weights(); weight += together ? problem_.weights() : 1) {
      int64_t weights = together ? problem_.weights() : 1;
      in.panels.clear();
      for (int64_t w = weight; w < weight + weights; ++w)
        for (int64_t i = 0; i < count; ++i)
          in.panels.push_back(panelAddress(b_, context_, problem_.segment().linears[size_t(w)], b_.add(firstPanel, b_.add(panel, i))));
      TileShape shape{rows, count * weights, context_.lanes};
      if (together && !in.prefetchersSuffice)
        readAhead(b_, in);
      storeSums(shape, emitTileLoop(b_, shape, in, zeroTile(b_, shape, in.element)), count, weight);
    }
    finishTile(slots, panel, count);
  }

  int64_t tileRows_, tilePanels_;
};

KernelVariant lowerVariant(const LinearContext &context, FamilyContext &family, const GroupedProblem &problem, strategy::GemmBucketAttr bucket,
                           int64_t limit, std::vector<SymExpr> &dims) {
  SymContext &symbols = family.shapes.symbols();
  bool one = bucket.getMBlock() == 0;
  KernelVariant variant;
  variant.symbol = family.symbol + (one ? "_one" : "_many");
  variant.limit = limit;
  KernelBuilder b(family.module, variant.symbol, symbols);
  for (SymExpr dim : context.problem.dims)
    b.dim(dim);
  b.dim(problem.inputRows);
  // One row of those that tile registers multiply: in vectors, in the same order of additions.
  LinearContext grouped = context;
  if (context.amx && one)
    grouped.bf16Products = grouped.amx = false, grouped.inGroups = true;
  GroupedVariant made = grouped.amx              ? emitGroupedTiles(b, grouped, problem, bucket)
                        : grouped.codes && !one ? emitGroupedCodes(b, grouped, problem, bucket)
                                                : emitGroupedVectors(b, grouped, problem, one ? 1 : bucket.getRows(), one ? problem.streamPanels : bucket.getColumns() / 16);
  variant.units = symbols.constant((problem.segment().panels() + made.unitPanels - 1) / made.unitPanels);
  variant.scratchBytes = symbols.mul(made.scratchElements, symbols.constant(4));
  dims.assign(b.dims().begin(), b.dims().end());
  return variant;
}

/// Multiplications and additions, those of all products of terms; the weights of as many experts as can be chosen; input and results once.
void declareCost(const LinearContext &context, const GroupedProblem &problem, SymContext &symbols, LoweredKernel &result) {
  const LinearSegment &segment = problem.segment();
  SymExpr rows = problem.linear.rows, experts = symbols.min(rows, symbols.constant(problem.experts()));
  int64_t products = int64_t(termProducts(context.rowTerms(), context.weightTerms()).size());
  result.flops = symbols.mul(rows, symbols.constant(2 * problem.linear.depth * segment.columns * problem.weights() * products));
  SymExpr activations = symbols.add(symbols.mul(problem.inputRows, symbols.constant(4 * problem.linear.depth)),
                                    symbols.mul(rows, symbols.constant(4 * segment.columns * int64_t(segment.outputs.size()))));
  result.bytesMoved = symbols.add(symbols.mul(experts, symbols.constant(weightBytes(context, segment))), activations);
}

} // namespace

GroupedVariant cpu::emitGroupedVectors(KernelBuilder &b, const LinearContext &context, const GroupedProblem &problem, int64_t tileRows, int64_t tilePanels) {
  GroupedVectors writer(b, context, problem, tileRows, tilePanels);
  writer.run();
  SymContext &symbols = context.shapes.symbols();
  bool inDigits = context.codes && !context.inGroups;
  SymExpr words = inDigits ? symbols.constant(context.codes->elements(problem.rowsOfToken()))
                           : symbols.mul(problem.inputRows, symbols.constant(context.inGroups ? context.rowTerms() * context.depth() : context.inWords() ? context.depth() : 0));
  return {tileRows == 1 ? 1 : tilePanels, symbols.add(words, symbols.constant(writer.sumElements()))};
}

namespace llmopt::cpu {

Result<LoweredKernel> lowerGroupedLinear(exec::KernelOp kernel, FamilyContext &family) {
  LLMOPT_ASSIGN(LinearProblem linear, analyzeLinear(kernel, family.shapes));
  LLMOPT_RETURN_IF_ERROR(chooseStrategy(kernel, family.shapes, family.target));
  auto strategy = dyn_cast_or_null<strategy::GemmAttr>(kernel.getStrategyAttr());
  if (linear.segments.size() != 1 || !strategy || strategy.getBuckets().empty())
    return internalError("E0945", "a kernel of experts has no matrix strategy, or products that do not meet");
  SymContext &symbols = family.shapes.symbols();
  GroupedProblem problem{linear, cast<llm::GroupedLinearOp>(linear.segments.front().linears.front().operation()), symbols.constant(1)};
  for (SymExpr dim : ArrayRef(family.shapes.shapeOf(problem.op.getInput()).dims).drop_back())
    problem.inputRows = symbols.mul(problem.inputRows, dim);
  LinearContext context{linear, family.shapes, family.target, strategy.getVectorBits() / 32, strategy.getBf16Products(), {}, codesOf(kernel, family.target, strategy, linear.depth), false, strategy.getAmx(), /*inGroups=*/false, strategy.getTerms()};
  LoweredKernel result;
  strategy::GemmBucketAttr first = strategy.getBuckets().front(), last = strategy.getBuckets().back();
  problem.streamPanels = std::max<int64_t>(1, first.getColumns() / 16 / problem.weights());
  std::optional<int64_t> choices = linear.leading[1].constant();
  bool streams = choices && first.getMBlock() == 0 && first.getRows() == 1 && last.getMBlock() != 0;
  std::vector<SymExpr> dims;
  if (streams)
    result.variants.push_back(lowerVariant(context, family, problem, first, *choices, result.dims));
  result.variants.push_back(lowerVariant(context, family, problem, last, 0, dims));
  if (streams && result.dims != dims)
    return internalError("E0942", "variants of a projection kernel read different dimensions");
  result.dims = std::move(dims);
  if (streams)
    result.selector = linear.rows;
  if (context.codes)
    expandHalfConversions(family.module, family.target);
  result.arithmetic = arithmeticOf(context);
  for (Projection product : problem.segment().linears)
    result.weightLayouts[bindingOf(product.getWeight())] = {weightLayout(context, product)};
  declareCost(context, problem, symbols, result);
  return result;
}

} // namespace llmopt::cpu
