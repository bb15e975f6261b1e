//===- ShapeRulesElementwise.cpp - broadcasting, and arithmetic on sizes --===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ShapeRules.h"

#include "llvm/ADT/TypeSwitch.h"

#include <cmath>

using namespace llmopt;
using namespace llmopt::llm;
using namespace llmopt::shapes;

namespace {

/// One element of the result from the elements at its place, in symbols. Unknown where it does not follow.
class ElementArithmetic {
public:
  ElementArithmetic(SymContext &symbols, mlir::Operation *op) : symbols_(symbols), op_(op) {
    integer_ = mlir::cast<mlir::RankedTensorType>(op->getOperand(0).getType()).getElementType().isInteger();
  }

  SymExpr apply(llvm::ArrayRef<SymExpr> x) {
    return llvm::TypeSwitch<mlir::Operation *, SymExpr>(op_)
        .Case([&](AddOp) { return symbols_.add(x[0], x[1]); })
        .Case([&](SubOp) { return symbols_.sub(x[0], x[1]); })
        .Case([&](MulOp) { return symbols_.mul(x[0], x[1]); })
        .Case([&](DivOp) { return divide(x[0], x[1]); })
        .Case([&](ModOp mod) { return remainder(x[0], x[1], mod.getTrunc()); })
        .Case([&](PowOp pow) { return isHalf(pow.getOperand(1)) ? root(x[0]) : power(x[0], x[1]); })
        .Case([&](SqrtOp) { return root(x[0]); })
        .Case([&](MinOp) { return symbols_.min(x[0], x[1]); })
        .Case([&](MaxOp) { return symbols_.max(x[0], x[1]); })
        .Case([&](NegOp) { return symbols_.sub(c(0), x[0]); })
        .Case([&](AbsOp) { return notNegative(x[0]) ? x[0] : notPositive(x[0]) ? symbols_.sub(c(0), x[0]) : SymExpr(); })
        .Case([&](ReluOp) { return symbols_.max(x[0], c(0)); })
        .Case([&](SignOp) { return sign(x[0]); })
        .Case<FloorOp, CeilOp, RoundOp>([&](auto) { return x[0]; })
        .Case([&](NotOp) { return isBool() ? truth(logicalNot(asTruth(x[0]))) : symbols_.sub(c(-1), x[0]); })
        .Case<AndOp, OrOp, XorOp>([&](auto) { return bitwise(x[0], x[1]); })
        .Case<ShlOp, ShrOp>([&](auto) { return shift(x[0], x[1]); })
        .Case([&](CompareOp compare) { return truth(decide(compare.getPredicate(), x[0], x[1])); })
        .Case([&](SelectOp) { return select(x[0], x[1], x[2]); })
        .Case([&](CastOp cast) { return convert(cast, x[0]); })
        .Default([](mlir::Operation *) { return SymExpr(); });
  }

private:
  SymExpr c(int64_t value) { return symbols_.constant(value); }
  bool notNegative(SymExpr a) { return symbols_.provenLessEqual(c(0), a); }
  bool notPositive(SymExpr a) { return symbols_.provenLessEqual(a, c(0)); }
  SymExpr truth(std::optional<bool> value) { return value ? c(*value) : SymExpr(); }
  static std::optional<bool> asTruth(SymExpr a) { return a.constant() ? std::optional(*a.constant() != 0) : std::nullopt; }
  static std::optional<bool> logicalNot(std::optional<bool> value) { return value ? std::optional(!*value) : std::nullopt; }
  bool isBool() {
    return mlir::cast<mlir::RankedTensorType>(op_->getResult(0).getType()).getElementType().isInteger(1);
  }

  /// Towards zero, as the dialect divides; floats only where nothing is left over.
  SymExpr divide(SymExpr a, SymExpr b) {
    SymExpr quotient = symbols_.floorDiv(a, b);
    if (quotient.known() && symbols_.mul(quotient, b) == a)
      return quotient;
    if (!integer_)
      return {};
    auto x = a.constant(), y = b.constant();
    if (x && y)
      return *y == 0 || (*x == INT64_MIN && *y == -1) ? SymExpr() : c(*x / *y);
    return notNegative(a) && notNegative(b) ? quotient : SymExpr();
  }

  SymExpr remainder(SymExpr a, SymExpr b, bool truncated) {
    auto x = a.constant(), y = b.constant();
    if (x && y && truncated)
      return *y == 0 || *y == -1 ? SymExpr() : c(*x % *y);
    // A divisor that can only be positive (or the graph is in error) makes floor and Python agree.
    bool agree = notNegative(b) && (!truncated || notNegative(a));
    return (x && y) || agree ? symbols_.mod(a, b) : SymExpr();
  }

  SymExpr power(SymExpr base, SymExpr exponent) {
    int64_t times = exponent.constant().value_or(-1);
    if (times < 0 || times > 16)
      return {};
    SymExpr result = c(1);
    for (int64_t i = 0; i < times; ++i)
      result = symbols_.mul(result, base);
    return result;
  }

  /// Images are square: 196 patches are 14 x 14.
  SymExpr root(SymExpr a) {
    int64_t number = a.constant().value_or(-1), whole = number < 0 ? 0 : int64_t(std::sqrt(double(number)));
    return whole * whole == number ? c(whole) : SymExpr();
  }
  static bool isHalf(mlir::Value value) {
    auto constant = value.getDefiningOp<ConstantOp>();
    auto elements = constant ? mlir::dyn_cast<mlir::DenseFPElementsAttr>(constant.getValue()) : mlir::DenseFPElementsAttr();
    return elements && elements.isSplat() && elements.getSplatValue<llvm::APFloat>().isExactlyValue(0.5);
  }

  SymExpr sign(SymExpr a) {
    if (a.isConstant(0))
      return a;
    if (symbols_.provenLessEqual(c(1), a))
      return c(1);
    return symbols_.provenLessEqual(a, c(-1)) ? c(-1) : SymExpr();
  }

  SymExpr bitwise(SymExpr a, SymExpr b) {
    auto x = a.constant(), y = b.constant();
    if (x && y)
      return mlir::isa<AndOp>(op_) ? c(*x & *y) : mlir::isa<OrOp>(op_) ? c(*x | *y) : c(*x ^ *y);
    // One side can be enough.
    if (mlir::isa<AndOp>(op_) && (a.isConstant(0) || b.isConstant(0)))
      return c(0);
    if (mlir::isa<OrOp>(op_) && isBool() && (a.isConstant(1) || b.isConstant(1)))
      return c(1);
    return {};
  }

  SymExpr shift(SymExpr a, SymExpr b) {
    auto x = a.constant(), y = b.constant();
    if (!x || !y || *x < 0 || *x > INT32_MAX || *y < 0 || *y > 31)
      return {};
    return c(mlir::isa<ShlOp>(op_) ? *x << *y : *x >> *y);
  }

  std::optional<bool> less(SymExpr a, SymExpr b) {
    if (symbols_.provenLessEqual(symbols_.add(a, c(1)), b))
      return true;
    return symbols_.provenLessEqual(b, a) ? std::optional(false) : std::nullopt;
  }

  std::optional<bool> equal(SymExpr a, SymExpr b) {
    if (a == b)
      return true;
    bool differ = less(a, b) == true || less(b, a) == true;
    return differ ? std::optional(false) : std::nullopt;
  }

  std::optional<bool> decide(ComparePredicate predicate, SymExpr a, SymExpr b) {
    switch (predicate) {
    case ComparePredicate::eq:
      return equal(a, b);
    case ComparePredicate::ne:
      return logicalNot(equal(a, b));
    case ComparePredicate::lt:
      return less(a, b);
    case ComparePredicate::le:
      return logicalNot(less(b, a));
    case ComparePredicate::gt:
      return less(b, a);
    case ComparePredicate::ge:
      return logicalNot(less(a, b));
    }
    return std::nullopt;
  }

  SymExpr select(SymExpr condition, SymExpr a, SymExpr b) {
    if (std::optional<bool> known = asTruth(condition))
      return *known ? a : b;
    return a == b ? a : SymExpr();
  }

  SymExpr convert(CastOp cast, SymExpr a) {
    if (!isBool())
      return a;
    return truth(logicalNot(equal(a, c(0))));
  }

  SymContext &symbols_;
  mlir::Operation *op_;
  bool integer_ = false;
};

} // namespace

/// The elements of the result, where the result is small and at least one operand is tracked.
static std::optional<Elements> elementwiseElements(Rules &rules, mlir::Operation *op, llvm::ArrayRef<SymExpr> dims) {
  mlir::Type elementType = mlir::cast<mlir::RankedTensorType>(op->getResult(0).getType()).getElementType();
  bool anyTracked = llvm::any_of(op->getOperands(), [&](mlir::Value v) { return rules.of(v).elements.has_value(); });
  auto box = trackedDims(dims);
  if (!box || !anyTracked || !tracksElementType(elementType))
    return std::nullopt;
  // An operand whose own size is unknown cannot be addressed.
  llvm::SmallVector<llvm::SmallVector<int64_t, 4>> operandDims;
  for (mlir::Value operand : op->getOperands()) {
    auto own = trackedDims(rules.of(operand).dims);
    if (!own)
      return std::nullopt;
    operandDims.push_back(*own);
  }
  ElementArithmetic arithmetic(rules.symbols, op);
  Elements elements;
  forEachIndex(*box, [&](llvm::ArrayRef<int64_t> index) {
    Elements inputs;
    for (auto [operand, own] : llvm::zip(op->getOperands(), operandDims))
      inputs.push_back(rules.element(operand, size_t(broadcastOffset(index, own))));
    elements.push_back(fitted(arithmetic.apply(inputs), elementType));
  });
  return elements;
}

bool Rules::inferElementwise(mlir::Operation *op, Inferred &result) {
  if (!op->hasTrait<llm::Elementwise>())
    return false;
  Dims dims = of(op->getOperand(0)).dims;
  for (mlir::Value operand : op->getOperands().drop_front())
    dims = broadcastDims(symbols, dims, of(operand).dims);
  std::optional<Elements> elements = elementwiseElements(*this, op, dims);
  result = one(std::move(dims), std::move(elements));
  return true;
}
