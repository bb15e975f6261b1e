//===- AttentionStep.cpp - reading the step table in a kernel -------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/AttentionStep.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

#include <cstddef>

using namespace mlir;
using namespace llmopt;
using namespace llmopt::cpu;

static_assert(sizeof(SequenceRow) == 24 && sizeof(StepTable) == 48, "offsets below are part of the kernel ABI");

StepReader::StepReader(KernelBuilder &b, llm::SequenceGroup group) : b_(b) {
  int64_t place = int64_t(group) * int64_t(sizeof(void *));
  rows_ = loadPointer(int64_t(offsetof(StepTable, rows)) + place);
  blocks_ = loadPointer(int64_t(offsetof(StepTable, blocks)) + place);
  tokenSequence_ = loadPointer(offsetof(StepTable, tokenSequence));
}

Value StepReader::loadPointer(int64_t byteOffset) {
  Value field = b_.address(b_.stepTable(), b_.index(byteOffset), b_.ops().getI8Type());
  return LLVM::LoadOp::create(b_.ops(), b_.loc(), LLVM::LLVMPointerType::get(b_.context()), field);
}

Value StepReader::loadUnsigned(Value base, Value byteOffset) {
  Value narrow = b_.load(b_.i32(), b_.address(base, byteOffset, b_.ops().getI8Type()), b_.index(0));
  return arith::ExtUIOp::create(b_.ops(), b_.loc(), b_.i64(), narrow);
}

Value StepReader::sequenceOf(Value token) { return loadUnsigned(tokenSequence_, b_.mul(token, 4)); }

SequenceFields StepReader::fields(Value sequence) {
  Value row = b_.mul(sequence, int64_t(sizeof(SequenceRow)));
  auto field = [&](size_t offset) { return loadUnsigned(rows_, b_.add(row, int64_t(offset))); };
  return {field(offsetof(SequenceRow, first)), field(offsetof(SequenceRow, past)), field(offsetof(SequenceRow, length)),
          field(offsetof(SequenceRow, table))};
}

Value StepReader::block(const SequenceFields &sequence, Value index) {
  return loadUnsigned(blocks_, b_.mul(b_.add(sequence.table, index), 4));
}

// At each token that begins a run: count the run's tokens.
void StepReader::forEachRun(Value begin, Value end, function_ref<void(Value, Value)> body) {
  b_.forLoop(begin, end, 1, [&](Value token) {
    Value sequence = sequenceOf(token), before = sequenceOf(b_.max(b_.add(token, -1), begin)), one = b_.index(1), zero = b_.index(0);
    Value starts = b_.select(b_.equal(token, begin), one, b_.select(b_.equal(sequence, before), zero, one));
    b_.ifThen(b_.equal(starts, one), [&] {
      KernelBuilder::Values count = b_.forLoop(token, end, 1, ValueRange{zero}, [&](Value other, ValueRange sum) {
        return KernelBuilder::Values{b_.add(sum[0], b_.select(b_.equal(sequenceOf(other), sequence), one, zero))};
      });
      body(token, count[0]);
    });
  });
}

Value cpu::throughViews(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!isa<llm::ReshapeOp, llm::ExpandDimsOp, llm::SqueezeOp, llm::FlattenOp>(op))
      return {};
    value = op->getOperand(0);
  }
  return value;
}

HeadsSource cpu::traceHeads(Value heads) {
  HeadsSource source;
  for (Operation *op = heads.getDefiningOp(); op && !source.argument; op = heads.getDefiningOp()) {
    if (auto rope = dyn_cast<llm::RopeOp>(op)) {
      if (source.rope || !throughViews(rope.getPositions()) || !throughViews(rope.getFrequencies()))
        return {};
      source.rope = rope;
    } else if (!isa<llm::ReshapeOp, llm::ExpandDimsOp, llm::SqueezeOp, llm::FlattenOp>(op)) {
      return {};
    }
    heads = op->getOperand(0);
  }
  source.argument = heads;
  return source;
}
