#!/usr/bin/env python3
# llmopt-test: quick
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How many fused regions a transformer layer becomes, and a whole model beside ONNX Runtime.

    onnx_regions.py

For capp-gpt, the exports of ort-tiny and all of ort-models/transformers (LLMOPT_TEST_DATA): at most 10 regions for each layer, embedding, masks and
head included (a decoder layer with cross-attention is one layer). Never more regions than ONNX Runtime has nodes left at level "extended",
and at most a quarter of them where those are over 40.
"""
import os
import re
import subprocess
import sys
import tempfile

BIN = os.path.join(os.environ.get("LLMOPT_BUILD", "build"), "bin")
MOST = 10
# Models of ort-models/transformers have one layer, or a part of one, but for these.
LAYERS = {"capp-gpt": 4, "bert_squad_pytorch1.4_opset11_0": 12, "bert_squad_tensorflow2.1_keras2onnx_opset11": 24, "gpt2_pytorch1.4_opset11_no_past": 12,
          "gpt2_past": 12, "TFBertForQuestionAnswering": 24}
# Nodes left by ONNX Runtime 1.31.1; those of ort-models are in ort130_ops.tsv. It refuses bert_squad_pytorch.
NODES_LEFT = {"capp-gpt": 456, "bert_squad_tensorflow2.1_keras2onnx_opset11": 2919, "gpt2_pytorch1.4_opset11_no_past": 1016}


def nodes_left(path):
    """{model: nodes}; without those that ONNX Runtime does not run."""
    found = dict(NODES_LEFT)
    with open(path) as f:
        for line in f:
            fields = line.rstrip("\n").split("\t")
            if not line.startswith("#") and re.fullmatch(r"(\S+=\d+ ?)+", fields[2]):
                found[os.path.basename(fields[0])] = sum(int(count.split("=")[1]) for count in fields[2].split())
    return found


def regions(model, temporary):
    path = os.path.join(temporary, "planned.mlir")
    subprocess.run([os.path.join(BIN, "llmopt-compile"), model, "-O3", "--compile-to=planned", "-q", "--no-tokenizer", "-o", path], check=True)
    with open(path) as f:
        text = f.read()
    # Decoders have a ragged step beside the graph itself.
    main = text[text.index("func.func @main"):].split("func.func")[1]
    return re.findall(r'exec\.kernel "(\w+)"', main)


def main():
    data = os.environ.get("LLMOPT_TEST_DATA", "")
    folders = [os.path.join(data, "capp-gpt")]
    for parent in ("ort-tiny", os.path.join("ort-models", "transformers")):
        parent = os.path.join(data, parent)
        folders += sorted(os.path.join(parent, name) for name in os.listdir(parent)) if os.path.isdir(parent) else []
    folders = [f for f in folders if os.path.exists(os.path.join(f, "model.onnx"))]
    if not folders:
        print("SKIP: no models in LLMOPT_TEST_DATA")
        return 0
    left = nodes_left(os.path.join(data, "ort-models", "ort130_ops.tsv"))
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        for folder in folders:
            name = os.path.basename(folder)
            count, layers, nodes = len(regions(os.path.join(folder, "model.onnx"), temporary)), LAYERS.get(name, 1), left.get(name)
            problem = ""
            if not 0 < count <= MOST * layers:
                problem = f": more than {MOST} a layer"
            elif nodes is not None and (count > nodes or (nodes > 40 and 4 * count > nodes)):
                problem = ": too many beside ONNX Runtime"
            print(f"{'FAIL' if problem else 'PASS'} {name}: {count} regions, {layers} layers, {nodes or 'unknown'} nodes left by ONNX Runtime{problem}")
            failures += bool(problem)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
