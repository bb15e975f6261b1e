//===- GraphDecoder.cpp - which tensors of a graph a decoder loop feeds --------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Exporters name these tensors in many ways, so ranks and types decide where they can: caches are float tensors of rank 4 (or 5,
// keys and values in one) that come in and go out; ids, mask and positions are integer matrices told apart by name.
//
//===----------------------------------------------------------------------===//
#include "lib/Compiler/GraphDecoder.h"

#include "llmopt/lib/Support/File.h"
#include "llmopt/passes/Ragged.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <filesystem>

using namespace mlir;
using namespace llmopt;
namespace fs = std::filesystem;

namespace {

struct Port {
  std::string name;
  RankedTensorType type;
  bool isCache() const { return isa<FloatType>(type.getElementType()) && (type.getRank() == 4 || type.getRank() == 5); }
  bool isIds() const { return type.getElementType().isInteger() && type.getRank() == 2; }
  bool has(llvm::StringRef part) const { return llvm::StringRef(name).contains_insensitive(part); }
};

std::vector<Port> argumentsOf(func::FuncOp function) {
  std::vector<Port> ports;
  for (BlockArgument argument : function.getArguments())
    if (auto name = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), "llm.name"))
      ports.push_back({name.str(), cast<RankedTensorType>(argument.getType())});
  return ports;
}

std::vector<Port> resultsOf(func::FuncOp function) {
  std::vector<Port> ports;
  for (auto [i, type] : llvm::enumerate(function.getResultTypes()))
    if (auto name = function.getResultAttrOfType<StringAttr>(unsigned(i), "llm.name"))
      ports.push_back({name.str(), cast<RankedTensorType>(type)});
  return ports;
}

const Port *logitsOf(const std::vector<Port> &results) {
  for (const Port &port : results)
    if (port.type.getRank() == 3 && isa<FloatType>(port.type.getElementType()))
      return &port;
  return nullptr;
}

/// Caches in order of the signature: exporters write inputs and outputs layer by layer alike.
std::optional<Json> pairCaches(const std::vector<Port> &arguments, const std::vector<Port> &results) {
  std::vector<std::string> in, out;
  for (const Port &port : arguments)
    if (port.isCache())
      in.push_back(port.name);
  for (const Port &port : results)
    if (port.isCache())
      out.push_back(port.name);
  if (in.size() != out.size())
    return std::nullopt;
  Json pairs{Json::Array{}};
  for (size_t i = 0; i < in.size(); ++i)
    pairs.push(Json::Array{Json(in[i]), Json(out[i])});
  return pairs;
}

std::optional<Json> describeIo(func::FuncOp function) {
  std::vector<Port> arguments = argumentsOf(function), results = resultsOf(function);
  const Port *logits = logitsOf(results);
  auto caches = pairCaches(arguments, results);
  if (!logits || !caches)
    return std::nullopt;
  Json io;
  for (const Port &port : arguments) {
    if (!port.isIds())
      continue;
    if (port.has("mask"))
      io.set("attention_mask", port.name);
    else if (port.has("position"))
      io.set("position_ids", port.name);
    else if (!io.find("input_ids") && !port.has("type"))
      io.set("input_ids", port.name);
  }
  if (!io.find("input_ids"))
    return std::nullopt;
  io.set("logits", logits->name);
  io.set("past", *caches);
  return io;
}

/// The same by index, for passes (llmopt/passes/Ragged.h).
DictionaryAttr decoderAttribute(func::FuncOp function, const Json &io) {
  Builder builder(function.getContext());
  auto indexIn = [&](const std::vector<Port> &ports, const Json *name) {
    auto found = llvm::find_if(ports, [&](const Port &port) { return name && port.name == name->asString(); });
    return int64_t(found == ports.end() ? -1 : found - ports.begin());
  };
  std::vector<Port> arguments = argumentsOf(function), results = resultsOf(function);
  SmallVector<Attribute> past;
  for (const Json &pair : io.find("past")->asArray())
    past.push_back(builder.getDenseI64ArrayAttr({indexIn(arguments, &pair.asArray()[0]), indexIn(results, &pair.asArray()[1])}));
  auto number = [&](StringRef key, int64_t index) { return builder.getNamedAttr(key, builder.getI64IntegerAttr(index)); };
  return builder.getDictionaryAttr({number("ids", indexIn(arguments, io.find("input_ids"))), number("mask", indexIn(arguments, io.find("attention_mask"))),
                                    number("positions", indexIn(arguments, io.find("position_ids"))), number("logits", indexIn(results, io.find("logits"))),
                                    builder.getNamedAttr("past", builder.getArrayAttr(past))});
}

Status copyIds(const std::string &path, bool nestedModel, Json &metadata) {
  if (!fs::exists(path))
    return {};
  LLMOPT_ASSIGN(std::string text, readTextFile(path, uint64_t(16) << 20));
  LLMOPT_ASSIGN(Json json, Json::parse(text, path));
  const Json *source = nestedModel ? json.find("model") : &json;
  if (!source)
    return {};
  for (const char *key : {"bos_token_id", "eos_token_id", "pad_token_id", "vocab_size"})
    if (const Json *value = source->find(key); value && (value->isInt() || value->isArray()))
      metadata.set(key, *value);
  return {};
}

} // namespace

Status llmopt::describeGraphDecoder(ModuleOp module, const std::string &folder, Json &metadata) {
  auto function = module.lookupSymbol<func::FuncOp>("main");
  std::optional<Json> io = function ? describeIo(function) : std::nullopt;
  if (!io)
    return {};
  metadata.set("io", *io);
  function->setAttr(kDecoderAttr, decoderAttribute(function, *io));
  LLMOPT_RETURN_IF_ERROR(copyIds(folder + "/config.json", false, metadata));
  LLMOPT_RETURN_IF_ERROR(copyIds(folder + "/generation_config.json", false, metadata));
  return copyIds(folder + "/genai_config.json", true, metadata);
}

void llmopt::describeRaggedStep(ModuleOp module, Json &metadata) {
  auto step = module.lookupSymbol<func::FuncOp>("step");
  auto limit = step ? step->getAttrOfType<IntegerAttr>(kMaxPositionsAttr) : IntegerAttr();
  const Json *known = metadata.find("max_positions");
  if (limit && (!known || !known->isInt() || known->asInt() > limit.getInt()))
    metadata.set("max_positions", Json(limit.getInt()));
}
