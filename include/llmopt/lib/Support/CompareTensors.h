//===- CompareTensors.h - is a tensor what was expected ----------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_SUPPORT_COMPARETENSORS_H
#define LLMOPT_LIB_SUPPORT_COMPARETENSORS_H

#include "llmopt/lib/Support/Status.h"
#include "llmopt/lib/Support/Tensor.h"

namespace llmopt {

/// Types and shapes equal, and each element |got - want| <= atol + rtol * |want|; integers and bools exactly. A NaN passes only
/// where a NaN was expected, an infinity where the same one was. The error names the worst element.
Status compareTensors(const Tensor &got, const Tensor &want, double rtol, double atol, const std::string &name);
/// Floats by the root mean square of the difference against that of what is wanted, which one element next to a discontinuity of
/// rounding does not upset; anything else exactly. NaN never passes.
Status compareTensorsByNorm(const Tensor &got, const Tensor &want, double tolerance, const std::string &name);

} // namespace llmopt

#endif // LLMOPT_LIB_SUPPORT_COMPARETENSORS_H
