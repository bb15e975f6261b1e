#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How much the held-out loss of a model moves when its weights are damaged in known ways.

    python3 yardstick.py storyteller heldout.txt

Rounds or removes weights of the linear layers (not the embedding) in the plainest way: nearest rounding per group of inputs,
smallest magnitude first. Methods that use calibration data have to do better than these numbers.
"""
import argparse
import math

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from make_reference import by_story


def rounded(bits, group):
    """Symmetric rounding to nearest, one scale per group of inputs."""
    def damage(weight):
        parts = weight.reshape(weight.shape[0], -1, group)
        top = 2 ** (bits - 1) - 1
        scale = (parts.abs().amax(-1, keepdim=True) / top).clamp_min(1e-12)
        return ((parts / scale).round().clamp(-top - 1, top) * scale).reshape(weight.shape)
    return damage


def pruned(share):
    """The smallest weights of each matrix become zero."""
    def damage(weight):
        limit = weight.abs().flatten().kthvalue(int(share * weight.numel())).values
        return torch.where(weight.abs() > limit, weight, 0.0)
    return damage


def two_of_four(weight):
    """Of four neighbors along the inputs, the two larger ones stay."""
    parts = weight.reshape(-1, 4)
    keep = torch.zeros_like(parts).scatter_(1, parts.abs().topk(2, dim=1).indices, 1.0)
    return (parts * keep).reshape(weight.shape)


CASES = [("bf16 weights as stored", lambda weight: weight), ("8 bits, groups of 128", rounded(8, 128)), ("6 bits, groups of 128", rounded(6, 128)),
         ("4 bits, groups of 32", rounded(4, 32)), ("4 bits, groups of 128", rounded(4, 128)), ("3 bits, groups of 128", rounded(3, 128)),
         ("2 bits, groups of 32", rounded(2, 32)), ("20 % removed", pruned(0.2)), ("30 % removed", pruned(0.3)), ("50 % removed", pruned(0.5)),
         ("2 of 4 removed", two_of_four)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("heldout")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(args.folder)
    with open(args.heldout, encoding="utf-8") as file:
        text = file.read()
    print("| weights of the linear layers | mean NLL | perplexity |\n|---|---|---|")
    for name, damage in CASES:
        model = AutoModelForCausalLM.from_pretrained(args.folder, dtype=torch.float32).eval()
        with torch.no_grad():
            for layer in model.model.layers.modules():
                if isinstance(layer, torch.nn.Linear):
                    layer.weight.copy_(damage(layer.weight))
        total, tokens = by_story(model, tokenizer, text)
        print(f"| {name} | {total / tokens:.4f} | {math.exp(total / tokens):.3f} |", flush=True)


if __name__ == "__main__":
    main()
