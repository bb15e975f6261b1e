//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Safetensors.h"

#include "HeaderText.h"
#include "llmopt/lib/Support/CheckedMath.h"
#include "llmopt/lib/Support/Utf8.h"

#include <algorithm>
#include <set>

using namespace llmopt;
using namespace llmopt::hf;

static constexpr SafetensorsType kTypes[] = {
    {"BOOL", 8, DType::Bool},     {"U8", 8, DType::U8},           {"I8", 8, DType::I8},       {"U16", 16, DType::U16},
    {"I16", 16, DType::I16},      {"F16", 16, DType::F16},        {"BF16", 16, DType::BF16},  {"U32", 32, DType::U32},
    {"I32", 32, DType::I32},      {"F32", 32, DType::F32},        {"U64", 64, DType::U64},    {"I64", 64, DType::I64},
    {"F64", 64, DType::F64},      {"C64", 64, {}},                {"F4", 4, {}},              {"F6_E2M3", 6, {}},
    {"F6_E3M2", 6, {}},           {"F8_E5M2", 8, {}},             {"F8_E4M3", 8, DType::F8E4M3FN},       {"F8_E8M0", 8, {}},
    {"F8_E5M2FNUZ", 8, {}},       {"F8_E4M3FNUZ", 8, {}},
};

namespace {

class HeaderReader {
public:
  HeaderReader(std::string_view text, const std::string &context) : text_(text, context) {}

  Result<std::vector<SafetensorsEntry>> read() {
    LLMOPT_RETURN_IF_ERROR(text_.object([&](std::string key) { return entry(std::move(key)); }));
    LLMOPT_RETURN_IF_ERROR(text_.end());
    return std::move(entries_);
  }

private:
  Status entry(std::string name) {
    if (!names_.insert(name).second)
      return text_.error("duplicate key '" + name + "'");
    if (name == "__metadata__")
      return metadata();
    if (entries_.size() == kMaxTensorsPerFile)
      return text_.error("more than " + std::to_string(kMaxTensorsPerFile) + " tensors");
    SafetensorsEntry entry;
    entry.name = std::move(name);
    unsigned seen = 0;
    LLMOPT_RETURN_IF_ERROR(text_.object([&](const std::string &key) { return field(entry, key, seen); }));
    if (seen != 7)
      return text_.error("tensor '" + entry.name + "' needs dtype, shape and data_offsets");
    entries_.push_back(std::move(entry));
    return {};
  }

  /// `seen` has a bit for each field that has been read.
  Status field(SafetensorsEntry &entry, const std::string &key, unsigned &seen) {
    static constexpr std::string_view kFields[] = {"dtype", "shape", "data_offsets"};
    size_t index = size_t(std::find(std::begin(kFields), std::end(kFields), key) - kFields);
    if (index == 3)
      return text_.error("unknown key '" + key + "' of tensor '" + entry.name + "'");
    if (seen & (1u << index))
      return text_.error("duplicate key '" + key + "' of tensor '" + entry.name + "'");
    seen |= 1u << index;
    return index == 0 ? type(entry) : index == 1 ? shape(entry) : offsets(entry);
  }

  Status type(SafetensorsEntry &entry) {
    LLMOPT_ASSIGN(std::string name, text_.string());
    auto it = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const auto &row) { return name == row.name; });
    if (it == std::end(kTypes))
      return text_.error("unknown dtype '" + name + "' of tensor '" + entry.name + "'");
    entry.type = it;
    return {};
  }

  Status shape(SafetensorsEntry &entry) {
    return text_.array([&]() -> Status {
      if (entry.shape.size() == kMaxRank)
        return text_.error("tensor '" + entry.name + "' has more than " + std::to_string(kMaxRank) + " dimensions");
      LLMOPT_ASSIGN(int64_t dim, text_.integer());
      entry.shape.push_back(dim);
      return {};
    });
  }

  Status offsets(SafetensorsEntry &entry) {
    std::vector<int64_t> values;
    LLMOPT_RETURN_IF_ERROR(text_.array([&]() -> Status {
      LLMOPT_ASSIGN(int64_t value, text_.integer());
      if (values.size() == 2)
        return text_.error("data_offsets of tensor '" + entry.name + "' has more than two numbers");
      values.push_back(value);
      return {};
    }));
    if (values.size() != 2 || values[0] > values[1])
      return text_.error("data_offsets of tensor '" + entry.name + "' must be [begin, end] with begin <= end");
    entry.begin = uint64_t(values[0]);
    entry.end = uint64_t(values[1]);
    return {};
  }

  Status metadata() {
    std::set<std::string> keys;
    return text_.object([&](std::string key) -> Status {
      if (!keys.insert(key).second)
        return text_.error("duplicate key '" + key + "'");
      Result<std::string> value = text_.string();
      return value ? Status() : value.status();
    });
  }

  HeaderText text_;
  std::set<std::string> names_;
  std::vector<SafetensorsEntry> entries_;
};

} // namespace

/// The bytes that type and shape ask for; nothing if that is no whole number of bytes or too many.
static std::optional<uint64_t> wantedBytes(const SafetensorsEntry &entry) {
  std::optional<int64_t> count = checkedElementCount(entry.shape);
  std::optional<uint64_t> bits = count ? checkedMul(uint64_t(*count), entry.type->bits) : std::nullopt;
  return bits && *bits % 8 == 0 ? std::optional<uint64_t>(*bits / 8) : std::nullopt;
}

static std::string range(const SafetensorsEntry &entry) {
  return "[" + std::to_string(entry.begin) + ", " + std::to_string(entry.end) + ")";
}

/// Sorts by place and proves: no hole, no overlap, right sizes, nothing after the last tensor.
static Status checkRanges(std::vector<SafetensorsEntry> &entries, uint64_t dataBytes, const std::string &context) {
  auto place = [](const SafetensorsEntry &entry) { return std::pair(entry.begin, entry.end); };
  std::sort(entries.begin(), entries.end(), [&](const auto &a, const auto &b) { return place(a) < place(b); });
  uint64_t reached = 0;
  for (const SafetensorsEntry &entry : entries) {
    if (entry.begin != reached)
      return badInput("E0401", std::string(entry.begin < reached ? "overlap" : "hole") + ": tensor '" + entry.name +
                                   "' lies at " + range(entry) + ", the one before ends at " + std::to_string(reached),
                      context);
    std::optional<uint64_t> wanted = wantedBytes(entry);
    if (!wanted)
      return badInput("E0401", "size of tensor '" + entry.name + "' is not a whole number of bytes below 2^63", context);
    if (*wanted != entry.end - entry.begin)
      return badInput("E0401", "tensor '" + entry.name + "' needs " + std::to_string(*wanted) + " bytes, its range " +
                                   range(entry) + " has " + std::to_string(entry.end - entry.begin),
                      context);
    reached = entry.end;
  }
  if (reached != dataBytes)
    return badInput("E0401", "the tensors end at byte " + std::to_string(reached) + " of the data, the file has " +
                                 std::to_string(dataBytes) + " bytes there",
                    context);
  return {};
}

/// The text of the header, after the checks that need no parsing.
static Result<std::string_view> headerText(std::span<const std::byte> file, const std::string &context) {
  auto fail = [&](const std::string &problem) { return badInput("E0401", problem, context); };
  if (file.empty())
    return fail("file is empty (0 bytes)");
  if (file.size() < 8)
    return fail("file has " + std::to_string(file.size()) + " bytes; a safetensors file begins with 8 bytes of header length");
  uint64_t length = 0;
  std::memcpy(&length, file.data(), 8); // llmopt's targets are little endian, as the format is
  if (length > kMaxHeaderBytes)
    return fail("header length " + std::to_string(length) + " is over the limit of " + std::to_string(kMaxHeaderBytes));
  if (length > file.size() - 8)
    return fail("header length " + std::to_string(length) + " leads beyond the end of the file (" +
                std::to_string(file.size()) + " bytes)");
  std::string_view text(reinterpret_cast<const char *>(file.data()) + 8, length);
  if (text.empty() || text[0] != '{')
    return fail("the header must begin with '{'");
  if (size_t bad = findInvalidUtf8(text); bad != text.size())
    return fail("the header is not UTF-8 at byte " + std::to_string(8 + bad));
  return text;
}

Result<SafetensorsFile> hf::parseSafetensors(std::span<const std::byte> file, const std::string &context) {
  LLMOPT_ASSIGN(std::string_view text, headerText(file, context));
  LLMOPT_ASSIGN(std::vector<SafetensorsEntry> entries, HeaderReader(text, context).read());
  SafetensorsFile result{std::move(entries), 8 + text.size()};
  LLMOPT_RETURN_IF_ERROR(checkRanges(result.tensors, file.size() - result.dataStart, context));
  return result;
}
