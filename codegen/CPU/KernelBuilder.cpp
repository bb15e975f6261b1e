//===- KernelBuilder.cpp - writes one kernel as vector/scf/arith ----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/KernelBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SCF/Utils/Utils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include <cstddef>

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {
Type elementTypeOf(Type type) {
  auto vector = dyn_cast<VectorType>(type);
  return vector ? vector.getElementType() : type;
}
int64_t elementBytes(Type element) { return std::max<int64_t>(1, element.getIntOrFloatBitWidth() / 8); }
} // namespace

KernelBuilder::KernelBuilder(ModuleOp module, StringRef symbol, SymContext &symbols)
    : builder_(module.getContext()), loc_(builder_.getUnknownLoc()), symbols_(symbols) {
  builder_.setInsertionPointToEnd(module.getBody());
  Type pointer = LLVM::LLVMPointerType::get(context());
  auto type = builder_.getFunctionType({pointer, pointer, i32(), i32(), pointer}, {});
  auto function = func::FuncOp::create(builder_, loc_, symbol, type);
  function_ = function;
  entry_ = function.addEntryBlock();
  builder_.setInsertionPointToStart(entry_);
  func::ReturnOp::create(builder_, loc_);
  builder_.setInsertionPoint(entry_->getTerminator());
}

KernelBuilder::~KernelBuilder() = default;

//===----------------------------------------------------------------------===//
// What the launch gives
//===----------------------------------------------------------------------===//

Value KernelBuilder::atEntry(function_ref<Value()> make) {
  OpBuilder::InsertionGuard guard(builder_);
  // After what was made at the entry before, before anything else: values made here dominate the whole body.
  builder_.setInsertionPointToStart(entry_);
  while (builder_.getInsertionPoint() != entry_->end() && builder_.getInsertionPoint()->hasAttr("llmopt.entry"))
    builder_.setInsertionPointAfter(&*builder_.getInsertionPoint());
  Operation *before = builder_.getInsertionPoint() == entry_->begin() ? nullptr : &*std::prev(builder_.getInsertionPoint());
  Block::iterator end = builder_.getInsertionPoint();
  Value value = make();
  for (auto it = before ? std::next(Block::iterator(before)) : entry_->begin(); it != end; ++it)
    it->setDiscardableAttr("llmopt.entry", builder_.getUnitAttr());
  return value;
}

Value KernelBuilder::buffer(unsigned i) {
  if (buffers_.size() <= i)
    buffers_.resize(i + 1);
  if (!buffers_[i])
    buffers_[i] = atEntry([&] {
      Type pointer = LLVM::LLVMPointerType::get(context());
      Value table = LLVM::LoadOp::create(builder_, loc_, pointer, entry_->getArgument(0));
      Value slot = LLVM::GEPOp::create(builder_, loc_, pointer, pointer, table, ArrayRef<LLVM::GEPArg>{int32_t(i)});
      return Value(LLVM::LoadOp::create(builder_, loc_, pointer, slot));
    });
  return buffers_[i];
}

static Value loadDim(OpBuilder &b, Location loc, Block *entry, int64_t slotIndex) {
  Type pointer = LLVM::LLVMPointerType::get(b.getContext());
  Value field = LLVM::GEPOp::create(b, loc, pointer, b.getI8Type(), entry->getArgument(0),
                                    ArrayRef<LLVM::GEPArg>{int32_t(offsetof(KernelArgs, dims))});
  Value table = LLVM::LoadOp::create(b, loc, pointer, field);
  Value slot = LLVM::GEPOp::create(b, loc, pointer, b.getI64Type(), table, ArrayRef<LLVM::GEPArg>{int32_t(slotIndex)});
  return LLVM::LoadOp::create(b, loc, b.getI64Type(), slot);
}

Value KernelBuilder::dim(SymExpr expr) {
  assert(expr.known() && "the kernel needs a dimension that analysis could not tell");
  if (auto value = expr.constant())
    return index(*value);
  for (auto [i, known] : llvm::enumerate(dims_))
    if (known == expr)
      return dimValues_[i];
  dims_.push_back(expr);
  dimValues_.push_back(atEntry([&] { return loadDim(builder_, loc_, entry_, int64_t(dims_.size())); }));
  return dimValues_.back();
}

Value KernelBuilder::part() {
  if (!part_)
    part_ = atEntry([&] { return Value(arith::ExtUIOp::create(builder_, loc_, i64(), entry_->getArgument(2))); });
  return part_;
}

Value KernelBuilder::parts() {
  if (!parts_)
    parts_ = atEntry([&] { return Value(arith::ExtUIOp::create(builder_, loc_, i64(), entry_->getArgument(3))); });
  return parts_;
}

// Units [units * part / parts, units * (part + 1) / parts).
Value KernelBuilder::unitBegin() {
  if (!unitBegin_) {
    Value part = this->part(), parts = this->parts();
    unitBegin_ = atEntry([&] { return floorDiv(mul(loadDim(builder_, loc_, entry_, 0), part), parts); });
  }
  return unitBegin_;
}

Value KernelBuilder::unitEnd() {
  if (!unitEnd_) {
    Value part = this->part(), parts = this->parts();
    unitEnd_ = atEntry([&] { return floorDiv(mul(loadDim(builder_, loc_, entry_, 0), add(part, 1)), parts); });
  }
  return unitEnd_;
}

Value KernelBuilder::scratch() { return entry_->getArgument(4); }
Value KernelBuilder::stepTable() { return entry_->getArgument(1); }

Value KernelBuilder::callScalar(ScalarFunctionId id, Value x, Value y) {
  Type pointer = LLVM::LLVMPointerType::get(context()), f64 = builder_.getF64Type();
  Value field = LLVM::GEPOp::create(builder_, loc_, pointer, builder_.getI8Type(), entry_->getArgument(0),
                                    ArrayRef<LLVM::GEPArg>{int32_t(offsetof(KernelArgs, functions))});
  Value table = LLVM::LoadOp::create(builder_, loc_, pointer, field);
  Value slot = LLVM::GEPOp::create(builder_, loc_, pointer, pointer, table, ArrayRef<LLVM::GEPArg>{int32_t(id)});
  Value callee = LLVM::LoadOp::create(builder_, loc_, pointer, slot);
  auto type = LLVM::LLVMFunctionType::get(f64, {f64, f64});
  return LLVM::CallOp::create(builder_, loc_, type, ValueRange{callee, x, y ? y : x}).getResult();
}

//===----------------------------------------------------------------------===//
// Integers
//===----------------------------------------------------------------------===//

Value KernelBuilder::index(int64_t value) { return arith::ConstantIntOp::create(builder_, loc_, value, 64); }

/// The constant behind a value, if it is one: address arithmetic is folded while it is written.
static std::optional<int64_t> constantOf(Value value) {
  auto constant = value.getDefiningOp<arith::ConstantIntOp>();
  return constant ? std::optional<int64_t>(constant.value()) : std::nullopt;
}

Value KernelBuilder::add(Value a, Value b) {
  auto ca = constantOf(a), cb = constantOf(b);
  if (ca && cb)
    return index(*ca + *cb);
  if (ca == 0)
    return b;
  if (cb == 0)
    return a;
  return arith::AddIOp::create(builder_, loc_, a, b);
}
Value KernelBuilder::sub(Value a, Value b) {
  auto ca = constantOf(a), cb = constantOf(b);
  if (ca && cb)
    return index(*ca - *cb);
  if (cb == 0)
    return a;
  return arith::SubIOp::create(builder_, loc_, a, b);
}
Value KernelBuilder::mul(Value a, Value b) {
  auto ca = constantOf(a), cb = constantOf(b);
  if (ca && cb)
    return index(*ca * *cb);
  if (ca == 1)
    return b;
  if (cb == 1)
    return a;
  if (ca == 0 || cb == 0)
    return index(0);
  return arith::MulIOp::create(builder_, loc_, a, b);
}
Value KernelBuilder::add(Value a, int64_t b) { return add(a, index(b)); }
Value KernelBuilder::mul(Value a, int64_t b) { return mul(a, index(b)); }
Value KernelBuilder::floorDiv(Value a, Value b) {
  auto ca = constantOf(a), cb = constantOf(b);
  if (cb == 1)
    return a;
  if (ca && cb && *cb != 0)
    return index(*ca / *cb);
  return arith::DivUIOp::create(builder_, loc_, a, b);
}
Value KernelBuilder::mod(Value a, Value b) {
  auto ca = constantOf(a), cb = constantOf(b);
  if (cb == 1)
    return index(0);
  if (ca && cb && *cb != 0)
    return index(*ca % *cb);
  return arith::RemUIOp::create(builder_, loc_, a, b);
}
Value KernelBuilder::min(Value a, Value b) { return arith::MinSIOp::create(builder_, loc_, a, b); }
Value KernelBuilder::max(Value a, Value b) { return arith::MaxSIOp::create(builder_, loc_, a, b); }
Value KernelBuilder::less(Value a, Value b) {
  return arith::CmpIOp::create(builder_, loc_, arith::CmpIPredicate::slt, a, b);
}
Value KernelBuilder::equal(Value a, Value b) {
  return arith::CmpIOp::create(builder_, loc_, arith::CmpIPredicate::eq, a, b);
}
Value KernelBuilder::select(Value condition, Value a, Value b) {
  return arith::SelectOp::create(builder_, loc_, condition, a, b);
}

//===----------------------------------------------------------------------===//
// Types and constants
//===----------------------------------------------------------------------===//

VectorType KernelBuilder::vec(int64_t lanes, Type element) { return VectorType::get({lanes}, element); }

Value KernelBuilder::constant(Type type, double value) {
  auto element = cast<FloatType>(elementTypeOf(type));
  TypedAttr attribute = builder_.getFloatAttr(element, value);
  if (auto vector = dyn_cast<VectorType>(type))
    attribute = DenseElementsAttr::get(vector, Attribute(attribute));
  return arith::ConstantOp::create(builder_, loc_, attribute);
}
Value KernelBuilder::constantInt(Type type, int64_t value) {
  TypedAttr attribute = builder_.getIntegerAttr(elementTypeOf(type), value);
  if (auto vector = dyn_cast<VectorType>(type))
    attribute = DenseElementsAttr::get(vector, Attribute(attribute));
  return arith::ConstantOp::create(builder_, loc_, attribute);
}
Value KernelBuilder::splat(Value scalar, VectorType type) {
  return vector::BroadcastOp::create(builder_, loc_, type, scalar);
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Value KernelBuilder::address(Value base, Value offset, Type element) {
  Type pointer = LLVM::LLVMPointerType::get(context());
  Type unit = element.isInteger(1) ? builder_.getI8Type() : element;
  if (auto constant = constantOf(offset); constant && *constant == 0)
    return base;
  return LLVM::GEPOp::create(builder_, loc_, pointer, unit, base, ArrayRef<LLVM::GEPArg>{LLVM::GEPArg(offset)},
                             LLVM::GEPNoWrapFlags::inbounds);
}

Value KernelBuilder::load(Type type, Value base, Value offset, int64_t alignment) {
  Type element = elementTypeOf(type);
  unsigned align = unsigned(alignment ? alignment : elementBytes(element));
  return LLVM::LoadOp::create(builder_, loc_, type, address(base, offset, element), align);
}
void KernelBuilder::store(Value value, Value base, Value offset, int64_t alignment) {
  Type element = elementTypeOf(value.getType());
  unsigned align = unsigned(alignment ? alignment : elementBytes(element));
  LLVM::StoreOp::create(builder_, loc_, value, address(base, offset, element), align);
}

/// Lanes below `count` as a vector<i1>.
static Value laneMask(OpBuilder &b, Location loc, int64_t lanes, Value count) {
  Value bound = arith::IndexCastOp::create(b, loc, b.getIndexType(), count);
  return vector::CreateMaskOp::create(b, loc, VectorType::get({lanes}, b.getI1Type()), ValueRange{bound});
}

Value KernelBuilder::loadPart(VectorType type, Value base, Value offset, Value count) {
  Type element = type.getElementType();
  Value mask = laneMask(builder_, loc_, type.getNumElements(), count);
  Value zero = arith::ConstantOp::create(builder_, loc_, builder_.getZeroAttr(type));
  return LLVM::MaskedLoadOp::create(builder_, loc_, type, address(base, offset, element), mask, zero,
                                    builder_.getI32IntegerAttr(int32_t(elementBytes(element))));
}
void KernelBuilder::storePart(Value value, Value base, Value offset, Value count) {
  auto type = cast<VectorType>(value.getType());
  Type element = type.getElementType();
  Value mask = laneMask(builder_, loc_, type.getNumElements(), count);
  LLVM::MaskedStoreOp::create(builder_, loc_, value, address(base, offset, element), mask,
                              builder_.getI32IntegerAttr(int32_t(elementBytes(element))));
}
Value KernelBuilder::loadSplat(VectorType type, Value base, Value offset) {
  return splat(load(type.getElementType(), base, offset), type);
}
Value KernelBuilder::opaque(Value address) {
  auto copy = LLVM::InlineAsmOp::create(builder_, loc_, address.getType(), ValueRange{address}, /*asm=*/"", /*constraints=*/"=r,0", /*side effects=*/false,
                                        /*aligned stack=*/false, LLVM::tailcallkind::TailCallKind::None, LLVM::AsmDialectAttr(), ArrayAttr());
  return copy.getResult(0);
}
void KernelBuilder::prefetch(Value base, Value offset, Type element, int locality) {
  auto i32Attr = [&](int32_t value) { return builder_.getI32IntegerAttr(value); };
  LLVM::Prefetch::create(builder_, loc_, address(base, offset, element), i32Attr(/*rw=*/0), i32Attr(locality), i32Attr(/*data=*/1));
}

//===----------------------------------------------------------------------===//
// Float arithmetic
//===----------------------------------------------------------------------===//

Value KernelBuilder::fadd(Value a, Value b) { return arith::AddFOp::create(builder_, loc_, a, b); }
Value KernelBuilder::fsub(Value a, Value b) { return arith::SubFOp::create(builder_, loc_, a, b); }
Value KernelBuilder::fmul(Value a, Value b) { return arith::MulFOp::create(builder_, loc_, a, b); }
Value KernelBuilder::fdiv(Value a, Value b) { return arith::DivFOp::create(builder_, loc_, a, b); }

// llvm.fmuladd: fused where the target has FMA, multiply and add elsewhere (llvm.fma would call libm there).
Value KernelBuilder::fma(Value a, Value b, Value c) { return LLVM::FMulAddOp::create(builder_, loc_, a, b, c); }

Value KernelBuilder::fmax(Value a, Value b) {
  Value greater = arith::CmpFOp::create(builder_, loc_, arith::CmpFPredicate::OGT, a, b);
  return select(greater, a, b);
}
Value KernelBuilder::fmin(Value a, Value b) {
  Value smaller = arith::CmpFOp::create(builder_, loc_, arith::CmpFPredicate::OLT, a, b);
  return select(smaller, a, b);
}

Value KernelBuilder::reduce(Value value, function_ref<Value(Value, Value)> combine) {
  int64_t lanes = cast<VectorType>(value.getType()).getNumElements();
  for (; lanes > 1; lanes /= 2) {
    SmallVector<int64_t> low, high;
    for (int64_t i = 0; i < lanes / 2; ++i) {
      low.push_back(i);
      high.push_back(i + lanes / 2);
    }
    Value lower = vector::ShuffleOp::create(ops(), loc(), value, value, low);
    Value upper = vector::ShuffleOp::create(ops(), loc(), value, value, high);
    value = combine(lower, upper);
  }
  return vector::ExtractOp::create(ops(), loc(), value, ArrayRef<int64_t>{0});
}
Value KernelBuilder::reduceAdd(Value vector) {
  return reduce(vector, [&](Value x, Value y) { return fadd(x, y); });
}
Value KernelBuilder::reduceMax(Value vector) {
  return reduce(vector, [&](Value x, Value y) { return fmax(x, y); });
}

static Type withElement(Type shape, Type element) {
  auto vector = dyn_cast<VectorType>(shape);
  return vector ? Type(VectorType::get(vector.getShape(), element)) : element;
}

Value KernelBuilder::exp(Value x) { return exp2(fmul(x, constant(x.getType(), 1.4426950408889634))); }

// Splits x into a nearest integer n and a rest r in [-1/2, 1/2]: 2^x = 2^n * p(r), p of degree 6 (relative error
// 7.6e-8). Adding and taking off 1.5 * 2^23 rounds to an integer without a rounding instruction.
Value KernelBuilder::exp2(Value x) {
  Type type = x.getType(), ints = withElement(type, i32());
  Value clamped = fmin(fmax(x, constant(type, -126.0)), constant(type, 127.999));
  Value isNan = arith::CmpFOp::create(builder_, loc_, arith::CmpFPredicate::UNO, x, x);
  Value shifter = constant(type, 12582912.0);
  Value shifted = fadd(clamped, shifter);
  Value rest = fsub(clamped, fsub(shifted, shifter));
  constexpr double kCoefficients[] = {1.5403530393381609e-4, 1.3333558146428443e-3, 9.6181291076284772e-3,
                                      5.5504108664821580e-2, 2.4022650695910072e-1, 6.9314718055994531e-1, 1.0};
  Value p = constant(type, kCoefficients[0]);
  for (int i = 1; i < 7; ++i)
    p = fma(p, rest, constant(type, kCoefficients[i]));
  Value bits = arith::BitcastOp::create(builder_, loc_, ints, shifted);
  Value exponent = arith::ShLIOp::create(builder_, loc_, bits, constantInt(ints, 23));
  Value scaled = arith::AddIOp::create(builder_, loc_, arith::BitcastOp::create(builder_, loc_, ints, p), exponent);
  return select(isNan, x, arith::BitcastOp::create(builder_, loc_, type, scaled));
}

Value KernelBuilder::bf16ToF32(Value bits) {
  Type wide = withElement(bits.getType(), i32());
  Value widened = arith::ExtUIOp::create(builder_, loc_, wide, bits);
  Value shifted = arith::ShLIOp::create(builder_, loc_, widened, constantInt(wide, 16));
  return arith::BitcastOp::create(builder_, loc_, withElement(wide, f32()), shifted);
}

// In integers, since arith.truncf to bf16 becomes a library call per lane where the CPU lacks the conversion.
Value KernelBuilder::f32ToBf16(Value value) {
  Type ints = withElement(value.getType(), i32());
  Value bits = arith::BitcastOp::create(builder_, loc_, ints, value);
  Value high = arith::ShRUIOp::create(builder_, loc_, bits, constantInt(ints, 16));
  Value odd = arith::AndIOp::create(builder_, loc_, high, constantInt(ints, 1));
  Value rounding = arith::AddIOp::create(builder_, loc_, odd, constantInt(ints, 0x7fff));
  Value rounded = arith::ShRUIOp::create(builder_, loc_, arith::AddIOp::create(builder_, loc_, bits, rounding),
                                         constantInt(ints, 16));
  Value isNan = arith::CmpFOp::create(builder_, loc_, arith::CmpFPredicate::UNO, value, value);
  Value quiet = arith::OrIOp::create(builder_, loc_, high, constantInt(ints, 0x40));
  Value chosen = select(isNan, quiet, rounded);
  return arith::TruncIOp::create(builder_, loc_, withElement(ints, builder_.getIntegerType(16)), chosen);
}

//===----------------------------------------------------------------------===//
// Control
//===----------------------------------------------------------------------===//

void KernelBuilder::forLoop(Value lower, Value upper, int64_t step, function_ref<void(Value)> body) {
  forLoop(lower, upper, step, ValueRange{}, [&](Value iv, ValueRange) {
    body(iv);
    return Values{};
  });
}

KernelBuilder::Values KernelBuilder::forLoop(Value lower, Value upper, int64_t step, ValueRange initial,
                                             function_ref<Values(Value, ValueRange)> body) {
  auto loop = scf::ForOp::create(builder_, loc_, lower, upper, index(step), initial,
                                 [](OpBuilder &, Location, Value, ValueRange) {});
  OpBuilder::InsertionGuard guard(builder_);
  builder_.setInsertionPointToEnd(loop.getBody());
  Values results = body(loop.getInductionVar(), loop.getRegionIterArgs());
  builder_.setInsertionPointToEnd(loop.getBody());
  scf::YieldOp::create(builder_, loc_, results);
  return Values(loop.getResults());
}

void KernelBuilder::ifThen(Value condition, function_ref<void()> then, function_ref<void()> otherwise) {
  auto branch = scf::IfOp::create(builder_, loc_, condition, /*withElseRegion=*/bool(otherwise));
  OpBuilder::InsertionGuard guard(builder_);
  builder_.setInsertionPoint(branch.thenYield());
  then();
  if (otherwise) {
    builder_.setInsertionPoint(branch.elseYield());
    otherwise();
  }
}

KernelBuilder::Values KernelBuilder::ifThen(Value condition, TypeRange results, function_ref<Values()> then,
                                            function_ref<Values()> otherwise) {
  auto branch = scf::IfOp::create(builder_, loc_, results, condition, /*addThenBlock=*/true, /*addElseBlock=*/true);
  OpBuilder::InsertionGuard guard(builder_);
  builder_.setInsertionPointToEnd(branch.thenBlock());
  Values first = then();
  builder_.setInsertionPointToEnd(branch.thenBlock());
  scf::YieldOp::create(builder_, loc_, first);
  builder_.setInsertionPointToEnd(branch.elseBlock());
  Values second = otherwise();
  builder_.setInsertionPointToEnd(branch.elseBlock());
  scf::YieldOp::create(builder_, loc_, second);
  return Values(branch.getResults());
}

void KernelBuilder::outline(function_ref<void()> body) {
  auto region = scf::ExecuteRegionOp::create(builder_, loc_, TypeRange());
  {
    OpBuilder::InsertionGuard guard(builder_);
    builder_.createBlock(&region.getRegion());
    body();
    scf::YieldOp::create(builder_, loc_);
  }
  IRRewriter rewriter(context());
  std::string name = cast<func::FuncOp>(function_).getName().str() + "_part" + std::to_string(outlined_++);
  FailureOr<func::FuncOp> part = outlineSingleBlockRegion(rewriter, loc_, region.getRegion(), name);
  if (failed(part))
    return; // the body stays where it is
  part->setPrivate();
  // A call to a symbol that others might replace would need a relocation, and images have none.
  (*part)->setAttr("llvm.linkage", LLVM::LinkageAttr::get(context(), LLVM::Linkage::Internal));
}

void KernelBuilder::forEachUnit(function_ref<void(Value)> body) { forLoop(unitBegin(), unitEnd(), 1, body); }
