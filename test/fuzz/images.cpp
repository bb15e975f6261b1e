//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// What kernels take, read from cubins and PTX of kernel libraries; and the launch metadata of artifacts.

#include "llmopt/lib/Artifact/DeviceImage.h"

#include <cstdlib>

using namespace llmopt;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string_view text(reinterpret_cast<const char *>(data), size);
  for (const Result<DeviceImage> &image : {readCubin(std::as_bytes(std::span(data, size)), "fuzz"), readPtx(text, "fuzz")})
    if (image && (image->kernels.empty() || image->find(image->kernels.front().name) == nullptr))
      std::abort();
  if (Result<Json> json = Json::parse(text, "fuzz"))
    if (Result<DeviceCode> code = deviceCodeFromJson(*json, 4096, "fuzz"); code && !deviceCodeFromJson(toJson(*code), 4096, "again"))
      std::abort();
  return 0;
}
