//===- MachineLimitsFile.cpp - keeping them -------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Support/File.h"
#include "llmopt/lib/Support/UserCache.h"
#include "llmopt/runtime/MachineLimits.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <unistd.h>

using namespace llmopt;
namespace fs = std::filesystem;

static constexpr int64_t kVersion = 1;

double MachineLimits::readLimit(unsigned threads) const {
  uint64_t largest = 0;
  unsigned most = 0;
  for (const Reading &row : reading) {
    largest = std::max(largest, row.bytes);
    most = row.threads <= threads ? std::max(most, row.threads) : most;
  }
  double best = 0;
  for (const Reading &row : reading)
    // Footprints are rounded to the number of threads: what is near the largest is in no cache.
    if (row.threads == most && row.bytes > largest / 2)
      best = std::max(best, row.bytesPerSecond);
  return best;
}

double MachineLimits::arithmeticLimit(std::string_view format, unsigned threads) const {
  unsigned most = 0;
  for (const Arithmetic &row : arithmetic)
    if (row.format == format && row.threads <= threads)
      most = std::max(most, row.threads);
  double best = 0;
  for (const Arithmetic &row : arithmetic)
    if (row.format == format && row.threads == most)
      best = std::max(best, row.operationsPerSecond);
  return best;
}

Json MachineLimits::json() const {
  Json::Array cacheRows, readRows, arithmeticRows, barrierRows;
  for (const Cache &row : caches)
    cacheRows.push_back(Json().set("level", row.level).set("kind", row.kind).set("bytes", row.bytes).set("shared_by", row.sharedBy));
  for (const Reading &row : reading)
    readRows.push_back(Json().set("threads", row.threads).set("streams", row.streams).set("bytes", row.bytes).set("bytes_per_second", row.bytesPerSecond));
  for (const Arithmetic &row : arithmetic)
    arithmeticRows.push_back(Json()
                                 .set("format", row.format)
                                 .set("instruction", row.instruction)
                                 .set("threads", row.threads)
                                 .set("operations_per_second", row.operationsPerSecond));
  for (const Barrier &row : barriers)
    barrierRows.push_back(Json().set("threads", row.threads).set("seconds", row.seconds));
  return Json()
      .set("version", kVersion)
      .set("host", host)
      .set("processor", processor)
      .set("caches", std::move(cacheRows))
      .set("reading", std::move(readRows))
      .set("arithmetic", std::move(arithmeticRows))
      .set("barriers", std::move(barrierRows));
}

namespace {
/// Reads members and remembers whether all were there and sensible.
class Reader {
public:
  explicit Reader(const Json &json) : json_(json) {}
  std::string text(std::string_view key) const {
    const Json *value = json_.find(key);
    return value && value->isString() ? value->asString() : (ok_ = false, std::string());
  }
  double number(std::string_view key) const {
    const Json *value = json_.find(key);
    return value && value->isNumber() && value->asDouble() >= 0 ? value->asDouble() : (ok_ = false, 0.0);
  }
  unsigned count(std::string_view key) const { return unsigned(std::min(number(key), 65536.0)); }
  template <typename Each>
  void list(std::string_view key, Each each) const {
    const Json *value = json_.find(key);
    ok_ &= value && value->isArray();
    for (size_t i = 0; value && value->isArray() && i < value->asArray().size(); ++i) {
      Reader row(value->asArray()[i]);
      each(row);
      ok_ &= row.ok();
    }
  }
  bool ok() const { return ok_; }

private:
  const Json &json_;
  mutable bool ok_ = true;
};
} // namespace

Result<MachineLimits> MachineLimits::fromJson(const Json &json, std::string_view context) {
  MachineLimits limits;
  Reader in(json);
  bool known = in.number("version") == double(kVersion);
  limits.host = in.text("host");
  limits.processor = in.text("processor");
  in.list("caches", [&](const Reader &row) {
    limits.caches.push_back({row.count("level"), row.text("kind"), uint64_t(row.number("bytes")), row.count("shared_by")});
  });
  in.list("reading", [&](const Reader &row) {
    limits.reading.push_back({row.count("threads"), row.count("streams"), uint64_t(row.number("bytes")), row.number("bytes_per_second")});
  });
  in.list("arithmetic", [&](const Reader &row) {
    limits.arithmetic.push_back({row.text("format"), row.text("instruction"), row.count("threads"), row.number("operations_per_second")});
  });
  in.list("barriers", [&](const Reader &row) { limits.barriers.push_back({row.count("threads"), row.number("seconds")}); });
  if (!known || !in.ok())
    return badInput("E1604", "not a file of machine limits of this version; make a new one with llmopt-bench machine", std::string(context));
  return limits;
}

std::string llmopt::machineLimitsPath() {
  if (const char *path = std::getenv("LLMOPT_MACHINE_FILE"); path && *path)
    return path;
  std::string cache = userCacheFolder();
  char host[256] = "unknown";
  ::gethostname(host, sizeof host - 1);
  return (cache.empty() ? "/tmp/llmopt" : cache) + "/machine-" + host + ".json";
}

Result<MachineLimits> llmopt::loadMachineLimits(const std::string &path) {
  LLMOPT_ASSIGN(std::string text, readTextFile(path, 1 << 20));
  LLMOPT_ASSIGN(Json json, Json::parse(text, path));
  return MachineLimits::fromJson(json, path);
}

Status llmopt::storeMachineLimits(const MachineLimits &limits, const std::string &path) {
  std::error_code error;
  if (fs::path folder = fs::path(path).parent_path(); !folder.empty())
    fs::create_directories(folder, error);
  LLMOPT_ASSIGN(AtomicFile file, AtomicFile::create(path));
  LLMOPT_RETURN_IF_ERROR(file.write(limits.json().str(1) + "\n"));
  return file.commit();
}
