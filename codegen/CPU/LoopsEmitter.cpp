//===- LoopsEmitter.cpp - code for one element of a value -----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/LoopsEmitter.h"

#include "codegen/CPU/ConstantData.h"
#include "codegen/CPU/Elementwise.h"
#include "codegen/CPU/MathApproximationNumber.h"
#include "codegen/Common/WeightPacking.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

bool cpu::isView(Operation *op) {
  return isa_and_nonnull<llm::ReshapeOp, llm::ExpandDimsOp, llm::SqueezeOp, llm::FlattenOp>(op);
}

Value cpu::peelViews(Value value) {
  while (isView(value.getDefiningOp()))
    value = value.getDefiningOp()->getOperand(0);
  return value;
}

ElementEmitter::ElementEmitter(KernelBuilder &b, exec::KernelOp kernel, FamilyContext &context, int64_t lanes)
    : b(b), scopes(b, lanes), context(context), kernel_(kernel) {
  for (const auto &[operand, layout] : context.tables)
    setPacked(kernel.getBody().getArgument(operand), {inputGroup(layout.name), layout.outputsFirst});
}

void ElementEmitter::fail(Operation *op, std::string what) {
  if (status_.ok())
    status_ = unsupported("E0910", op->getName().getStringRef().str() + ": " + what);
}

SymExpr ElementEmitter::product(ArrayRef<SymExpr> dims) {
  SymExpr result = symbols().constant(1);
  for (SymExpr dim : dims)
    result = symbols().mul(result, dim);
  return result;
}

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

unsigned ElementEmitter::levelOf(At at) const {
  unsigned level = 0;
  for (const Index &index : at)
    level = std::max(level, index.level);
  return level;
}

bool ElementEmitter::readsOverride(Value value) const {
  SmallVector<Value> work{value};
  llvm::DenseSet<Value> seen;
  while (!overrides_.empty() && !work.empty()) {
    Value next = work.pop_back_val();
    if (overrides_.count(next))
      return true;
    if (Operation *op = next.getDefiningOp(); op && seen.insert(next).second)
      llvm::append_range(work, op->getOperands());
  }
  return false;
}

bool ElementEmitter::uniform(At at) const {
  return llvm::all_of(at, [](const Index &index) { return index.uniform(); });
}

Value ElementEmitter::element(Value value, At at) {
  LoopScopes::ElementKey key{value.getAsOpaquePointer(), {}};
  for (const Index &index : at)
    key.second.push_back(index.key());
  if (Value known = scopes.knownElement(key))
    return known;
  // Coordinates of dimensions of size 1 are known before all loops; what a row gave is not.
  unsigned level = levelOf(at);
  if (readsOverride(value))
    level = std::max(level, std::min(overrideDepth_, scopes.depth()));
  Value result = scopes.at(level, [&] { return compute(value, at); });
  if (!result) { // something failed below; keep the code well formed
    if (status_.ok())
      fail(kernel_, "a value cannot be computed element by element");
    result = zero(elementType(value), !uniform(at));
  }
  scopes.rememberElement(level, std::move(key), result);
  return result;
}

Value ElementEmitter::compute(Value value, At at) {
  if (auto it = overrides_.find(value); it != overrides_.end())
    return it->second(at);
  if (Value base = leafBase(value))
    return load(value, packed_.count(value) ? packedOffset(value, at) : scopes.linearize(dims(value), at));
  Operation *op = value.getDefiningOp();
  if (op->hasTrait<llm::Elementwise>())
    return emitElementwiseOp(op, at);
  if (auto constant = dyn_cast<llm::ConstantOp>(op))
    return emitConstant(constant, at);
  if (auto reduce = dyn_cast<llm::ReduceOp>(op))
    return emitReduce(reduce, at);
  if (auto reduce = dyn_cast<llm::ArgReduceOp>(op))
    return emitArgReduce(reduce, at);
  if (isa<llm::GatherOp, llm::GatherElementsOp, llm::GatherNDOp, llm::EmbeddingOp>(op))
    return emitIndexingOp(op, at);
  if (isa<llm::MatMulOp, llm::LinearOp, llm::ConvOp, llm::WindowsOp, llm::RopeOp>(op))
    return emitContraction(op, at);
  return emitShapeOp(op, at);
}

Value ElementEmitter::zero(Type elementType, bool lanes, int64_t value) {
  Type type = registerType(elementType);
  if (lanes)
    type = b.vec(scopes.lanes, type);
  return isa<FloatType>(registerType(elementType)) ? b.constant(type, double(value)) : b.constantInt(type, value);
}

Value ElementEmitter::matchLanes(Value value, bool lanes) {
  if (!lanes || isa<VectorType>(value.getType()))
    return value;
  return b.splat(value, b.vec(scopes.lanes, value.getType()));
}

Value ElementEmitter::emitElementwiseOp(Operation *op, At at) {
  SmallVector<Value> operands;
  ArrayRef<SymExpr> to = dims(op->getResult(0));
  bool lanes = false;
  for (Value operand : op->getOperands()) {
    operands.push_back(element(operand, broadcastTo(to, at, dims(operand))));
    lanes |= isa<VectorType>(operands.back().getType());
  }
  for (Value &operand : operands)
    operand = matchLanes(operand, lanes);
  Value result = emitElementwise(b, op, operands);
  if (!result)
    fail(op, "has no code for this element type");
  return result;
}

//===----------------------------------------------------------------------===//
// Leaves
//===----------------------------------------------------------------------===//

/// The one value of a splat or one-element constant.
static Attribute splatOf(llm::ConstantOp op) {
  auto dense = dyn_cast<DenseElementsAttr>(op.getValue());
  if (!dense || !(dense.isSplat() || dense.getNumElements() == 1))
    return {};
  return *dense.value_begin<Attribute>();
}

Value ElementEmitter::leafBase(Value value) {
  if (auto argument = dyn_cast<BlockArgument>(value))
    return b.buffer(argument.getArgNumber());
  auto constant = value.getDefiningOp<llm::ConstantOp>();
  if (!constant || splatOf(constant))
    return {};
  Value &base = constants_[value];
  if (!base)
    base = constantData(b, context.module, constant.getValue(), context.symbol + "_c" + std::to_string(constants_.size()));
  return base;
}

Value ElementEmitter::emitConstant(llm::ConstantOp op, At) {
  Type type = registerType(elementType(op));
  Attribute value = splatOf(op);
  if (auto number = dyn_cast<FloatAttr>(value))
    return b.constant(type, number.getValueAsDouble());
  auto integer = cast<IntegerAttr>(value).getValue();
  return b.constantInt(type, integer.getBitWidth() == 1 ? integer.getZExtValue() : integer.getSExtValue());
}

/// Panels of 16 outputs, groups of inputs inside, the outputs of a group inside that.
Index ElementEmitter::packedOffset(Value leaf, At at) {
  const PackedMatrix &matrix = packed_.lookup(leaf);
  Index output = at[matrix.outputsFirst ? 0 : 1], input = at[matrix.outputsFirst ? 1 : 0];
  Index columns = scopes.constant(kPanelColumns), group = scopes.constant(matrix.inputGroup);
  Index groups = scopes.dim(symbols().ceilDiv(dims(leaf)[matrix.outputsFirst ? 1 : 0], symbols().constant(matrix.inputGroup)));
  Index panel = scopes.floorDiv(output, columns), column = scopes.mod(output, columns);
  Index outer = scopes.mul(scopes.mul(panel, groups), scopes.mul(columns, group));
  Index inner = scopes.add(scopes.mul(scopes.floorDiv(input, group), scopes.mul(columns, group)), scopes.mod(input, group));
  return scopes.add(scopes.add(outer, scopes.mul(column, group)), inner);
}

Value ElementEmitter::load(Value leaf, Index offset) {
  Type type = elementType(leaf);
  Value base = leafBase(leaf);
  return scopes.at(offset.level, [&]() -> Value {
    if (offset.kind == Index::Kind::Uniform)
      return loadElements(b, type, 0, base, scopes.scalar(offset));
    if (offset.kind == Index::Kind::Contiguous)
      return loadElements(b, type, scopes.lanes, base, scopes.scalar(offset));
    Value result = zero(type, /*lanes=*/true);
    for (int64_t lane = 0; lane < scopes.lanes; ++lane) {
      Value one = vector::ExtractOp::create(b.ops(), b.loc(), offset.value, lane);
      result = vector::InsertOp::create(b.ops(), b.loc(), loadElements(b, type, 0, base, one), result, lane);
    }
    return result;
  });
}

//===----------------------------------------------------------------------===//
// Coordinates
//===----------------------------------------------------------------------===//

ElementEmitter::Coordinates ElementEmitter::broadcastTo(ArrayRef<SymExpr> to, At at, ArrayRef<SymExpr> from) {
  Coordinates result;
  size_t skipped = to.size() - from.size();
  for (size_t i = 0; i < from.size(); ++i) {
    const Index &index = at[i + skipped];
    if (from[i].isConstant(1)) {
      result.push_back(scopes.constant(0));
    } else if (from[i] == to[i + skipped] || from[i].constant() || index.is(0)) {
      result.push_back(index);
    } else { // equal to the result's, or 1: told at run time
      Index size = scopes.dim(from[i]);
      Value repeats = scopes.at(size.level, [&] { return b.equal(scopes.scalar(size), b.index(1)); });
      result.push_back(scopes.select(repeats, size.level, scopes.constant(0), index));
    }
  }
  return result;
}

Index ElementEmitter::sizeEntry(Value sizes, int64_t i) {
  const ValueShape &known = shape(sizes);
  if (known.elements && size_t(i) < known.elements->size() && (*known.elements)[i].known())
    return scopes.dim((*known.elements)[i]);
  Coordinates at;
  if (!known.dims.empty())
    at.push_back(scopes.constant(i));
  Value value = element(sizes, at);
  return scopes.at(0, [&] {
    if (value.getType() != b.i64())
      return scopes.wrap(arith::ExtSIOp::create(b.ops(), b.loc(), b.i64(), value), 0);
    return scopes.wrap(value, 0);
  });
}

Index ElementEmitter::indexFrom(Value element, Type elementType, unsigned level, SymExpr size) {
  return scopes.at(level, [&] {
    Value wide = element;
    if (!elementType.isInteger(64))
      wide = arith::ExtSIOp::create(b.ops(), b.loc(), withElement(element.getType(), b.i64()), element);
    Index bound = scopes.dim(size), zero = scopes.constant(0), raw = scopes.wrap(wide, level);
    Index wrapped = scopes.select(scopes.less(raw, zero), level, scopes.add(raw, bound), raw);
    return scopes.max(scopes.min(wrapped, scopes.sub(bound, scopes.constant(1))), zero);
  });
}

Value ElementEmitter::number(Index index, Type elementType) {
  return scopes.at(index.level, [&]() -> Value {
    Value wide = scopes.materialize(index);
    Type type = withElement(wide.getType(), registerType(elementType));
    if (isa<FloatType>(registerType(elementType)))
      return arith::SIToFPOp::create(b.ops(), b.loc(), type, wide);
    if (type == wide.getType())
      return wide;
    return arith::TruncIOp::create(b.ops(), b.loc(), type, wide);
  });
}

//===----------------------------------------------------------------------===//
// Flat nests
//===----------------------------------------------------------------------===//

bool ElementEmitter::canEmitFlat(Value value) {
  SmallVector<Value> work{value};
  llvm::DenseSet<Value> seen;
  while (!work.empty()) {
    Value next = peelViews(work.pop_back_val());
    if (!seen.insert(next).second || overrides_.count(next) || isa<BlockArgument>(next) || next.getDefiningOp<llm::ConstantOp>())
      continue;
    Operation *op = next.getDefiningOp();
    if (!op->hasTrait<llm::Elementwise>())
      return false;
    for (Value operand : op->getOperands()) {
      if (product(dims(operand)).isConstant(1) || llvm::equal(dims(operand), dims(next)))
        work.push_back(operand);
      else
        return false;
    }
  }
  return true;
}

Value ElementEmitter::flatElement(Value value, Index flat) {
  value = peelViews(value);
  bool single = product(dims(value)).isConstant(1);
  if (single)
    flat = scopes.constant(0);
  LoopScopes::ElementKey key{value.getAsOpaquePointer(), {flat.key(), flat.key()}}; // never the key of element()
  key.second.append(dims(value).size(), flat.key());
  if (Value known = scopes.knownElement(key))
    return known;
  Value result = scopes.at(flat.level, [&]() -> Value {
    if (auto it = overrides_.find(value); it != overrides_.end())
      return it->second(At(flat));
    if (leafBase(value))
      return load(value, flat);
    if (auto constant = value.getDefiningOp<llm::ConstantOp>())
      return emitConstant(constant, {});
    Operation *op = value.getDefiningOp();
    SmallVector<Value> operands;
    for (Value operand : op->getOperands())
      operands.push_back(flatElement(operand, flat));
    bool lanes = llvm::any_of(operands, [](Value v) { return isa<VectorType>(v.getType()); });
    for (Value &operand : operands)
      operand = matchLanes(operand, lanes);
    return emitElementwise(b, op, operands);
  });
  if (!result) {
    fail(value.getDefiningOp(), "has no code for this element type");
    return zero(elementType(value), !flat.uniform());
  }
  scopes.rememberElement(flat.level, std::move(key), result);
  return result;
}
