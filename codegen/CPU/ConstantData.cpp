//===- ConstantData.cpp - constant tensors in the code section ------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CPU/ConstantData.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace llmopt;

static void appendBytes(std::string &bytes, const llvm::APInt &value) {
  unsigned width = std::max(1u, value.getBitWidth() / 8);
  uint64_t bits = value.getZExtValue();
  for (unsigned i = 0; i < width; ++i)
    bytes.push_back(char(bits >> (8 * i)));
}

static std::string bytesOf(ElementsAttr value) {
  std::string bytes;
  if (isa<FloatType>(value.getElementType()))
    for (llvm::APFloat element : value.getValues<llvm::APFloat>())
      appendBytes(bytes, element.bitcastToAPInt());
  else
    for (const llvm::APInt &element : value.getValues<llvm::APInt>())
      appendBytes(bytes, element);
  return bytes;
}

Value cpu::constantData(KernelBuilder &b, ModuleOp module, ElementsAttr value, const std::string &symbol) {
  std::string bytes = bytesOf(value);
  {
    OpBuilder builder(module.getContext());
    builder.setInsertionPointToStart(module.getBody());
    auto type = LLVM::LLVMArrayType::get(builder.getI8Type(), bytes.size());
    LLVM::GlobalOp::create(builder, b.loc(), type, /*isConstant=*/true, LLVM::Linkage::Private, symbol,
                           builder.getStringAttr(bytes), /*alignment=*/64);
  }
  OpBuilder::InsertionGuard guard(b.ops());
  Operation *function = b.ops().getInsertionBlock()->getParentOp();
  while (!isa<FunctionOpInterface>(function))
    function = function->getParentOp();
  b.ops().setInsertionPointToStart(&function->getRegion(0).front());
  auto address = LLVM::AddressOfOp::create(b.ops(), b.loc(), LLVM::LLVMPointerType::get(b.context()), symbol);
  address->setDiscardableAttr("llmopt.entry", b.ops().getUnitAttr());
  return address;
}
