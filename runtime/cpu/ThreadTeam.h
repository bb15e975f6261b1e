//===- ThreadTeam.h - the threads that run steps ----------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One team per process. A step takes it with one atomic, runs one parallel region in which the parts meet at barriers,
// and gives it back. The caller is part 0; the others are persistent threads, each pinned to a processor, that spin for
// a moment after a region and then sleep.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_CPU_THREADTEAM_H
#define LLMOPT_RUNTIME_CPU_THREADTEAM_H

#include "runtime/cpu/Signal.h"

#include <memory>
#include <thread>
#include <vector>

namespace llmopt::cpu {

class ThreadTeam {
public:
  /// The process's team; threads start when first asked for.
  static ThreadTeam &process();
  ThreadTeam();
  ~ThreadTeam();

  /// Waits for the team and holds it; `run` may be called any number of times meanwhile.
  class Turn {
  public:
    Turn(ThreadTeam &team, unsigned parts) : team_(team), parts_(parts) { team_.begin(parts); }
    ~Turn() { team_.turnstile_.unlock(); }
    Turn(const Turn &) = delete;
    Turn &operator=(const Turn &) = delete;
    unsigned parts() const { return parts_; }
    /// Calls work(part) for the first `parts` parts, the caller's thread being part 0, and returns when all are done. Denormals are
    /// taken as zero inside.
    template <typename Work>
    void run(Work &work, unsigned parts) {
      team_.run([](void *context, unsigned part) { (*static_cast<Work *>(context))(part); }, &work, parts);
    }
    template <typename Work>
    void run(Work &work) {
      run(work, parts_);
    }

  private:
    ThreadTeam &team_;
    unsigned parts_;
  };

  /// Inside a region: returns when all parts have come here.
  void barrier() {
    if (parts_ == 1)
      return;
    uint32_t generation = barrier_.value();
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == parts_) {
      arrived_.store(0, std::memory_order_relaxed);
      barrier_.raise();
    } else {
      barrier_.wait(generation);
    }
  }

  /// Binds the calling thread to the processor that is part 0's, for programs that own their main thread.
  static void pinCaller();

private:
  using Work = void (*)(void *context, unsigned part);
  struct Worker {
    Signal start; ///< raised to begin a region, or to end the thread
    std::thread thread;
  };
  void begin(unsigned parts);
  void run(Work work, void *context, unsigned parts);
  void serve(Worker &worker, unsigned part);

  Turnstile turnstile_;
  std::vector<std::unique_ptr<Worker>> workers_; ///< parts 1, 2, ...
  std::vector<int> processors_;
  Work work_ = nullptr; ///< null: threads end
  void *context_ = nullptr;
  unsigned parts_ = 1; ///< of the region
  alignas(64) std::atomic<uint32_t> running_{0};
  Signal finished_;
  alignas(64) std::atomic<uint32_t> arrived_{0};
  Signal barrier_;
};

} // namespace llmopt::cpu

#endif // LLMOPT_RUNTIME_CPU_THREADTEAM_H
