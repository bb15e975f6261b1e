//===- ShapeRules.cpp - helpers of the shape rules ------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ShapeRules.h"

#include "llmopt/lib/Support/CheckedMath.h"

using namespace llmopt;
using namespace llmopt::shapes;

SymExpr Rules::element(mlir::Value value, size_t i) {
  const ValueShape &shape = of(value);
  return shape.elements && i < shape.elements->size() ? (*shape.elements)[i] : SymExpr();
}

Dims shapes::broadcastDims(SymContext &symbols, llvm::ArrayRef<SymExpr> a, llvm::ArrayRef<SymExpr> b) {
  if (a.size() < b.size())
    std::swap(a, b);
  Dims result(a);
  size_t offset = a.size() - b.size();
  for (size_t i = 0; i < b.size(); ++i)
    result[offset + i] = symbols.broadcast(a[offset + i], b[i]);
  return result;
}

SymExpr shapes::agreed(SymExpr a, SymExpr b) {
  if (!a.known() || !b.known())
    return a.known() ? a : b;
  auto rank = [](SymExpr expr) { return expr.constant() ? 0 : expr.node()->op == SymExpr::Node::Op::Symbol ? 1 : 2; };
  return rank(b) < rank(a) ? b : a;
}

SymExpr shapes::product(SymContext &symbols, llvm::ArrayRef<SymExpr> dims) {
  SymExpr result = symbols.constant(1);
  for (SymExpr dim : dims)
    result = symbols.mul(result, dim);
  return result;
}

std::optional<llvm::SmallVector<int64_t, 4>> shapes::constants(llvm::ArrayRef<SymExpr> exprs) {
  llvm::SmallVector<int64_t, 4> values;
  for (SymExpr expr : exprs) {
    std::optional<int64_t> value = expr.constant();
    if (!value)
      return std::nullopt;
    values.push_back(*value);
  }
  return values;
}

std::optional<llvm::SmallVector<int64_t, 4>> shapes::trackedDims(llvm::ArrayRef<SymExpr> dims) {
  auto values = constants(dims);
  if (!values)
    return std::nullopt;
  std::optional<int64_t> count = checkedElementCount({values->data(), values->size()});
  return count && *count <= ShapeAnalysis::kMaxTracked ? values : std::nullopt;
}

void shapes::forEachIndex(llvm::ArrayRef<int64_t> dims, llvm::function_ref<void(llvm::ArrayRef<int64_t>)> visit) {
  if (llvm::is_contained(dims, 0))
    return;
  llvm::SmallVector<int64_t, 4> index(dims.size(), 0);
  while (true) {
    visit(index);
    size_t axis = dims.size();
    while (axis > 0 && ++index[axis - 1] == dims[axis - 1])
      index[--axis] = 0;
    if (axis == 0)
      return;
  }
}

int64_t shapes::broadcastOffset(llvm::ArrayRef<int64_t> index, llvm::ArrayRef<int64_t> dims) {
  int64_t offset = 0;
  index = index.take_back(dims.size());
  for (size_t i = 0; i < dims.size(); ++i)
    offset = offset * dims[i] + (dims[i] == 1 ? 0 : index[i]);
  return offset;
}

bool shapes::tracksElementType(mlir::Type type) { return type.isInteger() || type.isF32() || type.isF64(); }

SymExpr shapes::fitted(SymExpr element, mlir::Type type) {
  std::optional<int64_t> value = element.constant();
  if (!value)
    return element;
  if (type.isF32() || type.isF64())
    return std::abs(double(*value)) <= (type.isF32() ? 0x1p24 : 0x1p53) ? element : SymExpr();
  unsigned width = type.getIntOrFloatBitWidth();
  if (width == 1)
    return *value == 0 || *value == 1 ? element : SymExpr();
  if (type.isUnsignedInteger())
    return *value >= 0 && (width == 64 || *value < (int64_t(1) << width)) ? element : SymExpr();
  int64_t limit = int64_t(uint64_t(1) << (width - 1));
  return width == 64 || (*value >= -limit && *value < limit) ? element : SymExpr();
}
