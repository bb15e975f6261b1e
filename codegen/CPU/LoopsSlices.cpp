//===- LoopsSlices.cpp - operations that walk along an axis ---------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// topk, cumsum and the scatters cannot be asked for one element. Their work unit is one line along the axis (a running sum
// along an outer axis: a vector of lines), which is computed in order; so results do not depend on the threads. scatter_nd deals
// ranges of result rows, each of which looks at all updates.
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/Elementwise.h"
#include "codegen/CPU/ElementwiseHalf.h"
#include "codegen/CPU/Loops.h"
#include "codegen/CPU/LoopsReduce.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

class SliceCode {
public:
  using Coordinates = ElementEmitter::Coordinates;
  SliceCode(ElementEmitter &e, exec::KernelOp kernel, Operation *op) : e(e), s(e.scopes), b(e.b), kernel(kernel), op(op) {}

  /// Number of units; the code of one.
  SymExpr units() {
    if (isa<llm::ScatterNDOp>(op)) {
      SymContext &symbols = e.symbols();
      rowsPerUnit = symbols.max(symbols.constant(1), symbols.ceilDiv(rows(), symbols.constant(kScatterUnits)));
      return symbols.ceilDiv(rows(), rowsPerUnit);
    }
    return e.product(lineDims());
  }
  /// Scratch memory in bytes; unknown if there is none.
  SymExpr scratchBytes() {
    auto topk = dyn_cast<llm::TopKOp>(op);
    if (!topk)
      return {};
    SymContext &symbols = e.symbols();
    return symbols.mul(symbols.max(e.dims(topk.getValues())[topk.getAxis()], symbols.constant(1)), symbols.constant(16));
  }

  void unit(Index unit) {
    llvm::TypeSwitch<Operation *>(op)
        .Case<llm::CumSumOp>([&](llm::CumSumOp sum) { cumulative(sum, line(unit)); })
        .Case<llm::TopKOp>([&](llm::TopKOp topk) { best(topk, line(unit)); })
        .Case<llm::ScatterElementsOp>([&](llm::ScatterElementsOp scatter) { scatterLine(scatter, line(unit)); })
        .Case<llm::ScatterNDOp>([&](llm::ScatterNDOp scatter) { scatterRows(scatter, unit); });
  }

private:
  static constexpr int64_t kScatterUnits = 16;
  ElementEmitter &e;
  LoopScopes &s;
  KernelBuilder &b;
  exec::KernelOp kernel;
  Operation *op;
  SymExpr rowsPerUnit;

  size_t axis() { return size_t(cast<IntegerAttr>(op->getAttr("axis")).getInt()); }

  /// The result's dimensions with those taken out that a unit runs over.
  ElementEmitter::Dims lineDims() {
    ElementEmitter::Dims dims(e.dims(op->getResult(0)));
    dims[axis()] = e.symbols().constant(1);
    if (isa<llm::CumSumOp>(op) && axis() + 1 < dims.size())
      dims.back() = e.symbols().constant(1); // by vectors over the last dimension
    return dims;
  }
  Coordinates line(Index unit) {
    ElementEmitter::Dims dims = lineDims();
    SymExpr all = e.product(dims);
    return e.regroup(ArrayRef<SymExpr>(all), ArrayRef<Index>(unit), dims);
  }

  /// Binding of a result of the operation; nothing if it is not yielded.
  std::optional<unsigned> bindingOf(Value result) {
    for (auto [i, value] : llvm::enumerate(kernel.getBody().front().getTerminator()->getOperands()))
      if (peelViews(value) == result)
        return unsigned(kernel.getInputs().size() + i);
    return std::nullopt;
  }
  void store(Value result, Value value, ArrayRef<Index> at) {
    if (auto binding = bindingOf(result))
      storeElements(b, e.elementType(result), e.matchLanes(value, !e.uniform(at)), b.buffer(*binding),
                    s.scalar(s.linearize(e.dims(result), at)));
  }

  //===--- running sums -------------------------------------------------------===//

  void cumulative(llm::CumSumOp sum, Coordinates at) {
    if (axis() + 1 == at.size())
      return cumulativeLine(sum, at);
    SymExpr width = e.dims(sum.getResult()).back();
    forColumns(e, s.constant(0), s.dim(width), width, [&](Index column) {
      at.back() = column;
      cumulativeLine(sum, at);
    });
  }

  void cumulativeLine(llm::CumSumOp sum, Coordinates at) {
    Index length = s.dim(e.dims(sum.getResult())[axis()]);
    bool lanes = !e.uniform(at);
    Accumulator accumulator{e, llm::ReduceKind::sum, e.elementType(sum.getResult())};
    s.loop(b.index(0), s.scalar(length), 1, 1, accumulator.initial(lanes), [&](Index i, ValueRange carried) {
      at[axis()] = sum.getReverse() ? s.sub(s.sub(length, s.constant(1)), i) : i;
      Value next = accumulator.combine(carried[0], e.matchLanes(e.element(sum.getInput(), at), lanes));
      store(sum.getResult(), sum.getExclusive() ? carried[0] : next, at);
      return KernelBuilder::Values{next};
    });
  }

  //===--- the k best -----------------------------------------------------------===//

  void best(llm::TopKOp topk, Coordinates at) {
    Type element = e.elementType(topk.getInput()), type = registerType(element);
    Accumulator better{e, topk.getLargest() ? llm::ReduceKind::max : llm::ReduceKind::min, element};
    Index length = s.dim(e.dims(topk.getInput())[axis()]), k = s.dim(e.dims(topk.getValues())[axis()]);
    Value most = s.scalar(k), zero = b.index(0);
    // Scratch: k slots of 8 bytes for values, then k for indices.
    Value indices = b.address(b.scratch(), most, b.i64());
    auto slot = [&](Value i) { return type.getIntOrFloatBitWidth() == 64 ? i : b.mul(i, 64 / std::max(8u, type.getIntOrFloatBitWidth())); };
    auto value = [&](Value i) { return b.load(memory(type), b.scratch(), slot(i)); };
    s.loop(b.index(0), s.scalar(length), 1, 1, [&](Index i) {
      at[axis()] = i;
      Value x = widenBit(e.element(topk.getInput(), at));
      Value filled = b.min(s.scalar(i), most), last = b.max(b.add(most, -1), zero);
      Value room = b.less(filled, most), beats = improves(better, x, value(last));
      Value enters = arith::OrIOp::create(b.ops(), b.loc(), room, arith::AndIOp::create(b.ops(), b.loc(), b.less(zero, most), beats));
      b.ifThen(enters, [&] {
        Value place = moveDown(b.min(filled, last), [&](Value before) { return improves(better, x, value(before)); },
                               [&](Value from, Value to) {
                                 b.store(value(from), b.scratch(), slot(to));
                                 b.store(b.load(b.i64(), indices, from), indices, to);
                               });
        b.store(x, b.scratch(), slot(place));
        b.store(s.scalar(i), indices, place);
      });
    });
    s.loop(b.index(0), most, 1, 1, [&](Index i) {
      at[axis()] = i;
      store(topk.getValues(), narrowBit(value(s.scalar(i)), type), at);
      store(topk.getIndices(), b.load(b.i64(), indices, s.scalar(i)), at);
    });
  }

  // i1 elements lie as bytes.
  Type memory(Type type) { return type.isInteger(1) ? b.ops().getI8Type() : type; }
  Value widenBit(Value x) { return x.getType().isInteger(1) ? Value(arith::ExtUIOp::create(b.ops(), b.loc(), b.ops().getI8Type(), x)) : x; }
  Value narrowBit(Value x, Type type) { return type.isInteger(1) ? Value(arith::TruncIOp::create(b.ops(), b.loc(), type, x)) : x; }
  Value improves(const Accumulator &better, Value x, Value y) {
    if (!better.elementType.isInteger(1))
      return better.improves(x, y, /*orEqual=*/false);
    Accumulator bytes{e, better.kind, IntegerType::get(b.context(), 8, IntegerType::Unsigned)};
    return bytes.improves(x, y, false);
  }

  /// From `place` down: moves slots up as long as `beats(previous)`; where it stops.
  Value moveDown(Value place, function_ref<Value(Value)> beats, function_ref<void(Value, Value)> move) {
    OpBuilder &ops = b.ops();
    auto loop = scf::WhileOp::create(ops, b.loc(), TypeRange{b.i64()}, ValueRange{place});
    OpBuilder::InsertionGuard guard(ops);
    Block *before = ops.createBlock(&loop.getBefore(), {}, b.i64(), b.loc());
    Value here = before->getArgument(0), zero = b.index(0), previous = b.max(b.add(here, -1), zero);
    Value goes = arith::AndIOp::create(ops, b.loc(), b.less(zero, here), beats(previous));
    scf::ConditionOp::create(ops, b.loc(), goes, ValueRange{here});
    Block *after = ops.createBlock(&loop.getAfter(), {}, b.i64(), b.loc());
    Value at = after->getArgument(0), below = b.add(at, -1);
    move(below, at);
    scf::YieldOp::create(ops, b.loc(), below);
    return loop.getResult(0);
  }

  //===--- scatters -------------------------------------------------------------===//

  /// What an update makes of the old element.
  Value update(llm::ScatterReduction kind, Type element, Value old, Value next) {
    using S = llm::ScatterReduction;
    using K = llm::ReduceKind;
    if (kind == S::none)
      return next;
    K reduce = kind == S::add ? K::sum : kind == S::mul ? K::prod : kind == S::max ? K::max : K::min;
    return Accumulator{e, reduce, element}.combine(old, next);
  }
  void updateAt(llm::ScatterReduction kind, Value result, Index offset, Value next) {
    Type element = e.elementType(result);
    Value base = b.buffer(*bindingOf(result)), at = s.scalar(offset);
    Value old = kind == llm::ScatterReduction::none ? Value() : loadElements(b, element, 0, base, at);
    storeElements(b, element, update(kind, element, old, next), base, at);
  }

  void scatterLine(llm::ScatterElementsOp scatter, Coordinates at) {
    Value result = scatter.getResult();
    ArrayRef<SymExpr> dims = e.dims(result), indexDims = e.dims(scatter.getIndices());
    Index length = s.dim(dims[axis()]);
    s.loop(b.index(0), s.scalar(length), 1, 1, [&](Index i) {
      Coordinates here(at);
      here[axis()] = i;
      store(result, e.element(scatter.getInput(), here), here);
    });
    // The index tensor may be smaller than the result.
    Index updates = s.dim(indexDims[axis()]);
    for (size_t i = 0; i < at.size(); ++i)
      if (i != axis() && !(indexDims[i] == dims[i]))
        updates = s.select(s.less(at[i], s.dim(indexDims[i])), at[i].level, updates, s.constant(0));
    s.loop(b.index(0), s.scalar(updates), 1, 1, [&](Index j) {
      Coordinates from(at), to(at);
      from[axis()] = j;
      to[axis()] = e.indexFrom(e.element(scatter.getIndices(), from), e.elementType(scatter.getIndices()), j.level, dims[axis()]);
      updateAt(scatter.getReduction(), result, s.linearize(dims, to), e.element(scatter.getUpdates(), from));
    });
  }

  int64_t tupleLength() {
    auto length = e.dims(op->getOperand(1)).back().constant();
    if (!length)
      e.fail(op, "the length of an index tuple is not known");
    return length.value_or(0);
  }
  /// Result slices an update can replace.
  SymExpr rows() { return e.product(e.dims(op->getResult(0)).take_front(size_t(tupleLength()))); }

  void scatterRows(llm::ScatterNDOp scatter, Index unit) {
    Value result = scatter.getResult(), indices = scatter.getIndices();
    ArrayRef<SymExpr> dims = e.dims(result), indexDims = e.dims(indices);
    size_t tuple = size_t(tupleLength());
    SymExpr size = e.product(dims.drop_front(tuple)), all = e.product(dims);
    Index perUnit = s.dim(rowsPerUnit), slice = s.dim(size);
    Index first = s.mul(unit, perUnit), end = s.min(s.add(first, perUnit), s.dim(rows()));
    s.loop(s.scalar(s.mul(first, slice)), s.scalar(s.mul(end, slice)), 1, 1, [&](Index i) {
      Coordinates at = e.regroup(ArrayRef<SymExpr>(all), ArrayRef<Index>(i), dims);
      store(result, e.element(scatter.getInput(), at), at);
    });
    SymExpr updates = e.product(indexDims.drop_back());
    ElementEmitter::Dims updateDims{updates, size};
    s.loop(b.index(0), s.scalar(s.dim(updates)), 1, 1, [&](Index u) {
      Coordinates position = e.regroup(ArrayRef<SymExpr>(updates), ArrayRef<Index>(u), indexDims.drop_back());
      Coordinates target;
      for (size_t k = 0; k < tuple; ++k) {
        Coordinates entry(position);
        entry.push_back(s.constant(int64_t(k)));
        target.push_back(e.indexFrom(e.element(indices, entry), e.elementType(indices), u.level, dims[k]));
      }
      Index row = s.linearize(dims.take_front(tuple), target);
      // Rows of other units are left to those: the loop runs over nothing then.
      Index count = s.select(s.less(row, first), u.level, s.constant(0), slice);
      count = s.select(s.less(row, end), u.level, count, s.constant(0));
      s.loop(b.index(0), s.scalar(count), 1, 1, [&](Index i) {
        Coordinates from = e.regroup(updateDims, {u, i}, e.dims(scatter.getUpdates()));
        updateAt(scatter.getReduction(), result, s.add(s.mul(row, slice), i), e.element(scatter.getUpdates(), from));
      });
    });
  }
};

} // namespace

Operation *cpu::sliceOperation(exec::KernelOp kernel) {
  for (Operation &op : kernel.getBody().front())
    if (isa<llm::TopKOp, llm::CumSumOp, llm::ScatterElementsOp, llm::ScatterNDOp>(op))
      return &op;
  return nullptr;
}

Result<LoweredKernel> cpu::lowerSlices(exec::KernelOp kernel, Operation *op, FamilyContext &context) {
  for (Value yielded : kernel.getBody().front().getTerminator()->getOperands())
    if (peelViews(yielded).getDefiningOp() != op)
      return unsupported("E0912", op->getName().getStringRef().str() + " shares a kernel with operations that read it", context.symbol);
  LoopsChoice choice = chooseLoops(kernel, context.target);
  KernelBuilder b(context.module, context.symbol, context.shapes.symbols());
  ElementEmitter e(b, kernel, context, choice.lanes);
  SliceCode code(e, kernel, op);
  SymExpr units = code.units();
  e.scopes.loop(b.unitBegin(), b.unitEnd(), 1, 1, [&](Index unit) { code.unit(unit); });
  if (!e.status())
    return e.status();
  if (e.scopes.sawUnknown || !units.known())
    return unsupported("E0911", "a size that the kernel needs is not known before it runs", context.symbol);
  expandHalfConversions(context.module, context.target);
  LoweredKernel lowered;
  lowered.variants.push_back({context.symbol, 0, units, code.scratchBytes()});
  lowered.dims.assign(b.dims().begin(), b.dims().end());
  lowered.optimizeLoops = true;
  addCosts(kernel, context.shapes, lowered);
  return lowered;
}
