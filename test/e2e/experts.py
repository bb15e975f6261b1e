#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy
"""A mixture of experts for the CPU and for sm_90 on the stand-in driver: the same text, logits as on the CPU for one token, a few and many, grouped kernels
with tensor cores, wgmma in bf16 and f16 and three products of tf32 in f32. Without a C++ compiler for the images the GPU's part is skipped."""
import json

import numpy as np

from harness import check, compile_model, finish, no_compiler, os, say, scratch, stand_in, tool

folder = scratch("model")
os.makedirs(folder)
with open(os.path.join(folder, "config.json"), "w") as file:
    json.dump(dict(model_type="qwen3_moe", architectures=["Qwen3MoeForCausalLM"], hidden_size=72, intermediate_size=64, moe_intermediate_size=40, num_experts=6,
                   num_experts_per_tok=2, norm_topk_prob=True, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=3, head_dim=16, vocab_size=61,
                   max_position_embeddings=256, rms_norm_eps=1e-6, rope_theta=10000.0, hidden_act="silu"), file)
np.save(scratch("ids.npy"), np.random.default_rng(1).integers(0, 61, (2, 75)))
np.save(scratch("short.npy"), np.random.default_rng(2).integers(0, 61, (3, 3)))


def logits(artifact, ids, env):
    code, _, errors = tool("llmopt-eval", "logits", artifact, "--ids", scratch(ids), "--batch", 4, "-o", scratch("logits.npy"), env=env)
    return np.load(scratch("logits.npy")) if check(f"{os.path.basename(artifact)}, {ids}: runs", code == 0, f"exit {code}: {errors[:300]}") else None


def text(artifact, env, *flags):
    _, ids, errors = tool("llmopt-run", artifact, "--ids", "1 5 9 17", "--no-echo", "-n", 12, "--temperature", 0, "--ignore-eos", "--print-ids", *flags, env=env)
    return ids.split() or errors


for dtype, family, tolerance in (("f32", "GroupedMma", 1e-4), ("bf16", "GroupedWgmma", 0.03), ("f16", "GroupedWgmma", 0.01)):
    common = ("--weights", "random:3", "--dtype", dtype, "--no-tokenizer", "-O3")
    cpu = compile_model(folder, "cpu-" + dtype, *common)
    if not cpu:
        continue
    want = text(cpu, {}, "-t", 1)
    check(f"{dtype}: the same tokens with 1 and 2 threads", isinstance(want, list) and want == text(cpu, {}, "-t", 2), str(want))
    gpu = scratch("gpu-" + dtype + ".llmopt")
    code, _, errors = tool("llmopt-compile", folder, "-o", gpu, "-q", *common, "--target", "sm_90", "--cuda-compiler=emulate")
    if no_compiler(code, errors):
        say("SKIP", f"experts for sm_90, {dtype}", errors.strip())
        continue
    if not check(f"{dtype}: compiled for sm_90", code == 0, errors[:400]):
        continue
    _, kernels, _ = tool("llmopt-inspect", gpu, "--json", "--kernels")
    check(f"{dtype}: kernels are {family}", family in kernels.decode())
    check(f"{dtype}: the same tokens as on the CPU", want == text(gpu, stand_in), f"{want} {text(gpu, stand_in)}")
    for ids in ("short.npy", "ids.npy"):
        got, expected = logits(gpu, ids, stand_in), logits(cpu, ids, {})
        if got is not None and expected is not None:
            worst = float(np.abs(got - expected).max() / np.abs(expected).max())
            check(f"{dtype}, {ids}: logits as on the CPU", worst < tolerance, f"off by {worst} of the largest")  # NaN fails

# Where ptxas is there, its gate lets no spills pass: a gate's epilogue takes the most registers.
for dtype, compiler in (("f16", "nvrtc"), ("bf16", "clang")):
    code, _, errors = tool("llmopt-compile", folder, "-o", scratch("real.llmopt"), "-q", "--weights", "random:3", "--dtype", dtype, "--no-tokenizer", "-O3",
                           "--target", "sm_90", "--no-portable-ptx", "--cuda-compiler", compiler)
    if code == 3 and "E0982" in errors:
        say("SKIP", f"{dtype} by {compiler}", errors.strip().splitlines()[0])
    else:
        check(f"{dtype} by {compiler} passes the gate", code == 0, f"exit {code}: {errors[:300]}")
finish()
