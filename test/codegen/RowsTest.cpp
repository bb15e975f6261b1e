//===- RowsTest.cpp - norms and softmax against the interpreter -----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "LoopsKernel.h"

using namespace llmopt;
using namespace llmopt::test;

namespace {
Tensor floats(std::vector<int64_t> shape, unsigned seed = 1) { return randomTensor(DType::F32, std::move(shape), -2, 2, seed); }
const std::vector<int64_t> kWidths = {1, 3, 16, 17, 64, 172, 1000};
} // namespace

TEST(Rows, RmsNorm) {
  for (int64_t d : kWidths) {
    std::string size = std::to_string(d), x = "tensor<?x" + size + "xf32>", v = "tensor<" + size + "xf32>";
    KernelText text{.family = "rows", .operands = {{"f32", {"n", size}}, {"f32", {size}}}, .results = {x}, .body =
      "%r0 = llm.rms_norm %0 scale %1 : " + v + " {epsilon = 1.0e-5 : f32, offset = 1.0 : f32} : " + x + " -> " + x};
    checkAgainstInterpreter(text, {floats({5, d}), floats({d}, 2)}, {{"n", 5}}, 1e-5, 1e-5);
  }
}

TEST(Rows, LayerNorm) {
  for (int64_t d : kWidths) {
    std::string size = std::to_string(d), x = "tensor<?x?x" + size + "xf32>", v = "tensor<" + size + "xf32>";
    KernelText text{.family = "rows", .operands = {{"f32", {"b", "s", size}}, {"f32", {size}}, {"f32", {size}}}, .results = {x}, .body =
      "%r0 = llm.layer_norm %0 scale %1 : " + v + " bias %2 : " + v + " {epsilon = 1.0e-5 : f32} : " + x + " -> " + x};
    checkAgainstInterpreter(text, {floats({2, 3, d}), floats({d}, 2), floats({d}, 3)}, {{"b", 2}, {"s", 3}}, 1e-5, 1e-4);
  }
}

TEST(Rows, NormsWithoutParametersAndOfUnknownWidth) {
  KernelText layer{.family = "rows", .operands = {{"f32", {"n", "d"}}}, .results = {"tensor<?x?xf32>"}, .body =
    "%r0 = llm.layer_norm %0 {epsilon = 1.0e-5 : f32} : tensor<?x?xf32> -> tensor<?x?xf32>"};
  KernelText rms{.family = "rows", .operands = {{"f32", {"n", "d"}}}, .results = {"tensor<?x?xf32>"}, .body =
    "%r0 = llm.rms_norm %0 {epsilon = 1.0e-5 : f32} : tensor<?x?xf32> -> tensor<?x?xf32>"};
  for (int64_t d : {1, 40, 77})
    for (int64_t n : {0, 1, 4}) {
      checkAgainstInterpreter(layer, {floats({n, d})}, {{"n", n}, {"d", d}}, 1e-5, 1e-4);
      checkAgainstInterpreter(rms, {floats({n, d})}, {{"n", n}, {"d", d}}, 1e-5, 1e-5);
    }
}

TEST(Rows, ResidualSumBeforeAndScaleAfter) {
  for (int64_t d : kWidths) {
    std::string size = std::to_string(d), x = "tensor<?x" + size + "xf32>", v = "tensor<" + size + "xf32>";
    KernelText text{.family = "rows", .operands = {{"f32", {"n", size}}, {"f32", {"n", size}}, {"f32", {size}}, {"f32", {}}}, .results = {x, x}, .body =
      "%r1 = llm.add %0, %1 : " + x + ", " + x + " -> " + x + "\n" +
      "%n = llm.rms_norm %r1 scale %2 : " + v + " {epsilon = 1.0e-6 : f32} : " + x + " -> " + x + "\n" +
      "%r0 = llm.mul %n, %3 : " + x + ", tensor<f32> -> " + x};
    checkAgainstInterpreter(text, {floats({9, d}), floats({9, d}, 2), floats({d}, 3), floats({}, 4)}, {{"n", 9}}, 1e-5, 1e-5);
  }
}

TEST(Rows, ExtremaOfTheNormsRows) {
  for (int64_t d : kWidths)
    for (const char *norm : {"rms_norm", "layer_norm"}) {
      std::string size = std::to_string(d), x = "tensor<?x?x" + size + "xf32>";
      KernelText text{.family = "rows", .operands = {{"f32", {"b", "s", size}}, {"f32", {"b", "s", size}}},
                      .results = {x, "tensor<?x?xf32>", "tensor<?x?x1xf32>", "tensor<?x?xf32>", x}, .body =
        "%r4 = llm.add %0, %1 : " + x + ", " + x + " -> " + x + "\n" +
        "%r0 = llm." + norm + " %r4 {epsilon = 1.0e-5 : f32} : " + x + " -> " + x + "\n" +
        "%r1 = llm.reduce min %r0 axes = [2] : " + x + " -> tensor<?x?xf32>\n" +
        "%a = llm.abs %r0 : " + x + "\n" +
        "%r2 = llm.reduce max %a axes = [2] {keepdims} : " + x + " -> tensor<?x?x1xf32>\n" +
        "%r3 = llm.reduce max %r0 axes = [2] : " + x + " -> tensor<?x?xf32>"};
      checkAgainstInterpreter(text, {floats({3, 5, d}), floats({3, 5, d}, 2)}, {{"b", 3}, {"s", 5}}, 1e-5, 1e-4);
    }
}

TEST(Rows, EmbeddingBeforeHalfTypes) {
  for (const char *type : {"bf16", "f16"}) {
    std::string t = std::string("tensor<?x33x") + type + ">";
    KernelText text{.family = "rows", .operands = {{"i64", {"n"}}, {type, {"20", "33"}}, {type, {"33"}}}, .results = {t, t}, .body =
      "%r1 = llm.embedding %0, %1 : tensor<?xi64>, tensor<20x33x" + std::string(type) + "> -> " + t + "\n" +
      "%r0 = llm.rms_norm %r1 scale %2 : tensor<33x" + type + "> {epsilon = 1.0e-6 : f32} : " + t + " -> " + t};
    checkAgainstInterpreter(text, {randomTensor(DType::I64, {6}, 0, 20, 1), randomTensor(*parseDType(type), {20, 33}, -1, 1, 2), randomTensor(*parseDType(type), {33}, -1, 1, 3)},
                            {{"n", 6}}, 8e-3, 1e-4);
  }
}

TEST(Rows, Softmax) {
  for (int64_t d : kWidths) {
    std::string size = std::to_string(d), x = "tensor<?x" + size + "xf32>";
    KernelText text{.family = "rows", .operands = {{"f32", {"n", size}}, {"f32", {}}}, .results = {x}, .body =
      "%s = llm.mul %0, %1 : " + x + ", tensor<f32> -> " + x + "\n%r0 = llm.softmax %s {axis = 1} : " + x};
    checkAgainstInterpreter(text, {floats({5, d}), tensorOf(DType::F32, {}, {7})}, {{"n", 5}}, 1e-5, 1e-7);
  }
}

TEST(Rows, SoftmaxWhoseInputIsAResultToo) {
  for (int64_t d : kWidths) {
    std::string size = std::to_string(d), x = "tensor<?x" + size + "xf32>";
    KernelText text{.family = "rows", .operands = {{"f32", {"n", size}}, {"f32", {}}}, .results = {x, x}, .body =
      "%r1 = llm.mul %0, %1 : " + x + ", tensor<f32> -> " + x + "\n%r0 = llm.softmax %r1 {axis = 1} : " + x};
    checkAgainstInterpreter(text, {floats({5, d}), tensorOf(DType::F32, {}, {7})}, {{"n", 5}}, 1e-5, 1e-7);
  }
}

// Nothing of a row of one element may be computed before the row.
TEST(Rows, SoftmaxOfOneElementWithAnEpilogue) {
  KernelText text{.family = "rows", .operands = {{"f32", {"1", "1"}}}, .results = {"tensor<1x1xf32>"}, .body =
    "%s = llm.softmax %0 {axis = 1} : tensor<1x1xf32>\n%r0 = llm.tanh %s : tensor<1x1xf32>"};
  checkAgainstInterpreter(text, {floats({1, 1})}, {}, 1e-5, 1e-7);
}

TEST(Rows, SoftmaxOfMaskedAndDouble) {
  KernelText text{.family = "rows", .operands = {{"f32", {"2", "5"}}}, .results = {"tensor<2x5xf32>"}, .body = "%r0 = llm.softmax %0 {axis = 1} : tensor<2x5xf32>"};
  checkAgainstInterpreter(text, {tensorOf(DType::F32, {2, 5}, {-INFINITY, 1, 2, -INFINITY, 300, -1e30, -1e30, -1e30, 5, -INFINITY})}, {}, 1e-5, 1e-7);
  KernelText wide{.family = "rows", .operands = {{"f64", {"n", "21"}}}, .results = {"tensor<?x21xf64>"}, .body = "%r0 = llm.softmax %0 {axis = 1} : tensor<?x21xf64>"};
  checkAgainstInterpreter(wide, {randomTensor(DType::F64, {3, 21}, -3, 3, 1)}, {{"n", 3}}, 1e-12, 1e-13);
}

TEST(Rows, SoftmaxOfConstantMask) {
  for (std::string size : {"6", "16", "19"}) {
    std::string x = "tensor<2x4x" + size + "xf32>", mask = "tensor<4x" + size + "xf32>", rows;
    for (int i = 0; i < 4; ++i) {
      rows += i ? "], [" : "[";
      for (int j = 0; j < std::stoi(size); ++j)
        rows += std::string(j ? ", " : "") + (j <= i ? "0.0" : "0xFF800000");
    }
    KernelText text{.family = "rows", .operands = {{"f32", {"2", "4", size}}}, .results = {x}, .body =
      "%m = llm.constant dense<[" + rows + "]]> : " + mask + "\n%s = llm.add %0, %m : " + x + ", " + mask + " -> " + x +
      "\n%r0 = llm.softmax %s {axis = 2} : " + x};
    checkAgainstInterpreter(text, {floats({2, 4, std::stoll(size)})}, {}, 1e-5, 1e-7);
  }
}

TEST(Rows, SoftmaxAlongAnotherAxis) {
  for (int axis : {0, 1}) {
    KernelText text{.family = "rows", .operands = {{"f32", {"b", "s", "37"}}}, .results = {"tensor<?x?x37xf32>"}, .body =
      "%r0 = llm.softmax %0 {axis = " + std::to_string(axis) + "} : tensor<?x?x37xf32>"};
    checkAgainstInterpreter(text, {floats({4, 5, 37})}, {{"b", 4}, {"s", 5}}, 1e-5, 1e-7);
  }
}
