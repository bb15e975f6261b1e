//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Eval.h"

#include "llmopt/lib/Support/File.h"

#include <algorithm>
#include <iostream>

using namespace llmopt;
using namespace llmopt::tools;

namespace {
struct Cases {
  std::vector<std::vector<int32_t>> prompts, answers;
  size_t longest = 0;
};
} // namespace

static Result<Cases> readCases(const std::string &path, size_t limit) {
  LLMOPT_ASSIGN(std::string text, readTextFile(path));
  Cases cases;
  size_t number = 0;
  for (size_t begin = 0; begin < text.size() && cases.prompts.size() < limit;) {
    size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin), context = path + ":" + std::to_string(++number);
    begin = end + 1;
    if (line.empty() || line[0] == '#')
      continue;
    size_t tab = line.find('\t');
    if (tab == line.npos)
      return badInput("E1603", "a case is PROMPT IDS, a tab, and ANSWER IDS", context);
    size_t next = std::min(line.find('\t', tab + 1), line.size());
    LLMOPT_ASSIGN(std::vector<int32_t> prompt, parseIds(line.substr(0, tab), context));
    LLMOPT_ASSIGN(std::vector<int32_t> answer, parseIds(line.substr(tab + 1, next - tab - 1), context));
    cases.longest = std::max(cases.longest, answer.size());
    cases.prompts.push_back(std::move(prompt));
    cases.answers.push_back(std::move(answer));
  }
  return cases;
}

static std::string join(std::span<const int32_t> ids) {
  std::string text;
  for (int32_t id : ids)
    text += (text.empty() ? "" : " ") + std::to_string(id);
  return text;
}

Status tools::GenerateCommand::run() const {
  LLMOPT_ASSIGN(Cases known, readCases(cases, limit.value_or(SIZE_MAX)));
  LLMOPT_ASSIGN(Engine engine, Engine::load(load.artifact, load.options()));
  LLMOPT_ASSIGN(Generator generator, Generator::create(engine));
  LLMOPT_ASSIGN(std::vector<Generation> results, generator.generateBatch(known.prompts, {.maxTokens = known.longest, .batch = batch}));
  size_t equal = 0, shown = 0;
  for (size_t i = 0; i < results.size(); ++i) {
    // Known answers that were cut off say nothing about what follows.
    std::span<const int32_t> wanted = known.answers[i], got = results[i].ids;
    got = got.first(std::min(got.size(), wanted.size()));
    if (std::equal(got.begin(), got.end(), wanted.begin(), wanted.end()))
      ++equal;
    else if (shown++ < show)
      std::cerr << "prompt   " << join(known.prompts[i]) << "\n  expected " << join(wanted) << "\n  got      " << join(got) << '\n';
  }
  std::cout << equal << " of " << results.size() << " answers are equal\n";
  if (equal != results.size())
    return verificationFailed("E1602", std::to_string(results.size() - equal) + " answers differ", load.artifact);
  return {};
}
