"""Single operations on a GPU against double precision computed here, with nothing but Python's own library.

    prepare(folder, tool, target)   compiles one artifact for each operation and type of weights
    check(folder, tool, seed)       runs them with new random inputs of several sizes; yields (name, worst difference, allowed, problem)
"""
import ast
import json
import math
import os
import random
import struct
import tempfile

DEPTH, OUTPUTS = 72, 33  # rows of 16-byte pieces, as the tensor-core families want them; no multiple of a panel
ROWS = (1, 3, 9, 40, 70)  # a kernel of the product for each of the first three, then whole and broken tiles
SIGNATURE = 'func.func @main(%x: tensor<?x{k}xf32> {{llm.name = "x", llm.dims = ["rows", {k}]}}, %z: tensor<?x{k}xf32> {{llm.name = "z", llm.dims = ["rows", {k}]}}) -> (tensor<?x{n}xf32> {{llm.name = "y"}})'


def weights(count, seed=3):
    generator = random.Random(seed)
    return [struct.unpack("<f", struct.pack("<f", generator.uniform(-1, 1)))[0] for _ in range(count)]


def dense(values, shape):
    return f'llm.constant dense<"0x{struct.pack(f"<{len(values)}f", *values).hex().upper()}"> : tensor<{"x".join(map(str, shape))}xf32>'


def body(operation):
    k, n = DEPTH, OUTPUTS
    scale = f"%s = {dense(weights(k), [k])}\n"
    x = f"tensor<?x{k}xf32>"
    return {
        "silu_mul": (k, f"%a = llm.silu %x : {x}\n%y = llm.mul %a, %z : {x}, {x} -> {x}"),
        "softmax": (k, f"%a = llm.add %x, %z : {x}, {x} -> {x}\n%y = llm.softmax %a {{axis = 1 : i64}} : {x}"),
        "rms_norm": (k, scale + f"%a = llm.add %x, %z : {x}, {x} -> {x}\n%y = llm.rms_norm %a scale %s : tensor<{k}xf32> {{epsilon = 1.0e-5 : f32}} : {x} -> {x}"),
        "linear": (n, f"%w = {dense(weights(n * k), [n, k])}\n%a = llm.add %x, %z : {x}, {x} -> {x}\n%y = llm.linear %a, %w : {x}, tensor<{n}x{k}xf32> -> tensor<?x{n}xf32>"),
    }[operation]


def rounded(value, kind):
    if kind == "bf16":
        bits = struct.unpack("<I", struct.pack("<f", value))[0]
        return struct.unpack("<f", struct.pack("<I", (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000))[0]
    return struct.unpack("<e", struct.pack("<e", value))[0] if kind == "f16" else value


def reference(operation, kind, x, z):
    if operation == "silu_mul":
        return [a / (1 + math.exp(-a)) * b for a, b in zip(x, z)]
    total = [a + b for a, b in zip(x, z)]
    if operation == "softmax":
        top = max(total)
        powers = [math.exp(a - top) for a in total]
        return [p / sum(powers) for p in powers]
    if operation == "rms_norm":
        root = math.sqrt(sum(a * a for a in total) / len(total) + 1e-5)
        return [a / root * s for a, s in zip(total, weights(DEPTH))]
    matrix = [rounded(w, kind) for w in weights(OUTPUTS * DEPTH)]
    return [sum(a * w for a, w in zip(total, matrix[n * DEPTH:])) for n in range(OUTPUTS)]


# Name: operation, format of the weights, allowed difference relative to the largest result.
CASES = {"silu_mul": ("silu_mul", "f32", 1e-5), "softmax": ("softmax", "f32", 1e-5), "rms_norm": ("rms_norm", "f32", 1e-5), "linear_f32": ("linear", "f32", 1e-5),
         "linear_bf16": ("linear", "bf16", 1e-2), "linear_f16": ("linear", "f16", 2e-3)}


def prepare(folder, tool, target):
    os.makedirs(folder, exist_ok=True)
    for name, (operation, kind, _) in CASES.items():
        columns, text = body(operation)
        with tempfile.NamedTemporaryFile("w", suffix=".mlir") as file:
            file.write(SIGNATURE.format(k=DEPTH, n=columns) + " {\n" + text + f"\nreturn %y : tensor<?x{columns}xf32>\n}}\n")
            file.flush()
            code, _, errors = tool("llmopt-compile", file.name, "-O3", "-q", "-o", os.path.join(folder, name + ".llmopt"), "--dtype", kind, *target)
        if code:
            raise RuntimeError(f"{name}: {errors}")


def save(path, rows, columns, values):
    """NumPy's format."""
    header = str({"descr": "<f4", "fortran_order": False, "shape": (rows, columns)})
    header += " " * (117 - len(header)) + "\n"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + struct.pack(f"<{len(values)}f", *values))


def load(path):
    with open(path, "rb") as file:
        content = file.read()
    size, = struct.unpack_from("<H", content, 8)
    shape = ast.literal_eval(content[10:10 + size].decode())["shape"]
    return struct.unpack_from(f"<{math.prod(shape)}f", content, 10 + size)


def check(folder, tool, seed):
    generator = random.Random(seed)
    for name, (operation, kind, allowed) in CASES.items():
        artifact, columns = os.path.join(folder, name + ".llmopt"), body(operation)[0]
        if not os.path.exists(artifact):
            continue
        worst, problem = 0.0, ""
        with tempfile.TemporaryDirectory() as scratch:
            for rows in ROWS:
                tensors = {}
                for given in "xz":
                    values = [generator.uniform(-2, 2) for _ in range(rows * DEPTH)]
                    save(os.path.join(scratch, given + ".npy"), rows, DEPTH, values)
                    tensors[given] = load(os.path.join(scratch, given + ".npy"))
                code, _, errors = tool("llmopt-run", artifact, "--device", "cuda", "--output-dir", scratch, *(word for g in "xz" for word in ("--input", f"{g}=@{scratch}/{g}.npy")))
                if code:
                    worst, problem = float("inf"), errors[:400]
                    break
                got = load(os.path.join(scratch, "y.npy"))
                for row in range(rows):
                    part = slice(row * DEPTH, (row + 1) * DEPTH)
                    wanted = reference(operation, kind, tensors["x"][part], tensors["z"][part])
                    largest = max(map(abs, wanted))
                    for a, b in zip(got[row * columns:], wanted):
                        worst = max(worst, abs(a - b) / largest) if a == a else float("inf")
        yield name, worst, allowed, problem
