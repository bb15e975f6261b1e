//===- Clusters.h - which operations share a kernel ------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The decision of phase Planned, apart from carrying it out. Every operation of a function is either outside of all kernels (it
// costs nothing at run time), or in exactly one cluster, which becomes one kernel.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_KERNELS_CLUSTERS_H
#define LLMOPT_PASSES_KERNELS_CLUSTERS_H

#include "llmopt/lib/Analysis/Projection.h"
#include "llmopt/lib/Analysis/ShapeAnalysis.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringMap.h"

namespace llmopt::kernels {

/// An integer tensor whose elements the analysis solved to expressions in the function's symbols.
bool isSolved(mlir::Value value, ShapeAnalysis &shapes);

/// A bound on the operations of one kernel, and so on its code.
inline constexpr size_t kMostOps = 48;

/// Rows of a matrix of f32 that is no weight: those of a step's tokens whose logits are asked for.
bool isChoiceOfRows(mlir::Operation *op);

struct Cluster {
  llvm::StringRef family;
  llvm::SmallVector<mlir::Operation *> ops; ///< in block order
  bool alone = false;                       ///< no other operation joins
};

/// Gives attention and products copies of their own of the transpositions, slices and joins (of a cache with new keys) that their operands are
/// made of and that others read as well: each reader then computes where it reads.
void copySharedMoves(mlir::func::FuncOp function);

/// What `count-joins` leaves on functions.
inline constexpr llvm::StringLiteral kJoinsMade = "llm.joins_made";

/// Remarks why `reader` computes in another kernel than `producer`, though `join` (of Joins.def) could have made them one.
void explainApart(llvm::StringRef join, mlir::Operation *producer, mlir::Operation *reader, llvm::StringRef why, llvm::StringRef change);

struct ClusterOptions {
  bool fuse = true;  ///< else one operation a cluster (but for what no kernel can do alone: rope joins its reader)
  bool norms = true; ///< products take in the norm of their input
  llvm::ArrayRef<std::string> alone = {};   ///< names of operations that nothing joins in any case
  llvm::ArrayRef<std::string> disable = {}; ///< joins to leave out
};

class Clusters {
public:
  Clusters(mlir::func::FuncOp function, ShapeAnalysis &shapes, const ClusterOptions &options);

  llvm::ArrayRef<Cluster> all() const { return clusters_; }
  /// The cluster of an operation; -1 for operations outside.
  int of(mlir::Operation *op) const;
  /// How many kernels each join made.
  const llvm::StringMap<int64_t> &joinsMade() const { return joinsMade_; }

private:
  void findOutside();
  /// No kernel needed: a weight expression, a view, or sizes that analysis solved and only size operands use.
  bool isOutside(mlir::Operation *op) const { return outside_.contains(op); }
  bool wants(llvm::StringRef join) const;
  /// Notes that `what` shares the kernel of `into`.
  void noteJoin(llvm::StringRef join, mlir::Operation *what, mlir::Operation *into) { joins_.push_back({join, what, into}); }
  void explainJoins();
  void startAnchors();
  void growEpilogue(int cluster, mlir::Value value, bool onlyWeights);
  void absorbNormPrologue(int cluster);
  void absorbChosenRows(int cluster, mlir::Operation *reader);
  void explainNormInputs();
  void absorbRope(int cluster, mlir::Value rotated);
  // ClustersProducts.cpp
  void joinGatedPairs();
  void explainGatedPairs();
  void joinProjections();
  Projection productBehind(mlir::Value value, mlir::Operation *&shared) const;
  // ClustersAttention.cpp
  void absorbLayouts(int cluster);
  void absorbResultLayout(int cluster);
  void explainResultLayout(llvm::ArrayRef<mlir::Operation *> chain, mlir::Value value);
  llvm::SmallVector<mlir::Operation *> movesReadOnlyBy(mlir::Operation *reader, mlir::ValueRange operands);
  // ClustersLoops.cpp
  void clusterLoops();
  struct Reader;
  Reader soleReader(mlir::Operation *op) const;
  bool mayPull(mlir::Operation *op, const Reader &reader, llvm::StringRef &why);
  // ClustersJoin.cpp
  void joinLoops();
  void joinNorms();
  void joinRowExtrema();
  bool needs(int cluster, int other, bool directly = true) const;
  int add(mlir::Operation *op, llvm::StringRef family);
  void put(mlir::Operation *op, int cluster);
  void merge(int from, int into);
  bool sameShape(mlir::Value a, mlir::Value b);
  bool repeatsOrFits(mlir::Value operand, mlir::Value of);
  mlir::Operation *onlyUser(mlir::Value value) const;

  mlir::func::FuncOp function_;
  ShapeAnalysis &shapes_;
  ClusterOptions options_;
  struct Join {
    llvm::StringRef name;
    mlir::Operation *what, *into;
  };
  llvm::SmallVector<Join> joins_;
  llvm::StringMap<int64_t> joinsMade_;
  llvm::SmallVector<mlir::Operation *> order_;
  llvm::DenseSet<mlir::Operation *> outside_;
  llvm::DenseMap<mlir::Operation *, int> clusterOf_;
  llvm::SmallVector<Cluster> clusters_;
  /// Operations in loop nests whose elements are computed more than once, and how many of them a cluster has.
  llvm::DenseSet<mlir::Operation *> repeated_;
  llvm::DenseMap<int, int> repeatedIn_;
};

} // namespace llmopt::kernels

#endif // LLMOPT_PASSES_KERNELS_CLUSTERS_H
