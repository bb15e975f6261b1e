//===- RoundedMatrix.cpp - matrices that are rounded while compiling ------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/Common/RoundedMatrix.h"

#include "codegen/Common/WeightPacking.h"
#include "llmopt/dialects/LLM/ElementTypes.h"
#include "llmopt/dialects/LLM/LLM.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <thread>

using namespace mlir;
using namespace llmopt;

namespace {

constexpr int64_t kBlock = 32;

RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

//===----------------------------------------------------------------------===//
// Finding it: each function takes one operation off, and gives null for another.
//===----------------------------------------------------------------------===//

template <typename Op>
Op as(Value value) {
  return value ? value.getDefiningOp<Op>() : Op();
}

bool isNumber(Value value, float number) {
  auto constant = as<llm::ConstantOp>(value);
  auto elements = constant ? dyn_cast<DenseFPElementsAttr>(constant.getValue()) : DenseFPElementsAttr();
  return elements && elements.isSplat() && elements.getElementType().isF32() && elements.getSplatValue<float>() == number;
}

/// x of Op(x, number).
template <typename Op>
Value besideNumber(Value value, float number) {
  auto op = as<Op>(value);
  return op && isNumber(op.getRhs(), number) ? op.getLhs() : Value();
}

Value behindCast(Value value, Type from) {
  auto op = as<llm::CastOp>(value);
  return op && typeOf(op.getInput()).getElementType() == from ? op.getInput() : Value();
}

/// The blocks whose extreme this is, along the last dimension.
Value extremeOf(Value value, llm::ReduceKind kind) {
  auto op = as<llm::ReduceOp>(value);
  return op && op.getKind() == kind && op.getAxes() == ArrayRef<int64_t>{2} && op.getKeepdims() ? op.getInput() : Value();
}

/// The blocks whose largest magnitude over 127, or element of the largest magnitude over -8, this is.
Value scaledBlocks(Value scale, int bits) {
  Value high, negated, low;
  if (bits == 4) {
    auto select = as<llm::SelectOp>(besideNumber<llm::MulOp>(scale, -1.0f / 8));
    auto compare = select ? as<llm::CompareOp>(select.getCondition()) : llm::CompareOp();
    if (!compare || compare.getPredicate() != llm::ComparePredicate::gt || compare.getLhs() != select.getLhs())
      return {};
    high = select.getLhs(), low = select.getRhs(), negated = compare.getRhs();
  } else if (auto max = as<llm::MaxOp>(besideNumber<llm::DivOp>(scale, 127))) {
    high = max.getLhs(), negated = max.getRhs();
  }
  auto neg = as<llm::NegOp>(negated);
  Value blocks = extremeOf(high, llm::ReduceKind::max);
  return neg && (!low || low == neg.getInput()) && extremeOf(neg.getInput(), llm::ReduceKind::min) == blocks ? blocks : Value();
}

/// The scale that blocks are divided by, where it is not 0.
Value divisorScale(Value divisor) {
  auto select = as<llm::SelectOp>(divisor);
  auto isZero = select ? as<llm::CompareOp>(select.getCondition()) : llm::CompareOp();
  bool matches = isZero && isZero.getPredicate() == llm::ComparePredicate::eq && isZero.getLhs() == select.getRhs() && isNumber(isZero.getRhs(), 0) && isNumber(select.getLhs(), 1);
  return matches ? select.getRhs() : Value();
}

bool isPlainFloat(Type type) { return type.isF32() || type.isBF16() || type.isF16(); }

//===----------------------------------------------------------------------===//
// Making it
//===----------------------------------------------------------------------===//

/// Outputs [first, first + count), counted through all matrices, as rows of f32.
void loadRows(const RoundedMatrix &matrix, DType type, const std::byte *source, int64_t first, int64_t count, float *rows) {
  int64_t outputStride = matrix.outputsFirst ? matrix.inputs : 1, inputStride = matrix.outputsFirst ? 1 : matrix.outputs;
  auto load = [&]<typename Element>(const Element *from, auto widen) {
    from += first * outputStride;
    if (matrix.outputsFirst) {
      for (int64_t i = 0; i < count * matrix.inputs; ++i)
        rows[i] = widen(from[i]);
      return;
    }
    for (int64_t k = 0; k < matrix.inputs; ++k)
      for (int64_t n = 0; n < count; ++n)
        rows[n * matrix.inputs + k] = widen(from[k * inputStride + n]);
  };
  if (type == DType::F32)
    load(reinterpret_cast<const float *>(source), [](float value) { return value; });
  else if (type == DType::BF16)
    load(reinterpret_cast<const uint16_t *>(source), [](uint16_t bits) { return bf16ToFloat(bits); });
  else
    load(reinterpret_cast<const uint16_t *>(source), [](uint16_t bits) { return f16ToFloat(bits); });
}

/// The first of equal numbers is the largest, the last of them the smallest, which tells zeros apart.
struct Extremes {
  float high = -INFINITY, low = INFINITY;
  void take(float x) { high = x > high ? x : high, low = low < x ? low : x; }
};

/// Without NaN. In lanes, which compilers make vectors of.
Extremes extremesOf(const float *block) {
  constexpr int64_t kLanes = 8;
  Extremes lanes[kLanes], all;
  for (int64_t i = 0; i < kBlock; i += kLanes)
    for (int64_t lane = 0; lane < kLanes; ++lane)
      lanes[lane].take(block[i + lane]);
  for (const Extremes &lane : lanes)
    all.high = std::max(all.high, lane.high), all.low = std::min(all.low, lane.low);
  if (all.high != 0 || all.low != 0)
    return all;
  Extremes ofZeros;
  std::for_each_n(block, kBlock, [&](float x) { ofZeros.take(x); });
  return ofZeros;
}

/// The scale of a block in f16, widened.
float scaleOf(const float *block, int bits) {
  uint32_t most = 0;
  for (int64_t i = 0; i < kBlock; ++i)
    most = std::max(most, std::bit_cast<uint32_t>(block[i]) & 0x7fffffffu);
  float scale = NAN;
  if (most <= 0x7f800000u) {
    auto [high, low] = extremesOf(block);
    scale = bits == 4 ? (high > -low ? high : low) * (-1.0f / 8) : (high > -low ? high : -low) / 127.0f;
  }
  return f16ToFloat(floatToF16(scale));
}

/// Rounded to nearest even: between the bounds of codes, adding 1.5 * 2^23 leaves the number in the low bits.
void roundBlock(const float *block, float scale, int bits, uint8_t *codes) {
  if (!std::isfinite(scale)) { // every quotient is 0 or no number, which becomes 0
    std::fill_n(codes, kBlock, 0);
    return;
  }
  float divisor = scale == 0 ? 1 : scale, high = bits == 4 ? 7 : 127, low = bits == 4 ? -8 : -127;
  for (int64_t i = 0; i < kBlock; ++i) {
    float code = block[i] / divisor;
    code = code < high ? code : high;
    code = code > low ? code : low;
    codes[i] = uint8_t(std::bit_cast<uint32_t>(code + 0x1.8p23f));
  }
}

} // namespace

std::optional<RoundedMatrix> llmopt::findRoundedMatrix(const QuantizedWeight &weight) {
  if (weight.zeros || weight.format.scale != DType::F16 || (weight.format.block ? weight.format.block : weight.inputs) != kBlock || weight.inputs % kBlock != 0)
    return std::nullopt;
  RoundedMatrix found;
  found.bits = weight.format.bits;
  found.matrices = weight.matrices, found.outputs = weight.outputs, found.inputs = weight.inputs;
  Builder types(weight.codes.getContext());
  Value rounded = behindCast(weight.codes, types.getF32Type());
  rounded = besideNumber<llm::MinOp>(besideNumber<llm::MaxOp>(rounded, found.bits == 4 ? -8 : -127), found.bits == 4 ? 7 : 127);
  auto round = as<llm::RoundOp>(rounded);
  auto quotient = round ? as<llm::DivOp>(round.getInput()) : llm::DivOp();
  Value scale = quotient ? divisorScale(quotient.getRhs()) : Value();
  bool same = scale && scale == weight.scales && typeOf(scale).getElementType().isF32();
  if (!same || scaledBlocks(behindCast(behindCast(scale, types.getF16Type()), types.getF32Type()), found.bits) != quotient.getLhs())
    return std::nullopt;
  auto blocks = as<llm::ReshapeOp>(quotient.getLhs());
  if (!blocks || typeOf(blocks).getShape() != ArrayRef<int64_t>{weight.rows(), found.inputs / kBlock, kBlock})
    return std::nullopt;
  ArrayRef<int64_t> given = typeOf(blocks.getInput()).getShape();
  if (given.size() < 2 || given.take_back(2) != ArrayRef<int64_t>{found.outputs, found.inputs})
    return std::nullopt;
  Value matrix = blocks.getInput();
  if (auto cast = as<llm::CastOp>(matrix); cast && isPlainFloat(typeOf(cast.getInput()).getElementType()))
    matrix = cast.getInput();
  if (auto transpose = as<llm::TransposeOp>(matrix); transpose && given.size() == 2) {
    matrix = transpose.getInput();
    found.outputsFirst = false;
  }
  found.matrix = matrix;
  return isPlainFloat(typeOf(matrix).getElementType()) ? std::optional(found) : std::nullopt;
}

Status RoundedMatrix::pack(const QuantizedPanels &panels, std::span<const std::byte> source, unsigned jobs, std::span<std::byte> packed) const {
  DType type = *llm::dtypeOf(typeOf(matrix).getElementType());
  size_t needed = size_t(matrices * outputs * inputs) * dtypeSize(type);
  if (source.size() != needed || packed.size() != size_t(matrices * panels.bytes(outputs, inputs)))
    return badInput("E0917", "a matrix to be rounded has " + std::to_string(source.size()) + " bytes, its type needs " + std::to_string(needed));
  int64_t ofMatrix = panelCount(outputs), count = matrices * ofMatrix, panelBytes = panels.panelBytes(inputs), blocks = inputs / kBlock;
  auto work = [&](int64_t firstPanel, int64_t endPanel) -> Status {
    std::vector<float> rows(static_cast<size_t>(kPanelColumns * inputs));
    std::vector<uint8_t> codes(rows.size());
    for (int64_t panel = firstPanel; panel < endPanel; ++panel) {
      int64_t column = panel % ofMatrix * kPanelColumns, first = panel / ofMatrix * outputs + column, present = std::min(kPanelColumns, outputs - column);
      QuantizedMatrix part{present, inputs, codes.data(), inputs, 1, 1 << (bits - 1), {}, {uint8_t(1 << (bits - 1))}};
      loadRows(*this, type, source.data(), first, present, rows.data());
      for (int64_t block = 0; block < present * blocks; ++block) {
        part.scales.push_back(scaleOf(rows.data() + block * kBlock, bits));
        roundBlock(rows.data() + block * kBlock, part.scales.back(), bits, codes.data() + block * kBlock);
      }
      LLMOPT_RETURN_IF_ERROR(packQuantized(panels, part, packed.subspan(size_t(panel * panelBytes), size_t(panelBytes))));
    }
    return {};
  };
  int64_t threads = std::min<int64_t>(jobs ? jobs : std::max(1u, std::thread::hardware_concurrency()), count);
  std::vector<Status> results(static_cast<size_t>(threads));
  std::vector<std::thread> helpers;
  auto share = [&](int64_t i) { results[size_t(i)] = work(count * i / threads, count * (i + 1) / threads); };
  for (int64_t i = 1; i < threads; ++i)
    helpers.emplace_back(share, i);
  share(0);
  for (std::thread &helper : helpers)
    helper.join();
  for (Status &result : results)
    LLMOPT_RETURN_IF_ERROR(result);
  return {};
}
