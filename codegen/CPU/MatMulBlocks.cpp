//===- MatMulBlocks.cpp - products of two run-time tensors ----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A work unit walks K in blocks. For each it copies the right operand's block into panels of 16 columns, converted to the type of
// the sums, and lets the register tile run over its rows. The sums stay in scratch memory; each is one chain over K.
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/MatMulBlocks.h"

#include "codegen/CPU/Elementwise.h"
#include "codegen/CPU/LinearEpilogue.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

constexpr int64_t kDepth = 256; ///< K of one block

class MatMulWriter {
public:
  MatMulWriter(KernelBuilder &b, const MatMulProblem &problem, ShapeAnalysis &shapes, const Target &target, int64_t vectorBits);
  void unit(Value unit);
  int64_t scratchBytes() const { return (leftAt_ + (convertsLeft_ ? kMatMulRows * kDepth : 0)) * elementBytes_; }

private:
  struct Block {
    Value left, right;       ///< addresses of the unit's first row and first column
    Value rows, columns;     ///< of the unit
  };
  void depthBlock(const Block &block, Value k0);
  void packRight(const Block &block, Value k0, Value depth);
  void packLeft(const Block &block, Value k0, Value depth);
  void tiles(const Block &block, Value k0, Value depth);
  Value loadSum(Type source, int64_t lanes, Value base, Value offset, Value count);
  Value part(int64_t offset) { return b_.address(b_.scratch(), b_.index(offset), sum_); }
  Value matrix(Value operand, ArrayRef<SymExpr> batch, Value index, SymExpr rows, SymExpr columns);
  static Type elementOf(Value tensor) { return getElementTypeOrSelf(tensor.getType()); }

  KernelBuilder &b_;
  const MatMulProblem &problem_;
  LinearEpilogue epilogue_;
  Type sum_;
  int64_t elementBytes_, lanes_, tileRows_, tilePanels_;
  int64_t panelsAt_ = kMatMulRows * kMatMulColumns, leftAt_ = panelsAt_ + kDepth * kMatMulColumns;
  bool convertsLeft_;
};

/// Type of the sums: as the result has it in registers.
Type sumType(const MatMulProblem &problem) {
  llm::MatMulOp op = problem.op;
  return registerType(getElementTypeOrSelf(op.getResult().getType()));
}

int64_t lanesOf(const MatMulProblem &problem, int64_t vectorBits) {
  return vectorBits / std::max<int64_t>(32, sumType(problem).getIntOrFloatBitWidth());
}

MatMulWriter::MatMulWriter(KernelBuilder &b, const MatMulProblem &problem, ShapeAnalysis &shapes, const Target &target,
                           int64_t vectorBits)
    : b_(b), problem_(problem), epilogue_(b, shapes, target, Value(llm::MatMulOp(problem.op).getResult()), problem.outputs, problem.leading,
                                          problem.columns, lanesOf(problem, vectorBits)),
      sum_(sumType(problem)), elementBytes_(std::max<int64_t>(1, sum_.getIntOrFloatBitWidth() / 8)),
      lanes_(lanesOf(problem, vectorBits)), convertsLeft_(elementOf(problem.left) != sum_) {
  int64_t accumulators = target.vectorRegisters >= 32 ? 24 : 12, vectors = 16 / lanes_;
  tilePanels_ = vectors == 1 ? 4 : 1;
  tileRows_ = std::clamp<int64_t>(accumulators / (vectors * tilePanels_), 1, 6);
}

/// Elements as the sums take them: floats widened by the load, integers by their sign.
Value MatMulWriter::loadSum(Type source, int64_t lanes, Value base, Value offset, Value count) {
  Value value = loadElements(b_, source, lanes, base, offset, count);
  Type wanted = lanes ? Type(b_.vec(lanes, sum_)) : sum_;
  if (value.getType() == wanted)
    return value;
  if (source.isUnsignedInteger())
    return arith::ExtUIOp::create(b_.ops(), b_.loc(), wanted, value);
  return arith::ExtSIOp::create(b_.ops(), b_.loc(), wanted, value);
}

/// Element offset of matrix `index` of the batch.
Value MatMulWriter::matrix(Value operand, ArrayRef<SymExpr> batch, Value index, SymExpr rows, SymExpr columns) {
  return broadcastOffset(b_, index, problem_.batch, batch, b_.mul(b_.dim(rows), b_.dim(columns)));
}

void MatMulWriter::unit(Value unit) {
  Value m = b_.dim(problem_.rows), n = b_.dim(problem_.columns), k = b_.dim(problem_.depth);
  Value rowBlocks = b_.floorDiv(b_.add(m, kMatMulRows - 1), kMatMulRows);
  Value columnBlocks = b_.floorDiv(b_.add(n, kMatMulColumns - 1), kMatMulColumns);
  Value column = b_.mul(b_.mod(unit, columnBlocks), kMatMulColumns), rest = b_.floorDiv(unit, columnBlocks);
  Value row = b_.mul(b_.mod(rest, rowBlocks), kMatMulRows), index = b_.floorDiv(rest, rowBlocks);
  Value leftOffset = b_.add(matrix(problem_.left, problem_.leftBatch, index, problem_.rows, problem_.depth), b_.mul(row, k));
  Value rightOffset = b_.add(matrix(problem_.right, problem_.rightBatch, index, problem_.depth, problem_.columns), column);
  Block block;
  auto addressOf = [&](Value operand, Value offset) {
    Type element = elementOf(operand);
    Type memory = element.isBF16() || element.isF16() ? Type(b_.ops().getIntegerType(16)) : registerType(element);
    return b_.address(b_.buffer(bindingOf(operand)), offset, memory);
  };
  block.left = addressOf(problem_.left, leftOffset);
  block.right = addressOf(problem_.right, rightOffset);
  block.rows = b_.min(b_.sub(m, row), b_.index(kMatMulRows));
  block.columns = b_.min(b_.sub(n, column), b_.index(kMatMulColumns));
  VectorType type = b_.vec(lanes_, sum_);
  Value zero = isa<FloatType>(sum_) ? b_.constant(type, 0) : b_.constantInt(type, 0);
  b_.forLoop(b_.index(0), b_.mul(block.rows, kMatMulColumns), lanes_, [&](Value i) { b_.store(zero, b_.scratch(), i); });
  b_.forLoop(b_.index(0), k, kDepth, [&](Value k0) { depthBlock(block, k0); });
  epilogue_.emitTile(b_.add(b_.mul(index, m), row), block.rows, column, kMatMulColumns, b_.scratch(), 0, kMatMulColumns);
}

void MatMulWriter::depthBlock(const Block &block, Value k0) {
  Value depth = b_.min(b_.sub(b_.dim(problem_.depth), k0), b_.index(kDepth));
  packRight(block, k0, depth);
  if (convertsLeft_)
    packLeft(block, k0, depth);
  tiles(block, k0, depth);
}

/// [panel][k][16]; columns that do not exist are zero or, in whole panels, left as they are and never stored.
void MatMulWriter::packRight(const Block &block, Value k0, Value depth) {
  Type source = elementOf(problem_.right);
  b_.forLoop(b_.index(0), depth, 1, [&](Value k) {
    Value from = b_.mul(b_.add(k0, k), b_.dim(problem_.columns)), to = b_.mul(k, 16);
    b_.forLoop(b_.index(0), block.columns, lanes_, [&](Value column) {
      Value panel = b_.mul(b_.floorDiv(column, 16), kDepth * 16);
      Value place = b_.add(b_.add(to, panel), b_.mod(column, 16)), left = b_.sub(block.columns, column);
      b_.ifThen(
          b_.less(left, b_.index(lanes_)),
          [&] { b_.store(loadSum(source, lanes_, block.right, b_.add(from, column), left), part(panelsAt_), place); },
          [&] { b_.store(loadSum(source, lanes_, block.right, b_.add(from, column), {}), part(panelsAt_), place); });
    });
  });
}

void MatMulWriter::packLeft(const Block &block, Value k0, Value depth) {
  b_.forLoop(b_.index(0), block.rows, 1, [&](Value row) {
    Value from = b_.add(b_.mul(row, b_.dim(problem_.depth)), k0), to = b_.mul(row, kDepth);
    b_.forLoop(b_.index(0), depth, 1, [&](Value k) {
      b_.store(loadSum(elementOf(problem_.left), 0, block.left, b_.add(from, k), {}), part(leftAt_), b_.add(to, k));
    });
  });
}

void MatMulWriter::tiles(const Block &block, Value k0, Value depth) {
  RowTiles rows(b_, block.rows, tileRows_);
  b_.forLoop(b_.index(0), block.columns, tilePanels_ * 16, [&](Value column) {
    b_.forLoop(b_.index(0), rows.tiles, 1, [&](Value tile) {
      Value first = rows.firstRow(tile);
      switchRows(b_, rows.rowCount(tile), tileRows_, [&](int64_t height) {
        TileShape shape{height, tilePanels_, lanes_};
        TileOperands in;
        in.element = sum_;
        in.depth = depth;
        if (convertsLeft_) {
          in.a = b_.address(part(leftAt_), b_.mul(first, kDepth), sum_);
          in.aRow = kDepth;
        } else {
          for (int64_t row = 0; row < height; ++row) {
            Value offset = b_.add(b_.mul(b_.add(first, row), b_.dim(problem_.depth)), k0);
            in.aRows.push_back(b_.address(block.left, offset, sum_));
          }
        }
        for (int64_t panel = 0; panel < tilePanels_; ++panel) {
          Value place = b_.mul(b_.add(column, panel * 16), kDepth);
          in.panels.push_back(b_.address(part(panelsAt_), place, sum_));
        }
        Value sums = b_.address(b_.scratch(), b_.add(b_.mul(first, kMatMulColumns), column), sum_);
        storeTile(b_, shape, emitTileLoop(b_, shape, in, loadTile(b_, shape, sum_, sums, kMatMulColumns)), sums, kMatMulColumns);
      });
    });
  });
}

} // namespace

int64_t cpu::emitMatMul(KernelBuilder &b, const MatMulProblem &problem, ShapeAnalysis &shapes, const Target &target,
                        int64_t vectorBits) {
  MatMulWriter writer(b, problem, shapes, target, vectorBits);
  b.forEachUnit([&](Value unit) { writer.unit(unit); });
  return writer.scratchBytes();
}
