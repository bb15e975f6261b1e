#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx onnxruntime
"""Reductions, running sums, places of extrema and the k best on CUDA by whole blocks, through the real runtime on the stand-in driver, against ONNX Runtime: whole tensors that many
blocks share, rows of all widths, equal elements, what is no number, whole numbers of 8 to 64 bits, and the extrema behind a norm. Without a C++ compiler for the images this is skipped."""
import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from harness import check, compile_model, finish, no_compiler, say, scratch, stand_in, sys, tool
from quantized_graphs import save, witness

GPU = ("--target", "sm_90", "--cuda-compiler=emulate", "--no-portable-ptx")
random = np.random.default_rng(9)
F, I, B, C, H = TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT8, TensorProto.INT8, TensorProto.FLOAT16
axes = lambda *values: numpy_helper.from_array(np.array(values, np.int64), "axes")
k = lambda value: numpy_helper.from_array(np.array([value], np.int64), "k")


def model(name, nodes, shape, outputs, weights=(), kind=F):
    graph = helper.make_graph([helper.make_node(op, list(inputs), list(results), **more) for op, inputs, results, more in nodes], name,
                              [helper.make_tensor_value_info("x", kind, shape)], [helper.make_tensor_value_info(n, t, None) for n, t in outputs], list(weights))
    path = scratch(name + ".onnx")
    onnx.save(onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)), path)
    return path


def numbers(*shape):
    return random.uniform(-3, 3, shape).astype(np.float32)


def spoiled(x):
    x[0, x.shape[1] // 2] = np.nan
    return x


def rounded(x):
    return np.round(x).astype(x.dtype)


one = dict(keepdims=0)
last = numpy_helper.from_array(np.array(-1, np.int64), "axis")
second = numpy_helper.from_array(np.array(1, np.int64), "axis")
small = lambda kind, *shape: random.integers(np.iinfo(kind).min, np.iinfo(kind).max + 1, shape).astype(kind)
kinds = {np.dtype(np.float32): F, np.dtype(np.int64): I, np.dtype(np.uint8): B, np.dtype(np.int8): C, np.dtype(np.float16): H}
scale = numpy_helper.from_array(numbers(300), "scale")
# Name, nodes, shape of x, results, weights, families that must be there, inputs.
cases = [
    ("whole", [("ReduceSum", ("x",), ("y",), one), ("ReduceMax", ("x",), ("z",), one)], ["n", 100], [("y", F), ("z", F)], (), "Reduce", [numbers(n, 100) for n in (1, 7, 163, 400)]),
    ("rows", [("ReduceMean", ("x", "axes"), ("y",), {})], ["n", 257], [("y", F)], (axes(1),), "Reduce", [numbers(n, 257) for n in (1, 5)]),
    ("extrema", [("ReduceMin", ("x", "axes"), ("y",), one)], [3, "n"], [("y", F)], (axes(1),), "Reduce", [spoiled(numbers(3, n)) for n in (1, 65, 20001)]),
    ("counted", [("ReduceSum", ("x", "axes"), ("y",), one)], [2, "n"], [("y", I)], (axes(1),), "Reduce", [random.integers(-9, 9, (2, n)) for n in (1, 300, 9000)]),
    ("bytes", [("DynamicQuantizeLinear", ("x",), ("y", "s", "z"), {})], ["n", 64], [("y", B), ("s", F), ("z", B)], (), "Reduce", [numbers(n, 64) for n in (1, 140)]),
    ("best", [("TopK", ("x", "k"), ("y", "i"), {})], ["n", 3001], [("y", F), ("i", I)], (k(50),), "TopK", [numbers(1, 3001), rounded(numbers(3, 3001))]),
    ("least", [("TopK", ("x", "k"), ("y", "i"), dict(largest=0))], ["n", 128], [("y", F), ("i", I)], (k(8),), "TopK", [numbers(1, 128), rounded(numbers(9, 128))]),
    ("place", [("ArgMax", ("x",), ("y",), dict(axis=-1, keepdims=0))], [3, "n"], [("y", I)], (), "ArgReduce", [rounded(numbers(3, n)) for n in (1, 65, 20001)]),
    ("last_place", [("ArgMin", ("x",), ("i",), dict(axis=1, select_last_index=1)), ("Cast", ("i",), ("y",), dict(to=F))], ["n", 300], [("y", F)], (), "ArgReduce", [rounded(numbers(n, 300)) for n in (1, 37)]),
    ("place_f16", [("Cast", ("x",), ("h",), dict(to=F)), ("ArgMax", ("h",), ("y",), dict(axis=1))], ["n", 129], [("y", I)], (), "ArgReduce", [numbers(5, 129).astype(np.float16)]),
    ("place_i8", [("ArgMax", ("x",), ("y",), dict(axis=1))], ["n", 500], [("y", I)], (), "ArgReduce", [small(np.int8, 9, 500)]),
    ("most_i8", [("ReduceMax", ("x", "axes"), ("y",), one)], [2, "n"], [("y", C)], (axes(1),), "Reduce", [small(np.int8, 2, n) for n in (1, 300, 9000)]),
    ("least_u8", [("ReduceMin", ("x", "axes"), ("y",), {})], ["n", 100], [("y", B)], (axes(1),), "Reduce", [small(np.uint8, n, 100) for n in (1, 7)]),
    ("running", [("CumSum", ("x", "axis"), ("y",), {})], ["n", 1000], [("y", F)], (last,), "Scan", [numbers(n, 1000) for n in (1, 5)]),
    ("running_back", [("CumSum", ("x", "axis"), ("y",), dict(exclusive=1, reverse=1))], [2, "n", 3], [("y", I)], (second,), "Scan", [random.integers(-9, 9, (2, n, 3)) for n in (1, 300, 5000)]),
    ("behind", [("LayerNormalization", ("x", "scale"), ("n",), {}), ("DynamicQuantizeLinear", ("n",), ("y", "s", "z"), {})], ["n", 300], [("y", B), ("s", F), ("z", B)], (scale,), "Norm Reduce",
     [numbers(n, 300) for n in (1, 37)]),
]
for index, (name, nodes, shape, outputs, weights, families, inputs) in enumerate(cases):
    path = model(name, nodes, shape, outputs, weights, kinds[inputs[0].dtype])
    if index == 0:
        code, _, errors = tool("llmopt-compile", path, "-o", scratch("probe.llmopt"), "-q", *GPU)
        if no_compiler(code, errors):
            say("SKIP", "cuda_reductions", errors.strip())
            sys.exit(0)
    artifact = compile_model(path, name, *GPU)
    if not artifact:
        continue
    _, text, _ = tool("llmopt-inspect", artifact, "--kernels", "--json")
    found = {kernel["family"] for target in json.loads(text) for kernel in target["kernels"]}
    check(f"{name} by {families}", set(families.split()) <= found, str(found))
    session = witness(path)
    for i, x in enumerate(inputs):
        folder = scratch(f"{name}-{i}")
        save(folder, "input", [("x", x)])
        wanted = session.run(None, {"x": x})
        if name == "extrema":
            wanted[0][0] = np.nan # ONNX Runtime's depends on the place
        save(folder, "output", list(zip([n for n, _ in outputs], wanted)))
        code, _, errors = tool("llmopt-run", artifact, "--test-data", folder, "--atol", 1e-4 if name in ("whole", "running") else 2e-5, "--rtol", 1e-5, env=stand_in)
        check(f"{name} of {x.shape}", code == 0, f"exit {code}: {errors[:300]}")

# The same text for the real compilers, whose gate lets no spills pass.
for compiler in ("nvrtc", "clang"):
    for name in ("whole", "counted", "place", "most_i8", "running", "best", "behind"):
        code, _, errors = tool("llmopt-compile", scratch(name + ".onnx"), "-o", scratch(f"{name}-{compiler}.llmopt"), "-q", "--target", "sm_90", "--cuda-compiler", compiler)
        if no_compiler(code, errors):
            say("SKIP", f"{name} by {compiler}", errors.strip().splitlines()[0])
            continue
        check(f"{name} by {compiler} passes the gate", code == 0 and "spill" not in errors, f"exit {code}: {errors[:300]}")
finish()
