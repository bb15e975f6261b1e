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
#include "StepMaker.h"

#include "llmopt/passes/Ragged.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Pass/Pass.h"

namespace llmopt {
#define GEN_PASS_DEF_MAKERAGGEDSTEPPASS
#include "llmopt/passes/Passes.h.inc"
} // namespace llmopt

using namespace mlir;
using namespace llmopt;
using namespace llmopt::ragged;

std::optional<Ports> Ports::read(func::FuncOp function) {
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

namespace {

class MakeRaggedStepPass : public llmopt::impl::MakeRaggedStepPassBase<MakeRaggedStepPass> {
public:
  explicit MakeRaggedStepPass(const WeightStore &weights) : weights_(weights) {}

  void runOnOperation() override {
    auto main = getOperation().lookupSymbol<func::FuncOp>("main");
    auto ports = main ? Ports::read(main) : std::nullopt;
    if (!ports || ports->past.empty() || getOperation().lookupSymbol("step"))
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
