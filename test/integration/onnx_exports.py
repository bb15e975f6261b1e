#!/usr/bin/env python3
# llmopt-test: long
# llmopt-packages: numpy torch transformers onnx onnxscript
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Exports small transformers (onnx_zoo.py) with both PyTorch exporters and checks llmopt against PyTorch.

    onnx_exports.py [--out FOLDER] [--only REGEX] [--run PROGRAM]

Each export becomes a case with PyTorch's outputs, for several batch sizes, lengths and cache lengths. All must agree to 1e-4, in the
interpreter and compiled at -O0 and -O3. In phase Fused each must have its attentions, norms and rotations fused and nothing left of
them; in phase Planned each gated MLP is one kernel.
"""
import collections
import os
import re
import subprocess
import sys
import tempfile
import warnings

import numpy
import torch

import onnx_cases
import onnx_zoo

warnings.filterwarnings("ignore")
TOLERANCE = 1e-4
EXPORTERS = ("dynamo", "torchscript")
BIN = os.path.join(onnx_cases.BUILD, "bin")
# What is left of attention, norms, activations and rotations that were not recognized.
UNFUSED = ("softmax", "matmul", "reduce", "rsqrt", "sqrt", "erf", "sigmoid", "cos", "sin")
COUNTED = re.compile(r"(?<!_Weight)Norm$|LayerNormalization$")  # not layers that are named after theirs, nor a parametrization


def flat(inputs):
    return [t for value in inputs for t in (value if isinstance(value, list) else [value])]


def export(module, exporter, path):
    example = module.example(torch.Generator().manual_seed(1))
    names, outputs = module.names, module.outputs
    with torch.no_grad():
        if exporter == "dynamo":
            torch.onnx.export(module, example, path, input_names=names, output_names=outputs, dynamic_shapes=module.dynamic_shapes(example),
                              dynamo=True, external_data=False, verbose=False)
        else:
            axes = {name: module.axes(name) for name in names + outputs}
            torch.onnx.export(module, example, path, input_names=names, output_names=outputs, dynamic_axes=axes, opset_version=17, dynamo=False)


def write_sets(module, folder):
    generator = torch.Generator().manual_seed(2)
    for i, shape in enumerate(module.shapes):
        inputs = module.inputs(*shape, generator)
        with torch.no_grad():
            outputs = module(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        onnx_cases.write_set(folder, i, [numpy.ascontiguousarray(t) for t in flat(inputs)], [numpy.ascontiguousarray(t) for t in outputs])
    onnx_cases.write_tolerance(folder, TOLERANCE, TOLERANCE)


def norms_called(module):
    """How often modules that are norms are called, by PyTorch's account."""
    calls = []
    hooks = [m.register_forward_hook(lambda *_: calls.append(1)) for m in module.modules() if COUNTED.search(type(m).__name__)]
    with torch.no_grad():
        module(*module.example(torch.Generator().manual_seed(1)))
    for hook in hooks:
        hook.remove()
    return len(calls)


def make(out, only):
    """{case: why the exporter cannot}"""
    refused = {}
    for case in onnx_zoo.cases():
        for exporter in EXPORTERS:
            name = f"{case.name}-{exporter}"
            folder = os.path.join(out, name)
            if not re.search(only, name) or os.path.exists(os.path.join(folder, "tolerance.json")):
                continue
            module = case.module()
            os.makedirs(folder, exist_ok=True)
            try:
                export(module, exporter, os.path.join(folder, "model.onnx"))
            except Exception as error:  # whatever the exporter throws is its answer
                refused[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                os.rmdir(folder)
                continue
            write_sets(module, folder)
    return refused


def phase(model, name, folder):
    """The function `main` in a phase; decoders have a ragged step beside it."""
    path = os.path.join(folder, f"{name}.mlir")
    subprocess.run([os.path.join(BIN, "llmopt-compile"), model, "-O3", f"--compile-to={name}", "-q", "--no-tokenizer", "-o", path], check=True)
    with open(path) as f:
        text = f.read()
    return text[text.index("func.func @main"):].split("func.func")[1]


def gated_kernels(planned):
    """Kernels that multiply two products, or two parts of one, after an activation."""
    bodies = re.split(r'exec\.kernel "', planned)[1:]
    return sum(body.startswith("linear") and bool(re.search(r"llm\.(silu|gelu|quick_gelu)", body)) and "llm.mul" in body for body in bodies)


def problems_of(case, model, folder):
    fused = phase(model, "fused", folder)
    ops = collections.Counter(re.findall(r"llm\.(\w+) ", fused))
    found = {"attentions": ops["attention"], "norms": ops["layer_norm"] + ops["rms_norm"], "ropes": ops["rope"]}
    wanted = {"attentions": case.attentions, "norms": norms_called(case.module()), "ropes": case.ropes}
    if case.causal:
        found["causal"], wanted["causal"] = len(re.findall(r"llm\.attention .*\bcausal\b", fused)), case.causal
    if case.gated:
        found["gated MLPs"], wanted["gated MLPs"] = gated_kernels(phase(model, "planned", folder)), case.gated
    problems = [f"{found[what]} of {wanted[what]} {what}" for what in wanted if found[what] != wanted[what]]
    return problems + [f"{ops[op]} llm.{op} left" for op in UNFUSED if ops[op] > case.kept.get(op, 0)]


def check_fused(out, only):
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for case in onnx_zoo.cases():
            for exporter in EXPORTERS:
                name = f"{case.name}-{exporter}"
                model = os.path.join(out, name, "model.onnx")
                if re.search(only, name) and os.path.exists(model):
                    problems = problems_of(case, model, folder)
                    if problems and exporter in case.apart:
                        print(f"SKIP {name} fused: {case.apart[exporter]} ({', '.join(problems)})")
                        continue
                    print(f"FAIL {name} fused: {', '.join(problems)}" if problems else f"PASS {name} fused")
                    failures += bool(problems)
    return failures


def main():
    args = onnx_cases.parse(__doc__)
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        out = args.out or temporary
        for name, reason in make(out, args.only).items():
            print(f"SKIP {name}: {reason}")
        failures += onnx_cases.run_all(args, out, onnx_cases.expect_all)
        failures += check_fused(out, args.only)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
