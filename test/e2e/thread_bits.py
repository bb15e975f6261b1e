#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy
"""Results have the same bits with any number of threads, and with threads that take over pieces of each other's work: an encoder, a decoder and one with
experts, of drawn weights and odd sizes, in f32, as sums of bf16 and with products of bf16, also with weights of 4 bits, over steps short and long enough for each kind of kernel."""
import json
import os

import numpy as np

from harness import check, compile_model, finish, scratch, tool

CASES = {
    "bert": dict(model_type="bert", architectures=["BertModel"], hidden_size=72, intermediate_size=200, num_hidden_layers=2, num_attention_heads=3,
                 vocab_size=61, max_position_embeddings=160, hidden_act="gelu"),
    "llama": dict(model_type="llama", architectures=["LlamaForCausalLM"], hidden_size=72, intermediate_size=200, num_hidden_layers=2,
                  num_attention_heads=6, num_key_value_heads=3, vocab_size=61, max_position_embeddings=160, rms_norm_eps=1e-6, hidden_act="silu"),
    # Its inner dimensions fill tile registers, where the machine has them.
    "even": dict(model_type="llama", architectures=["LlamaForCausalLM"], hidden_size=96, intermediate_size=224, num_hidden_layers=2,
                 num_attention_heads=3, num_key_value_heads=1, vocab_size=61, max_position_embeddings=160, rms_norm_eps=1e-6, hidden_act="silu"),
    # Of its experts the last product fills them.
    "mixtral": dict(model_type="mixtral", architectures=["MixtralForCausalLM"], hidden_size=72, intermediate_size=96, num_hidden_layers=1,
                    num_attention_heads=6, num_key_value_heads=3, num_local_experts=5, num_experts_per_tok=2, vocab_size=61, max_position_embeddings=160,
                    rms_norm_eps=1e-6, hidden_act="silu"),
}
# Threads, and the least piece of work: stages of these small models are dealt in pieces only if told to be.
WAYS = ((2, None), (3, None), (2, "0"), (5, "0"))
# Of 2 x 125 rows, eighths of a share would be other groups of rows than quarters if groups followed from the number of parts alone.
LENGTHS = (1, 2, 9, 75, 125)
FORMATS = {"f32": [], "bf16x2": ["--products", "bf16x2"], "bf16": ["--dtype", "bf16", "--products", "bf16"], "int4": ["--dtype", "int4", "--products", "bf16"],
           "int4-bf16x2": ["--dtype", "int4", "--products", "bf16x2"]}


def bits(artifact, name, length, threads, piece=None):
    """What the model gives for two sequences, as integers, so that NaN equals nothing by accident."""
    np.save(scratch("ids.npy"), (np.arange(2 * length) * 7 % 61).reshape(2, length))
    env = {"LLMOPT_PIECE_US": piece} if piece else {}
    code, _, errors = tool("llmopt-eval", "logits", artifact, "--ids", scratch("ids.npy"), "--batch", 2, "-o", scratch("out.npy"), "-t", threads, env=env)
    if not check(f"{name} runs with {threads} threads", code == 0, errors[:300]):
        return None
    values = np.load(scratch("out.npy"))
    check(f"{name} is finite with {threads} threads", values.size > 0 and np.isfinite(values).all())
    return values.view(np.int32)


for model, config in CASES.items():
    folder = scratch(model)
    os.makedirs(folder)
    json.dump(config, open(os.path.join(folder, "config.json"), "w"))
    for form, flags in FORMATS.items():
        artifact = compile_model(folder, f"{model}-{form}", "-O3", "--weights", "random:3", *flags)
        for length in LENGTHS if artifact else ():
            name = f"{model} {form} 2x{length}"
            one = bits(artifact, name, length, 1)
            for threads, piece in WAYS:
                other = bits(artifact, name, length, threads, piece)
                check(f"{name}: 1 and {threads} threads{', in pieces' if piece else ''}", one is not None and np.array_equal(one, other))
finish()
