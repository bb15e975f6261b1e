//===- Indexing.cpp - elements chosen by index tensors ------------------===//
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

static bool checkIndices(Node &node, Value indices) {
  Emitter &e = node.emit;
  if (!e.elementType(indices).isInteger(64) && !e.elementType(indices).isInteger(32))
    e.invalid("indices are " + describeType(e.analysis, indices) + ", not i32 or i64");
  return !e.failed();
}

Status importGather(Node &node) {
  Emitter &e = node.emit;
  if (node.requireInputs(2))
    node.set(0, e.gather(node.input(0), node.input(1), e.axis(node.integer("axis", 0), e.rank(node.input(0)))));
  return {};
}

Status importGatherElements(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(2) || !checkIndices(node, node.input(1)))
    return {};
  if (e.rank(node.input(0)) != e.rank(node.input(1)))
    return badInput(kNode, "input and indices have ranks " + std::to_string(e.rank(node.input(0))) + " and " +
                               std::to_string(e.rank(node.input(1))));
  int64_t axis = e.axis(node.integer("axis", 0), e.rank(node.input(0)));
  node.set(0, e.op("llm.gather_elements", {node.input(0), node.input(1)}, e.attr("axis", axis)));
  return {};
}

Status importGatherND(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(2))
    return {};
  Value x = node.input(0), indices = node.input(1);
  // com.microsoft has the same operator with other index types.
  int64_t batch = node.integer("batch_dims", 0), rank = e.rank(indices);
  auto tuple = e.staticDim(indices, rank - 1);
  if (!tuple)
    return unsupported(kUnknownShape, "the result's rank depends on the last dimension of the indices");
  if (batch < 0 || batch >= rank || batch + *tuple > e.rank(x))
    return badInput(kNode, "batch_dims " + std::to_string(batch) + " does not go with " + describeType(e.analysis, x) + " and " +
                               describeType(e.analysis, indices));
  if (checkIndices(node, indices))
    node.set(0, e.op("llm.gather_nd", {x, indices}, e.attr("batch_dims", batch)));
  return {};
}

static std::optional<NamedAttribute> reductionAttribute(Node &node) {
  auto reduction = llm::symbolizeScatterReduction(node.text("reduction", "none"));
  if (!reduction) {
    node.emit.invalid("reduction '" + node.text("reduction", "none") + "' does not exist");
    return std::nullopt;
  }
  return node.emit.attr("reduction", Attribute(llm::ScatterReductionAttr::get(node.emit.builder.getContext(), *reduction)));
}

Status importScatterElements(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(3) || !checkIndices(node, node.input(1)))
    return {};
  Value x = node.input(0), indices = node.input(1), updates = node.input(2);
  auto reduction = reductionAttribute(node);
  if (e.rank(x) != e.rank(indices) || e.rank(x) != e.rank(updates) || e.elementType(x) != e.elementType(updates))
    return badInput(kNode, "input, indices and updates are " + describeType(e.analysis, x) + ", " + describeType(e.analysis, indices) +
                               " and " + describeType(e.analysis, updates));
  int64_t axis = e.axis(node.integer("axis", 0), e.rank(x));
  if (reduction)
    node.set(0, e.op("llm.scatter_elements", {x, indices, updates}, {*reduction, e.attr("axis", axis)}));
  return {};
}

Status importScatterND(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(3) || !checkIndices(node, node.input(1)))
    return {};
  Value x = node.input(0), indices = node.input(1), updates = node.input(2);
  auto reduction = reductionAttribute(node);
  auto tuple = e.rank(indices) ? e.staticDim(indices, e.rank(indices) - 1) : std::nullopt;
  if (!tuple)
    return unsupported(kUnknownShape, "the last dimension of the indices is not known");
  if (*tuple > e.rank(x) || e.rank(updates) != e.rank(indices) - 1 + e.rank(x) - *tuple || e.elementType(x) != e.elementType(updates))
    return badInput(kNode, "input, indices and updates are " + describeType(e.analysis, x) + ", " + describeType(e.analysis, indices) +
                               " and " + describeType(e.analysis, updates));
  if (reduction)
    node.set(0, e.op("llm.scatter_nd", {x, indices, updates}, *reduction));
  return {};
}

Status importOneHot(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(3))
    return {};
  Value indices = e.cast(node.input(0), e.i64()), depth = e.cast(e.toScalar(node.input(1)), e.i64()), values = node.input(2);
  if (e.rank(values) != 1)
    return badInput(kNode, "values are " + describeType(e.analysis, values) + ", not [off, on]");
  int64_t rank = e.rank(indices), axis = e.axis(node.integer("axis", -1), rank + 1);
  // A depth that only the running model knows is at least declared.
  if (auto declared = node.declaredShape(0); declared && !e.ints(depth) && int64_t(declared->size()) == rank + 1)
    depth = e.integer((*declared)[size_t(axis)]);
  indices = e.select(e.compare(P::lt, indices, 0.0), e.add(indices, depth), indices);
  Value classes = e.range(e.integer(0), depth);
  llvm::SmallVector<int64_t> after;
  for (int64_t i = 1; i + axis <= rank; ++i)
    after.push_back(i);
  Value match = e.compare(P::eq, e.expandDims(indices, axis), e.expandDims(classes, after));
  Value off = e.toScalar(e.slice(values, 0, 0, 1)), on = e.toScalar(e.slice(values, 0, 1, 2));
  node.set(0, e.select(match, on, off));
  return {};
}

/// Running products in log2(n) steps (Hillis and Steele): each takes in the products that end `step` elements before.
static Value cumulativeProduct(Node &node, Value x, int64_t axis) {
  Emitter &e = node.emit;
  auto size = e.staticDim(x, axis);
  if (!size) {
    e.unsupported("the length of " + describeType(e.analysis, x) + " along axis " + std::to_string(axis) + " is not known");
    return {};
  }
  bool reverse = node.flag("reverse");
  Type type = e.elementType(x);
  auto shifted = [&](Value v, int64_t by) { // ones come in
    llvm::SmallVector<int64_t> pads(2 * size_t(e.rank(x)), 0);
    pads[size_t(axis)] = reverse ? -by : by;
    pads[size_t(e.rank(x) + axis)] = reverse ? by : -by;
    auto mode = e.attr("mode", Attribute(llm::PadModeAttr::get(e.builder.getContext(), llm::PadMode::constant)));
    return e.op("llm.pad", {v, e.vector(pads), e.scalar(e.elementType(v), 1)}, mode);
  };
  Value product = e.isFloat(x) ? e.widen(x) : x;
  if (node.flag("exclusive") && *size > 0)
    product = shifted(product, 1);
  for (int64_t step = 1; step < *size; step *= 2)
    product = e.mul(product, shifted(product, step));
  return e.cast(product, type);
}

/// CumSum and CumProd.
Status importCumulative(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(2))
    return {};
  Value x = node.input(0);
  int64_t rank = e.rank(x);
  llvm::SmallVector<NamedAttribute> flags;
  for (llvm::StringRef flag : {"exclusive", "reverse"})
    if (node.flag(flag))
      flags.push_back(e.unit(flag));
  auto sum = [&](int64_t axis) {
    if (node.opType() == "CumProd")
      return cumulativeProduct(node, x, axis);
    llvm::SmallVector<NamedAttribute> attributes(flags);
    attributes.push_back(e.attr("axis", axis));
    return e.op("llm.cumsum", x, attributes);
  };
  if (auto axis = e.ints(node.input(1)); axis && axis->size() == 1) {
    int64_t at = e.axis(axis->front(), rank);
    if (!e.failed())
      node.set(0, sum(at));
    return {};
  }
  if (rank == 0 || rank > 4)
    return unsupported(kUnsupported, "the axis comes from a tensor that is not known when compiling");
  // The axis is an input: compute along each, choose one.
  Value axis = e.cast(e.toScalar(node.input(1)), e.i64());
  axis = e.select(e.compare(P::lt, axis, 0.0), e.add(axis, double(rank)), axis);
  Value result = sum(0);
  for (int64_t i = 1; i < rank; ++i)
    result = e.select(e.compare(P::eq, axis, double(i)), sum(i), result);
  node.set(0, result);
  return {};
}

Status importTopK(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  Value x = node.input(0);
  int64_t axis = e.axis(node.integer("axis", -1), e.rank(x));
  Value k = node.opset() < 10 ? e.vector(node.requiredInteger("k", 0, INT64_MAX)) : e.toVector(node.input(1));
  if (!k || e.rank(k) != 1 || e.staticDim(k, 0) != 1)
    return badInput(kNode, "k is " + describeType(e.analysis, k) + ", not one number");
  if (auto count = e.ints(k); count && (count->front() < 0 || count->front() > e.staticDim(x, axis).value_or(INT64_MAX)))
    return badInput(kNode, "k is " + std::to_string(count->front()));
  Value values = e.op("llm.topk", {x, k}, {e.attr("axis", axis), e.attr("largest", Attribute(e.builder.getBoolAttr(node.flag("largest", true))))});
  if (!values)
    return {};
  node.set(0, values);
  node.set(1, values.getDefiningOp()->getResult(1));
  return {};
}

/// The first `count` indices at which a vector is true, in order.
static Value trueIndices(Emitter &e, Value condition, int64_t count) {
  Value rank = e.cast(condition, e.i64());
  Value found = e.op("llm.topk", {rank, e.vector(count)}, {e.attr("axis", 0), e.attr("largest", Attribute(e.builder.getBoolAttr(true)))});
  return found ? Value(found.getDefiningOp()->getResult(1)) : Value(); // equal ones by lower index
}

/// The number of slices that stay must be declared, if the condition is not known.
Status importCompress(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(2))
    return {};
  Value x = node.input(0), condition = node.input(1);
  if (e.rank(condition) != 1 || !e.isBool(condition))
    return badInput(kNode, "the condition is " + describeType(e.analysis, condition));
  if (!node.has("axis"))
    x = e.reshape(x, {-1});
  int64_t axis = e.axis(node.integer("axis", 0), e.rank(x));
  auto known = e.ints(condition);
  auto declared = node.declaredShape(0);
  if (known)
    node.set(0, e.gather(x, trueIndices(e, condition, llvm::count_if(*known, [](int64_t c) { return c != 0; })), axis));
  else if (declared && int64_t(declared->size()) == e.rank(x))
    node.set(0, e.gather(x, trueIndices(e, condition, (*declared)[size_t(axis)]), axis));
  else
    return unsupported(kUnknownShape, "its shape depends on tensor data");
  return {};
}

Status importNonZero(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  Value x = node.input(0);
  // The idiom for 0, 1, ..., n - 1 of exporters before Range: NonZero(ConstantOfShape([n], 1)).
  auto filled = x.getDefiningOp<llm::BroadcastOp>();
  if (filled && e.rank(x) == 1) {
    auto number = e.floats(filled.getInput());
    if (number && number->size() == 1 && number->front() != 0) {
      node.set(0, e.expandDims(e.iota(x, 0), 0));
      return {};
    }
  }
  auto elements = e.floats(x);
  auto declared = node.declaredShape(0);
  if (!elements && declared && declared->size() == 2 && e.rank(x) > 0) {
    Value rest = trueIndices(e, e.reshape(e.isBool(x) ? x : e.compare(P::ne, x, 0.0), {-1}), (*declared)[1]);
    llvm::SmallVector<Value> rows;
    for (int64_t d = e.rank(x); d-- > 0; rest = e.div(rest, e.dim(x, d)))
      rows.insert(rows.begin(), e.expandDims(e.binary("llm.mod", rest, e.dim(x, d)), 0));
    node.set(0, e.concat(rows, 0));
    return {};
  }
  if (!elements || e.rank(x) == 0)
    return unsupported(kUnknownShape, "its shape depends on tensor data");
  llvm::ArrayRef<int64_t> dims = e.typeOf(x).getShape();
  llvm::SmallVector<int64_t> found;
  for (auto [i, element] : llvm::enumerate(*elements))
    if (element != 0)
      found.push_back(int64_t(i));
  llvm::SmallVector<int64_t> indices(dims.size() * found.size());
  for (auto [column, offset] : llvm::enumerate(found))
    for (int64_t d = int64_t(dims.size()), left = offset; d-- > 0; left /= dims[size_t(d)])
      indices[size_t(d) * found.size() + column] = left % dims[size_t(d)];
  auto type = RankedTensorType::get({int64_t(dims.size()), int64_t(found.size())}, e.i64());
  node.set(0, e.constant(DenseElementsAttr::get(type, llvm::ArrayRef<int64_t>(indices))));
  return {};
}

/// Writes `update` into a cache at positions given per batch row (opset 24).
Status importTensorScatter(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(2))
    return {};
  Value cache = node.input(0), update = node.input(1), first = node.input(2);
  int64_t rank = e.rank(cache), axis = e.axis(node.integer("axis", -2), rank);
  std::string mode = node.text("mode", "linear");
  if (axis == 0 || rank != e.rank(update) || (mode != "linear" && mode != "circular"))
    return badInput(kNode, "axis " + std::to_string(axis) + ", mode '" + mode + "' or the update " + describeType(e.analysis, update) +
                               " is not valid");
  auto along = [&](Value vector, int64_t dim) { // [n] to [1, .., n, .., 1]
    llvm::SmallVector<int64_t> axes;
    for (int64_t i = 0; i < rank; ++i)
      if (i != dim)
        axes.push_back(i);
    return e.expandDims(vector, axes);
  };
  Value positions = along(e.iota(update, axis), axis);
  if (first)
    positions = e.add(positions, along(e.cast(first, e.i64()), 0));
  if (mode == "circular")
    positions = e.binary("llm.mod", positions, e.dim(cache, axis));
  Value indices = e.broadcast(positions, e.shapeOf(update));
  auto none = e.attr("reduction", Attribute(llm::ScatterReductionAttr::get(e.builder.getContext(), llm::ScatterReduction::none)));
  node.set(0, e.op("llm.scatter_elements", {cache, indices, update}, {none, e.attr("axis", axis)}));
  return {};
}

} // namespace llmopt::onnx
