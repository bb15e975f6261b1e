// RUN: llmopt-opt %s --llmopt-fuse=only=fuse-gelu | FileCheck %s
// RUN: llmopt-opt %s --llmopt-fuse="only=fuse-gelu verify" -o /dev/null
// REQUIRES: llmopt-opt

// CHECK-LABEL: func.func @erf
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<8x64xf32>
//       CHECK:   %[[Y:.+]] = llm.gelu %[[X]] :
//       CHECK:   return %[[Y]]
func.func @erf(%x: tensor<8x64xf32>) -> tensor<8x64xf32> {
  %root = llm.constant dense<1.41421354> : tensor<f32>
  %one = llm.constant dense<1.0> : tensor<f32>
  %half = llm.constant dense<0.5> : tensor<f32>
  %d = llm.div %x, %root : tensor<8x64xf32>, tensor<f32> -> tensor<8x64xf32>
  %e = llm.erf %d : tensor<8x64xf32>
  %g = llm.add %e, %one : tensor<8x64xf32>, tensor<f32> -> tensor<8x64xf32>
  %m = llm.mul %x, %g : tensor<8x64xf32>, tensor<8x64xf32> -> tensor<8x64xf32>
  %y = llm.mul %m, %half : tensor<8x64xf32>, tensor<f32> -> tensor<8x64xf32>
  return %y : tensor<8x64xf32>
}

// CHECK-LABEL: func.func @keeps_gate_of_another_value
//   CHECK-NOT:   llm.gelu
func.func @keeps_gate_of_another_value(%x: tensor<8x64xf32>, %z: tensor<8x64xf32>) -> tensor<8x64xf32> {
  %root = llm.constant dense<1.41421354> : tensor<f32>
  %one = llm.constant dense<1.0> : tensor<f32>
  %half = llm.constant dense<0.5> : tensor<f32>
  %d = llm.div %z, %root : tensor<8x64xf32>, tensor<f32> -> tensor<8x64xf32>
  %e = llm.erf %d : tensor<8x64xf32>
  %g = llm.add %e, %one : tensor<8x64xf32>, tensor<f32> -> tensor<8x64xf32>
  %m = llm.mul %x, %g : tensor<8x64xf32>, tensor<8x64xf32> -> tensor<8x64xf32>
  %y = llm.mul %m, %half : tensor<8x64xf32>, tensor<f32> -> tensor<8x64xf32>
  return %y : tensor<8x64xf32>
}

// Factored, as Megatron's exporter writes it.
// CHECK-LABEL: func.func @tanh_factored
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<4x8xf32>
//       CHECK:   llm.gelu %[[X]] {tanh}
func.func @tanh_factored(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %half = llm.constant dense<0.5> : tensor<f32>
  %one = llm.constant dense<1.0> : tensor<f32>
  %c = llm.constant dense<0.044715> : tensor<f32>
  %r = llm.constant dense<0.797884583> : tensor<f32>
  %a = llm.mul %x, %half : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %b = llm.mul %x, %r : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %d = llm.mul %x, %c : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %e = llm.mul %d, %x : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x8xf32>
  %f = llm.add %e, %one : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %g = llm.mul %b, %f : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x8xf32>
  %t = llm.tanh %g : tensor<4x8xf32>
  %h = llm.add %t, %one : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %y = llm.mul %a, %h : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// The square is of another value.
// CHECK-LABEL: func.func @keeps_factored_square_of_another
//   CHECK-NOT:   llm.gelu
func.func @keeps_factored_square_of_another(%x: tensor<4x8xf32>, %z: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %half = llm.constant dense<0.5> : tensor<f32>
  %one = llm.constant dense<1.0> : tensor<f32>
  %c = llm.constant dense<0.044715> : tensor<f32>
  %r = llm.constant dense<0.797884583> : tensor<f32>
  %a = llm.mul %x, %half : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %b = llm.mul %x, %r : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %d = llm.mul %z, %c : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %e = llm.mul %d, %x : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x8xf32>
  %f = llm.add %e, %one : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %g = llm.mul %b, %f : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x8xf32>
  %t = llm.tanh %g : tensor<4x8xf32>
  %h = llm.add %t, %one : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %y = llm.mul %a, %h : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// The error function is read elsewhere as well.
// CHECK-LABEL: func.func @keeps_erf_that_escapes
//   CHECK-NOT:   llm.gelu
func.func @keeps_erf_that_escapes(%x: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
  %root = llm.constant dense<1.41421354> : tensor<f32>
  %one = llm.constant dense<1.0> : tensor<f32>
  %half = llm.constant dense<0.5> : tensor<f32>
  %d = llm.div %x, %root : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %e = llm.erf %d : tensor<4x8xf32>
  %g = llm.add %e, %one : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %m = llm.mul %x, %g : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x8xf32>
  %y = llm.mul %m, %half : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  return %y, %e : tensor<4x8xf32>, tensor<4x8xf32>
}

// The error function passes through f16.
// CHECK-LABEL: func.func @keeps_erf_in_another_type
//   CHECK-NOT:   llm.gelu
func.func @keeps_erf_in_another_type(%x: tensor<4x8xf32>) -> (tensor<4x8xf32>) {
  %root = llm.constant dense<1.41421354> : tensor<f32>
  %one = llm.constant dense<1.0> : tensor<f32>
  %half = llm.constant dense<0.5> : tensor<f32>
  %d = llm.div %x, %root : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %e = llm.erf %d : tensor<4x8xf32>
  %h = llm.cast %e : tensor<4x8xf32> -> tensor<4x8xf16>
  %wide = llm.cast %h : tensor<4x8xf16> -> tensor<4x8xf32>
  %g = llm.add %wide, %one : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %m = llm.mul %x, %g : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x8xf32>
  %y = llm.mul %m, %half : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// Sizes do not matter.
// CHECK-LABEL: func.func @of_unknown_size
//       CHECK:   llm.gelu
//   CHECK-NOT:   llm.erf
func.func @of_unknown_size(%x: tensor<?x?xf32> {llm.dims = ["n", "d"]}) -> (tensor<?x?xf32>) {
  %root = llm.constant dense<1.41421354> : tensor<f32>
  %one = llm.constant dense<1.0> : tensor<f32>
  %half = llm.constant dense<0.5> : tensor<f32>
  %d = llm.div %x, %root : tensor<?x?xf32>, tensor<f32> -> tensor<?x?xf32>
  %e = llm.erf %d : tensor<?x?xf32>
  %g = llm.add %e, %one : tensor<?x?xf32>, tensor<f32> -> tensor<?x?xf32>
  %m = llm.mul %x, %g : tensor<?x?xf32>, tensor<?x?xf32> -> tensor<?x?xf32>
  %y = llm.mul %m, %half : tensor<?x?xf32>, tensor<f32> -> tensor<?x?xf32>
  return %y : tensor<?x?xf32>
}
