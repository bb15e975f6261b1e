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

// Tables that hold cos and sin of positions times frequencies. Negative numbers count from the end of a table, and larger ones than it has are its last.
// CHECK-LABEL: func.func @stored_tables
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: tensor<2x5x3x4xf32>, %[[P:[a-z0-9]+]]: tensor<2x5xi64>
//   CHECK-DAG:   %[[F:.+]] = llm.constant dense<[1.000000e+00, 2.500000e-01]> : tensor<2xf32>
//   CHECK-DAG:   %[[ROWS:.+]] = llm.constant dense<6> : tensor<i64>
//   CHECK-DAG:   %[[N:.+]] = llm.compare lt %[[P]], %{{.+}}
//   CHECK-DAG:   %[[W:.+]] = llm.add %[[P]], %[[ROWS]]
//   CHECK-DAG:   %[[S:.+]] = llm.select %[[N]], %[[W]], %[[P]]
//   CHECK-DAG:   %[[B:.+]] = llm.max %[[S]], %{{.+}}
//       CHECK:   %[[Q:.+]] = llm.min %[[B]], %{{.+}}
//       CHECK:   %[[Q1:.+]] = llm.reshape %[[Q]]
//       CHECK:   llm.rope %{{.+}}, %[[Q1]], %[[F]] {llm.max_positions = 6 : i64}
func.func @stored_tables(%x: tensor<2x5x3x4xf32>, %p: tensor<2x5xi64>) -> tensor<2x5x3x4xf32> {
  %cosines = llm.constant dense<[[1.000000000e+00, 1.000000000e+00], [5.403022766e-01, 9.689124227e-01], [-4.161468446e-01, 8.775825500e-01], [-9.899924994e-01, 7.316888571e-01], [-6.536436081e-01, 5.403022766e-01], [2.836622000e-01, 3.153223693e-01]]> : tensor<6x2xf32>
  %sines = llm.constant dense<[[0.000000000e+00, 0.000000000e+00], [8.414709568e-01, 2.474039644e-01], [9.092974067e-01, 4.794255495e-01], [1.411200017e-01, 6.816387773e-01], [-7.568024993e-01, 8.414709568e-01], [-9.589242935e-01, 9.489846230e-01]]> : tensor<6x2xf32>
  %i0 = llm.constant dense<0> : tensor<1xi64>
  %i2 = llm.constant dense<2> : tensor<1xi64>
  %i4 = llm.constant dense<4> : tensor<1xi64>
  %c0 = llm.gather %cosines, %p {axis = 0 : i64} : tensor<6x2xf32>, tensor<2x5xi64> -> tensor<2x5x2xf32>
  %s0 = llm.gather %sines, %p {axis = 0 : i64} : tensor<6x2xf32>, tensor<2x5xi64> -> tensor<2x5x2xf32>
  %c = llm.expand_dims %c0 axes = [2] : tensor<2x5x2xf32> -> tensor<2x5x1x2xf32>
  %s = llm.expand_dims %s0 axes = [2] : tensor<2x5x2xf32> -> tensor<2x5x1x2xf32>
  %a = llm.slice %x, %i0, %i2 axes = [3] steps = [1] : tensor<2x5x3x4xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<2x5x3x2xf32>
  %b = llm.slice %x, %i2, %i4 axes = [3] steps = [1] : tensor<2x5x3x4xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<2x5x3x2xf32>
  %ac = llm.mul %a, %c : tensor<2x5x3x2xf32>, tensor<2x5x1x2xf32> -> tensor<2x5x3x2xf32>
  %bs = llm.mul %b, %s : tensor<2x5x3x2xf32>, tensor<2x5x1x2xf32> -> tensor<2x5x3x2xf32>
  %bc = llm.mul %b, %c : tensor<2x5x3x2xf32>, tensor<2x5x1x2xf32> -> tensor<2x5x3x2xf32>
  %as = llm.mul %a, %s : tensor<2x5x3x2xf32>, tensor<2x5x1x2xf32> -> tensor<2x5x3x2xf32>
  %real = llm.sub %ac, %bs : tensor<2x5x3x2xf32>, tensor<2x5x3x2xf32> -> tensor<2x5x3x2xf32>
  %imaginary = llm.add %bc, %as : tensor<2x5x3x2xf32>, tensor<2x5x3x2xf32> -> tensor<2x5x3x2xf32>
  %y = llm.concat %real, %imaginary {axis = 3 : i64} : tensor<2x5x3x2xf32>, tensor<2x5x3x2xf32> -> tensor<2x5x3x4xf32>
  return %y : tensor<2x5x3x4xf32>
}

// Counted positions are never negative.
// CHECK-LABEL: func.func @stored_tables_by_sizes
//   CHECK-NOT:   llm.select
//       CHECK:   %[[Q:.+]] = llm.min %{{.+}}, %{{.+}}
//       CHECK:   %[[Q1:.+]] = llm.reshape %[[Q]]
//       CHECK:   llm.rope %{{.+}}, %[[Q1]]
func.func @stored_tables_by_sizes(%x: tensor<2x5x3x4xf32>, %o: tensor<2x1xi64>) -> tensor<2x5x3x4xf32> {
  %cosines = llm.constant dense<[[1.000000000e+00, 1.000000000e+00], [5.403022766e-01, 9.689124227e-01], [-4.161468446e-01, 8.775825500e-01], [-9.899924994e-01, 7.316888571e-01], [-6.536436081e-01, 5.403022766e-01], [2.836622000e-01, 3.153223693e-01]]> : tensor<6x2xf32>
  %sines = llm.constant dense<[[0.000000000e+00, 0.000000000e+00], [8.414709568e-01, 2.474039644e-01], [9.092974067e-01, 4.794255495e-01], [1.411200017e-01, 6.816387773e-01], [-7.568024993e-01, 8.414709568e-01], [-9.589242935e-01, 9.489846230e-01]]> : tensor<6x2xf32>
  %i0 = llm.constant dense<0> : tensor<1xi64>
  %i2 = llm.constant dense<2> : tensor<1xi64>
  %i4 = llm.constant dense<4> : tensor<1xi64>
  %zero = llm.constant dense<0> : tensor<i64>
  %one = llm.constant dense<1> : tensor<i64>
  %five = llm.constant dense<5> : tensor<i64>
  %counted = llm.range %zero, %five, %one : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<5xi64>
  %begin = llm.max %o, %zero : tensor<2x1xi64>, tensor<i64> -> tensor<2x1xi64>
  %q = llm.add %begin, %counted : tensor<2x1xi64>, tensor<5xi64> -> tensor<2x5xi64>
  %c0 = llm.gather %cosines, %q {axis = 0 : i64} : tensor<6x2xf32>, tensor<2x5xi64> -> tensor<2x5x2xf32>
  %s0 = llm.gather %sines, %q {axis = 0 : i64} : tensor<6x2xf32>, tensor<2x5xi64> -> tensor<2x5x2xf32>
  %c = llm.expand_dims %c0 axes = [2] : tensor<2x5x2xf32> -> tensor<2x5x1x2xf32>
  %s = llm.expand_dims %s0 axes = [2] : tensor<2x5x2xf32> -> tensor<2x5x1x2xf32>
  %a = llm.slice %x, %i0, %i2 axes = [3] steps = [1] : tensor<2x5x3x4xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<2x5x3x2xf32>
  %b = llm.slice %x, %i2, %i4 axes = [3] steps = [1] : tensor<2x5x3x4xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<2x5x3x2xf32>
  %ac = llm.mul %a, %c : tensor<2x5x3x2xf32>, tensor<2x5x1x2xf32> -> tensor<2x5x3x2xf32>
  %bs = llm.mul %b, %s : tensor<2x5x3x2xf32>, tensor<2x5x1x2xf32> -> tensor<2x5x3x2xf32>
  %bc = llm.mul %b, %c : tensor<2x5x3x2xf32>, tensor<2x5x1x2xf32> -> tensor<2x5x3x2xf32>
  %as = llm.mul %a, %s : tensor<2x5x3x2xf32>, tensor<2x5x1x2xf32> -> tensor<2x5x3x2xf32>
  %real = llm.sub %ac, %bs : tensor<2x5x3x2xf32>, tensor<2x5x3x2xf32> -> tensor<2x5x3x2xf32>
  %imaginary = llm.add %bc, %as : tensor<2x5x3x2xf32>, tensor<2x5x3x2xf32> -> tensor<2x5x3x2xf32>
  %y = llm.concat %real, %imaginary {axis = 3 : i64} : tensor<2x5x3x2xf32>, tensor<2x5x3x2xf32> -> tensor<2x5x3x4xf32>
  return %y : tensor<2x5x3x4xf32>
}

// One number of the table is off by a thousandth.
// CHECK-LABEL: func.func @keeps_spoiled_table
//   CHECK-NOT:   llm.rope
//       CHECK:   return
func.func @keeps_spoiled_table(%x: tensor<2x5x3x4xf32>, %p: tensor<2x5xi64>) -> tensor<2x5x3x4xf32> {
  %cosines = llm.constant dense<[[1.000000000e+00, 1.000000000e+00], [5.403022766e-01, 9.689124227e-01], [-4.161468446e-01, 8.775825500e-01], [-9.899924994e-01, 7.316888571e-01], [-6.536436081e-01, 5.403022766e-01], [2.836622000e-01, 3.153223693e-01]]> : tensor<6x2xf32>
  %sines = llm.constant dense<[[0.000000000e+00, 0.000000000e+00], [8.414709568e-01, 2.474039644e-01], [9.092974067e-01, 4.794255495e-01], [1.411200017e-01, 6.816387773e-01], [-7.568024993e-01, 8.424709439e-01], [-9.589242935e-01, 9.489846230e-01]]> : tensor<6x2xf32>
  %i0 = llm.constant dense<0> : tensor<1xi64>
  %i2 = llm.constant dense<2> : tensor<1xi64>
  %i4 = llm.constant dense<4> : tensor<1xi64>
  %c0 = llm.gather %cosines, %p {axis = 0 : i64} : tensor<6x2xf32>, tensor<2x5xi64> -> tensor<2x5x2xf32>
  %s0 = llm.gather %sines, %p {axis = 0 : i64} : tensor<6x2xf32>, tensor<2x5xi64> -> tensor<2x5x2xf32>
  %c = llm.expand_dims %c0 axes = [2] : tensor<2x5x2xf32> -> tensor<2x5x1x2xf32>
  %s = llm.expand_dims %s0 axes = [2] : tensor<2x5x2xf32> -> tensor<2x5x1x2xf32>
  %a = llm.slice %x, %i0, %i2 axes = [3] steps = [1] : tensor<2x5x3x4xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<2x5x3x2xf32>
  %b = llm.slice %x, %i2, %i4 axes = [3] steps = [1] : tensor<2x5x3x4xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<2x5x3x2xf32>
  %ac = llm.mul %a, %c : tensor<2x5x3x2xf32>, tensor<2x5x1x2xf32> -> tensor<2x5x3x2xf32>
  %bs = llm.mul %b, %s : tensor<2x5x3x2xf32>, tensor<2x5x1x2xf32> -> tensor<2x5x3x2xf32>
  %bc = llm.mul %b, %c : tensor<2x5x3x2xf32>, tensor<2x5x1x2xf32> -> tensor<2x5x3x2xf32>
  %as = llm.mul %a, %s : tensor<2x5x3x2xf32>, tensor<2x5x1x2xf32> -> tensor<2x5x3x2xf32>
  %real = llm.sub %ac, %bs : tensor<2x5x3x2xf32>, tensor<2x5x3x2xf32> -> tensor<2x5x3x2xf32>
  %imaginary = llm.add %bc, %as : tensor<2x5x3x2xf32>, tensor<2x5x3x2xf32> -> tensor<2x5x3x2xf32>
  %y = llm.concat %real, %imaginary {axis = 3 : i64} : tensor<2x5x3x2xf32>, tensor<2x5x3x2xf32> -> tensor<2x5x3x4xf32>
  return %y : tensor<2x5x3x4xf32>
}

// The turned features are read elsewhere as well.
// CHECK-LABEL: func.func @keeps_turned_half_that_escapes
//   CHECK-NOT:   llm.rope
func.func @keeps_turned_half_that_escapes(%x: tensor<2x3x5x4xf32>, %p: tensor<2x5xi64>) -> (tensor<2x3x5x4xf32>, tensor<2x3x5x4xf32>) {
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
  return %y, %across : tensor<2x3x5x4xf32>, tensor<2x3x5x4xf32>
}

// The cosines pass through f16.
// CHECK-LABEL: func.func @keeps_tables_in_another_type
//   CHECK-NOT:   llm.rope
func.func @keeps_tables_in_another_type(%x: tensor<2x3x5x4xf32>, %p: tensor<2x5xi64>) -> tensor<2x3x5x4xf32> {
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
  %h = llm.cast %cos : tensor<2x5x4xf32> -> tensor<2x5x4xf16>
  %wide = llm.cast %h : tensor<2x5x4xf16> -> tensor<2x5x4xf32>
  %cos4 = llm.expand_dims %wide axes = [1] : tensor<2x5x4xf32> -> tensor<2x1x5x4xf32>
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

// Tokens instead of features are turned.
// CHECK-LABEL: func.func @keeps_halves_of_another_axis
//   CHECK-NOT:   llm.rope
func.func @keeps_halves_of_another_axis(%x: tensor<2x3x4x4xf32>, %p: tensor<2x4xi64>) -> tensor<2x3x4x4xf32> {
  %frequencies = llm.constant dense<[1.0, 0.25]> : tensor<2xf32>
  %i0 = llm.constant dense<0> : tensor<1xi64>
  %i2 = llm.constant dense<2> : tensor<1xi64>
  %i4 = llm.constant dense<9223372036854775807> : tensor<1xi64>
  %c = llm.cast %p : tensor<2x4xi64> -> tensor<2x4xf32>
  %e = llm.expand_dims %c axes = [2] : tensor<2x4xf32> -> tensor<2x4x1xf32>
  %a = llm.mul %e, %frequencies : tensor<2x4x1xf32>, tensor<2xf32> -> tensor<2x4x2xf32>
  %w = llm.concat %a, %a {axis = 2 : i64} : tensor<2x4x2xf32>, tensor<2x4x2xf32> -> tensor<2x4x4xf32>
  %cos = llm.cos %w : tensor<2x4x4xf32>
  %sin = llm.sin %w : tensor<2x4x4xf32>
  %cos4 = llm.expand_dims %cos axes = [1] : tensor<2x4x4xf32> -> tensor<2x1x4x4xf32>
  %sin4 = llm.expand_dims %sin axes = [1] : tensor<2x4x4xf32> -> tensor<2x1x4x4xf32>
  %straight = llm.mul %x, %cos4 : tensor<2x3x4x4xf32>, tensor<2x1x4x4xf32> -> tensor<2x3x4x4xf32>
  %first = llm.slice %x, %i0, %i2 axes = [2] steps = [1] : tensor<2x3x4x4xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<2x3x2x4xf32>
  %second = llm.slice %x, %i2, %i4 axes = [2] steps = [1] : tensor<2x3x4x4xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<2x3x2x4xf32>
  %negative = llm.neg %second : tensor<2x3x2x4xf32>
  %turned = llm.concat %negative, %first {axis = 2 : i64} : tensor<2x3x2x4xf32>, tensor<2x3x2x4xf32> -> tensor<2x3x4x4xf32>
  %across = llm.mul %turned, %sin4 : tensor<2x3x4x4xf32>, tensor<2x1x4x4xf32> -> tensor<2x3x4x4xf32>
  %y = llm.add %straight, %across : tensor<2x3x4x4xf32>, tensor<2x3x4x4xf32> -> tensor<2x3x4x4xf32>
  return %y : tensor<2x3x4x4xf32>
}
