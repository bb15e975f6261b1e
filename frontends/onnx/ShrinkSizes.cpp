//===- ShrinkSizes.cpp - the same graph at smaller sizes ------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "OnnxGraphImpl.h"
#include "TensorReader.h"

#include "llvm/ADT/SmallVector.h"

#include <cstring>

namespace llmopt::onnx {
namespace {

/// Longer ones are tables, not shapes.
constexpr int64_t kLongestShape = 64;

/// The first `smaller[i]` of `shape[i]` in every dimension.
std::string takeBegin(std::span<const std::byte> bytes, llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> smaller, size_t elementSize) {
  if (shape.empty())
    return std::string(reinterpret_cast<const char *>(bytes.data()), elementSize);
  size_t inner = elementSize;
  for (int64_t dim : shape.drop_front())
    inner *= size_t(dim);
  std::string taken;
  for (int64_t i = 0; i < smaller[0]; ++i)
    taken += takeBegin(bytes.subspan(size_t(i) * inner, inner), shape.drop_front(), smaller.drop_front(), elementSize);
  return taken;
}

bool shrinkTensor(TensorProto &tensor, SizeChange change) {
  llvm::SmallVector<int64_t> shape(tensor.dims().begin(), tensor.dims().end()), smaller;
  for (int64_t dim : shape)
    smaller.push_back(change(dim));
  auto stored = readTensor(tensor, nullptr, nullptr, "");
  if (!stored)
    return smaller == shape;
  bool mayBeShape = stored->dtype == DType::I64 && shape.size() <= 1 && (shape.empty() || shape[0] <= kLongestShape);
  if (smaller == shape && !mayBeShape)
    return true;
  if (dtypeBits(stored->dtype) < 8 && stored->dtype != DType::Bool)
    return smaller == shape;
  std::string bytes = takeBegin(stored->bytes, shape, smaller, dtypeSize(stored->dtype));
  if (mayBeShape)
    for (size_t at = 0; at < bytes.size(); at += 8) {
      int64_t element;
      std::memcpy(&element, bytes.data() + at, 8);
      element = change(element);
      std::memcpy(bytes.data() + at, &element, 8);
    }
  TensorProto changed;
  changed.set_name(tensor.name());
  changed.set_data_type(tensor.data_type());
  for (int64_t dim : smaller)
    changed.add_dims(dim);
  changed.set_raw_data(bytes);
  tensor.Swap(&changed);
  return true;
}

} // namespace

bool shrinkSizes(GraphProto &graph, SizeChange change, bool attributes) {
  for (ValueInfoProto &input : *graph.mutable_input())
    for (auto &dim : *input.mutable_type()->mutable_tensor_type()->mutable_shape()->mutable_dim())
      if (dim.has_dim_value())
        dim.set_dim_value(change(dim.dim_value()));
  for (TensorProto &tensor : *graph.mutable_initializer())
    if (!shrinkTensor(tensor, change))
      return false;
  for (NodeProto &node : *graph.mutable_node())
    for (AttributeProto &attribute : *node.mutable_attribute()) {
      if (attribute.has_t() && !shrinkTensor(*attribute.mutable_t(), change))
        return false;
      if (!attributes)
        continue;
      if (attribute.has_i())
        attribute.set_i(change(attribute.i()));
      for (int64_t &number : *attribute.mutable_ints())
        number = change(number);
    }
  return true;
}

} // namespace llmopt::onnx
