//===- safetensors.cpp - fuzzes the reader of safetensors headers
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// An even first byte: the rest is a file. An odd one: the rest is a header, and data of the right length follows it, so
// that the fuzzer gets past the length check. What is accepted must lie inside the file.

#include "frontends/hf/Safetensors.h"

#include <cstdlib>

using namespace llmopt;
using namespace llmopt::hf;

static void check(const std::string &bytes) {
  Result<SafetensorsFile> file = parseSafetensors(std::as_bytes(std::span(bytes)), "fuzz");
  if (!file)
    return;
  uint64_t reached = 0;
  for (const SafetensorsEntry &entry : file->tensors) {
    if (entry.begin != reached || entry.end < entry.begin || file->dataStart + entry.end > bytes.size())
      std::abort();
    reached = entry.end;
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0)
    return 0;
  std::string rest(reinterpret_cast<const char *>(data) + 1, size - 1);
  if (data[0] % 2 == 0) {
    check(rest);
    return 0;
  }
  uint64_t length = rest.size();
  std::string prefix(reinterpret_cast<const char *>(&length), 8);
  check(prefix + rest + std::string(data[0] / 2, '\0'));
  return 0;
}
