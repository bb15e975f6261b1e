//===- CutKernels.cpp - phase Planned: a function becomes a list of kernels --===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %a = llm.linear %x, %w          %a = exec.kernel "linear"(%x, %w) { llm.linear ..; llm.silu ..; exec.yield }
//   %b = llm.silu %a           ==>
// Which operations share a kernel is decided in Clusters.cpp. Here the regions are built, in an order in which every kernel comes
// after those it reads from (and cache writes before the attention that reads them).
//
//===----------------------------------------------------------------------===//
#include "passes/Kernels/Clusters.h"

#include "llmopt/dialects/Exec/Exec.h"
#include "llmopt/dialects/LLM/LLM.h"

#include "mlir/IR/Dominance.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Transforms/CSE.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

namespace llmopt {
#define GEN_PASS_DECL_CUTKERNELSPASS
#define GEN_PASS_DEF_CUTKERNELSPASS
#include "llmopt/passes/Passes.h.inc"
} // namespace llmopt

using namespace mlir;
using namespace llmopt;
using namespace llmopt::kernels;
using llm::isView;
using llm::isWeightExpression;

namespace {

/// Constants this small are immediates of the code, not operands.
constexpr int64_t kInlineElements = 64;

/// Operations that a family takes whole read their operands from memory, and epilogues of matrix products know only constants that
/// repeat one element.
bool takesImmediate(Operation *user, StringRef family, Value value) {
  bool product = family == "linear" || family == "grouped_linear" || family == "matmul";
  if (isa<llm::LinearOp, llm::GroupedLinearOp, llm::GroupRowsOp, llm::LayerNormOp, llm::RMSNormOp, llm::PagedAttentionOp, llm::RopeOp, llm::AttentionOp>(user) ||
      (product && isa<llm::MatMulOp>(user)))
    return false;
  auto constant = value.getDefiningOp<llm::ConstantOp>();
  auto elements = constant ? dyn_cast<DenseElementsAttr>(constant.getValue()) : nullptr;
  return elements && (elements.isSplat() || (!product && elements.getNumElements() <= kInlineElements));
}

class Cutter {
public:
  Cutter(func::FuncOp function, ShapeAnalysis &shapes, const Clusters &clusters)
      : function_(function), shapes_(shapes), clusters_(clusters), builder_(function.getContext()) {}

  void run() {
    Block &block = function_.getBody().front();
    for (Operation &op : block.without_terminator())
      old_.push_back(&op);
    builder_.setInsertionPoint(block.getTerminator());
    for (BlockArgument argument : block.getArguments())
      mapping_.map(argument, argument);
    built_.resize(clusters_.all().size());
    orderEffects();
    for (size_t i = 0; i < built_.size(); ++i)
      if (isNeeded(clusters_.all()[i]))
        build(int(i));
    returnKernelResults(block.getTerminator());
    for (Operation *op : llvm::reverse(old_)) {
      op->dropAllUses();
      op->erase();
    }
    dropUnusedOutside();
  }

private:
  // Iterative, since a chain of kernels may be as deep as the graph.
  void build(int root) {
    SmallVector<int> stack{root};
    while (!stack.empty()) {
      int cluster = stack.back();
      if (built_[size_t(cluster)]) {
        stack.pop_back();
        continue;
      }
      size_t before = stack.size();
      for (int producer : producers(cluster))
        if (!built_[size_t(producer)])
          stack.push_back(producer);
      if (stack.size() > before)
        continue;
      emit(clusters_.all()[size_t(cluster)]);
      built_[size_t(cluster)] = true;
      stack.pop_back();
    }
  }

  static bool isNeeded(const Cluster &cluster) {
    return !cluster.ops.empty();
  }

  /// A cache is written before it is read, and read before it is written again.
  void orderEffects() {
    llvm::DenseMap<std::pair<int64_t, int>, int> last;
    for (Operation *op : old_) {
      int64_t state = -1;
      int group = 0;
      if (auto append = dyn_cast<llm::CacheAppendOp>(op)) {
        state = append.getState();
        group = int(append.getGroup());
      } else if (auto attention = dyn_cast<llm::PagedAttentionOp>(op)) {
        state = attention.getState();
        group = int(attention.getGroup());
      } else {
        continue;
      }
      int cluster = clusters_.of(op);
      auto [it, isNew] = last.try_emplace({state, group}, cluster);
      if (!isNew && it->second != cluster)
        after_[cluster].push_back(it->second);
      it->second = cluster;
    }
  }

  /// Clusters whose results a cluster reads, through operations outside as well.
  llvm::SetVector<int> producers(int cluster) {
    llvm::SetVector<int> found;
    for (int earlier : after_[cluster])
      found.insert(earlier);
    SmallVector<Value> work;
    for (Operation *op : clusters_.all()[size_t(cluster)].ops)
      llvm::append_range(work, op->getOperands());
    llvm::DenseSet<Operation *> seen;
    while (!work.empty()) {
      Operation *op = work.pop_back_val().getDefiningOp();
      if (!op || !seen.insert(op).second)
        continue;
      int producer = clusters_.of(op);
      if (producer >= 0 && producer != cluster)
        found.insert(producer);
      else if (producer < 0)
        llvm::append_range(work, op->getOperands());
    }
    return found;
  }

  /// The new value for an old one that is defined outside of the kernel being built: a kernel's result, an argument, or a clone of an
  /// operation outside.
  Value outside(Value value) {
    if (Value known = mapping_.lookupOrNull(value))
      return known;
    Operation *op = value.getDefiningOp();
    for (Value operand : op->getOperands())
      outside(operand);
    builder_.clone(*op, mapping_);
    return mapping_.lookup(value);
  }

  struct Region {
    IRMapping mapping;
    llvm::MapVector<Value, Value> arguments; ///< old value -> block argument
    Block *block = nullptr;
    const Cluster *cluster = nullptr;
  };

  bool isInside(Value value, const Cluster &cluster) {
    Operation *op = value.getDefiningOp();
    return op && clusters_.of(op) >= 0 && &clusters_.all()[size_t(clusters_.of(op))] == &cluster;
  }

  /// The region's block has no parent yet, so the builder cannot be made from it.
  void appendClone(Operation *op, Region &region) {
    OpBuilder inner(op->getContext());
    inner.setInsertionPointToEnd(region.block);
    inner.clone(*op, region.mapping);
  }

  /// Makes `value` available in a region: as an immediate, a clone of the sizes' arithmetic, or a block argument.
  void bring(Value value, Operation *user, Region &region) {
    if (region.mapping.contains(value))
      return;
    Operation *op = value.getDefiningOp();
    if (isInside(value, *region.cluster))
      return; // cloned in block order before its users
    bool immediate = takesImmediate(user, region.cluster->family, value);
    bool sizes = op && !immediate && clusters_.of(op) < 0 && !isWeightExpression(value) && isSolved(value, shapes_);
    if (immediate || sizes) {
      for (Value operand : op->getOperands())
        bring(operand, op, region);
      appendClone(op, region);
      return;
    }
    BlockArgument argument = region.block->addArgument(value.getType(), value.getLoc());
    region.arguments.insert({value, argument});
    region.mapping.map(value, argument);
  }

  static Location locationOf(const Cluster &cluster) {
    for (Operation *op : cluster.ops)
      if (isa<llm::LinearOp, llm::GroupedLinearOp, llm::MatMulOp, llm::PagedAttentionOp, llm::CacheAppendOp, llm::AttentionOp, llm::LayerNormOp, llm::RMSNormOp>(op))
        return op->getLoc();
    return cluster.ops.back()->getLoc();
  }

  void emit(const Cluster &cluster) {
    auto body = std::make_unique<Block>();
    Region region;
    region.block = body.get();
    region.cluster = &cluster;
    SmallVector<Value> results;
    for (Operation *op : cluster.ops) {
      for (Value operand : op->getOperands())
        bring(operand, op, region);
      appendClone(op, region);
      for (Value result : op->getResults())
        if (llvm::any_of(result.getUsers(), [&](Operation *user) {
              int other = clusters_.of(user);
              return other < 0 || &clusters_.all()[size_t(other)] != &cluster;
            }))
          results.push_back(result);
    }
    SmallVector<Value> inputs;
    for (auto &[value, argument] : region.arguments)
      inputs.push_back(outside(value));
    Location loc = locationOf(cluster);
    auto kernel = exec::KernelOp::create(builder_, loc, TypeRange(ValueRange(results)), inputs,
                                         builder_.getStringAttr(cluster.family), Attribute());
    kernel.getBody().push_back(body.release());
    OpBuilder inner = OpBuilder::atBlockEnd(&kernel.getBody().front());
    SmallVector<Value> yielded;
    for (Value result : results)
      yielded.push_back(region.mapping.lookup(result));
    exec::YieldOp::create(inner, loc, yielded);
    for (auto [old, result] : llvm::zip(results, kernel.getOutputs()))
      mapping_.map(old, result);
  }

  /// A function's result is written by a kernel of its own: what is an input, a weight, or returned twice, is copied.
  void returnKernelResults(Operation *terminator) {
    llvm::DenseSet<Value> returned;
    for (OpOperand &operand : terminator->getOpOperands()) {
      Value value = outside(operand.get()), base = value;
      while (base.getDefiningOp() && isView(base.getDefiningOp()))
        base = base.getDefiningOp()->getOperand(0);
      bool own = base.getDefiningOp<exec::KernelOp>() != nullptr && returned.insert(base).second;
      operand.set(own ? value : copy(value));
    }
  }

  Value copy(Value value) {
    auto kernel = exec::KernelOp::create(builder_, value.getLoc(), TypeRange{value.getType()}, ValueRange{value},
                                         builder_.getStringAttr("loops"), Attribute());
    Block *block = new Block;
    kernel.getBody().push_back(block);
    block->addArgument(value.getType(), value.getLoc());
    OpBuilder inner = OpBuilder::atBlockEnd(block);
    exec::YieldOp::create(inner, value.getLoc(), ValueRange{block->getArgument(0)});
    return kernel.getOutputs().front();
  }

  void dropUnusedOutside() {
    SmallVector<Operation *> ops;
    for (Operation &op : function_.getBody().front().without_terminator())
      ops.push_back(&op);
    for (Operation *op : llvm::reverse(ops))
      if (op->use_empty() && !isa<exec::KernelOp>(op))
        op->erase();
  }

  func::FuncOp function_;
  ShapeAnalysis &shapes_;
  const Clusters &clusters_;
  OpBuilder builder_;
  IRMapping mapping_;
  SmallVector<Operation *> old_;
  std::vector<bool> built_;
  llvm::DenseMap<int, SmallVector<int>> after_;
};

/// The attention kernel takes f32 with heads of known number and size, and a mask that is as wide as the keys or repeats.
bool hasAttentionKernel(llm::AttentionOp op, ShapeAnalysis &shapes) {
  for (Value operand : {op.getQuery(), op.getKey(), op.getValue()}) {
    auto type = cast<RankedTensorType>(operand.getType());
    if (!type.getElementType().isF32() || type.isDynamicDim(1) || type.isDynamicDim(3))
      return false;
  }
  if (!op.getMask())
    return true;
  Type element = cast<RankedTensorType>(op.getMask().getType()).getElementType();
  auto mask = shapes.shapeOf(op.getMask()).dims;
  SymExpr keys = shapes.shapeOf(op.getKey()).dims[2];
  return (element.isF32() || element.isInteger(1)) && (mask.empty() || mask.back().isConstant(1) || mask.back() == keys);
}

/// The kernels take f32, weights of 16 or 32 bits and a known number of choices.
bool hasGroupedKernel(llm::GroupedLinearOp op) {
  auto weight = cast<RankedTensorType>(op.getWeight().getType());
  Type element = weight.getElementType();
  if (cast<RankedTensorType>(op.getOrder().getType()).isDynamicDim(1))
    return false;
  return isWeightExpression(op.getWeight()) && weight.hasStaticShape() && weight.getNumElements() > 0 && (element.isF32() || element.isF16() || element.isBF16()) &&
         cast<RankedTensorType>(op.getInput().getType()).getElementType().isF32();
}

/// Composite operations no kernel takes as they are become smaller ones.
bool needsDecomposition(Operation *op, ShapeAnalysis &shapes) {
  if (auto attention = dyn_cast<llm::AttentionOp>(op))
    return !hasAttentionKernel(attention, shapes);
  if (auto softmax = dyn_cast<llm::SoftmaxOp>(op))
    return int64_t(softmax.getAxis()) + 1 != cast<RankedTensorType>(softmax.getType()).getRank();
  if (auto linear = dyn_cast<llm::LinearOp>(op))
    return !isWeightExpression(linear.getWeight()) || !cast<RankedTensorType>(linear.getInput().getType()).getElementType().isF32();
  if (auto linear = dyn_cast<llm::GroupedLinearOp>(op))
    return !hasGroupedKernel(linear);
  if (auto rope = dyn_cast<llm::RopeOp>(op)) {
    if (!rope->hasOneUse())
      return true;
    OpOperand &use = *rope->getUses().begin();
    return !isa<llm::PagedAttentionOp, llm::CacheAppendOp>(use.getOwner()) || use.getOperandNumber() != 0;
  }
  return false;
}

class CutKernelsPass : public llmopt::impl::CutKernelsPassBase<CutKernelsPass> {
public:
  using CutKernelsPassBase::CutKernelsPassBase;

  void getDependentDialects(DialectRegistry &registry) const override { registry.insert<exec::ExecDialect>(); }

  void runOnOperation() override {
    // A function may be given as kernels already (llmopt-compile --tune measures such ones).
    if (!getOperation().getOps<exec::KernelOp>().empty())
      return;
    if (failed(decompose()))
      return signalPassFailure();
    if (fuse)
      copySharedMoves(getOperation());
    SymContext symbols;
    ShapeAnalysis shapes(symbols);
    shapes.run(getOperation());
    Clusters clusters(getOperation(), shapes, {fuse, norms, alone, disable});
    Cutter(getOperation(), shapes, clusters).run();
    if (!countJoins)
      return;
    Builder builder(&getContext());
    SmallVector<NamedAttribute> counts;
    for (const auto &[name, count] : clusters.joinsMade())
      counts.push_back(builder.getNamedAttr(name, builder.getI64IntegerAttr(count)));
    getOperation()->setAttr(kJoinsMade, builder.getDictionaryAttr(counts));
  }

private:
  LogicalResult decompose() {
    SymContext symbols;
    ShapeAnalysis shapes(symbols);
    shapes.run(getOperation());
    SmallVector<Operation *> ops;
    getOperation().walk([&](llm::Decomposable op) {
      if (needsDecomposition(op, shapes))
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      OpBuilder builder(op);
      auto values = cast<llm::Decomposable>(op).decompose(builder);
      if (failed(values))
        return op->emitOpError("has no kernel and cannot be decomposed");
      op->replaceAllUsesWith(*values);
      op->erase();
    }
    // Rotations of all layers compute the same angles.
    if (!ops.empty()) {
      IRRewriter rewriter(&getContext());
      DominanceInfo dominance(getOperation());
      eliminateCommonSubExpressions(rewriter, dominance, getOperation());
    }
    return success();
  }
};

} // namespace
