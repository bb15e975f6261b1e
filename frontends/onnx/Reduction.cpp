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

/// Axes that are known only when the model runs, read off the declared shape of the result: with keepdims the reduced
/// dimensions are those that became 1 (one that was 1 before may count as reduced or not); without, they must follow
/// uniquely from the order of what is left.
static std::optional<llvm::SmallVector<int64_t>> axesFromDeclaration(Node &node, Value x, bool keepDims) {
  auto shape = node.declaredShape(0);
  Emitter &e = node.emit;
  int64_t rank = e.rank(x);
  if (!shape || (keepDims && int64_t(shape->size()) != rank) || int64_t(shape->size()) > rank || rank > 8)
    return std::nullopt;
  llvm::SmallVector<int64_t> dims, axes;
  for (int64_t i = 0; i < rank; ++i) {
    auto size = e.staticDim(x, i);
    if (!size)
      return std::nullopt;
    dims.push_back(*size);
  }
  if (keepDims) {
    for (int64_t i = 0; i < rank; ++i)
      if ((*shape)[i] == 1 && dims[i] != 1)
        axes.push_back(i);
      else if ((*shape)[i] != dims[i])
        return std::nullopt;
    return axes;
  }
  int matches = 0;
  for (unsigned mask = 0; mask < (1u << rank); ++mask) {
    llvm::SmallVector<int64_t> kept, reduced;
    for (int64_t i = 0; i < rank; ++i)
      (mask >> i & 1 ? reduced : kept).push_back(mask >> i & 1 ? i : dims[i]);
    if (kept != *shape)
      continue;
    ++matches;
    axes = reduced;
  }
  return matches == 1 ? std::optional(axes) : std::nullopt;
}

/// The axes to reduce, sorted. Nothing: a problem is noted.
static std::optional<llvm::SmallVector<int64_t>> reductionAxes(Node &node, Value x, bool keepDims) {
  Emitter &e = node.emit;
  int64_t rank = e.rank(x);
  auto axes = node.integers("axes");
  Value input = node.input(1);
  if (!axes && input) {
    axes = e.ints(input);
    if (!axes && !(axes = axesFromDeclaration(node, x, keepDims)))
      e.unsupported("axes come from a tensor that is not known when compiling");
    if (e.failed())
      return std::nullopt;
  }
  if (!axes || axes->empty()) {
    bool known = !input || e.ints(input); // read off a declaration, "none" means none
    if ((node.flag("noop_with_empty_axes") && known) || !known)
      return llvm::SmallVector<int64_t>();
    return llvm::to_vector(llvm::seq<int64_t>(0, rank));
  }
  for (int64_t &axis : *axes)
    axis = e.axis(axis, rank);
  llvm::sort(*axes);
  axes->erase(std::unique(axes->begin(), axes->end()), axes->end());
  return axes;
}

/// log(sum(exp(x))) without overflow.
static Value logSumExp(Emitter &e, Value x, ArrayRef<int64_t> axes, bool keepDims) {
  auto finite = [&](Value m) { return e.select(e.op("llm.isinf", m), e.scalar(e.elementType(m), 0), m); };
  Value shifted = e.unary("llm.exp", e.sub(x, finite(e.reduce(K::max, x, axes))));
  Value sum = e.unary("llm.log", e.reduce(K::sum, shifted, axes, keepDims));
  return e.add(sum, finite(e.reduce(K::max, x, axes, keepDims)));
}

Status importReduce(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  llvm::StringRef op = node.opType().drop_front(strlen("Reduce"));
  Value x = node.input(0);
  Type type = e.elementType(x);
  bool keepDims = node.flag("keepdims", true);
  auto axes = reductionAxes(node, x, keepDims);
  if (!axes)
    return {};
  auto reduce = [&](K kind, Value value) { return e.reduce(kind, value, *axes, keepDims); };
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
    result = axes->empty() ? real : logSumExp(e, real, *axes, keepDims);
  node.set(0, e.cast(result, type));
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
