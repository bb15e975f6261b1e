#!/usr/bin/env python3
# llmopt-test: quick
"""Programmatic dependent launch: kernels for sm_90 are launched before the one in front is done, and wait for it themselves. The stand-in driver starts the
one in front as late as that allows, so that a kernel which does not wait, or reads before it waits, is found. Without a C++ compiler this is skipped."""
import glob
import json
import os
import re
import sys

from harness import check, compile_model, finish, no_compiler, say, scratch, stand_in, tool

CONFIG = dict(model_type="llama", architectures=["LlamaForCausalLM"], hidden_size=64, intermediate_size=136, num_hidden_layers=2, num_attention_heads=4,
              num_key_value_heads=2, vocab_size=211, max_position_embeddings=64, rms_norm_eps=1e-6, hidden_act="silu")
os.makedirs(scratch("model"), exist_ok=True)
json.dump(CONFIG, open(scratch("model/config.json"), "w"))


def compile_for(target, name, *flags):
    output = scratch(name + ".llmopt")
    code, _, errors = tool("llmopt-compile", scratch("model"), "-o", output, "-q", "--weights", "random:7", "--target", target, *flags,
                           env={"LLMOPT_CACHE_DIR": scratch("cache")})
    return output, code, errors


def ids(artifact, **env):
    code, text, errors = tool("llmopt-run", artifact, "--ids", "1 5 9", "--no-echo", "--print-ids", "--ignore-eos", "-n", 12, "--temperature", 0, env={**stand_in, **env})
    return code, text.decode(), errors


def early(artifact):
    """How many kernels may be launched early, and how many there are."""
    folder = artifact + ".kernels"
    tool("llmopt-inspect", artifact, "--export-kernels", folder)
    written = [json.load(open(path)) for path in glob.glob(folder + "/*.json")]
    return sum(kernel["launch_pdl"] for kernel in written), len(written)


artifact, code, errors = compile_for("sm_90", "whole", "--cuda-compiler=emulate", "--dump-dir", scratch("dump"))
if no_compiler(code, errors):
    say("SKIP", "cuda_dependent_launch", errors.strip())
    sys.exit(0)
check("compile for sm_90", code == 0, errors[:300])
wanted = ids(compile_model(scratch("model"), "cpu", "--weights", "random:7", "--target", "x86-64"))[1]
for name, env in (("early", {}), ("one after the other", {"LLMOPT_CUDA_PDL": "0"})):
    code, got, errors = ids(artifact, **env)
    check(f"launched {name}: the CPU's tokens", code == 0 and got == wanted and len(got.split()) == 12, f"exit {code} {errors[:300]}: {got}, not {wanted}")
count, kernels = early(artifact)
check("kernels for sm_90 say so", count > 5 and kernels - count <= 1, f"{count} of {kernels}")  # the one that draws tokens is launched behind the graph
for target, some in (("sm_90", True), ("sm_80", False)):
    alone, _, errors = compile_for(target, target, "--cuda-compiler=llvm")
    count, kernels = early(alone)
    check(f"kernels for {target} by LLVM alone: {'all' if some else 'none'}", kernels > 5 and count == (kernels if some else 0), f"{count} of {kernels} {errors[:300]}")

# The norms, broken by hand: they do not wait; they wait when all is done.
SILENT = '#include "primitives.cuh"\n#define waitForDependencies() (void)0\n'
for name, behind in (("never", ""), ("late", "#undef waitForDependencies\n")):
    folder = scratch("broken-" + name)
    os.makedirs(folder, exist_ok=True)
    for path in glob.glob(scratch("dump") + "/6-sm_90/*.cu"):
        text = open(path).read()
        if '#include "norm.cuh"' not in text:
            continue
        if behind:
            text = re.sub(r'(extern "C" GLOBAL .*?)(\n\}\nLLMOPT_EXPORT)', behind + r"\1\n  waitForDependencies();\2", text, flags=re.S)
        open(os.path.join(folder, os.path.basename(path)), "w").write(SILENT + text)
    artifact, code, errors = compile_for("sm_90", "broken-" + name, "--cuda-compiler=emulate", "--kernel-override", folder)
    if not check(f"norms that wait {name} compile", code == 0, errors[:500]):
        continue
    code, got, errors = ids(artifact)
    caught = code == 70 and "does not wait for it" in errors if name == "never" else code == 0 and got != wanted
    check(f"norms that wait {name} are found", caught, f"exit {code} {errors[:300]}: {got}")
    code, got, errors = ids(artifact, LLMOPT_CUDA_PDL="0")
    check(f"norms that wait {name}, one after the other", code == 0 and got == wanted, f"exit {code} {errors[:300]}: {got}")
finish()
