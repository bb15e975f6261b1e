//===- Slicing.cpp - parts of tensors, and tensors from parts -----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Node.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace llmopt::onnx {

using P = llm::ComparePredicate;

//===----------------------------------------------------------------------===//
// Slice
//===----------------------------------------------------------------------===//

/// Slicing where axes or steps are known only when the model runs but the result's shape is declared: along each
/// dimension, gather at start + i * step. Python's rules for negative and outside bounds are applied to the numbers.
static Status sliceAtRunTime(Node &node, Value x, Value starts, Value ends, Value axes, Value steps) {
  Emitter &e = node.emit;
  auto shape = node.declaredShape(0);
  int64_t rank = e.rank(x);
  if (!shape || int64_t(shape->size()) != rank)
    return unsupported(kUnsupported, "axes or steps come from a tensor that is not known when compiling");
  auto count = e.staticDim(starts, 0);
  if (!count || *count > rank)
    return unsupported(kUnsupported, "the number of slice bounds is not known");
  Value counted = axes ? e.cast(axes, e.i64()) : e.slice(e.range(e.integer(0), e.integer(rank)), 0, 0, *count);
  counted = e.select(e.compare(P::lt, counted, 0.0), e.add(counted, double(rank)), counted);
  for (int64_t d = 0; d < rank; ++d) {
    // The entry for this dimension, if there is one: a sum over at most one match.
    Value match = e.compare(P::eq, counted, double(d));
    Value sliced = e.reduce(llm::ReduceKind::max, match, 0, false), size = e.dim(x, d);
    auto entry = [&](Value values, Value otherwise) {
      Value chosen = e.select(match, e.cast(values, e.i64()), e.vector(0));
      return e.select(sliced, e.reduce(llm::ReduceKind::sum, chosen, 0, false), otherwise);
    };
    Value step = steps ? entry(steps, e.integer(1)) : e.integer(1), start = entry(starts, e.integer(0));
    start = e.select(e.compare(P::lt, start, 0.0), e.add(start, size), start);
    Value last = e.select(e.compare(P::lt, step, 0.0), e.sub(size, 1), size);
    start = e.min(e.max(start, e.integer(0)), last);
    Value positions = e.add(start, e.mul(e.range(e.integer(0), e.integer((*shape)[d])), step));
    x = e.gather(x, positions, d);
  }
  (void)ends; // the declared shape says where each dimension ends
  node.set(0, x);
  return {};
}

Status importSlice(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  Value x = node.input(0);
  Value starts = node.input(1), ends = node.input(2), axesInput = node.input(3), stepsInput = node.input(4);
  std::optional<llvm::SmallVector<int64_t>> axes, steps;
  if (node.opset() < 10) {
    auto from = node.integers("starts"), to = node.integers("ends");
    if (!from || !to)
      return badInput(kNode, "starts or ends are missing");
    starts = e.vector(*from), ends = e.vector(*to), axes = node.integers("axes");
    axesInput = stepsInput = Value();
  } else if (!node.requireInputs(3)) {
    return {};
  }
  if (e.rank(starts) != 1 || e.rank(ends) != 1 || e.isFloat(starts) || e.isFloat(ends))
    return badInput(kNode, "starts and ends are " + describeType(e.analysis, starts) + " and " + describeType(e.analysis, ends));
  if (axesInput && !(axes = e.ints(axesInput)))
    return sliceAtRunTime(node, x, starts, ends, axesInput, stepsInput);
  if (stepsInput && !(steps = e.ints(stepsInput)))
    return sliceAtRunTime(node, x, starts, ends, axesInput, stepsInput);
  auto count = e.staticDim(starts, 0);
  if (!count || *count > e.rank(x))
    return badInput(kNode, "starts are " + describeType(e.analysis, starts) + " for a tensor of rank " + std::to_string(e.rank(x)));
  if (!axes)
    axes = llvm::to_vector(llvm::seq<int64_t>(0, *count));
  for (int64_t &axis : *axes)
    axis = e.axis(axis, e.rank(x));
  llvm::SmallVector<int64_t> sorted(*axes);
  llvm::sort(sorted);
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end())
    return badInput(kNode, "an axis is named twice");
  if (!steps)
    steps = llvm::SmallVector<int64_t>(axes->size(), 1);
  if (steps->size() != axes->size())
    return badInput(kNode, "there are " + std::to_string(axes->size()) + " axes and " + std::to_string(steps->size()) + " steps");
  node.set(0, e.slice(x, e.cast(starts, e.i64()), e.cast(ends, e.i64()), *axes, *steps));
  return {};
}

//===----------------------------------------------------------------------===//
// Split, Concat
//===----------------------------------------------------------------------===//

/// Sizes are the numbers if they are known, else one i64 vector.
static Status splitBySizes(Node &node, int64_t axis, std::optional<llvm::SmallVector<int64_t>> sizes, Value sizesInput) {
  Emitter &e = node.emit;
  Value x = node.input(0);
  size_t outputs = size_t(std::max<int>(1, int(sizes ? sizes->size() : e.staticDim(sizesInput, 0).value_or(0))));
  if (sizes) {
    int64_t total = 0;
    for (int64_t size : *sizes)
      if (size < 0 || __builtin_add_overflow(total, size, &total))
        return badInput(kNode, "a size is negative or too large");
    if (auto dim = e.staticDim(x, axis); dim && *dim != total)
      return badInput(kNode, "the sizes add up to " + std::to_string(total) + ", the dimension is " + std::to_string(*dim));
    int64_t at = 0;
    for (auto [i, size] : llvm::enumerate(*sizes)) {
      if (node.wants(i))
        node.set(i, e.slice(x, axis, at, at + size));
      at += size;
    }
    return {};
  }
  Value at = e.vector(0), lengths = e.cast(sizesInput, e.i64());
  for (size_t i = 0; i < outputs; ++i) {
    Value end = e.add(at, e.slice(lengths, 0, int64_t(i), int64_t(i) + 1));
    if (node.wants(i))
      node.set(i, e.slice(x, at, end, axis, 1));
    at = end;
  }
  return {};
}

Status importSplit(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  Value x = node.input(0);
  int64_t axis = e.axis(node.integer("axis", 0), e.rank(x));
  auto sizes = node.integers("split");
  if (node.input(1) && !sizes)
    sizes = e.ints(node.input(1));
  if (sizes || node.input(1))
    return splitBySizes(node, axis, sizes, node.input(1));
  // Equal parts; since opset 18 the last one may be smaller.
  int64_t parts = node.has("num_outputs") ? node.requiredInteger("num_outputs", 1, 1 << 20) : int64_t(node.outputCount());
  if (parts < 1 || e.failed())
    return {};
  if (auto dim = e.staticDim(x, axis)) {
    int64_t part = (*dim + parts - 1) / parts;
    if (node.opset() < 18 && part * parts != *dim)
      return badInput(kNode, "dimension " + std::to_string(*dim) + " does not split into " + std::to_string(parts) + " equal parts");
    llvm::SmallVector<int64_t> each;
    for (int64_t i = 0, left = *dim; i < parts; ++i, left -= each.back())
      each.push_back(std::min(part, left));
    return splitBySizes(node, axis, each, {});
  }
  Value size = e.dimVector(x, axis), part = e.div(e.add(size, double(parts - 1)), double(parts));
  Value first = e.vector(0);
  for (int64_t i = 0; i < parts; ++i) {
    Value end = i + 1 == parts ? size : e.add(first, part);
    if (node.wants(size_t(i)))
      node.set(size_t(i), e.slice(x, first, end, axis, 1));
    first = end;
  }
  return {};
}

Status importConcat(Node &node) {
  Emitter &e = node.emit;
  if (node.inputCount() == 0 || !node.requireInputs(node.inputCount()))
    return badInput(kNode, "an input is missing");
  llvm::SmallVector<Value> inputs(node.inputs());
  // Exporters of old joined scalars and vectors, which ONNX Runtime took for vectors of one.
  if (llvm::any_of(inputs, [&](Value v) { return e.rank(v) == 1; }))
    for (Value &input : inputs)
      input = e.toVector(input);
  if (!node.has("axis") && node.opset() >= 4)
    return badInput(kNode, "attribute 'axis' is missing");
  node.set(0, e.concat(inputs, e.axis(node.integer("axis", 1), e.rank(inputs[0]))));
  return {};
}

//===----------------------------------------------------------------------===//
// Pad, Trilu
//===----------------------------------------------------------------------===//

/// Counts for `axes` become counts for all dimensions.
static Value spreadPads(Emitter &e, Value pads, ArrayRef<int64_t> axes, int64_t rank) {
  llvm::SmallVector<Value> entries;
  for (int64_t half = 0; half < 2; ++half)
    for (int64_t d = 0; d < rank; ++d) {
      auto found = llvm::find(axes, d);
      int64_t at = half * int64_t(axes.size()) + (found - axes.begin());
      entries.push_back(found == axes.end() ? e.vector(0) : e.slice(pads, 0, at, at + 1));
    }
  return entries.empty() ? pads : e.concat(entries, 0);
}

/// The same for axes that only the running model knows.
static Value scatterPads(Emitter &e, Value pads, Value axes, int64_t rank) {
  axes = e.cast(axes, e.i64());
  axes = e.select(e.compare(llm::ComparePredicate::lt, axes, 0.0), e.add(axes, double(rank)), axes);
  Value none = e.broadcast(e.integer(0), e.vector(2 * rank));
  auto reduction = e.attr("reduction", Attribute(llm::ScatterReductionAttr::get(e.builder.getContext(), llm::ScatterReduction::none)));
  return e.op("llm.scatter_elements", {none, e.concat({axes, e.add(axes, double(rank))}, 0), pads}, {reduction, e.attr("axis", int64_t(0))});
}

Status importPad(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  Value x = node.input(0), pads, value;
  int64_t rank = e.rank(x);
  std::string name = node.text("mode", "constant");
  auto mode = llm::symbolizePadMode(name);
  if (!mode)
    return badInput(kNode, "mode '" + name + "' does not exist");
  if (node.opset() < 11) {
    auto counts = node.integers(node.opset() < 2 ? "paddings" : "pads");
    if (!counts)
      return badInput(kNode, "attribute 'pads' is missing");
    pads = e.vector(*counts);
    value = e.scalar(e.elementType(x), node.number("value", 0));
  } else {
    if (!node.requireInputs(2))
      return {};
    pads = e.cast(node.input(1), e.i64());
    value = node.input(2) ? e.toScalar(node.input(2)) : e.scalar(e.elementType(x), 0);
  }
  llvm::SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  bool spread = bool(node.input(3));
  if (spread && !e.ints(node.input(3)) && node.declaredShape(0)) { // the declared shape tells the result's
    pads = scatterPads(e, pads, node.input(3), rank);
    spread = false;
  } else if (spread) {
    auto given = node.constantInput(3, "axes");
    if (!given)
      return {};
    axes = *given;
    for (int64_t &axis : axes)
      axis = e.axis(axis, rank);
  }
  if (e.rank(pads) != 1 || e.staticDim(pads, 0) != 2 * int64_t(axes.size()))
    return badInput(kNode, "pads are " + describeType(e.analysis, pads) + " for " + std::to_string(axes.size()) + " axes");
  if (spread)
    pads = spreadPads(e, pads, axes, rank);
  if (e.elementType(value) != e.elementType(x))
    return badInput(kNode, "the padding value is " + describeType(e.analysis, value));
  node.set(0, e.op("llm.pad", {x, pads, value}, e.attr("mode", Attribute(llm::PadModeAttr::get(e.builder.getContext(), *mode)))));
  return {};
}

Status importTrilu(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  Value x = node.input(0);
  int64_t rank = e.rank(x);
  if (rank < 2)
    return badInput(kNode, "its input has rank " + std::to_string(rank));
  Value k = node.input(1) ? e.cast(e.toScalar(node.input(1)), e.i64()) : e.integer(0);
  Value diagonal = e.sub(e.iota(x, rank - 1), e.expandDims(e.iota(x, rank - 2), 1));
  Value keep = e.compare(node.flag("upper", true) ? P::ge : P::le, diagonal, k);
  node.set(0, e.select(keep, x, e.scalar(e.elementType(x), 0)));
  return {};
}

} // namespace llmopt::onnx
