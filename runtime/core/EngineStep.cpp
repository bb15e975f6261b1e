//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ragged steps: from sequences to the step table, and through the plan.
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Support/CheckedMath.h"
#include "runtime/core/EngineState.h"

#include <algorithm>

using namespace llmopt;

void StepArrays::clear() {
  for (std::vector<int32_t> *array : {&tokenIds, &positions, &logitRows, &tokenTypes, &blocks[0], &blocks[1]})
    array->clear();
  tokenSequence.clear();
  choices.clear();
  rows[0].clear();
  rows[1].clear();
}

std::vector<int32_t> &StepArrays::of(StepRole role) {
  switch (role) {
  case StepRole::TokenIds:
    return tokenIds;
  case StepRole::Positions:
    return positions;
  case StepRole::LogitRows:
    return logitRows;
  case StepRole::TokenTypes:
    break;
  }
  return tokenTypes;
}

void StepOutput::resize(size_t rows, size_t width, size_t bytes) {
  rows_ = rows;
  width_ = width;
  tokens_.clear();
  if (memory_.bytes() < bytes)
    memory_ = Tensor(DType::U8, {int64_t(std::max(bytes, 2 * memory_.bytes()))});
}

void StepOutput::assign(Tensor values, size_t rows) {
  rows_ = rows;
  width_ = rows ? size_t(values.elements()) / rows : 0;
  memory_ = std::move(values);
  firstRow_ = {0};
}

Status EngineState::checkTokens(std::span<const int32_t> tokens, int64_t past) const {
  if (tokens.empty())
    return usageError("E1505", "a sequence of the step has no tokens");
  int64_t vocabulary = info.vocabSize ? info.vocabSize : INT32_MAX;
  for (int32_t token : tokens)
    if (token < 0 || token >= vocabulary)
      return badInput("E1505", "token id " + std::to_string(token) + " is outside the vocabulary (0 to " +
                                   std::to_string(vocabulary - 1) + ")");
  int64_t total = past + int64_t(tokens.size());
  if (info.maxPositions && total > info.maxPositions)
    return limitExceeded("E1506", "the sequence would have " + std::to_string(total) + " tokens; the model's context is " +
                                      std::to_string(info.maxPositions));
  return {};
}

/// Makes the blocks for `count` more tokens the sequence's own.
Status EngineState::claimBlocks(Sequence &sequence, int group, size_t count) {
  if (!cache->hasGroup(group))
    return {};
  size_t length = sequence.length_[group], partial = length / kCacheBlockTokens;
  if (length % kCacheBlockTokens != 0)
    LLMOPT_RETURN_IF_ERROR(cache->makeOwn(group, sequence.blocks_[group][partial]));
  return cache->extend(group, sequence.blocks_[group], size_t(ceilDiv(int64_t(length + count), kCacheBlockTokens)));
}

/// Both groups' rows of a sequence for which `count` tokens are at the end of the arrays.
void EngineState::appendRow(const Sequence &sequence, size_t count, uint32_t index) {
  uint32_t first = uint32_t(arrays.tokenIds.size() - count), past = sequence.length_[0], encoder = sequence.length_[1];
  arrays.rows[0].push_back({first, uint32_t(count), past, past + uint32_t(count), uint32_t(arrays.blocks[0].size()), 0});
  arrays.rows[1].push_back({first, uint32_t(count), encoder, encoder, uint32_t(arrays.blocks[1].size()), 0});
  for (int group : {0, 1})
    arrays.blocks[group].insert(arrays.blocks[group].end(), sequence.blocks_[group].begin(), sequence.blocks_[group].end());
  arrays.tokenSequence.insert(arrays.tokenSequence.end(), count, index);
}

Status EngineState::prepareStep(std::span<const SequenceInput> inputs, StepOutput &output) {
  arrays.clear();
  output.firstRow_.clear();
  for (uint32_t i = 0; i < inputs.size(); ++i) {
    const SequenceInput &input = inputs[i];
    if (!input.sequence || input.sequence->engine_.get() != this)
      return usageError("E1507", "a sequence of the step belongs to another engine");
    for (uint32_t j = 0; j < i; ++j)
      if (inputs[j].sequence == input.sequence)
        return usageError("E1507", "a sequence occurs twice in one step");
    uint32_t past = input.sequence->length();
    LLMOPT_RETURN_IF_ERROR(checkTokens(input.tokens, past));
    LLMOPT_RETURN_IF_ERROR(claimBlocks(*input.sequence, 0, input.tokens.size()));
    output.firstRow_.push_back(uint32_t(arrays.logitRows.size()));
    uint32_t first = uint32_t(arrays.tokenIds.size()), count = uint32_t(input.tokens.size());
    arrays.tokenIds.insert(arrays.tokenIds.end(), input.tokens.begin(), input.tokens.end());
    for (uint32_t t = 0; t < count; ++t)
      arrays.positions.push_back(int32_t(past + t));
    for (uint32_t t = input.logits == LogitRows::All ? 0 : count - 1; t < count && input.logits != LogitRows::None; ++t)
      arrays.logitRows.push_back(int32_t(first + t));
    if (input.choice && input.logits == LogitRows::Last)
      arrays.choices.push_back(*input.choice);
    appendRow(*input.sequence, count, i);
  }
  return {};
}

Status EngineState::runRagged(RaggedEntry &ragged, cpu::ThreadTeam::Turn &turn, StepOutput *output) {
  EntryRunner &runner = *ragged.runner;
  // Few and small: on the stack, so that a step allocates nothing.
  int64_t symbols[16];
  BoundTensor inputs[8];
  if (ragged.symbols.size() > std::size(symbols) || ragged.inputs.size() > std::size(inputs))
    return internalError("E0208", "entry '" + runner.entry().name + "' has too many symbols or inputs");
  for (size_t i = 0; i < ragged.symbols.size(); ++i)
    symbols[i] = int64_t(arrays.of(ragged.symbols[i]).size());
  for (size_t i = 0; i < ragged.inputs.size(); ++i) {
    std::vector<int32_t> &array = arrays.of(ragged.inputs[i]);
    inputs[i] = {array.data(), array.size() * sizeof(int32_t)};
  }
  LLMOPT_ASSIGN(EntryRunner::Shape * shape, runner.shape({symbols, ragged.symbols.size()}));
  BoundTensor result;
  bool draws = output && !arrays.choices.empty() && arrays.choices.size() == arrays.logitRows.size() && runner.drawsTokens();
  if (!runner.entry().outputs.empty()) {
    const plan::Buffer &buffer = runner.entry().buffers[runner.entry().outputs[0]];
    std::span<const int64_t> values = shape->values;
    uint64_t rows = uint64_t(values[buffer.shape[0]]), width = uint64_t(values[buffer.shape[1]]);
    uint64_t bytes = std::max(uint64_t(values[buffer.bytes]), rows * width * sizeof(float));
    if (output) {
      output->resize(rows, width, draws ? 0 : bytes);
      if (draws) {
        output->tokens_.resize(rows);
        runner.drawNext({arrays.choices, output->tokens_});
      }
      result = {draws ? nullptr : output->memory_.data(), bytes};
    }
  }
  auto blocksOf = [&](int group) { return arrays.blocks[group].empty() ? nullptr : arrays.blocks[group].data(); };
  StepTable table{uint32_t(arrays.tokenIds.size()),
                  uint32_t(arrays.rows[0].size()),
                  {arrays.rows[0].data(), arrays.rows[1].data()},
                  {blocksOf(0), blocksOf(1)},
                  arrays.tokenSequence.data()};
  std::span<const BoundTensor> outputs(&result, result.data ? 1 : 0);
  LLMOPT_RETURN_IF_ERROR(runner.run(cpu::ThreadTeam::process(), turn, *shape, {inputs, ragged.inputs.size()}, outputs, table));
  return artifact->intact();
}

Status EngineState::step(std::span<const SequenceInput> inputs, StepOutput &output) {
  if (!stepEntry.runner)
    return unsupported("E1507", std::string("the model has no step: ") + (graph ? "it is a graph with inputs of its own" : "it is an encoder"),
                       path);
  output.resize(0, output.width(), 0);
  if (inputs.empty())
    return {};
  cpu::ThreadTeam::Turn turn(cpu::ThreadTeam::process(), threads);
  Status status = prepareStep(inputs, output);
  if (status.ok())
    status = runRagged(stepEntry, turn, &output);
  for (const SequenceInput &input : inputs)
    if (status.ok())
      input.sequence->length_[0] += uint32_t(input.tokens.size());
    else if (input.sequence && input.sequence->engine_.get() == this)
      input.sequence->trim(0); // gives back blocks it was to write to
  return status;
}

Status EngineState::prepareEncode(const EncodeInput &input, Sequence &sequence, uint32_t index) {
  if (sequence.engine_.get() != this || sequence.length_[0] != 0)
    return usageError("E1507", "only a new sequence of this engine can be encoded");
  LLMOPT_RETURN_IF_ERROR(checkTokens(input.tokens, 0));
  if (!input.tokenTypes.empty() && input.tokenTypes.size() != input.tokens.size())
    return usageError("E1505", "there are " + std::to_string(input.tokens.size()) + " tokens and " +
                                   std::to_string(input.tokenTypes.size()) + " token types");
  sequence.length_[1] = 0;
  sequence.trim(1);
  // An encoder without decoder may keep its states in either group.
  for (int group : {0, 1})
    if (group == 1 || !stepEntry.runner)
      LLMOPT_RETURN_IF_ERROR(claimBlocks(sequence, group, input.tokens.size()));
  uint32_t count = uint32_t(input.tokens.size());
  arrays.tokenIds.insert(arrays.tokenIds.end(), input.tokens.begin(), input.tokens.end());
  for (uint32_t t = 0; t < count; ++t) {
    arrays.positions.push_back(int32_t(t));
    arrays.tokenTypes.push_back(input.tokenTypes.empty() ? 0 : input.tokenTypes[t]);
  }
  appendRow(sequence, count, index);
  arrays.rows[1].back().length = count;
  return {};
}

Status EngineState::encode(std::span<const EncodeInput> inputs, StepOutput *hidden) {
  if (!encodeEntry.runner)
    return unsupported("E1507", "the model has no encoder", path);
  if (hidden) {
    hidden->resize(0, hidden->width(), 0);
    hidden->firstRow_.clear();
  }
  if (inputs.empty())
    return {};
  std::vector<Sequence> temporary; // for callers that do not want to keep any
  temporary.reserve(inputs.size());
  std::vector<Sequence *> sequences;
  for (const EncodeInput &input : inputs)
    sequences.push_back(input.sequence ? input.sequence : &temporary.emplace_back(Sequence(shared_from_this())));

  cpu::ThreadTeam::Turn turn(cpu::ThreadTeam::process(), threads);
  arrays.clear();
  Status status;
  for (uint32_t i = 0; i < inputs.size() && status.ok(); ++i) {
    if (hidden)
      hidden->firstRow_.push_back(uint32_t(arrays.tokenIds.size()));
    status = prepareEncode(inputs[i], *sequences[i], i);
  }
  if (status.ok())
    status = runRagged(encodeEntry, turn, hidden);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (status.ok() && stepEntry.runner)
      sequences[i]->length_[1] = uint32_t(inputs[i].tokens.size());
    else if (sequences[i]->engine_.get() == this)
      sequences[i]->trim(0), sequences[i]->trim(1);
  }
  return status;
}
