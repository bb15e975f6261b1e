//===- Elementwise.cpp - one element from the elements at its place -------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Frame.h"

#include "llvm/ADT/StringMap.h"

#include <cmath>

using namespace llmopt;
using namespace llmopt::interpreter;
using namespace llmopt::llm;

//===----------------------------------------------------------------------===//
// Broadcasting
//===----------------------------------------------------------------------===//

std::optional<Shape> interpreter::broadcastShape(const Shape &a, const Shape &b) {
  if (a.size() < b.size())
    return broadcastShape(b, a);
  Shape result = a;
  for (size_t i = 0, offset = a.size() - b.size(); i < b.size(); ++i) {
    if (result[offset + i] == 1)
      result[offset + i] = b[i];
    else if (b[i] != 1 && b[i] != result[offset + i])
      return std::nullopt;
  }
  return result;
}

Shape interpreter::broadcastStrides(const Shape &operand, size_t rank) {
  Shape strides = stridesOf(operand);
  strides.insert(strides.begin(), rank - operand.size(), 0);
  return strides;
}

/// out[i] = fn(a[i], b[i]) over the broadcast shape; In and Out are the storage types.
template <typename In, typename Out, typename Fn>
static Result<Array> zip(mlir::Operation *op, const Array &a, const Array &b, DType dtype, Fn fn) {
  std::optional<Shape> shape = broadcastShape(a.shape, b.shape);
  if (!shape)
    return shapeError(op, a.typeName() + " and " + b.typeName() + " do not broadcast");
  Result<Array> result = makeArray(dtype, *shape);
  if (!result)
    return result;
  const In *x = a.data<In>().data(), *y = b.data<In>().data();
  Out *out = result->data<Out>().data();
  if (a.shape == b.shape) {
    for (int64_t i = 0, n = result->size(); i < n; ++i)
      out[i] = fn(x[i], y[i]);
    return result;
  }
  forEachOffset<2>(*shape, {broadcastStrides(a.shape, shape->size()), broadcastStrides(b.shape, shape->size())}, {},
                   [&](int64_t at, const std::array<int64_t, 2> &from) { out[at] = fn(x[from[0]], y[from[1]]); });
  return result;
}

template <typename T, typename Fn>
static Result<Array> map(const Array &a, Fn fn) {
  Array result{a.dtype, a.shape, {}, {}};
  result.data<T>().reserve(size_t(a.size()));
  for (T value : a.data<T>())
    result.data<T>().push_back(fn(value));
  return result;
}

//===----------------------------------------------------------------------===//
// Tables
//===----------------------------------------------------------------------===//

using FloatUnary = double (*)(double);
using IntUnary = int64_t (*)(int64_t);
using FloatBinary = double (*)(double, double);
using IntBinary = int64_t (*)(int64_t, int64_t);

static int64_t wrapAdd(int64_t a, int64_t b) { return int64_t(uint64_t(a) + uint64_t(b)); }
static int64_t wrapSub(int64_t a, int64_t b) { return int64_t(uint64_t(a) - uint64_t(b)); }
static int64_t wrapMul(int64_t a, int64_t b) { return int64_t(uint64_t(a) * uint64_t(b)); }

static double pythonMod(double a, double b) {
  double rest = std::fmod(a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

static const llvm::StringMap<FloatUnary> &floatUnaries() {
  static const llvm::StringMap<FloatUnary> table = {
      {"llm.neg", [](double x) { return -x; }},
      {"llm.abs", [](double x) { return std::abs(x); }},
      {"llm.sign", [](double x) { return x > 0 ? 1.0 : x < 0 ? -1.0 : x == 0 ? 0.0 : x; }},
      {"llm.exp", [](double x) { return std::exp(x); }},
      {"llm.log", [](double x) { return std::log(x); }},
      {"llm.sqrt", [](double x) { return std::sqrt(x); }},
      {"llm.rsqrt", [](double x) { return 1 / std::sqrt(x); }},
      {"llm.reciprocal", [](double x) { return 1 / x; }},
      {"llm.sin", [](double x) { return std::sin(x); }},
      {"llm.cos", [](double x) { return std::cos(x); }},
      {"llm.tan", [](double x) { return std::tan(x); }},
      {"llm.asin", [](double x) { return std::asin(x); }},
      {"llm.acos", [](double x) { return std::acos(x); }},
      {"llm.atan", [](double x) { return std::atan(x); }},
      {"llm.sinh", [](double x) { return std::sinh(x); }},
      {"llm.cosh", [](double x) { return std::cosh(x); }},
      {"llm.asinh", [](double x) { return std::asinh(x); }},
      {"llm.acosh", [](double x) { return std::acosh(x); }},
      {"llm.atanh", [](double x) { return std::atanh(x); }},
      {"llm.tanh", [](double x) { return std::tanh(x); }},
      {"llm.erf", [](double x) { return std::erf(x); }},
      {"llm.floor", [](double x) { return std::floor(x); }},
      {"llm.ceil", [](double x) { return std::ceil(x); }},
      {"llm.round", [](double x) { return std::nearbyint(x); }},
      {"llm.sigmoid", [](double x) { return 1 / (1 + std::exp(-x)); }},
      {"llm.relu", [](double x) { return x < 0 ? 0.0 : x; }},
      {"llm.silu", [](double x) { return x / (1 + std::exp(-x)); }},
      {"llm.softplus", [](double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }},
  };
  return table;
}

static const llvm::StringMap<IntUnary> &intUnaries() {
  static const llvm::StringMap<IntUnary> table = {
      {"llm.neg", [](int64_t x) { return wrapSub(0, x); }},
      {"llm.abs", [](int64_t x) { return x < 0 ? wrapSub(0, x) : x; }},
      {"llm.sign", [](int64_t x) { return int64_t(x > 0) - int64_t(x < 0); }},
      {"llm.relu", [](int64_t x) { return x < 0 ? int64_t(0) : x; }},
      {"llm.not", [](int64_t x) { return ~x; }},
  };
  return table;
}

static const llvm::StringMap<FloatBinary> &floatBinaries() {
  static const llvm::StringMap<FloatBinary> table = {
      {"llm.add", [](double x, double y) { return x + y; }},
      {"llm.sub", [](double x, double y) { return x - y; }},
      {"llm.mul", [](double x, double y) { return x * y; }},
      {"llm.div", [](double x, double y) { return x / y; }},
      {"llm.min", [](double x, double y) { return std::isnan(x) || x < y ? x : y; }},
      {"llm.max", [](double x, double y) { return std::isnan(x) || x > y ? x : y; }},
      {"llm.mod", pythonMod},
  };
  return table;
}

/// Divisors are never 0 here; -1 is kept from overflowing.
static const llvm::StringMap<IntBinary> &intBinaries() {
  static const llvm::StringMap<IntBinary> table = {
      {"llm.add", wrapAdd},
      {"llm.sub", wrapSub},
      {"llm.mul", wrapMul},
      {"llm.div", [](int64_t x, int64_t y) { return y == -1 ? wrapSub(0, x) : x / y; }},
      {"llm.mod",
       [](int64_t x, int64_t y) {
         int64_t rest = y == -1 ? 0 : x % y;
         return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
       }},
      {"llm.min", [](int64_t x, int64_t y) { return std::min(x, y); }},
      {"llm.max", [](int64_t x, int64_t y) { return std::max(x, y); }},
      {"llm.and", [](int64_t x, int64_t y) { return x & y; }},
      {"llm.or", [](int64_t x, int64_t y) { return x | y; }},
      {"llm.xor", [](int64_t x, int64_t y) { return x ^ y; }},
  };
  return table;
}

/// Where the sign bit of 64-bit numbers is an ordinary bit.
static const llvm::StringMap<IntBinary> &unsignedBinaries() {
  static const llvm::StringMap<IntBinary> table = {
      {"llm.div", [](int64_t x, int64_t y) { return int64_t(uint64_t(x) / uint64_t(y)); }},
      {"llm.mod", [](int64_t x, int64_t y) { return int64_t(uint64_t(x) % uint64_t(y)); }},
      {"llm.min", [](int64_t x, int64_t y) { return int64_t(std::min(uint64_t(x), uint64_t(y))); }},
      {"llm.max", [](int64_t x, int64_t y) { return int64_t(std::max(uint64_t(x), uint64_t(y))); }},
  };
  return table;
}

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

static Result<Array> unary(mlir::Operation *op, const Array &x) {
  llvm::StringRef name = op->getName().getStringRef();
  if (x.isFloat())
    if (FloatUnary fn = floatUnaries().lookup(name))
      return map<double>(x, fn);
  if (x.dtype == DType::U64 && !mlir::isa<NegOp, NotOp>(op)) // never below zero
    return mlir::isa<SignOp>(op) ? map<int64_t>(x, [](int64_t v) { return int64_t(v != 0); }) : Result<Array>(x);
  if (IntUnary fn = x.isFloat() ? nullptr : intUnaries().lookup(name))
    return map<int64_t>(x, fn);
  return unsupported("E0703", describe(op) + " is not defined on " + x.typeName());
}

static Result<Array> gelu(GeluOp op, const Array &x) {
  if (op.getTanh())
    return map<double>(x, [](double v) { return 0.5 * v * (1 + std::tanh(0.7978845608028654 * (v + 0.044715 * v * v * v))); });
  return map<double>(x, [](double v) { return 0.5 * v * std::erfc(-v * 0.7071067811865476); });
}

static Result<Array> test(mlir::Operation *op, const Array &x) {
  Array result{DType::Bool, x.shape, {}, {}};
  bool nan = mlir::isa<IsNanOp>(op);
  for (double value : x.floats)
    result.ints.push_back(nan ? std::isnan(value) : std::isinf(value));
  return result;
}

static Result<Array> castTo(DType dtype, const Array &x) {
  Array result{dtype, x.shape, {}, {}};
  for (int64_t i = 0, n = x.size(); i < n; ++i) {
    if (result.isFloat())
      result.floats.push_back(x.asDouble(i));
    else if (x.isFloat())
      result.ints.push_back(toInteger(dtype, x.floats[size_t(i)]));
    else
      result.ints.push_back(dtype == DType::Bool ? x.ints[size_t(i)] != 0 : x.ints[size_t(i)]);
  }
  return result;
}

/// Narrow floats saturate here; those that shall overflow do so when the result is rounded to its type.
static Result<Array> castOp(CastOp op, const Array &x) {
  Result<Array> result = castTo(dtypeOf(op.getResult()), x);
  const NarrowFloat *narrow = narrowFloat(result->dtype);
  if (narrow && !op.getOverflow())
    for (double &value : result->floats)
      value = double(narrow->decode(narrow->encode(float(value), /*saturate=*/true)));
  return result;
}

static Result<Array> bitcast(BitcastOp op, const Array &x) {
  return fromBytes(dtypeOf(op.getResult()), x.shape, toTensor(x).data());
}

static int64_t integerPower(int64_t base, int64_t exponent) {
  if (exponent < 0)
    return toInteger(DType::I64, std::pow(double(base), double(exponent)));
  int64_t result = 1;
  for (; exponent; exponent >>= 1, base = wrapMul(base, base))
    if (exponent & 1)
      result = wrapMul(result, base);
  return result;
}

static Result<Array> power(mlir::Operation *op, const Array &x, const Array &y) {
  if (!x.isFloat() && !y.isFloat())
    return zip<int64_t, int64_t>(op, x, y, x.dtype, integerPower);
  Result<Array> base = castTo(DType::F64, x), exponent = castTo(DType::F64, y);
  Result<Array> result = zip<double, double>(op, *base, *exponent, DType::F64, [](double a, double b) { return std::pow(a, b); });
  return result && !x.isFloat() ? castTo(x.dtype, *result) : std::move(result);
}

static Result<Array> shift(mlir::Operation *op, const Array &x, const Array &y) {
  int64_t width = dtypeBits(x.dtype);
  bool left = mlir::isa<ShlOp>(op);
  return zip<int64_t, int64_t>(op, x, y, x.dtype, [&](int64_t a, int64_t b) -> int64_t {
    if (b < 0 || b >= width)
      return 0;
    uint64_t bits = width == 64 ? uint64_t(a) : uint64_t(a) & ((uint64_t(1) << width) - 1);
    return int64_t(left ? bits << b : bits >> b);
  });
}

static Result<Array> binary(mlir::Operation *op, const Array &x, const Array &y) {
  llvm::StringRef name = op->getName().getStringRef();
  auto mod = mlir::dyn_cast<ModOp>(op);
  if (x.isFloat() != y.isFloat())
    return shapeError(op, "operands " + x.typeName() + " and " + y.typeName() + " are of different kinds");
  if (x.isFloat()) {
    FloatBinary fn = mod && mod.getTrunc() ? [](double a, double b) { return std::fmod(a, b); } : floatBinaries().lookup(name);
    return fn ? zip<double, double>(op, x, y, x.dtype, fn)
              : Result<Array>(unsupported("E0703", describe(op) + " is not defined on " + x.typeName()));
  }
  if (mlir::isa<DivOp, ModOp>(op) && llvm::is_contained(y.ints, 0))
    return badInput("E0705", "integer division by zero", describe(op));
  IntBinary fn = x.dtype == DType::U64 ? unsignedBinaries().lookup(name) : nullptr;
  if (!fn)
    fn = mod && mod.getTrunc() ? [](int64_t a, int64_t b) { return b == -1 ? 0 : a % b; } : intBinaries().lookup(name);
  return zip<int64_t, int64_t>(op, x, y, x.dtype, fn);
}

template <typename Stored, typename Compared>
static Result<Array> compareAs(CompareOp op, const Array &x, const Array &y) {
  auto with = [&](auto relation) {
    return zip<Stored, int64_t>(op, x, y, DType::Bool,
                                [=](Stored a, Stored b) -> int64_t { return relation(Compared(a), Compared(b)); });
  };
  switch (op.getPredicate()) {
  case ComparePredicate::eq:
    return with(std::equal_to<>());
  case ComparePredicate::ne:
    return with(std::not_equal_to<>());
  case ComparePredicate::lt:
    return with(std::less<>());
  case ComparePredicate::le:
    return with(std::less_equal<>());
  case ComparePredicate::gt:
    return with(std::greater<>());
  case ComparePredicate::ge:
    return with(std::greater_equal<>());
  }
  return unsupported("E0703", "unknown comparison", describe(op));
}

static Result<Array> compare(CompareOp op, const Array &x, const Array &y) {
  if (x.isFloat() != y.isFloat())
    return shapeError(op, "operands " + x.typeName() + " and " + y.typeName() + " are of different kinds");
  if (x.isFloat())
    return compareAs<double, double>(op, x, y);
  return x.dtype == DType::U64 ? compareAs<int64_t, uint64_t>(op, x, y) : compareAs<int64_t, int64_t>(op, x, y);
}

static Result<Array> select(SelectOp op, const Array &condition, const Array &x, const Array &y) {
  std::optional<Shape> shape = broadcastShape(x.shape, y.shape);
  shape = shape ? broadcastShape(*shape, condition.shape) : shape;
  if (!shape || x.isFloat() != y.isFloat())
    return shapeError(op, condition.typeName() + ", " + x.typeName() + " and " + y.typeName() + " do not broadcast");
  Result<Array> result = makeArray(x.dtype, *shape);
  if (!result)
    return result;
  size_t rank = shape->size();
  withStorage(x, [&](auto zero) {
    using T = decltype(zero);
    const T *yes = x.data<T>().data(), *no = y.data<T>().data();
    T *out = result->template data<T>().data();
    forEachOffset<3>(*shape,
                     {broadcastStrides(condition.shape, rank), broadcastStrides(x.shape, rank), broadcastStrides(y.shape, rank)}, {},
                     [&](int64_t at, const std::array<int64_t, 3> &from) {
                       out[at] = condition.ints[size_t(from[0])] ? yes[from[1]] : no[from[2]];
                     });
  });
  return result;
}

std::optional<Status> interpreter::runElementwise(mlir::Operation *op, Frame &frame) {
  if (!op->hasTrait<llm::Elementwise>())
    return std::nullopt;
  auto x = [&](unsigned i) -> const Array & { return frame.in(op->getOperand(i)); };
  Result<Array> result =
      llvm::TypeSwitch<mlir::Operation *, Result<Array>>(op)
          .Case([&](GeluOp gelu) { return ::gelu(gelu, x(0)); })
          .Case<IsNanOp, IsInfOp>([&](auto) { return test(op, x(0)); })
          .Case([&](CastOp cast) { return castOp(cast, x(0)); })
          .Case([&](BitcastOp bitcast) { return ::bitcast(bitcast, x(0)); })
          .Case([&](PowOp) { return power(op, x(0), x(1)); })
          .Case<ShlOp, ShrOp>([&](auto) { return shift(op, x(0), x(1)); })
          .Case([&](CompareOp compare) { return ::compare(compare, x(0), x(1)); })
          .Case([&](SelectOp select) { return ::select(select, x(0), x(1), x(2)); })
          .Default([&](mlir::Operation *) { return op->getNumOperands() == 1 ? unary(op, x(0)) : binary(op, x(0), x(1)); });
  return frame.out(op->getResult(0), std::move(result));
}
