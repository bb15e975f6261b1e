// RUN: llmopt-opt %s --llmopt-asked-rows | FileCheck %s

// Behind attention everything works on the rows of the logits. Keys and values of the layer do not.
// CHECK-LABEL: func.func @step
//  CHECK-SAME: %[[ROWS:[a-z0-9]+]]: tensor<?xi32> {llm.dims = ["rows"], llm.name = "logit_rows"}
//       CHECK: %[[X:.+]] = llm.embedding
//       CHECK: %[[A0:.+]] = llm.paged_attention
//       CHECK: %[[A1:.+]] = llm.reshape %[[A0]]
//       CHECK: %[[A:.+]] = llm.gather %[[A1]], %[[ROWS]] {axis = 0 : i64}
//       CHECK: %[[O:.+]] = llm.linear %[[A]]
//       CHECK: %[[R:.+]] = llm.gather %[[X]], %[[ROWS]] {axis = 0 : i64}
//       CHECK: %[[H:.+]] = llm.add %[[R]], %[[O]]
//       CHECK: %[[N:.+]] = llm.rms_norm %[[H]]
//   CHECK-NOT: llm.gather
//       CHECK: llm.add %[[H]]
//   CHECK-NOT: llm.gather
func.func @step(%ids: tensor<?xi32> {llm.dims = ["tokens"], llm.name = "token_ids"}, %rows: tensor<?xi32> {llm.dims = ["rows"], llm.name = "logit_rows"}) -> tensor<?x16xf32> {
  %flat = llm.constant dense<[-1, 8]> : tensor<2xi64>
  %heads = llm.constant dense<[-1, 2, 4]> : tensor<3xi64>
  %table = llm.weight "table" : tensor<16x8xf32>
  %w = llm.weight "w" : tensor<8x8xf32>
  %up = llm.weight "up" : tensor<24x8xf32>
  %gate = llm.weight "gate" : tensor<24x8xf32>
  %down = llm.weight "down" : tensor<8x24xf32>
  %x = llm.embedding %ids, %table : tensor<?xi32>, tensor<16x8xf32> -> tensor<?x8xf32>
  %x0 = llm.rms_norm %x {epsilon = 1.0e-5 : f32} : tensor<?x8xf32> -> tensor<?x8xf32>
  %q0 = llm.linear %x0, %w : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
  %q = llm.reshape %q0, %heads : tensor<?x8xf32>, tensor<3xi64> -> tensor<?x2x4xf32>
  llm.cache_append %q, %q {state = 0 : i64} : tensor<?x2x4xf32>, tensor<?x2x4xf32>
  %a0 = llm.paged_attention %q {causal, kv_heads = 2 : i64, scale = 0.5 : f32, state = 0 : i64} : tensor<?x2x4xf32> -> tensor<?x2x4xf32>
  %a = llm.reshape %a0, %flat : tensor<?x2x4xf32>, tensor<2xi64> -> tensor<?x8xf32>
  %o = llm.linear %a, %w : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
  %h = llm.add %x, %o : tensor<?x8xf32>, tensor<?x8xf32> -> tensor<?x8xf32>
  %n = llm.rms_norm %h {epsilon = 1.0e-5 : f32} : tensor<?x8xf32> -> tensor<?x8xf32>
  %g0 = llm.linear %n, %gate : tensor<?x8xf32>, tensor<24x8xf32> -> tensor<?x24xf32>
  %g = llm.silu %g0 : tensor<?x24xf32>
  %u = llm.linear %n, %up : tensor<?x8xf32>, tensor<24x8xf32> -> tensor<?x24xf32>
  %m = llm.mul %g, %u : tensor<?x24xf32>, tensor<?x24xf32> -> tensor<?x24xf32>
  %d = llm.linear %m, %down : tensor<?x24xf32>, tensor<8x24xf32> -> tensor<?x8xf32>
  %y = llm.add %h, %d : tensor<?x8xf32>, tensor<?x8xf32> -> tensor<?x8xf32>
  %r = llm.gather %y, %rows {axis = 0 : i64} : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  %z = llm.rms_norm %r {epsilon = 1.0e-5 : f32} : tensor<?x8xf32> -> tensor<?x8xf32>
  %logits = llm.linear %z, %table : tensor<?x8xf32>, tensor<16x8xf32> -> tensor<?x16xf32>
  return %logits : tensor<?x16xf32>
}

// Experts are chosen for the rows asked for.
// CHECK-LABEL: func.func @experts
//       CHECK: %[[R:.+]] = llm.gather %arg0, %arg1 {axis = 0 : i64}
//       CHECK: %[[S:.+]] = llm.linear %[[R]]
//       CHECK: %{{.+}}, %[[C:.+]] = llm.topk %[[S]]
//       CHECK: %[[O:.+]], %[[F:.+]] = llm.group_rows %[[C]]
//       CHECK: llm.grouped_linear %[[R]], %{{.+}}, %[[O]], %[[F]]
//   CHECK-NOT: llm.gather
func.func @experts(%x: tensor<?x8xf32> {llm.dims = ["tokens", 8]}, %rows: tensor<?xi32> {llm.dims = ["rows"], llm.name = "logit_rows"}) -> tensor<?x8xf32> {
  %two = llm.constant dense<2> : tensor<1xi64>
  %router = llm.weight "router" : tensor<4x8xf32>
  %w = llm.weight "experts" : tensor<4x8x8xf32>
  %scores = llm.linear %x, %router : tensor<?x8xf32>, tensor<4x8xf32> -> tensor<?x4xf32>
  %best, %chosen = llm.topk %scores, %two {axis = 1 : i64, largest = true} : tensor<?x4xf32>, tensor<1xi64> -> tensor<?x2xf32>, tensor<?x2xi64>
  %order, %offsets = llm.group_rows %chosen {experts = 4 : i64} : tensor<?x2xi64> -> tensor<?x2xi32>, tensor<5xi32>
  %each = llm.grouped_linear %x, %w, %order, %offsets : tensor<?x8xf32>, tensor<4x8x8xf32>, tensor<?x2xi32>, tensor<5xi32> -> tensor<?x2x8xf32>
  %share = llm.expand_dims %best axes = [2] : tensor<?x2xf32> -> tensor<?x2x1xf32>
  %weighted = llm.mul %each, %share : tensor<?x2x8xf32>, tensor<?x2x1xf32> -> tensor<?x2x8xf32>
  %sum = llm.reduce sum %weighted axes = [1] : tensor<?x2x8xf32> -> tensor<?x8xf32>
  %r = llm.gather %sum, %rows {axis = 0 : i64} : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  return %r : tensor<?x8xf32>
}

// The last product's result is read for all tokens as well: no product would be spared.
// CHECK-LABEL: func.func @stays
//   CHECK-NOT: llm.gather
//       CHECK: llm.rms_norm
//       CHECK: llm.gather
func.func @stays(%x: tensor<?x8xf32> {llm.dims = ["tokens", 8]}, %rows: tensor<?xi32> {llm.dims = ["rows"], llm.name = "logit_rows"}) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %w = llm.weight "w" : tensor<8x8xf32>
  %d = llm.linear %x, %w : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
  %n = llm.rms_norm %d {epsilon = 1.0e-5 : f32} : tensor<?x8xf32> -> tensor<?x8xf32>
  %r = llm.gather %n, %rows {axis = 0 : i64} : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  return %d, %r : tensor<?x8xf32>, tensor<?x8xf32>
}

// A sum over tokens needs them all.
// CHECK-LABEL: func.func @mixes
//       CHECK: llm.linear
//       CHECK: %[[B:.+]] = llm.softmax
//       CHECK: %[[R:.+]] = llm.gather %[[B]]
//       CHECK: llm.linear %[[R]]
//   CHECK-NOT: llm.gather
func.func @mixes(%x: tensor<?x8xf32> {llm.dims = ["tokens", 8]}, %rows: tensor<?xi32> {llm.dims = ["rows"], llm.name = "logit_rows"}) -> tensor<?x8xf32> {
  %w = llm.weight "w" : tensor<8x8xf32>
  %a = llm.linear %x, %w : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
  %b = llm.softmax %a {axis = 0 : i64} : tensor<?x8xf32>
  %c = llm.linear %b, %w : tensor<?x8xf32>, tensor<8x8xf32> -> tensor<?x8xf32>
  %r = llm.gather %c, %rows {axis = 0 : i64} : tensor<?x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
  return %r : tensor<?x8xf32>
}
