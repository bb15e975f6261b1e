//===- HeaderText.h - the little JSON of a safetensors header ---*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A header may have 100 MB. Read token by token, it needs no document tree, whose size an attacker could choose.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_HF_HEADERTEXT_H
#define LLMOPT_FRONTENDS_HF_HEADERTEXT_H

#include "llmopt/lib/Support/Status.h"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace llmopt::hf {

class HeaderText {
public:
  HeaderText(std::string_view text, std::string context) : text_(text), context_(std::move(context)) {}

  Result<std::string> string();
  /// A decimal integer in [0, 2^63).
  Result<int64_t> integer();
  /// `{"key": value, ...}`; `member` reads the value. Duplicate keys are the caller's business: it has the keys.
  Status object(const std::function<Status(std::string key)> &member);
  /// `[value, ...]`
  Status array(const std::function<Status()> &element);
  /// Only spaces may follow.
  Status end();
  /// E0401 with the byte that reading has come to.
  Status error(const std::string &problem) const;

private:
  void skipSpace();
  Status expect(char wanted);
  Status list(char open, char close, const std::function<Status()> &element);
  Result<uint32_t> hexDigits();
  Result<uint32_t> escape();

  std::string_view text_;
  std::string context_;
  size_t at_ = 0;
};

} // namespace llmopt::hf

#endif // LLMOPT_FRONTENDS_HF_HEADERTEXT_H
