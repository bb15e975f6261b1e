//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/core/EntryRunner.h"

#include "runtime/core/ArenaPlacement.h"

#include <algorithm>

using namespace llmopt;
using plan::BufferKind;

static constexpr size_t kMaxShapes = 256;

EntryRunner::EntryRunner(const plan::Plan &plan, const plan::Entry &entry) : entry_(entry), profiler_(plan, entry) {
  uint32_t phase = 0;
  for (const plan::Stage &stage : entry_.stages) {
    phase_.push_back(phase);
    phase += stage.barrier;
  }
  phase_.push_back(phase);
}

EntryRunner::~EntryRunner() = default;

Result<EntryRunner::Shape *> EntryRunner::shape(std::span<const int64_t> symbolValues) {
  auto same = [&](const std::unique_ptr<Shape> &s) {
    return std::equal(s->symbols.begin(), s->symbols.end(), symbolValues.begin(), symbolValues.end());
  };
  auto it = std::find_if(shapes_.begin(), shapes_.end(), same);
  if (it == shapes_.end()) {
    LLMOPT_ASSIGN(std::unique_ptr<Shape> made, makeShape(symbolValues));
    if (shapes_.size() == kMaxShapes)
      shapes_.pop_back();
    it = shapes_.insert(shapes_.end(), std::move(made));
  }
  std::rotate(shapes_.begin(), it, it + 1);
  return shapes_.front().get();
}

Result<std::unique_ptr<EntryRunner::Shape>> EntryRunner::makeShape(std::span<const int64_t> symbolValues) {
  std::unique_ptr<Shape> shape = newShape();
  shape->symbols.assign(symbolValues.begin(), symbolValues.end());
  shape->values = plan::evaluate(entry_.expressions, symbolValues);
  LLMOPT_RETURN_IF_ERROR(plan::checkRequirements(entry_, shape->values));
  LLMOPT_RETURN_IF_ERROR(placeArena(*shape));
  LLMOPT_RETURN_IF_ERROR(writeLaunches(*shape));
  return shape;
}

Status EntryRunner::placeArena(Shape &shape) {
  std::vector<ArenaRequest> requests;
  std::vector<uint32_t> buffers;
  for (uint32_t i = 0; i < entry_.buffers.size(); ++i) {
    const plan::Buffer &buffer = entry_.buffers[i];
    if (buffer.kind == BufferKind::Weight || buffer.kind == BufferKind::State)
      continue;
    int64_t bytes = shape.values[buffer.bytes];
    if (bytes < 0 || uint64_t(bytes) > arenaLimit())
      return limitExceeded("E1502", "buffer '" + buffer.name + "' of entry '" + entry_.name + "' would need " + std::to_string(bytes) +
                                        " bytes");
    // Inputs and outputs may have to be staged; pages that are not touched cost nothing.
    bool arena = buffer.kind == BufferKind::Arena;
    requests.push_back({uint64_t(bytes), arena ? phase_[buffer.firstStage] : 0, arena ? phase_[buffer.lastStage] : UINT32_MAX});
    buffers.push_back(i);
  }
  shape.arenaBytes = placeBuffers(requests);
  shape.places.resize(entry_.buffers.size());
  for (size_t i = 0; i < buffers.size(); ++i)
    shape.places[buffers[i]] = requests[i].offset;
  return {};
}

size_t EntryRunner::variantOf(const plan::Stage &stage, std::span<const int64_t> values) {
  size_t v = 0;
  while (v + 1 < stage.variants.size() && values[stage.selector] > stage.variants[v].limit)
    ++v;
  return v;
}
