//===- emulation_engine.cuh - the threads of a block on one CPU thread ----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every thread of a block is a fiber that runs until it has to wait: at a barrier, at an mbarrier, or where the lanes of a warp or the
// threads of a warpgroup act together (the last to arrive does the work of all). If nobody can go on, that is a deadlock and is reported.
//
// Asynchronous operations may happen at once or as late as the program allows; a program that relies on either is wrong. The
// environment variable LLMOPT_EMULATION chooses, as words separated by commas:
//
//   late-copies   cp.async lands at its wait_group, TMA loads when no thread can go on without them
//   late-math     wgmma reads its operands and writes its result, and bulk stores read theirs, at the wait
//   reverse       the last thread runs first
//
// Shared memory starts out as NaN in every float format; accesses through primitives are checked against the array they belong to.
// A launch belongs to the OS thread that called it; blocks run one after the other. All functions are internal: several units of one program do
// not share an engine.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <csetjmp>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <sys/mman.h>
#include <type_traits>
#include <ucontext.h>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define LLMOPT_EMULATE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LLMOPT_EMULATE_ASAN 1
#endif
#endif
#ifdef LLMOPT_EMULATE_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

struct llmopt_Launch {
  unsigned grid[3], block[3], sharedBytes;
};

namespace emulation {

struct Index3 {
  u32 x = 0, y = 0, z = 0;
};

constexpr u32 kMaxShared = 232448; // of a Hopper block

//===----------------------------------------------------------------------===//
// Fibers
//===----------------------------------------------------------------------===//

/// What a fiber waits for: until (*counter & mask) != value.
struct Wait {
  const u64 *counter = nullptr;
  u64 mask = 0, value = 0;
  const char *what = "";
  u32 where = 0;
  bool over() const { return !counter || (*counter & mask) != value; }
};

/// A stack on which one thread of a block after the other runs.
struct Stack {
  static constexpr size_t kBytes = 512 << 10, kGuard = 4096;
  ucontext_t start;
  jmp_buf resume;
  void *memory;
  bool started = false;

  Stack() {
    // The lowest page stays inaccessible: a kernel that needs more stack faults there.
    memory = mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect((char *)memory + kGuard, kBytes - kGuard, PROT_READ | PROT_WRITE)) {
      fputs("emulation: no memory for stacks\n", stderr);
      abort();
    }
  }
  Stack(const Stack &) = delete;
  ~Stack() { munmap(memory, kBytes); }
  void *bottom() const { return (char *)memory + kGuard; }
  static constexpr size_t size() { return kBytes - kGuard; }
};

struct CopyToShared { // one cp.async
  u32 shared, bytes, filled;
  const void *global;
};
struct BulkCopy { // one TMA or bulk operation
  const TensorMapWords *map;
  void *global; // of a linear copy
  u32 shared, barrier, bytes;
  i32 corner[5];
};

/// Operations in flight, oldest first, in numbered groups; the last group is open.
template <class Operation>
struct Groups {
  std::vector<std::pair<u32, Operation>> flying;
  u32 open = 0;
  void add(Operation operation) { flying.emplace_back(open, std::move(operation)); }
  void commit() { ++open; }
  /// Completes all but the `newest` latest committed groups.
  template <class Complete>
  void wait(u32 newest, Complete complete) {
    size_t count = 0;
    while (count < flying.size() && flying[count].first + newest < open)
      complete(flying[count++].second);
    flying.erase(flying.begin(), flying.begin() + count);
  }
};

struct Fiber {
  Index3 thread;
  u32 linear = 0;
  Stack *stack = nullptr;
  bool done = false;
  Wait wait;
  Groups<CopyToShared> copies;
  Groups<BulkCopy> stores;
};

/// Threads that act together: all give a slot, the last one acts.
struct Meeting {
  u32 arrived = 0;
  u64 generation = 0;
  const char *what = nullptr;
  void *slots[128];
};

struct Barrier {
  u32 arrived = 0, expected = 0;
  u64 generation = 0;
};

struct Mbarrier {
  u32 address = 0, count = 0, pending = 0;
  i64 bytes = 0;
  u64 phase = 0;
};

struct SharedArray {
  const void *site; // who declared it; null: the dynamic array
  u32 base, bytes;
  u8 *memory;
  bool live; // in this block
};

/// One wgmma of 128 threads. Registers are read and written where they are, so that a kernel that touches them too early is found out.
struct WgmmaJob {
  void (*run)(const WgmmaJob &job);
  void *accumulators[128];
  const u32 *registers[128]; // of A; null: descriptorA
  u64 descriptorA, descriptorB;
  bool accumulate;
};
struct Warpgroup {
  Meeting meeting;
  Groups<std::unique_ptr<WgmmaJob>> jobs;
  bool fenced = false;
};

struct Engine {
  Index3 grid, blockSize, block;
  std::vector<Fiber> fibers;
  Fiber *current = nullptr;
  std::vector<Meeting> warps;
  std::vector<Warpgroup> warpgroups;
  Barrier barriers[16];
  std::vector<std::unique_ptr<Mbarrier>> mbarriers;
  std::vector<BulkCopy> loads; // TMA loads not yet landed
  std::vector<SharedArray> shared;
  std::vector<double> operands; // of the wgmma that runs
  bool lateCopies = false, lateMath = false, reverse = false;
  bool failed = false;
  char message[1024] = "";

  void (*body)(void *) = nullptr;
  void *bodyData = nullptr;
  std::vector<std::unique_ptr<Stack>> stacks;
  std::vector<Stack *> freeStacks;
  jmp_buf scheduler;
  ucontext_t schedulerContext;
#ifdef LLMOPT_EMULATE_ASAN
  const void *schedulerStack = nullptr;
  size_t schedulerStackBytes = 0;
#endif
};

static thread_local std::unique_ptr<Engine> engineOwner;
#ifdef __clang__
static thread_local Engine *engine __attribute__((tls_model("initial-exec"))) = nullptr;
#else
static thread_local Engine *engine = nullptr;
#endif

__attribute__((noinline)) static void toScheduler() {
#ifdef LLMOPT_EMULATE_ASAN
  void *fake;
  __sanitizer_start_switch_fiber(&fake, engine->schedulerStack, engine->schedulerStackBytes);
  swapcontext(&engine->current->stack->start, &engine->schedulerContext);
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#else
  if (!_setjmp(engine->current->stack->resume))
    _longjmp(engine->scheduler, 1);
#endif
}

/// Ends the launch: no fiber runs again.
[[noreturn]] __attribute__((format(printf, 1, 2))) static void fail(const char *format, ...) {
  if (!engine->failed) {
    engine->failed = true;
    Index3 b = engine->block, t = engine->current ? engine->current->thread : Index3{};
    int used = snprintf(engine->message, sizeof engine->message, "block %u,%u,%u thread %u,%u,%u: ", b.x, b.y, b.z, t.x, t.y, t.z);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(engine->message + used, sizeof engine->message - used, format, arguments);
    va_end(arguments);
  }
  toScheduler();
  abort(); // the scheduler does not come back
}

static void fiberMain() {
#ifdef LLMOPT_EMULATE_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &engine->schedulerStack, &engine->schedulerStackBytes);
#endif
  for (;;) {
    engine->body(engine->bodyData);
    Fiber &fiber = *engine->current;
    if (!fiber.copies.flying.empty())
      fail("ends with cp.async that was not waited for");
    if (!fiber.stores.flying.empty())
      fail("ends with a bulk store whose shared memory was not waited for");
    fiber.done = true;
    toScheduler();
  }
}

static Stack *takeStack() {
  if (engine->freeStacks.empty()) {
    engine->stacks.emplace_back(new Stack);
    return engine->stacks.back().get();
  }
  Stack *stack = engine->freeStacks.back();
  engine->freeStacks.pop_back();
  return stack;
}

/// Runs a fiber until it waits, ends or fails.
__attribute__((noinline)) static void resume(Fiber &fiber) {
  engine->current = &fiber;
  fiber.wait.counter = nullptr;
  if (!fiber.stack)
    fiber.stack = takeStack();
  Stack &stack = *fiber.stack;
  bool first = !stack.started;
  if (first) {
    stack.started = true;
    getcontext(&stack.start);
    stack.start.uc_stack.ss_sp = stack.bottom();
    stack.start.uc_stack.ss_size = Stack::size();
    stack.start.uc_link = nullptr;
    makecontext(&stack.start, fiberMain, 0);
  }
#ifdef LLMOPT_EMULATE_ASAN
  void *fake;
  __sanitizer_start_switch_fiber(&fake, stack.bottom(), Stack::size());
  swapcontext(&engine->schedulerContext, &stack.start);
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#else
  if (!_setjmp(engine->scheduler)) {
    if (first)
      setcontext(&stack.start);
    _longjmp(stack.resume, 1);
  }
#endif
  if (fiber.done) {
    engine->freeStacks.push_back(fiber.stack);
    fiber.stack = nullptr;
  }
  engine->current = nullptr;
}

static void waitUntilNot(const u64 *counter, u64 mask, u64 value, const char *what, u32 where) {
  if ((*counter & mask) != value)
    return;
  engine->current->wait = {counter, mask, value, what, where};
  toScheduler();
}

//===----------------------------------------------------------------------===//
// Shared memory
//===----------------------------------------------------------------------===//

/// Host address of `bytes` bytes that a primitive touches at a shared address.
static u8 *sharedAt(u32 address, u32 bytes, u32 alignment = 1) {
  if (address % alignment)
    fail("shared address 0x%x is not a multiple of %u", address, alignment);
  for (const SharedArray &array : engine->shared)
    if (array.live && address >= array.base && address - array.base <= array.bytes && bytes <= array.bytes - (address - array.base))
      return array.memory + (address - array.base);
  fail("%u bytes at shared address 0x%x lie in no array", bytes, address);
}

static u32 sharedAddressOf(const void *pointer) {
  for (const SharedArray &array : engine->shared)
    if (array.live && (const u8 *)pointer >= array.memory && (const u8 *)pointer <= array.memory + array.bytes)
      return array.base + u32((const u8 *)pointer - array.memory);
  fail("a pointer that is not into shared memory is used as one");
}

[[maybe_unused]] static u8 *dynamicShared() { return engine->shared[0].memory; }

[[maybe_unused]] static u8 *staticShared(const void *site, u32 bytes) {
  u32 used = 0;
  for (SharedArray &array : engine->shared) {
    used += array.live ? array.bytes : 0;
    if (array.site != site)
      continue;
    if (!array.live)
      memset(array.memory, 0xff, array.bytes);
    array.live = true;
    return array.memory;
  }
  if (used + bytes > kMaxShared)
    fail("%u bytes of shared memory are more than %u", used + bytes, kMaxShared);
  void *memory = nullptr;
  if (posix_memalign(&memory, 1024, bytes))
    abort();
  memset(memory, 0xff, bytes);
  // Far from the dynamic array: an access beyond either hits nothing.
  u32 base = 0x80000 + u32(engine->shared.size()) * 0x80000;
  engine->shared.push_back({site, base, bytes, (u8 *)memory, true});
  return (u8 *)memory;
}

//===----------------------------------------------------------------------===//
// Waiting together
//===----------------------------------------------------------------------===//

template <class Act>
static void meet(Meeting &meeting, u32 size, u32 place, const char *what, void *mine, Act act) {
  if (meeting.arrived && strcmp(meeting.what, what))
    fail("%s meets %s of other lanes", what, meeting.what);
  meeting.what = what;
  meeting.slots[place] = mine;
  u64 generation = meeting.generation;
  if (++meeting.arrived == size) {
    act(meeting.slots);
    meeting.arrived = 0;
    ++meeting.generation;
  } else {
    waitUntilNot(&meeting.generation, ~0ull, generation, what, place);
  }
}

/// The 32 lanes of a warp; act(slots) sees what each gave.
template <class Slot, class Act>
static void meetWarp(const char *what, Slot &mine, Act act) {
  u32 linear = engine->current->linear;
  meet(engine->warps[linear / 32], 32, linear % 32, what, &mine, [&](void **slots) { act((Slot **)slots); });
}

template <class Slot, class Act>
static void meetWarpgroup(const char *what, Slot &mine, Act act) {
  u32 linear = engine->current->linear;
  Warpgroup &group = engine->warpgroups[linear / 128];
  meet(group.meeting, 128, linear % 128, what, &mine, [&](void **slots) { act(group, (Slot **)slots); });
}

static void waitAtBarrier(u32 id, u32 threads) {
  if (id > 15 || threads == 0 || threads % 32)
    fail("barrier %u of %u threads: only 16 barriers of whole warps exist", id, threads);
  Barrier &barrier = engine->barriers[id];
  if (barrier.arrived && barrier.expected != threads)
    fail("barrier %u is used for %u and for %u threads at once", id, barrier.expected, threads);
  barrier.expected = threads;
  u64 generation = barrier.generation;
  if (++barrier.arrived == threads) {
    barrier.arrived = 0;
    ++barrier.generation;
  } else {
    waitUntilNot(&barrier.generation, ~0ull, generation, "barrier", id);
  }
}

//===----------------------------------------------------------------------===//
// mbarrier and bulk copies
//===----------------------------------------------------------------------===//

static Mbarrier &mbarrierAt(u32 address) {
  sharedAt(address, 8, 8);
  for (auto &barrier : engine->mbarriers)
    if (barrier->address == address)
      return *barrier;
  fail("no mbarrier was initialised at shared address 0x%x", address);
}

static void completePhase(Mbarrier &barrier) {
  if (barrier.pending || barrier.bytes)
    return;
  barrier.pending = barrier.count;
  ++barrier.phase;
}

static void arrive(u32 address, u32 expectedBytes) {
  Mbarrier &barrier = mbarrierAt(address);
  if (!barrier.pending)
    fail("more than %u arrivals at the mbarrier 0x%x", barrier.count, address);
  barrier.bytes += expectedBytes;
  --barrier.pending;
  completePhase(barrier);
}

static u32 swizzled(u32 address, u32 span) { return span ? address ^ (((address >> 7) & (span / 16 - 1)) << 4) : address; }

static u32 boxBytes(const TensorMapWords &map) {
  u32 bytes = map.elementBytes;
  for (int i = 0; i < map.rank; ++i)
    bytes *= map.box[i];
  return bytes;
}

static const TensorMapWords *checkedMap(const void *opaque, int rank, u32 shared) {
  auto *map = (const TensorMapWords *)opaque;
  if (map->magic != TensorMapWords::kMagic || map->rank != rank)
    fail("a tensor map of rank %d is expected, there is none or one of rank %d", rank, int(map->rank));
  if (const char *wrong = checkTensorMap(*map))
    fail("tensor map: %s", wrong);
  sharedAt(shared, boxBytes(*map), map->swizzleBytes ? 8 * map->swizzleBytes : 128);
  return map;
}

/// A box goes element by element: those outside of the tensor are read as zero and not written.
static void moveBox(const BulkCopy &copy, bool toShared) {
  const TensorMapWords &map = *copy.map;
  u32 elements = boxBytes(map) / map.elementBytes;
  for (u32 i = 0; i < elements; ++i) {
    u32 rest = i;
    bool inside = true;
    u64 offset = 0;
    for (int d = 0; d < map.rank; ++d) {
      i64 at = i64(copy.corner[d]) + rest % map.box[d];
      rest /= map.box[d];
      inside &= at >= 0 && at < i64(map.sizes[d]);
      offset += u64(at) * (d ? map.strides[d - 1] : map.elementBytes);
    }
    u8 *shared = sharedAt(swizzled(copy.shared + i * map.elementBytes, map.swizzleBytes), map.elementBytes);
    u8 *global = (u8 *)map.address + offset;
    if (toShared && inside)
      memcpy(shared, global, map.elementBytes);
    else if (toShared)
      memset(shared, 0, map.elementBytes);
    else if (inside)
      memcpy(global, shared, map.elementBytes);
  }
}

static void land(const BulkCopy &load) {
  if (load.map)
    moveBox(load, true);
  else
    memcpy(sharedAt(load.shared, load.bytes, 16), load.global, load.bytes);
  Mbarrier &barrier = mbarrierAt(load.barrier);
  barrier.bytes -= load.bytes;
  completePhase(barrier);
}

static void startLoad(const BulkCopy &load) {
  mbarrierAt(load.barrier);
  if (engine->lateCopies)
    engine->loads.push_back(load);
  else
    land(load);
}

static void finish(const BulkCopy &store) {
  if (store.map)
    moveBox(store, false);
  else
    memcpy(store.global, sharedAt(store.shared, store.bytes, 16), store.bytes);
}

//===----------------------------------------------------------------------===//
// Launch
//===----------------------------------------------------------------------===//

static void reportDeadlock() {
  char waits[700] = "";
  int used = 0;
  for (size_t i = 0; i < engine->fibers.size() && used < 500; ++i) {
    const Fiber &fiber = engine->fibers[i];
    bool likeThePrevious = i % 32 && !engine->fibers[i - 1].done && !strcmp(engine->fibers[i - 1].wait.what, fiber.wait.what);
    if (!fiber.done && !likeThePrevious)
      used += snprintf(waits + used, sizeof waits - used, "; thread %u waits at %s %u", fiber.linear, fiber.wait.what, fiber.wait.where);
  }
  snprintf(engine->message, sizeof engine->message, "deadlock in block %u,%u,%u%s", engine->block.x, engine->block.y, engine->block.z, waits);
  engine->failed = true;
}

static void landLatest() {
  BulkCopy load = engine->loads.front();
  engine->loads.erase(engine->loads.begin());
  land(load);
}

static void prepareBlock() {
  u32 threads = engine->blockSize.x * engine->blockSize.y * engine->blockSize.z;
  engine->fibers.assign(threads, Fiber());
  engine->warps.assign((threads + 31) / 32, Meeting());
  engine->warpgroups.clear();
  engine->warpgroups.resize((threads + 127) / 128);
  engine->mbarriers.clear();
  engine->loads.clear();
  for (Barrier &barrier : engine->barriers)
    barrier = Barrier();
  for (SharedArray &array : engine->shared) {
    array.live = !array.site;
    if (array.live && array.bytes)
      memset(array.memory, 0xff, array.bytes);
  }
  for (u32 i = 0; i < threads; ++i) {
    Fiber &fiber = engine->fibers[i];
    fiber.linear = i;
    fiber.thread = {i % engine->blockSize.x, i / engine->blockSize.x % engine->blockSize.y, i / (engine->blockSize.x * engine->blockSize.y)};
  }
}

static void runBlock() {
  prepareBlock();
  size_t threads = engine->fibers.size();
  for (size_t left = threads; left && !engine->failed;) {
    bool moved = false;
    for (size_t i = 0; i < threads && !engine->failed; ++i) {
      Fiber &fiber = engine->fibers[engine->reverse ? threads - 1 - i : i];
      if (fiber.done || !fiber.wait.over())
        continue;
      moved = true;
      resume(fiber);
      left -= fiber.done;
    }
    if (!moved && !engine->failed) {
      if (engine->loads.empty())
        reportDeadlock();
      else
        landLatest();
    }
  }
  if (!engine->failed && !engine->loads.empty()) {
    engine->failed = true;
    snprintf(engine->message, sizeof engine->message, "the block ends while a TMA load is in flight");
  }
  for (Warpgroup &group : engine->warpgroups)
    if (!engine->failed && !group.jobs.flying.empty()) {
      engine->failed = true;
      snprintf(engine->message, sizeof engine->message, "the block ends with wgmma that was not committed and waited for");
    }
}

/// Null, or what went wrong; valid until the next launch of this thread.
static const char *launchBody(const llmopt_Launch &launch, void (*body)(void *), void *data) {
  if (!engineOwner)
    engineOwner.reset(new Engine);
  Engine &e = *(engine = engineOwner.get());
  const char *mode = getenv("LLMOPT_EMULATION");
  e.lateCopies = mode && strstr(mode, "late-copies");
  e.lateMath = mode && strstr(mode, "late-math");
  e.reverse = mode && strstr(mode, "reverse");
  e.body = body;
  e.bodyData = data;
  e.failed = false;
  if (launch.sharedBytes > kMaxShared || launch.block[0] * launch.block[1] * launch.block[2] > 1024) {
    snprintf(e.message, sizeof e.message, "%u bytes of shared memory or %ux%ux%u threads: no device takes that", launch.sharedBytes, launch.block[0],
             launch.block[1], launch.block[2]);
    return e.message;
  }
  e.grid = {launch.grid[0], launch.grid[1], launch.grid[2]};
  e.blockSize = {launch.block[0], launch.block[1], launch.block[2]};
  void *memory = nullptr;
  if (posix_memalign(&memory, 1024, launch.sharedBytes ? launch.sharedBytes : 1))
    abort();
  e.shared.insert(e.shared.begin(), {nullptr, 0, launch.sharedBytes, (u8 *)memory, true});
  for (u32 z = 0; z < e.grid.z; ++z)
    for (u32 y = 0; y < e.grid.y; ++y)
      for (u32 x = 0; x < e.grid.x && !e.failed; ++x) {
        e.block = {x, y, z};
        runBlock();
      }
  for (SharedArray &array : e.shared)
    free(array.memory);
  e.shared.clear();
  if (e.failed) // their stacks hold frames that nobody returns to
    for (Fiber &fiber : e.fibers)
      if (fiber.stack) {
        fiber.stack->started = false;
        e.freeStacks.push_back(fiber.stack);
      }
  e.fibers.clear();
  return e.failed ? e.message : nullptr;
}

template <class... Parameters, size_t... I>
static void callKernel(void (*kernel)(Parameters...), void **parameters, std::index_sequence<I...>) {
  kernel(*(std::remove_const_t<Parameters> *)parameters[I]...);
}

/// Calls a kernel with parameters given by address, as cuLaunchKernel takes them.
template <class... Parameters>
static const char *launchKernel(void (*kernel)(Parameters...), void **parameters, const llmopt_Launch &launch) {
  struct Call {
    void (*kernel)(Parameters...);
    void **parameters;
  } call{kernel, parameters};
  auto body = [](void *data) {
    auto *call = (Call *)data;
    callKernel(call->kernel, call->parameters, std::index_sequence_for<Parameters...>());
  };
  return launchBody(launch, body, &call);
}

/// Bytes of each parameter, 0 behind the last: what a captured graph keeps.
template <class... Parameters>
static const unsigned *parameterSizes(void (*)(Parameters...)) {
  static const unsigned sizes[] = {unsigned(sizeof(Parameters))..., 0};
  return sizes;
}

} // namespace emulation
