//===- Model.cpp - a model's inputs, outputs, operator sets, functions ----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Importer.h"

#include "llmopt/dialects/LLM/ElementTypes.h"
#include "llmopt/lib/Support/Utf8.h"

#include "mlir/IR/Verifier.h"
#include "llvm/ADT/StringExtras.h"

#include <filesystem>

using namespace mlir;

namespace llmopt::onnx {

static std::string folderOf(const std::string &path, const OnnxOptions &options) {
  if (!options.externalDataFolder.empty())
    return options.externalDataFolder;
  std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

Importer::Importer(MLIRContext &context, std::shared_ptr<const ModelProto> model, const std::string &path, const OnnxOptions &options)
    : context_(context), model_(std::move(model)), path_(path), file_(std::filesystem::path(path).filename().string()),
      options_(options), analysis_(symbols_), emit_(&context, analysis_), external_(folderOf(path, options)) {}

Result<ImportedModel> Importer::run() {
  LLMOPT_RETURN_IF_ERROR(readOpsets(model_->opset_import(), modelOpsets_, path_));
  if (modelOpsets_.empty())
    return badInput(kOpset, "opset_import is missing: the file does not say which operator set it uses", path_);
  if (auto it = modelOpsets_.find(""); it != modelOpsets_.end() && (it->second < kOldestOpset || it->second > kNewestOpset))
    return unsupported(kOpset, "opset " + std::to_string(it->second) + " is not supported; llmopt reads opset " +
                                   std::to_string(kOldestOpset) + " to " + std::to_string(kNewestOpset), path_);
  LLMOPT_RETURN_IF_ERROR(indexFunctions());

  result_.module = ModuleOp::create(FileLineColLoc::get(&context_, file_, 0, 0));
  emit_.builder.setInsertionPointToStart(result_.module->getBody());
  auto function = func::FuncOp::create(emit_.builder, result_.module->getLoc(), "main", FunctionType::get(&context_, {}, {}));
  emit_.builder.setInsertionPointToStart(function.addEntryBlock());
  root_.opsets = &modelOpsets_;
  LLMOPT_RETURN_IF_ERROR(importInputs(function, root_));
  LLMOPT_RETURN_IF_ERROR(enterGraph(model_->graph(), root_));
  importOutputs(function, root_);
  if (!problems_.empty())
    return problems_.summary(path_);

  std::string diagnostics;
  ScopedDiagnosticHandler handler(&context_, [&](Diagnostic &d) {
    auto name = dyn_cast<NameLoc>(d.getLocation());
    diagnostics += (diagnostics.empty() ? "" : "; ") + (name ? "'" + name.getName().str() + "': " : "") + d.str();
  });
  if (mlir::failed(mlir::verify(*result_.module)))
    return badInput(kGraph, "the graph contradicts itself: " + diagnostics, path_);
  result_.metadata = describeModel();
  for (std::string &warning : external_.takeWarnings())
    result_.warnings.push_back(std::move(warning));
  return std::move(result_);
}

void Importer::visitValues(llvm::function_ref<void(llvm::StringRef, Value, const ValueShape &)> visit) {
  for (const auto &named : root_.values)
    if (Value value = named.second.value)
      visit(named.first(), value, analysis_.shapeOf(value));
}

Status Importer::readOpsets(const google::protobuf::RepeatedPtrField<OperatorSetIdProto> &imports, OpsetMap &opsets,
                            const std::string &context) {
  llvm::StringSet<> seen;
  for (const OperatorSetIdProto &import : imports) {
    std::string domain = normalDomain(import.domain()).str();
    auto [it, isNew] = opsets.try_emplace(domain, import.version());
    if (!seen.insert(import.domain()).second || it->second != import.version())
      return badInput(kOpset, "opset_import names domain '" + replaceInvalidUtf8(import.domain()) + "' twice", context);
  }
  return {};
}

//===----------------------------------------------------------------------===//
// Dimensions
//===----------------------------------------------------------------------===//

static bool isIdentifier(llvm::StringRef text) {
  return !text.empty() && !llvm::isDigit(text[0]) && llvm::all_of(text, [](char c) { return llvm::isAlnum(c) || c == '_'; });
}

static std::string identifier(llvm::StringRef text) {
  std::string name = text.empty() || llvm::isDigit(text[0]) ? "d" : "";
  for (char c : text)
    name += llvm::isAlnum(c) || c == '_' ? c : '_';
  return name;
}

void Importer::collectDimNames() {
  for (const ValueInfoProto &input : model_->graph().input())
    for (const auto &dim : input.type().tensor_type().shape().dim())
      if (dim.has_dim_param() && isIdentifier(dim.dim_param()))
        dimNames_.insert(dim.dim_param());
}

/// Some names are expressions ("past + sequence"), others only look like one ("batch-size"): it is an expression when every
/// name in it is also the whole name of a dimension. Anything else becomes one identifier.
std::string Importer::dimText(const std::string &name) {
  std::string text;
  bool isExpression = true;
  for (size_t i = 0; i < name.size();) {
    if (!llvm::isAlpha(name[i]) && name[i] != '_') {
      isExpression &= llvm::StringRef(" +-*/()0123456789").contains(name[i]);
      text += name[i++];
      continue;
    }
    size_t end = i;
    while (end < name.size() && (llvm::isAlnum(name[end]) || name[end] == '_'))
      ++end;
    std::string word = name.substr(i, end - i);
    i = end;
    isExpression &= dimNames_.contains(word);
    auto fixed = options_.fixedDims.find(word);
    if (fixed != options_.fixedDims.end())
      fixedDimsSeen_.insert(word);
    text += fixed != options_.fixedDims.end() ? std::to_string(fixed->second) : word;
  }
  return isExpression ? text : identifier(name);
}

Result<Attribute> Importer::dimAttribute(const TensorShapeProto::Dimension &dim, const std::string &fallback) {
  Builder &builder = emit_.builder;
  // Some exporters write -1 for "any".
  if (dim.has_dim_value() && dim.dim_value() < -1)
    return badInput(kGraph, "dimension " + std::to_string(dim.dim_value()) + " is negative", fallback);
  if (dim.has_dim_value() && dim.dim_value() >= 0)
    return Attribute(builder.getI64IntegerAttr(dim.dim_value()));
  if (dim.dim_param().empty())
    return Attribute(builder.getStringAttr(identifier(fallback)));
  if (dim.dim_param().size() > kMaxNameLength)
    return badInput(kGraph, "a dimension's name has " + std::to_string(dim.dim_param().size()) + " bytes", path_);
  if (auto fixed = options_.fixedDims.find(dim.dim_param()); fixed != options_.fixedDims.end()) {
    fixedDimsSeen_.insert(dim.dim_param());
    return Attribute(builder.getI64IntegerAttr(fixed->second));
  }
  std::string text = dimText(dim.dim_param());
  if (auto number = symbols_.parse(text).constant(); number && *number >= 0)
    return Attribute(builder.getI64IntegerAttr(*number));
  return Attribute(builder.getStringAttr(text));
}

//===----------------------------------------------------------------------===//
// Inputs and outputs
//===----------------------------------------------------------------------===//

Status Importer::importInputs(func::FuncOp function, Scope &scope) {
  collectDimNames();
  llvm::StringSet<> initialized, seen;
  for (const TensorProto &tensor : model_->graph().initializer())
    initialized.insert(tensor.name());
  for (const ValueInfoProto &input : model_->graph().input()) {
    std::string name = replaceInvalidUtf8(input.name()), context = "input '" + name + "'";
    if (input.name().empty() || !seen.insert(input.name()).second)
      return badInput(kGraph, input.name().empty() ? "an input has no name" : context + " is there twice", path_);
    if (initialized.contains(input.name())) // a default value; before IR version 4 every initializer was listed so
      continue;
    scope.values[input.name()] = {Value(), true};
    auto report = [&](const Status &status) { problems_.add(status.error(), "", context); };
    if (!input.type().has_tensor_type()) {
      report(unsupported(kUnsupported, "sequences, optionals, maps and sparse tensors are not supported"));
      continue;
    }
    const TypeProto::Tensor &proto = input.type().tensor_type();
    auto dtype = onnx::dtypeOf(proto.elem_type(), context);
    if (!dtype || !proto.has_shape() || proto.shape().dim_size() > kMaxRank) {
      report(!dtype ? dtype.status()
             : !proto.has_shape() ? unsupported(kUnsupported, "its rank is not declared")
                                  : badInput(kGraph, "rank " + std::to_string(proto.shape().dim_size()) + " > " + std::to_string(kMaxRank)));
      continue;
    }
    ValueShape shape;
    llvm::SmallVector<Attribute> dims;
    for (int i = 0; i < proto.shape().dim_size(); ++i) {
      LLMOPT_ASSIGN(Attribute dim, dimAttribute(proto.shape().dim(i), name + "_" + std::to_string(i)));
      dims.push_back(dim);
      auto number = dyn_cast<IntegerAttr>(dim);
      shape.dims.push_back(number ? symbols_.constant(number.getInt()) : symbols_.parse(cast<StringAttr>(dim).getValue()));
    }
    auto type = ShapeAnalysis::typeOf(shape, llm::elementTypeOf(&context_, *dtype));
    auto attributes = emit_.builder.getDictionaryAttr({emit_.builder.getNamedAttr(llm::kDimsAttr, emit_.builder.getArrayAttr(dims)),
                                                       emit_.builder.getNamedAttr("llm.name", emit_.builder.getStringAttr(name))});
    unsigned index = function.getNumArguments();
    if (mlir::failed(function.insertArgument(index, type, attributes, NameLoc::get(emit_.builder.getStringAttr(name)))))
      return internalError("E0699", "cannot add an argument", context);
    Value argument = function.getArgument(index);
    analysis_.set(argument, std::move(shape));
    scope.values[input.name()] = {argument, false};
  }
  for (const auto &[name, value] : options_.fixedDims)
    if (!fixedDimsSeen_.contains(name))
      return usageError(kGraph, "no input has a dimension named '" + name + "'", path_);
  return {};
}

void Importer::importOutputs(func::FuncOp function, Scope &scope) {
  llvm::SmallVector<Value> values;
  llvm::SmallVector<Type> types;
  llvm::SmallVector<DictionaryAttr> attributes;
  const GraphProto &graph = model_->graph();
  if (graph.output_size() == 0)
    problems_.add(badInput(kGraph, "the graph has no outputs").error(), "", "the graph");
  for (const ValueInfoProto &output : graph.output()) {
    std::string name = replaceInvalidUtf8(output.name());
    Named *found = lookup(output.name(), scope);
    if (!found)
      problems_.add(badInput(kGraph, "nothing defines output '" + name + "'").error(), "", "output '" + name + "'");
    if (!found || !found->value)
      continue;
    values.push_back(found->value);
    types.push_back(found->value.getType());
    attributes.push_back(
        emit_.builder.getDictionaryAttr(emit_.builder.getNamedAttr("llm.name", emit_.builder.getStringAttr(name))));
  }
  func::ReturnOp::create(emit_.builder, function.getLoc(), values);
  function.setType(FunctionType::get(&context_, function.getArgumentTypes(), types));
  function.setAllResultAttrs(attributes);
}

Json Importer::describeModel() const {
  Json metadata;
  metadata.set("kind", "graph");
  metadata.set("format", "onnx");
  metadata.set("producer", replaceInvalidUtf8(model_->producer_name() + (model_->producer_version().empty() ? "" : " ") +
                                             model_->producer_version()));
  metadata.set("ir_version", int64_t(model_->ir_version()));
  for (const auto &[domain, version] : modelOpsets_)
    metadata.set(domain.empty() ? "opset" : "opset " + replaceInvalidUtf8(domain), version);
  return metadata;
}

} // namespace llmopt::onnx

namespace llmopt {

Result<ImportedModel> importOnnx(MLIRContext &context, const std::string &path, const OnnxOptions &options) {
  context.loadDialect<llm::LLMDialect, func::FuncDialect>();
  LLMOPT_ASSIGN(auto model, onnx::readModelFile(path));
  return onnx::Importer(context, std::move(model), path, options).run();
}

} // namespace llmopt
