//===- TensorFile.h - tensors from and to files -----------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_TOOLS_COMMON_TENSORFILE_H
#define LLMOPT_TOOLS_COMMON_TENSORFILE_H

#include "llmopt/lib/Support/Status.h"
#include "llmopt/lib/Support/Tensor.h"

#include <string>

namespace llmopt::tools {

/// .npy or .pb by the name's end.
Result<Tensor> readTensorFile(const std::string &path);
/// A tensor's name as a file name: anything but letters, digits, '.', '_' and '-' becomes '_'.
std::string fileNameOf(const std::string &tensorName);

} // namespace llmopt::tools

#endif // LLMOPT_TOOLS_COMMON_TENSORFILE_H
