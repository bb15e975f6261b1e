#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx onnxruntime
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The table of fusions, test/passes/fusion/library.tsv, against what the compiler does.

    fusion_library.py

Each feature of the table must have a case that fires and one for each usual guard (or the reason why there is none), and each fusion of Patterns.def
and join of Joins.def must be in it. `fuses` and `keeps` are tried one by one: the function must change, or not; what was fused must replay equal
(--verify-rewrites), and stay as it is when fused again. `written` names a place in a test. Joins of kernels are then switched off one by one in a
block of a decoder, whose results must stay those of ONNX Runtime.
"""
import os
import re
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BIN = os.path.join(os.environ.get("LLMOPT_BUILD", os.path.join(ROOT, "build")), "bin")
CASES = os.path.join(ROOT, "test", "passes")
GUARDS = ("fires", "extra use", "other axis", "mixed dtype", "dynamic dim")
failures = 0


def check(name, condition, shown=""):
    global failures
    failures += not condition
    print(f"PASS {name}" if condition else f"FAIL {name}: {str(shown)[:800]}")


def optimized(path, *passes):
    done = subprocess.run([os.path.join(BIN, "llmopt-opt"), path, *passes], capture_output=True, text=True)
    check(f"llmopt-opt {os.path.basename(path)} {' '.join(passes)}", done.returncode == 0, done.stderr)
    return done.stdout, done.stderr


def functions(text):
    """{name: text} of a module's functions, values renumbered as printed."""
    return dict(re.findall(r"(?ms)^  func\.func @(\w+)(.*?^  })", text))


def joined(text, name):
    counts = re.search(r"llm\.joins_made = \{([^}]*)\}", functions(text).get(name, ""))
    return re.findall(r'"([a-z-]+)" =', counts.group(1)) if counts else []


def try_table(rows, folder):
    unfused, fused, again = {}, {}, {}
    for feature, case, expected, by, where in rows:
        name = f"{feature}, {case}, {by}: {where}"
        if expected == "-":
            check(name + " has a reason", len(where) > 10)
            continue
        if expected == "written":
            with open(os.path.join(CASES, by)) as file:
                check(name, where in file.read())
            continue
        if by.startswith("join-"):
            if by not in fused:
                fused[by], _ = optimized(os.path.join(CASES, "kernels-explained.mlir"), "--llmopt-cut-kernels=count-joins")
            check(name + ": no such function", where in functions(fused[by]))
            check(name, (by in joined(fused[by], where)) == (expected == "fuses"), joined(fused[by], where))
            continue
        if by not in fused:
            path, first = os.path.join(CASES, "fusion", by + ".mlir"), os.path.join(folder, by + ".mlir")
            unfused[by] = functions(optimized(path, "--llmopt-fuse=only=no-such-fusion")[0])
            text, remarks = optimized(path, f"--llmopt-fuse=only={by} verify", "--remarks-filter-analyse=fusion")
            replayed = re.search(r"Replayed=(\d+), Skipped=0", remarks)
            check(by + ": replayed", replayed and int(replayed.group(1)) > 0, remarks)
            fused[by] = functions(text)
            with open(first, "w") as file:
                file.write(text)
            again[by] = functions(optimized(first, f"--llmopt-fuse=only={by}")[0])
        check(name + ": no such function", where in fused[by])
        check(name, (fused[by].get(where) != unfused[by].get(where)) == (expected == "fuses"), fused[by].get(where))
        check(name + ": fused already", again[by].get(where) == fused[by].get(where), again[by].get(where))


def names_in(path, macro):
    with open(os.path.join(ROOT, path)) as file:
        return re.findall(macro + r'\((?:\w+, )?"([a-z-]+)"', file.read().split("#endif", 1)[1])


def write_block(path, random):
    """Embedding, norms, attention, a gated MLP and a dynamically quantized head."""
    nodes, weights, width, heads, hidden, count = [], [], 48, 3, 80, 50

    def weight(*shape, values=None):
        values = (random.standard_normal(shape) * shape[0] ** -0.5).astype(np.float32) if values is None else values
        weights.append(numpy_helper.from_array(values, f"w{len(weights)}"))
        return weights[-1].name

    def node(op, *inputs, outputs=1, **attributes):
        names = [f"n{len(nodes)}.{i}" for i in range(outputs)]
        nodes.append(helper.make_node(op, inputs, names, **attributes))
        return names if outputs > 1 else names[0]

    def project(x, rows, columns):
        return node("Add", node("MatMul", x, weight(rows, columns)), weight(columns))

    def norm(x):
        return node("LayerNormalization", x, weight(width), weight(width))

    x = node("Gather", weight(count, width), "ids")
    n = norm(x)
    split = weight(values=np.array([0, 0, heads, width // heads], np.int64))
    q, k, v = (node("Transpose", node("Reshape", project(n, width, width), split), perm=perm) for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]))
    p = node("Softmax", node("Mul", node("MatMul", q, k), weight(values=np.float32(0.25))), axis=-1)
    rows = node("Reshape", node("Transpose", node("MatMul", p, v), perm=[0, 2, 1, 3]), weight(values=np.array([0, 0, width], np.int64)))
    x = node("Add", project(rows, width, width), x)
    n = norm(x)
    gate = project(n, width, hidden)
    x = node("Add", project(node("Mul", node("Mul", gate, node("Sigmoid", gate)), project(n, width, hidden)), hidden, width), node("Tanh", x))
    skip = node("Add", node("Sin", x), node("Cos", x))
    codes, scale, zero = node("DynamicQuantizeLinear", norm(node("Add", x, skip)), outputs=3)
    table = weight(values=random.integers(-127, 127, (width, 20)).astype(np.int8))
    y = node("Mul", node("Cast", node("MatMulInteger", codes, table, zero), to=TensorProto.FLOAT), scale)
    info = [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"]), helper.make_tensor_value_info(y, TensorProto.FLOAT, ["batch", "length", 20])]
    onnx.save(helper.make_model(helper.make_graph(nodes, "block", info[:1], info[1:], weights), opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return y


def switch_joins(names, folder):
    random = np.random.default_rng(3)
    model, artifact, given = (os.path.join(folder, file) for file in ("block.onnx", "block.llmopt", "ids.npy"))
    output = write_block(model, random)
    ids = random.integers(0, 50, (2, 9))
    np.save(given, ids)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    want = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(None, {"ids": ids})[0]
    for flags in [[f"--require-fusion={name}" for name in names]] + [[f"--disable-fusion={name}"] for name in names]:
        what = "all joins" if len(flags) > 1 else flags[0]
        done = subprocess.run([os.path.join(BIN, "llmopt-compile"), model, "-q", "-o", artifact, *flags], capture_output=True, text=True)
        check(what, done.returncode == 0, done.stderr)
        run = subprocess.run([os.path.join(BIN, "llmopt-run"), artifact, "--input", f"ids=@{given}", "--output-dir", folder], capture_output=True, text=True)
        check(what + " runs", run.returncode == 0, run.stderr)
        found = np.load(os.path.join(folder, output + ".npy"))
        # One code more or less, where rounding differs before the quantization, is a scale times a weight.
        error = float(np.max(np.abs(found - want)) / np.max(np.abs(want)))
        check(f"{what} differs by {error:.3g} of the largest result", error <= 0.01)


def main():
    with open(os.path.join(CASES, "fusion", "library.tsv")) as file:
        rows = [line.rstrip("\n").split("\t") for line in file][1:]
    features = {}
    for row in rows:
        check(f"five columns: {row}", len(row) == 5)
        features.setdefault(row[0].split(":")[0], set()).add(row[1])
    for feature, cases in features.items():
        check(f"{feature} has all cases", cases == set(GUARDS), sorted(set(GUARDS) - cases))
    joins = names_in("passes/Kernels/Joins.def", "LLMOPT_KERNEL_JOIN")
    for name in names_in("passes/Fusion/Patterns.def", "LLMOPT_FUSION"):
        check(f"{name} is in the table", any(row[3] == name for row in rows))
    with tempfile.TemporaryDirectory(prefix="llmopt-library-") as folder:
        try_table(rows, folder)
        switch_joins(joins, folder)
    print(f"{len(features)} features, {len(rows)} cases, {len(joins)} joins, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
