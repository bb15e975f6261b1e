//===- ElementwiseNarrow.cpp - floats of at most 8 bits ----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The same results as lib/Support's NarrowFloat, in integer arithmetic on vectors.
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/ElementwiseNarrow.h"

#include "codegen/CPU/ElementwiseBits.h"

#include "llmopt/dialects/LLM/ElementTypes.h"

using namespace mlir;
using namespace llmopt;

namespace {

class NarrowBits : public cpu::FloatBits {
public:
  NarrowBits(cpu::KernelBuilder &builder, const NarrowFloat &format, Type like)
      : FloatBits(builder.ops(), builder.loc(), like), f(format), signBit(1u << format.magnitudeBits()), unusedBits(23 - format.mantissaBits) {}

  const NarrowFloat &f;
  uint32_t signBit;
  uint32_t unusedBits; ///< of an f32 mantissa

  Value equals(Value x, uint32_t y) { return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, x, constant(y)); }
  Value isNan(Value x) { return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::UNO, x, x); }

  Value decodePowers(Value code) {
    Value bits = select(equals(code, 0), constant(0x00400000), shl(code, 23)); // 2^-127 is a subnormal number
    return floatOf(select(equals(code, f.nan()), constant(0x7fc00000), bits));
  }

  Value decode(Value code) {
    if (!f.hasSign)
      return decodePowers(code);
    Value magnitude = bitAnd(code, signBit - 1);
    Value normal = add(shl(magnitude, unusedBits), constant(uint32_t(127 - f.bias) << 23));
    // Codes without an exponent are multiples of the smallest one.
    Value number = arith::SIToFPOp::create(b, loc, floats, magnitude);
    Value smallest = floatOf(constant(uint32_t(127 + 1 - f.bias - f.mantissaBits) << 23));
    Value subnormal = bitsOf(arith::MulFOp::create(b, loc, number, smallest));
    Value result = select(less(magnitude, 1u << f.mantissaBits), subnormal, normal);
    if (f.specials == NarrowFloat::Specials::Nan)
      result = select(equals(magnitude, f.nan()), constant(0x7fc00000), result);
    if (f.specials == NarrowFloat::Specials::Ieee) {
      Value special = select(equals(magnitude, f.largest() + 1u), constant(0x7f800000), constant(0x7fc00000));
      result = select(less(magnitude, f.largest() + 1u), result, special);
    }
    result = bitOr(result, shl(bitAnd(code, signBit), uint32_t(31 - f.magnitudeBits())));
    if (f.specials == NarrowFloat::Specials::NanForZero)
      result = select(equals(code, f.nan()), constant(0x7fc00000), result);
    return floatOf(result);
  }

  /// Nearest power of two, ties up; the sign does not count.
  Value encodePowers(Value magnitude) {
    Value rounded = shr(add(magnitude, constant(0x00400000)), 23);
    // From 2^-127 (a subnormal number) on the exponent rises by steps that are not powers of two: below 1.5 * 2^-127 is code 0.
    return select(less(magnitude, 0x00600000), constant(0), rounded);
  }

  Value encodeMagnitude(Value magnitude) {
    Value odd = bitAnd(shr(magnitude, unusedBits), 1);
    Value half = constant((1u << (unusedBits - 1)) - 1);
    Value normal = arith::SubIOp::create(b, loc, shr(add(add(magnitude, half), odd), unusedBits),
                                         constant(uint32_t(127 - f.bias) << f.mantissaBits));
    // Below the smallest normal number: adding a large one lets the float unit round at the right bit.
    Value magic = constant(uint32_t(127 + 24 - f.bias - f.mantissaBits) << 23);
    Value shifted = bitsOf(arith::AddFOp::create(b, loc, floatOf(magnitude), floatOf(magic)));
    Value subnormal = arith::SubIOp::create(b, loc, shifted, magic);
    return select(less(magnitude, uint32_t(127 + 1 - f.bias) << 23), subnormal, normal);
  }

  Value encode(Value value, bool saturate) {
    Value bits = bitsOf(value), magnitude = bitAnd(bits, 0x7fffffff);
    Value code = f.hasSign ? encodeMagnitude(magnitude) : encodePowers(magnitude);
    saturate |= f.specials == NarrowFloat::Specials::None;
    uint32_t infinity = f.specials == NarrowFloat::Specials::Ieee ? f.largest() + 1u : f.nan();
    Value isZero = equals(code, 0), isFinite = less(code, f.largest() + 1u);
    code = select(isFinite, code, constant(saturate ? f.largest() : infinity));
    Value nan = isNan(value);
    if (f.hasSign && (f.specials == NarrowFloat::Specials::Nan || f.specials == NarrowFloat::Specials::Ieee))
      code = select(nan, constant(f.nan()), code);
    if (f.hasSign) {
      Value sign = bitAnd(shr(bits, uint32_t(31 - f.magnitudeBits())), signBit);
      if (f.specials == NarrowFloat::Specials::NanForZero) {
        sign = select(isZero, constant(0), sign);
        if (!saturate)
          sign = select(isFinite, sign, constant(signBit)); // the code of NaN
      }
      code = bitOr(code, sign);
    }
    if (f.specials == NarrowFloat::Specials::None || f.specials == NarrowFloat::Specials::NanForZero || !f.hasSign)
      code = select(nan, constant(f.nan()), code);
    return arith::TruncIOp::create(b, loc, cpu::withElement(ints, b.getI8Type()), code);
  }
};

} // namespace

const NarrowFloat *cpu::narrowFormat(Type elementType) {
  std::optional<DType> dtype = llm::dtypeOf(elementType);
  return dtype ? narrowFloat(*dtype) : nullptr;
}

Value cpu::decodeNarrow(KernelBuilder &b, const NarrowFloat &format, Value codes) {
  NarrowBits bits(b, format, codes.getType());
  return bits.decode(arith::ExtUIOp::create(b.ops(), b.loc(), bits.ints, codes));
}

Value cpu::encodeNarrow(KernelBuilder &b, const NarrowFloat &format, Value values, bool saturate) {
  return NarrowBits(b, format, values.getType()).encode(values, saturate);
}
