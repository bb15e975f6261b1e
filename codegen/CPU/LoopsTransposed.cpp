//===- LoopsTransposed.cpp - nests that transpose squares in registers -----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a transposition reads contiguously is another dimension than what it writes so. Read element by element, each comes from a line of its own, and where
// the distance is a power of two all lines fall into one set of the caches: 1,024 channels of 128 x 128 pixels to channels last took 0.6 GB/s. Here squares of as many
// elements as a vector has lanes are loaded along one dimension, transposed in registers, and stored along the other, so each line is read and written once.
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/Loops.h"

#include "codegen/CPU/Elementwise.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

/// Vectors of a unit along the dimension that is read: whole pairs of lines.
static constexpr int64_t kVectorsAlong = 4;

namespace {

/// The dimension of a value along which what it is made of lies in memory; -1 if that is not one.
class ReadDimension {
public:
  explicit ReadDimension(ElementEmitter &e) : e_(e) {}
  int of(Value value) {
    auto known = known_.find(value); // a value may be read in many places
    if (known != known_.end())
      return known->second;
    int along = find(value);
    return known_[value] = along;
  }

private:
  int find(Value value) {
    Operation *op = value.getDefiningOp();
    if (auto transpose = dyn_cast_or_null<llm::TransposeOp>(op)) {
      int input = of(transpose.getInput());
      const auto *at = llvm::find(transpose.getPermutation(), input);
      return at == transpose.getPermutation().end() ? -1 : int(at - transpose.getPermutation().begin());
    }
    if (!op || !op->hasTrait<llm::Elementwise>())
      return innermost(e_.dims(value));
    std::optional<int> along;
    for (Value operand : op->getOperands()) {
      if (!llvm::equal(e_.dims(operand), e_.dims(value))) // broadcast: small
        continue;
      int own = of(operand);
      if (along.value_or(own) != own)
        return -1;
      along = own;
    }
    return along.value_or(-1);
  }

  ElementEmitter &e_;
  llvm::DenseMap<Value, int> known_;
};

/// Dimensions that a nest neither reads nor writes along.
ElementEmitter::Dims outerDims(const LoopNest &nest, int inner, int along) {
  ElementEmitter::Dims dims;
  for (auto [dim, size] : llvm::enumerate(nest.points))
    if (int(dim) != inner && int(dim) != along)
      dims.push_back(size);
  return dims;
}

} // namespace

std::optional<NestUnits> cpu::planTransposed(const LoopNest &nest, ElementEmitter &e, const LoopsChoice &choice) {
  constexpr int64_t kFewestLanes = 4;
  const LoopPart &part = nest.parts.front();
  int inner = innermost(nest.points), along = ReadDimension(e).of(part.value);
  bool whole = nest.parts.size() == 1 && llvm::equal(part.target, nest.points);
  if (!whole || inner < 0 || along < 0 || along >= inner || choice.lanes < kFewestLanes || e.elementType(part.value).isInteger(1))
    return std::nullopt;
  for (int dim : {inner, along})
    if (std::optional<int64_t> size = nest.points[size_t(dim)].constant(); size && *size < choice.lanes)
      return std::nullopt;
  SymContext &symbols = e.symbols();
  int64_t alongChunk = kVectorsAlong * choice.lanes, chunk = choice.lanes * std::max<int64_t>(1, choice.unitElements / (alongChunk * choice.lanes));
  NestUnits units;
  units.transposed = along;
  units.perUnit = symbols.constant(1);
  units.chunkColumns = symbols.constant(chunk);
  units.chunks = symbols.ceilDiv(nest.points[size_t(inner)], units.chunkColumns);
  units.readChunks = symbols.ceilDiv(nest.points[size_t(along)], symbols.constant(alongChunk));
  units.count = symbols.mul(e.product(outerDims(nest, inner, along)), symbols.mul(units.chunks, units.readChunks));
  return units;
}

/// Columns become rows: as many perfect shuffles as a number of a row has bits, each of which moves one bit of that number behind the column's and one of the column's behind the row's.
static void transposeSquare(KernelBuilder &b, KernelBuilder::Values &rows) {
  const size_t lanes = rows.size();
  SmallVector<int64_t> low, high;
  for (size_t i = 0; i < lanes; ++i) {
    low.push_back(int64_t(i / 2 + i % 2 * lanes));
    high.push_back(low.back() + int64_t(lanes / 2));
  }
  for (size_t bit = 1; bit < lanes; bit *= 2) {
    KernelBuilder::Values next;
    for (size_t i = 0; i < lanes / 2; ++i)
      for (ArrayRef<int64_t> half : {ArrayRef(low), ArrayRef(high)})
        next.push_back(vector::ShuffleOp::create(b.ops(), b.loc(), rows[i], rows[i + lanes / 2], half));
    rows = next;
  }
}

void cpu::emitTransposed(const LoopNest &nest, const NestUnits &units, ElementEmitter &e, Index unit) {
  LoopScopes &s = e.scopes;
  const LoopPart &part = nest.parts.front();
  const int inner = innermost(nest.points), along = units.transposed;
  const int64_t lanes = s.lanes;
  ElementEmitter::Dims others = outerDims(nest, inner, along);
  SymExpr rows = e.product(others);
  Index chunks = s.dim(units.chunks), alongChunks = s.dim(units.readChunks), rest = s.floorDiv(unit, chunks);
  ElementEmitter::Coordinates outer = e.regroup(ArrayRef<SymExpr>(rows), ArrayRef<Index>(s.floorDiv(rest, alongChunks)), others);
  struct Range {
    Index begin, vectorEnd, end;
  };
  auto range = [&](Index chunk, Index width, int dim) {
    Index begin = s.mul(chunk, width), end = s.min(s.add(begin, width), s.dim(nest.points[size_t(dim)]));
    return Range{begin, s.sub(end, s.mod(s.sub(end, begin), s.constant(lanes))), end};
  };
  Range columns = range(s.mod(unit, chunks), s.dim(units.chunkColumns), inner), reads = range(s.mod(rest, alongChunks), s.constant(kVectorsAlong * lanes), along);
  auto coordinates = [&](Index read, Index column) {
    ElementEmitter::Coordinates at;
    size_t other = 0;
    for (int dim = 0; dim < int(nest.points.size()); ++dim)
      at.push_back(dim == inner ? column : dim == along ? read : outer[other++]);
    return at;
  };
  auto store = [&](Value value, Index read, Index column) {
    Index offset = s.linearize(part.target, coordinates(read, column));
    storeElements(e.b, e.elementType(part.value), e.matchLanes(value, !offset.uniform()), e.b.buffer(part.buffer), s.scalar(offset));
  };
  auto loop = [&](Index begin, Index end, int64_t step, function_ref<void(Index)> body) { s.loop(s.scalar(begin), s.scalar(end), step, step, body); };
  auto points = [&](Index readBegin, Index readEnd, Index columnBegin, Index columnEnd) {
    loop(readBegin, readEnd, 1, [&](Index read) {
      loop(columnBegin, columnEnd, 1, [&](Index column) { store(e.element(part.value, coordinates(read, column)), read, column); });
    });
  };
  loop(reads.begin, reads.vectorEnd, lanes, [&](Index read) {
    loop(columns.begin, columns.vectorEnd, lanes, [&](Index column) {
      KernelBuilder::Values square;
      for (int64_t i = 0; i < lanes; ++i)
        square.push_back(e.matchLanes(e.element(part.value, coordinates(s.contiguous(read), s.add(column, s.constant(i)))), true));
      transposeSquare(e.b, square);
      for (int64_t i = 0; i < lanes; ++i)
        store(square[size_t(i)], s.add(read, s.constant(i)), s.contiguous(column));
    });
    points(read, s.add(read, s.constant(lanes)), columns.vectorEnd, columns.end);
  });
  points(reads.vectorEnd, reads.end, columns.begin, columns.end);
}
