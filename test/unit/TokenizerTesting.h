//===- TokenizerTesting.h - tokenizers made in a test -----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_TEST_UNIT_TOKENIZERTESTING_H
#define LLMOPT_TEST_UNIT_TOKENIZERTESTING_H

#include "llmopt/frontends/Tokenizer.h"
#include "llmopt/runtime/Tokenizer.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <string>

namespace llmopt::testing_tokenizer {

using Ids = std::vector<int32_t>;

/// A folder that is gone after the test.
class TokenizerTest : public testing::Test {
protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "llmopt-tokenizer-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string &name, std::string_view text) {
    std::ofstream(folder_ + "/" + name, std::ios::binary) << text;
    return folder_ + "/" + name;
  }
  Result<std::string> import(std::string_view json) { return importTokenizerFile(write("tokenizer.json", json)); }
  /// "E1301 bad input: message", or "ok".
  std::string problem(std::string_view json) { return describe(import(json)); }
  template <typename T> static std::string describe(const Result<T> &result) {
    if (result)
      return "ok";
    return result.error().code + " x" + std::to_string(int(result.error().kind)) + ": " + result.error().message;
  }
  std::shared_ptr<Tokenizer> load(std::string_view json) {
    Result<std::string> section = import(json);
    EXPECT_TRUE(section.ok()) << describe(section);
    if (!section)
      return nullptr;
    auto tokenizer = Tokenizer::load(std::as_bytes(std::span(section->data(), section->size())));
    EXPECT_TRUE(tokenizer.ok()) << describe(tokenizer);
    return tokenizer ? *tokenizer : nullptr;
  }
  std::string folder_;
};

inline std::string dataFolder() {
  const char *set = std::getenv("LLMOPT_TEST_DATA");
  return set ? set : LLMOPT_SOURCE_DIR "/../shared/data";
}

} // namespace llmopt::testing_tokenizer

#endif // LLMOPT_TEST_UNIT_TOKENIZERTESTING_H
