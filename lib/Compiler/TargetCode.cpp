//===- TargetCode.cpp - kernels of one target to its plan and code -----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "lib/Compiler/TargetCode.h"

#include "codegen/CPU/KernelFamily.h"
#include "codegen/Common/CacheType.h"
#include "codegen/Common/RoundRows.h"
#include "codegen/Common/WidenFloat8.h"
#include "lib/Compiler/Phases.h"
#include "llmopt/codegen/CPU.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace llmopt;

namespace {

/// Lowered kernels wait in modules of a few functions each, one kind for LLVM's loop optimizer and one without it.
class KernelModules {
public:
  explicit KernelModules(MLIRContext *context) : context_(context) {}

  /// Moves the functions of a lowered kernel into a module of its kind.
  void take(ModuleOp kernel, bool optimizeLoops) {
    constexpr size_t kFunctionsPerModule = 16; // small enough to keep LLVM's passes in cache, large enough to share set-up
    Group *group = nullptr;
    for (Group &candidate : groups_)
      if (candidate.optimizeLoops == optimizeLoops && candidate.functions < kFunctionsPerModule)
        group = &candidate;
    if (!group)
      group = &groups_.emplace_back(Group{OwningOpRef<ModuleOp>(ModuleOp::create(UnknownLoc::get(context_))), optimizeLoops, 0});
    auto &body = kernel.getBody()->getOperations();
    group->functions += body.size();
    group->module->getBody()->getOperations().splice(group->module->getBody()->end(), body);
  }

  struct Group {
    OwningOpRef<ModuleOp> module;
    bool optimizeLoops = false;
    size_t functions = 0;
  };
  std::vector<Group> &groups() { return groups_; }

  /// All of them as one module.
  OwningOpRef<ModuleOp> together() {
    OwningOpRef<ModuleOp> all(ModuleOp::create(UnknownLoc::get(context_)));
    for (Group &group : groups_)
      for (Operation &op : group.module->getOps())
        all->push_back(op.clone());
    return all;
  }

private:
  MLIRContext *context_;
  std::vector<Group> groups_;
};

/// One file that other tools read.
Result<std::string> emitTogether(KernelModules &modules, const Target &target, EmitKind kind) {
  if (kind == EmitKind::MLIR)
    return printModule(*modules.together());
  std::vector<cpu::CodeModule> lowered;
  for (KernelModules::Group &group : modules.groups()) {
    LLMOPT_RETURN_IF_ERROR(cpu::lowerToLLVM(*group.module));
    lowered.push_back({*group.module, group.optimizeLoops});
  }
  return cpu::emitCode(lowered, target, kind == EmitKind::LLVMIR     ? cpu::CodeKind::LLVMIR
                                        : kind == EmitKind::Assembly ? cpu::CodeKind::Assembly
                                                                     : cpu::CodeKind::Object);
}

Result<LoweredKernel> lowerKernel(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target, const std::string &symbol,
                                  KernelModules &modules) {
  OwningOpRef<ModuleOp> module(ModuleOp::create(UnknownLoc::get(kernel.getContext())));
  cpu::FamilyContext context{*module, shapes, target, symbol};
  LLMOPT_ASSIGN(LoweredKernel lowered, cpu::lowerByFamily(kernel.getFamily(), kernel, context));
  modules.take(*module, lowered.optimizeLoops);
  return lowered;
}

DType cacheTypeFor(const CompileOptions &options) {
  switch (options.kvCache) {
  case CacheFormat::F32:
    return DType::F32;
  case CacheFormat::F16:
    return DType::F16;
  case CacheFormat::BF16:
    return DType::BF16;
  case CacheFormat::Auto:
    return options.bf16Products ? DType::BF16 : DType::F32;
  }
  return DType::F32;
}

constexpr int kCoarseTerms = 2; // asked for by name

/// What to say of --products where no weights are of its type.
std::optional<std::string> unusedProducts(ModuleOp planned, const CompileOptions &options) {
  auto used = [&](exec::KernelOp kernel) {
    auto gemm = dyn_cast_or_null<strategy::GemmAttr>(kernel.getStrategyAttr());
    return gemm && (options.bf16Products ? gemm.getBf16Products() : options.int8Products ? gemm.getInt8Products() : gemm.getTerms() == kCoarseTerms);
  };
  if (!options.bf16Products && !options.int8Products && options.terms != kCoarseTerms)
    return std::nullopt;
  for (auto function : planned.getOps<func::FuncOp>())
    if (llvm::any_of(function.getOps<exec::KernelOp>(), used))
      return std::nullopt;
  if (!options.bf16Products && !options.int8Products)
    return "--products=bf16x2: no product makes use of it: that takes tile registers (x86-64-v4-amx), weights in f32, f16, bf16 or codes in blocks of 32 and more, and a multiple of 32 inputs";
  bool asked = options.bf16Products ? options.dtype == WeightFormat::BF16 : options.dtype == WeightFormat::Int8 || options.dtype == WeightFormat::Int4;
  std::string type = options.bf16Products ? "bf16" : "int8", what = options.bf16Products ? "bf16" : "codes of 8 or 4 bits";
  return "--products=" + type + ": no product with weights makes use of it, as none of them are " + what +
         (asked ? "; --dtype=" + type + " reaches stored matrices only" : "; --dtype=" + type + " makes them so");
}

} // namespace

Result<TargetCode> llmopt::compileForTarget(ModuleOp planned, const Target &target, const CompileOptions &options,
                                            SymContext &symbols, WeightTable &weights, Tuning &tuning, const cuda::KernelLibrary &library) {
  TargetCode code;
  auto report = [&](Phase phase, std::string_view what, size_t done, size_t total) {
    if (options.progress)
      options.progress(phase, what, done, total);
  };
  LLMOPT_ASSIGN(Target tiles, options.strategyTarget.empty() ? Result<Target>(target) : findTarget(options.strategyTarget));
  report(Phase::Strategy, target.name, 0, 0);
  if (!target.isGpu()) {
    widenFloat8Products(planned);
    setCacheType(planned, cacheTypeFor(options), options.bf16Products ? DType::BF16 : DType::F32);
  }
  LLMOPT_RETURN_IF_ERROR(tuning.chooseStrategies(planned, tiles, symbols, {.bf16Products = options.bf16Products, .int8Products = options.int8Products, .terms = options.terms.value_or(usualTerms(planned, tiles))}));
  LLMOPT_RETURN_IF_ERROR(dumpPhase(options, Phase::Strategy, planned, target.name));
  if (target.isGpu()) {
    LLMOPT_ASSIGN(code, compileForDevice(planned, target, options, symbols, weights, library));
    if (options.int8Products || options.terms == kCoarseTerms)
      code.warnings.push_back("target " + target.name + ": --products=" + (options.int8Products ? "int8" : "bf16x2") + " is for processors and changes nothing here");
    return code;
  }
  if (std::optional<std::string> unused = unusedProducts(planned, options))
    code.warnings.push_back("target " + target.name + ": " + *unused);
  roundRows(planned);
  KernelModules modules(planned.getContext());
  auto lower = [&](exec::KernelOp kernel, ShapeAnalysis &shapes, const std::string &symbol) {
    report(Phase::Lowered, target.name, ++code.kernels, 0);
    return lowerKernel(kernel, shapes, target, symbol, modules);
  };
  LLMOPT_ASSIGN(code.plan, buildPlan(planned, symbols, weights, lower));
  if (options.stopAfter < Phase::Lowered)
    return code;
  if (!options.dumpFolder.empty())
    LLMOPT_RETURN_IF_ERROR(dumpPhase(options, Phase::Lowered, *modules.together(), target.name));
  if (options.emit != EmitKind::Artifact) {
    LLMOPT_ASSIGN(std::string text, emitTogether(modules, target, options.emit));
    code.texts = {std::move(text)};
    return code;
  }
  std::vector<std::string> objects;
  for (KernelModules::Group &group : modules.groups()) {
    report(Phase::Binary, target.name, objects.size(), modules.groups().size());
    LLMOPT_RETURN_IF_ERROR(cpu::lowerToLLVM(*group.module));
    cpu::CodeModule module{*group.module, group.optimizeLoops};
    LLMOPT_ASSIGN(std::string object, cpu::emitCode({&module, 1}, target, cpu::CodeKind::Object));
    objects.push_back(std::move(object));
  }
  LLMOPT_ASSIGN(code.image, cpu::linkImage(objects));
  return code;
}
