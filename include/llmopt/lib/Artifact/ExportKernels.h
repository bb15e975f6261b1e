//===- ExportKernels.h - kernels as files for other loaders -----*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_ARTIFACT_EXPORTKERNELS_H
#define LLMOPT_LIB_ARTIFACT_EXPORTKERNELS_H

#include "llmopt/lib/Artifact/Artifact.h"
#include "llmopt/lib/Artifact/DeviceCode.h"

namespace llmopt {

/// Writes each GPU kernel as Triton's cache has them: KERNEL.json (launch metadata) beside KERNEL.cubin, .ptx or, for the stand-in driver,
/// .so; in folders by target where there are several GPU targets. Gives the number of kernels. E0214 where the artifact has no GPU code.
Result<size_t> exportKernels(const Artifact &artifact, const std::string &folder);

} // namespace llmopt

#endif // LLMOPT_LIB_ARTIFACT_EXPORTKERNELS_H
