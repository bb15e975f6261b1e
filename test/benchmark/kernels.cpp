//===- kernels.cpp - matrix and attention kernels against the machine's limits -===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   bench-kernels [--target=x86-64-v3] [--rounds=15] [--threads=2] [--linear=MxNxK] [filter]
//
// One thread, pinned, but where the name says "2 threads" (--threads is for projections). Every kernel runs interleaved with its floor, round after round; compute-bound ones are given as the share
// of the peak (best round, and median of the rounds' ratios), memory-bound ones as the share of the read rate (median of the rounds' ratios).
//
//===----------------------------------------------------------------------===//
#include "KernelHarness.h"
#include "codegen/Common/CacheLayout.h"
#include "codegen/Common/WeightPacking.h"
#include "kernelsFloors.h"
#include "runtime/cpu/MachineLoops.h"
#include "runtime/cpu/ThreadTeam.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>

namespace llmopt::cpu {
Result<LoweredKernel> lowerLinear(exec::KernelOp kernel, FamilyContext &context);
Result<LoweredKernel> lowerPagedAttention(exec::KernelOp kernel, FamilyContext &context);
} // namespace llmopt::cpu

using namespace llmopt;
using namespace llmopt::test;

namespace {

using Symbols = std::map<std::string, int64_t, std::less<>>;

struct Options {
  std::string target = "native", filter;
  int rounds = 15;
  std::array<int64_t, 3> shape = {}; ///< of the only product to measure
  unsigned threads = 1;
};

/// A kernel ready to be called again and again.
class Launch {
public:
  Launch(const CompiledKernel &kernel, const Symbols &symbols, unsigned parts = 1) : function_(kernel.function(kernel.variant(symbols))) {
    const LoweredKernel &lowered = kernel.lowered();
    auto variant = std::find_if(lowered.variants.begin(), lowered.variants.end(),
                                [&](const KernelVariant &v) { return v.symbol == kernel.variant(symbols); });
    dims_.push_back(kernel.evaluate(variant->units, symbols));
    for (SymExpr dim : lowered.dims)
      dims_.push_back(kernel.evaluate(dim, symbols));
    scratchBytes_ = (size_t(kernel.evaluate(variant->scratchBytes, symbols)) + 4095) / 4096 * 4096;
    scratch_ = cpu::allocateHuge(scratchBytes_ * parts);
    name = variant->symbol;
    if (lowered.second.empty())
      return;
    const KernelVariant &second = lowered.second[size_t(variant - lowered.variants.begin())];
    second_ = kernel.function(second.symbol);
    secondUnits_ = kernel.evaluate(second.units, symbols);
    shared_ = cpu::allocateHuge(size_t(lowered.sharedBytes));
  }
  ~Launch() {
    std::free(scratch_);
    std::free(shared_);
  }
  void run(std::vector<void *> buffers, const StepTable *step = nullptr, unsigned part = 0, unsigned parts = 1) const {
    if (shared_)
      buffers.push_back(shared_);
    KernelArgs args{buffers.data(), dims_.data(), scalarFunctions()};
    void *scratch = static_cast<char *>(scratch_) + part * scratchBytes_;
    function_(&args, step, part, parts, scratch);
    if (!second_ || secondUnits_ == 0)
      return;
    std::vector<int64_t> dims = dims_;
    dims[0] = secondUnits_;
    args.dims = dims.data();
    if (parts > 1)
      cpu::ThreadTeam::process().barrier();
    second_(&args, step, part, parts, scratch);
    if (parts > 1) // what is shared is written anew
      cpu::ThreadTeam::process().barrier();
  }
  std::string name;

private:
  KernelFunction function_, second_ = nullptr;
  std::vector<int64_t> dims_;
  int64_t secondUnits_ = 0;
  size_t scratchBytes_;
  void *scratch_, *shared_ = nullptr;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void fillRandom(void *data, size_t bytes, DType type) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  for (size_t i = 0; i < bytes / dtypeSize(type); ++i) {
    float value = uniform(random);
    if (type == DType::I8 || type == DType::U8) {
      static_cast<int8_t *>(data)[i] = int8_t(random());
      continue;
    }
    if (type == DType::F32)
      static_cast<float *>(data)[i] = value;
    else
      static_cast<uint16_t *>(data)[i] = type == DType::BF16 ? floatToBf16(value) : floatToF16(value);
  }
}

std::string linearText(int64_t n, int64_t k, DType type) {
  auto tensor = [](const std::string &dims, const std::string &type) { return "tensor<" + dims + "x" + type + ">"; };
  bool bytes = type == DType::I8; // [K, N], and sums as they are
  std::string rows = "?x" + std::to_string(k), columns = "?x" + std::to_string(n), matrix = std::to_string(bytes ? k : n) + "x" + std::to_string(bytes ? n : k);
  std::string x = tensor(rows, bytes ? "ui8" : "f32"), w = tensor(matrix, std::string(dtypeName(type))), y = tensor(columns, bytes ? "i32" : "f32");
  return "func.func @f(%x: " + x + " {llm.dims = [\"m\", " + std::to_string(k) + "]}, %w: " + w + ") -> " + y +
         " {\n %r = exec.kernel \"linear\"(%x, %w) : (" + x + ", " + w + ") -> " + y + " {\n ^bb0(%a: " + x + ", %b: " + w +
         "):\n %y = llm." + (bytes ? "matmul" : "linear") + " %a, %b : " + x + ", " + w + " -> " + y + "\n exec.yield %y : " + y + "\n }\n return %r : " + y + "\n}";
}

/// Seconds of work(part) on all threads: processor time of one, the clock's of several.
template <typename Work>
double secondsOf(unsigned threads, Work work) {
  if (threads == 1) {
    double begin = seconds();
    work(0);
    return seconds() - begin;
  }
  cpu::ThreadTeam::Turn turn(cpu::ThreadTeam::process(), threads);
  auto begin = std::chrono::steady_clock::now();
  turn.run(work);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Bytes a second of all threads, each reading its part; the better of one and four streams.
double readRateOf(unsigned threads, const char *data, size_t bytes) {
  if (threads == 1)
    return readRate(data, bytes);
  double best = 0;
  size_t each = bytes / threads / cpu::readGranule * cpu::readGranule;
  for (unsigned streams : {1u, 4u})
    for (bool ahead : {false, true})
      best = std::max(best, double(each * threads) / secondsOf(threads, [&](unsigned part) { cpu::readStreams(data + part * each, each, streams, ahead); }));
  return best;
}

/// Panels of random codes whose scales and zero points are like a layer's.
void fillCodes(const QuantizedPanels &panels, int64_t n, int64_t k, char *to) {
  std::mt19937 random(1);
  std::vector<uint8_t> codes(static_cast<size_t>(n * k));
  for (uint8_t &code : codes)
    code = uint8_t(random() % (1u << panels.bits));
  QuantizedMatrix matrix{n, k, codes.data(), k, 1, 0, {}, {}};
  for (int64_t i = 0; i < n * panels.blocks(k); ++i) {
    matrix.scales.push_back(0.01f + float(i % 7) * 0.001f);
    if (panels.zeros || i == 0)
      matrix.zeros.push_back(uint8_t(1 << (panels.bits - 1)));
  }
  if (Status status = packQuantized(panels, matrix, {reinterpret_cast<std::byte *>(to), size_t(panels.bytes(n, k))}); !status) {
    std::fprintf(stderr, "%s\n", status.error().str().c_str());
    std::exit(1);
  }
}

/// Weights rotate over at least 256 MiB where reading them is the limit.
void benchLinear(const Options &options, const Target &target, DType type, int64_t m, int64_t n, int64_t k, StrategyOptions choices = {},
                 std::optional<QuantizedPanels> codes = std::nullopt) {
  unsigned threads = options.threads;
  bool bytes = type == DType::I8;
  std::string_view products = choices.int8Products ? "int8 products" : choices.bf16Products ? "bf16 products" : "";
  std::string format = codes ? "codes " + codes->layout().substr(8) + (products.empty() ? "" : " ") : products.empty() ? std::string(dtypeName(type)) : "";
  format += products;
  if (choices.terms)
    format += " of " + std::to_string(choices.terms) + " terms";
  std::string title = "linear " + format + " " + std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k);
  if (title.find(options.filter) == std::string::npos)
    return;
  if (threads > 1)
    title += ", " + std::to_string(threads) + " threads";
  auto kernel = CompiledKernel::make(codes ? quantizedLinearText(*codes, 1 << (codes->bits - 1), n, k) : linearText(n, k, type), cpu::lowerLinear, target, target, choices);
  Launch launch(*kernel, {{"m", m}}, threads);
  size_t weightBytes = size_t(packedMatrixBytes(codes ? codes->layout() : panelLayout(type), type, n, k)), stride = (weightBytes + 4095) / 4096 * 4096 + 4096;
  bool memoryBound = m <= 4;
  size_t copies = memoryBound ? std::max<size_t>(1, (size_t(256) << 20) / stride) : 1;
  char *weights = static_cast<char *>(cpu::allocateHuge(64 + copies * stride));
  if (codes)
    fillCodes(*codes, n, k, weights + 64);
  else
    fillRandom(weights + 64, weightBytes, type);
  for (size_t i = 1; i < copies; ++i)
    std::memcpy(weights + 64 + i * stride, weights + 64, weightBytes);
  size_t inputBytes = size_t(m * k) * (bytes ? 1 : 4);
  void *x = cpu::allocateHuge(inputBytes), *y = cpu::allocateHuge(size_t(m * n) * 4);
  fillRandom(x, inputBytes, bytes ? DType::U8 : DType::F32);
  std::string_view arithmetic = bytes || choices.int8Products ? (target.int8Dot ? "i8" : "i16") : choices.bf16Products && target.bf16Dot ? "bf16" : "f32";
  double operations = 2.0 * double(m) * double(n) * double(k), bestRate = 0, peak = 0, bestRead = 0;
  std::vector<double> ratios;
  int repeats = memoryBound ? int(copies) : std::max(1, int(6e-3 * 1e11 * threads / operations));
  // A kernel ends when all its parts have: in a plan, a barrier follows.
  auto once = [&](int i) { return secondsOf(threads, [&](unsigned part) { launch.run({x, weights + 64 + size_t(i) % copies * stride, y}, nullptr, part, threads); }); };
  once(0);
  for (int round = 0; round < options.rounds; ++round) {
    double limit = memoryBound ? readRateOf(threads, weights, copies * stride) : peakOperations(arithmetic, target) * threads, time = 0;
    for (int i = 0; i < repeats; ++i)
      time += once(i);
    time /= repeats;
    if (memoryBound) {
      bestRead = std::max(bestRead, limit);
      ratios.push_back(double(weightBytes) / time / limit);
      bestRate = std::max(bestRate, double(weightBytes) / time);
    } else {
      peak = std::max(peak, limit);
      ratios.push_back(operations / time / limit);
      bestRate = std::max(bestRate, operations / time);
    }
  }
  if (memoryBound)
    std::printf("%-42s %-14s %6.1f GB/s  best/best %5.1f %%  median %5.1f %% of reading\n", title.c_str(), launch.name.c_str(),
                bestRate / 1e9, 100 * bestRate / bestRead, 100 * median(ratios));
  else
    std::printf("%-42s %-14s %6.1f Gop/s  best/best %5.1f %%  median %5.1f %% of the peak in %s\n", title.c_str(), launch.name.c_str(), bestRate / 1e9, 100 * bestRate / peak,
                100 * median(ratios), std::string(arithmetic).c_str());
  std::fflush(stdout);
  std::free(weights);
  std::free(x);
  std::free(y);
}

/// Numbers as sums of bf16 ones, beside the f32 that they stand for.
void benchTerms(const Options &options, const Target &target, int64_t m, int64_t n, int64_t k) {
  for (DType type : {DType::F32, DType::BF16, DType::F16})
    for (int terms : {0, 2, 3})
      if (terms == 0 || target.amx) // are not chosen elsewhere
        benchLinear(options, target, type, m, n, k, {.terms = terms});
}

/// Blocks as ONNX Runtime's and llama.cpp's tools make them.
void benchCodes(const Options &options, const Target &target, int64_t m, int64_t n, int64_t k) {
  for (QuantizedPanels codes : {QuantizedPanels{8, 32, DType::F16}, {8, 32, DType::F32}, {8, 0, DType::F32}, {4, 32, DType::F32}, {4, 32, DType::F16}, {4, 128, DType::F16, true}}) {
    codes.order = CodeOrder::Words;
    for (StrategyOptions choices : {StrategyOptions{}, {.int8Products = true}, {.bf16Products = true}, {.terms = 2}})
      if (target.amx || (!choices.bf16Products && !choices.terms)) // are not chosen elsewhere
        benchLinear(options, target, DType::F32, m, n, k, choices, codes);
  }
}

struct AttentionCase {
  int64_t heads, kvHeads, size, past, tokens;
  unsigned threads = 1;
  DType cache = DType::F32;
  bool causal = true;
  std::string title() const {
    return (causal ? "paged attention " : "paged attention both ways ") + std::to_string(heads) + "/" + std::to_string(kvHeads) + " heads of " + std::to_string(size) + ", " +
           std::to_string(past) + "+" + std::to_string(tokens) + (cache == DType::F32 ? "" : ", " + std::string(dtypeName(cache)) + " cache") + (threads > 1 ? ", " + std::to_string(threads) + " threads" : "");
  }
  std::string text() const {
    std::string dims = std::to_string(heads) + "x" + std::to_string(size), q = "tensor<?x" + dims + "xf32>";
    return "func.func @f(%q: " + q + " {llm.dims = [\"tokens\", " + std::to_string(heads) + ", " + std::to_string(size) + "]}) -> " + q +
           " {\n %r = exec.kernel \"paged_attention\"(%q) : (" + q + ") -> " + q + " {\n ^bb0(%a: " + q +
           "):\n %y = llm.paged_attention %a {state = 0, kv_heads = " + std::to_string(kvHeads) +
           ", scale = 0.125 : f32" + (causal ? ", causal" : "") + (cache == DType::F32 ? "" : ", llm.cache_type = " + std::string(dtypeName(cache))) + "} : " + q + " -> " + q + "\n exec.yield %y : " + q + "\n }\n return %r : " + q + "\n}";
  }
  /// Of the keys each token sees, rounded up to panels of `panel`.
  double flops(int64_t panel) const {
    double keys = 0;
    for (int64_t token = 0; token < tokens; ++token)
      keys += double((past + (causal ? token : tokens - 1) + panel) / panel * panel);
    return 4.0 * double(heads * size) * keys;
  }
};

/// Attention of new tokens after cached ones. The caches of a single token rotate over 256 MiB.
void benchAttention(const Options &options, const Target &target, const AttentionCase &c) {
  std::string title = c.title();
  if (title.find(options.filter) == std::string::npos)
    return;
  auto kernel = CompiledKernel::make(c.text(), cpu::lowerPagedAttention, target, target);
  Launch launch(*kernel, {{"tokens", c.tokens}}, c.threads);
  int64_t length = c.past + c.tokens, blocks = (length + 63) / 64, blockBytes = cacheBlockBytes(c.kvHeads, c.size, c.size, c.cache);
  bool memoryBound = c.tokens == 1;
  int64_t copies = memoryBound ? std::max<int64_t>(1, (int64_t(256) << 20) / (blocks * blockBytes)) : 1;
  size_t poolBytes = size_t(copies * blocks * blockBytes), floats = size_t(c.tokens * c.heads * c.size);
  char *pool = static_cast<char *>(cpu::allocateHuge(poolBytes));
  fillRandom(pool, poolBytes, c.cache);
  auto *x = static_cast<float *>(cpu::allocateHuge(floats * 4)), *y = static_cast<float *>(cpu::allocateHuge(floats * 4));
  fillRandom(x, floats * 4, DType::F32);
  std::vector<int32_t> table(static_cast<size_t>(copies * blocks));
  for (size_t i = 0; i < table.size(); ++i)
    table[i] = int32_t(i);
  std::vector<uint32_t> sequence(size_t(c.tokens), 0);
  double best = 0, peak = 0, bytes = double(2 * length * c.kvHeads * c.size) * double(dtypeSize(c.cache));
  std::vector<double> ratios;
  auto work = [&](unsigned part) {
    for (int64_t copy = 0; copy < copies; ++copy) {
      SequenceRow row{0, uint32_t(c.tokens), uint32_t(c.past), uint32_t(length), uint32_t(copy * blocks), 0};
      StepTable step{uint32_t(c.tokens), 1, {&row, nullptr}, {table.data(), nullptr}, sequence.data()};
      launch.run({x, y, pool}, &step, part, c.threads);
    }
  };
  secondsOf(c.threads, work);
  for (int round = 0; round < options.rounds; ++round) {
    double limit = peakOperations(c.cache == DType::BF16 && target.bf16Dot ? "bf16" : "f32", target) * c.threads;
    double reading = memoryBound ? readRateOf(c.threads, pool, poolBytes) : 0, rate = double(copies) / secondsOf(c.threads, work);
    peak = std::max(peak, limit);
    best = std::max(best, rate);
    ratios.push_back(memoryBound ? rate * bytes / reading : rate * c.flops(1) / limit);
  }
  std::printf("%-52s %5.1f %% of peak", title.c_str(), 100 * best * c.flops(1) / peak);
  if (memoryBound)
    std::printf(", median %5.1f %% of reading", 100 * median(ratios));
  else
    std::printf(", %5.1f %% counting its panels of 16 keys, median %5.1f %% of peak", 100 * best * c.flops(16) / peak, 100 * median(ratios));
  std::printf("\n");
  std::fflush(stdout);
  std::free(pool);
  std::free(x);
  std::free(y);
}

void printFloors(const Target &target) {
  size_t bytes = size_t(256) << 20;
  void *memory = cpu::allocateHuge(bytes);
  double f32 = 0, bf16 = 0, i8 = 0, i16 = 0, reading = 0;
  for (int i = 0; i < 5; ++i) {
    f32 = std::max(f32, peakOperations("f32", target));
    bf16 = std::max(bf16, peakOperations("bf16", target));
    i8 = std::max(i8, peakOperations("i8", target));
    i16 = std::max(i16, peakOperations("i16", target));
    reading = std::max(reading, readRate(memory, bytes));
  }
  std::printf("%s: peak %.1f GFLOP/s in f32, %.1f in bf16, %.1f in i8, %.1f in i16; reading %.1f GB/s\n", target.name.c_str(), f32 / 1e9, bf16 / 1e9, i8 / 1e9,
              i16 / 1e9, reading / 1e9);
  std::free(memory);
}

} // namespace

int main(int argc, char **argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    if (argument.rfind("--target=", 0) == 0)
      options.target = argument.substr(9);
    else if (argument.rfind("--rounds=", 0) == 0)
      options.rounds = std::max(1, std::atoi(argument.c_str() + 9));
    else if (argument.rfind("--linear=", 0) == 0)
      std::sscanf(argument.c_str() + 9, "%ldx%ldx%ld", &options.shape[0], &options.shape[1], &options.shape[2]);
    else if (argument.rfind("--threads=", 0) == 0)
      options.threads = unsigned(std::clamp(std::atoi(argument.c_str() + 10), 1, 64));
    else if (argument.starts_with("--"))
      return std::fprintf(stderr, "usage: bench-kernels [--target=x86-64-v3] [--rounds=15] [--threads=2] [--linear=MxNxK] [part of a kernel's name]\n"), 2;
    else
      options.filter = argument;
  }
  Result<Target> target = findTarget(options.target);
  if (!target || !missingFeatures(target->features).empty() || target->vectorBits < 256) {
    std::fprintf(stderr, "bench-kernels: target %s does not run here or has no floors\n", options.target.c_str());
    return 2;
  }
  cpu::ThreadTeam::process(); // knows the processors before this thread is bound to one
  cpu::ThreadTeam::pinCaller();
  printFloors(*target);
  if (auto [m, n, k] = options.shape; m > 0 && n > 0 && k > 0) {
    benchLinear(options, *target, DType::BF16, m, n, k, {.bf16Products = true});
    benchTerms(options, *target, m, n, k);
    benchCodes(options, *target, m, n, k);
    return 0;
  }
  for (auto [m, n, k] : {std::array<int64_t, 3>{512, 512, 512}, {1024, 1024, 1024}, {128, 2048, 2048}, {128, 8192, 2048}, {32, 2048, 2048}, {12, 2048, 2048}})
    benchLinear(options, *target, DType::F32, m, n, k);
  for (DType type : {DType::BF16, DType::F16})
    for (int64_t m : {128, 32, 12})
      benchLinear(options, *target, type, m, 2048, 2048);
  for (auto [m, n, k] : {std::array<int64_t, 3>{512, 2048, 2048}, {128, 2048, 2048}, {128, 8192, 2048}, {128, 2048, 8192}, {32, 2048, 2048}, {12, 2048, 2048},
                         {1, 4096, 4096}, {2, 4096, 4096}, {3, 4096, 4096}, {4, 4096, 4096}})
    benchLinear(options, *target, DType::BF16, m, n, k, {.bf16Products = true});
  for (DType type : {DType::F32, DType::BF16, DType::F16})
    for (int64_t m : {1, 2, 3, 4})
      benchLinear(options, *target, type, m, 4096, 4096);
  for (DType type : {DType::F32, DType::BF16, DType::I8})
    benchLinear(options, *target, type, 1, 2048, 8192);
  for (auto [m, n, k] : {std::array<int64_t, 3>{512, 1024, 1024}, {256, 2048, 2048}, {128, 2048, 2048}, {256, 8192, 2048}, {128, 2048, 8192}, {32, 2048, 2048}, {12, 2048, 2048},
                         {1, 4096, 4096}, {2, 4096, 4096}, {3, 4096, 4096}, {4, 4096, 4096}})
    benchLinear(options, *target, DType::I8, m, n, k);
  for (auto [m, n, k] : {std::array<int64_t, 3>{1, 4096, 4096}, {1, 2048, 8192}, {2, 4096, 4096}, {3, 4096, 4096}, {4, 4096, 4096}, {12, 2048, 2048}, {128, 2048, 2048}, {512, 2048, 2048}})
    benchCodes(options, *target, m, n, k);
  for (int64_t size : {64, 128})
    for (int64_t tokens : {512, 2048, 8192})
      benchAttention(options, *target, {8, 2, size, 0, tokens});
  benchAttention(options, *target, {8, 8, 64, 0, 1024});
  for (DType cache : {DType::F32, DType::BF16}) // the heads of small encoders
    benchAttention(options, *target, {.heads = 12, .kvHeads = 12, .size = 32, .past = 0, .tokens = 512, .cache = cache, .causal = false});
  for (int64_t size : {64, 128})
    for (int64_t tokens : {512, 2048, 8192})
      benchAttention(options, *target, {.heads = 8, .kvHeads = 2, .size = size, .past = 0, .tokens = tokens, .cache = DType::BF16});
  for (int64_t size : {40, 72, 80, 96}) // keys of whole and of parts of tile registers
    benchAttention(options, *target, {.heads = 8, .kvHeads = 8, .size = size, .past = 0, .tokens = 512, .cache = DType::BF16});
  for (unsigned threads : {1u, 2u})
    for (AttentionCase c : {AttentionCase{32, 8, 64, 2047, 1}, {32, 8, 64, 8191, 1}, {32, 8, 128, 8191, 1}, {16, 16, 64, 8191, 1}, {8, 1, 128, 8191, 1}, {9, 3, 64, 8191, 1}}) {
      c.threads = threads;
      for (DType cache : {DType::F32, DType::F16, DType::BF16}) {
        c.cache = cache;
        benchAttention(options, *target, c);
      }
    }
  return 0;
}
