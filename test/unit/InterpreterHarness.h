//===- InterpreterHarness.h - small programs for interpreter tests -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_TEST_UNIT_INTERPRETERHARNESS_H
#define LLMOPT_TEST_UNIT_INTERPRETERHARNESS_H

#include "llmopt/dialects/Exec/Exec.h"
#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Interpreter/Interpreter.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"

#include <cmath>
#include <gtest/gtest.h>
#include <random>

namespace llmopt {

inline Tensor floats(std::vector<int64_t> shape, const std::vector<float> &values) {
  Tensor tensor(DType::F32, std::move(shape));
  EXPECT_EQ(size_t(tensor.elements()), values.size());
  std::copy_n(values.data(), size_t(tensor.elements()), tensor.as<float>());
  return tensor;
}

template <typename T>
Tensor integers(DType dtype, std::vector<int64_t> shape, const std::vector<T> &values) {
  Tensor tensor(dtype, std::move(shape));
  std::copy_n(values.data(), size_t(tensor.elements()), tensor.as<T>());
  return tensor;
}

inline Tensor randomFloats(std::vector<int64_t> shape, unsigned seed, float scale = 1) {
  Tensor tensor(DType::F32, std::move(shape));
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  for (int64_t i = 0; i < tensor.elements(); ++i)
    tensor.as<float>()[i] = normal(random);
  return tensor;
}

inline std::vector<double> elements(const Tensor &tensor) {
  std::vector<double> result;
  for (int64_t i = 0; i < tensor.elements(); ++i)
    result.push_back(tensor.at(i));
  return result;
}

inline double largestDifference(const Tensor &a, const Tensor &b) {
  if (a.shape() != b.shape())
    return INFINITY;
  double largest = 0;
  for (int64_t i = 0; i < a.elements(); ++i)
    largest = std::isnan(a.at(i)) != std::isnan(b.at(i)) ? INFINITY : std::max(largest, std::abs(a.at(i) - b.at(i)));
  return largest;
}

struct InterpreterFixture : testing::Test {
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  WeightStore weights;

  InterpreterFixture() { context.loadDialect<llm::LLMDialect, exec::ExecDialect, mlir::func::FuncDialect>(); }

  void load(llvm::StringRef text) {
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    ASSERT_TRUE(module) << "does not parse";
  }
  /// The function @f of `text` on the inputs; a failed test and no tensors when it cannot be run.
  std::vector<Tensor> results(llvm::StringRef text, std::vector<Tensor> inputs = {}) {
    load(text);
    if (!module)
      return {};
    Interpreter interpreter(*module, weights);
    auto outputs = interpreter.run("f", std::move(inputs));
    EXPECT_TRUE(outputs.ok()) << (outputs ? "" : outputs.error().str());
    return outputs ? outputs.take() : std::vector<Tensor>();
  }
  std::vector<double> values(llvm::StringRef text, std::vector<Tensor> inputs = {}) {
    std::vector<Tensor> outputs = results(text, std::move(inputs));
    return outputs.empty() ? std::vector<double>() : elements(outputs.front());
  }
  /// The error's code, or "" if there is none.
  std::string failure(llvm::StringRef text, std::vector<Tensor> inputs = {}) {
    load(text);
    if (!module)
      return "does not parse";
    Interpreter interpreter(*module, weights);
    auto outputs = interpreter.run("f", std::move(inputs));
    return outputs ? "" : outputs.error().code;
  }
};

} // namespace llmopt

#endif // LLMOPT_TEST_UNIT_INTERPRETERHARNESS_H
