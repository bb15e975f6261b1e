//===- TuningDatabase.h - what was measured, kept in a file -------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A text file (JSON, docs/Tuning.md) with the fastest choice for each kernel and fusion that was measured on one machine. Compiling
// reads it as it reads a model: the same file gives the same artifact, whatever machine compiles.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_TARGET_TUNINGDATABASE_H
#define LLMOPT_LIB_TARGET_TUNINGDATABASE_H

#include "llmopt/lib/Support/Json.h"

#include <map>
#include <string>
#include <vector>

namespace llmopt {

/// What a choice is for.
struct TuningKey {
  std::string target; ///< "x86-64-v4"
  std::string kernel; ///< family of a kernel ("linear", "loops"), or name of a fusion ("fuse-attention")
  std::string ops;    ///< "linear silu linear mul"
  std::string shape;  ///< "[s0, 2048] [5632, 2048]": operands in order, symbols numbered as they come
  std::string dtype;  ///< "f32 bf16"
  auto operator<=>(const TuningKey &) const = default;
};

/// The chosen against the other way, once for each size that was tried.
struct TuningTime {
  std::string sizes; ///< "m = 16"
  double nanoseconds = 0, otherNanoseconds = 0;
};

struct TuningEntry {
  TuningKey key;
  std::string choice; ///< a strategy as MLIR prints it; for a fusion "fused" or "apart"
  std::vector<TuningTime> times = {};
};

/// "fused 12.3 us, apart 14.0 us (m = 16)" for people.
std::string describeTimes(const TuningEntry &entry);

class TuningDatabase {
public:
  std::string processor;  ///< that was measured, as /proc/cpuinfo names it
  unsigned threads = 0;

  const TuningEntry *find(const TuningKey &key) const;
  void set(TuningEntry entry) { entries_[entry.key] = std::move(entry); }
  const std::map<TuningKey, TuningEntry> &entries() const { return entries_; }

  /// E0317: no tuning database, of another version, or damaged. Members that are not known are passed over.
  static Result<TuningDatabase> load(const std::string &path);
  static Result<TuningDatabase> fromJson(const Json &json, std::string_view context);
  Status store(const std::string &path) const;
  Json json() const;

private:
  std::map<TuningKey, TuningEntry> entries_;
};

} // namespace llmopt

#endif // LLMOPT_LIB_TARGET_TUNINGDATABASE_H
