//===- Driver.h - NVIDIA's driver by dlopen ---------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The entry points of libcuda.so.1 that the runtime uses, declared here as cuda.h declares them, so that neither building nor starting
// needs anything of NVIDIA's. LLMOPT_LIBCUDA names another library (tests: the stand-in that runs host images).
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_CUDA_DRIVER_H
#define LLMOPT_RUNTIME_CUDA_DRIVER_H

#include "llmopt/lib/Support/Status.h"

#include <cstddef>
#include <cstdint>

namespace llmopt::cuda {

using DevicePointer = uint64_t; ///< CUdeviceptr
using Context = struct OpaqueContext *;
using Stream = struct OpaqueStream *;
using Module = struct OpaqueModule *;
using Function = struct OpaqueFunction *;
using Graph = struct OpaqueGraph *;
using GraphExec = struct OpaqueGraphExec *;
using MemoryHandle = uint64_t;

/// CUmemLocation, CUmemAllocationProp and CUmemAccessDesc.
struct MemoryLocation {
  int type = 1; ///< a device
  int device = 0;
};
struct MemoryProperties {
  int type = 1; ///< pinned
  int handleTypes = 0;
  MemoryLocation location;
  void *windowsMetaData = nullptr;
  unsigned char compression = 0, rdma = 0;
  unsigned short usage = 0;
  unsigned char reserved[4] = {};
};
struct MemoryAccess {
  MemoryLocation location;
  int flags = 3; ///< read and write
};

/// CUlaunchAttribute, where it is a number, and CUlaunchConfig.
struct LaunchAttribute {
  enum Id : int { ProgrammaticStreamSerialization = 6 };
  Id id = ProgrammaticStreamSerialization;
  int padding = 0;
  int value = 1;
  unsigned char reserved[60] = {};
};
struct LaunchConfig {
  unsigned grid[3] = {1, 1, 1}, block[3] = {1, 1, 1}, sharedBytes = 0;
  Stream stream = nullptr;
  LaunchAttribute *attributes = nullptr;
  unsigned attributeCount = 0;
};
static_assert(sizeof(LaunchAttribute) == 72 && sizeof(LaunchConfig) == 56);

/// CUtensorMap and CUtensorMapDataType.
struct alignas(64) TensorMap {
  uint64_t words[16];
};
enum class TensorMapType : int { U8 = 0, F16 = 6, F32 = 7, BF16 = 9 };

enum class DeviceAttribute : int { MultiprocessorCount = 16, CapabilityMajor = 75, CapabilityMinor = 76 };
enum class FunctionAttribute : int { MaxDynamicSharedBytes = 8 };

#define LLMOPT_CUDA_CALLS(CALL)                                                                                        \
  CALL(cuInit, unsigned)                                                                                               \
  CALL(cuDriverGetVersion, int *)                                                                                      \
  CALL(cuGetErrorString, int, const char **)                                                                           \
  CALL(cuDeviceGetCount, int *)                                                                                        \
  CALL(cuDeviceGet, int *, int)                                                                                        \
  CALL(cuDeviceGetName, char *, int, int)                                                                              \
  CALL(cuDeviceGetAttribute, int *, DeviceAttribute, int)                                                              \
  CALL(cuDevicePrimaryCtxRetain, Context *, int)                                                                       \
  CALL(cuDevicePrimaryCtxRelease_v2, int)                                                                              \
  CALL(cuCtxSetCurrent, Context)                                                                                       \
  CALL(cuMemGetInfo_v2, size_t *, size_t *)                                                                            \
  CALL(cuStreamCreate, Stream *, unsigned)                                                                             \
  CALL(cuStreamDestroy_v2, Stream)                                                                                     \
  CALL(cuStreamSynchronize, Stream)                                                                                    \
  CALL(cuStreamBeginCapture_v2, Stream, int)                                                                           \
  CALL(cuStreamEndCapture, Stream, Graph *)                                                                            \
  CALL(cuGraphInstantiateWithFlags, GraphExec *, Graph, unsigned long long)                                            \
  CALL(cuGraphLaunch, GraphExec, Stream)                                                                               \
  CALL(cuGraphExecDestroy, GraphExec)                                                                                  \
  CALL(cuGraphDestroy, Graph)                                                                                          \
  CALL(cuModuleLoadData, Module *, const void *)                                                                       \
  CALL(cuModuleUnload, Module)                                                                                         \
  CALL(cuModuleGetFunction, Function *, Module, const char *)                                                          \
  CALL(cuFuncSetAttribute, Function, FunctionAttribute, int)                                                           \
  CALL(cuLaunchKernel, Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Stream, void **, void **) \
  CALL(cuLaunchKernelEx, const LaunchConfig *, Function, void **, void **)                                              \
  CALL(cuTensorMapEncodeTiled, TensorMap *, TensorMapType, unsigned, DevicePointer, const uint64_t *, const uint64_t *, const uint32_t *,   \
       const uint32_t *, int, int, int, int)                                                                           \
  CALL(cuMemAlloc_v2, DevicePointer *, size_t)                                                                         \
  CALL(cuMemFree_v2, DevicePointer)                                                                                    \
  CALL(cuMemHostAlloc, void **, size_t, unsigned)                                                                      \
  CALL(cuMemFreeHost, void *)                                                                                          \
  CALL(cuMemcpyHtoDAsync_v2, DevicePointer, const void *, size_t, Stream)                                              \
  CALL(cuMemcpyDtoHAsync_v2, void *, DevicePointer, size_t, Stream)                                                    \
  CALL(cuMemcpyDtoDAsync_v2, DevicePointer, DevicePointer, size_t, Stream)                                             \
  CALL(cuMemGetAllocationGranularity, size_t *, const MemoryProperties *, int)                                         \
  CALL(cuMemAddressReserve, DevicePointer *, size_t, size_t, DevicePointer, unsigned long long)                        \
  CALL(cuMemAddressFree, DevicePointer, size_t)                                                                        \
  CALL(cuMemCreate, MemoryHandle *, size_t, const MemoryProperties *, unsigned long long)                              \
  CALL(cuMemRelease, MemoryHandle)                                                                                     \
  CALL(cuMemMap, DevicePointer, size_t, size_t, MemoryHandle, unsigned long long)                                      \
  CALL(cuMemUnmap, DevicePointer, size_t)                                                                              \
  CALL(cuMemSetAccess, DevicePointer, size_t, const MemoryAccess *, size_t)

/// The loaded library; one for the process, never unloaded.
struct Driver {
#define LLMOPT_CUDA_MEMBER(name, ...) int (*name)(__VA_ARGS__) = nullptr;
  LLMOPT_CUDA_CALLS(LLMOPT_CUDA_MEMBER)
#undef LLMOPT_CUDA_MEMBER
  bool runsHostImages = false; ///< the stand-in

  /// E1801 when there is no driver, or one too old.
  static Result<const Driver *> load();
  /// E1802 naming the call, what the driver says, and what it was for.
  Status check(int code, const char *call, const std::string &context) const;
};

/// Returns the error of a driver call.
#define LLMOPT_CUDA_TRY(driver, context, call, ...) LLMOPT_RETURN_IF_ERROR((driver).check((driver).call(__VA_ARGS__), #call, context))

} // namespace llmopt::cuda

#endif // LLMOPT_RUNTIME_CUDA_DRIVER_H
