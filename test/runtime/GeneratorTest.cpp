//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ToyModel.h"
#include "llmopt/runtime/Generator.h"
#include "llmopt/runtime/GraphDecoder.h"
#include "llmopt/runtime/Session.h"
#include "runtime/text/GeneratorLane.h"

#include <gtest/gtest.h>
#include <limits>

using namespace llmopt;

namespace {

std::vector<std::vector<int32_t>> prompts(size_t count) {
  std::vector<std::vector<int32_t>> all(count);
  for (size_t i = 0; i < count; ++i)
    for (size_t j = 0; j < 1 + (i * 31) % 90; ++j)
      all[i].push_back(int32_t((i * 5 + j * j * 7) % 50));
  return all;
}

struct Kind {
  const char *name;
  std::string (*path)();
};

class Generate : public testing::TestWithParam<Kind> {
protected:
  Engine engine_ = Engine::load(GetParam().path(), {.threads = 2}).take();
  Generator generator_ = Generator::create(engine_).take();
  std::vector<int32_t> expected(const std::vector<int32_t> &prompt, size_t count) const {
    return engine_.hasEncode() ? toy::greedy({2}, count, prompt) : toy::greedy(prompt, count);
  }
};
const Kind kKinds[] = {{"Ragged", toy::decoder}, {"EncoderDecoder", toy::encoderDecoder}, {"Graph", toy::graphDecoder}};
INSTANTIATE_TEST_SUITE_P(Kinds, Generate, testing::ValuesIn(kKinds), [](const auto &info) { return info.param.name; });

TEST_P(Generate, GreedyOne) {
  for (const std::vector<int32_t> &prompt : prompts(6)) {
    Result<Generation> result = generator_.generate(prompt, {.maxTokens = 20});
    ASSERT_TRUE(result.ok()) << result.error().str();
    EXPECT_EQ(result->ids, expected(prompt, 20));
    EXPECT_EQ(result->reason, result->ids.back() == 51 ? StopReason::EndToken : StopReason::MaxTokens);
  }
}

TEST_P(Generate, BatchesGiveWhatEachGivesAlone) {
  std::vector<std::vector<int32_t>> all = prompts(17);
  for (size_t batch : {1, 3, 8, 32}) {
    Result<std::vector<Generation>> results = generator_.generateBatch(all, {.maxTokens = 25, .batch = batch});
    ASSERT_TRUE(results.ok()) << results.error().str();
    for (size_t i = 0; i < all.size(); ++i)
      EXPECT_EQ((*results)[i].ids, expected(all[i], 25)) << "prompt " << i << ", batch " << batch;
  }
  EXPECT_EQ(engine_.cacheBytesInUse(), 0u);
}

TEST_P(Generate, ShortPromptsDoNotEndWithLongOnes) {
  std::vector<std::vector<int32_t>> all = {std::vector<int32_t>(490, 3), {4, 9}};
  GenerateOptions options{.maxTokens = 60, .ignoreEndToken = true};
  std::vector<std::vector<int32_t>> alone;
  for (const std::vector<int32_t> &prompt : all)
    alone.push_back(generator_.generate(prompt, options)->ids);
  Result<std::vector<Generation>> together = generator_.generateBatch(all, options);
  ASSERT_TRUE(together.ok()) << together.error().str();
  for (size_t i = 0; i < all.size(); ++i)
    EXPECT_EQ((*together)[i].ids, alone[i]) << i;
  EXPECT_EQ(alone[1].size(), 60u);
  all.push_back({});
  EXPECT_EQ(generator_.generateBatch(all, options).error().code, "E1505");
}

TEST_P(Generate, SeededDrawsDoNotDependOnTheBatch) {
  std::vector<std::vector<int32_t>> all = prompts(5);
  GenerateOptions options{.maxTokens = 30, .sampling = {.temperature = 20, .topK = 40, .topP = 0.9, .seed = 7}};
  options.batch = 1;
  std::vector<Generation> alone = generator_.generateBatch(all, options).take();
  options.batch = 5;
  std::vector<Generation> together = generator_.generateBatch(all, options).take();
  for (size_t i = 0; i < all.size(); ++i)
    EXPECT_EQ(alone[i].ids, together[i].ids);
  options.sampling.seed = 8;
  EXPECT_NE(generator_.generateBatch(all, options)->front().ids, alone[0].ids);
}

TEST_P(Generate, RefusesSamplingOutsideItsRanges) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInfinity = std::numeric_limits<double>::infinity();
  const std::pair<const char *, SamplingOptions> cases[] = {
      {"temperature is nan", {.temperature = kNan}},       {"temperature is -1", {.temperature = -1}},
      {"temperature is inf", {.temperature = kInfinity}},  {"top-k is -1", {.topK = -1}},
      {"top-p is nan", {.topP = kNan}},                    {"top-p is 1.5", {.topP = 1.5}},
      {"min-p is -0.1", {.minP = -0.1}},                   {"repetition penalty is 0", {.repetitionPenalty = 0}},
      {"repetition penalty is nan", {.repetitionPenalty = kNan}}};
  std::vector<int32_t> prompt = {1, 2, 3};
  for (const auto &[words, sampling] : cases) {
    Result<Generation> result = generator_.generate(prompt, {.maxTokens = 2, .sampling = sampling});
    ASSERT_FALSE(result.ok()) << words;
    EXPECT_EQ(result.error().code, "E1514");
    EXPECT_NE(result.error().message.find(words), std::string::npos) << result.error().message;
  }
}

TEST_P(Generate, EndTokenCallbackAndLimits) {
  std::vector<int32_t> prompt = {1, 2, 3}, seen;
  auto three = [&](int32_t id, std::string_view) {
    seen.push_back(id);
    return seen.size() < 3;
  };
  Result<Generation> result = generator_.generate(prompt, {.maxTokens = 20, .ignoreEndToken = true}, three);
  EXPECT_EQ(result->reason, StopReason::Cancelled);
  EXPECT_EQ(result->ids, seen);
  EXPECT_TRUE(generator_.generate(prompt, {.maxTokens = 0})->ids.empty());
  EXPECT_EQ(generator_.generate(std::vector<int32_t>{1, 99}).error().code, "E1505");
  EXPECT_EQ(generator_.generate(std::vector<int32_t>{}).error().code, "E1505");
  EXPECT_EQ(generator_.generate("text").error().code, "E1509");
}

TEST(GenerateText, TextAndStopStrings) {
  Generator generator = Generator::create(Engine::load(toy::textDecoder(), {.threads = 1}).take()).take();
  std::vector<int32_t> prompt = {1, 2, 3}, answer = toy::greedy(prompt, 10);
  std::string expected, streamed;
  for (int32_t id : answer)
    expected += " w" + std::to_string(id);
  auto collect = [&](int32_t, std::string_view text) {
    streamed += text;
    return true;
  };
  Result<Generation> result = generator.generate("w1 w2 w3", {.maxTokens = 10}, collect);
  ASSERT_TRUE(result.ok()) << result.error().str();
  EXPECT_EQ(result->ids, answer);
  EXPECT_EQ(result->text, expected);
  EXPECT_EQ(streamed, expected);
  std::string stop = " w" + std::to_string(answer[4]);
  result = generator.generate("w1 w2 w3", {.maxTokens = 10, .stop = {stop}});
  EXPECT_EQ(result->reason, StopReason::StopString);
  EXPECT_EQ(result->text, expected.substr(0, expected.find(stop)));
}

TEST(GenerateContext, EndsWhenFull) {
  Generator generator = Generator::create(Engine::load(toy::decoder(), {.threads = 1}).take()).take();
  Result<Generation> result = generator.generate(std::vector<int32_t>(490, 3), {.maxTokens = 100, .ignoreEndToken = true});
  ASSERT_TRUE(result.ok()) << result.error().str();
  EXPECT_EQ(result->reason, StopReason::ContextFull);
  EXPECT_EQ(result->ids.size(), 11u); // the last one is not fed any more
}

TEST(SessionTest, RaggedForksAndTruncates) {
  Session session = Session::create(Engine::load(toy::decoder(), {.threads = 2}).take()).take();
  std::vector<int32_t> tokens(100, 4), more = {7, 8};
  ASSERT_TRUE(session.append(tokens).ok());
  Session fork = session.fork().take();
  ASSERT_TRUE(session.append(more).ok());
  ASSERT_TRUE(session.truncate(50).ok());
  EXPECT_EQ(session.length(), 50u);
  tokens.insert(tokens.end(), more.begin(), more.end());
  std::span<const float> row = *fork.append(more);
  EXPECT_EQ(std::vector<float>(row.begin(), row.end()), toy::reference(tokens));
}

TEST(SessionTest, GraphsTruncateAndSayWhyTheyDoNotFork) {
  Session session = Session::create(Engine::load(toy::graphDecoder(), {.threads = 2}).take()).take();
  std::vector<int32_t> tokens = {5, 9, 12, 4, 4, 30}, other = {1, 2};
  ASSERT_TRUE(session.append(tokens).ok());
  ASSERT_TRUE(session.append(other).ok());
  ASSERT_TRUE(session.truncate(6).ok());
  const StepOutput *all = *session.appendAll(std::span(other).subspan(1));
  tokens.push_back(2);
  EXPECT_EQ(std::vector<float>(all->row(0).begin(), all->row(0).end()), toy::reference(tokens));
  Result<Session> fork = session.fork();
  ASSERT_FALSE(fork.ok());
  EXPECT_EQ(fork.error().kind, ErrorKind::Unsupported);
}

TEST(GraphDecoderTest, GraphsThatAreNone) {
  Engine engine = Engine::load(toy::write("sum.llmopt", toy::graphPlan(), Json().set("kind", "graph"))).take();
  EXPECT_EQ(GraphDecoder::create(engine).error().code, "E1507");
  EXPECT_EQ(Generator::create(engine).error().kind, ErrorKind::Unsupported);
}

TEST(StopFinder, AcrossPieces) {
  std::vector<std::string> stops = {"END", "\n\n"};
  text::StopFinder finder(stops);
  EXPECT_EQ(finder.push("abc"), "abc");
  EXPECT_EQ(finder.push("dE"), "d");
  EXPECT_EQ(finder.push("N"), "");
  EXPECT_EQ(finder.push("x\n"), "ENx");
  EXPECT_EQ(finder.push("yEN"), "\ny");
  EXPECT_FALSE(finder.found());
  EXPECT_EQ(finder.push("D tail"), "");
  EXPECT_TRUE(finder.found());
}

} // namespace
