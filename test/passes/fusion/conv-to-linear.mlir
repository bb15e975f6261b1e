// RUN: llmopt-opt %s --llmopt-fuse=only=conv-to-linear | FileCheck %s
// REQUIRES: llmopt-opt

// CHECK-LABEL: func.func @image
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<?x3x8x8xf32>
//   CHECK-DAG:   %[[C:.+]] = llm.transpose %[[X]] permutation = [0, 2, 3, 1] : tensor<?x3x8x8xf32> -> tensor<?x8x8x3xf32>
//   CHECK-DAG:   %[[T:.+]] = llm.transpose %{{.+}} permutation = [0, 2, 3, 1] : tensor<5x3x3x2xf32> -> tensor<5x3x2x3xf32>
//   CHECK-DAG:   %[[W:.+]] = llm.reshape %[[T]], %{{.+}} -> tensor<5x18xf32>
//       CHECK:   %[[R:.+]] = llm.windows %[[C]] kernel = [3, 2] {{.+}} -> tensor<?x8x4x18xf32>
//       CHECK:   %[[L:.+]] = llm.linear %[[R]], %[[W]], %{{.+}} : tensor<?x8x4x18xf32>, tensor<5x18xf32>, tensor<5xf32> -> tensor<?x8x4x5xf32>
//       CHECK:   %[[Y:.+]] = llm.transpose %[[L]] permutation = [0, 3, 1, 2] {llm.channels_first}
//       CHECK:   return %[[Y]]
func.func @image(%x: tensor<?x3x8x8xf32> {llm.dims = ["n", 3, 8, 8]}) -> tensor<?x5x8x4xf32> {
  %w = llm.weight "w" : tensor<5x3x3x2xf32>
  %b = llm.weight "b" : tensor<5xf32>
  %y = llm.conv %x, %w, %b {strides = array<i64: 1, 2>, pads = array<i64: 1, 0, 1, 0>, dilations = array<i64: 1, 1>, groups = 1 : i64} : tensor<?x3x8x8xf32>, tensor<5x3x3x2xf32>, tensor<5xf32> -> tensor<?x5x8x4xf32>
  return %y : tensor<?x5x8x4xf32>
}

// A kernel of one position sees what is there.
// CHECK-LABEL: func.func @pointwise
//   CHECK-NOT:   llm.windows
//       CHECK:   llm.linear %{{.+}}, %{{.+}} : tensor<2x?x6xf32>, tensor<9x6xf32> -> tensor<2x?x9xf32>
func.func @pointwise(%x: tensor<2x6x?xf32> {llm.dims = [2, 6, "n"]}) -> tensor<2x9x?xf32> {
  %w = llm.weight "w" : tensor<9x6x1xf32>
  %y = llm.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, groups = 1 : i64} : tensor<2x6x?xf32>, tensor<9x6x1xf32> -> tensor<2x9x?xf32>
  return %y : tensor<2x9x?xf32>
}

// CHECK-LABEL: func.func @groups
// CHECK-COUNT-2: llm.linear %{{.+}}, %{{.+}}, %{{.+}} : tensor<2x?x24xf32>, tensor<3x24xf32>, tensor<3xf32> -> tensor<2x?x3xf32>
//       CHECK:   llm.concat %{{.+}}, %{{.+}} {axis = 2 : i64} : tensor<2x?x3xf32>, tensor<2x?x3xf32> -> tensor<2x?x6xf32>
func.func @groups(%x: tensor<2x16x?xf32> {llm.dims = [2, 16, "n"]}) -> tensor<2x6x?xf32> {
  %w = llm.weight "w" : tensor<6x8x3xf32>
  %b = llm.weight "b" : tensor<6xf32>
  %y = llm.conv %x, %w, %b {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 1>, groups = 2 : i64} : tensor<2x16x?xf32>, tensor<6x8x3xf32>, tensor<6xf32> -> tensor<2x6x?xf32>
  return %y : tensor<2x6x?xf32>
}

// CHECK-LABEL: func.func @depthwise
//       CHECK:   %[[R:.+]] = llm.windows %{{.+}} kernel = [3] {{.+}} : tensor<2x?x6xf32> -> tensor<2x?x18xf32>
//       CHECK:   %[[A:.+]] = llm.reshape %[[R]], %{{.+}} -> tensor<2x?x3x6xf32>
//       CHECK:   %[[P:.+]] = llm.mul %[[A]], %{{.+}} : tensor<2x?x3x6xf32>, tensor<3x6xf32>
//       CHECK:   %[[S:.+]] = llm.reduce sum %[[P]] axes = [2]
//       CHECK:   llm.add %[[S]]
func.func @depthwise(%x: tensor<2x6x?xf32> {llm.dims = [2, 6, "n"]}) -> tensor<2x6x?xf32> {
  %w = llm.weight "w" : tensor<6x1x3xf32>
  %b = llm.weight "b" : tensor<6xf32>
  %y = llm.conv %x, %w, %b {strides = array<i64: 1>, pads = array<i64: 1, 1>, dilations = array<i64: 2>, groups = 6 : i64} : tensor<2x6x?xf32>, tensor<6x1x3xf32>, tensor<6xf32> -> tensor<2x6x?xf32>
  return %y : tensor<2x6x?xf32>
}

// CHECK-LABEL: func.func @keeps_a_kernel_that_is_computed
//       CHECK:   llm.conv
func.func @keeps_a_kernel_that_is_computed(%x: tensor<2x6x9xf32>, %w: tensor<9x6x3xf32>) -> tensor<2x9x7xf32> {
  %y = llm.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, groups = 1 : i64} : tensor<2x6x9xf32>, tensor<9x6x3xf32> -> tensor<2x9x7xf32>
  return %y : tensor<2x9x7xf32>
}

// CHECK-LABEL: func.func @keeps_another_type
//       CHECK:   llm.conv
func.func @keeps_another_type(%x: tensor<2x6x9xf64>) -> tensor<2x9x7xf64> {
  %w = llm.weight "w" : tensor<9x6x3xf64>
  %y = llm.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, groups = 1 : i64} : tensor<2x6x9xf64>, tensor<9x6x3xf64> -> tensor<2x9x7xf64>
  return %y : tensor<2x9x7xf64>
}

// CHECK-LABEL: func.func @keeps_groups_of_two
//       CHECK:   llm.conv
func.func @keeps_groups_of_two(%x: tensor<2x6x9xf32>) -> tensor<2x3x7xf32> {
  %w = llm.weight "w" : tensor<3x2x3xf32>
  %y = llm.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, groups = 3 : i64} : tensor<2x6x9xf32>, tensor<3x2x3xf32> -> tensor<2x3x7xf32>
  return %y : tensor<2x3x7xf32>
}
