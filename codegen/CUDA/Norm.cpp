//===- Norm.cpp - normalisations by the written family --------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/Norm.h"

#include "codegen/CPU/Loops.h"
#include "llmopt/dialects/LLM/ElementTypes.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cuda;

namespace {

struct NormRegion {
  Value x, residual, sum, scale, bias, result; ///< residual, sum and bias may be null
  double epsilon = 0;
  bool center = false;
};

bool isF32(Value value) { return getElementTypeOrSelf(value.getType()).isF32(); }
bool isArgument(Value value) { return isa<BlockArgument>(value); }

/// The operations of the region, if they are what norm.cuh computes; results may be seen through views.
std::optional<NormRegion> match(exec::KernelOp kernel, ShapeAnalysis &shapes) {
  NormRegion region;
  for (Operation &op : kernel.getBody().front().without_terminator()) {
    if (auto rms = dyn_cast<llm::RMSNormOp>(op); rms && rms.getOffset().isZero()) {
      region.scale = rms.getScale();
      region.epsilon = rms.getEpsilon().convertToDouble();
    } else if (auto layer = dyn_cast<llm::LayerNormOp>(op)) {
      region.scale = layer.getScale();
      region.bias = layer.getBias();
      region.epsilon = layer.getEpsilon().convertToDouble();
      region.center = true;
    } else if (cpu::isView(&op) || isa<llm::AddOp>(op)) {
      continue;
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
  NormUnit(exec::KernelOp kernel, ShapeAnalysis &shapes, const std::string &symbol, const NormRegion &region)
      : kernel_(kernel), shapes_(shapes), symbol_(symbol), region_(region) {}
  std::optional<LoweredDeviceKernel> lower();

private:
  std::string argument(Value value) { return value ? "b" + std::to_string(cast<BlockArgument>(value).getArgNumber()) : ""; }
  /// Binding of the result that yields `value`; empty if none does.
  std::string output(Value value);
  bool yieldsOnly();
  exec::KernelOp kernel_;
  ShapeAnalysis &shapes_;
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

std::optional<LoweredDeviceKernel> NormUnit::lower() {
  constexpr int64_t kEach = 8, kMostThreads = 1024, kMostParts = 4; // numbers of a thread stay in registers
  SymContext &symbols = shapes_.symbols();
  ArrayRef<SymExpr> dims = shapes_.shapeOf(region_.result).dims;
  std::optional<int64_t> depth = dims.empty() ? std::nullopt : dims.back().constant();
  if (!yieldsOnly() || !depth || *depth < 1 || *depth > kEach * kMostThreads * kMostParts)
    return std::nullopt;
  int64_t threads = std::min(kMostThreads, ((*depth + kEach - 1) / kEach + 31) / 32 * 32);
  SymExpr rows = symbols.constant(1);
  for (SymExpr dim : dims.drop_back())
    rows = symbols.mul(rows, dim);
  if (!rows.known())
    return std::nullopt;

  DType scale = *llm::dtypeOf(getElementTypeOrSelf(region_.scale.getType()));
  if (scale != DType::F32 && scale != DType::BF16 && scale != DType::F16)
    return std::nullopt;
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
  lowered.unit.source = "#include \"primitives.cuh\"\n#include \"norm.cuh\"\nstruct Rows {\n  typedef float Input;\n  typedef float Residual;\n  typedef " + weight +
                        " Weight;\n  typedef float Output;\n  static constexpr int kDepth = " + std::to_string(*depth) + ", kThreads = " + std::to_string(threads) +
                        ";\n  static constexpr bool kCenter = " + (region_.center ? "true" : "false") + ";\n  DEVICE_MEMBER static constexpr float epsilon() { return " +
                        epsilon + "; }\n};\nextern \"C\" GLOBAL void LAUNCH_BOUNDS(" + std::to_string(threads) + ", 1) " + symbol_ + "(" +
                        declareParameters(kernel.parameters, ", ") + ") {\n  Norm<Rows>::run(" + pointer("const float", argument(region_.x)) + ", " +
                        pointer("const float", argument(region_.residual)) + ", " + pointer("float", output(region_.sum)) + ", " +
                        pointer("const " + weight, argument(region_.scale)) + ", " + pointer("const " + weight, argument(region_.bias)) + ", " +
                        pointer("float", output(region_.result)) + ", i64(d0));\n}\nLLMOPT_EXPORT(" + symbol_ + ")\n";
  lowered.unit.kernels.push_back(std::move(kernel));
  lowered.plan.variants.push_back({symbol_, 0, rows, SymExpr()});
  cpu::addCosts(kernel_, shapes_, lowered.plan);
  return lowered;
}

} // namespace

Result<std::optional<LoweredDeviceKernel>> cuda::lowerNorm(exec::KernelOp kernel, ShapeAnalysis &shapes, const std::string &symbol) {
  std::optional<NormRegion> region = match(kernel, shapes);
  return region ? NormUnit(kernel, shapes, symbol, *region).lower() : std::optional<LoweredDeviceKernel>();
}
