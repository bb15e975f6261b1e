// RUN: llmopt-opt %s --llmopt-fold-constants --canonicalize --cse | FileCheck %s
// REQUIRES: llmopt-opt

// The reshapes around a product, its bias and the activation meet and go.
// CHECK-LABEL: func.func @sandwich
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<?x?x8xf32>
//       CHECK:   %[[M:.+]] = llm.matmul %[[X]], %{{.+}} : tensor<?x?x8xf32>, tensor<8x16xf32> -> tensor<?x?x16xf32>
//       CHECK:   %[[A:.+]] = llm.add %[[M]], %{{.+}} : tensor<?x?x16xf32>, tensor<16xf32> -> tensor<?x?x16xf32>
//       CHECK:   %[[G:.+]] = llm.gelu %[[A]] : tensor<?x?x16xf32>
//       CHECK:   return %[[G]]
func.func @sandwich(%x: tensor<?x?x8xf32> {llm.dims = ["b", "s", 8]}) -> tensor<?x?x16xf32> {
  %w = llm.weight "w" : tensor<8x16xf32>
  %b = llm.weight "b" : tensor<16xf32>
  %two = llm.constant dense<[-1, 8]> : tensor<2xi64>
  %s = llm.shape %x : tensor<?x?x8xf32> -> tensor<3xi64>
  %zero = llm.constant dense<0> : tensor<1xi64>
  %end = llm.constant dense<2> : tensor<1xi64>
  %width = llm.constant dense<16> : tensor<1xi64>
  %head = llm.slice %s, %zero, %end axes = [0] steps = [1] : tensor<3xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<2xi64>
  %back = llm.concat %head, %width {axis = 0 : i64} : tensor<2xi64>, tensor<1xi64> -> tensor<3xi64>
  %m = llm.reshape %x, %two : tensor<?x?x8xf32>, tensor<2xi64> -> tensor<?x8xf32>
  %y = llm.matmul %m, %w : tensor<?x8xf32>, tensor<8x16xf32> -> tensor<?x16xf32>
  %a = llm.add %y, %b : tensor<?x16xf32>, tensor<16xf32> -> tensor<?x16xf32>
  %g = llm.gelu %a : tensor<?x16xf32>
  %r = llm.reshape %g, %back : tensor<?x16xf32>, tensor<3xi64> -> tensor<?x?x16xf32>
  return %r : tensor<?x?x16xf32>
}

// Heads side by side are rows: [b, s, 2, 4] becomes [b, s, 8] instead of [b * s, 8].
// CHECK-LABEL: func.func @heads_side_by_side
//       CHECK:   %[[R:.+]] = llm.reshape %{{.+}} : tensor<?x?x2x4xf32>, tensor<3xi64> -> tensor<?x?x8xf32>
//       CHECK:   %[[Y:.+]] = llm.matmul %[[R]], %{{.+}} -> tensor<?x?x16xf32>
//       CHECK:   return %[[Y]]
func.func @heads_side_by_side(%x: tensor<?x?x2x4xf32> {llm.dims = ["b", "s", 2, 4]}) -> tensor<?x?x16xf32> {
  %w = llm.weight "w" : tensor<8x16xf32>
  %two = llm.constant dense<[-1, 8]> : tensor<2xi64>
  %s = llm.shape %x : tensor<?x?x2x4xf32> -> tensor<4xi64>
  %zero = llm.constant dense<0> : tensor<1xi64>
  %end = llm.constant dense<2> : tensor<1xi64>
  %width = llm.constant dense<16> : tensor<1xi64>
  %head = llm.slice %s, %zero, %end axes = [0] steps = [1] : tensor<4xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<2xi64>
  %back = llm.concat %head, %width {axis = 0 : i64} : tensor<2xi64>, tensor<1xi64> -> tensor<3xi64>
  %m = llm.reshape %x, %two : tensor<?x?x2x4xf32>, tensor<2xi64> -> tensor<?x8xf32>
  %y = llm.matmul %m, %w : tensor<?x8xf32>, tensor<8x16xf32> -> tensor<?x16xf32>
  %r = llm.reshape %y, %back : tensor<?x16xf32>, tensor<3xi64> -> tensor<?x?x16xf32>
  return %r : tensor<?x?x16xf32>
}

// A sum of two reshaped tensors is the reshaped sum.
// CHECK-LABEL: func.func @residual
//       CHECK:   %[[S:.+]] = llm.add %{{.+}}, %{{.+}} : tensor<2x3x8xf32>, tensor<2x3x8xf32> -> tensor<2x3x8xf32>
//       CHECK:   llm.reshape %[[S]]
func.func @residual(%x: tensor<2x3x8xf32>, %y: tensor<2x3x8xf32>) -> tensor<6x8xf32> {
  %two = llm.constant dense<[6, 8]> : tensor<2xi64>
  %a = llm.reshape %x, %two : tensor<2x3x8xf32>, tensor<2xi64> -> tensor<6x8xf32>
  %b = llm.reshape %y, %two : tensor<2x3x8xf32>, tensor<2xi64> -> tensor<6x8xf32>
  %s = llm.add %a, %b : tensor<6x8xf32>, tensor<6x8xf32> -> tensor<6x8xf32>
  return %s : tensor<6x8xf32>
}

// Rows of another length: the norm and the vector see another last dimension.
// CHECK-LABEL: func.func @rows_change
//       CHECK:   %[[R:.+]] = llm.reshape
//       CHECK:   %[[A:.+]] = llm.add %[[R]]
//       CHECK:   llm.layer_norm %[[A]]
func.func @rows_change(%x: tensor<2x3x8xf32>, %v: tensor<4xf32>) -> tensor<2x3x2x4xf32> {
  %four = llm.constant dense<[2, 3, 2, 4]> : tensor<4xi64>
  %r = llm.reshape %x, %four : tensor<2x3x8xf32>, tensor<4xi64> -> tensor<2x3x2x4xf32>
  %a = llm.add %r, %v : tensor<2x3x2x4xf32>, tensor<4xf32> -> tensor<2x3x2x4xf32>
  %n = llm.layer_norm %a {epsilon = 1.0e-5 : f32} : tensor<2x3x2x4xf32> -> tensor<2x3x2x4xf32>
  return %n : tensor<2x3x2x4xf32>
}

// Different matrices for parts of the batch.
// CHECK-LABEL: func.func @batched_matrices
//       CHECK:   %[[R:.+]] = llm.reshape
//       CHECK:   llm.matmul %[[R]]
func.func @batched_matrices(%x: tensor<6x3x8xf32>, %w: tensor<2x3x8x4xf32>) -> tensor<2x3x3x4xf32> {
  %four = llm.constant dense<[2, 3, 3, 8]> : tensor<4xi64>
  %r = llm.reshape %x, %four : tensor<6x3x8xf32>, tensor<4xi64> -> tensor<2x3x3x8xf32>
  %y = llm.matmul %r, %w : tensor<2x3x3x8xf32>, tensor<2x3x8x4xf32> -> tensor<2x3x3x4xf32>
  return %y : tensor<2x3x3x4xf32>
}

// The operand that is not reshaped broadcasts along the dimensions that are joined.
// CHECK-LABEL: func.func @other_operand_broadcasts
//       CHECK:   %[[R:.+]] = llm.reshape
//       CHECK:   llm.mul %[[R]]
func.func @other_operand_broadcasts(%x: tensor<2x3x8xf32>, %v: tensor<6x1xf32>) -> tensor<6x8xf32> {
  %two = llm.constant dense<[6, 8]> : tensor<2xi64>
  %r = llm.reshape %x, %two : tensor<2x3x8xf32>, tensor<2xi64> -> tensor<6x8xf32>
  %m = llm.mul %r, %v : tensor<6x8xf32>, tensor<6x1xf32> -> tensor<6x8xf32>
  return %m : tensor<6x8xf32>
}

// Sizes that no constant can say are written from the dimensions of arguments, whatever computed them.
// CHECK-LABEL: func.func @two_open_sizes
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<?x?x8xf32>
//       CHECK:   %[[D:.+]] = llm.shape %[[X]]
//       CHECK:   %[[S:.+]] = llm.gather %[[D]], %{{.+}} {axis = 0 : i64} : tensor<3xi64>, tensor<1xi64> -> tensor<1xi64>
//       CHECK:   %[[B:.+]] = llm.gather %[[D]], %{{.+}} {axis = 0 : i64} : tensor<3xi64>, tensor<1xi64> -> tensor<1xi64>
//       CHECK:   %[[V:.+]] = llm.concat %[[S]], %[[B]], %{{.+}}
//       CHECK:   llm.reshape %[[X]], %[[V]] {allowzero}
func.func @two_open_sizes(%x: tensor<?x?x8xf32> {llm.dims = ["b", "s", 8]}) -> tensor<?x?x8xf32> {
  %one = llm.constant dense<1> : tensor<1xi64>
  %t = llm.transpose %x permutation = [1, 0, 2] : tensor<?x?x8xf32> -> tensor<?x?x8xf32>
  %flat = llm.constant dense<[-1, 8]> : tensor<2xi64>
  %s = llm.shape %t : tensor<?x?x8xf32> -> tensor<3xi64>
  %f = llm.reshape %x, %flat : tensor<?x?x8xf32>, tensor<2xi64> -> tensor<?x8xf32>
  %n = llm.reshape %f, %s : tensor<?x8xf32>, tensor<3xi64> -> tensor<?x?x8xf32>
  return %n : tensor<?x?x8xf32>
}
