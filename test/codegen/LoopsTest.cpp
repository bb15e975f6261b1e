//===- LoopsTest.cpp - loop nests against the interpreter -----------------===//
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
constexpr double kExact = 0, kF32 = 2e-6;
} // namespace

//===----------------------------------------------------------------------===//
// Broadcasting
//===----------------------------------------------------------------------===//

TEST(Loops, FlatChain) {
  KernelText text{.operands = {{"f32", {"n", "172"}}, {"f32", {"n", "172"}}, {"f32", {}}}, .results = {"tensor<?x172xf32>"}, .body = R"(
    %s = llm.mul %0, %2 : tensor<?x172xf32>, tensor<f32> -> tensor<?x172xf32>
    %r0 = llm.add %s, %1 : tensor<?x172xf32>, tensor<?x172xf32> -> tensor<?x172xf32>)"};
  for (int64_t n : {0, 1, 3, 100})
    checkAgainstInterpreter(text, {floats({n, 172}), floats({n, 172}, 2), floats({}, 3)}, {{"n", n}}, kF32, 1e-6);
}

TEST(Loops, BroadcastColumnsAndRows) {
  KernelText text{.operands = {{"f32", {"n", "m"}}, {"f32", {"m"}}, {"f32", {"n", "1"}}}, .results = {"tensor<?x?xf32>"}, .body = R"(
    %s = llm.mul %0, %1 : tensor<?x?xf32>, tensor<?xf32> -> tensor<?x?xf32>
    %r0 = llm.sub %s, %2 : tensor<?x?xf32>, tensor<?x1xf32> -> tensor<?x?xf32>)"};
  for (auto [n, m] : {std::pair<int64_t, int64_t>(3, 17), {1, 1}, {5, 64}, {2, 5000}, {0, 4}, {4, 0}})
    checkAgainstInterpreter(text, {floats({n, m}), floats({m}, 2), floats({n, 1}, 3)}, {{"n", n}, {"m", m}}, kF32, 1e-6);
}

TEST(Loops, SizeOneToldAtRunTime) {
  KernelText text{.operands = {{"f32", {"a", "b"}}, {"f32", {"c", "d"}}}, .results = {"tensor<?x?xf32>"}, .body = R"(
    %r0 = llm.add %0, %1 : tensor<?x?xf32>, tensor<?x?xf32> -> tensor<?x?xf32>)"};
  for (auto [a, b, c, d] : {std::tuple<int64_t, int64_t, int64_t, int64_t>(3, 20, 3, 20), {1, 20, 3, 20}, {3, 1, 3, 20}, {3, 20, 1, 1}, {3, 1, 1, 20}})
    checkAgainstInterpreter(text, {floats({a, b}), floats({c, d}, 2)}, {{"a", a}, {"b", b}, {"c", c}, {"d", d}}, kExact, 0);
}

TEST(Loops, HalfTypesAndBooleans) {
  for (const char *type : {"bf16", "f16", "f32", "f64"}) {
    std::string t = std::string("tensor<?x19x") + type + ">";
    KernelText text{.operands = {{type, {"n", "19"}}, {type, {"n", "19"}}}, .results = {t, "tensor<?x19xi1>"}, .body =
      "%r1 = llm.compare gt %0, %1 : " + t + ", " + t + " -> tensor<?x19xi1>\n" +
      "%r0 = llm.select %r1, %0, %1 : tensor<?x19xi1>, " + t + ", " + t + " -> " + t};
    DType dtype = *parseDType(type);
    checkAgainstInterpreter(text, {randomTensor(dtype, {5, 19}, -1, 1, 1), randomTensor(dtype, {5, 19}, -1, 1, 2)}, {{"n", 5}}, kExact, 0);
  }
}

//===----------------------------------------------------------------------===//
// Views, transposes, cuts
//===----------------------------------------------------------------------===//

TEST(Loops, SplitHeadsAndTranspose) {
  KernelText text{.operands = {{"f32", {"b", "s", "96"}}}, .results = {"tensor<?x3x?x32xf32>"}, .body = R"(
    %shape = llm.constant dense<[0, 0, 3, 32]> : tensor<4xi64>
    %h = llm.reshape %0, %shape : tensor<?x?x96xf32>, tensor<4xi64> -> tensor<?x?x3x32xf32>
    %r0 = llm.transpose %h permutation = [0, 2, 1, 3] : tensor<?x?x3x32xf32> -> tensor<?x3x?x32xf32>)"};
  checkAgainstInterpreter(text, {floats({2, 5, 96})}, {{"b", 2}, {"s", 5}}, kExact, 0);
}

TEST(Loops, JoinHeads) {
  KernelText text{.operands = {{"f32", {"b", "3", "s", "20"}}}, .results = {"tensor<?x?x60xf32>"}, .body = R"(
    %t = llm.transpose %0 permutation = [0, 2, 1, 3] : tensor<?x3x?x20xf32> -> tensor<?x?x3x20xf32>
    %shape = llm.constant dense<[0, 0, -1]> : tensor<3xi64>
    %r0 = llm.reshape %t, %shape : tensor<?x?x3x20xf32>, tensor<3xi64> -> tensor<?x?x60xf32>)"};
  checkAgainstInterpreter(text, {floats({2, 3, 7, 20})}, {{"b", 2}, {"s", 7}}, kExact, 0);
}

TEST(Loops, ReshapeInTheMiddle) {
  KernelText text{.operands = {{"f32", {"n", "6", "8"}}, {"f32", {"n", "48"}}}, .results = {"tensor<?x48xf32>"}, .body = R"(
    %e = llm.neg %0 : tensor<?x6x8xf32>
    %t = llm.transpose %e permutation = [0, 2, 1] : tensor<?x6x8xf32> -> tensor<?x8x6xf32>
    %f = llm.flatten %t {axis = 1} : tensor<?x8x6xf32> -> tensor<?x48xf32>
    %r0 = llm.add %f, %1 : tensor<?x48xf32>, tensor<?x48xf32> -> tensor<?x48xf32>)"};
  checkAgainstInterpreter(text, {floats({3, 6, 8}), floats({3, 48}, 2)}, {{"n", 3}}, kExact, 0);
}

TEST(Loops, TransposeLast) {
  KernelText text{.operands = {{"f32", {"n", "m"}}}, .results = {"tensor<?x?xf32>"}, .body = R"(
    %r0 = llm.transpose %0 permutation = [1, 0] : tensor<?x?xf32> -> tensor<?x?xf32>)"};
  checkAgainstInterpreter(text, {floats({37, 19})}, {{"n", 37}, {"m", 19}}, kExact, 0);
}

TEST(Loops, Slices) {
  KernelText text{.operands = {{"f32", {"n", "40"}}}, .results = {"tensor<?x12xf32>"}, .body = R"(
    %s = llm.constant dense<[-30, -1]> : tensor<2xi64>
    %e = llm.constant dense<[-6, -9223372036854775808]> : tensor<2xi64>
    %r0 = llm.slice %0, %s, %e axes = [1, 0] steps = [2, -1] : tensor<?x40xf32>, tensor<2xi64>, tensor<2xi64> -> tensor<?x12xf32>)"};
  checkAgainstInterpreter(text, {floats({5, 40})}, {{"n", 5}}, kExact, 0);
}

TEST(Loops, RotateHalf) {
  KernelText text{.operands = {{"f32", {"n", "64"}}, {"f32", {"n", "64"}}}, .results = {"tensor<?x64xf32>"}, .body = R"(
    %zero = llm.constant dense<0> : tensor<1xi64>
    %half = llm.constant dense<32> : tensor<1xi64>
    %all = llm.constant dense<64> : tensor<1xi64>
    %l = llm.slice %0, %zero, %half axes = [1] steps = [1] : tensor<?x64xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<?x32xf32>
    %h = llm.slice %0, %half, %all axes = [1] steps = [1] : tensor<?x64xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<?x32xf32>
    %m = llm.neg %h : tensor<?x32xf32>
    %c = llm.concat %m, %l {axis = 1} : tensor<?x32xf32>, tensor<?x32xf32> -> tensor<?x64xf32>
    %r0 = llm.mul %c, %1 : tensor<?x64xf32>, tensor<?x64xf32> -> tensor<?x64xf32>)"};
  checkAgainstInterpreter(text, {floats({5, 64}), floats({5, 64}, 2)}, {{"n", 5}}, kExact, 0);
}

TEST(Loops, ConcatInTheMiddleUnaligned) {
  KernelText text{.operands = {{"f32", {"n", "p"}}, {"f32", {"n", "q"}}, {"f32", {"n", "3"}}}, .results = {"tensor<?x?xf32>"}, .body = R"(
    %c = llm.concat %0, %1, %2 {axis = 1} : tensor<?x?xf32>, tensor<?x?xf32>, tensor<?x3xf32> -> tensor<?x?xf32>
    %r0 = llm.neg %c : tensor<?x?xf32>)"};
  for (auto [p, q] : {std::pair<int64_t, int64_t>(7, 20), {0, 30}, {16, 0}})
    checkAgainstInterpreter(text, {floats({3, p}), floats({3, q}, 2), floats({3, 3}, 3)}, {{"n", 3}, {"p", p}, {"q", q}}, kExact, 0);
}

TEST(Loops, ConcatAtTheEnd) {
  KernelText text{.operands = {{"f32", {"b", "2", "p", "16"}}, {"f32", {"b", "2", "s", "16"}}}, .results = {"tensor<?x2x?x16xf32>"}, .body = R"(
    %r0 = llm.concat %0, %1 {axis = 2} : tensor<?x2x?x16xf32>, tensor<?x2x?x16xf32> -> tensor<?x2x?x16xf32>)"};
  for (auto [p, s] : {std::pair<int64_t, int64_t>(7, 1), {0, 5}, {600, 1}})
    checkAgainstInterpreter(text, {floats({2, 2, p, 16}), floats({2, 2, s, 16}, 2)}, {{"b", 2}, {"p", p}, {"s", s}}, kExact, 0);
}

TEST(Loops, TileBroadcastPadRange) {
  KernelText tile{.operands = {{"f32", {"n", "5"}}}, .results = {"tensor<?x15xf32>"}, .body = R"(
    %k = llm.constant dense<[2, 3]> : tensor<2xi64>
    %r0 = llm.tile %0, %k : tensor<?x5xf32>, tensor<2xi64> -> tensor<?x15xf32>)"};
  checkAgainstInterpreter(tile, {floats({4, 5})}, {{"n", 4}}, kExact, 0);
  KernelText broadcast{.operands = {{"f32", {"n", "1", "9"}}}, .results = {"tensor<?x4x9xf32>"}, .body = R"(
    %k = llm.constant dense<[1, 4, 9]> : tensor<3xi64>
    %r0 = llm.broadcast %0, %k : tensor<?x1x9xf32>, tensor<3xi64> -> tensor<?x4x9xf32>)"};
  checkAgainstInterpreter(broadcast, {floats({4, 1, 9})}, {{"n", 4}}, kExact, 0);
  for (std::string mode : {"constant", "edge", "reflect", "wrap"}) {
    KernelText pad{.operands = {{"f32", {"6", "21"}}, {"f32", {}}}, .results = {"tensor<9x26xf32>"}, .body = R"(
      %p = llm.constant dense<[1, 3, 2, 2]> : tensor<4xi64>
      %r0 = llm.pad )" + mode + R"( %0, %p, %1 : tensor<6x21xf32>, tensor<4xi64>, tensor<f32> -> tensor<9x26xf32>)"};
    checkAgainstInterpreter(pad, {floats({6, 21}), floats({}, 2)}, {}, kExact, 0);
  }
  KernelText range{.operands = {{"i64", {}}, {"i64", {}}, {"i64", {}}}, .results = {"tensor<24xi64>"}, .body = R"(
    %r0 = llm.range %0, %1, %2 : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<24xi64>)"};
  checkAgainstInterpreter(range, {tensorOf(DType::I64, {}, {5}), tensorOf(DType::I64, {}, {77}), tensorOf(DType::I64, {}, {3})}, {}, kExact, 0);
}

TEST(Loops, SeveralResults) {
  KernelText text{.operands = {{"f32", {"n", "33"}}}, .results = {"tensor<?x33xf32>", "tensor<?x33xf32>", "tensor<33x?xf32>"}, .body = R"(
    %r0 = llm.abs %0 : tensor<?x33xf32>
    %r1 = llm.mul %r0, %0 : tensor<?x33xf32>, tensor<?x33xf32> -> tensor<?x33xf32>
    %r2 = llm.transpose %r0 permutation = [1, 0] : tensor<?x33xf32> -> tensor<33x?xf32>)"};
  checkAgainstInterpreter(text, {floats({70, 33})}, {{"n", 70}}, kExact, 0);
}

//===----------------------------------------------------------------------===//
// Indexing
//===----------------------------------------------------------------------===//

TEST(Loops, Embedding) {
  for (const char *type : {"f32", "bf16", "f16"}) {
    KernelText text{.operands = {{"i64", {"n"}}, {type, {"50", "40"}}}, .results = {"tensor<?x40xf32>"}, .body =
      std::string("%r0 = llm.embedding %0, %1 : tensor<?xi64>, tensor<50x40x") + type + "> -> tensor<?x40xf32>"};
    checkAgainstInterpreter(text, {randomTensor(DType::I64, {9}, 0, 50, 3), randomTensor(*parseDType(type), {50, 40}, -1, 1, 4)}, {{"n", 9}}, kExact, 0);
  }
}

TEST(Loops, Gathers) {
  KernelText gather{.operands = {{"f32", {"3", "n", "5"}}, {"i32", {"2", "4"}}}, .results = {"tensor<3x2x4x5xf32>"}, .body = R"(
    %r0 = llm.gather %0, %1 {axis = 1} : tensor<3x?x5xf32>, tensor<2x4xi32> -> tensor<3x2x4x5xf32>)"};
  checkAgainstInterpreter(gather, {floats({3, 7, 5}), randomTensor(DType::I32, {2, 4}, -7, 7, 5)}, {{"n", 7}}, kExact, 0);
  KernelText last{.operands = {{"f32", {"3", "n"}}, {"i64", {"30"}}}, .results = {"tensor<3x30xf32>"}, .body = R"(
    %r0 = llm.gather %0, %1 {axis = 1} : tensor<3x?xf32>, tensor<30xi64> -> tensor<3x30xf32>)"};
  checkAgainstInterpreter(last, {floats({3, 7}), randomTensor(DType::I64, {30}, -7, 7, 5)}, {{"n", 7}}, kExact, 0);
  KernelText elements{.operands = {{"f32", {"6", "9"}}, {"i64", {"4", "9"}}}, .results = {"tensor<4x9xf32>"}, .body = R"(
    %r0 = llm.gather_elements %0, %1 {axis = 0} : tensor<6x9xf32>, tensor<4x9xi64> -> tensor<4x9xf32>)"};
  checkAgainstInterpreter(elements, {floats({6, 9}), randomTensor(DType::I64, {4, 9}, -6, 6, 5)}, {}, kExact, 0);
  KernelText nd{.operands = {{"f32", {"2", "6", "9"}}, {"i64", {"2", "4", "1"}}}, .results = {"tensor<2x4x9xf32>"}, .body = R"(
    %r0 = llm.gather_nd %0, %1 {batch_dims = 1} : tensor<2x6x9xf32>, tensor<2x4x1xi64> -> tensor<2x4x9xf32>)"};
  checkAgainstInterpreter(nd, {floats({2, 6, 9}), randomTensor(DType::I64, {2, 4, 1}, -6, 6, 5)}, {}, kExact, 0);
}

//===----------------------------------------------------------------------===//
// Reductions and products
//===----------------------------------------------------------------------===//

TEST(Loops, ReduceLast) {
  for (std::string kind : {"sum", "mean", "max", "min", "prod"}) {
    KernelText text{.operands = {{"f32", {"n", "m"}}}, .results = {"tensor<?x1xf32>"}, .body =
      "%r0 = llm.reduce " + kind + " %0 axes = [1] {keepdims} : tensor<?x?xf32> -> tensor<?x1xf32>"};
    for (int64_t m : {1, 7, 16, 100, 1031, 0})
      if (m || kind == "sum" || kind == "prod")
        checkAgainstInterpreter(text, {floats({3, m})}, {{"n", 3}, {"m", m}}, 2e-5, 1e-5);
  }
}

TEST(Loops, ReduceFirstAndMiddle) {
  KernelText first{.operands = {{"f32", {"n", "37"}}}, .results = {"tensor<37xf32>"}, .body =
    "%r0 = llm.reduce sum %0 axes = [0] : tensor<?x37xf32> -> tensor<37xf32>"};
  checkAgainstInterpreter(first, {floats({11, 37})}, {{"n", 11}}, 1e-5, 1e-5);
  KernelText both{.operands = {{"i32", {"4", "n", "21"}}}, .results = {"tensor<4xi32>"}, .body =
    "%r0 = llm.reduce max %0 axes = [1, 2] : tensor<4x?x21xi32> -> tensor<4xi32>"};
  checkAgainstInterpreter(both, {randomTensor(DType::I32, {4, 5, 21}, -100, 100, 4)}, {{"n", 5}}, kExact, 0);
}

TEST(Loops, MeanTakenOff) { // the mean is computed once per row
  KernelText text{.operands = {{"f32", {"n", "50"}}}, .results = {"tensor<?x50xf32>"}, .body = R"(
    %m = llm.reduce mean %0 axes = [1] {keepdims} : tensor<?x50xf32> -> tensor<?x1xf32>
    %r0 = llm.sub %0, %m : tensor<?x50xf32>, tensor<?x1xf32> -> tensor<?x50xf32>)"};
  checkAgainstInterpreter(text, {floats({4, 50})}, {{"n", 4}}, 1e-5, 1e-6);
}

TEST(Loops, ArgReduce) {
  for (std::string last : {"", " {last}"})
    for (std::string kind : {"max", "min"}) {
      KernelText text{.operands = {{"f32", {"n", "m"}}}, .results = {"tensor<?xi64>"}, .body =
        "%r0 = llm.arg_reduce " + kind + " %0 {axis = 1" + (last.empty() ? "" : ", last") + "} : tensor<?x?xf32> -> tensor<?xi64>"};
      checkAgainstInterpreter(text, {randomTensor(DType::F32, {3, 40}, 0, 1, 9)}, {{"n", 3}, {"m", 40}}, kExact, 0);
      Tensor ties = tensorOf(DType::F32, {1, 5}, {1, 3, 0, 3, 0});
      checkAgainstInterpreter(text, {ties}, {{"n", 1}, {"m", 5}}, kExact, 0);
    }
}

TEST(Loops, ProductsAndConvolution) {
  KernelText integer{.operands = {{"i8", {"n", "9"}}, {"i8", {"9", "20"}}}, .results = {"tensor<?x20xi32>"}, .body = R"(
    %r0 = llm.matmul %0, %1 : tensor<?x9xi8>, tensor<9x20xi8> -> tensor<?x20xi32>)"};
  checkAgainstInterpreter(integer, {randomTensor(DType::I8, {3, 9}, -100, 100, 1), randomTensor(DType::I8, {9, 20}, -100, 100, 2)}, {{"n", 3}}, kExact, 0);
  KernelText conv{.operands = {{"f32", {"2", "4", "n"}}, {"f32", {"6", "2", "3"}}, {"f32", {"6"}}}, .results = {"tensor<2x6x?xf32>"}, .body = R"(
    %r0 = llm.conv %0, %1, %2 {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, groups = 2 : i64}
      : tensor<2x4x?xf32>, tensor<6x2x3xf32>, tensor<6xf32> -> tensor<2x6x?xf32>)"};
  checkAgainstInterpreter(conv, {floats({2, 4, 19}), floats({6, 2, 3}, 2), floats({6}, 3)}, {{"n", 19}}, 1e-5, 1e-5);
}

TEST(Loops, Windows) {
  for (int64_t channels : {1, 3, 16, 17}) {
    SCOPED_TRACE(channels);
    std::string c = std::to_string(channels), row = std::to_string(3 * channels);
    KernelText sound{.operands = {{"f32", {"2", "n", c}}}, .results = {"tensor<2x?x" + row + "xf32>"}, .body = "%r0 = llm.windows %0 kernel = [3] "
      "{strides = array<i64: 2>, pads = array<i64: 2, 1>, dilations = array<i64: 2>} : tensor<2x?x" + c + "xf32> -> tensor<2x?x" + row + "xf32>"};
    for (int64_t n : {2, 19})
      checkAgainstInterpreter(sound, {floats({2, n, channels})}, {{"n", n}}, kExact, 0);
    // Taken apart, weighted and added up: a depthwise convolution.
    std::string image = "tensor<1x?x7x" + c + "xf32>", rows = "tensor<1x?x7x" + std::to_string(6 * channels) + "xf32>", apart = "tensor<1x?x7x2x3x" + c + "xf32>";
    KernelText depthwise{.operands = {{"f32", {"1", "n", "7", c}}, {"f32", {"2", "3", c}}}, .results = {image}, .body =
      "%w = llm.windows %0 kernel = [2, 3] {strides = array<i64: 1, 1>, pads = array<i64: 1, 1, 0, 1>, dilations = array<i64: 1, 1>} : " + image + " -> " + rows + R"(
    %s = llm.constant dense<[0, 0, 0, 2, 3, )" + c + R"(]> : tensor<6xi64>
    %p = llm.reshape %w, %s : )" + rows + ", tensor<6xi64> -> " + apart + R"(
    %m = llm.mul %p, %1 : )" + apart + ", tensor<2x3x" + c + "xf32> -> " + apart + R"(
    %r0 = llm.reduce sum %m axes = [3, 4] : )" + apart + " -> " + image};
    checkAgainstInterpreter(depthwise, {floats({1, 5, 7, channels}), floats({2, 3, channels}, 2)}, {{"n", 5}}, 1e-5, 1e-5);
  }
}

TEST(Loops, Rope) {
  for (std::string interleaved : {"", " {interleaved}"}) {
    KernelText text{.operands = {{"f32", {"t", "3", "40"}}, {"i64", {"t"}}, {"f32", {"16"}}}, .results = {"tensor<?x3x40xf32>"}, .body =
      "%r0 = llm.rope %0, %1, %2" + interleaved + " : tensor<?x3x40xf32>, tensor<?xi64>, tensor<16xf32> -> tensor<?x3x40xf32>"};
    checkAgainstInterpreter(text, {floats({4, 3, 40}), randomTensor(DType::I64, {4}, 0, 5000, 2), randomTensor(DType::F32, {16}, 0, 1, 3)}, {{"t", 4}}, 1e-5, 1e-3);
  }
}
