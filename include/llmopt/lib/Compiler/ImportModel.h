//===- ImportModel.h - phase Import by itself ------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_COMPILER_IMPORTMODEL_H
#define LLMOPT_LIB_COMPILER_IMPORTMODEL_H

#include "llmopt/frontends/ImportedModel.h"
#include "llmopt/lib/Compiler/CompileOptions.h"
#include "llmopt/lib/Support/Status.h"

namespace llmopt {

struct CompilerInput {
  ImportedModel model;
  std::optional<std::string> tokenizer; ///< the artifact's section
};

/// What `input` names: an ONNX file, a Hugging Face folder, a model's name in the hub's cache ("org/name"), or MLIR of the llm dialect.
Result<CompilerInput> importModel(mlir::MLIRContext &context, const std::string &input, const CompileOptions &options);

} // namespace llmopt

#endif // LLMOPT_LIB_COMPILER_IMPORTMODEL_H
