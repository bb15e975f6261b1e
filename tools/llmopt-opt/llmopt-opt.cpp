//===- llmopt-opt.cpp - one pass after the other over textual IR ----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "TestPasses.h"

#include "llmopt/dialects/Exec/Exec.h"
#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/dialects/Strategy/Strategy.h"
#include "llmopt/passes/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  registry.insert<llmopt::llm::LLMDialect, llmopt::exec::ExecDialect, llmopt::strategy::StrategyDialect>();
  registry.insert<mlir::func::FuncDialect, mlir::arith::ArithDialect, mlir::math::MathDialect, mlir::scf::SCFDialect,
                  mlir::vector::VectorDialect, mlir::LLVM::LLVMDialect>();
  mlir::registerTransformsPasses();
  llmopt::registerLLMOptPasses();
  llmopt::registerTestPasses();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "llmopt optimizer driver\n", registry));
}
