//===- Norm.cpp - normalisations by the written family --------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/Norm.h"

#include "codegen/CPU/ElementwiseHalf.h"
#include "codegen/CPU/Loops.h"
#include "codegen/CUDA/Reduce.h"
#include "codegen/CUDA/RowResults.h"
#include "llmopt/dialects/LLM/ElementTypes.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cuda;

namespace {

struct NormRegion {
  Value x, residual, sum, scale, bias, result; ///< residual, sum and bias may be null
  double epsilon = 0;
  bool center = false;
  SmallVector<llm::ReduceOp> extrema; ///< of rows of what is computed behind the norm
};

bool isF32(Value value) { return getElementTypeOrSelf(value.getType()).isF32(); }
bool isArgument(Value value) { return isa<BlockArgument>(value); }

/// Which only is a result: nothing of the region reads it.
bool isExtremumOfRows(llm::ReduceOp op) {
  int64_t rank = cast<RankedTensorType>(op.getInput().getType()).getRank();
  bool isExtremum = op.getKind() == llm::ReduceKind::max || op.getKind() == llm::ReduceKind::min;
  return isExtremum && isF32(op.getInput()) && op.getAxes() == ArrayRef<int64_t>(rank - 1) &&
         llvm::all_of(op->getUsers(), [](Operation *user) { return user->hasTrait<OpTrait::IsTerminator>() || cpu::isView(user); });
}

/// The operations of the region, if they are what norm.cuh computes and what can be printed behind it; results may be seen through views.
std::optional<NormRegion> match(exec::KernelOp kernel, ShapeAnalysis &shapes) {
  NormRegion region;
  for (Operation &op : kernel.getBody().front().without_terminator()) {
    bool isNorm = isa<llm::RMSNormOp, llm::LayerNormOp>(op);
    if (!isNorm && (cpu::isView(&op) || isa<llm::ConstantOp>(op) || (region.result ? op.hasTrait<llm::Elementwise>() : isa<llm::AddOp>(op))))
      continue;
    if (auto reduce = dyn_cast<llm::ReduceOp>(op); reduce && region.result && isExtremumOfRows(reduce)) {
      region.extrema.push_back(reduce);
      continue;
    }
    if (region.result)
      return std::nullopt;
    if (auto rms = dyn_cast<llm::RMSNormOp>(op); rms && rms.getOffset().isZero()) {
      region.scale = rms.getScale();
      region.epsilon = rms.getEpsilon().convertToDouble();
    } else if (auto layer = dyn_cast<llm::LayerNormOp>(op)) {
      region.scale = layer.getScale();
      region.bias = layer.getBias();
      region.epsilon = layer.getEpsilon().convertToDouble();
      region.center = true;
    } else {
      return std::nullopt;
    }
    region.result = op.getResult(0);
  }
  if (!region.result || !region.scale || !isArgument(region.scale) || (region.bias && (!isArgument(region.bias) || region.bias.getType() != region.scale.getType())))
    return std::nullopt;
  region.x = region.result.getDefiningOp()->getOperand(0);
  if (auto add = cpu::peelViews(region.x).getDefiningOp<llm::AddOp>()) {
    region.sum = add.getResult();
    region.x = add->getOperand(0);
    region.residual = add->getOperand(1);
    for (Value operand : {region.x, region.residual})
      if (!llvm::equal(shapes.shapeOf(operand).dims, shapes.shapeOf(region.sum).dims))
        return std::nullopt;
    region.residual = cpu::peelViews(region.residual);
  }
  region.x = cpu::peelViews(region.x);
  for (Value value : {region.x, region.residual, region.result})
    if (value && (!isF32(value) || (value != region.result && !isArgument(value))))
      return std::nullopt;
  return region;
}

class NormUnit {
public:
  NormUnit(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target, const std::string &symbol, const NormRegion &region)
      : kernel_(kernel), shapes_(shapes), target_(target), symbol_(symbol), region_(region) {}
  Result<std::optional<LoweredDeviceKernel>> lower();

private:
  std::string argument(Value value) { return value ? "b" + std::to_string(cast<BlockArgument>(value).getArgNumber()) : ""; }
  /// Binding of the result that yields `value`; empty if none does.
  std::string output(Value value);
  bool yieldsOnly();
  bool yieldsBehind();
  std::string extremaText();
  Result<std::string> printBehind(LoweredDeviceKernel &lowered, DeviceKernel &kernel, SymExpr rows);
  exec::KernelOp kernel_;
  ShapeAnalysis &shapes_;
  const Target &target_;
  const std::string &symbol_;
  const NormRegion &region_;
};

std::string NormUnit::output(Value value) {
  for (OpOperand &yielded : kernel_.getBody().front().getTerminator()->getOpOperands())
    if (value && cpu::peelViews(yielded.get()) == value)
      return "b" + std::to_string(kernel_.getInputs().size() + yielded.getOperandNumber());
  return {};
}

bool NormUnit::yieldsOnly() {
  Operation *yield = kernel_.getBody().front().getTerminator();
  size_t found = !output(region_.result).empty() + !output(region_.sum).empty();
  return !output(region_.result).empty() && yield->getNumOperands() == found;
}

/// Results of the norm's shape that are computed behind it, beside the sum. What the norm reads may lie where the sum has been stored, so nothing reads it again.
bool NormUnit::yieldsBehind() {
  Operation *norm = region_.result.getDefiningOp();
  for (Operation *op = norm->getNextNode(); !op->hasTrait<OpTrait::IsTerminator>(); op = op->getNextNode())
    for (Value operand : op->getOperands())
      if (Value value = cpu::peelViews(operand); value == region_.x || value == region_.residual || value == region_.sum)
        return false;
  return llvm::all_of(kernel_.getBody().front().getTerminator()->getOperands(), [&](Value yielded) {
    Value value = cpu::peelViews(yielded);
    Operation *op = value.getDefiningOp();
    if (auto reduce = dyn_cast_or_null<llm::ReduceOp>(op))
      return llvm::is_contained(region_.extrema, reduce) && llvm::equal(shapes_.shapeOf(reduce.getInput()).dims, shapes_.shapeOf(region_.result).dims);
    return value == region_.sum || (op && !op->isBeforeInBlock(norm) && llvm::equal(shapes_.shapeOf(value).dims, shapes_.shapeOf(region_.result).dims));
  });
}

/// How extrema of rows are joined and stored.
std::string NormUnit::extremaText() {
  std::string begin, join, store, count = std::to_string(region_.extrema.size()), text = "  static constexpr int kExtrema = " + count + ";\n";
  for (auto [i, reduce] : llvm::enumerate(region_.extrema)) {
    std::string at = "[" + std::to_string(i) + "]";
    JoinText joined = joinText(reduce, "values" + at, "others" + at);
    begin += "    values" + at + " = " + joined.begin + ";\n";
    join += "    values" + at + " = " + joined.join + ";\n";
    for (OpOperand &yielded : kernel_.getBody().front().getTerminator()->getOpOperands())
      if (cpu::peelViews(yielded.get()).getDefiningOp() == reduce)
        store += "    reinterpret_cast<float *>(b" + std::to_string(kernel_.getInputs().size() + yielded.getOperandNumber()) + ")[row] = values" + at + ";\n";
  }
  if (region_.extrema.empty())
    return text;
  return text + "  DEVICE_MEMBER void begin(float (&values)[kExtrema]) const {\n" + begin + "  }\n  DEVICE_MEMBER void join(float (&values)[kExtrema], const float (&others)[kExtrema]) const {\n" + join +
         "  }\n  DEVICE_MEMBER void storeExtrema(i64 row, const float (&values)[kExtrema]) const {\n" + store + "  }\n";
}

/// A struct `Behind` that stores the results, and its initializer; its fields become parameters of the kernel.
Result<std::string> NormUnit::printBehind(LoweredDeviceKernel &lowered, DeviceKernel &kernel, SymExpr rows) {
  OwningOpRef<ModuleOp> module(ModuleOp::create(UnknownLoc::get(kernel_.getContext())));
  Target emitterTarget = target_;
  cpu::FamilyContext context{*module, shapes_, emitterTarget, symbol_};
  cpu::KernelBuilder b(*module, symbol_ + "_behind", shapes_.symbols());
  auto named = [&](Type type, const char *name) { return namedValue(b.ops(), b.loc(), type, name); };
  Value row = named(b.i64(), "row"), column = named(b.i64(), "column"), value = named(b.f32(), "value");
  Value terms = named(mlir::LLVM::LLVMPointerType::get(kernel_.getContext()), "terms");
  cpu::ElementEmitter emitter(b, kernel_, context, /*lanes=*/1);
  cpu::ElementEmitter::Coordinates at = emitter.regroup(rows, emitter.scopes.wrap(row, 0), ArrayRef<SymExpr>(shapes_.shapeOf(region_.result).dims).drop_back());
  at.push_back(emitter.scopes.wrap(column, 0));
  SmallVector<Value> elsewhere; // stored by the family
  if (region_.sum)
    elsewhere.push_back(region_.sum);
  emitter.override(region_.result, [value](cpu::ElementEmitter::At) { return value; });
  for (auto [i, reduce] : llvm::enumerate(region_.extrema)) {
    llm::ReduceOp op = reduce;
    elsewhere.push_back(op.getResult());
    b.store(emitter.element(op.getInput(), at), terms, b.index(int64_t(i)));
  }
  storeRowResults(b, emitter, kernel_, region_.result, value, at, elsewhere);
  LLMOPT_RETURN_IF_ERROR(emitter.status());
  if (emitter.scopes.sawUnknown)
    return unsupported("E0911", "a size that the kernel needs is not known before it runs", symbol_);
  cpu::expandHalfConversions(*module, target_);
  LLMOPT_ASSIGN(PrintedBody body, printBody(*module->getOps<func::FuncOp>().begin(), 2));
  lowered.plan.dims.assign(b.dims().begin(), b.dims().end());
  for (OpOperand &yielded : kernel_.getBody().front().getTerminator()->getOpOperands()) { // the extrema's results are fields as well
    DeviceParameter field{DeviceParameter::Kind::Buffer, uint32_t(kernel_.getInputs().size() + yielded.getOperandNumber())};
    if (cpu::peelViews(yielded.get()).getDefiningOp<llm::ReduceOp>() && !llvm::is_contained(body.parameters, field))
      body.parameters.push_back(field);
  }
  std::string fields;
  for (const DeviceParameter &field : body.parameters) {
    fields += (fields.empty() ? "" : ", ") + parameterName(field);
    if (!llvm::is_contained(kernel.parameters, field))
      kernel.parameters.push_back(field);
  }
  lowered.unit.source = "#include \"printed_values.cuh\"\n" + printGlobals(*module) + "struct Behind {\n  " + declareParameters(body.parameters, ";\n  ") +
                        ";\n  DEVICE_MEMBER void store(i64 row, i64 column, float value, float *terms) const { apply(u64(row), u64(column), value, reinterpret_cast<u8 *>(terms)); }\n"
                        "  DEVICE_MEMBER void apply(u64 row, u64 column, float value, u8 *terms) const {\n" + body.text + "  }\n" + extremaText() + "};\n";
  return "Behind{" + fields + "}";
}

Result<std::optional<LoweredDeviceKernel>> NormUnit::lower() {
  constexpr int64_t kEach = 8, kMostThreads = 1024, kMostParts = 4; // numbers of a thread stay in registers
  SymContext &symbols = shapes_.symbols();
  ArrayRef<SymExpr> dims = shapes_.shapeOf(region_.result).dims;
  std::optional<int64_t> depth = dims.empty() ? std::nullopt : dims.back().constant();
  if ((!yieldsOnly() && !yieldsBehind()) || !depth || *depth < 1 || *depth > kEach * kMostThreads * kMostParts)
    return std::optional<LoweredDeviceKernel>();
  int64_t threads = std::min(kMostThreads, ((*depth + kEach - 1) / kEach + 31) / 32 * 32);
  SymExpr rows = symbols.constant(1);
  for (SymExpr dim : dims.drop_back())
    rows = symbols.mul(rows, dim);
  if (!rows.known())
    return std::optional<LoweredDeviceKernel>();

  DType scale = *llm::dtypeOf(getElementTypeOrSelf(region_.scale.getType()));
  if (scale != DType::F32 && scale != DType::BF16 && scale != DType::F16)
    return std::optional<LoweredDeviceKernel>();
  std::string weight = scale == DType::F32 ? "float" : scale == DType::BF16 ? "bf16" : "f16";
  auto pointer = [](const std::string &type, const std::string &name) {
    return name.empty() ? "nullptr" : "reinterpret_cast<" + type + " *>(" + name + ")";
  };
  LoweredDeviceKernel lowered;
  DeviceKernel kernel;
  kernel.name = symbol_;
  kernel.family = "Norm";
  kernel.threads = uint32_t(threads);
  kernel.unitsPerBlock = 1;
  for (uint32_t i = 0; i < kernel_.getInputs().size() + kernel_.getNumResults(); ++i)
    kernel.parameters.push_back({DeviceParameter::Kind::Buffer, i});
  kernel.parameters.push_back({DeviceParameter::Kind::Dim, 0});
  char epsilon[32];
  std::snprintf(epsilon, sizeof(epsilon), "%.9ef", region_.epsilon);
  std::string results = pointer("float", output(region_.result));
  if (!yieldsOnly()) {
    LLMOPT_ASSIGN(results, printBehind(lowered, kernel, rows));
  }
  lowered.unit.source = "#include \"primitives.cuh\"\n#include \"norm.cuh\"\n" + lowered.unit.source + "struct Rows {\n  typedef float Input;\n  typedef float Residual;\n  typedef " + weight +
                        " Weight;\n  typedef float Output;\n  static constexpr int kDepth = " + std::to_string(*depth) + ", kThreads = " + std::to_string(threads) +
                        ";\n  static constexpr bool kCenter = " + (region_.center ? "true" : "false") + ";\n  DEVICE_MEMBER static constexpr float epsilon() { return " +
                        epsilon + "; }\n};\nextern \"C\" GLOBAL void LAUNCH_BOUNDS(" + std::to_string(threads) + ", 1) " + symbol_ + "(" +
                        declareParameters(kernel.parameters, ", ") + ") {\n  Norm<Rows>::run(" + pointer("const float", argument(region_.x)) + ", " +
                        pointer("const float", argument(region_.residual)) + ", " + pointer("float", output(region_.sum)) + ", " +
                        pointer("const " + weight, argument(region_.scale)) + ", " + pointer("const " + weight, argument(region_.bias)) + ", " +
                        results + ", i64(d0));\n}\nLLMOPT_EXPORT(" + symbol_ + ")\n";
  lowered.unit.kernels.push_back(std::move(kernel));
  lowered.plan.variants.push_back({symbol_, 0, rows, SymExpr()});
  cpu::addCosts(kernel_, shapes_, lowered.plan);
  return std::optional<LoweredDeviceKernel>(std::move(lowered));
}

} // namespace

Result<std::optional<LoweredDeviceKernel>> cuda::lowerNorm(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target, const std::string &symbol) {
  std::optional<NormRegion> region = match(kernel, shapes);
  return region ? NormUnit(kernel, shapes, target, symbol, *region).lower() : std::optional<LoweredDeviceKernel>();
}
