//===- ScalarFunctions.h - libm for generated code --------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_CORE_SCALARFUNCTIONS_H
#define LLMOPT_RUNTIME_CORE_SCALARFUNCTIONS_H

#include "llmopt/lib/Artifact/KernelABI.h"

#include <cstddef>

namespace llmopt {

/// Indexed by ScalarFunctionId.
extern const ScalarFunction kScalarFunctions[size_t(ScalarFunctionId::Count)];

} // namespace llmopt

#endif // LLMOPT_RUNTIME_CORE_SCALARFUNCTIONS_H
