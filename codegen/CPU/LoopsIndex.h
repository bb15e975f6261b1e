//===- LoopsIndex.h - coordinates of elements, and where their code goes -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Loop nests ask for elements by coordinates. A coordinate is one integer, or one per vector lane; most vectors of
// coordinates are a base plus 0, 1, 2, ..., and stay so ("contiguous") as long as the arithmetic allows. Each coordinate
// knows the innermost loop it depends on, its level, and whatever is computed from coordinates of an outer level is
// written before the inner loop: a row's gather index is loaded once per row, not once per vector.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_LOOPSINDEX_H
#define LLMOPT_CODEGEN_CPU_LOOPSINDEX_H

#include "codegen/CPU/KernelBuilder.h"

#include <map>
#include <optional>
#include <tuple>

namespace llmopt::cpu {

struct Index {
  enum class Kind : uint8_t {
    Uniform,    ///< the same in all lanes; `value` is i64
    Contiguous, ///< `value` + lane; `value` is i64
    Varying,    ///< `value` is a vector of i64
  };
  Kind kind = Kind::Uniform;
  std::optional<int64_t> constant; ///< Uniform only; then `value` is not set
  mlir::Value value;
  unsigned level = 0;  ///< loops around the place where it is known
  int64_t factor = 1;  ///< `value` (of a Contiguous one: its base) is a multiple of this

  bool uniform() const { return kind == Kind::Uniform; }
  bool is(int64_t c) const { return constant == c; }
  /// Equal keys are equal coordinates.
  using Key = std::tuple<Kind, int64_t, const void *>;
  Key key() const { return {kind, constant.value_or(0), value.getAsOpaquePointer()}; }
};

/// The loops being written, and index arithmetic placed at the right one of them.
class LoopScopes {
public:
  using Value = mlir::Value;
  using Values = KernelBuilder::Values;

  LoopScopes(KernelBuilder &b, int64_t lanes) : b(b), lanes(lanes) {}
  KernelBuilder &b;
  const int64_t lanes; ///< of vector code

  /// A dimension was asked for that the analysis could not tell; the code is of no use.
  bool sawUnknown = false;

  unsigned depth() const { return unsigned(anchors_.size()); }
  /// Level at which code depending on `level` is written: not outside of an enclosing condition.
  unsigned place(unsigned level) const { return std::max(level, floor_); }
  /// Writes code before the loops deeper than `level`.
  template <typename Make>
  auto at(unsigned level, Make make) {
    Outside outside(*this, place(level));
    return make();
  }
  /// Elements already computed, by value and coordinates; only what is in scope here is found.
  using ElementKey = std::pair<const void *, llvm::SmallVector<Index::Key, 4>>;
  Value knownElement(const ElementKey &key) const;
  void rememberElement(unsigned level, ElementKey key, Value element);

  //===--- loops and conditions -----------------------------------------------===//

  /// The body gets the coordinate, of the new level, which is a multiple of `factor`.
  void loop(Value lower, Value upper, int64_t step, int64_t factor, llvm::function_ref<void(Index)> body);
  Values loop(Value lower, Value upper, int64_t step, int64_t factor, mlir::ValueRange initial,
              llvm::function_ref<Values(Index, mlir::ValueRange)> body);
  /// A value under a condition; nothing of the branches is moved out of them.
  Value choose(Value condition, mlir::Type type, llvm::function_ref<Value()> then, llvm::function_ref<Value()> otherwise);

  //===--- index arithmetic ---------------------------------------------------===//

  Index constant(int64_t value) const;
  Index dim(SymExpr expr);
  /// An i64 scalar or vector computed at `level`.
  Index wrap(Value value, unsigned level, int64_t factor = 1) const;
  /// The lanes from `base` on.
  Index contiguous(Index base) const;

  Index add(Index x, Index y);
  Index sub(Index x, Index y);
  Index mul(Index x, Index y);
  Index floorDiv(Index x, Index y); ///< both >= 0
  Index mod(Index x, Index y);      ///< both >= 0
  Index min(Index x, Index y);
  Index max(Index x, Index y);
  Index select(Value condition, unsigned level, Index x, Index y);
  /// i1 (or a vector of it if one side has lanes), placed at the deeper level of the two.
  Value less(Index x, Index y);
  /// Whether x < bound is the same for all lanes of x, so that one comparison with the base tells.
  bool lanesAgree(Index x, Index bound) const;
  Value baseLess(Index x, Index y);

  Value scalar(Index x); ///< of Uniform, or the base of Contiguous
  Value vector(Index x); ///< lane by lane, any kind
  /// i64 or a vector of i64.
  Value materialize(Index x) { return x.uniform() ? scalar(x) : vector(x); }

  /// Row-major offset of `at` in a tensor of `dims`.
  Index linearize(llvm::ArrayRef<SymExpr> dims, llvm::ArrayRef<Index> at);

private:
  enum class Op : uint8_t { Add, Sub, Mul, Div, Mod, Min, Max };
  Value apply(Op op, Value x, Value y);
  /// Computes with equal forms of x and y; `kind` is the result's.
  Index binary(Op op, Index x, Index y, Index::Kind kind, int64_t factor);
  void enter(mlir::Operation *anchor);
  void leave();

  using BinaryKey = std::tuple<Op, Index::Key, Index::Key>;
  /// What code at one level has computed already.
  struct Level {
    std::map<BinaryKey, Index> arithmetic;
    std::map<ElementKey, Value> elements;
  };
  /// While it lives, code is written before the loops deeper than `level`, as if they did not exist.
  class Outside {
  public:
    Outside(LoopScopes &scopes, unsigned level);
    ~Outside();

  private:
    LoopScopes &scopes_;
    mlir::OpBuilder::InsertionGuard guard_;
    llvm::SmallVector<mlir::Operation *> anchors_;
    std::vector<Level> levels_;
  };

  llvm::SmallVector<mlir::Operation *> anchors_; ///< by level: the loop (or condition) that ends it
  std::vector<Level> levels_{1};
  unsigned floor_ = 0;
};

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_LOOPSINDEX_H
