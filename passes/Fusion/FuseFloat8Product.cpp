//===- FuseFloat8Product.cpp - products of dequantized e4m3 -----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %y = (f32(%a) * %sa) (f32(%w) * %sw) + %b        (QuantizeLinear to float8e4m3fn and DequantizeLinear around MatMul or Gemm; %w a weight)
//   ==>
//   %y = (%a %w) * (%sa * %sw) + %b                  a product of e4m3 that is summed in f32, see llmopt/lib/Analysis/Projection.h
//
//   %y = %x (f32(%w) * %sw) + %b      ==>      %y = linear(%x, bf16(%w)) * %sw + %b
//
// Products of two e4m3 are exact in f32, and bf16 holds every e4m3; scaling a sum once rounds less than scaling every operand. %sa is one number, or one for
// each row (what quantizes each token as it comes); %sw one, or one for each column.
//
//===----------------------------------------------------------------------===//
#include "passes/Fusion/ByteProduct.h"

#include "dialects/LLM/OpEmitter.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

namespace {

struct Dequantized {
  Codes codes;
  Value scale; ///< null: 1
};

bool isE4m3(Value value) { return isa<Float8E4M3FNType>(typeOf(value).getElementType()); }

/// f32(codes), perhaps with a zero point, which is zero in these formats.
Value castCodes(Value number) {
  if (auto difference = number.getDefiningOp<llm::SubOp>(); difference && splatOf(difference.getRhs()) == 0.0 && difference.getLhs().getType() == number.getType())
    number = difference.getLhs();
  auto cast = number.getDefiningOp<llm::CastOp>();
  return cast && isE4m3(cast.getInput()) && typeOf(cast).getElementType().isF32() ? cast.getInput() : Value();
}

/// f32(codes) * scale, perhaps moved.
std::optional<Dequantized> matchDequantized(Value value) {
  Dequantized found;
  value = takeOffMoves(value, found.codes.moves);
  auto product = value.getDefiningOp<llm::MulOp>();
  if (!product)
    found.codes.bytes = castCodes(value);
  else
    for (Value number : {product.getLhs(), product.getRhs()})
      if (!found.codes.bytes && number.getType() == value.getType()) {
        found.codes.bytes = castCodes(number);
        found.scale = otherOperand(product, number);
      }
  return found.codes.bytes ? std::optional(found) : std::nullopt;
}

/// The same for all elements of a row of `input`.
bool isByRows(Value scale, Value input) {
  auto type = typeOf(scale);
  return type.getRank() >= 1 && type.getRank() <= typeOf(input).getRank() && type.getShape().back() == 1;
}

std::optional<Obstacle> obstacleTo(const Dequantized &weight, bool outputsFirst) {
  Value codes = weight.codes.bytes;
  auto matrix = typeOf(codes);
  if (!weight.codes.moves.empty())
    return Obstacle{weight.codes.moves.front()->getResult(0), Miss::OtherOp, "the dequantized weight is moved before it is multiplied", "quantize it as it is multiplied"};
  if (matrix.getRank() != 2 || !matrix.hasStaticShape() || matrix.getNumElements() == 0)
    return Obstacle{codes, Miss::ShapeMismatch, "the right operand is not a matrix of known size", "give the weight a static shape"};
  if (!llm::isWeightExpression(codes) || (weight.scale && !llm::isWeightExpression(weight.scale)))
    return Obstacle{codes, Miss::NotConstant, "the second operand is computed", "nothing: only weights can be packed when compiling"};
  if (weight.scale && !isOneElement(weight.scale) && !isByColumns(weight.scale, matrix, outputsFirst))
    return Obstacle{weight.scale, Miss::ShapeMismatch, "the weight is quantized in blocks along the summed dimension", "quantize by columns"};
  return std::nullopt;
}

/// Whether the rows' scales can stand behind the sum.
bool isByRows(const Dequantized &input, Value rows) {
  return !input.scale || isOneElement(input.scale) || (isByRows(input.scale, rows) && input.codes.moves.empty());
}

LogicalResult fuse(Operation *root, bool outputsFirst, Value bias, PatternRewriter &rewriter) {
  Value rows = root->getOperand(0);
  std::optional<Dequantized> weight = matchDequantized(root->getOperand(1)), input = matchDequantized(rows);
  auto type = typeOf(root->getResult(0));
  if (!weight || !type.getElementType().isF32() || typeOf(rows).getRank() < 2)
    return rewriter.notifyMatchFailure(root, "the weight is not dequantized e4m3");
  if (llm::isWeightExpression(rows))
    return missed(rewriter, rows, Miss::OtherOperand, "both operands are weights", "fold the product");
  if (std::optional<Obstacle> obstacle = obstacleTo(*weight, outputsFirst))
    return missed(rewriter, obstacle->value, obstacle->kind, obstacle->reason, obstacle->change);
  Location loc = root->getLoc();
  llm::OpEmitter e(rewriter, loc);
  Value codes = weight->codes.bytes, scale = weight->scale && outputsFirst ? turned(rewriter, weight->scale) : weight->scale, rowScale, result;
  if (input && isByRows(*input, rows)) {
    result = llm::MatMulOp::create(rewriter, loc, type, movedBytes(rewriter, input->codes), outputsFirst ? turned(rewriter, codes) : codes);
    rowScale = input->scale;
  } else {
    result = llm::LinearOp::create(rewriter, loc, type, rows, e.cast(codes, rewriter.getBF16Type()), Value(), /*transposed=*/!outputsFirst);
  }
  if (rowScale && scale && isOneElement(rowScale)) { // made one when compiling, where both are known
    scale = e.binary<llm::MulOp>(rowScale, scale);
    rowScale = {};
  }
  for (Value factor : {rowScale, scale})
    if (factor)
      result = llm::MulOp::create(rewriter, loc, type, result, factor);
  if (bias)
    result = llm::AddOp::create(rewriter, loc, type, result, bias);
  rewriter.replaceOp(root, result);
  return success();
}

} // namespace

namespace llmopt::fusion {
void addFuseFloat8Product(RewritePatternSet &patterns) { addProductPatterns(patterns, fuse); }
} // namespace llmopt::fusion
