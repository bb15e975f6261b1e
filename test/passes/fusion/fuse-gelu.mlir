// RUN: llmopt-opt %s --llmopt-fuse=only=fuse-gelu | FileCheck %s
// REQUIRES: llmopt-opt

// CHECK-LABEL: func.func @erf
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<8x64xf32>
//       CHECK:   %[[Y:.+]] = llm.gelu %[[X]] :
//       CHECK:   return %[[Y]]
func.func @erf(%x: tensor<8x64xf32>) -> tensor<8x64xf32> {
  %root = llm.constant dense<1.41421354> : tensor<f32>
  %one = llm.constant dense<1.0> : tensor<f32>
  %half = llm.constant dense<0.5> : tensor<f32>
  %d = llm.div %x, %root : tensor<8x64xf32>, tensor<f32> -> tensor<8x64xf32>
  %e = llm.erf %d : tensor<8x64xf32>
  %g = llm.add %e, %one : tensor<8x64xf32>, tensor<f32> -> tensor<8x64xf32>
  %m = llm.mul %x, %g : tensor<8x64xf32>, tensor<8x64xf32> -> tensor<8x64xf32>
  %y = llm.mul %m, %half : tensor<8x64xf32>, tensor<f32> -> tensor<8x64xf32>
  return %y : tensor<8x64xf32>
}

// CHECK-LABEL: func.func @keeps_gate_of_another_value
//   CHECK-NOT:   llm.gelu
func.func @keeps_gate_of_another_value(%x: tensor<8x64xf32>, %z: tensor<8x64xf32>) -> tensor<8x64xf32> {
  %root = llm.constant dense<1.41421354> : tensor<f32>
  %one = llm.constant dense<1.0> : tensor<f32>
  %half = llm.constant dense<0.5> : tensor<f32>
  %d = llm.div %z, %root : tensor<8x64xf32>, tensor<f32> -> tensor<8x64xf32>
  %e = llm.erf %d : tensor<8x64xf32>
  %g = llm.add %e, %one : tensor<8x64xf32>, tensor<f32> -> tensor<8x64xf32>
  %m = llm.mul %x, %g : tensor<8x64xf32>, tensor<8x64xf32> -> tensor<8x64xf32>
  %y = llm.mul %m, %half : tensor<8x64xf32>, tensor<f32> -> tensor<8x64xf32>
  return %y : tensor<8x64xf32>
}
