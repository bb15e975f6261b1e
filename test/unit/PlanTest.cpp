//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Artifact/Plan.h"

#include <array>
#include <gtest/gtest.h>

using namespace llmopt;
using namespace llmopt::plan;

namespace {

int64_t eval(Expr::Op op, int64_t a, int64_t b) {
  std::array<Expr, 3> expressions = {Expr{.value = a}, Expr{.op = Expr::Op::Symbol, .value = 0}, Expr{.op = op, .lhs = 0, .rhs = 1}};
  return evaluate(expressions, std::array{b})[2];
}

TEST(PlanEvaluate, RoundsTowardsMinusInfinity) {
  EXPECT_EQ(eval(Expr::Op::FloorDiv, -7, 2), -4);
  EXPECT_EQ(eval(Expr::Op::FloorDiv, 7, -2), -4);
  EXPECT_EQ(eval(Expr::Op::CeilDiv, 7, 2), 4);
  EXPECT_EQ(eval(Expr::Op::CeilDiv, -7, 2), -3);
  EXPECT_EQ(eval(Expr::Op::Mod, -7, 4), 1);
  EXPECT_EQ(eval(Expr::Op::Mod, 7, -4), -1);
}

TEST(PlanEvaluate, DivisionByZeroGivesZero) {
  for (Expr::Op op : {Expr::Op::FloorDiv, Expr::Op::CeilDiv, Expr::Op::Mod})
    EXPECT_EQ(eval(op, 5, 0), 0);
  EXPECT_EQ(eval(Expr::Op::FloorDiv, INT64_MIN, -1), INT64_MAX);
}

// A size that wrapped around would be believed.
TEST(PlanEvaluate, SaturatesInsteadOfWrapping) {
  EXPECT_EQ(eval(Expr::Op::Mul, INT64_MAX / 2, 3), INT64_MAX);
  EXPECT_EQ(eval(Expr::Op::Mul, INT64_MAX / 2, -3), INT64_MIN);
  EXPECT_EQ(eval(Expr::Op::Add, INT64_MAX, 1), INT64_MAX);
  EXPECT_EQ(eval(Expr::Op::Sub, INT64_MIN, 1), INT64_MIN);
}

TEST(PlanEvaluate, Broadcast) {
  EXPECT_EQ(eval(Expr::Op::Broadcast, 1, 7), 7);
  EXPECT_EQ(eval(Expr::Op::Broadcast, 7, 1), 7);
  EXPECT_EQ(eval(Expr::Op::Min, 7, 1), 1);
  EXPECT_EQ(eval(Expr::Op::Max, 7, 1), 7);
}

Plan samplePlan() {
  Plan plan;
  plan.states.push_back({.name = "layers.0", .group = 1, .kvHeads = 2, .keySize = 8, .valueSize = 8, .blockBytes = 8192});
  plan.weights.push_back({.name = "w", .dtype = DType::BF16, .shape = {16, 4}, .layout = "panel16", .offset = 64, .bytes = 128});
  Entry entry{.name = "main", .symbols = {"n"}};
  entry.expressions = {Expr{.op = Expr::Op::Symbol}, Expr{.value = 4}, Expr{.op = Expr::Op::Mul, .lhs = 0, .rhs = 1}};
  entry.buffers = {{.name = "x", .kind = BufferKind::Input, .shape = {0}, .bytes = 2, .lastStage = 0},
                   {.name = "w", .kind = BufferKind::Weight, .dtype = DType::BF16, .bytes = 1},
                   {.name = "kv", .kind = BufferKind::State, .bytes = 1},
                   {.name = "y", .kind = BufferKind::Output, .shape = {0}, .bytes = 2}};
  entry.inputs = {0};
  entry.outputs = {3};
  entry.stages = {{.name = "add", .family = "loops", .bindings = {0, 1, 2, 3}, .dims = {0}, .selector = 0,
                   .variants = {{.kernel = "k4", .limit = 4, .units = 0, .scratchBytes = 1}, {.kernel = "k", .units = 2}},
                   .barrier = false, .unitwise = true, .halves = true, .flops = 2, .bytesMoved = 2}};
  entry.requirements = {{.relation = Requirement::Relation::LessEqual, .lhs = 2, .rhs = 1, .node = "Slice_2"}};
  plan.entries.push_back(entry);
  return plan;
}

TEST(PlanJson, RoundTrip) {
  std::string text = toJson(samplePlan()).str();
  Result<Plan> plan = fromJson(*Json::parse(text, "test"), "test");
  ASSERT_TRUE(plan.ok()) << plan.error().str();
  EXPECT_EQ(toJson(*plan).str(), text);
  EXPECT_EQ(plan->entries[0].stages[0].variants[0].limit, 4);
  EXPECT_FALSE(plan->entries[0].stages[0].barrier);
  EXPECT_TRUE(plan->entries[0].stages[0].unitwise);
  EXPECT_TRUE(plan->entries[0].stages[0].halves);
  EXPECT_EQ(plan->weights[0].dtype, DType::BF16);
  EXPECT_EQ(plan->entries[0].requirements[0].node, "Slice_2");
}

TEST(PlanRequirements, SayWhichSizesDoNotFit) {
  Entry entry = samplePlan().entries[0]; // 4 n <= 4
  auto messageFor = [&](Requirement::Relation relation, int64_t n) {
    entry.requirements[0].relation = relation;
    Status status = checkRequirements(entry, evaluate(entry.expressions, std::array{n}));
    return status.ok() ? "" : status.error().code + ": " + status.error().message + " [" + status.error().context + "]";
  };
  const std::string start = "E1512: the inputs' sizes do not fit together: ", end = " [node 'Slice_2']";
  EXPECT_EQ(messageFor(Requirement::Relation::LessEqual, 1), "");
  EXPECT_EQ(messageFor(Requirement::Relation::LessEqual, 0), "");
  EXPECT_EQ(messageFor(Requirement::Relation::LessEqual, 2), start + "8 (n * 4) is more than 4" + end);
  EXPECT_EQ(messageFor(Requirement::Relation::Equal, 1), "");
  EXPECT_EQ(messageFor(Requirement::Relation::Equal, 0), start + "0 (n * 4) should be 4" + end);
  std::swap(entry.requirements[0].lhs, entry.requirements[0].rhs);
  EXPECT_EQ(messageFor(Requirement::Relation::OneOrEqual, 1), "");
  EXPECT_EQ(messageFor(Requirement::Relation::OneOrEqual, 3), start + "4 should be 1 or 12 (n * 4)" + end);
  entry.expressions[1].value = 1;
  EXPECT_EQ(messageFor(Requirement::Relation::OneOrEqual, 3), "");
}

struct Damage {
  const char *name;
  void (*apply)(Plan &);
};

class PlanDamage : public testing::TestWithParam<Damage> {};

TEST_P(PlanDamage, IsRefused) {
  Plan plan = samplePlan();
  GetParam().apply(plan);
  Result<Plan> read = fromJson(toJson(plan), "test");
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code, "E0208");
}

const Damage kDamages[] = {
    {"OperandAfterUser", [](Plan &p) { p.entries[0].expressions[2].rhs = 2; }},
    {"UnknownSymbol", [](Plan &p) { p.entries[0].expressions[0].value = 1; }},
    {"NegativeSymbol", [](Plan &p) { p.entries[0].expressions[0].value = -1; }},
    {"ShapeExpression", [](Plan &p) { p.entries[0].buffers[0].shape[0] = 3; }},
    {"BytesExpression", [](Plan &p) { p.entries[0].buffers[3].bytes = 9; }},
    {"WeightIndex", [](Plan &p) { p.entries[0].buffers[1].index = 1; }},
    {"StateIndex", [](Plan &p) { p.entries[0].buffers[2].index = 7; }},
    {"StateGroup", [](Plan &p) { p.states[0].group = 2; }},
    {"InputIndex", [](Plan &p) { p.entries[0].inputs[0] = 4; }},
    {"InputKind", [](Plan &p) { p.entries[0].inputs[0] = 1; }},
    {"OutputIndex", [](Plan &p) { p.entries[0].outputs[0] = 4; }},
    {"Binding", [](Plan &p) { p.entries[0].stages[0].bindings[2] = 4; }},
    {"Dim", [](Plan &p) { p.entries[0].stages[0].dims[0] = 3; }},
    {"Selector", [](Plan &p) { p.entries[0].stages[0].selector = 3; }},
    {"Units", [](Plan &p) { p.entries[0].stages[0].variants[1].units = 3; }},
    {"NoVariant", [](Plan &p) { p.entries[0].stages[0].variants.clear(); }},
    {"NoOpenVariant", [](Plan &p) { p.entries[0].stages[0].variants.pop_back(); }},
    {"LifetimeBackwards", [](Plan &p) { p.entries[0].buffers[3].firstStage = 1; }},
    {"Requirement", [](Plan &p) { p.entries[0].requirements[0].rhs = 3; }},
    {"LifetimeTooLong", [](Plan &p) { p.entries[0].buffers[3].lastStage = 2; }},
};

INSTANTIATE_TEST_SUITE_P(Plan, PlanDamage, testing::ValuesIn(kDamages), [](const auto &info) { return info.param.name; });

TEST(PlanJson, WrongShapes) {
  for (const char *text : {"{}", "[]", "{\"version\": 2}", "{\"version\": 1, \"states\": 3}",
                           "{\"version\": 1, \"states\": [], \"weights\": [{\"name\": 1}], \"entries\": []}",
                           "{\"version\": 1, \"states\": [], \"weights\": [], \"entries\": [{\"name\": \"main\"}]}"}) {
    Result<Plan> plan = fromJson(*Json::parse(text, "test"), "test");
    EXPECT_FALSE(plan.ok()) << text;
  }
}

} // namespace
