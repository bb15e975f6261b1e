#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx onnxruntime safetensors
"""A mixture of experts for the CPU and for sm_90 on the stand-in driver: the same text, logits as on the CPU for one token, a few and many, grouped kernels
with tensor cores, wgmma in bf16 and f16 and three products of tf32 in f32. Without a C++ compiler for the images the GPU's part is skipped. With --dtype=int4 and int8
experts are codes too: logits are those of a model whose matrices NumPy has rounded; a GPU keeps them, and says so."""
import json

import numpy as np

from safetensors.numpy import save_file

from harness import check, compile_model, finish, no_compiler, os, runs_here, say, scratch, stand_in, tool
from quantized_graphs import rounded_in_blocks

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

# Rounded when compiled, each expert by itself.
WIDTH, INNER, EXPERTS, LAYERS = 64, 96, 6, 2
config = dict(model_type="qwen3_moe", architectures=["Qwen3MoeForCausalLM"], hidden_size=WIDTH, intermediate_size=WIDTH, moe_intermediate_size=INNER, num_experts=EXPERTS, num_experts_per_tok=2,
              norm_topk_prob=True, num_hidden_layers=LAYERS, num_attention_heads=2, num_key_value_heads=1, head_dim=32, vocab_size=61, max_position_embeddings=256, rms_norm_eps=1e-6,
              rope_theta=10000.0, hidden_act="silu", tie_word_embeddings=False)
random = np.random.default_rng(5)
shapes = {"lm_head": (61, WIDTH)}
for layer in range(LAYERS):
    attention, mlp = f"model.layers.{layer}.self_attn.", f"model.layers.{layer}.mlp."
    shapes |= {attention + "q_proj": (64, WIDTH), attention + "k_proj": (32, WIDTH), attention + "v_proj": (32, WIDTH), attention + "o_proj": (WIDTH, 64), mlp + "gate": (EXPERTS, WIDTH)}
    for expert in range(EXPERTS):
        each = f"{mlp}experts.{expert}."
        shapes |= {each + "gate_proj": (INNER, WIDTH), each + "up_proj": (INNER, WIDTH), each + "down_proj": (WIDTH, INNER)}
matrices = {name + ".weight": random.normal(0, 0.15, shape).astype(np.float32) for name, shape in shapes.items()}
norms = ["model.norm"] + [f"model.layers.{i}.{name}" for i in range(LAYERS) for name in ("input_layernorm", "post_attention_layernorm")]
others = {name + ".weight": np.ones(WIDTH, np.float32) for name in norms} | {"model.embed_tokens.weight": random.normal(0, 1, (61, WIDTH)).astype(np.float32)}
others |= {f"model.layers.{i}.self_attn.{name}.weight": np.ones(32, np.float32) for i in range(LAYERS) for name in ("q_norm", "k_norm")}


def saved(name, tensors):
    os.makedirs(scratch(name))
    with open(os.path.join(scratch(name), "config.json"), "w") as file:
        json.dump(config, file)
    save_file(tensors, os.path.join(scratch(name), "model.safetensors"))
    return scratch(name)


plain = saved("plain", matrices | others)
targets = [target for target in ("x86-64", "x86-64-v3", "native") if target == "native" or runs_here(target)]
for bits in (4, 8):
    want = compile_model(saved(f"rounded-{bits}", {name: np.ascontiguousarray(rounded_in_blocks(value.T, bits).T) for name, value in matrices.items()} | others), f"want-{bits}", "--no-tokenizer")
    made = [(f"{target} {' '.join(flags)}", flags, tolerance, compile_model(plain, f"int{bits}-{target}-{i}", f"--dtype=int{bits}", "--no-tokenizer", "--target", target, *flags))
            for target in targets for i, (flags, tolerance) in enumerate(((("-O3",), 1e-5), (("-O0",), 1e-5), (("--products=int8",), 0.05)))]
    made += [("tile registers", (), 0.05, compile_model(plain, f"int{bits}-tiles", f"--dtype=int{bits}", "--no-tokenizer", "--products=bf16", "--strategy-target=x86-64-v4-amx"))]
    for name, flags, tolerance, artifact in made if want else ():
        if not artifact:
            continue
        _, weights, _ = tool("llmopt-inspect", artifact, "--weights", "--json")
        count = weights.decode().count(f"panel16w{bits}b32f16")
        check(f"int{bits}, {name}: all matrices are codes", count == len(matrices) - LAYERS * 3 * (EXPERTS - 1), f"{count} are")
        check(f"int{bits}, {name}: the same tokens with 1 and 2 threads", text(artifact, {}, "-t", 1) == text(artifact, {}, "-t", 2))
        if "native" in name and "-O0" not in flags or name == "tile registers":
            code, said, errors = tool("../test/bin/llmopt-sequence-check", artifact)
            check(f"int{bits}, {name}: the same bits in any batch and in pieces", code == 0 and b"PASS" in said and b"FAIL" not in said, f"exit {code}: {said.decode()[:300]} {errors[:300]}")
        for ids in ("short.npy", "ids.npy"):
            got, expected = logits(artifact, ids, {}), logits(want, ids, {})
            if got is not None and expected is not None:
                each = np.abs(got - expected).max(axis=-1) / np.abs(expected).max()
                worst = float(each.max() if tolerance < 0.01 else np.median(each))  # rows that are rounded may choose other experts
                check(f"int{bits}, {name}, {ids}: logits of rounded matrices", worst < tolerance, f"off by {worst} of the largest")
    code, _, errors = tool("llmopt-compile", plain, "-o", scratch("planned.mlir"), "-q", f"--dtype=int{bits}", "--no-tokenizer", "--target", "sm_90", "--target", "native", "--compile-to=planned")
    check(f"int{bits}: a GPU keeps experts, and that is said", code == 0 and "experts are rounded for processors only" in errors, f"exit {code}: {errors[:300]}")

# Where ptxas is there, its gate lets no spills pass: a gate's epilogue takes the most registers.
for dtype, compiler in (("f16", "nvrtc"), ("bf16", "clang")):
    code, _, errors = tool("llmopt-compile", folder, "-o", scratch("real.llmopt"), "-q", "--weights", "random:3", "--dtype", dtype, "--no-tokenizer", "-O3",
                           "--target", "sm_90", "--no-portable-ptx", "--cuda-compiler", compiler)
    if code == 3 and "E0982" in errors:
        say("SKIP", f"{dtype} by {compiler}", errors.strip().splitlines()[0])
    else:
        check(f"{dtype} by {compiler} passes the gate", code == 0, f"exit {code}: {errors[:300]}")
finish()
