// RUN: llmopt-opt %s --llmopt-fold-constants --canonicalize | FileCheck %s
// REQUIRES: llmopt-opt

// CHECK-LABEL: func.func @one_of_three
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<3x?x4xf32>
//   CHECK-DAG:   %[[FROM:.+]] = llm.constant dense<2> : tensor<1xi64>
//   CHECK-DAG:   %[[TO:.+]] = llm.constant dense<3> : tensor<1xi64>
//       CHECK:   %[[S:.+]] = llm.slice %[[X]], %[[FROM]], %[[TO]] axes = [0] steps = [1]
//       CHECK:   llm.squeeze %[[S]] axes = [0] : tensor<1x?x4xf32> -> tensor<?x4xf32>
func.func @one_of_three(%x: tensor<3x?x4xf32> {llm.dims = [3, "n", 4]}) -> tensor<?x4xf32> {
  %last = llm.constant dense<-1> : tensor<i64>
  %y = llm.gather %x, %last {axis = 0 : i64} : tensor<3x?x4xf32>, tensor<i64> -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// CHECK-LABEL: func.func @keeps_its_dimension
//       CHECK:   llm.slice %{{.+}} -> tensor<2x1xf32>
//   CHECK-NOT:   llm.squeeze
func.func @keeps_its_dimension(%x: tensor<2x4xf32>) -> tensor<2x1xf32> {
  %one = llm.constant dense<1> : tensor<1xi64>
  %y = llm.gather %x, %one {axis = 1 : i64} : tensor<2x4xf32>, tensor<1xi64> -> tensor<2x1xf32>
  return %y : tensor<2x1xf32>
}

// Two rows; a row of an unknown number of rows; a number outside, which a gather clamps.
// CHECK-LABEL: func.func @stays
// CHECK-COUNT-3: llm.gather
func.func @stays(%x: tensor<3x4xf32>, %z: tensor<?x4xf32>) -> (tensor<2x4xf32>, tensor<4xf32>, tensor<4xf32>) {
  %two = llm.constant dense<[0, 2]> : tensor<2xi64>
  %one = llm.constant dense<1> : tensor<i64>
  %far = llm.constant dense<7> : tensor<i64>
  %a = llm.gather %x, %two {axis = 0 : i64} : tensor<3x4xf32>, tensor<2xi64> -> tensor<2x4xf32>
  %b = llm.gather %z, %one {axis = 0 : i64} : tensor<?x4xf32>, tensor<i64> -> tensor<4xf32>
  %c = llm.gather %x, %far {axis = 0 : i64} : tensor<3x4xf32>, tensor<i64> -> tensor<4xf32>
  return %a, %b, %c : tensor<2x4xf32>, tensor<4xf32>, tensor<4xf32>
}
