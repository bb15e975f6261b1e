//===- KernelHarness.cpp - compiles one kernel and runs it here -----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "KernelHarness.h"

#include "codegen/Common/ChooseStrategy.h"
#include "llmopt/codegen/CPU.h"
#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/dialects/Strategy/Strategy.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"

#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <numeric>
#include <regex>
#include <sstream>
#include <sys/mman.h>
#include <unistd.h>

using namespace llmopt;
using namespace llmopt::test;

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

static constexpr size_t kPage = 4096;

Buffer::Buffer(size_t bytes) : bytes_(bytes) {
  size_t padded = (bytes + 15) / 16 * 16;
  // One page before (kernels may read 64 bytes before a weight), one after that nobody may touch.
  mapped_ = (padded + kPage - 1) / kPage * kPage + 2 * kPage;
  map_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char *guard = static_cast<char *>(map_) + mapped_ - kPage;
  mprotect(guard, kPage, PROT_NONE);
  data_ = guard - padded;
}
Buffer::~Buffer() {
  if (map_)
    munmap(map_, mapped_);
}
Buffer::Buffer(Buffer &&other) noexcept { *this = std::move(other); }
Buffer &Buffer::operator=(Buffer &&other) noexcept {
  std::swap(map_, other.map_);
  std::swap(data_, other.data_);
  std::swap(mapped_, other.mapped_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Buffer test::randomFloats(std::mt19937 &random, size_t count) {
  Buffer buffer(count * 4);
  std::uniform_real_distribution<float> uniform(-1, 1);
  for (size_t i = 0; i < count; ++i)
    buffer.data()[i] = uniform(random);
  return buffer;
}
Buffer test::filled(size_t count, float value) {
  Buffer buffer(count * 4);
  std::fill_n(buffer.data(), count, value);
  return buffer;
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

[[noreturn]] static void stop(const std::string &what) {
  std::fprintf(stderr, "kernel harness: %s\n", what.c_str());
  std::abort();
}

static std::string dimsText(std::initializer_list<int64_t> sizes) {
  std::string text;
  for (int64_t size : sizes)
    text += std::to_string(size) + "x";
  return text;
}

std::string test::quantizedWeightText(const std::string &name, const QuantizedPanels &panels, int zero, int64_t n, int64_t k, int64_t experts) {
  int64_t blocks = panels.blocks(k), block = panels.block ? panels.block : k, stored = blocks * block, rows = std::max<int64_t>(1, experts) * n;
  auto tensor = [](const std::string &dims, const std::string &element) { return "tensor<" + dims + element + ">"; };
  auto own = [&](const std::string &suffix) { return "%" + name + suffix; };
  std::string all = dimsText({rows, blocks, block}), each = dimsText({rows, blocks, 1}), code = panels.bits == 4 ? "ui4" : "ui8", real = tensor(all, "f32"), ones = tensor(each, "f32");
  std::string text = " " + own("codes") + " = llm.weight \"" + name + "codes\" : " + tensor(all, code) + "\n " + own("numbers") + " = llm.cast " + own("codes") + " : " + tensor(all, code) + " -> " + real + "\n";
  if (panels.zeros)
    text += " " + own("points") + " = llm.weight \"" + name + "zeros\" : " + tensor(each, code) + "\n " + own("zeros") + " = llm.cast " + own("points") + " : " + tensor(each, code) + " -> " + ones + "\n";
  else
    text += " " + own("zeros") + " = llm.constant dense<" + std::to_string(zero) + ".0> : tensor<f32>\n";
  text += " " + own("moved") + " = llm.sub " + own("numbers") + ", " + own("zeros") + " : " + real + ", " + (panels.zeros ? ones : "tensor<f32>") + " -> " + real + "\n";
  std::string scale(dtypeName(panels.scale)), given = own(scale == "f32" ? "scales" : "wide");
  text += " " + own("scales") + " = llm.weight \"" + name + "scales\" : " + tensor(each, scale) + "\n";
  text += scale == "f32" ? "" : " " + given + " = llm.cast " + own("scales") + " : " + tensor(each, scale) + " -> " + ones + "\n";
  text += " " + own("product") + " = llm.mul " + own("moved") + ", " + given + " : " + real + ", " + ones + " -> " + real + "\n";
  std::string outer = experts ? dimsText({experts}) : "", flat = tensor(outer + dimsText({n, stored}), "f32"), made = stored == k ? own("") : own("flat");
  text += " " + own("shape") + " = llm.constant dense<[" + (experts ? std::to_string(experts) + ", " : "") + std::to_string(n) + ", " + std::to_string(stored) + "]> : tensor<" + (experts ? "3" : "2") + "xi64>\n";
  text += " " + made + " = llm.reshape " + own("product") + ", " + own("shape") + " : " + real + ", tensor<" + (experts ? "3" : "2") + "xi64> -> " + flat + "\n";
  if (stored != k)
    text += " " + own("begin") + " = llm.constant dense<0> : tensor<1xi64>\n " + own("end") + " = llm.constant dense<" + std::to_string(k) + "> : tensor<1xi64>\n " + own("") + " = llm.slice " + made + ", " +
            own("begin") + ", " + own("end") + " axes = [1] steps = [1] : " + flat + ", tensor<1xi64>, tensor<1xi64> -> " + tensor(dimsText({n, k}), "f32") + "\n";
  return text;
}

std::string test::quantizedLinearText(const QuantizedPanels &panels, int zero, int64_t n, int64_t k) {
  std::string x = "tensor<?x" + dimsText({k}) + "f32>", w = "tensor<" + dimsText({n, k}) + "f32>", y = "tensor<?x" + dimsText({n}) + "f32>";
  return "func.func @f(%x: " + x + " {llm.dims = [\"m\", " + std::to_string(k) + "]}) -> " + y + " {\n" + quantizedWeightText("w", panels, zero, n, k) +
         " %r = exec.kernel \"linear\"(%x, %w) : (" + x + ", " + w + ") -> " + y + " {\n ^bb0(%a: " + x + ", %b: " + w + "):\n %y = llm.linear %a, %b : " + x + ", " + w + " -> " + y +
         "\n exec.yield %y : " + y + "\n }\n return %r : " + y + "\n}";
}

PackedCodes::PackedCodes(std::mt19937 &random, QuantizedPanels panels, int zero, int64_t n, int64_t k) : panels(panels), zero(zero), n(n), k(k) {
  this->panels.order = CodeOrder::Words;
  int64_t blocks = panels.blocks(k);
  std::vector<uint8_t> codes(static_cast<size_t>(n * k));
  for (uint8_t &code : codes)
    code = uint8_t(random() % (1u << panels.bits));
  QuantizedMatrix matrix{n, k, codes.data(), k, 1, 0, {}, {}};
  for (int64_t i = 0; i < n * blocks; ++i) {
    float scale = float(random() % 1000 + 1) / 1000;
    matrix.scales.push_back(panels.scale == DType::F32 ? scale : panels.scale == DType::F16 ? f16ToFloat(floatToF16(scale)) : bf16ToFloat(floatToBf16(scale)));
    if (panels.zeros)
      matrix.zeros.push_back(uint8_t(random() % (1u << panels.bits)));
  }
  if (!panels.zeros)
    matrix.zeros.push_back(uint8_t(zero));
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < k; ++j) {
      size_t block = size_t(i * blocks + (panels.block ? j / panels.block : 0));
      weights.push_back(double(codes[size_t(i * k + j)] - (panels.zeros ? matrix.zeros[block] : zero)) * double(matrix.scales[block]));
    }
  packed = Buffer(size_t(this->panels.bytes(n, k)));
  if (Status status = packQuantized(this->panels, matrix, {packed.data<std::byte>(), packed.bytes()}); !status)
    stop(status.error().str());
}

std::vector<double> PackedCodes::rowOf(const Target &target, const float *x, StrategyOptions options) const {
  std::vector<double> row(x, x + k);
  if (options.bf16Products && fillsTiles())
    for (double &value : row)
      value = bf16ToFloat(floatToBf16(float(value)));
  auto term = [](double value) { return double(std::bit_cast<float>((std::bit_cast<uint32_t>(float(value)) + 0x8000) & 0xffff0000)); }; // halves away from zero
  if (options.terms == 2 && fillsTiles())
    for (double &value : row)
      value = term(value) + term(value - term(value));
  int64_t span = std::gcd(panels.blockInputs(k), int64_t(256));
  for (int64_t first = 0; options.int8Products && first < k; first += span) {
    float largest = 0x1p-100f;
    for (int64_t i = first; i < std::min(first + span, k); ++i)
      largest = std::max(largest, std::abs(x[i]));
    for (int64_t i = first; i < std::min(first + span, k); ++i) {
      double quotient = target.fma ? double(x[i]) * double(127 / largest) : double(x[i] * (127 / largest));
      row[size_t(i)] = std::nearbyint(quotient) * double(largest / 127);
    }
  }
  return row;
}

InnerLoops test::innerLoops(const std::string &assembly, std::string_view instruction) {
  static const std::regex vectorOnStack("\\(%rsp\\), %[xyz]mm|%[xyz]mm[0-9]+, -?[0-9]*\\(%rsp\\)");
  InnerLoops loops;
  std::istringstream lines(assembly);
  std::string line, block;
  auto endBlock = [&] {
    int64_t found = 0;
    for (size_t at = block.find(instruction); at != std::string::npos; at = block.find(instruction, at + 1))
      ++found;
    if (found >= 16) {
      ++loops.number;
      if (loops.spilling.empty() && std::regex_search(block, vectorOnStack))
        loops.spilling = block;
    }
    block.clear();
  };
  while (std::getline(lines, line)) {
    if (line.rfind(".LBB", 0) == 0)
      endBlock();
    block += line + "\n";
    if (line.rfind("\tj", 0) == 0) // a branch ends a block as well
      endBlock();
  }
  return loops;
}

const ScalarFunction *test::scalarFunctions() {
#define LLMOPT_ONE(name) [](double x, double) { return std::name(x); }
  static const ScalarFunction table[] = {
      LLMOPT_ONE(exp),  LLMOPT_ONE(log),   LLMOPT_ONE(sin),   LLMOPT_ONE(cos),   LLMOPT_ONE(tan),
      LLMOPT_ONE(asin), LLMOPT_ONE(acos),  LLMOPT_ONE(atan),  LLMOPT_ONE(sinh),  LLMOPT_ONE(cosh),
      LLMOPT_ONE(asinh), LLMOPT_ONE(acosh), LLMOPT_ONE(atanh), LLMOPT_ONE(tanh), LLMOPT_ONE(erf),
      [](double x, double y) { return std::pow(x, y); }, [](double x, double y) { return std::fmod(x, y); }};
#undef LLMOPT_ONE
  return table;
}

template <typename T>
static T need(Result<T> result) {
  if (!result)
    stop(result.error().str());
  return result.take();
}

static void *loadImage(const std::string &image) {
  char path[] = "/tmp/llmopt-kernel-XXXXXX";
  int file = mkstemp(path);
  if (file < 0 || write(file, image.data(), image.size()) != ssize_t(image.size()))
    stop("cannot write a temporary file");
  close(file);
  void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  unlink(path);
  if (!handle)
    stop(dlerror());
  return handle;
}

std::unique_ptr<CompiledKernel> CompiledKernel::make(const std::string &text, cpu::LowerKernel lower, const Target &target,
                                                     const Target &strategy, const StrategyOptions &choices) {
  std::unique_ptr<CompiledKernel> result(new CompiledKernel());
  result->context_ = std::make_unique<mlir::MLIRContext>(mlir::MLIRContext::Threading::DISABLED);
  mlir::MLIRContext &context = *result->context_;
  cpu::registerCodegenDialects(context);
  context.loadDialect<llm::LLMDialect, exec::ExecDialect, strategy::StrategyDialect, mlir::func::FuncDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  if (!module)
    stop("cannot parse:\n" + text);
  auto function = *module->getOps<mlir::func::FuncOp>().begin();
  ShapeAnalysis shapes(*result->symbols_);
  shapes.run(function);
  auto kernel = *function.getOps<exec::KernelOp>().begin();
  if (Status status = chooseStrategy(kernel, shapes, strategy, choices); !status)
    stop(status.error().str());
  mlir::OwningOpRef<mlir::ModuleOp> code = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
  cpu::FamilyContext family{*code, shapes, target, "kernel"};
  result->lowered_ = need(lower(kernel, family));
  if (mlir::failed(mlir::verify(*code)))
    stop("the kernel does not verify");
  if (Status status = cpu::lowerToLLVM(*code); !status)
    stop(status.error().str());
  cpu::CodeModule source{*code, result->lowered_.optimizeLoops};
  result->assembly_ = need(cpu::emitCode({&source, 1}, target, cpu::CodeKind::Assembly));
  result->image_ = loadImage(need(cpu::linkImage({need(cpu::emitCode({&source, 1}, target, cpu::CodeKind::Object))})));
  return result;
}

CompiledKernel::~CompiledKernel() {
  if (image_)
    dlclose(image_);
}

int64_t CompiledKernel::evaluate(SymExpr expr, const std::map<std::string, int64_t, std::less<>> &symbols) const {
  std::optional<int64_t> value = symbols_->evaluate(expr, symbols);
  if (!value)
    stop("a dimension has no value: " + expr.str());
  return *value;
}

const KernelVariant &CompiledKernel::choose(const std::map<std::string, int64_t, std::less<>> &symbols) const {
  for (const KernelVariant &variant : lowered_.variants)
    if (variant.limit == 0 || evaluate(lowered_.selector, symbols) <= variant.limit)
      return variant;
  stop("no variant fits");
}

std::string CompiledKernel::variant(const std::map<std::string, int64_t, std::less<>> &symbols) const {
  return choose(symbols).symbol;
}

KernelFunction CompiledKernel::function(const std::string &symbol) const {
  void *address = dlsym(image_, symbol.c_str());
  if (!address)
    stop("no function " + symbol);
  return reinterpret_cast<KernelFunction>(address);
}

void CompiledKernel::run(const std::vector<void *> &buffers, const std::map<std::string, int64_t, std::less<>> &symbols,
                         unsigned parts, const StepTable *step, bool lastPartFirst) const {
  const KernelVariant &variant = choose(symbols);
  std::vector<void *> bound = buffers;
  Buffer shared(size_t(lowered_.sharedBytes));
  std::memset(shared.data<char>(), 0xff, shared.bytes());
  if (lowered_.sharedBytes)
    bound.push_back(shared.data());
  runStage(variant, bound, symbols, parts, step, lastPartFirst);
  if (!lowered_.second.empty())
    runStage(lowered_.second[size_t(&variant - lowered_.variants.data())], bound, symbols, parts, step, lastPartFirst);
}

void CompiledKernel::runStage(const KernelVariant &variant, const std::vector<void *> &buffers, const std::map<std::string, int64_t, std::less<>> &symbols,
                              unsigned parts, const StepTable *step, bool lastPartFirst) const {
  std::vector<int64_t> dims = {evaluate(variant.units, symbols)};
  for (SymExpr dim : lowered_.dims)
    dims.push_back(evaluate(dim, symbols));
  if (dims[0] == 0) // the runtime launches no such stage
    return;
  KernelArgs args{buffers.data(), dims.data(), scalarFunctions()};
  size_t scratchBytes = variant.scratchBytes.known() ? size_t(evaluate(variant.scratchBytes, symbols)) : 0;
  for (unsigned i = 0; i < parts; ++i) {
    unsigned part = lastPartFirst ? parts - 1 - i : i;
    Buffer scratch((scratchBytes + 63) / 64 * 64);
    std::memset(scratch.data<char>(), 0xff, scratch.bytes()); // NaN
    function(variant.symbol)(&args, step, part, parts, scratch.data<void>());
  }
}

static std::vector<TargetPair> runnable(std::initializer_list<std::pair<const char *, const char *>> names) {
  std::vector<TargetPair> pairs;
  for (auto [target, strategy] : names) {
    TargetPair pair{need(findTarget(target)), need(findTarget(strategy))};
    if (missingFeatures(pair.target.features).empty())
      pairs.push_back(std::move(pair));
  }
  return pairs;
}

std::vector<TargetPair> test::runnableTargets() {
  return runnable({{"x86-64", "x86-64"}, {"x86-64-v3", "x86-64-v3"}, {"x86-64-v4", "x86-64-v4"}, {"x86-64-v3", "x86-64-v4"}, {"x86-64-v4-bf16", "x86-64-v4-bf16"}});
}

std::vector<TargetPair> test::runnableTargetsAndTiles() {
  std::vector<TargetPair> pairs = runnableTargets(), tiles = runnable({{"x86-64-v3", "x86-64-v4-amx"}, {"x86-64-v4-bf16", "x86-64-v4-amx"}, {"x86-64-v4-amx", "x86-64-v4-amx"}});
  pairs.insert(pairs.end(), tiles.begin(), tiles.end());
  return pairs;
}
