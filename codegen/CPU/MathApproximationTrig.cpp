//===- MathApproximationTrig.cpp - sine and its kin, powers ---------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/MathApproximation.h"
#include "codegen/CPU/MathApproximationF32.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

static Number widen(Number x) {
  KernelBuilder &b = *x.b;
  return {b, arith::ExtFOp::create(b.ops(), b.loc(), withElement(x.v.getType(), b.ops().getF64Type()), x.v)};
}

static Number narrow(Number x, Type type) { return {*x.b, arith::TruncFOp::create(x.b->ops(), x.b->loc(), type, x.v)}; }

//===----------------------------------------------------------------------===//
// Sine, cosine, tangent
//===----------------------------------------------------------------------===//

namespace {
struct Reduced {
  Number sine, cosine; ///< of the rest in [-pi/4, pi/4]
  Bits quadrant;       ///< i32, of which the last two bits count
};
} // namespace

/// x = quadrant * pi/2 + r. In f64, so that no cancellation shows up to |x| of about 10^6, with fused multiply-add or without;
/// beyond that the phase gets slowly worse.
static Reduced reduce(Number x) {
  KernelBuilder &b = *x.b;
  Number wide = widen(x);
  double magic = wide.roundingConstant();
  Number shifted = wide * 0.63661977236758134308 + magic;
  Number n = shifted - magic;
  // pi/2 in two parts; the first has 33 bits, so its product with n is exact.
  Number r64 = (wide - n * 1.57079632673412561417) - n * 6.07710050650619224932e-11;
  // Where n is too large for the trick the rest is meaningless; keep the results inside [-1, 1] nevertheless.
  Number r = narrow(r64.clamp(-0.8, 0.8), x.v.getType());
  Type i32 = withElement(x.v.getType(), b.i32());
  Bits quadrant(b, arith::TruncIOp::create(b.ops(), b.loc(), i32, shifted.bits().v));
  Number z = r * r;
  Number sine = (z * z.polynomial({-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1})).fma(r, r);
  Number cosine = (z * z).fma(z.polynomial({2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2}),
                              z.fma(-0.5, 1.0));
  return {sine, cosine, quadrant};
}

/// The sine at `quadrant` quarter turns on: sine or cosine of the rest, its sign turned in the second half.
static Number turned(const Reduced &reduced, Bits quadrant) {
  Number value = reduced.cosine.where((quadrant & 1).isZero(), reduced.sine);
  return value.fromBits(value.bits() ^ (quadrant & 2).shl(30));
}

std::pair<Number, Number> f32::sincos(Number x) {
  Reduced reduced = reduce(x);
  return {turned(reduced, reduced.quadrant), turned(reduced, reduced.quadrant + 1)};
}

Number f32::sin(Number x) { return sincos(x).first; }
Number f32::cos(Number x) { return sincos(x).second; }
Number f32::tan(Number x) {
  auto [sine, cosine] = sincos(x);
  return sine / cosine;
}

std::pair<Value, Value> cpu::emitSinCos(KernelBuilder &b, Value x) {
  auto [sine, cosine] = f32::sincos(Number(b, x));
  return {sine.v, cosine.v};
}

//===----------------------------------------------------------------------===//
// Inverse functions
//===----------------------------------------------------------------------===//

/// asin(s) for |s| <= 1/2.
static Number asinNearZero(Number s) {
  Number z = s * s;
  Number p = z.polynomial({4.2163199048e-2, 2.4181311049e-2, 4.5470025998e-2, 7.4953002686e-2, 1.6666752422e-1});
  return (z * p).fma(s, s);
}

/// sqrt((1 - a) / 2): asin(a) = pi/2 - 2 asin of it. NaN for a > 1.
static Number halfAngle(Number a) { return (a.of(0.5) - a * 0.5).sqrt(); }

Number f32::asin(Number x) {
  Number a = x.abs();
  Number far = x.of(1.57079632679489662) - asinNearZero(halfAngle(a)) * 2.0;
  return far.where(a < 0.5, asinNearZero(a)).withSignOf(x).where(a > 1.0, x.nan());
}

Number f32::acos(Number x) {
  Number a = x.abs();
  Number far = asinNearZero(halfAngle(a)) * 2.0;
  far = far.where(x < 0.0, x.of(3.14159265358979324) - far);
  return far.where(a < 0.5, x.of(1.57079632679489662) - asinNearZero(x)).where(a > 1.0, x.nan());
}

Number f32::atan(Number x) {
  Number a = x.abs();
  Value large = a > 2.414213562373095, middle = a > 0.4142135623730950;
  Number t = a.where(middle, (a - 1.0) / (a + 1.0)).where(large, x.of(-1.0) / a);
  Number base = x.of(0.0).where(middle, 0.785398163397448310).where(large, 1.57079632679489662);
  t = t.where(a.equals(x.infinity()), 0.0);
  Number z = t * t;
  Number p = z.polynomial({8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1});
  return (base + (z * p).fma(t, t)).withSignOf(x).where(x.isNan(), x);
}

//===----------------------------------------------------------------------===//
// Powers
//===----------------------------------------------------------------------===//

/// log2 of a normal positive f64, to about 2^-40.
static Number log2Wide(Number x) {
  Bits offset = x.bits() - 0x3fe6a09e667f3bcd; // sqrt(1/2)
  Bits e = offset.ashr(52);
  Number m = x.fromBits(x.bits() - e.shl(52));
  // e is small: through i32, which converts without AVX-512.
  KernelBuilder &b = *x.b;
  Bits narrowed(b, arith::TruncIOp::create(b.ops(), b.loc(), withElement(x.v.getType(), b.i32()), e.v));
  Number s = (m - 1.0) / (m + 1.0), z = s * s;
  Number p = z.polynomial({1.0 / 15, 1.0 / 13, 1.0 / 11, 1.0 / 9, 1.0 / 7, 1.0 / 5, 1.0 / 3, 1.0});
  return (s * p).fma(2.88539008177792681472, x.fromInteger(narrowed));
}

/// 2^x for |x| < 1000, to about 2^-36.
static Number exp2Wide(Number x) {
  double magic = x.roundingConstant();
  Number shifted = x + magic;
  Number r = (x - (shifted - magic)) * 0.693147180559945309417;
  Number p = r.polynomial({1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1.0, 1.0});
  return p * x.fromBits((shifted.bits() + (1023 - 0x4338000000000000)).shl(52));
}

Number f32::pow(Number x, Number y) {
  // |x|^y in f64: the exponent's absolute error then stays far below what f32 shows. Signs and special cases after C's pow.
  Number a = x.abs();
  Number power = log2Wide(widen(a)) * widen(y);
  // log2Wide knows neither zero nor infinity.
  Number wide = widen(a), wideY = widen(y);
  power = power.where(wide.equals(0.0), -wideY.infinity() * wideY).where(wide.equals(wide.infinity()), wide * wideY);
  Number result = narrow(exp2Wide(power.clamp(-200.0, 200.0)), x.v.getType());
  KernelBuilder &b = *x.b;
  Number truncated(b, emitRound(b, Rounding::Truncate, y.v));
  Number half = y * 0.5, truncatedHalf(b, emitRound(b, Rounding::Truncate, half.v));
  Value integral = truncated.equals(y);
  Value odd = arith::AndIOp::create(b.ops(), b.loc(), integral, half.compare(arith::CmpFPredicate::ONE, truncatedHalf));
  Number negative = x.nan().where(integral, result.where(odd, -result));
  // Also for -0 and -infinity: the sign bit, and those two do not care for fractions.
  Value minus = Number(b, x.of(1.0).withSignOf(x).v) < 0.0;
  Value special = arith::OrIOp::create(b.ops(), b.loc(), x.equals(0.0), a.equals(x.infinity()));
  negative = negative.where(special, result.where(odd, -result));
  result = result.where(minus, negative).where(x.isNan(), x).where(y.isNan(), y);
  Value one = arith::OrIOp::create(b.ops(), b.loc(), x.equals(1.0), y.equals(0.0));
  Value minusOne = arith::AndIOp::create(b.ops(), b.loc(), x.equals(-1.0), y.abs().equals(x.infinity()));
  return result.where(one, 1.0).where(minusOne, 1.0);
}
