//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// .npy files and ONNX tensors. What is accepted holds as many bytes as its shape says.

#include "ScratchFile.h"
#include "llmopt/lib/Support/Npy.h"
#include "llmopt/lib/Support/TensorProto.h"

using namespace llmopt;

static void check(const Tensor &tensor) {
  int64_t count = 1;
  for (int64_t dim : tensor.shape())
    count *= dim;
  if (tensor.elements() != count)
    std::abort();
  for (int64_t i = 0; i < count; i += std::max<int64_t>(count - 1, 1)) // the first and the last
    (void)tensor.at(i);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string_view bytes(reinterpret_cast<const char *>(data), size);
  if (Result<Tensor> tensor = readNpy(fuzz::writeScratch("x.npy", bytes)))
    check(*tensor);
  if (Result<ProtoTensor> read = parseTensorProto(std::as_bytes(std::span(bytes)), "fuzz"))
    check(read->tensor);
  return 0;
}
