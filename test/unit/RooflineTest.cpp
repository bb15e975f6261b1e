//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Artifact/DrawnWeights.h"
#include "llmopt/lib/Artifact/RepackedWeights.h"
#include "llmopt/lib/Artifact/Roofline.h"
#include "llmopt/lib/Artifact/TokenChoice.h"

#include <cmath>
#include <cstring>
#include <gtest/gtest.h>

using namespace llmopt;

namespace {

// Against NVIDIA's occupancy calculator.
TEST(Roofline, Occupancy) {
  const GpuFacts &h200 = *gpuFacts(90), &l40s = *gpuFacts(89);
  auto blocks = [](const GpuFacts &gpu, uint32_t threads, uint32_t registers, uint32_t shared) { return occupancy(gpu, threads, registers, shared).blocks; };
  EXPECT_EQ(blocks(h200, 256, 32, 0), 8u);
  EXPECT_EQ(blocks(h200, 256, 128, 0), 2u);
  EXPECT_EQ(blocks(h200, 384, 168, 0), 1u);
  EXPECT_EQ(blocks(h200, 32, 16, 0), 32u);
  EXPECT_EQ(blocks(h200, 128, 32, 100 << 10), 2u);
  EXPECT_EQ(blocks(h200, 128, 32, 227 << 10), 1u);
  EXPECT_EQ(blocks(l40s, 256, 32, 0), 6u);
  EXPECT_STREQ(occupancy(h200, 256, 128, 0).limit, "registers");
  EXPECT_STREQ(occupancy(h200, 128, 32, 100 << 10).limit, "shared memory");
  EXPECT_DOUBLE_EQ(occupancy(h200, 256, 128, 0).share, 0.25);
  EXPECT_EQ(gpuFacts(70), nullptr);
}

TEST(Roofline, Bounds) {
  const GpuFacts &gpu = *gpuFacts(90);
  DeviceKernel kernel{.name = "k", .threads = 128, .unitsPerBlock = 1};
  kernel.math = "bf16";
  Roofline copy = roofline(gpu, kernel, 4.8e9, 1e6, 1 << 20);
  EXPECT_TRUE(copy.memoryBound);
  EXPECT_NEAR(copy.seconds, 1e-3, 1e-9);
  EXPECT_NEAR(copy.ofBandwidth, 1, 1e-9);
  Roofline product = roofline(gpu, kernel, 1e6, 989e9, 132 * 8);
  EXPECT_FALSE(product.memoryBound);
  EXPECT_NEAR(product.seconds, 1e-3, 1e-9);
  Roofline tail = roofline(gpu, kernel, 1e6, 989e9, 132 * 8 + 1); // one block more takes one wave more
  EXPECT_NEAR(tail.ofPeak, (132.0 * 8 + 1) / (132 * 9), 1e-6);
  kernel.blocksPerSm = 1; // as many blocks as multiprocessors, however many units
  EXPECT_NEAR(roofline(gpu, kernel, 1e6, 989e9, 132 * 8 + 1).ofPeak, 1, 1e-6);
}

/// The row of a kernel in a report's table.
Json rowOf(const Json &table, std::string_view name) {
  for (const Json &row : table.find("kernels")->asArray())
    if (row.find("name")->asString() == name)
      return row;
  return {};
}

TEST(Roofline, KernelsThatNoPlanNames) {
  plan::Plan plan;
  plan::Entry entry{.name = "step", .symbols = {"rows"}};
  entry.expressions = {{plan::Expr::Op::Symbol, 0}, {plan::Expr::Op::Constant, 32000}, {plan::Expr::Op::Constant, 0}};
  entry.buffers = {{.name = "w", .kind = plan::BufferKind::Weight, .index = 0}, {.name = "logits", .kind = plan::BufferKind::Output, .shape = {0, 1}}};
  entry.outputs = {1};
  entry.stages = {{.name = "s", .bindings = {0, 1}, .selector = 2, .variants = {{"product", 0, 1, 2}}, .flops = 2, .bytesMoved = 2}};
  plan.entries = {entry, entry}; // two entries share the copy
  plan.entries[1].name = "encode";
  plan.weights = {{.name = "w", .dtype = DType::BF16, .shape = {32, 64}, .layout = "panel16x2", .offset = 64, .bytes = 4096},
                  {.name = "q", .dtype = DType::F32, .shape = {16, 64}, .layout = "panel16q4b32f32", .offset = 8192, .bytes = 640}};
  DeviceCode code{"nvrtc", "sm_90a", {}, {}};
  for (const char *name : {kSampleKernel, "product", "unpack_panel16x2", kRepackKernel})
    code.kernels.push_back({.name = name, .threads = 256, .unitsPerBlock = 1, .registers = 32});
  DeviceParameter map{DeviceParameter::Kind::TensorMap, 0, DeviceMatrix::kMapBytes};
  map.matrix = {DType::BF16, 0, 32, 64, 128, "unpack_panel16x2"};
  code.kernels[1].parameters = {map, map};
  Json table = kernelTable(plan, code, 512);
  for (const char *run : {"decode", "prefill"}) { // one token is drawn, whatever was read before it
    Json sum = *rowOf(table, kSampleKernel).find(run);
    EXPECT_EQ(sum.find("bytes")->asDouble(), 128000);
    EXPECT_EQ(sum.find("blocks")->asInt(), 1);
    EXPECT_LT(sum.find("of_bandwidth")->asDouble(), 0.1); // one multiprocessor
  }
  EXPECT_EQ(rowOf(table, "unpack_panel16x2").find("load")->find("bytes")->asDouble(), 4096 * 2);
  EXPECT_EQ(rowOf(table, "unpack_panel16x2").find("load")->find("launches")->asInt(), 1);
  EXPECT_EQ(rowOf(table, kRepackKernel).find("load")->find("bytes")->asDouble(), 640 * 2);
  EXPECT_EQ(rowOf(table, "product").find("load"), nullptr);
}

// Element by element by the description in RandomTensor.h.
TEST(DrawnWeights, Layouts) {
  DrawnWeight weight{.name = "w", .dtype = DType::BF16, .shape = {37, 5}, .layout = "panel16x2"};
  weight.random = RandomTensor::ofWeight(7, "model.layers.0.w", weight.shape, DType::F32);
  EXPECT_EQ(weight.order().elements(), 48u * 6);
  for (bool outputsFirst : {true, false}) {
    weight.outputsFirst = outputsFirst;
    DrawnWeight::Order order = weight.order();
    weight.bytes = order.elements() * 2;
    std::vector<uint16_t> drawn(order.elements());
    weight.draw(std::as_writable_bytes(std::span(drawn)));
    for (uint64_t n = 0; n < order.outputs; ++n)
      for (uint64_t k = 0; k < order.inputs; ++k) {
        uint64_t groups = (order.inputs + 1) / 2, place = ((n / 16 * groups + k / 2) * 16 + n % 16) * 2 + k % 2;
        EXPECT_EQ(drawn[place], floatToBf16(weight.random.at(outputsFirst ? n * 5 + k : k * 5 + n)));
      }
    if (order.inputs % 2)
      EXPECT_EQ(drawn[(order.inputs / 2 * 16) * 2 + 1], 0); // the input beyond the last
  }
}

TEST(DrawnWeights, Distribution) {
  RandomTensor random = RandomTensor::ofWeight(1, "norm.weight", std::vector<int64_t>{1000}, DType::F32);
  double sum = 0, squares = 0;
  for (uint64_t i = 0; i < 100000; ++i) {
    double x = random.at(i) - 1;
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / 1e5, 0, 3e-4);
  EXPECT_NEAR(std::sqrt(squares / 1e5), 0.02, 2e-4);
  std::vector<float> all(64);
  random.fill(std::as_writable_bytes(std::span(all)));
  for (size_t i = 0; i < all.size(); ++i)
    EXPECT_EQ(all[i], random.at(i));
  EXPECT_NE(RandomTensor::ofWeight(2, "norm.weight", {}, DType::F32).state, random.state);
}

} // namespace
