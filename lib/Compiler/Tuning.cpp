//===- Tuning.cpp - measured choices in a compilation -----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "lib/Compiler/Tuning.h"

#include "codegen/Common/TunedStrategy.h"
#include "llmopt/lib/Analysis/CostModel.h"
#include "llmopt/lib/Analysis/KernelSignature.h"
#include "llmopt/passes/Fusion.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Remarks.h"

using namespace mlir;
using namespace llmopt;

static bool isFusion(const std::string &name) {
  return llvm::any_of(allFusions(), [&](const FusionInfo &info) { return name == info.name; });
}

Result<Tuning> Tuning::open(const std::string &path) {
  Tuning tuning;
  if (path.empty())
    return tuning;
  tuning.path_ = path;
  LLMOPT_ASSIGN(tuning.database_, TuningDatabase::load(path));
  for (const auto &[key, entry] : tuning.database_->entries())
    if (isFusion(key.kernel) && entry.choice != "fused" && entry.choice != "apart")
      return usageError("E0318", "the tuning database wants '" + entry.choice + "' for fusion " + key.kernel + "; there are fused and apart", path);
  return tuning;
}

const TuningEntry *Tuning::find(const TuningKey &key) {
  const TuningEntry *entry = database_ ? database_->find(key) : nullptr;
  if (entry)
    used_.insert(key);
  return entry;
}

Status Tuning::chooseStrategies(ModuleOp planned, const Target &target, SymContext &symbols, const StrategyOptions &options) {
  for (auto function : planned.getOps<func::FuncOp>()) {
    ShapeAnalysis shapes(symbols);
    shapes.run(function);
    for (auto kernel : function.getOps<exec::KernelOp>()) {
      const TuningEntry *entry = database_ && !kernel.getStrategyAttr() && !target.isGpu() && isTunable(kernel.getFamily())
                                     ? find(tuningKey(kernel, shapes, target, options)) : nullptr;
      if (entry) {
        Result<Attribute> strategy = tunedStrategy(*entry, kernel, shapes, target, options);
        if (!strategy)
          return usageError(strategy.error().code, strategy.error().message, path_);
        kernel.setStrategyAttr(*strategy);
      } else {
        LLMOPT_RETURN_IF_ERROR(chooseStrategy(kernel, shapes, target, options));
      }
      explainStrategy(kernel, target, entry ? "tuning database" : "cost model", entry ? describeTimes(*entry) : "");
    }
  }
  return {};
}

/// An estimate is off by some tenths; a fusion also saves kernels. Only a clear gain takes it apart.
constexpr double kClearGain = 1.25;

static FusionChoice estimate(const Target &target, Operation *op, ShapeAnalysis &shapes) {
  CoreFacts core{target.vectorBits / 32, target.fma, target.l2Bytes, target.l3Bytes};
  auto attention = dyn_cast<llm::AttentionOp>(op);
  std::optional<FusionCost> cost = attention && !target.isGpu() ? attentionCost(attention, shapes, core) : std::nullopt;
  if (!cost)
    return {true, "cost model", "no estimate"};
  std::string times = "fused " + std::to_string(int64_t(cost->fused)) + ", apart " + std::to_string(int64_t(cost->apart)) + " cycles for " + cost->sizes;
  return {cost->fused <= kClearGain * cost->apart, "cost model", times};
}

FusionChoice Tuning::chooseFor(const Target &target, StringRef fusion, Operation *op, ShapeAnalysis &shapes) {
  if (database_) {
    KernelSignature signature = signatureOf(op, shapes);
    if (const TuningEntry *entry = find({target.name, fusion.str(), signature.ops, signature.shape, signature.dtype}))
      return {entry->choice == "fused", "tuning database", describeTimes(*entry)};
  }
  return estimate(target, op, shapes);
}

ChooseFusion Tuning::chooseFusion(std::vector<Target> targets) {
  return [this, targets = std::move(targets)](StringRef fusion, Operation *op, ShapeAnalysis &shapes) {
    FusionChoice choice;
    for (const Target &target : targets)
      if (choice = chooseFor(target, fusion, op, shapes); choice.fused)
        break;
    return choice;
  };
}

void Tuning::explain(ModuleOp module) const {
  if (!database_)
    return;
  size_t unknown = llvm::count_if(database_->entries(), [](auto &row) { return !isFusion(row.first.kernel) && !isTunable(row.first.kernel); });
  auto remark = remark::analysis(module.getLoc(), remark::RemarkOpts::name("tuning-database").category("kernel"));
  remark << remark::metric("File", path_) << remark::metric("Processor", database_->processor) << remark::metric("Entries", database_->entries().size())
         << remark::metric("Used", used_.size());
  if (unknown)
    remark << remark::metric("Ignored", std::to_string(unknown) + " entries for kernels that this llmopt does not tune");
}

std::optional<Json> Tuning::record(const std::string &target) const {
  if (!database_)
    return std::nullopt;
  TuningDatabase part;
  part.processor = database_->processor;
  part.threads = database_->threads;
  for (const TuningKey &key : used_)
    if (key.target == target)
      part.set(*database_->find(key));
  return part.json();
}
