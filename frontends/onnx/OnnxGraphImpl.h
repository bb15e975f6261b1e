//===- OnnxGraphImpl.h - what OnnxGraph holds -------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_ONNX_ONNXGRAPHIMPL_H
#define LLMOPT_FRONTENDS_ONNX_ONNXGRAPHIMPL_H

#include "llmopt/frontends/OnnxGraph.h"

#include "onnx.pb.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

namespace llmopt {

struct OnnxGraph::Impl {
  std::string path; ///< for messages
  onnx::ModelProto model;
  bool importable = false;
  llvm::StringMap<onnx::TypeProto> types;               ///< of the values that have a known one
  llvm::StringMap<std::vector<int64_t>> known;          ///< elements of i64 vectors and scalars that are known without inputs

  onnx::GraphProto &graph() { return *model.mutable_graph(); }
  const onnx::GraphProto &graph() const { return model.graph(); }

  // OnnxGraph.cpp
  Status sortNodes();
  void inferTypes();
  void dropDead();
  void dropFunctions();
  void declareOutputs();
  void addOutput(const std::string &name);
  bool addInput(const std::string &name);
};

namespace onnx {
/// Sizes that are multiples of `from` become as many times `to`.
struct SizeChange {
  int64_t from, to;
  int64_t operator()(int64_t size) const { return size > 0 && size % from == 0 ? size / from * to : size; }
};
/// ShrinkSizes.cpp: in every tensor, input and (with `attributes`) attribute of the graph. False: a tensor of strings or of elements
/// below a byte has such a size.
bool shrinkSizes(GraphProto &graph, SizeChange change, bool attributes);
} // namespace onnx

} // namespace llmopt

#endif // LLMOPT_FRONTENDS_ONNX_ONNXGRAPHIMPL_H
