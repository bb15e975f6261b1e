//===- onnx.cpp - fuzzes the ONNX importer
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// Whatever the bytes are, the answer is a model that verifies or one error; external data is read beneath an empty folder.

#include "ScratchFile.h"
#include "frontends/onnx/Importer.h"

#include "mlir/IR/Verifier.h"

using namespace llmopt;

static const OnnxOptions &options() {
  static const OnnxOptions value{.externalDataFolder = fuzz::scratchFolder().string()};
  return value;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<llm::LLMDialect, mlir::func::FuncDialect>();
  auto model = onnx::parseModel(std::as_bytes(std::span(data, size)), "fuzz.onnx");
  if (!model)
    return 0;
  auto imported = onnx::Importer(context, model.take(), "fuzz.onnx", options()).run();
  if (imported ? mlir::failed(mlir::verify(*imported->module)) : imported.error().message.empty() || imported.error().kind == ErrorKind::Internal)
    std::abort();
  return 0;
}
