#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx
"""Twelve ways in which exporters and people spoil a pattern. Each is fused all the same, or --explain names the operation that stands in the
way."""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

BUILD = os.environ["LLMOPT_BUILD"]
B, H, S, D = 1, 2, 5, 8
W = H * D
failures = 0


class Graph:
    def __init__(self, dtype=np.float32):
        self.nodes, self.weights, self.dtype, self.random = [], [], dtype, np.random.default_rng(0)
        self.inputs, self.outputs = [self.port("x", [B, S, W])], []

    def port(self, name, shape, type=None):
        return helper.make_tensor_value_info(name, type or helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype)), shape)

    def weight(self, name, array, dtype=None):
        self.weights.append(numpy_helper.from_array(np.asarray(array, dtype or self.dtype), name))
        return name

    def node(self, op, inputs, name, outputs=1, **attributes):
        made = [f"{name}:{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, made, name=name, **attributes))
        return made[0] if outputs == 1 else made

    def ints(self, name, values):
        return self.weight(name, values, np.int64)

    def linear(self, x, name, width=W, inner=W):
        return self.node("MatMul", [x, self.weight(name + ".w", self.random.normal(0, .3, (inner, width)))], name)

    def heads(self, x, name, permutation=(0, 2, 1, 3)):
        split = self.node("Reshape", [x, self.ints(name + ".split", [B, S, H, D])], name + "/Reshape")
        return self.node("Transpose", [split], name + "/Transpose", perm=list(permutation))

    def save(self, path, result, extra=()):
        outputs = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in (result, *extra)]
        for output in outputs:
            output.ClearField("type")
        save(helper.make_model(helper.make_graph(self.nodes, "g", self.inputs, outputs, self.weights), opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def attention(g, *, scale="mul", packed=False, key="late", cast=False, mask=None, after=None, share=False):
    x = "x"
    if packed:
        g.ints("parts", [W, W, W])
        q, k, v = g.node("Split", [g.linear(x, "qkv", 3 * W), "parts"], "Split", 3, axis=2)
    else:
        q, k, v = (g.linear(x, n) for n in ("q", "k", "v"))
    q, v = g.heads(q, "q"), g.heads(v, "v")
    k = g.heads(k, "k", (0, 2, 3, 1)) if key == "once" else g.node("Transpose", [g.heads(k, "k")], "kT", perm=[0, 1, 3, 2])
    s = g.node("MatMul", [q, k], "QK")
    if scale == "mul":
        s = g.node("Mul", [s, g.weight("scale", D ** -.5)], "Scale")
    elif scale == "sqrt-cast":
        size = g.node("Cast", [g.ints("size", D)], "SizeCast", to=TensorProto.FLOAT)
        s = g.node("Div", [s, g.node("Sqrt", [size], "SizeSqrt")], "Scale")
    elif scale == "vector":
        s = g.node("Mul", [s, g.weight("scales", np.linspace(.2, .5, S))], "Scale")
    if mask == "where":
        g.inputs.append(g.port("allowed", [S, S], TensorProto.BOOL))
        s = g.node("Where", ["allowed", s, g.weight("lowest", np.finfo(np.float32).min)], "Mask")
    elif mask == "clip":
        s = g.node("Clip", [s, g.weight("low", -50.), g.weight("high", 50.)], "Clip")
    p = g.node("Softmax", [s], "Softmax", axis=-1)
    if cast:
        p = g.node("Cast", [g.node("Cast", [p], "CastDown", to=TensorProto.FLOAT16)], "CastUp", to=TensorProto.FLOAT)
    if after == "scale":
        p = g.node("Mul", [p, g.weight("keep", np.linspace(.5, 1, S))], "Dropout")
    y = g.node("MatMul", [p, v], "PV")
    y = g.node("Reshape", [g.node("Transpose", [y], "Join", perm=[0, 2, 1, 3]), g.ints("joined", [B, S, W])], "JoinReshape")
    return (y, [p]) if share else (y, [])


def rms_norm(g, *, axis=-1, weight=None, share=False, x="x"):
    square = g.node("Pow", [x, g.weight("two", 2.)], "Pow")
    mean = g.node("ReduceMean", [square], "Mean", axes=[axis])
    root = g.node("Sqrt", [g.node("Add", [mean, g.weight("eps", 1e-5)], "AddEps")], "Sqrt")
    normed = g.node("Div", [x, root], "Div")
    y = g.node("Mul", [normed, weight or g.weight("gain", np.ones(W))], "Gain")
    return y, [normed] if share else []


def gelu(g, constant):
    e = g.node("Erf", [g.node("Div", ["x", g.weight("root", constant)], "DivRoot")], "Erf")
    return g.node("Mul", [g.node("Mul", ["x", g.node("Add", [e, g.weight("one", 1.)], "AddOne")], "MulX"), g.weight("half", .5)], "Half"), []


def half_norm(g):
    """f16 in and out, the gain of the norm in f32."""
    x = g.node("Cast", ["x"], "CastIn", to=TensorProto.FLOAT)
    g.dtype = np.float32
    y, _ = rms_norm(g, x=x)
    return g.node("Cast", [y], "CastOut", to=TensorProto.FLOAT16), []


# name, graph, fusion, nodes one of which a remark may name where the fusion is not made
CASES = [
    ("scale as Sqrt and Cast", lambda g: attention(g, scale="sqrt-cast"), "fuse-attention", ["Scale"]),
    ("packed queries, keys and values", lambda g: attention(g, packed=True), "fuse-attention", ["Split"]),
    ("keys transposed at once", lambda g: attention(g, key="once"), "fuse-attention", ["k/Transpose"]),
    ("casts behind the softmax", lambda g: attention(g, cast=True), "fuse-attention", ["CastDown", "CastUp"]),
    ("mask as Where", lambda g: attention(g, mask="where"), "fuse-attention", ["Mask"]),
    ("scale that is a vector", lambda g: attention(g, scale="vector"), "fuse-attention", ["Scale"]),
    ("scores clipped", lambda g: attention(g, mask="clip"), "fuse-attention", ["Clip"]),
    ("weights scaled behind the softmax", lambda g: attention(g, after="scale"), "fuse-attention", ["Dropout"]),
    ("weights returned", lambda g: attention(g, share=True), "fuse-attention", ["Softmax", "PV"]),
    ("f32 norm in an f16 graph", half_norm, "fuse-rms-norm", ["CastIn", "CastOut", "Gain"]),
    ("norm over another axis", lambda g: rms_norm(g, axis=1), "fuse-rms-norm", ["Mean"]),
    ("GELU with another constant", lambda g: gelu(g, 1.3), "fuse-gelu", ["Erf", "DivRoot"]),
]

with tempfile.TemporaryDirectory(prefix="llmopt-seeded-") as folder:
    good = 0
    for name, build, fusion, nodes in CASES:
        graph = Graph(np.float16 if build is half_norm else np.float32)
        result, extra = build(graph)
        path = os.path.join(folder, "m.onnx")
        graph.save(path, result, extra)
        done = subprocess.run([os.path.join(BUILD, "bin", "llmopt-compile"), path, "-o", os.path.join(folder, "m.llmopt"), "-q", "--no-tokenizer",
                               "--explain=" + fusion, "--remarks-format=json", "--verify-rewrites"], capture_output=True, text=True)
        remarks = json.loads(done.stdout) if done.returncode == 0 else []
        made = [r for r in remarks if r["kind"] == "passed"]
        named = [r["facts"]["BlockerNode"] for r in remarks if r["kind"] == "missed" and r["facts"].get("Blocker") and r["facts"]["BlockerNode"].strip() in nodes]
        fine = done.returncode == 0 and bool(made or named)
        good += fine
        print(("PASS " if fine else "FAIL ") + name + ": " + ("fused" if made else f"blocked by {named[0]}" if named else done.stderr + done.stdout))
    print(f"{good} of {len(CASES)}")
sys.exit(0 if good == len(CASES) else 1)
