//===- Requirement.h - how often something must be made -------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_REWRITING_REQUIREMENT_H
#define LLMOPT_PASSES_REWRITING_REQUIREMENT_H

#include "mlir/IR/Operation.h"

namespace llmopt {

/// "fuse-gelu" or "fuse-gelu:12": at least that many.
struct Requirement {
  llvm::StringRef name;
  int64_t count = 1;

  static mlir::FailureOr<Requirement> parse(mlir::Operation *module, llvm::StringRef text) {
    auto [name, number] = text.split(':');
    Requirement requirement{name};
    if (!number.empty() && number.getAsInteger(10, requirement.count))
      return module->emitError("[E0304] 'require' expects name or name:count, found '") << text << "'";
    return requirement;
  }

  mlir::LogicalResult check(mlir::Operation *module, int64_t made) const {
    if (made >= count)
      return mlir::success();
    return module->emitError("[E0551] fusion '") << name << "' was made " << made << " times, required " << count << "; --explain=" << name
                                                 << " says what stood in the way";
  }
};

} // namespace llmopt

#endif // LLMOPT_PASSES_REWRITING_REQUIREMENT_H
