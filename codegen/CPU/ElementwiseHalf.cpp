//===- ElementwiseHalf.cpp - f16 without conversion instructions ----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// After the public domain notes of F. Giesen, "half to float" and "float to half, round to nearest even".
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/ElementwiseHalf.h"

#include "codegen/CPU/ElementwiseBits.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace llmopt;

namespace {

class HalfBits : public cpu::FloatBits {
public:
  using FloatBits::FloatBits;

  Value widen(Value half) {
    Value raw = arith::BitcastOp::create(b, loc, cpu::withElement(ints, b.getIntegerType(16)), half);
    Value bits = arith::ExtUIOp::create(b, loc, ints, raw);
    Value magnitude = shl(bitAnd(bits, 0x7fff), 13);
    // The exponent's bias differs by 112; a product takes subnormal numbers along.
    Value scaled = bitsOf(arith::MulFOp::create(b, loc, floatOf(magnitude), floatOf(constant(0x77800000))));
    Value finite = less(magnitude, 0x0f800000);
    Value result = select(finite, scaled, bitOr(magnitude, constant(0x7f800000)));
    return floatOf(bitOr(result, shl(bitAnd(bits, 0x8000), 16)));
  }

  Value narrow(Value value, Type half) {
    Value bits = bitsOf(value), magnitude = bitAnd(bits, 0x7fffffff);
    Value isNan = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::UNO, value, value);
    Value large = select(isNan, constant(0x7e00), constant(0x7c00));
    // Subnormal halves: adding 1/2 lets the float unit round at the right bit.
    Value magic = constant(0x3f000000);
    Value shifted = bitsOf(arith::AddFOp::create(b, loc, floatOf(magnitude), floatOf(magic)));
    Value subnormal = arith::SubIOp::create(b, loc, shifted, magic);
    Value odd = bitAnd(shr(magnitude, 13), 1);
    Value rounded = shr(add(add(magnitude, constant(0xc8000fff)), odd), 13);
    Value result = select(less(magnitude, 0x38800000), subnormal, rounded);
    result = select(less(magnitude, 0x47800000), result, large);
    result = bitOr(result, bitAnd(shr(bits, 16), 0x8000));
    Value raw = arith::TruncIOp::create(b, loc, cpu::withElement(ints, b.getIntegerType(16)), result);
    return arith::BitcastOp::create(b, loc, half, raw);
  }
};

} // namespace

void cpu::expandHalfConversions(Operation *root, const Target &target) {
  if (llvm::is_contained(target.features, "f16c"))
    return;
  SmallVector<Operation *> conversions;
  root->walk([&](Operation *op) {
    auto isHalf = [](Type type) { return getElementTypeOrSelf(type).isF16(); };
    if ((isa<arith::ExtFOp>(op) && isHalf(op->getOperand(0).getType())) || (isa<arith::TruncFOp>(op) && isHalf(op->getResult(0).getType())))
      conversions.push_back(op);
  });
  for (Operation *op : conversions) {
    OpBuilder builder(op);
    Value from = op->getOperand(0);
    Type to = op->getResult(0).getType();
    HalfBits half(builder, op->getLoc(), to);
    op->getResult(0).replaceAllUsesWith(isa<arith::ExtFOp>(op) ? half.widen(from) : half.narrow(from, to));
    op->erase();
  }
}
