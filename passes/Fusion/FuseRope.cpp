//===- FuseRope.cpp - rotary positions --------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %a = cast(%positions) * %frequencies;  %c = repeat(llm.cos %a);  %s = repeat(llm.sin %a)
//   %y = %x * %c + turned(%x) * %s                         ==>   %y = llm.rope %x, %positions, %frequencies
//
// %x is [batch, heads, tokens, size] or [batch, tokens, heads, size]; llm.rope takes the tokens of all rows in one dimension. What may
// stand between is in Rotation.h; tables may also be stored (WaveTables.h). Where only the first features are rotated and the rest is joined to them, that is one llm.rope as well.
//
//===----------------------------------------------------------------------===//
#include "passes/Fusion/Rotation.h"

#include "llmopt/passes/Match.h"
#include "llmopt/passes/Ragged.h"

#include "llmopt/lib/Analysis/ShapeAnalysis.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

namespace {

/// The features behind the rotated ones, and the value that both are parts of.
struct Partial {
  Value rotated, whole;

  static std::optional<Partial> match(Value value) {
    auto join = value.getDefiningOp<llm::ConcatOp>();
    if (!join || join.getInputs().size() != 2 || int64_t(join.getAxis()) != typeOf(join).getRank() - 1)
      return std::nullopt;
    auto rest = LastAxisSlice::match(join.getInputs()[1]);
    int64_t rotated = typeOf(join.getInputs()[0]).getShape().back();
    if (!rest || rest->step != 1 || rest->begin != rotated || rest->end != typeOf(rest->input).getShape().back())
      return std::nullopt;
    return Partial{join.getInputs()[0], rest->input};
  }
};

struct Tables {
  WaveTable cosine, sine;
};

template <typename RootOp>
struct Fuse : OpRewritePattern<RootOp> {
  using OpRewritePattern<RootOp>::OpRewritePattern;

  LogicalResult matchAndRewrite(RootOp root, PatternRewriter &rewriter) const override {
    SymContext symbols;
    ShapeAnalysis shapes(symbols);
    auto partial = Partial::match(root->getResult(0));
    auto rotation = Rotation::match(partial ? partial->rotated : root->getResult(0), shapes);
    if (!rotation)
      return rewriter.notifyMatchFailure(root, "not a rotation of features");
    if (partial) {
      auto part = LastAxisSlice::match(rotation->input);
      if (!part || part->input != partial->whole || part->begin != 0 || part->step != 1)
        return missed(rewriter, partial->whole, Miss::OtherOperand, "what is joined to the rotated features is not the rest of them", "join the features behind them");
      rotation->input = partial->whole;
      rotation->inside.push_back(partial->rotated);
    } else if (isFirstPart(root, *rotation)) {
      return rewriter.notifyMatchFailure(root, "the rotated part of features that are joined");
    }
    for (Value inner : rotation->inside)
      if (!inner.hasOneUse())
        return missed(rewriter, inner, Miss::MultiUse, "a part of the rotation is read elsewhere as well", "use it once");
    auto type = typeOf(rotation->input);
    if (type.getRank() != 4 || type != root.getType())
      return missed(rewriter, rotation->input, Miss::ShapeMismatch, "the features are not [batch, heads, tokens, size] or [batch, tokens, heads, size]",
                    "give queries and keys four dimensions");
    if (!type.getElementType().isF32())
      return missed(rewriter, rotation->input, Miss::TypeMismatch, "the rotation is not computed in f32", "export the model in f32 or f16");
    auto tables = Tables{};
    for (auto [into, value] : {std::pair(&tables.cosine, rotation->cosine), {&tables.sine, rotation->sine}}) {
      auto table = WaveTable::match(value, shapes);
      if (!table)
        return missed(rewriter, value, Miss::OtherOp, "the table is not cos or sin of positions times frequencies",
                      "compute it from integer positions and constant frequencies, in f32, or store what that gives");
      *into = *table;
    }
    const WaveTable &waves = tables.cosine;
    if (waves.isSine || !tables.sine.isSine || !waves.agreesWith(tables.sine))
      return missed(rewriter, rotation->sine, Miss::OtherOperand, "the two tables are not cos and sin of the same angles, scaled alike", "use one table of angles for both");
    if (waves.repeats != rotation->tables)
      return missed(rewriter, rotation->cosine, Miss::OtherOperand, "the table repeats angles in another order than the features are paired", "repeat angles as features are paired");
    auto headsAxis = headsAxisOf(*rotation, shapes);
    auto rows = shapes.shapeOf(rotation->cosine).dims;
    if (!headsAxis || !(product(ArrayRef(rows).drop_back(), shapes) == product(shapes.shapeOf(waves.positions).dims, shapes)))
      return missed(rewriter, rotation->cosine, Miss::ShapeUnknown, "the table's dimensions are not proven to be batch and tokens of the features, one position for each",
                    "name equal dimensions alike, or fix them with --dim");
    build(root, rewriter, *rotation, waves, *headsAxis, shapes);
    return success();
  }

private:
  /// The whole of which this is a part will be one rope.
  static bool isFirstPart(RootOp root, const Rotation &rotation) {
    auto part = LastAxisSlice::match(rotation.input);
    if (!part || !root->hasOneUse())
      return false;
    auto partial = Partial::match((*root->getUsers().begin())->getResult(0));
    return partial && partial->rotated == root->getResult(0) && partial->whole == part->input;
  }

  /// Which of dimensions 1 and 2 are heads: the tables have 1 there, and the sizes of the features elsewhere (or 1 for the batch).
  static std::optional<int64_t> headsAxisOf(const Rotation &rotation, ShapeAnalysis &shapes) {
    auto features = shapes.shapeOf(rotation.input).dims;
    auto aligned = [&](Value table) {
      auto dims = shapes.shapeOf(table).dims;
      dims.insert(dims.begin(), dims.size() < 4 ? 4 - dims.size() : 0, shapes.symbols().constant(1));
      return dims;
    };
    auto cosine = aligned(rotation.cosine), sine = aligned(rotation.sine);
    for (size_t heads : {1, 2}) {
      size_t tokens = 3 - heads;
      bool fits = features[heads].constant().has_value() && features[3].constant().has_value();
      for (const auto &table : {cosine, sine})
        fits &= table.size() == 4 && table[heads].isConstant(1) && table[tokens] == features[tokens] && (table[0] == features[0] || table[0].isConstant(1));
      if (fits && cosine[0] == sine[0])
        return int64_t(heads);
    }
    return std::nullopt;
  }

  static void build(RootOp root, PatternRewriter &rewriter, const Rotation &rotation, const WaveTable &waves, int64_t headsAxis, ShapeAnalysis &shapes) {
    Location loc = root.getLoc();
    auto numbers = [&](ArrayRef<int64_t> values) -> Value {
      return llm::ConstantOp::create(rewriter, loc, DenseElementsAttr::get(RankedTensorType::get({int64_t(values.size())}, rewriter.getI64Type()), values));
    };
    auto create = [&](StringRef name, ValueRange operands, ArrayRef<NamedAttribute> attributes = {}) -> Value {
      return createInferred(rewriter, loc, shapes, name, operands, attributes)->getResult(0);
    };
    auto swap = rewriter.getNamedAttr("permutation", rewriter.getDenseI64ArrayAttr({0, 2, 1, 3}));
    Value tokens = headsAxis == 2 ? rotation.input : create("llm.transpose", {rotation.input}, swap);
    auto type = typeOf(tokens);
    Value flat = create("llm.reshape", {tokens, numbers({-1, type.getDimSize(2), type.getDimSize(3)})});

    Value positions = waves.rows ? rowsOf(waves, create, rewriter) : waves.positions, shape = create("llm.shape", {tokens});
    if (!(product(shapes.shapeOf(positions).dims, shapes) == shapes.shapeOf(flat).dims[0])) { // one row for the whole batch
      auto slice = [&](int64_t begin) {
        return create("llm.slice", {shape, numbers({begin}), numbers({begin + 1})},
                      {rewriter.getNamedAttr("axes", rewriter.getDenseI64ArrayAttr({0})), rewriter.getNamedAttr("steps", rewriter.getDenseI64ArrayAttr({1}))});
      };
      Value both = create("llm.concat", {slice(0), slice(1)}, rewriter.getNamedAttr("axis", rewriter.getI64IntegerAttr(0)));
      positions = create("llm.broadcast", {create("llm.reshape", {positions, numbers({1, -1})}), both});
    }
    if (typeOf(positions).getRank() != 1)
      positions = create("llm.reshape", {positions, numbers({-1})});
    Value frequencies = waves.foundFrequencies ? llm::ConstantOp::create(rewriter, loc, waves.foundFrequencies).getResult() : waves.frequencies;
    if (typeOf(frequencies).getRank() != 1)
      frequencies = create("llm.reshape", {frequencies, numbers({-1})});

    auto rope = llm::RopeOp::create(rewriter, loc, flat.getType(), flat, positions, frequencies, rotation.interleaved, llvm::APFloat(float(waves.scale)));
    if (waves.rows)
      rope->setAttr(kMaxPositionsAttr, rewriter.getI64IntegerAttr(waves.rows));
    if (headsAxis == 2) {
      rewriter.replaceOpWithNewOp<llm::ReshapeOp>(root, root.getType(), rope, shape, /*allowzero=*/true);
      return;
    }
    Value back = llm::ReshapeOp::create(rewriter, loc, type, rope, shape, /*allowzero=*/true);
    rewriter.replaceOpWithNewOp<llm::TransposeOp>(root, root.getType(), back, rewriter.getDenseI64ArrayAttr({0, 2, 1, 3}));
  }

  /// The rows of a table that a gather reads by these numbers: from the end where they are negative, the last one where they are too large.
  static Value rowsOf(const WaveTable &waves, llvm::function_ref<Value(StringRef, ValueRange, ArrayRef<NamedAttribute>)> create, PatternRewriter &rewriter) {
    Value rows = waves.positions;
    auto number = [&](int64_t value) -> Value {
      auto type = RankedTensorType::get({}, typeOf(rows).getElementType());
      return llm::ConstantOp::create(rewriter, rows.getLoc(), DenseElementsAttr::get(type, rewriter.getIntegerAttr(type.getElementType(), value)));
    };
    if (!isNotNegative(rows)) {
      auto less = rewriter.getNamedAttr("predicate", llm::ComparePredicateAttr::get(rewriter.getContext(), llm::ComparePredicate::lt));
      Value negative = create("llm.compare", {rows, number(0)}, less);
      rows = create("llm.max", {create("llm.select", {negative, create("llm.add", {rows, number(waves.rows)}, {}), rows}, {}), number(0)}, {});
    }
    return create("llm.min", {rows, number(waves.rows - 1)}, {});
  }

  /// Sizes, ranges, and what adds or picks of them.
  static bool isNotNegative(Value value, int depth = 0) {
    Operation *op = value.getDefiningOp();
    if (!op || depth > 12)
      return false;
    auto holds = [&](Value operand) { return isNotNegative(operand, depth + 1); };
    if (auto constant = dyn_cast<llm::ConstantOp>(op)) {
      auto elements = dyn_cast<DenseIntElementsAttr>(constant.getValue());
      return elements && llvm::all_of(elements.getValues<APInt>(), [](const APInt &number) { return number.isNonNegative(); });
    }
    if (auto cast = dyn_cast<llm::CastOp>(op))
      return typeOf(cast.getInput()).getElementType().isSignlessInteger() && typeOf(cast).getElementTypeBitWidth() >= 32 && holds(cast.getInput());
    if (auto range = dyn_cast<llm::RangeOp>(op))
      return holds(range.getStart()) && holds(range.getDelta());
    if (auto select = dyn_cast<llm::SelectOp>(op))
      return holds(select.getLhs()) && holds(select.getRhs());
    if (isa<llm::ReshapeOp, llm::ExpandDimsOp, llm::SqueezeOp, llm::FlattenOp, llm::BroadcastOp, llm::TileOp, llm::SliceOp, llm::GatherOp, llm::TransposeOp>(op))
      return holds(op->getOperand(0));
    if (isa<llm::MaxOp>(op))
      return llvm::any_of(op->getOperands(), holds);
    return isa<llm::ShapeOp>(op) || (isa<llm::AddOp, llm::MulOp, llm::ConcatOp>(op) && llvm::all_of(op->getOperands(), holds));
  }

  static SymExpr product(ArrayRef<SymExpr> dims, ShapeAnalysis &shapes) {
    SymExpr result = shapes.symbols().constant(1);
    for (SymExpr dim : dims)
      result = shapes.symbols().mul(result, dim);
    return result;
  }
};

} // namespace

namespace llmopt::fusion {
void addFuseRope(RewritePatternSet &patterns) { patterns.add<Fuse<llm::AddOp>, Fuse<llm::ConcatOp>, Fuse<llm::ReshapeOp>>(patterns.getContext()); }
} // namespace llmopt::fusion
