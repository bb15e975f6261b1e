#!/usr/bin/env python3
# llmopt-test: long
# llmopt-packages: numpy torch transformers
"""tiny-t5 (encoder-decoder, relative positions) against PyTorch's transformers: logits of padded batches and of single rows, greedy ids from
ids and from text."""
import json

import numpy as np
import torch
import transformers

from harness import check, compile_model, data, finish, scratch, tool

TOLERANCE = 1e-4
STEPS = 24
folder = data("tiny-t5")
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
model = transformers.T5ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
END, START = model.config.eos_token_id, model.config.decoder_start_token_id
# Texts the SentencePiece library tokenized; T5 ends each with its end token.
texts = [case for case in json.load(open(f"{folder}/reference_ids.json"))["cases"] if 0 < len(case["ids"]) < 60][:12]
sources = [case["ids"] + [END] for case in texts]
random = np.random.default_rng(5)
targets = [[START] + random.integers(2, 1000, 16).tolist() for _ in sources]

longest = max(map(len, sources))
padded = np.array([ids + [0] * (longest - len(ids)) for ids in sources], dtype=np.int64)
mask = np.array([[1] * len(ids) + [0] * (longest - len(ids)) for ids in sources], dtype=np.int64)
with torch.no_grad():
    want = model(input_ids=torch.tensor(padded), attention_mask=torch.tensor(mask), decoder_input_ids=torch.tensor(targets)).logits.numpy()


def greedy(ids):
    """The library's answer, without a cache and without stopping, so that nothing but the model is compared."""
    answer = [START]
    with torch.no_grad():
        for _ in range(STEPS):
            answer.append(int(model(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([answer])).logits[0, -1].argmax()))
    return answer[1:]


def logits(artifact, name, source, source_mask, target, threads):
    for file, values in (("ids", source), ("mask", source_mask), ("target", target)):
        np.save(scratch(f"{file}.npy"), np.array(values))
    code, _, errors = tool("llmopt-eval", "logits", artifact, "--ids", scratch("ids.npy"), "--mask", scratch("mask.npy"), "--decoder-ids",
                           scratch("target.npy"), "-o", scratch("out.npy"), "-t", threads)
    return np.load(scratch("out.npy")) if check(f"tiny-t5 {name}: runs", code == 0, errors[:300]) else None


def compare(name, got, wanted):
    if got is not None:
        worst = float(np.abs(got - wanted).max()) if got.shape == wanted.shape else np.nan
        check(f"tiny-t5 {name}", worst <= TOLERANCE, f"shapes {got.shape} {wanted.shape}, largest difference {worst}")


for level in ("-O0", "-O3"):
    artifact = compile_model(folder, f"t5{level}", level)
    for threads in (1, 2) if artifact else ():
        name = f"{level} {threads} threads"
        compare(f"{name} batch with padding", logits(artifact, name, padded, mask, targets, threads), want)
        one = logits(artifact, name, [sources[0]], [[1] * len(sources[0])], [targets[0]], threads)
        compare(f"{name} alone", one, want[:1])
    for case, ids in list(zip(texts, sources))[:4] if artifact else ():
        wanted = greedy(ids)
        for flag, value in (("--ids", " ".join(map(str, ids))), ("--prompt", case["text"])):
            code, text, errors = tool("llmopt-run", artifact, flag, value, "--print-ids", "-n", STEPS, "--ignore-eos", "--temperature", 0)
            got = [int(word) for word in text.split()] if code == 0 else []
            check(f"tiny-t5 {level} greedy {flag} {case['text'][:20]!r}", got == wanted, f"exit {code} {errors[:200]} got {got} want {wanted}")
finish()
