//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "../../frontends/hf/ConfigCheck.h"
#include "../../frontends/hf/Evaluate.h"
#include "../../frontends/hf/PositionBias.h"
#include "../../frontends/hf/Rope.h"

#include "HuggingFaceHarness.h"

using namespace llmopt;
using namespace llmopt::hf;

/// The value of a formula over a small config, as JSON text, or the error's message.
static std::string valueOf(const std::string &text) {
  Json config = Json::parse(R"({"hidden_size": 48, "heads": 6, "none": null, "types": ["full", "sliding"], "act": "gelu",
    "inner": {"deep": 3}, "limit": {"__float__": "Infinity"}})", "config").take();
  std::map<std::string, Expression> values;
  values["kv"] = Expression::parse("kv ?? heads").take();
  values["heads"] = Expression::parse("heads * 2").take();
  ConfigScope scope(config, values);
  scope.setLayer(1);
  Result<Expression> formula = Expression::parse(text);
  Result<Json> value = formula ? scope.value(*formula) : Result<Json>(formula.status());
  return value ? value->str() : value.error().message;
}

TEST(HuggingFaceFormula, Arithmetic) {
  EXPECT_EQ(valueOf("1 + 2 * 3"), "7");
  EXPECT_EQ(valueOf("(1 + 2) * 3 - -4"), "13");
  EXPECT_EQ(valueOf("7 // 2 + 7 % 4"), "6");
  EXPECT_EQ(valueOf("-7 // 2"), "-4");
  EXPECT_EQ(valueOf("hidden_size / 5"), "9.6");
  EXPECT_EQ(valueOf("16 ** -0.5"), "0.25");
  EXPECT_EQ(valueOf("2 ** 3 ** 1"), "8.0");
  EXPECT_EQ(valueOf("sqrt(16) + min(3, 1) + len(types) + int(2.9)"), "9.0");
  EXPECT_EQ(valueOf("limit > 1000000 ? 1 : 2"), "1");
}

TEST(HuggingFaceFormula, NamesAndDefaults) {
  EXPECT_EQ(valueOf("none ?? 4"), "4");
  EXPECT_EQ(valueOf("missing ?? none ?? 'x'"), "\"x\"");
  EXPECT_EQ(valueOf("kv"), "12"); // kv -> the value heads -> twice the key heads
  EXPECT_EQ(valueOf("inner.deep + 1"), "4");
  EXPECT_EQ(valueOf("inner.other"), "null");
  EXPECT_EQ(valueOf("types[i] == 'sliding' ? 7 : 0"), "7");
  EXPECT_EQ(valueOf("none[i] == 'sliding' ? 7 : 0"), "0");
  EXPECT_EQ(valueOf("!none && act == 'gelu' || false"), "true");
}

TEST(HuggingFaceFormula, Mistakes) {
  EXPECT_CONTAINS(valueOf("missing * 2"), "'missing' is missing");
  EXPECT_CONTAINS(valueOf("act * 2"), "arithmetic needs numbers");
  EXPECT_CONTAINS(valueOf("types[2]"), "element 2 of a list of 2");
  EXPECT_CONTAINS(valueOf("1 // 0"), "does not fit an integer");
  EXPECT_CONTAINS(valueOf("9223372036854775807 + 1"), "does not fit an integer");
  EXPECT_CONTAINS(valueOf("nothing(1)"), "unknown function 'nothing'");
  EXPECT_CONTAINS(valueOf("1 +"), "expected a value at character 4");
  EXPECT_CONTAINS(valueOf("1 2"), "unexpected text at character 3");
  EXPECT_CONTAINS(valueOf("'open"), "without closing quote");
  EXPECT_CONTAINS(valueOf(std::string(4000, '(')), "nesting is too deep");
  EXPECT_CONTAINS(valueOf(std::string(4000, '-') + "1"), "nesting is too deep");
  EXPECT_CONTAINS(valueOf(std::string(5000, ' ')), "more than 4096 characters");
}

TEST(HuggingFaceFormula, Patterns) {
  EXPECT_TRUE(matchesPattern("*dropout*", "hidden_dropout_prob"));
  EXPECT_TRUE(matchesPattern("*.attn.bias", "h.0.attn.bias"));
  EXPECT_FALSE(matchesPattern("*.attn.bias", "h.0.attn.bias2"));
  EXPECT_TRUE(matchesPattern("abc", "abc"));
  EXPECT_FALSE(matchesPattern("abc", "abcd"));
}

TEST(HuggingFacePositions, AlibiSlopes) {
  EXPECT_EQ(alibiSlopes(4, 8, "bloom"), (std::vector<float>{0.25f, 0.0625f, 0.015625f, 0.00390625f}));
  EXPECT_EQ(alibiSlopes(3, 8, "bloom"), (std::vector<float>{0.0625f, 0.00390625f, 0.25f}));
  EXPECT_EQ(alibiSlopes(3, 8, "mpt"), (std::vector<float>{0.0625f, 0.00390625f, 0.25f}));
  EXPECT_EQ(alibiSlopes(1, 8, "bloom"), (std::vector<float>{0.00390625f}));
}

TEST(HuggingFacePositions, RelativeBuckets) {
  // Taken from the model's own code: 32 buckets to distance 128, causal and in both directions.
  EXPECT_EQ(relativeBucket(5, 32, 128, false), 0);
  EXPECT_EQ(relativeBucket(-15, 32, 128, false), 15);
  EXPECT_EQ(relativeBucket(-16, 32, 128, false), 16);
  EXPECT_EQ(relativeBucket(-64, 32, 128, false), 26);
  EXPECT_EQ(relativeBucket(-128, 32, 128, false), 31);
  EXPECT_EQ(relativeBucket(-100000, 32, 128, false), 31);
  EXPECT_EQ(relativeBucket(3, 32, 128, true), 19);
  EXPECT_EQ(relativeBucket(-16, 32, 128, true), 10);
  EXPECT_EQ(relativeBucket(500, 32, 128, true), 31);
}

TEST(HuggingFacePositions, RelativeBiasClampsWithoutLoss) {
  std::vector<float> values(4 * 2);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = float(i);
  StoredWeight table{DType::F32, {4, 2}, std::as_bytes(std::span(values)), nullptr};
  Result<StoredWeight> bias = relativeBias(table, 6, false);
  ASSERT_TRUE(bias.ok());
  ASSERT_EQ(bias->shape, (std::vector<int64_t>{2, 13}));
  const float *at = reinterpret_cast<const float *>(bias->bytes.data());
  EXPECT_EQ(at[6], 0);        // head 0, distance 0
  EXPECT_EQ(at[5], 2);        // one back: bucket 1
  EXPECT_EQ(at[0], 6);        // six back: the last bucket
  EXPECT_EQ(at[13 + 12], 1);  // head 1, ahead: bucket 0
  EXPECT_FALSE(relativeBias(table, 2, false).ok());
}
