//===- Clusters.cpp - which operations share a kernel ------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "passes/Kernels/Clusters.h"

#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/dialects/LLM/SourceName.h"
#include "llmopt/lib/Analysis/Projection.h"
#include "llmopt/lib/Analysis/SizeOperands.h"

#include "mlir/IR/Remarks.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::kernels;
using llm::isView;
using llm::isWeightExpression;

void kernels::explainApart(StringRef join, Operation *producer, Operation *reader, StringRef why, StringRef change) {
  remark::missed(reader->getLoc(), remark::RemarkOpts::name(join).category("kernel"))
      << remark::reason("{0}", why) << remark::suggest("{0}", change) << remark::metric("Root", reader->getName().getStringRef().str())
      << remark::metric("Blocker", producer->getName().getStringRef().str())
      << remark::metric("BlockerNode", llm::sourceNameOrLine(producer->getLoc()));
}

namespace {

bool isElementwise(Operation *op) { return op->hasTrait<llm::Elementwise>(); }

/// Operations that are kernels' hearts, and the family that generates them.
StringRef anchorFamily(Operation *op) {
  return llvm::TypeSwitch<Operation *, StringRef>(op)
      .Case<llm::LinearOp>([](auto) { return "linear"; })
      .Case<llm::MatMulOp>([](llm::MatMulOp matmul) {
        if (Projection::of(matmul) && isWeightExpression(matmul.getRhs()))
          return "linear";
        bool plain = llvm::all_of(matmul->getOperandTypes(), [](Type type) { return getElementTypeOrSelf(type).isF32(); });
        return plain ? "matmul" : ""; // other types: a plain loop nest
      })
      .Case<llm::GroupedLinearOp>([](auto) { return "grouped_linear"; })
      .Case<llm::GroupRowsOp>([](auto) { return "group_rows"; })
      .Case<llm::AttentionOp>([](auto) { return "attention"; })
      .Case<llm::PagedAttentionOp>([](auto) { return "paged_attention"; })
      .Case<llm::CacheAppendOp>([](auto) { return "cache_append"; })
      .Case<llm::LayerNormOp, llm::RMSNormOp, llm::SoftmaxOp>([](auto) { return "rows"; })
      .Default([](Operation *) { return ""; });
}

} // namespace

bool kernels::isSolved(Value value, ShapeAnalysis &shapes) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || !type.getElementType().isSignlessInteger() || !value.getDefiningOp())
    return false;
  const ValueShape &shape = shapes.shapeOf(value);
  return shape.elements && llvm::all_of(*shape.elements, [](SymExpr element) { return element.known(); });
}

// From the last operation to the first, so that what an operation's users are is known when it is asked.
void Clusters::findOutside() {
  llvm::DenseSet<Operation *> sizes;
  llvm::DenseMap<Value, bool> weights;
  Block &block = function_.getBody().front();
  for (Operation &op : block.without_terminator()) {
    bool leaf = isa<llm::WeightOp, llm::ConstantOp>(op);
    bool derived = op.getNumOperands() > 0 && op.getNumResults() == 1 && isa_and_nonnull<llm::LLMDialect>(op.getDialect()) &&
                   llvm::all_of(op.getOperands(), [&](Value operand) { return weights.lookup(operand); });
    if (leaf || derived)
      weights[op.getResult(0)] = true;
    if (leaf || derived || isView(&op))
      outside_.insert(&op);
  }
  for (Operation &op : llvm::reverse(block.without_terminator())) {
    if (op.getNumResults() != 1 || !isSolved(op.getResult(0), shapes_))
      continue;
    if (llvm::all_of(op.getUses(), [&](OpOperand &use) { return isSizeOperand(use) || sizes.contains(use.getOwner()); })) {
      sizes.insert(&op);
      outside_.insert(&op);
    }
  }
}

bool kernels::isChoiceOfRows(Operation *op) {
  auto gather = dyn_cast_or_null<llm::GatherOp>(op);
  if (!gather || gather.getAxis() != 0 || isWeightExpression(gather.getInput()))
    return false;
  auto type = cast<RankedTensorType>(gather.getType()), indices = cast<RankedTensorType>(gather.getIndices().getType());
  return type.getRank() == 2 && indices.getRank() == 1 && !type.isDynamicDim(1) && type.getElementType().isF32();
}

Clusters::Clusters(func::FuncOp function, ShapeAnalysis &shapes, const ClusterOptions &options)
    : function_(function), shapes_(shapes), options_(options) {
  findOutside();
  for (Operation &op : function.getBody().front())
    if (!op.hasTrait<OpTrait::IsTerminator>() && !isOutside(&op))
      order_.push_back(&op);
  startAnchors();
  if (wants("join-gated-pair"))
    joinGatedPairs();
  if (wants("join-projections"))
    joinProjections();
  clusterLoops();
  if (wants("join-norm-input"))
    explainNormInputs();
  if (options_.norms && wants("join-row-extrema"))
    joinRowExtrema();
  if (options_.norms && wants("join-norm"))
    joinNorms();
  if (wants("join-loops"))
    joinLoops();
  explainJoins();
  for (Cluster &cluster : clusters_)
    llvm::sort(cluster.ops, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
}

bool Clusters::wants(StringRef join) const { return options_.fuse && !llvm::is_contained(options_.disable, join); }

// One remark a kernel and join, since kernels are what a reader counts.
void Clusters::explainJoins() {
  llvm::MapVector<std::pair<int, StringRef>, SmallVector<Join>> byKernel;
  for (const Join &join : joins_)
    byKernel[{of(join.into), join.name}].push_back(join);
  for (const auto &[key, joins] : byKernel) {
    ++joinsMade_[key.second];
    std::string ops;
    for (const Join &join : joins)
      ops += (ops.empty() ? "" : " ") + join.what->getName().stripDialect().str();
    const Join &first = joins.front();
    remark::passed(first.into->getLoc(), remark::RemarkOpts::name(key.second).category("kernel"))
        << remark::metric("Op", first.into->getName().getStringRef().str()) << remark::metric("Root", first.what->getName().getStringRef().str())
        << remark::metric("RootNode", llm::sourceNameOrLine(first.what->getLoc())) << remark::metric("Joined", ops);
  }
}

int Clusters::of(Operation *op) const {
  auto it = clusterOf_.find(op);
  return it == clusterOf_.end() ? -1 : it->second;
}

int Clusters::add(Operation *op, StringRef family) {
  clusters_.push_back({family, {}});
  put(op, int(clusters_.size()) - 1);
  return int(clusters_.size()) - 1;
}

void Clusters::put(Operation *op, int cluster) {
  clusterOf_[op] = cluster;
  clusters_[size_t(cluster)].ops.push_back(op);
}

void Clusters::merge(int from, int into) {
  for (Operation *op : clusters_[size_t(from)].ops)
    put(op, into);
  clusters_[size_t(from)].ops.clear();
}

bool Clusters::sameShape(Value a, Value b) {
  auto left = shapes_.shapeOf(a).dims, right = shapes_.shapeOf(b).dims;
  return left.size() == right.size() &&
         llvm::all_of(llvm::zip(left, right), [](auto pair) { return std::get<0>(pair) == std::get<1>(pair); });
}

Operation *Clusters::onlyUser(Value value) const { return value.hasOneUse() ? *value.getUsers().begin() : nullptr; }

void Clusters::startAnchors() {
  for (Operation *op : order_) {
    StringRef family = anchorFamily(op);
    bool isAlone = llvm::is_contained(options_.alone, op->getName().getStringRef());
    if (family.empty() && !isAlone)
      continue;
    int cluster = add(op, family.empty() ? "loops" : family);
    clusters_.back().alone = isAlone;
    if (auto attention = dyn_cast<llm::PagedAttentionOp>(op))
      absorbRope(cluster, attention.getQuery());
    if (auto append = dyn_cast<llm::CacheAppendOp>(op))
      absorbRope(cluster, append.getKey());
  }
  for (size_t i = 0; i < clusters_.size() && wants("join-layouts"); ++i)
    if (isa<llm::AttentionOp>(clusters_[i].ops.front()) && !clusters_[i].alone) {
      absorbLayouts(int(i));
      absorbResultLayout(int(i));
    }
  // Products before norms: a residual sum belongs to the product that feeds it.
  for (StringRef family : {"linear", "grouped_linear", "matmul", "rows"})
    for (size_t i = 0; i < clusters_.size(); ++i) {
      if (clusters_[i].family != family || clusters_[i].alone)
        continue;
      Operation *anchor = clusters_[i].ops.front();
      if (family == "rows" && wants("join-norm-input"))
        absorbNormPrologue(int(i));
      // A norm whose prologue is read elsewhere gives two results; what it reads may then depend on itself.
      if (wants("join-epilogue"))
        growEpilogue(int(i), anchor->getResult(0), /*onlyWeights=*/clusters_[i].ops.size() > 1);
    }
}

void Clusters::absorbRope(int cluster, Value rotated) {
  auto rope = rotated.getDefiningOp<llm::RopeOp>();
  if (rope && onlyUser(rotated) && of(rope) < 0)
    put(rope, cluster);
}

void Clusters::absorbNormPrologue(int cluster) {
  Operation *norm = clusters_[size_t(cluster)].ops.front();
  Operation *producer = norm->getOperand(0).getDefiningOp();
  if (!producer || of(producer) >= 0 || !isElementwise(producer) || isOutside(producer) || producer->getBlock() != norm->getBlock())
    return;
  if (norm->getOperand(0).getType() != producer->getOperand(0).getType())
    return;
  for (Value operand : producer->getOperands())
    if (!sameShape(operand, producer->getResult(0)) && !isWeightExpression(operand))
      return;
  put(producer, cluster);
  noteJoin("join-norm-input", producer, norm);
}

// A sum that a product's kernel has as its epilogue shares a kernel already.
void Clusters::explainNormInputs() {
  for (Operation *norm : order_) {
    Operation *sum = isa<llm::LayerNormOp, llm::RMSNormOp>(norm) ? norm->getOperand(0).getDefiningOp() : nullptr;
    int cluster = sum ? of(sum) : -1;
    if (cluster < 0 || cluster == of(norm) || !isElementwise(sum) || clusters_[size_t(cluster)].family != "loops" || clusters_[size_t(of(norm))].alone)
      continue;
    if (getElementTypeOrSelf(sum->getOperand(0).getType()) != getElementTypeOrSelf(norm->getOperand(0).getType()))
      explainApart("join-norm-input", sum, norm, "it gives another type than it reads", "compute the norm in the type of what it is taken of");
    else if (llvm::any_of(sum->getOperands(), [&](Value operand) { return !isWeightExpression(operand) && !sameShape(operand, sum->getResult(0)); }))
      explainApart("join-norm-input", sum, norm, "an operand has another shape than the norm's rows", "name equal dimensions alike, or broadcast weights only");
  }
}

/// What a register tile can read beside its own element: an operand of the same shape, one row (or element) for all rows, or one
/// element for each row.
bool Clusters::repeatsOrFits(Value operand, Value of) {
  auto dims = shapes_.shapeOf(operand).dims;
  if (dims.empty() || sameShape(operand, of))
    return true;
  auto result = shapes_.shapeOf(of).dims;
  auto rows = [](ArrayRef<SymExpr> all) { return all.drop_back(); };
  if (dims.size() == result.size() && dims.back().isConstant(1) && llvm::equal(rows(dims), rows(result)))
    return true;
  bool oneRow = llvm::all_of(ArrayRef<SymExpr>(dims).drop_back(), [](SymExpr dim) { return dim.isConstant(1); });
  return oneRow && (dims.back().isConstant(1) || dims.back() == result.back());
}

// Follows the only user of `value` while it computes element by element on the same shape.
void Clusters::growEpilogue(int cluster, Value value, bool onlyWeights) {
  if (!value.use_empty() && !value.hasOneUse())
    for (Operation *user : value.getUsers())
      if (isElementwise(user) && !isOutside(user))
        return explainApart("join-epilogue", value.getDefiningOp(), user, "the value is read elsewhere as well", "use it once");
  while (Operation *user = onlyUser(value)) {
    if (of(user) >= 0 || !isElementwise(user) || isOutside(user) || user->getNumResults() != 1)
      return;
    Value result = user->getResult(0);
    auto apart = [&](StringRef why, StringRef change) { explainApart("join-epilogue", value.getDefiningOp(), user, why, change); };
    if (clusters_[size_t(cluster)].ops.size() >= kMostOps)
      return apart("the kernel is full", "nothing: the bound keeps the code small");
    if (!sameShape(result, value))
      return apart("the result has another shape than what the kernel computes", "name equal dimensions alike, or fix them with --dim");
    if (onlyWeights && !llvm::all_of(user->getOperands(), [&](Value v) { return v == value || isWeightExpression(v); }))
      return apart("behind a norm that also returns its input, only weights may join", "nothing: another value could depend on the norm itself");
    if (!llvm::all_of(user->getOperands(), [&](Value operand) { return repeatsOrFits(operand, result); }))
      return apart("an operand is neither of the result's shape nor one row for all rows", "broadcast over leading dimensions only");
    if (clusters_[size_t(cluster)].family == "linear")
      absorbChosenRows(cluster, user);
    put(user, cluster);
    noteJoin("join-epilogue", user, clusters_[size_t(cluster)].ops.front());
    value = result;
  }
}

// A residual is read row by row, whichever rows those are.
void Clusters::absorbChosenRows(int cluster, Operation *reader) {
  for (Value operand : reader->getOperands())
    if (Operation *gather = operand.getDefiningOp(); isChoiceOfRows(gather) && of(gather) < 0 && onlyUser(operand) && gather->getBlock() == reader->getBlock() &&
                                                     sameShape(operand, reader->getResult(0))) {
      put(gather, cluster);
      noteJoin("join-epilogue", gather, clusters_[size_t(cluster)].ops.front());
    }
}
