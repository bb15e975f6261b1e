// RUN: llmopt-opt %s --llmopt-fuse=only=matmul-to-linear | FileCheck %s
// REQUIRES: llmopt-opt

// CHECK-LABEL: func.func @weight_and_bias
//       CHECK:   %[[W:.+]] = llm.weight "w"
//       CHECK:   %[[B:.+]] = llm.weight "b"
//       CHECK:   llm.linear %{{.+}}, %[[W]], %[[B]] {transposed}
//   CHECK-NOT:   llm.add
func.func @weight_and_bias(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}) -> tensor<?x32xf32> {
  %w = llm.weight "w" : tensor<64x32xf32>
  %b = llm.weight "b" : tensor<32xf32>
  %m = llm.matmul %x, %w : tensor<?x64xf32>, tensor<64x32xf32> -> tensor<?x32xf32>
  %y = llm.add %b, %m : tensor<32xf32>, tensor<?x32xf32> -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// What a graph in f16 stores is multiplied as it is stored; what it computes is not.
// CHECK-LABEL: func.func @widened
//       CHECK:   %[[W:.+]] = llm.weight "w" : tensor<64x32xf16>
//       CHECK:   llm.linear %{{.+}}, %[[W]] {transposed} : tensor<?x64xf32>, tensor<64x32xf16>
//       CHECK:   llm.linear %{{.+}}, %{{.+}} {transposed} : tensor<?x32xf32>, tensor<32x32xf32>
func.func @widened(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}) -> tensor<?x32xf32> {
  %w = llm.weight "w" : tensor<64x32xf16>
  %v = llm.weight "v" : tensor<32x32xf16>
  %wide = llm.cast %w : tensor<64x32xf16> -> tensor<64x32xf32>
  %sum = llm.add %v, %v : tensor<32x32xf16>, tensor<32x32xf16> -> tensor<32x32xf16>
  %other = llm.cast %sum : tensor<32x32xf16> -> tensor<32x32xf32>
  %m = llm.matmul %x, %wide : tensor<?x64xf32>, tensor<64x32xf32> -> tensor<?x32xf32>
  %y = llm.matmul %m, %other : tensor<?x32xf32>, tensor<32x32xf32> -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// CHECK-LABEL: func.func @bias_behind_residual
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<8x64xf32>, %[[R:[a-z0-9]+]]: tensor<8x32xf32>
//       CHECK:   %[[B:.+]] = llm.weight "b"
//       CHECK:   %[[L:.+]] = llm.linear %[[X]], %{{.+}}, %[[B]] {transposed}
//       CHECK:   llm.add %[[L]], %[[R]]
//   CHECK-NOT:   llm.add
func.func @bias_behind_residual(%x: tensor<8x64xf32>, %r: tensor<8x32xf32>) -> tensor<8x32xf32> {
  %w = llm.weight "w" : tensor<64x32xf32>
  %b = llm.weight "b" : tensor<32xf32>
  %m = llm.matmul %x, %w : tensor<8x64xf32>, tensor<64x32xf32> -> tensor<8x32xf32>
  %s = llm.add %r, %m : tensor<8x32xf32>, tensor<8x32xf32> -> tensor<8x32xf32>
  %y = llm.add %s, %b : tensor<8x32xf32>, tensor<32xf32> -> tensor<8x32xf32>
  return %y : tensor<8x32xf32>
}

// CHECK-LABEL: func.func @keeps_product_of_inputs
//       CHECK:   llm.matmul
func.func @keeps_product_of_inputs(%x: tensor<8x64xf32>, %w: tensor<64x32xf32>) -> tensor<8x32xf32> {
  %m = llm.matmul %x, %w : tensor<8x64xf32>, tensor<64x32xf32> -> tensor<8x32xf32>
  return %m : tensor<8x32xf32>
}

// The sum without bias is used elsewhere.
// CHECK-LABEL: func.func @keeps_bias_outside_when_the_product_escapes
//       CHECK:   llm.linear %{{[^,]+}}, %{{[^,]+}} {transposed}
//       CHECK:   llm.add
func.func @keeps_bias_outside_when_the_product_escapes(%x: tensor<8x64xf32>) -> (tensor<8x32xf32>, tensor<8x32xf32>) {
  %w = llm.weight "w" : tensor<64x32xf32>
  %b = llm.weight "b" : tensor<32xf32>
  %m = llm.matmul %x, %w : tensor<8x64xf32>, tensor<64x32xf32> -> tensor<8x32xf32>
  %y = llm.add %m, %b : tensor<8x32xf32>, tensor<32xf32> -> tensor<8x32xf32>
  return %m, %y : tensor<8x32xf32>, tensor<8x32xf32>
}

// An empty weight (a LoRA of rank 0) has no panels.
// CHECK-LABEL: func.func @keeps_product_with_an_empty_weight
//       CHECK:   llm.matmul
func.func @keeps_product_with_an_empty_weight(%x: tensor<8x0xf32>) -> tensor<8x32xf32> {
  %w = llm.weight "w" : tensor<0x32xf32>
  %m = llm.matmul %x, %w : tensor<8x0xf32>, tensor<0x32xf32> -> tensor<8x32xf32>
  return %m : tensor<8x32xf32>
}

// One number a row is no bias.
// CHECK-LABEL: func.func @keeps_bias_by_rows
//       CHECK:   llm.linear %{{[^,]+}}, %{{[^,]+}} {transposed}
//       CHECK:   llm.add
func.func @keeps_bias_by_rows(%x: tensor<8x64xf32>) -> tensor<8x8xf32> {
  %w = llm.weight "w" : tensor<64x8xf32>
  %b = llm.weight "b" : tensor<8x1xf32>
  %m = llm.matmul %x, %w : tensor<8x64xf32>, tensor<64x8xf32> -> tensor<8x8xf32>
  %y = llm.add %m, %b : tensor<8x8xf32>, tensor<8x1xf32> -> tensor<8x8xf32>
  return %y : tensor<8x8xf32>
}

// The product is rounded to f16 before the bias is added.
// CHECK-LABEL: func.func @keeps_product_in_another_type
//       CHECK:   llm.linear %{{[^,]+}}, %{{[^,]+}} {transposed}
//       CHECK:   llm.add
func.func @keeps_product_in_another_type(%x: tensor<8x64xf32>) -> tensor<8x8xf16> {
  %w = llm.weight "w" : tensor<64x8xf32>
  %b = llm.weight "b" : tensor<8xf16>
  %m = llm.matmul %x, %w : tensor<8x64xf32>, tensor<64x8xf32> -> tensor<8x8xf32>
  %h = llm.cast %m : tensor<8x8xf32> -> tensor<8x8xf16>
  %y = llm.add %h, %b : tensor<8x8xf16>, tensor<8xf16> -> tensor<8x8xf16>
  return %y : tensor<8x8xf16>
}

// What the importer permitted stays permitted.
// CHECK-LABEL: func.func @keeps_permission
//       CHECK:   llm.linear %{{.+}}, %{{.+}}, %{{.+}} {llm.int8_input}
func.func @keeps_permission(%x: tensor<8x64xf32>) -> tensor<8x32xf32> {
  %w = llm.weight "w" : tensor<32x64xf32>
  %b = llm.weight "b" : tensor<32xf32>
  %0 = llm.linear %x, %w {llm.int8_input} : tensor<8x64xf32>, tensor<32x64xf32> -> tensor<8x32xf32>
  %1 = llm.add %0, %b : tensor<8x32xf32>, tensor<32xf32> -> tensor<8x32xf32>
  return %1 : tensor<8x32xf32>
}
