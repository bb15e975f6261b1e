//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Artifact/RepackedWeights.h"

#include "llmopt/lib/Artifact/Artifact.h"
#include "llmopt/lib/Support/CheckedMath.h"

using namespace llmopt;

static constexpr uint64_t kOwnZeros = 256; ///< beyond any code

QuantizedPanels RepackedWeight::words() const {
  QuantizedPanels words = panels;
  words.order = CodeOrder::Words;
  return words;
}

std::array<uint64_t, std::size(kRepackNumbers)> llmopt::repackNumbers(const RepackedWeight &weight, uint64_t first, uint64_t panels) {
  QuantizedPanels words = weight.words();
  int64_t inputs = int64_t(weight.inputs), blocks = words.blocks(inputs);
  int64_t pieces = ceilDiv(inputs, 64);
  return {panels,
          weight.outputs - first * 16,
          uint64_t(blocks * words.blockInputs(inputs)),
          uint64_t(words.bits),
          uint64_t(words.block),
          uint64_t(blocks),
          dtypeSize(words.scale),
          words.zeros ? kOwnZeros : weight.zero,
          weight.wordPanelBytes(),
          uint64_t(words.groupBlocks(inputs)),
          uint64_t(words.groupBytes(inputs)),
          uint64_t(words.scaleBytes(inputs)),
          uint64_t(words.headBytes(inputs)),
          uint64_t(words.blockBytes(inputs)),
          uint64_t(pieces),
          uint64_t(words.blocks(pieces * 64))};
}

Json llmopt::toJson(std::span<const RepackedWeight> weights) {
  Json list{Json::Array{}};
  for (const RepackedWeight &weight : weights)
    list.push(Json().set("name", weight.name).set("layout", weight.panels.layout()).set("outputs", weight.outputs).set("inputs", weight.inputs).set("zero", weight.zero)
                  .set("from", weight.from).set("offset", weight.offset));
  return Json().set("weights", std::move(list));
}

/// Nothing where a member is missing, or the words do not lie in the section.
static std::optional<RepackedWeight> readWeight(const Json &json, uint64_t sectionBytes) {
  constexpr int64_t kMostSide = int64_t(1) << 31, kMostOffset = int64_t(1) << 42;
  auto number = [&](const char *key, int64_t least, int64_t most) {
    const Json *value = json.find(key);
    return value && value->isInt() && value->asInt() >= least && value->asInt() <= most ? value->asInt() : -1;
  };
  const Json *name = json.find("name"), *layout = json.find("layout");
  if (!name || !name->isString() || !layout || !layout->isString())
    return std::nullopt;
  std::optional<QuantizedPanels> panels = QuantizedPanels::ofLayout(layout->asString());
  int64_t outputs = number("outputs", 1, kMostSide), inputs = number("inputs", 1, kMostSide), zero = number("zero", 0, 255), from = number("from", 0, kMostOffset),
          offset = number("offset", 0, kMostOffset);
  if (!panels || panels->order != CodeOrder::Fragments || panels->block > kMostSide || outputs < 0 || inputs < 0 || zero < 0 || zero >> panels->bits != 0 || from < 0 || from % 64 != 0 ||
      offset < 0 || offset % 64 != 0)
    return std::nullopt;
  RepackedWeight weight{name->asString(), *panels, uint64_t(outputs), uint64_t(inputs), uint64_t(zero), uint64_t(from), uint64_t(offset)};
  if (weight.panelCount() > sectionBytes / weight.wordPanelBytes() || weight.from > sectionBytes - weight.wordBytes())
    return std::nullopt;
  return weight;
}

Result<std::vector<RepackedWeight>> llmopt::readRepackedWeights(const Artifact &artifact) {
  std::vector<RepackedWeight> weights;
  std::optional<std::span<const std::byte>> bytes = artifact.section("repacked");
  if (!bytes)
    return weights;
  LLMOPT_RETURN_IF_ERROR(artifact.verify("repacked"));
  std::string context = artifact.path() + ", section 'repacked'";
  LLMOPT_ASSIGN(Json json, Json::parse({reinterpret_cast<const char *>(bytes->data()), bytes->size()}, context));
  const Json *list = json.find("weights");
  if (!list || !list->isArray())
    return badInput("E0208", "the plan is invalid: the repacked weights are no list", context);
  uint64_t section = artifact.section("weights").value_or(std::span<const std::byte>()).size();
  for (const Json &row : list->asArray()) {
    std::optional<RepackedWeight> weight = readWeight(row, section);
    if (!weight)
      return badInput("E0208", "the plan is invalid: repacked weight " + std::to_string(weights.size()) + " contradicts itself", context);
    weights.push_back(std::move(*weight));
  }
  return weights;
}
