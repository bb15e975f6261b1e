//===- kernelsFloors.h - what this machine can do, measured now -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_TEST_BENCHMARK_KERNELSFLOORS_H
#define LLMOPT_TEST_BENCHMARK_KERNELSFLOORS_H

#include <cstddef>

namespace llmopt::test {

/// Processor time of this thread.
double seconds();

/// f32 operations a second of one core: independent chains of fused multiply-adds on registers (512-bit ones if `wide`).
double peakFlops(bool wide);

/// Bytes a second of one core reading [data, data + bytes) from the start, or as four parallel streams of 256 KiB.
double readOneStream(const void *data, size_t bytes);
double readFourStreams(const void *data, size_t bytes);

/// Memory on huge pages where the system gives them.
void *allocateHuge(size_t bytes);

} // namespace llmopt::test

#endif // LLMOPT_TEST_BENCHMARK_KERNELSFLOORS_H
