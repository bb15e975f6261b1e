// RUN: llmopt-opt %s --split-input-file --verify-diagnostics

func.func @elementwise_c1_shapes_do_not_broadcast(%a: tensor<2x3xf32>, %b: tensor<2xf32>) {
  // expected-error@+1 {{has operands of shapes [2, 3] and [2] that do not broadcast}}
  %0 = llm.add %a, %b : tensor<2x3xf32>, tensor<2xf32> -> tensor<2x3xf32>
  return
}

// -----

func.func @elementwise_c2_result_too_short(%a: tensor<2x1xf32>, %b: tensor<3xf32>) {
  // expected-error@+1 {{has a result of shape [2, 1] where the operands give [2, 3]}}
  %0 = llm.mul %a, %b : tensor<2x1xf32>, tensor<3xf32> -> tensor<2x1xf32>
  return
}

// -----

func.func @elementwise_c2_static_decides_over_dynamic(%a: tensor<?xf32>, %b: tensor<3xf32>) {
  // expected-error@+1 {{has a result of shape [4] where the operands give [3]}}
  %0 = llm.mul %a, %b : tensor<?xf32>, tensor<3xf32> -> tensor<4xf32>
  return
}

// -----

func.func @elementwise_c3_mixed_element_types(%a: tensor<3xf32>, %b: tensor<3xf16>) {
  // expected-error@+1 {{has element types 'f16' and 'f32' where one is needed}}
  %0 = llm.sub %a, %b : tensor<3xf32>, tensor<3xf16> -> tensor<3xf32>
  return
}

// -----

func.func @elementwise_c3_select_of_two_types(%c: tensor<3xi1>, %a: tensor<3xi32>, %b: tensor<3xi64>) {
  // expected-error@+1 {{has element types 'i64' and 'i32' where one is needed}}
  %0 = llm.select %c, %a, %b : tensor<3xi1>, tensor<3xi32>, tensor<3xi64> -> tensor<3xi32>
  return
}

// -----

func.func @elementwise_c3_compared_types_differ(%a: tensor<3xi32>, %b: tensor<3xi64>) {
  // expected-error@+1 {{has element types 'i32' and 'i64' where one is needed}}
  %0 = llm.compare lt %a, %b : tensor<3xi32>, tensor<3xi64> -> tensor<3xi1>
  return
}

// -----

func.func @elementwise_c4_bitcast_of_another_width(%a: tensor<3xf32>) {
  // expected-error@+1 {{has element types 'f32' and 'i16' of different widths}}
  %0 = llm.bitcast %a : tensor<3xf32> -> tensor<3xi16>
  return
}
