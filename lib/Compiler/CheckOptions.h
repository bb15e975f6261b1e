//===- CheckOptions.h - do the options of a compilation fit together --*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_COMPILER_CHECKOPTIONS_H
#define LLMOPT_LIB_COMPILER_CHECKOPTIONS_H

#include "llmopt/lib/Compiler/CompileOptions.h"
#include "llmopt/lib/Support/Status.h"
#include "llmopt/lib/Target/Target.h"

#include <span>

namespace llmopt {

/// Rows of the target table, each once: "native" may be one that is named as well.
Result<std::vector<Target>> findTargets(std::span<const std::string> names);

/// E0321 before any work is done: one of the options would be without effect, or the output in the model's place.
Status checkOptions(const std::string &input, const std::string &output, const CompileOptions &options, std::span<const Target> targets);

} // namespace llmopt

#endif // LLMOPT_LIB_COMPILER_CHECKOPTIONS_H
