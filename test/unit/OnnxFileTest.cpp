//===- OnnxFileTest.cpp - damaged files and tensors -----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "OnnxModelMaker.h"

#include "llmopt/lib/Support/File.h"

using namespace llmopt;
using namespace llmopt::onnx;

namespace {

std::string dataFolder() {
  const char *folder = std::getenv("LLMOPT_TEST_DATA");
  return folder ? folder : "../shared/data";
}

/// y = x + w, with an initializer w the test breaks.
ModelMaker addModel() {
  ModelMaker m;
  m.input("x", {"n"});
  m.node("Add", {"x", "w"}, {"y"});
  m.output("y");
  return m;
}

//===----------------------------------------------------------------------===//
// The file
//===----------------------------------------------------------------------===//

TEST(OnnxFile, EmptyFile) { expectBad(importBytes(""), "file is empty (0 bytes)"); }

TEST(OnnxFile, MissingFile) {
  mlir::MLIRContext context;
  expectBad(importOnnx(context, "/nowhere/model.onnx").status(), "/nowhere/model.onnx");
}

TEST(OnnxFile, NoProtobuf) {
  expectBad(importBytes("no model"), "truncated or corrupt protobuf at byte");
  expectBad(importBytes(std::string(100, '\0')), "truncated or corrupt protobuf at byte 0");
}

TEST(OnnxFile, OtherFormatsAreNamed) {
  expectBad(importBytes("GGUF\x03"), "GGUF, which llmopt does not read; give the Hugging Face folder");
  expectBad(importBytes("PK\x03\x04 this is a zip file"), "zip archive, as torch.save makes it; export the model to ONNX");
  expectBad(importBytes(std::string("\x02\0\0\0\0\0\0\0{}", 10)), "safetensors, weights alone; give the folder");
  expectBad(importBytes("{\"model_type\": \"llama\"}"), "JSON; give the folder");
  expectBad(importBytes("LLMOPT\x1a\n"), "llmopt-run runs it");
}

TEST(OnnxFile, TruncatedAtEveryKiB) {
  ModelMaker m = addModel();
  m.initializer("w", {64}, 1, 256);
  m.initializer("unused", {4096}, 1, 4 * 4096);
  for (int i = 0; i < 300; ++i)
    m.node("Abs", {i ? "a" + std::to_string(i - 1) : "y"}, {"a" + std::to_string(i)});
  std::string bytes = m.model.SerializeAsString();
  EXPECT_IMPORTS(importBytes(bytes));
  for (size_t cut = 1024; cut < bytes.size(); cut += 1024)
    expectBad(importBytes(bytes.substr(0, cut)), "truncated or corrupt protobuf at byte");
}

TEST(OnnxFile, TruncatedRealModel) {
  auto text = readTextFile(dataFolder() + "/capp-gpt/model.onnx");
  if (!text)
    GTEST_SKIP() << "no test data";
  EXPECT_IMPORTS(importBytes(*text));
  for (size_t cut = 1024; cut < text->size(); cut += 1024) {
    Status status = importBytes(text->substr(0, cut));
    ASSERT_FALSE(status.ok()) << "cut at " << cut;
    EXPECT_EQ(int(status.error().kind), 1) << status.error().str();
  }
}

ModelMaker nestedIfs(int depth) {
  ModelMaker m;
  m.input("x", {"n"});
  m.initializer("c", {}, 9, 1);
  GraphProto *graph = &m.graph();
  for (int i = 0; i < depth; ++i) {
    NodeProto &node = ModelMaker::node(*graph->mutable_node(), "If", {"c"}, {"r" + std::to_string(i)});
    for (const char *name : {"then_branch", "else_branch"}) {
      auto *attribute = node.add_attribute();
      attribute->set_name(name);
      attribute->set_type(5);
      GraphProto *branch = attribute->mutable_g();
      if (std::string(name) == "then_branch" || i + 1 == depth) {
        ModelMaker::node(*branch->mutable_node(), "Abs", {"x"}, {std::string(name) + std::to_string(i)});
        branch->add_output()->set_name(std::string(name) + std::to_string(i));
      } else {
        branch->add_output()->set_name("r" + std::to_string(i + 1));
      }
    }
    graph = node.mutable_attribute(1)->mutable_g();
  }
  m.output("r0");
  return m;
}

TEST(OnnxFile, NestingOfSubgraphs) {
  EXPECT_IMPORTS(importMade(nestedIfs(33)));
  expectBad(importMade(nestedIfs(34)), "subgraph nesting exceeds 33");
  expectBad(importMade(nestedIfs(400)), "subgraph nesting exceeds 33");
}

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

Status importTensor(const std::vector<int64_t> &dims, int type, size_t bytes) {
  ModelMaker m = addModel();
  m.initializer("w", dims, type, bytes);
  return importMade(m);
}

TEST(OnnxTensor, Dimensions) {
  EXPECT_IMPORTS(importTensor({1}, 1, 4));
  expectBad(importTensor({-1, 4}, 1, 16), "negative");
  expectBad(importTensor({int64_t(1) << 40, int64_t(1) << 40}, 1, 16), "overflow");
  expectBad(importTensor({int64_t(1) << 62}, 1, 16), "overflow");
  expectBad(importTensor(std::vector<int64_t>(70, 1), 1, 4), "rank 70 > 32");
}

TEST(OnnxTensor, ElementTypes) {
  expectBad(importTensor({1}, 0, 4), "UNDEFINED");
  expectBad(importTensor({1}, 999, 4), "data type 999");
  expectUnsupported(importTensor({1}, 8, 4), "STRING");
  expectUnsupported(importTensor({1}, 14, 8), "COMPLEX64");
}

TEST(OnnxTensor, Sizes) {
  expectBad(importTensor({3}, 1, 8), "the data has 8 bytes, the shape needs 12");
  expectBad(importTensor({3}, 1, 16), "the data has 16 bytes");
  expectBad(importTensor({3}, 22, 1), "the data has 1 bytes, the shape needs 2"); // INT4
  ModelMaker m = addModel();
  m.initializer("w", {2}).add_float_data(1);
  expectBad(importMade(m), "the data has 4 bytes, the shape needs 8");
}

//===----------------------------------------------------------------------===//
// External data
//===----------------------------------------------------------------------===//

struct ExternalCase {
  Folder folder;
  Status import(std::vector<std::pair<std::string, std::string>> entries) {
    ModelMaker m = addModel();
    ModelMaker::external(m.initializer("w", {4}), entries);
    return importMade(m, {}, &folder);
  }
};

TEST(OnnxExternal, Ranges) {
  ExternalCase c;
  c.folder.write("w.bin", std::string(64, '\0'));
  EXPECT_IMPORTS(c.import({{"location", "w.bin"}, {"offset", "16"}, {"length", "16"}}));
  EXPECT_IMPORTS(c.import({{"location", "w.bin"}, {"offset", "3"}, {"length", "16"}})); // unaligned: copied
  EXPECT_IMPORTS(c.import({{"location", "w.bin"}}));
  for (const char *number : {"-1", "9223372036854775808", "12abc", "", " 1", "0x10", "99999999999999999999"}) {
    expectBad(c.import({{"location", "w.bin"}, {"offset", number}}), "external data offset");
    expectBad(c.import({{"location", "w.bin"}, {"length", number}}), "external data length");
  }
  expectBad(c.import({{"location", "w.bin"}, {"offset", "60"}, {"length", "16"}}), "which has 64 bytes");
  expectBad(c.import({{"location", "w.bin"}, {"offset", "9223372036854775807"}, {"length", "16"}}), "which has 64 bytes");
  expectBad(c.import({{"location", "w.bin"}, {"length", "12"}}), "the shape needs 16");
}

TEST(OnnxExternal, Places) {
  ExternalCase c;
  fs::create_directory(c.folder.file("inside"));
  c.folder.write("inside/w.bin", std::string(64, '\0'));
  EXPECT_IMPORTS(c.import({{"location", "inside/w.bin"}}));
  Folder elsewhere;
  elsewhere.write("w.bin", std::string(64, '\0'));
  expectBad(c.import({{"location", elsewhere.file("w.bin")}}), elsewhere.file("w.bin"));
  expectBad(c.import({{"location", "../w.bin"}}), "..");
  expectBad(c.import({{"location", "inside/../../w.bin"}}), "..");
  expectBad(c.import({{"location", "missing.bin"}}), "missing.bin");
  expectBad(c.import({{"location", ""}}), "no location");
  expectBad(c.import({}), "no location");
  fs::create_symlink(elsewhere.file("w.bin"), c.folder.file("link.bin"));
  fs::create_directory_symlink(fs::path(elsewhere.file("w.bin")).parent_path(), c.folder.file("linked"));
  EXPECT_FALSE(c.import({{"location", "link.bin"}}).ok());
  EXPECT_FALSE(c.import({{"location", "linked/w.bin"}}).ok());
  expectBad(c.import({{"location", "inside/w.bin"}, {"execute", "rm"}}), "unknown key 'execute'");
}

TEST(OnnxExternal, HardLinkWarns) {
  Folder folder;
  folder.write("w.bin", std::string(16, '\0'));
  fs::create_hard_link(folder.file("w.bin"), folder.file("other.bin"));
  ModelMaker m = addModel();
  ModelMaker::external(m.initializer("w", {4}), {{"location", "w.bin"}});
  mlir::MLIRContext context;
  auto imported = importOnnx(context, folder.write("model.onnx", m.model.SerializeAsString()));
  ASSERT_TRUE(imported.ok()) << imported.error().str();
  ASSERT_EQ(imported->warnings.size(), 1u);
  EXPECT_NE(imported->warnings[0].find("hard link"), std::string::npos);
}

TEST(OnnxExternal, Checksum) {
  ExternalCase c;
  c.folder.write("w.bin", std::string(16, '\0'));
  EXPECT_IMPORTS(c.import({{"location", "w.bin"}, {"checksum", "e129f27c5103bc5cc44bcdf0a15e160d445066ff"}}));
  expectError(c.import({{"location", "w.bin"}, {"checksum", "0000000000000000000000000000000000000000"}}), ErrorKind::Verification,
              "checksum");
}

} // namespace
