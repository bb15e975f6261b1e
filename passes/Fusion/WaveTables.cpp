//===- WaveTables.cpp - tables of cos and sin kept as weights --------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "passes/Fusion/WaveTables.h"

#include "llmopt/lib/Interpreter/Interpreter.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLExtras.h"

#include <cmath>
#include <cstring>

using namespace mlir;
using namespace llmopt;
using namespace llmopt::fusion;

namespace {

constexpr llvm::StringLiteral kWavesAttr = "llm.waves";
/// Wider ones are embeddings.
constexpr int64_t kWidest = 1024, kMostRows = 1 << 20;
/// What rounding cos and sin of the same f32 angle may differ by, whoever computed them.
constexpr double kRounding = 1e-6;

/// Columns [begin, end) that begin like cos (with a number) or like sin (with zeros).
struct Run {
  Value table;
  int64_t begin = 0, end = 0;
  double first = 0;
  bool isSine() const { return first == 0; }
};

class Tables {
public:
  Tables(ModuleOp module, const WeightStore &weights) : weights_(weights), interpreter_(module, weights) {}

  /// Empty where the first row is none of waves.
  SmallVector<Run> runsOf(Value table) {
    auto type = cast<RankedTensorType>(table.getType());
    SmallVector<Run> runs;
    if (type.getRank() != 2 || !type.hasStaticShape() || !type.getElementType().isF32() || type.getDimSize(0) < 2 || type.getDimSize(0) > kMostRows ||
        type.getDimSize(1) > kWidest || !llm::isWeightExpression(table) || !mayBeWaves(table) || !read(table))
      return runs;
    for (int64_t column = 0; column < type.getDimSize(1); ++column) {
      double first = at(table, 0, column);
      if (runs.empty() || runs.back().first != first)
        runs.push_back({table, column, column, first});
      runs.back().end = column + 1;
    }
    if (runs.size() > 2)
      runs.clear();
    return runs;
  }

  /// The frequencies with which the two are cos and sin of the same angles.
  std::optional<SmallVector<float>> frequencies(const Run &cosine, const Run &sine) {
    int64_t width = cosine.end - cosine.begin, rows = rowsOf(cosine.table);
    if (sine.end - sine.begin != width || rowsOf(sine.table) != rows)
      return std::nullopt;
    SmallVector<float> found;
    for (int64_t i = 0; i < width; ++i) {
      double scale = cosine.first;
      auto error = [&](int64_t row, float frequency) {
        double angle = double(float(row) * frequency);
        return std::max(std::fabs(at(cosine.table, row, cosine.begin + i) / scale - std::cos(angle)),
                        std::fabs(at(sine.table, row, sine.begin + i) / scale - std::sin(angle)));
      };
      float first = float(std::atan2(at(sine.table, 1, sine.begin + i) / scale, at(cosine.table, 1, cosine.begin + i) / scale)), best = first;
      // The last row tells neighbours apart.
      for (float frequency : neighbours(first))
        if (error(rows - 1, frequency) + error(rows / 2, frequency) < error(rows - 1, best) + error(rows / 2, best))
          best = frequency;
      for (int64_t row = 0; row < rows; ++row)
        if (!(error(row, best) <= kRounding))
          return std::nullopt;
      found.push_back(best);
    }
    return found;
  }

private:
  /// The first row as it is stored, before a large table is read.
  bool mayBeWaves(Value table) {
    auto weight = table.getDefiningOp<llm::WeightOp>();
    const StoredWeight *stored = weight ? weights_.find(weight.getName().str()) : nullptr;
    if (!stored || stored->dtype != DType::F32 || stored->shape.size() != 2 || stored->shape[1] < 1)
      return true;
    float number = 0;
    for (int64_t i = 0; i < stored->shape[1]; ++i) {
      float entry;
      std::memcpy(&entry, stored->bytes.data() + size_t(i) * sizeof(float), sizeof(float));
      if (entry != 0 && number != 0 && entry != number)
        return false;
      number = entry != 0 ? entry : number;
    }
    return true;
  }

  bool read(Value table) {
    if (values_.contains(table))
      return true;
    Result<Tensor> value = interpreter_.evaluate(table);
    if (!value || value->dtype() != DType::F32)
      return false;
    values_.insert({table, std::move(*value)});
    return true;
  }
  double at(Value table, int64_t row, int64_t column) {
    const Tensor &tensor = values_.find(table)->second;
    return double(tensor.as<float>()[row * tensor.shape()[1] + column]);
  }
  int64_t rowsOf(Value table) { return values_.find(table)->second.shape()[0]; }

  static SmallVector<float> neighbours(float number) {
    SmallVector<float> all;
    float up = number, down = number;
    for (int i = 0; i < 8; ++i) {
      all.push_back(up = std::nextafter(up, INFINITY));
      all.push_back(down = std::nextafter(down, -INFINITY));
    }
    return all;
  }

  const WeightStore &weights_;
  Interpreter interpreter_;
  llvm::MapVector<Value, Tensor> values_;
};

Attribute describe(MLIRContext *context, const Run &run, double scale, ArrayRef<float> frequencies) {
  Builder builder(context);
  size_t half = frequencies.size() / 2;
  bool twice = half > 0 && frequencies.size() % 2 == 0 && frequencies.take_front(half) == frequencies.drop_front(half);
  ArrayRef<float> once = twice ? frequencies.take_front(half) : frequencies;
  return builder.getDictionaryAttr({builder.getNamedAttr("begin", builder.getI64IntegerAttr(run.begin)), builder.getNamedAttr("end", builder.getI64IntegerAttr(run.end)),
                                    builder.getNamedAttr("sine", builder.getBoolAttr(run.isSine())), builder.getNamedAttr("twice", builder.getBoolAttr(twice)),
                                    builder.getNamedAttr("scale", builder.getF64FloatAttr(scale)),
                                    builder.getNamedAttr("frequencies", DenseElementsAttr::get(RankedTensorType::get({int64_t(once.size())}, builder.getF32Type()), once))});
}

} // namespace

void fusion::markWaveTables(ModuleOp module, const WeightStore &weights) {
  llvm::MapVector<Value, SmallVector<llm::GatherOp>> readers;
  module.walk([&](llm::GatherOp gather) {
    if (gather.getAxis() == 0)
      readers[gather.getInput()].push_back(gather);
  });
  Tables tables(module, weights);
  SmallVector<Run> cosines, sines;
  for (auto &[table, gathers] : readers)
    for (const Run &run : tables.runsOf(table))
      (run.isSine() ? sines : cosines).push_back(run);
  llvm::DenseMap<Value, SmallVector<Attribute>> waves;
  for (const Run &cosine : cosines)
    for (Run *sine = sines.begin(); sine != sines.end(); ++sine)
      if (auto frequencies = tables.frequencies(cosine, *sine)) {
        waves[cosine.table].push_back(describe(module.getContext(), cosine, cosine.first, *frequencies));
        waves[sine->table].push_back(describe(module.getContext(), *sine, cosine.first, *frequencies));
        sines.erase(sine);
        break;
      }
  for (auto &[table, attributes] : waves)
    for (llm::GatherOp gather : readers[table])
      gather->setAttr(kWavesAttr, ArrayAttr::get(module.getContext(), attributes));
}

void fusion::unmarkWaveTables(ModuleOp module) {
  module.walk([](llm::GatherOp gather) { gather->removeAttr(kWavesAttr); });
}

std::optional<StoredWaves> fusion::storedWaves(llm::GatherOp gather, int64_t begin, int64_t end) {
  auto waves = gather->getAttrOfType<ArrayAttr>(kWavesAttr);
  if (!waves)
    return std::nullopt;
  for (auto columns : waves.getAsRange<DictionaryAttr>())
    if (columns.getAs<IntegerAttr>("begin").getInt() == begin && columns.getAs<IntegerAttr>("end").getInt() == end)
      return StoredWaves{columns.getAs<BoolAttr>("sine").getValue(), columns.getAs<BoolAttr>("twice").getValue(),
                         columns.getAs<FloatAttr>("scale").getValueAsDouble(), columns.getAs<DenseElementsAttr>("frequencies")};
  return std::nullopt;
}
