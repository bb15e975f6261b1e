//===- RequireJoins.cpp - the list of joins, and what is required of it ------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/passes/KernelJoins.h"

#include "passes/Kernels/Clusters.h"
#include "passes/Rewriting/Requirement.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;
using namespace llmopt;

static constexpr KernelJoinInfo kJoins[] = {
#define LLMOPT_KERNEL_JOIN(name, what) {name, what},
#include "passes/Kernels/Joins.def"
};

std::span<const KernelJoinInfo> llmopt::allKernelJoins() { return kJoins; }

bool llmopt::isKernelJoin(StringRef name) {
  return llvm::any_of(kJoins, [&](const KernelJoinInfo &join) { return name == join.name; });
}

namespace {

class RequireJoinsPass : public PassWrapper<RequireJoinsPass, OperationPass<ModuleOp>> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(RequireJoinsPass)
  explicit RequireJoinsPass(std::vector<std::string> require) : require_(std::move(require)) {}
  StringRef getArgument() const override { return "llmopt-require-joins"; }

  void runOnOperation() override {
    llvm::StringMap<int64_t> made;
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (auto counts = function->getAttrOfType<DictionaryAttr>(kernels::kJoinsMade))
        for (NamedAttribute count : counts)
          made[count.getName()] += cast<IntegerAttr>(count.getValue()).getInt();
      function->removeAttr(kernels::kJoinsMade);
    }
    for (const std::string &text : require_) {
      FailureOr<Requirement> requirement = Requirement::parse(getOperation(), text);
      if (failed(requirement) || (isKernelJoin(requirement->name) && failed(requirement->check(getOperation(), made.lookup(requirement->name)))))
        return signalPassFailure();
    }
  }

private:
  std::vector<std::string> require_;
};

} // namespace

std::unique_ptr<Pass> llmopt::createRequireJoinsPass(std::vector<std::string> require) {
  return std::make_unique<RequireJoinsPass>(std::move(require));
}
