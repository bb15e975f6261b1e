#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx
"""Products in f32 on x86-64-v4-amx are of sums of bf16 numbers: with three terms no further from f64 than multiply-adds in f32, with two (--products=bf16x2) within 2^-15 of the sum of
magnitudes. -O0 agrees; one row has the bits it has among others. A model that the second-level cache holds keeps multiply-adds, and who asks for bf16x2 where it changes nothing is told so."""
import os
import re

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from harness import check, compile_model, finish, scratch, tool

random = np.random.default_rng(3)
TILES = "--strategy-target=x86-64-v4-amx"  # on any machine: the same in memory


def perceptron(name, width, hidden, kind):
    """x W0, a rectifier, W1: matrices in f32, f16 or bf16."""
    matrices = [(random.uniform(-1, 1, shape) / 16).astype(np.float32) for shape in ((width, hidden), (hidden, width))]
    if kind == "bf16":
        matrices = [(m.view(np.uint32) & 0xffff0000).view(np.float32) for m in matrices]
    if kind == "f16":
        matrices = [m.astype(np.float16) for m in matrices]
    nodes, names = [], []
    for i, matrix in enumerate(matrices):
        names.append(f"w{i}")
        if kind == "f16":
            nodes.append(helper.make_node("Cast", [f"h{i}"], [f"w{i}"], to=TensorProto.FLOAT))
    weights = [numpy_helper.from_array(m, f"h{i}" if kind == "f16" else f"w{i}") for i, m in enumerate(matrices)]
    nodes += [helper.make_node("MatMul", ["x", "w0"], ["a"]), helper.make_node("Relu", ["a"], ["b"]), helper.make_node("MatMul", ["b", "w1"], ["y"])]
    value = lambda n: helper.make_tensor_value_info(n, TensorProto.FLOAT, ["rows", width])
    path = scratch(f"{name}.onnx")
    onnx.save(helper.make_model(helper.make_graph(nodes, name, [value("x")], [value("y")], weights), opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path, [m.astype(np.float64) for m in matrices]


def results(artifact, name, x):
    """The artifact's y, or None."""
    folder = scratch(name)
    os.makedirs(folder)
    np.save(os.path.join(folder, "x.npy"), x)
    code, _, errors = tool("llmopt-run", artifact, "--input", f"x=@{folder}/x.npy", "--output-dir", folder)
    return np.load(os.path.join(folder, "y.npy")) if check(f"{name} runs", code == 0, errors[:300]) else None


def terms(path, *flags):
    """The terms that strategies name."""
    _, text, _ = tool("llmopt-compile", path, "--dry-run", "--explain=kernel", *flags)
    return set(re.findall(r"terms = (\d)", text.decode()))


for kind in ("f32", "f16", "bf16"):
    path, (first, second) = perceptron(f"large-{kind}", 992, 1056, kind)
    dtype = ("--dtype", kind) if kind != "f32" else ()
    check(f"{kind}: three terms without being asked", terms(path, TILES, *dtype) == {"3"}, str(terms(path, TILES, *dtype)))
    ways = {"fma": ("--strategy-target=x86-64-v3", *dtype), "terms": (TILES, *dtype), "coarse": (TILES, "--products=bf16x2", *dtype), "O0": (TILES, "-O0", *dtype)}
    artifacts = {way: compile_model(path, f"{kind}-{way}", *flags) for way, flags in ways.items()}
    x = random.uniform(-1, 1, (37, 992)).astype(np.float32)
    exact = np.maximum(x.astype(np.float64) @ first, 0) @ second
    magnitude = np.maximum(np.abs(x) @ np.abs(first), 0) @ np.abs(second)
    errors = {}
    for way, artifact in artifacts.items():
        y = results(artifact, f"{kind}-{way}-all", x) if artifact else None
        if y is None:
            continue
        errors[way] = float(np.max(np.abs(y - exact) / magnitude))
        one = results(artifact, f"{kind}-{way}-one", x[5:6])
        check(f"{kind}, {way}: a row alone has the same bits", one is not None and np.array_equal(one[0], y[5]))
    print(kind, errors)
    check(f"{kind}: three terms are as near as f32", errors.get("terms", 1) <= max(1.5 * errors.get("fma", 0), 2e-8), str(errors))
    check(f"{kind}: -O0", errors.get("O0", 1) < 2e-7, str(errors))
    check(f"{kind}: two terms", errors.get("terms", 1) < errors.get("coarse", 1) < 2**-15, str(errors))

small, _ = perceptron("small", 64, 96, "f32")
check("a small model keeps multiply-adds", terms(small, TILES) == set(), str(terms(small, TILES)))
check("but not where two terms are asked for", terms(small, TILES, "--products=bf16x2") == {"2"})
code, _, text = tool("llmopt-compile", small, "--dry-run", "--target=x86-64-v3", "--products=bf16x2")
check("bf16x2 without tile registers is told", code == 0 and "bf16x2: no product makes use of it" in text, text[:300])
finish()
