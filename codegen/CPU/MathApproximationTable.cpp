//===- MathApproximationTable.cpp - functions from tables in registers ----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// x Phi(x) = max(x, 0) - |x| T(|x|), where the tail T(a) = Phi(-a) falls from 1/2 to nothing. Between 0 and 6.2 it is a polynomial of degree 4
// on each of 32 pieces; one permutation of two registers looks up a coefficient for 16 lanes.
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/MathApproximation.h"
#include "codegen/CPU/MathApproximationNumber.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

#include <array>
#include <cmath>
#include <functional>
#include <numbers>

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

constexpr int64_t kPieces = 32, kDegree = 4;
constexpr double kPiecesPerUnit = 5, kLast = (kPieces - 1) / kPiecesPerUnit;

using Polynomial = std::array<double, kDegree + 1>; ///< lowest power first

double geluTail(double a) { return std::erfc(a * std::numbers::sqrt2 / 2) / 2; }
/// Of the variant by tanh: 1/2 (1 - tanh u).
double geluTanhTail(double a) { return 1 / (1 + std::exp(2 * 0.797884560802865356 * (a + 0.044715 * a * a * a))); }

/// Takes the values of `f` at the Chebyshev nodes of [-1/2, 1/2].
Polynomial interpolate(const std::function<double(double)> &f) {
  Polynomial node, difference, result{};
  for (int64_t i = 0; i <= kDegree; ++i) {
    node[size_t(i)] = std::cos(double(2 * i + 1) * std::numbers::pi / (2 * (kDegree + 1))) / 2;
    difference[size_t(i)] = f(node[size_t(i)]);
  }
  for (size_t order = 1; order <= kDegree; ++order)
    for (size_t i = kDegree; i >= order; --i)
      difference[i] = (difference[i] - difference[i - 1]) / (node[i] - node[i - order]);
  result[0] = difference[kDegree];
  for (size_t k = kDegree; k-- > 0;) { // result * (r - node) + difference
    for (size_t power = kDegree; power > 0; --power)
      result[power] = result[power - 1] - node[k] * result[power];
    result[0] = difference[k] - node[k] * result[0];
  }
  return result;
}

/// Polynomials in the distance from the pieces' middles, in pieces; the last one is a line that ends at 0.
std::array<Polynomial, kPieces> piecesOf(double (*tail)(double)) {
  std::array<Polynomial, kPieces> pieces{};
  for (int64_t i = 0; i + 1 < kPieces; ++i)
    pieces[size_t(i)] = interpolate([&](double r) { return tail((double(i) + r) / kPiecesPerUnit); });
  pieces.back()[1] = -2 * tail(kLast - 0.5 / kPiecesPerUnit);
  return pieces;
}

} // namespace

Value cpu::emitGeluByTable(KernelBuilder &b, Value x, bool tanh) {
  std::array<Polynomial, kPieces> pieces = piecesOf(tanh ? geluTanhTail : geluTail);
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
  Number tail = coefficient(kDegree);
  for (size_t power = kDegree; power-- > 0;)
    tail = tail.fma(r, coefficient(power));
  return (-a).fma(tail, n.where(n < 0.0, 0.0)).v;
}
