//===- ModelFile.h - an ONNX file as a protobuf message ---------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_ONNX_MODELFILE_H
#define LLMOPT_FRONTENDS_ONNX_MODELFILE_H

#include "llmopt/lib/Support/Status.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace llmopt::onnx {

class ModelProto;

// Error codes of this frontend. docs/errors.md tells users what they mean.
inline constexpr char kBadFile[] = "E0601";         ///< empty, truncated or no protobuf
inline constexpr char kNesting[] = "E0602";         ///< subgraphs or functions nested too deep
inline constexpr char kOpset[] = "E0603";           ///< operator set missing, doubled or outside the supported range
inline constexpr char kGraph[] = "E0604";           ///< names, order, inputs and outputs of a graph
inline constexpr char kTensor[] = "E0605";          ///< a tensor contradicts itself
inline constexpr char kExternal[] = "E0606";        ///< external data
inline constexpr char kChecksum[] = "E0607";        ///< external data does not have its checksum
inline constexpr char kFunction[] = "E0608";        ///< recursive functions, inlining budget
inline constexpr char kNode[] = "E0609";            ///< a node breaks its operator's rules
inline constexpr char kUnsupported[] = "E0610";     ///< what llmopt cannot do, listed
inline constexpr char kUnknownShape[] = "E0611";    ///< a shape depends on tensor data

/// Operator sets of the standard domain that can be read.
inline constexpr int64_t kOldestOpset = 1, kNewestOpset = 28;

/// Subgraphs within subgraphs; what libprotobuf's limit of 100 messages allows.
inline constexpr int kMaxSubgraphDepth = 33;
inline constexpr int64_t kMaxNodes = 1'000'000;
inline constexpr size_t kMaxNameLength = 4096;
inline constexpr int kMaxRank = 32;

/// Reads and parses the file. The message owns copies of everything, so the file need not stay mapped.
Result<std::shared_ptr<const ModelProto>> readModelFile(const std::string &path);
/// The same for bytes that lie in memory already; `path` is for messages.
Result<std::shared_ptr<const ModelProto>> parseModel(std::span<const std::byte> bytes, const std::string &path);

/// Where bytes stop being an ONNX model, for messages.
struct WireFault {
  uint64_t offset = 0;
  std::string what; ///< "field 5 needs 400 bytes, 12 are left"
  bool tooDeep = false;
};
std::optional<WireFault> findWireFault(std::span<const std::byte> bytes);

} // namespace llmopt::onnx

#endif // LLMOPT_FRONTENDS_ONNX_MODELFILE_H
