//===- LinearBlocksAmx.cpp - row tiles in tile registers ------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Intel AMX. What follows a product - the epilogue of a row tile - is computed in vectors beside the products of the next one: tile registers leave vectors' units
// idle, and sums are at hand only some time behind their store. Codes are unpacked to words for a block of K of a column tile (AmxCodes.h).
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/AmxTerms.h"
#include "codegen/CPU/Bf16Terms.h"
#include "codegen/CPU/LinearBlocks.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

class TileRegisterBlocks : public BlockWriter {
public:
  TileRegisterBlocks(KernelBuilder &b, const LinearContext &context, const BlockPlan &plan)
      : BlockWriter(b, context, plan),
        tiles_(b, context.target, context.inPairs() ? PanelFormat::BF16Dot : PanelFormat::ByteDot, inScratch(plan.otherElements(context.problem.mostWeights()) - plan.amxWords)),
        splitter_(b, context.problem.segments.front().linears.front().weightType().getElementType(), plan.weightTerms, widened(), plan.tilePanels, plan.widenedPanel()) {
    if (plan.unpacksSteps)
      codeSteps_.emplace(b, *context.codes, tileOperands(b, context, context.problem.segments.front().linears.front()), plan.lanes, widened(), plan.tilePanels);
  }
  void emit();

private:
  /// Sums that lie in memory and wait for what follows them: `rows` of them (0: none) from firstRow and column on, at element `place` of scratch memory.
  struct Pending {
    Value rows, firstRow, column, place;
    explicit Pending(ValueRange values) : rows(values[0]), firstRow(values[1]), column(values[2]), place(values[3]) {}
    KernelBuilder::Values values() const { return {rows, firstRow, column, place}; }
  };
  /// Weights that are split into terms, or unpacked, ahead: panels of this block and of the next one.
  struct Splitting {
    PanelSplitter::Share share;
    KernelBuilder::Values own, next;
  };
  int64_t groupRows() const override;
  void prepareRows(const RowBlock &rows, Value publish) override;
  void columnTiles(const LinearSegment &segment, const RowBlock &rows, Value begin, Value end, int64_t panels) override;
  void finish(LinearEpilogue &epilogue, const Pending &pending, Value first, Value count, int64_t width);
  std::function<void(Value step)> beside(LinearEpilogue &epilogue, const Pending &pending, const Pending &own, const TileBlock &block);
  void product(Projection linear, const RowBlock &rows, Value rowTile, const TileBlock &block, Value own, const std::function<void(Value step)> &beside,
               const std::optional<Splitting> &splitting);
  void codeProduct(Projection linear, const RowBlock &rows, Value rowTile, const TileBlock &block, Value own, const std::function<void(Value step)> &beside,
                   const std::optional<Splitting> &splitting);
  /// Steps of 16 words of a block of K.
  Value stepsOf(const TileBlock &block) { return b_.floorDiv(blockDepth(block.k0), AmxTiles::kWords); }
  Splitting splitting(const LinearSegment &segment, size_t weight, const RowBlock &rows, Value rowTile, const TileBlock &block, Value number, Value end);
  /// Blocks of weights in the order in which they are multiplied, from the part's first column tile on.
  Value numberOf(const TileBlock &block, Value chunkBegin, Value chunkEnd, Value begin, const LinearSegment &segment, size_t weight) {
    Value before = b_.mul(b_.sub(chunkBegin, begin), plan_.kBlocks), blocks = b_.mul(b_.floorDiv(block.k0, plan_.kBlock), b_.sub(chunkEnd, chunkBegin));
    Value tiles = b_.add(b_.add(before, blocks), b_.sub(block.tile, chunkBegin));
    return b_.add(b_.mul(tiles, int64_t(segment.linears.size())), int64_t(weight));
  }
  KernelBuilder::Values leftsOf(const RowBlock &rows, Value rowTile, Value k0);
  KernelBuilder::Values inStep(ValueRange starts, Value step, Value stepWords);
  std::function<void(int64_t panel, Value step)> prefetches(Projection linear, const RowBlock &rows, Value rowTile, const TileBlock &block);
  /// The column tile's block of K, read again by each row tile.
  bool fitsFirstCache(int64_t panels) const { return panels * plan_.kBlock * plan_.weightTerms * AmxTiles::kWords * 4 <= context_.target.l1Bytes; }
  /// A register's rows: those of row tile `tile` of the block.
  Value registerAt(Value tile, Value number) {
    return b_.address(words(), b_.mul(b_.add(b_.mul(tile, plan_.amx.rows), number), AmxTiles::kRows * plan_.depth * plan_.rowTerms), b_.f32());
  }

  AmxTiles tiles_;
  PanelSplitter splitter_;
  std::optional<CodeSteps> codeSteps_;
  Value registerRows_; ///< of a tile register
};

constexpr int64_t kStepWords = AmxTiles::kWords * AmxTiles::kWords; ///< of a panel

// One configuration for all row tiles. Those that are smaller than the highest one compute up to two rows more than they have, which nobody reads.
void TileRegisterBlocks::emit() {
  Value rows = b_.dim(context_.problem.rows), registers = b_.mul(rowTiles_.tiles, plan_.amx.rows);
  registerRows_ = b_.max(b_.floorDiv(b_.add(rows, b_.add(registers, -1)), registers), b_.index(1));
  tiles_.configure(registerRows_);
  run();
  tiles_.release();
}

/// Products of 256 rows take the time that weights take to come from memory; codes are better unpacked, and f32 split, by one thread than by all.
int64_t TileRegisterBlocks::groupRows() const {
  return context_.codes || plan_.weightTerms > 1 || (!context_.target.sharedCacheIsFast && weightBytes() > context_.target.l2Bytes) ? 256 : 48;
}

// Rows in words to [register][step of 16 words][row of the register][16 words]: one stream for a register instead of one for each row, of which prefetchers lose track.
// A row tile at a time, so that normed rows need not leave the second-level cache.
void TileRegisterBlocks::prepareRows(const RowBlock &rows, Value publish) {
  Bf16Words rounding(b_, context_.target.bf16Dot);
  VectorType words = b_.vec(AmxTiles::kWords, b_.i32()), floats = b_.vec(AmxTiles::kWords, b_.f32());
  Type element = context_.inputElement(b_);
  bool rounds = context_.bf16Products && !context_.roundedInput;
  const int64_t stepElements = context_.inputStride() * AmxTiles::kWords / plan_.depth, lineElements = 512 / element.getIntOrFloatBitWidth();
  Value termWords = b_.mul(registerRows_, AmxTiles::kWords), stepWords = b_.mul(termWords, plan_.rowTerms), registerElements = b_.mul(registerRows_, context_.inputStride());
  auto pack = [&](Value from, Value to, Value step) {
    Value source = b_.mul(step, stepElements), target = b_.address(to, b_.mul(step, stepWords), b_.f32());
    if (!context_.norm) // the same of the next register
      for (int64_t line = 0; line < stepElements; line += lineElements)
        b_.prefetch(from, b_.add(b_.add(source, registerElements), line), element, /*locality=*/2);
    auto paired = [&](Value halves) { return context_.codes ? pairedHalves(b_, halves) : halves; };
    if (context_.terms)
      return storeTerms(b_, b_.address(from, source, b_.f32()), AmxTiles::kWords, context_.terms, target, termWords, paired);
    if (!rounds) {
      Type type = context_.codes ? b_.vec(2 * AmxTiles::kWords, b_.ops().getIntegerType(16)) : words;
      return b_.store(paired(b_.load(type, b_.address(from, source, element), b_.index(0), 1)), target, b_.index(0));
    }
    for (int64_t half = 0; half < 2; ++half)
      b_.store(paired(rounding.round(b_.load(floats, from, b_.add(source, half * AmxTiles::kWords)))), target, b_.index(half * AmxTiles::kWords));
  };
  b_.forLoop(rows.first, rows.last, 1, [&](Value rowTile) {
    Value firstRow = rowTiles_.firstRow(rowTile), height = rowTiles_.rowCount(rowTile), tile = b_.sub(rowTile, rows.first);
    Value given = normedRows(firstRow, b_.add(firstRow, height), publish);
    b_.forLoop(b_.index(0), b_.index(plan_.amx.rows), 1, [&](Value number) {
      Value first = b_.mul(number, registerRows_), count = b_.min(b_.sub(height, first), registerRows_), packed = registerAt(tile, number);
      AmxTiles::eachPackedRow(b_, plan_.depth / AmxTiles::kWords, count, [&](Value step, int64_t together, Value row) {
        Value from = b_.address(given, b_.mul(b_.add(first, row), context_.inputStride()), element);
        Value to = b_.address(packed, b_.mul(row, AmxTiles::kWords), b_.f32());
        for (int64_t i = 0; i < together; ++i)
          pack(from, to, b_.add(step, i));
      });
    });
  });
}

// Every product computes what is pending, be it of the same column tile or not, and leaves its own sums pending if they are the last of their K and of a gated pair.
void TileRegisterBlocks::columnTiles(const LinearSegment &segment, const RowBlock &rows, Value begin, Value end, int64_t panels) {
  LinearEpilogue epilogue = epilogueOf(segment);
  const int64_t width = panels * AmxTiles::kWords;
  const bool ahead = plan_.weightTerms > 1 || codeSteps_;
  Value zero = b_.index(0);
  if (ahead)
    b_.ifThen(b_.less(begin, end), [&] {
      KernelBuilder::Values first;
      for (int64_t i = 0; i < panels; ++i)
        first.push_back(panelBlock(segment.linears.front(), begin, i, zero));
      if (codeSteps_)
        codeSteps_->begin(first, zero);
      else
        splitter_.split(first, zero, zero, plan_.splitsSteps ? b_.index(AmxTiles::kWords) : blockDepth(zero));
    });
  KernelBuilder::Values rest = b_.forLoop(begin, end, plan_.chunk, KernelBuilder::Values(4, zero), [&](Value chunkBegin, ValueRange pending) {
    Value chunkEnd = b_.min(b_.add(chunkBegin, plan_.chunk), end);
    return b_.forLoop(zero, b_.index(plan_.depth), plan_.kBlock, pending, [&](Value k0, ValueRange pending) {
      return b_.forLoop(chunkBegin, chunkEnd, 1, pending, [&](Value tile, ValueRange before) {
        TileBlock block = followed(chunkBegin, chunkEnd, tile, k0, panels);
        KernelBuilder::Values pending(before.begin(), before.end());
        for (size_t weight = 0; weight < segment.linears.size(); ++weight) {
          Projection linear = segment.linears[weight];
          Value splitNumber = ahead ? numberOf(block, chunkBegin, chunkEnd, begin, segment, weight) : Value();
          bool last = weight + 1 == segment.linears.size();
          if (context_.codes && !codeSteps_)
            unpackCodes(linear, block, /*prefetchesNext=*/plan_.blockTiles == 1);
          pending = b_.forLoop(rows.first, rows.last, 1, pending, [&](Value rowTile, ValueRange before) {
            Value rowsBefore = keepsSums(segment) ? b_.mul(b_.sub(rowTile, rows.first), plan_.tileRows) : zero;
            Value place = b_.add(placeOf(block, chunkBegin), b_.mul(rowsBefore, width));
            Value complete = last ? b_.select(endsAtDepth(k0), rowTiles_.rowCount(rowTile), zero) : zero;
            Pending own({complete, rowTiles_.firstRow(rowTile), firstColumn(block), place});
            std::optional<Splitting> next;
            if (ahead)
              next = splitting(segment, weight, rows, rowTile, block, splitNumber, end);
            product(linear, rows, rowTile, block, b_.address(sums(), b_.add(place, int64_t(weight) * productStride()), b_.f32()), beside(epilogue, Pending(before), own, block), next);
            return own.values();
          });
        }
        return pending;
      });
    });
  });
  b_.outline([&] { finish(epilogue, Pending(rest), zero, rest[0], width); });
}

/// What is done in each step of a product, some of it: the epilogue of what is pending. With codes, whose sums wait behind the stores of results, also prefetches of what the
/// epilogue of the product's own sums will read and write.
std::function<void(Value)> TileRegisterBlocks::beside(LinearEpilogue &epilogue, const Pending &pending, const Pending &own, const TileBlock &block) {
  const TileShape row{1, block.panels, plan_.lanes};
  Value steps = stepsOf(block);
  auto some = [=, this](Value all) {
    Value share = b_.floorDiv(b_.add(all, b_.add(steps, -1)), steps);
    return [=, this](Value step) {
      Value first = b_.min(b_.mul(step, share), all);
      return std::pair(first, b_.min(b_.add(first, share), all));
    };
  };
  auto rows = some(pending.rows), lines = some(b_.mul(own.rows, LinearEpilogue::prefetchSteps(row)));
  return [=, this, &epilogue](Value step) {
    auto [firstRow, endRow] = rows(step);
    finish(epilogue, pending, firstRow, b_.sub(endRow, firstRow), row.columns());
    auto [firstLine, endLine] = lines(step);
    if (context_.codes)
      b_.forLoop(firstLine, endLine, 1, [&](Value line) { epilogue.prefetchStep(own.firstRow, own.column, row, line); });
  };
}

/// The epilogue of rows [first, first + count) of what is pending.
void TileRegisterBlocks::finish(LinearEpilogue &epilogue, const Pending &pending, Value first, Value count, int64_t width) {
  Value tile = b_.address(sums(), b_.add(pending.place, b_.mul(first, width)), b_.f32());
  epilogue.emitTile(b_.add(pending.firstRow, first), count, pending.column, width, tile, productStride());
}

/// A row tile's sums, from and to the address `own`. They are stored behind the last step: until then `beside`, which is called in each step, may read there what is pending.
void TileRegisterBlocks::product(Projection linear, const RowBlock &rows, Value rowTile, const TileBlock &block, Value own,
                                 const std::function<void(Value step)> &beside, const std::optional<Splitting> &splitting) {
  if (context_.codes)
    return codeProduct(linear, rows, rowTile, block, own, beside, splitting);
  AmxTiles::Shape shape{plan_.amx.rows, block.panels};
  Value steps = stepsOf(block);
  KernelBuilder::Values lefts = leftsOf(rows, rowTile, block.k0), panels;
  for (int64_t i = 0; i < shape.panels; ++i)
    panels.push_back(splitting ? splitter_.place(i, splitting->share.number) : panelBlock(linear, block.tile, i, block.k0));
  // Up to 16 rows read each panel once: it is a stream that prefetches its own next step. Others prefetch the next block.
  const bool once = shape.rows == 1;
  auto prefetch = prefetches(linear, rows, rowTile, block);
  auto zero = [&] { tiles_.zeroSums(shape); };
  if (plan_.kBlocks == 1)
    zero();
  else
    b_.ifThen(b_.equal(block.k0, b_.index(0)), zero, [&] { tiles_.loadSums(shape, own, shape.panels * AmxTiles::kWords); });
  b_.forLoop(b_.index(0), steps, 1, [&](Value step) {
    auto ahead = [&](int64_t panel) { // not for split panels, which are prefetched where they are split
      if (panel >= shape.panels)
        return;
      if (!once)
        return prefetch(panel, step);
      for (int64_t word = 0; word < kStepWords; word += AmxTiles::kWords)
        b_.prefetch(panels[size_t(panel)], b_.add(b_.mul(step, kStepWords), kStepWords + word), b_.f32(), /*locality=*/3);
    };
    Value leftWords = b_.mul(registerRows_, AmxTiles::kWords * plan_.rowTerms);
    KernelBuilder::Values stepLefts = inStep(lefts, step, leftWords), stepPanels = inStep(panels, step, b_.index(kStepWords * plan_.weightTerms));
    if (splitting) {
      int64_t places = int64_t(termProducts(plan_.rowTerms, plan_.weightTerms).size()) * shape.panels;
      PanelSplitter::Beside split;
      if (plan_.splitsSteps) {
        Value number = b_.add(b_.mul(splitting->share.number, steps), step);
        for (int64_t i = 0; i < shape.panels; ++i)
          stepPanels[size_t(i)] = splitter_.place(i, number);
        split = splitter_.stepBehind(splitting->own, splitting->next, number, step, b_.equal(b_.add(step, 1), steps), places);
      } else {
        split = splitter_.shareOf(splitting->next, splitting->share, step, places);
      }
      tiles_.multiplyAddTerms(shape, stepLefts, plan_.rowTerms, stepPanels, plan_.weightTerms, plan_.splitsSteps || fitsFirstCache(block.panels), split);
    } else if (context_.terms) {
      tiles_.multiplyAddTerms(shape, stepLefts, plan_.rowTerms, stepPanels, plan_.weightTerms, fitsFirstCache(block.panels), ahead);
    } else {
      tiles_.multiplyAdd(shape, stepLefts, b_.index(AmxTiles::kWords), stepPanels, fitsFirstCache(block.panels), /*streamsPanels=*/false, ahead);
    }
    beside(step);
  });
  tiles_.storeSums(shape, own, shape.panels * AmxTiles::kWords);
}

/// The same with unpacked codes. Sums of the row tile are those at `own` after each span: what is pending must lie elsewhere.
void TileRegisterBlocks::codeProduct(Projection linear, const RowBlock &rows, Value rowTile, const TileBlock &block, Value own,
                                     const std::function<void(Value step)> &beside, const std::optional<Splitting> &splitting) {
  Value zero = b_.index(0), spanSums = inScratch(plan_.otherElements(context_.problem.mostWeights()) - plan_.spanSumElements(context_));
  if (plan_.blockTiles > 1)
    prefetchCodes(rows, rowTile, linear, block);
  b_.ifThen(b_.equal(block.k0, zero), [&] {
    b_.forLoop(zero, b_.index(plan_.tileElements()), plan_.lanes, [&](Value i) { b_.store(b_.constant(b_.vec(plan_.lanes, b_.f32()), 0), own, i); });
  });
  CodeTileProduct in{{plan_.amx.rows, block.panels}, registerRows_, leftsOf(rows, rowTile, block.k0), {}, b_.floorDiv(blockDepth(block.k0), plan_.span), spanSums, own};
  if (codeSteps_) {
    in.steps = &*codeSteps_;
    in.panels = splitting->own, in.next = splitting->next;
    in.firstStep = b_.mul(splitting->share.number, stepsOf(block));
  }
  for (int64_t i = 0; !codeSteps_ && i < block.panels; ++i)
    in.panels.push_back(widenedPanel(i));
  emitCodeTileProduct(b_, tiles_, *context_.codes, plan_.lanes, in, beside);
}

/// What is split beside the products of a row tile: its part of the block that comes next, or, with up to 16 rows, whose panels are read once, each next step. Behind the last block there
/// is none: it is split again.
TileRegisterBlocks::Splitting TileRegisterBlocks::splitting(const LinearSegment &segment, size_t weight, const RowBlock &rows, Value rowTile, const TileBlock &block, Value number, Value end) {
  bool same = weight + 1 < segment.linears.size();
  Value tile = same ? block.tile : b_.min(block.nextTile, b_.add(end, -1)), k0 = same ? block.k0 : block.nextK0;
  Splitting result{{number, b_.sub(rowTile, rows.first), b_.sub(rows.last, rows.first), blockDepth(k0), stepsOf(block)}, {}, {}};
  for (int64_t i = 0; i < block.panels; ++i) {
    result.own.push_back(panelBlock(segment.linears[weight], block.tile, i, block.k0));
    result.next.push_back(panelBlock(segment.linears[same ? weight + 1 : 0], tile, i, k0));
  }
  return result;
}

/// Where the row tile's registers of rows begin.
KernelBuilder::Values TileRegisterBlocks::leftsOf(const RowBlock &rows, Value rowTile, Value k0) {
  KernelBuilder::Values lefts;
  for (int64_t number = 0; number < plan_.amx.rows; ++number)
    lefts.push_back(b_.address(registerAt(b_.sub(rowTile, rows.first), b_.index(number)), b_.mul(b_.mul(k0, plan_.rowTerms), registerRows_), b_.f32()));
  return lefts;
}

KernelBuilder::Values TileRegisterBlocks::inStep(ValueRange starts, Value step, Value stepWords) {
  KernelBuilder::Values addresses;
  for (Value start : starts)
    addresses.push_back(b_.address(start, b_.mul(step, stepWords), b_.f32()));
  return addresses;
}

/// Row tiles prefetch the block that comes next, evenly over their steps, a line of every stream at a time. Streams are long parts of panels: memory gives eight faster than two.
std::function<void(int64_t panel, Value step)> TileRegisterBlocks::prefetches(Projection linear, const RowBlock &rows, Value rowTile, const TileBlock &block) {
  constexpr int64_t kMostStreams = 4, kLeastLines = 256;
  const int64_t streams = std::clamp<int64_t>(plan_.kBlock / kLeastLines, 1, kMostStreams), lines = plan_.kBlock / streams; // of a panel, of a stream
  Value tiles = b_.sub(rows.last, rows.first), ofTile = b_.floorDiv(b_.add(tiles, lines - 1), tiles), begin = b_.mul(b_.sub(rowTile, rows.first), ofTile);
  llvm::SmallVector<Value> panels;
  for (int64_t i = 0; i < block.panels; ++i)
    panels.push_back(panelBlock(linear, block.nextTile, i, block.nextK0));
  return [=, this](int64_t panel, Value step) {
    auto before = [&](Value step) { return b_.add(begin, b_.floorDiv(b_.mul(step, ofTile), plan_.kBlock / AmxTiles::kWords)); };
    b_.forLoop(before(step), b_.min(before(b_.add(step, 1)), b_.index(lines)), 1, [&](Value line) {
      for (int64_t stream = 0; stream < streams; ++stream)
        b_.prefetch(panels[size_t(panel)], b_.mul(b_.add(line, stream * lines), AmxTiles::kWords), b_.f32(), /*locality=*/2);
    });
  };
}

} // namespace

void cpu::emitTileRegisterBlocks(KernelBuilder &b, const LinearContext &context, const BlockPlan &plan) { TileRegisterBlocks(b, context, plan).emit(); }
