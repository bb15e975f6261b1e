//===- ShapeAnalysis.h - shapes in symbols ------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// For each value of a function: its dimensions as symbolic expressions and, for small integer tensors (shapes, slice
// bounds), its elements too, as far as they follow from the function's inputs. Frontends ask it for result types while
// they build; passes and code generation ask it again later. `inferShape` is the one place that knows each
// operation's shape rule.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_ANALYSIS_SHAPEANALYSIS_H
#define LLMOPT_LIB_ANALYSIS_SHAPEANALYSIS_H

#include "llmopt/lib/Analysis/SymExpr.h"

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Operation.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SmallVector.h"

#include <memory>
#include <vector>

namespace mlir {
class OpBuilder;
}

namespace llmopt {

struct ValueShape {
  llvm::SmallVector<SymExpr, 4> dims;
  /// Elements in row-major order, for integer tensors of at most kMaxTracked elements; entries may be unknown.
  std::optional<llvm::SmallVector<SymExpr, 4>> elements;
};

/// lhs <= rhs was taken for granted, because the graph makes sense only so: a slice of a table of 1024 positions up to
/// "past + seq" needs past + seq <= 1024. What relies on the shapes must refuse symbol values that break it.
struct ShapeAssumption {
  SymExpr lhs, rhs;
  mlir::Location location;
};

class ShapeAnalysis {
public:
  static constexpr int64_t kMaxTracked = 128;

  explicit ShapeAnalysis(SymContext &symbols) : symbols_(symbols) {}
  SymContext &symbols() { return symbols_; }

  /// Seeds the arguments from `llm.dims` (or fresh symbols for `?` without a name) and infers every operation,
  /// the regions of `exec.kernel` included.
  void run(mlir::Operation *function);
  /// Infers one operation whose operands are known to the analysis; static dimensions of the result types win over
  /// unknown ones. Records and returns the shapes of its results; a dimension that cannot be told is unknown.
  llvm::SmallVector<ValueShape, 1> infer(mlir::Operation *op);
  /// The shape of a value; infers its defining operation if that has not been done. Never fails: unknown dims where nothing is known.
  const ValueShape &shapeOf(mlir::Value value);
  void set(mlir::Value value, ValueShape shape);
  /// For code that erases operations: a new value could get the old one's address.
  void forget(mlir::Operation *op);
  /// Without duplicates, in the order met.
  llvm::ArrayRef<ShapeAssumption> assumptions() const { return assumptions_; }
  void assume(SymExpr lhs, SymExpr rhs, mlir::Location location);
  /// `size` is that of a tensor that exists: from now on rules may use that it is not negative. Where that does not follow from its form
  /// ("samples / 10 - 1", which an input too short for a window makes -1), it is one more assumption.
  void assumeSize(SymExpr size, mlir::Location location);

  /// The tensor type that says what is known: constants become static sizes, anything else `?`.
  static mlir::RankedTensorType typeOf(const ValueShape &shape, mlir::Type elementType);
  /// Elements of a small integer tensor as plain integers, if all are constant.
  std::optional<llvm::SmallVector<int64_t>> constantElements(mlir::Value value);

private:
  friend mlir::Operation *createInferred(mlir::OpBuilder &, mlir::Location, ShapeAnalysis &, llvm::StringRef,
                                         mlir::ValueRange, llvm::ArrayRef<mlir::NamedAttribute>, mlir::Type);
  const ValueShape *find(mlir::Value value) const;
  void seedArguments(mlir::Block &block);
  void inferKernel(mlir::Operation *kernel);
  /// With `typed` unset, the result types are placeholders that say nothing but the element type; then nothing is returned
  /// where a rank cannot be told.
  llvm::SmallVector<ValueShape, 1> inferKnownOperands(mlir::Operation *op, bool typed);

  SymContext &symbols_;
  /// Held by pointer: `shapeOf` gives out references that must outlive the next insertion.
  llvm::DenseMap<mlir::Value, std::unique_ptr<ValueShape>> shapes_;
  llvm::SmallVector<ShapeAssumption, 0> assumptions_;
  std::vector<SymExpr> sizes_; ///< not negative, by assumption
};

/// Builds `op` with result types found by the analysis instead of given by the caller:
/// `createInferred(builder, loc, analysis, "llm.add", {a, b})`. The element type of each result follows the operation's rule
/// (that of the first operand, i1 for comparisons, i64 for shape ...) unless `elementType` is given (cast). Operations
/// with several optional operands need `operandSegmentSizes` among the attributes. Null for a name that is not
/// registered, or when not even the rank of a result follows (a reshape to a shape of unknown length, a weight).
mlir::Operation *createInferred(mlir::OpBuilder &builder, mlir::Location loc, ShapeAnalysis &analysis, llvm::StringRef opName,
                                mlir::ValueRange operands, llvm::ArrayRef<mlir::NamedAttribute> attributes = {},
                                mlir::Type elementType = {});

} // namespace llmopt

#endif // LLMOPT_LIB_ANALYSIS_SHAPEANALYSIS_H
