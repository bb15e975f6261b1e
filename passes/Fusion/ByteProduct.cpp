//===- ByteProduct.cpp - quantized operands of a product -------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "passes/Fusion/ByteProduct.h"

#include "dialects/LLM/OpEmitter.h"

#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Sequence.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

static bool isByte(Type type) { return type.isUnsignedInteger(8) || type.isSignlessInteger(8); }

/// The bytes under a cast.
static Value castBytes(Value number) {
  auto cast = number.getDefiningOp<llm::CastOp>();
  return cast && isByte(typeOf(cast.getInput()).getElementType()) ? cast.getInput() : Value();
}

Value fusion::takeOffMoves(Value value, SmallVectorImpl<Operation *> &moves) {
  for (Operation *op = value.getDefiningOp(); op && (llm::isView(op) || isa<llm::TransposeOp>(op)); op = value.getDefiningOp()) {
    moves.push_back(op);
    value = op->getOperand(0);
  }
  return value;
}

std::optional<Codes> fusion::matchCodes(Value number) {
  Codes codes;
  number = takeOffMoves(number, codes.moves);
  if (auto difference = number.getDefiningOp<llm::SubOp>()) {
    codes.zero = difference.getRhs();
    codes.bytes = castBytes(difference.getLhs());
    if (!codes.bytes || !typeOf(number).getElementType().isInteger(32) || typeOf(codes.bytes).getShape() != typeOf(number).getShape())
      return std::nullopt;
  } else {
    codes.bytes = castBytes(number);
  }
  return codes.bytes ? std::optional(codes) : std::nullopt;
}

Value fusion::movedBytes(PatternRewriter &rewriter, const Codes &codes) {
  Value bytes = codes.bytes;
  for (Operation *move : llvm::reverse(codes.moves)) {
    IRMapping mapping;
    mapping.map(move->getOperand(0), bytes);
    Operation *copy = rewriter.clone(*move, mapping);
    auto type = RankedTensorType::get(typeOf(move->getResult(0)).getShape(), typeOf(bytes).getElementType());
    rewriter.modifyOpInPlace(copy, [&] { copy->getResult(0).setType(type); });
    bytes = copy->getResult(0);
  }
  return bytes;
}

Value fusion::turned(PatternRewriter &rewriter, Value value) {
  auto type = value ? typeOf(value) : RankedTensorType();
  if (!type || type.getRank() < 2)
    return value;
  auto swapped = RankedTensorType::get({type.getDimSize(1), type.getDimSize(0)}, type.getElementType());
  return llm::TransposeOp::create(rewriter, value.getLoc(), swapped, value, rewriter.getDenseI64ArrayAttr({1, 0}));
}

bool fusion::isOneElement(Value value) {
  auto type = typeOf(value);
  return type.hasStaticShape() && type.getNumElements() == 1;
}

bool fusion::isByColumns(Value value, RankedTensorType weight, bool outputsFirst) {
  ArrayRef<int64_t> shape = typeOf(value).getShape();
  if (outputsFirst)
    return shape.size() == 2 && shape[1] == 1 && shape[0] == weight.getDimSize(0);
  return !shape.empty() && shape.back() == weight.getDimSize(1) && (shape.size() == 1 || (shape.size() == 2 && shape[0] == 1));
}

std::optional<Obstacle> fusion::obstacleTo(const Codes &input, const Codes &weight) {
  auto type = weight.moves.empty() ? typeOf(weight.bytes) : typeOf(weight.moves.front()->getResult(0));
  if (type.getRank() != 2 || !type.hasStaticShape() || type.getNumElements() == 0)
    return Obstacle{weight.bytes, Miss::ShapeMismatch, "the right operand is not a matrix of known size", "give the weight a static shape"};
  if (!llm::isWeightExpression(weight.bytes) || (weight.zero && !llm::isWeightExpression(weight.zero)))
    return Obstacle{weight.bytes, Miss::NotConstant, "the second operand is computed", "nothing: only weights can be packed when compiling"};
  if (llm::isWeightExpression(input.bytes))
    return Obstacle{input.bytes, Miss::OtherOperand, "both operands are weights", "fold the product"};
  if (input.zero && !isOneElement(input.zero))
    return Obstacle{input.zero, Miss::ShapeMismatch, "each row has a zero point of its own", "quantize the tensor as a whole"};
  if (!weight.zero || isOneElement(weight.zero))
    return std::nullopt;
  if (!weight.moves.empty())
    return Obstacle{weight.zero, Miss::ShapeMismatch, "a weight with several zero points is moved before it is multiplied", "quantize it as it is multiplied"};
  ArrayRef<int64_t> zeros = typeOf(weight.zero).getShape();
  if (zeros.back() != type.getDimSize(1) || (zeros.size() == 2 && zeros[0] != 1) || zeros.size() > 2)
    return Obstacle{weight.zero, Miss::ShapeMismatch, "zero points of the weight differ along the summed dimension", "quantize by columns"};
  return std::nullopt;
}

namespace {

struct LinearPattern : OpRewritePattern<llm::LinearOp> {
  LinearPattern(MLIRContext *context, RewriteProduct rewrite) : OpRewritePattern(context), rewrite(rewrite) {}
  LogicalResult matchAndRewrite(llm::LinearOp root, PatternRewriter &rewriter) const override {
    return rewrite(root, !root.getTransposed(), root.getBias(), rewriter);
  }
  RewriteProduct rewrite;
};

struct MatMulPattern : OpRewritePattern<llm::MatMulOp> {
  MatMulPattern(MLIRContext *context, RewriteProduct rewrite) : OpRewritePattern(context), rewrite(rewrite) {}
  LogicalResult matchAndRewrite(llm::MatMulOp root, PatternRewriter &rewriter) const override {
    if (typeOf(root.getRhs()).getRank() != 2)
      return rewriter.notifyMatchFailure(root, "right operand is not a matrix");
    return rewrite(root, /*outputsFirst=*/false, Value(), rewriter);
  }
  RewriteProduct rewrite;
};

/// Writes the terms.
class Terms {
public:
  Terms(PatternRewriter &rewriter, Location loc) : e_(rewriter, loc), i32_(rewriter.getI32Type()) {}

  /// Bytes of the wanted sign; the zero point moves along.
  void makeSigned(Codes &codes, bool isSigned) {
    Type type = typeOf(codes.bytes).getElementType(), wanted = IntegerType::get(type.getContext(), 8, isSigned ? IntegerType::Signless : IntegerType::Unsigned);
    if (type == wanted)
      return;
    auto turned = RankedTensorType::get(typeOf(codes.bytes).getShape(), wanted);
    Value bits = llm::BitcastOp::create(e_.builder(), e_.loc(), turned, codes.bytes);
    codes.bytes = e_.binary<llm::XorOp>(bits, e_.scalar(wanted, isSigned ? -128 : 128));
    Value moved = e_.scalar(i32_, isSigned ? -128 : 128);
    codes.zero = codes.zero ? e_.binary<llm::AddOp>(codes.zero, moved) : moved;
  }

  /// The zero point as a scalar, or nothing if there is none that counts.
  static bool isZero(Value zero) {
    auto constant = zero ? zero.getDefiningOp<llm::ConstantOp>() : llm::ConstantOp();
    auto elements = constant ? dyn_cast<DenseIntElementsAttr>(constant.getValue()) : nullptr;
    return !zero || (elements && elements.isSplat() && elements.getSplatValue<APInt>().isZero());
  }

  Value run(RankedTensorType type, Codes input, Codes weight) {
    makeSigned(input, /*isSigned=*/false);
    bool weightHasZero = needsRowTerm(weight);
    makeSigned(weight, /*isSigned=*/true);
    Value sums = llm::MatMulOp::create(e_.builder(), e_.loc(), type, input.bytes, weight.bytes);
    if (!isZero(input.zero)) {
      Value numbers = e_.cast(weight.bytes, i32_);
      if (weightHasZero)
        numbers = e_.binary<llm::SubOp>(numbers, weight.zero);
      auto columns = RankedTensorType::get({typeOf(weight.bytes).getDimSize(1)}, i32_);
      Value sum = llm::ReduceOp::create(e_.builder(), e_.loc(), columns, llm::ReduceKind::sum, numbers, ArrayRef<int64_t>{0}, false);
      sums = subtract(type, sums, e_.binary<llm::MulOp>(flat(input.zero), sum));
    }
    if (weightHasZero) {
      Value sum = e_.reduce(llm::ReduceKind::sum, e_.cast(input.bytes, i32_), typeOf(input.bytes).getRank() - 1);
      sums = subtract(type, sums, e_.binary<llm::MulOp>(sum, weight.zero));
    }
    return sums;
  }

private:
  /// Unsigned weights are mostly stored around 128, which is 0 when they are signed.
  static bool needsRowTerm(const Codes &weight) {
    if (typeOf(weight.bytes).getElementType().isSignlessInteger(8))
      return !isZero(weight.zero);
    auto constant = weight.zero ? weight.zero.getDefiningOp<llm::ConstantOp>() : llm::ConstantOp();
    auto elements = constant ? dyn_cast<DenseIntElementsAttr>(constant.getValue()) : nullptr;
    return !elements || !elements.isSplat() || elements.getSplatValue<APInt>() != 128;
  }
  Value subtract(RankedTensorType type, Value a, Value b) { return llm::SubOp::create(e_.builder(), e_.loc(), type, a, b); }
  /// One element as a scalar, so that it adds no dimensions.
  Value flat(Value one) {
    auto type = typeOf(one);
    if (type.getRank() == 0)
      return one;
    auto axes = llvm::to_vector(llvm::seq<int64_t>(0, type.getRank()));
    return llm::ReduceOp::create(e_.builder(), e_.loc(), RankedTensorType::get({}, type.getElementType()), llm::ReduceKind::sum, one, axes, false);
  }

  llm::OpEmitter e_;
  Type i32_;
};

} // namespace

Value fusion::emitByteProduct(PatternRewriter &rewriter, Location loc, RankedTensorType type, Codes input, Codes weight) {
  input.bytes = movedBytes(rewriter, input);
  weight.bytes = movedBytes(rewriter, weight);
  return Terms(rewriter, loc).run(type, input, weight);
}

void fusion::addProductPatterns(RewritePatternSet &patterns, RewriteProduct rewrite) { patterns.add<LinearPattern, MatMulPattern>(patterns.getContext(), rewrite); }
