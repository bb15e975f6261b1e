//===- AttentionRope.cpp - rotary positions inside a kernel ---------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/AttentionRope.h"

#include "codegen/CPU/MathApproximation.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

/// Pairs of a head that are rotated.
static int64_t pairsOf(llm::RopeOp rope) {
  return rope ? cast<RankedTensorType>(rope.getFrequencies().getType()).getDimSize(0) : 0;
}
static int64_t roundUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

/// A loop between bounds known now, which may be empty.
static void repeat(KernelBuilder &b, int64_t begin, int64_t end, int64_t step, function_ref<void(Value)> body) {
  if (begin < end)
    b.forLoop(b.index(begin), b.index(end), step, body);
}

HeadCopier::HeadCopier(KernelBuilder &b, const HeadsSource &source, int64_t headSize, int64_t lanes, Value table)
    : b_(b), source_(source), headSize_(headSize), lanes_(lanes), pairs_(pairsOf(source.rope)), table_(table) {}

int64_t HeadCopier::tableElements(const HeadsSource &source, int64_t lanes) { return 2 * roundUp(pairsOf(source.rope), lanes); }

// Angles are products in f32, as the models' own code computes them.
void HeadCopier::startToken(Value token) {
  if (!source_.rope)
    return;
  Value positions = throughViews(source_.rope.getPositions()), frequencies = throughViews(source_.rope.getFrequencies());
  Type integer = getElementTypeOrSelf(positions.getType());
  Value position = b_.load(integer, b_.buffer(cast<BlockArgument>(positions).getArgNumber()), token);
  VectorType type = b_.vec(lanes_, b_.f32());
  Value angleScale = b_.splat(arith::SIToFPOp::create(b_.ops(), b_.loc(), b_.f32(), position), type);
  Value scale = b_.constant(type, source_.rope.getScale().convertToDouble());
  Value base = b_.buffer(cast<BlockArgument>(frequencies).getArgNumber());
  auto fill = [&](Value i, Value frequency) {
    auto [sine, cosine] = emitSinCos(b_, b_.fmul(angleScale, frequency));
    b_.store(b_.fmul(cosine, scale), table_, i);
    b_.store(b_.fmul(sine, scale), table_, b_.add(i, roundUp(pairs_, lanes_)));
  };
  int64_t whole = pairs_ / lanes_ * lanes_;
  repeat(b_, 0, whole, lanes_, [&](Value i) { fill(i, b_.load(type, base, i)); });
  if (whole < pairs_)
    fill(b_.index(whole), b_.loadPart(type, base, b_.index(whole), b_.index(pairs_ - whole)));
}

/// Rotates pairs [pair, pair + lanes): x * cos - y * sin, y * cos + x * sin.
void HeadCopier::rotate(Value from, Value to, Value pair, int64_t lanes, double scale) {
  VectorType type = b_.vec(lanes, b_.f32()), both = b_.vec(2 * lanes, b_.f32());
  Value factor = b_.constant(type, scale);
  Value cosine = b_.fmul(b_.load(type, table_, pair), factor);
  Value sine = b_.fmul(b_.load(type, table_, b_.add(pair, roundUp(pairs_, lanes_))), factor);
  Value x, y;
  if (source_.rope.getInterleaved()) {
    Value joined = b_.load(both, from, b_.mul(pair, 2));
    SmallVector<int64_t> even, odd;
    for (int64_t i = 0; i < lanes; ++i) {
      even.push_back(2 * i);
      odd.push_back(2 * i + 1);
    }
    x = vector::ShuffleOp::create(b_.ops(), b_.loc(), joined, joined, even);
    y = vector::ShuffleOp::create(b_.ops(), b_.loc(), joined, joined, odd);
  } else {
    x = b_.load(type, from, pair);
    y = b_.load(type, from, b_.add(pair, pairs_));
  }
  Value first = b_.fsub(b_.fmul(x, cosine), b_.fmul(y, sine)), second = b_.fadd(b_.fmul(y, cosine), b_.fmul(x, sine));
  if (!source_.rope.getInterleaved()) {
    b_.store(first, to, pair);
    b_.store(second, to, b_.add(pair, pairs_));
    return;
  }
  SmallVector<int64_t> mix;
  for (int64_t i = 0; i < lanes; ++i) {
    mix.push_back(i);
    mix.push_back(lanes + i);
  }
  b_.store(vector::ShuffleOp::create(b_.ops(), b_.loc(), first, second, mix), to, b_.mul(pair, 2));
}

void HeadCopier::copy(Value from, Value to, double scale) {
  int64_t whole = pairs_ / lanes_ * lanes_;
  repeat(b_, 0, whole, lanes_, [&](Value pair) { rotate(from, to, pair, lanes_, scale); });
  repeat(b_, whole, pairs_, 1, [&](Value pair) { rotate(from, to, pair, 1, scale); });
  // Features that are not rotated.
  int64_t begin = 2 * pairs_, vectors = begin + (headSize_ - begin) / lanes_ * lanes_;
  auto pass = [&](Value i, int64_t lanes) {
    VectorType type = b_.vec(lanes, b_.f32());
    Value x = b_.load(type, from, i);
    b_.store(scale == 1 ? x : b_.fmul(x, b_.constant(type, scale)), to, i);
  };
  repeat(b_, begin, vectors, lanes_, [&](Value i) { pass(i, lanes_); });
  repeat(b_, vectors, headSize_, 1, [&](Value i) { pass(i, 1); });
}
