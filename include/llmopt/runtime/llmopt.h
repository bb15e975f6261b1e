/*===- llmopt.h - the runtime's C interface -------------------------*- C -*-===
 *
 * Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *   llmopt_engine *engine = llmopt_engine_load("model.llmopt", NULL);
 *   if (!engine) { fputs(llmopt_last_error(), stderr); return llmopt_last_error_kind(); }
 *   llmopt_generate(engine, "Once upon a time", NULL, print_piece, NULL);
 *   llmopt_engine_free(engine);
 *
 * Functions that can fail give NULL, or a status that is 0 for success; llmopt_last_error() then says why, for the
 * calling thread. An engine may be used from several threads, a session from one at a time.
 *
 *===------------------------------------------------------------------------===*/
#ifndef LLMOPT_RUNTIME_LLMOPT_H
#define LLMOPT_RUNTIME_LLMOPT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct llmopt_engine llmopt_engine;
typedef struct llmopt_session llmopt_session;

/* Kinds of errors, as the tools' exit status. */
typedef enum llmopt_status {
  LLMOPT_OK = 0,
  LLMOPT_BAD_INPUT = 1,
  LLMOPT_USAGE = 2,
  LLMOPT_UNSUPPORTED = 3,
  LLMOPT_LIMIT = 4,
  LLMOPT_VERIFICATION = 5,
  LLMOPT_INTERNAL = 70
} llmopt_status;

/* Of the last call of this thread that failed; valid until the next one. */
const char *llmopt_last_error(void);
llmopt_status llmopt_last_error_kind(void);

typedef struct llmopt_engine_options {
  size_t size;          /* sizeof(llmopt_engine_options), so that members can be added */
  uint32_t threads;     /* 0: one for each core the process may use */
  const char *target;   /* NULL: the best this machine runs */
  int verify_weights;
  uint64_t cache_bytes; /* most memory for keys and values; 0: half of the device's */
  const char *device;   /* "cpu", "cuda", "cuda:1"; NULL: a GPU if the artifact has code for one that is here */
} llmopt_engine_options;

/* Options may be NULL. */
llmopt_engine *llmopt_engine_load(const char *path, const llmopt_engine_options *options);
void llmopt_engine_free(llmopt_engine *engine);
/* What the artifact says about its model, as JSON; lives as long as the engine. */
const char *llmopt_engine_metadata(const llmopt_engine *engine);

/* Tensors, for models that are graphs. Numbers of element types as llmopt::DType: 0 f32, 1 f64, 2 f16, 3 bf16, 4 i8,
 * 5 i16, 6 i32, 7 i64, 8 u8, 9 u16, 10 u32, 11 u64, 12 bool. */
typedef struct llmopt_tensor {
  const char *name;
  uint32_t dtype;
  size_t rank;
  const int64_t *shape;
  const void *data; /* dense, row-major */
} llmopt_tensor;

/* Called once with all outputs, in the graph's order; they are gone when it returns. */
typedef void (*llmopt_outputs_callback)(const llmopt_tensor *outputs, size_t count, void *user);
llmopt_status llmopt_engine_run(llmopt_engine *engine, const llmopt_tensor *inputs, size_t count, llmopt_outputs_callback done, void *user);

/* One sequence of a decoder. */
llmopt_session *llmopt_session_create(llmopt_engine *engine);
void llmopt_session_free(llmopt_session *session);
/* Appends tokens; logits of the last one, valid until the next call. Both results may be NULL. */
llmopt_status llmopt_session_append(llmopt_session *session, const int32_t *tokens, size_t count, const float **logits, size_t *vocabulary);
llmopt_status llmopt_session_encode(llmopt_session *session, const int32_t *tokens, size_t count);
llmopt_session *llmopt_session_fork(const llmopt_session *session);
llmopt_status llmopt_session_truncate(llmopt_session *session, uint32_t length);
uint32_t llmopt_session_length(const llmopt_session *session);

typedef struct llmopt_generate_options {
  size_t size; /* sizeof(llmopt_generate_options) */
  size_t max_tokens;
  double temperature; /* 0: greedy */
  int64_t top_k;
  double top_p;
  double min_p;
  double repetition_penalty;
  uint64_t seed;
  const char *const *stop; /* may be NULL */
  size_t stop_count;
  int ignore_end_token;
} llmopt_generate_options;
/* The defaults: 128 tokens, greedy. */
llmopt_generate_options llmopt_generate_defaults(void);

/* Called for each token with the text that became complete (not zero-terminated); 0 goes on, anything else ends. */
typedef int (*llmopt_token_callback)(int32_t id, const char *text, size_t length, void *user);
llmopt_status llmopt_generate(llmopt_engine *engine, const char *prompt, const llmopt_generate_options *options, llmopt_token_callback on_token,
                              void *user);
llmopt_status llmopt_generate_ids(llmopt_engine *engine, const int32_t *prompt, size_t count, const llmopt_generate_options *options,
                                  llmopt_token_callback on_token, void *user);

/* Ids of a text into `ids`, at most `capacity`; `count` becomes the number there are. */
llmopt_status llmopt_tokenize(llmopt_engine *engine, const char *text, int32_t *ids, size_t capacity, size_t *count);
/* Text of ids, without special tokens, into `text`, at most `capacity` bytes, not zero-terminated; `length` becomes the bytes there are. */
llmopt_status llmopt_detokenize(llmopt_engine *engine, const int32_t *ids, size_t count, char *text, size_t capacity, size_t *length);

#ifdef __cplusplus
}
#endif

#endif /* LLMOPT_RUNTIME_LLMOPT_H */
