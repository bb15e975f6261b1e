#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy
"""CAPP-GPT, as ONNX export and as Hugging Face folder, at -O0 and -O3, with 1 and 2 threads: recorded data sets, agreement of the two, and
all 5,226 greedy answers alone and in batches of 7 and 64."""
import re

import numpy as np

from harness import check, compile_model, data, finish, scratch, tool

folder = data("capp-gpt")
cases = f"{folder}/greedy_all_prompts.tsv"
onnx = {level: compile_model(f"{folder}/model.onnx", f"capp-onnx{level}", level) for level in ("-O0", "-O3")}
hf = {level: compile_model(folder, f"capp-hf{level}", level) for level in ("-O0", "-O3")}

for level, artifact in onnx.items():
    for threads in (1, 2):
        for i in range(5):
            if artifact:
                code, _, errors = tool("llmopt-run", artifact, "--test-data", f"{folder}/test_data_set_{i}", "--atol", 1e-4, "--rtol", 0, "-t", threads)
                check(f"capp-gpt onnx {level} {threads} threads test_data_set_{i}", code == 0, errors[:300])


def answers(artifact, name, batch, threads):
    if not artifact:
        return
    code, text, errors = tool("llmopt-eval", "generate", artifact, "--cases", cases, "--batch", batch, "-t", threads)
    counts = re.search(r"(\d+) of (\d+)", text.decode())
    good = code == 0 and counts and counts.group(1) == counts.group(2) == "5226"
    check(f"capp-gpt {name} greedy answers, batch {batch}, {threads} threads", good, f"exit {code}: {text.decode()[-200:]} {errors[-200:]}")


for name, artifacts in (("hf", hf), ("onnx", onnx)):
    for batch, threads in ((1, 1), (7, 2), (64, 1), (64, 2)):
        answers(artifacts["-O3"], f"{name} -O3", batch, threads)
    for threads in (1, 2):
        answers(artifacts["-O0"], f"{name} -O0", 64, threads)

ids = np.array([[int(x) for x in line.split("\t")[0].split()] for line in open(cases) if not line.startswith("#")][:50], dtype=np.int64)
np.save(scratch("ids.npy"), ids)
logits = {}
for name, artifact in (("hf", hf["-O3"]), ("hf-O0", hf["-O0"]), ("onnx", onnx["-O3"]), ("onnx-O0", onnx["-O0"])):
    if artifact:
        out = scratch(f"{name}.npy")
        code, _, errors = tool("llmopt-eval", "logits", artifact, "--ids", scratch("ids.npy"), "-o", out)
        if check(f"capp-gpt logits {name}", code == 0, errors[:300]):
            logits[name] = np.load(out)
for other in ("hf-O0", "onnx", "onnx-O0"):
    if other in logits and "hf" in logits:
        worst = float(np.max(np.abs(logits["hf"] - logits[other])))
        check(f"capp-gpt hf and {other} agree", worst <= 1e-5, f"largest difference {worst}")
finish()
