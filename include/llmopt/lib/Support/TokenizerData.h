//===- TokenizerData.h - what a tokenizer section says ----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// frontends/tokenizer brings every tokenizer format into this form, runtime/text executes it. The components of the
// formats are taken apart into few steps: a BertNormalizer becomes Remove, Map, Surround, Nfd, Remove, Map. Classes of
// characters come as ranges, so the runtime has no Unicode tables of its own and cannot disagree with the frontend.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_SUPPORT_TOKENIZERDATA_H
#define LLMOPT_LIB_SUPPORT_TOKENIZERDATA_H

#include "llmopt/lib/Support/Status.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llmopt::tokenizer {

/// Both ends belong to it.
struct CharRange {
  uint32_t first, last;
};
/// Ascending, not touching.
using CharRanges = std::vector<CharRange>;

/// One step of a matching program; a program is tried at one position of a text, from its first step.
struct ProgramStep {
  enum Op : uint32_t {
    Run,         ///< min to max characters of `set`, as many as possible; gives back one at a time unless `keep`
    Alternative, ///< goes on; where that fails, continues at `target`
    Jump,        ///< continues at `target`, which lies behind this step
    Ahead,       ///< the next character is in `set`
    NotAhead,    ///< the next character is not in `set`, or the text ends
    LineBegin,
    LineEnd,
    Accept,
  };
  uint32_t op = Accept, set = 0, min = 0, max = 0, target = 0, keep = 0;
};
constexpr uint32_t kNoLimit = UINT32_MAX;

/// Finds places in a text.
struct Matcher {
  enum Kind : uint8_t {
    Set,     ///< every single character of `set`
    Literal, ///< `text`
    Program, ///< `program`
    Regex,   ///< `text`, an expression of PCRE2
  };
  Kind kind = Literal;
  uint32_t set = 0; ///< index into TokenizerData::sets
  std::string text;
  std::vector<ProgramStep> program;
};

struct CharMapping {
  uint32_t from = 0;
  std::string to;
};

struct NormalizeStep {
  enum Op : uint8_t {
    Remove,        ///< the characters of `set`
    Map,           ///< characters by `map`
    Surround,      ///< a space on both sides of the characters of `set`
    Nfc,           ///< `set`: characters younger than the library's tables, taken as they are
    Nfd,           //
    Nfkc,          //
    Nfkd,          //
    Strip,         ///< white space (`set`) on the left (`flag`) and on the right (`flag2`)
    Charsmap,      ///< SentencePiece's compiled map in `text`, as `tokenizers` applies it
    Replace,       ///< what `matcher` finds by `text`
    Prepend,       ///< `text`, unless there is nothing to put it before
    Bytes,         ///< each byte by its printable stand-in
    SentencePiece, ///< as SentencePiece normalizes, with `spaces` and the compiled map in `text`
  };
  Op op = Remove;
  uint32_t set = 0;
  bool flag = false, flag2 = false;
  std::string text;
  Matcher matcher;
  std::vector<CharMapping> map; ///< ascending
};

enum class SplitBehavior : uint8_t { Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous };

struct ScriptRange {
  uint32_t first, last, script; ///< script 0 goes with every other
};

struct PreTokenizeStep {
  enum Op : uint8_t {
    Split,
    Replace,    ///< every `text2` by `text`
    PrependTo,  ///< `text` to words that do not begin with it; with `flag` only at the start of the input
    Bytes,      ///< each byte by its printable stand-in
    Scripts,    ///< cut where the script changes
    FixedLength ///< pieces of `number` characters
  };
  Op op = Split;
  SplitBehavior behavior = SplitBehavior::Isolated;
  bool flag = false; ///< Split: the places found are the words
  uint32_t number = 0;
  std::string text, text2;
  Matcher matcher;
  std::vector<ScriptRange> scripts;
};

struct DecodeStep {
  enum Op : uint8_t {
    Bytes,         ///< printable stand-ins back to bytes, all tokens together
    WordPiece,     ///< a space before tokens that do not begin with `text`; `flag`: tidy English punctuation
    Metaspace,     ///< the character `text` by a space; `flag`: dropped in the first token
    BpeSuffix,     ///< `text` by a space, in the last token by nothing
    Ctc,           ///< repeated tokens once, without `text` (padding); `flag`: tidy, `text2` by a space
    Replace,       ///< what `matcher` finds by `text`
    Fuse,          ///< all tokens to one
    Strip,         ///< the character `text`, up to `number` times at the start, `number2` times at the end
    ByteFallback,  ///< tokens "<0x41>" to bytes
    JoinSpaces,    ///< a space between tokens
    SentencePiece, ///< as SentencePiece decodes; `flag`: one space at the start is dropped, `flag2`: all of them
    CleanUp,       ///< no space before English punctuation and contractions, in the text as a whole
  };
  Op op = Fuse;
  bool flag = false, flag2 = false;
  uint32_t number = 0, number2 = 0;
  std::string text, text2;
  Matcher matcher;
};

enum class ModelKind : uint8_t { Bpe, WordPiece, WordLevel, Unigram, PieceBpe, PieceUnigram, PieceWord, PieceChar };
/// SentencePiece's types of pieces.
enum class PieceType : uint8_t { Normal = 1, Unknown, Control, UserDefined, Unused, Byte };

struct Merge {
  int32_t left, right, result;
};

struct Model {
  ModelKind kind = ModelKind::Bpe;
  std::string blob;           ///< all pieces, one after the other
  std::vector<uint32_t> ends; ///< where piece i ends; an empty piece is an id without one
  std::vector<double> scores; ///< Unigram and SentencePiece
  std::vector<uint8_t> types; ///< SentencePiece: PieceType
  std::vector<Merge> merges;  ///< Bpe, first is applied first
  int32_t unkId = -1;
  bool fuseUnk = false, byteFallback = false, ignoreMerges = false, whitespaceSuffix = false;
  uint32_t maxWordChars = 100;             ///< WordPiece
  std::string continuingPrefix, endSuffix; ///< Bpe, WordPiece

  size_t size() const { return ends.size(); }
  std::string_view piece(size_t id) const {
    uint32_t begin = id == 0 ? 0 : ends[id - 1];
    return std::string_view(blob).substr(begin, ends[id] - begin);
  }
  void addPiece(std::string_view piece) {
    blob += piece;
    ends.push_back(uint32_t(blob.size()));
  }
};

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = false, normalized = false, singleWord = false, leftStrip = false, rightStrip = false;
};

struct TemplateItem {
  bool isText = false; ///< the ids of the text, else `ids`
  std::vector<int32_t> ids;
};

struct SpaceRules {
  bool dummyPrefix = true, removeExtra = true, escape = true, suffix = false;
  bool prefixOnlyAtStart = false; ///< behind an added token there is no dummy prefix
};

struct TokenizerData {
  std::vector<CharRanges> sets;
  std::vector<NormalizeStep> normalize;
  std::vector<PreTokenizeStep> preTokenize;
  Model model;
  std::vector<AddedToken> added;
  std::vector<TemplateItem> layout; ///< what encode puts around a text; empty: the text alone
  std::vector<DecodeStep> decode;
  SpaceRules spaces;
  uint32_t wordSet = 0, spaceSet = 0; ///< for added tokens with singleWord, leftStrip, rightStrip
  int32_t bosId = -1, eosId = -1, unkId = -1, padId = -1;
};

/// Limits of a section; frontends refuse more, readers too.
constexpr size_t kMaxPieces = size_t(1) << 24;
constexpr size_t kMaxPieceBytes = 1 << 16;
constexpr size_t kMaxAddedTokenBytes = 4096;
constexpr size_t kMaxSteps = 256;

std::string serialize(const TokenizerData &data);
/// Everything a reader relies on has been checked: E1401 damaged, E1402 a version this program does not know.
Result<TokenizerData> deserialize(std::span<const std::byte> section);

} // namespace llmopt::tokenizer

#endif // LLMOPT_LIB_SUPPORT_TOKENIZERDATA_H
