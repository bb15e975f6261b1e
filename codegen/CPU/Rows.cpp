//===- Rows.cpp - the family of normalizations ----------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The region holds one norm or softmax over the last axis, what its input is computed from (a residual sum, an embedding) and
// what its result goes into, element by element. A work unit is a few rows. Each row is passed over two or three times, the
// first time computing the input into scratch memory unless it lies in memory already; every yielded value is stored in the
// last pass, which also takes the extrema of the norm's row where those are results. A softmax along another axis runs down its
// columns, a vector of columns at a time.
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/Rows.h"

#include "codegen/CPU/Elementwise.h"
#include "codegen/CPU/ElementwiseHalf.h"
#include "codegen/CPU/LoopsReduce.h"
#include "codegen/CPU/MathApproximation.h"
#include "codegen/CPU/MathApproximationNumber.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

class RowCode {
public:
  RowCode(ElementEmitter &e, exec::KernelOp kernel, Operation *norm)
      : e(e), s(e.scopes), b(e.b), kernel(kernel), norm(norm), input(norm->getOperand(0)), type(registerType(e.elementType(norm->getResult(0)))),
        scratch(e.b.scratch()) {
    for (OpOperand &result : kernel.getBody().front().getTerminator()->getOpOperands())
      (rowExtremum(result.get()) ? extrema : yielded).push_back(&result);
  }

  /// The reduction of rows that gives a result; null if something else does.
  static llm::ReduceOp rowExtremum(Value result) { return peelViews(result).getDefiningOp<llm::ReduceOp>(); }
  bool hasExtrema() const { return !extrema.empty(); }

  /// The norm's rows go to `to`, one after the other, and of the kernel's results only `results` are stored.
  void redirect(Value to, ArrayRef<OpOperand *> results) {
    target = to;
    yielded.assign(results.begin(), results.end());
    extrema.clear();
  }

  /// Rows of scratch memory: the input, unless it lies in memory, and the powers of a softmax, which may take the input's
  /// place if nothing else reads that.
  int64_t scratchRows() {
    bool softmax = isa<llm::SoftmaxOp>(norm);
    if (inMemory())
      return softmax;
    return softmax && !input.hasOneUse() ? 2 : 1;
  }

  /// One row over the last axis; `outer` are the other coordinates.
  void row(const ElementEmitter::Coordinates &outer, Value index = {}) {
    outer_ = outer;
    width = e.dims(norm->getResult(0)).back();
    size = s.scalar(s.dim(width));
    if (target)
      scratch = b.address(target, b.mul(index, size), type);
    if (isa<llm::SoftmaxOp>(norm))
      return softmaxRow();
    if (auto windows = dyn_cast<llm::WindowsOp>(norm))
      return windowsRow(windows);
    if (isa<llm::CastOp, llm::GatherOp>(norm))
      return forColumns(e, s.constant(0), s.dim(width), width, [&](Index i) { storeResults(at(i)); });
    if (auto rms = dyn_cast<llm::RMSNormOp>(norm))
      return rmsRow(rms);
    layerRow(cast<llm::LayerNormOp>(norm));
  }

  /// All elements along `axis` at the other coordinates of `at`, of which some may be lanes.
  void column(ElementEmitter::Coordinates at, size_t axis) {
    SymExpr length = e.dims(input)[axis];
    Index end = s.dim(length);
    bool lanes = !e.uniform(at);
    auto overAxis = [&](Value start, function_ref<Value(Value, Value)> step) {
      return s.loop(b.index(0), s.scalar(end), 1, 1, start, [&](Index i, ValueRange carried) {
        at[axis] = i;
        return KernelBuilder::Values{step(carried[0], e.matchLanes(e.element(input, at), lanes))};
      })[0];
    };
    Accumulator maximum{e, llm::ReduceKind::max, e.elementType(input)};
    Value most = overAxis(maximum.initial(lanes), [&](Value m, Value x) { return maximum.combine(m, x); });
    Value sum = overAxis(e.zero(e.elementType(input), lanes), [&](Value total, Value x) { return b.fadd(total, exponential(x, most)); });
    Value factor = b.fdiv(e.zero(e.elementType(input), lanes, 1), sum);
    s.loop(b.index(0), s.scalar(end), 1, 1, [&](Index i) {
      at[axis] = i;
      e.override(norm->getResult(0), [&](ElementEmitter::At) {
        return b.fmul(exponential(e.matchLanes(e.element(input, at), lanes), most), factor);
      });
      storeResults(at);
    });
  }

private:
  ElementEmitter &e;
  LoopScopes &s;
  KernelBuilder &b;
  exec::KernelOp kernel;
  Operation *norm;
  Value input;
  Type type; ///< register type of the result, which but for casts is the input's
  SymExpr width;
  Value size;
  ElementEmitter::Coordinates outer_;
  Value scratch; ///< where rows are kept
  Value target;
  SmallVector<OpOperand *> yielded; ///< results with all elements of the row ...
  SmallVector<OpOperand *> extrema; ///< ... and with one

  /// Whether the input lies in memory as it is: then it is read again instead of kept.
  bool inMemory() { return bool(e.leafBase(peelViews(input))); }

  ElementEmitter::Coordinates at(Index column) {
    ElementEmitter::Coordinates coordinates(outer_);
    coordinates.push_back(column);
    return coordinates;
  }

  Value exponential(Value x, Value most) { return emitMath(b, ScalarFunctionId::Exp, b.fsub(x, most)); }
  Value lanesLike(Value scalar, Value like) { return e.matchLanes(scalar, isa<VectorType>(like.getType())); }

  //===--- passes over a row ------------------------------------------------===//

  /// Offset in scratch memory of an element of the given row.
  Value slot(Index column, int64_t row) { return row ? b.add(s.scalar(column), size) : s.scalar(column); }
  void keep(Index column, Value value, int64_t row = 0) { b.store(e.matchLanes(value, !column.uniform()), scratch, slot(column, row)); }
  Value kept(Index column, int64_t row = 0) {
    Type wanted = column.uniform() ? type : Type(b.vec(s.lanes, type));
    return b.load(wanted, scratch, slot(column, row));
  }
  int64_t powersRow() { return scratchRows() - 1; }

  /// The first pass: reduces term(x) over the row, keeping x.
  Value firstPass(llm::ReduceKind kind, function_ref<Value(Value)> term) {
    Accumulator accumulator{e, kind, type};
    bool keeps = !inMemory();
    Value result = accumulator.overRange(size, [&](Index i) {
      Value x = e.matchLanes(e.element(input, at(i)), !i.uniform());
      if (keeps)
        keep(i, x);
      return term(x);
    });
    if (keeps) // whoever asks for the input from now on gets what was kept
      e.override(input, [&](ElementEmitter::At coordinates) { return kept(coordinates.back()); });
    return result;
  }

  Value laterPass(llm::ReduceKind kind, function_ref<Value(Index, Value)> term) {
    Accumulator accumulator{e, kind, type};
    return accumulator.overRange(size, [&](Index i) { return term(i, e.matchLanes(e.element(input, at(i)), !i.uniform())); });
  }

  void lastPass(function_ref<Value(Index, Value)> result) {
    // All values of a column are computed before any is stored: a result may lie where the input lies.
    auto column = [&](Index i) {
      e.override(norm->getResult(0), [&](ElementEmitter::At coordinates) {
        const Index &column = coordinates.back();
        bool softmax = isa<llm::SoftmaxOp>(norm);
        return result(column, softmax ? kept(column, powersRow()) : e.matchLanes(e.element(input, coordinates), !column.uniform()));
      });
      KernelBuilder::Values terms;
      for (OpOperand *extremum : extrema)
        terms.push_back(e.element(rowExtremum(extremum->get()).getInput(), at(i)));
      storeResults(at(i));
      return terms;
    };
    if (extrema.empty())
      return forColumns(e, s.constant(0), s.dim(width), width, [&](Index i) { column(i); });
    SmallVector<Accumulator> accumulators;
    for (OpOperand *extremum : extrema)
      accumulators.push_back({e, rowExtremum(extremum->get()).getKind(), type});
    auto found = Accumulator::overRange(accumulators, size, column);
    ElementEmitter::Dims rowDims(e.dims(input).drop_back());
    Index row = s.linearize(rowDims, outer_);
    for (auto [extremum, value] : llvm::zip_equal(extrema, found))
      storeElements(b, e.elementType(extremum->get()), value, bufferOf(*extremum), s.scalar(row));
  }

  Value bufferOf(OpOperand &result) { return b.buffer(unsigned(kernel.getInputs().size()) + result.getOperandNumber()); }

  void storeResults(ArrayRef<Index> coordinates) {
    SmallVector<Value> values;
    bool lanes = !e.uniform(coordinates);
    for (OpOperand *result : yielded)
      values.push_back(e.matchLanes(e.element(peelViews(result->get()), coordinates), lanes));
    if (target)
      keep(coordinates.back(), e.element(norm->getResult(0), coordinates));
    Index offset = s.linearize(e.dims(norm->getResult(0)), coordinates);
    for (auto [result, value] : llvm::zip(yielded, values))
      storeElements(b, e.elementType(result->get()), value, bufferOf(*result), s.scalar(offset));
  }

  //===--- the three operations ---------------------------------------------===//

  Value meanOf(Value sum) { return b.fdiv(sum, e.number(s.dim(width), type)); }
  Value inverseRoot(Value mean, llvm::APFloat epsilon) {
    Number variance(b, mean);
    return (variance.of(1.0) / (variance + epsilon.convertToDouble()).sqrt()).v;
  }
  /// Element of a vector [D] that may have another float type.
  Value parameter(Value vector, Index column) {
    Value value = e.matchLanes(e.element(vector, {column}), !column.uniform());
    Type wanted = withElement(value.getType(), type);
    if (value.getType() == wanted)
      return value;
    if (type.isF64())
      return arith::ExtFOp::create(b.ops(), b.loc(), wanted, value);
    return arith::TruncFOp::create(b.ops(), b.loc(), wanted, value);
  }

  void rmsRow(llm::RMSNormOp rms) {
    Value squares = firstPass(llm::ReduceKind::sum, [&](Value x) { return b.fmul(x, x); });
    Value factor = inverseRoot(meanOf(squares), rms.getEpsilon());
    double offset = rms.getOffset().convertToDouble();
    lastPass([&](Index column, Value x) {
      Value y = b.fmul(x, lanesLike(factor, x));
      if (!rms.getScale())
        return y;
      Number scale(b, parameter(rms.getScale(), column));
      return b.fmul(y, offset == 0 ? scale.v : (scale + offset).v);
    });
  }

  void layerRow(llm::LayerNormOp layer) {
    Value mean = meanOf(firstPass(llm::ReduceKind::sum, [&](Value x) { return x; }));
    Value squares = laterPass(llm::ReduceKind::sum, [&](Index, Value x) {
      Value d = b.fsub(x, lanesLike(mean, x));
      return b.fmul(d, d);
    });
    Value factor = inverseRoot(meanOf(squares), layer.getEpsilon());
    lastPass([&](Index column, Value x) {
      Value y = b.fmul(b.fsub(x, lanesLike(mean, x)), lanesLike(factor, x));
      if (layer.getScale())
        y = b.fmul(y, parameter(layer.getScale(), column));
      return layer.getBias() ? b.fadd(y, parameter(layer.getBias(), column)) : y;
    });
  }

  //===--- windows ------------------------------------------------------------===//

  void copyRun(Value from, Value to, Value begin, Value end) {
    auto copy = [&](Value first, Value last, int64_t lanes) {
      Type wanted = lanes > 1 ? Type(b.vec(lanes, type)) : type;
      b.forLoop(first, last, lanes, [&](Value i) { b.store(b.load(wanted, from, i), to, i); });
    };
    Value vectors = b.sub(end, b.mod(b.sub(end, begin), b.index(s.lanes)));
    copy(begin, vectors, s.lanes);
    copy(vectors, end, 1);
  }

  void zeroRun(Value to, Value begin, Value end) {
    b.forLoop(begin, end, 1, [&](Value i) { b.store(b.constant(type, 0), to, i); });
  }

  /// What lies behind each other in the input is copied as one run: all channels of neighbouring positions along the last dimension.
  void windowsRow(llm::WindowsOp windows) {
    size_t spatial = windows.getKernel().size(), last = spatial - 1;
    ArrayRef<SymExpr> in = e.dims(input);
    Value base = e.leafBase(input), zero = b.index(0), channels = s.scalar(s.dim(in.back())), columns = s.scalar(s.dim(in[spatial]));
    int64_t kernelColumns = windows.getKernel()[last], together = windows.getDilations()[last] == 1 ? kernelColumns : 1;
    // Where a position of the kernel lies along spatial dimension i.
    auto position = [&](size_t i, Value k) {
      Value first = b.sub(b.mul(s.scalar(outer_[i + 1]), windows.getStrides()[i]), b.index(windows.getPads()[i]));
      return b.add(first, b.mul(k, windows.getDilations()[i]));
    };
    auto runs = [&](Value k, Value row, Value isRow) {
      b.forLoop(zero, b.index(kernelColumns / together), 1, [&](Value j) {
        Value column = position(last, j), to = b.address(scratch, b.mul(b.add(b.mul(k, kernelColumns), b.mul(j, together)), channels), type);
        Value begin = b.min(b.max(b.sub(zero, column), zero), b.index(together));
        Value end = b.max(b.min(b.sub(columns, column), b.index(together)), begin);
        if (isRow)
          end = b.select(isRow, end, begin);
        begin = b.mul(begin, channels), end = b.mul(end, channels);
        zeroRun(to, zero, begin);
        copyRun(b.address(base, b.mul(b.add(b.mul(row, columns), column), channels), type), to, begin, end);
        zeroRun(to, end, b.mul(channels, together));
      });
    };
    Value batch = s.scalar(outer_.front());
    if (spatial == 1)
      return runs(zero, batch, {});
    Value height = s.scalar(s.dim(in[1]));
    b.forLoop(zero, b.index(windows.getKernel()[0]), 1, [&](Value k) {
      Value row = position(0, k), inside = arith::AndIOp::create(b.ops(), b.loc(), b.less(b.index(-1), row), b.less(row, height));
      runs(k, b.add(b.mul(batch, height), row), inside);
    });
  }

  void softmaxRow() {
    Value most = firstPass(llm::ReduceKind::max, [&](Value x) { return x; });
    Value sum = laterPass(llm::ReduceKind::sum, [&](Index i, Value x) {
      Value power = exponential(x, lanesLike(most, x));
      keep(i, power, powersRow());
      return power;
    });
    Value factor = b.fdiv(b.constant(type, 1.0), sum);
    lastPass([&](Index, Value power) { return b.fmul(power, lanesLike(factor, power)); });
  }
};

Operation *findNorm(exec::KernelOp kernel) {
  for (Operation &op : kernel.getBody().front())
    if (isa<llm::LayerNormOp, llm::RMSNormOp, llm::SoftmaxOp>(op))
      return &op;
  return nullptr;
}

/// Why the region does not fit this family; empty if it does.
std::string misfit(exec::KernelOp kernel, Operation *norm, ShapeAnalysis &shapes) {
  if (!norm)
    return "there is no normalization in the kernel";
  const ValueShape &shape = shapes.shapeOf(norm->getResult(0));
  for (Value yielded : kernel.getBody().front().getTerminator()->getOperands()) {
    llm::ReduceOp extremum = RowCode::rowExtremum(yielded);
    if (!llvm::equal(shapes.shapeOf(extremum ? extremum.getInput() : peelViews(yielded)).dims, shape.dims))
      return "a result has another shape than the normalization";
    if (extremum && (isa<llm::SoftmaxOp>(norm) || extremum.getAxes() != ArrayRef<int64_t>(int64_t(shape.dims.size()) - 1)))
      return "a reduction of something else than a norm's rows";
  }
  return "";
}

} // namespace

Result<LoweredKernel> cpu::lowerRows(exec::KernelOp kernel, FamilyContext &context) {
  Operation *norm = findNorm(kernel);
  if (std::string why = misfit(kernel, norm, context.shapes); !why.empty())
    return unsupported("E0913", why, context.symbol);
  SymContext &symbols = context.shapes.symbols();
  LoopsChoice choice = chooseLoops(kernel, context.target);
  KernelBuilder b(context.module, context.symbol, symbols);
  ElementEmitter e(b, kernel, context, choice.lanes);
  LoopScopes &s = e.scopes;
  RowCode code(e, kernel, norm);

  ElementEmitter::Dims dims(e.dims(norm->getResult(0)));
  size_t axis = dims.size() - 1;
  if (auto softmax = dyn_cast<llm::SoftmaxOp>(norm))
    axis = size_t(softmax.getAxis());
  bool alongRows = axis + 1 == dims.size();
  SymExpr one = symbols.constant(1), unit = symbols.constant(choice.unitElements);
  // Rows: all dimensions but the last; and but the axis, where that is another one.
  ElementEmitter::Dims rowDims(dims);
  rowDims.pop_back();
  if (!alongRows)
    rowDims[axis] = one;
  SymExpr rows = e.product(rowDims), width = dims.back();
  SymExpr perUnit = alongRows ? symbols.max(one, symbols.floorDiv(unit, symbols.max(one, width))) : one;
  SymExpr units = symbols.ceilDiv(rows, perUnit);
  if (alongRows && width.isConstant(0) && !code.hasExtrema())
    units = symbols.constant(0);
  auto outerOf = [&](Index row) { return e.regroup(ArrayRef<SymExpr>(rows), ArrayRef<Index>(row), rowDims); };
  s.loop(b.unitBegin(), b.unitEnd(), 1, 1, [&](Index part) {
    if (!alongRows) {
      ElementEmitter::Coordinates outer = outerOf(part);
      forColumns(e, s.constant(0), s.dim(width), width, [&](Index column) {
        ElementEmitter::Coordinates at(outer);
        at.push_back(column);
        code.column(at, axis);
      });
      return;
    }
    Index first = s.mul(part, s.dim(perUnit)), end = s.min(s.add(first, s.dim(perUnit)), s.dim(rows));
    s.loop(s.scalar(first), s.scalar(end), 1, 1, [&](Index row) { code.row(outerOf(row)); });
  });
  if (!e.status())
    return e.status();
  if (s.sawUnknown || !units.known())
    return unsupported("E0911", "a size that the kernel needs is not known before it runs", context.symbol);
  expandHalfConversions(context.module, context.target);
  LoweredKernel lowered;
  SymExpr scratch;
  if (int64_t rowsKept = alongRows ? code.scratchRows() : 0)
    scratch = symbols.mul(width, symbols.constant(rowsKept * (e.elementType(norm->getResult(0)).isF64() ? 8 : 4)));
  lowered.variants.push_back({context.symbol, 0, units, scratch});
  lowered.dims.assign(b.dims().begin(), b.dims().end());
  addCosts(kernel, context.shapes, lowered);
  return lowered;
}

// Twice the same code, for rows that are published and for rows that are not: each part norms what it reads, one publishes.
Status cpu::emitNormRows(KernelBuilder &b, exec::KernelOp kernel, FamilyContext &context, int64_t lanes, const NormRows &rows) {
  SmallVector<OpOperand *> results;
  for (OpOperand &result : kernel.getBody().front().getTerminator()->getOpOperands())
    if (Operation *op = result.get().getDefiningOp(); op && (op == rows.norm || op->isBeforeInBlock(rows.norm)))
      results.push_back(&result);
  Value published = results.empty() ? rows.first : b.select(rows.publish, rows.end, rows.first);
  auto emit = [&](Value first, Value end, ArrayRef<OpOperand *> stored) -> Status {
    ElementEmitter e(b, kernel, context, lanes);
    RowCode code(e, kernel, rows.norm);
    code.redirect(rows.to, stored);
    ElementEmitter::Dims rowDims(e.dims(rows.norm->getResult(0)).drop_back());
    SymExpr count = e.product(rowDims);
    e.scopes.loop(first, end, 1, 1, [&](Index row) {
      Value index = b.sub(e.scopes.scalar(row), rows.first);
      code.row(e.regroup(ArrayRef<SymExpr>(count), ArrayRef<Index>(row), rowDims), index);
    });
    if (e.status().ok() && e.scopes.sawUnknown)
      return unsupported("E0911", "a size that the kernel needs is not known before it runs", context.symbol);
    return e.status();
  };
  if (!results.empty())
    LLMOPT_RETURN_IF_ERROR(emit(rows.first, published, results));
  return emit(published, rows.end, {});
}
