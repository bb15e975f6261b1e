#!/usr/bin/env python3
# llmopt-test: long
# llmopt-packages: numpy safetensors torch transformers
"""A folder with nothing but config.json, compiled with --weights=random:SEED, equals byte for byte the folder into which another program
(numpy) wrote the same weights: all element types, tied and untied, decoders and an encoder."""
import json
import os
import sys

from harness import ROOT, check, compile_model, finish, scratch, tool

sys.path.insert(0, os.path.join(ROOT, "test", "benchmark"))
from random_weights import make  # noqa: E402

LLAMA = dict(model_type="llama", architectures=["LlamaForCausalLM"], hidden_size=40, intermediate_size=56, num_hidden_layers=2,
             num_attention_heads=4, num_key_value_heads=2, vocab_size=67, max_position_embeddings=64, rms_norm_eps=1e-6, hidden_act="silu")
CASES = {
    "llama-bf16": {**LLAMA, "dtype": "bfloat16"},
    "llama-f16-tied": {**LLAMA, "torch_dtype": "float16", "tie_word_embeddings": True},
    "gpt2": dict(model_type="gpt2", architectures=["GPT2LMHeadModel"], n_embd=36, n_layer=2, n_head=3, vocab_size=61, n_positions=64),
    "bert": dict(model_type="bert", architectures=["BertModel"], hidden_size=36, intermediate_size=50, num_hidden_layers=2, num_attention_heads=3,
                 vocab_size=61, max_position_embeddings=40),
}


def folder_of(name, config):
    path = scratch(name)
    os.makedirs(path, exist_ok=True)
    json.dump(config, open(os.path.join(path, "config.json"), "w"))
    return path


def content(path):
    with open(path, "rb") as file:
        return file.read()


for name, config in CASES.items():
    drawn = compile_model(folder_of(name, config), name, "--weights", "random:7")
    other = compile_model(folder_of(name, config), name + "-8", "--weights", "random:8")
    written = folder_of(name + "-written", config)
    make(written, 7, written)
    read = compile_model(written, name + "-written")
    if drawn and other and read:
        check(f"random weights {name} equal", content(drawn) == content(read))
        check(f"random weights {name} depend on the seed", content(drawn) != content(other))

llama = folder_of("none", LLAMA)
for value in ("random", "random:", "random:x", "random:-1", "zeros"):
    code, _, errors = tool("llmopt-compile", llama, "--weights", value)
    check(f"random weights refuse {value}", code == 2 and "E0316" in errors, f"exit {code}: {errors}")
finish()
