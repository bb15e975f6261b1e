//===- Attention.cpp - rotary positions, attention, the key-value cache ---===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Frame.h"

#include <cmath>

using namespace llmopt;
using namespace llmopt::interpreter;
using namespace llmopt::llm;

static Result<Array> rope(RopeOp op, const Array &x, const Array &positions, const Array &frequencies) {
  int64_t pairs = frequencies.size();
  if (x.rank() != 3 || positions.shape != Shape{x.shape[0]} || 2 * pairs > x.shape[2])
    return shapeError(op, x.typeName() + ", " + positions.typeName() + " and " + frequencies.typeName() + " do not go together");
  int64_t heads = x.shape[1], width = x.shape[2];
  int64_t step = op.getInterleaved() ? 2 : 1, distance = op.getInterleaved() ? 1 : pairs;
  float scale = op.getScale().convertToFloat();
  Array result = x;
  for (int64_t token = 0; token < x.shape[0]; ++token)
    for (int64_t i = 0; i < pairs; ++i) {
      // In f32, as every implementation does: for far positions the rounding of the angle shows.
      float angle = float(positions.ints[size_t(token)]) * float(frequencies.floats[size_t(i)]);
      double cosine = double(float(std::cos(double(angle))) * scale), sine = double(float(std::sin(double(angle))) * scale);
      for (int64_t head = 0; head < heads; ++head) {
        double *a = result.floats.data() + (token * heads + head) * width + i * step, *b = a + distance;
        double first = *a, second = *b;
        *a = first * cosine - second * sine;
        *b = second * cosine + first * sine;
      }
    }
  return result;
}

/// Turns scores into weights and sums the values; `visible` says which entries take part. Nothing visible gives zeros.
static void weightedSum(std::vector<double> &scores, double extra, const double *values, int64_t stride, int64_t width, double *out) {
  double highest = extra;
  for (double score : scores)
    highest = std::max(highest, score);
  std::fill_n(out, width, 0.0);
  if (highest == -INFINITY)
    return;
  double sum = std::exp(extra - highest);
  for (double &score : scores)
    sum += score = std::exp(score - highest);
  for (size_t j = 0; j < scores.size(); ++j)
    if (scores[j] != 0)
      for (int64_t e = 0; e < width; ++e)
        out[e] += scores[j] / sum * values[int64_t(j) * stride + e];
}

static double dot(const double *a, const double *b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i)
    sum += a[i] * b[i];
  return sum;
}

static double softCapped(double score, double cap) { return cap > 0 ? cap * std::tanh(score / cap) : score; }

static Result<Array> attention(AttentionOp op, const Array &q, const Array &k, const Array &v, const Array *mask) {
  auto bad = [&] { return shapeError(op, q.typeName() + ", " + k.typeName() + " and " + v.typeName() + " do not go together"); };
  if (q.rank() != 4 || k.rank() != 4 || v.rank() != 4)
    return bad();
  int64_t batch = q.shape[0], heads = q.shape[1], rows = q.shape[2], width = q.shape[3];
  int64_t groups = k.shape[1], keys = k.shape[2], valueWidth = v.shape[3];
  if (k.shape != Shape{batch, groups, keys, width} || v.shape != Shape{batch, groups, keys, valueWidth} || groups == 0 ||
      heads % groups != 0)
    return bad();
  Shape scoreShape{batch, heads, rows, keys}, maskStrides(4, 0);
  if (mask) {
    if (broadcastShape(scoreShape, mask->shape) != scoreShape)
      return shapeError(op, "mask " + mask->typeName() + " does not broadcast to the scores");
    maskStrides = broadcastStrides(mask->shape, 4);
  }
  Result<Array> result = makeArray(q.dtype, {batch, heads, rows, valueWidth});
  if (!result)
    return result;
  double scale = op.getScale().convertToDouble(), cap = op.getSoftcap().convertToDouble();
  int64_t window = int64_t(op.getWindow());
  std::vector<double> scores(static_cast<size_t>(keys));
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t i = 0; i < rows; ++i) {
        int64_t group = b * groups + h / (heads / groups), row = (b * heads + h) * rows + i, own = i + keys - rows;
        for (int64_t j = 0; j < keys; ++j) {
          bool visible = (!op.getCausal() || j <= own) && (window <= 0 || j > own - window);
          double score = softCapped(scale * dot(&q.floats[0] + row * width, &k.floats[0] + (group * keys + j) * width, width), cap);
          int64_t at = b * maskStrides[0] + h * maskStrides[1] + i * maskStrides[2] + j * maskStrides[3];
          if (mask && mask->isFloat())
            score += mask->floats[size_t(at)];
          else if (mask)
            visible &= mask->ints[size_t(at)] != 0;
          scores[size_t(j)] = visible ? score : -INFINITY;
        }
        weightedSum(scores, -INFINITY, v.floats.data() + group * keys * valueWidth, valueWidth, valueWidth,
                    result->floats.data() + row * valueWidth);
      }
  return result;
}

//===----------------------------------------------------------------------===//
// Ragged steps
//===----------------------------------------------------------------------===//

static Status checkStep(mlir::Operation *op, Frame &frame, int64_t tokens) {
  int64_t sum = 0;
  for (const InterpreterSequence &row : frame.memory.step) {
    if (row.count < 0)
      return badInput("E0708", "a sequence of the step has a negative number of tokens", describe(op));
    sum += row.count;
  }
  return sum == tokens ? Status()
                       : badInput("E0708",
                                  "the sequences of the step have " + std::to_string(sum) + " tokens, the tensors " +
                                      std::to_string(tokens),
                                  describe(op));
}

static Status append(CacheAppendOp op, Frame &frame, const Array &keys, const Array &values) {
  if (keys.rank() != 3 || values.rank() != 3 || keys.shape[0] != values.shape[0] || keys.shape[1] != values.shape[1])
    return shapeError(op, keys.typeName() + " and " + values.typeName() + " do not go together");
  LLMOPT_RETURN_IF_ERROR(checkStep(op, frame, keys.shape[0]));
  uint32_t group = uint32_t(op.getGroup());
  int64_t keyWidth = keys.shape[1] * keys.shape[2], valueWidth = values.shape[1] * values.shape[2], token = 0;
  for (const InterpreterSequence &row : frame.memory.step) {
    CacheEntry &entry = frame.memory.entries[{group, op.getState(), row.id}];
    int64_t past = frame.memory.pastOf(group, row.id);
    if (entry.tokens > 0 && (entry.keyWidth != keyWidth || entry.valueWidth != valueWidth))
      return shapeError(op, "the state holds rows of another width");
    entry.keyWidth = keyWidth;
    entry.valueWidth = valueWidth;
    entry.tokens = past + row.count;
    entry.keys.resize(size_t(entry.tokens * keyWidth));
    entry.values.resize(size_t(entry.tokens * valueWidth));
    std::copy_n(keys.floats.data() + token * keyWidth, row.count * keyWidth, entry.keys.data() + past * keyWidth);
    std::copy_n(values.floats.data() + token * valueWidth, row.count * valueWidth, entry.values.data() + past * valueWidth);
    token += row.count;
  }
  return {};
}

namespace {

/// What is added to the score of entry j for a query at position p.
struct PositionBias {
  const Array *slopes, *table;
  double at(int64_t head, int64_t distance) const {
    double bias = slopes ? slopes->floats[size_t(head)] * double(distance) : 0;
    if (table) {
      int64_t half = (table->shape[1] - 1) / 2;
      bias += table->floats[size_t(head * table->shape[1] + std::clamp(distance, -half, half) + half)];
    }
    return bias;
  }
};

} // namespace

/// Attention of the queries of one sequence.
static void attendSequence(PagedAttentionOp op, const Array &q, const CacheEntry &entry, int64_t firstToken, int64_t count,
                           int64_t firstPosition, const PositionBias &bias, const Array *sinks, Array &result) {
  int64_t heads = q.shape[1], width = q.shape[2], groups = int64_t(op.getKvHeads()), valueWidth = entry.valueWidth / groups;
  double scale = op.getScale().convertToDouble(), cap = op.getSoftcap().convertToDouble();
  int64_t window = int64_t(op.getWindow());
  std::vector<double> scores(static_cast<size_t>(entry.tokens));
  for (int64_t t = 0; t < count; ++t)
    for (int64_t h = 0; h < heads; ++h) {
      int64_t position = firstPosition + t, group = h / (heads / groups), row = (firstToken + t) * heads + h;
      for (int64_t j = 0; j < entry.tokens; ++j) {
        bool visible = (!op.getCausal() || j <= position) && (window <= 0 || j > position - window);
        const double *key = entry.keys.data() + j * entry.keyWidth + group * width;
        scores[size_t(j)] = visible ? softCapped(scale * dot(q.floats.data() + row * width, key, width), cap) + bias.at(h, j - position)
                                    : -INFINITY;
      }
      weightedSum(scores, sinks ? sinks->floats[size_t(h)] : -INFINITY, entry.values.data() + group * valueWidth, entry.valueWidth,
                  valueWidth, result.floats.data() + row * valueWidth);
    }
}

static Result<Array> pagedAttention(PagedAttentionOp op, Frame &frame, const Array &q) {
  const Array *slopes = frame.optional(op.getSlopes()), *table = frame.optional(op.getBias()), *sinks = frame.optional(op.getSinks());
  int64_t groups = int64_t(op.getKvHeads());
  if (q.rank() != 3 || groups < 1 || q.shape[1] % groups != 0)
    return shapeError(op, q.typeName() + " does not fit " + std::to_string(groups) + " key-value heads");
  Shape perHead{q.shape[1]};
  if ((slopes && slopes->shape != perHead) || (sinks && sinks->shape != perHead) ||
      (table && (table->rank() != 2 || table->shape[0] != q.shape[1] || table->shape[1] % 2 == 0)))
    return shapeError(op, "slopes, bias or sinks do not fit " + q.typeName());
  LLMOPT_RETURN_IF_ERROR(checkStep(op, frame, q.shape[0]));
  uint32_t group = uint32_t(op.getGroup());
  // In `encode` the queries are the encoder's own tokens; in `step` they stand at the positions of the `self` group.
  uint32_t positions = frame.memory.growing.count(group) ? group : uint32_t(SequenceGroup::self);
  int64_t width = -1;
  for (const InterpreterSequence &row : frame.memory.step) {
    CacheEntry &entry = frame.memory.entries[{group, op.getState(), row.id}];
    if (entry.tokens == 0)
      continue;
    if (entry.keyWidth != groups * q.shape[2] || entry.valueWidth % groups != 0)
      return shapeError(op, "the state holds keys of width " + std::to_string(entry.keyWidth) + ", the queries are " + q.typeName());
    width = entry.valueWidth / groups;
  }
  auto declared = mlir::cast<mlir::RankedTensorType>(op.getType());
  if (width < 0) // nothing was ever appended: zeros
    width = declared.isDynamicDim(2) ? q.shape[2] : declared.getDimSize(2);
  Result<Array> result = makeArray(q.dtype, {q.shape[0], q.shape[1], width});
  if (!result)
    return result;
  int64_t token = 0;
  for (const InterpreterSequence &row : frame.memory.step) {
    const CacheEntry &entry = frame.memory.entries[{group, op.getState(), row.id}];
    if (entry.tokens > 0)
      attendSequence(op, q, entry, token, row.count, frame.memory.pastOf(positions, row.id), {slopes, table}, sinks, *result);
    token += row.count;
  }
  return result;
}

std::optional<Status> interpreter::runAttention(mlir::Operation *op, Frame &frame) {
  auto x = [&](unsigned i) -> const Array & { return frame.in(op->getOperand(i)); };
  using Out = std::optional<Status>;
  auto out = [&](Result<Array> array) -> Out { return frame.out(op->getResult(0), std::move(array)); };
  return llvm::TypeSwitch<mlir::Operation *, Out>(op)
      .Case([&](RopeOp rope) { return out(::rope(rope, x(0), x(1), x(2))); })
      .Case([&](AttentionOp attention) {
        return out(::attention(attention, x(0), x(1), x(2), frame.optional(attention.getMask())));
      })
      .Case([&](CacheAppendOp append) -> Out { return ::append(append, frame, x(0), x(1)); })
      .Case([&](PagedAttentionOp attention) { return out(pagedAttention(attention, frame, x(0))); })
      .Default([](mlir::Operation *) { return std::nullopt; });
}
