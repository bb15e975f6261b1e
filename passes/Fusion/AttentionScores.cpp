//===- AttentionScores.cpp - from the softmax down to Q K^T ---------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "passes/Fusion/AttentionScores.h"

#include "llmopt/passes/Match.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

namespace {

/// Numbers this far down make any score vanish when added, so that adding and replacing are the same.
constexpr double kVanishes = -1e30;
constexpr int kMostSteps = 8;

} // namespace

Value fusion::withoutScale(Value value, double &scale) {
  while (true) {
    if (auto product = value.getDefiningOp<llm::MulOp>()) {
      auto right = splatOf(product.getRhs()), left = splatOf(product.getLhs());
      Value next = right ? product.getLhs() : left ? product.getRhs() : Value();
      if (!next || next.getType() != value.getType())
        return value;
      scale *= right ? *right : *left;
      value = next;
    } else if (auto quotient = value.getDefiningOp<llm::DivOp>()) {
      auto divisor = splatOf(quotient.getRhs());
      if (!divisor || *divisor == 0 || quotient.getLhs().getType() != value.getType())
        return value;
      scale /= *divisor;
      value = quotient.getLhs();
    } else {
      return value;
    }
  }
}

//===----------------------------------------------------------------------===//
// Looking
//===----------------------------------------------------------------------===//

bool AttentionScores::leadsToProduct(Value value, int depth) {
  if (value.getDefiningOp<llm::MatMulOp>())
    return true;
  auto step = depth < kMostSteps ? stepOf(value) : std::nullopt;
  return step && leadsToProduct(step->second, depth + 1);
}

std::optional<std::pair<AttentionScores::Step, Value>> AttentionScores::stepOf(Value value) {
  using Found = std::optional<std::pair<Step, Value>>;
  auto found = [&](Step step, Value before) -> Found {
    return before.getType() == value.getType() ? Found({step, before}) : std::nullopt;
  };
  if (auto product = value.getDefiningOp<llm::MulOp>(); product || value.getDefiningOp<llm::DivOp>()) {
    Operation *op = value.getDefiningOp();
    auto right = splatOf(op->getOperand(1)), left = splatOf(op->getOperand(0));
    if (right && (product || *right != 0))
      return found({Kind::Scale, {}, product ? *right : 1 / *right}, op->getOperand(0));
    return left && product ? found({Kind::Scale, {}, *left}, op->getOperand(1)) : std::nullopt;
  }
  if (auto tanh = value.getDefiningOp<llm::TanhOp>())
    return found({Kind::Tanh}, tanh.getInput());
  if (auto add = value.getDefiningOp<llm::AddOp>()) {
    bool left = leadsToProduct(add.getLhs());
    return found({Kind::Add, left ? add.getRhs() : add.getLhs()}, left ? add.getLhs() : add.getRhs());
  }
  if (auto sub = value.getDefiningOp<llm::SubOp>())
    return found({Kind::Subtract, sub.getRhs()}, sub.getLhs());
  if (auto select = value.getDefiningOp<llm::SelectOp>()) {
    auto right = splatOf(select.getRhs()), left = splatOf(select.getLhs());
    if (right && *right <= kVanishes)
      return found({Kind::Replace, select.getCondition(), *right}, select.getLhs());
    if (left && *left <= kVanishes)
      return found({Kind::Replace, select.getCondition(), *left, /*negated=*/true}, select.getRhs());
  }
  return std::nullopt;
}

/// tanh is a cap only on the scaled product itself, and one number behind it is the cap.
bool AttentionScores::fitsOneForm() const {
  bool inside = true, capped = false, hasCap = false;
  for (const Step &step : llvm::reverse(steps_)) {
    if (step.kind == Kind::Tanh && (!inside || capped))
      return false;
    if (step.kind == Kind::Scale && capped && (hasCap || !inside))
      return false;
    hasCap |= step.kind == Kind::Scale && capped;
    capped |= step.kind == Kind::Tanh;
    inside &= step.kind == Kind::Scale || step.kind == Kind::Tanh;
  }
  return true;
}

bool AttentionScores::match(Value scores) {
  for (at_ = scores; int(steps_.size()) <= kMostSteps;) {
    if (!at_.hasOneUse())
      return false;
    if ((product = at_.getDefiningOp<llm::MatMulOp>()))
      break;
    auto step = stepOf(at_);
    if (!step)
      return false;
    steps_.push_back(step->first);
    at_ = step->second;
  }
  if (!product || !fitsOneForm())
    return false;
  bool isCapped = false;
  for (const Step &step : llvm::reverse(steps_)) {
    isCapped |= step.kind == Kind::Tanh;
    if (step.kind == Kind::Tanh)
      softcap = 1;
    else if (step.kind == Kind::Scale)
      (isCapped ? softcap : scale) *= step.number; // behind a mask, it scales the mask as well
  }
  if (isCapped) // softcap * tanh(x * s) is a cap of x * (s * softcap)
    scale *= softcap;
  return softcap >= 0;
}

//===----------------------------------------------------------------------===//
// Building
//===----------------------------------------------------------------------===//

void AttentionScores::build(PatternRewriter &rewriter, ShapeAnalysis &shapes) {
  Location loc = product.getLoc();
  auto create = [&](StringRef name, ValueRange operands) { return createInferred(rewriter, loc, shapes, name, operands)->getResult(0); };
  auto number = [&](double value) -> Value {
    auto scalar = RankedTensorType::get({}, rewriter.getF32Type());
    return llm::ConstantOp::create(rewriter, loc, DenseElementsAttr::get(scalar, float(value)));
  };
  for (const Step &step : llvm::reverse(steps_))
    switch (step.kind) {
    case Kind::Tanh:
      break;
    case Kind::Scale:
      if (mask)
        mask = create("llm.mul", {mask, number(step.number)});
      break;
    case Kind::Add:
      mask = mask ? create("llm.add", {mask, step.operand}) : step.operand;
      break;
    case Kind::Subtract:
      mask = mask ? create("llm.sub", {mask, step.operand}) : create("llm.neg", {step.operand});
      break;
    case Kind::Replace: {
      Value stays = step.negated ? create("llm.not", {step.operand}) : step.operand;
      mask = create("llm.select", {stays, mask ? mask : number(0), number(step.number)});
      break;
    }
    }
}
