//===- PortableCode.h - targets whose code is PTX ---------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_TARGET_PORTABLECODE_H
#define LLMOPT_LIB_TARGET_PORTABLECODE_H

#include "llmopt/lib/Target/Target.h"

namespace llmopt {

/// Added to the targets of an artifact for one GPU, so that later ones run it too.
inline constexpr const char *kPortableGpuTarget = "compute_80";

/// The driver of any GPU of the target's compute capability or a later one compiles its code when it is loaded.
inline bool isPortable(const Target &target) { return target.gpuArchitecture.starts_with("compute_"); }

} // namespace llmopt

#endif // LLMOPT_LIB_TARGET_PORTABLECODE_H
