// What a region becomes as CUDA C++: a written family with the region's epilogue, or printed. No compiler is needed for that.
// RUN: llmopt-compile %s --target sm_80 --emit=cuda -q -o %t.cu
// RUN: FileCheck %s < %t.cu
// RUN: FileCheck %s --check-prefix=PLAIN < %t.cu
// REQUIRES: llmopt-compile

// Inline PTX lies in the primitives alone.
// PLAIN-NOT: asm

// CHECK: #include "norm.cuh"
// CHECK: kDepth = 64
// CHECK: LAUNCH_BOUNDS({{[0-9]+}}, 1) rows_
// CHECK: Norm<Rows>::run(

// Both halves of the gate are one kernel for each number of rows; the epilogue computes silu(g) * u.
// CHECK: #include "gemv.cuh"
// CHECK: struct Epilogue
// CHECK: kProducts = 2, kSegments = 1
// CHECK: void storeOne(u64 segment, u64 row, u64 column, float product0, float product1)
// CHECK: typedef float Weight
// CHECK: Gemv<Layer
// CHECK: GemmMma<Layer_mma

// Pointwise, printed: a thread takes elements in turns.
// CHECK: LAUNCH_BOUNDS({{[0-9]+}}, 1) loops_
// CHECK-NEXT: waitForDependencies();
// CHECK-NEXT: for (u64 unit = gridThread(); unit < d0; unit += gridThreads())
// CHECK: LLMOPT_PRINTED_EXPORT(loops_
func.func @main(%x: tensor<?x64xf32> {llm.name = "x", llm.dims = ["tokens", 64]}) -> (tensor<?x128xf32> {llm.name = "y"}, tensor<?x64xf32> {llm.name = "e"}) {
  %s = llm.constant dense<1.5> : tensor<64xf32>
  %wg = llm.constant dense<0.25> : tensor<128x64xf32>
  %wu = llm.constant dense<0.5> : tensor<128x64xf32>
  %n = llm.rms_norm %x scale %s : tensor<64xf32> {epsilon = 1.0e-5 : f32} : tensor<?x64xf32> -> tensor<?x64xf32>
  %g = llm.linear %n, %wg : tensor<?x64xf32>, tensor<128x64xf32> -> tensor<?x128xf32>
  %u = llm.linear %n, %wu : tensor<?x64xf32>, tensor<128x64xf32> -> tensor<?x128xf32>
  %a = llm.silu %g : tensor<?x128xf32>
  %y = llm.mul %a, %u : tensor<?x128xf32>, tensor<?x128xf32> -> tensor<?x128xf32>
  %e = llm.exp %x : tensor<?x64xf32>
  return %y, %e : tensor<?x128xf32>, tensor<?x64xf32>
}
