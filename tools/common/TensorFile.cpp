//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "tools/common/TensorFile.h"

#include "llmopt/lib/Support/Npy.h"
#include "llmopt/lib/Support/TensorProto.h"

#include <cctype>

using namespace llmopt;

Result<Tensor> tools::readTensorFile(const std::string &path) {
  if (path.ends_with(".npy"))
    return readNpy(path);
  if (!path.ends_with(".pb"))
    return usageError("E1601", "tensors are read from .npy and .pb files", path);
  LLMOPT_ASSIGN(ProtoTensor read, readTensorProto(path));
  return std::move(read.tensor);
}

std::string tools::fileNameOf(const std::string &tensorName) {
  std::string name = tensorName;
  for (char &c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '_' && c != '-')
      c = '_';
  return name.empty() || name[0] == '.' ? "_" + name : name;
}
