//===- OnnxImportTest.cpp - what comes out of an import -------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "OnnxModelMaker.h"

#include "llmopt/dialects/LLM/LLM.h"

using namespace llmopt;
using namespace llmopt::onnx;

namespace {

struct Imported {
  Folder folder;
  mlir::MLIRContext context;
  std::optional<ImportedModel> model;

  explicit Imported(const ModelMaker &m, const OnnxOptions &options = {}) {
    auto result = importOnnx(context, folder.write("model.onnx", m.model.SerializeAsString()), options);
    EXPECT_TRUE(result.ok()) << result.error().str();
    if (result)
      model = result.take();
  }
  mlir::func::FuncOp main() { return model->module->lookupSymbol<mlir::func::FuncOp>("main"); }
  std::string text() {
    std::string out;
    llvm::raw_string_ostream stream(out);
    main().print(stream);
    return out;
  }
  template <typename Op>
  int count() {
    int n = 0;
    main().walk([&](Op) { ++n; });
    return n;
  }
};

std::string dims(mlir::func::FuncOp f, unsigned i) {
  std::string out;
  llvm::raw_string_ostream stream(out);
  stream << f.getArgAttr(i, llm::kDimsAttr);
  return out;
}

TEST(OnnxImport, DimensionsByName) {
  ModelMaker m;
  m.input("ids", {"batch", "sequence"}, 7);
  m.input("past", {"batch", "past"}, 7);
  m.input("mask", {"batch", "past + sequence"}, 7);
  m.input("other", {"batch-size", "unk__1", ""}, 7);
  for (const char *name : {"ids", "past", "mask", "other"})
    m.output(name);
  Imported i(m);
  EXPECT_EQ(dims(i.main(), 0), "[\"batch\", \"sequence\"]");
  EXPECT_EQ(dims(i.main(), 2), "[\"batch\", \"past + sequence\"]");
  EXPECT_EQ(dims(i.main(), 3), "[\"batch_size\", \"unk__1\", \"other_2\"]"); // names, not sums
  EXPECT_EQ(i.main().getArgAttrOfType<mlir::StringAttr>(1, "llm.name"), "past");
  EXPECT_EQ(i.main().getResultAttrOfType<mlir::StringAttr>(3, "llm.name"), "other");
}

TEST(OnnxImport, DimensionsFixedWhenCompiling) {
  ModelMaker m;
  m.input("ids", {"batch", "sequence"}, 7);
  m.input("mask", {"batch", "sequence + 2"}, 7);
  m.output("mask");
  OnnxOptions options;
  options.fixedDims = {{"batch", 1}, {"sequence", 8}};
  Imported i(m, options);
  EXPECT_EQ(dims(i.main(), 1), "[1, 10]");
  options.fixedDims = {{"nothing", 1}};
  expectError(importMade(m, options), ErrorKind::Usage, "no input has a dimension named 'nothing'");
}

TEST(OnnxImport, NamesAreLocations) {
  ModelMaker m;
  m.input("x", {"n"});
  m.node("Abs", {"x"}, {"y"}).set_name("/model/abs");
  m.output("y");
  Imported i(m);
  mlir::Operation *op = nullptr;
  i.main().walk([&](llm::AbsOp abs) { op = abs; });
  ASSERT_TRUE(op);
  EXPECT_EQ(mlir::cast<mlir::NameLoc>(op->getLoc()).getName(), "/model/abs");
}

TEST(OnnxImport, LargeTensorsAreWeights) {
  ModelMaker m;
  m.input("x", {"n"});
  m.initializer("small", {4}, 1, 16);
  m.initializer("large", {2048}, 1, 8192);
  m.node("Add", {"x", "small"}, {"a"});
  m.node("Add", {"x", "large"}, {"b"});
  m.output("a");
  m.output("b");
  Imported i(m);
  EXPECT_EQ(i.count<llm::WeightOp>(), 1);
  EXPECT_EQ(i.count<llm::ConstantOp>(), 1);
  const StoredWeight *weight = i.model->weights.find("large");
  ASSERT_TRUE(weight);
  EXPECT_EQ(weight->bytes.size(), 8192u);
}

TEST(OnnxImport, InitializersThatAreInputsAreConstants) {
  ModelMaker m; // as before IR version 4
  m.input("x", {"n"});
  m.input("w", {"4"});
  m.initializer("w", {4}, 1, 16);
  m.node("Add", {"x", "w"}, {"y"});
  m.output("y");
  EXPECT_EQ(Imported(m).main().getNumArguments(), 1u);
}

TEST(OnnxImport, IfOnAConstantIsFolded) {
  ModelMaker m;
  m.input("x", {"n", "3"});
  // The rank of x, compared with 2: known now.
  m.node("Shape", {"x"}, {"s"});
  m.node("Size", {"s"}, {"rank"});
  m.initializer("two", {}, 7).add_int64_data(2);
  m.node("Equal", {"rank", "two"}, {"c"});
  NodeProto &choice = m.node("If", {"c"}, {"y"});
  for (const char *name : {"then_branch", "else_branch"}) {
    auto *attribute = choice.add_attribute();
    attribute->set_name(name);
    attribute->set_type(5);
    ModelMaker::node(*attribute->mutable_g()->mutable_node(), name[0] == 't' ? "Exp" : "Unknown", {"x"}, {name});
    attribute->mutable_g()->add_output()->set_name(name);
  }
  m.output("y");
  Imported i(m);
  EXPECT_EQ(i.count<llm::ExpOp>(), 1);
}

TEST(OnnxImport, FunctionsAreInlinedWithTheirAttributes) {
  ModelMaker m;
  m.import("local", 1);
  m.input("x", {"2", "3"});
  FunctionProto &f = *m.model.add_functions();
  f.set_domain("local");
  f.set_name("softmax_of");
  f.add_input("a");
  f.add_output("b");
  f.add_attribute("along");
  NodeProto &inner = ModelMaker::node(*f.mutable_node(), "Softmax", {"a"}, {"b"});
  inner.set_name("inner");
  auto *reference = inner.add_attribute();
  reference->set_name("axis");
  reference->set_type(2);
  reference->set_ref_attr_name("along");
  NodeProto &call = m.node("softmax_of", {"x"}, {"y"});
  call.set_domain("local");
  call.set_name("outer");
  ModelMaker::attribute(call, "along", 0);
  m.output("y");
  Imported i(m);
  llm::SoftmaxOp softmax;
  i.main().walk([&](llm::SoftmaxOp op) { softmax = op; });
  ASSERT_TRUE(softmax);
  EXPECT_EQ(softmax.getAxis(), 0);
  EXPECT_EQ(mlir::cast<mlir::NameLoc>(softmax.getLoc()).getName(), "outer/inner");
}

TEST(OnnxImport, ShapesThatDependOnDataAreUnsupported) {
  ModelMaker m;
  m.input("x", {"n", "3"});
  m.node("NonZero", {"x"}, {"y"});
  m.output("y");
  expectUnsupported(importMade(m), "its shape depends on tensor data");
}

TEST(OnnxImport, ContradictionsName) {
  ModelMaker m;
  m.input("x", {"2", "3"});
  m.input("y", {"4", "5"});
  m.input("i", {"3"}, 7);
  m.node("MatMul", {"x", "y"}, {"a"}).set_name("product");
  m.output("a");
  expectBad(importMade(m), "cannot multiply f32[2, 3] and f32[4, 5]");
  m.graph().mutable_node(0)->set_op_type("Add");
  expectBad(importMade(m), "do not broadcast");
  m.graph().mutable_node(0)->set_input(1, "i");
  expectBad(importMade(m), "different element types");
}

TEST(OnnxImport, BlockQuantizedWeights) {
  auto nbits = [](int64_t bits, int64_t block, int64_t k, size_t bytes, int64_t prepacked) {
    ModelMaker m(21);
    m.import("com.microsoft", 1);
    m.input("x", {"n", "64"});
    m.initializer("b", {4, k / block ? k / block : 1, int64_t(bytes) / 4 / (k / block ? k / block : 1)}, 2, bytes);
    m.initializer("s", {4 * (k / block)}, 1, size_t(16 * (k / block)));
    NodeProto &node = m.node("MatMulNBits", {"x", "b", "s"}, {"y"});
    node.set_domain("com.microsoft");
    ModelMaker::attribute(node, "K", k);
    ModelMaker::attribute(node, "N", 4);
    ModelMaker::attribute(node, "bits", bits);
    ModelMaker::attribute(node, "block_size", block);
    ModelMaker::attribute(node, "weight_prepacked", prepacked);
    m.output("y");
    return importMade(m);
  };
  EXPECT_IMPORTS(nbits(4, 32, 64, 4 * 32, 0));
  expectBad(nbits(4, 24, 64, 4 * 32, 0), "block_size is 24");
  expectBad(nbits(3, 32, 64, 4 * 32, 0), "bits is 3");
  expectBad(nbits(4, 32, 128, 4 * 64, 0), "K is 128");
  expectBad(nbits(4, 32, 64, 4 * 32 - 8, 0), "do not go with");
  expectUnsupported(nbits(4, 32, 64, 4 * 32, 2), "prepacking");
}

// Grouped products where all weights are constants; where one is computed, every expert is computed.
TEST(OnnxImport, ExpertsAreGroupedWhereTheirWeightsAreConstant) {
  auto products = [](bool constant, bool third) {
    ModelMaker m(21);
    m.import("com.microsoft", 1);
    m.input("x", {"n", "4"});
    m.input("router", {"n", "3"});
    m.initializer("first", {3, 5, 4}, 1, 240);
    std::vector<std::string> inputs{"x", "router", "first", "", "second", ""};
    if (constant)
      m.initializer("second", {3, 4, 5}, 1, 240);
    else
      m.input("second", {"3", "4", "5"});
    if (third) {
      m.initializer("third", {3, 5, 4}, 1, 240);
      inputs.push_back("third");
    }
    NodeProto &node = m.node("MoE", inputs, {"y"});
    node.set_domain("com.microsoft");
    ModelMaker::attribute(node, "k", 2);
    m.output("y");
    Imported i(m);
    return std::pair(i.count<llm::GroupedLinearOp>(), i.count<llm::MatMulOp>());
  };
  EXPECT_EQ(products(true, false), std::pair(2, 0));
  EXPECT_EQ(products(true, true), std::pair(3, 0));
  EXPECT_EQ(products(false, false), std::pair(0, 2));
}

TEST(OnnxImport, ConstantBombsStaySmall) {
  ModelMaker m;
  m.input("x", {"1"});
  m.initializer("shape", {1}, 7).add_int64_data(int64_t(1) << 40);
  m.node("Expand", {"x", "shape"}, {"y"});
  m.node("ConstantOfShape", {"shape"}, {"z"});
  m.node("Add", {"y", "z"}, {"r"});
  m.output("r");
  EXPECT_IMPORTS(importMade(m)); // no such tensor is made while importing
}

} // namespace
