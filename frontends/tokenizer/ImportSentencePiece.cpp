//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// A SentencePiece model is a ModelProto (google/sentencepiece, src/sentencepiece_model.proto). Field numbers are named
// where they are read.

#include "Import.h"
#include "Wire.h"

#include "llmopt/lib/Support/File.h"
#include "llmopt/lib/Support/Utf8.h"

#include <array>

using namespace llmopt;
using namespace llmopt::frontend;
using tokenizer::ModelKind;
using tokenizer::PieceType;
using tokenizer::TokenizerData;

static constexpr uint64_t kMaxFileBytes = uint64_t(256) << 20;

namespace {

class PieceModelReader {
public:
  explicit PieceModelReader(const std::string &path) : path_(path) {}

  Result<TokenizerData> read(std::string_view bytes) {
    WireReader message(bytes);
    while (message.next()) {
      Status status;
      if (message.number() == 1)
        status = piece(message.bytes());
      else if (message.number() == 2)
        status = trainer(message.bytes());
      else if (message.number() == 3)
        status = normalizer(message.bytes());
      else if (message.number() == 5)
        status = denormalizer(message.bytes());
      LLMOPT_RETURN_IF_ERROR(status);
    }
    if (!message.ok())
      return damaged("truncated or corrupt protobuf");
    LLMOPT_RETURN_IF_ERROR(finish());
    return std::move(data_);
  }

private:
  Status damaged(std::string what) const { return badInput("E1301", "SentencePiece model: " + std::move(what), path_); }

  Status piece(std::string_view bytes) {
    WireReader message(bytes);
    std::string_view text;
    float score = 0;
    uint64_t type = uint64_t(PieceType::Normal);
    while (message.next())
      if (message.number() == 1)
        text = message.bytes();
      else if (message.number() == 2)
        score = message.number32f();
      else if (message.number() == 3)
        type = message.number64();
    std::string name = "piece " + std::to_string(data_.model.size());
    if (!message.ok() || type < uint64_t(PieceType::Normal) || type > uint64_t(PieceType::Byte))
      return damaged(name + " is damaged");
    if (text.empty() || text.find('\0') != text.npos || !isUtf8(text))
      return damaged(name + " is empty or no UTF-8 text");
    if (data_.model.size() == tokenizer::kMaxPieces || text.size() > tokenizer::kMaxPieceBytes)
      return badInput("E1303", "SentencePiece model: too many pieces, or " + name + " is too long", path_);
    data_.model.addPiece(text);
    data_.model.scores.push_back(score);
    data_.model.types.push_back(uint8_t(type));
    return {};
  }

  Status trainer(std::string_view bytes) {
    WireReader message(bytes);
    while (message.next())
      switch (message.number()) {
      case 3:
        kind_ = message.number64();
        break;
      case 24:
        data_.spaces.suffix = data_.model.whitespaceSuffix = message.flag();
        break;
      case 35:
        data_.model.byteFallback = message.flag();
        break;
      case 44:
        unknownText_ = message.bytes();
        break;
      case 46:
      case 47:
      case 48:
        if (!message.bytes().empty())
          names_[message.number() - 46] = message.bytes();
        break;
      default:
        break;
      }
    return message.ok() ? Status() : damaged("its trainer_spec is damaged");
  }

  Status normalizer(std::string_view bytes) {
    WireReader message(bytes);
    while (message.next())
      if (message.number() == 2)
        charsmap_ = message.bytes();
      else if (message.number() == 3)
        data_.spaces.dummyPrefix = message.flag();
      else if (message.number() == 4)
        data_.spaces.removeExtra = message.flag();
      else if (message.number() == 5)
        data_.spaces.escape = message.flag();
    return message.ok() ? Status() : damaged("its normalizer_spec is damaged");
  }

  Status denormalizer(std::string_view bytes) {
    WireReader message(bytes);
    while (message.next())
      if (message.number() == 2 && !message.bytes().empty())
        return unsupported("E1302", "SentencePiece model: denormalizer_spec is not supported", path_);
    return {};
  }

  Status finish() {
    constexpr std::array<ModelKind, 4> kKinds = {ModelKind::PieceUnigram, ModelKind::PieceBpe, ModelKind::PieceWord,
                                                 ModelKind::PieceChar};
    if (kind_ < 1 || kind_ > kKinds.size())
      return unsupported("E1302", "SentencePiece model: model_type " + std::to_string(kind_) + " is not supported",
                         path_);
    data_.model.kind = kKinds[kind_ - 1];
    LLMOPT_RETURN_IF_ERROR(checkPieces());
    addCommonSets(data_);
    tokenizer::NormalizeStep normalize;
    normalize.op = tokenizer::NormalizeStep::SentencePiece;
    normalize.text = charsmap_;
    data_.normalize.push_back(std::move(normalize));
    tokenizer::DecodeStep decode;
    decode.op = tokenizer::DecodeStep::SentencePiece;
    decode.text = unknownText_;
    decode.flag = data_.spaces.dummyPrefix;
    decode.flag2 = data_.spaces.removeExtra;
    data_.decode.push_back(std::move(decode));
    return isUtf8(unknownText_) ? Status() : damaged("its unk_surface is not UTF-8");
  }

  Status checkPieces() {
    tokenizer::Model &model = data_.model;
    PieceIds ids = pieceIds(model);
    if (ids.size() != model.size())
      return damaged("a piece is there twice");
    size_t bytes = 0;
    for (size_t id = 0; id < model.size(); ++id) {
      PieceType type = PieceType(model.types[id]);
      bytes += type == PieceType::Byte;
      if (type == PieceType::Unknown && model.unkId >= 0)
        return damaged("there are two unknown pieces");
      if (type == PieceType::Unknown)
        model.unkId = int32_t(id);
      if (type == PieceType::Byte && (!model.byteFallback || !isByteName(model.piece(id))))
        return damaged("byte piece '" + std::string(model.piece(id)) + "' is invalid");
    }
    if (model.unkId < 0 || (model.byteFallback && bytes != 256))
      return damaged(model.unkId < 0 ? "there is no unknown piece" : "there are not 256 byte pieces");
    auto idOf = [&](const std::string &name) {
      auto it = ids.find(name);
      bool control = it != ids.end() && PieceType(model.types[size_t(it->second)]) == PieceType::Control;
      return control ? it->second : -1;
    };
    data_.bosId = idOf(names_[0]);
    data_.eosId = idOf(names_[1]);
    data_.padId = idOf(names_[2]);
    data_.unkId = model.unkId;
    return {};
  }

  static bool isByteName(std::string_view piece) {
    auto isDigit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); };
    return piece.size() == 6 && piece.starts_with("<0x") && piece[5] == '>' && isDigit(piece[3]) && isDigit(piece[4]);
  }

  const std::string &path_;
  TokenizerData data_;
  uint64_t kind_ = 1;
  std::string_view charsmap_, unknownText_ = " \xE2\x81\x87 ";
  std::array<std::string, 3> names_ = {"<s>", "</s>", "<pad>"}; ///< begin, end, padding
};

} // namespace

Result<TokenizerData> frontend::importSentencePiece(const std::string &path) {
  LLMOPT_ASSIGN(MappedFile file, MappedFile::open(path));
  if (file.text().empty())
    return badInput("E1301", "file is empty (0 bytes)", path);
  if (file.text().size() > kMaxFileBytes)
    return badInput("E1303",
                    "file has " + std::to_string(file.text().size()) + " bytes; the limit is " +
                        std::to_string(kMaxFileBytes),
                    path);
  return PieceModelReader(path).read(file.text());
}
