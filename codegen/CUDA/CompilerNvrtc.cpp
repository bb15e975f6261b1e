//===- CompilerNvrtc.cpp - NVRTC by dlopen --------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/Compilers.h"
#include "codegen/CUDA/KernelSources.h"
#include "codegen/CUDA/Ptxas.h"

#include <cstdlib>
#include <dlfcn.h>
#include <filesystem>

using namespace llmopt;
using namespace llmopt::cuda;
namespace fs = std::filesystem;

namespace {

/// The entry points in use, as nvrtc.h declares them.
struct NvrtcApi {
  using Program = struct OpaqueProgram *;
  int (*nvrtcVersion)(int *, int *) = nullptr;
  const char *(*nvrtcGetErrorString)(int) = nullptr;
  int (*nvrtcCreateProgram)(Program *, const char *, const char *, int, const char *const *, const char *const *) = nullptr;
  int (*nvrtcDestroyProgram)(Program *) = nullptr;
  int (*nvrtcCompileProgram)(Program, int, const char *const *) = nullptr;
  int (*nvrtcGetProgramLogSize)(Program, size_t *) = nullptr;
  int (*nvrtcGetProgramLog)(Program, char *) = nullptr;
  int (*nvrtcGetCUBINSize)(Program, size_t *) = nullptr;
  int (*nvrtcGetCUBIN)(Program, char *) = nullptr;
  int (*nvrtcGetPTXSize)(Program, size_t *) = nullptr;
  int (*nvrtcGetPTX)(Program, char *) = nullptr;

  bool load(void *library) {
    bool all = true;
    auto bind = [&](auto &function, const char *name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
      all &= function != nullptr;
    };
    bind(nvrtcVersion, "nvrtcVersion");
    bind(nvrtcGetErrorString, "nvrtcGetErrorString");
    bind(nvrtcCreateProgram, "nvrtcCreateProgram");
    bind(nvrtcDestroyProgram, "nvrtcDestroyProgram");
    bind(nvrtcCompileProgram, "nvrtcCompileProgram");
    bind(nvrtcGetProgramLogSize, "nvrtcGetProgramLogSize");
    bind(nvrtcGetProgramLog, "nvrtcGetProgramLog");
    bind(nvrtcGetCUBINSize, "nvrtcGetCUBINSize");
    bind(nvrtcGetCUBIN, "nvrtcGetCUBIN");
    bind(nvrtcGetPTXSize, "nvrtcGetPTXSize");
    bind(nvrtcGetPTX, "nvrtcGetPTX");
    return all;
  }
};

class Nvrtc : public DeviceCompiler {
public:
  explicit Nvrtc(const NvrtcApi &api) : api_(api) {
    int major = 0, minor = 0;
    api_.nvrtcVersion(&major, &minor);
    id_ = "nvrtc " + std::to_string(major) + "." + std::to_string(minor) + (ptxas_ ? ", ptxas: " + ptxas_->id() : "");
  }
  std::string id() const override { return id_; }

  Result<CompiledUnit> compile(const KernelUnit &unit, const Target &target, bool ptx) const override {
    std::vector<std::string> headers; // zero-terminated copies
    std::vector<const char *> texts, names;
    for (const KernelSource &source : kernelSources())
      headers.emplace_back(source.text), headers.emplace_back(source.name);
    for (size_t i = 0; i < headers.size(); i += 2)
      texts.push_back(headers[i].c_str()), names.push_back(headers[i + 1].c_str());
    NvrtcApi::Program program = nullptr;
    if (int code = api_.nvrtcCreateProgram(&program, unit.source.c_str(), "unit.cu", int(texts.size()), texts.data(), names.data()))
      return internalError("E0983", std::string("nvrtcCreateProgram: ") + api_.nvrtcGetErrorString(code));
    std::string architecture = "-arch=" + target.gpuArchitecture;
    std::vector<const char *> options = {architecture.c_str(), "-std=c++17", "-diag-suppress=177", "-default-device", "--ptxas-options=-v"};
    options.push_back(unit.exact ? "-fmad=false" : "-prec-div=false"); // exact division is a call, which spills
    int code = api_.nvrtcCompileProgram(program, int(options.size()), options.data());
    CompiledUnit compiled{ptx ? "ptx" : "cubin", {}, {}, fetch(program, api_.nvrtcGetProgramLogSize, api_.nvrtcGetProgramLog)};
    if (code == 0) {
      compiled.ptx = compiled.image = fetch(program, api_.nvrtcGetPTXSize, api_.nvrtcGetPTX); // the image's PTX ends with a zero
      compiled.ptx.resize(compiled.ptx.find('\0') == std::string::npos ? compiled.ptx.size() : compiled.ptx.find('\0'));
      if (!ptx)
        compiled.image = fetch(program, api_.nvrtcGetCUBINSize, api_.nvrtcGetCUBIN);
    }
    api_.nvrtcDestroyProgram(&program);
    if (code != 0 || compiled.image.empty())
      return internalError("E0983", id_ + " refuses a unit for " + target.gpuArchitecture + ": " + api_.nvrtcGetErrorString(code) + "\n" + compiled.log);
    if (ptxas_ && !ptx) {
      compiled.log.clear();
      LLMOPT_ASSIGN(compiled.image, ptxas_->assemble(compiled.ptx, target, compiled.log));
    }
    return compiled;
  }

private:
  static std::string fetch(NvrtcApi::Program program, int (*size)(NvrtcApi::Program, size_t *), int (*get)(NvrtcApi::Program, char *)) {
    size_t bytes = 0;
    if (size(program, &bytes) != 0 || bytes == 0)
      return {};
    std::string text(bytes, '\0');
    return get(program, text.data()) == 0 ? text : std::string();
  }

  NvrtcApi api_;
  std::optional<Ptxas> ptxas_ = Ptxas::chosen();
  std::string id_;
};

/// Where the toolkit and Python packages put it.
std::vector<std::string> candidates() {
  if (const char *chosen = std::getenv("LLMOPT_NVRTC"); chosen && *chosen)
    return {chosen};
  std::vector<std::string> paths = {"libnvrtc.so.13", "libnvrtc.so.12"};
  for (const char *variable : {"CUDA_HOME", "CUDA_PATH"})
    if (const char *home = std::getenv(variable); home && *home)
      paths.push_back(std::string(home) + "/lib64/libnvrtc.so");
  paths.push_back("/usr/local/cuda/lib64/libnvrtc.so");
  if (const char *environment = std::getenv("VIRTUAL_ENV"); environment && *environment) {
    std::error_code error; // .../lib/python3.x/site-packages/nvidia/<package>/lib/libnvrtc.so.N
    for (const fs::directory_entry &python : fs::directory_iterator(std::string(environment) + "/lib", error))
      for (const fs::directory_entry &package : fs::directory_iterator(python.path() / "site-packages/nvidia", error))
        for (const char *name : {"libnvrtc.so.13", "libnvrtc.so.12"})
          if (fs::exists(package.path() / "lib" / name, error))
            paths.push_back((package.path() / "lib" / name).string());
  }
  return paths;
}

} // namespace

Result<std::unique_ptr<DeviceCompiler>> cuda::makeNvrtc() {
  for (const std::string &path : candidates()) {
    void *library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    NvrtcApi api;
    if (library && api.load(library))
      return std::unique_ptr<DeviceCompiler>(new Nvrtc(api));
  }
  return unsupported("E0982", "NVRTC was not found (libnvrtc.so.13 or .12 in the library path, $LLMOPT_NVRTC, $CUDA_HOME, $VIRTUAL_ENV)");
}
