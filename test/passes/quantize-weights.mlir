// RUN: llmopt-opt %s --pass-pipeline='builtin.module(func.func(llmopt-convert-weight-types{matrix-type=i4}))' | FileCheck %s
// REQUIRES: llmopt-opt

// A layer's matrix becomes codes and scales of 32 inputs; the table that rows are looked up in stays.
// CHECK-LABEL: func.func @tied
//   CHECK-DAG:   %[[W:.+]] = llm.weight "w"
//       CHECK:   %[[ROWS:.+]] = llm.reshape {{.+}} -> tensor<100x2x32xf32>
//       CHECK:   %[[S:.+]] = llm.cast {{.+}} : tensor<100x2x1xf16> -> tensor<100x2x1xf32>
//       CHECK:   %[[CODES:.+]] = llm.cast {{.+}} : tensor<100x2x32xf32> -> tensor<100x2x32xi4>
//       CHECK:   %[[REAL:.+]] = llm.cast %[[CODES]]
//       CHECK:   %[[PRODUCT:.+]] = llm.mul %[[REAL]], %[[S]]
//       CHECK:   %[[MATRIX:.+]] = llm.reshape %[[PRODUCT]], {{.+}} -> tensor<100x64xf32>
//       CHECK:   llm.embedding %{{.+}}, %[[W]]
//       CHECK:   llm.linear %{{.+}}, %[[MATRIX]]
func.func @tied(%ids: tensor<?xi64>) -> tensor<?x100xf32> {
  %w = llm.weight "w" : tensor<100x64xbf16>
  %x = llm.embedding %ids, %w : tensor<?xi64>, tensor<100x64xbf16> -> tensor<?x64xf32>
  %y = llm.linear %x, %w : tensor<?x64xf32>, tensor<100x64xbf16> -> tensor<?x100xf32>
  return %y : tensor<?x100xf32>
}

// Inputs that fill no blocks, and biases, stay.
// CHECK-LABEL: func.func @others
//       CHECK:   %[[V:.+]] = llm.weight "v"
//       CHECK:   llm.linear %{{.+}}, %[[V]], %{{.+}} : tensor<?x40xf32>, tensor<8x40xf32>, tensor<8xf32>
func.func @others(%x: tensor<?x40xf32>) -> tensor<?x8xf32> {
  %v = llm.weight "v" : tensor<8x40xf32>
  %b = llm.weight "b" : tensor<8xf32>
  %y = llm.linear %x, %v, %b : tensor<?x40xf32>, tensor<8x40xf32>, tensor<8xf32> -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
