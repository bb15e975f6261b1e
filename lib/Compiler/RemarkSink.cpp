//===- RemarkSink.cpp - MLIR's remarks to the caller -----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "lib/Compiler/RemarkSink.h"

#include "llmopt/dialects/LLM/SourceName.h"

#include "mlir/IR/Remarks.h"

using namespace mlir;
using namespace llmopt;

namespace {

std::string kindName(llvm::remarks::Type type) {
  switch (type) {
  case llvm::remarks::Type::Passed: return "passed";
  case llvm::remarks::Type::Missed: return "missed";
  case llvm::remarks::Type::Failure: return "failed";
  default: return "analysis";
  }
}

class Streamer : public remark::detail::MLIRRemarkStreamerBase {
public:
  explicit Streamer(std::function<void(CompileRemark)> take) : take_(std::move(take)) {}
  void streamOptimizationRemark(const remark::detail::Remark &remark) override {
    CompileRemark plain{kindName(remark.getRemarkType()), remark.getCategoryName().str(), remark.getRemarkName().str(),
                        llm::sourceNameOrLine(remark.getLocation()), {}};
    for (const auto &argument : remark.getArgs())
      plain.facts.emplace_back(argument.key, argument.val);
    take_(std::move(plain));
  }

private:
  std::function<void(CompileRemark)> take_;
};

} // namespace

void llmopt::collectRemarks(MLIRContext &context, const std::string &filter, std::function<void(CompileRemark)> take) {
  remark::RemarkCategories categories{filter, filter, filter, filter, filter};
  // Cannot fail: the streamer opens nothing.
  (void)remark::enableOptimizationRemarks(context, std::make_unique<Streamer>(std::move(take)),
                                          std::make_unique<remark::RemarkEmittingPolicyAll>(), categories);
}
