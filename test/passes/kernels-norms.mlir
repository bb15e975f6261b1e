// RUN: llmopt-opt %s --llmopt-cut-kernels | FileCheck %s
// RUN: llmopt-opt %s --llmopt-cut-kernels=norms=false | FileCheck %s --check-prefix=APART
// RUN: llmopt-opt %s --llmopt-cut-kernels --remarks-filter=kernel 2>&1 | FileCheck %s --check-prefix=WHY

// The projections take in the norm of their input, and what the norm returns besides.
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
// WHY: [Missed] share-kernel {{.*}}Blocker=llm.rms_norm{{.*}}products of several kernels read the norm
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
// WHY: [Missed] share-kernel {{.*}}Blocker=llm.rms_norm{{.*}}reads the norm elsewhere as well
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
// WHY: [Missed] share-kernel {{.*}}Blocker=llm.rms_norm{{.*}}by way of another kernel
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
