//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/cuda/CudaRunner.h"

#include "llmopt/lib/Support/CheckedMath.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

using namespace llmopt;
using namespace llmopt::cuda;
using plan::BufferKind;

static constexpr uint64_t kAlignment = 256; ///< of addresses in one allocation, as the driver gives them
static uint64_t aligned(uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

struct CudaRunner::Launch {
  Function function;
  uint32_t stage, variant, blocks, threads, sharedBytes;
  bool early; ///< may come onto the device before the launch in front is done
  std::vector<uint64_t> values; ///< of the parameters
  std::vector<TensorMap> maps;
  std::vector<void *> parameters; ///< addresses of values and maps
};

struct CudaRunner::CudaShape : Shape {
  explicit CudaShape(const Driver &driver) : driver(driver) {}
  ~CudaShape() override {
    if (graph)
      driver.cuGraphExecDestroy(graph);
  }
  const Driver &driver;
  std::vector<DevicePointer> addresses; ///< of each buffer
  std::vector<uint64_t> inputPlaces;    ///< in the memory for inputs, behind the step table
  uint64_t inputBytes = 0, scratchBytes = 0;
  std::vector<Launch> launches;
  uint32_t runs = 0;
  GraphExec graph = nullptr;
};

CudaRunner::CudaRunner(const plan::Plan &plan, const plan::Entry &entry, CudaProgram &program)
    : EntryRunner(plan, entry), program_(program), device_(*program.device), driver_(program.device->driver()) {
  auto isOn = [](const char *value, bool otherwise) { return value && *value ? *value != '0' : otherwise; };
  synchronous_ = isOn(std::getenv("LLMOPT_CUDA_SYNC"), false);
  launchesEarly_ = isOn(std::getenv("LLMOPT_CUDA_PDL"), true);
}

std::unique_ptr<EntryRunner::Shape> CudaRunner::newShape() const { return std::make_unique<CudaShape>(driver_); }

Result<std::unique_ptr<EntryRunner>> CudaRunner::create(const plan::Plan &plan, const plan::Entry &entry, CudaProgram &program,
                                                        std::span<std::byte *const> states) {
  std::unique_ptr<CudaRunner> runner(new CudaRunner(plan, entry, program));
  LLMOPT_RETURN_IF_ERROR(runner->bindFixed(plan, states));
  return std::unique_ptr<EntryRunner>(std::move(runner));
}

Status CudaRunner::bindFixed(const plan::Plan &plan, std::span<std::byte *const> states) {
  auto invalid = [&](const std::string &what) { return badInput("E0208", "the plan is invalid: " + what, program_.path); };
  for (const plan::Buffer &buffer : entry_.buffers) {
    DevicePointer address = 0;
    if (buffer.kind == BufferKind::State)
      address = reinterpret_cast<DevicePointer>(states[buffer.index]);
    if (buffer.kind == BufferKind::Weight) {
      const plan::Weight &weight = plan.weights[buffer.index];
      std::optional<DevicePointer> place = program_.weights->find(weight.offset, weight.bytes);
      if (!place)
        return invalid("weight '" + weight.name + "' lies outside the weight section");
      address = *place;
    }
    fixed_.push_back(address);
  }
  rows_.resize(entry_.buffers.size());
  for (const plan::Stage &stage : entry_.stages) {
    std::vector<CudaProgram::Kernel> &kernels = kernels_.emplace_back();
    for (const plan::Variant &variant : stage.variants) {
      const CudaProgram::Kernel *kernel = program_.find(variant.kernel);
      if (!kernel)
        return invalid("the code has no kernel '" + variant.kernel + "'");
      for (const DeviceParameter &parameter : kernel->metadata->parameters) {
        bool isBinding = parameter.kind == DeviceParameter::Kind::Buffer || parameter.kind == DeviceParameter::Kind::TensorMap;
        size_t most = isBinding ? stage.bindings.size() : stage.dims.size() + 1;
        if (parameter.index >= most || parameter.matrix.rowsDim > stage.dims.size())
          return invalid("kernel '" + variant.kernel + "' takes more than stage '" + stage.name + "' binds");
      }
      LLMOPT_RETURN_IF_ERROR(bindRows(stage, *kernel));
      kernels.push_back(*kernel);
    }
  }
  return {};
}

Status CudaRunner::bindRows(const plan::Stage &stage, const CudaProgram::Kernel &kernel) {
  for (const DeviceParameter &parameter : kernel.metadata->parameters) {
    if (parameter.matrix.unpack.empty())
      continue;
    uint32_t buffer = stage.bindings[parameter.index];
    if (entry_.buffers[buffer].kind != BufferKind::Weight || parameter.matrix.rows == 0)
      return badInput("E0208", "the plan is invalid: kernel '" + kernel.metadata->name + "' wants the rows of what is no weight", program_.path);
    LLMOPT_ASSIGN(rows_[buffer], program_.rowsOf(fixed_[buffer], parameter.matrix));
  }
  return {};
}

std::string CudaRunner::context(const Launch &launch) const {
  const plan::Stage &stage = entry_.stages[launch.stage];
  return "kernel '" + stage.variants.front().kernel + "' of stage '" + stage.name + "', " + program_.path;
}

//===----------------------------------------------------------------------===//
// A shape
//===----------------------------------------------------------------------===//

Status CudaRunner::writeLaunches(Shape &base) {
  auto &shape = static_cast<CudaShape &>(base);
  shape.addresses = fixed_;
  for (uint32_t i = 0; i < entry_.buffers.size(); ++i)
    if (BufferKind kind = entry_.buffers[i].kind; kind == BufferKind::Arena || kind == BufferKind::Output)
      shape.addresses[i] = program_.arena.address() + shape.places[i];
  shape.inputBytes = aligned(sizeof(StepTable));
  for (uint32_t buffer : entry_.inputs) {
    shape.inputPlaces.push_back(shape.inputBytes);
    shape.addresses[buffer] = program_.inputs.address() + shape.inputBytes;
    shape.inputBytes += aligned(uint64_t(std::max<int64_t>(0, shape.values[entry_.buffers[buffer].bytes])));
  }
  for (uint32_t s = 0; s < entry_.stages.size(); ++s)
    LLMOPT_RETURN_IF_ERROR(writeLaunch(shape, s));
  return {};
}

Result<TensorMap> CudaRunner::makeMap(const CudaShape &shape, const plan::Stage &stage, const DeviceParameter &parameter,
                                      const std::string &context) const {
  constexpr uint32_t kBoxBytes = 128;
  constexpr int kNoInterleave = 0, kSwizzle128 = 3, kPromote128 = 2, kZerosOutside = 0; // as cuda.h numbers them
  const DeviceMatrix &matrix = parameter.matrix;
  uint32_t buffer = stage.bindings[parameter.index], bytes = uint32_t(dtypeSize(matrix.element));
  TensorMapType type = bytes == 1 ? TensorMapType::U8 : bytes == 4 ? TensorMapType::F32 : matrix.element == DType::BF16 ? TensorMapType::BF16 : TensorMapType::F16;
  uint64_t rows = matrix.rowsDim ? uint64_t(std::max<int64_t>(1, shape.values[stage.dims[matrix.rowsDim - 1]])) : matrix.rows;
  uint64_t sizes[] = {matrix.columns, rows}, strides[] = {CudaProgram::rowStride(matrix) * bytes};
  uint32_t box[] = {kBoxBytes / bytes, matrix.boxRows}, steps[] = {1, 1};
  TensorMap map;
  LLMOPT_CUDA_TRY(driver_, context, cuTensorMapEncodeTiled, &map, type, 2u, matrix.unpack.empty() ? shape.addresses[buffer] : rows_[buffer], sizes, strides,
                  box, steps, kNoInterleave, kSwizzle128, kPromote128, kZerosOutside);
  return map;
}

Status CudaRunner::writeLaunch(CudaShape &shape, uint32_t s) {
  constexpr int64_t kMostBlocks = int64_t(1) << 30;
  constexpr uint64_t kScratch = uint64_t(256) << 20; // threads with scratch memory take several work units beyond this
  const plan::Stage &stage = entry_.stages[s];
  size_t v = variantOf(stage, shape.values);
  const CudaProgram::Kernel &kernel = kernels_[s][v];
  const DeviceKernel &metadata = *kernel.metadata;
  int64_t units = shape.values[stage.variants[v].units];
  if (units <= 0)
    return {};
  int64_t blocks = std::min(ceilDiv(units, metadata.unitsPerBlock), kMostBlocks);
  if (metadata.blocksPerSm)
    blocks = std::min<int64_t>(blocks, int64_t(metadata.blocksPerSm) * device_.multiprocessors());
  uint64_t scratch = uint64_t(std::max<int64_t>(0, shape.values[stage.variants[v].scratchBytes]));
  scratch = (scratch + 63) / 64 * 64;
  if (scratch) {
    blocks = std::clamp<int64_t>(int64_t(kScratch / (scratch * metadata.threads)), 1, blocks);
    shape.scratchBytes = std::max(shape.scratchBytes, scratch * metadata.threads * uint64_t(blocks));
  }
  bool early = launchesEarly_ && metadata.launchPdl && !shape.launches.empty();
  Launch launch{kernel.function, s, uint32_t(v), uint32_t(blocks), metadata.threads, metadata.sharedBytes, early, {}, {}, {}};
  for (const DeviceParameter &parameter : metadata.parameters)
    switch (parameter.kind) {
    case DeviceParameter::Kind::Buffer:
      launch.values.push_back(shape.addresses[stage.bindings[parameter.index]]);
      break;
    case DeviceParameter::Kind::Dim:
      launch.values.push_back(uint64_t(parameter.index == 0 ? units : shape.values[stage.dims[parameter.index - 1]]));
      if (parameter.bytes == 4 && launch.values.back() > INT32_MAX) // the driver would take the low half
        return limitExceeded("E1513", "a size of " + std::to_string(launch.values.back()) + " does not fit the 32 bits that the kernel has for it", context(launch));
      break;
    case DeviceParameter::Kind::Table:
      launch.values.push_back(program_.inputs.address());
      break;
    case DeviceParameter::Kind::Scratch:
      launch.values.push_back(program_.scratch.address());
      break;
    case DeviceParameter::Kind::ScratchBytes:
      launch.values.push_back(scratch);
      break;
    case DeviceParameter::Kind::Constant:
      launch.values.push_back(parameter.value);
      break;
    case DeviceParameter::Kind::TensorMap:
      LLMOPT_ASSIGN(launch.maps.emplace_back(), makeMap(shape, stage, parameter, context(launch)));
      break;
    }
  size_t values = 0, maps = 0;
  for (const DeviceParameter &parameter : metadata.parameters)
    if (parameter.kind == DeviceParameter::Kind::TensorMap)
      launch.parameters.push_back(&launch.maps[maps++]);
    else
      launch.parameters.push_back(&launch.values[values++]);
  shape.launches.push_back(std::move(launch));
  return {};
}

//===----------------------------------------------------------------------===//
// A call
//===----------------------------------------------------------------------===//

namespace {
/// Arrays one after another in staging memory, with the addresses they will have on the device.
class Packer {
public:
  Packer(std::byte *host, DevicePointer device, uint64_t offset) : host_(host), device_(device), offset_(offset) {}
  template <typename T>
  const T *add(const T *array, size_t count) {
    uint64_t place = offset_;
    if (host_ && count)
      std::memcpy(host_ + place, array, count * sizeof(T));
    offset_ += aligned(count * sizeof(T));
    return reinterpret_cast<const T *>(device_ + place);
  }
  uint64_t offset() const { return offset_; }

private:
  std::byte *host_;
  DevicePointer device_;
  uint64_t offset_;
};
} // namespace

/// The table's arrays, and the table with their device addresses.
static StepTable packTable(const StepTable &table, Packer &packer) {
  StepTable packed = table;
  for (int group : {0, 1}) {
    size_t blocks = 0;
    for (uint32_t i = 0; table.blocks[group] && i < table.sequences; ++i)
      blocks = std::max<size_t>(blocks, table.rows[group][i].table + size_t(ceilDiv(table.rows[group][i].length, kCacheBlockTokens)));
    packed.rows[group] = packer.add(table.rows[group], table.sequences);
    packed.blocks[group] = packer.add(table.blocks[group], blocks);
  }
  packed.tokenSequence = packer.add(table.tokenSequence, table.tokens);
  return packed;
}

Status CudaRunner::sendInputs(const CudaShape &shape, std::span<const BoundTensor> inputs, const StepTable &table) {
  Packer size(nullptr, 0, shape.inputBytes);
  packTable(table, size);
  size.add(draw_.choices.data(), draw_.choices.size());
  uint64_t bytes = size.offset();
  LLMOPT_RETURN_IF_ERROR(program_.inputs.ensure(bytes + draw_.tokens.size_bytes()));
  LLMOPT_RETURN_IF_ERROR(program_.staging->ensure(bytes));
  std::byte *host = program_.staging->data();
  Packer packer(host, program_.inputs.address(), shape.inputBytes);
  StepTable packed = packTable(table, packer);
  choices_ = reinterpret_cast<DevicePointer>(packer.add(draw_.choices.data(), draw_.choices.size()));
  tokens_ = program_.inputs.address() + bytes;
  std::memcpy(host, &packed, sizeof(packed));
  for (size_t i = 0; i < inputs.size(); ++i) {
    uint64_t room = uint64_t(std::max<int64_t>(0, shape.values[entry_.buffers[entry_.inputs[i]].bytes])), given = std::min(inputs[i].bytes, room);
    if (given)
      std::memcpy(host + shape.inputPlaces[i], inputs[i].data, given);
    std::memset(host + shape.inputPlaces[i] + given, 0, room - given);
  }
  LLMOPT_CUDA_TRY(driver_, "the inputs of " + program_.path, cuMemcpyHtoDAsync_v2, program_.inputs.address(), host, bytes, device_.stream());
  return {};
}

bool CudaRunner::drawsTokens() const {
  const CudaProgram::Kernel *kernel = program_.find(kSampleKernel);
  return kernel && kernel->metadata->parameters.size() == 5 && entry_.outputs.size() == 1;
}

/// Behind the step's kernels, and outside of their graph: how many rows there are is not the shape's.
Status CudaRunner::drawTokens(const CudaShape &shape) {
  const CudaProgram::Kernel &kernel = *program_.find(kSampleKernel);
  const plan::Buffer &logits = entry_.buffers[entry_.outputs[0]];
  uint64_t rows = draw_.choices.size();
  uint64_t values[] = {shape.addresses[entry_.outputs[0]], rows, uint64_t(shape.values[logits.shape[1]]), choices_, tokens_};
  void *parameters[std::size(values)];
  for (size_t i = 0; i < std::size(values); ++i)
    parameters[i] = &values[i];
  std::string what = "drawing tokens for entry '" + entry_.name + "' of " + program_.path;
  LLMOPT_CUDA_TRY(driver_, what, cuLaunchKernel, kernel.function, unsigned(rows), 1u, 1u, kernel.metadata->threads, 1u, 1u, kernel.metadata->sharedBytes,
                  device_.stream(), parameters, nullptr);
  LLMOPT_CUDA_TRY(driver_, what, cuMemcpyDtoHAsync_v2, draw_.tokens.data(), tokens_, draw_.tokens.size_bytes(), device_.stream());
  return {};
}

Status CudaRunner::launch(const Launch &launch) {
  LaunchAttribute early;
  LaunchConfig config{{launch.blocks, 1, 1}, {launch.threads, 1, 1}, launch.sharedBytes, device_.stream(), &early, launch.early};
  // The driver does not change the parameters, but has no const for them.
  int code = driver_.cuLaunchKernelEx(&config, launch.function, const_cast<void **>(launch.parameters.data()), nullptr);
  return code == 0 ? Status() : driver_.check(code, "cuLaunchKernelEx", context(launch));
}

Status CudaRunner::launchAll(const CudaShape &shape) {
  for (const Launch &next : shape.launches) {
    LLMOPT_RETURN_IF_ERROR(launch(next));
    if (synchronous_)
      LLMOPT_RETURN_IF_ERROR(device_.synchronize(context(next)));
  }
  return {};
}

Status CudaRunner::launchTimed(const CudaShape &shape, const StepTable &table) {
  for (const Launch &next : shape.launches) {
    LLMOPT_RETURN_IF_ERROR(device_.synchronize(context(next)));
    int64_t begin = StageProfiler::now();
    LLMOPT_RETURN_IF_ERROR(launch(next));
    LLMOPT_RETURN_IF_ERROR(device_.synchronize(context(next)));
    int64_t end = StageProfiler::now();
    profiler_.addLaunch(0, {next.stage, begin, end});
    profiler_.addTime(next.stage, next.variant, shape.values, table, end - begin);
  }
  return {};
}

Status CudaRunner::capture(CudaShape &shape) {
  constexpr int kThreadLocal = 1;
  std::string what = "entry '" + entry_.name + "' of " + program_.path;
  LLMOPT_CUDA_TRY(driver_, what, cuStreamBeginCapture_v2, device_.stream(), kThreadLocal);
  Status status = launchAll(shape);
  Graph graph = nullptr;
  int code = driver_.cuStreamEndCapture(device_.stream(), &graph); // also after an error: the stream must come out of it
  if (status.ok())
    status = driver_.check(code, "cuStreamEndCapture", what);
  if (status.ok())
    status = driver_.check(driver_.cuGraphInstantiateWithFlags(&shape.graph, graph, 0), "cuGraphInstantiateWithFlags", what);
  if (graph)
    driver_.cuGraphDestroy(graph);
  return status;
}

Status CudaRunner::run(cpu::ThreadTeam &, cpu::ThreadTeam::Turn &, Shape &base, std::span<const BoundTensor> inputs,
                       std::span<const BoundTensor> outputs, const StepTable &table) {
  auto &shape = static_cast<CudaShape &>(base);
  std::string what = "entry '" + entry_.name + "' of " + program_.path;
  struct Drawn { // an order holds for one run
    TokenDraw &draw;
    ~Drawn() { draw = {}; }
  } drawn{draw_};
  LLMOPT_RETURN_IF_ERROR(device_.makeCurrent());
  LLMOPT_RETURN_IF_ERROR(program_.arena.ensure(shape.arenaBytes));
  LLMOPT_RETURN_IF_ERROR(program_.scratch.ensure(shape.scratchBytes));
  LLMOPT_RETURN_IF_ERROR(sendInputs(shape, inputs, table));
  if (profiler_.on()) {
    LLMOPT_RETURN_IF_ERROR(launchTimed(shape, table));
  } else if (synchronous_ || shape.runs == 0) {
    LLMOPT_RETURN_IF_ERROR(launchAll(shape));
  } else {
    if (!shape.graph)
      LLMOPT_RETURN_IF_ERROR(capture(shape));
    LLMOPT_CUDA_TRY(driver_, what, cuGraphLaunch, shape.graph, device_.stream());
  }
  ++shape.runs;
  if (!draw_.choices.empty())
    LLMOPT_RETURN_IF_ERROR(drawTokens(shape));
  for (size_t i = 0; i < outputs.size(); ++i)
    if (outputs[i].data && outputs[i].bytes)
      LLMOPT_CUDA_TRY(driver_, what, cuMemcpyDtoHAsync_v2, outputs[i].data, shape.addresses[entry_.outputs[i]], outputs[i].bytes, device_.stream());
  return device_.synchronize(what);
}
