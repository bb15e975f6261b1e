//===- IsolatedRun.h - work in processes of its own -------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_WORKBENCH_ISOLATEDRUN_H
#define LLMOPT_LIB_WORKBENCH_ISOLATEDRUN_H

#include "llmopt/lib/Support/Status.h"

#include <cstddef>
#include <functional>
#include <string>

namespace llmopt {

struct IsolatedResult {
  std::string text;    ///< what the work returned
  std::string failure; ///< "crashed with signal 11", "took longer than 120 s of a processor"; empty when it ended well
};

/// Does work(0) .. work(count - 1), each in a forked process, `jobs` at a time; `done` runs here as each one ends. A process may use so
/// many seconds of a processor, and ten times as long if it waits. The caller must be
/// single-threaded.
Status runIsolated(size_t count, unsigned jobs, double seconds, const std::function<std::string(size_t)> &work,
                   const std::function<void(size_t, const IsolatedResult &)> &done);

} // namespace llmopt

#endif // LLMOPT_LIB_WORKBENCH_ISOLATEDRUN_H
