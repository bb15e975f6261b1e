//===- TuneHarness.cpp - one kernel in several ways, measured in turns -------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "lib/Workbench/TuneHarness.h"

#include "llmopt/dialects/Exec/Exec.h"
#include "llmopt/dialects/LLM/ElementTypes.h"
#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/KernelSignature.h"
#include "llmopt/lib/Interpreter/Samples.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/TypeUtilities.h"

#include <algorithm>
#include <chrono>

using namespace llmopt;
using namespace mlir;
using Clock = std::chrono::steady_clock;

//===----------------------------------------------------------------------===//
// The graph
//===----------------------------------------------------------------------===//

static constexpr int64_t kMostElements = 1 << 20; ///< of an activation

bool TuneGraph::isConstant(Value operand) const { return llm::isWeightExpression(operand); }

TuneGraph::TuneGraph(Operation *op, ShapeAnalysis &shapes) : op_(op), shapes_(shapes) {
  for (Value operand : op->getOperands())
    for (SymExpr dim : shapes.shapeOf(operand).dims)
      if (!dim.known())
        status_ = unsupported("E0320", "a size follows from data");
}

static void addSymbols(const SymExpr::Node *node, SymbolValues &values) {
  if (node->op == SymExpr::Node::Op::Symbol)
    values.try_emplace(node->name, typicalSize(node->name));
  for (const SymExpr::Node *operand : node->operands)
    addSymbols(operand, values);
}

SymbolValues TuneGraph::typicalSizes() const {
  SymbolValues values;
  for (Value operand : op_->getOperands())
    for (SymExpr dim : shapes_.shapeOf(operand).dims)
      addSymbols(dim.node(), values);
  // What is large even so ("b" may be a batch) is measured with fewer of its dimensions.
  auto largest = [&] {
    int64_t most = 0;
    for (Value operand : op_->getOperands()) {
      int64_t elements = 1;
      for (SymExpr dim : shapes_.shapeOf(operand).dims)
        elements *= std::clamp<int64_t>(shapes_.symbols().evaluate(dim, values).value_or(1), 1, 1 << 15);
      most = std::max(most, elements);
    }
    return most;
  };
  for (auto &[name, value] : values)
    if (largest() > kMostElements)
      value = std::min<int64_t>(value, 1);
  return values;
}

int64_t TuneGraph::weightBytes() const {
  int64_t bytes = 0;
  for (Value operand : op_->getOperands())
    if (auto type = cast<RankedTensorType>(operand.getType()); isConstant(operand) && type.hasStaticShape())
      bytes += type.getNumElements() * std::max<int64_t>(1, type.getElementTypeBitWidth() / 8);
  return bytes;
}

/// All elements alike, different for each number.
static Value constantFor(OpBuilder &builder, Location loc, RankedTensorType type, int64_t number) {
  Type element = type.getElementType();
  Attribute value = isa<FloatType>(element) ? Attribute(builder.getFloatAttr(element, 0.5 + double(number) / 256))
                                            : Attribute(builder.getIntegerAttr(element, 1));
  return llm::ConstantOp::create(builder, loc, DenseElementsAttr::get(type, value));
}

std::string TuneGraph::text(ArrayRef<Attribute> strategies, int64_t copies) const {
  MLIRContext *context = op_->getContext();
  OpBuilder builder(context);
  OwningOpRef<ModuleOp> module(ModuleOp::create(builder.getUnknownLoc()));
  builder.setInsertionPointToEnd(module->getBody());
  SmallVector<Value> arguments;
  for (Value operand : op_->getOperands())
    if (!isConstant(operand) && !llvm::is_contained(arguments, operand))
      arguments.push_back(operand);
  auto type = builder.getFunctionType(ValueRange(arguments).getTypes(), op_->getResultTypes());
  auto function = func::FuncOp::create(builder, builder.getUnknownLoc(), "main", type);
  builder.setInsertionPointToEnd(function.addEntryBlock());
  IRMapping toArguments;
  for (auto [i, argument] : llvm::enumerate(arguments)) {
    toArguments.map(argument, function.getArgument(unsigned(i)));
    SmallVector<Attribute> dims;
    for (SymExpr dim : shapes_.shapeOf(argument).dims)
      dims.push_back(dim.constant() ? Attribute(builder.getI64IntegerAttr(*dim.constant())) : builder.getStringAttr(dim.str()));
    function.setArgAttr(unsigned(i), llm::kDimsAttr, builder.getArrayAttr(dims));
    function.setArgAttr(unsigned(i), "llm.name", builder.getStringAttr("x" + std::to_string(i)));
  }
  Operation *first = nullptr;
  for (size_t way = 0; way < std::max<size_t>(1, strategies.size()); ++way)
    for (int64_t copy = 0; copy < copies; ++copy) {
      IRMapping mapping = toArguments; // a clone adds what is inside of it
      Location loc = NameLoc::get(builder.getStringAttr("way " + std::to_string(way)));
      for (auto [i, operand] : llvm::enumerate(op_->getOperands()))
        if (isConstant(operand))
          mapping.map(operand, constantFor(builder, loc, cast<RankedTensorType>(operand.getType()), int64_t(i) + 8 * copy));
      Operation *clone = builder.clone(*op_, mapping);
      clone->setLoc(loc);
      if (!strategies.empty())
        cast<exec::KernelOp>(clone).setStrategyAttr(strategies[way]);
      first = first ? first : clone;
    }
  func::ReturnOp::create(builder, builder.getUnknownLoc(), first->getResults());
  std::string text;
  llvm::raw_string_ostream stream(text);
  module->print(stream, OpPrintingFlags().enableDebugInfo(true, false));
  return text;
}

std::vector<Tensor> TuneGraph::inputs(const SymbolValues &values) const {
  std::vector<Tensor> tensors;
  SmallVector<Value> seen;
  for (Value operand : op_->getOperands()) {
    if (isConstant(operand) || llvm::is_contained(seen, operand))
      continue;
    seen.push_back(operand);
    std::vector<int64_t> shape;
    for (SymExpr dim : shapes_.shapeOf(operand).dims)
      shape.push_back(*shapes_.symbols().evaluate(dim, values));
    tensors.push_back(sampleTensor(*llm::dtypeOf(getElementTypeOrSelf(operand.getType())), std::move(shape), seen.size(), SampleKind::Normal));
  }
  return tensors;
}

//===----------------------------------------------------------------------===//
// The clock
//===----------------------------------------------------------------------===//

static std::vector<const Tensor *> addresses(const std::vector<Tensor> &tensors) {
  std::vector<const Tensor *> list;
  for (const Tensor &tensor : tensors)
    list.push_back(&tensor);
  return list;
}

/// Calls `round` once to warm up, then as often as the options say; it fills one time for each way.
template <typename Round>
static Result<WayTimes> repeat(size_t ways, const TuneOptions &options, Round round) {
  WayTimes times(ways);
  std::vector<double> once(ways);
  LLMOPT_RETURN_IF_ERROR(round(once));
  Clock::time_point end = Clock::now() + std::chrono::microseconds(int64_t(options.secondsPerSize * 1e6));
  for (size_t done = 0; done < options.rounds || (done < 20 * options.rounds && Clock::now() < end); ++done) {
    LLMOPT_RETURN_IF_ERROR(round(once));
    for (size_t way = 0; way < ways; ++way)
      times[way].push_back(once[way]);
  }
  return times;
}

Result<WayTimes> llmopt::measureWays(const Engine &engine, size_t ways, const std::vector<Tensor> &inputs, const TuneOptions &options) {
  std::vector<const Tensor *> list = addresses(inputs);
  return repeat(ways, options, [&](std::vector<double> &once) -> Status {
    engine.setProfiling(true); // from zero
    LLMOPT_RETURN_IF_ERROR(engine.run(list).status());
    std::fill(once.begin(), once.end(), 0);
    for (const StageProfile &stage : engine.profile())
      if (size_t way = 0; llvm::StringRef(stage.name).starts_with("way ") && !llvm::StringRef(stage.name).drop_front(4).getAsInteger(10, way) && way < ways)
        once[way] += stage.seconds * 1e9;
    return {};
  });
}

Result<WayTimes> llmopt::measureEngines(const std::vector<Engine> &engines, const std::vector<Tensor> &inputs, const TuneOptions &options) {
  std::vector<const Tensor *> list = addresses(inputs);
  return repeat(engines.size(), options, [&](std::vector<double> &once) -> Status {
    for (size_t way = 0; way < engines.size(); ++way) {
      Clock::time_point begin = Clock::now();
      LLMOPT_RETURN_IF_ERROR(engines[way].run(list).status());
      once[way] = double(std::chrono::nanoseconds(Clock::now() - begin).count());
    }
    return {};
  });
}

double llmopt::medianOf(std::vector<double> values) {
  auto middle = values.begin() + long(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return values.empty() ? 0 : *middle;
}

size_t llmopt::bestWay(const WayTimes &times, const std::vector<size_t> &candidates) {
  size_t best = 0;
  for (size_t way : candidates) {
    size_t wins = 0;
    for (size_t round = 0; round < times[way].size(); ++round)
      wins += times[way][round] < times[0][round];
    bool clear = medianOf(times[way]) < 0.97 * medianOf(times[0]) && 4 * wins >= 3 * times[way].size();
    if (clear && medianOf(times[way]) < medianOf(times[best]))
      best = way;
  }
  return best;
}
