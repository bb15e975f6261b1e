//===- TuningDatabase.cpp - what was measured, kept in a file ---------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Target/TuningDatabase.h"

#include "llmopt/lib/Support/File.h"
#include "llmopt/lib/Support/Hash.h"

#include <cmath>
#include <cstdio>
#include <filesystem>

using namespace llmopt;
namespace fs = std::filesystem;

namespace {

constexpr int64_t kVersion = 1;
constexpr uint64_t kLargestFile = 64 << 20;
constexpr size_t kLongestText = 8192; ///< of one member

/// Takes members out of an entry and remembers the first that is wrong.
class Reader {
public:
  explicit Reader(const Json &json) : json_(json) {}
  std::string text(std::string_view key) {
    const Json *value = json_.find(key);
    if (value && value->isString() && value->asString().size() <= kLongestText)
      return value->asString();
    fail(key, "is no string");
    return {};
  }
  double nanoseconds(std::string_view key) {
    const Json *value = json_.find(key);
    double number = value && value->isNumber() ? value->asDouble() : -1;
    if (!std::isfinite(number) || number < 0 || number > 1e15)
      fail(key, "is no time in nanoseconds");
    return number;
  }
  const std::string &problem() const { return problem_; }

private:
  void fail(std::string_view key, const char *what) {
    if (problem_.empty())
      problem_ = "member '" + std::string(key) + "' " + what;
  }
  const Json &json_;
  std::string problem_;
};

Status damaged(const std::string &what, std::string_view context) {
  return badInput("E0317", what + "; make a new one with llmopt-compile --tune=FILE", std::string(context));
}

Result<TuningEntry> readEntry(const Json &json, const std::string &context) {
  Reader in(json);
  TuningEntry entry{{in.text("target"), in.text("kernel"), in.text("ops"), in.text("shape"), in.text("dtype")}, in.text("choice")};
  if (const Json *times = json.find("times"); times && times->isArray())
    for (const Json &row : times->asArray()) {
      Reader time(row);
      entry.times.push_back({time.text("sizes"), time.nanoseconds("ns"), time.nanoseconds("other_ns")});
      if (!time.problem().empty())
        return damaged(time.problem(), context + ", its times");
    }
  if (!in.problem().empty())
    return damaged(in.problem(), context);
  return entry;
}

std::string checksum(const Json::Array &entries) { return hashHex(hashString(Json(entries).str())); }

} // namespace

static Json toJson(const TuningEntry &entry) {
  Json::Array times;
  // Whole nanoseconds are read back as they were written.
  for (const TuningTime &time : entry.times)
    times.push_back(Json().set("sizes", time.sizes).set("ns", int64_t(time.nanoseconds)).set("other_ns", int64_t(time.otherNanoseconds)));
  const TuningKey &key = entry.key;
  return Json().set("target", key.target).set("kernel", key.kernel).set("ops", key.ops).set("shape", key.shape).set("dtype", key.dtype)
      .set("choice", entry.choice).set("times", std::move(times));
}

std::string llmopt::describeTimes(const TuningEntry &entry) {
  std::string text;
  for (const TuningTime &time : entry.times) {
    char line[128];
    std::snprintf(line, sizeof line, "%.1f us against %.1f us at ", time.nanoseconds * 1e-3, time.otherNanoseconds * 1e-3);
    text += (text.empty() ? "" : "; ") + std::string(line) + time.sizes;
  }
  return text;
}

const TuningEntry *TuningDatabase::find(const TuningKey &key) const {
  auto it = entries_.find(key);
  return it == entries_.end() ? nullptr : &it->second;
}

Json TuningDatabase::json() const {
  Json::Array rows;
  for (const auto &[key, entry] : entries_)
    rows.push_back(toJson(entry));
  std::string sum = checksum(rows);
  return Json().set("format", "llmopt-tuning").set("version", kVersion).set("processor", processor).set("threads", threads)
      .set("checksum", sum).set("entries", std::move(rows));
}

Result<TuningDatabase> TuningDatabase::fromJson(const Json &json, std::string_view context) {
  const Json *format = json.find("format"), *version = json.find("version"), *entries = json.find("entries"), *sum = json.find("checksum");
  if (!format || !format->isString() || format->asString() != "llmopt-tuning")
    return damaged("not a tuning database", context);
  if (!version || !version->isInt() || version->asInt() != kVersion)
    return damaged("a tuning database of version " + (version ? version->str() : "none") + "; this llmopt reads " + std::to_string(kVersion), context);
  if (!entries || !entries->isArray())
    return damaged("member 'entries' is no list", context);
  // Who writes a database by hand leaves the checksum out.
  if (sum && (!sum->isString() || sum->asString() != checksum(entries->asArray())))
    return damaged("the checksum does not fit the entries: the file is damaged, or was changed by hand (then take 'checksum' out)", context);
  TuningDatabase database;
  if (const Json *processor = json.find("processor"); processor && processor->isString())
    database.processor = processor->asString();
  if (const Json *threads = json.find("threads"); threads && threads->isInt() && threads->asInt() >= 0 && threads->asInt() < 65536)
    database.threads = unsigned(threads->asInt());
  for (size_t i = 0; i < entries->asArray().size(); ++i) {
    LLMOPT_ASSIGN(TuningEntry entry, readEntry(entries->asArray()[i], std::string(context) + ", entry " + std::to_string(i)));
    if (database.find(entry.key))
      return damaged("two entries for the same kernel", std::string(context) + ", entry " + std::to_string(i));
    database.set(std::move(entry));
  }
  return database;
}

Result<TuningDatabase> TuningDatabase::load(const std::string &path) {
  LLMOPT_ASSIGN(std::string text, readTextFile(path, kLargestFile));
  LLMOPT_ASSIGN(Json json, Json::parse(text, path));
  return fromJson(json, path);
}

Status TuningDatabase::store(const std::string &path) const {
  std::error_code ignored;
  if (fs::path folder = fs::path(path).parent_path(); !folder.empty())
    fs::create_directories(folder, ignored);
  LLMOPT_ASSIGN(AtomicFile file, AtomicFile::create(path));
  LLMOPT_RETURN_IF_ERROR(file.write(json().str(1) + "\n"));
  return file.commit();
}
