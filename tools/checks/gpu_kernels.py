"""Single operations on a GPU against double precision computed here, with nothing but Python's own library.

    prepare(folder, tool, target)   compiles one artifact for each operation and type of weights
    check(folder, tool, seed)       runs them with new random inputs of several sizes; yields (name, worst difference, allowed, problem)
"""
import ast
import functools
import json
import math
import operator
import os
import random
import struct
import tempfile

DEPTH, OUTPUTS = 96, 33  # rows of 16-byte pieces, as the tensor-core families want them, and blocks of codes; no multiple of a slice or a panel
CODES_DEPTH, CODES_BLOCK = 8192, 32  # a matrix large enough that the compiler does not fold codes and scales to numbers
EXPERTS, CHOICES = 5, 2
ROWS = (1, 3, 9, 40, 70)  # a kernel of the product for each of the first three, then whole and broken tiles
SIGNATURE = 'func.func @main(%x: tensor<?x{k}xf32> {{llm.name = "x", llm.dims = ["rows", {k}]}}, %z: tensor<?x{k}xf32> {{llm.name = "z", llm.dims = ["rows", {k}]}}) -> (tensor<?x{n}xf32> {{llm.name = "y"}})'


def weights(count, seed=3):
    generator = random.Random(seed)
    return [struct.unpack("<f", struct.pack("<f", generator.uniform(-1, 1)))[0] for _ in range(count)]


def dense(values, shape, kind="f32"):
    form = {"f32": "f", "bf16": "H", "f16": "e"}.get(kind, "b")
    if kind == "bf16":
        values = [struct.unpack("<I", struct.pack("<f", rounded(value, kind)))[0] >> 16 for value in values]
    return f'llm.constant dense<"0x{struct.pack(f"<{len(values)}{form}", *values).hex().upper()}"> : tensor<{"x".join(map(str, shape))}x{kind}>'


@functools.cache
def codes(kind):
    """Codes of a matrix [OUTPUTS, CODES_DEPTH], and a scale for each block of a row."""
    generator, most = random.Random(4), 8 if kind == "i4" else 128
    count = OUTPUTS * CODES_DEPTH
    return [generator.randrange(-most, most) for _ in range(count)], [generator.randrange(1, 256) / 256 / most for _ in range(count // CODES_BLOCK)]


def depth_of(operation):
    return CODES_DEPTH if operation == "codes" else DEPTH


def body(operation, kind):
    """Columns of the result, and the text of the function's body."""
    k, n = depth_of(operation), OUTPUTS
    x, y, blocks, shape = f"tensor<?x{k}xf32>", f"tensor<?x{n}xf32>", k // CODES_BLOCK, [n, k // CODES_BLOCK, CODES_BLOCK]
    cut = f"{n}x{blocks}x{CODES_BLOCK}"
    total = f"%a = llm.add %x, %z : {x}, {x} -> {x}"
    if operation == "silu_mul":
        return k, f"%a = llm.silu %x : {x}\n%y = llm.mul %a, %z : {x}, {x} -> {x}"
    if operation == "softmax":
        return k, f"{total}\n%y = llm.softmax %a {{axis = 1 : i64}} : {x}"
    if operation == "rms_norm":
        return k, f"%s = {dense(weights(k), [k])}\n{total}\n%y = llm.rms_norm %a scale %s : tensor<{k}xf32> {{epsilon = 1.0e-5 : f32}} : {x} -> {x}"
    if operation == "linear":
        return n, f"%w = {dense(weights(n * k), [n, k], kind)}\n{total}\n%y = llm.linear %a, %w : {x}, tensor<{n}x{k}x{kind}> -> {y}"
    if operation == "codes":
        numbers, scales = codes(kind)
        return n, f"""%c = {dense(numbers, shape, kind)}
%s = {dense(scales, [n, blocks, 1])}
%f = llm.cast %c : tensor<{cut}x{kind}> -> tensor<{cut}xf32>
%m = llm.mul %f, %s : tensor<{cut}xf32>, tensor<{n}x{blocks}x1xf32> -> tensor<{cut}xf32>
%size = llm.constant dense<[{n}, {k}]> : tensor<2xi64>
%w = llm.reshape %m, %size : tensor<{cut}xf32>, tensor<2xi64> -> tensor<{n}x{k}xf32>
{total}
%y = llm.linear %a, %w : {x}, tensor<{n}x{k}xf32> -> {y}"""
    each, table = f"tensor<?x{CHOICES}", f"tensor<{EXPERTS + 1}xi32>"
    return n, f"""%w = {dense(weights(EXPERTS * n * k), [EXPERTS, n, k], kind)}
%from = llm.constant dense<0> : tensor<1xi64>
%to = llm.constant dense<{EXPERTS}> : tensor<1xi64>
%count = llm.constant dense<{CHOICES}> : tensor<1xi64>
%r = llm.slice %z, %from, %to axes = [1] steps = [1] : {x}, tensor<1xi64>, tensor<1xi64> -> tensor<?x{EXPERTS}xf32>
%v, %e = llm.topk %r, %count {{axis = 1 : i64, largest = true}} : tensor<?x{EXPERTS}xf32>, tensor<1xi64> -> {each}xf32>, {each}xi64>
%order, %offsets = llm.group_rows %e {{experts = {EXPERTS}}} : {each}xi64> -> {each}xi32>, {table}
%a = llm.grouped_linear %x, %w, %order, %offsets : {x}, tensor<{EXPERTS}x{n}x{k}x{kind}>, {each}xi32>, {table} -> {each}x{n}xf32>
%y = llm.reduce sum %a axes = [1] : {each}x{n}xf32> -> {y}"""


def rounded(value, kind):
    if kind == "bf16":
        bits = struct.unpack("<I", struct.pack("<f", value))[0]
        return struct.unpack("<f", struct.pack("<I", (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000))[0]
    return struct.unpack("<e", struct.pack("<e", value))[0] if kind == "f16" else value


@functools.cache
def quantized_rows(kind):
    numbers, scales = codes(kind)
    values = [number * scales[i // CODES_BLOCK] for i, number in enumerate(numbers)]
    return [values[n * CODES_DEPTH:(n + 1) * CODES_DEPTH] for n in range(OUTPUTS)]


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
    if operation == "experts":
        chosen = sorted(range(EXPERTS), key=lambda e: -z[e])[:CHOICES]
        matrix = [rounded(w, kind) for w in weights(EXPERTS * OUTPUTS * DEPTH)]
        return [sum(a * w for e in chosen for a, w in zip(x, matrix[(e * OUTPUTS + n) * DEPTH:])) for n in range(OUTPUTS)]
    if operation == "codes":
        return [sum(map(operator.mul, total, row)) for row in quantized_rows(kind)]
    matrix = [rounded(w, kind) for w in weights(OUTPUTS * DEPTH)]
    return [sum(a * w for a, w in zip(total, matrix[n * DEPTH:])) for n in range(OUTPUTS)]


# Name: operation, format of the weights, allowed difference relative to the largest result.
CASES = {"silu_mul": ("silu_mul", "f32", 1e-5), "softmax": ("softmax", "f32", 1e-5), "rms_norm": ("rms_norm", "f32", 1e-5), "linear_f32": ("linear", "f32", 1e-5),
         "linear_bf16": ("linear", "bf16", 1e-2), "linear_f16": ("linear", "f16", 2e-3), "codes_i4": ("codes", "i4", 1e-2), "codes_i8": ("codes", "i8", 1e-2),
         "experts_f32": ("experts", "f32", 1e-5), "experts_bf16": ("experts", "bf16", 1e-2), "experts_f16": ("experts", "f16", 2e-3)}


def prepare(folder, tool, target):
    os.makedirs(folder, exist_ok=True)
    for name, (operation, kind, _) in CASES.items():
        columns, text = body(operation, kind)
        with tempfile.NamedTemporaryFile("w", suffix=".mlir") as file:
            file.write(SIGNATURE.format(k=depth_of(operation), n=columns) + " {\n" + text + f"\nreturn %y : tensor<?x{columns}xf32>\n}}\n")
            file.flush()
            code, _, errors = tool("llmopt-compile", file.name, "-O3", "-q", "-o", os.path.join(folder, name + ".llmopt"), *target)
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
        artifact, columns, depth = os.path.join(folder, name + ".llmopt"), body(operation, kind)[0], depth_of(operation)
        if not os.path.exists(artifact):
            continue
        worst, problem = 0.0, ""
        with tempfile.TemporaryDirectory() as scratch:
            for rows in ROWS:
                tensors = {}
                for given in "xz":
                    values = [generator.uniform(-2, 2) for _ in range(rows * depth)]
                    save(os.path.join(scratch, given + ".npy"), rows, depth, values)
                    tensors[given] = load(os.path.join(scratch, given + ".npy"))
                code, _, errors = tool("llmopt-run", artifact, "--device", "cuda", "--output-dir", scratch, *(word for g in "xz" for word in ("--input", f"{g}=@{scratch}/{g}.npy")))
                if code:
                    worst, problem = float("inf"), errors[:400]
                    break
                got = load(os.path.join(scratch, "y.npy"))
                for row in range(rows):
                    part = slice(row * depth, (row + 1) * depth)
                    wanted = reference(operation, kind, tensors["x"][part], tensors["z"][part])
                    largest = max(map(abs, wanted))
                    for a, b in zip(got[row * columns:], wanted):
                        worst = max(worst, abs(a - b) / largest) if a == a else float("inf")
        yield name, worst, allowed, problem
