//===- WeightStore.h - the tensors of a model, not yet read -----*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Frontends register tensors by name; `llm.weight` refers to them by name. Bytes stay in the mapped source file until
// the artifact is written, so that compiling a large model needs no memory for its weights.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_SUPPORT_WEIGHTSTORE_H
#define LLMOPT_LIB_SUPPORT_WEIGHTSTORE_H

#include "llmopt/lib/Support/DType.h"
#include "llmopt/lib/Support/Status.h"

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace llmopt {

struct StoredWeight {
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;   ///< row major, in the element type's size, already checked against the shape
  std::shared_ptr<const void> keeper; ///< keeps `bytes` alive (a mapped file, or a vector)
};

class WeightStore {
public:
  /// False if the name is taken.
  bool add(const std::string &name, StoredWeight weight) { return weights_.emplace(name, std::move(weight)).second; }
  const StoredWeight *find(std::string_view name) const {
    auto it = weights_.find(name);
    return it == weights_.end() ? nullptr : &it->second;
  }
  const std::map<std::string, StoredWeight, std::less<>> &all() const { return weights_; }

private:
  std::map<std::string, StoredWeight, std::less<>> weights_;
};

} // namespace llmopt

#endif // LLMOPT_LIB_SUPPORT_WEIGHTSTORE_H
