//===- SliceConcats.cpp - what was joined is taken apart ------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %c = llm.concat %k, %v {axis = 0}; %y = llm.slice %c [1 : 2]   ==>   %v
//
// as exporters do that pack keys and values for a cache and read them back.
//
//===----------------------------------------------------------------------===//
#include "CanonicalSteps.h"

#include "llmopt/dialects/LLM/LLM.h"

using namespace mlir;
using namespace llmopt;

static std::optional<int64_t> onlyNumber(Value value) {
  auto constant = value.getDefiningOp<llm::ConstantOp>();
  auto elements = constant ? dyn_cast<DenseIntElementsAttr>(constant.getValue()) : nullptr;
  return elements && elements.getNumElements() == 1 ? std::optional((*elements.begin()).getSExtValue()) : std::nullopt;
}

/// The input of the concatenation that the slice takes whole, if it does.
static Value wholePart(llm::SliceOp slice) {
  auto concat = slice.getInput().getDefiningOp<llm::ConcatOp>();
  auto start = onlyNumber(slice.getStarts()), end = onlyNumber(slice.getEnds());
  bool plain = concat && start && end && slice.getAxes().size() == 1 && slice.getAxes()[0] == int64_t(concat.getAxis()) && slice.getSteps()[0] == 1;
  if (!plain)
    return {};
  int64_t at = 0;
  for (Value part : concat.getInputs()) {
    auto type = cast<RankedTensorType>(part.getType());
    if (type.isDynamicDim(unsigned(concat.getAxis())) || at > *start)
      return {};
    int64_t size = type.getDimSize(unsigned(concat.getAxis()));
    if (at == *start && at + size == *end && type == slice.getType())
      return part;
    at += size;
  }
  return {};
}

void llmopt::sliceConcats(func::FuncOp function) {
  function.walk([&](llm::SliceOp slice) {
    if (Value part = wholePart(slice)) {
      slice.getResult().replaceAllUsesWith(part);
      slice.erase();
    }
  });
}
