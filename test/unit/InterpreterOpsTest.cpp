//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "InterpreterHarness.h"

using namespace llmopt;
using Doubles = std::vector<double>;

namespace {

struct InterpreterOps : InterpreterFixture {
  /// "llm.add %a, %b : types -> type" with `a` and `b` as constants.
  Doubles binary(std::string op, std::string a, std::string aType, std::string b, std::string bType, std::string type) {
    return values("func.func @f() -> " + type + " {\n%a = llm.constant dense<" + a + "> : " + aType +
                  "\n%b = llm.constant dense<" + b + "> : " + bType + "\n%0 = " + op + " : " + aType + ", " + bType + " -> " + type +
                  "\nreturn %0 : " + type + "\n}");
  }
  Doubles unary(std::string op, std::string a, std::string aType, std::string type) {
    std::string types = op == "llm.cast" || type != aType ? aType + " -> " + type : type;
    return values("func.func @f() -> " + type + " {\n%a = llm.constant dense<" + a + "> : " + aType + "\n%0 = " + op + " %a : " +
                  types + "\nreturn %0 : " + type + "\n}");
  }
};

TEST_F(InterpreterOps, BroadcastsAsNumPy) {
  EXPECT_EQ(binary("llm.add %a, %b", "[[1.0], [2.0]]", "tensor<2x1xf32>", "[10.0, 20.0, 30.0]", "tensor<3xf32>", "tensor<2x3xf32>"),
            (Doubles{11, 21, 31, 12, 22, 32}));
  EXPECT_EQ(binary("llm.sub %a, %b", "5", "tensor<i64>", "[[1], [7]]", "tensor<2x1xi64>", "tensor<2x1xi64>"), (Doubles{4, -2}));
}

TEST_F(InterpreterOps, IntegersWrapAndDivideTowardsZero) {
  EXPECT_EQ(binary("llm.add %a, %b", "[127, -128]", "tensor<2xi8>", "[1, -1]", "tensor<2xi8>", "tensor<2xi8>"), (Doubles{-128, 127}));
  EXPECT_EQ(binary("llm.mul %a, %b", "[200]", "tensor<1xui8>", "[2]", "tensor<1xui8>", "tensor<1xui8>"), (Doubles{144}));
  EXPECT_EQ(binary("llm.div %a, %b", "[-7, 7]", "tensor<2xi32>", "[2, -2]", "tensor<2xi32>", "tensor<2xi32>"), (Doubles{-3, -3}));
  EXPECT_EQ(binary("llm.div %a, %b", "[-9223372036854775808]", "tensor<1xi64>", "[-1]", "tensor<1xi64>", "tensor<1xi64>"),
            (Doubles{-0x1p63}));
  EXPECT_EQ(binary("llm.mod %a, %b", "[-7, 7, -7]", "tensor<3xi32>", "[3, -3, -1]", "tensor<3xi32>", "tensor<3xi32>"), (Doubles{2, -2, 0}));
  EXPECT_EQ(binary("llm.mod %a, %b {trunc}", "[-7, 7]", "tensor<2xi32>", "[3, -3]", "tensor<2xi32>", "tensor<2xi32>"), (Doubles{-1, 1}));
  EXPECT_EQ(binary("llm.mod %a, %b", "[-7.5]", "tensor<1xf32>", "[2.0]", "tensor<1xf32>", "tensor<1xf32>"), (Doubles{0.5}));
  EXPECT_EQ(binary("llm.shr %a, %b", "[-1, 8]", "tensor<2xi8>", "[4, 9]", "tensor<2xi8>", "tensor<2xi8>"), (Doubles{15, 0}));
  EXPECT_EQ(binary("llm.max %a, %b", "[18446744073709551615]", "tensor<1xui64>", "[1]", "tensor<1xui64>", "tensor<1xui64>"), (Doubles{0x1p64}));
  EXPECT_EQ(binary("llm.pow %a, %b", "[3, -2]", "tensor<2xi32>", "[4, 3]", "tensor<2xi32>", "tensor<2xi32>"), (Doubles{81, -8}));
  EXPECT_EQ(binary("llm.xor %a, %b", "[true, false]", "tensor<2xi1>", "true", "tensor<i1>", "tensor<2xi1>"), (Doubles{0, 1}));
}

TEST_F(InterpreterOps, NanFollowsTheDialect) {
  std::string nan = "[0x7FC00000, 1.0]", type = "tensor<2xf32>";
  Doubles smaller = binary("llm.min %a, %b", nan, type, "[0.0, 0x7FC00000]", type, type);
  EXPECT_TRUE(std::isnan(smaller[0]) && std::isnan(smaller[1]));
  EXPECT_EQ(binary("llm.compare ne %a, %b", nan, type, nan, type, "tensor<2xi1>"), (Doubles{1, 0}));
  EXPECT_EQ(binary("llm.compare le %a, %b", nan, type, nan, type, "tensor<2xi1>"), (Doubles{0, 1}));
  EXPECT_EQ(unary("llm.isnan", nan, type, "tensor<2xi1>"), (Doubles{1, 0}));
  EXPECT_EQ(unary("llm.sign", "[-2.5, 0.0]", type, type), (Doubles{-1, 0}));
}

TEST_F(InterpreterOps, ResultsAreRoundedToTheElementType) {
  EXPECT_EQ(binary("llm.add %a, %b", "[1.0]", "tensor<1xbf16>", "[0.001]", "tensor<1xbf16>", "tensor<1xbf16>"), (Doubles{1}));
  EXPECT_EQ(binary("llm.add %a, %b", "[2048.0]", "tensor<1xf16>", "[1.0]", "tensor<1xf16>", "tensor<1xf16>"), (Doubles{2048}));
  EXPECT_EQ(binary("llm.div %a, %b", "[1.0]", "tensor<1xf32>", "[3.0]", "tensor<1xf32>", "tensor<1xf32>"), (Doubles{double(1.0f / 3)}));
  EXPECT_EQ(unary("llm.round", "[0.5, 1.5, -2.5]", "tensor<3xf32>", "tensor<3xf32>"), (Doubles{0, 2, -2}));
  EXPECT_EQ(unary("llm.cast", "[2.9, -2.9, 300.0]", "tensor<3xf32>", "tensor<3xi8>"), (Doubles{2, -2, 44}));
  EXPECT_EQ(unary("llm.cast", "[0, 256, -1]", "tensor<3xi32>", "tensor<3xi1>"), (Doubles{0, 1, 1}));
  EXPECT_EQ(unary("llm.not", "[true, false]", "tensor<2xi1>", "tensor<2xi1>"), (Doubles{0, 1}));
}

TEST_F(InterpreterOps, ReshapeFollowsItsEntries) {
  std::vector<Tensor> out = results(R"(func.func @f(%x: tensor<2x6xf32>) -> tensor<?x?x?xf32> {
    %s = llm.constant dense<[0, -1, 2]> : tensor<3xi64>
    %0 = llm.reshape %x, %s : tensor<2x6xf32>, tensor<3xi64> -> tensor<?x?x?xf32>
    return %0 : tensor<?x?x?xf32>
  })", {randomFloats({2, 6}, 1)});
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].shape(), (std::vector<int64_t>{2, 3, 2}));
}

TEST_F(InterpreterOps, SlicesFollowPython) {
  auto sliced = [&](std::string start, std::string end, std::string step) {
    return values("func.func @f() -> tensor<?xi64> {\n%x = llm.constant dense<[0, 1, 2, 3, 4]> : tensor<5xi64>\n%s = llm.constant dense<[" +
                  start + "]> : tensor<1xi64>\n%e = llm.constant dense<[" + end +
                  "]> : tensor<1xi64>\n%0 = llm.slice %x, %s, %e axes = [0] steps = [" + step +
                  "] : tensor<5xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<?xi64>\nreturn %0 : tensor<?xi64>\n}");
  };
  EXPECT_EQ(sliced("1", "4", "1"), (Doubles{1, 2, 3}));
  EXPECT_EQ(sliced("-2", "9223372036854775807", "1"), (Doubles{3, 4}));
  EXPECT_EQ(sliced("-9", "99", "2"), (Doubles{0, 2, 4}));
  EXPECT_EQ(sliced("-1", "-9223372036854775808", "-2"), (Doubles{4, 2, 0}));
  EXPECT_EQ(sliced("3", "1", "1"), Doubles{});
  EXPECT_EQ(sliced("3", "1", "-1"), (Doubles{3, 2}));
}

TEST_F(InterpreterOps, MovesElements) {
  EXPECT_EQ(values(R"(func.func @f() -> tensor<2x1x3xi32> {
    %x = llm.constant dense<[[[1, 2]], [[3, 4]], [[5, 6]]]> : tensor<3x1x2xi32>
    %0 = llm.transpose %x permutation = [2, 1, 0] : tensor<3x1x2xi32> -> tensor<2x1x3xi32>
    return %0 : tensor<2x1x3xi32>
  })"), (Doubles{1, 3, 5, 2, 4, 6}));
  EXPECT_EQ(values(R"(func.func @f() -> tensor<2x4xi32> {
    %x = llm.constant dense<[[1, 2]]> : tensor<1x2xi32>
    %r = llm.constant dense<[2, 2]> : tensor<2xi64>
    %0 = llm.tile %x, %r : tensor<1x2xi32>, tensor<2xi64> -> tensor<2x4xi32>
    return %0 : tensor<2x4xi32>
  })"), (Doubles{1, 2, 1, 2, 1, 2, 1, 2}));
  EXPECT_EQ(values(R"(func.func @f() -> tensor<2x3xi32> {
    %x = llm.constant dense<[[1], [2]]> : tensor<2x1xi32>
    %y = llm.constant dense<[[3, 4], [5, 6]]> : tensor<2x2xi32>
    %0 = llm.concat %x, %y {axis = 1 : i64} : tensor<2x1xi32>, tensor<2x2xi32> -> tensor<2x3xi32>
    return %0 : tensor<2x3xi32>
  })"), (Doubles{1, 3, 4, 2, 5, 6}));
}

TEST_F(InterpreterOps, Pads) {
  auto padded = [&](std::string mode) {
    return values("func.func @f() -> tensor<?xi64> {\n%x = llm.constant dense<[1, 2, 3]> : tensor<3xi64>\n" +
                  std::string("%p = llm.constant dense<[2, 3]> : tensor<2xi64>\n%v = llm.constant dense<9> : tensor<i64>\n%0 = llm.pad ") + mode +
                  " %x, %p, %v : tensor<3xi64>, tensor<2xi64>, tensor<i64> -> tensor<?xi64>\nreturn %0 : tensor<?xi64>\n}");
  };
  EXPECT_EQ(padded("constant"), (Doubles{9, 9, 1, 2, 3, 9, 9, 9}));
  EXPECT_EQ(padded("reflect"), (Doubles{3, 2, 1, 2, 3, 2, 1, 2}));
  EXPECT_EQ(padded("edge"), (Doubles{1, 1, 1, 2, 3, 3, 3, 3}));
  EXPECT_EQ(padded("wrap"), (Doubles{2, 3, 1, 2, 3, 1, 2, 3}));
}

TEST_F(InterpreterOps, IndicesAreClamped) {
  std::string x = "[[1, 2], [3, 4], [5, 6]]", xt = "tensor<3x2xi32>";
  EXPECT_EQ(binary("llm.gather %a, %b {axis = 0 : i64}", x, xt, "[-1, 99, -99]", "tensor<3xi64>", "tensor<3x2xi32>"),
            (Doubles{5, 6, 5, 6, 1, 2}));
  EXPECT_EQ(binary("llm.gather %a, %b {axis = 1 : i64}", x, xt, "1", "tensor<i64>", "tensor<3xi32>"), (Doubles{2, 4, 6}));
  EXPECT_EQ(binary("llm.gather_elements %a, %b {axis = 0 : i64}", x, xt, "[[2, 0]]", "tensor<1x2xi64>", "tensor<1x2xi32>"), (Doubles{5, 2}));
  EXPECT_EQ(binary("llm.gather_nd %a, %b {batch_dims = 0 : i64}", x, xt, "[[0, 1], [-1, 7]]", "tensor<2x2xi64>", "tensor<2xi32>"), (Doubles{2, 6}));
  EXPECT_EQ(binary("llm.gather_nd %a, %b {batch_dims = 1 : i64}", x, xt, "[[1], [0], [1]]", "tensor<3x1xi64>", "tensor<3xi32>"), (Doubles{2, 3, 6}));
}

TEST_F(InterpreterOps, Scatters) {
  auto scatter = [&](std::string op, std::string indices, std::string indexType, std::string updates, std::string updateType) {
    return values("func.func @f() -> tensor<2x2xf32> {\n%x = llm.constant dense<1.0> : tensor<2x2xf32>\n%i = llm.constant dense<" + indices +
                  "> : " + indexType + "\n%u = llm.constant dense<" + updates + "> : " + updateType + "\n%0 = " + op +
                  " : tensor<2x2xf32>, " + indexType + ", " + updateType + " -> tensor<2x2xf32>\nreturn %0 : tensor<2x2xf32>\n}");
  };
  EXPECT_EQ(scatter("llm.scatter_elements none %x, %i, %u {axis = 1 : i64}", "[[1]]", "tensor<1x1xi64>", "[[5.0]]", "tensor<1x1xf32>"), (Doubles{1, 5, 1, 1}));
  EXPECT_EQ(scatter("llm.scatter_elements add %x, %i, %u {axis = 0 : i64}", "[[0, 1], [0, 1]]", "tensor<2x2xi64>", "2.0", "tensor<2x2xf32>"), (Doubles{5, 1, 1, 5}));
  EXPECT_EQ(scatter("llm.scatter_nd none %x, %i, %u", "[[1]]", "tensor<1x1xi64>", "[[7.0, 8.0]]", "tensor<1x2xf32>"), (Doubles{1, 1, 7, 8}));
  EXPECT_EQ(scatter("llm.scatter_nd max %x, %i, %u", "[[0, 0], [1, 1]]", "tensor<2x2xi64>", "[0.5, 2.0]", "tensor<2xf32>"), (Doubles{1, 1, 1, 2}));
}

TEST_F(InterpreterOps, Reductions) {
  auto reduced = [&](std::string kind, std::string axes, std::string type) {
    return values("func.func @f() -> " + type + " {\n%x = llm.constant dense<[[1.0, 5.0, 3.0], [4.0, 2.0, 6.0]]> : tensor<2x3xf32>\n%0 = llm.reduce " +
                  kind + " %x axes = " + axes + " : tensor<2x3xf32> -> " + type + "\nreturn %0 : " + type + "\n}");
  };
  EXPECT_EQ(reduced("sum", "[0, 1]", "tensor<f32>"), (Doubles{21}));
  EXPECT_EQ(reduced("mean", "[1]", "tensor<2xf32>"), (Doubles{3, 4}));
  EXPECT_EQ(reduced("max", "[0]", "tensor<3xf32>"), (Doubles{4, 5, 6}));
  EXPECT_EQ(reduced("prod", "[1]", "tensor<2xf32>"), (Doubles{15, 48}));
  EXPECT_EQ(reduced("min", "[]", "tensor<2x3xf32>"), (Doubles{1, 5, 3, 4, 2, 6}));
  EXPECT_EQ(values(R"(func.func @f() -> tensor<2xi8> {
    %x = llm.constant dense<> : tensor<2x0xi8>
    %0 = llm.reduce max %x axes = [1] : tensor<2x0xi8> -> tensor<2xi8>
    return %0 : tensor<2xi8>
  })"), (Doubles{-128, -128}));
  EXPECT_EQ(values(R"(func.func @f() -> tensor<4xi64> {
    %x = llm.constant dense<[3, 7, 7, 1]> : tensor<4xi32>
    %first = llm.arg_reduce max %x {axis = 0 : i64, keepdims} : tensor<4xi32> -> tensor<1xi64>
    %last = llm.arg_reduce max %x {axis = 0 : i64, keepdims, last} : tensor<4xi32> -> tensor<1xi64>
    %k = llm.constant dense<[2]> : tensor<1xi64>
    %v, %i = llm.topk %x, %k {axis = 0 : i64, largest = true} : tensor<4xi32>, tensor<1xi64> -> tensor<2xi32>, tensor<2xi64>
    %0 = llm.concat %first, %last, %i {axis = 0 : i64} : tensor<1xi64>, tensor<1xi64>, tensor<2xi64> -> tensor<4xi64>
    return %0 : tensor<4xi64>
  })"), (Doubles{1, 2, 1, 2}));
  auto scanned = [&](std::string flags) {
    return values("func.func @f() -> tensor<3xi64> {\n%x = llm.constant dense<[1, 2, 3]> : tensor<3xi64>\n%0 = llm.cumsum %x {axis = 0 : i64" +
                  flags + "} : tensor<3xi64> -> tensor<3xi64>\nreturn %0 : tensor<3xi64>\n}");
  };
  EXPECT_EQ(scanned(""), (Doubles{1, 3, 6}));
  EXPECT_EQ(scanned(", exclusive"), (Doubles{0, 1, 3}));
  EXPECT_EQ(scanned(", reverse"), (Doubles{6, 5, 3}));
  // Without elements there is no memory that a line could begin in.
  EXPECT_EQ(values(R"(func.func @f() -> tensor<2x0x3xf32> {
    %x = llm.constant dense<> : tensor<2x0x3xf32>
    %k = llm.constant dense<[0]> : tensor<1xi64>
    %s = llm.cumsum %x {axis = 1 : i64} : tensor<2x0x3xf32> -> tensor<2x0x3xf32>
    %0, %i = llm.topk %s, %k {axis = 1 : i64, largest = true} : tensor<2x0x3xf32>, tensor<1xi64> -> tensor<2x0x3xf32>, tensor<2x0x3xi64>
    return %0 : tensor<2x0x3xf32>
  })"), Doubles());
}

TEST_F(InterpreterOps, GroupsRowsByExpert) {
  std::vector<Tensor> sorted = results(R"(func.func @f() -> (tensor<3x2xi32>, tensor<4xi32>, tensor<3x2x1xf32>) {
    %e = llm.constant dense<[[2, 0], [0, 7], [-4, 2]]> : tensor<3x2xi64>
    %x = llm.constant dense<[[1.0, 1.0], [2.0, 0.5], [3.0, 10.0]]> : tensor<3x2xf32>
    %w = llm.constant dense<[[[1.0, 100.0]], [[0.0, 0.0]], [[-1.0, 0.0]]]> : tensor<3x1x2xf32>
    %o, %s = llm.group_rows %e {experts = 3 : i64} : tensor<3x2xi64> -> tensor<3x2xi32>, tensor<4xi32>
    %y = llm.grouped_linear %x, %w, %o, %s : tensor<3x2xf32>, tensor<3x1x2xf32>, tensor<3x2xi32>, tensor<4xi32> -> tensor<3x2x1xf32>
    return %o, %s, %y : tensor<3x2xi32>, tensor<4xi32>, tensor<3x2x1xf32>
  })");
  ASSERT_EQ(sorted.size(), 3u);
  EXPECT_EQ(elements(sorted[0]), (Doubles{1, 2, 4, 0, 3, 5}));
  EXPECT_EQ(elements(sorted[1]), (Doubles{0, 3, 3, 6}));
  EXPECT_EQ(elements(sorted[2]), (Doubles{-1, 101, 52, -2, 1003, -3}));
}

TEST_F(InterpreterOps, Multiplies) {
  EXPECT_EQ(binary("llm.matmul %a, %b", "[[1.0, 2.0], [3.0, 4.0]]", "tensor<2x2xf32>", "[5.0, 6.0]", "tensor<2xf32>", "tensor<2xf32>"), (Doubles{17, 39}));
  EXPECT_EQ(binary("llm.matmul %a, %b", "[5.0, 6.0]", "tensor<2xf32>", "[[1.0, 2.0], [3.0, 4.0]]", "tensor<2x2xf32>", "tensor<2xf32>"), (Doubles{23, 34}));
  EXPECT_EQ(binary("llm.matmul %a, %b", "[[[100]], [[-100]]]", "tensor<2x1x1xi8>", "[[100, 2]]", "tensor<1x2xi8>", "tensor<2x1x2xi32>"),
            (Doubles{10000, 200, -10000, -200}));
  EXPECT_EQ(values(R"(func.func @f() -> tensor<1x2x3xf32> {
    %x = llm.constant dense<[[[1.0, 2.0, 3.0, 4.0, 5.0]]]> : tensor<1x1x5xf32>
    %w = llm.constant dense<[[[1.0, 0.0, -1.0]], [[0.5, 0.5, 0.5]]]> : tensor<2x1x3xf32>
    %b = llm.constant dense<[0.0, 10.0]> : tensor<2xf32>
    %0 = llm.conv %x, %w, %b {strides = array<i64: 2>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, groups = 1 : i64}
      : tensor<1x1x5xf32>, tensor<2x1x3xf32>, tensor<2xf32> -> tensor<1x2x3xf32>
    return %0 : tensor<1x2x3xf32>
  })"), (Doubles{-2, -2, 4, 11.5, 14.5, 14.5}));
  EXPECT_EQ(values(R"(func.func @f() -> tensor<1x2x2x4xf32> {
    %x = llm.constant dense<[[[[1.0], [2.0]], [[3.0], [4.0]], [[5.0], [6.0]]]]> : tensor<1x3x2x1xf32>
    %0 = llm.windows %x kernel = [2, 2] {strides = array<i64: 2, 1>, pads = array<i64: 1, 0, 0, 1>, dilations = array<i64: 1, 1>} : tensor<1x3x2x1xf32> -> tensor<1x2x2x4xf32>
    return %0 : tensor<1x2x2x4xf32>
  })"), (Doubles{0, 0, 1, 2, 0, 0, 2, 0, 3, 4, 5, 6, 4, 0, 6, 0}));
}

TEST_F(InterpreterOps, WeightsAreReadInTheirOwnType) {
  auto bytes = std::make_shared<std::vector<uint16_t>>(std::vector<uint16_t>{0x3F80, 0x4000, 0xC000, 0x0000});
  ASSERT_TRUE(weights.add("w", {DType::BF16, {2, 2}, std::as_bytes(std::span(*bytes)), bytes}));
  EXPECT_EQ(values(R"(func.func @f() -> tensor<1x2xf32> {
    %x = llm.constant dense<[[1.0, 3.0]]> : tensor<1x2xf32>
    %w = llm.weight "w" : tensor<2x2xbf16>
    %0 = llm.linear %x, %w : tensor<1x2xf32>, tensor<2x2xbf16> -> tensor<1x2xf32>
    return %0 : tensor<1x2xf32>
  })"), (Doubles{7, -2}));
  Interpreter interpreter(*module, weights);
  auto function = *module->getOps<mlir::func::FuncOp>().begin();
  mlir::Value result = function.front().getTerminator()->getOperand(0);
  auto folded = interpreter.evaluate(result);
  ASSERT_TRUE(folded.ok());
  EXPECT_EQ(elements(*folded), (Doubles{7, -2}));
}

TEST_F(InterpreterOps, MistakesAreErrors) {
  EXPECT_EQ(failure("func.func @g() { return }"), "E0701");
  EXPECT_EQ(failure("func.func @f(%a: tensor<2xf32>) { return }"), "E0702");
  EXPECT_EQ(failure("func.func @f(%a: tensor<2xf32>) { return }", {floats({3}, {1, 2, 3})}), "E0702");
  EXPECT_EQ(failure(R"(func.func @f() -> tensor<2xf32> { %w = llm.weight "missing" : tensor<2xf32> return %w : tensor<2xf32> })"), "E0706");
  EXPECT_EQ(failure(R"(func.func @f(%a: tensor<?xf32>, %b: tensor<?xf32>) -> tensor<?xf32> {
    %0 = llm.add %a, %b : tensor<?xf32>, tensor<?xf32> -> tensor<?xf32>
    return %0 : tensor<?xf32>
  })", {floats({2}, {1, 2}), floats({3}, {1, 2, 3})}), "E0704");
  EXPECT_EQ(failure(R"(func.func @f(%a: tensor<?xf32>) -> tensor<3xf32> {
    %0 = llm.add %a, %a : tensor<?xf32>, tensor<?xf32> -> tensor<3xf32>
    return %0 : tensor<3xf32>
  })", {floats({2}, {1, 2})}), "E0704");
  EXPECT_EQ(failure(R"(func.func @f() -> tensor<1xi64> {
    %a = llm.constant dense<0> : tensor<1xi64>
    %0 = llm.div %a, %a : tensor<1xi64>, tensor<1xi64> -> tensor<1xi64>
    return %0 : tensor<1xi64>
  })"), "E0705");
  EXPECT_EQ(failure(R"(func.func @f() -> tensor<?x?xf32> {
    %a = llm.constant dense<1.0> : tensor<f32>
    %s = llm.constant dense<[1099511627776, 1099511627776]> : tensor<2xi64>
    %0 = llm.broadcast %a, %s : tensor<f32>, tensor<2xi64> -> tensor<?x?xf32>
    return %0 : tensor<?x?xf32>
  })"), "E0707");
  EXPECT_EQ(failure(R"(func.func @f() -> tensor<?xf32> {
    %a = llm.constant dense<1.0> : tensor<4xf32>
    %s = llm.constant dense<[3]> : tensor<1xi64>
    %0 = llm.reshape %a, %s : tensor<4xf32>, tensor<1xi64> -> tensor<?xf32>
    return %0 : tensor<?xf32>
  })"), "E0704");
}

TEST_F(InterpreterOps, KernelsRunTheirRegion) {
  EXPECT_EQ(values(R"(func.func @f(%x: tensor<?xf32>) -> tensor<?xf32> {
    %0:2 = exec.kernel "loops"(%x) : (tensor<?xf32>) -> (tensor<?xf32>, tensor<?xf32>) {
    ^bb0(%a: tensor<?xf32>):
      %1 = llm.neg %a : tensor<?xf32>
      exec.yield %1, %1 : tensor<?xf32>, tensor<?xf32>
    }
    %2 = llm.add %0#0, %0#1 : tensor<?xf32>, tensor<?xf32> -> tensor<?xf32>
    return %2 : tensor<?xf32>
  })", {floats({2}, {1, 2})}), (Doubles{-2, -4}));
}

} // namespace
