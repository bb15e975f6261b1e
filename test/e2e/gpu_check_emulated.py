#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx
"""tools/gpu-check.sh from end to end without a GPU: the folder is prepared for the stand-in driver and checked on it, with a stand-in for cuBLASLt; a wrong answer is found. What
is called of cuBLASLt gives products as numpy has them, and what is read of a profile is one token's attention."""
import json
import os
import subprocess

from harness import BUILD, ROOT, check, compile_model, finish, say, scratch, sys, tool

STAND_IN = os.path.join(BUILD, "test", "lib", "libllmopt_standin.so")
if not os.path.exists(STAND_IN):
    say("SKIP", "gpu_check_emulated", "the stand-in driver is not built")
    sys.exit(0)
environment = dict(os.environ, LLMOPT_LIBCUDA=STAND_IN, LLMOPT_BIN=os.path.join(BUILD, "bin"), LLMOPT_CHECK_TOKENS="8", LLMOPT_CACHE_DIR="off",
                   PATH=os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", ""),  # a Python with onnx prepares products with codes too
                   LLMOPT_CHECK_ROWS="1 17", LLMOPT_CHECK_BYTES="65536", LLMOPT_CUBLASLT=STAND_IN.replace("standin.so", "standin_cublaslt.so"))
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
    moe = [row for row in results if row["check"].startswith("speed: shape-moe ") and "(Grouped" in row["what"]]
    for family, count in (("GroupedGemv", 1), ("GroupedMma", 17)):
        check(f"timed: {family} of the mixture, {count} tokens", any(f"({family} " in row["what"] and row["what"].endswith(f" {count} rows") and row.get("ratio") for row in moe), str(moe)[:800])
    check("checked: a mixture of experts against the CPU", any(what.startswith("shape-moe: ") and "ids as on the CPU" in what for what in passed), text[-1500:])
    if os.path.exists(model):
        speeds = [row for row in results if row["check"].startswith("speed: ")]
        check("cuBLASLt is found", not any(row["what"] == "cuBLASLt" for row in speeds), text[-1500:])
        for family, count, against in (("Gemv", 1, "copying"), ("GemmMma", 17, "cuBLASLt"), ("Norm", 1, "copying"), ("GemvQuantized", 1, "cuBLASLt"),
                                       ("GemmQuantized", 17, "cuBLASLt")):
            found = [row for row in speeds if f"({family} " in row["what"] and row["what"].endswith(f" {count} rows") and row["seconds"] > 0 and row["against"].startswith(against)]
            check(f"timed: {family}, {count} rows, against {against}", any(row["ratio"] for row in found) and all(row["ratio"] is None or row["ratio"] > 0 for row in found), str(speeds)[:1500])
        check("checked: a whole model against the CPU", any("ids as on the CPU" in what for what in passed), text[-1500:])
    answer = os.path.join(folder, "conformance", "lanes.out")
    if os.path.exists(answer):
        content = bytearray(open(answer, "rb").read())
        content[100] ^= 1
        open(answer, "wb").write(content)
        environment["LLMOPT_CHECK_ROWS"] = ""
        code, text = run(folder, report)
        check("one wrong bit is a failure", code == 1 and "FAIL primitives lanes" in text, text[-800:])

# In another process: the stand-in's host images want a setting that is read when a program starts.
products = """
import ctypes, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import gpu_speed
from triton_launcher import Driver
driver = Driver()
cublas = gpu_speed.Cublas(driver)
random = np.random.default_rng(2)
half = lambda a: (a.view(np.uint32) >> 16).astype(np.uint16)  # small whole numbers are exact in bf16
for rows, columns, depth in ((1, 8, 8), (3, 24, 40), (17, 40, 72)):
    x, w = (random.integers(-4, 5, shape).astype(np.float32) for shape in ((rows, depth), (columns, depth)))
    places = [driver.upload(half(a).tobytes()) for a in (x, w)] + [driver.upload(bytes(2 * rows * columns))]
    cublas.product(rows, columns, depth)(places[0].value, places[1].value, places[2].value)
    y = (np.frombuffer(driver.download(places[2], 2 * rows * columns), np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(rows, columns)
    assert np.abs(y - x @ w.T).max() <= np.abs(x @ w.T).max() / 256, (rows, columns, depth)
print("equal")
"""
done = subprocess.run([sys.executable, "-c", products, os.path.join(ROOT, "tools", "checks")], capture_output=True, text=True, env=environment)
check("products by the functions of cuBLASLt", done.stdout == "equal\n", done.stderr[-800:])
sys.path.insert(0, os.path.join(ROOT, "tools", "checks"))
import gpu_speed
if os.path.exists(model) and (artifact := compile_model(model, "profiled", "--target", "x86-64-v3")):
    read = {row["what"]: row for row in gpu_speed.attention(artifact, tool, 1e12, prompt=256, past=256)}
    token, prompt = read.get("8B attention of one token behind 256"), read.get("8B attention of 256 tokens")
    check("attention is read from a profile", token and prompt and 0 < token["seconds"] < prompt["seconds"] and token["ratio"] > 0, str(read))
finish()
