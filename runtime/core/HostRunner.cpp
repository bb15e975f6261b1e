//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/core/HostRunner.h"

#include "llmopt/lib/Support/CheckedMath.h"
#include "runtime/core/ScalarFunctions.h"
#include "runtime/core/TeamSize.h"

#include <algorithm>
#include <cstring>

using namespace llmopt;
using plan::BufferKind;

static constexpr uint64_t kAlignment = 64;

namespace {
struct Launch {
  KernelFunction kernel;
  KernelArgs args;
  uint32_t stage, variant;
  bool barrier;
  bool unitwise; ///< the barrier is for sequences with several tokens
  bool halves;
};
/// A binding whose address changes from call to call.
struct Patch {
  uint32_t slot;   ///< in Shape::pointers
  uint32_t buffer; ///< in Entry::buffers
};
} // namespace

struct HostRunner::HostShape : Shape {
  std::vector<void *> addresses; ///< of each buffer; inputs and outputs: of this call
  uint64_t scratchBytes = 0;
  std::vector<void *> pointers; ///< KernelArgs::buffers of all launches
  std::vector<int64_t> dims;    ///< KernelArgs::dims of all launches
  std::vector<Patch> patches;
  std::vector<Launch> launches;
  TeamSize team;
};

HostRunner::HostRunner(const plan::Plan &plan, const plan::Entry &entry, RunnerMemory &memory, bool hasTiles)
    : EntryRunner(plan, entry), memory_(memory), hasTiles_(hasTiles) {}

std::unique_ptr<EntryRunner::Shape> HostRunner::newShape() const { return std::make_unique<HostShape>(); }

Result<std::unique_ptr<EntryRunner>> HostRunner::create(const plan::Plan &plan, const plan::Entry &entry, const CodeImage &code,
                                                         std::span<const std::byte> weights, std::span<std::byte *const> states,
                                                         RunnerMemory &memory, bool hasTiles) {
  std::unique_ptr<HostRunner> runner(new HostRunner(plan, entry, memory, hasTiles));
  LLMOPT_RETURN_IF_ERROR(runner->bindFixed(plan, code, weights, states));
  return std::unique_ptr<EntryRunner>(std::move(runner));
}

Status HostRunner::bindFixed(const plan::Plan &plan, const CodeImage &code, std::span<const std::byte> weights,
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
  for (const plan::Stage &stage : entry_.stages) {
    std::vector<KernelFunction> &kernels = kernels_.emplace_back();
    for (const plan::Variant &variant : stage.variants) {
      const void *address = code.find(variant.kernel);
      if (!address)
        return badInput("E0208", "the plan is invalid: the code has no kernel '" + variant.kernel + "'");
      kernels.push_back(reinterpret_cast<KernelFunction>(const_cast<void *>(address)));
    }
  }
  return {};
}

Status HostRunner::writeLaunches(Shape &base) {
  auto &shape = static_cast<HostShape &>(base);
  shape.addresses = fixed_;
  for (uint32_t i = 0; i < entry_.buffers.size(); ++i)
    if (BufferKind kind = entry_.buffers[i].kind; kind != BufferKind::Weight && kind != BufferKind::State)
      shape.addresses[i] = memory_.arena.data() + shape.places[i];
  size_t pointers = 0, dims = 0;
  for (const plan::Stage &stage : entry_.stages)
    pointers += stage.bindings.size(), dims += stage.dims.size() + 1;
  // The launches point into these, so they must not move.
  shape.pointers.reserve(pointers);
  shape.dims.reserve(dims);
  for (uint32_t s = 0; s < entry_.stages.size(); ++s) {
    const plan::Stage &stage = entry_.stages[s];
    size_t v = variantOf(stage, shape.values);
    int64_t units = shape.values[stage.variants[v].units];
    if (units <= 0) { // nothing to do, but earlier stages may count on its barrier
      if (stage.barrier && !shape.launches.empty())
        shape.launches.back().barrier = true;
      continue;
    }
    shape.launches.push_back({kernels_[s][v],
                              {shape.pointers.data() + shape.pointers.size(), shape.dims.data() + shape.dims.size(), kScalarFunctions},
                              s,
                              uint32_t(v),
                              stage.barrier, false, stage.halves});
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
  for (size_t i = 0; i + 1 < shape.launches.size(); ++i) {
    Launch &launch = shape.launches[i], &next = shape.launches[i + 1];
    launch.unitwise = entry_.stages[launch.stage].unitwise && next.stage == launch.stage + 1 && launch.variant == 0 && next.variant == 0 &&
                      launch.args.dims[0] == next.args.dims[0];
  }
  if (!shape.launches.empty())
    shape.launches.back().barrier = false; // the end of the region is one
  return {};
}

static bool usableInPlace(const BoundTensor &tensor, int64_t bytes) {
  return reinterpret_cast<uintptr_t>(tensor.data) % kAlignment == 0 && tensor.bytes >= uint64_t(bytes) && tensor.data;
}

static bool hasOneTokenEach(const StepTable &table) {
  const SequenceRow *rows = table.rows[0];
  return rows && std::all_of(rows, rows + table.sequences, [](const SequenceRow &row) { return row.count <= 1; });
}

/// One call of all threads.
struct HostRunner::Region {
  cpu::ThreadTeam &team;
  const HostShape &shape;
  const StepTable &table;
  unsigned parts;
  bool oneTokenEach;
  /// Whether the barrier behind a launch is left out because the next one reads only what units of the same number wrote.
  bool joins(size_t index) const { return oneTokenEach && shape.launches[index].unitwise; }
};

Status HostRunner::run(cpu::ThreadTeam &team, cpu::ThreadTeam::Turn &turn, Shape &base, std::span<const BoundTensor> inputs,
                       std::span<const BoundTensor> outputs, const StepTable &table) {
  auto &shape = static_cast<HostShape &>(base);
  LLMOPT_RETURN_IF_ERROR(memory_.arena.ensure(shape.arenaBytes));
  LLMOPT_RETURN_IF_ERROR(memory_.scratch.ensure(shape.scratchBytes * turn.parts()));
  std::byte *arena = memory_.arena.data();
  for (size_t i = 0; i < inputs.size(); ++i) {
    uint32_t buffer = entry_.inputs[i];
    int64_t bytes = shape.values[entry_.buffers[buffer].bytes];
    void *&address = shape.addresses[buffer];
    address = usableInPlace(inputs[i], bytes) ? inputs[i].data : arena + shape.places[buffer];
    if (address != inputs[i].data && inputs[i].bytes)
      std::memcpy(address, inputs[i].data, std::min(inputs[i].bytes, uint64_t(bytes)));
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    uint32_t buffer = entry_.outputs[i];
    if (entry_.buffers[buffer].kind != BufferKind::Output)
      continue;
    bool direct = usableInPlace(outputs[i], shape.values[entry_.buffers[buffer].bytes]);
    shape.addresses[buffer] = direct ? outputs[i].data : arena + shape.places[buffer];
  }
  for (const Patch &patch : shape.patches)
    shape.pointers[patch.slot] = shape.addresses[patch.buffer];

  unsigned parts = profiler_.on() ? turn.parts() : shape.team.next(turn.parts());
  Region region{team, shape, table, parts, hasOneTokenEach(table)};
  dealer_.begin(parts, shape.launches.size());
  auto work = [&](unsigned part) { profiler_.on() ? walkTimed(region, part) : walk(region, part); };
  bool isTimed = !profiler_.on() && shape.team.isTimed();
  int64_t begin = isTimed ? StageProfiler::now() : 0;
  turn.run(work, parts);
  if (isTimed)
    shape.team.took(StageProfiler::now() - begin);

  // Also where an output is an input, a weight or another output's buffer.
  for (size_t i = 0; i < outputs.size(); ++i)
    if (void *address = shape.addresses[entry_.outputs[i]]; address != outputs[i].data && outputs[i].data)
      std::memcpy(outputs[i].data, address, outputs[i].bytes);
  return {};
}

/// What a share takes at least, roughly: this only says how small its pieces may get.
static double shareMicroseconds(const StageCost &cost, DType arithmetic, unsigned parts, bool hasTiles) {
  double words = hasTiles ? 20 : 1; // their peak: each piece packs its rows, and splits its weights, anew
  double flopsPerMicrosecond = arithmetic == DType::F32 ? 1e5 : arithmetic == DType::BF16 ? 2e5 * words : 4e5 * words, bytesPerMicrosecond = 1e4;
  return std::max(cost.flops / flopsPerMicrosecond, cost.bytesMoved / bytesPerMicrosecond) / parts;
}

void HostRunner::runLaunch(const Region &region, size_t index, unsigned part) {
  const Launch &launch = region.shape.launches[index];
  void *scratch = memory_.scratch.data() + region.shape.scratchBytes * part;
  // Units that are joined must stay with the thread that has them in the other launch.
  bool isDealt = region.parts > 1 && launch.halves && !region.joins(index) && !(index > 0 && region.joins(index - 1));
  unsigned halvings = 0;
  if (isDealt) {
    const plan::Stage &stage = entry_.stages[launch.stage];
    halvings = dealer_.halvings(shareMicroseconds(profiler_.cost(launch.stage, region.shape.values, region.table), stage.arithmetic, region.parts, hasTiles_));
  }
  if (halvings == 0)
    return launch.kernel(&launch.args, &region.table, part, region.parts, scratch);
  dealer_.deal(index, part, halvings, [&](Piece piece) { launch.kernel(&launch.args, &region.table, piece.part, piece.parts, scratch); });
}

void HostRunner::walk(const Region &region, unsigned part) {
  for (size_t i = 0; i < region.shape.launches.size(); ++i) {
    runLaunch(region, i, part);
    if (region.shape.launches[i].barrier && !region.joins(i))
      region.team.barrier();
  }
}

void HostRunner::walkTimed(const Region &region, unsigned part) {
  for (size_t i = 0; i < region.shape.launches.size(); ++i) {
    const Launch &timed = region.shape.launches[i];
    int64_t begin = StageProfiler::now();
    runLaunch(region, i, part);
    profiler_.addLaunch(part, {timed.stage, begin, StageProfiler::now()});
    // A barrier after every stage, so that each time is the stage's alone.
    region.team.barrier();
    if (part == 0)
      profiler_.addTime(timed.stage, timed.variant, region.shape.values, region.table, StageProfiler::now() - begin);
  }
}
