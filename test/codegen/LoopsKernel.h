//===- LoopsKernel.h - one operation as a kernel, against a reference -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_TEST_CODEGEN_LOOPSKERNEL_H
#define LLMOPT_TEST_CODEGEN_LOOPSKERNEL_H

#include "KernelHarness.h"

#include "llmopt/lib/Support/Tensor.h"

#include <gtest/gtest.h>

namespace llmopt::cpu {
Result<LoweredKernel> lowerLoops(exec::KernelOp kernel, FamilyContext &context);
Result<LoweredKernel> lowerRows(exec::KernelOp kernel, FamilyContext &context);
} // namespace llmopt::cpu

namespace llmopt::test {

/// An operand: its type as written in IR, and its dimensions ("n" for a symbol).
struct Operand {
  std::string element;
  std::vector<std::string> dims;
};

using Symbols = std::map<std::string, int64_t, std::less<>>;

/// A kernel of one block whose arguments are %0, %1, ... and that yields %r0, %r1, ... as `results` says.
struct KernelText {
  std::string family = "loops";
  std::vector<Operand> operands;
  std::vector<std::string> results; ///< IR types
  std::string body;

  std::string str() const;
  /// The same block as an ordinary function, for the interpreter.
  std::string functionStr() const;
};

/// "tensor<?x4xf32>"
std::string tensorType(const Operand &operand);

/// Runs the kernel for each target and compares with the interpreter: |difference| <= absolute + relative * |expected|.
void checkAgainstInterpreter(const KernelText &text, const std::vector<Tensor> &inputs, const Symbols &symbols, double relative,
                             double absolute);

/// Uniform numbers in [low, high], rounded to the type.
Tensor randomTensor(DType type, std::vector<int64_t> shape, double low, double high, unsigned seed);
Tensor tensorOf(DType type, std::vector<int64_t> shape, std::vector<double> values);
void setElement(Tensor &tensor, int64_t i, double value);

} // namespace llmopt::test

#endif // LLMOPT_TEST_CODEGEN_LOOPSKERNEL_H
