//===- StandInDriver.cpp - a libcuda that runs host images ----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// For tests: LLMOPT_LIBCUDA=libllmopt_standin.so runs artifacts of --cuda-compiler=emulate through the real runtime. New device memory is
// full of NaN, launches are checked as the driver checks them, captured graphs keep the parameters they were captured with. A kernel launched before
// the one in front is done (programmatic dependent launch) has to wait for it; in every second place of a graph, the odd ones and the even ones in
// turn, the one in front does not start before.
// LLMOPT_STANDIN_CAPABILITY (90) is the compute capability it claims; to the file LLMOPT_STANDIN_COPIES it adds the bytes of each copy to the host.
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/kernels/tensor_map.cuh"
#include "runtime/cuda/Driver.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <elf.h>
#include <semaphore>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

using namespace llmopt::cuda;

namespace {

// CUresult.
constexpr int kSuccess = 0, kInvalidValue = 1, kOutOfMemory = 2, kInvalidImage = 200, kNotFound = 500, kLaunchFailed = 719, kNotSupported = 801;
constexpr size_t kPage = 2u << 20, kMemory = size_t(16) << 30;
constexpr int kPoison = 0xff; // NaN as a float, -1 as an index

/// As the host images have it (codegen/CUDA/kernels).
struct LaunchShape {
  unsigned grid[3], block[3], sharedBytes;
};
using LaunchFunction = const char *(*)(void **, const LaunchShape *);
using SizesFunction = const unsigned *(*)();

struct HostFunction {
  std::string name;
  LaunchFunction launch = nullptr;
  SizesFunction sizes = nullptr;
  void (**dependencies)() = nullptr; ///< what its threads call to wait for the kernels in front
  unsigned mostShared = 48 << 10;
};

/// A launch kept in a graph, with its own parameters.
struct alignas(TensorMap) Parameter {
  char bytes[sizeof(TensorMap)];
};
struct Recorded {
  HostFunction *function;
  LaunchShape shape;
  bool early; ///< the one in front need not be done
  std::vector<Parameter> parameters;
};

std::string lastError;
std::vector<Recorded> *capturing = nullptr;
size_t allocated = 0;

int run(const HostFunction &function, const LaunchShape &shape, void **parameters) {
  const char *problem = function.launch(parameters, &shape);
  if (!problem)
    return kSuccess;
  lastError = problem;
  return kLaunchFailed;
}

std::vector<void *> addresses(Recorded &recorded) {
  std::vector<void *> parameters;
  for (Parameter &parameter : recorded.parameters)
    parameters.push_back(parameter.bytes);
  return parameters;
}

/// Runs kernels while this thread is in the middle of another: the emulator's state is a thread's.
class OtherThread {
public:
  int run(Recorded &recorded) {
    work_ = &recorded;
    start_.release();
    done_.acquire();
    return code_;
  }

private:
  void loop() {
    for (;;) {
      start_.acquire();
      code_ = ::run(*work_->function, work_->shape, addresses(*work_).data());
      done_.release();
    }
  }
  Recorded *work_ = nullptr;
  int code_ = kSuccess;
  std::binary_semaphore start_{0}, done_{0};
  std::thread thread_{[this] { loop(); }};
};

/// What a kernel that runs early has in front of it: null where that is done.
Recorded *inFront = nullptr;
int codeInFront = kSuccess;
bool waited = false;

/// Runs a kernel, and the one in front of it when it waits for that.
int runEarly(const HostFunction &function, const LaunchShape &shape, void **parameters, Recorded *front) {
  inFront = front;
  codeInFront = kSuccess;
  waited = false;
  *function.dependencies = [] {
    waited = true;
    static auto *other = new OtherThread; // as long as the process
    if (Recorded *front = std::exchange(inFront, nullptr))
      codeInFront = other->run(*front);
  };
  int code = run(function, shape, parameters);
  *function.dependencies = nullptr;
  if (code == kSuccess && !waited) {
    lastError = "kernel '" + function.name + "' is launched before the one in front is done, and does not wait for it";
    return kLaunchFailed;
  }
  return codeInFront ? codeInFront : code;
}

/// Bytes of an ELF file in memory: it ends with its section headers.
size_t imageBytes(const void *image) {
  Elf64_Ehdr header;
  std::memcpy(&header, image, sizeof(header));
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_machine != EM_X86_64)
    return 0;
  return header.e_shoff + size_t(header.e_shnum) * header.e_shentsize;
}

} // namespace

#define DRIVER_CALL extern "C" __attribute__((visibility("default"))) int

extern "C" __attribute__((visibility("default"))) const int llmoptStandInDriver = 1;

DRIVER_CALL cuInit(unsigned) { return kSuccess; }
DRIVER_CALL cuDriverGetVersion(int *version) {
  *version = 13000;
  return kSuccess;
}
DRIVER_CALL cuGetErrorString(int code, const char **text) {
  switch (code) {
  case kInvalidValue: *text = "invalid argument"; break;
  case kOutOfMemory: *text = "out of memory"; break;
  case kInvalidImage: *text = "device kernel image is invalid"; break;
  case kNotFound: *text = "named symbol not found"; break;
  case kLaunchFailed: *text = lastError.c_str(); break;
  default: *text = "unknown error";
  }
  return kSuccess;
}

//===----------------------------------------------------------------------===//
// Device, streams
//===----------------------------------------------------------------------===//

DRIVER_CALL cuDeviceGetCount(int *count) {
  *count = 1;
  return kSuccess;
}
DRIVER_CALL cuDeviceGet(int *device, int index) {
  *device = index;
  return index == 0 ? kSuccess : kInvalidValue;
}
DRIVER_CALL cuDeviceGetName(char *name, int bytes, int) {
  std::snprintf(name, size_t(bytes), "llmopt stand-in");
  return kSuccess;
}
DRIVER_CALL cuDeviceGetAttribute(int *value, DeviceAttribute attribute, int) {
  const char *text = std::getenv("LLMOPT_STANDIN_CAPABILITY");
  int capability = text && *text ? std::atoi(text) : 90;
  *value = attribute == DeviceAttribute::MultiprocessorCount ? 2 : attribute == DeviceAttribute::CapabilityMajor ? capability / 10 : capability % 10;
  return kSuccess;
}
DRIVER_CALL cuDevicePrimaryCtxRetain(Context *context, int) {
  *context = reinterpret_cast<Context>(1);
  return kSuccess;
}
DRIVER_CALL cuDevicePrimaryCtxRelease_v2(int) { return kSuccess; }
DRIVER_CALL cuCtxSetCurrent(Context) { return kSuccess; }
DRIVER_CALL cuMemGetInfo_v2(size_t *free, size_t *total) {
  *free = kMemory - allocated;
  *total = kMemory;
  return kSuccess;
}
DRIVER_CALL cuStreamCreate(Stream *stream, unsigned) {
  *stream = reinterpret_cast<Stream>(1);
  return kSuccess;
}
DRIVER_CALL cuStreamDestroy_v2(Stream) { return kSuccess; }
DRIVER_CALL cuStreamSynchronize(Stream) { return capturing ? kInvalidValue : kSuccess; }

//===----------------------------------------------------------------------===//
// Modules and launches
//===----------------------------------------------------------------------===//

DRIVER_CALL cuModuleLoadData(Module *module, const void *image) {
  size_t bytes = imageBytes(image);
  if (bytes == 0)
    return kInvalidImage;
  int file = ::memfd_create("llmopt-kernels", MFD_CLOEXEC);
  for (size_t done = 0; done < bytes;) {
    ssize_t count = ::write(file, static_cast<const char *>(image) + done, bytes - done);
    if (count <= 0)
      return kInvalidImage;
    done += size_t(count);
  }
  void *library = ::dlopen(("/proc/self/fd/" + std::to_string(file)).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    std::fprintf(stderr, "stand-in driver: %s\n", ::dlerror());
    return kInvalidImage;
  }
  // The descriptor stays open: the loader knows libraries by device and inode, and a number used again is another file's.
  *module = reinterpret_cast<Module>(library);
  return kSuccess;
}
DRIVER_CALL cuModuleUnload(Module module) {
  ::dlclose(module);
  return kSuccess;
}
DRIVER_CALL cuModuleGetFunction(Function *function, Module module, const char *name) {
  auto *found = new HostFunction{name}; // as long as the process: functions have no end in the driver's interface
  found->launch = reinterpret_cast<LaunchFunction>(::dlsym(module, (found->name + "_launch").c_str()));
  found->sizes = reinterpret_cast<SizesFunction>(::dlsym(module, (found->name + "_sizes").c_str()));
  found->dependencies = reinterpret_cast<void (**)()>(::dlsym(module, "llmopt_dependencies"));
  *function = reinterpret_cast<Function>(found);
  return found->launch ? kSuccess : kNotFound;
}
DRIVER_CALL cuFuncSetAttribute(Function function, FunctionAttribute attribute, int value) {
  if (attribute != FunctionAttribute::MaxDynamicSharedBytes || value < 0 || value > (227 << 10))
    return kInvalidValue;
  reinterpret_cast<HostFunction *>(function)->mostShared = unsigned(value);
  return kSuccess;
}
DRIVER_CALL cuLaunchKernelEx(const LaunchConfig *config, Function function, void **parameters, void **) {
  auto *kernel = reinterpret_cast<HostFunction *>(function);
  auto [gridX, gridY, gridZ] = config->grid;
  auto [blockX, blockY, blockZ] = config->block;
  uint64_t threads = uint64_t(blockX) * blockY * blockZ;
  if (gridX == 0 || gridY == 0 || gridZ == 0 || gridX > INT32_MAX || gridY > 65535 || gridZ > 65535 || threads == 0 || threads > 1024 ||
      config->sharedBytes > kernel->mostShared)
    return kInvalidValue;
  bool early = false;
  for (unsigned i = 0; i < config->attributeCount; ++i) {
    const LaunchAttribute &attribute = config->attributes[i];
    if (attribute.id != LaunchAttribute::ProgrammaticStreamSerialization || !kernel->dependencies)
      return kInvalidValue;
    early = attribute.value != 0;
  }
  LaunchShape shape{{gridX, gridY, gridZ}, {blockX, blockY, blockZ}, config->sharedBytes};
  if (!capturing)
    return early ? runEarly(*kernel, shape, parameters, nullptr) : run(*kernel, shape, parameters);
  if (!kernel->sizes)
    return kNotSupported;
  Recorded recorded{kernel, shape, early, {}};
  for (const unsigned *size = kernel->sizes(); *size; ++size, ++parameters) {
    if (*size > sizeof(Parameter))
      return kNotSupported;
    std::memcpy(recorded.parameters.emplace_back().bytes, *parameters, *size);
  }
  capturing->push_back(std::move(recorded));
  return kSuccess;
}
DRIVER_CALL cuLaunchKernel(Function function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX, unsigned blockY, unsigned blockZ,
                           unsigned sharedBytes, Stream stream, void **parameters, void **extra) {
  LaunchConfig config{{gridX, gridY, gridZ}, {blockX, blockY, blockZ}, sharedBytes, stream};
  return cuLaunchKernelEx(&config, function, parameters, extra);
}

DRIVER_CALL cuTensorMapEncodeTiled(TensorMap *map, TensorMapType type, unsigned rank, DevicePointer address, const uint64_t *sizes, const uint64_t *strides,
                                   const uint32_t *box, const uint32_t *steps, int interleave, int swizzle, int, int fill) {
  emulation::TensorMapWords words{};
  if (rank < 1 || rank > 5 || interleave != 0 || fill != 0 || swizzle < 0 || swizzle > 3)
    return kInvalidValue;
  words.magic = emulation::TensorMapWords::kMagic;
  words.address = address;
  words.elementBytes = type == TensorMapType::F32 ? 4 : type == TensorMapType::U8 ? 1 : 2;
  words.rank = static_cast<unsigned char>(rank);
  words.swizzleBytes = static_cast<unsigned char>(swizzle ? 16 << swizzle : 0);
  for (unsigned i = 0; i < rank; ++i) {
    if (steps[i] != 1)
      return kInvalidValue;
    words.sizes[i] = sizes[i];
    words.box[i] = static_cast<unsigned short>(box[i]);
    if (i)
      words.strides[i - 1] = strides[i - 1];
  }
  if (const char *broken = emulation::checkTensorMap(words)) {
    std::fprintf(stderr, "stand-in driver: tensor map: %s\n", broken);
    return kInvalidValue;
  }
  static_assert(sizeof(words) == sizeof(*map));
  std::memcpy(map, &words, sizeof(words));
  return kSuccess;
}

//===----------------------------------------------------------------------===//
// Events: for programs that measure
//===----------------------------------------------------------------------===//

using Instant = std::chrono::steady_clock::time_point;
DRIVER_CALL cuEventCreate(Instant **event, unsigned) {
  *event = new Instant;
  return kSuccess;
}
DRIVER_CALL cuEventRecord(Instant *event, Stream) {
  *event = std::chrono::steady_clock::now();
  return capturing ? kInvalidValue : kSuccess;
}
DRIVER_CALL cuEventElapsedTime(float *milliseconds, const Instant *from, const Instant *to) {
  *milliseconds = std::chrono::duration<float, std::milli>(*to - *from).count();
  return kSuccess;
}

//===----------------------------------------------------------------------===//
// Graphs
//===----------------------------------------------------------------------===//

DRIVER_CALL cuStreamBeginCapture_v2(Stream, int) {
  if (capturing)
    return kInvalidValue;
  capturing = new std::vector<Recorded>;
  return kSuccess;
}
DRIVER_CALL cuStreamEndCapture(Stream, Graph *graph) {
  if (!capturing)
    return kInvalidValue;
  *graph = reinterpret_cast<Graph>(capturing);
  capturing = nullptr;
  return kSuccess;
}
DRIVER_CALL cuGraphInstantiateWithFlags(GraphExec *exec, Graph graph, unsigned long long) {
  *exec = reinterpret_cast<GraphExec>(new std::vector<Recorded>(*reinterpret_cast<std::vector<Recorded> *>(graph)));
  return kSuccess;
}
DRIVER_CALL cuGraphLaunch(GraphExec exec, Stream) {
  static size_t launches = 0;
  size_t late = ++launches % 2;
  Recorded *front = nullptr;
  auto &all = *reinterpret_cast<std::vector<Recorded> *>(exec);
  for (size_t i = 0; i < all.size(); ++i) {
    Recorded &next = all[i];
    if (i % 2 == late && i + 1 < all.size() && all[i + 1].early) {
      front = &next;
      continue;
    }
    std::vector<void *> parameters = addresses(next);
    int code = next.early ? runEarly(*next.function, next.shape, parameters.data(), std::exchange(front, nullptr))
                          : run(*next.function, next.shape, parameters.data());
    if (code)
      return code;
  }
  return kSuccess;
}
DRIVER_CALL cuGraphExecDestroy(GraphExec exec) {
  delete reinterpret_cast<std::vector<Recorded> *>(exec);
  return kSuccess;
}
DRIVER_CALL cuGraphDestroy(Graph graph) {
  delete reinterpret_cast<std::vector<Recorded> *>(graph);
  return kSuccess;
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

DRIVER_CALL cuMemAlloc_v2(DevicePointer *pointer, size_t bytes) {
  if (bytes == 0)
    return kInvalidValue;
  void *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (!memory)
    return kOutOfMemory;
  std::memset(memory, kPoison, bytes);
  *pointer = reinterpret_cast<DevicePointer>(memory);
  return kSuccess;
}
DRIVER_CALL cuMemFree_v2(DevicePointer pointer) {
  std::free(reinterpret_cast<void *>(pointer));
  return kSuccess;
}
DRIVER_CALL cuMemHostAlloc(void **pointer, size_t bytes, unsigned) {
  *pointer = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  return *pointer ? kSuccess : kOutOfMemory;
}
DRIVER_CALL cuMemFreeHost(void *pointer) {
  std::free(pointer);
  return kSuccess;
}
DRIVER_CALL cuMemcpyHtoDAsync_v2(DevicePointer to, const void *from, size_t bytes, Stream) {
  if (capturing)
    return kNotSupported;
  std::memcpy(reinterpret_cast<void *>(to), from, bytes);
  return kSuccess;
}
DRIVER_CALL cuMemcpyDtoHAsync_v2(void *to, DevicePointer from, size_t bytes, Stream) {
  if (const char *path = std::getenv("LLMOPT_STANDIN_COPIES"))
    if (std::FILE *file = std::fopen(path, "a")) {
      std::fprintf(file, "%zu\n", bytes);
      std::fclose(file);
    }
  if (capturing)
    return kNotSupported;
  std::memcpy(to, reinterpret_cast<const void *>(from), bytes);
  return kSuccess;
}
DRIVER_CALL cuMemsetD8Async(DevicePointer to, unsigned char value, size_t bytes, Stream) {
  std::memset(reinterpret_cast<void *>(to), value, bytes);
  return capturing ? kNotSupported : kSuccess;
}
DRIVER_CALL cuMemcpyDtoDAsync_v2(DevicePointer to, DevicePointer from, size_t bytes, Stream) {
  if (capturing)
    return kNotSupported;
  std::memmove(reinterpret_cast<void *>(to), reinterpret_cast<const void *>(from), bytes);
  return kSuccess;
}
DRIVER_CALL cuMemGetAllocationGranularity(size_t *bytes, const MemoryProperties *, int) {
  *bytes = kPage;
  return kSuccess;
}
DRIVER_CALL cuMemAddressReserve(DevicePointer *pointer, size_t bytes, size_t, DevicePointer, unsigned long long) {
  void *range = bytes % kPage == 0 ? ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) : MAP_FAILED;
  *pointer = reinterpret_cast<DevicePointer>(range);
  return range == MAP_FAILED ? kInvalidValue : kSuccess;
}
DRIVER_CALL cuMemAddressFree(DevicePointer pointer, size_t bytes) {
  ::munmap(reinterpret_cast<void *>(pointer), bytes);
  return kSuccess;
}
DRIVER_CALL cuMemCreate(MemoryHandle *handle, size_t bytes, const MemoryProperties *, unsigned long long) {
  if (bytes % kPage != 0)
    return kInvalidValue;
  if (bytes > kMemory - allocated)
    return kOutOfMemory;
  allocated += bytes;
  *handle = bytes;
  return kSuccess;
}
DRIVER_CALL cuMemRelease(MemoryHandle handle) {
  allocated -= handle;
  return kSuccess;
}
DRIVER_CALL cuMemMap(DevicePointer pointer, size_t bytes, size_t, MemoryHandle, unsigned long long) {
  return pointer % kPage == 0 || bytes % kPage == 0 ? kSuccess : kInvalidValue;
}
DRIVER_CALL cuMemUnmap(DevicePointer pointer, size_t bytes) {
  ::mprotect(reinterpret_cast<void *>(pointer), bytes, PROT_NONE);
  return kSuccess;
}
DRIVER_CALL cuMemSetAccess(DevicePointer pointer, size_t bytes, const MemoryAccess *, size_t) {
  if (::mprotect(reinterpret_cast<void *>(pointer), bytes, PROT_READ | PROT_WRITE) != 0)
    return kOutOfMemory;
  std::memset(reinterpret_cast<void *>(pointer), kPoison, bytes);
  return kSuccess;
}
