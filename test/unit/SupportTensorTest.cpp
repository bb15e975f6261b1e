//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Support/CompareTensors.h"
#include "llmopt/lib/Support/DType.h"
#include "llmopt/lib/Support/Npy.h"
#include "llmopt/lib/Support/Tensor.h"

#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

using namespace llmopt;

TEST(SupportDType, NamesAndSizes) {
  for (int i = 0; i <= int(DType::U2); ++i)
    EXPECT_EQ(parseDType(dtypeName(DType(i))), DType(i));
  EXPECT_EQ(parseDType("f8"), std::nullopt);
  EXPECT_EQ(dtypeSize(DType::BF16), 2u);
}

TEST(SupportDType, EveryNarrowFloatSurvivesTheRoundTrip) {
  for (int i = int(DType::F8E4M3FN); i <= int(DType::F4E2M1); ++i) {
    const NarrowFloat *narrow = narrowFloat(DType(i));
    ASSERT_NE(narrow, nullptr);
    for (int code = 0; code < 1 << dtypeBits(DType(i)); ++code) {
      float value = narrow->decode(uint8_t(code));
      bool isNan = std::isnan(value);
      EXPECT_TRUE(isNan ? std::isnan(narrow->decode(narrow->encode(value, true))) : narrow->encode(value, false) == code)
          << dtypeName(DType(i)) << " " << code;
    }
  }
}

TEST(SupportDType, NarrowFloatsRoundToEvenAndSaturate) {
  const NarrowFloat &e4m3 = *narrowFloat(DType::F8E4M3FN), &e5m2 = *narrowFloat(DType::F8E5M2), &e2m1 = *narrowFloat(DType::F4E2M1);
  EXPECT_EQ(e4m3.decode(e4m3.encode(17, true)), 16);  // between 16 and 18
  EXPECT_EQ(e4m3.decode(e4m3.encode(19, true)), 20);  // between 18 and 20
  EXPECT_EQ(e4m3.decode(e4m3.encode(1e9f, true)), 448);
  EXPECT_TRUE(std::isnan(e4m3.decode(e4m3.encode(1e9f, false))));
  EXPECT_EQ(e4m3.decode(e4m3.encode(0x1p-10f, true)), 0);      // half the smallest number
  EXPECT_EQ(e4m3.decode(e4m3.encode(0x1.8p-10f, true)), 0x1p-9f);
  EXPECT_EQ(e5m2.decode(e5m2.encode(-1e9f, false)), -INFINITY);
  EXPECT_EQ(e5m2.decode(e5m2.encode(-INFINITY, true)), -57344);
  EXPECT_EQ(e2m1.decode(e2m1.encode(2.5f, false)), 2); // between 2 and 3
  EXPECT_EQ(e2m1.decode(e2m1.encode(100, false)), 6);
}

TEST(SupportDType, PackedElementsLieFromTheLowestBitOn) {
  std::array<std::byte, 2> packed{std::byte(0xe1), std::byte(0x0f)};
  std::array<std::byte, 3> nibbles;
  ASSERT_EQ(packedBytes(DType::I4, 3), 2u);
  unpackElements(DType::I4, packed, nibbles);
  EXPECT_EQ(nibbles, (std::array{std::byte(1), std::byte(0xfe), std::byte(0xff)}));
  std::array<std::byte, 2> sixes;
  ASSERT_EQ(packedBytes(DType::F6E2M3, 2), 2u);
  unpackElements(DType::F6E2M3, packed, sixes);
  EXPECT_EQ(sixes, (std::array{std::byte(0x21), std::byte(0x3f)}));
  EXPECT_EQ(packedBytes(DType::U2, 5), 2u);
  EXPECT_EQ(packedBytes(DType::Bool, 5), 5u);
}

// The value of a half by its definition, in double.
static double halfValue(uint16_t bits) {
  int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  double magnitude = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

TEST(SupportDType, EveryHalfSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    float value = f16ToFloat(uint16_t(bits));
    if ((bits & 0x7fff) > 0x7c00) {
      EXPECT_TRUE(std::isnan(value)) << bits;
      EXPECT_EQ(floatToF16(value) & 0x7e00, 0x7e00) << bits;
      continue;
    }
    if ((bits & 0x7fff) == 0x7c00)
      EXPECT_TRUE(std::isinf(value)) << bits;
    else
      EXPECT_EQ(double(value), halfValue(uint16_t(bits))) << bits;
    EXPECT_EQ(floatToF16(value), bits);
  }
}

TEST(SupportDType, EveryHalfMidpointRoundsToEven) {
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
    // 65536 takes the place of infinity, half an ulp beyond the largest half.
    double low = halfValue(uint16_t(bits)), high = bits == 0x7bff ? 65536.0 : halfValue(uint16_t(bits + 1));
    float middle = float((low + high) / 2);
    uint16_t even = uint16_t(bits & 1 ? bits + 1 : bits);
    EXPECT_EQ(floatToF16(middle), even) << bits;
    EXPECT_EQ(floatToF16(-middle), even | 0x8000) << bits;
    EXPECT_EQ(floatToF16(std::nextafter(middle, 0.f)), bits);
    EXPECT_EQ(floatToF16(std::nextafter(middle, 1e9f)), bits + 1);
  }
}

TEST(SupportDType, EveryBfloatSurvivesAndMidpointsRoundToEven) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    float value = bf16ToFloat(uint16_t(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(bf16ToFloat(floatToBf16(value)))) << bits;
      continue;
    }
    EXPECT_EQ(floatToBf16(value), bits);
    if (std::isinf(value))
      continue;
    uint32_t middle = bits << 16 | 0x8000;
    EXPECT_EQ(floatToBf16(std::bit_cast<float>(middle)), bits & 1 ? bits + 1 : bits);
    EXPECT_EQ(floatToBf16(std::bit_cast<float>(middle - 1)), bits);
    EXPECT_EQ(floatToBf16(std::bit_cast<float>(middle + 1)), bits + 1);
  }
  // A NaN whose payload lies in the dropped bits alone must not become infinity.
  EXPECT_TRUE(std::isnan(bf16ToFloat(floatToBf16(std::bit_cast<float>(0x7f800001u)))));
}

TEST(SupportTensor, OwnsAlignedZeroedBytes) {
  Tensor tensor(DType::F32, {2, 3});
  EXPECT_EQ(tensor.typeName(), "f32[2, 3]");
  EXPECT_EQ(tensor.bytes(), 24u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data()) % 64, 0u);
  EXPECT_EQ(tensor.at(5), 0);
  tensor.as<float>()[5] = 2.5f;
  Tensor copy = tensor, moved = std::move(tensor);
  copy.as<float>()[5] = 1;
  EXPECT_EQ(moved.at(5), 2.5);
  EXPECT_EQ(copy.at(5), 1);
  EXPECT_EQ(Tensor(DType::I64, {}).elements(), 1);
  EXPECT_EQ(Tensor(DType::I64, {4, 0}).data(), nullptr);
}

namespace {
class SupportNpy : public testing::Test {
protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "llmopt-npy-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string file(std::string_view bytes) {
    std::ofstream(folder_ + "/t.npy", std::ios::binary) << bytes;
    return folder_ + "/t.npy";
  }
  static std::string npy(std::string header, std::string_view data) {
    return std::string("\x93NUMPY\x01\x00", 8) + char(header.size()) + '\0' + header + std::string(data);
  }
  std::string folder_;
};
} // namespace

TEST_F(SupportNpy, RoundTripsEveryType) {
  for (int i = 0; i <= int(DType::Bool); ++i) {
    Tensor tensor(DType(i), {3, 1, 2});
    static_cast<uint8_t *>(tensor.data())[tensor.bytes() - 1] = 1;
    ASSERT_TRUE(writeNpy(folder_ + "/x.npy", tensor).ok());
    Result<Tensor> back = readNpy(folder_ + "/x.npy");
    ASSERT_TRUE(back.ok()) << back.error().str();
    EXPECT_EQ(back->dtype(), DType(i) == DType::BF16 ? DType::F32 : DType(i));
    EXPECT_EQ(back->shape(), tensor.shape());
    EXPECT_EQ(back->at(5), tensor.at(5));
  }
}

TEST_F(SupportNpy, RefusesDamage) {
  auto code = [&](std::string_view bytes) {
    Result<Tensor> tensor = readNpy(file(bytes));
    return tensor.ok() ? "ok" : tensor.error().code;
  };
  std::string good = "{'descr': '<i2', 'fortran_order': False, 'shape': (2,), }\n";
  EXPECT_EQ(code(npy(good, "abcd")), "ok");
  EXPECT_EQ(code(npy(good, "abc")), "E0121");
  EXPECT_EQ(code(npy(good, "abcde")), "E0121");
  EXPECT_EQ(code(""), "E0121");
  EXPECT_EQ(code("\x93NUMPY\x01 \xff\xff{}"), "E0121");
  EXPECT_EQ(code(npy("{'descr': '>i2', 'fortran_order': False, 'shape': (2,), }\n", "abcd")), "E0122");
  EXPECT_EQ(code(npy("{'descr': '<i2', 'fortran_order': True, 'shape': (2,), }\n", "abcd")), "E0122");
  EXPECT_EQ(code(npy("{'descr': '<i2', 'fortran_order': False, 'shape': (-2,), }\n", "abcd")), "E0121");
  EXPECT_EQ(code(npy("{'descr': '<i8', 'fortran_order': False, 'shape': (4294967296, 4294967296), }\n", "")), "E0121");
  EXPECT_EQ(code(npy("{'descr': '<i8', 'fortran_order': False}\n", "")), "E0121");
}

//===----------------------------------------------------------------------===//
// Comparison
//===----------------------------------------------------------------------===//

static Tensor floats(std::vector<float> values) {
  Tensor tensor(DType::F32, {int64_t(values.size())});
  std::memcpy(tensor.data(), values.data(), tensor.bytes());
  return tensor;
}

TEST(SupportCompare, ValuesWithinTolerance) {
  EXPECT_TRUE(compareTensors(floats({1.05f, -0.005f, INFINITY, NAN}), floats({1, 0, INFINITY, NAN}), 0.1, 0.01, "t").ok());
  for (auto [got, wanted] : {std::pair(1.2f, 1.0f), {NAN, 1.0f}, {1.0f, NAN}, {INFINITY, 1.0f}, {1.0f, INFINITY}, {-INFINITY, INFINITY}}) {
    Status status = compareTensors(floats({3, got}), floats({3, wanted}), 0.1, 0.01, "t");
    ASSERT_FALSE(status.ok()) << got << " for " << wanted;
    EXPECT_EQ(status.error().code, "E0502");
    EXPECT_NE(status.error().message.find("in 1 of 2 elements; worst at 1"), std::string::npos) << status.error().message;
  }
}

TEST(SupportCompare, TypesShapesAndIntegers) {
  Tensor one(DType::I32, {1}), two(DType::I32, {1});
  static_cast<int32_t *>(two.data())[0] = 1;
  EXPECT_EQ(compareTensors(one, two, 1, 10, "t").error().code, "E0502"); // integers exactly
  EXPECT_EQ(compareTensors(one, floats({0}), 0, 0, "t").error().code, "E0501");
  EXPECT_EQ(compareTensors(floats({0, 0}), floats({0}), 0, 0, "t").error().code, "E0501");
}
