//===- Reduce.cpp - a small graph that still fails ----------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "lib/Workbench/GraphFile.h"
#include "llmopt/dialects/LLM/ElementTypes.h"
#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"
#include "llmopt/lib/Interpreter/Interpreter.h"
#include "llmopt/lib/Support/File.h"
#include "llmopt/lib/Workbench/Differential.h"

#include "mlir/IR/Verifier.h"
#include "llvm/ADT/STLExtras.h"

#include <filesystem>
#include <unistd.h>

using namespace mlir;
using namespace llmopt;
namespace fs = std::filesystem;

namespace {

func::FuncOp mainOf(ModuleOp module) { return module.lookupSymbol<func::FuncOp>("main"); }

Operation *nth(ModuleOp module, size_t index) { return &*std::next(mainOf(module).front().begin(), long(index)); }
size_t operationsOf(ModuleOp module) { return mainOf(module).front().getOperations().size() - 1; }

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

void dropDead(ModuleOp module) {
  func::FuncOp function = mainOf(module);
  for (Operation *op = function.front().getTerminator()->getPrevNode(), *before; op; op = before) {
    before = op->getPrevNode();
    if (op->use_empty() && isMemoryEffectFree(op))
      op->erase();
  }
  for (unsigned i = function.getNumArguments(); i-- > 0;)
    if (function.getArgument(i).use_empty() && function.getNumArguments() > 1)
      (void)function.eraseArgument(i);
}

class Reducer {
public:
  Reducer(OwningOpRef<ModuleOp> module, const StillFails &fails, const std::function<void(size_t)> &progress)
      : best_(std::move(module)), fails_(fails), progress_(progress),
        path_((fs::temp_directory_path() / ("llmopt-reduce-" + std::to_string(getpid()) + ".mlir")).string()) {}
  ~Reducer() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }

  Result<std::string> run() {
    LLMOPT_ASSIGN(bool fails, test(*best_));
    if (!fails)
      return usageError("E0515", "the whole graph does not show the failure; is the test command right?");
    oneResult();
    earlierResult();
    for (size_t before = 0; before != operationsOf(*best_);) {
      before = operationsOf(*best_);
      cut();
      bypass();
    }
    return textOf(*best_);
  }

private:
  static std::string textOf(ModuleOp module) {
    std::string text;
    llvm::raw_string_ostream stream(text);
    module.print(stream, OpPrintingFlags().enableDebugInfo(true, false));
    return text;
  }

  Result<bool> test(ModuleOp module) {
    LLMOPT_ASSIGN(AtomicFile file, AtomicFile::create(path_));
    LLMOPT_RETURN_IF_ERROR(file.write(textOf(module)));
    LLMOPT_RETURN_IF_ERROR(file.commit());
    return fails_(path_);
  }

  /// Changes a copy; takes it if it is valid and still fails.
  bool attempt(llvm::function_ref<bool(ModuleOp)> change) {
    OwningOpRef<ModuleOp> candidate(cast<ModuleOp>((*best_)->clone()));
    ScopedDiagnosticHandler quiet(candidate->getContext(), [](Diagnostic &) { return success(); });
    if (!change(*candidate))
      return false;
    dropDead(*candidate);
    if (failed(verify(*candidate)))
      return false;
    Result<bool> fails = test(*candidate);
    if (!fails || !*fails)
      return false;
    best_ = std::move(candidate);
    progress_(operationsOf(*best_));
    return true;
  }

  void oneResult() {
    size_t results = mainOf(*best_).getNumResults();
    for (size_t i = 0; results > 1 && i < results; ++i)
      if (attempt([&](ModuleOp module) {
            func::FuncOp function = mainOf(module);
            keepResults(function, {function.front().getTerminator()->getOperand(unsigned(i))});
            return true;
          }))
        return;
  }

  /// Returns what is computed on the way, as early as it is wrong: halving first, which is right if errors stay.
  void earlierResult() {
    size_t low = 0;
    while (low + 1 < operationsOf(*best_)) {
      size_t middle = low + (operationsOf(*best_) - low) / 2 - 1;
      size_t before = operationsOf(*best_);
      bool taken = attempt([&](ModuleOp module) {
        Operation *op = nth(module, middle);
        if (op->getNumResults() != 1 || isa<llm::ConstantOp, llm::WeightOp>(op))
          return false;
        keepResults(mainOf(module), {op->getResult(0)});
        return true;
      });
      if (!taken || operationsOf(*best_) >= before)
        low = middle + 1;
    }
  }

  /// Runs of operations become inputs, long runs first.
  void cut() {
    for (size_t length = std::max<size_t>(1, operationsOf(*best_) / 2); length > 0; length /= 2)
      for (size_t end = operationsOf(*best_); end > 0; end = std::min(end - std::min(end, length), operationsOf(*best_)))
        attempt([&](ModuleOp module) {
          size_t begin = end - std::min(end, length);
          SmallVector<Operation *> run;
          for (size_t i = begin; i < end; ++i)
            run.push_back(nth(module, i));
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
        });
  }

  /// An operation gives way to an operand of its type.
  void bypass() {
    for (size_t i = operationsOf(*best_); i-- > 0;) {
      if (i >= operationsOf(*best_))
        continue;
      for (unsigned k = 0; k < nth(*best_, i)->getNumOperands(); ++k)
        if (attempt([&](ModuleOp module) {
              Operation *op = nth(module, i);
              if (op->getNumResults() != 1 || op->getOperand(k).getType() != op->getResult(0).getType())
                return false;
              op->getResult(0).replaceAllUsesWith(op->getOperand(k));
              return true;
            }))
          break;
    }
  }

  OwningOpRef<ModuleOp> best_;
  const StillFails &fails_;
  const std::function<void(size_t)> &progress_;
  std::string path_;
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

Status llmopt::reduceModel(const std::string &path, const std::string &output, const StillFails &fails,
                           const std::function<void(size_t)> &progress) {
  LLMOPT_ASSIGN(GraphFile graph, readGraphFile(path));
  writeOutWeights(graph);
  LLMOPT_ASSIGN(std::string text, Reducer(std::move(graph.module), fails, progress).run());
  LLMOPT_ASSIGN(AtomicFile file, AtomicFile::create(output));
  LLMOPT_RETURN_IF_ERROR(file.write(text));
  return file.commit();
}
