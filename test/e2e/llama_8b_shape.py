#!/usr/bin/env python3
# llmopt-test: long
"""A model of the shape of Llama 3.1 8B with random weights for sm_90: compiled without a GPU and without 16 GB of anything, to the same bytes twice and with
one job and two. Prints the seconds it took; no check depends on them."""
import json
import os
import time

from harness import check, finish, say, scratch, sys, tool

CONFIG = dict(model_type="llama", architectures=["LlamaForCausalLM"], hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
              num_key_value_heads=8, vocab_size=128256, max_position_embeddings=131072, rms_norm_eps=1e-5, rope_theta=500000.0, hidden_act="silu",
              rope_scaling=dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192, rope_type="llama3"),
              torch_dtype="bfloat16")
folder = scratch("llama-8b")
os.makedirs(folder, exist_ok=True)
json.dump(CONFIG, open(os.path.join(folder, "config.json"), "w"))
contents = []
for jobs in (1, 2, 2):
    output, start = scratch(f"8b-{len(contents)}.llmopt"), time.time()
    code, _, errors = tool("llmopt-compile", folder, "-o", output, "-O3", "--target", "sm_90", "--weights", "random:1", "--jobs", jobs, env={"LLMOPT_CACHE_DIR": "off"})
    if not check(f"8B with {jobs} jobs", code == 0, errors[:500]):
        break
    print(f"     {time.time() - start:.1f} s: {errors.strip().splitlines()[-1]}")
    contents.append(open(output, "rb").read())
if contents:
    check("nothing large travels", len(contents[0]) < 64 << 20, f"{len(contents[0])} bytes")
    check("the same bytes twice and with 1 and 2 jobs", len(contents) == 3 and contents[0] == contents[1] == contents[2])
    code, text, _ = tool("llmopt-inspect", scratch("8b-0.llmopt"), "--json")
    summary = json.loads(text)
    check("the weights are those of 8B", sum(w["bytes"] for w in summary["weights"]) > 15e9, str(summary["weights"]))
finish()
