// RUN: llmopt-opt %s --llmopt-fuse=only=split-packed-linear | FileCheck %s
// REQUIRES: llmopt-opt

// CHECK-LABEL: func.func @gate_and_up
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<?x6xf32>
//   CHECK-DAG:   %[[GW:.+]] = llm.slice %[[W:.+]], %{{.+}}, %{{.+}} axes = [1] steps = [1] : tensor<6x8xf32>
//   CHECK-DAG:   %[[GB:.+]] = llm.slice %[[V:.+]], %{{.+}}, %{{.+}} axes = [0] steps = [1] : tensor<8xf32>
//   CHECK-DAG:   %[[G:.+]] = llm.linear %[[X]], %{{.+}}, %{{.+}} {transposed} : tensor<?x6xf32>, tensor<6x4xf32>, tensor<4xf32> -> tensor<?x4xf32>
//   CHECK-DAG:   %[[U:.+]] = llm.linear %[[X]], %{{.+}}, %{{.+}} {transposed} : tensor<?x6xf32>, tensor<6x4xf32>, tensor<4xf32> -> tensor<?x4xf32>
//       CHECK:   llm.silu
//   CHECK-NOT:   tensor<?x8xf32>
func.func @gate_and_up(%x: tensor<?x6xf32> {llm.dims = ["n", 6]}) -> tensor<?x4xf32> {
  %w = llm.weight "w" : tensor<6x8xf32>
  %b = llm.weight "b" : tensor<8xf32>
  %i0 = llm.constant dense<0> : tensor<1xi64>
  %i4 = llm.constant dense<4> : tensor<1xi64>
  %i8 = llm.constant dense<8> : tensor<1xi64>
  %p = llm.linear %x, %w, %b {transposed} : tensor<?x6xf32>, tensor<6x8xf32>, tensor<8xf32> -> tensor<?x8xf32>
  %gate = llm.slice %p, %i0, %i4 axes = [1] steps = [1] : tensor<?x8xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<?x4xf32>
  %up = llm.slice %p, %i4, %i8 axes = [1] steps = [1] : tensor<?x8xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<?x4xf32>
  %act = llm.silu %gate : tensor<?x4xf32>
  %y = llm.mul %up, %act : tensor<?x4xf32>, tensor<?x4xf32> -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// Rows are outputs; the gate is the second half. What is permitted for the whole is for its parts.
// CHECK-LABEL: func.func @up_and_gate
//   CHECK-DAG:   llm.slice %{{.+}}, %{{.+}}, %{{.+}} axes = [0] steps = [1] : tensor<8x6xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<4x6xf32>
//   CHECK-DAG:   llm.linear %{{.+}}, %{{.+}} {llm.int8_input}
//   CHECK-NOT:   tensor<5x8xf32>
func.func @up_and_gate(%x: tensor<5x6xf32>) -> tensor<5x4xf32> {
  %w = llm.weight "w" : tensor<8x6xf32>
  %i0 = llm.constant dense<0> : tensor<1xi64>
  %i4 = llm.constant dense<4> : tensor<1xi64>
  %i8 = llm.constant dense<8> : tensor<1xi64>
  %p = llm.linear %x, %w {llm.int8_input} : tensor<5x6xf32>, tensor<8x6xf32> -> tensor<5x8xf32>
  %up = llm.slice %p, %i0, %i4 axes = [1] steps = [1] : tensor<5x8xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<5x4xf32>
  %gate = llm.slice %p, %i4, %i8 axes = [1] steps = [1] : tensor<5x8xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<5x4xf32>
  %act = llm.gelu %gate : tensor<5x4xf32>
  %y = llm.mul %act, %up : tensor<5x4xf32>, tensor<5x4xf32> -> tensor<5x4xf32>
  return %y : tensor<5x4xf32>
}

// Queries, keys and values of which the parts are not alike.
// CHECK-LABEL: func.func @queries_keys_values
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<?x?x6xf32>
//   CHECK-DAG:   %[[Q:.+]] = llm.linear %[[X]], %{{.+}} {transposed} : tensor<?x?x6xf32>, tensor<6x4xf32> -> tensor<?x?x4xf32>
//   CHECK-DAG:   %[[K:.+]] = llm.linear %[[X]], %{{.+}} {transposed} : tensor<?x?x6xf32>, tensor<6x2xf32> -> tensor<?x?x2xf32>
//   CHECK-DAG:   %[[V:.+]] = llm.linear %[[X]], %{{.+}} {transposed} : tensor<?x?x6xf32>, tensor<6x2xf32> -> tensor<?x?x2xf32>
//       CHECK:   return %[[Q]], %{{.+}}, %{{.+}}
func.func @queries_keys_values(%x: tensor<?x?x6xf32> {llm.dims = ["b", "s", 6]}) -> (tensor<?x?x4xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>) {
  %w = llm.weight "w" : tensor<6x8xf32>
  %i0 = llm.constant dense<0> : tensor<1xi64>
  %i4 = llm.constant dense<4> : tensor<1xi64>
  %i6 = llm.constant dense<6> : tensor<1xi64>
  %i8 = llm.constant dense<8> : tensor<1xi64>
  %p = llm.linear %x, %w {transposed} : tensor<?x?x6xf32>, tensor<6x8xf32> -> tensor<?x?x8xf32>
  %q = llm.slice %p, %i0, %i4 axes = [2] steps = [1] : tensor<?x?x8xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<?x?x4xf32>
  %k = llm.slice %p, %i4, %i6 axes = [2] steps = [1] : tensor<?x?x8xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<?x?x2xf32>
  %v = llm.slice %p, %i6, %i8 axes = [2] steps = [1] : tensor<?x?x8xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<?x?x2xf32>
  return %q, %k, %v : tensor<?x?x4xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>
}

// CHECK-LABEL: func.func @keeps_every_other_column
//       CHECK:   llm.linear {{.*}} -> tensor<5x8xf32>
func.func @keeps_every_other_column(%x: tensor<5x6xf32>) -> (tensor<5x4xf32>, tensor<5x4xf32>) {
  %w = llm.weight "w" : tensor<8x6xf32>
  %i0 = llm.constant dense<0> : tensor<1xi64>
  %i1 = llm.constant dense<1> : tensor<1xi64>
  %i8 = llm.constant dense<8> : tensor<1xi64>
  %p = llm.linear %x, %w : tensor<5x6xf32>, tensor<8x6xf32> -> tensor<5x8xf32>
  %even = llm.slice %p, %i0, %i8 axes = [1] steps = [2] : tensor<5x8xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<5x4xf32>
  %odd = llm.slice %p, %i1, %i8 axes = [1] steps = [2] : tensor<5x8xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<5x4xf32>
  return %even, %odd : tensor<5x4xf32>, tensor<5x4xf32>
}

// CHECK-LABEL: func.func @keeps_overlapping_parts
//       CHECK:   llm.linear {{.*}} -> tensor<5x8xf32>
func.func @keeps_overlapping_parts(%x: tensor<5x6xf32>) -> tensor<5x5xf32> {
  %w = llm.weight "w" : tensor<8x6xf32>
  %i0 = llm.constant dense<0> : tensor<1xi64>
  %i3 = llm.constant dense<3> : tensor<1xi64>
  %i5 = llm.constant dense<5> : tensor<1xi64>
  %i8 = llm.constant dense<8> : tensor<1xi64>
  %p = llm.linear %x, %w : tensor<5x6xf32>, tensor<8x6xf32> -> tensor<5x8xf32>
  %gate = llm.slice %p, %i0, %i5 axes = [1] steps = [1] : tensor<5x8xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<5x5xf32>
  %up = llm.slice %p, %i3, %i8 axes = [1] steps = [1] : tensor<5x8xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<5x5xf32>
  %act = llm.silu %gate : tensor<5x5xf32>
  %y = llm.mul %act, %up : tensor<5x5xf32>, tensor<5x5xf32> -> tensor<5x5xf32>
  return %y : tensor<5x5xf32>
}

// CHECK-LABEL: func.func @keeps_projection_read_elsewhere
//       CHECK:   llm.linear {{.*}} -> tensor<5x8xf32>
//   CHECK-NOT:   llm.linear
func.func @keeps_projection_read_elsewhere(%x: tensor<5x6xf32>) -> (tensor<5x4xf32>, tensor<5x8xf32>) {
  %w = llm.weight "w" : tensor<8x6xf32>
  %i0 = llm.constant dense<0> : tensor<1xi64>
  %i4 = llm.constant dense<4> : tensor<1xi64>
  %i8 = llm.constant dense<8> : tensor<1xi64>
  %p = llm.linear %x, %w : tensor<5x6xf32>, tensor<8x6xf32> -> tensor<5x8xf32>
  %gate = llm.slice %p, %i0, %i4 axes = [1] steps = [1] : tensor<5x8xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<5x4xf32>
  %up = llm.slice %p, %i4, %i8 axes = [1] steps = [1] : tensor<5x8xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<5x4xf32>
  %act = llm.silu %gate : tensor<5x4xf32>
  %y = llm.mul %act, %up : tensor<5x4xf32>, tensor<5x4xf32> -> tensor<5x4xf32>
  return %y, %p : tensor<5x4xf32>, tensor<5x8xf32>
}

// Cut along rows: nothing of the weight belongs to a part.
// CHECK-LABEL: func.func @keeps_parts_of_rows
//       CHECK:   llm.linear {{.*}} -> tensor<8x8xf32>
//   CHECK-NOT:   llm.linear
func.func @keeps_parts_of_rows(%x: tensor<8x6xf32>) -> tensor<4x8xf32> {
  %w = llm.weight "w" : tensor<8x6xf32>
  %i0 = llm.constant dense<0> : tensor<1xi64>
  %i4 = llm.constant dense<4> : tensor<1xi64>
  %i8 = llm.constant dense<8> : tensor<1xi64>
  %p = llm.linear %x, %w : tensor<8x6xf32>, tensor<8x6xf32> -> tensor<8x8xf32>
  %gate = llm.slice %p, %i0, %i4 axes = [0] steps = [1] : tensor<8x8xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<4x8xf32>
  %up = llm.slice %p, %i4, %i8 axes = [0] steps = [1] : tensor<8x8xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<4x8xf32>
  %act = llm.silu %gate : tensor<4x8xf32>
  %y = llm.mul %act, %up : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// The projection is rounded to f16 before it is cut.
// CHECK-LABEL: func.func @keeps_projection_in_another_type
//       CHECK:   llm.linear {{.*}} -> tensor<5x8xf32>
//   CHECK-NOT:   llm.linear
func.func @keeps_projection_in_another_type(%x: tensor<5x6xf32>) -> tensor<5x4xf16> {
  %w = llm.weight "w" : tensor<8x6xf32>
  %i0 = llm.constant dense<0> : tensor<1xi64>
  %i4 = llm.constant dense<4> : tensor<1xi64>
  %i8 = llm.constant dense<8> : tensor<1xi64>
  %l = llm.linear %x, %w : tensor<5x6xf32>, tensor<8x6xf32> -> tensor<5x8xf32>
  %p = llm.cast %l : tensor<5x8xf32> -> tensor<5x8xf16>
  %gate = llm.slice %p, %i0, %i4 axes = [1] steps = [1] : tensor<5x8xf16>, tensor<1xi64>, tensor<1xi64> -> tensor<5x4xf16>
  %up = llm.slice %p, %i4, %i8 axes = [1] steps = [1] : tensor<5x8xf16>, tensor<1xi64>, tensor<1xi64> -> tensor<5x4xf16>
  %act = llm.silu %gate : tensor<5x4xf16>
  %y = llm.mul %act, %up : tensor<5x4xf16>, tensor<5x4xf16> -> tensor<5x4xf16>
  return %y : tensor<5x4xf16>
}
