//===- ShapeRulesIndexing.cpp - slices, gathers, scatters, scans ----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ShapeRules.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::llm;
using namespace llmopt::shapes;

//===----------------------------------------------------------------------===//
// Slice
//===----------------------------------------------------------------------===//

namespace {

/// One dimension of a slice by Python's rules, in symbols. A bound whose sign or place cannot be proven is taken to lie
/// where it makes sense, and the analysis notes the assumption: programs write "table[past : past + seq]" without
/// saying that the table is long enough.
class SlicedDimension {
public:
  SlicedDimension(Rules &rules, Operation *op, SymExpr dim) : rules_(rules), op_(op), dim_(dim) {}

  SymExpr length(SymExpr start, SymExpr end, int64_t step) {
    if (!dim_.known() || !start.known() || !end.known() || step == INT64_MIN)
      return {};
    SymContext &symbols = rules_.symbols;
    SymExpr zero = rules_.c(0), last = symbols.sub(dim_, rules_.c(1));
    SymExpr span = step > 0 ? symbols.sub(clamped(end, zero, dim_), clamped(start, zero, dim_))
                            : symbols.sub(clamped(start, rules_.c(-1), last), clamped(end, rules_.c(-1), last));
    return symbols.ceilDiv(symbols.max(zero, span), rules_.c(std::abs(step)));
  }

private:
  /// A dimension is never as long: exporters write "to the end" as the largest int32 or int64.
  static constexpr int64_t kEnd = INT32_MAX;

  SymExpr clamped(SymExpr bound, SymExpr low, SymExpr high) {
    SymContext &symbols = rules_.symbols;
    if (std::optional<int64_t> value = bound.constant()) {
      if (*value >= kEnd)
        return high;
      if (*value <= -kEnd)
        return low;
      bound = *value < 0 ? symbols.add(dim_, bound) : bound;
      return *value < 0 ? symbols.max(low, bound) : symbols.min(bound, high);
    }
    if (!symbols.provenLessEqual(rules_.c(0), bound) && symbols.provenLessEqual(bound, rules_.c(0))) {
      rules_.analysis.assume(bound, rules_.c(-1), op_->getLoc());
      return symbols.max(low, symbols.add(dim_, bound));
    }
    rules_.analysis.assume(rules_.c(0), bound, op_->getLoc());
    if (!high.constant() || symbols.provenLessEqual(high, bound))
      return symbols.min(bound, high);
    rules_.analysis.assume(bound, high, op_->getLoc());
    return bound;
  }

  Rules &rules_;
  Operation *op_;
  SymExpr dim_;
};

} // namespace

/// First element of a slice along one dimension, all numbers known.
static int64_t firstIndex(int64_t start, int64_t dim, int64_t step) {
  start = start < 0 ? start + dim : start;
  return std::clamp<int64_t>(start, step > 0 ? 0 : -1, step > 0 ? dim : dim - 1);
}

static Inferred sliceShape(Rules &rules, SliceOp op) {
  const ValueShape &input = rules.of(op.getInput());
  Dims dims = input.dims;
  auto inputBox = trackedDims(input.dims);
  bool tracked = input.elements && inputBox;
  SmallVector<int64_t, 4> first(dims.size(), 0), step(dims.size(), 1);
  for (auto [i, axis] : llvm::enumerate(op.getAxes())) {
    if (axis < 0 || size_t(axis) >= dims.size() || i >= op.getSteps().size())
      return std::nullopt;
    SymExpr start = rules.element(op.getStarts(), i);
    dims[size_t(axis)] = SlicedDimension(rules, op, input.dims[size_t(axis)])
                             .length(start, rules.element(op.getEnds(), i), op.getSteps()[i]);
    tracked &= start.constant().has_value();
    step[size_t(axis)] = op.getSteps()[i];
    if (tracked)
      first[size_t(axis)] = firstIndex(*start.constant(), (*inputBox)[size_t(axis)], step[size_t(axis)]);
  }
  auto box = trackedDims(dims);
  if (!tracked || !box)
    return one(std::move(dims));
  Elements elements;
  forEachIndex(*box, [&](ArrayRef<int64_t> index) {
    SmallVector<int64_t, 4> source;
    for (size_t i = 0; i < index.size(); ++i)
      source.push_back(first[i] + index[i] * step[i]);
    elements.push_back((*input.elements)[size_t(broadcastOffset(source, *inputBox))]);
  });
  return one(std::move(dims), std::move(elements));
}

//===----------------------------------------------------------------------===//
// Gather and scatter
//===----------------------------------------------------------------------===//

/// The index clamped as the dialect says.
static size_t clampedIndex(int64_t index, int64_t dim) {
  return size_t(std::clamp<int64_t>(index < 0 ? index + dim : index, 0, dim - 1));
}

static Inferred gatherShape(Rules &rules, GatherOp op) {
  const ValueShape &input = rules.of(op.getInput()), &indices = rules.of(op.getIndices());
  size_t axis = size_t(op.getAxis()), indexRank = indices.dims.size();
  if (axis >= input.dims.size())
    return std::nullopt;
  Dims dims(ArrayRef(input.dims).take_front(axis));
  dims.append(indices.dims.begin(), indices.dims.end());
  dims.append(input.dims.begin() + axis + 1, input.dims.end());
  auto box = trackedDims(dims), inputBox = trackedDims(input.dims), indexBox = trackedDims(indices.dims);
  if (!input.elements || !indices.elements || !box || !inputBox || !indexBox || (*inputBox)[axis] == 0)
    return one(std::move(dims));
  Elements elements;
  forEachIndex(*box, [&](ArrayRef<int64_t> at) {
    SymExpr chosen = (*indices.elements)[size_t(broadcastOffset(at.slice(axis, indexRank), *indexBox))];
    SmallVector<int64_t, 4> source(at.take_front(axis));
    source.push_back(int64_t(clampedIndex(chosen.constant().value_or(0), (*inputBox)[axis])));
    llvm::append_range(source, at.drop_front(axis + indexRank));
    elements.push_back(chosen.constant() ? (*input.elements)[size_t(broadcastOffset(source, *inputBox))] : SymExpr());
  });
  return one(std::move(dims), std::move(elements));
}

static Inferred gatherElementsShape(Rules &rules, GatherElementsOp op) {
  const ValueShape &input = rules.of(op.getInput()), &indices = rules.of(op.getIndices());
  Dims dims = indices.dims;
  if (input.dims.size() != 1 || dims.size() != 1 || !input.elements || input.elements->empty() || !indices.elements)
    return one(std::move(dims));
  Elements elements;
  for (SymExpr index : *indices.elements)
    elements.push_back(index.constant() ? (*input.elements)[clampedIndex(*index.constant(), int64_t(input.elements->size()))]
                                        : SymExpr());
  return one(std::move(dims), std::move(elements));
}

static Inferred gatherNDShape(Rules &rules, GatherNDOp op) {
  const ValueShape &input = rules.of(op.getInput()), &indices = rules.of(op.getIndices());
  std::optional<int64_t> tuple = indices.dims.empty() ? std::nullopt : indices.dims.back().constant();
  size_t batch = size_t(op.getBatchDims());
  if (!tuple || *tuple < 0 || batch + size_t(*tuple) > input.dims.size() || batch >= indices.dims.size())
    return std::nullopt;
  Dims dims(ArrayRef(indices.dims).drop_back());
  for (size_t i = 0; i < batch; ++i)
    dims[i] = agreed(dims[i], input.dims[i]);
  dims.append(input.dims.begin() + batch + size_t(*tuple), input.dims.end());
  return one(std::move(dims));
}

/// `shape[i] = x` in traced programs: single elements of a vector replaced.
static std::optional<Elements> scatteredElements(Rules &rules, Value input, Value indices, Value updates) {
  const ValueShape &old = rules.of(input), &places = rules.of(indices), &values = rules.of(updates);
  if (!old.elements || old.dims.size() != 1 || old.elements->empty() || !places.elements || !values.elements ||
      places.elements->size() != values.elements->size() || !constants(*places.elements))
    return std::nullopt;
  Elements elements = *old.elements;
  for (auto [place, value] : llvm::zip(*places.elements, *values.elements))
    elements[clampedIndex(*place.constant(), int64_t(elements.size()))] = value;
  return elements;
}

static Inferred cumSumShape(Rules &rules, CumSumOp op) {
  const ValueShape &input = rules.of(op.getInput());
  if (!input.elements || input.dims.size() != 1)
    return one(input.dims);
  Elements elements(*input.elements);
  SymExpr sum = rules.c(0);
  for (size_t i = 0; i < elements.size(); ++i) {
    SymExpr &element = elements[op.getReverse() ? elements.size() - 1 - i : i];
    SymExpr next = rules.symbols.add(sum, element);
    element = op.getExclusive() ? sum : next;
    sum = next;
  }
  return one(input.dims, std::move(elements));
}

static Inferred topKShape(Rules &rules, TopKOp op) {
  Dims dims = rules.of(op.getInput()).dims;
  if (size_t(op.getAxis()) >= dims.size())
    return std::nullopt;
  dims[size_t(op.getAxis())] = rules.element(op.getK(), 0);
  return Shapes{ValueShape{dims, std::nullopt}, ValueShape{dims, std::nullopt}};
}

bool Rules::inferIndexing(Operation *op, Inferred &result) {
  return llvm::TypeSwitch<Operation *, bool>(op)
      .Case([&](SliceOp slice) { result = sliceShape(*this, slice); return true; })
      .Case([&](GatherOp gather) { result = gatherShape(*this, gather); return true; })
      .Case([&](GatherElementsOp gather) { result = gatherElementsShape(*this, gather); return true; })
      .Case([&](GatherNDOp gather) { result = gatherNDShape(*this, gather); return true; })
      .Case<ScatterElementsOp, ScatterNDOp>([&](auto scatter) {
        bool replaces = scatter.getReduction() == ScatterReduction::none;
        result = one(of(scatter.getInput()).dims,
                     replaces ? scatteredElements(*this, scatter.getInput(), scatter.getIndices(), scatter.getUpdates())
                              : std::nullopt);
        return true;
      })
      .Case([&](CumSumOp sum) { result = cumSumShape(*this, sum); return true; })
      .Case([&](TopKOp top) { result = topKShape(*this, top); return true; })
      .Default([](Operation *) { return false; });
}
