//===- LLMVerifyShapeOps.cpp - verifiers of shape and indexing operations -===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "VerifyShapes.h"

#include "llvm/ADT/SmallSet.h"

using namespace mlir;
using namespace llmopt::llm;

/// Fails unless a vector of sizes has `length` entries.
static LogicalResult expectLength(Operation *op, Value vector, int64_t length, StringRef what) {
  if (agree(dimsOf(vector), ArrayRef<int64_t>(length)))
    return success();
  return op->emitOpError("has ") << what << " of shape " << printDims(dimsOf(vector)) << ", " << length << " entries are needed";
}

LogicalResult ReshapeOp::verify() {
  auto input = cast<RankedTensorType>(getInput().getType()), result = cast<RankedTensorType>(getType());
  // reshape_c1: the shape has one entry per result dimension.
  if (failed(expectLength(*this, getShape(), result.getRank(), "a shape")))
    return failure();
  // reshape_c2: the number of elements stays.
  if (input.hasStaticShape() && result.hasStaticShape() && input.getNumElements() != result.getNumElements())
    return emitOpError("turns ") << input.getNumElements() << " elements into " << result.getNumElements();
  // reshape_c3: the element type stays.
  return expectSameElements(*this, getInput(), getResult());
}

LogicalResult ExpandDimsOp::verify() {
  // expand_dims_c1: the axes rise and count in the result.
  if (failed(expectSortedAxes(*this, getAxes(), rankOf(getInput()) + int64_t(getAxes().size()))))
    return failure();
  // expand_dims_c2: the result is the input with dimensions of size 1 put in.
  StaticDims dims(dimsOf(getInput()));
  for (int64_t axis : getAxes())
    dims.insert(dims.begin() + axis, 1);
  if (failed(expectShape(*this, getResult(), dims)))
    return failure();
  return expectSameElements(*this, getInput(), getResult());
}

LogicalResult SqueezeOp::verify() {
  // squeeze_c1: the axes rise and count in the input.
  if (failed(expectSortedAxes(*this, getAxes(), rankOf(getInput()))))
    return failure();
  StaticDims dims;
  for (auto [i, dim] : llvm::enumerate(dimsOf(getInput()))) {
    bool removed = llvm::is_contained(getAxes(), int64_t(i));
    // squeeze_c2: what is removed has size 1.
    if (removed && !agree(dim, 1))
      return emitOpError("removes dimension ") << i << " of size " << dim;
    if (!removed)
      dims.push_back(dim);
  }
  // squeeze_c3: the result has the other dimensions.
  if (failed(expectShape(*this, getResult(), dims)))
    return failure();
  return expectSameElements(*this, getInput(), getResult());
}

LogicalResult FlattenOp::verify() {
  // flatten_c1: 0 <= axis <= rank.
  int64_t axis = int64_t(getAxis());
  if (axis < 0 || axis > rankOf(getInput()))
    return emitOpError("has axis ") << axis << ", the tensor has " << rankOf(getInput()) << " dimensions";
  // flatten_c2: the result is a matrix of the joined dimensions.
  auto joined = [](ArrayRef<int64_t> dims) {
    int64_t product = 1;
    for (int64_t dim : dims)
      product = ShapedType::isDynamic(dim) || ShapedType::isDynamic(product) ? ShapedType::kDynamic : product * dim;
    return product;
  };
  ArrayRef<int64_t> dims = dimsOf(getInput());
  if (failed(expectShape(*this, getResult(), {joined(dims.take_front(size_t(axis))), joined(dims.drop_front(size_t(axis)))})))
    return failure();
  return expectSameElements(*this, getInput(), getResult());
}

LogicalResult TransposeOp::verify() {
  // transpose_c1: a permutation of the input's dimensions.
  StaticDims sorted(getPermutation()), dims;
  llvm::sort(sorted);
  for (int64_t i = 0; i < rankOf(getInput()); ++i)
    if (int64_t(sorted.size()) != rankOf(getInput()) || sorted[size_t(i)] != i)
      return emitOpError("has no permutation of ") << rankOf(getInput()) << " dimensions";
  // transpose_c2: the result has the permuted dimensions.
  for (int64_t axis : getPermutation())
    dims.push_back(dimsOf(getInput())[size_t(axis)]);
  if (failed(expectShape(*this, getResult(), dims)))
    return failure();
  return expectSameElements(*this, getInput(), getResult());
}

LogicalResult BroadcastOp::verify() {
  // broadcast_c1: the result has as many dimensions as the longer of input and shape.
  int64_t length = dimsOf(getShape())[0], rank = rankOf(getResult());
  bool fits = ShapedType::isDynamic(length) ? rank >= rankOf(getInput()) : rank == std::max(length, rankOf(getInput()));
  // broadcast_c2: the input's dimensions other than 1 stay.
  for (int64_t i = 1; fits && i <= rankOf(getInput()); ++i) {
    int64_t dim = dimsOf(getInput()).end()[-i];
    fits = dim == 1 || agree(dim, dimsOf(getResult()).end()[-i]);
  }
  if (!fits)
    return emitOpError("cannot give shape ") << printDims(dimsOf(getResult())) << " from " << printDims(dimsOf(getInput()));
  return expectSameElements(*this, getInput(), getResult());
}

LogicalResult TileOp::verify() {
  // tile_c1: one count per dimension.
  if (failed(expectLength(*this, getRepeats(), rankOf(getInput()), "repeats")))
    return failure();
  // tile_c2: the number of dimensions stays.
  if (failed(expectShape(*this, getResult(), StaticDims(size_t(rankOf(getInput())), ShapedType::kDynamic))))
    return failure();
  return expectSameElements(*this, getInput(), getResult());
}

LogicalResult SliceOp::verify() {
  llvm::SmallSet<int64_t, 4> seen;
  StaticDims dims(dimsOf(getInput()));
  for (int64_t axis : getAxes()) {
    // slice_c1: the axes are distinct and count in the input.
    if (failed(expectAxis(*this, axis, rankOf(getInput()))))
      return failure();
    if (!seen.insert(axis).second)
      return emitOpError("names axis ") << axis << " twice";
    dims[size_t(axis)] = ShapedType::kDynamic;
  }
  // slice_c2: one start, end and step per axis.
  int64_t count = int64_t(getAxes().size());
  if (failed(expectLength(*this, getStarts(), count, "starts")) || failed(expectLength(*this, getEnds(), count, "ends")))
    return failure();
  if (int64_t(getSteps().size()) != count)
    return emitOpError("has ") << getSteps().size() << " steps for " << count << " axes";
  // slice_c3: no step is 0.
  if (llvm::is_contained(getSteps(), 0))
    return emitOpError("has a step of 0");
  // slice_c4: the other dimensions stay.
  if (failed(expectShape(*this, getResult(), dims)))
    return failure();
  return expectSameElements(*this, getInput(), getResult());
}

LogicalResult ConcatOp::verify() {
  // concat_c1: there is something to join, along a dimension that exists.
  if (getInputs().empty())
    return emitOpError("needs an input");
  int64_t axis = int64_t(getAxis());
  if (failed(expectAxis(*this, axis, rankOf(getInputs().front()))))
    return failure();
  StaticDims dims(dimsOf(getInputs().front()));
  int64_t sum = 0;
  for (Value input : getInputs()) {
    StaticDims other(dimsOf(input));
    // concat_c2: the inputs agree in all other dimensions and in the element type.
    if (rankOf(input) != int64_t(dims.size()) || failed(expectSameElements(*this, input, getResult())))
      return emitOpError("joins ") << printDims(dims) << " and " << printDims(other);
    int64_t size = other[size_t(axis)];
    sum = ShapedType::isDynamic(size) || ShapedType::isDynamic(sum) ? ShapedType::kDynamic : sum + size;
    other[size_t(axis)] = dims[size_t(axis)];
    if (!agree(dims, other))
      return emitOpError("joins ") << printDims(dims) << " and " << printDims(dimsOf(input));
  }
  // concat_c3: the result is as long as all together.
  dims[size_t(axis)] = sum;
  return expectShape(*this, getResult(), dims);
}

LogicalResult PadOp::verify() {
  int64_t rank = rankOf(getInput());
  // pad_c1: two counts per dimension.
  if (failed(expectLength(*this, getPads(), 2 * rank, "pads")))
    return failure();
  // pad_c2: the value is a scalar of the input's element type.
  if (rankOf(getValue()) != 0)
    return emitOpError("needs a scalar to pad with");
  if (failed(expectSameElements(*this, getInput(), getValue())) || failed(expectSameElements(*this, getInput(), getResult())))
    return failure();
  // pad_c3: the number of dimensions stays.
  return expectShape(*this, getResult(), StaticDims(size_t(rank), ShapedType::kDynamic));
}

LogicalResult RangeOp::verify() {
  // range_c1: scalars of the result's element type.
  for (Value value : {getStart(), getLimit(), getDelta()})
    if (rankOf(value) != 0 || elementOf(value) != elementOf(getResult()))
      return emitOpError("needs scalars of the result's element type");
  return success();
}

//===----------------------------------------------------------------------===//
// Indices
//===----------------------------------------------------------------------===//

LogicalResult GatherOp::verify() {
  // gather_c1: the axis exists.
  int64_t axis = int64_t(getAxis());
  if (failed(expectAxis(*this, axis, rankOf(getInput()))))
    return failure();
  // gather_c2: the axis gives way to the dimensions of the indices.
  StaticDims dims(dimsOf(getInput()).take_front(size_t(axis)));
  dims.append(dimsOf(getIndices()).begin(), dimsOf(getIndices()).end());
  dims.append(dimsOf(getInput()).begin() + axis + 1, dimsOf(getInput()).end());
  if (failed(expectShape(*this, getResult(), dims)))
    return failure();
  return expectSameElements(*this, getInput(), getResult());
}

LogicalResult GatherElementsOp::verify() {
  // gather_elements_c1: input and indices have as many dimensions, the axis among them.
  if (failed(expectAxis(*this, int64_t(getAxis()), rankOf(getInput()))))
    return failure();
  if (rankOf(getInput()) != rankOf(getIndices()))
    return emitOpError("has indices with ") << rankOf(getIndices()) << " dimensions for " << rankOf(getInput());
  // gather_elements_c2: the result has the shape of the indices.
  if (failed(expectShape(*this, getResult(), dimsOf(getIndices()))))
    return failure();
  return expectSameElements(*this, getInput(), getResult());
}

LogicalResult GatherNDOp::verify() {
  ArrayRef<int64_t> indices = dimsOf(getIndices()), input = dimsOf(getInput());
  int64_t batch = int64_t(getBatchDims());
  // gather_nd_c1: the index tuples lie beyond the batch dimensions.
  if (batch < 0 || batch >= int64_t(indices.size()) || batch > int64_t(input.size()))
    return emitOpError("has ") << batch << " batch dimensions, more than the operands bear";
  int64_t length = indices.back();
  if (ShapedType::isDynamic(length))
    return success();
  // gather_nd_c2: a tuple is no longer than the dimensions left.
  if (batch + length > int64_t(input.size()))
    return emitOpError("indexes ") << length << " dimensions of " << printDims(input);
  StaticDims dims(indices.drop_back());
  dims.append(input.begin() + batch + length, input.end());
  // gather_nd_c3: the result is the tuples' dimensions and those of a slice.
  if (failed(expectShape(*this, getResult(), dims)))
    return failure();
  return expectSameElements(*this, getInput(), getResult());
}

LogicalResult ScatterElementsOp::verify() {
  // scatter_elements_c1: input, indices and updates have as many dimensions, the axis among them.
  if (failed(expectAxis(*this, int64_t(getAxis()), rankOf(getInput()))))
    return failure();
  if (rankOf(getIndices()) != rankOf(getInput()) || !agree(dimsOf(getIndices()), dimsOf(getUpdates())))
    return emitOpError("has indices ") << printDims(dimsOf(getIndices())) << " and updates " << printDims(dimsOf(getUpdates()));
  // scatter_elements_c2: the result is an updated input.
  if (failed(expectShape(*this, getResult(), dimsOf(getInput()))) || failed(expectSameElements(*this, getInput(), getUpdates())))
    return failure();
  return expectSameElements(*this, getInput(), getResult());
}

LogicalResult ScatterNDOp::verify() {
  ArrayRef<int64_t> indices = dimsOf(getIndices()), input = dimsOf(getInput());
  // scatter_nd_c1: there are index tuples, no longer than the input has dimensions.
  if (indices.empty() || (!ShapedType::isDynamic(indices.back()) && indices.back() > int64_t(input.size())))
    return emitOpError("cannot index ") << printDims(input) << " with " << printDims(indices);
  // scatter_nd_c2: one slice of updates per tuple.
  if (!ShapedType::isDynamic(indices.back())) {
    StaticDims dims(indices.drop_back());
    dims.append(input.begin() + indices.back(), input.end());
    if (!agree(dims, dimsOf(getUpdates())))
      return emitOpError("has updates ") << printDims(dimsOf(getUpdates())) << " where the indices ask for " << printDims(dims);
  }
  // scatter_nd_c3: the result is an updated input.
  if (failed(expectShape(*this, getResult(), input)) || failed(expectSameElements(*this, getInput(), getUpdates())))
    return failure();
  return expectSameElements(*this, getInput(), getResult());
}

LogicalResult CumSumOp::verify() {
  // cumsum_c1: the axis exists, and shape and element type stay.
  if (failed(expectAxis(*this, int64_t(getAxis()), rankOf(getInput()))) || failed(expectShape(*this, getResult(), dimsOf(getInput()))))
    return failure();
  return expectSameElements(*this, getInput(), getResult());
}

LogicalResult TopKOp::verify() {
  // topk_c1: the axis exists and k is one number.
  int64_t axis = int64_t(getAxis());
  if (failed(expectAxis(*this, axis, rankOf(getInput()))) || failed(expectLength(*this, getK(), 1, "k")))
    return failure();
  // topk_c2: both results have the input's shape but for the axis.
  StaticDims dims(dimsOf(getInput()));
  dims[size_t(axis)] = ShapedType::kDynamic;
  if (failed(expectShape(*this, getValues(), dims)) || failed(expectShape(*this, getIndices(), dimsOf(getValues()))))
    return failure();
  return expectSameElements(*this, getInput(), getValues());
}
