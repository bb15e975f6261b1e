//===- PtxasReport.cpp - the gate behind ptxas ----------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/PtxasReport.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringRef.h"

using namespace llmopt;
using namespace llmopt::cuda;
using llvm::StringRef;

/// The number in front of `words`: 8 in "8 bytes spill stores".
static uint32_t numberBefore(StringRef line, StringRef words) {
  size_t at = line.find(words);
  if (at == StringRef::npos)
    return 0;
  StringRef front = line.take_front(at).rtrim();
  uint32_t value = 0;
  front.take_back(front.size() - (front.find_last_not_of("0123456789") + 1)).getAsInteger(10, value);
  return value;
}

Status cuda::checkPtxasReport(std::string_view log, KernelUnit &unit, const Target &target) {
  auto refuse = [&](const std::string &kernel, const std::string &what) {
    return unsupported("E0984", "kernel '" + kernel + "' for " + target.gpuArchitecture + ": " + what);
  };
  DeviceKernel *current = nullptr;
  uint32_t staticShared = 0;
  llvm::SmallVector<StringRef> lines;
  StringRef(log).split(lines, '\n');
  for (StringRef line : lines) {
    if (line.contains("Compiling entry function") || line.contains("Function properties for"))
      for (DeviceKernel &kernel : unit.kernels)
        if (line.contains("'" + kernel.name + "'") || line.trim().ends_with(" " + kernel.name))
          current = &kernel;
    if (!unit.exact && (line.contains("(C75") || line.contains("Potential Performance Loss")))
      return refuse(current ? current->name : "?", "ptxas warns: " + line.trim().str());
    if (!current)
      continue;
    uint32_t stack = numberBefore(line, " bytes stack frame"), spill = numberBefore(line, " bytes spill stores");
    current->spillBytes = std::max(current->spillBytes, spill);
    if (!unit.exact && (stack || spill))
      return refuse(current->name, "ptxas keeps " + std::to_string(stack) + " bytes in local memory and spills " + std::to_string(spill) +
                                       "; choose smaller tiles");
    if (line.contains("Used ") && line.contains(" registers")) {
      current->registers = numberBefore(line, " registers");
      staticShared = current->staticSharedBytes = numberBefore(line, " bytes smem");
      if (staticShared + current->sharedBytes > uint32_t(target.sharedMemoryBytes))
        return refuse(current->name, "it needs " + std::to_string(staticShared + current->sharedBytes) + " bytes of shared memory, a block has " +
                                         std::to_string(target.sharedMemoryBytes));
    }
  }
  return {};
}
