//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// The reference files of the test data: ids with and without special tokens, decoded texts, streamed texts.

#include "TokenizerTesting.h"
#include "llmopt/lib/Support/File.h"
#include "llmopt/lib/Support/Json.h"

using namespace llmopt;
using namespace llmopt::testing_tokenizer;

static std::shared_ptr<Tokenizer> loadFrom(const std::string &path) {
  Result<std::string> section = std::string();
  if (std::filesystem::is_directory(path)) {
    Result<std::optional<std::string>> found = importTokenizer(path);
    EXPECT_TRUE(found.ok() && found->has_value()) << path;
    section = found.ok() && *found ? Result<std::string>(**found) : Result<std::string>(found.status());
  } else {
    section = importTokenizerFile(path);
  }
  EXPECT_TRUE(section.ok()) << path;
  auto tokenizer = Tokenizer::load(std::as_bytes(std::span(section->data(), section->size())));
  EXPECT_TRUE(tokenizer.ok()) << path;
  return tokenizer ? *tokenizer : nullptr;
}

static Ids idsOf(const Json &list) {
  Ids ids;
  for (const Json &id : list.asArray())
    ids.push_back(int32_t(id.asInt()));
  return ids;
}

static std::string streamed(const std::shared_ptr<Tokenizer> &tokenizer, const Ids &ids) {
  StreamDecoder stream(tokenizer);
  std::string text;
  for (int32_t id : ids) {
    std::string part = *stream.push(id);
    EXPECT_TRUE(Json::parse(Json(part).str(), "part").ok()) << "a character was cut in two";
    text += part;
  }
  return text + stream.flush();
}

namespace {
struct Reference {
  const char *tokenizer, *folder;
};
class TokenizerReference : public testing::TestWithParam<Reference> {};
} // namespace

TEST_P(TokenizerReference, AllStrings) {
  std::string reference = dataFolder() + "/" + GetParam().folder + "/reference_ids.json";
  if (!std::filesystem::exists(reference))
    GTEST_SKIP() << "no test data: " << reference;
  std::shared_ptr<Tokenizer> tokenizer = loadFrom(dataFolder() + "/" + GetParam().tokenizer);
  ASSERT_NE(tokenizer, nullptr);
  Result<std::string> text = readTextFile(reference);
  Result<Json> json = Json::parse(*text, reference);
  ASSERT_TRUE(json.ok());
  ASSERT_GE(json->find("cases")->asArray().size(), 67u);
  for (const Json &entry : json->find("cases")->asArray()) {
    const std::string &input = entry.find("text")->asString();
    Ids ids = idsOf(*entry.find("ids"));
    EXPECT_EQ(tokenizer->encode(input, false), ids) << input;
    if (const Json *special = entry.find("ids_special"))
      EXPECT_EQ(tokenizer->encode(input, true), idsOf(*special)) << input;
    EXPECT_EQ(*tokenizer->decode(ids), entry.find("decoded")->asString()) << input;
    EXPECT_EQ(streamed(tokenizer, ids), entry.find("decoded")->asString()) << input;
  }
}

INSTANTIATE_TEST_SUITE_P(Real, TokenizerReference,
                         testing::Values(Reference{"tokenizers/gpt2", "tokenizers/gpt2"},
                                         Reference{"tokenizers/bert-base-uncased", "tokenizers/bert-base-uncased"},
                                         Reference{"tokenizers/phi3", "tokenizers/phi3"},
                                         Reference{"tokenizers/codegen", "tokenizers/codegen"},
                                         Reference{"stories260k/tokenizer.model", "stories260k"},
                                         Reference{"tiny-t5/spiece.model", "tiny-t5"}));

namespace {
class TokenizerLlamaCpp : public testing::TestWithParam<Reference> {};
} // namespace

TEST_P(TokenizerLlamaCpp, AllStrings) {
  std::string base = dataFolder() + "/llama-cpp-vocab/ggml-vocab-" + GetParam().folder + ".gguf";
  if (!std::filesystem::exists(base + ".inp"))
    GTEST_SKIP() << "no test data: " << base << ".inp";
  std::shared_ptr<Tokenizer> tokenizer = loadFrom(dataFolder() + "/" + GetParam().tokenizer);
  ASSERT_NE(tokenizer, nullptr);
  std::string inputs = *readTextFile(base + ".inp");
  std::ifstream outputs(base + ".out");
  constexpr std::string_view kSeparator = "\n__ggml_vocab_test__\n";
  int count = 0;
  for (size_t begin = 0; begin != std::string::npos; ++count) {
    size_t end = inputs.find(kSeparator, begin);
    std::string input = inputs.substr(begin, end - begin), line, expected;
    begin = end == inputs.npos ? end : end + kSeparator.size();
    std::getline(outputs, line);
    for (int32_t id : tokenizer->encode(input, false))
      expected += " " + std::to_string(id);
    EXPECT_EQ(line, expected) << input;
  }
  EXPECT_EQ(count, 47);
}

INSTANTIATE_TEST_SUITE_P(Real, TokenizerLlamaCpp,
                         testing::Values(Reference{"tokenizers/gpt2", "gpt-2"},
                                         Reference{"tokenizers/bert-base-uncased", "bert-bge"},
                                         Reference{"tokenizers/phi3", "phi-3"},
                                         Reference{"tokenizers/phi3", "llama-spm"}));
