//===- GroupRows.cpp - rows sorted by expert ------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/GroupRows.h"

#include "llmopt/dialects/LLM/LLM.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cuda;

Result<std::optional<LoweredDeviceKernel>> cuda::lowerGroupRows(exec::KernelOp kernel, ShapeAnalysis &shapes, const std::string &symbol) {
  constexpr uint32_t kThreads = 1024;
  constexpr int64_t kMostExperts = 4096; // counters in shared memory
  auto ops = kernel.getBody().getOps<llm::GroupRowsOp>();
  auto yielded = kernel.getBody().front().getTerminator()->getOperands();
  if (ops.empty() || yielded.size() != 2)
    return std::optional<LoweredDeviceKernel>();
  llm::GroupRowsOp op = *ops.begin();
  auto chosen = dyn_cast<BlockArgument>(op.getChosen());
  SymContext &symbols = shapes.symbols();
  SymExpr rows = symbols.constant(1);
  for (SymExpr dim : shapes.shapeOf(op.getChosen()).dims)
    rows = symbols.mul(rows, dim);
  if (!chosen || !rows.known() || int64_t(op.getExperts()) > kMostExperts)
    return std::optional<LoweredDeviceKernel>();
  uint32_t outputs = uint32_t(kernel.getInputs().size());
  bool orderFirst = yielded[0] == op.getOrder();
  std::string count = rows.constant() ? std::to_string(*rows.constant()) : "d1";
  DeviceParameter input{DeviceParameter::Kind::Buffer, chosen.getArgNumber()}, first{DeviceParameter::Kind::Buffer, outputs}, second{DeviceParameter::Kind::Buffer, outputs + 1};
  LoweredDeviceKernel lowered;
  DeviceKernel data;
  data.name = symbol;
  data.family = "GroupRows";
  data.threads = kThreads;
  data.unitsPerBlock = 1;
  data.parameters = {input, first, second};
  if (!rows.constant()) {
    data.parameters.push_back({DeviceParameter::Kind::Dim, 1});
    lowered.plan.dims.push_back(rows);
  }
  std::string index = getElementTypeOrSelf(op.getChosen().getType()).isInteger(64) ? "i64" : "i32", order = parameterName(orderFirst ? first : second),
              offsets = parameterName(orderFirst ? second : first);
  lowered.unit.source = "#include \"primitives.cuh\"\n#include \"printed_values.cuh\"\n#include \"group_rows.cuh\"\nstruct Rows {\n  typedef " + index +
                        " Index;\n  static constexpr int kExperts = " + std::to_string(op.getExperts()) + ", kThreads = " + std::to_string(kThreads) +
                        ";\n};\nextern \"C\" GLOBAL void LAUNCH_BOUNDS(" + std::to_string(kThreads) + ", 1) " + symbol + "(" +
                        declareParameters(data.parameters, ", ") + ") {\n  GroupRows<Rows>::run(reinterpret_cast<const " + index + " *>(" + parameterName(input) +
                        "), reinterpret_cast<i32 *>(" + order + "), reinterpret_cast<i32 *>(" + offsets + "), i64(" + count + "));\n}\nLLMOPT_EXPORT(" + symbol + ")\n";
  lowered.unit.kernels.push_back(std::move(data));
  lowered.plan.variants.push_back({symbol, 0, symbols.constant(1), SymExpr()});
  lowered.plan.flops = symbols.constant(0);
  lowered.plan.bytesMoved = symbols.mul(rows, symbols.constant(12));
  return std::optional<LoweredDeviceKernel>(std::move(lowered));
}
