//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/runtime/Sequence.h"

#include "llmopt/lib/Support/CheckedMath.h"
#include "runtime/core/EngineState.h"

#include <utility>

using namespace llmopt;

Sequence::Sequence(std::shared_ptr<EngineState> engine) : engine_(std::move(engine)) {}

Sequence::Sequence(Sequence &&other) noexcept : engine_(std::move(other.engine_)) {
  for (int group : {0, 1}) {
    blocks_[group] = std::exchange(other.blocks_[group], {});
    length_[group] = std::exchange(other.length_[group], 0);
  }
}

Sequence &Sequence::operator=(Sequence &&other) noexcept {
  std::swap(engine_, other.engine_);
  for (int group : {0, 1}) {
    std::swap(blocks_[group], other.blocks_[group]);
    std::swap(length_[group], other.length_[group]);
  }
  return *this;
}

Sequence::~Sequence() {
  if (engine_)
    for (int group : {0, 1})
      engine_->cache->release(group, blocks_[group]);
}

void Sequence::trim(int group) {
  size_t keep = size_t(ceilDiv(length_[group], kCacheBlockTokens));
  if (blocks_[group].size() <= keep)
    return;
  engine_->cache->release(group, std::span(blocks_[group]).subspan(keep));
  blocks_[group].resize(keep);
}

Sequence Sequence::fork() const {
  Sequence copy(engine_);
  for (int group : {0, 1}) {
    engine_->cache->share(group, blocks_[group]);
    copy.blocks_[group] = blocks_[group];
    copy.length_[group] = length_[group];
  }
  return copy;
}

void Sequence::truncate(uint32_t length) {
  if (length >= length_[0])
    return;
  length_[0] = length;
  trim(0);
}
