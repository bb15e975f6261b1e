//===- Report.cpp - a compilation as data for a page -------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "lib/Compiler/Report.h"

#include "llmopt/lib/Artifact/Roofline.h"
#include "llmopt/lib/Support/File.h"
#include "llmopt/lib/Support/Hash.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

using namespace llmopt;
namespace fs = std::filesystem;

namespace {

constexpr int64_t kSampleTokens = 128;

Json hashOf(const std::string &path) {
  Json json;
  json.set("file", path);
  std::error_code error;
  if (auto file = fs::is_regular_file(path, error) ? MappedFile::open(path) : Result<MappedFile>(badInput("E0101", "no file", path)))
    json.set("bytes", uint64_t(file->bytes().size())).set("hash", hashHex(hashBytes(file->bytes())));
  return json;
}

/// What a kernel holds, by the remarks about strategies: in the order of stages, found by source name.
class Regions {
public:
  explicit Regions(std::span<const CompileRemark> remarks) {
    for (const CompileRemark &remark : remarks)
      if (remark.name == "strategy")
        byNode_[remark.node].push_back(&remark);
  }
  const CompileRemark *next(const std::string &node, const std::string &family) {
    for (const CompileRemark *&remark : byNode_[node])
      if (remark && remark->find("Family") && *remark->find("Family") == family)
        return std::exchange(remark, nullptr);
    return nullptr;
  }

private:
  std::map<std::string, std::vector<const CompileRemark *>> byNode_;
};

/// The least time that the machine needs for a stage, and what bounds it.
void addFloor(Json &row, const plan::Stage &stage, const std::vector<int64_t> &values, const MachineRates &machine) {
  auto rate = machine.operationsPerSecond.find(std::string(dtypeName(stage.arithmetic)));
  double reading = machine.bytesPerSecond > 0 ? double(values[stage.bytesMoved]) / machine.bytesPerSecond : 0;
  double arithmetic = rate != machine.operationsPerSecond.end() && rate->second > 0 ? double(values[stage.flops]) / rate->second : 0;
  row.set("floor", std::max(reading, arithmetic)).set("bound", reading >= arithmetic ? "reading" : "arithmetic");
}

Json stagesOf(const plan::Entry &entry, const std::vector<int64_t> &values, Regions &regions, const std::optional<MachineRates> &machine) {
  Json stages{Json::Array{}};
  std::vector<int64_t> writer(entry.buffers.size(), -1);
  for (size_t i = 0; i < entry.stages.size(); ++i) {
    const plan::Stage &stage = entry.stages[i];
    Json row, reads{Json::Array{}}, writes{Json::Array{}};
    std::set<int64_t> producers;
    std::set<std::string> types;
    for (uint32_t index : stage.bindings) {
      const plan::Buffer &buffer = entry.buffers[index];
      types.insert(std::string(dtypeName(buffer.dtype)));
      bool mine = writer[index] < 0 && (buffer.kind == plan::BufferKind::Arena || buffer.kind == plan::BufferKind::Output) && buffer.firstStage == i;
      if (mine) {
        writer[index] = int64_t(i);
        writes.push(plan::describeType(entry, buffer));
      } else if (writer[index] >= 0) {
        producers.insert(writer[index]);
      }
    }
    for (int64_t producer : producers)
      reads.push(producer);
    std::string joined;
    for (const std::string &type : types)
      joined += (joined.empty() ? "" : " ") + type;
    row.set("name", stage.name).set("family", stage.family).set("types", joined).set("kernel", stage.variants.empty() ? "" : stage.variants.front().kernel);
    row.set("variants", uint64_t(stage.variants.size())).set("flops", values[stage.flops]).set("bytes", values[stage.bytesMoved]);
    row.set("barrier", stage.barrier).set("reads", reads).set("writes", writes);
    if (machine)
      addFloor(row, stage, values, *machine);
    if (const CompileRemark *region = regions.next(stage.name, stage.family))
      for (const char *key : {"Ops", "Strategy", "By", "Times"})
        if (const std::string *value = region->find(key))
          row.set(key, *value);
    stages.push(row);
  }
  return stages;
}

Json memoryOf(const plan::Entry &entry, const std::vector<int64_t> &values) {
  Json buffers{Json::Array{}};
  for (const plan::Buffer &buffer : entry.buffers)
    if (buffer.kind == plan::BufferKind::Arena)
      buffers.push(Json::Array{Json(buffer.name), Json(values[buffer.bytes]), Json(uint64_t(buffer.firstStage)), Json(uint64_t(buffer.lastStage))});
  return buffers;
}

Json entryOf(const plan::Entry &entry, Regions &regions, const std::optional<MachineRates> &machine) {
  std::vector<int64_t> symbols = sampleSymbols(entry, kSampleTokens), values = plan::evaluate(entry.expressions, symbols);
  Json json, sizes{Json::Object{}}, inputs{Json::Array{}}, outputs{Json::Array{}};
  for (size_t i = 0; i < symbols.size(); ++i)
    sizes.set(entry.symbols[i], symbols[i]);
  for (auto [list, indices] : {std::pair(&inputs, &entry.inputs), {&outputs, &entry.outputs}})
    for (uint32_t index : *indices)
      list->push(entry.buffers[index].name + ": " + plan::describeType(entry, entry.buffers[index]));
  json.set("name", entry.name).set("sizes", sizes).set("inputs", inputs).set("outputs", outputs);
  return json.set("stages", stagesOf(entry, values, regions, machine)).set("memory", memoryOf(entry, values));
}

Json weightsOf(const plan::Plan &plan) {
  std::map<std::string, std::pair<uint64_t, uint64_t>> kinds; // count and bytes
  for (const plan::Weight &weight : plan.weights) {
    auto &[count, bytes] = kinds[std::string(dtypeName(weight.dtype)) + " " + weight.layout];
    ++count;
    bytes += weight.bytes;
  }
  Json json{Json::Array{}};
  for (const auto &[kind, size] : kinds)
    json.push(Json::Array{Json(kind), Json(size.first), Json(size.second)});
  return json;
}

} // namespace

Json llmopt::reportData(const ReportInput &input) {
  Json json, phases{Json::Array{}}, passes{Json::Array{}}, entries{Json::Array{}}, fusions{Json::Array{}}, files{Json::Array{}};
  for (const auto &[phase, seconds] : input.compile.phaseSeconds)
    phases.push(Json::Array{Json(phase), Json(seconds)});
  for (const auto &[pass, seconds] : input.compile.passSeconds)
    passes.push(Json::Array{Json(pass), Json(seconds)});
  Regions regions(input.remarks);
  for (const plan::Entry &entry : input.plan.entries)
    entries.push(entryOf(entry, regions, input.machine));
  for (const CompileRemark &remark : input.remarks) {
    if (remark.name == "strategy")
      continue;
    Json row, facts{Json::Object{}};
    for (const auto &[key, value] : remark.facts)
      facts.set(key, value);
    fusions.push(row.set("kind", remark.kind).set("category", remark.category).set("name", remark.name).set("node", remark.node).set("facts", facts));
  }
  if (input.machine)
    json.set("machine", Json().set("processor", input.machine->processor).set("threads", input.machine->threads));
  files.push(hashOf(input.input)).push(hashOf(input.compile.output));
  json.set("input", input.input).set("command", input.commandLine).set("target", input.target).set("files", files);
  json.set("metadata", input.metadata).set("phases", phases).set("passes", passes).set("entries", entries).set("remarks", fusions);
  json.set("weights", weightsOf(input.plan)).set("weightBytes", input.compile.weightBytes).set("outputBytes", input.compile.outputBytes);
  return json.set("kernels", uint64_t(input.compile.kernels)).set("states", uint64_t(input.plan.states.size()));
}
