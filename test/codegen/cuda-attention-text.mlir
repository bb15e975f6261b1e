// Attention over padded batches becomes a kernel for tensor cores: in f32 models by three products of tf32, in 16 bits where the linear layers are.
// RUN: llmopt-compile %s --target sm_90 --emit=cuda -q -o %t.cu
// RUN: FileCheck %s < %t.cu
// REQUIRES: llmopt-compile

// CHECK: #include "dense_attention.cuh"
// CHECK: typedef float Product
// CHECK: typedef float Mask
// CHECK: kMask = 2
// CHECK: kMaskKey = 1
// CHECK: kHeads = 4
// CHECK: kKvHeads = 2
// CHECK: kKeySize = 32
// CHECK: kWindow = 9
// CHECK: kAligned = true
// CHECK: kCausal = true
// CHECK: LAUNCH_BOUNDS(128, 1) attention_
// CHECK: Family::run(

// Heads that are too wide for registers are printed.
// CHECK-NOT: kKeySize = 136
// CHECK: LLMOPT_PRINTED_EXPORT(attention_
func.func @main(%q: tensor<?x4x?x32xf32> {llm.name = "q", llm.dims = ["batch", 4, "queries", 32]}, %k: tensor<?x2x?x32xf32> {llm.name = "k", llm.dims = ["batch", 2, "keys", 32]},
                %v: tensor<?x2x?x32xf32> {llm.name = "v", llm.dims = ["batch", 2, "keys", 32]}, %m: tensor<?x1x1x?xf32> {llm.name = "m", llm.dims = ["batch", 1, 1, "keys"]},
                %w: tensor<?x4x?x136xf32> {llm.name = "w", llm.dims = ["batch", 4, "queries", 136]})
    -> (tensor<?x4x?x32xf32> {llm.name = "y"}, tensor<?x4x?x136xf32> {llm.name = "z"}) {
  %y = llm.attention %q, %k, %v mask %m : tensor<?x1x1x?xf32> {scale = 0.125 : f32, causal, window = 9 : i64} : tensor<?x4x?x32xf32>, tensor<?x2x?x32xf32>, tensor<?x2x?x32xf32> -> tensor<?x4x?x32xf32>
  %z = llm.attention %w, %w, %w {scale = 0.125 : f32} : tensor<?x4x?x136xf32>, tensor<?x4x?x136xf32>, tensor<?x4x?x136xf32> -> tensor<?x4x?x136xf32>
  return %y, %z : tensor<?x4x?x32xf32>, tensor<?x4x?x136xf32>
}
