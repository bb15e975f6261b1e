//===- Importer.cpp - nodes, names and function calls ---------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Importer.h"

#include "llmopt/dialects/LLM/ElementTypes.h"
#include "llmopt/lib/Support/CheckedMath.h"
#include "llmopt/lib/Support/Utf8.h"

using namespace mlir;

namespace llmopt::onnx {

/// Tensors up to this many elements are constants of the IR, larger ones weights; integers may be shapes and indices.
static constexpr int64_t kMaxConstant = 1024, kMaxIntegerConstant = 65536;

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

bool Importer::isVisible(llvm::StringRef name, const Scope &scope) const {
  for (const Scope *s = &scope; s; s = s->parent)
    if (s->values.contains(name) || s->pending.contains(name))
      return true;
  return false;
}

Importer::Named *Importer::lookup(llvm::StringRef name, Scope &scope) {
  for (Scope *s = &scope; s; s = s->parent) {
    if (auto it = s->values.find(name); it != s->values.end())
      return &it->second;
    auto pending = s->pending.find(name);
    if (pending == s->pending.end())
      continue;
    std::string context = "initializer '" + replaceInvalidUtf8(name.str()) + "'";
    emit_.loc = NameLoc::get(StringAttr::get(&context_, replaceInvalidUtf8(name.str())));
    auto value = materialize(*pending->second, context);
    if (!value)
      problems_.add(value.error(), "", context);
    return &(s->values[name] = {value ? *value : Value(), !value.ok()});
  }
  return nullptr;
}

Result<Value> Importer::materialize(const TensorProto &tensor, const std::string &context) {
  LLMOPT_ASSIGN(StoredWeight stored, readTensor(tensor, model_, &external_, context));
  Type element = llm::elementTypeOf(&context_, stored.dtype);
  auto type = RankedTensorType::get(stored.shape, element);
  int64_t count = type.getNumElements();
  bool isIndex = stored.dtype == DType::I64 || stored.dtype == DType::I32 || stored.dtype == DType::Bool;
  if (count <= kMaxConstant || (isIndex && count <= kMaxIntegerConstant)) {
    if (stored.dtype == DType::Bool) {
      llvm::SmallVector<bool> bits;
      for (std::byte byte : stored.bytes)
        bits.push_back(byte != std::byte(0));
      return emit_.constant(DenseElementsAttr::get(type, ArrayRef<bool>(bits)));
    }
    llvm::ArrayRef<char> raw(reinterpret_cast<const char *>(stored.bytes.data()), stored.bytes.size());
    return emit_.constant(DenseElementsAttr::getFromRawBuffer(type, raw));
  }
  std::string name = replaceInvalidUtf8(tensor.name());
  // Subgraphs and functions may use a name again.
  for (int i = 1; result_.weights.find(name) || name.empty(); ++i)
    name = replaceInvalidUtf8(tensor.name()) + "#" + std::to_string(i);
  result_.weights.add(name, std::move(stored));
  auto weight = llm::WeightOp::create(emit_.builder, emit_.loc, type, emit_.builder.getStringAttr(name));
  analysis_.infer(weight);
  emit_.markConstant(weight);
  return Value(weight);
}

std::optional<llvm::SmallVector<int64_t>> Importer::declaredStaticShape(const std::string &name) const {
  const TypeProto *type = scope_ ? scope_->declared.lookup(name) : nullptr;
  if (!type || !type->tensor_type().has_shape())
    return std::nullopt;
  llvm::SmallVector<int64_t> shape;
  for (const auto &dim : type->tensor_type().shape().dim()) {
    if (!dim.has_dim_value() || dim.dim_value() < 0 || shape.size() >= kMaxRank)
      return std::nullopt;
    shape.push_back(dim.dim_value());
  }
  if (!checkedElementCount(shape))
    return std::nullopt;
  return shape;
}

AttributeMap Importer::resolveAttributes(const NodeProto &proto, const Scope &scope) {
  AttributeMap result;
  for (const AttributeProto &attribute : proto.attribute()) {
    const AttributeProto *value = &attribute;
    if (!attribute.ref_attr_name().empty()) // a formal attribute of the function; absent when the caller leaves it out
      value = scope.bindings ? scope.bindings->lookup(attribute.ref_attr_name()) : nullptr;
    if (value && !result.try_emplace(attribute.name(), value).second)
      emit_.invalid("attribute '" + attribute.name() + "' is there twice");
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Graphs and nodes
//===----------------------------------------------------------------------===//

Status Importer::enterGraph(const GraphProto &graph, Scope &scope) {
  llvm::StringSet<> given;
  for (const auto &input : graph.input())
    given.insert(input.name());
  for (const TensorProto &tensor : graph.initializer()) {
    if (tensor.name().size() > kMaxNameLength)
      return badInput(kGraph, "a name has " + std::to_string(tensor.name().size()) + " bytes", path_);
    if (!scope.pending.try_emplace(tensor.name(), &tensor).second)
      return badInput(kGraph, "initializer '" + replaceInvalidUtf8(tensor.name()) + "' is there twice", path_);
    given.insert(tensor.name());
  }
  for (const auto &tensor : graph.sparse_initializer()) {
    std::string context = "sparse initializer '" + replaceInvalidUtf8(tensor.values().name()) + "'";
    problems_.add(unsupported(kUnsupported, "sparse tensors are not supported").error(), "", context);
    scope.values[tensor.values().name()] = {Value(), true};
    given.insert(tensor.values().name());
  }
  for (const auto &info : graph.value_info())
    scope.declared[info.name()] = &info.type();
  for (const auto &info : graph.output())
    scope.declared[info.name()] = &info.type();
  declareOperands(graph.node(), scope);
  return importNodes(graph.node(), given, scope);
}

/// An operator that keeps the shape has it from its operand: what is declared for the result holds for both. (Only shapes are
/// read off declarations.)
void Importer::declareOperands(const NodeList &nodes, Scope &scope) {
  static const llvm::StringSet<> keepShape{"Abs", "Cast", "CastLike", "Exp", "Identity", "Log", "Neg", "Relu", "Sqrt", "Tanh"};
  for (int i = nodes.size(); i-- > 0;) {
    const NodeProto &node = nodes[i];
    if (!normalDomain(node.domain()).empty() || !keepShape.contains(node.op_type()) || node.input_size() == 0 || node.output_size() != 1)
      continue;
    if (const TypeProto *type = scope.declared.lookup(node.output(0)))
      scope.declared.try_emplace(node.input(0), type);
  }
}

Status Importer::importNodes(const NodeList &nodes, const llvm::StringSet<> &given, Scope &scope) {
  importedNodes_ += nodes.size();
  if (importedNodes_ > kMaxNodes)
    return tooManyNodes();
  std::string warning;
  LLMOPT_ASSIGN(auto order, orderNodes(nodes, given, [&](llvm::StringRef name) { return isVisible(name, scope); }, path_, warning));
  if (!warning.empty())
    result_.warnings.push_back(std::move(warning));
  for (int index : order)
    LLMOPT_RETURN_IF_ERROR(importNode(nodes[index], index, scope));
  return {};
}

void Importer::bindOutputs(const NodeProto &proto, ArrayRef<Value> values, bool poisoned, Scope &scope) {
  for (int i = 0; i < proto.output_size(); ++i)
    if (!proto.output(i).empty())
      scope.values[proto.output(i)] = {size_t(i) < values.size() ? values[i] : Value(), poisoned};
}

/// 0: not imported.
int64_t Importer::opsetOf(const std::string &domain, const Scope &scope) {
  if (auto it = scope.opsets->find(domain); it != scope.opsets->end())
    return it->second;
  if (domain != "com.microsoft") // it has one version, and some of its writers leave it out
    return 0;
  if (!std::exchange(warnedMissingImport_, true))
    result_.warnings.push_back("opset_import does not name com.microsoft, which nodes use; version 1 is assumed");
  return 1;
}

Status Importer::importNode(const NodeProto &proto, int index, Scope &scope) {
  std::string place = describeNode(proto, index), domain = normalDomain(proto.domain()).str();
  emit_.clear();
  bool poisoned = false;
  llvm::SmallVector<Value> inputs;
  for (const auto &name : proto.input()) {
    Named *found = name.empty() ? nullptr : lookup(name, scope);
    inputs.push_back(found ? found->value : Value());
    poisoned |= found && found->poisoned;
  }
  std::string label = scope.prefix + (proto.name().empty() ? proto.op_type() + "#" + std::to_string(index) : proto.name());
  auto position = FileLineColLoc::get(&context_, file_, unsigned(index) + 1, 0);
  emit_.loc = NameLoc::get(StringAttr::get(&context_, replaceInvalidUtf8(label)), position);

  AttributeMap attributes = resolveAttributes(proto, scope);
  const FunctionProto *function = findFunction(proto);
  if (function && !poisoned && !emit_.failed())
    return callFunction(*function, proto, inputs, std::move(attributes), index, scope);

  int64_t opset = opsetOf(domain, scope);
  std::string reason;
  Handler handler = nullptr;
  if (!proto.overload().empty() && !function)
    reason = "overload '" + replaceInvalidUtf8(proto.overload()) + "' is not a function of this model";
  else
    handler = findHandler(domain, proto.op_type(), opset, reason);
  if (!function && !handler)
    emit_.unsupported(reason);
  if (handler && !poisoned && !emit_.failed()) {
    Node node(*this, emit_, proto, opset, std::move(inputs), std::move(attributes));
    Scope *outer = std::exchange(scope_, &scope);
    Status status = runHandler(handler, node, place);
    scope_ = outer;
    if (status.ok()) {
      bindOutputs(proto, node.outputs(), false, scope);
      return {};
    }
    // An empty message: the problems of a subgraph are recorded already.
    if (status.error().kind == ErrorKind::Limit)
      return status;
    if (!status.error().message.empty())
      problems_.add(status.error(), operatorName(proto), place);
  } else if (emit_.failed()) {
    problems_.add(emit_.status().error(), operatorName(proto), place);
  }
  bindOutputs(proto, {}, true, scope);
  return {};
}

Status Importer::runHandler(Handler handler, Node &node, const std::string &place) {
  Block *block = emit_.builder.getInsertionBlock();
  Operation *before = block->empty() ? nullptr : &block->back();
  auto loc = emit_.loc;
  Status status = handler(node);
  emit_.loc = loc;
  if (!status.ok())
    return status;
  if (emit_.failed())
    return emit_.status();
  const NodeProto &proto = node.proto();
  for (int i = 0; i < proto.output_size(); ++i) {
    if (!node.wants(size_t(i)))
      continue;
    if (size_t(i) >= node.outputs().size() || !node.outputs()[i])
      return unsupported(kUnsupported, "output " + std::to_string(i) + " is not supported");
    refineOutput(node.outputs()[i], proto.output(i));
  }
  if (hasUnknownShape(before, node.outputs()))
    return unsupported(kUnknownShape, "its shape depends on tensor data");
  return {};
}

/// A static dimension that the file declares helps where the analysis cannot tell.
void Importer::refineOutput(Value value, const std::string &name) {
  auto declared = declaredStaticShape(name);
  auto type = cast<RankedTensorType>(value.getType());
  if (!declared || int64_t(declared->size()) != type.getRank() || !value.getDefiningOp())
    return;
  ValueShape shape = analysis_.shapeOf(value);
  llvm::SmallVector<int64_t> sizes(type.getShape());
  bool changed = false;
  for (auto [i, dim] : llvm::enumerate(shape.dims)) {
    if (dim.known())
      continue;
    sizes[i] = (*declared)[i];
    dim = symbols_.constant(sizes[i]);
    changed = true;
  }
  if (!changed)
    return;
  value.setType(RankedTensorType::get(sizes, type.getElementType()));
  analysis_.set(value, std::move(shape));
}

bool Importer::hasUnknownShape(Operation *before, ArrayRef<Value> outputs) {
  Block *block = emit_.builder.getInsertionBlock();
  for (auto it = before ? std::next(before->getIterator()) : block->begin(); it != block->end(); ++it)
    for (Value result : it->getResults())
      if (!result.use_empty() || llvm::is_contained(outputs, result))
        for (SymExpr dim : analysis_.shapeOf(result).dims)
          if (!dim.known())
            return true;
  return false;
}

//===----------------------------------------------------------------------===//
// Subgraphs
//===----------------------------------------------------------------------===//

std::optional<llvm::SmallVector<Value>> Importer::importSubgraph(const GraphProto &graph, ArrayRef<Value> inputs) {
  Scope inner;
  inner.parent = scope_;
  inner.opsets = scope_->opsets;
  inner.bindings = scope_->bindings;
  inner.prefix = scope_->prefix + (graph.name().empty() ? "" : graph.name() + "/");
  inner.depth = scope_->depth + 1;
  if (inner.depth > kMaxSubgraphDepth) {
    emit_.invalid("subgraph nesting exceeds " + std::to_string(kMaxSubgraphDepth));
    return std::nullopt;
  }
  for (int i = 0; i < graph.input_size(); ++i)
    inner.values[graph.input(i).name()] = {size_t(i) < inputs.size() ? inputs[i] : Value(), false};
  auto loc = emit_.loc;
  Status status = enterGraph(graph, inner);
  emit_.loc = loc;
  emit_.clear(); // what is in it was recorded
  if (!status.ok()) {
    problems_.add(status.error(), "", "a subgraph");
    return std::nullopt;
  }
  llvm::SmallVector<Value> outputs;
  for (const auto &output : graph.output()) {
    Named *value = lookup(output.name(), inner);
    if (!value)
      problems_.add(badInput(kGraph, "subgraph output '" + replaceInvalidUtf8(output.name()) + "' is not defined").error(), "", "a subgraph");
    if (!value || value->poisoned || !value->value)
      return std::nullopt;
    outputs.push_back(value->value);
  }
  return outputs;
}

} // namespace llmopt::onnx
