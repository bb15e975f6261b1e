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
#include <cmath>
#include <cstdio>

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

static std::string number(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.9g", value);
  return text;
}

Status tools::compareTensors(const std::string &name, const Tensor &got, const Tensor &wanted, const Tolerance &tolerance) {
  if (got.dtype() != wanted.dtype() || got.shape() != wanted.shape())
    return verificationFailed("E1602", "'" + name + "' is " + got.typeName() + "; expected " + wanted.typeName());
  int64_t bad = 0, worst = -1;
  double worstExcess = 0;
  for (int64_t i = 0; i < got.elements(); ++i) {
    double a = got.at(i), b = wanted.at(i);
    if (a == b || (std::isnan(a) && std::isnan(b)))
      continue;
    double excess = std::fabs(a - b) / (tolerance.absolute + tolerance.relative * std::fabs(b));
    if (excess <= 1) // false for NaN
      continue;
    ++bad;
    if (worst < 0 || !(excess <= worstExcess)) {
      worst = i;
      worstExcess = excess;
    }
  }
  if (bad == 0)
    return {};
  return verificationFailed("E1602", "'" + name + "' differs from the expected tensor in " + std::to_string(bad) + " of " +
                                         std::to_string(got.elements()) + " elements; worst at " + std::to_string(worst) + ": " +
                                         number(got.at(worst)) + ", expected " + number(wanted.at(worst)));
}
