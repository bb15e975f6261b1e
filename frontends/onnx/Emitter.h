//===- Emitter.h - short words for building llm operations ------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The vocabulary of the operator files. Files are not to be trusted, so every method checks what the dialect takes for
// granted, and the first problem sticks: from then on all methods return null values, and null operands are allowed
// everywhere. An operator is written straight down and the caller asks `status()` once, at the end.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_ONNX_EMITTER_H
#define LLMOPT_FRONTENDS_ONNX_EMITTER_H

#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"
#include "llmopt/lib/Support/Status.h"

#include "mlir/IR/Builders.h"

namespace llmopt::onnx {

using mlir::Type;
using mlir::Value;
using mlir::ValueRange;
template <typename T>
using ArrayRef = llvm::ArrayRef<T>;

/// One entry of a shape that is put together: a number times dimensions of values.
struct DimProduct {
  int64_t number = 1;
  llvm::SmallVector<std::pair<Value, int64_t>, 2> dims;

  DimProduct(int64_t number) : number(number) {}
  DimProduct(Value value, int64_t dim) { dims.push_back({value, dim}); }
  DimProduct &operator*=(const DimProduct &other) {
    number *= other.number;
    dims.append(other.dims.begin(), other.dims.end());
    return *this;
  }
};

class Emitter {
public:
  Emitter(mlir::MLIRContext *context, ShapeAnalysis &analysis) : builder(context), analysis(analysis), loc(builder.getUnknownLoc()) {}

  mlir::OpBuilder builder;
  ShapeAnalysis &analysis;
  mlir::Location loc;

  // The first problem since `clear()`.
  void clear() { status_ = Status(); }
  const Status &status() const { return status_; }
  bool failed() const { return !status_.ok(); }
  void invalid(std::string message);     ///< the file breaks a rule
  void unsupported(std::string message); ///< we cannot do it

  // Types and shapes of values; harmless answers for null.
  mlir::RankedTensorType typeOf(Value value) const;
  Type elementType(Value value) const { return typeOf(value).getElementType(); }
  /// A float that can be computed with, or one of at most 8 bits, which can only be moved and cast.
  bool isFloat(Value value) const { return llvm::isa<mlir::FloatType>(elementType(value)) && !isNarrowFloat(elementType(value)); }
  static bool isNarrowFloat(Type type) { return llvm::isa<mlir::FloatType>(type) && type.getIntOrFloatBitWidth() <= 8; }
  bool isBool(Value value) const { return elementType(value).isInteger(1); }
  int64_t rank(Value value) const { return value ? typeOf(value).getRank() : 0; }
  /// The dimension if it is a number, else nothing.
  std::optional<int64_t> staticDim(Value value, int64_t dim) const;
  /// Proven equal.
  bool sameDim(Value a, int64_t i, Value b, int64_t j);
  bool sameShape(Value a, Value b);
  /// Elements that are known now.
  std::optional<llvm::SmallVector<int64_t>> ints(Value value);
  std::optional<llvm::SmallVector<double>> floats(Value value);
  /// Depends on constants and weights only.
  bool isConstant(Value value) const { return constants_.contains(value); }
  void markConstant(Value value) { constants_.insert(value); }
  /// A negative axis counts from `rank`; outside it is invalid and gives 0.
  int64_t axis(int64_t axis, int64_t rank);

  // Constants.
  Value constant(mlir::DenseElementsAttr elements);
  Value vector(ArrayRef<int64_t> elements); ///< i64 [n]
  Value integer(int64_t number);            ///< i64, rank 0
  Value scalar(Type elementType, double number); ///< rank 0

  // Any operation of one result.
  Value op(llvm::StringRef name, ValueRange operands, ArrayRef<mlir::NamedAttribute> attributes = {}, Type elementType = {});
  mlir::NamedAttribute attr(llvm::StringRef name, int64_t value) { return builder.getNamedAttr(name, builder.getI64IntegerAttr(value)); }
  mlir::NamedAttribute attr(llvm::StringRef name, ArrayRef<int64_t> values) {
    return builder.getNamedAttr(name, builder.getDenseI64ArrayAttr(values));
  }
  mlir::NamedAttribute attr(llvm::StringRef name, mlir::Attribute value) { return builder.getNamedAttr(name, value); }
  mlir::NamedAttribute f32Attr(llvm::StringRef name, double value) { return builder.getNamedAttr(name, builder.getF32FloatAttr(float(value))); }
  mlir::NamedAttribute unit(llvm::StringRef name) { return builder.getNamedAttr(name, builder.getUnitAttr()); }

  // Elementwise.
  Value unary(llvm::StringRef name, Value input); ///< name with "llm."
  Value binary(llvm::StringRef name, Value lhs, Value rhs, ArrayRef<mlir::NamedAttribute> attributes = {});
  Value add(Value a, Value b) { return binary("llm.add", a, b); }
  Value sub(Value a, Value b) { return binary("llm.sub", a, b); }
  Value mul(Value a, Value b) { return binary("llm.mul", a, b); }
  Value div(Value a, Value b) { return binary("llm.div", a, b); }
  Value min(Value a, Value b) { return binary("llm.min", a, b); }
  Value max(Value a, Value b) { return binary("llm.max", a, b); }
  // With a number in the element type of `a`.
  Value add(Value a, double b) { return add(a, scalar(elementType(a), b)); }
  Value sub(Value a, double b) { return sub(a, scalar(elementType(a), b)); }
  Value mul(Value a, double b) { return b == 1 ? a : mul(a, scalar(elementType(a), b)); }
  Value div(Value a, double b) { return div(a, scalar(elementType(a), b)); }
  Value compare(llm::ComparePredicate predicate, Value lhs, Value rhs);
  Value compare(llm::ComparePredicate predicate, Value lhs, double rhs) { return compare(predicate, lhs, scalar(elementType(lhs), rhs)); }
  Value select(Value condition, Value lhs, Value rhs);
  /// Nothing when it has that type. Floats of at most 8 bits saturate, or with `overflow` become infinity or NaN.
  Value cast(Value input, Type elementType, bool overflow = false);
  Value bitcast(Value input, Type elementType);
  Type f32() { return builder.getF32Type(); }
  Type i64() { return builder.getI64Type(); }
  /// f16 and bf16 become f32, where intermediate rounding would show.
  Value widen(Value input) { return elementType(input).isF16() || elementType(input).isBF16() ? cast(input, f32()) : input; }

  // Shapes.
  Value shapeOf(Value input);
  Value dim(Value input, int64_t dim);       ///< i64, rank 0
  Value dimVector(Value input, int64_t dim); ///< i64 [1]
  Value shapeVector(ArrayRef<DimProduct> dims);
  Value reshape(Value input, ArrayRef<int64_t> shape); ///< 0 copies, -1 is the rest, as in ONNX
  Value reshapeTo(Value input, Value shape, bool allowZero = false);
  Value reshapeDims(Value input, ArrayRef<DimProduct> dims);
  Value transpose(Value input, ArrayRef<int64_t> permutation);
  Value expandDims(Value input, ArrayRef<int64_t> axes);
  Value squeeze(Value input, ArrayRef<int64_t> axes);
  Value broadcast(Value input, Value shape);
  Value concat(ValueRange inputs, int64_t axis);
  Value slice(Value input, Value starts, Value ends, ArrayRef<int64_t> axes, ArrayRef<int64_t> steps);
  Value slice(Value input, int64_t axis, int64_t start, int64_t end);
  Value gather(Value input, Value indices, int64_t axis);
  Value range(Value start, Value limit);          ///< step 1
  Value iota(Value input, int64_t dim);           ///< 0, 1, ... as long as a dimension, i64 [n]
  Value toScalar(Value input);                    ///< [1] or [] to rank 0
  Value toVector(Value input);                    ///< [] to [1]

  // Over several elements.
  Value reduce(llm::ReduceKind kind, Value input, ArrayRef<int64_t> axes, bool keepDims = true);
  Value softmax(Value input, int64_t axis);
  Value matmul(Value lhs, Value rhs);

private:
  /// False, and a sticky problem, where two shapes do not broadcast.
  bool checkBroadcast(Value a, Value b);

  Status status_;
  llvm::DenseSet<Value> constants_;
};

/// "f32[batch, 4]" for messages.
std::string describeType(ShapeAnalysis &analysis, Value value);

} // namespace llmopt::onnx

#endif // LLMOPT_FRONTENDS_ONNX_EMITTER_H
