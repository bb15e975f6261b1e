//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/runtime/Engine.h"

#include "runtime/core/EngineState.h"

#include <algorithm>

using namespace llmopt;

std::string TensorSpec::typeName() const {
  std::string text(dtypeName(dtype));
  text += '[';
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + shape[i];
  return text + ']';
}

Result<Engine> Engine::load(const std::string &path, const EngineOptions &options) {
  LLMOPT_ASSIGN(std::shared_ptr<EngineState> state, EngineState::load(path, options));
  return Engine(std::move(state));
}

const std::string &Engine::path() const { return state_->path; }
const std::string &Engine::target() const { return state_->target; }
std::string Engine::device() const { return state_->gpu ? state_->gpu->name() : "cpu"; }
unsigned Engine::threads() const { return state_->threads; }
const ModelInfo &Engine::model() const { return state_->info; }
const Json &Engine::metadata() const { return state_->artifact->model(); }
Status Engine::intact() const { return state_->artifact->intact(); }
bool Engine::hasStep() const { return state_->stepEntry.runner != nullptr; }
bool Engine::hasEncode() const { return state_->encodeEntry.runner != nullptr; }
bool Engine::hasGraph() const { return state_->graph != nullptr; }

Result<std::span<const std::byte>> Engine::tokenizerSection() const {
  std::optional<std::span<const std::byte>> section = state_->artifact->section("tokenizer");
  if (!section)
    return unsupported("E1509", "the artifact has no tokenizer; give token ids instead of text", path());
  LLMOPT_RETURN_IF_ERROR(state_->artifact->verify("tokenizer"));
  return *section;
}

static std::vector<TensorSpec> describe(const EntryRunner *runner, std::vector<uint32_t> plan::Entry::*list) {
  std::vector<TensorSpec> specs;
  if (!runner)
    return specs;
  const plan::Entry &entry = runner->entry();
  for (uint32_t index : entry.*list) {
    const plan::Buffer &buffer = entry.buffers[index];
    TensorSpec &spec = specs.emplace_back(TensorSpec{buffer.name, buffer.dtype, {}});
    for (plan::ExprId dim : buffer.shape)
      spec.shape.push_back(plan::describeDim(entry, dim));
  }
  return specs;
}

std::vector<TensorSpec> Engine::inputs() const { return describe(state_->graph.get(), &plan::Entry::inputs); }
std::vector<TensorSpec> Engine::outputs() const { return describe(state_->graph.get(), &plan::Entry::outputs); }

Result<std::vector<Tensor>> Engine::run(std::span<const Tensor *const> inputs) const { return state_->runGraph(inputs); }

Result<std::vector<NamedTensor>> Engine::run(std::span<const NamedTensor> inputs) const {
  std::vector<TensorSpec> specs = this->inputs();
  std::vector<const Tensor *> ordered(specs.size());
  auto known = [&] {
    std::string names;
    for (const TensorSpec &spec : specs)
      names += (names.empty() ? "" : ", ") + spec.name + " " + spec.typeName();
    return names;
  };
  for (const NamedTensor &input : inputs) {
    auto it = std::find_if(specs.begin(), specs.end(), [&](const TensorSpec &spec) { return spec.name == input.name; });
    if (it == specs.end() || ordered[size_t(it - specs.begin())])
      return usageError("E1503", it == specs.end() ? "the model has no input '" + input.name + "'; it has " + known()
                                                   : "input '" + input.name + "' is given twice", path());
    ordered[size_t(it - specs.begin())] = &input.tensor;
  }
  for (size_t i = 0; i < specs.size() && hasGraph(); ++i)
    if (!ordered[i])
      return usageError("E1503", "input '" + specs[i].name + "' of type " + specs[i].typeName() + " is missing", path());
  LLMOPT_ASSIGN(std::vector<Tensor> tensors, state_->runGraph(ordered));
  std::vector<TensorSpec> results = outputs();
  std::vector<NamedTensor> named;
  for (size_t i = 0; i < tensors.size(); ++i)
    named.push_back({results[i].name, std::move(tensors[i])});
  return named;
}

Sequence Engine::newSequence() const { return Sequence(state_); }

Status Engine::step(std::span<const SequenceInput> inputs, StepOutput &output) const { return state_->step(inputs, output); }
Status Engine::encode(std::span<const EncodeInput> inputs, StepOutput *hidden) const { return state_->encode(inputs, hidden); }

uint64_t Engine::cacheBytesInUse() const { return state_->cache->bytesInUse(); }
uint64_t Engine::cacheBytesPerBlock() const { return state_->cache->bytesPerBlock(0) + state_->cache->bytesPerBlock(1); }

void Engine::setProfiling(bool on) const {
  cpu::ThreadTeam::Turn turn(cpu::ThreadTeam::process(), 1);
  for (EntryRunner *runner : {state_->stepEntry.runner.get(), state_->encodeEntry.runner.get(), state_->graph.get()})
    if (runner)
      on ? runner->profiler().start(state_->threads) : runner->profiler().stop();
}

std::vector<StageProfile> Engine::profile() const {
  std::vector<StageProfile> rows;
  for (const EntryRunner *runner : {state_->encodeEntry.runner.get(), state_->stepEntry.runner.get(), state_->graph.get()})
    for (uint32_t i = 0; runner && runner->profiler().on() && i < runner->entry().stages.size(); ++i) {
      const plan::Stage &stage = runner->entry().stages[i];
      for (size_t v = 0; v < stage.variants.size(); ++v)
        if (const StageTime &time = runner->profiler().time(i, v); time.calls)
          rows.push_back({runner->entry().name, stage.name, stage.family, stage.variants[v].kernel, i, time.calls,
                          double(time.nanoseconds) * 1e-9, time.flops, time.bytesMoved, std::string(dtypeName(stage.arithmetic)),
                          stage.barrier && !stage.unitwise});
    }
  return rows;
}

std::vector<StageSpan> Engine::trace() const {
  std::vector<StageSpan> spans;
  int64_t start = INT64_MAX;
  const EntryRunner *runners[] = {state_->encodeEntry.runner.get(), state_->stepEntry.runner.get(), state_->graph.get()};
  for (const EntryRunner *runner : runners)
    for (size_t thread = 0; runner && thread < runner->profiler().launches().size(); ++thread)
      if (const auto &list = runner->profiler().launches()[thread]; !list.empty())
        start = std::min(start, list.front().begin);
  for (const EntryRunner *runner : runners)
    for (size_t thread = 0; runner && thread < runner->profiler().launches().size(); ++thread)
      for (const TimedLaunch &launch : runner->profiler().launches()[thread]) {
        const plan::Stage &stage = runner->entry().stages[launch.stage];
        spans.push_back({stage.name, stage.family, unsigned(thread), double(launch.begin - start) * 1e-9, double(launch.end - start) * 1e-9});
      }
  return spans;
}

void Engine::pinCallingThread() { cpu::ThreadTeam::pinCaller(); }
