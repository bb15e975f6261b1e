//===- DeviceTargetCode.cpp - kernels of a GPU to its plan and images ---------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "lib/Compiler/TargetCode.h"

#include "codegen/CUDA/DeviceCompiler.h"
#include "codegen/CUDA/DrawWeights.h"
#include "codegen/CUDA/LowerKernel.h"
#include "codegen/CUDA/ProductType.h"
#include "codegen/CUDA/Repack.h"
#include "codegen/CUDA/SampleRows.h"
#include "codegen/CUDA/Unpack.h"
#include "codegen/Common/CacheType.h"
#include "llmopt/lib/Support/CheckedMath.h"
#include "llmopt/lib/Target/PortableCode.h"

using namespace mlir;
using namespace llmopt;

namespace {

constexpr size_t kKernelsPerUnit = 8; // enough to share the compiler's set-up, few enough to keep all processors busy
constexpr int64_t kImageAlignment = 64;

/// Printed kernels share translation units; a written one has macros of its own.
void addUnit(cuda::KernelUnit unit, std::vector<cuda::KernelUnit> &units) {
  for (cuda::KernelUnit &known : units)
    if (unit.form != "cuda" && known.form == unit.form && known.source == unit.source) { // one image for several kernels
      known.kernels.push_back(std::move(unit.kernels.front()));
      return;
    }
  auto isShared = [](const cuda::KernelUnit &one) { return one.exact && one.form == "cuda"; };
  if (!isShared(unit) || units.empty() || !isShared(units.back()) || units.back().kernels.size() >= kKernelsPerUnit) {
    units.push_back(std::move(unit));
    return;
  }
  units.back().source += unit.source;
  for (DeviceKernel &kernel : unit.kernels)
    units.back().kernels.push_back(std::move(kernel));
}

/// Images one after another, and how to launch what is in them.
void package(std::vector<cuda::KernelUnit> &units, std::vector<cuda::CompiledUnit> compiled, DeviceCode &metadata, std::string &image) {
  for (size_t i = 0; i < units.size(); ++i) {
    image.resize(size_t(roundUp(int64_t(image.size()), kImageAlignment)));
    metadata.modules.push_back({compiled[i].form, image.size(), compiled[i].image.size()});
    image += compiled[i].image;
    for (DeviceKernel &kernel : units[i].kernels) {
      kernel.module = uint32_t(i);
      metadata.kernels.push_back(std::move(kernel));
    }
  }
}

/// How decoders keep keys and values: unless told otherwise, in f16 where their linear layers are in 16 bits.
Result<DType> cacheTypeFor(ModuleOp planned, const CompileOptions &options, bool hasFamilies) {
  if (options.kvCache == CacheFormat::BF16)
    return unsupported("E0989", "--kv-cache=bf16 is for processors; GPUs keep keys and values in f16 or f32");
  bool narrow = hasFamilies && cuda::takesNarrowCache(planned);
  if (options.kvCache == CacheFormat::F16 && !narrow)
    return unsupported("E0989", "--kv-cache=f16 needs kernels that " +
                                    std::string(hasFamilies ? "are not there for this model's heads" : "a CUDA compiler makes ('pip install nvidia-cuda-nvrtc' is enough)") +
                                    "; leave it out to keep keys and values in f32");
  bool wanted = options.kvCache == CacheFormat::Auto ? cuda::productType(planned).has_value() : options.kvCache == CacheFormat::F16;
  return narrow && wanted ? DType::F16 : DType::F32;
}

bool isDeviceEmit(EmitKind kind) {
  return kind == EmitKind::Artifact || kind == EmitKind::Cuda || kind == EmitKind::Ptx || kind == EmitKind::Cubin;
}

} // namespace

Result<TargetCode> llmopt::compileForDevice(ModuleOp planned, const Target &target, const CompileOptions &options, SymContext &symbols,
                                            WeightTable &weights, const cuda::KernelLibrary &library) {
  auto report = [&](Phase phase, size_t done, size_t total) {
    if (options.progress)
      options.progress(phase, target.name, done, total);
  };
  if (!isDeviceEmit(options.emit))
    return usageError("E0313", "target " + target.name + " has no such output; use --emit=cuda, ptx, cubin or artifact");
  TargetCode code;
  std::vector<cuda::KernelUnit> units;
  std::unique_ptr<cuda::DeviceCompiler> compiler;
  if (options.emit != EmitKind::Cuda) {
    LLMOPT_ASSIGN(compiler, cuda::findDeviceCompiler(options.cudaCompiler));
    if (!compiler->takesText() && options.cudaCompiler == "auto")
      code.warnings.push_back("target " + target.name + ": no CUDA compiler is installed; kernels are made by LLVM alone, without tensor cores ('pip install "
                              "nvidia-cuda-nvrtc' is enough, or clang 22)");
  } else if (options.cudaCompiler == "llvm") {
    return usageError("E0313", "there is no CUDA C++ with --cuda-compiler=llvm; use --emit=ptx");
  }
  bool hasFamilies = !compiler || compiler->takesText();
  LLMOPT_ASSIGN(DType cacheType, cacheTypeFor(planned, options, hasFamilies));
  setCacheType(planned, cacheType);
  auto lower = [&](exec::KernelOp kernel, ShapeAnalysis &shapes, const std::string &symbol) -> Result<LoweredKernel> {
    report(Phase::Lowered, ++code.kernels, 0);
    std::optional<cuda::LoweredDeviceKernel> made = library.lower(kernel, shapes, target, symbol);
    LLMOPT_ASSIGN(cuda::LoweredDeviceKernel lowered, made ? std::move(*made) : cuda::lowerKernel(kernel, shapes, target, symbol, hasFamilies));
    if (!made)
      for (DeviceKernel &written : lowered.unit.kernels)
        written.launchPdl = target.computeCapability >= 90; // all begin with waitForDependencies
    addUnit(std::move(lowered.unit), units);
    return std::move(lowered.plan);
  };
  LLMOPT_ASSIGN(code.plan, buildPlan(planned, symbols, weights, lower));
  if (options.stopAfter < Phase::Lowered)
    return code;
  if (!weights.drawn().empty())
    addUnit(cuda::drawWeightsUnit(), units);
  if (!weights.repacked().empty())
    addUnit(cuda::repackUnit(), units);
  bool steps = llvm::any_of(code.plan.entries, [](const plan::Entry &entry) { return entry.name == "step"; });
  if (steps && (!compiler || compiler->takesText()))
    addUnit(cuda::sampleUnit(), units);
  cuda::addUnpackKernels(units);
  if (options.emit == EmitKind::Cuda) {
    for (cuda::KernelUnit &unit : units)
      if (unit.form == "cuda")
        code.texts.push_back(std::move(unit.source));
    return code;
  }
  report(Phase::Binary, 0, units.size());
  bool ptx = options.emit == EmitKind::Ptx || (isPortable(target) && options.cudaCompiler != "emulate");
  cuda::UnitOptions unitOptions{ptx, options.jobs, {}, options.kernelOverride};
  if (!options.dumpFolder.empty())
    unitOptions.dumpFolder = options.dumpFolder + "/" + std::to_string(int(Phase::Binary)) + "-" + target.name;
  LLMOPT_ASSIGN(std::vector<cuda::CompiledUnit> compiled, cuda::compileUnits(*compiler, units, target, unitOptions));
  for (const cuda::KernelUnit &unit : units) // of written kernels none does
    for (const DeviceKernel &kernel : unit.kernels)
      if (kernel.spillBytes)
        code.warnings.push_back("target " + target.name + ": kernel '" + kernel.name + "' spills " + std::to_string(kernel.spillBytes) + " bytes of registers to memory");
  if (options.emit == EmitKind::Cubin && compiled.size() > 1)
    return usageError("E0313", "the kernels of target " + target.name + " are " + std::to_string(compiled.size()) +
                                   " images, which no single file holds; --dump-dir=DIR writes each of them");
  if (options.emit != EmitKind::Artifact) {
    for (cuda::CompiledUnit &unit : compiled)
      if (options.emit != EmitKind::Ptx || unit.form == "ptx") // a library may have an image only
        code.texts.push_back(unit.form == "ptx" ? unit.image.substr(0, unit.image.find('\0')) : std::move(unit.image)); // in an artifact PTX ends with a zero
    return code;
  }
  DeviceCode metadata{compiler->id(), target.gpuArchitecture, {}, {}};
  package(units, std::move(compiled), metadata, code.image);
  code.launchMetadata = toJson(metadata).str();
  return code;
}
