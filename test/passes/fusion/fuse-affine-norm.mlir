// RUN: llmopt-opt %s --llmopt-fuse=only=fuse-affine-norm | FileCheck %s
// RUN: llmopt-opt %s --llmopt-fuse="only=fuse-affine-norm verify" -o /dev/null
// REQUIRES: llmopt-opt

// CHECK-LABEL: func.func @keras
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<?x7x8xf32>
//       CHECK:   %[[Y:.+]] = llm.layer_norm %[[X]] scale %{{.+}} : tensor<8xf32> bias %{{.+}} : tensor<8xf32> {epsilon = 9.99999996E-13 : f32}
//       CHECK:   return %[[Y]]
func.func @keras(%x: tensor<?x7x8xf32> {llm.dims = ["b", 7, 8]}, %w: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<?x7x8xf32> {
  %eps = llm.constant dense<1.0e-12> : tensor<f32>
  %mean = llm.reduce mean %x axes = [2] {keepdims} : tensor<?x7x8xf32> -> tensor<?x7x1xf32>
  %c = llm.sub %x, %mean : tensor<?x7x8xf32>, tensor<?x7x1xf32> -> tensor<?x7x8xf32>
  %sq = llm.mul %c, %c : tensor<?x7x8xf32>, tensor<?x7x8xf32> -> tensor<?x7x8xf32>
  %var = llm.reduce mean %sq axes = [2] {keepdims} : tensor<?x7x8xf32> -> tensor<?x7x1xf32>
  %e = llm.add %var, %eps : tensor<?x7x1xf32>, tensor<f32> -> tensor<?x7x1xf32>
  %s = llm.sqrt %e : tensor<?x7x1xf32>
  %i = llm.reciprocal %s : tensor<?x7x1xf32>
  %g = llm.mul %i, %w : tensor<?x7x1xf32>, tensor<8xf32> -> tensor<?x7x8xf32>
  %xg = llm.mul %x, %g : tensor<?x7x8xf32>, tensor<?x7x8xf32> -> tensor<?x7x8xf32>
  %mg = llm.mul %mean, %g : tensor<?x7x1xf32>, tensor<?x7x8xf32> -> tensor<?x7x8xf32>
  %d = llm.sub %b, %mg : tensor<8xf32>, tensor<?x7x8xf32> -> tensor<?x7x8xf32>
  %y = llm.add %xg, %d : tensor<?x7x8xf32>, tensor<?x7x8xf32> -> tensor<?x7x8xf32>
  return %y : tensor<?x7x8xf32>
}

// Without a scale; the operands of the sum in the other order; the mean as a sum.
// CHECK-LABEL: func.func @without_scale
//       CHECK:   llm.layer_norm %{{[a-z0-9]+}} bias
func.func @without_scale(%x: tensor<3x8xf32>, %b: tensor<8xf32>) -> tensor<3x8xf32> {
  %eps = llm.constant dense<1.0e-5> : tensor<f32>
  %eighth = llm.constant dense<0.125> : tensor<f32>
  %sum = llm.reduce sum %x axes = [1] {keepdims} : tensor<3x8xf32> -> tensor<3x1xf32>
  %mean = llm.mul %sum, %eighth : tensor<3x1xf32>, tensor<f32> -> tensor<3x1xf32>
  %c = llm.sub %x, %mean : tensor<3x8xf32>, tensor<3x1xf32> -> tensor<3x8xf32>
  %sq = llm.mul %c, %c : tensor<3x8xf32>, tensor<3x8xf32> -> tensor<3x8xf32>
  %var = llm.reduce mean %sq axes = [1] {keepdims} : tensor<3x8xf32> -> tensor<3x1xf32>
  %e = llm.add %var, %eps : tensor<3x1xf32>, tensor<f32> -> tensor<3x1xf32>
  %g = llm.rsqrt %e : tensor<3x1xf32>
  %xg = llm.mul %x, %g : tensor<3x8xf32>, tensor<3x1xf32> -> tensor<3x8xf32>
  %mg = llm.mul %mean, %g : tensor<3x1xf32>, tensor<3x1xf32> -> tensor<3x1xf32>
  %d = llm.sub %b, %mg : tensor<8xf32>, tensor<3x1xf32> -> tensor<3x8xf32>
  %y = llm.add %d, %xg : tensor<3x8xf32>, tensor<3x8xf32> -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}

// The mean is negated first, as Keras 3 does.
// CHECK-LABEL: func.func @negated_mean
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<3x8xf32>
//       CHECK:   %[[Y:.+]] = llm.layer_norm %[[X]] scale %{{.+}} : tensor<8xf32> bias %{{.+}} : tensor<8xf32> {epsilon = 9.99999974E-6 : f32}
//       CHECK:   return %[[Y]]
func.func @negated_mean(%x: tensor<3x8xf32>, %w: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<3x8xf32> {
  %eps = llm.constant dense<1.0e-5> : tensor<f32>
  %mean = llm.reduce mean %x axes = [1] {keepdims} : tensor<3x8xf32> -> tensor<3x1xf32>
  %neg = llm.neg %mean : tensor<3x1xf32>
  %c = llm.sub %x, %mean : tensor<3x8xf32>, tensor<3x1xf32> -> tensor<3x8xf32>
  %sq = llm.mul %c, %c : tensor<3x8xf32>, tensor<3x8xf32> -> tensor<3x8xf32>
  %var = llm.reduce mean %sq axes = [1] {keepdims} : tensor<3x8xf32> -> tensor<3x1xf32>
  %e = llm.add %var, %eps : tensor<3x1xf32>, tensor<f32> -> tensor<3x1xf32>
  %i = llm.rsqrt %e : tensor<3x1xf32>
  %g = llm.mul %i, %w : tensor<3x1xf32>, tensor<8xf32> -> tensor<3x8xf32>
  %xg = llm.mul %x, %g : tensor<3x8xf32>, tensor<3x8xf32> -> tensor<3x8xf32>
  %mg = llm.mul %neg, %g : tensor<3x1xf32>, tensor<3x8xf32> -> tensor<3x8xf32>
  %d = llm.add %mg, %b : tensor<3x8xf32>, tensor<8xf32> -> tensor<3x8xf32>
  %y = llm.add %xg, %d : tensor<3x8xf32>, tensor<3x8xf32> -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}

// The mean is added, not taken off.
// CHECK-LABEL: func.func @keeps_added_mean
//   CHECK-NOT:   llm.layer_norm
func.func @keeps_added_mean(%x: tensor<3x8xf32>, %w: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<3x8xf32> {
  %eps = llm.constant dense<1.0e-5> : tensor<f32>
  %mean = llm.reduce mean %x axes = [1] {keepdims} : tensor<3x8xf32> -> tensor<3x1xf32>
  %neg = llm.neg %mean : tensor<3x1xf32>
  %c = llm.sub %x, %mean : tensor<3x8xf32>, tensor<3x1xf32> -> tensor<3x8xf32>
  %sq = llm.mul %c, %c : tensor<3x8xf32>, tensor<3x8xf32> -> tensor<3x8xf32>
  %var = llm.reduce mean %sq axes = [1] {keepdims} : tensor<3x8xf32> -> tensor<3x1xf32>
  %e = llm.add %var, %eps : tensor<3x1xf32>, tensor<f32> -> tensor<3x1xf32>
  %i = llm.rsqrt %e : tensor<3x1xf32>
  %g = llm.mul %i, %w : tensor<3x1xf32>, tensor<8xf32> -> tensor<3x8xf32>
  %xg = llm.mul %x, %g : tensor<3x8xf32>, tensor<3x8xf32> -> tensor<3x8xf32>
  %mg = llm.mul %mean, %g : tensor<3x1xf32>, tensor<3x8xf32> -> tensor<3x8xf32>
  %d = llm.add %mg, %b : tensor<3x8xf32>, tensor<8xf32> -> tensor<3x8xf32>
  %y = llm.add %xg, %d : tensor<3x8xf32>, tensor<3x8xf32> -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}

// The mean that is taken off is that of another value.
// CHECK-LABEL: func.func @keeps_other_mean
//   CHECK-NOT:   llm.layer_norm
func.func @keeps_other_mean(%x: tensor<3x8xf32>, %z: tensor<3x8xf32>, %b: tensor<8xf32>) -> tensor<3x8xf32> {
  %eps = llm.constant dense<1.0e-5> : tensor<f32>
  %mean = llm.reduce mean %z axes = [1] {keepdims} : tensor<3x8xf32> -> tensor<3x1xf32>
  %c = llm.sub %x, %mean : tensor<3x8xf32>, tensor<3x1xf32> -> tensor<3x8xf32>
  %sq = llm.mul %c, %c : tensor<3x8xf32>, tensor<3x8xf32> -> tensor<3x8xf32>
  %var = llm.reduce mean %sq axes = [1] {keepdims} : tensor<3x8xf32> -> tensor<3x1xf32>
  %e = llm.add %var, %eps : tensor<3x1xf32>, tensor<f32> -> tensor<3x1xf32>
  %g = llm.rsqrt %e : tensor<3x1xf32>
  %xg = llm.mul %x, %g : tensor<3x8xf32>, tensor<3x1xf32> -> tensor<3x8xf32>
  %mg = llm.mul %mean, %g : tensor<3x1xf32>, tensor<3x1xf32> -> tensor<3x1xf32>
  %d = llm.sub %b, %mg : tensor<8xf32>, tensor<3x1xf32> -> tensor<3x8xf32>
  %y = llm.add %d, %xg : tensor<3x8xf32>, tensor<3x8xf32> -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}

// The variance of an axis that is not the last (batch normalization proper).
// CHECK-LABEL: func.func @keeps_other_axis
//   CHECK-NOT:   llm.layer_norm
func.func @keeps_other_axis(%x: tensor<8x8xf32>, %b: tensor<8xf32>) -> tensor<8x8xf32> {
  %eps = llm.constant dense<1.0e-5> : tensor<f32>
  %mean = llm.reduce mean %x axes = [0] {keepdims} : tensor<8x8xf32> -> tensor<1x8xf32>
  %c = llm.sub %x, %mean : tensor<8x8xf32>, tensor<1x8xf32> -> tensor<8x8xf32>
  %sq = llm.mul %c, %c : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
  %var = llm.reduce mean %sq axes = [0] {keepdims} : tensor<8x8xf32> -> tensor<1x8xf32>
  %e = llm.add %var, %eps : tensor<1x8xf32>, tensor<f32> -> tensor<1x8xf32>
  %g = llm.rsqrt %e : tensor<1x8xf32>
  %xg = llm.mul %x, %g : tensor<8x8xf32>, tensor<1x8xf32> -> tensor<8x8xf32>
  %mg = llm.mul %mean, %g : tensor<1x8xf32>, tensor<1x8xf32> -> tensor<1x8xf32>
  %d = llm.sub %b, %mg : tensor<8xf32>, tensor<1x8xf32> -> tensor<1x8xf32>
  %y = llm.add %d, %xg : tensor<1x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
  return %y : tensor<8x8xf32>
}

// A bias for each row instead of each column.
// CHECK-LABEL: func.func @keeps_column_bias
//   CHECK-NOT:   llm.layer_norm
func.func @keeps_column_bias(%x: tensor<3x8xf32>, %b: tensor<3x1xf32>) -> tensor<3x8xf32> {
  %eps = llm.constant dense<1.0e-5> : tensor<f32>
  %mean = llm.reduce mean %x axes = [1] {keepdims} : tensor<3x8xf32> -> tensor<3x1xf32>
  %c = llm.sub %x, %mean : tensor<3x8xf32>, tensor<3x1xf32> -> tensor<3x8xf32>
  %sq = llm.mul %c, %c : tensor<3x8xf32>, tensor<3x8xf32> -> tensor<3x8xf32>
  %var = llm.reduce mean %sq axes = [1] {keepdims} : tensor<3x8xf32> -> tensor<3x1xf32>
  %e = llm.add %var, %eps : tensor<3x1xf32>, tensor<f32> -> tensor<3x1xf32>
  %g = llm.rsqrt %e : tensor<3x1xf32>
  %xg = llm.mul %x, %g : tensor<3x8xf32>, tensor<3x1xf32> -> tensor<3x8xf32>
  %mg = llm.mul %mean, %g : tensor<3x1xf32>, tensor<3x1xf32> -> tensor<3x1xf32>
  %d = llm.sub %b, %mg : tensor<3x1xf32>, tensor<3x1xf32> -> tensor<3x1xf32>
  %y = llm.add %d, %xg : tensor<3x1xf32>, tensor<3x8xf32> -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}

// The scaled values are read elsewhere as well: they are left, the rest is gone.
// CHECK-LABEL: func.func @scaled_values_that_escape
//       CHECK:   llm.mul
//       CHECK:   llm.layer_norm
//   CHECK-NOT:   llm.add
func.func @scaled_values_that_escape(%x: tensor<3x8xf32>, %b: tensor<8xf32>) -> (tensor<3x8xf32>, tensor<3x8xf32>) {
  %eps = llm.constant dense<1.0e-5> : tensor<f32>
  %mean = llm.reduce mean %x axes = [1] {keepdims} : tensor<3x8xf32> -> tensor<3x1xf32>
  %c = llm.sub %x, %mean : tensor<3x8xf32>, tensor<3x1xf32> -> tensor<3x8xf32>
  %sq = llm.mul %c, %c : tensor<3x8xf32>, tensor<3x8xf32> -> tensor<3x8xf32>
  %var = llm.reduce mean %sq axes = [1] {keepdims} : tensor<3x8xf32> -> tensor<3x1xf32>
  %e = llm.add %var, %eps : tensor<3x1xf32>, tensor<f32> -> tensor<3x1xf32>
  %g = llm.rsqrt %e : tensor<3x1xf32>
  %xg = llm.mul %x, %g : tensor<3x8xf32>, tensor<3x1xf32> -> tensor<3x8xf32>
  %mg = llm.mul %mean, %g : tensor<3x1xf32>, tensor<3x1xf32> -> tensor<3x1xf32>
  %d = llm.sub %b, %mg : tensor<8xf32>, tensor<3x1xf32> -> tensor<3x8xf32>
  %y = llm.add %d, %xg : tensor<3x8xf32>, tensor<3x8xf32> -> tensor<3x8xf32>
  return %y, %xg : tensor<3x8xf32>, tensor<3x8xf32>
}

// The factor passes through f16.
// CHECK-LABEL: func.func @keeps_factor_in_another_type
//   CHECK-NOT:   llm.layer_norm
func.func @keeps_factor_in_another_type(%x: tensor<3x8xf32>, %b: tensor<8xf32>) -> (tensor<3x8xf32>) {
  %eps = llm.constant dense<1.0e-5> : tensor<f32>
  %mean = llm.reduce mean %x axes = [1] {keepdims} : tensor<3x8xf32> -> tensor<3x1xf32>
  %c = llm.sub %x, %mean : tensor<3x8xf32>, tensor<3x1xf32> -> tensor<3x8xf32>
  %sq = llm.mul %c, %c : tensor<3x8xf32>, tensor<3x8xf32> -> tensor<3x8xf32>
  %var = llm.reduce mean %sq axes = [1] {keepdims} : tensor<3x8xf32> -> tensor<3x1xf32>
  %e = llm.add %var, %eps : tensor<3x1xf32>, tensor<f32> -> tensor<3x1xf32>
  %g = llm.rsqrt %e : tensor<3x1xf32>
  %h = llm.cast %g : tensor<3x1xf32> -> tensor<3x1xf16>
  %wide = llm.cast %h : tensor<3x1xf16> -> tensor<3x1xf32>
  %xg = llm.mul %x, %wide : tensor<3x8xf32>, tensor<3x1xf32> -> tensor<3x8xf32>
  %mg = llm.mul %mean, %g : tensor<3x1xf32>, tensor<3x1xf32> -> tensor<3x1xf32>
  %d = llm.sub %b, %mg : tensor<8xf32>, tensor<3x1xf32> -> tensor<3x8xf32>
  %y = llm.add %d, %xg : tensor<3x8xf32>, tensor<3x8xf32> -> tensor<3x8xf32>
  return %y : tensor<3x8xf32>
}
