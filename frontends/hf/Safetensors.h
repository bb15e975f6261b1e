//===- Safetensors.h - the header of a safetensors file ---------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A file is: u64 (little endian) N, N bytes of JSON, data. The JSON names tensors with element type, shape and the
// half-open byte range in the data. Nothing is believed: ranges must follow one another without hole or overlap from
// the first to the last byte of the data, and each must have exactly the bytes its type and shape say.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_HF_SAFETENSORS_H
#define LLMOPT_FRONTENDS_HF_SAFETENSORS_H

#include "llmopt/lib/Support/DType.h"
#include "llmopt/lib/Support/Status.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace llmopt::hf {

/// Same limit as the format's own reader.
inline constexpr uint64_t kMaxHeaderBytes = 100'000'000;
/// Keeps a header of nothing but empty tensors from becoming many times its size in memory.
inline constexpr size_t kMaxTensorsPerFile = size_t(1) << 18;
inline constexpr size_t kMaxRank = 32;

/// One row of the format's table of element types; `type` is missing for those that llmopt has no name for (f8, f4, complex).
struct SafetensorsType {
  const char *name;
  unsigned bits;
  std::optional<DType> type;
};

struct SafetensorsEntry {
  std::string name;
  const SafetensorsType *type = nullptr;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0; ///< bytes of the data part
};

struct SafetensorsFile {
  std::vector<SafetensorsEntry> tensors; ///< in the order of their bytes
  uint64_t dataStart = 0;                ///< where the data part begins in the file
};

/// Checks the whole header against the file. `context` names the file in errors. E0401.
Result<SafetensorsFile> parseSafetensors(std::span<const std::byte> file, const std::string &context);

} // namespace llmopt::hf

#endif // LLMOPT_FRONTENDS_HF_SAFETENSORS_H
