//===- Window.h - what convolutions and pooling share -------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_ONNX_WINDOW_H
#define LLMOPT_FRONTENDS_ONNX_WINDOW_H

#include "Node.h"

namespace llmopt::onnx {

/// A window over the spatial dimensions of [B, C, spatial].
struct Window {
  llvm::SmallVector<int64_t> kernel, strides, dilations;
  llvm::SmallVector<int64_t> pads; ///< before each spatial dimension, then after each

  size_t spatial() const { return kernel.size(); }
  int64_t reach(size_t i) const { return dilations[i] * (kernel[i] - 1) + 1; }
};

/// Attributes of a node with a kernel of this size, checked. Automatic padding is left to `padAutomatically`.
std::optional<Window> readWindow(Node &node, ArrayRef<int64_t> kernel);
/// Pads of auto_pad SAME_UPPER or SAME_LOWER, for results as long as the input divided by the strides.
bool padAutomatically(Node &node, Value x, Window &window);

/// Zeros (or another value) around the spatial dimensions; negative counts crop.
Value padSpatial(Emitter &e, Value x, ArrayRef<int64_t> pads, Value value);

/// Convolution over any number of spatial dimensions; the kernel's size is that of `weight`.
Value convolve(Emitter &e, Value x, Value weight, Value bias, const Window &window, int64_t groups);

} // namespace llmopt::onnx

#endif // LLMOPT_FRONTENDS_ONNX_WINDOW_H
