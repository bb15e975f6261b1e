//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "../../frontends/hf/Safetensors.h"

#include "HuggingFaceHarness.h"

using namespace llmopt;
using namespace llmopt::hf;

static std::string outcome(const std::string &bytes) {
  Result<SafetensorsFile> file = parseSafetensors(std::as_bytes(std::span(bytes)), "f.safetensors");
  return file ? "ok" : file.error().message;
}

static std::string withHeader(const std::string &header, size_t dataBytes) { return outcome(safetensorsFile(header, dataBytes)); }

static std::string lengthOnly(uint64_t length, const std::string &rest = "{}") {
  return outcome(std::string(reinterpret_cast<const char *>(&length), 8) + rest);
}

TEST(Safetensors, ReadsTensorsInTheOrderOfTheirBytes) {
  std::string header = R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[2],"data_offsets":[12,16]},)"
                       R"("a":{"dtype":"F32","shape":[3,1],"data_offsets":[0,12]}}  )";
  std::string bytes = safetensorsFile(header, 16);
  Result<SafetensorsFile> file = parseSafetensors(std::as_bytes(std::span(bytes)), "f");
  ASSERT_TRUE(file.ok()) << file.error().str();
  ASSERT_EQ(file->tensors.size(), 2u);
  EXPECT_EQ(file->tensors[0].name, "a");
  EXPECT_EQ(file->tensors[0].shape, (std::vector<int64_t>{3, 1}));
  EXPECT_EQ(file->tensors[1].type->type, DType::F16);
  EXPECT_EQ(file->dataStart, 8 + header.size());
}

TEST(Safetensors, B01_Lengths) {
  EXPECT_CONTAINS(outcome(""), "file is empty (0 bytes)");
  EXPECT_CONTAINS(outcome("1234567"), "file has 7 bytes");
  EXPECT_CONTAINS(outcome(std::string(8, '\0')), "must begin with '{'");
  EXPECT_CONTAINS(lengthOnly(1), "expected '\"'");
  EXPECT_CONTAINS(lengthOnly(uint64_t(1) << 63), "over the limit");
  EXPECT_CONTAINS(lengthOnly(100'000'001), "header length 100000001 is over the limit of 100000000");
  EXPECT_CONTAINS(lengthOnly(100'000'000), "leads beyond the end of the file");
  EXPECT_CONTAINS(lengthOnly(3), "leads beyond the end of the file (10 bytes)");
  EXPECT_EQ(lengthOnly(2), "ok");
}

TEST(Safetensors, B02_HeaderText) {
  EXPECT_CONTAINS(withHeader("[]", 0), "must begin with '{'");
  EXPECT_CONTAINS(withHeader(" {}", 0), "must begin with '{'");
  EXPECT_CONTAINS(withHeader("\xEF\xBB\xBF{}", 0), "must begin with '{'");
  EXPECT_CONTAINS(withHeader("{\"\xFF\":1}", 0), "not UTF-8 at byte 10");
  EXPECT_CONTAINS(withHeader("{}x", 0), "only spaces may follow");
  EXPECT_CONTAINS(withHeader(std::string("{}\0", 3), 0), "only spaces may follow");
  EXPECT_EQ(withHeader("{}     ", 0), "ok");
  EXPECT_CONTAINS(withHeader("{\"w\":", 0), "expected '{'");
  EXPECT_CONTAINS(withHeader("{\"a\\ud800\":{}}", 0), "surrogate");
}

TEST(Safetensors, B04_Duplicates) {
  std::string entry = R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  EXPECT_CONTAINS(withHeader("{\"w\":" + entry + ",\"w\":" + entry + "}", 1), "duplicate key 'w'");
  EXPECT_CONTAINS(withHeader(R"({"w":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1), "duplicate key 'dtype'");
  EXPECT_CONTAINS(withHeader(R"({"__metadata__":{"a":"b","a":"c"}})", 0), "duplicate key 'a'");
  EXPECT_CONTAINS(withHeader(R"({"__metadata__":{"a":1}})", 0), "expected '\"'");
}

TEST(Safetensors, B05_Places) {
  auto two = [](const char *first, const char *second, size_t bytes) {
    return withHeader(std::string(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)") + first +
                          R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}", bytes);
  };
  EXPECT_EQ(two("[0,4]", "[4,8]", 8), "ok");
  EXPECT_CONTAINS(two("[0,4]", "[2,6]", 6), "overlap: tensor 'b' lies at [2, 6), the one before ends at 4");
  EXPECT_CONTAINS(two("[0,4]", "[5,9]", 9), "hole");
  EXPECT_CONTAINS(two("[1,5]", "[5,9]", 9), "hole");
  EXPECT_CONTAINS(two("[4,0]", "[4,8]", 8), "begin <= end");
  EXPECT_CONTAINS(two("[0,4]", "[4,8]", 9), "the tensors end at byte 8 of the data, the file has 9");
  EXPECT_CONTAINS(two("[0,4]", "[4,8]", 7), "the file has 7");
  EXPECT_CONTAINS(two("[0,3]", "[3,7]", 7), "tensor 'a' needs 4 bytes, its range [0, 3) has 3");
  EXPECT_CONTAINS(two("[0,4,4]", "[4,8]", 8), "more than two numbers");
}

TEST(Safetensors, B07_EmptyAndScalar) {
  EXPECT_EQ(withHeader(R"({"e":{"dtype":"F32","shape":[0,5],"data_offsets":[0,0]},"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})", 4), "ok");
}

TEST(Safetensors, B08_TypesAndShapes) {
  auto one = [](const char *type, const char *shape, size_t bytes) {
    return withHeader(std::string(R"({"w":{"dtype":")") + type + R"(","shape":)" + shape + R"(,"data_offsets":[0,)" + std::to_string(bytes) + "]}}", bytes);
  };
  for (const char *type : {"F16 ", "f16", "F7", ""})
    EXPECT_CONTAINS(one(type, "[1]", 2), "unknown dtype");
  EXPECT_EQ(one("F4", "[4]", 2), "ok");
  EXPECT_CONTAINS(one("F4", "[3]", 2), "not a whole number of bytes");
  EXPECT_CONTAINS(one("F32", "[-1,4]", 4), "negative number");
  EXPECT_CONTAINS(one("F32", "[1.0]", 4), "expected an integer");
  EXPECT_CONTAINS(one("F32", "[1e2]", 4), "expected an integer");
  EXPECT_CONTAINS(one("F32", "[01]", 4), "expected an integer");
  EXPECT_CONTAINS(one("F32", "[9223372036854775808]", 4), "2^63");
  EXPECT_CONTAINS(one("F32", "[1099511627776,1099511627776]", 4), "not a whole number of bytes below 2^63");
  EXPECT_CONTAINS(one("F32", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", 4), "more than 32 dimensions");
  EXPECT_CONTAINS(withHeader(R"({"w":{"dtype":"U8","shape":[1]}})", 1), "needs dtype, shape and data_offsets");
  EXPECT_CONTAINS(withHeader(R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}})", 1), "unknown key 'x'");
}

TEST(Safetensors, EveryCutOfAGoodFileIsRefused) {
  std::string good = tensorsFile({{"a", {2, 3}}, {"b", {5}}});
  ASSERT_EQ(outcome(good), "ok");
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_NE(outcome(good.substr(0, size)), "ok") << size;
}
