//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/cuda/Driver.h"

#include <cstdlib>
#include <dlfcn.h>
#include <memory>

using namespace llmopt;
using namespace llmopt::cuda;

namespace {

Result<std::unique_ptr<Driver>> open() {
  const char *chosen = std::getenv("LLMOPT_LIBCUDA");
  std::string name = chosen && *chosen ? chosen : "libcuda.so.1";
  void *library = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return unsupported("E1801", "there is no NVIDIA driver: " + name + " cannot be loaded").error();
  auto driver = std::make_unique<Driver>();
  std::string missing;
#define LLMOPT_CUDA_BIND(call, ...)                                                                                    \
  driver->call = reinterpret_cast<int (*)(__VA_ARGS__)>(::dlsym(library, #call));                                      \
  if (!driver->call && missing.empty())                                                                                \
    missing = #call;
  LLMOPT_CUDA_CALLS(LLMOPT_CUDA_BIND)
#undef LLMOPT_CUDA_BIND
  if (!missing.empty())
    return unsupported("E1801", "the NVIDIA driver is too old: " + name + " has no " + missing + "; CUDA 12 or later is needed").error();
  driver->runsHostImages = ::dlsym(library, "llmoptStandInDriver") != nullptr;
  if (int code = driver->cuInit(0)) {
    const char *text = nullptr;
    driver->cuGetErrorString(code, &text);
    return unsupported("E1801", "the NVIDIA driver does not start: " + std::string(text ? text : "unknown error")).error();
  }
  return driver;
}

} // namespace

Result<const Driver *> Driver::load() {
  static const Result<std::unique_ptr<Driver>> driver = open();
  if (!driver)
    return driver.error();
  return driver->get();
}

Status Driver::check(int code, const char *call, const std::string &context) const {
  if (code == 0)
    return {};
  const char *text = nullptr;
  cuGetErrorString(code, &text);
  std::string message = std::string(call) + ": " + (text ? text : "error " + std::to_string(code));
  constexpr int kOutOfMemory = 2;
  return code == kOutOfMemory ? limitExceeded("E1502", message, context) : internalError("E1802", message, context);
}
