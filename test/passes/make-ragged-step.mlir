// RUN: llmopt-opt %s --split-input-file --llmopt-make-ragged-step --remarks-filter=ragged --verify-diagnostics | FileCheck %s

// Positions and mask computed from sizes; logits of the last linear only for the rows asked for.
// CHECK-LABEL: func.func @step
//  CHECK-SAME:   (%[[IDS:[a-z0-9]+]]: tensor<?xi32> {llm.dims = ["tokens"], llm.name = "token_ids"}, %[[POSITIONS:[a-z0-9]+]]: tensor<?xi32>
//  CHECK-SAME:   %[[ROWS:[a-z0-9]+]]: tensor<?xi32> {llm.dims = ["rows"], llm.name = "logit_rows"}) -> (tensor<?x11xf32> {llm.name = "logits"}) attributes {llm.max_positions = 32 : i64}
//       CHECK:   %[[ROW:.+]] = llm.expand_dims %[[IDS]] axes = [0] : tensor<?xi32> -> tensor<1x?xi32>
//       CHECK:   llm.embedding %[[ROW]], %{{.+}} : tensor<1x?xi32>, tensor<11x8xf32> -> tensor<1x?x8xf32>
//       CHECK:   llm.embedding %[[POSITIONS]], %{{.+}} : tensor<?xi32>, tensor<32x8xf32> -> tensor<?x8xf32>
//   CHECK-NOT:   llm.concat
//       CHECK:   llm.cache_append %{{.+}}, %{{.+}} {state = 0 : i64} : tensor<?x1x8xf32>, tensor<?x1x8xf32>
//       CHECK:   %[[Y:.+]] = llm.paged_attention %{{.+}} {causal, kv_heads = 1 : i64, scale = 5.000000e-01 : f32, state = 0 : i64} : tensor<?x2x8xf32>
//       CHECK:   %[[X:.+]] = llm.gather %{{.+}}, %[[ROWS]] {axis = 0 : i64}
//       CHECK:   %[[X1:.+]] = llm.expand_dims %[[X]] axes = [0]
//       CHECK:   llm.linear %[[X1]]
// expected-remark@+1 {{sequences run in ragged steps}}
func.func @main(%ids: tensor<?x?xi64> {llm.dims = ["b", "s"], llm.name = "ids"}, %mask: tensor<?x?xi64> {llm.dims = ["b", "p + s"], llm.name = "mask"},
                %pk: tensor<?x1x?x8xf32> {llm.dims = ["b", 1, "p", 8], llm.name = "pk"}, %pv: tensor<?x1x?x8xf32> {llm.dims = ["b", 1, "p", 8], llm.name = "pv"})
    -> (tensor<?x?x11xf32> {llm.name = "logits"}, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>)
    attributes {llm.decoder = {ids = 0 : i64, mask = 1 : i64, positions = -1 : i64, logits = 0 : i64, past = [array<i64: 2, 1>, array<i64: 3, 2>]}} {
  %table = llm.weight "table" : tensor<11x8xf32>
  %places = llm.weight "places" : tensor<32x8xf32>
  %wq = llm.weight "wq" : tensor<16x8xf32>
  %wo = llm.weight "wo" : tensor<11x16xf32>
  %i0 = llm.constant dense<0> : tensor<i64>
  %i1 = llm.constant dense<1> : tensor<i64>
  %i2 = llm.constant dense<2> : tensor<i64>
  %allowed = llm.constant dense<0.0> : tensor<f32>
  %lowest = llm.constant dense<-3.4e38> : tensor<f32>
  %heads = llm.constant dense<[0, 0, 2, 8]> : tensor<4xi64>
  %one = llm.constant dense<[0, 0, 1, 8]> : tensor<4xi64>
  %flat = llm.constant dense<[0, 0, 16]> : tensor<3xi64>
  %shape = llm.shape %ids : tensor<?x?xi64> -> tensor<2xi64>
  %s = llm.gather %shape, %i1 {axis = 0 : i64} : tensor<2xi64>, tensor<i64> -> tensor<i64>
  %old = llm.shape %pk : tensor<?x1x?x8xf32> -> tensor<4xi64>
  %p = llm.gather %old, %i2 {axis = 0 : i64} : tensor<4xi64>, tensor<i64> -> tensor<i64>
  %total = llm.add %p, %s : tensor<i64>, tensor<i64> -> tensor<i64>
  %x0 = llm.gather %table, %ids {axis = 0 : i64} : tensor<11x8xf32>, tensor<?x?xi64> -> tensor<?x?x8xf32>
  %position = llm.range %p, %total, %i1 : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<?xi64>
  %place = llm.gather %places, %position {axis = 0 : i64} : tensor<32x8xf32>, tensor<?xi64> -> tensor<?x8xf32>
  %x = llm.add %x0, %place : tensor<?x?x8xf32>, tensor<?x8xf32> -> tensor<?x?x8xf32>
  %all = llm.range %i0, %total, %i1 : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<?xi64>
  %column = llm.expand_dims %position axes = [1] : tensor<?xi64> -> tensor<?x1xi64>
  %before = llm.compare le %all, %column : tensor<?xi64>, tensor<?x1xi64> -> tensor<?x?xi1>
  %real = llm.cast %mask : tensor<?x?xi64> -> tensor<?x?xi1>
  %real4 = llm.expand_dims %real axes = [1, 2] : tensor<?x?xi1> -> tensor<?x1x1x?xi1>
  %both = llm.and %real4, %before : tensor<?x1x1x?xi1>, tensor<?x?xi1> -> tensor<?x1x?x?xi1>
  %m = llm.select %both, %allowed, %lowest : tensor<?x1x?x?xi1>, tensor<f32>, tensor<f32> -> tensor<?x1x?x?xf32>
  %q0 = llm.linear %x, %wq : tensor<?x?x8xf32>, tensor<16x8xf32> -> tensor<?x?x16xf32>
  %q1 = llm.reshape %q0, %heads : tensor<?x?x16xf32>, tensor<4xi64> -> tensor<?x?x2x8xf32>
  %q = llm.transpose %q1 permutation = [0, 2, 1, 3] : tensor<?x?x2x8xf32> -> tensor<?x2x?x8xf32>
  %k0 = llm.reshape %x, %one : tensor<?x?x8xf32>, tensor<4xi64> -> tensor<?x?x1x8xf32>
  %k1 = llm.transpose %k0 permutation = [0, 2, 1, 3] : tensor<?x?x1x8xf32> -> tensor<?x1x?x8xf32>
  %k = llm.concat %pk, %k1 {axis = 2 : i64} : tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32> -> tensor<?x1x?x8xf32>
  %v = llm.concat %pv, %k1 {axis = 2 : i64} : tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32> -> tensor<?x1x?x8xf32>
  %y0 = llm.attention %q, %k, %v mask %m : tensor<?x1x?x?xf32> {scale = 0.5 : f32} : tensor<?x2x?x8xf32>, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32> -> tensor<?x2x?x8xf32>
  %y1 = llm.transpose %y0 permutation = [0, 2, 1, 3] : tensor<?x2x?x8xf32> -> tensor<?x?x2x8xf32>
  %y = llm.reshape %y1, %flat : tensor<?x?x2x8xf32>, tensor<3xi64> -> tensor<?x?x16xf32>
  %logits = llm.linear %y, %wo : tensor<?x?x16xf32>, tensor<11x16xf32> -> tensor<?x?x11xf32>
  return %logits, %k, %v : tensor<?x?x11xf32>, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>
}

// -----

// The mask lets a token see the 100 before it: a number far beyond the small sizes that are tried.
// CHECK-LABEL: func.func @step
//       CHECK:   llm.paged_attention %{{.+}} {causal, kv_heads = 1 : i64, scale = 5.000000e-01 : f32, state = 0 : i64, window = 100 : i64}
// expected-remark@+1 {{sequences run in ragged steps}}
func.func @main(%ids: tensor<?x?xi64> {llm.dims = ["b", "s"], llm.name = "ids"}, %mask: tensor<?x?xi64> {llm.dims = ["b", "p + s"], llm.name = "mask"},
                %pk: tensor<?x1x?x8xf32> {llm.dims = ["b", 1, "p", 8], llm.name = "pk"}, %pv: tensor<?x1x?x8xf32> {llm.dims = ["b", 1, "p", 8], llm.name = "pv"})
    -> (tensor<?x?x8xf32> {llm.name = "logits"}, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>)
    attributes {llm.decoder = {ids = 0 : i64, mask = 1 : i64, positions = -1 : i64, logits = 0 : i64, past = [array<i64: 2, 1>, array<i64: 3, 2>]}} {
  %table = llm.weight "table" : tensor<11x8xf32>
  %i0 = llm.constant dense<0> : tensor<i64>
  %i1 = llm.constant dense<1> : tensor<i64>
  %i2 = llm.constant dense<2> : tensor<i64>
  %one = llm.constant dense<[0, 0, 1, 8]> : tensor<4xi64>
  %flat = llm.constant dense<[0, 0, 8]> : tensor<3xi64>
  %shape = llm.shape %ids : tensor<?x?xi64> -> tensor<2xi64>
  %s = llm.gather %shape, %i1 {axis = 0 : i64} : tensor<2xi64>, tensor<i64> -> tensor<i64>
  %old = llm.shape %pk : tensor<?x1x?x8xf32> -> tensor<4xi64>
  %p = llm.gather %old, %i2 {axis = 0 : i64} : tensor<4xi64>, tensor<i64> -> tensor<i64>
  %total = llm.add %p, %s : tensor<i64>, tensor<i64> -> tensor<i64>
  %position = llm.range %p, %total, %i1 : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<?xi64>
  %all = llm.range %i0, %total, %i1 : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<?xi64>
  %column = llm.expand_dims %position axes = [1] : tensor<?xi64> -> tensor<?x1xi64>
  %before = llm.compare le %all, %column : tensor<?xi64>, tensor<?x1xi64> -> tensor<?x?xi1>
  %hundred = llm.constant dense<100> : tensor<i64>
  %distance = llm.sub %column, %all : tensor<?x1xi64>, tensor<?xi64> -> tensor<?x?xi64>
  %near = llm.compare lt %distance, %hundred : tensor<?x?xi64>, tensor<i64> -> tensor<?x?xi1>
  %m = llm.and %before, %near : tensor<?x?xi1>, tensor<?x?xi1> -> tensor<?x?xi1>
  %x = llm.gather %table, %ids {axis = 0 : i64} : tensor<11x8xf32>, tensor<?x?xi64> -> tensor<?x?x8xf32>
  %k0 = llm.reshape %x, %one : tensor<?x?x8xf32>, tensor<4xi64> -> tensor<?x?x1x8xf32>
  %k1 = llm.transpose %k0 permutation = [0, 2, 1, 3] : tensor<?x?x1x8xf32> -> tensor<?x1x?x8xf32>
  %k = llm.concat %pk, %k1 {axis = 2 : i64} : tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32> -> tensor<?x1x?x8xf32>
  %v = llm.concat %pv, %k1 {axis = 2 : i64} : tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32> -> tensor<?x1x?x8xf32>
  %y0 = llm.attention %k1, %k, %v mask %m : tensor<?x?xi1> {scale = 0.5 : f32} : tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32> -> tensor<?x1x?x8xf32>
  %y1 = llm.transpose %y0 permutation = [0, 2, 1, 3] : tensor<?x1x?x8xf32> -> tensor<?x?x1x8xf32>
  %y = llm.reshape %y1, %flat : tensor<?x?x1x8xf32>, tensor<3xi64> -> tensor<?x?x8xf32>
  %logits = llm.relu %y : tensor<?x?x8xf32>
  return %logits, %k, %v : tensor<?x?x8xf32>, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>
}

// -----

// A token sees the one behind it.
// CHECK-LABEL: func.func @main
//   CHECK-NOT: func.func @step
func.func @main(%ids: tensor<?x?xi64> {llm.dims = ["b", "s"], llm.name = "ids"}, %mask: tensor<?x?xi64> {llm.dims = ["b", "p + s"], llm.name = "mask"},
                %pk: tensor<?x1x?x8xf32> {llm.dims = ["b", 1, "p", 8], llm.name = "pk"}, %pv: tensor<?x1x?x8xf32> {llm.dims = ["b", 1, "p", 8], llm.name = "pv"})
    -> (tensor<?x?x8xf32> {llm.name = "logits"}, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>)
    attributes {llm.decoder = {ids = 0 : i64, mask = 1 : i64, positions = -1 : i64, logits = 0 : i64, past = [array<i64: 2, 1>, array<i64: 3, 2>]}} {
  %table = llm.weight "table" : tensor<11x8xf32>
  %i0 = llm.constant dense<0> : tensor<i64>
  %i1 = llm.constant dense<1> : tensor<i64>
  %i2 = llm.constant dense<2> : tensor<i64>
  %one = llm.constant dense<[0, 0, 1, 8]> : tensor<4xi64>
  %flat = llm.constant dense<[0, 0, 8]> : tensor<3xi64>
  %shape = llm.shape %ids : tensor<?x?xi64> -> tensor<2xi64>
  %s = llm.gather %shape, %i1 {axis = 0 : i64} : tensor<2xi64>, tensor<i64> -> tensor<i64>
  %old = llm.shape %pk : tensor<?x1x?x8xf32> -> tensor<4xi64>
  %p = llm.gather %old, %i2 {axis = 0 : i64} : tensor<4xi64>, tensor<i64> -> tensor<i64>
  %total = llm.add %p, %s : tensor<i64>, tensor<i64> -> tensor<i64>
  %position = llm.range %p, %total, %i1 : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<?xi64>
  %all = llm.range %i0, %total, %i1 : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<?xi64>
  %column = llm.expand_dims %position axes = [1] : tensor<?xi64> -> tensor<?x1xi64>
  %before = llm.compare le %all, %column : tensor<?xi64>, tensor<?x1xi64> -> tensor<?x?xi1>
  %next = llm.add %column, %i1 : tensor<?x1xi64>, tensor<i64> -> tensor<?x1xi64>
  %m = llm.compare le %all, %next : tensor<?xi64>, tensor<?x1xi64> -> tensor<?x?xi1>
  %x = llm.gather %table, %ids {axis = 0 : i64} : tensor<11x8xf32>, tensor<?x?xi64> -> tensor<?x?x8xf32>
  %k0 = llm.reshape %x, %one : tensor<?x?x8xf32>, tensor<4xi64> -> tensor<?x?x1x8xf32>
  %k1 = llm.transpose %k0 permutation = [0, 2, 1, 3] : tensor<?x?x1x8xf32> -> tensor<?x1x?x8xf32>
  %k = llm.concat %pk, %k1 {axis = 2 : i64} : tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32> -> tensor<?x1x?x8xf32>
  %v = llm.concat %pv, %k1 {axis = 2 : i64} : tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32> -> tensor<?x1x?x8xf32>
  // expected-remark@+1 {{sequences run padded: its mask is not causal for a sequence without padding}}
  %y0 = llm.attention %k1, %k, %v mask %m : tensor<?x?xi1> {scale = 0.5 : f32} : tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32> -> tensor<?x1x?x8xf32>
  %y1 = llm.transpose %y0 permutation = [0, 2, 1, 3] : tensor<?x1x?x8xf32> -> tensor<?x?x1x8xf32>
  %y = llm.reshape %y1, %flat : tensor<?x?x1x8xf32>, tensor<3xi64> -> tensor<?x?x8xf32>
  %logits = llm.relu %y : tensor<?x?x8xf32>
  return %logits, %k, %v : tensor<?x?x8xf32>, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>
}

// -----

// Distances are added to the scores (ALiBi).
// CHECK-LABEL: func.func @main
//   CHECK-NOT: func.func @step
func.func @main(%ids: tensor<?x?xi64> {llm.dims = ["b", "s"], llm.name = "ids"}, %mask: tensor<?x?xi64> {llm.dims = ["b", "p + s"], llm.name = "mask"},
                %pk: tensor<?x1x?x8xf32> {llm.dims = ["b", 1, "p", 8], llm.name = "pk"}, %pv: tensor<?x1x?x8xf32> {llm.dims = ["b", 1, "p", 8], llm.name = "pv"})
    -> (tensor<?x?x8xf32> {llm.name = "logits"}, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>)
    attributes {llm.decoder = {ids = 0 : i64, mask = 1 : i64, positions = -1 : i64, logits = 0 : i64, past = [array<i64: 2, 1>, array<i64: 3, 2>]}} {
  %table = llm.weight "table" : tensor<11x8xf32>
  %i0 = llm.constant dense<0> : tensor<i64>
  %i1 = llm.constant dense<1> : tensor<i64>
  %i2 = llm.constant dense<2> : tensor<i64>
  %one = llm.constant dense<[0, 0, 1, 8]> : tensor<4xi64>
  %flat = llm.constant dense<[0, 0, 8]> : tensor<3xi64>
  %shape = llm.shape %ids : tensor<?x?xi64> -> tensor<2xi64>
  %s = llm.gather %shape, %i1 {axis = 0 : i64} : tensor<2xi64>, tensor<i64> -> tensor<i64>
  %old = llm.shape %pk : tensor<?x1x?x8xf32> -> tensor<4xi64>
  %p = llm.gather %old, %i2 {axis = 0 : i64} : tensor<4xi64>, tensor<i64> -> tensor<i64>
  %total = llm.add %p, %s : tensor<i64>, tensor<i64> -> tensor<i64>
  %position = llm.range %p, %total, %i1 : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<?xi64>
  %all = llm.range %i0, %total, %i1 : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<?xi64>
  %column = llm.expand_dims %position axes = [1] : tensor<?xi64> -> tensor<?x1xi64>
  %before = llm.compare le %all, %column : tensor<?xi64>, tensor<?x1xi64> -> tensor<?x?xi1>
  %distance = llm.sub %all, %column : tensor<?xi64>, tensor<?x1xi64> -> tensor<?x?xi64>
  %m = llm.cast %distance : tensor<?x?xi64> -> tensor<?x?xf32>
  %x = llm.gather %table, %ids {axis = 0 : i64} : tensor<11x8xf32>, tensor<?x?xi64> -> tensor<?x?x8xf32>
  %k0 = llm.reshape %x, %one : tensor<?x?x8xf32>, tensor<4xi64> -> tensor<?x?x1x8xf32>
  %k1 = llm.transpose %k0 permutation = [0, 2, 1, 3] : tensor<?x?x1x8xf32> -> tensor<?x1x?x8xf32>
  %k = llm.concat %pk, %k1 {axis = 2 : i64} : tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32> -> tensor<?x1x?x8xf32>
  %v = llm.concat %pv, %k1 {axis = 2 : i64} : tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32> -> tensor<?x1x?x8xf32>
  // expected-remark@+1 {{sequences run padded: its mask is not causal for a sequence without padding}}
  %y0 = llm.attention %k1, %k, %v mask %m : tensor<?x?xf32> {scale = 0.5 : f32} : tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32> -> tensor<?x1x?x8xf32>
  %y1 = llm.transpose %y0 permutation = [0, 2, 1, 3] : tensor<?x1x?x8xf32> -> tensor<?x?x1x8xf32>
  %y = llm.reshape %y1, %flat : tensor<?x?x1x8xf32>, tensor<3xi64> -> tensor<?x?x8xf32>
  %logits = llm.relu %y : tensor<?x?x8xf32>
  return %logits, %k, %v : tensor<?x?x8xf32>, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>
}

// -----

// The tokens of a sequence are averaged.
// CHECK-LABEL: func.func @main
//   CHECK-NOT: func.func @step
func.func @main(%ids: tensor<?x?xi64> {llm.dims = ["b", "s"], llm.name = "ids"}, %mask: tensor<?x?xi64> {llm.dims = ["b", "p + s"], llm.name = "mask"},
                %pk: tensor<?x1x?x8xf32> {llm.dims = ["b", 1, "p", 8], llm.name = "pk"}, %pv: tensor<?x1x?x8xf32> {llm.dims = ["b", 1, "p", 8], llm.name = "pv"})
    -> (tensor<?x?x8xf32> {llm.name = "logits"}, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>)
    attributes {llm.decoder = {ids = 0 : i64, mask = 1 : i64, positions = -1 : i64, logits = 0 : i64, past = [array<i64: 2, 1>, array<i64: 3, 2>]}} {
  %table = llm.weight "table" : tensor<11x8xf32>
  %i0 = llm.constant dense<0> : tensor<i64>
  %i1 = llm.constant dense<1> : tensor<i64>
  %i2 = llm.constant dense<2> : tensor<i64>
  %one = llm.constant dense<[0, 0, 1, 8]> : tensor<4xi64>
  %flat = llm.constant dense<[0, 0, 8]> : tensor<3xi64>
  %shape = llm.shape %ids : tensor<?x?xi64> -> tensor<2xi64>
  %s = llm.gather %shape, %i1 {axis = 0 : i64} : tensor<2xi64>, tensor<i64> -> tensor<i64>
  %old = llm.shape %pk : tensor<?x1x?x8xf32> -> tensor<4xi64>
  %p = llm.gather %old, %i2 {axis = 0 : i64} : tensor<4xi64>, tensor<i64> -> tensor<i64>
  %total = llm.add %p, %s : tensor<i64>, tensor<i64> -> tensor<i64>
  %position = llm.range %p, %total, %i1 : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<?xi64>
  %all = llm.range %i0, %total, %i1 : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<?xi64>
  %column = llm.expand_dims %position axes = [1] : tensor<?xi64> -> tensor<?x1xi64>
  %before = llm.compare le %all, %column : tensor<?xi64>, tensor<?x1xi64> -> tensor<?x?xi1>
  %m = llm.and %before, %before : tensor<?x?xi1>, tensor<?x?xi1> -> tensor<?x?xi1>
  %x = llm.gather %table, %ids {axis = 0 : i64} : tensor<11x8xf32>, tensor<?x?xi64> -> tensor<?x?x8xf32>
  %k0 = llm.reshape %x, %one : tensor<?x?x8xf32>, tensor<4xi64> -> tensor<?x?x1x8xf32>
  %k1 = llm.transpose %k0 permutation = [0, 2, 1, 3] : tensor<?x?x1x8xf32> -> tensor<?x1x?x8xf32>
  %k = llm.concat %pk, %k1 {axis = 2 : i64} : tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32> -> tensor<?x1x?x8xf32>
  %v = llm.concat %pv, %k1 {axis = 2 : i64} : tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32> -> tensor<?x1x?x8xf32>
  %y0 = llm.attention %k1, %k, %v mask %m : tensor<?x?xi1> {scale = 0.5 : f32} : tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32> -> tensor<?x1x?x8xf32>
  %y1 = llm.transpose %y0 permutation = [0, 2, 1, 3] : tensor<?x1x?x8xf32> -> tensor<?x?x1x8xf32>
  %y = llm.reshape %y1, %flat : tensor<?x?x1x8xf32>, tensor<3xi64> -> tensor<?x?x8xf32>
  // expected-remark@+1 {{sequences run padded: joins the tokens of a sequence}}
  %mean = llm.reduce mean %y axes = [1] {keepdims} : tensor<?x?x8xf32> -> tensor<?x1x8xf32>
  %logits = llm.add %y, %mean : tensor<?x?x8xf32>, tensor<?x1x8xf32> -> tensor<?x?x8xf32>
  return %logits, %k, %v : tensor<?x?x8xf32>, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>
}

// -----

// The number of tokens takes part in the arithmetic.
// CHECK-LABEL: func.func @main
//   CHECK-NOT: func.func @step
func.func @main(%ids: tensor<?x?xi64> {llm.dims = ["b", "s"], llm.name = "ids"}, %mask: tensor<?x?xi64> {llm.dims = ["b", "p + s"], llm.name = "mask"},
                %pk: tensor<?x1x?x8xf32> {llm.dims = ["b", 1, "p", 8], llm.name = "pk"}, %pv: tensor<?x1x?x8xf32> {llm.dims = ["b", 1, "p", 8], llm.name = "pv"})
    -> (tensor<?x?x8xf32> {llm.name = "logits"}, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>)
    attributes {llm.decoder = {ids = 0 : i64, mask = 1 : i64, positions = -1 : i64, logits = 0 : i64, past = [array<i64: 2, 1>, array<i64: 3, 2>]}} {
  %table = llm.weight "table" : tensor<11x8xf32>
  %i0 = llm.constant dense<0> : tensor<i64>
  %i1 = llm.constant dense<1> : tensor<i64>
  %i2 = llm.constant dense<2> : tensor<i64>
  %one = llm.constant dense<[0, 0, 1, 8]> : tensor<4xi64>
  %flat = llm.constant dense<[0, 0, 8]> : tensor<3xi64>
  %shape = llm.shape %ids : tensor<?x?xi64> -> tensor<2xi64>
  %s = llm.gather %shape, %i1 {axis = 0 : i64} : tensor<2xi64>, tensor<i64> -> tensor<i64>
  %old = llm.shape %pk : tensor<?x1x?x8xf32> -> tensor<4xi64>
  %p = llm.gather %old, %i2 {axis = 0 : i64} : tensor<4xi64>, tensor<i64> -> tensor<i64>
  %total = llm.add %p, %s : tensor<i64>, tensor<i64> -> tensor<i64>
  %position = llm.range %p, %total, %i1 : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<?xi64>
  %all = llm.range %i0, %total, %i1 : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<?xi64>
  %column = llm.expand_dims %position axes = [1] : tensor<?xi64> -> tensor<?x1xi64>
  %before = llm.compare le %all, %column : tensor<?xi64>, tensor<?x1xi64> -> tensor<?x?xi1>
  %m = llm.and %before, %before : tensor<?x?xi1>, tensor<?x?xi1> -> tensor<?x?xi1>
  %x = llm.gather %table, %ids {axis = 0 : i64} : tensor<11x8xf32>, tensor<?x?xi64> -> tensor<?x?x8xf32>
  %k0 = llm.reshape %x, %one : tensor<?x?x8xf32>, tensor<4xi64> -> tensor<?x?x1x8xf32>
  %k1 = llm.transpose %k0 permutation = [0, 2, 1, 3] : tensor<?x?x1x8xf32> -> tensor<?x1x?x8xf32>
  %k = llm.concat %pk, %k1 {axis = 2 : i64} : tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32> -> tensor<?x1x?x8xf32>
  %v = llm.concat %pv, %k1 {axis = 2 : i64} : tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32> -> tensor<?x1x?x8xf32>
  %y0 = llm.attention %k1, %k, %v mask %m : tensor<?x?xi1> {scale = 0.5 : f32} : tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32> -> tensor<?x1x?x8xf32>
  %y1 = llm.transpose %y0 permutation = [0, 2, 1, 3] : tensor<?x1x?x8xf32> -> tensor<?x?x1x8xf32>
  %y = llm.reshape %y1, %flat : tensor<?x?x1x8xf32>, tensor<3xi64> -> tensor<?x?x8xf32>
  %count = llm.cast %s : tensor<i64> -> tensor<f32>
  // expected-remark@+1 {{sequences run padded: computes with the number of tokens}}
  %logits = llm.div %y, %count : tensor<?x?x8xf32>, tensor<f32> -> tensor<?x?x8xf32>
  return %logits, %k, %v : tensor<?x?x8xf32>, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>
}

// -----

// New keys are scattered behind the old ones, in a longer buffer.
// CHECK-LABEL: func.func @step
//   CHECK-NOT:   llm.scatter_elements
//       CHECK:   llm.cache_append %{{.+}}, %{{.+}} {state = 0 : i64} : tensor<?x1x8xf32>, tensor<?x1x8xf32>
//       CHECK:   llm.paged_attention %{{.+}} {causal, kv_heads = 1 : i64
// expected-remark@+1 {{sequences run in ragged steps}}
func.func @main(%ids: tensor<?x?xi64> {llm.dims = ["b", "s"], llm.name = "ids"}, %mask: tensor<?x?xi64> {llm.dims = ["b", "p + s"], llm.name = "mask"},
                %pk: tensor<?x1x?x8xf32> {llm.dims = ["b", 1, "p", 8], llm.name = "pk"}, %pv: tensor<?x1x?x8xf32> {llm.dims = ["b", 1, "p", 8], llm.name = "pv"})
    -> (tensor<?x?x8xf32> {llm.name = "logits"}, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>)
    attributes {llm.decoder = {ids = 0 : i64, mask = 1 : i64, positions = -1 : i64, logits = 0 : i64, past = [array<i64: 2, 1>, array<i64: 3, 2>]}} {
  %table = llm.weight "table" : tensor<11x8xf32>
  %i0 = llm.constant dense<0> : tensor<i64>
  %i1 = llm.constant dense<1> : tensor<i64>
  %i2 = llm.constant dense<2> : tensor<i64>
  %one = llm.constant dense<[0, 0, 1, 8]> : tensor<4xi64>
  %flat = llm.constant dense<[0, 0, 8]> : tensor<3xi64>
  %shape = llm.shape %ids : tensor<?x?xi64> -> tensor<2xi64>
  %s = llm.gather %shape, %i1 {axis = 0 : i64} : tensor<2xi64>, tensor<i64> -> tensor<i64>
  %old = llm.shape %pk : tensor<?x1x?x8xf32> -> tensor<4xi64>
  %p = llm.gather %old, %i2 {axis = 0 : i64} : tensor<4xi64>, tensor<i64> -> tensor<i64>
  %total = llm.add %p, %s : tensor<i64>, tensor<i64> -> tensor<i64>
  %position = llm.range %p, %total, %i1 : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<?xi64>
  %all = llm.range %i0, %total, %i1 : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<?xi64>
  %column = llm.expand_dims %position axes = [1] : tensor<?xi64> -> tensor<?x1xi64>
  %before = llm.compare le %all, %column : tensor<?xi64>, tensor<?x1xi64> -> tensor<?x?xi1>
  %x = llm.gather %table, %ids {axis = 0 : i64} : tensor<11x8xf32>, tensor<?x?xi64> -> tensor<?x?x8xf32>
  %k0 = llm.reshape %x, %one : tensor<?x?x8xf32>, tensor<4xi64> -> tensor<?x?x1x8xf32>
  %k1 = llm.transpose %k0 permutation = [0, 2, 1, 3] : tensor<?x?x1x8xf32> -> tensor<?x1x?x8xf32>
  %zero = llm.constant dense<0.0> : tensor<f32>
  %none = llm.constant dense<0> : tensor<6xi64>
  %end = llm.constant dense<0> : tensor<1xi64>
  %first = llm.constant dense<0> : tensor<i64>
  %s1 = llm.expand_dims %s axes = [0] : tensor<i64> -> tensor<1xi64>
  %pads = llm.concat %none, %s1, %end {axis = 0 : i64} : tensor<6xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<8xi64>
  %longer_k = llm.pad constant %pk, %pads, %zero : tensor<?x1x?x8xf32>, tensor<8xi64>, tensor<f32> -> tensor<?x1x?x8xf32>
  %longer_v = llm.pad constant %pv, %pads, %zero : tensor<?x1x?x8xf32>, tensor<8xi64>, tensor<f32> -> tensor<?x1x?x8xf32>
  %places0 = llm.add %column, %first : tensor<?x1xi64>, tensor<i64> -> tensor<?x1xi64>
  %new = llm.shape %k1 : tensor<?x1x?x8xf32> -> tensor<4xi64>
  %places = llm.broadcast %places0, %new : tensor<?x1xi64>, tensor<4xi64> -> tensor<?x1x?x8xi64>
  %k = llm.scatter_elements none %longer_k, %places, %k1 {axis = 2 : i64} : tensor<?x1x?x8xf32>, tensor<?x1x?x8xi64>, tensor<?x1x?x8xf32> -> tensor<?x1x?x8xf32>
  %v = llm.scatter_elements none %longer_v, %places, %k1 {axis = 2 : i64} : tensor<?x1x?x8xf32>, tensor<?x1x?x8xi64>, tensor<?x1x?x8xf32> -> tensor<?x1x?x8xf32>
  %y0 = llm.attention %k1, %k, %v mask %before : tensor<?x?xi1> {scale = 0.5 : f32} : tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32> -> tensor<?x1x?x8xf32>
  %y1 = llm.transpose %y0 permutation = [0, 2, 1, 3] : tensor<?x1x?x8xf32> -> tensor<?x?x1x8xf32>
  %y = llm.reshape %y1, %flat : tensor<?x?x1x8xf32>, tensor<3xi64> -> tensor<?x?x8xf32>
  %logits = llm.relu %y : tensor<?x?x8xf32>
  return %logits, %k, %v : tensor<?x?x8xf32>, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>
}

// -----

// A place further on.
// CHECK-LABEL: func.func @main
//   CHECK-NOT: func.func @step
func.func @main(%ids: tensor<?x?xi64> {llm.dims = ["b", "s"], llm.name = "ids"}, %mask: tensor<?x?xi64> {llm.dims = ["b", "p + s"], llm.name = "mask"},
                %pk: tensor<?x1x?x8xf32> {llm.dims = ["b", 1, "p", 8], llm.name = "pk"}, %pv: tensor<?x1x?x8xf32> {llm.dims = ["b", 1, "p", 8], llm.name = "pv"})
    -> (tensor<?x?x8xf32> {llm.name = "logits"}, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>)
    attributes {llm.decoder = {ids = 0 : i64, mask = 1 : i64, positions = -1 : i64, logits = 0 : i64, past = [array<i64: 2, 1>, array<i64: 3, 2>]}} {
  %table = llm.weight "table" : tensor<11x8xf32>
  %i0 = llm.constant dense<0> : tensor<i64>
  %i1 = llm.constant dense<1> : tensor<i64>
  %i2 = llm.constant dense<2> : tensor<i64>
  %one = llm.constant dense<[0, 0, 1, 8]> : tensor<4xi64>
  %flat = llm.constant dense<[0, 0, 8]> : tensor<3xi64>
  %shape = llm.shape %ids : tensor<?x?xi64> -> tensor<2xi64>
  %s = llm.gather %shape, %i1 {axis = 0 : i64} : tensor<2xi64>, tensor<i64> -> tensor<i64>
  %old = llm.shape %pk : tensor<?x1x?x8xf32> -> tensor<4xi64>
  %p = llm.gather %old, %i2 {axis = 0 : i64} : tensor<4xi64>, tensor<i64> -> tensor<i64>
  %total = llm.add %p, %s : tensor<i64>, tensor<i64> -> tensor<i64>
  %position = llm.range %p, %total, %i1 : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<?xi64>
  %all = llm.range %i0, %total, %i1 : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<?xi64>
  %column = llm.expand_dims %position axes = [1] : tensor<?xi64> -> tensor<?x1xi64>
  %before = llm.compare le %all, %column : tensor<?xi64>, tensor<?x1xi64> -> tensor<?x?xi1>
  %x = llm.gather %table, %ids {axis = 0 : i64} : tensor<11x8xf32>, tensor<?x?xi64> -> tensor<?x?x8xf32>
  %k0 = llm.reshape %x, %one : tensor<?x?x8xf32>, tensor<4xi64> -> tensor<?x?x1x8xf32>
  %k1 = llm.transpose %k0 permutation = [0, 2, 1, 3] : tensor<?x?x1x8xf32> -> tensor<?x1x?x8xf32>
  %zero = llm.constant dense<0.0> : tensor<f32>
  %none = llm.constant dense<0> : tensor<6xi64>
  %end = llm.constant dense<0> : tensor<1xi64>
  %first = llm.constant dense<1> : tensor<i64>
  %s1 = llm.expand_dims %s axes = [0] : tensor<i64> -> tensor<1xi64>
  %pads = llm.concat %none, %s1, %end {axis = 0 : i64} : tensor<6xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<8xi64>
  %longer_k = llm.pad constant %pk, %pads, %zero : tensor<?x1x?x8xf32>, tensor<8xi64>, tensor<f32> -> tensor<?x1x?x8xf32>
  %longer_v = llm.pad constant %pv, %pads, %zero : tensor<?x1x?x8xf32>, tensor<8xi64>, tensor<f32> -> tensor<?x1x?x8xf32>
  %places0 = llm.add %column, %first : tensor<?x1xi64>, tensor<i64> -> tensor<?x1xi64>
  %new = llm.shape %k1 : tensor<?x1x?x8xf32> -> tensor<4xi64>
  %places = llm.broadcast %places0, %new : tensor<?x1xi64>, tensor<4xi64> -> tensor<?x1x?x8xi64>
  %k = llm.scatter_elements none %longer_k, %places, %k1 {axis = 2 : i64} : tensor<?x1x?x8xf32>, tensor<?x1x?x8xi64>, tensor<?x1x?x8xf32> -> tensor<?x1x?x8xf32>
  %v = llm.scatter_elements none %longer_v, %places, %k1 {axis = 2 : i64} : tensor<?x1x?x8xf32>, tensor<?x1x?x8xi64>, tensor<?x1x?x8xf32> -> tensor<?x1x?x8xf32>
  // expected-remark@+1 {{sequences run padded: its keys are not a cache input joined with new ones, returned as the new cache}}
  %y0 = llm.attention %k1, %k, %v mask %before : tensor<?x?xi1> {scale = 0.5 : f32} : tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32> -> tensor<?x1x?x8xf32>
  %y1 = llm.transpose %y0 permutation = [0, 2, 1, 3] : tensor<?x1x?x8xf32> -> tensor<?x?x1x8xf32>
  %y = llm.reshape %y1, %flat : tensor<?x?x1x8xf32>, tensor<3xi64> -> tensor<?x?x8xf32>
  %logits = llm.relu %y : tensor<?x?x8xf32>
  return %logits, %k, %v : tensor<?x?x8xf32>, tensor<?x1x?x8xf32>, tensor<?x1x?x8xf32>
}
