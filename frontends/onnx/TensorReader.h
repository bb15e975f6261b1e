//===- TensorReader.h - tensors of an ONNX file -----------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_ONNX_TENSORREADER_H
#define LLMOPT_FRONTENDS_ONNX_TENSORREADER_H

#include "llmopt/lib/Support/File.h"
#include "llmopt/lib/Support/WeightStore.h"

#include <map>

namespace llmopt::onnx {

class TensorProto;

/// TensorProto.data_type
enum OnnxType : int32_t {
  Undefined = 0, Float = 1, UInt8 = 2, Int8 = 3, UInt16 = 4, Int16 = 5, Int32 = 6, Int64 = 7, String = 8, Bool = 9,
  Float16 = 10, Double = 11, UInt32 = 12, UInt64 = 13, Complex64 = 14, Complex128 = 15, BFloat16 = 16, Float8E4M3FN = 17,
  Float8E4M3FNUZ = 18, Float8E5M2 = 19, Float8E5M2FNUZ = 20, UInt4 = 21, Int4 = 22, Float4E2M1 = 23, Float8E8M0 = 24,
  UInt2 = 25, Int2 = 26, Float6E2M3 = 27, Float6E3M2 = 28,
};

/// "FLOAT16", or "data type 999".
std::string onnxTypeName(int32_t type);
/// The reverse; 999 for what is no such name.
int32_t onnxTypeNumber(const std::string &name);
/// E0605 for numbers the format does not have, unsupported for those llmopt does not have.
Result<DType> dtypeOf(int32_t type, const std::string &context);

/// Files that hold external data, opened beneath one folder and kept mapped as long as a tensor needs them.
class ExternalFiles {
public:
  explicit ExternalFiles(std::string folder) : folder_(std::move(folder)) {}

  /// The bytes that `tensor` points to; `needed` is how many its shape asks for.
  Result<StoredWeight> read(const TensorProto &tensor, uint64_t needed, const std::string &context);
  std::vector<std::string> takeWarnings() { return std::move(warnings_); }

private:
  Result<std::shared_ptr<const MappedFile>> open(const std::string &location, const std::string &context);

  std::string folder_;
  std::map<std::string, std::shared_ptr<const MappedFile>> files_;
  std::vector<std::string> warnings_;
};

/// Checks dims, type and size, and gives the elements as bytes in the element type's size. Elements of less than 8
/// bits become one byte each. `owner` keeps the message alive; `external` may be null (no external data allowed).
Result<StoredWeight> readTensor(const TensorProto &tensor, const std::shared_ptr<const void> &owner, ExternalFiles *external,
                                const std::string &context);

} // namespace llmopt::onnx

#endif // LLMOPT_FRONTENDS_ONNX_TENSORREADER_H
