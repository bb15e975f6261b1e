//===- RowLaunch.cpp - launches of written families of rows ---------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/RowLaunch.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>

using namespace llmopt;

int64_t cuda::threadsForRows(SymExpr width, int64_t held, int64_t most, int64_t usual) {
  return width.constant() ? std::clamp((*width.constant() / held + 31) / 32 * 32, int64_t(32), most) : usual;
}

cuda::RowLaunch cuda::makeRowLaunch(const char *family, const std::string &symbol, int64_t threads, const PrintedBody &body, SymExpr width) {
  const DeviceParameter rows{DeviceParameter::Kind::Dim, 0}, columns{DeviceParameter::Kind::Dim, 1};
  RowLaunch launch;
  launch.kernel.name = symbol;
  launch.kernel.family = family;
  launch.kernel.threads = uint32_t(threads);
  launch.kernel.unitsPerBlock = 1;
  launch.kernel.parameters = body.parameters;
  for (const DeviceParameter &field : body.parameters)
    launch.fields += (launch.fields.empty() ? "" : ", ") + parameterName(field);
  for (const DeviceParameter &parameter : {rows, columns})
    if (!llvm::is_contained(launch.kernel.parameters, parameter) && !(width.constant() && parameter == columns))
      launch.kernel.parameters.push_back(parameter);
  launch.width = width.constant() ? std::to_string(*width.constant()) : parameterName(columns);
  return launch;
}
