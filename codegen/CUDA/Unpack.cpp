//===- Unpack.cpp - kernels that prepare weights when they are loaded -----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/Unpack.h"

#include "codegen/Common/WeightPacking.h"

#include <set>

using namespace llmopt;
using namespace llmopt::cuda;

static constexpr std::string_view kPrefix = "unpack_";

std::string cuda::unpackName(std::string_view layout) { return std::string(kPrefix) + std::string(layout); }

void cuda::addUnpackKernels(std::vector<KernelUnit> &units) {
  constexpr uint32_t kThreads = 256;
  std::set<std::string> names;
  for (const KernelUnit &unit : units)
    for (const DeviceKernel &kernel : unit.kernels)
      for (const DeviceParameter &parameter : kernel.parameters)
        if (!parameter.matrix.unpack.empty())
          names.insert(parameter.matrix.unpack);
  if (names.empty())
    return;
  KernelUnit unit{"#include \"printed.cuh\"\n#include \"unpack.cuh\"\n", {}};
  for (const std::string &name : names) {
    int64_t group = inputGroup(std::string_view(name).substr(kPrefix.size()));
    std::string element = group == 4 ? "u8" : "u16";
    unit.source += "extern \"C\" GLOBAL void LAUNCH_BOUNDS(" + std::to_string(kThreads) + ") " + name +
                   "(const " + element + " *from, " + element + " *to, u64 rows, u64 depth, u64 stride) {\n  unpackPanels<" + std::to_string(group) + ">(from, to, rows, depth, stride);\n}\nLLMOPT_PRINTED_EXPORT(" + name + ")\n";
    DeviceKernel &kernel = unit.kernels.emplace_back();
    kernel.name = name;
    kernel.family = "unpack";
    kernel.threads = kThreads;
    kernel.unitsPerBlock = 1;
    kernel.parameters.assign(5, {DeviceParameter::Kind::Constant}); // the runtime knows them
  }
  units.push_back(std::move(unit));
}
