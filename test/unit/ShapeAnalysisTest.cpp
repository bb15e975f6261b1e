//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/dialects/Exec/Exec.h"
#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/ShapeRequirements.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"

#include <gtest/gtest.h>

using namespace llmopt;

namespace {

struct ShapeAnalysisTest : testing::Test {
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  SymContext symbols;
  ShapeAnalysis analysis{symbols};

  ShapeAnalysisTest() { context.loadDialect<llm::LLMDialect, exec::ExecDialect, mlir::func::FuncDialect>(); }

  /// The shapes of what the function returns: "[batch, 4]" and, where tracked, "[2] = {batch, 4}".
  std::string returned(llvm::StringRef text) {
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    if (!module)
      return "does not parse";
    auto function = *module->getOps<mlir::func::FuncOp>().begin();
    analysis.run(function);
    std::string result;
    for (mlir::Value value : function.front().getTerminator()->getOperands())
      result += (result.empty() ? "" : " ") + print(analysis.shapeOf(value));
    return result;
  }

  /// What running the text's function needs: "a <= 8, a = b, a = 1|b".
  std::string required(llvm::StringRef text) {
    returned(text);
    auto function = *module->getOps<mlir::func::FuncOp>().begin();
    std::string result;
    for (const ShapeRequirement &one : shapeRequirements(function, analysis)) {
      static constexpr const char *kSigns[] = {" <= ", " = ", " = 1|"};
      result += (result.empty() ? "" : ", ") + one.lhs.str() + kSigns[int(one.relation)] + one.rhs.str();
    }
    return result;
  }

  static std::string list(llvm::ArrayRef<SymExpr> exprs) {
    std::string text;
    for (SymExpr expr : exprs)
      text += (text.empty() ? "" : ", ") + expr.str();
    return text;
  }
  static std::string print(const ValueShape &shape) {
    std::string text = "[" + list(shape.dims) + "]";
    return shape.elements ? text + " = {" + list(*shape.elements) + "}" : text;
  }
};

TEST_F(ShapeAnalysisTest, ArgumentsTakeTheirNamesOrFreshOnes) {
  EXPECT_EQ(returned(R"(func.func @f(%a: tensor<?x?x8xf32> {llm.dims = ["batch", "past + seq", 8]},
                                     %b: tensor<?x4xf32> {llm.name = "mask"}, %c: tensor<?xf32>)
      -> (tensor<?x?x8xf32>, tensor<?x4xf32>, tensor<?xf32>) {
    return %a, %b, %c : tensor<?x?x8xf32>, tensor<?x4xf32>, tensor<?xf32>
  })"), "[batch, past + seq, 8] [f.mask.0, 4] [f.arg2.0]");
}

TEST_F(ShapeAnalysisTest, BroadcastAlignsAtTheLastDimension) {
  EXPECT_EQ(returned(R"(func.func @f(%a: tensor<?x1x?xf32> {llm.dims = ["b", 1, "s"]}, %b: tensor<7x?xf32> {llm.dims = [7, "s"]})
      -> tensor<?x7x?xf32> {
    %0 = llm.add %a, %b : tensor<?x1x?xf32>, tensor<7x?xf32> -> tensor<?x7x?xf32>
    return %0 : tensor<?x7x?xf32>
  })"), "[b, 7, s]");
}

/// PyTorch's view(batch, seq, heads, -1) as exporters write it: shape, gather, concat, reshape.
TEST_F(ShapeAnalysisTest, ShapeArithmeticReachesReshape) {
  EXPECT_EQ(returned(R"(func.func @f(%x: tensor<?x?x64xf32> {llm.dims = ["batch", "seq", 64]}) -> tensor<?x?x?x?xf32> {
    %shape = llm.shape %x : tensor<?x?x64xf32> -> tensor<3xi64>
    %c0 = llm.constant dense<0> : tensor<i64>
    %c1 = llm.constant dense<[1]> : tensor<1xi64>
    %b = llm.gather %shape, %c0 {axis = 0 : i64} : tensor<3xi64>, tensor<i64> -> tensor<i64>
    %b1 = llm.expand_dims %b axes = [0] : tensor<i64> -> tensor<1xi64>
    %s1 = llm.gather %shape, %c1 {axis = 0 : i64} : tensor<3xi64>, tensor<1xi64> -> tensor<1xi64>
    %heads = llm.constant dense<[4]> : tensor<1xi64>
    %rest = llm.constant dense<[-1]> : tensor<1xi64>
    %new = llm.concat %b1, %s1, %heads, %rest {axis = 0 : i64} : tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<4xi64>
    %0 = llm.reshape %x, %new : tensor<?x?x64xf32>, tensor<4xi64> -> tensor<?x?x?x?xf32>
    return %0 : tensor<?x?x?x?xf32>
  })"), "[batch, seq, 4, 16]");
}

TEST_F(ShapeAnalysisTest, ReshapeSolvesWhatIsLeft) {
  auto reshaped = [&](std::string inputType, std::string dims, std::string shape, std::string resultType, std::string more = "") {
    return returned("func.func @f(%x: " + inputType + " {llm.dims = " + dims + "}) -> " + resultType + " {\n" +
                    "%s = llm.constant dense<" + shape + "> : tensor<" + std::to_string(1 + std::count(shape.begin(), shape.end(), ',')) +
                    "xi64>\n%0 = llm.reshape %x, %s " + more + " : " + inputType + ", tensor<" +
                    std::to_string(1 + std::count(shape.begin(), shape.end(), ',')) + "xi64> -> " + resultType +
                    "\nreturn %0 : " + resultType + "\n}");
  };
  std::string bs = R"(["batch", "seq", 64])", type = "tensor<?x?x64xf32>";
  EXPECT_EQ(reshaped(type, bs, "[0, 0, 4, 16]", "tensor<?x?x?x?xf32>"), "[batch, seq, 4, 16]");
  EXPECT_EQ(reshaped(type, bs, "[-1, 64]", "tensor<?x?xf32>"), "[batch * seq, 64]");
  EXPECT_EQ(reshaped(type, bs, "[0, -1]", "tensor<?x?xf32>"), "[batch, 64 * seq]");
  EXPECT_EQ(reshaped(type, bs, "[-1, 48]", "tensor<?x?xf32>"), "[floordiv(4 * batch * seq, 3), 48]");
  EXPECT_EQ(reshaped(type, R"(["batch", "past + seq", 64])", "[0, -1, 128]", "tensor<?x?x?xf32>"),
            "[batch, floordiv(past + seq, 2), 128]");
  EXPECT_EQ(reshaped("tensor<?x0xf32>", R"(["n", 0])", "[0, 5]", "tensor<?x?xf32>", "{allowzero}"), "[0, 5]");
  EXPECT_EQ(reshaped("tensor<?xf32>", R"(["n"])", "[-1, 0]", "tensor<?x?xf32>"), "[?, ?]"); // 0 copies a dimension that is not there
}

TEST_F(ShapeAnalysisTest, ReshapeKeepsSumsWhole) {
  EXPECT_EQ(returned(R"(func.func @f(%x: tensor<?x?x?xf32> {llm.dims = ["batch * heads", "past + seq", 64]},
                                     %m: tensor<?x?xf32> {llm.dims = ["batch", "past + seq"]}) -> tensor<?x?x?x?xf32> {
    %shape = llm.shape %m : tensor<?x?xf32> -> tensor<2xi64>
    %rest = llm.constant dense<[-1, 64]> : tensor<2xi64>
    %new = llm.concat %shape, %rest {axis = 0 : i64} : tensor<2xi64>, tensor<2xi64> -> tensor<4xi64>
    %0 = llm.reshape %x, %new : tensor<?x?x?xf32>, tensor<4xi64> -> tensor<?x?x?x?xf32>
    return %0 : tensor<?x?x?x?xf32>
  })"), "[batch, past + seq, heads, 64]");
}

TEST_F(ShapeAnalysisTest, UnreadableShapeLeavesTheDeclaredType) {
  EXPECT_EQ(returned(R"(func.func @f(%x: tensor<?x64xf32> {llm.dims = ["tokens", 64]}, %s: tensor<3xi64>, %t: tensor<?xi64>)
      -> (tensor<?x?x?xf32>, tensor<?x4x16xf32>, tensor<?x?xf32>) {
    %0 = llm.reshape %x, %s : tensor<?x64xf32>, tensor<3xi64> -> tensor<?x?x?xf32>
    %1 = llm.reshape %x, %s : tensor<?x64xf32>, tensor<3xi64> -> tensor<?x4x16xf32>
    %2 = llm.broadcast %x, %t : tensor<?x64xf32>, tensor<?xi64> -> tensor<?x?xf32>
    return %0, %1, %2 : tensor<?x?x?xf32>, tensor<?x4x16xf32>, tensor<?x?xf32>
  })"), "[?, ?, ?] [tokens, 4, 16] [?, 64]");
}

TEST_F(ShapeAnalysisTest, SliceFollowsPython) {
  auto sliced = [&](std::string start, std::string end, std::string step) {
    return returned("func.func @f(%x: tensor<?xf32> {llm.dims = [\"n\"]}) -> tensor<?xf32> {\n%s = llm.constant dense<[" + start +
                    "]> : tensor<1xi64>\n%e = llm.constant dense<[" + end + "]> : tensor<1xi64>\n" +
                    "%0 = llm.slice %x, %s, %e axes = [0] steps = [" + step +
                    "] : tensor<?xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<?xf32>\nreturn %0 : tensor<?xf32>\n}");
  };
  std::string toEnd = "9223372036854775807";
  EXPECT_EQ(sliced("0", toEnd, "1"), "[n]");
  EXPECT_EQ(sliced("0", "8", "1"), "[min(8, n)]");
  EXPECT_EQ(sliced("-1", toEnd, "1"), "[n - max(0, n - 1)]");
  EXPECT_EQ(sliced("0", "-1", "1"), "[max(0, n - 1)]");
  EXPECT_EQ(sliced("0", toEnd, "2"), "[ceildiv(n, 2)]");
  EXPECT_EQ(sliced("-1", "-9223372036854775808", "-1"), "[n]");
  symbols.assumeAtLeast("n", 1);
  EXPECT_EQ(sliced("-1", toEnd, "1"), "[1]");
  EXPECT_EQ(sliced("0", "-1", "1"), "[n - 1]");
  EXPECT_TRUE(analysis.assumptions().empty());
}

/// GPT-2's causal mask: rows past : past + seq of a table. That the table is long enough is noted, not proven.
TEST_F(ShapeAnalysisTest, SliceOfATableAssumesItsLength) {
  EXPECT_EQ(returned(R"(func.func @f(%past: tensor<?x4xf32> {llm.dims = ["past", 4]}, %x: tensor<?x4xf32> {llm.dims = ["seq", 4]},
                                     %table: tensor<1024x?xf32> {llm.dims = [1024, "past + seq"]}) -> tensor<?x?xf32> {
    %zero = llm.constant dense<[0]> : tensor<1xi64>
    %one = llm.constant dense<[1]> : tensor<1xi64>
    %steps = llm.constant dense<[1]> : tensor<1xi64>
    %ps = llm.shape %past : tensor<?x4xf32> -> tensor<2xi64>
    %p = llm.slice %ps, %zero, %one axes = [0] steps = [1] : tensor<2xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<1xi64>
    %xs = llm.shape %x : tensor<?x4xf32> -> tensor<2xi64>
    %s = llm.slice %xs, %zero, %one axes = [0] steps = [1] : tensor<2xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<1xi64>
    %total = llm.add %p, %s : tensor<1xi64>, tensor<1xi64> -> tensor<1xi64>
    %0 = llm.slice %table, %p, %total axes = [0] steps = [1] : tensor<1024x?xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<?x?xf32>
    %1 = llm.slice %0, %p, %total axes = [1] steps = [1] : tensor<?x?xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<?x?xf32>
    return %1 : tensor<?x?xf32>
  })"), "[seq, seq]");
  ASSERT_EQ(analysis.assumptions().size(), 2u);
  EXPECT_EQ(analysis.assumptions()[0].lhs.str() + " <= " + analysis.assumptions()[0].rhs.str(), "past + seq <= 1024");
  EXPECT_EQ(analysis.assumptions()[1].lhs.str() + " <= " + analysis.assumptions()[1].rhs.str(), "past <= 1024");
}

TEST_F(ShapeAnalysisTest, OperandsMustFit) {
  auto sum = [&](std::string a, std::string b) {
    return required("func.func @f(%a: tensor<?xf32> {llm.dims = [" + a + "]}, %b: tensor<?xf32> {llm.dims = [" + b +
                    "]}) -> tensor<?xf32> {\n%0 = llm.add %a, %b : tensor<?xf32>, tensor<?xf32> -> tensor<?xf32>\nreturn %0 : tensor<?xf32>\n}");
  };
  EXPECT_EQ(sum("\"n\"", "\"n\""), "");
  EXPECT_EQ(sum("\"n\"", "1"), "");
  EXPECT_EQ(sum("\"n\"", "8"), "n = 1|8");
  EXPECT_EQ(sum("\"past + seq\"", "\"total\""), "past + seq = 1|broadcast(total, past + seq), total = 1|broadcast(total, past + seq)");
  EXPECT_EQ(required(R"(func.func @f(%a: tensor<?x?x8xf32> {llm.dims = ["b", "m", 8]}, %b: tensor<?x?x?xf32> {llm.dims = ["b", "k", "n"]})
      -> (tensor<?x?x?xf32>, tensor<?x?x8xf32>) {
    %0 = llm.matmul %a, %b : tensor<?x?x8xf32>, tensor<?x?x?xf32> -> tensor<?x?x?xf32>
    %1 = llm.concat %a, %a {axis = 1 : i64} : tensor<?x?x8xf32>, tensor<?x?x8xf32> -> tensor<?x?x8xf32>
    return %0, %1 : tensor<?x?x?xf32>, tensor<?x?x8xf32>
  })"), "8 = k");
}

// wav2vec2: a window's output that exists is not negative, which is checked when running. So what is cut off behind it again is as long as before.
TEST_F(ShapeAnalysisTest, WindowsThatFitLeaveNoNegativeSize) {
  std::string_view text = R"(func.func @f(%x: tensor<1x1x?xf32> {llm.dims = [1, 1, "samples"]}, %w: tensor<4x1x10xf32>, %v: tensor<4x4x2xf32>)
      -> (tensor<?xi64>, tensor<1x4x?xf32>, tensor<1x4x?xf32>) {
    %zero = llm.constant dense<[0]> : tensor<1xi64>
    %minus = llm.constant dense<[-1]> : tensor<1xi64>
    %c0 = llm.constant dense<0> : tensor<i64>
    %c1 = llm.constant dense<1> : tensor<i64>
    %c2 = llm.constant dense<2> : tensor<i64>
    %c5 = llm.constant dense<5> : tensor<i64>
    %s = llm.shape %x : tensor<1x1x?xf32> -> tensor<3xi64>
    %samples = llm.gather %s, %c2 {axis = 0 : i64} : tensor<3xi64>, tensor<i64> -> tensor<i64>
    %fifth = llm.div %samples, %c5 : tensor<i64>, tensor<i64> -> tensor<i64>
    %frames = llm.sub %fifth, %c1 : tensor<i64>, tensor<i64> -> tensor<i64>
    %0 = llm.range %c0, %frames, %c1 : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<?xi64>
    %1 = llm.conv %x, %w {dilations = array<i64: 1>, groups = 1 : i64, pads = array<i64: 0, 0>, strides = array<i64: 5>}
         : tensor<1x1x?xf32>, tensor<4x1x10xf32> -> tensor<1x4x?xf32>
    %padded = llm.conv %1, %v {dilations = array<i64: 1>, groups = 1 : i64, pads = array<i64: 1, 1>, strides = array<i64: 1>}
         : tensor<1x4x?xf32>, tensor<4x4x2xf32> -> tensor<1x4x?xf32>
    %2 = llm.slice %padded, %zero, %minus axes = [2] steps = [1] : tensor<1x4x?xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<1x4x?xf32>
    return %0, %1, %2 : tensor<?xi64>, tensor<1x4x?xf32>, tensor<1x4x?xf32>
  })";
  EXPECT_EQ(returned(text), "[floordiv(samples, 5) - 1] [1, 4, floordiv(samples, 5) - 1] [1, 4, floordiv(samples, 5) - 1]");
  EXPECT_EQ(required(text), "0 <= floordiv(samples, 5) - 1");
}

TEST_F(ShapeAnalysisTest, PartsOfAConcatAgreeOnTheSimplestName) {
  // MobileBERT puts each token's neighbours beside it: all but the first token and a padding, the tokens, ...
  EXPECT_EQ(returned(R"(func.func @f(%x: tensor<?x8xf32> {llm.dims = ["seq", 8]}) -> (tensor<?x16xf32>, tensor<?x16xf32>) {
    %one = llm.constant dense<[1]> : tensor<1xi64>
    %end = llm.constant dense<[100000]> : tensor<1xi64>
    %pads = llm.constant dense<[0, 0, 1, 0]> : tensor<4xi64>
    %fill = llm.constant dense<0.0> : tensor<f32>
    %tail = llm.slice %x, %one, %end axes = [0] steps = [1] : tensor<?x8xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<?x8xf32>
    %next = llm.pad constant %tail, %pads, %fill : tensor<?x8xf32>, tensor<4xi64>, tensor<f32> -> tensor<?x8xf32>
    %0 = llm.concat %next, %x {axis = 1 : i64} : tensor<?x8xf32>, tensor<?x8xf32> -> tensor<?x16xf32>
    %1 = llm.concat %x, %next {axis = 1 : i64} : tensor<?x8xf32>, tensor<?x8xf32> -> tensor<?x16xf32>
    return %0, %1 : tensor<?x16xf32>, tensor<?x16xf32>
  })"), "[seq, 16] [seq, 16]");
}

TEST_F(ShapeAnalysisTest, ComparesAndSelectsSizesThatDecide) {
  // torch.expand: where(shape == -1, 1, shape).
  EXPECT_EQ(returned(R"(func.func @f(%x: tensor<?x1xf32> {llm.dims = ["b", 1]}, %y: tensor<?xf32> {llm.dims = ["n"]})
      -> (tensor<2xi64>, tensor<?x?xf32>, tensor<1xi1>) {
    %xs = llm.shape %x : tensor<?x1xf32> -> tensor<2xi64>
    %ys = llm.shape %y : tensor<?xf32> -> tensor<1xi64>
    %zero = llm.constant dense<[0]> : tensor<1xi64>
    %one = llm.constant dense<[1]> : tensor<1xi64>
    %b = llm.slice %xs, %zero, %one axes = [0] steps = [1] : tensor<2xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<1xi64>
    %target = llm.concat %b, %ys {axis = 0 : i64} : tensor<1xi64>, tensor<1xi64> -> tensor<2xi64>
    %minus = llm.constant dense<-1> : tensor<2xi64>
    %ones = llm.constant dense<1> : tensor<2xi64>
    %is = llm.compare eq %target, %minus : tensor<2xi64>, tensor<2xi64> -> tensor<2xi1>
    %where = llm.select %is, %ones, %target : tensor<2xi1>, tensor<2xi64>, tensor<2xi64> -> tensor<2xi64>
    %0 = llm.broadcast %x, %where : tensor<?x1xf32>, tensor<2xi64> -> tensor<?x?xf32>
    %open = llm.compare lt %b, %ys : tensor<1xi64>, tensor<1xi64> -> tensor<1xi1>
    return %where, %0, %open : tensor<2xi64>, tensor<?x?xf32>, tensor<1xi1>
  })"), "[2] = {b, n} [b, n] [1] = {?}");
}

TEST_F(ShapeAnalysisTest, RangesHaveSymbolicLengths) {
  EXPECT_EQ(returned(R"(func.func @f(%x: tensor<?x?xf32> {llm.dims = ["past", "past + seq"]}) -> (tensor<?xi64>, tensor<?xi64>, tensor<?xi32>) {
    %s = llm.shape %x : tensor<?x?xf32> -> tensor<2xi64>
    %c0 = llm.constant dense<0> : tensor<i64>
    %c1 = llm.constant dense<1> : tensor<i64>
    %c3 = llm.constant dense<3> : tensor<i64>
    %past = llm.gather %s, %c0 {axis = 0 : i64} : tensor<2xi64>, tensor<i64> -> tensor<i64>
    %total = llm.gather %s, %c1 {axis = 0 : i64} : tensor<2xi64>, tensor<i64> -> tensor<i64>
    %0 = llm.range %past, %total, %c1 : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<?xi64>
    %end = llm.add %past, %c3 : tensor<i64>, tensor<i64> -> tensor<i64>
    %1 = llm.range %past, %end, %c1 : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<?xi64>
    %a = llm.constant dense<7> : tensor<i32>
    %b = llm.constant dense<1> : tensor<i32>
    %d = llm.constant dense<-2> : tensor<i32>
    %2 = llm.range %a, %b, %d : tensor<i32>, tensor<i32>, tensor<i32> -> tensor<?xi32>
    return %0, %1, %2 : tensor<?xi64>, tensor<?xi64>, tensor<?xi32>
  })"), "[seq] [3] = {past, past + 1, past + 2} [3] = {7, 5, 3}");
}

// The side of a square of position embeddings, as DINOv2 computes it; roots that are no integers stay unknown.
TEST_F(ShapeAnalysisTest, RootsOfSquaresAreSizes) {
  EXPECT_EQ(returned(R"(func.func @f() -> (tensor<2xi64>, tensor<2xf32>) {
    %count = llm.constant dense<[196.0, 8.0]> : tensor<2xf32>
    %half = llm.constant dense<0.5> : tensor<f32>
    %power = llm.pow %count, %half : tensor<2xf32>, tensor<f32> -> tensor<2xf32>
    %0 = llm.cast %power : tensor<2xf32> -> tensor<2xi64>
    %1 = llm.sqrt %count : tensor<2xf32>
    return %0, %1 : tensor<2xi64>, tensor<2xf32>
  })"), "[2] = {14, ?} [2] = {14, ?}");
}

TEST_F(ShapeAnalysisTest, TracksElementsThroughTheUsualOperations) {
  EXPECT_EQ(returned(R"(func.func @f(%x: tensor<?x6xf32> {llm.dims = ["n", 6]})
      -> (tensor<i64>, tensor<2xi32>, tensor<2xi64>, tensor<2x2xi64>, tensor<1xi64>, tensor<2xi64>, tensor<4xi64>) {
    %s = llm.shape %x : tensor<?x6xf32> -> tensor<2xi64>
    %count = llm.reduce prod %s axes = [0] : tensor<2xi64> -> tensor<i64>
    %small = llm.cast %s : tensor<2xi64> -> tensor<2xi32>
    %two = llm.constant dense<2> : tensor<i64>
    %half = llm.div %s, %two : tensor<2xi64>, tensor<i64> -> tensor<2xi64>
    %f = llm.cast %s : tensor<2xi64> -> tensor<2xf32>
    %ftwo = llm.constant dense<2.0> : tensor<f32>
    %twice = llm.mul %f, %ftwo : tensor<2xf32>, tensor<f32> -> tensor<2xf32>
    %back = llm.cast %twice : tensor<2xf32> -> tensor<2xi64>
    %row = llm.expand_dims %s axes = [0] : tensor<2xi64> -> tensor<1x2xi64>
    %shape22 = llm.constant dense<[2, 2]> : tensor<2xi64>
    %square = llm.broadcast %row, %shape22 : tensor<1x2xi64>, tensor<2xi64> -> tensor<2x2xi64>
    %turned = llm.transpose %square permutation = [1, 0] : tensor<2x2xi64> -> tensor<2x2xi64>
    %c1 = llm.constant dense<[1]> : tensor<1xi64>
    %minusend = llm.constant dense<[-9223372036854775808]> : tensor<1xi64>
    %reversed = llm.slice %s, %c1, %minusend axes = [0] steps = [-1] : tensor<2xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<2xi64>
    %last = llm.constant dense<[-1]> : tensor<1xi64>
    %width = llm.gather %s, %last {axis = 0 : i64} : tensor<2xi64>, tensor<1xi64> -> tensor<1xi64>
    %pads = llm.constant dense<[1, 1]> : tensor<2xi64>
    %zero = llm.constant dense<0> : tensor<i64>
    %padded = llm.pad constant %back, %pads, %zero : tensor<2xi64>, tensor<2xi64>, tensor<i64> -> tensor<4xi64>
    return %count, %small, %half, %turned, %width, %reversed, %padded
      : tensor<i64>, tensor<2xi32>, tensor<2xi64>, tensor<2x2xi64>, tensor<1xi64>, tensor<2xi64>, tensor<4xi64>
  })"), "[] = {6 * n} [2] = {n, 6} [2] = {floordiv(n, 2), 3} [2, 2] = {n, n, 6, 6} [1] = {6} [2] = {6, n} [4] = {0, 2 * n, 12, 0}");
}

TEST_F(ShapeAnalysisTest, Contractions) {
  EXPECT_EQ(returned(R"(func.func @f(%x: tensor<?x8xf32> {llm.dims = ["t", 8]}, %w: tensor<5x8xf32>, %v: tensor<8xf32>,
                                     %a: tensor<?x1x?x8xf32> {llm.dims = ["b", 1, "s", 8]}, %b: tensor<3x8x?xf32> {llm.dims = [3, 8, "n"]},
                                     %img: tensor<?x3x?xf32> {llm.dims = ["b", 3, "len"]}, %k: tensor<4x3x3xf32>)
      -> (tensor<?x5xf32>, tensor<?xf32>, tensor<?x3x?x?xf32>, tensor<?x4x?xf32>, tensor<?x1x8xi64>) {
    %0 = llm.linear %x, %w : tensor<?x8xf32>, tensor<5x8xf32> -> tensor<?x5xf32>
    %1 = llm.matmul %x, %v : tensor<?x8xf32>, tensor<8xf32> -> tensor<?xf32>
    %2 = llm.matmul %a, %b : tensor<?x1x?x8xf32>, tensor<3x8x?xf32> -> tensor<?x3x?x?xf32>
    %3 = llm.conv %img, %k {strides = array<i64: 2>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, groups = 1 : i64}
      : tensor<?x3x?xf32>, tensor<4x3x3xf32> -> tensor<?x4x?xf32>
    %4 = llm.arg_reduce max %a {axis = 2 : i64} : tensor<?x1x?x8xf32> -> tensor<?x1x8xi64>
    return %0, %1, %2, %3, %4 : tensor<?x5xf32>, tensor<?xf32>, tensor<?x3x?x?xf32>, tensor<?x4x?xf32>, tensor<?x1x8xi64>
  })"), "[t, 5] [t] [b, 3, s, n] [b, 4, floordiv(len + 1, 2)] [b, 1, 8]");
}

TEST_F(ShapeAnalysisTest, KernelRegionsSeeTheOperandsOutside) {
  EXPECT_EQ(returned(R"(func.func @f(%x: tensor<?x8xf32> {llm.dims = ["tokens", 8]}) -> tensor<?x2x4xf32> {
    %s = llm.shape %x : tensor<?x8xf32> -> tensor<2xi64>
    %0 = exec.kernel "loops"(%x, %s) : (tensor<?x8xf32>, tensor<2xi64>) -> tensor<?x2x4xf32> {
    ^bb0(%a: tensor<?x8xf32>, %b: tensor<2xi64>):
      %c = llm.constant dense<[-1, 2, 4]> : tensor<3xi64>
      %1 = llm.reshape %a, %c : tensor<?x8xf32>, tensor<3xi64> -> tensor<?x2x4xf32>
      exec.yield %1 : tensor<?x2x4xf32>
    }
    return %0 : tensor<?x2x4xf32>
  })"), "[tokens, 2, 4]");
}

TEST_F(ShapeAnalysisTest, PagedAttentionLearnsItsWidthFromTheState) {
  EXPECT_EQ(returned(R"(func.func @step(%q: tensor<?x4x8xf32> {llm.dims = ["tokens", 4, 8]}, %k: tensor<?x2x8xf32> {llm.dims = ["tokens", 2, 8]},
                                        %v: tensor<?x2x6xf32> {llm.dims = ["tokens", 2, 6]}) -> tensor<?x4x?xf32> {
    llm.cache_append %k, %v {state = 3 : i64} : tensor<?x2x8xf32>, tensor<?x2x6xf32>
    %0 = llm.paged_attention %q {state = 3 : i64, kv_heads = 2 : i64, scale = 1.0 : f32, causal} : tensor<?x4x8xf32> -> tensor<?x4x?xf32>
    return %0 : tensor<?x4x?xf32>
  })"), "[tokens, 4, 6]");
}

TEST_F(ShapeAnalysisTest, BuildsOperationsWithInferredTypes) {
  returned(R"(func.func @f(%x: tensor<?x6xf16> {llm.dims = ["n", 6]}, %s: tensor<?xi64>) { return })");
  auto function = *module->getOps<mlir::func::FuncOp>().begin();
  mlir::OpBuilder builder(function.front().getTerminator());
  mlir::Value x = function.getArgument(0);
  auto loc = builder.getUnknownLoc();
  auto typeText = [](mlir::Operation *op) {
    std::string text;
    llvm::raw_string_ostream(text) << op->getResult(0).getType();
    return text;
  };
  mlir::Operation *sum = createInferred(builder, loc, analysis, "llm.add", {x, x});
  EXPECT_EQ(typeText(sum), "tensor<?x6xf16>");
  EXPECT_EQ(print(analysis.shapeOf(sum->getResult(0))), "[n, 6]");
  auto predicate = builder.getNamedAttr("predicate", llm::ComparePredicateAttr::get(&context, llm::ComparePredicate::lt));
  EXPECT_EQ(typeText(createInferred(builder, loc, analysis, "llm.compare", {x, x}, predicate)), "tensor<?x6xi1>");
  EXPECT_EQ(typeText(createInferred(builder, loc, analysis, "llm.shape", {x})), "tensor<2xi64>");
  EXPECT_EQ(typeText(createInferred(builder, loc, analysis, "llm.cast", {x}, {}, builder.getF32Type())), "tensor<?x6xf32>");
  auto value = builder.getNamedAttr("value", builder.getI64TensorAttr({-1, 3}));
  mlir::Operation *shape = createInferred(builder, loc, analysis, "llm.constant", {}, value);
  EXPECT_EQ(typeText(shape), "tensor<2xi64>");
  EXPECT_EQ(typeText(createInferred(builder, loc, analysis, "llm.reshape", {x, shape->getResult(0)})), "tensor<?x3xf16>");
  EXPECT_EQ(createInferred(builder, loc, analysis, "llm.reshape", {x, function.getArgument(1)}), nullptr);
  EXPECT_EQ(createInferred(builder, loc, analysis, "llm.no_such_operation", {x}), nullptr);
}

/// A chain far longer than the stack would bear by recursion, asked for from its end.
TEST_F(ShapeAnalysisTest, DeepGraphsNeedNoStack) {
  module = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
  mlir::OpBuilder builder(module->getBodyRegion());
  auto type = mlir::RankedTensorType::get({mlir::ShapedType::kDynamic}, builder.getF32Type());
  auto function = mlir::func::FuncOp::create(builder, builder.getUnknownLoc(), "f", builder.getFunctionType({type}, {}));
  builder.setInsertionPointToStart(function.addEntryBlock());
  mlir::Value value = function.getArgument(0);
  for (int i = 0; i < 200000; ++i)
    value = llm::NegOp::create(builder, builder.getUnknownLoc(), type, value);
  EXPECT_EQ(print(analysis.shapeOf(value)), "[f.arg0.0]");
}

} // namespace
