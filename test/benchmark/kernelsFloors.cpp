//===- kernelsFloors.cpp - what this machine can do, measured now ---------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "kernelsFloors.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <immintrin.h>
#include <sys/mman.h>

using namespace llmopt;

// Of this thread on its core: the measured code never waits, so time that other processes take does not count.
double test::seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

static constexpr int kChains = 12; // enough for two units of latency four

// The empty statement keeps each chain in a register of its own.
__attribute__((target("avx2,fma"))) static void multiplyAdd256(long steps) {
  __m256 sums[kChains], factor = _mm256_set1_ps(0.5f);
  for (__m256 &sum : sums)
    sum = factor;
  for (long i = 0; i < steps; ++i) {
#pragma clang loop unroll(full)
    for (__m256 &sum : sums) {
      sum = _mm256_fmadd_ps(sum, factor, factor);
      __asm__ volatile("" : "+x"(sum));
    }
  }
}

__attribute__((target("avx512f"))) static void multiplyAdd512(long steps) {
  __m512 sums[kChains], factor = _mm512_set1_ps(0.5f);
  for (__m512 &sum : sums)
    sum = factor;
  for (long i = 0; i < steps; ++i) {
#pragma clang loop unroll(full)
    for (__m512 &sum : sums) {
      sum = _mm512_fmadd_ps(sum, factor, factor);
      __asm__ volatile("" : "+v"(sum));
    }
  }
}

double test::peakFlops(bool wide) {
  constexpr long kSteps = 200000;
  double begin = seconds();
  wide ? multiplyAdd512(kSteps) : multiplyAdd256(kSteps);
  return 2.0 * kChains * (wide ? 16 : 8) * kSteps / (seconds() - begin);
}

static volatile float sink;

__attribute__((target("avx2"))) static void addUp(__m256 *sums, const float *from, int place) {
  sums[place] = _mm256_add_ps(sums[place], _mm256_loadu_ps(from));
  sums[place + 1] = _mm256_add_ps(sums[place + 1], _mm256_loadu_ps(from + 8));
}

/// `streams` parallel readers, each through its own part of a window.
__attribute__((target("avx2"))) static double read(const void *data, size_t bytes, int streams) {
  constexpr size_t kWindow = 1 << 20;
  __m256 sums[8] = {};
  size_t part = kWindow / size_t(streams);
  double begin = test::seconds();
  for (size_t window = 0; window + kWindow <= bytes; window += kWindow) {
    const char *base = static_cast<const char *>(data) + window;
    for (size_t offset = 0; offset < part; offset += 256 / size_t(streams))
      for (int i = 0; i < 4; ++i) {
        size_t place = streams == 1 ? offset + size_t(i) * 64 : size_t(i) * part + offset;
        addUp(sums, reinterpret_cast<const float *>(base + place), 2 * i);
      }
  }
  double time = test::seconds() - begin;
  for (int i = 1; i < 8; ++i)
    sums[0] = _mm256_add_ps(sums[0], sums[i]);
  float lanes[8];
  _mm256_storeu_ps(lanes, sums[0]);
  for (float lane : lanes)
    sink = lane;
  return double(bytes / kWindow * kWindow) / time;
}

double test::readOneStream(const void *data, size_t bytes) { return read(data, bytes, 1); }
double test::readFourStreams(const void *data, size_t bytes) { return read(data, bytes, 4); }

void *test::allocateHuge(size_t bytes) {
  constexpr size_t kHuge = 2 << 20;
  size_t padded = (bytes + 2 * kHuge - 1) / kHuge * kHuge;
  void *memory = nullptr;
  if (posix_memalign(&memory, kHuge, padded) != 0)
    std::abort();
  madvise(memory, padded, MADV_HUGEPAGE);
  std::memset(memory, 0, padded);
  return memory;
}
