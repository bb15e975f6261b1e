//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sequences of a compiled decoder against the same tokens alone:   llmopt-sequence-check MODEL.llmopt
// Prints PASS and FAIL lines.
//
//===----------------------------------------------------------------------===//
#include "llmopt/runtime/Generator.h"
#include "llmopt/runtime/Session.h"

#include <cstdio>
#include <cstring>
#include <thread>

using namespace llmopt;

namespace {

using Tokens = std::vector<int32_t>;
int failures = 0;

void check(const char *name, bool good, const std::string &why = "") {
  std::printf("%s %s%s%s\n", good ? "PASS" : "FAIL", name, good || why.empty() ? "" : " ", good ? "" : why.c_str());
  failures += !good;
}

class Checker {
public:
  explicit Checker(Engine engine) : engine_(std::move(engine)), vocabulary_(engine_.model().vocabSize) {}

  void run() {
    joinAndLeave();
    forkAndTruncate();
    chunks();
    batches();
    twoThreads();
    check("no block is left in use", engine_.cacheBytesInUse() == 0);
  }

private:
  Tokens prompt(size_t length, uint32_t seed) const {
    Tokens tokens;
    for (uint32_t i = 0, x = seed * 7919 + 1; i < length; ++i, x = x * 1664525 + 1013904223)
      tokens.push_back(int32_t((x >> 8) % uint64_t(vocabulary_)));
    return tokens;
  }
  /// Greedy continuation in a fresh sequence.
  Tokens alone(const Tokens &start, size_t count) const {
    Session session = Session::create(engine_).take();
    Tokens answer;
    for (Tokens next = start; answer.size() < count; next = {answer.back()})
      answer.push_back(*argmax(*session.append(next)));
    return answer;
  }
  static Tokens join(Tokens a, const Tokens &b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  }
  Tokens go(Session &session, Tokens next, size_t count) const {
    Tokens answer;
    for (; answer.size() < count; next = {answer.back()})
      answer.push_back(*argmax(*session.append(next)));
    return answer;
  }

  // Eight sequences of different lengths that come and go at different steps.
  void joinAndLeave() {
    struct Member {
      Sequence sequence;
      Tokens start, pending, answer = {};
      size_t joins, leaves;
    };
    std::vector<Member> members;
    for (uint32_t i = 0; i < 8; ++i)
      members.push_back({engine_.newSequence(), prompt(1 + i * 19, i), prompt(1 + i * 19, i), {}, i / 2, 12 + (i * 5) % 9});
    StepOutput output;
    for (size_t step = 0; step < 24; ++step) {
      std::vector<SequenceInput> inputs;
      std::vector<Member *> active;
      for (Member &member : members)
        if (step >= member.joins && step < member.leaves) {
          inputs.push_back({&member.sequence, member.pending});
          active.push_back(&member);
        }
      if (Status status = engine_.step(inputs, output); !status.ok())
        return check("eight sequences join and leave", false, status.error().message);
      for (size_t i = 0; i < active.size(); ++i) {
        active[i]->answer.push_back(*argmax(output.row(output.firstRow(i))));
        active[i]->pending = {active[i]->answer.back()};
      }
    }
    bool good = true;
    for (const Member &member : members)
      good = good && member.answer == alone(member.start, member.answer.size());
    check("eight sequences join and leave", good);
  }

  void forkAndTruncate() {
    bool forked = true, truncated = true;
    for (size_t length : {5, 63, 64, 65, 130}) {
      Tokens start = prompt(length, uint32_t(length));
      Session parent = Session::create(engine_).take();
      Tokens first = go(parent, start, 6), past = join(start, Tokens(first.begin(), first.end() - 1));
      Session child = parent.fork().take();
      Tokens left = {3}, right = {4, 5};
      forked = forked && go(child, left, 8) == alone(join(past, left), 8);
      forked = forked && go(parent, right, 8) == alone(join(past, right), 8);
      size_t keep = length / 2 + 1;
      (void)parent.truncate(uint32_t(keep));
      (void)child.truncate(0);
      truncated = truncated && go(parent, {7, 8}, 8) == alone(join(Tokens(start.begin(), start.begin() + long(keep)), {7, 8}), 8);
      truncated = truncated && go(child, start, 8) == alone(start, 8);
    }
    check("forks go on independently", forked);
    check("truncated sequences go on like fresh ones", truncated);
  }

  void chunks() {
    Tokens tokens = prompt(150, 77);
    Session whole = Session::create(engine_).take();
    std::span<const float> row = *whole.append(tokens);
    std::vector<float> expected(row.begin(), row.end());
    bool equal = true;
    for (size_t size : {1, 2, 3, 5, 7, 16, 31, 64, 100}) {
      Session session = Session::create(engine_).take();
      for (size_t i = 0; i < tokens.size(); i += size)
        row = *session.append(std::span(tokens).subspan(i, std::min(size, tokens.size() - i)));
      equal = equal && sameBits(row, expected);
    }
    check("chunked prefill equals the whole, bit for bit", equal);
  }

  // What a token gives depends on nothing else in the step: the bits are those of the sequence alone.
  void batches() {
    constexpr size_t kLargest = 70;
    std::vector<std::vector<float>> expected;
    for (uint32_t i = 0; i < kLargest; ++i) {
      Session session = Session::create(engine_).take();
      (void)session.append(prompt(1 + i % 9, i));
      std::span<const float> row = *session.append(std::span<const int32_t>(prompt(1, i + 500)));
      expected.emplace_back(row.begin(), row.end());
    }
    bool equal = true;
    StepOutput output;
    for (size_t count : {2, 3, 4, 7, 8, 12, 16, 17, 33, 64, 70}) {
      std::vector<Sequence> sequences;
      std::vector<Tokens> first, second;
      for (uint32_t i = 0; i < count; ++i) {
        sequences.push_back(engine_.newSequence());
        first.push_back(prompt(1 + i % 9, i));
        second.push_back(prompt(1, i + 500));
      }
      for (const std::vector<Tokens> *tokens : {&first, &second}) {
        std::vector<SequenceInput> inputs;
        for (size_t i = 0; i < count; ++i)
          inputs.push_back({&sequences[i], (*tokens)[i]});
        equal = engine_.step(inputs, output).ok() && equal;
      }
      for (size_t i = 0; i < count; ++i)
        equal = equal && sameBits(output.row(output.firstRow(i)), expected[i]);
    }
    check("batches of any size give what each sequence gives alone, bit for bit", equal);
  }

  static bool sameBits(std::span<const float> a, std::span<const float> b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
  }

  void twoThreads() {
    Tokens expected[2] = {alone(prompt(40, 1), 40), alone(prompt(90, 2), 40)}, got[2];
    auto work = [&](size_t i) { got[i] = alone(prompt(i ? 90 : 40, uint32_t(i + 1)), 40); };
    std::thread first(work, 0), second(work, 1);
    first.join();
    second.join();
    check("two sessions in two threads", got[0] == expected[0] && got[1] == expected[1]);
  }

  Engine engine_;
  int64_t vocabulary_;
};

} // namespace

int main(int argc, char **argv) {
  for (int i = 1; i < argc; ++i) {
    Result<Engine> engine = Engine::load(argv[i]);
    if (!engine) {
      std::fprintf(stderr, "%s\n", engine.error().str().c_str());
      return int(engine.error().kind);
    }
    Checker(engine.take()).run();
  }
  return failures ? 1 : 0;
}
