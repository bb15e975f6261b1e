//===- CompilerCommands.cpp - compilers that are programs -----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// clang with ptxas, nvcc, and a host compiler for emulation. Each works in a folder of its own under the system's temporary one; no path
// goes into an image.
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/Compilers.h"
#include "codegen/CUDA/KernelSources.h"
#include "llmopt/lib/Support/File.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdlib>

using namespace llmopt;
using namespace llmopt::cuda;
using llvm::StringRef;

namespace {

std::string readAll(const std::string &path) {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  return buffer ? (*buffer)->getBuffer().str() : std::string();
}

/// A folder with the kernel sources and one unit.
class WorkFolder {
public:
  ~WorkFolder() {
    if (!path_.empty())
      llvm::sys::fs::remove_directories(path_);
  }
  Status create(const KernelUnit &unit) {
    if (std::error_code error = llvm::sys::fs::createUniqueDirectory("llmopt-kernels", path_))
      return unsupported("E0983", "no temporary folder for the CUDA compiler: " + error.message());
    for (const KernelSource &source : kernelSources())
      LLMOPT_RETURN_IF_ERROR(write(source.name, source.text));
    return write("unit.cu", unit.source);
  }
  std::string file(StringRef name) const { return (path_ + "/" + name).str(); }

  /// Runs a program; its output is appended to `log`.
  Status run(const std::string &program, const std::vector<std::string> &arguments, std::string &log) const {
    std::vector<StringRef> words = {program};
    for (const std::string &argument : arguments)
      words.push_back(argument);
    std::string output = file("log"), failure;
    std::optional<StringRef> redirects[] = {StringRef(""), StringRef(output), StringRef(output)};
    int code = llvm::sys::ExecuteAndWait(program, words, std::nullopt, redirects, /*SecondsToWait=*/600, 0, &failure);
    std::string said = readAll(output);
    log += said;
    if (code == 0)
      return {};
    return internalError("E0983", program + " failed (" + std::to_string(code) + ")" + (failure.empty() ? "" : ": " + failure) + "\n" + said);
  }

private:
  Status write(std::string_view name, std::string_view text) const {
    std::error_code error;
    llvm::raw_fd_ostream stream(file(name), error);
    stream << StringRef(text.data(), text.size());
    stream.close();
    return error || stream.has_error() ? unsupported("E0983", "cannot write " + file(name)) : Status();
  }
  llvm::SmallString<128> path_;
};

/// The program, or nothing; a variable of the environment goes first.
std::string findProgram(const char *variable, std::initializer_list<const char *> names) {
  if (const char *chosen = variable ? std::getenv(variable) : nullptr; chosen && *chosen)
    return chosen;
  std::string home = std::getenv("CUDA_HOME") ? std::string(std::getenv("CUDA_HOME")) + "/bin" : "/usr/local/cuda/bin";
  for (const char *name : names) {
    if (auto found = llvm::sys::findProgramByName(name))
      return *found;
    if (auto found = llvm::sys::findProgramByName(name, {home}))
      return *found;
  }
  return {};
}

/// The line of `program --version` that tells the version, for the cache's key.
std::string versionOf(const std::string &program) {
  WorkFolder folder;
  std::string log;
  if (!folder.create({}) || !folder.run(program, {"--version"}, log))
    return program;
  llvm::SmallVector<StringRef> lines;
  StringRef(log).split(lines, '\n');
  for (const char *word : {"release ", "version ", " ("})
    for (StringRef line : lines)
      if (line.contains(word))
        return line.trim().str();
  return program;
}

/// PTX to cubin; $LLMOPT_PTXAS chooses another one.
Status assemble(const WorkFolder &folder, const std::string &ptxas, const Target &target, std::string &log) {
  return folder.run(ptxas, {"-arch=" + target.gpuArchitecture, "-v", "-O3", folder.file("unit.ptx"), "-o", folder.file("unit.cubin")}, log);
}

class Clang : public DeviceCompiler {
public:
  Clang(std::string clang, std::string ptxas) : clang_(std::move(clang)), ptxas_(std::move(ptxas)) {
    id_ = "clang: " + versionOf(clang_) + (ptxas_.empty() ? "" : ", ptxas: " + versionOf(ptxas_));
  }
  std::string id() const override { return id_; }

  Result<CompiledUnit> compile(const KernelUnit &unit, const Target &target, bool ptx) const override {
    WorkFolder folder;
    LLMOPT_RETURN_IF_ERROR(folder.create(unit));
    CompiledUnit compiled;
    std::string version = target.computeCapability >= 100 ? "+ptx86" : "+ptx80";
    LLMOPT_RETURN_IF_ERROR(folder.run(clang_,
                                      {"-x", "cuda", "--cuda-device-only", "--cuda-gpu-arch=" + target.gpuArchitecture, "-nocudainc", "-nocudalib",
                                       "-std=c++17", "-O3", "-fms-extensions", unit.exact ? "-ffp-contract=off" : "-ffp-contract=fast",
                                       "-mllvm", unit.exact ? "-nvptx-prec-divf32=2" : "-nvptx-prec-divf32=1", "--cuda-feature=" + version, "-Wno-unknown-cuda-version", "-Wno-unused-command-line-argument", "-S",
                                       folder.file("unit.cu"), "-o", folder.file("unit.ptx")},
                                      compiled.log));
    // Without ptxas the driver compiles the PTX when it loads it.
    compiled.form = ptx || ptxas_.empty() ? "ptx" : "cubin";
    if (compiled.form == "cubin")
      LLMOPT_RETURN_IF_ERROR(assemble(folder, ptxas_, target, compiled.log));
    compiled.image = readAll(folder.file("unit." + compiled.form));
    if (compiled.form == "ptx")
      compiled.image.push_back('\0');
    return compiled;
  }

private:
  std::string clang_, ptxas_, id_;
};

class Nvcc : public DeviceCompiler {
public:
  explicit Nvcc(std::string nvcc) : nvcc_(std::move(nvcc)), id_("nvcc: " + versionOf(nvcc_)) {}
  std::string id() const override { return id_; }

  Result<CompiledUnit> compile(const KernelUnit &unit, const Target &target, bool ptx) const override {
    WorkFolder folder;
    LLMOPT_RETURN_IF_ERROR(folder.create(unit));
    CompiledUnit compiled{ptx ? "ptx" : "cubin", {}, {}};
    std::string output = folder.file("unit." + compiled.form);
    LLMOPT_RETURN_IF_ERROR(folder.run(nvcc_,
                                      {"-arch=" + target.gpuArchitecture, "-std=c++17", ptx ? "-ptx" : "-cubin", unit.exact ? "-fmad=false" : "-prec-div=false",
                                       "-Xptxas", "-v", folder.file("unit.cu"), "-o", output},
                                      compiled.log));
    compiled.image = readAll(output);
    if (ptx)
      compiled.image.push_back('\0');
    return compiled;
  }

private:
  std::string nvcc_, id_;
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
    LLMOPT_RETURN_IF_ERROR(folder.create(unit));
    CompiledUnit compiled{"host", {}, {}};
    std::vector<std::string> arguments = {"-x", "c++", "-std=c++17", "-O2", "-fPIC", "-shared", "-w", "-DLLMOPT_EMULATE", "-fno-strict-aliasing",
                                          unit.exact ? "-ffp-contract=off" : "-ffp-contract=fast", folder.file("unit.cu"), "-o", folder.file("unit.so")};
    if (fma_) // or each fused product would be a call
      arguments.push_back("-march=x86-64-v3");
    LLMOPT_RETURN_IF_ERROR(folder.run(compiler_, arguments, compiled.log));
    compiled.image = readAll(folder.file("unit.so"));
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
  return std::unique_ptr<DeviceCompiler>(new Clang(clang, findProgram("LLMOPT_PTXAS", {"ptxas"})));
}

Result<std::unique_ptr<DeviceCompiler>> cuda::makeNvcc() {
  std::string nvcc = findProgram("LLMOPT_NVCC", {"nvcc"});
  if (nvcc.empty())
    return unsupported("E0982", "nvcc is not in the path");
  return std::unique_ptr<DeviceCompiler>(new Nvcc(nvcc));
}

Result<std::unique_ptr<DeviceCompiler>> cuda::makeEmulator() {
  std::string compiler = findProgram("CXX", {"clang++-22", "clang++", "g++", "c++"});
  if (compiler.empty())
    return unsupported("E0982", "--cuda-compiler=emulate needs a C++ compiler ($CXX, clang++ or g++)");
  return std::unique_ptr<DeviceCompiler>(new Emulator(compiler));
}
