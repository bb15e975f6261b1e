//===- LowerKernel.cpp - an exec.kernel region for a GPU ------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/LowerKernel.h"

#include "codegen/CPU/KernelFamily.h"
#include "codegen/CUDA/CacheAppend.h"
#include "codegen/CUDA/DenseAttention.h"
#include "codegen/CUDA/GroupRows.h"
#include "codegen/CUDA/Linear.h"
#include "codegen/CUDA/Norm.h"
#include "codegen/CUDA/NvptxEmitter.h"
#include "codegen/CUDA/PagedAttention.h"
#include "codegen/CUDA/Reduce.h"
#include "codegen/CUDA/Scan.h"
#include "codegen/CUDA/Softmax.h"
#include "codegen/CUDA/TopK.h"
#include "codegen/Common/CacheType.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace llmopt;

namespace {

/// The emitter that writes a family one work unit a thread. Matrix products go through the loop nests: a thread for each element.
StringRef printedFamily(StringRef family) { return family == "linear" || family == "matmul" ? "loops" : family; }

/// Attention keeps rows in short vectors; everything else is written lane by lane.
Target emitterTarget(const Target &target, StringRef family) {
  Target emitter = target;
  if (family.contains("attention") || family == "cache_append")
    emitter.vectorBits = 128;
  return emitter;
}

/// Parts that processors keep in functions of their own (KernelBuilder::outline), each called in one place, go back there: a kernel is one function.
void joinParts(ModuleOp module) {
  SmallVector<func::CallOp> calls;
  module.walk([&](func::CallOp call) { calls.push_back(call); });
  IRRewriter rewriter(module.getContext());
  for (func::CallOp call : calls) {
    auto part = module.lookupSymbol<func::FuncOp>(call.getCallee());
    Block &body = part.getBody().front();
    rewriter.eraseOp(body.getTerminator());
    rewriter.inlineBlockBefore(&body, call, call.getOperands());
    rewriter.eraseOp(call);
    rewriter.eraseOp(part);
  }
}

} // namespace

/// By a family written for GPUs, if one fits.
static Result<std::optional<cuda::LoweredDeviceKernel>> lowerWritten(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target,
                                                                     const std::string &symbol) {
  StringRef family = kernel.getFamily();
  if (family == "linear" || family == "grouped_linear")
    return cuda::lowerLinear(kernel, shapes, target, symbol);
  if (family == "group_rows")
    return cuda::lowerGroupRows(kernel, shapes, symbol);
  if (family == "rows") {
    LLMOPT_ASSIGN(std::optional<cuda::LoweredDeviceKernel> norm, cuda::lowerNorm(kernel, shapes, target, symbol));
    if (norm)
      return norm;
    return cuda::lowerSoftmax(kernel, shapes, target, symbol);
  }
  if (family == "loops") {
    LLMOPT_ASSIGN(std::optional<cuda::LoweredDeviceKernel> reduce, cuda::lowerReduce(kernel, shapes, target, symbol));
    if (reduce)
      return reduce;
    LLMOPT_ASSIGN(std::optional<cuda::LoweredDeviceKernel> scan, cuda::lowerScan(kernel, shapes, target, symbol));
    if (scan)
      return scan;
    return cuda::lowerTopK(kernel, shapes, target, symbol);
  }
  if (family == "attention")
    return cuda::lowerDenseAttention(kernel, shapes, symbol);
  if (family == "cache_append")
    return cuda::lowerCacheAppend(kernel, shapes, symbol);
  if (family == "paged_attention")
    return cuda::lowerPagedAttention(kernel, shapes, target, symbol);
  return std::optional<cuda::LoweredDeviceKernel>();
}

Result<cuda::LoweredDeviceKernel> cuda::lowerKernel(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target,
                                                    const std::string &symbol, bool text) {
  if (text) {
    LLMOPT_ASSIGN(std::optional<LoweredDeviceKernel> written, lowerWritten(kernel, shapes, target, symbol));
    if (written)
      return std::move(*written);
  }
  for (Operation &op : kernel.getBody().front())
    if (cacheTypeOf(&op) != DType::F32) // takesNarrowCache should have known
      return internalError("E0921", "a kernel of family '" + kernel.getFamily().str() + "' cannot keep keys and values in 16 bits; compile with --kv-cache=f32");
  StringRef family = kernel.getFamily();
  OwningOpRef<ModuleOp> module(ModuleOp::create(UnknownLoc::get(kernel.getContext())));
  Target emitter = emitterTarget(target, family);
  cpu::FamilyContext context{*module, shapes, emitter, symbol};
  LoweredDeviceKernel lowered;
  LLMOPT_ASSIGN(lowered.plan, cpu::lowerByFamily(printedFamily(family), kernel, context));
  joinParts(*module);
  uint32_t bindings = uint32_t(kernel.getInputs().size() + kernel.getNumResults() + lowered.plan.states.size());
  LLMOPT_ASSIGN(lowered.unit, text ? printKernels(*module) : emitPtx(*module, bindings, uint32_t(lowered.plan.dims.size()) + 1, target));
  return lowered;
}
