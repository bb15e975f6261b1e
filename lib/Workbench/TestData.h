//===- TestData.h - what runs of test cases share ---------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_WORKBENCH_TESTDATA_H
#define LLMOPT_LIB_WORKBENCH_TESTDATA_H

#include "llmopt/lib/Support/Status.h"
#include "llmopt/lib/Support/Tensor.h"

#include <span>
#include <string>
#include <vector>

namespace llmopt {

/// A path for an artifact, removed at the end.
class TemporaryArtifact {
public:
  TemporaryArtifact();
  ~TemporaryArtifact();
  TemporaryArtifact(const TemporaryArtifact &) = delete;
  const std::string &path() const { return path_; }

private:
  std::string path_;
};

/// FOLDER/PREFIX_0.pb, FOLDER/PREFIX_1.pb, ... of an ONNX data set.
Result<std::vector<NamedTensor>> readDataSet(const std::string &folder, const std::string &prefix);

/// Data sets name tensors by position; some files carry the graph's names instead, and keep them.
void nameByPosition(std::vector<NamedTensor> &tensors, std::span<const std::string> names);

} // namespace llmopt

#endif // LLMOPT_LIB_WORKBENCH_TESTDATA_H
