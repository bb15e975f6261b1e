//===- llmopt-eval.cpp - measures what a compiled model says --------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Eval.h"

using namespace llmopt;
using namespace llmopt::tools;

static constexpr const char *kExamples = R"(
EXAMPLES:
  llmopt-eval generate model.llmopt --cases greedy.tsv --batch 16
  llmopt-eval logits model.llmopt --ids ids.npy --mask mask.npy -o logits.npy
  llmopt-eval logits t5.llmopt --ids source.npy --decoder-ids target.npy -o logits.npy
  llmopt-eval perplexity model.llmopt --text heldout.txt
  llmopt-eval onnx-suite node-suite -j 2
  llmopt-eval agree Llama-folder -O 0,3

Each subcommand has its own --help.
)";

int main(int argc, char **argv) {
  CLI::App app("Compares a compiled model with what is known about it.", "llmopt-eval");
  app.require_subcommand(1);
  app.footer(kExamples);

  GenerateCommand generate;
  CLI::App *command = app.add_subcommand("generate", "Greedy answers against a list of known ones; exit status 5 unless all are equal");
  generate.load.add(*command);
  command->add_option("--cases", generate.cases, "Lines of PROMPT IDS<TAB>ANSWER IDS; more columns and lines with # are ignored")->required();
  command->add_option("--batch", generate.batch, "Sequences in a step at most")->check(CLI::Range(1, 4096))->capture_default_str();
  command->add_option("--limit", generate.limit, "Look at the first cases only");
  command->add_option("--show", generate.show, "Differing cases to print on stderr")->capture_default_str();

  LogitsCommand logits;
  CLI::App *logitsCommand = app.add_subcommand("logits", "Logits of all positions, or an encoder's last hidden state");
  logits.load.add(*logitsCommand);
  logitsCommand->add_option("--ids", logits.ids, "Token ids, .npy of shape [length] or [batch, length]")->required();
  logitsCommand->add_option("--mask", logits.mask, "0 where --ids is padding, of the same shape; padding gives zeros");
  logitsCommand->add_option("--token-types", logits.tokenTypes, "Segment of each token, of the same shape (encoders)");
  logitsCommand->add_option("--decoder-ids", logits.decoderIds, "Encoder-decoders: what the decoder is fed; --ids go to the encoder");
  logitsCommand->add_option("--batch", logits.batch, "Sequences in a step at most")->check(CLI::Range(1, 4096))->capture_default_str();
  logitsCommand->add_option("-o,--output", logits.output, "Result, .npy of type f32")->required();

  PerplexityCommand perplexity;
  CLI::App *perplexityCommand = app.add_subcommand("perplexity", "How well the model predicts a text");
  perplexity.load.add(*perplexityCommand);
  perplexityCommand->add_option("--text", perplexity.text, "UTF-8 text")->required();
  perplexityCommand->add_option("--context", perplexity.context, "Tokens the model sees at most; 0: its own context")->capture_default_str();
  perplexityCommand->add_option("--stride", perplexity.stride, "Tokens counted in each further window; 0: half the context")->capture_default_str();
  perplexityCommand->add_flag("--json", perplexity.json, "Print JSON");

#ifdef LLMOPT_WITH_COMPILER
  OnnxSuiteCommand suite;
  CLI::App *suiteCommand = app.add_subcommand("onnx-suite", "Compiles and runs ONNX test folders; one line a case: NAME PASS|FAIL|UNSUPPORTED reason");
  suiteCommand->add_option("folders", suite.folders, "Cases (folders with a model.onnx), or folders of cases")->required();
  suiteCommand->add_option("--filter", suite.filter, "Regular expression on case names");
  suiteCommand->add_option("-j,--jobs", suite.jobs, "Cases at the same time, each in a process of its own")->check(CLI::Range(1u, 256u))->capture_default_str();
  suiteCommand->add_option("-O", suite.level, "Optimization level")->check(CLI::Range(0, 3))->capture_default_str();
  suiteCommand->add_option("--target", suite.target, "Compile for this target")->capture_default_str();
  suiteCommand->add_option("--cuda-compiler", suite.cudaCompiler, "For sm_NN, as of llmopt-compile; emulate, with LLMOPT_LIBCUDA naming the stand-in driver, needs no GPU")->capture_default_str();
  suiteCommand->add_option("--rtol", suite.rtol, "Allowed relative difference where a case has no tolerance.json")->capture_default_str();
  suiteCommand->add_option("--atol", suite.atol, "Allowed absolute difference where a case has no tolerance.json")->capture_default_str();
  suiteCommand->add_option("--timeout", suite.timeout, "Seconds of a processor that a case may take")->capture_default_str();
  suiteCommand->add_flag("--pairs", suite.pairs, "Cases NAME_expanded must also agree with NAME (1e-6 in f32, else the case's tolerance)");
  suiteCommand->add_flag("--json", suite.json, "Print JSON");

  AgreeCommand agree;
  CLI::App *agreeCommand = app.add_subcommand("agree", "Compiles a model and compares it with the reference interpreter; exit status 5 unless all results agree");
  agreeCommand->add_option("model", agree.model, "What llmopt-compile takes")->required();
  agreeCommand->add_option("-O", agree.levels, "Optimization levels")->delimiter(',')->check(CLI::Range(0, 3))->capture_default_str();
  agreeCommand->add_option("--target", agree.target, "Compile for this target")->capture_default_str();
  agreeCommand->add_option("--cuda-compiler", agree.cudaCompiler, "For sm_NN, as of llmopt-compile; emulate, with LLMOPT_LIBCUDA naming the stand-in driver, needs no GPU")->capture_default_str();
  agreeCommand->add_option("--architectures", agree.architectures, "Folder with further architecture descriptions (repeatable)");
  agreeCommand->add_option("--test-data", agree.testData, "Graphs: folder with input_N.pb [random inputs]");
  agreeCommand->add_option("--size", agree.sizes, "Graphs: NAME=V, value of a dynamic dimension [made up] (repeatable)");
  agreeCommand->add_option("--seed", agree.seed, "Of the random numbers")->capture_default_str();
  agreeCommand->add_option("-t,--threads", agree.threads, "Compute threads; 0: one for each core")->capture_default_str();
  agreeCommand->add_option("--rtol", agree.rtol, "Allowed relative difference")->capture_default_str();
  agreeCommand->add_option("--atol", agree.atol, "Allowed absolute difference")->capture_default_str();
#endif

  return runProgram(app, argc, argv, [&] {
#ifdef LLMOPT_WITH_COMPILER
    if (suiteCommand->parsed())
      return suite.run();
    if (agreeCommand->parsed())
      return agree.run();
#endif
    Engine::pinCallingThread();
    return command->parsed() ? generate.run() : logitsCommand->parsed() ? logits.run() : perplexity.run();
  });
}
