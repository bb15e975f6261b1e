// RUN: llmopt-opt %s --split-input-file --verify-diagnostics

func.func @reshape_c1_shape_too_short(%x: tensor<6xf32>, %s: tensor<1xi64>) {
  // expected-error@+1 {{has a shape of shape [1], 2 entries are needed}}
  %0 = llm.reshape %x, %s : tensor<6xf32>, tensor<1xi64> -> tensor<2x3xf32>
  return
}

// -----

func.func @reshape_c2_elements_lost(%x: tensor<6xf32>, %s: tensor<2xi64>) {
  // expected-error@+1 {{turns 6 elements into 4}}
  %0 = llm.reshape %x, %s : tensor<6xf32>, tensor<2xi64> -> tensor<2x2xf32>
  return
}

// -----

func.func @reshape_c3_other_type(%x: tensor<6xf32>, %s: tensor<2xi64>) {
  // expected-error@+1 {{has element types 'f32' and 'i32'}}
  %0 = llm.reshape %x, %s : tensor<6xf32>, tensor<2xi64> -> tensor<2x3xi32>
  return
}

// -----

func.func @expand_dims_c1_axes_fall(%x: tensor<6xf32>) {
  // expected-error@+1 {{has axes that do not rise}}
  %0 = llm.expand_dims %x axes = [1, 0] : tensor<6xf32> -> tensor<1x1x6xf32>
  return
}

// -----

func.func @expand_dims_c2_in_the_wrong_place(%x: tensor<6xf32>) {
  // expected-error@+1 {{has a result of shape [1, 6] where the operands give [6, 1]}}
  %0 = llm.expand_dims %x axes = [1] : tensor<6xf32> -> tensor<1x6xf32>
  return
}

// -----

func.func @squeeze_c1_no_such_axis(%x: tensor<1x6xf32>) {
  // expected-error@+1 {{has axis 2, the tensor has 2 dimensions}}
  %0 = llm.squeeze %x axes = [2] : tensor<1x6xf32> -> tensor<6xf32>
  return
}

// -----

func.func @squeeze_c2_not_one(%x: tensor<1x6xf32>) {
  // expected-error@+1 {{removes dimension 1 of size 6}}
  %0 = llm.squeeze %x axes = [1] : tensor<1x6xf32> -> tensor<1xf32>
  return
}

// -----

func.func @squeeze_c3_too_much(%x: tensor<1x6xf32>) {
  // expected-error@+1 {{has a result of shape [] where the operands give [6]}}
  %0 = llm.squeeze %x axes = [0] : tensor<1x6xf32> -> tensor<f32>
  return
}

// -----

func.func @flatten_c1_axis_past_the_end(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{has axis 3, the tensor has 2 dimensions}}
  %0 = llm.flatten %x {axis = 3 : i64} : tensor<2x3xf32> -> tensor<6x1xf32>
  return
}

// -----

func.func @flatten_c2_joined_wrongly(%x: tensor<2x3x4xf32>) {
  // expected-error@+1 {{has a result of shape [2, 12] where the operands give [6, 4]}}
  %0 = llm.flatten %x {axis = 2 : i64} : tensor<2x3x4xf32> -> tensor<2x12xf32>
  return
}

// -----

func.func @transpose_c1_no_permutation(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{has no permutation of 2 dimensions}}
  %0 = llm.transpose %x permutation = [0, 0] : tensor<2x3xf32> -> tensor<2x2xf32>
  return
}

// -----

func.func @transpose_c2_not_permuted(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{has a result of shape [2, 3] where the operands give [3, 2]}}
  %0 = llm.transpose %x permutation = [1, 0] : tensor<2x3xf32> -> tensor<2x3xf32>
  return
}

// -----

func.func @broadcast_c1_rank_lost(%x: tensor<2x3xf32>, %s: tensor<3xi64>) {
  // expected-error@+1 {{cannot give shape [2, 3] from [2, 3]}}
  %0 = llm.broadcast %x, %s : tensor<2x3xf32>, tensor<3xi64> -> tensor<2x3xf32>
  return
}

// -----

func.func @broadcast_c2_repeats_more_than_one(%x: tensor<2xf32>, %s: tensor<1xi64>) {
  // expected-error@+1 {{cannot give shape [4] from [2]}}
  %0 = llm.broadcast %x, %s : tensor<2xf32>, tensor<1xi64> -> tensor<4xf32>
  return
}

// -----

func.func @tile_c1_count_missing(%x: tensor<2x3xf32>, %r: tensor<1xi64>) {
  // expected-error@+1 {{has repeats of shape [1], 2 entries are needed}}
  %0 = llm.tile %x, %r : tensor<2x3xf32>, tensor<1xi64> -> tensor<?x?xf32>
  return
}

// -----

func.func @tile_c2_rank_changes(%x: tensor<2x3xf32>, %r: tensor<2xi64>) {
  // expected-error@+1 {{has a result of shape [?] where the operands give [?, ?]}}
  %0 = llm.tile %x, %r : tensor<2x3xf32>, tensor<2xi64> -> tensor<?xf32>
  return
}

// -----

func.func @slice_c1_axis_twice(%x: tensor<2x3xf32>, %i: tensor<2xi64>) {
  // expected-error@+1 {{names axis 0 twice}}
  %0 = llm.slice %x, %i, %i axes = [0, 0] steps = [1, 1] : tensor<2x3xf32>, tensor<2xi64>, tensor<2xi64> -> tensor<?x3xf32>
  return
}

// -----

func.func @slice_c2_step_missing(%x: tensor<2x3xf32>, %i: tensor<2xi64>) {
  // expected-error@+1 {{has 1 steps for 2 axes}}
  %0 = llm.slice %x, %i, %i axes = [0, 1] steps = [1] : tensor<2x3xf32>, tensor<2xi64>, tensor<2xi64> -> tensor<?x?xf32>
  return
}

// -----

func.func @slice_c2_start_missing(%x: tensor<2x3xf32>, %i: tensor<1xi64>, %j: tensor<2xi64>) {
  // expected-error@+1 {{has starts of shape [1], 2 entries are needed}}
  %0 = llm.slice %x, %i, %j axes = [0, 1] steps = [1, 1] : tensor<2x3xf32>, tensor<1xi64>, tensor<2xi64> -> tensor<?x?xf32>
  return
}

// -----

func.func @slice_c3_step_of_zero(%x: tensor<2xf32>, %i: tensor<1xi64>) {
  // expected-error@+1 {{has a step of 0}}
  %0 = llm.slice %x, %i, %i axes = [0] steps = [0] : tensor<2xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<?xf32>
  return
}

// -----

func.func @slice_c4_other_dimension_changes(%x: tensor<2x3xf32>, %i: tensor<1xi64>) {
  // expected-error@+1 {{has a result of shape [1, 2] where the operands give [?, 3]}}
  %0 = llm.slice %x, %i, %i axes = [0] steps = [1] : tensor<2x3xf32>, tensor<1xi64>, tensor<1xi64> -> tensor<1x2xf32>
  return
}

// -----

func.func @concat_c1_no_such_axis(%x: tensor<2xf32>) {
  // expected-error@+1 {{has axis 1, the tensor has 1 dimensions}}
  %0 = llm.concat %x, %x {axis = 1 : i64} : tensor<2xf32>, tensor<2xf32> -> tensor<4xf32>
  return
}

// -----

func.func @concat_c2_rows_differ(%x: tensor<2x3xf32>, %y: tensor<2x4xf32>) {
  // expected-error@+1 {{joins [2, 3] and [2, 4]}}
  %0 = llm.concat %x, %y {axis = 0 : i64} : tensor<2x3xf32>, tensor<2x4xf32> -> tensor<4x3xf32>
  return
}

// -----

func.func @concat_c3_sum_is_wrong(%x: tensor<2x3xf32>, %y: tensor<2x4xf32>) {
  // expected-error@+1 {{has a result of shape [2, 8] where the operands give [2, 7]}}
  %0 = llm.concat %x, %y {axis = 1 : i64} : tensor<2x3xf32>, tensor<2x4xf32> -> tensor<2x8xf32>
  return
}

// -----

func.func @pad_c1_one_side_missing(%x: tensor<2x3xf32>, %p: tensor<2xi64>, %v: tensor<f32>) {
  // expected-error@+1 {{has pads of shape [2], 4 entries are needed}}
  %0 = llm.pad constant %x, %p, %v : tensor<2x3xf32>, tensor<2xi64>, tensor<f32> -> tensor<?x?xf32>
  return
}

// -----

func.func @pad_c2_value_is_a_vector(%x: tensor<2xf32>, %p: tensor<2xi64>, %v: tensor<1xf32>) {
  // expected-error@+1 {{needs a scalar to pad with}}
  %0 = llm.pad constant %x, %p, %v : tensor<2xf32>, tensor<2xi64>, tensor<1xf32> -> tensor<?xf32>
  return
}

// -----

func.func @pad_c3_rank_changes(%x: tensor<2xf32>, %p: tensor<2xi64>, %v: tensor<f32>) {
  // expected-error@+1 {{has a result of shape [?, ?] where the operands give [?]}}
  %0 = llm.pad constant %x, %p, %v : tensor<2xf32>, tensor<2xi64>, tensor<f32> -> tensor<?x?xf32>
  return
}

// -----

func.func @range_c1_no_scalar(%a: tensor<1xi64>, %b: tensor<i64>) {
  // expected-error@+1 {{needs scalars of the result's element type}}
  %0 = llm.range %a, %b, %b : tensor<1xi64>, tensor<i64>, tensor<i64> -> tensor<?xi64>
  return
}
