#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx onnxruntime
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""llmopt-reduce shrinks an ONNX file and writes ONNX: what is left still fails, onnx's checker takes it, and ONNX Runtime runs it."""
import os
import subprocess
import sys
import tempfile

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

BUILD = os.environ.get("LLMOPT_BUILD", "build")
REDUCE = os.path.join(BUILD, "bin", "llmopt-reduce")
failures = 0


def check(name, condition, detail=""):
    global failures
    failures += not condition
    print(("PASS " if condition else "FAIL ") + name + ("" if condition else f": {detail}"))


def reduce(source, target, *options):
    return subprocess.run([REDUCE, source, "-o", target, *options], capture_output=True, text=True)


def runs(path):
    """The checker's complaint, or ONNX Runtime's; None where both are content."""
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        feeds = {}
        for value in session.get_inputs():
            shape = [dim if isinstance(dim, int) else 3 for dim in value.shape]
            feeds[value.name] = numpy.ones(shape, {"tensor(float)": "float32", "tensor(int64)": "int64", "tensor(bool)": "bool"}[value.type])
        session.run(None, feeds)
    except Exception as error:  # whatever it is, the model is no good
        return str(error)
    return None


def block(middle, path, external=False):
    """Two layers of attention over [batch, seq, 64], their shapes computed as exporters do, and `middle` (nodes from m_in to m_out) between."""
    random = numpy.random.default_rng(1)
    nodes, weights = [], []

    def weight(name, *shape):
        weights.append(numpy_helper.from_array(random.normal(0, 0.1, shape).astype("float32"), name))
        return name

    def number(name, *values):
        weights.append(numpy_helper.from_array(numpy.array(values, "int64"), name))
        return name

    def node(op, inputs, output, **attributes):
        nodes.append(helper.make_node(op, inputs, [output], name=f"/{output}/{op}", **attributes))
        return output

    number("heads", 4, 16), number("width", 64), number("two", 0, 1)

    def layer(x, p):
        def project(which):
            y = node("MatMul", [x, weight(f"{p}{which}_w", 64, 64)], f"{p}{which}")
            sizes = node("Gather", [node("Shape", [x], f"{p}{which}_shape"), "two"], f"{p}{which}_sizes")
            split = node("Concat", [sizes, "heads"], f"{p}{which}_split", axis=0)
            return node("Transpose", [node("Reshape", [y, split], f"{p}{which}_4d")], f"{p}{which}_t", perm=[0, 2, 1, 3])

        q, k, v = project("q"), project("k"), project("v")
        scores = node("MatMul", [q, node("Transpose", [k], f"{p}kt", perm=[0, 1, 3, 2])], f"{p}scores")
        mixed = node("MatMul", [node("Softmax", [scores], f"{p}softmax", axis=-1), v], f"{p}mixed")
        sizes = node("Gather", [node("Shape", [x], f"{p}shape"), "two"], f"{p}sizes")
        joined = node("Reshape", [node("Transpose", [mixed], f"{p}back", perm=[0, 2, 1, 3]), node("Concat", [sizes, "width"], f"{p}join", axis=0)], f"{p}flat")
        return node("Add", [x, node("MatMul", [joined, weight(f"{p}o_w", 64, 64)], f"{p}o")], f"{p}out")

    before = layer("x", "a_")
    node("Identity", [before], "m_in")
    nodes.extend(middle)
    layer("m_out", "b_")
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "seq", 64])
    graph = helper.make_graph(nodes, "g", [value("x")], [value("b_out"), value("a_out")], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("local", 1)], ir_version=8)
    if external:
        onnx.save(model, path, save_as_external_data=True, location=os.path.basename(path) + ".data", size_threshold=64)
    else:
        onnx.save(model, path)


def operators(path):
    return [node.op_type for node in onnx.load(path).graph.node]


def sizes(path):
    graph = onnx.load(path).graph
    dims = [dim.dim_value for value in graph.input for dim in value.type.tensor_type.shape.dim]
    return dims + [dim for tensor in graph.initializer for dim in tensor.dims]


if not os.path.exists(REDUCE):
    print("SKIP reduce ONNX: no llmopt-reduce in this build")
    sys.exit(0)
with tempfile.TemporaryDirectory(prefix="llmopt-reduce-test-") as folder:
    path = lambda name: os.path.join(folder, name)
    plain = [helper.make_node("Tanh", ["m_in"], ["m_out"], name="/middle/Tanh")]

    # Any command decides; here the operator it has to keep. Weights lie in a file of their own.
    block(plain, path("whole.onnx"), external=True)
    done = reduce(path("whole.onnx"), path("tanh.onnx"), "--test", "! grep -q Tanh {}")
    check("a command decides", done.returncode == 0 and operators(path("tanh.onnx")) == ["Tanh"], done.stderr)
    check("the rest is a valid model", runs(path("tanh.onnx")) is None, runs(path("tanh.onnx")))
    check("sizes are small", done.returncode == 0 and all(size <= 2 for size in sizes(path("tanh.onnx"))))

    # What computes its shapes shrinks with them.
    done = reduce(path("whole.onnx"), path("attention.onnx"), "--test", "! (grep -q Softmax {} && grep -q Reshape {} && test $(grep -ao MatMul {} | wc -l) -ge 3)")
    left = operators(path("attention.onnx")) if done.returncode == 0 else []
    check("several operators", left.count("Softmax") == 1 and left.count("Reshape") == 1 and 4 <= len(left) <= 8, f"{left} {done.stderr}")
    check("several operators: valid", runs(path("attention.onnx")) is None, runs(path("attention.onnx")))

    # -O0 and -O3 differ: a tolerance nothing can meet.
    done = reduce(path("whole.onnx"), path("differs.onnx"), "--tolerance", "1e-12")
    left = operators(path("differs.onnx")) if done.returncode == 0 else []
    check("levels differ", 1 <= len(left) <= 3, f"{left} {done.stderr}")
    check("levels differ: valid", runs(path("differs.onnx")) is None, runs(path("differs.onnx")))
    again = reduce(path("differs.onnx"), path("again.onnx"), "--tolerance", "1e-12")
    check("levels differ: still", again.returncode == 0 and "E051" in again.stderr, again.stderr)

    # The compiler refuses: no type is known behind the operator it does not know.
    block([helper.make_node("Unheard", ["m_in"], ["m_out"], domain="local", name="/middle/Unheard")], path("unknown.onnx"))
    done = reduce(path("unknown.onnx"), path("refused.onnx"), "--message", "Unheard")
    left = operators(path("refused.onnx")) if done.returncode == 0 else []
    check("a refusal", left == ["Unheard", "Shape"], f"{left} {done.stderr}")
    if left:
        onnx.checker.check_model(onnx.load(path("refused.onnx")))
    done = reduce(path("unknown.onnx"), path("other.onnx"), "--message", "another text")
    check("another message is another failure", done.returncode == 2 and "E0515" in done.stderr, done.stderr)

    # The other format.
    done = reduce(path("whole.onnx"), path("small.mlir"), "--test", "! grep -q llm.tanh {}")
    check("as a module", done.returncode == 0 and "llm.tanh" in open(path("small.mlir")).read(), done.stderr)
    done = reduce(path("small.mlir"), path("small.onnx"), "--test", "! grep -q llm.tanh {}")
    check("a module is not written as ONNX", done.returncode == 2 and "E0517" in done.stderr, done.stderr)
sys.exit(1 if failures else 0)
