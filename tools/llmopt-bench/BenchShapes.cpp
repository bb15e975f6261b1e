//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Bench.h"

#include "llmopt/lib/Support/CheckedMath.h"
#include "llmopt/runtime/Session.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <functional>
#include <map>
#include <random>

using namespace llmopt;
using namespace llmopt::tools;

using Shape = std::vector<int64_t>;

static Result<Shape> parseShape(const std::string &text) {
  Shape shape;
  for (const char *at = text.data(), *end = at + text.size();;) {
    int64_t dim = 0;
    auto [next, error] = std::from_chars(at, end, dim);
    if (error != std::errc() || dim < 0 || (next != end && *next != 'x'))
      return usageError("E1601", "'" + text + "' is not a shape such as 8x128", "--shape");
    shape.push_back(dim);
    if (next == end)
      break;
    at = next + 1;
  }
  return shape;
}

/// Before memory is asked for.
static Status checkSize(const Shape &shape, const std::string &name) {
  constexpr int64_t kMostElements = int64_t(1) << 32;
  std::optional<int64_t> elements = checkedElementCount(shape);
  return elements && *elements <= kMostElements ? Status() : limitExceeded("E1502", "input '" + name + "' would have more than 2^32 elements", "--shape");
}

static Result<std::map<std::string, Shape>> parseShapes(const std::vector<std::string> &texts) {
  std::map<std::string, Shape> shapes;
  for (const std::string &text : texts) {
    LLMOPT_ASSIGN(auto assignment, splitAssignment(text, "--shape"));
    LLMOPT_ASSIGN(Shape shape, parseShape(assignment.second));
    LLMOPT_RETURN_IF_ERROR(checkSize(shape, assignment.first));
    shapes[assignment.first] = std::move(shape);
  }
  return shapes;
}

/// Numbers that make sense for the name: masks of ones, positions that count, ids of the vocabulary.
static void fill(Tensor &tensor, const std::string &name, int64_t vocabulary, std::mt19937 &random) {
  bool mask = name.find("mask") != name.npos, position = name.find("position") != name.npos, type = name.find("type") != name.npos;
  int64_t last = tensor.shape().empty() ? 1 : std::max<int64_t>(1, tensor.shape().back());
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    int64_t whole = mask ? 1 : type ? 0 : position ? i % last : int64_t(random() % uint64_t(vocabulary));
    double real = mask ? 1 : double(random() % 2001) / 1000 - 1;
    switch (tensor.dtype()) {
    case DType::F32:
      tensor.as<float>()[i] = float(real);
      break;
    case DType::F64:
      tensor.as<double>()[i] = real;
      break;
    case DType::F16:
      tensor.as<uint16_t>()[i] = floatToF16(float(real));
      break;
    case DType::BF16:
      tensor.as<uint16_t>()[i] = floatToBf16(float(real));
      break;
    case DType::I64:
    case DType::U64:
      tensor.as<int64_t>()[i] = whole;
      break;
    case DType::I32:
    case DType::U32:
      tensor.as<int32_t>()[i] = int32_t(whole);
      break;
    case DType::I16:
    case DType::U16:
      tensor.as<int16_t>()[i] = int16_t(whole % 100);
      break;
    default:
      tensor.as<uint8_t>()[i] = uint8_t(tensor.dtype() == DType::Bool ? whole % 2 : whole % 100);
    }
  }
}

static bool isNumber(const std::string &dim) { return dim.find_first_not_of("0123456789") == dim.npos; }

bool tools::runsOnShapes(const Engine &engine, const BenchOptions &options) {
  auto isFixed = [](const TensorSpec &spec) { return std::ranges::all_of(spec.shape, isNumber); };
  return !options.shapes.empty() || (engine.hasGraph() && std::ranges::all_of(engine.inputs(), isFixed) && !Session::create(engine).ok());
}

/// Inputs whose shapes are given, and those that follow from them by the names of their dimensions.
static Result<std::vector<NamedTensor>> makeInputs(const Engine &engine, const std::map<std::string, Shape> &given) {
  std::map<std::string, int64_t> dims;
  std::vector<TensorSpec> specs = engine.inputs();
  for (const auto &[name, shape] : given) {
    auto spec = std::find_if(specs.begin(), specs.end(), [&](const TensorSpec &s) { return s.name == name; });
    if (spec == specs.end() || spec->shape.size() != shape.size())
      return usageError("E1601", spec == specs.end() ? "the model has no input '" + name + "'" : "input '" + name + "' is " + spec->typeName(), "--shape");
    for (size_t d = 0; d < shape.size(); ++d)
      dims[spec->shape[d]] = shape[d];
  }
  std::mt19937 random(1);
  std::vector<NamedTensor> inputs;
  for (const TensorSpec &spec : specs) {
    Shape shape;
    auto found = given.find(spec.name);
    for (size_t d = 0; d < spec.shape.size(); ++d) {
      const std::string &dim = spec.shape[d];
      if (isNumber(dim))
        dims[dim] = std::stoll(dim);
      if (found == given.end() && !dims.count(dim))
        return usageError("E1601", "dimension '" + dim + "' of input '" + spec.name + "' of type " + spec.typeName() +
                                       " is not known; give --shape " + spec.name + "=...");
      shape.push_back(found == given.end() ? dims[dim] : found->second[d]);
    }
    LLMOPT_RETURN_IF_ERROR(checkSize(shape, spec.name));
    inputs.push_back({spec.name, Tensor(spec.dtype, std::move(shape))});
    fill(inputs.back().tensor, spec.name, engine.model().vocabSize ? engine.model().vocabSize : 100, random);
  }
  return inputs;
}

static Result<Sample> measure(const Engine &engine, const BenchOptions &options, const std::function<Status()> &once) {
  using Clock = std::chrono::steady_clock;
  Sample sample;
  sample.threads = engine.threads();
  for (const std::string &shape : options.shapes)
    sample.test += (sample.test.empty() ? "" : " ") + shape;
  if (sample.test.empty())
    sample.test = "its own";
  Clock::time_point start = Clock::now();
  do
    LLMOPT_RETURN_IF_ERROR(once());
  while (Clock::now() - start < std::chrono::milliseconds(options.warmUpMilliseconds));
  start = Clock::now();
  auto enough = [&] {
    size_t count = sample.nanoseconds.size();
    return options.repeats ? count >= *options.repeats : count >= 100 || (count >= 10 && Clock::now() - start > std::chrono::seconds(3));
  };
  while (!enough()) {
    Clock::time_point begin = Clock::now();
    LLMOPT_RETURN_IF_ERROR(once());
    sample.nanoseconds.push_back(double(std::chrono::nanoseconds(Clock::now() - begin).count()));
  }
  return sample;
}

static Result<Sample> benchEncoder(const Engine &engine, const BenchOptions &options, const std::map<std::string, Shape> &shapes) {
  auto found = shapes.find("input_ids");
  if (shapes.size() != 1 || found == shapes.end() || found->second.size() != 2)
    return usageError("E1601", "for an encoder give --shape input_ids=BATCHxLENGTH");
  size_t batch = size_t(found->second[0]), length = size_t(found->second[1]);
  std::mt19937 random(1);
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < batch * length; ++i)
    tokens.push_back(int32_t(random() % uint64_t(std::max<int64_t>(1, engine.model().vocabSize))));
  std::vector<EncodeInput> inputs;
  for (size_t i = 0; i < batch; ++i)
    inputs.push_back({nullptr, std::span(tokens).subspan(i * length, length)});
  StepOutput hidden;
  return measure(engine, options, [&] { return engine.encode(inputs, &hidden); });
}

Result<Sample> tools::benchShapes(const Engine &engine, const BenchOptions &options) {
  LLMOPT_ASSIGN(auto shapes, parseShapes(options.shapes));
  if (engine.hasStep())
    return usageError("E1601", "the model generates; it is measured with -p and -n instead of --shape");
  if (engine.hasEncode())
    return benchEncoder(engine, options, shapes);
  LLMOPT_ASSIGN(std::vector<NamedTensor> inputs, makeInputs(engine, shapes));
  std::vector<const Tensor *> ordered;
  for (const NamedTensor &input : inputs)
    ordered.push_back(&input.tensor);
  return measure(engine, options, [&] { return engine.run(ordered).status(); });
}
