//===- GraphDecoder.h - which tensors of a graph a decoder loop feeds ---*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_COMPILER_GRAPHDECODER_H
#define LLMOPT_LIB_COMPILER_GRAPHDECODER_H

#include "llmopt/lib/Support/Json.h"
#include "llmopt/lib/Support/Status.h"

#include "mlir/IR/BuiltinOps.h"

#include <string>

namespace llmopt {

/// If function `main` of an ONNX graph is a decoder (token ids in, caches in and out, logits out), writes metadata key `io` (see
/// lib/Artifact/ModelInfo.h), and the token ids of config.json, generation_config.json or genai_config.json in `folder`.
Status describeGraphDecoder(mlir::ModuleOp module, const std::string &folder, Json &metadata);

/// What its ragged step, if it got one, adds to the metadata: the longest sequence.
void describeRaggedStep(mlir::ModuleOp module, Json &metadata);

} // namespace llmopt

#endif // LLMOPT_LIB_COMPILER_GRAPHDECODER_H
