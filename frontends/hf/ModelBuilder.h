//===- ModelBuilder.h - runs a description's statements ---------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_HF_MODELBUILDER_H
#define LLMOPT_FRONTENDS_HF_MODELBUILDER_H

#include "Blocks.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"

namespace llmopt::hf {

/// Turns each function of the description into a function of the module. What is wrong with the model goes to
/// `problems`; building goes on behind a problem where that may find more.
class ModelBuilder : public Scope {
public:
  ModelBuilder(const Architecture &architecture, ConfigScope &config, WeightBinder &weights, Problems &problems,
               mlir::ModuleOp module, int64_t wantedPositions);

  void build();
  /// See BlockContext.
  int64_t validPositions() const { return context_.validPositions; }

  Result<Operand> name(const std::string &name) override;
  Result<Operand> call(const std::string &callee, const std::vector<Operand> &arguments) override;
  Result<Operand> arithmetic(const std::string &symbol, const Operand &left, const Operand &right) override;

private:
  void buildFunction(const FunctionSpec &spec);
  void addArguments(mlir::func::FuncOp function, const std::vector<std::pair<const char *, const char *>> &arguments);
  void finishFunction(const FunctionSpec &spec, mlir::func::FuncOp function);
  Status runSections(const FunctionSpec &spec);
  Status run(const Statement &statement);
  std::string placeName() const;

  // Functions of the statement language.
  Result<Operand> callBlock(const std::string &callee, const std::vector<Operand> &arguments);
  Result<mlir::Value> embedding(const std::vector<Operand> &arguments);
  Result<mlir::Value> countPositions(const std::vector<Operand> &arguments);
  Result<mlir::Value> linear(const std::vector<Operand> &arguments);
  Result<mlir::Value> row(const std::vector<Operand> &arguments);
  Result<mlir::Value> weight(const std::vector<Operand> &arguments);
  Result<mlir::Value> softcap(const std::vector<Operand> &arguments);
  Result<int64_t> size(const std::vector<Operand> &arguments, size_t index, int64_t most, std::optional<int64_t> fallback = {});

  const Architecture &architecture_;
  mlir::ModuleOp module_;
  GraphBuilder graph_;
  BlockContext context_;
  std::map<std::string, Operand> variables_;
};

} // namespace llmopt::hf

#endif // LLMOPT_FRONTENDS_HF_MODELBUILDER_H
