//===- KernelABI.h - what compiled code and the runtime agree on -*- C -*--===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Plain C: generated code addresses these structures by offset, so fields may only be appended, and any other change
// raises kKernelAbiVersion.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_ARTIFACT_KERNELABI_H
#define LLMOPT_LIB_ARTIFACT_KERNELABI_H

#include <cstdint>

namespace llmopt {

inline constexpr uint32_t kKernelAbiVersion = 1;

/// Tokens in one block of the key-value cache.
inline constexpr int64_t kCacheBlockTokens = 64;

/// Functions generated code may call when an operation has no vector form (libm on f64, for example). Filled by the
/// runtime; the order is part of the ABI: append only. See `kScalarFunctionNames`.
using ScalarFunction = double (*)(double, double);

/// What one launch of a kernel gets.
struct KernelArgs {
  void *const *buffers;             ///< one base address per binding of the stage, byte offsets already added
  const int64_t *dims;              ///< values of the stage's dimension expressions; the first is the number of work units
  const ScalarFunction *functions;  ///< indexed by ScalarFunctionId
};

/// Rows of one sequence in a ragged step. All counts are tokens.
struct SequenceRow {
  uint32_t first;   ///< index of the sequence's first token in the step
  uint32_t count;   ///< its tokens in this step
  uint32_t past;    ///< tokens of the group that lie in the cache before this step
  uint32_t length;  ///< tokens of the group that attention may see: past + count for `self`, the encoder's for `encoder`
  uint32_t table;   ///< index of the sequence's first entry in `blocks`
  uint32_t reserved;
};

/// What the ragged operations look at. Other kernels get it too and ignore it.
struct StepTable {
  uint32_t tokens;                  ///< tokens of the step, of all sequences
  uint32_t sequences;
  const SequenceRow *rows[2];       ///< [SequenceGroup]: self, encoder
  const int32_t *blocks[2];         ///< [SequenceGroup]: block numbers, token p of a sequence is in blocks[table + p / 64]; null: nothing is kept
  const uint32_t *tokenSequence;    ///< [tokens]: which sequence a token belongs to
};

/// Every kernel. The work units are dims[0]; part i of n does units [units * i / n, units * (i + 1) / n). Results do not
/// depend on `parts`. `scratch` is private to the thread, 64-byte aligned, as large as the stage asked for.
using KernelFunction = void (*)(const KernelArgs *, const StepTable *, uint32_t part, uint32_t parts, void *scratch);

/// Second argument ignored by functions of one.
enum class ScalarFunctionId : uint32_t {
  Exp, Log, Sin, Cos, Tan, Asin, Acos, Atan, Sinh, Cosh, Asinh, Acosh, Atanh, Tanh, Erf, Pow, Fmod, Count
};

} // namespace llmopt

#endif // LLMOPT_LIB_ARTIFACT_KERNELABI_H
