// RUN: llmopt-opt %s --llmopt-fuse --remarks-filter=fusion 2>&1 | FileCheck %s
// RUN: not llmopt-opt %s --llmopt-fuse=require=fuse-rms-norm:2 2>&1 | FileCheck %s --check-prefix=REQUIRE
// RUN: not llmopt-opt %s --llmopt-fuse=require=fuse-golu 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: llmopt-opt %s --llmopt-fuse=require=fuse-rms-norm:1 | FileCheck %s --check-prefix=FUSED
// RUN: llmopt-opt %s "--pass-pipeline=builtin.module(llmopt-fuse{require=fuse-rms-norm:1 goes-on=true},llmopt-fuse{require=fuse-rms-norm:1})" | FileCheck %s --check-prefix=FUSED
// RUN: not llmopt-opt %s "--pass-pipeline=builtin.module(llmopt-fuse{require=fuse-rms-norm:2 goes-on=true},llmopt-fuse{require=fuse-rms-norm:2})" 2>&1 | FileCheck %s --check-prefix=REQUIRE
// REQUIRES: llmopt-opt
// REQUIRE: error: [E0551] fusion 'fuse-rms-norm' was made 1 times, required 2
// UNKNOWN: error: [E0305] there is no fusion 'fuse-golu'
// FUSED: llm.rms_norm

// A norm and its scale are one fusion, told once; what stood in the way before the scale joined is not told.
// CHECK-NOT: [Missed]
// CHECK:     remark: [Passed] fuse-rms-norm | Category:fusion | Op=llm.rms_norm, Root=llm.mul
// CHECK-NOT: [Passed]
func.func @made_once(%x: tensor<2x8xf32>, %w: tensor<8xf32>) -> tensor<2x8xf32> {
  %eps = llm.constant dense<1.0e-5> : tensor<f32>
  %square = llm.mul %x, %x : tensor<2x8xf32>, tensor<2x8xf32> -> tensor<2x8xf32>
  %mean = llm.reduce mean %square axes = [1] {keepdims} : tensor<2x8xf32> -> tensor<2x1xf32>
  %sum = llm.add %mean, %eps : tensor<2x1xf32>, tensor<f32> -> tensor<2x1xf32>
  %root = llm.rsqrt %sum : tensor<2x1xf32>
  %y = llm.mul %x, %root : tensor<2x8xf32>, tensor<2x1xf32> -> tensor<2x8xf32>
  %z = llm.mul %y, %w : tensor<2x8xf32>, tensor<8xf32> -> tensor<2x8xf32>
  return %z : tensor<2x8xf32>
}

// The blocker is named by its own place in the source, not by the root's.
// CHECK:     [Missed] fuse-rms-norm | Category:fusion | Blocker=llm.reduce, BlockerNode=/norm/ReduceMean, Kind=OtherAxis
func.func @other_axis(%x: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %eps = llm.constant dense<1.0e-5> : tensor<f32>
  %square = llm.mul %x, %x : tensor<8x8xf32>, tensor<8x8xf32> -> tensor<8x8xf32>
  %mean = llm.reduce mean %square axes = [0] {keepdims} : tensor<8x8xf32> -> tensor<1x8xf32> loc("/norm/ReduceMean")
  %sum = llm.add %mean, %eps : tensor<1x8xf32>, tensor<f32> -> tensor<1x8xf32>
  %root = llm.rsqrt %sum : tensor<1x8xf32>
  %y = llm.mul %x, %root : tensor<8x8xf32>, tensor<1x8xf32> -> tensor<8x8xf32> loc("/norm/Mul")
  return %y : tensor<8x8xf32>
}

// CHECK:     [Missed] fuse-attention | Category:fusion | Blocker=llm.neg, BlockerNode=/weights/Neg, Kind=MultiUse
func.func @weights_are_read_twice(%q: tensor<1x2x4x8xf32>, %k: tensor<1x2x8x4xf32>, %v: tensor<1x2x4x8xf32>) -> (tensor<1x2x4x8xf32>, tensor<1x2x4x4xf32>) {
  %s = llm.matmul %q, %k : tensor<1x2x4x8xf32>, tensor<1x2x8x4xf32> -> tensor<1x2x4x4xf32>
  %p = llm.softmax %s {axis = 3 : i64} : tensor<1x2x4x4xf32>
  %n = llm.neg %p : tensor<1x2x4x4xf32> loc("/weights/Neg")
  %y = llm.matmul %p, %v : tensor<1x2x4x4xf32>, tensor<1x2x4x8xf32> -> tensor<1x2x4x8xf32>
  return %y, %n : tensor<1x2x4x8xf32>, tensor<1x2x4x4xf32>
}
