//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/core/DecoderSignature.h"

#include <charconv>

using namespace llmopt;

std::optional<int64_t> llmopt::constantDim(const std::string &dim) {
  int64_t value = 0;
  auto [end, error] = std::from_chars(dim.data(), dim.data() + dim.size(), value);
  return error == std::errc() && end == dim.data() + dim.size() ? std::optional(value) : std::nullopt;
}

static bool isCache(const TensorSpec &spec) { return isFloat(spec.dtype) && (spec.shape.size() == 4 || spec.shape.size() == 5); }
static bool isIds(const TensorSpec &spec) { return (spec.dtype == DType::I64 || spec.dtype == DType::I32) && spec.shape.size() == 2; }
static bool has(const TensorSpec &spec, std::string_view part) { return spec.name.find(part) != std::string::npos; }

bool llmopt::isTokenTypes(const TensorSpec &spec) { return isIds(spec) && (has(spec, "type") || has(spec, "segment")); }

std::optional<DecoderIo> llmopt::findDecoderIo(const std::vector<TensorSpec> &inputs, const std::vector<TensorSpec> &outputs) {
  DecoderIo io;
  std::vector<std::string> pasts, presents;
  for (const TensorSpec &spec : inputs) {
    if (isCache(spec))
      pasts.push_back(spec.name);
    else if (spec.shape.size() == 2 && has(spec, "mask"))
      io.attentionMask = spec.name;
    else if (isIds(spec) && has(spec, "position"))
      io.positionIds = spec.name;
    else if (isIds(spec) && io.inputIds.empty() && !isTokenTypes(spec))
      io.inputIds = spec.name;
  }
  for (const TensorSpec &spec : outputs) {
    if (isCache(spec))
      presents.push_back(spec.name);
    else if (isFloat(spec.dtype) && spec.shape.size() == 3 && (io.logits.empty() || has(spec, "logits")))
      io.logits = spec.name;
  }
  if (io.inputIds.empty() || io.logits.empty() || pasts.size() != presents.size())
    return std::nullopt;
  // Exporters write inputs and outputs layer by layer alike.
  for (size_t i = 0; i < pasts.size(); ++i)
    io.past.emplace_back(pasts[i], presents[i]);
  return io;
}
