//===- Printer.cpp - kernel functions as CUDA C++ -------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/Printer.h"

#include "codegen/CUDA/PrinterExpressions.h"
#include "codegen/CUDA/UnitBounds.h"
#include "llmopt/lib/Artifact/KernelABI.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/TypeSwitch.h"

#include <cstddef>

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cuda;

namespace {

constexpr unsigned kThreads = 128;
constexpr llvm::StringLiteral kNameAttribute = "llmopt.name";

/// Values of the kernel ABI that are no values in the printed kernel.
struct AbiValue {
  enum class Kind { Args, BufferTable, BufferSlot, DimsField, DimTable, DimSlot, FunctionsField, FunctionTable, FunctionSlot };
  Kind kind;
  int64_t index = 0;
};

class FunctionPrinter {
public:
  FunctionPrinter(func::FuncOp function, unsigned indent) : function_(function), depth_(indent) {}
  Result<PrintedBody> print();

private:
  using Kind = AbiValue::Kind;
  Status block(Block &block);
  Status operation(Operation *op);
  bool abiOperation(Operation *op);
  bool unitBounds(arith::DivUIOp op);
  Status forLoop(scf::ForOp op);
  Status branch(scf::IfOp op);
  Status whileLoop(scf::WhileOp op);
  Status call(LLVM::CallOp op);
  bool vectorOperation(Operation *op);
  bool memoryOperation(Operation *op);
  Status elementwise(Operation *op);

  /// The start of a declaration whose value stays.
  static std::string fixed(Type type) { return isa<LLVM::LLVMPointerType>(type) ? "u8 *const " : "const " + typeName(type) + " "; }
  void line(const llvm::Twine &text) { body_.append(2 * depth_, ' ').append(text.str()).push_back('\n'); }
  std::string fresh() { return "v" + std::to_string(count_++); }
  std::string define(Value value) { return names_[value] = fresh(); }
  /// The text goes on under another value. (A copy: the map may move what it holds.)
  void rename(Value to, Value from) {
    std::string name = use(from);
    names_[to] = std::move(name);
  }
  /// Declares the results of an operation with regions.
  void declare(ValueRange values, ValueRange initial = {});
  void assign(ValueRange targets, ValueRange values);
  std::string use(Value value);
  std::string lane(Value value) { return isa<VectorType>(value.getType()) ? use(value) + ".v[l]" : use(value); }
  std::string parameter(DeviceParameter::Kind kind, uint32_t index = 0);
  Status unknown(Operation *op) {
    return unsupported("E0981", "no CUDA text for '" + op->getName().getStringRef().str() + "'", function_.getName().str());
  }

  func::FuncOp function_;
  std::string body_;
  unsigned depth_, count_ = 0;
  llvm::DenseMap<Value, std::string> names_;
  llvm::DenseMap<Value, AbiValue> abi_;
  std::vector<DeviceParameter> parameters_;
};

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

std::string FunctionPrinter::parameter(DeviceParameter::Kind kind, uint32_t index) {
  if (!llvm::is_contained(parameters_, DeviceParameter{kind, index}))
    parameters_.push_back({kind, index});
  return parameterName({kind, index});
}

std::string FunctionPrinter::use(Value value) {
  if (auto it = names_.find(value); it != names_.end())
    return it->second;
  if (auto argument = dyn_cast<BlockArgument>(value); argument && argument.getOwner() == &function_.getBody().front()) {
    if (argument.getArgNumber() == 1)
      return parameter(DeviceParameter::Kind::Table);
    if (argument.getArgNumber() == 4) {
      parameter(DeviceParameter::Kind::Scratch);
      parameter(DeviceParameter::Kind::ScratchBytes);
      return "own";
    }
  }
  if (auto it = abi_.find(value); it != abi_.end() && it->second.kind == Kind::BufferSlot)
    return parameter(DeviceParameter::Kind::Buffer, uint32_t(it->second.index));
  llvm_unreachable("a value is used that was not printed");
}

void FunctionPrinter::declare(ValueRange values, ValueRange initial) {
  for (auto [i, value] : llvm::enumerate(values)) {
    std::string start = initial.empty() ? "" : " = " + use(initial[i]);
    line(typeName(value.getType()) + " " + define(value) + start + ";");
  }
}

/// All values are read before any is written.
void FunctionPrinter::assign(ValueRange targets, ValueRange values) {
  SmallVector<std::string> sources;
  for (Value value : values)
    sources.push_back(use(value));
  if (targets.size() > 1)
    for (auto [i, value] : llvm::enumerate(values))
      if (llvm::is_contained(targets, value) && value != targets[i]) {
        std::string copy = fresh();
        line(fixed(value.getType()) + copy + " = " + sources[i] + ";");
        sources[i] = copy;
      }
  for (auto [target, source] : llvm::zip_equal(targets, sources))
    if (use(target) != source)
      line(use(target) + " = " + source + ";");
}

//===----------------------------------------------------------------------===//
// What the kernel ABI gives
//===----------------------------------------------------------------------===//

static std::optional<int64_t> constantIndex(LLVM::GEPOp op) {
  ArrayRef<int32_t> indices = op.getRawConstantIndices();
  if (indices.size() != 1 || !op.getDynamicIndices().empty())
    return std::nullopt;
  return indices[0];
}

/// Loads and addresses inside of KernelArgs; true if `op` was one.
bool FunctionPrinter::abiOperation(Operation *op) {
  Value from = isa<LLVM::LoadOp, LLVM::GEPOp>(op) ? op->getOperand(0) : Value();
  if (!from)
    return false;
  auto known = abi_.find(from);
  bool isArgs = from == function_.getArgument(0);
  if (!isArgs && known == abi_.end())
    return false;
  AbiValue base = isArgs ? AbiValue{Kind::Args} : known->second;
  Value result = op->getResult(0);
  if (auto gep = dyn_cast<LLVM::GEPOp>(op)) {
    std::optional<int64_t> index = constantIndex(gep);
    if (!index)
      return false;
    switch (base.kind) {
    case Kind::Args:
      abi_[result] = {*index == offsetof(KernelArgs, dims) ? Kind::DimsField : Kind::FunctionsField};
      return true;
    case Kind::BufferTable:
      abi_[result] = {Kind::BufferTable, *index};
      return true;
    case Kind::DimTable:
      abi_[result] = {Kind::DimTable, *index};
      return true;
    case Kind::FunctionTable:
      abi_[result] = {Kind::FunctionTable, *index};
      return true;
    default: // an address in a buffer
      return false;
    }
  }
  switch (base.kind) {
  case Kind::Args:
    abi_[result] = {Kind::BufferTable};
    return true;
  case Kind::BufferTable:
    abi_[result] = {Kind::BufferSlot, base.index};
    return true;
  case Kind::DimsField:
    abi_[result] = {Kind::DimTable};
    return true;
  case Kind::DimTable:
    names_[result] = parameter(DeviceParameter::Kind::Dim, uint32_t(base.index));
    return true;
  case Kind::FunctionsField:
    abi_[result] = {Kind::FunctionTable};
    return true;
  case Kind::FunctionTable:
    abi_[result] = {Kind::FunctionSlot, base.index};
    return true;
  default:
    return false;
  }
}

/// units * part / parts: the bounds of a thread's units, which are here one by one.
bool FunctionPrinter::unitBounds(arith::DivUIOp op) {
  std::optional<UnitBound> bound = unitBound(op, function_);
  if (!bound)
    return false;
  names_[op] = *bound == UnitBound::End ? "(unit + 1)" : "unit";
  return true;
}

/// A part number or a count of parts: only the bounds of units use them.
static bool isPart(Operation *op, func::FuncOp function) {
  auto reachesPart = [&](Value value) {
    auto wide = value.getDefiningOp<arith::ExtUIOp>();
    return wide && (wide.getIn() == function.getArgument(2) || wide.getIn() == function.getArgument(3));
  };
  if (isa<arith::ExtUIOp>(op))
    return reachesPart(op->getResult(0));
  if (isa<arith::AddIOp>(op))
    return reachesPart(op->getOperand(0));
  if (isa<arith::MulIOp>(op)) {
    auto next = op->getOperand(1).getDefiningOp<arith::AddIOp>();
    return reachesPart(op->getOperand(1)) || (next && reachesPart(next.getLhs()));
  }
  return false;
}

//===----------------------------------------------------------------------===//
// Control
//===----------------------------------------------------------------------===//

Status FunctionPrinter::forLoop(scf::ForOp op) {
  declare(op.getRegionIterArgs(), op.getInitArgs());
  for (auto [result, carried] : llvm::zip_equal(op.getResults(), op.getRegionIterArgs()))
    rename(result, carried);
  std::string iv = define(op.getInductionVar());
  line("for (u64 " + iv + " = " + use(op.getLowerBound()) + "; i64(" + iv + ") < i64(" + use(op.getUpperBound()) + "); " + iv + " += " +
       use(op.getStep()) + ") {");
  ++depth_;
  LLMOPT_RETURN_IF_ERROR(block(*op.getBody()));
  assign(op.getRegionIterArgs(), op.getBody()->getTerminator()->getOperands());
  --depth_;
  line("}");
  return {};
}

Status FunctionPrinter::branch(scf::IfOp op) {
  declare(op.getResults());
  line("if (" + use(op.getCondition()) + ") {");
  for (Region *region : {&op.getThenRegion(), &op.getElseRegion()}) {
    if (region->empty())
      continue;
    if (region == &op.getElseRegion())
      line("} else {");
    ++depth_;
    LLMOPT_RETURN_IF_ERROR(block(region->front()));
    assign(op.getResults(), region->front().getTerminator()->getOperands());
    --depth_;
  }
  line("}");
  return {};
}

Status FunctionPrinter::whileLoop(scf::WhileOp op) {
  Block &before = op.getBefore().front(), &after = op.getAfter().front();
  declare(before.getArguments(), op.getInits());
  declare(op.getResults());
  line("while (true) {");
  ++depth_;
  LLMOPT_RETURN_IF_ERROR(block(before));
  auto condition = cast<scf::ConditionOp>(before.getTerminator());
  assign(op.getResults(), condition.getArgs());
  line("if (!" + use(condition.getCondition()) + ")");
  line("  break;");
  for (auto [argument, result] : llvm::zip_equal(after.getArguments(), op.getResults()))
    rename(argument, result);
  LLMOPT_RETURN_IF_ERROR(block(after));
  assign(before.getArguments(), after.getTerminator()->getOperands());
  --depth_;
  line("}");
  return {};
}

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

/// The functions of KernelArgs::functions, which are called through their slot.
Status FunctionPrinter::call(LLVM::CallOp op) {
  auto slot = op.getCallee() ? abi_.end() : abi_.find(op.getOperand(0));
  if (slot == abi_.end() || slot->second.kind != Kind::FunctionSlot)
    return unknown(op);
  std::string id = std::to_string(slot->second.index), x = use(op.getOperand(1)), y = use(op.getOperand(2));
  line("const double " + define(op.getResult()) + " = scalar" + id + "(" + x + ", " + y + ");");
  return {};
}

bool FunctionPrinter::memoryOperation(Operation *op) {
  auto access = [](Type element, const std::string &address, const std::string &index) {
    std::string type = typeName(element);
    return "at<" + type + ">(" + address + (index.empty() ? "" : " + " + index + " * sizeof(" + type + ")") + ")";
  };
  if (auto gep = dyn_cast<LLVM::GEPOp>(op)) {
    if (gep.getIndices().size() != 1)
      return false;
    auto index = gep.getIndices()[0];
    std::string size = std::to_string(elementBytes(gep.getElemType())) + "ull", text;
    if (auto value = dyn_cast<Value>(index))
      text = use(value) + " * " + size;
    else
      text = std::to_string(uint64_t(cast<IntegerAttr>(index).getInt())) + "ull * " + size;
    std::string base = use(gep.getBase());
    line("u8 *const " + define(gep) + " = " + base + " + " + text + ";");
    return true;
  }
  if (auto load = dyn_cast<LLVM::LoadOp>(op)) {
    auto vector = dyn_cast<VectorType>(load.getType());
    std::string address = use(load.getAddr());
    if (!vector) {
      line(fixed(load.getType()) + define(load) + " = " + access(load.getType(), address, "") + ";");
      return true;
    }
    std::string name = define(load);
    line(typeName(vector) + " " + name + ";");
    line(lanes(vector) + name + ".v[l] = " + access(vector.getElementType(), address, "l") + ";");
    return true;
  }
  if (auto store = dyn_cast<LLVM::StoreOp>(op)) {
    auto vector = dyn_cast<VectorType>(store.getValue().getType());
    std::string address = use(store.getAddr()), value = use(store.getValue());
    if (vector)
      line(lanes(vector) + access(vector.getElementType(), address, "l") + " = " + value + ".v[l];");
    else
      line(access(store.getValue().getType(), address, "") + " = " + value + ";");
    return true;
  }
  if (auto load = dyn_cast<LLVM::MaskedLoadOp>(op)) {
    auto vector = cast<VectorType>(load.getRes().getType());
    std::string address = use(load.getData()), mask = use(load.getMask()), other = use(load.getPassThru()), name = define(load.getRes());
    line(typeName(vector) + " " + name + ";");
    line(lanes(vector) + name + ".v[l] = " + mask + ".v[l] ? " + access(vector.getElementType(), address, "l") + " : " + other + ".v[l];");
    return true;
  }
  if (auto store = dyn_cast<LLVM::MaskedStoreOp>(op)) {
    auto vector = cast<VectorType>(store.getValue().getType());
    std::string address = use(store.getData()), value = use(store.getValue()), mask = use(store.getMask());
    line(lanes(vector) + "if (" + mask + ".v[l]) " + access(vector.getElementType(), address, "l") + " = " + value + ".v[l];");
    return true;
  }
  return isa<LLVM::Prefetch>(op); // the hardware does it
}

/// Operations that move lanes.
bool FunctionPrinter::vectorOperation(Operation *op) {
  auto laneOf = [&](ArrayRef<int64_t> fixed, ValueRange dynamic) {
    return dynamic.empty() ? std::to_string(fixed[0]) : use(dynamic[0]);
  };
  if (auto extract = dyn_cast<vector::ExtractOp>(op)) {
    std::string from = use(extract.getSource()), index = laneOf(extract.getStaticPosition(), extract.getDynamicPosition());
    line(fixed(extract.getType()) + define(extract) + " = " + from + ".v[" + index + "];");
    return true;
  }
  auto vector = op->getNumResults() == 1 ? dyn_cast<VectorType>(op->getResult(0).getType()) : VectorType();
  if (!vector || vector.getRank() != 1)
    return false;
  std::string type = typeName(vector);
  if (auto insert = dyn_cast<vector::InsertOp>(op)) {
    std::string into = use(insert.getDest()), value = use(insert.getValueToStore());
    std::string index = laneOf(insert.getStaticPosition(), insert.getDynamicPosition()), name = define(insert);
    line(type + " " + name + " = " + into + ";");
    line(name + ".v[" + index + "] = " + value + ";");
    return true;
  }
  if (auto broadcast = dyn_cast<vector::BroadcastOp>(op); broadcast && !isa<VectorType>(broadcast.getSource().getType())) {
    std::string value = use(broadcast.getSource()), name = define(broadcast);
    line(type + " " + name + ";");
    line(lanes(vector) + name + ".v[l] = " + value + ";");
    return true;
  }
  if (auto mask = dyn_cast<vector::CreateMaskOp>(op)) {
    std::string count = use(mask.getOperand(0)), name = define(mask);
    line(type + " " + name + ";");
    line(lanes(vector) + name + ".v[l] = l < i64(" + count + ");");
    return true;
  }
  if (auto shuffle = dyn_cast<vector::ShuffleOp>(op)) {
    int64_t first = shuffle.getV1VectorType().getNumElements();
    std::string a = use(shuffle.getV1()), b = use(shuffle.getV2()), text;
    for (int64_t from : shuffle.getMask())
      text += (text.empty() ? "" : ", ") + (from < first ? a + ".v[" + std::to_string(std::max<int64_t>(from, 0)) : b + ".v[" + std::to_string(from - first)) + "]";
    line("const " + type + " " + define(shuffle) + " = {{" + text + "}};");
    return true;
  }
  if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
    auto dense = dyn_cast<DenseElementsAttr>(constant.getValue());
    if (!dense)
      return false;
    std::string text;
    for (Attribute element : dense.getValues<Attribute>())
      text += (text.empty() ? "" : ", ") + literal(element);
    line("const " + type + " " + define(constant.getResult()) + " = {{" + text + "}};");
    return true;
  }
  return false;
}

/// Everything that computes a scalar from scalars, or each lane from lanes.
Status FunctionPrinter::elementwise(Operation *op) {
  if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
    names_[constant.getResult()] = literal(constant.getValue());
    return {};
  }
  if (op->getNumResults() != 1)
    return unknown(op);
  std::optional<std::string> text = expression(op, [&](Value value) { return lane(value); });
  if (!text)
    return unknown(op);
  Value result = op->getResult(0);
  auto vector = dyn_cast<VectorType>(result.getType());
  std::string name = define(result), type = typeName(result.getType());
  if (!vector) {
    line(fixed(result.getType()) + name + " = " + *text + ";");
    return {};
  }
  line(type + " " + name + ";");
  line(lanes(vector) + name + ".v[l] = " + *text + ";");
  return {};
}

Status FunctionPrinter::operation(Operation *op) {
  if (abiOperation(op) || isPart(op, function_))
    return {};
  if (auto divide = dyn_cast<arith::DivUIOp>(op); divide && unitBounds(divide))
    return {};
  if (auto loop = dyn_cast<scf::ForOp>(op))
    return forLoop(loop);
  if (auto condition = dyn_cast<scf::IfOp>(op))
    return branch(condition);
  if (auto loop = dyn_cast<scf::WhileOp>(op))
    return whileLoop(loop);
  if (auto function = dyn_cast<LLVM::CallOp>(op))
    return call(function);
  if (auto name = op->getAttrOfType<StringAttr>(kNameAttribute)) {
    names_[op->getResult(0)] = name.str();
    return {};
  }
  if (auto address = dyn_cast<LLVM::AddressOfOp>(op)) {
    names_[address] = "const_cast<u8 *>(" + address.getGlobalName().str() + ")";
    return {};
  }
  if (memoryOperation(op) || vectorOperation(op))
    return {};
  return elementwise(op);
}

Status FunctionPrinter::block(Block &block) {
  for (Operation &op : block.without_terminator())
    LLMOPT_RETURN_IF_ERROR(operation(&op));
  return {};
}

Result<PrintedBody> FunctionPrinter::print() {
  LLMOPT_RETURN_IF_ERROR(block(function_.getBody().front()));
  // Buffers first, in order of their bindings, as people read signatures.
  llvm::sort(parameters_, [](const DeviceParameter &a, const DeviceParameter &b) {
    return std::pair(a.kind, a.index) < std::pair(b.kind, b.index);
  });
  return PrintedBody{std::move(body_), std::move(parameters_)};
}

Result<DeviceKernel> printKernel(func::FuncOp function, std::string &out) {
  LLMOPT_ASSIGN(PrintedBody body, cuda::printBody(function, 2));
  DeviceKernel kernel;
  kernel.name = function.getName().str();
  kernel.threads = kernel.unitsPerBlock = kThreads;
  kernel.family = "printed";
  kernel.parameters = body.parameters;
  DeviceParameter units{DeviceParameter::Kind::Dim, 0};
  if (!llvm::is_contained(kernel.parameters, units))
    kernel.parameters.push_back(units);
  bool scratch = llvm::is_contained(kernel.parameters, DeviceParameter{DeviceParameter::Kind::Scratch});
  out += "\nextern \"C\" GLOBAL void LAUNCH_BOUNDS(" + std::to_string(kThreads) + ", 1) " + kernel.name + "(" +
         cuda::declareParameters(kernel.parameters, ", ") + ") {\n  waitForDependencies();\n" +
         (scratch ? "  u8 *const own = scratch + gridThread() * scratchBytes;\n" : "") +
         "  for (u64 unit = gridThread(); unit < d0; unit += gridThreads()) {\n" + body.text + "  }\n}\nLLMOPT_PRINTED_EXPORT(" + kernel.name + ")\n";
  return kernel;
}

void printGlobal(LLVM::GlobalOp global, std::string &out) {
  out += "CONSTANT_DATA u8 " + global.getSymName().str() + "[] = {";
  StringRef bytes = cast<StringAttr>(global.getValueAttr()).getValue();
  for (size_t i = 0; i < bytes.size(); ++i)
    out += (i ? (i % 32 ? "," : ",\n  ") : "") + std::to_string(uint8_t(bytes[i]));
  out += "};\n";
}

} // namespace

std::string cuda::parameterName(const DeviceParameter &parameter) {
  switch (parameter.kind) {
  case DeviceParameter::Kind::Buffer:
    return "b" + std::to_string(parameter.index);
  case DeviceParameter::Kind::Dim:
    return "d" + std::to_string(parameter.index);
  case DeviceParameter::Kind::Table:
    return "table";
  case DeviceParameter::Kind::Scratch:
    return "scratch";
  case DeviceParameter::Kind::TensorMap:
    return "m" + std::to_string(parameter.index);
  case DeviceParameter::Kind::ScratchBytes:
    return "scratchBytes";
  case DeviceParameter::Kind::Constant: // our own kernels have them in their text
    break;
  }
  llvm_unreachable("a parameter without a name");
}

std::string cuda::declareParameters(const std::vector<DeviceParameter> &parameters, const char *separator) {
  std::string text;
  for (const DeviceParameter &parameter : parameters) {
    bool isNumber = parameter.kind == DeviceParameter::Kind::Dim || parameter.kind == DeviceParameter::Kind::ScratchBytes;
    const char *type = parameter.kind == DeviceParameter::Kind::TensorMap ? "GRID_CONSTANT const TensorMap " : isNumber ? "u64 " : "u8 *";
    text += (text.empty() ? "" : separator) + std::string(type) + parameterName(parameter);
  }
  return text;
}

std::string cuda::printGlobals(ModuleOp module) {
  std::string text;
  for (auto global : module.getOps<LLVM::GlobalOp>())
    printGlobal(global, text);
  return text;
}

Value cuda::namedValue(OpBuilder &builder, Location loc, Type type, StringRef name) {
  auto value = UnrealizedConversionCastOp::create(builder, loc, type, ValueRange());
  value->setAttr(kNameAttribute, builder.getStringAttr(name));
  return value.getResult(0);
}

Result<PrintedBody> cuda::printBody(func::FuncOp function, unsigned indent) { return FunctionPrinter(function, indent).print(); }

Result<KernelUnit> cuda::printKernels(ModuleOp module) {
  KernelUnit unit;
  unit.exact = true;
  unit.source = "#include \"printed.cuh\"\n" + printGlobals(module);
  for (auto function : module.getOps<func::FuncOp>()) {
    LLMOPT_ASSIGN(DeviceKernel kernel, printKernel(function, unit.source));
    unit.kernels.push_back(std::move(kernel));
  }
  return unit;
}
