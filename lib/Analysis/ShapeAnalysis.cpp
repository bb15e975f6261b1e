//===- ShapeAnalysis.cpp - shapes in symbols ------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Analysis/ShapeAnalysis.h"

#include "ShapeRules.h"

#include "llmopt/dialects/Exec/Exec.h"

#include "mlir/Interfaces/FunctionInterfaces.h"

using namespace mlir;
using namespace llmopt;

static RankedTensorType tensorType(Value value) { return dyn_cast<RankedTensorType>(value.getType()); }

/// What the type alone says.
static ValueShape shapeOfType(SymContext &symbols, Type type) {
  ValueShape shape;
  if (auto tensor = dyn_cast<RankedTensorType>(type))
    for (int64_t dim : tensor.getShape())
      shape.dims.push_back(ShapedType::isDynamic(dim) ? SymExpr() : symbols.constant(dim));
  return shape;
}

/// Static dimensions of the declared type win; of another rank, the inferred shape is not believed at all.
static void mergeType(SymContext &symbols, ValueShape &shape, Type type) {
  ValueShape declared = shapeOfType(symbols, type);
  if (declared.dims.size() != shape.dims.size()) {
    shape = std::move(declared);
    return;
  }
  for (auto [dim, fixed] : llvm::zip(shape.dims, declared.dims))
    if (fixed.known())
      dim = fixed;
  std::optional<SmallVector<int64_t, 4>> box = shapes::trackedDims(shape.dims);
  if (shape.elements && (!box || ShapedType::getNumElements(*box) != int64_t(shape.elements->size())))
    shape.elements.reset();
}

//===----------------------------------------------------------------------===//
// Records
//===----------------------------------------------------------------------===//

const ValueShape *ShapeAnalysis::find(Value value) const {
  auto it = shapes_.find(value);
  return it == shapes_.end() ? nullptr : it->second.get();
}

void ShapeAnalysis::set(Value value, ValueShape shape) {
  std::unique_ptr<ValueShape> &slot = shapes_[value];
  if (slot)
    *slot = std::move(shape);
  else
    slot = std::make_unique<ValueShape>(std::move(shape));
}

void ShapeAnalysis::forget(Operation *op) {
  op->walk([&](Operation *inner) {
    for (Value result : inner->getResults())
      shapes_.erase(result);
    for (Region &region : inner->getRegions())
      for (Block &block : region)
        for (Value argument : block.getArguments())
          shapes_.erase(argument);
  });
}

void ShapeAnalysis::assume(SymExpr lhs, SymExpr rhs, Location location) {
  auto same = [&](const ShapeAssumption &old) { return old.lhs == lhs && old.rhs == rhs; };
  if (!symbols_.provenLessEqual(lhs, rhs) && llvm::none_of(assumptions_, same))
    assumptions_.push_back({lhs, rhs, location});
}

void ShapeAnalysis::assumeSize(SymExpr size, Location location) {
  SymExpr zero = symbols_.constant(0);
  if (!size.known() || size.constant() || symbols_.provenLessEqual(zero, size))
    return;
  assume(zero, size, location);
  sizes_.push_back(size);
}

RankedTensorType ShapeAnalysis::typeOf(const ValueShape &shape, Type elementType) {
  SmallVector<int64_t> dims;
  for (SymExpr dim : shape.dims) {
    std::optional<int64_t> size = dim.constant();
    dims.push_back(size && *size >= 0 ? *size : ShapedType::kDynamic);
  }
  return RankedTensorType::get(dims, elementType);
}

std::optional<SmallVector<int64_t>> ShapeAnalysis::constantElements(Value value) {
  const ValueShape &shape = shapeOf(value);
  auto values = shape.elements ? shapes::constants(*shape.elements) : std::nullopt;
  return values ? std::optional(SmallVector<int64_t>(ArrayRef<int64_t>(*values))) : std::nullopt;
}

//===----------------------------------------------------------------------===//
// Where shapes come from
//===----------------------------------------------------------------------===//

/// A symbol for a dimension nobody named, which no other argument of the module can have.
static SymExpr freshDimension(SymContext &symbols, FunctionOpInterface function, unsigned argument, size_t dim) {
  std::string name;
  if (auto given = function.getArgAttrOfType<StringAttr>(argument, "llm.name"))
    name = given.str();
  else
    name = "arg" + std::to_string(argument);
  return symbols.symbol(function.getName().str() + "." + name + "." + std::to_string(dim));
}

static ValueShape functionArgument(SymContext &symbols, FunctionOpInterface function, BlockArgument argument) {
  ValueShape shape = shapeOfType(symbols, argument.getType());
  unsigned number = argument.getArgNumber();
  auto names = function.getArgAttrOfType<ArrayAttr>(number, llm::kDimsAttr);
  for (auto [i, dim] : llvm::enumerate(shape.dims)) {
    if (dim.known())
      continue;
    Attribute given = names && i < names.size() ? names[i] : Attribute();
    if (auto text = dyn_cast_or_null<StringAttr>(given); text && !text.empty() && text != "?")
      dim = symbols.parse(text.getValue());
    else if (auto size = dyn_cast_or_null<IntegerAttr>(given); size && size.getInt() >= 0)
      dim = symbols.constant(size.getInt());
    else
      dim = freshDimension(symbols, function, number, i);
  }
  return shape;
}

void ShapeAnalysis::seedArguments(Block &block) {
  Operation *parent = block.getParentOp();
  auto function = dyn_cast_or_null<FunctionOpInterface>(parent);
  auto kernel = dyn_cast_or_null<exec::KernelOp>(parent);
  for (BlockArgument argument : block.getArguments()) {
    if (function && block.isEntryBlock())
      set(argument, functionArgument(symbols_, function, argument));
    else if (kernel && argument.getArgNumber() < kernel.getInputs().size())
      set(argument, shapeOf(kernel.getInputs()[argument.getArgNumber()]));
    else
      set(argument, shapeOfType(symbols_, argument.getType()));
  }
}

void ShapeAnalysis::run(Operation *function) {
  // Symbols are those of one function, and so is what is known of them. Sizes that windows leave are known first, wherever they stand:
  // what else counts as many is the same expression then.
  sizes_.clear();
  function->walk([&](Operation *op) {
    if (isa<llm::ConvOp, llm::WindowsOp>(op))
      shapeOf(op->getResult(0));
  });
  for (Region &region : function->getRegions())
    for (Block &block : region) {
      seedArguments(block);
      for (Operation &op : block)
        infer(&op);
    }
}

const ValueShape &ShapeAnalysis::shapeOf(Value value) {
  // A stack of our own: graphs are deeper than what the machine's stack is good for.
  SmallVector<Value> pending{value};
  while (!pending.empty()) {
    Value next = pending.back();
    if (find(next)) {
      pending.pop_back();
      continue;
    }
    Operation *op = next.getDefiningOp();
    if (!op) {
      seedArguments(*cast<BlockArgument>(next).getOwner());
      continue;
    }
    size_t before = pending.size();
    for (Value operand : op->getOperands())
      if (!find(operand))
        pending.push_back(operand);
    if (pending.size() == before)
      infer(op);
  }
  return *find(value);
}

SmallVector<ValueShape, 1> ShapeAnalysis::infer(Operation *op) {
  for (Value operand : op->getOperands())
    shapeOf(operand);
  SmallVector<ValueShape, 1> results;
  if (isa<exec::KernelOp>(op)) {
    inferKernel(op);
    for (Value result : op->getResults())
      results.push_back(shapeOf(result));
    return results;
  }
  results = inferKnownOperands(op, /*typed=*/true);
  for (auto [result, shape] : llvm::zip(op->getResults(), results))
    set(result, shape);
  return results;
}

void ShapeAnalysis::inferKernel(Operation *op) {
  auto kernel = cast<exec::KernelOp>(op);
  Block &body = kernel.getBody().front();
  seedArguments(body);
  for (Operation &inner : body)
    infer(&inner);
  for (auto [result, yielded] : llvm::zip(op->getResults(), body.getTerminator()->getOperands())) {
    ValueShape shape = shapeOf(yielded);
    mergeType(symbols_, shape, result.getType());
    set(result, std::move(shape));
  }
}

SmallVector<ValueShape, 1> ShapeAnalysis::inferKnownOperands(Operation *op, bool typed) {
  shapes::Rules rules{*this, symbols_, typed};
  SymContext::Premises premises(symbols_, sizes_);
  shapes::Inferred inferred;
  bool tensors = llvm::all_of(op->getOperands(), tensorType) && llvm::all_of(op->getResults(), tensorType);
  if (tensors)
    rules.inferElementwise(op, inferred) || rules.inferShapeOps(op, inferred) || rules.inferIndexing(op, inferred) ||
        rules.inferContractions(op, inferred);
  SmallVector<ValueShape, 1> results = inferred ? std::move(*inferred) : SmallVector<ValueShape, 1>();
  if (!typed)
    return results;
  for (auto [i, result] : llvm::enumerate(op->getResults())) {
    if (i >= results.size())
      results.push_back(shapeOfType(symbols_, result.getType()));
    else
      mergeType(symbols_, results[i], result.getType());
  }
  return results;
}

//===----------------------------------------------------------------------===//
// Building operations
//===----------------------------------------------------------------------===//

/// The element types of the results of `name`, by each operation's rule.
static SmallVector<Type, 2> resultElementTypes(OperationName name, ValueRange operands, ArrayRef<NamedAttribute> attributes,
                                               Type given) {
  Builder builder(name.getContext());
  auto element = [&](size_t i) -> Type {
    auto type = i < operands.size() ? tensorType(operands[i]) : RankedTensorType();
    return type ? type.getElementType() : Type(builder.getF32Type());
  };
  auto is = [&](auto... op) { return ((name.getStringRef() == decltype(op)::type::getOperationName()) || ...); };
  using std::type_identity;
  if (is(type_identity<llm::CacheAppendOp>()))
    return {};
  if (is(type_identity<llm::TopKOp>()))
    return {given ? given : element(0), builder.getI64Type()};
  if (is(type_identity<llm::GroupRowsOp>()))
    return {builder.getI32Type(), builder.getI32Type()};
  if (given)
    return {given};
  if (is(type_identity<llm::CompareOp>(), type_identity<llm::IsNanOp>(), type_identity<llm::IsInfOp>()))
    return {builder.getI1Type()};
  if (is(type_identity<llm::ShapeOp>(), type_identity<llm::ArgReduceOp>()))
    return {builder.getI64Type()};
  if (is(type_identity<llm::SelectOp>(), type_identity<llm::EmbeddingOp>()))
    return {element(1)};
  if (is(type_identity<llm::MatMulOp>()) && element(0).isInteger(8))
    return {builder.getI32Type()};
  if (is(type_identity<llm::MatMulOp>()) && isa<Float8E4M3FNType>(element(0)))
    return {builder.getF32Type()};
  if (is(type_identity<llm::ConstantOp>()))
    for (NamedAttribute attribute : attributes)
      if (auto elements = dyn_cast<ElementsAttr>(attribute.getValue()))
        return {elements.getElementType()};
  return {element(0)};
}

Operation *llmopt::createInferred(OpBuilder &builder, Location loc, ShapeAnalysis &analysis, StringRef opName,
                                  ValueRange operands, ArrayRef<NamedAttribute> attributes, Type elementType) {
  OperationName name(opName, builder.getContext());
  if (!name.isRegistered())
    return nullptr;
  OperationState state(loc, name);
  state.addOperands(operands);
  state.addAttributes(attributes);
  for (Type element : resultElementTypes(name, operands, attributes, elementType))
    state.addTypes(RankedTensorType::get({}, element));
  // The rules want an operation to look at: it is made with placeholder types and put into the block when they are right.
  Operation *op = Operation::create(state);
  for (Value operand : operands)
    analysis.shapeOf(operand);
  SmallVector<ValueShape, 1> results = analysis.inferKnownOperands(op, /*typed=*/false);
  if (results.size() != op->getNumResults()) {
    op->destroy();
    return nullptr;
  }
  for (auto [result, shape] : llvm::zip(op->getResults(), results)) {
    result.setType(ShapeAnalysis::typeOf(shape, cast<RankedTensorType>(result.getType()).getElementType()));
    analysis.set(result, std::move(shape));
  }
  return builder.insert(op);
}
