//===- Fuse.cpp - runs the fusion patterns ---------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/passes/Fusion.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "llvm/ADT/STLExtras.h"

#include <array>

using namespace mlir;
using namespace llmopt;

namespace llmopt::fusion {
#define LLMOPT_FUSION(Class, name, level, summary) void add##Class(RewritePatternSet &patterns);
#include "passes/Fusion/Patterns.def"
} // namespace llmopt::fusion

namespace {

struct Fusion {
  FusionInfo info;
  void (*add)(RewritePatternSet &);
};

constexpr Fusion kFusions[] = {
#define LLMOPT_FUSION(Class, name, level, summary) {{name, level, summary}, fusion::add##Class},
#include "passes/Fusion/Patterns.def"
};

class FusePass : public PassWrapper<FusePass, OperationPass<ModuleOp>> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(FusePass)
  explicit FusePass(FuseOptions options) : options_(std::move(options)) {}
  FusePass(const FusePass &) = default;
  StringRef getArgument() const override { return "llmopt-fuse"; }
  StringRef getDescription() const override { return "Recovers composite operations (passes/Fusion/Patterns.def)"; }

  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    for (const Fusion &fusion : kFusions)
      if (fusion.info.level <= options_.level && !llvm::is_contained(options_.disabled, fusion.info.name))
        fusion.add(patterns);
    GreedyRewriteConfig config;
    config.setUseTopDownTraversal(true);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns), config)))
      getOperation().emitWarning("fusion patterns did not reach a fixed point");
  }

private:
  FuseOptions options_;
};

} // namespace

std::span<const FusionInfo> llmopt::allFusions() {
  static const auto infos = [] {
    std::vector<FusionInfo> list;
    for (const Fusion &fusion : kFusions)
      list.push_back(fusion.info);
    return list;
  }();
  return infos;
}

std::unique_ptr<Pass> llmopt::createFusePass(const FuseOptions &options) { return std::make_unique<FusePass>(options); }
