//===- conformance.cu - what primitives do, as data -----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One kernel for each group of primitives: bytes in, bytes out. Emulated, they give the answers that a GPU is held against (tools/gpu-check.sh). The
// emulator and the kernels share one reading of the PTX manual, so these come first when a GPU is there. The table of what each takes and gives is
// in tools/checks/gpu_conformance.py.
//
//===----------------------------------------------------------------------===//
#include "primitives.cuh"

#define CONFORMANCE(name, threads) extern "C" GLOBAL void LAUNCH_BOUNDS(threads) name(const u8 *in, u8 *out)

/// 128 threads; two floats in, ten words out.
CONFORMANCE(conform_conversions, 128) {
  const float *x = reinterpret_cast<const float *>(in) + 2 * threadIdx.x;
  u32 *to = reinterpret_cast<u32 *>(out) + 10 * threadIdx.x;
  u32 half = packF16(x[0], x[1]);
  to[0] = packBf16(x[0], x[1]);
  to[1] = half;
  to[2] = bitsOf(lowF16(half));
  to[3] = bitsOf(highF16(half));
  to[4] = packE4m3(x[0], x[1], x[0] * 64, x[1] * 0.125f);
  to[5] = fmaBf16(to[0], packBf16(x[1], x[0]), packBf16(1.5f, -2));
  to[6] = bitsOf(maximum(x[0], x[1]));
  to[7] = bitsOf(squareRoot(x[0] * x[0]));
  convertE4m3(to[4], to[8], to[9]);
}
LLMOPT_EXPORT(conform_conversions)

/// 128 threads; a float in, five floats out: near, not equal.
CONFORMANCE(conform_approximations, 128) {
  float x = reinterpret_cast<const float *>(in)[threadIdx.x], positive = x * x + 0.01f;
  float *to = reinterpret_cast<float *>(out) + 5 * threadIdx.x;
  to[0] = exp2Approx(x);
  to[1] = log2Approx(positive + 2);
  to[2] = rsqrtApprox(positive);
  to[3] = reciprocalApprox(positive);
  to[4] = tanhApprox(x + 4);
}
LLMOPT_EXPORT(conform_approximations)

/// A warp; three words in, six words out.
CONFORMANCE(conform_lanes, 32) {
  const u32 *x = reinterpret_cast<const u32 *>(in);
  u32 *to = reinterpret_cast<u32 *>(out) + 6 * threadIdx.x, lane = laneId();
  u32 a = x[lane], b = x[32 + lane], c = x[64 + lane];
  to[0] = shuffleXor(a, 5);
  to[1] = shuffle(a, b % 32);
  to[2] = votes((a & 4) != 0);
  to[3] = logic3<0xe8>(a, b, c);
  to[4] = permuteBytes(a, b, c & 0x7777);
  to[5] = bitsOf(shuffleXor(float(i32(a)), 16));
}
LLMOPT_EXPORT(conform_lanes)

/// A warp; rows of a and b through cp.async and ldmatrix, the product through mma.sync.
template <class T, class Sum>
DEVICE void product(const u8 *in, u8 *out) {
  SHARED_MEMORY(shared);
  u32 base = sharedAddress(shared), lane = laneId();
  copyAsync16(base + lane * 16, in + lane * 16); // 16 rows of 32 bytes
  if (lane < 16)
    copyAsync16(base + 512 + lane * 16, in + 512 + lane * 16); // 8 rows
  copyAsyncCommit();
  copyAsyncWait<0>();
  warpSync();
  u32 a[4], b[4], turned[4];
  loadMatrix4(a, base + lane % 16 * 32 + lane / 16 * 16);
  loadMatrix4(b, base + 512 + lane % 8 * 32 + lane / 8 % 2 * 16);
  loadMatrixTransposed4(turned, base + lane % 16 * 32 + lane / 16 * 16);
  Sum sums[4] = {};
  multiply(T(), sums, a, b);
  u32 *to = reinterpret_cast<u32 *>(out) + 8 * lane;
  for (int i = 0; i < 4; ++i) {
    to[i] = __builtin_bit_cast(u32, sums[i]);
    to[4 + i] = turned[i];
  }
}
CONFORMANCE(conform_mma_bf16, 32) { product<bf16, float>(in, out); }
LLMOPT_EXPORT(conform_mma_bf16)
CONFORMANCE(conform_mma_f16, 32) { product<f16, float>(in, out); }
LLMOPT_EXPORT(conform_mma_f16)
CONFORMANCE(conform_mma_tf32, 32) { product<tf32, float>(in, out); }
LLMOPT_EXPORT(conform_mma_tf32)
CONFORMANCE(conform_mma_e4m3, 32) { product<e4m3, float>(in, out); }
LLMOPT_EXPORT(conform_mma_e4m3)
CONFORMANCE(conform_mma_i8, 32) { product<i8, i32>(in, out); }
LLMOPT_EXPORT(conform_mma_i8)
CONFORMANCE(conform_mma_u8i8, 32) { product<u8i8, i32>(in, out); }
LLMOPT_EXPORT(conform_mma_u8i8)

/// 128 threads; copies by the bulk engine behind an mbarrier, vectors in and out, counters.
CONFORMANCE(conform_copies, 128) {
  SHARED_MEMORY(shared);
  u32 base = sharedAddress(shared), barrier = base + 4096;
  if (threadIdx.x == 0) {
    mbarrierInit(barrier, 1);
    fenceMbarrierInit();
  }
  blockSync();
  if (threadIdx.x == 0) {
    mbarrierExpect(barrier, 2048);
    bulkLoad(base, in, 2048, barrier);
  }
  mbarrierWait(barrier, 0);
  Vector128 piece = loadShared128(base + (127 - threadIdx.x) * 16), stream = loadStream128(in + threadIdx.x * 16);
  piece.word[0] ^= stream.word[3];
  storeGlobal128(out + threadIdx.x * 16, piece);
  u32 *counters = reinterpret_cast<u32 *>(out + 2048);
  if (threadIdx.x == 0)
    counters[0] = counters[1] = 0;
  fenceDevice();
  blockSync();
  addCounter(counters, threadIdx.x);
  addGlobal(reinterpret_cast<float *>(counters + 1), float(threadIdx.x % 8));
}
LLMOPT_EXPORT(conform_copies)

/// A warpgroup; operands of 128-byte rows as they lie, swizzled or not: both sides read them alike.
template <class T, class Sum, int kColumns>
DEVICE void groupProduct(const u8 *in, u8 *out) {
  SHARED_MEMORY(shared);
  constexpr u32 kBytes = (64 + kColumns) * 128;
  u32 base = sharedAddress(shared), barrier = base + kBytes;
  if (threadIdx.x == 0) {
    mbarrierInit(barrier, 1);
    fenceMbarrierInit();
  }
  blockSync();
  if (threadIdx.x == 0) {
    mbarrierExpect(barrier, kBytes);
    bulkLoad(base, in, kBytes, barrier);
  }
  mbarrierWait(barrier, 0);
  Sum sums[kColumns / 2];
  UNROLL
  for (int i = 0; i < kColumns / 2; ++i)
    sums[i] = 77;
  wgmmaFence();
  UNROLL
  for (int k = 0; k < 4; ++k)
    wgmma(T(), sums, descriptor(base + k * 32), descriptor(base + 64 * 128 + k * 32), k != 0);
  wgmmaCommit();
  wgmmaWait<0>();
  UNROLL
  for (int i = 0; i < kColumns / 2; ++i)
    reinterpret_cast<Sum *>(out)[threadIdx.x * (kColumns / 2) + i] = sums[i];
}
CONFORMANCE(conform_wgmma_bf16, 128) { groupProduct<bf16, float, 64>(in, out); }
LLMOPT_EXPORT(conform_wgmma_bf16)
CONFORMANCE(conform_wgmma_f16, 128) { groupProduct<f16, float, 128>(in, out); }
LLMOPT_EXPORT(conform_wgmma_f16)
CONFORMANCE(conform_wgmma_e4m3, 128) { groupProduct<e4m3, float, 64>(in, out); }
LLMOPT_EXPORT(conform_wgmma_e4m3)
CONFORMANCE(conform_wgmma_i8, 128) { groupProduct<i8, i32, 64>(in, out); }
LLMOPT_EXPORT(conform_wgmma_i8)
CONFORMANCE(conform_wgmma_u8i8, 128) { groupProduct<u8i8, i32, 64>(in, out); }
LLMOPT_EXPORT(conform_wgmma_u8i8)

/// A warpgroup; the first operand in registers, the second [16, 64] with its columns contiguous: under the 128-byte swizzle, and in blocks of 8 by 8.
template <class T>
DEVICE void groupTransposed(const u8 *in, u8 *out) {
  SHARED_MEMORY(shared);
  constexpr u32 kBytes = 2048; // of either operand
  u32 base = sharedAddress(shared), barrier = base + kBytes;
  if (threadIdx.x == 0) {
    mbarrierInit(barrier, 1);
    fenceMbarrierInit();
  }
  blockSync();
  if (threadIdx.x == 0) {
    mbarrierExpect(barrier, kBytes);
    bulkLoad(base, in + kBytes, kBytes, barrier);
  }
  mbarrierWait(barrier, 0);
  const u32 *from = reinterpret_cast<const u32 *>(in) + threadIdx.x * 4;
  u32 a[4] = {from[0], from[1], from[2], from[3]};
  float swizzled[32], blocks[32];
  UNROLL
  for (int i = 0; i < 32; ++i)
    swizzled[i] = blocks[i] = 77;
  wgmmaFence();
  wgmmaTransposed(T(), swizzled, a, descriptorTransposed(base, 2048), false);
  wgmmaTransposed(T(), blocks, a, descriptorBlocks(base, 128, 256), false);
  wgmmaCommit();
  wgmmaWait<0>();
  UNROLL
  for (int i = 0; i < 32; ++i) {
    reinterpret_cast<float *>(out)[threadIdx.x * 64 + i] = swizzled[i];
    reinterpret_cast<float *>(out)[threadIdx.x * 64 + 32 + i] = blocks[i];
  }
}
CONFORMANCE(conform_wgmma_transposed_bf16, 128) { groupTransposed<bf16>(in, out); }
LLMOPT_EXPORT(conform_wgmma_transposed_bf16)
CONFORMANCE(conform_wgmma_transposed_f16, 128) { groupTransposed<f16>(in, out); }
LLMOPT_EXPORT(conform_wgmma_transposed_f16)

/// A warpgroup; the first operand in registers, the second [64, 64] written to shared memory by the threads themselves.
template <class T>
DEVICE void groupRegisters(const u8 *in, u8 *out) {
  SHARED_MEMORY(shared);
  u32 base = sharedAddress(shared);
  for (u32 i = threadIdx.x; i < 512; i += 128)
    storeShared128(base + i * 16, loadGlobal128(in + 2048 + i * 16));
  fenceAsyncProxy();
  blockSync();
  const u32 *from = reinterpret_cast<const u32 *>(in) + threadIdx.x * 4;
  u32 a[4] = {from[0], from[1], from[2], from[3]};
  float sums[32];
  wgmmaFence();
  UNROLL
  for (int k = 0; k < 4; ++k)
    wgmma(T(), sums, a, descriptor(base + k * 32), k != 0);
  wgmmaCommit();
  wgmmaWait<0>();
  UNROLL
  for (int i = 0; i < 32; ++i)
    reinterpret_cast<float *>(out)[threadIdx.x * 32 + i] = sums[i];
}
CONFORMANCE(conform_wgmma_registers_bf16, 128) { groupRegisters<bf16>(in, out); }
LLMOPT_EXPORT(conform_wgmma_registers_bf16)
CONFORMANCE(conform_wgmma_registers_f16, 128) { groupRegisters<f16>(in, out); }
LLMOPT_EXPORT(conform_wgmma_registers_f16)

/// 128 threads; two boxes of 64 by 32 of 16-bit numbers through a tensor map that `in` begins with: one inside, one that ends beyond the matrix. Both
/// go out as they lie in shared memory.
CONFORMANCE(conform_tensor_map, 128) {
  SHARED_MEMORY(shared);
  const TensorMap *map = reinterpret_cast<const TensorMap *>(in);
  u32 base = sharedAddress(shared), barrier = base + 8192;
  if (threadIdx.x == 0) {
    mbarrierInit(barrier, 1);
    fenceMbarrierInit();
    prefetchTensorMap(map);
  }
  blockSync();
  if (threadIdx.x == 0) {
    mbarrierExpect(barrier, 8192);
    tmaLoad2(base, map, barrier, 8, 3);
    tmaLoad2(base + 4096, map, barrier, 40, 20);
  }
  mbarrierWait(barrier, 0);
  UNROLL
  for (int i = 0; i < 4; ++i)
    storeGlobal128(out + (i * 128 + threadIdx.x) * 16, loadShared128(base + (i * 128 + threadIdx.x) * 16));
}
LLMOPT_EXPORT(conform_tensor_map)
