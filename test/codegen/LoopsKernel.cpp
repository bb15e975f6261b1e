//===- LoopsKernel.cpp - one operation as a kernel, against a reference ---===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "LoopsKernel.h"

#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Interpreter/Interpreter.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"

#include <cmath>
#include <cstring>

using namespace llmopt;
using namespace llmopt::test;

static bool isSymbol(const std::string &dim) { return !dim.empty() && !std::isdigit(static_cast<unsigned char>(dim[0])); }

std::string test::tensorType(const Operand &operand) {
  std::string text = "tensor<";
  for (const std::string &dim : operand.dims)
    text += (isSymbol(dim) ? "?" : dim) + "x";
  return text + operand.element + ">";
}

static std::string dimsAttribute(const Operand &operand) {
  std::string text = "{llm.dims = [";
  for (size_t i = 0; i < operand.dims.size(); ++i)
    text += (i ? ", " : "") + (isSymbol(operand.dims[i]) ? "\"" + operand.dims[i] + "\"" : operand.dims[i] + " : i64");
  return text + "]}";
}

static std::string join(const std::vector<std::string> &parts) {
  std::string text;
  for (size_t i = 0; i < parts.size(); ++i)
    text += (i ? ", " : "") + parts[i];
  return text;
}

static std::string results(const KernelText &text) {
  std::vector<std::string> names;
  for (size_t i = 0; i < text.results.size(); ++i)
    names.push_back("%r" + std::to_string(i));
  return join(names);
}

std::string KernelText::str() const {
  std::vector<std::string> arguments, inputs, types, inner;
  for (size_t i = 0; i < operands.size(); ++i) {
    std::string type = tensorType(operands[i]), number = std::to_string(i);
    arguments.push_back("%a" + number + ": " + type + " " + dimsAttribute(operands[i]));
    inputs.push_back("%a" + number);
    inner.push_back("%" + number + ": " + type);
    types.push_back(type);
  }
  std::string out = join(results), k = this->results.size() == 1 ? "%k" : "%k:" + std::to_string(this->results.size());
  std::string returned;
  for (size_t i = 0; i < this->results.size(); ++i)
    returned += (i ? ", " : "") + (this->results.size() == 1 ? std::string("%k") : "%k#" + std::to_string(i));
  return "func.func @f(" + join(arguments) + ") -> (" + out + ") {\n  " + k + " = exec.kernel \"" + family + "\"(" + join(inputs) +
         ") : (" + join(types) + ") -> (" + out + ") {\n  ^bb0(" + join(inner) + "):\n" + body + "\n  exec.yield " + ::results(*this) + " : " +
         out + "\n  }\n  return " + returned + " : " + out + "\n}\n";
}

std::string KernelText::functionStr() const {
  std::vector<std::string> arguments;
  for (size_t i = 0; i < operands.size(); ++i)
    arguments.push_back("%" + std::to_string(i) + ": " + tensorType(operands[i]) + " " + dimsAttribute(operands[i]));
  std::string out = join(results);
  return "func.func @f(" + join(arguments) + ") -> (" + out + ") {\n" + body + "\n  return " + ::results(*this) + " : " + out + "\n}\n";
}

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

void test::setElement(Tensor &tensor, int64_t i, double value) {
  switch (tensor.dtype()) {
  case DType::F32: tensor.as<float>()[i] = float(value); break;
  case DType::F64: tensor.as<double>()[i] = value; break;
  case DType::F16: tensor.as<uint16_t>()[i] = floatToF16(float(value)); break;
  case DType::BF16: tensor.as<uint16_t>()[i] = floatToBf16(float(value)); break;
  case DType::I8: tensor.as<int8_t>()[i] = int8_t(value); break;
  case DType::I16: tensor.as<int16_t>()[i] = int16_t(value); break;
  case DType::I32: tensor.as<int32_t>()[i] = int32_t(value); break;
  case DType::I64: tensor.as<int64_t>()[i] = int64_t(value); break;
  case DType::U8: tensor.as<uint8_t>()[i] = uint8_t(value); break;
  case DType::U16: tensor.as<uint16_t>()[i] = uint16_t(value); break;
  case DType::U32: tensor.as<uint32_t>()[i] = uint32_t(value); break;
  case DType::U64: tensor.as<uint64_t>()[i] = uint64_t(value); break;
  case DType::Bool: tensor.as<uint8_t>()[i] = value != 0; break;
  default:
    if (const NarrowFloat *narrow = narrowFloat(tensor.dtype()))
      tensor.as<uint8_t>()[i] = narrow->encode(float(value), /*saturate=*/true);
    else
      tensor.as<int8_t>()[i] = int8_t(value);
  }
}

Tensor test::randomTensor(DType type, std::vector<int64_t> shape, double low, double high, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> uniform(low, high);
  Tensor tensor(type, std::move(shape));
  for (int64_t i = 0; i < tensor.elements(); ++i)
    setElement(tensor, i, isFloat(type) ? uniform(random) : std::floor(uniform(random)));
  return tensor;
}

Tensor test::tensorOf(DType type, std::vector<int64_t> shape, std::vector<double> values) {
  Tensor tensor(type, std::move(shape));
  for (int64_t i = 0; i < tensor.elements(); ++i)
    setElement(tensor, i, values[size_t(i)]);
  return tensor;
}

//===----------------------------------------------------------------------===//
// Comparison
//===----------------------------------------------------------------------===//

static std::vector<Tensor> interpret(const KernelText &text, const std::vector<Tensor> &inputs) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<llm::LLMDialect, mlir::func::FuncDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text.functionStr(), &context);
  if (!module)
    return {};
  WeightStore weights;
  auto results = Interpreter(*module, weights).run("f", inputs);
  EXPECT_TRUE(results.ok()) << (results.ok() ? "" : results.error().str());
  return results.ok() ? results.take() : std::vector<Tensor>();
}

static void compare(const Tensor &expected, const Tensor &actual, double relative, double absolute) {
  for (int64_t i = 0; i < expected.elements(); ++i) {
    double e = expected.at(i), a = actual.at(i);
    if (std::isnan(e) && std::isnan(a))
      continue;
    if (e == a)
      continue;
    ASSERT_TRUE(std::abs(e - a) <= absolute + relative * std::abs(e)) << "element " << i << ": expected " << e << ", got " << a;
  }
}

void test::checkAgainstInterpreter(const KernelText &text, const std::vector<Tensor> &inputs, const Symbols &symbols, double relative,
                                   double absolute) {
  std::vector<Tensor> expected = interpret(text, inputs);
  ASSERT_FALSE(expected.empty()) << text.functionStr();
  for (const TargetPair &pair : runnableTargets()) {
    SCOPED_TRACE(pair.name() + "\n" + text.str());
    auto kernel = CompiledKernel::make(text.str(), text.family == "rows" ? cpu::lowerRows : cpu::lowerLoops, pair.target, pair.strategy);
    std::vector<std::vector<Tensor>> byParts;
    for (unsigned parts : {1u, 3u}) {
      std::vector<Buffer> buffers;
      for (const Tensor &input : inputs) {
        buffers.emplace_back(input.bytes());
        if (input.bytes())
          std::memcpy(buffers.back().data<void>(), input.data(), input.bytes());
      }
      for (const Tensor &output : expected) {
        buffers.emplace_back(output.bytes());
        std::memset(buffers.back().data<void>(), 0x5a, output.bytes());
      }
      std::vector<void *> pointers;
      for (Buffer &buffer : buffers)
        pointers.push_back(buffer.data<void>());
      kernel->run(pointers, symbols, parts);
      std::vector<Tensor> results;
      for (size_t i = 0; i < expected.size(); ++i) {
        results.emplace_back(expected[i].dtype(), expected[i].shape());
        if (expected[i].bytes())
          std::memcpy(results[i].data(), pointers[inputs.size() + i], expected[i].bytes());
        compare(expected[i], results[i], relative, absolute);
        if (::testing::Test::HasFatalFailure())
          return;
      }
      byParts.push_back(std::move(results));
    }
    for (size_t i = 0; i < expected.size(); ++i)
      if (expected[i].bytes())
        EXPECT_EQ(0, std::memcmp(byParts[0][i].data(), byParts[1][i].data(), expected[i].bytes())) << "depends on the number of parts";
  }
}
