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

/// What else people have that holds a model, by the first bytes; none of it begins as a protobuf does. Empty: who knows.
static std::string_view otherFormat(std::string_view text) {
  auto isSafetensors = [&] { // length of the header, then JSON
    return text.size() > 9 && text.substr(4, 4) == std::string_view("\0\0\0\0", 4) && text[8] == '{';
  };
  if (text.starts_with("GGUF"))
    return "GGUF, which llmopt does not read; give the Hugging Face folder it was made from";
  if (text.starts_with("PK\x03\x04"))
    return "a zip archive, as torch.save makes it; export the model to ONNX, or give a folder that save_pretrained wrote";
  if (isSafetensors())
    return "safetensors, weights alone; give the folder that has its config.json";
  if (text.starts_with("{"))
    return "JSON; give the folder that it lies in";
  if (text.starts_with("LLMOPT"))
    return "an artifact of llmopt, compiled already; llmopt-run runs it";
  return {};
}

Result<std::shared_ptr<const ModelProto>> parseModel(std::span<const std::byte> bytes, const std::string &path) {
  if (bytes.empty())
    return badInput(kBadFile, "file is empty (0 bytes)", path);
  if (std::string_view other = otherFormat({reinterpret_cast<const char *>(bytes.data()), bytes.size()}); !other.empty())
    return badInput(kBadFile, "no ONNX file but " + std::string(other), path);
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
