// RUN: llmopt-opt %s --llmopt-fuse=verify --remarks-filter-analyse=fusion 2>&1 | FileCheck %s
// REQUIRES: llmopt-opt

// Dynamic sizes get sample sizes; the sizes a reshape computes are replayed from where they come.
// CHECK: remark: [Analysis] verify-rewrites | Category:fusion | FirstSkipped=none, Replayed=2, Skipped=0
// CHECK: llm.silu
func.func @dynamic(%x: tensor<?x?x8xf32> {llm.dims = ["batch", "seq", 8]}) -> tensor<?x8xf32> {
  %s = llm.shape %x : tensor<?x?x8xf32> -> tensor<3xi64>
  %one = llm.constant dense<[1]> : tensor<1xi64>
  %zero = llm.constant dense<[0]> : tensor<1xi64>
  %b = llm.gather %s, %zero {axis = 0 : i64} : tensor<3xi64>, tensor<1xi64> -> tensor<1xi64>
  %t = llm.gather %s, %one {axis = 0 : i64} : tensor<3xi64>, tensor<1xi64> -> tensor<1xi64>
  %bt = llm.mul %b, %t : tensor<1xi64>, tensor<1xi64> -> tensor<1xi64>
  %eight = llm.constant dense<[8]> : tensor<1xi64>
  %shape = llm.concat %bt, %eight {axis = 0 : i64} : tensor<1xi64>, tensor<1xi64> -> tensor<2xi64>
  %r = llm.reshape %x, %shape : tensor<?x?x8xf32>, tensor<2xi64> -> tensor<?x8xf32>
  %g = llm.sigmoid %r : tensor<?x8xf32>
  %y = llm.mul %r, %g : tensor<?x8xf32>, tensor<?x8xf32> -> tensor<?x8xf32>
  %h = llm.sigmoid %y : tensor<?x8xf32>
  %z = llm.mul %h, %y : tensor<?x8xf32>, tensor<?x8xf32> -> tensor<?x8xf32>
  return %z : tensor<?x8xf32>
}
