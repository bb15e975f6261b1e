#!/usr/bin/env python3
# llmopt-test: long
# llmopt-packages: tokenizers sentencepiece
# Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares tokenizers with PyPI `tokenizers` and `sentencepiece` on random text of many scripts.

    tokenizer_random.py [--cli TOKENIZER_CLI] [--lines 100000] [--seed 1] [--only NAME] [--data FOLDER]

Small tokenizers are trained here, one for every kind of model, and one for every kind of normalizer, pre-tokenizer,
post-processor and decoder. Each gets its share of the lines; ids with and without special tokens and decoded texts have
to be equal. With --data, the real tokenizers of the test data take part. Exit status 1 if anything differs.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

import tokenizer_zoo
from tokenizers import Tokenizer
from tokenizer_zoo import random_text


def ask(cli, path, requests):
    """The answers of our tokenizer, one for each request."""
    text = "".join(json.dumps(request) + "\n" for request in requests)
    run = subprocess.run([cli, path], input=text.encode(), capture_output=True)
    if run.returncode:
        raise RuntimeError(f"{path}: exit {run.returncode}: {run.stderr.decode()}")
    return [json.loads(line) for line in run.stdout.split(b"\n")[:-1]]


def random_ids(rng, size):
    return [rng.randrange(size) for _ in range(rng.randrange(1, 20))]


class HuggingFace:
    """The library, on a tokenizer.json."""

    def __init__(self, path):
        self.tokenizer = Tokenizer.from_file(path)
        self.size = self.tokenizer.get_vocab_size(True)

    def encode(self, text, special):
        return self.tokenizer.encode(text, add_special_tokens=special).ids

    def decode(self, ids, skip):
        return self.tokenizer.decode(ids, skip_special_tokens=skip)

    def as_good(self, ids, others):
        return False


class SentencePiece:
    """The library, on a .model."""

    def __init__(self, path):
        import sentencepiece
        self.processor = sentencepiece.SentencePieceProcessor(model_file=path)
        self.size = self.processor.get_piece_size()

    def encode(self, text, special):
        return self.processor.encode(text)

    def decode(self, ids, skip):
        return self.processor.decode(ids)

    def as_good(self, ids, others):
        """Whether two ways to write a text score the same; versions of the library differ in which they take."""
        same_text = self.processor.decode(ids) == self.processor.decode(others)
        scores = [sum(map(self.processor.get_score, way)) for way in (ids, others)]
        return same_text and abs(scores[0] - scores[1]) < 1e-4 * len(ids)


def cases(library, rng, lines):
    """Requests and what the library answers to them."""
    requests, expected = [], []
    for number in range(lines):
        text, ids = random_text(rng), []
        for special in (False, True):
            try:
                ids = library.encode(text, special)
            except BaseException:  # a panic of the library, where tokens with rstrip overlap
                break
            requests.append({"text": text, "special": special})
            expected.append(ids)
        for ids in (ids, random_ids(rng, library.size)) if number % 4 == 0 else (ids,):
            skip = rng.random() < 0.5
            if not ids:  # some decoders of the library fail on nothing
                continue
            try:
                text = library.decode(ids, skip)
            except BaseException:  # and some panic on tokens they do not expect
                continue
            requests.append({"decode": ids, "skip": skip})
            expected.append(text)
    return requests, expected


def compare(cli, name, path, library, rng, lines):
    requests, expected = cases(library, rng, lines)
    answers = ask(cli, path, requests)
    streams = [(r, e) for r, e in zip(requests, expected) if "decode" in r]
    streamed = ask(cli, path, [{"stream": r["decode"], "skip": r["skip"]} for r, _ in streams])
    wrong = [(r, e, a) for r, e, a in zip(requests, expected, answers)
             if e != a and not ("text" in r and library.as_good(e, a))]
    for (request, expect), answer in zip(streams, streamed):
        # A damaged run of byte tokens may show characters that were complete before the damage.
        if answer != expect and "\ufffd" not in expect:
            wrong.append(({"stream": request["decode"]}, expect, answer))
    print(f"{'FAIL' if wrong else 'PASS'} {name:40} {lines:6} lines {len(requests) + len(streams):7} checks {len(wrong):4} differ", flush=True)
    for request, expect, answer in wrong[:3]:
        print(f"    {json.dumps(request)[:300]}\n      want {str(expect)[:300]!r}\n      got  {str(answer)[:300]!r}")
    return len(wrong)


def real_tokenizers(data):
    for folder, _, files in sorted(os.walk(data)):
        for name in files:
            path = os.path.join(folder, name)
            if name == "tokenizer.json":
                yield os.path.relpath(folder, data), path, HuggingFace
            elif name in ("tokenizer.model", "spiece.model"):
                yield os.path.relpath(path, data), path, SentencePiece


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cli", default=os.path.join(os.environ.get("LLMOPT_BUILD", "build"), "test", "bin", "tokenizer_cli"))
    parser.add_argument("--lines", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--data", default=os.environ.get("LLMOPT_TEST_DATA"))
    options = parser.parse_args()
    os.environ["RUST_BACKTRACE"] = "0"
    wrong = lines = 0
    with tempfile.TemporaryDirectory() as folder:
        zoo = [(name, path, HuggingFace) for name, path in tokenizer_zoo.save_all(folder, options.only)]
        zoo += [(name, path, SentencePiece) for name, path in tokenizer_zoo.train_pieces(folder, options.only)]
        if options.data:
            zoo += [entry for entry in real_tokenizers(options.data) if options.only in entry[0]]
        share = -(-options.lines // len(zoo))
        for name, path, kind in zoo:
            rng = random.Random(f"{options.seed} {name}")
            wrong += compare(options.cli, name, path, kind(path), rng, share)
            lines += share
    print(f"{lines} lines, {wrong} differences")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
