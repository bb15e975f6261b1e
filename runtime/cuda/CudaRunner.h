//===- CudaRunner.h - an entry point on a GPU -------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The stages run in one stream, in order. What a call brings (step table, inputs) travels in one copy to a fixed place, and no address
// of a shape ever changes, so that the launches of a shape are captured as a graph when it comes a second time, and replayed from then
// on: one launch a step. Kernels that wait for the ones in front themselves are launched before those are done, unless LLMOPT_CUDA_PDL=0.
// LLMOPT_CUDA_SYNC=1 waits behind each kernel instead, so that an error names it.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_CUDA_CUDARUNNER_H
#define LLMOPT_RUNTIME_CUDA_CUDARUNNER_H

#include "runtime/core/EntryRunner.h"
#include "runtime/cuda/CudaProgram.h"

namespace llmopt::cuda {

class CudaRunner final : public EntryRunner {
public:
  /// `states` holds the device address of block 0 of each state. E0208 where the plan names what the artifact lacks.
  static Result<std::unique_ptr<EntryRunner>> create(const plan::Plan &plan, const plan::Entry &entry, CudaProgram &program,
                                                     std::span<std::byte *const> states);
  Status run(cpu::ThreadTeam &team, cpu::ThreadTeam::Turn &turn, Shape &shape, std::span<const BoundTensor> inputs,
             std::span<const BoundTensor> outputs, const StepTable &table) override;
  bool drawsTokens() const override;

private:
  struct Launch;
  struct CudaShape;
  CudaRunner(const plan::Plan &plan, const plan::Entry &entry, CudaProgram &program);
  Status bindFixed(const plan::Plan &plan, std::span<std::byte *const> states);
  std::unique_ptr<Shape> newShape() const override;
  Status writeLaunches(Shape &shape) override;
  Status writeLaunch(CudaShape &shape, uint32_t stage);
  Result<TensorMap> makeMap(const CudaShape &shape, const plan::Stage &stage, const DeviceParameter &parameter, const std::string &context) const;
  Status bindRows(const plan::Stage &stage, const CudaProgram::Kernel &kernel);
  uint64_t arenaLimit() const override { return program_.arena.limit(); }
  Status sendInputs(const CudaShape &shape, std::span<const BoundTensor> inputs, const StepTable &table);
  Status drawTokens(const CudaShape &shape);
  Status launch(const Launch &launch);
  Status launchAll(const CudaShape &shape);
  Status launchTimed(const CudaShape &shape, const StepTable &table);
  Status capture(CudaShape &shape);
  std::string context(const Launch &launch) const;

  CudaProgram &program_;
  const Device &device_;
  const Driver &driver_;
  bool synchronous_ = false, launchesEarly_ = true;
  std::vector<DevicePointer> fixed_; ///< address of each weight and state buffer
  DevicePointer choices_ = 0, tokens_ = 0; ///< of a step that draws tokens
  std::vector<DevicePointer> rows_;  ///< of each weight buffer that kernels want as rows: the copy
  std::vector<std::vector<CudaProgram::Kernel>> kernels_; ///< of each stage's variants
};

} // namespace llmopt::cuda

#endif // LLMOPT_RUNTIME_CUDA_CUDARUNNER_H
