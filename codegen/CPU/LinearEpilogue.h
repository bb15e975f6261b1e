//===- LinearEpilogue.h - what follows a matrix product ---------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Computes the elementwise operations behind matrix products on registers, one vector of one result row at a time, and stores
// the results. Other operands broadcast to the result as ONNX and NumPy do.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_LINEAREPILOGUE_H
#define LLMOPT_CODEGEN_CPU_LINEAREPILOGUE_H

#include "codegen/CPU/Bf16Words.h"
#include "codegen/CPU/LinearRegion.h"
#include "codegen/CPU/MatMulTile.h"

namespace llmopt::cpu {

/// Offset of place `index` (flat over `leading`) in a tensor of dimensions `own` that broadcasts to them; one step of its
/// innermost dimension is `stride` elements.
mlir::Value broadcastOffset(KernelBuilder &b, mlir::Value index, llvm::ArrayRef<SymExpr> leading, llvm::ArrayRef<SymExpr> own,
                            mlir::Value stride);

class LinearEpilogue {
public:
  /// `products`: the values that the accumulators stand for; `leading`: result dimensions before the last; `columns`: the last,
  /// static or (columnsValue) read at run time.
  LinearEpilogue(KernelBuilder &b, ShapeAnalysis &shapes, const Target &target, llvm::ArrayRef<mlir::Value> products,
                 llvm::ArrayRef<LinearOutput> outputs, llvm::ArrayRef<SymExpr> leading, SymExpr columns, int64_t lanes);

  /// Rows [firstRow, firstRow + rows) of `width` columns from firstColumn on. Product p lies in `tile` (f32 unless the
  /// products have another type) at p * productStride + row * width + column. Columns of the tile that do not exist are left
  /// out; the caller says that tiles end at a multiple of `granule`, so none is cut where that divides the number of columns.
  void emitTile(mlir::Value firstRow, mlir::Value rows, mlir::Value firstColumn, int64_t width, mlir::Value tile,
                int64_t productStride, int64_t granule = 16);

  /// The same for a tile whose columns all exist and whose last product is in registers; the others lie in `tile`.
  void emitRegisters(mlir::Value firstRow, mlir::Value firstColumn, const TileShape &shape, mlir::ValueRange lastProduct,
                     mlir::Value tile, int64_t productStride);
  /// Prefetches what emitRegisters will read row by row, such as a residual, and write: before the product, so that nothing waits for it behind.
  void prefetchRows(mlir::Value firstRow, mlir::Value firstColumn, const TileShape &shape);
  /// The same during the product, a line of each tensor in each of its first `prefetchSteps` steps: all at once would keep the product's own loads waiting.
  static int64_t prefetchSteps(const TileShape &shape);
  void prefetchStep(mlir::Value firstRow, mlir::Value firstColumn, const TileShape &shape, mlir::Value step);
  /// Few and cheap operations: worth repeating for each register of a tile.
  bool isLight() const;

  /// The type of the products in registers.
  mlir::Type productElement() const { return productElement_; }

private:
  /// A tensor read or written at row * rowOffset + column.
  struct Access {
    mlir::Value value;
    unsigned binding = 0;
    bool splat = false;                  ///< one element for all columns
    std::optional<unsigned> rows = {};   ///< binding of the numbers of its rows, where not one after the other
  };
  struct Row {
    llvm::SmallVector<mlir::Value> operands, outputs; ///< element offsets of column 0
  };
  void addAccess(mlir::Value value);
  bool isRounded(mlir::Value value) const;
  Row startRow(mlir::Value row);
  mlir::Value chosenRow(const Access &access, mlir::Value row);
  bool liesRowByRow(const Access &access);
  void prefetchLine(mlir::Value row, mlir::Value firstColumn, int64_t columns, mlir::Value line);
  void emitVector(const Row &row, mlir::Value column, mlir::ValueRange products, mlir::Value count);
  void storeVector(const LinearOutput &output, const Row &row, mlir::Value offset, mlir::Value column, llvm::DenseMap<mlir::Value, mlir::Value> &known,
                   mlir::Value count);
  mlir::Value evaluate(mlir::Value value, llvm::DenseMap<mlir::Value, mlir::Value> &known, const Row &row, mlir::Value column,
                       mlir::Value count);

  KernelBuilder &b_;
  ShapeAnalysis &shapes_;
  llvm::SmallVector<mlir::Value> products_;
  llvm::SmallVector<LinearOutput> outputs_;
  llvm::SmallVector<SymExpr> leading_;
  SymExpr columns_;
  int64_t lanes_;
  bool looksUp_; ///< tables in registers
  Bf16Words words_;
  mlir::Type productElement_;
  llvm::SmallVector<Access> accesses_;
};

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_LINEAREPILOGUE_H
