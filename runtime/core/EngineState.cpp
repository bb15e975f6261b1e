//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Loading: which target, which code, which entry points.
//
//===----------------------------------------------------------------------===//
#include "runtime/core/EngineState.h"

#include "llmopt/lib/Target/PortableCode.h"
#include "runtime/cpu/Topology.h"
#include "runtime/cuda/CudaRunner.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <thread>
#include <unistd.h>

using namespace llmopt;

EngineState::~EngineState() {
  if (gpu)
    (void)gpu->makeCurrent(); // the members give back device memory
}

static uint64_t physicalMemory() {
  long pages = ::sysconf(_SC_PHYS_PAGES), size = ::sysconf(_SC_PAGE_SIZE);
  return pages > 0 && size > 0 ? uint64_t(pages) * uint64_t(size) : uint64_t(8) << 30;
}

static std::string join(std::span<const std::string> words) {
  std::string text;
  for (const std::string &word : words)
    text += (text.empty() ? "" : ", ") + word;
  return text;
}

Result<std::shared_ptr<EngineState>> EngineState::load(const std::string &path, const EngineOptions &options) {
  auto state = std::make_shared<EngineState>();
  state->path = path;
  state->options = options;
  state->threads = options.threads ? std::min(options.threads, 1024u) : cpu::defaultThreads();
  LLMOPT_ASSIGN(state->artifact, Artifact::open(path));
  LLMOPT_ASSIGN(state->info, readModelInfo(state->artifact->model(), path));
  LLMOPT_RETURN_IF_ERROR(state->chooseTarget());
  LLMOPT_RETURN_IF_ERROR(state->readPlan());
  if (options.verifyWeights && state->artifact->section("weights"))
    LLMOPT_RETURN_IF_ERROR(state->artifact->verify("weights"));
  LLMOPT_ASSIGN(state->drawn, readDrawnWeights(*state->artifact));
  LLMOPT_RETURN_IF_ERROR(state->loadCode());
  LLMOPT_RETURN_IF_ERROR(state->drawWeights());
  LLMOPT_RETURN_IF_ERROR(state->makeRunners());
  LLMOPT_RETURN_IF_ERROR(state->artifact->intact());
  return state;
}

/// Position in the target table; later rows need more of the machine and run faster.
static size_t rank(const std::string &name) {
  std::span<const Target> rows = allTargets();
  auto it = std::find_if(rows.begin(), rows.end(), [&](const Target &row) { return row.name == name; });
  return size_t(it - rows.begin());
}

static const Target *rowOf(const std::string &name) {
  std::span<const Target> rows = allTargets();
  size_t index = rank(name);
  return index < rows.size() ? &rows[index] : nullptr;
}

/// The number in "cuda:1"; nothing if no GPU is meant.
static std::optional<int> gpuIndex(const std::string &device) {
  if (device == "cuda" || device.empty())
    return 0;
  if (!device.starts_with("cuda:") || device.size() == 5 || device.size() > 8)
    return std::nullopt;
  for (char digit : device.substr(5))
    if (digit < '0' || digit > '9')
      return std::nullopt;
  return std::stoi(device.substr(5));
}

Status EngineState::admit(const TargetRequirement &candidate) {
  auto refuse = [&](const std::string &why) { return unsupported("E0206", "target " + candidate.name + " needs " + why); };
  const Target *row = rowOf(candidate.name);
  if (!row || !row->isGpu()) {
    if (!options.device.empty() && options.device != "cpu")
      return refuse("the CPU, and device '" + options.device + "' was asked for");
    std::vector<std::string> missing = missingFeatures(candidate.features);
    return missing.empty() ? Status() : refuse(join(missing));
  }
  std::string needed = "an NVIDIA GPU of compute capability " + std::to_string(row->computeCapability / 10) + "." + std::to_string(row->computeCapability % 10) +
                       (isPortable(*row) ? " or later" : "");
  if (options.device == "cpu")
    return refuse(needed);
  if (!gpu) {
    Result<std::shared_ptr<cuda::Device>> opened = cuda::Device::open(*gpuIndex(options.device));
    if (!opened)
      return refuse(needed + ": " + opened.error().message);
    gpu = std::move(*opened);
  }
  // Code for sm_90a and sm_100a runs on exactly these, plain code on later minor versions too, PTX on all later GPUs.
  bool exact = row->gpuArchitecture.ends_with("a");
  bool runs = exact ? gpu->capability() == row->computeCapability
                    : gpu->capability() >= row->computeCapability && (isPortable(*row) || gpu->capability() / 10 == row->computeCapability / 10);
  return runs ? Status() : refuse(needed + "; " + gpu->name() + " has " + std::to_string(gpu->capability() / 10) + "." + std::to_string(gpu->capability() % 10));
}

Status EngineState::chooseTarget() {
  if (const char *limit = std::getenv("LLMOPT_CPU"); limit && *limit)
    if (Result<Target> row = findTarget(limit); !row)
      return usageError("E0301", "LLMOPT_CPU: " + row.error().message);
  if (options.device != "cpu" && !gpuIndex(options.device))
    return usageError("E0206", "there is no device '" + options.device + "'; known: cpu, cuda, cuda:0, cuda:1, ...");
  std::string refusals;
  const TargetRequirement *best = nullptr;
  for (const TargetRequirement &candidate : artifact->targets()) {
    if (!options.target.empty() && candidate.name != options.target)
      continue;
    if (!artifact->section("plan/" + candidate.name) || !artifact->section("code/" + candidate.name))
      return badInput("E0202", "the artifact lists target '" + candidate.name + "' but has no code for it", path);
    if (Status status = admit(candidate); !status)
      refusals += (refusals.empty() ? "" : "; ") + status.error().message;
    else if (!best || rank(candidate.name) > rank(best->name))
      best = &candidate;
  }
  if (best) {
    target = best->name;
    if (const Target *row = rowOf(target); !row || !row->isGpu())
      gpu = nullptr;
    return {};
  }
  if (refusals.empty())
    return usageError("E0206", "the artifact has no target '" + options.target + "'", path);
  bool wantsGpu = !options.device.empty() && options.device != "cpu";
  Error error = unsupported("E0206", refusals + (wantsGpu ? "" : "; this CPU has " + join(hostFeatures())), path).error();
  error.notes.push_back(wantsGpu ? "help: an artifact runs on a GPU when it was compiled for one, with --target=sm_90 for example"
                                 : "help: compile for this machine with --target=native, or for several targets at once");
  return error;
}

Status EngineState::loadCode() {
  if (gpu) {
    LLMOPT_ASSIGN(program, cuda::CudaProgram::load(*artifact, target, plan, gpu, drawn));
    return {};
  }
  LLMOPT_ASSIGN(code, CodeImage::load(path, *artifact->sectionInfo("code/" + target)));
  return {};
}

Status EngineState::readPlan() {
  std::string name = "plan/" + target;
  LLMOPT_RETURN_IF_ERROR(artifact->verify(name));
  std::span<const std::byte> bytes = *artifact->section(name);
  std::string context = path + ", section '" + name + "'";
  LLMOPT_ASSIGN(Json json, Json::parse({reinterpret_cast<const char *>(bytes.data()), bytes.size()}, context));
  LLMOPT_ASSIGN(plan, plan::fromJson(json, context));
  return {};
}

/// Weights that the artifact only describes are made in memory, behind a copy of the others.
Status EngineState::drawWeights() {
  std::span<const std::byte> section = artifact->section("weights").value_or(std::span<const std::byte>());
  uint64_t bytes = weightMemory(drawn, section.size());
  if (gpu || drawn.empty())
    return {};
  LLMOPT_ASSIGN(drawnWeights, GrowingMemory::create(bytes, "the drawn weights"));
  LLMOPT_RETURN_IF_ERROR(drawnWeights.ensure(bytes));
  std::ranges::copy(section, drawnWeights.data());
  std::atomic<size_t> next = 0;
  auto work = [&] {
    for (size_t i; (i = next.fetch_add(1)) < drawn.size();)
      drawn[i].draw({drawnWeights.data() + drawn[i].offset, drawn[i].bytes});
  };
  std::vector<std::thread> helpers;
  for (unsigned i = 1; i < threads; ++i)
    helpers.emplace_back(work);
  work();
  for (std::thread &helper : helpers)
    helper.join();
  return {};
}

Status EngineState::makeRunners() {
  uint64_t cacheBytes = options.cacheBytes ? options.cacheBytes : (gpu ? gpu->totalBytes() : physicalMemory()) / 2;
  MakeBlockMemory makeMemory = makeHostBlocks;
  if (gpu)
    makeMemory = [this](uint64_t limit) { return cuda::makeDeviceBlocks(gpu, limit); };
  LLMOPT_ASSIGN(memory.arena, GrowingMemory::create(physicalMemory(), "the step's working memory"));
  LLMOPT_ASSIGN(memory.scratch, GrowingMemory::create(physicalMemory() / 4, "the threads' working memory"));
  LLMOPT_ASSIGN(cache, CachePool::create(plan.states, cacheBytes, makeMemory));
  for (const plan::Entry &entry : plan.entries) {
    if (entry.name == "step") {
      LLMOPT_RETURN_IF_ERROR(makeRagged(entry, stepEntry));
    } else if (entry.name == "encode") {
      LLMOPT_RETURN_IF_ERROR(makeRagged(entry, encodeEntry));
    } else if (entry.name == "main") {
      LLMOPT_ASSIGN(graph, makeRunner(entry));
    }
  }
  if (!stepEntry.runner && !encodeEntry.runner && !graph)
    return badInput("E0208", "the plan is invalid: it has no entry point this llmopt knows", path);
  return {};
}

Result<std::unique_ptr<EntryRunner>> EngineState::makeRunner(const plan::Entry &entry) {
  if (program)
    return cuda::CudaRunner::create(plan, entry, *program, cache->bases());
  std::span<const std::byte> weights = artifact->section("weights").value_or(std::span<const std::byte>());
  if (drawnWeights.data())
    weights = {drawnWeights.data(), drawnWeights.limit()};
  const Target *row = rowOf(target);
  return HostRunner::create(plan, entry, code, weights, cache->bases(), memory, /*hasTiles=*/row && row->amx);
}

static std::optional<StepRole> roleOf(std::string_view name) {
  if (name == "token_ids")
    return StepRole::TokenIds;
  if (name == "positions")
    return StepRole::Positions;
  if (name == "logit_rows")
    return StepRole::LogitRows;
  if (name == "token_types")
    return StepRole::TokenTypes;
  return std::nullopt;
}

Status EngineState::makeRagged(const plan::Entry &entry, RaggedEntry &ragged) {
  auto invalid = [&](const std::string &why) { return badInput("E0208", "the plan is invalid: entry '" + entry.name + "' " + why, path); };
  // Symbols that no input carries have these names.
  for (const std::string &symbol : entry.symbols)
    ragged.symbols.push_back(symbol == "rows" ? StepRole::LogitRows : StepRole::TokenIds);
  for (uint32_t index : entry.inputs) {
    const plan::Buffer &buffer = entry.buffers[index];
    std::optional<StepRole> role = roleOf(buffer.name);
    if (!role || buffer.dtype != DType::I32 || buffer.shape.size() != 1)
      return invalid("has an unknown input " + buffer.name);
    ragged.inputs.push_back(*role);
    if (const plan::Expr &dim = entry.expressions[buffer.shape[0]]; dim.op == plan::Expr::Op::Symbol)
      ragged.symbols[size_t(dim.value)] = *role;
  }
  if (entry.outputs.size() > 1)
    return invalid("has more than one output");
  for (uint32_t index : entry.outputs)
    if (entry.buffers[index].dtype != DType::F32 || entry.buffers[index].shape.size() != 2)
      return invalid("has an output of type " + plan::describeType(entry, entry.buffers[index]));
  if (entry.name == "step" && entry.outputs.empty())
    return invalid("has no logits");
  LLMOPT_ASSIGN(ragged.runner, makeRunner(entry));
  return {};
}
