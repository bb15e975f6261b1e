// RUN: llmopt-opt %s --llmopt-fuse=only=fuse-silu | FileCheck %s
// REQUIRES: llmopt-opt

// CHECK-LABEL: func.func @silu
//       CHECK:   llm.silu
//   CHECK-NOT:   llm.sigmoid
func.func @silu(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}) -> tensor<?x64xf32> {
  %s = llm.sigmoid %x : tensor<?x64xf32>
  %y = llm.mul %s, %x : tensor<?x64xf32>, tensor<?x64xf32> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// CHECK-LABEL: func.func @keeps_gate_of_another_value
//   CHECK-NOT:   llm.silu
func.func @keeps_gate_of_another_value(%x: tensor<8x64xf32>, %z: tensor<8x64xf32>) -> tensor<8x64xf32> {
  %s = llm.sigmoid %x : tensor<8x64xf32>
  %y = llm.mul %s, %z : tensor<8x64xf32>, tensor<8x64xf32> -> tensor<8x64xf32>
  return %y : tensor<8x64xf32>
}

// The sigmoid is read elsewhere as well: it would be computed twice.
// CHECK-LABEL: func.func @keeps_sigmoid_that_escapes
//   CHECK-NOT:   llm.silu
func.func @keeps_sigmoid_that_escapes(%x: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
  %s = llm.sigmoid %x : tensor<4x8xf32>
  %y = llm.mul %x, %s : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x8xf32>
  return %y, %s : tensor<4x8xf32>, tensor<4x8xf32>
}

// The sigmoid passes through f16.
// CHECK-LABEL: func.func @keeps_sigmoid_in_another_type
//   CHECK-NOT:   llm.silu
func.func @keeps_sigmoid_in_another_type(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %s = llm.sigmoid %x : tensor<4x8xf32>
  %h = llm.cast %s : tensor<4x8xf32> -> tensor<4x8xf16>
  %w = llm.cast %h : tensor<4x8xf16> -> tensor<4x8xf32>
  %y = llm.mul %x, %w : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}
