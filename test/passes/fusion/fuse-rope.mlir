// RUN: llmopt-opt %s --llmopt-fuse=only=fuse-rope | FileCheck %s
// REQUIRES: llmopt-opt

// CHECK-LABEL: func.func @halves
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<2x3x5x4xf32>, %[[P:[a-z0-9]+]]: tensor<2x5xi64>
//   CHECK-DAG:   %[[T:.+]] = llm.transpose %[[X]] permutation = [0, 2, 1, 3]
//   CHECK-DAG:   %[[F:.+]] = llm.reshape %[[T]], %{{.+}} -> tensor<10x3x4xf32>
//   CHECK-DAG:   %[[Q:.+]] = llm.reshape %[[P]], %{{.+}} -> tensor<10xi64>
//       CHECK:   %[[R:.+]] = llm.rope %[[F]], %[[Q]], %{{.+}} : tensor<10x3x4xf32>
//       CHECK:   %[[B:.+]] = llm.reshape %[[R]], %{{.+}} -> tensor<2x5x3x4xf32>
//       CHECK:   %[[Y:.+]] = llm.transpose %[[B]] permutation = [0, 2, 1, 3]
//       CHECK:   return %[[Y]]
func.func @halves(%x: tensor<2x3x5x4xf32>, %p: tensor<2x5xi64>) -> tensor<2x3x5x4xf32> {
  %frequencies = llm.constant dense<[1.0, 0.25]> : tensor<2xf32>
  %i0 = llm.constant dense<0> : tensor<1xi64>
  %i2 = llm.constant dense<2> : tensor<1xi64>
  %i4 = llm.constant dense<9223372036854775807> : tensor<1xi64>
  %c = llm.cast %p : tensor<2x5xi64> -> tensor<2x5xf32>
  %e = llm.expand_dims %c axes = [2] : tensor<2x5xf32> -> tensor<2x5x1xf32>
  %a = llm.mul %e, %frequencies : tensor<2x5x1xf32>, tensor<2xf32> -> tensor<2x5x2xf32>
  %w = llm.concat %a, %a {axis = 2 : i64} : tensor<2x5x2xf32>, tensor<2x5x2xf32> -> tensor<2x5x4xf32>
  %cos = llm.cos %w : tensor<2x5x4xf32>
  %sin = llm.sin %w : tensor<2x5x4xf32>
  %cos4 = llm.expand_dims %cos axes = [1] : tensor<2x5x4xf32> -> tensor<2x1x5x4xf32>
  %sin4 = llm.expand_dims %sin axes = [1] : tensor<2x5x4xf32> -> tensor<2x1x5x4xf32>
  %straight = llm.mul %x, %cos4 : tensor<2x3x5x4xf32>, tensor<2x1x5x4xf32> -> tensor<2x3x5x4xf32>
  %first = llm.slice %x, %i0, %i2 axes = [3] steps = [1] : tensor<2x3x5x4xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<2x3x5x2xf32>
  %second = llm.slice %x, %i2, %i4 axes = [3] steps = [1] : tensor<2x3x5x4xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<2x3x5x2xf32>
  %negative = llm.neg %second : tensor<2x3x5x2xf32>
  %turned = llm.concat %negative, %first {axis = 3 : i64} : tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32> -> tensor<2x3x5x4xf32>
  %across = llm.mul %turned, %sin4 : tensor<2x3x5x4xf32>, tensor<2x1x5x4xf32> -> tensor<2x3x5x4xf32>
  %y = llm.add %straight, %across : tensor<2x3x5x4xf32>, tensor<2x3x5x4xf32> -> tensor<2x3x5x4xf32>
  return %y : tensor<2x3x5x4xf32>
}

// Tokens before heads, neighbours as pairs, one row of positions for the whole batch, tables scaled (YaRN).
// CHECK-LABEL: func.func @neighbours
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<2x5x3x4xf32>
//   CHECK-DAG:   %[[F:.+]] = llm.reshape %[[X]], %{{.+}} -> tensor<10x3x4xf32>
//   CHECK-DAG:   %[[P:.+]] = llm.broadcast %{{.+}} -> tensor<2x5xi32>
//   CHECK-DAG:   %[[Q:.+]] = llm.reshape %[[P]], %{{.+}} -> tensor<10xi32>
//       CHECK:   llm.rope %[[F]], %[[Q]], %{{.+}} {interleaved, scale = 1.250000e+00 : f32}
func.func @neighbours(%x: tensor<2x5x3x4xf32>, %p: tensor<1x5xi32>) -> tensor<2x5x3x4xf32> {
  %frequencies = llm.constant dense<[1.0, 0.25]> : tensor<2xf32>
  %factor = llm.constant dense<1.25> : tensor<f32>
  %i0 = llm.constant dense<0> : tensor<1xi64>
  %i1 = llm.constant dense<1> : tensor<1xi64>
  %i4 = llm.constant dense<4> : tensor<1xi64>
  %row = llm.constant dense<[1, 5, 1, 4]> : tensor<4xi64>
  %features = llm.constant dense<[2, 5, 3, 4]> : tensor<4xi64>
  %c = llm.cast %p : tensor<1x5xi32> -> tensor<1x5xf32>
  %e = llm.expand_dims %c axes = [2] : tensor<1x5xf32> -> tensor<1x5x1xf32>
  %a = llm.mul %e, %frequencies : tensor<1x5x1xf32>, tensor<2xf32> -> tensor<1x5x2xf32>
  %cos = llm.cos %a : tensor<1x5x2xf32>
  %sin = llm.sin %a : tensor<1x5x2xf32>
  %cosc = llm.expand_dims %cos axes = [3] : tensor<1x5x2xf32> -> tensor<1x5x2x1xf32>
  %sinc = llm.expand_dims %sin axes = [3] : tensor<1x5x2xf32> -> tensor<1x5x2x1xf32>
  %cos2 = llm.concat %cosc, %cosc {axis = 3 : i64} : tensor<1x5x2x1xf32>, tensor<1x5x2x1xf32> -> tensor<1x5x2x2xf32>
  %sin2 = llm.concat %sinc, %sinc {axis = 3 : i64} : tensor<1x5x2x1xf32>, tensor<1x5x2x1xf32> -> tensor<1x5x2x2xf32>
  %cos3 = llm.reshape %cos2, %row : tensor<1x5x2x2xf32>, tensor<4xi64> -> tensor<1x5x1x4xf32>
  %sin3 = llm.reshape %sin2, %row : tensor<1x5x2x2xf32>, tensor<4xi64> -> tensor<1x5x1x4xf32>
  %cos4 = llm.mul %cos3, %factor : tensor<1x5x1x4xf32>, tensor<f32> -> tensor<1x5x1x4xf32>
  %sin4 = llm.mul %sin3, %factor : tensor<1x5x1x4xf32>, tensor<f32> -> tensor<1x5x1x4xf32>
  %straight = llm.mul %x, %cos4 : tensor<2x5x3x4xf32>, tensor<1x5x1x4xf32> -> tensor<2x5x3x4xf32>
  %first = llm.slice %x, %i0, %i4 axes = [3] steps = [2] : tensor<2x5x3x4xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<2x5x3x2xf32>
  %second = llm.slice %x, %i1, %i4 axes = [3] steps = [2] : tensor<2x5x3x4xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<2x5x3x2xf32>
  %negative = llm.neg %second : tensor<2x5x3x2xf32>
  %left = llm.expand_dims %negative axes = [4] : tensor<2x5x3x2xf32> -> tensor<2x5x3x2x1xf32>
  %right = llm.expand_dims %first axes = [4] : tensor<2x5x3x2xf32> -> tensor<2x5x3x2x1xf32>
  %columns = llm.concat %left, %right {axis = 4 : i64} : tensor<2x5x3x2x1xf32>, tensor<2x5x3x2x1xf32> -> tensor<2x5x3x2x2xf32>
  %turned = llm.reshape %columns, %features : tensor<2x5x3x2x2xf32>, tensor<4xi64> -> tensor<2x5x3x4xf32>
  %across = llm.mul %turned, %sin4 : tensor<2x5x3x4xf32>, tensor<1x5x1x4xf32> -> tensor<2x5x3x4xf32>
  %y = llm.add %straight, %across : tensor<2x5x3x4xf32>, tensor<2x5x3x4xf32> -> tensor<2x5x3x4xf32>
  return %y : tensor<2x5x3x4xf32>
}

// Only the first four of six features, in the form of ONNX's RotaryEmbedding: tables half as wide.
// CHECK-LABEL: func.func @first_features
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<?x3x?x6xf32>
//       CHECK:   %[[T:.+]] = llm.transpose %[[X]]
//       CHECK:   %[[F:.+]] = llm.reshape %[[T]], %{{.+}} -> tensor<?x3x6xf32>
//       CHECK:   llm.rope %[[F]], %{{.+}}, %{{.+}} : tensor<?x3x6xf32>, tensor<?xi64>, tensor<2xf32>
//   CHECK-NOT:   llm.concat %{{.+}} tensor<?x3x?x6xf32>
func.func @first_features(%x: tensor<?x3x?x6xf32> {llm.dims = ["b", 3, "s", 6]}, %p: tensor<?x?xi64> {llm.dims = ["b", "s"]}) -> tensor<?x3x?x6xf32> {
  %frequencies = llm.constant dense<[1.0, 0.25]> : tensor<2xf32>
  %i0 = llm.constant dense<0> : tensor<1xi64>
  %i2 = llm.constant dense<2> : tensor<1xi64>
  %i4 = llm.constant dense<4> : tensor<1xi64>
  %i6 = llm.constant dense<6> : tensor<1xi64>
  %c = llm.cast %p : tensor<?x?xi64> -> tensor<?x?xf32>
  %e = llm.expand_dims %c axes = [1, 3] : tensor<?x?xf32> -> tensor<?x1x?x1xf32>
  %a = llm.mul %e, %frequencies : tensor<?x1x?x1xf32>, tensor<2xf32> -> tensor<?x1x?x2xf32>
  %cos = llm.cos %a : tensor<?x1x?x2xf32>
  %sin = llm.sin %a : tensor<?x1x?x2xf32>
  %part = llm.slice %x, %i0, %i4 axes = [3] steps = [1] : tensor<?x3x?x6xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<?x3x?x4xf32>
  %rest = llm.slice %x, %i4, %i6 axes = [3] steps = [1] : tensor<?x3x?x6xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<?x3x?x2xf32>
  %first = llm.slice %part, %i0, %i2 axes = [3] steps = [1] : tensor<?x3x?x4xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<?x3x?x2xf32>
  %second = llm.slice %part, %i2, %i4 axes = [3] steps = [1] : tensor<?x3x?x4xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<?x3x?x2xf32>
  %fc = llm.mul %first, %cos : tensor<?x3x?x2xf32>, tensor<?x1x?x2xf32> -> tensor<?x3x?x2xf32>
  %ss = llm.mul %second, %sin : tensor<?x3x?x2xf32>, tensor<?x1x?x2xf32> -> tensor<?x3x?x2xf32>
  %sc = llm.mul %second, %cos : tensor<?x3x?x2xf32>, tensor<?x1x?x2xf32> -> tensor<?x3x?x2xf32>
  %fs = llm.mul %first, %sin : tensor<?x3x?x2xf32>, tensor<?x1x?x2xf32> -> tensor<?x3x?x2xf32>
  %real = llm.sub %fc, %ss : tensor<?x3x?x2xf32>, tensor<?x3x?x2xf32> -> tensor<?x3x?x2xf32>
  %imaginary = llm.add %sc, %fs : tensor<?x3x?x2xf32>, tensor<?x3x?x2xf32> -> tensor<?x3x?x2xf32>
  %turned = llm.concat %real, %imaginary {axis = 3 : i64} : tensor<?x3x?x2xf32>, tensor<?x3x?x2xf32> -> tensor<?x3x?x4xf32>
  %y = llm.concat %turned, %rest {axis = 3 : i64} : tensor<?x3x?x4xf32>, tensor<?x3x?x2xf32> -> tensor<?x3x?x6xf32>
  return %y : tensor<?x3x?x6xf32>
}

// Angles of neighbours, features in halves: another permutation.
// CHECK-LABEL: func.func @keeps_tables_in_another_order
//   CHECK-NOT:   llm.rope
func.func @keeps_tables_in_another_order(%x: tensor<1x3x5x4xf32>, %p: tensor<1x5xi64>) -> tensor<1x3x5x4xf32> {
  %frequencies = llm.constant dense<[1.0, 0.25]> : tensor<2xf32>
  %i0 = llm.constant dense<0> : tensor<1xi64>
  %i2 = llm.constant dense<2> : tensor<1xi64>
  %i4 = llm.constant dense<4> : tensor<1xi64>
  %row = llm.constant dense<[1, 1, 5, 4]> : tensor<4xi64>
  %c = llm.cast %p : tensor<1x5xi64> -> tensor<1x5xf32>
  %e = llm.expand_dims %c axes = [2] : tensor<1x5xf32> -> tensor<1x5x1xf32>
  %a = llm.mul %e, %frequencies : tensor<1x5x1xf32>, tensor<2xf32> -> tensor<1x5x2xf32>
  %cos = llm.cos %a : tensor<1x5x2xf32>
  %sin = llm.sin %a : tensor<1x5x2xf32>
  %cosc = llm.expand_dims %cos axes = [3] : tensor<1x5x2xf32> -> tensor<1x5x2x1xf32>
  %sinc = llm.expand_dims %sin axes = [3] : tensor<1x5x2xf32> -> tensor<1x5x2x1xf32>
  %cos2 = llm.concat %cosc, %cosc {axis = 3 : i64} : tensor<1x5x2x1xf32>, tensor<1x5x2x1xf32> -> tensor<1x5x2x2xf32>
  %sin2 = llm.concat %sinc, %sinc {axis = 3 : i64} : tensor<1x5x2x1xf32>, tensor<1x5x2x1xf32> -> tensor<1x5x2x2xf32>
  %cos4 = llm.reshape %cos2, %row : tensor<1x5x2x2xf32>, tensor<4xi64> -> tensor<1x1x5x4xf32>
  %sin4 = llm.reshape %sin2, %row : tensor<1x5x2x2xf32>, tensor<4xi64> -> tensor<1x1x5x4xf32>
  %straight = llm.mul %x, %cos4 : tensor<1x3x5x4xf32>, tensor<1x1x5x4xf32> -> tensor<1x3x5x4xf32>
  %first = llm.slice %x, %i0, %i2 axes = [3] steps = [1] : tensor<1x3x5x4xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<1x3x5x2xf32>
  %second = llm.slice %x, %i2, %i4 axes = [3] steps = [1] : tensor<1x3x5x4xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<1x3x5x2xf32>
  %negative = llm.neg %second : tensor<1x3x5x2xf32>
  %turned = llm.concat %negative, %first {axis = 3 : i64} : tensor<1x3x5x2xf32>, tensor<1x3x5x2xf32> -> tensor<1x3x5x4xf32>
  %across = llm.mul %turned, %sin4 : tensor<1x3x5x4xf32>, tensor<1x1x5x4xf32> -> tensor<1x3x5x4xf32>
  %y = llm.add %straight, %across : tensor<1x3x5x4xf32>, tensor<1x3x5x4xf32> -> tensor<1x3x5x4xf32>
  return %y : tensor<1x3x5x4xf32>
}

// The tables are given: nobody knows what is in them. Each head has its own row.
// CHECK-LABEL: func.func @keeps_unknown_tables
//   CHECK-NOT:   llm.rope
func.func @keeps_unknown_tables(%x: tensor<2x3x5x4xf32>, %cos: tensor<2x1x5x4xf32>, %sin: tensor<2x1x5x4xf32>) -> tensor<2x3x5x4xf32> {
  %i0 = llm.constant dense<0> : tensor<1xi64>
  %i2 = llm.constant dense<2> : tensor<1xi64>
  %i4 = llm.constant dense<4> : tensor<1xi64>
  %straight = llm.mul %x, %cos : tensor<2x3x5x4xf32>, tensor<2x1x5x4xf32> -> tensor<2x3x5x4xf32>
  %first = llm.slice %x, %i0, %i2 axes = [3] steps = [1] : tensor<2x3x5x4xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<2x3x5x2xf32>
  %second = llm.slice %x, %i2, %i4 axes = [3] steps = [1] : tensor<2x3x5x4xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<2x3x5x2xf32>
  %negative = llm.neg %second : tensor<2x3x5x2xf32>
  %turned = llm.concat %negative, %first {axis = 3 : i64} : tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32> -> tensor<2x3x5x4xf32>
  %across = llm.mul %turned, %sin : tensor<2x3x5x4xf32>, tensor<2x1x5x4xf32> -> tensor<2x3x5x4xf32>
  %y = llm.add %straight, %across : tensor<2x3x5x4xf32>, tensor<2x3x5x4xf32> -> tensor<2x3x5x4xf32>
  return %y : tensor<2x3x5x4xf32>
}

// One position for all tokens of a row.
// CHECK-LABEL: func.func @keeps_one_position_for_all_tokens
//   CHECK-NOT:   llm.rope
func.func @keeps_one_position_for_all_tokens(%x: tensor<2x3x5x4xf32>, %p: tensor<2xi64>) -> tensor<2x3x5x4xf32> {
  %frequencies = llm.constant dense<[1.0, 0.25]> : tensor<2xf32>
  %i0 = llm.constant dense<0> : tensor<1xi64>
  %i2 = llm.constant dense<2> : tensor<1xi64>
  %i4 = llm.constant dense<4> : tensor<1xi64>
  %c = llm.cast %p : tensor<2xi64> -> tensor<2xf32>
  %e = llm.expand_dims %c axes = [1, 2, 3] : tensor<2xf32> -> tensor<2x1x1x1xf32>
  %a = llm.mul %e, %frequencies : tensor<2x1x1x1xf32>, tensor<2xf32> -> tensor<2x1x1x2xf32>
  %cos = llm.cos %a : tensor<2x1x1x2xf32>
  %sin = llm.sin %a : tensor<2x1x1x2xf32>
  %first = llm.slice %x, %i0, %i2 axes = [3] steps = [1] : tensor<2x3x5x4xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<2x3x5x2xf32>
  %second = llm.slice %x, %i2, %i4 axes = [3] steps = [1] : tensor<2x3x5x4xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<2x3x5x2xf32>
  %fc = llm.mul %first, %cos : tensor<2x3x5x2xf32>, tensor<2x1x1x2xf32> -> tensor<2x3x5x2xf32>
  %ss = llm.mul %second, %sin : tensor<2x3x5x2xf32>, tensor<2x1x1x2xf32> -> tensor<2x3x5x2xf32>
  %sc = llm.mul %second, %cos : tensor<2x3x5x2xf32>, tensor<2x1x1x2xf32> -> tensor<2x3x5x2xf32>
  %fs = llm.mul %first, %sin : tensor<2x3x5x2xf32>, tensor<2x1x1x2xf32> -> tensor<2x3x5x2xf32>
  %real = llm.sub %fc, %ss : tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32> -> tensor<2x3x5x2xf32>
  %imaginary = llm.add %sc, %fs : tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32> -> tensor<2x3x5x2xf32>
  %y = llm.concat %real, %imaginary {axis = 3 : i64} : tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32> -> tensor<2x3x5x4xf32>
  return %y : tensor<2x3x5x4xf32>
}
