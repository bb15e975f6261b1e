//===- EngineState.h - what Engine handles share ----------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_CORE_ENGINESTATE_H
#define LLMOPT_RUNTIME_CORE_ENGINESTATE_H

#include "llmopt/lib/Artifact/Artifact.h"
#include "llmopt/lib/Artifact/ModelInfo.h"
#include "llmopt/runtime/Engine.h"
#include "runtime/core/CachePool.h"
#include "runtime/core/HostRunner.h"
#include "runtime/cuda/CudaProgram.h"

#include <memory>
#include <optional>

namespace llmopt {

/// What an input of `step` or `encode` is fed with.
enum class StepRole : uint8_t { TokenIds, Positions, LogitRows, TokenTypes };

/// An entry with ragged inputs, resolved to roles.
struct RaggedEntry {
  std::unique_ptr<EntryRunner> runner; ///< null: the artifact has none
  std::vector<StepRole> inputs;
  std::vector<StepRole> symbols; ///< the role whose length gives the symbol's value
};

/// Arrays of a step, kept so that a step allocates nothing. They belong to whoever holds the team.
struct StepArrays {
  std::vector<int32_t> tokenIds, positions, logitRows, tokenTypes;
  std::vector<uint32_t> tokenSequence;
  std::vector<SequenceRow> rows[2];
  std::vector<int32_t> blocks[2];
  std::vector<TokenChoice> choices; ///< of logit rows
  void clear();
  std::vector<int32_t> &of(StepRole role);
};

struct EngineState : std::enable_shared_from_this<EngineState> {
  static Result<std::shared_ptr<EngineState>> load(const std::string &path, const EngineOptions &options);
  ~EngineState();

  Result<std::vector<Tensor>> runGraph(std::span<const Tensor *const> inputs);
  Status step(std::span<const SequenceInput> inputs, StepOutput &output);
  Status encode(std::span<const EncodeInput> inputs, StepOutput *hidden);

  std::string path, target;
  EngineOptions options;
  unsigned threads = 1;
  std::optional<Artifact> artifact;
  ModelInfo info;
  plan::Plan plan;
  CodeImage code;
  std::shared_ptr<cuda::Device> gpu;          ///< null: this machine's processors
  std::unique_ptr<cuda::CudaProgram> program; ///< its kernels, weights and memory
  std::unique_ptr<CachePool> cache;
  RunnerMemory memory;
  std::vector<DrawnWeight> drawn;
  GrowingMemory drawnWeights; ///< weight section and drawn weights, for this machine's processors
  RaggedEntry stepEntry, encodeEntry;
  std::unique_ptr<EntryRunner> graph;
  StepArrays arrays;

private:
  Status chooseTarget();
  /// Whether a target runs on a device that is here and allowed; else why not.
  Status admit(const TargetRequirement &candidate);
  Status loadCode();
  Status readPlan();
  Status drawWeights();
  Status makeRunners();
  Result<std::unique_ptr<EntryRunner>> makeRunner(const plan::Entry &entry);
  Status makeRagged(const plan::Entry &entry, RaggedEntry &ragged);

  Status checkTokens(std::span<const int32_t> tokens, int64_t past) const;
  Status prepareStep(std::span<const SequenceInput> inputs, StepOutput &output);
  Status prepareEncode(const EncodeInput &input, Sequence &sequence, uint32_t index);
  Status claimBlocks(Sequence &sequence, int group, size_t count);
  void appendRow(const Sequence &sequence, size_t count, uint32_t index);
  Status runRagged(RaggedEntry &ragged, cpu::ThreadTeam::Turn &turn, StepOutput *output);
};

} // namespace llmopt

#endif // LLMOPT_RUNTIME_CORE_ENGINESTATE_H
