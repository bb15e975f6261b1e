//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Format.h"

#include "llmopt/lib/Artifact/Artifact.h"
#include "llmopt/lib/Artifact/KernelABI.h"
#include "llmopt/lib/Support/Hash.h"
#include "llmopt/lib/Support/HugePages.h"

#include <algorithm>
#include <array>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace llmopt;

namespace {
/// Writes pieces that begin and end at multiples of a huge page in the file, whatever it is given: file systems with large folios keep
/// such a piece in the page cache as one, and it is mapped as one.
class PieceWriter {
public:
  explicit PieceWriter(AtomicFile &file) : file_(file) {}
  Status write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      uint64_t room = kHugePageBytes - (file_.position() + pending_.size()) % kHugePageBytes;
      std::span<const std::byte> part = bytes.first(size_t(std::min<uint64_t>(room, bytes.size())));
      pending_.insert(pending_.end(), part.begin(), part.end());
      bytes = bytes.subspan(part.size());
      if (part.size() == room)
        LLMOPT_RETURN_IF_ERROR(flush());
    }
    return {};
  }
  Status flush() {
    LLMOPT_RETURN_IF_ERROR(file_.write(pending_));
    pending_.clear();
    return {};
  }

private:
  AtomicFile &file_;
  std::vector<std::byte> pending_;
};
} // namespace

Result<ArtifactWriter> ArtifactWriter::create(const std::string &path) {
  LLMOPT_ASSIGN(AtomicFile file, AtomicFile::create(path));
  static constexpr std::array<std::byte, kTableRoom> kZeros{};
  LLMOPT_RETURN_IF_ERROR(file.write(kZeros));
  return ArtifactWriter(std::move(file));
}

Status ArtifactWriter::addSection(const std::string &name, const std::function<Status(const Sink &)> &fill, bool required) {
  for (const Section &other : sections_)
    if (other.name == name)
      return internalError("E0209", "section '" + name + "' is written twice");
  LLMOPT_RETURN_IF_ERROR(file_.alignTo(kSectionAlignment));
  Section section{.name = name, .offset = file_.position(), .required = required};
  // Streaming, so that a section may be larger than memory.
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  PieceWriter pieces(file_);
  LLMOPT_RETURN_IF_ERROR(fill([&](std::span<const std::byte> bytes) {
    XXH3_64bits_update(&state, bytes.data(), bytes.size());
    return pieces.write(bytes);
  }));
  LLMOPT_RETURN_IF_ERROR(pieces.flush());
  section.hash = XXH3_64bits_digest(&state);
  section.length = file_.position() - section.offset;
  sections_.push_back(std::move(section));
  return {};
}

Status ArtifactWriter::addSection(const std::string &name, std::string_view text, bool required) {
  auto fill = [&](const Sink &sink) { return sink(std::as_bytes(std::span(text.data(), text.size()))); };
  return addSection(name, fill, required);
}

static Json tableOf(const std::vector<TargetRequirement> &targets, const std::vector<Section> &sections) {
  Json targetList{Json::Array()}, sectionList{Json::Array()};
  for (const TargetRequirement &target : targets) {
    Json features{Json::Array()};
    for (const std::string &feature : target.features)
      features.push(feature);
    targetList.push(Json().set("name", target.name).set("features", std::move(features)));
  }
  for (const Section &section : sections)
    sectionList.push(Json()
                         .set("name", section.name)
                         .set("offset", section.offset)
                         .set("length", section.length)
                         .set("hash", hashHex(section.hash))
                         .set("required", section.required));
  Json table;
  table.set("abi", kKernelAbiVersion).set("producer", "llmopt 0.1.0");
  table.set("targets", std::move(targetList)).set("sections", std::move(sectionList));
  return table;
}

Status ArtifactWriter::commit() {
  LLMOPT_RETURN_IF_ERROR(addSection("model", model_.isNull() ? "{}" : model_.str(), true));
  std::string table = tableOf(targets_, sections_).str();
  if (table.size() > kTableRoom - sizeof(artifact::Header))
    return limitExceeded("E0209", "the artifact has too many sections: its table needs " + std::to_string(table.size()) +
                                      " bytes of " + std::to_string(kTableRoom - sizeof(artifact::Header)));
  artifact::Header header{};
  std::memcpy(header.magic, artifact::kMagic, sizeof header.magic);
  header.major = kArtifactMajor;
  header.minor = kArtifactMinor;
  header.tableLength = table.size();
  header.fileLength = file_.position();
  header.tableHash = hashString(table);
  auto bytes = std::as_bytes(std::span(&header, 1));
  header.headerHash = hashBytes(bytes.first(offsetof(artifact::Header, headerHash)));
  LLMOPT_RETURN_IF_ERROR(file_.writeAt(0, bytes));
  LLMOPT_RETURN_IF_ERROR(file_.writeAt(sizeof header, std::as_bytes(std::span(table))));
  return file_.commit();
}
