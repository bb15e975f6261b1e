//===- StridedLayout.cpp - where elements lie behind views ----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Analysis/StridedLayout.h"

#include "llmopt/dialects/LLM/LLM.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace llmopt;

using Layout = std::optional<StridedLayout>;
using Dims = SmallVector<SymExpr, 4>;

StridedLayout StridedLayout::rowMajor(SymContext &symbols, ArrayRef<SymExpr> dims) {
  StridedLayout layout{Dims(dims), Dims(dims.size()), symbols.constant(0)};
  SymExpr stride = symbols.constant(1);
  for (size_t i = dims.size(); i-- > 0;) {
    layout.strides[i] = stride;
    stride = symbols.mul(stride, dims[i]);
  }
  return layout;
}

bool llmopt::movesNothing(Operation *op) { return llm::isView(op) || isa<llm::TransposeOp, llm::SliceOp>(op); }

//===----------------------------------------------------------------------===//
// One operation
//===----------------------------------------------------------------------===//

/// Old dimensions [i, end) that step evenly count as one, of the last one's stride.
static bool areOneRun(SymContext &symbols, const StridedLayout &layout, size_t begin, size_t end) {
  for (size_t i = begin; i + 1 < end; ++i)
    if (!(layout.strides[i] == symbols.mul(layout.strides[i + 1], layout.dims[i + 1])))
      return false;
  return true;
}

/// How many of `dims` from `begin` on have the product `wanted`; 0 if none.
static size_t factorsOf(SymContext &symbols, ArrayRef<SymExpr> dims, size_t begin, SymExpr wanted) {
  SymExpr product = symbols.constant(1);
  for (size_t i = begin; i < dims.size(); ++i) {
    product = symbols.mul(product, dims[i]);
    if (product == wanted)
      return i + 1 - begin;
  }
  return 0;
}

/// The same elements under other dimensions: each old dimension is split, or several are joined that step evenly.
static Layout reshaped(SymContext &symbols, const StridedLayout &layout, ArrayRef<SymExpr> dims) {
  StridedLayout result{Dims(dims), Dims(dims.size()), layout.offset};
  size_t from = 0, to = 0;
  while (from < layout.dims.size() || to < dims.size()) {
    // Dimensions of size 1 step nowhere.
    if (to < dims.size() && dims[to].isConstant(1)) {
      result.strides[to++] = symbols.constant(0);
      continue;
    }
    if (from < layout.dims.size() && layout.dims[from].isConstant(1)) {
      ++from;
      continue;
    }
    if (from == layout.dims.size() || to == dims.size())
      return std::nullopt;
    size_t joined = 1, split = factorsOf(symbols, dims, to, layout.dims[from]);
    if (split == 0) {
      split = 1;
      joined = factorsOf(symbols, layout.dims, from, dims[to]);
      if (joined == 0 || !areOneRun(symbols, layout, from, from + joined))
        return std::nullopt;
    }
    SymExpr stride = layout.strides[from + joined - 1];
    for (size_t i = split; i-- > 0;) {
      result.strides[to + i] = stride;
      stride = symbols.mul(stride, dims[to + i]);
    }
    from += joined;
    to += split;
  }
  return result;
}

static Layout sliced(llm::SliceOp op, StridedLayout layout, ShapeAnalysis &shapes) {
  SymContext &symbols = shapes.symbols();
  auto starts = shapes.constantElements(op.getStarts());
  auto dims = shapes.shapeOf(op.getResult()).dims;
  if (!starts)
    return std::nullopt;
  for (auto [i, axis] : llvm::enumerate(op.getAxes())) {
    auto size = layout.dims[size_t(axis)].constant();
    int64_t start = (*starts)[i];
    if (op.getSteps()[i] != 1 || (start != 0 && !size) || !dims[size_t(axis)].known())
      return std::nullopt;
    start = start < 0 ? std::max<int64_t>(start + *size, 0) : size ? std::min(start, *size) : start;
    layout.offset = symbols.add(layout.offset, symbols.mul(symbols.constant(start), layout.strides[size_t(axis)]));
    layout.dims[size_t(axis)] = dims[size_t(axis)];
  }
  return layout;
}

static Layout through(Operation *op, const StridedLayout &layout, ShapeAnalysis &shapes) {
  if (auto slice = dyn_cast<llm::SliceOp>(op))
    return sliced(slice, layout, shapes);
  if (auto transpose = dyn_cast<llm::TransposeOp>(op)) {
    StridedLayout result{{}, {}, layout.offset};
    for (int64_t axis : transpose.getPermutation()) {
      result.dims.push_back(layout.dims[size_t(axis)]);
      result.strides.push_back(layout.strides[size_t(axis)]);
    }
    return result;
  }
  return reshaped(shapes.symbols(), layout, shapes.shapeOf(op->getResult(0)).dims);
}

/// From the layout of an operation's result to that of its input.
static Layout before(Operation *op, const StridedLayout &layout, ShapeAnalysis &shapes) {
  if (auto transpose = dyn_cast<llm::TransposeOp>(op)) {
    StridedLayout result = layout;
    for (auto [place, axis] : llvm::enumerate(transpose.getPermutation())) {
      result.dims[size_t(axis)] = layout.dims[place];
      result.strides[size_t(axis)] = layout.strides[place];
    }
    return result;
  }
  return llm::isView(op) ? reshaped(shapes.symbols(), layout, shapes.shapeOf(op->getOperand(0)).dims) : std::nullopt;
}

//===----------------------------------------------------------------------===//
// Chains
//===----------------------------------------------------------------------===//

/// The operations between, from the last to the first.
static std::optional<SmallVector<Operation *>> chain(Value value, Value source) {
  SmallVector<Operation *> ops;
  while (value != source) {
    Operation *op = value.getDefiningOp();
    if (!op || !movesNothing(op))
      return std::nullopt;
    ops.push_back(op);
    value = op->getOperand(0);
  }
  return ops;
}

static bool allKnown(ArrayRef<SymExpr> dims) { return llvm::all_of(dims, [](SymExpr dim) { return dim.known(); }); }

Layout llmopt::layoutInSource(Value value, Value source, ShapeAnalysis &shapes) {
  auto ops = chain(value, source);
  auto dims = shapes.shapeOf(source).dims;
  if (!ops || !allKnown(dims))
    return std::nullopt;
  Layout layout = StridedLayout::rowMajor(shapes.symbols(), dims);
  for (Operation *op : llvm::reverse(*ops))
    if (layout)
      layout = through(op, *layout, shapes);
  return layout;
}

Layout llmopt::layoutForResult(Value source, Value value, ShapeAnalysis &shapes) {
  auto ops = chain(value, source);
  auto dims = shapes.shapeOf(value).dims;
  if (!ops || !allKnown(dims))
    return std::nullopt;
  Layout layout = StridedLayout::rowMajor(shapes.symbols(), dims);
  for (Operation *op : *ops)
    if (layout)
      layout = before(op, *layout, shapes);
  return layout;
}
