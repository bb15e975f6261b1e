//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/cuda/CudaProgram.h"

#include <algorithm>
#include <bit>
#include <iterator>

using namespace llmopt;
using namespace llmopt::cuda;

Result<std::unique_ptr<CudaProgram>> CudaProgram::load(const Artifact &artifact, const std::string &target, const plan::Plan &plan, std::shared_ptr<Device> device,
                                                       std::span<const DrawnWeight> drawn) {
  auto program = std::make_unique<CudaProgram>();
  program->device = std::move(device);
  program->path = artifact.path();
  LLMOPT_ASSIGN(program->code, readDeviceCode(artifact, target));
  LLMOPT_RETURN_IF_ERROR(program->device->makeCurrent());
  LLMOPT_RETURN_IF_ERROR(program->loadModules(*artifact.section("code/" + target)));
  LLMOPT_RETURN_IF_ERROR(program->makeMemory());
  std::span<const std::byte> section = artifact.section("weights").value_or(std::span<const std::byte>());
  LLMOPT_ASSIGN(program->weights, DeviceWeights::upload(program->device, plan, section));
  LLMOPT_RETURN_IF_ERROR(program->drawWeights(drawn));
  LLMOPT_ASSIGN(std::vector<RepackedWeight> repacked, readRepackedWeights(artifact));
  LLMOPT_RETURN_IF_ERROR(program->repackWeights(repacked, section));
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

Status CudaProgram::launchOnce(const Kernel &kernel, std::span<uint64_t> values, uint64_t blocks, const std::string &context) {
  constexpr uint64_t kMostBlocks = 1 << 16; // its threads take what there is in turns
  std::vector<void *> parameters;
  for (uint64_t &value : values)
    parameters.push_back(&value);
  LLMOPT_CUDA_TRY(device->driver(), context + " of " + path, cuLaunchKernel, kernel.function, unsigned(std::clamp<uint64_t>(blocks, 1, kMostBlocks)), 1u, 1u,
                  kernel.metadata->threads, 1u, 1u, 0u, device->stream(), parameters.data(), nullptr);
  return {};
}

Status CudaProgram::drawWeights(std::span<const DrawnWeight> rows) {
  const Kernel *kernel = find(kDrawWeightsKernel);
  for (const DrawnWeight &row : rows) {
    if (!kernel || kernel->metadata->parameters.size() != 9)
      return badInput("E0208", "the plan is invalid: it describes weights, but the code has no kernel that draws them", path);
    std::optional<DevicePointer> place = weights->claim(row.offset, row.bytes);
    if (!place)
      continue; // another target's
    DrawnWeight::Order order = row.order();
    auto code = [](DType type) { return uint64_t(type == DType::F32 ? 0 : type == DType::BF16 ? 1 : 2); };
    uint64_t values[] = {*place, order.elements(), order.outputs, order.inputs, order.group, row.outputsFirst, row.random.state,
                         std::bit_cast<uint32_t>(row.random.center), code(row.random.dtype) + 4 * code(row.dtype)};
    LLMOPT_RETURN_IF_ERROR(launchOnce(*kernel, values, values[1] / kernel->metadata->threads, "drawing weight '" + row.name + "'"));
  }
  return device->synchronize("drawing the weights of " + path);
}

Status CudaProgram::repackWeights(std::span<const RepackedWeight> rows, std::span<const std::byte> section) {
  constexpr uint64_t kMostWords = uint64_t(64) << 20; // on the device at a time, beside the weights
  const Kernel *kernel = find(kRepackKernel);
  uint64_t room = 0;
  for (const RepackedWeight &row : rows)
    room = std::max(room, std::min(row.wordBytes(), std::max(kMostWords, row.wordPanelBytes())));
  if (rows.empty())
    return {};
  LLMOPT_ASSIGN(std::unique_ptr<DeviceMemory> words, DeviceMemory::allocate(device, room, "the weights"));
  Uploader uploader(device, "the weights");
  for (const RepackedWeight &row : rows) {
    if (!kernel || kernel->metadata->parameters.size() != 2 + std::size(kRepackNumbers))
      return badInput("E0208", "the plan is invalid: weights lie in another order, but the code has no kernel that changes it", path);
    std::optional<DevicePointer> place = weights->claim(row.offset, row.bytes());
    if (!place)
      continue; // another target's
    uint64_t most = room / row.wordPanelBytes();
    for (uint64_t first = 0; first < row.panelCount(); first += most) {
      uint64_t panels = std::min(most, row.panelCount() - first);
      LLMOPT_RETURN_IF_ERROR(uploader.send(words->address(), section.subspan(row.from + first * row.wordPanelBytes(), panels * row.wordPanelBytes())));
      std::vector<uint64_t> values{words->address(), *place + first * row.panelBytes()};
      std::ranges::copy(repackNumbers(row, first, panels), std::back_inserter(values));
      LLMOPT_RETURN_IF_ERROR(launchOnce(*kernel, values, panels * row.panelBytes() / 16 / kernel->metadata->threads, "repacking weight '" + row.name + "'"));
    }
  }
  return device->synchronize("repacking the weights of " + path);
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
  LLMOPT_RETURN_IF_ERROR(launchOnce(*kernel, values, uint64_t(device->multiprocessors()) * 16, "kernel '" + matrix.unpack + "'"));
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
