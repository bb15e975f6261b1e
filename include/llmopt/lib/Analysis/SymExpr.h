//===- SymExpr.h - symbolic integers ----------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Dimensions that are not known when compiling are expressions over symbols: "batch", "past + seq", "4 * tokens".
// Expressions are interned in a context and kept in one normal form (a sum of products with integer factors), so that
// two expressions known to be equal are the same pointer. Symbols stand for integers >= 0.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_ANALYSIS_SYMEXPR_H
#define LLMOPT_LIB_ANALYSIS_SYMEXPR_H

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llmopt {

class SymContext;

/// A handle to an interned expression; cheap to copy, equal handles are equal integers.
/// A default-made handle is "unknown": it equals nothing, not even itself, and every operation on it is unknown.
class SymExpr {
public:
  struct Node;
  SymExpr() = default;
  explicit SymExpr(const Node *node) : node_(node) {}

  bool known() const { return node_ != nullptr; }
  std::optional<int64_t> constant() const;
  bool isConstant(int64_t value) const { return constant() == value; }
  /// Proven equal for all values of the symbols.
  friend bool operator==(SymExpr a, SymExpr b) { return a.node_ && a.node_ == b.node_; }
  const Node *node() const { return node_; }
  /// "batch * (past + seq)", as an expression in C's syntax with floordiv, ceildiv, mod, min, max, broadcast as functions.
  std::string str() const;

private:
  const Node *node_ = nullptr;
};

class SymContext {
public:
  SymContext();
  ~SymContext();
  SymContext(const SymContext &) = delete;

  SymExpr constant(int64_t value);
  SymExpr symbol(std::string_view name);
  /// From now on proofs may use symbol >= minimum (a sequence is never empty). Call it before expressions are made.
  void assumeAtLeast(std::string_view symbol, int64_t minimum);
  SymExpr add(SymExpr a, SymExpr b);
  SymExpr sub(SymExpr a, SymExpr b);
  SymExpr mul(SymExpr a, SymExpr b);
  SymExpr floorDiv(SymExpr a, SymExpr b); ///< exact where b divides every term of a
  SymExpr ceilDiv(SymExpr a, SymExpr b);
  SymExpr mod(SymExpr a, SymExpr b);
  SymExpr min(SymExpr a, SymExpr b);
  SymExpr max(SymExpr a, SymExpr b);
  /// The dimension that results when dimensions a and b are broadcast: b if a == 1, else a.
  SymExpr broadcast(SymExpr a, SymExpr b);

  /// Reads what frontends put in `llm.dims`: a name, or an expression such as "past_sequence + sequence". An expression
  /// that is not understood becomes one opaque symbol.
  SymExpr parse(std::string_view text);

  /// Value under an assignment of symbols; nothing if a symbol is missing.
  std::optional<int64_t> evaluate(SymExpr expr, const std::map<std::string, int64_t, std::less<>> &symbols) const;
  /// Proven a <= b, a >= 0 and the like, from symbols >= 0. False means "not proven".
  bool provenLessEqual(SymExpr a, SymExpr b);
  bool provenMultipleOf(SymExpr a, int64_t factor) const;

  /// While it lives, proofs may also use that these are >= 0, though their form does not say so. Of several the innermost counts.
  class Premises {
  public:
    Premises(SymContext &context, const std::vector<SymExpr> &notNegative);
    ~Premises();
    Premises(const Premises &) = delete;

  private:
    SymContext &context_;
    const std::vector<SymExpr> *before_;
  };

  struct Impl; ///< of use to the implementation only

private:
  SymExpr divide(SymExpr a, SymExpr b, bool up);
  std::unique_ptr<Impl> impl_;
};

/// One node, for code that turns expressions into something else (the plan's expression table).
struct SymExpr::Node {
  enum class Op : uint8_t { Constant, Symbol, Sum, Product, FloorDiv, CeilDiv, Mod, Min, Max, Broadcast };
  Op op = Op::Constant;
  int64_t value = 0;                   ///< Constant; Sum: the constant term
  std::string name = {};               ///< Symbol
  std::vector<const Node *> operands = {}; ///< Sum, Product: in a fixed order; others: two
  std::vector<int64_t> factors = {};   ///< Sum: one integer factor per operand
};

} // namespace llmopt

#endif // LLMOPT_LIB_ANALYSIS_SYMEXPR_H
