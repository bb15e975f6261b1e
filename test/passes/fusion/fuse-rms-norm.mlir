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

// The factor is read elsewhere as well: it is left, one number a row; the rows are passed over once less all the same.
// CHECK-LABEL: func.func @factor_that_escapes
//       CHECK:   llm.rsqrt
//       CHECK:   llm.rms_norm
func.func @factor_that_escapes(%x: tensor<8x8xf32>) -> (tensor<8x8xf32>, tensor<8x1xf32>) {
  %eps = llm.constant dense<1.0e-5> : tensor<f32>
  %q = llm.mul %x, %x : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
  %v = llm.reduce mean %q axes = [1] {keepdims} : tensor<8x8xf32> -> tensor<8x1xf32>
  %e = llm.add %v, %eps : tensor<8x1xf32>, tensor<f32> -> tensor<8x1xf32>
  %s = llm.rsqrt %e : tensor<8x1xf32>
  %y = llm.mul %x, %s : tensor<8x8xf32>, tensor<8x1xf32> -> tensor<8x8xf32>
  return %y, %s : tensor<8x8xf32>, tensor<8x1xf32>
}

// Along columns.
// CHECK-LABEL: func.func @keeps_other_axis
//   CHECK-NOT:   llm.rms_norm
func.func @keeps_other_axis(%x: tensor<8x8xf32>) -> (tensor<8x8xf32>) {
  %eps = llm.constant dense<1.0e-5> : tensor<f32>
  %q = llm.mul %x, %x : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
  %v = llm.reduce mean %q axes = [0] {keepdims} : tensor<8x8xf32> -> tensor<1x8xf32>
  %e = llm.add %v, %eps : tensor<1x8xf32>, tensor<f32> -> tensor<1x8xf32>
  %s = llm.rsqrt %e : tensor<1x8xf32>
  %y = llm.mul %x, %s : tensor<8x8xf32>, tensor<1x8xf32> -> tensor<8x8xf32>
  return %y : tensor<8x8xf32>
}

// The factor passes through f16.
// CHECK-LABEL: func.func @keeps_factor_in_another_type
//   CHECK-NOT:   llm.rms_norm
func.func @keeps_factor_in_another_type(%x: tensor<8x8xf32>) -> (tensor<8x8xf32>) {
  %eps = llm.constant dense<1.0e-5> : tensor<f32>
  %q = llm.mul %x, %x : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
  %v = llm.reduce mean %q axes = [1] {keepdims} : tensor<8x8xf32> -> tensor<8x1xf32>
  %e = llm.add %v, %eps : tensor<8x1xf32>, tensor<f32> -> tensor<8x1xf32>
  %s = llm.rsqrt %e : tensor<8x1xf32>
  %h = llm.cast %s : tensor<8x1xf32> -> tensor<8x1xf16>
  %wide = llm.cast %h : tensor<8x1xf16> -> tensor<8x1xf32>
  %y = llm.mul %x, %wide : tensor<8x8xf32>, tensor<8x1xf32> -> tensor<8x8xf32>
  return %y : tensor<8x8xf32>
}

// The width is not known: the norm has no need to.
// CHECK-LABEL: func.func @rows_of_unknown_width
//       CHECK:   llm.rms_norm
func.func @rows_of_unknown_width(%x: tensor<?x?xf32> {llm.dims = ["n", "d"]}) -> (tensor<?x?xf32>) {
  %eps = llm.constant dense<1.0e-5> : tensor<f32>
  %q = llm.mul %x, %x : tensor<?x?xf32>, tensor<?x?xf32> -> tensor<?x?xf32>
  %v = llm.reduce mean %q axes = [1] {keepdims} : tensor<?x?xf32> -> tensor<?x1xf32>
  %e = llm.add %v, %eps : tensor<?x1xf32>, tensor<f32> -> tensor<?x1xf32>
  %s = llm.rsqrt %e : tensor<?x1xf32>
  %y = llm.mul %x, %s : tensor<?x?xf32>, tensor<?x1xf32> -> tensor<?x?xf32>
  return %y : tensor<?x?xf32>
}
