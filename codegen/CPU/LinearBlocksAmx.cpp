//===- LinearBlocksAmx.cpp - row tiles in tile registers ------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Intel AMX. What follows a product - the epilogue of a row tile - is computed in vectors beside the products of the next one: tile registers leave vectors' units
// idle, and sums are at hand only some time behind their store.
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/LinearBlocks.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

class TileRegisterBlocks : public BlockWriter {
public:
  TileRegisterBlocks(KernelBuilder &b, const LinearContext &context, const BlockPlan &plan)
      : BlockWriter(b, context, plan),
        tiles_(b, context.target, context.bf16Products ? PanelFormat::BF16Dot : PanelFormat::ByteDot, inScratch(plan.otherElements(context.problem.mostWeights()) - plan.amxWords)) {}
  void emit();

private:
  /// Sums that lie in memory and wait for what follows them: `rows` of them (0: none) from firstRow and column on, at element `place` of scratch memory.
  struct Pending {
    Value rows, firstRow, column, place;
    explicit Pending(ValueRange values) : rows(values[0]), firstRow(values[1]), column(values[2]), place(values[3]) {}
  };
  int64_t groupRows() const override;
  void prepareRows(const RowBlock &rows, Value publish) override;
  void columnTiles(const LinearSegment &segment, const RowBlock &rows, Value begin, Value end, int64_t panels) override;
  void finish(LinearEpilogue &epilogue, const Pending &pending, Value first, Value count, int64_t width);
  void product(Projection linear, const RowBlock &rows, Value rowTile, const TileBlock &block, Value own, llvm::function_ref<void(Value step, Value steps)> beside);
  std::function<void(Value)> prefetches(Projection linear, const RowBlock &rows, Value rowTile, const TileBlock &block, Value steps);
  /// The column tile's block of K, read again by each row tile.
  bool fitsFirstCache(int64_t panels) const { return panels * plan_.kBlock * AmxTiles::kWords * 4 <= context_.target.l1Bytes; }
  /// A register's rows: those of row tile `tile` of the block.
  Value registerAt(Value tile, Value number) {
    return b_.address(words(), b_.mul(b_.add(b_.mul(tile, plan_.amx.rows), number), AmxTiles::kRows * plan_.depth), b_.f32());
  }

  AmxTiles tiles_;
  Value registerRows_; ///< of a tile register
};

// One configuration for all row tiles. Those that are smaller than the highest one compute up to two rows more than they have, which nobody reads.
void TileRegisterBlocks::emit() {
  Value rows = b_.dim(context_.problem.rows), registers = b_.mul(rowTiles_.tiles, plan_.amx.rows);
  registerRows_ = b_.max(b_.floorDiv(b_.add(rows, b_.add(registers, -1)), registers), b_.index(1));
  tiles_.configure(registerRows_);
  run();
  tiles_.release();
}

/// Products of 256 rows take the time that weights take to come from memory.
int64_t TileRegisterBlocks::groupRows() const { return !context_.target.sharedCacheIsFast && weightBytes() > context_.target.l2Bytes ? 256 : 48; }

// Rows in words to [register][step of 16 words][row of the register][16 words]: one stream for a register instead of one for each row, of which prefetchers lose track.
// A row tile at a time, so that normed rows need not leave the second-level cache.
void TileRegisterBlocks::prepareRows(const RowBlock &rows, Value publish) {
  Bf16Words rounding(b_, context_.target.bf16Dot);
  VectorType words = b_.vec(AmxTiles::kWords, b_.i32()), floats = b_.vec(AmxTiles::kWords, b_.f32());
  Type element = context_.inputElement(b_);
  bool rounds = context_.bf16Products && !context_.roundedInput;
  const int64_t stepElements = context_.inputStride() * AmxTiles::kWords / plan_.depth, lineElements = 512 / element.getIntOrFloatBitWidth();
  Value stepWords = b_.mul(registerRows_, AmxTiles::kWords), registerElements = b_.mul(registerRows_, context_.inputStride());
  auto pack = [&](Value from, Value to, Value step) {
    Value source = b_.mul(step, stepElements), target = b_.address(to, b_.mul(step, stepWords), b_.f32());
    if (!context_.norm) // the same of the next register
      for (int64_t line = 0; line < stepElements; line += lineElements)
        b_.prefetch(from, b_.add(b_.add(source, registerElements), line), element, /*locality=*/2);
    if (!rounds)
      return b_.store(b_.load(words, b_.address(from, source, element), b_.index(0), 1), target, b_.index(0));
    for (int64_t half = 0; half < 2; ++half)
      b_.store(rounding.round(b_.load(floats, from, b_.add(source, half * AmxTiles::kWords))), target, b_.index(half * AmxTiles::kWords));
  };
  // A few steps of all rows at a time: what is written fits into the first-level cache.
  constexpr int64_t kSteps = 4;
  const int64_t steps = plan_.depth / AmxTiles::kWords, whole = steps / kSteps * kSteps;
  b_.forLoop(rows.first, rows.last, 1, [&](Value rowTile) {
    Value firstRow = rowTiles_.firstRow(rowTile), height = rowTiles_.rowCount(rowTile), tile = b_.sub(rowTile, rows.first);
    Value given = normedRows(firstRow, b_.add(firstRow, height), publish);
    b_.forLoop(b_.index(0), b_.index(plan_.amx.rows), 1, [&](Value number) {
      Value first = b_.mul(number, registerRows_), count = b_.min(b_.sub(height, first), registerRows_), packed = registerAt(tile, number);
      auto eachRow = [&](Value step, int64_t together) {
        b_.forLoop(b_.index(0), count, 1, [&](Value row) {
          Value from = b_.address(given, b_.mul(b_.add(first, row), context_.inputStride()), element);
          Value to = b_.address(packed, b_.mul(row, AmxTiles::kWords), b_.f32());
          for (int64_t i = 0; i < together; ++i)
            pack(from, to, b_.add(step, i));
        });
      };
      b_.forLoop(b_.index(0), b_.index(whole), kSteps, [&](Value step) { eachRow(step, kSteps); });
      if (whole < steps)
        eachRow(b_.index(whole), steps - whole);
    });
  });
}

// Every product computes what is pending, be it of the same column tile or not, and leaves its own sums pending if they are the last of their K and of a gated pair.
void TileRegisterBlocks::columnTiles(const LinearSegment &segment, const RowBlock &rows, Value begin, Value end, int64_t panels) {
  LinearEpilogue epilogue = epilogueOf(segment);
  const int64_t width = panels * AmxTiles::kWords;
  Value zero = b_.index(0);
  KernelBuilder::Values rest = b_.forLoop(begin, end, plan_.chunk, KernelBuilder::Values(4, zero), [&](Value chunkBegin, ValueRange pending) {
    Value chunkEnd = b_.min(b_.add(chunkBegin, plan_.chunk), end);
    return b_.forLoop(zero, b_.index(plan_.depth), plan_.kBlock, pending, [&](Value k0, ValueRange pending) {
      return b_.forLoop(chunkBegin, chunkEnd, 1, pending, [&](Value tile, ValueRange before) {
        TileBlock block = followed(chunkBegin, chunkEnd, tile, k0, panels);
        KernelBuilder::Values pending(before.begin(), before.end());
        for (size_t weight = 0; weight < segment.linears.size(); ++weight)
          pending = b_.forLoop(rows.first, rows.last, 1, pending, [&](Value rowTile, ValueRange before) {
            Pending pending(before);
            Value rowsBefore = keepsSums(segment) ? b_.mul(b_.sub(rowTile, rows.first), plan_.tileRows) : zero;
            Value place = b_.add(placeOf(block, chunkBegin), b_.mul(rowsBefore, width));
            product(segment.linears[weight], rows, rowTile, block, b_.address(sums(), b_.add(place, int64_t(weight) * productStride()), b_.f32()), [&](Value step, Value steps) {
              Value share = b_.floorDiv(b_.add(pending.rows, b_.add(steps, -1)), steps), first = b_.min(b_.mul(step, share), pending.rows);
              finish(epilogue, pending, first, b_.min(b_.sub(pending.rows, first), share), width);
            });
            bool last = weight + 1 == segment.linears.size();
            return KernelBuilder::Values{last ? b_.select(endsAtDepth(k0), rowTiles_.rowCount(rowTile), zero) : zero, rowTiles_.firstRow(rowTile), firstColumn(block), place};
          });
        return pending;
      });
    });
  });
  b_.outline([&] { finish(epilogue, Pending(rest), zero, rest[0], width); });
}

/// The epilogue of rows [first, first + count) of what is pending.
void TileRegisterBlocks::finish(LinearEpilogue &epilogue, const Pending &pending, Value first, Value count, int64_t width) {
  Value tile = b_.address(sums(), b_.add(pending.place, b_.mul(first, width)), b_.f32());
  epilogue.emitTile(b_.add(pending.firstRow, first), count, pending.column, width, tile, productStride());
}

/// A row tile's sums, from and to the address `own`. They are stored behind the last step: until then `beside`, which is called in each step, may read there what is pending.
void TileRegisterBlocks::product(Projection linear, const RowBlock &rows, Value rowTile, const TileBlock &block, Value own,
                                 llvm::function_ref<void(Value step, Value steps)> beside) {
  AmxTiles::Shape shape{plan_.amx.rows, block.panels};
  Value depth = blockDepth(block.k0), steps = b_.floorDiv(depth, AmxTiles::kWords);
  llvm::SmallVector<Value> lefts, panels;
  for (int64_t number = 0; number < shape.rows; ++number)
    lefts.push_back(b_.address(registerAt(b_.sub(rowTile, rows.first), b_.index(number)), b_.mul(block.k0, registerRows_), b_.f32()));
  for (int64_t i = 0; i < shape.panels; ++i)
    panels.push_back(panelBlock(linear, block.tile, i, block.k0));
  // Up to 16 rows read each panel once: it is a stream that prefetches its own next step. Others prefetch the next block.
  const bool once = shape.rows == 1;
  std::function<void(Value)> prefetch = prefetches(linear, rows, rowTile, block, steps);
  auto zero = [&] { tiles_.zeroSums(shape); };
  if (plan_.kBlocks == 1)
    zero();
  else
    b_.ifThen(b_.equal(block.k0, b_.index(0)), zero, [&] { tiles_.loadSums(shape, own, shape.panels * AmxTiles::kWords); });
  constexpr int64_t kStepWords = AmxTiles::kWords * AmxTiles::kWords; // of a panel
  b_.forLoop(b_.index(0), steps, 1, [&](Value step) {
    if (!once)
      prefetch(step);
    auto ahead = [&](int64_t panel) {
      if (!once)
        return;
      for (int64_t word = 0; word < kStepWords; word += AmxTiles::kWords)
        b_.prefetch(panels[size_t(panel)], b_.add(b_.mul(step, kStepWords), kStepWords + word), b_.f32(), /*locality=*/3);
    };
    auto at = [&](ArrayRef<Value> starts, Value stepWords) {
      llvm::SmallVector<Value> addresses;
      for (Value start : starts)
        addresses.push_back(b_.address(start, b_.mul(step, stepWords), b_.f32()));
      return addresses;
    };
    tiles_.multiplyAdd(shape, at(lefts, b_.mul(registerRows_, AmxTiles::kWords)), b_.index(AmxTiles::kWords), at(panels, b_.index(kStepWords)),
                       fitsFirstCache(block.panels), /*streamsPanels=*/false, ahead);
    beside(step, steps);
  });
  tiles_.storeSums(shape, own, shape.panels * AmxTiles::kWords);
}

/// Row tiles prefetch the block that comes next, a line of each panel for each word, evenly over their steps.
std::function<void(Value)> TileRegisterBlocks::prefetches(Projection linear, const RowBlock &rows, Value rowTile, const TileBlock &block, Value steps) {
  Value tiles = b_.sub(rows.last, rows.first), share = b_.floorDiv(b_.add(tiles, AmxTiles::kWords - 1), tiles);
  Value begin = b_.mul(b_.mul(b_.sub(rowTile, rows.first), share), steps), end = b_.mul(steps, AmxTiles::kWords);
  llvm::SmallVector<Value> panels;
  for (int64_t i = 0; i < block.panels; ++i)
    panels.push_back(panelBlock(linear, block.nextTile, i, block.nextK0));
  return [=, this](Value step) {
    Value first = b_.add(begin, b_.mul(step, share));
    b_.forLoop(first, b_.min(b_.add(first, share), end), 1, [&](Value word) {
      for (Value panel : panels)
        b_.prefetch(panel, b_.mul(word, AmxTiles::kWords), b_.f32(), /*locality=*/2);
    });
  };
}

} // namespace

void cpu::emitTileRegisterBlocks(KernelBuilder &b, const LinearContext &context, const BlockPlan &plan) { TileRegisterBlocks(b, context, plan).emit(); }
