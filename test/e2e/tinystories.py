#!/usr/bin/env python3
# llmopt-test: quick
"""TinyStories-656K (the file holds lm_head.weight only): reference ids, and the mean negative log likelihood of the reference texts."""
import json
import math

from harness import check, compile_model, data, finish, scratch, tool

folder = data("tinystories-656k")
reference = json.load(open(f"{folder}/reference.json"))
artifact = compile_model(folder, "tinystories", "-O3")
if artifact:
    for case in reference["cases"]:
        ids = case["greedy_ids"]
        code, text, errors = tool("llmopt-run", artifact, "--ids", " ".join(map(str, case["prompt_ids"])), "--print-ids", "--no-echo",
                                  "-n", len(ids), "--temperature", 0, "--ignore-eos")
        got = [int(word) for word in text.split()]
        check(f"tinystories ids {case['prompt']!r}", code == 0 and got == ids, f"exit {code} {errors[:200]} got {got[:10]} want {ids[:10]}")
    for i, case in enumerate(reference["nll"]):
        path = scratch(f"text{i}.txt")
        open(path, "w", encoding="utf-8").write(case["text"])
        code, text, errors = tool("llmopt-eval", "perplexity", artifact, "--text", path, "--json")
        want = case.get("mean_nll", case.get("nll"))
        got = json.loads(text)["mean_nll"] if code == 0 else math.nan
        check(f"tinystories nll {i}", abs(got - want) <= 1e-4, f"exit {code} {errors[:200]} got {got} want {want}")
finish()
