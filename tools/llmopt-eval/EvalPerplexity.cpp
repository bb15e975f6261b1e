//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Eval.h"

#include "llmopt/lib/Support/File.h"
#include "llmopt/runtime/Session.h"

#include <algorithm>
#include <cmath>
#include <iostream>

using namespace llmopt;
using namespace llmopt::tools;

/// -log of the probability that softmax(logits) gives to an id.
static double negativeLogLikelihood(std::span<const float> logits, int32_t id) {
  double greatest = *std::max_element(logits.begin(), logits.end()), sum = 0;
  for (float logit : logits)
    sum += std::exp(double(logit) - greatest);
  return std::log(sum) + greatest - double(logits[size_t(id)]);
}

/// Sum over the ids from `from` on, each predicted from all before it.
static Result<double> scoreWindow(const Engine &engine, std::span<const int32_t> ids, size_t from) {
  constexpr size_t kPiece = 128; // keeps the logits small
  LLMOPT_ASSIGN(Session session, Session::create(engine));
  double sum = 0;
  for (size_t begin = 0; begin + 1 < ids.size(); begin += kPiece) {
    std::span<const int32_t> piece = ids.subspan(begin, std::min(kPiece, ids.size() - 1 - begin));
    LLMOPT_ASSIGN(const StepOutput *output, session.appendAll(piece));
    for (size_t i = 0; i < piece.size(); ++i)
      if (size_t target = begin + i + 1; target >= from)
        sum += negativeLogLikelihood(output->row(i), ids[target]);
  }
  return sum;
}

Status tools::PerplexityCommand::run() const {
  LLMOPT_ASSIGN(std::string words, readTextFile(text));
  LLMOPT_ASSIGN(Engine engine, Engine::load(load.artifact, load.options()));
  LLMOPT_ASSIGN(std::shared_ptr<Tokenizer> tokenizer, loadTokenizer(engine));
  LLMOPT_ASSIGN(std::vector<int32_t> ids, tokenizer->encodeChecked(words));
  size_t own = engine.model().maxPositions ? size_t(engine.model().maxPositions) : 2048;
  size_t window = context ? std::min(context, own) : own, advance = stride ? std::min(stride, window) : std::max<size_t>(1, window / 2);
  if (ids.size() < 2 || window < 2)
    return badInput("E1603", "the text has " + std::to_string(ids.size()) + " tokens; at least two are needed", text);

  double sum = 0;
  size_t scored = 1; // nothing predicts the first token
  for (size_t begin = 0; scored < ids.size(); begin += advance) {
    std::span<const int32_t> part = std::span(ids).subspan(begin, std::min(window, ids.size() - begin));
    LLMOPT_ASSIGN(double score, scoreWindow(engine, part, scored - begin));
    sum += score;
    scored = begin + part.size();
  }
  double mean = sum / double(ids.size() - 1);
  if (json) {
    std::cout << Json().set("tokens", ids.size()).set("scored", ids.size() - 1).set("mean_nll", mean).set("perplexity", std::exp(mean)).str() << '\n';
  } else {
    std::cout << "tokens " << ids.size() << "\nmean nll " << mean << "\nperplexity " << std::exp(mean) << '\n';
  }
  return {};
}
