//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Architecture.h"

#include "FieldReader.h"

#include <algorithm>

using namespace llmopt;
using namespace llmopt::hf;

static NormSpec readNorm(FieldReader &fields) {
  NormSpec norm;
  norm.kind = fields.text("kind");
  if (norm.kind != "rms" && norm.kind != "layer")
    fields.fail("'kind' of a norm must be 'rms' or 'layer'");
  norm.epsilon = fields.formula("epsilon", "1e-5");
  norm.offset = fields.formula("offset", "0");
  norm.scale = fields.formula("scale", "true");
  norm.bias = fields.formula("bias", norm.kind == "layer" ? "true" : "false");
  return norm;
}

static HeadNormSpec readHeadNorm(FieldReader &fields) {
  HeadNormSpec spec;
  spec.when = fields.formula("when", "true");
  spec.name = fields.text("name");
  spec.over = fields.text("over", "head");
  if (spec.over != "head" && spec.over != "all")
    fields.fail("'over' must be 'head' or 'all'");
  spec.perHead = fields.flag("per_head");
  spec.afterRope = fields.flag("after_rope");
  spec.norm = readNorm(fields);
  return spec;
}

static RopeSpec readRope(FieldReader &fields) {
  RopeSpec rope;
  rope.when = fields.formula("when", "true");
  rope.dim = fields.formula("dim");
  rope.fraction = fields.formula("fraction", "partial_rotary_factor ?? 1.0");
  rope.theta = fields.formula("theta", "rope_theta ?? 10000.0");
  rope.scaling = fields.formula("scaling", "rope_parameters ?? rope_scaling");
  rope.layerType = fields.formula("layer_type", "null");
  rope.interleaved = fields.formula("interleaved", "false");
  rope.original = fields.formula("original", "original_max_position_embeddings");
  rope.maximum = fields.formula("maximum", "max_position_embeddings");
  rope.typeAliases = fields.textMap("type_aliases");
  return rope;
}

static AlibiSpec readAlibi(FieldReader &fields) {
  AlibiSpec alibi;
  alibi.when = fields.formula("when", "true");
  alibi.maxBias = fields.formula("max_bias", "8");
  alibi.multiplier = fields.formula("multiplier", "1");
  alibi.order = fields.text("order", "bloom");
  if (alibi.order != "bloom" && alibi.order != "mpt")
    fields.fail("'order' must be 'bloom' or 'mpt'");
  return alibi;
}

static RelativeBiasSpec readRelativeBias(FieldReader &fields) {
  return {fields.text("name"), fields.formula("buckets"), fields.formula("max_distance"), fields.formula("bidirectional", "false")};
}

/// Reads the object `key` with `read`, if the description has it.
template <typename Spec>
static std::optional<Spec> optionalObject(FieldReader &fields, const std::string &key, Spec (*read)(FieldReader &)) {
  if (!fields.has(key))
    return std::nullopt;
  FieldReader inner = fields.object(key);
  Spec spec = read(inner);
  fields.absorb(inner.finish());
  return spec;
}

static AttentionSpec readAttention(FieldReader &fields) {
  AttentionSpec spec;
  spec.heads = fields.formula("heads", "num_attention_heads");
  spec.kvHeads = fields.formula("kv_heads", "num_key_value_heads ?? num_attention_heads");
  spec.headDim = fields.formula("head_dim", "head_dim ?? hidden_size // num_attention_heads");
  spec.valueDim = fields.formula("value_dim");
  spec.scale = fields.formula("scale");
  spec.causal = fields.formula("causal");
  spec.window = fields.formula("window", "0");
  spec.softcap = fields.formula("softcap", "0");
  spec.clip = fields.formula("clip", "null");
  spec.bias = fields.formula("bias", "false");
  spec.keyBias = fields.formula("key_bias");
  spec.outputBias = fields.formula("output_bias");
  spec.layout = fields.formula("layout", "'concatenated'");
  spec.fused = fields.text("fused", "");
  bool isFused = !spec.fused.empty();
  spec.query = fields.text("query", isFused ? "" : nullptr);
  spec.key = fields.text("key", isFused ? "" : nullptr);
  spec.value = fields.text("value", isFused ? "" : nullptr);
  spec.output = fields.text("output");
  spec.sinks = fields.text("sinks", "");
  spec.transposed = fields.flag("transposed");
  spec.clipAfterNorm = fields.flag("clip_after_norm");
  spec.cross = fields.flag("cross");
  spec.queryNorm = optionalObject(fields, "query_norm", readHeadNorm);
  spec.keyNorm = optionalObject(fields, "key_norm", readHeadNorm);
  spec.rope = optionalObject(fields, "rope", readRope);
  spec.alibi = optionalObject(fields, "alibi", readAlibi);
  spec.relativeBias = optionalObject(fields, "relative_bias", readRelativeBias);
  if (spec.cross && (isFused || spec.rope || spec.alibi))
    fields.fail("cross attention takes neither 'fused' nor 'rope' nor 'alibi'");
  return spec;
}

static MlpSpec readMlp(FieldReader &fields) {
  MlpSpec spec;
  spec.activation = fields.formula("activation", "hidden_act");
  spec.size = fields.formula("size", "intermediate_size");
  spec.bias = fields.formula("bias", "false");
  spec.gate = fields.text("gate", "");
  spec.fused = fields.text("fused", "");
  spec.up = fields.text("up", spec.fused.empty() ? nullptr : "");
  spec.down = fields.text("down");
  spec.transposed = fields.flag("transposed");
  return spec;
}

static ClampedGateSpec readClampedGate(FieldReader &fields) { return {fields.formula("alpha"), fields.formula("limit")}; }

static ExpertsSpec readExperts(FieldReader &fields) {
  ExpertsSpec spec;
  spec.count = fields.formula("count");
  spec.topK = fields.formula("top_k", "num_experts_per_tok");
  spec.normalize = fields.formula("normalize", "false");
  spec.clamped = optionalObject(fields, "clamped", readClampedGate);
  spec.activation = fields.formula("activation", spec.clamped ? "null" : "hidden_act");
  spec.size = fields.formula("size", "intermediate_size");
  spec.router = fields.text("router");
  spec.routerBias = fields.formula("router_bias", "false");
  spec.softmax = fields.text("softmax", "all");
  if (spec.softmax != "all" && spec.softmax != "chosen")
    fields.fail("'softmax' must be 'all' or 'chosen'");
  spec.stackedGateUp = fields.text("stacked_gate_up", "");
  spec.stackedDown = fields.text("stacked_down", spec.stackedGateUp.empty() ? "" : nullptr);
  spec.stackedGateUpBias = fields.text("stacked_gate_up_bias", "");
  spec.stackedDownBias = fields.text("stacked_down_bias", "");
  spec.transposed = fields.flag("transposed");
  spec.interleaved = fields.flag("interleaved");
  spec.mxfp4 = fields.flag("mxfp4");
  bool isStacked = !spec.stackedGateUp.empty();
  spec.gate = fields.text("gate", isStacked ? "" : nullptr);
  spec.up = fields.text("up", isStacked && spec.gate.empty() ? "" : nullptr);
  spec.down = fields.text("down", isStacked && spec.gate.empty() ? "" : nullptr);
  return spec;
}

static Status readBlocks(FieldReader fields, Architecture &architecture) {
  for (const auto &[name, json] : fields.members()) {
    FieldReader block = fields.object(name);
    std::string type = block.text("type");
    if (type == "norm")
      architecture.norms[name] = readNorm(block);
    else if (type == "attention")
      architecture.attentions[name] = readAttention(block);
    else if (type == "mlp")
      architecture.mlps[name] = readMlp(block);
    else if (type == "experts")
      architecture.experts[name] = readExperts(block);
    else
      block.fail("'type' must be 'norm', 'attention', 'mlp' or 'experts'");
    fields.absorb(block.finish());
  }
  for (const auto &[name, attention] : architecture.attentions)
    architecture.usesRope |= attention.rope.has_value();
  return fields.finish();
}

/// "target = formula" or "formula".
static Result<Statement> readStatement(const std::string &text) {
  Statement statement;
  size_t equals = text.find('=');
  std::string_view target = std::string_view(text).substr(0, std::min(equals, text.size()));
  while (target.ends_with(' '))
    target.remove_suffix(1);
  bool isName = !target.empty() && target.find_first_not_of("abcdefghijklmnopqrstuvwxyz_0123456789") == target.npos;
  bool assigns = equals != text.npos && isName && (equals + 1 == text.size() || text[equals + 1] != '=');
  if (assigns)
    statement.target = target;
  LLMOPT_ASSIGN(statement.value, Expression::parse(std::string_view(text).substr(assigns ? equals + 1 : 0)));
  return statement;
}

static Section readSection(FieldReader &fields) {
  Section section;
  section.repeat = fields.formula("repeat");
  for (const std::string &text : fields.texts("do")) {
    Result<Statement> statement = readStatement(text);
    if (!statement) {
      fields.fail(statement.error().message);
      continue;
    }
    statement->value.collectNames(fields.mentioned());
    section.statements.push_back(statement.take());
  }
  return section;
}

static Status readFunctions(FieldReader fields, Architecture &architecture) {
  for (const auto &[name, json] : fields.members()) {
    FunctionSpec function{name, {}};
    if (name != "step" && name != "encode")
      fields.fail("functions are called 'step' or 'encode', not '" + name + "'");
    fields.find(name);
    if (!json.isArray())
      fields.fail("'" + name + "' must be a list of sections");
    for (const Json &element : json.isArray() ? json.asArray() : Json::Array()) {
      FieldReader section(element, fields.where() + ": " + name, fields.mentioned());
      function.sections.push_back(readSection(section));
      fields.absorb(section.finish());
    }
    architecture.functions.push_back(std::move(function));
  }
  // What encode writes, step reads: states are numbered in this order.
  std::sort(architecture.functions.begin(), architecture.functions.end(),
            [](const FunctionSpec &a, const FunctionSpec &b) { return a.name < b.name; });
  return fields.finish();
}

static void readNames(FieldReader &fields, Architecture &architecture) {
  FieldReader names = fields.object("names");
  for (const auto &[name, json] : names.members()) {
    std::vector<std::string> candidates = json.isString() ? std::vector{json.asString()} : names.texts(name);
    names.find(name);
    architecture.names.emplace_back(name, std::move(candidates));
  }
  fields.absorb(names.finish());
  for (const auto &[from, to] : fields.textMap("renames"))
    architecture.renames.emplace_back(from, to);
}

static void readTied(FieldReader &fields, Architecture &architecture) {
  const Json *list = fields.find("tied");
  if (!list)
    return;
  if (!list->isArray())
    return fields.fail("'tied' must be a list");
  for (const Json &element : list->asArray()) {
    FieldReader group(element, fields.where() + ": tied", fields.mentioned());
    architecture.tied.push_back({group.formula("when", "true"), group.texts("tensors")});
    fields.absorb(group.finish());
  }
}

static void readRequirements(FieldReader &fields, Architecture &architecture) {
  FieldReader requirements = fields.object("requires");
  for (const auto &[key, json] : requirements.members()) {
    requirements.find(key);
    architecture.requirements[key] = json.isArray() ? json.asArray() : Json::Array{json};
  }
  fields.absorb(requirements.finish());
}

static std::string firstPart(const std::string &path) { return path.substr(0, path.find('.')); }

/// Reads `values`; returns the config keys they are made of. Inside its own formula, a value's name means the config's key.
static std::vector<std::string> readValues(FieldReader &fields, Architecture &architecture) {
  static const Json none{Json::Object()};
  const Json *json = fields.find("values");
  std::vector<std::string> mentioned, keys;
  FieldReader values(json ? *json : none, fields.where() + ": values", mentioned);
  for (const auto &[name, value] : values.members()) {
    mentioned.clear();
    architecture.values[name] = values.formula(name);
    for (const std::string &key : mentioned)
      if (firstPart(key) == name || !values.has(firstPart(key)))
        keys.push_back(key);
  }
  fields.absorb(values.finish());
  return keys;
}

Result<Architecture> Architecture::fromJson(const Json &json, const std::string &context) {
  Architecture result;
  FieldReader fields(json, context, result.mentionedKeys);
  result.modelType = fields.text("model_type");
  result.kind = fields.text("kind");
  if (result.kind != "decoder" && result.kind != "encoder" && result.kind != "encoder-decoder")
    fields.fail("'kind' must be 'decoder', 'encoder' or 'encoder-decoder'");
  result.classes = fields.texts("architectures");
  std::vector<std::string> keysOfValues = readValues(fields, result);
  readRequirements(fields, result);
  result.ignoredKeys = fields.texts("ignored");
  result.unusedTensors = fields.texts("unused_tensors");
  readNames(fields, result);
  readTied(fields, result);
  fields.absorb(readBlocks(fields.object("blocks"), result));
  fields.absorb(readFunctions(fields.object("functions"), result));
  LLMOPT_RETURN_IF_ERROR(fields.finish());
  // Read for every model, whether or not a formula of the description says so.
  for (const char *key : {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings"})
    result.mentionedKeys.emplace_back(key);
  // Outside of `values`, the name of a value no longer means the config's key.
  std::erase_if(result.mentionedKeys, [&](const std::string &key) { return result.values.contains(firstPart(key)); });
  result.mentionedKeys.insert(result.mentionedKeys.end(), keysOfValues.begin(), keysOfValues.end());
  return result;
}
