//===- Convolution.cpp - convolution ------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Node.h"

using namespace mlir;

namespace llmopt::onnx {

namespace {

struct Window {
  llvm::SmallVector<int64_t> kernel, strides, dilations, pads;
};

/// Attributes of a convolution over `spatial` dimensions, checked; automatic padding becomes numbers.
std::optional<Window> readWindow(Node &node, Value x, Value weight, int64_t spatial) {
  Emitter &e = node.emit;
  Window w;
  w.strides = node.integers("strides").value_or(llvm::SmallVector<int64_t>(spatial, 1));
  w.dilations = node.integers("dilations").value_or(llvm::SmallVector<int64_t>(spatial, 1));
  w.pads = node.integers("pads").value_or(llvm::SmallVector<int64_t>(2 * spatial, 0));
  bool sizes = int64_t(w.strides.size()) == spatial && int64_t(w.dilations.size()) == spatial && int64_t(w.pads.size()) == 2 * spatial;
  auto outside = [](int64_t low) { return [low](int64_t v) { return v < low || v > (1 << 20); }; };
  if (!sizes || llvm::any_of(w.strides, outside(1)) || llvm::any_of(w.dilations, outside(1)) || llvm::any_of(w.pads, outside(0))) {
    e.invalid("strides, dilations or pads are not valid for " + std::to_string(spatial) + " spatial dimensions");
    return std::nullopt;
  }
  std::string automatic = node.text("auto_pad", "NOTSET");
  for (int64_t i = 0; i < spatial; ++i) {
    auto kernel = e.staticDim(weight, i + 2);
    if (!kernel || *kernel < 1) {
      e.unsupported("the kernel's size is not known");
      return std::nullopt;
    }
    if (automatic == "NOTSET" || automatic == "VALID")
      continue;
    auto size = e.staticDim(x, i + 2);
    if (!size || (automatic != "SAME_UPPER" && automatic != "SAME_LOWER")) {
      e.unsupported("auto_pad " + automatic + " needs spatial dimensions that are known");
      return std::nullopt;
    }
    int64_t out = (*size + w.strides[i] - 1) / w.strides[i];
    int64_t pad = std::max<int64_t>(0, (out - 1) * w.strides[i] + w.dilations[i] * (*kernel - 1) + 1 - *size);
    int64_t low = automatic == "SAME_UPPER" ? pad / 2 : pad - pad / 2;
    w.pads[i] = low;
    w.pads[i + spatial] = pad - low;
  }
  return w;
}

} // namespace

Status importConv(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(2))
    return {};
  Value x = node.input(0), weight = node.input(1), bias = node.input(2);
  int64_t spatial = e.rank(x) - 2, groups = node.integer("group", 1);
  if (spatial < 1 || e.rank(weight) != e.rank(x) || groups < 1)
    return badInput(kNode, "input, weight and groups are " + describeType(e.analysis, x) + ", " + describeType(e.analysis, weight) +
                               " and " + std::to_string(groups));
  if (spatial > 2 || !e.isFloat(x))
    return unsupported(kUnsupported, "convolution of " + describeType(e.analysis, x) + "; llmopt supports floats with 1 or 2 spatial dimensions");
  auto channels = e.staticDim(x, 1), filters = e.staticDim(weight, 0), perGroup = e.staticDim(weight, 1);
  if (!channels || !filters || !perGroup || *perGroup * groups != *channels || *filters % groups != 0)
    return badInput(kNode, "input " + describeType(e.analysis, x) + " and weight " + describeType(e.analysis, weight) + " do not go with " +
                               std::to_string(groups) + " groups");
  if (bias && (e.rank(bias) != 1 || e.staticDim(bias, 0) != *filters))
    return badInput(kNode, "the bias is " + describeType(e.analysis, bias));
  auto window = readWindow(node, x, weight, spatial);
  if (!window)
    return {};
  llvm::SmallVector<Value> operands{x, weight};
  if (bias)
    operands.push_back(bias);
  node.set(0, e.op("llm.conv", operands, {e.attr("strides", window->strides), e.attr("pads", window->pads),
                                         e.attr("dilations", window->dilations), e.attr("groups", groups)}));
  return {};
}

} // namespace llmopt::onnx
