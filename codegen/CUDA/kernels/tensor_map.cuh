//===- tensor_map.cuh - tensor maps under emulation -----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// On a GPU the 128 bytes of a tensor map are the driver's secret. The emulation, its tests and the stand-in driver use the form below.
//
//===----------------------------------------------------------------------===//
#pragma once

namespace emulation {

struct alignas(64) TensorMapWords {
  static constexpr unsigned long long kMagic = 0x70616d726f736e65ull;
  unsigned long long magic, address;
  unsigned char elementBytes, rank, swizzleBytes /* 0, 32, 64 or 128 */, pad[5];
  unsigned long long sizes[5];   ///< elements, innermost first
  unsigned long long strides[4]; ///< bytes between neighbours of dimensions 1 to 4
  unsigned short box[5], padding[3];
  unsigned long long reserved[2];
};
static_assert(sizeof(TensorMapWords) == 128);

/// Null, or the rule of cuTensorMapEncodeTiled that is broken.
inline const char *checkTensorMap(const TensorMapWords &map) {
  if (map.rank < 1 || map.rank > 5)
    return "the rank is not 1 to 5";
  if (map.address % 16)
    return "the address is not a multiple of 16";
  unsigned long long boxBytes = (unsigned long long)map.box[0] * map.elementBytes;
  if (boxBytes % 16)
    return "the inner box is not a multiple of 16 bytes";
  if (map.swizzleBytes && boxBytes > map.swizzleBytes)
    return "the inner box is wider than the swizzle";
  for (int i = 0; i < map.rank; ++i) {
    if (map.box[i] < 1 || map.box[i] > 256)
      return "a box is not 1 to 256 wide";
    if (map.sizes[i] < 1 || map.sizes[i] > (1ull << 32))
      return "a size is not 1 to 2^32";
    if (i && map.strides[i - 1] % 16)
      return "a stride is not a multiple of 16 bytes";
  }
  return nullptr;
}

} // namespace emulation
