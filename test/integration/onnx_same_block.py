#!/usr/bin/env python3
# llmopt-test: long
# llmopt-packages: numpy torch transformers onnx onnxscript onnxruntime
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One encoder block from several exporters is one graph after phase Fused: equal structure hashes.

    onnx_same_block.py [--out FOLDER]

The block is a BERT layer without a mask. It is written by PyTorch's TorchScript exporter (attention spelled out, and by
scaled_dot_product_attention), by its dynamo exporter (both, at opset 18, and at opset 23, which has an Attention operator), by ONNX Runtime's
transformer optimizer (com.microsoft operators, as optimum and Olive ship models), by tf2onnx from Keras and by jax2onnx from Flax (where
onnx_exporters.py finds interpreters that have them), and by hand with onnx.helper the way tf2onnx writes a Keras layer: MatMul on flattened
tokens, layer norms as one factor and one summand. Each file is also run against PyTorch.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import warnings

import numpy
import onnx
import torch
from onnx import helper, numpy_helper
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertLayer

import onnx_cases
import onnx_exporters

warnings.filterwarnings("ignore")
BIN = os.path.join(os.environ.get("LLMOPT_BUILD", "build"), "bin")
WIDTH, HEADS, INNER = 32, 4, 48
OTHERS = ("tf2onnx", "multihead", "jax2onnx")


class Block(torch.nn.Module):
    def __init__(self, attention):
        super().__init__()
        torch.manual_seed(0)
        config = BertConfig(hidden_size=WIDTH, num_attention_heads=HEADS, intermediate_size=INNER, attn_implementation=attention)
        self.layer = BertLayer(config).eval()
        for parameter in self.parameters():
            torch.nn.init.normal_(parameter, std=0.2)

    def forward(self, x):
        result = self.layer(x)
        return result[0] if isinstance(result, tuple) else result


def torch_export(path, attention, dynamo, opset):
    x, names = torch.randn(2, 5, WIDTH), dict(input_names=["x"], output_names=["y"])
    with torch.no_grad():
        if dynamo:
            shapes = ({0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")},)
            torch.onnx.export(Block(attention), (x,), path, dynamic_shapes=shapes, dynamo=True, opset_version=opset, external_data=False,
                              verbose=False, **names)
        else:
            axes = {"x": {0: "batch", 1: "tokens"}, "y": {0: "batch", 1: "tokens"}}
            torch.onnx.export(Block(attention), (x,), path, dynamic_axes=axes, dynamo=False, opset_version=opset, **names)


def onnxruntime_optimizer(source, path):
    from onnxruntime.transformers import optimizer

    optimizer.optimize_model(source, model_type="bert", num_heads=HEADS, hidden_size=WIDTH, opt_level=0).save_model_to_file(path)


class Writer:
    """A graph in tf2onnx's manner."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, value, dtype=numpy.float32):
        name = f"const_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(numpy.array(value, dtype), name))
        return name

    def op(self, kind, *inputs, **attributes):
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def reshape(self, x, *dims):
        return self.op("Reshape", x, self.constant(dims, numpy.int64))

    def dense(self, x, module, shape):
        flat = self.op("MatMul", self.reshape(x, -1, module.in_features), self.constant(module.weight.detach().numpy().T))
        return self.op("Add", self.op("Reshape", flat, shape(module.out_features)), self.constant(module.bias.detach().numpy()))

    def norm(self, x, module):
        mean = self.op("ReduceMean", x, axes=[2], keepdims=1)
        centered = self.op("Sub", x, mean)
        variance = self.op("ReduceMean", self.op("Mul", centered, centered), axes=[2], keepdims=1)
        root = self.op("Sqrt", self.op("Add", variance, self.constant(module.eps)))
        factor = self.op("Mul", self.op("Reciprocal", root), self.constant(module.weight.detach().numpy()))
        shift = self.op("Sub", self.constant(module.bias.detach().numpy()), self.op("Mul", mean, factor))
        return self.op("Add", self.op("Mul", x, factor), shift)


def keras_like(path):
    layer, w, size = Block("eager").layer, Writer(), WIDTH // HEADS

    def shape(width):  # [Shape(x)[0], Shape(x)[1], width], as Keras' dense layers compute it
        dims = w.op("Shape", "x")
        parts = [w.op("Slice", dims, *(w.constant([v], numpy.int64) for v in (i, i + 1, 0))) for i in (0, 1)]
        return w.op("Concat", *parts, w.constant([width], numpy.int64), axis=0)

    def heads(x):
        dims = w.op("Shape", x)
        parts = [w.op("Slice", dims, *(w.constant([v], numpy.int64) for v in (i, i + 1, 0))) for i in (0, 1)]
        split = w.op("Concat", *parts, w.constant([HEADS], numpy.int64), w.constant([size], numpy.int64), axis=0)
        return w.op("Transpose", w.op("Reshape", x, split), perm=[0, 2, 1, 3])

    own = layer.attention.self
    q, k, v = (heads(w.dense("x", module, shape)) for module in (own.query, own.key, own.value))
    scores = w.op("MatMul", q, w.op("Transpose", k, perm=[0, 1, 3, 2]))
    scores = w.op("Mul", scores, w.constant(numpy.float32(1) / numpy.sqrt(numpy.float32(size))))
    mixed = w.op("Transpose", w.op("MatMul", w.op("Softmax", scores, axis=3), v), perm=[0, 2, 1, 3])
    joined = w.op("Reshape", mixed, shape(WIDTH))
    x = w.norm(w.op("Add", w.dense(joined, layer.attention.output.dense, shape), "x"), layer.attention.output.LayerNorm)
    h = w.dense(x, layer.intermediate.dense, shape)
    gate = w.op("Add", w.op("Erf", w.op("Div", h, w.constant(numpy.float32(2) ** numpy.float32(0.5)))), w.constant(1))
    h = w.op("Mul", w.op("Mul", w.constant(0.5), h), gate)
    w.nodes.append(helper.make_node("Identity", [w.norm(w.op("Add", w.dense(h, layer.output.dense, shape), x), layer.output.LayerNorm)], ["y"]))
    value = lambda name: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", "tokens", WIDTH])
    graph = helper.make_graph(w.nodes, "keras", [value("x")], [value("y")], w.constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def write_weights(path):
    """The block's tensors under one letter each, matrices as [inputs, outputs]."""
    layer = Block("eager").layer
    own = layer.attention.self
    modules = {"q": own.query, "k": own.key, "v": own.value, "o": layer.attention.output.dense, "a": layer.attention.output.LayerNorm,
               "i": layer.intermediate.dense, "f": layer.output.dense, "b": layer.output.LayerNorm}
    tensors = {f"{name}.{part}": getattr(module, part).detach().numpy().T for name, module in modules.items() for part in ("weight", "bias")}
    numpy.savez(path, heads=HEADS, **tensors)


def make(out):
    """The cases, and why others could not be made"""
    weights, refused = os.path.join(out, "weights.npz"), {}
    write_weights(weights)

    def other(exporter):
        def export(path):
            if reason := onnx_exporters.run(exporter, weights, path):
                refused[exporter] = reason
        return export

    cases = {
        "torchscript-eager": lambda p: torch_export(p, "eager", False, 17),
        "torchscript-sdpa": lambda p: torch_export(p, "sdpa", False, 17),
        "dynamo-eager": lambda p: torch_export(p, "eager", True, 18),
        "dynamo-sdpa": lambda p: torch_export(p, "sdpa", True, 18),
        "dynamo-sdpa-opset23": lambda p: torch_export(p, "sdpa", True, 23),
        "onnxruntime-optimizer": lambda p: onnxruntime_optimizer(os.path.join(out, "torchscript-eager", "model.onnx"), p),
        "keras-like": keras_like,
        **{exporter: other(exporter) for exporter in OTHERS},
    }
    x = torch.randn(3, 7, WIDTH, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        y = Block("eager")(x)
    for name, export in cases.items():
        folder = os.path.join(out, name)
        if not os.path.exists(os.path.join(folder, "model.onnx")):
            os.makedirs(folder, exist_ok=True)
            export(os.path.join(folder, "model.onnx"))
        if name in refused:
            os.rmdir(folder)
            continue
        onnx_cases.write_set(folder, 0, [x.numpy()], [y.numpy()])
        onnx_cases.write_tolerance(folder, 1e-4, 1e-5)
    return [name for name in cases if name not in refused], refused


def structure_hash(folder):
    path = os.path.join(folder, "fused.mlir")
    subprocess.run([os.path.join(BIN, "llmopt-compile"), os.path.join(folder, "model.onnx"), "--compile-to=fused", "-O3", "-q", "--no-tokenizer",
                    "-o", path], check=True)
    text = subprocess.run([os.path.join(BIN, "llmopt-opt"), path, "--llmopt-print-structure-hash", "-o", os.devnull], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    with open(path) as f:
        ops = re.findall(r"= llm\.(\w+)", f.read())
    return re.search(r"@main ([0-9a-f]{16})", text).group(1), [op for op in ops if op not in ("constant", "weight")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", help="folder for the cases; a temporary one by default")
    args = parser.parse_args()
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        out = args.out or temporary
        names, refused = make(out)
        for name, reason in refused.items():
            print(f"SKIP {name}: {reason}")
        for how, command in onnx_cases.programs().items():
            for name, (outcome, reason) in onnx_cases.run(command, out).items():
                print(f"{'PASS' if outcome == 'PASS' else 'FAIL'} {name} {how}: {outcome} {reason}".rstrip())
                failures += outcome != "PASS"
        hashes = {name: structure_hash(os.path.join(out, name)) for name in names}
        first = hashes[names[0]]
        for name, (value, ops) in hashes.items():
            if value == first[0]:
                print(f"PASS {name}: {len(ops)} operations, hash {value}")
                continue
            print(f"FAIL {name} is another graph than {names[0]}:\n  {' '.join(ops)}\n  {' '.join(first[1])}")
            failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
