//===- Importer.h - from an ONNX model to the llm dialect -------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The graph becomes one flat function: local functions are inlined, branches and loops that are decided when compiling are
// unrolled. A node that cannot be imported leaves values that exist but cannot be used ("poisoned"); its users are passed
// over in silence, so that one run finds every independent problem.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_ONNX_IMPORTER_H
#define LLMOPT_FRONTENDS_ONNX_IMPORTER_H

#include "Emitter.h"
#include "GraphOrder.h"
#include "Node.h"
#include "Problems.h"
#include "TensorReader.h"
#include "llmopt/frontends/Onnx.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace llmopt::onnx {

using AttributeMap = llvm::StringMap<const AttributeProto *>;
using OpsetMap = std::map<std::string, int64_t>;

class Importer {
public:
  Importer(mlir::MLIRContext &context, std::shared_ptr<const ModelProto> model, const std::string &path, const OnnxOptions &options);

  Result<ImportedModel> run();
  /// After run(), even one that failed, and while its result lives: the values of the graph that were made.
  void visitValues(llvm::function_ref<void(llvm::StringRef name, Value value, const ValueShape &shape)> visit);

  // For operators that hold graphs, and for those that look at declarations.

  /// Imports a subgraph of the node at hand with `inputs` for its inputs. Nothing: a problem was recorded.
  std::optional<llvm::SmallVector<Value>> importSubgraph(const GraphProto &graph, ArrayRef<Value> inputs);
  std::optional<llvm::SmallVector<int64_t>> declaredStaticShape(const std::string &name) const;
  /// The tensor as a constant or a weight.
  Result<Value> materialize(const TensorProto &tensor, const std::string &context);

private:
  struct Named {
    Value value;           ///< null: an optional input that is absent
    bool poisoned = false; ///< could not be made; told elsewhere
  };
  struct Scope {
    Scope *parent = nullptr; ///< of subgraphs; functions see nothing from outside
    const OpsetMap *opsets = nullptr;
    const AttributeMap *bindings = nullptr; ///< attributes of the function call
    std::string prefix;                     ///< of node names
    int depth = 0;
    llvm::StringMap<Named> values;
    llvm::StringMap<const TensorProto *> pending; ///< initializers nobody has used yet
    llvm::StringMap<const TypeProto *> declared;
  };
  using FunctionKey = std::tuple<std::string, std::string, std::string>; ///< domain, name, overload

  // Model.cpp
  Status readOpsets(const google::protobuf::RepeatedPtrField<OperatorSetIdProto> &imports, OpsetMap &opsets, const std::string &context);
  Status importInputs(mlir::func::FuncOp function, Scope &scope);
  void importOutputs(mlir::func::FuncOp function, Scope &scope);
  Json describeModel() const;
  void collectDimNames();
  Result<mlir::Attribute> dimAttribute(const TensorShapeProto::Dimension &dim, const std::string &fallback);
  std::string dimText(const std::string &name);

  // Functions.cpp
  Status indexFunctions();
  const FunctionProto *findFunction(const NodeProto &node) const;
  Status measureFunction(const FunctionProto &function, std::vector<const FunctionProto *> &callers);
  Status measureNodes(const NodeList &nodes, int64_t &total, std::vector<const FunctionProto *> *callers);
  Status tooManyNodes() const;
  Status callFunction(const FunctionProto &function, const NodeProto &call, ArrayRef<Value> inputs, AttributeMap attributes,
                      int index, Scope &scope);

  // Importer.cpp
  Status enterGraph(const GraphProto &graph, Scope &scope);
  static void declareOperands(const NodeList &nodes, Scope &scope);
  Status importNodes(const NodeList &nodes, const llvm::StringSet<> &given, Scope &scope);
  Status importNode(const NodeProto &proto, int index, Scope &scope);
  Status runHandler(Handler handler, Node &node, const std::string &name);
  AttributeMap resolveAttributes(const NodeProto &proto, const Scope &scope);
  Named *lookup(llvm::StringRef name, Scope &scope);
  bool isVisible(llvm::StringRef name, const Scope &scope) const;
  int64_t opsetOf(const std::string &domain, const Scope &scope);
  void bindOutputs(const NodeProto &proto, ArrayRef<Value> values, bool poisoned, Scope &scope);
  void refineOutput(Value value, const std::string &name);
  bool hasUnknownShape(mlir::Operation *before, ArrayRef<Value> outputs);

  mlir::MLIRContext &context_;
  std::shared_ptr<const ModelProto> model_;
  const std::string path_;
  const std::string file_; ///< the path's last part, for locations
  const OnnxOptions &options_;
  SymContext symbols_;
  ShapeAnalysis analysis_;
  Emitter emit_;
  ExternalFiles external_;
  Problems problems_;
  ImportedModel result_;

  std::map<FunctionKey, const FunctionProto *> functions_;
  std::map<const FunctionProto *, OpsetMap> functionOpsets_;
  std::map<const FunctionProto *, int64_t> functionSizes_; ///< nodes after inlining
  OpsetMap modelOpsets_;
  llvm::StringSet<> dimNames_;     ///< dimension names that stand alone somewhere among the inputs
  llvm::StringSet<> fixedDimsSeen_;
  Scope root_;             ///< of the graph itself
  Scope *scope_ = nullptr; ///< of the node at hand
  int64_t importedNodes_ = 0;
  bool warnedMissingImport_ = false;
};

/// The handler for an operator at a version of its domain, or null and the reason.
Handler findHandler(llvm::StringRef domain, llvm::StringRef op, int64_t opset, std::string &reason);

} // namespace llmopt::onnx

#endif // LLMOPT_FRONTENDS_ONNX_IMPORTER_H
