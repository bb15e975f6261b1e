// RUN: llmopt-opt %s --llmopt-fuse=only=fuse-attention | FileCheck %s
// RUN: llmopt-opt %s --llmopt-fuse="only=fuse-attention verify" -o /dev/null
// REQUIRES: llmopt-opt

// CHECK-LABEL: func.func @scaled_scores_and_mask
//  CHECK-SAME:   %[[Q:[a-z0-9]+]]: tensor<?x4x?x8xf32>{{.*}} %[[K:[a-z0-9]+]]: tensor<?x4x?x8xf32>{{.*}} %[[V:[a-z0-9]+]]: tensor<?x4x?x16xf32>{{.*}} %[[M:[a-z0-9]+]]: tensor<?x1x?x?xf32>
//       CHECK:   %[[Y:.+]] = llm.attention %[[Q]], %[[K]], %[[V]] mask %[[M]] {{.*}}scale = 2.500000e-01
//       CHECK:   return %[[Y]]
func.func @scaled_scores_and_mask(%q: tensor<?x4x?x8xf32> {llm.dims = ["b", 4, "s", 8]}, %k: tensor<?x4x?x8xf32> {llm.dims = ["b", 4, "t", 8]},
                                  %v: tensor<?x4x?x16xf32> {llm.dims = ["b", 4, "t", 16]},
                                  %m: tensor<?x1x?x?xf32> {llm.dims = ["b", 1, "s", "t"]}) -> tensor<?x4x?x16xf32> {
  %scale = llm.constant dense<4.0> : tensor<f32>
  %kt = llm.transpose %k permutation = [0, 1, 3, 2] : tensor<?x4x?x8xf32> -> tensor<?x4x8x?xf32>
  %s = llm.matmul %q, %kt : tensor<?x4x?x8xf32>, tensor<?x4x8x?xf32> -> tensor<?x4x?x?xf32>
  %d = llm.div %s, %scale : tensor<?x4x?x?xf32>, tensor<f32> -> tensor<?x4x?x?xf32>
  %a = llm.add %d, %m : tensor<?x4x?x?xf32>, tensor<?x1x?x?xf32> -> tensor<?x4x?x?xf32>
  %p = llm.softmax %a {axis = 3 : i64} : tensor<?x4x?x?xf32>
  %y = llm.matmul %p, %v : tensor<?x4x?x?xf32>, tensor<?x4x?x16xf32> -> tensor<?x4x?x16xf32>
  return %y : tensor<?x4x?x16xf32>
}

// The scale is on both factors, keys come from [b, t, heads, size] in one transposition, and rows of NaN become zeros.
// CHECK-LABEL: func.func @scaled_factors_and_guard
//       CHECK:   %[[K:.+]] = llm.transpose %{{.+}} permutation = [0, 2, 1, 3]
//       CHECK:   llm.attention %{{.+}}, %[[K]], %{{.+}} {{.*}}scale = 2.500000e-01
//   CHECK-NOT:   llm.softmax
func.func @scaled_factors_and_guard(%q: tensor<2x4x3x8xf32>, %k: tensor<2x5x4x8xf32>, %v: tensor<2x4x5x8xf32>) -> tensor<2x4x3x8xf32> {
  %half = llm.constant dense<0.5> : tensor<f32>
  %zero = llm.constant dense<0.0> : tensor<f32>
  %kt = llm.transpose %k permutation = [0, 2, 3, 1] : tensor<2x5x4x8xf32> -> tensor<2x4x8x5xf32>
  %qs = llm.mul %q, %half : tensor<2x4x3x8xf32>, tensor<f32> -> tensor<2x4x3x8xf32>
  %ks = llm.mul %kt, %half : tensor<2x4x8x5xf32>, tensor<f32> -> tensor<2x4x8x5xf32>
  %s = llm.matmul %qs, %ks : tensor<2x4x3x8xf32>, tensor<2x4x8x5xf32> -> tensor<2x4x3x5xf32>
  %p = llm.softmax %s {axis = 3 : i64} : tensor<2x4x3x5xf32>
  %nan = llm.isnan %p : tensor<2x4x3x5xf32> -> tensor<2x4x3x5xi1>
  %g = llm.select %nan, %zero, %p : tensor<2x4x3x5xi1>, tensor<f32>, tensor<2x4x3x5xf32> -> tensor<2x4x3x5xf32>
  %y = llm.matmul %g, %v : tensor<2x4x3x5xf32>, tensor<2x4x5x8xf32> -> tensor<2x4x3x8xf32>
  return %y : tensor<2x4x3x8xf32>
}

// Keys and values repeated for groups of queries are taken before the repetition.
// CHECK-LABEL: func.func @repeated_keys
//  CHECK-SAME:   %[[Q:[a-z0-9]+]]: tensor<2x4x3x8xf32>, %[[K:[a-z0-9]+]]: tensor<2x2x5x8xf32>, %[[V:[a-z0-9]+]]: tensor<2x2x5x8xf32>
//       CHECK:   llm.attention %[[Q]], %[[K]], %[[V]]
func.func @repeated_keys(%q: tensor<2x4x3x8xf32>, %k: tensor<2x2x5x8xf32>, %v: tensor<2x2x5x8xf32>) -> tensor<2x4x3x8xf32> {
  %five = llm.constant dense<[2, 2, 2, 5, 8]> : tensor<5xi64>
  %four = llm.constant dense<[2, 4, 5, 8]> : tensor<4xi64>
  %k1 = llm.expand_dims %k axes = [2] : tensor<2x2x5x8xf32> -> tensor<2x2x1x5x8xf32>
  %k2 = llm.broadcast %k1, %five : tensor<2x2x1x5x8xf32>, tensor<5xi64> -> tensor<2x2x2x5x8xf32>
  %k3 = llm.reshape %k2, %four : tensor<2x2x2x5x8xf32>, tensor<4xi64> -> tensor<2x4x5x8xf32>
  %v1 = llm.expand_dims %v axes = [2] : tensor<2x2x5x8xf32> -> tensor<2x2x1x5x8xf32>
  %v2 = llm.broadcast %v1, %five : tensor<2x2x1x5x8xf32>, tensor<5xi64> -> tensor<2x2x2x5x8xf32>
  %v3 = llm.reshape %v2, %four : tensor<2x2x2x5x8xf32>, tensor<4xi64> -> tensor<2x4x5x8xf32>
  %kt = llm.transpose %k3 permutation = [0, 1, 3, 2] : tensor<2x4x5x8xf32> -> tensor<2x4x8x5xf32>
  %s = llm.matmul %q, %kt : tensor<2x4x3x8xf32>, tensor<2x4x8x5xf32> -> tensor<2x4x3x5xf32>
  %p = llm.softmax %s {axis = 3 : i64} : tensor<2x4x3x5xf32>
  %y = llm.matmul %p, %v3 : tensor<2x4x3x5xf32>, tensor<2x4x5x8xf32> -> tensor<2x4x3x8xf32>
  return %y : tensor<2x4x3x8xf32>
}

// where(allowed, scores, lowest) is the mask where(allowed, 0, lowest).
// CHECK-LABEL: func.func @replaced_scores
//       CHECK:   %[[M:.+]] = llm.select %{{.+}}, %{{.+}}, %{{.+}} : tensor<3x5xi1>, tensor<f32>, tensor<f32> -> tensor<3x5xf32>
//       CHECK:   llm.attention %{{.+}} mask %[[M]]
func.func @replaced_scores(%q: tensor<2x4x3x8xf32>, %kt: tensor<2x4x8x5xf32>, %v: tensor<2x4x5x8xf32>, %allowed: tensor<3x5xi1>) -> tensor<2x4x3x8xf32> {
  %lowest = llm.constant dense<-3.40282347E+38> : tensor<f32>
  %s = llm.matmul %q, %kt : tensor<2x4x3x8xf32>, tensor<2x4x8x5xf32> -> tensor<2x4x3x5xf32>
  %w = llm.select %allowed, %s, %lowest : tensor<3x5xi1>, tensor<2x4x3x5xf32>, tensor<f32> -> tensor<2x4x3x5xf32>
  %p = llm.softmax %w {axis = 3 : i64} : tensor<2x4x3x5xf32>
  %y = llm.matmul %p, %v : tensor<2x4x3x5xf32>, tensor<2x4x5x8xf32> -> tensor<2x4x3x8xf32>
  return %y : tensor<2x4x3x8xf32>
}

// A number that scores can reach is no mask: a row of nothing but such numbers would come out differently.
// CHECK-LABEL: func.func @keeps_replacement_by_a_small_number
//   CHECK-NOT:   llm.attention
func.func @keeps_replacement_by_a_small_number(%q: tensor<2x4x3x8xf32>, %kt: tensor<2x4x8x5xf32>, %v: tensor<2x4x5x8xf32>, %allowed: tensor<3x5xi1>) -> tensor<2x4x3x8xf32> {
  %low = llm.constant dense<-10000.0> : tensor<f32>
  %s = llm.matmul %q, %kt : tensor<2x4x3x8xf32>, tensor<2x4x8x5xf32> -> tensor<2x4x3x5xf32>
  %w = llm.select %allowed, %s, %low : tensor<3x5xi1>, tensor<2x4x3x5xf32>, tensor<f32> -> tensor<2x4x3x5xf32>
  %p = llm.softmax %w {axis = 3 : i64} : tensor<2x4x3x5xf32>
  %y = llm.matmul %p, %v : tensor<2x4x3x5xf32>, tensor<2x4x5x8xf32> -> tensor<2x4x3x8xf32>
  return %y : tensor<2x4x3x8xf32>
}

// masked_fill: the condition says which scores go.
// CHECK-LABEL: func.func @hidden_scores
//  CHECK-SAME:   %[[HIDDEN:[a-z0-9]+]]: tensor<3x5xi1>
//       CHECK:   %[[STAYS:.+]] = llm.not %[[HIDDEN]]
//       CHECK:   %[[M:.+]] = llm.select %[[STAYS]]
//       CHECK:   llm.attention %{{.+}} mask %[[M]]
func.func @hidden_scores(%q: tensor<2x4x3x8xf32>, %kt: tensor<2x4x8x5xf32>, %v: tensor<2x4x5x8xf32>, %hidden: tensor<3x5xi1>) -> tensor<2x4x3x8xf32> {
  %lowest = llm.constant dense<-3.40282347E+38> : tensor<f32>
  %s = llm.matmul %q, %kt : tensor<2x4x3x8xf32>, tensor<2x4x8x5xf32> -> tensor<2x4x3x5xf32>
  %w = llm.select %hidden, %lowest, %s : tensor<3x5xi1>, tensor<f32>, tensor<2x4x3x5xf32> -> tensor<2x4x3x5xf32>
  %p = llm.softmax %w {axis = 3 : i64} : tensor<2x4x3x5xf32>
  %y = llm.matmul %p, %v : tensor<2x4x3x5xf32>, tensor<2x4x5x8xf32> -> tensor<2x4x3x8xf32>
  return %y : tensor<2x4x3x8xf32>
}

// cap * tanh(scores / cap) before the mask.
// CHECK-LABEL: func.func @capped_scores
//       CHECK:   llm.attention %{{.+}} mask %{{.+}} {{.*}}scale = 2.500000e-01 {{.*}}softcap = 3.000000e+01
//   CHECK-NOT:   llm.tanh
func.func @capped_scores(%q: tensor<2x4x3x8xf32>, %kt: tensor<2x4x8x5xf32>, %v: tensor<2x4x5x8xf32>, %m: tensor<3x5xf32>) -> tensor<2x4x3x8xf32> {
  %quarter = llm.constant dense<0.25> : tensor<f32>
  %cap = llm.constant dense<30.0> : tensor<f32>
  %s = llm.matmul %q, %kt : tensor<2x4x3x8xf32>, tensor<2x4x8x5xf32> -> tensor<2x4x3x5xf32>
  %c = llm.mul %s, %quarter : tensor<2x4x3x5xf32>, tensor<f32> -> tensor<2x4x3x5xf32>
  %d = llm.div %c, %cap : tensor<2x4x3x5xf32>, tensor<f32> -> tensor<2x4x3x5xf32>
  %t = llm.tanh %d : tensor<2x4x3x5xf32>
  %u = llm.mul %t, %cap : tensor<2x4x3x5xf32>, tensor<f32> -> tensor<2x4x3x5xf32>
  %a = llm.add %u, %m : tensor<2x4x3x5xf32>, tensor<3x5xf32> -> tensor<2x4x3x5xf32>
  %p = llm.softmax %a {axis = 3 : i64} : tensor<2x4x3x5xf32>
  %y = llm.matmul %p, %v : tensor<2x4x3x5xf32>, tensor<2x4x5x8xf32> -> tensor<2x4x3x8xf32>
  return %y : tensor<2x4x3x8xf32>
}

// A mask inside of tanh is no cap.
// CHECK-LABEL: func.func @keeps_mask_inside_of_tanh
//   CHECK-NOT:   llm.attention
func.func @keeps_mask_inside_of_tanh(%q: tensor<2x4x3x8xf32>, %kt: tensor<2x4x8x5xf32>, %v: tensor<2x4x5x8xf32>, %m: tensor<3x5xf32>) -> tensor<2x4x3x8xf32> {
  %s = llm.matmul %q, %kt : tensor<2x4x3x8xf32>, tensor<2x4x8x5xf32> -> tensor<2x4x3x5xf32>
  %a = llm.add %s, %m : tensor<2x4x3x5xf32>, tensor<3x5xf32> -> tensor<2x4x3x5xf32>
  %t = llm.tanh %a : tensor<2x4x3x5xf32>
  %p = llm.softmax %t {axis = 3 : i64} : tensor<2x4x3x5xf32>
  %y = llm.matmul %p, %v : tensor<2x4x3x5xf32>, tensor<2x4x5x8xf32> -> tensor<2x4x3x8xf32>
  return %y : tensor<2x4x3x8xf32>
}

// A scale behind the mask scales the mask as well.
// CHECK-LABEL: func.func @scaled_masked_scores
//       CHECK:   %[[M:.+]] = llm.mul %{{.+}}, %{{.+}} : tensor<3x5xf32>, tensor<f32>
//       CHECK:   llm.attention %{{.+}} mask %[[M]] : tensor<3x5xf32> {{.*}}scale = 5.000000e-01
func.func @scaled_masked_scores(%q: tensor<2x4x3x8xf32>, %kt: tensor<2x4x8x5xf32>, %v: tensor<2x4x5x8xf32>, %m: tensor<3x5xf32>) -> tensor<2x4x3x8xf32> {
  %half = llm.constant dense<0.5> : tensor<f32>
  %s = llm.matmul %q, %kt : tensor<2x4x3x8xf32>, tensor<2x4x8x5xf32> -> tensor<2x4x3x5xf32>
  %a = llm.add %s, %m : tensor<2x4x3x5xf32>, tensor<3x5xf32> -> tensor<2x4x3x5xf32>
  %c = llm.mul %a, %half : tensor<2x4x3x5xf32>, tensor<f32> -> tensor<2x4x3x5xf32>
  %p = llm.softmax %c {axis = 3 : i64} : tensor<2x4x3x5xf32>
  %y = llm.matmul %p, %v : tensor<2x4x3x5xf32>, tensor<2x4x5x8xf32> -> tensor<2x4x3x8xf32>
  return %y : tensor<2x4x3x8xf32>
}

// The weights are returned, too.
// CHECK-LABEL: func.func @keeps_chain_when_weights_escape
//   CHECK-NOT:   llm.attention
func.func @keeps_chain_when_weights_escape(%q: tensor<2x4x3x8xf32>, %kt: tensor<2x4x8x5xf32>, %v: tensor<2x4x5x8xf32>) -> (tensor<2x4x3x8xf32>, tensor<2x4x3x5xf32>) {
  %s = llm.matmul %q, %kt : tensor<2x4x3x8xf32>, tensor<2x4x8x5xf32> -> tensor<2x4x3x5xf32>
  %p = llm.softmax %s {axis = 3 : i64} : tensor<2x4x3x5xf32>
  %y = llm.matmul %p, %v : tensor<2x4x3x5xf32>, tensor<2x4x5x8xf32> -> tensor<2x4x3x8xf32>
  return %y, %p : tensor<2x4x3x8xf32>, tensor<2x4x3x5xf32>
}

// CHECK-LABEL: func.func @keeps_chain_when_scores_escape
//   CHECK-NOT:   llm.attention
func.func @keeps_chain_when_scores_escape(%q: tensor<2x4x3x8xf32>, %kt: tensor<2x4x8x5xf32>, %v: tensor<2x4x5x8xf32>) -> (tensor<2x4x3x8xf32>, tensor<2x4x3x5xf32>) {
  %s = llm.matmul %q, %kt : tensor<2x4x3x8xf32>, tensor<2x4x8x5xf32> -> tensor<2x4x3x5xf32>
  %p = llm.softmax %s {axis = 3 : i64} : tensor<2x4x3x5xf32>
  %y = llm.matmul %p, %v : tensor<2x4x3x5xf32>, tensor<2x4x5x8xf32> -> tensor<2x4x3x8xf32>
  return %y, %s : tensor<2x4x3x8xf32>, tensor<2x4x3x5xf32>
}

// CHECK-LABEL: func.func @keeps_softmax_over_another_axis
//   CHECK-NOT:   llm.attention
func.func @keeps_softmax_over_another_axis(%q: tensor<2x4x3x8xf32>, %kt: tensor<2x4x8x5xf32>, %v: tensor<2x4x5x8xf32>) -> tensor<2x4x3x8xf32> {
  %s = llm.matmul %q, %kt : tensor<2x4x3x8xf32>, tensor<2x4x8x5xf32> -> tensor<2x4x3x5xf32>
  %p = llm.softmax %s {axis = 2 : i64} : tensor<2x4x3x5xf32>
  %y = llm.matmul %p, %v : tensor<2x4x3x5xf32>, tensor<2x4x5x8xf32> -> tensor<2x4x3x8xf32>
  return %y : tensor<2x4x3x8xf32>
}

// Batches that may be repeated are not proven equal.
// CHECK-LABEL: func.func @keeps_broadcast_batches
//   CHECK-NOT:   llm.attention
func.func @keeps_broadcast_batches(%q: tensor<2x4x3x8xf32>, %kt: tensor<1x4x8x5xf32>, %v: tensor<1x4x5x8xf32>) -> tensor<2x4x3x8xf32> {
  %s = llm.matmul %q, %kt : tensor<2x4x3x8xf32>, tensor<1x4x8x5xf32> -> tensor<2x4x3x5xf32>
  %p = llm.softmax %s {axis = 3 : i64} : tensor<2x4x3x5xf32>
  %y = llm.matmul %p, %v : tensor<2x4x3x5xf32>, tensor<1x4x5x8xf32> -> tensor<2x4x3x8xf32>
  return %y : tensor<2x4x3x8xf32>
}

// CHECK-LABEL: func.func @keeps_half_precision
//   CHECK-NOT:   llm.attention
func.func @keeps_half_precision(%q: tensor<2x4x3x8xf16>, %kt: tensor<2x4x8x5xf16>, %v: tensor<2x4x5x8xf16>) -> tensor<2x4x3x8xf16> {
  %s = llm.matmul %q, %kt : tensor<2x4x3x8xf16>, tensor<2x4x8x5xf16> -> tensor<2x4x3x5xf16>
  %p = llm.softmax %s {axis = 3 : i64} : tensor<2x4x3x5xf16>
  %y = llm.matmul %p, %v : tensor<2x4x3x5xf16>, tensor<2x4x5x8xf16> -> tensor<2x4x3x8xf16>
  return %y : tensor<2x4x3x8xf16>
}

// One head of keys and values for all queries.
// CHECK-LABEL: func.func @one_key_for_all_heads
//       CHECK:   llm.attention {{.*}} tensor<2x4x3x8xf32>, tensor<2x1x5x8xf32>, tensor<2x1x5x8xf32>
func.func @one_key_for_all_heads(%q: tensor<2x4x3x8xf32>, %k: tensor<2x1x5x8xf32>, %v: tensor<2x1x5x8xf32>) -> tensor<2x4x3x8xf32> {
  %kt = llm.transpose %k permutation = [0, 1, 3, 2] : tensor<2x1x5x8xf32> -> tensor<2x1x8x5xf32>
  %s = llm.matmul %q, %kt : tensor<2x4x3x8xf32>, tensor<2x1x8x5xf32> -> tensor<2x4x3x5xf32>
  %p = llm.softmax %s {axis = 3 : i64} : tensor<2x4x3x5xf32>
  %y = llm.matmul %p, %v : tensor<2x4x3x5xf32>, tensor<2x1x5x8xf32> -> tensor<2x4x3x8xf32>
  return %y : tensor<2x4x3x8xf32>
}

// A bias for each head, and a mask for all: their sum.
// CHECK-LABEL: func.func @bias_and_mask
//       CHECK:   %[[M:.+]] = llm.add %{{.+}} tensor<1x4x3x5xf32>
//       CHECK:   llm.attention {{.*}} mask %[[M]] : 
func.func @bias_and_mask(%q: tensor<2x4x3x8xf32>, %kt: tensor<2x4x8x5xf32>, %v: tensor<2x4x5x8xf32>, %bias: tensor<1x4x3x5xf32>, %m: tensor<3x5xf32>) -> tensor<2x4x3x8xf32> {
  %s = llm.matmul %q, %kt : tensor<2x4x3x8xf32>, tensor<2x4x8x5xf32> -> tensor<2x4x3x5xf32>
  %b = llm.add %s, %bias : tensor<2x4x3x5xf32>, tensor<1x4x3x5xf32> -> tensor<2x4x3x5xf32>
  %a = llm.add %b, %m : tensor<2x4x3x5xf32>, tensor<3x5xf32> -> tensor<2x4x3x5xf32>
  %p = llm.softmax %a {axis = 3 : i64} : tensor<2x4x3x5xf32>
  %y = llm.matmul %p, %v : tensor<2x4x3x5xf32>, tensor<2x4x5x8xf32> -> tensor<2x4x3x8xf32>
  return %y : tensor<2x4x3x8xf32>
}

// The weights pass through f16.
// CHECK-LABEL: func.func @keeps_weights_in_another_type
//   CHECK-NOT:   llm.attention
func.func @keeps_weights_in_another_type(%q: tensor<2x4x3x8xf32>, %kt: tensor<2x4x8x5xf32>, %v: tensor<2x4x5x8xf32>) -> tensor<2x4x3x8xf32> {
  %s = llm.matmul %q, %kt : tensor<2x4x3x8xf32>, tensor<2x4x8x5xf32> -> tensor<2x4x3x5xf32>
  %p = llm.softmax %s {axis = 3 : i64} : tensor<2x4x3x5xf32>
  %h = llm.cast %p : tensor<2x4x3x5xf32> -> tensor<2x4x3x5xf16>
  %w = llm.cast %h : tensor<2x4x3x5xf16> -> tensor<2x4x3x5xf32>
  %y = llm.matmul %w, %v : tensor<2x4x3x5xf32>, tensor<2x4x5x8xf32> -> tensor<2x4x3x8xf32>
  return %y : tensor<2x4x3x8xf32>
}
