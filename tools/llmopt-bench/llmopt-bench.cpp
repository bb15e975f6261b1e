//===- llmopt-bench.cpp - how fast a compiled model is --------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Bench.h"

#include <iostream>

using namespace llmopt;
using namespace llmopt::tools;

static constexpr const char *kExamples = R"(
Numbers may be lists and ranges: 1,2,4  128-512+128  1-8*2

EXAMPLES:
  llmopt-bench model.llmopt                       pp512 and tg128
  llmopt-bench model.llmopt -p 512 -n 128 -d 0,2048 -t 1,2 -o json
  llmopt-bench bert.llmopt --shape input_ids=8x128
  llmopt-bench resnet.llmopt                      all of its shapes are fixed: nothing to say
  llmopt-bench fusions model.onnx -p 128 -n 64     what each fusion is worth on this model
  llmopt-bench machine                            what this machine can do at most, kept for --profile

Loading, tokenizing and sampling are not measured. One run before each measurement does not count.
)";

/// A thread count needs an engine of its own; weights stay in the page cache.
static Result<Engine> loadWith(const BenchOptions &options, int64_t threads) {
  return Engine::load(options.artifact, {.threads = unsigned(threads)});
}

static Status run(const BenchOptions &options) {
  if (options.artifact.empty())
    return usageError("E1601", "no artifact; try llmopt-bench --help");
  LLMOPT_ASSIGN(std::vector<int64_t> threads, expandNumbers(options.threads, "--threads"));
  Engine::pinCallingThread();
  std::vector<Sample> samples;
  std::optional<Engine> engine;
  bool byShape = false;
  for (int64_t count : threads) {
    LLMOPT_ASSIGN(engine, loadWith(options, count));
    options.profile.begin(*engine);
    byShape = runsOnShapes(*engine, options);
    if (byShape) {
      LLMOPT_ASSIGN(Sample sample, benchShapes(*engine, options));
      samples.push_back(std::move(sample));
      continue;
    }
    LLMOPT_ASSIGN(std::vector<Sample> more, benchDecoder(*engine, options));
    samples.insert(samples.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  }
  if (options.format == "json")
    std::cout << (byShape ? shapeJson(*engine, samples) : decoderJson(*engine, samples)).str(2) << '\n';
  else
    byShape ? printShapeTable(*engine, samples) : printDecoderTable(*engine, samples);
  return options.profile.finish(*engine);
}

/// What to measure, for artifacts and for `fusions`.
static void addTests(CLI::App &app, BenchOptions &options) {
  app.add_option("-p,--n-prompt", options.prompts, "Prompt tokens [default: 512, at most the model's context]")->allow_extra_args(false);
  app.add_option("-n,--n-gen", options.generates, "Tokens to generate [default: 128, at most the model's context]")->allow_extra_args(false);
  app.add_option("-d,--n-depth", options.depths, "Tokens in the cache before")->allow_extra_args(false)->capture_default_str();
  app.add_option("-t,--threads", options.threads, "Compute threads; 0: one for each core this process may use")
      ->allow_extra_args(false)->capture_default_str();
  app.add_option("-r,--repetitions", options.repeats, "Runs of each test [default: 5; with --shape 10 to 100, about 3 seconds]")
      ->check(CLI::Range(1, 100000));
  app.add_option("--warm-up", options.warmUpMilliseconds, "Milliseconds of runs that do not count, one at least; with --shape")
      ->check(CLI::Range(0, 60000))->capture_default_str();
  app.add_option("--shape", options.shapes, "NAME=8x128: shape of an input, for models that do not generate; once for each input "
                                            "whose dimensions do not follow from the others'")->allow_extra_args(false);
  app.add_option("-o,--output", options.format, "md or json")->check(CLI::IsMember({"md", "json"}))->capture_default_str();
}

int main(int argc, char **argv) {
  CLI::App app("Measures the speed of a model that llmopt-compile made.", "llmopt-bench");
  BenchOptions options;
  app.add_option("artifact", options.artifact, "model.llmopt");
  addTests(app, options);
  options.profile.add(app);
  app.footer(kExamples);
  MachineOptions machine;
  CLI::App *limits = app.add_subcommand("machine", "Measures reading, arithmetic and barriers on this machine and keeps the results");
  limits->add_option("-t,--threads", machine.threads, "Measure with 1 to this many threads; 0: the cores this process may use")
      ->check(CLI::Range(0, 1024))->capture_default_str();
  limits->add_option("-f,--file", machine.file, "File to write [LLMOPT_MACHINE_FILE, or one for this host in the user's cache folder]");
  limits->add_option("-o,--output", machine.format, "md or json")->check(CLI::IsMember({"md", "json"}))->capture_default_str();
  FusionOptions fusions;
  CLI::App *worth = app.add_subcommand("fusions", "Compiles a model without each fusion in turn and measures what it was worth");
  worth->add_option("model", fusions.model, "What llmopt-compile takes")->required();
  worth->add_option("--compile-flag", fusions.compileFlags, "Flag for llmopt-compile, for example --compile-flag=-O3 (repeatable)")->allow_extra_args(false);
  addTests(*worth, fusions.bench);
  return runProgram(app, argc, argv, [&] {
    return limits->parsed() ? benchMachine(machine) : worth->parsed() ? benchFusions(fusions) : run(options);
  });
}
