//===- PrinterExpressions.cpp - one operation as a C++ expression ---------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/PrinterExpressions.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace llmopt;

static unsigned widthOf(Type type) { return type.isIndex() ? 64 : type.getIntOrFloatBitWidth(); }

std::string cuda::typeName(Type type) {
  if (auto vector = dyn_cast<VectorType>(type))
    return "Vec<" + typeName(vector.getElementType()) + ", " + std::to_string(vector.getNumElements()) + ">";
  if (isa<LLVM::LLVMPointerType>(type))
    return "u8 *";
  if (type.isF32())
    return "float";
  if (type.isF64())
    return "double";
  if (type.isInteger(1))
    return "bool";
  return "u" + std::to_string(widthOf(type));
}

int64_t cuda::elementBytes(Type type) {
  return isa<LLVM::LLVMPointerType>(type) ? 8 : std::max<int64_t>(1, widthOf(type) / 8);
}

std::string cuda::lanes(VectorType type) { return "LANES(" + std::to_string(type.getNumElements()) + ") "; }

std::string cuda::literal(Attribute number) {
  if (auto real = dyn_cast<FloatAttr>(number)) {
    llvm::APInt bits = real.getValue().bitcastToAPInt();
    if (real.getType().isF64())
      return llvm::formatv("bitcast<double>({0:x}ull)", bits.getZExtValue());
    if (!real.getType().isF32())
      return llvm::formatv("u16({0:x}u)", bits.getZExtValue());
    // Nine digits tell a float; whole numbers read better than their bits.
    float value = real.getValue().convertToFloat();
    if (real.getValue().isFiniteNonZero())
      return value < 0 ? llvm::formatv("({0:e9}f)", value) : llvm::formatv("{0:e9}f", value);
    return llvm::formatv("floatOf({0:x}u)", bits.getZExtValue());
  }
  auto integer = cast<IntegerAttr>(number);
  unsigned width = widthOf(integer.getType());
  uint64_t value = integer.getValue().getZExtValue();
  if (width == 1)
    return value ? "true" : "false";
  if (width == 64)
    return std::to_string(value) + "ull";
  return "u" + std::to_string(width) + "(" + std::to_string(value) + "u)";
}

namespace {

std::string signedName(Type type) { return "i" + std::to_string(widthOf(type)); }

std::string compareIntegers(arith::CmpIPredicate predicate, const std::string &a, const std::string &b, Type type) {
  auto infix = [&](const char *op, bool isSigned) {
    std::string cast = isSigned ? signedName(type) : "";
    return isSigned ? cast + "(" + a + ") " + op + " " + cast + "(" + b + ")" : a + " " + op + " " + b;
  };
  switch (predicate) {
  case arith::CmpIPredicate::eq: return infix("==", false);
  case arith::CmpIPredicate::ne: return infix("!=", false);
  case arith::CmpIPredicate::slt: return infix("<", true);
  case arith::CmpIPredicate::sle: return infix("<=", true);
  case arith::CmpIPredicate::sgt: return infix(">", true);
  case arith::CmpIPredicate::sge: return infix(">=", true);
  case arith::CmpIPredicate::ult: return infix("<", false);
  case arith::CmpIPredicate::ule: return infix("<=", false);
  case arith::CmpIPredicate::ugt: return infix(">", false);
  case arith::CmpIPredicate::uge: return infix(">=", false);
  }
  return {};
}

/// Unordered predicates hold for NaN: they are the negation of the opposite ordered one.
std::string compareFloats(arith::CmpFPredicate predicate, const std::string &a, const std::string &b) {
  using P = arith::CmpFPredicate;
  switch (predicate) {
  case P::AlwaysFalse: return "false";
  case P::AlwaysTrue: return "true";
  case P::OEQ: return a + " == " + b;
  case P::OGT: return a + " > " + b;
  case P::OGE: return a + " >= " + b;
  case P::OLT: return a + " < " + b;
  case P::OLE: return a + " <= " + b;
  case P::ONE: return a + " < " + b + " || " + a + " > " + b;
  case P::ORD: return a + " == " + a + " && " + b + " == " + b;
  case P::UEQ: return "!(" + a + " < " + b + " || " + a + " > " + b + ")";
  case P::UGT: return "!(" + a + " <= " + b + ")";
  case P::UGE: return "!(" + a + " < " + b + ")";
  case P::ULT: return "!(" + a + " >= " + b + ")";
  case P::ULE: return "!(" + a + " > " + b + ")";
  case P::UNE: return a + " != " + b;
  case P::UNO: return a + " != " + a + " || " + b + " != " + b;
  }
  return {};
}

std::optional<std::string> conversion(Operation *op, const std::string &x) {
  Type from = getElementTypeOrSelf(op->getOperand(0).getType()), to = getElementTypeOrSelf(op->getResult(0).getType());
  std::string type = cuda::typeName(to);
  bool fromBool = from.isInteger(1);
  return llvm::TypeSwitch<Operation *, std::optional<std::string>>(op)
      .Case<arith::ExtUIOp, arith::UIToFPOp, arith::IndexCastOp>([&](auto) { return type + "(" + x + ")"; })
      .Case<arith::ExtSIOp>([&](auto) {
        return fromBool ? type + "(0) - " + type + "(" + x + ")" : type + "(" + signedName(to) + "(" + signedName(from) + "(" + x + ")))";
      })
      .Case<arith::SIToFPOp>([&](auto) { return type + (fromBool ? "(-int(" + x + "))" : "(" + signedName(from) + "(" + x + "))"); })
      .Case<arith::TruncIOp>([&](auto) { return to.isInteger(1) ? "bool(" + x + " & 1)" : type + "(" + x + ")"; })
      .Case<arith::FPToSIOp>([&](auto) { return type + (widthOf(to) == 64 ? "(toInt64(" : "(toInt32(") + x + "))"; })
      .Case<arith::FPToUIOp>([&](auto) { return type + "(toUint64(" + x + "))"; })
      .Case<arith::BitcastOp>([&](auto) { return "bitcast<" + type + ">(" + x + ")"; })
      .Case<arith::ExtFOp, arith::TruncFOp>([&](auto) -> std::optional<std::string> {
        if (widthOf(from) == 16 || widthOf(to) == 16) // done in integers before
          return std::nullopt;
        return type + "(" + x + ")";
      })
      .Default([](Operation *) { return std::nullopt; });
}

std::optional<std::string> unary(Operation *op, const std::string &x) {
  return llvm::TypeSwitch<Operation *, std::optional<std::string>>(op)
      .Case<arith::NegFOp>([&](auto) { return "-" + x; })
      .Case<math::AbsFOp>([&](auto) { return "absolute(" + x + ")"; })
      .Case<math::SqrtOp>([&](auto) { return "squareRootOf(" + x + ")"; })
      .Default([&](Operation *) { return conversion(op, x); });
}

std::optional<std::string> binary(Operation *op, const std::string &a, const std::string &b) {
  Type type = getElementTypeOrSelf(op->getOperand(0).getType());
  // C++ computes in int below 32 bits; the cast takes off what does not belong there.
  auto wrap = [&](const std::string &text) { return cuda::typeName(type) + "(" + text + ")"; };
  auto infix = [&](const char *symbol) { return a + " " + symbol + " " + b; };
  auto asSigned = [&](const char *symbol) {
    return wrap(signedName(type) + "(" + a + ") " + symbol + " " + signedName(type) + "(" + b + ")");
  };
  // 64 bits go through division.cuh, unless the compiler can multiply instead.
  bool divides64 = type.isInteger(64) && !matchPattern(op->getOperand(1), m_Constant());
  auto divide = [&](bool isSigned, const char *symbol, const char *function) {
    if (!divides64)
      return isSigned ? asSigned(symbol) : wrap(infix(symbol));
    std::string wide = isSigned ? signedName(type) : cuda::typeName(type);
    return wrap(std::string(function) + "(" + wide + "(" + a + "), " + wide + "(" + b + "))");
  };
  auto choose = [&](arith::CmpIPredicate better) { return "(" + compareIntegers(better, a, b, type) + ") ? " + a + " : " + b; };
  return llvm::TypeSwitch<Operation *, std::optional<std::string>>(op)
      .Case<arith::AddFOp>([&](auto) { return infix("+"); })
      .Case<arith::SubFOp>([&](auto) { return infix("-"); })
      .Case<arith::MulFOp>([&](auto) { return infix("*"); })
      .Case<arith::DivFOp>([&](auto) { return infix("/"); })
      .Case<arith::AddIOp>([&](auto) { return wrap(infix("+")); })
      .Case<arith::SubIOp>([&](auto) { return wrap(infix("-")); })
      .Case<arith::MulIOp>([&](auto) { return wrap("u64(" + a + ") * " + b); })
      .Case<arith::DivUIOp>([&](auto) { return divide(false, "/", "quotient"); })
      .Case<arith::RemUIOp>([&](auto) { return divide(false, "%", "remainderOf"); })
      .Case<arith::DivSIOp>([&](auto) { return divide(true, "/", "quotient"); })
      .Case<arith::RemSIOp>([&](auto) { return divide(true, "%", "remainderOf"); })
      .Case<arith::AndIOp>([&](auto) { return wrap(infix("&")); })
      .Case<arith::OrIOp>([&](auto) { return wrap(infix("|")); })
      .Case<arith::XOrIOp>([&](auto) { return wrap(infix("^")); })
      .Case<arith::ShLIOp>([&](auto) { return wrap("u64(" + a + ") << " + b); })
      .Case<arith::ShRUIOp>([&](auto) { return wrap(infix(">>")); })
      .Case<arith::ShRSIOp>([&](auto) { return wrap(signedName(type) + "(" + a + ") >> " + b); })
      .Case<arith::MinSIOp>([&](auto) { return choose(arith::CmpIPredicate::slt); })
      .Case<arith::MaxSIOp>([&](auto) { return choose(arith::CmpIPredicate::sgt); })
      .Case<arith::MinUIOp>([&](auto) { return choose(arith::CmpIPredicate::ult); })
      .Case<arith::MaxUIOp>([&](auto) { return choose(arith::CmpIPredicate::ugt); })
      .Case<arith::CmpIOp>([&](arith::CmpIOp compare) { return compareIntegers(compare.getPredicate(), a, b, type); })
      .Case<arith::CmpFOp>([&](arith::CmpFOp compare) { return compareFloats(compare.getPredicate(), a, b); })
      .Case<math::CopySignOp>([&](auto) { return "copySign(" + a + ", " + b + ")"; })
      .Default([](Operation *) { return std::nullopt; });
}

} // namespace

std::optional<std::string> cuda::expression(Operation *op, llvm::function_ref<std::string(Value)> operand) {
  if (auto constant = dyn_cast<arith::ConstantOp>(op))
    return literal(constant.getValue());
  if (op->getNumOperands() == 1)
    return unary(op, operand(op->getOperand(0)));
  if (op->getNumOperands() == 2)
    return binary(op, operand(op->getOperand(0)), operand(op->getOperand(1)));
  if (op->getNumOperands() != 3)
    return std::nullopt;
  std::string a = operand(op->getOperand(0)), b = operand(op->getOperand(1)), c = operand(op->getOperand(2));
  if (isa<arith::SelectOp>(op))
    return a + " ? " + b + " : " + c;
  if (isa<LLVM::FMulAddOp>(op))
    return "fused(" + a + ", " + b + ", " + c + ")";
  return std::nullopt;
}
