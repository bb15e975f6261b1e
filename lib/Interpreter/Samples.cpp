//===- Samples.cpp - inputs and weights to try things out with --------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Interpreter/Samples.h"

#include "Array.h"

#include "llmopt/dialects/LLM/ElementTypes.h"
#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Support/Hash.h"

#include <random>

using namespace llmopt;
using namespace llmopt::interpreter;

Tensor llmopt::sampleTensor(DType type, std::vector<int64_t> shape, uint64_t seed, SampleKind kind) {
  std::mt19937_64 random(seed);
  Array array{type, shape, {}, {}};
  int64_t count = elementCount(shape);
  std::normal_distribution<float> normal(0, 1);
  std::uniform_real_distribution<float> positive(0.25f, 2);
  for (int64_t i = 0; i < count; ++i) {
    if (array.isFloat())
      array.floats.push_back(kind == SampleKind::Normal ? normal(random) : positive(random));
    else
      array.ints.push_back(int64_t(random() & 1));
  }
  settle(array);
  return toTensor(array);
}

static void addSymbols(const SymExpr::Node *node, std::map<std::string, int64_t, std::less<>> &values) {
  // Different sizes find confused dimensions; nothing is large.
  static constexpr int64_t kSizes[] = {3, 5, 2, 7, 4, 6};
  if (node->op == SymExpr::Node::Op::Symbol)
    values.try_emplace(node->name, kSizes[values.size() % std::size(kSizes)]);
  for (const SymExpr::Node *operand : node->operands)
    addSymbols(operand, values);
}

std::optional<int64_t> SampleSizes::valueOf(SymExpr expression) {
  if (!expression.known())
    return std::nullopt;
  addSymbols(expression.node(), values_);
  return symbols_.evaluate(expression, values_);
}

std::optional<std::vector<int64_t>> SampleSizes::sizesOf(llvm::ArrayRef<SymExpr> dims) {
  constexpr int64_t kMostElements = int64_t(1) << 24;
  std::vector<int64_t> sizes;
  int64_t elements = 1;
  for (SymExpr dim : dims) {
    auto size = valueOf(dim);
    if (!size || *size < 0 || *size > kMostElements || (elements *= *size) > kMostElements)
      return std::nullopt;
    sizes.push_back(*size);
  }
  return sizes;
}

WeightStore llmopt::sampleWeights(mlir::Operation *root) {
  WeightStore weights;
  root->walk([&](llm::WeightOp op) {
    auto type = mlir::cast<mlir::RankedTensorType>(op.getType());
    std::optional<DType> dtype = llm::dtypeOf(type.getElementType());
    if (!type.hasStaticShape() || !dtype || weights.find(op.getName()))
      return;
    std::mt19937_64 random(hashString(op.getName()));
    std::normal_distribution<float> normal(0, 0.5f);
    Array array{*dtype, {type.getShape().begin(), type.getShape().end()}, {}, {}};
    int64_t count = type.getNumElements();
    for (int64_t i = 0; array.isFloat() && i < count; ++i)
      array.floats.push_back(normal(random));
    array.ints.resize(array.isFloat() ? 0 : size_t(count)); // zero, good as an index
    settle(array);
    auto tensor = std::make_shared<Tensor>(toTensor(array));
    std::span<const std::byte> bytes(static_cast<const std::byte *>(tensor->data()), tensor->bytes());
    weights.add(op.getName().str(), {*dtype, tensor->shape(), bytes, tensor});
  });
  return weights;
}

std::optional<Tensor> llmopt::sampleValue(mlir::Value value, ShapeAnalysis &shapes, SampleSizes &sizes, uint64_t seed, SampleKind kind) {
  auto type = mlir::dyn_cast<mlir::RankedTensorType>(value.getType());
  std::optional<DType> dtype = type ? llm::dtypeOf(type.getElementType()) : std::nullopt;
  const ValueShape &shape = shapes.shapeOf(value);
  auto dims = dtype ? sizes.sizesOf(shape.dims) : std::nullopt;
  if (!dims)
    return std::nullopt;
  Tensor sample = sampleTensor(*dtype, std::move(*dims), seed, kind);
  if (!shape.elements || isFloat(*dtype) || int64_t(shape.elements->size()) != sample.elements())
    return sample;
  Array array = fromTensor(sample);
  for (auto [element, known] : llvm::zip(array.ints, *shape.elements))
    element = sizes.valueOf(known).value_or(element);
  settle(array);
  return toTensor(array);
}

std::optional<std::vector<Tensor>> llmopt::sampleInputs(mlir::func::FuncOp function, uint64_t seed, SampleKind kind) {
  SymContext symbols;
  ShapeAnalysis shapes(symbols);
  SampleSizes sizes(symbols);
  std::vector<Tensor> inputs;
  for (mlir::BlockArgument argument : function.getArguments()) {
    auto input = sampleValue(argument, shapes, sizes, seed * 1000 + inputs.size(), kind);
    if (!input)
      return std::nullopt;
    inputs.push_back(std::move(*input));
  }
  return inputs;
}
