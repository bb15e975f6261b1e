//===- LoopsSlicesTest.cpp - topk, running sums, scatters -----------------===//
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
} // namespace

TEST(Slices, RunningSums) {
  for (std::string flags : {"", ", exclusive", ", reverse", ", exclusive, reverse"})
    for (int axis : {0, 1, 2}) {
      KernelText text{.operands = {{"f32", {"b", "n", "21"}}}, .results = {"tensor<?x?x21xf32>"}, .body =
        "%r0 = llm.cumsum %0 {axis = " + std::to_string(axis) + flags + "} : tensor<?x?x21xf32> -> tensor<?x?x21xf32>"};
      for (int64_t n : {0, 1, 7})
        checkAgainstInterpreter(text, {floats({3, n, 21})}, {{"b", 3}, {"n", n}}, 1e-5, 1e-5);
    }
  KernelText integers{.operands = {{"i64", {"n"}}}, .results = {"tensor<?xi64>"}, .body = "%r0 = llm.cumsum %0 {axis = 0} : tensor<?xi64> -> tensor<?xi64>"};
  checkAgainstInterpreter(integers, {randomTensor(DType::I64, {50}, -100, 100, 3)}, {{"n", 50}}, 0, 0);
}

TEST(Slices, TopK) {
  for (std::string largest : {"true", "false"})
    for (std::string type : {"f32", "i64", "f16", "ui8"}) {
      std::string in = "tensor<?x40x" + type + ">", out = "tensor<?x7x" + type + ">";
      KernelText text{.operands = {{type, {"n", "40"}}}, .results = {out, "tensor<?x7xi64>"}, .body =
        "%k = llm.constant dense<7> : tensor<1xi64>\n%r0, %r1 = llm.topk %0, %k {axis = 1, largest = " + largest + "} : " + in + ", tensor<1xi64> -> " + out + ", tensor<?x7xi64>"};
      DType dtype = type == "ui8" ? DType::U8 : *parseDType(type);
      checkAgainstInterpreter(text, {randomTensor(dtype, {4, 40}, 0, 20, 6)}, {{"n", 4}}, 0, 0);
    }
  KernelText outer{.operands = {{"f32", {"6", "5"}}}, .results = {"tensor<6x5xi64>"}, .body = R"(
    %k = llm.constant dense<6> : tensor<1xi64>
    %v, %r0 = llm.topk %0, %k {axis = 0, largest = true} : tensor<6x5xf32>, tensor<1xi64> -> tensor<6x5xf32>, tensor<6x5xi64>)"};
  checkAgainstInterpreter(outer, {floats({6, 5})}, {}, 0, 0);
}

TEST(Slices, ScatterElements) {
  for (std::string kind : {"none", "add", "mul", "max", "min"}) {
    KernelText text{.operands = {{"f32", {"6", "9"}}, {"i64", {"4", "7"}}, {"f32", {"4", "7"}}}, .results = {"tensor<6x9xf32>"}, .body =
      "%r0 = llm.scatter_elements " + kind + " %0, %1, %2 {axis = 0} : tensor<6x9xf32>, tensor<4x7xi64>, tensor<4x7xf32> -> tensor<6x9xf32>"};
    checkAgainstInterpreter(text, {floats({6, 9}), randomTensor(DType::I64, {4, 7}, -6, 6, 5), floats({4, 7}, 3)}, {}, 1e-6, 1e-6);
  }
}

TEST(Slices, ScatterND) {
  for (std::string kind : {"none", "add", "max"}) {
    KernelText text{.operands = {{"f32", {"n", "5", "3"}}, {"i64", {"u", "1"}}, {"f32", {"u", "5", "3"}}}, .results = {"tensor<?x5x3xf32>"}, .body =
      "%r0 = llm.scatter_nd " + kind + " %0, %1, %2 : tensor<?x5x3xf32>, tensor<?x1xi64>, tensor<?x5x3xf32> -> tensor<?x5x3xf32>"};
    for (int64_t n : {1, 40})
      checkAgainstInterpreter(text, {floats({n, 5, 3}), randomTensor(DType::I64, {8, 1}, -double(n), double(n), 5), floats({8, 5, 3}, 3)}, {{"n", n}, {"u", 8}}, 1e-6, 1e-6);
    KernelText points{.operands = {{"f32", {"4", "5"}}, {"i64", {"3", "2"}}, {"f32", {"3"}}}, .results = {"tensor<4x5xf32>"}, .body =
      "%r0 = llm.scatter_nd " + kind + " %0, %1, %2 : tensor<4x5xf32>, tensor<3x2xi64>, tensor<3xf32> -> tensor<4x5xf32>"};
    checkAgainstInterpreter(points, {floats({4, 5}), randomTensor(DType::I64, {3, 2}, 0, 4, 5), floats({3}, 3)}, {}, 1e-6, 1e-6);
  }
}
