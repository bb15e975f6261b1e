//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/core/CachePool.h"

#include "runtime/core/Mapping.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <mutex>

using namespace llmopt;

static constexpr size_t kMaxBlocks = size_t(1) << 24;

namespace {
class HostBlocks final : public BlockMemory {
public:
  explicit HostBlocks(GrowingMemory memory) : memory_(std::move(memory)) {}
  std::byte *data() const override { return memory_.data(); }
  Status ensure(uint64_t size) override { return memory_.ensure(size); }
  Status copy(uint64_t to, uint64_t from, uint64_t bytes) override {
    std::memcpy(data() + to, data() + from, bytes);
    return {};
  }

private:
  GrowingMemory memory_;
};
} // namespace

Result<std::unique_ptr<BlockMemory>> llmopt::makeHostBlocks(uint64_t limit) {
  LLMOPT_ASSIGN(GrowingMemory memory, GrowingMemory::create(limit, "the key-value cache"));
  return std::unique_ptr<BlockMemory>(new HostBlocks(std::move(memory)));
}
Result<std::unique_ptr<CachePool>> CachePool::create(std::span<const plan::State> states, uint64_t limit,
                                                          const MakeBlockMemory &makeMemory) {
  std::unique_ptr<CachePool> pool(new CachePool(states));
  for (uint32_t i = 0; i < states.size(); ++i) {
    Group &group = pool->groups_[states[i].group];
    if (states[i].blockBytes == 0 || states[i].blockBytes > (uint64_t(1) << 32))
      return badInput("E0208", "the plan is invalid: state '" + states[i].name + "' has blocks of " + std::to_string(states[i].blockBytes) +
                                   " bytes");
    group.states.push_back(i);
    group.bytesPerBlock += states[i].blockBytes;
  }
  if (pool->hasGroup(0) && pool->hasGroup(1))
    limit /= 2;
  for (Group &group : pool->groups_)
    if (group.bytesPerBlock)
      group.maxBlocks = std::clamp<size_t>(limit / group.bytesPerBlock, 1, kMaxBlocks);
  for (const plan::State &state : states) {
    uint64_t bytes = state.blockBytes * pool->groups_[state.group].maxBlocks;
    LLMOPT_ASSIGN(std::unique_ptr<BlockMemory> memory, makeMemory(bytes));
    pool->bases_.push_back(memory->data());
    pool->memory_.push_back(std::move(memory));
  }
  return pool;
}

uint64_t CachePool::bytesInUse() const {
  std::lock_guard lock(lock_);
  uint64_t bytes = 0;
  for (const Group &group : groups_)
    bytes += (group.owners.size() - group.free.size()) * group.bytesPerBlock;
  return bytes;
}

Result<int32_t> CachePool::allocate(Group &group) {
  if (!group.free.empty()) {
    int32_t block = group.free.back();
    group.free.pop_back();
    group.owners[size_t(block)] = 1;
    return block;
  }
  size_t block = group.owners.size();
  if (block >= group.maxBlocks)
    return limitExceeded("E1502", "the key-value cache is full: " + std::to_string(block) + " blocks of 64 tokens are in use; "
                                      "end other sequences or raise the cache limit");
  // A few blocks ahead, so that a growing sequence seldom asks the system.
  size_t ahead = std::min(block + 16, group.maxBlocks);
  for (uint32_t state : group.states)
    LLMOPT_RETURN_IF_ERROR(memory_[state]->ensure(states_[state].blockBytes * ahead));
  group.owners.push_back(1);
  return int32_t(block);
}

Status CachePool::extend(int index, std::vector<int32_t> &blocks, size_t count) {
  if (blocks.size() >= count)
    return {};
  size_t before = blocks.size();
  Status status;
  {
    std::lock_guard lock(lock_);
    while (blocks.size() < count && status.ok()) {
      Result<int32_t> block = allocate(groups_[index]);
      block.ok() ? blocks.push_back(*block) : void(status = block.status());
    }
  }
  if (!status.ok()) {
    release(index, std::span(blocks).subspan(before));
    blocks.resize(before);
  }
  return status;
}

void CachePool::share(int index, std::span<const int32_t> blocks) {
  if (blocks.empty())
    return;
  std::lock_guard lock(lock_);
  for (int32_t block : blocks)
    ++groups_[index].owners[size_t(block)];
}

void CachePool::release(int index, std::span<const int32_t> blocks) {
  if (blocks.empty())
    return;
  std::lock_guard lock(lock_);
  Group &group = groups_[index];
  for (int32_t block : blocks) {
    assert(group.owners[size_t(block)] > 0 && "a block was released twice");
    if (--group.owners[size_t(block)] == 0)
      group.free.push_back(block);
  }
}

Status CachePool::makeOwn(int index, int32_t &block) {
  std::lock_guard lock(lock_);
  Group &group = groups_[index];
  if (group.owners[size_t(block)] == 1)
    return {};
  LLMOPT_ASSIGN(int32_t copy, allocate(group));
  for (uint32_t state : group.states) {
    uint64_t bytes = states_[state].blockBytes;
    LLMOPT_RETURN_IF_ERROR(memory_[state]->copy(bytes * uint64_t(copy), bytes * uint64_t(block), bytes));
  }
  --group.owners[size_t(block)];
  block = copy;
  return {};
}
