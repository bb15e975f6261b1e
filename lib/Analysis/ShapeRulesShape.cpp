//===- ShapeRulesShape.cpp - constants, reshapes, joins, padding, ranges --===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ShapeRules.h"

#include "llvm/ADT/TypeSwitch.h"

#include <cmath>

using namespace mlir;
using namespace llmopt;
using namespace llmopt::llm;
using namespace llmopt::shapes;

//===----------------------------------------------------------------------===//
// Constants
//===----------------------------------------------------------------------===//

static std::optional<Elements> constantElementsOf(SymContext &symbols, DenseElementsAttr value) {
  Type type = value.getElementType();
  if (value.getNumElements() > ShapeAnalysis::kMaxTracked || !tracksElementType(type))
    return std::nullopt;
  Elements elements;
  if (type.isInteger()) {
    bool isSigned = !type.isUnsignedInteger() && type.getIntOrFloatBitWidth() > 1;
    for (const APInt &element : value.getValues<APInt>()) {
      // An unsigned number past int64 has no symbolic form.
      bool fits = isSigned || element.getActiveBits() < 64;
      elements.push_back(!fits ? SymExpr() : symbols.constant(isSigned ? element.getSExtValue() : int64_t(element.getZExtValue())));
    }
    return elements;
  }
  for (const APFloat &element : value.getValues<APFloat>()) {
    double number = element.convertToDouble();
    bool integral = std::trunc(number) == number && std::abs(number) < 0x1p53;
    elements.push_back(integral ? fitted(symbols.constant(int64_t(number)), type) : SymExpr());
  }
  return elements;
}

static Inferred constantShape(Rules &rules, ConstantOp op) {
  ElementsAttr value = op.getValue();
  Dims dims;
  for (int64_t dim : value.getShapedType().getShape())
    dims.push_back(rules.c(dim));
  auto dense = dyn_cast<DenseElementsAttr>(value);
  return one(std::move(dims), dense ? constantElementsOf(rules.symbols, dense) : std::nullopt);
}

//===----------------------------------------------------------------------===//
// The same elements under another shape
//===----------------------------------------------------------------------===//

/// The product of `dims` over the product of `taken`, equal factors crossed out first: that keeps sums together, and
/// dimensions that are unknown on neither side.
static SymExpr quotientOfProducts(SymContext &symbols, Dims dims, ArrayRef<SymExpr> taken) {
  Dims divisors;
  for (SymExpr factor : taken) {
    auto same = llvm::find_if(dims, [&](SymExpr dim) { return dim == factor; });
    if (same != dims.end())
      dims.erase(same);
    else
      divisors.push_back(factor);
  }
  return symbols.floorDiv(product(symbols, dims), product(symbols, divisors));
}

static Inferred reshapeShape(Rules &rules, ReshapeOp op) {
  const ValueShape &input = rules.of(op.getInput());
  std::optional<int64_t> rank;
  if (const ValueShape &shape = rules.of(op.getShape()); shape.dims.size() == 1)
    rank = shape.dims[0].constant();
  auto declared = rules.typed ? cast<RankedTensorType>(op.getType()) : RankedTensorType();
  if (declared)
    rank = declared.getRank();
  if (!rank)
    return std::nullopt;
  Dims dims, known;
  SmallVector<size_t> open; // places whose size nothing names; with one of them it is what is left
  for (size_t i = 0; i < size_t(*rank); ++i) {
    SymExpr entry = rules.element(op.getShape(), i);
    if (entry.isConstant(0) && !op.getAllowzero())
      entry = i < input.dims.size() ? input.dims[i] : SymExpr();
    if (declared && !declared.isDynamicDim(unsigned(i)))
      entry = rules.c(declared.getDimSize(unsigned(i)));
    if (entry.isConstant(-1))
      entry = SymExpr();
    dims.push_back(entry);
    if (entry.known())
      known.push_back(entry);
    else
      open.push_back(i);
  }
  // [unknown, 64] copied by a 0 entry stays one unknown on both sides; there is nothing to solve then.
  if (open.size() == 1)
    dims[open.front()] = quotientOfProducts(rules.symbols, input.dims, known);
  return one(std::move(dims), input.elements);
}

static Inferred flattenShape(Rules &rules, FlattenOp op) {
  const ValueShape &input = rules.of(op.getInput());
  size_t axis = std::min(size_t(op.getAxis()), input.dims.size());
  ArrayRef<SymExpr> dims(input.dims);
  return one({product(rules.symbols, dims.take_front(axis)), product(rules.symbols, dims.drop_front(axis))}, input.elements);
}

static Inferred expandDimsShape(Rules &rules, ExpandDimsOp op) {
  const ValueShape &input = rules.of(op.getInput());
  Dims dims = input.dims;
  for (int64_t axis : op.getAxes())
    if (axis >= 0 && size_t(axis) <= dims.size())
      dims.insert(dims.begin() + axis, rules.c(1));
  return one(std::move(dims), input.elements);
}

static Inferred squeezeShape(Rules &rules, SqueezeOp op) {
  const ValueShape &input = rules.of(op.getInput());
  Dims dims;
  for (auto [i, dim] : llvm::enumerate(input.dims))
    if (!llvm::is_contained(op.getAxes(), int64_t(i)))
      dims.push_back(dim);
  return one(std::move(dims), input.elements);
}

static Inferred transposeShape(Rules &rules, TransposeOp op) {
  const ValueShape &input = rules.of(op.getInput());
  Dims dims;
  for (int64_t axis : op.getPermutation())
    dims.push_back(axis >= 0 && size_t(axis) < input.dims.size() ? input.dims[size_t(axis)] : SymExpr());
  auto box = trackedDims(dims), inputBox = trackedDims(input.dims);
  if (!input.elements || !box || !inputBox)
    return one(std::move(dims));
  Elements elements;
  forEachIndex(*box, [&](ArrayRef<int64_t> index) {
    SmallVector<int64_t, 4> source(index.size());
    for (auto [i, axis] : llvm::enumerate(op.getPermutation()))
      source[size_t(axis)] = index[i];
    elements.push_back((*input.elements)[size_t(broadcastOffset(source, *inputBox))]);
  });
  return one(std::move(dims), std::move(elements));
}

//===----------------------------------------------------------------------===//
// Repeated, joined, padded
//===----------------------------------------------------------------------===//

/// Elements of a result whose element at `index` is the input's at index modulo the input's dimensions.
static std::optional<Elements> repeatedElements(const ValueShape &input, ArrayRef<SymExpr> dims) {
  auto box = trackedDims(dims), inputBox = trackedDims(input.dims);
  if (!input.elements || !box || !inputBox)
    return std::nullopt;
  Elements elements;
  forEachIndex(*box, [&](ArrayRef<int64_t> index) {
    SmallVector<int64_t, 4> source(index.take_back(inputBox->size()));
    for (auto [position, dim] : llvm::zip(source, *inputBox))
      position %= dim;
    elements.push_back((*input.elements)[size_t(broadcastOffset(source, *inputBox))]);
  });
  return elements;
}

static Inferred broadcastShape(Rules &rules, BroadcastOp op) {
  const ValueShape &input = rules.of(op.getInput()), &shape = rules.of(op.getShape());
  std::optional<int64_t> length = shape.dims.size() == 1 ? shape.dims[0].constant() : std::nullopt;
  if (rules.typed && !length)
    length = cast<RankedTensorType>(op.getType()).getRank();
  if (!length)
    return std::nullopt;
  Dims target;
  for (size_t i = 0; i < size_t(*length); ++i)
    target.push_back(rules.element(op.getShape(), i));
  Dims dims = broadcastDims(rules.symbols, input.dims, target);
  auto elements = repeatedElements(input, dims);
  return one(std::move(dims), std::move(elements));
}

static Inferred tileShape(Rules &rules, TileOp op) {
  const ValueShape &input = rules.of(op.getInput());
  Dims dims;
  for (auto [i, dim] : llvm::enumerate(input.dims))
    dims.push_back(rules.symbols.mul(dim, rules.element(op.getRepeats(), i)));
  auto elements = repeatedElements(input, dims);
  return one(std::move(dims), std::move(elements));
}

static Inferred concatShape(Rules &rules, ConcatOp op) {
  size_t axis = size_t(op.getAxis());
  Dims dims = rules.of(op.getInputs().front()).dims;
  if (axis >= dims.size())
    return std::nullopt;
  bool tracked = true;
  dims[axis] = rules.c(0);
  for (Value input : op.getInputs()) {
    const ValueShape &shape = rules.of(input);
    if (shape.dims.size() != dims.size())
      return std::nullopt;
    tracked &= shape.elements && trackedDims(shape.dims);
    for (auto [i, dim] : llvm::enumerate(dims))
      dim = i == axis ? rules.symbols.add(dim, shape.dims[i]) : agreed(dim, shape.dims[i]);
  }
  auto box = trackedDims(dims);
  if (!tracked || !box)
    return one(std::move(dims));
  Elements elements;
  forEachIndex(*box, [&](ArrayRef<int64_t> index) {
    SmallVector<int64_t, 4> source(index);
    for (Value input : op.getInputs()) {
      auto inputBox = *constants(rules.of(input).dims);
      if (source[axis] < inputBox[axis]) {
        elements.push_back(rules.element(input, size_t(broadcastOffset(source, inputBox))));
        return;
      }
      source[axis] -= inputBox[axis];
    }
  });
  return one(std::move(dims), std::move(elements));
}

static Inferred padShape(Rules &rules, PadOp op) {
  const ValueShape &input = rules.of(op.getInput());
  size_t rank = input.dims.size();
  Dims dims;
  for (size_t i = 0; i < rank; ++i) {
    SymExpr both = rules.symbols.add(rules.element(op.getPads(), i), rules.element(op.getPads(), rank + i));
    dims.push_back(rules.symbols.add(input.dims[i], both));
  }
  if (rank != 1 || !input.elements || op.getMode() != PadMode::constant || !trackedDims(dims))
    return one(std::move(dims));
  std::optional<int64_t> before = rules.element(op.getPads(), 0).constant();
  if (!before)
    return one(std::move(dims));
  Elements elements;
  for (int64_t i = 0; i < *dims[0].constant(); ++i) {
    bool inside = i >= *before && i - *before < int64_t(input.elements->size());
    elements.push_back(inside ? (*input.elements)[size_t(i - *before)] : rules.element(op.getValue(), 0));
  }
  return one(std::move(dims), std::move(elements));
}

static Inferred rangeShape(Rules &rules, RangeOp op) {
  SymContext &symbols = rules.symbols;
  SymExpr start = rules.element(op.getStart(), 0), limit = rules.element(op.getLimit(), 0), delta = rules.element(op.getDelta(), 0);
  SymExpr length = symbols.max(rules.c(0), symbols.ceilDiv(symbols.sub(limit, start), delta));
  std::optional<Elements> elements;
  if (trackedDims(length)) {
    elements.emplace();
    for (int64_t i = 0; i < *length.constant(); ++i)
      elements->push_back(fitted(symbols.add(start, symbols.mul(delta, rules.c(i))),
                                 cast<RankedTensorType>(op.getStart().getType()).getElementType()));
  }
  return one({length}, std::move(elements));
}

bool Rules::inferShapeOps(Operation *op, Inferred &result) {
  return llvm::TypeSwitch<Operation *, bool>(op)
      .Case([&](ConstantOp constant) { result = constantShape(*this, constant); return true; })
      .Case([&](ShapeOp shape) {
        const Dims &dims = of(shape.getInput()).dims;
        result = one({c(int64_t(dims.size()))}, dims);
        return true;
      })
      .Case([&](ReshapeOp reshape) { result = reshapeShape(*this, reshape); return true; })
      .Case([&](FlattenOp flatten) { result = flattenShape(*this, flatten); return true; })
      .Case([&](ExpandDimsOp expand) { result = expandDimsShape(*this, expand); return true; })
      .Case([&](SqueezeOp squeeze) { result = squeezeShape(*this, squeeze); return true; })
      .Case([&](TransposeOp transpose) { result = transposeShape(*this, transpose); return true; })
      .Case([&](BroadcastOp broadcast) { result = broadcastShape(*this, broadcast); return true; })
      .Case([&](TileOp tile) { result = tileShape(*this, tile); return true; })
      .Case([&](ConcatOp concat) { result = concatShape(*this, concat); return true; })
      .Case([&](PadOp pad) { result = padShape(*this, pad); return true; })
      .Case([&](RangeOp range) { result = rangeShape(*this, range); return true; })
      .Default([](Operation *) { return false; });
}
