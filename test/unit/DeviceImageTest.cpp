//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Artifact/DeviceImage.h"

#include <cstring>
#include <elf.h>
#include <gtest/gtest.h>

using namespace llmopt;

namespace {

template <typename T>
void append(std::string &bytes, const T &value) {
  bytes.append(reinterpret_cast<const char *>(&value), sizeof(T));
}

/// A cubin with no code: kernel "k" with parameters of 8, 4 and 128 bytes. (What ptxas makes is read in test/e2e/cuda_tooling.py.)
std::string smallCubin() {
  std::string info;
  for (auto [ordinal, size] : {std::pair<uint16_t, uint32_t>{2, 128}, {1, 4}, {0, 8}}) {
    append(info, uint32_t(0x000c1704)); // 12 bytes of parameter information
    append(info, uint32_t(0));
    append(info, ordinal);
    append(info, uint16_t(0));
    append(info, uint32_t(size << 18));
  }
  append(info, uint32_t(0x00001b03)); // a value of 16 bits
  std::string names = std::string("\0.text.k\0.nv.info.k\0.names\0", 27), file(sizeof(Elf64_Ehdr), '\0');
  std::vector<Elf64_Shdr> sections(4);
  auto place = [&](Elf64_Shdr &section, uint32_t name, const std::string &content) {
    section.sh_name = name;
    section.sh_type = SHT_PROGBITS;
    section.sh_offset = file.size();
    section.sh_size = content.size();
    file += content;
  };
  place(sections[1], 1, "code");
  place(sections[2], 9, info);
  place(sections[3], 20, names);
  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_ABIVERSION] = 8;
  header.e_machine = 190;
  header.e_flags = 0x0a005a04;
  header.e_shoff = file.size();
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = 4;
  header.e_shstrndx = 3;
  for (const Elf64_Shdr &section : sections)
    append(file, section);
  std::memcpy(file.data(), &header, sizeof(header));
  return file;
}

Result<DeviceImage> read(const std::string &cubin) { return readCubin(std::as_bytes(std::span(cubin.data(), cubin.size())), "test"); }

TEST(DeviceImage, ParametersOfACubin) {
  Result<DeviceImage> image = read(smallCubin());
  ASSERT_TRUE(image.ok()) << image.error().str();
  EXPECT_EQ(image->capability, 90);
  ASSERT_NE(image->find("k"), nullptr);
  EXPECT_EQ(image->find("k")->parameterBytes, (std::vector<uint32_t>{8, 4, 128}));
  EXPECT_EQ(image->find("kernel"), nullptr);
}

TEST(DeviceImage, DamagedCubinsAreRefusedOrRead) {
  std::string whole = smallCubin();
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(read(whole.substr(0, size)).ok()) << size;
  for (size_t at = 0; at < whole.size(); ++at)
    for (int value : {0, 1, 0x7f, 0x80, 0xff}) {
      std::string damaged = whole;
      damaged[at] = char(value);
      if (Result<DeviceImage> image = read(damaged); !image.ok())
        EXPECT_EQ(image.error().code, "E0213");
    }
}

TEST(DeviceImage, ParametersOfPtx) {
  const char *text = R"(.version 9.4 // .entry not(
.target sm_90a
.address_size 64
/* .entry neither( */
.visible .entry rms(
	.param .u64 .ptr .global .align 1 rms_param_0,
	.param .u32 rms_param_1, .param .f32 rms_param_2,
	.param .align 64 .b8 rms_param_3[128]
)
.reqntid 128
{ ret; }
.entry none() { ret; }
)";
  Result<DeviceImage> image = readPtx(text, "test");
  ASSERT_TRUE(image.ok()) << image.error().str();
  EXPECT_EQ(image->capability, 90);
  ASSERT_EQ(image->kernels.size(), 2u);
  EXPECT_EQ(image->find("rms")->parameterBytes, (std::vector<uint32_t>{8, 4, 4, 128}));
  EXPECT_TRUE(image->find("none")->parameterBytes.empty());
  for (const char *bad : {"", ".target sm_90", ".entry k(.param .u64 a)", ".target sm_90 .entry k(.param .u64 a", ".target sm_90 .entry k(.param x)",
                          ".target sm_90 .entry k(.param .b8 x[99999999999999999999])"})
    EXPECT_FALSE(readPtx(bad, "test").ok()) << bad;
}

TEST(DeviceImage, LaunchAgainstImage) {
  Result<DeviceImage> image = read(smallCubin());
  ASSERT_TRUE(image.ok());
  using Kind = DeviceParameter::Kind;
  DeviceKernel kernel{.name = "mine", .entry = "k"};
  kernel.parameters = {{Kind::Buffer, 0}, {Kind::Dim, 0, 4}, {Kind::Constant, 0, 128}};
  EXPECT_TRUE(checkKernel(*image, kernel, 90, "test").ok());
  EXPECT_EQ(checkKernel(*image, kernel, 80, "test").error().code, "E0987");
  EXPECT_EQ(checkKernel(*image, kernel, 100, "test").error().code, "E0987");
  kernel.parameters[1].bytes = 8;
  Status wrong = checkKernel(*image, kernel, 90, "test");
  ASSERT_FALSE(wrong.ok());
  EXPECT_NE(wrong.error().message.find("(8, 4, 128) bytes, but would be launched with (8, 8, 128)"), std::string::npos) << wrong.error().message;
  kernel.entry = "other";
  EXPECT_EQ(checkKernel(*image, kernel, 90, "test").error().code, "E0987");
}

} // namespace
