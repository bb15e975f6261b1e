//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/DrawWeights.h"

#include <iterator>

using namespace llmopt;
using namespace llmopt::cuda;

KernelUnit cuda::drawWeightsUnit() {
  const char *names[] = {"elements", "outputs", "inputs", "group", "outputsFirst", "state", "center", "types"};
  std::string parameters, arguments;
  for (const char *name : names) {
    parameters += std::string(", u64 ") + name;
    arguments += std::string(", ") + name;
  }
  KernelUnit unit;
  unit.exact = true;
  DeviceKernel kernel;
  kernel.name = kDrawWeightsKernel;
  kernel.family = "draw_weights";
  kernel.threads = kernel.unitsPerBlock = 256;
  kernel.parameters.assign(1 + std::size(names), {DeviceParameter::Kind::Constant});
  unit.source = "#include \"draw_weights.cuh\"\nextern \"C\" GLOBAL void LAUNCH_BOUNDS(256) " + kernel.name + "(u8 *out" + parameters + ") {\n  DrawWeights::run(out" +
                arguments + ");\n}\nLLMOPT_PRINTED_EXPORT(" + kernel.name + ")\n";
  unit.kernels.push_back(std::move(kernel));
  return unit;
}
