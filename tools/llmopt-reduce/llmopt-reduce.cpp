//===- llmopt-reduce.cpp - a small model that still fails ------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "tools/common/Cli.h"

#include "lib/Workbench/RandomGraph.h"
#include "llmopt/lib/Support/File.h"
#include "llmopt/lib/Workbench/Differential.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <unistd.h>

using namespace llmopt;
namespace fs = std::filesystem;

static constexpr const char *kExamples = R"(
EXAMPLES:
  llmopt-reduce model.onnx -o small.onnx                     -O0 and -O3 differ, or the compiler crashes or refuses
  llmopt-reduce model.onnx -o small.onnx --message "'Foo'"   it refuses, and says this
  llmopt-reduce model.onnx -o small.onnx --test './check.sh {}'
  llmopt-reduce model.onnx -o small.mlir                     as a module of the llm dialect
  llmopt-reduce --random 10000 --seed 1 -o failures          random graphs; what fails is made small

Exit status: 0 reduced, or no random graph failed; 5 a random graph failed; 2 nothing fails.)";

namespace {

struct Command {
  std::string input, output, test, message;
  uint64_t random = 0, seed = 1;
  unsigned jobs = 1;
  bool noInterpreter = false, keepGoing = false;
  DifferentialOptions options;

  Status run() {
    options.interpreter = !noInterpreter;
    if (random)
      return runRandom();
    if (input.empty())
      return usageError("E0310", "no model and no --random; try llmopt-reduce --help");
    return reduce(input, output.empty() ? "reduced" + fs::path(input).extension().string() : output);
  }

private:
  Status reduce(const std::string &path, const std::string &target) {
    StillFails fails = testCommand();
    if (test.empty()) {
      Status failure = compareLevels(path, options);
      if (failure.ok())
        return usageError("E0515", "-O0, -O3 and the interpreter agree; give a --test that fails", path);
      if (failure.error().code == "E0514")
        return failure;
      std::fprintf(stderr, "%s\n", failure.error().str().c_str());
      if (failure.error().str().find(message) == std::string::npos)
        return usageError("E0515", "the failure does not say '" + message + "'", path);
      // Another error of a smaller graph is another story.
      fails = [this, code = failure.error().code](const std::string &candidate) {
        Status status = compareLevels(candidate, options);
        return !status.ok() && status.error().code == code && status.error().str().find(message) != std::string::npos;
      };
    }
    LLMOPT_RETURN_IF_ERROR(reduceModel(path, target, fails, [](size_t operations) { std::fprintf(stderr, "%zu operations\n", operations); }));
    std::fprintf(stderr, "wrote %s\n", target.c_str());
    return {};
  }

  StillFails testCommand() const {
    return [this](const std::string &candidate) {
      std::string command = test, quoted = "'" + candidate + "'";
      if (command.find("{}") == command.npos)
        command += " {}";
      for (size_t at = 0; (at = command.find("{}", at)) != command.npos; at += quoted.size())
        command.replace(at, 2, quoted);
      return std::system((command + " > /dev/null 2>&1").c_str()) != 0;
    };
  }

  struct Round {
    uint64_t failed = 0, unsuited = 0;
  };

  /// Makes graphs, compares them, keeps and reduces those that fail.
  Result<Round> runRound(const std::string &folder, uint64_t first, uint64_t count) {
    std::vector<std::string> paths;
    for (uint64_t i = first; i < first + count; ++i) {
      paths.push_back(folder + "/graph-" + std::to_string(i) + ".mlir");
      LLMOPT_ASSIGN(AtomicFile file, AtomicFile::create(paths.back()));
      LLMOPT_RETURN_IF_ERROR(file.write(randomGraph(i)));
      LLMOPT_RETURN_IF_ERROR(file.commit());
    }
    LLMOPT_ASSIGN(std::vector<Status> results, compareLevels(paths, options, jobs));
    Round round;
    for (size_t i = 0; i < paths.size(); ++i) {
      const Status &status = results[i];
      bool unsuitable = !status.ok() && status.error().code == "E0514", reported = !keepGoing && round.failed > 0;
      round.unsuited += unsuitable;
      if (status.ok() || unsuitable || reported) {
        std::error_code ignored;
        fs::remove(paths[i], ignored);
        continue;
      }
      ++round.failed;
      std::printf("FAIL seed %llu: %s\n", (unsigned long long)(first + i), status.error().message.c_str());
      std::fflush(stdout);
      if (Status reduced = reduce(paths[i], fs::path(paths[i]).replace_extension().string() + "-reduced.mlir"); !reduced)
        std::fprintf(stderr, "%s\n", reduced.error().str().c_str());
    }
    return round;
  }

  Status runRandom() {
    std::string folder = output.empty() ? "." : output;
    std::error_code error;
    fs::create_directories(folder, error);
    constexpr uint64_t kRound = 200; // graphs that lie in the folder at a time
    uint64_t failed = 0, unsuited = 0, done = 0;
    while (done < random && (keepGoing || failed == 0)) {
      uint64_t first = seed + done, count = std::min(kRound, random - done);
      LLMOPT_ASSIGN(Round round, runRound(folder, first, count));
      failed += round.failed;
      unsuited += round.unsuited;
      done += count;
      if (isatty(STDERR_FILENO))
        std::fprintf(stderr, "\r%llu of %llu graphs, %llu failed%s", (unsigned long long)done, (unsigned long long)random, (unsigned long long)failed,
                     done == random ? "\n" : "");
    }
    std::printf("%llu graphs, %llu failed, %llu overflow or are rounding alone in the reference and were not compared\n", (unsigned long long)done,
                (unsigned long long)failed, (unsigned long long)unsuited);
    return failed ? verificationFailed("E0511", std::to_string(failed) + " random graphs failed", folder) : Status();
  }
};

} // namespace

int main(int argc, char **argv) {
  CLI::App app("Makes a failing model small, or looks for one among random graphs.", "llmopt-reduce");
  app.footer(kExamples);
  Command command;
  app.add_option("model", command.input, "model.onnx, or model.mlir of the llm dialect");
  app.add_option("-o,--output", command.output, "The small model [reduced.onnx, or reduced.mlir for a .mlir]; with --random: a folder [.]");
  app.add_option("--test", command.test, "Shell command that fails as long as the failure is there; {} is the candidate [-O0, -O3 and interpreter agree]");
  app.add_option("--message", command.message, "Without --test: text that the failure's message must keep")->excludes("--test");
  app.add_option("--random", command.random, "Test this many random graphs instead");
  app.add_option("--seed", command.seed, "Of the first random graph; the next have the next")->capture_default_str();
  app.add_option("--jobs", command.jobs, "With --random: processes at the same time")->check(CLI::Range(1, 256))->capture_default_str();
  app.add_flag("--keep-going", command.keepGoing, "With --random: go on after the first failure");
  app.add_flag("--no-interpreter", command.noInterpreter, "Compare the levels with each other alone");
  app.add_option("--tolerance", command.options.tolerance, "Of the difference's norm against the values'")->capture_default_str();
  app.add_option("--timeout", command.options.seconds, "Seconds of a processor that a candidate may take")->capture_default_str();
  return tools::runProgram(app, argc, argv, [&] { return command.run(); });
}
