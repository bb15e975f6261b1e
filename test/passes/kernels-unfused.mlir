// RUN: llmopt-opt %s --llmopt-cut-kernels=fuse=false | FileCheck %s
// REQUIRES: llmopt-opt

// Without fusion every operation is a kernel of its own; weights and views still are not.
// CHECK-LABEL: func.func @one_each
//       CHECK: exec.kernel "linear"
//       CHECK:   llm.linear
//  CHECK-NEXT:   exec.yield
//       CHECK: exec.kernel "loops"
//       CHECK:   llm.relu
//  CHECK-NEXT:   exec.yield
//       CHECK: exec.kernel "loops"
//       CHECK:   llm.neg
//  CHECK-NEXT:   exec.yield
//   CHECK-NOT: exec.kernel
//       CHECK: return
func.func @one_each(%x: tensor<?x64xf32> {llm.dims = ["tokens", 64]}) -> tensor<?x32xf32> {
  %w = llm.weight "w" : tensor<64x32xf32>
  %t = llm.transpose %w permutation = [1, 0] : tensor<64x32xf32> -> tensor<32x64xf32>
  %y = llm.linear %x, %t : tensor<?x64xf32>, tensor<32x64xf32> -> tensor<?x32xf32>
  %a = llm.relu %y : tensor<?x32xf32>
  %b = llm.neg %a : tensor<?x32xf32>
  return %b : tensor<?x32xf32>
}

// A small matrix is an operand of its product, not an immediate: the family streams it from memory.
// CHECK-LABEL: func.func @small_matrix_is_an_operand
//       CHECK:   %[[C:.+]] = llm.constant
//       CHECK:   exec.kernel "matmul"(%{{.+}}, %[[C]])
//   CHECK-NOT:     llm.constant
//       CHECK:     llm.matmul
func.func @small_matrix_is_an_operand(%x: tensor<?x2xf32> {llm.dims = ["tokens", 2]}) -> tensor<?x2xf32> {
  %c = llm.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %y = llm.matmul %x, %c : tensor<?x2xf32>, tensor<2x2xf32> -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
