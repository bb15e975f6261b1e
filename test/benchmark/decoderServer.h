//===- decoderServer.h - a decoder that answers decoder_peers.py -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Commands on standard input, one answer line each on standard output:
//
//   time DEPTH COUNT PIECE    seconds for COUNT more tokens behind DEPTH, PIECE at a time
//   logits COUNT              logits behind COUNT tokens
//
// A sequence of each depth is kept, so that only the first command with a depth fills it.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_TEST_BENCHMARK_DECODERSERVER_H
#define LLMOPT_TEST_BENCHMARK_DECODERSERVER_H

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

namespace llmopt::test {

/// One sequence. What fails ends the program.
class DecoderUnderTest {
public:
  virtual ~DecoderUnderTest() = default;
  /// Logits behind the last of `tokens`.
  virtual std::span<const float> append(std::span<const int32_t> tokens) = 0;
  virtual void truncate(int64_t length) = 0;
};
using MakeDecoder = std::function<std::unique_ptr<DecoderUnderTest>(int64_t mostTokens)>;

inline constexpr int64_t kMostAppended = 1024;

inline std::span<const float> appendTokens(DecoderUnderTest &decoder, int64_t begin, int64_t count, int64_t piece) {
  std::vector<int32_t> tokens;
  std::span<const float> logits;
  for (int64_t done = 0; done < count; done += piece) {
    tokens.clear();
    for (int64_t i = done; i < std::min(count, done + piece); ++i)
      tokens.push_back(int32_t(3 + (begin + i) * 7919 % 20000));
    logits = decoder.append(tokens);
  }
  return logits;
}

inline int serve(const MakeDecoder &make) {
  std::map<int64_t, std::unique_ptr<DecoderUnderTest>> sequences;
  auto at = [&](int64_t depth) -> DecoderUnderTest & {
    std::unique_ptr<DecoderUnderTest> &sequence = sequences[depth];
    if (!sequence) {
      sequence = make(depth + kMostAppended);
      appendTokens(*sequence, 0, depth, depth);
    }
    return *sequence;
  };
  char line[128];
  while (std::fgets(line, sizeof(line), stdin)) {
    long long depth = 0, count = 0, piece = 0;
    if (std::sscanf(line, "time %lld %lld %lld", &depth, &count, &piece) == 3 && depth >= 0 && count > 0 && count <= kMostAppended && piece > 0) {
      DecoderUnderTest &decoder = at(depth);
      auto begin = std::chrono::steady_clock::now();
      appendTokens(decoder, depth, count, piece);
      std::printf("%.9f\n", std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
      decoder.truncate(depth);
    } else if (std::sscanf(line, "logits %lld", &count) == 1 && count > 0 && count <= kMostAppended) {
      for (float logit : appendTokens(at(0), 0, count, count))
        std::printf("%.6g ", double(logit));
      std::printf("\n");
      at(0).truncate(0);
    } else {
      return std::fprintf(stderr, "not a command: %s", line), 2;
    }
    std::fflush(stdout);
  }
  return 0;
}

} // namespace llmopt::test

#endif // LLMOPT_TEST_BENCHMARK_DECODERSERVER_H
