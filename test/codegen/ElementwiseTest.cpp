//===- ElementwiseTest.cpp - functions over their whole range -------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "LoopsKernel.h"

#include <bit>
#include <cmath>
#include <functional>

using namespace llmopt;
using namespace llmopt::test;

namespace {

/// Distance of `actual` from the exact value, in units of the last place of f32 there (at least that of the smallest
/// normal number).
double ulps(double exact, float actual) {
  if (std::isnan(exact))
    return std::isnan(actual) ? 0 : INFINITY;
  float rounded = float(exact);
  if (rounded == actual)
    return 0;
  if (std::isinf(rounded) || std::isinf(actual) || std::isnan(actual))
    return INFINITY;
  int exponent = std::max(std::ilogb(exact == 0 ? 1e-38 : exact), -126);
  return std::abs(exact - actual) / std::ldexp(1.0, exponent - 23);
}

struct Function {
  const char *op;
  std::function<double(double)> exact;
  double mostUlps;
  double largest = INFINITY; ///< arguments beyond are not checked
  double absolute = 0;       ///< errors below do not count
};

double phi(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }
double geluTanh(double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }

const std::vector<Function> kFunctions = {
    {"exp", [](double x) { return std::exp(x); }, 2},
    {"log", [](double x) { return std::log(x); }, 2},
    {"sqrt", [](double x) { return std::sqrt(x); }, 0.5},
    {"rsqrt", [](double x) { return 1 / std::sqrt(x); }, 1.5},
    {"reciprocal", [](double x) { return 1 / x; }, 0.5},
    {"sin", [](double x) { return std::sin(x); }, 2, 1e5},
    {"cos", [](double x) { return std::cos(x); }, 2, 1e5},
    {"tan", [](double x) { return std::tan(x); }, 4, 1e5},
    {"asin", [](double x) { return std::asin(x); }, 3},
    {"acos", [](double x) { return std::acos(x); }, 3},
    {"atan", [](double x) { return std::atan(x); }, 3},
    {"sinh", [](double x) { return std::sinh(x); }, 3},
    {"cosh", [](double x) { return std::cosh(x); }, 3},
    {"asinh", [](double x) { return std::asinh(x); }, 4},
    {"acosh", [](double x) { return std::acosh(x); }, 4},
    {"atanh", [](double x) { return std::atanh(x); }, 4},
    {"tanh", [](double x) { return std::tanh(x); }, 3},
    {"erf", [](double x) { return std::erf(x); }, 3},
    {"floor", [](double x) { return std::floor(x); }, 0},
    {"ceil", [](double x) { return std::ceil(x); }, 0},
    {"round", [](double x) { return std::nearbyint(x); }, 0},
    {"sigmoid", [](double x) { return 1 / (1 + std::exp(-x)); }, 4, INFINITY, 1e-37},
    {"silu", [](double x) { return x / (1 + std::exp(-x)); }, 4, INFINITY, 1e-35},
    {"softplus", [](double x) { return x > 700 ? x : std::log1p(std::exp(x)); }, 4},
    {"gelu", [](double x) { return x < -1e30 ? -0.0 : x * phi(x); }, 4, INFINITY, 1e-6},
    {"gelu tanh", geluTanh, 4, INFINITY, 1e-6},
};

/// Every 4093rd bit pattern, and the numbers in which functions have their corners.
std::vector<float> arguments() {
  std::vector<float> values;
  for (uint64_t bits = 0; bits <= 0xffffffffu; bits += 4093)
    values.push_back(std::bit_cast<float>(uint32_t(bits)));
  for (float x : {0.0f, 0.5f, 1.0f, 0.41421354f, 2.4142137f, 0.625f, 0.92773438f, 88.7f, 89.0f, 103.9f, 1.1754944e-38f, 3.4028235e38f, 0.70710678f, INFINITY, 1.5f, 2.5f, 8388607.5f})
    for (float y : {x, -x, std::nextafter(x, 0.0f), std::nextafter(x, INFINITY)})
      values.push_back(y);
  values.push_back(NAN);
  for (int i = -2000; i <= 2000; ++i)
    values.push_back(float(i) * 0.01f);
  return values;
}

std::string unaryBody(const std::string &op, const std::string &type) {
  if (op == "gelu tanh")
    return "%r0 = llm.gelu %0 {tanh} : " + type;
  return "%r0 = llm." + op + " %0 : " + type;
}

} // namespace

TEST(Elementwise, FunctionsOfF32) {
  std::vector<float> xs = arguments();
  for (const TargetPair &pair : runnableTargets())
    for (const Function &function : kFunctions) {
      SCOPED_TRACE(pair.name() + " " + function.op);
      KernelText text{.operands = {{"f32", {"n"}}}, .results = {"tensor<?xf32>"}, .body = unaryBody(function.op, "tensor<?xf32>")};
      auto kernel = CompiledKernel::make(text.str(), cpu::lowerLoops, pair.target, pair.strategy);
      std::vector<float> ys(xs.size());
      kernel->run({xs.data(), ys.data()}, {{"n", int64_t(xs.size())}}, 1);
      double worst = 0;
      float at = 0, got = 0;
      for (size_t i = 0; i < xs.size(); ++i) {
        if (std::abs(xs[i]) > function.largest)
          continue;
        double exact = function.exact(xs[i]), error = ulps(exact, ys[i]);
        if (std::abs(exact - double(ys[i])) <= function.absolute)
          continue;
        if (error > worst) {
          worst = error;
          at = xs[i];
          got = ys[i];
        }
      }
      EXPECT_LE(worst, function.mostUlps) << "at " << at << " (" << std::bit_cast<uint32_t>(at) << "): " << got << " instead of " << function.exact(at);
      RecordProperty(std::string(function.op) + " " + pair.name(), std::to_string(worst));
    }
}

TEST(Elementwise, FunctionsOfF64UseTheTable) {
  for (const Function &function : kFunctions) {
    KernelText text{.operands = {{"f64", {"n"}}}, .results = {"tensor<?xf64>"}, .body = unaryBody(function.op, "tensor<?xf64>")};
    checkAgainstInterpreter(text, {randomTensor(DType::F64, {37}, 1.1, 3, 5)}, {{"n", 37}}, 1e-13, 1e-14);
  }
}

TEST(Elementwise, FunctionsOfHalfTypes) {
  for (const char *type : {"bf16", "f16"})
    for (const Function &function : kFunctions) {
      std::string t = std::string("tensor<?x") + type + ">";
      KernelText text{.operands = {{type, {"n"}}}, .results = {t}, .body = unaryBody(function.op, t)};
      checkAgainstInterpreter(text, {randomTensor(*parseDType(type), {37}, -3, 3, 5)}, {{"n", 37}}, *type == 'b' ? 8e-3 : 1e-3, 1e-6);
    }
}

TEST(Elementwise, Power) {
  std::vector<float> bases = {0.0f, -0.0f, 1.0f, -1.0f, 2.0f, -2.0f, 0.5f, -0.5f, 3.7f, -3.0f, 1e-30f, 1e30f, 1e-40f, INFINITY, -INFINITY, NAN, 1.0000001f, 0.99999f};
  std::vector<float> exponents = {0.0f, -0.0f, 1.0f, -1.0f, 2.0f, 3.0f, 0.5f, -0.5f, 2.5f, -3.0f, 31.0f, 127.0f, -127.0f, 1e10f, -1e10f, 16777217.0f, INFINITY, -INFINITY, NAN};
  std::mt19937 random(3);
  for (int i = 0; i < 400; ++i)
    bases.push_back(std::exp(std::uniform_real_distribution<float>(-20, 20)(random)));
  for (int i = 0; i < 40; ++i)
    exponents.push_back(std::uniform_real_distribution<float>(-4, 4)(random));
  std::vector<float> xs, ys;
  for (float x : bases)
    for (float y : exponents) {
      xs.push_back(x);
      ys.push_back(y);
    }
  KernelText text{.operands = {{"f32", {"n"}}, {"f32", {"n"}}}, .results = {"tensor<?xf32>"}, .body = "%r0 = llm.pow %0, %1 : tensor<?xf32>, tensor<?xf32> -> tensor<?xf32>"};
  for (const TargetPair &pair : runnableTargets()) {
    auto kernel = CompiledKernel::make(text.str(), cpu::lowerLoops, pair.target, pair.strategy);
    std::vector<float> results(xs.size());
    kernel->run({xs.data(), ys.data(), results.data()}, {{"n", int64_t(xs.size())}}, 1);
    for (size_t i = 0; i < xs.size(); ++i)
      ASSERT_LE(ulps(std::pow(double(xs[i]), double(ys[i])), results[i]), 1.0)
          << pair.name() << ": " << xs[i] << " ^ " << ys[i] << " = " << results[i] << " instead of " << std::pow(xs[i], ys[i]);
  }
}

//===----------------------------------------------------------------------===//
// Integers and conversions
//===----------------------------------------------------------------------===//

TEST(Elementwise, IntegerOperations) {
  for (const char *type : {"i8", "i16", "i32", "i64", "ui8", "ui16", "ui32", "ui64"})
    for (std::string op : {"add", "sub", "mul", "div", "min", "max", "and", "or", "xor", "mod", "shl", "shr", "pow"}) {
      bool isUnsigned = type[0] == 'u';
      std::string t = std::string("tensor<?x") + type + ">";
      DType dtype = *parseDType(isUnsigned ? type + 1 : type);
      if (isUnsigned)
        dtype = *parseDType(std::string("u") + (type + 2));
      KernelText text{.operands = {{type, {"n"}}, {type, {"n"}}}, .results = {t}, .body = "%r0 = llm." + op + " %0, %1 : " + t + ", " + t + " -> " + t};
      bool small = op == "shl" || op == "shr" || op == "pow";
      Tensor y = randomTensor(dtype, {69}, small ? 0 : isUnsigned ? 1 : -100, small ? 7 : 100, 8);
      for (int64_t i = 0; i < y.elements(); ++i)
        if (!small && y.at(i) == 0)
          setElement(y, i, 3);
      checkAgainstInterpreter(text, {randomTensor(dtype, {69}, isUnsigned ? 0 : -120, 120, 7), y}, {{"n", 69}}, 0, 0);
    }
}

TEST(Elementwise, IntegerDivisionNeverTraps) {
  KernelText text{.operands = {{"i32", {"4"}}, {"i32", {"4"}}}, .results = {"tensor<4xi32>", "tensor<4xi32>"}, .body = R"(
    %r0 = llm.div %0, %1 : tensor<4xi32>, tensor<4xi32> -> tensor<4xi32>
    %r1 = llm.mod %0, %1 : tensor<4xi32>, tensor<4xi32> -> tensor<4xi32>)"};
  auto kernel = CompiledKernel::make(text.str(), cpu::lowerLoops, runnableTargets()[0].target, runnableTargets()[0].strategy);
  std::vector<int32_t> x = {7, -7, INT32_MIN, 5}, y = {0, 0, -1, -1}, quotient(4), remainder(4);
  kernel->run({x.data(), y.data(), quotient.data(), remainder.data()}, {}, 1);
  EXPECT_EQ(quotient, (std::vector<int32_t>{0, 0, INT32_MIN, -5}));
  EXPECT_EQ(remainder, (std::vector<int32_t>{0, 0, 0, 0}));
}

TEST(Elementwise, RemaindersOfFloats) {
  for (std::string trunc : {"", " {trunc}"}) {
    KernelText text{.operands = {{"f32", {"n"}}, {"f32", {"n"}}}, .results = {"tensor<?xf32>"}, .body =
      "%r0 = llm.mod %0, %1" + trunc + " : tensor<?xf32>, tensor<?xf32> -> tensor<?xf32>"};
    checkAgainstInterpreter(text, {randomTensor(DType::F32, {50}, -1000, 1000, 1), randomTensor(DType::F32, {50}, -3, 3, 2)}, {{"n", 50}}, 1e-6, 1e-6);
  }
}

TEST(Elementwise, Casts) {
  const std::vector<std::string> types = {"f32", "f64", "f16", "bf16", "i1", "i8", "i16", "i32", "i64", "ui8", "ui16", "ui32", "ui64"};
  auto dtypeOf = [](const std::string &type) { return type == "i1" ? DType::Bool : *parseDType(type[0] == 'u' ? "u" + type.substr(2) : type); };
  for (const std::string &from : types)
    for (const std::string &to : types) {
      if (from == to)
        continue;
      KernelText text{.operands = {{from, {"n"}}}, .results = {"tensor<?x" + to + ">"}, .body =
        "%r0 = llm.cast %0 : tensor<?x" + from + "> -> tensor<?x" + to + ">"};
      bool negative = from[0] != 'u' && to[0] != 'u' && from != "i1";
      checkAgainstInterpreter(text, {randomTensor(dtypeOf(from), {45}, negative ? -100 : 0, 100, 4)}, {{"n", 45}}, 0, 0);
    }
}

TEST(Elementwise, CastsOfNarrowTypes) {
  auto cast = [](const std::string &from, const std::string &to, const std::string &attribute, Tensor input) {
    KernelText text{.operands = {{from, {"n"}}}, .results = {"tensor<?x" + to + ">"}, .body =
      "%r0 = llm.cast %0" + attribute + " : tensor<?x" + from + "> -> tensor<?x" + to + ">"};
    int64_t size = input.elements();
    checkAgainstInterpreter(text, {std::move(input)}, {{"n", size}}, 0, 0);
  };
  const std::pair<const char *, DType> floats[] = {{"f8E4M3FN", DType::F8E4M3FN}, {"f8E4M3FNUZ", DType::F8E4M3FNUZ}, {"f8E5M2", DType::F8E5M2},
                                                   {"f8E5M2FNUZ", DType::F8E5M2FNUZ}, {"f8E8M0FNU", DType::F8E8M0}, {"f6E2M3FN", DType::F6E2M3},
                                                   {"f6E3M2FN", DType::F6E3M2}, {"f4E2M1FN", DType::F4E2M1}};
  for (auto [name, dtype] : floats) {
    Tensor codes(dtype, {int64_t(1) << dtypeBits(dtype)}), near(DType::F32, {3 * codes.elements()});
    for (int64_t i = 0; i < codes.elements(); ++i) { // each number, and what lies around the middle between it and its neighbour
      codes.as<uint8_t>()[i] = uint8_t(i);
      float x = float(codes.at(i)), next = i + 1 < codes.elements() ? narrowFloat(dtype)->decode(uint8_t(i + 1)) : x;
      near.as<float>()[3 * i] = std::isnan(x) ? 1e30f : x;
      near.as<float>()[3 * i + 1] = std::isnan(x + next) ? -1e30f : (x + next) / 2;
      near.as<float>()[3 * i + 2] = std::isnan(x + next) ? INFINITY : std::nextafter((x + next) / 2, 0.0f);
    }
    cast(name, "f32", "", codes);
    cast("f32", name, "", near);
    cast("f32", name, " {overflow}", near);
  }
  for (std::string type : {"i4", "ui4", "i2", "ui2"}) {
    cast("i32", type, "", randomTensor(DType::I32, {45}, -100, 100, 4));
    DType dtype = *parseDType(type[0] == 'u' ? "u" + type.substr(2) : type);
    cast(type, "f32", "", randomTensor(dtype, {45}, type[0] == 'u' ? 0 : -2, type.back() == '4' ? 8 : 2, 4));
  }
}

TEST(Elementwise, Bitcasts) {
  for (auto [from, to] : {std::pair("f32", "i32"), {"i32", "f32"}, {"bf16", "i16"}, {"i16", "bf16"}, {"f16", "ui16"}, {"i64", "f64"}}) {
    KernelText text{.operands = {{from, {"n"}}}, .results = {std::string("tensor<?x") + to + ">"}, .body =
      std::string("%r0 = llm.bitcast %0 : tensor<?x") + from + "> -> tensor<?x" + to + ">"};
    checkAgainstInterpreter(text, {randomTensor(*parseDType(from), {45}, -100, 100, 4)}, {{"n", 45}}, 0, 0);
  }
}

TEST(Elementwise, RoundingToBf16) { // halves to even, NaN stays NaN, overflow to infinity
  KernelText text{.operands = {{"f32", {"6"}}}, .results = {"tensor<6xbf16>"}, .body = "%r0 = llm.cast %0 : tensor<6xf32> -> tensor<6xbf16>"};
  auto pair = runnableTargets().back();
  auto kernel = CompiledKernel::make(text.str(), cpu::lowerLoops, pair.target, pair.strategy);
  std::vector<float> x = {1.00390625f, 1.01171875f, NAN, 3.4e38f, -INFINITY, -1.0f};
  std::vector<uint16_t> y(6);
  kernel->run({x.data(), y.data()}, {}, 1);
  for (size_t i = 0; i < x.size(); ++i)
    EXPECT_EQ(std::isnan(x[i]) ? true : y[i] == floatToBf16(x[i]), std::isnan(x[i]) ? std::isnan(bf16ToFloat(y[i])) : true) << x[i];
}

TEST(Elementwise, ExtremaAndComparisonsWithNan) {
  std::vector<double> x = {1, NAN, 2, NAN, -INFINITY}, y = {NAN, 1, 1, NAN, INFINITY};
  for (std::string op : {"min", "max"}) {
    KernelText text{.operands = {{"f32", {"5"}}, {"f32", {"5"}}}, .results = {"tensor<5xf32>"}, .body =
      "%r0 = llm." + op + " %0, %1 : tensor<5xf32>, tensor<5xf32> -> tensor<5xf32>"};
    checkAgainstInterpreter(text, {tensorOf(DType::F32, {5}, x), tensorOf(DType::F32, {5}, y)}, {}, 0, 0);
  }
  for (std::string predicate : {"eq", "ne", "lt", "le", "gt", "ge"}) {
    KernelText text{.operands = {{"f32", {"5"}}, {"f32", {"5"}}}, .results = {"tensor<5xi1>"}, .body =
      "%r0 = llm.compare " + predicate + " %0, %1 : tensor<5xf32>, tensor<5xf32> -> tensor<5xi1>"};
    checkAgainstInterpreter(text, {tensorOf(DType::F32, {5}, x), tensorOf(DType::F32, {5}, y)}, {}, 0, 0);
  }
}
