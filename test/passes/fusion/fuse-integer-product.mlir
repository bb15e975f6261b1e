// RUN: llmopt-opt %s --llmopt-fuse=only=fuse-integer-product | FileCheck %s
// REQUIRES: llmopt-opt

// MatMulInteger with a zero point that is known at run time, and a symmetric weight.
// CHECK-LABEL: func.func @dynamic
//  CHECK-SAME:   %[[A:[a-z0-9]+]]: tensor<?x?x6xui8>{{.*}}, %[[Z:[a-z0-9]+]]: tensor<ui8>
//       CHECK:   %[[W:.+]] = llm.weight "w"
//       CHECK:   %[[ZI:.+]] = llm.cast %[[Z]]
//       CHECK:   %[[S:.+]] = llm.matmul %[[A]], %[[W]] : tensor<?x?x6xui8>, tensor<6x4xi8> -> tensor<?x?x4xi32>
//       CHECK:   %[[C:.+]] = llm.reduce sum %{{.+}} axes = [0] : tensor<6x4xi32> -> tensor<4xi32>
//       CHECK:   %[[T:.+]] = llm.mul %[[ZI]], %[[C]]
//       CHECK:   %[[Y:.+]] = llm.sub %[[S]], %[[T]]
//       CHECK:   return %[[Y]]
func.func @dynamic(%a: tensor<?x?x6xui8> {llm.dims = ["b", "s", 6]}, %z: tensor<ui8>) -> tensor<?x?x4xi32> {
  %w = llm.weight "w" : tensor<6x4xi8>
  %0 = llm.cast %a : tensor<?x?x6xui8> -> tensor<?x?x6xi32>
  %1 = llm.cast %z : tensor<ui8> -> tensor<i32>
  %2 = llm.sub %0, %1 : tensor<?x?x6xi32>, tensor<i32> -> tensor<?x?x6xi32>
  %3 = llm.cast %w : tensor<6x4xi8> -> tensor<6x4xi32>
  %y = llm.matmul %2, %3 : tensor<?x?x6xi32>, tensor<6x4xi32> -> tensor<?x?x4xi32>
  return %y : tensor<?x?x4xi32>
}

// Signed rows and unsigned weights change their highest bit; the weight's zero point of 128 goes with it.
// CHECK-LABEL: func.func @other_signs
//       CHECK:   %[[A:.+]] = llm.xor {{.*}} : tensor<3x6xui8>
//       CHECK:   %[[W:.+]] = llm.xor {{.*}} : tensor<6x4xi8>
//       CHECK:   llm.matmul %[[A]], %[[W]] : tensor<3x6xui8>, tensor<6x4xi8> -> tensor<3x4xi32>
//   CHECK-NOT:   llm.reduce {{.*}} axes = [1]
func.func @other_signs(%a: tensor<3x6xi8>) -> tensor<3x4xi32> {
  %w = llm.weight "w" : tensor<6x4xui8>
  %zw = llm.constant dense<128> : tensor<i32>
  %0 = llm.cast %a : tensor<3x6xi8> -> tensor<3x6xi32>
  %1 = llm.cast %w : tensor<6x4xui8> -> tensor<6x4xi32>
  %2 = llm.sub %1, %zw : tensor<6x4xi32>, tensor<i32> -> tensor<6x4xi32>
  %y = llm.matmul %0, %2 : tensor<3x6xi32>, tensor<6x4xi32> -> tensor<3x4xi32>
  return %y : tensor<3x4xi32>
}

// A weight with zero points by column: the rows' sums are needed too.
// CHECK-LABEL: func.func @asymmetric
//       CHECK:   llm.matmul %{{.+}}, %{{.+}} : tensor<3x6xui8>, tensor<6x4xi8> -> tensor<3x4xi32>
//       CHECK:   llm.reduce sum %{{.+}} axes = [1] {keepdims} : tensor<3x6xi32> -> tensor<3x1xi32>
func.func @asymmetric(%a: tensor<3x6xui8>) -> tensor<3x4xi32> {
  %w = llm.weight "w" : tensor<6x4xui8>
  %zw = llm.weight "z" : tensor<4xui8>
  %0 = llm.cast %a : tensor<3x6xui8> -> tensor<3x6xi32>
  %1 = llm.cast %w : tensor<6x4xui8> -> tensor<6x4xi32>
  %2 = llm.cast %zw : tensor<4xui8> -> tensor<4xi32>
  %3 = llm.sub %1, %2 : tensor<6x4xi32>, tensor<4xi32> -> tensor<6x4xi32>
  %y = llm.matmul %0, %3 : tensor<3x6xi32>, tensor<6x4xi32> -> tensor<3x4xi32>
  return %y : tensor<3x4xi32>
}

// What moves the differences moves the bytes.
// CHECK-LABEL: func.func @moved
//       CHECK:   %[[T:.+]] = llm.transpose %{{.+}} permutation = [1, 0] : tensor<6x3xui8> -> tensor<3x6xui8>
//       CHECK:   llm.matmul %[[T]], %{{.+}} : tensor<3x6xui8>, tensor<6x4xi8> -> tensor<3x4xi32>
func.func @moved(%a: tensor<6x3xui8>, %z: tensor<i32>) -> tensor<3x4xi32> {
  %w = llm.weight "w" : tensor<6x4xi8>
  %0 = llm.cast %a : tensor<6x3xui8> -> tensor<6x3xi32>
  %1 = llm.sub %0, %z : tensor<6x3xi32>, tensor<i32> -> tensor<6x3xi32>
  %2 = llm.transpose %1 permutation = [1, 0] : tensor<6x3xi32> -> tensor<3x6xi32>
  %3 = llm.cast %w : tensor<6x4xi8> -> tensor<6x4xi32>
  %y = llm.matmul %2, %3 : tensor<3x6xi32>, tensor<6x4xi32> -> tensor<3x4xi32>
  return %y : tensor<3x4xi32>
}

// CHECK-LABEL: func.func @keeps_two_inputs
//       CHECK:   llm.matmul {{.*}} : tensor<3x6xi32>, tensor<6x4xi32>
func.func @keeps_two_inputs(%a: tensor<3x6xui8>, %b: tensor<6x4xi8>) -> tensor<3x4xi32> {
  %0 = llm.cast %a : tensor<3x6xui8> -> tensor<3x6xi32>
  %1 = llm.cast %b : tensor<6x4xi8> -> tensor<6x4xi32>
  %y = llm.matmul %0, %1 : tensor<3x6xi32>, tensor<6x4xi32> -> tensor<3x4xi32>
  return %y : tensor<3x4xi32>
}

// CHECK-LABEL: func.func @keeps_zero_points_by_row
//       CHECK:   llm.matmul {{.*}} : tensor<3x6xi32>, tensor<6x4xi32>
func.func @keeps_zero_points_by_row(%a: tensor<3x6xui8>, %z: tensor<3x1xi32>) -> tensor<3x4xi32> {
  %w = llm.weight "w" : tensor<6x4xi8>
  %0 = llm.cast %a : tensor<3x6xui8> -> tensor<3x6xi32>
  %1 = llm.sub %0, %z : tensor<3x6xi32>, tensor<3x1xi32> -> tensor<3x6xi32>
  %2 = llm.cast %w : tensor<6x4xi8> -> tensor<6x4xi32>
  %y = llm.matmul %1, %2 : tensor<3x6xi32>, tensor<6x4xi32> -> tensor<3x4xi32>
  return %y : tensor<3x4xi32>
}

// CHECK-LABEL: func.func @keeps_wider_codes
//       CHECK:   llm.matmul {{.*}} : tensor<3x6xi32>, tensor<6x4xi32>
func.func @keeps_wider_codes(%a: tensor<3x6xui16>) -> tensor<3x4xi32> {
  %w = llm.weight "w" : tensor<6x4xi8>
  %0 = llm.cast %a : tensor<3x6xui16> -> tensor<3x6xi32>
  %1 = llm.cast %w : tensor<6x4xi8> -> tensor<6x4xi32>
  %y = llm.matmul %0, %1 : tensor<3x6xi32>, tensor<6x4xi32> -> tensor<3x4xi32>
  return %y : tensor<3x4xi32>
}

// The differences are read elsewhere as well: the bytes are multiplied all the same, and no product is made twice.
// CHECK-LABEL: func.func @differences_that_are_returned
//       CHECK:   llm.matmul %{{.+}}, %{{.+}} : tensor<3x6xui8>, tensor<6x4xi8> -> tensor<3x4xi32>
//   CHECK-NOT:   llm.matmul
func.func @differences_that_are_returned(%a: tensor<3x6xui8>, %z: tensor<i32>) -> (tensor<3x4xi32>, tensor<3x6xi32>) {
  %w = llm.weight "w" : tensor<6x4xi8>
  %0 = llm.cast %a : tensor<3x6xui8> -> tensor<3x6xi32>
  %1 = llm.sub %0, %z : tensor<3x6xi32>, tensor<i32> -> tensor<3x6xi32>
  %2 = llm.cast %w : tensor<6x4xi8> -> tensor<6x4xi32>
  %y = llm.matmul %1, %2 : tensor<3x6xi32>, tensor<6x4xi32> -> tensor<3x4xi32>
  return %y, %1 : tensor<3x4xi32>, tensor<3x6xi32>
}
