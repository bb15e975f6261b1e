//===- QuantizeMatrix.cpp - codes and scales of a matrix ------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// i8: the largest magnitude of a block becomes 127. i4: the element of the largest magnitude becomes -8, so all sixteen codes are used.
//
//===----------------------------------------------------------------------===//
#include "passes/WeightTypes/QuantizeMatrix.h"

#include "llmopt/dialects/LLM/LLM.h"

using namespace mlir;
using namespace llmopt;

namespace {

constexpr int64_t kBlock = 32;

class Quantizer {
public:
  Quantizer(OpBuilder &builder, Location loc) : b_(builder), loc_(loc) {}

  Value run(Value matrix, bool transposed, Type code) {
    Type f32 = b_.getF32Type();
    if (transposed)
      matrix = transpose(matrix);
    matrix = cast(matrix, f32);
    auto type = llvm::cast<RankedTensorType>(matrix.getType());
    int64_t inputs = type.getShape().back();
    blocks_ = {type.getNumElements() / inputs, inputs / kBlock, kBlock};
    each_ = {blocks_[0], blocks_[1], 1};
    Value rows = reshape(matrix, blocks_), high = extreme(llm::ReduceKind::max, rows), low = extreme(llm::ReduceKind::min, rows);
    Value negated = llm::NegOp::create(b_, loc_, low.getType(), low);
    bool four = code.isInteger(4);
    Value scale;
    if (four) {
      Value isHigh = llm::CompareOp::create(b_, loc_, RankedTensorType::get(each_, b_.getI1Type()), llm::ComparePredicate::gt, high, negated);
      scale = multiply(llm::SelectOp::create(b_, loc_, high.getType(), isHigh, high, low), number(-1.0 / 8));
    } else {
      scale = llm::DivOp::create(b_, loc_, high.getType(), llm::MaxOp::create(b_, loc_, high.getType(), high, negated), number(127));
    }
    scale = cast(cast(scale, b_.getF16Type()), f32);
    Value isZero = llm::CompareOp::create(b_, loc_, RankedTensorType::get(each_, b_.getI1Type()), llm::ComparePredicate::eq, scale, number(0));
    Value divisor = llm::SelectOp::create(b_, loc_, scale.getType(), isZero, number(1), scale);
    Value codes = llm::RoundOp::create(b_, loc_, rows.getType(), llm::DivOp::create(b_, loc_, rows.getType(), rows, divisor));
    codes = llm::MinOp::create(b_, loc_, rows.getType(), codes, number(four ? 7 : 127));
    codes = llm::MaxOp::create(b_, loc_, rows.getType(), codes, number(four ? -8 : -127));
    Value product = reshape(multiply(cast(cast(codes, code), f32), scale), type.getShape());
    return transposed ? transpose(product) : product;
  }

private:
  Value constant(DenseElementsAttr value) { return llm::ConstantOp::create(b_, loc_, value); }
  Value number(double value) { return constant(DenseElementsAttr::get(RankedTensorType::get({}, b_.getF32Type()), float(value))); }
  Value cast(Value value, Type element) {
    auto type = llvm::cast<RankedTensorType>(value.getType());
    return type.getElementType() == element ? value : Value(llm::CastOp::create(b_, loc_, type.clone(element), value));
  }
  Value multiply(Value value, Value factor) { return llm::MulOp::create(b_, loc_, value.getType(), value, factor); }
  Value reshape(Value value, ArrayRef<int64_t> shape) {
    Value sizes = constant(DenseElementsAttr::get(RankedTensorType::get({int64_t(shape.size())}, b_.getI64Type()), shape));
    return llm::ReshapeOp::create(b_, loc_, llvm::cast<RankedTensorType>(value.getType()).clone(shape), value, sizes);
  }
  Value transpose(Value value) {
    auto type = llvm::cast<RankedTensorType>(value.getType());
    int64_t shape[] = {type.getDimSize(1), type.getDimSize(0)};
    return llm::TransposeOp::create(b_, loc_, type.clone(shape), value, ArrayRef<int64_t>{1, 0});
  }
  Value extreme(llm::ReduceKind kind, Value rows) {
    return llm::ReduceOp::create(b_, loc_, RankedTensorType::get(each_, b_.getF32Type()), kind, rows, ArrayRef<int64_t>{2}, /*keepdims=*/true);
  }

  OpBuilder &b_;
  Location loc_;
  SmallVector<int64_t> blocks_, each_;
};

} // namespace

Value llmopt::quantizeMatrix(OpBuilder &builder, Value matrix, bool transposed, Type code) {
  auto type = cast<RankedTensorType>(matrix.getType());
  bool several = type.getRank() == 3 && !transposed;
  if ((type.getRank() != 2 && !several) || !type.hasStaticShape() || type.getNumElements() == 0 || !isa<FloatType>(type.getElementType()))
    return {};
  if (type.getDimSize(transposed ? 0 : type.getRank() - 1) % kBlock != 0)
    return {};
  return Quantizer(builder, matrix.getLoc()).run(matrix, transposed, code);
}
