// RUN: llmopt-opt %s --llmopt-fold-constants --canonicalize | FileCheck %s
// REQUIRES: llmopt-opt

// CHECK-LABEL: func.func @constants
//       CHECK:   %[[C:.+]] = llm.constant dense<[4, 6]> : tensor<2xi64>
//       CHECK:   return %[[C]]
func.func @constants() -> tensor<2xi64> {
  %a = llm.constant dense<[1, 2]> : tensor<2xi64>
  %b = llm.constant dense<[3, 4]> : tensor<2xi64>
  %s = llm.add %a, %b : tensor<2xi64>, tensor<2xi64> -> tensor<2xi64>
  return %s : tensor<2xi64>
}

// A tensor of a tebibyte is not computed.
// CHECK-LABEL: func.func @bomb_stays
//       CHECK:   llm.broadcast
func.func @bomb_stays() -> tensor<1099511627776xf32> {
  %one = llm.constant dense<1.0> : tensor<1xf32>
  %n = llm.constant dense<1099511627776> : tensor<1xi64>
  %b = llm.broadcast %one, %n : tensor<1xf32>, tensor<1xi64> -> tensor<1099511627776xf32>
  return %b : tensor<1099511627776xf32>
}

// The shape that is put together is that of the input with its last dimension split.
// CHECK-LABEL: func.func @computed_shape
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<?x?x64xf32>
//       CHECK:   %[[C:.+]] = llm.constant dense<[0, 0, 4, 16]> : tensor<4xi64>
//       CHECK:   llm.reshape %[[X]], %[[C]]
//   CHECK-NOT:   llm.shape
func.func @computed_shape(%x: tensor<?x?x64xf32> {llm.dims = ["b", "s", 64]}) -> tensor<?x?x4x16xf32> {
  %shape = llm.shape %x : tensor<?x?x64xf32> -> tensor<3xi64>
  %zero = llm.constant dense<0> : tensor<1xi64>
  %two = llm.constant dense<2> : tensor<1xi64>
  %tail = llm.constant dense<[4, 16]> : tensor<2xi64>
  %head = llm.slice %shape, %zero, %two axes = [0] steps = [1] : tensor<3xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<2xi64>
  %all = llm.concat %head, %tail {axis = 0 : i64} : tensor<2xi64>, tensor<2xi64> -> tensor<4xi64>
  %y = llm.reshape %x, %all : tensor<?x?x64xf32>, tensor<4xi64> -> tensor<?x?x4x16xf32>
  return %y : tensor<?x?x4x16xf32>
}

// CHECK-LABEL: func.func @nothing_changes
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<?x?x64xf32>
//       CHECK:   return %[[X]]
func.func @nothing_changes(%x: tensor<?x?x64xf32> {llm.dims = ["b", "s", 64]}) -> tensor<?x?x64xf32> {
  %shape = llm.shape %x : tensor<?x?x64xf32> -> tensor<3xi64>
  %zero = llm.constant dense<0> : tensor<1xi64>
  %end = llm.constant dense<9223372036854775807> : tensor<1xi64>
  %a = llm.reshape %x, %shape : tensor<?x?x64xf32>, tensor<3xi64> -> tensor<?x?x64xf32>
  %b = llm.broadcast %a, %shape : tensor<?x?x64xf32>, tensor<3xi64> -> tensor<?x?x64xf32>
  %c = llm.slice %b, %zero, %end axes = [1] steps = [1] : tensor<?x?x64xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<?x?x64xf32>
  return %c : tensor<?x?x64xf32>
}

// CHECK-LABEL: func.func @keeps_reversal
//       CHECK:   llm.slice
func.func @keeps_reversal(%x: tensor<8xf32>) -> tensor<8xf32> {
  %last = llm.constant dense<-1> : tensor<1xi64>
  %before = llm.constant dense<-9223372036854775808> : tensor<1xi64>
  %y = llm.slice %x, %last, %before axes = [0] steps = [-1] : tensor<8xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<8xf32>
  return %y : tensor<8xf32>
}
