//===- OnnxModelMaker.h - small ONNX files for tests ------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_TEST_UNIT_ONNXMODELMAKER_H
#define LLMOPT_TEST_UNIT_ONNXMODELMAKER_H

#include "llmopt/frontends/Onnx.h"
#include "onnx.pb.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

namespace llmopt::onnx {

namespace fs = std::filesystem;

/// A folder of the test's own, removed at the end.
class Folder {
public:
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "llmopt-onnx-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  std::string file(const std::string &name) const { return (fs::path(path_) / name).string(); }
  std::string write(const std::string &name, const std::string &bytes) const {
    std::ofstream(file(name), std::ios::binary) << bytes;
    return file(name);
  }

private:
  std::string path_;
};

/// A model that is valid until a test breaks it.
struct ModelMaker {
  ModelProto model;

  explicit ModelMaker(int64_t opset = 17) {
    model.set_ir_version(8);
    import("", opset);
    model.mutable_graph()->set_name("g");
  }
  GraphProto &graph() { return *model.mutable_graph(); }
  void import(const std::string &domain, int64_t version) {
    auto *entry = model.add_opset_import();
    entry->set_domain(domain);
    entry->set_version(version);
  }
  static void describe(ValueInfoProto &info, const std::string &name, const std::vector<std::string> &dims, int type) {
    info.set_name(name);
    auto *tensor = info.mutable_type()->mutable_tensor_type();
    tensor->set_elem_type(type);
    tensor->mutable_shape();
    for (const std::string &dim : dims)
      if (!dim.empty() && (isdigit(dim[0]) || dim[0] == '-'))
        tensor->mutable_shape()->add_dim()->set_dim_value(std::stoll(dim));
      else
        tensor->mutable_shape()->add_dim()->set_dim_param(dim);
  }
  void input(const std::string &name, const std::vector<std::string> &dims, int type = 1) { describe(*graph().add_input(), name, dims, type); }
  void output(const std::string &name) { graph().add_output()->set_name(name); }
  static NodeProto &node(google::protobuf::RepeatedPtrField<NodeProto> &nodes, const std::string &op,
                         const std::vector<std::string> &inputs, const std::vector<std::string> &outputs) {
    NodeProto &proto = *nodes.Add();
    proto.set_op_type(op);
    for (const std::string &name : inputs)
      proto.add_input(name);
    for (const std::string &name : outputs)
      proto.add_output(name);
    return proto;
  }
  NodeProto &node(const std::string &op, const std::vector<std::string> &inputs, const std::vector<std::string> &outputs) {
    return node(*graph().mutable_node(), op, inputs, outputs);
  }
  static void attribute(NodeProto &node, const std::string &name, int64_t value) {
    auto *attribute = node.add_attribute();
    attribute->set_name(name);
    attribute->set_type(2);
    attribute->set_i(value);
  }
  TensorProto &initializer(const std::string &name, const std::vector<int64_t> &dims, int type = 1, size_t bytes = 0) {
    TensorProto &tensor = *graph().add_initializer();
    tensor.set_name(name);
    for (int64_t dim : dims)
      tensor.add_dims(dim);
    tensor.set_data_type(type);
    if (bytes)
      tensor.set_raw_data(std::string(bytes, '\0'));
    return tensor;
  }
  static void external(TensorProto &tensor, const std::vector<std::pair<std::string, std::string>> &entries) {
    tensor.set_data_location(1);
    for (const auto &[key, value] : entries) {
      auto *entry = tensor.add_external_data();
      entry->set_key(key);
      entry->set_value(value);
    }
  }
};

/// Imports bytes; the error, or "" when they are fine.
inline Status importBytes(const std::string &bytes, const OnnxOptions &options = {}, const Folder *where = nullptr) {
  Folder own;
  const Folder &folder = where ? *where : own;
  mlir::MLIRContext context;
  context.disableMultithreading();
  return importOnnx(context, folder.write("model.onnx", bytes), options).status();
}
inline Status importMade(const ModelMaker &maker, const OnnxOptions &options = {}, const Folder *where = nullptr) {
  return importBytes(maker.model.SerializeAsString(), options, where);
}

inline void expectError(const Status &status, ErrorKind kind, const std::string &text) {
  ASSERT_FALSE(status.ok()) << "expected: " << text;
  EXPECT_EQ(int(status.error().kind), int(kind)) << status.error().str();
  EXPECT_NE(status.error().str().find(text), std::string::npos) << "expected: " << text << "\nfound: " << status.error().str();
}
inline void expectBad(const Status &status, const std::string &text) { expectError(status, ErrorKind::BadInput, text); }
inline void expectUnsupported(const Status &status, const std::string &text) { expectError(status, ErrorKind::Unsupported, text); }
#define EXPECT_IMPORTS(...)                                                                                            \
  do {                                                                                                                 \
    Status importStatus = (__VA_ARGS__);                                                                               \
    EXPECT_TRUE(importStatus.ok()) << importStatus.error().str();                                                      \
  } while (false)

} // namespace llmopt::onnx

#endif // LLMOPT_TEST_UNIT_ONNXMODELMAKER_H
