// RUN: llmopt-opt %s --llmopt-cut-kernels=count-joins --remarks-filter=kernel 2>&1 | FileCheck %s --check-prefix=WHY
// RUN: llmopt-opt %s --llmopt-cut-kernels=count-joins | FileCheck %s
// RUN: llmopt-opt %s --llmopt-cut-kernels=disable=join-epilogue,join-gated-pair,join-projections,join-producers,join-loops | FileCheck %s --check-prefix=APART

// Every join says what shares the kernel, and each function how many kernels it made of each kind.
// WHY-DAG: [Passed] join-gated-pair | Category:kernel | Joined=linear, Op=llm.linear
// WHY-DAG: [Passed] join-projections | Category:kernel | Joined=linear, Op=llm.linear, Root=llm.linear, RootNode=/k
// WHY-DAG: [Passed] join-epilogue | Category:kernel | Joined="add relu", Op=llm.linear, Root=llm.add, RootNode=/residual
// WHY-DAG: [Passed] join-producers | Category:kernel | Joined=embedding, Op=llm.rms_norm, Root=llm.embedding
// WHY-DAG: [Passed] join-loops | Category:kernel | Joined=cos, Op=llm.sin, Root=llm.cos
// WHY-DAG: [Missed] join-epilogue {{.*}}Blocker=llm.linear, BlockerNode=/twice{{.*}}the value is read elsewhere as well
// WHY-DAG: [Missed] join-producers {{.*}}Blocker=llm.sin{{.*}}costs too much to compute it each time
// WHY-DAG: [Missed] join-loops {{.*}}Blocker=llm.reduce{{.*}}goes over a whole tensor

// CHECK: func.func @gate{{.*}}"join-epilogue" = 1 : i64, "join-gated-pair" = 1 : i64
// APART-LABEL: func.func @gate
//       APART: exec.kernel "linear"
//       APART: exec.kernel "linear"
//       APART: exec.kernel "loops"
//       APART: exec.kernel "loops"
func.func @gate(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}) -> tensor<?x32xf32> {
  %wg = llm.weight "g" : tensor<32x64xf32>
  %wu = llm.weight "u" : tensor<32x64xf32>
  %g = llm.linear %x, %wg : tensor<?x64xf32>, tensor<32x64xf32> -> tensor<?x32xf32>
  %u = llm.linear %x, %wu : tensor<?x64xf32>, tensor<32x64xf32> -> tensor<?x32xf32>
  %s = llm.silu %g : tensor<?x32xf32>
  %m = llm.mul %s, %u : tensor<?x32xf32>, tensor<?x32xf32> -> tensor<?x32xf32>
  return %m : tensor<?x32xf32>
}

// CHECK: func.func @projections{{.*}}"join-projections" = 1 : i64
// APART-LABEL: func.func @projections
//       APART: exec.kernel "linear"
//       APART: exec.kernel "linear"
func.func @projections(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}) -> (tensor<?x32xf32>, tensor<?x16xf32>) {
  %wq = llm.weight "q" : tensor<32x64xf32>
  %wk = llm.weight "k" : tensor<16x64xf32>
  %q = llm.linear %x, %wq : tensor<?x64xf32>, tensor<32x64xf32> -> tensor<?x32xf32>
  %k = llm.linear %x, %wk : tensor<?x64xf32>, tensor<16x64xf32> -> tensor<?x16xf32> loc("/k")
  return %q, %k : tensor<?x32xf32>, tensor<?x16xf32>
}

// CHECK: func.func @epilogue{{.*}}"join-epilogue" = 1 : i64
func.func @epilogue(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}) -> tensor<?x64xf32> {
  %w = llm.weight "w" : tensor<64x64xf32>
  %y = llm.linear %x, %w : tensor<?x64xf32>, tensor<64x64xf32> -> tensor<?x64xf32>
  %r = llm.add %y, %x : tensor<?x64xf32>, tensor<?x64xf32> -> tensor<?x64xf32> loc("/residual")
  %z = llm.relu %r : tensor<?x64xf32>
  return %z : tensor<?x64xf32>
}

// CHECK: func.func @embedding_and_norm{{.*}}"join-producers" = 1 : i64
// APART-LABEL: func.func @embedding_and_norm
//       APART: exec.kernel "loops"
//       APART: exec.kernel "rows"
func.func @embedding_and_norm(%ids: tensor<?xi64> {llm.dims = ["n"]}) -> tensor<?x64xf32> {
  %t = llm.weight "t" : tensor<100x64xf32>
  %e = llm.embedding %ids, %t : tensor<?xi64>, tensor<100x64xf32> -> tensor<?x64xf32>
  %n = llm.rms_norm %e {epsilon = 1.0e-5 : f32} : tensor<?x64xf32> -> tensor<?x64xf32>
  return %n : tensor<?x64xf32>
}

// CHECK: func.func @side_by_side{{.*}}"join-loops" = 1 : i64
// APART-LABEL: func.func @side_by_side
//       APART: exec.kernel "loops"
//       APART: exec.kernel "loops"
func.func @side_by_side(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}) -> (tensor<?x64xf32>, tensor<?x64xf32>) {
  %s = llm.sin %x : tensor<?x64xf32>
  %c = llm.cos %x : tensor<?x64xf32>
  return %s, %c : tensor<?x64xf32>, tensor<?x64xf32>
}

// CHECK: func.func @read_twice{{.*}}llm.joins_made = {}
func.func @read_twice(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}) -> (tensor<?x64xf32>, tensor<?x64xf32>) {
  %w = llm.weight "w" : tensor<64x64xf32>
  %y = llm.linear %x, %w : tensor<?x64xf32>, tensor<64x64xf32> -> tensor<?x64xf32> loc("/twice")
  %z = llm.relu %y : tensor<?x64xf32>
  return %z, %y : tensor<?x64xf32>, tensor<?x64xf32>
}

// CHECK: func.func @too_dear_to_repeat{{.*}}llm.joins_made = {}
func.func @too_dear_to_repeat(%x: tensor<64xf32>) -> tensor<32x64xf32> {
  %s = llm.sin %x : tensor<64xf32>
  %shape = llm.constant dense<[32, 64]> : tensor<2xi64>
  %y = llm.broadcast %s, %shape : tensor<64xf32>, tensor<2xi64> -> tensor<32x64xf32>
  return %y : tensor<32x64xf32>
}

// CHECK: func.func @a_whole_tensor{{.*}}llm.joins_made = {}
func.func @a_whole_tensor(%x: tensor<32x64xf32>, %y: tensor<32xf32>) -> (tensor<f32>, tensor<32xf32>) {
  %m = llm.reduce max %x axes = [0, 1] : tensor<32x64xf32> -> tensor<f32>
  %s = llm.sin %y : tensor<32xf32>
  return %m, %s : tensor<f32>, tensor<32xf32>
}

// Weights of two types are streamed by two kernels.
// CHECK: func.func @projections_of_two_types{{.*}}llm.joins_made = {}
func.func @projections_of_two_types(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}) -> (tensor<?x32xf32>, tensor<?x16xf32>) {
  %wq = llm.weight "q" : tensor<32x64xf32>
  %wk = llm.weight "k" : tensor<16x64xf16>
  %q = llm.linear %x, %wq : tensor<?x64xf32>, tensor<32x64xf32> -> tensor<?x32xf32>
  %k = llm.linear %x, %wk : tensor<?x64xf32>, tensor<16x64xf16> -> tensor<?x16xf32>
  return %q, %k : tensor<?x32xf32>, tensor<?x16xf32>
}

// One side of the gate is returned, too: the products share a kernel as projections do, the gate has one of its own.
// CHECK: func.func @gate_that_is_returned{{.*}}llm.joins_made = {{{.*}}"join-projections" = 1 : i64
func.func @gate_that_is_returned(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}) -> (tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>) {
  %wg = llm.weight "g" : tensor<32x64xf32>
  %wu = llm.weight "u" : tensor<32x64xf32>
  %g = llm.linear %x, %wg : tensor<?x64xf32>, tensor<32x64xf32> -> tensor<?x32xf32>
  %u = llm.linear %x, %wu : tensor<?x64xf32>, tensor<32x64xf32> -> tensor<?x32xf32>
  %s = llm.silu %g : tensor<?x32xf32>
  %m = llm.mul %s, %u : tensor<?x32xf32>, tensor<?x32xf32> -> tensor<?x32xf32>
  return %m, %g, %u : tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>
}

// The sum has more rows than the product.
// WHY-DAG: [Missed] join-epilogue {{.*}}Blocker=llm.linear{{.*}}another shape than what the kernel computes
// CHECK: func.func @epilogue_of_another_shape{{.*}}llm.joins_made = {}
func.func @epilogue_of_another_shape(%x: tensor<4x64xf32>, %z: tensor<3x4x8xf32>) -> tensor<3x4x8xf32> {
  %w = llm.weight "w" : tensor<8x64xf32>
  %y = llm.linear %x, %w : tensor<4x64xf32>, tensor<8x64xf32> -> tensor<4x8xf32>
  %r = llm.add %y, %z : tensor<4x8xf32>, tensor<3x4x8xf32> -> tensor<3x4x8xf32>
  return %r : tensor<3x4x8xf32>
}

// CHECK: func.func @skip_and_norm{{.*}}"join-norm-input" = 1 : i64
func.func @skip_and_norm(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}, %r: tensor<?x64xf32> {llm.dims = ["n", 64]}) -> tensor<?x64xf32> {
  %s = llm.add %x, %r : tensor<?x64xf32>, tensor<?x64xf32> -> tensor<?x64xf32>
  %n = llm.rms_norm %s {epsilon = 1.0e-5 : f32} : tensor<?x64xf32> -> tensor<?x64xf32>
  return %n : tensor<?x64xf32>
}

// A vector that is added to all rows is no skip; the sum is returned, too.
// CHECK: func.func @norm_of_a_broadcast_sum{{.*}}llm.joins_made = {}
func.func @norm_of_a_broadcast_sum(%x: tensor<4x64xf32>, %r: tensor<1x64xf32>) -> (tensor<4x64xf32>, tensor<4x64xf32>) {
  %s = llm.add %x, %r : tensor<4x64xf32>, tensor<1x64xf32> -> tensor<4x64xf32>
  %n = llm.rms_norm %s {epsilon = 1.0e-5 : f32} : tensor<4x64xf32> -> tensor<4x64xf32>
  return %n, %s : tensor<4x64xf32>, tensor<4x64xf32>
}

// The embedding is returned, too.
// CHECK: func.func @embedding_that_is_returned{{.*}}llm.joins_made = {}
func.func @embedding_that_is_returned(%ids: tensor<?xi64> {llm.dims = ["n"]}) -> (tensor<?x64xf32>, tensor<?x64xf32>) {
  %t = llm.weight "t" : tensor<100x64xf32>
  %e = llm.embedding %ids, %t : tensor<?xi64>, tensor<100x64xf32> -> tensor<?x64xf32>
  %n = llm.rms_norm %e {epsilon = 1.0e-5 : f32} : tensor<?x64xf32> -> tensor<?x64xf32>
  return %n, %e : tensor<?x64xf32>, tensor<?x64xf32>
}

// CHECK: func.func @extrema_of_rows{{.*}}"join-row-extrema" = 1 : i64
func.func @extrema_of_rows(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}) -> (tensor<?x64xf32>, tensor<?xf32>) {
  %n = llm.rms_norm %x {epsilon = 1.0e-5 : f32} : tensor<?x64xf32> -> tensor<?x64xf32>
  %m = llm.reduce max %n axes = [1] : tensor<?x64xf32> -> tensor<?xf32>
  return %n, %m : tensor<?x64xf32>, tensor<?xf32>
}

// CHECK: func.func @extrema_of_columns{{.*}}llm.joins_made = {}
func.func @extrema_of_columns(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}) -> (tensor<?x64xf32>, tensor<64xf32>) {
  %n = llm.rms_norm %x {epsilon = 1.0e-5 : f32} : tensor<?x64xf32> -> tensor<?x64xf32>
  %m = llm.reduce max %n axes = [0] : tensor<?x64xf32> -> tensor<64xf32>
  return %n, %m : tensor<?x64xf32>, tensor<64xf32>
}

// CHECK: func.func @extrema_in_another_type{{.*}}llm.joins_made = {}
func.func @extrema_in_another_type(%x: tensor<?x64xf16> {llm.dims = ["n", 64]}) -> (tensor<?x64xf16>, tensor<?xf16>) {
  %n = llm.layer_norm %x {epsilon = 1.0e-5 : f32} : tensor<?x64xf16> -> tensor<?x64xf16>
  %m = llm.reduce max %n axes = [1] : tensor<?x64xf16> -> tensor<?xf16>
  return %n, %m : tensor<?x64xf16>, tensor<?xf16>
}
