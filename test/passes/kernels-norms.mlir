// RUN: llmopt-opt %s --llmopt-cut-kernels | FileCheck %s
// RUN: llmopt-opt %s --llmopt-cut-kernels=norms=false | FileCheck %s --check-prefix=APART
// RUN: llmopt-opt %s --llmopt-cut-kernels=disable=join-norm | FileCheck %s --check-prefix=APART
// RUN: llmopt-opt %s --llmopt-cut-kernels=count-joins --remarks-filter=kernel 2>&1 | FileCheck %s --check-prefix=WHY

// The projections take in the norm of their input, and what the norm returns besides.
// WHY: [Passed] join-norm | Category:kernel | Joined=rms_norm, Op=llm.linear, Root=llm.rms_norm
// CHECK-LABEL: func.func @norm_in_front
//       CHECK: %[[R:.+]]:3 = exec.kernel "linear"
//       CHECK:   llm.add
//       CHECK:   llm.rms_norm
//       CHECK:   llm.linear
//   CHECK-NOT: exec.kernel
// APART-LABEL: func.func @norm_in_front
//       APART: exec.kernel "rows"
//       APART: exec.kernel "linear"
func.func @norm_in_front(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}, %r: tensor<?x64xf32> {llm.dims = ["n", 64]}) -> (tensor<?x8xf32>, tensor<?x64xf32>, tensor<?x64xf32>) {
  %w = llm.weight "w" : tensor<8x64xf32>
  %s = llm.add %x, %r : tensor<?x64xf32>, tensor<?x64xf32> -> tensor<?x64xf32>
  %n = llm.rms_norm %s {epsilon = 1.0e-5 : f32} : tensor<?x64xf32> -> tensor<?x64xf32>
  %y = llm.linear %n, %w : tensor<?x64xf32>, tensor<8x64xf32> -> tensor<?x8xf32>
  return %y, %n, %s : tensor<?x8xf32>, tensor<?x64xf32>, tensor<?x64xf32>
}

// Two kernels of projections read the norm: it is computed once.
// WHY: [Missed] join-norm {{.*}}Blocker=llm.rms_norm{{.*}}products of several kernels read the norm
// CHECK-LABEL: func.func @norm_of_two_kernels
//       CHECK: exec.kernel "rows"
//       CHECK: exec.kernel "linear"
//       CHECK: exec.kernel "linear"
func.func @norm_of_two_kernels(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %w = llm.weight "w" : tensor<8x64xf32>
  %v = llm.weight "v" : tensor<64x8xf32>
  %n = llm.rms_norm %x {epsilon = 1.0e-5 : f32} : tensor<?x64xf32> -> tensor<?x64xf32>
  %y = llm.linear %n, %w : tensor<?x64xf32>, tensor<8x64xf32> -> tensor<?x8xf32>
  %z = llm.linear %n, %v {transposed} : tensor<?x64xf32>, tensor<64x8xf32> -> tensor<?x8xf32>
  return %y, %z : tensor<?x8xf32>, tensor<?x8xf32>
}

// The sum behind the product reads the norm as well.
// WHY: [Missed] join-norm {{.*}}Blocker=llm.rms_norm{{.*}}reads the norm elsewhere as well
// CHECK-LABEL: func.func @norm_beside_the_product
//       CHECK: exec.kernel "rows"
//       CHECK: exec.kernel "linear"
func.func @norm_beside_the_product(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}) -> tensor<?x64xf32> {
  %w = llm.weight "w" : tensor<64x64xf32>
  %n = llm.rms_norm %x {epsilon = 1.0e-5 : f32} : tensor<?x64xf32> -> tensor<?x64xf32>
  %y = llm.linear %n, %w : tensor<?x64xf32>, tensor<64x64xf32> -> tensor<?x64xf32>
  %z = llm.add %y, %n : tensor<?x64xf32>, tensor<?x64xf32> -> tensor<?x64xf32>
  return %z : tensor<?x64xf32>
}

// What the product is added to depends on the norm by way of another product: one kernel would wait for itself.
// WHY: [Missed] join-norm {{.*}}Blocker=llm.rms_norm{{.*}}by way of another kernel
// CHECK-LABEL: func.func @norm_before_a_detour
//       CHECK: exec.kernel "rows"
//       CHECK: exec.kernel "matmul"
//       CHECK: exec.kernel "linear"
func.func @norm_before_a_detour(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}, %m: tensor<64x64xf32>) -> tensor<?x64xf32> {
  %w = llm.weight "w" : tensor<64x64xf32>
  %n = llm.rms_norm %x {epsilon = 1.0e-5 : f32} : tensor<?x64xf32> -> tensor<?x64xf32>
  %a = llm.matmul %n, %m : tensor<?x64xf32>, tensor<64x64xf32> -> tensor<?x64xf32>
  %y = llm.linear %n, %w : tensor<?x64xf32>, tensor<64x64xf32> -> tensor<?x64xf32>
  %z = llm.add %y, %a : tensor<?x64xf32>, tensor<?x64xf32> -> tensor<?x64xf32>
  return %z : tensor<?x64xf32>
}

// The largest element of each row is taken where the rows are; of a sum's rows, where they are read. Sums of rows are left: nobody needs them.
// CHECK-LABEL: func.func @extrema_of_rows
//       CHECK: exec.kernel "rows"
//       CHECK:   llm.rms_norm
//       CHECK:   llm.abs
//       CHECK:   llm.reduce max
//       CHECK:   exec.yield
//       CHECK: exec.kernel "loops"
//       CHECK:   llm.reduce sum
// APART-LABEL: func.func @extrema_of_rows
//       APART: exec.kernel "rows"
//       APART: exec.kernel "loops"
//       APART:   llm.reduce max
func.func @extrema_of_rows(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}) -> (tensor<?x64xf32>, tensor<?x1xf32>, tensor<?xf32>) {
  %n = llm.rms_norm %x {epsilon = 1.0e-5 : f32} : tensor<?x64xf32> -> tensor<?x64xf32>
  %a = llm.abs %n : tensor<?x64xf32>
  %m = llm.reduce max %a axes = [1] {keepdims} : tensor<?x64xf32> -> tensor<?x1xf32>
  %s = llm.reduce sum %n axes = [1] : tensor<?x64xf32> -> tensor<?xf32>
  return %n, %m, %s : tensor<?x64xf32>, tensor<?x1xf32>, tensor<?xf32>
}

// A product reads the norm as it is: it takes in the norm, and the extrema are taken of what it leaves.
// WHY: [Missed] join-row-extrema {{.*}}Blocker=llm.layer_norm{{.*}}takes it in instead
// CHECK-LABEL: func.func @extrema_beside_a_product
//       CHECK: exec.kernel "linear"
//       CHECK:   llm.layer_norm
//       CHECK: exec.kernel "loops"
//       CHECK:   llm.reduce max
func.func @extrema_beside_a_product(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}) -> (tensor<?x8xf32>, tensor<?xf32>) {
  %w = llm.weight "w" : tensor<8x64xf32>
  %n = llm.layer_norm %x {epsilon = 1.0e-5 : f32} : tensor<?x64xf32> -> tensor<?x64xf32>
  %y = llm.linear %n, %w : tensor<?x64xf32>, tensor<8x64xf32> -> tensor<?x8xf32>
  %m = llm.reduce max %n axes = [1] : tensor<?x64xf32> -> tensor<?xf32>
  return %y, %m : tensor<?x8xf32>, tensor<?xf32>
}

// Rows asked for are fetched where they are multiplied and where they are added; on GPUs the former are copied first.
// WHY: [Passed] join-norm {{.*}}Joined=gather
// CHECK-LABEL: func.func @rows_asked_for
//       CHECK: exec.kernel "linear"(%arg0, %arg2, %{{.+}}, %arg1)
//   CHECK-NOT: exec.kernel
// APART-LABEL: func.func @rows_asked_for
//       APART: exec.kernel "loops"
//       APART: exec.kernel "linear"
//       APART:   llm.gather
//       APART:   llm.add
//   APART-NOT: exec.kernel
func.func @rows_asked_for(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}, %r: tensor<?x8xf32> {llm.dims = ["n", 8]}, %i: tensor<?xi32> {llm.dims = ["m"]}) -> tensor<?x8xf32> {
  %w = llm.weight "w" : tensor<8x64xf32>
  %a = llm.gather %x, %i {axis = 0 : i64} : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %y = llm.linear %a, %w : tensor<?x64xf32>, tensor<8x64xf32> -> tensor<?x8xf32>
  %b = llm.gather %r, %i {axis = 0 : i64} : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  %z = llm.add %b, %y : tensor<?x8xf32>, tensor<?x8xf32> -> tensor<?x8xf32>
  return %z : tensor<?x8xf32>
}
