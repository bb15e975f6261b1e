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
  if (node.opset() < 5) {
    auto shape = node.integers("shape");
    if (!shape || !node.requireInputs(1))
      return badInput(kNode, "attribute 'shape' is missing");
    node.set(0, e.reshape(node.input(0), *shape));
    return {};
  }
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
  if (node.opset() < 6) { // how often, and along which axis
    auto count = node.constantInput(1, "tiles"), at = node.constantInput(2, "axis");
    if (!count || !at || count->size() != 1 || at->size() != 1)
      return {};
    llvm::SmallVector<int64_t> all(size_t(e.rank(x)), 1);
    if (!all.empty())
      all[size_t(e.axis(at->front(), e.rank(x)))] = count->front();
    repeats = e.vector(all);
  }
  if (e.rank(repeats) != 1 || e.staticDim(repeats, 0) != e.rank(x))
    return badInput(kNode, "repeats are " + describeType(e.analysis, repeats) + " for a tensor of rank " + std::to_string(e.rank(x)));
  if (auto known = e.ints(repeats); known && llvm::any_of(*known, [](int64_t r) { return r < 0; }))
    return badInput(kNode, "a repeat is negative");
  node.set(0, e.op("llm.tile", {x, repeats}));
  return {};
}

/// [B, C, H, W] with blocks of height and width as a dimension of their own.
Status importDepthToSpace(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  Value x = node.input(0);
  int64_t block = node.requiredInteger("blocksize", 1, 1 << 20);
  std::string mode = node.text("mode", "DCR");
  auto channels = e.staticDim(x, 1);
  if (e.rank(x) != 4 || !channels || *channels % (block * block) != 0 || (mode != "DCR" && mode != "CRD"))
    return badInput(kNode, "its input is " + describeType(e.analysis, x) + " for blocks of " + std::to_string(block) + ", mode " + mode);
  int64_t depth = *channels / (block * block);
  bool depthFirst = mode == "DCR";
  Value apart = depthFirst ? e.reshapeDims(x, {{x, 0}, block, block, depth, {x, 2}, {x, 3}})
                           : e.reshapeDims(x, {{x, 0}, depth, block, block, {x, 2}, {x, 3}});
  Value moved = depthFirst ? e.transpose(apart, {0, 3, 4, 1, 5, 2}) : e.transpose(apart, {0, 1, 4, 2, 5, 3});
  DimProduct height(x, 2), width(x, 3);
  height *= block, width *= block;
  node.set(0, e.reshapeDims(moved, {{x, 0}, depth, height, width}));
  return {};
}

Status importSpaceToDepth(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  Value x = node.input(0);
  int64_t block = node.requiredInteger("blocksize", 1, 1 << 20);
  std::string mode = node.text("mode", "DCR");
  auto channels = e.staticDim(x, 1), height = e.staticDim(x, 2), width = e.staticDim(x, 3);
  if (e.rank(x) == 4 && channels && (!height || !width))
    return unsupported(kUnsupported, "height and width of " + describeType(e.analysis, x) + " are not known when compiling");
  if (e.rank(x) != 4 || !channels || *height % block != 0 || *width % block != 0 || (mode != "DCR" && mode != "CRD"))
    return badInput(kNode, "its input is " + describeType(e.analysis, x) + " for blocks of " + std::to_string(block) + ", mode " + mode);
  Value apart = e.reshapeDims(x, {{x, 0}, *channels, *height / block, block, *width / block, block});
  Value moved = mode == "DCR" ? e.transpose(apart, {0, 3, 5, 1, 2, 4}) : e.transpose(apart, {0, 1, 3, 5, 2, 4});
  node.set(0, e.reshapeDims(moved, {{x, 0}, *channels * block * block, *height / block, *width / block}));
  return {};
}

} // namespace llmopt::onnx
