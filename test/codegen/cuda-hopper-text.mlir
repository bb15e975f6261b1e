// What prompts become on Hopper where weights are wgmma's first operand, in registers: codes of 4 bits, and experts in 16 bits. No compiler is needed for that.
// RUN: llmopt-compile %s --dtype f16 --target sm_90 --emit=cuda -q -o %t.16.cu
// RUN: FileCheck %s --check-prefix=CODES < %t.16.cu
// RUN: FileCheck %s --check-prefix=EXPERTS < %t.16.cu
// RUN: llmopt-compile %s --dtype f32 --target sm_90 --emit=cuda -q -o %t.32.cu
// RUN: FileCheck %s --check-prefix=EXACT < %t.32.cu
// RUN: llmopt-compile %s --dtype f16 --target sm_80 --emit=cuda -q -o %t.80.cu
// RUN: FileCheck %s --check-prefix=AMPERE < %t.80.cu
// RUN: llmopt-compile %s --dtype f16 --target sm_90 --cuda-compiler=llvm --emit=ptx -q -o %t.ptx
// RUN: FileCheck %s --check-prefix=ALONE < %t.ptx
// REQUIRES: llmopt-compile

// Few rows by mma.sync, tiles of 64 rows up to where those of 128 have work for all multiprocessors.
// CODES: #include "wgmma_rows.cuh"
// CODES: #include "gemm_wgmma_quantized.cuh"
// CODES: GemvQuantized<Layer_r8
// CODES: kBits = 4, kBlock = 32, kZero = 8, kTileM = 64, kStages = 8
// CODES: GemmWgmmaQuantized<Layer_wg64, Epilogue>().run(smem, reinterpret_cast<const float *>
// CODES: kTileM = 128, kStages = 7
// CODES: GemmWgmmaQuantized<Layer_wg128

// EXPERTS: #include "grouped_wgmma.cuh"
// EXPERTS: GroupedGemv<Layer_r1
// EXPERTS: typedef f16 Weight
// EXPERTS: kExperts = 4, kShared = 2, kTileM = 64
// EXPERTS: GroupedWgmma<Layer_wg64
// EXPERTS: GroupedWgmma<Layer_wg128
// EXPERTS-NOT: GroupedMma

// EXACT: GroupedGemv<Layer_r1
// EXACT: typedef float Weight
// EXACT: GroupedMma<Layer_mma
// EXACT-NOT: GroupedWgmma

// AMPERE: GroupedMma<Layer_mma
// AMPERE-NOT: wgmma

// Without a CUDA compiler experts are the CPU's family, a thread for some columns of all of them; a gate, which processors compute in a function of its own, is there too.
// ALONE: .visible .entry grouped_linear_{{.*}}_many
// ALONE-NOT: .local
// ALONE-NOT: call
// ALONE: st.global.b32
// ALONE: .visible .entry grouped_linear_{{.*}}_many
// ALONE-NOT: .local
// ALONE-NOT: call
// ALONE: div.rn.f32
// ALONE: st.global.b32
func.func @main(%x: tensor<?x96xf32> {llm.name = "x", llm.dims = ["tokens", 96]}, %e: tensor<?x2xi64> {llm.name = "e", llm.dims = ["tokens", 2]})
    -> (tensor<?x4096xf32> {llm.name = "y"}, tensor<?x2x48xf32> {llm.name = "z"}, tensor<?x2x48xf32> {llm.name = "g"}) {
  %codes = llm.constant dense<3> : tensor<4096x3x32xi4>
  %scales = llm.constant dense<0.25> : tensor<4096x3x1xf32>
  %numbers = llm.cast %codes : tensor<4096x3x32xi4> -> tensor<4096x3x32xf32>
  %scaled = llm.mul %numbers, %scales : tensor<4096x3x32xf32>, tensor<4096x3x1xf32> -> tensor<4096x3x32xf32>
  %shape = llm.constant dense<[4096, 96]> : tensor<2xi64>
  %w = llm.reshape %scaled, %shape : tensor<4096x3x32xf32>, tensor<2xi64> -> tensor<4096x96xf32>
  %y = llm.linear %x, %w : tensor<?x96xf32>, tensor<4096x96xf32> -> tensor<?x4096xf32>
  %v = llm.constant dense<0.5> : tensor<4x48x96xf32>
  %order, %offsets = llm.group_rows %e {experts = 4} : tensor<?x2xi64> -> tensor<?x2xi32>, tensor<5xi32>
  %z = llm.grouped_linear %x, %v, %order, %offsets : tensor<?x96xf32>, tensor<4x48x96xf32>, tensor<?x2xi32>, tensor<5xi32> -> tensor<?x2x48xf32>
  %gate = llm.constant dense<0.25> : tensor<4x48x96xf32>
  %up = llm.constant dense<0.125> : tensor<4x48x96xf32>
  %g0 = llm.grouped_linear %x, %gate, %order, %offsets : tensor<?x96xf32>, tensor<4x48x96xf32>, tensor<?x2xi32>, tensor<5xi32> -> tensor<?x2x48xf32>
  %g1 = llm.grouped_linear %x, %up, %order, %offsets : tensor<?x96xf32>, tensor<4x48x96xf32>, tensor<?x2xi32>, tensor<5xi32> -> tensor<?x2x48xf32>
  %g2 = llm.silu %g0 : tensor<?x2x48xf32>
  %g = llm.mul %g2, %g1 : tensor<?x2x48xf32>, tensor<?x2x48xf32> -> tensor<?x2x48xf32>
  return %y, %z, %g : tensor<?x4096xf32>, tensor<?x2x48xf32>, tensor<?x2x48xf32>
}
