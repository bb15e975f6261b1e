//===- llmopt-run.cpp - runs a compiled model -----------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "RunOptions.h"

#include <chrono>
#include <cstdio>

using namespace llmopt;
using namespace llmopt::tools;

static constexpr const char *kExamples = R"(
EXAMPLES:
  llmopt-run story.llmopt --prompt "Once upon a time" --max-tokens 200
  llmopt-run chat.llmopt -p "The capital of France is" --temperature 0.8 --top-p 0.95 --seed 7
  llmopt-run planner.llmopt --ids "0 7 14 16 20 25 49"
  llmopt-run bert.llmopt --input input_ids=@ids.npy --input attention_mask=@mask.npy --output-dir out
  llmopt-run block.llmopt --test-data test_data_set_0 --rtol 1e-4
)";

static void addTextFlags(CLI::App &app, RunOptions &options) {
  auto group = "Text";
  app.add_option("-p,--prompt", options.prompt, "Text to go on from (encoder-decoders: to answer)")->group(group);
  app.add_option("-f,--prompt-file", options.promptFile, "The same from a file, or from standard input with -; a newline at its end does not count")->group(group);
  app.add_option("--ids", options.ids, "Token ids instead of text: \"1 2 3\"; without a tokenizer the answer is ids too")->group(group);
  app.add_option("-n,--max-tokens", options.maxTokens, "Tokens to generate at most")->capture_default_str()->group(group);
  app.add_option("--temperature", options.temperature, "0: always the most probable token")
      ->check(CLI::Range(0.0, 1e6))->capture_default_str()->group(group);
  app.add_option("--top-k", options.topK, "Draw from the k most probable; 0: all [default: the model's]")
      ->check(CLI::NonNegativeNumber)->group(group);
  app.add_option("--top-p", options.topP, "Draw from the most probable that reach this share [default: the model's]")
      ->check(CLI::Range(0.0, 1.0))->group(group);
  app.add_option("--min-p", options.minP, "Draw from what has this share of the most probable [default: the model's]")
      ->check(CLI::Range(0.0, 1.0))->group(group);
  app.add_option("--repeat-penalty", options.repetitionPenalty, "Above 1: tokens that occurred become less probable")
      ->check(CLI::PositiveNumber)->capture_default_str()->group(group);
  app.add_option("--seed", options.seed, "Of the random numbers; the same seed gives the same text")->capture_default_str()->group(group);
  app.add_option("--stop", options.stop, "End before this text; may be given several times")->allow_extra_args(false)->group(group);
  app.add_flag("--print-ids", options.printIds, "Print the answer's token ids instead of its text")->group(group);
  app.add_flag("--no-echo", options.noEcho, "Print the answer without the prompt before it")->group(group);
  app.add_flag("--ignore-eos", options.ignoreEnd, "Go on behind the end token")->group(group);
  app.add_flag("--perf", options.perf, "Tell on stderr how long loading, prompt and answer took")->group(group);
}

static void addTensorFlags(CLI::App &app, RunOptions &options) {
  auto group = "Tensors";
  app.add_option("--input", options.inputs, "NAME=@FILE.npy or NAME=@FILE.pb; once for each input")->allow_extra_args(false)->group(group);
  app.add_option("--output-dir", options.outputFolder, "Write each output as NAME.npy into this folder")->group(group);
  app.add_option("--expected", options.expected, "NAME=@FILE: compare an output; exit status 5 if it differs")
      ->allow_extra_args(false)->group(group);
  app.add_option("--test-data", options.testData, "Folder with input_N.pb and output_N.pb, as ONNX keeps test data")->group(group);
  app.add_option("--rtol", options.rtol, "Allowed difference, relative to the expected value")
      ->check(CLI::NonNegativeNumber)->capture_default_str()->group(group);
  app.add_option("--atol", options.atol, "Allowed difference, absolute")
      ->check(CLI::NonNegativeNumber)->capture_default_str()->group(group);
}

static Status run(const RunOptions &options) {
  bool text = options.prompt || options.promptFile || options.ids;
  if (text + options.wantsTensors() != 1)
    return usageError("E1601", text ? "text and tensors cannot be given at once"
                                    : "nothing to run on: give --prompt, --prompt-file, --ids, --input or --test-data");
  if ((options.prompt ? 1 : 0) + (options.promptFile ? 1 : 0) + (options.ids ? 1 : 0) > 1)
    return usageError("E1601", "--prompt, --prompt-file and --ids exclude each other");
  Engine::pinCallingThread();
  auto begin = std::chrono::steady_clock::now();
  LLMOPT_ASSIGN(Engine engine, Engine::load(options.load.artifact, options.load.options()));
  if (options.perf)
    std::fprintf(stderr, "load: %.1f ms\n", std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
  options.profile.begin(engine);
  LLMOPT_RETURN_IF_ERROR(text ? runText(engine, options) : runTensors(engine, options));
  return options.profile.finish(engine);
}

int main(int argc, char **argv) {
  CLI::App app("Runs a model that llmopt-compile made: completes text, or computes a graph's outputs.", "llmopt-run");
  RunOptions options;
  options.load.add(app);
  addTextFlags(app, options);
  addTensorFlags(app, options);
  options.profile.add(app);
  app.footer(kExamples);
  return runProgram(app, argc, argv, [&] { return run(options); });
}
