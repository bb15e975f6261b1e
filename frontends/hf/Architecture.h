//===- Architecture.h - an architecture description, read -------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A description is a data file (architectures/<model_type>.json) that says which features a family of models combines,
// how their values follow from config.json, how its tensors are called, and how its blocks are wired. This header is
// the parsed form; docs/HowToAddAnArchitecture.md explains each field.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_HF_ARCHITECTURE_H
#define LLMOPT_FRONTENDS_HF_ARCHITECTURE_H

#include "Expression.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace llmopt::hf {

struct NormSpec {
  std::string kind;     ///< "rms" or "layer"
  Expression epsilon;
  Expression offset;    ///< added to the stored scale
  Expression scale;     ///< is there a weight
  Expression bias;      ///< is there a bias
};

/// Normalization of queries or keys.
struct HeadNormSpec {
  Expression when;
  std::string name;     ///< tensor; with {h} one tensor a head
  std::string over;     ///< "head": D features of each head; "all": the whole projection
  bool perHead = false; ///< the scale is [heads, D] rather than [D]
  bool afterRope = false;
  NormSpec norm;
};

struct RopeSpec {
  Expression when;
  Expression dim;        ///< rotated features of a head; default: fraction * head_dim
  Expression fraction;
  Expression theta;
  Expression scaling;    ///< the object with rope_type, factor, ...
  Expression layerType;  ///< key into a scaling object that is nested by kind of layer
  Expression interleaved;
  Expression original;   ///< positions the model was trained on before its range was stretched
  Expression maximum;    ///< positions it is said to take now
  std::map<std::string, std::string> typeAliases;
};

struct AlibiSpec {
  Expression when;
  Expression maxBias;    ///< the steepest slope of a power-of-two number of heads is 2^(-maxBias / heads)
  Expression multiplier; ///< of the slopes, for models that scale scores after adding the bias
  std::string order;     ///< "bloom" or "mpt": where the slopes of a number of heads that is no power of two come from
};

struct RelativeBiasSpec {
  std::string name;      ///< tensor [buckets, heads]
  Expression buckets, maxDistance, bidirectional;
};

struct AttentionSpec {
  Expression heads, kvHeads, headDim, valueDim;
  Expression scale, causal, window, softcap, clip;
  Expression bias, keyBias, outputBias, layout;
  std::string query, key, value, fused, output, sinks;
  bool transposed = false;
  bool clipAfterNorm = false;
  bool cross = false;    ///< keys and values come from the encoder's output, by `name.store(x)`
  std::optional<HeadNormSpec> queryNorm, keyNorm;
  std::optional<RopeSpec> rope;
  std::optional<AlibiSpec> alibi;
  std::optional<RelativeBiasSpec> relativeBias;
};

struct MlpSpec {
  Expression activation, size, bias;
  std::string gate, up, fused, down; ///< `fused` holds gate, then up; without gate and fused the block is not gated
  bool transposed = false;
};

/// A gate min(g, limit) * sigmoid(alpha * min(g, limit)), times a linear part within +-limit that 1 is added to.
struct ClampedGateSpec {
  Expression alpha, limit;
};

/// Feed-forward blocks of which a router chooses a few for each token.
struct ExpertsSpec {
  Expression count, topK, normalize, activation, size, routerBias;
  std::string router;
  std::string softmax;                     ///< "all": of all experts' scores; "chosen": of those of the chosen ones
  std::string gate, up, down;              ///< with {e}: one tensor an expert
  std::string stackedGateUp, stackedDown;  ///< tensors of all experts: [experts, 2 * size, width] and [experts, width, size]
  std::string stackedGateUpBias, stackedDownBias;
  bool transposed = false;                 ///< stacked matrices are [inputs, outputs]
  bool interleaved = false;                ///< gate and up take turns in stacked tensors
  bool mxfp4 = false;                      ///< stacked matrices may be stored as <name>_blocks and <name>_scales
  std::optional<ClampedGateSpec> clamped;  ///< instead of `activation`
};

struct Statement {
  std::string target; ///< variable that gets the value; empty for a call made for its effect
  Expression value;
};

/// Statements done once, or once a layer.
struct Section {
  Expression repeat;
  std::vector<Statement> statements;
};

/// One entry point of the model: "step" or "encode".
struct FunctionSpec {
  std::string name;
  std::vector<Section> sections;
};

/// Tensors of which one may stand for the others.
struct TiedGroup {
  Expression when;
  std::vector<std::string> tensors;
};

struct Architecture {
  std::string modelType;
  std::string kind; ///< "decoder", "encoder", "encoder-decoder"
  std::vector<std::string> classes;
  std::map<std::string, Expression> values;
  std::map<std::string, Json::Array> requirements; ///< config key -> the values it may have
  std::vector<std::string> ignoredKeys;
  std::vector<std::string> unusedTensors; ///< parts of the names of tensors that nobody misses
  std::vector<std::pair<std::string, std::string>> renames;
  std::vector<std::pair<std::string, std::vector<std::string>>> names; ///< {name} -> candidates, best first
  std::vector<TiedGroup> tied;
  std::map<std::string, NormSpec> norms;
  std::map<std::string, AttentionSpec> attentions;
  std::map<std::string, MlpSpec> mlps;
  std::map<std::string, ExpertsSpec> experts;
  std::vector<FunctionSpec> functions;
  std::vector<std::string> mentionedKeys; ///< every name in a formula, config keys among them
  bool usesRope = false;

  /// E0420 when the description does not make sense. `context` names it.
  static Result<Architecture> fromJson(const Json &json, const std::string &context);
};

/// The description of `modelType` with all it extends merged in: from the first folder that has one, else built in.
/// E0410 (unsupported) lists the known types.
Result<Json> findDescription(const std::string &modelType, const std::vector<std::string> &folders);

} // namespace llmopt::hf

#endif // LLMOPT_FRONTENDS_HF_ARCHITECTURE_H
