//===- SinkViews.cpp - reshapes go behind what does not care for them ------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %m = llm.reshape %x         [B, S, D] -> [B * S, D]
//   %y = llm.matmul %m, %w      [B * S, N]                          %y = llm.matmul %x, %w     [B, S, N]
//   %z = llm.add %y, %b         %b: [N]                      ==>    %r = llm.add %y, %b
//   %r = llm.reshape %z         [B * S, N] -> [B, S, N]
// Gemm wants matrices, so exporters wrap it in reshapes. Moved down past products with weights, norms and elementwise
// operations, they meet the reshape back and both go; of other views in a row one reshape is left. In one walk down, with one
// analysis that learns the new operations.
//
//   %a = llm.reshape %q       [B, H, S, D] -> [B * H, S, D]
//   %b = llm.reshape %k       [B, H, D, T] -> [B * H, D, T]         %y = llm.matmul %q, %k     [B, H, S, T]
//   %y = llm.matmul %a, %b    [B * H, S, T]                   ==>   %r = llm.reshape %y        -> [B * H, S, T]
// Products in batches are taken apart where both operands' first dimensions are joined alike, and so is what comes in front and behind.
//
//===----------------------------------------------------------------------===//
#include "CanonicalSteps.h"
#include "SizeBuilder.h"

#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace llmopt;
using llm::isView;
using llm::isWeightExpression;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

namespace {

class Sinker {
public:
  explicit Sinker(func::FuncOp function) : shapes_(symbols_) {
    shapes_.run(function);
    sizes_.emplace(function, shapes_);
  }

  void run(func::FuncOp function) {
    for (Block &block : function.getBody())
      for (Operation &op : llvm::make_early_inc_range(block))
        if (isView(&op))
          dropDetour(&op);
        else if (op.getNumResults() == 1 && op.getNumRegions() == 0 && isa_and_nonnull<llm::LLMDialect>(op.getDialect()))
          sink(&op);
    // Not before: the view in between may be the one that keeps rows.
    for (Block &block : function.getBody())
      for (Operation &op : llvm::make_early_inc_range(block))
        if (isView(&op))
          joinViews(&op);
  }

private:
  using Dims = SmallVector<SymExpr, 4>;
  Dims dimsOf(Value value) { return shapes_.shapeOf(value).dims; }
  static bool equal(ArrayRef<SymExpr> a, ArrayRef<SymExpr> b) {
    return a.size() == b.size() && llvm::all_of(llvm::zip(a, b), [](auto pair) { return std::get<0>(pair) == std::get<1>(pair); });
  }
  void replace(Operation *op, Value by) {
    op->getResult(0).replaceAllUsesWith(by);
    shapes_.forget(op);
    op->erase();
  }

  /// A view of a view ... of a value of its own shape is that value.
  void dropDetour(Operation *view) {
    Dims dims = dimsOf(view->getResult(0));
    for (Value source = view->getOperand(0);; source = source.getDefiningOp()->getOperand(0)) {
      if (source.getType() == view->getResult(0).getType() && equal(dimsOf(source), dims)) {
        replace(view, source);
        return;
      }
      if (!source.getDefiningOp() || !isView(source.getDefiningOp()))
        return;
    }
  }

  /// A view of a view is one reshape; so is a flatten.
  void joinViews(Operation *view) {
    Value root = view->getOperand(0), result = view->getResult(0);
    while (root.getDefiningOp() && isView(root.getDefiningOp()))
      root = root.getDefiningOp()->getOperand(0);
    if ((root == view->getOperand(0) && !isa<llm::FlattenOp>(view)) || typeOf(root).getRank() < 2)
      return;
    OpBuilder builder(view);
    SizeBuilder::Shape shape = sizes_->reshapeTo(builder, view->getLoc(), dimsOf(root), dimsOf(result));
    if (!shape.value)
      return;
    replace(view, llm::ReshapeOp::create(builder, view->getLoc(), result.getType(), root, shape.value, shape.allowZero));
  }

  /// What a view shows, if both have dimensions that a reshape can be made of.
  Value sourceOf(Value value) {
    Operation *view = value.getDefiningOp();
    return view && isView(view) && typeOf(view->getOperand(0)).getRank() >= 2 ? view->getOperand(0) : Value();
  }
  bool keepsRows(Value source, Value view) {
    auto from = typeOf(source), to = typeOf(view);
    return to.getRank() >= 1 && !from.isDynamicDim(from.getRank() - 1) && from.getShape().back() == to.getShape().back();
  }

  void sink(Operation *op) {
    if (op->hasTrait<llm::Elementwise>())
      return sinkPastElementwise(op);
    if (auto gather = dyn_cast<llm::GatherOp>(op))
      return gather.getAxis() == 0 && isWeightExpression(gather.getInput()) ? sinkPastTable(op, gather.getIndices()) : void();
    if (auto embedding = dyn_cast<llm::EmbeddingOp>(op))
      return sinkPastTable(op, embedding.getIds());
    if (auto transpose = dyn_cast<llm::TransposeOp>(op))
      return sinkPastTranspose(transpose);
    if (auto softmax = dyn_cast<llm::SoftmaxOp>(op))
      return sinkPastSoftmax(softmax);
    if (auto matmul = dyn_cast<llm::MatMulOp>(op); matmul && typeOf(matmul).getRank() == 3 && typeOf(matmul.getRhs()).getRank() == 3)
      return sinkPastBatches(matmul);
    if (!isa<llm::MatMulOp, llm::LinearOp, llm::LayerNormOp, llm::RMSNormOp>(op))
      return;
    Value view = op->getOperand(0), source = sourceOf(view);
    if (!source || typeOf(view).getRank() < 2)
      return;
    // One matrix for all rows; [.., M, K] x [B, K, N] is another thing.
    if (isa<llm::MatMulOp>(op) && (typeOf(op->getOperand(1)).getRank() != 2 || !typeOf(op->getOperand(1)).hasStaticShape()))
      return;
    if (!keepsRows(source, view)) {
      Value rows = withRowsOf(view, source);
      while (!rows && (source = sourceOf(source)))
        rows = withRowsOf(view, source);
      if (!(source = rows))
        return;
    }
    Dims dims = dimsOf(source);
    dims.back() = dimsOf(op->getResult(0)).back();
    IRMapping mapping;
    mapping.map(view, source);
    rebuild(op, mapping, dims);
  }

  /// `source` with its last dimensions joined to rows as long as the view's (heads side by side), if the view has others in front.
  Value withRowsOf(Value view, Value source) {
    auto type = typeOf(source);
    int64_t width = typeOf(view).getShape().back(), product = 1, rank = type.getRank();
    while (rank > 1 && product < width && !type.isDynamicDim(unsigned(rank - 1)))
      product *= type.getDimSize(unsigned(--rank));
    if (product != width)
      return {};
    Dims dims = dimsOf(source);
    dims.truncate(size_t(rank));
    dims.push_back(symbols_.constant(width));
    return equal(dims, dimsOf(view)) ? Value() : shown(source, view, dims);
  }

  /// Rows of a table: what shape the numbers of the rows have is what shape the rows have.
  void sinkPastTable(Operation *op, Value ids) {
    Operation *view = ids.getDefiningOp();
    if (!view || !isView(view) || typeOf(view->getOperand(0)).getRank() < 1)
      return;
    Dims dims = dimsOf(view->getOperand(0));
    llvm::append_range(dims, ArrayRef<SymExpr>(dimsOf(op->getResult(0))).drop_front(size_t(typeOf(ids).getRank())));
    IRMapping mapping;
    mapping.map(ids, view->getOperand(0));
    rebuild(op, mapping, dims);
  }

  /// The dimensions in front of a value that a view joins to its first one, ones left out: at least two, or none.
  Dims joinedDims(Value view, Value source) {
    SymExpr product = symbols_.constant(1);
    Dims joined;
    for (SymExpr dim : dimsOf(source)) {
      if (!dim.known())
        return {};
      product = symbols_.mul(product, dim);
      if (!dim.isConstant(1))
        joined.push_back(dim);
      if (product == dimsOf(view).front())
        return joined.size() > 1 ? joined : Dims();
    }
    return {};
  }

  /// `view` with its first dimension taken apart into `joined`, or however it was joined where that is empty. Null if it was not.
  Value takenApart(Value view, Dims &joined) {
    if (typeOf(view).getRank() < 2)
      return {};
    for (Value source = sourceOf(view); source; source = sourceOf(source)) {
      Dims dims = joinedDims(view, source);
      if (dims.empty())
        continue;
      if (!joined.empty() && !equal(joined, dims))
        return {};
      joined = dims;
      llvm::append_range(dims, ArrayRef<SymExpr>(dimsOf(view)).drop_front());
      return equal(dims, dimsOf(source)) ? source : shown(source, view, dims);
    }
    return {};
  }

  /// A reshape of `source` to `dims`, in front of what reads `view`; null if no operand can say them.
  Value shown(Value source, Value view, ArrayRef<SymExpr> dims) {
    OpBuilder builder(view.getContext());
    builder.setInsertionPointAfterValue(view);
    SizeBuilder::Shape shape = sizes_->reshapeTo(builder, view.getLoc(), dimsOf(source), dims);
    if (!shape.value)
      return {};
    Type type = ShapeAnalysis::typeOf({Dims(dims), {}}, typeOf(source).getElementType());
    auto reshape = llm::ReshapeOp::create(builder, view.getLoc(), type, source, shape.value, shape.allowZero);
    shapes_.infer(reshape);
    return reshape;
  }

  /// Matrices in a batch are turned one by one; dimensions of 1 that a view adds are not turned at all.
  void sinkPastTranspose(llm::TransposeOp op) {
    ArrayRef<int64_t> order = op.getPermutation();
    Dims joined, before = dimsOf(op.getInput()), dims;
    Value source = order.size() == 3 && order[0] == 0 ? takenApart(op.getInput(), joined) : Value();
    SmallVector<int64_t> permutation;
    if (source) {
      dims = joined;
      permutation = llvm::to_vector(llvm::seq<int64_t>(0, int64_t(joined.size())));
      for (int64_t axis : order.drop_front())
        permutation.push_back(axis + int64_t(joined.size()) - 1);
    } else if (source = sourceOf(op.getInput()); source) {
      auto places = placesWithoutOnes(before, dimsOf(source));
      for (int64_t axis : order)
        if (places && (*places)[size_t(axis)] >= 0)
          permutation.push_back((*places)[size_t(axis)]);
    }
    if (!source || permutation.size() != dimsOf(source).size())
      return;
    dims.clear();
    for (int64_t axis : permutation)
      dims.push_back(dimsOf(source)[size_t(axis)]);
    IRMapping mapping;
    mapping.map(op.getInput(), source);
    rebuild(op, mapping, dims, [&](Operation *moved) { cast<llm::TransposeOp>(moved).setPermutation(permutation); });
  }

  /// Where the dimensions of a view are in its source, and -1 for the ones that it adds; nothing if it does anything else.
  static std::optional<SmallVector<int64_t>> placesWithoutOnes(ArrayRef<SymExpr> view, ArrayRef<SymExpr> source) {
    SmallVector<int64_t> places;
    size_t next = 0;
    for (SymExpr dim : view) {
      bool found = next < source.size() && dim == source[next];
      if (!found && !dim.isConstant(1))
        return std::nullopt;
      places.push_back(found ? int64_t(next++) : -1);
    }
    return next == source.size() && view.size() > source.size() ? std::optional(places) : std::nullopt;
  }

  /// Of rows, whatever dimensions they stand in.
  void sinkPastSoftmax(llm::SoftmaxOp op) {
    Value source = sourceOf(op.getInput());
    if (!source || int64_t(op.getAxis()) != typeOf(op).getRank() - 1 || !(dimsOf(source).back() == dimsOf(op.getInput()).back()))
      return;
    IRMapping mapping;
    mapping.map(op.getInput(), source);
    rebuild(op, mapping, dimsOf(source), [&](Operation *moved) { cast<llm::SoftmaxOp>(moved).setAxis(uint64_t(typeOf(source).getRank() - 1)); });
  }

  void sinkPastBatches(llm::MatMulOp op) {
    Dims joined;
    Value left = takenApart(op.getLhs(), joined), right = left ? takenApart(op.getRhs(), joined) : Value();
    if (!right)
      return;
    Dims dims = joined;
    llvm::append_range(dims, ArrayRef<SymExpr>(dimsOf(op)).drop_front());
    IRMapping mapping;
    mapping.map(op.getLhs(), left);
    mapping.map(op.getRhs(), right);
    rebuild(op, mapping, dims);
  }

  void sinkPastElementwise(Operation *op) {
    IRMapping mapping;
    Value source, result = op->getResult(0);
    for (Value operand : op->getOperands()) {
      Value below = equal(dimsOf(operand), dimsOf(result)) ? sourceOf(operand) : Value();
      if (!below)
        continue;
      // Whoever else reads heads as rows would find what this computes in another shape.
      if (!operand.hasOneUse() && !keepsRows(below, operand))
        return;
      if (source && (!equal(dimsOf(source), dimsOf(below)) || typeOf(source).getShape() != typeOf(below).getShape()))
        return;
      source = below;
      mapping.map(operand, below);
    }
    if (!source)
      return;
    for (Value operand : op->getOperands())
      if (!mapping.contains(operand) && !isSameForAllRows(operand, source, result)) {
        Value fitting = broadcastAlongSource(operand, source, result);
        if (!fitting)
          return;
        mapping.map(operand, fitting);
      }
    rebuild(op, mapping, dimsOf(source));
  }

  /// What is broadcast to `result`, in a shape that is broadcast to `source` alike: a weight for rows that were split,
  /// or what is the same for all of the dimensions that were joined, or can be taken apart in the same way. Null if there is none.
  Value broadcastAlongSource(Value operand, Value source, Value result) {
    Dims from = dimsOf(source), to = dimsOf(result), own = dimsOf(operand);
    int64_t width = typeOf(source).getShape().back();
    if (own.size() < to.size() && typeOf(operand).hasStaticShape() && typeOf(operand).getNumElements() == width && isWeightExpression(operand) &&
        equal(ArrayRef(to).take_back(own.size()), own))
      return shown(operand, operand, symbols_.constant(width));
    bool joins = from.size() > to.size() && equal(ArrayRef(from).take_back(to.size() - 1), ArrayRef(to).drop_front());
    if (!joins || own.size() < to.size())
      return joins ? operand : Value();
    Dims joined(ArrayRef(from).drop_back(to.size() - 1));
    if (!(own.front() == to.front()))
      return {};
    if (Value apart = takenApart(operand, joined))
      return apart;
    // Matrices that were computed in one row of batches (relative positions of DeBERTa, by gathering): a view of them.
    llvm::append_range(joined, ArrayRef<SymExpr>(own).drop_front());
    return to.size() > 2 ? shown(operand, operand, joined) : Value();
  }

  /// One element, or a vector along a last dimension that the view keeps.
  bool isSameForAllRows(Value operand, Value source, Value result) {
    auto type = typeOf(operand);
    if (type.getRank() == 0 || (type.getRank() == 1 && type.getDimSize(0) == 1))
      return true;
    return type.getRank() == 1 && type.getShape().back() == typeOf(result).getShape().back() && keepsRows(source, result);
  }

  /// `op` on the mapped operands, with a result of `dims`, and behind it a reshape to what it was. Then the views in front of those.
  void rebuild(Operation *op, const IRMapping &mapping, ArrayRef<SymExpr> dims, llvm::function_ref<void(Operation *)> adapt = {}) {
    Value old = op->getResult(0);
    OpBuilder builder(op);
    SizeBuilder::Shape shape = sizes_->reshapeTo(builder, op->getLoc(), dims, dimsOf(old));
    if (!shape.value || llvm::any_of(dims, [](SymExpr dim) { return !dim.known(); }))
      return;
    IRMapping operands = mapping;
    Operation *moved = builder.clone(*op, operands);
    if (adapt)
      adapt(moved);
    moved->getResult(0).setType(ShapeAnalysis::typeOf({Dims(dims), {}}, typeOf(old).getElementType()));
    shapes_.infer(moved);
    auto view = llm::ReshapeOp::create(builder, op->getLoc(), old.getType(), moved->getResult(0), shape.value, shape.allowZero);
    replace(op, view);
    sink(moved);
    dropDetour(view);
  }

  SymContext symbols_;
  ShapeAnalysis shapes_;
  std::optional<SizeBuilder> sizes_;
};

} // namespace

void llmopt::sinkViews(func::FuncOp function) { Sinker(function).run(function); }
