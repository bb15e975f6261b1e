//===- LinearCodes.cpp - products with weights of 4 and 8 bits ------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/LinearCodes.h"

#include "codegen/CPU/Elementwise.h"
#include "codegen/Common/WeightPacking.h"
#include "llmopt/dialects/LLM/ElementTypes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include <numeric>

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

// Sums of 256 products of a byte and 12 bits, and of 256 numbers of 23 bits, fit into i32.
int64_t CodeProducts::span() const { return std::gcd(block(), int64_t(256)); }

namespace {

using Values = KernelBuilder::Values;

/// Bits of a number's magnitude: its largest power of two becomes 2^kMagnitude.
constexpr int64_t kMagnitude = 21;

class DigitWriter {
public:
  DigitWriter(KernelBuilder &b, const CodeProducts &codes, int64_t lanes, int64_t most, Value to)
      : b_(b), codes_(codes), lanes_(lanes), floats_(b.vec(lanes, b.f32())), ints_(b.vec(lanes, b.i32())), facts_(to),
        words_(b.address(to, b.index(codes.factElements(most)), b.i32())) {}

  /// Span `span` of a row; `present`: inputs it has, a span's or the last one's.
  void span(Value row, Value rowAt, Value span, int64_t present) {
    Value from = b_.address(rowAt, b_.mul(span, codes_.span()), b_.f32());
    auto [unit, inverse] = codes_.rounded ? unitOfBytes(from, present) : unitOfDigits(from, present);
    Value scale = b_.fadd(unit, notFinite_);
    Value sum = storeNumbers(row, from, span, present, b_.splat(inverse, floats_));
    Value facts = b_.address(facts_, b_.mul(b_.add(b_.mul(row, codes_.spans()), span), codes_.spanFacts()), b_.i32());
    b_.store(scale, facts, b_.index(0));
    int64_t factor = codes_.panels.zeros ? -1 : -codes_.zero;
    for (auto [i, digit] : llvm::enumerate(digitsOf(sum)))
      b_.store(arith::MulIOp::create(b_.ops(), b_.loc(), digit, b_.constantInt(b_.i32(), factor)), facts, b_.index(1 + int64_t(i)));
  }

private:
  Value bits(Value value, Type type) { return arith::BitcastOp::create(b_.ops(), b_.loc(), type, value); }
  Value load(Value from, Value k, int64_t present) {
    if (present == codes_.span())
      return b_.load(floats_, from, k);
    Value left = b_.min(b_.max(b_.sub(b_.index(present), k), b_.index(0)), b_.index(lanes_));
    return b_.loadPart(floats_, from, k, left);
  }
  Values eachVector(ValueRange initial, llvm::function_ref<Values(Value, ValueRange)> body) {
    return b_.forLoop(b_.index(0), b_.index(codes_.span()), lanes_, initial, body);
  }

  /// What numbers are multiples of, and its inverse: a part of the power of two at or below the largest magnitude, not so small that its inverse has no bits.
  std::pair<Value, Value> unitOfDigits(Value from, int64_t present) {
    Value power = arith::AndIOp::create(b_.ops(), b_.loc(), bits(largestOf(from, present), b_.i32()), b_.constantInt(b_.i32(), 0x7f800000));
    power = arith::MaxSIOp::create(b_.ops(), b_.loc(), power, b_.constantInt(b_.i32(), int64_t(kMagnitude + 1) << 23));
    // 2^kMagnitude / power, by exponents.
    Value inverse = arith::SubIOp::create(b_.ops(), b_.loc(), b_.constantInt(b_.i32(), int32_t(uint32_t(2 * 127 + kMagnitude) << 23)), power);
    return {b_.fmul(bits(power, b_.f32()), b_.constant(b_.f32(), 0x1p-21)), bits(inverse, b_.f32())};
  }
  std::pair<Value, Value> unitOfBytes(Value from, int64_t present) {
    Value largest = b_.fmax(largestOf(from, present), b_.constant(b_.f32(), 0x1p-100)), most = b_.constant(b_.f32(), 127);
    return {b_.fdiv(largest, most), b_.fdiv(most, largest)};
  }

  /// The span's largest magnitude. What is not finite makes notFinite_ NaN.
  Value largestOf(Value from, int64_t present) {
    Value zero = b_.constant(floats_, 0);
    Values found = eachVector({zero, zero}, [&](Value k, ValueRange carried) {
      Value x = load(from, k, present);
      Value magnitude = bits(arith::AndIOp::create(b_.ops(), b_.loc(), bits(x, ints_), b_.constantInt(ints_, 0x7fffffff)), floats_);
      return Values{b_.fmax(magnitude, carried[0]), b_.fma(x, zero, carried[1])};
    });
    notFinite_ = b_.reduceAdd(found[1]);
    return b_.reduceMax(found[0]);
  }

  /// Digits, the lowest first, each in [-base / 2, base / 2) but the last.
  Values digitsOf(Value number) {
    OpBuilder &ops = b_.ops();
    Type type = number.getType();
    Values digits;
    Value half = b_.constantInt(type, int64_t(1) << (codes_.digitBits() - 1)), mask = b_.constantInt(type, (int64_t(1) << codes_.digitBits()) - 1);
    for (int64_t i = 0; i + 1 < codes_.digits(); ++i) {
      Value moved = arith::AddIOp::create(ops, b_.loc(), number, half);
      digits.push_back(arith::SubIOp::create(ops, b_.loc(), arith::AndIOp::create(ops, b_.loc(), moved, mask), half));
      number = arith::ShRSIOp::create(ops, b_.loc(), moved, b_.constantInt(type, codes_.digitBits()));
    }
    digits.push_back(number);
    return digits;
  }

  /// Stores a span's digits; gives the sum of its numbers. Adding 1.5 * 2^23 rounds to a whole number, which then is the low bits.
  Value storeNumbers(Value row, Value from, Value span, int64_t present, Value inverse) {
    OpBuilder &ops = b_.ops();
    Value magic = b_.constant(floats_, 0x1.8p23), magicBits = b_.constantInt(ints_, 0x4b400000);
    Values sum = eachVector({b_.constantInt(ints_, 0)}, [&](Value k, ValueRange carried) {
      Value shifted = b_.fma(load(from, k, present), inverse, magic);
      Value number = arith::SubIOp::create(ops, b_.loc(), bits(shifted, ints_), magicBits);
      for (auto [i, digit] : llvm::enumerate(digitsOf(number))) {
        Value line = b_.add(b_.mul(b_.add(b_.mul(row, codes_.digits()), int64_t(i)), codes_.stride()), b_.mul(span, codes_.spanWords()));
        storeDigits(digit, b_.address(words_, line, b_.i32()), k);
      }
      return Values{arith::AddIOp::create(ops, b_.loc(), carried[0], number)};
    });
    return b_.reduce(sum[0], [&](Value a, Value c) -> Value { return arith::AddIOp::create(ops, b_.loc(), a, c); });
  }

  /// Digits k, k + 1, ... of a line: bytes in order, or 16 bits in the order (0, 2)(1, 3), in which bytes and nibbles are widened.
  void storeDigits(Value digits, Value line, Value k) {
    Type narrow = b_.ops().getIntegerType(codes_.bytes ? 8 : 16);
    Value stored = arith::TruncIOp::create(b_.ops(), b_.loc(), b_.vec(lanes_, narrow), digits);
    if (!codes_.bytes) {
      SmallVector<int64_t> order;
      for (int64_t i = 0; i < lanes_; i += 4)
        order.append({i, i + 2, i + 1, i + 3});
      stored = vector::ShuffleOp::create(b_.ops(), b_.loc(), stored, stored, order);
    }
    b_.store(stored, line, k);
  }

  KernelBuilder &b_;
  const CodeProducts &codes_;
  int64_t lanes_;
  VectorType floats_, ints_;
  Value facts_, words_, notFinite_;
};

class CodeTileWriter {
public:
  CodeTileWriter(KernelBuilder &b, const CodeProducts &codes, const TileShape &shape, const CodeOperands &in)
      : b_(b), codes_(codes), shape_(shape), in_(in), floats_(b.vec(shape.lanes, b.f32())), ints_(b.vec(shape.lanes, b.i32())) {}

  Values run(ValueRange initial) {
    return b_.forLoop(in_.firstSpan, in_.endSpan, 1, initial, [&](Value span, ValueRange sums) { return addSpan(span, sums); });
  }

private:
  Values addSpan(Value span, ValueRange totals);
  Values startOf(Value facts, Value parameters);
  void readAhead(Value span);
  /// Facts of a row's span.
  Value factsOf(Value span) {
    return b_.address(in_.rows, b_.mul(b_.add(b_.mul(in_.firstRow, codes_.spans()), span), codes_.spanFacts()), b_.i32());
  }
  int64_t rowFacts() const { return codes_.spans() * codes_.spanFacts(); }
  Value scaleOf(int64_t panel, int64_t vector, Value parameters);

  KernelBuilder &b_;
  const CodeProducts &codes_;
  const TileShape &shape_;
  const CodeOperands &in_;
  VectorType floats_, ints_;
};

/// Sums begin with -zero * (sum of the row's digits), the same in all columns or not.
Values CodeTileWriter::startOf(Value facts, Value zeroPoints) {
  OpBuilder &ops = b_.ops();
  Values zeros, start;
  if (codes_.panels.zeros)
    for (Value panel : in_.tile.panels)
      for (int64_t vector = 0; vector < shape_.vectors(); ++vector) {
        Value bytes = b_.load(b_.vec(shape_.lanes, ops.getI8Type()), panel, b_.add(zeroPoints, vector * shape_.lanes));
        zeros.push_back(arith::ExtUIOp::create(ops, b_.loc(), ints_, bytes));
      }
  for (int64_t row = 0; row < shape_.rows; ++row)
    for (int64_t digit = 0; digit < codes_.digits(); ++digit) {
      Value begin = b_.loadSplat(ints_, facts, b_.index(row * rowFacts() + 1 + digit));
      for (int64_t i = 0; i < shape_.panels * shape_.vectors(); ++i)
        start.push_back(zeros.empty() ? begin : Value(arith::MulIOp::create(ops, b_.loc(), zeros[size_t(i)], begin)));
    }
  return start;
}

/// With much to do for each line, the processor does not look far enough ahead by itself, and never from one tile's panels to the next tile's. Into the second-level
/// cache: the first one would lose lines that are still to be read. Where little is to be done on one stream, it does, but for small pages: a line now and then brings
/// it across their ends.
void CodeTileWriter::readAhead(Value span) {
  constexpr int64_t kLine = 64, kNowAndThen = 512, kGroups = 8, kMuchWork = 6;
  int64_t inputs = codes_.inputs, columnsAndInputs = shape_.lanes * (codes_.bytes ? 4 : 2);
  int64_t work = shape_.rows * codes_.digits() * (kLine * 8 / codes_.panels.bits) / columnsAndInputs; // products for each line
  bool light = shape_.panels == 1 && shape_.rows * codes_.digits() == 1;
  if (in_.stream == 0 || (work < kMuchWork && !light))
    return;
  Value place = b_.add(b_.mul(span, codes_.spanBytes()), kGroups * codes_.panels.groupBytes(inputs));
  if (in_.stream > 1) {
    int64_t panelBytes = codes_.panels.panelBytes(inputs);
    place = b_.select(b_.less(place, b_.index(panelBytes)), place, b_.add(place, (in_.stream - 1) * panelBytes));
  }
  for (Value panel : in_.tile.panels)
    for (int64_t line = 0; line < codes_.spanBytes(); line += light ? kNowAndThen : kLine)
      b_.prefetch(panel, b_.add(place, line), b_.ops().getI8Type(), /*locality=*/2);
}

Values CodeTileWriter::addSpan(Value span, ValueRange totals) {
  OpBuilder &ops = b_.ops();
  const QuantizedPanels &panels = codes_.panels;
  int64_t inputs = codes_.inputs, spansOfBlock = codes_.block() / codes_.span(), group = panels.groupBlocks(inputs);
  Value block = b_.floorDiv(span, spansOfBlock), inGroup = b_.mod(block, group), groupAt = b_.mul(b_.floorDiv(block, group), panels.groupBytes(inputs));
  Value codesAt = b_.add(b_.add(groupAt, panels.headBytes(inputs)), b_.mul(inGroup, panels.blockBytes(inputs)));
  codesAt = b_.add(codesAt, b_.mul(b_.mod(span, spansOfBlock), codes_.span() * kPanelColumns * panels.bits / 8));
  Value scalesAt = b_.add(groupAt, b_.mul(inGroup, kPanelColumns * int64_t(dtypeSize(panels.scale))));
  Value zerosAt = b_.add(b_.add(groupAt, panels.scaleBytes(inputs)), b_.mul(inGroup, kPanelColumns));

  // Each digit of a row is a row of its own.
  TileShape exact{shape_.rows * codes_.digits(), shape_.panels, shape_.lanes};
  TileOperands in = in_.tile;
  in.element = b_.i32();
  in.format = codes_.bytes ? (panels.bits == 8 ? PanelFormat::CodeBytes : PanelFormat::CodeNibbles)
                           : (panels.bits == 8 ? PanelFormat::CodeBytePairs : PanelFormat::CodeNibblePairs);
  Value line = b_.add(b_.mul(in_.firstRow, codes_.digits() * codes_.stride()), b_.mul(span, codes_.spanWords()));
  in.a = b_.address(in_.rows, b_.add(line, codes_.factElements(in_.most)), b_.i32());
  in.aRow = codes_.stride();
  in.depth = b_.index(codes_.spanWords());
  in.depthMultiple = codes_.spanWords();
  // Loops of a few steps are all overhead, unless rows give a step enough work.
  if (exact.rows <= exact.panels * exact.vectors() || (codes_.bytes && codes_.digits() > 1))
    in.unroll = std::gcd(codes_.spanWords(), int64_t(8));
  readAhead(span);
  for (Value &panel : in.panels)
    panel = b_.address(panel, codesAt, ops.getI8Type());
  Value facts = factsOf(span);
  Values sums = emitTileLoop(b_, exact, in, startOf(facts, zerosAt));

  Values scales, result;
  for (Value panel : in_.tile.panels)
    for (int64_t vector = 0; vector < shape_.vectors(); ++vector) {
      Type element = llm::elementTypeOf(b_.context(), panels.scale);
      Value at = b_.address(panel, scalesAt, ops.getI8Type());
      scales.push_back(loadElements(b_, element, shape_.lanes, at, b_.index(vector * shape_.lanes)));
    }
  Value base = b_.constant(floats_, double(int64_t(1) << codes_.digitBits()));
  for (int64_t row = 0; row < shape_.rows; ++row) {
    Value rowScale = b_.loadSplat(floats_, facts, b_.index(row * rowFacts()));
    for (int64_t i = 0; i < shape_.panels * shape_.vectors(); ++i) {
      Value number;
      for (int64_t digit = codes_.digits() - 1; digit >= 0; --digit) {
        Value sum = sums[size_t((row * codes_.digits() + digit) * shape_.panels * shape_.vectors() + i)];
        Value wide = arith::SIToFPOp::create(ops, b_.loc(), floats_, sum);
        number = number ? b_.fma(number, base, wide) : wide;
      }
      result.push_back(b_.fma(number, b_.fmul(scales[size_t(i)], rowScale), totals[result.size()]));
    }
  }
  return result;
}

} // namespace

void cpu::emitRowDigits(KernelBuilder &b, const CodeProducts &codes, int64_t lanes, Value from, Value count, int64_t most, Value to) {
  DigitWriter writer(b, codes, lanes, most, to);
  int64_t whole = codes.inputs / codes.span(), rest = codes.inputs % codes.span();
  b.forLoop(b.index(0), count, 1, [&](Value row) {
    Value rowAt = b.address(from, b.mul(row, codes.inputs), b.f32());
    b.forLoop(b.index(0), b.index(whole), 1, [&](Value span) { writer.span(row, rowAt, span, codes.span()); });
    if (rest)
      writer.span(row, rowAt, b.index(whole), rest);
  });
}

KernelBuilder::Values cpu::emitCodeTile(KernelBuilder &b, const CodeProducts &codes, const TileShape &shape, const CodeOperands &operands,
                                        ValueRange initial) {
  return CodeTileWriter(b, codes, shape, operands).run(initial);
}
