#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx
"""An artifact for sm_90 holds PTX for later GPUs too: every unit of it is assembled by ptxas for each GPU from sm_80 on, and on the stand-in driver a GPU of compute capability 10.0
takes that code where one of 9.0 takes its own. Compilers that are not installed are skipped with the reason."""
import json
import shutil
import subprocess

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from harness import BUILD, check, finish, no_compiler, os, say, scratch, tool

fresh = {"LLMOPT_CACHE_DIR": "off"}
stand_in = {**fresh, "LLMOPT_LIBCUDA": os.path.join(BUILD, "test", "lib", "libllmopt_standin.so")}
os.environ["PATH"] += os.pathsep + "/usr/local/cuda/bin"
ptxas = os.environ.get("LLMOPT_PTXAS") or shutil.which("ptxas")

random = np.random.default_rng(3)
weight = random.integers(-4, 5, (72, 40)).astype(np.float32)  # products of small whole numbers are exact in bf16
graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Relu", ["p"], ["y"])], "linear",
                          [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 72])], [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 40])],
                          [numpy_helper.from_array(weight, "w")])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), scratch("linear.onnx"))


def compile_for(name, *flags):
    output = scratch(name + ".llmopt")
    code, _, errors = tool("llmopt-compile", scratch("linear.onnx"), "-o", output, "-q", "--dtype", "bf16", "--target", "sm_90", *flags, env=fresh)
    if no_compiler(code, errors):
        say("SKIP", name, errors.strip().splitlines()[0])
        return None
    return output if check(f"compile {name}", code == 0, f"exit {code}: {errors[:500]}") else None


def sections(artifact):
    _, text, _ = tool("llmopt-inspect", artifact, "--json")
    return {s["name"]: s for s in json.loads(text)["sections"]}


def read(artifact, section):
    with open(artifact, "rb") as file:
        file.seek(section["offset"])
        return file.read(section["bytes"])


for compiler in ("nvrtc", "clang"):
    artifact = compile_for(compiler, "--cuda-compiler", compiler)
    if not artifact:
        continue
    parts = sections(artifact)
    if not check(f"{compiler}: code for sm_90 and PTX", "code/sm_90" in parts and "code/compute_80" in parts, str(list(parts))):
        continue
    _, text, _ = tool("llmopt-inspect", artifact)
    check(f"{compiler}: llmopt-inspect names both", b"sm_90" in text and b"compute_80" in text, text.decode()[:300])
    images = {}
    for target in ("sm_90", "compute_80"):
        code = read(artifact, parts["code/" + target])
        images[target] = [(m["form"], code[m["offset"]:m["offset"] + m["length"]]) for m in json.loads(read(artifact, parts["kernels/" + target]))["modules"]]
    forms = {target: {form for form, _ in made} for target, made in images.items()}
    check(f"{compiler}: PTX for later GPUs", forms["compute_80"] == {"ptx"} and all(b".target sm_80" in image for _, image in images["compute_80"]), str(forms))
    for architecture in ("sm_80", "sm_89", "sm_90", "sm_100", "sm_120") if ptxas else ():
        wrong = ""
        for i, (_, image) in enumerate(images["compute_80"]):
            with open(scratch("unit.ptx"), "wb") as out:
                out.write(image.rstrip(b"\0"))
            done = subprocess.run([ptxas, "-arch=" + architecture, "-v", scratch("unit.ptx"), "-o", scratch("unit.cubin")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode:
                wrong += f"unit {i}: {done.stdout[:300]} "
        check(f"{compiler}: ptxas assembles the PTX for {architecture}", not wrong, wrong)
alone = compile_for("no-ptx", "--no-portable-ptx", "--cuda-compiler=nvrtc")
if alone:
    check("--no-portable-ptx leaves it out", "code/compute_80" not in sections(alone), str(list(sections(alone))))

x = random.integers(-4, 5, (70, 72)).astype(np.float32)
for name, value in (("input_0", x), ("output_0", np.maximum(x @ weight, 0))):
    os.makedirs(scratch("data"), exist_ok=True)
    with open(os.path.join(scratch("data"), name + ".pb"), "wb") as file:
        file.write(numpy_helper.from_array(value, "x" if name == "input_0" else "y").SerializeToString())
both, own = compile_for("emulated both", "--target", "compute_80", "--cuda-compiler=emulate"), compile_for("emulated", "--cuda-compiler=emulate")
for capability, artifact, needed in (("90", both, ""), ("100", both, ""), ("90", own, ""), ("100", own, "compute capability 9.0"), ("75", both, "compute capability 8.0 or later")):
    if not artifact:
        continue
    code, _, errors = tool("llmopt-run", artifact, "--test-data", scratch("data"), "--atol", 0, "--rtol", 0, env={**stand_in, "LLMOPT_STANDIN_CAPABILITY": capability})
    check(f"compute capability {capability}, {'both' if artifact == both else 'sm_90 alone'}", code == 3 and needed in errors if needed else code == 0, f"exit {code}: {errors[:300]}")
finish()
