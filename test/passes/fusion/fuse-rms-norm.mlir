// RUN: llmopt-opt %s --llmopt-fuse=only=fuse-rms-norm | FileCheck %s
// REQUIRES: llmopt-opt

// CHECK-LABEL: func.func @reciprocal_of_root
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<?x64xf32>{{.*}} %[[W:[a-z0-9]+]]: tensor<64xf32>
//       CHECK:   llm.rms_norm %[[X]] scale %[[W]] : tensor<64xf32> {epsilon = 9.99999974E-6 : f32}
func.func @reciprocal_of_root(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}, %w: tensor<64xf32>) -> tensor<?x64xf32> {
  %eps = llm.constant dense<1.0e-5> : tensor<f32>
  %two = llm.constant dense<2.0> : tensor<f32>
  %q = llm.pow %x, %two : tensor<?x64xf32>, tensor<f32> -> tensor<?x64xf32>
  %v = llm.reduce mean %q axes = [1] {keepdims} : tensor<?x64xf32> -> tensor<?x1xf32>
  %e = llm.add %v, %eps : tensor<?x1xf32>, tensor<f32> -> tensor<?x1xf32>
  %s = llm.sqrt %e : tensor<?x1xf32>
  %r = llm.reciprocal %s : tensor<?x1xf32>
  %n = llm.mul %x, %r : tensor<?x64xf32>, tensor<?x1xf32> -> tensor<?x64xf32>
  %y = llm.mul %w, %n : tensor<64xf32>, tensor<?x64xf32> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// The mean is that of another value.
// CHECK-LABEL: func.func @keeps_foreign_mean
//   CHECK-NOT:   llm.rms_norm
func.func @keeps_foreign_mean(%x: tensor<8x64xf32>, %z: tensor<8x64xf32>) -> tensor<8x64xf32> {
  %eps = llm.constant dense<1.0e-5> : tensor<f32>
  %q = llm.mul %z, %z : tensor<8x64xf32>, tensor<8x64xf32> -> tensor<8x64xf32>
  %v = llm.reduce mean %q axes = [1] {keepdims} : tensor<8x64xf32> -> tensor<8x1xf32>
  %e = llm.add %v, %eps : tensor<8x1xf32>, tensor<f32> -> tensor<8x1xf32>
  %s = llm.rsqrt %e : tensor<8x1xf32>
  %y = llm.mul %x, %s : tensor<8x64xf32>, tensor<8x1xf32> -> tensor<8x64xf32>
  return %y : tensor<8x64xf32>
}

// An exporter left out an epsilon that was too small for it.
// CHECK-LABEL: func.func @without_epsilon
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<8x64xf32>
//       CHECK:   llm.rms_norm %[[X]] {epsilon = 0.000000e+00 : f32}
func.func @without_epsilon(%x: tensor<8x64xf32>) -> tensor<8x64xf32> {
  %q = llm.mul %x, %x : tensor<8x64xf32>, tensor<8x64xf32> -> tensor<8x64xf32>
  %v = llm.reduce mean %q axes = [1] {keepdims} : tensor<8x64xf32> -> tensor<8x1xf32>
  %s = llm.sqrt %v : tensor<8x1xf32>
  %r = llm.reciprocal %s : tensor<8x1xf32>
  %y = llm.mul %x, %r : tensor<8x64xf32>, tensor<8x1xf32> -> tensor<8x64xf32>
  return %y : tensor<8x64xf32>
}

// The sum of squares is not their mean.
// CHECK-LABEL: func.func @keeps_unit_length
//   CHECK-NOT:   llm.rms_norm
func.func @keeps_unit_length(%x: tensor<8x64xf32>) -> tensor<8x64xf32> {
  %q = llm.mul %x, %x : tensor<8x64xf32>, tensor<8x64xf32> -> tensor<8x64xf32>
  %v = llm.reduce sum %q axes = [1] {keepdims} : tensor<8x64xf32> -> tensor<8x1xf32>
  %s = llm.sqrt %v : tensor<8x1xf32>
  %y = llm.div %x, %s : tensor<8x64xf32>, tensor<8x1xf32> -> tensor<8x64xf32>
  return %y : tensor<8x64xf32>
}
