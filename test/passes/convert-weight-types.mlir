// RUN: llmopt-opt %s --llmopt-convert-weight-types=matrix-type=bf16 | FileCheck %s
// RUN: llmopt-opt %s --llmopt-convert-weight-types=matrix-type=i4 | FileCheck %s --check-prefix=CODES
// RUN: llmopt-opt %s --llmopt-convert-weight-types="matrix-type=i4 round-experts=false" | FileCheck %s --check-prefix=KEPT
// REQUIRES: llmopt-opt

// The matrix and the part of a joined one are stored in bf16; vectors, and a matrix made at run time, stay as they are.
// CHECK-LABEL: func.func @projections
//       CHECK:   %[[W:.+]] = llm.weight "w"
//       CHECK:   %[[W16:.+]] = llm.cast %[[W]] : tensor<4x8xf32> -> tensor<4x8xbf16>
//       CHECK:   %[[JOINED:.+]] = llm.weight "joined"
//       CHECK:   %[[PART:.+]] = llm.slice %[[JOINED]]
//       CHECK:   %[[PART16:.+]] = llm.cast %[[PART]] : tensor<8x4xf32> -> tensor<8x4xbf16>
//   CHECK-NOT:   llm.cast
//       CHECK:   llm.linear %{{.+}}, %[[W16]],
//       CHECK:   llm.linear %{{.+}}, %[[PART16]] {transposed}
//       CHECK:   llm.linear %{{.+}}, %{{.+}} : tensor<?x8xf32>, tensor<4x8xf32>
func.func @projections(%x: tensor<?x8xf32>, %made: tensor<4x8xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>) {
  %zero = llm.constant dense<0> : tensor<1xi64>
  %four = llm.constant dense<4> : tensor<1xi64>
  %w = llm.weight "w" : tensor<4x8xf32>
  %bias = llm.weight "bias" : tensor<4xf32>
  %joined = llm.weight "joined" : tensor<8x12xf32>
  %part = llm.slice %joined, %zero, %four axes = [1] steps = [1] : tensor<8x12xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<8x4xf32>
  %a = llm.linear %x, %w, %bias : tensor<?x8xf32>, tensor<4x8xf32>, tensor<4xf32> -> tensor<?x4xf32>
  %b = llm.linear %x, %part {transposed} : tensor<?x8xf32>, tensor<8x4xf32> -> tensor<?x4xf32>
  %c = llm.linear %x, %made : tensor<?x8xf32>, tensor<4x8xf32> -> tensor<?x4xf32>
  return %a, %b, %c : tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>
}

// The matrices of all experts, one below the other; or as they are.
// CODES-LABEL: func.func @experts
//       CODES:   llm.cast %{{.+}} : tensor<32x2x32xf32> -> tensor<32x2x32xi4>
//       CODES:   %[[W:.+]] = llm.reshape %{{.+}} -> tensor<4x8x64xf32>
//       CODES:   llm.grouped_linear %{{.+}}, %[[W]],
//  KEPT-LABEL: func.func @experts
//    KEPT-NOT:   i4
//        KEPT:   llm.grouped_linear
func.func @experts(%x: tensor<?x64xf32>, %order: tensor<?x2xi32>, %offsets: tensor<5xi32>) -> tensor<?x2x8xf32> {
  %w = llm.weight "w" : tensor<4x8x64xbf16>
  %y = llm.grouped_linear %x, %w, %order, %offsets : tensor<?x64xf32>, tensor<4x8x64xbf16>, tensor<?x2xi32>, tensor<5xi32> -> tensor<?x2x8xf32>
  return %y : tensor<?x2x8xf32>
}
