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
environment = dict(os.environ, LLMOPT_LIBCUDA=STAND_IN, LLMOPT_BIN=os.path.join(BUILD, "bin"), LLMOPT_CHECK_TOKENS="8", LLMOPT_CACHE_DIR="off",
                   LLMOPT_CHECK_ROWS="1 17", LLMOPT_CHECK_BYTES="65536", LLMOPT_CUBLASLT="/no/such/library.so")
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
    for what in ("primitives conversions", "primitives wgmma_bf16", "kernel rms_norm", "kernel linear_bf16", "kernel codes_i4", "kernel experts_bf16"):
        check(f"checked: {what}", what in passed or (what.startswith("primitives") and not os.path.isdir(os.path.join(folder, "conformance"))), text[-1500:])
    if os.path.exists(model):
        speeds = [row for row in results if row["check"].startswith("speed: ")]
        check("cuBLASLt is said not to have run", any(row["what"] == "cuBLASLt" and row["note"].startswith("not run: ") for row in speeds), text[-1500:])
        for family, count, against in (("Gemv", 1, "copying"), ("GemmMma", 17, "cuBLASLt"), ("Norm", 1, "copying")):
            found = [row for row in speeds if f"({family} " in row["what"] and row["what"].endswith(f" {count} rows") and row["seconds"] > 0 and row["against"] == against]
            check(f"timed: {family}, {count} rows, against {against}", found and all(row["ratio"] is None if against == "cuBLASLt" else row["ratio"] > 0 for row in found), str(speeds)[:1500])
        check("checked: a whole model against the CPU", any("ids as on the CPU" in what for what in passed), text[-1500:])
    answer = os.path.join(folder, "conformance", "lanes.out")
    if os.path.exists(answer):
        content = bytearray(open(answer, "rb").read())
        content[100] ^= 1
        open(answer, "wb").write(content)
        environment["LLMOPT_CHECK_ROWS"] = ""
        code, text = run(folder, report)
        check("one wrong bit is a failure", code == 1 and "FAIL primitives lanes" in text, text[-800:])
finish()
