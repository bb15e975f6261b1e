//===- HuggingFaceHarness.h - small model folders for tests -----*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_TEST_UNIT_HUGGINGFACEHARNESS_H
#define LLMOPT_TEST_UNIT_HUGGINGFACEHARNESS_H

#include "llmopt/frontends/HuggingFace.h"

#include "mlir/IR/MLIRContext.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <map>

namespace llmopt {

/// The bytes of a safetensors file: header length, header, data.
inline std::string safetensorsFile(const std::string &header, size_t dataBytes, char fill = 0) {
  uint64_t length = header.size();
  return std::string(reinterpret_cast<const char *>(&length), 8) + header + std::string(dataBytes, fill);
}

/// A safetensors file of F32 tensors filled with one byte each.
inline std::string tensorsFile(const std::map<std::string, std::vector<int64_t>> &shapes, char fill = 0) {
  Json header{Json::Object()};
  int64_t at = 0;
  for (const auto &[name, shape] : shapes) {
    int64_t bytes = 4;
    Json dims{Json::Array()}, entry;
    for (int64_t dim : shape) {
      bytes *= dim;
      dims.push(dim);
    }
    entry.set("dtype", "F32");
    entry.set("shape", std::move(dims));
    entry.set("data_offsets", Json::Array{Json(at), Json(at + bytes)});
    header.set(name, std::move(entry));
    at += bytes;
  }
  std::string text = header.str();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return safetensorsFile(text, size_t(at), fill);
}

/// A folder with a tiny Llama of one layer that tests damage.
class HuggingFaceFolder : public testing::Test {
protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "llmopt-hf-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    folder_ = root_ / "model";
    std::filesystem::create_directories(folder_);
    config_ = Json::parse(R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 8, "intermediate_size": 6,
      "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 5, "max_position_embeddings": 16,
      "rms_norm_eps": 1e-6, "hidden_act": "silu", "rope_theta": 10000.0, "tie_word_embeddings": false, "eos_token_id": 2})", "config").take();
    std::string layer = "model.layers.0.";
    shapes_ = {{"model.embed_tokens.weight", {5, 8}}, {"model.norm.weight", {8}}, {"lm_head.weight", {5, 8}},
               {layer + "input_layernorm.weight", {8}}, {layer + "post_attention_layernorm.weight", {8}},
               {layer + "self_attn.q_proj.weight", {8, 8}}, {layer + "self_attn.k_proj.weight", {4, 8}},
               {layer + "self_attn.v_proj.weight", {4, 8}}, {layer + "self_attn.o_proj.weight", {8, 8}},
               {layer + "mlp.gate_proj.weight", {6, 8}}, {layer + "mlp.up_proj.weight", {6, 8}}, {layer + "mlp.down_proj.weight", {8, 6}}};
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void put(const std::string &name, const std::string &text) const { std::ofstream(folder_ / name, std::ios::binary) << text; }
  void remove(const std::string &key) {
    std::erase_if(config_.asObject(), [&](const Json::Member &member) { return member.first == key; });
  }

  Result<ImportedModel> import(const HuggingFaceOptions &options = {}) {
    put("config.json", config_.str());
    if (!shapes_.empty())
      put("model.safetensors", tensorsFile(shapes_));
    return importHuggingFace(context_, folder_.string(), options);
  }
  /// The whole error, or "ok".
  std::string errorOf(const HuggingFaceOptions &options = {}) {
    Result<ImportedModel> model = import(options);
    return model ? "ok" : model.error().str();
  }

  std::filesystem::path root_, folder_;
  Json config_;
  std::map<std::string, std::vector<int64_t>> shapes_;
  mlir::MLIRContext context_;
};

#define EXPECT_CONTAINS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

} // namespace llmopt

#endif // LLMOPT_TEST_UNIT_HUGGINGFACEHARNESS_H
