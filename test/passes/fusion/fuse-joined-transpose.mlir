// RUN: llmopt-opt %s --llmopt-fuse=only=fuse-joined-transpose | FileCheck %s
// REQUIRES: llmopt-opt

// CHECK-LABEL: func.func @matrices_of_a_batch
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<?x4x?x8xf32>
//       CHECK:   %[[Y:.+]] = llm.transpose %[[X]] permutation = [0, 1, 3, 2]
//       CHECK:   return %[[Y]]
func.func @matrices_of_a_batch(%x: tensor<?x4x?x8xf32> {llm.dims = ["b", 4, "t", 8]}) -> tensor<?x4x8x?xf32> {
  %shape = llm.shape %x : tensor<?x4x?x8xf32> -> tensor<4xi64>
  %zero = llm.constant dense<0> : tensor<1xi64>
  %one = llm.constant dense<1> : tensor<1xi64>
  %two = llm.constant dense<2> : tensor<1xi64>
  %three = llm.constant dense<3> : tensor<1xi64>
  %b = llm.slice %shape, %zero, %one axes = [0] steps = [1] : tensor<4xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<1xi64>
  %t = llm.slice %shape, %two, %three axes = [0] steps = [1] : tensor<4xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<1xi64>
  %rest = llm.constant dense<-1> : tensor<1xi64>
  %heads = llm.constant dense<4> : tensor<1xi64>
  %size = llm.constant dense<8> : tensor<1xi64>
  %s3 = llm.concat %rest, %t, %size {axis = 0 : i64} : tensor<1xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<3xi64>
  %s4 = llm.concat %b, %heads, %size, %t {axis = 0 : i64} : tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<4xi64>
  %j = llm.reshape %x, %s3 : tensor<?x4x?x8xf32>, tensor<3xi64> -> tensor<?x?x8xf32>
  %m = llm.transpose %j permutation = [0, 2, 1] : tensor<?x?x8xf32> -> tensor<?x8x?xf32>
  %y = llm.reshape %m, %s4 : tensor<?x8x?xf32>, tensor<4xi64> -> tensor<?x4x8x?xf32>
  return %y : tensor<?x4x8x?xf32>
}

// Joined another way: rows of different matrices mix.
// CHECK-LABEL: func.func @keeps_reshaped_matrices
//       CHECK:   llm.transpose %{{.+}} permutation = [0, 2, 1]
func.func @keeps_reshaped_matrices(%x: tensor<2x4x6x8xf32>) -> tensor<2x4x8x6xf32> {
  %s3 = llm.constant dense<[4, 12, 8]> : tensor<3xi64>
  %s4 = llm.constant dense<[2, 4, 8, 6]> : tensor<4xi64>
  %j = llm.reshape %x, %s3 : tensor<2x4x6x8xf32>, tensor<3xi64> -> tensor<4x12x8xf32>
  %m = llm.transpose %j permutation = [0, 2, 1] : tensor<4x12x8xf32> -> tensor<4x8x12xf32>
  %y = llm.reshape %m, %s4 : tensor<4x8x12xf32>, tensor<4xi64> -> tensor<2x4x8x6xf32>
  return %y : tensor<2x4x8x6xf32>
}

// Keys that were repeated for groups of queries, and scaled.
// CHECK-LABEL: func.func @repeated_and_scaled
//       CHECK:   %[[K:.+]] = llm.reshape %{{.+}} : tensor<?x2x3x?x8xf32>, tensor<4xi64> -> tensor<?x6x?x8xf32>
//       CHECK:   %[[T:.+]] = llm.transpose %[[K]] permutation = [0, 1, 3, 2]
//       CHECK:   %[[Y:.+]] = llm.mul %[[T]]
//       CHECK:   return %[[Y]]
func.func @repeated_and_scaled(%x: tensor<?x2x3x?x8xf32> {llm.dims = ["b", 2, 3, "t", 8]}) -> tensor<?x6x8x?xf32> {
  %half = llm.constant dense<0.5> : tensor<f32>
  %shape = llm.shape %x : tensor<?x2x3x?x8xf32> -> tensor<5xi64>
  %i0 = llm.constant dense<0> : tensor<1xi64>
  %i3 = llm.constant dense<3> : tensor<1xi64>
  %b = llm.gather %shape, %i0 {axis = 0 : i64} : tensor<5xi64>, tensor<1xi64> -> tensor<1xi64>
  %t = llm.gather %shape, %i3 {axis = 0 : i64} : tensor<5xi64>, tensor<1xi64> -> tensor<1xi64>
  %six = llm.constant dense<6> : tensor<1xi64>
  %size = llm.constant dense<8> : tensor<1xi64>
  %all = llm.mul %b, %six : tensor<1xi64>, tensor<1xi64> -> tensor<1xi64>
  %s3 = llm.concat %all, %t, %size {axis = 0 : i64} : tensor<1xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<3xi64>
  %s4 = llm.concat %b, %six, %size, %t {axis = 0 : i64} : tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<4xi64>
  %j = llm.reshape %x, %s3 {allowzero} : tensor<?x2x3x?x8xf32>, tensor<3xi64> -> tensor<?x?x8xf32>
  %m = llm.transpose %j permutation = [0, 2, 1] : tensor<?x?x8xf32> -> tensor<?x8x?xf32>
  %h = llm.mul %m, %half : tensor<?x8x?xf32>, tensor<f32> -> tensor<?x8x?xf32>
  %y = llm.reshape %h, %s4 {allowzero} : tensor<?x8x?xf32>, tensor<4xi64> -> tensor<?x6x8x?xf32>
  return %y : tensor<?x6x8x?xf32>
}
