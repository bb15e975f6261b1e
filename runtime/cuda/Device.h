//===- Device.h - one GPU in use --------------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_CUDA_DEVICE_H
#define LLMOPT_RUNTIME_CUDA_DEVICE_H

#include "llmopt/lib/Artifact/Plan.h"
#include "runtime/core/CachePool.h"
#include "runtime/cuda/Driver.h"

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace llmopt::cuda {

/// A context and a stream on a GPU. Calls are made current on whatever thread comes in.
class Device {
public:
  /// E1801 no driver, E1803 no such GPU.
  static Result<std::shared_ptr<Device>> open(int index);
  ~Device();

  const Driver &driver() const { return driver_; }
  Stream stream() const { return stream_; }
  int index() const { return index_; }
  const std::string &name() const { return name_; }
  int capability() const { return capability_; } ///< 90
  int multiprocessors() const { return multiprocessors_; }
  uint64_t totalBytes() const { return totalBytes_; }

  /// For the calling thread, before other calls.
  Status makeCurrent() const;
  /// Waits until all that was asked for is done; errors of kernels come out here.
  Status synchronize(const std::string &context) const;

private:
  explicit Device(const Driver &driver, int index) : driver_(driver), index_(index) {}
  const Driver &driver_;
  int index_ = 0, handle_ = 0, capability_ = 0, multiprocessors_ = 0;
  uint64_t totalBytes_ = 0;
  std::string name_;
  Context context_ = nullptr;
  Stream stream_ = nullptr;
};

/// Device memory whose address never changes while it grows.
class GrowingDeviceMemory {
public:
  static Result<GrowingDeviceMemory> create(std::shared_ptr<Device> device, uint64_t limit, std::string what);
  GrowingDeviceMemory() = default;
  GrowingDeviceMemory(GrowingDeviceMemory &&other) noexcept { *this = std::move(other); }
  GrowingDeviceMemory &operator=(GrowingDeviceMemory &&other) noexcept;
  ~GrowingDeviceMemory();

  Status ensure(uint64_t size) { return size <= usable_ ? Status() : grow(size); }
  DevicePointer address() const { return address_; }
  uint64_t limit() const { return reserved_; }

private:
  Status grow(uint64_t size);
  std::shared_ptr<Device> device_;
  std::string what_;
  DevicePointer address_ = 0;
  uint64_t reserved_ = 0, usable_ = 0, granule_ = 0;
  struct Piece {
    MemoryHandle handle;
    uint64_t offset, bytes;
  };
  std::vector<Piece> pieces_;
};

/// Page-locked host memory that the GPU reads directly. Growing loses its contents.
class PinnedMemory {
public:
  explicit PinnedMemory(std::shared_ptr<Device> device) : device_(std::move(device)) {}
  ~PinnedMemory();
  PinnedMemory(const PinnedMemory &) = delete;
  PinnedMemory &operator=(const PinnedMemory &) = delete;
  Status ensure(uint64_t size);
  std::byte *data() const { return data_; }

private:
  std::shared_ptr<Device> device_;
  std::byte *data_ = nullptr;
  uint64_t size_ = 0;
};

/// One allocation.
class DeviceMemory {
public:
  /// E1502 where the device has no room; `what` is for that.
  static Result<std::unique_ptr<DeviceMemory>> allocate(std::shared_ptr<Device> device, uint64_t size, const std::string &what);
  ~DeviceMemory();
  DevicePointer address() const { return address_; }

private:
  explicit DeviceMemory(std::shared_ptr<Device> device) : device_(std::move(device)) {}
  std::shared_ptr<Device> device_;
  DevicePointer address_ = 0;
};

/// What a plan reads of the weight section, on the device, and room for what is made there.
class DeviceWeights {
public:
  static Result<std::unique_ptr<DeviceWeights>> upload(std::shared_ptr<Device> device, const plan::Plan &plan, std::span<const std::byte> section);
  /// Room for a weight behind the section; nothing where no kernel of the plan reads it. Who asks fills it.
  std::optional<DevicePointer> claim(uint64_t offset, uint64_t bytes);
  /// A weight that was uploaded or claimed.
  std::optional<DevicePointer> find(uint64_t offset, uint64_t bytes) const;

private:
  std::unique_ptr<DeviceMemory> memory_;
  struct Place {
    uint64_t bytes = 0, at = 0;
    bool filled = false;
  };
  std::map<uint64_t, Place> places_; ///< by offset in the section, or behind it
};

/// Sends host bytes through page-locked memory in pieces: a file's pages are read once, in order.
class Uploader {
public:
  Uploader(std::shared_ptr<Device> device, std::string what) : device_(std::move(device)), what_(std::move(what)), staging_(device_) {}
  Status send(DevicePointer to, std::span<const std::byte> bytes);

private:
  std::shared_ptr<Device> device_;
  std::string what_;
  PinnedMemory staging_;
};

/// Key-value blocks on the device.
Result<std::unique_ptr<BlockMemory>> makeDeviceBlocks(std::shared_ptr<Device> device, uint64_t limit);

} // namespace llmopt::cuda

#endif // LLMOPT_RUNTIME_CUDA_DEVICE_H
