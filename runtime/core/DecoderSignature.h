//===- DecoderSignature.h - which tensor of a graph is which ----*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_CORE_DECODERSIGNATURE_H
#define LLMOPT_RUNTIME_CORE_DECODERSIGNATURE_H

#include "llmopt/runtime/Engine.h"

#include <optional>

namespace llmopt {

/// For artifacts that do not say: rank and type decide, names are a hint.
std::optional<DecoderIo> findDecoderIo(const std::vector<TensorSpec> &inputs, const std::vector<TensorSpec> &outputs);

/// A matrix that says which segment each token belongs to.
bool isTokenTypes(const TensorSpec &spec);

/// The number, if the dimension is one.
std::optional<int64_t> constantDim(const std::string &dim);

} // namespace llmopt

#endif // LLMOPT_RUNTIME_CORE_DECODERSIGNATURE_H
