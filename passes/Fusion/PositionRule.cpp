//===- PositionRule.cpp - what a mask says about positions -----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "passes/Fusion/PositionRule.h"

#include "llmopt/passes/Match.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

using Index = PositionRule::Index;
using Conditions = PositionRule::Conditions;

PositionForm PositionRule::scaled(const PositionForm &form, int64_t factor) {
  return {form.row * factor, form.column * factor, symbols_.mul(form.offset, symbols_.constant(factor))};
}

PositionForm PositionRule::sum(const PositionForm &a, const PositionForm &b, int64_t factor) {
  PositionForm other = scaled(b, factor);
  return {a.row + other.row, a.column + other.column, symbols_.add(a.offset, other.offset)};
}

std::optional<Index> PositionRule::lastTwo(Value value, SymExpr rows, SymExpr columns) {
  const auto &dims = shapes_.shapeOf(value).dims;
  Index at(dims.size());
  for (auto [back, size, form] : {std::tuple(1, columns, PositionForm{0, 1, symbols_.constant(0)}), std::tuple(2, rows, PositionForm{1, 0, symbols_.constant(0)})}) {
    if (int(dims.size()) < back)
      continue;
    SymExpr dim = dims[dims.size() - size_t(back)];
    if (!dim.isConstant(1) && !(dim == size))
      return std::nullopt;
    at[dims.size() - size_t(back)] = dim.isConstant(1) ? number(0) : form;
  }
  return at;
}

Index PositionRule::ofOperand(Value operand, Value result, const Index &at) {
  const auto &own = shapes_.shapeOf(operand).dims, &dims = shapes_.shapeOf(result).dims;
  Index place(own.size());
  for (size_t k = 0; k < own.size(); ++k) {
    size_t there = dims.size() - own.size() + k;
    if (own[k].isConstant(1))
      place[k] = number(0);
    else if (own[k] == dims[there])
      place[k] = at[there];
  }
  return place;
}

//===----------------------------------------------------------------------===//
// Moves
//===----------------------------------------------------------------------===//

/// Dimensions of 1 come and go, the others stay in their order.
static std::optional<Index> beforeReshape(ArrayRef<SymExpr> from, ArrayRef<SymExpr> to, const Index &at, const PositionForm &zero) {
  Index place;
  size_t next = 0;
  for (SymExpr dim : from) {
    if (dim.isConstant(1)) {
      place.push_back(zero);
      continue;
    }
    while (next < to.size() && to[next].isConstant(1))
      ++next;
    if (next == to.size() || !(to[next] == dim))
      return std::nullopt;
    place.push_back(at[next++]);
  }
  while (next < to.size() && to[next].isConstant(1))
    ++next;
  return next == to.size() ? std::optional(place) : std::nullopt;
}

std::optional<Index> PositionRule::before(Operation *move, const Index &at) {
  using Found = std::optional<Index>;
  Value input = move->getNumOperands() ? move->getOperand(0) : Value(), result = move->getResult(0);
  return llvm::TypeSwitch<Operation *, Found>(move)
      .Case([&](llm::ExpandDimsOp op) -> Found {
        Index place;
        for (size_t k = 0; k < at.size(); ++k)
          if (!llvm::is_contained(op.getAxes(), int64_t(k)))
            place.push_back(at[k]);
        return place;
      })
      .Case([&](llm::SqueezeOp op) -> Found {
        Index place = at;
        for (int64_t axis : op.getAxes())
          place.insert(place.begin() + axis, number(0));
        return place;
      })
      .Case([&](llm::TransposeOp op) -> Found {
        Index place(at.size());
        for (auto [k, from] : llvm::enumerate(op.getPermutation()))
          place[size_t(from)] = at[k];
        return place;
      })
      .Case<llm::BroadcastOp, llm::TileOp>([&](Operation *) -> Found { return ofOperand(input, result, at); })
      .Case([&](llm::ReshapeOp) { return beforeReshape(shapes_.shapeOf(input).dims, shapes_.shapeOf(result).dims, at, number(0)); })
      .Case([&](llm::SliceOp op) -> Found {
        const auto &starts = shapes_.shapeOf(op.getStarts()).elements;
        if (!starts)
          return std::nullopt;
        Index place = at;
        for (auto [axis, start, step] : llvm::zip(op.getAxes(), *starts, op.getSteps())) {
          auto &one = place[size_t(axis)];
          if (one && start.known() && step > 0 && symbols_.provenLessEqual(symbols_.constant(0), start))
            one = sum({0, 0, start}, *one, step);
          else
            one = std::nullopt;
        }
        return place;
      })
      .Default([](Operation *) -> Found { return std::nullopt; });
}

//===----------------------------------------------------------------------===//
// Integers
//===----------------------------------------------------------------------===//

/// 0, 1, 2 ... and the like.
std::optional<PositionForm> PositionRule::integerInConstant(llm::ConstantOp constant, const Index &at) {
  auto elements = dyn_cast<DenseIntElementsAttr>(constant.getValue());
  if (!elements || elements.getNumElements() == 0 || elements.getElementType().isInteger(1))
    return std::nullopt;
  auto numbers = llvm::map_to_vector(elements.getValues<APInt>(), [](const APInt &n) { return n.getSExtValue(); });
  if (llvm::all_equal(numbers))
    return number(numbers[0]);
  const auto &dims = shapes_.shapeOf(constant).dims;
  for (size_t k = 0; k < dims.size(); ++k)
    if (dims[k].isConstant(int64_t(numbers.size())) && at[k]) {
      int64_t step = numbers[1] - numbers[0];
      for (size_t n = 1; n < numbers.size(); ++n)
        if (numbers[n] - numbers[n - 1] != step)
          return std::nullopt;
      return sum(number(numbers[0]), *at[k], step);
    }
  return std::nullopt;
}

/// One formula for all parts: positions with the one before the first put in front, as differences of neighbours are written.
std::optional<PositionForm> PositionRule::integerInConcat(llm::ConcatOp concat, const Index &at) {
  size_t axis = size_t(concat.getAxis());
  if (!at[axis])
    return std::nullopt;
  Index place(at.size());
  std::optional<PositionForm> formula; // of the place along the axis, as a column
  SmallVector<std::pair<int64_t, PositionForm>> points;
  SymExpr begin = symbols_.constant(0);
  for (Value part : concat.getInputs()) {
    SymExpr size = shapes_.shapeOf(part).dims[axis];
    place[axis] = size.isConstant(1) ? number(0) : sum({0, 1, symbols_.constant(0)}, {0, 0, begin}, -1);
    auto form = integer(part, place);
    if (!form || (formula && !size.isConstant(1)))
      return std::nullopt;
    if (!size.isConstant(1))
      formula = form;
    else if (auto number = begin.constant())
      points.push_back({*number, *form});
    else
      return std::nullopt;
    begin = symbols_.add(begin, size);
  }
  if (!formula)
    return std::nullopt;
  for (const auto &[place, form] : points)
    if (!isZero(sum(sum(form, number(place), -formula->column), {0, 0, formula->offset}, -1)))
      return std::nullopt;
  return sum({0, 0, formula->offset}, *at[axis], formula->column);
}

/// Indices that are put together from one tensor for each dimension.
std::optional<PositionForm> PositionRule::integerInGather(llm::GatherNDOp gather, const Index &at) {
  auto indices = gather.getIndices().getDefiningOp<llm::ConcatOp>();
  if (!indices || gather.getBatchDims() != 0 || int64_t(indices.getAxis()) != typeOf(indices).getRank() - 1 ||
      int64_t(indices.getInputs().size()) != typeOf(gather.getInput()).getRank())
    return std::nullopt;
  Index component = at, place;
  component.push_back(number(0));
  for (Value input : indices.getInputs()) {
    if (typeOf(input).getShape().back() != 1)
      return std::nullopt;
    place.push_back(integer(input, component));
    auto &form = place.back(); // negative ones would count from the end
    if (form && (form->row < 0 || form->column < 0 || !symbols_.provenLessEqual(symbols_.constant(0), form->offset)))
      form = std::nullopt;
  }
  return integer(gather.getInput(), place);
}

std::optional<PositionForm> PositionRule::integerOfBool(Value value, const Index &at) {
  for (bool truth : {false, true})
    if (auto found = conditions(value, at, !truth); found && found->empty())
      return number(truth);
  return std::nullopt;
}

std::optional<PositionForm> PositionRule::integer(Value value, const Index &at) {
  using Found = std::optional<PositionForm>;
  if (const auto &elements = shapes_.shapeOf(value).elements; elements && elements->size() == 1)
    return (*elements)[0].known() ? Found(PositionForm{0, 0, (*elements)[0]}) : std::nullopt;
  Operation *op = value.getDefiningOp();
  if (!op)
    return std::nullopt;
  auto operand = [&](unsigned k) { return integer(op->getOperand(k), ofOperand(op->getOperand(k), value, at)); };
  auto both = [&](int64_t factor) -> Found {
    Found left = operand(0), right = left ? operand(1) : std::nullopt;
    return right ? Found(sum(*left, *right, factor)) : std::nullopt;
  };
  return llvm::TypeSwitch<Operation *, Found>(op)
      .Case([&](llm::ConstantOp constant) { return integerInConstant(constant, at); })
      .Case([&](llm::RangeOp range) -> Found {
        Found start = integer(range.getStart(), {}), step = integer(range.getDelta(), {});
        auto factor = step ? step->offset.constant() : std::nullopt;
        return start && factor && at[0] ? Found(sum(*start, *at[0], *factor)) : std::nullopt;
      })
      .Case([&](llm::AddOp) { return both(1); })
      .Case([&](llm::SubOp) { return both(-1); })
      .Case([&](llm::ConcatOp concat) { return integerInConcat(concat, at); })
      .Case([&](llm::GatherNDOp gather) { return integerInGather(gather, at); })
      .Case([&](llm::CumSumOp sums) -> Found {
        Index anywhere(at.size()); // of nothing but zeros
        anywhere[size_t(sums.getAxis())] = PositionForm{0, 1, symbols_.constant(0)};
        Found form = integer(sums.getInput(), anywhere);
        return form && isZero(*form) ? form : std::nullopt;
      })
      .Case([&](llm::NegOp) -> Found {
        Found form = operand(0);
        return form ? Found(scaled(*form, -1)) : std::nullopt;
      })
      .Case([&](llm::CastOp cast) -> Found {
        // Positions are far below what f32 and i32 hold exactly.
        Type from = getElementTypeOrSelf(cast.getInput().getType()), to = getElementTypeOrSelf(value.getType());
        if (from.isInteger(1))
          return integerOfBool(cast.getInput(), at);
        bool exact = (from.isInteger(64) || from.isInteger(32) || from.isF32()) && (to.isInteger(64) || to.isInteger(32) || to.isF32());
        return exact ? operand(0) : std::nullopt;
      })
      .Default([&](Operation *move) -> Found {
        auto place = before(move, at);
        return place ? integer(move->getOperand(0), *place) : std::nullopt;
      });
}

//===----------------------------------------------------------------------===//
// Conditions
//===----------------------------------------------------------------------===//

/// A constant is true everywhere, or on one side of a diagonal of its last two dimensions.
std::optional<Conditions> PositionRule::conditionsOfTable(llm::ConstantOp constant, const Index &at, bool negated) {
  auto elements = dyn_cast<DenseElementsAttr>(constant.getValue());
  if (!elements)
    return std::nullopt;
  SmallVector<bool> truth;
  if (auto integers = dyn_cast<DenseIntElementsAttr>(elements))
    truth = llvm::map_to_vector(integers.getValues<APInt>(), [&](const APInt &n) { return n.isZero() == negated; });
  else if (auto floats = dyn_cast<DenseFPElementsAttr>(elements))
    truth = llvm::map_to_vector(floats.getValues<APFloat>(), [&](const APFloat &n) { return n.isZero() == negated; });
  if (!truth.empty() && llvm::all_of(truth, [](bool t) { return t; }))
    return Conditions();
  auto shape = typeOf(constant).getShape();
  int64_t rank = int64_t(shape.size());
  if (rank < 2 || !at[size_t(rank - 1)] || !at[size_t(rank - 2)] || int64_t(truth.size()) != shape[size_t(rank - 2)] * shape[size_t(rank - 1)])
    return std::nullopt;
  int64_t rows = shape[size_t(rank - 2)], columns = shape[size_t(rank - 1)];
  auto isTrue = [&](int64_t r, int64_t c) { return truth[size_t(r * columns + c)]; };
  // True where c <= r + diagonal, or where c >= r + diagonal.
  for (bool below : {true, false})
    for (int64_t diagonal = -rows; diagonal <= columns; ++diagonal) {
      bool fits = true;
      for (int64_t r = 0; r < rows && fits; ++r)
        for (int64_t c = 0; c < columns && fits; ++c)
          fits = isTrue(r, c) == (below ? c <= r + diagonal : c >= r + diagonal);
      if (!fits)
        continue;
      PositionForm distance = sum(*at[size_t(rank - 1)], *at[size_t(rank - 2)], -1);
      PositionForm form = sum(distance, number(diagonal), -1);
      return Conditions{below ? form : scaled(form, -1)};
    }
  return std::nullopt;
}

std::optional<Conditions> PositionRule::conditionsOfCompare(llm::CompareOp op, const Index &at, bool negated) {
  using P = llm::ComparePredicate;
  P predicate = op.getPredicate();
  auto place = [&](Value value) { return ofOperand(value, op.getResult(), at); };
  auto left = integer(op.getLhs(), place(op.getLhs())), right = integer(op.getRhs(), place(op.getRhs()));
  if (predicate == P::eq || predicate == P::ne) {
    bool isTrue = (predicate == P::eq) != negated;
    if (left && right && isZero(sum(*left, *right, -1)))
      return isTrue ? Conditions() : Conditions{number(1)}; // 1 <= 0: never
    // Equal to zero: not true.
    bool againstZero = splatOf(op.getRhs()) == 0.0 || (right && isZero(*right));
    return againstZero ? conditions(op.getLhs(), place(op.getLhs()), isTrue) : std::nullopt;
  }
  if (!left || !right)
    return std::nullopt;
  PositionForm form = sum(*left, *right, -1); // lt, le: left - right <= -1, 0
  if (predicate == P::gt || predicate == P::ge)
    form = scaled(form, -1);
  if (predicate == P::lt || predicate == P::gt)
    form = sum(form, number(1));
  return Conditions{negated ? sum(number(1), form, -1) : form};
}

std::optional<Conditions> PositionRule::conditions(Value value, const Index &at, bool negated) {
  using Found = std::optional<Conditions>;
  Operation *op = value.getDefiningOp();
  if (!op)
    return std::nullopt;
  auto operand = [&](unsigned k, bool isNegated) { return conditions(op->getOperand(k), ofOperand(op->getOperand(k), value, at), isNegated); };
  auto both = [&]() -> Found {
    Found left = operand(0, negated), right = left ? operand(1, negated) : std::nullopt;
    if (!right)
      return std::nullopt;
    left->append(*right);
    return left;
  };
  return llvm::TypeSwitch<Operation *, Found>(op)
      .Case([&](llm::ConstantOp constant) { return conditionsOfTable(constant, at, negated); })
      .Case([&](llm::CompareOp compare) { return conditionsOfCompare(compare, at, negated); })
      .Case([&](llm::NotOp) { return operand(0, !negated); })
      .Case([&](llm::AndOp) { return negated ? std::nullopt : both(); })
      .Case([&](llm::OrOp) { return negated ? both() : std::nullopt; })
      .Case([&](llm::CastOp cast) -> Found {
        return getElementTypeOrSelf(cast.getInput().getType()).isInteger(1) || getElementTypeOrSelf(value.getType()).isInteger(1)
                   ? operand(0, negated) : std::nullopt;
      })
      .Case([&](llm::SelectOp select) -> Found {
        // select(c, true, false), as the triangle of a table of ones is written.
        auto always = [&](unsigned k, bool isNegated) {
          Found found = operand(k, isNegated);
          return found && found->empty();
        };
        if (always(1, negated) && always(2, !negated))
          return operand(0, false);
        return always(1, !negated) && always(2, negated) ? operand(0, true) : std::nullopt;
      })
      .Default([&](Operation *move) -> Found {
        auto place = before(move, at);
        return place ? conditions(move->getOperand(0), *place, negated) : std::nullopt;
      });
}
