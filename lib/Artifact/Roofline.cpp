//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Artifact/Roofline.h"

#include "llmopt/lib/Artifact/QuantizedPanels.h"
#include "llmopt/lib/Artifact/RepackedWeights.h"
#include "llmopt/lib/Artifact/TokenChoice.h"
#include "llmopt/lib/Support/CheckedMath.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

using namespace llmopt;

Roofline llmopt::roofline(const GpuFacts &gpu, const DeviceKernel &kernel, double bytes, double flops, int64_t units) {
  Roofline result;
  result.bytes = bytes;
  result.flops = flops;
  result.blocks = std::max<int64_t>(1, ceilDiv(std::max<int64_t>(units, 1), kernel.unitsPerBlock));
  if (kernel.blocksPerSm)
    result.blocks = std::min<int64_t>(result.blocks, int64_t(kernel.blocksPerSm) * gpu.multiprocessors);
  double memory = bytes / gpu.bandwidth, compute = flops / gpu.peak(kernel.math);
  result.memoryBound = memory >= compute;
  // The last wave of blocks leaves multiprocessors idle; arithmetic waits for it. Memory is kept busy by a part of them.
  int64_t waves = ceilDiv(result.blocks, gpu.multiprocessors);
  double filled = double(result.blocks) / double(waves * gpu.multiprocessors);
  constexpr double kSmsForBandwidth = 0.5;
  result.seconds = std::max(memory / std::min(1.0, filled / kSmsForBandwidth), compute / filled);
  result.ofBandwidth = result.seconds > 0 ? memory / result.seconds : 0;
  result.ofPeak = result.seconds > 0 ? compute / result.seconds : 0;
  return result;
}

std::vector<int64_t> llmopt::sampleSymbols(const plan::Entry &entry, int64_t tokens) {
  std::vector<int64_t> values;
  for (const std::string &symbol : entry.symbols) {
    bool one = symbol.find("batch") != symbol.npos || symbol.find("row") != symbol.npos || symbol.find("sequences") != symbol.npos;
    bool past = symbol.find("past") != symbol.npos;
    values.push_back(one ? 1 : past ? 0 : tokens);
  }
  return values;
}

namespace {

/// Launches of one kernel in one run.
struct Sum {
  int64_t launches = 0;
  Roofline total;
  // Of the last:
  int64_t units = 0;
  std::vector<int64_t> dims;           ///< the kernel's own, behind the number of units
  std::map<size_t, int64_t> i32Tables; ///< elements of bindings that are lists of i32
};

size_t variantOf(const plan::Stage &stage, const std::vector<int64_t> &values) {
  for (size_t i = 0; i + 1 < stage.variants.size(); ++i)
    if (stage.variants[i].limit == 0 || values[stage.selector] <= stage.variants[i].limit)
      return i;
  return stage.variants.empty() ? 0 : stage.variants.size() - 1;
}

Sum &add(std::map<std::string, Sum> &found, const GpuFacts &gpu, const DeviceKernel &kernel, double bytes, double flops, int64_t units) {
  Roofline one = roofline(gpu, kernel, bytes, flops, units);
  Sum &sum = found[kernel.name];
  ++sum.launches;
  sum.units = units;
  sum.total.bytes += one.bytes;
  sum.total.flops += one.flops;
  sum.total.seconds += one.seconds;
  sum.total.blocks = one.blocks;
  return sum;
}

std::map<std::string, Sum> sums(const plan::Plan &plan, const DeviceCode &code, const GpuFacts &gpu, int64_t tokens) {
  std::map<std::string, Sum> found;
  for (const plan::Entry &entry : plan.entries) {
    std::vector<int64_t> values = plan::evaluate(entry.expressions, sampleSymbols(entry, tokens));
    for (const plan::Stage &stage : entry.stages) {
      if (stage.variants.empty())
        continue;
      const plan::Variant &variant = stage.variants[variantOf(stage, values)];
      const DeviceKernel *kernel = code.find(variant.kernel);
      if (!kernel)
        continue;
      Sum &sum = add(found, gpu, *kernel, double(values[stage.bytesMoved]), double(values[stage.flops]), values[variant.units]);
      sum.dims.clear();
      for (plan::ExprId dim : stage.dims)
        sum.dims.push_back(values[dim]);
      for (size_t i = 0; i < stage.bindings.size(); ++i)
        if (const plan::Buffer &buffer = entry.buffers[stage.bindings[i]]; buffer.dtype == DType::I32)
          sum.i32Tables[i] = std::accumulate(buffer.shape.begin(), buffer.shape.end(), int64_t(1), [&](int64_t count, plan::ExprId dim) { return count * values[dim]; });
    }
  }
  return found;
}

/// One token is drawn behind a step: its logits once, an exponential of each and some comparisons.
void addSampling(std::map<std::string, Sum> &found, const plan::Plan &plan, const DeviceCode &code, const GpuFacts &gpu) {
  constexpr double kFlops = 8;
  const DeviceKernel *kernel = code.find(kSampleKernel);
  for (const plan::Entry &entry : plan.entries)
    if (kernel && entry.name == "step" && !entry.outputs.empty() && entry.buffers[entry.outputs[0]].shape.size() == 2) {
      std::vector<int64_t> values = plan::evaluate(entry.expressions, sampleSymbols(entry, 1));
      double width = double(values[entry.buffers[entry.outputs[0]].shape[1]]);
      add(found, gpu, *kernel, width * sizeof(float), width * kFlops, 1);
    }
}

/// What is done once: weights that kernels want in another order, read and written.
std::map<std::string, Sum> loadSums(const plan::Plan &plan, const DeviceCode &code, const GpuFacts &gpu) {
  std::map<std::string, Sum> found;
  std::set<std::pair<uint32_t, std::string>> unpacked;
  for (const plan::Entry &entry : plan.entries)
    for (const plan::Stage &stage : entry.stages)
      for (const plan::Variant &variant : stage.variants)
        if (const DeviceKernel *kernel = code.find(variant.kernel))
          for (const DeviceParameter &parameter : kernel->parameters)
            if (const DeviceKernel *unpack = parameter.matrix.unpack.empty() ? nullptr : code.find(parameter.matrix.unpack); unpack && parameter.index < stage.bindings.size()) {
              const plan::Buffer &buffer = entry.buffers[stage.bindings[parameter.index]];
              if (buffer.kind != plan::BufferKind::Weight || !unpacked.insert({buffer.index, unpack->name}).second)
                continue;
              double copy = double(parameter.matrix.rows) * double(parameter.matrix.columns) * double(dtypeSize(parameter.matrix.element));
              add(found, gpu, *unpack, copy + double(plan.weights[buffer.index].bytes), 0, int64_t(gpu.multiprocessors) * 16);
            }
  if (const DeviceKernel *repack = code.find(kRepackKernel))
    for (const plan::Weight &weight : plan.weights)
      if (std::optional<QuantizedPanels> panels = QuantizedPanels::ofLayout(weight.layout); panels && panels->order == CodeOrder::Fragments)
        add(found, gpu, *repack, 2.0 * double(weight.bytes), 0, int64_t(weight.bytes / 16));
  return found;
}

Json sumJson(const Sum &sum, const GpuFacts &gpu, const DeviceKernel &kernel) {
  const Roofline &total = sum.total;
  double memory = total.bytes / gpu.bandwidth, compute = total.flops / gpu.peak(kernel.math), seconds = std::max(total.seconds, 1e-30);
  Json json;
  json.set("launches", sum.launches).set("units", sum.units).set("blocks", total.blocks).set("bytes", total.bytes).set("flops", total.flops);
  Json::Array dims, tables;
  for (int64_t dim : sum.dims)
    dims.push_back(Json(dim));
  for (auto [binding, elements] : sum.i32Tables)
    tables.push_back(Json().set("binding", binding).set("elements", elements));
  json.set("dims", std::move(dims)).set("i32_tables", std::move(tables));
  json.set("bound", memory >= compute ? "memory" : "compute").set("microseconds", total.seconds * 1e6);
  return json.set("of_bandwidth", memory / seconds).set("of_peak", compute / seconds);
}

int capabilityOf(const std::string &architecture) {
  int capability = 0;
  for (char c : architecture)
    if (c >= '0' && c <= '9' && capability < 1000)
      capability = capability * 10 + (c - '0');
  return capability;
}

} // namespace

Json llmopt::kernelTable(const plan::Plan &plan, const DeviceCode &code, int64_t tokens) {
  const GpuFacts *gpu = gpuFacts(capabilityOf(code.architecture));
  if (!gpu)
    return {};
  std::map<std::string, Sum> short_ = sums(plan, code, *gpu, 1), long_ = sums(plan, code, *gpu, tokens), load = loadSums(plan, code, *gpu);
  for (auto *found : {&short_, &long_})
    addSampling(*found, plan, code, *gpu);
  Json rows{Json::Array{}};
  for (const DeviceKernel &kernel : code.kernels) {
    uint32_t shared = kernel.sharedBytes + kernel.staticSharedBytes;
    Occupancy held = occupancy(*gpu, kernel.threads, kernel.registers, shared);
    Json row;
    row.set("name", kernel.name).set("entry", kernel.entryName()).set("family", kernel.family).set("math", kernel.math).set("threads", kernel.threads);
    row.set("registers", kernel.registers).set("spill", kernel.spillBytes).set("shared", shared).set("stages", kernel.stages);
    row.set("blocks_per_sm", held.blocks).set("occupancy", held.share).set("limited_by", held.limit);
    for (auto [key, all] : {std::pair("decode", &short_), {"prefill", &long_}, {"load", &load}})
      if (auto it = all->find(kernel.name); it != all->end())
        row.set(key, sumJson(it->second, *gpu, kernel));
    rows.push(std::move(row));
  }
  Json json;
  json.set("gpu", gpu->name).set("architecture", code.architecture).set("compiler", code.compiler).set("bandwidth", gpu->bandwidth);
  return json.set("tokens", tokens).set("kernels", std::move(rows));
}
