//===- GraphBuilder.h - writes ops of the llm dialect -----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// In an imported function every tensor but a weight begins with a dimension of tokens (or rows), unknown when
// compiling, and all other dimensions are known. So result types need no analysis here.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_HF_GRAPHBUILDER_H
#define LLMOPT_FRONTENDS_HF_GRAPHBUILDER_H

#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Support/DType.h"

#include "mlir/IR/Builders.h"

#include <string>

namespace llmopt::hf {

class GraphBuilder {
public:
  explicit GraphBuilder(mlir::OpBuilder builder) : builder_(builder), location_(builder.getUnknownLoc()) {}

  /// Name of the operations that follow, such as "model.layers.3.self_attn.q_proj".
  void at(const std::string &name);
  mlir::Location location() const { return location_; }
  mlir::OpBuilder &builder() { return builder_; }

  template <typename Op, typename... Arguments>
  mlir::Value create(mlir::Type type, Arguments &&...arguments) {
    return Op::create(builder_, location_, type, std::forward<Arguments>(arguments)...);
  }
  template <typename Op>
  mlir::Value unary(mlir::Value input) {
    return create<Op>(input.getType(), input);
  }
  /// With NumPy's broadcasting.
  template <typename Op>
  mlir::Value binary(mlir::Value left, mlir::Value right) {
    return create<Op>(broadcastType(left, right), left, right);
  }

  mlir::Value scalar(double value);
  /// A scalar of the element type of `like`.
  mlir::Value scalarLike(double value, mlir::Value like);
  mlir::Value integers(llvm::ArrayRef<int64_t> values);
  mlir::Value floats(llvm::ArrayRef<float> values);
  mlir::Value weight(const std::string &name, DType dtype, llvm::ArrayRef<int64_t> shape);
  /// The same values as f32.
  mlir::Value toF32(mlir::Value value);

  mlir::Value linear(mlir::Value input, mlir::Value weight, mlir::Value bias, bool transposed);
  /// `dims` of 0 and -1 mean what they mean to llm.reshape.
  mlir::Value reshape(mlir::Value input, llvm::ArrayRef<int64_t> dims);
  /// Elements [begin, end) of a dimension, each `step`.
  mlir::Value slice(mlir::Value input, int64_t axis, int64_t begin, int64_t end, int64_t step = 1);
  mlir::Value sliceLast(mlir::Value input, int64_t begin, int64_t end) {
    return slice(input, typeOf(input).getRank() - 1, begin, end);
  }
  /// Rows `indices` of the first dimension.
  mlir::Value gatherRows(mlir::Value input, mlir::Value indices);
  mlir::Value clamp(mlir::Value input, double low, double high);

  static int64_t lastDim(mlir::Value value);
  static mlir::RankedTensorType typeOf(mlir::Value value);
  mlir::FloatAttr f32(double value) { return builder_.getF32FloatAttr(float(value)); }
  mlir::UnitAttr flag(bool value) { return value ? builder_.getUnitAttr() : mlir::UnitAttr(); }

private:
  mlir::RankedTensorType broadcastType(mlir::Value left, mlir::Value right);
  mlir::OpBuilder builder_;
  mlir::Location location_;
};

} // namespace llmopt::hf

#endif // LLMOPT_FRONTENDS_HF_GRAPHBUILDER_H
