//===- PagedAttention.cpp - attention over the cache, by a written kernel -===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/PagedAttention.h"

#include "codegen/CPU/PagedAttentionWriter.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/bit.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cuda;
using cpu::PagedProblem;

namespace {

constexpr int64_t kFewTokens = 16; ///< steps of at most this many tokens share the keys of a sequence between blocks
constexpr int64_t kWarps = 8, kMostSplits = 16;

/// How a variant divides the work; numbers as the family's constants have them.
struct Division {
  std::string suffix;
  int64_t limit, tileTokens, rows, splits;
};

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
  PagedUnit(const PagedProblem &problem, const std::string &symbol) : problem_(problem), op_(problem.op), symbol_(symbol) {
    values_ = (problem.layout.valueSize + 15) / 16 * 4; // registers of a lane for one row
  }
  LoweredDeviceKernel lower(SymContext &symbols, SymExpr tokens);

private:
  int64_t rowsAtOnce(int64_t wanted) const;
  Division few() const;
  Division many() const;
  std::string problemText(const Division &division);
  void addKernel(const Division &division, SymContext &symbols, SymExpr tokens, LoweredDeviceKernel &lowered);
  int64_t chunks(const Division &division) const { return (division.tileTokens * problem_.group() + division.rows - 1) / division.rows; }
  int64_t partFloats(const Division &division) const { return division.rows * (problem_.layout.valueSize + 2); }

  const PagedProblem &problem_;
  llm::PagedAttentionOp op_;
  const std::string &symbol_;
  int64_t values_;
};

/// A power of two, as many as registers hold.
int64_t PagedUnit::rowsAtOnce(int64_t wanted) const {
  int64_t rows = 8;
  while (rows > 1 && (rows / 2 >= wanted || rows * values_ > (rows == 8 ? 64 : 128)))
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

std::string floatText(const llvm::APFloat &value) {
  return "floatOf(0x" + llvm::utohexstr(llvm::bit_cast<uint32_t>(value.convertToFloat())) + "u)";
}

std::string PagedUnit::problemText(const Division &division) {
  llm::RopeOp rope = problem_.queries.rope;
  int64_t pairs = rope ? cast<RankedTensorType>(rope.getFrequencies().getType()).getDimSize(0) : 0;
  int64_t biasWidth = op_.getBias() ? cast<RankedTensorType>(op_.getBias().getType()).getDimSize(1) : 0;
  bool narrow = rope && getElementTypeOrSelf(rope.getPositions().getType()).isInteger(32);
  std::string text = "struct Problem" + division.suffix + " {\n  typedef float Cache;\n  typedef " + (narrow ? "i32" : "i64") + " Position;\n";
  auto number = [&](const char *name, int64_t value) { text += std::string("  static constexpr int ") + name + " = " + std::to_string(value) + ";\n"; };
  number("kHeads", problem_.heads);
  number("kKvHeads", problem_.kvHeads);
  number("kKeySize", problem_.layout.keySize);
  number("kValueSize", problem_.layout.valueSize);
  number("kTileTokens", division.tileTokens);
  number("kRows", division.rows);
  number("kWarps", kWarps);
  number("kSplits", division.splits);
  number("kTable", int64_t(op_.getGroup()));
  number("kWindow", int64_t(op_.getWindow()));
  number("kPairs", pairs);
  number("kBiasWidth", biasWidth);
  auto flag = [&](const char *name, bool value) { text += std::string("  static constexpr bool ") + name + " = " + (value ? "true" : "false") + ";\n"; };
  flag("kCausal", op_.getCausal());
  flag("kInterleaved", rope && rope.getInterleaved());
  auto function = [&](const char *name, const llvm::APFloat &value) {
    text += std::string("  DEVICE_MEMBER static float ") + name + "() { return " + floatText(value) + "; }\n";
  };
  function("scale", op_.getScale());
  function("softcap", op_.getSoftcap());
  function("ropeScale", rope ? rope.getScale() : llvm::APFloat(1.0f));
  return text + "};\n";
}

void PagedUnit::addKernel(const Division &division, SymContext &symbols, SymExpr tokens, LoweredDeviceKernel &lowered) {
  using Kind = DeviceParameter::Kind;
  DeviceKernel kernel;
  kernel.name = symbol_ + division.suffix;
  kernel.threads = 32 * kWarps;
  kernel.family = "PagedAttention";
  kernel.sharedBytes = uint32_t((division.rows * problem_.layout.keySize + kWarps * division.rows * 16 + kWarps * partFloats(division)) * 4 + 16);
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
  std::string problem = "Problem" + division.suffix, family = "PagedAttention<" + problem + ">", counters = "nullptr", parts = counters, data;
  llm::RopeOp rope = problem_.queries.rope;
  std::string operands = buffer(problem_.queries.argument, "float");
  operands += ", " + buffer(rope ? cpu::throughViews(rope.getPositions()) : Value(), problem + "::Position");
  operands += ", " + buffer(rope ? cpu::throughViews(rope.getFrequencies()) : Value(), "float");
  for (Value operand : {Value(op_.getSlopes()), Value(op_.getBias()), Value(op_.getSinks())})
    operands += ", " + buffer(operand, "float");
  operands += ", reinterpret_cast<const float *>(" + pass(Kind::Buffer, problem_.state) + "), reinterpret_cast<float *>(" +
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
  lowered.unit.source += problemText(division) + data + "extern \"C\" GLOBAL void LAUNCH_BOUNDS(" + std::to_string(kernel.threads) + ") " + kernel.name + "(" +
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
  lowered.plan.selector = tokens;
  lowered.plan.states.push_back(int64_t(op_.getState()));
  for (const Division &division : {few(), many()})
    addKernel(division, symbols, tokens, lowered);
  // What the cache adds depends on the lengths of the sequences, which are no symbols.
  int64_t floats = problem_.heads * (problem_.layout.keySize + problem_.layout.valueSize);
  lowered.plan.flops = symbols.mul(tokens, symbols.constant(2 * floats));
  lowered.plan.bytesMoved = symbols.mul(tokens, symbols.constant(4 * floats));
  return lowered;
}

} // namespace

Result<std::optional<LoweredDeviceKernel>> cuda::lowerPagedAttention(exec::KernelOp kernel, ShapeAnalysis &shapes, const std::string &symbol) {
  llm::PagedAttentionOp op = findAttention(kernel);
  cpu::HeadsSource queries = op ? cpu::traceHeads(op.getQuery()) : cpu::HeadsSource();
  SymExpr tokens = op ? shapes.shapeOf(op.getQuery()).dims.front() : SymExpr();
  if (!queries.argument || !tokens.known())
    return std::optional<LoweredDeviceKernel>();
  PagedProblem problem(op, queries, kernel.getNumOperands());
  return std::optional<LoweredDeviceKernel>(PagedUnit(problem, symbol).lower(shapes.symbols(), tokens));
}
