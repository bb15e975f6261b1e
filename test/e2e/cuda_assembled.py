#!/usr/bin/env python3
# llmopt-test: quick
"""Kernels of a whole model assembled for each GPU target by each CUDA compiler that is installed, none spilling; the same bytes with one job
and two. A compiler that is not there is skipped with the reason."""
import json
import os

from harness import check, data, finish, no_compiler, say, scratch, tool

stories = data("stories260k")
fresh = {"LLMOPT_CACHE_DIR": "off"}


def kernels(artifact, target):
    """The launch metadata of a target."""
    code, text, _ = tool("llmopt-inspect", artifact, "--json")
    section = next(s for s in json.loads(text)["sections"] if s["name"] == f"kernels/{target}")
    with open(artifact, "rb") as file:
        file.seek(section["offset"])
        return json.loads(file.read(section["bytes"]))


def assemble(compiler, target, *flags, model=stories):
    output = scratch(f"{compiler}-{target}{''.join(flags)}.llmopt")
    code, _, errors = tool("llmopt-compile", model, "-o", output, "-q", "--target", target, "--cuda-compiler", compiler, *flags, env=fresh)
    if no_compiler(code, errors):
        say("SKIP", f"{compiler} {target}", errors.strip().splitlines()[0])
        return None
    if not check(f"{compiler} {target} {' '.join(flags)}", code == 0, f"exit {code}: {errors[:500]}"):
        return None
    metadata = kernels(output, target)
    spilling = [(k["name"], k["llmopt"]["spill"]) for k in metadata["kernels"] if k["llmopt"]["spill"]]
    check(f"{compiler} {target}: no spills", not spilling, str(spilling))
    return output


first = assemble("nvrtc", "sm_90", "--jobs", "1")
if first:
    second = assemble("nvrtc", "sm_90", "--jobs", "2")
    check("nvrtc: the same bytes with 1 and 2 jobs", second and open(first, "rb").read() == open(second, "rb").read())
for target in ("sm_80", "sm_89", "sm_100"):
    assemble("nvrtc", target, "--dtype", "bf16")
assemble("clang", "sm_90")

# Heads of 128, as in models of 8 billion weights: the most that attention over a 16-bit cache keeps in registers.
wide = scratch("wide")
os.makedirs(wide)
with open(os.path.join(wide, "config.json"), "w") as file:
    json.dump(dict(model_type="llama", architectures=["LlamaForCausalLM"], hidden_size=128, intermediate_size=64, num_hidden_layers=1, num_attention_heads=8,
                   num_key_value_heads=2, head_dim=128, vocab_size=97, max_position_embeddings=512, rms_norm_eps=1e-5, rope_theta=10000.0, hidden_act="silu",
                   torch_dtype="bfloat16"), file)
for target in ("sm_80", "sm_90"):
    assemble("nvrtc", target, "--weights", "random:1", "--dtype", "bf16", model=wide)
assemble("clang", "sm_89", "--weights", "random:1", "--dtype", "f32", "--kv-cache", "f32", model=wide)

# LLVM alone: PTX, which ptxas assembles where it is installed; and that is what a machine without any CUDA compiler gets, with a warning.
output = scratch("llvm.llmopt")
code, _, errors = tool("llmopt-compile", stories, "-o", output, "-q", "--target", "sm_90", "--cuda-compiler=llvm", env=fresh)
if check("llvm sm_90", code == 0, f"exit {code}: {errors[:500]}"):
    spilling = [k["name"] for k in kernels(output, "sm_90")["kernels"] if k["llmopt"]["spill"] and k["name"].startswith(("rows_", "loops_", "linear_"))]
    check("llvm: no spills in pointwise kernels and reductions", not spilling, str(spilling))
bare = {**fresh, "PATH": "/nonexistent", "CUDA_HOME": "/nonexistent", "LLMOPT_NVRTC": "/nonexistent", "LLMOPT_PTXAS": ""}
output = scratch("bare.llmopt")
code, _, errors = tool("llmopt-compile", stories, "-o", output, "--target", "sm_90", env=bare)
metadata = kernels(output, "sm_90") if code == 0 else {}
check("without a CUDA compiler: PTX by LLVM, with a warning", metadata.get("compiler", "").startswith("llvm") and {m["form"] for m in metadata["modules"]} == {"ptx"}
      and "no CUDA compiler is installed" in errors, f"exit {code}: {errors[:300]}")
finish()
