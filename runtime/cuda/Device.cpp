//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/cuda/Device.h"

#include "llmopt/lib/Support/CheckedMath.h"

#include <algorithm>
#include <cstring>

using namespace llmopt;
using namespace llmopt::cuda;

Result<std::shared_ptr<Device>> Device::open(int index) {
  LLMOPT_ASSIGN(const Driver *driver, Driver::load());
  std::shared_ptr<Device> device(new Device(*driver, index));
  std::string context = "GPU " + std::to_string(index);
  int count = 0;
  LLMOPT_CUDA_TRY(*driver, context, cuDeviceGetCount, &count);
  if (index >= count)
    return unsupported("E1803", "there is no " + context + ": the driver sees " + std::to_string(count));
  LLMOPT_CUDA_TRY(*driver, context, cuDeviceGet, &device->handle_, index);
  char name[256] = {};
  LLMOPT_CUDA_TRY(*driver, context, cuDeviceGetName, name, int(sizeof(name)) - 1, device->handle_);
  device->name_ = name;
  int major = 0, minor = 0;
  LLMOPT_CUDA_TRY(*driver, context, cuDeviceGetAttribute, &major, DeviceAttribute::CapabilityMajor, device->handle_);
  LLMOPT_CUDA_TRY(*driver, context, cuDeviceGetAttribute, &minor, DeviceAttribute::CapabilityMinor, device->handle_);
  device->capability_ = major * 10 + minor;
  LLMOPT_CUDA_TRY(*driver, context, cuDeviceGetAttribute, &device->multiprocessors_, DeviceAttribute::MultiprocessorCount, device->handle_);
  LLMOPT_CUDA_TRY(*driver, context, cuDevicePrimaryCtxRetain, &device->context_, device->handle_);
  LLMOPT_RETURN_IF_ERROR(device->makeCurrent());
  size_t free = 0, total = 0;
  LLMOPT_CUDA_TRY(*driver, context, cuMemGetInfo_v2, &free, &total);
  device->totalBytes_ = total;
  constexpr unsigned kNonBlocking = 1;
  LLMOPT_CUDA_TRY(*driver, context, cuStreamCreate, &device->stream_, kNonBlocking);
  return device;
}

Device::~Device() {
  if (stream_)
    driver_.cuStreamDestroy_v2(stream_);
  if (context_)
    driver_.cuDevicePrimaryCtxRelease_v2(handle_);
}

Status Device::makeCurrent() const { return driver_.check(driver_.cuCtxSetCurrent(context_), "cuCtxSetCurrent", name_); }

Status Device::synchronize(const std::string &context) const {
  return driver_.check(driver_.cuStreamSynchronize(stream_), "cuStreamSynchronize", context);
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Result<GrowingDeviceMemory> GrowingDeviceMemory::create(std::shared_ptr<Device> device, uint64_t limit, std::string what) {
  GrowingDeviceMemory memory;
  const Driver &driver = device->driver();
  MemoryProperties properties{.location = {1, device->index()}};
  size_t granule = 0;
  LLMOPT_CUDA_TRY(driver, what, cuMemGetAllocationGranularity, &granule, &properties, /*minimum=*/0);
  memory.granule_ = std::max<size_t>(granule, 1);
  uint64_t bytes = uint64_t(roundUp(int64_t(std::max<uint64_t>(limit, 1)), int64_t(memory.granule_)));
  LLMOPT_CUDA_TRY(driver, what, cuMemAddressReserve, &memory.address_, bytes, 0, 0, 0);
  memory.reserved_ = bytes;
  memory.device_ = std::move(device);
  memory.what_ = std::move(what);
  return memory;
}

GrowingDeviceMemory &GrowingDeviceMemory::operator=(GrowingDeviceMemory &&other) noexcept {
  std::swap(device_, other.device_);
  std::swap(what_, other.what_);
  std::swap(address_, other.address_);
  std::swap(reserved_, other.reserved_);
  std::swap(usable_, other.usable_);
  std::swap(granule_, other.granule_);
  std::swap(pieces_, other.pieces_);
  return *this;
}

GrowingDeviceMemory::~GrowingDeviceMemory() {
  if (!device_)
    return;
  const Driver &driver = device_->driver();
  for (const Piece &piece : pieces_) {
    driver.cuMemUnmap(address_ + piece.offset, piece.bytes);
    driver.cuMemRelease(piece.handle);
  }
  driver.cuMemAddressFree(address_, reserved_);
}

Status GrowingDeviceMemory::grow(uint64_t size) {
  if (size > reserved_)
    return limitExceeded("E1502", what_ + " would need " + std::to_string(size) + " bytes; " + std::to_string(reserved_) + " may be used",
                         device_->name());
  const Driver &driver = device_->driver();
  // Half as much again, so that growing step by step does not ask the driver each time.
  uint64_t wanted = std::min(reserved_, std::max(size, usable_ + usable_ / 2));
  Piece piece{0, usable_, uint64_t(roundUp(int64_t(wanted), int64_t(granule_))) - usable_};
  MemoryProperties properties{.location = {1, device_->index()}};
  MemoryAccess access{.location = properties.location};
  LLMOPT_CUDA_TRY(driver, what_, cuMemCreate, &piece.handle, piece.bytes, &properties, 0);
  if (int code = driver.cuMemMap(address_ + piece.offset, piece.bytes, 0, piece.handle, 0)) {
    driver.cuMemRelease(piece.handle);
    return driver.check(code, "cuMemMap", what_);
  }
  pieces_.push_back(piece);
  LLMOPT_CUDA_TRY(driver, what_, cuMemSetAccess, address_ + piece.offset, piece.bytes, &access, 1);
  usable_ += piece.bytes;
  return {};
}

PinnedMemory::~PinnedMemory() {
  if (data_)
    device_->driver().cuMemFreeHost(data_);
}

Status PinnedMemory::ensure(uint64_t size) {
  if (size <= size_)
    return {};
  const Driver &driver = device_->driver();
  void *data = nullptr;
  uint64_t bytes = std::max(size, 2 * size_);
  LLMOPT_CUDA_TRY(driver, "staging memory", cuMemHostAlloc, &data, bytes, 0u);
  if (data_)
    driver.cuMemFreeHost(data_);
  data_ = static_cast<std::byte *>(data);
  size_ = bytes;
  return {};
}

Result<std::unique_ptr<DeviceMemory>> DeviceMemory::allocate(std::shared_ptr<Device> device, uint64_t size, const std::string &what) {
  std::unique_ptr<DeviceMemory> memory(new DeviceMemory(device));
  LLMOPT_CUDA_TRY(device->driver(), what, cuMemAlloc_v2, &memory->address_, size);
  return memory;
}

DeviceMemory::~DeviceMemory() {
  if (address_)
    device_->driver().cuMemFree_v2(address_);
}

Status Uploader::send(DevicePointer to, std::span<const std::byte> bytes) {
  constexpr uint64_t kChunk = uint64_t(16) << 20;
  LLMOPT_RETURN_IF_ERROR(staging_.ensure(std::min<uint64_t>(kChunk, bytes.size())));
  for (uint64_t offset = 0; offset < bytes.size(); offset += kChunk) {
    uint64_t piece = std::min(kChunk, bytes.size() - offset);
    std::memcpy(staging_.data(), bytes.data() + offset, piece);
    LLMOPT_CUDA_TRY(device_->driver(), what_, cuMemcpyHtoDAsync_v2, to + offset, staging_.data(), piece, device_->stream());
    LLMOPT_RETURN_IF_ERROR(device_->synchronize(what_));
  }
  return {};
}

Result<std::unique_ptr<DeviceWeights>> DeviceWeights::upload(std::shared_ptr<Device> device, const plan::Plan &plan, std::span<const std::byte> section) {
  constexpr uint64_t kAlignment = 256, kFront = 64, kTail = 4096; // kernels may read so many bytes around a tensor
  constexpr uint64_t kMost = uint64_t(1) << 42;
  auto weights = std::make_unique<DeviceWeights>();
  for (const plan::Entry &entry : plan.entries)
    for (const plan::Buffer &buffer : entry.buffers)
      if (buffer.kind == plan::BufferKind::Weight) {
        const plan::Weight &weight = plan.weights[buffer.index];
        if (weight.offset % 64 != 0 || weight.offset > kMost || weight.bytes > kMost)
          return badInput("E0208", "the plan is invalid: weight '" + weight.name + "' lies outside the weight section").error();
        Place &place = weights->places_[weight.offset];
        place.bytes = std::max(place.bytes, weight.bytes);
      }
  // Neighbours in the file stay neighbours, and travel together.
  struct Run {
    uint64_t offset, end, at;
  };
  std::vector<Run> runs;
  uint64_t end = 0;
  for (auto &[offset, place] : weights->places_) {
    if (runs.empty() || offset < runs.back().end || offset - runs.back().end >= kAlignment)
      runs.push_back({offset, offset, uint64_t(roundUp(int64_t(end + kFront), kAlignment))});
    place.at = runs.back().at + (offset - runs.back().offset);
    runs.back().end = offset + place.bytes;
    end = place.at + place.bytes;
    place.filled = runs.back().end <= section.size();
  }
  if (runs.empty())
    return weights;
  LLMOPT_ASSIGN(weights->memory_, DeviceMemory::allocate(device, end + kTail, "the weights"));
  Uploader uploader(device, "the weights");
  for (const Run &run : runs)
    if (run.offset < section.size()) {
      uint64_t bytes = std::min<uint64_t>(run.end, section.size()) - run.offset;
      LLMOPT_RETURN_IF_ERROR(uploader.send(weights->memory_->address() + run.at, section.subspan(run.offset, bytes)));
    }
  return weights;
}

std::optional<DevicePointer> DeviceWeights::claim(uint64_t offset, uint64_t bytes) {
  auto it = places_.find(offset);
  if (it == places_.end() || it->second.bytes != bytes)
    return std::nullopt;
  it->second.filled = true;
  return memory_->address() + it->second.at;
}

std::optional<DevicePointer> DeviceWeights::find(uint64_t offset, uint64_t bytes) const {
  auto it = places_.find(offset);
  return it == places_.end() || !it->second.filled || bytes > it->second.bytes ? std::nullopt : std::optional(memory_->address() + it->second.at);
}

namespace {
class DeviceBlocks final : public BlockMemory {
public:
  DeviceBlocks(std::shared_ptr<Device> device, GrowingDeviceMemory memory) : device_(std::move(device)), memory_(std::move(memory)) {}
  std::byte *data() const override { return reinterpret_cast<std::byte *>(memory_.address()); }
  Status ensure(uint64_t size) override {
    LLMOPT_RETURN_IF_ERROR(device_->makeCurrent());
    return memory_.ensure(size);
  }
  /// In the stream, so after the steps that wrote the block and before those that will read it.
  Status copy(uint64_t to, uint64_t from, uint64_t bytes) override {
    LLMOPT_RETURN_IF_ERROR(device_->makeCurrent());
    const Driver &driver = device_->driver();
    LLMOPT_CUDA_TRY(driver, "the key-value cache", cuMemcpyDtoDAsync_v2, memory_.address() + to, memory_.address() + from, bytes, device_->stream());
    return {};
  }

private:
  std::shared_ptr<Device> device_;
  GrowingDeviceMemory memory_;
};
} // namespace

Result<std::unique_ptr<BlockMemory>> cuda::makeDeviceBlocks(std::shared_ptr<Device> device, uint64_t limit) {
  LLMOPT_ASSIGN(GrowingDeviceMemory memory, GrowingDeviceMemory::create(device, limit, "the key-value cache"));
  return std::unique_ptr<BlockMemory>(new DeviceBlocks(std::move(device), std::move(memory)));
}
