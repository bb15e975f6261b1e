//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/text/GeneratorBatch.h"

#include "llmopt/runtime/GraphDecoder.h"
#include "runtime/core/PrefillChunk.h"

#include <algorithm>

using namespace llmopt;
using namespace llmopt::text;

namespace {

/// A sequence in a ragged batch.
struct Member {
  Lane lane;
  Sequence sequence;
  size_t prompt; ///< index of the answer
};

class RaggedBatch {
public:
  RaggedBatch(const Engine &engine, const LaneContext &context, Prompts prompts)
      : engine_(engine), context_(context), prompts_(prompts), results_(prompts.size()) {}

  Result<std::vector<Generation>> run() {
    while (true) {
      LLMOPT_RETURN_IF_ERROR(admit());
      if (members_.empty())
        return std::move(results_);
      LLMOPT_RETURN_IF_ERROR(step());
      retire();
    }
  }

private:
  Status admit() {
    std::vector<EncodeInput> sources;
    size_t limit = std::max<size_t>(1, context_.options.batch);
    for (; members_.size() < limit && next_ < prompts_.size(); ++next_) {
      std::span<const int32_t> prompt = prompts_[next_];
      std::optional<int32_t> start = engine_.model().decoderStartId;
      bool encoder = engine_.hasEncode();
      if (encoder && !start)
        return badInput("E1511", "the model's metadata has no decoder_start_token_id", engine_.path());
      int32_t first = start.value_or(0);
      Lane lane(context_, encoder ? std::span(&first, 1) : prompt, next_);
      if (lane.done()) {
        results_[next_] = lane.take();
        continue;
      }
      members_.push_back(std::make_unique<Member>(std::move(lane), engine_.newSequence(), next_));
      if (encoder)
        sources.push_back({&members_.back()->sequence, prompt});
    }
    return sources.empty() ? Status() : engine_.encode(sources);
  }

  /// Every member runs what it has not seen, one token or a piece of its prompt, as long as there is room in the step.
  Status step() {
    inputs_.clear();
    active_.clear();
    size_t room = kPrefillChunk;
    for (const std::unique_ptr<Member> &member : members_) {
      std::span<const int32_t> pending = std::span(member->lane.tokens()).subspan(member->sequence.length());
      if (room == 0 && pending.size() > 1)
        continue;
      std::span<const int32_t> part = pending.first(std::min(pending.size(), std::max<size_t>(room, 1)));
      bool last = part.size() == pending.size();
      inputs_.push_back({&member->sequence, part, last ? LogitRows::Last : LogitRows::None, last ? member->lane.choice() : nullptr});
      active_.push_back(member.get());
      room -= std::min(room, part.size());
    }
    LLMOPT_RETURN_IF_ERROR(engine_.step(inputs_, output_));
    for (size_t i = 0; i < active_.size(); ++i)
      if (inputs_[i].logits == LogitRows::Last)
        LLMOPT_RETURN_IF_ERROR(output_.tokens().empty() ? active_[i]->lane.accept(output_.row(output_.firstRow(i)))
                                                        : active_[i]->lane.accept(output_.tokens()[output_.firstRow(i)]));
    return {};
  }

  void retire() {
    for (const std::unique_ptr<Member> &member : members_)
      if (member->lane.done())
        results_[member->prompt] = member->lane.take();
    std::erase_if(members_, [](const auto &member) { return member->lane.done(); });
  }

  const Engine &engine_;
  const LaneContext &context_;
  Prompts prompts_;
  std::vector<Generation> results_;
  size_t next_ = 0;
  std::vector<std::unique_ptr<Member>> members_;
  std::vector<SequenceInput> inputs_;
  std::vector<Member *> active_;
  StepOutput output_;
};

/// Prompts of one group, padded at the left.
struct PaddedPrompts {
  std::vector<int32_t> ids;
  std::vector<uint8_t> mask;
  PaddedPrompts(Prompts prompts, std::span<const size_t> group, int32_t padding) {
    size_t longest = 0;
    for (size_t prompt : group)
      longest = std::max(longest, prompts[prompt].size());
    for (size_t prompt : group) {
      size_t missing = longest - prompts[prompt].size();
      ids.insert(ids.end(), missing, padding);
      mask.insert(mask.end(), missing, 0);
      ids.insert(ids.end(), prompts[prompt].begin(), prompts[prompt].end());
      mask.insert(mask.end(), prompts[prompt].size(), 1);
    }
  }
};

Status generateGroup(GraphDecoder decoder, const LaneContext &context, int32_t padding, Prompts prompts, std::span<const size_t> group,
                     std::vector<Generation> &results) {
  std::vector<Lane> lanes;
  std::vector<size_t> order; // lane of each row
  for (size_t prompt : group) {
    order.push_back(lanes.size());
    lanes.emplace_back(context, prompts[prompt], prompt);
  }
  PaddedPrompts padded(prompts, group, padding);
  Result<Tensor> logits = decoder.append(padded.ids, group.size(), padded.mask);
  while (true) {
    if (!logits)
      return logits.status();
    size_t count = size_t(logits->shape()[1]), width = size_t(logits->shape()[2]);
    std::vector<uint32_t> kept;
    std::vector<size_t> keptOrder;
    std::vector<int32_t> ids;
    for (size_t row = 0; row < order.size(); ++row) {
      Lane &lane = lanes[order[row]];
      if (!lane.done())
        LLMOPT_RETURN_IF_ERROR(lane.accept({logits->as<float>() + ((row + 1) * count - 1) * width, width}));
      if (lane.done())
        continue;
      kept.push_back(uint32_t(row));
      keptOrder.push_back(order[row]);
      ids.push_back(lane.tokens().back());
    }
    if (kept.empty())
      break;
    if (kept.size() != order.size())
      decoder.keepRows(kept);
    order = std::move(keptOrder);
    logits = decoder.append(ids, order.size());
  }
  for (size_t i = 0; i < lanes.size(); ++i)
    results[group[i]] = lanes[i].take();
  return {};
}

} // namespace

Result<std::vector<Generation>> text::generateRagged(const Engine &engine, const LaneContext &context, Prompts prompts) {
  return RaggedBatch(engine, context, prompts).run();
}

Result<std::vector<Generation>> text::generatePadded(const Engine &engine, const LaneContext &context, Prompts prompts) {
  LLMOPT_ASSIGN(GraphDecoder decoder, GraphDecoder::create(engine));
  std::vector<size_t> order;
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (prompts[i].empty())
      return badInput("E1505", "a prompt has no tokens", engine.path());
    order.push_back(i);
  }
  if (!decoder.takesPadding()) // then only prompts of one length share a batch
    std::ranges::sort(order, {}, [&](size_t i) { return std::pair(prompts[i].size(), i); });
  std::vector<Generation> results(prompts.size());
  for (std::span<const size_t> rest = order; !rest.empty();) {
    size_t count = 1, most = std::min(rest.size(), std::max<size_t>(1, context.options.batch));
    while (count < most && (decoder.takesPadding() || prompts[rest[count]].size() == prompts[rest[0]].size()))
      ++count;
    LLMOPT_RETURN_IF_ERROR(generateGroup(decoder, context, engine.model().padId.value_or(0), prompts, rest.first(count), results));
    rest = rest.subspan(count);
  }
  return results;
}
