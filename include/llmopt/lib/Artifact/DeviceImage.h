//===- DeviceImage.h - what a cubin or PTX says about its kernels -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A cubin is an ELF file; each kernel has a section ".nv.info.<kernel>" with the place and size of its parameters. So what a kernel
// takes is known without a GPU, whoever compiled it. Nothing is believed: every offset and size is checked against the file.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_ARTIFACT_DEVICEIMAGE_H
#define LLMOPT_LIB_ARTIFACT_DEVICEIMAGE_H

#include "llmopt/lib/Artifact/DeviceCode.h"
#include "llmopt/lib/Support/Status.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llmopt {

struct ImageKernel {
  std::string name;
  std::vector<uint32_t> parameterBytes; ///< in order
  uint32_t registers = 0;               ///< of a thread; 0 where the image does not say
};

struct DeviceImage {
  int capability = 0; ///< 90
  std::vector<ImageKernel> kernels;
  const ImageKernel *find(std::string_view name) const;
};

/// E0213: no cubin, or a damaged one.
Result<DeviceImage> readCubin(std::span<const std::byte> bytes, const std::string &context);
/// E0213: no PTX. Reads what stands in front of the functions' bodies.
Result<DeviceImage> readPtx(std::string_view text, const std::string &context);

/// E0987 unless the image is for a GPU of `capability` and has the kernel with the parameters it will be launched with.
Status checkKernel(const DeviceImage &image, const DeviceKernel &kernel, int capability, const std::string &context);

} // namespace llmopt

#endif // LLMOPT_LIB_ARTIFACT_DEVICEIMAGE_H
