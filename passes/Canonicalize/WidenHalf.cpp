//===- WidenHalf.cpp - f16 graphs are computed in f32 ---------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %y = llm.mul %a, %b : f16           %a32, %b32 = llm.cast %a, %b
//   %z = llm.exp %y : f16         ==>   %y32 = llm.mul %a32, %b32 : f32
//                                       %z32 = llm.exp %y32 : f32
//                                       %z   = llm.cast %z32 : f16        (where something still wants it)
// CPUs without f16 arithmetic convert every element anyway, and kernels are written for f32. Results are nearer to the exact ones than
// with rounding after every operation, as in ONNX Runtime. Weights keep their type; what only moves stored elements
// (a row of an f16 table) stays f16 until it is computed with.
//
//===----------------------------------------------------------------------===//
#include "CanonicalSteps.h"

#include "llmopt/dialects/LLM/LLM.h"

#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace llmopt;

static bool isHalf(Value value) { return getElementTypeOrSelf(value.getType()).isF16(); }

static bool onlyMoves(Operation *op) {
  return isa<llm::ReshapeOp, llm::ExpandDimsOp, llm::SqueezeOp, llm::FlattenOp, llm::TransposeOp, llm::BroadcastOp, llm::TileOp,
             llm::SliceOp, llm::ConcatOp, llm::PadOp, llm::GatherOp, llm::GatherElementsOp, llm::GatherNDOp>(op);
}

/// The f32 value that `value` was narrowed from, if it was.
static Value beforeNarrowing(Value value) {
  auto cast = value.getDefiningOp<llm::CastOp>();
  return cast && getElementTypeOrSelf(cast.getInput().getType()).isF32() ? cast.getInput() : Value();
}

static Type withElement(Type type, Type element) { return cast<RankedTensorType>(type).clone(element); }

namespace {

class Widener {
public:
  void run(func::FuncOp function) {
    SmallVector<Operation *> ops;
    function.walk([&](Operation *op) { ops.push_back(op); });
    for (Operation *op : ops) {
      noteWeights(op);
      if (shouldWiden(op))
        widen(op);
      else
        dropDetour(op);
    }
  }

private:
  /// Expressions over weights alone are evaluated when the artifact is written, in the type they have.
  void noteWeights(Operation *op) {
    bool isWeight = isa<llm::ConstantOp, llm::WeightOp>(op) ||
                    (op->getNumOperands() > 0 && llvm::all_of(op->getOperands(), [&](Value v) { return weights_.contains(v); }));
    if (isWeight)
      weights_.insert(op->result_begin(), op->result_end());
  }

  bool shouldWiden(Operation *op) const {
    if (!isa_and_nonnull<llm::LLMDialect>(op->getDialect()) || isa<llm::CastOp, llm::ShapeOp>(op) ||
        llvm::all_of(op->getResults(), [&](Value v) { return weights_.contains(v); }))
      return false;
    bool any = llvm::any_of(op->getResults(), isHalf) ||
               llvm::any_of(op->getOperands(), [&](Value v) { return isHalf(v) && !weights_.contains(v); });
    return any && (!onlyMoves(op) || llvm::any_of(op->getOperands(), [](Value v) { return isHalf(v) && beforeNarrowing(v); }));
  }

  static void widen(Operation *op);

  /// f32 -> f16 -> f32 is left where the model itself goes back to f32.
  static void dropDetour(Operation *op) {
    auto cast = dyn_cast<llm::CastOp>(op);
    if (cast && isHalf(cast.getInput()) && getElementTypeOrSelf(cast.getType()).isF32())
      if (Value wide = beforeNarrowing(cast.getInput()); wide && wide.getType() == cast.getType())
        cast.getResult().replaceAllUsesWith(wide);
    if (auto shape = dyn_cast<llm::ShapeOp>(op))
      if (Value wide = beforeNarrowing(shape.getInput()))
        shape.getInputMutable().assign(wide);
  }

  llvm::DenseSet<Value> weights_;
};

} // namespace

void Widener::widen(Operation *op) {
  OpBuilder builder(op);
  Type f32 = builder.getF32Type(), f16 = builder.getF16Type();
  IRMapping mapping;
  for (OpOperand &use : op->getOpOperands()) {
    Value operand = use.get();
    // The matrix of a linear has a type of its own.
    if (!isHalf(operand) || mapping.contains(operand) || (isa<llm::LinearOp>(op) && use.getOperandNumber() == 1))
      continue;
    Value wide = beforeNarrowing(operand);
    if (!wide)
      wide = llm::CastOp::create(builder, op->getLoc(), withElement(operand.getType(), f32), operand);
    mapping.map(operand, wide);
  }
  Operation *wide = builder.clone(*op, mapping);
  for (auto [old, result] : llvm::zip(op->getResults(), wide->getResults())) {
    Value replacement = result;
    if (isHalf(old)) {
      result.setType(withElement(old.getType(), f32));
      replacement = llm::CastOp::create(builder, op->getLoc(), withElement(old.getType(), f16), result);
    }
    old.replaceAllUsesWith(replacement);
  }
  op->erase();
}

void llmopt::widenHalf(func::FuncOp function) { Widener().run(function); }
