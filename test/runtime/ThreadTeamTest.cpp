//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/cpu/ThreadTeam.h"
#include "runtime/cpu/Topology.h"

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <unistd.h>
#include <xmmintrin.h>

using namespace llmopt::cpu;

namespace {

class ThreadTeamOf : public testing::TestWithParam<unsigned> {};

TEST_P(ThreadTeamOf, EveryPartRunsOnce) {
  ThreadTeam team;
  for (int round = 0; round < 200; ++round) {
    std::vector<int> calls(GetParam());
    auto work = [&](unsigned part) { ++calls[part]; };
    ThreadTeam::Turn turn(team, GetParam());
    turn.run(work);
    EXPECT_EQ(calls, std::vector<int>(GetParam(), 1));
  }
}

// Each part adds to its neighbour's number of the stage before: wrong without a barrier.
TEST_P(ThreadTeamOf, BarrierSeparatesStages) {
  ThreadTeam team;
  const unsigned parts = GetParam(), stages = 500;
  std::vector<std::vector<uint64_t>> values(stages + 1, std::vector<uint64_t>(parts, 1));
  auto work = [&](unsigned part) {
    for (unsigned stage = 0; stage < stages; ++stage) {
      values[stage + 1][part] = values[stage][(part + 1) % parts] + 1;
      team.barrier();
    }
  };
  ThreadTeam::Turn turn(team, parts);
  turn.run(work);
  EXPECT_EQ(values[stages], std::vector<uint64_t>(parts, stages + 1));
}

TEST_P(ThreadTeamOf, SleepingThreadsWakeUp) {
  ThreadTeam team;
  std::atomic<unsigned> calls = 0;
  auto work = [&](unsigned) { ++calls; };
  for (int round = 0; round < 3; ++round) {
    { ThreadTeam::Turn(team, GetParam()).run(work); }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  EXPECT_EQ(calls, 3 * GetParam());
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadTeamOf, testing::Values(1, 2, 5), testing::PrintToStringParamName());

TEST(ThreadTeam, GrowsAndShrinksBetweenTurns) {
  ThreadTeam team;
  for (unsigned parts : {1, 4, 2, 5, 1, 3}) {
    std::atomic<unsigned> calls = 0;
    auto work = [&](unsigned) { ++calls; };
    ThreadTeam::Turn(team, parts).run(work);
    EXPECT_EQ(calls, parts);
  }
}

TEST(ThreadTeam, TwoCallersTakeTurns) {
  ThreadTeam team;
  int inside = 0;
  std::atomic<int> overlaps = 0;
  auto caller = [&] {
    for (int round = 0; round < 300; ++round) {
      ThreadTeam::Turn turn(team, 2);
      overlaps += ++inside != 1;
      std::atomic<int> sum = 0;
      auto work = [&](unsigned part) { sum += int(part) + 1; };
      turn.run(work);
      overlaps += sum != 3;
      --inside;
    }
  };
  std::thread first(caller), second(caller);
  first.join();
  second.join();
  EXPECT_EQ(overlaps, 0);
}

TEST(ThreadTeam, DenormalsAreZeroInsideOnly) {
  ThreadTeam team;
  unsigned before = _mm_getcsr();
  std::atomic<int> flushing = 0;
  auto work = [&](unsigned) { flushing += (_mm_getcsr() & 0x8040) == 0x8040; };
  ThreadTeam::Turn(team, 2).run(work);
  EXPECT_EQ(flushing, 2);
  EXPECT_EQ(_mm_getcsr(), before);
}

TEST(Topology, CpuLists) {
  EXPECT_EQ(parseCpuList("0-2,8"), (std::vector<int>{0, 1, 2, 8}));
  EXPECT_EQ(parseCpuList("5"), (std::vector<int>{5}));
  EXPECT_TRUE(parseCpuList("x").empty());
  EXPECT_GE(allowedProcessors().cores, 1u);
}

TEST(Topology, PinnedCallersDoNotCountAsOneProcessor) {
  unsigned before = defaultThreads();
  std::thread([&] {
    ThreadTeam::pinCaller();
    EXPECT_EQ(defaultThreads(), before);
  }).join();
}

class Cgroup : public testing::Test {
protected:
  void SetUp() override {
    root_ = std::filesystem::temp_directory_path() / ("llmopt-cgroup-" + std::to_string(::getpid()));
    std::filesystem::create_directories(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void put(const std::string &name, const std::string &text) {
    std::filesystem::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text << "\n";
  }
  std::optional<double> quota() { return cgroupQuota(root_ / "membership", root_); }
  std::filesystem::path root_;
};

TEST_F(Cgroup, Version2TakesTheTightestLevel) {
  put("membership", "0::/a/b");
  EXPECT_FALSE(quota());
  put("a/b/cpu.max", "max 100000");
  EXPECT_FALSE(quota());
  put("a/cpu.max", "150000 100000");
  EXPECT_DOUBLE_EQ(*quota(), 1.5);
  put("a/b/cpu.max", "400000 100000");
  EXPECT_DOUBLE_EQ(*quota(), 1.5);
}

TEST_F(Cgroup, Version1) {
  put("membership", "4:memory:/x\n3:cpu,cpuacct:/x");
  put("cpu/x/cpu.cfs_quota_us", "-1");
  put("cpu/x/cpu.cfs_period_us", "100000");
  EXPECT_FALSE(quota());
  put("cpu/x/cpu.cfs_quota_us", "200000");
  EXPECT_DOUBLE_EQ(*quota(), 2.0);
}

} // namespace
