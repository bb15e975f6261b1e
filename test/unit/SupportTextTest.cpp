//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Support/CheckedMath.h"
#include "llmopt/lib/Support/Hash.h"
#include "llmopt/lib/Support/Utf8.h"

#include <array>
#include <gtest/gtest.h>

using namespace llmopt;

TEST(SupportUtf8, EveryScalarValueRoundTrips) {
  for (uint32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c < 0xE000)
      continue;
    std::string text;
    appendUtf8(text, c);
    Utf8Char got = decodeUtf8(text);
    ASSERT_TRUE(got.valid && got.codepoint == c && got.length == text.size()) << c;
    for (size_t cut = 1; cut < text.size(); ++cut)
      ASSERT_TRUE(decodeUtf8(text.substr(0, cut)).truncated) << c;
  }
}

TEST(SupportUtf8, InvalidSequencesAreReplacedByMaximalSubpart) {
  // The example of the Unicode standard, table 3-8, and its neighbours.
  const std::string R = "\xEF\xBF\xBD";
  EXPECT_EQ(replaceInvalidUtf8("a\xF1\x80\x80\xE1\x80\xC2"
                               "b\x80"
                               "c\x80\xBF"
                               "d"),
            "a" + R + R + R + "b" + R + "c" + R + R + "d");
  EXPECT_EQ(replaceInvalidUtf8("\xC0\xAF"), R + R);
  EXPECT_EQ(replaceInvalidUtf8("\xED\xA0\x80"), R + R + R);
  EXPECT_EQ(replaceInvalidUtf8("\xF4\x90\x80\x80"), R + R + R + R);
  EXPECT_EQ(replaceInvalidUtf8("ok \xE2\x82"), "ok " + R);
  EXPECT_EQ(findInvalidUtf8("12345678\xE2\x82\xAC\xFF"), 11u);
  EXPECT_TRUE(isUtf8("\xF4\x8F\xBF\xBF"));
}

TEST(SupportCheckedMath, RefusesToWrap) {
  EXPECT_EQ(checkedMul(uint64_t(1) << 32, uint64_t(1) << 32), std::nullopt);
  EXPECT_EQ(checkedAdd(UINT64_MAX, 1), std::nullopt);
  EXPECT_EQ(checkedElementCount(std::array<int64_t, 2>{3, 4}), 12);
  EXPECT_EQ(checkedElementCount(std::array<int64_t, 2>{3, -4}), std::nullopt);
  EXPECT_EQ(checkedElementCount(std::array<int64_t, 2>{int64_t(1) << 40, int64_t(1) << 40}), std::nullopt);
  EXPECT_EQ(roundUp(65, 64), 128);
}

TEST(SupportHash, MatchesThePublishedValueOfEmptyInput) {
  EXPECT_EQ(hashHex(hashString("")), "2d06800538d394c2");
  EXPECT_NE(hashString("a"), hashString("b"));
}
