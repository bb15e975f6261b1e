//===- LoopsRandomTest.cpp - random graphs against the interpreter --------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Chains of shape, indexing, elementwise and reducing operations in one kernel, with some dimensions known only when it runs.
// LLMOPT_RANDOM_CASES and LLMOPT_RANDOM_SEED make it longer, or one case again.
//
//===----------------------------------------------------------------------===//
#include "LoopsKernel.h"

#include <cstdio>
#include <cstdlib>

using namespace llmopt;
using namespace llmopt::test;

namespace {

struct Dim {
  int64_t size;
  bool symbolic = false;
};

struct Named {
  std::string name;
  std::vector<Dim> dims;
};

std::string typeOf(const std::vector<Dim> &dims, const std::string &element = "f32") {
  std::string text = "tensor<";
  for (const Dim &dim : dims)
    text += (dim.symbolic ? "?" : std::to_string(dim.size)) + "x";
  return text + element + ">";
}

std::string list(const std::vector<int64_t> &values) {
  std::string text;
  for (size_t i = 0; i < values.size(); ++i)
    text += (i ? ", " : "") + std::to_string(values[i]);
  return "[" + text + "]";
}

class Generator {
public:
  explicit Generator(unsigned seed) : random(seed) {}

  KernelText text;
  std::vector<Tensor> inputs;
  Symbols symbols;

  void run() {
    values.push_back(operand());
    int ops = pick(2, 8);
    for (int i = 0; i < ops; ++i)
      step();
    for (size_t i = 0; i < (pick(0, 3) == 0 ? 2u : 1u); ++i) {
      const Named &value = i == 0 ? values.back() : values[size_t(pick(0, int(values.size()) - 1))];
      // A result must not be an argument, nor appear under two names.
      text.results.push_back(typeOf(value.dims));
      line("%r" + std::to_string(i) + " = llm.relu " + value.name + " : " + typeOf(value.dims));
    }
  }

private:
  std::mt19937 random;
  std::vector<Named> values;
  int names = 0;

  int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); }
  void line(const std::string &code) { text.body += "    " + code + "\n"; }
  std::string fresh() { return "%v" + std::to_string(names++); }

  Named operand(std::vector<Dim> wanted = {}) {
    if (wanted.empty())
      for (int i = pick(1, 4); i > 0; --i) {
        constexpr int64_t sizes[] = {1, 2, 3, 4, 8, 16, 17, 32, 40};
        wanted.push_back({sizes[pick(0, 8)], pick(0, 2) == 0});
      }
    Operand op{"f32", {}};
    std::vector<int64_t> shape;
    for (Dim &dim : wanted) {
      shape.push_back(dim.size);
      op.dims.push_back(dim.symbolic ? "s" + std::to_string(dim.size) : std::to_string(dim.size));
      if (dim.symbolic)
        symbols["s" + std::to_string(dim.size)] = dim.size;
    }
    inputs.push_back(randomTensor(DType::F32, shape, -1, 1, unsigned(pick(1, 1000000))));
    text.operands.push_back(op);
    return {"%" + std::to_string(text.operands.size() - 1), wanted};
  }

  std::string constant(const std::vector<int64_t> &values) {
    std::string name = fresh();
    line(name + " = llm.constant dense<" + list(values) + "> : tensor<" + std::to_string(values.size()) + "xi64>");
    return name;
  }

  void step() {
    Named x = values[size_t(std::max<int>(0, int(values.size()) - 1 - (pick(0, 3) == 0 ? pick(0, 3) : 0)))];
    std::string from = typeOf(x.dims), name = fresh();
    int64_t elements = 1;
    for (const Dim &dim : x.dims)
      elements *= dim.size;
    size_t rank = x.dims.size(), axis = rank ? size_t(pick(0, int(rank) - 1)) : 0;
    std::vector<Dim> dims = x.dims;
    auto emit = [&](const std::string &code, const std::vector<Dim> &result) {
      line(name + " = " + code);
      values.push_back({name, result});
    };
    switch (rank ? pick(0, 13) : 0) {
    case 0: {
      const char *ops[] = {"neg", "abs", "tanh", "sigmoid", "cos"};
      return emit(std::string("llm.") + ops[pick(0, 4)] + " " + x.name + " : " + from, dims);
    }
    case 1: { // with a smaller operand
      for (Dim &dim : dims)
        if (pick(0, 2) == 0)
          dim = {1};
      dims.erase(dims.begin(), dims.begin() + pick(0, int(rank) - 1));
      Named y = operand(dims);
      const char *ops[] = {"add", "sub", "mul", "max"};
      return emit(std::string("llm.") + ops[pick(0, 3)] + " " + x.name + ", " + y.name + " : " + from + ", " + typeOf(y.dims) + " -> " + from, x.dims);
    }
    case 2: { // with itself, made otherwise
      std::string other = fresh();
      line(other + " = llm.sin " + x.name + " : " + from);
      return emit("llm.add " + x.name + ", " + other + " : " + from + ", " + from + " -> " + from, dims);
    }
    case 3: {
      std::vector<int64_t> permutation(rank);
      for (size_t i = 0; i < rank; ++i)
        permutation[i] = int64_t(i);
      std::shuffle(permutation.begin(), permutation.end(), random);
      for (size_t i = 0; i < rank; ++i)
        dims[i] = x.dims[size_t(permutation[i])];
      return emit("llm.transpose " + x.name + " permutation = " + list(permutation) + " : " + from + " -> " + typeOf(dims), dims);
    }
    case 4: { // split one dimension, or join two
      std::vector<int64_t> shape(rank, 0);
      if (axis + 1 < rank && pick(0, 1)) {
        dims[axis] = {dims[axis].size * dims[axis + 1].size, dims[axis].symbolic || dims[axis + 1].symbolic};
        dims.erase(dims.begin() + int64_t(axis) + 1);
        shape.pop_back();
        for (size_t i = 0; i < dims.size(); ++i)
          shape[i] = i == axis ? -1 : dims[i].symbolic ? 0 : dims[i].size;
        for (size_t i = axis + 1; i < dims.size(); ++i)
          if (dims[i].symbolic)
            return; // 0 would copy the wrong dimension
      } else {
        if (dims[axis].symbolic || dims[axis].size % 2)
          return;
        dims[axis].size /= 2;
        dims.insert(dims.begin() + int64_t(axis) + 1, Dim{2});
        shape.clear();
        for (size_t i = 0; i < dims.size(); ++i) {
          if (dims[i].symbolic && i > axis)
            return;
          shape.push_back(dims[i].symbolic ? 0 : dims[i].size);
        }
      }
      std::string sizes = constant(shape);
      return emit("llm.reshape " + x.name + ", " + sizes + " : " + from + ", tensor<" + std::to_string(shape.size()) + "xi64> -> " + typeOf(dims), dims);
    }
    case 5: {
      if (dims[axis].symbolic || dims[axis].size < 2)
        return;
      bool back = pick(0, 3) == 0;
      int64_t size = dims[axis].size, start = pick(0, int(size) - 1), stop = pick(int(start) + 1, int(size)), step = pick(1, 3);
      dims[axis].size = (stop - start + step - 1) / step;
      std::string begin = constant({back ? stop - 1 : pick(0, 1) ? start - size : start}), end = constant({back ? start - 1 - size : stop});
      return emit("llm.slice " + x.name + ", " + begin + ", " + end + " axes = " + list({int64_t(axis)}) + " steps = " + list({back ? -step : step}) + " : " + from +
                      ", tensor<1xi64>, tensor<1xi64> -> " + typeOf(dims), dims);
    }
    case 6: {
      std::vector<Dim> other = dims;
      other[axis] = {pick(0, 3) == 0 ? 16 : pick(1, 20), pick(0, 2) == 0};
      Named y = operand(other);
      dims[axis] = {dims[axis].size + other[axis].size, dims[axis].symbolic || other[axis].symbolic};
      if (dims[axis].size > 60)
        return;
      return emit("llm.concat " + x.name + ", " + y.name + " {axis = " + std::to_string(axis) + "} : " + from + ", " + typeOf(other) + " -> " + typeOf(dims), dims);
    }
    case 7: {
      bool keep = pick(0, 1);
      const char *kinds[] = {"sum", "mean", "max", "min"};
      if (keep)
        dims[axis] = {1};
      else
        dims.erase(dims.begin() + int64_t(axis));
      return emit(std::string("llm.reduce ") + kinds[pick(0, 3)] + " " + x.name + " axes = " + list({int64_t(axis)}) + (keep ? " {keepdims}" : "") + " : " + from + " -> " + typeOf(dims), dims);
    }
    case 8: {
      dims.insert(dims.begin() + int64_t(axis), Dim{1});
      return rank > 4 ? void() : emit("llm.expand_dims " + x.name + " axes = " + list({int64_t(axis)}) + " : " + from + " -> " + typeOf(dims), dims);
    }
    case 9: {
      int64_t size = dims[axis].size;
      std::vector<int64_t> indices;
      for (int i = pick(1, 9); i > 0; --i)
        indices.push_back(pick(-int(size), int(size) - 1));
      std::string chosen = constant(indices);
      dims[axis] = {int64_t(indices.size())};
      return emit("llm.gather " + x.name + ", " + chosen + " {axis = " + std::to_string(axis) + "} : " + from + ", tensor<" + std::to_string(indices.size()) + "xi64> -> " + typeOf(dims), dims);
    }
    case 10: {
      std::vector<int64_t> pads(2 * rank, 0);
      pads[axis] = pick(0, 3);
      pads[axis + rank] = pick(0, 3);
      dims[axis].size += pads[axis] + pads[axis + rank];
      std::string counts = constant(pads), fill = fresh();
      line(fill + " = llm.constant dense<0.5> : tensor<f32>");
      const char *modes[] = {"constant", "edge"};
      return emit(std::string("llm.pad ") + modes[pick(0, 1)] + " " + x.name + ", " + counts + ", " + fill + " : " + from + ", tensor<" + std::to_string(2 * rank) + "xi64>, tensor<f32> -> " + typeOf(dims), dims);
    }
    case 11: {
      if (elements > 2000)
        return;
      std::vector<int64_t> repeats(rank, 1);
      repeats[axis] = 2;
      dims[axis].size *= 2;
      std::string counts = constant(repeats);
      return emit("llm.tile " + x.name + ", " + counts + " : " + from + ", tensor<" + std::to_string(rank) + "xi64> -> " + typeOf(dims), dims);
    }
    case 12: {
      std::string mask = fresh(), zero = fresh(), flags = typeOf(dims, "i1");
      line(zero + " = llm.constant dense<0.1> : tensor<f32>");
      line(mask + " = llm.compare gt " + x.name + ", " + zero + " : " + from + ", tensor<f32> -> " + flags);
      return emit("llm.select " + mask + ", " + x.name + ", " + zero + " : " + flags + ", " + from + ", tensor<f32> -> " + from, dims);
    }
    case 13: { // taking off the mean of the last dimension
      std::vector<Dim> reduced = dims;
      reduced.back() = {1};
      std::string mean = fresh();
      line(mean + " = llm.reduce mean " + x.name + " axes = " + list({int64_t(rank) - 1}) + " {keepdims} : " + from + " -> " + typeOf(reduced));
      return emit("llm.sub " + x.name + ", " + mean + " : " + from + ", " + typeOf(reduced) + " -> " + from, dims);
    }
    }
  }
};

int environment(const char *name, int otherwise) {
  const char *text = std::getenv(name);
  return text ? std::atoi(text) : otherwise;
}

} // namespace

TEST(LoopsRandom, Graphs) {
  int first = environment("LLMOPT_RANDOM_SEED", 1), cases = environment("LLMOPT_RANDOM_CASES", 60);
  for (int seed = first; seed < first + cases; ++seed) {
    SCOPED_TRACE("LLMOPT_RANDOM_SEED=" + std::to_string(seed));
    Generator generator{unsigned(seed)};
    generator.run();
    if (std::getenv("LLMOPT_RANDOM_SEED"))
      std::fputs(generator.text.str().c_str(), stderr); // the graph also if the kernel crashes
    checkAgainstInterpreter(generator.text, generator.inputs, generator.symbols, 2e-4, 2e-4);
    if (HasFatalFailure())
      return;
  }
}
