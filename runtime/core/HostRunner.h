//===- HostRunner.h - an entry point on this machine's processors -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_CORE_HOSTRUNNER_H
#define LLMOPT_RUNTIME_CORE_HOSTRUNNER_H

#include "runtime/core/CodeImage.h"
#include "runtime/core/EntryRunner.h"
#include "runtime/core/Mapping.h"
#include "runtime/core/PieceDealer.h"

namespace llmopt {

/// What all entry points of an engine share. The memory belongs to whoever holds the thread team.
struct RunnerMemory {
  GrowingMemory arena;
  GrowingMemory scratch; ///< one slice for each thread
};

class HostRunner final : public EntryRunner {
public:
  /// `states` holds the address of block 0 of each state. `hasTiles`: the code multiplies words in tile registers. E0208 where the plan names what the artifact lacks.
  static Result<std::unique_ptr<EntryRunner>> create(const plan::Plan &plan, const plan::Entry &entry, const CodeImage &code,
                                                     std::span<const std::byte> weights, std::span<std::byte *const> states,
                                                     RunnerMemory &memory, bool hasTiles);

  /// A tensor that is not aligned to 64 bytes or shorter than its padded size goes through memory of the runner.
  Status run(cpu::ThreadTeam &team, cpu::ThreadTeam::Turn &turn, Shape &shape, std::span<const BoundTensor> inputs,
             std::span<const BoundTensor> outputs, const StepTable &table) override;

private:
  struct HostShape;
  HostRunner(const plan::Plan &plan, const plan::Entry &entry, RunnerMemory &memory, bool hasTiles);
  Status bindFixed(const plan::Plan &plan, const CodeImage &code, std::span<const std::byte> weights,
                   std::span<std::byte *const> states);
  std::unique_ptr<Shape> newShape() const override;
  Status writeLaunches(Shape &shape) override;
  uint64_t arenaLimit() const override { return memory_.arena.limit(); }
  struct Region;
  /// One thread's part of a launch.
  void runLaunch(const Region &region, size_t index, unsigned part);
  void walk(const Region &region, unsigned part);
  void walkTimed(const Region &region, unsigned part);

  RunnerMemory &memory_;
  bool hasTiles_;
  PieceDealer dealer_;
  std::vector<void *> fixed_;                   ///< address of each weight and state buffer
  std::vector<std::vector<KernelFunction>> kernels_; ///< of each stage's variants
};

} // namespace llmopt

#endif // LLMOPT_RUNTIME_CORE_HOSTRUNNER_H
