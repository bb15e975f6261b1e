//===- HuggingFace.h - import of a Hugging Face model folder ----*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_HUGGINGFACE_H
#define LLMOPT_FRONTENDS_HUGGINGFACE_H

#include "llmopt/frontends/ImportedModel.h"

namespace llmopt {

struct HuggingFaceOptions {
  /// Further folders with architecture descriptions (*.json), searched before the built-in ones.
  std::vector<std::string> architectureFolders;
  /// Positions to compile for, where that changes the model: rope types `longrope` and `dynamic` use other frequencies
  /// beyond the length the model was trained on. 0: the trained length.
  int64_t maxPositions = 0;
  /// Draw all weights at random from this seed; the folder then needs a config.json only.
  std::optional<uint64_t> randomWeights = std::nullopt;
  /// Random weights of more than a MiB get no bytes: RandomTensor::ofWeight describes them.
  bool describeWeights = false;
};

/// config.json + (sharded) safetensors. One error lists everything unsupported that was found.
Result<ImportedModel> importHuggingFace(mlir::MLIRContext &context, const std::string &folder, const HuggingFaceOptions &options = {});

/// The folder of model "org/name" in the local hub cache (HF_HUB_CACHE, HF_HOME, or ~/.cache/huggingface), at its main revision.
Result<std::string> findInHubCache(const std::string &name);

} // namespace llmopt

#endif // LLMOPT_FRONTENDS_HUGGINGFACE_H
