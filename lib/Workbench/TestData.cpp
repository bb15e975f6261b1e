//===- TestData.cpp - what runs of test cases share ------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "lib/Workbench/TestData.h"

#include "llmopt/lib/Support/ScratchFolder.h"
#include "llmopt/lib/Support/TensorProto.h"

#include <algorithm>
#include <filesystem>
#include <unistd.h>

using namespace llmopt;
namespace fs = std::filesystem;

TemporaryArtifact::TemporaryArtifact() {
  static int number = 0;
  path_ = fs::path(temporaryFolder()) / ("llmopt-case-" + std::to_string(getpid()) + "-" + std::to_string(number++) + ".llmopt");
}

TemporaryArtifact::~TemporaryArtifact() {
  std::error_code ignored;
  fs::remove(path_, ignored);
}

Result<std::vector<NamedTensor>> llmopt::readDataSet(const std::string &folder, const std::string &prefix) {
  std::vector<NamedTensor> tensors;
  for (size_t i = 0;; ++i) {
    fs::path path = fs::path(folder) / (prefix + "_" + std::to_string(i) + ".pb");
    if (!fs::exists(path))
      return tensors;
    LLMOPT_ASSIGN(ProtoTensor proto, readTensorProto(path.string()));
    tensors.push_back({proto.name, std::move(proto.tensor)});
  }
}

void llmopt::nameByPosition(std::vector<NamedTensor> &tensors, std::span<const std::string> names) {
  auto known = [&](const NamedTensor &tensor) { return std::find(names.begin(), names.end(), tensor.name) != names.end(); };
  if (std::all_of(tensors.begin(), tensors.end(), known))
    return;
  for (size_t i = 0; i < tensors.size() && i < names.size(); ++i)
    tensors[i].name = names[i];
}
