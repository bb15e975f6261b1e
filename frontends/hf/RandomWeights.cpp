//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "RandomWeights.h"

#include "llmopt/lib/Support/CheckedMath.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace llmopt;
using namespace llmopt::hf;

static constexpr uint64_t kStep = 0x9e3779b97f4a7c15;

/// The splitmix64 generator's output at one state.
static uint64_t mix(uint64_t state) {
  state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9;
  state = (state ^ (state >> 27)) * 0x94d049bb133111eb;
  return state ^ (state >> 31);
}

/// FNV-1a.
static uint64_t hashOf(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325;
  for (unsigned char byte : name)
    hash = (hash ^ byte) * 0x100000001b3;
  return hash;
}

RandomWeights::RandomWeights(uint64_t seed, const Json &config) : seed_(seed) {
  const Json *name = config.find("dtype") ? config.find("dtype") : config.find("torch_dtype");
  if (name && name->isString())
    type_ = name->asString() == "bfloat16" ? DType::BF16 : name->asString() == "float16" ? DType::F16 : DType::F32;
}

static Result<std::shared_ptr<std::byte>> mapTemporary(size_t size, std::string_view name) {
  auto failed = [&](const char *what) {
    return badInput("E0405", "no room for " + std::to_string(size) + " bytes of random weights: " + what + ": " + std::strerror(errno),
                    std::string(name));
  };
  std::FILE *file = std::tmpfile();
  if (!file)
    return failed("temporary file");
  // Allocated now, so that a full disk is an error here and not a signal later.
  errno = ::posix_fallocate(::fileno(file), 0, off_t(size));
  void *address = errno ? MAP_FAILED : ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, ::fileno(file), 0);
  if (address == MAP_FAILED) {
    Status status = failed("temporary file");
    std::fclose(file);
    return status.error();
  }
  std::fclose(file);
  return std::shared_ptr<std::byte>(static_cast<std::byte *>(address), [size](std::byte *bytes) { ::munmap(bytes, size); });
}

Result<StoredWeight> RandomWeights::tensor(std::string_view name, std::vector<int64_t> shape) const {
  std::optional<int64_t> elements = checkedElementCount(shape);
  if (!elements || *elements > (int64_t(1) << 40))
    return limitExceeded("E0405", "a random tensor would have more than 2^40 elements", std::string(name));
  size_t count = size_t(*elements), bytes = count * dtypeSize(type_);
  LLMOPT_ASSIGN(std::shared_ptr<std::byte> memory, mapTemporary(std::max<size_t>(bytes, 1), name));
  float center = shape.size() == 1 && name.ends_with("weight") ? 1.0f : 0.0f;
  constexpr float kWidth = 0.02f * 3.4641016f; // a uniform distribution of width w deviates by w / sqrt(12)
  uint64_t state = hashOf(name) ^ mix(seed_);
  auto *words = reinterpret_cast<uint16_t *>(memory.get());
  auto *floats = reinterpret_cast<float *>(memory.get());
  for (size_t i = 0; i < count; ++i) {
    float share = float(int32_t(mix(state += kStep) >> 40)) * 0x1p-24f;
    float value = center + (share - 0.5f) * kWidth;
    if (type_ == DType::F32)
      floats[i] = value;
    else
      words[i] = type_ == DType::BF16 ? floatToBf16(value) : floatToF16(value);
  }
  return StoredWeight{type_, std::move(shape), {memory.get(), bytes}, memory};
}
