//===- Rotation.cpp - rotary positions written out -------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "passes/Fusion/Rotation.h"

#include "passes/Fusion/WaveTables.h"

#include "llmopt/passes/Match.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

namespace {

std::optional<int64_t> onlyNumber(Value value) {
  auto constant = value.getDefiningOp<llm::ConstantOp>();
  auto elements = constant ? dyn_cast<DenseIntElementsAttr>(constant.getValue()) : nullptr;
  return elements && elements.getNumElements() == 1 ? std::optional((*elements.begin()).getSExtValue()) : std::nullopt;
}

SmallVector<SymExpr> withoutOnes(ArrayRef<SymExpr> dims) {
  return llvm::to_vector(llvm::make_filter_range(dims, [](SymExpr dim) { return !dim.isConstant(1); }));
}

bool sameButOnes(Value a, Value b, ShapeAnalysis &shapes) {
  auto left = withoutOnes(shapes.shapeOf(a).dims), right = withoutOnes(shapes.shapeOf(b).dims);
  return left.size() == right.size() && llvm::all_of(llvm::zip(left, right), [](auto pair) { return std::get<0>(pair) == std::get<1>(pair); });
}

int64_t lastDim(Value value) { return typeOf(value).getRank() ? typeOf(value).getShape().back() : 1; }

/// The value that a view shows with dimensions of 1 added or taken away; null for any other operation.
Value underOnes(Value value, ShapeAnalysis &shapes) {
  Operation *op = value.getDefiningOp();
  if (!op || !llm::isView(op) || !sameButOnes(value, op->getOperand(0), shapes))
    return {};
  return op->getOperand(0);
}

Value throughOnes(Value value, ShapeAnalysis &shapes) {
  while (Value under = underOnes(value, shapes))
    value = under;
  return value;
}

bool joinsAlongLast(llm::ConcatOp concat) {
  return concat && concat.getInputs().size() == 2 && int64_t(concat.getAxis()) == typeOf(concat).getRank() - 1;
}

/// a and b where `value` is [a0 b0 a1 b1 ..] along its last dimension: columns side by side, seen as one row.
std::pair<Value, Value> interleaved(Value value, ShapeAnalysis &shapes) {
  auto join = value.getDefiningOp<llm::ReshapeOp>();
  auto columns = join ? join.getInput().getDefiningOp<llm::ConcatOp>() : llm::ConcatOp();
  if (!joinsAlongLast(columns) || lastDim(columns) != 2 || lastDim(value) != 2 * typeOf(columns).getShape().drop_back().back())
    return {};
  auto column = [&](Value part) -> Value {
    Value row = lastDim(part) == 1 ? underOnes(part, shapes) : Value();
    return row && lastDim(row) * 2 == lastDim(value) ? row : Value();
  };
  return {column(columns.getInputs()[0]), column(columns.getInputs()[1])};
}

/// The row that `value` holds twice, element by element.
Value repeatedByElement(Value value, ShapeAnalysis &shapes) {
  auto [first, second] = interleaved(value, shapes);
  if (first && first == second)
    return first;
  auto join = value.getDefiningOp<llm::ReshapeOp>();
  Operation *repeat = join ? join.getInput().getDefiningOp() : nullptr;
  if (!isa_and_nonnull<llm::BroadcastOp, llm::TileOp>(repeat) || lastDim(join.getInput()) != 2 || lastDim(repeat->getOperand(0)) != 1)
    return {};
  Value row = underOnes(repeat->getOperand(0), shapes);
  auto repeated = shapes.shapeOf(join.getInput()).dims, once = shapes.shapeOf(repeat->getOperand(0)).dims;
  bool onlyLast = repeated.size() == once.size() && llvm::equal(ArrayRef(repeated).drop_back(), ArrayRef(once).drop_back(), [](SymExpr a, SymExpr b) { return a == b; });
  return row && onlyLast && lastDim(row) * 2 == lastDim(value) ? row : Value();
}

/// The factors of every row of `angle` in its last dimension, and the factor of each row: a product that repeats the one along the other,
/// or a matrix product of a column and a row, which may be transposed.
std::pair<Value, Value> factors(Value angle) {
  auto transpose = angle.getDefiningOp<llm::TransposeOp>();
  auto outer = (transpose ? transpose.getInput() : angle).getDefiningOp<llm::MatMulOp>();
  if (!outer) {
    auto product = angle.getDefiningOp<llm::MulOp>();
    if (!product)
      return {};
    bool leftIsRow = lastDim(product.getLhs()) != 1;
    return leftIsRow ? std::pair<Value, Value>(product.getLhs(), product.getRhs()) : std::pair<Value, Value>(product.getRhs(), product.getLhs());
  }
  int64_t rank = typeOf(angle).getRank();
  SmallVector<int64_t> swapped = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  if (rank >= 2)
    std::swap(swapped[size_t(rank - 1)], swapped[size_t(rank - 2)]);
  auto column = typeOf(outer.getLhs()), row = typeOf(outer.getRhs());
  if (column.getRank() < 2 || row.getRank() < 2 || column.getShape().back() != 1 || (transpose && transpose.getPermutation() != ArrayRef(swapped)))
    return {};
  return transpose ? std::pair<Value, Value>(outer.getLhs(), outer.getRhs()) : std::pair<Value, Value>(outer.getRhs(), outer.getLhs());
}

/// position * frequency, the positions converted from integers.
bool matchAngle(Value angle, WaveTable &table, ShapeAnalysis &shapes) {
  auto [frequency, position] = factors(angle);
  if (!frequency || !typeOf(angle).getElementType().isF32())
    return false;
  if (auto broadcast = frequency.getDefiningOp<llm::BroadcastOp>())
    frequency = broadcast.getInput();
  auto dims = typeOf(frequency);
  auto cast = throughOnes(position, shapes).getDefiningOp<llm::CastOp>();
  auto from = cast ? typeOf(cast.getInput()).getElementType() : Type();
  if (!llm::isWeightExpression(frequency) || !dims.hasStaticShape() || dims.getNumElements() != lastDim(angle) || !cast ||
      !(from.isInteger(32) || from.isInteger(64)))
    return false;
  table.positions = throughOnes(cast.getInput(), shapes);
  table.frequencies = frequency;
  return true;
}

/// Rows of a table that holds waves, or of some of its columns.
bool matchStored(Value value, WaveTable &table, ShapeAnalysis &shapes) {
  auto columns = LastAxisSlice::match(value);
  if (columns && columns->step != 1)
    return false;
  auto gather = (columns ? columns->input : value).getDefiningOp<llm::GatherOp>();
  auto waves = gather ? storedWaves(gather, columns ? columns->begin : 0, columns ? columns->end : lastDim(value)) : std::nullopt;
  if (!waves || (waves->twice && table.repeats != Repeats::Once))
    return false;
  table.isSine = waves->isSine;
  table.repeats = waves->twice ? Repeats::Halves : table.repeats;
  table.scale *= waves->scale;
  table.positions = throughOnes(gather.getIndices(), shapes);
  table.foundFrequencies = waves->frequencies;
  table.rows = typeOf(gather.getInput()).getDimSize(0);
  return true;
}

/// One number may follow sums or products, not both.
std::optional<std::pair<Value, double>> scaled(Value value) {
  auto product = value.getDefiningOp<llm::MulOp>();
  if (!product)
    return std::nullopt;
  auto right = splatOf(product.getRhs()), left = splatOf(product.getLhs());
  Value rest = right ? product.getLhs() : left ? product.getRhs() : Value();
  return rest && rest.getType() == value.getType() ? std::optional(std::pair(rest, right ? *right : *left)) : std::nullopt;
}

} // namespace

//===----------------------------------------------------------------------===//
// Tables
//===----------------------------------------------------------------------===//

std::optional<WaveTable> WaveTable::match(Value value, ShapeAnalysis &shapes) {
  WaveTable table;
  bool foundWave = false, firstHalf = false;
  // Each step either goes up, or says that there is no table.
  for (int step = 0; step < 16; ++step) {
    if (!firstHalf && (foundWave ? matchAngle(value, table, shapes) : matchStored(value, table, shapes)))
      return table;
    if (Value under = lastDim(value) != 1 ? underOnes(value, shapes) : Value(); under && lastDim(under) == lastDim(value)) {
      value = under;
    } else if (isa_and_nonnull<llm::CosOp, llm::SinOp>(value.getDefiningOp()) && !foundWave) {
      foundWave = true;
      table.isSine = isa<llm::SinOp>(value.getDefiningOp());
      value = value.getDefiningOp()->getOperand(0);
    } else if (auto factor = foundWave ? std::nullopt : scaled(value)) {
      table.scale *= factor->second;
      value = factor->first;
    } else if (auto concat = value.getDefiningOp<llm::ConcatOp>(); joinsAlongLast(concat) && concat.getInputs()[0] == concat.getInputs()[1]) {
      if (table.repeats != Repeats::Once && !firstHalf)
        return std::nullopt;
      if (!firstHalf)
        table.repeats = Repeats::Halves;
      firstHalf = false;
      value = concat.getInputs()[0];
    } else if (auto half = LastAxisSlice::match(value); half && half->begin == 0 && half->step == 1 && half->end * 2 == lastDim(half->input) && !firstHalf) {
      firstHalf = true;
      value = half->input;
    } else if (Value row = table.repeats == Repeats::Once && !firstHalf ? repeatedByElement(value, shapes) : Value()) {
      table.repeats = Repeats::Neighbours;
      value = row;
    } else {
      return std::nullopt;
    }
  }
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Rotations
//===----------------------------------------------------------------------===//

std::optional<LastAxisSlice> LastAxisSlice::match(Value value) {
  auto slice = value.getDefiningOp<llm::SliceOp>();
  if (!slice || slice.getAxes().size() != 1 || slice.getAxes()[0] != typeOf(slice).getRank() - 1 || slice.getSteps()[0] < 1)
    return std::nullopt;
  auto begin = onlyNumber(slice.getStarts()), end = onlyNumber(slice.getEnds());
  int64_t size = lastDim(slice.getInput());
  if (!begin || !end || ShapedType::isDynamic(size))
    return std::nullopt;
  auto clamped = [&](int64_t index) { return std::clamp<int64_t>(index < 0 ? index + size : index, 0, size); };
  return LastAxisSlice{slice.getInput(), clamped(*begin), clamped(*end), slice.getSteps()[0]};
}

namespace {

/// The value of which `first` and `second` are the features of all pairs.
std::optional<Rotation> halvesOf(Value first, Value second) {
  auto a = LastAxisSlice::match(first), b = LastAxisSlice::match(second);
  if (!a || !b || a->input != b->input || a->step != b->step)
    return std::nullopt;
  int64_t size = lastDim(a->input);
  bool split = a->step == 1 && a->begin == 0 && a->end * 2 == size && b->begin == a->end && b->end == size;
  bool neighbours = a->step == 2 && a->begin == 0 && a->end >= size - 1 && b->begin == 1 && b->end == size && size % 2 == 0;
  if (!split && !neighbours)
    return std::nullopt;
  return Rotation{a->input, {}, {}, Repeats::Once, neighbours, {}};
}

/// concat(-second, first), or both interleaved.
std::optional<Rotation> matchTurned(Value value, ShapeAnalysis &shapes) {
  std::pair<Value, Value> parts = interleaved(value, shapes);
  bool neighbours = parts.first && parts.second;
  if (auto concat = value.getDefiningOp<llm::ConcatOp>(); !neighbours && joinsAlongLast(concat))
    parts = {concat.getInputs()[0], concat.getInputs()[1]};
  auto negated = parts.first ? throughOnes(parts.first, shapes).getDefiningOp<llm::NegOp>() : llm::NegOp();
  auto found = negated ? halvesOf(parts.second, negated.getInput()) : std::nullopt;
  if (!found || found->interleaved != neighbours)
    return std::nullopt;
  found->tables = neighbours ? Repeats::Neighbours : Repeats::Halves;
  found->inside = {value, negated};
  return found;
}

/// x * cos + turned(x) * sin.
std::optional<Rotation> matchSum(llm::AddOp sum, ShapeAnalysis &shapes) {
  for (auto [plain, turned] : {std::pair(sum.getLhs(), sum.getRhs()), {sum.getRhs(), sum.getLhs()}}) {
    auto straight = plain.getDefiningOp<llm::MulOp>(), across = turned.getDefiningOp<llm::MulOp>();
    if (!straight || !across)
      continue;
    for (auto [rotated, sine] : {std::pair(across.getLhs(), across.getRhs()), {across.getRhs(), across.getLhs()}})
      if (auto found = matchTurned(rotated, shapes)) {
        found->sine = sine;
        found->inside.append({plain, turned});
        if ((found->cosine = otherOperand(straight, found->input)))
          return found;
      }
  }
  return std::nullopt;
}

/// What both products read, and their other operands.
struct SharedProducts {
  Value table, first, second;
};
std::optional<SharedProducts> sharedTable(Value left, Value right) {
  auto a = left.getDefiningOp<llm::MulOp>(), b = right.getDefiningOp<llm::MulOp>();
  if (a && b)
    for (Value table : {a.getLhs(), a.getRhs()})
      if (Value other = otherOperand(b, table))
        return SharedProducts{table, otherOperand(a, table), other};
  return std::nullopt;
}

/// (a cos - b sin, b cos + a sin) joined.
std::optional<Rotation> matchParts(Value value, ShapeAnalysis &shapes) {
  std::pair<Value, Value> parts = interleaved(value, shapes);
  bool neighbours = parts.first && parts.second;
  if (auto concat = value.getDefiningOp<llm::ConcatOp>(); !neighbours && joinsAlongLast(concat))
    parts = {concat.getInputs()[0], concat.getInputs()[1]};
  auto real = parts.first ? parts.first.getDefiningOp<llm::SubOp>() : llm::SubOp();
  auto imaginary = parts.second ? parts.second.getDefiningOp<llm::AddOp>() : llm::AddOp();
  if (!real || !imaginary)
    return std::nullopt;
  for (auto [withCosine, withSine] : {std::pair(imaginary.getLhs(), imaginary.getRhs()), {imaginary.getRhs(), imaginary.getLhs()}}) {
    auto cosine = sharedTable(real.getLhs(), withCosine), sine = sharedTable(real.getRhs(), withSine);
    if (!cosine || !sine || cosine->first != sine->second || cosine->second != sine->first)
      continue;
    auto found = halvesOf(cosine->first, sine->first);
    if (!found || found->interleaved != neighbours)
      continue;
    found->cosine = cosine->table;
    found->sine = sine->table;
    found->inside = {parts.first, parts.second, real.getLhs(), real.getRhs(), withCosine, withSine};
    return found;
  }
  return std::nullopt;
}

} // namespace

std::optional<Rotation> Rotation::match(Value value, ShapeAnalysis &shapes) {
  if (auto sum = value.getDefiningOp<llm::AddOp>())
    return matchSum(sum, shapes);
  return matchParts(value, shapes);
}
