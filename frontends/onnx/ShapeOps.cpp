//===- ShapeOps.cpp - the same elements in another shape ----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Node.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace llmopt::onnx {

/// Where the shape is only known from the file's declarations, the operator is a reshape to it.
static bool reshapeToDeclared(Node &node, Value input) {
  auto declared = node.declaredShape(0);
  if (declared && !llvm::is_contained(*declared, 0))
    node.set(0, node.emit.reshape(input, *declared));
  return declared && !llvm::is_contained(*declared, 0);
}

/// Axes from the attribute (older operator sets) or the input; sorted, not negative.
static std::optional<llvm::SmallVector<int64_t>> readAxes(Node &node, int64_t rank) {
  auto axes = node.integers("axes");
  if (!axes && node.input(1))
    axes = node.constantInput(1, "axes");
  if (!axes)
    return std::nullopt;
  for (int64_t &axis : *axes)
    axis = node.emit.axis(axis, rank);
  llvm::sort(*axes);
  if (std::adjacent_find(axes->begin(), axes->end()) != axes->end())
    node.emit.invalid("an axis is named twice");
  return axes;
}

Status importShape(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  int64_t rank = e.rank(node.input(0)), start = node.integer("start", 0), end = node.integer("end", rank);
  auto clamp = [&](int64_t i) { return std::clamp<int64_t>(i < 0 ? i + rank : i, 0, rank); };
  start = clamp(start), end = std::max(clamp(end), start);
  Value shape = e.shapeOf(node.input(0));
  node.set(0, start == 0 && end == rank ? shape : e.slice(shape, 0, start, end));
  return {};
}

Status importSize(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  // As a product of scalars: the analysis follows it in symbols.
  Value size = e.integer(1);
  for (int64_t i = 0; i < e.rank(node.input(0)); ++i)
    size = e.mul(size, e.dim(node.input(0), i));
  node.set(0, size);
  return {};
}

Status importReshape(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(2))
    return {};
  Value x = node.input(0), shape = node.input(1);
  if (!e.elementType(shape).isInteger(64) || e.rank(shape) != 1)
    return badInput(kNode, "the shape is " + describeType(e.analysis, shape) + ", not an i64 vector");
  auto known = e.ints(shape);
  auto declared = node.declaredShape(0);
  if (!known && declared && !llvm::is_contained(*declared, 0) && !e.staticDim(shape, 0)) {
    node.set(0, e.reshape(x, *declared));
    return {};
  }
  node.set(0, e.reshapeTo(x, shape, node.flag("allowzero")));
  return {};
}

Status importFlatten(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  int64_t rank = e.rank(node.input(0)), axis = node.integer("axis", 1);
  if (axis != rank) // one past the last is allowed: everything becomes rows
    axis = e.axis(axis, rank + (rank == 0));
  node.set(0, e.op("llm.flatten", node.input(0), e.attr("axis", axis)));
  return {};
}

Status importSqueeze(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  Value x = node.input(0);
  if (node.input(1) && !e.ints(node.input(1)) && reshapeToDeclared(node, x))
    return {};
  auto axes = readAxes(node, e.rank(x));
  if (!axes && !node.input(1)) {
    axes.emplace();
    for (int64_t i = 0; i < e.rank(x); ++i) {
      auto size = e.staticDim(x, i);
      if (!size)
        return unsupported(kUnknownShape, "without axes the result's rank depends on dimension " + std::to_string(i));
      if (*size == 1)
        axes->push_back(i);
    }
  }
  if (axes)
    node.set(0, e.squeeze(x, *axes));
  return {};
}

Status importUnsqueeze(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  Value x = node.input(0);
  if (node.input(1) && !e.ints(node.input(1)) && reshapeToDeclared(node, x))
    return {};
  auto count = node.integers("axes");
  if (!count)
    count = node.constantInput(1, "axes");
  if (!count)
    return {};
  auto axes = readAxes(node, e.rank(x) + int64_t(count->size()));
  if (axes && !e.failed())
    node.set(0, e.expandDims(x, *axes));
  return {};
}

Status importTranspose(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  auto permutation = node.integers("perm");
  if (!permutation) {
    permutation.emplace();
    for (int64_t i = e.rank(node.input(0)); i-- > 0;)
      permutation->push_back(i);
  }
  node.set(0, e.transpose(node.input(0), *permutation));
  return {};
}

Status importExpand(Node &node) {
  if (node.requireInputs(2))
    node.set(0, node.emit.broadcast(node.input(0), node.input(1)));
  return {};
}

Status importTile(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(2))
    return {};
  Value x = node.input(0), repeats = node.input(1);
  if (e.rank(repeats) != 1 || e.staticDim(repeats, 0) != e.rank(x))
    return badInput(kNode, "repeats are " + describeType(e.analysis, repeats) + " for a tensor of rank " + std::to_string(e.rank(x)));
  if (auto known = e.ints(repeats); known && llvm::any_of(*known, [](int64_t r) { return r < 0; }))
    return badInput(kNode, "a repeat is negative");
  node.set(0, e.op("llm.tile", {x, repeats}));
  return {};
}

} // namespace llmopt::onnx
