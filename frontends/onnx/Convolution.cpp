//===- Convolution.cpp - convolutions -----------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Quantization.h"
#include "Window.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace llmopt::onnx {

//===----------------------------------------------------------------------===//
// Windows
//===----------------------------------------------------------------------===//

std::optional<Window> readWindow(Node &node, ArrayRef<int64_t> kernel) {
  Emitter &e = node.emit;
  int64_t spatial = int64_t(kernel.size());
  Window w;
  w.kernel.assign(kernel.begin(), kernel.end());
  w.strides = node.integers("strides").value_or(llvm::SmallVector<int64_t>(spatial, 1));
  w.dilations = node.integers("dilations").value_or(llvm::SmallVector<int64_t>(spatial, 1));
  w.pads = node.integers("pads").value_or(llvm::SmallVector<int64_t>(2 * spatial, 0));
  bool sizes = int64_t(w.strides.size()) == spatial && int64_t(w.dilations.size()) == spatial && int64_t(w.pads.size()) == 2 * spatial;
  auto outside = [](int64_t low) { return [low](int64_t v) { return v < low || v > (1 << 20); }; };
  if (!sizes || llvm::any_of(w.kernel, outside(1)) || llvm::any_of(w.strides, outside(1)) || llvm::any_of(w.dilations, outside(1)) ||
      llvm::any_of(w.pads, outside(0))) {
    e.invalid("kernel, strides, dilations or pads are not valid for " + std::to_string(spatial) + " spatial dimensions");
    return std::nullopt;
  }
  return w;
}

bool padAutomatically(Node &node, Value x, Window &window) {
  Emitter &e = node.emit;
  std::string automatic = node.text("auto_pad", "NOTSET");
  if (automatic == "NOTSET" || automatic == "VALID")
    return true;
  size_t spatial = window.spatial();
  for (size_t i = 0; i < spatial; ++i) {
    auto size = e.staticDim(x, int64_t(i) + 2);
    if (!size || (automatic != "SAME_UPPER" && automatic != "SAME_LOWER")) {
      e.unsupported("auto_pad " + automatic + " needs spatial dimensions that are known");
      return false;
    }
    int64_t out = (*size + window.strides[i] - 1) / window.strides[i];
    int64_t pad = std::max<int64_t>(0, (out - 1) * window.strides[i] + window.reach(i) - *size);
    int64_t low = automatic == "SAME_UPPER" ? pad / 2 : pad - pad / 2;
    window.pads[i] = low;
    window.pads[i + spatial] = pad - low;
  }
  return true;
}

Value padSpatial(Emitter &e, Value x, ArrayRef<int64_t> pads, Value value) {
  if (llvm::all_of(pads, [](int64_t pad) { return pad == 0; }))
    return x;
  size_t spatial = pads.size() / 2;
  llvm::SmallVector<int64_t> all(2 * (spatial + 2), 0);
  for (size_t i = 0; i < spatial; ++i) {
    all[i + 2] = pads[i];
    all[spatial + 4 + i] = pads[spatial + i];
  }
  auto mode = e.attr("mode", Attribute(llm::PadModeAttr::get(e.builder.getContext(), llm::PadMode::constant)));
  return e.op("llm.pad", {x, e.vector(all), value}, mode);
}

//===----------------------------------------------------------------------===//
// Convolution of tensors
//===----------------------------------------------------------------------===//

static Window dropFirst(const Window &window) {
  size_t n = window.spatial();
  Window rest;
  rest.kernel.assign(window.kernel.begin() + 1, window.kernel.end());
  rest.strides.assign(window.strides.begin() + 1, window.strides.end());
  rest.dilations.assign(window.dilations.begin() + 1, window.dilations.end());
  for (size_t i = 1; i < 2 * n; ++i)
    if (i != n)
      rest.pads.push_back(window.pads[i]);
  return rest;
}

/// The first spatial dimension joins the batch: a sum over the kernel's slices along it.
static Value convolveSlices(Emitter &e, Value x, Value weight, const Window &window, int64_t groups) {
  size_t n = window.spatial();
  llvm::SmallVector<int64_t> pads(2 * n, 0);
  pads[0] = window.pads[0], pads[n] = window.pads[n];
  x = padSpatial(e, x, pads, e.scalar(e.elementType(x), 0));
  Value sum;
  for (int64_t k = 0; k < window.kernel[0]; ++k) {
    int64_t first = k * window.dilations[0], unused = window.reach(0) - 1 - first;
    Value slice = e.slice(x, e.vector(first), e.vector(unused ? -unused : INT64_MAX), {2}, {window.strides[0]});
    llvm::SmallVector<int64_t> toBatch{0, 2, 1}, back{0, 2, 1};
    llvm::SmallVector<DimProduct> shape{1, DimProduct(slice, 1)};
    shape[0] *= {slice, 0}, shape[0] *= {slice, 2};
    for (int64_t i = 3; i < int64_t(n) + 2; ++i) {
      toBatch.push_back(i), back.push_back(i);
      shape.push_back({slice, i});
    }
    Value flat = e.reshapeDims(e.transpose(slice, toBatch), shape);
    Value part = convolve(e, flat, e.squeeze(e.slice(weight, 2, k, k + 1), {2}), {}, dropFirst(window), groups);
    llvm::SmallVector<DimProduct> apart{{slice, 0}, {slice, 2}};
    for (int64_t i = 1; i < e.rank(part); ++i)
      apart.push_back({part, i});
    part = e.transpose(e.reshapeDims(part, apart), back);
    sum = sum ? e.add(sum, part) : part;
  }
  return sum;
}

Value convolve(Emitter &e, Value x, Value weight, Value bias, const Window &window, int64_t groups) {
  if (!x || !weight)
    return {};
  if (window.spatial() > 2) {
    Value sum = convolveSlices(e, x, weight, window, groups);
    llvm::SmallVector<int64_t> after = llvm::to_vector(llvm::seq<int64_t>(1, int64_t(window.spatial()) + 1));
    return bias ? e.add(sum, e.expandDims(bias, after)) : sum;
  }
  llvm::SmallVector<Value> operands{x, weight};
  if (bias)
    operands.push_back(bias);
  return e.op("llm.conv", operands, {e.attr("strides", window.strides), e.attr("pads", window.pads),
                                     e.attr("dilations", window.dilations), e.attr("groups", groups)});
}

//===----------------------------------------------------------------------===//
// Operators
//===----------------------------------------------------------------------===//

namespace {

struct Convolution {
  Window window;
  int64_t groups = 1;
};

/// Checks input, weight and bias. `transposed`: the weight is [C, M / groups, kernel], else [M, C / groups, kernel].
std::optional<Convolution> readConvolution(Node &node, Value x, Value weight, Value bias, bool transposed) {
  Emitter &e = node.emit;
  Convolution c;
  c.groups = node.integer("group", 1);
  int64_t spatial = e.rank(x) - 2;
  if (spatial < 1 || e.rank(weight) != e.rank(x) || c.groups < 1) {
    e.invalid("input, weight and groups are " + describeType(e.analysis, x) + ", " + describeType(e.analysis, weight) + " and " +
              std::to_string(c.groups));
    return std::nullopt;
  }
  if (spatial > 3) {
    e.unsupported("convolution of " + describeType(e.analysis, x) + "; llmopt supports 1 to 3 spatial dimensions");
    return std::nullopt;
  }
  auto channels = e.staticDim(x, 1), first = e.staticDim(weight, 0), second = e.staticDim(weight, 1);
  bool fits = channels && first && second &&
              (transposed ? *first == *channels && *channels % c.groups == 0 : *second * c.groups == *channels && *first % c.groups == 0);
  int64_t filters = !fits ? 0 : transposed ? *second * c.groups : *first;
  if (!fits || (bias && (e.rank(bias) != 1 || e.staticDim(bias, 0) != filters))) {
    e.invalid("input " + describeType(e.analysis, x) + " and weight " + describeType(e.analysis, weight) +
              (bias ? " and bias " + describeType(e.analysis, bias) : "") + " do not go with " + std::to_string(c.groups) + " groups");
    return std::nullopt;
  }
  llvm::SmallVector<int64_t> kernel;
  for (int64_t i = 0; i < spatial; ++i) {
    auto size = e.staticDim(weight, i + 2);
    if (!size) {
      e.unsupported("the kernel's size is not known");
      return std::nullopt;
    }
    kernel.push_back(*size);
  }
  auto window = readWindow(node, kernel);
  if (!window)
    return std::nullopt;
  c.window = *window;
  return c;
}

} // namespace

Status importConv(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(2))
    return {};
  Value x = node.input(0), weight = node.input(1), bias = node.input(2);
  if (!e.isFloat(x))
    return unsupported(kUnsupported, "convolution of " + describeType(e.analysis, x) + "; llmopt supports floats");
  auto c = readConvolution(node, x, weight, bias, /*transposed=*/false);
  if (c && padAutomatically(node, x, c->window))
    node.set(0, e.cast(convolve(e, e.widen(x), e.widen(weight), e.widen(bias), c->window, c->groups), e.elementType(x)));
  return {};
}

/// Integers convolved without error: their products and sums are exact in f64. Gives i32.
static Value integerConvolution(Node &node, Value x, Value xZero, Value weight, Value weightZero) {
  Emitter &e = node.emit;
  Type f64 = e.builder.getF64Type();
  auto exact = [&](Value v, Value zero) {
    Value wide = e.cast(v, f64);
    if (!zero)
      return wide;
    zero = e.cast(zero, f64);
    if (e.rank(zero) == 1 && e.staticDim(zero, 0) != 1) // one for each filter
      zero = e.expandDims(zero, llvm::to_vector(llvm::seq<int64_t>(1, e.rank(v))));
    else
      zero = e.toScalar(zero);
    return e.sub(wide, zero);
  };
  auto c = readConvolution(node, x, weight, {}, /*transposed=*/false);
  if (!c || !padAutomatically(node, x, c->window))
    return {};
  return e.cast(convolve(e, exact(x, xZero), exact(weight, weightZero), {}, c->window, c->groups), e.builder.getI32Type());
}

Status importConvInteger(Node &node) {
  if (node.requireInputs(2))
    node.set(0, integerConvolution(node, node.input(0), node.input(2), node.input(1), node.input(3)));
  return {};
}

/// Inputs: x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, bias (i32).
Status importQLinearConv(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(8))
    return {};
  Value x = node.input(0), weightScale = node.input(4);
  Value sum = integerConvolution(node, x, node.input(2), node.input(3), node.input(5));
  llvm::SmallVector<int64_t> after = llvm::to_vector(llvm::seq<int64_t>(1, e.rank(x) - 1));
  if (Value bias = node.input(8))
    sum = e.add(sum, e.expandDims(bias, after));
  weightScale = e.rank(weightScale) == 1 && e.staticDim(weightScale, 0) != 1 ? e.expandDims(weightScale, after) : e.toScalar(weightScale);
  Value scale = e.div(e.mul(e.toScalar(node.input(1)), weightScale), e.toScalar(node.input(6)));
  Value zero = node.input(7);
  node.set(0, quantizeTo(e, e.mul(e.cast(sum, e.f32()), e.cast(scale, e.f32())), e.toScalar(zero), e.elementType(zero)));
  return {};
}

//===----------------------------------------------------------------------===//
// Transposed convolution
//===----------------------------------------------------------------------===//

/// `stride` - 1 zeros between the elements of a spatial dimension.
static Value spreadOut(Emitter &e, Value x, int64_t dim, int64_t stride) {
  if (stride == 1 || !x)
    return x;
  int64_t rank = e.rank(x);
  Value apart = e.expandDims(x, dim + 1);
  llvm::SmallVector<int64_t> pads(2 * size_t(rank + 1), 0);
  pads[size_t(rank + 1 + dim + 1)] = stride - 1;
  auto mode = e.attr("mode", Attribute(llm::PadModeAttr::get(e.builder.getContext(), llm::PadMode::constant)));
  apart = e.op("llm.pad", {apart, e.vector(pads), e.scalar(e.elementType(x), 0)}, mode);
  llvm::SmallVector<DimProduct> shape;
  for (int64_t i = 0; i < rank; ++i)
    shape.push_back({x, i});
  shape[size_t(dim)] *= stride;
  return e.slice(e.reshapeDims(apart, shape), dim, 0, -(stride - 1)); // none behind the last
}

/// [C, M / groups, kernel] to [M, C / groups, kernel] with the kernel turned around.
static Value turnWeight(Emitter &e, Value weight, int64_t groups) {
  int64_t rank = e.rank(weight);
  auto channels = e.staticDim(weight, 0), filters = e.staticDim(weight, 1);
  if (!channels || !filters)
    return {};
  llvm::SmallVector<int64_t> spatial = llvm::to_vector(llvm::seq<int64_t>(2, rank)), steps(spatial.size(), -1);
  llvm::SmallVector<int64_t> starts(spatial.size(), -1), ends(spatial.size(), INT64_MIN);
  weight = e.slice(weight, e.vector(starts), e.vector(ends), spatial, steps);
  llvm::SmallVector<int64_t> apart{groups, *channels / groups, *filters}, order{0, 2, 1}, joined{*filters * groups, *channels / groups};
  for (int64_t i = 2; i < rank; ++i) {
    int64_t size = e.staticDim(weight, i).value_or(-1);
    apart.push_back(size), joined.push_back(size), order.push_back(i + 1);
  }
  return e.reshape(e.transpose(e.reshape(weight, apart), order), joined);
}

/// Pads from `output_shape` or SAME padding, whose result is as long as the input times the strides.
static bool padTransposed(Node &node, Value x, Window &window, ArrayRef<int64_t> outputPadding) {
  Emitter &e = node.emit;
  std::string automatic = node.text("auto_pad", "NOTSET");
  auto shape = node.integers("output_shape");
  size_t n = window.spatial();
  if (!shape && (automatic == "NOTSET" || automatic == "VALID"))
    return true;
  if (shape && shape->size() == n + 2) // with batch and channels
    shape->erase(shape->begin(), shape->begin() + 2);
  if (shape && shape->size() != n) {
    e.invalid("output_shape has " + std::to_string(shape->size()) + " entries");
    return false;
  }
  for (size_t i = 0; i < n; ++i) {
    auto size = e.staticDim(x, int64_t(i) + 2);
    if (!size) {
      e.unsupported("output_shape and auto_pad need spatial dimensions that are known");
      return false;
    }
    int64_t wanted = shape ? (*shape)[i] : *size * window.strides[i];
    int64_t total = window.strides[i] * (*size - 1) + outputPadding[i] + window.reach(i) - wanted;
    int64_t low = total < 0 ? 0 : automatic == "SAME_UPPER" ? total / 2 : total - total / 2; // what is to be added is added behind
    window.pads[i] = low;
    window.pads[i + n] = total - low;
  }
  return true;
}

Status importConvTranspose(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(2))
    return {};
  Value x = node.input(0), weight = node.input(1), bias = node.input(2);
  if (!e.isFloat(x))
    return unsupported(kUnsupported, "convolution of " + describeType(e.analysis, x) + "; llmopt supports floats");
  auto c = readConvolution(node, x, weight, bias, /*transposed=*/true);
  if (!c)
    return {};
  size_t n = c->window.spatial();
  auto outputPadding = node.integers("output_padding").value_or(llvm::SmallVector<int64_t>(n, 0));
  if (outputPadding.size() != n || llvm::any_of(outputPadding, [](int64_t p) { return p < 0 || p > (1 << 20); }))
    return badInput(kNode, "attribute 'output_padding' is not valid");
  if (!padTransposed(node, x, c->window, outputPadding))
    return {};
  // The gradient of a convolution: spread the input out and convolve it with the kernel turned around.
  llvm::SmallVector<int64_t> pads(2 * n);
  for (size_t i = 0; i < n; ++i) {
    x = spreadOut(e, x, int64_t(i) + 2, c->window.strides[i]);
    pads[i] = c->window.reach(i) - 1 - c->window.pads[i];
    pads[n + i] = c->window.reach(i) - 1 - c->window.pads[n + i] + outputPadding[i];
  }
  if (!x)
    return {};
  x = padSpatial(e, x, pads, e.scalar(e.elementType(x), 0));
  c->window.pads.assign(2 * n, 0);
  c->window.strides.assign(n, 1);
  Value y = convolve(e, e.widen(x), turnWeight(e, e.widen(weight), c->groups), e.widen(bias), c->window, c->groups);
  node.set(0, e.cast(y, e.elementType(node.input(0))));
  return {};
}

} // namespace llmopt::onnx
