//===- RewriteVerifier.cpp - replays pattern applications -------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "passes/Rewriting/RewriteVerifier.h"

#include "llmopt/dialects/LLM/ElementTypes.h"
#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/dialects/LLM/SourceName.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"
#include "llmopt/lib/Interpreter/Interpreter.h"
#include "llmopt/lib/Interpreter/Samples.h"
#include "llmopt/lib/Support/CompareTensors.h"
#include "passes/Rewriting/PatternLog.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SetVector.h"

#include <cmath>
#include <deque>

using namespace mlir;
using namespace llmopt;

namespace {

/// How much of what an operation computes is copied: floats as far as patterns look, sizes to where they come from.
constexpr size_t kMostOps = 64, kMostSizeOps = 256;
constexpr int64_t kMostWeightElements = int64_t(1) << 24;

bool isSizes(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getRank() <= 1 && type.getElementType().isSignlessInteger() && type.getElementTypeBitWidth() > 1;
}

/// Operations a copy may hold; others are inputs of it.
bool isCopied(Operation *op) {
  if (!op || op->getNumRegions() || !isa_and_nonnull<llm::LLMDialect>(op->getDialect()) || !isMemoryEffectFree(op))
    return false;
  auto type = isa<llm::WeightOp>(op) ? dyn_cast<RankedTensorType>(op->getResult(0).getType()) : RankedTensorType();
  return !type || (type.hasStaticShape() && type.getNumElements() <= kMostWeightElements);
}

/// The root and operations before it, nearest first; operations of sizes do not count towards the bound.
llvm::SetVector<Operation *> sliceOf(Operation *root) {
  llvm::SetVector<Operation *> slice;
  std::deque<Operation *> pending{root};
  size_t sizes = 0;
  while (!pending.empty()) {
    Operation *op = pending.front();
    pending.pop_front();
    if (!slice.insert(op))
      continue;
    for (Value operand : op->getOperands()) {
      Operation *producer = operand.getDefiningOp();
      if (!isCopied(producer) || slice.contains(producer))
        continue;
      bool leaf = producer->getNumOperands() == 0, size = isSizes(operand);
      if (leaf || (size ? ++sizes <= kMostSizeOps : slice.size() - std::min(slice.size(), sizes) < kMostOps))
        pending.push_back(producer);
    }
  }
  return slice;
}

/// Smallest and largest elements are elements: however they are found, nothing is rounded. So a type that a pattern loses on the way to them shows,
/// though it changes their last digits only (the scales of a quantization come from them).
bool choosesElements(Value value) {
  auto reduce = value.getDefiningOp<llm::ReduceOp>();
  return reduce && (reduce.getKind() == llm::ReduceKind::min || reduce.getKind() == llm::ReduceKind::max);
}

double toleranceOf(DType type, bool isChosen) {
  if (isChosen)
    return 1e-6;
  switch (type) {
  case DType::F64: return 1e-9;
  case DType::F32: return 1e-3;
  case DType::F16: return 1e-2;
  default: return 5e-2;
  }
}

} // namespace

/// A function that computes the root's results from the values the slice begins with.
struct RewriteVerifier::Snapshot {
  OwningOpRef<ModuleOp> module;
  func::FuncOp before;
  llvm::DenseMap<Value, Value> copies; ///< of values in the IR, while they live
  SmallVector<Value> inputs;           ///< values in the IR, one an argument

  explicit Snapshot(Operation *root);
  void addInput(Value value);
  /// The copy with what the pattern made in place of what it replaced; null if that reads values from elsewhere.
  func::FuncOp after(ArrayRef<std::pair<Value, Value>> replaced, const llvm::DenseSet<Operation *> &made);
};

RewriteVerifier::Snapshot::Snapshot(Operation *root) {
  MLIRContext *context = root->getContext();
  module = ModuleOp::create(UnknownLoc::get(context));
  before = func::FuncOp::create(root->getLoc(), "before", FunctionType::get(context, {}, {}));
  module->push_back(before);
  Block *block = before.addEntryBlock();
  llvm::SetVector<Operation *> slice = sliceOf(root);
  SmallVector<Operation *> ordered(slice.begin(), slice.end());
  // In one block the order is the block's; a slice never leaves the root's block, since functions of this phase have one.
  llvm::sort(ordered, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
  OpBuilder builder = OpBuilder::atBlockEnd(block);
  IRMapping mapping;
  for (Operation *op : ordered) {
    for (Value operand : op->getOperands())
      if (!mapping.contains(operand)) {
        addInput(operand);
        mapping.map(operand, copies[operand]);
      }
    Operation *copy = builder.clone(*op, mapping);
    for (auto [old, result] : llvm::zip(op->getResults(), copy->getResults()))
      copies[old] = result;
  }
}

void RewriteVerifier::Snapshot::addInput(Value value) {
  copies[value] = before.front().addArgument(value.getType(), value.getLoc());
  inputs.push_back(value);
}

func::FuncOp RewriteVerifier::Snapshot::after(ArrayRef<std::pair<Value, Value>> replaced, const llvm::DenseSet<Operation *> &made) {
  IRMapping toAfter;
  auto function = cast<func::FuncOp>(before->clone(toAfter));
  function.setName("after");
  module->push_back(function);
  IRMapping mapping; // from the IR
  for (auto [value, copy] : copies)
    mapping.map(value, toAfter.lookup(copy));
  OpBuilder builder = OpBuilder::atBlockEnd(&function.front());
  SmallVector<Value> results;
  for (auto [copy, value] : replaced) {
    SmallVector<Value> pending{value};
    while (!pending.empty()) {
      Operation *op = pending.back().getDefiningOp();
      bool isMade = op && made.contains(op);
      if (mapping.contains(pending.back()) && !isMade) {
        pending.pop_back();
        continue;
      }
      if (!op || (!isMade && op->getNumOperands() > 0) || !isCopied(op))
        return {};
      size_t waiting = pending.size();
      for (Value operand : op->getOperands())
        if (!mapping.contains(operand))
          pending.push_back(operand);
      if (pending.size() > waiting)
        continue;
      Operation *clone = builder.clone(*op);
      for (OpOperand &operand : clone->getOpOperands())
        operand.set(mapping.lookup(operand.get()));
      for (auto [old, result] : llvm::zip(op->getResults(), clone->getResults()))
        mapping.map(old, result);
      pending.pop_back();
      if (isMade && llvm::is_contained(op->getResults(), value))
        break;
    }
    results.push_back(mapping.lookup(value));
  }
  func::ReturnOp::create(builder, function.getLoc(), results);
  return function;
}

RewriteVerifier::RewriteVerifier(OpBuilder::Listener *next) : ForwardingListener(next) {}
RewriteVerifier::~RewriteVerifier() = default;

void RewriteVerifier::notifyPatternBegin(const Pattern &pattern, Operation *op) {
  ForwardingListener::notifyPatternBegin(pattern, op);
  inPattern_ = true;
  made_.clear();
  replaced_.clear();
  if (root_ == op || failure_)
    return;
  root_ = op;
  rootText_ = op->getName().getStringRef().str() + " at '" + llm::sourceNameOrLine(op->getLoc()) + "'";
  snapshot_ = isCopied(op) ? std::make_unique<Snapshot>(op) : nullptr;
}

void RewriteVerifier::notifyPatternEnd(const Pattern &pattern, LogicalResult status) {
  if (succeeded(status) && !failure_) {
    for (Operation *op : made_) // changed in place
      for (Value result : op->getResults())
        if (snapshot_ && snapshot_->copies.count(result))
          replaced_.emplace_back(snapshot_->copies[result], result);
    std::string why = "nothing of the operation's kind can be copied";
    switch (replaced_.empty() || !snapshot_ ? Outcome::Skipped : replay(why)) {
    case Outcome::Skipped:
      if (++skipped_ == 1)
        firstSkip_ = rootText_ + ": " + why;
      break;
    case Outcome::Same: ++replayed_; break;
    case Outcome::Different: failure_ = "'" + patternName(pattern).str() + "' changed the result of " + rootText_ + ": " + why; break;
    }
    root_ = nullptr;
  }
  inPattern_ = false;
  ForwardingListener::notifyPatternEnd(pattern, status);
}

void RewriteVerifier::notifyOperationInserted(Operation *op, OpBuilder::InsertPoint previous) {
  if (inPattern_)
    made_.insert(op);
  else
    root_ = nullptr;
  ForwardingListener::notifyOperationInserted(op, previous);
}

void RewriteVerifier::notifyOperationModified(Operation *op) {
  // Users of replaced values are told too; only what the copy holds matters.
  if (inPattern_ && snapshot_ && llvm::any_of(op->getResults(), [&](Value result) { return snapshot_->copies.count(result); }))
    made_.insert(op);
  if (!inPattern_)
    root_ = nullptr;
  ForwardingListener::notifyOperationModified(op);
}

void RewriteVerifier::notifyOperationReplaced(Operation *op, Operation *replacement) {
  notifyOperationReplaced(op, ValueRange(replacement->getResults()));
}

void RewriteVerifier::notifyOperationReplaced(Operation *op, ValueRange values) {
  for (auto [old, value] : llvm::zip(op->getResults(), values)) {
    for (auto &[copy, now] : replaced_)
      if (now == old)
        now = value;
    if (snapshot_ && !made_.contains(op))
      if (auto it = snapshot_->copies.find(old); it != snapshot_->copies.end())
        replaced_.emplace_back(it->second, value);
  }
  ForwardingListener::notifyOperationReplaced(op, values);
}

void RewriteVerifier::notifyOperationErased(Operation *op) {
  made_.erase(op);
  if (snapshot_)
    for (Value result : op->getResults())
      snapshot_->copies.erase(result);
  if (!inPattern_)
    root_ = nullptr;
  ForwardingListener::notifyOperationErased(op);
}

/// Runs both functions on one sample. Skipped where the sample does not suit the graph.
static std::pair<bool, Status> runSample(Interpreter &interpreter, std::vector<Tensor> inputs, ArrayRef<Value> originals) {
  Result<std::vector<Tensor>> want = interpreter.run("before", inputs);
  if (!want)
    return {false, want.status()};
  for (const Tensor &tensor : *want)
    for (int64_t i = 0; i < tensor.elements(); ++i)
      if (std::isnan(tensor.at(i)))
        return {false, verificationFailed("E0552", "the operation itself gives NaN for samples")};
  Result<std::vector<Tensor>> got = interpreter.run("after", std::move(inputs));
  if (!got)
    return {true, got.status()};
  for (auto [i, value] : llvm::enumerate(*got)) {
    if (Status same = compareTensorsByNorm(value, (*want)[i], toleranceOf(value.dtype(), choosesElements(originals[i])), "result " + std::to_string(i)); !same)
      return {true, same};
  }
  return {true, {}};
}

RewriteVerifier::Outcome RewriteVerifier::replay(std::string &why) {
  SmallVector<Value> originals;
  for (auto [copy, value] : replaced_)
    originals.push_back(copy);
  func::FuncOp after = snapshot_->after(replaced_, made_);
  if (!after) {
    why = "the result reads values from further away than the copy goes";
    return Outcome::Skipped;
  }
  func::FuncOp before = snapshot_->before;
  OpBuilder builder = OpBuilder::atBlockEnd(&before.front());
  func::ReturnOp::create(builder, before.getLoc(), originals);
  for (func::FuncOp function : {before, after})
    function.setFunctionType(FunctionType::get(builder.getContext(), function.front().getArgumentTypes(),
                                               function.front().getTerminator()->getOperandTypes()));
  SymContext symbols;
  ShapeAnalysis shapes(symbols);
  SampleSizes sizes(symbols);
  WeightStore weights = sampleWeights(*snapshot_->module);
  Interpreter interpreter(*snapshot_->module, weights);
  bool compared = false;
  for (auto [seed, kind] : {std::pair(1, SampleKind::Normal), {2, SampleKind::Normal}, {3, SampleKind::Positive}}) {
    std::vector<Tensor> inputs;
    for (Value input : snapshot_->inputs) {
      auto sample = sampleValue(input, shapes, sizes, uint64_t(seed) * 100 + inputs.size(), kind);
      if (!sample) {
        why = "the shape of the input from '" + llm::sourceNameOrLine(input.getLoc()) + "' is not known, or too large";
        return Outcome::Skipped;
      }
      inputs.push_back(std::move(*sample));
    }
    auto [suits, status] = runSample(interpreter, std::move(inputs), originals);
    if (!status)
      why = status.error().message;
    if (suits && !status)
      return Outcome::Different;
    compared |= suits;
  }
  return compared ? Outcome::Same : Outcome::Skipped;
}
