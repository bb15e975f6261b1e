#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx onnxruntime
"""A file for a CPU and sm_90 holds each matrix once, in whatever order the targets are named: codes of 4 and 8 bits lie as the CPU maps them, and a kernel makes those of the GPU
when it is loaded. Both targets against ONNX Runtime, the GPU on the stand-in driver. Without a C++ compiler for the images this is skipped."""
import json

import numpy as np

from harness import check, compile_model, finish, no_compiler, os, say, scratch, stand_in, sys, tool
from quantized_graphs import dequantized, nbits, plain, random, save, witness

CPU, GPU = ("--target", "x86-64-v3"), ("--target", "sm_90", "--cuda-compiler=emulate", "--no-portable-ptx")


def sections(artifact):
    _, text, _ = tool("llmopt-inspect", artifact, "--json")
    return {s["name"]: s["bytes"] for s in json.loads(text)["sections"]}


def damaged(artifact):
    """The list of what is to be made of the words, one offset changed."""
    _, text, _ = tool("llmopt-inspect", artifact, "--json")
    place = next(s for s in json.loads(text)["sections"] if s["name"] == "repacked")
    content = bytearray(open(artifact, "rb").read())
    content[place["offset"] + 5] ^= 1
    open(scratch("damaged.llmopt"), "wb").write(content)
    return scratch("damaged.llmopt")


code, _, errors = tool("llmopt-compile", nbits("probe", 64, 64, 4, 32, False), "-o", scratch("probe.llmopt"), "-q", *GPU)
if no_compiler(code, errors):
    say("SKIP", "cuda_one_copy", errors.strip())
    sys.exit(0)

cases = [("four-bits", nbits("four-bits", 400, 1331, 4, 32, True), 400, "f32", ()), ("odd-depth", nbits("odd-depth", 203, 70, 4, 16, True), 203, "f32", ()),
         ("half-gate", nbits("half-gate", 512, 130, 8, 32, False, np.float16, True), 512, "f16", ()), ("uint8", dequantized("uint8", 300, 37, "UINT8", 0), 300, "f32", ()),
         ("numbers", plain("numbers", 256, 300)[0], 256, "f32", ())]
for name, path, depth, kind, flags in cases:
    alone = compile_model(path, name + "-cpu", *CPU, *flags)
    both = compile_model(path, name, *(CPU + GPU if name != "uint8" else GPU + CPU), *flags)
    if not alone or not both:
        continue
    parts, wanted = sections(both), sections(alone)["weights"]
    check(f"{name}: the weights are there once", parts["weights"] == wanted, f"{parts['weights']} bytes, for the CPU alone {wanted}")
    check(f"{name}: what is repacked", ("repacked" in parts) == (name != "numbers"), str(parts))
    device = sum(parts.get(s, 0) for s in ("plan/sm_90", "kernels/sm_90", "code/sm_90"))
    # Sections begin at multiples of 4 KiB.
    most = 1.02 * os.path.getsize(alone) + device + 4 * 4096
    check(f"{name}: the size of the file", os.path.getsize(both) <= most, f"{os.path.getsize(both)} of at most {most}")
    session = witness(path)
    for rows in (1, 9, 17):
        # What the GPU rounds to bf16 from 17 rows on is a number of bf16 here.
        x = random.integers(-8, 9, (rows, depth)).astype(np.float16 if kind == "f16" else np.float32) / 8
        folder = scratch(f"{name}-{rows}")
        save(folder, "input", [("x", x)])
        save(folder, "output", [("y", session.run(None, {"x": x})[0])])
        tolerance = ("--atol", 2e-3, "--rtol", 2e-3) if kind == "f16" else ("--atol", 5e-5, "--rtol", 5e-5)
        for device in ("cpu", "cuda"):
            code, _, errors = tool("llmopt-run", both, "--device", device, "--test-data", folder, *tolerance, env=stand_in)
            check(f"{name}, {rows} rows, {device}", code == 0, f"exit {code}: {errors[:300]}")
    if name == "four-bits":
        broken = damaged(both)
        for device, expected in (("cuda", 1), ("cpu", 0)): # a CPU has no use for it
            code, _, errors = tool("llmopt-run", broken, "--device", device, "--test-data", scratch(f"{name}-1"), "--atol", 5e-5, "--rtol", 5e-5, env=stand_in)
            check(f"a damaged list on {device}", (code != 0 and "E0205" in errors) if expected else code == 0, f"exit {code}: {errors[:300]}")
finish()
