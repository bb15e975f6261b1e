//===- FusionGuardTest.cpp - each guard of each fusion is needed and kept --===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// For every fusion of the list: the functions of its test file in which it fires are broken in every way FusionMutants.h knows.
// A mutant must be left alone, or still mean the same after fusion and compute nothing twice. That this test can fail is shown by
// a fusion with a planted bug.
//
//===----------------------------------------------------------------------===//
#include "FusionMutants.h"

#include "llmopt/dialects/Exec/Exec.h"
#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Interpreter/Interpreter.h"
#include "llmopt/lib/Interpreter/Samples.h"
#include "llmopt/lib/Support/CompareTensors.h"
#include "llmopt/passes/Match.h"
#include "llmopt/passes/Passes.h"

#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/StringExtras.h"

#include <cmath>
#include <gtest/gtest.h>

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

namespace {

std::string textOf(Operation *op) {
  std::string text;
  llvm::raw_string_ostream(text) << *op;
  return text;
}

/// Operations that cost something: arithmetic on sizes does not, and what is done to weights is done when compiling.
int64_t operationsOf(ModuleOp module) {
  int64_t count = 0;
  module.walk([&](Operation *op) {
    if (op->getNumResults() == 1 && !llm::isWeightExpression(op->getResult(0)))
      count += isa<llm::MatMulOp>(op) || isa<FloatType>(getElementTypeOrSelf(op->getResult(0).getType()));
  });
  return count;
}

struct FusionGuards : testing::Test {
  MLIRContext context;
  int left = 0, rewritten = 0;
  std::vector<std::string> wrong;

  FusionGuards() { context.loadDialect<llm::LLMDialect, exec::ExecDialect, func::FuncDialect>(); }

  std::string fuse(ModuleOp module, const std::string &fusion, bool verify = false) {
    FusePassOptions options;
    options.level = 3;
    options.only.assign({fusion});
    options.verify = verify;
    PassManager pm(&context);
    pm.addPass(createFusePass(options));
    std::string errors;
    ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
      if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
        errors += diagnostic.str();
      return success();
    });
    (void)pm.run(module);
    return errors;
  }

  static bool hasNan(const std::vector<Tensor> &tensors) {
    for (const Tensor &tensor : tensors)
      for (int64_t i = 0; i < tensor.elements(); ++i)
        if (std::isnan(tensor.at(i)))
          return true;
    return false;
  }

  /// The first difference between what both compute.
  std::string difference(ModuleOp before, ModuleOp after) {
    auto function = *before.getOps<func::FuncOp>().begin();
    WeightStore weights = sampleWeights(before);
    for (SampleKind kind : {SampleKind::Normal, SampleKind::Positive}) {
      auto inputs = sampleInputs(function, 7, kind);
      if (!inputs)
        return "";
      auto want = Interpreter(before, weights).run(function.getName(), *inputs);
      if (!want || hasNan(*want))
        continue; // the mutant itself makes no sense
      auto got = Interpreter(after, weights).run(function.getName(), *inputs);
      if (!got)
        return got.error().str();
      for (size_t i = 0; i < want->size(); ++i)
        if (Status same = compareTensorsByNorm((*got)[i], (*want)[i], 1e-3, "result"); !same)
          return same.error().message;
    }
    return "";
  }

  void tryMutant(Mutant &mutant, const std::string &fusion) {
    OwningOpRef<ModuleOp> after(cast<ModuleOp>((*mutant.module)->clone()));
    fuse(*after, fusion);
    if (textOf(*after) == textOf(*folded(*mutant.module))) {
      ++left;
      return;
    }
    ++rewritten;
    // Other readers of a dequantized operand keep its conversion, a cast and a scale, beside the product's own cast, scale and bias.
    // Extrema of rows stand beside those of all rows. A convolution becomes several operations, up to four a group, and other readers keep its channels first.
    int64_t kept = fusion == "conv-to-linear" ? 8 : fusion == "fuse-dequantized-product" || fusion == "fuse-float8-product" ? 3 : fusion == "fuse-norm-quantize" || fusion == "keep-channels-last" ? 2 : 0;
    if (operationsOf(*after) > operationsOf(*mutant.module) + kept)
      wrong.push_back(mutant.what + ": computes something twice\n" + textOf(*after));
    if (std::string found = difference(*mutant.module, *after); !found.empty())
      wrong.push_back(mutant.what + ": " + found + "\n" + textOf(*mutant.module));
  }

  /// What the greedy driver does without any pattern.
  OwningOpRef<ModuleOp> folded(ModuleOp module) {
    OwningOpRef<ModuleOp> copy(cast<ModuleOp>(module->clone()));
    fuse(*copy, "no-such-fusion");
    return copy;
  }

  /// Breaks every function in which the fusion fires; how many there are.
  int tryFile(ModuleOp module, const std::string &fusion) {
    int fired = 0;
    for (auto function : module.getOps<func::FuncOp>()) {
      OwningOpRef<ModuleOp> alone(ModuleOp::create(function.getLoc()));
      alone->push_back(function->clone());
      OwningOpRef<ModuleOp> fused(cast<ModuleOp>((*alone)->clone()));
      EXPECT_EQ(fuse(*fused, fusion, /*verify=*/true), "") << function.getName().str();
      if (textOf(*fused) == textOf(*folded(*alone)))
        continue;
      ++fired;
      EXPECT_EQ(difference(*alone, *fused), "") << function.getName().str();
      for (Mutant &mutant : mutantsOf(function))
        tryMutant(mutant, fusion);
    }
    return fired;
  }
};

TEST_F(FusionGuards, everyShippedFusion) {
  for (const FusionInfo &info : allFusions()) {
    SCOPED_TRACE(info.name);
    left = rewritten = 0;
    wrong.clear();
    auto module = parseSourceFile<ModuleOp>(std::string(LLMOPT_FUSION_CASES "/") + info.name + ".mlir", &context);
    ASSERT_TRUE(module) << "every fusion has test/passes/fusion/" << info.name << ".mlir";
    EXPECT_GT(tryFile(*module, info.name), 0) << "no function of the test file is fused";
    EXPECT_GT(left + rewritten, 0);
    for (const std::string &mistake : wrong)
      ADD_FAILURE() << mistake;
    std::printf("%-28s %4d mutants left alone, %4d rewritten and equal\n", info.name, left, rewritten);
  }
}

//===----------------------------------------------------------------------===//
// A fusion that forgets a guard: it looks through casts between a norm and its quantization, whatever their type.
//===----------------------------------------------------------------------===//

struct PlantedNormQuantize : OpRewritePattern<llm::RoundOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(llm::RoundOp root, PatternRewriter &rewriter) const override {
    auto product = root.getInput().getDefiningOp<llm::MulOp>();
    auto factor = product ? splatOf(product.getRhs()) : std::nullopt;
    Value normed = product ? product.getLhs() : Value();
    while (auto cast = normed ? normed.getDefiningOp<llm::CastOp>() : llm::CastOp())
      normed = cast.getInput(); // the bug: the types on the way are not looked at
    auto norm = normed ? normed.getDefiningOp<llm::RMSNormOp>() : llm::RMSNormOp();
    if (!norm || norm.getScale() || !factor || norm.getType() != root.getType())
      return rewriter.notifyMatchFailure(root, "not round(rms_norm(x) * number)");
    auto row = RankedTensorType::get({typeOf(norm).getShape().back()}, rewriter.getF32Type());
    Value scale = llm::ConstantOp::create(rewriter, root.getLoc(), DenseElementsAttr::get(row, float(*factor)));
    auto joined = llm::RMSNormOp::create(rewriter, norm.getLoc(), norm.getType(), norm.getInput(), scale, norm.getEpsilonAttr(), norm.getOffsetAttr());
    rewriter.replaceOpWithNewOp<llm::RoundOp>(root, root.getType(), joined);
    return success();
  }
};

constexpr const char *kNormQuantize = R"(
func.func @quantized(%x: tensor<32x128xf32>) -> tensor<32x128xi8> {
  %s = llm.constant dense<40.0> : tensor<f32>
  %n = llm.rms_norm %x {epsilon = 1.0e-5 : f32} : tensor<32x128xf32> -> tensor<32x128xf32>
  %m = llm.mul %n, %s : tensor<32x128xf32>, tensor<f32> -> tensor<32x128xf32>
  %r = llm.round %m : tensor<32x128xf32>
  %q = llm.cast %r : tensor<32x128xf32> -> tensor<32x128xi8>
  return %q : tensor<32x128xi8>
})";

/// fuse-norm-quantize with the same bug: extrema are those of the norm, whatever type the quantization reads it in.
struct PlantedExtrema : OpRewritePattern<llm::ReduceOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(llm::ReduceOp root, PatternRewriter &rewriter) const override {
    Value normed = root.getInput();
    while (isa_and_nonnull<llm::CastOp>(normed.getDefiningOp()))
      normed = normed.getDefiningOp()->getOperand(0); // the bug
    auto norm = normed.getDefiningOp<llm::RMSNormOp>();
    if (!norm || root.getKind() != llm::ReduceKind::max || root.getAxes().size() != 2)
      return rewriter.notifyMatchFailure(root, "not the largest element of a norm");
    auto rowsType = RankedTensorType::get({typeOf(norm).getDimSize(0)}, rewriter.getF32Type());
    Value rows = llm::ReduceOp::create(rewriter, root.getLoc(), rowsType, root.getKindAttr(), norm, rewriter.getDenseI64ArrayAttr({1}), UnitAttr());
    rewriter.replaceOpWithNewOp<llm::ReduceOp>(root, root.getType(), root.getKindAttr(), rows, rewriter.getDenseI64ArrayAttr({0}), UnitAttr());
    return success();
  }
};

constexpr const char *kDynamicQuantize = R"(
func.func @quantized_dynamically(%x: tensor<32x128xf32>) -> (tensor<32x128xi8>, tensor<f32>) {
  %top = llm.constant dense<127.0> : tensor<f32>
  %n = llm.rms_norm %x {epsilon = 1.0e-5 : f32} : tensor<32x128xf32> -> tensor<32x128xf32>
  %m = llm.reduce max %n axes = [0, 1] : tensor<32x128xf32> -> tensor<f32>
  %f = llm.div %top, %m : tensor<f32>, tensor<f32> -> tensor<f32>
  %s = llm.mul %n, %f : tensor<32x128xf32>, tensor<f32> -> tensor<32x128xf32>
  %r = llm.round %s : tensor<32x128xf32>
  %q = llm.cast %r : tensor<32x128xf32> -> tensor<32x128xi8>
  return %q, %m : tensor<32x128xi8>, tensor<f32>
})";

struct PlantedBug : FusionGuards {
  static void SetUpTestSuite() {
    registerFusion({"planted-norm-quantize", 9, "a bug on purpose"},
                   [](RewritePatternSet &patterns) { patterns.add<PlantedNormQuantize>(patterns.getContext()); });
    registerFusion({"planted-extrema", 9, "a bug on purpose"}, [](RewritePatternSet &patterns) { patterns.add<PlantedExtrema>(patterns.getContext()); });
  }
};

TEST_F(PlantedBug, isFoundByTheMutants) {
  auto module = parseSourceString<ModuleOp>(kNormQuantize, &context);
  ASSERT_TRUE(module);
  EXPECT_EQ(tryFile(*module, "planted-norm-quantize"), 1);
  auto detour = [](const std::string &mistake) { return mistake.starts_with("detour over f16") && mistake.find("differs") != mistake.npos; };
  EXPECT_TRUE(llvm::any_of(wrong, detour)) << llvm::join(wrong, "\n");
}

/// From the line that makes `reader` on %n is read by way of f16; the line that makes `located` gets a source node's name.
std::string throughHalf(std::string text, const std::string &reader, const std::string &located) {
  size_t from = text.find("  " + reader + " =");
  for (size_t use = text.find("%n", from); use != text.npos; use = text.find("%n", use))
    text.replace(use, 2, "%w");
  text.insert(text.find("\n", text.find("  " + located + " =")), " loc(\"/layers.3/Quantize\")");
  text.insert(from, "  %h = llm.cast %n : tensor<32x128xf32> -> tensor<32x128xf16>\n  %w = llm.cast %h : tensor<32x128xf16> -> tensor<32x128xf32>\n");
  return text;
}

TEST_F(PlantedBug, isFoundByVerifyRewrites) {
  auto module = parseSourceString<ModuleOp>(throughHalf(kNormQuantize, "%m", "%r"), &context);
  ASSERT_TRUE(module);
  std::string errors = fuse(*module, "planted-norm-quantize", /*verify=*/true);
  EXPECT_NE(errors.find("[E0552] 'planted-norm-quantize' changed the result of llm.round at '/layers.3/Quantize': "), std::string::npos) << errors << "\n" << textOf(*module);
}

TEST_F(PlantedBug, inExtremaIsFoundByTheMutants) {
  auto module = parseSourceString<ModuleOp>(kDynamicQuantize, &context);
  ASSERT_TRUE(module);
  EXPECT_EQ(tryFile(*module, "planted-extrema"), 1);
  auto detour = [](const std::string &mistake) { return mistake.starts_with("detour over f16") && mistake.find("differs") != mistake.npos; };
  EXPECT_TRUE(llvm::any_of(wrong, detour)) << llvm::join(wrong, "\n");
  // The shipped fusion has the guard.
  wrong.clear();
  EXPECT_EQ(tryFile(*module, "fuse-norm-quantize"), 1);
  EXPECT_TRUE(llvm::none_of(wrong, detour)) << llvm::join(wrong, "\n");
}

// The largest element before and after rounding to f16 differ by less than what other results may: elements are compared as such.
TEST_F(PlantedBug, inExtremaIsFoundByVerifyRewrites) {
  auto module = parseSourceString<ModuleOp>(throughHalf(kDynamicQuantize, "%m", "%m"), &context);
  ASSERT_TRUE(module);
  OwningOpRef<ModuleOp> other(cast<ModuleOp>((*module)->clone()));
  std::string errors = fuse(*module, "planted-extrema", /*verify=*/true);
  EXPECT_NE(errors.find("[E0552] 'planted-extrema' changed the result of llm.reduce at '/layers.3/Quantize': "), std::string::npos) << errors << "\n" << textOf(*module);
  EXPECT_EQ(fuse(*other, "fuse-norm-quantize", /*verify=*/true), "");
}

} // namespace
