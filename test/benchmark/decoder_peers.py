#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Prefill and decoding of a model against llama.cpp, in interleaved rounds: in each round every program runs every test once, one
program after the other, with the same weights, tokens and number of threads; before that their logits are checked against each other.

    decoder_peers.py FOLDER --llama SOURCE --llama-build FOLDER --scratch FOLDER [--formats bf16] [--peer-formats bf16 f16] [--threads 1 2]
                     [--tests prefill:128 prefill:512 decode:0 decode:128 decode:2048] [--rounds 7] [--wait FILE] [--only REGEX]
                     [--avx2] [--json FILE] [--markdown FILE] [--svg FILE]

--only measures the programs whose name matches. With --json of a file that is there already, its rows for other tests stay, and rounds are added to those of the
same test and programs: tests and rounds may be measured one by one.

Formats of llama.cpp are also q8_0 and q4_0, beside which int8 and int4 of ours belong: blocks of 32 as theirs, and with "products in int8" activations in 8 bits as theirs; where there
are tile registers (Intel AMX), also with "products in bf16".

With --avx2 llmopt runs the AVX2 code of artifacts that have both (LLMOPT_CPU); --llama-build is then a build of llama.cpp that has nothing more, which takes
-DGGML_NATIVE=OFF -DGGML_SSE42=ON -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON.

FOLDER has a config.json of type llama, qwen3 or gpt2; without weights they are drawn at random (seed 1). A test is prefill:TOKENS or decode:TOKENS-IN-THE-CACHE, with @THREADS for that
number of threads only.
Every program is a process of its own that is stopped (SIGSTOP) while it is not its turn. With --wait, something is measured only while that file is
there: prepare on a busy machine, measure while it is quiet. Needs numpy, torch, transformers and gguf from PyPI; llama.cpp comes with the
source package of llama-cpp-python:

    pip download --no-binary :all: --no-deps llama-cpp-python && tar xf llama_cpp_python-*.tar.gz
    cmake -S llama_cpp_python-*/vendor/llama.cpp -B llama -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DGGML_OPENMP=OFF
    ninja -C llama llama-bench

A share of the limit is the time that a program's bytes (weights with their scales; keys and values, f32 in "llmopt bf16" and f16 in all others) take at the rate of
reading memory in the same round (the best of one, two and four streams, prefetched or not), or that its arithmetic takes at the peak of f32 (of bf16 or bytes where it
multiplies those), over the time it took.
"""
import argparse
import itertools
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time

import numpy as np
from transformers import AutoConfig

import contest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
GENERATE = 8  # tokens of one measurement of decoding
# Of the largest logit, by bits of weights: 16-bit activations against f32 ones; activations in 8 bits; and codes that differ where a quotient is near a half, since llama.cpp divides by
# scales before they are rounded. Drawn weights make more of such differences than trained ones.
TOLERANCE = {16: 5e-2, 8.5: 1e-1, 4.5: 2.5e-1}


def run(*command):
    return subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, check=True, text=True).stdout


def build_llama(args):
    program = os.path.join(args.scratch, f"decoder-llama{args.suffix}")
    if not os.path.exists(program):
        libraries = [os.path.join(args.llama_build, name) for name in
                     ("src/libllama.a", "ggml/src/libggml.a", "ggml/src/libggml-cpu.a", "ggml/src/libggml-base.a")]
        run("c++", "-std=c++20", "-O2", f"-I{args.llama}/include", f"-I{args.llama}/ggml/include", os.path.join(os.path.dirname(os.path.abspath(__file__)), "decoderLlama.cpp"),
            "-o", program, *libraries, "-ldl", "-lpthread", "-lm")
    return program


def prepare(args):
    """{name: command without the number of threads}"""
    os.makedirs(args.scratch, exist_ok=True)
    weights = args.folder
    if not os.path.exists(os.path.join(weights, "model.safetensors")):
        weights = os.path.join(args.scratch, "weights")
        if not os.path.exists(os.path.join(weights, "model.safetensors")):
            from random_weights import make

            make(args.folder, 1, weights)
    llama, own = build_llama(args), f"{args.build}/bin/bench-decoder"
    targets = ["--target", "x86-64-v3", "--target", "x86-64-v4"] if args.avx2 else []
    commands = {}
    for element in args.peer_formats:
        path = os.path.join(args.scratch, f"{element}.gguf")
        if not os.path.exists(path):
            from llama_cpp_weights import write_gguf

            write_gguf(weights, path, element)
        commands[f"llama.cpp {element}"] = [llama, path]
    for element in args.formats:
        variants = {f"llmopt {element}": (f"{element}.llmopt", [] if element == "bf16" else ["--kv-cache", "f16"])}
        if element in ("int8", "int4"):
            variants[f"llmopt {element}, products in int8"] = (f"{element}-products.llmopt", ["--kv-cache", "f16", "--products", "int8"])
            if not args.avx2 and "amx_bf16" in open("/proc/cpuinfo").read():
                variants[f"llmopt {element}, products in bf16"] = (f"{element}-bf16-products.llmopt", ["--products", "bf16"])
        if element == "bf16" and not args.avx2 and "avx512_bf16" in open("/proc/cpuinfo").read():
            variants["llmopt bf16, products in bf16"] = ("bf16-products.llmopt", ["--products", "bf16"])
        for name, (file, flags) in variants.items():
            path = os.path.join(args.scratch, file.replace(".llmopt", f"{args.suffix}.llmopt"))
            if not os.path.exists(path):
                run(f"{args.build}/bin/llmopt-compile", weights, "-O3", "-q", "--dtype", element, "-o", path, *flags, *targets)
            commands[name] = [own, path]
    return commands


class Program:
    """Runs while it is asked something, and is stopped otherwise."""

    def __init__(self, name, command, threads):
        self.name, self.threads = name, threads
        processors = sorted(os.sched_getaffinity(0))[:threads]
        self.process = subprocess.Popen([*command, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        preexec_fn=lambda: os.sched_setaffinity(0, processors))

    def ask(self, command):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.name}: ended at '{command}'")
        self.process.send_signal(signal.SIGSTOP)
        return answer

    def seconds(self, test):
        kind, count = test
        return float(self.ask(f"time 0 {count} {count}" if kind == "prefill" else f"time {count} {GENERATE} 1"))


def weight_bits(name):
    """Bits of a weight, scales included."""
    return 8.5 if "int8" in name.split(",")[0] or "q8_0" in name else 4.5 if "int4" in name or "q4_0" in name else 16


def check_logits(programs):
    """Differences to the logits of the first program with as many bits, of the largest; stops at one that is too far."""
    logits = {name: np.array(program.ask("logits 48").split(), np.float64) for name, program in programs.items()}
    differences = {}
    for bits in dict.fromkeys(map(weight_bits, logits)):
        differences |= differences_of({name: got for name, got in logits.items() if weight_bits(name) == bits}, TOLERANCE[bits])
    return differences


def differences_of(logits, tolerance):
    want = next(iter(logits.values()))
    differences = {name: float(np.abs(got - want).max() / np.abs(want).max()) for name, got in logits.items()}
    for name, difference in differences.items():
        if not difference <= tolerance:
            raise SystemExit(f"{name}: logits differ by {difference:.2e} of the largest")
    return differences


def reading(args, threads):
    return Program("reading", [f"{args.build}/bin/bench-decoder", "--reading"], threads)


def limits_now(args):
    path = os.path.join(args.scratch, "machine.json")
    return json.loads(run(f"{args.build}/bin/llmopt-bench", "machine", "-o", "json", "-f", path))


def best(rows, key, **wanted):
    return max((row[key] for row in rows if all(row[name] == value for name, value in wanted.items())), default=None)


def products_of(name, avx2):
    """What a program multiplies."""
    bits = weight_bits(name)
    if name.startswith("llama"):
        return "i8" if bits < 16 else "bf16" if "bf16" in name and not avx2 else "f32"
    return "i8" if name.endswith("products in int8") else "bf16" if name.endswith("products in bf16") else "f32"


def floor_seconds(config, limits, test, threads, name, gigabyte, avx2):
    """What the test takes at the machine's limits. `gigabyte`: seconds for reading one."""
    kind, count = test
    gpt2 = config.model_type == "gpt2"
    width, layers, heads = config.hidden_size, config.num_hidden_layers, config.num_attention_heads
    kv_heads, size = (heads, width // heads) if gpt2 else (config.num_key_value_heads, config.head_dim)
    feed_forward = 2 * width * (config.n_inner or 4 * width) if gpt2 else 3 * width * config.intermediate_size
    matrices = layers * (2 * width * heads * size + 2 * width * kv_heads * size + feed_forward)
    head = width * config.vocab_size
    if kind == "prefill":  # logits of the last token only
        peak = best(limits["arithmetic"], "operations_per_second", threads=threads, format=products_of(name, avx2))
        attention = 2 * layers * heads * size * count * (count + 1)
        f32 = best(limits["arithmetic"], "operations_per_second", threads=threads, format="f32")
        return peak and 2 * (count * matrices + head) / peak + attention / f32
    cached = 2 * layers * kv_heads * size * (4 if name == "llmopt bf16" else 2) * (count + (GENERATE + 1) / 2)
    return GENERATE * (weight_bits(name) / 8 * (matrices + head) + cached) * gigabyte * 1e-9


def add_earlier(before, samples, gigabytes):
    """Puts the earlier rounds of the tests that were measured again, with the same programs, in front."""
    for threads, test in gigabytes:
        rows = {row["name"]: row for row in before["rows"] if row["test"] == ":".join(map(str, test)) and row["threads"] == threads}
        if set(rows) == {name for name, *key in samples if key == [threads, test]}:
            for name, row in rows.items():
                samples[name, threads, test] = row["seconds"] + samples[name, threads, test]
            gigabytes[threads, test] = row["seconds_per_gigabyte"] + gigabytes[threads, test]


def summarize(args, config, samples, gigabytes, limits, differences):
    rows = []
    for threads in args.threads:
        for test in args.tests:
            names = [name for name, *key in samples if key == [threads, test]]
            if not names:
                continue
            medians = {name: statistics.median(samples[name, threads, test]) for name in names}
            peer = min((name for name in names if name.startswith("llama")), key=medians.get)
            tokens = test[1] if test[0] == "prefill" else GENERATE
            for name in names:
                floors = [floor_seconds(config, limits, test, threads, name, gigabyte, args.avx2) for gigabyte in gigabytes[threads, test]]
                share = None not in floors and statistics.median(floor / taken for floor, taken in zip(floors, samples[name, threads, test]))
                rows.append(dict(test=":".join(map(str, test)), threads=threads, name=name, tokens_per_second=tokens / medians[name],
                                 of_best_peer=medians[peer] / medians[name], of_limit=share or None, seconds=samples[name, threads, test], seconds_per_gigabyte=gigabytes[threads, test]))
    return dict(machine=contest.machine(), date=time.strftime("%Y-%m-%d"), rounds=max((len(row["seconds"]) for row in rows), default=0), limits=limits, differences=differences, rows=rows)


def title_of(row):
    kind, count = row["test"].split(":")
    text = f"prefill of {count} tokens" if kind == "prefill" else f"decode, {count} tokens in the cache"
    return f"{text}, {row['threads']} thread{'s' * (row['threads'] > 1)}"


def groups(report):
    titles = list(dict.fromkeys(title_of(row) for row in report["rows"]))
    return [(title, [row for row in report["rows"] if title_of(row) == title]) for title in titles]


def markdown(report):
    lines = []
    for title, rows in groups(report):
        lines += [f"| {title} | tokens/s, median | of llama.cpp's best | of the limit |", "|---|---|---|---|"]
        for row in rows:
            share = f"{row['of_limit']:.0%}" if row["of_limit"] else "-"
            lines.append(f"| {row['name']} | {row['tokens_per_second']:.1f} | {row['of_best_peer']:.2f} | {share} |")
        lines.append("")
    return "\n".join(lines)


def svg(report):
    """A bar for each program and test: speed, the best peer's = 1."""
    names = list(dict.fromkeys(row["name"] for row in report["rows"]))
    colors = {name: color for name, color in zip(names, itertools.cycle(["#b0b7bf", "#1b6ca8", "#4f9bd1", "#8d99a6", "#d9a441", "#b5651d"]))}
    line, parts, y = 15, [], 20 + 16 * len(names)
    scale = 420 / max(row["of_best_peer"] for row in report["rows"])
    for i, name in enumerate(names):
        parts.append(f'<rect x="10" y="{8 + 16 * i}" width="10" height="10" fill="{colors[name]}"/><text x="26" y="{17 + 16 * i}">{name}</text>')
    for title, rows in groups(report):
        y += line
        parts.append(f'<text x="10" y="{y + 11}">{title}</text>')
        for row in rows:
            width = row["of_best_peer"] * scale
            parts.append(f'<rect x="270" y="{y}" width="{width:.1f}" height="{line - 3}" fill="{colors[row["name"]]}"/>')
            parts.append(f'<text x="{276 + width:.1f}" y="{y + 10}">{row["tokens_per_second"]:.1f} tokens/s</text>')
            y += line
    peer = 270 + scale
    parts.append(f'<line x1="{peer:.1f}" y1="{30 + 16 * len(names)}" x2="{peer:.1f}" y2="{y}" stroke="#333" stroke-dasharray="3,3"/>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="820" height="{y + 10}" font-family="sans-serif" font-size="11">'
    return "\n".join([head, *parts, "</svg>"]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--llama", required=True, help="source of llama.cpp")
    parser.add_argument("--llama-build", required=True)
    parser.add_argument("--scratch", required=True)
    parser.add_argument("--build", default=os.environ.get("LLMOPT_BUILD", f"{ROOT}/build"))
    for flag, more in (("--formats", ["int8", "int4"]), ("--peer-formats", ["q8_0", "q4_0"])):
        parser.add_argument(flag, nargs="+", default=["bf16", "f16"], choices=["bf16", "f16", *more])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--tests", nargs="+", default=["prefill:128", "prefill:512", "decode:0", "decode:128", "decode:2048"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="")
    parser.add_argument("--avx2", action="store_true", help="keep llmopt from AVX-512")
    for flag in ("wait", "json", "markdown", "svg"):
        parser.add_argument(f"--{flag}")
    args = parser.parse_args()
    args.suffix = "-avx2" if args.avx2 else ""
    if args.avx2:
        os.environ["LLMOPT_CPU"] = "x86-64-v3"
    parsed = [(kind, *(int(part) for part in count.split("@"))) for kind, count in (test.split(":") for test in args.tests)]
    args.tests = [test[:2] for test in parsed]
    wanted = lambda threads: [test[:2] for test in parsed if test[2:] in ((), (threads,))]
    config = AutoConfig.from_pretrained(args.folder)
    programs = {(name, threads): Program(name, command, threads) for name, command in prepare(args).items() for threads in args.threads if re.search(args.only, name)}
    programs |= {("reading", threads): reading(args, threads) for threads in args.threads}
    samples, gigabytes, limits = {}, {}, None

    def wait():
        while args.wait and not os.path.exists(args.wait):
            time.sleep(0.1)

    try:
        differences = check_logits({name: program for (name, threads), program in programs.items() if threads == args.threads[-1] and name != "reading"})
        for program in programs.values():  # fills the caches
            for test in wanted(program.threads):
                program.seconds(test)
        print("ready", file=sys.stderr, flush=True)
        wait()
        if any(kind == "prefill" for kind, _ in args.tests):
            limits = limits_now(args)
        for number in range(args.rounds):
            for threads in args.threads:
                for test in wanted(threads):
                    wait()
                    for (name, count), program in programs.items():
                        if count == threads:
                            (gigabytes.setdefault((threads, test), []) if name == "reading" else samples.setdefault((name, threads, test), [])).append(program.seconds(test))
            print(f"round {number + 1} of {args.rounds}", file=sys.stderr, flush=True)
    finally:
        for program in programs.values():
            program.process.kill()
    before = json.load(open(args.json)) if args.json and os.path.exists(args.json) else None
    if before:
        limits = limits or before["limits"]
        add_earlier(before, samples, gigabytes)
    report = summarize(args, config, samples, gigabytes, limits, differences)
    if before:
        measured = {(row["test"], row["threads"]) for row in report["rows"]}
        report["differences"] = before["differences"] | report["differences"]
        report["rows"] = [row for row in before["rows"] if (row["test"], row["threads"]) not in measured] + report["rows"]
        report["rows"].sort(key=lambda row: (row["threads"], row["test"].split(":")[0], int(row["test"].split(":")[1])))
    print(markdown(report))
    for path, text in ((args.json, json.dumps(report, indent=1)), (args.markdown, markdown(report)), (args.svg, svg(report))):
        if path:
            with open(path, "w") as file:
                file.write(text)


if __name__ == "__main__":
    main()
