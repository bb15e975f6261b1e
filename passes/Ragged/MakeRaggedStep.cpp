//===- MakeRaggedStep.cpp - a padded decoder as ragged steps ----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   main(ids [batch, seq], mask [batch, past + seq], past key, past value) -> logits, key, value
//     %k = llm.concat %past_key, %new_key                ==>  step(token_ids [tokens], positions [tokens], logit_rows [rows])
//     %v = llm.concat %past_value, %new_value                   llm.cache_append %new_key, %new_value {state}
//     %y = llm.attention %q, %k, %v mask %m                      %y = llm.paged_attention %q {causal, state}
//
// A function `step` is added beside `main` when it is shown that, for one sequence without padding, the masks of all attentions mean
// "everything before and the token itself" (or a window of it), that positions count from the first token of the sequence, and
// that nothing else looks from one token at another. Then tokens of many sequences may stand in the place of one
// sequence's, and the step table says which belong together (docs/rationale/ragged-step.md).
//
//===----------------------------------------------------------------------===//
#include "ControlSamples.h"
#include "TokenAxis.h"

#include "llmopt/passes/Ragged.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Pass/Pass.h"
#include "llvm/ADT/STLExtras.h"

namespace llmopt {
#define GEN_PASS_DEF_MAKERAGGEDSTEPPASS
#include "llmopt/passes/Passes.h.inc"
} // namespace llmopt

using namespace mlir;
using namespace llmopt;
using namespace llmopt::ragged;

namespace {

RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

/// Additive masks write "not allowed" as a number this low or lower.
constexpr double kMasked = -1e4;

/// Arguments and results of `main`, as `llm.decoder` tells them: {ids, mask, positions (-1: none), logits, past = [[argument, result], ...]}.
struct Ports {
  unsigned ids = 0, logits = 0;
  std::optional<unsigned> mask, positions;
  SmallVector<std::pair<unsigned, unsigned>> past;

  static std::optional<Ports> read(func::FuncOp function) {
    auto attribute = function->getAttrOfType<DictionaryAttr>(kDecoderAttr);
    if (!attribute)
      return std::nullopt;
    auto number = [&](StringRef key) -> std::optional<unsigned> {
      auto value = attribute.getAs<IntegerAttr>(key);
      return value && value.getInt() >= 0 ? std::optional<unsigned>(unsigned(value.getInt())) : std::nullopt;
    };
    Ports ports;
    auto ids = number("ids"), logits = number("logits");
    auto past = attribute.getAs<ArrayAttr>("past");
    if (!ids || !logits || !past)
      return std::nullopt;
    ports.ids = *ids;
    ports.logits = *logits;
    ports.mask = number("mask");
    ports.positions = number("positions");
    for (Attribute pair : past) {
      auto indices = cast<DenseI64ArrayAttr>(pair).asArrayRef();
      ports.past.emplace_back(unsigned(indices[0]), unsigned(indices[1]));
    }
    return ports;
  }
};

class StepMaker {
public:
  StepMaker(func::FuncOp main, const Ports &ports, const WeightStore &weights)
      : main_(main), ports_(ports), builder_(main.getContext()), shapes_(symbols_),
        samples_(main.getContext(), shapes_, weights) {}
  ~StepMaker() {
    if (step_)
      step_.erase(); // not finished
  }

  /// False when something stands in the way; then `obstacle` says what, as long as this object lives.
  bool make() {
    draft();
    if (!replaceAttentions())
      return false;
    replacePositions();
    readSlicedTablesWhole();
    if (!checkTokens())
      return false;
    limitByTables();
    gatherRows();
    dropOldArguments();
    if (maxPositions_)
      step_->setAttr(kMaxPositionsAttr, builder_.getI64IntegerAttr(*maxPositions_));
    step_ = {};
    return true;
  }
  const Obstacle &obstacle() const { return obstacle_; }

private:
  bool refuse(Operation *op, std::string reason) {
    obstacle_ = {op, std::move(reason)};
    return false;
  }

  /// A copy of main for one sequence: batch 1, `tokens` new tokens; the old arguments follow the three of a step.
  void draft() {
    MLIRContext *context = builder_.getContext();
    auto vector = RankedTensorType::get({ShapedType::kDynamic}, builder_.getI32Type());
    SmallVector<Type> arguments{vector, vector, vector};
    for (BlockArgument argument : main_.getArguments())
      arguments.push_back(argument.getType());
    builder_.setInsertionPointAfter(main_);
    step_ = func::FuncOp::create(builder_, main_.getLoc(), "step", FunctionType::get(context, arguments, main_.getResultTypes()));
    Block *body = step_.addEntryBlock();
    for (auto [i, name, dim] : {std::tuple(0u, "token_ids", "tokens"), {1u, "positions", "tokens"}, {2u, "logit_rows", "rows"}}) {
      step_.setArgAttr(i, "llm.name", builder_.getStringAttr(name));
      step_.setArgAttr(i, llm::kDimsAttr, builder_.getArrayAttr({builder_.getStringAttr(dim)}));
    }
    builder_.setInsertionPointToStart(body);
    IRMapping mapping;
    for (BlockArgument argument : main_.getArguments())
      mapping.map(argument, body->getArgument(argument.getArgNumber() + 3));
    mapping.map(main_.getArgument(ports_.ids), asRow(body->getArgument(0), main_.getArgument(ports_.ids).getType()));
    if (ports_.positions)
      mapping.map(main_.getArgument(*ports_.positions), asRow(body->getArgument(1), main_.getArgument(*ports_.positions).getType()));
    for (Operation &op : main_.getBody().front())
      builder_.clone(op, mapping);
    setDims();
    shapes_.run(step_);
    if (ports_.mask)
      samples_.addInput(oldArgument(*ports_.mask), Control::PaddingMask);
    samples_.addInput(body->getArgument(1), Control::Positions);
  }

  BlockArgument oldArgument(unsigned index) { return step_.getArgument(index + 3); }
  Operation *terminator() { return step_.getBody().front().getTerminator(); }

  /// i32 [tokens] as `type` [1, tokens].
  Value asRow(Value vector, Type type) {
    Type element = cast<RankedTensorType>(type).getElementType();
    auto row = RankedTensorType::get({1, ShapedType::kDynamic}, builder_.getI32Type());
    Value expanded = llm::ExpandDimsOp::create(builder_, main_.getLoc(), row, vector, builder_.getDenseI64ArrayAttr({0}));
    return element == row.getElementType() ? expanded
                                           : llm::CastOp::create(builder_, main_.getLoc(), RankedTensorType::get(row.getShape(), element), expanded);
  }

  /// Dimensions of the old arguments in `past` and `tokens`; batch is 1.
  void setDims() {
    auto name = [&](StringRef text) -> Attribute { return builder_.getStringAttr(text); };
    Attribute one = builder_.getI64IntegerAttr(1);
    if (ports_.mask)
      step_.setArgAttr(*ports_.mask + 3, llm::kDimsAttr, builder_.getArrayAttr({one, name("past + tokens")}));
    for (auto [argument, result] : ports_.past) {
      auto type = typeOf(oldArgument(argument));
      step_.setArgAttr(argument + 3, llm::kDimsAttr,
                       builder_.getArrayAttr({one, builder_.getI64IntegerAttr(type.getDimSize(1)), name("past"), builder_.getI64IntegerAttr(type.getDimSize(3))}));
    }
  }

  /// The old cache and what is added to it, where `value` is the two joined along the tokens and what main returns as the new cache.
  struct Joined {
    unsigned pair = 0;
    Value added;
  };
  std::optional<Joined> joined(Value value) {
    auto concat = value.getDefiningOp<llm::ConcatOp>();
    if (!concat || concat.getInputs().size() != 2 || concat.getAxis() != 2)
      return std::nullopt;
    for (auto [i, pair] : llvm::enumerate(ports_.past))
      if (concat.getInputs()[0] == oldArgument(pair.first) && terminator()->getOperand(pair.second) == value)
        return Joined{unsigned(i), concat.getInputs()[1]};
    return std::nullopt;
  }

  bool replaceAttentions() {
    SmallVector<llm::AttentionOp> attentions(step_.getOps<llm::AttentionOp>());
    if (attentions.empty())
      return refuse(main_, "no attention was recognized");
    for (auto [state, attention] : llvm::enumerate(attentions))
      if (!replaceAttention(attention, int64_t(state)))
        return false;
    return true;
  }

  bool replaceAttention(llm::AttentionOp op, int64_t state) {
    auto keys = joined(op.getKey()), values = joined(op.getValue());
    if (!keys || !values)
      return refuse(op, std::string(keys ? "its values are" : "its keys are") + " not a cache input joined with new ones, returned as the new cache");
    auto window = windowOf(op);
    if (!window)
      return false;
    builder_.setInsertionPoint(op);
    Location loc = op.getLoc();
    llm::CacheAppendOp::create(builder_, loc, asTokens(keys->added), asTokens(values->added), uint64_t(state));
    Value query = asTokens(op.getQuery());
    auto size = typeOf(op.getValue()).getDimSize(3);
    auto type = RankedTensorType::get({ShapedType::kDynamic, typeOf(query).getDimSize(1), size}, typeOf(query).getElementType());
    auto paged = llm::PagedAttentionOp::create(builder_, loc, type, query, Value(), Value(), Value(), uint64_t(state),
                                               uint64_t(typeOf(op.getKey()).getDimSize(1)), op.getScaleAttr().getValue(), /*causal=*/true,
                                               uint64_t(*window), op.getSoftcapAttr().getValue());
    op.replaceAllUsesWith(fromTokens(paged, op.getType()));
    erase(op);
    return true;
  }

  /// [1, heads, tokens, size] as [tokens, heads, size].
  Value asTokens(Value value) {
    auto type = typeOf(value);
    auto turned = RankedTensorType::get({1, type.getDimSize(2), type.getDimSize(1), type.getDimSize(3)}, type.getElementType());
    Value transposed = llm::TransposeOp::create(builder_, value.getLoc(), turned, value, builder_.getDenseI64ArrayAttr({0, 2, 1, 3}));
    return llm::SqueezeOp::create(builder_, value.getLoc(), RankedTensorType::get(turned.getShape().drop_front(), type.getElementType()),
                                  transposed, builder_.getDenseI64ArrayAttr({0}));
  }
  Value fromTokens(Value value, Type wanted) {
    auto type = typeOf(value);
    auto row = RankedTensorType::get({1, type.getDimSize(0), type.getDimSize(1), type.getDimSize(2)}, type.getElementType());
    Value expanded = llm::ExpandDimsOp::create(builder_, value.getLoc(), row, value, builder_.getDenseI64ArrayAttr({0}));
    return llm::TransposeOp::create(builder_, value.getLoc(), wanted, expanded, builder_.getDenseI64ArrayAttr({0, 2, 1, 3}));
  }

  /// How far back a token sees (0: everything before), or nothing (and the obstacle) when the mask means something else.
  std::optional<int64_t> windowOf(llm::AttentionOp op) {
    auto give = [&](std::string reason) {
      refuse(op, std::move(reason));
      return std::nullopt;
    };
    if (!op.getMask()) {
      if (op.getCausal())
        return int64_t(op.getWindow());
      return give("it has no mask, so tokens see what comes after them");
    }
    Value mask = op.getMask();
    if (auto known = windows_.find(mask); known != windows_.end() && !op.getCausal() && op.getWindow() == 0)
      return known->second;
    if (!samples_.isControl(mask))
      return give("its mask depends on what the model computes");
    auto values = samples_.evaluate(mask);
    if (!values)
      return give("its mask cannot be evaluated for one sequence without padding");
    SmallVector<int64_t> windows{0};
    for (int64_t number : values->numbers)
      windows.append({number, number + 1});
    if (values->longest)
      limitPositions(*values->longest);
    for (int64_t window : windows)
      if (llvm::all_of(values->samples, [&](auto &sample) { return meansWindow(sample.first, sample.second, op, window); }))
        return windows_[mask] = window;
    return give("its mask is not causal for a sequence without padding");
  }

  static bool meansWindow(const Sample &sample, const Tensor &mask, llm::AttentionOp op, int64_t window) {
    const std::vector<int64_t> &shape = mask.shape();
    int64_t columns = shape.empty() ? 1 : shape.back(), rows = shape.size() < 2 ? 1 : shape[shape.size() - 2];
    if (mask.elements() % std::max<int64_t>(1, rows * columns) || (columns != 1 && columns != sample.total()) || (rows != 1 && rows != sample.tokens))
      return false;
    int64_t matrices = mask.elements() / (rows * columns);
    for (int64_t matrix = 0; matrix < matrices; ++matrix)
      for (int64_t i = 0; i < sample.tokens; ++i)
        for (int64_t j = 0; j < sample.total(); ++j) {
          int64_t here = sample.past + i;
          double entry = mask.at((matrix * rows + (rows == 1 ? 0 : i)) * columns + (columns == 1 ? 0 : j));
          bool allowed = mask.dtype() == DType::Bool ? entry != 0 : entry == 0;
          if (!allowed && mask.dtype() != DType::Bool && !(entry <= kMasked))
            return false; // a bias
          allowed &= !op.getCausal() || j <= here;
          allowed &= op.getWindow() == 0 || j > here - int64_t(op.getWindow());
          if (allowed != (j <= here && (window == 0 || j > here - window)))
            return false;
        }
    return true;
  }

  /// Values [.., tokens, ..] that hold past, past + 1, ... become the step's positions.
  void replacePositions() {
    SmallVector<Value> candidates;
    for (Operation &op : step_.getBody().front().without_terminator())
      for (Value result : op.getResults())
        if (isPositionLike(result))
          candidates.push_back(result);
    for (Value value : candidates) {
      auto values = samples_.evaluate(value);
      bool positions = values && llvm::all_of(values->samples, [](auto &sample) {
        for (int64_t i = 0; i < sample.first.tokens; ++i)
          if (sample.second.elements() != sample.first.tokens || sample.second.at(i) != double(sample.first.past + i))
            return false;
        return true;
      });
      if (!positions)
        continue;
      builder_.setInsertionPointAfter(value.getDefiningOp());
      value.replaceAllUsesWith(positionsAs(value));
    }
  }

  bool isPositionLike(Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    if (!type || !samples_.isControl(value) || value.use_empty())
      return false;
    int64_t tokens = 0;
    for (SymExpr dim : shapes_.shapeOf(value).dims) {
      if (dim == symbols_.symbol("tokens"))
        ++tokens;
      else if (!dim.isConstant(1))
        return false;
    }
    return tokens == 1;
  }

  Value positionsAs(Value value) {
    Location loc = value.getLoc();
    auto type = typeOf(value);
    Value row = step_.getArgument(1);
    auto elementwise = RankedTensorType::get({ShapedType::kDynamic}, type.getElementType());
    if (type.getElementType() != builder_.getI32Type())
      row = llm::CastOp::create(builder_, loc, elementwise, row);
    SmallVector<int64_t> shape, axes;
    for (auto [i, dim] : llvm::enumerate(shapes_.shapeOf(value).dims)) {
      shape.push_back(dim.isConstant(1) ? 1 : ShapedType::kDynamic);
      if (dim.isConstant(1))
        axes.push_back(int64_t(i));
    }
    if (axes.empty())
      return row;
    return llm::ExpandDimsOp::create(builder_, loc, RankedTensorType::get(shape, type.getElementType()), row, builder_.getDenseI64ArrayAttr(axes));
  }

  /// gather(table[: past + tokens], positions): positions are within it, so the table may be read whole.
  void readSlicedTablesWhole() {
    for (auto gather : step_.getOps<llm::GatherOp>()) {
      auto slice = gather.getInput().getDefiningOp<llm::SliceOp>();
      if (!slice || gather.getAxis() != 0 || slice.getAxes() != ArrayRef<int64_t>{0} || slice.getSteps() != ArrayRef<int64_t>{1} ||
          shapes_.constantElements(slice.getStarts()) != SmallVector<int64_t>{0} || !llm::isWeightExpression(slice.getInput()))
        continue;
      auto count = shapes_.shapeOf(slice).dims.front();
      if (symbols_.provenLessEqual(symbols_.add(symbols_.symbol("past"), symbols_.symbol("tokens")), count) || !count.known())
        gather.getInputMutable().assign(slice.getInput());
    }
  }

  void limitPositions(int64_t count) { maxPositions_ = std::min(maxPositions_.value_or(count), count); }

  /// A table read at positions, or some way behind them, ends the sequence.
  void limitByTables() {
    for (auto gather : step_.getOps<llm::GatherOp>()) {
      int64_t rows = typeOf(gather.getInput()).getDimSize(gather.getAxis());
      if (gather.getAxis() != 0 || ShapedType::isDynamic(rows) || !samples_.isControl(gather.getIndices()))
        continue;
      auto values = samples_.evaluate(gather.getIndices());
      if (!values)
        continue;
      auto offset = [](auto &sample) { return int64_t(sample.second.at(0)) - sample.first.past; };
      int64_t first = offset(values->samples.front());
      if (llvm::all_of(values->samples, [&](auto &sample) { return offset(sample) == first; }))
        limitPositions(rows - first);
    }
  }

  /// What is left without the old caches as results.
  bool checkTokens() {
    Value logits = terminator()->getOperand(ports_.logits);
    terminator()->setOperands(logits);
    removeUnused();
    for (BlockArgument argument : step_.getArguments().drop_front(3))
      if (!argument.use_empty() && unsigned(argument.getArgNumber()) != ports_.ids + 3)
        return refuse(*argument.user_begin(), "besides attention and positions, it depends on '" + argumentName(argument) + "'");
    auto obstacle = findTokenMixing(step_, shapes_);
    if (obstacle)
      return refuse(obstacle->op, obstacle->reason);
    if (tokenAxis(logits, shapes_) != 1 || typeOf(logits).getRank() != 3)
      return refuse(terminator(), "the logits are not [batch, tokens, vocabulary]");
    return true;
  }

  std::string argumentName(BlockArgument argument) {
    auto name = main_.getArgAttrOfType<StringAttr>(argument.getArgNumber() - 3, "llm.name");
    return name ? name.str() : "input " + std::to_string(argument.getArgNumber() - 3);
  }

  void erase(Operation *op) {
    shapes_.forget(op);
    samples_.forget(op);
    op->erase();
  }

  void removeUnused() {
    SmallVector<Operation *> ops;
    for (Operation &op : step_.getBody().front().without_terminator())
      ops.push_back(&op);
    for (Operation *op : llvm::reverse(ops))
      if (op->use_empty() && isMemoryEffectFree(op))
        erase(op);
  }

  /// Logits for the rows asked for: the operations behind the last attention that work on tokens one by one see those rows only.
  void gatherRows() {
    Value logits = terminator()->getOperand(0);
    SmallVector<Operation *> behind;
    Value source = logits;
    while (Operation *op = rowByRow(source)) {
      behind.push_back(op);
      source = op->getOperand(0);
    }
    builder_.setInsertionPoint(terminator());
    Location loc = logits.getLoc();
    IRMapping mapping;
    mapping.map(source, llm::GatherOp::create(builder_, loc, source.getType(), source, step_.getArgument(2), /*axis=*/1));
    for (Operation *op : llvm::reverse(behind))
      builder_.clone(*op, mapping);
    Value rows = mapping.lookup(logits);
    auto type = typeOf(rows);
    auto matrix = RankedTensorType::get({ShapedType::kDynamic, type.getDimSize(2)}, type.getElementType());
    rows = llm::SqueezeOp::create(builder_, loc, matrix, rows, builder_.getDenseI64ArrayAttr({0}));
    if (!type.getElementType().isF32())
      rows = llm::CastOp::create(builder_, loc, RankedTensorType::get(matrix.getShape(), builder_.getF32Type()), rows);
    terminator()->setOperands(rows);
    removeUnused();
  }

  /// The operation that made `value` [1, tokens, width] from its first operand of the same form, token by token, for it alone.
  static Operation *rowByRow(Value value) {
    Operation *op = value.getDefiningOp();
    bool known = op && isa<llm::LinearOp, llm::LayerNormOp, llm::RMSNormOp, llm::CastOp, llm::MulOp, llm::DivOp, llm::TanhOp>(op);
    if (!known || typeOf(op->getOperand(0)).getRank() != 3 || !llvm::all_of(op->getOperands().drop_front(), llm::isWeightExpression) ||
        llm::isWeightExpression(op->getOperand(0)))
      return nullptr;
    return op;
  }

  void dropOldArguments() {
    step_.getBody().front().eraseArguments(3, step_.getNumArguments() - 3);
    SmallVector<DictionaryAttr> attributes;
    for (unsigned i = 0; i < 3; ++i)
      attributes.push_back(step_.getArgAttrDict(i));
    auto type = builder_.getFunctionType(step_.getBody().front().getArgumentTypes(), terminator()->getOperandTypes());
    step_.removeArgAttrsAttr();
    step_.removeResAttrsAttr();
    step_.setType(type);
    step_.setAllArgAttrs(attributes);
    step_.setResultAttr(0, "llm.name", builder_.getStringAttr("logits"));
  }

  func::FuncOp main_, step_;
  const Ports &ports_;
  OpBuilder builder_;
  SymContext symbols_;
  ShapeAnalysis shapes_;
  ControlSamples samples_;
  llvm::DenseMap<Value, int64_t> windows_;
  std::optional<int64_t> maxPositions_;
  Obstacle obstacle_;
};

class MakeRaggedStepPass : public llmopt::impl::MakeRaggedStepPassBase<MakeRaggedStepPass> {
public:
  explicit MakeRaggedStepPass(const WeightStore &weights) : weights_(weights) {}

  void runOnOperation() override {
    auto main = getOperation().lookupSymbol<func::FuncOp>("main");
    auto ports = main ? Ports::read(main) : std::nullopt;
    if (!ports || getOperation().lookupSymbol("step"))
      return;
    StepMaker maker(main, *ports, weights_);
    if (maker.make()) {
      remark::passed(main.getLoc(), remark::RemarkOpts::name("ragged-step").category("ragged")) << "sequences run in ragged steps";
      return;
    }
    const Obstacle &obstacle = maker.obstacle();
    remark::missed(obstacle.op->getLoc(), remark::RemarkOpts::name("ragged-step").category("ragged"))
        << remark::reason("sequences run padded: {0}", obstacle.reason)
        << remark::metric("Blocker", obstacle.op->getName().getStringRef().str());
  }

private:
  const WeightStore &weights_;
};

} // namespace

std::unique_ptr<Pass> llmopt::createMakeRaggedStepPass(const WeightStore &weights) { return std::make_unique<MakeRaggedStepPass>(weights); }
std::unique_ptr<Pass> llmopt::createMakeRaggedStepPass() {
  static const WeightStore none;
  return createMakeRaggedStepPass(none);
}
