//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// Folders: shards, links, pickles, unknown models, descriptions from elsewhere.

#include "HuggingFaceHarness.h"

using namespace llmopt;
using HuggingFaceFiles = HuggingFaceFolder;
namespace fs = std::filesystem;

TEST_F(HuggingFaceFiles, NoFolderNoConfigNoWeights) {
  EXPECT_CONTAINS(importHuggingFace(context_, (root_ / "none").string()).error().str(), "E0402");
  EXPECT_CONTAINS(importHuggingFace(context_, folder_.string()).error().str(), "has no config.json");
  shapes_.clear();
  EXPECT_CONTAINS(errorOf(), "neither model.safetensors nor model.safetensors.index.json");
  put("model.onnx", "");
  EXPECT_CONTAINS(errorOf(), "has an ONNX file in place of model.safetensors; give the file");
}

TEST_F(HuggingFaceFiles, B14_PicklesAreRefused) {
  shapes_.clear();
  put("pytorch_model.bin", "PK");
  Result<ImportedModel> model = import();
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.error().code, "E0403");
  EXPECT_EQ(model.error().kind, ErrorKind::BadInput);
  EXPECT_CONTAINS(model.error().str(), "pickle weights are refused ('pytorch_model.bin')");
  EXPECT_CONTAINS(model.error().str(), "save_pretrained");
}

TEST_F(HuggingFaceFiles, B13_UnknownModels) {
  config_.set("model_type", "frobnicator");
  Result<ImportedModel> model = import();
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.error().kind, ErrorKind::Unsupported);
  EXPECT_CONTAINS(model.error().str(), "known types: arcee, bert, camembert, cohere, cohere2, distilbert, electra, ernie4_5, exaone4, gemma, gemma2, gemma3_text, ");
  config_.set("auto_map", Json::parse(R"({"AutoModel": "modeling_x.X"})", "").take());
  EXPECT_CONTAINS(errorOf(), "custom code models (auto_map) are not supported");
  for (const char *name : {"../../etc/passwd", "a/b", "", "common"}) {
    config_.set("model_type", name);
    EXPECT_NE(errorOf(), "ok") << name;
  }
  config_.set("model_type", "llama");
  model = import();
  ASSERT_TRUE(model.ok()) << model.error().str();
  EXPECT_CONTAINS(model->warnings.at(0), "never run");
}

TEST_F(HuggingFaceFiles, B10_Indexes) {
  auto withIndex = [&](const std::string &text) {
    fs::remove(folder_ / "model.safetensors");
    auto all = std::exchange(shapes_, {});
    put("a.safetensors", tensorsFile(all));
    put("model.safetensors.index.json", text);
    std::string result = errorOf();
    shapes_ = all;
    return result;
  };
  auto mapOf = [&](const std::string &file) {
    Json map;
    for (const auto &[name, shape] : shapes_)
      map.set(name, file);
    Json index;
    index.set("weight_map", std::move(map));
    return index.str();
  };
  EXPECT_EQ(withIndex(mapOf("a.safetensors")), "ok");
  EXPECT_CONTAINS(withIndex(mapOf("../../x")), "is not the bare name of a file");
  EXPECT_CONTAINS(withIndex(mapOf("/etc/passwd")), "is not the bare name of a file");
  EXPECT_CONTAINS(withIndex(mapOf("..")), "is not the bare name of a file");
  EXPECT_CONTAINS(withIndex(mapOf("missing.safetensors")), "E0101");
  EXPECT_CONTAINS(withIndex("{}"), "no object 'weight_map'");
  EXPECT_CONTAINS(withIndex(R"({"weight_map": {"nothing.weight": "a.safetensors"}})"), "but it is missing");
  put("b.safetensors", tensorsFile({{"lm_head.weight", {5, 8}}}));
  EXPECT_CONTAINS(withIndex(R"({"weight_map": {"lm_head.weight": "a.safetensors", "x": "b.safetensors"}})"), "is in two shards, a.safetensors and b.safetensors");
}

TEST_F(HuggingFaceFiles, LinksOnlyInsideAHubCache) {
  // A plain folder whose weights are a link to the outside.
  put("config.json", config_.str());
  std::ofstream(root_ / "elsewhere", std::ios::binary) << tensorsFile(shapes_);
  fs::create_symlink("../elsewhere", folder_ / "model.safetensors");
  EXPECT_CONTAINS(importHuggingFace(context_, folder_.string()).error().str(), "E0102");

  fs::path model = root_ / "models--org--name", snapshot = model / "snapshots" / "abc";
  fs::create_directories(model / "blobs");
  fs::create_directories(snapshot);
  std::ofstream(model / "blobs" / "c0") << config_.str();
  std::ofstream(model / "blobs" / "w0", std::ios::binary) << tensorsFile(shapes_);
  fs::create_symlink("../../blobs/c0", snapshot / "config.json");
  fs::create_symlink("../../blobs/w0", snapshot / "model.safetensors");
  Result<ImportedModel> imported = importHuggingFace(context_, snapshot.string());
  EXPECT_TRUE(imported.ok()) << imported.error().str();

  // By name, without any network.
  ::setenv("HF_HUB_CACHE", root_.c_str(), 1);
  EXPECT_FALSE(findInHubCache("org/name").ok());
  fs::create_directories(model / "refs");
  std::ofstream(model / "refs" / "main") << "abc\n";
  Result<std::string> found = findInHubCache("org/name");
  ASSERT_TRUE(found.ok()) << found.error().str();
  EXPECT_EQ(*found, snapshot.string());
  for (const char *name : {"org/none", "../org", "org/../name", "", "/org/name", "a/b/c"})
    EXPECT_FALSE(findInHubCache(name).ok()) << name;
  ::unsetenv("HF_HUB_CACHE");
  fs::remove(snapshot / "model.safetensors");
  fs::create_symlink("../../../elsewhere", snapshot / "model.safetensors");
  EXPECT_CONTAINS(importHuggingFace(context_, snapshot.string()).error().str(), "E0102");
}

TEST_F(HuggingFaceFiles, UnalignedTensorsAreCopied) {
  std::string header = R"({"lm_head.weight":{"dtype":"F32","shape":[5,8],"data_offsets":[0,160]}})";
  header += std::string((9 - header.size() % 8) % 8, ' '); // one byte past a multiple of eight
  put("a.safetensors", safetensorsFile(header, 160, 7));
  auto rest = std::exchange(shapes_, {});
  rest.erase("lm_head.weight");
  put("b.safetensors", tensorsFile(rest));
  Json map, index;
  map.set("lm_head.weight", "a.safetensors");
  for (const auto &[name, shape] : rest)
    map.set(name, "b.safetensors");
  index.set("weight_map", std::move(map));
  put("model.safetensors.index.json", index.str());
  Result<ImportedModel> model = import();
  ASSERT_TRUE(model.ok()) << model.error().str();
  const StoredWeight *head = model->weights.find("lm_head.weight");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(head->bytes.data()) % 4, 0u);
  EXPECT_EQ(head->bytes[0], std::byte(7));
  ASSERT_FALSE(model->warnings.empty());
  EXPECT_CONTAINS(model->warnings[0], "lm_head.weight does not lie at a multiple");
}

TEST_F(HuggingFaceFiles, ADescriptionFromAFolder) {
  config_.set("model_type", "mymodel");
  config_.set("architectures", Json::Array{Json("MyModelForCausalLM")});
  config_.set("residual_scale", 0.5);
  fs::path descriptions = root_ / "descriptions";
  fs::create_directories(descriptions);
  auto describe = [&](const std::string &text) {
    std::ofstream(descriptions / "mymodel.json") << text;
    return errorOf({.architectureFolders = {descriptions.string()}});
  };
  std::string layers = R"json("functions": {"step": [
    {"do": ["x = embedding(token_ids, '{model}embed_tokens')"]},
    {"repeat": "num_hidden_layers", "do": ["x = x + attention(norm(x, '{layer}input_layernorm')) * residual_scale",
      "x = x + mlp(norm(x, '{layer}post_attention_layernorm')) * residual_scale"]},
    {"do": ["logits = linear(norm(rows(x, logit_rows), '{model}norm'), 'lm_head', vocab_size)"]}]})json";
  std::string head = R"({"extends": "llama", "model_type": "mymodel", "architectures": ["MyModelForCausalLM"], )";
  EXPECT_EQ(describe(head + layers + "}"), "ok");
  EXPECT_CONTAINS(describe(head + R"("blocks": {"attention": {"wobble": 1}}, )" + layers + "}"), "unknown field 'wobble'");
  EXPECT_CONTAINS(describe(head + R"("blocks": {"attention": {"scale": "1 +"}}, )" + layers + "}"), "expected a value at character 4");
  EXPECT_CONTAINS(describe(R"({"extends": "mymodel", "model_type": "mymodel"})"), "in no circle");
  EXPECT_CONTAINS(describe(R"({"extends": "nobody", "model_type": "mymodel"})"), "extends 'nobody'");
  EXPECT_CONTAINS(describe(head + R"json("functions": {"step": [{"do": ["x = frob(token_ids)"]}]}})json"), "'frob' is neither a block nor a function");
  EXPECT_CONTAINS(describe(head + R"("functions": {"step": [{"do": ["x = token_ids"]}]}, "ignored": ["residual_scale"]})"), "never sets 'logits'");
}
