//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/cpu/MachineLoops.h"

#include "llmopt/lib/Target/Target.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <immintrin.h>
#include <sys/mman.h>

using namespace llmopt;

// Twelve chains hide the latency of two units of latency up to six. The empty statement keeps each in a register of its own.
// A macro, since a function that is to use an instruction set must say so itself.
#define LLMOPT_CHAINS(NAME, FEATURES, TYPE, FILL, STEP, REGISTER)                                                             \
  __attribute__((target(FEATURES))) static void NAME(int64_t steps) {                                                        \
    TYPE sums[12], factor = FILL;                                                                                            \
    for (TYPE &sum : sums)                                                                                                   \
      sum = factor;                                                                                                          \
    for (int64_t i = 0; i < steps; ++i) {                                                                                    \
      _Pragma("clang loop unroll(full)") for (TYPE &sum : sums) {                                                            \
        sum = STEP;                                                                                                          \
        __asm__ volatile("" : "+" REGISTER(sum));                                                                            \
      }                                                                                                                      \
    }                                                                                                                        \
  }

LLMOPT_CHAINS(multiplyAdd128, "sse2", __m128, _mm_set1_ps(0.5f), _mm_add_ps(_mm_mul_ps(sum, factor), factor), "x")
LLMOPT_CHAINS(multiplyAdd256, "avx2,fma", __m256, _mm256_set1_ps(0.5f), _mm256_fmadd_ps(sum, factor, factor), "x")
LLMOPT_CHAINS(multiplyAdd512, "avx512f", __m512, _mm512_set1_ps(0.5f), _mm512_fmadd_ps(sum, factor, factor), "v")
LLMOPT_CHAINS(dotBf16, "avx512bf16,avx512f", __m512, _mm512_set1_ps(0.5f),
              _mm512_dpbf16_ps(sum, __m512bh(factor), __m512bh(factor)), "v")
LLMOPT_CHAINS(dotInt8, "avx512vnni,avx512f", __m512i, _mm512_set1_epi32(1), _mm512_dpbusd_epi32(sum, factor, factor), "v")
// Unsigned by signed bytes to pairs of 16 bits; the sums into 32 bits are the kernel's business.
LLMOPT_CHAINS(pairsInt8, "avx2", __m256i, _mm256_set1_epi32(1), _mm256_maddubs_epi16(sum, factor), "x")
LLMOPT_CHAINS(pairsInt16, "avx2", __m256i, _mm256_set1_epi32(1), _mm256_madd_epi16(sum, factor), "x")
#undef LLMOPT_CHAINS

// Palette 1, 16 rows of 64 bytes in each of the eight tile registers.
struct alignas(64) TileConfiguration {
  uint8_t palette = 1, startRow = 0, reserved[14] = {};
  uint16_t rowBytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Four chains: what one instruction takes is longer than its latency by then.
#define LLMOPT_TILES(NAME, FEATURE, DOT)                                                                                      \
  __attribute__((target("amx-tile," FEATURE))) static void NAME(int64_t steps) {                                             \
    TileConfiguration configuration;                                                                                         \
    _tile_loadconfig(&configuration);                                                                                        \
    for (int64_t i = 0; i < steps; ++i) {                                                                                    \
      DOT(0, 4, 6);                                                                                                          \
      DOT(1, 4, 7);                                                                                                          \
      DOT(2, 5, 6);                                                                                                          \
      DOT(3, 5, 7);                                                                                                          \
    }                                                                                                                        \
    _tile_release();                                                                                                         \
  }
LLMOPT_TILES(tilesBf16, "amx-bf16", _tile_dpbf16ps)
LLMOPT_TILES(tilesInt8, "amx-int8", _tile_dpbusd)
#undef LLMOPT_TILES

std::span<const cpu::ArithmeticLoop> cpu::arithmeticLoops() {
  static const std::vector<ArithmeticLoop> loops = {
      {"f32", "mulps, addps", {"sse2"}, 12 * 2 * 4, multiplyAdd128},
      {"f32", "vfmadd ymm", {"avx2", "fma"}, 12 * 2 * 8, multiplyAdd256},
      {"f32", "vfmadd zmm", {"avx512f"}, 12 * 2 * 16, multiplyAdd512},
      {"bf16", "vdpbf16ps zmm", {"avx512f", "avx512_bf16"}, 12 * 2 * 32, dotBf16},
      {"bf16", "tdpbf16ps", {"amx_tile", "amx_bf16"}, 4 * 2 * 16 * 16 * 32, tilesBf16},
      {"i8", "vpmaddubsw ymm", {"avx2"}, 12 * 2 * 32, pairsInt8},
      {"i8", "vpdpbusd zmm", {"avx512f", "avx512_vnni"}, 12 * 2 * 64, dotInt8},
      {"i8", "tdpbusd", {"amx_tile", "amx_int8"}, 4 * 2 * 16 * 16 * 64, tilesInt8},
      {"i16", "vpmaddwd ymm", {"avx2"}, 12 * 2 * 16, pairsInt16},
  };
  return loops;
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

static constexpr size_t kWindow = 1 << 20, kAhead = 2048;

// Two lines of each stream at a time. Loads that nothing uses are kept by the empty statement.
#define LLMOPT_READ(NAME, FEATURES, TYPE, LOAD)                                                                               \
  template <size_t Streams, bool Ahead>                                                                                      \
  __attribute__((target(FEATURES))) static void NAME(const char *base, size_t bytes) {                                       \
    size_t part = bytes / Streams;                                                                                           \
    for (size_t offset = 0; offset < part; offset += 128) {                                                                  \
      _Pragma("clang loop unroll(full)") for (size_t s = 0; s < Streams; ++s) {                                              \
        _Pragma("clang loop unroll(full)") for (size_t i = 0; Ahead && i < 128; i += 64)                                     \
          __builtin_prefetch(base + s * part + offset + kAhead + i);                                                         \
        _Pragma("clang loop unroll(full)") for (size_t i = 0; i < 128; i += sizeof(TYPE)) {                                  \
          TYPE value = LOAD(reinterpret_cast<const TYPE *>(base + s * part + offset + i));                                   \
          __asm__ volatile("" ::"v"(value));                                                                                 \
        }                                                                                                                    \
      }                                                                                                                      \
    }                                                                                                                        \
  }
LLMOPT_READ(read128, "sse2", __m128i, _mm_load_si128)
LLMOPT_READ(read256, "avx2", __m256i, _mm256_load_si256)
LLMOPT_READ(read512, "avx512f", __m512i, _mm512_load_si512)
#undef LLMOPT_READ

template <size_t Streams, bool Ahead>
static void readWindow(const char *base, size_t bytes) {
  static const bool has512 = missingFeatures(std::vector<std::string>{"avx512f"}).empty();
  static const bool has256 = missingFeatures(std::vector<std::string>{"avx2"}).empty();
  (has512 ? read512<Streams, Ahead> : has256 ? read256<Streams, Ahead> : read128<Streams, Ahead>)(base, bytes);
}

template <bool Ahead>
static void readWindows(const void *data, size_t bytes, unsigned streams) {
  for (size_t window = 0; window < bytes; window += kWindow) {
    const char *base = static_cast<const char *>(data) + window;
    size_t size = std::min(kWindow, bytes - window);
    switch (streams) {
    case 1:
      readWindow<1, Ahead>(base, size);
      break;
    case 2:
      readWindow<2, Ahead>(base, size);
      break;
    case 4:
      readWindow<4, Ahead>(base, size);
      break;
    default:
      readWindow<8, Ahead>(base, size);
    }
  }
}

void cpu::readStreams(const void *data, size_t bytes, unsigned streams, bool ahead) { (ahead ? readWindows<true> : readWindows<false>)(data, bytes, streams); }

void *cpu::allocateHuge(size_t bytes) {
  constexpr size_t kHuge = 2 << 20;
  size_t padded = (bytes + 2 * kHuge - 1) / kHuge * kHuge;
  void *memory = nullptr;
  if (::posix_memalign(&memory, kHuge, padded) != 0)
    std::abort();
  ::madvise(memory, padded, MADV_HUGEPAGE);
  std::memset(memory, 0, padded);
  return memory;
}
