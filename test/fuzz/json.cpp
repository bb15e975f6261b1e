//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// The strict JSON reader, and the readers of plans and model metadata above it. What is read is written and read again.

#include "llmopt/lib/Artifact/ModelInfo.h"
#include "llmopt/lib/Artifact/Plan.h"
#include "llmopt/lib/Support/Json.h"

#include <cstdlib>

using namespace llmopt;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  Result<Json> json = Json::parse({reinterpret_cast<const char *>(data), size}, "fuzz");
  if (!json)
    return 0;
  std::string text = json->str();
  Result<Json> again = Json::parse(text, "again");
  if (!again || again->str() != text)
    std::abort();
  (void)readModelInfo(*json, "fuzz");
  if (Result<plan::Plan> plan = plan::fromJson(*json, "fuzz")) {
    Result<plan::Plan> copy = plan::fromJson(plan::toJson(*plan), "again");
    if (!copy)
      std::abort();
    for (const plan::Entry &entry : plan->entries) {
      std::vector<int64_t> symbols(entry.symbols.size(), 3);
      (void)plan::evaluate(entry.expressions, symbols);
    }
  }
  return 0;
}
