//===- MatMulTile.cpp - one register tile of a matrix product -------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/MatMulTile.h"

#include "codegen/CPU/Bf16Terms.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include <numeric>

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

using Values = KernelBuilder::Values;

constexpr int64_t kGroup = 32; ///< inputs that are added from zero, of even and of odd ones

/// Steps that a word of B holds.
int64_t stepsTogether(PanelFormat format) {
  switch (format) {
  case PanelFormat::BF16Pairs:
  case PanelFormat::BF16Groups:
  case PanelFormat::BytePairs:
  case PanelFormat::CodeNibbles:
  case PanelFormat::CodeBytePairs:
    return 2;
  case PanelFormat::CodeNibblePairs:
  case PanelFormat::CodeByteFloats:
  case PanelFormat::CodeByteGroups:
    return 4;
  case PanelFormat::CodeNibbleFloats:
  case PanelFormat::CodeNibbleGroups:
    return 8;
  default:
    return 1;
  }
}

bool isCode(PanelFormat format) {
  return format == PanelFormat::CodeBytes || format == PanelFormat::CodeNibbles || format == PanelFormat::CodeBytePairs || format == PanelFormat::CodeNibblePairs;
}
bool isCodeOfFloats(PanelFormat format) { return format == PanelFormat::CodeByteFloats || format == PanelFormat::CodeNibbleFloats; }
bool isGroupOfCodes(PanelFormat format) { return format == PanelFormat::CodeByteGroups || format == PanelFormat::CodeNibbleGroups; }
bool isInGroups(PanelFormat format) { return format == PanelFormat::BF16Groups || format == PanelFormat::FloatGroups || format == PanelFormat::F16Groups || isGroupOfCodes(format); }

/// Elements (panelElement) of a panel in each step.
int64_t stepElements(PanelFormat format) { return format == PanelFormat::CodeNibbleFloats || format == PanelFormat::CodeNibbleGroups ? 8 : 16; }

/// Writes the steps of one tile.
class TileWriter {
public:
  TileWriter(KernelBuilder &b, const TileShape &shape, const TileOperands &in)
      : b_(b), shape_(shape), in_(in), type_(b.vec(shape.lanes, in.element)) {}

  /// Steps k, k + 1, ..., k + count - 1; for pairs, k is even and `count` may be odd.
  Values steps(Value k, int64_t count, ValueRange tile, function_ref<void(int64_t)> beside = nullptr);
  bool inBytePairs() const { return !in_.hasByteDot && (in_.format == PanelFormat::CodeBytes || in_.format == PanelFormat::CodeNibbles); }
  Values bytePairLoop(ValueRange initial);
  Values groupLoop(ValueRange initial);
  Values termLoop(ValueRange initial);
  Value panelVector(Value panelAtK, int64_t step, int64_t vector, int64_t panel = 0);

private:
  Value weightOf(ArrayRef<Value> panelsAtK, int64_t step, int64_t vector, int64_t panel);
  Values termSteps(Value k, int64_t panel, int64_t vector, ArrayRef<std::pair<int64_t, int64_t>> products, ValueRange before);
  Value pairVector(Value panelAtK, int64_t step, int64_t vector);
  Value widenF16(Value half);
  Value multiplyAdd(Value a, Value w, Value sum);
  Value dotPairs(Value a, Value w, Value sum);
  Value dotBytes(Value a, Value w, Value sum);
  Value dotShorts(Value a, Value w, Value sum);
  Value bytePairs(Value w, Value a, Value sum);
  Value inParts(ArrayRef<StringRef> names, Value x, Value y, Type element);
  Value byteVector(Value panelAtK, int64_t step, int64_t vector);
  Value codeVector(Value panelAtK, int64_t step, int64_t vector);
  Value floatCodeVector(Value panelAtK, int64_t step, int64_t vector);
  Value groupCodeVector(Value panelAtK, int64_t step, int64_t vector, int64_t panel);
  Values rowsAt(Value aOffset);
  Value splatOf(ArrayRef<Value> rowsAtK, int64_t row, int64_t step, int64_t term = 0);
  void byRows(int64_t i, ArrayRef<Value> rowsAtK, ArrayRef<Value> panelsAtK, Values &tile);
  void byVectors(int64_t i, ArrayRef<Value> rowsAtK, ArrayRef<Value> panelsAtK, Values &tile);

  KernelBuilder &b_;
  const TileShape &shape_;
  const TileOperands &in_;
  VectorType type_;
};

// As vdpbf16ps: the product of the high halves first, a rounding after each addition (the products are exact).
Value TileWriter::dotPairs(Value a, Value w, Value sum) {
  OpBuilder &ops = b_.ops();
  if (in_.hasBf16Dot && shape_.lanes == 16) {
    VectorType pairs = b_.vec(2 * shape_.lanes, ops.getBF16Type());
    Value operands[] = {sum, vector::BitCastOp::create(ops, b_.loc(), pairs, a), vector::BitCastOp::create(ops, b_.loc(), pairs, w)};
    auto name = ops.getStringAttr("llvm.x86.avx512bf16.dpbf16ps.512");
    return LLVM::CallIntrinsicOp::create(ops, b_.loc(), type_, name, operands).getResult(0);
  }
  VectorType ints = b_.vec(shape_.lanes, b_.i32());
  auto half = [&](Value words, bool high) {
    Value bits = arith::BitcastOp::create(ops, b_.loc(), ints, words);
    bits = high ? Value(arith::AndIOp::create(ops, b_.loc(), bits, b_.constantInt(ints, -65536)))
                : Value(arith::ShLIOp::create(ops, b_.loc(), bits, b_.constantInt(ints, 16)));
    return Value(arith::BitcastOp::create(ops, b_.loc(), type_, bits));
  };
  sum = b_.fma(half(a, true), half(w, true), sum);
  return b_.fma(half(a, false), half(w, false), sum);
}

Value TileWriter::dotBytes(Value a, Value w, Value sum) {
  OpBuilder &ops = b_.ops();
  VectorType bytes = b_.vec(4 * shape_.lanes, ops.getI8Type());
  Value operands[] = {sum, vector::BitCastOp::create(ops, b_.loc(), bytes, a), vector::BitCastOp::create(ops, b_.loc(), bytes, w)};
  return LLVM::CallIntrinsicOp::create(ops, b_.loc(), type_, ops.getStringAttr("llvm.x86.avx512.vpdpbusd.512"), operands).getResult(0);
}

/// x86 intrinsics of the same operation on 128, 256 and 512 bits. LLVM does not split those of vectors that are wider than the target's.
Value TileWriter::inParts(ArrayRef<StringRef> names, Value x, Value y, Type element) {
  OpBuilder &ops = b_.ops();
  int64_t lanes = std::min(shape_.lanes, in_.targetLanes), from = cast<VectorType>(x.getType()).getNumElements() / shape_.lanes, to = 32 / element.getIntOrFloatBitWidth();
  auto call = [&](Value left, Value right) {
    Value operands[] = {left, right};
    return LLVM::CallIntrinsicOp::create(ops, b_.loc(), b_.vec(to * lanes, element), ops.getStringAttr(names[lanes == 16 ? 2 : lanes == 8 ? 1 : 0]), operands).getResult(0);
  };
  if (lanes == shape_.lanes)
    return call(x, y);
  Value result = b_.constantInt(b_.vec(to * shape_.lanes, element), 0);
  for (int64_t first = 0; first < shape_.lanes; first += lanes) {
    auto slice = [&](Value whole) -> Value { return vector::ExtractStridedSliceOp::create(ops, b_.loc(), whole, from * first, from * lanes, int64_t(1)); };
    result = vector::InsertStridedSliceOp::create(ops, b_.loc(), call(slice(x), slice(y)), result, to * first, int64_t(1));
  }
  return result;
}

// vpmaddwd. Products of bytes fill at most 17 bits of 32: nothing saturates, unlike in vpmaddubsw.
Value TileWriter::dotShorts(Value a, Value w, Value sum) {
  VectorType shorts = b_.vec(2 * shape_.lanes, b_.ops().getI16Type());
  Value left = vector::BitCastOp::create(b_.ops(), b_.loc(), shorts, a), right = vector::BitCastOp::create(b_.ops(), b_.loc(), shorts, w);
  Value products = inParts({"llvm.x86.sse2.pmadd.wd", "llvm.x86.avx2.pmadd.wd", "llvm.x86.avx512.pmaddw.d.512"}, left, right, b_.i32());
  return arith::AddIOp::create(b_.ops(), b_.loc(), sum, products);
}

// vpmaddubsw. Of codes of 4 bits and bytes from -127 a product of two pairs is at most 2 * 15 * 127, and eight of them fit into 16 bits.
Value TileWriter::bytePairs(Value w, Value a, Value sum) {
  VectorType bytes = b_.vec(4 * shape_.lanes, b_.ops().getI8Type());
  Value left = vector::BitCastOp::create(b_.ops(), b_.loc(), bytes, w), right = vector::BitCastOp::create(b_.ops(), b_.loc(), bytes, a);
  Value products = inParts({"llvm.x86.ssse3.pmadd.ub.sw.128", "llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx512.pmaddubs.w.512"}, left, right, b_.ops().getI16Type());
  return arith::AddIOp::create(b_.ops(), b_.loc(), sum, products);
}

Value TileWriter::multiplyAdd(Value a, Value w, Value sum) {
  if (in_.format == PanelFormat::BF16Dot)
    return dotPairs(a, w, sum);
  if (in_.format == PanelFormat::ByteDot)
    return dotBytes(a, w, sum);
  if (in_.format == PanelFormat::CodeBytes || in_.format == PanelFormat::CodeNibbles)
    return inBytePairs() ? bytePairs(w, a, sum) : dotBytes(w, a, sum);
  if (in_.format == PanelFormat::BytePairs || in_.format == PanelFormat::ShortDot || in_.format == PanelFormat::CodeBytePairs ||
      in_.format == PanelFormat::CodeNibblePairs)
    return dotShorts(a, w, sum);
  if (isa<FloatType>(in_.element))
    return b_.fma(a, w, sum);
  Value product = arith::MulIOp::create(b_.ops(), b_.loc(), a, w);
  return arith::AddIOp::create(b_.ops(), b_.loc(), sum, product);
}

// Exact for all finite halves: the bits shifted into place denote the value times 2^-112.
Value TileWriter::widenF16(Value half) {
  OpBuilder &ops = b_.ops();
  if (in_.hasF16Conversion)
    return arith::ExtFOp::create(ops, b_.loc(), type_, half);
  VectorType ints = b_.vec(shape_.lanes, b_.i32());
  Value bits = arith::BitcastOp::create(ops, b_.loc(), b_.vec(shape_.lanes, ops.getIntegerType(16)), half);
  Value wide = arith::ExtUIOp::create(ops, b_.loc(), ints, bits);
  Value magnitude = arith::AndIOp::create(ops, b_.loc(), wide, b_.constantInt(ints, 0x7fff));
  magnitude = arith::ShLIOp::create(ops, b_.loc(), magnitude, b_.constantInt(ints, 13));
  Value scaled = b_.fmul(arith::BitcastOp::create(ops, b_.loc(), type_, magnitude), b_.constant(type_, 0x1p112));
  Value sign = arith::AndIOp::create(ops, b_.loc(), wide, b_.constantInt(ints, 0x8000));
  sign = arith::ShLIOp::create(ops, b_.loc(), sign, b_.constantInt(ints, 16));
  Value joined = arith::OrIOp::create(ops, b_.loc(), arith::BitcastOp::create(ops, b_.loc(), ints, scaled), sign);
  return arith::BitcastOp::create(ops, b_.loc(), type_, joined);
}

// A lane holds inputs k (low half) and k + 1 (high half). The high half is widened by a mask; the low half likewise after a load
// two bytes earlier: shifting one shared load instead makes LLVM keep many of them in registers, and spill.
Value TileWriter::pairVector(Value panelAtK, int64_t step, int64_t vector) {
  OpBuilder &ops = b_.ops();
  VectorType ints = b_.vec(shape_.lanes, b_.i32());
  int64_t place = (step / 2 * 16 + vector * shape_.lanes) * 2;
  bool low = step % 2 == 0;
  Value at = b_.address(panelAtK, b_.index(low ? place - 1 : place), ops.getIntegerType(16));
  Value bits = b_.load(ints, at, b_.index(0), low ? 2 : 16);
  bits = arith::AndIOp::create(ops, b_.loc(), bits, b_.constantInt(ints, -65536));
  return arith::BitcastOp::create(ops, b_.loc(), type_, bits);
}

/// Bytes 0 and 2 (even steps) or 1 and 3 of each word, as i16.
Value TileWriter::byteVector(Value panelAtK, int64_t step, int64_t vector) {
  OpBuilder &ops = b_.ops();
  VectorType shorts = b_.vec(2 * shape_.lanes, ops.getI16Type());
  Value bytes = b_.load(shorts, panelAtK, b_.index((step / 2 * 16 + vector * shape_.lanes) * 2), 16);
  Value eight = b_.constantInt(shorts, 8);
  if (step % 2 == 0)
    bytes = arith::ShLIOp::create(ops, b_.loc(), bytes, eight);
  bytes = arith::ShRSIOp::create(ops, b_.loc(), bytes, eight);
  return vector::BitCastOp::create(ops, b_.loc(), type_, bytes);
}

/// Steps of a word of B. Bytes: all four, or the first and third, the others. Halves of bytes: the low ones, the high ones.
Value TileWriter::codeVector(Value panelAtK, int64_t step, int64_t vector) {
  OpBuilder &ops = b_.ops();
  bool pairs = in_.format == PanelFormat::CodeBytePairs || in_.format == PanelFormat::CodeNibblePairs;
  bool nibbles = in_.format == PanelFormat::CodeNibbles || in_.format == PanelFormat::CodeNibblePairs;
  int64_t together = stepsTogether(in_.format), part = step % together;
  VectorType type = pairs ? b_.vec(2 * shape_.lanes, ops.getI16Type()) : type_;
  Type element = panelElement(b_, in_);
  int64_t wordElements = 32 / element.getIntOrFloatBitWidth();
  Value at = b_.address(panelAtK, b_.index((step / together * 16 + vector * shape_.lanes) * wordElements), element);
  Value codes = b_.load(type, at, b_.index(0), 16);
  int64_t shift = pairs ? part % 2 * 8 + part / 2 * 4 : part * 4, bits = nibbles ? 4 : 8;
  if (shift)
    codes = arith::ShRUIOp::create(ops, b_.loc(), codes, b_.constantInt(type, shift));
  if (pairs ? shift + bits < 16 : nibbles)
    codes = arith::AndIOp::create(ops, b_.loc(), codes, b_.constantInt(type, pairs ? (1 << bits) - 1 : 0x0f0f0f0f));
  return pairs ? Value(vector::BitCastOp::create(ops, b_.loc(), type_, codes)) : codes;
}

/// Masked in its place in the word, or shifted down from the highest one.
Value TileWriter::floatCodeVector(Value panelAtK, int64_t step, int64_t vector) {
  OpBuilder &ops = b_.ops();
  int64_t bits = in_.format == PanelFormat::CodeNibbleFloats ? 4 : 8, together = stepsTogether(in_.format), place = codePlace(bits, step);
  VectorType ints = b_.vec(shape_.lanes, b_.i32());
  Value at = b_.address(panelAtK, b_.index((step / together * 16 + vector * shape_.lanes) * 4), ops.getI8Type());
  Value words = b_.load(ints, at, b_.index(0), 16);
  Value code = step % together == together - 1 ? Value(arith::ShRUIOp::create(ops, b_.loc(), words, b_.constantInt(ints, 32 - bits)))
                                               : Value(arith::AndIOp::create(ops, b_.loc(), words, b_.constantInt(ints, ((int64_t(1) << bits) - 1) << place)));
  return arith::SIToFPOp::create(ops, b_.loc(), type_, code);
}

/// `code - zero` in f32; codes of 4 bits with one zero point out of a table (vpermps, which looks at the low four bits).
Value TileWriter::groupCodeVector(Value panelAtK, int64_t step, int64_t vector, int64_t panel) {
  OpBuilder &ops = b_.ops();
  int64_t bits = in_.format == PanelFormat::CodeNibbleGroups ? 4 : 8, together = stepsTogether(in_.format), place = step % 4 * 8 + step / 4 % (8 / bits) * 4;
  VectorType ints = b_.vec(shape_.lanes, b_.i32());
  Value code = b_.load(ints, b_.address(panelAtK, b_.index((step / together * 16 + vector * shape_.lanes) * 4), ops.getI8Type()), b_.index(0), 16);
  if (place)
    code = arith::ShRUIOp::create(ops, b_.loc(), code, b_.constantInt(ints, place));
  if (bits == 4 && in_.codeZeros.empty() && shape_.lanes == 16 && in_.targetLanes == 16) {
    SmallVector<float> entries;
    for (int64_t i = 0; i < 16; ++i)
      entries.push_back(float(i - in_.codeZero));
    Value operands[] = {arith::ConstantOp::create(ops, b_.loc(), DenseElementsAttr::get(type_, ArrayRef(entries))), code};
    return LLVM::CallIntrinsicOp::create(ops, b_.loc(), type_, ops.getStringAttr("llvm.x86.avx512.permvar.sf.512"), operands).getResult(0);
  }
  if (place + bits < 32)
    code = arith::AndIOp::create(ops, b_.loc(), code, b_.constantInt(ints, (1 << bits) - 1));
  Value zero = in_.codeZeros.empty() ? b_.constantInt(ints, in_.codeZero) : in_.codeZeros[size_t(panel * shape_.vectors() + vector)];
  return arith::SIToFPOp::create(ops, b_.loc(), type_, arith::SubIOp::create(ops, b_.loc(), code, zero));
}

Value TileWriter::panelVector(Value panelAtK, int64_t step, int64_t vector, int64_t panel) {
  if (isGroupOfCodes(in_.format))
    return groupCodeVector(panelAtK, step, vector, panel);
  if (isCodeOfFloats(in_.format))
    return floatCodeVector(panelAtK, step, vector);
  if (in_.format == PanelFormat::BF16Pairs || in_.format == PanelFormat::BF16Groups)
    return pairVector(panelAtK, step, vector);
  if (in_.format == PanelFormat::BytePairs)
    return byteVector(panelAtK, step, vector);
  if (isCode(in_.format))
    return codeVector(panelAtK, step, vector);
  Value place = b_.index(step * 16 + vector * shape_.lanes);
  if (in_.format == PanelFormat::F16 || in_.format == PanelFormat::F16Groups)
    return widenF16(b_.load(b_.vec(shape_.lanes, b_.ops().getF16Type()), panelAtK, place));
  return b_.load(type_, panelAtK, place, 16);
}

/// And written where it is to be kept: `panelsAtK` has those places behind the panels.
Value TileWriter::weightOf(ArrayRef<Value> panelsAtK, int64_t step, int64_t vector, int64_t panel) {
  Value weight = panelVector(panelsAtK[size_t(panel)], step, vector, panel);
  if (!in_.widened.empty())
    b_.store(weight, panelsAtK[in_.panels.size() + size_t(panel)], b_.index(step * 16 + vector * shape_.lanes));
  return weight;
}

Value TileWriter::splatOf(ArrayRef<Value> rowsAtK, int64_t row, int64_t step, int64_t term) {
  bool listed = !in_.aRows.empty();
  return b_.loadSplat(type_, rowsAtK[listed ? row : 0], b_.index(step * in_.aStep + term * in_.aTerm + (listed ? 0 : row * in_.aRow)));
}

KernelBuilder::Values TileWriter::rowsAt(Value aOffset) {
  Values rows;
  if (in_.aRows.empty())
    rows.push_back(b_.address(in_.a, aOffset, in_.element));
  for (Value row : in_.aRows)
    rows.push_back(b_.address(row, aOffset, in_.element));
  return rows;
}

/// Few vectors of B: all in registers, one broadcast of A at a time.
void TileWriter::byRows(int64_t i, ArrayRef<Value> rowsAtK, ArrayRef<Value> panelsAtK, Values &tile) {
  llvm::SmallVector<Value> weights;
  for (int64_t panel = 0; panel < shape_.panels; ++panel)
    for (int64_t vector = 0; vector < shape_.vectors(); ++vector)
      weights.push_back(weightOf(panelsAtK, i, vector, panel));
  for (int64_t row = 0; row < shape_.rows; ++row) {
    Value a = splatOf(rowsAtK, row, i);
    for (auto [column, weight] : llvm::enumerate(weights)) {
      if (column > 0 && !in_.aCopies.empty())
        a = splatOf(rowsAtK[column], row, i);
      Value &sum = tile[size_t(row) * weights.size() + column];
      sum = in_.aCopies.empty() ? multiplyAdd(a, weight, sum) : multiplyAdd(weight, a, sum); // LLVM takes the last factor from memory
    }
  }
}

/// Few rows: their broadcasts in registers, one vector of B at a time.
void TileWriter::byVectors(int64_t i, ArrayRef<Value> rowsAtK, ArrayRef<Value> panelsAtK, Values &tile) {
  llvm::SmallVector<Value> splats;
  for (int64_t row = 0; row < shape_.rows; ++row)
    splats.push_back(splatOf(rowsAtK, row, i));
  for (int64_t panel = 0; panel < shape_.panels; ++panel)
    for (int64_t vector = 0; vector < shape_.vectors(); ++vector) {
      Value weight = weightOf(panelsAtK, i, vector, panel);
      for (int64_t row = 0; row < shape_.rows; ++row) {
        Value &sum = tile[size_t(shape_.index(row, panel, vector))];
        sum = multiplyAdd(splats[size_t(row)], weight, sum);
      }
    }
}

Values TileWriter::steps(Value k, int64_t count, ValueRange tile, function_ref<void(int64_t)> beside) {
  Value aOffset = b_.mul(k, in_.aStep), bOffset = b_.mul(k, stepElements(in_.format));
  Values rowsAtK = rowsAt(aOffset), panelsAtK;
  for (Value copy : in_.aCopies)
    rowsAtK.push_back(b_.address(copy, aOffset, in_.element));
  for (Value panel : in_.panels)
    panelsAtK.push_back(b_.address(panel, bOffset, panelElement(b_, in_)));
  for (Value place : in_.widened)
    panelsAtK.push_back(b_.address(place, b_.mul(k, 16), in_.element));
  // Groups have sums of even and of odd inputs, or of the first and last two of four.
  size_t kinds = isInGroups(in_.format) ? 2 : 1, each = tile.size() / kinds;
  Values parts[2] = {Values(tile.take_front(each)), Values(tile.drop_front(each))};
  bool fewRows = shape_.rows < shape_.panels * shape_.vectors();
  for (int64_t i = 0; i < count; ++i) {
    if (beside)
      beside(i);
    Values &sums = parts[size_t(isGroupOfCodes(in_.format) ? i / 2 : i) % kinds];
    if (fewRows)
      byVectors(i, rowsAtK, panelsAtK, sums);
    else
      byRows(i, rowsAtK, panelsAtK, sums);
  }
  parts[0].append(parts[1]);
  return parts[0];
}

// The terms of a row are rows of their own, whose sums are added one after the other.
Values TileWriter::groupLoop(ValueRange initial) {
  const int64_t terms = std::max<int64_t>(1, in_.terms), ofRow = shape_.panels * shape_.vectors();
  const TileShape wide{shape_.rows * terms, shape_.panels, shape_.lanes};
  TileOperands in = in_;
  for (int64_t row = 0; in_.terms && row < wide.rows; ++row)
    in.aRows.push_back(b_.address(in_.a, b_.index(row / terms * in_.aRow + row % terms * in_.aTerm), in_.element));
  TileWriter writer(b_, wide, in);
  Values zeros(size_t(2 * wide.accumulators()), b_.constant(type_, 0));
  return b_.forLoop(b_.index(0), in_.depth, kGroup, initial, [&](Value k, ValueRange before) {
    Values both = b_.forLoop(k, b_.add(k, kGroup), in_.unroll, zeros, [&](Value step, ValueRange tile) {
      if (in_.perStep)
        in_.perStep(step, in_.placeGrowth ? b_.mul(step, in_.placeGrowth) : Value());
      return writer.steps(step, in_.unroll, tile);
    });
    Values sums(before.begin(), before.end());
    for (int64_t i = 0; i < wide.accumulators(); ++i) {
      Value &sum = sums[size_t(i / (terms * ofRow) * ofRow + i % ofRow)];
      sum = b_.fadd(sum, b_.fadd(both[size_t(i)], both[size_t(wide.accumulators() + i)]));
    }
    return sums;
  });
}

// A vector of columns after the other, whose sums of all products of terms fill the registers.
Values TileWriter::termLoop(ValueRange initial) {
  const auto products = termProducts(in_.terms, in_.weightTerms);
  const size_t rows = size_t(shape_.rows), each = rows * products.size();
  Values zeros(2 * each, b_.constant(type_, 0)); // of even inputs, then of odd ones: for each product those of all rows
  return b_.forLoop(b_.index(0), in_.depth, kGroup, initial, [&](Value k, ValueRange before) {
    Values sums(before.begin(), before.end());
    for (int64_t panel = 0; panel < shape_.panels; ++panel)
      for (int64_t vector = 0; vector < shape_.vectors(); ++vector) {
        Values both = b_.forLoop(k, b_.add(k, kGroup), in_.unroll, zeros, [&](Value step, ValueRange parts) {
          if (in_.perPanelStep && vector == 0)
            in_.perPanelStep(step, panel);
          return termSteps(step, panel, vector, products, parts);
        });
        for (size_t product = 0; product < products.size(); ++product)
          for (size_t row = 0; row < rows; ++row) {
            Value &sum = sums[size_t(shape_.index(int64_t(row), panel, vector))];
            size_t place = product * rows + row;
            sum = b_.fadd(sum, b_.fadd(both[place], both[each + place]));
          }
      }
    return sums;
  });
}

/// `unroll` steps of one vector of columns.
Values TileWriter::termSteps(Value k, int64_t panel, int64_t vector, ArrayRef<std::pair<int64_t, int64_t>> products, ValueRange before) {
  Values sums(before.begin(), before.end());
  Values rows = rowsAt(k);
  Value panelAtK = b_.address(in_.panels[size_t(panel)], b_.mul(k, 16), panelElement(b_, in_));
  for (int64_t step = 0; step < in_.unroll; ++step) {
    Value weight = panelVector(panelAtK, step, vector);
    Values terms = in_.weightTerms > 1 ? splitTerms(b_, weight, in_.weightTerms) : Values{weight};
    size_t place = step % 2 * sums.size() / 2;
    for (auto [rowTerm, weightTerm] : products)
      for (int64_t row = 0; row < shape_.rows; ++row, ++place)
        sums[place] = b_.fma(splatOf(rows, row, step, rowTerm), terms[size_t(weightTerm)], sums[place]);
  }
  return sums;
}

// Eight words at a time, as many as sums of 16 bits have room for.
Values TileWriter::bytePairLoop(ValueRange initial) {
  int64_t group = std::gcd(in_.depthMultiple, int64_t(8)), unroll = std::min(std::max(in_.unroll, stepsTogether(in_.format)), group);
  VectorType type = b_.vec(2 * shape_.lanes, b_.ops().getI16Type());
  Values zeros(initial.size(), b_.constantInt(type, 0));
  return b_.forLoop(b_.index(0), in_.depth, group, initial, [&](Value k, ValueRange sums) {
    Values shorts = b_.forLoop(k, b_.add(k, group), unroll, zeros, [&](Value step, ValueRange tile) { return steps(step, unroll, tile); });
    for (auto [part, sum] : llvm::zip(shorts, sums))
      part = dotShorts(part, b_.constantInt(type, 1), sum);
    return shorts;
  });
}

} // namespace

Type cpu::panelElement(KernelBuilder &b, const TileOperands &in) {
  switch (in.format) {
  case PanelFormat::Plain:
  case PanelFormat::FloatGroups:
  case PanelFormat::BF16Dot:
  case PanelFormat::ByteDot:
  case PanelFormat::ShortDot:
  case PanelFormat::CodeBytes:
    return in.element;
  case PanelFormat::F16:
  case PanelFormat::F16Groups:
    return b.ops().getF16Type();
  case PanelFormat::BF16Pairs:
  case PanelFormat::BF16Groups:
  case PanelFormat::BytePairs:
  case PanelFormat::CodeNibbles:
  case PanelFormat::CodeBytePairs:
    return b.ops().getIntegerType(16);
  case PanelFormat::CodeNibblePairs:
  case PanelFormat::CodeByteFloats:
  case PanelFormat::CodeNibbleFloats:
  case PanelFormat::CodeByteGroups:
  case PanelFormat::CodeNibbleGroups:
    return b.ops().getIntegerType(8);
  }
  return in.element;
}

KernelBuilder::Values cpu::emitTileLoop(KernelBuilder &b, const TileShape &shape, const TileOperands &in, ValueRange initial) {
  TileWriter writer(b, shape, in);
  if (writer.inBytePairs())
    return writer.bytePairLoop(initial);
  if (isInGroups(in.format))
    return in.terms && !isGroupOfCodes(in.format) ? writer.termLoop(initial) : writer.groupLoop(initial);
  int64_t unit = stepsTogether(in.format);
  int64_t unroll = std::max(in.unroll, unit);
  Value zero = b.index(0);
  bool even = in.depthMultiple % unroll == 0;
  Value main = even ? in.depth : b.sub(in.depth, b.mod(in.depth, b.index(unroll)));
  Values start(initial.begin(), initial.end());
  bool places = in.perStep && in.placeGrowth;
  if (places)
    start.push_back(zero);
  Values tile = b.forLoop(zero, main, unroll, start, [&](Value k, ValueRange values) {
    if (in.perStep)
      in.perStep(k, places ? values.back() : Value());
    Values next = writer.steps(k, unroll, values.take_front(initial.size()));
    if (places)
      next.push_back(b.add(values.back(), b.mul(in.placeGrowth, unroll)));
    return next;
  });
  tile.truncate(initial.size());
  if (even)
    return tile;
  // What is left: whole pairs or single inputs, then the last input of an odd number.
  Value whole = unit == 1 ? in.depth : b.sub(in.depth, b.mod(in.depth, unit));
  tile = b.forLoop(main, whole, unit, tile, [&](Value k, ValueRange sums) { return writer.steps(k, unit, sums); });
  if (unit == 2 && in.depthMultiple % 2 != 0)
    tile = b.forLoop(whole, in.depth, 1, tile, [&](Value k, ValueRange sums) { return writer.steps(k, 1, sums); });
  return tile;
}

KernelBuilder::Values cpu::emitTileSteps(KernelBuilder &b, const TileShape &shape, const TileOperands &in, Value k, int64_t count, ValueRange tile,
                                         function_ref<void(int64_t)> beside) {
  return TileWriter(b, shape, in).steps(k, count, tile, beside);
}

void cpu::emitWidenedPanel(KernelBuilder &b, const TileOperands &in, int64_t lanes, Value panel, Value to) {
  TileShape shape{1, 1, lanes};
  TileWriter writer(b, shape, in);
  int64_t unit = stepsTogether(in.format);
  b.forLoop(b.index(0), in.depth, unit, [&](Value k) {
    Value from = b.address(panel, b.mul(k, stepElements(in.format)), panelElement(b, in)), target = b.address(to, b.mul(k, 16), b.f32());
    for (int64_t step = 0; step < unit; ++step)
      for (int64_t vector = 0; vector < shape.vectors(); ++vector)
        b.store(writer.panelVector(from, step, vector), target, b.index(step * 16 + vector * lanes));
  });
}

KernelBuilder::Values cpu::zeroTile(KernelBuilder &b, const TileShape &shape, Type element) {
  VectorType type = b.vec(shape.lanes, element);
  Value zero = isa<FloatType>(element) ? b.constant(type, 0) : b.constantInt(type, 0);
  return Values(size_t(shape.accumulators()), zero);
}

KernelBuilder::Values cpu::loadTile(KernelBuilder &b, const TileShape &shape, Type element, Value base, int64_t rowStride) {
  Values tile;
  for (int64_t row = 0; row < shape.rows; ++row)
    for (int64_t column = 0; column < shape.columns(); column += shape.lanes)
      tile.push_back(b.load(b.vec(shape.lanes, element), base, b.index(row * rowStride + column), 16));
  return tile;
}

void cpu::storeTile(KernelBuilder &b, const TileShape &shape, ValueRange tile, Value base, int64_t rowStride) {
  int64_t i = 0;
  for (int64_t row = 0; row < shape.rows; ++row)
    for (int64_t column = 0; column < shape.columns(); column += shape.lanes)
      b.store(tile[size_t(i++)], base, b.index(row * rowStride + column), 16);
}

void cpu::switchRows(KernelBuilder &b, Value count, int64_t most, function_ref<void(int64_t)> body) {
  if (most == 1)
    return body(1);
  b.ifThen(
      b.equal(count, b.index(most)), [&] { body(most); }, [&] { switchRows(b, count, most - 1, body); });
}

RowTiles::RowTiles(KernelBuilder &b, Value rows, int64_t most) : b_(b) {
  // At least one tile, so that nothing divides by zero where there are no rows (and no work units).
  tiles = b.max(b.floorDiv(b.add(rows, most - 1), most), b.index(1));
  least_ = b.floorDiv(rows, tiles);
  extra_ = b.mod(rows, tiles);
}
Value RowTiles::firstRow(Value tile) const { return b_.add(b_.mul(tile, least_), b_.min(tile, extra_)); }
Value RowTiles::rowCount(Value tile) const {
  return b_.add(least_, b_.select(b_.less(tile, extra_), b_.index(1), b_.index(0)));
}
