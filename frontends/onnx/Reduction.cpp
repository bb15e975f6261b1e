//===- Reduction.cpp - many elements to one -----------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Node.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace llmopt::onnx {

using K = llm::ReduceKind;

using Axes = llvm::SmallVector<int64_t>;

/// Dimensions whose reduction is more than a change of shape.
static Axes effective(Emitter &e, Value x, ArrayRef<int64_t> axes) {
  Axes result;
  for (int64_t axis : axes)
    if (e.staticDim(x, axis) != 1)
      result.push_back(axis);
  return result;
}

/// Axes that are known only when the model runs must give the shape that the file declares for the result: all that do,
/// without those that come to the same.
static std::vector<Axes> axesFromDeclaration(Node &node, Value x, bool keepDims) {
  auto shape = node.declaredShape(0);
  Emitter &e = node.emit;
  int64_t rank = e.rank(x);
  std::vector<Axes> candidates;
  if (!shape || rank > 8)
    return candidates;
  Axes dims;
  for (int64_t i = 0; i < rank; ++i) {
    auto size = e.staticDim(x, i);
    if (!size)
      return candidates;
    dims.push_back(*size);
  }
  for (unsigned mask = 0; mask < (1u << rank); ++mask) {
    Axes result, reduced;
    for (int64_t i = 0; i < rank; ++i) {
      bool isReduced = mask >> i & 1;
      if (isReduced)
        reduced.push_back(i);
      if (!isReduced || keepDims)
        result.push_back(isReduced ? 1 : dims[size_t(i)]);
    }
    auto same = [&](const Axes &other) { return effective(e, x, other) == effective(e, x, reduced); };
    if (result == *shape && llvm::none_of(candidates, same))
      candidates.push_back(reduced);
  }
  return candidates;
}

/// Whether the axes in a tensor are these, apart from dimensions of size 1: a scalar i1.
static Value axesAre(Emitter &e, Value axes, Value x, const Axes &wanted) {
  int64_t rank = e.rank(x);
  axes = e.cast(e.toVector(axes), e.i64());
  axes = e.select(e.compare(llm::ComparePredicate::lt, axes, 0.0), e.add(axes, double(rank)), axes);
  Value result;
  for (int64_t i = 0; i < rank; ++i) {
    if (e.staticDim(x, i) == 1)
      continue;
    Value hits = e.cast(e.compare(llm::ComparePredicate::eq, axes, double(i)), e.i64());
    Value found = e.compare(llm::ComparePredicate::gt, e.reduce(K::sum, hits, 0, /*keepDims=*/false), 0.0);
    Value agrees = llvm::is_contained(wanted, i) ? found : e.unary("llm.not", found);
    result = result ? e.binary("llm.and", result, agrees) : agrees;
  }
  return result;
}

/// The axes to reduce, sorted; several if only the running model can tell which. Empty: a problem is noted.
static std::vector<Axes> reductionAxes(Node &node, Value x, bool keepDims) {
  Emitter &e = node.emit;
  int64_t rank = e.rank(x);
  auto axes = node.integers("axes");
  Value input = node.input(1);
  if (!axes && input && !(axes = e.ints(input)) && e.staticDim(input, 0) != 0) {
    std::vector<Axes> candidates = axesFromDeclaration(node, x, keepDims);
    if (candidates.empty())
      e.unsupported("axes come from a tensor that is not known when compiling, and the shape of the result is not declared");
    return candidates;
  }
  if (!axes || axes->empty()) {
    if (node.flag("noop_with_empty_axes"))
      return {Axes()};
    return {llvm::to_vector(llvm::seq<int64_t>(0, rank))};
  }
  for (int64_t &axis : *axes)
    axis = e.axis(axis, rank);
  llvm::sort(*axes);
  axes->erase(std::unique(axes->begin(), axes->end()), axes->end());
  return e.failed() ? std::vector<Axes>() : std::vector<Axes>{*axes};
}

/// log(sum(exp(x))) without overflow.
static Value logSumExp(Emitter &e, Value x, ArrayRef<int64_t> axes, bool keepDims) {
  auto finite = [&](Value m) { return e.select(e.op("llm.isinf", m), e.scalar(e.elementType(m), 0), m); };
  Value shifted = e.unary("llm.exp", e.sub(x, finite(e.reduce(K::max, x, axes))));
  Value sum = e.unary("llm.log", e.reduce(K::sum, shifted, axes, keepDims));
  return e.add(sum, finite(e.reduce(K::max, x, axes, keepDims)));
}

static Value reduceOver(Node &node, Value x, const Axes &axes, bool keepDims) {
  Emitter &e = node.emit;
  llvm::StringRef op = node.opType().drop_front(strlen("Reduce"));
  auto reduce = [&](K kind, Value value) { return e.reduce(kind, value, axes, keepDims); };
  Value wide = e.isFloat(x) ? e.widen(x) : x, real = e.isFloat(x) ? wide : e.cast(x, e.builder.getF64Type()), result;
  if (op == "Sum")
    result = reduce(K::sum, wide);
  else if (op == "Mean")
    result = reduce(K::mean, wide);
  else if (op == "Max")
    result = reduce(K::max, x);
  else if (op == "Min")
    result = reduce(K::min, x);
  else if (op == "Prod")
    result = reduce(K::prod, wide);
  else if (op == "L1")
    result = reduce(K::sum, e.unary("llm.abs", wide));
  else if (op == "L2")
    result = e.unary("llm.sqrt", reduce(K::sum, e.mul(real, real)));
  else if (op == "SumSquare")
    result = reduce(K::sum, e.mul(wide, wide));
  else if (op == "LogSum")
    result = e.unary("llm.log", reduce(K::sum, real));
  else
    result = axes.empty() ? real : logSumExp(e, real, axes, keepDims);
  return e.cast(result, e.elementType(x));
}

Status importReduce(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  Value x = node.input(0), result;
  bool keepDims = node.flag("keepdims", true);
  for (const Axes &axes : reductionAxes(node, x, keepDims)) {
    Value reduced = reduceOver(node, x, axes, keepDims);
    result = result ? e.select(axesAre(e, node.input(1), x, axes), reduced, result) : reduced;
  }
  node.set(0, result);
  return {};
}

Status importArgReduce(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  K kind = node.opType() == "ArgMax" ? K::max : K::min;
  llvm::SmallVector<NamedAttribute> attributes{e.attr("kind", Attribute(llm::ReduceKindAttr::get(e.builder.getContext(), kind))),
                                               e.attr("axis", e.axis(node.integer("axis", 0), e.rank(node.input(0))))};
  if (node.flag("keepdims", true))
    attributes.push_back(e.unit("keepdims"));
  if (node.flag("select_last_index"))
    attributes.push_back(e.unit("last"));
  node.set(0, e.op("llm.arg_reduce", node.input(0), attributes));
  return {};
}

} // namespace llmopt::onnx
