// RUN: llmopt-opt %s --llmopt-fuse=only=fuse-quick-gelu | FileCheck %s
// RUN: llmopt-opt %s --llmopt-fuse="only=fuse-quick-gelu verify" -o /dev/null
// REQUIRES: llmopt-opt

// CHECK-LABEL: func.func @quick
//       CHECK:   %[[I:.+]] = llm.constant dense<0.587544084> : tensor<f32>
//       CHECK:   %[[S:.+]] = llm.mul %{{.+}}, %{{.+}} : tensor<?x8xf32>, tensor<f32>
//       CHECK:   %[[A:.+]] = llm.silu %[[S]]
//       CHECK:   llm.mul %[[A]], %[[I]]
//   CHECK-NOT:   llm.sigmoid
func.func @quick(%x: tensor<?x8xf32> {llm.dims = ["n", 8]}) -> tensor<?x8xf32> {
  %c = llm.constant dense<1.702> : tensor<f32>
  %s = llm.mul %x, %c : tensor<?x8xf32>, tensor<f32> -> tensor<?x8xf32>
  %g = llm.sigmoid %s : tensor<?x8xf32>
  %y = llm.mul %x, %g : tensor<?x8xf32>, tensor<?x8xf32> -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// CHECK-LABEL: func.func @keeps_other_value
//       CHECK:   llm.sigmoid
func.func @keeps_other_value(%x: tensor<4x8xf32>, %z: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %c = llm.constant dense<1.702> : tensor<f32>
  %s = llm.mul %x, %c : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %g = llm.sigmoid %s : tensor<4x8xf32>
  %y = llm.mul %z, %g : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// A factor that is no number, and one that is zero.
// CHECK-LABEL: func.func @keeps_computed_factor
//       CHECK:   llm.sigmoid
func.func @keeps_computed_factor(%x: tensor<4x8xf32>, %c: tensor<f32>) -> tensor<4x8xf32> {
  %s = llm.mul %x, %c : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %g = llm.sigmoid %s : tensor<4x8xf32>
  %y = llm.mul %x, %g : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// CHECK-LABEL: func.func @keeps_zero
//       CHECK:   llm.sigmoid
func.func @keeps_zero(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %c = llm.constant dense<0.0> : tensor<f32>
  %s = llm.mul %x, %c : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %g = llm.sigmoid %s : tensor<4x8xf32>
  %y = llm.mul %x, %g : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// The scaled value has more columns than x: it broadcasts.
// CHECK-LABEL: func.func @keeps_broadcast
//       CHECK:   llm.sigmoid
func.func @keeps_broadcast(%x: tensor<4x1xf32>) -> tensor<4x8xf32> {
  %c = llm.constant dense<1.702> : tensor<8xf32>
  %s = llm.mul %x, %c : tensor<4x1xf32>, tensor<8xf32> -> tensor<4x8xf32>
  %g = llm.sigmoid %s : tensor<4x8xf32>
  %y = llm.mul %x, %g : tensor<4x1xf32>, tensor<4x8xf32> -> tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// CHECK-LABEL: func.func @keeps_sigmoid_that_escapes
//   CHECK-NOT:   llm.silu
func.func @keeps_sigmoid_that_escapes(%x: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
  %c = llm.constant dense<1.702> : tensor<f32>
  %s = llm.mul %x, %c : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %g = llm.sigmoid %s : tensor<4x8xf32>
  %y = llm.mul %x, %g : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x8xf32>
  return %y, %g : tensor<4x8xf32>, tensor<4x8xf32>
}

// In f16 the reciprocal of the factor rounds otherwise.
// CHECK-LABEL: func.func @keeps_half_precision
//       CHECK:   llm.sigmoid
func.func @keeps_half_precision(%x: tensor<4x8xf16>) -> tensor<4x8xf16> {
  %c = llm.constant dense<1.702> : tensor<f16>
  %s = llm.mul %x, %c : tensor<4x8xf16>, tensor<f16> -> tensor<4x8xf16>
  %g = llm.sigmoid %s : tensor<4x8xf16>
  %y = llm.mul %x, %g : tensor<4x8xf16>, tensor<4x8xf16> -> tensor<4x8xf16>
  return %y : tensor<4x8xf16>
}
