//===- ClustersJoin.cpp - kernels that need not be two -----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Each kernel ends at a barrier, so one kernel for two pieces of work saves one:
//
//   %k = loops(..); %v = loops(..)        ==>   %k, %v = loops(..)       where neither needs the other, or where both are single numbers
//   %a = loops(min %x); %b = loops(max %x) ==>  %a, %b = loops(..)
//   %a = loops(min %x); %s = loops(f(%a)) ==>   %a, %s = loops(..)       single numbers; also a vector made of such
//   %n = rows(norm %x); %y = linear(%n)   ==>   %y = linear(norm %x)     each part norms (or quantizes, or fetches) the rows that it multiplies
//   %n = rows(norm %x); %m = loops(row max %n) ==> %n, %m = rows(..)     taken while the row is in registers
//
//===----------------------------------------------------------------------===//
#include "passes/Kernels/Clusters.h"

#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/Projection.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::kernels;

/// Loop kernels this far apart, in order of their last operations, are looked at together; what they may hold together.
static constexpr size_t kWindow = 12, kMostJoinedOps = 64;

static bool isBefore(Operation *a, Operation *b) { return a->isBeforeInBlock(b); }
static Operation *firstOf(const Cluster &cluster) { return *llvm::min_element(cluster.ops, isBefore); }
static Operation *lastOf(const Cluster &cluster) { return *llvm::max_element(cluster.ops, isBefore); }

/// Cache writes that come before the reads of attention, and reads before the next write.
static bool touchesCache(Operation *op) { return isa<llm::CacheAppendOp, llm::PagedAttentionOp>(op); }

/// Whether `cluster` needs a result of `other`: directly (unless `directly` is off), or by way of other clusters or of views, which no kernel
/// holds unless its readers took them in.
bool Clusters::needs(int cluster, int other, bool directly) const {
  Operation *oldest = firstOf(clusters_[size_t(other)]);
  llvm::DenseSet<int> seen{cluster};
  llvm::DenseSet<Operation *> seenOutside;
  SmallVector<int> work{cluster};
  bool found = false;
  while (!work.empty() && !found) {
    int current = work.pop_back_val();
    SmallVector<Operation *> readers(clusters_[size_t(current)].ops);
    auto visit = [&](Operation *reader, Operation *producer) {
      int from = producer ? of(producer) : -1;
      if (producer && from < 0 && seenOutside.insert(producer).second)
        readers.push_back(producer);
      if (from < 0 || from == current)
        return;
      if (from == other)
        found |= directly || current != cluster || of(reader) < 0;
      else if (!isBefore(lastOf(clusters_[size_t(from)]), oldest) && seen.insert(from).second)
        work.push_back(from);
    };
    while (!readers.empty()) {
      Operation *reader = readers.pop_back_val();
      for (Value operand : reader->getOperands())
        visit(reader, operand.getDefiningOp());
      if (touchesCache(reader))
        for (Operation *op : order_)
          if (touchesCache(op) && isBefore(op, reader))
            visit(reader, op);
    }
  }
  return found;
}

static bool isOneElement(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.hasStaticShape() && type.getNumElements() == 1;
}

/// Single numbers made of single numbers, or of whole tensors: so cheap, those tensors apart, that each result may compute again what it
/// needs of the others.
static bool isOfScalars(const Cluster &cluster) {
  return cluster.family == "loops" && !cluster.alone && !cluster.ops.empty() && llvm::all_of(cluster.ops, [](Operation *op) {
    return (op->hasTrait<llm::Elementwise>() || isa<llm::ReduceOp>(op)) && isOneElement(op->getResult(0));
  });
}

/// Goes over more than one number a row: every thread of a kernel that holds it beside other nests would do so.
static bool readsTensor(const Cluster &cluster) {
  return llvm::any_of(cluster.ops, [](Operation *op) {
    auto reduce = dyn_cast<llm::ReduceOp>(op);
    auto ofRows = reduce ? reduce.getInput().getDefiningOp<llm::ReduceOp>() : llm::ReduceOp();
    return reduce && !(ofRows && llvm::is_contained(ofRows.getAxes(), cast<RankedTensorType>(ofRows.getInput().getType()).getRank() - 1));
  });
}

/// Walks along an axis by itself: such a kernel holds nothing else.
static bool isNest(const Cluster &cluster) {
  return isOfScalars(cluster) || (cluster.family == "loops" && !cluster.alone && !cluster.ops.empty() && llvm::none_of(cluster.ops, [](Operation *op) {
    return isa<llm::TopKOp, llm::ScatterElementsOp, llm::ScatterNDOp, llm::CumSumOp, llm::ConvOp, llm::MatMulOp, llm::LinearOp, llm::ReduceOp,
               llm::ArgReduceOp>(op);
  }));
}

/// All results together are a vector: computing numbers that they need for each of its parts is nothing beside a barrier.
static bool isShort(const Cluster &cluster) {
  constexpr int64_t kMostElements = 1 << 14;
  int64_t elements = 0;
  for (Operation *op : cluster.ops)
    for (Type result : op->getResultTypes()) {
      auto type = dyn_cast<RankedTensorType>(result);
      elements += type && type.hasStaticShape() ? type.getNumElements() : kMostElements;
    }
  return elements < kMostElements;
}

/// The tensor that a cluster reduces to single numbers and does nothing else.
static Value reducedBy(const Cluster &cluster) {
  auto reduce = cluster.family == "loops" && !cluster.alone && cluster.ops.size() == 1 ? dyn_cast<llm::ReduceOp>(cluster.ops.front()) : llm::ReduceOp();
  bool toOne = reduce && int64_t(reduce.getAxes().size()) == cast<RankedTensorType>(reduce.getInput().getType()).getRank();
  return toOne ? reduce.getInput() : Value();
}

/// Why two nests that need nothing of each other stay two; empty where they need not.
static StringRef obstacleTo(const Cluster &into, const Cluster &from) {
  bool scalars = isOfScalars(into) && isOfScalars(from);
  if (into.ops.size() + from.ops.size() > kMostJoinedOps)
    return "one kernel would be too large";
  if (!scalars && (readsTensor(into) || readsTensor(from)))
    return "one of them goes over a whole tensor, which then all threads would do";
  return "";
}

void Clusters::joinLoops() {
  auto join = [&](int from, int into) {
    noteJoin("join-loops", lastOf(clusters_[size_t(from)]), lastOf(clusters_[size_t(into)]));
    merge(from, into);
  };
  llvm::DenseMap<Value, int> reductions;
  for (size_t i = 0; i < clusters_.size(); ++i)
    if (Value value = reducedBy(clusters_[i]))
      if (auto [it, isNew] = reductions.try_emplace(value, int(i)); !isNew && lastOf(clusters_[size_t(it->second)])->getBlock() == lastOf(clusters_[i])->getBlock())
        join(int(i), it->second);
  SmallVector<int> nests;
  for (size_t i = 0; i < clusters_.size(); ++i)
    if (isNest(clusters_[i]))
      nests.push_back(int(i));
  llvm::sort(nests, [&](int a, int b) { return isBefore(lastOf(clusters_[size_t(a)]), lastOf(clusters_[size_t(b)])); });
  auto needNothing = [&](int earlier, int later) {
    const Cluster &into = clusters_[size_t(earlier)], &from = clusters_[size_t(later)];
    bool scalars = isOfScalars(into) && isOfScalars(from), mayRead = scalars || (isOfScalars(into) && isShort(from));
    return !needs(later, earlier, /*directly=*/!mayRead) && !needs(earlier, later, /*directly=*/!scalars);
  };
  llvm::MapVector<int, std::pair<Operation *, StringRef>> apart;
  for (size_t i = 0; i < nests.size(); ++i)
    for (size_t j = i + 1; j < std::min(nests.size(), i + kWindow) && !clusters_[size_t(nests[i])].ops.empty(); ++j) {
      Cluster &into = clusters_[size_t(nests[i])], &from = clusters_[size_t(nests[j])];
      if (from.ops.empty() || !needNothing(nests[i], nests[j]))
        continue;
      if (StringRef why = obstacleTo(into, from); !why.empty())
        apart.insert({nests[j], {lastOf(into), why}});
      else
        join(nests[j], nests[i]);
    }
  for (auto [nest, other] : apart)
    if (!clusters_[size_t(nest)].ops.empty())
      explainApart("join-loops", other.first, lastOf(clusters_[size_t(nest)]), other.second, "nothing: both together would take longer");
}

/// The largest or smallest elements of rows, perhaps of their absolute values; null if the cluster computes anything else.
static llm::ReduceOp rowExtremumOf(const Cluster &cluster) {
  if (cluster.family != "loops" || cluster.alone || cluster.ops.empty())
    return {};
  auto reduce = dyn_cast<llm::ReduceOp>(lastOf(cluster));
  if (!reduce || (reduce.getKind() != llm::ReduceKind::min && reduce.getKind() != llm::ReduceKind::max))
    return {};
  auto type = cast<RankedTensorType>(reduce.getInput().getType());
  bool alongRows = reduce.getAxes() == ArrayRef<int64_t>(type.getRank() - 1) && type.getElementType().isF32();
  bool others = llvm::all_of(cluster.ops, [&](Operation *op) { return op == reduce || isa<llm::AbsOp, llm::NegOp>(op); });
  return alongRows && others ? reduce : llm::ReduceOp();
}

// Where products read the norm itself they take it in instead.
void Clusters::joinRowExtrema() {
  for (size_t i = 0; i < clusters_.size(); ++i) {
    llm::ReduceOp reduce = rowExtremumOf(clusters_[i]);
    if (!reduce)
      continue;
    Value value = reduce.getInput();
    while (Operation *op = value.getDefiningOp()) {
      if (of(op) != int(i))
        break;
      value = op->getOperand(0);
    }
    Operation *producer = value.getDefiningOp();
    int rows = producer ? of(producer) : -1;
    if (rows < 0 || !isa<llm::LayerNormOp, llm::RMSNormOp>(producer))
      continue;
    const Cluster &norm = clusters_[size_t(rows)];
    if (norm.family != "rows" || norm.alone || norm.ops.size() + clusters_[i].ops.size() > kMostOps || producer->getBlock() != reduce->getBlock()) {
      explainApart("join-row-extrema", producer, reduce, "the norm's kernel is full, or stands alone", "nothing: the bound keeps the code small");
    } else if (llvm::any_of(value.getUsers(), [](Operation *user) { return bool(Projection::of(user)); })) {
      explainApart("join-row-extrema", producer, reduce, "a product reads the norm as it is, and takes it in instead", "nothing: a kernel less is worth more");
    } else {
      noteJoin("join-row-extrema", reduce, producer);
      merge(int(i), rows);
    }
  }
}

/// Quantizes: elementwise operations on numbers that lie in memory anyway, down to bytes.
static bool isQuantization(const Cluster &cluster) {
  return llvm::all_of(cluster.ops, [](Operation *op) { return op->hasTrait<llm::Elementwise>(); }) &&
         getElementTypeOrSelf(lastOf(cluster)->getResult(0).getType()).isUnsignedInteger(8);
}

/// The norm whose rows are a kernel's main result: nothing comes behind it. Or a cast, a quantization, a choice of rows, or windows, that only products read.
static Operation *normOf(const Cluster &cluster) {
  if (cluster.ops.empty() || cluster.alone)
    return nullptr;
  Operation *norm = lastOf(cluster);
  bool isChoice = kernels::isChoiceOfRows(norm);
  if (!isa<llm::LayerNormOp, llm::RMSNormOp, llm::CastOp, llm::WindowsOp>(norm) && !isChoice)
    return nullptr;
  auto type = cast<RankedTensorType>(norm->getResult(0).getType());
  if (type.getRank() == 0 || type.isDynamicDim(type.getRank() - 1))
    return nullptr;
  bool isNorm = cluster.family == "rows" && !isa<llm::CastOp, llm::WindowsOp>(norm) && !isChoice && type.getElementType().isF32();
  bool isCast = cluster.family == "loops" &&
                ((cluster.ops.size() == 1 && type.getElementType().isF32()) || isQuantization(cluster)) &&
                llvm::all_of(norm->getUses(), [](OpOperand &use) { return Projection::of(use.getOwner()) && use.getOperandNumber() == 0; });
  return isNorm || isCast ? norm : nullptr;
}

// One kernel of projections, whose other operations read nothing of the norm. Where two such kernels read a norm, it is computed once.
void Clusters::joinNorms() {
  for (size_t i = 0; i < clusters_.size(); ++i) {
    Operation *norm = normOf(clusters_[i]);
    if (!norm)
      continue;
    llvm::DenseSet<int> products;
    bool isInput = true;
    for (Operation *user : norm->getUsers())
      if (Projection::of(user))
        products.insert(of(user));
    if (products.empty())
      continue;
    Operation *first = *llvm::find_if(norm->getUsers(), [](Operation *user) { return bool(Projection::of(user)); });
    auto apart = [&](StringRef why, StringRef change) { explainApart("join-norm", norm, first, why, change); };
    if (products.size() != 1 || *products.begin() < 0) {
      apart("products of several kernels read the norm, so it is computed once, for all of them", "join their weights into one matrix");
      continue;
    }
    int product = *products.begin();
    for (Operation *op : clusters_[size_t(product)].ops) {
      Projection linear = Projection::of(op);
      bool readsNorm = linear && linear.getInput() == norm->getResult(0);
      isInput &= !linear || readsNorm;
      for (Value operand : op->getOperands())
        if (Operation *producer = operand.getDefiningOp(); producer && of(producer) == int(i))
          isInput &= readsNorm && operand == linear.getInput();
    }
    const Cluster &reader = clusters_[size_t(product)];
    if (!isInput && reader.family == "linear" && !reader.alone)
      apart("the product's kernel has another input beside the norm, or reads the norm elsewhere as well", "read the norm by this product alone");
    if (!isInput || reader.family != "linear" || reader.alone || norm->getBlock() != reader.ops.front()->getBlock() ||
        reader.ops.size() + clusters_[i].ops.size() > kMostOps)
      continue;
    if (needs(product, int(i), /*directly=*/false)) {
      apart("the product's kernel needs the norm by way of another kernel as well", "add what comes of the norm later");
      continue;
    }
    noteJoin("join-norm", norm, first);
    merge(int(i), product);
  }
}
