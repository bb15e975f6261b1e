//===- WidenFloat8.cpp - products of e4m3 on processors -------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   exec.kernel "linear" ins(%x, %w)                    %v = llm.cast %w -> bf16
//     ^bb0(%a: f8E4M3FN, %b: f8E4M3FN):                 exec.kernel "linear" ins(%x, %v)
//       %y = llm.matmul %a, %b               ==>          ^bb0(%a: f8E4M3FN, %b: bf16):
//                                                           %f = llm.cast %a -> f32
//                                                           %y = llm.linear %f, %b {transposed}
//
//===----------------------------------------------------------------------===//
#include "codegen/Common/WidenFloat8.h"

#include "llmopt/dialects/Exec/Exec.h"
#include "llmopt/lib/Analysis/Projection.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace llmopt;

namespace {

Value castTo(OpBuilder &builder, Value value, Type element) {
  return llm::CastOp::create(builder, value.getLoc(), cast<RankedTensorType>(value.getType()).clone(element), value);
}

/// The operand in bf16; a transposition stays last, where packing takes it in.
Value widenedWeight(OpBuilder &builder, Value weight) {
  auto transpose = weight.getDefiningOp<llm::TransposeOp>();
  if (!transpose)
    return castTo(builder, weight, builder.getBF16Type());
  Value inner = castTo(builder, transpose.getInput(), builder.getBF16Type());
  auto type = cast<RankedTensorType>(weight.getType()).clone(builder.getBF16Type());
  return llm::TransposeOp::create(builder, weight.getLoc(), type, inner, transpose.getPermutationAttr());
}

void widen(exec::KernelOp kernel) {
  llvm::MapVector<Value, SmallVector<llm::MatMulOp>> byWeight;
  for (auto matmul : kernel.getBody().getOps<llm::MatMulOp>())
    if (Projection product = Projection::of(matmul); product && product.isFloat8() && isa<BlockArgument>(product.getWeight()))
      byWeight[product.getWeight()].push_back(matmul);
  llvm::DenseMap<Value, Value> rows;
  for (auto &[weight, products] : byWeight) {
    auto argument = cast<BlockArgument>(weight);
    if (!llvm::all_of(argument.getUsers(), [&](Operation *user) { return llvm::is_contained(products, user); }))
      continue;
    OpBuilder outside(kernel);
    OpOperand &operand = kernel.getInputsMutable()[argument.getArgNumber()];
    operand.set(widenedWeight(outside, operand.get()));
    argument.setType(operand.get().getType());
    for (llm::MatMulOp product : products) {
      OpBuilder inside(product);
      Value &input = rows[product.getLhs()];
      if (!input) {
        inside.setInsertionPointAfterValue(product.getLhs());
        input = castTo(inside, product.getLhs(), inside.getF32Type());
        inside.setInsertionPoint(product);
      }
      auto linear = llm::LinearOp::create(inside, product.getLoc(), product.getType(), input, weight, Value(), /*transposed=*/true);
      product.replaceAllUsesWith(linear.getResult());
      product.erase();
    }
  }
}

} // namespace

void llmopt::widenFloat8Products(ModuleOp module) {
  for (auto function : module.getOps<func::FuncOp>())
    for (auto kernel : function.getOps<exec::KernelOp>())
      widen(kernel);
}
