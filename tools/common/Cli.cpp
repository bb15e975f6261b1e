//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "tools/common/Cli.h"

#include "llmopt/lib/Artifact/Artifact.h"
#include "llmopt/lib/Target/Target.h"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <iostream>

using namespace llmopt;

size_t tools::editDistance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> cost(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i)
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = i + j;
        continue;
      }
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, cost[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  return cost[a.size()][b.size()];
}

/// The flag of the program, or of the subcommand in use, that is nearest to what was typed.
static std::string nearestFlag(const CLI::App &app, const std::string &typed) {
  std::string best, flag = typed.substr(0, typed.find('='));
  size_t least = std::max<size_t>(2, flag.size() / 3) + 1;
  auto look = [&](const CLI::App &program) {
    for (const CLI::Option *option : program.get_options())
      for (const std::string &name : option->get_lnames())
        if (size_t distance = tools::editDistance(flag, "--" + name); distance < least) {
          least = distance;
          best = "--" + name;
        }
  };
  look(app);
  for (const CLI::App *sub : app.get_subcommands())
    look(*sub);
  return best;
}

int tools::reportUsage(const CLI::App &app, const CLI::ParseError &error) {
  std::cerr << app.get_name() << ": " << error.what() << '\n';
  for (const std::string &word : app.remaining(true))
    if (word.starts_with("-"))
      if (std::string nearest = nearestFlag(app, word); !nearest.empty())
        std::cerr << "did you mean " << nearest << "?\n";
  std::cerr << "try: " << app.get_name() << " --help\n";
  return int(ErrorKind::Usage);
}

static std::string versionText() {
  std::string features;
  for (const std::string &feature : hostFeatures())
    features += " " + feature;
  std::string build = "release";
#ifndef NDEBUG
  build = "debug";
#endif
  return "llmopt " LLMOPT_VERSION " (" + build + ", artifact format " + std::to_string(kArtifactMajor) + "." + std::to_string(kArtifactMinor) +
         ")\ncpu:" + features + "\n";
}

int tools::runProgram(CLI::App &app, int argc, char **argv, const std::function<Status()> &work) {
  // A reader that went away ends the program quietly, as other filters do.
  std::signal(SIGPIPE, SIG_DFL);
  app.set_version_flag("--version", versionText);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success &request) { // --help, --version
    return app.exit(request);
  } catch (const CLI::ParseError &error) {
    return reportUsage(app, error);
  }
  Status status = work();
  std::cout.flush();
  if (status.ok() && !std::cout) {
    std::cerr << app.get_name() << ": standard output cannot be written\n";
    return int(ErrorKind::BadInput);
  }
  if (status.ok())
    return 0;
  std::cerr << status.error().str() << '\n';
  return int(status.error().kind);
}

Result<std::vector<int32_t>> tools::parseIds(const std::string &text, const std::string &context) {
  std::vector<int32_t> ids;
  const char *at = text.data(), *end = at + text.size();
  while (true) {
    while (at < end && (*at == ' ' || *at == ',' || *at == '\t' || *at == '\r' || *at == '\n'))
      ++at;
    if (at == end)
      return ids;
    int32_t id = 0;
    auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc())
      return usageError("E1601", "'" + std::string(at, std::find(at, end, ' ')) + "' is not a token id", context);
    ids.push_back(id);
    at = next;
  }
}

Result<std::pair<std::string, std::string>> tools::splitAssignment(const std::string &text, const std::string &flag) {
  size_t sign = text.find('=');
  if (sign == text.npos || sign == 0 || sign + 1 == text.size())
    return usageError("E1601", "'" + text + "' is not of the form NAME=VALUE", flag);
  return std::pair(text.substr(0, sign), text.substr(sign + 1));
}

void tools::LoadFlags::add(CLI::App &app) {
  app.add_option("artifact", artifact, "model.llmopt, made by llmopt-compile")->required();
  app.add_option("-t,--threads", threads, "Compute threads; 0: one for each core this process may use")
      ->envname("LLMOPT_NUM_THREADS")
      ->check(CLI::Range(0u, 1024u))
      ->capture_default_str();
  app.add_option("--device", device, "cpu, cuda or cuda:N [a GPU if the artifact has code for one that is here, else the CPU]");
  app.add_flag("--verify", verify, "Check the weights' checksum before running");
}
