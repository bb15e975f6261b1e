//===- ConfigCheck.h - no key of config.json is passed over -----*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_HF_CONFIGCHECK_H
#define LLMOPT_FRONTENDS_HF_CONFIGCHECK_H

#include "Architecture.h"
#include "Problems.h"

namespace llmopt::hf {

/// Every key must be used by a formula of the description, listed as harmless, or have a value the description allows;
/// null counts as absent. Anything else could change the result and is a problem.
void checkConfig(const Json &config, const Architecture &architecture, Problems &problems, std::vector<std::string> &warnings);

/// `*` stands for any characters.
bool matchesPattern(std::string_view pattern, std::string_view text);

} // namespace llmopt::hf

#endif // LLMOPT_FRONTENDS_HF_CONFIGCHECK_H
