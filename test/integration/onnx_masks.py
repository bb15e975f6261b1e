#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx onnxruntime
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Attention whose mask hides all keys of whole spans, against ONNX Runtime.

    onnx_masks.py

Padding on the left, and windows behind long pasts: the first keys of every row are hidden, none, some, and more than a kernel takes at once, by the least number of f32 (as PyTorch's exports have it), a large number,
minus infinity and a boolean mask; with 1 and 37 rows, and with scores that are capped; at -O0 and -O3. Where a mask of numbers hides everything, all keys weigh the same.
"""
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

BIN = os.path.join(os.environ.get("LLMOPT_BUILD", "build"), "bin")
HEADS, SIZE, TOLERANCE = 2, 64, 1e-5
HIDING = {"least": np.finfo(np.float32).min, "large": -1e9, "infinity": -np.inf, "boolean": None}


def graph(path, capped, boolean):
    node = helper.make_node
    nodes = [node("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]), node("MatMul", ["q", "kt"], ["products"]), node("Mul", ["products", "scale"], ["scaled"])]
    scores = "scaled"
    if capped:
        nodes += [node("Div", ["scaled", "cap"], ["divided"]), node("Tanh", ["divided"], ["bounded"]), node("Mul", ["bounded", "cap"], ["capped"])]
        scores = "capped"
    nodes.append(node("Where", ["mask", scores, "hidden"], ["masked"]) if boolean else node("Add", [scores, "mask"], ["masked"]))
    nodes += [node("Softmax", ["masked"], ["weights"], axis=-1), node("MatMul", ["weights", "v"], ["y"])]
    info = lambda name, shape, element=TensorProto.FLOAT: helper.make_tensor_value_info(name, element, shape)
    heads = lambda tokens: ["batch", HEADS, tokens, SIZE]
    inputs = [info("q", heads("rows")), info("k", heads("keys")), info("v", heads("keys")), info("mask", ["batch", 1, "rows", "keys"], TensorProto.BOOL if boolean else TensorProto.FLOAT)]
    numbers = {"scale": SIZE ** -0.5} | ({"cap": 5.0} if capped else {}) | ({"hidden": -np.inf} if boolean else {})
    made = helper.make_graph(nodes, "attention", inputs, [info("y", heads("rows"))], [numpy_helper.from_array(np.float32(value), name) for name, value in numbers.items()])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


failures = 0
with tempfile.TemporaryDirectory(prefix="llmopt-masks-") as folder:
    at = lambda name: os.path.join(folder, name)
    for capped in (False, True):
        for hiding, number in HIDING.items():
            graph(at("model.onnx"), capped, number is None)
            theirs = onnxruntime.InferenceSession(at("model.onnx"), providers=["CPUExecutionProvider"])
            for options in (["-O0"], ["-O3"], ["-O3", "--target", "x86-64"]):
                subprocess.run([os.path.join(BIN, "llmopt-compile"), at("model.onnx"), *options, "-q", "-o", at("model.llmopt")], check=True)
                for rows, keys, hidden in ((1, 512, 0), (1, 512, 100), (1, 512, 256), (37, 700, 600), (37, 300, 300)):
                    if hidden == keys and (number is None or not np.isfinite(number)):
                        continue  # no answer is right
                    random = np.random.default_rng(rows)
                    given = {name: random.standard_normal((2, HEADS, tokens, SIZE)).astype(np.float32) for name, tokens in (("q", rows), ("k", keys), ("v", keys))}
                    given["mask"] = np.zeros((2, 1, rows, keys), np.float32) if number is not None else np.ones((2, 1, rows, keys), bool)
                    given["mask"][0, ..., :hidden] = number or False
                    arguments = []
                    for name, value in given.items():
                        np.save(at(f"{name}.npy"), value)
                        arguments += ["--input", f"{name}=@{at(name + '.npy')}"]
                    subprocess.run([os.path.join(BIN, "llmopt-run"), at("model.llmopt"), *arguments, "--output-dir", folder], check=True, capture_output=True)
                    want = theirs.run(None, given)[0]
                    worst = np.max(np.abs(np.load(at("y.npy")) - want)) / np.max(np.abs(want))
                    good = worst <= TOLERANCE
                    failures += not good
                    print(f"{'PASS' if good else 'FAIL'} {hiding}{' capped' if capped else ''} {' '.join(options)}, {hidden} of {keys} keys hidden from {rows} rows"
                          + ("" if good else f": differs by {worst:.2e} of the largest value"))
sys.exit(1 if failures else 0)
