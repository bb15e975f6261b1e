//===- CudaProgram.h - a GPU target's kernels and memory --------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_CUDA_CUDAPROGRAM_H
#define LLMOPT_RUNTIME_CUDA_CUDAPROGRAM_H

#include "llmopt/lib/Artifact/Artifact.h"
#include "llmopt/lib/Artifact/DeviceCode.h"
#include "llmopt/lib/Artifact/DrawnWeights.h"
#include "llmopt/lib/Artifact/RepackedWeights.h"
#include "runtime/cuda/Device.h"

#include <map>

namespace llmopt::cuda {

/// What all entry points of an engine share on the device. The memory belongs to whoever holds the thread team.
struct CudaProgram {
  struct Kernel {
    Function function = nullptr;
    const DeviceKernel *metadata = nullptr;
  };

  /// Loads the sections of `target`, which `plan` is of. E0206 where this GPU does not run them.
  static Result<std::unique_ptr<CudaProgram>> load(const Artifact &artifact, const std::string &target, const plan::Plan &plan, std::shared_ptr<Device> device,
                                                   std::span<const DrawnWeight> drawn);
  ~CudaProgram();
  const Kernel *find(const std::string &name) const;
  /// The copy of a weight that `matrix` asks for; made when first asked for. E0208 where its kernel is missing.
  Result<DevicePointer> rowsOf(DevicePointer panels, const DeviceMatrix &matrix);
  /// Elements from one row of a matrix to the next.
  static uint64_t rowStride(const DeviceMatrix &matrix);

  std::shared_ptr<Device> device;
  std::string path; ///< of the artifact, for errors
  DeviceCode code;
  std::unique_ptr<DeviceWeights> weights;
  GrowingDeviceMemory arena, scratch;
  GrowingDeviceMemory inputs; ///< the step table and the inputs of a call
  std::unique_ptr<PinnedMemory> staging; ///< the same on this side

private:
  Status loadModules(std::span<const std::byte> images);
  Status makeMemory();
  /// Weights that the artifact only describes.
  Status drawWeights(std::span<const DrawnWeight> rows);
  /// Weights that lie as a CPU wants them; `section` is the weight section.
  Status repackWeights(std::span<const RepackedWeight> rows, std::span<const std::byte> section);
  /// One of the kernels that no plan names, on the stream.
  Status launchOnce(const Kernel &kernel, std::span<uint64_t> values, uint64_t blocks, const std::string &context);
  std::vector<Module> modules_;
  std::map<std::pair<DevicePointer, std::string>, std::unique_ptr<DeviceMemory>> rows_; ///< copies of weights, by panels and kernel
  std::map<std::string, Kernel, std::less<>> kernels_;
};

} // namespace llmopt::cuda

#endif // LLMOPT_RUNTIME_CUDA_CUDAPROGRAM_H
