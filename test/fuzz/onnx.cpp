//===- onnx.cpp - fuzzes the ONNX importer
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// With a sanitized build (cmake --preset asan && ninja -C build/asan LLMOptFrontendOnnx) and B=build/asan:
//   clang++-22 -std=c++20 -g -O1 -fno-rtti -fsanitize=fuzzer,address,undefined -Iinclude -I. -I$B/include -I$B/frontends/onnx
//     -I/usr/lib/llvm-22/include test/fuzz/onnx.cpp -L$B/lib -lLLMOptFrontendOnnx -lLLMOptOnnxProto -lLLMOptAnalysis
//     -lLLMOptDialectLLM -lLLMOptDialectExec -lLLMOptDialectStrategy -lLLMOptSupport -lprotobuf-lite -L/usr/lib/llvm-22/lib -lMLIR -lLLVM
//     -o fuzz-onnx
//   ./fuzz-onnx -max_len=20000 -max_total_time=600 CORPUS     (models of the node suite make a good one)
//
// Whatever the bytes are, the answer is a model that verifies or one error; external data is read beneath an empty folder.

#include "frontends/onnx/Importer.h"

#include "mlir/IR/Verifier.h"

#include <cstdlib>
#include <filesystem>

using namespace llmopt;

static const OnnxOptions &options() {
  static const OnnxOptions value = [] {
    OnnxOptions made;
    made.externalDataFolder = (std::filesystem::temp_directory_path() / "llmopt-fuzz-empty").string();
    std::filesystem::create_directories(made.externalDataFolder);
    return made;
  }();
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
