//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "RandomWeights.h"

#include "llmopt/lib/Support/CheckedMath.h"
#include "llmopt/lib/Support/RandomTensor.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace llmopt;
using namespace llmopt::hf;

RandomWeights::RandomWeights(uint64_t seed, const Json &config, bool describe) : seed_(seed), describe_(describe) {
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
  size_t bytes = size_t(*elements) * dtypeSize(type_);
  constexpr size_t kSmall = 1 << 20; // what the compiler may want to look into
  if (describe_ && bytes > kSmall)
    return StoredWeight{type_, std::move(shape), {}, nullptr};
  RandomTensor recipe = RandomTensor::ofWeight(seed_, name, shape, type_);
  LLMOPT_ASSIGN(std::shared_ptr<std::byte> memory, mapTemporary(std::max<size_t>(bytes, 1), name));
  recipe.fill({memory.get(), bytes});
  return StoredWeight{type_, std::move(shape), {memory.get(), bytes}, memory};
}
