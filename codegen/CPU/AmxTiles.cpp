//===- AmxTiles.cpp - products in tile registers --------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/AmxTiles.h"

#include "codegen/CPU/Bf16Terms.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

#include <algorithm>

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

static constexpr int64_t kConfigurationWords = 16, kTileWords = AmxTiles::kRows * AmxTiles::kWords;

/// 16 words at `words` by 16 vectors of words at `weights`, in the order of tdpbf16ps: products of even and of odd inputs are added from zero, then both sums, then
/// the sum before.
static void addPairs(KernelBuilder &b, int64_t lanes, Value words, Value weights, Value sums) {
  OpBuilder &ops = b.ops();
  VectorType ints = b.vec(lanes, b.i32()), floats = b.vec(lanes, b.f32());
  auto half = [&](Value bits, bool odd) {
    Value high = odd ? Value(arith::AndIOp::create(ops, b.loc(), bits, b.constantInt(ints, -65536)))
                     : Value(arith::ShLIOp::create(ops, b.loc(), bits, b.constantInt(ints, 16)));
    return Value(arith::BitcastOp::create(ops, b.loc(), floats, high));
  };
  Value zero = b.constant(floats, 0);
  KernelBuilder::Values both = b.forLoop(b.index(0), b.index(AmxTiles::kWords), 1, {zero, zero}, [&](Value k, ValueRange before) {
    Value word = b.loadSplat(ints, words, k), weight = b.load(ints, weights, b.mul(k, AmxTiles::kWords));
    return KernelBuilder::Values{b.fma(half(word, false), half(weight, false), before[0]), b.fma(half(word, true), half(weight, true), before[1])};
  });
  b.store(b.fadd(b.load(floats, sums, b.index(0)), b.fadd(both[0], both[1])), sums, b.index(0));
}

/// The same for words of four bytes, unsigned ones by signed ones.
static void addBytes(KernelBuilder &b, int64_t lanes, Value words, Value weights, Value sums) {
  OpBuilder &ops = b.ops();
  VectorType ints = b.vec(lanes, b.i32());
  auto shiftLeft = [&](Value bits, int64_t by) { return arith::ShLIOp::create(ops, b.loc(), bits, b.constantInt(ints, by)); };
  KernelBuilder::Values sum = b.forLoop(b.index(0), b.index(AmxTiles::kWords), 1, {b.load(ints, sums, b.index(0))}, [&](Value k, ValueRange before) {
    Value word = b.loadSplat(ints, words, k), weight = b.load(ints, weights, b.mul(k, AmxTiles::kWords)), total = before[0];
    for (int64_t left = 24; left >= 0; left -= 8) {
      Value byte = arith::ShRUIOp::create(ops, b.loc(), shiftLeft(word, left), b.constantInt(ints, 24));
      Value other = arith::ShRSIOp::create(ops, b.loc(), shiftLeft(weight, left), b.constantInt(ints, 24));
      total = arith::AddIOp::create(ops, b.loc(), total, arith::MulIOp::create(ops, b.loc(), byte, other));
    }
    return KernelBuilder::Values{total};
  });
  b.store(sum[0], sums, b.index(0));
}

AmxTiles::AmxTiles(KernelBuilder &b, const Target &target, PanelFormat format, Value memory)
    : b_(b), target_(target), format_(format), memory_(memory) {}

int64_t AmxTiles::memoryWords(const Target &target) { return kConfigurationWords + (target.amx ? 0 : 8 * kTileWords); }

Value AmxTiles::number(int64_t value) { return LLVM::ConstantOp::create(b_.ops(), b_.loc(), b_.ops().getI8Type(), b_.ops().getI8IntegerAttr(int8_t(value))); }

void AmxTiles::call(StringRef name, ValueRange operands) {
  LLVM::CallIntrinsicOp::create(b_.ops(), b_.loc(), b_.ops().getStringAttr(name), operands);
}

// Palette 1; bytes of a row of each register as 16 bits; rows of each register as 8 bits, 16 of the last two.
void AmxTiles::configure(Value rows) {
  rows_ = rows;
  if (!target_.amx)
    return;
  constexpr int64_t kPalette = 1, kRowBytes = 0x0040004000400040, kRowsOfRights = 0x1010'0000'0000'0000, kEachOther = 0x0101'0101'0101;
  Value zero = b_.index(0), bytes = b_.index(kRowBytes), counts = b_.add(b_.mul(rows, kEachOther), kRowsOfRights);
  int64_t place = 0;
  for (Value word : {b_.index(kPalette), zero, bytes, bytes, zero, zero, counts, zero})
    b_.store(word, memory_, b_.index(place++));
  call("llvm.x86.ldtilecfg", memory_);
}

void AmxTiles::release() {
  if (target_.amx)
    call("llvm.x86.tilerelease", {});
}

void AmxTiles::zeroSums(Shape shape) {
  for (int tile = 0; tile < shape.rows * shape.panels; ++tile) {
    if (target_.amx)
      call("llvm.x86.tilezero", number(tile));
    else
      b_.forLoop(b_.index(0), b_.index(kTileWords), 1, [&](Value i) { b_.store(b_.constantInt(b_.i32(), 0), inMemory(tile), i); });
  }
}

void AmxTiles::loadSums(Shape shape, Value from, int64_t stride) {
  eachSum(shape, from, stride, kWords, [&](int tile, Value place) { load(tile, place, b_.index(stride)); });
}

void AmxTiles::storeSums(Shape shape, Value to, int64_t stride, int64_t panelStride) {
  eachSum(shape, to, stride, panelStride, [&](int tile, Value place) {
    if (target_.amx)
      call("llvm.x86.tilestored64", {number(tile), place, b_.index(stride * 4)});
    else
      copyRows(rows_, inMemory(tile), b_.index(kWords), place, b_.index(stride));
  });
}

void AmxTiles::eachSum(Shape shape, Value memory, int64_t stride, int64_t panelStride, function_ref<void(int, Value)> body) {
  Value registerWords = b_.mul(rows_, stride);
  for (int64_t row = 0; row < shape.rows; ++row)
    for (int64_t panel = 0; panel < shape.panels; ++panel)
      body(sum(shape, row, panel), b_.address(memory, b_.add(b_.mul(registerWords, row), panel * panelStride), b_.i32()));
}

void AmxTiles::multiplyAdd(Shape shape, ArrayRef<Value> lefts, Value leftStride, ArrayRef<Value> panels, bool streamsLefts, bool streamsPanels,
                           function_ref<void(int64_t)> beside) {
  for (int64_t panel = 0; panel < shape.panels; ++panel) {
    if (beside)
      beside(panel);
    load(right(panel), panels[size_t(panel)], b_.index(kWords), streamsPanels);
    for (int64_t row = 0; row < shape.rows; ++row) {
      if (panel == 0)
        load(left(row), lefts[size_t(row)], leftStride, streamsLefts);
      product(sum(shape, row, panel), left(row), right(panel));
    }
  }
}

// Panels of one term two at a time, as many as there are registers for: each is loaded once. With more terms each has so many products in turn that two would wait for one another.
void AmxTiles::multiplyAddTerms(Shape shape, ArrayRef<Value> lefts, int64_t leftTerms, ArrayRef<Value> panels, int64_t panelTerms, bool streamsLefts,
                                function_ref<void(int64_t)> beside) {
  const int64_t together = panelTerms == 1 ? 2 : shape.panels;
  const bool keepsPanels = std::min(together, shape.panels) <= 2;
  int64_t place = 0;
  for (int64_t first = 0; first < shape.panels; first += together) {
    int64_t loadedLeft = -1, loadedPanel = -1;
    for (auto [leftTerm, panelTerm] : termProducts(leftTerms, panelTerms)) {
      for (int64_t panel = first; panel < std::min(first + together, shape.panels); ++panel) {
        if (beside)
          beside(place++);
        if (panelTerm != loadedPanel || !keepsPanels)
          load(right(panel), b_.address(panels[size_t(panel)], b_.index(panelTerm * kTileWords), b_.i32()), b_.index(kWords));
        for (int64_t row = 0; row < shape.rows; ++row) {
          if (panel == first && leftTerm != loadedLeft)
            load(left(row), b_.address(lefts[size_t(row)], b_.mul(rows_, leftTerm * kWords), b_.i32()), b_.index(kWords), streamsLefts);
          product(sum(shape, row, panel), left(row), right(panel));
        }
      }
      loadedLeft = leftTerm, loadedPanel = panelTerm;
    }
  }
}

void AmxTiles::eachPackedRow(KernelBuilder &b, int64_t steps, Value rows, function_ref<void(Value, int64_t, Value)> body) {
  constexpr int64_t kTogether = 4;
  const int64_t whole = steps / kTogether * kTogether;
  auto all = [&](Value step, int64_t together) { b.forLoop(b.index(0), rows, 1, [&](Value row) { body(step, together, row); }); };
  b.forLoop(b.index(0), b.index(whole), kTogether, [&](Value step) { all(step, kTogether); });
  if (whole < steps)
    all(b.index(whole), steps - whole);
}

void AmxTiles::load(int tile, Value from, Value stride, bool streams) {
  if (target_.amx)
    return call(streams ? "llvm.x86.tileloaddt164" : "llvm.x86.tileloadd64", {number(tile), from, b_.mul(stride, 4)});
  copyRows(tile < right(0) ? rows_ : b_.index(kRows), from, stride, inMemory(tile), b_.index(kWords));
}

void AmxTiles::product(int sum, int left, int right) {
  if (target_.amx)
    return call(format_ == PanelFormat::BF16Dot ? "llvm.x86.tdpbf16ps" : "llvm.x86.tdpbusd", {number(sum), number(left), number(right)});
  int64_t lanes = target_.vectorBits / 32;
  b_.forLoop(b_.index(0), rows_, 1, [&](Value r) {
    Value row = b_.mul(r, kWords);
    b_.forLoop(b_.index(0), b_.index(kWords), lanes, [&](Value column) {
      Value sums = b_.address(inMemory(sum), b_.add(row, column), b_.i32());
      Value words = b_.address(inMemory(left), row, b_.i32()), weights = b_.address(inMemory(right), column, b_.i32());
      (format_ == PanelFormat::BF16Dot ? addPairs(b_, lanes, words, weights, sums) : addBytes(b_, lanes, words, weights, sums));
    });
  });
}

Value AmxTiles::inMemory(int tile) { return b_.address(memory_, b_.index(kConfigurationWords + tile * kTileWords), b_.i32()); }

void AmxTiles::copyRows(Value count, Value from, Value fromStride, Value to, Value toStride) {
  b_.forLoop(b_.index(0), count, 1, [&](Value r) {
    Value source = b_.mul(r, fromStride), target = b_.mul(r, toStride);
    b_.forLoop(b_.index(0), b_.index(kWords), 1, [&](Value i) { b_.store(b_.load(b_.i32(), from, b_.add(source, i)), to, b_.add(target, i)); });
  });
}
