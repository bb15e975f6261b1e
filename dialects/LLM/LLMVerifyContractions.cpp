//===- LLMVerifyContractions.cpp - verifiers of reductions, products, norms
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "VerifyShapes.h"

using namespace mlir;
using namespace llmopt::llm;

static StaticDims reducedDims(Value input, ArrayRef<int64_t> axes, bool keepdims) {
  StaticDims dims;
  for (auto [i, dim] : llvm::enumerate(dimsOf(input))) {
    bool reduced = llvm::is_contained(axes, int64_t(i));
    if (!reduced || keepdims)
      dims.push_back(reduced ? 1 : dim);
  }
  return dims;
}

LogicalResult ReduceOp::verify() {
  // reduce_c1: the axes rise and count in the input.
  if (failed(expectSortedAxes(*this, getAxes(), rankOf(getInput()))))
    return failure();
  // reduce_c2: the reduced dimensions are gone, or have size 1.
  if (failed(expectShape(*this, getResult(), reducedDims(getInput(), getAxes(), getKeepdims()))))
    return failure();
  // reduce_c3: the element type stays.
  return expectSameElements(*this, getInput(), getResult());
}

LogicalResult ArgReduceOp::verify() {
  // arg_reduce_c1: max or min.
  if (getKind() != ReduceKind::max && getKind() != ReduceKind::min)
    return emitOpError("finds the place of a max or min, not of a ") << stringifyReduceKind(getKind());
  // arg_reduce_c2: the axis exists.
  int64_t axis = int64_t(getAxis());
  if (failed(expectAxis(*this, axis, rankOf(getInput()))))
    return failure();
  // arg_reduce_c3: the reduced dimension is gone, or has size 1.
  return expectShape(*this, getResult(), reducedDims(getInput(), axis, getKeepdims()));
}

LogicalResult MatMulOp::verify() {
  StaticDims lhs(dimsOf(getLhs())), rhs(dimsOf(getRhs()));
  // matmul_c1: no scalars.
  if (lhs.empty() || rhs.empty())
    return emitOpError("cannot multiply scalars");
  bool row = lhs.size() == 1, column = rhs.size() == 1;
  if (row)
    lhs.insert(lhs.begin(), 1);
  if (column)
    rhs.push_back(1);
  // matmul_c2: the summed dimension is as long on both sides.
  if (!agree(lhs.back(), rhs.end()[-2]))
    return emitOpError("sums over ") << lhs.back() << " elements on the left and " << rhs.end()[-2] << " on the right";
  // matmul_c3: the leading dimensions broadcast.
  std::optional<StaticDims> dims = broadcastDims(ArrayRef(lhs).drop_back(2), ArrayRef(rhs).drop_back(2));
  if (!dims)
    return emitOpError("has leading dimensions that do not broadcast");
  if (!row)
    dims->push_back(lhs.end()[-2]);
  if (!column)
    dims->push_back(rhs.back());
  // matmul_c4: the result has the product's shape.
  if (failed(expectShape(*this, getResult(), *dims)))
    return failure();
  // matmul_c5: one element type; integers may give i32, e4m3 gives f32.
  if (isa<Float8E4M3FNType>(elementOf(getLhs())) && elementOf(getRhs()) == elementOf(getLhs()))
    return elementOf(getResult()).isF32() ? success() : emitOpError("multiplies f8E4M3FN to f32");
  if (!elementOf(getLhs()).isInteger())
    return failed(expectSameElements(*this, getLhs(), getRhs())) ? failure() : expectSameElements(*this, getLhs(), getResult());
  if (!elementOf(getRhs()).isInteger() || (!elementOf(getResult()).isInteger(32) && elementOf(getResult()) != elementOf(getLhs())))
    return emitOpError("multiplies integers to i32 or their own type");
  return success();
}

LogicalResult ConvOp::verify() {
  size_t spatial = getStrides().size();
  // conv_c1: one or two spatial dimensions, on input, weight and all attributes.
  if (spatial < 1 || spatial > 2 || rankOf(getInput()) != int64_t(spatial) + 2 || rankOf(getWeight()) != int64_t(spatial) + 2 ||
      getPads().size() != 2 * spatial || getDilations().size() != spatial)
    return emitOpError("needs one or two spatial dimensions, the same on input, weight, strides, pads and dilations");
  // conv_c2: steps forward, and channels that the groups divide.
  if (llvm::any_of(getStrides(), [](int64_t s) { return s < 1; }) || llvm::any_of(getDilations(), [](int64_t d) { return d < 1; }) ||
      int64_t(getGroups()) < 1)
    return emitOpError("needs strides, dilations and groups of at least 1");
  int64_t channels = dimsOf(getInput())[1], perGroup = dimsOf(getWeight())[1], outputs = dimsOf(getWeight())[0];
  if (!ShapedType::isDynamic(perGroup) && !agree(channels, perGroup * int64_t(getGroups())))
    return emitOpError("has ") << channels << " channels for " << getGroups() << " groups of " << perGroup;
  // conv_c3: one bias per output channel.
  if (getBias() && !agree(dimsOf(getBias()), ArrayRef<int64_t>(outputs)))
    return emitOpError("has a bias ") << printDims(dimsOf(getBias())) << " for " << outputs << " channels";
  // conv_c4: batch and output channels of the result.
  StaticDims dims(spatial + 2, ShapedType::kDynamic);
  dims[0] = dimsOf(getInput())[0];
  dims[1] = outputs;
  if (failed(expectShape(*this, getResult(), dims)))
    return failure();
  return expectSameElements(*this, getInput(), getResult());
}

LogicalResult WindowsOp::verify() {
  size_t spatial = getKernel().size();
  // windows_c1: one or two spatial dimensions, in the input and in all attributes.
  if (spatial < 1 || spatial > 2 || rankOf(getInput()) != int64_t(spatial) + 2 || getStrides().size() != spatial || getPads().size() != 2 * spatial ||
      getDilations().size() != spatial)
    return emitOpError("needs one or two spatial dimensions, the same on input, kernel, strides, pads and dilations");
  // windows_c2: steps forward over something, and nothing taken away.
  auto below = [](ArrayRef<int64_t> numbers, int64_t least) { return llvm::any_of(numbers, [=](int64_t number) { return number < least; }); };
  if (below(getKernel(), 1) || below(getStrides(), 1) || below(getDilations(), 1) || below(getPads(), 0))
    return emitOpError("needs kernel, strides and dilations of at least 1, and pads of at least 0");
  // windows_c3: the batch of the input, and rows of all channels at all positions.
  StaticDims dims(spatial + 2, ShapedType::kDynamic);
  dims.front() = dimsOf(getInput()).front();
  dims.back() = dimsOf(getInput()).back();
  for (int64_t size : getKernel())
    if (!ShapedType::isDynamic(dims.back()) && llvm::MulOverflow(dims.back(), size, dims.back()))
      return emitOpError("has rows that are too long");
  if (failed(expectShape(*this, getResult(), dims)))
    return failure();
  return expectSameElements(*this, getInput(), getResult());
}

LogicalResult LinearOp::verify() {
  // linear_c1: the weight is a matrix, the input no scalar.
  if (rankOf(getWeight()) != 2 || rankOf(getInput()) == 0)
    return emitOpError("needs a weight of two dimensions and an input of at least one");
  int64_t inner = dimsOf(getWeight())[getTransposed() ? 0 : 1], outer = dimsOf(getWeight())[getTransposed() ? 1 : 0];
  // linear_c2: the weight takes rows as long as the input's.
  if (!agree(dimsOf(getInput()).back(), inner))
    return emitOpError("has input rows of ") << dimsOf(getInput()).back() << " elements, the weight takes " << inner;
  // linear_c3: one bias per result column.
  if (getBias() && !agree(dimsOf(getBias()), ArrayRef<int64_t>(outer)))
    return emitOpError("has a bias ") << printDims(dimsOf(getBias())) << " for " << outer << " columns";
  // linear_c4: the result has the input's leading dimensions and element type.
  StaticDims dims(dimsOf(getInput()));
  dims.back() = outer;
  if (failed(expectShape(*this, getResult(), dims)))
    return failure();
  return expectSameElements(*this, getInput(), getResult());
}

LogicalResult EmbeddingOp::verify() {
  // embedding_c1: the table is a matrix.
  if (rankOf(getTable()) != 2)
    return emitOpError("needs a table of two dimensions");
  // embedding_c2: one row per id.
  StaticDims dims(dimsOf(getIds()));
  dims.push_back(dimsOf(getTable())[1]);
  return expectShape(*this, getResult(), dims);
}

/// Scale and bias of a normalization are as long as the rows.
static LogicalResult expectRowVector(Operation *op, Value vector, Value input, StringRef what) {
  if (!vector || agree(dimsOf(vector), dimsOf(input).take_back(1)))
    return success();
  return op->emitOpError("has a ") << what << " of shape " << printDims(dimsOf(vector)) << ", the last input dimension is "
                                   << printDims(dimsOf(input).take_back(1));
}

LogicalResult LayerNormOp::verify() {
  // layer_norm_c1: there are rows.
  if (rankOf(getInput()) == 0)
    return emitOpError("needs an input of at least one dimension");
  // layer_norm_c2: scale and bias are as long as the rows.
  if (failed(expectRowVector(*this, getScale(), getInput(), "scale")) || failed(expectRowVector(*this, getBias(), getInput(), "bias")))
    return failure();
  // layer_norm_c3: the shape stays.
  return expectShape(*this, getResult(), dimsOf(getInput()));
}

LogicalResult RMSNormOp::verify() {
  // rms_norm_c1: there are rows.
  if (rankOf(getInput()) == 0)
    return emitOpError("needs an input of at least one dimension");
  // rms_norm_c2: the scale is as long as the rows.
  if (failed(expectRowVector(*this, getScale(), getInput(), "scale")))
    return failure();
  // rms_norm_c3: the shape stays.
  return expectShape(*this, getResult(), dimsOf(getInput()));
}

// softmax_c1: the axis exists.
LogicalResult SoftmaxOp::verify() { return expectAxis(*this, int64_t(getAxis()), rankOf(getInput())); }
