//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Artifact/Artifact.h"
#include "llmopt/lib/Support/Hash.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <unistd.h>

using namespace llmopt;

namespace {

/// A small artifact on disk, and copies of it with changed bytes.
class ArtifactFile : public testing::Test {
protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("llmopt-artifact-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
    good_ = write("good.llmopt", true, "weights");
    bytes_ = slurp(good_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string &name, bool required, const std::string &section) {
    std::string path = folder_ / name;
    Result<ArtifactWriter> writer = ArtifactWriter::create(path);
    EXPECT_TRUE(writer.ok());
    EXPECT_TRUE(writer->addSection("plan/x86-64", "{}").ok());
    EXPECT_TRUE(writer->addSection(section, std::string(5000, 'w'), required).ok());
    writer->addTarget({"x86-64", {"sse2"}});
    writer->setModel(Json().set("kind", "graph"));
    EXPECT_TRUE(writer->commit().ok());
    return path;
  }
  static std::string slurp(const std::string &path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  /// Opens a file with these contents.
  Result<Artifact> openBytes(const std::string &bytes) {
    std::string path = folder_ / "changed.llmopt";
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    return Artifact::open(path);
  }
  uint64_t tableLength() const {
    uint64_t length;
    std::memcpy(&length, bytes_.data() + 16, sizeof length);
    return length;
  }
  /// With the header's checksum made right again.
  std::string sealed(std::string bytes) const {
    uint64_t hash = hashBytes(std::as_bytes(std::span(bytes.data(), 56)));
    std::memcpy(bytes.data() + 56, &hash, sizeof hash);
    return bytes;
  }

  std::filesystem::path folder_;
  std::string good_, bytes_;
};

TEST_F(ArtifactFile, RoundTrip) {
  Result<Artifact> artifact = Artifact::open(good_);
  ASSERT_TRUE(artifact.ok()) << artifact.error().str();
  EXPECT_EQ(artifact->model().find("kind")->asString(), "graph");
  ASSERT_EQ(artifact->targets().size(), 1u);
  EXPECT_EQ(artifact->targets()[0].features, std::vector<std::string>{"sse2"});
  EXPECT_EQ(artifact->section("weights")->size(), 5000u);
  EXPECT_EQ(artifact->sectionInfo("weights")->offset % 4096, 0u);
  EXPECT_FALSE(artifact->section("tokenizer").has_value());
  EXPECT_TRUE(artifact->verifyAll().ok());
}

// Row E01: no flipped bit of header or table goes unnoticed.
// Sections are written in pieces of huge pages, whatever the sizes they come in.
TEST_F(ArtifactFile, LargeSectionsInAnyPieces) {
  std::string path = folder_ / "large.llmopt", large(5'000'001, ' ');
  for (size_t i = 0; i < large.size(); ++i)
    large[i] = char(i * 2654435761u >> 24);
  for (size_t piece : {size_t(700'001), size_t(2) << 20, large.size()}) {
    Result<ArtifactWriter> writer = ArtifactWriter::create(path);
    ASSERT_TRUE(writer.ok());
    auto fill = [&](const ArtifactWriter::Sink &sink) -> Status {
      for (size_t i = 0; i < large.size(); i += piece)
        LLMOPT_RETURN_IF_ERROR(sink(std::as_bytes(std::span(large).subspan(i, std::min(piece, large.size() - i)))));
      return {};
    };
    ASSERT_TRUE(writer->addSection("weights", fill, true).ok());
    ASSERT_TRUE(writer->addSection("after", "a", false).ok());
    ASSERT_TRUE(writer->commit().ok());
    Result<Artifact> artifact = Artifact::open(path);
    ASSERT_TRUE(artifact.ok()) << artifact.error().str();
    std::span<const std::byte> read = *artifact->section("weights");
    ASSERT_EQ(read.size(), large.size());
    EXPECT_EQ(std::memcmp(read.data(), large.data(), large.size()), 0) << piece;
    EXPECT_EQ(artifact->section("after")->size(), 1u);
  }
}

TEST_F(ArtifactFile, EveryFlipInHeaderAndTableIsSeen) {
  for (size_t i = 0; i < 64 + tableLength(); ++i) {
    std::string changed = bytes_;
    changed[i] = char(changed[i] ^ (1 << (i % 8)));
    Result<Artifact> artifact = openBytes(changed);
    ASSERT_FALSE(artifact.ok()) << "byte " << i;
    EXPECT_EQ(artifact.error().kind, ErrorKind::Verification) << "byte " << i << ": " << artifact.error().str();
  }
}

TEST_F(ArtifactFile, FlipInPaddingIsSeen) {
  std::string changed = bytes_;
  changed[kTableRoom - 1] = 1;
  EXPECT_EQ(openBytes(changed).error().code, "E0202");
}

TEST_F(ArtifactFile, FlipInSectionIsSeenByVerify) {
  std::string changed = bytes_;
  size_t weights = Artifact::open(good_)->sectionInfo("weights")->offset;
  changed[weights + 123] ^= 4;
  Result<Artifact> artifact = openBytes(changed);
  ASSERT_TRUE(artifact.ok());
  EXPECT_TRUE(artifact->verify("plan/x86-64").ok());
  Status status = artifact->verifyAll();
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().kind, ErrorKind::Verification);
  EXPECT_NE(status.error().message.find("section 'weights'"), std::string::npos);
}

TEST_F(ArtifactFile, TruncatedAnywhere) {
  for (size_t length = 1; length < bytes_.size(); length += 997) {
    Result<Artifact> artifact = openBytes(bytes_.substr(0, length));
    ASSERT_FALSE(artifact.ok()) << length;
  }
  EXPECT_NE(openBytes("").error().message.find("empty (0 bytes)"), std::string::npos);
  EXPECT_EQ(openBytes(bytes_ + "x").error().code, "E0202");
  EXPECT_EQ(openBytes("#!/bin/sh\n").error().code, "E0201");
}

// Row E03.
TEST_F(ArtifactFile, FutureVersions) {
  std::string major = bytes_, minor = bytes_;
  major[8] = kArtifactMajor + 1;
  minor[10] = kArtifactMinor + 1;
  for (const std::string &changed : {sealed(major), sealed(minor)}) {
    Result<Artifact> artifact = openBytes(changed);
    ASSERT_FALSE(artifact.ok());
    EXPECT_EQ(artifact.error().code, "E0203");
    EXPECT_EQ(artifact.error().kind, ErrorKind::Unsupported);
  }
}

TEST_F(ArtifactFile, UnknownSections) {
  EXPECT_TRUE(Artifact::open(write("optional.llmopt", false, "horoscope")).ok());
  Result<Artifact> artifact = Artifact::open(write("required.llmopt", true, "horoscope"));
  ASSERT_FALSE(artifact.ok());
  EXPECT_EQ(artifact.error().code, "E0204");
  EXPECT_EQ(artifact.error().kind, ErrorKind::Unsupported);
}

TEST_F(ArtifactFile, NothingIsLeftWithoutCommit) {
  std::string path = folder_ / "never.llmopt";
  { ASSERT_TRUE(ArtifactWriter::create(path).ok()); }
  size_t files = 0;
  for (auto &entry : std::filesystem::directory_iterator(folder_))
    files += entry.path().filename().string().starts_with("never");
  EXPECT_EQ(files, 0u);
}

} // namespace
