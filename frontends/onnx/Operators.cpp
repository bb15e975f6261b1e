//===- Operators.cpp - finds the importer of an operator ----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Importer.h"

#include <map>

namespace llmopt::onnx {

#define LLMOPT_ONNX_OPERATOR(domain, op, since, until, handler) Status handler(Node &);
#include "Operators.def"

namespace {

struct Entry {
  int64_t since, until;
  Handler handler;
};

using Table = std::map<std::pair<llvm::StringRef, llvm::StringRef>, llvm::SmallVector<Entry, 1>>;

const Table &table() {
  static const Table entries = [] {
    Table result;
#define LLMOPT_ONNX_OPERATOR(domain, op, since, until, handler) result[{domain, op}].push_back({since, until, handler});
#include "Operators.def"
    return result;
  }();
  return entries;
}

} // namespace

Handler findHandler(llvm::StringRef domain, llvm::StringRef op, int64_t opset, std::string &reason) {
  auto found = table().find({domain, op});
  if (found == table().end()) {
    reason = "the operator is not supported";
    return nullptr;
  }
  if (opset == 0) {
    reason = "opset_import does not name domain '" + domain.str() + "'";
    return nullptr;
  }
  for (const Entry &entry : found->second)
    if (opset >= entry.since && opset <= entry.until)
      return entry.handler;
  reason = "opset " + std::to_string(opset) + " of the operator is not supported; llmopt reads " +
           std::to_string(found->second.front().since) + " to " + std::to_string(found->second.back().until);
  return nullptr;
}

} // namespace llmopt::onnx
