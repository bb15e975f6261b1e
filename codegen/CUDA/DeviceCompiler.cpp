//===- DeviceCompiler.cpp - choice, cache and gate of compilers -----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/DeviceCompiler.h"

#include "codegen/CUDA/Compilers.h"
#include "codegen/CUDA/KernelSources.h"
#include "codegen/CUDA/Ptxas.h"
#include "codegen/CUDA/PtxasReport.h"
#include "codegen/CUDA/UnitFiles.h"
#include "llmopt/lib/Artifact/DeviceImage.h"
#include "llmopt/lib/Support/File.h"
#include "llmopt/lib/Support/Hash.h"
#include "llmopt/lib/Support/UserCache.h"

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <optional>
#include <thread>

using namespace llmopt;
using namespace llmopt::cuda;
namespace fs = std::filesystem;

namespace {

struct Choice {
  const char *name;
  Result<std::unique_ptr<DeviceCompiler>> (*make)();
};
constexpr Choice kChoices[] = {{"nvrtc", makeNvrtc}, {"clang", makeClang}, {"nvcc", makeNvcc}, {"llvm", makeLlvm}, {"emulate", makeEmulator}};

/// Images of earlier compilations. Whatever goes wrong with it is as if there was none.
class ImageCache {
public:
  ImageCache(const DeviceCompiler &compiler, const Target &target, const UnitOptions &options) {
    if (!options.dumpFolder.empty()) // it keeps the image, not the stages before
      return;
    const char *folder = std::getenv("LLMOPT_CACHE_DIR");
    if (folder && std::string_view(folder) == "off")
      return;
    folder_ = folder && *folder ? folder : userCacheFolder();
    constexpr const char *kOptions = "3\n"; // to be raised with the options of the compilers
    salt_ = kOptions + compiler.id() + "\n" + target.gpuArchitecture + (options.ptx ? "\nptx\n" : "\nimage\n");
    for (const KernelSource &source : kernelSources())
      salt_ += source.text;
  }

  std::string path(const KernelUnit &unit) const {
    std::string text = salt_ + unit.form + (unit.exact ? " exact\n" : "\n") + unit.source;
    return folder_ + "/" + hashHex(hashString(text)) + hashHex(text.size());
  }

  std::optional<CompiledUnit> find(const KernelUnit &unit) const {
    if (folder_.empty())
      return std::nullopt;
    Result<std::string> text = readTextFile(path(unit));
    if (!text)
      return std::nullopt;
    // "<hash of the rest>\n<form>\n<bytes of the log>\n<log><image>"
    size_t first = text->find('\n'), second = text->find('\n', first + 1), third = text->find('\n', second + 1);
    if (third == std::string::npos || text->substr(0, first) != hashHex(hashString(std::string_view(*text).substr(first + 1))))
      return std::nullopt;
    size_t logBytes = size_t(std::strtoull(text->c_str() + second + 1, nullptr, 10));
    if (logBytes > text->size() - third - 1)
      return std::nullopt;
    return CompiledUnit{text->substr(first + 1, second - first - 1), text->substr(third + 1 + logBytes), {}, text->substr(third + 1, logBytes)};
  }

  void store(const KernelUnit &unit, const CompiledUnit &compiled) const {
    if (folder_.empty())
      return;
    std::error_code error;
    fs::create_directories(folder_, error);
    Result<AtomicFile> file = AtomicFile::create(path(unit));
    std::string text = compiled.form + "\n" + std::to_string(compiled.log.size()) + "\n" + compiled.log + compiled.image;
    if (file && file->write(hashHex(hashString(text)) + "\n") && file->write(text))
      (void)file->commit();
  }

private:
  std::string folder_, salt_;
};

} // namespace

Result<std::unique_ptr<DeviceCompiler>> cuda::findDeviceCompiler(std::string_view name) {
  std::string tried;
  for (const Choice &choice : kChoices) {
    if (name != "auto" && name != choice.name)
      continue;
    if (name == "auto" && std::string_view(choice.name) == "emulate") // never by itself: no GPU runs its images
      continue;
    Result<std::unique_ptr<DeviceCompiler>> compiler = choice.make();
    if (compiler || name != "auto")
      return compiler;
    tried += (tried.empty() ? "" : "; ") + compiler.error().message;
  }
  if (tried.empty())
    return usageError("E0982", "unknown CUDA compiler '" + std::string(name) + "'; known: auto, nvrtc, clang, nvcc, llvm, emulate");
  Error error = unsupported("E0982", "no CUDA compiler is installed: " + tried).error();
  error.notes.push_back("help: 'pip install nvidia-cuda-nvrtc' is enough (then set LLMOPT_NVRTC to its libnvrtc.so), or install the CUDA toolkit, or clang 22");
  return error;
}

/// From whatever the unit is to an image.
static Result<CompiledUnit> compileUnit(const DeviceCompiler &compiler, const KernelUnit &unit, const Target &target, bool ptx) {
  if (unit.form == "cuda")
    return compiler.compile(unit, target, ptx);
  CompiledUnit compiled{unit.form, unit.source, {}, {}};
  if (unit.form != "ptx")
    return compiled;
  compiled.ptx = unit.source;
  std::optional<Ptxas> ptxas = ptx ? std::nullopt : Ptxas::find();
  if (!ptxas) {
    compiled.image += '\0'; // the driver compiles it
    return compiled;
  }
  compiled.form = "cubin";
  LLMOPT_ASSIGN(compiled.image, ptxas->assemble(unit.source, target, compiled.log));
  return compiled;
}

/// Images that came from somewhere else, and our own: do they have what will be launched?
static Status checkImage(const KernelUnit &unit, const CompiledUnit &compiled, const Target &target) {
  if (compiled.form == "host")
    return {};
  std::string context = unit.origin.empty() ? "unit '" + unit.name() + "'" : unit.origin;
  const std::string &bytes = compiled.image;
  LLMOPT_ASSIGN(DeviceImage image, compiled.form == "ptx" ? readPtx(bytes, context) : readCubin(std::as_bytes(std::span(bytes.data(), bytes.size())), context));
  for (const DeviceKernel &kernel : unit.kernels)
    LLMOPT_RETURN_IF_ERROR(checkKernel(image, kernel, target.computeCapability, context));
  return {};
}

Result<std::vector<CompiledUnit>> cuda::compileUnits(const DeviceCompiler &compiler, std::span<KernelUnit> units, const Target &target,
                                                     const UnitOptions &options) {
  LLMOPT_ASSIGN(UnitOverrides overrides, UnitOverrides::open(options.overrideFolder));
  for (KernelUnit &unit : units)
    LLMOPT_RETURN_IF_ERROR(overrides.apply(unit));
  LLMOPT_RETURN_IF_ERROR(overrides.checkAllUsed());
  ImageCache cache(compiler, target, options);
  std::vector<std::optional<Result<CompiledUnit>>> results(units.size());
  std::atomic<size_t> next = 0;
  auto work = [&] {
    for (size_t i; (i = next.fetch_add(1)) < units.size();) {
      if (std::optional<CompiledUnit> known = cache.find(units[i])) {
        results[i].emplace(std::move(*known));
        continue;
      }
      results[i].emplace(compileUnit(compiler, units[i], target, options.ptx));
      if (results[i]->ok())
        cache.store(units[i], **results[i]);
    }
  };
  unsigned threads = options.jobs ? options.jobs : std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::thread> helpers;
  for (unsigned i = 1; i < std::min<size_t>(threads, units.size()); ++i)
    helpers.emplace_back(work);
  work();
  for (std::thread &helper : helpers)
    helper.join();

  std::vector<CompiledUnit> compiled;
  for (size_t i = 0; i < units.size(); ++i) {
    if (!results[i]->ok())
      return results[i]->error();
    if (!options.dumpFolder.empty())
      LLMOPT_RETURN_IF_ERROR(dumpUnit(options.dumpFolder, units[i], **results[i]));
    LLMOPT_RETURN_IF_ERROR(checkPtxasReport((*results[i])->log, units[i], target));
    LLMOPT_RETURN_IF_ERROR(checkImage(units[i], **results[i], target));
    compiled.push_back(std::move(**results[i]));
  }
  return compiled;
}
