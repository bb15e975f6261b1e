//===- Einsum.cpp - Einstein summation ----------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//
// Two operands at a time: labels are sorted into batch (in both and still needed), contracted (in both, needed no more)
// and free; transposes and reshapes turn the pair into one batched matrix product.
//
//===----------------------------------------------------------------------===//
#include "Node.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"

#include <set>

using namespace mlir;

namespace llmopt::onnx {
namespace {

bool isLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/// A tensor and one label a dimension. Dimensions of an ellipsis have the labels '0', '1', ..
struct Term {
  Value value;
  std::string labels;
};

class Einsum {
public:
  explicit Einsum(Node &node) : node_(node), e_(node.emit) {}

  Status run() {
    LLMOPT_RETURN_IF_ERROR(parse());
    Term result = terms_[0];
    for (size_t i = 0; i < terms_.size() && !e_.failed(); ++i) {
      if (i > 0)
        result = contract(result, terms_[i], i);
      result = sumAway(result, neededAfter(i));
    }
    node_.set(0, permute(result, output_).value);
    return {};
  }

private:
  Status parse() {
    std::string equation = node_.text("equation", "");
    llvm::erase(equation, ' ');
    auto [left, right] = llvm::StringRef(equation).split("->");
    bool explicitOutput = equation.find("->") != std::string::npos;
    llvm::SmallVector<llvm::StringRef> parts;
    left.split(parts, ',');
    if (parts.size() != node_.inputCount() || !node_.requireInputs(parts.size()))
      return badInput(kNode, "equation '" + equation + "' does not go with " + std::to_string(node_.inputCount()) + " inputs");
    for (auto [i, part] : llvm::enumerate(parts)) {
      Term term{node_.input(i), {}};
      LLMOPT_RETURN_IF_ERROR(expand(part, e_.rank(term.value), term.labels));
      terms_.push_back(diagonal(term));
    }
    if (explicitOutput) {
      size_t at = right.find("...");
      std::string text = right.str();
      if (at != llvm::StringRef::npos)
        text.replace(at, 3, ellipsis_);
      output_ = text;
    } else {
      std::set<char> once;
      std::string all;
      for (const Term &term : terms_)
        all += term.labels;
      for (char label : all)
        if (isLetter(label) && llvm::count(all, label) == 1)
          once.insert(label);
      output_ = ellipsis_ + std::string(once.begin(), once.end());
    }
    for (char label : output_)
      if (llvm::none_of(terms_, [&](const Term &term) { return term.labels.find(label) != std::string::npos; }))
        return badInput(kNode, "the output of equation '" + equation + "' has a label no input has");
    return {};
  }

  /// Of a label that is there twice, the elements where both indices are equal.
  Term diagonal(Term term) {
    for (size_t i = 0; i < term.labels.size() && !e_.failed(); ++i) {
      size_t j = term.labels.find(term.labels[i], i + 1);
      if (j == std::string::npos)
        continue;
      if (!e_.sameDim(term.value, int64_t(i), term.value, int64_t(j))) {
        e_.invalid(std::string("dimensions of label '") + term.labels[i] + "' differ in " + describeType(e_.analysis, term.value));
        break;
      }
      int64_t rank = e_.rank(term.value);
      Value column = e_.expandDims(e_.iota(term.value, int64_t(i)), llvm::to_vector(llvm::seq<int64_t>(1, rank - int64_t(i))));
      llvm::SmallVector<DimProduct> shape;
      for (int64_t d = 0; d < rank; ++d)
        d == int64_t(j) ? shape.push_back(1) : shape.push_back({term.value, d});
      Value indices = e_.broadcast(column, e_.shapeVector(shape));
      Value chosen = e_.op("llm.gather_elements", {term.value, indices}, e_.attr("axis", int64_t(j)));
      term = {e_.squeeze(chosen, int64_t(j)), term.labels.substr(0, j) + term.labels.substr(j + 1)};
      --i; // perhaps a third time
    }
    return term;
  }

  Status expand(llvm::StringRef part, int64_t rank, std::string &labels) {
    size_t at = part.find("...");
    if (at != llvm::StringRef::npos) {
      int64_t covered = rank - int64_t(part.size()) + 3;
      if (covered < 0 || covered > 9)
        return badInput(kNode, "'" + part.str() + "' does not go with rank " + std::to_string(rank));
      std::string dots;
      for (int64_t i = 0; i < covered; ++i) // aligned at the last dimension
        dots += char('9' - covered + 1 + i);
      if (dots.size() > ellipsis_.size())
        ellipsis_ = dots;
      labels = part.take_front(at).str() + dots + part.drop_front(at + 3).str();
    } else {
      labels = part.str();
    }
    if (int64_t(labels.size()) != rank)
      return badInput(kNode, "'" + part.str() + "' does not go with rank " + std::to_string(rank));
    for (char label : part)
      if (!isLetter(label) && label != '.')
        return badInput(kNode, "'" + part.str() + "' has a label that is no letter");
    return {};
  }

  std::string neededAfter(size_t i) const {
    std::string needed = output_;
    for (size_t j = i + 1; j < terms_.size(); ++j)
      needed += terms_[j].labels;
    return needed;
  }

  Term sumAway(Term term, const std::string &needed) {
    llvm::SmallVector<int64_t> axes;
    std::string kept;
    for (auto [i, label] : llvm::enumerate(term.labels))
      if (needed.find(label) == std::string::npos)
        axes.push_back(int64_t(i));
      else
        kept += label;
    if (axes.empty())
      return term;
    return {e_.reduce(llm::ReduceKind::sum, term.value, axes, false), kept};
  }

  Term permute(Term term, const std::string &labels) {
    llvm::SmallVector<int64_t> order;
    for (char label : labels)
      order.push_back(int64_t(term.labels.find(label)));
    return {e_.transpose(term.value, order), labels};
  }

  DimProduct sizeOf(const Term &term, const std::string &labels) {
    DimProduct product(1);
    for (char label : labels)
      product *= DimProduct(term.value, int64_t(term.labels.find(label)));
    return product;
  }

  Term contract(const Term &a, const Term &b, size_t index) {
    std::string needed = neededAfter(index), batch, summed, freeA, freeB;
    for (char label : a.labels) {
      bool shared = b.labels.find(label) != std::string::npos, kept = needed.find(label) != std::string::npos;
      (!shared ? freeA : kept ? batch : summed) += label;
    }
    for (char label : b.labels)
      if (a.labels.find(label) == std::string::npos)
        freeB += label;
    // Labels of size 1 broadcast; only the product of equal sizes is a matrix product.
    for (char label : batch + summed)
      if (!e_.sameDim(a.value, int64_t(a.labels.find(label)), b.value, int64_t(b.labels.find(label))))
        return multiply(a, b);
    Term left = permute(a, batch + freeA + summed), right = permute(b, batch + summed + freeB);
    llvm::SmallVector<DimProduct> leftShape, rightShape, shape;
    for (char label : batch) {
      leftShape.push_back(sizeOf(left, std::string(1, label)));
      rightShape.push_back(sizeOf(right, std::string(1, label)));
    }
    leftShape.append({sizeOf(left, freeA), sizeOf(left, summed)});
    rightShape.append({sizeOf(right, summed), sizeOf(right, freeB)});
    for (char label : batch + freeA)
      shape.push_back(sizeOf(left, std::string(1, label)));
    for (char label : freeB)
      shape.push_back(sizeOf(right, std::string(1, label)));
    Value l = freeA.size() == 1 && summed.size() == 1 ? left.value : e_.reshapeDims(left.value, leftShape);
    Value r = freeB.size() == 1 && summed.size() == 1 ? right.value : e_.reshapeDims(right.value, rightShape);
    Value product = e_.matmul(l, r);
    if (freeA.size() != 1 || freeB.size() != 1)
      product = e_.reshapeDims(product, shape);
    return {product, batch + freeA + freeB};
  }

  /// The plain way: all labels side by side, multiplied elementwise.
  Term multiply(const Term &a, const Term &b) {
    std::string labels = a.labels;
    for (char label : b.labels)
      if (labels.find(label) == std::string::npos)
        labels += label;
    auto spread = [&](const Term &term) {
      std::string present;
      llvm::SmallVector<int64_t> missing;
      for (auto [i, label] : llvm::enumerate(labels))
        if (term.labels.find(label) != std::string::npos)
          present += label;
        else
          missing.push_back(int64_t(i));
      return e_.expandDims(permute(term, present).value, missing);
    };
    return {e_.mul(spread(a), spread(b)), labels};
  }

  Node &node_;
  Emitter &e_;
  llvm::SmallVector<Term> terms_;
  std::string output_, ellipsis_;
};

} // namespace

Status importEinsum(Node &node) { return Einsum(node).run(); }

} // namespace llmopt::onnx
