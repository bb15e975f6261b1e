//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/Repack.h"

#include "llmopt/lib/Artifact/RepackedWeights.h"

using namespace llmopt;
using namespace llmopt::cuda;

KernelUnit cuda::repackUnit() {
  std::string parameters, numbers;
  for (const char *name : kRepackNumbers) {
    parameters += std::string(", u64 ") + name;
    numbers += (numbers.empty() ? "" : ", ") + std::string(name);
  }
  KernelUnit unit;
  DeviceKernel kernel;
  kernel.name = kRepackKernel;
  kernel.family = "repack";
  kernel.threads = kernel.unitsPerBlock = 256;
  kernel.parameters.assign(2 + std::size(kRepackNumbers), {DeviceParameter::Kind::Constant}); // the runtime knows them
  unit.source = "#include \"repack.cuh\"\nextern \"C\" GLOBAL void LAUNCH_BOUNDS(256) " + kernel.name + "(const u8 *words, u8 *to" + parameters + ") {\n  Repack{" + numbers +
                "}.run(words, to);\n}\nLLMOPT_PRINTED_EXPORT(" + kernel.name + ")\n";
  unit.kernels.push_back(std::move(kernel));
  return unit;
}
