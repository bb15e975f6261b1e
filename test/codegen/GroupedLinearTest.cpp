//===- GroupedLinearTest.cpp - products with the weights of experts -------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "KernelHarness.h"
#include "codegen/Common/WeightPacking.h"

#include <gtest/gtest.h>

#include <cmath>
#include <sys/mman.h>

namespace llmopt::cpu {
Result<LoweredKernel> lowerGroupedLinear(exec::KernelOp kernel, FamilyContext &context);
Result<LoweredKernel> lowerGroupRows(exec::KernelOp kernel, FamilyContext &context);
} // namespace llmopt::cpu

using namespace llmopt;
using namespace llmopt::test;

namespace {

std::string type(std::string dims, std::string element = "f32") { return "tensor<" + dims + "x" + element + ">"; }
std::string str(int64_t value) { return std::to_string(value); }

struct Sizes {
  int64_t experts, n, k, choices;
};

/// Matrices [experts, N, K], rounded to their type and packed, in memory of which the pages of single experts can be closed.
class Experts {
public:
  Experts(std::mt19937 &random, DType type, Sizes sizes) : sizes_(sizes), values(size_t(sizes.experts * sizes.n * sizes.k)) {
    std::string layout(panelLayout(type));
    each_ = size_t(packedMatrixBytes(layout, type, sizes.n, sizes.k));
    mapped_ = size_t(sizes.experts) * each_ + 2 * kPage; // pairs of bf16 are read from two bytes in front, as artifacts allow
    packed_ = static_cast<std::byte *>(mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) + kPage;
    std::uniform_real_distribution<float> uniform(-1, 1);
    std::vector<uint16_t> halves(size_t(sizes.n * sizes.k));
    for (int64_t e = 0; e < sizes.experts; ++e) {
      float *matrix = values.data() + e * sizes.n * sizes.k;
      for (int64_t i = 0; i < sizes.n * sizes.k; ++i) {
        matrix[i] = uniform(random);
        uint16_t &half = halves[size_t(i)];
        half = type == DType::BF16 ? floatToBf16(matrix[i]) : floatToF16(matrix[i]);
        matrix[i] = type == DType::F32 ? matrix[i] : type == DType::BF16 ? bf16ToFloat(half) : f16ToFloat(half);
      }
      auto source = type == DType::F32 ? std::as_bytes(std::span(matrix, halves.size())) : std::as_bytes(std::span(halves));
      EXPECT_TRUE(packWeight(layout, type, sizes.n, sizes.k, /*outputsFirst=*/true, source, {packed_ + size_t(e) * each_, each_}).ok());
    }
  }
  ~Experts() { munmap(packed_ - kPage, mapped_); }
  Experts(const Experts &) = delete;
  static constexpr size_t kPage = 4096;

  void *packed() const { return packed_; }
  size_t each() const { return each_; }
  /// All of an expert but its last page, of whose end the next expert's tile reads two bytes.
  void protect(int64_t expert, int rights) { ASSERT_EQ(0, mprotect(packed_ + size_t(expert) * each_, each_ - kPage, rights)); }
  double dot(int64_t expert, const float *x, int64_t column) const {
    double sum = 0;
    for (int64_t i = 0; i < sizes_.k; ++i)
      sum += double(x[i]) * values[size_t((expert * sizes_.n + column) * sizes_.k + i)];
    return sum;
  }

private:
  Sizes sizes_;

public:
  std::vector<float> values;

private:
  std::byte *packed_ = nullptr;
  size_t each_ = 0, mapped_ = 0;
};

/// Rows sorted by the expert of each, as llm.group_rows has them.
struct Order {
  Order(const std::vector<int64_t> &chosen, int64_t experts) : rows(chosen.size() * 4), offsets(size_t(experts + 1) * 4) {
    int32_t place = 0;
    for (int64_t e = 0; e <= experts; ++e) {
      offsets.data<int32_t>()[e] = place;
      for (size_t row = 0; e < experts && row < chosen.size(); ++row)
        if (chosen[row] == e)
          rows.data<int32_t>()[place++] = int32_t(row);
    }
  }
  Buffer rows, offsets;
};

std::vector<int64_t> choose(std::mt19937 &random, int64_t tokens, int64_t choices, int64_t experts) {
  std::vector<int64_t> all(size_t(experts), 0), chosen;
  for (int64_t e = 0; e < experts; ++e)
    all[size_t(e)] = e;
  for (int64_t t = 0; t < tokens; ++t) {
    std::shuffle(all.begin(), all.end(), random);
    chosen.insert(chosen.end(), all.begin(), all.begin() + choices);
  }
  return chosen;
}

/// silu(x G^T) * (x U^T) if `gated`, else x G^T * s with one factor s a row. `codes` computes the weights: %w, and the gated one's %v.
std::string text(Sizes sizes, const std::string &element, bool gated, const std::string &codes = "") {
  std::string k = str(sizes.k), c = str(sizes.choices), x = gated ? type("?x" + k) : type("?x" + c + "x" + k);
  std::string w = type(str(sizes.experts) + "x" + str(sizes.n) + "x" + k, element), o = type("?x" + c, "i32"), s = type(str(sizes.experts + 1), "i32");
  std::string y = type("?x" + c + "x" + str(sizes.n)), v = gated ? w : type("?x" + c + "x1");
  std::string types = "(" + x + ", " + w + ", " + v + ", " + o + ", " + s + ") -> " + y, product = " : " + x + ", " + w + ", " + o + ", " + s + " -> " + y + "\n";
  std::string body = "%0 = llm.grouped_linear %a, %b, %d, %e" + product;
  body += gated ? "%1 = llm.grouped_linear %a, %c, %d, %e" + product + "%2 = llm.silu %0 : " + y + "\n%r = llm.mul %2, %1 : " + y + ", " + y + " -> " + y + "\n"
                : "%r = llm.mul %0, %c : " + y + ", " + v + " -> " + y + "\n";
  std::string dims = gated ? "[\"m\", " + k + "]" : "[\"m\", " + c + ", " + k + "]", vDims = gated ? "" : " {llm.dims = [\"m\", " + c + ", 1]}";
  std::string weights = (codes.empty() ? ", %w: " + w : "") + (codes.empty() || !gated ? ", %v: " + v + vDims : "");
  return "func.func @f(%x: " + x + " {llm.dims = " + dims + "}" + weights + ", %o: " + o + " {llm.dims = [\"m\", " + c +
         "]}, %s: " + s + ") -> " + y + " {\n" + codes + "%y = exec.kernel \"grouped_linear\"(%x, %w, %v, %o, %s) : " + types + " {\n^bb0(%a: " + x + ", %b: " + w + ", %c: " +
         v + ", %d: " + o + ", %e: " + s + "):\n" + body + "exec.yield %r : " + y + "\n}\nreturn %y : " + y + "\n}\n";
}

double silu(double x) { return x / (1 + std::exp(-x)); }
float rounded(float value, bool toBf16) { return toBf16 ? bf16ToFloat(floatToBf16(value)) : value; }

void check(const TargetPair &pair, DType dtype, Sizes sizes, bool gated, StrategyOptions options = {}) {
  SCOPED_TRACE(pair.name() + " " + std::string(dtypeName(dtype)) + " E=" + str(sizes.experts) + " N=" + str(sizes.n) + " K=" + str(sizes.k) + (gated ? " gated" : ""));
  std::mt19937 random(7);
  auto kernel = CompiledKernel::make(text(sizes, std::string(dtypeName(dtype)), gated), cpu::lowerGroupedLinear, pair.target, pair.strategy, options);
  ASSERT_EQ(kernel->lowered().arithmetic == DType::BF16, dtype == DType::BF16 && (options.bf16Products || (options.terms && sizes.k % 32 == 0)));
  Experts first(random, dtype, sizes), second(random, dtype, sizes);
  for (int64_t m : {0, 1, 2, 5, 40, 300})
    for (unsigned parts : {1u, 3u}) {
      std::vector<int64_t> chosen = choose(random, m, sizes.choices, sizes.experts);
      Order order(chosen, sizes.experts);
      int64_t rows = m * sizes.choices;
      Buffer x = randomFloats(random, size_t((gated ? m : rows) * sizes.k)), factors = randomFloats(random, size_t(rows)), y = filled(size_t(rows * sizes.n), NAN);
      void *third = gated ? second.packed() : factors.data<void>();
      kernel->run({x.data<void>(), first.packed(), third, order.rows.data<void>(), order.offsets.data<void>(), y.data<void>()}, {{"m", m}}, parts);
      for (int64_t i = 0; i < (gated ? m : rows) * sizes.k; ++i)
        x.data()[i] = rounded(x.data()[i], options.bf16Products);
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t j = 0; j < sizes.n; ++j) {
          const float *in = x.data() + (gated ? row / sizes.choices : row) * sizes.k;
          double product = first.dot(chosen[size_t(row)], in, j);
          double want = gated ? silu(product) * second.dot(chosen[size_t(row)], in, j) : product * factors.data()[row];
          ASSERT_NEAR(y.data()[row * sizes.n + j], want, (options.terms ? 2e-6 : 1e-5) * std::sqrt(double(sizes.k)) * (1 + std::abs(want)))
              << kernel->variant({{"m", m}}) << " M=" << m << " parts=" << parts << " at " << row << "," << j;
        }
    }
}

/// The codes of all experts, packed one behind the other.
struct ExpertCodes {
  ExpertCodes(std::mt19937 &random, const QuantizedPanels &panels, int zero, Sizes sizes) {
    for (int64_t e = 0; e < sizes.experts; ++e)
      experts.emplace_back(random, panels, zero, sizes.n, sizes.k);
    size_t each = experts.front().packed.bytes();
    packed = Buffer(each * experts.size());
    for (size_t e = 0; e < experts.size(); ++e)
      std::memcpy(packed.data<char>() + e * each, experts[e].packed.data<char>(), each);
  }
  std::vector<PackedCodes> experts;
  Buffer packed;
};

struct CodesCase {
  QuantizedPanels panels;
  int zero;
  Sizes sizes;
  bool gated;
};

// Each row against sums in f64 of what is multiplied; the first token's have the same bits in any batch.
void checkCodes(const TargetPair &pair, const CodesCase &c, StrategyOptions options) {
  auto [panels, zero, sizes, gated] = c;
  SCOPED_TRACE(pair.name() + " " + panels.layout() + " E=" + str(sizes.experts) + " N=" + str(sizes.n) + " K=" + str(sizes.k) + (gated ? " gated" : "") +
               (options.int8Products ? ", rows of 8 bits" : options.bf16Products ? ", rows of bf16" : options.terms ? ", rows of terms" : ""));
  std::mt19937 random(7);
  std::string codes = quantizedWeightText("w", panels, zero, sizes.n, sizes.k, sizes.experts) + (gated ? quantizedWeightText("v", panels, zero, sizes.n, sizes.k, sizes.experts) : "");
  auto kernel = CompiledKernel::make(text(sizes, "f32", gated, codes), cpu::lowerGroupedLinear, pair.target, pair.strategy, options);
  ExpertCodes first(random, panels, zero, sizes), second(random, panels, zero, sizes);
  ASSERT_EQ(kernel->lowered().weightLayouts.at(1).name, first.experts.front().panels.layout());
  ASSERT_EQ(kernel->lowered().arithmetic == DType::BF16, (options.bf16Products || options.terms == 2) && first.experts.front().fillsTiles());
  std::vector<int64_t> all = choose(random, 300, sizes.choices, sizes.experts);
  std::vector<float> alone;
  for (int64_t m : {0, 1, 2, 5, 40, 300})
    for (unsigned parts : {1u, 3u}) {
      std::mt19937 inputs(11);
      std::vector<int64_t> chosen(all.begin(), all.begin() + m * sizes.choices);
      Order order(chosen, sizes.experts);
      int64_t rows = m * sizes.choices;
      Buffer x = randomFloats(inputs, size_t((gated ? m : rows) * sizes.k)), y = filled(size_t(rows * sizes.n), NAN), factors = filled(size_t(rows), 0.5f);
      void *third = gated ? second.packed.data<void>() : factors.data<void>();
      kernel->run({x.data<void>(), first.packed.data<void>(), third, order.rows.data<void>(), order.offsets.data<void>(), y.data<void>()}, {{"m", m}}, parts, nullptr, parts == 3);
      for (int64_t row = 0; row < rows; row += m == 300 ? 7 : 1) {
        size_t expert = size_t(chosen[size_t(row)]);
        std::vector<double> in = first.experts[expert].rowOf(pair.target, x.data() + (gated ? row / sizes.choices : row) * sizes.k, options);
        for (int64_t j = 0; j < sizes.n; ++j) {
          auto [sum, size] = first.experts[expert].dot(in.data(), j);
          double want = sum * 0.5, allowed = size;
          if (gated) {
            auto [other, otherSize] = second.experts[expert].dot(in.data(), j);
            want = silu(sum) * other, allowed = 1.1 * size * std::abs(other) + std::abs(silu(sum)) * otherSize + std::abs(want);
          }
          ASSERT_NEAR(y.data()[row * sizes.n + j], want, 5e-7 * allowed) << kernel->variant({{"m", m}}) << " M=" << m << " parts=" << parts << " at " << row << "," << j;
        }
      }
      if (m == 1 && parts == 1)
        alone.assign(y.data(), y.data() + rows * sizes.n);
      ASSERT_EQ(0, std::memcmp(alone.data(), y.data(), alone.size() * 4)) << "first token of M=" << m;
    }
}

// Blocks of 16, 32, 64 and whole rows, zero points of their own or not; columns that fill no panel or pair of panels, one and several blocks of K, many experts with few rows and few
// with many.
const CodesCase kCodes[] = {{{4, 32, DType::F16, false}, 8, {7, 40, 96, 3}, true},    {{8, 32, DType::F16, false}, 128, {3, 17, 160, 2}, false}, {{4, 64, DType::BF16, true}, 0, {2, 49, 1088, 2}, false},
                            {{8, 0, DType::F32, false}, 128, {4, 33, 64, 2}, true},   {{4, 16, DType::F32, true}, 0, {1, 5, 48, 1}, false},       {{8, 32, DType::F16, true}, 0, {5, 64, 4128, 2}, true},
                            {{8, 128, DType::BF16, true}, 0, {40, 16, 640, 4}, false}};

// Many functions a kernel: few kernels here.
const Sizes kOne = {1, 1, 1, 1}, kOdd = {3, 17, 5, 2}, kWide = {7, 100, 33, 3};

} // namespace

TEST(GroupedLinear, OddSizes) {
  for (const TargetPair &pair : runnableTargets())
    for (Sizes sizes : {kOne, kWide})
      check(pair, DType::F32, sizes, /*gated=*/sizes.experts > 1);
}

TEST(GroupedLinear, HalfWeights) {
  for (const TargetPair &pair : runnableTargets())
    for (DType type : {DType::BF16, DType::F16})
      check(pair, type, kOdd, /*gated=*/type == DType::BF16);
}

TEST(GroupedLinear, ProductsInBf16) {
  for (const TargetPair &pair : runnableTargets())
    for (Sizes sizes : {kOdd, kWide})
      check(pair, DType::BF16, sizes, /*gated=*/sizes.experts == 3, {.bf16Products = true});
}

// Inner dimensions that fill tile registers, in few experts with many rows and in many with few; columns that fill no pair of panels.
TEST(GroupedLinear, ProductsInTileRegisters) {
  for (const TargetPair &pair : runnableTargetsAndTiles())
    for (Sizes sizes : {Sizes{2, 49, 96, 2}, Sizes{7, 64, 160, 3}})
      if (pair.strategy.amx)
        check(pair, DType::BF16, sizes, /*gated=*/sizes.experts == 2, {.bf16Products = true});
}

// Rows as sums of three bf16 numbers, with weights that are one: as near as in f32. Other weights, and what does not fill tile registers, have no terms.
TEST(GroupedLinear, ProductsOfTerms) {
  for (const TargetPair &pair : runnableTargetsAndTiles())
    if (pair.strategy.amx) {
      for (Sizes sizes : {Sizes{2, 49, 96, 2}, Sizes{7, 64, 160, 3}, Sizes{1, 1, 32, 1}, Sizes{3, 33, 2080, 2}})
        check(pair, DType::BF16, sizes, /*gated=*/sizes.experts % 2 == 0, {.terms = 3});
      check(pair, DType::BF16, kOdd, /*gated=*/true, {.terms = 3});
      check(pair, DType::F16, {2, 49, 96, 2}, /*gated=*/true, {.terms = 3});
      check(pair, DType::F32, {2, 49, 96, 2}, /*gated=*/false, {.terms = 3});
    }
}

TEST(GroupedLinear, Codes) {
  size_t turn = 0;
  for (const CodesCase &c : kCodes)
    for (const TargetPair &pair : runnableTargets())
      if (size_t t = turn++ % 4; t != 3)
        checkCodes(pair, c, {.int8Products = t == 1});
}

TEST(GroupedLinear, CodesByRowsOfBf16) {
  for (const CodesCase &c : kCodes)
    for (const TargetPair &pair : runnableTargetsAndTiles())
      for (StrategyOptions options : {StrategyOptions{.bf16Products = true}, {.terms = 2}})
        if (pair.strategy.amx)
          checkCodes(pair, c, options);
}

// A row has the same bits alone and among others. Those of the first token.
static std::vector<float> checkRows(const TargetPair &pair, Sizes sizes, DType dtype, StrategyOptions options) {
  std::mt19937 random(3);
  auto kernel = CompiledKernel::make(text(sizes, std::string(dtypeName(dtype)), false), cpu::lowerGroupedLinear, pair.target, pair.strategy, options);
  Experts weights(random, dtype, sizes);
  std::vector<int64_t> chosen = choose(random, 50, 2, sizes.experts);
  Buffer x = randomFloats(random, size_t(100 * sizes.k)), factors = filled(100, 1);
  std::vector<float> alone;
  for (int64_t m : {1, 3, 50})
    for (unsigned parts : {1u, 2u}) {
      Order order({chosen.begin(), chosen.begin() + m * 2}, sizes.experts);
      Buffer y = filled(size_t(m * 2 * sizes.n), NAN);
      kernel->run({x.data<void>(), weights.packed(), factors.data<void>(), order.rows.data<void>(), order.offsets.data<void>(), y.data<void>()}, {{"m", m}}, parts);
      if (alone.empty())
        alone.assign(y.data(), y.data() + 2 * sizes.n);
      EXPECT_EQ(0, std::memcmp(alone.data(), y.data(), alone.size() * 4)) << pair.name() << " M=" << m;
    }
  return alone;
}

TEST(GroupedLinear, RowsDoNotDependOnEachOther) {
  for (const TargetPair &pair : runnableTargets())
    checkRows(pair, {6, 49, 200, 2}, DType::F32, {});
  for (StrategyOptions options : {StrategyOptions{.bf16Products = true}, {.terms = 2}, {.terms = 3}}) {
    std::vector<float> known; // in tile registers, and where they are done in memory
    for (const TargetPair &pair : runnableTargetsAndTiles())
      if (pair.strategy.amx) {
        std::vector<float> first = checkRows(pair, {3, 49, 192, 2}, DType::BF16, options);
        if (known.empty())
          known = first;
        EXPECT_EQ(0, std::memcmp(known.data(), first.data(), known.size() * 4)) << pair.name();
      }
  }
}

// The pages of experts that no row has chosen are closed: reading one ends the test.
TEST(GroupedLinear, ReadsTheChosenExpertsOnly) {
  Sizes sizes{8, 64, 1024, 2};
  for (const TargetPair &pair : runnableTargets()) {
    std::mt19937 random(3);
    auto kernel = CompiledKernel::make(text(sizes, "bf16", true), cpu::lowerGroupedLinear, pair.target, pair.strategy);
    Experts gate(random, DType::BF16, sizes), up(random, DType::BF16, sizes);
    ASSERT_EQ(gate.each() % Experts::kPage, 0u);
    for (const std::vector<int64_t> &chosen : {std::vector<int64_t>{6, 2}, {2, 6, 6, 2, 2, 6}}) {
      Order order(chosen, sizes.experts);
      Buffer x = randomFloats(random, chosen.size() / 2 * size_t(sizes.k)), y = filled(chosen.size() * size_t(sizes.n), NAN);
      for (Experts *weights : {&gate, &up})
        for (int64_t e = 0; e < sizes.experts; ++e)
          weights->protect(e, e == 2 || e == 6 ? PROT_READ : PROT_NONE);
      kernel->run({x.data<void>(), gate.packed(), up.packed(), order.rows.data<void>(), order.offsets.data<void>(), y.data<void>()},
                  {{"m", int64_t(chosen.size() / 2)}}, 2);
      for (size_t i = 0; i < chosen.size() * size_t(sizes.n); ++i)
        ASSERT_FALSE(std::isnan(y.data()[i]));
    }
  }
}

TEST(GroupRows, SortsStably) {
  for (std::string element : {"i32", "i64"}) {
    std::string e = type("?x3", element), o = type("?x3", "i32"), s = type("6", "i32");
    std::string body = "func.func @f(%e: " + e + " {llm.dims = [\"m\", 3]}) -> (" + o + ", " + s + ") {\n%r:2 = exec.kernel \"group_rows\"(%e) : (" + e + ") -> (" + o + ", " + s +
                       ") {\n^bb0(%a: " + e + "):\n%o, %s = llm.group_rows %a {experts = 5 : i64} : " + e + " -> " + o + ", " + s + "\nexec.yield %o, %s : " + o + ", " + s +
                       "\n}\nreturn %r#0, %r#1 : " + o + ", " + s + "\n}\n";
    for (const TargetPair &pair : runnableTargets()) {
      auto kernel = CompiledKernel::make(body, cpu::lowerGroupRows, pair.target, pair.strategy);
      std::mt19937 random(3);
      for (int64_t m : {0, 1, 2, 17}) {
        std::vector<int64_t> chosen;
        for (int64_t i = 0; i < m * 3; ++i)
          chosen.push_back(int64_t(random() % 8) - 2);
        Buffer numbers(chosen.size() * (element == "i32" ? 4 : 8)), order(chosen.size() * 4), offsets(6 * 4);
        for (size_t i = 0; i < chosen.size(); ++i) {
          if (element == "i32")
            numbers.data<int32_t>()[i] = int32_t(chosen[i]);
          else
            numbers.data<int64_t>()[i] = chosen[i];
          chosen[i] = std::clamp<int64_t>(chosen[i], 0, 4);
        }
        kernel->run({numbers.data<void>(), order.data<void>(), offsets.data<void>()}, {{"m", m}}, 2);
        Order want(chosen, 5);
        EXPECT_EQ(0, std::memcmp(want.rows.data<void>(), order.data<void>(), chosen.size() * 4));
        EXPECT_EQ(0, std::memcmp(want.offsets.data<void>(), offsets.data<void>(), 6 * 4));
      }
    }
  }
}
