//===- LoopsNest.cpp - iteration spaces and their work units --------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/Loops.h"

#include "codegen/CPU/Elementwise.h"

#include "llmopt/dialects/Strategy/Strategy.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

LoopsChoice cpu::chooseLoops(exec::KernelOp kernel, const Target &target) {
  LoopsChoice choice;
  int64_t bits = target.vectorBits;
  if (auto attribute = dyn_cast_or_null<strategy::LoopsAttr>(kernel.getStrategyAttr())) {
    choice.unitElements = attribute.getUnitElements();
    bits = attribute.getVectorBits();
  }
  choice.lanes = target.isGpu() ? 1 : std::max<int64_t>(4, bits / 32);
  choice.unitElements = std::max(choice.lanes, choice.unitElements / choice.lanes * choice.lanes);
  return choice;
}

//===----------------------------------------------------------------------===//
// From yielded values to nests
//===----------------------------------------------------------------------===//

static void addParts(Value value, LoopPart part, ShapeAnalysis &shapes, SmallVectorImpl<LoopPart> &parts) {
  auto concat = value.getDefiningOp<llm::ConcatOp>();
  if (!concat) {
    part.value = value;
    parts.push_back(std::move(part));
    return;
  }
  SymContext &symbols = shapes.symbols();
  for (Value input : concat.getInputs()) {
    addParts(input, part, shapes, parts);
    SymExpr &shift = part.shift[size_t(concat.getAxis())];
    shift = symbols.add(shift, shapes.shapeOf(input).dims[size_t(concat.getAxis())]);
  }
}

std::vector<LoopNest> cpu::makeNests(exec::KernelOp kernel, ShapeAnalysis &shapes) {
  std::vector<LoopNest> nests;
  Operation *yield = kernel.getBody().front().getTerminator();
  for (auto [i, yielded] : llvm::enumerate(yield->getOperands())) {
    Value value = peelViews(yielded);
    LoopPart whole;
    whole.buffer = unsigned(kernel.getInputs().size() + i);
    whole.target = shapes.shapeOf(value).dims;
    whole.shift.assign(whole.target.size(), shapes.symbols().constant(0));
    SmallVector<LoopPart> parts;
    addParts(value, whole, shapes, parts);
    for (LoopPart &part : parts) {
      ElementEmitter::Dims points = shapes.shapeOf(part.value).dims;
      auto same = llvm::find_if(nests, [&](const LoopNest &nest) { return llvm::equal(nest.points, points); });
      if (same == nests.end()) {
        nests.push_back({points, {}});
        same = std::prev(nests.end());
      }
      same->parts.push_back(std::move(part));
    }
  }
  return nests;
}

//===----------------------------------------------------------------------===//
// Units
//===----------------------------------------------------------------------===//

/// Sizes that one element of an op loops over.
static SymExpr loopSize(Operation *op, ElementEmitter &e) {
  auto sizes = [&](Value value, ArrayRef<int64_t> axes) {
    ElementEmitter::Dims dims;
    for (int64_t axis : axes)
      dims.push_back(e.dims(value)[size_t(axis)]);
    return e.product(dims);
  };
  return llvm::TypeSwitch<Operation *, SymExpr>(op)
      .Case<llm::ReduceOp>([&](llm::ReduceOp reduce) { return sizes(reduce.getInput(), reduce.getAxes()); })
      .Case<llm::ArgReduceOp>([&](llm::ArgReduceOp reduce) { return sizes(reduce.getInput(), reduce.getAxis()); })
      .Case<llm::MatMulOp>([&](llm::MatMulOp matmul) { return e.dims(matmul.getLhs()).back(); })
      .Case<llm::LinearOp>([&](llm::LinearOp linear) { return e.dims(linear.getInput()).back(); })
      .Case<llm::ConvOp>([&](llm::ConvOp conv) { return e.product(e.dims(conv.getWeight()).drop_front()); })
      .Default([&](Operation *) { return e.symbols().constant(1); });
}

namespace {

/// Follows the innermost coordinate of a nest to the operations it reaches.
class InnerCoordinate {
public:
  static constexpr int kNone = -1, kSomewhere = -2;
  explicit InnerCoordinate(ElementEmitter &e) : e(e) {}

  SymExpr work;              ///< loops inside one element, where they differ from element to element
  bool reducesRows = false;  ///< a reduction over contiguous elements for each point

  void visit(Value value, int inner) {
    Operation *op = value.getDefiningOp();
    if (!op || !seen_.insert({value, inner}).second)
      return;
    if (inner != kNone)
      multiplyWork(loopSize(op, e));
    if (auto reduce = dyn_cast<llm::ReduceOp>(op)) {
      size_t rank = e.dims(reduce.getInput()).size();
      if (inner != kNone && llvm::is_contained(reduce.getAxes(), int64_t(rank) - 1))
        reducesRows = true;
      return visit(reduce.getInput(), inner == kNone ? kNone : kSomewhere);
    }
    if (auto reduce = dyn_cast<llm::ArgReduceOp>(op)) {
      if (inner != kNone && reduce.getAxis() + 1 == uint64_t(e.dims(reduce.getInput()).size()))
        reducesRows = true;
      return visit(reduce.getInput(), inner == kNone ? kNone : kSomewhere);
    }
    for (Value operand : op->getOperands())
      visit(operand, follow(op, operand, inner));
  }

private:
  ElementEmitter &e;
  llvm::DenseSet<std::pair<Value, int>> seen_;

  void multiplyWork(SymExpr size) {
    if (size.known() && !size.isConstant(1))
      work = work.known() ? e.symbols().max(work, size) : size;
  }

  int follow(Operation *op, Value operand, int inner) {
    if (inner == kNone)
      return kNone;
    ArrayRef<SymExpr> from = e.dims(operand), to = e.dims(op->getResult(0));
    if (op->hasTrait<llm::Elementwise>() || isa<llm::BroadcastOp>(op)) {
      if (inner == kSomewhere)
        return e.product(from).isConstant(1) ? kNone : kSomewhere;
      int at = inner - int(to.size()) + int(from.size());
      return at < 0 || from[size_t(at)].isConstant(1) ? kNone : at;
    }
    if (auto transpose = dyn_cast<llm::TransposeOp>(op))
      return inner < 0 ? inner : int(transpose.getPermutation()[size_t(inner)]);
    if (auto expand = dyn_cast<llm::ExpandDimsOp>(op); expand && inner >= 0)
      return inner - int(llvm::count_if(expand.getAxes(), [&](int64_t axis) { return axis < inner; }));
    return kSomewhere;
  }
};

} // namespace

int cpu::innermost(ArrayRef<SymExpr> points) {
  int inner = int(points.size()) - 1;
  while (inner >= 0 && points[size_t(inner)].isConstant(1))
    --inner;
  return inner;
}

NestUnits cpu::planNest(const LoopNest &nest, ElementEmitter &e, const LoopsChoice &choice) {
  SymContext &symbols = e.symbols();
  SymExpr one = symbols.constant(1), unit = symbols.constant(choice.unitElements);
  NestUnits units;
  units.flat = llvm::all_of(nest.parts, [&](const LoopPart &part) {
    return llvm::equal(part.target, nest.points) && e.canEmitFlat(part.value);
  });
  if (units.flat) {
    units.perUnit = unit;
    units.chunks = one;
    units.count = symbols.ceilDiv(e.product(nest.points), unit);
    return units;
  }
  int inner = innermost(nest.points);
  InnerCoordinate coordinate(e);
  for (const LoopPart &part : nest.parts)
    coordinate.visit(part.value, inner < 0 ? InnerCoordinate::kSomewhere : inner); // a single point counts as inner
  // Joined along a later dimension, the points of a part lie apart in memory.
  bool apart = inner >= 0 && llvm::any_of(nest.parts, [&](const LoopPart &part) {
    return !e.product(ArrayRef<SymExpr>(part.target).drop_front(size_t(inner) + 1)).isConstant(1);
  });
  units.scalar = coordinate.reducesRows || apart;
  if (!units.scalar && !coordinate.work.known())
    if (std::optional<NestUnits> transposed = planTransposed(nest, e, choice))
      return *transposed;
  SymExpr work = coordinate.work.known() ? symbols.max(coordinate.work, one) : one;
  SymExpr columns = inner < 0 ? one : nest.points[size_t(inner)];
  SymExpr rows = e.product(ArrayRef<SymExpr>(nest.points).take_front(size_t(std::max(inner, 0))));
  SymExpr lanes = symbols.constant(choice.lanes);
  SymExpr vectors = symbols.max(one, symbols.floorDiv(unit, symbols.mul(lanes, work)));
  SymExpr chunk = symbols.mul(lanes, vectors);
  units.perUnit = symbols.max(one, symbols.floorDiv(unit, symbols.max(one, symbols.mul(columns, work))));
  units.chunks = symbols.ceilDiv(columns, chunk);
  units.chunkColumns = chunk;
  units.count = symbols.mul(symbols.ceilDiv(rows, units.perUnit), units.chunks);
  return units;
}

//===----------------------------------------------------------------------===//
// Code
//===----------------------------------------------------------------------===//

void cpu::forColumns(ElementEmitter &e, Index begin, Index end, SymExpr size, function_ref<void(Index)> body) {
  LoopScopes &s = e.scopes;
  bool whole = e.symbols().provenMultipleOf(size, s.lanes);
  auto constant = size.constant();
  if (constant && *constant < s.lanes) {
    s.loop(s.scalar(begin), s.scalar(end), 1, 1, body);
    return;
  }
  Index vectorEnd = whole ? end : s.sub(end, s.mod(s.sub(end, begin), s.constant(s.lanes)));
  s.loop(s.scalar(begin), s.scalar(vectorEnd), s.lanes, s.lanes, [&](Index i) { body(s.contiguous(i)); });
  if (!whole)
    s.loop(s.scalar(vectorEnd), s.scalar(end), 1, 1, body);
}

namespace {

class NestCode {
public:
  NestCode(const LoopNest &nest, const NestUnits &units, ElementEmitter &e) : nest(nest), units(units), e(e), s(e.scopes), b(e.b) {}

  void flat(Index unit) {
    Index total = s.dim(e.product(nest.points)), begin = s.mul(unit, s.dim(units.perUnit));
    Index end = s.min(s.add(begin, s.dim(units.perUnit)), total);
    columns(begin, end, e.product(nest.points), [&](Index i) {
      SmallVector<Value> values;
      for (const LoopPart &part : nest.parts)
        values.push_back(e.flatElement(part.value, i));
      for (auto [part, value] : llvm::zip_equal(nest.parts, values))
        store(part, value, i);
    });
  }

  void rows(Index unit) {
    int inner = innermost(nest.points);
    size_t outer = size_t(std::max(inner, 0));
    ArrayRef<SymExpr> rowDims = ArrayRef<SymExpr>(nest.points).take_front(outer);
    SymExpr width = inner < 0 ? e.symbols().constant(1) : nest.points[outer];
    Index perUnit = s.dim(units.perUnit), chunks = s.dim(units.chunks), chunk = s.dim(units.chunkColumns);
    Index first = s.mul(s.floorDiv(unit, chunks), perUnit);
    Index end = s.min(s.add(first, perUnit), s.dim(e.product(rowDims)));
    Index columnBegin = s.mul(s.mod(unit, chunks), chunk);
    // The chunk is a multiple of the vector length (planNest), which a product with a symbolic size does not show.
    columnBegin.factor = columnBegin.is(0) ? 0 : std::max<int64_t>(columnBegin.factor, s.lanes);
    Index columnEnd = units.chunks.isConstant(1) ? s.dim(width) : s.min(s.add(columnBegin, chunk), s.dim(width));
    auto row = [&](Index row) {
      ElementEmitter::Coordinates at = outerCoordinates(rowDims, row);
      if (inner < 0)
        return point(at, s.constant(0));
      columns(columnBegin, columnEnd, width, [&](Index column) { point(at, column); });
    };
    if (outer == 0)
      row(s.constant(0));
    else if (units.perUnit.isConstant(1))
      row(first);
    else
      s.loop(s.scalar(first), s.scalar(end), 1, 1, row);
  }

private:
  const LoopNest &nest;
  const NestUnits &units;
  ElementEmitter &e;
  LoopScopes &s;
  KernelBuilder &b;

  ElementEmitter::Coordinates outerCoordinates(ArrayRef<SymExpr> dims, Index row) {
    SymExpr all = e.product(dims);
    return e.regroup(ArrayRef<SymExpr>(all), ArrayRef<Index>(row), dims);
  }

  void columns(Index begin, Index end, SymExpr size, function_ref<void(Index)> body) {
    if (units.scalar)
      s.loop(s.scalar(begin), s.scalar(end), 1, 1, body);
    else
      forColumns(e, begin, end, size, body);
  }

  void point(const ElementEmitter::Coordinates &outer, Index column) {
    ElementEmitter::Coordinates at(outer);
    if (at.size() < nest.points.size())
      at.push_back(column);
    at.resize(nest.points.size(), s.constant(0));
    // All values before any store: an output may lie on an input that is read at the same point.
    SmallVector<Value> values;
    for (const LoopPart &part : nest.parts)
      values.push_back(e.element(part.value, at));
    for (auto [part, value] : llvm::zip_equal(nest.parts, values)) {
      ElementEmitter::Coordinates to;
      for (auto [index, shift] : llvm::zip_equal(at, part.shift))
        to.push_back(s.add(index, s.dim(shift)));
      store(part, e.matchLanes(value, !column.uniform()), s.linearize(part.target, to));
    }
  }

  void store(const LoopPart &part, Value value, Index offset) {
    Type type = e.elementType(part.value);
    value = e.matchLanes(value, !offset.uniform());
    storeElements(b, type, value, b.buffer(part.buffer), s.scalar(offset));
  }
};

} // namespace

void cpu::emitNest(const LoopNest &nest, const NestUnits &units, ElementEmitter &emitter, Index unit) {
  if (units.transposed >= 0)
    return emitTransposed(nest, units, emitter, unit);
  NestCode code(nest, units, emitter);
  units.flat ? code.flat(unit) : code.rows(unit);
}
