//===- QuantizedWeight.cpp - which weights are codes and scales -----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Analysis/QuantizedWeight.h"

#include "llmopt/dialects/LLM/ElementTypes.h"
#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/Projection.h"

#include "llvm/ADT/STLExtras.h"

#include <numeric>

using namespace mlir;
using namespace llmopt;

namespace {

RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

/// A conversion that changes no number.
bool isWidening(llm::CastOp op) {
  Type from = typeOf(op.getInput()).getElementType(), to = typeOf(op).getElementType();
  return isa<IntegerType>(from) || (isa<FloatType>(to) && from.getIntOrFloatBitWidth() <= to.getIntOrFloatBitWidth());
}

/// Behind conversions and views: the same elements in the same order.
Value behindViews(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    auto castOp = dyn_cast<llm::CastOp>(op);
    if (castOp ? !isWidening(castOp) : !llm::isView(op))
      break;
    value = op->getOperand(0);
  }
  return value;
}
Value behindCasts(Value value) {
  while (auto cast = value.getDefiningOp<llm::CastOp>())
    value = cast.getInput();
  return value;
}

DenseElementsAttr elementsOf(Value value) {
  auto constant = value.getDefiningOp<llm::ConstantOp>();
  return constant ? dyn_cast<DenseElementsAttr>(constant.getValue()) : DenseElementsAttr();
}

/// Bits that codes need: 4 if all of them are masked so, or of such a type. 0: kernels do not take them.
int codeBits(Value value) {
  int width = int(typeOf(value).getElementTypeBitWidth());
  if (width == 1 || width > 8)
    return 0;
  if (width <= 4)
    return 4;
  Operation *op = value.getDefiningOp();
  if (llm::isView(op) || isa<llm::CastOp, llm::SliceOp, llm::TransposeOp>(op))
    return codeBits(op->getOperand(0)) == 4 ? 4 : 8;
  if (isa<llm::ConcatOp>(op))
    return llvm::all_of(op->getOperands(), [](Value operand) { return codeBits(operand) == 4; }) ? 4 : 8;
  if (isa<llm::AndOp>(op))
    for (Value operand : op->getOperands())
      if (DenseElementsAttr mask = elementsOf(operand); mask && mask.isSplat() && mask.getSplatValue<APInt>().ult(16))
        return 4;
  return 8;
}

/// Zero points are whole numbers: integers made floats, or floats that happen to be whole.
bool isWhole(Value value) {
  if (isa<IntegerType>(typeOf(behindViews(value)).getElementType()))
    return true;
  DenseElementsAttr elements = elementsOf(value);
  return elements && llvm::all_of(elements.getValues<APFloat>(), [](const APFloat &number) { return number.isFinite() && number.isInteger(); });
}

int wholeNumber(DenseElementsAttr splat) {
  auto type = dyn_cast<IntegerType>(splat.getElementType());
  if (!type)
    return int(splat.getSplatValue<APFloat>().convertToDouble());
  APInt value = splat.getSplatValue<APInt>();
  return int(type.isUnsigned() ? int64_t(value.getZExtValue()) : value.getSExtValue());
}

/// The largest part that kernels can take of what may share a parameter; 0: everything may. Nothing where it is too small.
std::optional<int64_t> allowedBlock(int64_t block) {
  if (block % 64 != 0)
    block = std::gcd(block, int64_t(64));
  return block == 0 || block >= 16 ? std::optional(block) : std::nullopt;
}

/// Where neighbouring elements of a list differ: the greatest common divisor of those places.
template <typename Differ>
int64_t blockOf(int64_t count, Differ differ) {
  int64_t block = 0;
  for (int64_t k = 1; k < count; ++k)
    if (differ(k))
      block = std::gcd(block, k);
  return block;
}

/// Inputs that share an element of a parameter that is broadcast to `shape`, the shape of the codes or of their blocks.
std::optional<int64_t> sharedInputs(Value parameter, ArrayRef<int64_t> shape, const QuantizedWeight &weight) {
  auto type = typeOf(parameter);
  size_t inputDim = weight.outputsFirst ? 1 : 0;
  if (type.getNumElements() == 1)
    return 0;
  SmallVector<int64_t> own(shape.size() - size_t(type.getRank()), 1);
  llvm::append_range(own, type.getShape());
  if (shape.size() == 3) { // [outputs of all matrices, blocks, inputs of a block]
    bool inBlocks = weight.outputsFirst && shape[0] == weight.rows() && own[2] == 1;
    return !inBlocks ? std::nullopt : own[1] == 1 ? std::optional<int64_t>(0) : allowedBlock(shape[2]);
  }
  if (shape.size() != 2)
    return std::nullopt;
  if (own[inputDim] == 1)
    return 0;
  if (auto gather = behindCasts(parameter).getDefiningOp<llm::GatherOp>()) {
    DenseElementsAttr indices = elementsOf(gather.getIndices());
    if (!indices || size_t(gather.getAxis()) != inputDim || indices.getType().getRank() != 1 || indices.getNumElements() != own[inputDim])
      return std::nullopt;
    SmallVector<APInt> at(indices.getValues<APInt>());
    return allowedBlock(blockOf(own[inputDim], [&](int64_t k) { return at[size_t(k)] != at[size_t(k - 1)]; }));
  }
  DenseElementsAttr elements = elementsOf(parameter);
  if (!elements)
    return std::nullopt;
  if (elements.isSplat())
    return 0;
  ArrayRef<char> raw = elements.getRawData();
  int64_t bytes = int64_t(raw.size()) / elements.getNumElements(), inputStride = inputDim == 1 ? 1 : own[1], otherStride = inputDim == 1 ? own[1] : 1;
  return allowedBlock(blockOf(own[inputDim], [&](int64_t k) {
    for (int64_t n = 0; n < own[1 - inputDim]; ++n) {
      const char *here = raw.data() + (n * otherStride + k * inputStride) * bytes;
      if (!std::equal(here, here + bytes, here - inputStride * bytes))
        return true;
    }
    return false;
  }));
}

/// Walks from the matrix to the product with the scales; sets the product type, the orientation and the width of rows.
Value findProduct(Value value, QuantizedWeight &found) {
  bool cut = false;
  while (Operation *op = value.getDefiningOp()) {
    if (isa<llm::CastOp>(op)) {
      Type element = typeOf(value).getElementType();
      if (!isa<FloatType>(typeOf(op->getOperand(0)).getElementType()))
        return {};
      if (element.isF16() || element.isBF16())
        found.format.product = element.isF16() ? DType::F16 : DType::BF16;
    } else if (auto transpose = dyn_cast<llm::TransposeOp>(op); transpose && !cut && typeOf(value).getRank() == 2) {
      found.outputsFirst = transpose.getPermutation()[0] == 1 ? !found.outputsFirst : found.outputsFirst;
      found.width = typeOf(transpose.getInput()).getDimSize(1);
    } else if (auto slice = dyn_cast<llm::SliceOp>(op); slice && !cut && typeOf(value).getRank() == 2 && found.outputsFirst) {
      // Inputs beyond K, which fill the last block up.
      DenseElementsAttr starts = elementsOf(slice.getStarts());
      if (slice.getAxes() != ArrayRef<int64_t>{1} || slice.getSteps() != ArrayRef<int64_t>{1} || !starts || !starts.getSplatValue<APInt>().isZero())
        return {};
      found.width = typeOf(slice.getInput()).getDimSize(1);
      cut = true;
    } else if (llm::isView(op)) {
      cut = true;
    } else {
      break;
    }
    value = op->getOperand(0);
  }
  return value;
}

} // namespace

std::string QuantizedWeight::Format::str() const {
  return std::to_string(bits) + " bits, " + (block ? "blocks of " + std::to_string(block) : "a scale a row") + ", scales of " + std::string(dtypeName(scale)) +
         (zeros ? ", zero points" : "");
}

std::optional<QuantizedWeight> llmopt::findQuantizedWeight(Value weight, bool outputsFirst) {
  auto type = dyn_cast<RankedTensorType>(weight.getType());
  bool several = type && type.getRank() == 3 && outputsFirst;
  if (!type || !type.hasStaticShape() || (type.getRank() != 2 && !several) || !llm::isWeightExpression(weight))
    return std::nullopt;
  ArrayRef<int64_t> matrix = type.getShape().take_back(2);
  QuantizedWeight found;
  found.matrices = several ? type.getDimSize(0) : 1;
  found.outputs = matrix[outputsFirst ? 0 : 1];
  found.inputs = matrix[outputsFirst ? 1 : 0];
  found.outputsFirst = outputsFirst;
  found.width = matrix[1];
  Value value = findProduct(weight, found);
  auto product = value ? value.getDefiningOp<llm::MulOp>() : llm::MulOp();
  if (!product)
    return std::nullopt;
  for (auto [numbers, scales] : {std::pair(product.getLhs(), product.getRhs()), std::pair(product.getRhs(), product.getLhs())}) {
    QuantizedWeight result = found;
    Value difference = behindViews(numbers), codes = difference;
    if (auto sub = difference.getDefiningOp<llm::SubOp>()) {
      codes = behindViews(sub.getLhs());
      result.zeros = sub.getRhs();
      result.shifted.assign(typeOf(sub).getShape().begin(), typeOf(sub).getShape().end());
    }
    auto element = dyn_cast<IntegerType>(typeOf(codes).getElementType());
    int64_t rows = result.outputsFirst ? result.rows() : result.inputs;
    if (!element || typeOf(codes).getNumElements() != rows * result.width || typeOf(numbers).getShape() != typeOf(product).getShape())
      continue;
    result.codes = codes;
    result.scales = scales;
    result.scaled.assign(typeOf(product).getShape().begin(), typeOf(product).getShape().end());
    result.format.bits = codeBits(codes);
    result.offset = !element.isUnsigned() ? 1 << (result.format.bits - 1) : 0;
    std::optional<int64_t> block = sharedInputs(scales, result.scaled, result), zeroBlock = 0;
    result.format.zero = result.offset;
    if (result.zeros) {
      zeroBlock = isWhole(result.zeros) ? sharedInputs(result.zeros, result.shifted, result) : std::nullopt;
      DenseElementsAttr constant = elementsOf(result.zeros);
      result.format.zeros = !constant || !constant.isSplat();
      if (!result.format.zeros)
        result.format.zero += wholeNumber(constant);
    }
    int largest = (1 << result.format.bits) - 1;
    if (result.format.bits == 0 || !block || !zeroBlock || result.format.zero < 0 || result.format.zero > largest)
      continue;
    result.format.block = std::gcd(*block, *zeroBlock);
    DType scaleType = *llm::dtypeOf(typeOf(behindViews(scales)).getElementType());
    result.format.scale = scaleType == DType::BF16 || scaleType == DType::F16 ? scaleType : DType::F32;
    return result;
  }
  return std::nullopt;
}

std::optional<QuantizedWeight> llmopt::quantizedAs(exec::KernelOp kernel) {
  std::optional<QuantizedWeight> first;
  for (Operation &op : kernel.getBody().front()) {
    Projection linear = Projection::ofAny(&op);
    if (!linear)
      continue;
    auto argument = dyn_cast<BlockArgument>(linear.getWeight());
    if (linear.isBytes() || !argument)
      return std::nullopt;
    std::optional<QuantizedWeight> weight = findQuantizedWeight(kernel.getInputs()[argument.getArgNumber()], !linear.getTransposed());
    if (!weight || (first && first->format != weight->format))
      return std::nullopt;
    first = weight;
  }
  return first;
}
