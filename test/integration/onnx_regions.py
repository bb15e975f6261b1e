#!/usr/bin/env python3
# llmopt-test: quick
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How many fused regions a transformer layer becomes.

    onnx_regions.py

For capp-gpt, the exports of ort-tiny and the attention models of ort-models/transformers (LLMOPT_TEST_DATA): at most 10 regions for each attention
with what belongs to it (a decoder layer with cross-attention has two), and in the middle of a model at most 10 from one attention to the
next. All regions of a model are at most a quarter of the nodes that ONNX Runtime has left at level "extended", where those are over 40.
"""
import os
import re
import subprocess
import sys
import tempfile

BIN = os.path.join(os.environ.get("LLMOPT_BUILD", "build"), "bin")
MOST = 10
# Models with masks made of inputs, a cache, or half precision outputs have regions in front of and behind their layer.
AROUND = 8
# Nodes left by ONNX Runtime 1.31.1 at level "extended"; those of ort-models are in ort130_ops.tsv.
NODES_LEFT = {"capp-gpt": 456, "bert_squad_tensorflow2.1_keras2onnx_opset11": 2919, "gpt2_pytorch1.4_opset11_no_past": 1016}
# 48 values are defined twice: not an ONNX graph. No attention: a layer norm alone, a product alone. GPT-2 of 2020 and Megatron multiply scores
# by their mask and take 10000 off, which is not the same as adding a mask; their attention stays apart.
LEFT_OUT = {"gpt2_past", "phi-3.5-v-instruct-vision-layernorm", "gemmfastgelu_withbias_opt", "gpt2_megatron", "gpt2_pytorch1.4_opset11_no_past"}


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
    folders = [f for f in folders if os.path.exists(os.path.join(f, "model.onnx")) and os.path.basename(f) not in LEFT_OUT]
    if not folders:
        print("SKIP: no models in LLMOPT_TEST_DATA")
        return 0
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        for folder in folders:
            name = os.path.basename(folder)
            families = regions(os.path.join(folder, "model.onnx"), temporary)
            places = [i for i, family in enumerate(families) if family == "attention"]
            problem = ""
            if not places:
                problem = "no attention was fused"
            elif len(families) > MOST * len(places) + AROUND:
                problem = f"more than {MOST} regions an attention"
            elif max([b - a for a, b in zip(places, places[1:])], default=0) > MOST:
                problem = f"more than {MOST} regions from one attention to the next"
            elif name in NODES_LEFT and 4 * len(families) > NODES_LEFT[name]:
                problem = f"ONNX Runtime leaves {NODES_LEFT[name]} nodes"
            print(f"{'FAIL' if problem else 'PASS'} {name}: {len(families)} regions, {len(places)} attentions {problem}")
            failures += bool(problem)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
