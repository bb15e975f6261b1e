//===- CompilerCommands.cpp - compilers that are programs -----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// clang with ptxas, nvcc, and a host compiler for emulation.
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/Compilers.h"
#include "codegen/CUDA/Programs.h"
#include "codegen/CUDA/Ptxas.h"
#include "llmopt/lib/Target/PortableCode.h"

#include "llvm/Config/llvm-config.h"

using namespace llmopt;
using namespace llmopt::cuda;

namespace {

/// PTX to what is asked for: an image by ptxas, or the PTX for the driver to compile where there is no ptxas.
Result<CompiledUnit> finish(std::string text, std::string log, const std::optional<Ptxas> &ptxas, const Target &target, bool ptx) {
  CompiledUnit compiled{"ptx", {}, std::move(text), std::move(log)};
  if (!ptx && ptxas) {
    compiled.form = "cubin";
    LLMOPT_ASSIGN(compiled.image, ptxas->assemble(compiled.ptx, target, compiled.log));
  } else {
    compiled.image = compiled.ptx + '\0';
  }
  return compiled;
}

class Clang : public DeviceCompiler {
public:
  Clang(std::string clang, std::optional<Ptxas> ptxas) : clang_(std::move(clang)), ptxas_(std::move(ptxas)) {
    id_ = "clang: " + versionOf(clang_) + (ptxas_ ? ", ptxas: " + ptxas_->id() : "");
  }
  std::string id() const override { return id_; }

  Result<CompiledUnit> compile(const KernelUnit &unit, const Target &target, bool ptx) const override {
    WorkFolder folder;
    LLMOPT_RETURN_IF_ERROR(folder.create(unit.source));
    std::string version = target.computeCapability >= 100 ? "+ptx86" : target.computeCapability >= 90 ? "+ptx84" : "+ptx80", log; // wgmma of unsigned by signed bytes: 8.4
    std::string architecture = isPortable(target) ? "sm_" + std::to_string(target.computeCapability) : target.gpuArchitecture; // clang has one name for both
    LLMOPT_RETURN_IF_ERROR(folder.run(clang_,
                                      {"-x", "cuda", "--cuda-device-only", "--cuda-gpu-arch=" + architecture, "-nocudainc", "-nocudalib",
                                       "-std=c++17", "-O3", "-fms-extensions", unit.exact ? "-ffp-contract=off" : "-ffp-contract=fast",
                                       "-mllvm", unit.exact ? "-nvptx-prec-divf32=2" : "-nvptx-prec-divf32=1", "--cuda-feature=" + version, "-Wno-unknown-cuda-version", "-Wno-unused-command-line-argument", "-S",
                                       folder.file("unit.cu"), "-o", folder.file("unit.ptx")},
                                      log));
    return finish(folder.read("unit.ptx"), log, ptxas_, target, ptx);
  }

private:
  std::string clang_, id_;
  std::optional<Ptxas> ptxas_;
};

class Nvcc : public DeviceCompiler {
public:
  Nvcc(std::string nvcc, std::optional<Ptxas> ptxas) : nvcc_(std::move(nvcc)), ptxas_(std::move(ptxas)) {
    id_ = "nvcc: " + versionOf(nvcc_) + (ptxas_ ? ", ptxas: " + ptxas_->id() : "");
  }
  std::string id() const override { return id_; }

  Result<CompiledUnit> compile(const KernelUnit &unit, const Target &target, bool ptx) const override {
    WorkFolder folder;
    LLMOPT_RETURN_IF_ERROR(folder.create(unit.source));
    std::string log;
    LLMOPT_RETURN_IF_ERROR(folder.run(nvcc_,
                                      {"-arch=" + target.gpuArchitecture, "-std=c++17", "-ptx", unit.exact ? "-fmad=false" : "-prec-div=false",
                                       folder.file("unit.cu"), "-o", folder.file("unit.ptx")},
                                      log));
    return finish(folder.read("unit.ptx"), log, ptxas_, target, ptx);
  }

private:
  std::string nvcc_, id_;
  std::optional<Ptxas> ptxas_;
};

/// No program but ptxas, if it is there: units come as PTX (NvptxEmitter.h).
class Llvm : public DeviceCompiler {
public:
  explicit Llvm(std::optional<Ptxas> ptxas) : id_("llvm " LLVM_VERSION_STRING + (ptxas ? ", ptxas: " + ptxas->id() : "")) {}
  std::string id() const override { return id_; }
  bool takesText() const override { return false; }
  Result<CompiledUnit> compile(const KernelUnit &unit, const Target &, bool) const override {
    return unsupported("E0988", "--cuda-compiler=llvm does not take CUDA C++, which '" + unit.name() + "' is; use nvrtc, clang or nvcc");
  }

private:
  std::string id_;
};

/// Host images: the same text, for the stand-in driver.
class Emulator : public DeviceCompiler {
public:
  explicit Emulator(std::string compiler) : compiler_(std::move(compiler)), id_("emulate: " + versionOf(compiler_)) {
    fma_ = missingFeatures(findTarget("x86-64-v3")->features).empty();
  }
  std::string id() const override { return id_ + (fma_ ? " v3" : ""); }

  Result<CompiledUnit> compile(const KernelUnit &unit, const Target &target, bool ptx) const override {
    if (ptx)
      return unsupported("E0983", "there is no PTX with --cuda-compiler=emulate; use --emit=cuda");
    WorkFolder folder;
    LLMOPT_RETURN_IF_ERROR(folder.create(unit.source));
    CompiledUnit compiled{"host", {}, {}, {}};
    std::vector<std::string> arguments = {"-x", "c++", "-std=c++17", "-O2", "-fPIC", "-shared", "-w", "-DLLMOPT_EMULATE", "-fno-strict-aliasing",
                                          unit.exact ? "-ffp-contract=off" : "-ffp-contract=fast", folder.file("unit.cu"), "-o", folder.file("unit.so")};
    if (fma_) // or each fused product would be a call
      arguments.push_back("-march=x86-64-v3");
    LLMOPT_RETURN_IF_ERROR(folder.run(compiler_, arguments, compiled.log));
    compiled.image = folder.read("unit.so");
    return compiled;
  }

private:
  std::string compiler_, id_;
  bool fma_ = false;
};

} // namespace

Result<std::unique_ptr<DeviceCompiler>> cuda::makeClang() {
  std::string clang = findProgram("LLMOPT_CLANG", {"clang++-22", "clang-22", "clang++"});
  if (clang.empty())
    return unsupported("E0982", "clang++-22 is not in the path");
  return std::unique_ptr<DeviceCompiler>(new Clang(clang, Ptxas::find()));
}

Result<std::unique_ptr<DeviceCompiler>> cuda::makeNvcc() {
  std::string nvcc = findProgram("LLMOPT_NVCC", {"nvcc"});
  if (nvcc.empty())
    return unsupported("E0982", "nvcc is not in the path");
  return std::unique_ptr<DeviceCompiler>(new Nvcc(nvcc, Ptxas::find()));
}

Result<std::unique_ptr<DeviceCompiler>> cuda::makeLlvm() { return std::unique_ptr<DeviceCompiler>(new Llvm(Ptxas::find())); }

Result<std::unique_ptr<DeviceCompiler>> cuda::makeEmulator() {
  std::string compiler = findProgram("CXX", {"clang++-22", "clang++", "g++", "c++"});
  if (compiler.empty())
    return unsupported("E0982", "--cuda-compiler=emulate needs a C++ compiler ($CXX, clang++ or g++)");
  return std::unique_ptr<DeviceCompiler>(new Emulator(compiler));
}
