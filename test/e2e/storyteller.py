#!/usr/bin/env python3
# llmopt-test: quick
"""The model of this repository against transformers' recorded answers: greedy ids, logits after the prompt, held-out likelihood."""
import json
import os

from harness import ROOT, check, compile_model, finish, scratch, tool

folder = os.path.join(ROOT, "test", "models", "storyteller")
reference = json.load(open(f"{folder}/reference.json"))
want = reference["heldout"]["by_story"]
stories = [story + "\n" for story in open(f"{folder}/../heldout.txt", encoding="utf-8").read().rstrip("\n").split("\n\n")]


def likelihood(artifact):
    """Tokens predicted and the sum of -ln p over them, each story alone."""
    tokens, loss = 0, 0.0
    for story in stories:
        with open(scratch("story.txt"), "w", encoding="utf-8") as file:
            file.write(story)
        code, answer, errors = tool("llmopt-eval", "perplexity", artifact, "--text", scratch("story.txt"), "--json")
        if code:
            raise SystemExit(errors)
        answer = json.loads(answer)
        tokens += answer["scored"]
        loss += answer["mean_nll"] * answer["scored"]
    return tokens, loss


for level, *flags in (("-O0",), ("-O3",), ("-O3", "--kv-cache", "f16"), ("-O3", "--products", "bf16")):
    artifact = compile_model(folder, "storyteller" + "".join((level, *flags)), level, *flags)
    level = " ".join((level, *flags))
    if not artifact:
        continue
    for case in reference["prompts"]:
        ids = case["greedy_ids"]
        code, text, errors = tool("llmopt-run", artifact, "--prompt", case["prompt"], "--print-ids", "--no-echo", "-n", len(ids),
                                  "--temperature", 0, "--ignore-eos")
        got = [int(word) for word in text.split()]
        # A tie within bf16 weights' rounding is decided by the order of the sums.
        check(f"storyteller {level} ids {case['prompt']!r}", code == 0 and got == ids,
              f"exit {code} {errors[:200]} got {got[:10]} want {ids[:10]} smallest margin {case['smallest_margin']}")
    tokens, loss = likelihood(artifact)
    check(f"storyteller {level} held-out likelihood", tokens == want["tokens"] and abs(loss / tokens - want["mean_nll"]) <= 1e-4,
          f"got {tokens} tokens, {loss}; want {want}")
finish()
