//===- Node.h - one ONNX node as its importer sees it -----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An operator is imported by one function `Status importX(Node &node)` and one line in Operators.def. The function reads
// attributes and inputs here, builds with `node.emit`, and sets the outputs. Attribute readers and the emitter keep the
// first problem themselves; the function returns a status only for its own checks. See docs/HowToAddAnOnnxOperator.md.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_ONNX_NODE_H
#define LLMOPT_FRONTENDS_ONNX_NODE_H

#include "Emitter.h"
#include "ModelFile.h"

#include "llvm/ADT/StringMap.h"

namespace llmopt::onnx {

class AttributeProto;
class NodeProto;
class TensorProto;
class Importer;
enum class AttributeType : int32_t;

class Node {
public:
  Node(Importer &importer, Emitter &emit, const NodeProto &proto, int64_t opset, llvm::SmallVector<Value> inputs,
       llvm::StringMap<const AttributeProto *> attributes)
      : emit(emit), importer(importer), proto_(proto), opset_(opset), inputs_(std::move(inputs)),
        attributes_(std::move(attributes)) {}

  Emitter &emit;
  Importer &importer;

  const NodeProto &proto() const { return proto_; }
  llvm::StringRef opType() const;
  /// Version of the operator set of the node's domain.
  int64_t opset() const { return opset_; }

  // Inputs. An optional input that is absent is null.
  size_t inputCount() const { return inputs_.size(); }
  Value input(size_t i) const { return i < inputs_.size() ? inputs_[i] : Value(); }
  ArrayRef<Value> inputs() const { return inputs_; }
  /// Makes inputs [0, count) required.
  bool requireInputs(size_t count);
  /// Before opset 7 the second operand of arithmetic lay along the first one's dimensions from attribute `axis` on: that operand in
  /// the shape that broadcasts as today.
  Value legacyOperand(Value second, Value first);
  /// Elements of an integer input that must be known now ("axes").
  std::optional<llvm::SmallVector<int64_t>> constantInput(size_t i, llvm::StringRef what);

  // Outputs.
  size_t outputCount() const;
  bool wants(size_t i) const;
  void set(size_t i, Value value);
  ArrayRef<Value> outputs() const { return outputs_; }
  /// The static shape that the file declares for output i, if it does.
  std::optional<llvm::SmallVector<int64_t>> declaredShape(size_t i) const;

  // Attributes. A wrong type is invalid, a missing one gives the default.
  bool has(llvm::StringRef name) const { return attributes_.contains(name); }
  int64_t integer(llvm::StringRef name, int64_t byDefault);
  bool flag(llvm::StringRef name, bool byDefault = false) { return integer(name, byDefault) != 0; }
  double number(llvm::StringRef name, double byDefault);
  std::string text(llvm::StringRef name, llvm::StringRef byDefault);
  std::optional<llvm::SmallVector<int64_t>> integers(llvm::StringRef name);
  std::optional<llvm::SmallVector<double>> numbers(llvm::StringRef name);
  const AttributeProto *attribute(llvm::StringRef name) const { return attributes_.lookup(name); }
  const llvm::StringMap<const AttributeProto *> &attributes() const { return attributes_; }
  /// An integer that must be there and lie in [low, high].
  int64_t requiredInteger(llvm::StringRef name, int64_t low, int64_t high);
  /// Element type named by an attribute (`to`, `dtype`), or the default.
  Type elementTypeAttribute(llvm::StringRef name, Type byDefault);

private:
  const AttributeProto *typed(llvm::StringRef name, AttributeType wanted);

  const NodeProto &proto_;
  int64_t opset_;
  llvm::SmallVector<Value> inputs_;
  llvm::SmallVector<Value> outputs_;
  llvm::StringMap<const AttributeProto *> attributes_;
};

using Handler = Status (*)(Node &);

} // namespace llmopt::onnx

#endif // LLMOPT_FRONTENDS_ONNX_NODE_H
