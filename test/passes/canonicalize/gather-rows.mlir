// RUN: llmopt-opt %s --llmopt-fold-constants --canonicalize | FileCheck %s
// REQUIRES: llmopt-opt

// CHECK-LABEL: func.func @rows
//  CHECK-SAME:   %[[P:[a-z0-9]+]]: tensor<2x5xi64>
//       CHECK:   %[[T:.+]] = llm.reshape %{{.+}}, %{{.+}} -> tensor<6x4xf32>
//       CHECK:   %[[Y:.+]] = llm.gather %[[T]], %[[P]] {axis = 0 : i64} : tensor<6x4xf32>, tensor<2x5xi64> -> tensor<2x5x4xf32>
//       CHECK:   return %[[Y]]
func.func @rows(%p: tensor<2x5xi64>) -> tensor<2x5x4xf32> {
  %table = llm.weight "table" : tensor<1x6x4xf32>
  %batch = llm.constant dense<[2, 1, 1]> : tensor<3xi64>
  %wide = llm.constant dense<[1, 1, 4]> : tensor<3xi64>
  %t = llm.tile %table, %batch : tensor<1x6x4xf32>, tensor<3xi64> -> tensor<2x6x4xf32>
  %i = llm.expand_dims %p axes = [2] : tensor<2x5xi64> -> tensor<2x5x1xi64>
  %j = llm.tile %i, %wide : tensor<2x5x1xi64>, tensor<3xi64> -> tensor<2x5x4xi64>
  %y = llm.gather_elements %t, %j {axis = 1 : i64} : tensor<2x6x4xf32>, tensor<2x5x4xi64> -> tensor<2x5x4xf32>
  return %y : tensor<2x5x4xf32>
}

// Fewer columns than the table has; one row of numbers for the whole batch; along columns.
// CHECK-LABEL: func.func @keeps_other_reads
// CHECK-COUNT-3: llm.gather_elements
func.func @keeps_other_reads(%p: tensor<2x5xi64>, %q: tensor<1x5x1xi64>, %r: tensor<1x6x4xi64>) -> (tensor<2x5x3xf32>, tensor<2x5x4xf32>, tensor<1x6x4xf32>) {
  %table = llm.weight "table" : tensor<1x6x4xf32>
  %batch = llm.constant dense<[2, 1, 1]> : tensor<3xi64>
  %some = llm.constant dense<[1, 1, 3]> : tensor<3xi64>
  %both = llm.constant dense<[2, 1, 4]> : tensor<3xi64>
  %t = llm.tile %table, %batch : tensor<1x6x4xf32>, tensor<3xi64> -> tensor<2x6x4xf32>
  %i = llm.expand_dims %p axes = [2] : tensor<2x5xi64> -> tensor<2x5x1xi64>
  %j = llm.tile %i, %some : tensor<2x5x1xi64>, tensor<3xi64> -> tensor<2x5x3xi64>
  %a = llm.gather_elements %t, %j {axis = 1 : i64} : tensor<2x6x4xf32>, tensor<2x5x3xi64> -> tensor<2x5x3xf32>
  %k = llm.tile %q, %both : tensor<1x5x1xi64>, tensor<3xi64> -> tensor<2x5x4xi64>
  %b = llm.gather_elements %t, %k {axis = 1 : i64} : tensor<2x6x4xf32>, tensor<2x5x4xi64> -> tensor<2x5x4xf32>
  %c = llm.gather_elements %table, %r {axis = 2 : i64} : tensor<1x6x4xf32>, tensor<1x6x4xi64> -> tensor<1x6x4xf32>
  return %a, %b, %c : tensor<2x5x3xf32>, tensor<2x5x4xf32>, tensor<1x6x4xf32>
}
