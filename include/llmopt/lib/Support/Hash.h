//===- Hash.h - checksums against accidents ---------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_SUPPORT_HASH_H
#define LLMOPT_LIB_SUPPORT_HASH_H

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace llmopt {

/// XXH3, 64 bits. Detects damage; it is no defence against an attacker.
uint64_t hashBytes(std::span<const std::byte> bytes);
uint64_t hashString(std::string_view text);
/// Sixteen lower-case hexadecimal digits.
std::string hashHex(uint64_t hash);

} // namespace llmopt

#endif // LLMOPT_LIB_SUPPORT_HASH_H
