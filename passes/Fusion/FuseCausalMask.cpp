//===- FuseCausalMask.cpp - masks that say what `causal` says ---------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %c = llm.compare le range(T), range(T - S, T) [S, 1]
//   %m = llm.select (%c and %padding), 0, -inf
//   %y = llm.attention %q, %k, %v mask %m            ==>   %y = llm.attention %q, %k, %v mask %padding {causal}
//
// A bias that is added to such a mask (T5) stays. Kernels pass over keys that `causal` and `window` hide, and read no mask for them. What the
// mask says beside is kept. Does not fuse along another diagonal than that of the last token, and not where hidden keys get a finite number and
// something else hides keys, too: a row that sees nothing is then an average over all keys, which `causal` would change.
//
//===----------------------------------------------------------------------===//
#include "passes/Fusion/PositionRule.h"

#include "llmopt/passes/Match.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

namespace {

/// A number this low makes any score vanish (AttentionScores.cpp).
constexpr double kVanishes = -1e30;

/// A mask as the condition under which keys are seen.
struct Condition {
  Value value;
  PositionRule::Index at;
  bool negated = false;
  bool excludes = true; ///< hidden keys are out, not only far down
  bool isMoved = false; ///< between condition and attention dimensions were added
};

/// A constant number under broadcasts and reshapes.
std::optional<double> numberUnderMoves(Value value) {
  while (value.getDefiningOp() && isa<llm::BroadcastOp, llm::ReshapeOp, llm::ExpandDimsOp>(value.getDefiningOp()))
    value = value.getDefiningOp()->getOperand(0);
  return splatOf(value);
}

/// A constant of zeros and of numbers that make scores vanish; all of these infinite, or the highest.
std::optional<double> lowestOfTable(Operation *op) {
  auto constant = dyn_cast<llm::ConstantOp>(op);
  auto elements = constant ? dyn_cast<DenseFPElementsAttr>(constant.getValue()) : nullptr;
  if (!elements)
    return std::nullopt;
  double highest = -INFINITY;
  for (const APFloat &element : elements.getValues<APFloat>()) {
    double number = element.convertToDouble();
    if (number != 0 && !(number <= kVanishes))
      return std::nullopt;
    highest = number != 0 ? std::max(highest, number) : highest;
  }
  return highest;
}

std::optional<Condition> conditionOf(Value mask, PositionRule &rule, SymExpr rows, SymExpr columns) {
  auto at = rule.lastTwo(mask, rows, columns);
  if (!at)
    return std::nullopt;
  Condition condition{mask, *at};
  while (true) {
    Operation *op = condition.value.getDefiningOp();
    if (!op)
      return std::nullopt;
    if (getElementTypeOrSelf(condition.value.getType()).isInteger(1))
      return condition;
    if (auto select = dyn_cast<llm::SelectOp>(op)) {
      auto yes = numberUnderMoves(select.getLhs()), no = numberUnderMoves(select.getRhs());
      bool swapped = no && *no == 0;
      double low = yes && no ? (swapped ? *yes : *no) : 0;
      if (!(low <= kVanishes) || (swapped ? *no : *yes) != 0)
        return std::nullopt;
      condition.at = rule.ofOperand(select.getCondition(), condition.value, condition.at);
      condition.value = select.getCondition();
      condition.negated = swapped;
      condition.excludes = std::isinf(low);
      return condition;
    }
    if (auto lowest = lowestOfTable(op)) {
      condition.negated = true; // true where it is zero
      condition.excludes = std::isinf(*lowest);
      return condition;
    }
    if (auto cast = dyn_cast<llm::CastOp>(op); cast && isa<FloatType>(getElementTypeOrSelf(cast.getInput().getType()))) {
      condition.value = cast.getInput(); // zero and minus infinity are the same in all types, and what is finite counts as finite
      continue;
    }
    auto before = rule.before(op, condition.at);
    if (!before)
      return std::nullopt;
    condition.value = op->getOperand(0);
    condition.at = *before;
    condition.isMoved = true;
  }
}

/// A mask as a condition and a number that is added beside it.
struct BiasedCondition {
  Condition condition;
  Value bias; ///< may be null
};
std::optional<BiasedCondition> biasedConditionOf(Value mask, PositionRule &rule, SymExpr rows, SymExpr columns) {
  if (auto condition = conditionOf(mask, rule, rows, columns))
    return BiasedCondition{*condition, {}};
  if (auto sum = mask.getDefiningOp<llm::AddOp>())
    for (Value side : sum->getOperands())
      if (auto condition = conditionOf(side, rule, rows, columns))
        return BiasedCondition{*condition, otherOperand(sum, side)};
  return std::nullopt;
}

/// What a mask says: positions, and conditions of another kind.
struct Rule {
  bool causal = false;
  int64_t window = 0;
  SmallVector<std::pair<Value, bool>> rest; ///< with whether it is negated
  bool otherDiagonal = false;
};

struct Fuse : OpRewritePattern<llm::AttentionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(llm::AttentionOp op, PatternRewriter &rewriter) const override {
    if (!op.getMask() || op.getCausal() || op.getWindow() > 0)
      return rewriter.notifyMatchFailure(op, "no mask, or positions are looked at already");
    SymContext symbols;
    assumeQueries(op, symbols);
    ShapeAnalysis shapes(symbols);
    PositionRule positions(shapes);
    SymExpr queries = shapes.shapeOf(op.getQuery()).dims[2], keys = shapes.shapeOf(op.getKey()).dims[2];
    auto found = biasedConditionOf(op.getMask(), positions, queries, keys);
    if (!found)
      return rewriter.notifyMatchFailure(op, "the mask is not computed from a condition");
    const Condition *condition = &found->condition;
    Rule rule;
    read(condition->value, condition->at, condition->negated, positions, symbols, symbols.sub(keys, queries), rule);
    if (!rule.causal && rule.otherDiagonal)
      return missed(rewriter, condition->value, Miss::OtherConstant, "the mask is causal along another diagonal than that of the last query and the last key",
                    "count queries from the number of past keys");
    if (!rule.causal)
      return rewriter.notifyMatchFailure(op, "the mask does not follow from positions");
    if (!rule.rest.empty() && (!condition->excludes || condition->isMoved))
      return missed(rewriter, condition->value, Miss::OtherConstant,
                    "keys are hidden by a finite number, and not by their positions alone: rows that see nothing would change",
                    "hide keys with -inf or a boolean mask, or leave the padding mask out");
    if (!rule.rest.empty() && found->bias)
      return missed(rewriter, condition->value, Miss::OtherOperand, "a bias is added, and keys are hidden not by their positions alone", "leave the padding mask out");
    if (!condition->excludes && !symbols.provenLessEqual(queries, keys))
      return missed(rewriter, condition->value, Miss::ShapeUnknown, "not proven that there are at least as many keys as queries", "name the dimensions past + seq and seq");
    Value mask = found->bias ? found->bias : conjunction(rule.rest, op.getLoc(), shapes, rewriter);
    rewriter.replaceOpWithNewOp<llm::AttentionOp>(op, op.getType(), op.getQuery(), op.getKey(), op.getValue(), mask, op.getScaleAttr(),
                                                  rewriter.getUnitAttr(), rewriter.getI64IntegerAttr(rule.window), op.getSoftcapAttr());
    return success();
  }

private:
  /// Without queries any mask is right, and "the first of them" is one element only where there are some.
  static void assumeQueries(llm::AttentionOp op, SymContext &symbols) {
    SymContext others;
    ShapeAnalysis shapes(others);
    SymExpr queries = shapes.shapeOf(op.getQuery()).dims[2];
    if (queries.known() && queries.node()->op == SymExpr::Node::Op::Symbol)
      symbols.assumeAtLeast(queries.node()->name, 1);
  }

  static void read(Value value, const PositionRule::Index &at, bool negated, PositionRule &positions, SymContext &symbols, SymExpr past, Rule &rule) {
    Operation *op = value.getDefiningOp();
    if (op && (negated ? isa<llm::OrOp>(op) : isa<llm::AndOp>(op))) {
      for (Value part : op->getOperands())
        read(part, positions.ofOperand(part, value, at), negated, positions, symbols, past, rule);
      return;
    }
    auto conditions = positions.conditions(value, at, negated);
    Rule found = rule;
    bool all = conditions && llvm::all_of(*conditions, [&](const PositionForm &form) { return take(form, symbols, past, found); });
    auto has = [&](int64_t row, int64_t column) {
      return conditions && llvm::any_of(*conditions, [&](const PositionForm &form) { return form.row == row && form.column == column; });
    };
    if (all) {
      rule = found;
      return;
    }
    rule.otherDiagonal |= has(-1, 1) && !has(1, -1); // not a window to both sides
    rule.rest.push_back({value, negated});
  }

  /// Adds what "form <= 0" means; false if that is neither of causality, a window and nothing.
  static bool take(const PositionForm &form, SymContext &symbols, SymExpr past, Rule &rule) {
    if (form.row <= 0 && form.column <= 0 && form.offset.constant().value_or(1) <= 0)
      return true; // places are not negative
    if (form.row == -1 && form.column == 1 && symbols.add(form.offset, past).isConstant(0)) {
      rule.causal = true;
      return true;
    }
    // j > i + past - window is i - j + past - window + 1 <= 0.
    auto rest = symbols.sub(form.offset, past).constant();
    int64_t window = rest ? 1 - *rest : 0;
    if (form.row != 1 || form.column != -1 || window <= 0)
      return false;
    rule.window = rule.window > 0 ? std::min(rule.window, window) : window;
    return true;
  }

  static Value conjunction(ArrayRef<std::pair<Value, bool>> parts, Location loc, ShapeAnalysis &shapes, PatternRewriter &rewriter) {
    Value all;
    for (auto [value, negated] : parts) {
      if (negated)
        value = createInferred(rewriter, loc, shapes, "llm.not", {value})->getResult(0);
      all = all ? createInferred(rewriter, loc, shapes, "llm.and", {all, value})->getResult(0) : value;
    }
    return all;
  }
};

} // namespace

namespace llmopt::fusion {
void addFuseCausalMask(RewritePatternSet &patterns) { patterns.add<Fuse>(patterns.getContext()); }
} // namespace llmopt::fusion
