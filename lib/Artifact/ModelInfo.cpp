//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Artifact/ModelInfo.h"

using namespace llmopt;

namespace {

/// Reads optional members and remembers the first of a wrong kind. A null counts as absent.
class Members {
public:
  Members(const Json &object, Status &status, const std::string &context) : object_(object), status_(status), context_(context) {}

  void read(std::string_view key, std::string &value) {
    if (const Json *json = member(key, &Json::isString, "a string"))
      value = json->asString();
  }
  void read(std::string_view key, bool &value) {
    if (const Json *json = member(key, &Json::isBool, "true or false"))
      value = json->asBool();
  }
  void read(std::string_view key, int64_t &value) {
    if (const Json *json = member(key, &Json::isInt, "an integer"))
      value = json->asInt();
  }
  void read(std::string_view key, std::optional<int64_t> &value) {
    if (const Json *json = member(key, &Json::isInt, "an integer"))
      value = json->asInt();
  }
  void read(std::string_view key, std::optional<double> &value) {
    if (const Json *json = member(key, &Json::isNumber, "a number"))
      value = json->asDouble();
  }
  void read(std::string_view key, std::optional<int32_t> &value) {
    if (const Json *json = member(key, &Json::isInt, "a token id"))
      value = tokenId(*json, key);
  }
  /// A number or a list of numbers.
  void read(std::string_view key, std::vector<int32_t> &values) {
    const Json *json = object_.find(key);
    if (!json || json->isNull())
      return;
    if (json->isInt())
      return values.push_back(tokenId(*json, key));
    if (!json->isArray())
      return fail(key, "a token id or a list of them");
    for (const Json &element : json->asArray())
      element.isInt() ? values.push_back(tokenId(element, key)) : fail(key, "a list of token ids");
  }
  const Json *object(std::string_view key) { return member(key, &Json::isObject, "an object"); }
  const Json *array(std::string_view key) { return member(key, &Json::isArray, "a list"); }
  void fail(std::string_view key, std::string_view expected) {
    if (status_.ok())
      status_ = badInput("E0210", "model metadata: '" + std::string(key) + "' should be " + std::string(expected), context_);
  }

private:
  const Json *member(std::string_view key, bool (Json::*is)() const, std::string_view expected) {
    const Json *json = object_.find(key);
    if (!json || json->isNull())
      return nullptr;
    if (!(json->*is)()) {
      fail(key, expected);
      return nullptr;
    }
    return json;
  }
  int32_t tokenId(const Json &json, std::string_view key) {
    if (json.asInt() < INT32_MIN || json.asInt() > INT32_MAX)
      fail(key, "a token id of 32 bits");
    return int32_t(json.asInt());
  }

  const Json &object_;
  Status &status_;
  const std::string &context_;
};

GenerationDefaults readGeneration(Members members) {
  GenerationDefaults defaults;
  members.read("do_sample", defaults.doSample);
  members.read("temperature", defaults.temperature);
  members.read("top_k", defaults.topK);
  members.read("top_p", defaults.topP);
  members.read("min_p", defaults.minP);
  members.read("repetition_penalty", defaults.repetitionPenalty);
  members.read("max_length", defaults.maxLength);
  members.read("max_new_tokens", defaults.maxNewTokens);
  return defaults;
}

DecoderIo readIo(Members members) {
  DecoderIo io;
  members.read("input_ids", io.inputIds);
  members.read("attention_mask", io.attentionMask);
  members.read("position_ids", io.positionIds);
  members.read("logits", io.logits);
  if (io.inputIds.empty() || io.logits.empty())
    members.fail("io", "an object with input_ids and logits");
  const Json *past = members.array("past");
  for (size_t i = 0; past && i < past->asArray().size(); ++i) {
    const Json &pair = past->asArray()[i];
    if (!pair.isArray() || pair.asArray().size() != 2 || !pair.asArray()[0].isString() || !pair.asArray()[1].isString())
      members.fail("past", "a list of [input, output] pairs");
    else
      io.past.emplace_back(pair.asArray()[0].asString(), pair.asArray()[1].asString());
  }
  return io;
}

} // namespace

Result<ModelInfo> llmopt::readModelInfo(const Json &model, const std::string &context) {
  ModelInfo info;
  Status status;
  Members members(model, status, context);
  members.read("kind", info.kind);
  members.read("architecture", info.architecture);
  members.read("vocab_size", info.vocabSize);
  members.read("max_positions", info.maxPositions);
  members.read("bos_token_id", info.bosId);
  members.read("eos_token_id", info.eosIds);
  members.read("pad_token_id", info.padId);
  members.read("decoder_start_token_id", info.decoderStartId);
  if (const Json *generation = members.object("generation"))
    info.generation = readGeneration(Members(*generation, status, context));
  if (const Json *io = members.object("io"))
    info.io = readIo(Members(*io, status, context));
  if (!status.ok())
    return status;
  return info;
}

Json llmopt::toJson(const DecoderIo &io) {
  Json json, past{Json::Array()};
  json.set("input_ids", io.inputIds);
  if (!io.attentionMask.empty())
    json.set("attention_mask", io.attentionMask);
  if (!io.positionIds.empty())
    json.set("position_ids", io.positionIds);
  json.set("logits", io.logits);
  for (const auto &[input, output] : io.past)
    past.push(Json::Array{Json(input), Json(output)});
  return json.set("past", std::move(past));
}
