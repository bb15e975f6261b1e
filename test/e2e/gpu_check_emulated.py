#!/usr/bin/env python3
# llmopt-test: quick
"""tools/gpu-check.sh from end to end without a GPU: the folder is prepared for the stand-in driver and checked on it; a wrong answer is found."""
import json
import os
import subprocess

from harness import BUILD, ROOT, check, finish, say, scratch, sys

STAND_IN = os.path.join(BUILD, "test", "lib", "libllmopt_standin.so")
if not os.path.exists(STAND_IN):
    say("SKIP", "gpu_check_emulated", "the stand-in driver is not built")
    sys.exit(0)
environment = dict(os.environ, LLMOPT_LIBCUDA=STAND_IN, LLMOPT_BIN=os.path.join(BUILD, "bin"), LLMOPT_CHECK_TOKENS="8", LLMOPT_CACHE_DIR="off")
folder, report = scratch("gpu"), scratch("gpu.json")
os.makedirs(folder)
model = os.path.join(os.environ.get("LLMOPT_TEST_DATA", ""), "stories260k")


def run(*arguments):
    done = subprocess.run([os.path.join(ROOT, "tools", "gpu-check.sh"), *arguments], capture_output=True, text=True, env=environment)
    return done.returncode, done.stdout + done.stderr


code, text = run("--prepare", "--emulate", folder, *([model] if os.path.exists(model) else []))
if code and "E0982" in text:
    say("SKIP", "gpu_check_emulated", "no C++ compiler for host images")
    sys.exit(0)
if check("the folder is prepared", code == 0, text[-800:]):
    code, text = run(folder, report)
    results = json.load(open(report))["results"] if os.path.exists(report) else []
    passed = [row["check"] for row in results if row["outcome"] == "PASS"]
    check("all of it passes", code == 0 and not any(row["outcome"] == "FAIL" for row in results), text[-1500:])
    for what in ("primitives conversions", "primitives wgmma_bf16", "kernel rms_norm", "kernel linear_bf16"):
        check(f"checked: {what}", what in passed or (what.startswith("primitives") and not os.path.isdir(os.path.join(folder, "conformance"))), text[-1500:])
    if os.path.exists(model):
        check("checked: a whole model against the CPU", any("ids as on the CPU" in what for what in passed), text[-1500:])
    answer = os.path.join(folder, "conformance", "lanes.out")
    if os.path.exists(answer):
        content = bytearray(open(answer, "rb").read())
        content[100] ^= 1
        open(answer, "wb").write(content)
        code, text = run(folder, report)
        check("one wrong bit is a failure", code == 1 and "FAIL primitives lanes" in text, text[-800:])
finish()
