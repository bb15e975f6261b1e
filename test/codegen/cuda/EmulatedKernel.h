//===- EmulatedKernel.h - kernels on the CPU, in every mode -----*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A test includes a family's source in a namespace of its own, with its macros defined, and launches it by name.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_TEST_CODEGEN_CUDA_EMULATEDKERNEL_H
#define LLMOPT_TEST_CODEGEN_CUDA_EMULATEDKERNEL_H

#include "codegen/CUDA/kernels/primitives.cuh"

#include <algorithm>
#include <gtest/gtest.h>
#include <random>
#include <string>
#include <sys/mman.h>
#include <vector>

namespace llmopt::test {

/// Every mode of the emulation: a correct kernel gives the same result in all.
inline constexpr const char *kModes[] = {"", "late-copies", "late-math", "late-copies,late-math", "reverse", "late-copies,late-math,reverse"};

/// Runs a kernel; returns the empty string or what the emulation complains about.
template <class... Parameters, class... Arguments>
std::string launch(const char *mode, void (*kernel)(Parameters...), unsigned blocks, unsigned threads, unsigned sharedBytes, Arguments... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments));
  setenv("LLMOPT_EMULATION", mode, 1);
  std::tuple<std::remove_const_t<Parameters>...> values(arguments...);
  std::vector<void *> addresses;
  std::apply([&](auto &...value) { (addresses.push_back(&value), ...); }, values);
  llmopt_Launch launch{{blocks, 1, 1}, {threads, 1, 1}, sharedBytes};
  const char *message = emulation::launchKernel(kernel, addresses.data(), launch);
  unsetenv("LLMOPT_EMULATION");
  return message ? message : "";
}

inline void store(float &to, float value) { to = value; }
inline void store(bf16 &to, float value) { to = toBf16(value); }
inline void store(f16 &to, float value) { to = toF16(value); }
inline void store(e4m3 &to, float value) { to = toE4m3(value); }
inline void store(i8 &to, float value) { to = i8(nearbyintf(value)); }
inline float load(i8 value) { return value; }
inline float load(u8 value) { return value; }
template <class T>
float load(T value) {
  return toFloat(value);
}

/// Device memory that ends where a page ends that nobody may touch: an access beyond it is a fault, not luck.
template <class T>
class Buffer {
public:
  explicit Buffer(size_t count, T fill = T()) : count(count) {
    size_t page = 4096, used = (count * sizeof(T) + 15) / 16 * 16;
    bytes = (used + page - 1) / page * page + page;
    base = (char *)mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(base + bytes - page, page, PROT_NONE);
    values = (T *)(base + bytes - page - used);
    std::fill(values, values + count, fill);
  }
  Buffer(const Buffer &) = delete;
  ~Buffer() { munmap(base, bytes); }
  T *data() const { return values; }
  T &operator[](size_t i) const { return values[i]; }
  size_t size() const { return count; }
  void random(unsigned seed, float scale = 1.0f) {
    std::mt19937 generator(seed);
    std::uniform_real_distribution<float> uniform(-scale, scale);
    for (size_t i = 0; i < count; ++i)
      store(values[i], uniform(generator));
  }

private:
  size_t count, bytes;
  char *base;
  T *values;
};

/// What a family is given for an operand: a tensor map by its address, anything else as it is.
template <class Operand>
const Operand &operandOf(const Operand &operand) {
  return operand;
}
inline const TensorMap *operandOf(const TensorMap &map) { return &map; }

template <class Family, class... Operands>
void familyEntry(Operands... operands) {
  SHARED_MEMORY(smem);
  Family().run(smem, operandOf(operands)...);
}

/// Runs a family on data (rows, operands(units), clear(), error(rounded)), its units of work in so many blocks; `more` are its last operands.
template <class Family, class Data, class... More>
std::string runFamily(const char *mode, Data &data, unsigned blocks, More... more) {
  data.clear();
  return std::apply([&](auto... operands) { return launch(mode, familyEntry<Family, decltype(operands)..., More...>, blocks, Family::kThreads, Family::kSharedBytes, operands..., more...); },
                    data.operands(Family::units(data.rows)));
}

/// The worst error of all modes; nothing may be complained about.
template <class Family, class Data, class... More>
double worstError(Data &data, unsigned blocks, bool rounded, More... more) {
  double worst = 0;
  for (const char *mode : kModes) {
    EXPECT_EQ((runFamily<Family>(mode, data, blocks, more...)), "") << mode;
    worst = std::max(worst, data.error(rounded));
  }
  return worst;
}

/// Does any mode complain, or give a wrong result? For injected errors.
template <class Family, class Data>
bool isCaught(Data &data, unsigned blocks) {
  return std::any_of(std::begin(kModes), std::end(kModes), [&](const char *mode) { return runFamily<Family>(mode, data, blocks) != "" || !(data.error(true) < 0.1); });
}

/// A tensor map as the driver would make it, of a matrix [rows, columns].
template <class T>
TensorMap tensorMap2(const T *data, u64 rows, u64 columns, u64 strideElements, unsigned boxRows, unsigned boxColumns, unsigned swizzle = 128) {
  emulation::TensorMapWords words{};
  words.magic = emulation::TensorMapWords::kMagic;
  words.address = u64(data);
  words.elementBytes = sizeof(T);
  words.rank = 2;
  words.swizzleBytes = swizzle;
  words.sizes[0] = columns, words.sizes[1] = rows;
  words.strides[0] = strideElements * sizeof(T);
  words.box[0] = boxColumns, words.box[1] = boxRows;
  TensorMap map;
  memcpy(&map, &words, sizeof map);
  return map;
}

/// Largest |got - expected| / (1 + |expected|); infinite if anything is not a number.
class Error {
public:
  void add(double got, double expected) {
    double error = std::fabs(got - expected) / (1.0 + std::fabs(expected));
    if (!(error <= largest))
      largest = error == error ? error : HUGE_VAL;
  }
  double worst() const { return largest; }

private:
  double largest = 0;
};

} // namespace llmopt::test

#endif // LLMOPT_TEST_CODEGEN_CUDA_EMULATEDKERNEL_H
