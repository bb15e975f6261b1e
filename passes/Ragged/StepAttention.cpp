//===- StepAttention.cpp - caches in tensors become states --------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "StepMaker.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::ragged;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

/// Additive masks write "not allowed" as a number this low or lower.
static constexpr double kMasked = -1e4;

bool StepMaker::replaceAttentions() {
  SmallVector<llm::AttentionOp> attentions(step_.getOps<llm::AttentionOp>());
  if (attentions.empty())
    return refuse(main_, "no attention was recognized");
  for (auto [state, attention] : llvm::enumerate(attentions))
    if (!replaceAttention(attention, int64_t(state)))
      return false;
  return true;
}

bool StepMaker::replaceAttention(llm::AttentionOp op, int64_t state) {
  Value keys = addedToCache(op.getKey()), values = addedToCache(op.getValue());
  if (!keys || !values)
    return refuse(op, std::string(keys ? "its values are" : "its keys are") + " not a cache input joined with new ones, returned as the new cache");
  auto window = windowOf(op);
  if (!window)
    return false;
  builder_.setInsertionPoint(op);
  Location loc = op.getLoc();
  llm::CacheAppendOp::create(builder_, loc, asTokens(keys), asTokens(values), uint64_t(state));
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

Value StepMaker::addedToCache(Value value) {
  Value cache, added;
  if (auto concat = value.getDefiningOp<llm::ConcatOp>(); concat && concat.getInputs().size() == 2 && concat.getAxis() == 2) {
    cache = concat.getInputs()[0];
    added = concat.getInputs()[1];
  } else if (auto scatter = value.getDefiningOp<llm::ScatterElementsOp>()) {
    cache = cacheWrittenBehind(scatter);
    added = scatter.getUpdates();
  }
  for (auto [argument, result] : ports_.past)
    if (cache && cache == oldArgument(argument) && terminator()->getOperand(result) == value)
      return added;
  return {};
}

// Buffers for the longest sequence are written in place; without padding, and as long as what is in them, they grow by what is new.
Value StepMaker::cacheWrittenBehind(llm::ScatterElementsOp scatter) {
  auto pad = scatter.getInput().getDefiningOp<llm::PadOp>();
  if (!pad || pad.getMode() != llm::PadMode::constant || scatter.getReduction() != llm::ScatterReduction::none || scatter.getAxis() != 2 ||
      typeOf(scatter).getRank() != 4 || !samples_.isControl(pad.getPads()) || !samples_.isControl(scatter.getIndices()))
    return {};
  auto pads = samples_.evaluate(pad.getPads()), places = samples_.evaluate(scatter.getIndices());
  if (!pads || !places)
    return {};
  for (const auto &[sample, counts] : pads->samples)
    for (int64_t i = 0; i < counts.elements(); ++i)
      if (counts.at(i) != (i == 6 ? double(sample.tokens) : 0.0)) // 6: behind the third of four dimensions
        return {};
  for (const auto &[sample, numbers] : places->samples) {
    int64_t size = numbers.shape()[3];
    for (int64_t i = 0; i < numbers.elements(); ++i)
      if (numbers.at(i) != double(sample.past + i / size % sample.tokens))
        return {};
  }
  for (auto longest : {pads->longest, places->longest})
    if (longest)
      limitPositions(*longest);
  return pad.getInput();
}

Value StepMaker::asTokens(Value value) {
  auto type = typeOf(value);
  auto turned = RankedTensorType::get({1, type.getDimSize(2), type.getDimSize(1), type.getDimSize(3)}, type.getElementType());
  Value transposed = llm::TransposeOp::create(builder_, value.getLoc(), turned, value, builder_.getDenseI64ArrayAttr({0, 2, 1, 3}));
  return llm::SqueezeOp::create(builder_, value.getLoc(), RankedTensorType::get(turned.getShape().drop_front(), type.getElementType()),
                                transposed, builder_.getDenseI64ArrayAttr({0}));
}

Value StepMaker::fromTokens(Value value, Type wanted) {
  auto type = typeOf(value);
  auto row = RankedTensorType::get({1, type.getDimSize(0), type.getDimSize(1), type.getDimSize(2)}, type.getElementType());
  Value expanded = llm::ExpandDimsOp::create(builder_, value.getLoc(), row, value, builder_.getDenseI64ArrayAttr({0}));
  return llm::TransposeOp::create(builder_, value.getLoc(), wanted, expanded, builder_.getDenseI64ArrayAttr({0, 2, 1, 3}));
}

std::optional<int64_t> StepMaker::windowOf(llm::AttentionOp op) {
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

bool StepMaker::meansWindow(const Sample &sample, const Tensor &mask, llm::AttentionOp op, int64_t window) {
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
