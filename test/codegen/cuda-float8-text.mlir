// A layer in e4m3 behind a norm: the norm's kernel stores codes, which products of e4m3 by mma.sync (as f16) and wgmma take as they are; scales stand behind the sum.
// RUN: llmopt-compile %s --target sm_90 --emit=cuda -q -o %t.cu
// RUN: FileCheck %s < %t.cu
// REQUIRES: llmopt-compile

// CHECK: #include "norm.cuh"
// CHECK: struct Behind {
// CHECK: Norm<Rows>::run({{.*}}, Behind{

// CHECK: storeOne(u64 segment, u64 row, u64 column, float product0)
// CHECK: typedef e4m3 Input;
// CHECK-NEXT: typedef e4m3 Weight;
// CHECK: reinterpret_cast<const e4m3 *>
// CHECK: GemmMma<Layer_mma
// CHECK: const TensorMap
// CHECK: kTileN = 64
// CHECK: GemmWgmma<Layer_tma
// CHECK: unpack_panel16x4(const u8 *from, u8 *to,
func.func @main(%x: tensor<?x64xf32> {llm.name = "x", llm.dims = ["rows", 64]}) -> (tensor<?x40xf32> {llm.name = "y"}) {
  %one = llm.constant dense<1.5> : tensor<64xf32>
  %n = llm.rms_norm %x scale %one : tensor<64xf32> {epsilon = 1.0e-5 : f32} : tensor<?x64xf32> -> tensor<?x64xf32>
  %step = llm.constant dense<0.03> : tensor<f32>
  %0 = llm.div %n, %step : tensor<?x64xf32>, tensor<f32> -> tensor<?x64xf32>
  %1 = llm.cast %0 : tensor<?x64xf32> -> tensor<?x64xf8E4M3FN>
  %w = llm.constant dense<1.25> : tensor<64x40xf8E4M3FN>
  %2 = llm.matmul %1, %w : tensor<?x64xf8E4M3FN>, tensor<64x40xf8E4M3FN> -> tensor<?x40xf32>
  %y = llm.mul %2, %step : tensor<?x40xf32>, tensor<f32> -> tensor<?x40xf32>
  return %y : tensor<?x40xf32>
}
