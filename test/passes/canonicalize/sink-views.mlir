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

// Batches and heads joined for a batched product, with a bias that is joined alike, a softmax and values: all of it with the heads apart.
// CHECK-LABEL: func.func @joined_attention
//  CHECK-SAME:   %[[Q:[a-z0-9]+]]: tensor<?x3x?x8xf32>
//       CHECK:   %[[K:.+]] = llm.transpose %{{.+}} permutation = [0, 1, 3, 2] : tensor<?x3x?x8xf32> -> tensor<?x3x8x?xf32>
//       CHECK:   %[[P:.+]] = llm.matmul %[[Q]], %[[K]] : tensor<?x3x?x8xf32>, tensor<?x3x8x?xf32> -> tensor<?x3x?x?xf32>
//       CHECK:   %[[B:.+]] = llm.add %[[P]], %{{.+}} : tensor<?x3x?x?xf32>, tensor<?x3x1x?xf32>
//       CHECK:   %[[W:.+]] = llm.softmax %[[B]] {axis = 3 : i64}
//       CHECK:   %[[Y:.+]] = llm.matmul %[[W]], %{{.+}} : tensor<?x3x?x?xf32>, tensor<?x3x?x8xf32> -> tensor<?x3x?x8xf32>
//       CHECK:   return %[[Y]]
func.func @joined_attention(%q: tensor<?x3x?x8xf32> {llm.dims = ["b", 3, "s", 8]}, %k: tensor<?x3x?x8xf32> {llm.dims = ["b", 3, "t", 8]},
                            %v: tensor<?x3x?x8xf32> {llm.dims = ["b", 3, "t", 8]}, %bias: tensor<?x3x?xf32> {llm.dims = ["b", 3, "t"]}) -> tensor<?x3x?x8xf32> {
  %three = llm.constant dense<3> : tensor<1xi64>
  %i0 = llm.constant dense<0> : tensor<1xi64>
  %i1 = llm.constant dense<1> : tensor<1xi64>
  %i2 = llm.constant dense<2> : tensor<1xi64>
  %eight = llm.constant dense<8> : tensor<1xi64>
  %qs = llm.shape %q : tensor<?x3x?x8xf32> -> tensor<4xi64>
  %ks = llm.shape %k : tensor<?x3x?x8xf32> -> tensor<4xi64>
  %b = llm.gather %qs, %i0 {axis = 0 : i64} : tensor<4xi64>, tensor<1xi64> -> tensor<1xi64>
  %s = llm.gather %qs, %i2 {axis = 0 : i64} : tensor<4xi64>, tensor<1xi64> -> tensor<1xi64>
  %t = llm.gather %ks, %i2 {axis = 0 : i64} : tensor<4xi64>, tensor<1xi64> -> tensor<1xi64>
  %j = llm.mul %b, %three : tensor<1xi64>, tensor<1xi64> -> tensor<1xi64>
  %jq = llm.concat %j, %s, %eight {axis = 0 : i64} : tensor<1xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<3xi64>
  %jk = llm.concat %j, %t, %eight {axis = 0 : i64} : tensor<1xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<3xi64>
  %jb = llm.concat %j, %i1, %t {axis = 0 : i64} : tensor<1xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<3xi64>
  %q3 = llm.reshape %q, %jq : tensor<?x3x?x8xf32>, tensor<3xi64> -> tensor<?x?x8xf32>
  %k3 = llm.reshape %k, %jk : tensor<?x3x?x8xf32>, tensor<3xi64> -> tensor<?x?x8xf32>
  %v3 = llm.reshape %v, %jk : tensor<?x3x?x8xf32>, tensor<3xi64> -> tensor<?x?x8xf32>
  %b3 = llm.reshape %bias, %jb : tensor<?x3x?xf32>, tensor<3xi64> -> tensor<?x1x?xf32>
  %kt = llm.transpose %k3 permutation = [0, 2, 1] : tensor<?x?x8xf32> -> tensor<?x8x?xf32>
  %p = llm.matmul %q3, %kt : tensor<?x?x8xf32>, tensor<?x8x?xf32> -> tensor<?x?x?xf32>
  %a = llm.add %p, %b3 : tensor<?x?x?xf32>, tensor<?x1x?xf32> -> tensor<?x?x?xf32>
  %w = llm.softmax %a {axis = 2 : i64} : tensor<?x?x?xf32>
  %y3 = llm.matmul %w, %v3 : tensor<?x?x?xf32>, tensor<?x?x8xf32> -> tensor<?x?x8xf32>
  %back = llm.concat %b, %three, %s, %eight {axis = 0 : i64} : tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<4xi64>
  %y = llm.reshape %y3, %back : tensor<?x?x8xf32>, tensor<4xi64> -> tensor<?x3x?x8xf32>
  return %y : tensor<?x3x?x8xf32>
}

// A bias that was computed for joined batches is seen apart (DeBERTa gathers the scores of relative positions).
// CHECK-LABEL: func.func @gathered_bias
//       CHECK:   %[[P:.+]] = llm.matmul %{{.+}}, %{{.+}} : tensor<2x3x4x8xf32>, tensor<2x3x8x5xf32> -> tensor<2x3x4x5xf32>
//       CHECK:   %[[G:.+]] = llm.gather_elements
//       CHECK:   %[[B:.+]] = llm.reshape %[[G]], %{{.+}} : tensor<6x4x5xf32>, tensor<4xi64> -> tensor<2x3x4x5xf32>
//       CHECK:   %[[A:.+]] = llm.add %[[P]], %[[B]] : tensor<2x3x4x5xf32>, tensor<2x3x4x5xf32>
//       CHECK:   return %[[A]]
func.func @gathered_bias(%q: tensor<2x3x4x8xf32>, %k: tensor<2x3x8x5xf32>, %c: tensor<6x4x9xf32>, %i: tensor<6x4x5xi64>) -> tensor<2x3x4x5xf32> {
  %jq = llm.constant dense<[6, 4, 8]> : tensor<3xi64>
  %jk = llm.constant dense<[6, 8, 5]> : tensor<3xi64>
  %back = llm.constant dense<[2, 3, 4, 5]> : tensor<4xi64>
  %q3 = llm.reshape %q, %jq : tensor<2x3x4x8xf32>, tensor<3xi64> -> tensor<6x4x8xf32>
  %k3 = llm.reshape %k, %jk : tensor<2x3x8x5xf32>, tensor<3xi64> -> tensor<6x8x5xf32>
  %p = llm.matmul %q3, %k3 : tensor<6x4x8xf32>, tensor<6x8x5xf32> -> tensor<6x4x5xf32>
  %g = llm.gather_elements %c, %i {axis = 2 : i64} : tensor<6x4x9xf32>, tensor<6x4x5xi64> -> tensor<6x4x5xf32>
  %a = llm.add %p, %g : tensor<6x4x5xf32>, tensor<6x4x5xf32> -> tensor<6x4x5xf32>
  %y = llm.reshape %a, %back : tensor<6x4x5xf32>, tensor<4xi64> -> tensor<2x3x4x5xf32>
  return %y : tensor<2x3x4x5xf32>
}

// Batches that were joined in other ways, and a softmax over other dimensions.
// CHECK-LABEL: func.func @keeps_other_batches
//   CHECK-DAG:   llm.matmul %{{.+}}, %{{.+}} : tensor<6x4x5xf32>, tensor<6x5x7xf32>
//   CHECK-DAG:   llm.softmax %{{.+}} {axis = 1 : i64} : tensor<6x4x5xf32>
func.func @keeps_other_batches(%a: tensor<2x3x4x5xf32>, %b: tensor<3x2x5x7xf32>) -> (tensor<6x4x7xf32>, tensor<6x4x5xf32>) {
  %ja = llm.constant dense<[6, 4, 5]> : tensor<3xi64>
  %jb = llm.constant dense<[6, 5, 7]> : tensor<3xi64>
  %a3 = llm.reshape %a, %ja : tensor<2x3x4x5xf32>, tensor<3xi64> -> tensor<6x4x5xf32>
  %b3 = llm.reshape %b, %jb : tensor<3x2x5x7xf32>, tensor<3xi64> -> tensor<6x5x7xf32>
  %p = llm.matmul %a3, %b3 : tensor<6x4x5xf32>, tensor<6x5x7xf32> -> tensor<6x4x7xf32>
  %s = llm.softmax %a3 {axis = 1 : i64} : tensor<6x4x5xf32>
  return %p, %s : tensor<6x4x7xf32>, tensor<6x4x5xf32>
}

// A bias for heads is one for rows, before they are split.
// CHECK-LABEL: func.func @bias_of_heads
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<2x5x12xf32>
//       CHECK:   %[[W:.+]] = llm.reshape %{{.+}}, %{{.+}} : tensor<3x4xf32>, tensor<1xi64> -> tensor<12xf32>
//       CHECK:   %[[Y:.+]] = llm.add %[[X]], %[[W]] : tensor<2x5x12xf32>, tensor<12xf32>
//       CHECK:   llm.reshape %[[Y]]
func.func @bias_of_heads(%x: tensor<2x5x12xf32>) -> tensor<2x5x3x4xf32> {
  %w = llm.weight "w" : tensor<3x4xf32>
  %heads = llm.constant dense<[2, 5, 3, 4]> : tensor<4xi64>
  %r = llm.reshape %x, %heads : tensor<2x5x12xf32>, tensor<4xi64> -> tensor<2x5x3x4xf32>
  %y = llm.add %r, %w : tensor<2x5x3x4xf32>, tensor<3x4xf32> -> tensor<2x5x3x4xf32>
  return %y : tensor<2x5x3x4xf32>
}

// Dimensions of 1 need no transposition.
// CHECK-LABEL: func.func @ones_are_not_turned
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<2x5x3x4xf32>
//       CHECK:   %[[Y:.+]] = llm.transpose %[[X]] permutation = [0, 2, 1, 3] : tensor<2x5x3x4xf32> -> tensor<2x3x5x4xf32>
//       CHECK:   return %[[Y]]
func.func @ones_are_not_turned(%x: tensor<2x5x3x4xf32>) -> tensor<2x3x5x4xf32> {
  %e = llm.expand_dims %x axes = [1] : tensor<2x5x3x4xf32> -> tensor<2x1x5x3x4xf32>
  %t = llm.transpose %e permutation = [0, 3, 1, 2, 4] : tensor<2x1x5x3x4xf32> -> tensor<2x3x1x5x4xf32>
  %y = llm.squeeze %t axes = [2] : tensor<2x3x1x5x4xf32> -> tensor<2x3x5x4xf32>
  return %y : tensor<2x3x5x4xf32>
}
