//===- StepMaker.cpp - main as a ragged step -------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "StepMaker.h"

#include "llmopt/passes/Ragged.h"

#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::ragged;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

StepMaker::~StepMaker() {
  if (step_)
    step_.erase(); // not finished
}

bool StepMaker::make() {
  draft();
  if (!replaceAttentions())
    return false;
  replacePositions();
  readSlicedTablesWhole();
  if (!checkTokens())
    return false;
  limitByTables();
  embedNumbers();
  gatherRows();
  refineTypes();
  dropOldArguments();
  if (maxPositions_)
    step_->setAttr(kMaxPositionsAttr, builder_.getI64IntegerAttr(*maxPositions_));
  step_ = {};
  return true;
}

bool StepMaker::refuse(Operation *op, std::string reason) {
  obstacle_ = {op, std::move(reason)};
  return false;
}

void StepMaker::draft() {
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

Value StepMaker::asRow(Value vector, Type type) {
  Type element = cast<RankedTensorType>(type).getElementType();
  if (typeOf(vector).getElementType() != element)
    vector = llm::CastOp::create(builder_, main_.getLoc(), typeOf(vector).clone(element), vector);
  return llm::ExpandDimsOp::create(builder_, main_.getLoc(), RankedTensorType::get({1, ShapedType::kDynamic}, element), vector,
                                   builder_.getDenseI64ArrayAttr({0}));
}

void StepMaker::setDims() {
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

bool StepMaker::checkTokens() {
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

std::string StepMaker::argumentName(BlockArgument argument) {
  auto name = main_.getArgAttrOfType<StringAttr>(argument.getArgNumber() - 3, "llm.name");
  return name ? name.str() : "input " + std::to_string(argument.getArgNumber() - 3);
}

void StepMaker::refineTypes() {
  for (Operation &op : step_.getBody().front().without_terminator())
    for (Value result : op.getResults())
      result.setType(ShapeAnalysis::typeOf(shapes_.shapeOf(result), typeOf(result).getElementType()));
}

void StepMaker::dropOldArguments() {
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

void StepMaker::erase(Operation *op) {
  shapes_.forget(op);
  samples_.forget(op);
  op->erase();
}

void StepMaker::removeUnused() {
  SmallVector<Operation *> ops;
  for (Operation &op : step_.getBody().front().without_terminator())
    ops.push_back(&op);
  for (Operation *op : llvm::reverse(ops))
    if (op->use_empty() && isMemoryEffectFree(op))
      erase(op);
}
