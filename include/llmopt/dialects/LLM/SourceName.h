//===- SourceName.h - where in the source model an op comes from -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_DIALECTS_LLM_SOURCENAME_H
#define LLMOPT_DIALECTS_LLM_SOURCENAME_H

#include "mlir/IR/Location.h"

#include <string>

namespace llmopt::llm {

/// The name of the node or tensor that frontends put into a location; empty if there is none.
std::string sourceName(mlir::Location location);
/// The same, or "file:line" for IR that was written by hand.
std::string sourceNameOrLine(mlir::Location location);

} // namespace llmopt::llm

#endif // LLMOPT_DIALECTS_LLM_SOURCENAME_H
