//===- MathApproximationTable.cpp - functions from tables in registers ----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// x Phi(x) = max(x, 0) - |x| T(|x|), where the tail T(a) = Phi(-a) falls from 1/2 to nothing. Between 0 and 6.2 it is a polynomial of degree 4
// (2 where the result is rounded to bf16) on each of 32 pieces; one permutation of two registers looks up a coefficient for 16 lanes.
//
// 2^x is a line on each of 16 pieces between two integers.
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/MathApproximation.h"
#include "codegen/CPU/MathApproximationF32.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

#include <array>
#include <cmath>
#include <functional>
#include <numbers>

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

constexpr int64_t kPieces = 32, kMostDegree = 4, kRoughDegree = 2;
constexpr double kPiecesPerUnit = 5, kLast = (kPieces - 1) / kPiecesPerUnit;

using Polynomial = std::array<double, kMostDegree + 1>; ///< lowest power first

double geluTail(double a) { return std::erfc(a * std::numbers::sqrt2 / 2) / 2; }
/// Of the variant by tanh: 1/2 (1 - tanh u).
double geluTanhTail(double a) { return 1 / (1 + std::exp(2 * 0.797884560802865356 * (a + 0.044715 * a * a * a))); }

/// Takes the values of `f` at the Chebyshev nodes of [-1/2, 1/2].
Polynomial interpolate(const std::function<double(double)> &f, size_t degree) {
  Polynomial node, difference, result{};
  for (size_t i = 0; i <= degree; ++i) {
    node[i] = std::cos(double(2 * i + 1) * std::numbers::pi / double(2 * (degree + 1))) / 2;
    difference[i] = f(node[i]);
  }
  for (size_t order = 1; order <= degree; ++order)
    for (size_t i = degree; i >= order; --i)
      difference[i] = (difference[i] - difference[i - 1]) / (node[i] - node[i - order]);
  result[0] = difference[degree];
  for (size_t k = degree; k-- > 0;) { // result * (r - node) + difference
    for (size_t power = degree; power > 0; --power)
      result[power] = result[power - 1] - node[k] * result[power];
    result[0] = difference[k] - node[k] * result[0];
  }
  return result;
}

/// Polynomials in the distance from the pieces' middles, in pieces; the last one is a line that ends at 0.
std::array<Polynomial, kPieces> piecesOf(double (*tail)(double), size_t degree) {
  std::array<Polynomial, kPieces> pieces{};
  for (int64_t i = 0; i + 1 < kPieces; ++i)
    pieces[size_t(i)] = interpolate([&](double r) { return tail((double(i) + r) / kPiecesPerUnit); }, degree);
  pieces.back()[1] = -2 * tail(kLast - 0.5 / kPiecesPerUnit);
  return pieces;
}

} // namespace

Value cpu::emitGeluByTable(KernelBuilder &b, Value x, bool tanh, bool rough) {
  size_t degree = rough ? kRoughDegree : kMostDegree;
  std::array<Polynomial, kPieces> pieces = piecesOf(tanh ? geluTanhTail : geluTail, degree);
  OpBuilder &ops = b.ops();
  auto type = cast<VectorType>(x.getType());
  Number n(b, x), magnitude = n.abs(), a = magnitude.where(magnitude > kLast, kLast); // NaN stays
  Number magic = n.of(n.roundingConstant()), shifted = a.fma(kPiecesPerUnit, magic);
  Number r = a.fma(kPiecesPerUnit, magic - shifted);
  auto coefficient = [&](size_t power) {
    Value halves[2];
    for (size_t half = 0; half < 2; ++half) {
      SmallVector<float> lanes;
      for (size_t lane = 0; lane < kPieces / 2; ++lane)
        lanes.push_back(float(pieces[half * kPieces / 2 + lane][power]));
      halves[half] = arith::ConstantOp::create(ops, b.loc(), type, DenseElementsAttr::get(type, ArrayRef<float>(lanes)));
    }
    // The piece's number stands in the lowest bits, and of others the instruction takes no notice.
    Value operands[] = {halves[0], shifted.bits().v, halves[1]};
    return Number(b, LLVM::CallIntrinsicOp::create(ops, b.loc(), type, ops.getStringAttr("llvm.x86.avx512.vpermi2var.ps.512"), operands).getResult(0));
  };
  Number tail = coefficient(degree);
  for (size_t power = degree; power-- > 0;)
    tail = tail.fma(r, coefficient(power));
  return (-a).fma(tail, n.where(n < 0.0, 0.0)).v;
}

// On Zen 4 everything here but the one multiply-add runs on ports that products do not use.
Number f32::exp2ByTable(Number x) {
  constexpr int64_t kPlaces = 4, kLines = 1 << kPlaces; // binary places of x that choose the line
  KernelBuilder &b = *x.b;
  OpBuilder &ops = b.ops();
  auto type = cast<VectorType>(x.v.getType());
  auto call = [&](const char *name, ValueRange operands) {
    return Number(b, LLVM::CallIntrinsicOp::create(ops, b.loc(), type, ops.getStringAttr(name), operands).getResult(0));
  };
  auto i32 = [&](int64_t value) { return b.constantInt(b.i32(), value); };
  Value allLanes = b.constantInt(ops.getIntegerType(16), -1), currentRounding = i32(4), none = b.constant(type, 0);
  constexpr int64_t kDown = 9; // rounding, without exceptions
  // The sum's last bits are the places in front of the rest, both rounded down, as scaling does.
  Number shifted = call("llvm.x86.avx512.add.ps.512", {x.v, x.of(x.roundingConstant() / kLines).v, i32(kDown)});
  Number rest = call("llvm.x86.avx512.mask.reduce.ps.512", {x.v, i32(kPlaces << 4 | kDown), none, allLanes, currentRounding});
  // The chord, moved down until its relative error is as large in the middle as at the ends.
  double width = 1.0 / kLines, slope = (std::exp2(width) - 1) / width, middle = 1 / std::numbers::ln2 - 1 / slope;
  double most = (1 + slope * middle) / std::exp2(middle), lowered = 2 / (most + 1);
  auto table = [&](double factor) {
    SmallVector<float> lanes;
    for (int64_t i = 0; i < kLines; ++i)
      lanes.push_back(float(std::exp2(double(i) * width) * factor));
    Value entries = arith::ConstantOp::create(ops, b.loc(), type, DenseElementsAttr::get(type, ArrayRef<float>(lanes)));
    return call("llvm.x86.avx512.permvar.sf.512", {entries, shifted.bits().v});
  };
  Number p = rest.fma(table(lowered * slope), table(lowered));
  return call("llvm.x86.avx512.mask.scalef.ps.512", {p.v, x.v, none, allLanes, currentRounding}); // p * 2^floor(x)
}
