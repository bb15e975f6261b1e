//===- PlanBuilder.cpp - from exec.kernel lists to the plan -------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/Common/PlanBuilder.h"

#include "codegen/Common/CacheLayout.h"
#include "codegen/Common/CacheType.h"
#include "codegen/Common/ExpressionTable.h"
#include "codegen/Common/QuantizedPacking.h"
#include "codegen/Common/RenameSymbols.h"
#include "llmopt/dialects/LLM/ElementTypes.h"
#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/dialects/LLM/SourceName.h"
#include "llmopt/lib/Analysis/Projection.h"
#include "llmopt/lib/Analysis/ShapeRequirements.h"
#include "llmopt/lib/Support/Hash.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/STLExtras.h"

#include <set>

using namespace mlir;
using namespace llmopt;

namespace {

/// The operations of a kernel that touch key-value state, and the states in order of first use.
SmallVector<std::pair<Operation *, int64_t>> stateUses(exec::KernelOp kernel) {
  SmallVector<std::pair<Operation *, int64_t>> uses;
  kernel.getBody().walk([&](Operation *op) {
    if (auto append = dyn_cast<llm::CacheAppendOp>(op))
      uses.emplace_back(op, int64_t(append.getState()));
    if (auto attention = dyn_cast<llm::PagedAttentionOp>(op))
      uses.emplace_back(op, int64_t(attention.getState()));
  });
  return uses;
}

/// While it lives, the states of a kernel are numbered 0, 1, ... so that equal layers print, hash and lower alike.
class NumberedStates {
public:
  explicit NumberedStates(exec::KernelOp kernel) : uses_(stateUses(kernel)) {
    for (auto [op, state] : uses_) {
      if (!llvm::is_contained(states_, state))
        states_.push_back(state);
      setState(op, llvm::find(states_, state) - states_.begin());
    }
  }
  ~NumberedStates() {
    for (auto [op, state] : uses_)
      setState(op, state);
  }
  ArrayRef<int64_t> states() const { return states_; }

private:
  static void setState(Operation *op, int64_t state) { op->setAttr("state", Builder(op->getContext()).getI64IntegerAttr(state)); }
  SmallVector<std::pair<Operation *, int64_t>> uses_;
  SmallVector<int64_t> states_;
};

/// The symbols that a kernel's code does not know by name. Loop nests may be written by what is proven of the named ones.
std::vector<std::string> namelessSymbols(exec::KernelOp kernel, ShapeAnalysis &shapes) {
  if (!kernel.getFamily().ends_with("linear"))
    return {};
  SmallVector<const ValueShape *> all;
  for (Value input : kernel.getInputs())
    all.push_back(&shapes.shapeOf(input));
  for (Value output : kernel.getOutputs())
    all.push_back(&shapes.shapeOf(output));
  return symbolsOf(all);
}

void printShape(llvm::raw_ostream &stream, const ValueShape &shape, SymContext &symbols, const SymbolNames &names) {
  auto text = [&](SymExpr expr) { return expr.known() ? renameSymbols(symbols, expr, names).str() : "?"; };
  stream << "(";
  for (SymExpr dim : shape.dims)
    stream << text(dim) << ",";
  if (shape.elements)
    for (SymExpr element : *shape.elements)
      stream << " =" << text(element);
  stream << ")";
}

/// Text that is equal for kernels that may share code.
std::string kernelKey(exec::KernelOp kernel, ShapeAnalysis &shapes, ArrayRef<std::string> nameless) {
  SymbolNames names;
  for (auto [i, name] : llvm::enumerate(nameless))
    names[name] = "symbol" + std::to_string(i);
  std::string text;
  llvm::raw_string_ostream stream(text);
  kernel->print(stream, OpPrintingFlags().useLocalScope());
  for (Value input : kernel.getInputs())
    printShape(stream, shapes.shapeOf(input), shapes.symbols(), names);
  for (Value output : kernel.getOutputs())
    printShape(stream, shapes.shapeOf(output), shapes.symbols(), names);
  for (Operation &op : kernel.getBody().front())
    if (Projection linear = Projection::ofAny(&op))
      if (auto weight = dyn_cast<BlockArgument>(linear.getWeight()))
        if (auto quantized = findQuantizedWeight(kernel.getInputs()[weight.getArgNumber()], !linear.getTransposed()))
          stream << keyOf(*quantized);
  return text;
}

/// Sizes that the shape analysis solved: kernels get them as integers, not as tensors.
bool isSolved(const ValueShape &shape) {
  return shape.elements && llvm::all_of(*shape.elements, [](SymExpr element) { return element.known(); });
}

/// A kernel's code, and the symbols that it was made for.
struct LoweredOnce {
  LoweredKernel kernel;
  std::vector<std::string> nameless;
};

class EntryBuilder {
public:
  EntryBuilder(func::FuncOp function, plan::Plan &plan, SymContext &symbols, WeightTable &weights,
               std::map<std::string, LoweredOnce> &lowered, LowerKernelCallback lower)
      : function_(function), plan_(plan), weights_(weights), lowered_(lowered), lower_(lower), shapes_(symbols),
        expressions_(entry_), symbols_(symbols) {}

  Result<plan::Entry> build();

private:
  void addArguments();
  void collectSymbols(const SymExpr::Node *node);
  Status addKernel(exec::KernelOp kernel);
  void addTwoStages(plan::Stage stage, const LoweredKernel &code, std::vector<uint32_t> written);
  Result<LoweredKernel> lowerOnce(exec::KernelOp kernel);
  Result<uint32_t> operandBuffer(exec::KernelOp kernel, unsigned operand, const LoweredKernel &code);
  uint32_t stateBuffer(int64_t state);
  void declareStates(exec::KernelOp kernel);
  uint32_t addBuffer(Value value, std::string name, plan::BufferKind kind);
  Status addResults();
  void addRequirements();
  void placeBarriers();
  bool isUnitwise(const plan::Stage &append, const plan::Stage &attention) const;
  /// A view of a buffer of this entry (not of a weight).
  bool isNamedView(Operation *op) { return llm::isView(op) && buffers_.count(op->getOperand(0)); }
  bool isEvaluated(Value value) { return llm::isWeightExpression(value) || isSolved(shapes_.shapeOf(value)); }

  func::FuncOp function_;
  plan::Plan &plan_;
  WeightTable &weights_;
  std::map<std::string, LoweredOnce> &lowered_;
  LowerKernelCallback lower_;
  ShapeAnalysis shapes_;
  plan::Entry entry_;
  ExpressionTable expressions_;
  SymContext &symbols_;
  llvm::DenseMap<Value, uint32_t> buffers_;
  std::map<int64_t, uint32_t> stateBuffers_;
  std::map<uint32_t, uint32_t> weightBuffers_;
  /// Buffers each stage writes (outputs, appended states).
  std::vector<std::vector<uint32_t>> writes_;
};

void EntryBuilder::collectSymbols(const SymExpr::Node *node) {
  if (node->op == SymExpr::Node::Op::Symbol && !llvm::is_contained(entry_.symbols, node->name))
    entry_.symbols.push_back(node->name);
  for (const SymExpr::Node *operand : node->operands)
    collectSymbols(operand);
}

uint32_t EntryBuilder::addBuffer(Value value, std::string name, plan::BufferKind kind) {
  plan::Buffer buffer;
  buffer.name = std::move(name);
  buffer.kind = kind;
  auto type = cast<RankedTensorType>(value.getType());
  buffer.dtype = *llm::dtypeOf(type.getElementType());
  SymExpr bytes = symbols_.constant(int64_t(dtypeSize(buffer.dtype)));
  for (SymExpr dim : shapes_.shapeOf(value).dims) {
    buffer.shape.push_back(expressions_.add(dim));
    bytes = symbols_.mul(bytes, dim);
  }
  buffer.bytes = expressions_.add(bytes);
  entry_.buffers.push_back(std::move(buffer));
  return uint32_t(entry_.buffers.size() - 1);
}

void EntryBuilder::addArguments() {
  for (BlockArgument argument : function_.getArguments())
    for (SymExpr dim : shapes_.shapeOf(argument).dims)
      if (dim.known())
        collectSymbols(dim.node());
  for (BlockArgument argument : function_.getArguments()) {
    auto name = function_.getArgAttrOfType<StringAttr>(argument.getArgNumber(), "llm.name");
    std::string text = name ? name.str() : "input_" + std::to_string(argument.getArgNumber());
    buffers_[argument] = addBuffer(argument, text, plan::BufferKind::Input);
    entry_.inputs.push_back(buffers_[argument]);
  }
}

Result<LoweredKernel> EntryBuilder::lowerOnce(exec::KernelOp kernel) {
  std::vector<std::string> nameless = namelessSymbols(kernel, shapes_);
  std::string key = kernelKey(kernel, shapes_, nameless);
  if (auto it = lowered_.find(key); it != lowered_.end()) {
    SymbolNames names;
    for (auto [before, now] : llvm::zip_equal(it->second.nameless, nameless))
      names[before] = now;
    return renameSymbols(symbols_, it->second.kernel, names);
  }
  std::string symbol = kernel.getFamily().str() + "_" + hashHex(hashString(key));
  LLMOPT_ASSIGN(LoweredKernel code, lower_(kernel, shapes_, symbol));
  lowered_[key] = {code, nameless};
  return code;
}

void EntryBuilder::declareStates(exec::KernelOp kernel) {
  kernel.getBody().walk([&](llm::CacheAppendOp append) {
    size_t index = append.getState();
    if (plan_.states.size() <= index)
      plan_.states.resize(index + 1);
    auto key = cast<RankedTensorType>(append.getKey().getType()), value = cast<RankedTensorType>(append.getValue().getType());
    plan::State state;
    state.name = llm::sourceName(append.getLoc());
    state.group = uint8_t(append.getGroup());
    state.kvHeads = key.getDimSize(1);
    state.keySize = key.getDimSize(2);
    state.valueSize = value.getDimSize(2);
    state.dtype = cacheTypeOf(append);
    state.blockBytes = uint64_t(cacheBlockBytes(state.kvHeads, state.keySize, state.valueSize, state.dtype));
    plan_.states[index] = state;
  });
}

uint32_t EntryBuilder::stateBuffer(int64_t state) {
  auto [it, isNew] = stateBuffers_.emplace(state, uint32_t(entry_.buffers.size()));
  if (isNew) {
    plan::Buffer buffer;
    buffer.name = "state." + std::to_string(state);
    buffer.kind = plan::BufferKind::State;
    buffer.bytes = expressions_.constant(0);
    buffer.index = uint32_t(state);
    entry_.buffers.push_back(buffer);
  }
  return it->second;
}

Result<uint32_t> EntryBuilder::operandBuffer(exec::KernelOp kernel, unsigned operand, const LoweredKernel &code) {
  Value value = kernel.getInputs()[operand];
  if (auto it = buffers_.find(value); it != buffers_.end())
    return it->second;
  if (!llm::isWeightExpression(value))
    return internalError("E0918", "a kernel operand is neither an input, a kernel's result nor a weight", llm::sourceName(kernel.getLoc()));
  auto layout = code.weightLayouts.find(operand);
  LLMOPT_ASSIGN(uint32_t row, weights_.add(value, layout == code.weightLayouts.end() ? WeightLayout{} : layout->second));
  auto [it, isNew] = weightBuffers_.emplace(row, uint32_t(entry_.buffers.size()));
  if (isNew) {
    const plan::Weight &weight = weights_.rows()[row];
    uint32_t index = addBuffer(value, weight.name, plan::BufferKind::Weight);
    entry_.buffers[index].index = row;
    entry_.buffers[index].bytes = expressions_.constant(int64_t(weight.bytes));
  }
  return it->second;
}

Status EntryBuilder::addKernel(exec::KernelOp kernel) {
  declareStates(kernel);
  NumberedStates numbered(kernel);
  for (Value output : kernel.getOutputs())
    for (SymExpr dim : shapes_.shapeOf(output).dims)
      if (!dim.known())
        return unsupported("E0914", "the shape of a result depends on tensor data", llm::sourceName(kernel.getLoc()));
  LLMOPT_ASSIGN(const LoweredKernel code, lowerOnce(kernel));
  plan::Stage stage;
  stage.name = llm::sourceName(kernel.getLoc());
  stage.family = kernel.getFamily().str();
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i) {
    LLMOPT_ASSIGN(uint32_t buffer, operandBuffer(kernel, i, code));
    stage.bindings.push_back(buffer);
  }
  std::vector<uint32_t> written;
  for (OpResult output : kernel.getOutputs()) {
    uint32_t buffer = addBuffer(output, stage.name, plan::BufferKind::Arena);
    if (auto more = code.outputBytes.find(output.getResultNumber()); more != code.outputBytes.end())
      entry_.buffers[buffer].bytes = expressions_.add(more->second);
    buffers_[output] = buffer;
    stage.bindings.push_back(buffer);
    written.push_back(buffer);
  }
  for (int64_t ordinal : code.states) {
    stage.bindings.push_back(stateBuffer(numbered.states()[size_t(ordinal)]));
    if (stage.family == "cache_append")
      written.push_back(stage.bindings.back());
  }
  for (SymExpr dim : code.dims)
    stage.dims.push_back(expressions_.add(dim));
  stage.selector = expressions_.add(code.selector);
  for (const KernelVariant &variant : code.variants)
    stage.variants.push_back({variant.symbol, variant.limit, expressions_.add(variant.units), expressions_.add(variant.scratchBytes)});
  stage.flops = expressions_.add(code.flops);
  stage.bytesMoved = expressions_.add(code.bytesMoved);
  stage.arithmetic = code.arithmetic;
  stage.halves = true;
  if (!code.second.empty())
    return addTwoStages(std::move(stage), code, std::move(written)), Status();
  entry_.stages.push_back(std::move(stage));
  writes_.push_back(std::move(written));
  return {};
}

void EntryBuilder::addTwoStages(plan::Stage stage, const LoweredKernel &code, std::vector<uint32_t> written) {
  plan::Buffer shared;
  shared.name = stage.name;
  shared.bytes = expressions_.constant(code.sharedBytes);
  shared.shape = {expressions_.constant(code.sharedBytes / int64_t(dtypeSize(shared.dtype)))};
  written.push_back(uint32_t(entry_.buffers.size()));
  stage.bindings.push_back(uint32_t(entry_.buffers.size()));
  entry_.buffers.push_back(std::move(shared));
  plan::Stage second = stage;
  second.variants.clear();
  for (const KernelVariant &variant : code.second)
    second.variants.push_back({variant.symbol, variant.limit, expressions_.add(variant.units), expressions_.add(variant.scratchBytes)});
  second.flops = second.bytesMoved = expressions_.constant(0);
  entry_.stages.push_back(std::move(stage));
  writes_.push_back(written);
  entry_.stages.push_back(std::move(second));
  writes_.push_back(std::move(written));
}

Status EntryBuilder::addResults() {
  auto terminator = cast<func::ReturnOp>(function_.getBody().front().getTerminator());
  for (auto [i, value] : llvm::enumerate(terminator.getOperands())) {
    auto it = buffers_.find(value);
    if (it == buffers_.end() || entry_.buffers[it->second].kind != plan::BufferKind::Arena)
      return internalError("E0919", "result " + std::to_string(i) + " of '" + function_.getName().str() +
                                        "' is not written by a kernel of its own");
    plan::Buffer &buffer = entry_.buffers[it->second];
    buffer.shape.clear(); // the result may be a view of what the kernel wrote
    for (SymExpr dim : shapes_.shapeOf(value).dims)
      buffer.shape.push_back(expressions_.add(dim));
    auto name = function_.getResultAttrOfType<StringAttr>(unsigned(i), "llm.name");
    buffer.name = name ? name.str() : "output_" + std::to_string(i);
    buffer.kind = plan::BufferKind::Output;
    entry_.outputs.push_back(it->second);
  }
  return {};
}

/// Whether inputs bring values for all symbols of an expression along.
static bool isBound(const SymExpr::Node *node, ArrayRef<std::string> symbols) {
  if (node->op == SymExpr::Node::Op::Symbol)
    return llvm::is_contained(symbols, node->name);
  return llvm::all_of(node->operands, [&](const SymExpr::Node *operand) { return isBound(operand, symbols); });
}

void EntryBuilder::addRequirements() {
  static_assert(int(ShapeRequirement::Relation::OneOrEqual) == int(plan::Requirement::Relation::OneOrEqual));
  for (const ShapeRequirement &requirement : shapeRequirements(function_, shapes_))
    if (isBound(requirement.lhs.node(), entry_.symbols) && isBound(requirement.rhs.node(), entry_.symbols))
      entry_.requirements.push_back({plan::Requirement::Relation(requirement.relation), expressions_.add(requirement.lhs),
                                     expressions_.add(requirement.rhs), llm::sourceName(requirement.location)});
}

/// Whether a token's own keys and values are written and read by units of the same number. An encoder's tokens see all others.
bool EntryBuilder::isUnitwise(const plan::Stage &append, const plan::Stage &attention) const {
  return append.family == "cache_append" && attention.family == "paged_attention" &&
         append.variants.front().units == attention.variants.front().units && llvm::none_of(append.bindings, [&](uint32_t id) {
    const plan::Buffer &buffer = entry_.buffers[id];
    return buffer.kind == plan::BufferKind::State && plan_.states[buffer.index].group != 0;
  });
}

// A barrier follows a stage when the next one reads (or overwrites) what was written since the barrier before, or overwrites what was read. Only
// states are written more than once: an encoder's layers share theirs. Stages
// between two barriers may run at the same time, so their buffers must not share memory: lifetimes widen to whole groups. So may
// two stages whose barrier is left out in some steps (Stage::unitwise).
void EntryBuilder::placeBarriers() {
  std::set<uint32_t> pending, read;
  std::vector<uint32_t> groupOf(entry_.stages.size());
  uint32_t groupStart = 0;
  for (uint32_t i = 0; i < entry_.stages.size(); ++i) {
    plan::Stage &stage = entry_.stages[i];
    bool depends = llvm::any_of(stage.bindings, [&](uint32_t buffer) { return pending.count(buffer) != 0; }) ||
                   llvm::any_of(writes_[i], [&](uint32_t buffer) { return read.count(buffer) != 0; });
    if (i > 0)
      entry_.stages[i - 1].barrier = depends;
    bool unitwise = depends && groupStart + 1 == i && isUnitwise(entry_.stages[i - 1], stage);
    if (unitwise)
      entry_.stages[i - 1].unitwise = true;
    if (depends && !unitwise) {
      pending.clear();
      read.clear();
      groupStart = i;
    }
    groupOf[i] = groupStart;
    pending.insert(writes_[i].begin(), writes_[i].end());
    read.insert(stage.bindings.begin(), stage.bindings.end());
  }
  std::vector<uint32_t> groupEnd(entry_.stages.size());
  for (uint32_t i = uint32_t(entry_.stages.size()); i-- > 0;)
    groupEnd[i] = i + 1 < entry_.stages.size() && groupOf[i + 1] == groupOf[i] ? groupEnd[i + 1] : i;
  std::vector<bool> seen(entry_.buffers.size());
  for (uint32_t i = 0; i < entry_.stages.size(); ++i)
    for (uint32_t id : entry_.stages[i].bindings) {
      plan::Buffer &buffer = entry_.buffers[id];
      if (!seen[id])
        buffer.firstStage = groupOf[i];
      seen[id] = true;
      buffer.lastStage = groupEnd[i];
    }
  for (uint32_t id : entry_.outputs)
    entry_.buffers[id].lastStage = uint32_t(entry_.stages.size());
}

Result<plan::Entry> EntryBuilder::build() {
  entry_.name = function_.getName().str();
  shapes_.run(function_);
  addArguments();
  addRequirements();
  for (Operation &op : function_.getBody().front()) {
    if (auto kernel = dyn_cast<exec::KernelOp>(op))
      LLMOPT_RETURN_IF_ERROR(addKernel(kernel));
    else if (isNamedView(&op))
      buffers_[op.getResult(0)] = buffers_.lookup(op.getOperand(0));
    else if (!isa<func::ReturnOp>(op) && !isEvaluated(op.getResult(0)))
      return internalError("E0920", "'" + op.getName().getStringRef().str() + "' was left outside of all kernels", llm::sourceName(op.getLoc()));
  }
  LLMOPT_RETURN_IF_ERROR(addResults());
  placeBarriers();
  if (!expressions_.unknownSymbols().empty())
    return unsupported("E0914", "a size inside '" + entry_.name + "' depends on tensor data (" + expressions_.unknownSymbols().front() + ")");
  return std::move(entry_);
}

} // namespace

Result<plan::Plan> llmopt::buildPlan(ModuleOp module, SymContext &symbols, WeightTable &weights, LowerKernelCallback lower) {
  plan::Plan plan;
  std::map<std::string, LoweredOnce> lowered;
  for (auto function : module.getOps<func::FuncOp>()) {
    EntryBuilder builder(function, plan, symbols, weights, lowered, lower);
    LLMOPT_ASSIGN(plan::Entry entry, builder.build());
    plan.entries.push_back(std::move(entry));
  }
  plan.weights = weights.placedRows();
  return plan;
}
