#!/usr/bin/env python3
# llmopt-test: quick
"""stories260K (odd sizes: ffn 172, head size 8): 200 greedy steps from BOS equal the published text byte for byte, at -O0 and -O3, for
every CPU target, with 1 and 2 threads. A target this machine cannot run is compiled and refused at load; its strategies run legalized."""
import json

from harness import CPU_TARGETS, check, compile_model, data, finish, runs_here, tool

folder = data("stories260k")
known = json.load(open(f"{folder}/reference.json"))["known_good_200_steps"]["text"].encode()


def greedy(artifact, name, threads):
    code, text, errors = tool("llmopt-run", artifact, "--ids", "1", "--no-echo", "-n", 200, "--temperature", 0, "--ignore-eos", "-t", threads)
    # run.c counts its step from BOS to the first token among its 200 and prints a newline at the end.
    got = text.strip()
    want = known.strip()
    check(f"stories260k {name}", code == 0 and got[: len(want)] == want and len(got) >= len(want),
          f"exit {code} {errors[:200]!r} got {got[:120]!r}")


for target in CPU_TARGETS:
    for level in ("-O0", "-O3"):
        name = f"{target} {level}"
        artifact = compile_model(folder, f"stories-{target}{level}", level, "--target", target)
        if not artifact:
            continue
        if runs_here(target):
            for threads in (1, 2):
                greedy(artifact, f"{name} {threads} threads", threads)
        else:
            code, _, errors = tool("llmopt-run", artifact, "--ids", "1", "-n", 1)
            check(f"stories260k {name} refused", code == 3 and "needs" in errors, f"exit {code}: {errors}")

# The widest strategies on the code of each narrower target.
for target in ("x86-64", "x86-64-v3"):
    artifact = compile_model(folder, f"stories-legalized-{target}", "-O3", "--target", target, "--strategy-target", "x86-64-v4")
    if artifact and runs_here(target):
        greedy(artifact, f"v4 strategies on {target}", 2)

# One file for several targets; LLMOPT_CPU chooses the older code.
artifact = compile_model(folder, "stories-fat", "-O3", *[flag for target in CPU_TARGETS for flag in ("--target", target)])
if artifact:
    greedy(artifact, "all targets in one file", 1)
    code, text, errors = tool("llmopt-run", artifact, "--ids", "1", "--no-echo", "-n", 200, "--temperature", 0, "--ignore-eos", env={"LLMOPT_CPU": "x86-64"})
    check("stories260k fat file, LLMOPT_CPU=x86-64", code == 0 and text.strip().startswith(known.strip()), errors[:200])
finish()
