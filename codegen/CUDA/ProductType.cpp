//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/ProductType.h"

#include "codegen/CUDA/CacheAppend.h"
#include "codegen/CUDA/PagedAttention.h"
#include "llmopt/dialects/LLM/ElementTypes.h"
#include "llmopt/dialects/LLM/LLM.h"

#include <set>

using namespace mlir;
using namespace llmopt;

std::optional<DType> cuda::productType(ModuleOp planned) {
  std::set<DType> types;
  planned.walk([&](llm::LinearOp linear) { types.insert(llm::dtypeOf(getElementTypeOrSelf(linear.getWeight().getType())).value_or(DType::F32)); });
  bool narrow = types.size() == 1 && (types.contains(DType::BF16) || types.contains(DType::F16));
  return narrow ? std::optional(*types.begin()) : std::nullopt;
}

bool cuda::takesNarrowCache(ModuleOp planned) {
  bool written = true;
  planned.walk([&](exec::KernelOp kernel) {
    if (kernel.getFamily() == "paged_attention")
      written &= takesPagedAttention(kernel);
    if (kernel.getFamily() == "cache_append")
      written &= takesCacheAppend(kernel);
  });
  return written;
}
