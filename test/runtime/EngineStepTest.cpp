//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ToyModel.h"
#include "llmopt/runtime/Engine.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <thread>

using namespace llmopt;

namespace {

using Tokens = std::vector<int32_t>;

Tokens someTokens(size_t count, int32_t seed) {
  Tokens tokens;
  for (size_t i = 0; i < count; ++i)
    tokens.push_back(int32_t((i * 17 + size_t(seed) * 29 + i * i * 3) % toy::kVocabulary));
  return tokens;
}
std::vector<float> toVector(std::span<const float> row) { return {row.begin(), row.end()}; }

/// A sequence, all its tokens so far, and checks against the reference.
struct Checked {
  Engine &engine;
  Sequence sequence;
  Tokens tokens = {};
  StepOutput output = {};

  explicit Checked(Engine &engine) : engine(engine), sequence(engine.newSequence()) {}
  Checked(Engine &engine, Sequence sequence, Tokens tokens) : engine(engine), sequence(std::move(sequence)), tokens(std::move(tokens)) {}

  void append(const Tokens &more) {
    SequenceInput input{&sequence, more};
    Status status = engine.step({&input, 1}, output);
    ASSERT_TRUE(status.ok()) << status.error().str();
    tokens.insert(tokens.end(), more.begin(), more.end());
    check(output.row(0));
  }
  void check(std::span<const float> row) const {
    ASSERT_EQ(sequence.length(), tokens.size());
    ASSERT_EQ(toVector(row), toy::reference(tokens)) << "after " << tokens.size() << " tokens";
  }
  Checked fork() const { return {engine, sequence.fork(), tokens}; }
  void truncate(size_t length) {
    sequence.truncate(uint32_t(length));
    tokens.resize(length);
  }
};

class StepWith : public testing::TestWithParam<unsigned> {
protected:
  Engine engine_ = Engine::load(toy::decoder(), {.threads = GetParam()}).take();
};
INSTANTIATE_TEST_SUITE_P(Threads, StepWith, testing::Values(1, 2, 5), testing::PrintToStringParamName());

TEST_P(StepWith, ChunksOfAnySize) {
  Tokens all = someTokens(300, 1);
  for (size_t chunk : {1, 7, 63, 64, 65, 300}) {
    Checked sequence(engine_);
    for (size_t i = 0; i < all.size(); i += chunk)
      ASSERT_NO_FATAL_FAILURE(sequence.append(Tokens(all.begin() + long(i), all.begin() + long(std::min(i + chunk, all.size())))));
  }
  EXPECT_EQ(engine_.cacheBytesInUse(), 0u);
}

TEST_P(StepWith, AllLogitsAndNone) {
  Sequence sequence = engine_.newSequence();
  Tokens tokens = someTokens(70, 3);
  StepOutput output;
  SequenceInput none{&sequence, std::span(tokens).first(10), LogitRows::None};
  ASSERT_TRUE(engine_.step({&none, 1}, output).ok());
  EXPECT_EQ(output.rows(), 0u);
  SequenceInput all{&sequence, std::span(tokens).subspan(10), LogitRows::All};
  ASSERT_TRUE(engine_.step({&all, 1}, output).ok());
  ASSERT_EQ(output.rows(), 60u);
  EXPECT_EQ(output.width(), size_t(toy::kVocabulary));
  for (size_t i = 0; i < 60; ++i)
    EXPECT_EQ(toVector(output.row(i)), toy::reference(std::span(tokens).first(11 + i)));
}

// Eight sequences of different lengths that come and go: each gets what it would get alone.
TEST_P(StepWith, SequencesJoinAndLeave) {
  struct Member {
    Checked sequence;
    Tokens pending;
    size_t joins, leaves;
  };
  std::vector<Member> members;
  for (size_t i = 0; i < 8; ++i)
    members.push_back({Checked(engine_), someTokens(1 + i * 23, int32_t(i)), i / 2, 4 + (i * 5) % 7});
  StepOutput output;
  for (size_t step = 0; step < 12; ++step) {
    std::vector<SequenceInput> inputs;
    std::vector<Member *> active;
    for (Member &member : members)
      if (step >= member.joins && step < member.leaves) {
        inputs.push_back({&member.sequence.sequence, member.pending});
        active.push_back(&member);
      }
    ASSERT_TRUE(engine_.step(inputs, output).ok());
    for (size_t i = 0; i < active.size(); ++i) {
      Member &member = *active[i];
      member.sequence.tokens.insert(member.sequence.tokens.end(), member.pending.begin(), member.pending.end());
      std::span<const float> row = output.row(output.firstRow(i));
      ASSERT_NO_FATAL_FAILURE(member.sequence.check(row));
      member.pending = {int32_t(std::max_element(row.begin(), row.end()) - row.begin())};
    }
  }
}

// Both sides of a fork go on alone, at, before and after block borders.
TEST_P(StepWith, ForksAreIndependent) {
  for (size_t length : {1, 63, 64, 65, 130}) {
    Checked parent(engine_);
    ASSERT_NO_FATAL_FAILURE(parent.append(someTokens(length, 5)));
    Checked child = parent.fork();
    Checked grandchild = child.fork();
    ASSERT_NO_FATAL_FAILURE(child.append({1, 2, 3}));
    ASSERT_NO_FATAL_FAILURE(parent.append({4}));
    ASSERT_NO_FATAL_FAILURE(grandchild.append(someTokens(70, 9)));
    ASSERT_NO_FATAL_FAILURE(parent.append({5, 6}));
    ASSERT_NO_FATAL_FAILURE(child.append({7}));
  }
  EXPECT_EQ(engine_.cacheBytesInUse(), 0u);
}

TEST_P(StepWith, ForksShareFullBlocks) {
  Checked parent(engine_);
  ASSERT_NO_FATAL_FAILURE(parent.append(someTokens(128, 5)));
  uint64_t before = engine_.cacheBytesInUse();
  EXPECT_EQ(before, 2 * engine_.cacheBytesPerBlock());
  Checked child = parent.fork();
  EXPECT_EQ(engine_.cacheBytesInUse(), before);
  ASSERT_NO_FATAL_FAILURE(child.append({1}));
  EXPECT_EQ(engine_.cacheBytesInUse(), before + engine_.cacheBytesPerBlock());
}

TEST_P(StepWith, TruncatedGoesOnLikeAFreshOne) {
  Checked sequence(engine_);
  ASSERT_NO_FATAL_FAILURE(sequence.append(someTokens(200, 2)));
  Checked fork = sequence.fork();
  for (size_t length : {150, 128, 127, 64, 1}) {
    sequence.truncate(length);
    ASSERT_NO_FATAL_FAILURE(sequence.append({9, 8, 7}));
    ASSERT_NO_FATAL_FAILURE(sequence.append(someTokens(40, int32_t(length))));
  }
  sequence.truncate(0);
  ASSERT_NO_FATAL_FAILURE(sequence.append({3}));
  ASSERT_NO_FATAL_FAILURE(fork.append({3})); // untouched by all this
}

TEST_P(StepWith, TwoThreads) {
  auto work = [&](int32_t seed) {
    Checked sequence(engine_);
    for (int i = 0; i < 60; ++i) {
      sequence.append(someTokens(1 + size_t(i % 3), seed + i));
      if (i % 20 == 19) {
        Checked child = sequence.fork();
        child.append({1, 2});
        sequence.truncate(sequence.tokens.size() / 2);
      }
    }
  };
  std::thread first(work, 1), second(work, 100);
  first.join();
  second.join();
}

TEST(Step, FailuresChangeNothing) {
  Engine engine = Engine::load(toy::decoder(), {.threads = 1, .cacheBytes = 4 * 1024}).take(); // four blocks
  Checked first(engine), second(engine);
  StepOutput output;
  ASSERT_NO_FATAL_FAILURE(first.append(someTokens(130, 1)));
  Tokens many = someTokens(100, 2), one = {1}, bad = {3, 99}, negative = {-1}, none;
  SequenceInput tooMany[] = {{&first.sequence, one}, {&second.sequence, many}};
  Status status = engine.step(tooMany, output);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, "E1502");
  EXPECT_EQ(status.error().kind, ErrorKind::Limit);
  EXPECT_EQ(engine.cacheBytesInUse(), 3 * engine.cacheBytesPerBlock());
  for (const Tokens *tokens : {&bad, &negative, &none}) {
    SequenceInput input{&first.sequence, *tokens};
    ASSERT_FALSE(engine.step({&input, 1}, output).ok());
  }
  SequenceInput twice[] = {{&first.sequence, one}, {&first.sequence, one}};
  EXPECT_EQ(engine.step(twice, output).error().code, "E1507");
  ASSERT_NO_FATAL_FAILURE(first.append({1}));
  ASSERT_NO_FATAL_FAILURE(second.append({2}));
}

TEST(Step, ContextLength) {
  Engine engine = Engine::load(toy::decoder(), {.threads = 1}).take();
  Checked sequence(engine);
  ASSERT_NO_FATAL_FAILURE(sequence.append(someTokens(size_t(toy::kContext), 1)));
  StepOutput output;
  Tokens one = {1};
  SequenceInput input{&sequence.sequence, one};
  Status status = engine.step({&input, 1}, output);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, "E1506");
  EXPECT_NE(status.error().message.find("501 tokens; the model's context is 500"), std::string::npos);
}

TEST(Step, EncoderStatesAreSharedByForksAndKeptByTruncate) {
  Engine engine = Engine::load(toy::encoderDecoder(), {.threads = 2}).take();
  Tokens source = someTokens(90, 4), other = someTokens(3, 8), target = {2, 5, 9};
  Sequence a = engine.newSequence(), b = engine.newSequence();
  EncodeInput sources[] = {{&a, source}, {&b, other}};
  ASSERT_TRUE(engine.encode(sources).ok());
  EXPECT_EQ(a.encoderLength(), 90u);
  Sequence fork = a.fork();
  StepOutput output;
  SequenceInput inputs[] = {{&a, target}, {&b, std::span(target).first(1)}, {&fork, std::span(target).first(2)}};
  ASSERT_TRUE(engine.step(inputs, output).ok());
  EXPECT_EQ(toVector(output.row(0)), toy::reference(target, source));
  EXPECT_EQ(toVector(output.row(1)), toy::reference(std::span(target).first(1), other));
  EXPECT_EQ(toVector(output.row(2)), toy::reference(std::span(target).first(2), source));
  a.truncate(1);
  SequenceInput again{&a, std::span(target).subspan(1)};
  ASSERT_TRUE(engine.step({&again, 1}, output).ok());
  EXPECT_EQ(toVector(output.row(0)), toy::reference(target, source));
}

TEST(Step, ModelsWithoutStepSayWhy) {
  Engine engine = Engine::load(toy::write("plain.llmopt", toy::graphPlan(), Json().set("kind", "graph"))).take();
  Sequence sequence = engine.newSequence();
  StepOutput output;
  Tokens one = {1};
  SequenceInput input{&sequence, one};
  Status status = engine.step({&input, 1}, output);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::Unsupported);
}

} // namespace
