//===- decoder.cpp - llmopt, answering decoder_peers.py --------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   bench-decoder model.llmopt THREADS
//
//===----------------------------------------------------------------------===//
#include "decoderServer.h"

#include "llmopt/runtime/Session.h"

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

} // namespace

int main(int argc, char **argv) {
  if (argc != 3)
    return std::fprintf(stderr, "usage: bench-decoder model.llmopt THREADS\n"), 2;
  Engine::pinCallingThread();
  Engine engine = orExit(Engine::load(argv[1], {.threads = unsigned(std::atoi(argv[2]))}));
  return test::serve([&](int64_t) { return std::make_unique<OwnDecoder>(engine); });
}
