#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy
"""Kernels in and out, in Triton's shape: ours exported and launched by a program that knows Triton's launch metadata alone; kernels made elsewhere
as implementations of operations (by Triton where it is installed); stages dumped, changed by hand and fed back; another ptxas."""
import ctypes
import glob
import json
import os
import shutil
import subprocess
import sys

import numpy as np

from harness import BUILD, ROOT, check, finish, no_compiler, say, scratch, tool

sys.path.insert(0, os.path.join(ROOT, "tools", "checks"))
import triton_launcher  # noqa: E402

STAND_IN = os.path.join(BUILD, "test", "lib", "libllmopt_standin.so")
ROWS, COLUMNS = 5, 40
FRESH = {"LLMOPT_CACHE_DIR": "off"}
MODEL = f"""module {{
  func.func @main(%x: tensor<?x{COLUMNS}xf32> {{llm.name = "x", llm.dims = ["tokens", {COLUMNS}]}}, %w: tensor<{COLUMNS}xf32> {{llm.name = "w"}})
      -> (tensor<?x{COLUMNS}xf32> {{llm.name = "y"}}) {{
    %s = llm.silu %x : tensor<?x{COLUMNS}xf32>
    %y = llm.rms_norm %s scale %w : tensor<{COLUMNS}xf32> {{epsilon = 1.0e-5 : f32}} : tensor<?x{COLUMNS}xf32> -> tensor<?x{COLUMNS}xf32>
    return %y : tensor<?x{COLUMNS}xf32>
  }}
}}
"""
NORM = {"op": "llm.rms_norm", "types": ["f32", "f32", "f32"], "sizes": {"columns": {"most": 64}}, "grid": {"units": "rows"}}
with open(scratch("model.mlir"), "w") as file:
    file.write(MODEL)
x = np.random.default_rng(1).standard_normal((ROWS, COLUMNS)).astype(np.float32)
w = np.random.default_rng(2).standard_normal(COLUMNS).astype(np.float32)


def norm(values):
    wide = values.astype(np.float64)
    return wide / np.sqrt((wide * wide).mean(-1, keepdims=True) + 1e-5) * w


def compile_it(name, *flags, env=FRESH):
    output = scratch(name + ".llmopt")
    code, text, errors = tool("llmopt-compile", scratch("model.mlir"), "-o", output, "--target", "sm_90", *flags, env=env)
    return code, text.decode(), errors, output


def installed(compiler):
    code, _, errors, _ = compile_it("probe", "--cuda-compiler", compiler)
    if no_compiler(code, errors):
        say("SKIP", f"cuda_tooling with {compiler}", errors.splitlines()[0])
        return False
    return check(f"{compiler} compiles", code == 0, errors[:500])


def library(name, kernels):
    folder = scratch(name)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "kernels.json"), "w") as file:
        json.dump({"kernels": kernels}, file)
    return folder


def run_model(artifact):
    """The model under the stand-in driver against double precision."""
    np.save(scratch("x.npy"), x)
    np.save(scratch("w.npy"), w)
    folder = scratch("out")
    os.makedirs(folder, exist_ok=True)
    code, _, errors = tool("llmopt-run", artifact, "--device", "cuda", "--input", f"x=@{scratch('x.npy')}", "--input", f"w=@{scratch('w.npy')}",
                           "--output-dir", folder, env={"LLMOPT_LIBCUDA": STAND_IN})
    if code:
        return f"exit {code}: {errors[:400]}"
    got = np.load(os.path.join(folder, "y.npy"))
    wanted = norm(x.astype(np.float64) / (1 + np.exp(-x.astype(np.float64))))
    return "" if np.isfinite(got).all() and np.abs(got - wanted).max() < 1e-5 else f"off by {np.abs(got - wanted).max()}"


def emulated():
    """Ours out, launched by the metadata; back in as a library; both numerically."""
    code, text, errors, artifact = compile_it("emulated", "--cuda-compiler=emulate")
    check("the model as it is", not run_model(artifact), run_model(artifact))
    # A model that is the norm alone, whose kernel then serves as another's.
    with open(scratch("norm.mlir"), "w") as file:
        file.write(MODEL.replace(f"    %s = llm.silu %x : tensor<?x{COLUMNS}xf32>\n", "").replace("rms_norm %s", "rms_norm %x"))
    code, _, errors = tool("llmopt-compile", scratch("norm.mlir"), "-o", scratch("norm.llmopt"), "--target", "sm_90", "--cuda-compiler=emulate", env=FRESH)
    exported = scratch("exported")
    code, text, errors = tool("llmopt-inspect", scratch("norm.llmopt"), "--export-kernels", exported)
    if not check("kernels are exported", code == 0 and b"1 kernels" in text, errors):
        return
    base = glob.glob(exported + "/*.json")[0][:-5]
    os.environ["LLMOPT_LIBCUDA"] = STAND_IN
    driver = triton_launcher.Driver()
    kernel = triton_launcher.Kernel(driver, base)
    buffers = [driver.upload(a.tobytes()) for a in (x, w, np.full_like(x, np.nan))]
    slots = [buffers[p["index"]] if p["kind"] == "buffer" else ctypes.c_uint64(ROWS) for p in kernel.metadata["llmopt"]["parameters"]]
    kernel.launch((ROWS, 1, 1), slots)
    y = np.frombuffer(driver.download(buffers[2], x.nbytes), np.float32).reshape(x.shape)
    check("our kernel, launched by Triton's metadata", np.isfinite(y).all() and np.abs(y - norm(x)).max() < 1e-5, str(y))

    arguments = [{"operand": p["index"]} if p["kind"] == "buffer" and p["index"] < 2 else {"result": 0} if p["kind"] == "buffer"
                 else {"size": "rows", "type": "i64"} for p in kernel.metadata["llmopt"]["parameters"]]
    folder = library("exported", [dict(NORM, kernel=os.path.basename(base), arguments=arguments, attributes={"epsilon": 1e-5})])
    code, text, errors, artifact = compile_it("with-library", "--cuda-compiler=emulate", "--kernel-library", folder, "--explain=library")
    check("a library kernel is taken and explained", code == 0 and "passed kernel-library" in text and os.path.basename(base) in text, text + errors)
    problem = run_model(artifact)
    check("the model with a library kernel", not problem, problem)
    # Other conditions: not taken, with the reason; the model is ours again.
    folder = library("exported", [dict(NORM, kernel=os.path.basename(base), arguments=arguments, attributes={"epsilon": 1e-3})])
    code, text, errors, artifact = compile_it("other-epsilon", "--cuda-compiler=emulate", "--kernel-library", folder, "--explain=library")
    problem = run_model(artifact)
    check("another epsilon is not taken, with the reason", code == 0 and "missed kernel-library" in text and "epsilon" in text and not problem, text + errors + problem)


def assembled(compiler):
    """Signatures of our cubins, stages dumped and fed back."""
    dump, exported = scratch("dump-" + compiler), scratch("cubins-" + compiler)
    code, _, errors, artifact = compile_it("assembled-" + compiler, "--cuda-compiler", compiler, "--dump-dir", dump)
    units = [path[:-3] for path in glob.glob(dump + "/6-sm_90/*.cu")]
    ok = units and all(os.path.exists(unit + ending) for unit in units for ending in (".ptx", ".cubin", ".log"))
    if not check(f"{compiler}: text, PTX, image and log of each unit are dumped", ok, str(glob.glob(dump + "/*/*"))):
        return
    code, _, errors = tool("llmopt-inspect", artifact, "--export-kernels", exported)
    for path in glob.glob(exported + "/*.json"):
        metadata = json.load(open(path))
        sizes = [size for _, size in triton_launcher.parameters(path[:-5] + ".cubin", metadata["name"])]
        given = [p.get("bytes", 8) for p in metadata["llmopt"]["parameters"]]
        check(f"{compiler}: the cubin's signature is the metadata's", sizes == given and metadata["target"]["arch"] == 90, f"{sizes} {given}")
    # PTX edited by hand: a comment changes nothing, another constant does.
    unit, override = units[0], scratch("override-" + compiler)
    os.makedirs(override, exist_ok=True)
    ptx = open(unit + ".ptx").read()
    with open(os.path.join(override, os.path.basename(unit) + ".ptx"), "w") as file:
        file.write(ptx.replace(".visible .entry", "// by hand\n.visible .entry"))
    code, _, errors, again = compile_it("overridden-" + compiler, "--cuda-compiler", compiler, "--kernel-override", override)
    check(f"{compiler}: edited PTX is fed back", code == 0, errors[:500])
    with open(os.path.join(override, os.path.basename(unit) + ".ptx"), "w") as file:
        file.write(ptx.replace(".param .u64", ".param .u32", 1).replace("ld.param.u64", "ld.param.u32", 1) if ".param .u64" in ptx else "nonsense")
    code, _, errors, again = compile_it("broken-" + compiler, "--cuda-compiler", compiler, "--kernel-override", override)
    check(f"{compiler}: PTX that does not fit is one error", code != 0 and errors.count("error[") == 1, f"exit {code}: {errors[:500]}")
    os.rename(os.path.join(override, os.path.basename(unit) + ".ptx"), os.path.join(override, "nobody.ptx"))
    code, _, errors, again = compile_it("unused-" + compiler, "--cuda-compiler", compiler, "--kernel-override", override)
    check(f"{compiler}: a file that no unit takes is an error", code == 1 and "E0986" in errors and "nobody.ptx" in errors, errors[:500])
    # Another ptxas assembles whatever compiler is asked.
    ptxas = next((p for p in (shutil.which("ptxas"), "/usr/local/cuda/bin/ptxas") if p and os.path.exists(p)), None)
    if not ptxas:
        return say("SKIP", f"{compiler}: LLMOPT_PTXAS", "no ptxas")
    wrapper, calls = scratch("my-ptxas"), scratch("ptxas-calls")
    with open(wrapper, "w") as file:
        file.write(f'#!/bin/sh\necho "$@" >> {calls}\nexec {ptxas} "$@"\n')
    os.chmod(wrapper, 0o755)
    code, _, errors, again = compile_it("wrapped-" + compiler, "--cuda-compiler", compiler, env={**FRESH, "LLMOPT_PTXAS": wrapper})
    check(f"{compiler}: LLMOPT_PTXAS is used", code == 0 and "-arch=sm_90a" in open(calls).read(), errors[:500])


TRITON = """
import json, sys, triton, triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

@triton.jit
def rms(x, w, y, columns, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    inside = at < columns
    v = tl.load(x + row * columns + at, mask=inside, other=0.0)
    s = tl.sum(v * v, axis=0) / columns
    tl.store(y + row * columns + at, v * tl.rsqrt(s + eps) * tl.load(w + at, mask=inside, other=0.0), mask=inside)

signature = {"x": "*fp32", "w": "*fp32", "y": "*fp32", "columns": "i32", "eps": "fp32", "BLOCK": "constexpr"}
triton.compile(ASTSource(fn=rms, signature=signature, constexprs={"BLOCK": 64}), target=GPUTarget("cuda", 90, 32), options={"num_warps": 2})
"""


def by_triton(compiler):
    """A kernel that Triton compiled ahead of time instead of ours, checked by its signature."""
    with open(scratch("make.py"), "w") as file:
        file.write(TRITON)
    done = subprocess.run([sys.executable, scratch("make.py")], capture_output=True, text=True, env=dict(os.environ, TRITON_CACHE_DIR=scratch("triton")))
    cubins = glob.glob(scratch("triton") + "/*/rms.cubin")
    if not cubins:
        return say("SKIP", "a kernel by Triton", done.stderr.strip().splitlines()[-1] if done.stderr else "no cubin")
    arguments = [{"operand": 0}, {"operand": 1}, {"result": 0}, {"size": "columns", "type": "i32"}, {"attribute": "epsilon", "type": "f32"}]
    for form in ("cubin", "ptx"):
        folder = library("triton-" + form, [dict(NORM, kernel="rms", arguments=arguments)])
        shutil.copy(cubins[0][:-5] + form, folder)
        shutil.copy(cubins[0][:-5] + "json", folder)
        env = FRESH
        if form == "ptx":  # Triton's PTX may be newer than the toolkit's ptxas; it brings its own
            import triton
            brought = glob.glob(os.path.join(os.path.dirname(triton.__file__), "backends", "nvidia", "bin", "ptxas*"))
            env = {**FRESH, "LLMOPT_PTXAS": sorted(brought)[-1]} if brought else FRESH
        code, text, errors, artifact = compile_it("triton-" + form, "--cuda-compiler", compiler, "--kernel-library", folder, "--explain=library", env=env)
        check(f"Triton's {form} replaces our norm", code == 0 and "passed kernel-library" in text and "rms" in text, text + errors[:500])
        code, text, errors = tool("llmopt-inspect", artifact, "--export-kernels", scratch("triton-out-" + form))
        written = [json.load(open(path)) for path in glob.glob(scratch("triton-out-" + form) + "/*.json")]
        mine = [m for m in written if m["name"] == "rms"]
        kinds = [p["kind"] for p in mine[0]["llmopt"]["parameters"]] if mine else []
        check(f"Triton's {form}: launched as its metadata says", len(mine) == 1 and mine[0]["num_warps"] == 2 and
              kinds == ["buffer"] * 3 + ["dim", "constant", "constant", "constant"], str(written)[:600])
    kept = glob.glob(scratch("triton-out-cubin") + "/*.cubin")
    check("Triton's cubin lies in the artifact as it was", any(open(path, "rb").read() == open(cubins[0], "rb").read() for path in kept))
    # One argument less, and a cubin cut short: one error that says what is wrong.
    folder = library("triton-cubin", [dict(NORM, kernel="rms", arguments=arguments[:3])])
    code, _, errors, _ = compile_it("mismatch", "--cuda-compiler", compiler, "--kernel-library", folder)
    check("another signature is one clear error", code == 1 and errors.count("error[") == 1 and "E0987" in errors and "(8, 8, 8, 4, 4, 8, 8)" in errors, errors[:500])
    whole = open(cubins[0], "rb").read()
    folder = library("triton-cubin", [dict(NORM, kernel="rms", arguments=arguments)])
    for size in (0, 10, 70, len(whole) // 2):
        with open(os.path.join(folder, "rms.cubin"), "wb") as file:
            file.write(whole[:size])
        code, _, errors, _ = compile_it("cut", "--cuda-compiler", compiler, "--kernel-library", folder)
        check(f"a cubin of {size} bytes is refused", code == 1 and "E0213" in errors, f"exit {code}: {errors[:300]}")


def rooflines():
    """What --report and llmopt-inspect say about GPU kernels. LLVM alone compiles them, so this runs anywhere."""
    code, _, errors, artifact = compile_it("report", "--cuda-compiler=llvm", "--report", scratch("report.json"))
    if not check("llvm compiles", code == 0, errors[:500]):
        return
    report = json.load(open(scratch("report.json")))["gpus"]
    code, text, _ = tool("llmopt-inspect", artifact, "--kernels", "--json")
    check("the report has what llmopt-inspect --kernels shows", code == 0 and json.loads(text) == report, text.decode()[:300])
    rows = report[0]["kernels"] if report else []
    check("occupancy and bounds of each kernel", rows and all(0 < row["occupancy"] <= 1 and row["blocks_per_sm"] >= 1 and
          all(0 <= row[run]["of_bandwidth"] <= 1 and 0 <= row[run]["of_peak"] <= 1 and row[run]["microseconds"] > 0 for run in ("decode", "prefill")) for row in rows), str(rows)[:400])
    moved = sum(row["prefill"]["bytes"] for row in rows)
    check("bytes are those of the tensors", 4 * COLUMNS * 2048 <= moved <= 4 * COLUMNS * 2048 * 8, str(moved))


rooflines()
if installed("emulate") and os.path.exists(STAND_IN):
    emulated()
compilers = [name for name in ("nvrtc", "clang") if installed(name)]
for name in compilers:
    assembled(name)
if compilers:
    by_triton(compilers[0])
for manifest, needed in (({"kernel": "none", **NORM, "arguments": []}, "E0101"), ({**NORM, "kernel": "../rms", "arguments": []}, "E0102")):
    code, _, errors, _ = compile_it("absent", "--kernel-library", library("absent", [manifest]))
    check(f"a manifest that names {manifest['kernel']} is refused", code == 1 and needed in errors, errors[:300])
finish()
