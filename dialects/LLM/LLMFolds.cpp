//===- LLMFolds.cpp - folds of constants, elementwise operations, reductions
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Folds are exact in every bit: x + 0.0 stays, because it turns -0.0 into 0.0; x + -0.0 goes.
//
//===----------------------------------------------------------------------===//
#include "VerifyShapes.h"

#include "llvm/ADT/APFloat.h"

using namespace mlir;
using namespace llmopt::llm;

OpFoldResult ConstantOp::fold(FoldAdaptor) { return getValue(); }

/// Whether a constant holds the number everywhere; of zeros, the sign counts.
static bool isEverywhere(Attribute constant, double number) {
  auto dense = dyn_cast_or_null<DenseElementsAttr>(constant);
  if (!dense || !dense.isSplat())
    return false;
  if (isa<FloatType>(dense.getElementType())) {
    APFloat value = dense.getSplatValue<APFloat>();
    return value.isExactlyValue(number);
  }
  APInt value = dense.getSplatValue<APInt>();
  // The truth of an i1 is 1, although its sign-extended value is -1.
  return value.getBitWidth() == 1 ? double(value.getZExtValue()) == number
                                  : value.getSignificantBits() <= 64 && double(value.getSExtValue()) == number;
}

static bool isFloat(Value value) { return isa<FloatType>(elementOf(value)); }

/// Whether broadcasting `x` with `other` gives `x`'s own type, for all values of dynamic dimensions.
static bool keepsShape(Value x, Value other, Value result) {
  if (x.getType() != result.getType() || rankOf(other) > rankOf(x))
    return false;
  ArrayRef<int64_t> own = dimsOf(x).take_back(size_t(rankOf(other)));
  return llvm::all_of(llvm::zip(own, dimsOf(other)), [](auto pair) {
    auto [dim, otherDim] = pair;
    return otherDim == 1 || (dim == otherDim && !ShapedType::isDynamic(dim));
  });
}

/// The operand beside one that is `neutral` everywhere. Commutative operations look at both sides.
static Value withoutNeutral(Operation *op, ArrayRef<Attribute> constants, double neutral, bool commutes) {
  Value lhs = op->getOperand(0), rhs = op->getOperand(1), result = op->getResult(0);
  if (isEverywhere(constants[1], neutral) && keepsShape(lhs, rhs, result))
    return lhs;
  if (commutes && isEverywhere(constants[0], neutral) && keepsShape(rhs, lhs, result))
    return rhs;
  return {};
}

OpFoldResult AddOp::fold(FoldAdaptor adaptor) {
  return withoutNeutral(*this, adaptor.getOperands(), isFloat(getResult()) ? -0.0 : 0.0, true);
}

OpFoldResult SubOp::fold(FoldAdaptor adaptor) { return withoutNeutral(*this, adaptor.getOperands(), 0.0, false); }
OpFoldResult MulOp::fold(FoldAdaptor adaptor) { return withoutNeutral(*this, adaptor.getOperands(), 1.0, true); }
OpFoldResult DivOp::fold(FoldAdaptor adaptor) { return withoutNeutral(*this, adaptor.getOperands(), 1.0, false); }
OpFoldResult PowOp::fold(FoldAdaptor adaptor) { return withoutNeutral(*this, adaptor.getOperands(), 1.0, false); }

/// x op x = x
static Value ofItself(Operation *op) {
  Value lhs = op->getOperand(0);
  return lhs == op->getOperand(1) && lhs.getType() == op->getResult(0).getType() ? lhs : Value();
}

OpFoldResult MinOp::fold(FoldAdaptor) { return ofItself(*this); }
OpFoldResult MaxOp::fold(FoldAdaptor) { return ofItself(*this); }

OpFoldResult AndOp::fold(FoldAdaptor adaptor) {
  if (Value same = ofItself(*this))
    return same;
  return withoutNeutral(*this, adaptor.getOperands(), elementOf(getResult()).isInteger(1) ? 1.0 : -1.0, true);
}

OpFoldResult OrOp::fold(FoldAdaptor adaptor) {
  if (Value same = ofItself(*this))
    return same;
  return withoutNeutral(*this, adaptor.getOperands(), 0.0, true);
}

OpFoldResult SelectOp::fold(FoldAdaptor adaptor) {
  bool yes = isEverywhere(adaptor.getCondition(), 1.0), no = isEverywhere(adaptor.getCondition(), 0.0);
  if (!yes && !no)
    return getLhs() == getRhs() && keepsShape(getLhs(), getCondition(), getResult()) ? getLhs() : Value();
  Value chosen = yes ? getLhs() : getRhs(), other = yes ? getRhs() : getLhs();
  return keepsShape(chosen, getCondition(), getResult()) && keepsShape(chosen, other, getResult()) ? chosen : Value();
}

// -(-x) = x
OpFoldResult NegOp::fold(FoldAdaptor) {
  auto inner = getInput().getDefiningOp<NegOp>();
  return inner ? inner.getInput() : Value();
}

OpFoldResult NotOp::fold(FoldAdaptor) {
  auto inner = getInput().getDefiningOp<NotOp>();
  return inner ? inner.getInput() : Value();
}

// ||x|| = |x|
OpFoldResult AbsOp::fold(FoldAdaptor) { return getInput().getDefiningOp<AbsOp>() ? getInput() : Value(); }
OpFoldResult ReluOp::fold(FoldAdaptor) { return getInput().getDefiningOp<ReluOp>() ? getInput() : Value(); }

//===----------------------------------------------------------------------===//
// Casts
//===----------------------------------------------------------------------===//

/// Bits of magnitude an integer type needs; i1 is 0 or 1.
static unsigned magnitudeBits(Type type) {
  unsigned width = type.getIntOrFloatBitWidth();
  return type.isUnsignedInteger() || width == 1 ? width : width - 1;
}

/// Whether every number of `from` is a number of `to`.
static bool castIsExact(Type from, Type to) {
  if (from == to)
    return true;
  // Formats of 8 bits and less differ in zeros, infinities and saturation as well.
  if (isa<FloatType>(to) && to.getIntOrFloatBitWidth() <= 8)
    return false;
  if (auto wide = dyn_cast<FloatType>(to)) {
    if (auto narrow = dyn_cast<FloatType>(from))
      return APFloat::isRepresentableBy(narrow.getFloatSemantics(), wide.getFloatSemantics());
    return magnitudeBits(from) <= wide.getFPMantissaWidth();
  }
  if (isa<FloatType>(from) || to.getIntOrFloatBitWidth() == 1)
    return false;
  bool negative = !from.isUnsignedInteger() && from.getIntOrFloatBitWidth() > 1;
  return !(negative && to.isUnsignedInteger()) && magnitudeBits(from) <= magnitudeBits(to);
}

OpFoldResult CastOp::fold(FoldAdaptor) {
  if (getInput().getType() == getType())
    return getInput();
  if (isFloat(getResult()) && elementOf(getResult()).getIntOrFloatBitWidth() <= 8)
    return {};
  // cast (cast x) = cast x where the inner one loses nothing. Then what happens to a number that the result type does not
  // hold must not depend on the type it comes from: integers wrap, floats do not.
  auto inner = getInput().getDefiningOp<CastOp>();
  if (!inner || !castIsExact(elementOf(inner.getInput()), elementOf(getInput())))
    return {};
  bool integerThroughFloat = !isFloat(inner.getInput()) && isFloat(getInput()) && !isFloat(getResult());
  if (integerThroughFloat && !castIsExact(elementOf(inner.getInput()), elementOf(getResult())) && !elementOf(getResult()).isInteger(1))
    return {};
  if (inner.getInput().getType() == getType())
    return inner.getInput();
  getInputMutable().assign(inner.getInput());
  return getResult();
}

OpFoldResult ReduceOp::fold(FoldAdaptor) {
  return getAxes().empty() && getInput().getType() == getType() ? getInput() : Value();
}
