//===- SourceName.cpp - where in the source model an op comes from --------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/dialects/LLM/SourceName.h"

using namespace mlir;

std::string llmopt::llm::sourceName(Location location) {
  if (auto name = dyn_cast<NameLoc>(location))
    return name.getName().str();
  if (auto fused = dyn_cast<FusedLoc>(location))
    for (Location part : fused.getLocations())
      if (std::string name = sourceName(part); !name.empty())
        return name;
  return {};
}

std::string llmopt::llm::sourceNameOrLine(Location location) {
  std::string name = sourceName(location);
  if (auto line = name.empty() ? location->findInstanceOf<FileLineColLoc>() : FileLineColLoc())
    name = line.getFilename().str() + ":" + std::to_string(line.getLine());
  return name;
}
