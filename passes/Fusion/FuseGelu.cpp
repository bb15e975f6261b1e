//===- FuseGelu.cpp - the exporters' spellings of GELU ---------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   0.5 * x * (1 + erf(x / sqrt(2)))                            ==>   llm.gelu %x
//   0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))   ==>   llm.gelu %x {tanh}
//   0.5 * x * (1 + tanh(sqrt(2 / pi) * x * (1 + 0.044715 * x * x)))   the same
// The factors of the product come in any order: they are collected and then told apart.
//
//===----------------------------------------------------------------------===//
#include "llmopt/passes/Match.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

namespace {

constexpr double kSqrtHalf = 0.70710678118654752, kSqrtTwo = 1.41421356237309505, kSqrtTwoOverPi = 0.79788456080286536;

/// Leaves of a tree of products; inner products must have one use, or the rewrite would compute them twice.
void collectFactors(Value value, SmallVectorImpl<Value> &factors, bool root = true) {
  auto product = value.getDefiningOp<llm::MulOp>();
  if (!product || (!root && !value.hasOneUse()) || factors.size() > 4) {
    factors.push_back(value);
    return;
  }
  collectFactors(product.getLhs(), factors, false);
  collectFactors(product.getRhs(), factors, false);
}

/// x where value = x / sqrt(2) or x * sqrt(1/2).
Value unscaled(Value value) {
  if (auto quotient = value.getDefiningOp<llm::DivOp>())
    return isSplat(quotient.getRhs(), kSqrtTwo) ? quotient.getLhs() : Value();
  if (auto product = value.getDefiningOp<llm::MulOp>())
    return besideSplat(product, kSqrtHalf);
  return {};
}

bool isCube(Value value, Value x) {
  if (auto power = value.getDefiningOp<llm::PowOp>())
    return power.getLhs() == x && isSplat(power.getRhs(), 3.0);
  SmallVector<Value> factors;
  collectFactors(value, factors);
  return factors.size() == 3 && llvm::all_equal(factors) && factors[0] == x;
}

/// x where value = sqrt(2 / pi) * x * (1 + 0.044715 * x * x).
Value factoredTanhArgument(Value value) {
  SmallVector<Value> factors;
  collectFactors(value, factors);
  auto take = [&](auto wanted) {
    auto it = llvm::find_if(factors, wanted);
    Value found = it == factors.end() ? Value() : *it;
    if (found)
      factors.erase(it);
    return found;
  };
  Value scale = take([](Value factor) { return isSplat(factor, kSqrtTwoOverPi); });
  auto besideOne = [](Value factor) { // x may be a sum as well
    auto add = factor.getDefiningOp<llm::AddOp>();
    return add ? besideSplat(add, 1.0) : Value();
  };
  Value sum = take([&](Value factor) { return besideOne(factor) != nullptr; });
  Value square = sum ? besideOne(sum) : Value();
  if (!scale || !square || factors.size() != 1)
    return {};
  Value x = factors.front();
  SmallVector<Value> inner;
  collectFactors(square, inner);
  auto others = llvm::count_if(inner, [](Value factor) { return isSplat(factor, 0.044715); });
  return inner.size() == 3 && others == 1 && llvm::count(inner, x) == 2 ? x : Value();
}

/// x where value = sqrt(2 / pi) * (x + 0.044715 * x^3).
Value tanhArgument(Value value) {
  if (Value x = factoredTanhArgument(value))
    return x;
  auto product = value.getDefiningOp<llm::MulOp>();
  Value sum = product ? besideSplat(product, kSqrtTwoOverPi) : Value();
  auto add = sum ? sum.getDefiningOp<llm::AddOp>() : llm::AddOp();
  if (!add)
    return {};
  for (Value side : {add.getLhs(), add.getRhs()}) {
    auto cubic = side.getDefiningOp<llm::MulOp>();
    Value x = otherOperand(add, side);
    Value cube = cubic ? besideSplat(cubic, 0.044715) : Value();
    if (cube && isCube(cube, x))
      return x;
  }
  return {};
}

struct Gate {
  Value x;
  bool tanh = false;
};

/// 1 + erf(..) or 1 + tanh(..).
std::optional<Gate> matchGate(Value value) {
  auto add = value.getDefiningOp<llm::AddOp>();
  Value inner = add ? besideSplat(add, 1.0) : Value();
  if (!inner)
    return std::nullopt;
  if (auto erf = inner.getDefiningOp<llm::ErfOp>())
    if (Value x = unscaled(erf.getInput()))
      return Gate{x, false};
  if (auto tanh = inner.getDefiningOp<llm::TanhOp>())
    if (Value x = tanhArgument(tanh.getInput()))
      return Gate{x, true};
  return std::nullopt;
}

/// The erf or tanh of something else than GELU's argument, in 1 + erf(..) or 1 + tanh(..).
Operation *nearGate(Value value) {
  auto add = value.getDefiningOp<llm::AddOp>();
  Value inner = add ? besideSplat(add, 1.0) : Value();
  return inner && isa_and_nonnull<llm::ErfOp, llm::TanhOp>(inner.getDefiningOp()) ? inner.getDefiningOp() : nullptr;
}

struct Fuse : OpRewritePattern<llm::MulOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(llm::MulOp root, PatternRewriter &rewriter) const override {
    SmallVector<Value> factors;
    collectFactors(root.getResult(), factors);
    if (factors.size() != 3)
      return rewriter.notifyMatchFailure(root, "not a product of three factors");
    for (unsigned g = 0; g < 3; ++g) {
      auto gate = matchGate(factors[g]);
      if (!gate)
        continue;
      Value a = factors[(g + 1) % 3], b = factors[(g + 2) % 3];
      for (Operation *op : {factors[g].getDefiningOp(), nearGate(factors[g])})
        if (!op->hasOneUse())
          return missed(rewriter, op, Miss::MultiUse, "it is read elsewhere as well", "use it for x alone");
      bool matches = (a == gate->x && isSplat(b, 0.5)) || (b == gate->x && isSplat(a, 0.5));
      if (!matches)
        return missed(rewriter, root, Miss::OtherOperand, "beside 1 + erf(..) or 1 + tanh(..) the factors are not x and 0.5",
                      "write 0.5 * x * (1 + ...) with x the argument of the gate");
      rewriter.replaceOpWithNewOp<llm::GeluOp>(root, root.getType(), gate->x, gate->tanh);
      return success();
    }
    for (Value factor : factors)
      if (Operation *inner = nearGate(factor))
        return missed(rewriter, inner, Miss::OtherConstant, "the argument is not x / sqrt(2), or sqrt(2 / pi) * (x + 0.044715 * x^3)",
                      "use the constants of the published formulas, to 4 digits at least");
    return rewriter.notifyMatchFailure(root, "no factor is 1 + erf(..) or 1 + tanh(..)");
  }
};

} // namespace

namespace llmopt::fusion {
void addFuseGelu(RewritePatternSet &patterns) { patterns.add<Fuse>(patterns.getContext()); }
} // namespace llmopt::fusion
