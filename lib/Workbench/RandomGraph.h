//===- RandomGraph.h - graphs nobody wrote ---------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_WORKBENCH_RANDOMGRAPH_H
#define LLMOPT_LIB_WORKBENCH_RANDOMGRAPH_H

#include <cstdint>
#include <span>
#include <string>

namespace llmopt {

/// A module of the llm dialect whose function `main` joins idioms of transformers and single operations at random: norms, activations,
/// attention, products, residual sums, views, slices, reductions, some written out as exporters do, some with a guard of a
/// fusion broken. Every decision is read from `decisions`, so that a fuzzer can drive it; where they end, the graph does.
std::string randomGraph(std::span<const uint8_t> decisions);
/// The same from a seed.
std::string randomGraph(uint64_t seed);

} // namespace llmopt

#endif // LLMOPT_LIB_WORKBENCH_RANDOMGRAPH_H
