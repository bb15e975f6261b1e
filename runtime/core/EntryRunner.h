//===- EntryRunner.h - runs one entry point of a plan -----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A plan is written in symbols. For each set of symbol values ("tokens" = 1, "rows" = 1) the runner once evaluates the
// expressions, chooses kernel variants, places buffers and writes the launches down with all addresses; this is a Shape.
// Shapes are kept, so that a step of a known shape writes a few pointers and walks the launches. HostRunner.h runs them on
// this machine's processors, runtime/cuda/CudaRunner.h on a GPU.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_CORE_ENTRYRUNNER_H
#define LLMOPT_RUNTIME_CORE_ENTRYRUNNER_H

#include "llmopt/lib/Artifact/KernelABI.h"
#include "llmopt/lib/Artifact/Plan.h"
#include "llmopt/lib/Artifact/TokenChoice.h"
#include "runtime/core/StageProfiler.h"
#include "runtime/cpu/ThreadTeam.h"

#include <memory>

namespace llmopt {

/// One input or output of a call: where it lies and how many bytes may be touched there.
struct BoundTensor {
  void *data = nullptr;
  uint64_t bytes = 0;
};

/// Tokens to be drawn from the rows of an entry's only output, in place of that output.
struct TokenDraw {
  std::span<const TokenChoice> choices;
  std::span<int32_t> tokens; ///< as many
};

class EntryRunner {
public:
  /// An entry with all symbols given values. Stays valid until the next call of `shape`.
  struct Shape {
    virtual ~Shape() = default;
    std::vector<int64_t> symbols, values; ///< of the entry's symbols and of all its expressions
    std::vector<uint64_t> places;         ///< offset in the arena of each buffer that is no weight and no state
    uint64_t arenaBytes = 0;
  };

  virtual ~EntryRunner();
  const plan::Entry &entry() const { return entry_; }
  /// Finds or makes the shape. E1502 when its buffers do not fit into memory. Only for who holds the team.
  Result<Shape *> shape(std::span<const int64_t> symbolValues);
  /// Inputs and outputs in signature order, in this machine's memory.
  virtual Status run(cpu::ThreadTeam &team, cpu::ThreadTeam::Turn &turn, Shape &shape, std::span<const BoundTensor> inputs,
                     std::span<const BoundTensor> outputs, const StepTable &table) = 0;

  /// Whether `drawNext` does something: the device has a kernel for it.
  virtual bool drawsTokens() const { return false; }
  /// The next `run` draws tokens; what it points to lives until then.
  void drawNext(const TokenDraw &draw) { draw_ = draw; }

  StageProfiler &profiler() { return profiler_; }
  const StageProfiler &profiler() const { return profiler_; }
  size_t knownShapes() const { return shapes_.size(); }

protected:
  EntryRunner(const plan::Plan &plan, const plan::Entry &entry);
  /// Writes the launches of a shape whose values and places are known.
  virtual std::unique_ptr<Shape> newShape() const = 0;
  virtual Status writeLaunches(Shape &shape) = 0;
  virtual uint64_t arenaLimit() const = 0;

  /// The variant of a stage for these values.
  static size_t variantOf(const plan::Stage &stage, std::span<const int64_t> values);

  const plan::Entry &entry_;
  StageProfiler profiler_;
  TokenDraw draw_;

private:
  Result<std::unique_ptr<Shape>> makeShape(std::span<const int64_t> symbolValues);
  Status placeArena(Shape &shape);
  std::vector<uint32_t> phase_;                ///< of each stage: barriers before it
  std::vector<std::unique_ptr<Shape>> shapes_; ///< most recently used first
};

} // namespace llmopt

#endif // LLMOPT_RUNTIME_CORE_ENTRYRUNNER_H
