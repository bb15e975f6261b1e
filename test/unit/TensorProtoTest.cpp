//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Support/TensorProto.h"

#include <cstring>
#include <gtest/gtest.h>

using namespace llmopt;

namespace {

std::string varint(uint64_t value) {
  std::string text;
  for (; value >= 0x80; value >>= 7)
    text += char(value | 0x80);
  return text + char(value);
}
std::string number(int field, uint64_t value) { return varint(uint64_t(field) << 3) + varint(value); }
std::string bytes(int field, const std::string &data) { return varint(uint64_t(field) << 3 | 2) + varint(data.size()) + data; }
std::string raw(const void *data, size_t size) { return {static_cast<const char *>(data), size}; }

Result<ProtoTensor> parse(const std::string &message) { return parseTensorProto(std::as_bytes(std::span(message)), "test"); }

TEST(TensorProto, RawData) {
  float values[] = {1.5f, -2, 3};
  Result<ProtoTensor> read = parse(number(1, 1) + number(1, 3) + number(2, 1) + bytes(8, "x") + bytes(9, raw(values, 12)));
  ASSERT_TRUE(read.ok()) << read.error().str();
  EXPECT_EQ(read->name, "x");
  EXPECT_EQ(read->tensor.typeName(), "f32[1, 3]");
  EXPECT_EQ(read->tensor.at(1), -2);
}

TEST(TensorProto, TypedFields) {
  float value = 2.5f;
  EXPECT_EQ(parse(bytes(1, varint(1)) + number(2, 1) + bytes(4, raw(&value, 4)))->tensor.at(0), 2.5);
  EXPECT_EQ(parse(number(1, 2) + number(2, 7) + number(7, 5) + number(7, uint64_t(-6)))->tensor.at(1), -6);
  EXPECT_EQ(parse(number(1, 2) + number(2, 6) + bytes(5, varint(5) + varint(uint64_t(-6))))->tensor.at(1), -6);
  EXPECT_EQ(parse(number(1, 1) + number(2, 10) + number(5, 0x3c00))->tensor.at(0), 1);
  EXPECT_EQ(parse(number(1, 1) + number(2, 9) + number(5, 1))->tensor.typeName(), "bool[1]");
  EXPECT_EQ(parse(number(2, 11) + bytes(10, std::string(8, '\0')))->tensor.typeName(), "f64[]");
  EXPECT_EQ(parse(number(1, 0) + number(2, 1))->tensor.elements(), 0);
}

TEST(TensorProto, Refused) {
  float value = 1;
  std::string good = number(1, 1) + number(2, 1) + bytes(9, raw(&value, 4));
  for (size_t length = 0; length < good.size(); ++length)
    EXPECT_FALSE(parse(good.substr(0, length)).ok()) << length;
  EXPECT_EQ(parse(number(1, 2) + number(2, 1) + bytes(9, raw(&value, 4))).error().code, "E0121");
  EXPECT_EQ(parse(number(1, uint64_t(-1)) + number(2, 1)).error().code, "E0121");
  EXPECT_EQ(parse(number(1, uint64_t(1) << 40) + number(2, 1)).error().code, "E0121");
  EXPECT_EQ(parse(number(1, 1) + number(2, 8) + bytes(6, "text")).error().kind, ErrorKind::Unsupported);
  EXPECT_EQ(parse(number(1, 1) + number(2, 14)).error().code, "E0122"); // complex64
}

} // namespace
