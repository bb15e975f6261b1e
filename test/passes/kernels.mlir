// RUN: llmopt-opt %s --llmopt-cut-kernels=norms=false | FileCheck %s
// REQUIRES: llmopt-opt

// The three products of a gated MLP are two kernels: both halves of the gate share one, the residual sum joins the last.
// CHECK-LABEL: func.func @gated_mlp
//       CHECK: exec.kernel "rows"
//       CHECK: exec.kernel "linear"
//       CHECK:   llm.linear
//       CHECK:   llm.linear
//       CHECK:   llm.silu
//       CHECK:   llm.mul
//       CHECK:   exec.yield
//       CHECK: exec.kernel "linear"
//       CHECK:   llm.linear
//       CHECK:   llm.add
//   CHECK-NOT: exec.kernel
//       CHECK: return
func.func @gated_mlp(%x: tensor<?x64xf32> {llm.dims = ["tokens", 64]}) -> tensor<?x64xf32> {
  %wg = llm.weight "g" : tensor<128x64xf32>
  %wu = llm.weight "u" : tensor<128x64xf32>
  %wd = llm.weight "d" : tensor<64x128xf32>
  %ws = llm.weight "s" : tensor<64xf32>
  %n = llm.rms_norm %x scale %ws : tensor<64xf32> {epsilon = 1.0e-5 : f32} : tensor<?x64xf32> -> tensor<?x64xf32>
  %g = llm.linear %n, %wg : tensor<?x64xf32>, tensor<128x64xf32> -> tensor<?x128xf32>
  %u = llm.linear %n, %wu : tensor<?x64xf32>, tensor<128x64xf32> -> tensor<?x128xf32>
  %s = llm.silu %g : tensor<?x128xf32>
  %m = llm.mul %s, %u : tensor<?x128xf32>, tensor<?x128xf32> -> tensor<?x128xf32>
  %d = llm.linear %m, %wd : tensor<?x128xf32>, tensor<64x128xf32> -> tensor<?x64xf32>
  %r = llm.add %d, %x : tensor<?x64xf32>, tensor<?x64xf32> -> tensor<?x64xf32>
  return %r : tensor<?x64xf32>
}

// Two readers of a product: its kernel ends there.
// CHECK-LABEL: func.func @product_read_twice
//       CHECK: exec.kernel "linear"
//       CHECK:   llm.linear
//  CHECK-NEXT:   exec.yield
func.func @product_read_twice(%x: tensor<?x64xf32> {llm.dims = ["tokens", 64]}) -> (tensor<?x32xf32>, tensor<?x32xf32>) {
  %w = llm.weight "w" : tensor<32x64xf32>
  %y = llm.linear %x, %w : tensor<?x64xf32>, tensor<32x64xf32> -> tensor<?x32xf32>
  %a = llm.relu %y : tensor<?x32xf32>
  %b = llm.silu %y : tensor<?x32xf32>
  return %a, %b : tensor<?x32xf32>, tensor<?x32xf32>
}

// A residual sum that is read later too is the norm kernel's second result.
// CHECK-LABEL: func.func @residual_before_norm
//       CHECK: exec.kernel "rows"{{.*}} -> (tensor<?x64xf32>, tensor<?x64xf32>)
//       CHECK:   llm.add
//       CHECK:   llm.layer_norm
func.func @residual_before_norm(%x: tensor<?x64xf32> {llm.dims = ["tokens", 64]}, %y: tensor<?x64xf32> {llm.dims = ["tokens", 64]})
    -> (tensor<?x64xf32>, tensor<?x64xf32>) {
  %s = llm.add %x, %y : tensor<?x64xf32>, tensor<?x64xf32> -> tensor<?x64xf32>
  %n = llm.layer_norm %s {epsilon = 1.0e-5 : f32} : tensor<?x64xf32> -> tensor<?x64xf32>
  return %n, %s : tensor<?x64xf32>, tensor<?x64xf32>
}

// Sizes that follow from the arguments' dimensions are no work at run time, and views are none either.
// CHECK-LABEL: func.func @sizes_vanish
//       CHECK: exec.kernel "loops"
//       CHECK:   llm.neg
//   CHECK-NOT: exec.kernel
//       CHECK: return
func.func @sizes_vanish(%x: tensor<?x?x64xf32> {llm.dims = ["batch", "sequence", 64]}) -> tensor<?x64xf32> {
  %shape = llm.shape %x : tensor<?x?x64xf32> -> tensor<3xi64>
  %i0 = llm.constant dense<0> : tensor<1xi64>
  %i1 = llm.constant dense<1> : tensor<1xi64>
  %b = llm.gather %shape, %i0 {axis = 0} : tensor<3xi64>, tensor<1xi64> -> tensor<1xi64>
  %s = llm.gather %shape, %i1 {axis = 0} : tensor<3xi64>, tensor<1xi64> -> tensor<1xi64>
  %rows = llm.mul %b, %s : tensor<1xi64>, tensor<1xi64> -> tensor<1xi64>
  %d = llm.constant dense<64> : tensor<1xi64>
  %to = llm.concat %rows, %d {axis = 0} : tensor<1xi64>, tensor<1xi64> -> tensor<2xi64>
  %r = llm.reshape %x, %to : tensor<?x?x64xf32>, tensor<2xi64> -> tensor<?x64xf32>
  %n = llm.neg %r : tensor<?x64xf32>
  return %n : tensor<?x64xf32>
}

// A chain of elementwise operations and transposes is one loop nest.
// CHECK-LABEL: func.func @one_nest
//       CHECK: exec.kernel "loops"
//       CHECK:   llm.transpose
//       CHECK:   llm.neg
//       CHECK:   llm.abs
//   CHECK-NOT: exec.kernel
//       CHECK: return
func.func @one_nest(%x: tensor<?x8xf32> {llm.dims = ["n", 8]}) -> tensor<8x?xf32> {
  %t = llm.transpose %x permutation = [1, 0] : tensor<?x8xf32> -> tensor<8x?xf32>
  %a = llm.neg %t : tensor<8x?xf32>
  %b = llm.abs %a : tensor<8x?xf32>
  return %b : tensor<8x?xf32>
}

// What a cache write stores is there before attention reads it; the rotations are part of both kernels.
// CHECK-LABEL: func.func @cache
//       CHECK: exec.kernel "cache_append"
//       CHECK:   llm.rope
//       CHECK:   llm.cache_append
//       CHECK: exec.kernel "paged_attention"
//       CHECK:   llm.rope
//       CHECK:   llm.paged_attention
func.func @cache(%q: tensor<?x4x16xf32> {llm.dims = ["tokens", 4, 16]}, %k: tensor<?x2x16xf32> {llm.dims = ["tokens", 2, 16]},
                 %v: tensor<?x2x16xf32> {llm.dims = ["tokens", 2, 16]}, %p: tensor<?xi64> {llm.dims = ["tokens"]}) -> tensor<?x4x16xf32> {
  %f = llm.weight "f" : tensor<8xf32>
  %kr = llm.rope %k, %p, %f : tensor<?x2x16xf32>, tensor<?xi64>, tensor<8xf32> -> tensor<?x2x16xf32>
  %qr = llm.rope %q, %p, %f : tensor<?x4x16xf32>, tensor<?xi64>, tensor<8xf32> -> tensor<?x4x16xf32>
  llm.cache_append %kr, %v {state = 0 : i64} : tensor<?x2x16xf32>, tensor<?x2x16xf32>
  %o = llm.paged_attention %qr {state = 0 : i64, kv_heads = 2 : i64, scale = 0.25 : f32, causal} : tensor<?x4x16xf32> -> tensor<?x4x16xf32>
  return %o : tensor<?x4x16xf32>
}

// Queries, keys and values of one input are one kernel with three results.
// CHECK-LABEL: func.func @projections
//       CHECK: exec.kernel "linear"{{.*}} -> (tensor<?x64xf32>, tensor<?x32xf32>, tensor<?x32xf32>)
//   CHECK-NOT: exec.kernel
//       CHECK: return
func.func @projections(%x: tensor<?x64xf32> {llm.dims = ["tokens", 64]}) -> (tensor<?x64xf32>, tensor<?x32xf32>, tensor<?x32xf32>) {
  %wq = llm.weight "q" : tensor<64x64xf32>
  %wk = llm.weight "k" : tensor<32x64xf32>
  %wv = llm.weight "v" : tensor<32x64xf32>
  %q = llm.linear %x, %wq : tensor<?x64xf32>, tensor<64x64xf32> -> tensor<?x64xf32>
  %k = llm.linear %x, %wk : tensor<?x64xf32>, tensor<32x64xf32> -> tensor<?x32xf32>
  %v = llm.linear %x, %wv : tensor<?x64xf32>, tensor<32x64xf32> -> tensor<?x32xf32>
  return %q, %k, %v : tensor<?x64xf32>, tensor<?x32xf32>, tensor<?x32xf32>
}

// Queries cut out of a joint projection: the slice, the split into heads and the transpose are one nest.
// CHECK-LABEL: func.func @heads
//       CHECK: exec.kernel "loops"
//       CHECK:   llm.slice
//       CHECK:   llm.reshape
//       CHECK:   llm.transpose
//       CHECK:   llm.mul
//   CHECK-NOT: exec.kernel
//       CHECK: return
func.func @heads(%x: tensor<?x?x96xf32> {llm.dims = ["b", "s", 96]}) -> tensor<?x2x?x16xf32> {
  %lo = llm.constant dense<0> : tensor<1xi64>
  %hi = llm.constant dense<32> : tensor<1xi64>
  %c = llm.constant dense<0.25> : tensor<f32>
  %shape = llm.constant dense<[0, 0, 2, 16]> : tensor<4xi64>
  %q = llm.slice %x, %lo, %hi axes = [2] steps = [1] : tensor<?x?x96xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<?x?x32xf32>
  %h = llm.reshape %q, %shape : tensor<?x?x32xf32>, tensor<4xi64> -> tensor<?x?x2x16xf32>
  %t = llm.transpose %h permutation = [0, 2, 1, 3] : tensor<?x?x2x16xf32> -> tensor<?x2x?x16xf32>
  %s = llm.mul %t, %c : tensor<?x2x?x16xf32>, tensor<f32> -> tensor<?x2x?x16xf32>
  return %s : tensor<?x2x?x16xf32>
}

// A mask read by all heads is cheap enough to be made for each, in the softmax's own kernel.
// CHECK-LABEL: func.func @masked_softmax
//       CHECK: exec.kernel "rows"
//       CHECK:   llm.sub
//       CHECK:   llm.mul
//       CHECK:   llm.add
//       CHECK:   llm.softmax
//   CHECK-NOT: exec.kernel
//       CHECK: return
func.func @masked_softmax(%x: tensor<?x4x?x?xf32> {llm.dims = ["b", 4, "s", "t"]}, %m: tensor<?x1x?x?xf32> {llm.dims = ["b", 1, "s", "t"]})
    -> tensor<?x4x?x?xf32> {
  %one = llm.constant dense<1.0> : tensor<f32>
  %low = llm.constant dense<-10000.0> : tensor<f32>
  %n = llm.sub %one, %m : tensor<f32>, tensor<?x1x?x?xf32> -> tensor<?x1x?x?xf32>
  %k = llm.mul %n, %low : tensor<?x1x?x?xf32>, tensor<f32> -> tensor<?x1x?x?xf32>
  %a = llm.add %x, %k : tensor<?x4x?x?xf32>, tensor<?x1x?x?xf32> -> tensor<?x4x?x?xf32>
  %y = llm.softmax %a {axis = 3 : i64} : tensor<?x4x?x?xf32>
  return %y : tensor<?x4x?x?xf32>
}

// An exponential would be computed again for each of the rows that read it: a kernel of its own.
// CHECK-LABEL: func.func @dear_and_repeated
//       CHECK: exec.kernel "loops"
//       CHECK:   llm.exp
//       CHECK: exec.kernel "loops"
//       CHECK:   llm.mul
func.func @dear_and_repeated(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}, %v: tensor<64xf32>) -> tensor<?x64xf32> {
  %e = llm.exp %v : tensor<64xf32>
  %y = llm.mul %x, %e : tensor<?x64xf32>, tensor<64xf32> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// Small constants are immediates of loop nests; matrix products read their operands from memory, and their epilogues all but
// repeated elements.
// CHECK-LABEL: func.func @constants_of_products
//       CHECK: %[[L:.+]] = llm.constant dense<{{.*}}> : tensor<1x4xf32>
//       CHECK: %[[C:.+]] = llm.constant dense<{{.*}}> : tensor<3xf32>
//       CHECK: exec.kernel "matmul"(%[[L]], %{{.+}}, %[[C]])
//       CHECK:   llm.matmul
//       CHECK:   llm.mul
//       CHECK:   llm.constant dense<2.000000e+00>
//       CHECK:   llm.mul
func.func @constants_of_products(%z: tensor<?x4x3xf32> {llm.dims = ["n", 4, 3]}) -> tensor<?x1x3xf32> {
  %l = llm.constant dense<[[1.0, 2.0, 3.0, 4.0]]> : tensor<1x4xf32>
  %c = llm.constant dense<[10.0, 20.0, 30.0]> : tensor<3xf32>
  %s = llm.constant dense<2.0> : tensor<f32>
  %m = llm.matmul %l, %z : tensor<1x4xf32>, tensor<?x4x3xf32> -> tensor<?x1x3xf32>
  %p = llm.mul %m, %c : tensor<?x1x3xf32>, tensor<3xf32> -> tensor<?x1x3xf32>
  %q = llm.mul %p, %s : tensor<?x1x3xf32>, tensor<f32> -> tensor<?x1x3xf32>
  return %q : tensor<?x1x3xf32>
}

// Attention reads heads where the projection wrote them and writes rows for the product behind it. Keys that somebody else reads
// (a cache that is returned) are written out, but not read back.
// CHECK-LABEL: func.func @attention_steps_through_layouts
//       CHECK: %[[A:.+]] = exec.kernel "attention"(%{{.+}}) : (tensor<?x?x192xf32>) -> tensor<?x?x4x16xf32>
//       CHECK: %[[K:.+]] = exec.kernel "loops"(%{{.+}}) : (tensor<?x?x192xf32>) -> tensor<?x4x?x16xf32>
//   CHECK-NOT: exec.kernel
//       CHECK: return %[[A]], %[[K]]
func.func @attention_steps_through_layouts(%x: tensor<?x?x192xf32> {llm.dims = ["b", "s", 192]}) -> (tensor<?x?x4x16xf32>, tensor<?x4x?x16xf32>) {
  %0 = llm.constant dense<0> : tensor<1xi64>
  %64 = llm.constant dense<64> : tensor<1xi64>
  %128 = llm.constant dense<128> : tensor<1xi64>
  %192 = llm.constant dense<192> : tensor<1xi64>
  %shape = llm.constant dense<[0, 0, 4, 16]> : tensor<4xi64>
  %sq = llm.slice %x, %0, %64 axes = [2] steps = [1] : tensor<?x?x192xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<?x?x64xf32>
  %sk = llm.slice %x, %64, %128 axes = [2] steps = [1] : tensor<?x?x192xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<?x?x64xf32>
  %sv = llm.slice %x, %128, %192 axes = [2] steps = [1] : tensor<?x?x192xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<?x?x64xf32>
  %rq = llm.reshape %sq, %shape : tensor<?x?x64xf32>, tensor<4xi64> -> tensor<?x?x4x16xf32>
  %rk = llm.reshape %sk, %shape : tensor<?x?x64xf32>, tensor<4xi64> -> tensor<?x?x4x16xf32>
  %rv = llm.reshape %sv, %shape : tensor<?x?x64xf32>, tensor<4xi64> -> tensor<?x?x4x16xf32>
  %q = llm.transpose %rq permutation = [0, 2, 1, 3] : tensor<?x?x4x16xf32> -> tensor<?x4x?x16xf32>
  %k = llm.transpose %rk permutation = [0, 2, 1, 3] : tensor<?x?x4x16xf32> -> tensor<?x4x?x16xf32>
  %v = llm.transpose %rv permutation = [0, 2, 1, 3] : tensor<?x?x4x16xf32> -> tensor<?x4x?x16xf32>
  %a = llm.attention %q, %k, %v {scale = 0.25 : f32} : tensor<?x4x?x16xf32>, tensor<?x4x?x16xf32>, tensor<?x4x?x16xf32> -> tensor<?x4x?x16xf32>
  %y = llm.transpose %a permutation = [0, 2, 1, 3] : tensor<?x4x?x16xf32> -> tensor<?x?x4x16xf32>
  return %y, %k : tensor<?x?x4x16xf32>, tensor<?x4x?x16xf32>
}

// Loop nests that do not need each other are one kernel, whatever their shapes.
// CHECK-LABEL: func.func @independent_nests
//       CHECK: %[[R:.+]]:2 = exec.kernel "loops"
//   CHECK-NOT: exec.kernel
//       CHECK: return %[[R]]
func.func @independent_nests(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}, %y: tensor<3xf32>) -> (tensor<?x64xf32>, tensor<3xf32>) {
  %a = llm.exp %x : tensor<?x64xf32>
  %b = llm.tanh %y : tensor<3xf32>
  return %a, %b : tensor<?x64xf32>, tensor<3xf32>
}

// The second nest needs the first by way of a product: the kernels stay three.
// CHECK-LABEL: func.func @nests_around_a_product
//       CHECK: exec.kernel "loops"
//       CHECK: exec.kernel "matmul"
//       CHECK: exec.kernel "loops"
func.func @nests_around_a_product(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}, %w: tensor<64x8xf32>) -> (tensor<8x?xf32>, tensor<?x64xf32>) {
  %a = llm.exp %x : tensor<?x64xf32>
  %m = llm.matmul %a, %w : tensor<?x64xf32>, tensor<64x8xf32> -> tensor<?x8xf32>
  %t = llm.transpose %m permutation = [1, 0] : tensor<?x8xf32> -> tensor<8x?xf32>
  return %t, %a : tensor<8x?xf32>, tensor<?x64xf32>
}
