//===- LinearCodes.cpp - products with weights of 4 and 8 bits ------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/LinearCodes.h"

#include "codegen/CPU/Elementwise.h"
#include "llmopt/dialects/LLM/ElementTypes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include <numeric>

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

CodeArithmetic cpu::codeArithmetic(const Target &target, int64_t lanes, int bits, bool exact) {
  if (target.int8Dot && lanes == 16)
    return CodeArithmetic::Bytes;
  if (exact)
    return CodeArithmetic::Floats;
  return bits == 4 && target.vectorBits >= 256 ? CodeArithmetic::BytePairs : CodeArithmetic::Shorts;
}

// Sums of 256 products of a byte and a number of 23 bits fit into i32. In f32 spans are short, so that sums that begin at -zero * sum x stay small.
int64_t CodeProducts::span() const { return std::gcd(block(), arithmetic == CodeArithmetic::Floats ? 32 : kCodeSpan); }

namespace {

using Values = KernelBuilder::Values;

/// Bits of a number's magnitude: its largest power of two becomes 2^kMagnitude.
constexpr int64_t kMagnitude = 21;
/// Bits of a digit.
constexpr int64_t kDigit = 8;

class DigitWriter {
public:
  DigitWriter(KernelBuilder &b, const CodeProducts &codes, int64_t lanes, int64_t most, Value to)
      : b_(b), codes_(codes), lanes_(lanes), floats_(b.vec(lanes, b.f32())), ints_(b.vec(lanes, b.i32())), facts_(to),
        words_(b.address(to, b.index(codes.factElements(most)), b.i32())) {}

  /// Span `span` of a row; `present`: inputs it has, a span's or the last one's.
  void span(Value row, Value rowAt, Value span, int64_t present) {
    Value from = b_.address(rowAt, b_.mul(span, codes_.span()), b_.f32());
    if (codes_.inFloats())
      return floats(row, from, span, present);
    auto [unit, inverse] = codes_.rounded ? unitOfBytes(from, present) : unitOfDigits(from, present);
    Value scale = b_.fadd(unit, notFinite_);
    Value sum = storeNumbers(row, from, span, present, b_.splat(inverse, floats_));
    Value facts = factsOf(row, span);
    b_.store(scale, facts, b_.index(0));
    for (auto [i, digit] : llvm::enumerate(digitsOf(sum)))
      b_.store(arith::MulIOp::create(b_.ops(), b_.loc(), digit, b_.constantInt(b_.i32(), zeroFactor())), facts, b_.index(1 + int64_t(i)));
  }

private:
  /// Inputs divided by the place of their codes in a word.
  void floats(Value row, Value from, Value span, int64_t present) {
    Value line = b_.address(words_, b_.add(b_.mul(row, codes_.stride()), b_.mul(span, codes_.span())), b_.f32()), sum = b_.constant(floats_, 0);
    for (int64_t k = 0; k < codes_.span(); k += lanes_) {
      Value x = load(from, b_.index(k), present);
      sum = b_.fadd(sum, x);
      SmallVector<float> places;
      for (int64_t lane = 0; lane < lanes_; ++lane)
        places.push_back(1.f / float(int64_t(1) << codePlace(codes_.panels.bits, k + lane)));
      b_.store(b_.fmul(x, arith::ConstantOp::create(b_.ops(), b_.loc(), DenseElementsAttr::get(floats_, ArrayRef(places)))), line, b_.index(k));
    }
    b_.store(b_.fmul(b_.reduceAdd(sum), b_.constant(b_.f32(), double(zeroFactor()))), factsOf(row, span), b_.index(0));
  }
  Value factsOf(Value row, Value span) { return b_.address(facts_, b_.mul(b_.add(b_.mul(row, codes_.spans()), span), codes_.spanFacts()), b_.i32()); }
  int64_t zeroFactor() const { return codes_.panels.zeros ? -1 : -codes_.zero; }
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
    Value half = b_.constantInt(type, int64_t(1) << (kDigit - 1)), mask = b_.constantInt(type, (int64_t(1) << kDigit) - 1);
    for (int64_t i = 0; i + 1 < codes_.digits(); ++i) {
      Value moved = arith::AddIOp::create(ops, b_.loc(), number, half);
      digits.push_back(arith::SubIOp::create(ops, b_.loc(), arith::AndIOp::create(ops, b_.loc(), moved, mask), half));
      number = arith::ShRSIOp::create(ops, b_.loc(), moved, b_.constantInt(type, kDigit));
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
    Type narrow = b_.ops().getIntegerType(32 / codes_.wordInputs());
    Value stored = arith::TruncIOp::create(b_.ops(), b_.loc(), b_.vec(lanes_, narrow), digits);
    if (codes_.arithmetic == CodeArithmetic::Shorts)
      stored = pairedHalves(b_, stored);
    b_.store(stored, line, k);
  }

  KernelBuilder &b_;
  const CodeProducts &codes_;
  int64_t lanes_;
  VectorType floats_, ints_;
  Value facts_, words_, notFinite_;
};

/// Where a span of a panel lies: its codes, its scales and its zero points.
struct SpanPlaces {
  Value codes, scales, zeros;
};

/// In bytes from the panel's beginning.
SpanPlaces packedPlaces(KernelBuilder &b, const CodeProducts &codes, Value span) {
  const QuantizedPanels &panels = codes.panels;
  int64_t inputs = codes.inputs, spansOfBlock = codes.block() / codes.span(), group = panels.groupBlocks(inputs);
  Value block = b.floorDiv(span, spansOfBlock), inGroup = b.mod(block, group), groupAt = b.mul(b.floorDiv(block, group), panels.groupBytes(inputs));
  Value codesAt = b.add(b.add(groupAt, panels.headBytes(inputs)), b.mul(inGroup, panels.blockBytes(inputs)));
  codesAt = b.add(codesAt, b.mul(b.mod(span, spansOfBlock), codes.span() * kPanelColumns * panels.bits / 8));
  Value scalesAt = b.add(groupAt, b.mul(inGroup, kPanelColumns * int64_t(dtypeSize(panels.scale))));
  return {codesAt, scalesAt, b.add(b.add(groupAt, panels.scaleBytes(inputs)), b.mul(inGroup, kPanelColumns))};
}

/// In bytes from the beginning of the unpacked span `span`.
SpanPlaces unpackedPlaces(KernelBuilder &b, const CodeProducts &codes, Value span) {
  Value at = b.mul(span, codes.unpackedSpan() * 4);
  return {b.add(at, (1 + codes.panels.zeros) * kPanelColumns * 4), at, b.add(at, kPanelColumns * 4)};
}

/// 16 scales, or their part `vector`, in f32.
Value loadScales(KernelBuilder &b, const CodeProducts &codes, bool unpacked, int64_t lanes, Value panel, const SpanPlaces &places, int64_t vector) {
  Type element = unpacked ? b.f32() : llm::elementTypeOf(b.context(), codes.panels.scale);
  return loadElements(b, element, lanes, b.address(panel, places.scales, b.ops().getI8Type()), b.index(vector * lanes));
}

/// Zero points in the type of sums; of groups whole numbers.
Value loadZeros(KernelBuilder &b, const CodeProducts &codes, bool unpacked, int64_t lanes, Value panel, const SpanPlaces &places, int64_t vector) {
  bool floats = codes.arithmetic == CodeArithmetic::Floats;
  VectorType ints = b.vec(lanes, b.i32()), sums = b.vec(lanes, floats ? b.f32() : b.i32());
  if (unpacked)
    return b.load(sums, b.address(panel, places.zeros, b.ops().getI8Type()), b.index(vector * lanes), 16);
  Value bytes = b.load(b.vec(lanes, b.ops().getI8Type()), panel, b.add(places.zeros, vector * lanes));
  Value wide = arith::ExtUIOp::create(b.ops(), b.loc(), ints, bytes);
  return floats ? Value(arith::SIToFPOp::create(b.ops(), b.loc(), sums, wide)) : wide;
}

/// Format of packed codes for the arithmetic, and of unpacked ones.
PanelFormat codeFormat(const CodeProducts &codes, bool unpacked) {
  bool bytes = codes.panels.bits == 8;
  switch (codes.arithmetic) {
  case CodeArithmetic::Bytes:
  case CodeArithmetic::BytePairs:
    return bytes || unpacked ? PanelFormat::CodeBytes : PanelFormat::CodeNibbles;
  case CodeArithmetic::Shorts:
    return unpacked ? PanelFormat::ShortDot : bytes ? PanelFormat::CodeBytePairs : PanelFormat::CodeNibblePairs;
  case CodeArithmetic::Floats:
    return unpacked ? PanelFormat::Plain : bytes ? PanelFormat::CodeByteFloats : PanelFormat::CodeNibbleFloats;
  case CodeArithmetic::Groups:
    return bytes ? PanelFormat::CodeByteGroups : PanelFormat::CodeNibbleGroups;
  }
  return PanelFormat::Plain;
}

class CodeTileWriter {
public:
  CodeTileWriter(KernelBuilder &b, const CodeProducts &codes, const TileShape &shape, const CodeOperands &in)
      : b_(b), codes_(codes), shape_(shape), in_(in), floats_(b.vec(shape.lanes, b.f32())), ints_(b.vec(shape.lanes, b.i32())) {}

  Values run(ValueRange initial) {
    return b_.forLoop(in_.firstSpan, in_.endSpan, 1, initial, [&](Value span, ValueRange sums) { return addSpan(span, sums); });
  }

private:
  Values addSpan(Value span, ValueRange totals);
  Values startOf(Value facts, const SpanPlaces &places);
  Value numberOf(ValueRange sums, int64_t row, int64_t vector);
  void readAhead(Value span);
  /// Facts of a row's span.
  Value factsOf(Value span) {
    return b_.address(in_.rows, b_.mul(b_.add(b_.mul(in_.firstRow, codes_.spans()), span), codes_.spanFacts()), b_.i32());
  }
  int64_t rowFacts() const { return codes_.spans() * codes_.spanFacts(); }

  KernelBuilder &b_;
  const CodeProducts &codes_;
  const TileShape &shape_;
  const CodeOperands &in_;
  VectorType floats_, ints_;
};

/// Sums begin with -zero * (sum of the row's digits), the same in all columns or not; those of groups with nothing.
Values CodeTileWriter::startOf(Value facts, const SpanPlaces &places) {
  if (codes_.inGroups())
    return zeroTile(b_, shape_, b_.f32());
  Values zeros, start;
  if (codes_.panels.zeros)
    for (Value panel : in_.tile.panels)
      for (int64_t vector = 0; vector < shape_.vectors(); ++vector)
        zeros.push_back(loadZeros(b_, codes_, in_.unpacked, shape_.lanes, panel, places, vector));
  for (int64_t row = 0; row < shape_.rows; ++row)
    for (int64_t digit = 0; digit < codes_.digits(); ++digit) {
      Value begin = b_.loadSplat(codes_.inFloats() ? floats_ : ints_, facts, b_.index(row * rowFacts() + codes_.spanFacts() - codes_.digits() + digit));
      for (int64_t i = 0; i < shape_.panels * shape_.vectors(); ++i)
        start.push_back(zeros.empty()        ? begin
                        : codes_.inFloats() ? b_.fmul(zeros[size_t(i)], begin)
                                            : Value(arith::MulIOp::create(b_.ops(), b_.loc(), zeros[size_t(i)], begin)));
    }
  return start;
}

/// With much to do for each line, the processor does not look far enough ahead by itself, and never from one tile's panels to the next tile's. Into the second-level
/// cache: the first one would lose lines that are still to be read. Where little is to be done on one stream, it does, but for small pages: a line now and then brings
/// it across their ends.
void CodeTileWriter::readAhead(Value span) {
  constexpr int64_t kLine = 64, kNowAndThen = 512, kMuchWork = 6, kMostAtOnce = 2048, kAhead = 2048 /* bytes */, kFar = 8 /* groups */;
  int64_t inputs = codes_.inputs, columnsAndInputs = shape_.lanes * codes_.wordInputs();
  int64_t work = shape_.rows * codes_.digits() * (kLine * 8 / codes_.panels.bits) / columnsAndInputs; // products for each line
  // Some processors never do, and the first-level cache is the place there; long spans are too much to be prefetched at once.
  bool always = !in_.tile.prefetchersSuffice && codes_.spanBytes() <= kMostAtOnce, light = shape_.panels == 1 && shape_.rows * codes_.digits() == 1 && !always;
  if (in_.stream == 0 || (work < kMuchWork && !light && !always))
    return;
  Value place = b_.add(b_.mul(span, codes_.spanBytes()), always ? kAhead : kFar * codes_.panels.groupBytes(inputs));
  if (in_.stream > 1) {
    int64_t panelBytes = codes_.panels.panelBytes(inputs);
    place = b_.select(b_.less(place, b_.index(panelBytes)), place, b_.add(place, (in_.stream - 1) * panelBytes));
  }
  for (Value panel : in_.tile.panels)
    for (int64_t line = 0; line < codes_.spanBytes(); line += light ? kNowAndThen : kLine)
      b_.prefetch(panel, b_.add(place, line), b_.ops().getI8Type(), /*locality=*/always ? 3 : 2);
}

/// The span's sum of a row in a vector of columns, in f32.
Value CodeTileWriter::numberOf(ValueRange sums, int64_t row, int64_t vector) {
  Value base = b_.constant(floats_, double(int64_t(1) << kDigit)), number;
  for (int64_t digit = codes_.digits() - 1; digit >= 0; --digit) {
    Value sum = sums[size_t((row * codes_.digits() + digit) * shape_.panels * shape_.vectors() + vector)];
    Value wide = codes_.inFloats() ? sum : Value(arith::SIToFPOp::create(b_.ops(), b_.loc(), floats_, sum));
    number = number ? b_.fma(number, base, wide) : wide;
  }
  return number;
}

Values CodeTileWriter::addSpan(Value span, ValueRange totals) {
  SpanPlaces places = in_.unpacked ? unpackedPlaces(b_, codes_, b_.sub(span, in_.firstSpan)) : packedPlaces(b_, codes_, span);
  // Each digit of a row is a row of its own.
  TileShape digits{shape_.rows * codes_.digits(), shape_.panels, shape_.lanes};
  TileOperands in = in_.tile;
  in.element = codes_.inFloats() ? b_.f32() : b_.i32();
  in.format = codeFormat(codes_, in_.unpacked);
  Value line = b_.add(b_.mul(in_.firstRow, codes_.digits() * codes_.stride()), b_.mul(span, codes_.spanWords()));
  in.a = b_.address(in_.rows, b_.add(line, codes_.factElements(in_.most)), b_.i32());
  in.aRow = codes_.stride();
  in.depth = b_.index(codes_.spanWords());
  in.depthMultiple = codes_.spanWords();
  // Loops of a few steps are all overhead, unless rows give a step enough work.
  if (digits.rows <= digits.panels * digits.vectors() || codes_.digits() > 1)
    in.unroll = std::gcd(codes_.spanWords(), int64_t(8));
  // In longer ones LLVM's scheduler spills: a word of codes in f32, and where more than a row or two are multiplied by pairs.
  bool pairs = codes_.arithmetic == CodeArithmetic::BytePairs || codes_.arithmetic == CodeArithmetic::Shorts;
  if (codes_.inGroups()) {
    in.unroll = 8;
    in.terms = codes_.terms;
    in.aTerm = in_.most * codes_.stride();
  } else if (codes_.inFloats()) {
    in.unroll = 32 / codes_.panels.bits;
  } else if (pairs && digits.accumulators() > 2) {
    in.unroll = 2;
  }
  readAhead(span);
  in.codeZero = codes_.zero;
  if (codes_.inGroups() && codes_.panels.zeros)
    for (Value panel : in.panels)
      for (int64_t vector = 0; vector < shape_.vectors(); ++vector)
        in.codeZeros.push_back(loadZeros(b_, codes_, /*unpacked=*/false, shape_.lanes, panel, places, vector));
  for (Value &panel : in.panels)
    panel = b_.address(panel, places.codes, b_.ops().getI8Type());
  Value facts = factsOf(span);
  Values sums = emitTileLoop(b_, digits, in, startOf(facts, places));

  Values scales, result;
  for (Value panel : in_.tile.panels)
    for (int64_t vector = 0; vector < shape_.vectors(); ++vector)
      scales.push_back(loadScales(b_, codes_, in_.unpacked, shape_.lanes, panel, places, vector));
  for (int64_t row = 0; row < shape_.rows; ++row) {
    Value rowScale = codes_.inFloats() ? Value() : b_.loadSplat(floats_, facts, b_.index(row * rowFacts()));
    for (auto [i, scale] : llvm::enumerate(scales))
      result.push_back(b_.fma(numberOf(sums, row, int64_t(i)), rowScale ? b_.fmul(scale, rowScale) : scale, totals[result.size()]));
  }
  return result;
}

/// A span for tile registers: scales, then [span / 2][16] words.
void unpackToPairs(KernelBuilder &b, const CodeProducts &codes, const TileOperands &tile, int64_t lanes, Value panel, Value span, const SpanPlaces &from, Value to) {
  PairUnpacker unpacker(b, codes, tile, lanes);
  for (int64_t vector = 0; vector < kPanelColumns / lanes; ++vector)
    b.store(loadScales(b, codes, /*unpacked=*/false, lanes, panel, from, vector), to, b.index(vector * lanes));
  Values zeros = unpacker.zerosOf(panel, span);
  Value words = b.address(panel, from.codes, b.ops().getI8Type()), pairs = b.address(to, b.index(kPanelColumns), b.i32());
  b.forLoop(b.index(0), b.index(codes.span() / unpacker.together()), 1, [&](Value word) { unpacker.unpack(words, pairs, word, zeros); });
}

} // namespace

// Of codes of 4 bits 32 halves at once, by the low five bits of each (vpermw). With one zero point entry i is that of i - zero, whatever the bit above the code is; where blocks have their own,
// i - zero is looked up: entries 0 to 15 are those of 0 to 15 and the others those of -16 to -1.
PairUnpacker::PairUnpacker(KernelBuilder &b, const CodeProducts &codes, const TileOperands &tile, int64_t lanes)
    : b_(b), codes_(codes), lanes_(lanes), ints_(b.vec(lanes, b.i32())), halves_(b.vec(2 * lanes, b.ops().getIntegerType(16))) {
  if (codes.panels.bits != 4 || lanes != 16 || tile.targetLanes != 16)
    return;
  SmallVector<uint16_t> entries;
  for (int64_t i = 0; i < 32; ++i)
    entries.push_back(floatToBf16(float(!codes.panels.zeros ? i % 16 - codes.zero : i < 16 ? i : i - 32)));
  table_ = arith::ConstantOp::create(b.ops(), b.loc(), DenseElementsAttr::get(halves_, ArrayRef(entries)));
}

Values PairUnpacker::zerosOf(Value panel, Value span) {
  Values zeros;
  for (int64_t vector = 0; codes_.panels.zeros && vector < kPanelColumns / lanes_; ++vector)
    zeros.push_back(loadZeros(b_, codes_, /*unpacked=*/false, lanes_, panel, packedPlaces(b_, codes_, span), vector));
  return zeros;
}

void PairUnpacker::unpack(Value from, Value to, Value word, ValueRange zeros) {
  for (int64_t vector = 0; vector < kPanelColumns / lanes_; ++vector) {
    Value place = b_.index(vector * lanes_), words = b_.load(ints_, from, b_.add(b_.mul(word, kPanelColumns), place), 16);
    Value target = b_.address(to, b_.mul(word, together() / 2 * kPanelColumns), b_.i32());
    for (int64_t i = 0; i < together() / 2; ++i)
      b_.store(pair(words, i % 2 * 8 + i / 2 * 4, zeros.empty() ? Value() : zeros[size_t(vector)]), target, b_.add(place, i * kPanelColumns));
  }
}

/// Of the codes at `shift` and 16 bits above.
Value PairUnpacker::pair(Value words, int64_t shift, Value zeros) {
  if (!table_)
    return arith::OrIOp::create(b_.ops(), b_.loc(), shiftRight(bf16Of(words, shift, zeros), 16), bf16Of(words, shift + 16, zeros));
  Value numbers = shiftRight(words, shift);
  if (!zeros)
    return lookUp(numbers);
  auto asHalves = [&](Value value) -> Value { return vector::BitCastOp::create(b_.ops(), b_.loc(), halves_, value); };
  Value both = arith::OrIOp::create(b_.ops(), b_.loc(), zeros, arith::ShLIOp::create(b_.ops(), b_.loc(), zeros, b_.constantInt(ints_, 16)));
  return lookUp(arith::SubIOp::create(b_.ops(), b_.loc(), asHalves(arith::AndIOp::create(b_.ops(), b_.loc(), numbers, b_.constantInt(ints_, 0x000f000f))), asHalves(both)));
}

Value PairUnpacker::lookUp(Value numbers) {
  Value operands[] = {table_, vector::BitCastOp::create(b_.ops(), b_.loc(), halves_, numbers)};
  Value found = LLVM::CallIntrinsicOp::create(b_.ops(), b_.loc(), halves_, b_.ops().getStringAttr("llvm.x86.avx512.permvar.hi.512"), operands).getResult(0);
  return vector::BitCastOp::create(b_.ops(), b_.loc(), ints_, found);
}

Value PairUnpacker::shiftRight(Value value, int64_t by) { return by ? Value(arith::ShRUIOp::create(b_.ops(), b_.loc(), value, b_.constantInt(ints_, by))) : value; }

/// In the high half of f32.
Value PairUnpacker::bf16Of(Value words, int64_t shift, Value zeros) {
  int64_t bits = codes_.panels.bits;
  Value code = shiftRight(words, shift);
  if (shift + bits < 32)
    code = arith::AndIOp::create(b_.ops(), b_.loc(), code, b_.constantInt(ints_, (1 << bits) - 1));
  Value number = arith::SubIOp::create(b_.ops(), b_.loc(), code, zeros ? zeros : b_.constantInt(ints_, codes_.zero));
  return arith::BitcastOp::create(b_.ops(), b_.loc(), ints_, arith::SIToFPOp::create(b_.ops(), b_.loc(), b_.vec(lanes_, b_.f32()), number));
}

Value cpu::packedScales(KernelBuilder &b, const CodeProducts &codes, int64_t lanes, Value panel, Value span, int64_t vector) {
  return loadScales(b, codes, /*unpacked=*/false, lanes, panel, packedPlaces(b, codes, span), vector);
}

Value cpu::packedCodesPlace(KernelBuilder &b, const CodeProducts &codes, Value span) { return packedPlaces(b, codes, span).codes; }

Value cpu::pairedHalves(KernelBuilder &b, Value halves) {
  SmallVector<int64_t> order;
  for (int64_t i = 0; i < cast<VectorType>(halves.getType()).getNumElements(); i += 4)
    order.append({i, i + 2, i + 1, i + 3});
  return vector::ShuffleOp::create(b.ops(), b.loc(), halves, halves, order);
}

void cpu::emitRowDigits(KernelBuilder &b, const CodeProducts &codes, int64_t lanes, Value from, Value count, int64_t most, Value to, function_ref<Value(Value)> rowOf) {
  DigitWriter writer(b, codes, lanes, most, to);
  int64_t whole = codes.inputs / codes.span(), rest = codes.inputs % codes.span();
  b.forLoop(b.index(0), count, 1, [&](Value row) {
    Value rowAt = b.address(from, b.mul(rowOf ? rowOf(row) : row, codes.inputs), b.f32());
    b.forLoop(b.index(0), b.index(whole), 1, [&](Value span) { writer.span(row, rowAt, span, codes.span()); });
    if (rest)
      writer.span(row, rowAt, b.index(whole), rest);
  });
}

void cpu::emitUnpackedCodes(KernelBuilder &b, const CodeProducts &codes, const TileOperands &tile, int64_t lanes, Value panel, Value firstSpan, Value endSpan, Value to,
                            function_ref<void(Value)> beside) {
  TileOperands in = tile;
  in.element = codes.inFloats() ? b.f32() : b.i32();
  in.format = codeFormat(codes, /*unpacked=*/false);
  in.depth = b.index(codes.spanWords());
  b.forLoop(firstSpan, endSpan, 1, [&](Value span) {
    Value number = b.sub(span, firstSpan);
    if (beside)
      beside(number);
    SpanPlaces from = packedPlaces(b, codes, span), target = unpackedPlaces(b, codes, number);
    auto at = [&](Value base, Value place) { return b.address(base, place, b.ops().getI8Type()); };
    if (codes.inGroups())
      return unpackToPairs(b, codes, tile, lanes, panel, span, from, at(to, target.scales));
    for (int64_t vector = 0; vector < kPanelColumns / lanes; ++vector) {
      Value place = b.index(vector * lanes);
      b.store(loadScales(b, codes, /*unpacked=*/false, lanes, panel, from, vector), at(to, target.scales), place);
      if (codes.panels.zeros)
        b.store(loadZeros(b, codes, /*unpacked=*/false, lanes, panel, from, vector), at(to, target.zeros), place);
    }
    emitWidenedPanel(b, in, lanes, at(panel, from.codes), at(to, target.codes));
  });
}

KernelBuilder::Values cpu::emitCodeTile(KernelBuilder &b, const CodeProducts &codes, const TileShape &shape, const CodeOperands &operands,
                                        ValueRange initial) {
  return CodeTileWriter(b, codes, shape, operands).run(initial);
}
