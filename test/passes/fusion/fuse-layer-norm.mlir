// RUN: llmopt-opt %s --llmopt-fuse=only=fuse-layer-norm | FileCheck %s
// REQUIRES: llmopt-opt

// CHECK-LABEL: func.func @with_scale_and_bias
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<?x64xf32>{{.*}} %[[W:[a-z0-9]+]]: tensor<64xf32>, %[[B:[a-z0-9]+]]: tensor<64xf32>
//       CHECK:   %[[Y:.+]] = llm.layer_norm %[[X]] scale %[[W]] : tensor<64xf32> bias %[[B]] : tensor<64xf32> {epsilon = 9.99999974E-6 : f32}
//       CHECK:   return %[[Y]]
func.func @with_scale_and_bias(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}, %w: tensor<64xf32>, %b: tensor<64xf32>) -> tensor<?x64xf32> {
  %eps = llm.constant dense<1.0e-5> : tensor<f32>
  %two = llm.constant dense<2.0> : tensor<f32>
  %mean = llm.reduce mean %x axes = [1] {keepdims} : tensor<?x64xf32> -> tensor<?x1xf32>
  %c = llm.sub %x, %mean : tensor<?x64xf32>, tensor<?x1xf32> -> tensor<?x64xf32>
  %q = llm.pow %c, %two : tensor<?x64xf32>, tensor<f32> -> tensor<?x64xf32>
  %v = llm.reduce mean %q axes = [1] {keepdims} : tensor<?x64xf32> -> tensor<?x1xf32>
  %e = llm.add %v, %eps : tensor<?x1xf32>, tensor<f32> -> tensor<?x1xf32>
  %s = llm.sqrt %e : tensor<?x1xf32>
  %n = llm.div %c, %s : tensor<?x64xf32>, tensor<?x1xf32> -> tensor<?x64xf32>
  %t = llm.mul %n, %w : tensor<?x64xf32>, tensor<64xf32> -> tensor<?x64xf32>
  %y = llm.add %t, %b : tensor<?x64xf32>, tensor<64xf32> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// CHECK-LABEL: func.func @keeps_mean_over_another_axis
//   CHECK-NOT:   llm.layer_norm
func.func @keeps_mean_over_another_axis(%x: tensor<8x64xf32>) -> tensor<8x64xf32> {
  %eps = llm.constant dense<1.0e-5> : tensor<f32>
  %mean = llm.reduce mean %x axes = [0] {keepdims} : tensor<8x64xf32> -> tensor<1x64xf32>
  %c = llm.sub %x, %mean : tensor<8x64xf32>, tensor<1x64xf32> -> tensor<8x64xf32>
  %q = llm.mul %c, %c : tensor<8x64xf32>, tensor<8x64xf32> -> tensor<8x64xf32>
  %v = llm.reduce mean %q axes = [0] {keepdims} : tensor<8x64xf32> -> tensor<1x64xf32>
  %e = llm.add %v, %eps : tensor<1x64xf32>, tensor<f32> -> tensor<1x64xf32>
  %s = llm.sqrt %e : tensor<1x64xf32>
  %n = llm.div %c, %s : tensor<8x64xf32>, tensor<1x64xf32> -> tensor<8x64xf32>
  return %n : tensor<8x64xf32>
}

// The variance is that of another value.
// CHECK-LABEL: func.func @keeps_foreign_variance
//   CHECK-NOT:   llm.layer_norm
func.func @keeps_foreign_variance(%x: tensor<8x64xf32>, %z: tensor<8x64xf32>) -> tensor<8x64xf32> {
  %eps = llm.constant dense<1.0e-5> : tensor<f32>
  %mean = llm.reduce mean %x axes = [1] {keepdims} : tensor<8x64xf32> -> tensor<8x1xf32>
  %c = llm.sub %x, %mean : tensor<8x64xf32>, tensor<8x1xf32> -> tensor<8x64xf32>
  %q = llm.mul %z, %z : tensor<8x64xf32>, tensor<8x64xf32> -> tensor<8x64xf32>
  %v = llm.reduce mean %q axes = [1] {keepdims} : tensor<8x64xf32> -> tensor<8x1xf32>
  %e = llm.add %v, %eps : tensor<8x1xf32>, tensor<f32> -> tensor<8x1xf32>
  %s = llm.sqrt %e : tensor<8x1xf32>
  %n = llm.div %c, %s : tensor<8x64xf32>, tensor<8x1xf32> -> tensor<8x64xf32>
  return %n : tensor<8x64xf32>
}

// The variance as the mean square less the squared mean, as Flax computes it.
// CHECK-LABEL: func.func @second_moment
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<3x8xf32>
//       CHECK:   llm.layer_norm %[[X]] {epsilon = 9.99999974E-6 : f32}
func.func @second_moment(%x: tensor<3x8xf32>, %z: tensor<3x8xf32>) -> tensor<3x8xf32> {
  %eps = llm.constant dense<1.0e-5> : tensor<f32>
  %zero = llm.constant dense<0.0> : tensor<f32>
  %mean = llm.reduce mean %x axes = [1] {keepdims} : tensor<3x8xf32> -> tensor<3x1xf32>
  %other = llm.reduce mean %z axes = [1] {keepdims} : tensor<3x8xf32> -> tensor<3x1xf32>
  %c = llm.sub %x, %mean : tensor<3x8xf32>, tensor<3x1xf32> -> tensor<3x8xf32>
  %sq = llm.mul %x, %x : tensor<3x8xf32>, tensor<3x8xf32> -> tensor<3x8xf32>
  %moment = llm.reduce mean %sq axes = [1] {keepdims} : tensor<3x8xf32> -> tensor<3x1xf32>
  %msq = llm.mul %mean, %mean : tensor<3x1xf32>, tensor<3x1xf32> -> tensor<3x1xf32>
  %raw = llm.sub %moment, %msq : tensor<3x1xf32>, tensor<3x1xf32> -> tensor<3x1xf32>
  %var = llm.max %raw, %zero : tensor<3x1xf32>, tensor<f32> -> tensor<3x1xf32>
  %e = llm.add %var, %eps : tensor<3x1xf32>, tensor<f32> -> tensor<3x1xf32>
  %s = llm.sqrt %e : tensor<3x1xf32>
  %y = llm.div %c, %s : tensor<3x8xf32>, tensor<3x1xf32> -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}

// Another value's mean is squared.
// CHECK-LABEL: func.func @keeps_square_of_other_mean
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<3x8xf32>
//   CHECK-NOT:   llm.layer_norm
func.func @keeps_square_of_other_mean(%x: tensor<3x8xf32>, %z: tensor<3x8xf32>) -> tensor<3x8xf32> {
  %eps = llm.constant dense<1.0e-5> : tensor<f32>
  %zero = llm.constant dense<0.0> : tensor<f32>
  %mean = llm.reduce mean %x axes = [1] {keepdims} : tensor<3x8xf32> -> tensor<3x1xf32>
  %other = llm.reduce mean %z axes = [1] {keepdims} : tensor<3x8xf32> -> tensor<3x1xf32>
  %c = llm.sub %x, %mean : tensor<3x8xf32>, tensor<3x1xf32> -> tensor<3x8xf32>
  %sq = llm.mul %x, %x : tensor<3x8xf32>, tensor<3x8xf32> -> tensor<3x8xf32>
  %moment = llm.reduce mean %sq axes = [1] {keepdims} : tensor<3x8xf32> -> tensor<3x1xf32>
  %msq = llm.mul %other, %other : tensor<3x1xf32>, tensor<3x1xf32> -> tensor<3x1xf32>
  %raw = llm.sub %moment, %msq : tensor<3x1xf32>, tensor<3x1xf32> -> tensor<3x1xf32>
  %var = llm.max %raw, %zero : tensor<3x1xf32>, tensor<f32> -> tensor<3x1xf32>
  %e = llm.add %var, %eps : tensor<3x1xf32>, tensor<f32> -> tensor<3x1xf32>
  %s = llm.sqrt %e : tensor<3x1xf32>
  %y = llm.div %c, %s : tensor<3x8xf32>, tensor<3x1xf32> -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}

// What is centered is read elsewhere as well: of the norm's seven operations two are left beside it.
// CHECK-LABEL: func.func @centered_values_that_escape
//       CHECK:   llm.sub
//       CHECK:   llm.layer_norm
//   CHECK-NOT:   llm.div
func.func @centered_values_that_escape(%x: tensor<3x8xf32>) -> (tensor<3x8xf32>, tensor<3x8xf32>) {
  %eps = llm.constant dense<1.0e-5> : tensor<f32>
  %mean = llm.reduce mean %x axes = [1] {keepdims} : tensor<3x8xf32> -> tensor<3x1xf32>
  %c = llm.sub %x, %mean : tensor<3x8xf32>, tensor<3x1xf32> -> tensor<3x8xf32>
  %sq = llm.mul %c, %c : tensor<3x8xf32>, tensor<3x8xf32> -> tensor<3x8xf32>
  %var = llm.reduce mean %sq axes = [1] {keepdims} : tensor<3x8xf32> -> tensor<3x1xf32>
  %e = llm.add %var, %eps : tensor<3x1xf32>, tensor<f32> -> tensor<3x1xf32>
  %s = llm.sqrt %e : tensor<3x1xf32>
  %y = llm.div %c, %s : tensor<3x8xf32>, tensor<3x1xf32> -> tensor<3x8xf32>
  return %y, %c : tensor<3x8xf32>, tensor<3x8xf32>
}

// The variance passes through f16.
// CHECK-LABEL: func.func @keeps_variance_in_another_type
//   CHECK-NOT:   llm.layer_norm
func.func @keeps_variance_in_another_type(%x: tensor<3x8xf32>) -> (tensor<3x8xf32>) {
  %eps = llm.constant dense<1.0e-5> : tensor<f32>
  %mean = llm.reduce mean %x axes = [1] {keepdims} : tensor<3x8xf32> -> tensor<3x1xf32>
  %c = llm.sub %x, %mean : tensor<3x8xf32>, tensor<3x1xf32> -> tensor<3x8xf32>
  %sq = llm.mul %c, %c : tensor<3x8xf32>, tensor<3x8xf32> -> tensor<3x8xf32>
  %var = llm.reduce mean %sq axes = [1] {keepdims} : tensor<3x8xf32> -> tensor<3x1xf32>
  %h = llm.cast %var : tensor<3x1xf32> -> tensor<3x1xf16>
  %wide = llm.cast %h : tensor<3x1xf16> -> tensor<3x1xf32>
  %e = llm.add %wide, %eps : tensor<3x1xf32>, tensor<f32> -> tensor<3x1xf32>
  %s = llm.sqrt %e : tensor<3x1xf32>
  %y = llm.div %c, %s : tensor<3x8xf32>, tensor<3x1xf32> -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}

// The width is not known: the norm has no need to.
// CHECK-LABEL: func.func @rows_of_unknown_width
//       CHECK:   llm.layer_norm %{{[a-z0-9]+}} {epsilon
func.func @rows_of_unknown_width(%x: tensor<?x?xf32> {llm.dims = ["n", "d"]}) -> (tensor<?x?xf32>) {
  %eps = llm.constant dense<1.0e-5> : tensor<f32>
  %mean = llm.reduce mean %x axes = [1] {keepdims} : tensor<?x?xf32> -> tensor<?x1xf32>
  %c = llm.sub %x, %mean : tensor<?x?xf32>, tensor<?x1xf32> -> tensor<?x?xf32>
  %sq = llm.mul %c, %c : tensor<?x?xf32>, tensor<?x?xf32> -> tensor<?x?xf32>
  %var = llm.reduce mean %sq axes = [1] {keepdims} : tensor<?x?xf32> -> tensor<?x1xf32>
  %e = llm.add %var, %eps : tensor<?x1xf32>, tensor<f32> -> tensor<?x1xf32>
  %s = llm.sqrt %e : tensor<?x1xf32>
  %y = llm.div %c, %s : tensor<?x?xf32>, tensor<?x1xf32> -> tensor<?x?xf32>
  return %y : tensor<?x?xf32>
}

// A sum over an unknown number of elements, divided by 8: nobody knows that it is their mean.
// CHECK-LABEL: func.func @keeps_sum_over_unknown_width
//   CHECK-NOT:   llm.layer_norm
func.func @keeps_sum_over_unknown_width(%x: tensor<?x?xf32> {llm.dims = ["n", "d"]}) -> (tensor<?x?xf32>) {
  %eps = llm.constant dense<1.0e-5> : tensor<f32>
  %eight = llm.constant dense<8.0> : tensor<f32>
  %sum = llm.reduce sum %x axes = [1] {keepdims} : tensor<?x?xf32> -> tensor<?x1xf32>
  %mean = llm.div %sum, %eight : tensor<?x1xf32>, tensor<f32> -> tensor<?x1xf32>
  %c = llm.sub %x, %mean : tensor<?x?xf32>, tensor<?x1xf32> -> tensor<?x?xf32>
  %sq = llm.mul %c, %c : tensor<?x?xf32>, tensor<?x?xf32> -> tensor<?x?xf32>
  %var = llm.reduce mean %sq axes = [1] {keepdims} : tensor<?x?xf32> -> tensor<?x1xf32>
  %e = llm.add %var, %eps : tensor<?x1xf32>, tensor<f32> -> tensor<?x1xf32>
  %s = llm.sqrt %e : tensor<?x1xf32>
  %y = llm.div %c, %s : tensor<?x?xf32>, tensor<?x1xf32> -> tensor<?x?xf32>
  return %y : tensor<?x?xf32>
}
