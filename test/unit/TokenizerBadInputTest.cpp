//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// Bad tokenizers and bad texts: the D rows of the table of bad inputs.

#include "TokenizerTesting.h"
#include "llmopt/lib/Support/TokenizerData.h"

#include <chrono>

using namespace llmopt;
using namespace llmopt::testing_tokenizer;

namespace {
class TokenizerBadInput : public TokenizerTest {
protected:
  static std::string bpe(std::string vocab, std::string merges = "[]", std::string rest = "") {
    return R"({"version": "1.0", "model": {"type": "BPE", "vocab": )" + vocab + R"(, "merges": )" + merges + "}" +
           rest + "}";
  }
  void expectProblem(const std::string &json, std::string_view kind, std::string_view text) {
    std::string got = problem(json);
    EXPECT_TRUE(got.starts_with(kind)) << got;
    EXPECT_NE(got.find(text), got.npos) << got;
  }
};
} // namespace

TEST_F(TokenizerBadInput, D01VocabularyIds) {
  EXPECT_EQ(problem(bpe(R"({"a": 0, "b": 1})")), "ok");
  expectProblem(bpe(R"({"a": 0, "b": 0})"), "E1301 x1", "id 0 belongs to both 'a' and 'b'");
  expectProblem(bpe(R"({"a": 0, "b": 2})"), "E1301 x1", "gaps");
  expectProblem(bpe(R"({"a": 0, "b": -1})"), "E1301 x1", "-1");
  expectProblem(bpe(R"({"a": 0, "b": 2147483648})"), "E1301 x1", "2147483648");
  expectProblem(bpe(R"({"a": 0, "b": 1.5})"), "E1301 x1", "integer");
  expectProblem(bpe(R"({"a": 0, "a": 1})"), "E0112 x1", "duplicate key 'a'");
}

TEST_F(TokenizerBadInput, D01SizeAndDepth) {
  std::string path = write("tokenizer.json", "{");
  std::filesystem::resize_file(path, 300 << 20); // sparse
  EXPECT_TRUE(describe(importTokenizerFile(path)).starts_with("E1303 x1"));
  expectProblem(std::string(100000, '['), "E0113 x1", "nesting");
  expectProblem(bpe("{}", "[]", ", \"normalizer\": " + std::string(100, '[') + std::string(100, ']')), "E0113 x1",
                "nesting");
}

TEST_F(TokenizerBadInput, D02Merges) {
  std::string vocab = R"({"a": 0, "b": 1, "ab": 2})";
  EXPECT_EQ(problem(bpe(vocab, R"(["a b"])")), "ok");
  EXPECT_EQ(problem(bpe(vocab, R"([["a", "b"]])")), "ok");
  expectProblem(bpe(vocab, R"(["a x"])"), "E1301 x1", "model.merges[0]: 'x'");
  expectProblem(bpe(vocab, R"(["a b", "b a"])"), "E1301 x1", "model.merges[1]: 'ba'");
  expectProblem(bpe(vocab, R"(["a a"])"), "E1301 x1", "'aa'");
  expectProblem(bpe(vocab, R"(["a "])"), "E1301 x1", "''");
  expectProblem(bpe(vocab, R"(["ab"])"), "E1301 x1", "model.merges[0]");
  expectProblem(bpe(vocab, R"([["a", "b", "a"]])"), "E1301 x1", "model.merges");
  expectProblem(bpe(vocab, R"([7])"), "E1301 x1", "model.merges[0]");
}

TEST_F(TokenizerBadInput, D04NamesTheJsonPath) {
  expectProblem(
      bpe(R"({"a": 0})", "[]",
          R"(, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, {"type": "Foo"}]})"),
      "E1302 x3", "pre_tokenizer.pretokenizers[1].type: \"Foo\" is not supported");
  expectProblem(bpe(R"({"a": 0})", "[]", R"(, "normalizer": {"type": "Foo"})"), "E1302 x3", "normalizer.type");
  expectProblem(bpe(R"({"a": 0})", "[]", R"(, "decoder": {"type": "Sequence", "decoders": [{"type": "Foo"}]})"),
                "E1302 x3", "decoder.decoders[0].type");
  expectProblem(bpe(R"({"a": 0})", "[]", R"(, "post_processor": {"type": "Foo"})"), "E1302 x3", "post_processor.type");
  expectProblem(R"({"model": {"type": "Foo", "vocab": {}}})", "E1302 x3", "model.type");
  expectProblem(
      bpe(R"({"a": 0})", "[]",
          R"x(, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(?(1)a)"}, "behavior": "Isolated", "invert": false})x"),
      "E1302 x3", "pre_tokenizer.pattern.Regex");
  expectProblem(
      bpe(R"({"a": 0})", "[]",
          R"x(, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated", "invert": false})x"),
      "E1301 x1", "')' expected");
  expectProblem(bpe(R"({"a": 0})", "[]", R"(, "pre_tokenizer": {"type": "ByteLevel"})"), "E1301 x1",
                "pre_tokenizer.add_prefix_space");
}

TEST_F(TokenizerBadInput, D07AddedTokens) {
  auto added = [](std::string content, int id) {
    return R"({"id": )" + std::to_string(id) + R"(, "content": ")" + content +
           R"(", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})";
  };
  std::string vocab = R"({"a": 0, "b": 1})";
  expectProblem(bpe(vocab, "[]", R"(, "added_tokens": [)" + added("", 2) + "]"), "E1301 x1", "added_tokens[0].content");
  expectProblem(bpe(vocab, "[]", R"(, "added_tokens": [)" + added("<x>", 9) + "]"), "E1301 x1",
                "the next free one is 2");
  auto tokenizer = load(
      bpe(vocab, "[]",
          R"(, "added_tokens": [)" + added("<a>", 2) + "," + added("<a><b>", 3) + "," + added("<a><b><c>", 4) + "]"));
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->encode("a<a>b<a><b>a<a><b><c><a><b><"), (Ids{0, 2, 1, 3, 0, 4, 3}));
  EXPECT_EQ(tokenizer->encode("a<a>b", EncodeOptions{true, false}), (Ids{0, 0, 1}));
}

TEST_F(TokenizerBadInput, D08Decode) {
  auto tokenizer = load(bpe(R"({"a": 0, "Ã": 1, "©": 2})", "[]", R"(, "decoder": {"type": "ByteLevel"})"));
  ASSERT_NE(tokenizer, nullptr);
  for (int32_t id : {3, -1, INT32_MAX, INT32_MIN}) {
    EXPECT_TRUE(describe(tokenizer->decode(Ids{0, id})).starts_with("E1412 x1"));
    EXPECT_FALSE(StreamDecoder(tokenizer).push(id).ok());
  }
  StreamDecoder stream(tokenizer);
  EXPECT_EQ(*stream.push(0), "a");
  EXPECT_EQ(*stream.push(1), "");
  EXPECT_EQ(*stream.push(2), "\xC3\xA9");
  EXPECT_EQ(*stream.push(1), "");
  EXPECT_EQ(stream.flush(), "\xEF\xBF\xBD");
  EXPECT_EQ(*tokenizer->decode(Ids{0, 1}), "a\xEF\xBF\xBD");
}

TEST_F(TokenizerBadInput, D05TextsThatAreNoUtf8) {
  auto tokenizer = load(R"({"model": {"type": "WordLevel", "vocab": {"a": 0, "�": 1, "?": 2}, "unk_token": "?"},
                            "pre_tokenizer": {"type": "Split", "pattern": {"String": ""}, "behavior": "Isolated", "invert": false}})");
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->encode("a\xFF"
                              "a"),
            (Ids{0, 1, 0}));
  EXPECT_EQ(tokenizer->encode("\xED\xA0\x80"), (Ids{1, 1, 1}));
  EXPECT_EQ(tokenizer->encode("\xE2\x82"), (Ids{1}));
  EXPECT_EQ(tokenizer->encode(std::string_view("a\0a", 3)), (Ids{0, 2, 0}));
  EXPECT_EQ(tokenizer->encode("\xF4\x8F\xBF\xBF"), (Ids{2}));
  EXPECT_EQ(tokenizer->encode(""), Ids{});
}

TEST_F(TokenizerBadInput, SectionsDamagedAtEveryByte) {
  std::string section =
      *import(bpe(R"({"a": 0, "b": 1, "ab": 2})", R"(["a b"])",
                  R"(, "normalizer": {"type": "Replace", "pattern": {"Regex": "a+$|b"}, "content": "b"})"));
  auto load = [](std::string_view bytes) {
    return Tokenizer::load(std::as_bytes(std::span(bytes.data(), bytes.size())));
  };
  ASSERT_TRUE(load(section).ok());
  for (size_t cut = 0; cut < section.size(); ++cut)
    EXPECT_FALSE(load(std::string_view(section).substr(0, cut)).ok()) << cut;
  EXPECT_FALSE(load(section + "x").ok());
  for (size_t i = 0; i < section.size(); ++i)
    for (int flip : {1, 0x80, 0xFF}) {
      std::string copy = section;
      copy[i] = char(copy[i] ^ flip);
      if (auto tokenizer = load(copy)) // some flips only change the tokenizer
        (void)(*tokenizer)->decode((*tokenizer)->encode("abc aab"));
    }
  section[4] = 9;
  EXPECT_EQ(load(section).error().code, "E1402");
}

TEST_F(TokenizerBadInput, FoldersWithoutATokenizer) {
  Result<std::optional<std::string>> none = importTokenizer(folder_);
  ASSERT_TRUE(none.ok());
  EXPECT_FALSE(none->has_value());
  write("tokenizer.model", "");
  EXPECT_NE(describe(importTokenizer(folder_)).find("file is empty (0 bytes)"), std::string::npos);
  write("tokenizer.model", "\x0A\xFF");
  EXPECT_NE(describe(importTokenizer(folder_)).find("truncated or corrupt protobuf"), std::string::npos);
}

// Twice the text may take about twice the time; squared it would take four times.
TEST_F(TokenizerBadInput, D05LongTextsTakeLinearTime) {
  auto tokenizer =
      load(bpe(R"({"a": 0, "aa": 1, "aaaa": 2, "Ġ": 3, "ĠĠ": 4, "Ċ": 5})", R"(["a a", "aa aa", "Ġ Ġ"])",
               R"(, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true})"));
  ASSERT_NE(tokenizer, nullptr);
  for (std::string_view unit : {"a", " ", "\n", "a b", "\xCC\x81"}) {
    std::string text;
    while (text.size() < size_t(1) << 20)
      text += unit;
    auto start = std::chrono::steady_clock::now();
    EXPECT_TRUE(tokenizer->encodeChecked(text).ok());
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30)) << unit;
  }
}
