//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/cuda/CudaProgram.h"

#include <algorithm>
#include <bit>

using namespace llmopt;
using namespace llmopt::cuda;

Result<std::unique_ptr<CudaProgram>> CudaProgram::load(const Artifact &artifact, const std::string &target, std::shared_ptr<Device> device,
                                                       std::span<const DrawnWeight> drawn) {
  auto program = std::make_unique<CudaProgram>();
  program->device = std::move(device);
  program->path = artifact.path();
  LLMOPT_ASSIGN(program->code, readDeviceCode(artifact, target));
  LLMOPT_RETURN_IF_ERROR(program->device->makeCurrent());
  LLMOPT_RETURN_IF_ERROR(program->loadModules(*artifact.section("code/" + target)));
  LLMOPT_RETURN_IF_ERROR(program->makeMemory());
  std::span<const std::byte> section = artifact.section("weights").value_or(std::span<const std::byte>());
  LLMOPT_ASSIGN(program->weights, DeviceWeights::upload(program->device, section, weightMemory(drawn, section.size())));
  LLMOPT_RETURN_IF_ERROR(program->drawWeights(drawn));
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

Status CudaProgram::drawWeights(std::span<const DrawnWeight> rows) {
  constexpr uint64_t kMostBlocks = 1 << 16;
  const Kernel *kernel = find(kDrawWeightsKernel);
  for (const DrawnWeight &row : rows) {
    if (!kernel || kernel->metadata->parameters.size() != 9)
      return badInput("E0208", "the plan is invalid: it describes weights, but the code has no kernel that draws them", path);
    DrawnWeight::Order order = row.order();
    auto code = [](DType type) { return uint64_t(type == DType::F32 ? 0 : type == DType::BF16 ? 1 : 2); };
    uint64_t values[] = {weights->address() + row.offset, order.elements(), order.outputs, order.inputs, order.group, row.outputsFirst, row.random.state,
                         std::bit_cast<uint32_t>(row.random.center), code(row.random.dtype) + 4 * code(row.dtype)};
    void *parameters[std::size(values)];
    for (size_t i = 0; i < std::size(values); ++i)
      parameters[i] = &values[i];
    uint64_t blocks = std::clamp<uint64_t>(values[1] / kernel->metadata->threads, 1, kMostBlocks);
    LLMOPT_CUDA_TRY(device->driver(), "drawing weight '" + row.name + "' of " + path, cuLaunchKernel, kernel->function, unsigned(blocks), 1u, 1u, kernel->metadata->threads,
                    1u, 1u, 0u, device->stream(), parameters, nullptr);
  }
  return device->synchronize("drawing the weights of " + path);
}

Status CudaProgram::makeMemory() {
  constexpr uint64_t kMostScratch = uint64_t(4) << 30;
  LLMOPT_ASSIGN(arena, GrowingDeviceMemory::create(device, device->totalBytes(), "the step's working memory"));
  LLMOPT_ASSIGN(scratch, GrowingDeviceMemory::create(device, kMostScratch, "the threads' working memory"));
  LLMOPT_ASSIGN(inputs, GrowingDeviceMemory::create(device, device->totalBytes(), "the inputs of a call"));
  staging = std::make_unique<PinnedMemory>(device);
  return {};
}

uint64_t CudaProgram::rowStride(const DeviceMatrix &matrix) {
  uint64_t each = 16 / dtypeSize(matrix.element);
  return (matrix.columns + each - 1) / each * each;
}

Result<DevicePointer> CudaProgram::rowsOf(DevicePointer panels, const DeviceMatrix &matrix) {
  std::unique_ptr<DeviceMemory> &copy = rows_[{panels, matrix.unpack}];
  if (copy)
    return copy->address();
  const Kernel *kernel = find(matrix.unpack);
  if (!kernel)
    return badInput("E0208", "the plan is invalid: the code has no kernel '" + matrix.unpack + "'", path).error();
  uint64_t stride = rowStride(matrix), bytes = matrix.rows * stride * dtypeSize(matrix.element);
  LLMOPT_ASSIGN(copy, DeviceMemory::allocate(device, bytes, "weights as rows"));
  uint64_t values[] = {panels, copy->address(), matrix.rows, matrix.columns, stride};
  void *parameters[std::size(values)];
  for (size_t i = 0; i < std::size(values); ++i)
    parameters[i] = &values[i];
  unsigned blocks = unsigned(device->multiprocessors()) * 16; // its threads take what there is in turns
  LLMOPT_CUDA_TRY(device->driver(), "kernel '" + matrix.unpack + "' of " + path, cuLaunchKernel, kernel->function, blocks, 1u, 1u, kernel->metadata->threads,
                  1u, 1u, 0u, device->stream(), parameters, nullptr);
  return copy->address();
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
