//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Analysis/SymExpr.h"

#include <gtest/gtest.h>
#include <random>

using namespace llmopt;

namespace {

struct SymExprTest : testing::Test {
  SymContext symbols;
  SymExpr batch = symbols.symbol("batch"), past = symbols.symbol("past"), seq = symbols.symbol("seq");
  SymExpr c(int64_t value) { return symbols.constant(value); }
  SymExpr p(std::string_view text) { return symbols.parse(text); }
};

TEST_F(SymExprTest, EqualExpressionsAreTheSameNode) {
  EXPECT_EQ(symbols.add(past, seq), symbols.add(seq, past));
  EXPECT_EQ(symbols.mul(batch, symbols.add(past, seq)), symbols.add(symbols.mul(past, batch), symbols.mul(batch, seq)));
  EXPECT_EQ(symbols.sub(symbols.add(past, seq), past), seq);
  EXPECT_EQ(symbols.add(seq, seq), symbols.mul(c(2), seq));
  EXPECT_TRUE(symbols.sub(seq, seq).isConstant(0));
  EXPECT_FALSE(past == seq);
}

TEST_F(SymExprTest, UnknownEqualsNothing) {
  SymExpr unknown;
  EXPECT_FALSE(unknown == unknown);
  EXPECT_FALSE(symbols.add(seq, unknown).known());
  EXPECT_FALSE(symbols.floorDiv(seq, c(0)).known());
  EXPECT_TRUE(symbols.mul(c(0), unknown).isConstant(0));
  // A size that is not 1 decides a broadcast, whatever the other is.
  EXPECT_TRUE(symbols.broadcast(unknown, c(5)).isConstant(5));
  EXPECT_FALSE(symbols.broadcast(unknown, seq).known());
}

TEST_F(SymExprTest, OverflowIsUnknown) {
  SymExpr huge = c(INT64_MAX);
  EXPECT_FALSE(symbols.add(huge, c(1)).known());
  EXPECT_FALSE(symbols.mul(symbols.mul(huge, seq), c(2)).known());
  EXPECT_FALSE(symbols.floorDiv(c(INT64_MIN), c(-1)).known());
  SymExpr power = symbols.add(seq, c(1));
  for (int i = 0; i < 10; ++i)
    power = symbols.mul(power, power);
  EXPECT_FALSE(power.known());
}

TEST_F(SymExprTest, DivisionIsExactWhereItCanBe) {
  SymExpr total = symbols.add(past, seq);
  EXPECT_EQ(symbols.floorDiv(symbols.mul(batch, symbols.mul(seq, c(64))), symbols.mul(seq, c(4))), symbols.mul(batch, c(16)));
  EXPECT_EQ(symbols.floorDiv(symbols.mul(batch, total), total), batch);
  EXPECT_EQ(symbols.floorDiv(symbols.mul(symbols.mul(total, total), c(6)), symbols.mul(total, c(3))), symbols.mul(total, c(2)));
  EXPECT_TRUE(symbols.floorDiv(total, total).isConstant(1));
  EXPECT_EQ(symbols.floorDiv(p("4 * seq + 3"), c(4)), seq);
  EXPECT_EQ(symbols.ceilDiv(p("4 * seq + 3"), c(4)), p("seq + 1"));
  EXPECT_EQ(symbols.floorDiv(p("4 * seq - 1"), c(4)), p("seq - 1"));
  EXPECT_EQ(symbols.floorDiv(p("2 * seq + 3"), c(4)), symbols.floorDiv(p("seq + 1"), c(2)));
  EXPECT_EQ(symbols.floorDiv(symbols.floorDiv(seq, c(2)), c(3)), symbols.floorDiv(seq, c(6)));
  EXPECT_TRUE(symbols.floorDiv(c(-7), c(2)).isConstant(-4));
  EXPECT_TRUE(symbols.mod(c(-7), c(2)).isConstant(1));
  EXPECT_TRUE(symbols.mod(p("4 * seq + 8 * past"), c(4)).isConstant(0));
  EXPECT_EQ(symbols.mod(p("4 * seq + 7"), c(4)), c(3));
}

TEST_F(SymExprTest, BroadcastTakesTheDimensionThatIsNotOne) {
  EXPECT_EQ(symbols.broadcast(c(1), seq), seq);
  EXPECT_EQ(symbols.broadcast(seq, c(1)), seq);
  EXPECT_TRUE(symbols.broadcast(seq, c(4)).isConstant(4));
  EXPECT_TRUE(symbols.broadcast(c(0), c(1)).isConstant(0));
  EXPECT_EQ(symbols.broadcast(seq, seq), seq);
  SymExpr both = symbols.broadcast(seq, batch);
  EXPECT_EQ(both, symbols.broadcast(batch, seq));
  EXPECT_EQ(symbols.broadcast(both, seq), both);
  EXPECT_EQ(symbols.evaluate(both, {{"seq", 1}, {"batch", 3}}), 3);
  EXPECT_EQ(symbols.evaluate(both, {{"seq", 3}, {"batch", 1}}), 3);
}

TEST_F(SymExprTest, ReadsDimensionNamesOfExporters) {
  EXPECT_EQ(p("past_sequence + sequence"), symbols.add(symbols.symbol("past_sequence"), symbols.symbol("sequence")));
  EXPECT_EQ(p("2*s0 - 1"), symbols.sub(symbols.mul(c(2), symbols.symbol("s0")), c(1)));
  EXPECT_EQ(p("encoder_sequence_length / 2"), symbols.floorDiv(symbols.symbol("encoder_sequence_length"), c(2)));
  EXPECT_EQ(p("s0//2"), symbols.floorDiv(symbols.symbol("s0"), c(2)));
  EXPECT_EQ(p("Max(1, s0)").str(), "max(1, s0)");
  EXPECT_EQ(p("encoder-length"), symbols.symbol("encoder-length"));
  EXPECT_EQ(p("a - b"), symbols.sub(symbols.symbol("a"), symbols.symbol("b")));
  EXPECT_EQ(p(" 17 "), c(17));
  // What is not understood is one symbol, equal to itself.
  for (std::string_view text : {"sqrt(s0)", "2d_mask", "a +", "", "a b", "99999999999999999999", "-"})
    EXPECT_EQ(p(text), symbols.symbol(text)) << text;
  std::string deep(100000, '(');
  EXPECT_EQ(p(deep), symbols.symbol(deep));
  std::string signs(100000, '-');
  EXPECT_EQ(p(signs + "a"), symbols.symbol(signs + "a"));
}

TEST_F(SymExprTest, PrintsWhatItReads) {
  for (std::string_view text : {"past + seq", "batch * past + batch * seq", "4 * batch * seq - 2 * seq + 1", "-seq - 3",
                                "batch + floordiv(seq + 1, 2)", "mod(seq, 7)", "max(past, seq)", "broadcast(batch, seq)"}) {
    EXPECT_EQ(p(text).str(), text);
  }
}

TEST_F(SymExprTest, ProvesOrderFromSymbolsThatAreNotNegative) {
  SymExpr total = symbols.add(past, seq);
  EXPECT_TRUE(symbols.provenLessEqual(past, total));
  EXPECT_FALSE(symbols.provenLessEqual(total, past));
  EXPECT_FALSE(symbols.provenLessEqual(past, seq));
  EXPECT_TRUE(symbols.provenLessEqual(c(0), symbols.mul(batch, seq)));
  EXPECT_TRUE(symbols.provenLessEqual(symbols.min(past, seq), seq));
  EXPECT_TRUE(symbols.provenLessEqual(symbols.mod(past, c(8)), c(7)));
  EXPECT_TRUE(symbols.provenLessEqual(symbols.floorDiv(seq, c(2)), total));
  EXPECT_TRUE(symbols.provenLessEqual(seq, symbols.max(past, seq)));
  EXPECT_EQ(symbols.max(c(0), symbols.sub(total, past)), seq);
  EXPECT_EQ(symbols.min(total, seq), seq);
  EXPECT_FALSE(symbols.provenLessEqual(c(1), seq));
  symbols.assumeAtLeast("seq", 1);
  EXPECT_TRUE(symbols.provenLessEqual(c(1), seq));
}

TEST_F(SymExprTest, ProvesFromPremisesWhileTheyLive) {
  SymExpr frames = p("floordiv(seq, 10) - 1");
  std::vector<SymExpr> known;
  EXPECT_FALSE(symbols.provenLessEqual(c(0), frames));
  {
    SymContext::Premises premises(symbols, known);
    EXPECT_FALSE(symbols.provenLessEqual(c(0), frames));
    known.push_back(frames);
    EXPECT_TRUE(symbols.provenLessEqual(c(0), frames));
    EXPECT_TRUE(symbols.provenLessEqual(c(-1), symbols.add(frames, frames)));
    EXPECT_TRUE(symbols.provenLessEqual(past, symbols.add(past, symbols.mul(frames, c(3)))));
    EXPECT_EQ(symbols.max(c(0), frames), frames);
    EXPECT_FALSE(symbols.provenLessEqual(c(1), frames));
    EXPECT_FALSE(symbols.provenLessEqual(frames, c(0)));
    EXPECT_FALSE(symbols.provenLessEqual(c(0), p("floordiv(seq, 11) - 1")));
    std::vector<SymExpr> none;
    SymContext::Premises others(symbols, none);
    EXPECT_FALSE(symbols.provenLessEqual(c(0), frames));
  }
  EXPECT_FALSE(symbols.provenLessEqual(c(0), frames));
}

TEST_F(SymExprTest, ProvesMultiples) {
  EXPECT_TRUE(symbols.provenMultipleOf(p("4 * batch * seq + 8"), 4));
  EXPECT_FALSE(symbols.provenMultipleOf(p("4 * batch * seq + 6"), 4));
  EXPECT_TRUE(symbols.provenMultipleOf(symbols.max(p("6 * seq"), c(12)), 3));
  EXPECT_TRUE(symbols.provenMultipleOf(symbols.mul(p("2 * seq"), symbols.max(p("3 * past"), c(6))), 6));
  EXPECT_TRUE(symbols.provenMultipleOf(c(0), 64));
}

/// Builds random expressions and keeps their values beside them: whatever is simplified must keep its value.
TEST_F(SymExprTest, SimplificationKeepsTheValue) {
  std::mt19937 random(7);
  auto pick = [&](int n) { return int(random() % unsigned(n)); };
  for (int round = 0; round < 4000; ++round) {
    std::map<std::string, int64_t, std::less<>> values{{"batch", pick(5)}, {"past", pick(9)}, {"seq", pick(7)}};
    std::vector<std::pair<SymExpr, int64_t>> pool;
    for (auto &[name, value] : values)
      pool.push_back({symbols.symbol(name), value});
    for (int64_t constant : {-3, -1, 0, 1, 2, 4, 6})
      pool.push_back({c(constant), constant});
    for (int step = 0; step < 6; ++step) {
      auto [a, x] = pool[size_t(pick(int(pool.size())))];
      auto [b, y] = pool[size_t(pick(int(pool.size())))];
      int64_t quotient = y ? (x / y - (x % y != 0 && (x < 0) != (y < 0))) : 0;
      int64_t up = y ? (x / y + (x % y != 0 && (x < 0) == (y < 0))) : 0;
      std::pair<SymExpr, int64_t> results[] = {
          {symbols.add(a, b), x + y}, {symbols.sub(a, b), x - y}, {symbols.mul(a, b), x * y},
          {symbols.floorDiv(a, b), quotient}, {symbols.ceilDiv(a, b), up}, {symbols.mod(a, b), x - y * quotient},
          {symbols.min(a, b), std::min(x, y)}, {symbols.max(a, b), std::max(x, y)}};
      int choice = pick(8);
      // Division by zero has no value to keep.
      if (choice >= 3 && choice <= 5 && y == 0)
        continue;
      auto [expr, value] = results[choice];
      if (!expr.known())
        continue;
      ASSERT_EQ(symbols.evaluate(expr, values), value) << expr.str() << " from " << a.str() << " and " << b.str();
      ASSERT_EQ(p(expr.str()), expr) << expr.str();
      if (symbols.provenLessEqual(a, b))
        ASSERT_LE(x, y) << a.str() << " <= " << b.str();
      if (symbols.provenMultipleOf(expr, 4))
        ASSERT_EQ(value % 4, 0) << expr.str();
      pool.push_back({expr, value});
    }
  }
}

} // namespace
