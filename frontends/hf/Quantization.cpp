//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Quantization.h"

#include <algorithm>

using namespace llmopt;
using namespace llmopt::hf;

namespace {

constexpr int64_t kMostInBlock = 1 << 24;
constexpr const char *kKeys[] = {"quantization_config", "compression_config"};

/// A member that says something.
const Json *member(const Json &json, std::string_view key) {
  const Json *found = json.find(key);
  return found && !found->isNull() ? found : nullptr;
}

bool isText(const Json &json, std::string_view key, std::string_view wanted) {
  const Json *found = json.find(key);
  return found && found->isString() && found->asString() == wanted;
}

bool isTrue(const Json *value) { return value && value->isBool() && value->asBool(); }

/// "num_bits", "type": what compressed-tensors calls e4m3.
bool isFloat8(const Json &arguments) {
  const Json *bits = arguments.find("num_bits"), *symmetric = arguments.find("symmetric");
  return isText(arguments, "type", "float") && bits && bits->isInt() && bits->asInt() == 8 && (!symmetric || isTrue(symmetric));
}

/// Reads one config; `why` says what of it is not understood.
class Reader {
public:
  explicit Reader(std::vector<std::string> &warnings) : warnings_(warnings) {}
  std::string why;

  std::optional<Float8Scheme> read(const Json &config) {
    if (isText(config, "quant_method", "compressed-tensors"))
      return compressedTensors(config);
    if (isText(config, "quant_method", "fp8"))
      return float8(config);
    return std::nullopt;
  }

private:
  std::optional<Float8Scheme> refuse(std::string reason) {
    why = std::move(reason);
    return std::nullopt;
  }

  std::optional<Float8Scheme> compressedTensors(const Json &config) {
    const Json *format = member(config, "format"), *groups = member(config, "config_groups"), *sparsity = member(config, "sparsity_config");
    if (!format || (!isText(config, "format", "float-quantized") && !isText(config, "format", "naive-quantized")))
      return refuse("format " + (format ? format->str() : "null") + ", only \"float-quantized\" and \"naive-quantized\"");
    if (sparsity && sparsity->isObject() && !sparsity->asObject().empty() && !isText(*sparsity, "format", "dense"))
      return refuse("sparse weights");
    if (!groups || !groups->isObject() || groups->asObject().empty())
      return refuse("no config_groups");
    std::optional<Float8Scheme> scheme;
    for (const auto &[name, group] : groups->asObject()) {
      std::optional<Float8Scheme> own = ofGroup(group);
      if (!own)
        return std::nullopt;
      if (scheme && *scheme != *own)
        return refuse("groups of layers that are quantized in different ways");
      scheme = own;
    }
    if (member(config, "kv_cache_scheme"))
      warnings_.push_back("the config has a kv_cache_scheme, which is not used: --kv-cache says how keys and values are kept");
    return scheme;
  }

  std::optional<Float8Scheme> ofGroup(const Json &group) {
    const Json *weights = member(group, "weights"), *inputs = member(group, "input_activations");
    bool inBlocks = weights && isText(*weights, "strategy", "block");
    if (!weights || !isFloat8(*weights) || isTrue(weights->find("dynamic")) || (!inBlocks && !isText(*weights, "strategy", "tensor") && !isText(*weights, "strategy", "channel")))
      return refuse("weights " + (weights ? weights->str() : "null") + ", only floats of 8 bits with strategy \"tensor\", \"channel\" or \"block\"");
    if (member(group, "output_activations"))
      return refuse("output_activations");
    if (inBlocks)
      return blocks(member(*weights, "block_structure"), ".weight_scale");
    if (!inputs)
      return Float8Scheme{};
    bool isDynamic = isTrue(inputs->find("dynamic"));
    const Json *dynamic = inputs->find("dynamic");
    if (!isFloat8(*inputs) || (dynamic && !dynamic->isBool()) || !isText(*inputs, "strategy", isDynamic ? "token" : "tensor"))
      return refuse("input_activations " + inputs->str() + ", only floats of 8 bits, dynamic with strategy \"token\" or static with \"tensor\"");
    return Float8Scheme{isDynamic ? Float8Scheme::Input::Token : Float8Scheme::Input::Fixed};
  }

  /// Such scales cannot stand behind a sum over all inputs, so inputs are not rounded either.
  std::optional<Float8Scheme> blocks(const Json *size, const char *scaleName) {
    auto isSize = [](const Json &value) { return value.isInt() && value.asInt() >= 1 && value.asInt() <= kMostInBlock; };
    if (!size || !size->isArray() || size->asArray().size() != 2 || !isSize(size->asArray()[0]) || !isSize(size->asArray()[1]))
      return refuse("blocks of " + (size ? size->str() : "null") + ", only of two numbers");
    warnings_.push_back("weights of e4m3 in blocks are multiplied in bf16, and inputs are not rounded to e4m3");
    return Float8Scheme{Float8Scheme::Input::Float, size->asArray()[0].asInt(), size->asArray()[1].asInt(), scaleName};
  }

  std::optional<Float8Scheme> float8(const Json &config) {
    const Json *format = member(config, "fmt"), *activations = member(config, "activation_scheme");
    if (format && !isText(config, "fmt", "e4m3"))
      return refuse("fmt " + format->str() + ", only \"e4m3\"");
    if (activations && !isText(config, "activation_scheme", "dynamic") && !isText(config, "activation_scheme", "static"))
      return refuse("activation_scheme " + activations->str() + ", only \"dynamic\" and \"static\"");
    if (const Json *size = member(config, "weight_block_size"))
      return blocks(size, ".weight_scale_inv");
    return Float8Scheme{isText(config, "activation_scheme", "static") ? Float8Scheme::Input::Fixed : Float8Scheme::Input::Token};
  }

  std::vector<std::string> &warnings_;
};

} // namespace

std::optional<Float8Scheme> hf::readQuantization(const Json &config, const Architecture &architecture, Problems &problems,
                                                 std::vector<std::string> &warnings) {
  bool takesMxfp4 = std::any_of(architecture.experts.begin(), architecture.experts.end(), [](const auto &experts) { return experts.second.mxfp4; });
  for (const char *key : kKeys) {
    const Json *found = member(config, key);
    if (!found || (takesMxfp4 && isText(*found, "quant_method", "mxfp4")))
      continue;
    Reader reader(warnings);
    if (std::optional<Float8Scheme> scheme = reader.read(*found))
      return scheme;
    const Json *method = found->find("quant_method");
    problems.unsupported("quantized weights (" + std::string(key) + (method ? ", quant_method " + method->str() : "") + (reader.why.empty() ? "" : ": " + reader.why) +
                         ") are not supported; compile the original weights and let llmopt quantize them");
  }
  return std::nullopt;
}
