//===- Fuse.cpp - runs the fusion patterns ---------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/passes/Fusion.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "llvm/ADT/STLExtras.h"

namespace llmopt {
#define GEN_PASS_DECL_FUSEPASS
#define GEN_PASS_DEF_FUSEPASS
#include "llmopt/passes/Passes.h.inc"
} // namespace llmopt

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

class FusePass : public llmopt::impl::FusePassBase<FusePass> {
public:
  using FusePassBase::FusePassBase;

  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    for (const Fusion &fusion : kFusions)
      if (isWanted(fusion.info))
        fusion.add(patterns);
    GreedyRewriteConfig config;
    config.setUseTopDownTraversal(true);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns), config)))
      getOperation().emitWarning("fusion patterns did not reach a fixed point");
  }

private:
  bool isWanted(const FusionInfo &info) const {
    if (!only.empty())
      return llvm::is_contained(only, info.name);
    return info.level <= level && !llvm::is_contained(disable, info.name);
  }
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
