//===- Linear.cpp - projections by the written families -------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/Linear.h"

#include "codegen/CPU/Elementwise.h"
#include "codegen/CPU/ElementwiseHalf.h"
#include "codegen/CPU/LinearRegion.h"
#include "codegen/CPU/Loops.h"
#include "codegen/CUDA/PrinterExpressions.h"
#include "codegen/CUDA/Unpack.h"
#include "codegen/Common/QuantizedPacking.h"
#include "codegen/Common/WeightPacking.h"
#include "llmopt/dialects/LLM/ElementTypes.h"

#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cuda;
using cpu::LinearProblem;
using cpu::LinearSegment;

namespace {

/// An instance of a family: what the plan, the launch and the text need. Numbers as the families' own constants have them.
struct Instance {
  std::string suffix, family, constants; ///< of the template argument
  int64_t limit = 0;                     ///< used up to so many rows; 0: always
  uint32_t threads = 0, sharedBytes = 0;
  int64_t tileRows = 0, tileColumns = 0; ///< of a unit; 0 rows: all of them
  std::string math = "f32";              ///< for reports, as DeviceKernel has them
  uint32_t stages = 1;
  bool maps = false;                     ///< operands come through tensor maps
  bool stays = false;                    ///< blocks stay for many units
  int blocks = 1;                        ///< of a multiprocessor, which bounds registers
  bool grouped = false;                  ///< rows come sorted by expert
  int64_t splits = 1, sums = 0;          ///< blocks that share K; numbers that a thread then leaves in scratch memory
};

class LinearUnit {
public:
  LinearUnit(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target, const std::string &symbol, LinearProblem &problem,
             std::optional<QuantizedWeight> quantized)
      : kernel_(kernel), shapes_(shapes), target_(target), symbol_(symbol), problem_(problem), quantized_(std::move(quantized)),
        products_(int64_t(problem.segments[0].linears.size())), grouped_(dyn_cast<llm::GroupedLinearOp>(problem.segments[0].linears[0].operation())),
        weight_(quantized_ ? quantized_->format.product : *llm::dtypeOf(getElementTypeOrSelf(problem.segments[0].linears[0].getWeight().getType()))) {}

  Result<LoweredDeviceKernel> lower();

private:
  Result<std::string> epilogue(LoweredDeviceKernel &lowered);
  void writeSegment(cpu::KernelBuilder &b, cpu::FamilyContext &context, const LinearSegment &segment, Value row, Value column, ValueRange products);
  std::vector<Instance> instances() const;
  Instance gemv(int64_t rows, int64_t limit) const;
  Instance matrix() const;
  Instance fewRows(int64_t rows) const;
  Instance quantizedMatrix() const;
  void addSplit(std::vector<Instance> &list) const;
  Instance hopper(int64_t tileColumns, int64_t limit) const;
  void addHopper(std::vector<Instance> &list) const;
  Instance hopperRows(const std::string &family, int64_t tileRows, int64_t tileColumns, int64_t limit) const;
  void addHopperRows(std::vector<Instance> &list, const std::string &family, int64_t tileColumns, int64_t fill) const;
  void addHopperCodes(std::vector<Instance> &list) const;
  int64_t tiles(int64_t tileColumns) const;
  std::vector<Instance> groupedInstances() const;
  SymExpr experts() const { return shapes_.symbols().constant(cast<RankedTensorType>(grouped_.getWeight().getType()).getDimSize(0)); }
  std::string mapsOf(const Instance &instance, DeviceKernel &kernel, DeviceParameter &input, std::string &arguments) const;
  void addKernel(const Instance &instance, LoweredDeviceKernel &lowered);
  std::string layer(const Instance &instance) const;
  void addCosts(LoweredKernel &plan) const;
  static std::string elementName(DType type) {
    return type == DType::F32 ? "float" : type == DType::BF16 ? "bf16" : type == DType::F16 ? "f16" : type == DType::F8E4M3FN ? "e4m3" : "i8";
  }
  int64_t weightBytes() const { return int64_t(dtypeSize(weight_)); }
  // Of bytes: x is unsigned, sums are whole numbers. Of e4m3: both are.
  DType inputType() const { return problem_.integer ? DType::U8 : problem_.float8 ? DType::F8E4M3FN : DType::F32; }
  std::string inputName() const { return problem_.integer ? "u8" : elementName(inputType()); }
  int64_t inputBytes() const { return int64_t(dtypeSize(inputType())); }
  std::string sumName() const { return problem_.integer ? "i32" : "float"; }
  /// Rows of x can be copied in pieces of 16 bytes.
  bool hasAlignedRows() const { return problem_.depth * inputBytes() % 16 == 0; }
  std::string mathName() const { return weight_ == DType::F32 ? "3xtf32" : problem_.float8 ? "e4m3" : std::string(dtypeName(weight_)); }

  exec::KernelOp kernel_;
  ShapeAnalysis &shapes_;
  const Target &target_;
  const std::string &symbol_;
  LinearProblem &problem_;
  std::optional<QuantizedWeight> quantized_;
  int64_t products_;
  mutable llm::GroupedLinearOp grouped_; ///< with the weights of experts
  DType weight_; ///< as products take it
  Status status_;
  std::vector<DeviceParameter> fields_; ///< of the epilogue
  DeviceParameter rows_;                ///< the number of rows, where it is none of the constants
};

//===----------------------------------------------------------------------===//
// Epilogue
//===----------------------------------------------------------------------===//

void LinearUnit::writeSegment(cpu::KernelBuilder &b, cpu::FamilyContext &context, const LinearSegment &segment, Value row, Value column,
                              ValueRange products) {
  cpu::ElementEmitter emitter(b, kernel_, context, /*lanes=*/1);
  cpu::LoopScopes &scopes = emitter.scopes;
  for (size_t i = 0; i < segment.linears.size(); ++i) {
    Projection linear = segment.linears[i];
    Value product = products[i], bias = linear.getBias();
    emitter.override(linear.getResult(), [&emitter, &b, bias, product](cpu::ElementEmitter::At at) {
      return bias ? b.fadd(product, emitter.element(bias, at.back())) : product;
    });
  }
  SmallVector<cpu::Index, 4> at = emitter.regroup(problem_.rows, scopes.wrap(row, 0), problem_.leading);
  at.push_back(scopes.wrap(column, 0));
  // All values before any store: a result may lie on an operand that is read at the same place.
  SmallVector<Value> values;
  for (const cpu::LinearOutput &output : segment.outputs)
    values.push_back(emitter.element(output.value, at));
  for (auto [output, value] : llvm::zip_equal(segment.outputs, values)) {
    Value offset = scopes.scalar(scopes.linearize(emitter.dims(output.value), at));
    cpu::storeElements(b, emitter.elementType(output.value), value, b.buffer(output.binding), offset);
  }
  if (!emitter.status())
    status_ = emitter.status();
  if (scopes.sawUnknown)
    status_ = unsupported("E0911", "a size that the kernel needs is not known before it runs", symbol_);
}

Result<std::string> LinearUnit::epilogue(LoweredDeviceKernel &lowered) {
  OwningOpRef<ModuleOp> module(ModuleOp::create(UnknownLoc::get(kernel_.getContext())));
  Target emitterTarget = target_;
  cpu::FamilyContext context{*module, shapes_, emitterTarget, symbol_};
  cpu::KernelBuilder b(*module, symbol_ + "_epilogue", shapes_.symbols());
  b.dim(problem_.rows);
  auto named = [&](Type type, const std::string &name) { return namedValue(b.ops(), b.loc(), type, name); };
  Value segment = named(b.i64(), "segment"), row = named(b.i64(), "row"), column = named(b.i64(), "column");
  SmallVector<Value> products;
  Type sum = problem_.integer ? b.i32() : b.f32();
  for (int64_t p = 0; p < products_; ++p)
    products.push_back(named(sum, "product" + std::to_string(p)));
  for (auto [i, part] : llvm::enumerate(problem_.segments)) {
    if (problem_.segments.size() == 1)
      writeSegment(b, context, part, row, column, products);
    else
      b.ifThen(b.equal(segment, b.index(int64_t(i))), [&, &part = part] { writeSegment(b, context, part, row, column, products); });
  }
  LLMOPT_RETURN_IF_ERROR(status_);
  cpu::expandHalfConversions(*module, target_);
  LLMOPT_ASSIGN(PrintedBody body, printBody(*module->getOps<func::FuncOp>().begin(), 2));
  lowered.plan.dims.assign(b.dims().begin(), b.dims().end());
  rows_ = {DeviceParameter::Kind::Dim, problem_.rows.constant() ? 0u : 1u};

  fields_ = body.parameters;
  for (const LinearSegment &part : problem_.segments)
    for (Projection linear : part.linears) {
      DeviceParameter weight{DeviceParameter::Kind::Buffer, cpu::bindingOf(linear.getWeight())};
      if (!llvm::is_contained(fields_, weight))
        fields_.push_back(weight);
    }
  std::string columns, weights, arguments, names;
  for (auto [i, part] : llvm::enumerate(problem_.segments)) {
    std::string test = i + 1 < problem_.segments.size() ? "segment == " + std::to_string(i) + " ? " : "";
    columns += test + std::to_string(part.columns) + (test.empty() ? "" : " : ");
    std::string own;
    for (auto [p, linear] : llvm::enumerate(part.linears))
      own += (p + 1 < part.linears.size() ? "product == " + std::to_string(p) + " ? " : "") + ("b" + std::to_string(cpu::bindingOf(linear.getWeight()))) +
             (p + 1 < part.linears.size() ? " : " : "");
    weights += test + "(" + own + ")" + (test.empty() ? "" : " : ");
  }
  for (int64_t p = 0; p < products_; ++p) {
    arguments += ", " + typeName(sum) + " product" + std::to_string(p);
    names += ", products[" + std::to_string(p) + "][n]";
  }
  return printGlobals(*module) + "struct Epilogue {\n  " + declareParameters(fields_, ";\n  ") + ";\n  static constexpr int kProducts = " + std::to_string(products_) +
         ", kSegments = " + std::to_string(problem_.segments.size()) + ";\n  DEVICE_MEMBER static constexpr i64 columns(int segment) { return " + columns +
         "; }\n  DEVICE_MEMBER const void *weight(int segment, int product) const { return " + weights +
         "; }\n  template <int N>\n  DEVICE_MEMBER void store(int segment, i64 row, i64 column, const " + sumName() + " (&products)[kProducts][N]) const {\n    UNROLL\n"
         "    for (int n = 0; n < N; ++n)\n      storeOne(u64(segment), u64(row), u64(column + n)" + names +
         ");\n  }\n  DEVICE_MEMBER void storeOne(u64 segment, u64 row, u64 column" + arguments + ") const {\n" + body.text + "  }\n};\n";
}

//===----------------------------------------------------------------------===//
// Instances
//===----------------------------------------------------------------------===//

Instance LinearUnit::gemv(int64_t rows, int64_t limit) const {
  constexpr int64_t kWarps = 4, kPanel = 16;
  Instance instance{"_r" + std::to_string(rows), "Gemv", "kRows = " + std::to_string(rows) + ", kWarps = " + std::to_string(kWarps), limit};
  instance.threads = 32 * kWarps;
  instance.sharedBytes = uint32_t(kWarps * rows * products_ * kPanel * int64_t(sizeof(float)));
  instance.tileColumns = kPanel;
  if (problem_.integer)
    instance.math = "dp4a";
  return instance;
}

/// For many rows: tensor cores where rows of x can be copied in pieces of 16 bytes.
Instance LinearUnit::matrix() const {
  if (!hasAlignedRows() && problem_.integer) {
    Instance instance = gemv(8, 0);
    instance.suffix = "_rows";
    return instance;
  }
  if (!hasAlignedRows()) {
    Instance instance{"_simt", "GemmSimt", "", 0, 256, uint32_t((1 + products_) * 16 * 68 * int64_t(sizeof(float))), 64, 64};
    return instance;
  }
  // With 128 rows, or 256 columns over both products, some epilogues make ptxas spill.
  int64_t tileRows = 64, tileColumns = products_ <= 2 ? 128 : 64, stages = 3;
  int64_t stage = tileRows * 128 * inputBytes() / weightBytes() + products_ * tileColumns * 128;
  while (stages > 2 && stages * stage > target_.sharedMemoryBytes)
    --stages;
  Instance instance{"_mma", "GemmMma", "kTileM = " + std::to_string(tileRows) + ", kTileN = " + std::to_string(tileColumns) + ", kStages = " +
                    std::to_string(stages) + ", kWarpsM = 2, kWarpsN = 4"};
  instance.threads = 256;
  instance.sharedBytes = uint32_t(stages * stage);
  instance.tileRows = tileRows;
  instance.tileColumns = tileColumns;
  instance.math = mathName();
  instance.stages = uint32_t(stages);
  return instance;
}

constexpr int64_t kMultiprocessors = 132; // of an H100 or H200

/// For weights of 4 and 8 bits, up to 16 rows.
Instance LinearUnit::fewRows(int64_t rows) const {
  constexpr int64_t kWarps = 8, kPanel = 16, kFilled = 2 * 2 * kMultiprocessors;
  // Above 8 rows x is what costs, read and split in two for each panel (docs/rationale/cuda.md): two share it where there are enough of them all the same.
  int64_t abreast = rows > 8 && products_ == 1 && tiles(kPanel) >= kFilled ? 2 : 1;
  Instance instance{"_r" + std::to_string(rows), "GemvQuantized",
                    "kRows = " + std::to_string(rows) + ", kWarps = " + std::to_string(kWarps) + ", kAbreast = " + std::to_string(abreast), rows};
  instance.threads = 32 * kWarps;
  instance.sharedBytes = uint32_t(kWarps * rows * products_ * abreast * kPanel * int64_t(sizeof(float)));
  instance.tileColumns = kPanel * abreast;
  instance.math = dtypeName(weight_);
  instance.blocks = rows == 8 || (products_ == 1 && abreast == 1) ? 2 : 1; // more would spill
  return instance;
}

/// For weights of 4 and 8 bits and many rows. Few rows at a time where rows of x are no multiple of 16 bytes.
Instance LinearUnit::quantizedMatrix() const {
  if (problem_.depth % 4 != 0) {
    Instance instance = fewRows(16);
    instance.suffix = "_rows";
    instance.limit = 0;
    return instance;
  }
  constexpr int64_t kTileColumns = 128, kStages = 3, kSlice = 256; // bytes of a row of x
  int64_t tileRows = products_ == 1 ? 64 : 32;
  Instance instance{"_mma", "GemmQuantized", "kTileM = " + std::to_string(tileRows) + ", kTileN = " + std::to_string(kTileColumns) + ", kStages = " +
                    std::to_string(kStages) + ", kWarpsM = 2, kWarpsN = 4"};
  instance.threads = 256;
  instance.sharedBytes = uint32_t(kStages * tileRows * kSlice);
  instance.tileRows = tileRows;
  instance.tileColumns = kTileColumns;
  instance.math = dtypeName(weight_);
  instance.stages = kStages;
  return instance;
}

/// One row of tiles is not enough for all multiprocessors: several blocks share each, each with its part of K.
void LinearUnit::addSplit(std::vector<Instance> &list) const {
  constexpr int64_t kSliceBytes = 128, kFewestSlices = 4;
  Instance split = list.back();
  if (split.suffix != "_mma")
    return;
  int64_t slices = (problem_.depth * weightBytes() + kSliceBytes - 1) / kSliceBytes;
  split.splits = std::min(kMultiprocessors / tiles(split.tileColumns), slices / kFewestSlices);
  if (split.splits < 2)
    return;
  split.suffix = "_split";
  split.family = "GemmSplit";
  split.constants += ", kSplits = " + std::to_string(split.splits);
  split.limit = split.tileRows;
  split.sums = products_ * split.tileRows * split.tileColumns / split.threads;
  list.insert(list.end() - 1, split);
}

/// Tiles of `tileColumns` columns over all segments.
int64_t LinearUnit::tiles(int64_t tileColumns) const {
  int64_t count = 0;
  for (const LinearSegment &segment : problem_.segments)
    count += (segment.columns + tileColumns - 1) / tileColumns;
  return count;
}

Instance LinearUnit::hopper(int64_t tileColumns, int64_t limit) const {
  constexpr int64_t kTileRows = 128, kThreads = 384, kMostStages = 6, kBarriers = 16;
  int64_t stage = kTileRows * 128 * inputBytes() / weightBytes() + products_ * tileColumns * 128 + kBarriers;
  int64_t stages = std::min(kMostStages, target_.sharedMemoryBytes / stage);
  Instance instance{"_tma" + std::to_string(tileColumns), "GemmWgmma", "kTileN = " + std::to_string(tileColumns) + ", kStages = " + std::to_string(stages), limit};
  instance.threads = kThreads;
  instance.sharedBytes = uint32_t(stages * stage);
  instance.tileRows = kTileRows;
  instance.tileColumns = tileColumns;
  instance.maps = instance.stays = true;
  instance.math = mathName();
  instance.stages = uint32_t(stages);
  return instance;
}

/// On Hopper wgmma takes over from 64 rows on. The widest tile moves the fewest bytes for a product, but has to have work for all multiprocessors:
/// up to where it has not, there is one of half the width.
void LinearUnit::addHopper(std::vector<Instance> &list) const {
  constexpr int64_t kFewRows = 63, kNarrowest = 32;
  const int64_t kWidest = problem_.float8 ? 128 : 256; // sums of e4m3 are added up beside those of a slice
  int64_t most = 0, width = kWidest;
  for (const LinearSegment &segment : problem_.segments)
    most = std::max(most, segment.columns);
  while (width > kNarrowest && (products_ * width > kWidest || width / 2 >= most))
    width /= 2;
  if (!list.back().family.ends_with("Mma") || weight_ == DType::F32 || target_.computeCapability != 90 || products_ * width > kWidest)
    return;
  if (list[list.size() - 2].splits > 1) // takes all of those rows
    list.pop_back();
  list.back().limit = kFewRows;
  Instance wide = hopper(width, 0);
  if (int64_t fill = kMultiprocessors / tiles(width) * wide.tileRows; fill > 0 && width > kNarrowest * 2)
    list.push_back(hopper(width / 2, fill));
  list.push_back(wide);
}

/// A family of wgmma_rows.cuh.
Instance LinearUnit::hopperRows(const std::string &family, int64_t tileRows, int64_t tileColumns, int64_t limit) const {
  constexpr int64_t kThreads = 384, kMostStages = 8, kSlice = 256, kBarriers = 16;
  int64_t stage = tileRows * kSlice + kBarriers, stages = std::min(kMostStages, target_.sharedMemoryBytes / stage);
  Instance instance{"_wg" + std::to_string(tileRows), family, "kTileM = " + std::to_string(tileRows) + ", kStages = " + std::to_string(stages), limit};
  instance.threads = kThreads;
  instance.sharedBytes = uint32_t(stages * stage);
  instance.tileRows = tileRows;
  instance.tileColumns = tileColumns;
  instance.stays = true;
  instance.math = dtypeName(weight_);
  instance.stages = uint32_t(stages);
  return instance;
}

/// Tiles of 128 rows behind `fill` rows, of 64 up to there. Registers hold the sums of 128 rows for one product.
void LinearUnit::addHopperRows(std::vector<Instance> &list, const std::string &family, int64_t tileColumns, int64_t fill) const {
  constexpr int64_t kTileRows = 128, kHalfTile = 64;
  if (products_ == 1 && fill > 0)
    list.push_back(hopperRows(family, kHalfTile, tileColumns, fill));
  list.push_back(hopperRows(family, products_ == 1 ? kTileRows : kHalfTile, tileColumns, 0));
}

/// Weights of 4 and 8 bits on Hopper from 64 rows on; where blocks share K for one row of tiles, behind it.
void LinearUnit::addHopperCodes(std::vector<Instance> &list) const {
  constexpr int64_t kFewRows = 63, kTileRows = 128, kTileColumns = 128;
  if (target_.computeCapability != 90 || list.back().family != "GemmQuantized" || products_ > 2)
    return;
  if (list[list.size() - 2].limit >= kFewRows) // takes all of those rows
    list.pop_back();
  else
    list.back().limit = kFewRows;
  addHopperRows(list, "GemmWgmmaQuantized", kTileColumns, kMultiprocessors / tiles(kTileColumns) * kTileRows);
}

/// With few rows most experts have one; with more, tensor cores.
std::vector<Instance> LinearUnit::groupedInstances() const {
  constexpr int64_t kFewRows = 32, kTileRows = 128, kTileColumns = 256;
  Instance rows = gemv(1, 0), tiles = matrix();
  rows.family = "GroupedGemv", rows.grouped = true;
  if (tiles.family != "GemmMma")
    return {rows};
  rows.limit = kFewRows;
  std::vector<Instance> list = {rows};
  if (target_.computeCapability == 90 && weight_ != DType::F32 && products_ <= 2) {
    addHopperRows(list, "GroupedWgmma", kTileColumns, kTileRows * *experts().constant());
  } else {
    tiles.family = "GroupedMma";
    list.push_back(tiles);
  }
  for (Instance &instance : list)
    instance.grouped = true;
  return list;
}

std::vector<Instance> LinearUnit::instances() const {
  std::vector<Instance> list;
  if (grouped_)
    list = groupedInstances();
  else if (quantized_)
    list = {fewRows(8), fewRows(16), quantizedMatrix()};
  else
    list = {gemv(1, 1), gemv(4, 4), gemv(8, 16), matrix()};
  if (!grouped_) {
    addSplit(list);
    addHopper(list);
    addHopperCodes(list);
  }
  std::optional<int64_t> rows = problem_.rows.constant();
  if (!rows)
    return list;
  for (Instance &instance : list)
    if (instance.limit == 0 || *rows <= instance.limit) {
      instance.limit = 0;
      return {instance};
    }
  return list;
}

std::string LinearUnit::layer(const Instance &instance) const {
  std::string codes, scale;
  if (quantized_) {
    const QuantizedWeight::Format &format = quantized_->format;
    scale = "  typedef " + elementName(format.scale) + " Scale;\n";
    codes = ", kBits = " + std::to_string(format.bits) + ", kBlock = " + std::to_string(format.block) + ", kZero = " + std::to_string(format.zeros ? -1 : format.zero);
  }
  if (grouped_) {
    bool shared = cast<RankedTensorType>(grouped_.getInput().getType()).getRank() == 2;
    codes = ", kExperts = " + std::to_string(*experts().constant()) + ", kShared = " + std::to_string(shared ? *problem_.leading[1].constant() : 1);
  }
  return "struct Layer" + instance.suffix + " {\n  typedef " + inputName() + " Input;\n  typedef " + elementName(weight_) + " Weight;\n" + scale + "  static constexpr bool kPanels = true;\n"
         "  static constexpr int kDepth = " + std::to_string(problem_.depth) + codes + (instance.constants.empty() ? "" : ", " + instance.constants) + ";\n};\n";
}

/// The epilogue with the maps of its weights, which become parameters of the kernel; `input` becomes that of x.
std::string LinearUnit::mapsOf(const Instance &instance, DeviceKernel &kernel, DeviceParameter &input, std::string &arguments) const {
  uint64_t rows = problem_.rows.constant() ? uint64_t(*problem_.rows.constant()) : 0, depth = uint64_t(problem_.depth);
  input.kind = DeviceParameter::Kind::TensorMap;
  input.bytes = DeviceMatrix::kMapBytes;
  input.matrix = {inputType(), rows ? 0u : rows_.index, rows, depth, uint32_t(instance.tileRows), ""};
  std::string fields, choice;
  for (auto [i, part] : llvm::enumerate(problem_.segments)) {
    std::string own;
    for (auto [p, linear] : llvm::enumerate(part.linears)) {
      DeviceParameter map{DeviceParameter::Kind::TensorMap, cpu::bindingOf(linear.getWeight()), DeviceMatrix::kMapBytes};
      map.matrix = {weight_, 0, uint64_t(part.columns), depth, uint32_t(instance.tileColumns), unpackName(panelLayout(weight_))};
      std::string name = parameterName(map);
      if (!llvm::is_contained(kernel.parameters, map)) {
        kernel.parameters.push_back(map);
        fields += (fields.empty() ? "*" : ", *") + name;
        arguments += ", &" + name;
      }
      own += (p + 1 < part.linears.size() ? "product == " + std::to_string(p) + " ? " : "") + name + (p + 1 < part.linears.size() ? " : " : "");
    }
    choice += i + 1 < problem_.segments.size() ? "segment == " + std::to_string(i) + " ? (" + own + ") : " : "(" + own + ")";
  }
  return "struct MapEpilogue" + instance.suffix + " : Epilogue {\n  const TensorMap " + fields +
         ";\n  DEVICE_MEMBER const TensorMap *map(int segment, int product) const { return " + choice + "; }\n};\n";
}

void LinearUnit::addKernel(const Instance &instance, LoweredDeviceKernel &lowered) {
  SymContext &symbols = shapes_.symbols();
  SymExpr units = symbols.constant(tiles(instance.tileColumns));
  if (instance.splits > 1)
    units = symbols.mul(units, symbols.constant(instance.splits));
  else if (instance.grouped && !instance.tileRows)
    units = symbols.mul(units, problem_.rows);
  else if (instance.grouped) // each expert's last tile may be small
    units = symbols.mul(units, symbols.add(symbols.floorDiv(problem_.rows, symbols.constant(instance.tileRows)), symbols.min(experts(), problem_.rows)));
  else if (instance.tileRows)
    units = symbols.mul(units, symbols.ceilDiv(problem_.rows, symbols.constant(instance.tileRows)));
  DeviceKernel kernel;
  kernel.name = symbol_ + instance.suffix;
  kernel.family = instance.family;
  kernel.math = instance.math;
  kernel.stages = instance.stages;
  kernel.threads = instance.threads;
  kernel.sharedBytes = instance.sharedBytes;
  kernel.unitsPerBlock = 1;
  kernel.parameters = fields_;
  DeviceParameter count{DeviceParameter::Kind::Dim, 0}, input{DeviceParameter::Kind::Buffer, problem_.inputBinding};
  std::string epilogue = "Epilogue", mapArguments;
  if (instance.stays)
    kernel.blocksPerSm = 1;
  if (instance.maps) {
    lowered.unit.source += mapsOf(instance, kernel, input, mapArguments);
    epilogue = "MapEpilogue" + instance.suffix;
  }
  for (const DeviceParameter &parameter : {count, input, rows_})
    if (!llvm::is_contained(kernel.parameters, parameter))
      kernel.parameters.push_back(parameter);
  std::string groups;
  if (instance.grouped)
    for (Value numbers : {grouped_.getOrder(), grouped_.getOffsets()}) {
      DeviceParameter parameter{DeviceParameter::Kind::Buffer, cpu::bindingOf(numbers)};
      groups += "reinterpret_cast<const i32 *>(" + parameterName(parameter) + "), ";
      if (!llvm::is_contained(kernel.parameters, parameter))
        kernel.parameters.push_back(parameter);
    }
  SymExpr scratch;
  std::string parts;
  if (instance.splits > 1) {
    DeviceParameter memory{DeviceParameter::Kind::Scratch};
    kernel.parameters.push_back(memory);
    lowered.unit.source += "DEVICE_DATA(u32, " + kernel.name + "_counters, " + std::to_string(tiles(instance.tileColumns)) + ");\n";
    parts = ", reinterpret_cast<" + sumName() + " *>(" + parameterName(memory) + "), " + kernel.name + "_counters";
    // A block is a unit, so its threads' shares together hold the unit's sums.
    scratch = symbols.constant(instance.sums * int64_t(sizeof(float)));
  }
  std::string fields;
  for (const DeviceParameter &field : fields_)
    fields += (fields.empty() ? "" : ", ") + parameterName(field);
  std::string rows = problem_.rows.constant() ? std::to_string(*problem_.rows.constant()) : parameterName(rows_);
  std::string types = "Layer" + instance.suffix + ", " + epilogue;
  std::string family = instance.family + "<" + types + (instance.splits > 1 && quantized_ ? ", GemmQuantized<" + types + ">>" : ">");
  std::string x = instance.maps ? "&" + parameterName(input) : "reinterpret_cast<const " + inputName() + " *>(" + parameterName(input) + ")";
  lowered.unit.source += layer(instance) + "extern \"C\" GLOBAL void LAUNCH_BOUNDS(" + std::to_string(instance.threads) + ", " + std::to_string(instance.blocks) + ") " + kernel.name + "(" +
                         declareParameters(kernel.parameters, ", ") + ") {\n  static_assert(" + family + "::kThreads == " + std::to_string(instance.threads) + " && " +
                         family + "::kSharedBytes == " + std::to_string(instance.sharedBytes) + ");\n  SHARED_MEMORY(smem);\n  " + family +
                         "().run(smem, " + x + ", " + groups + "i64(" + rows + "), i64(d0), " + (instance.maps ? epilogue + "{{" + fields + "}" + mapArguments : "Epilogue{" + fields) +
                         "}" + parts + ");\n}\nLLMOPT_EXPORT(" + kernel.name + ")\n";
  lowered.plan.variants.push_back({kernel.name, instance.limit, units, scratch});
  lowered.unit.kernels.push_back(std::move(kernel));
}

/// Multiplications and additions; weights, input and results once.
void LinearUnit::addCosts(LoweredKernel &plan) const {
  SymContext &symbols = shapes_.symbols();
  int64_t columns = 0, results = 0, weights = 0;
  for (const LinearSegment &segment : problem_.segments) {
    columns += segment.columns * int64_t(segment.linears.size());
    weights += int64_t(segment.linears.size()) * (quantized_ ? panelsOf(*quantized_).bytes(segment.columns, problem_.depth) : segment.columns * problem_.depth * weightBytes());
    results += segment.columns * int64_t(segment.outputs.size());
  }
  plan.flops = symbols.mul(problem_.rows, symbols.constant(2 * problem_.depth * columns));
  SymExpr matrices = grouped_ ? symbols.min(experts(), problem_.rows) : symbols.constant(1);
  plan.bytesMoved = symbols.add(symbols.mul(matrices, symbols.constant(weights)), symbols.mul(problem_.rows, symbols.constant(inputBytes() * problem_.depth + 4 * results)));
}

Result<LoweredDeviceKernel> LinearUnit::lower() {
  LoweredDeviceKernel lowered;
  LLMOPT_ASSIGN(std::string epilogueText, epilogue(lowered));
  std::vector<Instance> list = instances();
  bool hopper = target_.computeCapability == 90;
  std::string headers = "gemv.cuh gemm_mma.cuh gemm_split.cuh gemm_simt.cuh";
  headers += hopper ? " gemm_wgmma.cuh wgmma_rows.cuh" : "";
  headers += quantized_ ? " gemv_quantized.cuh gemm_quantized.cuh" : grouped_ ? " grouped.cuh" : "";
  headers += !hopper ? "" : quantized_ ? " gemm_wgmma_quantized.cuh" : grouped_ ? " grouped_wgmma.cuh" : "";
  lowered.unit.source = "#include \"primitives.cuh\"\n#include \"printed_values.cuh\"\n";
  for (StringRef name : llvm::split(headers, ' '))
    lowered.unit.source += "#include \"" + name.str() + "\"\n";
  lowered.unit.source += epilogueText;
  for (const Instance &instance : list)
    addKernel(instance, lowered);
  if (list.size() > 1)
    lowered.plan.selector = problem_.rows;
  for (const LinearSegment &segment : problem_.segments)
    for (Projection linear : segment.linears)
      lowered.plan.weightLayouts[cpu::bindingOf(linear.getWeight())] = {quantized_ ? panelsOf(*quantized_).layout() : std::string(panelLayout(weight_)), !linear.getTransposed()};
  addCosts(lowered.plan);
  return lowered;
}

/// The families take one type of weight, and as many products in each segment.
bool fits(const LinearProblem &problem) {
  auto elementOf = [](Projection linear) { return getElementTypeOrSelf(linear.getWeight().getType()); };
  ArrayRef<Projection> first = problem.segments.front().linears;
  if (first.front().isGrouped() && (problem.segments.size() != 1 || !problem.leading[1].constant()))
    return false;
  for (const LinearSegment &segment : problem.segments)
    for (Projection linear : segment.linears)
      if (segment.linears.size() != first.size() || elementOf(linear) != elementOf(first.front()) || linear.isBytes() != first.front().isBytes())
        return false;
  return true;
}

} // namespace

Result<std::optional<LoweredDeviceKernel>> cuda::lowerLinear(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target,
                                                             const std::string &symbol) {
  Result<LinearProblem> problem = cpu::analyzeLinear(kernel, shapes);
  if (!problem || problem->norm || !fits(*problem))
    return std::optional<LoweredDeviceKernel>();
  bool takesCodes = !problem->segments.front().linears.front().isGrouped();
  LLMOPT_ASSIGN(LoweredDeviceKernel lowered, LinearUnit(kernel, shapes, target, symbol, *problem, takesCodes ? quantizedAs(kernel) : std::nullopt).lower());
  return std::optional<LoweredDeviceKernel>(std::move(lowered));
}
