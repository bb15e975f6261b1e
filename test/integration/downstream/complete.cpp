// Completes a text with a compiled model:   complete MODEL.llmopt "Once upon a time"
#include "llmopt/runtime/Generator.h"

#include <cstdio>

static int report(const llmopt::Error &error) {
  std::fprintf(stderr, "%s\n", error.str().c_str());
  return static_cast<int>(error.kind);
}

int main(int argc, char **argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: complete MODEL.llmopt PROMPT\n");
    return 2;
  }
  llmopt::Result<llmopt::Engine> engine = llmopt::Engine::load(argv[1]);
  if (!engine)
    return report(engine.error());
  llmopt::Result<llmopt::Generator> generator = llmopt::Generator::create(*engine);
  if (!generator)
    return report(generator.error());

  llmopt::GenerateOptions options;
  options.maxTokens = 64;
  options.sampling.temperature = 0; // greedy
  auto print = [](int32_t, std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
    return true; // go on
  };
  std::fputs(argv[2], stdout);
  llmopt::Result<llmopt::Generation> answer = generator->generate(argv[2], options, print);
  if (!answer)
    return report(answer.error());
  std::printf("\n");
  std::fprintf(stderr, "%zu tokens\n", answer->ids.size());
  return 0;
}
