//===- TunedStrategy.cpp - strategies that were measured --------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/Common/TunedStrategy.h"

#include "codegen/Common/QuantizedPacking.h"
#include "llmopt/lib/Analysis/KernelSignature.h"

#include "mlir/AsmParser/AsmParser.h"
#include "mlir/IR/Diagnostics.h"

using namespace mlir;
using namespace llmopt;
using strategy::GemmAttr;
using strategy::GemmBucketAttr;
using strategy::LoopsAttr;

TuningKey llmopt::tuningKey(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target, const StrategyOptions &options) {
  KernelSignature signature = signatureOf(kernel, shapes);
  std::optional<GemmFacts> facts = kernel.getFamily() == "linear" ? linearFacts(kernel, shapes, target, options) : std::nullopt;
  if (facts && facts->bf16Products)
    signature.dtype += ", products in bf16"; // other numbers: never for who did not ask for them
  if (facts && facts->terms)
    signature.dtype += ", products of " + std::to_string(facts->terms) + " terms in bf16";
  if (facts && facts->int8Products)
    signature.dtype += ", products in int8";
  if (std::optional<QuantizedWeight> codes = facts && facts->codes ? quantizedAs(kernel) : std::nullopt)
    signature.dtype += ", " + keyOf(*codes);
  return {target.name, kernel.getFamily().str(), signature.ops, signature.shape, signature.dtype};
}

bool llmopt::isTunable(StringRef family) { return family == "linear" || family == "loops" || family == "rows"; }

namespace {

constexpr int64_t kMostRows = 16, kMostColumns = 64, kMostBlockRows = 1024, kMostUnit = 1 << 24;

bool within(int64_t value, int64_t least, int64_t most) { return value >= least && value <= most; }

int64_t roundUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

/// A stream of weights past all rows is for one number of rows only: `before` rows have buckets of their own.
std::string problemOf(GemmBucketAttr bucket, int64_t before, bool last, bool amx, const GemmFacts &facts, const Target &target) {
  int64_t rows = bucket.getRows(), columns = bucket.getColumns(), block = bucket.getMBlock();
  bool inTiles = amx && block != 0, fitsTiles = (rows == 16 && columns == 64) || (rows == 32 && columns == 32);
  if (inTiles ? !fitsTiles : !within(rows, 1, kMostRows) || !within(columns, 16, kMostColumns) || columns % 16)
    return "a tile of " + std::to_string(rows) + " x " + std::to_string(columns);
  if (!inTiles && rows * columns * 32 / target.vectorBits > target.vectorRegisters)
    return "a tile that has more sums than the target has registers";
  if (inTiles && (bucket.getKBlock() % kAmxWords || bucket.getPackInput()))
    return "k_block = " + std::to_string(bucket.getKBlock()) + " for tile registers, or packed rows";
  if (!within(bucket.getKBlock(), 8, roundUp(facts.depth, 8)) || bucket.getKBlock() % 8)
    return "k_block = " + std::to_string(bucket.getKBlock()) + " for a depth of " + std::to_string(facts.depth);
  if (last ? bucket.getMaxM() != 0 : bucket.getMaxM() <= before)
    return "buckets that are not in ascending order with an open end";
  bool one = facts.rows ? *facts.rows == rows : before + 1 == rows && bucket.getMaxM() == rows;
  if (block == 0 && (!one || bucket.getPackInput()))
    return "a bucket without row blocks for other than its " + std::to_string(rows) + " rows";
  if (!within(block, 0, kMostBlockRows) || block % rows)
    return "m_block = " + std::to_string(block) + " for tiles of " + std::to_string(rows) + " rows";
  return {};
}

std::string problemOf(GemmAttr gemm, const GemmFacts &facts, const Target &target) {
  if (gemm.getVectorBits() != target.vectorBits)
    return std::to_string(gemm.getVectorBits()) + "-bit vectors";
  if (gemm.getBf16Products() != facts.bf16Products || gemm.getInt8Products() != facts.int8Products || gemm.getTerms() != facts.terms)
    return "products in another number format";
  if (gemm.getAmx() && !fillsTiles(target, facts))
    return "tile registers";
  if (!within(int64_t(gemm.getBuckets().size()), 1, 16))
    return "no buckets, or too many";
  int64_t before = 0;
  for (GemmBucketAttr bucket : gemm.getBuckets()) {
    if (std::string problem = problemOf(bucket, before, bucket == gemm.getBuckets().back(), gemm.getAmx(), facts, target); !problem.empty())
      return problem;
    before = bucket.getMaxM();
  }
  return {};
}

std::string problemOf(LoopsAttr loops, const Target &target) {
  if (loops.getVectorBits() != target.vectorBits)
    return std::to_string(loops.getVectorBits()) + "-bit vectors";
  return within(loops.getUnitElements(), 16, kMostUnit) ? "" : "work units of " + std::to_string(loops.getUnitElements()) + " elements";
}

} // namespace

Result<Attribute> llmopt::tunedStrategy(const TuningEntry &entry, exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target,
                                        const StrategyOptions &options) {
  ScopedDiagnosticHandler quiet(kernel.getContext(), [](Diagnostic &) { return success(); });
  Attribute attribute = parseAttribute(entry.choice, kernel.getContext());
  std::string problem = "no strategy of this family";
  std::optional<GemmFacts> facts = entry.key.kernel == "linear" ? linearFacts(kernel, shapes, target, options) : std::nullopt;
  if (auto gemm = dyn_cast_or_null<GemmAttr>(attribute); gemm && facts)
    problem = problemOf(gemm, *facts, target);
  else if (auto loops = dyn_cast_or_null<LoopsAttr>(attribute); loops && (entry.key.kernel == "loops" || entry.key.kernel == "rows"))
    problem = problemOf(loops, target);
  if (problem.empty())
    return attribute;
  return usageError("E0318", "the tuning database wants '" + entry.choice + "' for a " + entry.key.kernel + " kernel of " + entry.key.shape + " on " +
                                 target.name + ", which makes no sense: " + problem);
}

namespace {

/// A bucket's other ways, in the same order for all buckets of a kind: tiles, blocks of K and of rows, packing.
SmallVector<GemmBucketAttr> otherBuckets(GemmBucketAttr usual, bool amx, const Target &target) {
  SmallVector<GemmBucketAttr> others;
  auto add = [&](int64_t rows, int64_t columns, int64_t kBlock, int64_t mBlock, bool pack) {
    auto other = GemmBucketAttr::get(usual.getContext(), usual.getMaxM(), rows, columns, kBlock, mBlock, pack);
    bool fits = (amx && mBlock != 0) || rows * columns * 32 / target.vectorBits <= target.vectorRegisters;
    if (other != usual && fits && !llvm::is_contained(others, other))
      others.push_back(other);
  };
  int64_t rows = usual.getRows(), columns = usual.getColumns(), kBlock = usual.getKBlock(), mBlock = usual.getMBlock();
  bool pack = usual.getPackInput();
  if (mBlock == 0) {
    for (int64_t width : {16, 32, 64})
      add(rows, width, kBlock, 0, false);
    return others;
  }
  if (amx) {
    if (kBlock >= 256)
      add(rows, columns, roundUp(kBlock / 2, kAmxWords), mBlock, false);
    add(rows, columns, kBlock, roundUp(mBlock / 2, rows), false);
    return others;
  }
  const std::pair<int64_t, int64_t> wide[] = {{8, 48}, {12, 32}, {6, 64}}, middle[] = {{6, 16}, {3, 32}, {4, 16}}, narrow[] = {{3, 16}, {2, 16}};
  ArrayRef<std::pair<int64_t, int64_t>> tiles = target.vectorBits >= 512 ? ArrayRef(wide) : target.vectorBits == 256 ? ArrayRef(middle) : ArrayRef(narrow);
  for (auto [high, width] : tiles)
    add(high, width, kBlock, roundUp(mBlock, high), pack);
  if (kBlock >= 128)
    add(rows, columns, roundUp(kBlock / 2, 8), mBlock, pack);
  add(rows, columns, kBlock, roundUp(mBlock / 2, rows), pack);
  add(rows, columns, kBlock, mBlock, !pack);
  return others;
}

} // namespace

SmallVector<Attribute> llmopt::otherStrategies(Attribute usual, const Target &target) {
  SmallVector<Attribute> others;
  if (auto loops = dyn_cast<LoopsAttr>(usual)) {
    for (int64_t elements : {1024, 16384, 65536})
      others.push_back(LoopsAttr::get(usual.getContext(), elements, loops.getVectorBits()));
    return others;
  }
  auto gemm = dyn_cast<GemmAttr>(usual);
  if (!gemm)
    return others;
  SmallVector<SmallVector<GemmBucketAttr>> columns;
  size_t most = 0;
  for (GemmBucketAttr bucket : gemm.getBuckets()) {
    columns.push_back(otherBuckets(bucket, gemm.getAmx(), target));
    most = std::max(most, columns.back().size());
  }
  for (size_t i = 0; i < most; ++i) {
    SmallVector<GemmBucketAttr> buckets;
    for (auto [bucket, ways] : llvm::zip(gemm.getBuckets(), columns))
      buckets.push_back(i < ways.size() ? ways[i] : bucket);
    others.push_back(GemmAttr::get(usual.getContext(), buckets, gemm.getVectorBits(), gemm.getBf16Products(), gemm.getInt8Products(), gemm.getAmx(), gemm.getTerms()));
  }
  return others;
}
