//===- ReduceIr.cpp - a module of the llm dialect that can be made smaller -----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "lib/Workbench/GraphFile.h"
#include "lib/Workbench/ReducibleGraph.h"
#include "llmopt/dialects/LLM/ElementTypes.h"
#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"
#include "llmopt/lib/Interpreter/Interpreter.h"

#include "mlir/IR/Verifier.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace llmopt;

namespace {

/// An input in place of a value, with what is known about its sizes.
void replaceByInput(Value value, ShapeAnalysis &shapes) {
  auto function = value.getDefiningOp()->getParentOfType<func::FuncOp>();
  OpBuilder builder(function.getContext());
  SmallVector<Attribute> dims;
  auto type = cast<RankedTensorType>(value.getType());
  for (auto [i, dim] : llvm::enumerate(shapes.shapeOf(value).dims)) {
    if (!type.isDynamicDim(unsigned(i)))
      dims.push_back(builder.getI64IntegerAttr(type.getDimSize(unsigned(i))));
    else
      dims.push_back(builder.getStringAttr(dim.known() ? dim.str() : "?"));
  }
  unsigned number = function.getNumArguments();
  auto attributes = builder.getDictionaryAttr({builder.getNamedAttr("llm.name", builder.getStringAttr("cut" + std::to_string(number))),
                                               builder.getNamedAttr(llm::kDimsAttr, builder.getArrayAttr(dims))});
  if (succeeded(function.insertArgument(number, type, attributes, value.getLoc())))
    value.replaceAllUsesWith(function.getArgument(number));
}

void keepResults(func::FuncOp function, ArrayRef<Value> values) {
  Operation *end = function.front().getTerminator();
  end->setOperands(values);
  OpBuilder builder(function.getContext());
  SmallVector<Attribute> attributes;
  for (size_t i = 0; i < values.size(); ++i)
    attributes.push_back(builder.getDictionaryAttr(builder.getNamedAttr("llm.name", builder.getStringAttr("y" + std::to_string(i)))));
  function.setFunctionType(FunctionType::get(function.getContext(), function.getArgumentTypes(), ValueRange(values).getTypes()));
  function.setResAttrsAttr(builder.getArrayAttr(attributes));
}

void dropDead(func::FuncOp function) {
  for (Operation *op = function.front().getTerminator()->getPrevNode(), *before; op; op = before) {
    before = op->getPrevNode();
    if (op->use_empty() && isMemoryEffectFree(op))
      op->erase();
  }
  for (unsigned i = function.getNumArguments(); i-- > 0;)
    if (function.getArgument(i).use_empty() && function.getNumArguments() > 1)
      (void)function.eraseArgument(i);
}

class ReducibleIr final : public ReducibleGraph {
public:
  ReducibleIr(std::shared_ptr<MLIRContext> context, OwningOpRef<ModuleOp> module) : context_(std::move(context)), module_(std::move(module)) {}

  std::unique_ptr<ReducibleGraph> clone() const override {
    return std::make_unique<ReducibleIr>(context_, OwningOpRef<ModuleOp>(cast<ModuleOp>(module_.get()->clone())));
  }
  size_t operations() const override { return function().front().getOperations().size() - 1; }
  size_t results() const override { return function().getNumResults(); }
  size_t operandsOf(size_t operation) const override { return nth(operation)->getNumOperands(); }
  const char *extension() const override { return ".mlir"; }

  bool keepResult(size_t result) override {
    keepResults(function(), {function().front().getTerminator()->getOperand(unsigned(result))});
    return true;
  }

  bool returnOperation(size_t operation) override {
    Operation *op = nth(operation);
    if (op->getNumResults() != 1 || isa<llm::ConstantOp, llm::WeightOp>(op))
      return false;
    keepResults(function(), {op->getResult(0)});
    return true;
  }

  bool cut(size_t begin, size_t end) override {
    SmallVector<Operation *> run;
    for (size_t i = begin; i < end; ++i)
      run.push_back(nth(i));
    SymContext symbols;
    ShapeAnalysis shapes(symbols);
    bool changed = false;
    for (Operation *op : run)
      for (Value result : op->getResults())
        if (!isa<llm::ConstantOp>(op) && llvm::any_of(result.getUsers(), [&](Operation *user) { return !llvm::is_contained(run, user); })) {
          replaceByInput(result, shapes);
          changed = true;
        }
    return changed;
  }

  bool bypass(size_t operation, size_t operand) override {
    Operation *op = nth(operation);
    if (op->getNumResults() != 1 || op->getOperand(unsigned(operand)).getType() != op->getResult(0).getType())
      return false;
    op->getResult(0).replaceAllUsesWith(op->getOperand(unsigned(operand)));
    return true;
  }

  bool settle() override {
    ScopedDiagnosticHandler quiet(context_.get(), [](Diagnostic &) { return success(); });
    dropDead(function());
    return succeeded(verify(*module_));
  }

  Result<std::string> contents() const override {
    std::string text;
    llvm::raw_string_ostream stream(text);
    module_.get()->print(stream, OpPrintingFlags().enableDebugInfo(true, false));
    return text;
  }

private:
  func::FuncOp function() const { return module_.get().lookupSymbol<func::FuncOp>("main"); }
  Operation *nth(size_t index) const { return &*std::next(function().front().begin(), long(index)); }

  std::shared_ptr<MLIRContext> context_;
  OwningOpRef<ModuleOp> module_;
};

/// The text of a module has no weights: small ones become constants, large ones inputs.
void writeOutWeights(GraphFile &graph) {
  constexpr int64_t kMostElements = 1 << 16;
  Interpreter interpreter(*graph.module, graph.weights);
  SymContext symbols;
  ShapeAnalysis shapes(symbols);
  SmallVector<llm::WeightOp> ops(graph.main().getOps<llm::WeightOp>());
  for (llm::WeightOp op : ops) {
    auto type = cast<RankedTensorType>(op.getType());
    OpBuilder builder(op);
    Result<Tensor> value = type.getNumElements() <= kMostElements ? interpreter.evaluate(op.getResult()) : Result<Tensor>(unsupported("E0703", "large"));
    if (value)
      op.getResult().replaceAllUsesWith(llm::ConstantOp::create(builder, op.getLoc(), llm::elementsFromTensor(builder.getContext(), *value)));
    else
      replaceByInput(op.getResult(), shapes);
    op.erase();
  }
}

} // namespace

Result<std::unique_ptr<ReducibleGraph>> llmopt::openReducibleIr(const std::string &path) {
  LLMOPT_ASSIGN(GraphFile graph, readGraphFile(path));
  writeOutWeights(graph);
  return std::unique_ptr<ReducibleGraph>(std::make_unique<ReducibleIr>(std::move(graph.context), std::move(graph.module)));
}
