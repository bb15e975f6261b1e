//===- IsolatedRun.cpp - work in processes of its own -------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "lib/Workbench/IsolatedRun.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <map>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

using namespace llmopt;
using Clock = std::chrono::steady_clock;

namespace {

struct Child {
  pid_t process = 0;
  int pipe = -1;
  size_t index = 0;
  Clock::time_point started = Clock::now();
  IsolatedResult result;
};

/// In the child: does the work, writes the text, ends without running the parent's destructors.
[[noreturn]] void runChild(int pipe, size_t index, const std::function<std::string(size_t)> &work) {
  std::string text = work(index);
  for (size_t at = 0; at < text.size();) {
    ssize_t written = write(pipe, text.data() + at, text.size() - at);
    if (written <= 0)
      break;
    at += size_t(written);
  }
  _exit(0);
}

Result<Child> start(size_t index, const std::function<std::string(size_t)> &work) {
  int ends[2];
  if (::pipe(ends) != 0)
    return internalError("E0505", std::string("cannot make a pipe: ") + std::strerror(errno));
  Child child;
  child.index = index;
  child.process = fork();
  if (child.process == 0) {
    close(ends[0]);
    runChild(ends[1], index, work);
  }
  close(ends[1]);
  child.pipe = ends[0];
  if (child.process < 0) {
    close(ends[0]);
    return internalError("E0505", std::string("cannot start a process: ") + std::strerror(errno));
  }
  return child;
}

/// Reads what has come; true at the end of the stream.
bool drain(Child &child) {
  char buffer[4096];
  ssize_t count = read(child.pipe, buffer, sizeof(buffer));
  if (count > 0) {
    child.result.text.append(buffer, size_t(count));
    return false;
  }
  return count == 0 || errno != EINTR;
}

/// Processor time counts, so that a busy machine fails nobody; what waits for ever is stopped by the clock on the wall.
bool tookTooLong(const Child &child, double seconds) {
  constexpr double kWaiting = 10;
  if (std::chrono::duration<double>(Clock::now() - child.started).count() > kWaiting * seconds)
    return true;
  clockid_t clock;
  timespec used;
  return clock_getcpuclockid(child.process, &clock) == 0 && clock_gettime(clock, &used) == 0 && double(used.tv_sec) + 1e-9 * double(used.tv_nsec) > seconds;
}

void finish(Child &child) {
  close(child.pipe);
  int status = 0;
  waitpid(child.process, &status, 0);
  if (!child.result.failure.empty())
    return;
  if (WIFSIGNALED(status))
    child.result.failure = "crashed with signal " + std::to_string(WTERMSIG(status));
  else if (WEXITSTATUS(status) != 0)
    child.result.failure = "ended with exit status " + std::to_string(WEXITSTATUS(status));
}

} // namespace

Status llmopt::runIsolated(size_t count, unsigned jobs, double seconds, const std::function<std::string(size_t)> &work,
                           const std::function<void(size_t, const IsolatedResult &)> &done) {
  std::vector<Child> running;
  size_t next = 0;
  while (next < count || !running.empty()) {
    while (next < count && running.size() < std::max(jobs, 1u)) {
      LLMOPT_ASSIGN(Child child, start(next, work));
      running.push_back(std::move(child));
      ++next;
    }
    std::vector<pollfd> polls;
    for (const Child &child : running)
      polls.push_back({child.pipe, POLLIN, 0});
    poll(polls.data(), polls.size(), 200);
    for (size_t i = running.size(); i-- > 0;) {
      Child &child = running[i];
      bool ended = polls[i].revents != 0 && drain(child);
      if (!ended && tookTooLong(child, seconds)) {
        kill(child.process, SIGKILL);
        char text[64];
        std::snprintf(text, sizeof(text), "took longer than %g s of a processor", seconds);
        child.result.failure = text;
        ended = true;
      }
      if (!ended)
        continue;
      finish(child);
      done(child.index, child.result);
      running.erase(running.begin() + long(i));
    }
  }
  return {};
}
