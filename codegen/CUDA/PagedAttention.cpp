//===- PagedAttention.cpp - attention over the cache, by a written kernel -===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/PagedAttention.h"

#include "codegen/CPU/PagedAttentionWriter.h"
#include "codegen/CUDA/ProductType.h"
#include "codegen/CUDA/Rope.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cuda;
using cpu::PagedProblem;

namespace {

constexpr int64_t kFewTokens = 16; ///< steps of at most this many tokens share the keys of a sequence between blocks
constexpr int64_t kMostSplits = 16;
constexpr int64_t kPrefillTokens = 64; ///< steps of at least this many take the tensor cores

/// How a variant divides the work; numbers as the family's constants have them.
struct Division {
  std::string suffix;
  int64_t limit, tileTokens, rows, splits, warps = 8;
  const char *family = "PagedAttention";
  int64_t stages = 0; ///< of wgmma_attention.cuh
};

bool isPrefill(const Division &division) { return division.family != StringRef("PagedAttention"); }

bool isFloatArgument(Value operand) {
  return !operand || (isa<BlockArgument>(operand) && getElementTypeOrSelf(operand.getType()).isF32());
}

/// The attention of a region that the family takes; null for others.
llm::PagedAttentionOp findAttention(exec::KernelOp kernel) {
  auto attentions = kernel.getBody().getOps<llm::PagedAttentionOp>();
  if (!llvm::hasSingleElement(attentions) || kernel.getNumResults() != 1)
    return {};
  llm::PagedAttentionOp op = *attentions.begin();
  if (cpu::throughViewsTo(kernel.getBody().front().getTerminator()->getOperand(0)) != op.getOperation())
    return {};
  for (Value heads : {Value(op.getQuery()), Value(op.getResult())}) {
    auto type = cast<RankedTensorType>(heads.getType());
    if (!type.getElementType().isF32() || type.isDynamicDim(1) || type.isDynamicDim(2))
      return {};
  }
  bool simple = isFloatArgument(op.getSlopes()) && isFloatArgument(op.getBias()) && isFloatArgument(op.getSinks());
  return simple ? op : llm::PagedAttentionOp();
}

class PagedUnit {
public:
  PagedUnit(const PagedProblem &problem, const Target &target, const std::string &symbol, std::optional<DType> product)
      : problem_(problem), op_(problem.op), target_(target), symbol_(symbol), cache_(problem.layout.dtype), product_(product && cache_ != DType::F32 ? cache_ : product) {
    values_ = (problem.layout.valueSize + 15) / 16 * 4; // registers of a lane for one row
  }
  LoweredDeviceKernel lower(SymContext &symbols, SymExpr tokens);

private:
  int64_t rowsAtOnce(int64_t wanted) const;
  Division few() const;
  Division many() const;
  std::optional<Division> prefill() const;
  uint32_t sharedBytes(const Division &division) const;
  std::string problemText(const Division &division);
  void addKernel(const Division &division, SymContext &symbols, SymExpr tokens, LoweredDeviceKernel &lowered);
  int64_t chunks(const Division &division) const { return (division.tileTokens * problem_.group() + division.rows - 1) / division.rows; }
  int64_t partFloats(const Division &division) const { return division.rows * (problem_.layout.valueSize + 2); }

  const PagedProblem &problem_;
  llm::PagedAttentionOp op_;
  const Target &target_;
  const std::string &symbol_;
  DType cache_;
  std::optional<DType> product_;
  int64_t values_;
};

/// A power of two, as many as registers hold; widening a cache of 16 bits takes some.
int64_t PagedUnit::rowsAtOnce(int64_t wanted) const {
  int64_t rows = 8, registers = cache_ == DType::F32 ? values_ : 2 * values_;
  int64_t most = cache_ == DType::F32 && target_.computeCapability == 89 ? 96 : 128; // of 128 numbers in f32 ptxas spills some there
  while (rows > 1 && (rows / 2 >= wanted || rows * registers > (rows == 8 ? 64 : most)))
    rows /= 2;
  return rows;
}

/// Every unit has a part of the scratch memory, which the runtime grants to so many blocks at least.
constexpr int64_t kMostUnits = 16384;

Division PagedUnit::few() const {
  Division division{"_few", kFewTokens, 1, rowsAtOnce(problem_.group()), 1};
  int64_t groups = kFewTokens * problem_.kvHeads * chunks(division);
  division.splits = std::clamp<int64_t>(kMostUnits / groups, 1, kMostSplits);
  return division;
}

Division PagedUnit::many() const {
  int64_t rows = rowsAtOnce(8);
  return {"_many", 0, std::max<int64_t>(1, rows / problem_.group()), rows, 1};
}

/// Registers hold queries and sums of heads up to 128.
std::optional<Division> PagedUnit::prefill() const {
  constexpr int64_t kRows = 64, kWarps = 4, kMostSize = 128;
  if (!product_ || problem_.layout.keySize > kMostSize || problem_.layout.valueSize > kMostSize)
    return std::nullopt;
  auto wgmmaTakes = [](int64_t size) { return size == 64 || size == 128; };
  if (target_.computeCapability == 90 && cache_ != DType::F32 && wgmmaTakes(problem_.layout.keySize) && wgmmaTakes(problem_.layout.valueSize)) {
    constexpr int64_t kWgmmaRows = 128, kWgmmaWarps = 12, kStages = 3;
    return Division{"_wgmma", 0, std::max<int64_t>(1, kWgmmaRows / problem_.group()), kWgmmaRows, 1, kWgmmaWarps, "WgmmaAttention", kStages};
  }
  return Division{"_prefill", 0, std::max<int64_t>(1, kRows / problem_.group()), kRows, 1, kWarps, "PrefillAttention"};
}

std::string cacheText(DType type) { return type == DType::F16 ? "f16" : "float"; }

/// As the families' own constants have it.
uint32_t PagedUnit::sharedBytes(const Division &division) const {
  auto padded = [](int64_t size) { return (size + 15) / 16 * 16; };
  int64_t keySize = problem_.layout.keySize, block = 64 * (padded(keySize) + padded(problem_.layout.valueSize)) * int64_t(dtypeSize(cache_));
  if (division.stages)
    return uint32_t(division.stages * (block + 32));
  if (isPrefill(division))
    return uint32_t(block);
  return uint32_t((division.rows * keySize + division.warps * division.rows * 16 + division.warps * partFloats(division) + 4) * int64_t(sizeof(float)));
}

std::string PagedUnit::problemText(const Division &division) {
  int64_t biasWidth = op_.getBias() ? cast<RankedTensorType>(op_.getBias().getType()).getDimSize(1) : 0;
  std::string text = "struct Problem" + division.suffix + " {\n  typedef " + cacheText(cache_) + " Cache;\n";
  if (division.stages)
    text += constantText("kStages", division.stages);
  if (isPrefill(division))
    text += std::string("  typedef ") + (*product_ == DType::BF16 ? "bf16" : "f16") + " Product;\n";
  return text + constantText("kHeads", problem_.heads) + constantText("kKvHeads", problem_.kvHeads) + constantText("kKeySize", problem_.layout.keySize) +
         constantText("kValueSize", problem_.layout.valueSize) + constantText("kTileTokens", division.tileTokens) + constantText("kRows", division.rows) +
         constantText("kWarps", division.warps) + constantText("kSplits", division.splits) + constantText("kTable", int64_t(op_.getGroup())) +
         constantText("kWindow", int64_t(op_.getWindow())) + constantText("kBiasWidth", biasWidth) + flagText("kCausal", op_.getCausal()) +
         functionText("scale", op_.getScale()) + functionText("softcap", op_.getSoftcap()) + ropeText(problem_.queries.rope) + "};\n";
}

void PagedUnit::addKernel(const Division &division, SymContext &symbols, SymExpr tokens, LoweredDeviceKernel &lowered) {
  using Kind = DeviceParameter::Kind;
  DeviceKernel kernel;
  kernel.name = symbol_ + division.suffix;
  kernel.family = division.family;
  kernel.stages = uint32_t(std::max<int64_t>(1, division.stages));
  kernel.threads = uint32_t(32 * division.warps);
  kernel.sharedBytes = sharedBytes(division);
  if (isPrefill(division))
    kernel.math = dtypeName(*product_);
  kernel.unitsPerBlock = 1;
  auto pass = [&](Kind kind, uint32_t index = 0) {
    DeviceParameter parameter{kind, index};
    if (!llvm::is_contained(kernel.parameters, parameter))
      kernel.parameters.push_back(parameter);
    return parameterName(parameter);
  };
  auto buffer = [&](Value operand, const std::string &type) {
    if (!operand)
      return std::string("nullptr");
    return "reinterpret_cast<const " + type + " *>(" + pass(Kind::Buffer, cast<BlockArgument>(operand).getArgNumber()) + ")";
  };
  std::string problem = "Problem" + division.suffix, family = division.family + ("<" + problem + ">"), counters = "nullptr", parts = counters, data;
  llm::RopeOp rope = problem_.queries.rope;
  std::string operands = buffer(problem_.queries.argument, "float");
  operands += ", " + buffer(rope ? cpu::throughViews(rope.getPositions()) : Value(), problem + "::Position");
  operands += ", " + buffer(rope ? cpu::throughViews(rope.getFrequencies()) : Value(), "float");
  for (Value operand : {Value(op_.getSlopes()), Value(op_.getBias()), Value(op_.getSinks())})
    operands += ", " + buffer(operand, "float");
  operands += ", reinterpret_cast<const " + cacheText(cache_) + " *>(" + pass(Kind::Buffer, problem_.state) + "), reinterpret_cast<float *>(" +
              pass(Kind::Buffer, problem_.output) + ")";
  SymExpr scratch;
  if (division.splits > 1) {
    counters = kernel.name + "_counters";
    data = "DEVICE_DATA(u32, " + counters + ", " + std::to_string(kFewTokens * problem_.kvHeads * chunks(division)) + ");\n";
    parts = "reinterpret_cast<float *>(" + pass(Kind::Scratch) + ")";
    // A block is a unit, so its threads' shares together hold the unit's part.
    scratch = symbols.constant((partFloats(division) * 4 / kernel.threads / 16 + 1) * 16);
  }
  std::string table = pass(Kind::Table), units = pass(Kind::Dim, 0);
  lowered.unit.source += problemText(division) + data + "extern \"C\" GLOBAL void LAUNCH_BOUNDS(" + std::to_string(kernel.threads) + ", 1) " + kernel.name + "(" +
                         declareParameters(kernel.parameters, ", ") + ") {\n  static_assert(" + family + "::kThreads == " + std::to_string(kernel.threads) +
                         " && " + family + "::kSharedBytes == " + std::to_string(kernel.sharedBytes) + ");\n  SHARED_MEMORY(smem);\n  " + family +
                         "::run(smem, reinterpret_cast<const StepTable *>(" + table + "), i64(" + units + "), {" + operands + ", " + parts + ", " + counters +
                         "});\n}\nLLMOPT_EXPORT(" + kernel.name + ")\n";
  SymExpr tiles = symbols.ceilDiv(tokens, symbols.constant(division.tileTokens));
  SymExpr count = symbols.mul(tiles, symbols.constant(problem_.kvHeads * chunks(division) * division.splits));
  lowered.plan.variants.push_back({kernel.name, division.limit, count, scratch});
  lowered.unit.kernels.push_back(std::move(kernel));
}

LoweredDeviceKernel PagedUnit::lower(SymContext &symbols, SymExpr tokens) {
  LoweredDeviceKernel lowered;
  lowered.unit.source = "#include \"primitives.cuh\"\n#include \"paged_attention.cuh\"\n";
  std::vector<Division> divisions = {few(), many()};
  if (std::optional<Division> matrix = prefill()) {
    lowered.unit.source += std::string("#include \"prefill_attention.cuh\"\n") + (matrix->stages ? "#include \"wgmma_attention.cuh\"\n" : "");
    divisions.back().limit = kPrefillTokens - 1;
    divisions.push_back(*matrix);
  }
  lowered.plan.selector = tokens;
  lowered.plan.states.push_back(int64_t(op_.getState()));
  for (const Division &division : divisions)
    addKernel(division, symbols, tokens, lowered);
  // What the cache adds depends on the lengths of the sequences, which are no symbols.
  int64_t floats = problem_.heads * (problem_.layout.keySize + problem_.layout.valueSize);
  lowered.plan.flops = symbols.mul(tokens, symbols.constant(2 * floats));
  lowered.plan.bytesMoved = symbols.mul(tokens, symbols.constant(4 * floats));
  return lowered;
}

} // namespace

bool cuda::takesPagedAttention(exec::KernelOp kernel) {
  llm::PagedAttentionOp op = findAttention(kernel);
  return op && cpu::traceHeads(op.getQuery()).argument;
}

Result<std::optional<LoweredDeviceKernel>> cuda::lowerPagedAttention(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target, const std::string &symbol) {
  llm::PagedAttentionOp op = findAttention(kernel);
  cpu::HeadsSource queries = op ? cpu::traceHeads(op.getQuery()) : cpu::HeadsSource();
  SymExpr tokens = op ? shapes.shapeOf(op.getQuery()).dims.front() : SymExpr();
  if (!queries.argument || !tokens.known())
    return std::optional<LoweredDeviceKernel>();
  PagedProblem problem(op, queries, kernel.getNumOperands());
  return std::optional<LoweredDeviceKernel>(PagedUnit(problem, target, symbol, productType(kernel->getParentOfType<ModuleOp>())).lower(shapes.symbols(), tokens));
}
