//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "../../lib/Support/OpenBeneath.h"
#include "llmopt/lib/Support/File.h"

#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/stat.h>

using namespace llmopt;
namespace fs = std::filesystem;

namespace {

class SupportFile : public testing::Test {
protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "llmopt-file-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    fs::create_directories(root_ / "in/sub");
    put("in/sub/a.txt", "hello");
    put("secret", "s");
    fs::create_symlink("../secret", root_ / "in/link");
    fs::create_symlink("sub", root_ / "in/linkdir");
  }
  void TearDown() override { fs::remove_all(root_); }
  void put(const std::string &name, const std::string &text) { std::ofstream(root_ / name) << text; }
  std::string path(const std::string &name) const { return (root_ / name).string(); }

  fs::path root_;
};

template <typename T> std::string codeOf(const Result<T> &result) { return result.ok() ? "ok" : result.error().code; }

} // namespace

TEST_F(SupportFile, OpensBeneathOnly) {
  std::string in = path("in");
  Result<MappedFile> file = MappedFile::openBeneath(in, "sub/a.txt");
  ASSERT_TRUE(file.ok()) << file.error().str();
  EXPECT_EQ(file->text(), "hello");
  for (const char *name : {"", "/etc/passwd", "../secret", "sub/../../secret", "sub/..", "link", "linkdir/a.txt"})
    EXPECT_EQ(codeOf(MappedFile::openBeneath(in, name)), "E0102") << name;
  EXPECT_EQ(codeOf(MappedFile::openBeneath(in, std::string("sub/a.txt\0x", 11))), "E0102");
  EXPECT_EQ(codeOf(MappedFile::openBeneath(in, "sub/none")), "E0101");
  EXPECT_EQ(codeOf(MappedFile::openBeneath(in, "sub")), "E0101");
  EXPECT_EQ(codeOf(MappedFile::openBeneath(path("none"), "a")), "E0101");
}

TEST_F(SupportFile, WalkingTheComponentsRefusesTheSame) {
  Descriptor base(::open(path("in").c_str(), O_PATH | O_DIRECTORY));
  for (auto open : {openBeneathByKernel, openBeneathStepwise}) {
    EXPECT_TRUE(open(base.get(), "sub/a.txt").ok());
    EXPECT_TRUE(open(base.get(), "./sub//a.txt").ok());
    EXPECT_FALSE(open(base.get(), "link").ok());
    EXPECT_FALSE(open(base.get(), "linkdir/a.txt").ok());
    EXPECT_FALSE(open(base.get(), "sub/none").ok());
  }
}

TEST_F(SupportFile, RefusesWhatIsNoFile) {
  EXPECT_EQ(codeOf(MappedFile::open(path("in"))), "E0101");
  EXPECT_EQ(codeOf(MappedFile::open("/dev/zero")), "E0101");
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  EXPECT_EQ(codeOf(MappedFile::open(path("pipe"))), "E0101");
  EXPECT_EQ(codeOf(readTextFile(path("pipe"))), "E0101");
}

TEST_F(SupportFile, EmptyAndLimitedFiles) {
  put("empty", "");
  EXPECT_TRUE(MappedFile::open(path("empty"))->bytes().empty());
  EXPECT_EQ(*readTextFile(path("in/sub/a.txt"), 5), "hello");
  EXPECT_EQ(codeOf(readTextFile(path("in/sub/a.txt"), 4)), "E0103");
}

TEST_F(SupportFile, CommitReplacesAndDropLeavesNothing) {
  put("out", "old");
  {
    Result<AtomicFile> file = AtomicFile::create(path("out"));
    ASSERT_TRUE(file.ok());
    EXPECT_TRUE(file->write("new").ok());
  }
  EXPECT_EQ(*readTextFile(path("out")), "old");
  Result<AtomicFile> file = AtomicFile::create(path("out"));
  EXPECT_TRUE(file->write("head").ok());
  EXPECT_TRUE(file->alignTo(8192).ok());
  EXPECT_EQ(file->position(), 8192u);
  EXPECT_TRUE(file->write("tail").ok());
  EXPECT_TRUE(file->writeAt(1, std::as_bytes(std::span("E", 1))).ok());
  EXPECT_TRUE(file->commit().ok());
  std::string text = *readTextFile(path("out"));
  EXPECT_EQ(text.size(), 8196u);
  EXPECT_EQ(text.substr(0, 5), std::string("hEad\0", 5));
  EXPECT_EQ(text.substr(8192), "tail");
  // in, secret, out
  EXPECT_EQ(std::distance(fs::directory_iterator(root_), fs::directory_iterator()), 3);
}

TEST_F(SupportFile, NeverReplacesADevice) {
  EXPECT_EQ(codeOf(AtomicFile::create("/dev/null")), "E0104");
  EXPECT_EQ(codeOf(AtomicFile::create(path("in"))), "E0104");
  EXPECT_EQ(codeOf(AtomicFile::create(path("none/out"))), "E0104");
}
