//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Eval.h"

#include "llmopt/lib/Support/Npy.h"
#include "llmopt/runtime/GraphDecoder.h"

#include <algorithm>
#include <cstring>

using namespace llmopt;
using namespace llmopt::tools;

namespace {

/// A matrix of integers from an .npy file; one row where the file has one dimension.
struct IdMatrix {
  size_t rows = 0, columns = 0;
  bool flat = false;
  std::vector<int32_t> values;
  std::span<const int32_t> row(size_t i) const { return std::span(values).subspan(i * columns, columns); }

  static Result<IdMatrix> read(const std::string &path) {
    LLMOPT_ASSIGN(Tensor tensor, readNpy(path));
    if (isFloat(tensor.dtype()) || tensor.shape().empty() || tensor.shape().size() > 2)
      return badInput("E1603", "expected integers of shape [length] or [batch, length]; found " + tensor.typeName(), path);
    IdMatrix matrix;
    matrix.flat = tensor.shape().size() == 1;
    matrix.rows = matrix.flat ? 1 : size_t(tensor.shape()[0]);
    matrix.columns = size_t(tensor.shape().back());
    for (int64_t i = 0; i < tensor.elements(); ++i)
      matrix.values.push_back(int32_t(std::clamp(tensor.at(i), -2147483648.0, 2147483647.0)));
    return matrix;
  }
};

/// Rows of ids with padding taken out, and the place to put results.
class Batch {
public:
  static Result<Batch> read(const LogitsCommand &command) {
    Batch batch;
    LLMOPT_ASSIGN(batch.ids, IdMatrix::read(command.ids));
    LLMOPT_RETURN_IF_ERROR(batch.readBeside(command.mask, batch.mask));
    LLMOPT_RETURN_IF_ERROR(batch.readBeside(command.tokenTypes, batch.types));
    return batch;
  }

  bool isReal(size_t row, size_t column) const { return mask.values.empty() || mask.row(row)[column] != 0; }
  /// Values of a row where it is not padding.
  std::vector<int32_t> packed(const IdMatrix &matrix, size_t row) const {
    std::vector<int32_t> values;
    for (size_t column = 0; column < matrix.columns && !matrix.values.empty(); ++column)
      if (isReal(row, column))
        values.push_back(matrix.row(row)[column]);
    return values;
  }

  IdMatrix ids, mask, types;

private:
  Status readBeside(const std::string &path, IdMatrix &matrix) const {
    if (path.empty())
      return {};
    LLMOPT_ASSIGN(matrix, IdMatrix::read(path));
    if (matrix.rows != ids.rows || matrix.columns != ids.columns)
      return badInput("E1603", "the shape differs from that of --ids", path);
    return {};
  }
};

/// [rows, columns, width], filled row by row; made when the width is known.
class Result3 {
public:
  Result3(size_t rows, size_t columns, bool flat) : rows_(rows), columns_(columns), flat_(flat) {}
  void put(size_t row, size_t column, std::span<const float> values) {
    if (tensor_.elements() == 0) {
      std::vector<int64_t> shape = {int64_t(rows_), int64_t(columns_), int64_t(values.size())};
      if (flat_)
        shape.erase(shape.begin());
      tensor_ = Tensor(DType::F32, shape);
      width_ = values.size();
    }
    std::memcpy(tensor_.as<float>() + (row * columns_ + column) * width_, values.data(), width_ * sizeof(float));
  }
  const Tensor &tensor() const { return tensor_; }

private:
  size_t rows_, columns_, width_ = 0;
  bool flat_;
  Tensor tensor_;
};

} // namespace

/// Puts the rows of one input of a step to the columns of a batch row that are not padding.
static void scatter(const StepOutput &output, size_t input, const Batch &batch, size_t row, Result3 &result) {
  size_t from = output.firstRow(input);
  for (size_t column = 0; column < batch.ids.columns; ++column)
    if (batch.isReal(row, column))
      result.put(row, column, output.row(from++));
}

static Status runEncoder(const Engine &engine, const Batch &batch, size_t first, size_t count, Result3 &result) {
  std::vector<std::vector<int32_t>> tokens, types;
  std::vector<EncodeInput> inputs;
  for (size_t row = first; row < first + count; ++row) {
    tokens.push_back(batch.packed(batch.ids, row));
    types.push_back(batch.packed(batch.types, row));
  }
  for (size_t i = 0; i < count; ++i)
    inputs.push_back({nullptr, tokens[i], types[i]});
  StepOutput output;
  LLMOPT_RETURN_IF_ERROR(engine.encode(inputs, &output));
  for (size_t i = 0; i < count; ++i)
    scatter(output, i, batch, first + i, result);
  return {};
}

static Status runDecoder(const Engine &engine, const Batch &batch, const IdMatrix *targets, size_t first, size_t count, Result3 &result) {
  std::vector<std::vector<int32_t>> tokens, sources;
  std::vector<Sequence> sequences;
  std::vector<EncodeInput> encodes;
  std::vector<SequenceInput> inputs;
  for (size_t row = first; row < first + count; ++row) {
    sequences.push_back(engine.newSequence());
    sources.push_back(batch.packed(batch.ids, row));
    tokens.push_back(targets ? std::vector(targets->row(row).begin(), targets->row(row).end()) : sources.back());
  }
  for (size_t i = 0; i < count; ++i) {
    encodes.push_back({&sequences[i], sources[i]});
    inputs.push_back({&sequences[i], tokens[i], LogitRows::All});
  }
  if (targets)
    LLMOPT_RETURN_IF_ERROR(engine.encode(encodes));
  StepOutput output;
  LLMOPT_RETURN_IF_ERROR(engine.step(inputs, output));
  for (size_t i = 0; i < count; ++i)
    if (targets)
      for (size_t column = 0; column < targets->columns; ++column)
        result.put(first + i, column, output.row(output.firstRow(i) + column));
    else
      scatter(output, i, batch, first + i, result);
  return {};
}

static Status runGraph(const Engine &engine, const Batch &batch, size_t first, size_t count, Result3 &result) {
  LLMOPT_ASSIGN(GraphDecoder decoder, GraphDecoder::create(engine));
  size_t columns = batch.ids.columns;
  std::span<const int32_t> ids = std::span(batch.ids.values).subspan(first * columns, count * columns);
  std::vector<uint8_t> mask;
  for (size_t row = first; row < first + count; ++row)
    for (size_t column = 0; column < columns; ++column)
      mask.push_back(batch.isReal(row, column));
  std::span<const int32_t> types = batch.types.values;
  LLMOPT_ASSIGN(Tensor logits, decoder.append(ids, count, mask, types.empty() ? types : types.subspan(first * columns, count * columns)));
  size_t width = size_t(logits.shape()[2]);
  for (size_t row = 0; row < count; ++row)
    for (size_t column = 0; column < columns; ++column)
      if (batch.isReal(first + row, column))
        result.put(first + row, column, {logits.as<float>() + (row * columns + column) * width, width});
  return {};
}

Status tools::LogitsCommand::run() const {
  LLMOPT_ASSIGN(Engine engine, Engine::load(load.artifact, load.options()));
  LLMOPT_ASSIGN(Batch input, Batch::read(*this));
  IdMatrix targets;
  bool both = engine.hasStep() && engine.hasEncode();
  if (both != !decoderIds.empty())
    return usageError("E1601", both ? "an encoder-decoder needs --decoder-ids" : "--decoder-ids is for encoder-decoders", load.artifact);
  if (both) {
    LLMOPT_ASSIGN(targets, IdMatrix::read(decoderIds));
    if (targets.rows != input.ids.rows)
      return badInput("E1603", "--ids has " + std::to_string(input.ids.rows) + " rows and --decoder-ids " + std::to_string(targets.rows));
  }
  const IdMatrix &shape = both ? targets : input.ids;
  Result3 result(shape.rows, shape.columns, shape.flat);
  for (size_t first = 0; first < shape.rows; first += batch) {
    size_t count = std::min(batch, shape.rows - first);
    LLMOPT_RETURN_IF_ERROR(engine.hasStep()     ? runDecoder(engine, input, both ? &targets : nullptr, first, count, result)
                           : engine.hasEncode() ? runEncoder(engine, input, first, count, result)
                                                : runGraph(engine, input, first, count, result));
  }
  return writeNpy(output, result.tensor());
}
