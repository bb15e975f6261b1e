// RUN: llmopt-opt %s --llmopt-fold-constants --canonicalize | FileCheck %s
// REQUIRES: llmopt-opt

// CHECK-LABEL: func.func @row
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<?x5x3xf32>
//       CHECK:   %[[W:.+]] = llm.constant dense<[1.000000e+00, 2.000000e+00, 3.000000e+00]> : tensor<3xf32>
//       CHECK:   llm.mul %[[X]], %[[W]]
func.func @row(%x: tensor<?x5x3xf32> {llm.dims = ["b", 5, 3]}) -> tensor<?x5x3xf32> {
  %w = llm.constant dense<[[[1.0, 2.0, 3.0]]]> : tensor<1x1x3xf32>
  %y = llm.mul %x, %w : tensor<?x5x3xf32>, tensor<1x1x3xf32> -> tensor<?x5x3xf32>
  return %y : tensor<?x5x3xf32>
}

// CHECK-LABEL: func.func @row_of_weights
//       CHECK:   %[[W:.+]] = llm.weight "w" : tensor<1x1x3xf32>
//       CHECK:   %[[V:.+]] = llm.reshape %[[W]], %{{.+}} -> tensor<3xf32>
//       CHECK:   llm.sub %[[V]], %{{.+}} : tensor<3xf32>
func.func @row_of_weights(%x: tensor<2x5x3xf32>) -> tensor<2x5x3xf32> {
  %w = llm.weight "w" : tensor<1x1x3xf32>
  %y = llm.sub %w, %x : tensor<1x1x3xf32>, tensor<2x5x3xf32> -> tensor<2x5x3xf32>
  return %y : tensor<2x5x3xf32>
}

// The result has these dimensions from nobody else; a column is no row.
// CHECK-LABEL: func.func @keeps_rank
//       CHECK:   llm.mul %{{.+}}, %{{.+}} : tensor<2x3xf32>, tensor<1x1x3xf32>
//       CHECK:   llm.mul %{{.+}}, %{{.+}} : tensor<1x2x3xf32>, tensor<1x2x1xf32>
func.func @keeps_rank(%x: tensor<2x3xf32>) -> tensor<1x2x3xf32> {
  %w = llm.weight "w" : tensor<1x1x3xf32>
  %c = llm.weight "c" : tensor<1x2x1xf32>
  %y = llm.mul %x, %w : tensor<2x3xf32>, tensor<1x1x3xf32> -> tensor<1x2x3xf32>
  %z = llm.mul %y, %c : tensor<1x2x3xf32>, tensor<1x2x1xf32> -> tensor<1x2x3xf32>
  return %z : tensor<1x2x3xf32>
}
