//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "HuggingFaceHarness.h"

#include "llmopt/dialects/LLM/LLM.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace llmopt;
using HuggingFace = HuggingFaceFolder;

static bool mentions(const std::vector<std::string> &warnings, const std::string &part) {
  for (const std::string &warning : warnings)
    if (warning.find(part) != std::string::npos)
      return true;
  return false;
}

TEST_F(HuggingFace, ImportsADecoder) {
  Result<ImportedModel> model = import();
  ASSERT_TRUE(model.ok()) << model.error().str();
  auto step = model->module->lookupSymbol<mlir::func::FuncOp>("step");
  ASSERT_TRUE(step);
  EXPECT_EQ(step.getNumArguments(), 3u);
  EXPECT_EQ(step.getArgAttrOfType<mlir::StringAttr>(2, "llm.name").str(), "logit_rows");
  EXPECT_EQ(step.getResultAttrOfType<mlir::StringAttr>(0, "llm.name").str(), "logits");
  EXPECT_EQ(model->weights.all().size(), 12u);
  EXPECT_EQ(model->metadata.find("max_positions")->asInt(), 16);
  EXPECT_TRUE(model->warnings.empty());
  bool named = false;
  step.walk([&](llm::LinearOp op) {
    named |= op.getLoc() == mlir::Location(mlir::NameLoc::get(mlir::StringAttr::get(&context_, "model.layers.0.self_attn.q_proj")));
  });
  EXPECT_TRUE(named);
}

TEST_F(HuggingFace, B11_MissingAndMisshapenTensorsInOneError) {
  shapes_.erase("lm_head.weight");
  shapes_.erase("model.layers.0.mlp.up_proj.weight");
  shapes_["model.layers.0.self_attn.q_proj.weight"] = {8, 7};
  std::string error = errorOf();
  EXPECT_CONTAINS(error, "error[E0412]: 3 things");
  EXPECT_CONTAINS(error, "missing tensor: expected lm_head.weight [5, 8]");
  EXPECT_CONTAINS(error, "missing tensor: expected model.layers.0.mlp.up_proj.weight [6, 8]");
  EXPECT_CONTAINS(error, "expected model.layers.0.self_attn.q_proj.weight [8, 8], found [8, 7]");
}

TEST_F(HuggingFace, B11_UnusedTensorsAreNotedOnce) {
  shapes_["model.layers.1.extra.weight"] = {3};
  shapes_["score.weight"] = {2, 8};
  shapes_["model.layers.0.self_attn.rotary_emb.inv_freq"] = {2};
  Result<ImportedModel> model = import();
  ASSERT_TRUE(model.ok()) << model.error().str();
  ASSERT_EQ(model->warnings.size(), 1u);
  EXPECT_EQ(model->warnings[0], "2 tensors of the file are not used: model.layers.1.extra.weight, score.weight");
}

TEST_F(HuggingFace, TheHeadOfAnEncoderIsNoted) {
  shapes_.clear();
  for (const char *name : {"BertModel", "BertForSequenceClassification"}) {
    config_ = Json::parse(R"({"model_type": "bert", "hidden_size": 8, "intermediate_size": 6, "num_hidden_layers": 1, "num_attention_heads": 2,
      "vocab_size": 5, "type_vocab_size": 2, "max_position_embeddings": 16, "hidden_act": "gelu"})", "config").take();
    config_.set("architectures", Json().push(name));
    Result<ImportedModel> model = import({.randomWeights = 1});
    ASSERT_TRUE(model.ok()) << model.error().str();
    EXPECT_EQ(mentions(model->warnings, "the head of BertForSequenceClassification is left to the caller"), name != std::string("BertModel"));
  }
}

TEST_F(HuggingFace, UnknownKeysAreErrorsUnlessNull) {
  config_.set("new_feature", true);
  config_.set("another", 3);
  config_.set("absent", nullptr);
  std::string error = errorOf();
  EXPECT_CONTAINS(error, "error[E0411]: 2 things");
  EXPECT_CONTAINS(error, "config key 'new_feature' = true is not understood for model type 'llama' and may change the result");
  EXPECT_CONTAINS(error, "config key 'another' = 3");
  EXPECT_EQ(error.find("absent"), std::string::npos);
}

TEST_F(HuggingFace, KeysOfOtherFeaturesAreErrors) {
  // Llama has no sliding window; a file that asks for one is not what it says.
  config_.set("sliding_window", 4);
  EXPECT_CONTAINS(errorOf(), "config key 'sliding_window' = 4 is not understood");
}

TEST_F(HuggingFace, AllThatIsUnsupportedIsListed) {
  config_.set("hidden_act", "swoosh");
  config_.set("quantization_config", Json::parse(R"({"quant_method": "gptq", "bits": 4})", "").take());
  config_.set("architectures", Json::Array{Json("LlamaForSequenceClassification")});
  config_.set("rope_scaling", Json::parse(R"({"rope_type": "spiral", "factor": 2})", "").take());
  std::string error = errorOf();
  EXPECT_CONTAINS(error, "things stand in the way");
  EXPECT_CONTAINS(error, "quantized weights (quantization_config, quant_method \"gptq\")");
  EXPECT_CONTAINS(error, "architecture class \"LlamaForSequenceClassification\"");
  EXPECT_CONTAINS(error, "rope type 'spiral' is not supported");
  EXPECT_CONTAINS(error, "activation 'swoosh' is not supported");
}

TEST_F(HuggingFace, BothSpellingsMustAgree) {
  config_.set("torch_dtype", "float32");
  config_.set("dtype", "float32");
  config_.set("rope_parameters", Json::parse(R"({"rope_type": "default", "rope_theta": 10000})", "").take());
  EXPECT_EQ(errorOf(), "ok");
  config_.set("torch_dtype", "float16");
  EXPECT_CONTAINS(errorOf(), "'torch_dtype' = \"float16\" and 'dtype' = \"float32\" contradict each other");
  config_.set("torch_dtype", "float32");
  config_.set("rope_theta", 500000.0);
  EXPECT_CONTAINS(errorOf(), "'rope_theta' = 5e+05 contradicts rope_theta = 10000");
  config_.set("rope_theta", 10000.0);
  config_.set("rope_scaling", Json::parse(R"({"type": "linear", "factor": 2.0})", "").take());
  EXPECT_CONTAINS(errorOf(), "contradict each other in 'type'");
}

TEST_F(HuggingFace, RopeKeysThatNobodyReadsAreErrors) {
  config_.set("rope_scaling", Json::parse(R"({"type": "linear", "factor": 2.0, "wobble": 1})", "").take());
  EXPECT_CONTAINS(errorOf(), "rope scaling key 'wobble' = 1 is not understood for rope type 'linear'");
  config_.set("rope_scaling", Json::parse(R"({"type": "linear"})", "").take());
  EXPECT_CONTAINS(errorOf(), "rope scaling needs 'factor' greater than 0");
}

TEST_F(HuggingFace, SizesOutOfBounds) {
  for (auto [key, value] : {std::pair("num_hidden_layers", int64_t(1) << 40), std::pair("hidden_size", int64_t(-8)),
                            std::pair("vocab_size", int64_t(1) << 40), std::pair("num_attention_heads", int64_t(0))}) {
    Json saved = *config_.find(key);
    config_.set(key, value);
    EXPECT_NE(errorOf(), "ok") << key;
    config_.set(key, std::move(saved));
  }
  config_.set("num_key_value_heads", 3);
  EXPECT_NE(errorOf(), "ok");
  config_.set("num_key_value_heads", "one");
  EXPECT_CONTAINS(errorOf(), "must be an integer from 1 to 4096, found \"one\"");
  config_.set("num_key_value_heads", 1);
  remove("hidden_size");
  EXPECT_CONTAINS(errorOf(), "hidden_size");
}

TEST_F(HuggingFace, B16_TiedButDifferent) {
  config_.set("tie_word_embeddings", true);
  // All zeros: equal, one copy serves both.
  Result<ImportedModel> same = import();
  ASSERT_TRUE(same.ok()) << same.error().str();
  EXPECT_EQ(same->weights.all().size(), 11u);
  EXPECT_TRUE(same->warnings.empty());
  std::string head = tensorsFile({{"lm_head.weight", {5, 8}}}, 1);
  auto rest = shapes_;
  rest.erase("lm_head.weight");
  put("a.safetensors", head);
  put("b.safetensors", tensorsFile(rest));
  Json map;
  for (const auto &[name, shape] : shapes_)
    map.set(name, name == "lm_head.weight" ? "a.safetensors" : "b.safetensors");
  Json index;
  index.set("weight_map", std::move(map));
  put("model.safetensors.index.json", index.str());
  std::filesystem::remove(folder_ / "model.safetensors");
  Result<ImportedModel> different = importHuggingFace(context_, folder_.string());
  ASSERT_TRUE(different.ok()) << different.error().str();
  EXPECT_EQ(different->weights.all().size(), 12u);
  EXPECT_TRUE(mentions(different->warnings, "holds different values"));
}

TEST_F(HuggingFace, TiedWithEitherNameAlone) {
  config_.set("tie_word_embeddings", true);
  auto all = shapes_;
  for (const char *missing : {"lm_head.weight", "model.embed_tokens.weight"}) {
    shapes_ = all;
    shapes_.erase(missing);
    EXPECT_EQ(errorOf(), "ok") << missing;
  }
}

TEST_F(HuggingFace, B17_EndTokens) {
  config_.set("eos_token_id", 50256);
  Result<ImportedModel> model = import();
  ASSERT_TRUE(model.ok()) << model.error().str();
  EXPECT_TRUE(mentions(model->warnings, "eos_token_id 50256 is outside of the vocabulary of 5"));
  put("generation_config.json", R"({"eos_token_id": [1, 2], "temperature": 0.6, "do_sample": true, "top_k": "x"})");
  model = import();
  ASSERT_TRUE(model.ok()) << model.error().str();
  EXPECT_EQ(model->metadata.find("eos_token_id")->str(), "[1, 2]");
  EXPECT_EQ(model->metadata.find("generation")->str(), R"({"do_sample": true, "temperature": 0.6})");
  put("generation_config.json", R"({"eos_token_id": [1, 5]})");
  EXPECT_CONTAINS(errorOf(), "eos_token_id 5 is outside of the vocabulary of 5");
}

TEST_F(HuggingFace, LongropeFollowsTheContextCompiledFor) {
  config_.set("rope_scaling", Json::parse(R"({"type": "longrope", "short_factor": [1, 1], "long_factor": [4, 4],
    "original_max_position_embeddings": 8})", "").take());
  Result<ImportedModel> model = import();
  ASSERT_TRUE(model.ok()) << model.error().str();
  EXPECT_EQ(model->metadata.find("max_positions")->asInt(), 8);
  EXPECT_TRUE(mentions(model->warnings, "compiled for up to 8 positions"));
  model = import({.architectureFolders = {}, .maxPositions = 16});
  ASSERT_TRUE(model.ok()) << model.error().str();
  EXPECT_EQ(model->metadata.find("max_positions")->asInt(), 16);
}
