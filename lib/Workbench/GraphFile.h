//===- GraphFile.h - a graph as a module in memory --------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_WORKBENCH_GRAPHFILE_H
#define LLMOPT_LIB_WORKBENCH_GRAPHFILE_H

#include "llmopt/lib/Support/Status.h"
#include "llmopt/lib/Support/WeightStore.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/OwningOpRef.h"

#include <memory>

namespace llmopt {

struct GraphFile {
  std::unique_ptr<mlir::MLIRContext> context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  WeightStore weights;
  mlir::func::FuncOp main() { return module->lookupSymbol<mlir::func::FuncOp>("main"); }
};

/// model.onnx or model.mlir, with a function `main`.
Result<GraphFile> readGraphFile(const std::string &path);

} // namespace llmopt

#endif // LLMOPT_LIB_WORKBENCH_GRAPHFILE_H
