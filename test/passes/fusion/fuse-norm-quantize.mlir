// RUN: llmopt-opt %s --llmopt-fuse=only=fuse-norm-quantize --remarks-filter=fusion 2>&1 | FileCheck %s
// REQUIRES: llmopt-opt
// CHECK-DAG: [Missed] fuse-norm-quantize {{.*}}Blocker=llm.layer_norm{{.*}}Kind=TypeMismatch
// CHECK-DAG: [Missed] fuse-norm-quantize {{.*}}Blocker=llm.reduce{{.*}}Kind=OtherAxis
// CHECK-DAG: [Missed] fuse-norm-quantize {{.*}}Blocker=llm.reduce{{.*}}Kind=OtherOp{{.*}}depends on a sum
// CHECK-DAG: [Missed] fuse-norm-quantize {{.*}}Blocker=llm.reduce{{.*}}Kind=OtherOperand

// DynamicQuantizeLinear; the norm is read by a residual as well.
// CHECK-LABEL: func.func @dynamic_quantize_linear
//       CHECK:   %[[N:.+]] = llm.layer_norm
//       CHECK:   %[[L:.+]] = llm.reduce min %[[N]] axes = [2] : tensor<?x?x8xf32> -> tensor<?x?xf32>
//       CHECK:   llm.reduce min %[[L]] axes = [0, 1] : tensor<?x?xf32> -> tensor<f32>
//       CHECK:   %[[H:.+]] = llm.reduce max %[[N]] axes = [2] : tensor<?x?x8xf32> -> tensor<?x?xf32>
//       CHECK:   llm.reduce max %[[H]] axes = [0, 1] : tensor<?x?xf32> -> tensor<f32>
//   CHECK-NOT:   axes = [0, 1, 2]
func.func @dynamic_quantize_linear(%x: tensor<?x?x8xf32> {llm.dims = ["batch", "seq", 8]}, %w: tensor<8xf32>) -> (tensor<?x?x8xui8>, tensor<f32>, tensor<?x?x8xf32>) {
  %zero = llm.constant dense<0.0> : tensor<f32>
  %one = llm.constant dense<1.0> : tensor<f32>
  %top = llm.constant dense<255.0> : tensor<f32>
  %n = llm.layer_norm %x scale %w : tensor<8xf32> {epsilon = 1.0e-5 : f32} : tensor<?x?x8xf32> -> tensor<?x?x8xf32>
  %low = llm.reduce min %n axes = [0, 1, 2] : tensor<?x?x8xf32> -> tensor<f32>
  %min = llm.min %low, %zero : tensor<f32>, tensor<f32> -> tensor<f32>
  %high = llm.reduce max %n axes = [0, 1, 2] : tensor<?x?x8xf32> -> tensor<f32>
  %max = llm.max %high, %zero : tensor<f32>, tensor<f32> -> tensor<f32>
  %span = llm.sub %max, %min : tensor<f32>, tensor<f32> -> tensor<f32>
  %step = llm.div %span, %top : tensor<f32>, tensor<f32> -> tensor<f32>
  %none = llm.compare eq %step, %zero : tensor<f32>, tensor<f32> -> tensor<i1>
  %scale = llm.select %none, %one, %step : tensor<i1>, tensor<f32>, tensor<f32> -> tensor<f32>
  %below = llm.sub %zero, %min : tensor<f32>, tensor<f32> -> tensor<f32>
  %steps = llm.div %below, %scale : tensor<f32>, tensor<f32> -> tensor<f32>
  %point = llm.round %steps : tensor<f32>
  %0 = llm.div %n, %scale : tensor<?x?x8xf32>, tensor<f32> -> tensor<?x?x8xf32>
  %1 = llm.round %0 : tensor<?x?x8xf32>
  %2 = llm.add %1, %point : tensor<?x?x8xf32>, tensor<f32> -> tensor<?x?x8xf32>
  %3 = llm.max %2, %zero : tensor<?x?x8xf32>, tensor<f32> -> tensor<?x?x8xf32>
  %4 = llm.min %3, %top : tensor<?x?x8xf32>, tensor<f32> -> tensor<?x?x8xf32>
  %q = llm.cast %4 : tensor<?x?x8xf32> -> tensor<?x?x8xui8>
  %r = llm.add %n, %x : tensor<?x?x8xf32>, tensor<?x?x8xf32> -> tensor<?x?x8xf32>
  return %q, %scale, %r : tensor<?x?x8xui8>, tensor<f32>, tensor<?x?x8xf32>
}

// Symmetric, of a sum: skip and norm, by the largest absolute value, which keeps its dimensions.
// CHECK-LABEL: func.func @skip_and_symmetric
//       CHECK:   %[[A:.+]] = llm.abs
//       CHECK:   %[[R:.+]] = llm.reduce max %[[A]] axes = [1] {keepdims} : tensor<4x8xf32> -> tensor<4x1xf32>
//       CHECK:   llm.reduce max %[[R]] axes = [0] {keepdims} : tensor<4x1xf32> -> tensor<1x1xf32>
func.func @skip_and_symmetric(%x: tensor<4x8xf32>, %y: tensor<4x8xf32>) -> tensor<4x8xi8> {
  %top = llm.constant dense<127.0> : tensor<f32>
  %s = llm.add %x, %y : tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x8xf32>
  %n = llm.rms_norm %s {epsilon = 1.0e-5 : f32} : tensor<4x8xf32> -> tensor<4x8xf32>
  %a = llm.abs %n : tensor<4x8xf32>
  %m = llm.reduce max %a axes = [0, 1] {keepdims} : tensor<4x8xf32> -> tensor<1x1xf32>
  %f = llm.div %top, %m : tensor<f32>, tensor<1x1xf32> -> tensor<1x1xf32>
  %0 = llm.mul %n, %f : tensor<4x8xf32>, tensor<1x1xf32> -> tensor<4x8xf32>
  %1 = llm.round %0 : tensor<4x8xf32>
  %q = llm.cast %1 : tensor<4x8xf32> -> tensor<4x8xi8>
  return %q : tensor<4x8xi8>
}

// Fused already.
// CHECK-LABEL: func.func @keeps_rows_first
//       CHECK:   llm.reduce max %{{.+}} axes = [1] : tensor<4x8xf32> -> tensor<4xf32>
//       CHECK:   llm.reduce max %{{.+}} axes = [0] : tensor<4xf32> -> tensor<f32>
//   CHECK-NOT:   llm.reduce
func.func @keeps_rows_first(%x: tensor<4x8xf32>) -> tensor<4x8xi8> {
  %n = llm.rms_norm %x {epsilon = 1.0e-5 : f32} : tensor<4x8xf32> -> tensor<4x8xf32>
  %m = llm.reduce max %n axes = [1] : tensor<4x8xf32> -> tensor<4xf32>
  %h = llm.reduce max %m axes = [0] : tensor<4xf32> -> tensor<f32>
  %0 = llm.div %n, %h : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %1 = llm.round %0 : tensor<4x8xf32>
  %q = llm.cast %1 : tensor<4x8xf32> -> tensor<4x8xi8>
  return %q : tensor<4x8xi8>
}

// A scale for each row: another axis.
// CHECK-LABEL: func.func @keeps_rows_with_scales_of_their_own
//       CHECK:   llm.reduce max %{{.+}} axes = [1] {keepdims} : tensor<4x8xf32> -> tensor<4x1xf32>
//   CHECK-NOT:   llm.reduce
func.func @keeps_rows_with_scales_of_their_own(%x: tensor<4x8xf32>) -> tensor<4x8xi8> {
  %n = llm.rms_norm %x {epsilon = 1.0e-5 : f32} : tensor<4x8xf32> -> tensor<4x8xf32>
  %m = llm.reduce max %n axes = [1] {keepdims} : tensor<4x8xf32> -> tensor<4x1xf32>
  %0 = llm.div %n, %m : tensor<4x8xf32>, tensor<4x1xf32> -> tensor<4x8xf32>
  %1 = llm.round %0 : tensor<4x8xf32>
  %q = llm.cast %1 : tensor<4x8xf32> -> tensor<4x8xi8>
  return %q : tensor<4x8xi8>
}

// Sums change with the order in which they are taken.
// CHECK-LABEL: func.func @keeps_the_mean
//       CHECK:   llm.reduce mean %{{.+}} axes = [0, 1] : tensor<4x8xf32> -> tensor<f32>
func.func @keeps_the_mean(%x: tensor<4x8xf32>) -> tensor<4x8xi8> {
  %n = llm.rms_norm %x {epsilon = 1.0e-5 : f32} : tensor<4x8xf32> -> tensor<4x8xf32>
  %a = llm.abs %n : tensor<4x8xf32>
  %m = llm.reduce mean %a axes = [0, 1] : tensor<4x8xf32> -> tensor<f32>
  %0 = llm.div %n, %m : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %1 = llm.round %0 : tensor<4x8xf32>
  %q = llm.cast %1 : tensor<4x8xf32> -> tensor<4x8xi8>
  return %q : tensor<4x8xi8>
}

// Mixed types: the norm is rounded to f16 before it is quantized.
// CHECK-LABEL: func.func @keeps_a_norm_in_another_type
//       CHECK:   llm.reduce max %{{.+}} axes = [0, 1] : tensor<4x8xf32> -> tensor<f32>
func.func @keeps_a_norm_in_another_type(%x: tensor<4x8xf16>) -> tensor<4x8xi8> {
  %h = llm.layer_norm %x {epsilon = 1.0e-5 : f32} : tensor<4x8xf16> -> tensor<4x8xf16>
  %n = llm.cast %h : tensor<4x8xf16> -> tensor<4x8xf32>
  %m = llm.reduce max %n axes = [0, 1] : tensor<4x8xf32> -> tensor<f32>
  %0 = llm.div %n, %m : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %1 = llm.round %0 : tensor<4x8xf32>
  %q = llm.cast %1 : tensor<4x8xf32> -> tensor<4x8xi8>
  return %q : tensor<4x8xi8>
}

// The scale is of two tensors.
// CHECK-LABEL: func.func @keeps_a_scale_of_two
//       CHECK:   llm.reduce max %{{.+}} axes = [0, 1] : tensor<4x8xf32> -> tensor<f32>
//       CHECK:   llm.reduce max %{{.+}} axes = [0, 1] : tensor<4x8xf32> -> tensor<f32>
func.func @keeps_a_scale_of_two(%x: tensor<4x8xf32>) -> tensor<4x8xi8> {
  %n = llm.rms_norm %x {epsilon = 1.0e-5 : f32} : tensor<4x8xf32> -> tensor<4x8xf32>
  %m = llm.reduce max %n axes = [0, 1] : tensor<4x8xf32> -> tensor<f32>
  %k = llm.reduce max %x axes = [0, 1] : tensor<4x8xf32> -> tensor<f32>
  %s = llm.max %m, %k : tensor<f32>, tensor<f32> -> tensor<f32>
  %0 = llm.div %n, %s : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %1 = llm.round %0 : tensor<4x8xf32>
  %q = llm.cast %1 : tensor<4x8xf32> -> tensor<4x8xi8>
  return %q : tensor<4x8xi8>
}

// Not quantized; not rounded; not to bytes.
// CHECK-LABEL: func.func @keeps_what_is_no_quantization
//       CHECK:   llm.reduce max %{{.+}} axes = [0, 1] : tensor<4x8xf32> -> tensor<f32>
//   CHECK-NOT:   axes = [1]
func.func @keeps_what_is_no_quantization(%x: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xi8>, tensor<4x8xi32>) {
  %n = llm.rms_norm %x {epsilon = 1.0e-5 : f32} : tensor<4x8xf32> -> tensor<4x8xf32>
  %m = llm.reduce max %n axes = [0, 1] : tensor<4x8xf32> -> tensor<f32>
  %0 = llm.div %n, %m : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %p = llm.cast %0 : tensor<4x8xf32> -> tensor<4x8xi8>
  %1 = llm.mul %n, %m : tensor<4x8xf32>, tensor<f32> -> tensor<4x8xf32>
  %2 = llm.round %1 : tensor<4x8xf32>
  %q = llm.cast %2 : tensor<4x8xf32> -> tensor<4x8xi32>
  return %0, %p, %q : tensor<4x8xf32>, tensor<4x8xi8>, tensor<4x8xi32>
}
