//===- EmbeddedArchitectures.h - built-in descriptions ----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_HF_EMBEDDEDARCHITECTURES_H
#define LLMOPT_FRONTENDS_HF_EMBEDDEDARCHITECTURES_H

#include <span>
#include <string_view>

namespace llmopt::hf {

struct EmbeddedArchitecture {
  std::string_view name, text;
};

/// The files of architectures/, turned into C++ by EmbedArchitectures.cmake when building.
std::span<const EmbeddedArchitecture> embeddedArchitectures();

} // namespace llmopt::hf

#endif // LLMOPT_FRONTENDS_HF_EMBEDDEDARCHITECTURES_H
