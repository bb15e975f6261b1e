#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy
"""Models compiled for sm_90 as host images run through the real runtime on the stand-in driver: stories260K's published text byte for byte,
CAPP-GPT's recorded data sets and greedy answers. Without a C++ compiler for the images this is skipped."""
import json
import re

import numpy as np

from harness import check, compile_model, data, finish, no_compiler, os, say, scratch, stand_in, sys, tool

if not os.path.exists(stand_in["LLMOPT_LIBCUDA"]):
    say("SKIP", "cuda_emulated", "the stand-in driver is not built")
    sys.exit(0)
stories, capp = data("stories260k"), data("capp-gpt")
emulate = ("--target", "sm_90", "--cuda-compiler=emulate")

code, _, errors = tool("llmopt-compile", stories, "-o", scratch("probe.llmopt"), "-q", *emulate)
if no_compiler(code, errors):
    say("SKIP", "cuda_emulated", errors.strip())
    sys.exit(0)

known = json.load(open(f"{stories}/reference.json"))["known_good_200_steps"]["text"].encode().strip()


def greedy(artifact, name, *flags, env=stand_in, steps=8):
    code, text, errors = tool("llmopt-run", artifact, "--ids", "1", "--no-echo", "-n", steps, "--temperature", 0, "--ignore-eos", *flags, env=env)
    text = text.strip()
    good = text.startswith(known) if steps == 200 else len(text) > steps and known.startswith(text)
    check(f"stories260k {name}", code == 0 and good, f"exit {code} {errors[:300]!r} got {text[:120]!r}")


for level in ("-O0", "-O3"):
    artifact = compile_model(stories, f"stories-sm90{level}", level, *emulate)
    if artifact and level == "-O0":
        greedy(artifact, f"sm_90 {level}")
    elif artifact:
        greedy(artifact, f"sm_90 {level}", steps=200)
        greedy(artifact, "sm_90 without graphs", env={**stand_in, "LLMOPT_CUDA_SYNC": "1"})

# Prompts in bf16 take wgmma and attention by mma.sync; the CPU multiplies the same weights with numbers that are not rounded.
prompt = known.decode()[:300]
texts = []
for name, flags, env in (("sm_90", emulate, stand_in), ("CPU", ("--target", "x86-64"), {})):
    artifact = compile_model(stories, f"stories-bf16-{name}", "--dtype", "bf16", *flags)
    code, text, errors = tool("llmopt-run", artifact, "-p", prompt, "--no-echo", "-n", 16, "--temperature", 0, "--ignore-eos", env=env) if artifact else (1, b"", "")
    texts.append(text)
    check(f"stories260k bf16, a prompt of {len(prompt)} letters, {name}", code == 0 and len(text.strip()) > 8, f"exit {code} {errors[:300]!r}")
check("stories260k bf16: the same text as on the CPU", texts[0] == texts[1], str(texts))

# An encoder keeps states of one group alone, its decoder of both.
np.save(scratch("ids.npy"), np.array([[5, 9, 700, 1], [12, 3, 44, 1]]))
np.save(scratch("targets.npy"), np.array([[0, 628, 17, 300, 5], [0, 2, 9, 77, 41]]))
logits = []
for name, flags, env in (("sm_90", emulate, stand_in), ("CPU", ("--target", "x86-64"), {})):
    artifact = compile_model(data("tiny-t5"), f"t5-{name}", *flags)
    code, _, errors = tool("llmopt-eval", "logits", artifact, "--ids", scratch("ids.npy"), "--decoder-ids", scratch("targets.npy"), "-o", scratch("logits.npy"),
                           env=env) if artifact else (1, b"", "not compiled")
    if check(f"tiny-t5, {name}", code == 0, f"exit {code} {errors[:300]!r}"):
        logits.append(np.load(scratch("logits.npy")))
worst = float(np.abs(logits[0] - logits[1]).max()) if len(logits) == 2 else float("nan")
check("tiny-t5: the same logits as on the CPU", worst < 1e-4, f"off by {worst}")

# One file for both devices over one copy of the weights.
fat = compile_model(stories, "stories-both", "-O3", "--target", "x86-64", *emulate)
if fat:
    alone = compile_model(stories, "stories-cpu", "-O3", "--target", "x86-64")
    greedy(fat, "CPU and sm_90 in one file, on the GPU", "--device", "cuda")
    greedy(fat, "CPU and sm_90 in one file, on the CPU", "--device", "cpu")
    greedy(fat, "CPU and sm_90 in one file, without a driver", env={"LLMOPT_LIBCUDA": "/nonexistent"})
    sizes = []
    for path in (fat, alone):
        code, text, _ = tool("llmopt-inspect", path, "--json")
        sizes.append(next(s["bytes"] for s in json.loads(text)["sections"] if s["name"] == "weights"))
    check("one copy of the weights", sizes[0] == sizes[1], f"weights of {sizes[0]} and {sizes[1]} bytes")

# What cannot run says why.
artifact = scratch("stories-sm90-O3.llmopt")
for name, env, needed in (("no driver", {"LLMOPT_LIBCUDA": "/nonexistent"}, "there is no NVIDIA driver"),
                          ("another GPU", {**stand_in, "LLMOPT_STANDIN_CAPABILITY": "80"}, "compute capability 9.0")):
    code, _, errors = tool("llmopt-run", artifact, "--ids", "1", "-n", 1, env=env)
    check(f"refused: {name}", code == 3 and needed in errors, f"exit {code}: {errors}")

artifact = compile_model(f"{capp}/model.onnx", "capp-sm90", "-O3", *emulate)
if artifact:
    for i in range(5):
        code, _, errors = tool("llmopt-run", artifact, "--test-data", f"{capp}/test_data_set_{i}", "--atol", 1e-4, "--rtol", 0, env=stand_in)
        check(f"capp-gpt sm_90 test_data_set_{i}", code == 0, errors[:300])
    lines = [line for line in open(f"{capp}/greedy_all_prompts.tsv") if not line.startswith("#")][:200]
    open(scratch("cases.tsv"), "w").writelines(lines)
    code, text, errors = tool("llmopt-eval", "generate", artifact, "--cases", scratch("cases.tsv"), "--batch", 50, env=stand_in)
    counts = re.search(r"(\d+) of (\d+)", text.decode())
    check("capp-gpt sm_90 greedy answers", code == 0 and counts and counts.group(1) == counts.group(2) == "200",
          f"exit {code}: {text.decode()[-200:]} {errors[-200:]}")

# The same bytes twice, and with one job.
first = open(scratch("stories-sm90-O3.llmopt"), "rb").read()
for jobs in ("1", "2"):
    again = compile_model(stories, f"again-{jobs}", "-O3", *emulate, "--jobs", jobs)
    check(f"same bytes with {jobs} jobs", again and open(again, "rb").read() == first)
finish()
