//===- LoopsIndexing.cpp - elements chosen by index tensors ---------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/LoopsEmitter.h"

#include "codegen/CPU/Elementwise.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

namespace {

class Indexing {
public:
  using Coordinates = ElementEmitter::Coordinates;
  using At = ElementEmitter::At;
  Indexing(ElementEmitter &e, At at) : e(e), at(at) {}

  Value gather(llm::GatherOp op) {
    size_t axis = size_t(op.getAxis()), indexRank = e.dims(op.getIndices()).size();
    Index chosen = entry(op.getIndices(), at.slice(axis, indexRank), e.dims(op.getInput())[axis]);
    Coordinates in(at.begin(), at.begin() + axis);
    in.push_back(chosen);
    in.append(at.begin() + axis + indexRank, at.end());
    return e.element(op.getInput(), in);
  }

  Value gatherElements(llm::GatherElementsOp op) {
    Coordinates in(at.begin(), at.end());
    in[op.getAxis()] = entry(op.getIndices(), at, e.dims(op.getInput())[op.getAxis()]);
    return e.element(op.getInput(), in);
  }

  Value gatherND(llm::GatherNDOp op) {
    size_t batch = size_t(op.getBatchDims()), tupleRank = e.dims(op.getIndices()).size() - 1;
    auto depth = e.dims(op.getIndices()).back().constant();
    if (!depth) {
      e.fail(op, "the length of an index tuple is not known");
      return {};
    }
    Coordinates in(at.begin(), at.begin() + batch), tuple(at.begin(), at.begin() + tupleRank);
    for (int64_t i = 0; i < *depth; ++i) {
      tuple.push_back(e.scopes.constant(i));
      in.push_back(entry(op.getIndices(), tuple, e.dims(op.getInput())[batch + size_t(i)]));
      tuple.pop_back();
    }
    in.append(at.begin() + tupleRank, at.end());
    return e.element(op.getInput(), in);
  }

  Value embedding(llm::EmbeddingOp op) {
    Index row = entry(op.getIds(), at.drop_back(), e.dims(op.getTable())[0]);
    Value value = e.element(op.getTable(), {row, at.back()});
    Type from = registerType(e.elementType(op.getTable())), to = registerType(e.elementType(op));
    if (from == to)
      return value;
    Type type = to;
    if (auto vector = dyn_cast<VectorType>(value.getType()))
      type = vector.clone(to);
    if (from.isF64())
      return arith::TruncFOp::create(e.b.ops(), e.b.loc(), type, value);
    return arith::ExtFOp::create(e.b.ops(), e.b.loc(), type, value);
  }

private:
  ElementEmitter &e;
  At at;

  /// An element of an index tensor as a coordinate of a dimension of `size`.
  Index entry(Value indices, At position, SymExpr size) {
    Value raw = e.element(indices, position);
    return e.indexFrom(raw, e.elementType(indices), e.levelOf(position), size);
  }
};

} // namespace

Value ElementEmitter::emitIndexingOp(Operation *op, At at) {
  Indexing indexing(*this, at);
  return llvm::TypeSwitch<Operation *, Value>(op)
      .Case<llm::GatherOp>([&](llm::GatherOp gather) { return indexing.gather(gather); })
      .Case<llm::GatherElementsOp>([&](llm::GatherElementsOp gather) { return indexing.gatherElements(gather); })
      .Case<llm::GatherNDOp>([&](llm::GatherNDOp gather) { return indexing.gatherND(gather); })
      .Case<llm::EmbeddingOp>([&](llm::EmbeddingOp embedding) { return indexing.embedding(embedding); })
      .Default([](Operation *) { return Value(); });
}
