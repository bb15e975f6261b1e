//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/runtime/llmopt.h"

#include "llmopt/lib/Support/CheckedMath.h"
#include "llmopt/runtime/Generator.h"
#include "llmopt/runtime/Session.h"

#include <algorithm>
#include <cstring>
#include <mutex>

using namespace llmopt;

struct llmopt_engine {
  Engine engine;
  std::string metadata;
  std::mutex lock;
  std::optional<Generator> generator; ///< made when first asked for, as is:
  std::shared_ptr<Tokenizer> tokenizer;
};
struct llmopt_session {
  Session session;
};

static thread_local std::string lastError;
static thread_local llmopt_status lastKind = LLMOPT_OK;

static llmopt_status remember(const Status &status) {
  if (status.ok())
    return LLMOPT_OK;
  lastError = status.error().str();
  lastKind = llmopt_status(status.error().kind);
  return lastKind;
}

/// Members behind `size` are younger than the caller and keep their defaults.
template <typename Options>
static Options known(const Options *given, Options defaults) {
  if (given)
    std::memcpy(&defaults, given, std::min(given->size, sizeof defaults));
  return defaults;
}

const char *llmopt_last_error(void) { return lastError.c_str(); }
llmopt_status llmopt_last_error_kind(void) { return lastKind; }

llmopt_engine *llmopt_engine_load(const char *path, const llmopt_engine_options *options) {
  llmopt_engine_options given = known(options, {});
  Result<Engine> engine = Engine::load(path, {.threads = given.threads,
                                              .target = given.target ? given.target : "",
                                              .device = given.device ? given.device : "",
                                              .verifyWeights = given.verify_weights != 0,
                                              .cacheBytes = given.cache_bytes});
  if (remember(engine.status()) != LLMOPT_OK)
    return nullptr;
  std::string metadata = engine->metadata().str();
  return new llmopt_engine{engine.take(), std::move(metadata), {}, {}, {}};
}

void llmopt_engine_free(llmopt_engine *engine) { delete engine; }
const char *llmopt_engine_metadata(const llmopt_engine *engine) { return engine->metadata.c_str(); }

static Result<NamedTensor> copyIn(const llmopt_tensor &tensor) {
  std::vector<int64_t> shape(tensor.shape, tensor.shape + tensor.rank);
  std::optional<int64_t> count = checkedElementCount(shape);
  if (tensor.dtype > uint32_t(DType::Bool) || !count || *count > (int64_t(1) << 56))
    return usageError("E1503", "tensor '" + std::string(tensor.name) + "' has an unknown type or an impossible shape");
  NamedTensor named{tensor.name, Tensor(DType(tensor.dtype), std::move(shape))};
  if (named.tensor.bytes())
    std::memcpy(named.tensor.data(), tensor.data, named.tensor.bytes());
  return named;
}

llmopt_status llmopt_engine_run(llmopt_engine *engine, const llmopt_tensor *inputs, size_t count, llmopt_outputs_callback done, void *user) {
  std::vector<NamedTensor> copies;
  for (size_t i = 0; i < count; ++i) {
    Result<NamedTensor> copy = copyIn(inputs[i]);
    if (remember(copy.status()) != LLMOPT_OK)
      return lastKind;
    copies.push_back(copy.take());
  }
  Result<std::vector<NamedTensor>> results = engine->engine.run(copies);
  if (remember(results.status()) != LLMOPT_OK)
    return lastKind;
  std::vector<llmopt_tensor> outputs;
  for (const NamedTensor &result : *results)
    outputs.push_back({result.name.c_str(), uint32_t(result.tensor.dtype()), result.tensor.shape().size(), result.tensor.shape().data(),
                       result.tensor.data()});
  done(outputs.data(), outputs.size(), user);
  return LLMOPT_OK;
}

llmopt_session *llmopt_session_create(llmopt_engine *engine) {
  Result<Session> session = Session::create(engine->engine);
  return remember(session.status()) == LLMOPT_OK ? new llmopt_session{session.take()} : nullptr;
}
void llmopt_session_free(llmopt_session *session) { delete session; }

llmopt_status llmopt_session_append(llmopt_session *session, const int32_t *tokens, size_t count, const float **logits, size_t *vocabulary) {
  Result<std::span<const float>> row = session->session.append({tokens, count});
  if (remember(row.status()) != LLMOPT_OK)
    return lastKind;
  if (logits)
    *logits = row->data();
  if (vocabulary)
    *vocabulary = row->size();
  return LLMOPT_OK;
}
llmopt_status llmopt_session_encode(llmopt_session *session, const int32_t *tokens, size_t count) {
  return remember(session->session.encode({tokens, count}));
}
llmopt_session *llmopt_session_fork(const llmopt_session *session) {
  Result<Session> fork = session->session.fork();
  return remember(fork.status()) == LLMOPT_OK ? new llmopt_session{fork.take()} : nullptr;
}
llmopt_status llmopt_session_truncate(llmopt_session *session, uint32_t length) { return remember(session->session.truncate(length)); }
uint32_t llmopt_session_length(const llmopt_session *session) { return session->session.length(); }

llmopt_generate_options llmopt_generate_defaults(void) {
  GenerateOptions defaults;
  return {sizeof(llmopt_generate_options), defaults.maxTokens, 0, 0, 1, 0, 1, 0, nullptr, 0, 0};
}

static GenerateOptions generateOptions(const llmopt_generate_options *options) {
  llmopt_generate_options given = known(options, llmopt_generate_defaults());
  GenerateOptions result;
  result.maxTokens = given.max_tokens;
  result.sampling = {given.temperature, given.top_k, given.top_p, given.min_p, given.repetition_penalty, given.seed};
  for (size_t i = 0; i < given.stop_count; ++i)
    result.stop.emplace_back(given.stop[i]);
  result.ignoreEndToken = given.ignore_end_token != 0;
  return result;
}

static Result<const Generator *> generatorOf(llmopt_engine *engine) {
  std::lock_guard lock(engine->lock);
  if (!engine->generator) {
    LLMOPT_ASSIGN(Generator made, Generator::create(engine->engine));
    engine->generator = std::move(made);
  }
  return &*engine->generator;
}

/// `prompt` is text or ids.
template <typename Prompt>
static llmopt_status generate(llmopt_engine *engine, Prompt prompt, const llmopt_generate_options *options, llmopt_token_callback onToken, void *user) {
  Result<const Generator *> generator = generatorOf(engine);
  if (remember(generator.status()) != LLMOPT_OK)
    return lastKind;
  auto callback = [&](int32_t id, std::string_view text) { return !onToken || onToken(id, text.data(), text.size(), user) == 0; };
  return remember((*generator)->generate(prompt, generateOptions(options), callback).status());
}

llmopt_status llmopt_generate(llmopt_engine *engine, const char *prompt, const llmopt_generate_options *options, llmopt_token_callback onToken,
                              void *user) {
  return generate(engine, std::string_view(prompt), options, onToken, user);
}
llmopt_status llmopt_generate_ids(llmopt_engine *engine, const int32_t *prompt, size_t count, const llmopt_generate_options *options,
                                  llmopt_token_callback onToken, void *user) {
  return generate(engine, std::span(prompt, count), options, onToken, user);
}

static Result<std::shared_ptr<Tokenizer>> tokenizerOf(llmopt_engine *engine) {
  std::lock_guard lock(engine->lock);
  if (!engine->tokenizer) {
    LLMOPT_ASSIGN(engine->tokenizer, loadTokenizer(engine->engine));
  }
  return engine->tokenizer;
}

llmopt_status llmopt_tokenize(llmopt_engine *engine, const char *text, int32_t *ids, size_t capacity, size_t *count) {
  Result<std::shared_ptr<Tokenizer>> tokenizer = tokenizerOf(engine);
  Result<std::vector<int32_t>> found = tokenizer.ok() ? (*tokenizer)->encodeChecked(text) : Result<std::vector<int32_t>>(tokenizer.status());
  if (remember(found.status()) != LLMOPT_OK)
    return lastKind;
  std::copy_n(found->begin(), std::min(capacity, found->size()), ids);
  *count = found->size();
  return LLMOPT_OK;
}

llmopt_status llmopt_detokenize(llmopt_engine *engine, const int32_t *ids, size_t count, char *text, size_t capacity, size_t *length) {
  Result<std::shared_ptr<Tokenizer>> tokenizer = tokenizerOf(engine);
  Result<std::string> found = tokenizer.ok() ? (*tokenizer)->decode({ids, count}) : Result<std::string>(tokenizer.status());
  if (remember(found.status()) != LLMOPT_OK)
    return lastKind;
  std::copy_n(found->begin(), std::min(capacity, found->size()), text);
  *length = found->size();
  return LLMOPT_OK;
}
