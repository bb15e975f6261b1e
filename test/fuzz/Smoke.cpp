//===- Smoke.cpp - runs a fuzzer's function on mutated seeds ----------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// In place of libFuzzer, for builds without sanitizers:   fuzz-NAME -runs=N -seed=S FOLDER...
// Every seed as it is, then N mutants of them, the same for the same S. A mutant that ends the process is left in
// crash-NAME.bin of the working folder.

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <unistd.h>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

namespace {

using Random = std::mt19937_64;

size_t below(Random &random, size_t limit) { return limit ? size_t(random() % limit) : 0; }

void mutate(std::string &bytes, const std::string &other, Random &random) {
  static const char *const kWords[] = {"-1", "0", "9223372036854775807", "1e400", "null", "\"\"", "[]", "{}", "\xFF", "\\ud800", "[[[[[[[["};
  size_t at = below(random, bytes.size() + 1), length = below(random, 16);
  switch (below(random, 8)) {
  case 0:
  case 1:
    if (at < bytes.size())
      bytes[at] = char(bytes[at] ^ (1 << below(random, 8)));
    break;
  case 2:
    if (at < bytes.size())
      bytes[at] = char(random());
    break;
  case 3:
    bytes.erase(at, length);
    break;
  case 4:
    bytes.insert(at, kWords[below(random, std::size(kWords))]);
    break;
  case 5:
    bytes.insert(at, bytes.substr(below(random, bytes.size() + 1), length));
    break;
  case 6:
    bytes.replace(at, length, other, below(random, other.size() + 1), below(random, 64));
    break;
  case 7:
    if (below(random, 8) == 0)
      bytes.resize(at);
    break;
  }
}

std::string crashFile;
const std::string *current = nullptr;

/// System calls only: the process is about to end.
void keepInput(int number) {
  int file = ::open(crashFile.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (file >= 0 && ::write(file, current->data(), current->size()) >= 0)
    ::close(file);
  std::signal(number, SIG_DFL);
  std::raise(number);
}

void run(const std::string &bytes) {
  current = &bytes;
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size());
}

} // namespace

int main(int argc, char **argv) {
  uint64_t runs = 1000, seed = 1;
  std::vector<std::string> seeds;
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    if (argument.starts_with("-runs="))
      runs = std::strtoull(argument.c_str() + 6, nullptr, 10);
    else if (argument.starts_with("-seed="))
      seed = std::strtoull(argument.c_str() + 6, nullptr, 10);
    else
      for (const auto &entry : std::filesystem::directory_iterator(argument)) {
        std::ifstream file(entry.path(), std::ios::binary);
        seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
      }
  }
  std::sort(seeds.begin(), seeds.end()); // folders are in no order
  if (seeds.empty())
    return std::fprintf(stderr, "no seeds\n"), 2;
  crashFile = "crash-" + std::filesystem::path(argv[0]).filename().string() + ".bin";
  for (int number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL})
    std::signal(number, keepInput);
  Random random(seed);
  for (const std::string &bytes : seeds)
    run(bytes);
  for (uint64_t i = 0; i < runs; ++i) {
    std::string bytes = seeds[below(random, seeds.size())];
    for (size_t n = 1 + below(random, 4); n > 0; --n)
      mutate(bytes, seeds[below(random, seeds.size())], random);
    run(bytes);
  }
  std::printf("%zu seeds, %llu mutants\n", seeds.size(), (unsigned long long)runs);
  return 0;
}
