//===- CachePool.h - blocks of keys and values ------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Each state of the plan (one layer's keys and values) has a range of address space, cut into equal blocks of
// kCacheBlockTokens tokens. A block number stands for that block in all states of a group, so a sequence needs one list
// of numbers for each group. Blocks count their owners; who shares a block copies it before writing.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_CORE_CACHEPOOL_H
#define LLMOPT_RUNTIME_CORE_CACHEPOOL_H

#include "llmopt/lib/Artifact/Plan.h"
#include "runtime/cpu/Signal.h"

#include <functional>
#include <memory>

namespace llmopt {

/// Where the blocks of a state lie: this machine's memory, or a GPU's.
class BlockMemory {
public:
  virtual ~BlockMemory() = default;
  /// Address of block 0, which never changes.
  virtual std::byte *data() const = 0;
  /// Makes the first `size` bytes usable.
  virtual Status ensure(uint64_t size) = 0;
  /// Copies between two places of it.
  virtual Status copy(uint64_t to, uint64_t from, uint64_t bytes) = 0;
};
using MakeBlockMemory = std::function<Result<std::unique_ptr<BlockMemory>>(uint64_t limit)>;
Result<std::unique_ptr<BlockMemory>> makeHostBlocks(uint64_t limit);

/// May be used from several threads.
class CachePool {
public:
  static constexpr int kGroups = 2;
  /// `limit` bytes for all blocks of all states.
  static Result<std::unique_ptr<CachePool>> create(std::span<const plan::State> states, uint64_t limit,
                                                   const MakeBlockMemory &makeMemory = makeHostBlocks);

  /// Address of block 0 of each state.
  std::span<std::byte *const> bases() const { return bases_; }
  bool hasGroup(int group) const { return groups_[group].bytesPerBlock != 0; }
  uint64_t bytesPerBlock(int group) const { return groups_[group].bytesPerBlock; }
  uint64_t bytesInUse() const;

  /// Appends new blocks until `blocks` has `count`; on failure (E1502) it has what it had before.
  Status extend(int group, std::vector<int32_t> &blocks, size_t count);
  /// One more owner for each block.
  void share(int group, std::span<const int32_t> blocks);
  /// One owner less; blocks without owner can be given out again.
  void release(int group, std::span<const int32_t> blocks);
  /// Before writing to a block: if others own it as well, `block` becomes a copy of it.
  Status makeOwn(int group, int32_t &block);

private:
  struct Group {
    std::vector<uint32_t> states; ///< indices
    uint64_t bytesPerBlock = 0;
    size_t maxBlocks = 0;
    std::vector<uint32_t> owners; ///< of each block ever given out
    std::vector<int32_t> free;
  };
  explicit CachePool(std::span<const plan::State> states) : states_(states) {}
  Result<int32_t> allocate(Group &group); ///< with the lock held
  std::span<const plan::State> states_;
  std::vector<std::unique_ptr<BlockMemory>> memory_; ///< of each state
  std::vector<std::byte *> bases_;
  Group groups_[kGroups];
  mutable cpu::Turnstile lock_;
};

} // namespace llmopt

#endif // LLMOPT_RUNTIME_CORE_CACHEPOOL_H
