// RUN: llmopt-opt %s --llmopt-cut-kernels | FileCheck %s
// REQUIRES: llmopt-opt

// A product of bytes is a projection: the quantization of its rows in front, scales and bias behind.
// CHECK-LABEL: func.func @quantized_rows
//       CHECK: exec.kernel "linear"
//       CHECK:   llm.round
//       CHECK:   llm.cast {{.*}} -> tensor<?x64xui8>
//       CHECK:   llm.matmul {{.*}} : tensor<?x64xui8>, tensor<64x8xi8> -> tensor<?x8xi32>
//       CHECK:   llm.mul
//   CHECK-NOT: exec.kernel
func.func @quantized_rows(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}, %scale: tensor<f32>) -> tensor<?x8xf32> {
  %w = llm.weight "w" : tensor<64x8xi8>
  %s = llm.weight "s" : tensor<8xf32>
  %0 = llm.div %x, %scale : tensor<?x64xf32>, tensor<f32> -> tensor<?x64xf32>
  %1 = llm.round %0 : tensor<?x64xf32>
  %2 = llm.cast %1 : tensor<?x64xf32> -> tensor<?x64xui8>
  %3 = llm.matmul %2, %w : tensor<?x64xui8>, tensor<64x8xi8> -> tensor<?x8xi32>
  %4 = llm.cast %3 : tensor<?x8xi32> -> tensor<?x8xf32>
  %5 = llm.mul %4, %s : tensor<?x8xf32>, tensor<8xf32> -> tensor<?x8xf32>
  return %5 : tensor<?x8xf32>
}

// Products of the same bytes share a kernel, epilogues included; bytes that something else reads are computed once, before.
// CHECK-LABEL: func.func @two_products
//       CHECK: exec.kernel "loops"
//       CHECK: exec.kernel "linear"
//       CHECK:   llm.matmul
//       CHECK:   llm.matmul
//   CHECK-NOT: exec.kernel
func.func @two_products(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}) -> (tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x64xui8>) {
  %w = llm.weight "w" : tensor<64x8xi8>
  %v = llm.weight "v" : tensor<64x8xi8>
  %0 = llm.round %x : tensor<?x64xf32>
  %1 = llm.cast %0 : tensor<?x64xf32> -> tensor<?x64xui8>
  %2 = llm.matmul %1, %w : tensor<?x64xui8>, tensor<64x8xi8> -> tensor<?x8xi32>
  %3 = llm.cast %2 : tensor<?x8xi32> -> tensor<?x8xf32>
  %4 = llm.matmul %1, %v : tensor<?x64xui8>, tensor<64x8xi8> -> tensor<?x8xi32>
  %5 = llm.cast %4 : tensor<?x8xi32> -> tensor<?x8xf32>
  return %3, %5, %1 : tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x64xui8>
}

// Products of the same e4m3 share a kernel, epilogues included; the codes are made before.
// CHECK-LABEL: func.func @two_products_of_e4m3
//       CHECK: exec.kernel "loops"
//       CHECK:   llm.cast {{.*}} -> tensor<?x64xf8E4M3FN>
//       CHECK: exec.kernel "linear"
//       CHECK:   llm.matmul
//       CHECK:   llm.matmul
//   CHECK-NOT: exec.kernel
func.func @two_products_of_e4m3(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %w = llm.weight "w" : tensor<64x8xf8E4M3FN>
  %v = llm.weight "v" : tensor<64x8xf8E4M3FN>
  %s = llm.weight "s" : tensor<8xf32>
  %0 = llm.cast %x : tensor<?x64xf32> -> tensor<?x64xf8E4M3FN>
  %1 = llm.matmul %0, %w : tensor<?x64xf8E4M3FN>, tensor<64x8xf8E4M3FN> -> tensor<?x8xf32>
  %2 = llm.mul %1, %s : tensor<?x8xf32>, tensor<8xf32> -> tensor<?x8xf32>
  %3 = llm.matmul %0, %v : tensor<?x64xf8E4M3FN>, tensor<64x8xf8E4M3FN> -> tensor<?x8xf32>
  %4 = llm.mul %3, %s : tensor<?x8xf32>, tensor<8xf32> -> tensor<?x8xf32>
  return %2, %4 : tensor<?x8xf32>, tensor<?x8xf32>
}

// What is added to the second product needs the whole of the first.
// CHECK-LABEL: func.func @one_after_the_other
//       CHECK: exec.kernel "linear"
//       CHECK: exec.kernel "linear"
func.func @one_after_the_other(%x: tensor<?x8xui8> {llm.dims = ["n", 8]}) -> tensor<?x8xi32> {
  %w = llm.weight "w" : tensor<8x8xi8>
  %v = llm.weight "v" : tensor<8x8xi8>
  %0 = llm.matmul %x, %w : tensor<?x8xui8>, tensor<8x8xi8> -> tensor<?x8xi32>
  %1 = llm.reduce max %0 axes = [0] : tensor<?x8xi32> -> tensor<8xi32>
  %2 = llm.matmul %x, %v : tensor<?x8xui8>, tensor<8x8xi8> -> tensor<?x8xi32>
  %3 = llm.add %2, %1 : tensor<?x8xi32>, tensor<8xi32> -> tensor<?x8xi32>
  return %3 : tensor<?x8xi32>
}

// Dynamic quantization behind a norm: the norm's kernel leaves the extrema of its rows, one kernel makes of them all numbers, and the vector that the
// zero point adds; the product quantizes its rows. The norm is read by the residual, too.
// CHECK-LABEL: func.func @norm_quantized_dynamically
//       CHECK: %[[N:.+]]:3 = exec.kernel "rows"
//       CHECK:   llm.layer_norm
//       CHECK:   llm.reduce min {{.*}} axes = [1]
//       CHECK:   llm.reduce max {{.*}} axes = [1]
//       CHECK: exec.kernel "loops"(%[[N]]#1, %[[N]]#2
//       CHECK:   llm.reduce min {{.*}} axes = [0]
//       CHECK:   llm.reduce max {{.*}} axes = [0]
//       CHECK:   llm.mul {{.*}} -> tensor<64xi32>
//       CHECK: exec.kernel "linear"(%[[N]]#0
//       CHECK:   llm.round
//       CHECK:   llm.matmul
//   CHECK-NOT: exec.kernel
func.func @norm_quantized_dynamically(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}) -> tensor<?x64xf32> {
  %w = llm.weight "w" : tensor<64x64xi8>
  %sums = llm.weight "sums" : tensor<64xi32>
  %top = llm.constant dense<255.0> : tensor<f32>
  %n = llm.layer_norm %x {epsilon = 1.0e-5 : f32} : tensor<?x64xf32> -> tensor<?x64xf32>
  %lows = llm.reduce min %n axes = [1] : tensor<?x64xf32> -> tensor<?xf32>
  %low = llm.reduce min %lows axes = [0] : tensor<?xf32> -> tensor<f32>
  %highs = llm.reduce max %n axes = [1] : tensor<?x64xf32> -> tensor<?xf32>
  %high = llm.reduce max %highs axes = [0] : tensor<?xf32> -> tensor<f32>
  %span = llm.sub %high, %low : tensor<f32>, tensor<f32> -> tensor<f32>
  %scale = llm.div %span, %top : tensor<f32>, tensor<f32> -> tensor<f32>
  %steps = llm.div %low, %scale : tensor<f32>, tensor<f32> -> tensor<f32>
  %zero = llm.round %steps : tensor<f32>
  %point = llm.cast %zero : tensor<f32> -> tensor<i32>
  %0 = llm.div %n, %scale : tensor<?x64xf32>, tensor<f32> -> tensor<?x64xf32>
  %1 = llm.round %0 : tensor<?x64xf32>
  %2 = llm.sub %1, %zero : tensor<?x64xf32>, tensor<f32> -> tensor<?x64xf32>
  %3 = llm.cast %2 : tensor<?x64xf32> -> tensor<?x64xui8>
  %4 = llm.matmul %3, %w : tensor<?x64xui8>, tensor<64x64xi8> -> tensor<?x64xi32>
  %5 = llm.mul %point, %sums : tensor<i32>, tensor<64xi32> -> tensor<64xi32>
  %6 = llm.add %4, %5 : tensor<?x64xi32>, tensor<64xi32> -> tensor<?x64xi32>
  %7 = llm.cast %6 : tensor<?x64xi32> -> tensor<?x64xf32>
  %8 = llm.mul %7, %scale : tensor<?x64xf32>, tensor<f32> -> tensor<?x64xf32>
  %9 = llm.add %8, %n : tensor<?x64xf32>, tensor<?x64xf32> -> tensor<?x64xf32>
  return %9 : tensor<?x64xf32>
}

// A whole tensor's extrema and the numbers made of them share a kernel; no other nest joins it, since all its threads would go over the tensor.
// CHECK-LABEL: func.func @tensor_quantized_dynamically
//       CHECK: exec.kernel "loops"
//       CHECK:   llm.reduce max
//       CHECK:   llm.round
//       CHECK:   exec.yield
//       CHECK: exec.kernel "loops"
//       CHECK:   llm.mul {{.*}} -> tensor<8xi32>
func.func @tensor_quantized_dynamically(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}, %s: tensor<8xi32>) -> (tensor<i32>, tensor<8xi32>) {
  %high = llm.reduce max %x axes = [0, 1] : tensor<?x64xf32> -> tensor<f32>
  %zero = llm.round %high : tensor<f32>
  %point = llm.cast %zero : tensor<f32> -> tensor<i32>
  %0 = llm.mul %point, %s : tensor<i32>, tensor<8xi32> -> tensor<8xi32>
  return %point, %0 : tensor<i32>, tensor<8xi32>
}

// Numbers that reach a vector by way of views, which are made between kernels, are no part of its kernel.
// CHECK-LABEL: func.func @numbers_by_way_of_views
//       CHECK:   %[[N:.+]] = exec.kernel "loops"
//       CHECK:   llm.expand_dims %[[N]]
//       CHECK:   exec.kernel "loops"
//       CHECK:     llm.concat
func.func @numbers_by_way_of_views(%start: tensor<bf16>, %delta: tensor<bf16>) -> tensor<2xbf16> {
  %0 = llm.cast %start : tensor<bf16> -> tensor<f32>
  %1 = llm.cast %delta : tensor<bf16> -> tensor<f32>
  %2 = llm.add %0, %1 : tensor<f32>, tensor<f32> -> tensor<f32>
  %3 = llm.expand_dims %0 axes = [0] : tensor<f32> -> tensor<1xf32>
  %4 = llm.expand_dims %2 axes = [0] : tensor<f32> -> tensor<1xf32>
  %5 = llm.concat %3, %4 {axis = 0 : i64} : tensor<1xf32>, tensor<1xf32> -> tensor<2xf32>
  %6 = llm.cast %5 : tensor<2xf32> -> tensor<2xbf16>
  return %6 : tensor<2xbf16>
}

// A right operand that is computed, or other bytes: no projection.
// CHECK-LABEL: func.func @no_weight
//   CHECK-NOT: exec.kernel "linear"
func.func @no_weight(%x: tensor<3x8xui8>, %y: tensor<8x4xi8>, %z: tensor<3x8xi8>) -> (tensor<3x4xi32>, tensor<3x4xi32>) {
  %w = llm.weight "w" : tensor<8x4xi8>
  %0 = llm.matmul %x, %y : tensor<3x8xui8>, tensor<8x4xi8> -> tensor<3x4xi32>
  %1 = llm.matmul %z, %w : tensor<3x8xi8>, tensor<8x4xi8> -> tensor<3x4xi32>
  return %0, %1 : tensor<3x4xi32>, tensor<3x4xi32>
}
