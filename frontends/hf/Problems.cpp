//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Problems.h"

#include <algorithm>

using namespace llmopt;
using namespace llmopt::hf;

// A config that promises thousands of layers must not fill the terminal with what they lack.
static constexpr size_t kMostNotes = 1000;

void Problems::absorb(const Status &status) {
  if (status.ok())
    return;
  if (status.error().kind == ErrorKind::Unsupported)
    unsupported(status.error().message);
  else
    invalid(status.error().message);
}

Status Problems::status(const std::string &context) const {
  if (empty())
    return {};
  std::vector<std::string> all = unsupported_;
  all.insert(all.end(), invalid_.begin(), invalid_.end());
  // Unsupported first: a model of a kind that llmopt does not know also looks as if it lacked tensors.
  bool isUnsupported = !unsupported_.empty();
  Error error{isUnsupported ? "E0411" : "E0412", isUnsupported ? ErrorKind::Unsupported : ErrorKind::BadInput, all[0], context, {}};
  if (all.size() > 1) {
    error.message = std::to_string(all.size()) + " things stand in the way of importing this model";
    size_t shown = std::min(all.size(), kMostNotes);
    error.notes.assign(all.begin(), all.begin() + std::ptrdiff_t(shown));
    if (shown < all.size())
      error.notes.push_back("and " + std::to_string(all.size() - shown) + " more");
  }
  return error;
}
