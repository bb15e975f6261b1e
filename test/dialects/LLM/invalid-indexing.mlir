// RUN: llmopt-opt %s --split-input-file --verify-diagnostics

func.func @gather_c1_no_such_axis(%x: tensor<2x3xf32>, %i: tensor<4xi64>) {
  // expected-error@+1 {{has axis 2, the tensor has 2 dimensions}}
  %0 = llm.gather %x, %i {axis = 2 : i64} : tensor<2x3xf32>, tensor<4xi64> -> tensor<2x4xf32>
  return
}

// -----

func.func @gather_c2_axis_stays(%x: tensor<2x3xf32>, %i: tensor<4x5xi64>) {
  // expected-error@+1 {{has a result of shape [4, 3] where the operands give [4, 5, 3]}}
  %0 = llm.gather %x, %i {axis = 0 : i64} : tensor<2x3xf32>, tensor<4x5xi64> -> tensor<4x3xf32>
  return
}

// -----

func.func @gather_elements_c1_ranks_differ(%x: tensor<2x3xf32>, %i: tensor<4xi64>) {
  // expected-error@+1 {{has indices with 1 dimensions for 2}}
  %0 = llm.gather_elements %x, %i {axis = 0 : i64} : tensor<2x3xf32>, tensor<4xi64> -> tensor<4xf32>
  return
}

// -----

func.func @gather_elements_c2_shape_of_the_input(%x: tensor<2x3xf32>, %i: tensor<1x3xi64>) {
  // expected-error@+1 {{has a result of shape [2, 3] where the operands give [1, 3]}}
  %0 = llm.gather_elements %x, %i {axis = 0 : i64} : tensor<2x3xf32>, tensor<1x3xi64> -> tensor<2x3xf32>
  return
}

// -----

func.func @gather_nd_c1_all_batch(%x: tensor<2x3xf32>, %i: tensor<2x1xi64>) {
  // expected-error@+1 {{has 2 batch dimensions, more than the operands bear}}
  %0 = llm.gather_nd %x, %i {batch_dims = 2 : i64} : tensor<2x3xf32>, tensor<2x1xi64> -> tensor<2xf32>
  return
}

// -----

func.func @gather_nd_c2_tuple_too_long(%x: tensor<2x3xf32>, %i: tensor<2x3xi64>) {
  // expected-error@+1 {{indexes 3 dimensions of [2, 3]}}
  %0 = llm.gather_nd %x, %i {batch_dims = 0 : i64} : tensor<2x3xf32>, tensor<2x3xi64> -> tensor<2xf32>
  return
}

// -----

func.func @gather_nd_c3_slice_missing(%x: tensor<2x3xf32>, %i: tensor<5x1xi64>) {
  // expected-error@+1 {{has a result of shape [5] where the operands give [5, 3]}}
  %0 = llm.gather_nd %x, %i {batch_dims = 0 : i64} : tensor<2x3xf32>, tensor<5x1xi64> -> tensor<5xf32>
  return
}

// -----

func.func @scatter_elements_c1_updates_too_short(%x: tensor<2x3xf32>, %i: tensor<1x3xi64>, %u: tensor<1x2xf32>) {
  // expected-error@+1 {{has indices [1, 3] and updates [1, 2]}}
  %0 = llm.scatter_elements none %x, %i, %u {axis = 0 : i64} : tensor<2x3xf32>, tensor<1x3xi64>, tensor<1x2xf32> -> tensor<2x3xf32>
  return
}

// -----

func.func @scatter_elements_c2_shape_changes(%x: tensor<2x3xf32>, %i: tensor<1x3xi64>, %u: tensor<1x3xf32>) {
  // expected-error@+1 {{has a result of shape [1, 3] where the operands give [2, 3]}}
  %0 = llm.scatter_elements none %x, %i, %u {axis = 0 : i64} : tensor<2x3xf32>, tensor<1x3xi64>, tensor<1x3xf32> -> tensor<1x3xf32>
  return
}

// -----

func.func @scatter_nd_c1_tuple_too_long(%x: tensor<2xf32>, %i: tensor<1x2xi64>, %u: tensor<1xf32>) {
  // expected-error@+1 {{cannot index [2] with [1, 2]}}
  %0 = llm.scatter_nd none %x, %i, %u : tensor<2xf32>, tensor<1x2xi64>, tensor<1xf32> -> tensor<2xf32>
  return
}

// -----

func.func @scatter_nd_c2_slice_missing(%x: tensor<2x3xf32>, %i: tensor<1x1xi64>, %u: tensor<1xf32>) {
  // expected-error@+1 {{has updates [1] where the indices ask for [1, 3]}}
  %0 = llm.scatter_nd none %x, %i, %u : tensor<2x3xf32>, tensor<1x1xi64>, tensor<1xf32> -> tensor<2x3xf32>
  return
}

// -----

func.func @scatter_nd_c3_type_changes(%x: tensor<2xf32>, %i: tensor<1x1xi64>, %u: tensor<1xf16>) {
  // expected-error@+1 {{has element types 'f32' and 'f16'}}
  %0 = llm.scatter_nd none %x, %i, %u : tensor<2xf32>, tensor<1x1xi64>, tensor<1xf16> -> tensor<2xf32>
  return
}

// -----

func.func @cumsum_c1_no_such_axis(%x: tensor<2xf32>) {
  // expected-error@+1 {{has axis 1, the tensor has 1 dimensions}}
  %0 = llm.cumsum %x {axis = 1 : i64} : tensor<2xf32> -> tensor<2xf32>
  return
}

// -----

func.func @topk_c1_two_counts(%x: tensor<5xf32>, %k: tensor<2xi64>) {
  // expected-error@+1 {{has k of shape [2], 1 entries are needed}}
  %0, %1 = llm.topk %x, %k {axis = 0 : i64, largest = true} : tensor<5xf32>, tensor<2xi64> -> tensor<2xf32>, tensor<2xi64>
  return
}

// -----

func.func @topk_c2_indices_of_another_shape(%x: tensor<5xf32>, %k: tensor<1xi64>) {
  // expected-error@+1 {{has a result of shape [3] where the operands give [2]}}
  %0, %1 = llm.topk %x, %k {axis = 0 : i64, largest = true} : tensor<5xf32>, tensor<1xi64> -> tensor<2xf32>, tensor<3xi64>
  return
}
