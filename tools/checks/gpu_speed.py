"""How fast kernels of artifacts are on a GPU, each beside what it is held against.

    prepare(folder, tool, target)   compiles a projection of 4096 by 14336 (unless told otherwise) with weights of 4 bits, where Python has onnx; says what is missing otherwise
    speed(folder, driver, tool)     yields rows: dict(what, seconds, against, ratio, target, note); ratio and target are None where there is none

Kernels of projections and norms are launched as their launch metadata says, from buffers that take turns, so that nothing is read from L2. Many launches are
captured in one graph, which events enclose: the time of a launch by the host is no part of it. Products are held against cuBLASLt (opened where it is installed,
LLMOPT_CUBLASLT names another), all that moves memory against the rate of copying on the same device.
"""
import ctypes
import glob
import json
import os
import re
import struct
import tempfile

from triton_launcher import Kernel

ROWS = tuple(map(int, os.environ.get("LLMOPT_CHECK_ROWS", "1 16 2048").split()))
ENOUGH = int(os.environ.get("LLMOPT_CHECK_BYTES", 256 << 20))  # of the buffers that take turns: several times the L2 cache of any GPU
# Wanted ratios: products with at least so many rows against cuBLASLt, up to so many rows against copying, and so on.
TARGETS = {"gemm": 0.85, "skinny": 0.75, "quantized": 2.8, "quantized gemm": 0.70, "norm": 0.85, "decode attention": 0.75, "attention": 0.70, "decode": 0.65}


class Clock:
    """Seconds of one of many launches."""

    def __init__(self, driver):
        self.driver = driver
        self.events = [ctypes.c_void_p(), ctypes.c_void_p()]
        for event in self.events:
            driver.call("cuEventCreate", ctypes.byref(event), ctypes.c_uint(0))

    def between(self, start):
        """Seconds that what `start` starts takes."""
        passed = ctypes.c_float()
        self.driver.call("cuEventRecord", self.events[0], self.driver.stream)
        start()
        self.driver.call("cuEventRecord", self.events[1], self.driver.stream)
        self.driver.call("cuStreamSynchronize", self.driver.stream)
        self.driver.call("cuEventElapsedTime", ctypes.byref(passed), *self.events)
        return max(passed.value * 1e-3, 1e-9)

    def __call__(self, launch, repeats):
        driver, graph, exec_ = self.driver, ctypes.c_void_p(), ctypes.c_void_p()
        driver.call("cuStreamBeginCapture_v2", driver.stream, ctypes.c_int(1))
        for i in range(repeats):
            launch(i)
        driver.call("cuStreamEndCapture", driver.stream, ctypes.byref(graph))
        driver.call("cuGraphInstantiateWithFlags", ctypes.byref(exec_), graph, ctypes.c_ulonglong(0))
        best = min(self.between(lambda: driver.call("cuGraphLaunch", exec_, driver.stream)) for _ in range(4))  # the first warms up
        driver.call("cuGraphExecDestroy", exec_)
        driver.call("cuGraphDestroy", graph)
        return best / repeats


class Memory:
    """One allocation that all measurements cut their buffers from."""

    def __init__(self, driver, size):
        self.driver, self.size, self.address = driver, size, ctypes.c_uint64()
        driver.call("cuMemAlloc_v2", ctypes.byref(self.address), ctypes.c_size_t(size))
        driver.call("cuMemsetD8Async", self.address, ctypes.c_ubyte(0x3C), ctypes.c_size_t(size), driver.stream)  # small numbers in every format
        driver.call("cuStreamSynchronize", driver.stream)

    def close(self):
        self.driver.call("cuMemFree_v2", self.address)


def aligned(size):
    return (int(size) + 1023) // 1024 * 1024


class Cublas:
    """Products of bf16 by cuBLASLt, through nothing but its C interface."""
    BF16, F32, COMPUTE_F32, TRANSPOSED = 14, 0, 68, 1
    WORKSPACE = 64 << 20

    def __init__(self, driver):
        names = [os.environ["LLMOPT_CUBLASLT"]] if "LLMOPT_CUBLASLT" in os.environ else ["libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"]
        problems = []
        for name in names:
            try:
                self.functions = ctypes.CDLL(name)
                break
            except OSError as error:
                problems.append(str(error))
        else:
            raise OSError("; ".join(problems))
        self.driver, self.handle, self.workspace = driver, ctypes.c_void_p(), ctypes.c_uint64()
        self.call("cublasLtCreate", ctypes.byref(self.handle))
        driver.call("cuMemAlloc_v2", ctypes.byref(self.workspace), ctypes.c_size_t(self.WORKSPACE))

    def call(self, name, *arguments):
        code = getattr(self.functions, name)(*arguments)
        if code:
            raise OSError(f"{name}: status {code}")

    def product(self, rows, columns, depth):
        """A function (x, weights, y) that starts y[rows, columns] = x[rows, depth] * weights[columns, depth]^T. cuBLAS counts columns first: y^T = weights x^T."""
        description, preference, found = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_int()
        self.call("cublasLtMatmulDescCreate", ctypes.byref(description), ctypes.c_int(self.COMPUTE_F32), ctypes.c_int(self.F32))
        self.call("cublasLtMatmulDescSetAttribute", description, ctypes.c_int(3), ctypes.byref(ctypes.c_int(self.TRANSPOSED)), ctypes.c_size_t(4))
        layouts = []
        for height, width in ((depth, columns), (depth, rows), (columns, rows)):
            layouts.append(ctypes.c_void_p())
            self.call("cublasLtMatrixLayoutCreate", ctypes.byref(layouts[-1]), ctypes.c_int(self.BF16), ctypes.c_uint64(height), ctypes.c_uint64(width), ctypes.c_int64(height))
        weights, x, y = layouts
        self.call("cublasLtMatmulPreferenceCreate", ctypes.byref(preference))
        self.call("cublasLtMatmulPreferenceSetAttribute", preference, ctypes.c_int(1), ctypes.byref(ctypes.c_size_t(self.WORKSPACE)), ctypes.c_size_t(8))
        result = (ctypes.c_uint64 * 12)()  # the algorithm in the first eight words
        self.call("cublasLtMatmulAlgoGetHeuristic", self.handle, description, weights, x, y, y, preference, ctypes.c_int(1), result, ctypes.byref(found))
        if found.value != 1:
            raise OSError(f"no algorithm for {rows} by {columns} by {depth}")
        one, zero = ctypes.c_float(1), ctypes.c_float(0)

        def start(at_x, at_weights, at_y):
            self.call("cublasLtMatmul", self.handle, description, ctypes.byref(one), ctypes.c_uint64(at_weights), weights, ctypes.c_uint64(at_x), x, ctypes.byref(zero),
                      ctypes.c_uint64(at_y), y, ctypes.c_uint64(at_y), y, result, self.workspace, ctypes.c_size_t(self.WORKSPACE), self.driver.stream)
        return start

    def seconds(self, clock, memory, rows, columns, depth):
        x, y, weights = aligned(2 * rows * depth), aligned(2 * rows * columns), aligned(2 * columns * depth)
        turns = max(1, min((memory.size - x - y) // weights, ENOUGH // weights + 2))
        start, base = self.product(rows, columns, depth), memory.address.value
        start(base, base + x + y, base + x)  # its first call may allocate, which capturing forbids
        self.driver.call("cuStreamSynchronize", self.driver.stream)
        return clock(lambda i: start(base, base + x + y + i % turns * weights, base + x), 2 * turns + 8)


def copy_rate(driver, clock, memory):
    """Bytes a second, read and written."""
    half = memory.size // 2
    copy = lambda: driver.call("cuMemcpyDtoDAsync_v2", ctypes.c_uint64(memory.address.value + half), memory.address, ctypes.c_size_t(half), driver.stream)
    return 2 * half / min(clock.between(copy) for _ in range(4))


class Launches:
    """One exported kernel with buffers that take turns; `run` is what llmopt-inspect --kernels says of it."""

    def __init__(self, driver, memory, path, run, rows):
        self.kernel = Kernel(driver, path)
        own = self.kernel.metadata["llmopt"]
        self.problem = ""
        per_block = own["units_per_block"]
        self.blocks = run["blocks"]
        each = aligned(1.1 * run["bytes"] / run["launches"] + 65536)  # no buffer is larger than all that moves, but for padding
        scratch = aligned(self.blocks * 32 * self.kernel.metadata["num_warps"] * 1024)
        buffers = {p["index"]: i for i, p in enumerate(p for p in own["parameters"] if p["kind"] in ("buffer", "tensor_map"))}
        turn = each * len(buffers)
        self.turns = min((memory.size - scratch) // turn, ENOUGH // each + 2)
        if self.turns < 1 or any(p["kind"] not in ("buffer", "tensor_map", "dim", "scratch") for p in own["parameters"]):
            self.problem = "its buffers do not fit" if self.turns < 1 else "it needs more than buffers and sizes"
            return
        self.arguments = []
        for i in range(self.turns):
            place = lambda p: memory.address.value + scratch + i * turn + buffers[p["index"]] * each
            values = []
            for p in own["parameters"]:
                if p["kind"] == "dim":
                    values.append((ctypes.c_int64 if p.get("bytes", 8) == 8 else ctypes.c_int32)(run["dims"][p["index"] - 1] if p["index"] else run.get("units", self.blocks * per_block)))
                elif p["kind"] == "tensor_map":
                    size = {"f32": 4, "u8": 1, "i8": 1}.get(p["element"], 2)
                    code = {"f32": 7, "f16": 6, "bf16": 9}.get(p["element"], 0)
                    padded = -(-p["columns"] * size // 16) * 16
                    values.append((ctypes.c_char * 128).from_buffer_copy(driver.tensor_map(place(p), (p["columns"], rows if p["rows_dim"] else p["rows"]), padded, (128 // size, p["box_rows"]), code)))
                else:
                    values.append(ctypes.c_uint64(memory.address.value if p["kind"] == "scratch" else place(p)))
            self.arguments.append(values)
            if own["family"].startswith("Grouped"):
                for binding, numbers in routes(run).items():
                    driver.copy(place({"index": binding}), numbers)

    def __call__(self, i):
        self.kernel.start((self.blocks, 1, 1), self.arguments[i % self.turns])


def routes(run):
    """What a grouped product reads of its routing, by binding: rows sorted by expert, and where each expert's begin. Neighbouring rows go to different experts."""
    rows = run["dims"][0]
    experts = next(t["elements"] for t in run["i32_tables"] if t["elements"] != rows) - 1
    order = sorted(range(rows), key=lambda row: row % experts)
    begins = [sum(len(range(e, rows, experts)) for e in range(expert)) for expert in range(experts + 1)]
    return {t["binding"]: struct.pack(f"<{t['elements']}i", *(order if t["elements"] == rows else begins)) for t in run["i32_tables"]}


def depth_of(metadata):
    """K of a product, where a tensor map of x tells it."""
    return next((p["columns"] for p in metadata["llmopt"]["parameters"] if p["kind"] == "tensor_map" and not p["unpack"]), None)


def kernels(driver, clock, memory, bandwidth, cublas, artifact, tool):
    """Projections and norms of an artifact with a few tokens and with many."""
    name, measured = os.path.splitext(os.path.basename(artifact))[0], set()
    with tempfile.TemporaryDirectory() as folder:
        code, _, errors = tool("llmopt-inspect", artifact, f"--export-kernels={folder}")
        if code:
            return (yield dict(what=name, note=errors[:200]))
        depths = {}
        for path in glob.glob(os.path.join(folder, "*.json")):
            with open(path) as file:
                kernel = json.load(file)
            if depth := depth_of(kernel):
                depths[kernel["name"].rsplit("_", 1)[0]] = depth
        for rows in ROWS:
            code, text, errors = tool("llmopt-inspect", artifact, "--kernels", "--json", "--tokens", rows)
            table = json.loads(text)[0]["kernels"] if code == 0 else []
            for kernel in table:
                run, family = kernel.get("prefill"), kernel["family"]
                if not run or not (family.startswith(("Gem", "Grouped")) or family == "Norm") or (kernel["name"], rows) in measured or not run["bytes"]:
                    continue
                measured.add((kernel["name"], rows))
                launches = Launches(driver, memory, os.path.join(folder, kernel["name"]), run, rows)
                row = dict(what=f"{name} {kernel['name']} ({family} {kernel['math']}), {rows} rows", ratio=None, target=None, against=None)
                if launches.problem:
                    yield dict(row, note="not run: " + launches.problem)
                    continue
                seconds = clock(launches, 2 * launches.turns + 8)
                per_launch = {key: run[key] / run["launches"] for key in ("bytes", "flops", "microseconds")}
                row.update(seconds=seconds, note=f"{per_launch['microseconds'] * 1e-6 / seconds:.2f} of the nominal bound, {per_launch['bytes'] / seconds * 1e-9:.0f} GB/s, {per_launch['flops'] / seconds * 1e-12:.1f} TFLOP/s")
                share = per_launch["bytes"] / seconds / bandwidth
                if family == "Norm":
                    yield dict(row, against="copying", ratio=share, target=TARGETS["norm"] if per_launch["bytes"] >= 64 << 20 else None)
                    continue
                quantized, grouped = "Quantized" in family, family.startswith("Grouped")
                if grouped:  # many rows are held against what the machine's nominal speeds allow: nobody else multiplies so
                    few = family == "GroupedGemv"
                    yield dict(row, against="copying" if few else "the nominal bound", ratio=share if few else per_launch["microseconds"] * 1e-6 / seconds, target=TARGETS["skinny"] if few else None)
                    continue
                if rows <= 16 and not quantized:
                    yield dict(row, against="copying", ratio=share, target=TARGETS["skinny"])
                depth = depths.get(kernel["name"].rsplit("_", 1)[0], 4096)
                own_rows = run["dims"][0] if run["dims"] else rows  # the last projection's are the rows of logits
                columns = max(8, int(per_launch["flops"] / (2 * own_rows * depth)) // 8 * 8)
                if cublas is None or depth % 8:
                    yield dict(row, against="cuBLASLt", note=row["note"] + "; cuBLASLt not run")
                    continue
                try:
                    theirs = cublas.seconds(clock, memory, own_rows, columns, depth)
                except OSError as error:
                    yield dict(row, against="cuBLASLt", note=row["note"] + f"; cuBLASLt: {error}")
                    continue
                regime = ("quantized gemm" if quantized else "gemm") if rows >= 2048 else "quantized" if quantized and rows <= 16 else None
                target = TARGETS.get(regime)
                yield dict(row, against=f"cuBLASLt bf16, {own_rows} by {columns} by {depth}", theirs=theirs, ratio=theirs / seconds, target=target)


def attention(artifact, tool, bandwidth, prompt=4096, past=65536):
    """Attention of the 8B shape from the runtime's own profile: a row of one token behind `past`, and one of `prompt` tokens; seconds are those of a layer."""
    def profile(pick, *arguments):
        code, _, errors = tool("llmopt-bench", artifact, "-r", 1, "--profile=kernels", "-o", "json", *arguments)
        found = [float(line.split()[2]) * 1e-6 for line in errors.splitlines() if " paged_attention " in line]
        return pick(found) if code == 0 and found else None
    prefill = profile(max, "-p", prompt, "-n", 0)
    token = profile(min, "-p", 0, "-n", 8, "-d", past) # what came before it takes longer
    if token:
        moved = 2 * 8 * 128 * 2 * past  # keys and values, heads, their size, f16
        yield dict(what=f"8B attention of one token behind {past}", seconds=token, against="copying", ratio=moved / token / bandwidth, target=TARGETS["decode attention"], note=f"{moved / token * 1e-9:.0f} GB/s")
    if prefill:
        theirs, who = sdpa(prompt)
        yield dict(what=f"8B attention of {prompt} tokens", seconds=prefill, against=who, theirs=theirs, ratio=theirs / prefill if theirs else None, target=TARGETS["attention"] if theirs else None, note="a layer")


def sdpa(tokens):
    """Seconds of the best causal attention that Python has for 32 heads of 128 over 8; and its name."""
    try:
        import torch
        if not torch.cuda.is_available():
            return None, "SDPA not run: torch sees no GPU"
    except ImportError:
        return None, "SDPA not run: Python has no torch"
    q, (k, v) = torch.randn(1, 32, tokens, 128, device="cuda", dtype=torch.bfloat16), (torch.randn(1, 8, tokens, 128, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    works = {"SDPA": lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)}
    for module in ("flash_attn_interface", "flash_attn"):
        try:
            flash = __import__(module).flash_attn_func
            turned = [t.transpose(1, 2).contiguous() for t in (q, k, v)]
            works[module] = lambda flash=flash, turned=turned: flash(*turned, causal=True)
        except (ImportError, AttributeError):
            pass

    def seconds(work):
        for _ in range(3):
            work()
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(20):
            work()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) * 1e-3 / 20
    return min((seconds(work), name) for name, work in works.items())


def prepare(folder, tool, target, depth=4096, columns=14336):
    try:
        import numpy as np
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        return f"products with weights of 4 bits are left out: {error}"
    block, random = 128, np.random.default_rng(1)
    weights = [numpy_helper.from_array(random.integers(0, 256, (columns, depth // block, block // 2)).astype(np.uint8), "w"),
               numpy_helper.from_array(random.uniform(0.5, 1, (columns, depth // block)).astype(np.float16).astype(np.float32) / 1024, "scale")]
    node = helper.make_node("MatMulNBits", ["x", "w", "scale"], ["y"], domain="com.microsoft", K=depth, N=columns, bits=4, block_size=block)
    graph = helper.make_graph([node], "w4", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["tokens", depth])], [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["tokens", columns])], weights)
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, "w4.onnx")
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)], ir_version=10), path)
        code, _, errors = tool("llmopt-compile", path, "-O3", "-q", "-o", os.path.join(folder, "w4.llmopt"), *target)
    return errors if code else ""


def speed(folder, driver, tool):
    emulated = bool(os.environ.get("LLMOPT_LIBCUDA"))
    clock, memory = Clock(driver), Memory(driver, max(8 * ENOUGH, 16 << 20))
    bandwidth = copy_rate(driver, clock, memory)
    yield dict(what="copying on the device", seconds=memory.size / bandwidth, note=f"{bandwidth * 1e-9:.0f} GB/s read and written")
    try:
        cublas = Cublas(driver)
    except OSError as error:
        cublas = None
        yield dict(what="cuBLASLt", note=f"not run: {error}")
    for artifact in sorted(glob.glob(os.path.join(folder, "*.llmopt"))) + sorted(glob.glob(os.path.join(folder, "speed", "*.llmopt"))):
        yield from kernels(driver, clock, memory, bandwidth, cublas, artifact, tool)
    memory.close()
    large = os.path.join(folder, "shape-8b.llmopt")
    if os.path.exists(large) and not emulated:
        yield from attention(large, tool, bandwidth)
