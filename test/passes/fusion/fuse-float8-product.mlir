// RUN: llmopt-opt %s --llmopt-fuse=only=fuse-float8-product | FileCheck %s
// REQUIRES: llmopt-opt

// QuantizeLinear and DequantizeLinear of the rows, a scale for each column of the weight; a zero point is zero.
// CHECK-LABEL: func.func @linear
//       CHECK:   %[[A:.+]] = llm.cast %{{.+}} : tensor<?x6xf32> -> tensor<?x6xf8E4M3FN>
//       CHECK:   %[[S:.+]] = llm.matmul %[[A]], %{{.+}} : tensor<?x6xf8E4M3FN>, tensor<6x4xf8E4M3FN> -> tensor<?x4xf32>
//       CHECK:   %[[Y:.+]] = llm.mul %[[S]]
//       CHECK:   llm.add %[[Y]]
//   CHECK-NOT:   llm.linear
func.func @linear(%x: tensor<?x6xf32> {llm.dims = ["n", 6]}) -> tensor<?x4xf32> {
  %v = llm.weight "w" : tensor<6x4xf32>
  %w = llm.cast %v : tensor<6x4xf32> -> tensor<6x4xf8E4M3FN>
  %b = llm.weight "b" : tensor<4xf32>
  %sa = llm.constant dense<0.02> : tensor<f32>
  %za = llm.constant dense<0.0> : tensor<f32>
  %sw = llm.weight "s" : tensor<4xf32>
  %q = llm.div %x, %sa : tensor<?x6xf32>, tensor<f32> -> tensor<?x6xf32>
  %a = llm.cast %q : tensor<?x6xf32> -> tensor<?x6xf8E4M3FN>
  %0 = llm.cast %a : tensor<?x6xf8E4M3FN> -> tensor<?x6xf32>
  %1 = llm.sub %0, %za : tensor<?x6xf32>, tensor<f32> -> tensor<?x6xf32>
  %2 = llm.mul %1, %sa : tensor<?x6xf32>, tensor<f32> -> tensor<?x6xf32>
  %3 = llm.cast %w : tensor<6x4xf8E4M3FN> -> tensor<6x4xf32>
  %4 = llm.mul %3, %sw : tensor<6x4xf32>, tensor<4xf32> -> tensor<6x4xf32>
  %y = llm.linear %2, %4, %b {transposed} : tensor<?x6xf32>, tensor<6x4xf32>, tensor<4xf32> -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// Rows of the weight are outputs, and each token has a scale of its own: it stands behind the sum, too.
// CHECK-LABEL: func.func @scales_of_the_rows
//       CHECK:   llm.transpose %{{.+}} permutation = [1, 0] : tensor<4x6xf8E4M3FN> -> tensor<6x4xf8E4M3FN>
//       CHECK:   %[[S:.+]] = llm.matmul %{{.+}}, %{{.+}} : tensor<3x6xf8E4M3FN>, tensor<6x4xf8E4M3FN> -> tensor<3x4xf32>
//       CHECK:   %[[R:.+]] = llm.mul %[[S]], %{{.+}} : tensor<3x4xf32>, tensor<3x1xf32>
//       CHECK:   llm.mul %[[R]], %{{.+}} : tensor<3x4xf32>, tensor<1x4xf32>
func.func @scales_of_the_rows(%x: tensor<3x6xf32>, %sa: tensor<3x1xf32>) -> tensor<3x4xf32> {
  %v = llm.weight "w" : tensor<4x6xf32>
  %w = llm.cast %v : tensor<4x6xf32> -> tensor<4x6xf8E4M3FN>
  %sw = llm.weight "s" : tensor<4x1xf32>
  %a = llm.cast %x : tensor<3x6xf32> -> tensor<3x6xf8E4M3FN>
  %0 = llm.cast %a : tensor<3x6xf8E4M3FN> -> tensor<3x6xf32>
  %1 = llm.mul %0, %sa : tensor<3x6xf32>, tensor<3x1xf32> -> tensor<3x6xf32>
  %2 = llm.cast %w : tensor<4x6xf8E4M3FN> -> tensor<4x6xf32>
  %3 = llm.mul %2, %sw : tensor<4x6xf32>, tensor<4x1xf32> -> tensor<4x6xf32>
  %y = llm.linear %1, %3 : tensor<3x6xf32>, tensor<4x6xf32> -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}

// Heads are joined between dequantization and product: the codes move instead. A scale of 1 is none.
// CHECK-LABEL: func.func @moved
//       CHECK:   %[[T:.+]] = llm.transpose %{{.+}} permutation = [1, 0, 2] : tensor<2x3x4xf8E4M3FN> -> tensor<3x2x4xf8E4M3FN>
//       CHECK:   %[[R:.+]] = llm.reshape %[[T]], %{{.+}} -> tensor<3x8xf8E4M3FN>
//       CHECK:   llm.matmul %[[R]], %{{.+}} : tensor<3x8xf8E4M3FN>, tensor<8x4xf8E4M3FN> -> tensor<3x4xf32>
func.func @moved(%x: tensor<2x3x4xf32>) -> tensor<3x4xf32> {
  %v = llm.weight "w" : tensor<8x4xf32>
  %w = llm.cast %v : tensor<8x4xf32> -> tensor<8x4xf8E4M3FN>
  %sa = llm.constant dense<0.02> : tensor<f32>
  %to = llm.constant dense<[3, 8]> : tensor<2xi64>
  %a = llm.cast %x : tensor<2x3x4xf32> -> tensor<2x3x4xf8E4M3FN>
  %0 = llm.cast %a : tensor<2x3x4xf8E4M3FN> -> tensor<2x3x4xf32>
  %1 = llm.mul %0, %sa : tensor<2x3x4xf32>, tensor<f32> -> tensor<2x3x4xf32>
  %2 = llm.transpose %1 permutation = [1, 0, 2] : tensor<2x3x4xf32> -> tensor<3x2x4xf32>
  %3 = llm.reshape %2, %to : tensor<3x2x4xf32>, tensor<2xi64> -> tensor<3x8xf32>
  %4 = llm.cast %w : tensor<8x4xf8E4M3FN> -> tensor<8x4xf32>
  %y = llm.linear %3, %4 {transposed} : tensor<3x8xf32>, tensor<8x4xf32> -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}

// The dequantized rows are read elsewhere as well: they are made there, and the product takes the codes.
// CHECK-LABEL: func.func @rows_that_are_returned
//       CHECK:   llm.matmul %{{.+}}, %{{.+}} : tensor<3x6xf8E4M3FN>, tensor<6x4xf8E4M3FN> -> tensor<3x4xf32>
//   CHECK-NOT:   llm.linear
func.func @rows_that_are_returned(%x: tensor<3x6xf32>) -> (tensor<3x4xf32>, tensor<3x6xf32>) {
  %v = llm.weight "w" : tensor<6x4xf32>
  %w = llm.cast %v : tensor<6x4xf32> -> tensor<6x4xf8E4M3FN>
  %sa = llm.constant dense<0.02> : tensor<f32>
  %a = llm.cast %x : tensor<3x6xf32> -> tensor<3x6xf8E4M3FN>
  %0 = llm.cast %a : tensor<3x6xf8E4M3FN> -> tensor<3x6xf32>
  %1 = llm.mul %0, %sa : tensor<3x6xf32>, tensor<f32> -> tensor<3x6xf32>
  %2 = llm.cast %w : tensor<6x4xf8E4M3FN> -> tensor<6x4xf32>
  %3 = llm.mul %2, %sa : tensor<6x4xf32>, tensor<f32> -> tensor<6x4xf32>
  %y = llm.matmul %1, %3 : tensor<3x6xf32>, tensor<6x4xf32> -> tensor<3x4xf32>
  return %y, %1 : tensor<3x4xf32>, tensor<3x6xf32>
}

// A scale for each input cannot be taken out of the sum.
// CHECK-LABEL: func.func @keeps_scales_along_the_sum
//       CHECK:   llm.linear
func.func @keeps_scales_along_the_sum(%x: tensor<3x6xf32>) -> tensor<3x6xf32> {
  %v = llm.weight "w" : tensor<6x6xf32>
  %w = llm.cast %v : tensor<6x6xf32> -> tensor<6x6xf8E4M3FN>
  %sa = llm.constant dense<0.02> : tensor<f32>
  %sw = llm.weight "s" : tensor<6x1xf32>
  %a = llm.cast %x : tensor<3x6xf32> -> tensor<3x6xf8E4M3FN>
  %0 = llm.cast %a : tensor<3x6xf8E4M3FN> -> tensor<3x6xf32>
  %1 = llm.mul %0, %sa : tensor<3x6xf32>, tensor<f32> -> tensor<3x6xf32>
  %2 = llm.cast %w : tensor<6x6xf8E4M3FN> -> tensor<6x6xf32>
  %3 = llm.mul %2, %sw : tensor<6x6xf32>, tensor<6x1xf32> -> tensor<6x6xf32>
  %y = llm.linear %1, %3 {transposed} : tensor<3x6xf32>, tensor<6x6xf32> -> tensor<3x6xf32>
  return %y : tensor<3x6xf32>
}

// The weight alone: bf16 holds what it is, the scale stands behind the sum.
// CHECK-LABEL: func.func @rows_of_floats
//       CHECK:   %[[W:.+]] = llm.cast %{{.+}} : tensor<4x6xf8E4M3FN> -> tensor<4x6xbf16>
//       CHECK:   %[[S:.+]] = llm.linear %{{.+}}, %[[W]] : tensor<3x6xf32>, tensor<4x6xbf16> -> tensor<3x4xf32>
//       CHECK:   %[[Y:.+]] = llm.mul %[[S]]
//       CHECK:   llm.add %[[Y]]
func.func @rows_of_floats(%x: tensor<3x6xf32>) -> tensor<3x4xf32> {
  %v = llm.weight "w" : tensor<4x6xf32>
  %w = llm.cast %v : tensor<4x6xf32> -> tensor<4x6xf8E4M3FN>
  %sw = llm.weight "s" : tensor<4x1xf32>
  %b = llm.weight "b" : tensor<4xf32>
  %0 = llm.cast %w : tensor<4x6xf8E4M3FN> -> tensor<4x6xf32>
  %1 = llm.mul %0, %sw : tensor<4x6xf32>, tensor<4x1xf32> -> tensor<4x6xf32>
  %y = llm.linear %x, %1, %b : tensor<3x6xf32>, tensor<4x6xf32>, tensor<4xf32> -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}

// The input's scales differ along the sum: they stay where they are.
// CHECK-LABEL: func.func @scales_of_the_inputs
//       CHECK:   %[[X:.+]] = llm.mul
//       CHECK:   llm.linear %[[X]], %{{.+}} {transposed} : tensor<3x6xf32>, tensor<6x4xbf16> -> tensor<3x4xf32>
func.func @scales_of_the_inputs(%x: tensor<3x6xf32>, %sa: tensor<6xf32>) -> tensor<3x4xf32> {
  %v = llm.weight "w" : tensor<6x4xf32>
  %w = llm.cast %v : tensor<6x4xf32> -> tensor<6x4xf8E4M3FN>
  %a = llm.cast %x : tensor<3x6xf32> -> tensor<3x6xf8E4M3FN>
  %0 = llm.cast %a : tensor<3x6xf8E4M3FN> -> tensor<3x6xf32>
  %1 = llm.mul %0, %sa : tensor<3x6xf32>, tensor<6xf32> -> tensor<3x6xf32>
  %2 = llm.cast %w : tensor<6x4xf8E4M3FN> -> tensor<6x4xf32>
  %y = llm.linear %1, %2 {transposed} : tensor<3x6xf32>, tensor<6x4xf32> -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}

// The other format of 8 bits has no kernel.
// CHECK-LABEL: func.func @keeps_e5m2
//       CHECK:   llm.linear %{{.+}}, %{{.+}} {transposed} : tensor<3x6xf32>, tensor<6x4xf32> -> tensor<3x4xf32>
func.func @keeps_e5m2(%x: tensor<3x6xf32>) -> tensor<3x4xf32> {
  %v = llm.weight "w" : tensor<6x4xf32>
  %w = llm.cast %v : tensor<6x4xf32> -> tensor<6x4xf8E5M2>
  %a = llm.cast %x : tensor<3x6xf32> -> tensor<3x6xf8E5M2>
  %0 = llm.cast %a : tensor<3x6xf8E5M2> -> tensor<3x6xf32>
  %1 = llm.cast %w : tensor<6x4xf8E5M2> -> tensor<6x4xf32>
  %y = llm.linear %0, %1 {transposed} : tensor<3x6xf32>, tensor<6x4xf32> -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}
