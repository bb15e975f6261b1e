//===- GraphOrder.h - names and order of a graph's nodes --------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_ONNX_GRAPHORDER_H
#define LLMOPT_FRONTENDS_ONNX_GRAPHORDER_H

#include "llmopt/lib/Support/Status.h"
#include "onnx.pb.h"

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringSet.h"

namespace llmopt::onnx {

using NodeList = google::protobuf::RepeatedPtrField<NodeProto>;

/// "node #412 '/layers.3/attn' (com.microsoft.Attention)", safe to print.
std::string describeNode(const NodeProto &node, int index);
/// "com.microsoft.Attention"; the default domain is left out.
std::string operatorName(const NodeProto &node);
/// "ai.onnx" is another spelling of the default domain.
inline llvm::StringRef normalDomain(llvm::StringRef domain) { return domain == "ai.onnx" ? llvm::StringRef() : domain; }

/// Names a node reads, those its subgraphs take from outside included.
void forEachUse(const NodeProto &node, llvm::function_ref<void(llvm::StringRef)> use);

/// An order in which every value is defined before its use; the file's own where it is one. Errors name the value and the
/// nodes: a value defined twice, used but never defined, or defined through itself.
/// `given` are the names of inputs and initializers, `outer` tells names of enclosing graphs. Of constants under one name the last
/// holds, as ONNX Runtime has it (old exports of GPT-2 need that); `warning` then tells of it.
Result<std::vector<int>> orderNodes(const NodeList &nodes, const llvm::StringSet<> &given,
                                    llvm::function_ref<bool(llvm::StringRef)> outer, const std::string &context, std::string &warning);

} // namespace llmopt::onnx

#endif // LLMOPT_FRONTENDS_ONNX_GRAPHORDER_H
