//===- Onnx.h - import of an ONNX file --------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_ONNX_H
#define LLMOPT_FRONTENDS_ONNX_H

#include "llmopt/frontends/ImportedModel.h"

#include <map>

namespace llmopt {

struct OnnxOptions {
  /// --dim NAME=V: dimensions fixed when compiling.
  std::map<std::string, int64_t> fixedDims = {};
  /// Folder that external data is read beneath; empty: the model file's.
  std::string externalDataFolder;
};

/// An ONNX file of opset 1 to 28. One error lists every unsupported node found.
Result<ImportedModel> importOnnx(mlir::MLIRContext &context, const std::string &path, const OnnxOptions &options = {});

} // namespace llmopt

#endif // LLMOPT_FRONTENDS_ONNX_H
