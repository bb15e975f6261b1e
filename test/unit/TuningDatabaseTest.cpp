//===- TuningDatabaseTest.cpp - the file of measured choices --------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Target/TuningDatabase.h"

#include <functional>
#include <gtest/gtest.h>

using namespace llmopt;

namespace {

TuningEntry sampleEntry() {
  return {{"x86-64-v3", "linear", "linear silu", "[s0, 64] [64, 64]", "f32 bf16"}, "#strategy.x", {{"m = 1", 1500, 2000}, {"m = 128", 80000, 80000}}};
}

TuningDatabase sample() {
  TuningDatabase database;
  database.processor = "a processor";
  database.threads = 4;
  database.set(sampleEntry());
  TuningEntry other = sampleEntry();
  other.key.kernel = "fuse-attention";
  other.choice = "apart";
  database.set(other);
  return database;
}

/// The error's text, or "ok".
std::string read(const Json &json) {
  Result<TuningDatabase> database = TuningDatabase::fromJson(json, "file.json");
  return database ? "ok" : database.error().code + ": " + database.error().message + " @ " + database.error().context;
}

Json withEntry(const std::function<void(Json &)> &change) {
  Json json = sample().json();
  Json entries = *json.find("entries");
  change(entries.asArray()[0]);
  return Json().set("format", "llmopt-tuning").set("version", 1).set("entries", entries); // no checksum: by hand
}

} // namespace

TEST(TuningDatabase, IsReadAsItWasWritten) {
  Json json = sample().json();
  Result<Json> parsed = Json::parse(json.str(1), "file.json");
  ASSERT_TRUE(parsed);
  Result<TuningDatabase> database = TuningDatabase::fromJson(*parsed, "file.json");
  ASSERT_TRUE(database) << database.error().message;
  EXPECT_EQ(database->json().str(), json.str());
  EXPECT_EQ(database->threads, 4u);
  const TuningEntry *entry = database->find(sampleEntry().key);
  ASSERT_NE(entry, nullptr);
  EXPECT_EQ(describeTimes(*entry), "1.5 us against 2.0 us at m = 1; 80.0 us against 80.0 us at m = 128");
  TuningKey another = sampleEntry().key;
  another.dtype = "f32 f16";
  EXPECT_EQ(database->find(another), nullptr);
}

TEST(TuningDatabase, RefusesWhatItIsNot) {
  EXPECT_TRUE(read(Json::Array{}).starts_with("E0317: not a tuning database"));
  EXPECT_TRUE(read(Json().set("format", "llmopt-tuning").set("version", 2).set("entries", Json::Array{})).starts_with("E0317: a tuning database of version 2"));
  EXPECT_TRUE(read(Json().set("format", "llmopt-tuning").set("version", 1)).starts_with("E0317: member 'entries'"));
  Json changed = sample().json();
  changed.set("checksum", "0000000000000000");
  EXPECT_TRUE(read(changed).starts_with("E0317: the checksum does not fit"));
}

TEST(TuningDatabase, EntriesByHand) {
  EXPECT_EQ(read(withEntry([](Json &entry) { entry.set("a note", "of a later version"); })), "ok");
  for (const char *key : {"target", "kernel", "ops", "shape", "dtype", "choice"}) {
    std::string error = read(withEntry([&](Json &entry) { entry.set(key, 7); }));
    EXPECT_TRUE(error.starts_with("E0317: member '" + std::string(key) + "' is no string") && error.ends_with("file.json, entry 0")) << error;
  }
  EXPECT_TRUE(read(withEntry([](Json &entry) { entry.set("choice", std::string(10000, 'x')); })).starts_with("E0317: member 'choice'"));
  for (double time : {-1.0, 1e300})
    EXPECT_TRUE(read(withEntry([&](Json &entry) { entry.set("times", Json::Array{Json().set("sizes", "").set("ns", time).set("other_ns", 1)}); }))
                    .starts_with("E0317: member 'ns' is no time"));
  Json json = withEntry([](Json &) {});
  Json entries = *json.find("entries");
  entries.push(entries.asArray()[0]);
  EXPECT_TRUE(read(json.set("entries", entries)).starts_with("E0317: two entries for the same kernel"));
}
