//===- ToyModel.h - artifacts without a compiler ----------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_TEST_RUNTIME_TOYMODEL_H
#define LLMOPT_TEST_RUNTIME_TOYMODEL_H

#include "llmopt/lib/Artifact/Artifact.h"
#include "llmopt/lib/Artifact/Plan.h"

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace llmopt::toy {

inline constexpr int64_t kVocabulary = 53;
inline constexpr int64_t kContext = 500;

/// A folder that is removed at the end of the program.
const std::filesystem::path &folder();
/// The code of ToyKernels.cpp.
std::string codeImage();

/// Writes an artifact: plan and code for target "x86-64", and the weights.
struct Options {
  std::string target = "x86-64";
  std::vector<std::string> features = {"sse2"};
  std::string code = codeImage();
  std::string tokenizer = {}; ///< empty: none
};
std::string write(const std::string &name, const plan::Plan &plan, Json model, const Options &options = {});

/// z = 2 (a + b) over [n], and the sum as a second output.
plan::Plan graphPlan();
/// A decoder of two layers; `encoder` adds an encoder state and cross-attention.
plan::Plan decoderPlan(bool encoder = false);
Json decoderMetadata(bool encoder = false);
std::string decoder();        ///< path of the artifact, written once
std::string encoderDecoder(); ///< likewise

/// The decoder as an ONNX graph: pasts in, presents out, padded.
std::string graphDecoder();

/// The decoder with a tokenizer: words "w0" to "w52", joined by spaces.
std::string textDecoder();

/// Logits of the last token, computed from the whole sequence.
std::vector<float> reference(std::span<const int32_t> tokens, std::span<const int32_t> encoderTokens = {});
/// Greedy continuation by `reference`.
std::vector<int32_t> greedy(std::vector<int32_t> tokens, size_t count, std::span<const int32_t> encoderTokens = {});

} // namespace llmopt::toy

#endif // LLMOPT_TEST_RUNTIME_TOYMODEL_H
