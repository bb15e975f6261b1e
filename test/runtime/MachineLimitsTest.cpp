//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/runtime/MachineLimits.h"
#include "runtime/cpu/MachineLoops.h"

#include "llmopt/lib/Target/Target.h"

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <memory>

using namespace llmopt;

namespace {

MachineLimits example() {
  MachineLimits limits{.host = "example", .processor = "a processor"};
  limits.caches = {{1, "Data", 32 << 10, 1}, {3, "Unified", 32 << 20, 2}};
  limits.reading = {{1, 1, 1 << 20, 90e9}, {1, 1, 256 << 20, 20e9}, {1, 4, 256 << 20, 28e9}, {2, 1, 256 << 20, 35e9}, {2, 4, (256 << 20) - 4096, 40e9}};
  limits.arithmetic = {{"f32", "ymm", 1, 1e11}, {"f32", "zmm", 1, 1.2e11}, {"f32", "zmm", 2, 2.3e11}, {"i8", "zmm", 1, 4e11}};
  limits.barriers = {{2, 1.8e-7}};
  return limits;
}

std::string temporaryFile() {
  return testing::TempDir() + "machine-" + testing::UnitTest::GetInstance()->current_test_info()->name() + ".json";
}

TEST(MachineLimits, LimitIsTheBestOutsideOfCaches) {
  MachineLimits limits = example();
  EXPECT_EQ(limits.readLimit(1), 28e9);
  EXPECT_EQ(limits.readLimit(2), 40e9);
  EXPECT_EQ(limits.readLimit(8), 40e9) << "as many threads as were measured";
  EXPECT_EQ(limits.arithmeticLimit("f32", 1), 1.2e11);
  EXPECT_EQ(limits.arithmeticLimit("i8", 2), 4e11);
  EXPECT_EQ(limits.arithmeticLimit("bf16", 1), 0);
  EXPECT_EQ(MachineLimits().readLimit(1), 0);
}

TEST(MachineLimits, FileHoldsEverything) {
  std::string path = temporaryFile();
  ASSERT_TRUE(storeMachineLimits(example(), path).ok());
  Result<MachineLimits> read = loadMachineLimits(path);
  ASSERT_TRUE(read.ok()) << read.error().str();
  EXPECT_EQ(read->json().str(), example().json().str());
}

TEST(MachineLimits, BadFiles) {
  std::string path = temporaryFile();
  for (const char *text : {"{}", "[]", R"({"version": 1})", R"({"version": 2, "host": "a", "processor": "b", "caches": [], "reading": [], "arithmetic": [], "barriers": []})",
                           R"({"version": 1, "host": "a", "processor": "b", "caches": [], "reading": [{"threads": -1}], "arithmetic": [], "barriers": []})"}) {
    std::ofstream(path) << text;
    Result<MachineLimits> read = loadMachineLimits(path);
    ASSERT_FALSE(read.ok()) << text;
    EXPECT_EQ(read.error().code, "E1604") << text;
  }
  EXPECT_FALSE(loadMachineLimits(path + ".missing").ok());
}

// Each loop this machine has runs, and each way of streaming reads to the last byte (the sanitizers' business).
TEST(MachineLimits, LoopsRun) {
  for (const cpu::ArithmeticLoop &loop : cpu::arithmeticLoops())
    if (missingFeatures(std::vector<std::string>(loop.features.begin(), loop.features.end())).empty())
      loop.run(3);
  size_t bytes = (1 << 20) + 3 * cpu::readGranule;
  std::unique_ptr<void, void (*)(void *)> memory(std::aligned_alloc(4096, bytes), std::free);
  for (unsigned streams : {1u, 2u, 4u, 8u})
    for (bool ahead : {false, true})
      cpu::readStreams(memory.get(), bytes, streams, ahead);
}

} // namespace
