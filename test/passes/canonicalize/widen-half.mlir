// RUN: llmopt-opt %s --llmopt-fold-constants --canonicalize | FileCheck %s
// REQUIRES: llmopt-opt

// No rounding between the two operations, one at the end.
// CHECK-LABEL: func.func @chain
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<8xf16>
//       CHECK:   %[[W:.+]] = llm.cast %[[X]] : tensor<8xf16> -> tensor<8xf32>
//       CHECK:   %[[M:.+]] = llm.mul %[[W]], %[[W]] : tensor<8xf32>, tensor<8xf32> -> tensor<8xf32>
//       CHECK:   %[[E:.+]] = llm.exp %[[M]] : tensor<8xf32>
//       CHECK:   %[[Y:.+]] = llm.cast %[[E]] : tensor<8xf32> -> tensor<8xf16>
//       CHECK:   return %[[Y]]
func.func @chain(%x: tensor<8xf16>) -> tensor<8xf16> {
  %m = llm.mul %x, %x : tensor<8xf16>, tensor<8xf16> -> tensor<8xf16>
  %y = llm.exp %m : tensor<8xf16>
  return %y : tensor<8xf16>
}

// Rows of a table are widened, not the table.
// CHECK-LABEL: func.func @table
//       CHECK:   %[[T:.+]] = llm.weight "t" : tensor<100x8xf16>
//       CHECK:   %[[R:.+]] = llm.gather %[[T]]
//       CHECK:   %[[W:.+]] = llm.cast %[[R]] : tensor<3x8xf16> -> tensor<3x8xf32>
//       CHECK:   llm.neg %[[W]] : tensor<3x8xf32>
func.func @table(%ids: tensor<3xi64>) -> tensor<3x8xf16> {
  %t = llm.weight "t" : tensor<100x8xf16>
  %r = llm.gather %t, %ids {axis = 0 : i64} : tensor<100x8xf16>, tensor<3xi64> -> tensor<3x8xf16>
  %y = llm.neg %r : tensor<3x8xf16>
  return %y : tensor<3x8xf16>
}

// Elements that only move stay as they are.
// CHECK-LABEL: func.func @moves
//   CHECK-NOT:   llm.cast
func.func @moves(%x: tensor<2x4xf16>) -> tensor<4x2xf16> {
  %y = llm.transpose %x permutation = [1, 0] : tensor<2x4xf16> -> tensor<4x2xf16>
  return %y : tensor<4x2xf16>
}

// A narrow matrix under f32 is what llm.linear is made for.
// CHECK-LABEL: func.func @narrow_weight
//   CHECK-NOT:   llm.cast
func.func @narrow_weight(%x: tensor<3x8xf32>) -> tensor<3x4xf32> {
  %w = llm.weight "w" : tensor<4x8xf16>
  %y = llm.linear %x, %w : tensor<3x8xf32>, tensor<4x8xf16> -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}
