//===- ShapeRequirements.cpp - what sizes must satisfy --------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Analysis/ShapeRequirements.h"

#include "ShapeRules.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::llm;
using Relation = ShapeRequirement::Relation;

namespace {

class Collector {
public:
  Collector(ShapeAnalysis &shapes, Location location) : shapes_(shapes), location_(location) {}

  void visit(Operation *op) {
    location_ = op->getLoc();
    if (op->hasTrait<Elementwise>())
      for (Value operand : op->getOperands())
        broadcasts(dims(operand), dims(op->getResult(0)));
    llvm::TypeSwitch<Operation *>(op)
        .Case([&](MatMulOp matmul) { visitMatMul(matmul); })
        .Case([&](LinearOp linear) { equal(dims(linear.getInput()).back(), dims(linear.getWeight())[linear.getTransposed() ? 0 : 1]); })
        .Case([&](GroupedLinearOp linear) {
          ArrayRef<SymExpr> input = dims(linear.getInput()), order = dims(linear.getOrder());
          for (size_t i = 0; i + 1 < input.size(); ++i)
            equal(input[i], order[i]);
          equal(input.back(), dims(linear.getWeight())[2]);
        })
        .Case([&](AttentionOp attention) { visitAttention(attention); })
        .Case([&](BroadcastOp broadcast) { broadcasts(dims(broadcast.getInput()), dims(broadcast)); })
        .Case([&](ReshapeOp reshape) { equal(elements(reshape.getInput()), elements(reshape)); })
        .Case([&](ConcatOp concat) {
          for (Value input : concat.getInputs())
            beside(dims(input), dims(concat), size_t(concat.getAxis()), Relation::Equal);
        })
        .Case([&](GatherElementsOp gather) {
          beside(dims(gather.getIndices()), dims(gather.getInput()), size_t(gather.getAxis()), Relation::LessEqual);
        })
        .Case([&](GatherNDOp gather) {
          for (size_t i = 0; i < size_t(gather.getBatchDims()); ++i)
            equal(dims(gather.getIndices())[i], dims(gather.getInput())[i]);
        })
        .Case([&](ScatterElementsOp scatter) {
          beside(dims(scatter.getIndices()), dims(scatter.getInput()), size_t(scatter.getAxis()), Relation::LessEqual);
          beside(dims(scatter.getIndices()), dims(scatter.getUpdates()), dims(scatter.getIndices()).size(), Relation::LessEqual);
        })
        .Case([&](ScatterNDOp scatter) { visitScatter(scatter); })
        .Case([&](TopKOp top) { add(Relation::LessEqual, dims(top.getValues())[size_t(top.getAxis())], dims(top.getInput())[size_t(top.getAxis())]); })
        .Case([&](LayerNormOp norm) { broadcastsTo(norm, {norm.getScale(), norm.getBias()}); })
        .Case([&](RMSNormOp norm) { broadcastsTo(norm, {norm.getScale()}); });
  }

  void add(Relation relation, SymExpr lhs, SymExpr rhs) {
    if (!lhs.known() || !rhs.known() || lhs == rhs || (lhs.constant() && rhs.constant()))
      return;
    if ((relation == Relation::LessEqual && shapes_.symbols().provenLessEqual(lhs, rhs)) ||
        (relation == Relation::OneOrEqual && lhs.isConstant(1)))
      return;
    auto same = [&](const ShapeRequirement &old) { return old.relation == relation && old.lhs == lhs && old.rhs == rhs; };
    if (llvm::none_of(found_, same))
      found_.push_back({relation, lhs, rhs, location_});
  }

  void add(const ShapeAssumption &assumption) {
    location_ = assumption.location;
    add(Relation::LessEqual, assumption.lhs, assumption.rhs);
  }

  std::vector<ShapeRequirement> take() { return std::move(found_); }

private:
  ArrayRef<SymExpr> dims(Value value) { return shapes_.shapeOf(value).dims; }
  SymExpr elements(Value value) { return shapes::product(shapes_.symbols(), dims(value)); }
  void equal(SymExpr lhs, SymExpr rhs) { add(Relation::Equal, lhs, rhs); }

  /// `operand` is repeated to the shape `whole`, aligned at the last dimension.
  void broadcasts(ArrayRef<SymExpr> operand, ArrayRef<SymExpr> whole) {
    size_t count = std::min(operand.size(), whole.size());
    for (auto [part, dim] : llvm::zip(operand.take_back(count), whole.take_back(count)))
      add(Relation::OneOrEqual, part, dim);
  }
  void broadcastsTo(Value whole, ArrayRef<Value> operands) {
    for (Value operand : operands)
      if (operand)
        broadcasts(dims(operand), dims(whole));
  }
  /// All dimensions but `axis`.
  void beside(ArrayRef<SymExpr> part, ArrayRef<SymExpr> whole, size_t axis, Relation relation) {
    for (size_t i = 0; i < std::min(part.size(), whole.size()); ++i)
      if (i != axis)
        add(relation, part[i], whole[i]);
  }

  void visitMatMul(MatMulOp op) {
    ArrayRef<SymExpr> left = dims(op.getLhs()), right = dims(op.getRhs()), result = dims(op);
    bool row = left.size() == 1, column = right.size() == 1;
    equal(left.back(), column ? right.back() : right[right.size() - 2]);
    ArrayRef<SymExpr> batch = result.drop_back((row ? 0 : 1) + (column ? 0 : 1));
    if (!row)
      broadcasts(left.drop_back(2), batch);
    if (!column)
      broadcasts(right.drop_back(2), batch);
  }

  void visitAttention(AttentionOp op) {
    ArrayRef<SymExpr> query = dims(op.getQuery()), key = dims(op.getKey()), value = dims(op.getValue());
    for (size_t i : {0, 3})
      equal(key[i], query[i]);
    for (size_t i : {0, 1, 2})
      equal(value[i], key[i]);
    if (op.getMask())
      broadcasts(dims(op.getMask()), {query[0], query[1], query[2], key[2]});
  }

  /// updates: the tuples' dimensions, then those of the input that a tuple leaves open.
  void visitScatter(ScatterNDOp op) {
    ArrayRef<SymExpr> input = dims(op.getInput()), indices = dims(op.getIndices()), updates = dims(op.getUpdates());
    ArrayRef<SymExpr> tuples = indices.drop_back();
    std::optional<int64_t> tuple = indices.back().constant();
    if (!tuple || *tuple < 0 || size_t(*tuple) > input.size() || updates.size() != tuples.size() + input.size() - size_t(*tuple))
      return;
    for (auto [dim, wanted] : llvm::zip(updates, tuples))
      equal(dim, wanted);
    for (auto [dim, wanted] : llvm::zip(updates.drop_front(tuples.size()), input.drop_front(size_t(*tuple))))
      equal(dim, wanted);
  }

  ShapeAnalysis &shapes_;
  std::vector<ShapeRequirement> found_;
  Location location_; ///< of the operation being visited
};

} // namespace

std::vector<ShapeRequirement> llmopt::shapeRequirements(Operation *function, ShapeAnalysis &shapes) {
  Collector collector(shapes, function->getLoc());
  for (const ShapeAssumption &assumption : shapes.assumptions())
    collector.add(assumption);
  function->walk([&](Operation *op) {
    if (isa_and_nonnull<LLMDialect>(op->getDialect()))
      collector.visit(op);
  });
  return collector.take();
}
