#!/usr/bin/env python3
"""Compiled models on a machine with an NVIDIA GPU. tools/gpu-check.sh runs this.

    gpu-check.sh FOLDER [REPORT.json]            checks and measures what the folder holds; nothing is installed, built or changed
    gpu-check.sh --prepare FOLDER [MODEL ...]    fills the folder on a machine without a GPU, with this repository's build

FOLDER holds conformance/ (primitives against the emulator's answers), kernels/ (single operations against double precision), speed/, and artifacts with GPU
code and, where results are to be compared, CPU code in the same file; test_data_set_* of an artifact NAME.llmopt lie in NAME.data. --prepare makes
the first two, shapes of 1B and 8B and a layer of a mixture of experts with random weights (the former drawn on the device), and an artifact of each MODEL.
Speed is told as ratios, with the targets beside them: against copying on the same device, cuBLASLt where it is installed, and what torch has for attention.
LLMOPT_LIBCUDA=<stand-in driver> and --prepare --emulate do all of it without a GPU, for tests.
"""
import argparse
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import gpu_conformance
import gpu_kernels
import gpu_speed
from triton_launcher import Driver

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BIN = os.environ.get("LLMOPT_BIN", os.path.join(ROOT, "build", "bin"))
PROMPT, STEPS = os.environ.get("LLMOPT_CHECK_IDS", "1 5 9 11 13"), os.environ.get("LLMOPT_CHECK_TOKENS", "64")
LLAMA = dict(model_type="llama", architectures=["LlamaForCausalLM"], num_attention_heads=32, num_key_value_heads=8, vocab_size=128256, max_position_embeddings=131072,
             rms_norm_eps=1e-5, rope_theta=500000.0, hidden_act="silu", torch_dtype="bfloat16")
MOE = dict(model_type="olmoe", architectures=["OlmoeForCausalLM"], max_position_embeddings=4096, rms_norm_eps=1e-5, rope_theta=10000.0, hidden_act="silu", torch_dtype="bfloat16")
SHAPES = {"shape-1b": dict(LLAMA, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, head_dim=64, tie_word_embeddings=True),
          "shape-8b": dict(LLAMA, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32),
          # Two layers, since the last one's experts see the rows asked for alone; small ones, because stacked experts are not drawn on the device yet but carried: 200 MB.
          "shape-moe": dict(MOE, hidden_size=2048, intermediate_size=512, num_hidden_layers=2, num_attention_heads=16, num_key_value_heads=16, num_experts=16, num_experts_per_tok=4,
                            vocab_size=32000)}
# For the stand-in driver, with code for the CPU to compare with.
SMALL_SHAPES = {"shape-moe": dict(MOE, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, num_experts=6, num_experts_per_tok=2,
                                  vocab_size=64, torch_dtype="float32")}
rows = []


def tool(name, *arguments, timeout=600, env={}):
    try:
        done = subprocess.run([os.path.join(BIN, name), *map(str, arguments)], capture_output=True, timeout=timeout, env={**os.environ, **env})
    except subprocess.TimeoutExpired:
        return 124, "", f"took longer than {timeout} s"
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def say(outcome, what, detail="", **data):
    print(f"{outcome:4} {what}{': ' + detail if detail else ''}", flush=True)
    rows.append(dict(outcome=outcome, check=what, detail=detail, **data))


def program(*names):
    return next((path for path in map(shutil.which, names) if path), None)


def prepare(arguments):
    folder = arguments.folder
    target = ["--target", arguments.target] + (["--cuda-compiler=emulate"] if arguments.emulate else [])
    clang = program("clang++-22", "clang++")
    if clang:
        ptxas = "emulate" if arguments.emulate else os.environ.get("LLMOPT_PTXAS") or program("ptxas") or next(iter(glob.glob("/usr/local/cuda/bin/ptxas")), None)
        os.environ.setdefault("LLMOPT_LIBCUDA", os.path.join(os.path.dirname(BIN), "test", "lib", "libllmopt_standin.so"))
        gpu_conformance.prepare(os.path.join(folder, "conformance"), clang, ptxas)
    else:
        print("no clang++: conformance is left out")
    gpu_kernels.prepare(os.path.join(folder, "kernels"), tool, target)
    if problem := gpu_speed.prepare(os.path.join(folder, "speed"), tool, target, *((256, 384) if arguments.emulate else ())):
        print(problem)
    for name, shape in (SMALL_SHAPES if arguments.emulate else SHAPES).items():
        with tempfile.TemporaryDirectory() as config:
            with open(os.path.join(config, "config.json"), "w") as file:
                json.dump(shape, file)
            compile_into(folder, name, config, [*(["--target", "x86-64-v3"] if arguments.emulate else []), *target, "--weights", "random:1"])
    for model in arguments.models:
        compile_into(folder, os.path.splitext(os.path.basename(model.rstrip("/")))[0], model, ["--target", "x86-64-v3", *target])


def compile_into(folder, name, model, flags):
    code, _, errors = tool("llmopt-compile", model, "-O3", "-o", os.path.join(folder, name + ".llmopt"), *flags)
    if code:
        sys.exit(f"{model}: {errors}")


def conformance(folder):
    if not os.path.isdir(folder):
        return say("SKIP", "primitives", "the folder has no conformance/")
    driver = Driver()
    for name, worst, allowed, problem in gpu_conformance.check(folder, driver):
        say("PASS" if worst <= allowed else "FAIL", f"primitives {name}", problem or f"differs by {worst:.2g}, allowed {allowed:.2g}", worst=str(worst))


def kernels(folder, seed):
    for name, worst, allowed, problem in gpu_kernels.check(folder, tool, seed):
        say("PASS" if worst <= allowed else "FAIL", f"kernel {name}", problem or f"differs by {worst:.2g}, allowed {allowed:.2g}", worst=str(worst))


def ids(artifact, device):
    code, text, errors = tool("llmopt-run", artifact, "--device", device, "--ids", PROMPT, "--no-echo", "--print-ids", "--ignore-eos", "-n", STEPS, "--temperature", 0)
    return (text, "") if code == 0 else (None, errors[:400])


def bound(artifact):
    """Microseconds that nominal speeds allow for a token and for a prefill of 2048, by the artifact's own figures."""
    code, text, _ = tool("llmopt-inspect", artifact, "--kernels", "--json")
    table = json.loads(text)[0] if code == 0 else None
    return {run: sum(k[run]["microseconds"] for k in table["kernels"] if run in k) for run in ("decode", "prefill")} if table else {}


def decoder(name, artifact):
    got, problem = ids(artifact, "cuda")
    if got is None:
        return say("FAIL", f"{name} on the GPU", problem)
    wanted, _ = ids(artifact, "cpu")
    if wanted is None:
        say("SKIP", f"{name}: ids", "no CPU code to compare with")
    else:
        say("PASS" if got == wanted else "FAIL", f"{name}: {STEPS} ids as on the CPU")
    code, text, errors = tool("llmopt-bench", artifact, "-p", 2048, "-n", 64, "-r", 3, "-o", "json") if not os.environ.get("LLMOPT_LIBCUDA") else (1, "", "stand-in driver")
    if code:
        return say("SKIP", f"{name}: speed", errors[:200])
    limits = bound(artifact)
    for test in json.loads(text):
        prompt, generated, speed = test.get("n_prompt", 0), test.get("n_gen", 0), test.get("avg_ts", 0)
        run, count = ("decode", 1) if generated else ("prefill", prompt)
        ratio = limits[run] * 1e-6 * speed / count if limits.get(run) and speed else None
        target = gpu_speed.TARGETS["decode"] if run == "decode" and name == "shape-8b" else None
        say("INFO", f"{name}: {run}", f"{speed:.1f} tokens/s" + (f", {ratio:.2f} of the bound" if ratio else "") + (f", target {target}" if target else ""), speed=speed, ratio=ratio, target=target)
    code, text, errors = tool("llmopt-bench", artifact, "-p", 0, "-n", 64, "-r", 3, "-o", "json", env={"LLMOPT_CUDA_PDL": "0"})
    for test in json.loads(text) if code == 0 else ():
        say("INFO", f"{name}: decode, no kernel launched before the one in front is done", f"{test['avg_ts']:.1f} tokens/s", speed=test["avg_ts"])


def artifacts(folder):
    for artifact in sorted(glob.glob(os.path.join(folder, "*.llmopt"))):
        name = os.path.splitext(os.path.basename(artifact))[0]
        code, text, errors = tool("llmopt-inspect", artifact, "--json")
        if code:
            say("FAIL", name, errors[:400])
            continue
        if json.loads(text)["model"].get("kind") == "decoder":
            decoder(name, artifact)
        for data in sorted(glob.glob(os.path.join(folder, name + ".data", "test_data_set_*"))):
            code, _, errors = tool("llmopt-run", artifact, "--device", "cuda", "--test-data", data, "--atol", 1e-2, "--rtol", 1e-2)
            say("PASS" if code == 0 else "FAIL", f"{name}: {os.path.basename(data)}", errors[:400])


def speed(folder):
    """A table of ratios, with the targets beside them."""
    print(f"{'kernel':72} {'us':>10} {'ratio':>7} {'target':>7}  against; what else is known")
    for row in gpu_speed.speed(folder, Driver(), tool):
        ratio, target, seconds = row.get("ratio"), row.get("target"), row.get("seconds")
        mark = "" if ratio is None or target is None else " reached" if ratio >= target else " missed"
        text = [f"{seconds * 1e6:.1f}" if seconds else "-", f"{ratio:.2f}" if ratio is not None else "-", f"{target:.2f}" if target is not None else "-"]
        print(f"{row['what']:72} {text[0]:>10} {text[1]:>7} {text[2]:>7}{mark}  {row.get('against') or ''}; {row.get('note', '')}", flush=True)
        rows.append(dict(row, outcome="INFO", check="speed: " + row["what"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--emulate", action="store_true")
    parser.add_argument("--target", default="sm_90")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32, help="of the kernels' inputs [new ones each time]")
    parser.add_argument("folder")
    parser.add_argument("models", nargs="*", metavar="REPORT.json or MODEL")
    arguments = parser.parse_args()
    if os.environ.get("LLMOPT_LIBCUDA") and "GLIBC_TUNABLES" not in os.environ:  # host images
        os.execve(sys.executable, [sys.executable, *sys.argv], dict(os.environ, **gpu_conformance.HOST_IMAGES))
    if arguments.prepare:
        return prepare(arguments)
    smi = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"], capture_output=True, text=True) if program("nvidia-smi") else None
    gpu = smi.stdout.strip().splitlines()[0] if smi and smi.returncode == 0 and smi.stdout.strip() else "unknown"
    print(f"GPU {gpu}, seed {arguments.seed}")
    try:
        conformance(os.path.join(arguments.folder, "conformance"))
    except (OSError, RuntimeError) as error:
        say("FAIL", "primitives", f"no driver: {error}")
    kernels(os.path.join(arguments.folder, "kernels"), arguments.seed)
    artifacts(arguments.folder)
    try:
        speed(arguments.folder)
    except (OSError, RuntimeError) as error:
        say("FAIL", "speed", str(error))
    report = arguments.models[0] if arguments.models else "gpu-check.json"
    with open(report, "w") as file:
        json.dump({"gpu": gpu, "seed": arguments.seed, "results": rows}, file, indent=1)
    failed = sum(row["outcome"] == "FAIL" for row in rows)
    print(f"{failed} failed of {len(rows)}; report in {report}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
