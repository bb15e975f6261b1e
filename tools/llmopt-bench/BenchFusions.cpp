//===- BenchFusions.cpp - what each fusion is worth on a model -------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The compiler runs as a program of its own, so that llmopt-bench needs no LLVM.
//
//===----------------------------------------------------------------------===//
#include "Bench.h"

#include "llmopt/lib/Support/File.h"
#include "llmopt/lib/Support/ScratchFolder.h"

#include <cstdio>
#include <filesystem>
#include <iostream>
#include <map>
#include <spawn.h>
#include <sys/wait.h>

using namespace llmopt;
using namespace llmopt::tools;
namespace fs = std::filesystem;

namespace {

/// llmopt-compile beside this program; its errors go to stderr, and its exit status becomes ours.
Status compile(std::vector<std::string> arguments) {
  std::error_code error;
  std::string program = (fs::read_symlink("/proc/self/exe", error).parent_path() / "llmopt-compile").string();
  arguments.insert(arguments.begin(), program);
  std::vector<char *> argv;
  for (std::string &argument : arguments)
    argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_t child = 0;
  if (int code = ::posix_spawn(&child, program.c_str(), nullptr, nullptr, argv.data(), environ))
    return usageError("E1605", "cannot start the compiler: " + std::generic_category().message(code), program);
  int state = 0;
  while (::waitpid(child, &state, 0) < 0)
    if (errno != EINTR)
      return internalError("E1605", "lost the compiler", program);
  if (WIFEXITED(state) && WEXITSTATUS(state) == 0)
    return {};
  ErrorKind kind = WIFEXITED(state) ? ErrorKind(WEXITSTATUS(state)) : ErrorKind::Internal;
  return Error{"E1605", kind, "the compiler failed; its message stands above", program, {}};
}

/// Name and number of the fusions that the compiler made.
Result<std::map<std::string, size_t>> fusionsMade(const std::string &remarksFile) {
  LLMOPT_ASSIGN(std::string text, readTextFile(remarksFile, uint64_t(1) << 30));
  LLMOPT_ASSIGN(Json remarks, Json::parse(text, remarksFile));
  std::map<std::string, size_t> made;
  for (const Json &remark : remarks.asArray())
    if (remark.find("kind")->asString() == "passed" && remark.find("category")->asString() == "fusion")
      ++made[remark.find("name")->asString()];
  return made;
}

Result<std::vector<Sample>> measure(const Engine &engine, const BenchOptions &options) {
  if (!runsOnShapes(engine, options))
    return benchDecoder(engine, options);
  LLMOPT_ASSIGN(Sample sample, benchShapes(engine, options));
  return std::vector<Sample>{std::move(sample)};
}

/// The same tests with both artifacts, in turns, so that a busy moment of the machine meets both.
Result<std::vector<std::pair<Sample, Sample>>> measureInTurns(const Engine &with, const Engine &without, const BenchOptions &options, size_t rounds) {
  std::vector<std::pair<Sample, Sample>> pairs;
  for (size_t round = 0; round < rounds; ++round) {
    LLMOPT_ASSIGN(std::vector<Sample> first, measure(with, options));
    LLMOPT_ASSIGN(std::vector<Sample> second, measure(without, options));
    if (round == 0)
      for (size_t i = 0; i < first.size(); ++i)
        pairs.emplace_back(std::move(first[i]), std::move(second[i]));
    else
      for (size_t i = 0; i < first.size(); ++i) {
        pairs[i].first.nanoseconds.push_back(first[i].nanoseconds.front());
        pairs[i].second.nanoseconds.push_back(second[i].nanoseconds.front());
      }
  }
  return pairs;
}

} // namespace

Status tools::benchFusions(const FusionOptions &options) {
  LLMOPT_ASSIGN(ScratchFolder folder, ScratchFolder::make("fusions"));
  std::vector<std::string> flags = options.compileFlags;
  flags.insert(flags.begin(), {options.model, "-q"});
  auto compileTo = [&](const std::string &artifact, std::vector<std::string> more) {
    more.insert(more.begin(), flags.begin(), flags.end());
    more.insert(more.end(), {"-o", artifact});
    return compile(std::move(more));
  };
  std::string base = folder / "all.llmopt", remarks = folder / "remarks.json";
  std::fprintf(stderr, "compiling with all fusions\n");
  LLMOPT_RETURN_IF_ERROR(compileTo(base, {"--remarks-format=json", "--remarks-output=" + remarks}));
  LLMOPT_ASSIGN(auto made, fusionsMade(remarks));
  LLMOPT_ASSIGN(std::vector<int64_t> threads, expandNumbers(options.bench.threads, "--threads"));
  if (threads.size() != 1)
    return usageError("E1601", "one number of threads, please", "--threads");
  EngineOptions load{.threads = unsigned(threads.front())};
  LLMOPT_ASSIGN(Engine all, Engine::load(base, load));
  Engine::pinCallingThread();

  BenchOptions once = options.bench;
  once.repeats = 1;
  once.warmUpMilliseconds = 0;
  Json rows{Json::Array{}};
  if (options.bench.format == "md")
    std::printf("| fusion | made | test | with (ms) | without (ms) | gain |\n| --- | ---: | --- | ---: | ---: | ---: |\n");
  for (const auto &[name, count] : made) {
    std::fprintf(stderr, "compiling without %s\n", name.c_str());
    std::string path = folder / (name + ".llmopt");
    LLMOPT_RETURN_IF_ERROR(compileTo(path, {"--disable-fusion=" + name}));
    LLMOPT_ASSIGN(Engine without, Engine::load(path, load));
    LLMOPT_ASSIGN(auto pairs, measureInTurns(all, without, once, options.bench.repeats.value_or(7)));
    for (const auto &[on, off] : pairs) {
      double fused = percentileOf(on.nanoseconds, 0.5) * 1e-6, apart = percentileOf(off.nanoseconds, 0.5) * 1e-6;
      if (options.bench.format == "md")
        std::printf("| %s | %zu | %s | %.3f | %.3f | %.2fx |\n", name.c_str(), count, on.test.c_str(), fused, apart, apart / fused);
      Json row;
      row.set("fusion", name).set("made", int64_t(count)).set("test", on.test).set("threads", int64_t(on.threads));
      row.set("median_ms", fused).set("median_ms_without", apart).set("gain", apart / fused);
      rows.push(std::move(row));
    }
    std::error_code ignored;
    fs::remove(path, ignored); // the engine keeps its mapping
  }
  if (options.bench.format == "json")
    std::cout << rows.str(2) << '\n';
  return {};
}
