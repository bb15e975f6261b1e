//===- GeneratorBatch.h - many answers at once ------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_TEXT_GENERATORBATCH_H
#define LLMOPT_RUNTIME_TEXT_GENERATORBATCH_H

#include "runtime/text/GeneratorLane.h"

namespace llmopt::text {

using Prompts = std::span<const std::vector<int32_t>>;

/// Models with ragged steps: a finished sequence makes room for the next prompt at once.
Result<std::vector<Generation>> generateRagged(const Engine &engine, const LaneContext &context, Prompts prompts);

/// Graphs: groups of prompts padded at the left; a group ends with its longest answer.
Result<std::vector<Generation>> generatePadded(const Engine &engine, const LaneContext &context, Prompts prompts);

} // namespace llmopt::text

#endif // LLMOPT_RUNTIME_TEXT_GENERATORBATCH_H
