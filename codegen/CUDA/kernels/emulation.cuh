//===- emulation.cuh - the primitives on a CPU ----------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The host twin of primitives.cuh: the same names, with the meaning the PTX manual gives the instruction.
// tools/gpu-check.sh holds both against each other on a GPU.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "tensor_map.cuh"

#include "emulation_engine.cuh"

#include <cmath>

#define threadIdx (emulation::engine->current->thread)
#define blockIdx (emulation::engine->block)
#define blockDim (emulation::engine->blockSize)
#define gridDim (emulation::engine->grid)
#define INLINE_LAMBDA
#define UNROLL
#define UNROLL_BY(count)
#define SHARED_MEMORY(name) unsigned char *name = emulation::dynamicShared()
#define STATIC_SHARED(type, name, count)                                                                                                            \
  static char name##Site;                                                                                                                           \
  type *name = (type *)emulation::staticShared(&name##Site, sizeof(type) * (count))
#define DEVICE_DATA(type, name, count) static type name[count]
#define LLMOPT_EXPORT(name) LLMOPT_EXPORT_EXPANDED(name)
#define LLMOPT_EXPORT_EXPANDED(name)                                                                                                                \
  extern "C" __attribute__((visibility("default"))) const unsigned *name##_sizes() { return emulation::parameterSizes(name); }                      \
  extern "C" __attribute__((visibility("default"))) const char *name##_launch(void **parameters, const llmopt_Launch *launch) {                     \
    return emulation::launchKernel(name, parameters, *launch);                                                                                      \
  }

struct alignas(64) TensorMap {
  u64 words[16];
};
struct alignas(16) Vector128 {
  u32 word[4];
};
struct alignas(8) Vector64 {
  u32 word[2];
};

//===----------------------------------------------------------------------===//
// Numbers
//===----------------------------------------------------------------------===//

DEVICE float exp2Approx(float x) { return exp2f(x); }
DEVICE float log2Approx(float x) { return log2f(x); }
DEVICE float rsqrtApprox(float x) { return 1.0f / sqrtf(x); }
DEVICE float reciprocalApprox(float x) { return 1.0f / x; }
DEVICE float tanhApprox(float x) { return tanhf(x); }
DEVICE float squareRoot(float x) { return sqrtf(x); }
DEVICE float maximum(float a, float b) { return a != a ? b : b != b ? a : a > b ? a : b; }
DEVICE u32 packBf16(float low, float high) { return toBf16(low).bits | u32(toBf16(high).bits) << 16; }
DEVICE u32 packF16(float low, float high) { return toF16(low).bits | u32(toF16(high).bits) << 16; }
DEVICE float lowF16(u32 pair) { return toFloat(f16{u16(pair)}); }
DEVICE float highF16(u32 pair) { return toFloat(f16{u16(pair >> 16)}); }

DEVICE float toFloat(e4m3 x) {
  u32 sign = u32(x.bits & 0x80) << 24, magnitude = x.bits & 0x7f;
  if (magnitude == 0x7f)
    return floatOf(sign | 0x7fffffffu);
  if (magnitude < 8) // subnormal: multiples of 2^-9
    return sign ? magnitude * -0.001953125f : magnitude * 0.001953125f;
  return floatOf(sign | ((magnitude << 20) + (120u << 23)));
}
/// Round to nearest even, too large becomes the largest finite number.
DEVICE e4m3 toE4m3(float x) {
  u8 sign = bitsOf(x) >> 31 ? 0x80 : 0;
  float magnitude = fabsf(x);
  if (x != x)
    return e4m3{u8(sign | 0x7f)};
  if (magnitude >= 448.0f)
    return e4m3{u8(sign | 0x7e)};
  int exponent = magnitude < 0.015625f ? -6 : ilogbf(magnitude);
  int steps = int(nearbyintf(ldexpf(magnitude, 3 - exponent))); // 8 to 16, or fewer for subnormals
  u32 code = steps < 8 ? steps : u32(exponent + 7) * 8 + (steps - 8);
  return e4m3{u8(sign | (code > 0x7e ? 0x7e : code))};
}
DEVICE u32 packE4m3(float a, float b, float c, float d) {
  return toE4m3(a).bits | u32(toE4m3(b).bits) << 8 | u32(toE4m3(c).bits) << 16 | u32(toE4m3(d).bits) << 24;
}
/// Four e4m3 as two pairs of f16.
DEVICE void convertE4m3(u32 bytes, u32 &low, u32 &high) {
  auto half = [&](int i) { return u32(toF16(toFloat(e4m3{u8(bytes >> 8 * i)})).bits); };
  low = half(0) | half(1) << 16;
  high = half(2) | half(3) << 16;
}

/// Any three-input logic function, by its truth table.
template <u32 kTable>
DEVICE u32 logic3(u32 a, u32 b, u32 c) {
  u32 result = 0;
  for (int bit = 0; bit < 32; ++bit)
    result |= ((kTable >> (((a >> bit & 1) << 2) | ((b >> bit & 1) << 1) | (c >> bit & 1))) & 1u) << bit;
  return result;
}
DEVICE u32 permuteBytes(u32 a, u32 b, u32 selector) {
  u64 bytes = u64(b) << 32 | a;
  u32 result = 0;
  for (int i = 0; i < 4; ++i)
    result |= u32((bytes >> (8 * (selector >> (4 * i) & 7))) & 0xff) << (8 * i);
  return result;
}
DEVICE i32 dotBytes(u32 a, u32 b, i32 sum) {
  u32 result = u32(sum);
  for (int i = 0; i < 4; ++i)
    result += u32(i32(u8(a >> 8 * i)) * i8(b >> 8 * i));
  return i32(result);
}
DEVICE u32 fmaF16(u32 a, u32 b, u32 c) {
  u32 result = 0;
  for (int shift = 0; shift < 32; shift += 16) {
    auto part = [&](u32 x) { return double(toFloat(f16{u16(x >> shift)})); };
    result |= u32(toF16(float(part(a) * part(b) + part(c))).bits) << shift;
  }
  return result;
}
DEVICE u32 fmaBf16(u32 a, u32 b, u32 c) {
  u32 result = 0;
  for (int shift = 0; shift < 32; shift += 16) {
    auto part = [&](u32 x) { return double(toFloat(bf16{u16(x >> shift)})); };
    result |= u32(toBf16(float(part(a) * part(b) + part(c))).bits) << shift;
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Lanes, warps, blocks
//===----------------------------------------------------------------------===//

DEVICE u32 laneId() { return threadIdx.x % 32; }

template <class T, class Pick>
DEVICE T shuffleBy(T value, u32 argument, const char *what, Pick pick) {
  struct Slot {
    T value;
    u32 argument;
    T result;
  } mine{value, argument, value};
  emulation::meetWarp(what, mine, [&](Slot **slots) {
    for (u32 lane = 0; lane < 32; ++lane)
      slots[lane]->result = slots[pick(lane, slots[lane]->argument) & 31]->value;
  });
  return mine.result;
}
DEVICE float shuffleXor(float value, u32 mask) {
  return shuffleBy(value, mask, "shuffleXor", [](u32 lane, u32 mask) { return lane ^ mask; });
}
DEVICE u32 shuffleXor(u32 value, u32 mask) {
  return shuffleBy(value, mask, "shuffleXor", [](u32 lane, u32 mask) { return lane ^ mask; });
}
DEVICE i32 shuffleXor(i32 value, u32 mask) { return i32(shuffleXor(u32(value), mask)); }
DEVICE float shuffle(float value, u32 lane) {
  return shuffleBy(value, lane, "shuffle", [](u32, u32 lane) { return lane; });
}
DEVICE u32 shuffle(u32 value, u32 lane) {
  return shuffleBy(value, lane, "shuffle", [](u32, u32 lane) { return lane; });
}
DEVICE u32 votes(bool vote) {
  struct Slot {
    bool vote;
    u32 result;
  } mine{vote, 0};
  emulation::meetWarp("votes", mine, [](Slot **slots) {
    u32 result = 0;
    for (u32 lane = 0; lane < 32; ++lane)
      result |= u32(slots[lane]->vote) << lane;
    for (u32 lane = 0; lane < 32; ++lane)
      slots[lane]->result = result;
  });
  return mine.result;
}
DEVICE u32 bitCount(u32 bits) { return u32(__builtin_popcount(bits)); }
DEVICE void warpSync() { votes(false); }
DEVICE void blockSync() { emulation::waitAtBarrier(0, u32(emulation::engine->fibers.size())); }
template <u32 kBarrier, u32 kThreads>
DEVICE void barrierSync() {
  emulation::waitAtBarrier(kBarrier, kThreads);
}
template <u32 kRegisters>
DEVICE void raiseRegisters() {}
template <u32 kRegisters>
DEVICE void lowerRegisters() {}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

DEVICE u32 sharedAddress(const void *pointer) { return emulation::sharedAddressOf(pointer); }
DEVICE Vector128 loadGlobal128(const void *from) {
  if (u64(from) % 16)
    emulation::fail("a vector load from an address that is not a multiple of 16");
  return *(const Vector128 *)from;
}
DEVICE Vector128 loadStream128(const void *from) { return loadGlobal128(from); }
DEVICE void storeGlobal128(void *to, Vector128 value) {
  if (u64(to) % 16)
    emulation::fail("a vector store to an address that is not a multiple of 16");
  *(Vector128 *)to = value;
}
DEVICE Vector128 loadShared128(u32 from) {
  Vector128 value;
  memcpy(&value, emulation::sharedAt(from, 16, 16), 16);
  return value;
}
DEVICE u32 loadShared32(u32 from) {
  u32 value;
  memcpy(&value, emulation::sharedAt(from, 4, 4), 4);
  return value;
}
DEVICE Vector64 loadShared64(u32 from) {
  Vector64 value;
  memcpy(&value, emulation::sharedAt(from, 8, 8), 8);
  return value;
}
DEVICE void storeShared128(u32 to, Vector128 value) { memcpy(emulation::sharedAt(to, 16, 16), &value, 16); }
DEVICE void addShared(u32 *to, u32 value) { *to += value; }
DEVICE void addShared(u64 *to, u64 value) { *to += value; }
DEVICE u32 takeShared(u32 *from, u32 value) { return (*from += value) - value; }
DEVICE void storeShared64(u32 to, Vector64 value) { memcpy(emulation::sharedAt(to, 8, 8), &value, 8); }
DEVICE void addGlobal(float *to, float value) { *to += value; }
DEVICE u32 addCounter(u32 *counter, u32 value) { return (*counter += value) - value; }
DEVICE void fenceDevice() {}

/// 16 bytes, of which the first `bytes` are read and the others become zero.
DEVICE void copyAsync16(u32 shared, const void *global, u32 bytes = 16) {
  if (u64(global) % 16 && bytes)
    emulation::fail("cp.async of 16 bytes from an address that is not a multiple of 16");
  emulation::sharedAt(shared, 16, 16);
  auto complete = [](const emulation::CopyToShared &copy) {
    u8 *to = emulation::sharedAt(copy.shared, 16, 16);
    memset(to, 0, 16);
    memcpy(to, copy.global, copy.filled);
  };
  emulation::CopyToShared copy{shared, 16, bytes, global};
  if (emulation::engine->lateCopies)
    emulation::engine->current->copies.add(copy);
  else
    complete(copy);
}
DEVICE void copyAsyncCommit() { emulation::engine->current->copies.commit(); }
template <u32 kNewest>
DEVICE void copyAsyncWait() {
  emulation::engine->current->copies.wait(kNewest, [](const emulation::CopyToShared &copy) {
    u8 *to = emulation::sharedAt(copy.shared, 16, 16);
    memset(to, 0, 16);
    memcpy(to, copy.global, copy.filled);
  });
}

//===----------------------------------------------------------------------===//
// Matrix fragments of a warp
//===----------------------------------------------------------------------===//

namespace emulation {
struct FragmentSlot {
  u32 *registers;
  u32 address;
};
/// Register i of lane l holds two 16-bit elements of matrix i: row l / 4, columns 2 * (l % 4) and one more.
static void loadMatrices(FragmentSlot **slots, bool transposed) {
  for (u32 i = 0; i < 4; ++i)
    for (u32 lane = 0; lane < 32; ++lane) {
      u16 pair[2];
      for (u32 e = 0; e < 2; ++e) {
        u32 row = lane / 4, column = lane % 4 * 2 + e;
        if (transposed)
          std::swap(row, column);
        memcpy(&pair[e], sharedAt(slots[i * 8 + row]->address, 16, 16) + column * 2, 2);
      }
      slots[lane]->registers[i] = pair[0] | u32(pair[1]) << 16;
    }
}
} // namespace emulation

DEVICE void loadMatrix4(u32 (&registers)[4], u32 address) {
  emulation::FragmentSlot mine{registers, address};
  emulation::meetWarp("loadMatrix4", mine, [](emulation::FragmentSlot **slots) { emulation::loadMatrices(slots, false); });
}
DEVICE void loadMatrixTransposed4(u32 (&registers)[4], u32 address) {
  emulation::FragmentSlot mine{registers, address};
  emulation::meetWarp("loadMatrixTransposed4", mine, [](emulation::FragmentSlot **slots) { emulation::loadMatrices(slots, true); });
}

namespace emulation {
/// Element e of the four bytes of a register.
template <class T>
static double element(u32 word, u32 e) {
  if constexpr (std::is_same_v<T, float>)
    return floatOf(word & 0xffffe000u); // tf32
  else if constexpr (sizeof(T) == 2)
    return toFloat(T{u16(word >> (16 * e))});
  else if constexpr (std::is_same_v<T, i8> || std::is_same_v<T, u8>)
    return T(word >> (8 * e));
  else
    return toFloat(T{u8(word >> (8 * e))});
}

/// What a product's operands are made of.
template <class T>
struct Operands {
  typedef T First, Second;
};
template <>
struct Operands<u8i8> {
  typedef u8 First;
  typedef i8 Second;
};

/// D[16,8] += A[16,K] * B[K,8], K = 32 bytes of T.
template <class T, class Sum>
static void multiplyWarp(const char *what, Sum *sums, const u32 *a, const u32 *b) {
  typedef typename Operands<T>::First First;
  typedef typename Operands<T>::Second Second;
  constexpr u32 kEach = 4 / sizeof(First), kDepth = 8 * kEach;
  struct Slot {
    Sum *sums;
    const u32 *a, *b;
  } mine{sums, a, b};
  meetWarp(what, mine, [&](Slot **slots) {
    double matrixA[16][kDepth], matrixB[kDepth][8];
    for (u32 lane = 0; lane < 32; ++lane)
      for (u32 e = 0; e < kEach; ++e) {
        u32 k = lane % 4 * kEach + e;
        for (u32 i = 0; i < 4; ++i)
          matrixA[lane / 4 + i % 2 * 8][k + i / 2 * 4 * kEach] = element<First>(slots[lane]->a[i], e);
        for (u32 i = 0; i < 2; ++i)
          matrixB[k + i * 4 * kEach][lane / 4] = element<Second>(slots[lane]->b[i], e);
      }
    for (u32 lane = 0; lane < 32; ++lane)
      for (u32 i = 0; i < 4; ++i) {
        u32 row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        double sum = slots[lane]->sums[i];
        for (u32 k = 0; k < kDepth; ++k)
          sum += matrixA[row][k] * matrixB[k][column];
        slots[lane]->sums[i] = Sum(sum);
      }
  });
}
} // namespace emulation

DEVICE void multiply(bf16, float (&sums)[4], const u32 (&a)[4], const u32 *b) { emulation::multiplyWarp<bf16>("mma bf16", sums, a, b); }
DEVICE void multiply(f16, float (&sums)[4], const u32 (&a)[4], const u32 *b) { emulation::multiplyWarp<f16>("mma f16", sums, a, b); }
DEVICE void multiply(tf32, float (&sums)[4], const u32 (&a)[4], const u32 *b) { emulation::multiplyWarp<float>("mma tf32", sums, a, b); }
DEVICE void multiply(e4m3, float (&sums)[4], const u32 (&a)[4], const u32 *b) { emulation::multiplyWarp<e4m3>("mma e4m3", sums, a, b); }
DEVICE void multiply(i8, i32 (&sums)[4], const u32 (&a)[4], const u32 *b) { emulation::multiplyWarp<i8>("mma s8", sums, a, b); }
DEVICE void multiply(u8i8, i32 (&sums)[4], const u32 (&a)[4], const u32 *b) { emulation::multiplyWarp<u8i8>("mma u8 s8", sums, a, b); }

//===----------------------------------------------------------------------===//
// mbarrier, TMA and bulk copies
//===----------------------------------------------------------------------===//

DEVICE void mbarrierInit(u32 barrier, u32 arrivals) {
  emulation::sharedAt(barrier, 8, 8);
  auto &all = emulation::engine->mbarriers;
  for (auto &other : all)
    if (other->address == barrier)
      emulation::fail("the mbarrier 0x%x is initialised twice", barrier);
  all.emplace_back(new emulation::Mbarrier{barrier, arrivals, arrivals, 0, 0});
}
DEVICE void mbarrierArrive(u32 barrier) { emulation::arrive(barrier, 0); }
DEVICE void mbarrierExpect(u32 barrier, u32 bytes) { emulation::arrive(barrier, bytes); }
DEVICE void mbarrierWait(u32 barrier, u32 parity) {
  const emulation::Mbarrier &state = emulation::mbarrierAt(barrier);
  emulation::waitUntilNot(&state.phase, 1, parity, "mbarrier", barrier);
}
DEVICE void fenceMbarrierInit() {}
DEVICE void fenceAsyncProxy() {}
DEVICE void prefetchTensorMap(const TensorMap *) {}

DEVICE void tmaLoad2(u32 shared, const TensorMap *map, u32 barrier, i32 x, i32 y) {
  const emulation::TensorMapWords *words = emulation::checkedMap(map, 2, shared);
  emulation::startLoad({words, nullptr, shared, barrier, emulation::boxBytes(*words), {x, y}});
}
DEVICE void tmaLoad3(u32 shared, const TensorMap *map, u32 barrier, i32 x, i32 y, i32 z) {
  const emulation::TensorMapWords *words = emulation::checkedMap(map, 3, shared);
  emulation::startLoad({words, nullptr, shared, barrier, emulation::boxBytes(*words), {x, y, z}});
}
DEVICE void bulkLoad(u32 shared, const void *global, u32 bytes, u32 barrier) {
  if (bytes % 16 || u64(global) % 16)
    emulation::fail("a bulk copy of %u bytes: size and addresses must be multiples of 16", bytes);
  emulation::sharedAt(shared, bytes, 16);
  emulation::startLoad({nullptr, (void *)global, shared, barrier, bytes, {}});
}
DEVICE void prefetchBulk(const void *global, u32 bytes) {
  if (bytes == 0 || bytes % 16 || u64(global) % 16)
    emulation::fail("a prefetch of %u bytes: size and address must be multiples of 16", bytes);
  (void)(((const volatile u8 *)global)[0] + ((const volatile u8 *)global)[bytes - 1]); // there
}
DEVICE void tmaStore2(const TensorMap *map, u32 shared, i32 x, i32 y) {
  const emulation::TensorMapWords *words = emulation::checkedMap(map, 2, shared);
  emulation::BulkCopy store{words, nullptr, shared, 0, emulation::boxBytes(*words), {x, y}};
  if (emulation::engine->lateMath)
    emulation::engine->current->stores.add(store);
  else
    emulation::finish(store);
}
DEVICE void bulkCommit() { emulation::engine->current->stores.commit(); }
/// Shared memory of all but the newest groups has been read.
template <u32 kNewest>
DEVICE void bulkWaitRead() {
  emulation::engine->current->stores.wait(kNewest, [](const emulation::BulkCopy &store) { emulation::finish(store); });
}

//===----------------------------------------------------------------------===//
// Warpgroup products
//===----------------------------------------------------------------------===//

/// Operand with K contiguous, rows of 128 bytes under the 128-byte swizzle, 8 rows every 1024 bytes.
DEVICE u64 descriptor(u32 shared) { return u64((shared & 0x3ffff) >> 4) | 1ull << 16 | 64ull << 32 | 1ull << 62; }
/// Operand whose other dimension is contiguous: blocks of 64 elements lie blockBytes apart, 8 rows of K every 1024 bytes.
DEVICE u64 descriptorTransposed(u32 shared, u32 blockBytes) {
  return u64((shared & 0x3ffff) >> 4) | u64(blockBytes >> 4) << 16 | 64ull << 32 | 1ull << 62;
}
/// The same without a swizzle: blocks of 8 by 8, 128 bytes with a row of K in each 16, lie depthBytes apart along K and columnBytes apart across it.
DEVICE u64 descriptorBlocks(u32 shared, u32 depthBytes, u32 columnBytes) {
  return u64((shared & 0x3ffff) >> 4) | u64(depthBytes >> 4) << 16 | u64(columnBytes >> 4) << 32;
}

namespace emulation {
/// Four bytes' worth of operand: element k of row `row` of the operand a descriptor names.
template <class T>
static double operand(u64 descriptor, u32 row, u32 k, bool transposed) {
  u32 start = u32(descriptor & 0x3fff) << 4, leading = u32(descriptor >> 16 & 0x3fff) << 4, stride = u32(descriptor >> 32 & 0x3fff) << 4;
  bool swizzles = descriptor >> 62 == 1;
  if (!swizzles && (descriptor >> 62 != 0 || !transposed))
    fail("a wgmma descriptor with a layout that no kernel uses");
  u32 offset = row / 8 * stride + row % 8 * u32(sizeof(T)) + k % 8 * 16 + k / 8 * leading; // without a swizzle
  if (swizzles)
    offset = transposed ? row / 64 * leading + row % 64 * u32(sizeof(T)) + k % 8 * 128 + k / 8 * stride
                          : row / 8 * stride + row % 8 * 128 + k * u32(sizeof(T));
  u32 word = 0;
  memcpy(&word, sharedAt(swizzles ? swizzled(start + offset, 128) : start + offset, sizeof(T)), sizeof(T));
  return element<T>(word, 0);
}

template <class T, class Sum, int kColumns, bool kTransposedB>
static void runWgmma(const WgmmaJob &job) {
  typedef typename Operands<T>::First First;
  typedef typename Operands<T>::Second Second;
  constexpr u32 kDepth = 32 / sizeof(First), kEach = 4 / sizeof(First);
  engine->operands.resize((64 + kColumns) * kDepth); // not thread_local: loaded images have little room for that
  auto matrixA = (double(*)[kDepth])engine->operands.data(), matrixB = matrixA + 64;
  for (u32 row = 0; row < 64; ++row)
    for (u32 k = 0; k < kDepth; ++k) {
      // Registers of A lie as those of mma: warp row / 16, lane row % 8 * 4 + ..., upper eight rows and second half of K in other registers.
      u32 thread = row / 16 * 32 + row % 8 * 4 + k % (kDepth / 2) / kEach, which = row % 16 / 8 + k / (kDepth / 2) * 2;
      matrixA[row][k] = job.registers[0] ? element<First>(job.registers[thread][which], k % kEach) : operand<First>(job.descriptorA, row, k, false);
    }
  for (u32 n = 0; n < u32(kColumns); ++n)
    for (u32 k = 0; k < kDepth; ++k)
      matrixB[n][k] = operand<Second>(job.descriptorB, n, k, kTransposedB);
  for (u32 thread = 0; thread < 128; ++thread) {
    Sum *sums = (Sum *)job.accumulators[thread];
    for (u32 i = 0; i < kColumns / 2; ++i) {
      u32 row = thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + thread % 4 * 2 + i % 2;
      double sum = job.accumulate ? double(sums[i]) : 0.0;
      for (u32 k = 0; k < kDepth; ++k)
        sum += matrixA[row][k] * matrixB[column][k];
      sums[i] = Sum(sum);
    }
  }
}

template <class T, class Sum, int kColumns, bool kTransposedB>
static void startWgmma(Sum *sums, const u32 *registers, u64 a, u64 b, bool accumulate) {
  struct Slot {
    Sum *sums;
    const u32 *registers;
    u64 a, b;
    bool accumulate;
  } mine{sums, registers, a, b, accumulate};
  meetWarpgroup("wgmma", mine, [](Warpgroup &group, Slot **slots) {
    if (!group.fenced)
      fail("wgmma without wgmma.fence before it");
    std::unique_ptr<WgmmaJob> job(new WgmmaJob{runWgmma<T, Sum, kColumns, kTransposedB>, {}, {}, slots[0]->a, slots[0]->b, slots[0]->accumulate});
    for (u32 i = 0; i < 128; ++i) {
      job->accumulators[i] = slots[i]->sums;
      job->registers[i] = slots[i]->registers;
      if (slots[i]->b != job->descriptorB || slots[i]->a != job->descriptorA || slots[i]->accumulate != job->accumulate)
        fail("the threads of a warpgroup give wgmma different operands");
    }
    if (engine->lateMath)
      group.jobs.add(std::move(job));
    else
      job->run(*job);
  });
}
} // namespace emulation

DEVICE void wgmmaFence() {
  struct Slot {
  } mine;
  emulation::meetWarpgroup("wgmma.fence", mine, [](emulation::Warpgroup &group, Slot **) { group.fenced = true; });
}
DEVICE void wgmmaCommit() {
  struct Slot {
  } mine;
  emulation::meetWarpgroup("wgmma.commit_group", mine, [](emulation::Warpgroup &group, Slot **) { group.jobs.commit(); });
}
template <u32 kNewest>
DEVICE void wgmmaWait() {
  struct Slot {
  } mine;
  emulation::meetWarpgroup("wgmma.wait_group", mine, [](emulation::Warpgroup &group, Slot **) {
    group.jobs.wait(kNewest, [](const std::unique_ptr<emulation::WgmmaJob> &job) { job->run(*job); });
    group.fenced = false;
  });
}

/// sums[64, N] (+)= A[64, 32 bytes] * B[N, 32 bytes]^T, both in shared memory; N is twice the accumulators of a thread.
template <class T, class Sum, int kCount>
DEVICE void wgmma(T, Sum (&sums)[kCount], u64 a, u64 b, bool accumulate) {
  emulation::startWgmma<T, Sum, kCount * 2, false>(sums, nullptr, a, b, accumulate);
}
/// A in registers; B[16, N], N contiguous.
template <class T, int kCount>
DEVICE void wgmmaTransposed(T, float (&sums)[kCount], const u32 *a, u64 b, bool accumulate) {
  emulation::startWgmma<T, float, kCount * 2, true>(sums, a, 0, b, accumulate);
}
/// A in registers; B[N, 32 bytes], K contiguous.
template <class T, class Sum, int kCount>
DEVICE void wgmma(T, Sum (&sums)[kCount], const u32 *a, u64 b, bool accumulate) {
  emulation::startWgmma<T, Sum, kCount * 2, false>(sums, a, 0, b, accumulate);
}
