//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/runtime/Tokenizer.h"

#include "TokenizerAddedTokens.h"
#include "TokenizerDecoder.h"
#include "TokenizerModel.h"
#include "TokenizerNormalizer.h"
#include "TokenizerPreTokenizer.h"
#include "llmopt/lib/Support/Utf8.h"

#include <algorithm>

using namespace llmopt;
using namespace llmopt::text;

/// Parts refer to each other and to `data`, so it never moves.
struct text::TokenizerImpl {
  explicit TokenizerImpl(tokenizer::TokenizerData &&d)
      : data(std::move(d)), sets(data.sets.begin(), data.sets.end()), userDefined(userDefinedSymbols(data.model)),
        table(data.model), model(WordModel::create(data.model, table)) {}

  tokenizer::TokenizerData data;
  std::vector<CharSet> sets;
  Trie userDefined;
  PieceTable table;
  std::unique_ptr<WordModel> model;
  Normalizer normalizer;
  PreTokenizer preTokenizer;
  DecodePlan decodePlan;
  std::unique_ptr<AddedTokens> added;

  Status prepare();
  Status encodeText(std::string_view text, bool literal, std::vector<int32_t> &ids) const;
  Result<std::string_view> spelling(int32_t id, bool skipSpecial, bool &shown) const;
  tokenizer::PieceType typeOf(int32_t id) const;
  size_t vocabSize() const { return std::max(data.model.size(), size_t(added->largestId() + 1)); }
};

Status TokenizerImpl::prepare() {
  LLMOPT_ASSIGN(normalizer, Normalizer::create(data, sets, userDefined));
  LLMOPT_ASSIGN(preTokenizer, PreTokenizer::create(data, sets));
  LLMOPT_ASSIGN(decodePlan, DecodePlan::create(data, sets));
  added = std::make_unique<AddedTokens>(data, sets, normalizer);
  return {};
}

static void keepFirst(Status &status, Status next) {
  if (status.ok() && !next.ok())
    status = std::move(next);
}

Status TokenizerImpl::encodeText(std::string_view text, bool literal, std::vector<int32_t> &ids) const {
  Status status;
  Pieces pieces;
  for (const AddedTokens::Cut &cut : added->cut(text, false, literal)) {
    if (cut.token >= 0) {
      pieces.list.push_back({pieces.text.size(), pieces.text.size(), 0, cut.token});
      continue;
    }
    Text part{std::string(text.substr(cut.begin, cut.end - cut.begin)), 0};
    if (cut.begin == 0)
      part.atStart = charLength(part.bytes[0]);
    keepFirst(status, normalizer.apply(part));
    Piece whole{pieces.text.size(), pieces.text.size() + part.bytes.size(), part.atStart, -1};
    for (const AddedTokens::Cut &inner : added->cut(part.bytes, true, literal)) {
      pieces.list.push_back(slice(whole, inner.begin, inner.end));
      pieces.list.back().token = inner.token;
    }
    pieces.text += part.bytes;
  }
  keepFirst(status, preTokenizer.apply(pieces));
  for (const Piece &piece : pieces.list)
    if (piece.token >= 0)
      ids.push_back(piece.token);
    else if (piece.begin != piece.end)
      model->encode(pieces.view(piece), ids);
  return status;
}

tokenizer::PieceType TokenizerImpl::typeOf(int32_t id) const {
  bool isPiece = size_t(id) < data.model.types.size() && !added->find(id);
  return isPiece ? tokenizer::PieceType(data.model.types[size_t(id)]) : tokenizer::PieceType::Normal;
}

/// What the decoder gets for an id; `shown` is false for ids that are passed over.
Result<std::string_view> TokenizerImpl::spelling(int32_t id, bool skipSpecial, bool &shown) const {
  if (id < 0 || size_t(id) >= vocabSize())
    return badInput("E1412", "token id " + std::to_string(id) + " is outside the vocabulary of " +
                                 std::to_string(vocabSize()) + " ids");
  const tokenizer::AddedToken *token = added->find(id);
  bool hasPiece = size_t(id) < data.model.size() && !data.model.piece(size_t(id)).empty();
  shown = token || hasPiece;
  if (!shown)
    return std::string_view();
  std::string_view text = token ? added->spelling(id) : data.model.piece(size_t(id));
  shown = !skipSpecial || !added->isSpecialText(text);
  return text;
}

Tokenizer::Tokenizer() = default;
Tokenizer::~Tokenizer() = default;

Result<std::shared_ptr<Tokenizer>> Tokenizer::load(std::span<const std::byte> section) {
  LLMOPT_ASSIGN(tokenizer::TokenizerData data, tokenizer::deserialize(section));
  std::shared_ptr<Tokenizer> result(new Tokenizer);
  result->impl_ = std::make_unique<TokenizerImpl>(std::move(data));
  LLMOPT_RETURN_IF_ERROR(result->impl_->prepare());
  return result;
}

static Status encodeInto(const TokenizerImpl &impl, std::string_view text, const EncodeOptions &options,
                         std::vector<int32_t> &ids) {
  std::string repaired;
  if (!isUtf8(text))
    text = repaired = replaceInvalidUtf8(text);
  bool literal = !options.parseSpecialTokens;
  if (impl.data.layout.empty())
    return impl.encodeText(text, literal, ids);
  Status status;
  for (const tokenizer::TemplateItem &item : impl.data.layout)
    if (item.isText)
      keepFirst(status, impl.encodeText(text, literal, ids));
    else if (options.addSpecialTokens)
      ids.insert(ids.end(), item.ids.begin(), item.ids.end());
  return status;
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool addSpecialTokens) const {
  return encode(text, EncodeOptions{addSpecialTokens, true});
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, const EncodeOptions &options) const {
  std::vector<int32_t> ids;
  (void)encodeInto(*impl_, text, options, ids);
  return ids;
}

Result<std::vector<int32_t>> Tokenizer::encodeChecked(std::string_view text, const EncodeOptions &options) const {
  std::vector<int32_t> ids;
  LLMOPT_RETURN_IF_ERROR(encodeInto(*impl_, text, options, ids));
  return ids;
}

Result<std::string> Tokenizer::decode(std::span<const int32_t> ids, bool skipSpecial) const {
  DecodeChain chain(impl_->decodePlan, false);
  for (int32_t id : ids) {
    bool shown = false;
    LLMOPT_ASSIGN(std::string_view text, impl_->spelling(id, skipSpecial, shown));
    if (shown)
      chain.push(text, impl_->typeOf(id));
  }
  chain.finish();
  return chain.takeText();
}

size_t Tokenizer::vocabSize() const { return impl_->vocabSize(); }

std::optional<int32_t> Tokenizer::tokenId(std::string_view piece) const {
  int32_t id = impl_->added->find(piece);
  id = id >= 0 ? id : impl_->table.find(piece);
  return id >= 0 ? std::optional(id) : std::nullopt;
}

std::string_view Tokenizer::piece(int32_t id) const {
  if (const tokenizer::AddedToken *token = impl_->added->find(id))
    return token->content;
  return id >= 0 && size_t(id) < impl_->data.model.size() ? impl_->data.model.piece(size_t(id)) : std::string_view();
}

bool Tokenizer::isSpecial(int32_t id) const {
  const tokenizer::AddedToken *token = impl_->added->find(id);
  return token ? token->special : id >= 0 && impl_->typeOf(id) == tokenizer::PieceType::Control;
}

static std::optional<int32_t> orNothing(int32_t id) { return id >= 0 ? std::optional(id) : std::nullopt; }
std::optional<int32_t> Tokenizer::bosId() const { return orNothing(impl_->data.bosId); }
std::optional<int32_t> Tokenizer::eosId() const { return orNothing(impl_->data.eosId); }
std::optional<int32_t> Tokenizer::unkId() const { return orNothing(impl_->data.unkId); }
std::optional<int32_t> Tokenizer::padId() const { return orNothing(impl_->data.padId); }

bool Tokenizer::addsBos() const {
  const auto &layout = impl_->data.layout;
  return bosId() && !layout.empty() && !layout.front().ids.empty() && layout.front().ids.front() == *bosId();
}

bool Tokenizer::addsEos() const {
  const auto &layout = impl_->data.layout;
  return eosId() && !layout.empty() && !layout.back().ids.empty() && layout.back().ids.back() == *eosId();
}

StreamDecoder::StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool skipSpecial)
    : tokenizer_(std::move(tokenizer)),
      chain_(std::make_unique<text::DecodeChain>(tokenizer_->impl_->decodePlan, true)), skipSpecial_(skipSpecial) {}
StreamDecoder::StreamDecoder(StreamDecoder &&) noexcept = default;
StreamDecoder &StreamDecoder::operator=(StreamDecoder &&) noexcept = default;
StreamDecoder::~StreamDecoder() = default;

Result<std::string> StreamDecoder::push(int32_t id) {
  bool shown = false;
  LLMOPT_ASSIGN(std::string_view text, tokenizer_->impl_->spelling(id, skipSpecial_, shown));
  if (shown)
    chain_->push(text, tokenizer_->impl_->typeOf(id));
  return chain_->takeText();
}

std::string StreamDecoder::flush() {
  chain_->finish();
  return chain_->takeText();
}
