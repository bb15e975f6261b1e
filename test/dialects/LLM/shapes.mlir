// RUN: llmopt-opt %s --llmopt-print-shapes --verify-diagnostics

func.func @heads(%x: tensor<?x?x64xf32> {llm.dims = ["batch", "past + seq", 64]}) -> tensor<?x4x?x16xf32> {
  %split = llm.constant dense<[0, 0, 4, 16]> : tensor<4xi64>
  %0 = llm.reshape %x, %split : tensor<?x?x64xf32>, tensor<4xi64> -> tensor<?x?x4x16xf32>
  // expected-remark@+1 {{[batch, 4, past + seq, 16]}}
  %1 = llm.transpose %0 permutation = [0, 2, 1, 3] : tensor<?x?x4x16xf32> -> tensor<?x4x?x16xf32>
  return %1 : tensor<?x4x?x16xf32>
}
