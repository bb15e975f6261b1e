//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Artifact/DrawnWeights.h"

#include "llmopt/lib/Artifact/Artifact.h"
#include "llmopt/lib/Support/CheckedMath.h"

#include <algorithm>
#include <cstring>

using namespace llmopt;

static constexpr uint64_t kPanel = 16, kTail = 4096; // kernels may read so many bytes past a tensor

static uint64_t groupOf(std::string_view layout) { return layout == "panel16" ? 1 : layout == "panel16x2" ? 2 : 0; }
static bool isDrawn(DType dtype) { return dtype == DType::F32 || dtype == DType::BF16 || dtype == DType::F16; }

bool llmopt::canDraw(std::string_view layout, DType dtype) { return isDrawn(dtype) && (layout == "row_major" || groupOf(layout)); }

uint64_t DrawnWeight::Order::elements() const {
  return group == 0 ? outputs * inputs : (outputs + kPanel - 1) / kPanel * kPanel * ((inputs + group - 1) / group * group);
}

DrawnWeight::Order DrawnWeight::order() const {
  uint64_t group = groupOf(layout);
  if (group == 0)
    return {1, uint64_t(checkedElementCount(shape).value_or(0)), 0};
  return {uint64_t(shape[outputsFirst ? 0 : 1]), uint64_t(shape[outputsFirst ? 1 : 0]), group};
}

uint64_t llmopt::weightMemory(std::span<const DrawnWeight> weights, uint64_t sectionBytes) {
  uint64_t end = sectionBytes;
  for (const DrawnWeight &weight : weights)
    end = std::max(end, weight.offset + weight.bytes + kTail);
  return end;
}

void DrawnWeight::draw(std::span<std::byte> out) const {
  Order place = order();
  size_t size = dtypeSize(dtype);
  std::byte *next = out.data();
  auto store = [&](float value) {
    uint16_t half = dtype == DType::BF16 ? floatToBf16(value) : dtype == DType::F16 ? floatToF16(value) : 0;
    std::memcpy(next, dtype == DType::F32 ? static_cast<const void *>(&value) : &half, size);
    next += size;
  };
  if (place.group == 0) {
    for (uint64_t i = 0; i < place.inputs; ++i)
      store(random.at(i));
    return;
  }
  uint64_t outputStride = outputsFirst ? place.inputs : 1, inputStride = outputsFirst ? 1 : place.outputs;
  for (uint64_t panel = 0; panel < place.outputs; panel += kPanel)
    for (uint64_t k = 0; k < place.inputs; k += place.group)
      for (uint64_t column = panel; column < panel + kPanel; ++column)
        for (uint64_t i = k; i < k + place.group; ++i)
          store(column < place.outputs && i < place.inputs ? random.at(column * outputStride + i * inputStride) : 0.0f);
}

Json llmopt::toJson(std::span<const DrawnWeight> weights) {
  Json list{Json::Array{}};
  for (const DrawnWeight &weight : weights) {
    Json shape{Json::Array{}}, row;
    for (int64_t dim : weight.shape)
      shape.push(dim);
    row.set("name", weight.name).set("dtype", dtypeName(weight.dtype)).set("shape", std::move(shape)).set("layout", weight.layout);
    row.set("outputs_first", weight.outputsFirst).set("offset", weight.offset).set("bytes", weight.bytes);
    row.set("state", weight.random.state).set("center", double(weight.random.center)).set("drawn_as", dtypeName(weight.random.dtype));
    list.push(std::move(row));
  }
  return Json().set("weights", std::move(list));
}

/// Nothing where a member is missing, or the tensor does not fill the bytes it says.
static std::optional<DrawnWeight> readWeight(const Json &json) {
  constexpr int64_t kMost = int64_t(1) << 42;
  for (const char *key : {"name", "dtype", "layout", "drawn_as"})
    if (!json.find(key) || !json.find(key)->isString())
      return std::nullopt;
  for (const char *key : {"offset", "bytes", "state"})
    if (!json.find(key) || !json.find(key)->isInt())
      return std::nullopt;
  const Json *shape = json.find("shape"), *first = json.find("outputs_first"), *center = json.find("center");
  std::optional<DType> dtype = parseDType(json.find("dtype")->asString()), drawn = parseDType(json.find("drawn_as")->asString());
  if (!shape || !shape->isArray() || !first || !first->isBool() || !center || !center->isNumber() || !dtype || !drawn || !isDrawn(*drawn))
    return std::nullopt;
  DrawnWeight weight{json.find("name")->asString(), *dtype, {}, json.find("layout")->asString(), first->asBool(), uint64_t(json.find("offset")->asInt()),
                     uint64_t(json.find("bytes")->asInt()), {uint64_t(json.find("state")->asInt()), float(center->asDouble()), *drawn}};
  for (const Json &dim : shape->asArray())
    weight.shape.push_back(dim.isInt() && dim.asInt() > 0 && dim.asInt() < kMost ? dim.asInt() : -1);
  std::optional<int64_t> elements = checkedElementCount(weight.shape);
  if (!elements || *elements < 1 || *elements > kMost || !canDraw(weight.layout, weight.dtype) || (weight.layout != "row_major" && weight.shape.size() != 2) ||
      weight.offset % 64 != 0 || weight.offset > uint64_t(kMost) || weight.order().elements() * dtypeSize(weight.dtype) != weight.bytes)
    return std::nullopt;
  return weight;
}

Result<std::vector<DrawnWeight>> llmopt::readDrawnWeights(const Artifact &artifact) {
  std::vector<DrawnWeight> weights;
  std::optional<std::span<const std::byte>> bytes = artifact.section("drawn");
  if (!bytes)
    return weights;
  LLMOPT_RETURN_IF_ERROR(artifact.verify("drawn"));
  std::string context = artifact.path() + ", section 'drawn'";
  LLMOPT_ASSIGN(Json json, Json::parse({reinterpret_cast<const char *>(bytes->data()), bytes->size()}, context));
  const Json *list = json.find("weights");
  if (!list || !list->isArray())
    return badInput("E0208", "the plan is invalid: the drawn weights are no list", context);
  for (const Json &row : list->asArray()) {
    std::optional<DrawnWeight> weight = readWeight(row);
    if (!weight)
      return badInput("E0208", "the plan is invalid: drawn weight " + std::to_string(weights.size()) + " contradicts itself", context);
    weights.push_back(std::move(*weight));
  }
  return weights;
}
