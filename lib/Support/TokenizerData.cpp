//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// Layout: "LLTK", version, then the fields of TokenizerData in the order of `fields` below. Numbers are little endian
// and unpadded; strings and lists begin with their length in 32 bits.

#include "llmopt/lib/Support/TokenizerData.h"

#include "llmopt/lib/Support/Utf8.h"

#include <bit>
#include <concepts>
#include <cstring>
#include <type_traits>

static_assert(std::endian::native == std::endian::little, "sections are read as they lie in memory");

using namespace llmopt;
using namespace llmopt::tokenizer;

namespace {

constexpr std::string_view kMagic = "LLTK";
constexpr uint32_t kVersion = 1;

template <typename T>
concept Scalar = std::is_arithmetic_v<T> || std::is_enum_v<T>;

/// Written and read as it lies in memory: no padding inside.
template <typename T>
constexpr bool kPlain = (Scalar<T> && !std::is_same_v<T, bool>) || std::is_same_v<T, CharRange> ||
                        std::is_same_v<T, ProgramStep> || std::is_same_v<T, ScriptRange> || std::is_same_v<T, Merge>;

class Writer {
public:
  template <typename... T> void operator()(const T &...values) { (put(values), ...); }
  std::string take() { return std::move(out_); }

private:
  void raw(const void *data, size_t size) { out_.append(static_cast<const char *>(data), size); }
  template <Scalar T> void put(const T &value) { raw(&value, sizeof value); }
  void put(const std::string &text) {
    put(uint32_t(text.size()));
    out_ += text;
  }
  template <typename T> void put(const std::vector<T> &list) {
    put(uint32_t(list.size()));
    if constexpr (kPlain<T>)
      raw(list.data(), list.size() * sizeof(T));
    else
      for (const T &item : list)
        put(item);
  }
  template <typename T> void put(const T &record) { fields(*this, record); }
  std::string out_;
};

class Reader {
public:
  explicit Reader(std::span<const std::byte> bytes) : rest_(bytes) {}
  template <typename... T> void operator()(T &...values) { (get(values), ...); }
  bool ok() const { return ok_; }
  bool atEnd() const { return rest_.empty(); }

private:
  bool raw(void *target, size_t size) {
    ok_ = ok_ && size <= rest_.size();
    if (!ok_)
      return false;
    if (size > 0)
      std::memcpy(target, rest_.data(), size);
    rest_ = rest_.subspan(size);
    return true;
  }
  template <Scalar T> void get(T &value) { raw(&value, sizeof value); }
  void get(bool &value) {
    uint8_t byte = 0;
    ok_ = raw(&byte, 1) && byte <= 1;
    value = byte == 1;
  }
  /// Every item takes at least `itemBytes`, so a damaged count cannot ask for more memory than the section has bytes.
  size_t count(size_t itemBytes) {
    uint32_t count = 0;
    get(count);
    ok_ = ok_ && count <= rest_.size() / itemBytes;
    return ok_ ? count : 0;
  }
  void get(std::string &text) {
    text.resize(count(1));
    raw(text.data(), text.size());
  }
  template <typename T> void get(std::vector<T> &list) {
    if constexpr (kPlain<T>) {
      list.resize(count(sizeof(T)));
      raw(list.data(), list.size() * sizeof(T));
    } else {
      for (size_t n = count(1); n > 0 && ok_; --n)
        get(list.emplace_back());
    }
  }
  template <typename T> void get(T &record) { fields(*this, record); }
  std::span<const std::byte> rest_;
  bool ok_ = true;
};

template <typename T, typename U>
concept Is = std::same_as<std::remove_const_t<T>, U>;

// One list of fields for writing and reading.
void fields(auto &io, Is<Matcher> auto &m) { io(m.kind, m.set, m.text, m.program); }
void fields(auto &io, Is<CharMapping> auto &m) { io(m.from, m.to); }
void fields(auto &io, Is<NormalizeStep> auto &s) { io(s.op, s.set, s.flag, s.flag2, s.text, s.matcher, s.map); }
void fields(auto &io, Is<PreTokenizeStep> auto &s) {
  io(s.op, s.behavior, s.flag, s.number, s.text, s.text2, s.matcher, s.scripts);
}
void fields(auto &io, Is<DecodeStep> auto &s) {
  io(s.op, s.flag, s.flag2, s.number, s.number2, s.text, s.text2, s.matcher);
}
void fields(auto &io, Is<Model> auto &m) {
  io(m.kind, m.blob, m.ends, m.scores, m.types, m.merges, m.unkId, m.fuseUnk, m.byteFallback, m.ignoreMerges,
     m.whitespaceSuffix, m.maxWordChars, m.continuingPrefix, m.endSuffix);
}
void fields(auto &io, Is<AddedToken> auto &t) {
  io(t.content, t.id, t.special, t.normalized, t.singleWord, t.leftStrip, t.rightStrip);
}
void fields(auto &io, Is<TemplateItem> auto &i) { io(i.isText, i.ids); }
void fields(auto &io, Is<SpaceRules> auto &r) {
  io(r.dummyPrefix, r.removeExtra, r.escape, r.suffix, r.prefixOnlyAtStart);
}
void fields(auto &io, Is<TokenizerData> auto &d) {
  io(d.sets, d.normalize, d.preTokenize, d.model, d.added, d.layout, d.decode, d.spaces, d.wordSet, d.spaceSet, d.bosId,
     d.eosId, d.unkId, d.padId);
}

Status damaged(std::string what) { return badInput("E1401", "tokenizer section is damaged: " + std::move(what)); }

bool isAscending(const CharRanges &set) {
  uint32_t next = 0; // the smallest code point the next range may begin with
  for (const CharRange &range : set) {
    if (range.first < next || range.last < range.first || range.last > 0x10FFFF)
      return false;
    next = range.last + 1;
  }
  return true;
}

/// Steps only lead forward, so every program ends.
Status checkProgram(const std::vector<ProgramStep> &program, size_t sets) {
  for (size_t i = 0; i < program.size(); ++i) {
    const ProgramStep &step = program[i];
    bool usesSet = step.op == ProgramStep::Run || step.op == ProgramStep::Ahead || step.op == ProgramStep::NotAhead;
    bool jumps = step.op == ProgramStep::Alternative || step.op == ProgramStep::Jump;
    if (step.op > ProgramStep::Accept || (usesSet && step.set >= sets) ||
        (jumps && (step.target <= i || step.target >= program.size())) || step.min > step.max)
      return damaged("step " + std::to_string(i) + " of a matching program");
  }
  if (program.empty() || program.back().op != ProgramStep::Accept)
    return damaged("a matching program without an end");
  return {};
}

Status checkMatcher(const Matcher &matcher, size_t sets) {
  if (matcher.kind > Matcher::Regex || (matcher.kind == Matcher::Set && matcher.set >= sets) || !isUtf8(matcher.text))
    return damaged("kind of a matcher");
  return matcher.kind == Matcher::Program ? checkProgram(matcher.program, sets) : Status();
}

Status checkNormalize(const NormalizeStep &step, size_t sets) {
  bool usesSet = step.op <= NormalizeStep::Strip && step.op != NormalizeStep::Map;
  if (step.op > NormalizeStep::SentencePiece || (usesSet && step.set >= sets))
    return damaged("a normalizer");
  for (size_t i = 0; i < step.map.size(); ++i)
    if (!isUtf8(step.map[i].to) || (i > 0 && step.map[i].from <= step.map[i - 1].from))
      return damaged("a character map");
  bool isBinary = step.op == NormalizeStep::Charsmap || step.op == NormalizeStep::SentencePiece;
  if (!isBinary && !isUtf8(step.text))
    return damaged("text of a normalizer is not UTF-8");
  return step.op == NormalizeStep::Replace ? checkMatcher(step.matcher, sets) : Status();
}

Status checkPreTokenize(const PreTokenizeStep &step, size_t sets) {
  if (step.op > PreTokenizeStep::FixedLength || step.behavior > SplitBehavior::Contiguous || !isUtf8(step.text) ||
      !isUtf8(step.text2) || (step.op == PreTokenizeStep::FixedLength && step.number == 0))
    return damaged("a pre-tokenizer");
  for (const ScriptRange &range : step.scripts)
    if (range.last < range.first || (&range != step.scripts.data() && range.first <= (&range - 1)->last))
      return damaged("a table of scripts");
  return step.op == PreTokenizeStep::Split ? checkMatcher(step.matcher, sets) : Status();
}

Status checkDecode(const DecodeStep &step, size_t sets) {
  if (step.op > DecodeStep::CleanUp || !isUtf8(step.text) || !isUtf8(step.text2))
    return damaged("a decoder");
  return step.op == DecodeStep::Replace ? checkMatcher(step.matcher, sets) : Status();
}

Status checkModel(const Model &model) {
  size_t count = model.size();
  bool isPieces = model.kind >= ModelKind::PieceBpe;
  if (model.kind > ModelKind::PieceChar || count > kMaxPieces || model.unkId < -1 || model.unkId >= int64_t(count))
    return damaged("the model");
  if (!isUtf8(model.continuingPrefix) || !isUtf8(model.endSuffix))
    return damaged("prefix or suffix of the model is not UTF-8");
  if (model.ends.empty() ? !model.blob.empty() : model.ends.back() != model.blob.size())
    return damaged("the vocabulary");
  for (size_t i = 0; i < count; ++i)
    if (model.ends[i] < (i ? model.ends[i - 1] : 0) || model.piece(i).size() > kMaxPieceBytes ||
        !isUtf8(model.piece(i)))
      return damaged("piece " + std::to_string(i) + " of the vocabulary");
  if ((isPieces || model.kind == ModelKind::Unigram) && model.scores.size() != count)
    return damaged("scores of the vocabulary");
  if (isPieces && (model.types.size() != count || model.unkId < 0))
    return damaged("types of the vocabulary");
  for (const Merge &merge : model.merges)
    if (uint64_t(uint32_t(merge.left)) >= count || uint64_t(uint32_t(merge.right)) >= count ||
        uint64_t(uint32_t(merge.result)) >= count)
      return damaged("a merge");
  return {};
}

Status checkIds(const TokenizerData &data) {
  auto isId = [](int32_t id) { return id >= 0 && size_t(id) < kMaxPieces; };
  for (const AddedToken &token : data.added)
    if (!isId(token.id) || token.content.empty() || token.content.size() > kMaxAddedTokenBytes ||
        !isUtf8(token.content))
      return damaged("an added token");
  for (const TemplateItem &item : data.layout)
    for (int32_t id : item.ids)
      if (!isId(id))
        return damaged("the layout of special tokens");
  for (int32_t id : {data.bosId, data.eosId, data.unkId, data.padId})
    if (id != -1 && !isId(id))
      return damaged("a special token");
  return {};
}

Status check(const TokenizerData &data) {
  size_t sets = data.sets.size();
  for (const CharRanges &set : data.sets)
    if (!isAscending(set))
      return damaged("a set of characters");
  if (data.wordSet >= sets || data.spaceSet >= sets || data.normalize.size() > kMaxSteps ||
      data.preTokenize.size() > kMaxSteps || data.decode.size() > kMaxSteps || data.layout.size() > kMaxSteps)
    return damaged("the number of steps");
  for (const NormalizeStep &step : data.normalize)
    LLMOPT_RETURN_IF_ERROR(checkNormalize(step, sets));
  for (const PreTokenizeStep &step : data.preTokenize)
    LLMOPT_RETURN_IF_ERROR(checkPreTokenize(step, sets));
  for (const DecodeStep &step : data.decode)
    LLMOPT_RETURN_IF_ERROR(checkDecode(step, sets));
  LLMOPT_RETURN_IF_ERROR(checkModel(data.model));
  return checkIds(data);
}

} // namespace

std::string tokenizer::serialize(const TokenizerData &data) {
  Writer writer;
  writer(data);
  std::string out(kMagic);
  out.append(reinterpret_cast<const char *>(&kVersion), sizeof kVersion);
  return out + writer.take();
}

Result<TokenizerData> tokenizer::deserialize(std::span<const std::byte> section) {
  uint32_t version = 0;
  if (section.size() < 8 || std::memcmp(section.data(), kMagic.data(), 4) != 0)
    return badInput("E1401", "this is no tokenizer section: it does not begin with LLTK");
  std::memcpy(&version, section.data() + 4, sizeof version);
  if (version != kVersion)
    return unsupported("E1402", "tokenizer section has version " + std::to_string(version) + ", this program reads " +
                                    std::to_string(kVersion) + "; compile the model again");
  Reader reader(section.subspan(8));
  TokenizerData data;
  reader(data);
  if (!reader.ok() || !reader.atEnd())
    return damaged(reader.ok() ? "bytes behind its end" : "cut off, or a length that leads beyond its end");
  LLMOPT_RETURN_IF_ERROR(check(data));
  return data;
}
