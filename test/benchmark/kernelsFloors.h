//===- kernelsFloors.h - what this machine can do, measured now -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_TEST_BENCHMARK_KERNELSFLOORS_H
#define LLMOPT_TEST_BENCHMARK_KERNELSFLOORS_H

#include "llmopt/lib/Target/Target.h"

#include <cstddef>
#include <string_view>

namespace llmopt::test {

/// Processor time of this thread: the measured code never waits, so time that other processes take does not count.
double seconds();

/// Operations a second of one core in a format ("f32", "bf16"), with vectors of at most this width.
double peakOperations(std::string_view format, const Target &target);

/// Bytes a second of one core reading [data, data + bytes), the better of one and four parallel streams.
double readRate(const void *data, size_t bytes);

} // namespace llmopt::test

#endif // LLMOPT_TEST_BENCHMARK_KERNELSFLOORS_H
