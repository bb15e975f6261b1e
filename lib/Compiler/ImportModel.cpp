//===- ImportModel.cpp - phase Import by itself ----------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Compiler/ImportModel.h"

#include "codegen/CUDA/DeviceCompiler.h"
#include "lib/Compiler/GraphDecoder.h"
#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/frontends/HuggingFace.h"
#include "llmopt/frontends/Onnx.h"
#include "llmopt/frontends/Tokenizer.h"
#include "llmopt/lib/Target/Target.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"

#include <algorithm>
#include <filesystem>

using namespace llmopt;
namespace fs = std::filesystem;

/// The path itself where it exists, or the folder in the hub's cache that a model's name stands for.
static Result<std::string> locate(const std::string &input) {
  std::error_code error;
  if (fs::exists(input, error))
    return input;
  Result<std::string> cached = findInHubCache(input);
  if (cached)
    return cached;
  Error missing = badInput("E0101", "no such file or folder", input).error();
  missing.notes.push_back("note: as a model's name: " + cached.error().message + " (" + cached.error().context + ")");
  return Status(missing);
}

static Result<ImportedModel> parseText(mlir::MLIRContext &context, const std::string &path) {
  std::string first;
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &diagnostic) {
    if (first.empty())
      llvm::raw_string_ostream(first) << diagnostic.getLocation() << ": " << diagnostic;
    return mlir::success();
  });
  ImportedModel model;
  model.module = mlir::parseSourceFile<mlir::ModuleOp>(path, &context);
  if (!model.module)
    return badInput("E0312", "not valid MLIR of the llm dialect: " + first, path);
  model.metadata.set("kind", "graph");
  return model;
}

/// Sequences are bounded by --max-seq-len; it can shorten what the model's configuration allows, not extend it.
static Status limitSequences(Json &metadata, int64_t wanted, const std::string &input) {
  const Json *own = metadata.find("max_positions");
  if (own && own->isInt() && own->asInt() < wanted)
    return usageError("E0315", "--max-seq-len " + std::to_string(wanted) + " is more than the model's " + std::to_string(own->asInt()) +
                                   " positions", input);
  if (wanted)
    metadata.set("max_positions", wanted);
  return {};
}

/// With code for a GPU, random weights are made where they are read, so that an artifact of any size travels easily. The kernel for it is CUDA C++.
static bool drawsWeights(const CompileOptions &options) {
  bool hasGpu = std::any_of(options.targets.begin(), options.targets.end(), [](const std::string &name) {
    Result<Target> target = findTarget(name);
    return target && target->isGpu();
  });
  if (!options.randomWeights || !hasGpu)
    return false;
  Result<std::unique_ptr<cuda::DeviceCompiler>> compiler = cuda::findDeviceCompiler(options.cudaCompiler);
  return compiler && (*compiler)->takesText();
}

Result<CompilerInput> llmopt::importModel(mlir::MLIRContext &context, const std::string &input, const CompileOptions &options) {
  context.loadDialect<llm::LLMDialect, mlir::func::FuncDialect>();
  LLMOPT_ASSIGN(std::string path, locate(input));
  CompilerInput result;
  std::string folder = path;
  bool isFolder = fs::is_directory(path), isText = !isFolder && fs::path(path).extension() == ".mlir";
  if (!options.dims.empty() && (isFolder || isText))
    return usageError("E0321", "--dim is for the named dimensions of ONNX files; " +
                                   std::string(isFolder ? "--max-seq-len bounds the sequences of a folder's model" : "a module of the llm dialect has its sizes in its types"), input);
  if (isFolder) {
    LLMOPT_ASSIGN(result.model, importHuggingFace(context, path, {.architectureFolders = options.architectureFolders,
                                                                  .maxPositions = options.maxSequenceLength,
                                                                  .randomWeights = options.randomWeights,
                                                                  .describeWeights = drawsWeights(options)}));
  } else if (options.randomWeights) {
    return usageError("E0316", "random weights are for Hugging Face folders only", input);
  } else if (isText) {
    LLMOPT_ASSIGN(result.model, parseText(context, path));
    folder.clear();
  } else {
    LLMOPT_ASSIGN(result.model, importOnnx(context, path, {.fixedDims = options.dims, .externalDataFolder = options.externalDataFolder}));
    folder = fs::path(path).parent_path().empty() ? "." : fs::path(path).parent_path().string();
    LLMOPT_RETURN_IF_ERROR(describeGraphDecoder(*result.model.module, folder, result.model.metadata));
  }
  if (options.embedTokenizer && !folder.empty()) {
    LLMOPT_ASSIGN(result.tokenizer, importTokenizer(folder));
  }
  LLMOPT_RETURN_IF_ERROR(limitSequences(result.model.metadata, options.maxSequenceLength, input));
  return result;
}
