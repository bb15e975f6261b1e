//===- TestPasses.cpp - passes that exist for tests -----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "TestPasses.h"

#include "llmopt/dialects/LLM/Decompose.h"
#include "llmopt/dialects/LLM/ElementTypes.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"
#include "llmopt/lib/Analysis/StructureHash.h"
#include "llmopt/lib/Interpreter/Interpreter.h"
#include "llmopt/lib/Support/Hash.h"
#include "llmopt/lib/Interpreter/Samples.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"

#include "llvm/Support/Format.h"

#include <cmath>

using namespace mlir;
using namespace llmopt;

namespace {

struct DecomposePass : PassWrapper<DecomposePass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(DecomposePass)
  StringRef getArgument() const override { return "llmopt-decompose"; }
  StringRef getDescription() const override { return "Take every composite operation apart"; }
  void runOnOperation() override {
    if (failed(llm::decomposeAll(getOperation())))
      signalPassFailure();
  }
};

/// Prints the symbolic shapes of what a function returns as remarks on the return.
struct PrintShapesPass : PassWrapper<PrintShapesPass, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(PrintShapesPass)
  StringRef getArgument() const override { return "llmopt-print-shapes"; }
  StringRef getDescription() const override { return "Show the symbolic shapes of function results as remarks"; }
  void runOnOperation() override {
    SymContext symbols;
    ShapeAnalysis analysis(symbols);
    analysis.run(getOperation());
    for (Value value : getOperation().front().getTerminator()->getOperands()) {
      std::string text;
      for (SymExpr dim : analysis.shapeOf(value).dims)
        text += (text.empty() ? "" : ", ") + dim.str();
      emitRemark(value.getLoc()) << "[" << text << "]";
    }
  }
};

/// "@main 0123456789abcdef" for each function, as comments, so that the output can be read again.
struct PrintStructureHashPass : PassWrapper<PrintStructureHashPass, OperationPass<ModuleOp>> { // of the module, for one order of lines
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(PrintStructureHashPass)
  StringRef getArgument() const override { return "llmopt-print-structure-hash"; }
  StringRef getDescription() const override {
    return "Show a hash over operations, types, attributes and numbered dims, without names, locations and weight values";
  }
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>())
      llvm::outs() << "// @" << function.getName() << " " << hashHex(structureHash(function)) << "\n";
  }
};

/// Runs functions, and compares what they return with what they should.
///
///   func.func @f(%x: tensor<2xf32>) -> tensor<2xf32>
///       attributes {llm.inputs = [dense<[1.0, 2.0]> : tensor<2xf32>],
///                   llm.expected = [dense<[2.0, 4.0]> : tensor<2xf32>], llm.tolerance = 1.0e-6 : f64}
///
/// Without `llm.expected` the results are printed, as comments, so that the output can be read again. Weights get random
/// numbers that depend on their names alone.
struct InterpretPass : PassWrapper<InterpretPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(InterpretPass)
  StringRef getArgument() const override { return "llmopt-interpret"; }
  StringRef getDescription() const override { return "Run functions that have llm.inputs or need none; check llm.expected"; }

  void runOnOperation() override {
    WeightStore weights = sampleWeights(getOperation());
    Interpreter interpreter(getOperation(), weights);
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      auto inputs = function->getAttrOfType<ArrayAttr>("llm.inputs");
      if (function.isDeclaration() || (!inputs && function.getNumArguments() > 0))
        continue;
      if (failed(runFunction(function, inputs, interpreter)))
        return signalPassFailure();
    }
  }

private:
  static Tensor tensorOf(ElementsAttr elements) {
    // By way of the interpreter's own reading of constants.
    MLIRContext *context = elements.getContext();
    OpBuilder builder(context);
    OwningOpRef<ModuleOp> module = ModuleOp::create(builder, UnknownLoc::get(context));
    builder.setInsertionPointToStart(module->getBody());
    Value constant = llm::ConstantOp::create(builder, UnknownLoc::get(context), elements);
    WeightStore none;
    Result<Tensor> tensor = Interpreter(*module, none).evaluate(constant);
    return tensor ? tensor.take() : Tensor();
  }

  LogicalResult runFunction(func::FuncOp function, ArrayAttr inputs, Interpreter &interpreter) {
    std::vector<Tensor> arguments;
    for (Attribute input : inputs ? inputs.getValue() : ArrayRef<Attribute>())
      if (auto elements = dyn_cast<ElementsAttr>(input))
        arguments.push_back(tensorOf(elements));
    Result<std::vector<Tensor>> results = interpreter.run(function.getName(), std::move(arguments));
    if (!results)
      return function.emitError(results.error().str());
    auto expected = function->getAttrOfType<ArrayAttr>("llm.expected");
    if (expected && expected.size() != results->size())
      return function.emitError("llm.expected has another number of entries than there are results");
    for (auto [i, result] : llvm::enumerate(*results)) {
      if (!expected)
        print(function, i, result);
      else if (failed(check(function, i, result, tensorOf(cast<ElementsAttr>(expected[i])))))
        return failure();
    }
    return success();
  }

  static void print(func::FuncOp function, size_t number, const Tensor &result) {
    llvm::outs() << "// @" << function.getName() << "#" << number << ": " << result.typeName() << " =";
    for (int64_t i = 0; i < result.elements(); ++i)
      llvm::outs() << " " << llvm::format("%.6g", result.at(i));
    llvm::outs() << "\n";
  }

  static LogicalResult check(func::FuncOp function, size_t number, const Tensor &result, const Tensor &expected) {
    auto given = function->getAttrOfType<FloatAttr>("llm.tolerance");
    double tolerance = given ? given.getValueAsDouble() : 0;
    if (result.shape() != expected.shape() || result.dtype() != expected.dtype())
      return function.emitError() << "result " << number << " is " << result.typeName() << ", expected " << expected.typeName();
    for (int64_t i = 0; i < result.elements(); ++i) {
      double got = result.at(i), want = expected.at(i);
      bool same = got == want || (std::isnan(got) && std::isnan(want)) || std::abs(got - want) <= tolerance;
      if (!same)
        return function.emitError() << "result " << number << ", element " << i << " is " << got << ", expected " << want;
    }
    return success();
  }
};

} // namespace

void llmopt::registerTestPasses() {
  PassRegistration<DecomposePass>();
  PassRegistration<InterpretPass>();
  PassRegistration<PrintShapesPass>();
  PassRegistration<PrintStructureHashPass>();
}
