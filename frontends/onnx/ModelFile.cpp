//===- ModelFile.cpp - an ONNX file as a protobuf message -----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ModelFile.h"

#include "llmopt/lib/Support/File.h"
#include "onnx.pb.h"

#include <climits>
#include <google/protobuf/io/coded_stream.h>

namespace llmopt::onnx {

/// A subgraph is three messages (node, attribute, graph); its nodes hold a few more.
static constexpr int kMaxMessageDepth = 3 * kMaxSubgraphDepth + 12;

Result<std::shared_ptr<const ModelProto>> parseModel(std::span<const std::byte> bytes, const std::string &path) {
  if (bytes.empty())
    return badInput(kBadFile, "file is empty (0 bytes)", path);
  if (bytes.size() > INT_MAX)
    return badInput(kBadFile, "the file has " + std::to_string(bytes.size()) +
                                  " bytes and a protobuf holds at most 2147483647; use external data", path);
  auto model = std::make_shared<ModelProto>();
  google::protobuf::io::CodedInputStream stream(reinterpret_cast<const uint8_t *>(bytes.data()), int(bytes.size()));
  stream.SetRecursionLimit(kMaxMessageDepth);
  bool parsed = model->ParseFromCodedStream(&stream) && stream.ConsumedEntireMessage();
  auto fault = findWireFault(bytes);
  if (!parsed || (fault && fault->tooDeep)) {
    if (fault && fault->tooDeep)
      return badInput(kNesting, "subgraph nesting exceeds " + std::to_string(kMaxSubgraphDepth), path);
    return badInput(kBadFile, "truncated or corrupt protobuf at byte " + std::to_string(fault ? fault->offset : 0) +
                                  (fault ? ": " + fault->what : std::string()), path);
  }
  // Any bytes of a few kinds parse as an empty message; a model without a graph is nothing to compile.
  if (!model->has_graph())
    return badInput(kBadFile, "truncated or corrupt protobuf at byte " + std::to_string(bytes.size()) + ": there is no graph", path);
  return std::shared_ptr<const ModelProto>(std::move(model));
}

Result<std::shared_ptr<const ModelProto>> readModelFile(const std::string &path) {
  LLMOPT_ASSIGN(MappedFile file, MappedFile::open(path));
  return parseModel(file.bytes(), path);
}

} // namespace llmopt::onnx
