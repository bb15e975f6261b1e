//===- RoundedMatrixTest.cpp - rounding while compiling, twice ------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/Common/QuantizedPacking.h"
#include "codegen/Common/RoundedMatrix.h"

#include "llmopt/lib/Analysis/Projection.h"
#include "llmopt/lib/Interpreter/Interpreter.h"
#include "llmopt/passes/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

using namespace llmopt;

namespace {

struct Case {
  const char *code, *type;
  int64_t outputs, inputs;
  bool transposed;
  int64_t experts = 0;
  /// Of all experts.
  int64_t rows() const { return std::max<int64_t>(1, experts) * outputs; }
};

std::string text(const Case &c) {
  auto shape = [&](int64_t a, int64_t b) { return std::to_string(a) + "x" + std::to_string(b); };
  std::string weight = "tensor<" + (c.transposed ? shape(c.inputs, c.outputs) : shape(c.outputs, c.inputs)) + "x" + c.type + ">";
  std::string x = "tensor<?x" + std::to_string(c.inputs) + "xf32>", y = "tensor<?x" + std::to_string(c.outputs) + "xf32>";
  if (c.experts) {
    weight = "tensor<" + std::to_string(c.experts) + "x" + shape(c.outputs, c.inputs) + "x" + c.type + ">", y = "tensor<?x2x" + std::to_string(c.outputs) + "xf32>";
    std::string offsets = "tensor<" + std::to_string(c.experts + 1) + "xi32>";
    return "func.func @f(%x: " + x + ", %o: tensor<?x2xi32>, %s: " + offsets + ") -> " + y + " {\n  %w = llm.weight \"w\" : " + weight + "\n  %y = llm.grouped_linear %x, %w, %o, %s : " + x + ", " + weight +
           ", tensor<?x2xi32>, " + offsets + " -> " + y + "\n  return %y : " + y + "\n}\n";
  }
  return "func.func @f(%x: " + x + ") -> " + y + " {\n  %w = llm.weight \"w\" : " + weight + "\n  %y = llm.linear %x, %w" + (c.transposed ? " {transposed}" : "") + " : " + x + ", " +
         weight + " -> " + y + "\n  return %y : " + y + "\n}\n";
}

/// Halves between codes, blocks of zeros of both signs, of the smallest numbers and of the largest, infinities and NaN.
float element(std::mt19937 &random, int64_t block, int64_t i) {
  float sign = random() % 2 ? 1.0f : -1.0f;
  switch (block % 16) {
  case 1:
    return sign * 0.0f;
  case 3:
    return i == 5 ? -127.0f : sign * (float(random() % 253) * 0.5f);
  case 5:
    return sign * std::numeric_limits<float>::denorm_min() * float(random() % 5);
  case 7:
    return sign * 1e-5f * float(random() % 100) / 100;
  case 9:
    return sign * 3e38f;
  case 11:
    return i == 7 ? sign * INFINITY : 1.0f;
  case 13:
    return i == 9 ? NAN : 1.0f;
  default:
    return float(int32_t(random())) * 0x1p-31f;
  }
}

Tensor matrixOf(const Case &c) {
  std::mt19937 random(7);
  Tensor matrix(*parseDType(c.type), c.transposed ? std::vector<int64_t>{c.inputs, c.outputs} : std::vector<int64_t>{c.rows(), c.inputs});
  for (int64_t n = 0; n < c.rows(); ++n)
    for (int64_t k = 0; k < c.inputs; ++k) {
      float value = element(random, n * (c.inputs / 32) + k / 32, k % 32);
      int64_t at = c.transposed ? k * c.outputs + n : n * c.inputs + k;
      if (matrix.dtype() == DType::F32)
        matrix.as<float>()[at] = value;
      else
        matrix.as<uint16_t>()[at] = matrix.dtype() == DType::BF16 ? floatToBf16(value) : floatToF16(value);
    }
  return matrix;
}

} // namespace

// What --dtype=int8 and int4 write is found, and rounded to the same bits as the interpreter rounds it, for CPUs and for GPUs, with any number of threads.
TEST(RoundedMatrix, SameBitsAsTheInterpreter) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<llm::LLMDialect, mlir::func::FuncDialect>();
  for (const Case &c : {Case{"i8", "f32", 37, 192, false}, {"i4", "f32", 37, 192, false}, {"i8", "bf16", 16, 512, true}, {"i4", "f16", 51, 64, true}, {"i8", "f16", 1, 32, false},
                        {"i4", "bf16", 130, 96, false}, {"i4", "bf16", 37, 96, false, 3}, {"i8", "f32", 16, 64, false, 2}}) {
    SCOPED_TRACE(text(c));
    auto module = mlir::parseSourceString<mlir::ModuleOp>(text(c), &context);
    ASSERT_TRUE(module);
    mlir::PassManager passes(&context);
    passes.nest<mlir::func::FuncOp>().addPass(createConvertWeightTypesPass({c.code}));
    ASSERT_TRUE(mlir::succeeded(passes.run(*module)));
    Projection product;
    module->walk([&](mlir::Operation *op) { product = product ? product : Projection::ofAny(op); });
    std::optional<QuantizedWeight> weight = findQuantizedWeight(product.getWeight(), !c.transposed);
    ASSERT_TRUE(weight);
    ASSERT_EQ(weight->rows(), c.rows());
    std::optional<RoundedMatrix> rounded = findRoundedMatrix(*weight);
    ASSERT_TRUE(rounded);
    EXPECT_TRUE(rounded->matrix.getDefiningOp<llm::WeightOp>());
    Tensor matrix = matrixOf(c);
    std::span<const std::byte> source(static_cast<const std::byte *>(matrix.data()), matrix.bytes());
    WeightStore store;
    std::vector<int64_t> stored = matrix.shape();
    if (c.experts)
      stored = {c.experts, c.outputs, c.inputs};
    store.add("w", {matrix.dtype(), stored, source, nullptr});
    for (CodeOrder order : {CodeOrder::Words, CodeOrder::Fragments}) {
      QuantizedPanels panels = panelsOf(*weight, order);
      std::vector<std::byte> want(size_t(weight->matrices * panels.bytes(c.outputs, c.inputs)));
      auto evaluate = [&](mlir::Value value) { return Interpreter(*module, store).evaluate(value); };
      Status packed = packQuantized(*weight, panels, evaluate, want);
      ASSERT_TRUE(packed.ok()) << packed.error().str();
      for (unsigned jobs : {1u, 3u}) {
        std::vector<std::byte> got(want.size(), std::byte(0xaa));
        ASSERT_TRUE(rounded->pack(panels, source, jobs, got).ok());
        for (size_t i = 0; i < want.size(); ++i)
          ASSERT_EQ(got[i], want[i]) << "byte " << i << " of " << want.size() << ", " << jobs << " threads";
      }
      EXPECT_FALSE(rounded->pack(panels, source.first(source.size() - 4), 1, want).ok());
    }
  }
}

// Anything else is left to the interpreter: here another bound of the codes.
TEST(RoundedMatrix, OthersAreNot) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<llm::LLMDialect, mlir::func::FuncDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text({"i8", "f32", 16, 64, false}), &context);
  ASSERT_TRUE(module);
  mlir::PassManager passes(&context);
  passes.nest<mlir::func::FuncOp>().addPass(createConvertWeightTypesPass({"i8"}));
  ASSERT_TRUE(mlir::succeeded(passes.run(*module)));
  llm::LinearOp linear;
  module->walk([&](llm::LinearOp op) { linear = op; });
  module->walk([&](llm::MinOp op) {
    mlir::OpBuilder builder(op);
    auto type = mlir::RankedTensorType::get({}, builder.getF32Type());
    op.getRhsMutable().assign(llm::ConstantOp::create(builder, op.getLoc(), mlir::DenseElementsAttr::get(type, 63.0f)));
  });
  std::optional<QuantizedWeight> weight = findQuantizedWeight(linear.getWeight(), true);
  ASSERT_TRUE(weight);
  EXPECT_FALSE(findRoundedMatrix(*weight));
}
