//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "TokenizerBytes.h"
#include "TokenizerDecoder.h"
#include "TokenizerUtf8.h"
#include "llmopt/lib/Support/Utf8.h"

#include <optional>
#include <utility>

using namespace llmopt;
using namespace llmopt::text;
using tokenizer::PieceType;

static constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

namespace {

/// Stand-ins back to bytes; everything is one token from here on.
class BytesStage final : public DecodeStage {
public:
  void take(const Fragment &fragment) override {
    pending_ += bytesOf(fragment.text);
    std::string text;
    size_t at = 0;
    while (at < pending_.size()) {
      std::string_view rest = std::string_view(pending_).substr(at);
      Utf8Char c = decodeUtf8(rest);
      if (c.truncated)
        break;
      text += c.valid ? rest.substr(0, c.length) : kReplacement;
      at += c.length;
    }
    pending_.erase(0, at);
    if (!text.empty())
      give(text, !std::exchange(begun_, true), false);
  }
  void finish() override {
    give(pending_.empty() ? std::string_view() : kReplacement, !begun_, true);
    pending_.clear();
    begun_ = false;
    next_->finish();
  }

private:
  /// A token with characters outside the alphabet stands for itself.
  static std::string bytesOf(std::string_view token) {
    std::string bytes;
    for (size_t at = 0; at < token.size();) {
      int byte = kByteAlphabet.byteOf(nextChar(token, at));
      if (byte < 0)
        return std::string(token);
      bytes += char(byte);
    }
    return bytes;
  }
  std::string pending_; ///< the front of a character
  bool begun_ = false;
};

class ByteFallbackStage final : public DecodeStage {
public:
  explicit ByteFallbackStage(bool eager) : eager_(eager) {}
  void take(const Fragment &fragment) override {
    std::optional<uint8_t> byte = byteOfToken(fragment.text);
    if (!byte || !fragment.begins || !fragment.ends) {
      endRun();
      next_->take(fragment);
      return;
    }
    run_ += char(*byte);
    if (eager_ && isUtf8(run_))
      endRun();
  }
  void finish() override {
    endRun();
    next_->finish();
  }

private:
  void endRun() {
    if (run_.empty())
      return;
    std::string run = std::exchange(run_, {});
    if (isUtf8(run))
      return give(run);
    for (size_t i = 0; i < run.size(); ++i)
      give(kReplacement);
  }
  bool eager_;
  std::string run_;
};

/// All of SentencePiece's decoding: spaces, bytes, and the pieces that show nothing.
class SentencePieceStage final : public DecodeStage {
public:
  explicit SentencePieceStage(const tokenizer::DecodeStep &step) : step_(step) {}

  void take(const Fragment &fragment) override {
    if (fragment.type == PieceType::Byte) {
      if (std::optional<uint8_t> byte = byteOfToken(fragment.text))
        bytes_ += char(*byte);
      return show(completeBytes(false));
    }
    show(completeBytes(true));
    show(surface(fragment));
  }
  void finish() override {
    show(completeBytes(true));
    shown_ = spaceSeen_ = false;
    next_->finish();
  }

private:
  void show(std::string_view text) {
    shown_ = shown_ || !text.empty();
    if (!text.empty())
      give(text);
  }

  /// SentencePiece takes a wrong byte alone, not the longest front of a character as others do.
  std::string completeBytes(bool all) {
    std::string text;
    while (!bytes_.empty()) {
      Utf8Char c = decodeUtf8(bytes_);
      if (c.truncated && !all)
        break;
      text += c.valid ? std::string_view(bytes_).substr(0, c.length) : kReplacement;
      bytes_.erase(0, c.valid ? c.length : 1);
    }
    return text;
  }

  std::string surface(const Fragment &fragment) {
    constexpr std::string_view kSpace = "\xE2\x96\x81";
    bool atStart = !spaceSeen_ && !shown_;
    spaceSeen_ = spaceSeen_ || shown_;
    if (fragment.type == PieceType::Control)
      return {};
    if (fragment.type == PieceType::Unknown)
      return step_.text;
    std::string_view piece = fragment.text;
    if (atStart && (step_.flag || step_.flag2) && piece.starts_with(kSpace)) {
      piece.remove_prefix(kSpace.size());
      // With `flag2` the next piece may lose a space too, as long as nothing has been shown.
      spaceSeen_ = !step_.flag2;
    }
    std::string text;
    while (!piece.empty()) {
      size_t end = std::min(piece.find(kSpace), piece.size());
      text += piece.substr(0, end);
      text += end < piece.size() ? " " : "";
      piece.remove_prefix(std::min(end + kSpace.size(), piece.size()));
    }
    return text;
  }

  const tokenizer::DecodeStep &step_;
  std::string bytes_;
  bool shown_ = false, spaceSeen_ = false;
};

} // namespace

std::unique_ptr<DecodeStage> text::createBytesStage() { return std::make_unique<BytesStage>(); }
std::unique_ptr<DecodeStage> text::createByteFallbackStage(bool eager) {
  return std::make_unique<ByteFallbackStage>(eager);
}
std::unique_ptr<DecodeStage> text::createSentencePieceStage(const tokenizer::DecodeStep &step) {
  return std::make_unique<SentencePieceStage>(step);
}
