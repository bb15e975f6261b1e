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
  std::unique_ptr<llvm::LLVMContext> context;
  std::unique_ptr<llvm::Module> module;
  std::unique_ptr<llvm::TargetMachine> machine;
};

Result<Translated> translate(mlir::ModuleOp source, const Target &target, const cpu::CodegenOptions &options) {
  Translated result;
  std::string problem;
  result.machine = makeTargetMachine(target, problem);
  if (!result.machine)
    return internalError("E0902", "LLVM has no x86 back end: " + problem);
  result.context = std::make_unique<llvm::LLVMContext>();
  result.module = mlir::translateModuleToLLVMIR(source, *result.context, "kernels");
  if (!result.module)
    return internalError("E0903", "a generated kernel could not be translated to LLVM IR");
  result.module->setTargetTriple(llvm::Triple(kTriple));
  result.module->setDataLayout(result.machine->createDataLayout());
  setFunctionAttributes(*result.module, target);
  if (options.optimizeLoops)
    optimizeModule(*result.module, *result.machine, llvm::OptimizationLevel::O2);
  return result;
}

} // namespace

Result<std::string> cpu::toLLVMIR(mlir::ModuleOp module, const Target &target, const CodegenOptions &options) {
  LLMOPT_ASSIGN(Translated translated, translate(module, target, options));
  std::string text;
  llvm::raw_string_ostream stream(text);
  translated.module->print(stream, nullptr);
  return text;
}

Result<std::string> cpu::emitObject(mlir::ModuleOp module, const Target &target, const CodegenOptions &options) {
  LLMOPT_ASSIGN(Translated translated, translate(module, target, options));
  llvm::SmallVector<char, 0> buffer;
  llvm::raw_svector_ostream stream(buffer);
  llvm::legacy::PassManager passes;
  auto type = options.assembly ? llvm::CodeGenFileType::AssemblyFile : llvm::CodeGenFileType::ObjectFile;
  if (translated.machine->addPassesToEmitFile(passes, stream, nullptr, type))
    return internalError("E0904", "LLVM cannot emit this kind of file for " + target.name);
  passes.run(*translated.module);
  return std::string(buffer.data(), buffer.size());
}
