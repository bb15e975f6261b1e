#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx onnxruntime
"""Transformer blocks quantized by onnxruntime.quantization on CUDA, through the real runtime on the stand-in driver, against ONNX Runtime as test/integration/onnx_quantized.py
has it: products with weights are made of bytes, by dp4a for a few rows, mma.sync and wgmma for more. Without a C++ compiler for the images this is skipped."""
import json
import os
import subprocess
import sys

import numpy as np
import onnxruntime

from harness import ROOT, check, finish, no_compiler, say, scratch, stand_in, tool

sys.path.insert(0, os.path.join(ROOT, "test", "integration"))
import onnx_quantized

emulate = ("--target", "sm_90", "--cuda-compiler=emulate")
options = onnxruntime.SessionOptions()
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
options.log_severity_level = 3


def families(artifact):
    code, text, errors = tool("llmopt-inspect", artifact, "--kernels", "--json")
    kernels = json.loads(text)[0]["kernels"] if check("the kernels are listed", code == 0, errors[:300]) else []
    return {k["family"] for k in kernels if k["math"] in ("i8", "dp4a")}, kernels


# Rows of 84 bytes cannot be copied in pieces of 16, those of 96 and 176 can.
for width, hidden, names in ((96, 176, ("dynamic_unsigned", "qdq")), (84, 171, ("operators",))):
    onnx_quantized.WIDTH, onnx_quantized.HIDDEN = width, hidden
    random = np.random.default_rng(7)
    folder = scratch(str(width))
    os.makedirs(folder)
    output = onnx_quantized.write_block(os.path.join(folder, "plain.onnx"), random)
    models = onnx_quantized.quantized(os.path.join(folder, "plain.onnx"), folder, random)
    for name in names:
        artifact = scratch(f"{name}-{width}.llmopt")
        fusion = "fuse-dequantized-product" if name.startswith("qdq") else "fuse-integer-product"
        code, _, errors = tool("llmopt-compile", models[name], "-o", artifact, "-q", "-O3", f"--require-fusion={fusion}:6", *emulate)
        if no_compiler(code, errors):
            say("SKIP", "cuda_bytes", errors.strip())
            sys.exit(0)
        if not check(f"compile {name}", code == 0, errors[:400]):
            continue
        found, kernels = families(artifact)
        wanted = {"Gemv", "GemmMma", "GemmWgmma"} if width % 16 == 0 else {"Gemv"}
        check(f"{name}, width {width}: products of bytes by {', '.join(sorted(wanted))}", wanted <= found, str([(k["name"], k["family"], k["math"]) for k in kernels]))
        session = onnxruntime.InferenceSession(models[name], options, providers=["CPUExecutionProvider"])
        for shape in ((1, 3), (3, 29)):
            x = random.standard_normal((*shape, width)).astype(np.float32)
            np.save(scratch("x.npy"), x)
            code, _, errors = tool("llmopt-run", artifact, "--input", f"x=@{scratch('x.npy')}", "--output-dir", folder, env=stand_in)
            if check(f"{name} {shape} runs", code == 0, errors[:300]):
                # A number half way between two bytes may be rounded to either, which its row then shows.
                apart = np.abs(np.load(os.path.join(folder, output + ".npy")) - session.run(None, {"x": x})[0])
                good = np.median(apart) <= 1e-5 and np.mean(apart) <= 5e-3 and np.max(apart) <= 0.5  # NaN does not pass
                check(f"{name}, width {width}, {shape}", good, f"differs by {np.median(apart):.3g}, {np.mean(apart):.3g}, {np.max(apart):.3g} (median, mean, most)")
finish()
