//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Artifact/Artifact.h"

#include "Format.h"

#include "llmopt/lib/Artifact/KernelABI.h"
#include "llmopt/lib/Support/Hash.h"

#include <algorithm>
#include <cstring>
#include <set>

using namespace llmopt;
using artifact::Header;

static Status damaged(const std::string &what, const std::string &path) {
  Error error = verificationFailed("E0202", "the artifact is damaged: " + what, path).error();
  error.notes.push_back("help: copy or compile it again");
  return error;
}

static bool headerHashFits(const Header &header) {
  auto bytes = std::as_bytes(std::span(&header, 1));
  return hashBytes(bytes.first(offsetof(Header, headerHash))) == header.headerHash;
}

/// Damage in the magic itself is told apart from a file of another kind by the rest of the header.
static Status checkMagic(Header header, const std::string &path) {
  if (std::memcmp(header.magic, artifact::kMagic, sizeof header.magic) == 0)
    return {};
  std::memcpy(header.magic, artifact::kMagic, sizeof header.magic);
  if (headerHashFits(header))
    return damaged("checksum mismatch in the header", path);
  return badInput("E0201", "not an llmopt artifact: it does not begin with the bytes 'LLMOPT'", path);
}

static std::string dotted(unsigned major, unsigned minor) { return std::to_string(major) + "." + std::to_string(minor); }

Status Artifact::readHeader(std::span<const std::byte> bytes, std::string_view &table) const {
  if (bytes.empty())
    return badInput("E0201", "file is empty (0 bytes)", path_);
  Header header{};
  std::memcpy(&header, bytes.data(), std::min(bytes.size(), sizeof header));
  LLMOPT_RETURN_IF_ERROR(checkMagic(header, path_));
  if (bytes.size() < sizeof header)
    return damaged("truncated, " + std::to_string(bytes.size()) + " bytes are less than a header", path_);
  if (!headerHashFits(header))
    return damaged("checksum mismatch in the header", path_);
  if (header.major != kArtifactMajor || header.minor > kArtifactMinor)
    return unsupported("E0203", "artifact format " + dotted(header.major, header.minor) + " is not known; this llmopt reads " +
                                    std::to_string(kArtifactMajor) + ".0 to " + dotted(kArtifactMajor, kArtifactMinor), path_);
  if (header.fileLength != bytes.size())
    return damaged("it has " + std::to_string(bytes.size()) + " bytes and should have " + std::to_string(header.fileLength) +
                       (bytes.size() < header.fileLength ? " (truncated)" : ""), path_);
  if (bytes.size() < kTableRoom || header.tableLength > kTableRoom - sizeof header || header.flags != 0)
    return damaged("the header contradicts itself", path_);
  table = std::string_view(reinterpret_cast<const char *>(bytes.data()) + sizeof header, header.tableLength);
  return hashString(table) == header.tableHash ? Status() : damaged("checksum mismatch in the section table", path_);
}

static std::optional<uint64_t> unsignedMember(const Json &object, std::string_view key) {
  const Json *value = object.find(key);
  return value && value->isInt() && value->asInt() >= 0 ? std::optional(uint64_t(value->asInt())) : std::nullopt;
}

static std::optional<uint64_t> hashMember(const Json &object) {
  const Json *value = object.find("hash");
  if (!value || !value->isString() || value->asString().size() != 16 ||
      value->asString().find_first_not_of("0123456789abcdef") != std::string::npos)
    return std::nullopt;
  return std::stoull(value->asString(), nullptr, 16);
}

static std::optional<Section> parseSection(const Json &object) {
  const Json *name = object.find("name"), *required = object.find("required");
  std::optional<uint64_t> offset = unsignedMember(object, "offset"), length = unsignedMember(object, "length"),
                          hash = hashMember(object);
  if (!name || !name->isString() || !required || !required->isBool() || !offset || !length || !hash)
    return std::nullopt;
  return Section{name->asString(), *offset, *length, *hash, required->asBool()};
}

static std::optional<TargetRequirement> parseTarget(const Json &object) {
  const Json *name = object.find("name"), *features = object.find("features");
  if (!name || !name->isString() || !features || !features->isArray())
    return std::nullopt;
  TargetRequirement target{name->asString(), {}};
  for (const Json &feature : features->asArray()) {
    if (!feature.isString())
      return std::nullopt;
    target.features.push_back(feature.asString());
  }
  return target;
}

Status Artifact::readTable(std::string_view text) {
  LLMOPT_ASSIGN(Json table, Json::parse(text, path_));
  const Json *targets = table.find("targets"), *sections = table.find("sections");
  std::optional<uint64_t> abi = unsignedMember(table, "abi");
  if (!abi || !targets || !targets->isArray() || !sections || !sections->isArray())
    return damaged("the section table lacks a member", path_);
  if (*abi != kKernelAbiVersion)
    return unsupported("E0203", "the artifact's kernels have ABI " + std::to_string(*abi) + "; this llmopt runs ABI " +
                                    std::to_string(kKernelAbiVersion), path_);
  for (const Json &object : targets->asArray()) {
    std::optional<TargetRequirement> target = parseTarget(object);
    if (!target)
      return damaged("a target of the table is malformed", path_);
    targets_.push_back(std::move(*target));
  }
  for (const Json &object : sections->asArray()) {
    std::optional<Section> section = parseSection(object);
    if (!section)
      return damaged("a section of the table is malformed", path_);
    sections_.push_back(std::move(*section));
  }
  return {};
}

static bool isKnown(std::string_view name) {
  return name == "model" || name == "weights" || name == "tokenizer" || name == "drawn" || name == "repacked" || name.starts_with("plan/") || name.starts_with("code/") ||
         name.starts_with("kernels/");
}

Status Artifact::checkSections() const {
  std::span<const std::byte> bytes = file_.bytes();
  uint64_t end = sizeof(Header) + reinterpret_cast<const Header *>(bytes.data())->tableLength;
  std::set<std::string_view> names;
  for (size_t i = 0; i < sections_.size(); ++i) {
    const Section &section = sections_[i];
    uint64_t expected = i == 0 ? kTableRoom : (end + kSectionAlignment - 1) / kSectionAlignment * kSectionAlignment;
    if (section.offset != expected || section.offset > bytes.size() || section.length > bytes.size() - section.offset)
      return damaged("section '" + section.name + "' lies outside the file or leaves a hole", path_);
    auto padding = bytes.subspan(end, section.offset - end);
    if (std::any_of(padding.begin(), padding.end(), [](std::byte b) { return b != std::byte(0); }))
      return damaged("padding before section '" + section.name + "' is not zero", path_);
    if (!names.insert(section.name).second)
      return damaged("section '" + section.name + "' is there twice", path_);
    if (section.required && !isKnown(section.name))
      return unsupported("E0204", "the artifact needs section '" + section.name + "', which this llmopt does not know", path_);
    end = section.offset + section.length;
  }
  return end == bytes.size() ? Status() : damaged("bytes behind the last section", path_);
}

Status Artifact::readModel() {
  LLMOPT_RETURN_IF_ERROR(verify("model"));
  std::span<const std::byte> bytes = *section("model");
  LLMOPT_ASSIGN(model_, Json::parse({reinterpret_cast<const char *>(bytes.data()), bytes.size()}, path_ + ", section 'model'"));
  return model_.isObject() ? Status() : damaged("section 'model' is not a JSON object", path_);
}

Result<Artifact> Artifact::open(const std::string &path) {
  Artifact artifact;
  artifact.path_ = path;
  LLMOPT_ASSIGN(artifact.file_, MappedFile::open(path));
  Status status = artifact.read();
  LLMOPT_RETURN_IF_ERROR(artifact.intact()); // the cause, where bytes that could not be read look like damage
  LLMOPT_RETURN_IF_ERROR(status);
  return artifact;
}

Status Artifact::read() {
  std::string_view table;
  LLMOPT_RETURN_IF_ERROR(readHeader(file_.bytes(), table));
  LLMOPT_RETURN_IF_ERROR(readTable(table));
  LLMOPT_RETURN_IF_ERROR(checkSections());
  return readModel();
}

std::optional<Section> Artifact::sectionInfo(std::string_view name) const {
  for (const Section &section : sections_)
    if (section.name == name)
      return section;
  return std::nullopt;
}

std::optional<std::span<const std::byte>> Artifact::section(std::string_view name) const {
  std::optional<Section> info = sectionInfo(name);
  if (!info)
    return std::nullopt;
  return file_.bytes().subspan(info->offset, info->length);
}

Status Artifact::verify(std::string_view name) const {
  std::optional<Section> info = sectionInfo(name);
  if (!info)
    return damaged("section '" + std::string(name) + "' is missing", path_);
  bool fits = hashBytes(*section(name)) == info->hash;
  LLMOPT_RETURN_IF_ERROR(intact());
  if (!fits)
    return verificationFailed("E0205", "checksum mismatch in section '" + std::string(name) + "'", path_);
  return {};
}

Status Artifact::verifyAll() const {
  for (const Section &section : sections_)
    LLMOPT_RETURN_IF_ERROR(verify(section.name));
  return {};
}
