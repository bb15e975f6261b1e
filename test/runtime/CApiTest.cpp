//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// test/integration/downstream/complete.c is a whole program; here is what it leaves out.

#include "ToyModel.h"
#include "llmopt/runtime/llmopt.h"

#include <gtest/gtest.h>

using namespace llmopt;

TEST(CApi, TextToIdsAndBack) {
  llmopt_engine *engine = llmopt_engine_load(toy::textDecoder().c_str(), nullptr);
  ASSERT_TRUE(engine) << llmopt_last_error();
  int32_t ids[4];
  size_t count = 0, length = 0;
  ASSERT_EQ(llmopt_tokenize(engine, "w1 w2 w33", ids, 4, &count), LLMOPT_OK);
  ASSERT_EQ(count, 3u);
  char text[16];
  ASSERT_EQ(llmopt_detokenize(engine, ids, count, text, sizeof text, &length), LLMOPT_OK);
  EXPECT_EQ(std::string(text, length), "w1 w2 w33");
  char little[2];
  ASSERT_EQ(llmopt_detokenize(engine, ids, count, little, sizeof little, &length), LLMOPT_OK);
  EXPECT_EQ(std::string(little, 2), "w1");
  EXPECT_EQ(length, 9u);
  ids[0] = 99;
  EXPECT_EQ(llmopt_detokenize(engine, ids, count, text, sizeof text, &length), LLMOPT_BAD_INPUT);
  EXPECT_NE(std::string(llmopt_last_error()).find("E1412"), std::string::npos);
  llmopt_engine_free(engine);
}

TEST(CApi, Devices) {
  llmopt_engine_options options = {};
  options.size = sizeof options;
  options.device = "cpu";
  llmopt_engine *engine = llmopt_engine_load(toy::decoder().c_str(), &options);
  EXPECT_TRUE(engine) << llmopt_last_error();
  llmopt_engine_free(engine);
  options.device = "abacus";
  EXPECT_FALSE(llmopt_engine_load(toy::decoder().c_str(), &options));
  EXPECT_NE(std::string(llmopt_last_error()).find("no device 'abacus'"), std::string::npos);
  // A program built before there were devices.
  options.size = offsetof(llmopt_engine_options, device);
  engine = llmopt_engine_load(toy::decoder().c_str(), &options);
  EXPECT_TRUE(engine) << llmopt_last_error();
  llmopt_engine_free(engine);
}
