// RUN: llmopt-opt %s --split-input-file --verify-diagnostics

func.func @group_rows_c1_flat(%e: tensor<6xi64>) {
  // expected-error@+1 {{needs numbers of two dimensions, and at least one expert}}
  %o, %s = llm.group_rows %e {experts = 3 : i64} : tensor<6xi64> -> tensor<6xi32>, tensor<4xi32>
  return
}

// -----

func.func @group_rows_c2_rows_lost(%e: tensor<3x2xi64>) {
  // expected-error@+1 {{has a result of shape [3, 1] where the operands give [3, 2]}}
  %o, %s = llm.group_rows %e {experts = 3 : i64} : tensor<3x2xi64> -> tensor<3x1xi32>, tensor<4xi32>
  return
}

// -----

func.func @group_rows_c3_no_end(%e: tensor<3x2xi64>) {
  // expected-error@+1 {{has a result of shape [3] where the operands give [4]}}
  %o, %s = llm.group_rows %e {experts = 3 : i64} : tensor<3x2xi64> -> tensor<3x2xi32>, tensor<3xi32>
  return
}

// -----

func.func @grouped_linear_c1_one_matrix(%x: tensor<3x4xf32>, %w: tensor<5x4xf32>, %o: tensor<3x2xi32>, %s: tensor<9xi32>) {
  // expected-error@+1 {{needs a weight of three dimensions, an order of two and an input of two or three}}
  %0 = llm.grouped_linear %x, %w, %o, %s : tensor<3x4xf32>, tensor<5x4xf32>, tensor<3x2xi32>, tensor<9xi32> -> tensor<3x2x5xf32>
  return
}

// -----

func.func @grouped_linear_c2_lengths_differ(%x: tensor<3x4xf32>, %w: tensor<8x5x6xf32>, %o: tensor<3x2xi32>, %s: tensor<9xi32>) {
  // expected-error@+1 {{has input rows of 4 elements, the weight takes 6}}
  %0 = llm.grouped_linear %x, %w, %o, %s : tensor<3x4xf32>, tensor<8x5x6xf32>, tensor<3x2xi32>, tensor<9xi32> -> tensor<3x2x5xf32>
  return
}

// -----

func.func @grouped_linear_c3_other_rows(%x: tensor<3x4x6xf32>, %w: tensor<8x5x6xf32>, %o: tensor<3x2xi32>, %s: tensor<9xi32>) {
  // expected-error@+1 {{has an order of shape [3, 2] for an input of shape [3, 4, 6]}}
  %0 = llm.grouped_linear %x, %w, %o, %s : tensor<3x4x6xf32>, tensor<8x5x6xf32>, tensor<3x2xi32>, tensor<9xi32> -> tensor<3x2x5xf32>
  return
}

// -----

func.func @grouped_linear_c4_one_offset_an_expert(%x: tensor<3x6xf32>, %w: tensor<8x5x6xf32>, %o: tensor<3x2xi32>, %s: tensor<8xi32>) {
  // expected-error@+1 {{has 8 offsets for 8 experts}}
  %0 = llm.grouped_linear %x, %w, %o, %s : tensor<3x6xf32>, tensor<8x5x6xf32>, tensor<3x2xi32>, tensor<8xi32> -> tensor<3x2x5xf32>
  return
}

// -----

func.func @grouped_linear_c5_choices_lost(%x: tensor<3x6xf32>, %w: tensor<8x5x6xf32>, %o: tensor<3x2xi32>, %s: tensor<9xi32>) {
  // expected-error@+1 {{has a result of shape [3, 5] where the operands give [3, 2, 5]}}
  %0 = llm.grouped_linear %x, %w, %o, %s : tensor<3x6xf32>, tensor<8x5x6xf32>, tensor<3x2xi32>, tensor<9xi32> -> tensor<3x5xf32>
  return
}
