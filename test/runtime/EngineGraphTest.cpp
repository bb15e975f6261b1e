//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ToyModel.h"
#include "llmopt/runtime/Engine.h"

#include <cmath>
#include <gtest/gtest.h>
#include <thread>

using namespace llmopt;

namespace {

std::string graphPath() {
  static std::string path = toy::write("graph.llmopt", toy::graphPlan(), Json().set("kind", "graph"));
  return path;
}

std::vector<NamedTensor> graphInputs(int64_t n) {
  Tensor a(DType::F32, {n}), b(DType::F32, {n / 2, 2});
  for (int64_t i = 0; i < n; ++i) {
    a.as<float>()[i] = float(i);
    b.as<float>()[i] = float(3 * i + 1);
  }
  std::vector<NamedTensor> inputs;
  inputs.push_back({"b", std::move(b)}); // any order
  inputs.push_back({"a", std::move(a)});
  return inputs;
}

void expectAnswer(const std::vector<NamedTensor> &outputs, int64_t n) {
  ASSERT_EQ(outputs.size(), 2u);
  EXPECT_EQ(outputs[0].name, "sum");
  EXPECT_EQ(outputs[1].tensor.shape(), (std::vector<int64_t>{n / 2, 2}));
  for (int64_t i = 0; i < n; ++i) {
    ASSERT_EQ(outputs[0].tensor.at(i), double(4 * i + 1));
    ASSERT_EQ(outputs[1].tensor.at(i), double(8 * i + 2));
  }
}

class GraphWith : public testing::TestWithParam<unsigned> {};

TEST_P(GraphWith, AnySize) {
  Result<Engine> engine = Engine::load(graphPath(), {.threads = GetParam()});
  ASSERT_TRUE(engine.ok()) << engine.error().str();
  EXPECT_EQ(engine->target(), "x86-64");
  EXPECT_EQ(engine->inputs()[1].typeName(), "f32[n // 2, 2]");
  for (int64_t n : {0, 2, 16, 34, 1000, 34, 2}) {
    Result<std::vector<NamedTensor>> outputs = engine->run(graphInputs(n));
    ASSERT_TRUE(outputs.ok()) << outputs.error().str();
    expectAnswer(*outputs, n);
  }
}
INSTANTIATE_TEST_SUITE_P(Threads, GraphWith, testing::Values(1, 2, 5), testing::PrintToStringParamName());

TEST(Graph, TwoThreadsShareAnEngine) {
  Result<Engine> engine = Engine::load(graphPath(), {.threads = 2});
  ASSERT_TRUE(engine.ok());
  auto work = [&](int64_t size) {
    for (int i = 0; i < 100; ++i)
      expectAnswer(*engine->run(graphInputs(size)), size);
  };
  std::thread first(work, 130), second(work, 64);
  first.join();
  second.join();
}

TEST(Graph, Profile) {
  Engine engine = Engine::load(graphPath(), {.threads = 2}).take();
  EXPECT_TRUE(engine.profile().empty());
  engine.setProfiling(true);
  ASSERT_TRUE(engine.run(graphInputs(64)).ok());
  std::vector<StageProfile> rows = engine.profile();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[1].kernel, "toy_double");
  EXPECT_EQ(rows[1].calls, 1u);
  // Each thread's part of each stage, in order.
  std::vector<StageSpan> spans = engine.trace();
  ASSERT_EQ(spans.size(), 4u);
  for (size_t i = 0; i < spans.size(); ++i) {
    EXPECT_EQ(spans[i].thread, i / 2);
    EXPECT_EQ(spans[i].name, rows[i % 2].name);
    EXPECT_LE(spans[i].begin, spans[i].end);
    EXPECT_TRUE(i % 2 == 0 || spans[i - 1].end <= spans[i].begin) << "a stage begins after the one before";
  }
  engine.setProfiling(false);
  EXPECT_TRUE(engine.profile().empty());
  EXPECT_TRUE(engine.trace().empty());
}

struct Mistake {
  const char *name;
  void (*make)(std::vector<NamedTensor> &);
  const char *message;
};
class GraphMistake : public testing::TestWithParam<Mistake> {};

TEST_P(GraphMistake, IsNamed) {
  Engine engine = Engine::load(graphPath(), {.threads = 1}).take();
  std::vector<NamedTensor> inputs = graphInputs(8);
  GetParam().make(inputs);
  Result<std::vector<NamedTensor>> outputs = engine.run(inputs);
  ASSERT_FALSE(outputs.ok());
  EXPECT_EQ(outputs.error().code, "E1503");
  EXPECT_NE(outputs.error().message.find(GetParam().message), std::string::npos) << outputs.error().message;
}
const Mistake kMistakes[] = {
    {"Missing", [](auto &in) { in.pop_back(); }, "input 'a' of type f32[n] is missing"},
    {"Unknown", [](auto &in) { in[0].name = "q"; }, "has no input 'q'; it has a f32[n], b f32[n // 2, 2]"},
    {"Twice", [](auto &in) { in[0].name = "a"; }, "'a' is given twice"},
    {"Type", [](auto &in) { in[1].tensor = Tensor(DType::I64, {8}); }, "input 'a' is i64[8]; expected f32[n]"},
    {"Rank", [](auto &in) { in[0].tensor = Tensor(DType::F32, {8}); }, "input 'b' is f32[8]; expected f32[n // 2, 2]"},
    {"Dimension", [](auto &in) { in[0].tensor = Tensor(DType::F32, {3, 2}); }, "dimension 0 should be 4, as 'n // 2' is 4"},
    {"Constant", [](auto &in) { in[0].tensor = Tensor(DType::F32, {4, 3}); }, "dimension 1 should be 2"},
};
INSTANTIATE_TEST_SUITE_P(Graph, GraphMistake, testing::ValuesIn(kMistakes), [](const auto &info) { return info.param.name; });

} // namespace
