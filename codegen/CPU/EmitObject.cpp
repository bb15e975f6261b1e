//===- EmitObject.cpp - LLVM dialect to machine code ----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/codegen/CPU.h"

#include "codegen/Common/OptimizeModule.h"

#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Linker/Linker.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/OptimizationLevel.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"

#include <mutex>

using namespace llmopt;

namespace {

constexpr const char *kTriple = "x86_64-unknown-linux-gnu";

std::unique_ptr<llvm::TargetMachine> makeTargetMachine(const Target &target, std::string &problem) {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
  });
  llvm::Triple triple(kTriple);
  const llvm::Target *backend = llvm::TargetRegistry::lookupTarget(triple, problem);
  if (!backend)
    return nullptr;
  // The levels of the psABI prefer 256-bit vectors; the strategies say what is wanted.
  std::string features = target.vectorBits == 512 ? "-prefer-256-bit" : "";
  if (target.bf16Dot)
    features += ",+avx512bf16";
  if (target.int8Dot)
    features += ",+avx512vnni";
  if (target.amx)
    features += ",+amx-tile,+amx-bf16,+amx-int8";
  return std::unique_ptr<llvm::TargetMachine>(backend->createTargetMachine(
      triple, target.cpu, features, llvm::TargetOptions(), llvm::Reloc::PIC_, std::nullopt, llvm::CodeGenOptLevel::Default));
}

void setFunctionAttributes(llvm::Module &module, const Target &target) {
  for (llvm::Function &function : module) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr("no-builtins"); // loops must not turn into calls of memset and memcpy
    function.addFnAttr("prefer-vector-width", std::to_string(target.vectorBits));
    function.addFnAttr("min-legal-vector-width", std::to_string(target.vectorBits));
    function.addFnAttr("target-cpu", target.cpu);
    function.addFnAttr(llvm::Attribute::NoUnwind);
  }
}

struct Translated {
  std::unique_ptr<llvm::LLVMContext> context = std::make_unique<llvm::LLVMContext>();
  std::unique_ptr<llvm::Module> module;
  std::unique_ptr<llvm::TargetMachine> machine;
};

/// Each module is optimized in its own way first; what is local to one of them gets another name where two have the same.
Result<Translated> translate(std::span<const cpu::CodeModule> sources, const Target &target) {
  Translated result;
  std::string problem;
  result.machine = makeTargetMachine(target, problem);
  if (!result.machine)
    return internalError("E0902", "LLVM has no x86 back end: " + problem);
  for (const cpu::CodeModule &source : sources) {
    std::unique_ptr<llvm::Module> module = mlir::translateModuleToLLVMIR(source.module, *result.context, "kernels");
    if (!module)
      return internalError("E0903", "a generated kernel could not be translated to LLVM IR");
    module->setTargetTriple(llvm::Triple(kTriple));
    module->setDataLayout(result.machine->createDataLayout());
    setFunctionAttributes(*module, target);
    if (source.optimizeLoops)
      optimizeModule(*module, *result.machine, llvm::OptimizationLevel::O2);
    if (!result.module)
      result.module = std::move(module);
    else if (llvm::Linker::linkModules(*result.module, std::move(module)))
      return internalError("E0903", "generated kernels do not go into one module of LLVM IR");
  }
  return result;
}

} // namespace

Result<std::string> cpu::emitCode(std::span<const CodeModule> modules, const Target &target, CodeKind kind) {
  LLMOPT_ASSIGN(Translated translated, translate(modules, target));
  llvm::SmallVector<char, 0> buffer;
  llvm::raw_svector_ostream stream(buffer);
  if (kind == CodeKind::LLVMIR) {
    translated.module->print(stream, nullptr);
    return std::string(buffer.data(), buffer.size());
  }
  llvm::legacy::PassManager passes;
  auto type = kind == CodeKind::Assembly ? llvm::CodeGenFileType::AssemblyFile : llvm::CodeGenFileType::ObjectFile;
  if (translated.machine->addPassesToEmitFile(passes, stream, nullptr, type))
    return internalError("E0904", "LLVM cannot emit this kind of file for " + target.name);
  passes.run(*translated.module);
  return std::string(buffer.data(), buffer.size());
}
