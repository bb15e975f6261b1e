//===- Fuse.cpp - runs the fusion patterns ---------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/passes/Fusion.h"
#include "llmopt/passes/KernelJoins.h"

#include "passes/Fusion/WaveTables.h"
#include "passes/Rewriting/PatternLog.h"
#include "passes/Rewriting/Requirement.h"
#include "passes/Rewriting/RewriteVerifier.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/Remarks.h"
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

using AddPatterns = void (*)(RewritePatternSet &);

/// The fusions of the list, then those of plugins.
struct Registry {
  std::vector<FusionInfo> infos;
  std::vector<AddPatterns> adders;
};

Registry &registry() {
  static Registry fusions{{
#define LLMOPT_FUSION(Class, name, level, summary) {name, level, summary},
#include "passes/Fusion/Patterns.def"
                          },
                          {
#define LLMOPT_FUSION(Class, name, level, summary) fusion::add##Class,
#include "passes/Fusion/Patterns.def"
                          }};
  return fusions;
}

const WeightStore kNoWeights;

class FusePass : public llmopt::impl::FusePassBase<FusePass> {
public:
  FusePass(FusePassOptions options, const WeightStore &weights) : FusePassBase(std::move(options)), weights_(weights) {}
  explicit FusePass(FusePassOptions options = {}) : FusePass(std::move(options), kNoWeights) {}

  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    for (auto [info, add] : llvm::zip(registry().infos, registry().adders))
      if (isWanted(info))
        addNamed(patterns, info.name, add);
    PatternLog log;
    RewriteVerifier verifier(&log);
    bool watched = getContext().getRemarkEngine() || !require.empty();
    GreedyRewriteConfig config;
    config.setUseTopDownTraversal(true);
    if (verify)
      config.setListener(&verifier);
    else if (watched)
      config.setListener(&log);
    fusion::markWaveTables(getOperation(), weights_);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns), config)))
      getOperation().emitWarning("fusion patterns did not reach a fixed point");
    fusion::unmarkWaveTables(getOperation());
    log.emitRemarks(getOperation());
    if (failed(checkVerified(verifier)))
      return signalPassFailure();
    if (failed(checkRequired(countMade(log))))
      signalPassFailure();
  }

private:
  bool isWanted(const FusionInfo &info) {
    if (!only.empty())
      return llvm::is_contained(only, info.name);
    bool disabled = llvm::is_contained(disable, info.name);
    if (disabled)
      remark::analysis(getOperation()->getLoc(), remark::RemarkOpts::name(info.name).category("fusion")) << "switched off by name";
    return info.level <= level && !disabled;
  }

  /// Patterns carry the name of their fusion, for remarks and for whoever debugs the driver.
  void addNamed(RewritePatternSet &patterns, StringRef name, AddPatterns add) {
    size_t before = patterns.getNativePatterns().size();
    add(patterns);
    for (auto &pattern : llvm::drop_begin(patterns.getNativePatterns(), before))
      pattern->addDebugLabels(name);
  }

  LogicalResult checkVerified(const RewriteVerifier &verifier) {
    if (verify)
      remark::analysis(getOperation()->getLoc(), remark::RemarkOpts::name("verify-rewrites").category("fusion"))
          << remark::metric("Replayed", verifier.replayed()) << remark::metric("Skipped", verifier.skipped())
          << remark::metric("FirstSkipped", verifier.skipped() ? verifier.firstSkip() : std::string("none"));
    return verifier.failure() ? LogicalResult(getOperation().emitError("[E0552] ") << *verifier.failure()) : success();
  }

  /// With those of the pass before, if that one went on.
  llvm::StringMap<int64_t> countMade(const PatternLog &log) {
    constexpr StringLiteral attribute = "llm.fusions_made";
    llvm::StringMap<int64_t> made = log.countMade();
    if (auto before = getOperation()->getAttrOfType<DictionaryAttr>(attribute))
      for (NamedAttribute count : before)
        made[count.getName()] += cast<IntegerAttr>(count.getValue()).getInt();
    getOperation()->removeAttr(attribute);
    Builder builder(&getContext());
    SmallVector<NamedAttribute> counts;
    for (const auto &[name, count] : made)
      counts.push_back(builder.getNamedAttr(name, builder.getI64IntegerAttr(count)));
    if (goesOn)
      getOperation()->setAttr(attribute, builder.getDictionaryAttr(counts));
    return made;
  }

  /// What is required of kernels is checked when they are cut.
  LogicalResult checkRequired(const llvm::StringMap<int64_t> &made) {
    if (goesOn)
      return success();
    for (const std::string &text : require) {
      FailureOr<Requirement> requirement = Requirement::parse(getOperation(), text);
      if (failed(requirement))
        return failure();
      if (isKernelJoin(requirement->name))
        continue;
      if (llvm::none_of(registry().infos, [&](const FusionInfo &info) { return requirement->name == info.name; }))
        return getOperation().emitError("[E0305] there is no fusion '") << requirement->name << "'";
      if (failed(requirement->check(getOperation(), made.lookup(requirement->name))))
        return failure();
    }
    return success();
  }

  const WeightStore &weights_;
};

} // namespace

std::unique_ptr<Pass> llmopt::createFusePass(FusePassOptions options, const WeightStore &weights) {
  return std::make_unique<FusePass>(std::move(options), weights);
}

std::span<const FusionInfo> llmopt::allFusions() { return registry().infos; }

bool llmopt::registerFusion(const FusionInfo &info, void (*addPatterns)(RewritePatternSet &)) {
  if (llvm::any_of(registry().infos, [&](const FusionInfo &known) { return StringRef(known.name) == info.name; }))
    return false;
  registry().infos.push_back(info);
  registry().adders.push_back(addPatterns);
  return true;
}
