//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Metadata.h"

#include "Blocks.h"

#include <algorithm>
#include <filesystem>

using namespace llmopt;
using namespace llmopt::hf;

namespace {

class Describer {
public:
  Describer(const ModelFolder &folder, ConfigScope &config, Problems &problems, std::vector<std::string> &warnings)
      : folder_(folder), config_(config), problems_(problems), warnings_(warnings) {}

  /// A size that the description's formulas give under its standard name.
  std::optional<int64_t> size(const char *name, int64_t most) {
    Result<int64_t> value = config_.integer(Expression::parse(name).take(), 0, most, 0);
    if (!value) {
      problems_.absorb(value.status());
      return std::nullopt;
    }
    return *value > 0 ? std::optional(*value) : std::nullopt;
  }

  void setTokens(Json &metadata, int64_t vocabulary) {
    for (const char *key : {"bos_token_id", "pad_token_id", "decoder_start_token_id"})
      setToken(metadata, key, vocabulary);
    setEndTokens(metadata, vocabulary);
  }

private:
  /// Null counts as absent.
  std::optional<Json> setting(const char *key) {
    if (const Json *found = folder_.generationConfig().find(key); found && !found->isNull())
      return *found;
    Result<Operand> value = config_.name(key);
    return value && !value->json.isNull() ? std::optional(value->json) : std::nullopt;
  }

  static bool inVocabulary(const Json &id, int64_t vocabulary) {
    return id.isInt() && id.asInt() >= 0 && id.asInt() < vocabulary;
  }

  void setToken(Json &metadata, const char *key, int64_t vocabulary) {
    std::optional<Json> id = setting(key);
    if (id && inVocabulary(*id, vocabulary))
      metadata.set(key, *id);
    else if (id) // tiny models often keep the special tokens of the large one
      warnings_.push_back(std::string(key) + " " + id->str() + " is outside of the vocabulary of " + std::to_string(vocabulary) + "; it is left away");
  }

  void setEndTokens(Json &metadata, int64_t vocabulary) {
    std::optional<Json> ids = setting("eos_token_id");
    Json list{Json::Array()};
    if (ids && !ids->isArray()) {
      if (inVocabulary(*ids, vocabulary))
        list.push(*ids);
      else
        warnings_.push_back("eos_token_id " + ids->str() + " is outside of the vocabulary of " + std::to_string(vocabulary) + "; it is left away");
    }
    // A list was written for this model on purpose; an entry that cannot occur is damage.
    for (const Json &id : ids && ids->isArray() ? ids->asArray() : Json::Array()) {
      if (inVocabulary(id, vocabulary))
        list.push(id);
      else
        problems_.invalid("eos_token_id " + id.str() + " is outside of the vocabulary of " + std::to_string(vocabulary));
    }
    metadata.set("eos_token_id", std::move(list));
  }

  const ModelFolder &folder_;
  ConfigScope &config_;
  Problems &problems_;
  std::vector<std::string> &warnings_;
};

} // namespace

/// Sampling defaults of generation_config.json, those of the right type.
static Json generationDefaults(const Json &settings) {
  static constexpr std::pair<const char *, bool (Json::*)() const> kKeys[] = {
      {"do_sample", &Json::isBool},        {"temperature", &Json::isNumber}, {"top_k", &Json::isInt},
      {"top_p", &Json::isNumber},          {"min_p", &Json::isNumber},       {"repetition_penalty", &Json::isNumber},
      {"max_length", &Json::isInt},        {"max_new_tokens", &Json::isInt}};
  Json result{Json::Object()};
  for (auto [key, isRightKind] : kKeys)
    if (const Json *value = settings.find(key); value && (value->*isRightKind)())
      result.set(key, *value);
  return result;
}

/// How sentence-transformers makes one vector of a text; null without its files.
static Json sentencePooling(const std::string &folder) {
  std::error_code problem;
  if (!std::filesystem::exists(folder + "/modules.json", problem))
    return Json();
  Result<MappedFile> modules = openModelFile(folder, "modules.json"), pooling = openModelFile(folder, "1_Pooling/config.json");
  Result<Json> list = modules ? Json::parse(modules->text(), "modules.json") : Result<Json>(modules.status());
  Result<Json> config = pooling ? Json::parse(pooling->text(), "1_Pooling/config.json") : Result<Json>(pooling.status());
  if (!list || !config || !list->isArray())
    return Json();
  Json result;
  for (auto [key, name] : {std::pair("pooling_mode_mean_tokens", "mean"), std::pair("pooling_mode_cls_token", "cls"),
                           std::pair("pooling_mode_max_tokens", "max"), std::pair("pooling_mode_lasttoken", "last")})
    if (const Json *on = config->find(key); on && on->isBool() && on->asBool())
      result.set("mode", name);
  if (const Json *mode = config->find("pooling_mode"); mode && mode->isString()) // the newer spelling
    result.set("mode", *mode);
  bool normalizes = std::ranges::any_of(list->asArray(), [](const Json &module) {
    const Json *type = module.find("type");
    return type && type->isString() && type->asString().ends_with("Normalize");
  });
  return result.set("normalize", normalizes);
}

Json hf::describeModel(const ModelFolder &folder, const Architecture &architecture, ConfigScope &config, int64_t validPositions,
                       Problems &problems, std::vector<std::string> &warnings) {
  Describer describer(folder, config, problems, warnings);
  Json metadata;
  metadata.set("kind", architecture.kind);
  metadata.set("architecture", architecture.modelType);
  metadata.set("format", "huggingface");
  std::optional<int64_t> vocabulary = describer.size("vocab_size", kMaxVocabulary);
  std::optional<int64_t> positions = describer.size("max_positions ?? max_position_embeddings", int64_t(1) << 40);
  if (validPositions > 0 && positions != validPositions) {
    warnings.push_back("rotary positions depend on the length of the text; compiled for up to " + std::to_string(validPositions) + " positions" +
                       (positions ? ", the config allows " + std::to_string(*positions) : std::string()));
    positions = validPositions;
  }
  for (auto [key, value] : {std::pair("vocab_size", vocabulary), std::pair("max_positions", positions),
                            std::pair("hidden_size", describer.size("hidden_size", kMaxWidth)),
                            std::pair("layers", describer.size("num_hidden_layers", kMaxLayers)),
                            std::pair("attention_heads", describer.size("num_attention_heads", kMaxHeads))})
    if (value)
      metadata.set(key, *value);
  describer.setTokens(metadata, vocabulary.value_or(0));
  if (Json generation = generationDefaults(folder.generationConfig()); !generation.asObject().empty())
    metadata.set("generation", std::move(generation));
  if (Json pooling = sentencePooling(folder.path()); !pooling.isNull())
    metadata.set("pooling", std::move(pooling));
  return metadata;
}
