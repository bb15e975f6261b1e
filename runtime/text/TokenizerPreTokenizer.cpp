//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "TokenizerPreTokenizer.h"

#include "TokenizerBytes.h"

#include <algorithm>
#include <optional>

using namespace llmopt;
using namespace llmopt::text;
using tokenizer::PreTokenizeStep;
using tokenizer::SplitBehavior;

Result<PreTokenizer> PreTokenizer::create(const tokenizer::TokenizerData &data, const std::vector<CharSet> &sets) {
  PreTokenizer result;
  for (const PreTokenizeStep &step : data.preTokenize) {
    std::unique_ptr<Matcher> matcher;
    if (step.op == PreTokenizeStep::Split) {
      LLMOPT_ASSIGN(matcher, Matcher::create(step.matcher, sets));
    }
    result.steps_.push_back({step, std::move(matcher)});
  }
  return result;
}

/// Joins stretches as the behavior says. With `merged`, a found stretch joins the one before it in `order`, unless
/// that was found too.
static void joinFound(std::vector<Stretch> &stretches) {
  bool lastFound = false;
  size_t kept = 0;
  for (const Stretch &stretch : stretches) {
    if (stretch.found && !lastFound && kept > 0) {
      Stretch &before = stretches[kept - 1];
      before = {std::min(before.begin, stretch.begin), std::max(before.end, stretch.end), before.found};
    } else {
      stretches[kept++] = stretch;
    }
    lastFound = stretch.found;
  }
  stretches.resize(kept);
}

static void joinEqual(std::vector<Stretch> &stretches) {
  size_t kept = 0;
  for (const Stretch &stretch : stretches)
    if (kept > 0 && stretches[kept - 1].found == stretch.found)
      stretches[kept - 1].end = stretch.end;
    else
      stretches[kept++] = stretch;
  stretches.resize(kept);
}

static void applyBehavior(SplitBehavior behavior, std::vector<Stretch> &stretches) {
  switch (behavior) {
  case SplitBehavior::Removed:
    std::erase_if(stretches, [](const Stretch &stretch) { return stretch.found; });
    return;
  case SplitBehavior::Isolated:
    return;
  case SplitBehavior::MergedWithPrevious:
    return joinFound(stretches);
  case SplitBehavior::MergedWithNext:
    std::reverse(stretches.begin(), stretches.end());
    joinFound(stretches);
    std::reverse(stretches.begin(), stretches.end());
    return;
  case SplitBehavior::Contiguous:
    return joinEqual(stretches);
  }
}

Status PreTokenizer::split(const Step &step, Pieces &pieces) {
  Status status;
  std::vector<Piece> words;
  std::vector<Stretch> stretches;
  for (const Piece &piece : pieces.list) {
    if (piece.token >= 0) {
      words.push_back(piece);
      continue;
    }
    if (Status one = step.matcher->cut(pieces.view(piece), stretches); !one.ok())
      status = one;
    for (Stretch &stretch : stretches)
      stretch.found ^= step.description.flag;
    applyBehavior(step.description.behavior, stretches);
    for (const Stretch &stretch : stretches)
      if (stretch.begin != stretch.end)
        words.push_back(slice(piece, stretch.begin, stretch.end));
  }
  pieces.list = std::move(words);
  return status;
}

/// Writes all words anew. `rewrite` appends the new form of a word to the text.
template <typename Rewrite> static void rewriteWords(Pieces &pieces, Rewrite rewrite) {
  std::string text;
  text.reserve(pieces.text.size() + pieces.text.size() / 8);
  for (Piece &piece : pieces.list) {
    std::string_view old = pieces.view(piece);
    size_t begin = text.size();
    if (piece.token >= 0)
      text += old;
    else
      piece.atStart = rewrite(text, old, piece.atStart);
    piece.begin = begin;
    piece.end = text.size();
  }
  pieces.text = std::move(text);
}

static void replaceText(const PreTokenizeStep &step, Pieces &pieces) {
  rewriteWords(pieces, [&](std::string &out, std::string_view old, size_t atStart) {
    size_t begin = out.size(), newStart = 0;
    for (size_t at = 0; at < old.size();) {
      size_t found = step.text2.empty() ? old.npos : old.find(step.text2, at);
      std::string_view kept = old.substr(at, found == old.npos ? old.npos : found - at);
      out += kept;
      if (at < atStart)
        newStart = out.size() - begin - (kept.size() - std::min(kept.size(), atStart - at));
      at += kept.size();
      if (found == old.npos)
        break;
      out += step.text;
      at += step.text2.size();
      if (at <= atStart)
        newStart = out.size() - begin;
    }
    return newStart;
  });
}

static void prependTo(const PreTokenizeStep &step, Pieces &pieces) {
  rewriteWords(pieces, [&](std::string &out, std::string_view old, size_t atStart) {
    bool due = !old.starts_with(step.text) && (!step.flag || atStart > 0);
    if (due)
      out += step.text;
    out += old;
    return atStart > 0 && due ? atStart + step.text.size() : atStart;
  });
}

static void toBytes(Pieces &pieces) {
  rewriteWords(pieces, [](std::string &out, std::string_view old, size_t atStart) {
    size_t begin = out.size(), newStart = 0;
    for (size_t i = 0; i < old.size(); ++i) {
      appendUtf8(out, kByteAlphabet.charOf(uint8_t(old[i])));
      if (i < atStart)
        newStart = out.size() - begin;
    }
    return newStart;
  });
}

static uint32_t scriptOf(const std::vector<tokenizer::ScriptRange> &table, uint32_t c) {
  auto less = [](uint32_t key, const tokenizer::ScriptRange &range) { return key < range.first; };
  auto it = std::upper_bound(table.begin(), table.end(), c, less);
  return it != table.begin() && c <= (it - 1)->last ? (it - 1)->script : 0;
}

void PreTokenizer::cutScripts(const Step &step, Pieces &pieces) {
  std::vector<Piece> words;
  for (const Piece &piece : pieces.list) {
    if (piece.token >= 0) {
      words.push_back(piece);
      continue;
    }
    // Characters that go with every script and stand before the first that does not are dropped, as the library does.
    std::string_view text = pieces.view(piece);
    std::optional<size_t> begin;
    uint32_t last = 0;
    for (size_t at = 0; at < text.size();) {
      size_t here = at;
      uint32_t script = scriptOf(step.description.scripts, nextChar(text, at));
      if (script != 0 && script != last) {
        if (begin)
          words.push_back(slice(piece, *begin, here));
        begin = here;
        last = script;
      }
    }
    if (begin)
      words.push_back(slice(piece, *begin, text.size()));
  }
  pieces.list = std::move(words);
}

void PreTokenizer::cutLengths(size_t length, Pieces &pieces) {
  std::vector<Piece> words;
  for (const Piece &piece : pieces.list) {
    std::string_view text = pieces.view(piece);
    for (size_t begin = 0, at = 0; piece.token < 0 && at < text.size(); begin = at) {
      for (size_t count = 0; count < length && at < text.size(); ++count)
        at += charLength(text[at]);
      words.push_back(slice(piece, begin, at));
    }
    if (piece.token >= 0)
      words.push_back(piece);
  }
  pieces.list = std::move(words);
}

Status PreTokenizer::apply(Pieces &pieces) const {
  Status status;
  for (const Step &step : steps_) {
    switch (step.description.op) {
    case PreTokenizeStep::Split:
      if (Status one = split(step, pieces); !one.ok())
        status = one;
      break;
    case PreTokenizeStep::Replace:
      replaceText(step.description, pieces);
      break;
    case PreTokenizeStep::PrependTo:
      prependTo(step.description, pieces);
      break;
    case PreTokenizeStep::Bytes:
      toBytes(pieces);
      break;
    case PreTokenizeStep::Scripts:
      cutScripts(step, pieces);
      break;
    case PreTokenizeStep::FixedLength:
      cutLengths(step.description.number, pieces);
      break;
    }
  }
  return status;
}
