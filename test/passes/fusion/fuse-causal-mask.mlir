// RUN: llmopt-opt %s --llmopt-fuse=only=fuse-causal-mask | FileCheck %s
// RUN: llmopt-opt %s --llmopt-fuse="only=fuse-causal-mask verify" -o /dev/null
// REQUIRES: llmopt-opt

// Queries follow the past: i + past sees j <= i + past.
// CHECK-LABEL: func.func @ranges_with_past
//       CHECK:   llm.attention %{{[^ ]+}}, %{{[^ ]+}}, %{{[^ ]+}} {causal, scale = 2.500000e-01 : f32}
func.func @ranges_with_past(%q: tensor<?x4x?x8xf32> {llm.dims = ["b", 4, "s", 8]}, %k: tensor<?x4x?x8xf32> {llm.dims = ["b", 4, "past + s", 8]},
                            %v: tensor<?x4x?x8xf32> {llm.dims = ["b", 4, "past + s", 8]}, %p: tensor<?x8xf32> {llm.dims = ["past", 8]}) -> tensor<?x4x?x8xf32> {
  %0 = llm.constant dense<0> : tensor<i64>
  %1 = llm.constant dense<1> : tensor<i64>
  %i0 = llm.constant dense<0> : tensor<1xi64>
  %i2 = llm.constant dense<2> : tensor<1xi64>
  %zero = llm.constant dense<0.0> : tensor<f32>
  %low = llm.constant dense<-3.40282347E+38> : tensor<f32>
  %ks = llm.shape %k : tensor<?x4x?x8xf32> -> tensor<4xi64>
  %t1 = llm.gather %ks, %i2 {axis = 0 : i64} : tensor<4xi64>, tensor<1xi64> -> tensor<1xi64>
  %t = llm.squeeze %t1 axes = [0] : tensor<1xi64> -> tensor<i64>
  %qs = llm.shape %q : tensor<?x4x?x8xf32> -> tensor<4xi64>
  %s1 = llm.gather %qs, %i2 {axis = 0 : i64} : tensor<4xi64>, tensor<1xi64> -> tensor<1xi64>
  %s = llm.squeeze %s1 axes = [0] : tensor<1xi64> -> tensor<i64>
  %ps = llm.shape %p : tensor<?x8xf32> -> tensor<2xi64>
  %past = llm.gather %ps, %i0 {axis = 0 : i64} : tensor<2xi64>, tensor<1xi64> -> tensor<1xi64>
  %columns = llm.range %0, %t, %1 : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<?xi64>
  %new = llm.range %0, %s, %1 : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<?xi64>
  %rows = llm.add %new, %past : tensor<?xi64>, tensor<1xi64> -> tensor<?xi64>
  %column = llm.expand_dims %columns axes = [0, 1, 2] : tensor<?xi64> -> tensor<1x1x1x?xi64>
  %row = llm.expand_dims %rows axes = [0, 1, 3] : tensor<?xi64> -> tensor<1x1x?x1xi64>
  %seen = llm.compare le %column, %row : tensor<1x1x1x?xi64>, tensor<1x1x?x1xi64> -> tensor<1x1x?x?xi1>
  %m = llm.select %seen, %zero, %low : tensor<1x1x?x?xi1>, tensor<f32>, tensor<f32> -> tensor<1x1x?x?xf32>
  %y = llm.attention %q, %k, %v mask %m : tensor<1x1x?x?xf32> {scale = 0.25 : f32} : tensor<?x4x?x8xf32>, tensor<?x4x?x8xf32>, tensor<?x4x?x8xf32> -> tensor<?x4x?x8xf32>
  return %y : tensor<?x4x?x8xf32>
}

// A window of 3, written as two comparisons, and a padding mask, which stays.
// CHECK-LABEL: func.func @window_and_padding
//  CHECK-SAME:   %[[PAD:[a-z0-9]+]]: tensor<2x1x1x5xi1>
//       CHECK:   llm.attention %{{.+}} mask %[[PAD]] : tensor<2x1x1x5xi1> {causal, scale = 2.500000e-01 : f32, window = 3 : i64}
func.func @window_and_padding(%q: tensor<2x4x5x8xf32>, %k: tensor<2x4x5x8xf32>, %v: tensor<2x4x5x8xf32>, %pad: tensor<2x1x1x5xi1>) -> tensor<2x4x5x8xf32> {
  %3 = llm.constant dense<3> : tensor<i64>
  %column = llm.constant dense<[0, 1, 2, 3, 4]> : tensor<5xi64>
  %row = llm.expand_dims %column axes = [1] : tensor<5xi64> -> tensor<5x1xi64>
  %seen = llm.compare ge %row, %column : tensor<5x1xi64>, tensor<5xi64> -> tensor<5x5xi1>
  %oldest = llm.sub %row, %3 : tensor<5x1xi64>, tensor<i64> -> tensor<5x1xi64>
  %recent = llm.compare gt %column, %oldest : tensor<5xi64>, tensor<5x1xi64> -> tensor<5x5xi1>
  %both = llm.and %seen, %recent : tensor<5x5xi1>, tensor<5x5xi1> -> tensor<5x5xi1>
  %m = llm.and %both, %pad : tensor<5x5xi1>, tensor<2x1x1x5xi1> -> tensor<2x1x5x5xi1>
  %y = llm.attention %q, %k, %v mask %m : tensor<2x1x5x5xi1> {scale = 0.25 : f32} : tensor<2x4x5x8xf32>, tensor<2x4x5x8xf32>, tensor<2x4x5x8xf32> -> tensor<2x4x5x8xf32>
  return %y : tensor<2x4x5x8xf32>
}

// The triangle of a table of ones, of which rows from the past on are taken (GPT-2).
// CHECK-LABEL: func.func @slice_of_a_table
//       CHECK:   llm.attention {{.*}} {causal, scale
func.func @slice_of_a_table(%q: tensor<1x2x3x8xf32>, %k: tensor<1x2x4x8xf32>, %v: tensor<1x2x4x8xf32>) -> tensor<1x2x3x8xf32> {
  %table = llm.constant dense<[[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]> : tensor<5x5xi8>
  %starts = llm.constant dense<[1, 0]> : tensor<2xi64>
  %ends = llm.constant dense<[4, 4]> : tensor<2xi64>
  %lowest = llm.constant dense<-3.40282347E+38> : tensor<f32>
  %zero = llm.constant dense<0.0> : tensor<f32>
  %part = llm.slice %table, %starts, %ends axes = [0, 1] steps = [1, 1] : tensor<5x5xi8>, tensor<2xi64>, tensor<2xi64> -> tensor<3x4xi8>
  %seen = llm.cast %part : tensor<3x4xi8> -> tensor<3x4xi1>
  %m = llm.select %seen, %zero, %lowest : tensor<3x4xi1>, tensor<f32>, tensor<f32> -> tensor<3x4xf32>
  %y = llm.attention %q, %k, %v mask %m : tensor<3x4xf32> {scale = 0.25 : f32} : tensor<1x2x3x8xf32>, tensor<1x2x4x8xf32>, tensor<1x2x4x8xf32> -> tensor<1x2x3x8xf32>
  return %y : tensor<1x2x3x8xf32>
}

// A mask that was folded to numbers.
// CHECK-LABEL: func.func @constant_mask
//       CHECK:   llm.attention {{.*}} {causal, scale
func.func @constant_mask(%q: tensor<1x2x3x8xf32>, %k: tensor<1x2x3x8xf32>, %v: tensor<1x2x3x8xf32>) -> tensor<1x2x3x8xf32> {
  %m = llm.constant dense<[[[[0.0, 0xFF800000, 0xFF800000], [0.0, 0.0, 0xFF800000], [0.0, 0.0, 0.0]]]]> : tensor<1x1x3x3xf32>
  %y = llm.attention %q, %k, %v mask %m : tensor<1x1x3x3xf32> {scale = 0.25 : f32} : tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32> -> tensor<1x2x3x8xf32>
  return %y : tensor<1x2x3x8xf32>
}

// triu(full(-inf), 1) of as many rows as columns.
// CHECK-LABEL: func.func @upper_triangle
//       CHECK:   llm.attention %{{[^ ]+}}, %{{[^ ]+}}, %{{[^ ]+}} {causal, scale
func.func @upper_triangle(%q: tensor<1x2x?x8xf32> {llm.dims = [1, 2, "s", 8]}, %k: tensor<1x2x?x8xf32> {llm.dims = [1, 2, "s", 8]}, %v: tensor<1x2x?x8xf32> {llm.dims = [1, 2, "s", 8]}) -> tensor<1x2x?x8xf32> {
  %0 = llm.constant dense<0> : tensor<i64>
  %1 = llm.constant dense<1> : tensor<i64>
  %i2 = llm.constant dense<2> : tensor<1xi64>
  %zero = llm.constant dense<0.0> : tensor<f32>
  %low = llm.constant dense<0xFF800000> : tensor<f32>
  %qs = llm.shape %q : tensor<1x2x?x8xf32> -> tensor<4xi64>
  %s1 = llm.gather %qs, %i2 {axis = 0 : i64} : tensor<4xi64>, tensor<1xi64> -> tensor<1xi64>
  %s = llm.squeeze %s1 axes = [0] : tensor<1xi64> -> tensor<i64>
  %square = llm.concat %s1, %s1 {axis = 0 : i64} : tensor<1xi64>, tensor<1xi64> -> tensor<2xi64>
  %full = llm.broadcast %low, %square : tensor<f32>, tensor<2xi64> -> tensor<?x?xf32>
  %column = llm.range %0, %s, %1 : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<?xi64>
  %row = llm.expand_dims %column axes = [1] : tensor<?xi64> -> tensor<?x1xi64>
  %distance = llm.sub %column, %row : tensor<?xi64>, tensor<?x1xi64> -> tensor<?x?xi64>
  %hidden = llm.compare ge %distance, %1 : tensor<?x?xi64>, tensor<i64> -> tensor<?x?xi1>
  %m = llm.select %hidden, %full, %zero : tensor<?x?xi1>, tensor<?x?xf32>, tensor<f32> -> tensor<?x?xf32>
  %y = llm.attention %q, %k, %v mask %m : tensor<?x?xf32> {scale = 0.25 : f32} : tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32> -> tensor<1x2x?x8xf32>
  return %y : tensor<1x2x?x8xf32>
}

// Positions of packed sequences, of which there is one: differences of neighbours are 1, so all tokens are in sequence 0 (transformers 5 by
// the dynamo exporter).
// CHECK-LABEL: func.func @one_packed_sequence
//       CHECK:   llm.attention %{{[^ ]+}}, %{{[^ ]+}}, %{{[^ ]+}} {causal, scale
func.func @one_packed_sequence(%q: tensor<?x4x?x8xf32> {llm.dims = ["b", 4, "s", 8]}, %k: tensor<?x4x?x8xf32> {llm.dims = ["b", 4, "s", 8]},
                               %v: tensor<?x4x?x8xf32> {llm.dims = ["b", 4, "s", 8]}) -> tensor<?x4x?x8xf32> {
  %0 = llm.constant dense<0> : tensor<i64>
  %1 = llm.constant dense<1> : tensor<i64>
  %i0 = llm.constant dense<0> : tensor<1xi64>
  %i1 = llm.constant dense<1> : tensor<1xi64>
  %i2 = llm.constant dense<2> : tensor<1xi64>
  %zero = llm.constant dense<0.0> : tensor<f32>
  %low = llm.constant dense<-3.40282347E+38> : tensor<f32>
  %qs = llm.shape %q : tensor<?x4x?x8xf32> -> tensor<4xi64>
  %s1 = llm.gather %qs, %i2 {axis = 0 : i64} : tensor<4xi64>, tensor<1xi64> -> tensor<1xi64>
  %s = llm.squeeze %s1 axes = [0] : tensor<1xi64> -> tensor<i64>
  %b1 = llm.gather %qs, %i0 {axis = 0 : i64} : tensor<4xi64>, tensor<1xi64> -> tensor<1xi64>
  %b = llm.squeeze %b1 axes = [0] : tensor<1xi64> -> tensor<i64>
  %places = llm.range %0, %s, %1 : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<?xi64>
  %place = llm.expand_dims %places axes = [0] : tensor<?xi64> -> tensor<1x?xi64>
  %bs = llm.concat %b1, %s1 {axis = 0 : i64} : tensor<1xi64>, tensor<1xi64> -> tensor<2xi64>
  %positions = llm.broadcast %place, %bs : tensor<1x?xi64>, tensor<2xi64> -> tensor<?x?xi64>
  %first = llm.slice %positions, %i0, %i1 axes = [1] steps = [1] : tensor<?x?xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<?x?xi64>
  %before = llm.sub %first, %1 : tensor<?x?xi64>, tensor<i64> -> tensor<?x?xi64>
  %longer = llm.concat %before, %positions {axis = 1 : i64} : tensor<?x?xi64>, tensor<?x?xi64> -> tensor<?x?xi64>
  %end = llm.add %s1, %i1 : tensor<1xi64>, tensor<1xi64> -> tensor<1xi64>
  %next = llm.slice %longer, %i1, %end axes = [1] steps = [1] : tensor<?x?xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<?x?xi64>
  %last = llm.slice %longer, %i0, %s1 axes = [1] steps = [1] : tensor<?x?xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<?x?xi64>
  %step = llm.sub %next, %last : tensor<?x?xi64>, tensor<?x?xi64> -> tensor<?x?xi64>
  %goes_on = llm.compare eq %step, %1 : tensor<?x?xi64>, tensor<i64> -> tensor<?x?xi1>
  %begins = llm.not %goes_on : tensor<?x?xi1>
  %count = llm.cast %begins : tensor<?x?xi1> -> tensor<?x?xi64>
  %sequence = llm.cumsum %count {axis = 1 : i64} : tensor<?x?xi64> -> tensor<?x?xi64>
  %batches = llm.range %0, %b, %1 : tensor<i64>, tensor<i64>, tensor<i64> -> tensor<?xi64>
  %batch = llm.expand_dims %batches axes = [1, 2, 3] : tensor<?xi64> -> tensor<?x1x1x1xi64>
  %row = llm.expand_dims %places axes = [0, 1, 3] : tensor<?xi64> -> tensor<1x1x?x1xi64>
  %column = llm.expand_dims %places axes = [0, 1, 2] : tensor<?xi64> -> tensor<1x1x1x?xi64>
  %rows_shape = llm.concat %b1, %i1, %s1, %i1 {axis = 0 : i64} : tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<4xi64>
  %columns_shape = llm.concat %b1, %i1, %i1, %s1 {axis = 0 : i64} : tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64> -> tensor<4xi64>
  %rb = llm.broadcast %batch, %rows_shape : tensor<?x1x1x1xi64>, tensor<4xi64> -> tensor<?x1x?x1xi64>
  %rb5 = llm.expand_dims %rb axes = [4] : tensor<?x1x?x1xi64> -> tensor<?x1x?x1x1xi64>
  %rr = llm.broadcast %row, %rows_shape : tensor<1x1x?x1xi64>, tensor<4xi64> -> tensor<?x1x?x1xi64>
  %rr5 = llm.expand_dims %rr axes = [4] : tensor<?x1x?x1xi64> -> tensor<?x1x?x1x1xi64>
  %at_row = llm.concat %rb5, %rr5 {axis = 4 : i64} : tensor<?x1x?x1x1xi64>, tensor<?x1x?x1x1xi64> -> tensor<?x1x?x1x2xi64>
  %cb = llm.broadcast %batch, %columns_shape : tensor<?x1x1x1xi64>, tensor<4xi64> -> tensor<?x1x1x?xi64>
  %cb5 = llm.expand_dims %cb axes = [4] : tensor<?x1x1x?xi64> -> tensor<?x1x1x?x1xi64>
  %cc = llm.broadcast %column, %columns_shape : tensor<1x1x1x?xi64>, tensor<4xi64> -> tensor<?x1x1x?xi64>
  %cc5 = llm.expand_dims %cc axes = [4] : tensor<?x1x1x?xi64> -> tensor<?x1x1x?x1xi64>
  %at_column = llm.concat %cb5, %cc5 {axis = 4 : i64} : tensor<?x1x1x?x1xi64>, tensor<?x1x1x?x1xi64> -> tensor<?x1x1x?x2xi64>
  %row_sequence = llm.gather_nd %sequence, %at_row {batch_dims = 0 : i64} : tensor<?x?xi64>, tensor<?x1x?x1x2xi64> -> tensor<?x1x?x1xi64>
  %column_sequence = llm.gather_nd %sequence, %at_column {batch_dims = 0 : i64} : tensor<?x?xi64>, tensor<?x1x1x?x2xi64> -> tensor<?x1x1x?xi64>
  %same = llm.compare eq %row_sequence, %column_sequence : tensor<?x1x?x1xi64>, tensor<?x1x1x?xi64> -> tensor<?x1x?x?xi1>
  %row_position = llm.gather_nd %positions, %at_row {batch_dims = 0 : i64} : tensor<?x?xi64>, tensor<?x1x?x1x2xi64> -> tensor<?x1x?x1xi64>
  %column_position = llm.gather_nd %positions, %at_column {batch_dims = 0 : i64} : tensor<?x?xi64>, tensor<?x1x1x?x2xi64> -> tensor<?x1x1x?xi64>
  %earlier = llm.compare le %column_position, %row_position : tensor<?x1x1x?xi64>, tensor<?x1x?x1xi64> -> tensor<?x1x?x?xi1>
  %seen = llm.and %same, %earlier : tensor<?x1x?x?xi1>, tensor<?x1x?x?xi1> -> tensor<?x1x?x?xi1>
  %m = llm.select %seen, %zero, %low : tensor<?x1x?x?xi1>, tensor<f32>, tensor<f32> -> tensor<?x1x?x?xf32>
  %y = llm.attention %q, %k, %v mask %m : tensor<?x1x?x?xf32> {scale = 0.25 : f32} : tensor<?x4x?x8xf32>, tensor<?x4x?x8xf32>, tensor<?x4x?x8xf32> -> tensor<?x4x?x8xf32>
  return %y : tensor<?x4x?x8xf32>
}

// Query 0 stands beside key 0, not behind the past: another diagonal.
// CHECK-LABEL: func.func @keeps_first_diagonal
//       CHECK:   llm.attention {{.*}} mask %{{.+}} : tensor<3x5xi1> {scale
func.func @keeps_first_diagonal(%q: tensor<1x2x3x8xf32>, %k: tensor<1x2x5x8xf32>, %v: tensor<1x2x5x8xf32>) -> tensor<1x2x3x8xf32> {
  %columns = llm.constant dense<[0, 1, 2, 3, 4]> : tensor<5xi64>
  %rows = llm.constant dense<[[0], [1], [2]]> : tensor<3x1xi64>
  %m = llm.compare le %columns, %rows : tensor<5xi64>, tensor<3x1xi64> -> tensor<3x5xi1>
  %y = llm.attention %q, %k, %v mask %m : tensor<3x5xi1> {scale = 0.25 : f32} : tensor<1x2x3x8xf32>, tensor<1x2x5x8xf32>, tensor<1x2x5x8xf32> -> tensor<1x2x3x8xf32>
  return %y : tensor<1x2x3x8xf32>
}

// A token does not see itself.
// CHECK-LABEL: func.func @keeps_strict_order
//       CHECK:   llm.attention {{.*}} mask %{{.+}} : tensor<5x5xi1> {scale
func.func @keeps_strict_order(%q: tensor<1x2x5x8xf32>, %k: tensor<1x2x5x8xf32>, %v: tensor<1x2x5x8xf32>) -> tensor<1x2x5x8xf32> {
  %columns = llm.constant dense<[0, 1, 2, 3, 4]> : tensor<5xi64>
  %rows = llm.expand_dims %columns axes = [1] : tensor<5xi64> -> tensor<5x1xi64>
  %m = llm.compare lt %columns, %rows : tensor<5xi64>, tensor<5x1xi64> -> tensor<5x5xi1>
  %y = llm.attention %q, %k, %v mask %m : tensor<5x5xi1> {scale = 0.25 : f32} : tensor<1x2x5x8xf32>, tensor<1x2x5x8xf32>, tensor<1x2x5x8xf32> -> tensor<1x2x5x8xf32>
  return %y : tensor<1x2x5x8xf32>
}

// With a finite number, a row that padding hides as well is an average over all keys.
// CHECK-LABEL: func.func @keeps_finite_number_beside_padding
//       CHECK:   llm.attention {{.*}} mask %{{.+}} : tensor<2x1x3x3xf32> {scale
func.func @keeps_finite_number_beside_padding(%q: tensor<2x2x3x8xf32>, %k: tensor<2x2x3x8xf32>, %v: tensor<2x2x3x8xf32>, %pad: tensor<2x1x1x3xi1>) -> tensor<2x2x3x8xf32> {
  %columns = llm.constant dense<[0, 1, 2]> : tensor<3xi64>
  %rows = llm.constant dense<[[0], [1], [2]]> : tensor<3x1xi64>
  %zero = llm.constant dense<0.0> : tensor<f32>
  %low = llm.constant dense<-3.40282347E+38> : tensor<f32>
  %causal = llm.compare le %columns, %rows : tensor<3xi64>, tensor<3x1xi64> -> tensor<3x3xi1>
  %seen = llm.and %causal, %pad : tensor<3x3xi1>, tensor<2x1x1x3xi1> -> tensor<2x1x3x3xi1>
  %m = llm.select %seen, %zero, %low : tensor<2x1x3x3xi1>, tensor<f32>, tensor<f32> -> tensor<2x1x3x3xf32>
  %y = llm.attention %q, %k, %v mask %m : tensor<2x1x3x3xf32> {scale = 0.25 : f32} : tensor<2x2x3x8xf32>, tensor<2x2x3x8xf32>, tensor<2x2x3x8xf32> -> tensor<2x2x3x8xf32>
  return %y : tensor<2x2x3x8xf32>
}

// -1 takes part in the softmax.
// CHECK-LABEL: func.func @keeps_small_number
//       CHECK:   llm.attention {{.*}} mask %{{.+}} : tensor<3x3xf32> {scale
func.func @keeps_small_number(%q: tensor<1x2x3x8xf32>, %k: tensor<1x2x3x8xf32>, %v: tensor<1x2x3x8xf32>) -> tensor<1x2x3x8xf32> {
  %m = llm.constant dense<[[0.0, -1.0, -1.0], [0.0, 0.0, -1.0], [0.0, 0.0, 0.0]]> : tensor<3x3xf32>
  %y = llm.attention %q, %k, %v mask %m : tensor<3x3xf32> {scale = 0.25 : f32} : tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32> -> tensor<1x2x3x8xf32>
  return %y : tensor<1x2x3x8xf32>
}

// A window without an end: later keys are seen.
// CHECK-LABEL: func.func @keeps_window_to_one_side
//       CHECK:   llm.attention {{.*}} mask %{{.+}} : tensor<3x3xi1> {scale
func.func @keeps_window_to_one_side(%q: tensor<1x2x3x8xf32>, %k: tensor<1x2x3x8xf32>, %v: tensor<1x2x3x8xf32>) -> tensor<1x2x3x8xf32> {
  %columns = llm.constant dense<[0, 1, 2]> : tensor<3xi64>
  %rows = llm.constant dense<[[0], [1], [2]]> : tensor<3x1xi64>
  %m = llm.compare ge %columns, %rows : tensor<3xi64>, tensor<3x1xi64> -> tensor<3x3xi1>
  %y = llm.attention %q, %k, %v mask %m : tensor<3x3xi1> {scale = 0.25 : f32} : tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32> -> tensor<1x2x3x8xf32>
  return %y : tensor<1x2x3x8xf32>
}

// The mask is read elsewhere as well: it stays there, and attention needs it no more.
// CHECK-LABEL: func.func @mask_that_is_returned
//       CHECK:   llm.attention %{{[^ ]+}}, %{{[^ ]+}}, %{{[^ ]+}} {causal
func.func @mask_that_is_returned(%q: tensor<1x2x3x8xf32>, %k: tensor<1x2x3x8xf32>, %v: tensor<1x2x3x8xf32>) -> (tensor<1x2x3x8xf32>, tensor<3x3xi1>) {
  %column = llm.constant dense<[0, 1, 2]> : tensor<3xi64>
  %row = llm.expand_dims %column axes = [1] : tensor<3xi64> -> tensor<3x1xi64>
  %seen = llm.compare le %column, %row : tensor<3xi64>, tensor<3x1xi64> -> tensor<3x3xi1>
  %y = llm.attention %q, %k, %v mask %seen : tensor<3x3xi1> {scale = 0.25 : f32} : tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32> -> tensor<1x2x3x8xf32>
  return %y, %seen : tensor<1x2x3x8xf32>, tensor<3x3xi1>
}

// Rows and columns exchanged: keys before the query are hidden.
// CHECK-LABEL: func.func @keeps_earlier_keys_hidden
//       CHECK:   llm.attention {{.*}} mask
//   CHECK-NOT:   causal
func.func @keeps_earlier_keys_hidden(%q: tensor<1x2x3x8xf32>, %k: tensor<1x2x3x8xf32>, %v: tensor<1x2x3x8xf32>) -> (tensor<1x2x3x8xf32>) {
  %column = llm.constant dense<[0, 1, 2]> : tensor<3xi64>
  %row = llm.expand_dims %column axes = [1] : tensor<3xi64> -> tensor<3x1xi64>
  %seen = llm.compare ge %column, %row : tensor<3xi64>, tensor<3x1xi64> -> tensor<3x3xi1>
  %y = llm.attention %q, %k, %v mask %seen : tensor<3x3xi1> {scale = 0.25 : f32} : tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32> -> tensor<1x2x3x8xf32>
  return %y : tensor<1x2x3x8xf32>
}

// Made in f16: minus infinity and zero are the same in all types.
// CHECK-LABEL: func.func @mask_made_in_another_type
//       CHECK:   llm.attention %{{[^ ]+}}, %{{[^ ]+}}, %{{[^ ]+}} {causal
func.func @mask_made_in_another_type(%q: tensor<1x2x3x8xf32>, %k: tensor<1x2x3x8xf32>, %v: tensor<1x2x3x8xf32>) -> (tensor<1x2x3x8xf32>) {
  %column = llm.constant dense<[0, 1, 2]> : tensor<3xi64>
  %row = llm.expand_dims %column axes = [1] : tensor<3xi64> -> tensor<3x1xi64>
  %seen = llm.compare le %column, %row : tensor<3xi64>, tensor<3x1xi64> -> tensor<3x3xi1>
  %zero = llm.constant dense<0.0> : tensor<f16>
  %low = llm.constant dense<0xFC00> : tensor<f16>
  %h = llm.select %seen, %zero, %low : tensor<3x3xi1>, tensor<f16>, tensor<f16> -> tensor<3x3xf16>
  %m = llm.cast %h : tensor<3x3xf16> -> tensor<3x3xf32>
  %y = llm.attention %q, %k, %v mask %m : tensor<3x3xf32> {scale = 0.25 : f32} : tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32> -> tensor<1x2x3x8xf32>
  return %y : tensor<1x2x3x8xf32>
}

// A bias for each head and distance (T5) is added to the mask: the bias stays.
// CHECK-LABEL: func.func @bias_and_causal
//       CHECK:   llm.attention %{{[^ ]+}}, %{{[^ ]+}}, %{{[^ ]+}} mask %arg3 : tensor<1x2x3x3xf32> {causal
//   CHECK-NOT:   llm.add
func.func @bias_and_causal(%q: tensor<1x2x3x8xf32>, %k: tensor<1x2x3x8xf32>, %v: tensor<1x2x3x8xf32>, %bias: tensor<1x2x3x3xf32>) -> (tensor<1x2x3x8xf32>) {
  %column = llm.constant dense<[0, 1, 2]> : tensor<3xi64>
  %row = llm.expand_dims %column axes = [1] : tensor<3xi64> -> tensor<3x1xi64>
  %seen = llm.compare le %column, %row : tensor<3xi64>, tensor<3x1xi64> -> tensor<3x3xi1>
  %zero = llm.constant dense<0.0> : tensor<f32>
  %low = llm.constant dense<-3.40282347E+38> : tensor<f32>
  %h = llm.select %seen, %zero, %low : tensor<3x3xi1>, tensor<f32>, tensor<f32> -> tensor<3x3xf32>
  %m = llm.add %bias, %h : tensor<1x2x3x3xf32>, tensor<3x3xf32> -> tensor<1x2x3x3xf32>
  %y = llm.attention %q, %k, %v mask %m : tensor<1x2x3x3xf32> {scale = 0.25 : f32} : tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32> -> tensor<1x2x3x8xf32>
  return %y : tensor<1x2x3x8xf32>
}

// The number that is added beside the bias hides nothing.
// CHECK-LABEL: func.func @keeps_bias_and_small_number
//       CHECK:   llm.attention {{.*}} mask
//   CHECK-NOT:   causal
func.func @keeps_bias_and_small_number(%q: tensor<1x2x3x8xf32>, %k: tensor<1x2x3x8xf32>, %v: tensor<1x2x3x8xf32>, %bias: tensor<1x2x3x3xf32>) -> (tensor<1x2x3x8xf32>) {
  %column = llm.constant dense<[0, 1, 2]> : tensor<3xi64>
  %row = llm.expand_dims %column axes = [1] : tensor<3xi64> -> tensor<3x1xi64>
  %seen = llm.compare le %column, %row : tensor<3xi64>, tensor<3x1xi64> -> tensor<3x3xi1>
  %zero = llm.constant dense<0.0> : tensor<f32>
  %low = llm.constant dense<-1.0e4> : tensor<f32>
  %h = llm.select %seen, %zero, %low : tensor<3x3xi1>, tensor<f32>, tensor<f32> -> tensor<3x3xf32>
  %m = llm.add %bias, %h : tensor<1x2x3x3xf32>, tensor<3x3xf32> -> tensor<1x2x3x3xf32>
  %y = llm.attention %q, %k, %v mask %m : tensor<1x2x3x3xf32> {scale = 0.25 : f32} : tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32> -> tensor<1x2x3x8xf32>
  return %y : tensor<1x2x3x8xf32>
}

// A bias beside causality and padding.
// CHECK-LABEL: func.func @keeps_bias_and_padding
//       CHECK:   llm.attention {{.*}} mask
//   CHECK-NOT:   causal
func.func @keeps_bias_and_padding(%q: tensor<1x2x3x8xf32>, %k: tensor<1x2x3x8xf32>, %v: tensor<1x2x3x8xf32>, %bias: tensor<1x2x3x3xf32>, %pad: tensor<3xi1>) -> (tensor<1x2x3x8xf32>) {
  %column = llm.constant dense<[0, 1, 2]> : tensor<3xi64>
  %row = llm.expand_dims %column axes = [1] : tensor<3xi64> -> tensor<3x1xi64>
  %seen = llm.compare le %column, %row : tensor<3xi64>, tensor<3x1xi64> -> tensor<3x3xi1>
  %zero = llm.constant dense<0.0> : tensor<f32>
  %low = llm.constant dense<0xFF800000> : tensor<f32>
  %both = llm.and %seen, %pad : tensor<3x3xi1>, tensor<3xi1> -> tensor<3x3xi1>
  %h = llm.select %both, %zero, %low : tensor<3x3xi1>, tensor<f32>, tensor<f32> -> tensor<3x3xf32>
  %m = llm.add %bias, %h : tensor<1x2x3x3xf32>, tensor<3x3xf32> -> tensor<1x2x3x3xf32>
  %y = llm.attention %q, %k, %v mask %m : tensor<1x2x3x3xf32> {scale = 0.25 : f32} : tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32> -> tensor<1x2x3x8xf32>
  return %y : tensor<1x2x3x8xf32>
}
