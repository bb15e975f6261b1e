//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Inspect.h"

#include "llmopt/lib/Target/TuningDatabase.h"

#include <cstdio>

using namespace llmopt;
using namespace llmopt::tools;

std::string tools::sizeText(double bytes) {
  const char *units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < std::size(units); ++unit)
    bytes /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
  return text;
}

static const char *text(const Json &object, const char *key) { return object.find(key)->asString().c_str(); }
static std::string size(const Json &object, const char *key) { return sizeText(object.find(key)->asDouble()); }
static long long number(const Json &object, const char *key) { return object.find(key)->asInt(); }
static const Json::Array &list(const Json &object, const char *key) { return object.find(key)->asArray(); }

static std::string joined(const Json::Array &words) {
  std::string line;
  for (const Json &word : words)
    line += (line.empty() ? "" : ", ") + word.asString();
  return line;
}

static void printEntry(const Json &entry) {
  std::printf("\nentry %s: %lld stages, %lld barriers, %lld kernels\n", text(entry, "name"), number(entry, "stages"),
              number(entry, "barriers"), number(entry, "kernels"));
  for (const Json &input : list(entry, "inputs"))
    std::printf("  in   %s %s\n", text(input, "name"), text(input, "type"));
  for (const Json &output : list(entry, "outputs"))
    std::printf("  out  %s %s\n", text(output, "name"), text(output, "type"));
  for (const auto &[family, count] : entry.find("families")->asObject())
    std::printf("  %6lld  %s\n", static_cast<long long>(count.asInt()), family.c_str());
}

/// The chosen way of each kernel and fusion, and both times.
static void printTuning(const Json &record) {
  Result<TuningDatabase> tuning = TuningDatabase::fromJson(record, "tuning");
  if (!tuning) // of another version
    return;
  std::printf("\ntuning of %s, measured on %s with %u threads\n", text(record, "target"), tuning->processor.c_str(), tuning->threads);
  for (const auto &[key, entry] : tuning->entries())
    std::printf("  %s (%s) %s %s\n    %s\n    %s\n", key.kernel.c_str(), key.ops.c_str(), key.shape.c_str(), key.dtype.c_str(), entry.choice.c_str(),
                describeTimes(entry).c_str());
}

void tools::printSummary(const Json &summary) {
  std::printf("%s\n\nmodel\n", text(summary, "file"));
  for (const auto &[key, value] : summary.find("model")->asObject())
    std::printf("  %-24s %s\n", key.c_str(), value.isString() ? value.asString().c_str() : value.str().c_str());
  std::printf("\ntargets\n");
  for (const Json &target : list(summary, "targets")) {
    std::string missing = joined(list(target, "missing"));
    std::printf("  %-12s %s (needs %s)\n", text(target, "name"),
                missing.empty() ? "runs here" : ("does not run here: this CPU lacks " + missing).c_str(), joined(list(target, "features")).c_str());
  }
  std::printf("\nsections\n");
  for (const Json &section : list(summary, "sections"))
    std::printf("  %-20s %12s\n", text(section, "name"), size(section, "bytes").c_str());
  for (const Json &record : list(summary, "tuning"))
    printTuning(record);
  if (!summary.find("entries"))
    return;
  std::printf("\nweights\n");
  for (const Json &row : list(summary, "weights"))
    std::printf("  %-20s %6lld tensors %12s\n", text(row, "type"), number(row, "tensors"), size(row, "bytes").c_str());
  if (number(summary, "states"))
    std::printf("\nkey-value cache: %lld states, %s for each token\n", number(summary, "states"), size(summary, "cache_bytes_per_token").c_str());
  for (const Json &entry : list(summary, "entries"))
    printEntry(entry);
}

void tools::printWeights(const Json &weights) {
  for (const Json &row : weights.asArray())
    std::printf("%12s  %-6s %-12s %-18s %s\n", size(row, "bytes").c_str(), text(row, "dtype"), text(row, "layout"),
                row.find("shape")->str().c_str(), text(row, "name"));
}

void tools::printStages(const Json &stages) {
  std::string entry;
  int index = 0;
  for (const Json &row : stages.asArray()) {
    std::string now = std::string(text(row, "target")) + " " + text(row, "entry");
    if (now != entry) {
      std::printf("%s\n", now.c_str());
      entry = now;
      index = 0;
    }
    std::printf("%4d %s %-16s %s\n", index++, row.find("barrier")->asBool() ? "|" : " ", text(row, "family"), text(row, "name"));
    std::printf("       %s\n", joined(list(row, "bindings")).c_str());
    for (const Json &variant : list(row, "variants")) {
      std::string limit = number(variant, "limit") ? std::string(text(row, "selector")) + " <= " + std::to_string(number(variant, "limit")) + ": " : "";
      std::printf("       %s%s, units %s, scratch %s\n", limit.c_str(), text(variant, "kernel"), text(variant, "units"), text(variant, "scratch"));
    }
  }
}

void tools::printKernels(const Json &targets) {
  for (const Json &target : targets.asArray()) {
    if (target.isNull())
      continue;
    std::printf("%s by %s; bounds for %s at nominal speeds, decode 1 token, prefill %lld\n", text(target, "architecture"), text(target, "compiler"), text(target, "gpu"),
                number(target, "tokens"));
    std::printf("%-34s %-14s %4s %4s %5s %8s %6s %4s %-20s %s\n", "kernel", "family", "thr", "regs", "spill", "shared", "stages", "b/SM", "occupancy", "per run: bound, time at least, of bandwidth, of peak");
    for (const Json &row : list(target, "kernels")) {
      std::printf("%-34s %-14s %4lld %4lld %5lld %8lld %6lld %4lld %3.0f%% %-15s", text(row, "name"), text(row, "family"), number(row, "threads"), number(row, "registers"),
                  number(row, "spill"), number(row, "shared"), number(row, "stages"), number(row, "blocks_per_sm"), 100 * row.find("occupancy")->asDouble(), text(row, "limited_by"));
      for (const char *run : {"decode", "prefill", "load"})
        if (const Json *sum = row.find(run))
          std::printf("  %s %lldx %s %.2f us %.0f%% %.0f%%", run, number(*sum, "launches"), text(*sum, "bound"), sum->find("microseconds")->asDouble(),
                      100 * sum->find("of_bandwidth")->asDouble(), 100 * sum->find("of_peak")->asDouble());
      std::printf("\n");
    }
  }
}
