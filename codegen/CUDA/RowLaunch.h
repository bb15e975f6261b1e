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

/// The kernel of a family that takes a struct Rows, their number (d0) and their width.
struct RowLaunch {
  DeviceKernel kernel;
  std::string fields; ///< initializers of the struct
  std::string width;  ///< a number, or the parameter d1
};
RowLaunch makeRowLaunch(const char *family, const std::string &symbol, int64_t threads, const PrintedBody &body, SymExpr width);

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_ROWLAUNCH_H
