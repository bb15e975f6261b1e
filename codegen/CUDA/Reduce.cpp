//===- Reduce.cpp - reductions by the written family ----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/Reduce.h"

#include "codegen/CPU/Elementwise.h"
#include "codegen/CPU/ElementwiseHalf.h"
#include "codegen/CPU/Loops.h"
#include "codegen/CUDA/PrinterExpressions.h"
#include "codegen/CUDA/RowLaunch.h"
#include "codegen/CUDA/RowResults.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cuda;

/// Whole numbers are unsigned bits; those that are are extended without a sign.
static bool isUnsigned(Type element) { return element.isUnsignedInteger() || element.isInteger(1); }

/// What a block's threads exchange: whole numbers narrower than 32 bits are extended.
static Type exchangedType(Type element) {
  Type type = cpu::registerType(element);
  return isa<IntegerType>(type) && type.getIntOrFloatBitWidth() < 32 ? IntegerType::get(type.getContext(), 32) : type;
}

JoinText cuda::joinText(llm::ReduceOp op, const std::string &a, const std::string &b) {
  using K = llm::ReduceKind;
  Type element = getElementTypeOrSelf(op.getInput().getType()), type = exchangedType(element);
  bool isFloat = isa<FloatType>(type), isMax = op.getKind() == K::max;
  std::string name = typeName(type);
  if (op.getKind() == K::sum || op.getKind() == K::mean)
    return {name + "(0)", a + " + " + b};
  if (op.getKind() == K::prod)
    return {name + "(1)", a + " * " + b};
  if (isFloat) { // what is no number stays
    std::string infinity = type.isF32() ? "bitcast<float>(u32(0x7f800000))" : "bitcast<double>(u64(0x7ff0000000000000))";
    return {(isMax ? "-" : "") + infinity, a + (isMax ? " > " : " < ") + b + " || " + a + " != " + a + " ? " + a + " : " + b};
  }
  unsigned width = type.getIntOrFloatBitWidth(), own = element.getIntOrFloatBitWidth();
  std::string order = isUnsigned(element) ? name : (width == 32 ? "i32" : "i64");
  llvm::APInt bound = isUnsigned(element) ? (isMax ? llvm::APInt::getMinValue(own) : llvm::APInt::getMaxValue(own)).zext(width)
                                          : (isMax ? llvm::APInt::getSignedMinValue(own) : llvm::APInt::getSignedMaxValue(own)).sext(width);
  return {llvm::formatv("{0}({1:x}ull)", name, bound.getZExtValue()), order + "(" + a + ")" + (isMax ? " > " : " < ") + order + "(" + b + ") ? " + a + " : " + b};
}

namespace {

constexpr int64_t kFewElements = 64; // a thread for each row does as well

/// Reductions of equal axes, or the place of one extremum, and what is computed of their results element by element.
struct ReduceRegion {
  SmallVector<Operation *> reductions;
  llm::ArgReduceOp place;
  SmallVector<SymExpr, 4> rows, columns; ///< dimensions
};

bool equalButOnes(ArrayRef<SymExpr> a, ArrayRef<SymExpr> b) {
  auto isOne = [](SymExpr dim) { return dim.isConstant(1); };
  SmallVector<SymExpr> left(a), right(b);
  llvm::erase_if(left, isOne);
  llvm::erase_if(right, isOne);
  return llvm::equal(left, right);
}

SmallVector<int64_t> axesOf(Operation *op) {
  if (auto reduce = dyn_cast<llm::ReduceOp>(op))
    return SmallVector<int64_t>(reduce.getAxes());
  return {int64_t(cast<llm::ArgReduceOp>(op).getAxis())};
}
Type elementOf(Operation *op) { return getElementTypeOrSelf(op->getOperand(0).getType()); }

bool areLastAxes(ArrayRef<int64_t> axes, int64_t rank) {
  for (auto [i, axis] : llvm::enumerate(axes))
    if (axis != rank - int64_t(axes.size()) + int64_t(i))
      return false;
  return !axes.empty();
}

std::optional<ReduceRegion> match(exec::KernelOp kernel, ShapeAnalysis &shapes) {
  ReduceRegion region;
  llvm::SmallPtrSet<Operation *, 8> behind; // and the reductions
  for (Operation &op : kernel.getBody().front().without_terminator()) {
    bool reads = llvm::any_of(op.getOperands(), [&](Value operand) { return behind.contains(operand.getDefiningOp()); });
    bool reduces = isa<llm::ReduceOp, llm::ArgReduceOp>(op);
    if (!reads && !reduces)
      continue;
    if (reads && (reduces || (!op.hasTrait<llm::Elementwise>() && !cpu::isView(&op))))
      return std::nullopt;
    behind.insert(&op);
    if (!reduces)
      continue;
    ArrayRef<SymExpr> dims = shapes.shapeOf(op.getOperand(0)).dims;
    SmallVector<int64_t> axes = axesOf(&op);
    Type type = exchangedType(elementOf(&op));
    auto reduce = dyn_cast<llm::ReduceOp>(op);
    if (!areLastAxes(axes, int64_t(dims.size())) || (!isa<FloatType>(type) && !type.isInteger(32) && !type.isInteger(64)) ||
        (reduce && isa<IntegerType>(type) && reduce.getKind() == llm::ReduceKind::mean))
      return std::nullopt;
    size_t leading = dims.size() - axes.size();
    if (region.reductions.empty()) {
      region.place = dyn_cast<llm::ArgReduceOp>(op);
      region.rows.assign(dims.take_front(leading).begin(), dims.take_front(leading).end());
      region.columns.assign(dims.drop_front(leading).begin(), dims.drop_front(leading).end());
    } else if (!reduce || region.place || elementOf(&op) != elementOf(region.reductions.front()) || !llvm::equal(dims.take_front(leading), region.rows) ||
               !llvm::equal(dims.drop_front(leading), region.columns)) {
      return std::nullopt;
    }
    region.reductions.push_back(&op);
  }
  if (region.reductions.empty() || region.reductions.size() > 4)
    return std::nullopt;
  for (Value yielded : kernel.getBody().front().getTerminator()->getOperands()) {
    Value value = cpu::peelViews(yielded);
    if (!behind.contains(value.getDefiningOp()) || !equalButOnes(shapes.shapeOf(value).dims, region.rows))
      return std::nullopt;
  }
  return region;
}

class ReduceUnit {
public:
  ReduceUnit(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target, const std::string &symbol, const ReduceRegion &region)
      : kernel_(kernel), shapes_(shapes), target_(target), symbol_(symbol), region_(region), element_(elementOf(region.reductions.front())), type_(exchangedType(element_)) {}
  Result<std::optional<LoweredDeviceKernel>> lower();

private:
  Status emitHalves(cpu::KernelBuilder &b, ModuleOp module, SymExpr rows, SymExpr width);
  Value exchanged(cpu::KernelBuilder &b, Value element) const;
  Value element(cpu::KernelBuilder &b, Value exchanged) const;
  RowText rowText(int64_t fixedRows, int64_t mostParts) const;
  std::string joinsText() const;
  std::string placeText() const;
  // What a thread has of a row: numbers, or an extremum's rank and place (kernels/arg_reduce.cuh).
  std::string termName() const { return region_.place ? "u64" : typeName(type_); }
  int64_t terms() const { return region_.place ? 2 : int64_t(region_.reductions.size()); }
  exec::KernelOp kernel_;
  ShapeAnalysis &shapes_;
  const Target &target_;
  const std::string &symbol_;
  const ReduceRegion &region_;
  Type element_, type_; ///< as the tensor has it, and as threads exchange it
};

Value ReduceUnit::exchanged(cpu::KernelBuilder &b, Value element) const {
  if (element.getType() == type_)
    return element;
  return isUnsigned(element_) ? Value(arith::ExtUIOp::create(b.ops(), b.loc(), type_, element)) : Value(arith::ExtSIOp::create(b.ops(), b.loc(), type_, element));
}
Value ReduceUnit::element(cpu::KernelBuilder &b, Value exchanged) const {
  Type type = cpu::registerType(element_);
  return type == type_ ? exchanged : Value(arith::TruncIOp::create(b.ops(), b.loc(), type, exchanged));
}

Status ReduceUnit::emitHalves(cpu::KernelBuilder &b, ModuleOp module, SymExpr rows, SymExpr width) {
  cpu::FamilyContext context{module, shapes_, target_, symbol_};
  auto named = [&](Type type, const std::string &name) { return namedValue(b.ops(), b.loc(), type, name); };
  Value stores = named(b.i64(), "stores"), row = named(b.i64(), "row"), column = named(b.i64(), "column");
  Value terms = named(mlir::LLVM::LLVMPointerType::get(kernel_.getContext()), "terms");
  auto load = [&](cpu::ElementEmitter &emitter) {
    cpu::LoopScopes &scopes = emitter.scopes;
    cpu::ElementEmitter::Coordinates at = emitter.regroup(rows, scopes.wrap(row, 0), region_.rows);
    llvm::append_range(at, emitter.regroup(width, scopes.wrap(column, 0), region_.columns));
    for (auto [i, reduce] : llvm::enumerate(region_.reductions))
      b.store(exchanged(b, emitter.element(reduce->getOperand(0), at)), terms, b.index(int64_t(i)));
  };
  auto store = [&](cpu::ElementEmitter &emitter) {
    cpu::LoopScopes &scopes = emitter.scopes;
    for (auto [i, reduce] : llvm::enumerate(region_.reductions)) {
      Value value = region_.place ? b.load(b.i64(), terms, b.index(0)) : element(b, b.load(type_, terms, b.index(int64_t(i))));
      if (auto op = dyn_cast<llm::ReduceOp>(reduce); op && op.getKind() == llm::ReduceKind::mean)
        value = b.fdiv(value, emitter.number(scopes.dim(width), type_));
      emitter.override(reduce->getResult(0), [value](cpu::ElementEmitter::At) { return value; });
    }
    SmallVector<std::tuple<Value, Value, unsigned>> results; // all before any store: a result may lie on an operand that is read at the same place
    for (OpOperand &yielded : kernel_.getBody().front().getTerminator()->getOpOperands()) {
      Value of = cpu::peelViews(yielded.get());
      results.emplace_back(of, emitter.element(of, emitter.regroup(rows, scopes.wrap(row, 0), emitter.dims(of))), unsigned(kernel_.getInputs().size() + yielded.getOperandNumber()));
    }
    for (auto [of, element, binding] : results)
      cpu::storeElements(b, emitter.elementType(of), element, b.buffer(binding), row);
  };
  return cuda::emitHalves(b, kernel_, context, stores, load, store);
}

std::string ReduceUnit::joinsText() const {
  std::string begin, join;
  for (auto [i, reduce] : llvm::enumerate(region_.reductions)) {
    std::string at = "[" + std::to_string(i) + "]";
    JoinText text = joinText(cast<llm::ReduceOp>(reduce), "values" + at, "others" + at);
    begin += "    values" + at + " = " + text.begin + ";\n";
    join += "    values" + at + " = " + text.join + ";\n";
  }
  return "  typedef " + termName() + " Type;\n  static constexpr int kTerms = " + std::to_string(terms()) + ";\n  DEVICE_MEMBER void begin(Type (&values)[kTerms]) const {\n" + begin +
         "  }\n  DEVICE_MEMBER void join(Type (&values)[kTerms], const Type (&others)[kTerms]) const {\n" + join +
         "  }\n  DEVICE_MEMBER void load(i64 row, i64 column, Type (&terms)[kTerms]) const { apply(0, u64(row), u64(column), reinterpret_cast<u8 *>(terms)); }\n"
         "  DEVICE_MEMBER void store(i64 row, const Type (&values)[kTerms]) const {\n    Type terms[kTerms];\n    UNROLL\n    for (int i = 0; i < kTerms; ++i)\n      terms[i] = values[i];\n"
         "    apply(1, u64(row), 0, reinterpret_cast<u8 *>(terms));\n  }\n";
}

std::string ReduceUnit::placeText() const {
  llm::ArgReduceOp op = region_.place;
  auto flag = [](bool value) { return value ? "true" : "false"; };
  return "  typedef " + typeName(type_) + " Number;\n  static constexpr bool kSigned = " + flag(!isUnsigned(element_)) + ", kLargest = " + flag(op.getKind() == llm::ReduceKind::max) +
         ", kLast = " + flag(op.getLast()) +
         ";\n  DEVICE_MEMBER Number number(i64 row, i64 column) const {\n    Number x = 0;\n    apply(0, u64(row), u64(column), reinterpret_cast<u8 *>(&x));\n    return x;\n  }\n"
         "  DEVICE_MEMBER void storePlace(i64 row, u64 place) const { apply(1, u64(row), 0, reinterpret_cast<u8 *>(&place)); }\n";
}

RowText ReduceUnit::rowText(int64_t fixedRows, int64_t mostParts) const {
  RowText text{"u64 stores, u64 row, u64 column, u8 *terms",
               "  static constexpr int kRows = " + std::to_string(fixedRows) + ", kMostParts = " + std::to_string(mostParts) + ";\n" + (region_.place ? placeText() : joinsText())};
  if (region_.place) {
    text.begin = "PlaceRows<Rows>{{";
    text.end = "}}";
  }
  text.arguments = ", nullptr, nullptr";
  if (mostParts > 1) {
    text.data = "DEVICE_DATA(" + termName() + ", " + symbol_ + "_shares, " + std::to_string(fixedRows * mostParts * terms()) + ");\nDEVICE_DATA(u32, " + symbol_ + "_counters, " +
                std::to_string(fixedRows) + ");\n";
    text.arguments = ", " + symbol_ + "_shares, " + symbol_ + "_counters";
  }
  return text;
}

Result<std::optional<LoweredDeviceKernel>> ReduceUnit::lower() {
  constexpr int64_t kHeld = 8, kMostThreads = 256, kUsualThreads = 128; // elements of a thread, of a block
  constexpr int64_t kFewRows = 16, kPart = 8192, kMostParts = 128;      // few long rows are shared by blocks, so many elements each
  SymContext &symbols = shapes_.symbols();
  auto product = [&](ArrayRef<SymExpr> dims) {
    SymExpr all = symbols.constant(1);
    for (SymExpr dim : dims)
      all = symbols.mul(all, dim);
    return all;
  };
  SymExpr rows = product(region_.rows), width = product(region_.columns), units = rows;
  if (!rows.known() || !width.known() || (width.constant() && *width.constant() < kFewElements))
    return std::optional<LoweredDeviceKernel>();
  int64_t threads = threadsForRows(width, kHeld, kMostThreads, kUsualThreads);
  int64_t fixedRows = rows.constant() && *rows.constant() <= kFewRows ? *rows.constant() : 0, mostParts = 1;
  if (fixedRows > 0 && (!width.constant() || *width.constant() > kPart)) {
    threads = kMostThreads;
    mostParts = kMostParts;
    units = symbols.mul(rows, symbols.min(symbols.max(symbols.ceilDiv(width, symbols.constant(kPart)), symbols.constant(1)), symbols.constant(kMostParts)));
  }

  OwningOpRef<ModuleOp> module(ModuleOp::create(UnknownLoc::get(kernel_.getContext())));
  cpu::KernelBuilder b(*module, symbol_ + "_rows", symbols);
  b.dim(width);
  LLMOPT_RETURN_IF_ERROR(emitHalves(b, *module, rows, width));
  cpu::expandHalfConversions(*module, target_);
  LLMOPT_ASSIGN(PrintedBody body, printBody(*module->getOps<func::FuncOp>().begin(), 2));

  RowText text = rowText(fixedRows, mostParts);
  LoweredDeviceKernel lowered;
  lowered.plan.dims.assign(b.dims().begin(), b.dims().end());
  RowFamily family = region_.place ? RowFamily{"ArgReduce", "arg_reduce.cuh", threads} : RowFamily{"Reduce", "reduce.cuh", threads};
  lowered.unit = rowUnit(family, symbol_, printGlobals(*module), body, text, width);
  lowered.plan.variants.push_back({symbol_, 0, units, SymExpr()});
  cpu::addCosts(kernel_, shapes_, lowered.plan);
  return std::optional<LoweredDeviceKernel>(std::move(lowered));
}

} // namespace

Result<std::optional<LoweredDeviceKernel>> cuda::lowerReduce(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target, const std::string &symbol) {
  std::optional<ReduceRegion> region = match(kernel, shapes);
  return region ? ReduceUnit(kernel, shapes, target, symbol, *region).lower() : std::optional<LoweredDeviceKernel>();
}
