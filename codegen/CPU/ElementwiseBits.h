//===- ElementwiseBits.h - arithmetic on the bits of floats ------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_ELEMENTWISEBITS_H
#define LLMOPT_CODEGEN_CPU_ELEMENTWISEBITS_H

#include "codegen/CPU/MathApproximationNumber.h"

namespace llmopt::cpu {

/// i32 arithmetic on the bits of f32, scalar or vector.
class FloatBits {
public:
  FloatBits(mlir::OpBuilder &builder, mlir::Location loc, mlir::Type like)
      : b(builder), loc(loc), ints(withElement(like, builder.getI32Type())), floats(withElement(like, builder.getF32Type())) {}

  mlir::OpBuilder &b;
  mlir::Location loc;
  mlir::Type ints, floats;

  mlir::Value constant(uint32_t bits) {
    mlir::TypedAttr attribute = b.getI32IntegerAttr(int32_t(bits));
    if (auto vector = mlir::dyn_cast<mlir::VectorType>(ints))
      attribute = mlir::DenseElementsAttr::get(vector, mlir::Attribute(attribute));
    return mlir::arith::ConstantOp::create(b, loc, attribute);
  }
  mlir::Value floatOf(mlir::Value bits) { return mlir::arith::BitcastOp::create(b, loc, floats, bits); }
  mlir::Value bitsOf(mlir::Value value) { return mlir::arith::BitcastOp::create(b, loc, ints, value); }
  mlir::Value bitAnd(mlir::Value x, uint32_t y) { return mlir::arith::AndIOp::create(b, loc, x, constant(y)); }
  mlir::Value bitOr(mlir::Value x, mlir::Value y) { return mlir::arith::OrIOp::create(b, loc, x, y); }
  mlir::Value add(mlir::Value x, mlir::Value y) { return mlir::arith::AddIOp::create(b, loc, x, y); }
  mlir::Value shl(mlir::Value x, uint32_t n) { return mlir::arith::ShLIOp::create(b, loc, x, constant(n)); }
  mlir::Value shr(mlir::Value x, uint32_t n) { return mlir::arith::ShRUIOp::create(b, loc, x, constant(n)); }
  mlir::Value less(mlir::Value x, uint32_t y) { return mlir::arith::CmpIOp::create(b, loc, mlir::arith::CmpIPredicate::ult, x, constant(y)); }
  mlir::Value select(mlir::Value condition, mlir::Value x, mlir::Value y) { return mlir::arith::SelectOp::create(b, loc, condition, x, y); }
};

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_ELEMENTWISEBITS_H
