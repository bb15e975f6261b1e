//===- FuseDequantizedProduct.cpp - products of dequantized operands --------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %y = (float(%a - %za) * %sa) (float(%w - %zw) * %sw) + %b        (QuantizeLinear and DequantizeLinear around MatMul or Gemm; %w a weight)
//   ==>
//   %y = float((%a - %za) (%w - %zw)) * (%sa * %sw) + %b             products of bytes, see ByteProduct.h
//
// The sums become exact, and so are not the bits of the float product. %sa is one number; %sw one, or one for each column.
//
//===----------------------------------------------------------------------===//
#include "passes/Fusion/ByteProduct.h"

#include "dialects/LLM/OpEmitter.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

namespace {

/// So many products of two 9-bit differences fit into i32, which here must not wrap.
constexpr int64_t kMostProducts = 33024;

struct Dequantized {
  Codes codes;
  Value scale;
};

/// float(codes - zero) * scale, perhaps moved.
std::optional<Dequantized> matchDequantized(Value value) {
  SmallVector<Operation *, 2> moves;
  value = takeOffMoves(value, moves);
  auto product = value.getDefiningOp<llm::MulOp>();
  if (!product || !typeOf(value).getElementType().isF32())
    return std::nullopt;
  for (Value number : {product.getLhs(), product.getRhs()}) {
    if (typeOf(number).getShape() != typeOf(value).getShape())
      continue;
    std::optional<Codes> codes = matchCodes(number); // cast(bytes)
    if (auto cast = number.getDefiningOp<llm::CastOp>(); cast && !codes)
      codes = matchCodes(cast.getInput());
    if (!codes)
      continue;
    moves.append(codes->moves);
    codes->moves = std::move(moves);
    return Dequantized{*codes, otherOperand(product, number)};
  }
  return std::nullopt;
}

LogicalResult fuse(Operation *root, bool outputsFirst, Value bias, PatternRewriter &rewriter) {
  std::optional<Dequantized> input = matchDequantized(root->getOperand(0)), weight = matchDequantized(root->getOperand(1));
  if (!input || !weight)
    return rewriter.notifyMatchFailure(root, "operands are not dequantized bytes");
  if (!weight->codes.moves.empty())
    return missed(rewriter, weight->codes.moves.front(), Miss::OtherOp, "the dequantized weight is moved before it is multiplied", "quantize it as it is multiplied");
  auto matrix = typeOf(weight->codes.bytes);
  if (!isOneElement(input->scale))
    return missed(rewriter, input->scale, Miss::ShapeMismatch, "the input has more than one scale", "quantize the tensor as a whole");
  if (matrix.getRank() != 2 || !matrix.hasStaticShape())
    return missed(rewriter, weight->codes.bytes, Miss::ShapeUnknown, "the weight is not a matrix of known size", "give it a static shape");
  for (Value parameter : {weight->scale, weight->codes.zero})
    if (parameter && !isOneElement(parameter) && !isByColumns(parameter, matrix, outputsFirst))
      return missed(rewriter, parameter, Miss::ShapeMismatch, "the weight is quantized in blocks along the summed dimension", "quantize by columns");
  if (matrix.getDimSize(outputsFirst ? 1 : 0) > kMostProducts)
    return missed(rewriter, weight->codes.bytes, Miss::ShapeMismatch, "so many products do not fit into 32 bits", "nothing");
  if (std::optional<Obstacle> obstacle = obstacleTo(input->codes, outputsFirst ? Codes{weight->codes.bytes, {}} : weight->codes))
    return missed(rewriter, obstacle->value, obstacle->kind, obstacle->reason, obstacle->change);
  if (typeOf(root->getOperand(0)).getRank() < 2)
    return rewriter.notifyMatchFailure(root, "the input is no matrix");
  Codes codes = weight->codes;
  Value scale = weight->scale;
  if (outputsFirst) {
    codes = {turned(rewriter, codes.bytes), turned(rewriter, codes.zero)};
    scale = turned(rewriter, scale);
  }
  Location loc = root->getLoc();
  auto type = typeOf(root->getResult(0));
  llm::OpEmitter e(rewriter, loc);
  Value sums = emitByteProduct(rewriter, loc, RankedTensorType::get(type.getShape(), rewriter.getI32Type()), input->codes, codes);
  Value result = llm::MulOp::create(rewriter, loc, type, e.cast(sums, rewriter.getF32Type()), e.binary<llm::MulOp>(input->scale, scale));
  if (bias)
    result = llm::AddOp::create(rewriter, loc, type, result, bias);
  rewriter.replaceOp(root, result);
  return success();
}

} // namespace

namespace llmopt::fusion {
void addFuseDequantizedProduct(RewritePatternSet &patterns) { addProductPatterns(patterns, fuse); }
} // namespace llmopt::fusion
