//===- KernelHarness.h - compiles one kernel and runs it here ---*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// From the text of a function with one exec.kernel to machine code in this process, and buffers that end at a page nobody may
// touch: a read or write beyond the end stops the test.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_TEST_CODEGEN_KERNELHARNESS_H
#define LLMOPT_TEST_CODEGEN_KERNELHARNESS_H

#include "codegen/CPU/KernelFamily.h"
#include "codegen/Common/ChooseStrategy.h"
#include "codegen/Common/QuantizedPanels.h"

#include <cmath>
#include <memory>
#include <numeric>
#include <random>

namespace llmopt::test {

/// Bytes that end (but for padding to 16) at an inaccessible page.
class Buffer {
public:
  explicit Buffer(size_t bytes = 0);
  ~Buffer();
  Buffer(Buffer &&other) noexcept;
  Buffer &operator=(Buffer &&other) noexcept;
  template <typename T = float>
  T *data() const { return reinterpret_cast<T *>(data_); }
  size_t bytes() const { return bytes_; }

private:
  void *map_ = nullptr, *data_ = nullptr;
  size_t mapped_ = 0, bytes_ = 0;
};

/// Random floats in [-1, 1].
Buffer randomFloats(std::mt19937 &random, size_t count);
Buffer filled(size_t count, float value);

class CompiledKernel {
public:
  /// Lowers the first exec.kernel of `text`. Strategies are chosen for `strategy`, code is made for `target`.
  static std::unique_ptr<CompiledKernel> make(const std::string &text, cpu::LowerKernel lower, const Target &target,
                                              const Target &strategy, const StrategyOptions &choices = {});
  ~CompiledKernel();

  /// Runs the variant that the plan would choose, its units dealt to `parts` threads one after the other (or the last first:
  /// writes outside a part's own units show in one of the two orders), and its second stage if it has one.
  void run(const std::vector<void *> &buffers, const std::map<std::string, int64_t, std::less<>> &symbols, unsigned parts,
           const StepTable *step = nullptr, bool lastPartFirst = false) const;
  /// Symbol of the variant that run() would take.
  std::string variant(const std::map<std::string, int64_t, std::less<>> &symbols) const;
  /// The function itself, for programs that measure.
  KernelFunction function(const std::string &symbol) const;
  const LoweredKernel &lowered() const { return lowered_; }
  const std::string &assembly() const { return assembly_; }
  int64_t evaluate(SymExpr expr, const std::map<std::string, int64_t, std::less<>> &symbols) const;

private:
  CompiledKernel() = default;
  void runStage(const KernelVariant &variant, const std::vector<void *> &buffers, const std::map<std::string, int64_t, std::less<>> &symbols,
                unsigned parts, const StepTable *step, bool lastPartFirst) const;
  const KernelVariant &choose(const std::map<std::string, int64_t, std::less<>> &symbols) const;
  std::unique_ptr<mlir::MLIRContext> context_;
  std::unique_ptr<SymContext> symbols_ = std::make_unique<SymContext>();
  LoweredKernel lowered_;
  std::string assembly_;
  void *image_ = nullptr;
};

/// %name, a matrix of codes [n, k], or, with `experts`, [experts, n, k] of which `panels.block` divides k, as an expression over weights. Scales and zero points are as `panels`
/// says (without own ones, `zero` is that of all).
std::string quantizedWeightText(const std::string &name, const QuantizedPanels &panels, int zero, int64_t n, int64_t k, int64_t experts = 0);
/// A projection of rows %x [m, k] by a matrix of codes [n, k] with scales and zero points as `panels` says (without own ones, `zero` is that of all), as
/// MatMulNBits is imported.
std::string quantizedLinearText(const QuantizedPanels &panels, int zero, int64_t n, int64_t k);

/// A matrix of random codes: what it means, and packed.
struct PackedCodes {
  QuantizedPanels panels;
  int zero;
  int64_t n, k;
  std::vector<double> weights; ///< [n][k]
  Buffer packed;

  PackedCodes(std::mt19937 &random, QuantizedPanels panels, int zero, int64_t n, int64_t k);
  /// Whether rows of bf16 meet these codes in tile registers.
  bool fillsTiles() const { return panels.blockInputs(k) % 32 == 0 && k % std::gcd(panels.blockInputs(k), int64_t(256)) == 0; }
  /// A row as kernels multiply it: as it is, rounded to bf16, or each span in multiples of 1/127 of its largest magnitude. Without a fused multiply-add quotients are rounded before they
  /// are rounded to whole ones.
  std::vector<double> rowOf(const Target &target, const float *x, StrategyOptions options) const;
  /// A row's product with a column, and the size of what it sums.
  template <typename Number>
  std::pair<double, double> dot(const Number *x, int64_t column) const {
    double sum = 0, size = 0;
    for (int64_t i = 0; i < k; ++i) {
      double product = double(x[i]) * weights[size_t(column * k + i)];
      sum += product, size += std::abs(product);
    }
    return {sum, size};
  }
};

/// Basic blocks that hold an instruction at least 16 times: the inner loops of products.
struct InnerLoops {
  int64_t number = 0;
  std::string spilling; ///< text of the first that keeps a vector on the stack
};
InnerLoops innerLoops(const std::string &assembly, std::string_view instruction);

/// The function table that kernels may call.
const ScalarFunction *scalarFunctions();

/// Pairs (target, strategy) to test with: each target with its own strategies, and the widest strategies on a narrower machine.
/// Those this machine cannot run are left out.
struct TargetPair {
  Target target, strategy;
  std::string name() const { return target.name + " with strategies of " + strategy.name; }
};
std::vector<TargetPair> runnableTargets();
/// And strategies with tile registers, which make a difference for products of words only: on targets that have them and on those that do the same in memory.
std::vector<TargetPair> runnableTargetsAndTiles();

} // namespace llmopt::test

#endif // LLMOPT_TEST_CODEGEN_KERNELHARNESS_H
