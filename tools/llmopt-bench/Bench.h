//===- Bench.h - llmopt-bench's measurements --------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_TOOLS_LLMOPT_BENCH_BENCH_H
#define LLMOPT_TOOLS_LLMOPT_BENCH_BENCH_H

#include "llmopt/runtime/Engine.h"
#include "tools/common/Cli.h"
#include "tools/common/Profile.h"

#include <optional>

namespace llmopt::tools {

struct BenchOptions {
  std::string artifact, format = "md";
  std::vector<std::string> prompts, generates; ///< empty: 512 and 128, or what the model's context leaves
  std::vector<std::string> depths = {"0"}, threads = {"0"};
  std::vector<std::string> shapes;
  std::optional<size_t> repeats;
  uint32_t warmUpMilliseconds = 200; ///< of runs that do not count (--shape), one at least: the first ones get their memory from the system
  ProfileFlags profile;
};

/// One measured row. Times in nanoseconds.
struct Sample {
  std::string test; ///< "pp512 @ d2048", "tg128", "8x128"
  int64_t prompt = 0, generate = 0, depth = 0;
  unsigned threads = 0;
  std::vector<double> nanoseconds;
};

/// Prompt processing and token generation, as llama-bench measures them: tokens are random, sampling is not counted.
Result<std::vector<Sample>> benchDecoder(const Engine &engine, const BenchOptions &options);
/// Whether shapes are given, or the model is a graph that has but one set of them and does not generate.
bool runsOnShapes(const Engine &engine, const BenchOptions &options);
/// One run of an encoder or a graph on inputs of these shapes.
Result<Sample> benchShapes(const Engine &engine, const BenchOptions &options);

double meanOf(const std::vector<double> &values);
double deviationOf(const std::vector<double> &values);
/// Linear between neighbours; `share` 0.5 is the median.
double percentileOf(std::vector<double> values, double share);

void printDecoderTable(const Engine &engine, const std::vector<Sample> &samples);
Json decoderJson(const Engine &engine, const std::vector<Sample> &samples);
void printShapeTable(const Engine &engine, const std::vector<Sample> &samples);
Json shapeJson(const Engine &engine, const std::vector<Sample> &samples);

/// Measures what this machine can do at most and keeps it for the other programs.
struct MachineOptions {
  unsigned threads = 0;
  std::string file; ///< empty: the user's cache folder
  std::string format = "md";
};
Status benchMachine(const MachineOptions &options);

/// Compiles a model with all fusions and without each one that was made, and measures both in turns.
struct FusionOptions {
  std::string model;                     ///< what llmopt-compile takes
  std::vector<std::string> compileFlags; ///< handed to llmopt-compile
  BenchOptions bench;                    ///< tests, threads, rounds, format
};
Status benchFusions(const FusionOptions &options);

/// "1,2,4" and several flags; "first-last", "first-last+step", "first-last*factor" as llama-bench has them.
Result<std::vector<int64_t>> expandNumbers(const std::vector<std::string> &texts, const std::string &flag);

} // namespace llmopt::tools

#endif // LLMOPT_TOOLS_LLMOPT_BENCH_BENCH_H
