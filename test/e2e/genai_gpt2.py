#!/usr/bin/env python3
# llmopt-test: quick
"""tiny-random-gpt2 of fused com.microsoft operators (Attention with past, SkipLayerNormalization, FastGelu, EmbedLayerNormalization): ONNX
Runtime's recorded data sets, and the greedy rows that onnxruntime-genai's tests publish, alone and as a batch."""
import json

from harness import check, compile_model, data, finish, scratch, tool

folder = data("genai-tiny-gpt2")
published = json.load(open(f"{folder}/expected.json"))
rows = list(zip(published["greedy"]["input_ids"], published["greedy"]["expected"]))
rows.append((published["rewind"]["input_ids"], published["rewind"]["expected"]))
with open(scratch("cases.tsv"), "w") as cases:
    for prompt, whole in rows:
        assert whole[: len(prompt)] == prompt
        cases.write(" ".join(map(str, prompt)) + "\t" + " ".join(map(str, whole[len(prompt):])) + "\n")

for level in ("-O0", "-O3"):
    artifact = compile_model(f"{folder}/past.onnx", f"genai{level}", level)
    for threads in (1, 2) if artifact else ():
        name = f"genai-tiny-gpt2 {level} {threads} threads"
        for i in range(2):
            code, _, errors = tool("llmopt-run", artifact, "--test-data", f"{folder}/test_data_set_{i}", "--atol", 1e-4, "--rtol", 0, "-t", threads)
            check(f"{name} test_data_set_{i}", code == 0, errors[:300])
        for batch in (1, 3):
            code, text, errors = tool("llmopt-eval", "generate", artifact, "--cases", scratch("cases.tsv"), "--batch", batch, "-t", threads)
            check(f"{name} greedy rows, batch {batch}", code == 0 and text.startswith(b"3 of 3 "), f"exit {code}: {text.decode()} {errors[:300]}")
finish()
