//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Inspect.h"

#include "llmopt/lib/Artifact/KernelABI.h"
#include "llmopt/lib/Artifact/Roofline.h"
#include "llmopt/lib/Target/PortableCode.h"

#include <map>
#include <set>

using namespace llmopt;
using namespace llmopt::tools;
using plan::Entry;

Result<Inspected> Inspected::read(const std::string &path) {
  LLMOPT_ASSIGN(Artifact artifact, Artifact::open(path));
  Inspected inspected{std::move(artifact), {}};
  for (const TargetRequirement &target : inspected.artifact.targets()) {
    std::string name = "plan/" + target.name, context = path + ", section '" + name + "'";
    std::optional<std::span<const std::byte>> bytes = inspected.artifact.section(name);
    if (!bytes)
      return badInput("E0202", "the artifact lists target '" + target.name + "' but has no plan for it", path);
    LLMOPT_RETURN_IF_ERROR(inspected.artifact.verify(name));
    LLMOPT_ASSIGN(Json json, Json::parse({reinterpret_cast<const char *>(bytes->data()), bytes->size()}, context));
    LLMOPT_ASSIGN(plan::Plan plan, plan::fromJson(json, context));
    inspected.plans.emplace_back(target.name, std::move(plan));
  }
  return inspected;
}

template <typename List>
static Json textList(const List &words) {
  Json::Array list;
  for (const auto &word : words)
    list.push_back(Json(std::string_view(word)));
  return list;
}

static Json targetsJson(const Artifact &artifact) {
  Json::Array rows;
  for (const TargetRequirement &target : artifact.targets()) {
    std::vector<std::string> missing = missingFeatures(target.features);
    rows.push_back(Json()
                       .set("name", target.name)
                       .set("features", textList(target.features))
                       .set("runs_here", missing.empty())
                       .set("missing", textList(missing)));
  }
  return rows;
}

static Json sectionsJson(const Artifact &artifact) {
  Json::Array rows;
  for (const Section &section : artifact.sections())
    rows.push_back(Json().set("name", section.name).set("offset", section.offset).set("bytes", section.length));
  return rows;
}

static Json tensorsJson(const Entry &entry, const std::vector<uint32_t> &buffers) {
  Json::Array rows;
  for (uint32_t index : buffers)
    rows.push_back(Json().set("name", entry.buffers[index].name).set("type", describeType(entry, entry.buffers[index])));
  return rows;
}

static Json entryJson(const Entry &entry) {
  std::map<std::string, int64_t> families;
  std::set<std::string> kernels;
  int64_t barriers = 0;
  for (const plan::Stage &stage : entry.stages) {
    ++families[stage.family];
    barriers += stage.barrier;
    for (const plan::Variant &variant : stage.variants)
      kernels.insert(variant.kernel);
  }
  Json familyCounts{Json::Object()};
  for (const auto &[family, count] : families)
    familyCounts.set(family, count);
  return Json()
      .set("name", entry.name)
      .set("inputs", tensorsJson(entry, entry.inputs))
      .set("outputs", tensorsJson(entry, entry.outputs))
      .set("stages", entry.stages.size())
      .set("barriers", barriers)
      .set("kernels", kernels.size())
      .set("families", std::move(familyCounts));
}

static Json weightTotals(const plan::Plan &plan) {
  std::map<std::string, std::pair<int64_t, int64_t>> types; // count, bytes
  for (const plan::Weight &weight : plan.weights) {
    auto &[count, bytes] = types[std::string(dtypeName(weight.dtype)) + " " + weight.layout];
    ++count;
    bytes += int64_t(weight.bytes);
  }
  Json::Array rows;
  for (const auto &[type, total] : types)
    rows.push_back(Json().set("type", type).set("tensors", total.first).set("bytes", total.second));
  return rows;
}

/// What each target's choices were measured at; nothing for artifacts without a tuning database.
static Json tuningJson(const Artifact &artifact) {
  Json::Array targets;
  for (const TargetRequirement &target : artifact.targets())
    if (auto bytes = artifact.section("tuning/" + target.name); bytes && artifact.verify("tuning/" + target.name).ok())
      if (Result<Json> record = Json::parse({reinterpret_cast<const char *>(bytes->data()), bytes->size()}, artifact.path()); record && record->isObject())
        targets.push_back(record->set("target", target.name));
  return targets;
}

Json tools::summaryJson(const Inspected &inspected) {
  Json summary;
  summary.set("file", inspected.artifact.path()).set("model", inspected.artifact.model());
  summary.set("targets", targetsJson(inspected.artifact)).set("sections", sectionsJson(inspected.artifact));
  summary.set("tuning", tuningJson(inspected.artifact));
  if (inspected.plans.empty())
    return summary;
  const auto &[target, plan] = inspected.plans.front();
  Json::Array entries;
  for (const Entry &entry : plan.entries)
    entries.push_back(entryJson(entry));
  uint64_t perToken = 0;
  for (const plan::State &state : plan.states)
    perToken += state.blockBytes / uint64_t(kCacheBlockTokens);
  summary.set("plan_of", target).set("entries", std::move(entries)).set("weights", weightTotals(plan));
  return summary.set("states", plan.states.size()).set("cache_bytes_per_token", perToken);
}

Json tools::weightsJson(const Inspected &inspected) {
  Json::Array rows;
  if (!inspected.plans.empty())
    for (const plan::Weight &weight : inspected.plans.front().second.weights) {
      Json::Array shape;
      for (int64_t dim : weight.shape)
        shape.push_back(Json(dim));
      rows.push_back(Json()
                         .set("name", weight.name)
                         .set("dtype", dtypeName(weight.dtype))
                         .set("shape", std::move(shape))
                         .set("layout", weight.layout)
                         .set("offset", weight.offset)
                         .set("bytes", weight.bytes));
    }
  return rows;
}

Json tools::stagesJson(const Inspected &inspected) {
  Json::Array rows;
  for (const auto &[target, plan] : inspected.plans)
    for (const Entry &entry : plan.entries)
      for (const plan::Stage &stage : entry.stages) {
        Json::Array variants, bindings;
        for (const plan::Variant &variant : stage.variants)
          variants.push_back(Json()
                                 .set("kernel", variant.kernel)
                                 .set("limit", variant.limit)
                                 .set("units", describeDim(entry, variant.units))
                                 .set("scratch", describeDim(entry, variant.scratchBytes)));
        for (uint32_t index : stage.bindings)
          bindings.push_back(Json(entry.buffers[index].name + " " + describeType(entry, entry.buffers[index])));
        rows.push_back(Json()
                           .set("target", target)
                           .set("entry", entry.name)
                           .set("name", stage.name)
                           .set("family", stage.family)
                           .set("barrier", stage.barrier)
                           .set("bindings", std::move(bindings))
                           .set("selector", describeDim(entry, stage.selector))
                           .set("variants", std::move(variants)));
      }
  return rows;
}

Result<Json> tools::kernelsJson(const Inspected &inspected, int64_t tokens) {
  Json targets{Json::Array{}};
  for (const auto &[target, plan] : inspected.plans) {
    if (!inspected.artifact.section("kernels/" + target) || target == kPortableGpuTarget) // PTX: nobody knows its registers
      continue;
    LLMOPT_ASSIGN(DeviceCode code, readDeviceCode(inspected.artifact, target));
    targets.push(kernelTable(plan, code, tokens));
  }
  if (targets.asArray().empty())
    return unsupported("E0214", "the artifact has no code for a GPU, or PTX alone; compile it with --target sm_90", inspected.artifact.path());
  return targets;
}
