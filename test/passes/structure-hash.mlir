// RUN: llmopt-opt %s --llmopt-print-structure-hash -o /dev/null | FileCheck %s
// REQUIRES: llmopt-opt

// Names, order, weights' values and how they are stored do not count.
// CHECK: @a [[HASH:[0-9a-f]+]]
func.func @a(%x: tensor<?x?x8xf32> {llm.dims = ["batch", "seq", 8]}) -> (tensor<?x?x8xf32>, tensor<?x?x4xf32>) {
  %w = llm.weight "w" : tensor<8x4xf32>
  %b = llm.constant dense<[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]> : tensor<8xf32>
  %y = llm.add %x, %b : tensor<?x?x8xf32>, tensor<8xf32> -> tensor<?x?x8xf32>
  %z = llm.linear %x, %w {transposed} : tensor<?x?x8xf32>, tensor<8x4xf32> -> tensor<?x?x4xf32>
  return %y, %z : tensor<?x?x8xf32>, tensor<?x?x4xf32>
}

// CHECK: @b [[HASH]]
func.func @b(%x: tensor<?x?x8xf32> {llm.dims = ["n", "a", 8]}) -> (tensor<?x?x8xf32>, tensor<?x?x4xf32>) {
  %v = llm.weight "v" : tensor<4x8xf32>
  %w = llm.transpose %v permutation = [1, 0] : tensor<4x8xf32> -> tensor<8x4xf32>
  %z = llm.linear %x, %w {transposed} : tensor<?x?x8xf32>, tensor<8x4xf32> -> tensor<?x?x4xf32>
  %b = llm.weight "b" : tensor<8xf32>
  %y = llm.add %b, %x : tensor<8xf32>, tensor<?x?x8xf32> -> tensor<?x?x8xf32>
  return %y, %z : tensor<?x?x8xf32>, tensor<?x?x4xf32>
}

// Two dimensions that are the same symbol are another graph; so are other numbers, attributes and result orders.
// CHECK-NOT: [[HASH]]
func.func @same_dims(%x: tensor<?x?x8xf32> {llm.dims = ["n", "n", 8]}) -> (tensor<?x?x8xf32>, tensor<?x?x4xf32>) {
  %w = llm.weight "w" : tensor<8x4xf32>
  %z = llm.linear %x, %w {transposed} : tensor<?x?x8xf32>, tensor<8x4xf32> -> tensor<?x?x4xf32>
  %b = llm.weight "b" : tensor<8xf32>
  %y = llm.add %x, %b : tensor<?x?x8xf32>, tensor<8xf32> -> tensor<?x?x8xf32>
  return %y, %z : tensor<?x?x8xf32>, tensor<?x?x4xf32>
}

func.func @other_order(%x: tensor<?x?x8xf32> {llm.dims = ["batch", "seq", 8]}) -> (tensor<?x?x4xf32>, tensor<?x?x8xf32>) {
  %w = llm.weight "w" : tensor<8x4xf32>
  %b = llm.weight "b" : tensor<8xf32>
  %y = llm.add %x, %b : tensor<?x?x8xf32>, tensor<8xf32> -> tensor<?x?x8xf32>
  %z = llm.linear %x, %w {transposed} : tensor<?x?x8xf32>, tensor<8x4xf32> -> tensor<?x?x4xf32>
  return %z, %y : tensor<?x?x4xf32>, tensor<?x?x8xf32>
}

func.func @other_operation(%x: tensor<?x?x8xf32> {llm.dims = ["batch", "seq", 8]}) -> (tensor<?x?x8xf32>, tensor<?x?x4xf32>) {
  %w = llm.weight "w" : tensor<8x4xf32>
  %b = llm.weight "b" : tensor<8xf32>
  %y = llm.sub %x, %b : tensor<?x?x8xf32>, tensor<8xf32> -> tensor<?x?x8xf32>
  %z = llm.linear %x, %w {transposed} : tensor<?x?x8xf32>, tensor<8x4xf32> -> tensor<?x?x4xf32>
  return %y, %z : tensor<?x?x8xf32>, tensor<?x?x4xf32>
}

// Numbers count, unlike weights.
// CHECK: @half [[HALF:[0-9a-f]+]]
// CHECK-NOT: [[HALF]]
func.func @half(%x: tensor<4xf32>) -> tensor<4xf32> {
  %c = llm.constant dense<0.5> : tensor<f32>
  %y = llm.mul %x, %c : tensor<4xf32>, tensor<f32> -> tensor<4xf32>
  return %y : tensor<4xf32>
}
func.func @third(%x: tensor<4xf32>) -> tensor<4xf32> {
  %c = llm.constant dense<0.3> : tensor<f32>
  %y = llm.mul %x, %c : tensor<4xf32>, tensor<f32> -> tensor<4xf32>
  return %y : tensor<4xf32>
}
