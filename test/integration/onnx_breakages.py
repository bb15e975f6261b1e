#!/usr/bin/env python3
# llmopt-test: long
# llmopt-packages: numpy onnx onnxruntime
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Twelve ways in which exporters break fusions: each is fused all the same, or --explain names the node that stands in the way.

    onnx_breakages.py [--out FOLDER]

One block (norm, attention, residual sum, norm, GELU) with one spelling changed at a time. Each file runs at -O0 and -O3 against ONNX Runtime
without optimizations.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

import numpy
import onnx
import onnxruntime
from onnx import helper, numpy_helper

import onnx_cases

BIN = os.path.join(os.environ.get("LLMOPT_BUILD", "build"), "bin")
WIDTH, HEADS = 32, 4
SIZE = WIDTH // HEADS
FLOAT, HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


class Block:
    """The plain spelling; each breakage overrides one method."""

    dtype = numpy.float32

    def __init__(self):
        self.nodes, self.constants, self.outputs = [], [], ["y"]
        self.random = numpy.random.default_rng(5)

    def weight(self, *shape, scale=0.3, dtype=None):
        return self.constant(self.random.normal(size=shape) * scale, dtype)

    def constant(self, value, dtype=None):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(numpy.array(value, dtype or self.dtype), name))
        return name

    def op(self, kind, *inputs, name=None, outputs=1, **attributes):
        name = name or f"{kind}_{len(self.nodes)}"
        results = [name] if outputs == 1 else [f"{name}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), results, name=name, **attributes))
        return results[0] if outputs == 1 else results

    def norm(self, x):
        mean = self.op("ReduceMean", x, axes=[-1])
        centered = self.op("Sub", x, mean)
        variance = self.op("ReduceMean", self.op("Pow", centered, self.constant(2)), axes=[-1])
        normal = self.op("Div", centered, self.op("Sqrt", self.op("Add", variance, self.constant(1e-5))))
        return self.op("Add", self.op("Mul", normal, self.norm_weight()), self.weight(WIDTH))

    def norm_weight(self):
        return self.weight(WIDTH)

    def project(self, x, width=WIDTH):
        return self.op("Add", self.op("MatMul", x, self.weight(WIDTH, width)), self.weight(width))

    def heads(self, x, perm=(0, 2, 1, 3)):
        split = self.op("Reshape", x, self.constant([0, 0, HEADS, SIZE], numpy.int64))
        return self.op("Transpose", split, perm=list(perm))

    def projections(self, x):
        q, k, v = (self.project(x) for _ in range(3))
        return self.heads(q), self.heads(k, (0, 2, 3, 1)), self.heads(v)

    def scores(self, q, k):
        return self.op("Div", self.op("MatMul", q, k, name="scores"), self.constant(numpy.sqrt(SIZE)))

    def mask(self, scores):
        hidden = self.op("Sub", self.constant(1), "mask")
        return self.op("Add", scores, self.op("Mul", hidden, self.constant(-10000)))

    def softmax(self, scores):
        return self.op("Softmax", scores, axis=-1, name="softmax")

    def attention(self, x):
        q, k, v = self.projections(x)
        weights = self.softmax(self.mask(self.scores(q, k)))
        mixed = self.op("Transpose", self.op("MatMul", weights, v, name="mix"), perm=[0, 2, 1, 3])
        return self.project(self.op("Reshape", mixed, self.constant([0, 0, WIDTH], numpy.int64)))

    def gelu(self, x):
        gate = self.op("Add", self.op("Erf", self.op("Div", x, self.constant(numpy.sqrt(2)))), self.constant(1))
        return self.op("Mul", self.op("Mul", x, gate), self.constant(0.5))

    def model(self):
        x = self.op("Add", "x", self.attention(self.norm("x")))
        self.nodes.append(helper.make_node("Identity", [self.gelu(self.project(self.norm(x)))], ["y"]))
        kind = HALF if self.dtype == numpy.float16 else FLOAT
        value = lambda name, *dims: helper.make_tensor_value_info(name, kind, dims)
        outputs = [value("y", "b", "s", WIDTH)] + [value(name, "b", HEADS, "s", "s") for name in self.outputs[1:]]
        graph = helper.make_graph(self.nodes, "block", [value("x", "b", "s", WIDTH), value("mask", "b", 1, 1, "s")], outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class ScaleFromShape(Block):
    """Sqrt and Cast of a dimension, as TorchScript writes scaled_dot_product_attention."""

    def scores(self, q, k):
        last = self.op("Slice", self.op("Shape", q), *(self.constant([v], numpy.int64) for v in (-1, 2**63 - 1)))
        root = self.op("Sqrt", self.op("Cast", last, to=FLOAT))
        factor = self.op("Sqrt", self.op("Div", self.constant([1]), root))
        return self.op("MatMul", self.op("Mul", q, factor), self.op("Mul", k, factor))


class PackedProjection(Block):
    """One product, split in three."""

    def projections(self, x):
        parts = self.op("Split", self.project(x, 3 * WIDTH), self.constant([WIDTH] * 3, numpy.int64), axis=2, outputs=3)
        return self.heads(parts[0]), self.heads(parts[1], (0, 2, 3, 1)), self.heads(parts[2])


class PackedHeads(Block):
    """[B, S, 3, H, D], transposed at once and then taken apart by Gather."""

    def projections(self, x):
        five = self.op("Reshape", self.project(x, 3 * WIDTH), self.constant([0, 0, 3, HEADS, SIZE], numpy.int64))
        turned = self.op("Transpose", five, perm=[2, 0, 3, 1, 4])
        q, k, v = (self.op("Gather", turned, self.constant(i, numpy.int64), axis=0) for i in range(3))
        return q, self.op("Transpose", k, perm=[0, 1, 3, 2]), v


class KeysTransposedTwice(Block):
    def projections(self, x):
        q, k, v = (self.heads(self.project(x)) for _ in range(3))
        return q, self.op("Transpose", k, perm=[0, 1, 3, 2]), v


class CastsAroundSoftmax(Block):
    """Half precision, the softmax in f32."""

    dtype = numpy.float16

    def softmax(self, scores):
        return self.op("Cast", super().softmax(self.op("Cast", scores, to=FLOAT)), to=HALF)


class MaskAsWhere(Block):
    def mask(self, scores):
        seen = self.op("Cast", "mask", to=onnx.TensorProto.BOOL)
        return self.op("Where", seen, scores, self.constant(numpy.finfo(numpy.float32).min))


class WideNormWeight(Block):
    """A norm in f32, weight included, in a half precision graph."""

    dtype = numpy.float16

    def norm(self, x):
        wide, self.dtype = self.op("Cast", x, to=FLOAT), numpy.float32
        y = super().norm(wide)
        self.dtype = numpy.float16
        return self.op("Cast", y, to=HALF)


class ScaleBehindMask(Block):
    """(scores + mask) / sqrt(d)"""

    def scores(self, q, k):
        return self.op("MatMul", q, k, name="scores")

    def mask(self, scores):
        return self.op("Div", super().mask(scores), self.constant(numpy.sqrt(SIZE)))


class NormOfKeras(Block):
    def norm(self, x):
        mean = self.op("ReduceMean", x, axes=[-1])
        centered = self.op("Sub", x, mean)
        variance = self.op("ReduceMean", self.op("Mul", centered, centered), axes=[-1])
        inverse = self.op("Reciprocal", self.op("Sqrt", self.op("Add", variance, self.constant(1e-5))))
        factor = self.op("Mul", inverse, self.weight(WIDTH))
        return self.op("Add", self.op("Mul", x, factor), self.op("Sub", self.weight(WIDTH), self.op("Mul", mean, factor)))


class GeluOnBothFactors(Block):
    """x * (0.5 * (1 + erf(x * sqrt(1/2))))"""

    def gelu(self, x):
        erf = self.op("Erf", self.op("Mul", x, self.constant(numpy.sqrt(0.5))))
        return self.op("Mul", x, self.op("Mul", self.constant(0.5), self.op("Add", self.constant(1), erf)))


class MatricesInGemm(Block):
    """Tokens flattened for every product."""

    def project(self, x, width=WIDTH):
        flat = self.op("Reshape", x, self.constant([-1, WIDTH], numpy.int64))
        y = self.op("Gemm", flat, self.weight(width, WIDTH), self.weight(width), transB=1)
        shape = self.op("Shape", x)
        parts = [self.op("Unsqueeze", self.op("Gather", shape, self.constant(i, numpy.int64), axis=0), self.constant([0], numpy.int64)) for i in (0, 1)]
        return self.op("Reshape", y, self.op("Concat", *parts, self.constant([width], numpy.int64), axis=0))


class WeightsReturned(Block):
    """The attention weights are an output: attention must stay apart, and the remark must name their reader."""

    def __init__(self):
        super().__init__()
        self.outputs = ["y", "softmax"]


FUSED = {"attention": 1, "layer_norm": 2, "gelu": 1, "softmax": 0, "erf": 0}
CASES = {case: (dict(FUSED), None) for case in (ScaleFromShape, PackedProjection, PackedHeads, KeysTransposedTwice, CastsAroundSoftmax, MaskAsWhere,
                                                WideNormWeight, ScaleBehindMask, NormOfKeras, GeluOnBothFactors, MatricesInGemm)}
# The square root of two in half precision is another number.
for case in (CastsAroundSoftmax, WideNormWeight):
    CASES[case] = ({**FUSED, "gelu": 0, "erf": 1}, r"missed fuse-gelu[^\n]*\n +blocked by llm\.erf[^\n]*\[OtherConstant\]")
CASES[WeightsReturned] = ({**FUSED, "attention": 0, "softmax": 1}, r"missed fuse-attention[^\n]*\n +blocked by [^\n]*(read|weights)")


def make(out, only):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    for case in CASES:
        folder = os.path.join(out, case.__name__)
        os.makedirs(folder, exist_ok=True)
        block = case()
        onnx.save(block.model(), os.path.join(folder, "model.onnx"))
        session = onnxruntime.InferenceSession(os.path.join(folder, "model.onnx"), options, providers=["CPUExecutionProvider"])
        random = numpy.random.default_rng(7)
        x, mask = random.normal(size=(2, 5, WIDTH)).astype(case.dtype), numpy.ones((2, 1, 1, 5), case.dtype)
        mask[0, ..., 3:] = 0
        onnx_cases.write_set(folder, 0, [x, mask], session.run(None, {"x": x, "mask": mask}))
        onnx_cases.write_tolerance(folder, *((2e-2, 2e-2) if case.dtype == numpy.float16 else (1e-4, 1e-5)))


def compile_model(folder, *flags):
    command = [os.path.join(BIN, "llmopt-compile"), os.path.join(folder, "model.onnx"), "-O3", "--no-tokenizer", "--progress=none", *flags]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def problem_of(folder, counts, remark):
    path = os.path.join(folder, "fused.mlir")
    compile_model(folder, "--compile-to=fused", "-o", path)
    with open(path) as f:
        text = f.read()
    for op, wanted in counts.items():
        found = len(re.findall(rf"= llm\.{op}\b", text))
        if found != wanted:
            return f"llm.{op} is there {found} times, expected {wanted}"
    if remark and not re.search(remark, compile_model(folder, "--explain", "-o", os.path.join(folder, "m.llmopt"))):
        return f"no remark matches {remark!r}"
    return ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", help="folder for the cases; a temporary one by default")
    args = parser.parse_args()
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        out = args.out or temporary
        make(out, "")
        for how, command in onnx_cases.programs().items():
            for name, (outcome, reason) in onnx_cases.run(command, out).items():
                if outcome != "PASS":
                    print(f"FAIL {name} {how}: {outcome} {reason}")
                    failures += 1
        for case, (counts, remark) in CASES.items():
            problem = problem_of(os.path.join(out, case.__name__), counts, remark)
            print(f"{'FAIL' if problem else 'PASS'} {case.__name__} {problem or ('explained' if remark else 'fused')}")
            failures += bool(problem)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
