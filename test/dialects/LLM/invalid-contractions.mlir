// RUN: llmopt-opt %s --split-input-file --verify-diagnostics

func.func @reduce_c1_axis_twice(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{has axes that do not rise}}
  %0 = llm.reduce sum %x axes = [1, 1] : tensor<2x3xf32> -> tensor<2xf32>
  return
}

// -----

func.func @reduce_c2_kept_by_mistake(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{has a result of shape [2, 1] where the operands give [2]}}
  %0 = llm.reduce sum %x axes = [1] : tensor<2x3xf32> -> tensor<2x1xf32>
  return
}

// -----

func.func @reduce_c3_type_changes(%x: tensor<2x3xf16>) {
  // expected-error@+1 {{has element types 'f16' and 'f32'}}
  %0 = llm.reduce sum %x axes = [1] : tensor<2x3xf16> -> tensor<2xf32>
  return
}

// -----

func.func @arg_reduce_c1_place_of_a_sum(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{finds the place of a max or min, not of a sum}}
  %0 = llm.arg_reduce sum %x {axis = 0 : i64} : tensor<2x3xf32> -> tensor<3xi64>
  return
}

// -----

func.func @arg_reduce_c2_no_such_axis(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{has axis 2, the tensor has 2 dimensions}}
  %0 = llm.arg_reduce max %x {axis = 2 : i64} : tensor<2x3xf32> -> tensor<3xi64>
  return
}

// -----

func.func @arg_reduce_c3_other_dimension(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{has a result of shape [2] where the operands give [3]}}
  %0 = llm.arg_reduce max %x {axis = 0 : i64} : tensor<2x3xf32> -> tensor<2xi64>
  return
}

// -----

func.func @matmul_c1_scalar(%x: tensor<f32>, %y: tensor<2xf32>) {
  // expected-error@+1 {{cannot multiply scalars}}
  %0 = llm.matmul %x, %y : tensor<f32>, tensor<2xf32> -> tensor<2xf32>
  return
}

// -----

func.func @matmul_c2_lengths_differ(%x: tensor<2x3xf32>, %y: tensor<4x5xf32>) {
  // expected-error@+1 {{sums over 3 elements on the left and 4 on the right}}
  %0 = llm.matmul %x, %y : tensor<2x3xf32>, tensor<4x5xf32> -> tensor<2x5xf32>
  return
}

// -----

func.func @matmul_c3_batches_differ(%x: tensor<2x1x3xf32>, %y: tensor<4x3x5xf32>) {
  // expected-error@+1 {{has leading dimensions that do not broadcast}}
  %0 = llm.matmul %x, %y : tensor<2x1x3xf32>, tensor<4x3x5xf32> -> tensor<4x1x5xf32>
  return
}

// -----

func.func @matmul_c4_row_kept(%x: tensor<3xf32>, %y: tensor<3x5xf32>) {
  // expected-error@+1 {{has a result of shape [1, 5] where the operands give [5]}}
  %0 = llm.matmul %x, %y : tensor<3xf32>, tensor<3x5xf32> -> tensor<1x5xf32>
  return
}

// -----

func.func @matmul_c5_float_and_integer(%x: tensor<2x3xi8>, %y: tensor<3x5xf32>) {
  // expected-error@+1 {{multiplies integers to i32 or their own type}}
  %0 = llm.matmul %x, %y : tensor<2x3xi8>, tensor<3x5xf32> -> tensor<2x5xi32>
  return
}

// -----

func.func @matmul_c5_e4m3_to_itself(%x: tensor<2x3xf8E4M3FN>, %y: tensor<3x5xf8E4M3FN>) {
  // expected-error@+1 {{multiplies f8E4M3FN to f32}}
  %0 = llm.matmul %x, %y : tensor<2x3xf8E4M3FN>, tensor<3x5xf8E4M3FN> -> tensor<2x5xf8E4M3FN>
  return
}

// -----

func.func @conv_c1_strides_missing(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x3x3xf32>) {
  // expected-error@+1 {{needs one or two spatial dimensions}}
  %0 = llm.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, groups = 1 : i64}
    : tensor<1x3x8x8xf32>, tensor<4x3x3x3xf32> -> tensor<1x4x6x6xf32>
  return
}

// -----

func.func @conv_c2_channels_do_not_fit(%x: tensor<1x4x8xf32>, %w: tensor<4x3x3xf32>) {
  // expected-error@+1 {{has 4 channels for 1 groups of 3}}
  %0 = llm.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, groups = 1 : i64}
    : tensor<1x4x8xf32>, tensor<4x3x3xf32> -> tensor<1x4x6xf32>
  return
}

// -----

func.func @conv_c3_bias_too_short(%x: tensor<1x3x8xf32>, %w: tensor<4x3x3xf32>, %b: tensor<3xf32>) {
  // expected-error@+1 {{has a bias [3] for 4 channels}}
  %0 = llm.conv %x, %w, %b {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, groups = 1 : i64}
    : tensor<1x3x8xf32>, tensor<4x3x3xf32>, tensor<3xf32> -> tensor<1x4x6xf32>
  return
}

// -----

func.func @conv_c4_channels_of_the_input(%x: tensor<1x3x8xf32>, %w: tensor<4x3x3xf32>) {
  // expected-error@+1 {{has a result of shape [1, 3, 6] where the operands give [1, 4, ?]}}
  %0 = llm.conv %x, %w {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>, groups = 1 : i64}
    : tensor<1x3x8xf32>, tensor<4x3x3xf32> -> tensor<1x3x6xf32>
  return
}

// -----

func.func @linear_c1_weight_is_a_vector(%x: tensor<2x3xf32>, %w: tensor<3xf32>) {
  // expected-error@+1 {{needs a weight of two dimensions}}
  %0 = llm.linear %x, %w : tensor<2x3xf32>, tensor<3xf32> -> tensor<2xf32>
  return
}

// -----

func.func @linear_c2_weight_turned_round(%x: tensor<2x3xf32>, %w: tensor<3x5xf32>) {
  // expected-error@+1 {{has input rows of 3 elements, the weight takes 5}}
  %0 = llm.linear %x, %w : tensor<2x3xf32>, tensor<3x5xf32> -> tensor<2x5xf32>
  return
}

// -----

func.func @linear_c3_bias_of_the_input(%x: tensor<2x3xf32>, %w: tensor<5x3xf32>, %b: tensor<3xf32>) {
  // expected-error@+1 {{has a bias [3] for 5 columns}}
  %0 = llm.linear %x, %w, %b : tensor<2x3xf32>, tensor<5x3xf32>, tensor<3xf32> -> tensor<2x5xf32>
  return
}

// -----

func.func @linear_c4_type_of_the_weight(%x: tensor<2x3xf32>, %w: tensor<5x3xbf16>) {
  // expected-error@+1 {{has element types 'f32' and 'bf16'}}
  %0 = llm.linear %x, %w : tensor<2x3xf32>, tensor<5x3xbf16> -> tensor<2x5xbf16>
  return
}

// -----

func.func @embedding_c1_table_is_a_vector(%i: tensor<2xi64>, %t: tensor<8xf32>) {
  // expected-error@+1 {{needs a table of two dimensions}}
  %0 = llm.embedding %i, %t : tensor<2xi64>, tensor<8xf32> -> tensor<2xf32>
  return
}

// -----

func.func @embedding_c2_row_missing(%i: tensor<2xi64>, %t: tensor<8x4xf32>) {
  // expected-error@+1 {{has a result of shape [2] where the operands give [2, 4]}}
  %0 = llm.embedding %i, %t : tensor<2xi64>, tensor<8x4xf32> -> tensor<2xf32>
  return
}

// -----

func.func @layer_norm_c1_scalar(%x: tensor<f32>) {
  // expected-error@+1 {{needs an input of at least one dimension}}
  %0 = llm.layer_norm %x {epsilon = 1.0e-5 : f32} : tensor<f32> -> tensor<f32>
  return
}

// -----

func.func @layer_norm_c2_bias_too_long(%x: tensor<2x3xf32>, %b: tensor<4xf32>) {
  // expected-error@+1 {{has a bias of shape [4], the last input dimension is [3]}}
  %0 = llm.layer_norm %x bias %b : tensor<4xf32> {epsilon = 1.0e-5 : f32} : tensor<2x3xf32> -> tensor<2x3xf32>
  return
}

// -----

func.func @layer_norm_c3_shape_changes(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{has a result of shape [3, 2] where the operands give [2, 3]}}
  %0 = llm.layer_norm %x {epsilon = 1.0e-5 : f32} : tensor<2x3xf32> -> tensor<3x2xf32>
  return
}

// -----

func.func @rms_norm_c1_scalar(%x: tensor<f32>) {
  // expected-error@+1 {{needs an input of at least one dimension}}
  %0 = llm.rms_norm %x {epsilon = 1.0e-5 : f32} : tensor<f32> -> tensor<f32>
  return
}

// -----

func.func @rms_norm_c2_scale_too_short(%x: tensor<2x3xf32>, %s: tensor<2xf32>) {
  // expected-error@+1 {{has a scale of shape [2], the last input dimension is [3]}}
  %0 = llm.rms_norm %x scale %s : tensor<2xf32> {epsilon = 1.0e-5 : f32} : tensor<2x3xf32> -> tensor<2x3xf32>
  return
}

// -----

func.func @rms_norm_c3_rank_changes(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{has a result of shape [6] where the operands give [2, 3]}}
  %0 = llm.rms_norm %x {epsilon = 1.0e-5 : f32} : tensor<2x3xf32> -> tensor<6xf32>
  return
}

// -----

func.func @softmax_c1_no_such_axis(%x: tensor<2x3xf32>) {
  // expected-error@+1 {{has axis 2, the tensor has 2 dimensions}}
  %0 = llm.softmax %x {axis = 2 : i64} : tensor<2x3xf32>
  return
}

// -----

func.func @windows_c1_kernel_of_one_dimension(%x: tensor<1x8x8x3xf32>) {
  // expected-error@+1 {{needs one or two spatial dimensions}}
  %0 = llm.windows %x kernel = [3] {strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : tensor<1x8x8x3xf32> -> tensor<1x6x6x27xf32>
  return
}

// -----

func.func @windows_c2_no_step(%x: tensor<1x8x3xf32>) {
  // expected-error@+1 {{needs kernel, strides and dilations of at least 1}}
  %0 = llm.windows %x kernel = [3] {strides = array<i64: 0>, pads = array<i64: 0, 0>, dilations = array<i64: 1>} : tensor<1x8x3xf32> -> tensor<1x6x9xf32>
  return
}

// -----

func.func @windows_c3_rows_of_one_position(%x: tensor<2x8x3xf32>) {
  // expected-error@+1 {{has a result of shape [2, 6, 3] where the operands give [2, ?, 9]}}
  %0 = llm.windows %x kernel = [3] {strides = array<i64: 1>, pads = array<i64: 0, 0>, dilations = array<i64: 1>} : tensor<2x8x3xf32> -> tensor<2x6x3xf32>
  return
}
