#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx onnxruntime ml_dtypes
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Linear layers in e4m3 (QuantizeLinear and DequantizeLinear to FLOAT8E4M3FN around MatMul and Gemm), against ONNX Runtime and against sums in double.

    onnx_float8.py

One scale for the rows; one for the weight, or one for each column; bias and activation behind; rows that saturate, that hold NaN and infinity; odd sizes; weights
alone. Then a block of a transformer as onnxruntime.quantization writes it. On CPUs, and on sm_90 and sm_80 through the real runtime on the stand-in driver, where products
are made of e4m3: by gemv for a few rows, mma.sync (as f16) and wgmma for more.
"""
import json
import os
import sys

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import onnx_quantized
from harness import check, finish, no_compiler, runs_here, say, scratch, stand_in, tool

E4M3 = ml_dtypes.float8_e4m3fn
random = np.random.default_rng(11)
options = ort.SessionOptions()
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
options.log_severity_level = 3
GPUS = ("sm_90", "sm_80")


def rounded(x):
    """To the nearest e4m3; what is too large becomes the largest."""
    return np.where(np.isnan(x), np.nan, np.clip(x, -448, 448)).astype(np.float32).astype(E4M3)


def tensor(name, values):
    if values.dtype == E4M3:
        return helper.make_tensor(name, TensorProto.FLOAT8E4M3FN, values.shape, values.view(np.uint8).tobytes(), raw=True)
    return onnx.numpy_helper.from_array(np.asarray(values, np.float32), name)


class Layer:
    """relu(x W + b) with W in e4m3, and x too unless only the weight is quantized."""

    def __init__(self, name, depth, columns, form):
        self.name, self.depth, self.columns, self.form = name, depth, columns, form
        self.xScale = np.float32(0.03)
        scales = random.uniform(0.5, 2, columns) / 400 if "columns" in form else np.array(1 / 300)
        self.scales = scales.astype(np.float32)
        self.codes = rounded(random.standard_normal((depth, columns)) / (2.5 * self.scales))
        self.bias = random.standard_normal(columns).astype(np.float32)
        gemm = "gemm" in form
        weights = [tensor("w", np.ascontiguousarray(self.codes.T) if gemm else self.codes), tensor("sw", self.scales), tensor("b", self.bias), tensor("sx", self.xScale),
                   tensor("zero", np.zeros((), E4M3))]
        nodes = [helper.make_node("DequantizeLinear", ["w", "sw"], ["wf"], axis=0 if gemm else 1)]
        rows = "x"
        if "weight" not in form:
            nodes += [helper.make_node("QuantizeLinear", ["x", "sx", "zero"], ["q"]), helper.make_node("DequantizeLinear", ["q", "sx", "zero"], ["xf"])]
            rows = "xf"
        if gemm:
            nodes += [helper.make_node("Gemm", [rows, "wf", "b"], ["sum"], transB=1)]
        else:
            nodes += [helper.make_node("MatMul", [rows, "wf"], ["product"]), helper.make_node("Add", ["product", "b"], ["sum"])]
        nodes += [helper.make_node("Relu", ["sum"], ["y"])]
        graph = helper.make_graph(nodes, "layer", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", depth])],
                                  [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", columns])], weights)
        self.path = scratch(name + ".onnx")
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), self.path)
        self.session = ort.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])

    def exact(self, x):
        if "weight" not in self.form:
            x = rounded(x / self.xScale).astype(np.float64) * self.xScale
        y = x.astype(np.float64) @ (self.codes.astype(np.float64) * self.scales) + self.bias
        return np.where(np.isnan(y), np.nan, np.maximum(y, 0))

    def rows(self, count):
        x = random.standard_normal((count, self.depth)).astype(np.float32)
        x[count // 2, 1] = 1e4  # saturates
        if "weight" not in self.form:
            x[0, 0] = -np.inf
            if count > 2:
                x[1, 2] = np.nan
        return x


def run(artifact, x, folder, env=None):
    np.save(scratch("x.npy"), x)
    code, _, errors = tool("llmopt-run", artifact, "--input", f"x=@{scratch('x.npy')}", "--output-dir", folder, env=env)
    return None if code else np.load(os.path.join(folder, "y.npy")), errors


def agrees(found, wanted, tolerance):
    """NaN where NaN is wanted, and nowhere else."""
    if found is None or not np.array_equal(np.isnan(found), np.isnan(wanted)):
        return False, "NaN at other places"
    apart = np.nanmax(np.abs(found - wanted) / (1 + np.abs(wanted)))
    return apart <= tolerance, f"differs by {apart:.3g}"


def kernels_of(artifact):
    code, text, errors = tool("llmopt-inspect", artifact, "--kernels", "--json")
    return json.loads(text)[0]["kernels"] if check("the kernels are listed", code == 0, errors[:300]) else []


def weight_bytes(artifact):
    _, text, _ = tool("llmopt-inspect", artifact, "--json")
    return next(s["bytes"] for s in json.loads(text)["sections"] if s["name"] == "weights")


def targets():
    """(name, options, environment) of all places to run."""
    for target in ("native", "x86-64-v3", "x86-64"):
        if target == "native" or runs_here(target):
            yield target, ["-O3", "--require-fusion=fuse-float8-product:1", "--target", target], None
    yield "-O0", ["-O0"], None
    code, _, errors = tool("llmopt-compile", LAYERS[0].path, "-o", scratch("probe.llmopt"), "-q", "--target", "sm_90", "--cuda-compiler=emulate")
    if no_compiler(code, errors):
        say("SKIP", "e4m3 on CUDA", errors.strip())
        return
    for target in GPUS:
        yield target, ["-O3", "--require-fusion=fuse-float8-product:1", "--target", target, "--cuda-compiler=emulate", "--no-portable-ptx"], {**stand_in, "LLMOPT_STANDIN_CAPABILITY": target[3:]}


def check_kernels(layer, target, artifact):
    found = {kernel["family"] for kernel in kernels_of(artifact)}
    wanted = {"Gemv", "GemmMma"} if layer.depth % 16 == 0 else {"Gemv", "GemmSimt"}
    if target == "sm_90" and layer.depth % 16 == 0:
        wanted.add("GemmWgmma")
    check(f"{layer.name} {target}: products by {', '.join(sorted(wanted))}", wanted <= found, str(found))
    if "weight" not in layer.form:
        math = {kernel["math"] for kernel in kernels_of(artifact) if kernel["family"] in ("GemmMma", "GemmWgmma")}
        check(f"{layer.name} {target}: of e4m3", math <= {"e4m3"}, str(math))
        padded = (layer.depth + 3) // 4 * 4 * ((layer.columns + 15) // 16 * 16)
        check(f"{layer.name} {target}: a byte a weight", weight_bytes(artifact) < padded + 4 * 4 * layer.columns + 6000, str(weight_bytes(artifact)))


def check_layers():
    for target, flags, env in targets():
        for layer in LAYERS:
            artifact, folder = scratch("layer.llmopt"), scratch("out")
            os.makedirs(folder, exist_ok=True)
            code, _, errors = tool("llmopt-compile", layer.path, "-o", artifact, "-q", *flags)
            if not check(f"compile {layer.name} {target}", code == 0, errors[:400]):
                continue
            if target in GPUS:
                check_kernels(layer, target, artifact)
            for count in (1, 5, 40, 131):
                x = layer.rows(count)
                found, errors = run(artifact, x, folder, env)
                # From 17 rows on weights alone are multiplied with rows in bf16.
                tolerance = 3e-2 if target in GPUS and "weight" in layer.form and count > 16 else 2e-5
                for witness, wanted in (("double", layer.exact(x)), ("ONNX Runtime", layer.session.run(None, {"x": x})[0])):
                    good, how = agrees(found, wanted, tolerance)
                    check(f"{layer.name} {target}, {count} rows, {witness}", good, how + errors[:300])


def check_block():
    """Rows half way between two codes may be rounded to either, by an ulp of the norm in front: most elements agree, few are off by a code."""
    folder = scratch("block")
    os.makedirs(folder)
    onnx_quantized.WIDTH, onnx_quantized.HIDDEN = 96, 176
    plain, path = os.path.join(folder, "plain.onnx"), os.path.join(folder, "float8.onnx")
    output = onnx_quantized.write_block(plain, random)
    quantize_static(plain, path, onnx_quantized.Samples(random), quant_format=QuantFormat.QDQ, activation_type=QuantType.QFLOAT8E4M3FN, weight_type=QuantType.QFLOAT8E4M3FN,
                    calibrate_method=CalibrationMethod.Distribution, op_types_to_quantize=["MatMul"])
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    for target, flags, env in targets():
        artifact = scratch("block.llmopt")
        code, _, errors = tool("llmopt-compile", path, "-o", artifact, "-q", *[flag.replace(":1", ":6") for flag in flags])
        if not check(f"compile block {target}", code == 0, errors[:400]):
            continue
        for shape in ((1, 1), (3, 29)):
            x = random.standard_normal((*shape, 96)).astype(np.float32)
            np.save(scratch("x.npy"), x)
            code, _, errors = tool("llmopt-run", artifact, "--input", f"x=@{scratch('x.npy')}", "--output-dir", folder, env=env)
            if check(f"block {target} {shape} runs", code == 0, errors[:300]):
                apart = np.abs(np.load(os.path.join(folder, output + ".npy")) - session.run(None, {"x": x})[0])
                good = np.median(apart) <= 1e-5 and np.mean(apart) <= 5e-3 and np.max(apart) <= 0.5  # NaN does not pass
                check(f"block {target} {shape}", good, f"differs by {np.median(apart):.3g}, {np.mean(apart):.3g}, {np.max(apart):.3g} (median, mean, most)")


LAYERS = [Layer("tensor", 96, 40, ""), Layer("columns", 144, 331, "columns"), Layer("gemm", 64, 33, "gemm columns"), Layer("odd", 37, 131, "columns"),
          Layer("weight", 48, 35, "weight columns")]
check_layers()
check_block()
finish()
