#!/usr/bin/env python3
# llmopt-test: long
# llmopt-packages: numpy onnx onnxruntime onnxscript torch transformers
"""The model of this repository exported to ONNX with its cache, by both of PyTorch's exporters: ids equal transformers' recorded ones."""
import json
import os
import subprocess
import sys

from harness import ROOT, check, compile_model, finish, say, scratch, tool

models = os.path.join(ROOT, "test", "models")
folder = os.path.join(models, "storyteller")
prompts = json.load(open(f"{folder}/reference.json"))["prompts"]
for exporter in ("dynamo", "torchscript"):
    path = scratch(f"{exporter}.onnx")
    export = [sys.executable, f"{models}/export_onnx.py", folder, "--output", path, "--exporter", exporter]
    done = subprocess.run(export, capture_output=True, text=True)
    if done.returncode:
        say("FAIL", f"export {exporter}", done.stderr[-300:].replace("\n", " "))
        continue
    for level in ("-O0", "-O3"):
        artifact = compile_model(path, f"{exporter}{level}", level)
        for case in prompts if artifact else []:
            ids = case["greedy_ids"]
            code, text, errors = tool("llmopt-run", artifact, "--ids", " ".join(map(str, case["prompt_ids"])), "--print-ids", "--no-echo",
                                      "-n", len(ids), "--temperature", 0, "--ignore-eos")
            got = [int(word) for word in text.split()]
            check(f"storyteller {exporter} {level} ids {case['prompt']!r}", code == 0 and got == ids,
                  f"exit {code} {errors[:200]} got {got[:10]} want {ids[:10]}")
finish()
