//===- PagedAttentionWriter.cpp - attention over the cache ----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/PagedAttentionWriter.h"

#include "codegen/CPU/MathApproximation.h"
#include "codegen/Common/CacheType.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

PagedProblem::PagedProblem(llm::PagedAttentionOp op, const HeadsSource &queries, unsigned firstFree)
    : op(op), queries(queries), output(firstFree), state(firstFree + 1), shared(firstFree + 2) {
  auto query = cast<RankedTensorType>(op.getQuery().getType()), result = cast<RankedTensorType>(op.getResult().getType());
  heads = query.getDimSize(1);
  kvHeads = int64_t(op.getKvHeads());
  layout = {kvHeads, query.getDimSize(2), result.getDimSize(2), cacheTypeOf(op)};
}

static int64_t stateElements(const PagedProblem &problem) {
  AttentionShape shape;
  shape.valueSize = problem.layout.valueSize;
  return shape.stateElements();
}

int64_t PagedProblem::sharedElements(int64_t tokens) const { return tokens * AttentionShape::kMostRanges * heads * stateElements(*this); }

Operation *cpu::throughViewsTo(Value value) {
  Operation *op = value.getDefiningOp();
  while (op && isa<llm::ReshapeOp, llm::ExpandDimsOp, llm::SqueezeOp, llm::FlattenOp>(op))
    op = op->getOperand(0).getDefiningOp();
  return op;
}

namespace {

using Values = KernelBuilder::Values;

class PagedWriter {
public:
  PagedWriter(KernelBuilder &b, const PagedProblem &problem, const Target &target);
  /// Tiles of tokens with one head each.
  void tile(Value unit, Value tokens);
  /// Heads [begin, end) of all tokens, numbered token by token.
  void heads(Value begin, Value end);
  /// This part's heads of ranges of keys, all of them numbered token by token and range by range.
  void ranges(Value tokens);
  /// A query head of a token, of what its ranges gave.
  void joinedHead(Value unit);
  int64_t scratchBytes() const { return (AttentionCore::scratchElements(shape_, target_) + tableElements_ + facts_) * 4; }

private:
  /// Tokens [first, first + count) of one sequence with key-value heads [begin, end): several heads for one token only.
  struct Run {
    Value first, count, begin, end;
    Value range = {}; ///< only this range of a token's, counted from the first it sees
  };
  void run(const Run &run);
  /// Keys that a token may see.
  struct Visible {
    Value low, high;
  };
  Visible visible(const SequenceFields &sequence, Value token);
  Visible visible(Value token) { return visible(step_.fields(step_.sequenceOf(token)), token); }
  Value sinkOf(Value queryHead);
  Value sharedAt(Value token, Value range, Value queryHead);
  void startToken(const SequenceFields &sequence, const Run &run, Value token);
  void finishToken(const Run &run, Value token);
  /// The first of the rows of a head.
  Value rowsOf(const Run &run, Value head) { return b_.mul(b_.mul(b_.sub(head, run.begin), run.count), problem_.group()); }
  void setRules();
  Value softcap(Value scores);
  Value biasAt(Value head, Value distance);
  Value rowFact(Value row) { return b_.address(factsAt_, b_.mul(row, 2), b_.i64()); }
  float optional(APFloat value) { return value.convertToFloat(); }

  KernelBuilder &b_;
  const PagedProblem &problem_;
  const Target &target_;
  llm::PagedAttentionOp op_;
  AttentionShape shape_;
  int64_t tableElements_, facts_;
  Value factsAt_; ///< two i64 a row: position and head
  AttentionCore core_;
  HeadCopier copier_;
  StepReader step_;
};

Value buffer(KernelBuilder &b, Value argument) { return b.buffer(cast<BlockArgument>(argument).getArgNumber()); }

AttentionShape shapeOf(const PagedProblem &problem, const Target &target) {
  DType dtype = problem.layout.dtype;
  PanelFormat cached = dtype == DType::F16 ? PanelFormat::F16 : dtype == DType::BF16 ? PanelFormat::BF16Dot : PanelFormat::Plain;
  int64_t rows = problem.tileTokens * problem.group();
  AttentionShape shape = AttentionShape::forTarget(problem.layout.keySize, problem.layout.valueSize, rows, cached, target, problem.amx);
  shape.maxRows = rows * problem.headsAtOnce;
  shape.inRanges = problem.inRanges;
  return shape;
}

PagedWriter::PagedWriter(KernelBuilder &b, const PagedProblem &problem, const Target &target)
    : b_(b), problem_(problem), target_(target), op_(problem.op), shape_(shapeOf(problem, target)),
      tableElements_(HeadCopier::tableElements(problem.queries, shape_.lanes)), facts_(4 * shape_.maxRows),
      factsAt_(b.scratch()),
      core_(b, shape_, target, b.address(b.scratch(), b.index((facts_ + tableElements_ + 15) / 16 * 16), b.f32())),
      copier_(b, problem.queries, shape_.keySize, shape_.lanes, b.address(b.scratch(), b.index(facts_), b.f32())),
      step_(b, op_.getGroup()) {
  facts_ += 16; // the core's part begins at a multiple of 16 elements
  setRules();
}

//===----------------------------------------------------------------------===//
// Scores
//===----------------------------------------------------------------------===//

Value PagedWriter::softcap(Value scores) {
  double cap = op_.getSoftcap().convertToDouble();
  Value bounded = emitMath(b_, ScalarFunctionId::Tanh, scores);
  return b_.fmul(bounded, b_.constant(scores.getType(), cap * kLog2E));
}

/// bias[head, clamp(distance) ...] for `lanes` consecutive distances, in base 2.
Value PagedWriter::biasAt(Value head, Value distance) {
  int64_t width = cast<RankedTensorType>(op_.getBias().getType()).getDimSize(1), reach = (width - 1) / 2, lanes = shape_.lanes;
  Value row = b_.mul(head, width), place = b_.add(distance, reach), base = buffer(b_, op_.getBias());
  VectorType type = b_.vec(lanes, b_.f32());
  auto gather = [&] {
    Value gathered = b_.constant(type, 0);
    for (int64_t lane = 0; lane < lanes; ++lane) {
      Value clamped = b_.min(b_.max(b_.add(place, lane), b_.index(0)), b_.index(width - 1));
      Value one = b_.load(b_.f32(), base, b_.add(row, clamped));
      gathered = vector::InsertOp::create(b_.ops(), b_.loc(), one, gathered, ArrayRef<int64_t>{lane});
    }
    return Values{gathered};
  };
  // Inside the table one load does it; at its ends, where distances are clamped, one a lane.
  Values bias;
  if (width < lanes)
    bias = gather();
  else
    bias = b_.ifThen(
        b_.equal(b_.min(b_.max(place, b_.index(0)), b_.index(width - lanes)), place), TypeRange{type},
        [&] { return Values{b_.load(type, base, b_.add(row, place))}; }, gather);
  return b_.fmul(bias[0], b_.constant(type, kLog2E));
}

void PagedWriter::setRules() {
  bool cap = op_.getSoftcap().convertToDouble() > 0;
  if (!cap && !op_.getSlopes() && !op_.getBias())
    return;
  core_.loadRow = [this](Value row) {
    Value fact = rowFact(row);
    return Values{b_.load(b_.i64(), fact, b_.index(0)), b_.load(b_.i64(), fact, b_.index(1))};
  };
  core_.adjust = [this, cap](Value scores, ValueRange row, Value key, Value) {
    VectorType type = b_.vec(shape_.lanes, b_.f32());
    Value distance = b_.sub(key, row[0]);
    if (cap)
      scores = softcap(scores);
    if (op_.getSlopes()) {
      SmallVector<float> steps;
      for (int64_t i = 0; i < shape_.lanes; ++i)
        steps.push_back(float(i));
      Value iota = arith::ConstantOp::create(b_.ops(), b_.loc(), type, DenseElementsAttr::get(type, ArrayRef(steps)));
      Value slope = b_.fmul(b_.load(b_.f32(), buffer(b_, op_.getSlopes()), row[1]), b_.constant(b_.f32(), kLog2E));
      Value first = arith::SIToFPOp::create(b_.ops(), b_.loc(), b_.f32(), distance);
      scores = b_.fma(b_.splat(slope, type), b_.fadd(b_.splat(first, type), iota), scores);
    }
    if (op_.getBias())
      scores = b_.fadd(scores, biasAt(row[1], distance));
    return scores;
  };
}

//===----------------------------------------------------------------------===//
// Tokens
//===----------------------------------------------------------------------===//

PagedWriter::Visible PagedWriter::visible(const SequenceFields &sequence, Value token) {
  Value position = b_.sub(b_.add(sequence.past, token), sequence.first);
  Value high = op_.getCausal() ? b_.min(b_.add(position, 1), sequence.length) : sequence.length, low = b_.index(0);
  if (int64_t window = int64_t(op_.getWindow()); window > 0)
    low = b_.max(b_.add(position, 1 - window), low);
  return {low, high};
}

/// In base 2; null without sinks.
Value PagedWriter::sinkOf(Value queryHead) {
  if (!op_.getSinks())
    return {};
  return b_.fmul(b_.load(b_.f32(), buffer(b_, op_.getSinks()), queryHead), b_.constant(b_.f32(), kLog2E));
}

Value PagedWriter::sharedAt(Value token, Value range, Value queryHead) {
  Value place = b_.add(b_.mul(b_.add(b_.mul(token, AttentionShape::kMostRanges), range), problem_.heads), queryHead);
  return b_.address(b_.buffer(problem_.shared), b_.mul(place, shape_.stateElements()), b_.f32());
}

/// Queries of one token's heads, and what its rows may see.
void PagedWriter::startToken(const SequenceFields &sequence, const Run &run, Value token) {
  double cap = op_.getSoftcap().convertToDouble(), scale = op_.getScale().convertToDouble();
  scale = cap > 0 ? scale / cap : scale * kLog2E;
  Value position = b_.sub(b_.add(sequence.past, token), sequence.first);
  auto [low, high] = visible(sequence, token);
  copier_.startToken(token);
  if (problem_.tileTokens > 1) { // a head's rows lie far apart
    Value later = b_.add(b_.mul(b_.add(token, 8), problem_.heads), b_.mul(run.begin, problem_.group()));
    for (int64_t i = 0; i < problem_.group() * shape_.keySize; i += 16)
      b_.prefetch(buffer(b_, problem_.queries.argument), b_.add(b_.mul(later, shape_.keySize), i), b_.f32(), /*locality=*/3);
  }
  // Query heads follow each other as their rows do: several key-value heads are those of one token.
  Value count = b_.mul(b_.sub(run.end, run.begin), problem_.group()), before = b_.mul(b_.sub(token, run.first), problem_.group());
  b_.forLoop(b_.index(0), count, 1, [&](Value i) {
    Value row = b_.add(before, i), queryHead = b_.add(b_.mul(run.begin, problem_.group()), i);
    Value from = b_.mul(b_.add(b_.mul(token, problem_.heads), queryHead), shape_.keySize);
    copier_.copy(b_.address(buffer(b_, problem_.queries.argument), from, b_.f32()), core_.query(row), scale);
    Value fact = rowFact(row);
    if (core_.loadRow) {
      b_.store(position, fact, b_.index(0));
      b_.store(queryHead, fact, b_.index(1));
    }
    core_.startRow(row, low, high, sinkOf(queryHead));
  });
}

void PagedWriter::finishToken(const Run &run, Value token) {
  Value count = b_.mul(b_.sub(run.end, run.begin), problem_.group()), before = b_.mul(b_.sub(token, run.first), problem_.group());
  b_.forLoop(b_.index(0), count, 1, [&](Value i) {
    Value queryHead = b_.add(b_.mul(run.begin, problem_.group()), i), to = b_.add(b_.mul(token, problem_.heads), queryHead);
    if (run.range)
      return core_.storeRange(b_.add(before, i), sharedAt(token, run.range, queryHead));
    core_.finishRow(b_.add(before, i), b_.address(b_.buffer(problem_.output), b_.mul(to, shape_.valueSize), b_.f32()));
  });
}

void PagedWriter::run(const Run &run) {
  SequenceFields sequence = step_.fields(step_.sequenceOf(run.first));
  Value last = b_.add(run.first, run.count);
  core_.begin();
  b_.forLoop(run.first, last, 1, [&](Value token) { startToken(sequence, run, token); });
  // Keys that any of the tokens may see.
  Value firstPosition = b_.sub(b_.add(sequence.past, run.first), sequence.first), low = b_.index(0), high = sequence.length;
  if (op_.getCausal())
    high = b_.min(b_.add(firstPosition, run.count), high);
  if (int64_t window = int64_t(op_.getWindow()); window > 0)
    low = b_.max(b_.add(firstPosition, 1 - window), low);
  static_assert(kCacheBlockTokens == AttentionShape::kKeys, "a block of the cache is a block of keys");
  const CacheLayout &layout = problem_.layout;
  Type stored = layout.dtype == DType::F32 ? b_.f32() : Type(b_.ops().getIntegerType(16));
  Value pool = b_.buffer(problem_.state), lastBlock = b_.floorDiv(b_.add(high, -1), kCacheBlockTokens);
  auto keysOf = [&](Value block, Value head) {
    Value offset = b_.add(b_.mul(step_.block(sequence, block), layout.block()), b_.mul(head, layout.head()));
    return b_.address(pool, offset, stored);
  };
  Value firstSpan = b_.floorDiv(low, shape_.span()), endSpan = b_.floorDiv(b_.add(high, shape_.span() - 1), shape_.span());
  if (run.range) {
    KeyRanges cut = core_.ranges(low, high);
    Value begin = b_.mul(b_.add(cut.first, run.range), cut.spans);
    firstSpan = b_.max(firstSpan, begin);
    endSpan = b_.min(endSpan, b_.add(begin, cut.spans));
  }
  // Spans begin at fixed places, whatever the window: the softmax rescales there. All heads of a span together are one long run of memory in
  // each of its blocks.
  b_.forLoop(firstSpan, endSpan, 1, [&](Value index) {
    Value firstBlock = b_.mul(index, shape_.blocks);
    b_.forLoop(run.begin, run.end, 1, [&](Value head) {
      KeySpan span;
      span.keys = [&](Value block) { return keysOf(b_.add(firstBlock, block), head); };
      span.values = [&](Value block) { return b_.address(span.keys(block), b_.index(layout.keysOfHead()), stored); };
      span.key = b_.mul(index, shape_.span());
      span.count = b_.min(b_.sub(high, span.key), b_.index(shape_.span()));
      if (op_.getWindow() > 0)
        span.firstBlock = b_.floorDiv(b_.max(b_.sub(low, span.key), b_.index(0)), kCacheBlockTokens);
      // A single token is bound by reading the cache.
      if (problem_.tileTokens == 1)
        span.next = [&](Value block) {
          Value after = b_.add(head, 1), isLast = b_.equal(after, run.end);
          Value nextBlock = b_.add(b_.add(firstBlock, block), b_.select(isLast, b_.index(shape_.blocks), b_.index(0)));
          return keysOf(b_.min(nextBlock, lastBlock), b_.select(isLast, run.begin, after));
        };
      core_.span(rowsOf(run, head), b_.mul(run.count, problem_.group()), span);
    });
    if (shape_.inRanges && !run.range)
      core_.endSpan(index, rowsOf(run, run.end));
  });
  core_.end();
  b_.forLoop(run.first, last, 1, [&](Value token) { finishToken(run, token); });
}

void PagedWriter::heads(Value begin, Value end) {
  Value kvHeads = b_.index(problem_.kvHeads);
  b_.forLoop(b_.floorDiv(begin, kvHeads), b_.floorDiv(b_.add(end, problem_.kvHeads - 1), kvHeads), 1, [&](Value token) {
    Value first = b_.mul(token, kvHeads);
    run({token, b_.index(1), b_.max(b_.sub(begin, first), b_.index(0)), b_.min(b_.sub(end, first), kvHeads)});
  });
}

void PagedWriter::ranges(Value tokens) {
  Value zero = b_.index(0), kvHeads = b_.index(problem_.kvHeads);
  auto unitsOf = [&](Value token) {
    Visible keys = visible(token);
    return b_.mul(core_.ranges(keys.low, keys.high).count, kvHeads);
  };
  Value all = b_.forLoop(zero, tokens, 1, ValueRange{zero}, [&](Value token, ValueRange sum) { return Values{b_.add(sum[0], unitsOf(token))}; })[0];
  Value begin = b_.floorDiv(b_.mul(all, b_.part()), b_.parts()), end = b_.floorDiv(b_.mul(all, b_.add(b_.part(), 1)), b_.parts());
  b_.forLoop(zero, tokens, 1, ValueRange{zero}, [&](Value token, ValueRange before) {
    Value count = unitsOf(token), from = b_.min(b_.max(b_.sub(begin, before[0]), zero), count), to = b_.min(b_.max(b_.sub(end, before[0]), zero), count);
    b_.ifThen(b_.less(from, to), [&] {
      b_.forLoop(b_.floorDiv(from, kvHeads), b_.floorDiv(b_.add(to, problem_.kvHeads - 1), kvHeads), 1, [&](Value range) {
        Value first = b_.mul(range, kvHeads);
        run({token, b_.index(1), b_.max(b_.sub(from, first), zero), b_.min(b_.sub(to, first), kvHeads), range});
      });
    });
    return Values{b_.add(before[0], count)};
  });
}

void PagedWriter::joinedHead(Value unit) {
  Value token = b_.floorDiv(unit, problem_.heads), queryHead = b_.mod(unit, problem_.heads), row = b_.index(0);
  Visible keys = visible(token);
  core_.startJoin(row, sinkOf(queryHead));
  b_.forLoop(b_.index(0), core_.ranges(keys.low, keys.high).count, 1, [&](Value range) { core_.joinRange(row, sharedAt(token, range, queryHead)); });
  core_.finishRow(row, b_.address(b_.buffer(problem_.output), b_.mul(unit, shape_.valueSize), b_.f32()));
}

void PagedWriter::tile(Value unit, Value tokens) {
  // Head by head: its keys and values stay in the core's cache, and threads with as many heads have as much to do.
  Value tiles = b_.floorDiv(b_.add(tokens, problem_.tileTokens - 1), problem_.tileTokens);
  Value head = b_.floorDiv(unit, tiles), tile = b_.mod(unit, tiles);
  Value begin = b_.mul(tile, problem_.tileTokens), end = b_.min(b_.add(begin, problem_.tileTokens), tokens);
  step_.forEachRun(begin, end, [&](Value token, Value count) { run({token, count, head, b_.add(head, 1)}); });
}

} // namespace

int64_t cpu::emitPagedAttention(KernelBuilder &b, const PagedProblem &problem, const Target &target, Value tokens) {
  PagedWriter writer(b, problem, target);
  if (problem.tileTokens > 1)
    b.forEachUnit([&](Value unit) { writer.tile(unit, tokens); });
  else if (problem.dealsRanges)
    writer.ranges(tokens);
  else if (problem.headsAtOnce > 1)
    writer.heads(b.unitBegin(), b.unitEnd());
  else
    b.forEachUnit([&](Value unit) { writer.heads(unit, b.add(unit, 1)); });
  return writer.scratchBytes();
}

int64_t cpu::emitJoinedRanges(KernelBuilder &b, const PagedProblem &problem, const Target &target) {
  PagedWriter writer(b, problem, target);
  b.forEachUnit([&](Value unit) { writer.joinedHead(unit); });
  return writer.scratchBytes();
}

int64_t cpu::emitFewTokens(KernelBuilder &b, const PagedProblem &tiled, const Target &target, Value tokens) {
  PagedProblem single = tiled;
  single.tileTokens = 1;
  single.headsAtOnce = single.kvHeads;
  Value begin = b.unitBegin(), end = b.unitEnd(), last = b.max(b.add(tokens, -1), b.index(0)), divisor = b.max(tokens, b.index(1));
  Value tiles = b.floorDiv(b.add(tokens, tiled.tileTokens - 1), tiled.tileTokens);
  auto tileUnit = [&](Value unit) { return b.floorDiv(b.mul(unit, tiles), divisor); };
  PagedWriter heads(b, single, target), tile(b, tiled, target);
  b.ifThen(
      b.less(StepReader(b, single.op.getGroup()).sequenceOf(last), last),
      [&] { b.forLoop(tileUnit(begin), tileUnit(end), 1, [&](Value unit) { tile.tile(unit, tokens); }); }, [&] { heads.heads(begin, end); });
  return std::max(heads.scratchBytes(), tile.scratchBytes());
}
