// The same functions give the same results as they stand, taken apart, and through print and parse.
// RUN: llmopt-opt %s --llmopt-interpret -o /dev/null
// RUN: llmopt-opt %s --llmopt-decompose --llmopt-interpret -o /dev/null
// RUN: llmopt-opt %s --canonicalize --cse | llmopt-opt --llmopt-interpret | FileCheck %s

// CHECK: // @printed#0: f32[2] = -1 2.5
func.func @printed() -> tensor<2xf32> {
  %0 = llm.constant dense<[-1.0, 2.5]> : tensor<2xf32>
  return %0 : tensor<2xf32>
}

func.func @rows_of_equal_values(%x: tensor<2x2xf32>, %s: tensor<2xf32>) -> tensor<2x2xf32>
    attributes {llm.inputs = [dense<[[3.0, 3.0], [0.0, 0.0]]> : tensor<2x2xf32>, dense<[1.0, 2.0]> : tensor<2xf32>],
                llm.expected = [dense<[[1.0, 2.0], [0.0, 0.0]]> : tensor<2x2xf32>], llm.tolerance = 1.0e-5 : f64} {
  %0 = llm.rms_norm %x scale %s : tensor<2xf32> {epsilon = 1.0e-6 : f32} : tensor<2x2xf32> -> tensor<2x2xf32>
  return %0 : tensor<2x2xf32>
}

func.func @softmax_of_equals(%x: tensor<?x3xf32>) -> tensor<?x3xf32>
    attributes {llm.inputs = [dense<7.0> : tensor<1x3xf32>], llm.expected = [dense<0.33333333> : tensor<1x3xf32>],
                llm.tolerance = 1.0e-6 : f64} {
  %0 = llm.softmax %x {axis = 1 : i64} : tensor<?x3xf32>
  return %0 : tensor<?x3xf32>
}

// The second query sees both keys, the first one only its own.
func.func @causal(%q: tensor<1x1x2x1xf32>, %v: tensor<1x1x2x1xf32>) -> tensor<1x1x2x1xf32>
    attributes {llm.inputs = [dense<0.0> : tensor<1x1x2x1xf32>, dense<[[[[1.0], [3.0]]]]> : tensor<1x1x2x1xf32>],
                llm.expected = [dense<[[[[1.0], [2.0]]]]> : tensor<1x1x2x1xf32>], llm.tolerance = 1.0e-6 : f64} {
  %0 = llm.attention %q, %q, %v {scale = 1.0 : f32, causal} : tensor<1x1x2x1xf32>, tensor<1x1x2x1xf32>, tensor<1x1x2x1xf32> -> tensor<1x1x2x1xf32>
  return %0 : tensor<1x1x2x1xf32>
}
