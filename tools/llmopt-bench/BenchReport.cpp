//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Bench.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>

using namespace llmopt;
using namespace llmopt::tools;

double tools::meanOf(const std::vector<double> &values) {
  double sum = 0;
  for (double value : values)
    sum += value;
  return values.empty() ? 0 : sum / double(values.size());
}

double tools::deviationOf(const std::vector<double> &values) {
  double mean = meanOf(values), sum = 0;
  for (double value : values)
    sum += (value - mean) * (value - mean);
  return values.size() < 2 ? 0 : std::sqrt(sum / double(values.size() - 1));
}

double tools::percentileOf(std::vector<double> values, double share) {
  if (values.empty())
    return 0;
  std::sort(values.begin(), values.end());
  double place = share * double(values.size() - 1);
  size_t below = size_t(place), above = std::min(below + 1, values.size() - 1);
  return values[below] + (values[above] - values[below]) * (place - double(below));
}

Result<std::vector<int64_t>> tools::expandNumbers(const std::vector<std::string> &texts, const std::string &flag) {
  std::vector<int64_t> numbers;
  auto wrong = [&](const std::string &part) { return usageError("E1601", "'" + part + "' is not a number or a range such as 1-8*2", flag); };
  for (const std::string &text : texts)
    for (size_t begin = 0; begin <= text.size();) {
      size_t end = std::min(text.find(',', begin), text.size());
      std::string part = text.substr(begin, end - begin);
      begin = end + 1;
      long long first = 0, last = 0, step = 1;
      char sign = '+', rest = 0;
      int fields = std::sscanf(part.c_str(), "%lld-%lld%c%lld%c", &first, &last, &sign, &step, &rest);
      if (fields == 1 && part == std::to_string(first))
        last = first;
      else if (fields != 2 && fields != 4)
        return wrong(part);
      if (first < 0 || last > (1LL << 32) || (sign != '+' && sign != '*') || step < (sign == '*' ? 2 : 1) || (sign == '*' && first == 0))
        return wrong(part);
      constexpr size_t kMost = 10000; // "1-4000000000" would fill the memory
      for (long long value = first; value <= last; value = sign == '*' ? value * step : value + step) {
        if (numbers.size() == kMost)
          return usageError("E1601", "'" + part + "' is more than " + std::to_string(kMost) + " numbers", flag);
        numbers.push_back(value);
      }
    }
  return numbers;
}

static std::vector<double> tokensPerSecond(const Sample &sample) {
  std::vector<double> rates;
  for (double time : sample.nanoseconds)
    rates.push_back(double(sample.prompt + sample.generate) * 1e9 / time);
  return rates;
}

static std::string modelName(const Engine &engine) { return std::filesystem::path(engine.path()).stem().string(); }

void tools::printDecoderTable(const Engine &engine, const std::vector<Sample> &samples) {
  std::printf("| model | target | threads | test | t/s |\n| --- | --- | ---: | ---: | ---: |\n");
  for (const Sample &sample : samples) {
    std::vector<double> rates = tokensPerSecond(sample);
    std::printf("| %s | %s | %u | %s | %.2f ± %.2f |\n", modelName(engine).c_str(), engine.target().c_str(), sample.threads,
                sample.test.c_str(), meanOf(rates), deviationOf(rates));
  }
}

static Json numberList(const std::vector<double> &values) {
  Json::Array list;
  for (double value : values)
    list.push_back(Json(value));
  return list;
}

static Json commonJson(const Engine &engine, const Sample &sample) {
  return Json()
      .set("model_filename", engine.path())
      .set("model_type", engine.model().architecture)
      .set("backends", "llmopt")
      .set("target", engine.target())
      .set("n_threads", sample.threads);
}

Json tools::decoderJson(const Engine &engine, const std::vector<Sample> &samples) {
  Json::Array rows;
  for (const Sample &sample : samples) {
    std::vector<double> rates = tokensPerSecond(sample);
    Json row = commonJson(engine, sample);
    row.set("n_prompt", sample.prompt).set("n_gen", sample.generate).set("n_depth", sample.depth);
    row.set("avg_ns", meanOf(sample.nanoseconds)).set("stddev_ns", deviationOf(sample.nanoseconds));
    row.set("avg_ts", meanOf(rates)).set("stddev_ts", deviationOf(rates));
    row.set("samples_ns", numberList(sample.nanoseconds)).set("samples_ts", numberList(rates));
    rows.push_back(std::move(row));
  }
  return rows;
}

void tools::printShapeTable(const Engine &engine, const std::vector<Sample> &samples) {
  std::printf("| model | target | threads | shape | runs | median ms | p90 ms | p99 ms |\n"
              "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
  for (const Sample &sample : samples)
    std::printf("| %s | %s | %u | %s | %zu | %.3f | %.3f | %.3f |\n", modelName(engine).c_str(), engine.target().c_str(), sample.threads,
                sample.test.c_str(), sample.nanoseconds.size(), percentileOf(sample.nanoseconds, 0.5) * 1e-6,
                percentileOf(sample.nanoseconds, 0.9) * 1e-6, percentileOf(sample.nanoseconds, 0.99) * 1e-6);
}

Json tools::shapeJson(const Engine &engine, const std::vector<Sample> &samples) {
  Json::Array rows;
  for (const Sample &sample : samples) {
    Json row = commonJson(engine, sample);
    row.set("shape", sample.test).set("runs", sample.nanoseconds.size());
    row.set("median_ms", percentileOf(sample.nanoseconds, 0.5) * 1e-6).set("p90_ms", percentileOf(sample.nanoseconds, 0.9) * 1e-6);
    row.set("p99_ms", percentileOf(sample.nanoseconds, 0.99) * 1e-6).set("avg_ms", meanOf(sample.nanoseconds) * 1e-6);
    row.set("samples_ns", numberList(sample.nanoseconds));
    rows.push_back(std::move(row));
  }
  return rows;
}
