//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "RunOptions.h"

#include "llmopt/lib/Support/CompareTensors.h"
#include "llmopt/lib/Support/Npy.h"
#include "llmopt/lib/Support/TensorProto.h"

#include <algorithm>
#include <filesystem>
#include <iostream>

using namespace llmopt;
using namespace llmopt::tools;
namespace fs = std::filesystem;

/// "name=@file", the '@' may be left out.
static Result<NamedTensor> readAssignment(const std::string &text, const std::string &flag) {
  LLMOPT_ASSIGN(auto assignment, splitAssignment(text, flag));
  auto &[name, file] = assignment;
  LLMOPT_ASSIGN(Tensor tensor, readTensorFile(file[0] == '@' ? file.substr(1) : file));
  return NamedTensor{name, std::move(tensor)};
}

static Result<std::vector<NamedTensor>> readAssignments(const std::vector<std::string> &texts, const std::string &flag) {
  std::vector<NamedTensor> tensors;
  for (const std::string &text : texts) {
    LLMOPT_ASSIGN(NamedTensor tensor, readAssignment(text, flag));
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

/// input_0.pb, input_1.pb, ... by the names inside, or by position where those are empty or strange.
static Result<std::vector<NamedTensor>> readTestFiles(const std::string &folder, const std::string &prefix,
                                                      const std::vector<TensorSpec> &specs) {
  std::vector<NamedTensor> tensors;
  bool named = true;
  for (size_t i = 0; fs::exists(folder + "/" + prefix + std::to_string(i) + ".pb"); ++i) {
    LLMOPT_ASSIGN(ProtoTensor read, readTensorProto(folder + "/" + prefix + std::to_string(i) + ".pb"));
    bool known = std::any_of(specs.begin(), specs.end(), [&](const TensorSpec &spec) { return spec.name == read.name; });
    bool fresh = std::none_of(tensors.begin(), tensors.end(), [&](const NamedTensor &t) { return t.name == read.name; });
    named = named && known && fresh;
    tensors.push_back({read.name, std::move(read.tensor)});
  }
  if (tensors.empty())
    return badInput("E1601", "the folder has no file " + prefix + "0.pb", folder);
  for (size_t i = 0; i < tensors.size() && !named; ++i) {
    if (i >= specs.size())
      return badInput("E1601", "there are more " + prefix + "N.pb than the model has of them", folder);
    tensors[i].name = specs[i].name;
  }
  return tensors;
}

static Status compareAll(const std::vector<NamedTensor> &outputs, const std::vector<NamedTensor> &expected, double rtol, double atol) {
  Status first;
  for (const NamedTensor &wanted : expected) {
    auto got = std::find_if(outputs.begin(), outputs.end(), [&](const NamedTensor &t) { return t.name == wanted.name; });
    Status status = got == outputs.end() ? usageError("E1601", "the model has no output '" + wanted.name + "'")
                                         : compareTensors(got->tensor, wanted.tensor, rtol, atol, wanted.name);
    if (status.ok())
      std::cout << wanted.name << ": equal\n";
    else if (first.ok())
      first = status;
    else
      std::cerr << status.error().str() << '\n';
  }
  return first;
}

Status tools::runTensors(const Engine &engine, const RunOptions &options) {
  if (!engine.hasGraph())
    return unsupported("E1507", "the model runs in steps and has no tensors by name; use --prompt or --ids, or llmopt-eval logits",
                       options.load.artifact);
  LLMOPT_ASSIGN(std::vector<NamedTensor> inputs, readAssignments(options.inputs, "--input"));
  LLMOPT_ASSIGN(std::vector<NamedTensor> expected, readAssignments(options.expected, "--expected"));
  if (!options.testData.empty()) {
    LLMOPT_ASSIGN(inputs, readTestFiles(options.testData, "input_", engine.inputs()));
    LLMOPT_ASSIGN(expected, readTestFiles(options.testData, "output_", engine.outputs()));
  }
  LLMOPT_ASSIGN(std::vector<NamedTensor> outputs, engine.run(inputs));
  if (!options.outputFolder.empty()) {
    std::error_code error;
    fs::create_directories(options.outputFolder, error);
    for (const NamedTensor &output : outputs)
      LLMOPT_RETURN_IF_ERROR(writeNpy(options.outputFolder + "/" + fileNameOf(output.name) + ".npy", output.tensor));
  }
  if (expected.empty())
    for (const NamedTensor &output : outputs)
      std::cout << output.name << ": " << output.tensor.typeName() << '\n';
  return compareAll(outputs, expected, options.rtol, options.atol);
}
