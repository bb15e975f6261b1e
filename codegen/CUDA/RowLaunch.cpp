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

cuda::KernelUnit cuda::rowUnit(const RowFamily &family, const std::string &symbol, const std::string &globals, const PrintedBody &body, const RowText &text, SymExpr width) {
  const DeviceParameter rows{DeviceParameter::Kind::Dim, 0}, columns{DeviceParameter::Kind::Dim, 1};
  DeviceKernel kernel;
  kernel.name = symbol;
  kernel.family = family.name;
  kernel.threads = uint32_t(family.threads);
  kernel.unitsPerBlock = 1;
  kernel.parameters = body.parameters;
  std::string fields, threads = std::to_string(family.threads);
  for (const DeviceParameter &field : body.parameters)
    fields += (fields.empty() ? "" : ", ") + parameterName(field);
  for (const DeviceParameter &parameter : {rows, columns})
    if (!llvm::is_contained(kernel.parameters, parameter) && !(width.constant() && parameter == columns))
      kernel.parameters.push_back(parameter);
  KernelUnit unit;
  unit.source = std::string("#include \"primitives.cuh\"\n#include \"printed_values.cuh\"\n#include \"") + family.file + "\"\n" + globals + "struct Rows {\n  " +
                declareParameters(body.parameters, ";\n  ") + ";\n  static constexpr int kThreads = " + threads + ";\n" + text.members + "  DEVICE_MEMBER void apply(" + text.applied +
                ") const {\n" + body.text + "  }\n};\n" + text.data + "extern \"C\" GLOBAL void LAUNCH_BOUNDS(" + threads + ", 1) " + symbol + "(" +
                declareParameters(kernel.parameters, ", ") + ") {\n  " + family.name + "<Rows>::run(" + text.begin + fields + text.end + ", i64(d0), i64(" +
                (width.constant() ? std::to_string(*width.constant()) : parameterName(columns)) + ")" + text.arguments + ");\n}\nLLMOPT_EXPORT(" + symbol + ")\n";
  unit.kernels.push_back(std::move(kernel));
  return unit;
}
