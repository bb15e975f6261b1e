//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Support/Json.h"

#include <charconv>
#include <cmath>

using namespace llmopt;

namespace {

void writeString(std::string &out, std::string_view text) {
  out += '"';
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (uint8_t(c) < 0x20) {
      out += "\\u00";
      out += "0123456789abcdef"[uint8_t(c) >> 4];
      out += "0123456789abcdef"[uint8_t(c) & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

/// The shortest text that reads back as the same double. JSON has no NaN and no infinity: null.
void writeDouble(std::string &out, double value) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  char buffer[32];
  auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value);
  std::string_view text(buffer, size_t(end - buffer));
  out += text;
  if (text.find_first_of(".e") == text.npos)
    out += ".0";
}

void newLine(std::string &out, int indent, int depth) {
  if (indent < 0)
    return;
  out += '\n';
  out.append(size_t(indent) * size_t(depth), ' ');
}

void write(std::string &out, const Json &value, int indent, int depth) {
  const std::string_view separator = indent < 0 ? ", " : ",";
  switch (value.kind()) {
  case Json::Kind::Null:
    out += "null";
    return;
  case Json::Kind::Bool:
    out += value.asBool() ? "true" : "false";
    return;
  case Json::Kind::Int:
    out += std::to_string(value.asInt());
    return;
  case Json::Kind::Double:
    return writeDouble(out, value.asDouble());
  case Json::Kind::String:
    return writeString(out, value.asString());
  case Json::Kind::Array:
    out += '[';
    for (size_t i = 0; i < value.asArray().size(); ++i) {
      out += i ? separator : "";
      newLine(out, indent, depth + 1);
      write(out, value.asArray()[i], indent, depth + 1);
    }
    if (!value.asArray().empty())
      newLine(out, indent, depth);
    out += ']';
    return;
  case Json::Kind::Object:
    out += '{';
    for (size_t i = 0; i < value.asObject().size(); ++i) {
      out += i ? separator : "";
      newLine(out, indent, depth + 1);
      writeString(out, value.asObject()[i].first);
      out += ": ";
      write(out, value.asObject()[i].second, indent, depth + 1);
    }
    if (!value.asObject().empty())
      newLine(out, indent, depth);
    out += '}';
    return;
  }
}

} // namespace

std::string Json::str(int indent) const {
  std::string out;
  write(out, *this, indent, 0);
  return out;
}
