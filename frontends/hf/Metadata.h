//===- Metadata.h - what an artifact says about its model -------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_HF_METADATA_H
#define LLMOPT_FRONTENDS_HF_METADATA_H

#include "Architecture.h"
#include "Evaluate.h"
#include "ModelFolder.h"
#include "Problems.h"

namespace llmopt::hf {

/// Sizes, special tokens (generation_config.json goes before config.json) and the model's own sampling defaults.
/// `validPositions` bounds max_positions when the rotary frequencies are right for fewer; 0: they are right for all.
Json describeModel(const ModelFolder &folder, const Architecture &architecture, ConfigScope &config, int64_t validPositions,
                   Problems &problems, std::vector<std::string> &warnings);

} // namespace llmopt::hf

#endif // LLMOPT_FRONTENDS_HF_METADATA_H
