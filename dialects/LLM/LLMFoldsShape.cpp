//===- LLMFoldsShape.cpp - folds of shape operations ----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An operation that moves nothing is its input, provided that the types are equal: a result type may know more.
//
//===----------------------------------------------------------------------===//
#include "VerifyShapes.h"

using namespace mlir;
using namespace llmopt::llm;

static std::optional<SmallVector<int64_t>> integersOf(Attribute constant) {
  auto dense = dyn_cast_or_null<DenseElementsAttr>(constant);
  if (!dense || !dense.getElementType().isInteger())
    return std::nullopt;
  SmallVector<int64_t> values;
  for (const APInt &value : dense.getValues<APInt>())
    values.push_back(value.getSExtValue());
  return values;
}

static bool allEqual(Attribute constant, int64_t number) {
  auto values = integersOf(constant);
  return values && llvm::all_of(*values, [&](int64_t value) { return value == number; });
}

template <typename OpTy>
static Value inputIf(OpTy op, bool unchanged) {
  return unchanged && op.getInput().getType() == op.getResult().getType() ? op.getInput() : Value();
}

OpFoldResult ShapeOp::fold(FoldAdaptor) {
  auto input = cast<RankedTensorType>(getInput().getType());
  if (!input.hasStaticShape())
    return {};
  auto type = RankedTensorType::get({input.getRank()}, IntegerType::get(getContext(), 64));
  return type == getType() ? OpFoldResult(DenseElementsAttr::get(type, input.getShape())) : OpFoldResult();
}

OpFoldResult ReshapeOp::fold(FoldAdaptor adaptor) {
  // A static shape equal to the input's says that nothing moves.
  if (Value input = inputIf(*this, cast<RankedTensorType>(getType()).hasStaticShape()))
    return input;
  // reshape (reshape x) = reshape x, unless an entry copies a dimension of the one in between.
  auto inner = getInput().getDefiningOp<ReshapeOp>();
  auto entries = integersOf(adaptor.getShape());
  if (!inner || !entries || (!getAllowzero() && llvm::is_contained(*entries, 0)))
    return {};
  getInputMutable().assign(inner.getInput());
  return getResult();
}

OpFoldResult TransposeOp::fold(FoldAdaptor) {
  ArrayRef<int64_t> permutation = getPermutation();
  if (Value input = inputIf(*this, llvm::equal(permutation, llvm::seq<int64_t>(0, int64_t(permutation.size())))))
    return input;
  // transpose (transpose x): result dimension i is inner dimension p[i], which is x's dimension q[p[i]].
  auto inner = getInput().getDefiningOp<TransposeOp>();
  if (!inner)
    return {};
  SmallVector<int64_t> composed;
  for (int64_t axis : permutation)
    composed.push_back(inner.getPermutation()[size_t(axis)]);
  setPermutation(composed);
  getInputMutable().assign(inner.getInput());
  return getResult();
}

OpFoldResult ExpandDimsOp::fold(FoldAdaptor) {
  if (Value input = inputIf(*this, getAxes().empty()))
    return input;
  auto inner = getInput().getDefiningOp<SqueezeOp>();
  bool inverse = inner && inner.getAxes() == getAxes() && inner.getInput().getType() == getType();
  return inverse ? inner.getInput() : Value();
}

OpFoldResult SqueezeOp::fold(FoldAdaptor) {
  if (Value input = inputIf(*this, getAxes().empty()))
    return input;
  auto inner = getInput().getDefiningOp<ExpandDimsOp>();
  bool inverse = inner && inner.getAxes() == getAxes() && inner.getInput().getType() == getType();
  return inverse ? inner.getInput() : Value();
}

OpFoldResult FlattenOp::fold(FoldAdaptor) { return inputIf(*this, rankOf(getInput()) == 2 && getAxis() == 1); }

OpFoldResult BroadcastOp::fold(FoldAdaptor adaptor) {
  bool isStatic = cast<RankedTensorType>(getType()).hasStaticShape();
  return inputIf(*this, isStatic || allEqual(adaptor.getShape(), 1));
}

OpFoldResult TileOp::fold(FoldAdaptor adaptor) { return inputIf(*this, allEqual(adaptor.getRepeats(), 1)); }

OpFoldResult PadOp::fold(FoldAdaptor adaptor) { return inputIf(*this, allEqual(adaptor.getPads(), 0)); }

OpFoldResult ConcatOp::fold(FoldAdaptor) {
  bool single = getInputs().size() == 1 && getInputs().front().getType() == getType();
  return single ? getInputs().front() : Value();
}

OpFoldResult SliceOp::fold(FoldAdaptor adaptor) {
  auto starts = integersOf(adaptor.getStarts()), ends = integersOf(adaptor.getEnds());
  if (!starts || !ends)
    return {};
  for (auto [i, axis] : llvm::enumerate(getAxes())) {
    int64_t dim = dimsOf(getInput())[size_t(axis)];
    // Exporters write "to the end" as the largest number of int32 or int64.
    bool toTheEnd = (*ends)[i] >= INT32_MAX || (!ShapedType::isDynamic(dim) && (*ends)[i] >= dim);
    if (getSteps()[i] != 1 || (*starts)[i] != 0 || !toTheEnd)
      return {};
  }
  return inputIf(*this, true);
}
