//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/cuda/CudaProgram.h"

using namespace llmopt;
using namespace llmopt::cuda;

Result<std::unique_ptr<CudaProgram>> CudaProgram::load(const Artifact &artifact, const std::string &target, std::shared_ptr<Device> device) {
  auto program = std::make_unique<CudaProgram>();
  program->device = std::move(device);
  program->path = artifact.path();
  LLMOPT_ASSIGN(program->code, readDeviceCode(artifact, target));
  LLMOPT_RETURN_IF_ERROR(program->device->makeCurrent());
  LLMOPT_RETURN_IF_ERROR(program->loadModules(*artifact.section("code/" + target)));
  LLMOPT_RETURN_IF_ERROR(program->makeMemory());
  LLMOPT_ASSIGN(program->weights, DeviceWeights::upload(program->device, artifact.section("weights").value_or(std::span<const std::byte>())));
  return program;
}

Status CudaProgram::loadModules(std::span<const std::byte> images) {
  const Driver &driver = device->driver();
  for (const DeviceModule &module : code.modules) {
    if ((module.form == "host") != driver.runsHostImages)
      return unsupported("E0206", module.form == "host" ? "the artifact was compiled with --cuda-compiler=emulate; no GPU runs it (set LLMOPT_LIBCUDA to the stand-in driver)"
                                                        : "the stand-in driver runs artifacts of --cuda-compiler=emulate only", path);
    LLMOPT_CUDA_TRY(driver, "the kernels for " + code.architecture + " in " + path + ", on " + device->name(), cuModuleLoadData, &modules_.emplace_back(),
                    images.data() + module.offset);
  }
  for (const DeviceKernel &kernel : code.kernels) {
    std::string context = "kernel '" + kernel.name + "' of " + path;
    Kernel &entry = kernels_[kernel.name];
    entry.metadata = &kernel;
    LLMOPT_CUDA_TRY(driver, context, cuModuleGetFunction, &entry.function, modules_[kernel.module], kernel.entryName().c_str());
    if (kernel.sharedBytes > (48 << 10)) // more has to be asked for
      LLMOPT_CUDA_TRY(driver, context, cuFuncSetAttribute, entry.function, FunctionAttribute::MaxDynamicSharedBytes, int(kernel.sharedBytes));
  }
  return {};
}

Status CudaProgram::makeMemory() {
  constexpr uint64_t kMostScratch = uint64_t(4) << 30;
  LLMOPT_ASSIGN(arena, GrowingDeviceMemory::create(device, device->totalBytes(), "the step's working memory"));
  LLMOPT_ASSIGN(scratch, GrowingDeviceMemory::create(device, kMostScratch, "the threads' working memory"));
  LLMOPT_ASSIGN(inputs, GrowingDeviceMemory::create(device, device->totalBytes(), "the inputs of a call"));
  staging = std::make_unique<PinnedMemory>(device);
  return {};
}

CudaProgram::~CudaProgram() {
  if (!device || !device->makeCurrent())
    return;
  for (Module module : modules_)
    if (module)
      device->driver().cuModuleUnload(module);
}

const CudaProgram::Kernel *CudaProgram::find(const std::string &name) const {
  auto it = kernels_.find(name);
  return it == kernels_.end() ? nullptr : &it->second;
}
