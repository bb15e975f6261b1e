#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Decoding speed of two small models against peers, in interleaved rounds: stories260k against plain C loops (plainLlama.c, -Ofast
-march=native), capp-gpt as ONNX file against ONNX Runtime.

    small_models.py [--build build] [--data FOLDER] [--rounds 5] [--json FILE] [--markdown FILE]

Needs numpy and onnxruntime. Every program generates the same number of tokens, one after the other; choosing them is measured nowhere.
"""
import argparse
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import contest

STORIES_STEPS = 200
CAPP_DEPTH, CAPP_STEPS, CAPP_LAYERS, CAPP_HEADS, CAPP_SIZE = 7, 100, 4, 4, 16
REPEATS = 5


def output(*command):
    return subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, check=True, text=True).stdout


def safetensors(path):
    """{name: little-endian f32 bytes}"""
    data = open(path, "rb").read()
    length = struct.unpack("<Q", data[:8])[0]
    table = json.loads(data[8 : 8 + length])
    return {name: data[8 + length + row["data_offsets"][0] : 8 + length + row["data_offsets"][1]] for name, row in table.items() if "dtype" in row}


class PlainLoop:
    def __init__(self, compiler, folder, scratch):
        self.program = os.path.join(scratch, "plain-" + os.path.basename(compiler))
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "plainLlama.c")
        output(compiler, "-Ofast", "-march=native", "-w", source, "-o", self.program, "-lm")
        config, tensors = json.load(open(f"{folder}/config.json")), safetensors(f"{folder}/model.safetensors")
        self.weights = os.path.join(scratch, "weights.bin")
        parts = ["input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "post_attention_layernorm",
                 "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
        names = [f"model.layers.{i}.{part}.weight" for i in range(config["num_hidden_layers"]) for part in parts]
        with open(self.weights, "wb") as file:
            for name in ["model.embed_tokens.weight", *names, "model.norm.weight"]:
                file.write(tensors[name])
        keys = ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "max_position_embeddings"]
        self.sizes = [config[key] for key in keys]

    def rates(self):
        lines = output(self.program, self.weights, *self.sizes, STORIES_STEPS, REPEATS).splitlines()
        self.ids = [int(word) for word in lines[0].split()]
        return [STORIES_STEPS * 1e9 / float(line) for line in lines[1:]]


class Artifact:
    def __init__(self, build, source, scratch, name, threads, depth, steps):
        self.bench, self.path = f"{build}/bin/llmopt-bench", os.path.join(scratch, name + ".llmopt")
        self.arguments = ["-p", 0, "-n", steps, "-d", depth, "-t", threads, "-r", REPEATS, "-o", "json"]
        if not os.path.exists(self.path):
            output(f"{build}/bin/llmopt-compile", source, "-O3", "-q", "-o", self.path)

    def rates(self):
        return json.loads(output(self.bench, self.path, *self.arguments))[0]["samples_ts"]


class OnnxRuntime:
    """In a process of its own, so that its waiting threads do not disturb the others."""

    def __init__(self, model, threads):
        self.command = [sys.executable, os.path.abspath(__file__), "--peer", model, "--threads", threads]

    def rates(self):
        return json.loads(output(*self.command))


def onnxruntime_rates(model, threads):
    """Caches stay in the runtime's own memory from step to step."""
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 4
    session = ort.InferenceSession(model, options)
    pasts = [i.name for i in session.get_inputs() if i.name.startswith("past")]
    value = ort.OrtValue.ortvalue_from_numpy

    def step(past, position, count):
        binding = session.io_binding()
        binding.bind_ortvalue_input("input_ids", value(np.array([[(position + i) % 50 for i in range(count)]], np.int64)))
        binding.bind_ortvalue_input("attention_mask", value(np.ones((1, position + count), np.int64)))
        binding.bind_ortvalue_input("position_ids", value(np.arange(position, position + count, dtype=np.int64)[None]))
        for name, cache in zip(pasts, past):
            binding.bind_ortvalue_input(name, cache)
        for result in session.get_outputs():
            binding.bind_output(result.name, "cpu")
        session.run_with_iobinding(binding)
        return binding.get_outputs()[1:]

    rates = []
    for repeat in range(REPEATS + 1):
        past = step([value(np.zeros((1, CAPP_HEADS, 0, CAPP_SIZE), np.float32))] * (2 * CAPP_LAYERS), 0, CAPP_DEPTH)
        begin = time.perf_counter()
        for i in range(CAPP_STEPS):
            past = step(past, CAPP_DEPTH + i, 1)
        if repeat:  # the first warms up
            rates.append(CAPP_STEPS / (time.perf_counter() - begin))
    return rates


def contests(args, scratch):
    """[(title, [(name, runner)])], the peers first."""
    stories, capp = f"{args.data}/stories260k", f"{args.data}/capp-gpt/model.onnx"
    loops = [(f"plain C loops, {os.path.basename(c)}", PlainLoop(c, stories, scratch)) for c in ("gcc", "clang", "clang-22") if shutil.which(c)]
    wanted = json.load(open(f"{stories}/reference.json"))["greedy_ids_from_bos"]
    for name, loop in loops:
        loop.rates()
        assert loop.ids[: len(wanted)] == wanted[: len(loop.ids)], f"{name} is wrong"
    import onnxruntime

    own = lambda *rest: [(f"llmopt, {t} thread{'s' * (t > 1)}", Artifact(args.build, rest[0], scratch, rest[1], t, *rest[2:])) for t in (1, 2)]
    peers = [(f"ONNX Runtime {onnxruntime.__version__}, {t} thread{'s' * (t > 1)}", OnnxRuntime(capp, t)) for t in (1, 2)]
    return [("stories260k, 200 tokens", loops + own(stories, "stories", 0, STORIES_STEPS)),
            ("capp-gpt (ONNX), 100 tokens behind 7", peers + own(capp, "capp", CAPP_DEPTH, CAPP_STEPS))]


def markdown(report):
    lines = []
    for contest in report["contests"]:
        lines += [f"| {contest['title']} | tokens/s, median | best | of the fastest peer (medians) |", "|---|---|---|---|"]
        lines += [f"| {row['name']} | {row['median']:,.0f} | {row['best']:,.0f} | {row['ratio']:.2f} |" for row in contest["rows"]] + [""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
    parser.add_argument("--build", default=os.environ.get("LLMOPT_BUILD", f"{root}/build"))
    parser.add_argument("--data", default=os.environ.get("LLMOPT_TEST_DATA"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json")
    parser.add_argument("--markdown")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        return print(json.dumps(onnxruntime_rates(args.peer, args.threads)))
    if not args.data:
        parser.error("--data or LLMOPT_TEST_DATA must name the folder with stories260k and capp-gpt")
    with tempfile.TemporaryDirectory() as scratch:
        todo = contests(args, scratch)
        samples = {(title, name): [] for title, runners in todo for name, _ in runners}
        for _ in range(args.rounds):
            for title, runners in todo:
                for name, runner in runners:
                    samples[title, name] += runner.rates()
    report = {"machine": contest.machine(), "date": time.strftime("%Y-%m-%d"), "rounds": args.rounds, "contests": []}
    for title, runners in todo:
        peers = [name for name, runner in runners if not isinstance(runner, Artifact)]
        fastest = max(statistics.median(samples[title, name]) for name in peers)
        rows = [{"name": name, "median": statistics.median(s), "best": max(s), "ratio": statistics.median(s) / fastest, "samples": s}
                for name, s in ((name, samples[title, name]) for name, _ in runners)]
        report["contests"].append({"title": title, "rows": rows})
    print(markdown(report))
    if args.json:
        with open(args.json, "w") as file:
            json.dump(report, file, indent=1)
    if args.markdown:
        with open(args.markdown, "w") as file:
            file.write(markdown(report))


if __name__ == "__main__":
    main()
