//===- Evaluate.h - the value of a formula ----------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_HF_EVALUATE_H
#define LLMOPT_FRONTENDS_HF_EVALUATE_H

#include "Expression.h"

#include "mlir/IR/Value.h"

#include <map>
#include <optional>
#include <set>

namespace llmopt::hf {

/// What a formula is worth: a JSON value known while importing, or a tensor of the graph being built.
struct Operand {
  Json json;
  mlir::Value tensor;
  bool isTensor() const { return bool(tensor); }
};

/// Where a formula's names lead.
class Scope {
public:
  virtual ~Scope() = default;
  /// A name without meaning is null, not an error.
  virtual Result<Operand> name(const std::string &name) = 0;
  /// What the arithmetic functions do not cover; `callee` is "attention" or "cross_attention.store".
  virtual Result<Operand> call(const std::string &callee, const std::vector<Operand> &arguments);
  /// Arithmetic with at least one tensor.
  virtual Result<Operand> arithmetic(const std::string &symbol, const Operand &left, const Operand &right);
};

Result<Operand> evaluate(const Expression &expression, Scope &scope);

/// The keys of config.json, under the names and with the defaults that a description's `values` give them, and `i`,
/// the number of the layer.
class ConfigScope : public Scope {
public:
  ConfigScope(const Json &config, const std::map<std::string, Expression> &values) : config_(config), values_(values) {}

  Result<Operand> name(const std::string &name) override;
  /// -1: outside of layers.
  void setLayer(int64_t layer) { layer_ = layer; }
  int64_t layer() const { return layer_; }

  /// Typed readers; E0421 says which formula gave what instead. A null formula or value gives `fallback`, if there is one.
  Result<Json> value(const Expression &expression);
  Result<int64_t> integer(const Expression &expression, int64_t least, int64_t most, std::optional<int64_t> fallback = {});
  Result<double> number(const Expression &expression, std::optional<double> fallback = {});
  Result<bool> boolean(const Expression &expression, bool fallback);
  Result<std::string> text(const Expression &expression, std::optional<std::string> fallback = {});

private:
  const Json &config_;
  const std::map<std::string, Expression> &values_;
  std::set<std::string> active_; ///< values being computed: inside its own formula a name means the config's key
  int64_t layer_ = -1;
};

} // namespace llmopt::hf

#endif // LLMOPT_FRONTENDS_HF_EVALUATE_H
