//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/frontends/HuggingFace.h"

#include "ConfigCheck.h"
#include "Metadata.h"
#include "ModelBuilder.h"

#include "mlir/IR/Verifier.h"

using namespace llmopt;
using namespace llmopt::hf;

/// The description of the model type that config.json names.
static Result<Architecture> describe(const ModelFolder &folder, const HuggingFaceOptions &options) {
  std::string context = folder.path() + "/config.json";
  const Json *modelType = folder.config().find("model_type");
  const Json *autoMap = folder.config().find("auto_map");
  bool isNamed = modelType && modelType->isString() && !modelType->asString().empty();
  if (!isNamed && !autoMap)
    return badInput("E0412", "no text 'model_type'", context);
  Result<Json> json = findDescription(isNamed ? modelType->asString() : "", options.architectureFolders);
  if (json)
    return Architecture::fromJson(*json, "architecture '" + modelType->asString() + "'");
  Error error = json.error();
  error.context = context;
  if (error.code == "E0410" && autoMap)
    error.message = "custom code models (auto_map) are not supported: " + error.message;
  return error;
}

/// The importer's own mistakes, not the model's.
static Status verifyModule(mlir::ModuleOp module, const std::string &context) {
  std::string text;
  mlir::ScopedDiagnosticHandler handler(module.getContext(), [&](mlir::Diagnostic &diagnostic) {
    text += text.empty() ? diagnostic.str() : "";
    return mlir::success();
  });
  return mlir::succeeded(mlir::verify(module)) ? Status() : internalError("E0413", "the imported module is not valid: " + text, context);
}

Result<ImportedModel> llmopt::importHuggingFace(mlir::MLIRContext &context, const std::string &path, const HuggingFaceOptions &options) {
  LLMOPT_ASSIGN(ModelFolder folder, ModelFolder::open(path, /*readWeights=*/!options.randomWeights));
  LLMOPT_ASSIGN(Architecture architecture, describe(folder, options));
  context.loadDialect<llm::LLMDialect, mlir::func::FuncDialect>();

  ImportedModel model;
  model.warnings = folder.warnings();
  Problems problems;
  checkConfig(folder.config(), architecture, problems, model.warnings);
  std::optional<Float8Scheme> float8 = readQuantization(folder.config(), architecture, problems, model.warnings);
  ConfigScope config(folder.config(), architecture.values);
  WeightBinder weights(folder, architecture, model.weights, problems);
  if (float8)
    weights.takeFloat8(*float8);
  if (float8 && options.randomWeights)
    model.warnings.push_back("random weights are not quantized, whatever quantization_config says");
  if (options.randomWeights)
    weights.drawAtRandom(RandomWeights(*options.randomWeights, folder.config(), options.describeWeights));
  LLMOPT_RETURN_IF_ERROR(weights.prepare(config));

  model.module = mlir::ModuleOp::create(mlir::NameLoc::get(mlir::StringAttr::get(&context, architecture.modelType)));
  ModelBuilder builder(architecture, config, weights, problems, *model.module, options.maxPositions);
  builder.build();
  model.metadata = describeModel(folder, architecture, config, builder.validPositions(), problems, model.warnings);
  LLMOPT_RETURN_IF_ERROR(problems.status(path));
  weights.report(model.warnings);
  LLMOPT_RETURN_IF_ERROR(verifyModule(*model.module, path));
  return model;
}
