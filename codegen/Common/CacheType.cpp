//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/Common/CacheType.h"

#include "llmopt/dialects/LLM/LLM.h"

using namespace mlir;
using namespace llmopt;

static constexpr StringLiteral kAttribute = "llm.cache_type";

DType llmopt::cacheTypeOf(Operation *op) {
  auto type = op->getAttrOfType<TypeAttr>(kAttribute);
  return !type ? DType::F32 : type.getValue().isF16() ? DType::F16 : type.getValue().isBF16() ? DType::BF16 : DType::F32;
}

void llmopt::setCacheType(ModuleOp module, DType decoders, DType encoders) {
  module.walk([&](Operation *op) {
    auto append = dyn_cast<llm::CacheAppendOp>(op);
    auto attention = dyn_cast<llm::PagedAttentionOp>(op);
    if (!append && !attention)
      return;
    bool decoder = (append ? append.getGroup() : attention.getGroup()) == llm::SequenceGroup::self;
    DType type = decoder ? decoders : encoders;
    if (type == DType::F32) {
      op->removeAttr(kAttribute);
      return;
    }
    Type element = type == DType::F16 ? Type(Float16Type::get(op->getContext())) : BFloat16Type::get(op->getContext());
    op->setAttr(kAttribute, TypeAttr::get(element));
  });
}
