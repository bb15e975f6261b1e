//===- MathApproximation.cpp - exponential, logarithm and what follows ----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The polynomials of log, asin, atan, sin, cos, tanh and sinh are those of Moshier's Cephes library (single precision);
// erf follows the form of N. Juffa. Tested over the whole range in test/codegen/ElementwiseTests.cpp.
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/MathApproximation.h"

#include "codegen/CPU/MathApproximationF32.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

//===----------------------------------------------------------------------===//
// e^x and log
//===----------------------------------------------------------------------===//

Number f32::exp(Number x, int64_t shift) {
  // x = n ln 2 + r with |r| <= ln 2 / 2; the sum 1 + r + r^2 q(r) times 2^(n + shift), in two factors so that neither
  // leaves the range before the product does.
  x = x.clamp(-105.0, 91.0);
  Number magic = x.of(x.roundingConstant());
  Number shifted = x.fma(1.44269504088896341, magic);
  Number n = shifted - magic;
  Number r = n.fma(2.12194440e-4, n.fma(-0.693359375, x));
  Number q = r.polynomial({1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1});
  Number p = (r * r).fma(q, r) + 1.0;
  Bits exponent = shifted.bits() - magic.bits() + shift;
  Bits half = exponent.ashr(1);
  auto power = [&](Bits e) { return x.fromBits((e + 127).shl(23)); };
  return p * power(half) * power(exponent - half);
}

Number f32::exp2NotPositive(Number x, bool rough) {
  x = x.where(x < -126.0, -126.0);
  Number magic = x.of(x.roundingConstant());
  Number shifted = x + magic;
  Number r = x - (shifted - magic);
  Number p = rough ? r.polynomial({5.5171669074862616e-2, 2.4261112219433045e-1, 6.932609854573365e-1, 9.999280735404956e-1})
                   : r.polynomial({1.5403530393381609e-4, 1.3333558146428443e-3, 9.6181291076284772e-3, 5.5504108664821580e-2,
                                   2.4022650695910072e-1, 6.9314718055994531e-1, 1.0});
  return x.fromBits(p.bits() + shifted.bits().shl(23));
}

Number f32::exp2ByScaling(Number x) {
  KernelBuilder &b = *x.b;
  OpBuilder &ops = b.ops();
  Type type = x.v.getType();
  auto call = [&](const char *name, ValueRange operands) {
    return Number(b, LLVM::CallIntrinsicOp::create(ops, b.loc(), type, ops.getStringAttr(name), operands).getResult(0));
  };
  Value allLanes = b.constantInt(ops.getIntegerType(16), -1), currentRounding = b.constantInt(b.i32(), 4), none = b.constant(type, 0);
  Value floor = b.constantInt(b.i32(), 9);
  Number r = call("llvm.x86.avx512.mask.reduce.ps.512", {x.v, floor, none, allLanes, currentRounding}); // x - floor(x)
  Number p = r.polynomial({2.1702255454374812e-4, 1.243968782859711e-3, 9.6788409960256e-3, 5.54833419845874e-2, 2.402298362739645e-1,
                           6.931469838406188e-1, 1.0});
  return call("llvm.x86.avx512.mask.scalef.ps.512", {p.v, x.v, none, allLanes, currentRounding}); // p * 2^floor(x)
}

Number f32::log(Number x) {
  // x = m 2^e with m in [sqrt(1/2), sqrt(2)), subnormal numbers scaled up first.
  Value tiny = x < 1.17549435e-38;
  Number scaled = x.where(tiny, x * 33554432.0);
  Bits offset = scaled.bits() - 0x3f3504f3;
  Bits e = offset.ashr(23);
  Number f = x.fromBits(scaled.bits() - e.shl(23)) - 1.0;
  Number exponent = x.fromInteger(e);
  exponent = exponent.where(tiny, exponent - 25.0);
  Number z = f * f;
  Number p = f.polynomial({7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
                           -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1});
  Number y = exponent.fma(-2.12194440e-4, f * z * p);
  y = z.fma(-0.5, y);
  Number result = exponent.fma(0.693359375, f + y);
  Value finite = x < x.infinity();
  result = x.where(finite, result); // infinity and NaN as they are
  result = result.where(x < 0.0, x.nan());
  return result.where(x.equals(0.0), -x.infinity());
}

Number f32::log1p(Number x) {
  // What rounding 1 + x lost comes back as a correction. For large x there is nothing to correct, and w - 1 - x could be NaN.
  Number w = x + 1.0;
  Number lost = x - (w - 1.0);
  Number log = f32::log(w);
  return log.where(x.abs() < 1e30, log + lost / w).where(x.equals(-1.0), -x.infinity());
}

//===----------------------------------------------------------------------===//
// Hyperbolic functions
//===----------------------------------------------------------------------===//

Number f32::tanh(Number x) {
  Number a = x.abs(), z = x * x;
  Number p = z.polynomial({-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1});
  Number small = (z * p).fma(x, x);
  Number large = (x.of(1.0) - x.of(2.0) / (f32::exp(a + a) + 1.0)).withSignOf(x);
  return large.where(a < 0.625, small);
}

Number f32::sinh(Number x) {
  Number a = x.abs(), z = x * x;
  Number small = (z * z.polynomial({2.03721912945e-4, 8.33028376239e-3, 1.66667160211e-1})).fma(x, x);
  Number h = f32::exp(a, -1); // half of e^a, which overflows later than e^a
  Number large = (h - x.of(0.25) / h).withSignOf(x);
  return large.where(a < 1.0, small);
}

Number f32::cosh(Number x) {
  Number h = f32::exp(x.abs(), -1);
  return h + x.of(0.25) / h;
}

Number f32::asinh(Number x) {
  Number a = x.abs(), z = a * a;
  Number near = f32::log1p(a + z / ((z + 1.0).sqrt() + 1.0));
  Number far = f32::log(a) + 0.693147180559945309;
  return near.where(a > 1e9, far).withSignOf(x).where(x.isNan(), x);
}

Number f32::acosh(Number x) {
  Number t = x - 1.0;
  Number near = f32::log1p(t + (t + t + t * t).sqrt());
  Number far = f32::log(x) + 0.693147180559945309;
  return near.where(x > 1e9, far).where(t < 0.0, x.nan());
}

Number f32::atanh(Number x) {
  Number a = x.abs();
  return (f32::log1p((a + a) / (x.of(1.0) - a)) * 0.5).withSignOf(x).where(a > 1.0, x.nan());
}

//===----------------------------------------------------------------------===//
// Error function
//===----------------------------------------------------------------------===//

/// log(erfc(t)) for t > 0.92; falls on monotonously beyond the fitted range.
static Number logErfc(Number t) {
  Number s = t * t;
  Number r = t.fma(-1.72853470e-5, 3.83197126e-4);
  Number u = t.fma(-3.88396438e-3, 2.42546219e-2);
  r = r.fma(s, u);
  for (double c : {-1.06777877e-1, -6.34846687e-1, -1.28717512e-1})
    r = r.fma(t, t.of(c));
  return r.fma(t, -t);
}

static Number erfNearZero(Number x) {
  Number s = x * x;
  Number p = s.polynomial({-5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1});
  return p.fma(x, x);
}

Number f32::erf(Number x) {
  Number a = x.abs();
  Number large = (x.of(1.0) - f32::exp(logErfc(a))).withSignOf(x);
  return large.where(a < 0.927734375, erfNearZero(x)).where(x.isNan(), x);
}

// x Phi(x) with Phi taken from the tail it is small on: log2 Phi(-a) is smooth, and its polynomial (fitted up to a = 9) falls on beyond.
// Errors are below 6e-8 for negative x and of 3e-6 relative to the result there; for positive x they are those of rounding.
Number f32::gelu(Number x) {
  Number tail = f32::exp2NotPositive(x.abs().polynomial({-1.737016873e-6, 2.597722960e-5, -1.212479401e-4, -2.968444023e-4, 7.275843527e-3,
                                                         -5.264453962e-2, -4.591597319e-1, -1.151110530, -1.0}));
  Number phi = tail.where(x > 0.0, x.of(1.0) - tail);
  return x.where(x < -14.0, -14.0) * phi; // -inf * 0 is a limit of 0
}

//===----------------------------------------------------------------------===//
// What callers ask for
//===----------------------------------------------------------------------===//

/// One call of the function table a lane.
static Value callLanes(KernelBuilder &b, ScalarFunctionId id, Value x, Value y) {
  auto vector = dyn_cast<VectorType>(x.getType());
  if (!vector)
    return b.callScalar(id, x, y);
  Value result = b.constant(vector, 0);
  for (int64_t lane = 0; lane < vector.getNumElements(); ++lane) {
    auto extract = [&](Value v) { return v ? Value(vector::ExtractOp::create(b.ops(), b.loc(), v, lane)) : Value(); };
    result = vector::InsertOp::create(b.ops(), b.loc(), b.callScalar(id, extract(x), extract(y)), result, lane);
  }
  return result;
}

static Value callAsDouble(KernelBuilder &b, ScalarFunctionId id, Value x, Value y) {
  Type type = x.getType();
  if (getElementTypeOrSelf(type).isF64())
    return callLanes(b, id, x, y);
  Type wide = withElement(type, b.ops().getF64Type());
  auto extend = [&](Value v) { return v ? Value(arith::ExtFOp::create(b.ops(), b.loc(), wide, v)) : Value(); };
  return arith::TruncFOp::create(b.ops(), b.loc(), type, callLanes(b, id, extend(x), extend(y)));
}

Value cpu::emitMath(KernelBuilder &b, ScalarFunctionId id, Value x, Value y) {
  using Id = ScalarFunctionId;
  Number n(b, x);
  if (n.isDouble() || id == Id::Fmod) // fmod is exact, which no short formula is
    return callAsDouble(b, id, x, y);
  switch (id) {
  case Id::Exp: return f32::exp(n).v;
  case Id::Log: return f32::log(n).v;
  case Id::Sin: return f32::sin(n).v;
  case Id::Cos: return f32::cos(n).v;
  case Id::Tan: return f32::tan(n).v;
  case Id::Asin: return f32::asin(n).v;
  case Id::Acos: return f32::acos(n).v;
  case Id::Atan: return f32::atan(n).v;
  case Id::Sinh: return f32::sinh(n).v;
  case Id::Cosh: return f32::cosh(n).v;
  case Id::Asinh: return f32::asinh(n).v;
  case Id::Acosh: return f32::acosh(n).v;
  case Id::Atanh: return f32::atanh(n).v;
  case Id::Tanh: return f32::tanh(n).v;
  case Id::Erf: return f32::erf(n).v;
  case Id::Pow: return f32::pow(n, Number(b, y)).v;
  case Id::Fmod:
  case Id::Count: break;
  }
  return callAsDouble(b, id, x, y);
}

Value cpu::emitLog1p(KernelBuilder &b, Value x) {
  Number n(b, x);
  return n.isDouble() ? emitMath(b, ScalarFunctionId::Log, (n + 1.0).v) : f32::log1p(n).v;
}

Value cpu::emitSigmoid(KernelBuilder &b, Value x) {
  Number n(b, x), e(b, emitMath(b, ScalarFunctionId::Exp, (-n).v));
  return (n.of(1.0) / (e + 1.0)).v;
}

Value cpu::emitSilu(KernelBuilder &b, Value x) {
  Number n(b, x), e(b, emitMath(b, ScalarFunctionId::Exp, (-n).v));
  return (n / (e + 1.0)).v;
}

Value cpu::emitSoftplus(KernelBuilder &b, Value x) {
  // max(x, 0) + log(1 + e^-|x|) overflows nowhere.
  Number n(b, x), e(b, emitMath(b, ScalarFunctionId::Exp, (-n.abs()).v));
  return (n.where(n < 0.0, 0.0) + Number(b, emitLog1p(b, e.v))).v;
}

Value cpu::emitGelu(KernelBuilder &b, Value x, bool tanh) {
  Number n(b, x);
  if (tanh) { // 1/2 (1 + tanh u) is the sigmoid of 2 u
    Number u = (n * n).fma(0.044715, 1.0) * n * (2 * 0.797884560802865356);
    return (n * Number(b, emitSigmoid(b, u.v))).v;
  }
  if (!n.isDouble())
    return f32::gelu(n).v;
  Number erf(b, emitMath(b, ScalarFunctionId::Erf, (n * 0.707106781186547524).v));
  return (n * 0.5 * (erf + 1.0)).v;
}

Value cpu::emitRound(KernelBuilder &b, Rounding mode, Value x) {
  Number n(b, x);
  double integral = n.isDouble() ? 4503599627370496.0 : 8388608.0; // from here on all floats are integers
  Number a = n.abs();
  Value fractional = a < integral;
  if (mode == Rounding::Truncate) {
    Number r = (a + integral) - integral;
    return n.where(fractional, r.where(r > a, r - 1.0).withSignOf(n)).v;
  }
  Number r = ((a + integral) - integral).withSignOf(n);
  if (mode == Rounding::Floor)
    r = r.where(r > n, r - 1.0);
  if (mode == Rounding::Ceil)
    r = r.where(r < n, (r + 1.0).withSignOf(n));
  return n.where(fractional, r).v;
}
