//===- RowLaunch.h - launches of written families of rows -------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_ROWLAUNCH_H
#define LLMOPT_CODEGEN_CUDA_ROWLAUNCH_H

#include "codegen/CUDA/Printer.h"
#include "llmopt/lib/Analysis/SymExpr.h"

namespace llmopt::cuda {

/// A block's threads for rows of `width` elements, of which a thread holds `held`: whole warps, at most `most`; `usual` where the width is not known.
int64_t threadsForRows(SymExpr width, int64_t held, int64_t most, int64_t usual);

/// A family of rows: its file among the kernels' sources, and what a block of it takes.
struct RowFamily {
  const char *name, *file;
  int64_t threads;
};

/// What a family wants of struct Rows, around the printed body, which is its function `apply`.
struct RowText {
  std::string applied;                 ///< parameters of `apply`
  std::string members;                 ///< which call it
  std::string begin = "Rows{", end = "}"; ///< around the fields of the struct where it is made
  std::string arguments = {};          ///< of the family's `run` behind the rows, their number (d0) and their width
  std::string data = {};               ///< in front of the kernel
};

/// The unit of one kernel, which runs `family` on rows of `width` elements.
KernelUnit rowUnit(const RowFamily &family, const std::string &symbol, const std::string &globals, const PrintedBody &body, const RowText &text, SymExpr width);

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_ROWLAUNCH_H
