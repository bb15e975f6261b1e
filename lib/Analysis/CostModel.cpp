//===- CostModel.cpp - is a fused operation worth it ------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The numbers were set by hand after one sweep of `llmopt-bench fusions` (Zen 4, AVX-512, one thread, other work beside it); a tuning database
// overrules them. docs/rationale/tuning.md has the table.
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Analysis/CostModel.h"

#include "llmopt/lib/Analysis/KernelSignature.h"

using namespace llmopt;

namespace {

constexpr double kShareOfPeak = 0.7;       // what both ways reach in products
constexpr double kExponential = 14;        // instructions of a vector of softmax weights
constexpr double kLaunch = 3000;           // a stage, its barrier included
constexpr double kFusedRow = 260;          // maximum, sum and factors that a row keeps from block to block
constexpr double kApartRow = 140;          // three short loops

double roundUpTo(double value, double unit) { return double(int64_t((value + unit - 1) / unit)) * unit; }

/// Bytes a cycle from where a tensor of this size lies.
double bytesPerCycle(double bytes, const CoreFacts &core) {
  return bytes <= double(core.l2Bytes) / 2 ? 32 : bytes <= double(core.l3Bytes) / 2 ? 12 : 4;
}

} // namespace

std::optional<FusionCost> llmopt::attentionCost(llm::AttentionOp op, ShapeAnalysis &shapes, const CoreFacts &core) {
  double sizes[5]; // batch, heads, queries, keys, elements of a key and a value
  auto query = shapes.shapeOf(op.getQuery()).dims, key = shapes.shapeOf(op.getKey()).dims, value = shapes.shapeOf(op.getValue()).dims;
  SymExpr dims[] = {query[0], query[1], query[2], key[2], shapes.symbols().add(query[3], value[3])};
  for (size_t i = 0; i < 5; ++i) {
    std::optional<int64_t> size = typicalSize(dims[i], shapes.symbols());
    if (!size || *size <= 0)
      return std::nullopt;
    sizes[i] = double(*size);
  }
  auto [batch, heads, queries, keys, elements] = sizes;
  double rows = batch * heads * queries, peak = double(core.lanes) * (core.fma ? 4 : 2) * kShareOfPeak;
  double padded = roundUpTo(keys, 16);                            // panels of 16 keys
  double products = rows * padded * elements * 2 / peak;
  double weights = rows * roundUpTo(keys, double(core.lanes)) * kExponential / double(core.lanes);
  double scoreBytes = rows * keys * 4;
  FusionCost cost;
  cost.fused = kLaunch + products + weights + rows * kFusedRow;
  // Scores are written by the first product, read and written by softmax, and read by the second product.
  cost.apart = 3 * kLaunch + products + weights + rows * kApartRow + 4 * scoreBytes / bytesPerCycle(scoreBytes, core);
  auto whole = [](double number) { return std::to_string(int64_t(number)); };
  cost.sizes = whole(batch) + " x " + whole(heads) + " heads, " + whole(queries) + " queries, " + whole(keys) + " keys";
  return cost;
}
