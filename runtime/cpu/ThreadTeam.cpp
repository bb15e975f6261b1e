//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/cpu/ThreadTeam.h"

#include "runtime/cpu/Topology.h"

#include <cstdlib>
#include <cstring>
#include <pthread.h>
#include <sched.h>
#include <xmmintrin.h>

using namespace llmopt;
using cpu::ThreadTeam;

static constexpr unsigned kFlushAndZero = 0x8040; // MXCSR: flush to zero, denormals are zero

static void pinThread(pthread_t thread, int processor) {
  const char *off = std::getenv("LLMOPT_PIN_THREADS");
  if (off && std::strcmp(off, "0") == 0)
    return;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (processor >= CPU_SETSIZE)
    return;
  CPU_SET(unsigned(processor), &set);
  // Not being allowed to is no error: the thread runs all the same.
  (void)::pthread_setaffinity_np(thread, sizeof set, &set);
}

ThreadTeam &ThreadTeam::process() {
  // Never destroyed: another thread may be in a step while the process ends.
  static ThreadTeam *team = new ThreadTeam;
  return *team;
}

ThreadTeam::ThreadTeam() : processors_(cpu::allowedProcessors().ids) {
  if (processors_.empty())
    processors_.push_back(0);
}

ThreadTeam::~ThreadTeam() {
  work_ = nullptr;
  for (std::unique_ptr<Worker> &worker : workers_) {
    worker->start.raise();
    worker->thread.join();
  }
}

void ThreadTeam::pinCaller() {
  if (const std::vector<int> &processors = allowedProcessors().ids; !processors.empty())
    pinThread(::pthread_self(), processors.front());
}

void ThreadTeam::begin(unsigned parts) {
  turnstile_.lock();
  while (workers_.size() + 1 < parts) {
    Worker &worker = *workers_.emplace_back(std::make_unique<Worker>());
    unsigned part = unsigned(workers_.size());
    worker.thread = std::thread([this, &worker, part] { serve(worker, part); });
    // Threads beyond the processors are left to the scheduler.
    if (part < processors_.size())
      pinThread(worker.thread.native_handle(), processors_[part]);
  }
}

void ThreadTeam::serve(Worker &worker, unsigned part) {
  _mm_setcsr(_mm_getcsr() | kFlushAndZero);
  for (uint32_t seen = 0;; ++seen) {
    worker.start.wait(seen);
    if (!work_)
      return;
    work_(context_, part);
    if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1)
      finished_.raise();
  }
}

void ThreadTeam::run(Work work, void *context, unsigned parts) {
  parts_ = parts;
  unsigned saved = _mm_getcsr();
  _mm_setcsr(saved | kFlushAndZero);
  if (parts_ == 1) {
    work(context, 0);
  } else {
    work_ = work;
    context_ = context;
    running_.store(parts_ - 1, std::memory_order_relaxed);
    uint32_t before = finished_.value();
    for (unsigned part = 1; part < parts_; ++part)
      workers_[part - 1]->start.raise();
    work(context, 0);
    finished_.wait(before);
  }
  _mm_setcsr(saved);
}
