//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/runtime/GraphDecoder.h"

#include "runtime/core/DecoderSignature.h"
#include "runtime/core/TensorAxis.h"

#include <algorithm>

using namespace llmopt;

Result<GraphDecoder> GraphDecoder::create(const Engine &engine) {
  GraphDecoder decoder(engine);
  LLMOPT_RETURN_IF_ERROR(decoder.bind());
  return decoder;
}

static std::optional<size_t> indexOf(const std::vector<TensorSpec> &specs, const std::string &name) {
  for (size_t i = 0; i < specs.size(); ++i)
    if (specs[i].name == name)
      return i;
  return std::nullopt;
}

static Status noDecoder(const std::string &why, const Engine &engine) {
  return unsupported("E1507", "the graph cannot be used as a decoder: " + why, engine.path());
}

Status GraphDecoder::bind() {
  if (!engine_.hasGraph())
    return noDecoder("the model is not a graph with inputs of its own", engine_);
  inputs_ = engine_.inputs();
  outputs_ = engine_.outputs();
  std::optional<DecoderIo> io = engine_.model().io ? engine_.model().io : findDecoderIo(inputs_, outputs_);
  if (!io)
    return noDecoder("no input looks like token ids, or no output like logits", engine_);
  std::optional<size_t> ids = indexOf(inputs_, io->inputIds), logits = indexOf(outputs_, io->logits);
  if (!ids || !logits || outputs_[*logits].shape.size() != 3)
    return noDecoder("it has no input '" + io->inputIds + "' or no output '" + io->logits + "' of three dimensions", engine_);
  ids_ = *ids;
  logits_ = *logits;
  mask_ = indexOf(inputs_, io->attentionMask);
  positions_ = indexOf(inputs_, io->positionIds);
  // Hidden states have as many columns, but they are no vocabulary.
  vocabulary_ = engine_.model().vocabSize;
  if (!vocabulary_ && !io->past.empty())
    vocabulary_ = constantDim(outputs_[logits_].shape[2]).value_or(0);
  for (const auto &[input, output] : io->past) {
    std::optional<size_t> in = indexOf(inputs_, input), out = indexOf(outputs_, output);
    if (!in || !out)
      return noDecoder("it has no input '" + input + "' or no output '" + output + "'", engine_);
    LLMOPT_RETURN_IF_ERROR(bindCache(*in, *out));
  }
  for (size_t i = 0; i < inputs_.size(); ++i) {
    bool cache = std::any_of(caches_.begin(), caches_.end(), [&](const Cache &c) { return c.input == i; });
    if (!types_ && isTokenTypes(inputs_[i]))
      types_ = i;
    else if (i != ids_ && mask_ != i && positions_ != i && !cache)
      return noDecoder("nothing is known to feed to input '" + inputs_[i].name + "' of type " + inputs_[i].typeName(), engine_);
  }
  return {};
}

Status GraphDecoder::bindCache(size_t input, size_t output) {
  const TensorSpec &spec = inputs_[input];
  std::vector<size_t> open; // dimensions that are not fixed: the batch, unless that is, and the past
  for (size_t axis = 0; axis < spec.shape.size(); ++axis)
    if (!constantDim(spec.shape[axis]))
      open.push_back(axis);
  if (open.empty() || open.size() > 2)
    return noDecoder("cache '" + spec.name + "' of type " + spec.typeName() + " does not have one dimension for the past", engine_);
  size_t batch = open.size() == 2 ? open[0] : spec.shape.size() == 5 ? 1 : 0;
  caches_.push_back({input, output, batch, open.back(), Tensor()});
  return {};
}

void GraphDecoder::resetCaches() {
  for (Cache &cache : caches_) {
    const TensorSpec &spec = inputs_[cache.input];
    std::vector<int64_t> shape;
    for (const std::string &dim : spec.shape)
      shape.push_back(constantDim(dim).value_or(0));
    shape[cache.batchAxis] = int64_t(rows_);
    shape[cache.pastAxis] = 0;
    cache.value = Tensor(spec.dtype, std::move(shape));
  }
}

Status GraphDecoder::checkIds(std::span<const int32_t> ids) const {
  int64_t vocabulary = vocabulary_ ? vocabulary_ : INT32_MAX;
  for (int32_t id : ids)
    if (id < 0 || id >= vocabulary)
      return badInput("E1505", "token id " + std::to_string(id) + " is outside the vocabulary (0 to " + std::to_string(vocabulary - 1) + ")");
  return {};
}

/// Without a mask, a token would attend to padding before it. What comes behind a row's last token does no harm to it.
Status GraphDecoder::checkPadding(std::span<const uint8_t> mask, size_t rows) const {
  for (size_t row = 0, count = mask.size() / rows; row < rows && !mask_; ++row) {
    bool padded = rows_ && std::ranges::find(real_[row], 0) != real_[row].end();
    for (uint8_t real : mask.subspan(row * count, count)) {
      if (padded && real)
        return unsupported("E1507", "the graph takes no mask, so nothing can keep its tokens from attending to padding before them; give rows of one length, or one by one", engine_.path());
      padded |= !real;
    }
  }
  return {};
}

Tensor GraphDecoder::makeIds(size_t first) const {
  Tensor tensor(inputs_[ids_].dtype, {int64_t(rows_), int64_t(length_ - first)});
  for (size_t row = 0, i = 0; row < rows_; ++row)
    for (size_t p = first; p < length_; ++p)
      setElement(tensor, i++, history_[row][p]);
  return tensor;
}

Tensor GraphDecoder::makeMask(size_t) const {
  Tensor tensor(inputs_[*mask_].dtype, {int64_t(rows_), int64_t(length_)});
  for (size_t row = 0, i = 0; row < rows_; ++row)
    for (size_t p = 0; p < length_; ++p)
      setElement(tensor, i++, real_[row][p]);
  return tensor;
}

/// Positions count real tokens only; what padding gets does not matter.
Tensor GraphDecoder::makePositions(size_t first) const {
  Tensor tensor(inputs_[*positions_].dtype, {int64_t(rows_), int64_t(length_ - first)});
  for (size_t row = 0, i = 0; row < rows_; ++row) {
    int64_t position = 0;
    for (size_t p = 0; p < length_; ++p) {
      if (p >= first)
        setElement(tensor, i++, position);
      position += real_[row][p];
    }
  }
  return tensor;
}

/// Segments of the last call's tokens; those of earlier calls are taken as 0, where they run again.
Tensor GraphDecoder::makeTypes(size_t first, std::span<const int32_t> types) const {
  Tensor tensor(inputs_[*types_].dtype, {int64_t(rows_), int64_t(length_ - first)});
  size_t columns = length_ - first, count = types.size() / rows_;
  for (size_t i = 0; i < types.size(); ++i)
    setElement(tensor, i / count * columns + columns - count + i % count, types[i]);
  return tensor;
}

Result<Tensor> GraphDecoder::append(std::span<const int32_t> ids, size_t rows, std::span<const uint8_t> mask, std::span<const int32_t> types) {
  if (rows == 0 || ids.empty() || ids.size() % rows != 0 || (rows_ && rows != rows_) || (!mask.empty() && mask.size() != ids.size()) ||
      (!types.empty() && types.size() != ids.size()))
    return usageError("E1505", std::to_string(ids.size()) + " token ids do not make " + std::to_string(rows) + " rows of one length");
  LLMOPT_RETURN_IF_ERROR(checkIds(ids));
  LLMOPT_RETURN_IF_ERROR(checkPadding(mask, rows));
  size_t count = ids.size() / rows, before = length_;
  if (int64_t limit = engine_.model().maxPositions; limit && int64_t(before + count) > limit)
    return limitExceeded("E1506", "the sequence would have " + std::to_string(before + count) + " tokens; the model's context is " + std::to_string(limit));
  if (!rows_) {
    rows_ = rows;
    history_.resize(rows);
    real_.resize(rows);
    resetCaches();
  }
  for (size_t row = 0; row < rows; ++row)
    for (size_t i = row * count; i < (row + 1) * count; ++i) {
      history_[row].push_back(ids[i]);
      real_[row].push_back(mask.empty() ? 1 : mask[i] != 0);
    }
  length_ += count;

  size_t first = caches_.empty() ? 0 : before; // without a cache everything runs again
  std::vector<Tensor> made;
  made.reserve(4);
  std::vector<const Tensor *> arguments(inputs_.size());
  arguments[ids_] = &made.emplace_back(makeIds(first));
  if (mask_)
    arguments[*mask_] = &made.emplace_back(makeMask(first));
  if (positions_)
    arguments[*positions_] = &made.emplace_back(makePositions(first));
  if (types_)
    arguments[*types_] = &made.emplace_back(makeTypes(first, types));
  for (Cache &cache : caches_)
    arguments[cache.input] = &cache.value;
  Result<std::vector<Tensor>> results = engine_.run(arguments);
  if (!results) {
    (void)truncate(before);
    return results.status();
  }
  for (Cache &cache : caches_)
    cache.value = std::move((*results)[cache.output]);
  Tensor logits = toF32((*results)[logits_]);
  return caches_.empty() && before ? slice(logits, 1, before, count) : std::move(logits);
}

void GraphDecoder::keepRows(std::span<const uint32_t> rows) {
  std::vector<std::vector<int32_t>> history;
  std::vector<std::vector<uint8_t>> real;
  for (uint32_t row : rows) {
    history.push_back(std::move(history_[row]));
    real.push_back(std::move(real_[row]));
  }
  for (Cache &cache : caches_)
    cache.value = takeRows(cache.value, cache.batchAxis, rows);
  history_ = std::move(history);
  real_ = std::move(real);
  rows_ = rows.size();
  dropSharedPadding();
}

/// Else the rows that are left would reach the end of the context by what a longer one, gone since, had needed.
void GraphDecoder::dropSharedPadding() {
  if (!takesPadding() || rows_ == 0)
    return;
  size_t padding = length_;
  for (const std::vector<uint8_t> &real : real_)
    padding = std::min(padding, size_t(std::find(real.begin(), real.end(), 1) - real.begin()));
  if (padding == 0)
    return;
  length_ -= padding;
  for (size_t row = 0; row < rows_; ++row) {
    history_[row].erase(history_[row].begin(), history_[row].begin() + long(padding));
    real_[row].erase(real_[row].begin(), real_[row].begin() + long(padding));
  }
  for (Cache &cache : caches_)
    cache.value = slice(cache.value, cache.pastAxis, padding, length_);
}

Status GraphDecoder::truncate(size_t length) {
  if (length >= length_)
    return {};
  length_ = length;
  for (size_t row = 0; row < rows_; ++row) {
    history_[row].resize(length);
    real_[row].resize(length);
  }
  for (Cache &cache : caches_)
    if (size_t(cache.value.shape()[cache.pastAxis]) > length)
      cache.value = slice(cache.value, cache.pastAxis, 0, length);
  return {};
}
