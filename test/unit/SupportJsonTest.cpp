//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Support/Json.h"

#include <gtest/gtest.h>

using namespace llmopt;

static std::string codeOf(std::string_view text) {
  Result<Json> json = Json::parse(text, "file.json");
  return json.ok() ? "ok" : json.error().code;
}

TEST(SupportJson, KeepsOrderAndKinds) {
  Result<Json> json = Json::parse(R"({"b": [1, -2.5, true, null], "a": "x\u00e9\n"})", "t");
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(json->asObject()[0].first, "b");
  const Json::Array &list = json->find("b")->asArray();
  EXPECT_EQ(list[0].asInt(), 1);
  EXPECT_EQ(list[1].asDouble(), -2.5);
  EXPECT_TRUE(list[2].asBool());
  EXPECT_TRUE(list[3].isNull());
  EXPECT_EQ(json->find("a")->asString(), "x\xC3\xA9\n");
  EXPECT_EQ(json->find("c"), nullptr);
  EXPECT_EQ(json->str(), R"({"b": [1, -2.5, true, null], "a": "xé\n"})");
}

TEST(SupportJson, IntegersOutsideInt64BecomeDoubles) {
  EXPECT_EQ(Json::parse("9223372036854775807", "t")->asInt(), INT64_MAX);
  EXPECT_EQ(Json::parse("-9223372036854775808", "t")->asInt(), INT64_MIN);
  Result<Json> big = Json::parse("9223372036854775808", "t");
  EXPECT_FALSE(big->isInt());
  EXPECT_EQ(big->asDouble(), 9223372036854775808.0);
}

TEST(SupportJson, RefusesWhatHidesMistakes) {
  EXPECT_EQ(codeOf(""), "E0111");
  EXPECT_EQ(codeOf("{\"a\": 1} x"), "E0111");
  EXPECT_EQ(codeOf("Infinity"), "E0111");
  EXPECT_EQ(codeOf("[NaN]"), "E0111");
  EXPECT_EQ(codeOf("1e400"), "E0111");
  EXPECT_EQ(codeOf("[1,]"), "E0111");
  EXPECT_EQ(codeOf("// c\n1"), "E0111");
  EXPECT_EQ(codeOf(std::string_view("{}\0x", 4)), "E0111");
  EXPECT_EQ(codeOf("\"\\ud800\""), "E0111");
  EXPECT_EQ(codeOf("{\"w\": 1, \"v\": 2, \"w\": 3}"), "E0112");
  EXPECT_EQ(codeOf("\xEF\xBB\xBF{}"), "E0114");
  EXPECT_EQ(codeOf("\"\xC0\x80\""), "E0114");
  EXPECT_EQ(codeOf("\"\xED\xA0\x80\""), "E0114");
}

TEST(SupportJson, DepthIsLimited) {
  EXPECT_EQ(codeOf(std::string(64, '[') + std::string(64, ']')), "ok");
  EXPECT_EQ(codeOf(std::string(65, '[') + std::string(65, ']')), "E0113");
  EXPECT_EQ(codeOf(std::string(1000000, '[')), "E0113");
}

TEST(SupportJson, ErrorsNameTheFileAndTheKey) {
  Result<Json> json = Json::parse("{\"w\": 1, \"w\": 3}", "model.json");
  EXPECT_EQ(json.error().context, "model.json");
  EXPECT_NE(json.error().message.find("duplicate key 'w'"), std::string::npos);
  EXPECT_EQ(json.error().kind, ErrorKind::BadInput);
}

TEST(SupportJson, WritesWhatItReads) {
  Json json;
  json.set("list", Json(Json::Array{1, 2.0, "\x01\""})).set("none", nullptr).set("empty", Json(Json::Object()));
  EXPECT_EQ(json.str(), R"({"list": [1, 2.0, "\u0001\""], "none": null, "empty": {}})");
  EXPECT_EQ(json.str(1), "{\n \"list\": [\n  1,\n  2.0,\n  \"\\u0001\\\"\"\n ],\n \"none\": null,\n \"empty\": {}\n}");
  EXPECT_EQ(Json::parse(json.str(2), "t")->str(), json.str());
}
