#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx onnxruntime
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A graph in f16: its matrices are stored and read in 16 bits, --dtype reaches them, and its answers are ONNX Runtime's.

    onnx_half.py

An embedding, Gemm with a bias, MatMul with a bias behind it, one that is split into two, and one with a transposed matrix, with 1, 3 and 40 rows, at -O0 and -O3. Results of matrices as they are stored may differ from ONNX
Runtime's by two units of f16's last place (at the largest value), those of rounded matrices by what the format leaves.
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

BIN = os.path.join(os.environ.get("LLMOPT_BUILD", "build"), "bin")
MATRICES = {"gemm": (96, 64), "product": (96, 64), "packed": (64, 128), "transposed": (33, 64)}
STORED = len(MATRICES) + 1  # the packed one in two
# --dtype: what a matrix is stored as, and the largest difference beside the largest value
FORMATS = {"auto": ("f16 panel16", 2 ** -9), "f16": ("f16 panel16", 2 ** -9), "bf16": ("bf16 panel16x2", 1e-2), "f32": ("f32 panel16", 2 ** -9), "int8": ("f32 panel16w8b32f16", 4e-2),
           "int4": ("f32 panel16w4b32f16", 4e-1)}


def graph(path):
    random = np.random.default_rng(2)
    draw = lambda *shape: (random.standard_normal(shape) / 4).astype(np.float16)
    weights = {name: draw(*shape) for name, shape in MATRICES.items()} | {"gemm_bias": draw(96), "product_bias": draw(64), "table": draw(100, 64)}
    node = helper.make_node
    nodes = [node("Gather", ["table", "ids"], ["x"]), node("Gemm", ["x", "gemm", "gemm_bias"], ["a"], transB=1), node("Relu", ["a"], ["r"]), node("MatMul", ["r", "product"], ["p"]),
             node("Add", ["p", "product_bias"], ["s"]), node("MatMul", ["s", "packed"], ["k"]), node("Split", ["k"], ["u", "v"], axis=1), node("Tanh", ["u"], ["g"]), node("Mul", ["g", "v"], ["z"]),
             node("Transpose", ["transposed"], ["t"], perm=[1, 0]), node("MatMul", ["z", "t"], ["y"])]
    made = helper.make_graph(nodes, "half", [helper.make_tensor_value_info("ids", TensorProto.INT64, ["m"])], [helper.make_tensor_value_info("y", TensorProto.FLOAT16, ["m", 33])],
                             [numpy_helper.from_array(value, name) for name, value in weights.items()])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def tool(name, *arguments):
    return subprocess.run([os.path.join(BIN, name), *arguments], check=True, capture_output=True, text=True).stdout


failures = []


def check(name, good, why):
    print(f"PASS {name}" if good else f"FAIL {name} {why}")
    if not good:
        failures.append(name)


with tempfile.TemporaryDirectory(prefix="llmopt-half-") as folder:
    at = lambda name: os.path.join(folder, name)
    graph(at("half.onnx"))
    theirs = onnxruntime.InferenceSession(at("half.onnx"), providers=["CPUExecutionProvider"])
    for dtype, (stored, tolerance) in FORMATS.items():
        for level in ("-O0", "-O3"):
            tool("llmopt-compile", at("half.onnx"), level, "--dtype", dtype, "-q", "-o", at("half.llmopt"))
            if level == "-O3": # at -O0 only Gemm is a product with a matrix
                tensors = {weight["type"]: weight["tensors"] for weight in json.loads(tool("llmopt-inspect", at("half.llmopt"), "--json"))["weights"]}
                check(f"--dtype {dtype} stores", tensors.get(stored) == STORED, f"{tensors}, expected {STORED} of {stored}")
            for rows in (1, 3, 40):
                ids = np.random.default_rng(rows).integers(0, 100, rows)
                np.save(at("ids.npy"), ids)
                tool("llmopt-run", at("half.llmopt"), "--input", f"ids=@{at('ids.npy')}", "--output-dir", folder)
                want = theirs.run(None, {"ids": ids})[0].astype(np.float64)
                worst = np.max(np.abs(np.load(at("y.npy")).astype(np.float64) - want)) / np.max(np.abs(want))
                check(f"--dtype {dtype} {level} {rows} rows", worst <= tolerance, f"differs by {worst:.2e} of the largest value, {tolerance:.2e} permitted")
sys.exit(1 if failures else 0)
