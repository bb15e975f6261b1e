#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes storyteller/reference.json: what transformers computes in f32 from the bf16 weights.

    python3 make_reference.py storyteller heldout.txt
"""
import argparse
import json
import math
import os

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from grammar_words import MEN, WOMEN

PROMPTS = ["The quarrel about the ring\n", "Pancakes for four\n", "Wilma at the market\nIn Foxfield, a village on the river"]
WINDOW = 512


@torch.no_grad()
def loss_sum(model, ids):
    """Sum of -ln p over all tokens but the first."""
    logits = model(input_ids=torch.tensor([ids])).logits[0, :-1].double()
    return torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="sum").item()


def by_story(model, tokenizer, text):
    """Each story alone: <s>, its text, and no end token. Stories are separated by an empty line."""
    total = tokens = 0
    for story in text.rstrip("\n").split("\n\n"):
        ids = tokenizer(story + "\n").input_ids
        total += loss_sum(model, ids)
        tokens += len(ids) - 1
    return total, tokens


def by_window(model, tokenizer, text):
    """The whole file as one stream of tokens, cut every 511; <s> stands before each piece, and every token counts once."""
    ids = tokenizer(text, add_special_tokens=False).input_ids
    pieces = [[tokenizer.bos_token_id] + ids[at:at + WINDOW - 1] for at in range(0, len(ids), WINDOW - 1)]
    return sum(loss_sum(model, piece) for piece in pieces), len(ids)


@torch.no_grad()
def copied_names(model, tokenizer, text):
    """How often a first name that already occurred in a story is the most likely token where it comes again."""
    names = {tokenizer.convert_tokens_to_ids(mark + name) for name in WOMEN + MEN for mark in ("", "\u0120")} - {None}
    right = total = 0
    for story in text.rstrip("\n").split("\n\n"):
        ids = tokenizer(story + "\n").input_ids
        best = model(input_ids=torch.tensor([ids])).logits[0].argmax(-1).tolist()
        again = [at for at in range(1, len(ids)) if ids[at] in names and ids[at] in ids[:at]]
        right += sum(best[at - 1] == ids[at] for at in again)
        total += len(again)
    return {"occurrences": total, "most_likely": right, "share": round(right / total, 4)}


@torch.no_grad()
def greedy(model, tokenizer, prompt, count=64):
    """Plain recomputation without a cache, so that the answer depends on nothing but the weights."""
    ids = tokenizer(prompt).input_ids
    start = len(ids)
    logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
    top = logits.topk(8)
    margin = math.inf
    for _ in range(count):
        step = model(input_ids=torch.tensor([ids])).logits[0, -1]
        best = step.topk(2).values
        margin = min(margin, (best[0] - best[1]).item())
        ids.append(int(step.argmax()))
    return {"prompt": prompt, "prompt_ids": ids[:start], "greedy_ids": ids[start:], "greedy_text": tokenizer.decode(ids[start:]),
            "smallest_margin": round(margin, 5),
            "last_prompt_position": {"top8_ids": top.indices.tolist(), "top8_logits": [round(v, 5) for v in top.values.tolist()],
                                     "mean": round(logits.mean().item(), 6), "norm": round(logits.norm().item(), 4)}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("heldout")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(args.folder)
    model = AutoModelForCausalLM.from_pretrained(args.folder, dtype=torch.float32).eval()
    with open(args.heldout, encoding="utf-8") as file:
        text = file.read()

    measures = {}
    for name, (total, tokens) in (("by_story", by_story(model, tokenizer, text)), ("by_window", by_window(model, tokenizer, text))):
        measures[name] = {"tokens": tokens, "nll_sum": round(total, 3), "mean_nll": round(total / tokens, 6),
                          "perplexity": round(math.exp(total / tokens), 5), "nats_per_byte": round(total / len(text.encode()), 6)}
    reference = {"made_with": {"transformers": transformers.__version__, "torch": torch.__version__.split("+")[0], "compute": "float32"},
                 "heldout": {"file": os.path.basename(args.heldout), "bytes": len(text.encode()), "window": WINDOW} | measures | {"copied_names": copied_names(model, tokenizer, text)},
                 "prompts": [greedy(model, tokenizer, prompt) for prompt in PROMPTS]}
    with open(os.path.join(args.folder, "reference.json"), "w", encoding="utf-8") as file:
        json.dump(reference, file, indent=1)
        file.write("\n")
    print(json.dumps(reference["heldout"], indent=1))
    for item in reference["prompts"]:
        print("---", item["smallest_margin"], "\n" + item["prompt"] + item["greedy_text"])


if __name__ == "__main__":
    main()
