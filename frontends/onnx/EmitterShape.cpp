//===- EmitterShape.cpp - shape words of the emitter ----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Emitter.h"

#include "ModelFile.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace llmopt::onnx {

Value Emitter::shapeOf(Value input) { return op("llm.shape", input); }

Value Emitter::dimVector(Value input, int64_t dim) {
  if (auto size = staticDim(input, dim))
    return vector(*size);
  return slice(shapeOf(input), 0, dim, dim + 1);
}

Value Emitter::dim(Value input, int64_t dim) {
  if (auto size = staticDim(input, dim))
    return integer(*size);
  return squeeze(dimVector(input, dim), 0);
}

Value Emitter::shapeVector(ArrayRef<DimProduct> dims) {
  llvm::SmallVector<Value> parts;
  llvm::SmallVector<int64_t> numbers; // consecutive numbers become one constant
  auto flush = [&] {
    if (!numbers.empty())
      parts.push_back(vector(numbers));
    numbers.clear();
  };
  for (const DimProduct &entry : dims) {
    int64_t number = entry.number;
    Value product;
    for (auto [value, dim] : entry.dims)
      if (auto size = staticDim(value, dim))
        number *= *size;
      else
        product = product ? mul(product, dimVector(value, dim)) : dimVector(value, dim);
    if (!product) {
      numbers.push_back(number);
      continue;
    }
    flush();
    parts.push_back(number == 1 ? product : mul(product, vector(number)));
  }
  flush();
  if (parts.empty())
    return vector({});
  return parts.size() == 1 ? parts[0] : concat(parts, 0);
}

/// What can be seen now to be wrong with a reshape.
static bool isReshapeValid(Emitter &e, Value input, ArrayRef<int64_t> shape, bool allowZero) {
  int64_t have = 1, want = 1;
  bool known = true, rest = false;
  for (int64_t i = 0; i < e.rank(input); ++i) {
    auto dim = e.staticDim(input, i);
    known &= dim && !__builtin_mul_overflow(have, *dim, &have);
  }
  for (auto [i, entry] : llvm::enumerate(shape)) {
    bool copies = entry == 0 && !allowZero;
    if (entry < -1 || (entry == -1 && rest) || (copies && int64_t(i) >= e.rank(input)))
      return false;
    rest |= entry == -1;
    auto dim = copies ? e.staticDim(input, int64_t(i)) : entry == -1 ? 1 : std::optional<int64_t>(entry);
    known &= dim && !__builtin_mul_overflow(want, *dim, &want);
  }
  return !known || (rest ? want == 0 || have % want == 0 : have == want);
}

Value Emitter::reshapeTo(Value input, Value shape, bool allowZero) {
  if (!input || !shape)
    return {};
  if (rank(shape) != 1 || !staticDim(shape, 0) || *staticDim(shape, 0) > kMaxRank)
    unsupported("the rank of the result depends on tensor data");
  if (auto known = ints(shape); known && !isReshapeValid(*this, input, *known, allowZero)) {
    std::string text;
    for (int64_t entry : *known)
      text += (text.empty() ? "" : ", ") + std::to_string(entry);
    invalid(describeType(analysis, input) + " cannot have the shape [" + text + "]");
  }
  llvm::SmallVector<NamedAttribute> attributes;
  if (allowZero)
    attributes.push_back(unit("allowzero"));
  return op("llm.reshape", {input, shape}, attributes);
}

Value Emitter::reshape(Value input, ArrayRef<int64_t> shape) { return input ? reshapeTo(input, vector(shape)) : Value(); }

Value Emitter::reshapeDims(Value input, ArrayRef<DimProduct> dims) {
  // One unknown among numbers is written -1, a dimension that stays in place 0: what analysis and readers like best.
  llvm::SmallVector<int64_t> entries;
  int rest = 0;
  bool copies = false, zero = false;
  for (auto [i, entry] : llvm::enumerate(dims)) {
    int64_t number = entry.number;
    bool dynamic = false;
    for (auto [value, dim] : entry.dims)
      if (auto size = staticDim(value, dim))
        number *= *size;
      else
        dynamic = true;
    bool copy = dynamic && entry.dims.size() == 1 && number == 1 && int64_t(i) < rank(input) &&
                sameDim(input, int64_t(i), entry.dims[0].first, entry.dims[0].second);
    copies |= copy;
    zero |= !dynamic && number == 0;
    rest += dynamic && !copy;
    entries.push_back(copy ? 0 : dynamic ? -1 : number);
  }
  // -1 beside a dimension that may be 0 would divide by it.
  if (zero || rest > 1 || (rest == 1 && copies))
    return reshapeTo(input, shapeVector(dims));
  return reshape(input, entries);
}

Value Emitter::transpose(Value input, ArrayRef<int64_t> permutation) {
  if (!input)
    return {};
  llvm::SmallVector<int64_t> sorted(permutation);
  llvm::sort(sorted);
  if (!llvm::equal(sorted, llvm::seq<int64_t>(0, rank(input))))
    invalid("not a permutation of the " + std::to_string(rank(input)) + " dimensions");
  if (llvm::is_sorted(permutation))
    return failed() ? Value() : input;
  return op("llm.transpose", input, attr("permutation", permutation));
}

Value Emitter::expandDims(Value input, ArrayRef<int64_t> axes) {
  if (rank(input) + int64_t(axes.size()) > kMaxRank)
    invalid("the result has rank " + std::to_string(rank(input) + axes.size()));
  return axes.empty() ? input : op("llm.expand_dims", input, attr("axes", axes));
}

Value Emitter::squeeze(Value input, ArrayRef<int64_t> axes) {
  for (int64_t axis : axes)
    if (auto size = staticDim(input, axis); size && *size != 1)
      invalid("dimension " + std::to_string(axis) + " of " + describeType(analysis, input) + " is not 1");
  return axes.empty() ? input : op("llm.squeeze", input, attr("axes", axes));
}

Value Emitter::broadcast(Value input, Value shape) {
  if (!input || !shape)
    return {};
  if (rank(shape) != 1 || !staticDim(shape, 0) || *staticDim(shape, 0) > kMaxRank)
    unsupported("the rank of the result depends on tensor data");
  return op("llm.broadcast", {input, shape});
}

Value Emitter::concat(ValueRange inputs, int64_t axis) {
  for (Value input : inputs) {
    if (!input)
      return {};
    if (rank(input) != rank(inputs[0]) || elementType(input) != elementType(inputs[0]))
      invalid("cannot join " + describeType(analysis, inputs[0]) + " and " + describeType(analysis, input));
    for (int64_t i = 0; i < rank(input) && !failed(); ++i) {
      auto a = staticDim(input, i), b = staticDim(inputs[0], i);
      if (i != axis && a && b && *a != *b)
        invalid("cannot join " + describeType(analysis, inputs[0]) + " and " + describeType(analysis, input) + " along axis " +
                std::to_string(axis));
    }
  }
  return inputs.size() == 1 ? inputs[0] : op("llm.concat", inputs, attr("axis", axis));
}

Value Emitter::slice(Value input, Value starts, Value ends, ArrayRef<int64_t> axes, ArrayRef<int64_t> steps) {
  if (!input || !starts || !ends)
    return {};
  for (Value bounds : {starts, ends})
    if (rank(bounds) != 1 || staticDim(bounds, 0) != int64_t(axes.size()))
      invalid("slice bounds " + describeType(analysis, bounds) + " do not go with " + std::to_string(axes.size()) + " axes");
  if (llvm::is_contained(steps, 0))
    invalid("a slice has step 0");
  return op("llm.slice", {input, starts, ends}, {attr("axes", axes), attr("steps", steps)});
}

Value Emitter::slice(Value input, int64_t axis, int64_t start, int64_t end) {
  return slice(input, vector(start), vector(end), axis, 1);
}

Value Emitter::gather(Value input, Value indices, int64_t axis) {
  if (!input || !indices)
    return {};
  if (!elementType(indices).isInteger(64) && !elementType(indices).isInteger(32))
    invalid("indices are " + describeType(analysis, indices) + ", not i32 or i64");
  return op("llm.gather", {input, indices}, attr("axis", axis));
}

Value Emitter::range(Value start, Value limit) { return op("llm.range", {start, limit, scalar(elementType(start), 1)}); }

Value Emitter::iota(Value input, int64_t dim) { return range(integer(0), this->dim(input, dim)); }

Value Emitter::toScalar(Value input) {
  if (!input || rank(input) == 0)
    return input;
  for (int64_t i = 0; i < rank(input); ++i)
    if (auto size = staticDim(input, i); !size || *size != 1)
      invalid(describeType(analysis, input) + " is not one element");
  return failed() ? Value() : reshape(input, {});
}

Value Emitter::toVector(Value input) { return input && rank(input) == 0 ? expandDims(input, 0) : input; }

Value Emitter::reduce(llm::ReduceKind kind, Value input, ArrayRef<int64_t> axes, bool keepDims) {
  if (!input || axes.empty())
    return input;
  llvm::SmallVector<NamedAttribute> attributes{
      attr("kind", Attribute(llm::ReduceKindAttr::get(builder.getContext(), kind))), attr("axes", axes)};
  if (keepDims)
    attributes.push_back(unit("keepdims"));
  return op("llm.reduce", input, attributes);
}

Value Emitter::softmax(Value input, int64_t axis) {
  if (input && !isFloat(input))
    invalid("softmax of " + describeType(analysis, input));
  return op("llm.softmax", input, attr("axis", axis));
}

Value Emitter::matmul(Value lhs, Value rhs) {
  if (!lhs || !rhs)
    return {};
  if (rank(lhs) == 0 || rank(rhs) == 0 || elementType(lhs) != elementType(rhs))
    invalid("cannot multiply " + describeType(analysis, lhs) + " and " + describeType(analysis, rhs));
  auto k = staticDim(lhs, rank(lhs) - 1), other = staticDim(rhs, std::max<int64_t>(rank(rhs) - 2, 0));
  if (k && other && *k != *other)
    invalid("cannot multiply " + describeType(analysis, lhs) + " and " + describeType(analysis, rhs) + ": " + std::to_string(*k) +
            " is not " + std::to_string(*other));
  for (int64_t back = 3; back <= std::min(rank(lhs), rank(rhs)); ++back) {
    auto x = staticDim(lhs, rank(lhs) - back), y = staticDim(rhs, rank(rhs) - back);
    if (x && y && *x != *y && *x != 1 && *y != 1)
      invalid("leading dimensions of " + describeType(analysis, lhs) + " and " + describeType(analysis, rhs) + " do not broadcast");
  }
  if (elementType(lhs).isBF16()) // kernels hold activations in f32 or f16
    return cast(op("llm.matmul", {widen(lhs), widen(rhs)}), elementType(lhs));
  return op("llm.matmul", {lhs, rhs});
}

} // namespace llmopt::onnx
