//===- DenseAttentionTest.cpp - attention over padded batches, emulated ---===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where products are in 16 bits, errors are some 2^-9 of what is added up; in f32 they are those of f32.
//
//===----------------------------------------------------------------------===//
#include "EmulatedKernel.h"

#include "codegen/CUDA/kernels/fragments.cuh"
#include "codegen/CUDA/kernels/running_softmax.cuh"
#include "codegen/CUDA/kernels/trigonometry.cuh"
#include "codegen/CUDA/kernels/vectors.cuh"

#include <numeric>

using namespace llmopt::test;

namespace {

struct Encoder { // BERT's: heads lie side by side in a token's row, padding is masked by numbers that are added
  typedef bf16 Product;
  typedef float Mask;
  static constexpr int kMask = 2, kMaskKey = 1, kHeads = 3, kKvHeads = 3, kKeySize = 32, kValueSize = 32, kWindow = 0;
  static constexpr int kQueryStride = 96, kKeyStride = 96, kValueStride = 96, kOutputStride = 96;
  static constexpr bool kAligned = true, kCausal = false, kMaskRows = false;
  DEVICE_MEMBER static constexpr float scale() { return 0.2f; }
  DEVICE_MEMBER static constexpr float softcap() { return 0; }
};
struct Exact : Encoder {
  typedef float Product;
  static constexpr int kKeySize = 80, kValueSize = 80, kQueryStride = 240, kKeyStride = 240, kValueStride = 240, kOutputStride = 240;
};
struct Narrow : Exact { // rows of copies that do not fill 128 bytes
  static constexpr int kKeySize = 20, kValueSize = 20, kQueryStride = 60, kKeyStride = 60, kValueStride = 60, kOutputStride = 60;
};
struct Grouped : Encoder { // heads share keys; odd sizes that no copy of 16 bytes fits; a mask of one byte for each pair
  typedef f16 Product;
  typedef u8 Mask;
  static constexpr int kMask = 1, kHeads = 6, kKvHeads = 2, kKeySize = 25, kValueSize = 35, kWindow = 40;
  static constexpr int kQueryStride = 25, kKeyStride = 51, kValueStride = 35, kOutputStride = 6 * 35;
  static constexpr bool kAligned = false, kCausal = true, kMaskRows = true;
};
struct GroupedExact : Grouped {
  typedef float Product;
};
struct Capped : Encoder {
  static constexpr int kMask = 0, kHeads = 1, kKvHeads = 1, kKeySize = 128, kValueSize = 100;
  static constexpr int kQueryStride = 128, kKeyStride = 128, kValueStride = 100, kOutputStride = 100;
  DEVICE_MEMBER static constexpr float softcap() { return 1.5f; }
};

#include "codegen/CUDA/kernels/dense_attention.cuh"

namespace late_wait { // injected: a wait for one group of copies too few
template <u32 kNewest>
void waitForOneLess() {
  copyAsyncWait<kNewest == 0 ? 0 : kNewest + 1>();
}
#define copyAsyncWait waitForOneLess
#include "codegen/CUDA/kernels/dense_attention.cuh"
#undef copyAsyncWait
} // namespace late_wait

namespace no_barrier { // injected: tiles are read before all have written them
#define blockSync()
#include "codegen/CUDA/kernels/dense_attention.cuh"
#undef blockSync
} // namespace no_barrier

namespace beyond { // injected: copies end beyond shared memory
#define copyAsync16(shared, global, bytes) copyAsync16((shared) + 65536, global, bytes)
#include "codegen/CUDA/kernels/dense_attention.cuh"
#undef copyAsync16
} // namespace beyond

/// Rows of features where `stride` is from token to token: heads side by side in a token's row, or one after another.
struct Layout {
  i64 tokens, heads, size, stride;
  bool sideBySide() const { return stride >= heads * size; }
  i64 head() const { return sideBySide() ? size : tokens * stride; }
  i64 batch() const { return sideBySide() ? tokens * stride : heads * tokens * stride; }
  HeadPlaces places() const { return {0, batch(), head()}; }
  i64 at(i64 b, i64 h, i64 t) const { return b * batch() + h * head() + t * stride; }
  /// As many numbers as there are to read, so that whatever lies beyond is a fault.
  i64 elements(i64 batches) const { return at(batches - 1, heads - 1, tokens - 1) + size; }
};

template <class Problem>
struct Dense {
  i64 batches, queries, keys;
  Layout query{queries, Problem::kHeads, Problem::kKeySize, Problem::kQueryStride}, key{keys, Problem::kKvHeads, Problem::kKeySize, Problem::kKeyStride},
      value{keys, Problem::kKvHeads, Problem::kValueSize, Problem::kValueStride}, output{queries, Problem::kHeads, Problem::kValueSize, Problem::kOutputStride};
  i64 maskQuery = Problem::kMaskRows ? keys : 0, maskBatch = Problem::kMaskRows ? queries * keys : keys;
  Buffer<float> q{size_t(query.elements(batches))}, k{size_t(key.elements(batches))}, v{size_t(value.elements(batches))}, o{size_t(output.elements(batches))};
  Buffer<typename Problem::Mask> mask{size_t(batches * maskBatch)};

  Dense(i64 batches, i64 queries, i64 keys) : batches(batches), queries(queries), keys(keys) {
    q.random(1, 2);
    k.random(2);
    v.random(3);
    std::mt19937 generator(4);
    for (size_t i = 0; i < mask.size(); ++i)
      mask[i] = Problem::kMask == 1 ? generator() % 4 != 0 : generator() % 4 ? float(generator() % 100) * 0.01f : generator() % 2 ? -10000.0f : -HUGE_VALF;
    for (i64 i = 0; i < maskBatch; ++i) // an entry, or a row, that sees nothing
      if (batches > 1 || i < keys)
        mask[i] = Problem::kMask == 1 ? typename Problem::Mask(0) : typename Problem::Mask(-HUGE_VALF);
  }
  bool hidden(i64 b, i64 i, i64 j) const {
    i64 last = i + keys - queries;
    return (Problem::kCausal && j > last) || (Problem::kWindow && j <= last - Problem::kWindow) || (Problem::kMask == 1 && !mask[b * maskBatch + i * maskQuery + j]);
  }
  double error() const {
    Error error;
    for (i64 b = 0; b < batches; ++b)
      for (int h = 0; h < Problem::kHeads; ++h)
        for (i64 i = 0; i < queries; ++i) {
          int kvHead = h / (Problem::kHeads / Problem::kKvHeads);
          std::vector<double> score(keys), sum(Problem::kValueSize);
          double largest = -HUGE_VAL, total = 0;
          for (i64 j = 0; j < keys; ++j) {
            const float *from = &q[query.at(b, h, i)], *to = &k[key.at(b, kvHead, j)];
            score[j] = std::inner_product(from, from + Problem::kKeySize, to, 0.0) * Problem::scale();
            if (Problem::softcap() > 0)
              score[j] = Problem::softcap() * tanh(score[j] / Problem::softcap());
            if (Problem::kMask == 2)
              score[j] += mask[b * maskBatch + i * maskQuery + j];
            if (hidden(b, i, j))
              score[j] = -HUGE_VAL;
            largest = std::max(largest, score[j]);
          }
          for (i64 j = 0; j < keys; ++j) {
            double weight = largest == -HUGE_VAL ? 0 : exp(score[j] - largest);
            total += weight;
            for (int e = 0; e < Problem::kValueSize; ++e)
              sum[e] += weight * v[value.at(b, kvHead, j) + e];
          }
          for (int e = 0; e < Problem::kValueSize; ++e)
            error.add(o[output.at(b, h, i) + e], total > 0 ? sum[e] / total : 0);
        }
    return error.worst();
  }
};

template <class Family, class Operands>
void entry(i64 units, const Operands operands) {
  SHARED_MEMORY(smem);
  Family::run(smem, units, operands);
}

/// Runs it in every mode: the worst error, and the first complaint of the emulation.
template <class Family, class Problem>
std::pair<double, std::string> runDense(i64 batches, i64 queries, i64 keys) {
  Dense<Problem> data(batches, queries, keys);
  typename Family::Operands operands{data.q.data(), data.k.data(), data.v.data(), data.mask.data(), data.o.data(), queries, keys, {}, {}, {}, {}, data.maskBatch, 0, data.maskQuery};
  auto put = [](auto &places, const Layout &layout) { places = {0, layout.batch(), layout.head()}; };
  put(operands.queryPlaces, data.query);
  put(operands.keyPlaces, data.key);
  put(operands.valuePlaces, data.value);
  put(operands.outputPlaces, data.output);
  i64 units = batches * Problem::kKvHeads * Family::tiles(queries);
  double worst = 0;
  for (const char *mode : kModes) {
    std::fill(data.o.data(), data.o.data() + data.o.size(), NAN);
    std::string complaint = launch(mode, entry<Family, typename Family::Operands>, 2, Family::kThreads, Family::kSharedBytes, units, operands);
    if (!complaint.empty())
      return {HUGE_VAL, complaint};
    double error = data.error();
    worst = error > worst || error != error ? error : worst;
  }
  return {worst, ""};
}

template <class Problem, class Family = DenseAttention<Problem>>
double worstError(i64 batches, i64 queries, i64 keys) {
  auto [worst, complaint] = runDense<Family, Problem>(batches, queries, keys);
  EXPECT_EQ(complaint, "");
  return worst;
}

TEST(DenseAttention, PaddedBatch) {
  EXPECT_LT(worstError<Encoder>(2, 65, 65), 0.01);
  EXPECT_LT(worstError<Encoder>(1, 1, 129), 0.01);
}
TEST(DenseAttention, GroupedHeadsWindowAndBytes) { EXPECT_LT(worstError<Grouped>(2, 43, 130), 0.003); }
TEST(DenseAttention, SoftcapOfWideHeads) { EXPECT_LT(worstError<Capped>(2, 70, 67), 0.01); }
TEST(DenseAttention, AsInF32) {
  EXPECT_LT(worstError<Exact>(2, 65, 131), 4e-6);
  EXPECT_LT(worstError<Narrow>(2, 65, 65), 4e-6);
  EXPECT_LT(worstError<GroupedExact>(1, 30, 70), 4e-6);
}

TEST(DenseAttention, InjectedErrorsAreCaught) {
  auto caught = [](double error) { return !(error < 0.05); };
  EXPECT_FALSE(caught(worstError<Encoder>(1, 65, 200)));
  EXPECT_TRUE(caught(worstError<Encoder, late_wait::DenseAttention<Encoder>>(1, 65, 200)));
  EXPECT_TRUE(caught(worstError<Encoder, no_barrier::DenseAttention<Encoder>>(1, 65, 200)));
  EXPECT_TRUE(caught(worstError<Exact, no_barrier::DenseAttention<Exact>>(1, 65, 200)));
  EXPECT_NE((runDense<beyond::DenseAttention<Encoder>, Encoder>(1, 65, 200).second), "");
}

} // namespace
