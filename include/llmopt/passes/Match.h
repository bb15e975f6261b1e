//===- Match.h - small questions patterns ask ----------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_MATCH_H
#define LLMOPT_PASSES_MATCH_H

#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/passes/Explain.h"

#include "mlir/IR/Matchers.h"

#include <cmath>
#include <optional>

namespace llmopt::fusion {

/// The value of a float constant that is the same everywhere.
inline std::optional<double> splatOf(mlir::Value value) {
  auto constant = value.getDefiningOp<llm::ConstantOp>();
  auto elements = constant ? llvm::dyn_cast<mlir::DenseFPElementsAttr>(constant.getValue()) : nullptr;
  if (!elements || !(elements.isSplat() || elements.getNumElements() == 1))
    return std::nullopt;
  return (*elements.begin()).convertToDouble();
}

inline bool isSplat(mlir::Value value, double wanted, double tolerance = 1e-4) {
  auto found = splatOf(value);
  return found && std::fabs(*found - wanted) <= tolerance * std::fabs(wanted);
}

/// For a commutative op: the operand that is not `known`, or the one beside a splat of `wanted`.
template <typename Op>
mlir::Value otherOperand(Op op, mlir::Value known) {
  if (op.getLhs() == known)
    return op.getRhs();
  return op.getRhs() == known ? op.getLhs() : mlir::Value();
}
template <typename Op>
mlir::Value besideSplat(Op op, double wanted) {
  if (isSplat(op.getRhs(), wanted))
    return op.getLhs();
  return isSplat(op.getLhs(), wanted) ? op.getRhs() : mlir::Value();
}

inline mlir::RankedTensorType typeOf(mlir::Value value) { return llvm::cast<mlir::RankedTensorType>(value.getType()); }

/// `value` is a vector as long as the last dimension of `of` (static), of the same element type.
inline bool isRowVector(mlir::Value value, mlir::Value of) {
  auto type = typeOf(value), other = typeOf(of);
  return type.getRank() == 1 && other.getRank() >= 1 && type.hasStaticShape() && type.getDimSize(0) == other.getShape().back() &&
         type.getElementType() == other.getElementType();
}

/// For remarks: one that reads `op`'s result beside `known`; `known` itself if it reads it twice, `op` if the function returns it.
inline mlir::Operation *otherUser(mlir::Operation *op, mlir::Operation *known) {
  for (mlir::Operation *user : op->getUsers())
    if (user != known)
      return user->hasTrait<mlir::OpTrait::IsTerminator>() ? op : user;
  return known;
}

/// For remarks: the element types differ, or else what the caller supposes.
inline Miss typeMismatchOr(mlir::Value a, mlir::Value b, Miss otherwise) {
  return typeOf(a).getElementType() == typeOf(b).getElementType() ? otherwise : Miss::TypeMismatch;
}

/// A reduction over the last dimension alone that keeps it.
inline bool reducesLastAxis(llm::ReduceOp op, llm::ReduceKind kind) {
  return op && op.getKind() == kind && op.getKeepdims() && op.getAxes().size() == 1 &&
         op.getAxes()[0] == typeOf(op.getInput()).getRank() - 1;
}

/// What the mean over the last dimension is taken of, written as a mean, or as a sum divided by the size; null if it is none.
inline mlir::Value averaged(mlir::Value value) {
  auto reduce = value.getDefiningOp<llm::ReduceOp>();
  if (reduce && reducesLastAxis(reduce, llm::ReduceKind::mean))
    return reduce.getInput();
  double factor = 1;
  if (auto quotient = value.getDefiningOp<llm::DivOp>()) {
    factor = 1 / splatOf(quotient.getRhs()).value_or(0);
    reduce = quotient.getLhs().getDefiningOp<llm::ReduceOp>();
  } else if (auto product = value.getDefiningOp<llm::MulOp>()) {
    factor = splatOf(product.getRhs()).value_or(0);
    reduce = product.getLhs().getDefiningOp<llm::ReduceOp>();
  }
  if (!reduce || !reducesLastAxis(reduce, llm::ReduceKind::sum))
    return {};
  double size = double(typeOf(reduce.getInput()).getShape().back()); // negative where it is not known
  return std::fabs(factor * size - 1) < 1e-6 ? reduce.getInput() : mlir::Value();
}

/// mean(value * value) over the last dimension, written as pow 2 or as a product with itself: the value squared.
inline mlir::Value meanOfSquare(mlir::Value value) {
  mlir::Value square = averaged(value);
  if (auto power = square ? square.getDefiningOp<llm::PowOp>() : llm::PowOp())
    return isSplat(power.getRhs(), 2.0) ? power.getLhs() : mlir::Value();
  if (auto product = square ? square.getDefiningOp<llm::MulOp>() : llm::MulOp())
    return product.getLhs() == product.getRhs() ? product.getLhs() : mlir::Value();
  return {};
}

/// What the variance over the last dimension is taken of, and its mean.
struct Variance {
  mlir::Value of, mean;
};
/// mean((x - m)^2), or mean(x^2) - m^2, which may be kept from falling below zero; m is the mean of x.
inline std::optional<Variance> matchVariance(mlir::Value value) {
  if (auto square = meanOfSquare(value))
    if (auto centered = square.getDefiningOp<llm::SubOp>(); centered && averaged(centered.getRhs()) == centered.getLhs())
      return Variance{centered.getLhs(), centered.getRhs()};
  if (auto bounded = value.getDefiningOp<llm::MaxOp>())
    if (mlir::Value inner = splatOf(bounded.getRhs()) == 0.0 ? bounded.getLhs() : splatOf(bounded.getLhs()) == 0.0 ? bounded.getRhs() : mlir::Value())
      value = inner;
  auto difference = value.getDefiningOp<llm::SubOp>();
  auto squared = difference ? difference.getRhs().getDefiningOp<llm::MulOp>() : llm::MulOp();
  mlir::Value of = difference ? meanOfSquare(difference.getLhs()) : mlir::Value();
  if (!of || !squared || squared.getLhs() != squared.getRhs() || averaged(squared.getLhs()) != of)
    return std::nullopt;
  return Variance{of, squared.getLhs()};
}

/// y + epsilon; exporters leave out an epsilon that is too small for them.
struct PlusEpsilon {
  mlir::Value value;
  double epsilon = 0;
};
inline PlusEpsilon plusEpsilon(mlir::Value sum) {
  if (auto add = sum.getDefiningOp<llm::AddOp>()) {
    if (auto epsilon = splatOf(add.getRhs()))
      return {add.getLhs(), *epsilon};
    if (auto epsilon = splatOf(add.getLhs()))
      return {add.getRhs(), *epsilon};
  }
  return {sum, 0};
}

/// What is under sqrt(y + epsilon), or pow(y + epsilon, 0.5).
inline std::optional<PlusEpsilon> underRoot(mlir::Value root) {
  if (auto sqrt = root.getDefiningOp<llm::SqrtOp>())
    return plusEpsilon(sqrt.getInput());
  auto power = root.getDefiningOp<llm::PowOp>();
  return power && isSplat(power.getRhs(), 0.5) ? std::optional(plusEpsilon(power.getLhs())) : std::nullopt;
}

/// The same for 1 / sqrt(y + epsilon) in the forms rsqrt(..), reciprocal(sqrt(..)), 1 / sqrt(..), pow(.., -0.5).
inline std::optional<PlusEpsilon> underInverseRoot(mlir::Value value) {
  if (auto rsqrt = value.getDefiningOp<llm::RsqrtOp>())
    return plusEpsilon(rsqrt.getInput());
  if (auto reciprocal = value.getDefiningOp<llm::ReciprocalOp>())
    return underRoot(reciprocal.getInput());
  if (auto quotient = value.getDefiningOp<llm::DivOp>(); quotient && isSplat(quotient.getLhs(), 1.0))
    return underRoot(quotient.getRhs());
  auto power = value.getDefiningOp<llm::PowOp>();
  return power && isSplat(power.getRhs(), -0.5) ? std::optional(plusEpsilon(power.getLhs())) : std::nullopt;
}

/// `numerator / sqrt(y + epsilon)` in any of its spellings.
struct Normalized {
  mlir::Value numerator;
  PlusEpsilon under;
};
inline std::optional<Normalized> matchNormalized(mlir::Operation *op) {
  if (auto quotient = llvm::dyn_cast<llm::DivOp>(op))
    if (auto found = underRoot(quotient.getRhs()))
      return Normalized{quotient.getLhs(), *found};
  if (auto product = llvm::dyn_cast<llm::MulOp>(op)) {
    if (auto found = underInverseRoot(product.getRhs()))
      return Normalized{product.getLhs(), *found};
    if (auto found = underInverseRoot(product.getLhs()))
      return Normalized{product.getRhs(), *found};
  }
  return std::nullopt;
}

} // namespace llmopt::fusion

#endif // LLMOPT_PASSES_MATCH_H
