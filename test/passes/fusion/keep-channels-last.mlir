// RUN: llmopt-opt %s --llmopt-fuse=only=keep-channels-last | FileCheck %s
// REQUIRES: llmopt-opt

// What stands between two convolutions, with a number for each channel, and a branch.
// CHECK-LABEL: func.func @between
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<2x?x5x3xf32>
//   CHECK-NOT:   llm.transpose %[[X]]
//       CHECK:   %[[S:.+]] = llm.mul %[[X]], %{{.+}} : tensor<2x?x5x3xf32>, tensor<3xf32> -> tensor<2x?x5x3xf32>
//       CHECK:   %[[R:.+]] = llm.relu %[[S]]
//       CHECK:   %[[Y:.+]] = llm.add %[[R]], %[[X]]
//       CHECK:   return %[[Y]]
func.func @between(%x: tensor<2x?x5x3xf32> {llm.dims = [2, "n", 5, 3]}) -> tensor<2x?x5x3xf32> {
  %g = llm.weight "g" : tensor<3x1x1xf32>
  %t = llm.transpose %x permutation = [0, 3, 1, 2] {llm.channels_first} : tensor<2x?x5x3xf32> -> tensor<2x3x?x5xf32>
  %s = llm.mul %t, %g : tensor<2x3x?x5xf32>, tensor<3x1x1xf32> -> tensor<2x3x?x5xf32>
  %r = llm.relu %s : tensor<2x3x?x5xf32>
  %a = llm.add %r, %t : tensor<2x3x?x5xf32>, tensor<2x3x?x5xf32> -> tensor<2x3x?x5xf32>
  %y = llm.transpose %a permutation = [0, 2, 3, 1] : tensor<2x3x?x5xf32> -> tensor<2x?x5x3xf32>
  return %y : tensor<2x?x5x3xf32>
}

// Padding, rows and columns taken, joined and reduced: along other dimensions than channels, or all of them.
// CHECK-LABEL: func.func @along
//   CHECK-DAG:   llm.pad constant %{{.+}} : tensor<2x4x5x3xf32>, tensor<8xi64>, tensor<f32> -> tensor<2x6x6x3xf32>
//   CHECK-DAG:   llm.slice %{{.+}} axes = [2, 1] steps = [2, 1] : tensor<2x6x6x3xf32>
//   CHECK-DAG:   llm.gather %{{.+}} {axis = 1 : i64} : tensor<2x6x6x3xf32>
//   CHECK-DAG:   llm.concat %{{.+}} {axis = 3 : i64}
//       CHECK:   %[[Y:.+]] = llm.reduce mean %{{.+}} axes = [1, 2] : tensor<2x5x3x6xf32> -> tensor<2x6xf32>
//       CHECK:   return %[[Y]]
func.func @along(%x: tensor<2x4x5x3xf32>) -> tensor<2x6xf32> {
  %zero = llm.constant dense<0.0> : tensor<f32>
  %pads = llm.constant dense<[0, 0, 1, 0, 0, 0, 1, 1]> : tensor<8xi64>
  %begin = llm.constant dense<[0, 1]> : tensor<2xi64>
  %end = llm.constant dense<[6, 6]> : tensor<2xi64>
  %rows = llm.constant dense<[0, 0, 1, 1, 5]> : tensor<5xi64>
  %t = llm.transpose %x permutation = [0, 3, 1, 2] {llm.channels_first} : tensor<2x4x5x3xf32> -> tensor<2x3x4x5xf32>
  %p = llm.pad constant %t, %pads, %zero : tensor<2x3x4x5xf32>, tensor<8xi64>, tensor<f32> -> tensor<2x3x6x6xf32>
  %s = llm.slice %p, %begin, %end axes = [3, 2] steps = [2, 1] : tensor<2x3x6x6xf32>, tensor<2xi64>, tensor<2xi64> -> tensor<2x3x5x3xf32>
  %h = llm.gather %p, %rows {axis = 2 : i64} : tensor<2x3x6x6xf32>, tensor<5xi64> -> tensor<2x3x5x6xf32>
  %c3 = llm.constant dense<3> : tensor<1xi64>
  %c0 = llm.constant dense<0> : tensor<1xi64>
  %g = llm.slice %h, %c0, %c3 axes = [3] steps = [1] : tensor<2x3x5x6xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<2x3x5x3xf32>
  %j = llm.concat %s, %g {axis = 1 : i64} : tensor<2x3x5x3xf32>, tensor<2x3x5x3xf32> -> tensor<2x6x5x3xf32>
  %y = llm.reduce mean %j axes = [2, 3] : tensor<2x6x5x3xf32> -> tensor<2x6xf32>
  return %y : tensor<2x6xf32>
}

// Patches become tokens.
// CHECK-LABEL: func.func @to_tokens
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<?x4x5x3xf32>
//       CHECK:   %[[Y:.+]] = llm.reshape %[[X]], %{{.+}} : tensor<?x4x5x3xf32>, tensor<3xi64> -> tensor<?x20x3xf32>
//       CHECK:   return %[[Y]]
func.func @to_tokens(%x: tensor<?x4x5x3xf32> {llm.dims = ["n", 4, 5, 3]}) -> tensor<?x20x3xf32> {
  %sizes = llm.constant dense<[0, 3, -1]> : tensor<3xi64>
  %t = llm.transpose %x permutation = [0, 3, 1, 2] {llm.channels_first} : tensor<?x4x5x3xf32> -> tensor<?x3x4x5xf32>
  %f = llm.reshape %t, %sizes : tensor<?x3x4x5xf32>, tensor<3xi64> -> tensor<?x3x20xf32>
  %y = llm.transpose %f permutation = [0, 2, 1] : tensor<?x3x20xf32> -> tensor<?x20x3xf32>
  return %y : tensor<?x20x3xf32>
}

// CHECK-LABEL: func.func @from_tokens
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<?x20x3xf32>
//       CHECK:   %[[Y:.+]] = llm.reshape %[[X]], %{{.+}} : tensor<?x20x3xf32>, tensor<4xi64> -> tensor<?x4x5x3xf32>
//       CHECK:   return %[[Y]]
func.func @from_tokens(%x: tensor<?x20x3xf32> {llm.dims = ["n", 20, 3]}) -> tensor<?x4x5x3xf32> {
  %sizes = llm.constant dense<[0, 3, 4, 5]> : tensor<4xi64>
  %t = llm.transpose %x permutation = [0, 2, 1] : tensor<?x20x3xf32> -> tensor<?x3x20xf32>
  %i = llm.reshape %t, %sizes : tensor<?x3x20xf32>, tensor<4xi64> -> tensor<?x3x4x5xf32>
  %y = llm.transpose %i permutation = [0, 2, 3, 1] : tensor<?x3x4x5xf32> -> tensor<?x4x5x3xf32>
  return %y : tensor<?x4x5x3xf32>
}

// The other operand has its channels first as it came.
// CHECK-LABEL: func.func @keeps_another_operand
//       CHECK:   %[[T:.+]] = llm.transpose
//       CHECK:   llm.add %[[T]]
func.func @keeps_another_operand(%x: tensor<2x4x5x3xf32>, %z: tensor<2x3x4x5xf32>) -> tensor<2x3x4x5xf32> {
  %t = llm.transpose %x permutation = [0, 3, 1, 2] {llm.channels_first} : tensor<2x4x5x3xf32> -> tensor<2x3x4x5xf32>
  %y = llm.add %t, %z : tensor<2x3x4x5xf32>, tensor<2x3x4x5xf32> -> tensor<2x3x4x5xf32>
  return %y : tensor<2x3x4x5xf32>
}

// Heads that were put in front are no channels.
// CHECK-LABEL: func.func @keeps_heads
//       CHECK:   %[[T:.+]] = llm.transpose
//       CHECK:   llm.relu %[[T]]
func.func @keeps_heads(%x: tensor<2x4x5x3xf32>) -> tensor<2x3x4x5xf32> {
  %t = llm.transpose %x permutation = [0, 3, 1, 2] : tensor<2x4x5x3xf32> -> tensor<2x3x4x5xf32>
  %y = llm.relu %t : tensor<2x3x4x5xf32>
  return %y : tensor<2x3x4x5xf32>
}

// A mean over one of two dimensions, without it.
// CHECK-LABEL: func.func @keeps_a_mean_of_rows
//       CHECK:   %[[T:.+]] = llm.transpose
//       CHECK:   llm.reduce mean %[[T]] axes = [2]
func.func @keeps_a_mean_of_rows(%x: tensor<2x4x5x3xf32>) -> tensor<2x3x5xf32> {
  %t = llm.transpose %x permutation = [0, 3, 1, 2] {llm.channels_first} : tensor<2x4x5x3xf32> -> tensor<2x3x4x5xf32>
  %y = llm.reduce mean %t axes = [2] : tensor<2x3x4x5xf32> -> tensor<2x3x5xf32>
  return %y : tensor<2x3x5xf32>
}
