//===- EntryRunner.h - runs one entry point of a plan -----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A plan is written in symbols. For each set of symbol values ("tokens" = 1, "rows" = 1) the runner once evaluates the
// expressions, chooses kernel variants, places buffers and writes the launches down with all addresses; this is a Shape.
// Shapes are kept, so that a step of a known shape writes a few pointers and walks the launches.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_CORE_ENTRYRUNNER_H
#define LLMOPT_RUNTIME_CORE_ENTRYRUNNER_H

#include "llmopt/lib/Artifact/KernelABI.h"
#include "llmopt/lib/Artifact/Plan.h"
#include "runtime/core/CodeImage.h"
#include "runtime/core/Mapping.h"
#include "runtime/cpu/ThreadTeam.h"

#include <memory>

namespace llmopt {

/// What all entry points of an engine share. The memory belongs to whoever holds the thread team.
struct RunnerMemory {
  GrowingMemory arena;
  GrowingMemory scratch; ///< one slice for each thread
};

/// One input or output of a call: where it lies and how many bytes may be touched there.
struct BoundTensor {
  void *data = nullptr;
  uint64_t bytes = 0;
};

/// Time spent in a stage since profiling began.
struct StageTime {
  uint64_t nanoseconds = 0, calls = 0;
  int64_t flops = 0, bytesMoved = 0;
};

class EntryRunner {
public:
  /// An entry with all symbols given values. Stays valid until the next call of `shape`.
  struct Shape;

  /// `states` holds the address of block 0 of each state. E0208 where the plan names what the artifact lacks.
  static Result<std::unique_ptr<EntryRunner>> create(const plan::Plan &plan, const plan::Entry &entry, const CodeImage &code,
                                                     std::span<const std::byte> weights, std::span<std::byte *const> states,
                                                     RunnerMemory &memory);
  ~EntryRunner();

  const plan::Entry &entry() const { return entry_; }
  /// Finds or makes the shape. E1502 when its buffers do not fit into memory. Only for who holds the team.
  Result<Shape *> shape(std::span<const int64_t> symbolValues);
  /// Values of all expressions.
  static std::span<const int64_t> values(const Shape &shape);
  /// Inputs and outputs in signature order. A tensor that is not aligned to 64 bytes or shorter than its padded size goes
  /// through memory of the runner.
  Status run(cpu::ThreadTeam &team, cpu::ThreadTeam::Turn &turn, Shape &shape, std::span<const BoundTensor> inputs,
             std::span<const BoundTensor> outputs, const StepTable &table);

  void setProfiling(bool on) { times_.assign(on ? entry_.stages.size() : 0, StageTime()); }
  std::span<const StageTime> times() const { return times_; }
  size_t knownShapes() const { return shapes_.size(); }

private:
  EntryRunner(const plan::Entry &entry, RunnerMemory &memory);
  Status bindFixed(const plan::Plan &plan, const CodeImage &code, std::span<const std::byte> weights,
                   std::span<std::byte *const> states);
  Result<std::unique_ptr<Shape>> makeShape(std::span<const int64_t> symbolValues);
  Status placeArena(Shape &shape);
  void writeLaunches(Shape &shape);
  void walk(cpu::ThreadTeam &team, const Shape &shape, const StepTable &table, unsigned part, unsigned parts);
  void walkTimed(cpu::ThreadTeam &team, const Shape &shape, const StepTable &table, unsigned part, unsigned parts);

  const plan::Entry &entry_;
  RunnerMemory &memory_;
  std::vector<void *> fixed_;                   ///< address of each weight and state buffer
  std::vector<std::vector<KernelFunction>> kernels_; ///< of each stage's variants
  std::vector<uint32_t> phase_;                 ///< of each stage: barriers before it
  std::vector<std::unique_ptr<Shape>> shapes_;  ///< most recently used first
  std::vector<StageTime> times_;
};

} // namespace llmopt

#endif // LLMOPT_RUNTIME_CORE_ENTRYRUNNER_H
