//===- SampleRows.cpp - the kernel that draws tokens ----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/SampleRows.h"

#include "llmopt/lib/Artifact/TokenChoice.h"

using namespace llmopt;
using namespace llmopt::cuda;

KernelUnit cuda::sampleUnit() {
  constexpr uint32_t kThreads = 1024; // one block reads a row: as many loads on the way as there can be
  std::string threads = std::to_string(kThreads);
  KernelUnit unit;
  DeviceKernel kernel;
  kernel.name = kSampleKernel;
  kernel.family = "sample";
  kernel.threads = kThreads;
  kernel.unitsPerBlock = 1;
  kernel.parameters.assign(5, {DeviceParameter::Kind::Constant}); // the runtime knows them
  unit.source = "#include \"primitives.cuh\"\n#include \"sample.cuh\"\nstruct Rows {\n  static constexpr int kThreads = " + threads + ";\n};\nextern \"C\" GLOBAL void LAUNCH_BOUNDS(" +
                threads + ", 1) " + kernel.name +
                "(const float *logits, i64 rows, i64 width, const TokenChoice *choices, i32 *tokens) {\n  Sample<Rows>::run(logits, rows, width, choices, tokens);\n}\n"
                "LLMOPT_EXPORT(" + kernel.name + ")\n";
  unit.kernels.push_back(std::move(kernel));
  return unit;
}
