//===- WeightTable.cpp - the weight section of an artifact -------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/Common/WeightTable.h"

#include "codegen/Common/QuantizedPacking.h"
#include "codegen/Common/RoundedMatrix.h"
#include "codegen/Common/WeightPacking.h"
#include "llmopt/dialects/LLM/ElementTypes.h"
#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Interpreter/Interpreter.h"
#include "llmopt/lib/Support/CheckedMath.h"
#include "llmopt/lib/Support/Hash.h"

#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/STLExtras.h"

#include <array>

using namespace mlir;
using namespace llmopt;

namespace {

constexpr uint64_t kAlignment = 64;    // a cache line: vector loads of packed weights never split
constexpr uint64_t kFront = 64;        // kernels may read so much before a tensor
constexpr uint64_t kTailPadding = 4096; // kernels may prefetch, and read, a little past a tensor

/// Equal for expressions with equal results: operation names, attributes, types and leaves.
std::string expressionKey(Value value) {
  Operation *op = value.getDefiningOp();
  std::string key;
  llvm::raw_string_ostream stream(key);
  stream << op->getName() << "<" << op->getDiscardableAttrDictionary() << op->getPropertiesAsAttribute() << value.getType() << ">";
  for (Value operand : op->getOperands())
    stream << "(" << expressionKey(operand) << ")";
  return key;
}

/// The name of the first weight below an expression, for people.
std::string leafName(Value value) {
  Operation *op = value.getDefiningOp();
  if (auto weight = dyn_cast<llm::WeightOp>(op))
    return weight.getName().str();
  for (Value operand : op->getOperands())
    if (std::string name = leafName(operand); !name.empty())
      return name;
  return {};
}

DType dtypeOf(Value value) { return *llm::dtypeOf(cast<RankedTensorType>(value.getType()).getElementType()); }

/// Plain conversion between float formats, the common case of a weight expression, without the interpreter's detour.
void convertFloats(std::span<const std::byte> source, DType from, DType to, std::byte *target) {
  size_t count = source.size() / dtypeSize(from);
  std::array<float, 256> narrow{};
  if (const NarrowFloat *format = narrowFloat(from))
    for (size_t code = 0; code < narrow.size(); ++code)
      narrow[code] = format->decode(uint8_t(code));
  for (size_t i = 0; i < count; ++i) {
    const std::byte *in = source.data() + i * dtypeSize(from);
    uint16_t half;
    float value;
    if (from == DType::F32) {
      std::memcpy(&value, in, 4);
    } else if (dtypeSize(from) == 1) {
      value = narrow[size_t(*in)];
    } else {
      std::memcpy(&half, in, 2);
      value = from == DType::BF16 ? bf16ToFloat(half) : f16ToFloat(half);
    }
    if (to == DType::F32) {
      std::memcpy(target + i * 4, &value, 4);
    } else {
      half = to == DType::BF16 ? floatToBf16(value) : floatToF16(value);
      std::memcpy(target + i * 2, &half, 2);
    }
  }
}

/// A matrix, or several of one size one behind the other.
struct Matrices {
  Matrices(const std::vector<int64_t> &shape, bool outputsFirst) {
    size_t first = shape.size() - 2;
    count = first ? shape[0] : 1;
    outputs = shape[outputsFirst ? first : first + 1], inputs = shape[outputsFirst ? first + 1 : first];
  }
  int64_t count, outputs, inputs;
};

bool isPlainFloat(DType type) { return type == DType::F32 || type == DType::BF16 || type == DType::F16; }

} // namespace

/// The recipe of a tensor without bytes.
std::optional<RandomTensor> WeightTable::described(const std::string &name) const {
  const StoredWeight *stored = store_.find(name);
  if (!seed_ || !stored || !stored->bytes.empty())
    return std::nullopt;
  return RandomTensor::ofWeight(*seed_, name, stored->shape, stored->dtype);
}

/// The recipe of what the runtime can draw: a described tensor, seen through conversions of its type.
std::optional<RandomTensor> WeightTable::recipeOf(Value value, const plan::Weight &row) const {
  while (auto castOp = value.getDefiningOp<llm::CastOp>())
    value = castOp.getInput();
  auto weight = value.getDefiningOp<llm::WeightOp>();
  bool isPlain = row.layout == "row_major" || row.shape.size() == 2;
  return weight && isPlain && canDraw(row.layout, row.dtype) ? described(weight.getName().str()) : std::nullopt;
}

/// Stored ones in order; behind the section, as if it went on, what the runtime makes.
std::pair<std::vector<uint64_t>, uint64_t> WeightTable::place() const {
  std::vector<uint64_t> places(rows_.size());
  uint64_t end = kFront, stored = 0;
  for (bool isStored : {true, false}) {
    for (size_t i = 0; i < rows_.size(); ++i)
      if (entries_[i].isStored() == isStored) {
        places[i] = end;
        end = uint64_t(roundUp(int64_t(end + rows_[i].bytes), kAlignment));
      }
    if (isStored) {
      stored = end + kTailPadding;
      end = uint64_t(roundUp(int64_t(stored), kAlignment)) + kFront;
    }
  }
  return {std::move(places), stored};
}

std::vector<plan::Weight> WeightTable::placedRows() const {
  std::vector<plan::Weight> rows = rows_;
  std::vector<uint64_t> places = place().first;
  for (size_t i = 0; i < rows.size(); ++i)
    rows[i].offset = places[i];
  return rows;
}

std::vector<DrawnWeight> WeightTable::drawn() const {
  std::vector<DrawnWeight> drawn;
  std::vector<plan::Weight> rows = placedRows();
  for (size_t i = 0; i < rows.size(); ++i)
    if (entries_[i].random)
      drawn.push_back({rows[i].name, rows[i].dtype, rows[i].shape, rows[i].layout, entries_[i].layout.outputsFirst, rows[i].offset, rows[i].bytes, *entries_[i].random});
  return drawn;
}

std::vector<RepackedWeight> WeightTable::repacked() const {
  std::vector<RepackedWeight> repacked;
  std::vector<plan::Weight> rows = placedRows();
  for (size_t i = 0; i < rows.size(); ++i)
    if (entries_[i].words) {
      Matrices matrices(rows[i].shape, entries_[i].layout.outputsFirst);
      std::optional<QuantizedWeight> weight = findQuantizedWeight(entries_[i].value, entries_[i].layout.outputsFirst);
      repacked.push_back({rows[i].name, *QuantizedPanels::ofLayout(rows[i].layout), uint64_t(matrices.outputs), uint64_t(matrices.inputs), weight ? uint64_t(weight->format.zero) : 0,
                          rows[*entries_[i].words].offset, rows[i].offset});
    }
  return repacked;
}

/// Codes in both orders are stored in words: a CPU maps its file, a GPU copies it anyway.
void WeightTable::shareCodes(uint32_t row) {
  std::optional<QuantizedPanels> panels = QuantizedPanels::ofLayout(rows_[row].layout);
  if (!panels)
    return;
  bool isWords = std::exchange(panels->order, CodeOrder::Words) == CodeOrder::Words;
  std::string key = panels->layout() + (entries_[row].layout.outputsFirst ? ":" : "^T:") + expressionKey(entries_[row].value);
  auto [other, isFirst] = codes_.emplace(std::move(key), row);
  if (!isFirst)
    entries_[isWords ? other->second : row].words = isWords ? row : other->second;
}

Result<uint32_t> WeightTable::add(Value value, const WeightLayout &wanted) {
  WeightLayout layout = wanted;
  // Packing reads a matrix either way.
  if (auto transpose = value.getDefiningOp<llm::TransposeOp>(); transpose && layout.name != "row_major" && transpose.getPermutation() == ArrayRef<int64_t>{1, 0}) {
    value = transpose.getInput();
    layout.outputsFirst = !layout.outputsFirst;
  }
  std::string key = layout.name + (layout.outputsFirst ? ":" : "^T:") + expressionKey(value);
  if (auto it = byKey_.find(key); it != byKey_.end())
    return it->second;
  auto type = cast<RankedTensorType>(value.getType());
  if (!type.hasStaticShape())
    return internalError("E0915", "a weight expression has no static shape", leafName(value));
  plan::Weight row;
  row.name = leafName(value);
  if (row.name.empty())
    row.name = "constant." + hashHex(hashString(key));
  row.dtype = dtypeOf(value);
  row.shape.assign(type.getShape().begin(), type.getShape().end());
  row.layout = layout.name;
  if (layout.name == "row_major") {
    row.bytes = uint64_t(type.getNumElements()) * dtypeSize(row.dtype);
  } else {
    Matrices matrices(row.shape, layout.outputsFirst);
    row.bytes = uint64_t(matrices.count * packedMatrixBytes(layout.name, row.dtype, matrices.outputs, matrices.inputs));
  }
  std::optional<RandomTensor> random = recipeOf(value, row);
  uint32_t index = uint32_t(rows_.size());
  rows_.push_back(std::move(row));
  entries_.push_back({value, layout, random, std::nullopt});
  shareCodes(index);
  byKey_.emplace(std::move(key), index);
  return index;
}

/// All of a described tensor.
static Tensor drawAll(const RandomTensor &random, const std::vector<int64_t> &shape) {
  Tensor tensor(random.dtype, shape);
  random.fill({static_cast<std::byte *>(tensor.data()), tensor.bytes()});
  return tensor;
}

/// The weights that an expression reads, described ones drawn.
void WeightTable::addDrawn(Value value, WeightStore &drawn) const {
  Operation *op = value.getDefiningOp();
  if (auto weight = dyn_cast<llm::WeightOp>(op)) {
    std::string name = weight.getName().str();
    const StoredWeight *stored = store_.find(name);
    if (!stored)
      return; // the interpreter says so
    StoredWeight copy = *stored;
    if (std::optional<RandomTensor> random = described(name)) {
      auto tensor = std::make_shared<Tensor>(drawAll(*random, copy.shape));
      copy.bytes = {static_cast<const std::byte *>(tensor->data()), tensor->bytes()};
      copy.keeper = tensor;
    }
    drawn.add(name, std::move(copy));
  }
  for (Value operand : op->getOperands())
    addDrawn(operand, drawn);
}

/// Tensors one behind the other, as the experts of a layer are: no interpreter needed, which would widen them all.
static bool isStack(Value value) {
  if (auto concat = value.getDefiningOp<llm::ConcatOp>())
    return concat.getAxis() == 0 && !isa<IntegerType>(getElementTypeOrSelf(value.getType()));
  return value.getDefiningOp<llm::ExpandDimsOp>() != nullptr;
}

/// Row-major bytes of an expression: the store's own bytes where the expression is a weight, else `owned` holds them.
Status WeightTable::evaluate(Value value, std::span<const std::byte> &bytes, Tensor &owned) const {
  if (auto weight = value.getDefiningOp<llm::WeightOp>()) {
    const StoredWeight *stored = store_.find(weight.getName());
    if (!stored)
      return badInput("E0916", "the module names weight '" + weight.getName().str() + "', but the model has no such tensor");
    bytes = stored->bytes;
    if (std::optional<RandomTensor> random = described(weight.getName().str())) {
      owned = drawAll(*random, stored->shape);
      bytes = {static_cast<const std::byte *>(owned.data()), owned.bytes()};
    }
    return {};
  }
  if (auto castOp = value.getDefiningOp<llm::CastOp>()) {
    DType from = dtypeOf(castOp.getInput()), to = dtypeOf(value);
    if ((isPlainFloat(from) || from == DType::F8E4M3FN) && isPlainFloat(to)) {
      Tensor inner;
      std::span<const std::byte> source;
      LLMOPT_RETURN_IF_ERROR(evaluate(castOp.getInput(), source, inner));
      auto shape = cast<RankedTensorType>(value.getType()).getShape();
      owned = Tensor(to, {shape.begin(), shape.end()});
      convertFloats(source, from, to, static_cast<std::byte *>(owned.data()));
      bytes = {static_cast<const std::byte *>(owned.data()), owned.bytes()};
      return {};
    }
  }
  if (isStack(value))
    return evaluateStack(value, bytes, owned);
  WeightStore drawn;
  if (seed_)
    addDrawn(value, drawn);
  Interpreter interpreter(value.getDefiningOp()->getParentOfType<ModuleOp>(), seed_ ? drawn : store_);
  LLMOPT_ASSIGN(owned, interpreter.evaluate(value));
  bytes = {static_cast<const std::byte *>(owned.data()), owned.bytes()};
  return {};
}

Status WeightTable::evaluateStack(Value value, std::span<const std::byte> &bytes, Tensor &owned) const {
  if (auto expand = value.getDefiningOp<llm::ExpandDimsOp>())
    return evaluate(expand.getInput(), bytes, owned);
  auto shape = cast<RankedTensorType>(value.getType()).getShape();
  Tensor stack(dtypeOf(value), {shape.begin(), shape.end()});
  size_t end = 0;
  for (Value part : value.getDefiningOp()->getOperands()) {
    std::span<const std::byte> source;
    Tensor made;
    LLMOPT_RETURN_IF_ERROR(evaluate(part, source, made));
    if (source.size() > stack.bytes() - end)
      return badInput("E0917", "weight '" + leafName(part) + "' has more bytes than its type needs");
    std::memcpy(static_cast<std::byte *>(stack.data()) + end, source.data(), source.size());
    end += source.size();
  }
  if (end != stack.bytes())
    return badInput("E0917", "weight '" + leafName(value) + "' has fewer bytes than its type needs");
  owned = std::move(stack);
  bytes = {static_cast<const std::byte *>(owned.data()), owned.bytes()};
  return {};
}

/// Codes, scales and zero points in the layout that a kernel asked for.
Status WeightTable::packCodes(const Entry &entry, std::span<std::byte> packed) const {
  std::optional<QuantizedWeight> weight = findQuantizedWeight(entry.value, entry.layout.outputsFirst);
  std::optional<QuantizedPanels> panels = QuantizedPanels::ofLayout(entry.layout.name);
  if (!weight || !panels || panelsOf(*weight, panels->order) != *panels)
    return internalError("E0921", "no packing of " + leafName(entry.value) + " as '" + entry.layout.name + "'");
  if (std::optional<RoundedMatrix> rounded = findRoundedMatrix(*weight)) {
    std::span<const std::byte> bytes;
    Tensor owned;
    LLMOPT_RETURN_IF_ERROR(evaluate(rounded->matrix, bytes, owned));
    return rounded->pack(*panels, bytes, jobs_, packed);
  }
  auto evaluated = [&](Value value) -> Result<Tensor> {
    std::span<const std::byte> bytes;
    Tensor owned;
    LLMOPT_RETURN_IF_ERROR(evaluate(value, bytes, owned));
    if (owned.data())
      return owned;
    auto shape = cast<RankedTensorType>(value.getType()).getShape();
    Tensor copy(dtypeOf(value), {shape.begin(), shape.end()});
    if (bytes.size() != copy.bytes())
      return badInput("E0917", "weight '" + leafName(value) + "' has " + std::to_string(bytes.size()) + " bytes, its type needs " + std::to_string(copy.bytes()));
    std::memcpy(copy.data(), bytes.data(), bytes.size());
    return copy;
  };
  return packQuantized(*weight, *panels, evaluated, packed);
}

Status WeightTable::write(const ArtifactWriter::Sink &sink) const {
  static const std::vector<std::byte> zeros(kTailPadding);
  uint64_t position = 0;
  auto padTo = [&](uint64_t offset) -> Status {
    while (position < offset) {
      uint64_t count = std::min<uint64_t>(offset - position, zeros.size());
      LLMOPT_RETURN_IF_ERROR(sink(std::span(zeros).first(count)));
      position += count;
    }
    return {};
  };
  auto [places, end] = place();
  for (size_t i = 0; i < entries_.size(); ++i) {
    const plan::Weight &row = rows_[i];
    if (!entries_[i].isStored())
      continue;
    LLMOPT_RETURN_IF_ERROR(padTo(places[i]));
    std::span<const std::byte> bytes;
    Tensor owned;
    std::vector<std::byte> packed;
    if (QuantizedPanels::ofLayout(row.layout)) {
      packed.resize(row.bytes);
      LLMOPT_RETURN_IF_ERROR(packCodes(entries_[i], packed));
      bytes = packed;
    } else {
      LLMOPT_RETURN_IF_ERROR(evaluate(entries_[i].value, bytes, owned));
    }
    if (packed.empty() && row.layout != "row_major") {
      packed.resize(row.bytes);
      bool outputsFirst = entries_[i].layout.outputsFirst;
      Matrices matrices(row.shape, outputsFirst);
      size_t plainBytes = bytes.size() / size_t(matrices.count), packedBytes = row.bytes / size_t(matrices.count);
      for (size_t m = 0; m < size_t(matrices.count); ++m)
        LLMOPT_RETURN_IF_ERROR(packWeight(row.layout, row.dtype, matrices.outputs, matrices.inputs, outputsFirst,
                                          bytes.subspan(m * plainBytes, plainBytes), std::span(packed).subspan(m * packedBytes, packedBytes)));
      bytes = packed;
    }
    if (bytes.size() != row.bytes)
      return badInput("E0917", "weight '" + row.name + "' has " + std::to_string(bytes.size()) + " bytes, its type needs " +
                                   std::to_string(row.bytes));
    LLMOPT_RETURN_IF_ERROR(sink(bytes));
    position += row.bytes;
  }
  return padTo(end);
}
