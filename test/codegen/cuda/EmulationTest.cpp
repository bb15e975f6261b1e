//===- EmulationTest.cpp - what the emulation computes and what it catches -===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "EmulatedKernel.h"

#include "codegen/CUDA/kernels/float8.cuh"

using namespace llmopt::test;

namespace {

template <bool kBarrier>
void sumOfBlock(float *sums, const float *values, i64 count) {
  STATIC_SHARED(float, parts, 4);
  float sum = 0;
  for (i64 i = threadIdx.x; i < count; i += blockDim.x)
    sum += values[i];
  for (u32 mask = 16; mask; mask /= 2)
    sum += shuffleXor(sum, mask);
  if (laneId() == 0)
    parts[threadIdx.x / 32] = sum;
  if (kBarrier)
    blockSync();
  if (threadIdx.x == 0)
    sums[blockIdx.x] = parts[0] + parts[1] + parts[2] + parts[3];
}

TEST(Emulation, ShufflesAndBarriers) {
  Buffer<float> values(1001, 1.5f), sums(3);
  for (const char *mode : kModes) {
    EXPECT_EQ(launch(mode, sumOfBlock<true>, 3, 128, 0, sums.data(), values.data(), 1001), "");
    EXPECT_EQ(sums[0], 1501.5f);
    EXPECT_EQ(sums[2], 1501.5f);
  }
}

TEST(Emulation, MissingBarrierReadsPoison) {
  Buffer<float> values(1001, 1.5f), sums(1);
  EXPECT_EQ(launch("", sumOfBlock<false>, 1, 128, 0, sums.data(), values.data(), 1001), "");
  EXPECT_TRUE(std::isnan(sums[0]));
}

void unequalBarrier(i64) {
  if (threadIdx.x < 32)
    barrierSync<1, 64>();
}
TEST(Emulation, DeadlockSaysWhoWaits) {
  std::string message = launch("", unequalBarrier, 1, 64, 0, i64(0));
  EXPECT_NE(message.find("deadlock in block 0,0,0; thread 0 waits at barrier 1"), std::string::npos) << message;
  // The engine is usable afterwards.
  Buffer<float> values(10, 1.0f), sums(1);
  EXPECT_EQ(launch("", sumOfBlock<true>, 1, 128, 0, sums.data(), values.data(), 10), "");
  EXPECT_EQ(sums[0], 10.0f);
}

void differentOperations(i64) {
  if (threadIdx.x < 16)
    shuffleXor(1.0f, 1);
  else
    warpSync();
}
TEST(Emulation, LanesMustMeetInOneOperation) {
  EXPECT_NE(launch("", differentOperations, 1, 32, 0, i64(0)).find("votes meets shuffleXor"), std::string::npos);
}

void copyBeyondShared(const float *values) {
  SHARED_MEMORY(shared);
  copyAsync16(sharedAddress(shared) + 512 - 16 * (threadIdx.x == 0), values);
  copyAsyncCommit();
  copyAsyncWait<0>();
}
TEST(Emulation, SharedMemoryHasBounds) {
  Buffer<float> values(4);
  EXPECT_EQ(launch("", copyBeyondShared, 1, 1, 512, values.data()), "");
  EXPECT_NE(launch("", copyBeyondShared, 1, 2, 512, values.data()).find("16 bytes at shared address 0x200 lie in no array"), std::string::npos);
}

template <int kNewest>
void waitForCopies(float *to, const float *from) {
  SHARED_MEMORY(shared);
  for (int i = 0; i < 2; ++i) {
    copyAsync16(sharedAddress(shared) + 16 * i, from + 4 * i);
    copyAsyncCommit();
  }
  copyAsyncWait<kNewest>();
  to[0] = ((float *)shared)[4];
  copyAsyncWait<0>();
}
TEST(Emulation, CopiesLandWhenWaitedFor) {
  Buffer<float> from(8, 2.0f), to(1);
  EXPECT_EQ(launch("late-copies", waitForCopies<0>, 1, 1, 64, to.data(), from.data()), "");
  EXPECT_EQ(to[0], 2.0f);
  EXPECT_EQ(launch("late-copies", waitForCopies<1>, 1, 1, 64, to.data(), from.data()), "");
  EXPECT_TRUE(std::isnan(to[0]));
}

void loadBox(const TensorMap map, float *to, u32 parity, i32 x, i32 y) {
  SHARED_MEMORY(shared);
  u32 barrier = sharedAddress(shared) + 1024;
  if (threadIdx.x == 0) {
    mbarrierInit(barrier, 1);
    mbarrierExpect(barrier, 1024);
    tmaLoad2(sharedAddress(shared), &map, barrier, x, y);
  }
  blockSync();
  mbarrierWait(barrier, parity);
  if (threadIdx.x == 0)
    memcpy(to, shared, 1024);
}
TEST(Emulation, TensorMapsSwizzleAndPad) {
  Buffer<float> from(5 * 40), to(256);
  for (int i = 0; i < 200; ++i)
    from[i] = float(i + 1);
  TensorMap map = tensorMap2(from.data(), 5, 38, 40, 8, 32);
  for (const char *mode : kModes) {
    ASSERT_EQ(launch(mode, loadBox, 1, 32, 1032, map, to.data(), 0u, 32, 1), "");
    for (int row = 0; row < 8; ++row)
      for (int column = 0; column < 32; ++column) {
        int chunk = (column / 4) ^ row; // 16-byte chunks change places with the row
        float expected = row + 1 < 5 && column + 32 < 38 ? float((row + 1) * 40 + column + 33) : 0.0f;
        EXPECT_EQ(to[row * 32 + chunk * 4 + column % 4], expected);
      }
  }
}
TEST(Emulation, WrongParityIsFound) {
  Buffer<float> from(5 * 40), to(256);
  TensorMap map = tensorMap2(from.data(), 5, 38, 40, 8, 32);
  // The phase before the first counts as complete, so nobody waits.
  EXPECT_EQ(launch("late-copies", loadBox, 1, 32, 1032, map, to.data(), 1u, 0, 0), "the block ends while a TMA load is in flight");
  EXPECT_TRUE(std::isnan(to[0]));
}

/// One m64nNk(32 bytes) product of operands in shared memory.
template <class T, class Sum, int kColumns>
void product(const TensorMap a, const TensorMap b, Sum *to) {
  SHARED_MEMORY(shared);
  u32 base = sharedAddress(shared), barrier = base + (64 + kColumns) * 128;
  if (threadIdx.x == 0) {
    mbarrierInit(barrier, 1);
    mbarrierExpect(barrier, (64 + kColumns) * 128);
    tmaLoad2(base, &a, barrier, 0, 0);
    tmaLoad2(base + 64 * 128, &b, barrier, 0, 0);
  }
  blockSync();
  mbarrierWait(barrier, 0);
  Sum sums[kColumns / 2];
  for (Sum &sum : sums)
    sum = 77;
  wgmmaFence();
  for (int k = 0; k < 4; ++k)
    wgmma(T(), sums, descriptor(base + k * 32), descriptor(base + 64 * 128 + k * 32), k != 0);
  wgmmaCommit();
  wgmmaWait<0>();
  u32 warp = threadIdx.x / 32, lane = laneId();
  for (int i = 0; i < kColumns / 2; ++i)
    to[(warp * 16 + lane / 4 + i / 2 % 2 * 8) * kColumns + i / 4 * 8 + lane % 4 * 2 + i % 2] = sums[i];
}
template <class T, class Sum, int kColumns>
void checkProduct(float scale) {
  constexpr int kDepth = 128 / sizeof(T);
  Buffer<T> a(64 * kDepth), b(kColumns * kDepth);
  a.random(1, scale);
  b.random(2, scale);
  Buffer<Sum> to(64 * kColumns);
  for (const char *mode : kModes) {
    ASSERT_EQ(launch(mode, product<T, Sum, kColumns>, 1, 128, (64 + kColumns) * 128 + 64, tensorMap2(a.data(), 64, kDepth, kDepth, 64, kDepth),
                     tensorMap2(b.data(), kColumns, kDepth, kDepth, kColumns, kDepth), to.data()),
              "");
    Error error;
    for (int row = 0; row < 64; ++row)
      for (int column = 0; column < kColumns; ++column) {
        double sum = 0;
        for (int k = 0; k < kDepth; ++k)
          sum += double(load(a[row * kDepth + k])) * load(b[column * kDepth + k]);
        error.add(to[row * kColumns + column], sum);
      }
    EXPECT_LT(error.worst(), 1e-6) << mode;
  }
}
TEST(Emulation, WarpgroupProducts) {
  checkProduct<bf16, float, 128>(1);
  checkProduct<f16, float, 32>(1);
  checkProduct<e4m3, float, 64>(4);
  checkProduct<i8, i32, 64>(127);
}

/// Products of a warp, operands through ldmatrix.
template <class T, class Sum>
void warpProduct(const T *a, const T *b, Sum *to) {
  SHARED_MEMORY(shared);
  u32 base = sharedAddress(shared), lane = laneId();
  copyAsync16(base + lane * 16, (const u8 *)a + lane * 16); // 16 rows of 32 bytes
  if (lane < 16)
    copyAsync16(base + 512 + lane * 16, (const u8 *)b + lane * 16); // 8 rows
  copyAsyncCommit();
  copyAsyncWait<0>();
  warpSync();
  u32 fragmentA[4], fragmentB[4];
  loadMatrix4(fragmentA, base + lane % 16 * 32 + lane / 16 * 16);
  loadMatrix4(fragmentB, base + 512 + lane % 8 * 32 + lane / 8 % 2 * 16);
  Sum sums[4] = {};
  multiply(T(), sums, fragmentA, fragmentB);
  for (int i = 0; i < 4; ++i)
    to[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sums[i];
}
template <class T, class Sum>
void checkWarpProduct() {
  constexpr int kDepth = 32 / sizeof(T);
  Buffer<T> a(16 * kDepth), b(8 * kDepth);
  a.random(3, 50);
  b.random(4, 50);
  Buffer<Sum> to(128);
  for (const char *mode : kModes) {
    ASSERT_EQ(launch(mode, warpProduct<T, Sum>, 1, 32, 768, a.data(), b.data(), to.data()), "");
    Error error;
    for (int row = 0; row < 16; ++row)
      for (int column = 0; column < 8; ++column) {
        double sum = 0;
        for (int k = 0; k < kDepth; ++k)
          sum += double(load(a[row * kDepth + k])) * load(b[column * kDepth + k]);
        error.add(to[row * 8 + column], sum);
      }
    EXPECT_LT(error.worst(), 1e-6) << mode;
  }
}
TEST(Emulation, WarpProducts) {
  checkWarpProduct<bf16, float>();
  checkWarpProduct<f16, float>();
  checkWarpProduct<e4m3, float>();
  checkWarpProduct<i8, i32>();
}

void unfencedProduct(float *to) {
  float sums[16] = {};
  wgmma(bf16(), sums, descriptor(0), descriptor(1024), true);
  to[0] = sums[0];
}
TEST(Emulation, ProtocolOfWgmma) {
  Buffer<float> to(1);
  EXPECT_NE(launch("", unfencedProduct, 1, 128, 8192, to.data()).find("wgmma without wgmma.fence"), std::string::npos);
}

TEST(Emulation, SmallFloats) {
  for (int code = 0; code < 256; ++code) {
    float value = toFloat(e4m3{u8(code)});
    if (value == value)
      EXPECT_EQ(toE4m3(value).bits, code);
  }
  EXPECT_EQ(toFloat(e4m3{0x7e}), 448.0f);
  EXPECT_EQ(toFloat(e4m3{0x01}), 0.001953125f);
  EXPECT_EQ(toE4m3(1000.0f).bits, 0x7e);
  EXPECT_EQ(toFloat(toE4m3(17.0f)), 16.0f); // half way: to even
  EXPECT_EQ(toFloat(toE4m3(19.0f)), 20.0f);
}

TEST(Emulation, E4m3AsF16) {
  for (u32 code = 0; code < 256; ++code) {
    u32 bytes = code | (code ^ 0x80) << 8 | (255 - code) << 16 | (code ^ 0x15) << 24, low, high, wantedLow, wantedHigh;
    widenE4m3(bytes, low, high);
    convertE4m3(bytes, wantedLow, wantedHigh);
    for (int i = 0; i < 4; ++i) {
      float found = toFloat(f16{u16((i < 2 ? low : high) >> i % 2 * 16)}), wanted = toFloat(f16{u16((i < 2 ? wantedLow : wantedHigh) >> i % 2 * 16)});
      EXPECT_TRUE(found == wanted ? std::signbit(found) == std::signbit(wanted) : std::isnan(found) && std::isnan(wanted)) << code << " " << i;
    }
  }
}

} // namespace
