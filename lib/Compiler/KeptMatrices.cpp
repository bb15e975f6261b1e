//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "lib/Compiler/KeptMatrices.h"

#include "llmopt/dialects/Exec/Exec.h"
#include "llmopt/lib/Analysis/Projection.h"
#include "llmopt/lib/Analysis/QuantizedWeight.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace llmopt;

std::optional<std::string> llmopt::warnOfKeptMatrices(ModuleOp planned, WeightFormat dtype) {
  if (dtype != WeightFormat::Int8 && dtype != WeightFormat::Int4)
    return std::nullopt;
  constexpr int64_t kBlock = 32;
  double all = 0, experts = 0, others = 0;
  planned.walk([&](exec::KernelOp kernel) {
    bool rounded = quantizedAs(kernel).has_value();
    kernel.getBody().walk([&](Operation *op) {
      Projection product = Projection::ofAny(op);
      if (!product || !product.weightType().hasStaticShape())
        return;
      double weights = double(product.weightType().getNumElements());
      all += weights;
      bool onlyForGpu = product.isGrouped() && product.depth() % kBlock == 0;
      (onlyForGpu ? experts : others) += rounded ? 0 : weights;
    });
  });
  if (experts + others < all / 20 || all == 0)
    return std::nullopt;
  std::string text = llvm::formatv("--dtype={0}: {1:P0} of the weights in products stay as they are", dtype == WeightFormat::Int8 ? "int8" : "int4", (experts + others) / all).str();
  if (experts > 0)
    text += "; those of experts are rounded for processors only, not where a GPU is among the targets";
  if (others > 0)
    text += "; matrices are rounded where their inputs are a multiple of 32";
  return text;
}
