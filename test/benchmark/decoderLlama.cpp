//===- decoderLlama.cpp - llama.cpp, answering decoder_peers.py ------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   decoder-llama model.gguf THREADS
//
// Built by decoder_peers.py against llama.cpp; settings are those of its llama-bench with flash attention.
//
//===----------------------------------------------------------------------===//
#include "decoderServer.h"

#include "ggml-cpu.h"
#include "llama.h"

using namespace llmopt::test;

namespace {

class LlamaDecoder final : public DecoderUnderTest {
public:
  LlamaDecoder(llama_model *model, int threads, int64_t mostTokens, ggml_threadpool *pool) : vocabulary_(llama_vocab_n_tokens(llama_model_get_vocab(model))) {
    llama_context_params params = llama_context_default_params();
    params.n_ctx = uint32_t(mostTokens + 64);
    params.n_batch = 2048;
    params.n_ubatch = 512;
    params.n_threads = params.n_threads_batch = threads;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    context_ = llama_init_from_model(model, params);
    if (!context_)
      std::exit(1);
    llama_attach_threadpool(context_, pool, nullptr);
  }
  ~LlamaDecoder() override { llama_free(context_); }

  std::span<const float> append(std::span<const int32_t> tokens) override {
    std::vector<int32_t> copy(tokens.begin(), tokens.end());
    for (size_t i = 0; i < copy.size(); i += 2048)
      if (llama_decode(context_, llama_batch_get_one(copy.data() + i, int32_t(std::min<size_t>(2048, copy.size() - i)))) != 0)
        std::exit(1);
    llama_synchronize(context_);
    return {llama_get_logits_ith(context_, -1), size_t(vocabulary_)};
  }
  void truncate(int64_t length) override { llama_memory_seq_rm(llama_get_memory(context_), 0, int32_t(length), -1); }

private:
  llama_context *context_ = nullptr;
  int32_t vocabulary_;
};

} // namespace

int main(int argc, char **argv) {
  if (argc != 3)
    return std::fprintf(stderr, "usage: decoder-llama model.gguf THREADS\n"), 2;
  int threads = std::atoi(argv[2]);
  llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
  llama_backend_init();
  llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
  if (!model)
    return std::fprintf(stderr, "cannot load %s\n", argv[1]), 1;
  ggml_threadpool_params pool = ggml_threadpool_params_default(threads);
  pool.poll = 50;
  ggml_threadpool *made = ggml_threadpool_new(&pool);
  return serve([&](int64_t most) { return std::make_unique<LlamaDecoder>(model, threads, most, made); });
}
