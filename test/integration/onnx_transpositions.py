#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx onnxruntime
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Transpositions that change the innermost dimension, against ONNX Runtime, bit for bit.

    onnx_transpositions.py

Alone, in halves and integers, behind and in front of other operations and reshapes, two in a row, joined, of values that are read twice forty times in a row; at sizes of one, a vector and one more or less, and of several units; at -O0 and -O3, for AVX-512, AVX2 and SSE; with
one thread and with two.
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
TARGETS = (["-O0"], ["-O3"], ["-O3", "--target", "x86-64-v3"], ["-O3", "--target", "x86-64"])
SIZES = ((1, 1, 1), (1, 16, 16), (2, 15, 17), (1, 33, 31), (1, 64, 256), (3, 65, 129), (1, 5, 300), (2, 300, 3))


def turned(node):
    return [node("Transpose", ["x"], ["y"], perm=[0, 2, 1])], 3


def outward(node):
    return [node("Transpose", ["x"], ["y"], perm=[2, 0, 1])], 3


def channels_last(node):
    return [node("Reshape", ["x", "image"], ["i"]), node("Transpose", ["i"], ["t"], perm=[0, 2, 3, 1]), node("Relu", ["t"], ["y"])], 4


def behind_others(node):
    return [node("Mul", ["x", "row"], ["m"]), node("Transpose", ["m"], ["t"], perm=[0, 2, 1]), node("Transpose", ["x"], ["u"], perm=[0, 2, 1]), node("Add", ["t", "u"], ["y"])], 3


def beside_straight(node):  # the other operand lies along the other dimension
    return [node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), node("Shape", ["t"], ["s"]), node("Reshape", ["x", "s"], ["r"]), node("Add", ["t", "r"], ["y"])], 3


def doubled_often(node):  # each value is read twice
    values = ["x"] + [f"d{i}" for i in range(39)] + ["d"]
    return [node("Add", [value, value], [double]) for value, double in zip(values, values[1:])] + [node("Transpose", ["d"], ["y"], perm=[0, 2, 1])], 3


def turned_and_doubled_often(node):
    values = ["t"] + [f"d{i}" for i in range(39)] + ["y"]
    return [node("Transpose", ["x"], ["t"], perm=[0, 2, 1])] + [node("Add", [value, value], [double]) for value, double in zip(values, values[1:])], 3


def two_turns(node):
    return [node("Transpose", ["x"], ["t"], perm=[2, 0, 1]), node("Relu", ["t"], ["r"]), node("Transpose", ["r"], ["y"], perm=[2, 1, 0])], 3


def joined(node):
    return [node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), node("Neg", ["t"], ["n"]), node("Concat", ["t", "n"], ["y"], axis=1)], 3


def as_halves(node):
    return [node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16), node("Transpose", ["h"], ["y"], perm=[0, 2, 1])], 3


def as_integers(node):
    return [node("Cast", ["x"], ["h"], to=TensorProto.INT64), node("Transpose", ["h"], ["y"], perm=[0, 2, 1])], 3


def as_bools(node):
    return [node("Greater", ["x", "zero"], ["b"]), node("Transpose", ["b"], ["y"], perm=[0, 2, 1])], 3


TYPES = {"as_halves": TensorProto.FLOAT16, "as_integers": TensorProto.INT64, "as_bools": TensorProto.BOOL}


def graph(path, make):
    nodes, rank = make(helper.make_node)
    constants = {"image": np.array([0, 0, -1, 1]), "row": np.float32([3]), "zero": np.float32(0)}
    used = {name for node in nodes for name in node.input}
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["a", "b", "c"])
    y = helper.make_tensor_value_info("y", TYPES.get(make.__name__, TensorProto.FLOAT), [None] * rank)
    made = helper.make_graph(nodes, "turns", [x], [y], [numpy_helper.from_array(value, name) for name, value in constants.items() if name in used])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


failures = 0
with tempfile.TemporaryDirectory(prefix="llmopt-turns-") as folder:
    at = lambda name: os.path.join(folder, name)
    for make in (turned, outward, channels_last, behind_others, beside_straight, doubled_often, turned_and_doubled_often, two_turns, joined, as_halves, as_integers, as_bools):
        graph(at("model.onnx"), make)
        theirs = onnxruntime.InferenceSession(at("model.onnx"), providers=["CPUExecutionProvider"])
        for options in TARGETS:
            subprocess.run([os.path.join(BIN, "llmopt-compile"), at("model.onnx"), *options, "-q", "-o", at("model.llmopt")], check=True)
            wrong = []
            for shape in SIZES:
                x = (np.random.default_rng(len(shape)).standard_normal(shape) * 100).astype(np.float32)
                np.save(at("x.npy"), x)
                want = theirs.run(None, {"x": x})[0]
                for threads in "12":
                    subprocess.run([os.path.join(BIN, "llmopt-run"), at("model.llmopt"), "--input", f"x=@{at('x.npy')}", "-t", threads, "--output-dir", folder], check=True, capture_output=True)
                    got = np.load(at("y.npy"))
                    if got.shape != want.shape or got.tobytes() != want.tobytes():
                        wrong.append(f"{'x'.join(map(str, shape))} with {threads} thread(s)")
            failures += bool(wrong)
            print(f"{'FAIL' if wrong else 'PASS'} {make.__name__} {' '.join(options)}" + (f": differs at {', '.join(wrong)}" if wrong else ""))
sys.exit(1 if failures else 0)
