#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx onnxruntime
"""Weights of 4 and 8 bits on the CPU against ONNX Runtime: MatMulNBits with and without zero points, blocks and whole columns of DequantizeLinear, f16 models, a gate.
The artifact holds codes where kernels take them, and numbers where they cannot: other sizes of blocks, zero points that are no whole numbers. -O0 gives the same, and so do
narrower vectors. Two matrices of one input whose codes differ are products of their own. With accuracy_level 4, or --products=int8, inputs are rounded to 8 bits as ONNX Runtime
rounds them; with --products=bf16 and tile registers, to bf16."""
import numpy as np
import onnx
from onnx import numpy_helper

from harness import check, compile_model, finish, runs_here, scratch, tool
from quantized_graphs import dequantized, layers, nbits, plain, random, rounded_in_blocks, save, witness


def whole(name, change):
    """A graph with some of its constants changed."""
    path = nbits(name, 128, 40, 4, 32, True)
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if (value := change(tensor.name, numpy_helper.to_array(tensor))) is not None:
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    onnx.save(model, path)
    return path


def fractions(name, value):
    return random.uniform(6, 9, (40, 4)).astype(np.float32) if name == "w_zero" else None


cases = [(*case, True) for case in layers()]
cases += [("two-formats", nbits("two-formats", 128, 40, (4, 8), 32, True, gated=True), 128, "f32", True)]
cases += [("fractional-zeros", whole("fractional-zeros", fractions), 128, "f32", False), ("blocks-of-8", dequantized("blocks-of-8", 64, 33, "INT8", 8), 64, "f32", False)]
targets = [("native", ()), ("v3", ("--target", "x86-64-v3")), ("O0", ("-O0",))]
for name, path, depth, kind, kept in cases:
    inputs = {rows: random.uniform(-1, 1, (rows, depth)).astype(np.float16 if kind == "f16" else np.float32) for rows in (1, 2, 5, 33)}
    session = witness(path)
    for rows, x in inputs.items():
        folder = scratch(f"{name}-{rows}")
        save(folder, "input", [("x", x)])
        save(folder, "output", [("y", session.run(None, {"x": x})[0])])
    for target, flags in targets:
        if target == "v3" and not runs_here("x86-64-v3"):
            continue
        artifact = compile_model(path, f"{name}-{target}", *flags)
        if not artifact:
            continue
        _, text, _ = tool("llmopt-inspect", artifact, "--json")
        if target != "O0":  # where a product of MatMul with a weight stays what it is
            check(f"{name}, {target}: {'codes' if kept else 'numbers'} in the artifact", ("panel16w" in text.decode()) == kept)
        if target != "O0" and name == "two-formats":
            check(f"{name}, {target}: both as codes", all(f"panel16w{bits}b32" in text.decode() for bits in (4, 8)))
        for rows in inputs:
            tolerance = ("--atol", 2e-3, "--rtol", 2e-3) if kind == "f16" else ("--atol", 1e-5, "--rtol", 1e-5)
            code, _, errors = tool("llmopt-run", artifact, "--test-data", scratch(f"{name}-{rows}"), *tolerance)
            check(f"{name}, {target}, {rows} rows", code == 0, f"exit {code}: {errors[:300]}")

# Inputs in 8 bits: as far from exact products as ONNX Runtime's, so within 1e-5 of those and not of exact ones.
for bits, block, zeros, gated in ((4, 32, True, False), (8, 32, False, False), (4, 128, False, True), (8, 64, True, False)):
    paths = {}
    for level in (0, 4):
        random.bit_generator.state = np.random.default_rng(bits + block).bit_generator.state
        paths[level] = nbits(f"rounded-{bits}-{block}-{level}", 400, 75, bits, block, zeros, gated=gated, level=level)
    artifacts = {f"accuracy_level 4, {name}": compile_model(paths[4], f"rounded-{bits}-{block}-{name}", *flags) for name, flags in targets if name != "v3" or runs_here("x86-64-v3")}
    artifacts["--products=int8"] = compile_model(paths[0], f"rounded-{bits}-{block}-products", "--products=int8")
    for rows in (1, 3, 33):
        x = random.uniform(-1, 1, (rows, 400)).astype(np.float32)
        for level, path in paths.items():
            save(scratch(f"rounded-{level}"), "input", [("x", x)])
            save(scratch(f"rounded-{level}"), "output", [("y", witness(path).run(None, {"x": x})[0])])
        for name, artifact in artifacts.items():
            same, exact = (tool("llmopt-run", artifact, "--test-data", scratch(f"rounded-{level}"), "--atol", 1e-5, "--rtol", 1e-5)[0] == 0 for level in (4, 0))
            check(f"{bits} bits in blocks of {block}, {name}, {rows} rows", same and not exact, f"{'within' if same else 'not within'} 1e-5 of level 4, {'within' if exact else 'not within'} of level 0")

# Inputs in bf16, in the order of tile registers: exact products of inputs that are rounded beforehand.
for bits, block, zeros, gated in ((4, 32, True, False), (8, 32, False, True), (4, 128, False, False)):
    path = nbits(f"bf16-{bits}-{block}", 384, 75, bits, block, zeros, gated=gated)
    artifact = compile_model(path, f"bf16-{bits}-{block}", "--products=bf16", "--strategy-target=x86-64-v4-amx")
    for rows in (1, 3, 33) if artifact else ():
        x = random.uniform(-1, 1, (rows, 384)).astype(np.float32)
        rounded = ((x.view(np.uint32) + 0x7fff + (x.view(np.uint32) >> 16 & 1)) & 0xffff0000).view(np.float32)
        for folder, given in (("as-given", x), ("rounded", rounded)):
            save(scratch(folder), "input", [("x", x)])
            save(scratch(folder), "output", [("y", witness(path).run(None, {"x": given})[0])])
        same, exact = (tool("llmopt-run", artifact, "--test-data", scratch(folder), "--atol", 1e-5, "--rtol", 1e-5)[0] == 0 for folder in ("rounded", "as-given"))
        check(f"{bits} bits in blocks of {block}, --products=bf16 in tile registers, {rows} rows", same and not exact,
              f"{'within' if same else 'not within'} 1e-5 of rounded inputs, {'within' if exact else 'not within'} of exact ones")

# Rounded when compiled. Every code of one row off by one would be an error of 0.02 to 0.3.
path, matrix = plain("plain", 160, 75)
for bits in (8, 4):
    x = random.uniform(-1, 1, (3, 160)).astype(np.float32)
    save(scratch(f"plain-int{bits}"), "input", [("x", x)])
    save(scratch(f"plain-int{bits}"), "output", [("y", (x.astype(np.float64) @ rounded_in_blocks(matrix, bits)).astype(np.float32))])
    artifact = compile_model(path, f"plain-int{bits}", f"--dtype=int{bits}")
    if artifact:
        _, text, _ = tool("llmopt-inspect", artifact, "--json")
        check(f"--dtype=int{bits}: codes in the artifact", f"panel16w{bits}b32f16" in text.decode())
        code, _, errors = tool("llmopt-run", artifact, "--test-data", scratch(f"plain-int{bits}"), "--atol", 1e-5, "--rtol", 1e-5)
        check(f"--dtype=int{bits}", code == 0, f"exit {code}: {errors[:300]}")
finish()
