//===- Tokenizer.h - text to token ids and back -----------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Executes the tokenizer section of an artifact. The stages are those of the Hugging Face `tokenizers` library, and
// so are the ids: added tokens are cut out of the text, the rest is normalized, pre-tokenized into words, each word
// is split by the model (BPE, WordPiece, WordLevel, Unigram), and the template puts special tokens around the whole.
// SentencePiece models run as SentencePiece runs them. Text that is not UTF-8 is read as Python reads it with
// errors="replace". Time is linear in the text for every text (n log n where a word of n characters is one BPE word).
//
//   auto tokenizer = Tokenizer::load(section);           // Result<std::shared_ptr<Tokenizer>>
//   std::vector<int32_t> ids = (*tokenizer)->encode("Hello");
//   Result<std::string> text = (*tokenizer)->decode(ids);
//
// A Tokenizer never changes after loading: any number of threads may use it at once.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_TOKENIZER_H
#define LLMOPT_RUNTIME_TOKENIZER_H

#include "llmopt/lib/Support/Status.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llmopt {

namespace text {
struct TokenizerImpl;
class DecodeChain;
} // namespace text

/// How a text is turned into ids.
struct EncodeOptions {
  bool addSpecialTokens = true;   ///< put the template around it (for example a first <s>)
  bool parseSpecialTokens = true; ///< false: "<|end|>" inside the text stays plain text (for text of users)
};

class Tokenizer {
public:
  /// Reads a section made by importTokenizer; the bytes are not needed afterwards. E1401: damaged, E1402: version.
  static Result<std::shared_ptr<Tokenizer>> load(std::span<const std::byte> section);
  ~Tokenizer();

  std::vector<int32_t> encode(std::string_view text, bool addSpecialTokens = true) const;
  std::vector<int32_t> encode(std::string_view text, const EncodeOptions &options) const;
  /// As encode, but says so (E1411) where a split expression of the tokenizer passed its step limit on this text;
  /// encode takes the rest of the text as one word then.
  Result<std::vector<int32_t>> encodeChecked(std::string_view text, const EncodeOptions &options = {}) const;

  /// E1412: an id is negative or not below vocabSize().
  Result<std::string> decode(std::span<const int32_t> ids, bool skipSpecial = true) const;

  /// One more than the largest id.
  size_t vocabSize() const;
  std::optional<int32_t> tokenId(std::string_view piece) const;
  /// As it stands in the vocabulary, for example "Ġthe" or "▁the"; empty for an id without a piece.
  std::string_view piece(int32_t id) const;
  bool isSpecial(int32_t id) const;

  // As the model's files name them; nothing where they do not.
  std::optional<int32_t> bosId() const;
  std::optional<int32_t> eosId() const;
  std::optional<int32_t> unkId() const;
  std::optional<int32_t> padId() const;
  /// Whether encode(..., addSpecialTokens = true) begins with bosId() / ends with eosId().
  bool addsBos() const;
  bool addsEos() const;

private:
  friend class StreamDecoder;
  Tokenizer();
  std::unique_ptr<text::TokenizerImpl> impl_;
};

/// Decodes ids as they come. The texts given back, put together, are the text of `decode`, and no character is ever
/// cut in two: bytes of an unfinished one are kept until the id that completes it. Only where a run of byte tokens is
/// damaged can the two differ: `decode` then shows all of the run as U+FFFD, as the `tokenizers` library does, while a
/// stream has shown the characters that were complete before the damage.
class StreamDecoder {
public:
  explicit StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool skipSpecial = true);
  StreamDecoder(StreamDecoder &&) noexcept;
  StreamDecoder &operator=(StreamDecoder &&) noexcept;
  ~StreamDecoder();

  /// The text that became complete with this id; often empty. E1412 as decode; the stream goes on after it.
  Result<std::string> push(int32_t id);
  /// The end: what was kept back, an unfinished character as U+FFFD. The decoder can then be used for a new text.
  std::string flush();

private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<text::DecodeChain> chain_;
  bool skipSpecial_;
};

} // namespace llmopt

#endif // LLMOPT_RUNTIME_TOKENIZER_H
