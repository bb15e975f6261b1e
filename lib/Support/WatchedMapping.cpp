//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "WatchedMapping.h"

#include <cerrno>
#include <csignal>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>

using namespace llmopt;

// Rows are added and reused, never removed, so that the handler can walk them without a lock.
static std::atomic<WatchedMapping *> mappings{nullptr};
static std::atomic<WatchedMapping *> lastLost{nullptr};
static std::atomic<uint64_t> lostCount{0};
static uintptr_t pageSize = 4096;
static struct sigaction previousHandler;

static WatchedMapping *mappingAt(uintptr_t address) {
  for (WatchedMapping *row = mappings.load(std::memory_order_acquire); row; row = row->next)
    if (address >= row->begin.load(std::memory_order_acquire) && address < row->end.load(std::memory_order_acquire))
      return row;
  return nullptr;
}

static void passOn(int number, siginfo_t *info, void *context) {
  if (previousHandler.sa_flags & SA_SIGINFO) {
    previousHandler.sa_sigaction(number, info, context);
  } else if (previousHandler.sa_handler != SIG_DFL && previousHandler.sa_handler != SIG_IGN) {
    previousHandler.sa_handler(number);
  } else {
    // The access is tried again and ends the process as if nobody had looked.
    struct sigaction standard = {};
    standard.sa_handler = SIG_DFL;
    ::sigaction(SIGBUS, &standard, nullptr);
  }
}

/// Only system calls and lock-free atomics: it may interrupt anything.
static void onBusError(int number, siginfo_t *info, void *context) {
  int saved = errno;
  uintptr_t address = reinterpret_cast<uintptr_t>(info->si_addr), page = address & ~(pageSize - 1);
  WatchedMapping *row = mappingAt(address);
  if (!row || ::mmap(reinterpret_cast<void *>(page), pageSize, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
    return passOn(number, info, context);
  uint64_t intact = WatchedMapping::kIntact;
  if (row->lostOffset.compare_exchange_strong(intact, page - row->begin)) {
    lastLost = row;
    ++lostCount;
  }
  errno = saved;
}

static void installHandler() {
  pageSize = uintptr_t(::sysconf(_SC_PAGESIZE));
  struct sigaction action = {};
  action.sa_sigaction = onBusError;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGBUS, &action, &previousHandler);
}

WatchedMapping *llmopt::watchMapping(const void *data, size_t size, const std::string &path) {
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  static bool installed = (installHandler(), true);
  (void)installed;
  // Rows that lost something stay as they are: their path may still be asked for.
  WatchedMapping *row = mappings.load();
  while (row && (row->end != 0 || row->lostOffset != WatchedMapping::kIntact))
    row = row->next;
  if (!row) {
    row = new WatchedMapping;
    row->next = mappings.load();
    mappings.store(row, std::memory_order_release);
  }
  row->path = path;
  row->begin.store(reinterpret_cast<uintptr_t>(data), std::memory_order_release);
  row->end.store(reinterpret_cast<uintptr_t>(data) + size, std::memory_order_release);
  return row;
}

void llmopt::unwatchMapping(WatchedMapping *mapping) { mapping->end.store(0, std::memory_order_release); }

uint64_t llmopt::lostMappings() { return lostCount; }
const WatchedMapping *llmopt::lastLostMapping() { return lastLost; }
