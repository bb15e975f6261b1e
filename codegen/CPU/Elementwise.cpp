//===- Elementwise.cpp - one llm elementwise op on registers --------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Floats are f32 or f64 in registers; integers are signless, so the op's tensor types decide about sign. Nothing here may
// trap (an integer division by zero gives zero) or end in a library call.
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/Elementwise.h"

#include "codegen/CPU/ElementwiseInteger.h"
#include "codegen/CPU/ElementwiseNarrow.h"
#include "codegen/CPU/MathApproximation.h"
#include "codegen/CPU/MathApproximationNumber.h"

#include "llmopt/dialects/LLM/LLM.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Type cpu::registerType(Type elementType) {
  if (elementType.isBF16() || elementType.isF16() || narrowFormat(elementType))
    return Float32Type::get(elementType.getContext());
  if (auto integer = dyn_cast<IntegerType>(elementType))
    return IntegerType::get(elementType.getContext(), integer.getWidth());
  return elementType;
}

/// How an element lies in memory: bf16 as bits, all that is narrower than a byte as one.
static Type memoryType(Type elementType) {
  MLIRContext *context = elementType.getContext();
  if (elementType.isBF16())
    return IntegerType::get(context, 16);
  if (elementType.getIntOrFloatBitWidth() <= 8)
    return IntegerType::get(context, 8);
  return elementType.isF16() ? elementType : registerType(elementType);
}

Value cpu::loadElements(KernelBuilder &b, Type elementType, int64_t lanes, Value base, Value offset, Value count) {
  Type memory = memoryType(elementType);
  Value raw;
  if (lanes == 0)
    raw = b.load(memory, base, offset);
  else if (count)
    raw = b.loadPart(b.vec(lanes, memory), base, offset, count);
  else
    raw = b.load(b.vec(lanes, memory), base, offset);
  if (elementType.isBF16())
    return b.bf16ToF32(raw);
  if (elementType.isF16())
    return arith::ExtFOp::create(b.ops(), b.loc(), withElement(raw.getType(), b.f32()), raw);
  if (elementType.isInteger(1))
    return arith::CmpIOp::create(b.ops(), b.loc(), arith::CmpIPredicate::ne, raw, b.constantInt(raw.getType(), 0));
  if (const NarrowFloat *narrow = narrowFormat(elementType))
    return decodeNarrow(b, *narrow, raw);
  if (elementType.getIntOrFloatBitWidth() < 8)
    return arith::TruncIOp::create(b.ops(), b.loc(), withElement(raw.getType(), registerType(elementType)), raw);
  return raw;
}

void cpu::storeElements(KernelBuilder &b, Type elementType, Value value, Value base, Value offset, Value count) {
  Type memory = withElement(value.getType(), memoryType(elementType));
  if (elementType.isBF16())
    value = b.f32ToBf16(value);
  else if (elementType.isF16())
    value = arith::TruncFOp::create(b.ops(), b.loc(), memory, value);
  else if (const NarrowFloat *narrow = narrowFormat(elementType))
    value = encodeNarrow(b, *narrow, value, /*saturate=*/false);
  else if (elementType.getIntOrFloatBitWidth() < 8)
    value = elementType.isUnsignedInteger() || elementType.isInteger(1)
                ? Value(arith::ExtUIOp::create(b.ops(), b.loc(), memory, value))
                : Value(arith::ExtSIOp::create(b.ops(), b.loc(), memory, value));
  if (count && isa<VectorType>(value.getType()))
    b.storePart(value, base, offset, count);
  else
    b.store(value, base, offset);
}

//===----------------------------------------------------------------------===//
// Conversions
//===----------------------------------------------------------------------===//

/// Rounds an f32 register to what `elementType` (bf16, f16 and narrower) can hold.
static Value roundTo(KernelBuilder &b, Type elementType, Value value, bool saturate = false) {
  if (const NarrowFloat *narrow = narrowFormat(elementType))
    return decodeNarrow(b, *narrow, encodeNarrow(b, *narrow, value, saturate));
  if (elementType.isBF16())
    return b.bf16ToF32(b.f32ToBf16(value));
  if (!elementType.isF16())
    return value;
  Type half = withElement(value.getType(), elementType);
  Value narrow = arith::TruncFOp::create(b.ops(), b.loc(), half, value);
  return arith::ExtFOp::create(b.ops(), b.loc(), value.getType(), narrow);
}

static Value floatToInteger(KernelBuilder &b, IntegerType to, Value value) {
  Type result = withElement(value.getType(), registerType(to));
  if (to.getWidth() == 1)
    return arith::CmpFOp::create(b.ops(), b.loc(), arith::CmpFPredicate::UNE, value, b.constant(value.getType(), 0));
  if (to.isUnsigned() && to.getWidth() == 64)
    return arith::FPToUIOp::create(b.ops(), b.loc(), result, value);
  // Narrow types through the next wider signed one, so that what does not fit wraps instead of being undefined.
  unsigned width = to.getWidth() < 32 ? 32 : to.isUnsigned() ? 64 : to.getWidth();
  Value wide = arith::FPToSIOp::create(b.ops(), b.loc(), withElement(result, b.ops().getIntegerType(width)), value);
  return width == to.getWidth() ? wide : Value(arith::TruncIOp::create(b.ops(), b.loc(), result, wide));
}

static Value convert(KernelBuilder &b, Type from, Type to, Value value, bool saturate = true) {
  Type result = withElement(value.getType(), registerType(to));
  auto fromInteger = dyn_cast<IntegerType>(from), toInteger = dyn_cast<IntegerType>(to);
  bool fromUnsigned = fromInteger && (fromInteger.isUnsigned() || fromInteger.getWidth() == 1);
  if (fromInteger && toInteger) {
    if (toInteger.getWidth() == 1)
      return arith::CmpIOp::create(b.ops(), b.loc(), arith::CmpIPredicate::ne, value, b.constantInt(value.getType(), 0));
    if (toInteger.getWidth() == fromInteger.getWidth())
      return value;
    if (toInteger.getWidth() < fromInteger.getWidth())
      return arith::TruncIOp::create(b.ops(), b.loc(), result, value);
    return fromUnsigned ? Value(arith::ExtUIOp::create(b.ops(), b.loc(), result, value))
                        : Value(arith::ExtSIOp::create(b.ops(), b.loc(), result, value));
  }
  if (toInteger)
    return floatToInteger(b, toInteger, value);
  if (fromInteger)
    value = fromUnsigned ? Value(arith::UIToFPOp::create(b.ops(), b.loc(), result, value))
                         : Value(arith::SIToFPOp::create(b.ops(), b.loc(), result, value));
  else if (value.getType() != result)
    value = from.isF64() ? Value(arith::TruncFOp::create(b.ops(), b.loc(), result, value))
                         : Value(arith::ExtFOp::create(b.ops(), b.loc(), result, value));
  return roundTo(b, to, value, saturate);
}

/// The bits of an element in an integer register of its width, and back.
static Value bitsOf(KernelBuilder &b, Type type, Value value) {
  if (!isa<FloatType>(type))
    return value;
  if (const NarrowFloat *narrow = narrowFormat(type)) {
    Value code = encodeNarrow(b, *narrow, value, /*saturate=*/false);
    Type bits = withElement(code.getType(), b.ops().getIntegerType(type.getIntOrFloatBitWidth()));
    return bits == code.getType() ? code : Value(arith::TruncIOp::create(b.ops(), b.loc(), bits, code));
  }
  if (type.isBF16())
    return b.f32ToBf16(value);
  if (type.isF16())
    value = arith::TruncFOp::create(b.ops(), b.loc(), withElement(value.getType(), type), value);
  Type bits = withElement(value.getType(), b.ops().getIntegerType(type.getIntOrFloatBitWidth()));
  return arith::BitcastOp::create(b.ops(), b.loc(), bits, value);
}

static Value fromBits(KernelBuilder &b, Type type, Value bits) {
  if (!isa<FloatType>(type))
    return bits;
  if (const NarrowFloat *narrow = narrowFormat(type)) {
    Type byte = withElement(bits.getType(), b.ops().getI8Type());
    return decodeNarrow(b, *narrow, bits.getType() == byte ? bits : Value(arith::ExtUIOp::create(b.ops(), b.loc(), byte, bits)));
  }
  if (type.isBF16())
    return b.bf16ToF32(bits);
  Value value = arith::BitcastOp::create(b.ops(), b.loc(), withElement(bits.getType(), type), bits);
  return type.isF16() ? Value(arith::ExtFOp::create(b.ops(), b.loc(), withElement(bits.getType(), b.f32()), value)) : value;
}

//===----------------------------------------------------------------------===//
// Float operations
//===----------------------------------------------------------------------===//

static Value floatUnary(KernelBuilder &b, Operation *op, Value x) {
  using Id = ScalarFunctionId;
  Number n(b, x);
  auto math = [&](Id id) { return emitMath(b, id, x); };
  return llvm::TypeSwitch<Operation *, Value>(op)
      .Case<llm::NegOp>([&](auto) { return (-n).v; })
      .Case<llm::AbsOp>([&](auto) { return n.abs().v; })
      .Case<llm::SignOp>([&](auto) { return n.where(n > 0.0, 1.0).where(n < 0.0, -1.0).v; })
      .Case<llm::ExpOp>([&](auto) { return math(Id::Exp); })
      .Case<llm::LogOp>([&](auto) { return math(Id::Log); })
      .Case<llm::SqrtOp>([&](auto) { return n.sqrt().v; })
      .Case<llm::RsqrtOp>([&](auto) { return (n.of(1.0) / n.sqrt()).v; })
      .Case<llm::ReciprocalOp>([&](auto) { return (n.of(1.0) / n).v; })
      .Case<llm::SinOp>([&](auto) { return math(Id::Sin); })
      .Case<llm::CosOp>([&](auto) { return math(Id::Cos); })
      .Case<llm::TanOp>([&](auto) { return math(Id::Tan); })
      .Case<llm::AsinOp>([&](auto) { return math(Id::Asin); })
      .Case<llm::AcosOp>([&](auto) { return math(Id::Acos); })
      .Case<llm::AtanOp>([&](auto) { return math(Id::Atan); })
      .Case<llm::SinhOp>([&](auto) { return math(Id::Sinh); })
      .Case<llm::CoshOp>([&](auto) { return math(Id::Cosh); })
      .Case<llm::AsinhOp>([&](auto) { return math(Id::Asinh); })
      .Case<llm::AcoshOp>([&](auto) { return math(Id::Acosh); })
      .Case<llm::AtanhOp>([&](auto) { return math(Id::Atanh); })
      .Case<llm::TanhOp>([&](auto) { return math(Id::Tanh); })
      .Case<llm::ErfOp>([&](auto) { return math(Id::Erf); })
      .Case<llm::FloorOp>([&](auto) { return emitRound(b, Rounding::Floor, x); })
      .Case<llm::CeilOp>([&](auto) { return emitRound(b, Rounding::Ceil, x); })
      .Case<llm::RoundOp>([&](auto) { return emitRound(b, Rounding::Nearest, x); })
      .Case<llm::SigmoidOp>([&](auto) { return emitSigmoid(b, x); })
      .Case<llm::ReluOp>([&](auto) { return n.where(n < 0.0, 0.0).v; })
      .Case<llm::SiluOp>([&](auto) { return emitSilu(b, x); })
      .Case<llm::SoftplusOp>([&](auto) { return emitSoftplus(b, x); })
      .Case<llm::GeluOp>([&](llm::GeluOp gelu) { return emitGelu(b, x, gelu.getTanh()); })
      .Case<llm::IsNanOp>([&](auto) { return n.isNan(); })
      .Case<llm::IsInfOp>([&](auto) { return n.abs().equals(n.infinity()); })
      .Default([](Operation *) { return Value(); });
}

/// x^c for the exponents that models write.
static Value powerOfConstant(KernelBuilder &b, Value x, Value y) {
  Number n(b, x);
  Attribute attribute;
  auto constant = y.getDefiningOp<arith::ConstantOp>();
  if (!constant)
    return {};
  attribute = constant.getValue();
  if (auto dense = dyn_cast<DenseElementsAttr>(attribute))
    attribute = dense.isSplat() ? dense.getSplatValue<Attribute>() : Attribute();
  auto value = dyn_cast_or_null<FloatAttr>(attribute);
  if (!value)
    return {};
  double exponent = value.getValueAsDouble();
  if (exponent == 1.0)
    return x;
  if (exponent == 2.0)
    return (n * n).v;
  if (exponent == 3.0)
    return (n * n * n).v;
  if (exponent == -1.0)
    return (n.of(1.0) / n).v;
  return {};
}

static Value floatMod(KernelBuilder &b, Value x, Value y, bool truncated) {
  Number r(b, emitMath(b, ScalarFunctionId::Fmod, x, y)), divisor(b, y);
  if (truncated)
    return r.v;
  Value otherSign = arith::XOrIOp::create(b.ops(), b.loc(), r < 0.0, divisor < 0.0);
  Value fix = arith::AndIOp::create(b.ops(), b.loc(), r.compare(arith::CmpFPredicate::ONE, r.of(0.0)), otherSign);
  return r.where(fix, r + divisor).v;
}

/// x < y (or >) ? x : y, and the NaN if there is one.
static Value floatExtremum(KernelBuilder &b, Value x, Value y, bool larger) {
  Number n(b, x), m(b, y);
  Value first = larger ? n > m : n < m;
  first = arith::OrIOp::create(b.ops(), b.loc(), first, n.isNan());
  return m.where(first, n).v;
}

static Value floatCompare(KernelBuilder &b, llm::ComparePredicate predicate, Value x, Value y) {
  using P = arith::CmpFPredicate;
  constexpr P predicates[] = {P::OEQ, P::UNE, P::OLT, P::OLE, P::OGT, P::OGE};
  return arith::CmpFOp::create(b.ops(), b.loc(), predicates[unsigned(predicate)], x, y);
}

static Value floatBinary(KernelBuilder &b, Operation *op, Value x, Value y) {
  return llvm::TypeSwitch<Operation *, Value>(op)
      .Case<llm::AddOp>([&](auto) { return b.fadd(x, y); })
      .Case<llm::SubOp>([&](auto) { return b.fsub(x, y); })
      .Case<llm::MulOp>([&](auto) { return b.fmul(x, y); })
      .Case<llm::DivOp>([&](auto) { return b.fdiv(x, y); })
      .Case<llm::PowOp>([&](auto) {
        Value simple = powerOfConstant(b, x, y);
        return simple ? simple : emitMath(b, ScalarFunctionId::Pow, x, y);
      })
      .Case<llm::MinOp>([&](auto) { return floatExtremum(b, x, y, false); })
      .Case<llm::MaxOp>([&](auto) { return floatExtremum(b, x, y, true); })
      .Case<llm::ModOp>([&](llm::ModOp mod) { return floatMod(b, x, y, mod.getTrunc()); })
      .Case<llm::CompareOp>([&](llm::CompareOp compare) { return floatCompare(b, compare.getPredicate(), x, y); })
      .Default([](Operation *) { return Value(); });
}

//===----------------------------------------------------------------------===//
// Any op
//===----------------------------------------------------------------------===//

static Value emitPower(KernelBuilder &b, Operation *op, Type xType, Value x, Value y) {
  Type yType = getElementTypeOrSelf(op->getOperand(1).getType());
  if (isa<FloatType>(xType))
    return floatBinary(b, op, x, convert(b, yType, registerType(xType), y));
  if (isa<IntegerType>(yType))
    return emitIntegerPower(b, cast<IntegerType>(xType), x, cast<IntegerType>(yType), y);
  // An integer to a float power is computed in f64 and truncated.
  Type f64 = b.ops().getF64Type();
  Value power = emitMath(b, ScalarFunctionId::Pow, convert(b, xType, f64, x), convert(b, yType, f64, y));
  return convert(b, f64, xType, power);
}

Value cpu::emitElementwise(KernelBuilder &b, Operation *op, ArrayRef<Value> operands) {
  Type type = getElementTypeOrSelf(op->getOperand(0).getType());
  if (isa<llm::SelectOp>(op))
    return arith::SelectOp::create(b.ops(), b.loc(), operands[0], operands[1], operands[2]);
  Type resultType = getElementTypeOrSelf(op->getResult(0).getType());
  if (auto cast = dyn_cast<llm::CastOp>(op))
    return convert(b, type, resultType, operands[0], !cast.getOverflow());
  if (isa<llm::BitcastOp>(op))
    return fromBits(b, resultType, bitsOf(b, type, operands[0]));
  if (isa<llm::PowOp>(op))
    return emitPower(b, op, type, operands[0], operands[1]);
  Value result;
  if (auto integer = dyn_cast<IntegerType>(type))
    result = emitIntegerElementwise(b, op, integer, operands);
  else
    result = operands.size() == 1 ? floatUnary(b, op, operands[0]) : floatBinary(b, op, operands[0], operands[1]);
  // Each operation's result is of its element type, fused or not: f16 and bf16 round here.
  if (result && isa<FloatType>(resultType))
    result = roundTo(b, resultType, result);
  if (!result)
    op->emitError("has no element code for this type");
  return result;
}
