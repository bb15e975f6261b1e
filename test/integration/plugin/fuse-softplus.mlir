// RUN: llmopt-opt %s --llmopt-fuse=only=fuse-softplus | FileCheck %s
// REQUIRES: llmopt-opt

// CHECK-LABEL: func.func @fuses
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<4x8xf32>
//       CHECK:   %[[Y:.+]] = llm.softplus %[[X]]
//       CHECK:   return %[[Y]]
func.func @fuses(%x: tensor<4x8xf32> {llm.name = "x"}) -> (tensor<4x8xf32> {llm.name = "y"}) {
  %one = llm.constant dense<1.0> : tensor<f32>
  %e = llm.exp %x : tensor<4x8xf32>
  %s = llm.add %e, %one : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %y = llm.log %s : tensor<4x8xf32> loc("/gate/Log")
  return %y : tensor<4x8xf32>
}

// CHECK-LABEL: func.func @keeps_another_constant
//   CHECK-NOT:   llm.softplus
func.func @keeps_another_constant(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %two = llm.constant dense<2.0> : tensor<f32>
  %e = llm.exp %x : tensor<4x8xf32>
  %s = llm.add %e, %two : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32> loc("/gate/Add")
  %y = llm.log %s : tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// The exponential is returned too, so fusing would compute it twice.
// CHECK-LABEL: func.func @keeps_an_exponential_that_escapes
//   CHECK-NOT:   llm.softplus
func.func @keeps_an_exponential_that_escapes(%x: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
  %one = llm.constant dense<1.0> : tensor<f32>
  %e = llm.exp %x : tensor<4x8xf32>
  %s = llm.add %e, %one : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %y = llm.log %s : tensor<4x8xf32>
  return %y, %e : tensor<4x8xf32>, tensor<4x8xf32>
}
