//===- Npy.h - NumPy's .npy files -------------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Format: NEP 1 (versions 1.0 and 2.0), little endian, C order; Fortran order is refused.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_SUPPORT_NPY_H
#define LLMOPT_LIB_SUPPORT_NPY_H

#include "llmopt/lib/Support/Status.h"
#include "llmopt/lib/Support/Tensor.h"

namespace llmopt {

Result<Tensor> readNpy(const std::string &path);
/// bf16 is widened to f32, since NumPy has no such type.
Status writeNpy(const std::string &path, const Tensor &tensor);

} // namespace llmopt

#endif // LLMOPT_LIB_SUPPORT_NPY_H
