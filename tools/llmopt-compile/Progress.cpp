//===- Progress.cpp - says how far a compilation is --------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "tools/llmopt-compile/Progress.h"

#include <cstdio>
#include <unistd.h>

using namespace llmopt;

Progress::Progress(const std::string &mode)
    : terminal_(mode == "auto" && isatty(STDERR_FILENO)), plain_(mode == "plain") {}

void Progress::update(Phase phase, std::string_view what, size_t done, size_t total) {
  if (!terminal_ && !plain_)
    return;
  auto now = std::chrono::steady_clock::now();
  bool newPhase = !started_ || phase != last_;
  if (!newPhase && (plain_ || now - shown_ < std::chrono::milliseconds(50)))
    return;
  started_ = true;
  last_ = phase;
  shown_ = now;
  double seconds = std::chrono::duration<double>(now - begin_).count();
  std::string count = total ? " " + std::to_string(done) + "/" + std::to_string(total) : done ? " " + std::to_string(done) : "";
  std::fprintf(stderr, "%s[%d/7] %-9s %.*s%s  %.1f s%s", terminal_ ? "\r\033[K" : "", int(phase) + 1, std::string(phaseName(phase)).c_str(),
               int(what.size()), what.data(), count.c_str(), seconds, terminal_ ? "" : "\n");
  std::fflush(stderr);
}

void Progress::finish() {
  if (terminal_ && started_)
    std::fprintf(stderr, "\r\033[K");
}
