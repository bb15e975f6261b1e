/* The same through the C interface. */
#include "llmopt/runtime/llmopt.h"

#include <stdio.h>

static int print_piece(int32_t id, const char *text, size_t length, void *user) {
  (void)id;
  ++*(size_t *)user;
  fwrite(text, 1, length, stdout);
  return 0;
}

static int report(void) {
  fprintf(stderr, "%s\n", llmopt_last_error());
  return llmopt_last_error_kind();
}

int main(int argc, char **argv) {
  llmopt_generate_options options = llmopt_generate_defaults();
  llmopt_engine *engine;
  llmopt_session *session;
  const float *logits;
  int32_t ids[16];
  size_t tokens = 0, count = 0, vocabulary = 0;
  if (argc != 3)
    return 2;
  engine = llmopt_engine_load(argv[1], NULL);
  if (!engine)
    return report();
  options.max_tokens = 64;
  fputs(argv[2], stdout);
  if (llmopt_generate(engine, argv[2], &options, print_piece, &tokens) != LLMOPT_OK)
    return report();
  printf("\n");
  if (llmopt_tokenize(engine, argv[2], ids, 16, &count) != LLMOPT_OK || count > 16)
    return report();
  session = llmopt_session_create(engine);
  if (!session || llmopt_session_append(session, ids, count, &logits, &vocabulary) != LLMOPT_OK)
    return report();
  fprintf(stderr, "%zu tokens, %zu logits after %u\n", tokens, vocabulary, llmopt_session_length(session));
  llmopt_session_free(session);
  llmopt_engine_free(engine);
  return 0;
}
