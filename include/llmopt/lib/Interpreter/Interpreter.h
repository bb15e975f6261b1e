//===- Interpreter.h - executes the llm dialect, slowly ------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The oracle of tests and tools (never the product's run path): every operation of the dialect written as the plainest
// loop over doubles or 64-bit integers, results rounded to the declared element type after each operation.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_INTERPRETER_INTERPRETER_H
#define LLMOPT_LIB_INTERPRETER_INTERPRETER_H

#include "llmopt/lib/Support/Status.h"
#include "llmopt/lib/Support/Tensor.h"
#include "llmopt/lib/Support/WeightStore.h"

#include "mlir/IR/BuiltinOps.h"

#include <vector>

namespace llmopt {

/// A ragged step for the interpreter: one row a sequence. Keys and values live in `InterpreterState`.
struct InterpreterSequence {
  int64_t id = 0;    ///< names the sequence across steps
  int64_t count = 0; ///< its tokens in this step; the tokens of the step lie in row order
};

class Interpreter {
public:
  Interpreter(mlir::ModuleOp module, const WeightStore &weights);
  ~Interpreter();

  /// Runs function `name`. The step is needed by functions with ragged operations only.
  Result<std::vector<Tensor>> run(llvm::StringRef name, std::vector<Tensor> inputs,
                                  std::vector<InterpreterSequence> step = {});
  /// Evaluates one value that depends on constants and weights only (constant folding, weight expressions).
  Result<Tensor> evaluate(mlir::Value value);
  /// Forgets all cached keys and values.
  void reset();

private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

} // namespace llmopt

#endif // LLMOPT_LIB_INTERPRETER_INTERPRETER_H
