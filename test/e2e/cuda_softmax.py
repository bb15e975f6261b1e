#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx
"""Softmax of rows on CUDA, through the real runtime on the stand-in driver: with scale, mask and a product around it, widths known and unknown when compiling,
narrow, odd and wider than what a block holds. The reference is in double. Without a C++ compiler for the images this is skipped."""
import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from harness import check, compile_model, finish, no_compiler, os, say, scratch, stand_in, sys, tool

emulate = ("--target", "sm_90", "--cuda-compiler=emulate")
random = np.random.default_rng(5)


def model(name, width):
    """y = softmax(x / 4 + mask) * r, and x / 4 + mask itself; mask has one row for all."""
    nodes = [helper.make_node("Mul", ["x", "quarter"], ["scaled"]), helper.make_node("Add", ["scaled", "mask"], ["sum"]),
             helper.make_node("Softmax", ["sum"], ["p"], axis=-1), helper.make_node("Mul", ["p", "r"], ["y"])]
    shape = ["batch", 3, "rows", width]
    graph = helper.make_graph(nodes, name, [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape), helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, width]),
                                            helper.make_tensor_value_info("r", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)], [numpy_helper.from_array(np.array(0.25, np.float32), "quarter")])
    path = scratch(name + ".onnx")
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


code, _, errors = tool("llmopt-compile", model("probe", 64), "-o", scratch("probe.llmopt"), "-q", *emulate)
if no_compiler(code, errors):
    say("SKIP", "cuda_softmax", errors.strip())
    sys.exit(0)

for name, width, widths in (("known", 37, (37,)), ("wide", 2000, (2000,)), ("unknown", "keys", (1, 65, 1100))):
    artifact = compile_model(model(name, width), name, *emulate)
    if not artifact:
        continue
    _, text, _ = tool("llmopt-inspect", artifact, "--json")
    section = next(s for s in json.loads(text)["sections"] if s["name"] == "kernels/sm_90")
    with open(artifact, "rb") as file:
        file.seek(section["offset"])
        kernels = file.read(section["bytes"]).decode()
    check(f"{name}: a kernel of the family", '"Softmax"' in kernels, kernels[:300])
    for count in widths:
        x = random.uniform(-20, 20, (2, 3, 5, count)).astype(np.float32)
        mask = np.where(random.uniform(0, 1, (1, count)) < 0.3, -np.inf, 0).astype(np.float32)
        mask[0, 0] = 0
        r = random.uniform(-1, 1, x.shape).astype(np.float32)
        scores = x.astype(np.float64) / 4 + mask
        powers = np.exp(scores - scores.max(-1, keepdims=True))
        folder = scratch(f"{name}-{count}")
        os.makedirs(folder)
        for i, (kind, key, value) in enumerate((("input", "x", x), ("input", "mask", mask), ("input", "r", r), ("output", "y", (powers / powers.sum(-1, keepdims=True) * r).astype(np.float32)))):
            with open(os.path.join(folder, f"{kind}_{0 if kind == 'output' else i}.pb"), "wb") as file:
                file.write(numpy_helper.from_array(value, key).SerializeToString())
        code, _, errors = tool("llmopt-run", artifact, "--test-data", folder, "--atol", 1e-6, "--rtol", 2e-5, env=stand_in)
        check(f"{name}, {count} columns", code == 0, f"exit {code}: {errors[:300]}")
finish()
