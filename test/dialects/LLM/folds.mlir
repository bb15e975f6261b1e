// RUN: llmopt-opt %s --canonicalize | FileCheck %s

// CHECK-LABEL: func.func @neutral_operands
//  CHECK-SAME:   %[[X:.+]]: tensor<?x4xf32>
//       CHECK:   return %[[X]]
func.func @neutral_operands(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %one = llm.constant dense<1.0> : tensor<f32>
  %minus_zero = llm.constant dense<-0.0> : tensor<4xf32>
  %zero = llm.constant dense<0.0> : tensor<1x1xf32>
  %0 = llm.mul %one, %x : tensor<f32>, tensor<?x4xf32> -> tensor<?x4xf32>
  %1 = llm.add %0, %minus_zero : tensor<?x4xf32>, tensor<4xf32> -> tensor<?x4xf32>
  %2 = llm.sub %1, %zero : tensor<?x4xf32>, tensor<1x1xf32> -> tensor<?x4xf32>
  %3 = llm.div %2, %one : tensor<?x4xf32>, tensor<f32> -> tensor<?x4xf32>
  %4 = llm.pow %3, %one : tensor<?x4xf32>, tensor<f32> -> tensor<?x4xf32>
  return %4 : tensor<?x4xf32>
}

// x + 0.0 makes 0.0 of -0.0.
// CHECK-LABEL: func.func @keeps_plus_zero
//       CHECK:   llm.add
func.func @keeps_plus_zero(%x: tensor<4xf32>) -> tensor<4xf32> {
  %zero = llm.constant dense<0.0> : tensor<f32>
  %0 = llm.add %x, %zero : tensor<4xf32>, tensor<f32> -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// The constant makes the result larger.
// CHECK-LABEL: func.func @keeps_what_broadcasts
//       CHECK:   llm.mul
func.func @keeps_what_broadcasts(%x: tensor<?xf32>) -> tensor<?xf32> {
  %one = llm.constant dense<1.0> : tensor<4xf32>
  %0 = llm.mul %x, %one : tensor<?xf32>, tensor<4xf32> -> tensor<?xf32>
  return %0 : tensor<?xf32>
}

// CHECK-LABEL: func.func @integers
//  CHECK-SAME:   %[[X:.+]]: tensor<3xi64>
//       CHECK:   return %[[X]]
func.func @integers(%x: tensor<3xi64>) -> tensor<3xi64> {
  %zero = llm.constant dense<0> : tensor<3xi64>
  %0 = llm.add %x, %zero : tensor<3xi64>, tensor<3xi64> -> tensor<3xi64>
  %1 = llm.max %0, %0 : tensor<3xi64>, tensor<3xi64> -> tensor<3xi64>
  %2 = llm.neg %1 : tensor<3xi64>
  %3 = llm.neg %2 : tensor<3xi64>
  return %3 : tensor<3xi64>
}

// CHECK-LABEL: func.func @truth
//  CHECK-SAME:   %[[X:.+]]: tensor<3xi1>
//       CHECK:   return %[[X]]
func.func @truth(%x: tensor<3xi1>) -> tensor<3xi1> {
  %true = llm.constant dense<true> : tensor<i1>
  %false = llm.constant dense<false> : tensor<i1>
  %0 = llm.and %x, %true : tensor<3xi1>, tensor<i1> -> tensor<3xi1>
  %1 = llm.or %false, %0 : tensor<i1>, tensor<3xi1> -> tensor<3xi1>
  %2 = llm.not %1 : tensor<3xi1>
  %3 = llm.not %2 : tensor<3xi1>
  %4 = llm.select %true, %3, %false : tensor<i1>, tensor<3xi1>, tensor<i1> -> tensor<3xi1>
  return %4 : tensor<3xi1>
}

// CHECK-LABEL: func.func @transposes
//  CHECK-SAME:   %[[X:.+]]: tensor<2x3x4xf32>
//       CHECK:   %[[Y:.+]] = llm.transpose %[[X]] permutation = [2, 1, 0]
//       CHECK:   return %[[X]], %[[Y]]
func.func @transposes(%x: tensor<2x3x4xf32>) -> (tensor<2x3x4xf32>, tensor<4x3x2xf32>) {
  %0 = llm.transpose %x permutation = [1, 2, 0] : tensor<2x3x4xf32> -> tensor<3x4x2xf32>
  %1 = llm.transpose %0 permutation = [2, 0, 1] : tensor<3x4x2xf32> -> tensor<2x3x4xf32>
  %2 = llm.transpose %0 permutation = [1, 0, 2] : tensor<3x4x2xf32> -> tensor<4x3x2xf32>
  return %1, %2 : tensor<2x3x4xf32>, tensor<4x3x2xf32>
}

// CHECK-LABEL: func.func @casts_that_lose_nothing
//  CHECK-SAME:   %[[X:.+]]: tensor<4xbf16>, %[[I:.+]]: tensor<4xi8>
//       CHECK:   %[[Y:.+]] = llm.cast %[[I]] : tensor<4xi8> -> tensor<4xf16>
//       CHECK:   return %[[X]], %[[Y]]
func.func @casts_that_lose_nothing(%x: tensor<4xbf16>, %i: tensor<4xi8>) -> (tensor<4xbf16>, tensor<4xf16>) {
  %0 = llm.cast %x : tensor<4xbf16> -> tensor<4xf32>
  %1 = llm.cast %0 : tensor<4xf32> -> tensor<4xbf16>
  %2 = llm.cast %i : tensor<4xi8> -> tensor<4xf32>
  %3 = llm.cast %2 : tensor<4xf32> -> tensor<4xf16>
  return %1, %3 : tensor<4xbf16>, tensor<4xf16>
}

// CHECK-LABEL: func.func @keeps_casts_that_round
// CHECK-COUNT-4: llm.cast
func.func @keeps_casts_that_round(%x: tensor<4xf32>, %i: tensor<4xi32>) -> (tensor<4xf32>, tensor<4xi32>) {
  %0 = llm.cast %x : tensor<4xf32> -> tensor<4xbf16>
  %1 = llm.cast %0 : tensor<4xbf16> -> tensor<4xf32>
  %2 = llm.cast %i : tensor<4xi32> -> tensor<4xf32>
  %3 = llm.cast %2 : tensor<4xf32> -> tensor<4xi32>
  return %1, %3 : tensor<4xf32>, tensor<4xi32>
}

// CHECK-LABEL: func.func @dimensions_of_one
//  CHECK-SAME:   %[[X:.+]]: tensor<?x1x4xf32>
//       CHECK:   return %[[X]], %[[X]]
func.func @dimensions_of_one(%x: tensor<?x1x4xf32>) -> (tensor<?x1x4xf32>, tensor<?x1x4xf32>) {
  %0 = llm.squeeze %x axes = [1] : tensor<?x1x4xf32> -> tensor<?x4xf32>
  %1 = llm.expand_dims %0 axes = [1] : tensor<?x4xf32> -> tensor<?x1x4xf32>
  %2 = llm.expand_dims %x axes = [0, 4] : tensor<?x1x4xf32> -> tensor<1x?x1x4x1xf32>
  %3 = llm.squeeze %2 axes = [0, 4] : tensor<1x?x1x4x1xf32> -> tensor<?x1x4xf32>
  return %1, %3 : tensor<?x1x4xf32>, tensor<?x1x4xf32>
}

// CHECK-LABEL: func.func @nothing_moves
//  CHECK-SAME:   %[[X:.+]]: tensor<?x4xf32>
//       CHECK:   return %[[X]]
func.func @nothing_moves(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %zeros = llm.constant dense<0> : tensor<2xi64>
  %ends = llm.constant dense<[9223372036854775807, 4]> : tensor<2xi64>
  %ones = llm.constant dense<1> : tensor<2xi64>
  %pads = llm.constant dense<0> : tensor<4xi64>
  %value = llm.constant dense<0.0> : tensor<f32>
  %0 = llm.slice %x, %zeros, %ends axes = [0, 1] steps = [1, 1] : tensor<?x4xf32>, tensor<2xi64>, tensor<2xi64> -> tensor<?x4xf32>
  %1 = llm.concat %0 {axis = 0 : i64} : tensor<?x4xf32> -> tensor<?x4xf32>
  %2 = llm.tile %1, %ones : tensor<?x4xf32>, tensor<2xi64> -> tensor<?x4xf32>
  %3 = llm.pad constant %2, %pads, %value : tensor<?x4xf32>, tensor<4xi64>, tensor<f32> -> tensor<?x4xf32>
  %4 = llm.broadcast %3, %ones : tensor<?x4xf32>, tensor<2xi64> -> tensor<?x4xf32>
  %5 = llm.flatten %4 {axis = 1 : i64} : tensor<?x4xf32> -> tensor<?x4xf32>
  %6 = llm.reduce sum %5 axes = [] : tensor<?x4xf32> -> tensor<?x4xf32>
  return %6 : tensor<?x4xf32>
}

// CHECK-LABEL: func.func @keeps_a_slice_that_may_cut
//       CHECK:   llm.slice
func.func @keeps_a_slice_that_may_cut(%x: tensor<?xf32>) -> tensor<?xf32> {
  %zero = llm.constant dense<0> : tensor<1xi64>
  %end = llm.constant dense<1024> : tensor<1xi64>
  %0 = llm.slice %x, %zero, %end axes = [0] steps = [1] : tensor<?xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<?xf32>
  return %0 : tensor<?xf32>
}

// CHECK-LABEL: func.func @reshapes
//  CHECK-SAME:   %[[X:.+]]: tensor<?x4xf32>, %[[S:.+]]: tensor<3xi64>
//       CHECK:   llm.reshape %[[X]], %{{.+}} -> tensor<?xf32>
func.func @reshapes(%x: tensor<?x4xf32>, %s: tensor<3xi64>) -> tensor<?xf32> {
  %flat = llm.constant dense<-1> : tensor<1xi64>
  %0 = llm.reshape %x, %s : tensor<?x4xf32>, tensor<3xi64> -> tensor<?x2x2xf32>
  %1 = llm.reshape %0, %flat : tensor<?x2x2xf32>, tensor<1xi64> -> tensor<?xf32>
  return %1 : tensor<?xf32>
}

// The 0 copies a dimension of the tensor in between.
// CHECK-LABEL: func.func @keeps_a_reshape_that_copies
// CHECK-COUNT-2: llm.reshape
func.func @keeps_a_reshape_that_copies(%x: tensor<?x4xf32>, %s: tensor<3xi64>) -> tensor<?x4xf32> {
  %entries = llm.constant dense<[0, -1]> : tensor<2xi64>
  %0 = llm.reshape %x, %s : tensor<?x4xf32>, tensor<3xi64> -> tensor<?x2x2xf32>
  %1 = llm.reshape %0, %entries : tensor<?x2x2xf32>, tensor<2xi64> -> tensor<?x4xf32>
  return %1 : tensor<?x4xf32>
}

// CHECK-LABEL: func.func @static_shape
//       CHECK:   llm.constant dense<[2, 3]> : tensor<2xi64>
func.func @static_shape(%x: tensor<2x3xf32>) -> tensor<2xi64> {
  %0 = llm.shape %x : tensor<2x3xf32> -> tensor<2xi64>
  return %0 : tensor<2xi64>
}
