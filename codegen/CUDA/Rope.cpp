//===- Rope.cpp - rotary positions as text --------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/Rope.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/bit.h"

using namespace mlir;
using namespace llmopt;

std::string cuda::constantText(const char *name, int64_t value) {
  return std::string("  static constexpr int ") + name + " = " + std::to_string(value) + ";\n";
}

std::string cuda::flagText(const char *name, bool value) {
  return std::string("  static constexpr bool ") + name + " = " + (value ? "true" : "false") + ";\n";
}

std::string cuda::functionText(const char *name, const llvm::APFloat &value) {
  return std::string("  DEVICE_MEMBER static float ") + name + "() { return floatOf(0x" + llvm::utohexstr(llvm::bit_cast<uint32_t>(value.convertToFloat())) +
         "u); }\n";
}

std::string cuda::ropeText(llm::RopeOp rope) {
  bool narrow = rope && getElementTypeOrSelf(rope.getPositions().getType()).isInteger(32);
  return std::string("  typedef ") + (narrow ? "i32" : "i64") + " Position;\n" +
         constantText("kPairs", rope ? cast<RankedTensorType>(rope.getFrequencies().getType()).getDimSize(0) : 0) +
         flagText("kInterleaved", rope && rope.getInterleaved()) + functionText("ropeScale", rope ? rope.getScale() : llvm::APFloat(1.0f));
}
