//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Artifact/Plan.h"

#include <algorithm>

using namespace llmopt;
using namespace llmopt::plan;

namespace {

/// Every index an entry holds, against what it points into.
class EntryChecker {
public:
  EntryChecker(const Plan &plan, const Entry &entry, std::string_view context) : plan_(plan), entry_(entry), context_(context) {}

  Status run() {
    for (size_t i = 0; i < entry_.expressions.size(); ++i)
      checkExpr(entry_.expressions[i], i);
    for (const Buffer &buffer : entry_.buffers)
      checkBuffer(buffer);
    for (uint32_t buffer : entry_.inputs)
      if (below(buffer, entry_.buffers.size(), "an input") && entry_.buffers[buffer].kind != BufferKind::Input)
        fail("input '" + entry_.buffers[buffer].name + "' is not an input buffer");
    for (uint32_t buffer : entry_.outputs)
      below(buffer, entry_.buffers.size(), "an output");
    for (const Stage &stage : entry_.stages)
      checkStage(stage);
    for (const Requirement &requirement : entry_.requirements)
      checkExprId(requirement.lhs), checkExprId(requirement.rhs);
    return status_;
  }

private:
  void fail(const std::string &message) {
    if (status_.ok())
      status_ = badInput("E0208", "the plan is invalid: " + message, std::string(context_));
  }
  bool below(uint64_t index, size_t count, const std::string &what) {
    if (index < count)
      return true;
    fail(what + " of entry '" + entry_.name + "' has index " + std::to_string(index) + " of " + std::to_string(count));
    return false;
  }
  void checkExprId(ExprId id) { below(id, entry_.expressions.size(), "an expression"); }

  void checkExpr(const Expr &expr, size_t position) {
    if (expr.op == Expr::Op::Symbol)
      below(uint64_t(expr.value), entry_.symbols.size(), "a symbol");
    else if (expr.op != Expr::Op::Constant)
      below(std::max(expr.lhs, expr.rhs), position, "an operand");
  }

  void checkBuffer(const Buffer &buffer) {
    checkExprId(buffer.bytes);
    for (ExprId dim : buffer.shape)
      checkExprId(dim);
    if (buffer.kind == BufferKind::Weight)
      below(buffer.index, plan_.weights.size(), "a weight");
    else if (buffer.kind == BufferKind::State)
      below(buffer.index, plan_.states.size(), "a state");
    else if (buffer.firstStage > buffer.lastStage || buffer.lastStage > entry_.stages.size())
      fail("buffer '" + buffer.name + "' has a lifetime outside the stages");
  }

  void checkStage(const Stage &stage) {
    for (uint32_t buffer : stage.bindings)
      below(buffer, entry_.buffers.size(), "a binding");
    for (ExprId dim : stage.dims)
      checkExprId(dim);
    for (ExprId expr : {stage.selector, stage.flops, stage.bytesMoved})
      checkExprId(expr);
    if (stage.variants.empty() || stage.variants.back().limit != 0)
      fail("stage '" + stage.name + "' has no variant without limit");
    for (size_t i = 0; i < stage.variants.size(); ++i) {
      checkExprId(stage.variants[i].units);
      checkExprId(stage.variants[i].scratchBytes);
      if (i + 1 < stage.variants.size() && stage.variants[i].limit <= (i ? stage.variants[i - 1].limit : 0))
        fail("the variants of stage '" + stage.name + "' are not ordered by limit");
    }
  }

  const Plan &plan_;
  const Entry &entry_;
  std::string_view context_;
  Status status_;
};

} // namespace

Status plan::checkPlan(const Plan &plan, std::string_view context) {
  for (const State &state : plan.states)
    if (state.group > 1)
      return badInput("E0208", "the plan is invalid: state '" + state.name + "' belongs to group " + std::to_string(state.group) +
                                   "; there are 0 and 1", std::string(context));
  for (const Entry &entry : plan.entries)
    LLMOPT_RETURN_IF_ERROR(EntryChecker(plan, entry, context).run());
  return {};
}

static bool holds(Requirement::Relation relation, int64_t lhs, int64_t rhs) {
  switch (relation) {
  case Requirement::Relation::LessEqual:
    return lhs <= rhs;
  case Requirement::Relation::Equal:
    return lhs == rhs;
  case Requirement::Relation::OneOrEqual:
    return lhs == 1 || lhs == rhs;
  }
  return false;
}

Status plan::checkRequirements(const Entry &entry, std::span<const int64_t> values) {
  for (const Requirement &requirement : entry.requirements) {
    int64_t lhs = values[requirement.lhs], rhs = values[requirement.rhs];
    if (holds(requirement.relation, lhs, rhs))
      continue;
    auto describe = [&](ExprId id) {
      std::string text = describeDim(entry, id), value = std::to_string(values[id]);
      return text == value ? value : value + " (" + text + ")";
    };
    static constexpr const char *kNeeds[] = {" is more than ", " should be ", " should be 1 or "};
    return badInput("E1512", "the inputs' sizes do not fit together: " + describe(requirement.lhs) + kNeeds[size_t(requirement.relation)] +
                                 describe(requirement.rhs), requirement.node.empty() ? "" : "node '" + requirement.node + "'");
  }
  return {};
}
