//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/core/EntryRunner.h"

#include "llmopt/lib/Support/CheckedMath.h"
#include "runtime/core/ArenaPlacement.h"
#include "runtime/core/ScalarFunctions.h"

#include <algorithm>
#include <chrono>
#include <cstring>

using namespace llmopt;
using plan::BufferKind;

static constexpr size_t kMaxShapes = 256;
static constexpr uint64_t kAlignment = 64;

namespace {
struct Launch {
  KernelFunction kernel;
  KernelArgs args;
  uint32_t stage;
  bool barrier;
};
/// A binding whose address changes from call to call.
struct Patch {
  uint32_t slot;   ///< in Shape::pointers
  uint32_t buffer; ///< in Entry::buffers
};
} // namespace

struct EntryRunner::Shape {
  std::vector<int64_t> symbols, values;
  std::vector<void *> addresses; ///< of each buffer; inputs and outputs: of this call
  std::vector<uint64_t> staging; ///< offset of each buffer in the arena, where it has one
  uint64_t arenaBytes = 0, scratchBytes = 0;
  std::vector<void *> pointers; ///< KernelArgs::buffers of all launches
  std::vector<int64_t> dims;    ///< KernelArgs::dims of all launches
  std::vector<Patch> patches;
  std::vector<Launch> launches;
};

EntryRunner::EntryRunner(const plan::Entry &entry, RunnerMemory &memory) : entry_(entry), memory_(memory) {}
EntryRunner::~EntryRunner() = default;

std::span<const int64_t> EntryRunner::values(const Shape &shape) { return shape.values; }

Result<std::unique_ptr<EntryRunner>> EntryRunner::create(const plan::Plan &plan, const plan::Entry &entry, const CodeImage &code,
                                                         std::span<const std::byte> weights, std::span<std::byte *const> states,
                                                         RunnerMemory &memory) {
  std::unique_ptr<EntryRunner> runner(new EntryRunner(entry, memory));
  LLMOPT_RETURN_IF_ERROR(runner->bindFixed(plan, code, weights, states));
  return runner;
}

Status EntryRunner::bindFixed(const plan::Plan &plan, const CodeImage &code, std::span<const std::byte> weights,
                              std::span<std::byte *const> states) {
  for (const plan::Buffer &buffer : entry_.buffers) {
    void *address = nullptr;
    if (buffer.kind == BufferKind::State)
      address = states[buffer.index];
    if (buffer.kind == BufferKind::Weight) {
      const plan::Weight &weight = plan.weights[buffer.index];
      if (weight.offset % kAlignment != 0 || weight.offset > weights.size() || weight.bytes > weights.size() - weight.offset)
        return badInput("E0208", "the plan is invalid: weight '" + weight.name + "' lies outside the weight section");
      address = const_cast<std::byte *>(weights.data() + weight.offset);
    }
    fixed_.push_back(address);
  }
  uint32_t phase = 0;
  for (const plan::Stage &stage : entry_.stages) {
    std::vector<KernelFunction> &kernels = kernels_.emplace_back();
    for (const plan::Variant &variant : stage.variants) {
      const void *address = code.find(variant.kernel);
      if (!address)
        return badInput("E0208", "the plan is invalid: the code has no kernel '" + variant.kernel + "'");
      kernels.push_back(reinterpret_cast<KernelFunction>(const_cast<void *>(address)));
    }
    phase_.push_back(phase);
    phase += stage.barrier;
  }
  phase_.push_back(phase);
  return {};
}

Result<EntryRunner::Shape *> EntryRunner::shape(std::span<const int64_t> symbolValues) {
  auto same = [&](const std::unique_ptr<Shape> &s) {
    return std::equal(s->symbols.begin(), s->symbols.end(), symbolValues.begin(), symbolValues.end());
  };
  auto it = std::find_if(shapes_.begin(), shapes_.end(), same);
  if (it == shapes_.end()) {
    LLMOPT_ASSIGN(std::unique_ptr<Shape> made, makeShape(symbolValues));
    if (shapes_.size() == kMaxShapes)
      shapes_.pop_back();
    it = shapes_.insert(shapes_.end(), std::move(made));
  }
  std::rotate(shapes_.begin(), it, it + 1);
  return shapes_.front().get();
}

Result<std::unique_ptr<EntryRunner::Shape>> EntryRunner::makeShape(std::span<const int64_t> symbolValues) {
  auto shape = std::make_unique<Shape>();
  shape->symbols.assign(symbolValues.begin(), symbolValues.end());
  shape->values = plan::evaluate(entry_.expressions, symbolValues);
  shape->addresses = fixed_;
  shape->staging.resize(entry_.buffers.size());
  LLMOPT_RETURN_IF_ERROR(placeArena(*shape));
  writeLaunches(*shape);
  return shape;
}

Status EntryRunner::placeArena(Shape &shape) {
  std::vector<ArenaRequest> requests;
  std::vector<uint32_t> buffers;
  for (uint32_t i = 0; i < entry_.buffers.size(); ++i) {
    const plan::Buffer &buffer = entry_.buffers[i];
    if (buffer.kind == BufferKind::Weight || buffer.kind == BufferKind::State)
      continue;
    int64_t bytes = shape.values[buffer.bytes];
    if (bytes < 0 || uint64_t(bytes) > memory_.arena.limit())
      return limitExceeded("E1502", "buffer '" + buffer.name + "' of entry '" + entry_.name + "' would need " + std::to_string(bytes) +
                                        " bytes");
    // Inputs and outputs may have to be staged; pages that are not touched cost nothing.
    bool arena = buffer.kind == BufferKind::Arena;
    requests.push_back({uint64_t(bytes), arena ? phase_[buffer.firstStage] : 0, arena ? phase_[buffer.lastStage] : UINT32_MAX});
    buffers.push_back(i);
  }
  shape.arenaBytes = placeBuffers(requests);
  for (size_t i = 0; i < buffers.size(); ++i) {
    shape.staging[buffers[i]] = requests[i].offset;
    shape.addresses[buffers[i]] = memory_.arena.data() + requests[i].offset;
  }
  return {};
}

void EntryRunner::writeLaunches(Shape &shape) {
  size_t pointers = 0, dims = 0;
  for (const plan::Stage &stage : entry_.stages)
    pointers += stage.bindings.size(), dims += stage.dims.size() + 1;
  // The launches point into these, so they must not move.
  shape.pointers.reserve(pointers);
  shape.dims.reserve(dims);
  for (uint32_t s = 0; s < entry_.stages.size(); ++s) {
    const plan::Stage &stage = entry_.stages[s];
    size_t v = 0;
    while (v + 1 < stage.variants.size() && shape.values[stage.selector] > stage.variants[v].limit)
      ++v;
    int64_t units = shape.values[stage.variants[v].units];
    if (units <= 0) { // nothing to do, but earlier stages may count on its barrier
      if (stage.barrier && !shape.launches.empty())
        shape.launches.back().barrier = true;
      continue;
    }
    shape.launches.push_back({kernels_[s][v],
                              {shape.pointers.data() + shape.pointers.size(), shape.dims.data() + shape.dims.size(), kScalarFunctions},
                              s,
                              stage.barrier});
    shape.dims.push_back(units);
    for (plan::ExprId dim : stage.dims)
      shape.dims.push_back(shape.values[dim]);
    for (uint32_t buffer : stage.bindings) {
      if (BufferKind kind = entry_.buffers[buffer].kind; kind == BufferKind::Input || kind == BufferKind::Output)
        shape.patches.push_back({uint32_t(shape.pointers.size()), buffer});
      shape.pointers.push_back(shape.addresses[buffer]);
    }
    shape.scratchBytes = std::max(shape.scratchBytes, uint64_t(std::max<int64_t>(0, shape.values[stage.variants[v].scratchBytes])));
  }
  shape.scratchBytes = uint64_t(roundUp(int64_t(shape.scratchBytes), kAlignment));
  if (!shape.launches.empty())
    shape.launches.back().barrier = false; // the end of the region is one
}

static bool usableInPlace(const BoundTensor &tensor, int64_t bytes) {
  return reinterpret_cast<uintptr_t>(tensor.data) % kAlignment == 0 && tensor.bytes >= uint64_t(bytes) && tensor.data;
}

Status EntryRunner::run(cpu::ThreadTeam &team, cpu::ThreadTeam::Turn &turn, Shape &shape, std::span<const BoundTensor> inputs,
                        std::span<const BoundTensor> outputs, const StepTable &table) {
  LLMOPT_RETURN_IF_ERROR(memory_.arena.ensure(shape.arenaBytes));
  LLMOPT_RETURN_IF_ERROR(memory_.scratch.ensure(shape.scratchBytes * turn.parts()));
  std::byte *arena = memory_.arena.data();
  for (size_t i = 0; i < inputs.size(); ++i) {
    uint32_t buffer = entry_.inputs[i];
    int64_t bytes = shape.values[entry_.buffers[buffer].bytes];
    void *&address = shape.addresses[buffer];
    address = usableInPlace(inputs[i], bytes) ? inputs[i].data : arena + shape.staging[buffer];
    if (address != inputs[i].data && inputs[i].bytes)
      std::memcpy(address, inputs[i].data, std::min(inputs[i].bytes, uint64_t(bytes)));
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    uint32_t buffer = entry_.outputs[i];
    if (entry_.buffers[buffer].kind != BufferKind::Output)
      continue;
    bool direct = usableInPlace(outputs[i], shape.values[entry_.buffers[buffer].bytes]);
    shape.addresses[buffer] = direct ? outputs[i].data : arena + shape.staging[buffer];
  }
  for (const Patch &patch : shape.patches)
    shape.pointers[patch.slot] = shape.addresses[patch.buffer];

  auto work = [&](unsigned part) {
    times_.empty() ? walk(team, shape, table, part, turn.parts()) : walkTimed(team, shape, table, part, turn.parts());
  };
  turn.run(work);

  // Also where an output is an input, a weight or another output's buffer.
  for (size_t i = 0; i < outputs.size(); ++i)
    if (void *address = shape.addresses[entry_.outputs[i]]; address != outputs[i].data && outputs[i].data)
      std::memcpy(outputs[i].data, address, outputs[i].bytes);
  return {};
}

void EntryRunner::walk(cpu::ThreadTeam &team, const Shape &shape, const StepTable &table, unsigned part, unsigned parts) {
  void *scratch = memory_.scratch.data() + shape.scratchBytes * part;
  for (const Launch &launch : shape.launches) {
    launch.kernel(&launch.args, &table, part, parts, scratch);
    if (launch.barrier)
      team.barrier();
  }
}

void EntryRunner::walkTimed(cpu::ThreadTeam &team, const Shape &shape, const StepTable &table, unsigned part, unsigned parts) {
  using Clock = std::chrono::steady_clock;
  void *scratch = memory_.scratch.data() + shape.scratchBytes * part;
  for (const Launch &launch : shape.launches) {
    Clock::time_point begin = Clock::now();
    launch.kernel(&launch.args, &table, part, parts, scratch);
    // A barrier after every stage, so that each time is the stage's alone.
    team.barrier();
    if (part != 0)
      continue;
    const plan::Stage &stage = entry_.stages[launch.stage];
    StageTime &time = times_[launch.stage];
    time.nanoseconds += uint64_t(std::chrono::nanoseconds(Clock::now() - begin).count());
    ++time.calls;
    time.flops += shape.values[stage.flops];
    time.bytesMoved += shape.values[stage.bytesMoved];
  }
}
