//===- CompileOptions.h - what a compilation is asked to do ---------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A plain struct: tools make flags from it, passes see only their own part.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_COMPILER_COMPILEOPTIONS_H
#define LLMOPT_LIB_COMPILER_COMPILEOPTIONS_H

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llmopt {

struct CompileRemark;

enum class OptLevel { O0, O1, O2, O3 };

/// In the order a model passes through them; each can be stopped at, dumped and verified.
enum class Phase { Import, Canonical, Fused, Planned, Strategy, Lowered, Binary };
std::string_view phaseName(Phase phase);
std::optional<Phase> parsePhase(std::string_view name);

/// What is written.
enum class EmitKind { Artifact, MLIR, LLVMIR, Assembly, Object, Cuda, Ptx, Cubin };

/// Number format of weight matrices. Int8, Int4: of those of linear layers and, for processors, of experts, rounded to nearest in blocks of 32 inputs.
enum class WeightFormat { Auto, F32, BF16, F16, Int8, Int4 };

/// How decoders keep keys and values. Auto: bf16 where products are of bf16, else f32.
enum class CacheFormat { Auto, F32, F16, BF16 };

/// What the machine can do at most (llmopt-bench machine), for the report. Nothing is compiled differently.
struct MachineRates {
  std::string processor;
  unsigned threads = 1;
  double bytesPerSecond = 0;
  std::map<std::string, double> operationsPerSecond; ///< by number format: "f32", "bf16"
};

struct CompileOptions {
  OptLevel level = OptLevel::O2;
  std::vector<std::string> targets = {"native"};
  std::string strategyTarget;           ///< choose tiles as for this target, whatever the code is for; empty: each target's own
  WeightFormat dtype = WeightFormat::Auto;
  bool bf16Products = false;            ///< round activations to bf16 in products with bf16 weights
  bool int8Products = false;            ///< round activations to 8 bits, in blocks, in products with weights of 4 and 8 bits (processors only)
  /// Where the target has tile registers (x86-64-v4-amx), numbers in f32 are multiplied as sums of so many bf16 ones: 3 is as near as f32, 2 has 16 bits of mantissa, 0 is not at all.
  /// Rows that meet weights of 4 and 8 bits are so only with 2; with 3 they are exact whole numbers.
  /// Empty: 3, but 0 for a model that the second-level cache holds.
  std::optional<int> terms;
  CacheFormat kvCache = CacheFormat::Auto;
  std::map<std::string, int64_t> dims;  ///< --dim NAME=V
  int64_t maxSequenceLength = 0;        ///< 0: what the model's configuration says
  Phase stopAfter = Phase::Binary;
  EmitKind emit = EmitKind::Artifact;
  std::string dumpFolder;               ///< IR after each phase; empty: none
  std::string cudaCompiler = "auto";    ///< "nvrtc", "clang", "nvcc", "emulate"
  unsigned jobs = 0;                    ///< threads that compile CUDA units, or round matrices for dtype; 0: all processors
  std::string kernelOverride;           ///< folder of CUDA units changed by hand, named as --dump-dir names them; empty: none
  std::vector<std::string> kernelLibraries; ///< folders of kernels made elsewhere that implement operations
  bool dryRun = false;                  ///< everything but writing
  bool embedTokenizer = true;
  std::string tuningFile;                    ///< a tuning database (docs/Tuning.md) whose choices win over the cost model's; empty: none
  std::vector<std::string> disabledFusions;
  std::vector<std::string> requiredFusions; ///< "name" or "name:count"; E0551 when made less often; also joins of kernels (passes/Kernels/Joins.def)
  bool verifyRewrites = false;              ///< replay every fusion on sample inputs; E0552 at the first that differs
  std::vector<std::string> architectureFolders;
  std::string externalDataFolder;
  std::optional<uint64_t> randomWeights; ///< Hugging Face folders: draw the weights from this seed instead of reading them
  /// Called as work advances: phase, what is being done, steps done, steps in all (0: unknown).
  std::function<void(Phase, std::string_view what, size_t done, size_t total)> progress;
  /// Called for each remark whose category matches; unset: nothing is collected.
  std::function<void(CompileRemark)> remark;
  std::string remarkFilter = ".*";
  std::string reportFile;               ///< a page (.html) or its data (.json) about the compilation; empty: none
  std::optional<MachineRates> machine;  ///< the report then says how fast each kernel could be
  std::string commandLine;              ///< shown in the report
};

} // namespace llmopt

#endif // LLMOPT_LIB_COMPILER_COMPILEOPTIONS_H
