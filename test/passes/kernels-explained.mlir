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

//===----------------------------------------------------------------------===//
// What stays apart says why.
//===----------------------------------------------------------------------===//

// WHY-DAG: [Missed] join-gated-pair {{.*}}Blocker=llm.linear, BlockerNode=/up{{.*}}of different types: f32 and f16
// WHY-DAG: [Missed] join-projections {{.*}}Blocker=llm.silu{{.*}}is computed with it
// CHECK: func.func @gate_of_two_types{{.*}}llm.joins_made = {"join-epilogue" = 1 : i64}
func.func @gate_of_two_types(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}) -> tensor<?x32xf32> {
  %wg = llm.weight "g" : tensor<32x64xf32>
  %wu = llm.weight "u" : tensor<32x64xf16>
  %g = llm.linear %x, %wg : tensor<?x64xf32>, tensor<32x64xf32> -> tensor<?x32xf32>
  %u = llm.linear %x, %wu : tensor<?x64xf32>, tensor<32x64xf16> -> tensor<?x32xf32> loc("/up")
  %s = llm.silu %g : tensor<?x32xf32>
  %m = llm.mul %s, %u : tensor<?x32xf32>, tensor<?x32xf32> -> tensor<?x32xf32>
  return %m : tensor<?x32xf32>
}

// WHY-DAG: [Missed] join-gated-pair {{.*}}Blocker=llm.linear, BlockerNode=/shared{{.*}}the value is read elsewhere as well
// CHECK: func.func @gate_read_elsewhere
func.func @gate_read_elsewhere(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}) -> (tensor<?x32xf32>, tensor<?x32xf32>) {
  %wg = llm.weight "g" : tensor<32x64xf32>
  %wu = llm.weight "u" : tensor<32x64xf32>
  %g = llm.linear %x, %wg : tensor<?x64xf32>, tensor<32x64xf32> -> tensor<?x32xf32>
  %u = llm.linear %x, %wu : tensor<?x64xf32>, tensor<32x64xf32> -> tensor<?x32xf32> loc("/shared")
  %s = llm.silu %g : tensor<?x32xf32>
  %m = llm.mul %s, %u : tensor<?x32xf32>, tensor<?x32xf32> -> tensor<?x32xf32>
  return %m, %u : tensor<?x32xf32>, tensor<?x32xf32>
}

// WHY-DAG: [Missed] join-projections {{.*}}Blocker=llm.linear, BlockerNode=/q{{.*}}one matrix lies the other way round
// CHECK: func.func @projections_of_two_orders{{.*}}llm.joins_made = {}
func.func @projections_of_two_orders(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}) -> (tensor<?x32xf32>, tensor<?x16xf32>) {
  %wq = llm.weight "q" : tensor<32x64xf32>
  %wk = llm.weight "k" : tensor<64x16xf32>
  %q = llm.linear %x, %wq : tensor<?x64xf32>, tensor<32x64xf32> -> tensor<?x32xf32> loc("/q")
  %k = llm.linear %x, %wk {transposed} : tensor<?x64xf32>, tensor<64x16xf32> -> tensor<?x16xf32>
  return %q, %k : tensor<?x32xf32>, tensor<?x16xf32>
}

// Codes of 4 bits and of 8 in one kernel would both be numbers there; the third matrix is quantized as the first.
// WHY-DAG: [Missed] join-projections {{.*}}Blocker=llm.linear, BlockerNode=/q4{{.*}}quantized in different ways: 4 bits, blocks of 32, scales of f32; 8 bits, a scale a row, scales of f32
// CHECK: func.func @projections_quantized_in_two_ways{{.*}}llm.joins_made = {"join-projections" = 1 : i64}
func.func @projections_quantized_in_two_ways(%x: tensor<?x64xf32> {llm.dims = ["n", 64]}) -> (tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>) {
  %shape = llm.constant dense<[32, 2, 32]> : tensor<3xi64>
  %flat = llm.constant dense<[32, 64]> : tensor<2xi64>
  %cq = llm.weight "q.codes" : tensor<32x2x32xi4>
  %sq = llm.weight "q.scales" : tensor<32x2x1xf32>
  %fq = llm.cast %cq : tensor<32x2x32xi4> -> tensor<32x2x32xf32>
  %mq = llm.mul %fq, %sq : tensor<32x2x32xf32>, tensor<32x2x1xf32> -> tensor<32x2x32xf32>
  %wq = llm.reshape %mq, %flat : tensor<32x2x32xf32>, tensor<2xi64> -> tensor<32x64xf32>
  %ck = llm.weight "k.codes" : tensor<32x64xi8>
  %sk = llm.weight "k.scales" : tensor<32x1xf32>
  %fk = llm.cast %ck : tensor<32x64xi8> -> tensor<32x64xf32>
  %wk = llm.mul %fk, %sk : tensor<32x64xf32>, tensor<32x1xf32> -> tensor<32x64xf32>
  %cv = llm.weight "v.codes" : tensor<32x2x32xi4>
  %sv = llm.weight "v.scales" : tensor<32x2x1xf32>
  %fv = llm.cast %cv : tensor<32x2x32xi4> -> tensor<32x2x32xf32>
  %mv = llm.mul %fv, %sv : tensor<32x2x32xf32>, tensor<32x2x1xf32> -> tensor<32x2x32xf32>
  %wv = llm.reshape %mv, %flat : tensor<32x2x32xf32>, tensor<2xi64> -> tensor<32x64xf32>
  %q = llm.linear %x, %wq : tensor<?x64xf32>, tensor<32x64xf32> -> tensor<?x32xf32> loc("/q4")
  %k = llm.linear %x, %wk : tensor<?x64xf32>, tensor<32x64xf32> -> tensor<?x32xf32>
  %v = llm.linear %x, %wv : tensor<?x64xf32>, tensor<32x64xf32> -> tensor<?x32xf32>
  return %q, %k, %v : tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>
}

// WHY-DAG: [Missed] join-norm-input {{.*}}Blocker=llm.add, BlockerNode=/wide{{.*}}another shape than the norm's rows
// CHECK: func.func @norm_of_a_sum_with_a_vector{{.*}}llm.joins_made = {}
func.func @norm_of_a_sum_with_a_vector(%x: tensor<4x64xf32>, %r: tensor<1x64xf32>) -> (tensor<4x64xf32>, tensor<4x64xf32>) {
  %s = llm.add %x, %r : tensor<4x64xf32>, tensor<1x64xf32> -> tensor<4x64xf32> loc("/wide")
  %n = llm.rms_norm %s {epsilon = 1.0e-5 : f32} : tensor<4x64xf32> -> tensor<4x64xf32>
  return %n, %s : tensor<4x64xf32>, tensor<4x64xf32>
}

// WHY-DAG: [Missed] join-norm-input {{.*}}Blocker=llm.cast, BlockerNode=/widened{{.*}}another type than it reads
// CHECK: func.func @norm_of_a_conversion{{.*}}llm.joins_made = {}
func.func @norm_of_a_conversion(%x: tensor<4x64xf16>) -> (tensor<4x64xf32>, tensor<4x64xf32>) {
  %s = llm.cast %x : tensor<4x64xf16> -> tensor<4x64xf32> loc("/widened")
  %n = llm.rms_norm %s {epsilon = 1.0e-5 : f32} : tensor<4x64xf32> -> tensor<4x64xf32>
  return %n, %s : tensor<4x64xf32>, tensor<4x64xf32>
}

// The keys come with a head's features apart, and go; the result is written in its own order.
// WHY-DAG: [Passed] join-layouts {{.*}}Joined=transpose, Op=llm.attention, Root=llm.transpose, RootNode=/values
// WHY-DAG: [Missed] join-layouts {{.*}}Blocker=llm.transpose, BlockerNode=/keys{{.*}}do not lie side by side
// WHY-DAG: [Missed] join-layouts {{.*}}Blocker=llm.attention, BlockerNode=/scores{{.*}}do not lie side by side
// CHECK: func.func @layouts{{.*}}"join-layouts" = 1 : i64
func.func @layouts(%q: tensor<2x4x9x16xf32>, %k: tensor<2x4x16x9xf32>, %v: tensor<2x9x4x16xf32>) -> tensor<2x4x16x9xf32> {
  %kt = llm.transpose %k permutation = [0, 1, 3, 2] : tensor<2x4x16x9xf32> -> tensor<2x4x9x16xf32> loc("/keys")
  %vt = llm.transpose %v permutation = [0, 2, 1, 3] : tensor<2x9x4x16xf32> -> tensor<2x4x9x16xf32> loc("/values")
  %a = llm.attention %q, %kt, %vt {scale = 0.25 : f32} : tensor<2x4x9x16xf32>, tensor<2x4x9x16xf32>, tensor<2x4x9x16xf32> -> tensor<2x4x9x16xf32> loc("/scores")
  %y = llm.transpose %a permutation = [0, 1, 3, 2] : tensor<2x4x9x16xf32> -> tensor<2x4x16x9xf32>
  return %y : tensor<2x4x16x9xf32>
}

// WHY-DAG: [Missed] join-layouts {{.*}}Blocker=llm.attention, BlockerNode=/returned{{.*}}the value is read elsewhere as well
// CHECK: func.func @layout_of_what_is_returned{{.*}}llm.joins_made = {}
func.func @layout_of_what_is_returned(%q: tensor<2x4x9x16xf32>, %k: tensor<2x4x9x16xf32>, %v: tensor<2x4x9x16xf32>) -> (tensor<2x9x4x16xf32>, tensor<2x4x9x16xf32>) {
  %a = llm.attention %q, %k, %v {scale = 0.25 : f32} : tensor<2x4x9x16xf32>, tensor<2x4x9x16xf32>, tensor<2x4x9x16xf32> -> tensor<2x4x9x16xf32> loc("/returned")
  %y = llm.transpose %a permutation = [0, 2, 1, 3] : tensor<2x4x9x16xf32> -> tensor<2x9x4x16xf32>
  return %y, %a : tensor<2x9x4x16xf32>, tensor<2x4x9x16xf32>
}

// Windows stay in the kernel of the product that reads them.
// WHY-DAG: [Passed] join-norm {{.*}}Joined=windows
// CHECK: func.func @windows_of_a_product{{.*}}"join-norm" = 1 : i64
func.func @windows_of_a_product(%x: tensor<2x9x16xf32>) -> tensor<2x7x5xf32> {
  %w = llm.weight "w" : tensor<5x48xf32>
  %r = llm.windows %x kernel = [3] {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>} : tensor<2x9x16xf32> -> tensor<2x7x48xf32> loc("/windows")
  %y = llm.linear %r, %w : tensor<2x7x48xf32>, tensor<5x48xf32> -> tensor<2x7x5xf32> loc("/product")
  return %y : tensor<2x7x5xf32>
}
