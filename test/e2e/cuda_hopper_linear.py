#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx
"""Linear layers by wgmma and TMA, and with K shared between blocks, through the real runtime on the stand-in driver: tensor maps, weights copied from panels to rows when they are
loaded, several tiles a block, at odd sizes, in bf16 and f16, with bias, activation, residual and a gate. The reference multiplies the rounded
numbers in double. Without a C++ compiler for the images this is skipped."""
import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from harness import check, compile_model, finish, no_compiler, os, say, scratch, stand_in, sys, tool

random = np.random.default_rng(5)


def rounded(x, dtype):
    """To the nearest bf16 or f16, ties to even, as double."""
    if dtype == "f16":
        return x.astype(np.float16).astype(np.float64)
    bits = x.astype(np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32).astype(np.float64)


def save(folder, name, tensors):
    os.makedirs(folder, exist_ok=True)
    for i, (key, value) in enumerate(tensors):
        with open(os.path.join(folder, f"{name}_{i}.pb"), "wb") as file:
            file.write(numpy_helper.from_array(value, key).SerializeToString())


def model(name, depth, columns, gated):
    """y = relu(x W + b) + r, or (x W) * (x V)."""
    weights = {"w": random.uniform(-1, 1, (depth, columns)).astype(np.float32), "b": random.uniform(-1, 1, columns).astype(np.float32)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["xw"])]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", depth])]
    if gated:
        weights["v"] = random.uniform(-1, 1, (depth, columns)).astype(np.float32)
        del weights["b"]
        nodes += [helper.make_node("MatMul", ["x", "v"], ["xv"]), helper.make_node("Sigmoid", ["xw"], ["s"]), helper.make_node("Mul", ["xw", "s"], ["silu"]),
                  helper.make_node("Mul", ["silu", "xv"], ["y"])]
    else:
        inputs.append(helper.make_tensor_value_info("r", TensorProto.FLOAT, ["rows", columns]))
        nodes += [helper.make_node("Add", ["xw", "b"], ["biased"]), helper.make_node("Relu", ["biased"], ["act"]), helper.make_node("Add", ["act", "r"], ["y"])]
    graph = helper.make_graph(nodes, name, inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", columns])],
                              [numpy_helper.from_array(value, key) for key, value in weights.items()])
    path = scratch(name + ".onnx")
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path, weights


def expected(x, r, weights, dtype):
    product = lambda key: rounded(x, dtype) @ rounded(weights[key], dtype)
    if "v" in weights:
        gate = product("w")
        return gate / (1 + np.exp(-gate)) * product("v")
    return np.maximum(product("w") + weights["b"], 0) + r


code, _, errors = tool("llmopt-compile", model("probe", 64, 64, False)[0], "-o", scratch("probe.llmopt"), "-q", "--target", "sm_90", "--cuda-compiler=emulate")
if no_compiler(code, errors):
    say("SKIP", "cuda_hopper_linear", errors.strip())
    sys.exit(0)

for name, depth, columns, gated, dtype, rows in (("bias-bf16", 200, 331, False, "bf16", (64, 131, 1)), ("bias-f16", 68, 37, False, "f16", (65, 300)),
                                                 ("gate-bf16", 132, 161, True, "bf16", (64, 257)), ("gate-f16", 64, 530, True, "f16", (129,)), ("split-bf16", 1028, 37, False, "bf16", (17, 63)),
                                                 ("split-gate-f16", 516, 130, True, "f16", (33,))):
    path, weights = model(name, depth, columns, gated)
    artifact = compile_model(path, name, "--target", "sm_90", "--cuda-compiler=emulate", "--dtype", dtype)
    if not artifact:
        continue
    _, text, _ = tool("llmopt-inspect", artifact, "--json")
    section = next(s for s in json.loads(text)["sections"] if s["name"] == "kernels/sm_90")
    with open(artifact, "rb") as file:
        file.seek(section["offset"])
        kernels = json.loads(file.read(section["bytes"]))["kernels"]
    hopper = [k for k in kernels if "_tma" in k["name"]]
    check(f"{name} has kernels for Hopper", hopper and all(any(p["kind"] == "tensor_map" for p in k["llmopt"]["parameters"]) for k in hopper),
          str([k["name"] for k in kernels]))
    if "split" in name:
        check(f"{name} shares K", any(k["name"].endswith("_split") for k in kernels), str([k["name"] for k in kernels]))
    for count in rows:
        x = random.uniform(-1, 1, (count, depth)).astype(np.float32)
        r = random.uniform(-1, 1, (count, columns)).astype(np.float32)
        folder = scratch(f"{name}-{count}")
        save(folder, "input", [("x", x)] if gated else [("x", x), ("r", r)])
        save(folder, "output", [("y", expected(x, r, weights, dtype).astype(np.float32))])
        tolerance = ("--atol", 2e-4, "--rtol", 2e-5) if count > 16 else ("--atol", 0.2, "--rtol", 0.05)  # few rows are not rounded
        code, _, errors = tool("llmopt-run", artifact, "--test-data", folder, *tolerance, env=stand_in)
        check(f"{name}, {count} rows", code == 0, f"exit {code}: {errors[:400]}")

# What is in the PTX.
for compiler in ("nvrtc", "clang"):
    path, output = model("text", 128, 256, False)[0], scratch(f"{compiler}.ptx")
    code, _, errors = tool("llmopt-compile", path, "-o", output, "-q", "--target", "sm_90", "--dtype", "bf16", "--emit=ptx", "--cuda-compiler", compiler)
    if no_compiler(code, errors):
        say("SKIP", f"PTX of {compiler}", errors.strip().splitlines()[0])
        continue
    with open(output, errors="replace") as file:
        text = file.read()
    missing = [word for word in ("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16", "cp.async.bulk.tensor.2d", "mbarrier.try_wait", "setmaxnreg.dec",
                                 "mma.sync.aligned.m16n8k16", "ld.global.nc.L1::no_allocate.L2::128B.v4.u32") if word not in text]
    check(f"PTX of {compiler}", code == 0 and not missing, f"exit {code}: {errors[:300]} without {missing}")
finish()
