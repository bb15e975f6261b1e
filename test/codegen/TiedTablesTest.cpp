//===- TiedTablesTest.cpp - embeddings read as projections have them ------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "LoopsKernel.h"

#include "codegen/Common/WeightPacking.h"

using namespace llmopt;
using namespace llmopt::test;

namespace {

constexpr int64_t kRows = 37, kWidth = 21, kTokens = 9; // the last panel is not full, the last pair of inputs neither

/// Looks rows up in a table; `projection` is a second kernel that has it as its weight "t".
std::string lookup(const std::string &type, const std::string &projection) {
  std::string table = "tensor<" + std::to_string(kRows) + "x" + std::to_string(kWidth) + "x" + type + ">";
  std::string kernel = R"(
func.func @f(%ids: tensor<?xi64> {llm.dims = ["n"]}, %x: tensor<?x21xf32> {llm.dims = ["n", 21 : i64]}, %y: tensor<?x37xf32> {llm.dims = ["n", 37 : i64]}) -> tensor<?x21xf32> {
  %w = llm.weight "t" : TABLE
  %r = exec.kernel "loops"(%ids, %w) : (tensor<?xi64>, TABLE) -> tensor<?x21xf32> {
  ^bb0(%0: tensor<?xi64>, %1: TABLE):
    %2 = llm.embedding %0, %1 : tensor<?xi64>, TABLE -> tensor<?x21xf32>
    exec.yield %2 : tensor<?x21xf32>
  }
  )" + projection + "\n  return %r : tensor<?x21xf32>\n}\n";
  for (size_t at; (at = kernel.find("TABLE")) != std::string::npos;)
    kernel.replace(at, 5, table);
  return kernel;
}

const char *const kOutputsFirst = R"(
  %p = exec.kernel "linear"(%x, %w) : (tensor<?x21xf32>, TABLE) -> tensor<?x37xf32> {
  ^bb0(%0: tensor<?x21xf32>, %1: TABLE):
    %2 = llm.linear %0, %1 : tensor<?x21xf32>, TABLE -> tensor<?x37xf32>
    exec.yield %2 : tensor<?x37xf32>
  })";
const char *const kInputsFirst = R"(
  %p = exec.kernel "linear"(%y, %w) : (tensor<?x37xf32>, TABLE) -> tensor<?x21xf32> {
  ^bb0(%0: tensor<?x37xf32>, %1: TABLE):
    %2 = llm.linear %0, %1 {transposed} : tensor<?x37xf32>, TABLE -> tensor<?x21xf32>
    exec.yield %2 : tensor<?x21xf32>
  })";

Result<LoweredKernel> lowerLookup(exec::KernelOp kernel, cpu::FamilyContext &context) { return cpu::lowerByFamily("loops", kernel, context); }

class TiedTables : public testing::TestWithParam<const char *> {};

TEST_P(TiedTables, AreReadAsTheProjectionHasThem) {
  DType type = *parseDType(GetParam());
  Tensor table = randomTensor(type, {kRows, kWidth}, -1, 1, 4), ids = randomTensor(DType::I64, {kTokens}, 0, kRows, 3);
  for (const char *projection : {kOutputsFirst, kInputsFirst})
    for (const TargetPair &pair : runnableTargets()) {
      SCOPED_TRACE(pair.name());
      auto kernel = CompiledKernel::make(lookup(GetParam(), projection), lowerLookup, pair.target, pair.strategy);
      const auto &layouts = kernel->lowered().weightLayouts;
      ASSERT_EQ(layouts.size(), 1u);
      const WeightLayout &layout = layouts.at(1);
      EXPECT_EQ(layout.name, panelLayout(type));
      EXPECT_EQ(layout.outputsFirst, projection == kOutputsFirst);
      int64_t outputs = layout.outputsFirst ? kRows : kWidth, inputs = layout.outputsFirst ? kWidth : kRows;
      Buffer packed(size_t(packedMatrixBytes(layout.name, type, outputs, inputs))), result = filled(kTokens * kWidth, NAN);
      ASSERT_TRUE(packWeight(layout.name, type, outputs, inputs, layout.outputsFirst, {static_cast<const std::byte *>(table.data()), table.bytes()},
                             {packed.data<std::byte>(), packed.bytes()})
                      .ok());
      kernel->run({ids.data(), packed.data(), result.data()}, {{"n", kTokens}}, 2);
      for (int64_t token = 0; token < kTokens; ++token)
        for (int64_t k = 0; k < kWidth; ++k)
          ASSERT_EQ(result.data()[token * kWidth + k], float(table.at(ids.as<int64_t>()[token] * kWidth + k))) << token << "," << k;
    }
}

TEST_P(TiedTables, OthersStayRows) {
  Target target = *findTarget("x86-64");
  EXPECT_TRUE(CompiledKernel::make(lookup(GetParam(), ""), lowerLookup, target, target)->lowered().weightLayouts.empty());
}

INSTANTIATE_TEST_SUITE_P(Types, TiedTables, testing::Values("f32", "bf16", "f16"), [](const auto &info) { return std::string(info.param); });

} // namespace
