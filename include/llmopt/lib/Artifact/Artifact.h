//===- Artifact.h - the .llmopt file ----------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Layout: 64-byte fixed header, JSON table, sections. All little endian.
//
//   offset  bytes  field
//   0       8      magic "LLMOPT\x1a\n"
//   8       2      format major      16  8  bytes of the JSON table, which begins at offset 64
//   10      2      format minor      24  8  file length
//   12      4      flags, 0          32  8  XXH3 of the JSON table
//                                    40  24 zero, but for the last 8: XXH3 of bytes 0..55
//
// The table: {"abi": 1, "producer": "...", "targets": [{"name", "features"}], "sections": [{"name", "offset", "length",
// "hash", "required"}]}; hashes are 16 hexadecimal digits. Sections begin at multiples of 4096, in order, without holes
// other than zero padding; the first begins at kTableRoom, since the table is written last.
//
//   model          metadata: architecture, vocabulary size, special tokens, generation defaults, source, hashes (JSON);
//                  keys in ModelInfo.h
//   plan/<target>  lib/Artifact/Plan.h (JSON)
//   code/<target>  a CPU: one ELF shared object without dependencies; a GPU: images, which kernels/<target> describes
//   kernels/<target>  how to launch the kernels of a GPU (DeviceCode.h, JSON)
//   weights        every tensor, 64-byte aligned, once for all targets
//   tokenizer      runtime/text (optional)
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_ARTIFACT_ARTIFACT_H
#define LLMOPT_LIB_ARTIFACT_ARTIFACT_H

#include "llmopt/lib/Support/File.h"
#include "llmopt/lib/Support/Json.h"

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace llmopt {

inline constexpr uint16_t kArtifactMajor = 1, kArtifactMinor = 0;
/// Bytes kept for header and table; the sections come behind.
inline constexpr uint64_t kTableRoom = 16384;
inline constexpr uint64_t kSectionAlignment = 4096;

struct Section {
  std::string name;
  uint64_t offset = 0, length = 0, hash = 0;
  bool required = true; ///< an older reader must refuse the file if it does not know this section
};

/// What a target's code needs of the machine.
struct TargetRequirement {
  std::string name;                  ///< "x86-64-v3"
  std::vector<std::string> features; ///< "avx2", "fma", ...
};

/// Writes an artifact section by section; the table comes last, so its room is reserved first. Errors: E0209.
class ArtifactWriter {
public:
  static Result<ArtifactWriter> create(const std::string &path);
  /// Streams a section: `fill` calls the sink any number of times.
  using Sink = std::function<Status(std::span<const std::byte>)>;
  Status addSection(const std::string &name, const std::function<Status(const Sink &)> &fill, bool required = true);
  Status addSection(const std::string &name, std::string_view text, bool required = true);
  void setModel(Json model) { model_ = std::move(model); }
  void addTarget(TargetRequirement target) { targets_.push_back(std::move(target)); }
  /// Writes the table and puts the file in place.
  Status commit();

private:
  explicit ArtifactWriter(AtomicFile file) : file_(std::move(file)) {}
  AtomicFile file_;
  Json model_;
  std::vector<TargetRequirement> targets_;
  std::vector<Section> sections_;
};

/// A mapped artifact. Opening checks header, table, padding, section bounds and the metadata; `verify` checks contents.
class Artifact {
public:
  /// Codes: E0201 not an artifact, E0202 damaged header or table, E0203 version, E0204 unknown required section, E0205
  /// damaged metadata.
  static Result<Artifact> open(const std::string &path);
  const std::string &path() const { return path_; }
  const Json &model() const { return model_; }
  const std::vector<TargetRequirement> &targets() const { return targets_; }
  const std::vector<Section> &sections() const { return sections_; }
  std::optional<std::span<const std::byte>> section(std::string_view name) const;
  std::optional<Section> sectionInfo(std::string_view name) const;
  /// E0205 naming the section whose checksum differs.
  Status verify(std::string_view name) const;
  Status verifyAll() const;
  /// E0105 when the file became shorter or unreadable since it was opened.
  Status intact() const { return file_.intact(); }

private:
  Status read();
  Status readHeader(std::span<const std::byte> bytes, std::string_view &table) const;
  Status readTable(std::string_view text);
  Status checkSections() const;
  Status readModel();
  std::string path_;
  MappedFile file_;
  Json model_;
  std::vector<TargetRequirement> targets_;
  std::vector<Section> sections_;
};

} // namespace llmopt

#endif // LLMOPT_LIB_ARTIFACT_ARTIFACT_H
