//===- TokenizerDecoder.h - tokens to text, as they come ------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The decoders of a tokenizer are stages of a pipe. Tokens go in at one end, text comes out at the other as soon as it
// is certain; so decoding a whole list and decoding a stream are one thing.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_TEXT_TOKENIZERDECODER_H
#define LLMOPT_RUNTIME_TEXT_TOKENIZERDECODER_H

#include "TokenizerMatcher.h"
#include "llmopt/lib/Support/TokenizerData.h"

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace llmopt::text {

/// A token, or a part of one, on its way through the stages. Parts are cut between characters.
struct Fragment {
  std::string_view text;
  bool begins = true, ends = true;
  tokenizer::PieceType type = tokenizer::PieceType::Normal; ///< of the token, for SentencePiece
};

class DecodeStage {
public:
  virtual ~DecodeStage() = default;
  virtual void take(const Fragment &fragment) = 0;
  /// No more tokens: gives out what was kept and is as new again.
  virtual void finish() { next_->finish(); }
  void connect(DecodeStage *next) { next_ = next; }

protected:
  void give(std::string_view text, bool begins = true, bool ends = true) { next_->take({text, begins, ends}); }
  DecodeStage *next_ = nullptr;
};

/// Stages that look at whole tokens: parts are collected first.
class TokenStage : public DecodeStage {
public:
  void take(const Fragment &fragment) final {
    if (fragment.begins && fragment.ends)
      return token(fragment.text);
    parts_ += fragment.text;
    if (fragment.ends)
      token(std::exchange(parts_, {}));
  }

protected:
  virtual void token(std::string_view text) = 0;

private:
  std::string parts_;
};

/// What the stages share: made once for a tokenizer.
class DecodePlan {
public:
  static Result<DecodePlan> create(const tokenizer::TokenizerData &data, const std::vector<CharSet> &sets);

private:
  friend class DecodeChain;
  struct Step {
    tokenizer::DecodeStep description;
    std::unique_ptr<Matcher> matcher;
  };
  std::vector<Step> steps_;
};

class DecodeChain {
public:
  /// `eager`: characters that are spelled in byte tokens come out as soon as they are complete. Otherwise a run of
  /// byte tokens waits for its end, because `tokenizers` gives up all of a run in which anything is wrong.
  DecodeChain(const DecodePlan &plan, bool eager);
  ~DecodeChain();

  void push(std::string_view token, tokenizer::PieceType type) { first_->take({token, true, true, type}); }
  void finish() { first_->finish(); }
  /// The text that came out since the last call.
  std::string takeText();

private:
  std::vector<std::unique_ptr<DecodeStage>> stages_;
  DecodeStage *first_;
};

std::unique_ptr<DecodeStage> createDecodeStage(const tokenizer::DecodeStep &step, const Matcher *matcher, bool eager);
/// The stages that bring bytes together to characters.
std::unique_ptr<DecodeStage> createBytesStage();
std::unique_ptr<DecodeStage> createByteFallbackStage(bool eager);
std::unique_ptr<DecodeStage> createSentencePieceStage(const tokenizer::DecodeStep &step);
/// The stages that know of English punctuation.
std::unique_ptr<DecodeStage> createTidyStage(const tokenizer::DecodeStep &step);

std::string replaceAll(std::string_view text, std::string_view what, std::string_view by);

} // namespace llmopt::text

#endif // LLMOPT_RUNTIME_TEXT_TOKENIZERDECODER_H
