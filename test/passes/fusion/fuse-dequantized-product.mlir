// RUN: llmopt-opt %s --llmopt-fuse=only=fuse-dequantized-product | FileCheck %s
// REQUIRES: llmopt-opt

// DequantizeLinear of both operands: one scale for the rows, one for each column of the weight.
// CHECK-LABEL: func.func @linear
//  CHECK-SAME:   %[[A:[a-z0-9]+]]: tensor<?x6xui8>
//       CHECK:   %[[W:.+]] = llm.weight "w"
//       CHECK:   %[[S:.+]] = llm.matmul %[[A]], %[[W]] : tensor<?x6xui8>, tensor<6x4xi8> -> tensor<?x4xi32>
//       CHECK:   llm.sub %[[S]]
//       CHECK:   %[[F:.+]] = llm.cast %{{.+}} : tensor<?x4xi32> -> tensor<?x4xf32>
//       CHECK:   %[[Y:.+]] = llm.mul %[[F]]
//       CHECK:   llm.add %[[Y]]
//   CHECK-NOT:   llm.linear
func.func @linear(%a: tensor<?x6xui8> {llm.dims = ["n", 6]}) -> tensor<?x4xf32> {
  %w = llm.weight "w" : tensor<6x4xi8>
  %b = llm.weight "b" : tensor<4xf32>
  %sa = llm.constant dense<0.02> : tensor<f32>
  %za = llm.constant dense<117> : tensor<i32>
  %sw = llm.weight "s" : tensor<4xf32>
  %0 = llm.cast %a : tensor<?x6xui8> -> tensor<?x6xi32>
  %1 = llm.sub %0, %za : tensor<?x6xi32>, tensor<i32> -> tensor<?x6xi32>
  %2 = llm.cast %1 : tensor<?x6xi32> -> tensor<?x6xf32>
  %3 = llm.mul %2, %sa : tensor<?x6xf32>, tensor<f32> -> tensor<?x6xf32>
  %4 = llm.cast %w : tensor<6x4xi8> -> tensor<6x4xf32>
  %5 = llm.mul %4, %sw : tensor<6x4xf32>, tensor<4xf32> -> tensor<6x4xf32>
  %y = llm.linear %3, %5, %b {transposed} : tensor<?x6xf32>, tensor<6x4xf32>, tensor<4xf32> -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// Rows of the weight are outputs; signed rows.
// CHECK-LABEL: func.func @outputs_first
//       CHECK:   llm.transpose %{{.+}} permutation = [1, 0] : tensor<4x6xi8> -> tensor<6x4xi8>
//       CHECK:   llm.matmul %{{.+}}, %{{.+}} : tensor<3x6xui8>, tensor<6x4xi8> -> tensor<3x4xi32>
func.func @outputs_first(%a: tensor<3x6xi8>) -> tensor<3x4xf32> {
  %w = llm.weight "w" : tensor<4x6xi8>
  %sa = llm.constant dense<0.02> : tensor<f32>
  %sw = llm.weight "s" : tensor<4x1xf32>
  %0 = llm.cast %a : tensor<3x6xi8> -> tensor<3x6xf32>
  %1 = llm.mul %0, %sa : tensor<3x6xf32>, tensor<f32> -> tensor<3x6xf32>
  %2 = llm.cast %w : tensor<4x6xi8> -> tensor<4x6xf32>
  %3 = llm.mul %2, %sw : tensor<4x6xf32>, tensor<4x1xf32> -> tensor<4x6xf32>
  %y = llm.linear %1, %3 : tensor<3x6xf32>, tensor<4x6xf32> -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}

// Heads are joined between dequantization and product: the bytes move instead.
// CHECK-LABEL: func.func @moved
//       CHECK:   %[[T:.+]] = llm.transpose %{{.+}} permutation = [1, 0, 2] : tensor<2x3x4xui8> -> tensor<3x2x4xui8>
//       CHECK:   %[[R:.+]] = llm.reshape %[[T]], %{{.+}} -> tensor<3x8xui8>
//       CHECK:   llm.matmul %[[R]], %{{.+}} : tensor<3x8xui8>, tensor<8x4xi8> -> tensor<3x4xi32>
func.func @moved(%a: tensor<2x3x4xui8>) -> tensor<3x4xf32> {
  %w = llm.weight "w" : tensor<8x4xi8>
  %sa = llm.constant dense<0.02> : tensor<f32>
  %sw = llm.constant dense<0.01> : tensor<f32>
  %to = llm.constant dense<[3, 8]> : tensor<2xi64>
  %0 = llm.cast %a : tensor<2x3x4xui8> -> tensor<2x3x4xf32>
  %1 = llm.mul %0, %sa : tensor<2x3x4xf32>, tensor<f32> -> tensor<2x3x4xf32>
  %2 = llm.transpose %1 permutation = [1, 0, 2] : tensor<2x3x4xf32> -> tensor<3x2x4xf32>
  %3 = llm.reshape %2, %to : tensor<3x2x4xf32>, tensor<2xi64> -> tensor<3x8xf32>
  %4 = llm.cast %w : tensor<8x4xi8> -> tensor<8x4xf32>
  %5 = llm.mul %4, %sw : tensor<8x4xf32>, tensor<f32> -> tensor<8x4xf32>
  %y = llm.linear %3, %5 {transposed} : tensor<3x8xf32>, tensor<8x4xf32> -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}

// A scale for each input cannot be taken out of the sum.
// CHECK-LABEL: func.func @keeps_scales_along_the_sum
//       CHECK:   llm.linear
func.func @keeps_scales_along_the_sum(%a: tensor<3x6xui8>) -> tensor<3x6xf32> {
  %w = llm.weight "w" : tensor<6x6xi8>
  %sa = llm.constant dense<0.02> : tensor<f32>
  %sw = llm.weight "s" : tensor<6x1xf32>
  %0 = llm.cast %a : tensor<3x6xui8> -> tensor<3x6xf32>
  %1 = llm.mul %0, %sa : tensor<3x6xf32>, tensor<f32> -> tensor<3x6xf32>
  %2 = llm.cast %w : tensor<6x6xi8> -> tensor<6x6xf32>
  %3 = llm.mul %2, %sw : tensor<6x6xf32>, tensor<6x1xf32> -> tensor<6x6xf32>
  %y = llm.linear %1, %3 {transposed} : tensor<3x6xf32>, tensor<6x6xf32> -> tensor<3x6xf32>
  return %y : tensor<3x6xf32>
}

// CHECK-LABEL: func.func @keeps_scales_of_the_rows
//       CHECK:   llm.linear
func.func @keeps_scales_of_the_rows(%a: tensor<3x6xui8>, %sa: tensor<3x1xf32>) -> tensor<3x4xf32> {
  %w = llm.weight "w" : tensor<6x4xi8>
  %sw = llm.constant dense<0.01> : tensor<f32>
  %0 = llm.cast %a : tensor<3x6xui8> -> tensor<3x6xf32>
  %1 = llm.mul %0, %sa : tensor<3x6xf32>, tensor<3x1xf32> -> tensor<3x6xf32>
  %2 = llm.cast %w : tensor<6x4xi8> -> tensor<6x4xf32>
  %3 = llm.mul %2, %sw : tensor<6x4xf32>, tensor<f32> -> tensor<6x4xf32>
  %y = llm.linear %1, %3 {transposed} : tensor<3x6xf32>, tensor<6x4xf32> -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}

// Rows that are floats: the weight alone is quantized.
// CHECK-LABEL: func.func @keeps_floats
//       CHECK:   llm.linear
func.func @keeps_floats(%a: tensor<3x6xf32>) -> tensor<3x4xf32> {
  %w = llm.weight "w" : tensor<6x4xi8>
  %sw = llm.constant dense<0.01> : tensor<f32>
  %2 = llm.cast %w : tensor<6x4xi8> -> tensor<6x4xf32>
  %3 = llm.mul %2, %sw : tensor<6x4xf32>, tensor<f32> -> tensor<6x4xf32>
  %y = llm.linear %a, %3 {transposed} : tensor<3x6xf32>, tensor<6x4xf32> -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}

// The dequantized rows are read elsewhere as well: they are made there, and the product takes the bytes.
// CHECK-LABEL: func.func @rows_that_are_returned
//       CHECK:   llm.matmul %{{.+}}, %{{.+}} : tensor<3x6xui8>, tensor<6x4xi8> -> tensor<3x4xi32>
//   CHECK-NOT:   llm.linear
func.func @rows_that_are_returned(%a: tensor<3x6xui8>) -> (tensor<3x4xf32>, tensor<3x6xf32>) {
  %w = llm.weight "w" : tensor<6x4xi8>
  %sa = llm.constant dense<0.02> : tensor<f32>
  %sw = llm.constant dense<0.01> : tensor<f32>
  %0 = llm.cast %a : tensor<3x6xui8> -> tensor<3x6xf32>
  %1 = llm.mul %0, %sa : tensor<3x6xf32>, tensor<f32> -> tensor<3x6xf32>
  %2 = llm.cast %w : tensor<6x4xi8> -> tensor<6x4xf32>
  %3 = llm.mul %2, %sw : tensor<6x4xf32>, tensor<f32> -> tensor<6x4xf32>
  %y = llm.linear %1, %3 {transposed} : tensor<3x6xf32>, tensor<6x4xf32> -> tensor<3x4xf32>
  return %y, %1 : tensor<3x4xf32>, tensor<3x6xf32>
}

// Codes of 16 bits are no bytes.
// CHECK-LABEL: func.func @keeps_codes_of_16_bits
//       CHECK:   llm.linear
func.func @keeps_codes_of_16_bits(%a: tensor<3x6xui16>) -> (tensor<3x4xf32>) {
  %w = llm.weight "w" : tensor<6x4xi8>
  %sa = llm.constant dense<0.02> : tensor<f32>
  %sw = llm.constant dense<0.01> : tensor<f32>
  %0 = llm.cast %a : tensor<3x6xui16> -> tensor<3x6xf32>
  %1 = llm.mul %0, %sa : tensor<3x6xf32>, tensor<f32> -> tensor<3x6xf32>
  %2 = llm.cast %w : tensor<6x4xi8> -> tensor<6x4xf32>
  %3 = llm.mul %2, %sw : tensor<6x4xf32>, tensor<f32> -> tensor<6x4xf32>
  %y = llm.linear %1, %3 {transposed} : tensor<3x6xf32>, tensor<6x4xf32> -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}
