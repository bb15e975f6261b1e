//===- ChooseStrategy.cpp - tiles and blocks from target facts ------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/Common/ChooseStrategy.h"

#include "codegen/Common/CacheType.h"
#include "codegen/Common/QuantizedPacking.h"
#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/Projection.h"
#include "llmopt/lib/Analysis/QuantizedWeight.h"

#include "mlir/IR/Remarks.h"
#include "llvm/ADT/bit.h"

#include <algorithm>
#include <numeric>

using namespace mlir;
using namespace llmopt;
using strategy::GemmBucketAttr;

namespace {

/// Register tile of the GEMM: as many accumulators as the register file holds beside one row of B and a broadcast of A.
struct Tile {
  int64_t rows, columns;
};

Tile gemmTile(const Target &target) {
  if (target.vectorBits >= 512)
    return {8, 48}; // few broadcasts per multiplication
  if (target.vectorBits == 256)
    return {6, 16};
  return {3, 16};
}

/// Columns streamed at once past `rows` rows (0: the GEMM does it): enough accumulators for the latency of the multiply-add,
/// and up to four streams, which one core needs to use the whole memory bandwidth.
int64_t streamColumns(const Target &target, int64_t rows, int64_t weightBytes) {
  int64_t vectorsPerPanel = 512 / target.vectorBits;
  // Widening takes registers too.
  int64_t budget = target.vectorRegisters >= 32 ? 16 : weightBytes < 4 ? 8 : 12;
  int64_t panels = std::min<int64_t>(4, budget / (rows * vectorsPerPanel));
  if (panels == 3)
    panels = 2;
  return panels * 16;
}

/// The same where products are added in groups, as tile registers do: each sum takes three accumulators, and tile registers are as fast from three rows on.
int64_t groupColumns(int64_t rows) { return rows <= 2 ? 64 : 0; }

int64_t roundUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

/// K in equal blocks of at most `most`.
int64_t equalBlocks(int64_t depth, int64_t most) {
  int64_t blocks = std::max<int64_t>(1, (depth + most - 1) / most);
  return roundUp((depth + blocks - 1) / blocks, 8);
}

/// Short enough for a panel block to stay near the core; narrow panels that are widened first, where registers are few, in its first-level cache beside the rows.
int64_t depthBlock(const Target &target, int64_t depth, int64_t weightBytes) {
  return equalBlocks(depth, weightBytes == 4 ? 768 : target.vectorRegisters < 32 ? 256 : 512);
}

/// Rows of A one core works on at a time: half the second-level cache.
int64_t rowBlock(const Target &target, int64_t kBlock, int64_t tileRows, int64_t most = 192) {
  int64_t rows = target.l2Bytes / 2 / (kBlock * 4);
  return roundUp(std::clamp<int64_t>(rows, 24, most), tileRows);
}

/// Rows whose distance is a multiple of 4 KiB fall into the same set of the first-level cache, more of them than 32 KiB have ways.
bool collides(const Target &target, int64_t depth) { return depth % 1024 == 0 && target.l1Bytes <= 32 << 10; }

/// Products with codes by a dot product of bytes in the widest vectors: a row counts for its digits, three of them, or one where 8 bits are enough.
void addByteDot(const Target &target, const GemmFacts &facts, llvm::function_ref<void(int64_t maxM, int64_t rows, int64_t columns, int64_t kBlock, int64_t mBlock)> add) {
  int64_t digits = facts.int8Products ? 1 : 3, kBlock = roundUp(facts.depth, 8);
  // Beside the sums of digits lie those in f32.
  int64_t budget = 24 / (digits == 1 ? 2 : 1), mostRows = budget / digits;
  // Sums of digits and those in f32 have registers. One digit of four rows: those in f32 may wait in memory for the end of a span, four streams are worth more.
  int64_t mostSums = digits > 1 ? budget / (digits + 1) : 16;
  for (int64_t rows = 1; rows <= 4; ++rows) {
    // So little to do for each line that the processor looks far ahead by itself, farthest in one sequential stream.
    int64_t most = rows * digits == 1 ? 1 : std::clamp<int64_t>(mostSums / rows, 1, 4);
    add(rows, rows, 16 * int64_t(llvm::bit_floor(uint64_t(most))), kBlock, 0);
  }
  int64_t tileRows = mostRows / 2;
  // Rows whose digits lie in half the second-level cache. One digit's products are so fast that a tile's beginning and end count for more.
  int64_t block = std::clamp<int64_t>(target.l2Bytes / 2 / (facts.depth * (digits == 1 ? 1 : 4)), 2 * tileRows, digits == 1 ? 192 : 96);
  add(0, tileRows, 32, std::min<int64_t>(kBlock, digits == 1 ? 2048 : 512), roundUp(block, tileRows));
}

/// Products with codes in tile registers: panels are unpacked to words for a block of K, which is to stay in the first-level cache beside sums and rows; those of up to 16 rows a step ahead. One row
/// of an expert is multiplied in vectors, and where an instruction gives 16 of `code - zero`, one of any layer.
void addCodeTiles(const Target &target, const GemmFacts &facts, llvm::function_ref<void(int64_t maxM, int64_t rows, int64_t columns, int64_t kBlock, int64_t mBlock)> add) {
  constexpr int64_t kRows = 16, kBlock = 128, kMostBlockRows = 512;
  int64_t whole = roundUp(facts.depth / 2, 8);
  if (facts.experts || (facts.codeTable && !facts.terms))
    add(1, 1, 64, whole, 0);
  add(kRows, kRows, 64, whole, kRows);
  add(0, 2 * kRows, 32, kBlock, rowBlock(target, kBlock, 2 * kRows, kMostBlockRows));
}

/// Products with codes.
strategy::GemmAttr chooseCodes(MLIRContext *context, const Target &target, const GemmFacts &facts) {
  SmallVector<GemmBucketAttr> buckets;
  auto add = [&](int64_t maxM, int64_t rows, int64_t columns, int64_t kBlock, int64_t mBlock) {
    if (!facts.rows || (maxM == rows && mBlock == 0 ? *facts.rows == rows : buckets.empty() && (maxM == 0 || *facts.rows <= maxM)))
      buckets.push_back(GemmBucketAttr::get(context, maxM, rows, columns, kBlock, mBlock, /*packInput=*/false));
  };
  bool tiles = fillsTiles(target, facts);
  if (tiles) {
    addCodeTiles(target, facts, add);
  } else if (target.int8Dot && target.vectorBits == 512) {
    addByteDot(target, facts, add);
  } else {
    int64_t kBlock = depthBlock(target, facts.depth, /*weightBytes=*/1);
    for (int64_t rows = 1; rows <= 4; ++rows)
      if (int64_t columns = facts.int8Products && rows == 1 ? 16 : streamColumns(target, rows, /*weightBytes=*/1))
        add(rows, rows, columns, roundUp(facts.depth, 8), 0);
    Tile tile = gemmTile(target);
    add(0, tile.rows, tile.columns, kBlock, rowBlock(target, kBlock, tile.rows));
  }
  GemmBucketAttr last = buckets.pop_back_val();
  buckets.push_back(GemmBucketAttr::get(context, 0, last.getRows(), last.getColumns(), last.getKBlock(), last.getMBlock(), /*packInput=*/false));
  return strategy::GemmAttr::get(context, buckets, target.vectorBits, facts.bf16Products, facts.int8Products, /*amx=*/tiles, facts.terms);
}

} // namespace

// Codes: whole spans, the inputs that are added before their scale (LinearCodes.h), of whole steps.
bool llmopt::fillsTiles(const Target &target, const GemmFacts &facts) {
  if (facts.codes)
    return target.amx && (facts.bf16Products || facts.terms) && facts.codeBlock % (2 * kAmxWords) == 0 && facts.depth % std::gcd(facts.codeBlock, kCodeSpan) == 0;
  return target.amx && facts.words && facts.depth % kAmxWords == 0;
}

strategy::GemmAttr llmopt::chooseGemm(MLIRContext *context, const Target &target, const GemmFacts &facts) {
  if (facts.codes)
    return chooseCodes(context, target, facts);
  SmallVector<GemmBucketAttr> buckets;
  auto add = [&](int64_t maxM, int64_t rows, int64_t columns, int64_t kBlock, int64_t mBlock, bool pack) {
    buckets.push_back(GemmBucketAttr::get(context, maxM, rows, columns, kBlock, mBlock, pack));
  };
  Tile tile = gemmTile(target);
  bool amx = fillsTiles(target, facts);
  for (int64_t rows = 1; rows <= 4; ++rows)
    if (int64_t columns = amx && (facts.bf16Products || facts.terms) ? groupColumns(rows) : streamColumns(target, rows, facts.weightBytes))
      if (!facts.rows || *facts.rows == rows)
        add(rows, rows, columns, roundUp(facts.depth, 8), 0, false);
  if (amx) {
    constexpr int64_t kRows = 16, kFew = 256, kMostBlockRows = 512; // the fewer blocks of rows, the fewer times weights are read
    // Few rows lie in the second-level cache whole, so that no sums wait; of many, a block of K whose two panels stay in the first-level cache.
    int64_t inFirst = target.l1Bytes / (2 * kAmxWords * 4), whole = roundUp(equalBlocks(facts.depth, 1024), kAmxWords);
    int64_t kBlock = facts.depth <= inFirst ? whole : roundUp(equalBlocks(facts.depth, inFirst * 2 / 3), kAmxWords), fewBlock = whole;
    if (facts.splitsWeights) { // for a block of K; for few rows a step ahead
      constexpr int64_t kMostWhole = 384, kSplitBlock = 192;
      fewBlock = facts.depth;
      whole = kBlock = roundUp(equalBlocks(facts.depth, facts.depth <= kMostWhole ? kMostWhole : kSplitBlock), kAmxWords);
    } else if (facts.terms && facts.weights == 1) { // so many products for each panel that fewer rows may read it anew; two matrices' panels leave rows too little room
      kBlock = whole;
    }
    // Words of a row of a block, of which half the second-level cache is full. Where terms walk the whole K, more of it is left to panels.
    auto rowWords = [&](int64_t block) { return std::max<int64_t>(1, facts.terms) * (facts.terms && block == whole ? block * 4 / 3 : block); };
    if (!facts.rows || (buckets.empty() && *facts.rows <= kRows))
      add(kRows, kRows, /*columns=*/64, fewBlock, kRows, false);
    if (whole != kBlock && (!facts.rows || (buckets.empty() && *facts.rows <= kFew)))
      add(kFew, 2 * kRows, /*columns=*/32, whole, rowBlock(target, rowWords(whole), 2 * kRows, kFew), false);
    if (!facts.rows || buckets.empty())
      add(0, 2 * kRows, /*columns=*/32, kBlock, rowBlock(target, rowWords(kBlock), 2 * kRows, kMostBlockRows), false);
  } else {
    int64_t kBlock = depthBlock(target, facts.depth, facts.weightBytes);
    // Few rows: the input is small; a column tile is read from memory once and then stays in the second-level cache, beside the next one.
    constexpr int64_t kFew = 24;
    bool panelFits = facts.weightBytes == 4 && 2 * facts.depth * tile.columns * facts.weightBytes <= target.l2Bytes * 7 / 8;
    if (!facts.rows || (buckets.empty() && *facts.rows <= kFew))
      add(kFew, tile.rows, tile.columns, panelFits ? roundUp(facts.depth, 8) : kBlock, roundUp(kFew, tile.rows), false);
    if (!facts.rows || *facts.rows > kFew)
      add(0, tile.rows, tile.columns, kBlock, rowBlock(target, kBlock, tile.rows), collides(target, facts.depth));
  }
  // The last bucket has no bound.
  GemmBucketAttr last = buckets.pop_back_val();
  add(0, last.getRows(), last.getColumns(), last.getKBlock(), last.getMBlock(), last.getPackInput());
  return strategy::GemmAttr::get(context, buckets, target.vectorBits, facts.bf16Products, /*int8Products=*/false, amx, facts.terms);
}

strategy::AttentionAttr llmopt::chooseAttention(MLIRContext *context, const Target &target, bool bf16Products) {
  return strategy::AttentionAttr::get(context, /*queryBlock=*/48, /*keyBlock=*/64, target.vectorBits, bf16Products, /*amx=*/bf16Products && target.amx);
}

/// What is cached in bf16 is multiplied so.
static bool readsBf16Cache(exec::KernelOp kernel) {
  return llvm::any_of(kernel.getBody().getOps<llm::PagedAttentionOp>(), [](auto op) { return cacheTypeOf(op) == DType::BF16; });
}

std::optional<GemmFacts> llmopt::linearFacts(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target, const StrategyOptions &options) {
  std::optional<GemmFacts> facts;
  bool allBf16 = true, allInt8 = true, experts = false;
  int64_t projections = 0;
  llvm::SmallDenseSet<Type, 2> elements;
  kernel.getBody().walk([&](Operation *op) {
    Projection linear = Projection::ofAny(op);
    if (!linear)
      return;
    GemmFacts found;
    found.depth = linear.depth();
    found.weightBytes = linear.weightType().getElementTypeBitWidth() / 8;
    if (linear.isInteger()) { // words of four bytes, or of two i16
      bool byteDot = target.int8Dot && target.vectorBits == 512;
      int64_t inputs = found.depth;
      found.depth = (inputs + 3) / 4 * (byteDot ? 1 : 2);
      found.weightBytes = byteDot ? 4 : 2;
      found.words = byteDot && !linear.isGrouped() && inputs % 4 == 0;
    }
    SymExpr rows = shapes.symbols().constant(1);
    for (SymExpr dim : ArrayRef(shapes.shapeOf(linear.getInput()).dims).drop_back())
      rows = shapes.symbols().mul(rows, dim);
    allBf16 &= linear.weightType().getElementType().isBF16();
    elements.insert(linear.weightType().getElementType());
    allInt8 &= op->hasAttr(kInt8Input);
    experts |= linear.isGrouped();
    ++projections;
    if (!linear.isGrouped() && rows.known() && rows.constant())
      found.rows = rows.constant();
    facts = found;
  });
  if (std::optional<QuantizedWeight> quantized = facts && !target.isGpu() ? quantizedAs(kernel) : std::nullopt) { // GPUs ask for experts only, of which they take numbers
    facts->codes = true;
    facts->codeBlock = panelsOf(*quantized, CodeOrder::Words).blockInputs(facts->depth);
    facts->bf16Products = options.bf16Products;
    facts->terms = options.bf16Products || options.int8Products || options.terms > 2 ? 0 : options.terms; // exact digits are faster for one row than three
    facts->experts = experts;
    facts->codeTable = quantized->format.bits == 4 && !panelsOf(*quantized, CodeOrder::Words).zeros;
    bool tiles = fillsTiles(target, *facts);
    facts->bf16Products &= tiles;
    facts->terms *= tiles;
    facts->int8Products = !tiles && (options.int8Products || allInt8);
  } else if (facts && allBf16 && options.bf16Products) {
    facts->bf16Products = true;
    facts->words = facts->depth % 2 == 0;
    facts->depth = (facts->depth + 1) / 2;
    facts->weightBytes = 4;
  } else if (facts && options.terms && elements.size() == 1 && isa<Float32Type, Float16Type, BFloat16Type>(*elements.begin()) && (!experts || allBf16) && target.amx &&
             facts->depth % (2 * kAmxWords) == 0) {
    facts->terms = options.terms;
    facts->weights = std::max<int64_t>(1, projections / std::max<int64_t>(1, kernel.getNumResults()));
    facts->splitsWeights = !allBf16;
    facts->words = true;
    facts->depth /= 2;
  }
  return facts;
}

int llmopt::usualTerms(ModuleOp planned, const Target &target) {
  int64_t bytes = 0;
  planned.walk([&](Operation *op) {
    if (Projection linear = Projection::ofAny(op); linear && linear.weightType().hasStaticShape())
      bytes += linear.weightType().getNumElements() * linear.weightType().getElementTypeBitWidth() / 8;
  });
  return bytes > target.l2Bytes ? 3 : 0;
}

void llmopt::explainStrategy(exec::KernelOp kernel, const Target &target, StringRef source, StringRef times) {
  if (!kernel.getContext()->getRemarkEngine())
    return;
  std::string ops, strategy;
  for (Operation &op : kernel.getBody().front().without_terminator())
    if (!isa<llm::ConstantOp>(op))
      ops += (ops.empty() ? "" : " ") + op.getName().stripDialect().str();
  if (Attribute attribute = kernel.getStrategyAttr())
    llvm::raw_string_ostream(strategy) << attribute;
  remark::analysis(kernel.getLoc(), remark::RemarkOpts::name("strategy").category("kernel"))
      << remark::metric("Family", kernel.getFamily().str()) << remark::metric("Ops", ops) << remark::metric("Target", target.name)
      << remark::metric("Strategy", strategy.empty() ? "none" : strategy) << remark::metric("By", source)
      << remark::metric("Times", times.empty() ? "not measured" : times);
}

static void setStrategy(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target, const StrategyOptions &options) {
  MLIRContext *context = kernel.getContext();
  StringRef family = kernel.getFamily();
  if (target.isGpu() && !family.contains("attention") && family != "grouped_linear") {
    // One element a thread; neighbours in memory belong to neighbouring threads. The others' work units are too few operations to be cut further.
    kernel.setStrategyAttr(strategy::LoopsAttr::get(context, /*unitElements=*/1, target.vectorBits));
  } else if (family == "linear" || family == "grouped_linear") {
    if (std::optional<GemmFacts> facts = linearFacts(kernel, shapes, target, target.isGpu() ? StrategyOptions() : options))
      kernel.setStrategyAttr(chooseGemm(context, target, *facts));
  } else if (family == "matmul") {
    kernel.setStrategyAttr(chooseGemm(context, target, GemmFacts{.depth = 512, .rows = 512}));
  } else if (family == "attention") {
    kernel.setStrategyAttr(chooseAttention(context, target, options.bf16Products && !target.isGpu()));
  } else if (family == "paged_attention") {
    kernel.setStrategyAttr(chooseAttention(context, target, readsBf16Cache(kernel)));
  } else if (family == "loops" || family == "rows") {
    kernel.setStrategyAttr(strategy::LoopsAttr::get(context, /*unitElements=*/4096, target.vectorBits));
  }
}

Status llmopt::chooseStrategy(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target, const StrategyOptions &options) {
  if (!kernel.getStrategyAttr())
    setStrategy(kernel, shapes, target, options);
  return {};
}
