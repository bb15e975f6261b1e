//===- Strategy.td - how a kernel is tiled, as an attribute
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_DIALECTS_STRATEGY_STRATEGY_TD
#define LLMOPT_DIALECTS_STRATEGY_STRATEGY_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/OpBase.td"

def Strategy_Dialect : Dialect {
  let name = "strategy";
  let cppNamespace = "::llmopt::strategy";
  let summary = "Choices of phase Strategy: data only, read by the CPU and the CUDA generators";
  let useDefaultAttributePrinterParser = 1;
}

class Strategy_Attr<string name, string attrMnemonic> : AttrDef<Strategy_Dialect, name> {
  let mnemonic = attrMnemonic;
}

/// One M-bucket of a matrix product: used while M <= maxM (the last bucket has maxM = 0, without bound).
def Strategy_GemmBucketAttr : Strategy_Attr<"GemmBucket", "gemm_bucket"> {
  let summary = "Register tile `rows` x `columns`, K in blocks of `kBlock`, rows in blocks of `mBlock`";
  let description = [{
    With `mBlock` = 0 the bucket is for M = `rows` only: the weights stream past all rows at once, `columns` of them in parallel.
    `packInput` copies the rows of a block into tile order first.
  }];
  let parameters = (ins "int64_t":$maxM, "int64_t":$rows, "int64_t":$columns, "int64_t":$kBlock, "int64_t":$mBlock,
                        "bool":$packInput);
  let assemblyFormat = "`<` struct(params) `>`";
}

def Strategy_GemmAttr : Strategy_Attr<"Gemm", "gemm"> {
  let summary = "A matrix product with packed weights (panels of 16 columns), by M-bucket";
  let description = [{
    With `bf16Products` the rows are rounded to bf16 and multiplied in pairs (vdpbf16ps); `kBlock` then counts pairs. With `int8Products`, for weights that are codes,
    they are rounded to 8 bits in blocks. With `amx` words of two bf16 or of four bytes are multiplied in tile registers (Intel AMX), two by two or one by four of
    16 rows and 16 columns. With `terms` (2 or 3, and `amx`) numbers in f32 are sums of so many bf16 ones, whose products are added; `kBlock` counts pairs then, too.
  }];
  let parameters = (ins ArrayRefParameter<"::llmopt::strategy::GemmBucketAttr">:$buckets, "int64_t":$vectorBits,
                        DefaultValuedParameter<"bool", "false">:$bf16Products, DefaultValuedParameter<"bool", "false">:$int8Products,
                        DefaultValuedParameter<"bool", "false">:$amx, DefaultValuedParameter<"int64_t", "0">:$terms);
  let assemblyFormat = [{
    `<` `vector_bits` `=` $vectorBits `,` (`bf16_products` `=` $bf16Products^ `,`)? (`int8_products` `=` $int8Products^ `,`)? (`amx` `=` $amx^ `,`)?
    (`terms` `=` $terms^ `,`)? `[` $buckets `]` `>`
  }];
}

def Strategy_LoopsAttr : Strategy_Attr<"Loops", "loops"> {
  let summary = "A loop nest: elements of one work unit, vector width in bits";
  let parameters = (ins "int64_t":$unitElements, "int64_t":$vectorBits);
  let assemblyFormat = "`<` struct(params) `>`";
}

def Strategy_AttentionAttr : Strategy_Attr<"Attention", "attention"> {
  let summary = "Online-softmax attention: query rows and keys a block";
  let description = [{
    With `bf16Products` queries, keys, values and the weights of values are rounded to bf16 and multiplied in pairs (vdpbf16ps), or with `amx` in tile registers.
  }];
  let parameters = (ins "int64_t":$queryBlock, "int64_t":$keyBlock, "int64_t":$vectorBits, "bool":$bf16Products,
                        DefaultValuedParameter<"bool", "false">:$amx);
  let assemblyFormat = "`<` struct(params) `>`";
}

#endif // LLMOPT_DIALECTS_STRATEGY_STRATEGY_TD
