//===- ElementwiseInteger.cpp - integer and boolean elements --------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Arithmetic wraps. What the hardware would trap on or leave undefined has a value here: x / 0 and x mod 0 are 0, the
// lowest number divided by -1 is itself, a shift by the width or more gives 0.
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/ElementwiseInteger.h"

#include "llmopt/dialects/LLM/LLM.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

/// Integer arithmetic of one type, signed or not.
class Integers {
public:
  using P = arith::CmpIPredicate;
  Integers(KernelBuilder &b, IntegerType type, Type registers)
      : b(b), registers(registers), width(type.getWidth()), isUnsigned(type.isUnsigned() || type.getWidth() == 1) {}

  KernelBuilder &b;
  Type registers;
  unsigned width;
  bool isUnsigned;

  template <typename Op>
  Value make(Value x, Value y) {
    return Op::create(b.ops(), b.loc(), x, y);
  }
  Value constant(int64_t value) { return b.constantInt(registers, value); }
  Value compare(P predicate, Value x, Value y) { return arith::CmpIOp::create(b.ops(), b.loc(), predicate, x, y); }
  Value select(Value condition, Value x, Value y) { return arith::SelectOp::create(b.ops(), b.loc(), condition, x, y); }
  Value less(Value x, Value y) { return compare(isUnsigned ? P::ult : P::slt, x, y); }
  Value isZero(Value x) { return compare(P::eq, x, constant(0)); }
  Value negate(Value x) { return make<arith::SubIOp>(constant(0), x); }

  Value divide(Value x, Value y) {
    Value zero = isZero(y);
    if (isUnsigned)
      return select(zero, constant(0), make<arith::DivUIOp>(x, select(zero, constant(1), y)));
    Value minusOne = compare(P::eq, y, constant(-1));
    Value harmless = select(make<arith::OrIOp>(zero, minusOne), constant(1), y);
    return select(zero, constant(0), select(minusOne, negate(x), make<arith::DivSIOp>(x, harmless)));
  }

  Value remainder(Value x, Value y, bool truncated) {
    Value zero = isZero(y);
    if (isUnsigned)
      return select(zero, constant(0), make<arith::RemUIOp>(x, select(zero, constant(1), y)));
    Value minusOne = compare(P::eq, y, constant(-1));
    Value harmless = select(make<arith::OrIOp>(zero, minusOne), constant(1), y); // remainder 0 in both cases
    Value r = make<arith::RemSIOp>(x, harmless);
    if (truncated)
      return r;
    Value otherSign = compare(P::slt, make<arith::XOrIOp>(r, y), constant(0));
    Value fix = make<arith::AndIOp>(otherSign, compare(P::ne, r, constant(0)));
    return select(fix, make<arith::AddIOp>(r, y), r);
  }

  template <typename Shift>
  Value shift(Value x, Value y) {
    Value inside = compare(P::ult, y, constant(width));
    return select(inside, make<Shift>(x, select(inside, y, constant(0))), constant(0));
  }

  Value compareAs(llm::ComparePredicate predicate, Value x, Value y) {
    constexpr P withSign[] = {P::eq, P::ne, P::slt, P::sle, P::sgt, P::sge};
    constexpr P without[] = {P::eq, P::ne, P::ult, P::ule, P::ugt, P::uge};
    return compare((isUnsigned ? without : withSign)[unsigned(predicate)], x, y);
  }

  Value unary(Operation *op, Value x) {
    return llvm::TypeSwitch<Operation *, Value>(op)
        .Case<llm::NegOp>([&](auto) { return negate(x); })
        .Case<llm::AbsOp>([&](auto) { return isUnsigned ? x : select(less(x, constant(0)), negate(x), x); })
        .Case<llm::SignOp>([&](auto) {
          Value positive = select(isZero(x), constant(0), constant(1));
          return isUnsigned ? positive : select(less(x, constant(0)), constant(-1), positive);
        })
        .Case<llm::ReluOp>([&](auto) { return isUnsigned ? x : select(less(x, constant(0)), constant(0), x); })
        .Case<llm::NotOp>([&](auto) { return make<arith::XOrIOp>(x, constant(-1)); })
        .Default([](Operation *) { return Value(); });
  }

  Value binary(Operation *op, Value x, Value y) {
    return llvm::TypeSwitch<Operation *, Value>(op)
        .Case<llm::AddOp>([&](auto) { return make<arith::AddIOp>(x, y); })
        .Case<llm::SubOp>([&](auto) { return make<arith::SubIOp>(x, y); })
        .Case<llm::MulOp>([&](auto) { return make<arith::MulIOp>(x, y); })
        .Case<llm::DivOp>([&](auto) { return divide(x, y); })
        .Case<llm::ModOp>([&](llm::ModOp mod) { return remainder(x, y, mod.getTrunc()); })
        .Case<llm::MinOp>([&](auto) { return select(less(x, y), x, y); })
        .Case<llm::MaxOp>([&](auto) { return select(less(x, y), y, x); })
        .Case<llm::AndOp>([&](auto) { return make<arith::AndIOp>(x, y); })
        .Case<llm::OrOp>([&](auto) { return make<arith::OrIOp>(x, y); })
        .Case<llm::XorOp>([&](auto) { return make<arith::XOrIOp>(x, y); })
        .Case<llm::ShlOp>([&](auto) { return shift<arith::ShLIOp>(x, y); })
        .Case<llm::ShrOp>([&](auto) { return shift<arith::ShRUIOp>(x, y); })
        .Case<llm::CompareOp>([&](llm::CompareOp compare) { return compareAs(compare.getPredicate(), x, y); })
        .Default([](Operation *) { return Value(); });
  }
};

} // namespace

Value cpu::emitIntegerElementwise(KernelBuilder &b, Operation *op, IntegerType type, ArrayRef<Value> operands) {
  Integers integers(b, type, operands[0].getType());
  return operands.size() == 1 ? integers.unary(op, operands[0]) : integers.binary(op, operands[0], operands[1]);
}

Value cpu::emitIntegerPower(KernelBuilder &b, IntegerType xType, Value x, IntegerType yType, Value y) {
  Integers bases(b, xType, x.getType()), exponents(b, yType, y.getType());
  Value one = bases.constant(1), zero = exponents.constant(0);
  Value isOdd = exponents.compare(Integers::P::ne, exponents.make<arith::AndIOp>(y, exponents.constant(1)), zero);
  // Exponents of 64 and more: even bases are 0 by then, and for 0, 1, -1 only the last bit counts; odd bases wrap anyhow, at the
  // period 2^62 of their group, which 7 bits do not reach. So 7 bits serve, the last one kept.
  int64_t limit = yType.getWidth() <= 8 ? 62 : 126;
  Value large = exponents.compare(Integers::P::ugt, y, exponents.constant(limit + 1));
  Value kept = exponents.make<arith::AddIOp>(exponents.constant(limit), exponents.make<arith::AndIOp>(y, exponents.constant(1)));
  Value exponent = exponents.select(large, kept, y);
  Value result = one, square = x;
  for (int bit = 0; bit < 7; ++bit) {
    Value set = exponents.make<arith::AndIOp>(exponent, exponents.constant(int64_t(1) << std::min<int>(bit, yType.getWidth() - 1)));
    if (bit < int(yType.getWidth()))
      result = bases.select(exponents.compare(Integers::P::ne, set, zero), bases.make<arith::MulIOp>(result, square), result);
    square = bases.make<arith::MulIOp>(square, square);
  }
  if (exponents.isUnsigned)
    return result;
  // 1 / x^-y truncated: only 1 and -1 stay.
  Value negativeResult = bases.select(bases.compare(Integers::P::eq, x, one), one, bases.constant(0));
  if (!bases.isUnsigned) {
    Value minusOne = bases.constant(-1);
    negativeResult = bases.select(bases.compare(Integers::P::eq, x, minusOne), bases.select(isOdd, minusOne, one), negativeResult);
  }
  return bases.select(exponents.less(y, zero), negativeResult, result);
}
