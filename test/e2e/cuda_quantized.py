#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx onnxruntime
"""Weights of 4 and 8 bits on CUDA, through the real runtime on the stand-in driver, against ONNX Runtime: MatMulNBits with and without zero points, blocks and whole
columns of DequantizeLinear, f16 models, a gate, and CAPP-GPT with its layers quantized. The artifact holds codes, not numbers. From 17 rows on x is rounded
to 16 bits, and so is ONNX Runtime's. Without a C++ compiler for the images this is skipped."""
import json

import numpy as np
import onnx
from onnx import helper, numpy_helper

from harness import DATA, check, compile_model, finish, no_compiler, os, say, scratch, stand_in, sys, tool
from quantized_graphs import layers, nbits, random, save, witness

emulate = ("--target", "sm_90", "--cuda-compiler=emulate")


def rounded(x, dtype):
    if dtype == "f16":
        return x.astype(np.float16).astype(np.float32)
    bits = x.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def section(artifact, name):
    _, text, _ = tool("llmopt-inspect", artifact, "--json")
    found = next(s for s in json.loads(text)["sections"] if s["name"] == name)
    with open(artifact, "rb") as file:
        file.seek(found["offset"])
        return file.read(found["bytes"])


code, _, errors = tool("llmopt-compile", nbits("probe", 64, 64, 4, 32, False), "-o", scratch("probe.llmopt"), "-q", *emulate)
if no_compiler(code, errors):
    say("SKIP", "cuda_quantized", errors.strip())
    sys.exit(0)

cases = layers()
for name, path, depth, kind in cases:
    artifact = compile_model(path, name, *emulate)
    if not artifact:
        continue
    kernels = [k["name"] for k in json.loads(section(artifact, "kernels/sm_90"))["kernels"]]
    _, text, _ = tool("llmopt-inspect", artifact, "--json")
    check(f"{name} keeps its codes", "panel16q" in text.decode() and any(k.endswith("_r8") for k in kernels), str(kernels))
    check(f"{name}: wgmma from 64 rows on", any("_wg" in k for k in kernels) == (depth % 4 == 0), str(kernels))
    session = witness(path)
    for rows in (1, 9, 16, 17, 70, 200):
        x = random.uniform(-1, 1, (rows, depth)).astype(np.float16 if kind == "f16" else np.float32)
        exact = rows > 16 and kind == "f32" and depth % 4 == 0
        y = session.run(None, {"x": rounded(x, "bf16") if exact else x})[0]
        folder = scratch(f"{name}-{rows}")
        save(folder, "input", [("x", x)])
        save(folder, "output", [("y", y)])
        tolerance = ("--atol", 2e-3, "--rtol", 2e-3) if kind == "f16" else ("--atol", 5e-5, "--rtol", 5e-5)
        code, _, errors = tool("llmopt-run", artifact, "--test-data", folder, *tolerance, env=stand_in)
        check(f"{name}, {rows} rows", code == 0, f"exit {code}: {errors[:300]}")

# A model: CAPP-GPT with its layers in 4 bits.
source = os.path.join(DATA, "capp-gpt", "model.onnx")
if not os.path.exists(source):
    say("SKIP", "capp-gpt in 4 bits", "no test data")
else:
    model, block = onnx.load(source), 32
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    values.update({n.output[0]: numpy_helper.to_array(n.attribute[0].t) for n in model.graph.node if n.op_type == "Constant"})
    nodes, count = [], 0
    for node in model.graph.node:
        weight = values.get(node.input[1]) if node.op_type == "Gemm" else None
        if weight is None:
            nodes.append(node)
            continue
        depth, columns = weight.shape
        rows = weight.T.reshape(columns, depth // block, block)
        low, high = np.minimum(rows.min(2), 0), np.maximum(rows.max(2), 0)
        scale = np.maximum((high - low) / 15, 1e-8).astype(np.float32)
        zero = np.clip(np.round(-low / scale), 0, 15).astype(np.uint8)
        codes = np.clip(np.round(rows / scale[..., None]) + zero[..., None], 0, 15).astype(np.uint8)
        name = f"q{count}"
        zero = np.pad(zero, ((0, 0), (0, zero.shape[1] % 2)))
        model.graph.initializer.extend([numpy_helper.from_array(codes[..., ::2] | codes[..., 1::2] << 4, name), numpy_helper.from_array(scale, name + "s"),
                                        numpy_helper.from_array(zero[:, ::2] | zero[:, 1::2] << 4, name + "z")])
        nodes += [helper.make_node("MatMulNBits", [node.input[0], name, name + "s", name + "z"], [name + "y"], domain="com.microsoft", K=depth, N=columns, bits=4, block_size=block),
                  helper.make_node("Add", [name + "y", node.input[2]], [node.output[0]])]
        count += 1
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    path = scratch("capp-gpt-q4.onnx")
    onnx.save(model, path)
    artifact = compile_model(path, "capp-gpt-q4", *emulate)
    check("capp-gpt: every layer was quantized", count == 16, f"{count} layers")
    session = witness(path)
    for index in range(2) if artifact else ():
        folder = os.path.join(DATA, "capp-gpt", f"test_data_set_{index}")
        inputs = []
        for i, value in enumerate(session.get_inputs()):
            with open(os.path.join(folder, f"input_{i}.pb"), "rb") as file:
                inputs.append((value.name, numpy_helper.to_array(onnx.TensorProto.FromString(file.read()))))
        outputs = [o.name for o in session.get_outputs()]
        own = scratch(f"capp-{index}")
        save(own, "input", inputs)
        save(own, "output", list(zip(outputs, session.run(outputs, dict(inputs)))))
        code, _, errors = tool("llmopt-run", artifact, "--test-data", own, "--atol", 5e-2, "--rtol", 5e-2, env=stand_in)
        check(f"capp-gpt in 4 bits, data set {index}, {inputs[0][1].shape}", code == 0, f"exit {code}: {errors[:300]}")

# What is in the PTX; where ptxas is there, its gate lets no spills pass.
wanted = ("ld.global.nc.L1::no_allocate.L2::128B.v4.u32", "lop3.b32", "fma.rn.bf16x2", "mma.sync.aligned.m16n8k16.row.col.f32.bf16", "ld.shared.v4.u32", "cp.async.cg.shared.global")
for compiler, targets in (("nvrtc", ("sm_80", "sm_90", "sm_100")), ("clang", ("sm_80", "sm_89", "sm_90"))):
    for target in targets:
        name, path = next((case[0], case[1]) for case in cases if case[0] == ("four-bits" if target == "sm_90" else "gate"))
        output = scratch(f"{compiler}-{target}.ptx")
        code, _, errors = tool("llmopt-compile", path, "-o", output, "-q", "--target", target, "--emit=ptx", "--cuda-compiler", compiler)
        if no_compiler(code, errors):
            say("SKIP", f"PTX of {compiler} for {target}", errors.strip().splitlines()[0])
            continue
        with open(output, errors="replace") as file:
            text = file.read()
        missing = [word for word in wanted if word not in text]
        check(f"PTX of {compiler} for {target}, {name}", code == 0 and not missing, f"exit {code}: {errors[:300]} without {missing}")
        code, _, errors = tool("llmopt-compile", path, "-o", scratch(f"{compiler}-{target}.llmopt"), "-q", "--target", target, "--cuda-compiler", compiler)
        check(f"{compiler} for {target}, {name}, passes the gate", code == 0, f"exit {code}: {errors[:300]}")
finish()
