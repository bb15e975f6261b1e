//===- TensorProto.h - ONNX tensors in files of their own -------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The `input_0.pb` files of ONNX test data: one protobuf message TensorProto (onnx.proto3). Read without the protobuf
// library, which the runtime does not need otherwise.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_SUPPORT_TENSORPROTO_H
#define LLMOPT_LIB_SUPPORT_TENSORPROTO_H

#include "llmopt/lib/Support/Status.h"
#include "llmopt/lib/Support/Tensor.h"

#include <span>
#include <string>

namespace llmopt {

struct ProtoTensor {
  std::string name; ///< may be empty
  Tensor tensor;
};

/// E0121: no valid message; E0122 (unsupported): an element type llmopt does not have, or external data.
Result<ProtoTensor> parseTensorProto(std::span<const std::byte> bytes, const std::string &context);
Result<ProtoTensor> readTensorProto(const std::string &path);

} // namespace llmopt

#endif // LLMOPT_LIB_SUPPORT_TENSORPROTO_H
