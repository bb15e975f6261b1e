//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// Hugging Face folders: config.json and architecture descriptions. An input is two texts with a line "----" between them: a config and
// a description, which is asked for by the config's "model_type": "fuzz"; without the line it is a config alone. Whatever they say, the answer is a model
// that verifies or one error. The weights are those of a tiny Llama.

#include "ScratchFile.h"
#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/frontends/HuggingFace.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Verifier.h"

using namespace llmopt;

/// All zero; names and shapes as test/integration/bad_input/harness.py has them.
static std::string weights() {
  const std::string layer = "model.layers.0.";
  const std::vector<std::pair<std::string, std::vector<int>>> tensors = {
      {"model.embed_tokens.weight", {7, 16}}, {"model.norm.weight", {16}}, {"lm_head.weight", {7, 16}},
      {layer + "input_layernorm.weight", {16}}, {layer + "post_attention_layernorm.weight", {16}},
      {layer + "self_attn.q_proj.weight", {16, 16}}, {layer + "self_attn.k_proj.weight", {8, 16}}, {layer + "self_attn.v_proj.weight", {8, 16}},
      {layer + "self_attn.o_proj.weight", {16, 16}}, {layer + "mlp.gate_proj.weight", {12, 16}}, {layer + "mlp.up_proj.weight", {12, 16}},
      {layer + "mlp.down_proj.weight", {16, 12}}};
  std::string header = "{";
  int end = 0;
  for (const auto &[name, shape] : tensors) {
    int begin = end, count = 4;
    std::string dims;
    for (int dim : shape) {
      count *= dim;
      dims += (dims.empty() ? "" : ",") + std::to_string(dim);
    }
    end += count;
    header += (begin ? ",\"" : "\"") + name + "\":{\"dtype\":\"F32\",\"shape\":[" + dims + "],\"data_offsets\":[" + std::to_string(begin) + "," +
              std::to_string(end) + "]}";
  }
  header += "}";
  uint64_t length = header.size();
  return std::string(reinterpret_cast<const char *>(&length), 8) + header + std::string(size_t(end), '\0');
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const std::string once = fuzz::writeScratch("model.safetensors", weights());
  std::string_view input(reinterpret_cast<const char *>(data), size), description;
  if (size_t line = input.find("\n----\n"); line != input.npos) {
    description = input.substr(line + 6);
    input = input.substr(0, line);
  }
  fuzz::writeScratch("config.json", input);
  fuzz::writeScratch("fuzz.json", description);
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<llm::LLMDialect, mlir::func::FuncDialect>();
  Result<ImportedModel> model = importHuggingFace(context, fuzz::scratchFolder().string(), {.architectureFolders = {fuzz::scratchFolder().string()}});
  if (model ? mlir::failed(mlir::verify(*model->module)) : model.error().message.empty() || model.error().kind == ErrorKind::Internal)
    std::abort();
  return 0;
}
