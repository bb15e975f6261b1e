//===- RandomGraph.cpp - graphs nobody wrote ---------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Values are kept near one (weights are scaled by their depth, squashing functions come often), and nothing jumps where rounding may
// fall on either side: comparisons look at integers and inputs only.
//
//===----------------------------------------------------------------------===//
#include "lib/Workbench/RandomGraph.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

using namespace llmopt;

namespace {

struct Dim {
  int64_t size = 0;
  std::string symbol; ///< empty: known when compiling
  bool operator==(const Dim &) const = default;
  bool fixed() const { return symbol.empty(); }
};

struct Value {
  std::string name;
  std::vector<Dim> dims;
  size_t rank() const { return dims.size(); }
};

std::string typeOf(const std::vector<Dim> &dims, const std::string &element = "f32") {
  std::string text = "tensor<";
  for (const Dim &dim : dims)
    text += (dim.fixed() ? std::to_string(dim.size) : "?") + "x";
  return text + element + ">";
}
std::string typeOf(const Value &value) { return typeOf(value.dims); }

std::string list(const std::vector<int64_t> &values) {
  std::string text;
  for (int64_t value : values)
    text += (text.empty() ? "" : ", ") + std::to_string(value);
  return "[" + text + "]";
}

class Generator {
public:
  explicit Generator(std::span<const uint8_t> decisions) : decisions_(decisions) {}

  std::string run() {
    int inputs = 1 + pick(2);
    for (int i = 0; i < inputs; ++i)
      addInput();
    for (int left = 3 + pick(10); left > 0 && at_ < decisions_.size(); --left)
      step();
    return finish();
  }

private:
  /// 0 .. count - 1
  int pick(int count) { return at_ < decisions_.size() ? decisions_[at_++] % count : 0; }

  std::string emit(const std::string &code) {
    std::string name = "%v" + std::to_string(names_++);
    body_ += "  " + name + " = " + code + "\n";
    return name;
  }
  Value add(const std::string &code, std::vector<Dim> dims) {
    values_.push_back({emit(code), std::move(dims)});
    return values_.back();
  }

  void addInput() {
    static const Dim kWidths[] = {{8, ""}, {16, ""}, {24, ""}, {17, ""}, {1, ""}};
    std::vector<Dim> dims{pick(2) ? Dim{0, "batch"} : Dim{2, ""}, pick(3) ? Dim{0, "seq"} : Dim{5, ""}, kWidths[pick(5)]};
    if (pick(4) == 0)
      dims.erase(dims.begin());
    Value input{"%x" + std::to_string(arguments_.size()), dims};
    std::string names;
    for (const Dim &dim : dims)
      names += (names.empty() ? "" : ", ") + (dim.fixed() ? std::to_string(dim.size) : "\"" + dim.symbol + "\"");
    arguments_.push_back(input.name + ": " + typeOf(input) + " {llm.name = \"" + input.name.substr(1) + "\", llm.dims = [" + names + "]}");
    values_.push_back(input);
  }

  std::string scalar(double number) {
    char text[32];
    std::snprintf(text, sizeof text, "%.9e", number);
    return emit("llm.constant dense<" + std::string(text) + "> : tensor<f32>");
  }
  std::string integers(const std::vector<int64_t> &values) {
    return emit("llm.constant dense<" + list(values) + "> : tensor<" + std::to_string(values.size()) + "xi64>");
  }
  /// Random numbers that depend on how many there were before.
  std::string weight(std::vector<int64_t> shape, double scale) {
    std::minstd_rand random(unsigned(1000 + names_));
    std::normal_distribution<float> normal(0, float(scale));
    std::vector<Dim> dims;
    for (int64_t size : shape)
      dims.push_back({size, ""});
    std::string text;
    appendNumbers(text, shape, 0, [&] { return normal(random); });
    return emit("llm.constant dense<" + text + "> : " + typeOf(dims));
  }
  template <typename Fn>
  static void appendNumbers(std::string &text, const std::vector<int64_t> &shape, size_t axis, Fn &&next) {
    text += "[";
    for (int64_t i = 0; i < shape[axis]; ++i) {
      if (i)
        text += ",";
      if (axis + 1 < shape.size()) {
        appendNumbers(text, shape, axis + 1, next);
      } else {
        char number[24];
        std::snprintf(number, sizeof number, "%.5e", double(next()));
        text += number;
      }
    }
    text += "]";
  }

  Value unary(const std::string &op, const Value &x) { return add("llm." + op + " " + x.name + " : " + typeOf(x), x.dims); }
  Value binary(const std::string &op, const Value &x, const std::string &y, const std::string &yType) {
    return add("llm." + op + " " + x.name + ", " + y + " : " + typeOf(x) + ", " + yType + " -> " + typeOf(x), x.dims);
  }
  Value withScalar(const std::string &op, const Value &x, double number) { return binary(op, x, scalar(number), "tensor<f32>"); }
  Value same(const std::string &op, const Value &x, const Value &y) { return binary(op, x, y.name, typeOf(y)); }

  Value reduce(const std::string &kind, const Value &x, size_t axis, bool keep) {
    std::vector<Dim> dims = x.dims;
    if (keep)
      dims[axis] = {1, ""};
    else
      dims.erase(dims.begin() + long(axis));
    return add("llm.reduce " + kind + " " + x.name + " axes = [" + std::to_string(axis) + "]" + (keep ? " {keepdims}" : "") + " : " + typeOf(x) +
                   " -> " + typeOf(dims), dims);
  }
  Value reshape(const Value &x, std::vector<Dim> dims) {
    std::vector<int64_t> sizes;
    for (const Dim &dim : dims)
      sizes.push_back(dim.fixed() ? dim.size : 0);
    return add("llm.reshape " + x.name + ", " + integers(sizes) + " : " + typeOf(x) + ", tensor<" + std::to_string(dims.size()) + "xi64> -> " +
                   typeOf(dims), dims);
  }
  Value transpose(const Value &x, const std::vector<int64_t> &permutation) {
    std::vector<Dim> dims;
    for (int64_t axis : permutation)
      dims.push_back(x.dims[size_t(axis)]);
    return add("llm.transpose " + x.name + " permutation = " + list(permutation) + " : " + typeOf(x) + " -> " + typeOf(dims), dims);
  }
  Value matmul(const Value &x, const Value &y) {
    std::vector<Dim> dims = x.dims;
    dims.back() = y.dims.back();
    return add("llm.matmul " + x.name + ", " + y.name + " : " + typeOf(x) + ", " + typeOf(y) + " -> " + typeOf(dims), dims);
  }
  Value linear(const Value &x, int64_t outputs) {
    int64_t inputs = x.dims.back().size;
    Value matrix{weight({inputs, outputs}, 1 / std::sqrt(double(inputs))), {{inputs, ""}, {outputs, ""}}};
    Value y = matmul(x, matrix);
    return pick(2) ? binary("add", y, weight({outputs}, 0.1), typeOf({{outputs, ""}})) : y;
  }

  // Idioms, as exporters write them.
  void layerNorm(const Value &x, bool centered) {
    size_t last = x.rank() - 1;
    Value c = centered ? same("sub", x, reduce("mean", x, last, true)) : x;
    Value square = pick(2) ? same("mul", c, c) : withScalar("pow", c, 2);
    Value mean = reduce("mean", square, last, true);
    Value under = withScalar("add", mean, 1e-5);
    Value y = pick(2) ? same("div", c, unary("sqrt", under)) : same("mul", c, unary("rsqrt", under));
    if (pick(3)) {
      int64_t width = x.dims.back().size;
      y = binary("mul", y, weight({width}, 1), typeOf({{width, ""}}));
      if (pick(2))
        binary("add", y, weight({width}, 0.1), typeOf({{width, ""}}));
    }
  }
  void gelu(const Value &x) {
    Value gate;
    if (pick(2)) {
      gate = unary("erf", withScalar("div", x, pick(5) ? 1.41421354 : 1.3));
    } else {
      Value cubic = withScalar("mul", withScalar("pow", x, 3), 0.044715);
      gate = unary("tanh", withScalar("mul", same("add", x, cubic), 0.797884583));
    }
    Value open = withScalar("add", gate, 1);
    pick(2) ? withScalar("mul", same("mul", x, open), 0.5) : same("mul", withScalar("mul", x, 0.5), open);
    if (pick(6) == 0)
      unary("neg", open); // read elsewhere, too
  }
  void attention(const Value &x) {
    constexpr int64_t kHeads = 2, kSize = 8;
    std::vector<Dim> split{x.dims[0], x.dims[1], {kHeads, ""}, {kSize, ""}};
    Value q = transpose(reshape(linear(x, kHeads * kSize), split), {0, 2, 1, 3});
    Value k = transpose(reshape(linear(x, kHeads * kSize), split), {0, 2, 3, 1});
    Value v = transpose(reshape(linear(x, kHeads * kSize), split), {0, 2, 1, 3});
    Value scores = withScalar("mul", matmul(q, k), 0.35355339);
    if (pick(5) == 0)
      unary("neg", scores);
    Value p = add("llm.softmax " + scores.name + " {axis = 3 : i64} : " + typeOf(scores), scores.dims);
    Value y = transpose(matmul(p, v), {0, 2, 1, 3});
    reshape(y, {x.dims[0], x.dims[1], {kHeads * kSize, ""}});
  }

  void sliceOrConcat(const Value &x) {
    for (size_t axis = x.rank(); axis-- > 0;) {
      if (!x.dims[axis].fixed() || x.dims[axis].size < 2)
        continue;
      std::vector<Dim> dims = x.dims;
      if (pick(2)) {
        int64_t begin = pick(int(dims[axis].size)), step = 1 + pick(2), size = dims[axis].size;
        dims[axis].size = (size - begin + step - 1) / step;
        add("llm.slice " + x.name + ", " + integers({begin}) + ", " + integers({size}) + " axes = [" + std::to_string(axis) + "] steps = [" +
                std::to_string(step) + "] : " + typeOf(x) + ", tensor<1xi64>, tensor<1xi64> -> " + typeOf(dims), dims);
        return;
      }
      dims[axis].size *= 2;
      Value other = unary("neg", x);
      add("llm.concat " + x.name + ", " + other.name + " {axis = " + std::to_string(axis) + " : i64} : " + typeOf(x) + ", " + typeOf(other) + " -> " +
              typeOf(dims), dims);
      return;
    }
  }

  void views(const Value &x) {
    int64_t width = x.dims.back().fixed() ? x.dims.back().size : 0;
    if (width % 2 == 0 && width > 0 && x.rank() < 4 && pick(2)) {
      std::vector<Dim> dims = x.dims;
      dims.back() = {2, ""};
      dims.push_back({width / 2, ""});
      reshape(x, dims);
    } else if (x.rank() > 2 && x.dims[x.rank() - 2].fixed() && width) {
      std::vector<Dim> dims(x.dims.begin(), x.dims.end() - 1);
      dims.back().size *= width;
      reshape(x, dims);
    }
  }

  void permute(const Value &x) {
    std::vector<int64_t> permutation;
    for (size_t i = 0; i < x.rank(); ++i)
      permutation.push_back(int64_t(i));
    for (size_t i = x.rank(); i > 1; --i)
      std::swap(permutation[i - 1], permutation[size_t(pick(int(i)))]);
    transpose(x, permutation);
  }

  void residual(const Value &x) {
    for (size_t i = values_.size(); i-- > 0;)
      if (values_[i].name != x.name && values_[i].dims == x.dims && pick(2) == 0) {
        static const char *const kOps[] = {"add", "sub", "mul", "max"};
        Value y = same(kOps[pick(4)], x, values_[i]);
        if (pick(2))
          unary("tanh", y);
        return;
      }
    withScalar("add", x, 0.5);
  }

  /// where(input > 0, x, number): the input is the same at every level, so the test falls the same way.
  void choose(const Value &x) {
    for (const Value &input : values_) {
      if (input.name[1] != 'x' || input.dims != x.dims)
        continue;
      std::string test = emit("llm.compare gt " + input.name + ", " + scalar(0) + " : " + typeOf(input) + ", tensor<f32> -> " + typeOf(x.dims, "i1"));
      add("llm.select " + test + ", " + x.name + ", " + scalar(-0.25) + " : " + typeOf(x.dims, "i1") + ", " + typeOf(x) + ", tensor<f32> -> " + typeOf(x),
          x.dims);
      return;
    }
  }

  void step() {
    Value x = pick(3) ? values_.back() : values_[size_t(pick(int(values_.size())))];
    if (x.rank() == 0)
      return void(unary("tanh", x));
    bool wide = x.dims.back().fixed() && x.dims.back().size > 1;
    bool sequence = x.rank() == 3 && wide;
    static const char *const kUnary[] = {"tanh", "sigmoid", "gelu", "silu", "relu", "neg", "abs", "erf", "softplus"};
    static const int64_t kOutputs[] = {8, 16, 17, 24, 1};
    switch (pick(16)) {
    case 0: case 1: return void(unary(kUnary[pick(9)], x));
    case 2: return residual(x);
    case 3: case 4: return wide && x.rank() >= 2 ? void(linear(x, kOutputs[pick(5)])) : residual(x);
    case 5: return wide ? layerNorm(x, true) : void(unary("sigmoid", x));
    case 6: return wide ? layerNorm(x, false) : void(unary("tanh", x));
    case 7: return gelu(x);
    case 8: return void(same("mul", x, unary("sigmoid", x)));
    case 9: return sequence ? attention(x) : permute(x);
    case 10: return sliceOrConcat(x);
    case 11: return views(x);
    case 12: return permute(x);
    case 13: {
      static const char *const kKinds[] = {"mean", "max", "sum"};
      Value y = reduce(kKinds[pick(3)], x, size_t(pick(int(x.rank()))), pick(2));
      return y.rank() ? void(unary("tanh", y)) : void();
    }
    case 14: return choose(x);
    default: {
      int64_t axis = pick(int(x.rank()));
      return void(add("llm.softmax " + x.name + " {axis = " + std::to_string(axis) + " : i64} : " + typeOf(x), x.dims));
    }
    }
  }

  std::string finish() {
    std::vector<Value> results{values_.back()};
    if (pick(2)) // something on the way as well
      results.push_back(values_[size_t(pick(int(values_.size())))]);
    std::string names, types, annotated;
    for (size_t i = 0; i < results.size(); ++i) {
      std::string comma = i ? ", " : "";
      names += comma + results[i].name;
      types += comma + typeOf(results[i]);
      annotated += comma + typeOf(results[i]) + " {llm.name = \"y" + std::to_string(i) + "\"}";
    }
    std::string arguments;
    for (const std::string &argument : arguments_)
      arguments += (arguments.empty() ? "" : ", ") + argument;
    return "func.func @main(" + arguments + ") -> (" + annotated + ") {\n" + body_ + "  return " + names + " : " + types + "\n}\n";
  }

  std::span<const uint8_t> decisions_;
  size_t at_ = 0;
  int names_ = 0;
  std::string body_;
  std::vector<std::string> arguments_;
  std::vector<Value> values_;
};

} // namespace

std::string llmopt::randomGraph(std::span<const uint8_t> decisions) { return Generator(decisions).run(); }

std::string llmopt::randomGraph(uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint8_t> decisions(512);
  for (uint8_t &decision : decisions)
    decision = uint8_t(random() >> 32);
  return randomGraph(decisions);
}
