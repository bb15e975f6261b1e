//===- MathApproximationNumber.h - register values with operators -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Lets the approximations read like formulas: `Number` is a float scalar or vector under construction, `Bits` an integer
// one. Every operator appends one instruction; constants take the type of the other side.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_MATHAPPROXIMATIONNUMBER_H
#define LLMOPT_CODEGEN_CPU_MATHAPPROXIMATIONNUMBER_H

#include "codegen/CPU/KernelBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

#include <initializer_list>
#include <limits>

namespace llmopt::cpu {

/// `element` with the lanes of `like`.
inline mlir::Type withElement(mlir::Type like, mlir::Type element) {
  if (auto vector = mlir::dyn_cast<mlir::VectorType>(like))
    return mlir::VectorType::get(vector.getShape(), element);
  return element;
}

class Bits {
public:
  Bits(KernelBuilder &b, mlir::Value v) : b(&b), v(v) {}
  KernelBuilder *b;
  mlir::Value v;

  Bits of(int64_t value) const { return {*b, b->constantInt(v.getType(), value)}; }
  template <typename Op>
  Bits op(Bits other) const {
    return {*b, Op::create(b->ops(), b->loc(), v, other.v)};
  }
  Bits operator+(Bits o) const { return op<mlir::arith::AddIOp>(o); }
  Bits operator-(Bits o) const { return op<mlir::arith::SubIOp>(o); }
  Bits operator&(Bits o) const { return op<mlir::arith::AndIOp>(o); }
  Bits operator|(Bits o) const { return op<mlir::arith::OrIOp>(o); }
  Bits operator^(Bits o) const { return op<mlir::arith::XOrIOp>(o); }
  Bits operator+(int64_t o) const { return *this + of(o); }
  Bits operator-(int64_t o) const { return *this - of(o); }
  Bits operator&(int64_t o) const { return *this & of(o); }
  Bits shl(int64_t n) const { return op<mlir::arith::ShLIOp>(of(n)); }
  Bits ashr(int64_t n) const { return op<mlir::arith::ShRSIOp>(of(n)); }
  Bits lshr(int64_t n) const { return op<mlir::arith::ShRUIOp>(of(n)); }
  mlir::Value isZero() const {
    return mlir::arith::CmpIOp::create(b->ops(), b->loc(), mlir::arith::CmpIPredicate::eq, v, of(0).v);
  }
};

class Number {
public:
  Number(KernelBuilder &b, mlir::Value v) : b(&b), v(v) {}
  KernelBuilder *b;
  mlir::Value v;

  Number of(double value) const { return {*b, b->constant(v.getType(), value)}; }
  Number infinity() const { return of(std::numeric_limits<double>::infinity()); }
  Number nan() const { return of(std::numeric_limits<double>::quiet_NaN()); }
  bool isDouble() const { return mlir::getElementTypeOrSelf(v.getType()).isF64(); }

  Number operator+(Number o) const { return {*b, b->fadd(v, o.v)}; }
  Number operator-(Number o) const { return {*b, b->fsub(v, o.v)}; }
  Number operator*(Number o) const { return {*b, b->fmul(v, o.v)}; }
  Number operator/(Number o) const { return {*b, b->fdiv(v, o.v)}; }
  Number operator+(double o) const { return *this + of(o); }
  Number operator-(double o) const { return *this - of(o); }
  Number operator*(double o) const { return *this * of(o); }
  Number operator-() const { return {*b, mlir::arith::NegFOp::create(b->ops(), b->loc(), v)}; }
  Number fma(Number m, Number a) const { return {*b, b->fma(v, m.v, a.v)}; }
  Number fma(double m, Number a) const { return fma(of(m), a); }
  Number fma(double m, double a) const { return fma(of(m), of(a)); }
  /// Horner's rule, highest power first.
  Number polynomial(std::initializer_list<double> coefficients) const {
    auto it = coefficients.begin();
    Number sum = of(*it++);
    for (; it != coefficients.end(); ++it)
      sum = sum.fma(*this, of(*it));
    return sum;
  }

  mlir::Value compare(mlir::arith::CmpFPredicate predicate, Number o) const {
    return mlir::arith::CmpFOp::create(b->ops(), b->loc(), predicate, v, o.v);
  }
  mlir::Value operator<(Number o) const { return compare(mlir::arith::CmpFPredicate::OLT, o); }
  mlir::Value operator>(Number o) const { return compare(mlir::arith::CmpFPredicate::OGT, o); }
  mlir::Value operator<(double o) const { return *this < of(o); }
  mlir::Value operator>(double o) const { return *this > of(o); }
  mlir::Value equals(Number o) const { return compare(mlir::arith::CmpFPredicate::OEQ, o); }
  mlir::Value equals(double o) const { return equals(of(o)); }
  mlir::Value isNan() const { return compare(mlir::arith::CmpFPredicate::UNO, *this); }

  /// `value` where `condition`, this elsewhere.
  Number where(mlir::Value condition, Number value) const {
    return {*b, mlir::arith::SelectOp::create(b->ops(), b->loc(), condition, value.v, v)};
  }
  Number where(mlir::Value condition, double value) const { return where(condition, of(value)); }
  /// Inside [low, high]; NaN passes.
  Number clamp(double low, double high) const {
    Number up = where(*this < low, low);
    return up.where(up > high, high);
  }
  Number abs() const { return {*b, mlir::math::AbsFOp::create(b->ops(), b->loc(), v)}; }
  Number sqrt() const { return {*b, mlir::math::SqrtOp::create(b->ops(), b->loc(), v)}; }
  Number withSignOf(Number o) const { return {*b, mlir::math::CopySignOp::create(b->ops(), b->loc(), v, o.v)}; }

  Bits bits() const {
    mlir::Type integer = isDouble() ? mlir::Type(b->i64()) : mlir::Type(b->i32());
    return {*b, mlir::arith::BitcastOp::create(b->ops(), b->loc(), withElement(v.getType(), integer), v)};
  }
  /// The float (f32 from i32, f64 from i64) with these bits, or with this value.
  Number fromBits(Bits bits) const { return {*b, mlir::arith::BitcastOp::create(b->ops(), b->loc(), v.getType(), bits.v)}; }
  Number fromInteger(Bits value) const { return {*b, mlir::arith::SIToFPOp::create(b->ops(), b->loc(), v.getType(), value.v)}; }
  /// Half to even for |x| < 2^22 (f32) or 2^51 (f64), by adding and taking off 1.5 * 2^23 (2^52).
  double roundingConstant() const { return isDouble() ? 6755399441055744.0 : 12582912.0; }
};

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_MATHAPPROXIMATIONNUMBER_H
