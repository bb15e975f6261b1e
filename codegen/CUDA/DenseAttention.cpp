//===- DenseAttention.cpp - attention over padded batches, written --------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/DenseAttention.h"

#include "codegen/CPU/AttentionDense.h"
#include "codegen/CUDA/ProductType.h"
#include "codegen/CUDA/Rope.h"

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cuda;
using cpu::DenseProblem;
using cpu::DenseRows;

namespace {

constexpr int64_t kRows = 64, kThreads = 128, kMostSize = 128; ///< as the family has them

int64_t padded(int64_t size, int64_t to) { return (size + to - 1) / to * to; }

enum class MaskKind { None, Bytes, Added, Other };
MaskKind maskKind(const DenseProblem &problem) {
  if (!problem.mask)
    return MaskKind::None;
  Type element = getElementTypeOrSelf(problem.mask.getType());
  return element.isInteger(1) ? MaskKind::Bytes : element.isF32() ? MaskKind::Added : MaskKind::Other;
}

class DenseUnit {
public:
  DenseUnit(const DenseProblem &problem, const std::string &symbol, std::optional<DType> product, SymContext &symbols)
      : problem_(problem), symbol_(symbol), product_(product), symbols_(symbols) {}
  bool fits();
  LoweredDeviceKernel lower();

private:
  SymExpr wholeDim(size_t fromRight) const;
  bool isAligned();
  uint32_t sharedBytes(bool aligned) const;
  std::string problemText(bool aligned) const;
  std::string size(SymExpr value);
  std::string places(const DenseRows &rows) { return "{" + size(rows.offset) + ", " + size(rows.batch) + ", " + size(rows.head) + "}"; }
  std::string buffer(unsigned binding, const std::string &type);
  std::string pass(DeviceParameter::Kind kind, uint32_t index);
  std::string maskStrides();

  const DenseProblem &problem_;
  const std::string &symbol_;
  std::optional<DType> product_;
  SymContext &symbols_;
  LoweredDeviceKernel lowered_;
  DeviceKernel kernel_;
};

/// The dimension that one of the mask's is either equal to or repeats along.
SymExpr DenseUnit::wholeDim(size_t fromRight) const {
  SymExpr dims[] = {problem_.keys, problem_.queries, symbols_.constant(problem_.heads), problem_.batch};
  return dims[fromRight];
}

bool DenseUnit::fits() {
  size_t rank = problem_.maskDims.size();
  for (size_t i = 0; i < rank; ++i)
    if (rank > 4 || (!problem_.maskDims[rank - 1 - i].isConstant(1) && !(problem_.maskDims[rank - 1 - i] == wholeDim(i))))
      return false;
  return problem_.keySize <= kMostSize && problem_.valueSize <= kMostSize && maskKind(problem_) != MaskKind::Other;
}

/// Whether rows of keys and values can be copied in pieces of 16 bytes.
bool DenseUnit::isAligned() {
  constexpr int64_t kNumbers = 4;
  auto fits = [&](const DenseRows &rows, int64_t size) {
    auto multiple = [&](SymExpr value) { return symbols_.provenMultipleOf(value, kNumbers); };
    return size % kNumbers == 0 && rows.token % kNumbers == 0 && multiple(rows.offset) && multiple(rows.batch) && multiple(rows.head);
  };
  return fits(problem_.key, problem_.keySize) && fits(problem_.value, problem_.valueSize);
}

/// As the family's own constants have it.
uint32_t DenseUnit::sharedBytes(bool aligned) const {
  int64_t bytes = 0;
  for (int64_t size : {problem_.keySize, problem_.valueSize})
    bytes += product_ ? (aligned ? kRows * padded(size, 16) * 4 : 0) + kRows * padded(size, 64) * 2 : kRows * padded(size, 32) * 4;
  return uint32_t(product_ ? bytes : bytes + padded(problem_.keySize, 8) / 8 * kThreads * 16);
}

std::string DenseUnit::problemText(bool aligned) const {
  llm::AttentionOp op = problem_.op;
  MaskKind mask = maskKind(problem_);
  bool repeats = problem_.maskDims.empty() || problem_.maskDims.back().isConstant(1);
  std::string product = !product_ ? "float" : *product_ == DType::BF16 ? "bf16" : "f16";
  return "struct Problem {\n  typedef " + product + " Product;\n  typedef " + (mask == MaskKind::Bytes ? "u8" : "float") + " Mask;\n" +
         constantText("kMask", int64_t(mask)) + constantText("kMaskKey", repeats ? 0 : 1) + constantText("kHeads", problem_.heads) +
         constantText("kKvHeads", problem_.kvHeads) + constantText("kKeySize", problem_.keySize) + constantText("kValueSize", problem_.valueSize) +
         constantText("kQueryStride", problem_.query.token) + constantText("kKeyStride", problem_.key.token) + constantText("kValueStride", problem_.value.token) +
         constantText("kOutputStride", problem_.output.token) + constantText("kWindow", int64_t(op.getWindow())) +
         flagText("kAligned", aligned) + flagText("kCausal", op.getCausal()) +
         functionText("scale", op.getScale()) + functionText("softcap", op.getSoftcap()) + "};\n";
}

std::string DenseUnit::pass(DeviceParameter::Kind kind, uint32_t index) {
  DeviceParameter parameter{kind, index};
  if (!llvm::is_contained(kernel_.parameters, parameter))
    kernel_.parameters.push_back(parameter);
  return parameterName(parameter);
}

std::string DenseUnit::buffer(unsigned binding, const std::string &type) {
  return "reinterpret_cast<" + type + " *>(" + pass(DeviceParameter::Kind::Buffer, binding) + ")";
}

std::string DenseUnit::size(SymExpr value) {
  if (std::optional<int64_t> constant = value.constant())
    return std::to_string(*constant);
  const auto &dims = lowered_.plan.dims;
  return "i64(" + pass(DeviceParameter::Kind::Dim, uint32_t(llvm::find(dims, value) - dims.begin()) + 1) + ")";
}

/// From one batch entry, head and query to the next; 0 where the mask repeats.
std::string DenseUnit::maskStrides() {
  std::string text;
  size_t rank = problem_.maskDims.size();
  for (size_t fromRight : {3, 2, 1}) {
    std::string stride = "0";
    if (fromRight < rank && !problem_.maskDims[rank - 1 - fromRight].isConstant(1)) {
      stride = "1";
      for (size_t i = 0; i < fromRight; ++i)
        stride += " * " + size(problem_.maskDims[rank - 1 - i]);
    }
    text += ", " + stride;
  }
  return text;
}

LoweredDeviceKernel DenseUnit::lower() {
  cpu::addDimsAndCosts(problem_, symbols_, lowered_.plan);
  bool aligned = isAligned();
  kernel_.name = symbol_;
  kernel_.family = "DenseAttention";
  kernel_.math = product_ ? dtypeName(*product_) : "3xtf32";
  kernel_.threads = uint32_t(kThreads);
  kernel_.sharedBytes = sharedBytes(aligned);
  kernel_.unitsPerBlock = 1;
  kernel_.stages = product_ ? 2 : 1;
  std::string operands;
  for (const DenseRows &rows : {problem_.query, problem_.key, problem_.value})
    operands += buffer(rows.binding, "const float") + ", ";
  operands += problem_.mask ? buffer(cast<BlockArgument>(problem_.mask).getArgNumber(), "const Problem::Mask") : "nullptr";
  operands += ", " + buffer(problem_.output.binding, "float") + ", " + size(problem_.queries) + ", " + size(problem_.keys);
  for (const DenseRows &rows : {problem_.query, problem_.key, problem_.value, problem_.output})
    operands += ", " + places(rows);
  operands += maskStrides();
  std::string units = pass(DeviceParameter::Kind::Dim, 0);
  lowered_.unit.source = "#include \"primitives.cuh\"\n#include \"dense_attention.cuh\"\n" + problemText(aligned) +
                         "typedef DenseAttention<Problem> Family;\nextern \"C\" GLOBAL void LAUNCH_BOUNDS(" + std::to_string(kThreads) + ", 1) " + symbol_ + "(" +
                         declareParameters(kernel_.parameters, ", ") + ") {\n  static_assert(Family::kThreads == " + std::to_string(kThreads) +
                         " && Family::kSharedBytes == " + std::to_string(kernel_.sharedBytes) + ");\n  SHARED_MEMORY(smem);\n  Family::run(smem, i64(" + units + "), {" +
                         operands + "});\n}\nLLMOPT_EXPORT(" + symbol_ + ")\n";
  lowered_.unit.kernels.push_back(kernel_);
  SymExpr tiles = symbols_.ceilDiv(symbols_.mul(problem_.queries, symbols_.constant(problem_.group())), symbols_.constant(kRows));
  SymExpr count = symbols_.mul(symbols_.mul(problem_.batch, symbols_.constant(problem_.kvHeads)), tiles);
  lowered_.plan.variants.push_back({symbol_, 0, count, SymExpr()});
  return std::move(lowered_);
}

} // namespace

Result<std::optional<LoweredDeviceKernel>> cuda::lowerDenseAttention(exec::KernelOp kernel, ShapeAnalysis &shapes, const std::string &symbol) {
  Result<DenseProblem> problem = cpu::denseProblem(kernel, shapes);
  if (!problem) // the printed kernel says why
    return std::optional<LoweredDeviceKernel>();
  DenseUnit unit(*problem, symbol, productType(kernel->getParentOfType<ModuleOp>()), shapes.symbols());
  return unit.fits() ? std::optional<LoweredDeviceKernel>(unit.lower()) : std::nullopt;
}
