//===- ClustersProducts.cpp - products of one input --------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   %g = llm.linear %x, %wg; %u = llm.linear %x, %wu; %y = llm.mul silu(%g), %u      one kernel, whose tiles hold both
//   %q = llm.linear %x, %wq; %k = llm.linear %x, %wk                                 one kernel, whose columns are those of both
//
//===----------------------------------------------------------------------===//
#include "passes/Kernels/Clusters.h"

#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/QuantizedWeight.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::kernels;
using llm::isWeightExpression;

/// The projection that a cluster of family "linear" began with.
static Projection projectionOf(const Cluster &cluster) {
  return cluster.ops.empty() || cluster.alone || cluster.family != "linear" ? Projection() : Projection::of(cluster.ops.front());
}

/// The product that a cluster of family "linear" or "grouped_linear" began with.
static Projection gateOf(const Cluster &cluster) {
  if (cluster.ops.empty() || cluster.alone || cluster.family != "grouped_linear")
    return projectionOf(cluster);
  return cast<llm::GroupedLinearOp>(cluster.ops.front());
}

static Value rowsOf(Projection product) { return product.isGrouped() ? product->getOperand(2) : Value(); }

static bool readAlike(Projection a, Projection b) {
  return a.getInput() == b.getInput() && rowsOf(a) == rowsOf(b) && a.isGrouped() == b.isGrouped() && a->getBlock() == b->getBlock();
}

/// "f16", "4 bits, blocks of 32, scales of f16".
static std::string formatOf(Projection product) {
  if (std::optional<QuantizedWeight> quantized = findQuantizedWeight(product.getWeight(), !product.getTransposed()))
    return quantized->format.str();
  std::string text;
  llvm::raw_string_ostream(text) << product.weightType().getElementType();
  return text;
}

namespace {
struct Obstacle {
  std::string why;
  StringRef change;
};
} // namespace

/// Why two products of one input cannot share a kernel.
static std::optional<Obstacle> obstacleBetween(Projection a, Projection b) {
  if (a.getTransposed() != b.getTransposed())
    return Obstacle{"one matrix lies the other way round", "store both as [outputs, inputs]"};
  if (a.isBytes() != b.isBytes() || a.weightType().getElementType() != b.weightType().getElementType())
    return Obstacle{"the matrices are of different types: " + formatOf(a) + " and " + formatOf(b), "give them one type"};
  // Codes that a kernel cannot take together it would take as numbers, which are several times as many bytes.
  auto found = [](Projection product) { return findQuantizedWeight(product.getWeight(), !product.getTransposed()); };
  std::optional<QuantizedWeight> first = found(a), second = found(b);
  if (first.has_value() != second.has_value() || (first && first->format != second->format))
    return Obstacle{"the matrices are quantized in different ways: " + formatOf(a) + "; " + formatOf(b), "quantize them alike"};
  return std::nullopt;
}

// Two products of one input that meet in an elementwise operation: silu(x Wg) * (x Wu).
void Clusters::joinGatedPairs() {
  for (size_t i = 0; i < clusters_.size(); ++i) {
    Projection linear = gateOf(clusters_[i]);
    if (!linear)
      continue;
    for (Operation *op : llvm::to_vector(clusters_[i].ops))
      for (Value operand : op->getOperands()) {
        Operation *producer = operand.getDefiningOp();
        int other = producer ? of(producer) : -1;
        if (other < 0 || other == int(i) || !onlyUser(operand))
          continue;
        Projection second = gateOf(clusters_[size_t(other)]);
        if (second && clusters_[size_t(other)].ops.back() == producer && readAlike(linear, second) && second.weightType() == linear.weightType() &&
            !obstacleBetween(linear, second)) {
          noteJoin("join-gated-pair", second.operation(), linear.operation());
          merge(other, int(i));
        }
      }
  }
  explainGatedPairs();
}

/// The product that `value` is computed from, element by element and from nothing else but weights; `shared`: an operation on the way that others
/// read as well.
Projection Clusters::productBehind(Value value, Operation *&shared) const {
  while (Operation *op = value.getDefiningOp()) {
    if (!value.hasOneUse())
      shared = op;
    if (int cluster = of(op); cluster >= 0)
      if (Projection product = gateOf(clusters_[size_t(cluster)]); product && product.operation() == op)
        return product;
    Value next;
    for (Value operand : op->getOperands())
      if (!isWeightExpression(operand)) {
        if (next)
          return {};
        next = operand;
      }
    if (!next || !op->hasTrait<llm::Elementwise>())
      return {};
    value = next;
  }
  return {};
}

void Clusters::explainGatedPairs() {
  for (Operation *meeting : order_) {
    if (!meeting->hasTrait<llm::Elementwise>() || meeting->getNumOperands() != 2)
      continue;
    Operation *shared = nullptr;
    Projection gate = productBehind(meeting->getOperand(0), shared), other = productBehind(meeting->getOperand(1), shared);
    if (!gate || !other || gate == other || !readAlike(gate, other) || of(gate.operation()) == of(other.operation()))
      continue;
    auto apart = [&](Operation *blocker, StringRef why, StringRef change) { explainApart("join-gated-pair", blocker, meeting, why, change); };
    if (std::optional<Obstacle> obstacle = obstacleBetween(gate, other))
      apart(other.operation(), obstacle->why, obstacle->change);
    else if (shared)
      apart(shared, "the value is read elsewhere as well", "use it once");
    else if (gate.weightType() != other.weightType())
      apart(other.operation(), "the matrices have different shapes", "make both as wide");
  }
}

/// What stands behind a product in its kernel, and so keeps other products out; those of bytes may all have epilogues.
static Operation *epilogueOf(const Cluster &cluster) {
  auto other = llvm::find_if(cluster.ops, [](Operation *op) { return !Projection::of(op); });
  return Projection::of(cluster.ops.front()).isBytes() || other == cluster.ops.end() ? nullptr : *other;
}

// Products of one input: queries, keys and values. Those of bytes have epilogues, which must not need each other.
void Clusters::joinProjections() {
  SmallVector<int> kernels; // with one product at least, in order
  for (size_t i = 0; i < clusters_.size(); ++i) {
    Projection linear = projectionOf(clusters_[i]);
    if (!linear)
      continue;
    std::optional<Obstacle> first;
    Operation *blocker = nullptr;
    auto takes = [&](int other) {
      const Cluster &into = clusters_[size_t(other)];
      Projection leader = Projection::of(into.ops.front());
      if (!readAlike(leader, linear))
        return false;
      Operation *epilogue = epilogueOf(into) ? epilogueOf(into) : epilogueOf(clusters_[i]);
      std::optional<Obstacle> obstacle = obstacleBetween(leader, linear);
      if (!obstacle && epilogue)
        obstacle = {"what follows one of the products is computed with it", "nothing: a kernel for it alone would cost more"};
      else if (!obstacle && into.ops.size() + clusters_[i].ops.size() > kMostOps)
        obstacle = {"one kernel would be too large", "nothing: the bound keeps the code small"};
      else if (!obstacle && linear.isBytes() && (needs(int(i), other) || needs(other, int(i))))
        obstacle = {"what follows one of the products needs the other", "nothing: the second has to wait"};
      else
        epilogue = nullptr;
      if (obstacle && !first) {
        first = obstacle;
        blocker = epilogue ? epilogue : leader.operation();
      }
      return !obstacle;
    };
    if (auto leader = llvm::find_if(kernels, takes); leader != kernels.end()) {
      noteJoin("join-projections", linear.operation(), clusters_[size_t(*leader)].ops.front());
      merge(int(i), *leader);
      continue;
    }
    if (first)
      explainApart("join-projections", blocker, linear.operation(), first->why, first->change);
    kernels.push_back(int(i));
  }
}
