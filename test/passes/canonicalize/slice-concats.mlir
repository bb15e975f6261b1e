// RUN: llmopt-opt %s --llmopt-fold-constants --canonicalize | FileCheck %s
// REQUIRES: llmopt-opt

// Keys and values packed for a cache, and read back.
// CHECK-LABEL: func.func @packed
//  CHECK-SAME:   %[[K:[a-z0-9]+]]: tensor<2x?x4xf32>{{.*}}, %[[V:[a-z0-9]+]]: tensor<2x?x4xf32>
//       CHECK:   return %[[V]]
func.func @packed(%k: tensor<2x?x4xf32> {llm.dims = [2, "n", 4]}, %v: tensor<2x?x4xf32> {llm.dims = [2, "n", 4]}) -> tensor<2x?x4xf32> {
  %one = llm.constant dense<1> : tensor<i64>
  %a = llm.expand_dims %k axes = [0] : tensor<2x?x4xf32> -> tensor<1x2x?x4xf32>
  %b = llm.expand_dims %v axes = [0] : tensor<2x?x4xf32> -> tensor<1x2x?x4xf32>
  %c = llm.concat %a, %b {axis = 0 : i64} : tensor<1x2x?x4xf32>, tensor<1x2x?x4xf32> -> tensor<2x2x?x4xf32>
  %y = llm.gather %c, %one {axis = 0 : i64} : tensor<2x2x?x4xf32>, tensor<i64> -> tensor<2x?x4xf32>
  return %y : tensor<2x?x4xf32>
}

// Across a border; along another dimension.
// CHECK-LABEL: func.func @stays
// CHECK-COUNT-2: llm.slice
func.func @stays(%k: tensor<2x4xf32>, %v: tensor<2x4xf32>) -> (tensor<2x4xf32>, tensor<4x2xf32>) {
  %0 = llm.constant dense<0> : tensor<1xi64>
  %1 = llm.constant dense<1> : tensor<1xi64>
  %2 = llm.constant dense<2> : tensor<1xi64>
  %3 = llm.constant dense<3> : tensor<1xi64>
  %c = llm.concat %k, %v {axis = 0 : i64} : tensor<2x4xf32>, tensor<2x4xf32> -> tensor<4x4xf32>
  %a = llm.slice %c, %1, %3 axes = [0] steps = [1] : tensor<4x4xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<2x4xf32>
  %b = llm.slice %c, %0, %2 axes = [1] steps = [1] : tensor<4x4xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<4x2xf32>
  return %a, %b : tensor<2x4xf32>, tensor<4x2xf32>
}
