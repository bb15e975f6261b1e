//===- NvptxEmitter.cpp - kernel functions to PTX by LLVM alone -----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/NvptxEmitter.h"

#include "codegen/Common/OptimizeModule.h"
#include "codegen/CUDA/UnitBounds.h"
#include "llmopt/codegen/CPU.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
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

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cuda;

namespace {

constexpr uint32_t kThreads = 128;
constexpr const char *kTriple = "nvptx64-nvidia-cuda";

Status missing(const std::string &what, StringRef name) {
  return unsupported("E0988", "--cuda-compiler=llvm: " + what, name.str());
}

//===----------------------------------------------------------------------===//
// From a function of the kernel ABI to a kernel
//===----------------------------------------------------------------------===//

/// The function gets its work unit as a sixth argument; part and parts are no longer looked at.
Status takeUnit(func::FuncOp function) {
  bool calls = false;
  function.walk([&](LLVM::CallOp call) { calls |= !call.getCallee(); });
  if (calls)
    return missing("the kernel needs a function of the C library, which is not there on a GPU", function.getName());
  OpBuilder builder(function.getContext());
  Location loc = function.getLoc();
  if (failed(function.insertArgument(function.getNumArguments(), builder.getI64Type(), {}, loc)))
    return internalError("E0988", "no argument for the work unit", function.getName().str());
  Value unit = function.getArgument(function.getNumArguments() - 1);
  SmallVector<arith::DivUIOp> bounds;
  function.walk([&](arith::DivUIOp op) { bounds.push_back(op); });
  for (arith::DivUIOp op : bounds) {
    std::optional<UnitBound> bound = unitBound(op, function);
    if (!bound)
      continue;
    builder.setInsertionPoint(op);
    Value value = unit;
    if (*bound == UnitBound::End)
      value = arith::AddIOp::create(builder, loc, unit, arith::ConstantOp::create(builder, loc, builder.getI64IntegerAttr(1)));
    op.replaceAllUsesWith(value);
  }
  return {};
}

/// Writes the kernel around a lowered function: the ABI's tables on the stack (they vanish when the function is inlined), and a loop over units.
class KernelWriter {
public:
  KernelWriter(ModuleOp module, LLVM::LLVMFuncOp function, uint32_t buffers, uint32_t dims, const Target &target)
      : module_(module), function_(function), b_(module.getContext()), loc_(function.getLoc()), pointer_(LLVM::LLVMPointerType::get(module.getContext())),
        buffers_(buffers), dims_(dims), dependent_(target.computeCapability >= 90) {}
  DeviceKernel write();

private:
  Value i64(int64_t value) { return LLVM::ConstantOp::create(b_, loc_, b_.getI64Type(), b_.getI64IntegerAttr(value)); }
  Value wide(Value register32) { return LLVM::ZExtOp::create(b_, loc_, b_.getI64Type(), register32); }
  template <typename Register>
  Value special() {
    return wide(Register::create(b_, loc_, b_.getI32Type()));
  }
  /// A table of 8-byte values on the stack.
  Value table(ValueRange values);
  Value parameter(DeviceParameter parameter, Type type);

  ModuleOp module_;
  LLVM::LLVMFuncOp function_;
  OpBuilder b_;
  Location loc_;
  Type pointer_;
  uint32_t buffers_, dims_;
  bool dependent_; ///< the target knows programmatic dependent launch
  DeviceKernel kernel_;
  Block *entry_ = nullptr;
};

Value KernelWriter::table(ValueRange values) {
  Value memory = LLVM::AllocaOp::create(b_, loc_, pointer_, b_.getI64Type(), i64(std::max<int64_t>(1, int64_t(values.size()))), 8);
  for (auto [i, value] : llvm::enumerate(values)) {
    Value place = LLVM::GEPOp::create(b_, loc_, pointer_, b_.getI64Type(), memory, ArrayRef<LLVM::GEPArg>{int32_t(i)});
    LLVM::StoreOp::create(b_, loc_, value, place);
  }
  return memory;
}

Value KernelWriter::parameter(DeviceParameter parameter, Type type) {
  kernel_.parameters.push_back(parameter);
  return entry_->addArgument(type, loc_);
}

DeviceKernel KernelWriter::write() {
  using Kind = DeviceParameter::Kind;
  kernel_.name = function_.getName().str();
  kernel_.family = "llvm";
  kernel_.threads = kernel_.unitsPerBlock = kThreads;
  function_.setName(kernel_.name + "_unit");
  function_.setLinkage(LLVM::Linkage::Internal);
  function_.setAlwaysInline(true);
  bool usesTable = !function_.getArgument(1).use_empty(), usesScratch = !function_.getArgument(4).use_empty();

  auto region = std::make_unique<Region>();
  entry_ = &region->emplaceBlock();
  b_.setInsertionPointToStart(entry_);
  if (dependent_) // as waitForDependencies of kernels/primitives.cuh
    for (NVVM::GridDepActionKind action : {NVVM::GridDepActionKind::wait, NVVM::GridDepActionKind::launch_dependents})
      NVVM::GriddepcontrolOp::create(b_, loc_, action);
  SmallVector<Value> buffers, dims;
  for (uint32_t i = 0; i < buffers_; ++i)
    buffers.push_back(parameter({Kind::Buffer, i}, pointer_));
  for (uint32_t i = 0; i < dims_; ++i)
    dims.push_back(parameter({Kind::Dim, i}, b_.getI64Type()));
  Value null = LLVM::ZeroOp::create(b_, loc_, pointer_);
  Value steps = usesTable ? parameter({Kind::Table}, pointer_) : null, scratch = null;
  Value block = special<NVVM::BlockIdXOp>(), width = special<NVVM::BlockDimXOp>();
  Value first = LLVM::AddOp::create(b_, loc_, LLVM::MulOp::create(b_, loc_, block, width), special<NVVM::ThreadIdXOp>());
  Value stride = LLVM::MulOp::create(b_, loc_, special<NVVM::GridDimXOp>(), width);
  if (usesScratch) {
    Value base = parameter({Kind::Scratch}, pointer_), bytes = parameter({Kind::ScratchBytes}, b_.getI64Type());
    scratch = LLVM::GEPOp::create(b_, loc_, pointer_, b_.getI8Type(), base, ArrayRef<LLVM::GEPArg>{LLVM::MulOp::create(b_, loc_, first, bytes).getResult()});
  }
  Value args = table({table(buffers), table(dims), null});
  Value zero = LLVM::ConstantOp::create(b_, loc_, b_.getI32Type(), b_.getI32IntegerAttr(0));

  Block *head = &region->emplaceBlock(), *body = &region->emplaceBlock(), *done = &region->emplaceBlock();
  Value unit = head->addArgument(b_.getI64Type(), loc_);
  LLVM::BrOp::create(b_, loc_, ValueRange{first}, head);
  b_.setInsertionPointToStart(head);
  Value more = LLVM::ICmpOp::create(b_, loc_, LLVM::ICmpPredicate::slt, unit, dims[0]);
  LLVM::CondBrOp::create(b_, loc_, more, body, ValueRange(), done, ValueRange());
  b_.setInsertionPointToStart(body);
  LLVM::CallOp::create(b_, loc_, function_, ValueRange{args, steps, zero, zero, scratch, unit});
  LLVM::BrOp::create(b_, loc_, ValueRange{LLVM::AddOp::create(b_, loc_, unit, stride)}, head);
  b_.setInsertionPointToStart(done);
  LLVM::ReturnOp::create(b_, loc_, ValueRange());

  b_.setInsertionPointToEnd(module_.getBody());
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(module_.getContext()), SmallVector<Type>(entry_->getArgumentTypes()));
  auto kernel = LLVM::LLVMFuncOp::create(b_, loc_, kernel_.name, type);
  kernel.getBody().takeBody(*region);
  kernel->setAttr(NVVM::NVVMDialect::getKernelFuncAttrName(), b_.getUnitAttr());
  kernel->setAttr(NVVM::NVVMDialect::getReqntidAttrName(), b_.getDenseI32ArrayAttr({int32_t(kThreads), 1, 1}));
  return std::move(kernel_);
}

//===----------------------------------------------------------------------===//
// LLVM IR to PTX
//===----------------------------------------------------------------------===//

Result<std::unique_ptr<llvm::TargetMachine>> makeMachine(const Target &target) {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
  });
  std::string problem;
  llvm::Triple triple(kTriple);
  const llvm::Target *backend = llvm::TargetRegistry::lookupTarget(triple, problem);
  if (!backend)
    return missing("this LLVM has no NVPTX back end: " + problem, "").error();
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict; // the arithmetic is the CPU's, operation for operation
  // The oldest PTX that knows the target: a driver reads what is not newer than itself.
  const char *version = target.computeCapability >= 100 ? "+ptx86" : "+ptx80";
  std::string chip = "sm_" + std::to_string(target.computeCapability); // not "sm_90a": nothing that later GPUs lack is used
  return std::unique_ptr<llvm::TargetMachine>(backend->createTargetMachine(triple, chip, version, options, std::nullopt, std::nullopt,
                                                                           llvm::CodeGenOptLevel::Aggressive));
}

/// The back end stops the process at functions it cannot select, so they are looked for before.
Status checkFunctions(const llvm::Module &module) {
  constexpr StringRef kUnknown[] = {"exp", "exp10", "log", "log10", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "pow", "powi", "ldexp"};
  for (const llvm::Function &function : module) {
    if (!function.isDeclaration() || function.use_empty())
      continue;
    StringRef name = function.getName();
    if (!function.isIntrinsic() || (name.consume_front("llvm.") && llvm::is_contained(kUnknown, name.split('.').first)))
      return missing("there is no '" + function.getName().str() + "' on a GPU without NVIDIA's library", "");
  }
  return {};
}

Result<std::string> toPtx(ModuleOp source, const Target &target) {
  LLMOPT_ASSIGN(std::unique_ptr<llvm::TargetMachine> machine, makeMachine(target));
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> module = translateModuleToLLVMIR(source, context, "kernels");
  if (!module)
    return internalError("E0988", "a kernel could not be translated to LLVM IR for NVPTX");
  module->setTargetTriple(llvm::Triple(kTriple));
  module->setDataLayout(machine->createDataLayout());
  for (llvm::Function &function : *module)
    if (!function.isDeclaration())
      function.addFnAttr("no-builtins");
  optimizeModule(*module, *machine, llvm::OptimizationLevel::O3);
  LLMOPT_RETURN_IF_ERROR(checkFunctions(*module));
  llvm::SmallVector<char, 0> buffer;
  llvm::raw_svector_ostream stream(buffer);
  llvm::legacy::PassManager passes;
  if (machine->addPassesToEmitFile(passes, stream, nullptr, llvm::CodeGenFileType::AssemblyFile))
    return internalError("E0988", "LLVM cannot emit PTX");
  passes.run(*module);
  return std::string(buffer.data(), buffer.size());
}

} // namespace

Result<KernelUnit> cuda::emitPtx(ModuleOp module, uint32_t buffers, uint32_t dims, const Target &target) {
  DialectRegistry registry;
  registerNVVMDialectTranslation(registry);
  module.getContext()->appendDialectRegistry(registry);
  module.getContext()->loadDialect<NVVM::NVVMDialect>();
  for (auto function : module.getOps<func::FuncOp>())
    LLMOPT_RETURN_IF_ERROR(takeUnit(function));
  LLMOPT_RETURN_IF_ERROR(cpu::lowerToLLVM(module));
  KernelUnit unit;
  unit.exact = true;
  unit.form = "ptx";
  for (auto function : llvm::to_vector(module.getOps<LLVM::LLVMFuncOp>()))
    if (!function.isExternal())
      unit.kernels.push_back(KernelWriter(module, function, buffers, dims, target).write());
  LLMOPT_ASSIGN(unit.source, toPtx(module, target));
  return unit;
}
