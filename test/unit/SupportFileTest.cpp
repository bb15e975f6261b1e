//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "../../lib/Support/OpenBeneath.h"
#include "llmopt/lib/Support/File.h"
#include "llmopt/lib/Support/HugePages.h"
#include "llmopt/lib/Support/UserCache.h"

#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <csignal>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

// https://specifications.freedesktop.org/basedir-spec/latest
TEST(UserCache, BaseDirectories) {
  struct Kept {
    explicit Kept(const char *name) : name(name), had(std::getenv(name) != nullptr), value(had ? std::getenv(name) : "") {}
    ~Kept() { had ? ::setenv(name, value.c_str(), 1) : ::unsetenv(name); }
    const char *name;
    bool had;
    std::string value;
  } cache("XDG_CACHE_HOME"), home("HOME");
  ::setenv("HOME", "/home/ada", 1);
  ::setenv("XDG_CACHE_HOME", "/var/cache/ada", 1);
  EXPECT_EQ(userCacheFolder(), "/var/cache/ada/llmopt");
  for (const char *ignored : {"", "relative"}) {
    ::setenv("XDG_CACHE_HOME", ignored, 1);
    EXPECT_EQ(userCacheFolder(), "/home/ada/.cache/llmopt") << ignored;
  }
  ::unsetenv("XDG_CACHE_HOME");
  EXPECT_EQ(userCacheFolder(), "/home/ada/.cache/llmopt");
  ::unsetenv("HOME");
  EXPECT_EQ(userCacheFolder(), "");
}

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

TEST_F(SupportFile, LargeFilesLieWhereHugePagesFit) {
  std::string text(2 * kHugePageBytes + 5000, 'x');
  text.back() = 'y';
  put("large", text);
  Result<MappedFile> file = MappedFile::open(path("large"));
  ASSERT_TRUE(file.ok()) << file.error().str();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file->bytes().data()) % kHugePageBytes, 0u);
  EXPECT_EQ(file->text(), text);
}

// Row B19. The touch of a page that the file lost would be SIGBUS.
TEST_F(SupportFile, FilesThatShrinkReadAsZerosAndSaySo) {
  put("shrinks", std::string(3 * 4096, 'x'));
  put("stays", std::string(4096, 'x'));
  uint64_t losses = MappedFile::losses();
  Result<MappedFile> shrinks = MappedFile::open(path("shrinks")), stays = MappedFile::open(path("stays"));
  fs::resize_file(path("shrinks"), 4096);
  EXPECT_TRUE(shrinks->intact().ok());
  EXPECT_EQ(shrinks->text()[4095], 'x');
  EXPECT_EQ(MappedFile::losses(), losses);
  EXPECT_EQ(shrinks->text()[8192], '\0');
  EXPECT_EQ(shrinks->text()[4096], '\0');
  Status status = shrinks->intact();
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().str(), "error[E0105]: became shorter or unreadable while it was in use, at byte 8192\n  --> " + path("shrinks"));
  EXPECT_EQ(MappedFile::losses(), losses + 1);
  EXPECT_EQ(MappedFile::lastLoss().error().context, path("shrinks"));
  EXPECT_TRUE(stays->intact().ok());
  *stays = shrinks.take(); // moves the watch along
  EXPECT_FALSE(stays->intact().ok());
}

TEST_F(SupportFile, OtherBusErrorsStillEndTheProcess) {
  put("watched", "x");
  put("other", std::string(4096, 'x'));
  MappedFile watched = MappedFile::open(path("watched")).take(); // the handler is there
  int descriptor = ::open(path("other").c_str(), O_RDONLY);
  void *page = ::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, descriptor, 0);
  fs::resize_file(path("other"), 0);
  EXPECT_DEATH((void)*static_cast<volatile char *>(page), "");
  ::munmap(page, 4096);
  ::close(descriptor);
}

// Row E09: whatever ends the process.
TEST_F(SupportFile, KilledWritersLeaveNothing) {
  put("out", "old");
  pid_t child = ::fork();
  if (child == 0) {
    Result<AtomicFile> file = AtomicFile::create(path("out"));
    if (file.ok() && file->write("half").ok())
      ::kill(::getpid(), SIGKILL);
    ::_exit(1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(*readTextFile(path("out")), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(root_), fs::directory_iterator()), 3); // in, secret, out
}
