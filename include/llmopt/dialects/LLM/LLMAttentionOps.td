//===- LLMAttentionOps.td - rotary positions, attention, the key-value cache
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_DIALECTS_LLM_LLMATTENTIONOPS_TD
#define LLMOPT_DIALECTS_LLM_LLMATTENTIONOPS_TD

include "llmopt/dialects/LLM/LLMBase.td"

def LLM_RopeOp : LLM_PureOp<"rope", [DeclareOpInterfaceMethods<LLM_Decomposable>]> {
  let summary = "Rotary position embedding of `input` [tokens, heads, D] at `positions` [tokens]";
  let description = [{
    Su et al., arXiv:2104.09864. `frequencies` is f32 [R/2] with R <= D: the first R features of each head are
    rotated in pairs by the angle position * frequency, the rest passes through. Pairs are (i, i + R/2), or
    (2i, 2i + 1) with `interleaved`. `scale` multiplies cosine and sine (YaRN's attention factor).
    cos and sin are computed in f32.
  }];
  let arguments = (ins LLM_FloatTensor:$input, LLM_IndexVector:$positions, 1DTensorOf<[F32]>:$frequencies,
                       UnitAttr:$interleaved, DefaultValuedAttr<F32Attr, "1.0f">:$scale);
  let results = (outs LLM_FloatTensor:$result);
  let assemblyFormat = [{
    $input `,` $positions `,` $frequencies attr-dict `:` type($input) `,` type($positions) `,` type($frequencies) `->` type($result)
  }];
  let hasVerifier = 1;
}

def LLM_AttentionOp : LLM_PureOp<"attention", [DeclareOpInterfaceMethods<LLM_Decomposable>]> {
  let summary = "softmax(scale * Q K^T + mask) V over padded batches";
  let description = [{
    query [B, H, S, D], key [B, G, T, D], value [B, G, T, E] -> [B, H, S, E]; head h reads key-value head h / (H / G).
    `mask` broadcasts to [B, H, S, T]: i1 (true = may attend) or float (added). `causal`: query i sees keys
    j <= i + (T - S). `window` > 0: and j > i + (T - S) - window. `softcap` > 0: scores become softcap * tanh(scores / softcap)
    before the mask. A row that may attend to nothing gives zeros. Scores and sums are f32.
  }];
  let arguments = (ins LLM_FloatTensor:$query, LLM_FloatTensor:$key, LLM_FloatTensor:$value, Optional<LLM_Tensor>:$mask,
                       F32Attr:$scale, UnitAttr:$causal, DefaultValuedAttr<I64Attr, "0">:$window,
                       DefaultValuedAttr<F32Attr, "0.0f">:$softcap);
  let results = (outs LLM_FloatTensor:$result);
  let assemblyFormat = [{
    $query `,` $key `,` $value (`mask` $mask^ `:` type($mask))? attr-dict `:` type($query) `,` type($key) `,` type($value) `->` type($result)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Ragged steps: the tokens of all sequences lie flat in one dimension; the step table says which belong together.
//===----------------------------------------------------------------------===//

def LLM_SequenceGroup : I32EnumAttr<"SequenceGroup", "which rows of the step table a state belongs to", [
    I32EnumAttrCase<"self", 0>, I32EnumAttrCase<"encoder", 1>]> {
  let cppNamespace = "::llmopt::llm";
  let genSpecializedAttr = 0;
}
def LLM_SequenceGroupAttr : EnumAttr<LLM_Dialect, LLM_SequenceGroup, "group">;

def LLM_CacheAppendOp : LLM_Op<"cache_append", [MemoryEffects<[MemWrite]>]> {
  let summary = "Writes this step's keys [tokens, G, D] and values [tokens, G, E] to key-value state `state`";
  let description = [{
    Token t of the step belongs to the sequence whose row in the step table covers it and goes to position past + t - first
    of that sequence. `group` = encoder: the state holds one entry per encoder token (cross-attention, and the encoder's own
    attention); it is appended by the `encode` function only.
  }];
  let arguments = (ins LLM_FloatTensor:$key, LLM_FloatTensor:$value, I64Attr:$state,
                       DefaultValuedAttr<LLM_SequenceGroupAttr, "::llmopt::llm::SequenceGroup::self">:$group);
  let assemblyFormat = "$key `,` $value attr-dict `:` type($key) `,` type($value)";
  let hasVerifier = 1;
}

def LLM_PagedAttentionOp : LLM_Op<"paged_attention", [AttrSizedOperandSegments, MemoryEffects<[MemRead]>]> {
  let summary = "Attention of this step's queries [tokens, H, D] over key-value state `state`; result [tokens, H, E]";
  let description = [{
    A token at position p of its sequence sees the entries j of its sequence with j <= p (`causal`; otherwise all), and
    j > p - window where `window` > 0. `softcap` as in `llm.attention`. `slopes` f32 [H] (ALiBi, arXiv:2108.12409) adds
    slope * (j - p). `bias` f32 [H, 2L - 1] adds bias[h, j - p + L - 1] (relative positions, T5), distances clamped to
    +-(L - 1). `sinks` f32 [H] adds exp(sink) to the softmax's sum.
  }];
  let arguments = (ins LLM_FloatTensor:$query, Optional<LLM_FloatTensor>:$slopes, Optional<LLM_FloatTensor>:$bias,
                       Optional<LLM_FloatTensor>:$sinks, I64Attr:$state, I64Attr:$kv_heads, F32Attr:$scale, UnitAttr:$causal,
                       DefaultValuedAttr<I64Attr, "0">:$window, DefaultValuedAttr<F32Attr, "0.0f">:$softcap,
                       DefaultValuedAttr<LLM_SequenceGroupAttr, "::llmopt::llm::SequenceGroup::self">:$group);
  let results = (outs LLM_FloatTensor:$result);
  let assemblyFormat = [{
    $query (`slopes` $slopes^ `:` type($slopes))? (`bias` $bias^ `:` type($bias))? (`sinks` $sinks^ `:` type($sinks))?
    attr-dict `:` type($query) `->` type($result)
  }];
  let hasVerifier = 1;
}

#endif // LLMOPT_DIALECTS_LLM_LLMATTENTIONOPS_TD
