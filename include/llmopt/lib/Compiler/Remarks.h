//===- Remarks.h - what the compiler did and did not do -------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// MLIR's optimization remarks as plain data: --explain prints them, --remarks-output writes them, the report shows them.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_COMPILER_REMARKS_H
#define LLMOPT_LIB_COMPILER_REMARKS_H

#include "llmopt/lib/Support/Json.h"

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace llmopt {

struct CompileRemark {
  std::string kind;     ///< "passed", "missed", "failed", "analysis"
  std::string category; ///< "fusion", "kernel"
  std::string name;     ///< of the fusion or decision
  std::string node;     ///< in the source model
  std::vector<std::pair<std::string, std::string>> facts; ///< in the order said

  const std::string *find(std::string_view key) const;
};

enum class RemarkFormat { Text, Json, Yaml };

/// Text: one remark a paragraph. JSON: one array. YAML: one document a remark, as LLVM's tools read them.
std::string printRemarks(std::span<const CompileRemark> remarks, RemarkFormat format);

/// E0306 for what is no regular expression.
Status checkExpression(const std::string &expression);
/// True if the regular expression finds something in the remark's name, node, operations or category.
bool matches(const CompileRemark &remark, const std::string &expression);

} // namespace llmopt

#endif // LLMOPT_LIB_COMPILER_REMARKS_H
