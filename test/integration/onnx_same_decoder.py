#!/usr/bin/env python3
# llmopt-test: long
# llmopt-packages: numpy torch transformers onnx onnxscript
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One decoder from several exporters and from its Hugging Face folder is one ragged step after phase Fused: equal structure hashes.

    onnx_same_decoder.py [--out FOLDER]

A small Llama with a key-value cache, by PyTorch's TorchScript and dynamo exporters, by optimum and by ONNX Runtime GenAI's model builder (where
onnx_exporters.py finds interpreters that have them), and by our own frontend, whose graph is a ragged step from the start: what is compared is
the step that padded graphs become. Each artifact also goes on from a prompt as PyTorch does.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import warnings

import torch
import transformers

import onnx_exporters
import onnx_exports
import onnx_zoo

warnings.filterwarnings("ignore")
BIN = onnx_exports.BIN
# GenAI leaves the size of a head open in its caches.
OPTIONS = {"genai": ["--dim", f"kv_cache_dim={onnx_zoo.GROUPED['head_dim']}"]}
PROMPT, LENGTH = [3, 14, 15, 92, 65, 35], 12


def make(out):
    """{who: path, or why there is none}"""
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**onnx_zoo.GROUPED)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if parameter.dim() < 2 else 0.0, std=0.2)
    folder = os.path.join(out, "huggingface")
    model.save_pretrained(folder)
    made = {"huggingface": folder}
    for exporter in onnx_exports.EXPORTERS:
        made[exporter] = os.path.join(out, f"{exporter}.onnx")
        onnx_exports.export(onnx_zoo.Decoder(model).eval(), exporter, made[exporter])
    refused = {}
    for exporter in ("optimum", "genai"):
        made[exporter] = os.path.join(out, f"{exporter}.onnx")
        if reason := onnx_exporters.run(exporter, folder, made[exporter]):
            refused[exporter] = reason
    with torch.no_grad():
        ids = list(PROMPT)
        for _ in range(LENGTH):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return made, refused, ids[len(PROMPT):]


def compiled(model, path, *options):
    subprocess.run([os.path.join(BIN, "llmopt-compile"), model, "-O3", "-q", "--no-tokenizer", *options, "-o", path], check=True)
    return path


def step_hash(model, out, options):
    path = compiled(model, os.path.join(out, "fused.mlir"), "--compile-to=fused", *options)
    text = subprocess.run([os.path.join(BIN, "llmopt-opt"), path, "--llmopt-print-structure-hash", "-o", os.devnull], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    found = re.search(r"@step ([0-9a-f]{16})", text)
    return found.group(1) if found else "no step"


def goes_on(model, out, options):
    path = compiled(model, os.path.join(out, "model.llmopt"), *options)
    text = subprocess.run([os.path.join(BIN, "llmopt-run"), path, "--ids", " ".join(map(str, PROMPT)), "-n", str(LENGTH), "--ignore-eos", "--no-echo",
                           "--print-ids"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return [int(word) for word in text.split()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", help="folder for the models; a temporary one by default")
    args = parser.parse_args()
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        out = args.out or temporary
        os.makedirs(out, exist_ok=True)
        made, refused, expected = make(out)
        wanted = None
        for who, model in made.items():
            if who in refused:
                print(f"SKIP {who}: {refused[who]}")
                continue
            options = OPTIONS.get(who, [])
            found, ids = step_hash(model, out, options), goes_on(model, out, options)
            wanted = wanted or found
            for what, good, shown in (("step", found == wanted, f"{found}, expected {wanted}"), ("ids", ids == expected, f"{ids}, expected {expected}")):
                print(f"PASS {who} {what}" if good else f"FAIL {who} {what}: {shown}")
                failures += not good
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
