#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx onnxruntime
"""Attention over padded batches, as ONNX graphs of encoders have it, on tensor cores through the real runtime on the stand-in driver: padding masked by numbers that are
added or by truth values, odd head sizes, in f32, bf16 and f16. The reference is ONNX Runtime in f32. Without a C++ compiler for the images this is skipped."""
import json

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from harness import check, compile_model, finish, no_compiler, os, say, scratch, stand_in, sys, tool

random = np.random.default_rng(9)


def save(folder, name, tensors):
    os.makedirs(folder, exist_ok=True)
    for i, (key, value) in enumerate(tensors):
        with open(os.path.join(folder, f"{name}_{i}.pb"), "wb") as file:
            file.write(numpy_helper.from_array(value, key).SerializeToString())


def model(name, heads, size, truth):
    """y = attention(x) W; x [batch, sequence, heads * size], mask [batch, sequence] of ones and zeros."""
    width = heads * size
    tensors = {key: (random.uniform(-1, 1, (width, width)) * 3 / width**0.5).astype(np.float32) for key in "qkvo"}
    constants = {"split": np.array([0, 0, heads, size], np.int64), "join": np.array([0, 0, width], np.int64), "factor": np.array(size**-0.5, np.float32),
                 "one": np.array(1, np.float32), "least": np.array(-10000, np.float32), "axes": np.array([1, 2], np.int64)}
    nodes = []
    for key, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes += [helper.make_node("MatMul", ["x", key], [key + "x"]), helper.make_node("Reshape", [key + "x", "split"], [key + "s"]),
                  helper.make_node("Transpose", [key + "s"], [key + "h"], perm=order)]
    nodes += [helper.make_node("MatMul", ["qh", "kh"], ["raw"]), helper.make_node("Mul", ["raw", "factor"], ["scores"]), helper.make_node("Unsqueeze", ["mask", "axes"], ["wide"])]
    if truth:
        constants["hidden"] = np.array(-np.inf, np.float32)
        nodes += [helper.make_node("Cast", ["wide"], ["seen"], to=TensorProto.BOOL), helper.make_node("Where", ["seen", "scores", "hidden"], ["masked"])]
    else:
        nodes += [helper.make_node("Sub", ["one", "wide"], ["not"]), helper.make_node("Mul", ["not", "least"], ["added"]), helper.make_node("Add", ["scores", "added"], ["masked"])]
    nodes += [helper.make_node("Softmax", ["masked"], ["weights"], axis=-1), helper.make_node("MatMul", ["weights", "vh"], ["heads"]),
              helper.make_node("Transpose", ["heads"], ["tokens"], perm=[0, 2, 1, 3]), helper.make_node("Reshape", ["tokens", "join"], ["rows"]), helper.make_node("MatMul", ["rows", "o"], ["y"])]
    float_tensor = lambda name, dims: helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
    graph = helper.make_graph(nodes, name, [float_tensor("x", ["batch", "sequence", width]), float_tensor("mask", ["batch", "sequence"])], [float_tensor("y", ["batch", "sequence", width])],
                              [numpy_helper.from_array(value, key) for key, value in {**tensors, **constants}.items()])
    path = scratch(name + ".onnx")
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


emulate = ("--target", "sm_90", "--cuda-compiler=emulate")
for name, heads, size, truth, dtype, tolerance in (("added-f32", 3, 20, False, "f32", 2e-5), ("added-bf16", 2, 64, False, "bf16", 0.02), ("truth-f16", 2, 33, True, "f16", 0.004)):
    path = model(name, heads, size, truth)
    code, _, errors = tool("llmopt-compile", path, "-o", scratch("probe.llmopt"), "-q", "--dtype", dtype, *emulate)
    if no_compiler(code, errors):
        say("SKIP", "cuda_encoder", errors.strip())
        sys.exit(0)
    artifact = compile_model(path, name, "--dtype", dtype, *emulate)
    if not artifact:
        continue
    _, text, _ = tool("llmopt-inspect", artifact, "--json", "--kernels")
    check(f"{name} attends by a written kernel", b"DenseAttention" in text, text.decode()[:300])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch, length in ((2, 65), (1, 7)):
        x = random.uniform(-1, 1, (batch, length, heads * size)).astype(np.float32)
        mask = np.ones((batch, length), np.float32)
        mask[-1, length // 2 + 1:] = 0
        folder = scratch(f"{name}-{length}")
        save(folder, "input", [("x", x), ("mask", mask)])
        save(folder, "output", [("y", session.run(None, {"x": x, "mask": mask})[0])])
        code, _, errors = tool("llmopt-run", artifact, "--test-data", folder, "--atol", tolerance, "--rtol", 0, env=stand_in)
        check(f"{name}, {batch} of {length} tokens", code == 0, f"exit {code}: {errors[:400]}")
finish()
