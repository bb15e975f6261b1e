//===- LinearEpilogue.cpp - what follows a matrix product -----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/LinearEpilogue.h"

#include "codegen/CPU/Elementwise.h"
#include "codegen/CPU/MathApproximation.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/ADT/bit.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

static Type elementOf(Value tensor) { return getElementTypeOrSelf(tensor.getType()); }

LinearEpilogue::LinearEpilogue(KernelBuilder &b, ShapeAnalysis &shapes, const Target &target, ArrayRef<Value> products,
                               ArrayRef<LinearOutput> outputs, ArrayRef<SymExpr> leading, SymExpr columns, int64_t lanes)
    : b_(b), shapes_(shapes), products_(products), outputs_(outputs), leading_(leading), columns_(columns), lanes_(lanes),
      looksUp_(lanes == 16 && target.vectorBits == 512), words_(b, target.bf16Dot) {
  productElement_ = registerType(elementOf(products_.front()));
  for (const LinearOutput &output : outputs_)
    addAccess(output.value);
}

/// Finds the block arguments that computing `value` reads.
void LinearEpilogue::addAccess(Value value) {
  llm::GatherOp chosen = chosenRows(value);
  if (isa<BlockArgument>(value) || chosen) {
    if (llvm::none_of(accesses_, [&](const Access &access) { return access.value == value; })) {
      ArrayRef<SymExpr> dims = shapes_.shapeOf(value).dims;
      bool splat = dims.empty() || (dims.back().isConstant(1) && !columns_.isConstant(1));
      accesses_.push_back({value, bindingOf(chosen ? chosen.getInput() : value), splat});
      if (chosen)
        accesses_.back().rows = bindingOf(chosen.getIndices());
    }
    return;
  }
  if (llvm::is_contained(products_, value)) {
    if (auto linear = value.getDefiningOp<llm::LinearOp>(); linear && linear.getBias())
      addAccess(linear.getBias());
    return;
  }
  for (Value operand : value.getDefiningOp()->getOperands())
    addAccess(operand);
}

Value cpu::broadcastOffset(KernelBuilder &b, Value index, ArrayRef<SymExpr> leading, ArrayRef<SymExpr> own, Value stride) {
  if (llvm::all_of(own, [](SymExpr dim) { return dim.isConstant(1); }))
    return b.index(0);
  if (own.size() == leading.size() && std::equal(own.begin(), own.end(), leading.begin()))
    return b.mul(index, stride);
  // Takes the index apart, from the innermost dimension outwards.
  Value rest = index, offset = b.index(0);
  for (size_t i = 0; i < own.size() && i < leading.size(); ++i) {
    SymExpr size = leading[leading.size() - 1 - i], mine = own[own.size() - 1 - i];
    bool outermost = i + 1 == leading.size();
    Value place = outermost ? rest : b.mod(rest, b.dim(size));
    rest = outermost ? rest : b.floorDiv(rest, b.dim(size));
    if (mine.isConstant(1))
      continue;
    if (!(mine == size))
      place = b.select(b.equal(b.dim(mine), b.index(1)), b.index(0), place);
    offset = b.add(offset, b.mul(place, stride));
    stride = b.mul(stride, b.dim(mine));
  }
  return offset;
}

/// Whether nobody uses this value but to round it to bf16.
bool LinearEpilogue::isRounded(Value value) const {
  return llvm::all_of(value.getUsers(), [](Operation *user) { return isa<llm::CastOp>(user) && elementOf(user->getResult(0)).isBF16(); });
}

/// As a gather reads its indices: negative ones count from the end, and none leads outside.
Value LinearEpilogue::chosenRow(const Access &access, Value row) {
  auto gather = access.value.getDefiningOp<llm::GatherOp>();
  Value number = b_.load(elementOf(gather.getIndices()), b_.buffer(*access.rows), row), rows = b_.dim(shapes_.shapeOf(gather.getInput()).dims.front()), zero = b_.index(0);
  if (number.getType() != b_.i64())
    number = arith::ExtSIOp::create(b_.ops(), b_.loc(), b_.i64(), number);
  number = b_.select(b_.less(number, zero), b_.add(number, rows), number);
  return b_.max(b_.min(number, b_.add(rows, -1)), zero);
}

LinearEpilogue::Row LinearEpilogue::startRow(Value row) {
  Row result;
  for (const Access &access : accesses_) {
    ArrayRef<SymExpr> dims = shapes_.shapeOf(access.value).dims;
    if (access.rows)
      result.operands.push_back(b_.mul(chosenRow(access, row), b_.dim(dims.back())));
    else
      result.operands.push_back(dims.empty() ? b_.index(0) : broadcastOffset(b_, row, leading_, dims.drop_back(), b_.dim(dims.back())));
  }
  Value offset = b_.mul(row, b_.dim(columns_));
  result.outputs.assign(outputs_.size(), offset);
  return result;
}

static Value splatConstant(KernelBuilder &b, llm::ConstantOp op, VectorType type) {
  auto splat = cast<DenseElementsAttr>(op.getValue());
  if (auto floats = dyn_cast<FloatType>(type.getElementType())) {
    bool loses = false;
    APFloat value = splat.getSplatValue<APFloat>();
    value.convert(floats.getFloatSemantics(), APFloat::rmNearestTiesToEven, &loses);
    auto attribute = DenseElementsAttr::get(type, value);
    return arith::ConstantOp::create(b.ops(), b.loc(), cast<TypedAttr>(attribute));
  }
  auto attribute = DenseElementsAttr::get(type, splat.getSplatValue<APInt>());
  return arith::ConstantOp::create(b.ops(), b.loc(), cast<TypedAttr>(attribute));
}

Value LinearEpilogue::evaluate(Value value, llvm::DenseMap<Value, Value> &known, const Row &row, Value column, Value count) {
  if (auto it = known.find(value); it != known.end())
    return it->second;
  Value result;
  VectorType type = b_.vec(lanes_, registerType(elementOf(value)));
  if (isa<BlockArgument>(value) || chosenRows(value)) {
    auto access = llvm::find_if(accesses_, [&](const Access &access) { return access.value == value; });
    Value offset = row.operands[size_t(access - accesses_.begin())], base = b_.buffer(access->binding);
    if (access->splat)
      result = b_.splat(loadElements(b_, elementOf(value), 0, base, offset), type);
    else
      result = loadElements(b_, elementOf(value), lanes_, base, b_.add(offset, column), count);
  } else if (auto constant = value.getDefiningOp<llm::ConstantOp>()) {
    result = splatConstant(b_, constant, type);
  } else {
    SmallVector<Value> operands;
    for (Value operand : value.getDefiningOp()->getOperands())
      operands.push_back(evaluate(operand, known, row, column, count));
    auto gelu = value.getDefiningOp<llm::GeluOp>();
    bool byTable = gelu && looksUp_ && elementOf(value).isF32();
    result = byTable ? emitGeluByTable(b_, operands[0], gelu.getTanh(), isRounded(value)) : emitElementwise(b_, value.getDefiningOp(), operands);
  }
  known[value] = result;
  return result;
}

void LinearEpilogue::emitVector(const Row &row, Value column, ValueRange products, Value count) {
  llvm::DenseMap<Value, Value> known;
  for (auto [tensor, product] : llvm::zip_equal(products_, products)) {
    Value sum = product;
    if (auto linear = tensor.getDefiningOp<llm::LinearOp>(); linear && linear.getBias())
      sum = b_.fadd(sum, evaluate(linear.getBias(), known, row, column, count));
    known[tensor] = sum;
  }
  for (auto [output, offset] : llvm::zip_equal(outputs_, row.outputs))
    storeVector(output, row, b_.add(offset, column), column, known, count);
}

void LinearEpilogue::storeVector(const LinearOutput &output, const Row &row, Value offset, Value column, llvm::DenseMap<Value, Value> &known, Value count) {
  Value place = b_.buffer(output.binding);
  auto cast = output.value.getDefiningOp<llm::CastOp>();
  if (!cast || !elementOf(output.value).isBF16() || !elementOf(cast.getInput()).isF32())
    return storeElements(b_, elementOf(output.value), evaluate(output.value, known, row, column, count), place, offset, count);
  Value rounded = words_.round(evaluate(cast.getInput(), known, row, column, count));
  count ? b_.storePart(rounded, place, offset, count) : b_.store(rounded, place, offset);
}

void LinearEpilogue::emitTile(Value firstRow, Value rows, Value firstColumn, int64_t width, Value tile, int64_t productStride,
                              int64_t granule) {
  VectorType type = b_.vec(lanes_, productElement_);
  bool whole = columns_.constant() && *columns_.constant() % granule == 0;
  constexpr int64_t kMostVectors = 4; // of a row that are written out
  b_.forLoop(b_.index(0), rows, 1, [&](Value r) {
    Row row = startRow(b_.add(firstRow, r));
    Value tileRow = b_.mul(r, width);
    auto eachVector = [&](function_ref<void(Value)> body) {
      if (!whole || width > kMostVectors * lanes_)
        return b_.forLoop(b_.index(0), b_.index(width), lanes_, body);
      for (int64_t c = 0; c < width; c += lanes_)
        body(b_.index(c));
    };
    eachVector([&](Value c) {
      Value column = b_.add(firstColumn, c), place = b_.add(tileRow, c);
      SmallVector<Value> products;
      for (size_t p = 0; p < products_.size(); ++p)
        products.push_back(b_.load(type, tile, b_.add(place, int64_t(p) * productStride)));
      if (whole)
        return emitVector(row, column, products, {});
      Value left = b_.sub(b_.dim(columns_), column);
      b_.ifThen(
          b_.less(left, b_.index(lanes_)),
          [&] { b_.ifThen(b_.less(b_.index(0), left), [&] { emitVector(row, column, products, left); }); },
          [&] { emitVector(row, column, products, {}); });
    });
  });
}

void LinearEpilogue::emitRegisters(Value firstRow, Value firstColumn, const TileShape &shape, ValueRange lastProduct, Value tile,
                                   int64_t productStride) {
  VectorType type = b_.vec(lanes_, productElement_);
  for (int64_t r = 0; r < shape.rows; ++r) {
    Row row = startRow(b_.add(firstRow, r));
    for (int64_t c = 0; c < shape.columns(); c += shape.lanes) {
      SmallVector<Value> products;
      for (size_t p = 0; p + 1 < products_.size(); ++p)
        products.push_back(b_.load(type, tile, b_.index(int64_t(p) * productStride + r * shape.columns() + c)));
      products.push_back(lastProduct[size_t((r * shape.columns() + c) / shape.lanes)]);
      emitVector(row, b_.add(firstColumn, c), products, {});
    }
  }
}

static void prefetchForWriting(KernelBuilder &b, Value base, Value offset, Type element) {
  auto number = [&](int32_t value) { return b.ops().getI32IntegerAttr(value); };
  LLVM::Prefetch::create(b.ops(), b.loc(), b.address(base, offset, element), number(/*rw=*/1), number(/*locality=*/3), number(/*data=*/1));
}

/// Each row of the products has one of its own.
bool LinearEpilogue::liesRowByRow(const Access &access) {
  ArrayRef<SymExpr> dims = shapes_.shapeOf(access.value).dims;
  return !access.splat && !dims.empty() && dims.drop_back() == ArrayRef(leading_);
}

/// Of each tensor that is read or written row by row the line'th line of columns [firstColumn, firstColumn + columns).
void LinearEpilogue::prefetchLine(Value row, Value firstColumn, int64_t columns, Value line) {
  auto placeOf = [&](FloatType element) { return b_.add(firstColumn, b_.min(b_.mul(line, 512 / int64_t(element.getWidth())), b_.index(columns - 1))); };
  Row rows = startRow(row);
  for (auto [access, offset] : llvm::zip_equal(accesses_, rows.operands))
    if (auto element = dyn_cast<FloatType>(elementOf(access.value)); element && liesRowByRow(access))
      b_.prefetch(b_.buffer(access.binding), b_.add(offset, placeOf(element)), element, /*locality=*/3);
  for (auto [output, offset] : llvm::zip_equal(outputs_, rows.outputs))
    if (auto element = dyn_cast<FloatType>(elementOf(output.value)))
      prefetchForWriting(b_, b_.buffer(output.binding), b_.add(offset, placeOf(element)), element);
}

static int64_t mostLines(const TileShape &shape) { return int64_t(llvm::bit_ceil(uint64_t(shape.columns() * 32 + 511) / 512)); }

void LinearEpilogue::prefetchRows(Value firstRow, Value firstColumn, const TileShape &shape) {
  for (int64_t r = 0; r < shape.rows; ++r)
    for (int64_t line = 0; line < mostLines(shape); ++line)
      prefetchLine(b_.add(firstRow, r), firstColumn, shape.columns(), b_.index(line));
}

int64_t LinearEpilogue::prefetchSteps(const TileShape &shape) { return shape.rows * mostLines(shape); }

void LinearEpilogue::prefetchStep(Value firstRow, Value firstColumn, const TileShape &shape, Value step) {
  int64_t lines = mostLines(shape);
  prefetchLine(b_.add(firstRow, b_.floorDiv(step, lines)), firstColumn, shape.columns(), b_.mod(step, lines));
}

bool LinearEpilogue::isLight() const {
  SmallVector<Value> pending;
  llvm::SmallPtrSet<Operation *, 8> seen;
  for (const LinearOutput &output : outputs_)
    pending.push_back(output.value);
  while (!pending.empty()) {
    Value value = pending.pop_back_val();
    Operation *op = value.getDefiningOp();
    if (!op || llvm::is_contained(products_, value) || isa<llm::ConstantOp>(op) || chosenRows(value) || !seen.insert(op).second)
      continue;
    if (!isa<llm::AddOp, llm::SubOp, llm::MulOp, llm::NegOp, llm::ReluOp, llm::CastOp>(op))
      return false;
    llvm::append_range(pending, op->getOperands());
  }
  return seen.size() <= 4;
}
