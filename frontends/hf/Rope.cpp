//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>

using namespace llmopt;
using namespace llmopt::hf;

namespace {

constexpr double kTwoPi = 2 * std::numbers::pi;
constexpr int64_t kMaxPositions = int64_t(1) << 40;

/// The scaling object of config.json, read key by key; a key that no reader asked for is an error at the end.
class Scaling {
public:
  explicit Scaling(Json json) : json_(std::move(json)) {}

  Result<std::optional<double>> number(const char *key) {
    const Json *found = find(key);
    if (!found)
      return std::optional<double>();
    if (!found->isNumber())
      return badInput("E0421", std::string("rope scaling key '") + key + "' must be a number, found " + found->str());
    return std::optional<double>(found->asDouble());
  }
  Result<double> required(const char *key) {
    LLMOPT_ASSIGN(std::optional<double> value, number(key));
    if (!value || !(*value > 0))
      return badInput("E0421", std::string("rope scaling needs '") + key + "' greater than 0");
    return *value;
  }
  Result<std::vector<double>> list(const char *key, size_t length) {
    const Json *found = find(key);
    std::vector<double> values;
    if (found && found->isArray())
      for (const Json &element : found->asArray())
        values.push_back(element.isNumber() ? element.asDouble() : 0.0);
    bool positive = std::all_of(values.begin(), values.end(), [](double value) { return value > 0; });
    if (values.size() != length || !positive)
      return badInput("E0421", std::string("rope scaling key '") + key + "' must be a list of " + std::to_string(length) +
                                   " numbers greater than 0");
    return values;
  }
  Result<std::string> type() {
    const Json *newer = find("rope_type"), *older = find("type");
    if (newer && older && newer->str() != older->str())
      return badInput("E0412", "rope scaling keys 'rope_type' = " + newer->str() + " and 'type' = " + older->str() + " contradict each other");
    const Json *found = newer ? newer : older;
    if (found && !found->isString())
      return badInput("E0421", "rope scaling key 'rope_type' must be text, found " + found->str());
    return found ? found->asString() : std::string("default");
  }
  bool flag(const char *key, bool fallback) {
    const Json *found = find(key);
    return found && found->isBool() ? found->asBool() : fallback;
  }
  void ignore(const char *key) { read_.insert(key); }

  Status finish(const std::string &type) const {
    for (const auto &[key, value] : json_.isObject() ? json_.asObject() : Json::Object())
      if (!value.isNull() && !read_.contains(key))
        return unsupported("E0411", "rope scaling key '" + key + "' = " + value.str() + " is not understood for rope type '" + type + "'");
    return {};
  }

private:
  /// Null counts as absent.
  const Json *find(const char *key) {
    read_.insert(key);
    const Json *found = json_.find(key);
    return found && !found->isNull() ? found : nullptr;
  }
  const Json json_;
  std::set<std::string> read_;
};

/// What all types share.
struct Base {
  double theta = 10000;
  double dim = 0;       ///< the number in the exponent; may be odd
  size_t pairs = 0;
  double original = 0;  ///< positions trained on; 0 if not said
  double maximum = 0;   ///< positions the config promises; 0 if not said
  int64_t wanted = 0;
};

std::vector<double> plainFrequencies(const Base &base) {
  std::vector<double> result(base.pairs);
  for (size_t k = 0; k < base.pairs; ++k)
    result[k] = std::pow(base.theta, -double(2 * k) / base.dim);
  return result;
}

struct Scaled {
  std::vector<double> frequencies;
  double scale = 1.0;
  int64_t validPositions = 0;
};

Result<Scaled> linear(const Base &base, Scaling &scaling) {
  LLMOPT_ASSIGN(double factor, scaling.required("factor"));
  Scaled result{plainFrequencies(base)};
  for (double &frequency : result.frequencies)
    frequency /= factor;
  return result;
}

/// transformers recomputes theta for the longest sequence seen so far, beyond what the model was trained on. A compiled
/// model has one set of frequencies: the plain ones, or with a longer context asked for, those of that context.
Result<Scaled> dynamic(Base base, Scaling &scaling) {
  LLMOPT_ASSIGN(double factor, scaling.required("factor"));
  if (base.maximum <= 0)
    return badInput("E0421", "rope type 'dynamic' needs max_position_embeddings");
  double positions = std::max(base.maximum, double(base.wanted));
  base.theta *= std::pow(factor * positions / base.maximum - (factor - 1), base.dim / (base.dim - 2));
  return Scaled{plainFrequencies(base), 1.0, int64_t(positions)};
}

Result<double> originalPositions(const Base &base, Scaling &scaling) {
  LLMOPT_ASSIGN(std::optional<double> own, scaling.number("original_max_position_embeddings"));
  double result = base.original > 0 ? base.original : own ? *own : base.maximum;
  if (!(result > 0))
    return badInput("E0421", "rope scaling needs 'original_max_position_embeddings' greater than 0");
  return result;
}

Result<Scaled> llama3(const Base &base, Scaling &scaling) {
  LLMOPT_ASSIGN(double factor, scaling.required("factor"));
  LLMOPT_ASSIGN(double low, scaling.required("low_freq_factor"));
  LLMOPT_ASSIGN(double high, scaling.required("high_freq_factor"));
  LLMOPT_ASSIGN(double original, originalPositions(base, scaling));
  Scaled result{plainFrequencies(base)};
  for (double &frequency : result.frequencies) {
    double wavelength = kTwoPi / frequency;
    if (wavelength < original / high)
      continue;
    double smooth = wavelength > original / low ? 0 : (original / wavelength - low) / (high - low);
    frequency *= (1 - smooth) / factor + smooth;
  }
  return result;
}

double yarnLength(double factor, double multiplier) { return factor <= 1 ? 1.0 : 0.1 * multiplier * std::log(factor) + 1.0; }

Result<Scaled> yarn(const Base &base, Scaling &scaling) {
  LLMOPT_ASSIGN(double original, originalPositions(base, scaling));
  LLMOPT_ASSIGN(std::optional<double> ownFactor, scaling.number("factor"));
  LLMOPT_ASSIGN(std::optional<double> attentionFactor, scaling.number("attention_factor"));
  LLMOPT_ASSIGN(std::optional<double> mscale, scaling.number("mscale"));
  LLMOPT_ASSIGN(std::optional<double> mscaleAll, scaling.number("mscale_all_dim"));
  LLMOPT_ASSIGN(std::optional<double> betaFast, scaling.number("beta_fast"));
  LLMOPT_ASSIGN(std::optional<double> betaSlow, scaling.number("beta_slow"));
  bool truncate = scaling.flag("truncate", true);
  double factor = ownFactor ? *ownFactor : base.maximum / original;
  if (!(factor > 0) || !(base.theta > 1))
    return badInput("E0421", "rope type 'yarn' needs 'factor' greater than 0 and rope_theta greater than 1");
  bool both = mscale && *mscale != 0 && mscaleAll && *mscaleAll != 0;
  double inferred = both ? yarnLength(factor, *mscale) / yarnLength(factor, *mscaleAll) : yarnLength(factor, 1);

  // The pair that turns `rotations` times over the original context.
  auto pairOf = [&](double rotations) {
    return base.dim * std::log(original / (rotations * kTwoPi)) / (2 * std::log(base.theta));
  };
  double low = pairOf(betaFast.value_or(0) != 0 ? *betaFast : 32), high = pairOf(betaSlow.value_or(0) != 0 ? *betaSlow : 1);
  low = std::max(truncate ? std::floor(low) : low, 0.0);
  high = std::min(truncate ? std::ceil(high) : high, base.dim - 1);
  if (low == high)
    high += 0.001;
  Scaled result{plainFrequencies(base), attentionFactor.value_or(inferred)};
  for (size_t k = 0; k < base.pairs; ++k) {
    double stretched = std::clamp((double(k) - low) / (high - low), 0.0, 1.0);
    result.frequencies[k] *= stretched / factor + (1 - stretched);
  }
  return result;
}

/// transformers takes the long list once a sequence passes the original length. Here the context compiled for decides.
Result<Scaled> longrope(const Base &base, Scaling &scaling) {
  LLMOPT_ASSIGN(double original, originalPositions(base, scaling));
  LLMOPT_ASSIGN(std::vector<double> shortFactors, scaling.list("short_factor", base.pairs));
  LLMOPT_ASSIGN(std::vector<double> longFactors, scaling.list("long_factor", base.pairs));
  LLMOPT_ASSIGN(std::optional<double> ownFactor, scaling.number("factor"));
  LLMOPT_ASSIGN(std::optional<double> attentionFactor, scaling.number("attention_factor"));
  double factor = ownFactor ? *ownFactor : base.maximum / original;
  bool isLong = double(base.wanted) > original;
  Scaled result{plainFrequencies(base)};
  result.scale = attentionFactor.value_or(factor <= 1 ? 1.0 : std::sqrt(1 + std::log(factor) / std::log(original)));
  result.validPositions = isLong ? base.wanted : std::min(int64_t(original), base.maximum > 0 ? int64_t(base.maximum) : int64_t(original));
  for (size_t k = 0; k < base.pairs; ++k)
    result.frequencies[k] /= isLong ? longFactors[k] : shortFactors[k];
  return result;
}

Result<Scaled> scaled(const std::string &type, const Base &base, Scaling &scaling) {
  if (type == "default")
    return Scaled{plainFrequencies(base)};
  if (type == "linear")
    return linear(base, scaling);
  if (type == "dynamic")
    return dynamic(base, scaling);
  if (type == "llama3")
    return llama3(base, scaling);
  if (type == "yarn")
    return yarn(base, scaling);
  if (type == "longrope")
    return longrope(base, scaling);
  return unsupported("E0411", "rope type '" + type + "' is not supported, only default, linear, dynamic, llama3, yarn and longrope");
}

/// The scaling object that holds for this layer.
Result<Json> scalingObject(const RopeSpec &spec, ConfigScope &config) {
  LLMOPT_ASSIGN(Json object, config.value(spec.scaling));
  LLMOPT_ASSIGN(Json layerType, config.value(spec.layerType));
  const Json *nested = layerType.isString() ? object.find(layerType.asString()) : nullptr;
  Json result = nested ? *nested : object;
  if (!result.isNull() && !result.isObject())
    return badInput("E0421", "rope scaling must be an object, found " + result.str());
  return result;
}

/// Both spellings of the same thing may be there, if they say the same.
Status checkAgreement(ConfigScope &config, const Json &object) {
  const Json *inner = object.find("rope_theta");
  LLMOPT_ASSIGN(Operand outer, config.name("rope_theta"));
  if (inner && inner->isNumber() && outer.json.isNumber() && inner->asDouble() != outer.json.asDouble())
    return badInput("E0412", "config key 'rope_theta' = " + outer.json.str() + " contradicts rope_theta = " + inner->str() + " of the rope parameters");
  return {};
}

Status checkBothObjects(ConfigScope &config) {
  LLMOPT_ASSIGN(Operand newer, config.name("rope_parameters"));
  LLMOPT_ASSIGN(Operand older, config.name("rope_scaling"));
  if (!newer.json.isObject() || !older.json.isObject())
    return {};
  for (const auto &[key, value] : older.json.asObject()) {
    const Json *same = newer.json.find(key == "type" ? "rope_type" : key);
    if (same && same->str() != value.str())
      return badInput("E0412", "config keys 'rope_scaling' and 'rope_parameters' contradict each other in '" + key + "'");
  }
  return {};
}

} // namespace

/// Sizes of the rotation, from the description's formulas and what the scaling object overrides.
static Result<Base> readBase(const RopeSpec &spec, ConfigScope &config, Scaling &scaling, int64_t headDim) {
  Base base;
  LLMOPT_ASSIGN(std::optional<double> theta, scaling.number("rope_theta"));
  LLMOPT_ASSIGN(std::optional<double> fraction, scaling.number("partial_rotary_factor"));
  LLMOPT_ASSIGN(double outerTheta, config.number(spec.theta));
  LLMOPT_ASSIGN(double outerFraction, config.number(spec.fraction, 1.0));
  base.theta = theta.value_or(outerTheta);
  double share = fraction.value_or(outerFraction);
  if (!(share > 0 && share <= 1))
    return badInput("E0421", "partial_rotary_factor must be greater than 0 and at most 1");
  int64_t inferred = int64_t(double(headDim) * share);
  LLMOPT_ASSIGN(int64_t dim, config.integer(spec.dim, 1, headDim, inferred));
  base.dim = double(dim);
  base.pairs = size_t(dim + 1) / 2;
  if (dim < 2 || int64_t(2 * base.pairs) > headDim || !(base.theta > 0))
    return badInput("E0421", "rotary positions need 2 to " + std::to_string(headDim) + " features a head and rope_theta greater than 0, found " +
                                 std::to_string(dim) + " features");
  LLMOPT_ASSIGN(int64_t original, config.integer(spec.original, 1, kMaxPositions, 0));
  LLMOPT_ASSIGN(int64_t maximum, config.integer(spec.maximum, 1, kMaxPositions, 0));
  base.original = double(original);
  base.maximum = double(maximum);
  return base;
}

Result<std::optional<Rope>> hf::resolveRope(const RopeSpec &spec, ConfigScope &config, int64_t headDim, int64_t wantedPositions) {
  LLMOPT_ASSIGN(bool when, config.boolean(spec.when, false));
  if (!when)
    return std::optional<Rope>();
  LLMOPT_RETURN_IF_ERROR(checkBothObjects(config));
  LLMOPT_ASSIGN(Json object, scalingObject(spec, config));
  LLMOPT_RETURN_IF_ERROR(checkAgreement(config, object));
  Scaling scaling(object);
  LLMOPT_ASSIGN(std::string type, scaling.type());
  if (auto alias = spec.typeAliases.find(type); alias != spec.typeAliases.end())
    type = alias->second;
  LLMOPT_ASSIGN(Base base, readBase(spec, config, scaling, headDim));
  base.wanted = wantedPositions;
  if (type == "default") // written along by some, without meaning
    for (const char *key : {"factor", "original_max_position_embeddings"})
      scaling.ignore(key);
  LLMOPT_ASSIGN(Scaled result, scaled(type, base, scaling));
  LLMOPT_RETURN_IF_ERROR(scaling.finish(type));
  Rope rope;
  rope.frequencies.assign(result.frequencies.begin(), result.frequencies.end());
  rope.scale = result.scale;
  rope.validPositions = result.validPositions;
  LLMOPT_ASSIGN(rope.interleaved, config.boolean(spec.interleaved, false));
  return std::optional<Rope>(std::move(rope));
}
