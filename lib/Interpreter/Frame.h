//===- Frame.h - one run of a function --------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_INTERPRETER_FRAME_H
#define LLMOPT_LIB_INTERPRETER_FRAME_H

#include "Array.h"

#include "llmopt/dialects/LLM/ElementTypes.h"
#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Interpreter/Interpreter.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/TypeSwitch.h"

#include <array>
#include <map>
#include <set>
#include <tuple>

namespace llmopt::interpreter {

/// Keys and values of one state of one sequence; rows of all heads, one per token.
struct CacheEntry {
  int64_t tokens = 0, keyWidth = 0, valueWidth = 0;
  std::vector<double> keys, values;
};

/// What lives between steps, and the rows of the step that runs.
struct StepMemory {
  std::vector<InterpreterSequence> step;
  /// (group, state, sequence)
  std::map<std::tuple<uint32_t, int64_t, int64_t>, CacheEntry> entries;
  /// (group, sequence): tokens in the cache before the step that runs.
  std::map<std::pair<uint32_t, int64_t>, int64_t> past;
  /// Groups to which the function that runs appends.
  std::set<uint32_t> growing;

  int64_t pastOf(uint32_t group, int64_t sequence) const {
    auto it = past.find({group, sequence});
    return it == past.end() ? 0 : it->second;
  }
};

/// Values by name; a value is let go after its last use.
class Frame {
public:
  Frame(StepMemory &memory, const WeightStore &weights, std::map<std::string, ArrayPtr, std::less<>> *cache)
      : memory(memory), weights(weights), weightCache(cache) {}

  const Array &in(mlir::Value value) const { return *values_.find(value)->second; }
  const Array *optional(mlir::Value value) const { return value ? &in(value) : nullptr; }
  ArrayPtr share(mlir::Value value) const {
    auto it = values_.find(value);
    return it == values_.end() ? nullptr : it->second;
  }
  void bind(mlir::Value value, ArrayPtr array) { values_[value] = std::move(array); }
  void drop(mlir::Value value) { values_.erase(value); }
  /// Rounds to the result's element type, checks the declared type, stores. E0704 where they disagree.
  Status out(mlir::Value result, Result<Array> array);

  StepMemory &memory;
  const WeightStore &weights;
  std::map<std::string, ArrayPtr, std::less<>> *weightCache; ///< null: every use converts the weight anew

private:
  llvm::DenseMap<mlir::Value, ArrayPtr> values_;
};

/// The dtype of a value of tensor type.
inline DType dtypeOf(mlir::Value value) {
  return llm::dtypeOf(mlir::cast<mlir::RankedTensorType>(value.getType()).getElementType()).value_or(DType::F32);
}

Status shapeError(mlir::Operation *op, const std::string &what);
/// "llm.add at loc(...)"
std::string describe(mlir::Operation *op);

/// NumPy's broadcast; nothing when the shapes do not go together.
std::optional<Shape> broadcastShape(const Shape &a, const Shape &b);
/// Strides of an operand seen through a broadcast to `rank` dimensions.
Shape broadcastStrides(const Shape &operand, size_t rank);

// One per subject. Nothing: the operation belongs to another file.
std::optional<Status> runElementwise(mlir::Operation *op, Frame &frame);
std::optional<Status> runShapeOps(mlir::Operation *op, Frame &frame);
std::optional<Status> runIndexing(mlir::Operation *op, Frame &frame);
std::optional<Status> runReductions(mlir::Operation *op, Frame &frame);
std::optional<Status> runContractions(mlir::Operation *op, Frame &frame);
std::optional<Status> runAttention(mlir::Operation *op, Frame &frame);

} // namespace llmopt::interpreter

#endif // LLMOPT_LIB_INTERPRETER_FRAME_H
