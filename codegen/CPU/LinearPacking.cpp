//===- LinearPacking.cpp - rows of the input in tile order ----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/LinearPacking.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

using Values = KernelBuilder::Values;

Value shuffle(KernelBuilder &b, Value x, Value y, ArrayRef<int64_t> mask) {
  return vector::ShuffleOp::create(b.ops(), b.loc(), x, y, mask);
}

/// Eight rows of eight become eight columns: three rounds of two-operand shuffles.
Values transpose8(KernelBuilder &b, ValueRange rows) {
  Values pairs, quads, columns(8);
  for (size_t i = 0; i < 8; i += 2) {
    pairs.push_back(shuffle(b, rows[i], rows[i + 1], {0, 8, 1, 9, 4, 12, 5, 13}));
    pairs.push_back(shuffle(b, rows[i], rows[i + 1], {2, 10, 3, 11, 6, 14, 7, 15}));
  }
  for (size_t group : {0, 4})
    for (size_t i : {0, 1}) {
      quads.push_back(shuffle(b, pairs[group + i], pairs[group + i + 2], {0, 1, 8, 9, 4, 5, 12, 13}));
      quads.push_back(shuffle(b, pairs[group + i], pairs[group + i + 2], {2, 3, 10, 11, 6, 7, 14, 15}));
    }
  for (size_t i = 0; i < 4; ++i) {
    columns[i] = shuffle(b, quads[i], quads[i + 4], {0, 1, 2, 3, 8, 9, 10, 11});
    columns[i + 4] = shuffle(b, quads[i], quads[i + 4], {4, 5, 6, 7, 12, 13, 14, 15});
  }
  return columns;
}

} // namespace

// The surplus lanes of a store are overwritten by the next one.
void cpu::packTile(KernelBuilder &b, int64_t height, int64_t stride, Value length, int64_t lengthMultiple, Value from, Value to) {
  VectorType eight = b.vec(8, b.f32());
  Value whole = lengthMultiple % 8 == 0 ? length : b.sub(length, b.mod(length, b.index(8)));
  b.forLoop(b.index(0), whole, 8, [&](Value k) {
    Value source = b.address(from, k, b.f32()), target = b.address(to, b.mul(k, height), b.f32());
    llvm::SmallVector<Values> groups;
    for (int64_t first = 0; first < height; first += 8) {
      Values rows;
      for (int64_t row = first; row < first + 8; ++row)
        rows.push_back(row < height ? b.load(eight, source, b.index(row * stride)) : rows.back());
      groups.push_back(transpose8(b, rows));
    }
    for (int64_t i = 0; i < 8; ++i)
      for (auto [group, columns] : llvm::enumerate(groups))
        b.store(columns[size_t(i)], target, b.index(i * height + int64_t(group) * 8));
  });
  if (lengthMultiple % 8 == 0)
    return;
  b.forLoop(whole, length, 1, [&](Value k) {
    Value source = b.address(from, k, b.f32()), target = b.address(to, b.mul(k, height), b.f32());
    for (int64_t row = 0; row < height; ++row)
      b.store(b.load(b.f32(), source, b.index(row * stride)), target, b.index(row));
  });
}

void cpu::packRows(KernelBuilder &b, const RowPacking &packing, const RowTiles &tiles, Value first, Value last, Value input,
                   Value packed) {
  Value firstRow = tiles.firstRow(first), rows = b.sub(tiles.firstRow(last), firstRow);
  b.forLoop(b.index(0), b.index(packing.depth), packing.kBlock, [&](Value k0) {
    Value length = b.min(b.sub(b.index(packing.depth), k0), b.index(packing.kBlock));
    Value blockStart = b.mul(k0, rows);
    b.forLoop(first, last, 1, [&](Value tile) {
      Value row = tiles.firstRow(tile);
      Value from = b.address(input, b.add(b.mul(b.sub(row, firstRow), packing.depth), k0), b.f32());
      Value to = b.address(packed, b.add(blockStart, b.mul(b.sub(row, firstRow), length)), b.f32());
      switchRows(b, tiles.rowCount(tile), packing.tileRows, [&](int64_t height) {
        packTile(b, height, packing.depth, length, packing.depth % 8 == 0 ? 8 : 1, from, to);
      });
    });
  });
}
