//===- Expression.h - the formulas of architecture descriptions -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Descriptions say how a model's sizes follow from its config, and how its blocks are wired:
//
//   "num_key_value_heads ?? num_attention_heads"      "x = x + attention(norm(x, '{layer}input_layernorm'))"
//
// Loosest to tightest:  a ? b : c   a ?? b   ||   &&   == != < <= > >=   + -   * / // %   - !   **   f(..) a[i] a.b
// Literals are numbers, 'text', true, false and null. A name that means nothing is null, and null in arithmetic is an
// error; `??` gives its right side where the left is null. The full account is docs/HowToAddAnArchitecture.md.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_HF_EXPRESSION_H
#define LLMOPT_FRONTENDS_HF_EXPRESSION_H

#include "llmopt/lib/Support/Json.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace llmopt::hf {

struct ExpressionNode {
  enum class Kind { Literal, Name, Member, Index, Call, Unary, Binary, Conditional };
  Kind kind = Kind::Literal;
  std::string text; ///< Name, Member: the name; Unary, Binary: the operator
  Json literal;
  std::vector<ExpressionNode> children; ///< Call: what is called, then the arguments
};

/// A parsed formula; cheap to copy.
class Expression {
public:
  Expression() = default;
  /// E0420 with the place of the mistake.
  static Result<Expression> parse(std::string_view text);
  /// A string of a description is parsed, a number or truth value stands for itself.
  static Result<Expression> fromJson(const Json &json);
  static Expression literal(Json value);

  explicit operator bool() const { return root_ != nullptr; }
  const ExpressionNode &root() const { return *root_; }
  /// As written, for messages.
  const std::string &text() const { return text_; }
  /// Adds the config keys the formula mentions: "hidden_size", "attn_config.alibi".
  void collectNames(std::vector<std::string> &names) const;

private:
  std::shared_ptr<const ExpressionNode> root_;
  std::string text_;
};

} // namespace llmopt::hf

#endif // LLMOPT_FRONTENDS_HF_EXPRESSION_H
