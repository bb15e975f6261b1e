//===- decoder.cpp - llmopt, answering decoder_peers.py --------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   bench-decoder model.llmopt THREADS
//   bench-decoder --reading THREADS      answers each line with the seconds it takes to read a gigabyte of memory
//
//===----------------------------------------------------------------------===//
#include "decoderServer.h"

#include "llmopt/runtime/Session.h"
#include "runtime/cpu/MachineLoops.h"
#include "runtime/cpu/ThreadTeam.h"

using namespace llmopt;

namespace {

template <typename T>
T orExit(Result<T> result) {
  if (result)
    return result.take();
  std::fprintf(stderr, "%s\n", result.error().str().c_str());
  std::exit(1);
}

class OwnDecoder final : public test::DecoderUnderTest {
public:
  explicit OwnDecoder(const Engine &engine) : session_(orExit(Session::create(engine))) {}
  std::span<const float> append(std::span<const int32_t> tokens) override { return orExit(session_.append(tokens)); }
  void truncate(int64_t length) override {
    if (Status status = session_.truncate(uint32_t(length)); !status.ok())
      orExit(Result<int>(status));
  }

private:
  Session session_;
};

/// The best of one and several streams, on memory that no cache holds.
int serveReading(unsigned threads) {
  constexpr size_t kBytes = size_t(512) << 20;
  const size_t part = kBytes / threads / cpu::readGranule * cpu::readGranule;
  auto *memory = static_cast<const char *>(cpu::allocateHuge(kBytes));
  for (char line[128]; std::fgets(line, sizeof(line), stdin);) {
    double best = 1e9;
    for (unsigned streams : {1u, 2u, 4u})
      for (bool ahead : {false, true}) {
        cpu::ThreadTeam::Turn turn(cpu::ThreadTeam::process(), threads);
        auto work = [&](unsigned index) { cpu::readStreams(memory + index * part, part, streams, ahead); };
        auto begin = std::chrono::steady_clock::now();
        turn.run(work);
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
      }
    std::printf("%.9f\n", best * 1e9 / double(part * threads));
    std::fflush(stdout);
  }
  return 0;
}

} // namespace

int main(int argc, char **argv) {
  if (argc != 3)
    return std::fprintf(stderr, "usage: bench-decoder model.llmopt THREADS\n"), 2;
  Engine::pinCallingThread();
  if (std::string_view(argv[1]) == "--reading")
    return serveReading(std::max(1u, unsigned(std::atoi(argv[2]))));
  Engine engine = orExit(Engine::load(argv[1], {.threads = unsigned(std::atoi(argv[2]))}));
  return test::serve([&](int64_t) { return std::make_unique<OwnDecoder>(engine); });
}
