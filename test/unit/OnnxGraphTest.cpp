//===- OnnxGraphTest.cpp - graphs that contradict themselves --------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "OnnxModelMaker.h"

#include <chrono>

using namespace llmopt;
using namespace llmopt::onnx;

namespace {

ModelMaker unary() {
  ModelMaker m;
  m.input("x", {"n", "4"});
  return m;
}

//===----------------------------------------------------------------------===//
// Operator sets
//===----------------------------------------------------------------------===//

TEST(OnnxGraph, OperatorSets) {
  for (int64_t opset : {1, 7, 11, 13, 17, 28}) {
    ModelMaker m(opset);
    m.input("x", {"2"});
    m.node("Abs", {"x"}, {"y"});
    m.output("y");
    EXPECT_IMPORTS(importMade(m));
  }
  for (int64_t opset : {0, 29, 314159}) {
    ModelMaker m(opset);
    m.output("x");
    m.input("x", {"2"});
    expectUnsupported(importMade(m), "opset " + std::to_string(opset) + " is not supported; llmopt reads opset 1 to 28");
  }
  ModelMaker missing;
  missing.model.clear_opset_import();
  expectBad(importMade(missing), "opset_import is missing");
  ModelMaker twice;
  twice.import("", 17);
  expectBad(importMade(twice), "twice");
}

TEST(OnnxGraph, OneErrorListsEverythingUnsupported) {
  ModelMaker m = unary();
  m.node("Foo", {"x"}, {"a"}).set_name("first");
  m.node("Foo", {"x"}, {"b"});
  m.node("Bar", {"x"}, {"c"}).set_domain("org.example");
  m.node("GridSample", {"a"}, {"d"}); // its input could not be made; it is listed all the same
  m.node("Abs", {"a"}, {"e"});    // this one not
  m.output("e");
  Status status = importMade(m);
  expectUnsupported(status, "Foo: the operator is not supported");
  std::string text = status.error().str();
  EXPECT_NE(text.find("node #0 'first' (Foo)"), std::string::npos) << text;
  EXPECT_NE(text.find("1 more with the same problem"), std::string::npos) << text;
  EXPECT_NE(text.find("org.example.Bar"), std::string::npos) << text;
  EXPECT_NE(text.find("GridSample"), std::string::npos) << text;
  EXPECT_EQ(text.find("Abs"), std::string::npos) << text;
}

//===----------------------------------------------------------------------===//
// Names and order
//===----------------------------------------------------------------------===//

TEST(OnnxGraph, UndefinedValue) {
  ModelMaker m = unary();
  m.node("Add", {"x", "ghost"}, {"y"}).set_name("sum");
  m.output("y");
  expectBad(importMade(m), "node #0 'sum' (Add) uses value 'ghost', which nothing defines");
  ModelMaker out = unary();
  out.output("ghost");
  expectBad(importMade(out), "ghost");
  ModelMaker none = unary();
  expectBad(importMade(none), "no outputs");
}

TEST(OnnxGraph, DefinedTwice) {
  ModelMaker m = unary();
  m.node("Abs", {"x"}, {"y"}).set_name("a");
  m.node("Neg", {"x"}, {"y"}).set_name("b");
  m.output("y");
  expectBad(importMade(m), "value 'y' is defined by node #0 'a' (Abs) and again by node #1 'b' (Neg)");
  ModelMaker input = unary();
  input.node("Abs", {"x"}, {"x"});
  expectBad(importMade(input), "value 'x' is an input or initializer");
}

// As ONNX Runtime has it.
TEST(OnnxGraph, LastConstantUnderANameHolds) {
  ModelMaker m = unary();
  m.node("Add", {"x", "c"}, {"y"});
  for (float value : {1.0f, 2.0f}) {
    auto *attribute = m.node("Constant", {}, {"c"}).add_attribute();
    attribute->set_name("value_float");
    attribute->set_type(1);
    attribute->set_f(value);
  }
  m.output("y");
  EXPECT_IMPORTS(importMade(m));
}

TEST(OnnxGraph, Cycle) {
  ModelMaker m = unary();
  m.node("Add", {"x", "b"}, {"a"}).set_name("first");
  m.node("Abs", {"a"}, {"b"}).set_name("second");
  m.output("a");
  Status status = importMade(m);
  expectBad(status, "cycle");
  EXPECT_NE(status.error().str().find("first"), std::string::npos);
  EXPECT_NE(status.error().str().find("second"), std::string::npos);
  ModelMaker self = unary();
  self.node("Add", {"x", "a"}, {"a"});
  self.output("a");
  expectBad(importMade(self), "cycle");
}

TEST(OnnxGraph, UnsortedNodesAndDoubleNames) {
  ModelMaker m = unary();
  m.node("Neg", {"a"}, {"y"}).set_name("same");
  m.node("Abs", {"x"}, {"a"}).set_name("same");
  m.output("y");
  EXPECT_IMPORTS(importMade(m));
}

TEST(OnnxGraph, MillionsAreCounted) {
  ModelMaker m = unary();
  std::string last = "x";
  for (int i = 0; i < 20000; ++i) { // a deep chain: no recursion
    std::string next = "v" + std::to_string(i);
    m.node("Abs", {last}, {next});
    last = next;
  }
  m.output(last);
  auto begin = std::chrono::steady_clock::now();
  EXPECT_IMPORTS(importMade(m));
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), 20);
  ModelMaker wide = unary();
  std::vector<std::string> names(20000, "x"); // one value with many users
  wide.node("Sum", names, {"y"});
  wide.output("y");
  EXPECT_IMPORTS(importMade(wide));
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

FunctionProto &function(ModelMaker &m, const std::string &name) {
  FunctionProto &f = *m.model.add_functions();
  f.set_domain("local");
  f.set_name(name);
  f.add_input("a");
  f.add_output("b");
  auto *import = f.add_opset_import();
  import->set_version(17);
  return f;
}

void call(google::protobuf::RepeatedPtrField<NodeProto> &nodes, const std::string &name, const std::string &in, const std::string &out) {
  ModelMaker::node(nodes, name, {in}, {out}).set_domain("local");
}

TEST(OnnxFunctions, RecursionIsNamed) {
  ModelMaker m = unary();
  m.import("local", 1);
  call(*function(m, "f").mutable_node(), "g", "a", "b");
  call(*function(m, "g").mutable_node(), "f", "a", "b");
  call(*m.graph().mutable_node(), "f", "x", "y");
  m.output("y");
  expectBad(importMade(m), "f->g->f");
}

TEST(OnnxFunctions, InliningBudget) {
  // Ten levels of ten calls: 10^10 nodes.
  ModelMaker m = unary();
  m.import("local", 1);
  for (int level = 0; level < 10; ++level) {
    FunctionProto &f = function(m, "f" + std::to_string(level));
    for (int i = 0; i < 10; ++i) {
      std::string in = i ? "t" + std::to_string(i - 1) : "a", out = i == 9 ? "b" : "t" + std::to_string(i);
      if (level == 0)
        ModelMaker::node(*f.mutable_node(), "Abs", {in}, {out});
      else
        call(*f.mutable_node(), "f" + std::to_string(level - 1), in, out);
    }
  }
  call(*m.graph().mutable_node(), "f9", "x", "y");
  m.output("y");
  expectError(importMade(m), ErrorKind::Limit, "nodes once functions are inlined");
}

TEST(OnnxFunctions, OverloadAndArity) {
  ModelMaker m = unary();
  m.import("local", 1);
  ModelMaker::node(*function(m, "f").mutable_node(), "Abs", {"a"}, {"b"});
  call(*m.graph().mutable_node(), "f", "x", "y");
  m.output("y");
  EXPECT_IMPORTS(importMade(m));
  ModelMaker overloaded = m;
  overloaded.graph().mutable_node(0)->set_overload("other");
  expectUnsupported(importMade(overloaded), "overload 'other'");
  ModelMaker standard = unary(); // an overload of a standard operator is not that operator
  standard.node("Abs", {"x"}, {"y"}).set_overload("odd");
  standard.output("y");
  expectUnsupported(importMade(standard), "overload 'odd'");
  ModelMaker arity = m;
  arity.graph().mutable_node(0)->add_input("x");
  expectBad(importMade(arity), "has 2 inputs");
}

TEST(OnnxGraph, UnknownFieldsAreIgnored) {
  ModelMaker m = unary();
  m.node("Abs", {"x"}, {"y"});
  m.output("y");
  EXPECT_IMPORTS(importBytes(m.model.SerializeAsString() + std::string("\xfa\x07\x03" "abc", 6))); // field 127
}

} // namespace
