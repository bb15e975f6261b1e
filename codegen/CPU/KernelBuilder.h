//===- KernelBuilder.h - writes one kernel as vector/scf/arith --*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The printing hand of every CPU kernel generator. It makes one function of the signature in lib/Artifact/KernelABI.h and
// offers loops, address arithmetic (i64) and memory access on it. Memory is `!llvm.ptr` plus element offsets; values are
// scalars or one-dimensional vectors. The generator does the unrolling and keeps accumulators as loop-carried values.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CPU_KERNELBUILDER_H
#define LLMOPT_CODEGEN_CPU_KERNELBUILDER_H

#include "llmopt/lib/Analysis/SymExpr.h"
#include "llmopt/lib/Artifact/KernelABI.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace llmopt::cpu {

/// How a value lies in memory.
enum class Signedness { Signed, Unsigned };

class KernelBuilder {
public:
  using Value = mlir::Value;
  using Values = llvm::SmallVector<mlir::Value>;

  /// Adds function `symbol` to `module` and stands at the start of its body.
  KernelBuilder(mlir::ModuleOp module, llvm::StringRef symbol, SymContext &symbols);
  ~KernelBuilder();

  mlir::OpBuilder &ops() { return builder_; }
  mlir::Location loc() const { return loc_; }
  mlir::MLIRContext *context() { return builder_.getContext(); }
  SymContext &symbols() { return symbols_; }

  //===--- what the launch gives -----------------------------------------===//

  /// Base address of binding `i` (inputs, then outputs, then extra bindings of the family).
  Value buffer(unsigned i);
  /// An integer known when compiling, or read from KernelArgs::dims. Expressions asked for are collected in `dims()`.
  Value dim(SymExpr expr);
  /// The stage's dimension expressions in the order the kernel reads them (without the leading work unit count).
  llvm::ArrayRef<SymExpr> dims() const { return dims_; }
  /// First and one past the last work unit of this part.
  Value unitBegin();
  Value unitEnd();
  /// This part's number and how many there are, for kernels that deal out their work themselves.
  Value part();
  Value parts();
  /// Thread-private scratch memory, 64-byte aligned.
  Value scratch();
  /// Pointer to the StepTable (ragged kernels).
  Value stepTable();
  /// The scalar function table's entry, called with one or two f64.
  Value callScalar(ScalarFunctionId id, Value x, Value y = {});

  //===--- integers (i64) -------------------------------------------------===//

  Value index(int64_t value);
  Value add(Value a, Value b);
  Value sub(Value a, Value b);
  Value mul(Value a, Value b);
  Value add(Value a, int64_t b);
  Value mul(Value a, int64_t b);
  Value floorDiv(Value a, Value b); ///< operands >= 0
  Value mod(Value a, Value b);      ///< operands >= 0
  Value floorDiv(Value a, int64_t b) { return floorDiv(a, index(b)); }
  Value mod(Value a, int64_t b) { return mod(a, index(b)); }
  Value min(Value a, Value b); ///< signed
  Value max(Value a, Value b);
  Value less(Value a, Value b); ///< i1, signed
  Value equal(Value a, Value b);
  Value select(Value condition, Value a, Value b);

  //===--- types and constants --------------------------------------------===//

  mlir::Type f32() { return builder_.getF32Type(); }
  mlir::Type i64() { return builder_.getI64Type(); }
  mlir::Type i32() { return builder_.getI32Type(); }
  mlir::VectorType vec(int64_t lanes, mlir::Type element);
  /// A float or integer constant of a scalar or vector type.
  Value constant(mlir::Type type, double value);
  Value constantInt(mlir::Type type, int64_t value);
  Value splat(Value scalar, mlir::VectorType type);

  //===--- memory ----------------------------------------------------------===//

  /// Address of element `offset` (in units of `element`'s size; i1 counts as one byte).
  Value address(Value base, Value offset, mlir::Type element);
  /// Loads a scalar or vector `type` at element `offset`. `alignment` 0: that of one element. i1 tensors lie as bytes:
  /// use i8 here and compare.
  Value load(mlir::Type type, Value base, Value offset, int64_t alignment = 0);
  void store(Value value, Value base, Value offset, int64_t alignment = 0);
  /// Loads lanes [0, count) of a vector, the others are zero; touches no byte beyond. `count` is i64 in [0, lanes].
  Value loadPart(mlir::VectorType type, Value base, Value offset, Value count);
  void storePart(Value value, Value base, Value offset, Value count);
  /// Loads one element and repeats it in all lanes.
  Value loadSplat(mlir::VectorType type, Value base, Value offset);
  /// Prefetch for reading; locality 3 = L1, 2 = L2, 1 = L3.
  void prefetch(Value base, Value offset, mlir::Type element, int locality);

  //===--- float arithmetic on scalars and vectors --------------------------===//

  Value fadd(Value a, Value b);
  Value fsub(Value a, Value b);
  Value fmul(Value a, Value b);
  Value fdiv(Value a, Value b);
  Value fma(Value a, Value b, Value c); ///< a * b + c, one rounding where the target has it
  Value fmax(Value a, Value b);         ///< compare and select: b if unordered
  Value fmin(Value a, Value b);
  /// Folds the upper half of the lanes onto the lower half until one is left (a fixed order); sum and maximum that way.
  Value reduce(Value vector, llvm::function_ref<Value(Value, Value)> combine);
  Value reduceAdd(Value vector);
  Value reduceMax(Value vector);
  /// e^x and 2^x by a polynomial of relative error < 1e-7 (f32), clamped at the range's ends; scalars and vectors.
  Value exp(Value x);
  Value exp2(Value x);
  /// Widens bf16 or f16 (vectors of i16 or f16) to f32, and narrows with round to nearest even.
  Value bf16ToF32(Value bits);
  Value f32ToBf16(Value value);

  //===--- control -----------------------------------------------------------===//

  void forLoop(Value lower, Value upper, int64_t step, llvm::function_ref<void(Value)> body);
  Values forLoop(Value lower, Value upper, int64_t step, mlir::ValueRange initial,
                 llvm::function_ref<Values(Value, mlir::ValueRange)> body);
  void ifThen(Value condition, llvm::function_ref<void()> then, llvm::function_ref<void()> otherwise = nullptr);
  Values ifThen(Value condition, mlir::TypeRange results, llvm::function_ref<Values()> then, llvm::function_ref<Values()> otherwise);
  /// Puts `body` into a function of its own that is called here. LLVM hoists the constants of a loop out of all loops around it, where
  /// they would take the registers of a matrix product's inner loop.
  void outline(llvm::function_ref<void()> body);
  /// The same address, which LLVM does not know to be the same.
  Value opaque(Value address);
  /// Runs `body` for each work unit of this part.
  void forEachUnit(llvm::function_ref<void(Value unit)> body);

private:
  mlir::OpBuilder builder_;
  mlir::Location loc_;
  SymContext &symbols_;
  mlir::Operation *function_ = nullptr;
  mlir::Block *entry_ = nullptr;
  int outlined_ = 0; ///< functions made by outline()
  llvm::SmallVector<SymExpr> dims_;
  llvm::SmallVector<Value> dimValues_, buffers_;
  Value unitBegin_, unitEnd_, part_, parts_;
  /// Runs `make` at the function's start, so that its value is usable everywhere.
  Value atEntry(llvm::function_ref<Value()> make);
};

} // namespace llmopt::cpu

#endif // LLMOPT_CODEGEN_CPU_KERNELBUILDER_H
