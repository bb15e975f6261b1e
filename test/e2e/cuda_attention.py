#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy
"""A decoder with heads of 64 in bf16 for sm_90, on the stand-in driver: keys and values in f16, prompts through wgmma, tokens one by one through the split decode kernel, several
sequences in a step; logits as on the CPU. Without a C++ compiler for the images this is skipped."""
import json

import numpy as np

from harness import check, compile_model, finish, no_compiler, os, say, scratch, stand_in, sys, tool

folder = scratch("model")
os.makedirs(folder)
with open(os.path.join(folder, "config.json"), "w") as file:
    json.dump(dict(model_type="llama", architectures=["LlamaForCausalLM"], hidden_size=128, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
                   head_dim=64, vocab_size=97, max_position_embeddings=512, rms_norm_eps=1e-5, rope_theta=10000.0, hidden_act="silu", initializer_range=0.2,
                   torch_dtype="bfloat16"), file)
common = ("--weights", "random:3", "--dtype", "bf16", "--no-tokenizer")
emulate = ("--target", "sm_90", "--cuda-compiler=emulate")
code, _, errors = tool("llmopt-compile", folder, "-o", scratch("gpu.llmopt"), "-q", *common, *emulate)
if no_compiler(code, errors):
    say("SKIP", "cuda_attention", errors.strip())
    sys.exit(0)
check("compiled for sm_90", code == 0, errors[:400])
cpu = compile_model(folder, "cpu", "--target", "x86-64", "--kv-cache", "f32", *common)
wide = compile_model(folder, "wide", "--kv-cache", "f32", *common, *emulate)


def families(artifact):
    _, text, _ = tool("llmopt-inspect", artifact, "--json", "--kernels")
    return text.decode()


check("prompts take wgmma", "WgmmaAttention" in families(scratch("gpu.llmopt")))
if wide:
    check("with --kv-cache=f32 they take mma.sync", "PrefillAttention" in families(wide) and "WgmmaAttention" not in families(wide))
np.save(scratch("ids.npy"), np.random.default_rng(1).integers(0, 97, (2, 150)))
np.save(scratch("short.npy"), np.random.default_rng(2).integers(0, 97, (3, 5)))


def logits(artifact, ids, env):
    code, _, errors = tool("llmopt-eval", "logits", artifact, "--ids", scratch(ids), "--batch", 4, "-o", scratch("logits.npy"), env=env)
    return np.load(scratch("logits.npy")) if check(f"{os.path.basename(artifact)}, {ids}: runs", code == 0, f"exit {code}: {errors[:300]}") else None


for artifact in filter(None, (scratch("gpu.llmopt"), wide)):
    for ids in ("ids.npy", "short.npy"):
        got, want = logits(artifact, ids, stand_in), logits(cpu, ids, {}) if cpu else None
        if got is not None and want is not None:
            worst = float(np.abs(got - want).max() / np.abs(want).max())
            check(f"{os.path.basename(artifact)}, {ids}: logits as on the CPU", worst < 0.03, f"off by {worst} of the largest")  # NaN fails
texts = []
for artifact, env in ((scratch("gpu.llmopt"), stand_in), (cpu, {})):
    code, text, errors = tool("llmopt-run", artifact, "--ids", "1 5 9 17", "--no-echo", "-n", 12, "--temperature", 0, "--ignore-eos", "--print-ids", env=env)
    texts.append(text.split())
check("the same tokens as on the CPU, one by one", texts[0] == texts[1] and len(texts[0]) > 0, f"{texts} {errors[:300]}")
finish()
