//===- OnnxGraph.cpp - an ONNX file that is made smaller ------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "OnnxGraphImpl.h"

#include "GraphOrder.h"
#include "Importer.h"
#include "ModelFile.h"
#include "TensorReader.h"
#include "llmopt/dialects/LLM/ElementTypes.h"
#include "llmopt/lib/Support/Utf8.h"

#include "llvm/ADT/STLExtras.h"

#include <climits>
#include <filesystem>
#include <set>

using namespace llmopt;
using namespace llmopt::onnx;

namespace {

/// Keeps the elements for which `keep` holds, in their order.
template <typename T>
void filter(google::protobuf::RepeatedPtrField<T> &list, llvm::function_ref<bool(const T &)> keep) {
  int kept = 0;
  for (int i = 0; i < list.size(); ++i)
    if (keep(list[i]))
      list.SwapElements(kept++, i);
  list.DeleteSubrange(kept, list.size() - kept);
}

void forEachTensor(GraphProto &graph, llvm::function_ref<void(TensorProto &)> visit);

void forEachTensor(google::protobuf::RepeatedPtrField<NodeProto> &nodes, llvm::function_ref<void(TensorProto &)> visit) {
  for (NodeProto &node : nodes)
    for (AttributeProto &attribute : *node.mutable_attribute()) {
      if (attribute.has_t())
        visit(*attribute.mutable_t());
      for (TensorProto &tensor : *attribute.mutable_tensors())
        visit(tensor);
      if (attribute.has_g())
        forEachTensor(*attribute.mutable_g(), visit);
      for (GraphProto &graph : *attribute.mutable_graphs())
        forEachTensor(graph, visit);
    }
}

void forEachTensor(GraphProto &graph, llvm::function_ref<void(TensorProto &)> visit) {
  for (TensorProto &tensor : *graph.mutable_initializer())
    visit(tensor);
  forEachTensor(*graph.mutable_node(), visit);
}

/// The bytes of external data become part of the message.
Status embed(TensorProto &tensor, ExternalFiles &files) {
  if (tensor.data_location() != 1)
    return {};
  std::string context = "tensor '" + replaceInvalidUtf8(tensor.name()) + "'";
  LLMOPT_ASSIGN(StoredWeight stored, readTensor(tensor, nullptr, &files, context)); // checks the size
  int64_t elements = 1;
  for (int64_t dim : stored.shape)
    elements *= dim;
  LLMOPT_ASSIGN(StoredWeight data, files.read(tensor, packedBytes(stored.dtype, uint64_t(elements)), context));
  tensor.set_raw_data(data.bytes.data(), data.bytes.size());
  tensor.clear_data_location();
  tensor.clear_external_data();
  return {};
}

bool isConstant(const NodeProto &node) { return node.op_type() == "Constant" && normalDomain(node.domain()).empty(); }

int64_t elementsOf(const TensorProto &tensor) {
  int64_t count = 1;
  for (int64_t dim : tensor.dims())
    count *= dim;
  return count;
}

TypeProto typeOf(const TensorProto &tensor) {
  TypeProto type;
  type.mutable_tensor_type()->set_elem_type(tensor.data_type());
  auto *shape = type.mutable_tensor_type()->mutable_shape();
  for (int64_t dim : tensor.dims())
    shape->add_dim()->set_dim_value(dim);
  return type;
}

/// As the file format writes it; nothing for an element type that the format does not have.
std::optional<TypeProto> typeOf(Value value, const ValueShape &shape) {
  auto dtype = llm::dtypeOf(llvm::cast<mlir::RankedTensorType>(value.getType()).getElementType());
  TypeProto type;
  for (int32_t number = Float; dtype && number <= Int2; ++number)
    if (auto same = onnx::dtypeOf(number, ""); same && *same == *dtype)
      type.mutable_tensor_type()->set_elem_type(number);
  if (!type.has_tensor_type())
    return std::nullopt;
  auto *dims = type.mutable_tensor_type()->mutable_shape();
  for (SymExpr dim : shape.dims) {
    auto *added = dims->add_dim();
    if (auto number = dim.constant())
      added->set_dim_value(*number);
    else if (dim.known())
      added->set_dim_param(dim.str());
  }
  return type;
}

bool readsInSubgraph(const GraphProto &graph, llvm::StringRef name) {
  bool found = false;
  for (const NodeProto &node : graph.node())
    if (!llvm::is_contained(node.input(), name))
      forEachUse(node, [&](llvm::StringRef used) { found |= used == name; });
  return found;
}

} // namespace

OnnxGraph::OnnxGraph(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
OnnxGraph::OnnxGraph(const OnnxGraph &other) : impl_(std::make_unique<Impl>(*other.impl_)) {}
OnnxGraph::OnnxGraph(OnnxGraph &&other) noexcept = default;
OnnxGraph &OnnxGraph::operator=(OnnxGraph &&other) noexcept = default;
OnnxGraph::~OnnxGraph() = default;

Result<OnnxGraph> OnnxGraph::open(const std::string &path) {
  LLMOPT_ASSIGN(auto read, readModelFile(path));
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  impl->model = *read;
  impl->graph().mutable_unknown_fields()->clear(); // notes on tensors that may go
  std::string folder = std::filesystem::path(path).parent_path().string();
  ExternalFiles files(folder.empty() ? "." : folder);
  Status status;
  auto visit = [&](TensorProto &tensor) {
    if (status.ok())
      status = embed(tensor, files);
  };
  forEachTensor(impl->graph(), visit);
  for (FunctionProto &function : *impl->model.mutable_functions())
    forEachTensor(*function.mutable_node(), visit);
  LLMOPT_RETURN_IF_ERROR(status);
  LLMOPT_RETURN_IF_ERROR(impl->sortNodes());
  OnnxGraph graph(std::move(impl));
  graph.settle();
  return graph;
}

Status OnnxGraph::Impl::sortNodes() {
  llvm::StringSet<> given;
  for (const ValueInfoProto &input : graph().input())
    given.insert(input.name());
  for (const TensorProto &tensor : graph().initializer())
    given.insert(tensor.name());
  for (const SparseTensorProto &tensor : graph().sparse_initializer())
    given.insert(tensor.values().name());
  std::string warning;
  LLMOPT_ASSIGN(std::vector<int> order, orderNodes(graph().node(), given, [](llvm::StringRef) { return false; }, path, warning));
  google::protobuf::RepeatedPtrField<NodeProto> sorted;
  for (int index : order)
    sorted.Add()->Swap(graph().mutable_node(index));
  graph().mutable_node()->Swap(&sorted);
  // Of constants under one name the last holds.
  llvm::StringMap<int> last;
  for (int i = 0; i < graph().node_size(); ++i)
    for (const std::string &name : graph().node(i).output())
      last[name] = i;
  int index = 0;
  filter<NodeProto>(*graph().mutable_node(), [&](const NodeProto &node) {
    bool holds = !isConstant(node) || node.output_size() != 1 || last.lookup(node.output(0)) == index;
    ++index;
    return holds;
  });
  return {};
}

//===----------------------------------------------------------------------===//
// Types, and what is dead
//===----------------------------------------------------------------------===//

void OnnxGraph::Impl::inferTypes() {
  known.clear();
  for (const auto *list : {&graph().value_info(), &graph().input(), &graph().output()})
    for (const ValueInfoProto &info : *list)
      if (info.type().tensor_type().has_shape())
        types[info.name()] = info.type();
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<llm::LLMDialect, mlir::func::FuncDialect>();
  OnnxOptions options;
  std::shared_ptr<const ModelProto> borrowed(std::shared_ptr<void>(), &model);
  Importer importer(context, borrowed, path, options);
  Result<ImportedModel> imported = importer.run();
  importable = imported.ok();
  importer.visitValues([&](llvm::StringRef name, Value value, const ValueShape &shape) {
    auto type = typeOf(value, shape);
    if (!type)
      return;
    // Elements of less than a byte are bytes to the importer.
    if (auto declared = types.find(name); declared != types.end())
      type->mutable_tensor_type()->set_elem_type(declared->second.tensor_type().elem_type());
    types[name] = *type;
    bool isVector = type->tensor_type().elem_type() == Int64 && shape.dims.size() <= 1 && shape.elements;
    if (isVector && llvm::all_of(*shape.elements, [](SymExpr element) { return element.constant().has_value(); }))
      for (SymExpr element : *shape.elements)
        known[name].push_back(*element.constant());
  });
  for (const TensorProto &tensor : graph().initializer())
    types[tensor.name()] = typeOf(tensor);
}

void OnnxGraph::Impl::dropDead() {
  llvm::StringSet<> read, made;
  for (const ValueInfoProto &output : graph().output())
    read.insert(output.name());
  std::vector<bool> lives(size_t(graph().node_size()));
  for (int i = graph().node_size(); i-- > 0;) {
    const NodeProto &node = graph().node(i);
    if (!llvm::any_of(node.output(), [&](const std::string &name) { return read.contains(name); }))
      continue;
    lives[size_t(i)] = true;
    forEachUse(node, [&](llvm::StringRef name) { read.insert(name); });
    made.insert_range(node.output());
  }
  size_t index = 0;
  filter<NodeProto>(*graph().mutable_node(), [&](const NodeProto &) { return lives[index++]; });
  filter<TensorProto>(*graph().mutable_initializer(), [&](const TensorProto &tensor) { return read.contains(tensor.name()); });
  filter<SparseTensorProto>(*graph().mutable_sparse_initializer(), [&](const SparseTensorProto &t) { return read.contains(t.values().name()); });
  filter<ValueInfoProto>(*graph().mutable_input(), [&](const ValueInfoProto &input) { return read.contains(input.name()); });
  filter<ValueInfoProto>(*graph().mutable_value_info(), [&](const ValueInfoProto &info) { return made.contains(info.name()); });
}

static void collectCalls(const google::protobuf::RepeatedPtrField<NodeProto> &nodes, std::set<std::pair<std::string, std::string>> &calls) {
  for (const NodeProto &node : nodes) {
    calls.insert({node.domain(), node.op_type()});
    for (const AttributeProto &attribute : node.attribute()) {
      if (attribute.has_g())
        collectCalls(attribute.g().node(), calls);
      for (const GraphProto &graph : attribute.graphs())
        collectCalls(graph.node(), calls);
    }
  }
}

void OnnxGraph::Impl::dropFunctions() {
  std::set<std::pair<std::string, std::string>> calls;
  collectCalls(graph().node(), calls);
  for (size_t before = 0; before != calls.size();) {
    before = calls.size();
    for (const FunctionProto &function : model.functions())
      if (calls.contains({function.domain(), function.name()}))
        collectCalls(function.node(), calls);
  }
  filter<FunctionProto>(*model.mutable_functions(), [&](const FunctionProto &f) { return calls.contains({f.domain(), f.name()}); });
}

void OnnxGraph::Impl::declareOutputs() {
  for (ValueInfoProto &output : *graph().mutable_output())
    if (auto type = types.find(output.name()); type != types.end())
      *output.mutable_type() = type->second;
}

bool OnnxGraph::settle() {
  bool before = impl_->importable;
  impl_->dropDead();
  impl_->dropFunctions();
  impl_->inferTypes();
  impl_->declareOutputs();
  return impl_->importable || !before;
}

//===----------------------------------------------------------------------===//
// Looking
//===----------------------------------------------------------------------===//

size_t OnnxGraph::nodes() const { return size_t(impl_->graph().node_size()); }
size_t OnnxGraph::outputs() const { return size_t(impl_->graph().output_size()); }
size_t OnnxGraph::inputsOf(size_t node) const { return size_t(impl_->graph().node(int(node)).input_size()); }

std::vector<std::string> OnnxGraph::weights() const {
  std::vector<const TensorProto *> tensors;
  for (const TensorProto &tensor : impl_->graph().initializer())
    tensors.push_back(&tensor);
  llvm::sort(tensors, [](const TensorProto *a, const TensorProto *b) {
    return std::pair(elementsOf(*b), a->name()) < std::pair(elementsOf(*a), b->name());
  });
  std::vector<std::string> names;
  for (const TensorProto *tensor : tensors)
    names.push_back(tensor->name());
  return names;
}

std::vector<std::string> OnnxGraph::dimensions() const {
  std::set<std::string> names;
  for (const ValueInfoProto &input : impl_->graph().input())
    for (const auto &dim : input.type().tensor_type().shape().dim())
      if (!dim.dim_param().empty())
        names.insert(dim.dim_param());
  return {names.begin(), names.end()};
}

std::vector<int64_t> OnnxGraph::sizes() const {
  std::set<int64_t, std::greater<>> sizes;
  for (const ValueInfoProto &input : impl_->graph().input())
    for (const auto &dim : input.type().tensor_type().shape().dim())
      if (dim.dim_value() > 1)
        sizes.insert(dim.dim_value());
  for (const TensorProto &tensor : impl_->graph().initializer())
    for (int64_t dim : tensor.dims())
      if (dim > 1)
        sizes.insert(dim);
  return {sizes.begin(), sizes.end()};
}

//===----------------------------------------------------------------------===//
// Changing
//===----------------------------------------------------------------------===//

bool OnnxGraph::keepOutput(size_t output) {
  auto &outputs = *impl_->graph().mutable_output();
  if (outputs.size() < 2)
    return false;
  outputs.SwapElements(0, int(output));
  outputs.DeleteSubrange(1, outputs.size() - 1);
  return true;
}

/// A value of unknown type is not returned itself (a graph declares the types of its outputs) but its shape is.
void OnnxGraph::Impl::addOutput(const std::string &name) {
  if (auto type = types.find(name); type != types.end()) {
    ValueInfoProto *output = graph().add_output();
    output->set_name(name);
    *output->mutable_type() = type->second;
    return;
  }
  NodeProto *shape = graph().add_node();
  shape->set_op_type("Shape");
  shape->add_input(name);
  shape->add_output(name + "_shape");
  ValueInfoProto *output = graph().add_output();
  output->set_name(name + "_shape");
  output->mutable_type()->mutable_tensor_type()->set_elem_type(Int64);
  output->mutable_type()->mutable_tensor_type()->mutable_shape()->add_dim()->set_dim_param(name + "_rank");
}

bool OnnxGraph::returnNode(size_t index) {
  const NodeProto node = impl_->graph().node(int(index)); // a copy: nodes may be added
  if (isConstant(node) || (node.op_type() == "Shape" && node.output(0) == node.input(0) + "_shape"))
    return false;
  llvm::StringSet<> read, before;
  for (const ValueInfoProto &output : impl_->graph().output())
    before.insert(output.name());
  read = before;
  for (const NodeProto &other : impl_->graph().node())
    forEachUse(other, [&](llvm::StringRef name) { read.insert(name); });
  impl_->graph().clear_output();
  bool changed = false;
  for (const std::string &name : node.output())
    if (!name.empty() && read.contains(name)) {
      impl_->addOutput(name);
      changed |= !before.contains(name) && !before.contains(name + "_shape");
    }
  return outputs() > 0 && (changed || outputs() < before.size());
}

bool OnnxGraph::Impl::addInput(const std::string &name) {
  if (auto elements = known.find(name); elements != known.end()) {
    const TypeProto &type = types[name];
    TensorProto *tensor = graph().add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(Int64);
    for (const auto &dim : type.tensor_type().shape().dim())
      tensor->add_dims(dim.dim_value());
    for (int64_t element : elements->second)
      tensor->add_int64_data(element);
    return true;
  }
  auto type = types.find(name);
  if (type == types.end())
    return false;
  ValueInfoProto *input = graph().add_input();
  input->set_name(name);
  *input->mutable_type() = type->second;
  return true;
}

bool OnnxGraph::cut(size_t begin, size_t end) {
  GraphProto &graph = impl_->graph();
  llvm::StringSet<> outside;
  for (const ValueInfoProto &output : graph.output())
    outside.insert(output.name());
  auto isCut = [&](int i) { return size_t(i) >= begin && size_t(i) < end && !isConstant(graph.node(i)); };
  for (int i = 0; i < graph.node_size(); ++i)
    if (!isCut(i))
      forEachUse(graph.node(i), [&](llvm::StringRef name) { outside.insert(name); });
  for (const ValueInfoProto &output : graph.output())
    for (int i = int(begin); i < int(end); ++i)
      if (isCut(i) && llvm::is_contained(graph.node(i).output(), output.name()))
        return false; // nothing would be left of it
  bool changed = false;
  for (int i = int(begin); i < int(end); ++i)
    for (const std::string &name : graph.node(i).output())
      if (isCut(i) && !name.empty() && outside.contains(name)) {
        if (!impl_->addInput(name))
          return false;
        changed = true;
      }
  size_t index = 0;
  std::vector<bool> goes;
  for (int i = 0; i < graph.node_size(); ++i)
    goes.push_back(isCut(i));
  filter<NodeProto>(*graph.mutable_node(), [&](const NodeProto &) { return !goes[index++]; });
  return changed;
}

bool OnnxGraph::bypass(size_t index, size_t operand) {
  GraphProto &graph = impl_->graph();
  const NodeProto &node = graph.node(int(index));
  const std::string to = node.input(int(operand));
  if (to.empty() || node.output_size() != 1 || isConstant(node))
    return false;
  const std::string from = node.output(0);
  auto before = impl_->types.find(to), after = impl_->types.find(from);
  if (before == impl_->types.end() || after == impl_->types.end() || before->second.SerializeAsString() != after->second.SerializeAsString())
    return false;
  bool isMade = llvm::any_of(graph.node(), [&](const NodeProto &other) { return llvm::is_contained(other.output(), to); });
  bool isReturned = llvm::any_of(graph.output(), [&](const ValueInfoProto &output) { return output.name() == to; });
  for (ValueInfoProto &output : *graph.mutable_output())
    if (output.name() == from) {
      if (!isMade || isReturned)
        return false;
      output.set_name(to);
    }
  if (readsInSubgraph(graph, from))
    return false;
  for (NodeProto &other : *graph.mutable_node())
    for (std::string &name : *other.mutable_input())
      if (name == from)
        name = to;
  return true;
}

bool OnnxGraph::makeInput(const std::string &weight) {
  GraphProto &graph = impl_->graph();
  filter<TensorProto>(*graph.mutable_initializer(), [&](const TensorProto &tensor) { return tensor.name() != weight; });
  filter<ValueInfoProto>(*graph.mutable_input(), [&](const ValueInfoProto &input) { return input.name() != weight; }); // IR version 3 lists both
  impl_->known.erase(weight);
  return impl_->addInput(weight);
}

bool OnnxGraph::fixDimension(const std::string &name, int64_t size) {
  bool changed = false;
  for (ValueInfoProto &input : *impl_->graph().mutable_input())
    for (auto &dim : *input.mutable_type()->mutable_tensor_type()->mutable_shape()->mutable_dim())
      if (dim.dim_param() == name) {
        dim.set_dim_value(size);
        changed = true;
      }
  impl_->types.clear();
  impl_->graph().clear_value_info();
  return changed;
}

bool OnnxGraph::shrink(int64_t from, int64_t to, bool attributes) {
  // What is declared no longer holds, and only the importer can tell what does.
  if (!impl_->importable || !shrinkSizes(impl_->graph(), {from, to}, attributes))
    return false;
  impl_->types.clear();
  impl_->graph().clear_value_info();
  for (ValueInfoProto &output : *impl_->graph().mutable_output())
    output.mutable_type()->mutable_tensor_type()->clear_shape();
  return true;
}

Result<std::string> OnnxGraph::bytes() const {
  if (impl_->model.ByteSizeLong() > INT_MAX)
    return limitExceeded("E0103", "what is left has more than the 2 GiB of an ONNX file without external data", impl_->path);
  return impl_->model.SerializeAsString();
}
