#!/usr/bin/env python3
"""Writes model.safetensors for a folder that has only config.json, with the weights of llmopt-compile --weights=random:SEED.

    random_weights.py FOLDER SEED [--out FOLDER]

So that other programs can run the very model llmopt is measured with. Names and shapes come from transformers, without its weights.
"""
import argparse
import os
import shutil

import numpy as np
import torch
import transformers
from safetensors.torch import save_file

STEP = np.uint64(0x9E3779B97F4A7C15)
# Names under which the description of an architecture looks for its tensors first.
PREFIX = {"BertModel": "bert."}


def mix(state):
    """The splitmix64 generator's output at each state."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def fnv1a(name):
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def draw(name, shape, seed, dtype):
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        state = np.uint64(fnv1a(name)) ^ mix(np.array([seed], np.uint64))[0]
        words = mix(state + STEP * np.arange(1, count + 1, dtype=np.uint64))
    share = (words >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    center = np.float32(1 if len(shape) == 1 and name.endswith("weight") else 0)
    values = center + (share - np.float32(0.5)) * (np.float32(0.02) * np.float32(3.4641016))
    return torch.from_numpy(values).reshape(shape).to(dtype)


def make(folder, seed, out):
    config = transformers.AutoConfig.from_pretrained(folder)
    dtype = config.dtype or torch.float32
    name = config.architectures[0]
    with torch.device("meta"):
        model = getattr(transformers, name)(config)
    tied = set(getattr(model, "all_tied_weights_keys", None) or [])
    prefix = PREFIX.get(name, "")
    tensors = {prefix + key: draw(prefix + key, list(value.shape), seed, dtype)
               for key, value in model.named_parameters(remove_duplicate=True) if key not in tied or not config.tie_word_embeddings}
    os.makedirs(out, exist_ok=True)
    if os.path.abspath(out) != os.path.abspath(folder):
        shutil.copy(os.path.join(folder, "config.json"), out)
    save_file(tensors, os.path.join(out, "model.safetensors"), metadata={"format": "pt"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("seed", type=int)
    parser.add_argument("--out", help="folder to write [FOLDER]")
    arguments = parser.parse_args()
    make(arguments.folder, arguments.seed, arguments.out or arguments.folder)
