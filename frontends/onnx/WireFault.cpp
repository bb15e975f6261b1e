//===- WireFault.cpp - where bytes stop being a protobuf -------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// libprotobuf says only that parsing failed. This walks the fields once more, after a failure, to name the byte. It
// keeps its own stack: the bytes decide the depth.
//
//===----------------------------------------------------------------------===//
#include "ModelFile.h"

#include <vector>

namespace llmopt::onnx {
namespace {

/// The messages on the way to anything that may nest; the rest is walked as a flat list of fields.
enum class Kind { Model, Graph, Node, Attribute, Function, Flat, Text };

Kind kindOfField(Kind message, uint64_t field) {
  switch (message) {
  case Kind::Model:
    return field == 7 ? Kind::Graph : field == 25 ? Kind::Function : Kind::Text;
  case Kind::Graph:
    return field == 1 ? Kind::Node : field == 5 ? Kind::Flat : Kind::Text;
  case Kind::Function:
    return field == 7 ? Kind::Node : Kind::Text;
  case Kind::Node:
    return field == 5 ? Kind::Attribute : Kind::Text;
  case Kind::Attribute:
    return field == 6 || field == 11 ? Kind::Graph : field == 5 ? Kind::Flat : Kind::Text;
  default:
    return Kind::Text;
  }
}

struct Frame {
  Kind kind;
  uint64_t end;
  int graphs;
};

struct Walker {
  std::span<const std::byte> bytes;
  uint64_t at = 0;
  std::optional<WireFault> fault = std::nullopt;

  void stop(uint64_t offset, std::string what, bool tooDeep = false) { fault = WireFault{offset, std::move(what), tooDeep}; }

  std::optional<uint64_t> varint(uint64_t end) {
    uint64_t value = 0;
    for (int shift = 0; shift < 70 && at < end; shift += 7) {
      uint8_t byte = uint8_t(bytes[at++]);
      value |= shift < 64 ? uint64_t(byte & 0x7f) << shift : 0;
      if (!(byte & 0x80))
        return value;
    }
    return std::nullopt;
  }

  bool skip(uint64_t start, uint64_t count, uint64_t end, uint64_t field) {
    if (count > end - at) {
      stop(start, "field " + std::to_string(field) + " needs " + std::to_string(count) + " bytes, " + std::to_string(end - at) +
                      " are left");
      return false;
    }
    at += count;
    return true;
  }

  /// One field of the innermost message. Pushes a frame instead of descending.
  bool step(std::vector<Frame> &stack) {
    Frame frame = stack.back();
    uint64_t start = at;
    auto tag = varint(frame.end);
    if (!tag || (*tag >> 3) == 0)
      return stop(start, "no valid field tag"), false;
    uint64_t field = *tag >> 3;
    switch (*tag & 7) {
    case 0:
      return varint(frame.end) ? true : (stop(start, "field " + std::to_string(field) + " has no valid number"), false);
    case 1:
      return skip(start, 8, frame.end, field);
    case 5:
      return skip(start, 4, frame.end, field);
    case 2: {
      auto length = varint(frame.end);
      if (!length)
        return stop(start, "field " + std::to_string(field) + " has no valid length"), false;
      Kind kind = kindOfField(frame.kind, field);
      if (kind == Kind::Text)
        return skip(start, *length, frame.end, field);
      uint64_t body = at;
      if (!skip(start, *length, frame.end, field))
        return false;
      at = body;
      int graphs = frame.graphs + (kind == Kind::Graph);
      if (graphs > kMaxSubgraphDepth + 1)
        return stop(start, "too deep", true), false;
      stack.push_back({kind, body + *length, graphs});
      return true;
    }
    default:
      return stop(start, "field " + std::to_string(field) + " has wire type " + std::to_string(*tag & 7)), false;
    }
  }
};

} // namespace

std::optional<WireFault> findWireFault(std::span<const std::byte> bytes) {
  Walker walker{bytes};
  std::vector<Frame> stack{{Kind::Model, bytes.size(), 0}};
  while (!stack.empty() && !walker.fault) {
    if (walker.at >= stack.back().end)
      stack.pop_back();
    else
      walker.step(stack);
  }
  return walker.fault;
}

} // namespace llmopt::onnx
