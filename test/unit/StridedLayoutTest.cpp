//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Analysis/StridedLayout.h"

#include "llmopt/dialects/LLM/LLM.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"

#include <gtest/gtest.h>

using namespace llmopt;

namespace {

std::string text(const std::optional<StridedLayout> &layout) {
  if (!layout)
    return "none";
  std::string result = layout->offset.str() + ":";
  for (SymExpr stride : layout->strides)
    result += " " + stride.str();
  return result;
}

/// The layout of what a function of one argument returns, in the argument; or that of the argument, for the result.
std::string layoutOf(llvm::StringRef body, bool forResult = false) {
  mlir::MLIRContext context;
  context.loadDialect<llm::LLMDialect, mlir::func::FuncDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(body, &context);
  if (!module)
    return "does not parse";
  auto function = *module->getOps<mlir::func::FuncOp>().begin();
  SymContext symbols;
  ShapeAnalysis shapes(symbols);
  shapes.run(function);
  mlir::Value value = function.front().getTerminator()->getOperand(0), source = function.getArgument(0);
  return text(forResult ? layoutForResult(source, value, shapes) : layoutInSource(value, source, shapes));
}

} // namespace

TEST(StridedLayout, HeadsOfPackedProjection) {
  EXPECT_EQ(layoutOf(R"mlir(
    func.func @f(%x: tensor<?x?x192xf32> {llm.dims = ["b", "s", 192]}) -> tensor<?x4x?x16xf32> {
      %from = llm.constant dense<64> : tensor<1xi64>
      %to = llm.constant dense<128> : tensor<1xi64>
      %shape = llm.constant dense<[0, 0, 4, 16]> : tensor<4xi64>
      %s = llm.slice %x, %from, %to axes = [2] steps = [1] : tensor<?x?x192xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<?x?x64xf32>
      %r = llm.reshape %s, %shape : tensor<?x?x64xf32>, tensor<4xi64> -> tensor<?x?x4x16xf32>
      %t = llm.transpose %r permutation = [0, 2, 1, 3] : tensor<?x?x4x16xf32> -> tensor<?x4x?x16xf32>
      return %t : tensor<?x4x?x16xf32>
    })mlir"),
            "64: 192 * s 16 192 1");
}

TEST(StridedLayout, SplitsAndJoinsDimensions) {
  EXPECT_EQ(layoutOf(R"mlir(
    func.func @f(%x: tensor<6x4x5xf32>) -> tensor<2x3x1x20xf32> {
      %shape = llm.constant dense<[2, 3, 1, 20]> : tensor<4xi64>
      %r = llm.reshape %x, %shape : tensor<6x4x5xf32>, tensor<4xi64> -> tensor<2x3x1x20xf32>
      return %r : tensor<2x3x1x20xf32>
    })mlir"),
            "0: 60 20 0 1");
}

TEST(StridedLayout, TransposedDimensionsAreNotJoined) {
  EXPECT_EQ(layoutOf(R"mlir(
    func.func @f(%x: tensor<4x5xf32>) -> tensor<20xf32> {
      %shape = llm.constant dense<20> : tensor<1xi64>
      %t = llm.transpose %x permutation = [1, 0] : tensor<4x5xf32> -> tensor<5x4xf32>
      %r = llm.reshape %t, %shape : tensor<5x4xf32>, tensor<1xi64> -> tensor<20xf32>
      return %r : tensor<20xf32>
    })mlir"),
            "none");
}

TEST(StridedLayout, SliceWithStepsOrOfUnknownStart) {
  EXPECT_EQ(layoutOf(R"mlir(
    func.func @f(%x: tensor<8xf32>) -> tensor<4xf32> {
      %from = llm.constant dense<0> : tensor<1xi64>
      %to = llm.constant dense<8> : tensor<1xi64>
      %s = llm.slice %x, %from, %to axes = [0] steps = [2] : tensor<8xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<4xf32>
      return %s : tensor<4xf32>
    })mlir"),
            "none");
  EXPECT_EQ(layoutOf(R"mlir(
    func.func @f(%x: tensor<?x2xf32> {llm.dims = ["n", 2]}) -> tensor<?x2xf32> {
      %from = llm.constant dense<-1> : tensor<1xi64>
      %to = llm.constant dense<9223372036854775807> : tensor<1xi64>
      %s = llm.slice %x, %from, %to axes = [0] steps = [1] : tensor<?x2xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<?x2xf32>
      return %s : tensor<?x2xf32>
    })mlir"),
            "none");
}

TEST(StridedLayout, ResultIsWrittenTransposed) {
  EXPECT_EQ(layoutOf(R"mlir(
    func.func @f(%x: tensor<?x4x?x16xf32> {llm.dims = ["b", 4, "s", 16]}) -> tensor<?x?x64xf32> {
      %shape = llm.constant dense<[0, 0, 64]> : tensor<3xi64>
      %t = llm.transpose %x permutation = [0, 2, 1, 3] : tensor<?x4x?x16xf32> -> tensor<?x?x4x16xf32>
      %r = llm.reshape %t, %shape : tensor<?x?x4x16xf32>, tensor<3xi64> -> tensor<?x?x64xf32>
      return %r : tensor<?x?x64xf32>
    })mlir",
                     /*forResult=*/true),
            "0: 64 * s 16 64 1");
}
