//===- ExternalData.cpp - tensors that lie in files beside the model ------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The names come from the model, so they are opened beneath its folder only (`MappedFile::openBeneath`), and offset and
// length are compared with the file's real size before anything is read.
//
//===----------------------------------------------------------------------===//
#include "ModelFile.h"
#include "TensorReader.h"
#include "llmopt/lib/Support/CheckedMath.h"
#include "onnx.pb.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/SHA1.h"

#include <charconv>
#include <filesystem>

namespace llmopt::onnx {
namespace {

struct Entry {
  std::string location, checksum;
  uint64_t offset = 0;
  std::optional<uint64_t> length;
};

/// Digits and nothing else.
Result<uint64_t> decimal(const std::string &key, const std::string &text, const std::string &context) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > uint64_t(INT64_MAX))
    return badInput(kExternal, "external data " + key + " '" + text + "' is no number from 0 to 2^63 - 1", context);
  return value;
}

Result<Entry> readEntry(const TensorProto &tensor, const std::string &context) {
  Entry entry;
  for (const StringStringEntryProto &pair : tensor.external_data()) {
    if (pair.key() == "location") {
      entry.location = pair.value();
    } else if (pair.key() == "offset") {
      LLMOPT_ASSIGN(entry.offset, decimal("offset", pair.value(), context));
    } else if (pair.key() == "length") {
      LLMOPT_ASSIGN(entry.length, decimal("length", pair.value(), context));
    } else if (pair.key() == "checksum") {
      entry.checksum = pair.value();
    } else if (pair.key() != "basepath") { // a note of the writer; never followed
      return badInput(kExternal, "external data has the unknown key '" + pair.key() + "'", context);
    }
  }
  if (entry.location.empty())
    return badInput(kExternal, "external data has no location", context);
  return entry;
}

} // namespace

Result<std::shared_ptr<const MappedFile>> ExternalFiles::open(const std::string &location, const std::string &context) {
  auto &file = files_[location];
  if (!file) {
    auto opened = MappedFile::openBeneath(folder_, location);
    if (!opened) {
      Error error = opened.error();
      error.message = "external data file '" + location + "': " + error.message;
      error.notes.push_back("needed by " + context);
      return Status(std::move(error));
    }
    file = std::make_shared<const MappedFile>(opened.take());
    std::error_code ignored;
    if (std::filesystem::hard_link_count(std::filesystem::path(folder_) / location, ignored) > 1 && !ignored)
      warnings_.push_back("external data file '" + location + "' has more than one hard link");
  }
  return file;
}

Result<StoredWeight> ExternalFiles::read(const TensorProto &tensor, uint64_t needed, const std::string &context) {
  LLMOPT_ASSIGN(Entry entry, readEntry(tensor, context));
  LLMOPT_ASSIGN(auto file, open(entry.location, context));
  uint64_t size = file->bytes().size();
  uint64_t length = entry.length.value_or(needed);
  auto end = checkedAdd(entry.offset, length);
  if (!end || *end > size)
    return badInput(kExternal, "external data at offset " + std::to_string(entry.offset) + " with length " + std::to_string(length) +
                                   " leaves '" + entry.location + "', which has " + std::to_string(size) + " bytes", context);
  if (length != needed)
    return badInput(kExternal, "external data has length " + std::to_string(length) + ", the shape needs " + std::to_string(needed),
                    context);
  if (!entry.checksum.empty()) {
    // The checksum of the format is over the whole file.
    auto all = file->bytes();
    auto digest = llvm::SHA1::hash({reinterpret_cast<const uint8_t *>(all.data()), all.size()});
    if (!llvm::StringRef(llvm::toHex(digest, /*LowerCase=*/true)).equals_insensitive(entry.checksum))
      return verificationFailed(kChecksum, "external data file '" + entry.location + "' does not have checksum " + entry.checksum,
                                context);
  }
  StoredWeight data;
  data.bytes = file->bytes().subspan(entry.offset, length);
  data.keeper = file;
  return data;
}

} // namespace llmopt::onnx
