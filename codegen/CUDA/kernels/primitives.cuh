//===- primitives.cuh - the instructions kernels are made of --------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The only file with inline PTX; no header of a toolkit is needed. emulation.cuh is its twin on the CPU and says in C++ what each
// instruction does. Which targets have an instruction: wgmma, TMA, mbarrier transactions sm_90a; e4m3 sm_89; all else sm_80.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "prelude.cuh"

#ifdef LLMOPT_EMULATE
#include "emulation.cuh"
#else

#define INLINE_LAMBDA __attribute__((always_inline))
#define UNROLL _Pragma("unroll")
#define LLMOPT_PRAGMA(text) _Pragma(#text)
#define UNROLL_BY(count) LLMOPT_PRAGMA(unroll count)
#define SHARED_MEMORY(name) extern __shared__ __attribute__((aligned(1024))) unsigned char name[]
#define STATIC_SHARED(type, name, count) __shared__ __attribute__((aligned(16))) type name[count]
/// Numbers in device memory that are zero when the module is loaded and keep their values between launches.
#define DEVICE_DATA(type, name, count) static __device__ type name[count]
#define LLMOPT_EXPORT(name)

#ifdef __clang__ // without CUDA's headers
namespace builtin {
#define LLMOPT_INDEX(name, special)                                                                                                                 \
  struct name {                                                                                                                                     \
    struct X {                                                                                                                                      \
      DEVICE_MEMBER operator u32() const { return __nvvm_read_ptx_sreg_##special##_x(); }                                                           \
    } x;                                                                                                                                            \
    struct Y {                                                                                                                                      \
      DEVICE_MEMBER operator u32() const { return __nvvm_read_ptx_sreg_##special##_y(); }                                                           \
    } y;                                                                                                                                            \
    struct Z {                                                                                                                                      \
      DEVICE_MEMBER operator u32() const { return __nvvm_read_ptx_sreg_##special##_z(); }                                                           \
    } z;                                                                                                                                            \
  };
LLMOPT_INDEX(ThreadIndex, tid)
LLMOPT_INDEX(BlockIndex, ctaid)
LLMOPT_INDEX(BlockSize, ntid)
LLMOPT_INDEX(GridSize, nctaid)
#undef LLMOPT_INDEX
} // namespace builtin
#define threadIdx (builtin::ThreadIndex())
#define blockIdx (builtin::BlockIndex())
#define blockDim (builtin::BlockSize())
#define gridDim (builtin::GridSize())
#endif

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

DEVICE float exp2Approx(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}
DEVICE float log2Approx(float x) {
  float result;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}
DEVICE float rsqrtApprox(float x) {
  float result;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}
DEVICE float reciprocalApprox(float x) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}
/// 20 bits or so.
DEVICE double reciprocalApprox(double x) {
  double result;
  asm("rcp.approx.ftz.f64 %0, %1;" : "=d"(result) : "d"(x));
  return result;
}
DEVICE float tanhApprox(float x) {
  float result;
  asm("tanh.approx.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}
DEVICE float squareRoot(float x) {
  float result;
  asm("sqrt.rn.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}
DEVICE float maximum(float a, float b) {
  float result;
  asm("max.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
}
DEVICE u32 packBf16(float low, float high) {
  u32 result;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  return result;
}
DEVICE u32 packF16(float low, float high) {
  u32 result;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  return result;
}
DEVICE float lowF16(u32 pair) {
  float result;
  asm("{ .reg .b16 low, high;\n mov.b32 {low, high}, %1;\n cvt.f32.f16 %0, low; }" : "=f"(result) : "r"(pair));
  return result;
}
DEVICE float highF16(u32 pair) {
  float result;
  asm("{ .reg .b16 low, high;\n mov.b32 {low, high}, %1;\n cvt.f32.f16 %0, high; }" : "=f"(result) : "r"(pair));
  return result;
}
DEVICE u32 packE4m3(float a, float b, float c, float d) {
  u32 result;
  asm("{ .reg .b16 low, high;\n cvt.rn.satfinite.e4m3x2.f32 low, %2, %1;\n cvt.rn.satfinite.e4m3x2.f32 high, %4, %3;\n mov.b32 %0, {low, high}; }"
      : "=r"(result)
      : "f"(a), "f"(b), "f"(c), "f"(d));
  return result;
}
/// Four e4m3 as two pairs of f16.
DEVICE void convertE4m3(u32 bytes, u32 &low, u32 &high) {
  asm("{ .reg .b16 low, high;\n mov.b32 {low, high}, %2;\n cvt.rn.f16x2.e4m3x2 %0, low;\n cvt.rn.f16x2.e4m3x2 %1, high; }" : "=r"(low), "=r"(high) : "r"(bytes));
}

/// Any three-input logic function, by its truth table.
template <u32 kTable>
DEVICE u32 logic3(u32 a, u32 b, u32 c) {
  u32 result;
  asm("lop3.b32 %0, %1, %2, %3, %4;" : "=r"(result) : "r"(a), "r"(b), "r"(c), "n"(kTable));
  return result;
}
DEVICE u32 permuteBytes(u32 a, u32 b, u32 selector) {
  u32 result;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(selector));
  return result;
}
/// Two products and sums of f16, of bf16.
DEVICE u32 fmaF16(u32 a, u32 b, u32 c) {
  u32 result;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(c));
  return result;
}
DEVICE u32 fmaBf16(u32 a, u32 b, u32 c) {
  u32 result;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(c));
  return result;
}

/// sum + four unsigned bytes times four signed bytes.
DEVICE i32 dotBytes(u32 a, u32 b, i32 sum) {
  i32 result;
  asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
  return result;
}

//===----------------------------------------------------------------------===//
// Lanes, warps, blocks
//===----------------------------------------------------------------------===//

DEVICE u32 laneId() { return threadIdx.x % 32; }

DEVICE float shuffleXor(float value, u32 mask) {
  float result;
  asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=f"(result) : "f"(value), "r"(mask));
  return result;
}
DEVICE u32 shuffleXor(u32 value, u32 mask) {
  u32 result;
  asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=r"(result) : "r"(value), "r"(mask));
  return result;
}
DEVICE i32 shuffleXor(i32 value, u32 mask) { return i32(shuffleXor(u32(value), mask)); }
DEVICE float shuffle(float value, u32 lane) {
  float result;
  asm volatile("shfl.sync.idx.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=f"(result) : "f"(value), "r"(lane));
  return result;
}
DEVICE u32 shuffle(u32 value, u32 lane) {
  u32 result;
  asm volatile("shfl.sync.idx.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=r"(result) : "r"(value), "r"(lane));
  return result;
}
DEVICE u32 votes(bool vote) {
  u32 result;
  asm volatile("{ .reg .pred p;\n setp.ne.u32 p, %1, 0;\n vote.sync.ballot.b32 %0, p, 0xffffffff; }" : "=r"(result) : "r"(u32(vote)));
  return result;
}
DEVICE u32 bitCount(u32 bits) {
  u32 result;
  asm("popc.b32 %0, %1;" : "=r"(result) : "r"(bits));
  return result;
}
DEVICE void warpSync() { asm volatile("bar.warp.sync 0xffffffff;" ::: "memory"); }
DEVICE void blockSync() { asm volatile("bar.sync 0;" ::: "memory"); }
/// Constant numbers: ptxas reserves all 16 barriers for a variable one.
template <u32 kBarrier, u32 kThreads>
DEVICE void barrierSync() {
  asm volatile("bar.sync %0, %1;" ::"n"(kBarrier), "n"(kThreads) : "memory");
}
template <u32 kRegisters>
DEVICE void raiseRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <u32 kRegisters>
DEVICE void lowerRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
/// Programmatic dependent launch: waits until the kernels in front are done and what they wrote is seen. When all blocks are here, blocks of the next
/// kernel may come onto the multiprocessors. Before it a kernel touches nothing but itself and weights. Nothing before sm_90.
DEVICE void waitForDependencies() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

DEVICE u32 sharedAddress(const void *pointer) {
  u64 address;
  asm("cvta.to.shared.u64 %0, %1;" : "=l"(address) : "l"(pointer));
  return u32(address);
}

DEVICE Vector128 loadGlobal128(const void *from) {
  Vector128 value;
  asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
      : "=r"(value.word[0]), "=r"(value.word[1]), "=r"(value.word[2]), "=r"(value.word[3])
      : "l"(from)
      : "memory");
  return value;
}
/// Data read once, which nobody writes meanwhile: it leaves the caches to others.
DEVICE Vector128 loadStream128(const void *from) {
  Vector128 value;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
      : "=r"(value.word[0]), "=r"(value.word[1]), "=r"(value.word[2]), "=r"(value.word[3])
      : "l"(from));
  return value;
}
DEVICE void storeGlobal128(void *to, Vector128 value) {
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(value.word[0]), "r"(value.word[1]), "r"(value.word[2]), "r"(value.word[3])
               : "memory");
}
DEVICE Vector128 loadShared128(u32 from) {
  Vector128 value;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
      : "=r"(value.word[0]), "=r"(value.word[1]), "=r"(value.word[2]), "=r"(value.word[3])
      : "r"(from)
      : "memory");
  return value;
}
DEVICE u32 loadShared32(u32 from) {
  u32 value;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(value) : "r"(from) : "memory");
  return value;
}
DEVICE Vector64 loadShared64(u32 from) {
  Vector64 value;
  asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(value.word[0]), "=r"(value.word[1]) : "r"(from) : "memory");
  return value;
}
DEVICE void storeShared128(u32 to, Vector128 value) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(value.word[0]), "r"(value.word[1]), "r"(value.word[2]), "r"(value.word[3])
               : "memory");
}
DEVICE void addShared(u32 *to, u32 value) { asm volatile("red.shared.add.u32 [%0], %1;" ::"r"(sharedAddress(to)), "r"(value) : "memory"); }
DEVICE void addShared(u64 *to, u64 value) { asm volatile("red.shared.add.u64 [%0], %1;" ::"r"(sharedAddress(to)), "l"(value) : "memory"); }
/// The value before.
DEVICE u32 takeShared(u32 *from, u32 value) {
  u32 before;
  asm volatile("atom.shared.add.u32 %0, [%1], %2;" : "=r"(before) : "r"(sharedAddress(from)), "r"(value) : "memory");
  return before;
}
DEVICE void storeShared64(u32 to, Vector64 value) {
  asm volatile("st.shared.v2.u32 [%0], {%1, %2};" ::"r"(to), "r"(value.word[0]), "r"(value.word[1]) : "memory");
}
DEVICE void addGlobal(float *to, float value) { asm volatile("red.global.add.f32 [%0], %1;" ::"l"(to), "f"(value) : "memory"); }
/// The value before; what the block wrote before is seen by who sees the new value.
DEVICE u32 addCounter(u32 *counter, u32 value) {
  u32 before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;" : "=r"(before) : "l"(counter), "r"(value) : "memory");
  return before;
}
DEVICE void fenceDevice() { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }

/// 16 bytes, of which the first `bytes` are read and the others become zero.
DEVICE void copyAsync16(u32 shared, const void *global) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(shared), "l"(global) : "memory");
}
DEVICE void copyAsync16(u32 shared, const void *global, u32 bytes) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(bytes) : "memory");
}
DEVICE void copyAsyncCommit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <u32 kNewest>
DEVICE void copyAsyncWait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kNewest) : "memory");
}

//===----------------------------------------------------------------------===//
// Matrix fragments of a warp
//===----------------------------------------------------------------------===//

DEVICE void loadMatrix4(u32 (&registers)[4], u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(address)
               : "memory");
}
DEVICE void loadMatrixTransposed4(u32 (&registers)[4], u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(address)
               : "memory");
}

/// sums[16, 8] += a[16, 32 bytes] * b[8, 32 bytes]^T. Volatile keeps the order in which loads and products were interleaved.
#define LLMOPT_MMA(type, sum, constraint, instruction)                                                                                              \
  DEVICE void multiply(type, sum(&sums)[4], const u32 (&a)[4], const u32 *b) {                                                                      \
    asm volatile(instruction " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                                                     \
                 : "+" constraint(sums[0]), "+" constraint(sums[1]), "+" constraint(sums[2]), "+" constraint(sums[3])                               \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                                                               \
  }
LLMOPT_MMA(bf16, float, "f", "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32")
LLMOPT_MMA(f16, float, "f", "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32")
LLMOPT_MMA(tf32, float, "f", "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32")
LLMOPT_MMA(e4m3, float, "f", "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32")
LLMOPT_MMA(i8, i32, "r", "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32")
LLMOPT_MMA(u8i8, i32, "r", "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32")
#undef LLMOPT_MMA

//===----------------------------------------------------------------------===//
// mbarrier, TMA and bulk copies
//===----------------------------------------------------------------------===//

DEVICE void mbarrierInit(u32 barrier, u32 arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
DEVICE void mbarrierArrive(u32 barrier) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory"); }
/// Arrives, and lets the phase wait for so many bytes of copies.
DEVICE void mbarrierExpect(u32 barrier, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
/// Until the phase of this parity is complete.
DEVICE void mbarrierWait(u32 barrier, u32 parity) {
  asm volatile("{ .reg .pred done;\n"
               "again: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
               "@done bra over;\n"
               "bra again;\n"
               "over: }" ::"r"(barrier),
               "r"(parity)
               : "memory");
}
DEVICE void fenceMbarrierInit() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
/// What was written to shared memory is seen by bulk copies and wgmma that follow.
DEVICE void fenceAsyncProxy() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
DEVICE void prefetchTensorMap(const TensorMap *map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }

DEVICE void tmaLoad2(u32 shared, const TensorMap *map, u32 barrier, i32 x, i32 y) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(shared), "l"(map),
               "r"(barrier), "r"(x), "r"(y)
               : "memory");
}
DEVICE void tmaLoad3(u32 shared, const TensorMap *map, u32 barrier, i32 x, i32 y, i32 z) {
  asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(shared),
               "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z)
               : "memory");
}
DEVICE void bulkLoad(u32 shared, const void *global, u32 bytes, u32 barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared), "l"(global), "r"(bytes),
               "r"(barrier)
               : "memory");
}
/// Brings what a kernel will read to L2 while it still waits; it may be written meanwhile. Addresses and bytes are multiples of 16. Nothing before sm_90.
DEVICE void prefetchBulk(const void *global, u32 bytes) {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(global), "r"(bytes));
#endif
}
DEVICE void tmaStore2(const TensorMap *map, u32 shared, i32 x, i32 y) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map), "r"(shared), "r"(x), "r"(y) : "memory");
}
DEVICE void bulkCommit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
/// Shared memory of all but the newest groups has been read.
template <u32 kNewest>
DEVICE void bulkWaitRead() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kNewest) : "memory");
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
DEVICE void wgmmaFence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void wgmmaCommit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <u32 kNewest>
DEVICE void wgmmaWait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kNewest) : "memory");
}

/// sums[64, N] (+)= A[64, 32 bytes] * B[N, 32 bytes]^T; N is twice the accumulators of a thread. A in shared memory or in registers; `Transposed`:
/// B[16, N] with N contiguous.
#define LLMOPT_OUT8(c, i)                                                                                                                           \
  "+" c(sums[i]), "+" c(sums[i + 1]), "+" c(sums[i + 2]), "+" c(sums[i + 3]), "+" c(sums[i + 4]), "+" c(sums[i + 5]), "+" c(sums[i + 6]),          \
      "+" c(sums[i + 7])
#define LLMOPT_SUMS_16(c) LLMOPT_OUT8(c, 0), LLMOPT_OUT8(c, 8)
#define LLMOPT_SUMS_32(c) LLMOPT_OUT8(c, 0), LLMOPT_OUT8(c, 8), LLMOPT_OUT8(c, 16), LLMOPT_OUT8(c, 24)
#define LLMOPT_SUMS_64(c) \
  LLMOPT_OUT8(c, 0), LLMOPT_OUT8(c, 8), LLMOPT_OUT8(c, 16), LLMOPT_OUT8(c, 24), LLMOPT_OUT8(c, 32), \
  LLMOPT_OUT8(c, 40), LLMOPT_OUT8(c, 48), LLMOPT_OUT8(c, 56)
#define LLMOPT_SUMS_128(c) \
  LLMOPT_OUT8(c, 0), LLMOPT_OUT8(c, 8), LLMOPT_OUT8(c, 16), LLMOPT_OUT8(c, 24), LLMOPT_OUT8(c, 32), \
  LLMOPT_OUT8(c, 40), LLMOPT_OUT8(c, 48), LLMOPT_OUT8(c, 56), LLMOPT_OUT8(c, 64), LLMOPT_OUT8(c, 72), \
  LLMOPT_OUT8(c, 80), LLMOPT_OUT8(c, 88), LLMOPT_OUT8(c, 96), LLMOPT_OUT8(c, 104), LLMOPT_OUT8(c, 112), \
  LLMOPT_OUT8(c, 120)
#define LLMOPT_LIST_16 "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}"
#define LLMOPT_LIST_32 \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, " \
  "%28, %29, %30, %31}"
#define LLMOPT_LIST_64 \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, " \
  "%28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, " \
  "%54, %55, %56, %57, %58, %59, %60, %61, %62, %63}"
#define LLMOPT_LIST_128 \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, " \
  "%28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, " \
  "%54, %55, %56, %57, %58, %59, %60, %61, %62, %63, %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, %103, %104, " \
  "%105, %106, %107, %108, %109, %110, %111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, " \
  "%126, %127}"
// sum, register constraint, accumulators, name of the type, the shape and types in PTX, numbers of the operands, what follows the predicate
#define LLMOPT_WGMMA_SHARED(type, sum, c, count, shape, a, b, p, tail)                                                                              \
  DEVICE void wgmma(type, sum(&sums)[count], u64 a_, u64 b_, bool accumulate) {                                                                     \
    asm volatile("{ .reg .pred p;\n setp.ne.b32 p, %" #p ", 0;\n wgmma.mma_async.sync.aligned." shape " " LLMOPT_LIST_##count ", %" #a ", %" #b     \
                 ", p" tail "; }"                                                                                                                   \
                 : LLMOPT_SUMS_##count(c)                                                                                                           \
                 : "l"(a_), "l"(b_), "r"(i32(accumulate)));                                                                                         \
  }
#define LLMOPT_WGMMA_REGISTERS(name, type, sum, c, count, shape, a0, a1, a2, a3, b, p, tail)                                                        \
  DEVICE void name(type, sum(&sums)[count], const u32 *a_, u64 b_, bool accumulate) {                                                               \
    asm volatile("{ .reg .pred p;\n setp.ne.b32 p, %" #p ", 0;\n wgmma.mma_async.sync.aligned." shape " " LLMOPT_LIST_##count                       \
                 ", {%" #a0 ", %" #a1 ", %" #a2 ", %" #a3 "}, %" #b ", p" tail "; }"                                                                \
                 : LLMOPT_SUMS_##count(c)                                                                                                           \
                 : "r"(a_[0]), "r"(a_[1]), "r"(a_[2]), "r"(a_[3]), "l"(b_), "r"(i32(accumulate)));                                                  \
  }
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || defined(__CUDA_ARCH_SPECIFIC__)
LLMOPT_WGMMA_SHARED(bf16, float, "f", 16, "m64n32k16.f32.bf16.bf16", 16, 17, 18, ", 1, 1, 0, 0")
LLMOPT_WGMMA_SHARED(bf16, float, "f", 32, "m64n64k16.f32.bf16.bf16", 32, 33, 34, ", 1, 1, 0, 0")
LLMOPT_WGMMA_SHARED(bf16, float, "f", 64, "m64n128k16.f32.bf16.bf16", 64, 65, 66, ", 1, 1, 0, 0")
LLMOPT_WGMMA_SHARED(bf16, float, "f", 128, "m64n256k16.f32.bf16.bf16", 128, 129, 130, ", 1, 1, 0, 0")
LLMOPT_WGMMA_REGISTERS(wgmma, bf16, float, "f", 16, "m64n32k16.f32.bf16.bf16", 16, 17, 18, 19, 20, 21, ", 1, 1, 0")
LLMOPT_WGMMA_REGISTERS(wgmmaTransposed, bf16, float, "f", 16, "m64n32k16.f32.bf16.bf16", 16, 17, 18, 19, 20, 21, ", 1, 1, 1")
LLMOPT_WGMMA_REGISTERS(wgmma, bf16, float, "f", 32, "m64n64k16.f32.bf16.bf16", 32, 33, 34, 35, 36, 37, ", 1, 1, 0")
LLMOPT_WGMMA_REGISTERS(wgmmaTransposed, bf16, float, "f", 32, "m64n64k16.f32.bf16.bf16", 32, 33, 34, 35, 36, 37, ", 1, 1, 1")
LLMOPT_WGMMA_REGISTERS(wgmma, bf16, float, "f", 64, "m64n128k16.f32.bf16.bf16", 64, 65, 66, 67, 68, 69, ", 1, 1, 0")
LLMOPT_WGMMA_REGISTERS(wgmmaTransposed, bf16, float, "f", 64, "m64n128k16.f32.bf16.bf16", 64, 65, 66, 67, 68, 69, ", 1, 1, 1")
LLMOPT_WGMMA_REGISTERS(wgmma, bf16, float, "f", 128, "m64n256k16.f32.bf16.bf16", 128, 129, 130, 131, 132, 133, ", 1, 1, 0")
LLMOPT_WGMMA_REGISTERS(wgmmaTransposed, bf16, float, "f", 128, "m64n256k16.f32.bf16.bf16", 128, 129, 130, 131, 132, 133, ", 1, 1, 1")
LLMOPT_WGMMA_SHARED(f16, float, "f", 16, "m64n32k16.f32.f16.f16", 16, 17, 18, ", 1, 1, 0, 0")
LLMOPT_WGMMA_SHARED(f16, float, "f", 32, "m64n64k16.f32.f16.f16", 32, 33, 34, ", 1, 1, 0, 0")
LLMOPT_WGMMA_SHARED(f16, float, "f", 64, "m64n128k16.f32.f16.f16", 64, 65, 66, ", 1, 1, 0, 0")
LLMOPT_WGMMA_SHARED(f16, float, "f", 128, "m64n256k16.f32.f16.f16", 128, 129, 130, ", 1, 1, 0, 0")
LLMOPT_WGMMA_REGISTERS(wgmma, f16, float, "f", 16, "m64n32k16.f32.f16.f16", 16, 17, 18, 19, 20, 21, ", 1, 1, 0")
LLMOPT_WGMMA_REGISTERS(wgmmaTransposed, f16, float, "f", 16, "m64n32k16.f32.f16.f16", 16, 17, 18, 19, 20, 21, ", 1, 1, 1")
LLMOPT_WGMMA_REGISTERS(wgmma, f16, float, "f", 32, "m64n64k16.f32.f16.f16", 32, 33, 34, 35, 36, 37, ", 1, 1, 0")
LLMOPT_WGMMA_REGISTERS(wgmmaTransposed, f16, float, "f", 32, "m64n64k16.f32.f16.f16", 32, 33, 34, 35, 36, 37, ", 1, 1, 1")
LLMOPT_WGMMA_REGISTERS(wgmma, f16, float, "f", 64, "m64n128k16.f32.f16.f16", 64, 65, 66, 67, 68, 69, ", 1, 1, 0")
LLMOPT_WGMMA_REGISTERS(wgmmaTransposed, f16, float, "f", 64, "m64n128k16.f32.f16.f16", 64, 65, 66, 67, 68, 69, ", 1, 1, 1")
LLMOPT_WGMMA_REGISTERS(wgmma, f16, float, "f", 128, "m64n256k16.f32.f16.f16", 128, 129, 130, 131, 132, 133, ", 1, 1, 0")
LLMOPT_WGMMA_REGISTERS(wgmmaTransposed, f16, float, "f", 128, "m64n256k16.f32.f16.f16", 128, 129, 130, 131, 132, 133, ", 1, 1, 1")
LLMOPT_WGMMA_SHARED(e4m3, float, "f", 16, "m64n32k32.f32.e4m3.e4m3", 16, 17, 18, ", 1, 1")
LLMOPT_WGMMA_SHARED(e4m3, float, "f", 32, "m64n64k32.f32.e4m3.e4m3", 32, 33, 34, ", 1, 1")
LLMOPT_WGMMA_SHARED(e4m3, float, "f", 64, "m64n128k32.f32.e4m3.e4m3", 64, 65, 66, ", 1, 1")
LLMOPT_WGMMA_SHARED(e4m3, float, "f", 128, "m64n256k32.f32.e4m3.e4m3", 128, 129, 130, ", 1, 1")
LLMOPT_WGMMA_SHARED(i8, i32, "r", 16, "m64n32k32.s32.s8.s8", 16, 17, 18, "")
LLMOPT_WGMMA_SHARED(i8, i32, "r", 32, "m64n64k32.s32.s8.s8", 32, 33, 34, "")
LLMOPT_WGMMA_SHARED(i8, i32, "r", 64, "m64n128k32.s32.s8.s8", 64, 65, 66, "")
LLMOPT_WGMMA_SHARED(i8, i32, "r", 128, "m64n256k32.s32.s8.s8", 128, 129, 130, "")
LLMOPT_WGMMA_SHARED(u8i8, i32, "r", 16, "m64n32k32.s32.u8.s8", 16, 17, 18, "")
LLMOPT_WGMMA_SHARED(u8i8, i32, "r", 32, "m64n64k32.s32.u8.s8", 32, 33, 34, "")
LLMOPT_WGMMA_SHARED(u8i8, i32, "r", 64, "m64n128k32.s32.u8.s8", 64, 65, 66, "")
LLMOPT_WGMMA_SHARED(u8i8, i32, "r", 128, "m64n256k32.s32.u8.s8", 128, 129, 130, "")
#endif
#undef LLMOPT_WGMMA_SHARED
#undef LLMOPT_WGMMA_REGISTERS

#endif // LLMOPT_EMULATE
