//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "tools/common/Profile.h"

#include "llmopt/lib/Support/File.h"
#include "llmopt/runtime/MachineLimits.h"

#include <algorithm>
#include <cstdio>
#include <map>

using namespace llmopt;
using namespace llmopt::tools;

void ProfileFlags::add(CLI::App &app) {
  app.add_flag("--profile{kernels}", table, "Tell on stderr where the time went and which share of this machine's limits (llmopt-bench machine) "
                                            "was reached, by kernel, or by stage with =stages; puts a barrier behind each stage")
      ->check(CLI::IsMember({"kernels", "stages"}));
  app.add_option("--trace", trace, "Write the stages of each thread as a trace for ui.perfetto.dev or chrome://tracing (a barrier behind each stage)");
}

void ProfileFlags::begin(const Engine &engine) const {
  if (!table.empty() || !trace.empty())
    engine.setProfiling(true);
}

namespace {
struct Row : StageProfile {
  double secondsAtLimit = 0;
};
} // namespace

/// The longer of arithmetic at its peak and of moving the bytes at the rate of reading memory.
static double secondsAtLimit(const StageProfile &row, const MachineLimits &limits, unsigned threads) {
  double peak = limits.arithmeticLimit(row.arithmetic, threads), reading = limits.readLimit(threads);
  return std::max(peak > 0 ? row.flops / peak : 0, reading > 0 ? row.bytesMoved / reading : 0);
}

static std::vector<Row> sumRows(const Engine &engine, bool byStage, const MachineLimits *limits) {
  std::map<std::pair<std::string, uint32_t>, size_t> places;
  std::vector<Row> rows;
  for (const StageProfile &row : engine.profile()) {
    std::string name = row.entry + " " + row.family + " " + row.kernel + (byStage ? " " + row.name : "");
    auto [it, isNew] = places.try_emplace({name, byStage ? row.stage : 0}, rows.size());
    if (isNew)
      rows.emplace_back().name = name;
    Row &sum = rows[it->second];
    sum.calls += row.calls;
    sum.seconds += row.seconds;
    sum.flops += row.flops;
    sum.bytesMoved += row.bytesMoved;
    sum.secondsAtLimit += limits ? secondsAtLimit(row, *limits, engine.threads()) : 0;
  }
  if (!byStage)
    std::sort(rows.begin(), rows.end(), [](const Row &a, const Row &b) { return a.seconds > b.seconds; });
  return rows;
}

/// Stages and barriers (of a step with one token a sequence) of each entry that ran. A model has as many layers as stages with attention.
static void printBarriers(const std::vector<StageProfile> &profile) {
  struct Counts {
    size_t stages = 0, barriers = 0, layers = 0;
  };
  std::map<std::string, Counts> entries;
  for (size_t i = 0; i < profile.size(); ++i) {
    const StageProfile &row = profile[i];
    if (i > 0 && profile[i - 1].entry == row.entry && profile[i - 1].stage == row.stage)
      continue; // another kernel of the same stage
    Counts &counts = entries[row.entry];
    ++counts.stages;
    counts.barriers += row.barrier;
    counts.layers += row.family == "attention" || row.family == "paged_attention";
  }
  for (const auto &[entry, counts] : entries) {
    std::fprintf(stderr, "%s: %zu stages, %zu barriers", entry.c_str(), counts.stages, counts.barriers);
    if (counts.layers)
      std::fprintf(stderr, ", %.1f for each of %zu layers", double(counts.barriers) / double(counts.layers), counts.layers);
    std::fprintf(stderr, "\n");
  }
}

static void printTable(const Engine &engine, bool byStage) {
  Result<MachineLimits> stored = loadMachineLimits(machineLimitsPath());
  const MachineLimits *limits = stored && engine.device() == "cpu" ? &*stored : nullptr;
  std::vector<Row> rows = sumRows(engine, byStage, limits);
  double total = 0, totalAtLimit = 0;
  for (const Row &row : rows)
    total += row.seconds, totalAtLimit += row.secondsAtLimit;
  std::fprintf(stderr, "%7s %10s %9s %9s %9s %9s %9s %9s  entry, family, kernel%s\n", "share", "calls", "us/call", "MFLOP", "MB", "GFLOP/s", "GB/s",
               "of limit", byStage ? ", stage" : "");
  auto print = [&](const char *name, const Row &row) {
    double calls = double(row.calls);
    std::fprintf(stderr, "%6.1f%% %10llu %9.2f %9.3f %9.3f %9.2f %9.2f ", 100 * row.seconds / total, static_cast<unsigned long long>(row.calls),
                 row.seconds * 1e6 / calls, row.flops * 1e-6 / calls, row.bytesMoved * 1e-6 / calls, row.flops / row.seconds * 1e-9,
                 row.bytesMoved / row.seconds * 1e-9);
    limits ? std::fprintf(stderr, "%8.1f%%", 100 * row.secondsAtLimit / row.seconds) : std::fprintf(stderr, "%9s", "-");
    std::fprintf(stderr, "  %s\n", name);
  };
  for (const Row &row : rows)
    print(row.name.c_str(), row);
  if (limits)
    std::fprintf(stderr, "all stages: %.1f%% of the limit of %u thread%s (memory and arithmetic; over 100%% is read from caches)\n", 100 * totalAtLimit / total,
                 engine.threads(), engine.threads() == 1 ? "" : "s");
  else if (engine.device() == "cpu")
    std::fprintf(stderr, "for shares of the limit, measure this machine once: llmopt-bench machine\n");
  printBarriers(engine.profile());
}

/// Chrome's trace event format: complete events, times in microseconds.
static Status writeTrace(const std::vector<StageSpan> &spans, const std::string &path) {
  LLMOPT_ASSIGN(AtomicFile file, AtomicFile::create(path));
  std::string text = "{\"displayTimeUnit\": \"ns\", \"traceEvents\": [";
  const char *separator = "\n";
  for (const StageSpan &span : spans) {
    char numbers[128];
    std::snprintf(numbers, sizeof(numbers), ", \"ph\": \"X\", \"pid\": 1, \"tid\": %u, \"ts\": %.3f, \"dur\": %.3f}", span.thread, span.begin * 1e6,
                  (span.end - span.begin) * 1e6);
    text += separator + ("{\"name\": " + Json(std::string(span.name)).str() + ", \"cat\": " + Json(std::string(span.family)).str()) + numbers;
    separator = ",\n";
    if (text.size() > (1 << 20)) {
      LLMOPT_RETURN_IF_ERROR(file.write(std::string_view(text)));
      text.clear();
    }
  }
  LLMOPT_RETURN_IF_ERROR(file.write(std::string_view(text + "\n]}\n")));
  return file.commit();
}

Status ProfileFlags::finish(const Engine &engine) const {
  if (!table.empty())
    printTable(engine, table == "stages");
  return trace.empty() ? Status() : writeTrace(engine.trace(), trace);
}
