#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx onnxruntime
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Transformer blocks quantized by onnxruntime.quantization, against ONNX Runtime.

    onnx_quantized.py

A block of awkward widths in the forms that quantize_dynamic (by tensor, by column, unsigned) and quantize_static (QDQ with unsigned and with
signed activations, QOperator) write. ONNX Runtime runs without its optimizer: that replaces QDQ pairs by approximations of its own. At -O0 the
products are loop nests in 32 bits; at -O3, for every CPU target, all products with weights must be made of bytes.
"""
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

BIN = os.path.join(os.environ.get("LLMOPT_BUILD", "build"), "bin")
WIDTH, HEADS, HIDDEN = 84, 4, 171


def write_block(path, random):
    """Attention, norms and a feed-forward layer, the products as MatMul and Add."""
    nodes, weights = [], []

    def weight(name, *shape, scale):
        weights.append(numpy_helper.from_array((random.standard_normal(shape) * scale).astype(np.float32), name))
        return name

    def constant(name, values):
        weights.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def node(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def project(x, name, rows, columns):
        product = node("MatMul", [x, weight(name + ".w", rows, columns, scale=rows**-0.5)], name + ".product")
        return node("Add", [product, weight(name + ".b", columns, scale=0.1)], name)

    def norm(x, name):
        return node("LayerNormalization", [x, weight(name + ".w", WIDTH, scale=1), weight(name + ".b", WIDTH, scale=0.1)], name)

    heads = constant("heads", [0, 0, HEADS, WIDTH // HEADS])
    parts = {}
    for part in "qkv":
        split = node("Reshape", [project("x", part, WIDTH, WIDTH), heads], part + ".split")
        parts[part] = node("Transpose", [split], part + ".heads", perm=[0, 2, 3, 1] if part == "k" else [0, 2, 1, 3])
    scores = node("MatMul", [parts["q"], parts["k"]], "scores")
    weights.append(numpy_helper.from_array(np.float32((WIDTH // HEADS) ** 0.5), "root"))
    probabilities = node("Softmax", [node("Div", [scores, "root"], "scaled")], "probabilities", axis=-1)
    mixed = node("Transpose", [node("MatMul", [probabilities, parts["v"]], "mixed")], "mixed.rows", perm=[0, 2, 1, 3])
    out = project(node("Reshape", [mixed, constant("rows", [0, 0, WIDTH])], "attended"), "out", WIDTH, WIDTH)
    first = norm(node("Add", [out, "x"], "residual.1"), "norm.1")
    down = project(node("Gelu", [project(first, "up", WIDTH, HIDDEN)], "active"), "down", HIDDEN, WIDTH)
    last = norm(node("Add", [down, first], "residual.2"), "norm.2")
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "length", WIDTH]) for name in ("x", last)]
    graph = helper.make_graph(nodes, "block", info[:1], info[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return last


class Samples(CalibrationDataReader):
    def __init__(self, random):
        self.left = iter([{"x": random.standard_normal((2, 7, WIDTH)).astype(np.float32)} for _ in range(4)])

    def get_next(self):
        return next(self.left, None)


def quantized(plain, folder, random):
    """{name: path} in all forms."""
    paths = {}

    def at(name):
        paths[name] = os.path.join(folder, name + ".onnx")
        return paths[name]

    quantize_dynamic(plain, at("dynamic"), weight_type=QuantType.QInt8)
    quantize_dynamic(plain, at("dynamic_columns"), weight_type=QuantType.QInt8, per_channel=True)
    quantize_dynamic(plain, at("dynamic_unsigned"), weight_type=QuantType.QUInt8)
    for name, activations, by_column in (("qdq", QuantType.QUInt8, True), ("qdq_signed", QuantType.QInt8, False)):
        quantize_static(plain, at(name), Samples(random), quant_format=QuantFormat.QDQ, activation_type=activations, weight_type=QuantType.QInt8,
                        per_channel=by_column)
    quantize_static(plain, at("operators"), Samples(random), quant_format=QuantFormat.QOperator, activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8)
    return paths


def run(model, options, inputs, output, folder):
    artifact, given = os.path.join(folder, "model.llmopt"), os.path.join(folder, "x.npy")
    subprocess.run([os.path.join(BIN, "llmopt-compile"), model, "-q", "-o", artifact, *options], check=True)
    for x in inputs:
        np.save(given, x)
        subprocess.run([os.path.join(BIN, "llmopt-run"), artifact, "--input", f"x=@{given}", "--output-dir", folder], check=True, stdout=subprocess.DEVNULL)
        yield np.load(os.path.join(folder, output + ".npy"))


def main():
    random = np.random.default_rng(7)
    failures = 0
    plain_options = ort.SessionOptions()
    plain_options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    with tempfile.TemporaryDirectory() as folder:
        plain = os.path.join(folder, "plain.onnx")
        output = write_block(plain, random)
        for name, path in quantized(plain, folder, random).items():
            session = ort.InferenceSession(path, plain_options, providers=["CPUExecutionProvider"])
            fusion = "fuse-dequantized-product" if name.startswith("qdq") else "fuse-integer-product"
            # For a single row ONNX Runtime's own QOperator model is 5 away from the plain model: no witness.
            smallest = (1, 2) if name == "operators" else (1, 1)
            inputs = [random.standard_normal((*shape, WIDTH)).astype(np.float32) for shape in (smallest, (3, 11))]
            wanted = [session.run(None, {"x": x})[0] for x in inputs]
            required = [f"--require-fusion={fusion}:6"] + ["--require-fusion=fuse-norm-quantize:1"] * name.startswith("dynamic")
            answers = {}
            for options in (["-O0"], *(["-O3", *required, "--target", target] for target in ("native", "x86-64-v3", "x86-64"))):
                answers[options[-1]] = list(run(path, options, inputs, output, folder))
                for x, found, want in zip(inputs, answers[options[-1]], wanted):
                    error = float(np.max(np.abs(found - want)))
                    agrees = error <= 1e-5  # NaN does not
                    failures += not agrees
                    print(f"{'PASS' if agrees else 'FAIL'} {name} {x.shape} {' '.join(options)}: differs by {error:.3g}")
            if name == "dynamic":
                apart = run(path, ["-O3", "--disable-fusion=fuse-norm-quantize"], inputs, output, folder)
                same = all(np.array_equal(a, b) for a, b in zip(apart, answers["native"]))
                failures += not same
                print(f"{'PASS' if same else 'FAIL'} extrema taken by rows change no bit")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
