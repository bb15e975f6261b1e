//===- CacheAppend.cpp - writing to the cache by a written kernel ---------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/CacheAppend.h"

#include "codegen/CPU/AttentionStep.h"
#include "codegen/CUDA/Rope.h"
#include "codegen/Common/CacheType.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cuda;

namespace {

bool isStaticF32(Value heads) {
  auto type = cast<RankedTensorType>(heads.getType());
  return type.getElementType().isF32() && !type.isDynamicDim(1) && !type.isDynamicDim(2);
}

/// The operation of a region that the family takes; null for others.
llm::CacheAppendOp findAppend(exec::KernelOp kernel) {
  auto appends = kernel.getBody().getOps<llm::CacheAppendOp>();
  if (!llvm::hasSingleElement(appends) || kernel.getNumResults() != 0)
    return {};
  llm::CacheAppendOp op = *appends.begin();
  cpu::HeadsSource keys = cpu::traceHeads(op.getKey()), values = cpu::traceHeads(op.getValue());
  bool fits = keys.argument && values.argument && !values.rope && isStaticF32(op.getKey()) && isStaticF32(op.getValue());
  return fits ? op : llm::CacheAppendOp();
}

} // namespace

bool cuda::takesCacheAppend(exec::KernelOp kernel) { return bool(findAppend(kernel)); }

Result<std::optional<LoweredDeviceKernel>> cuda::lowerCacheAppend(exec::KernelOp kernel, ShapeAnalysis &shapes, const std::string &symbol) {
  constexpr uint32_t kThreads = 128;
  std::optional<LoweredDeviceKernel> none;
  llm::CacheAppendOp op = findAppend(kernel);
  SymExpr tokens = op ? shapes.shapeOf(op.getKey()).dims.front() : SymExpr();
  if (!tokens.known())
    return none;
  cpu::HeadsSource keys = cpu::traceHeads(op.getKey()), values = cpu::traceHeads(op.getValue());
  DType cache = cacheTypeOf(op);
  auto key = cast<RankedTensorType>(op.getKey().getType()), value = cast<RankedTensorType>(op.getValue().getType());

  using Kind = DeviceParameter::Kind;
  DeviceKernel device;
  device.name = symbol;
  device.family = "CacheAppend";
  device.threads = kThreads;
  device.unitsPerBlock = 1;
  auto buffer = [&](uint32_t binding, const std::string &type) {
    DeviceParameter parameter{Kind::Buffer, binding};
    if (!llvm::is_contained(device.parameters, parameter))
      device.parameters.push_back(parameter);
    return "reinterpret_cast<" + type + " *>(" + parameterName(parameter) + ")";
  };
  auto argument = [&](Value operand, const std::string &type) {
    return operand ? buffer(cast<BlockArgument>(operand).getArgNumber(), "const " + type) : std::string("nullptr");
  };
  llm::RopeOp rope = keys.rope;
  std::string operands = argument(keys.argument, "float") + ", " + argument(values.argument, "float") + ", " +
                         argument(rope ? cpu::throughViews(rope.getPositions()) : Value(), "Problem::Position") + ", " +
                         argument(rope ? cpu::throughViews(rope.getFrequencies()) : Value(), "float") + ", " + buffer(kernel.getNumOperands(), "Problem::Cache");
  DeviceParameter table{Kind::Table}, units{Kind::Dim, 0};
  device.parameters.insert(device.parameters.end(), {table, units});

  LoweredDeviceKernel lowered;
  lowered.unit.source = "#include \"primitives.cuh\"\n#include \"cache_append.cuh\"\nstruct Problem {\n  typedef " + std::string(cache == DType::F16 ? "f16" : "float") + " Cache;\n" + constantText("kKvHeads", key.getDimSize(1)) +
                        constantText("kKeySize", key.getDimSize(2)) + constantText("kValueSize", value.getDimSize(2)) +
                        constantText("kTable", int64_t(op.getGroup())) + ropeText(rope) + "};\nextern \"C\" GLOBAL void LAUNCH_BOUNDS(" + std::to_string(kThreads) +
                        ", 1) " + symbol + "(" + declareParameters(device.parameters, ", ") + ") {\n  static_assert(CacheAppend<Problem>::kThreads == " +
                        std::to_string(kThreads) + ");\n  CacheAppend<Problem>::run(reinterpret_cast<const StepTable *>(" + parameterName(table) + "), i64(" +
                        parameterName(units) + "), {" + operands + "});\n}\nLLMOPT_EXPORT(" + symbol + ")\n";
  lowered.unit.kernels.push_back(std::move(device));
  SymContext &symbols = shapes.symbols();
  lowered.plan.variants.push_back({symbol, 0, symbols.mul(tokens, symbols.constant(key.getDimSize(1))), SymExpr()});
  lowered.plan.states.push_back(int64_t(op.getState()));
  lowered.plan.flops = symbols.constant(0);
  int64_t floats = key.getDimSize(1) * (key.getDimSize(2) + value.getDimSize(2));
  lowered.plan.bytesMoved = symbols.mul(tokens, symbols.constant(int64_t(sizeof(float) + dtypeSize(cache)) * floats));
  return std::optional<LoweredDeviceKernel>(std::move(lowered));
}
