// What a server does: several answers to one prompt in common steps, each streamed as it comes.   serve MODEL.llmopt "Once upon a time" ANSWERS
#include "llmopt/runtime/Generator.h"

#include <cstdio>
#include <cstdlib>

using namespace llmopt;

namespace {

/// An answer in the making: its past, its random numbers, and the text that is complete so far.
struct Answer {
  Sequence sequence;
  Sampler sampler;
  StreamDecoder decoder;
  std::vector<int32_t> tokens; ///< of the answer; the last one is still to be run
  std::string text;
};

Status serve(const char *path, const char *prompt, size_t count) {
  LLMOPT_ASSIGN(Engine engine, Engine::load(path, {.cacheBytes = uint64_t(1) << 30}));
  LLMOPT_ASSIGN(std::shared_ptr<Tokenizer> tokenizer, loadTokenizer(engine));
  LLMOPT_ASSIGN(std::vector<int32_t> ids, tokenizer->encodeChecked(prompt));

  // The prompt runs once. Forks share its cache.
  Sequence past = engine.newSequence();
  SequenceInput first{&past, ids};
  StepOutput output;
  LLMOPT_RETURN_IF_ERROR(engine.step({&first, 1}, output));
  std::vector<Answer> answers;
  for (size_t i = 0; i < count; ++i) {
    answers.push_back({past.fork(), Sampler({.temperature = 0.8, .topP = 0.95, .seed = 7}, /*stream=*/i), StreamDecoder(tokenizer), {}, {}});
    for (int32_t id : ids)
      (void)answers[i].decoder.push(id); // whether a space comes before the answer depends on what was there
    answers[i].tokens.push_back(answers[i].sampler.sample(output.row(0), ids).value_or(0));
  }

  // A step takes one token of each. Sequences may join and leave between any two steps, and prompts may run beside answers.
  for (int step = 0; step < 24; ++step) {
    std::vector<SequenceInput> inputs;
    for (Answer &answer : answers) {
      LLMOPT_ASSIGN(std::string piece, answer.decoder.push(answer.tokens.back())); // to the client that waits for it
      answer.text += piece;
      inputs.push_back({&answer.sequence, std::span(&answer.tokens.back(), 1)});
    }
    LLMOPT_RETURN_IF_ERROR(engine.step(inputs, output)); // an error leaves all sequences as they were
    for (size_t i = 0; i < answers.size(); ++i)
      answers[i].tokens.push_back(answers[i].sampler.sample(output.row(output.firstRow(i)), answers[i].tokens).value_or(0));
  }
  for (Answer &answer : answers)
    std::printf("%s%s\n", prompt, (answer.text + answer.decoder.flush()).c_str());
  std::fprintf(stderr, "%llu bytes of keys and values\n", static_cast<unsigned long long>(engine.cacheBytesInUse()));
  return {};
}

} // namespace

int main(int argc, char **argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: serve MODEL.llmopt PROMPT ANSWERS\n");
    return 2;
  }
  Status status = serve(argv[1], argv[2], std::strtoul(argv[3], nullptr, 10));
  if (status.ok())
    return 0;
  std::fprintf(stderr, "%s\n", status.error().str().c_str());
  return static_cast<int>(status.error().kind);
}
