#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx onnxruntime
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Convolutions between elementwise operations, against ONNX Runtime.

    onnx_convolutions.py

Of one and two dimensions, with and without pads, strides, dilations, bias and groups, depthwise ones, one behind the other, with sizes known when compiling and not; at -O0 and -O3, for this machine and for
x86-64. Where windows leave the input on all sides, and where the input is smaller than the kernel.
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
TOLERANCE = 1e-5  # of the largest value
# name: input, kernels [outputs, inputs of a group, positions ..], attributes of all of them
CASES = {
    "image": ((2, 5, 9, 11), [(7, 5, 3, 3)], dict(pads=[1, 1, 1, 1])),
    "image-17-33": ((1, 17, 10, 12), [(33, 17, 3, 3)], {}),
    "pointwise": ((1, 16, 9, 11), [(32, 16, 1, 1), (5, 32, 1, 1)], {}),
    "pointwise-strided": ((2, 3, 9, 11), [(4, 3, 1, 1)], dict(strides=[2, 3])),
    "patches": ((1, 3, 32, 32), [(48, 3, 8, 8)], dict(strides=[8, 8])),
    "sound": ((3, 6, 50), [(20, 6, 5)], dict(strides=[2], pads=[2, 1])),
    "samples": ((2, 1, 400), [(20, 1, 10), (9, 20, 10)], dict(strides=[5])),
    "dilated": ((1, 4, 20, 23), [(9, 4, 3, 2)], dict(strides=[2, 1], pads=[2, 0, 3, 1], dilations=[2, 3])),
    "far-outside": ((1, 4, 3, 2), [(9, 4, 3, 5)], dict(pads=[4, 6, 3, 5])),
    "depthwise": ((2, 19, 9, 11), [(19, 1, 3, 3), (19, 1, 3, 3)], dict(pads=[1, 1, 1, 1], group=19)),
    "depthwise-sound": ((2, 33, 40), [(33, 1, 4)], dict(strides=[2], pads=[3, 0], group=33)),
    "groups": ((1, 24, 31), [(16, 6, 5)], dict(pads=[2, 2], group=4)),
    "groups-of-two": ((1, 8, 31), [(16, 2, 3)], dict(pads=[1, 1], group=4)),
    "one-after-the-other": ((1, 3, 21, 18), [(16, 3, 3, 3), (16, 16, 3, 3), (8, 16, 3, 3)], dict(strides=[2, 2], pads=[1, 1, 1, 1])),
}


def graph(path, shape, kernels, attributes, symbolic):
    random = np.random.default_rng(3)
    nodes, weights, value = [], [], "x"
    for i, kernel in enumerate(kernels):
        weights.append(numpy_helper.from_array((random.standard_normal(kernel) / np.sqrt(np.prod(kernel[1:]))).astype(np.float32), f"w{i}"))
        bias = [f"b{i}"] if i % 2 == 0 else []
        if bias:
            weights.append(numpy_helper.from_array(random.standard_normal(kernel[0]).astype(np.float32), bias[0]))
        nodes += [helper.make_node("Conv", [value, f"w{i}", *bias], [f"c{i}"], **attributes), helper.make_node("Sigmoid", [f"c{i}"], [f"s{i}"]), helper.make_node("Mul", [f"c{i}", f"s{i}"], [f"y{i}"])]
        value = f"y{i}"
    dims = [size if i == 1 or not symbolic else f"d{i}" for i, size in enumerate(shape)]
    made = helper.make_graph(nodes, "convolutions", [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)], [helper.make_tensor_value_info(value, TensorProto.FLOAT, None)], weights)
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return value


failures = 0
with tempfile.TemporaryDirectory(prefix="llmopt-convolutions-") as folder:
    at = lambda name: os.path.join(folder, name)
    for name, (shape, kernels, attributes) in CASES.items():
        for symbolic in (False, True):
            output = graph(at("model.onnx"), shape, kernels, attributes, symbolic)
            x = np.random.default_rng(4).standard_normal(shape).astype(np.float32)
            np.save(at("x.npy"), x)
            want = onnxruntime.InferenceSession(at("model.onnx"), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
            for options in (["-O0"], ["-O3"], ["-O3", "--target", "x86-64"], ["-O3", "--disable-fusion=join-norm"]):
                subprocess.run([os.path.join(BIN, "llmopt-compile"), at("model.onnx"), *options, "-q", "-o", at("model.llmopt")], check=True)
                subprocess.run([os.path.join(BIN, "llmopt-run"), at("model.llmopt"), "--input", f"x=@{at('x.npy')}", "--output-dir", folder], check=True, capture_output=True)
                got = np.load(at(f"{output}.npy"))
                worst = np.max(np.abs(got - want)) / np.max(np.abs(want)) if got.shape == want.shape else np.inf
                good = worst <= TOLERANCE
                failures += not good
                print(f"{'PASS' if good else 'FAIL'} {name}{' symbolic' if symbolic else ''} {' '.join(options)}" + ("" if good else f": {got.shape} differs by {worst:.2e} of the largest value"))
sys.exit(1 if failures else 0)
