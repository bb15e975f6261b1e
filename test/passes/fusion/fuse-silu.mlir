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
