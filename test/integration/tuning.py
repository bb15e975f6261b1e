#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy
"""--tune and --tuning-db: what is measured is written down, read again and obeyed, changes no results, and is not trusted."""
import json
import os
import subprocess
import sys
import tempfile

import numpy

BIN = os.path.join(os.environ.get("LLMOPT_BUILD", "build"), "bin")
PROJECTION = """
func.func @main(%x: tensor<29x72xf32> {llm.name = "x"}) -> (tensor<29x40xf32> {llm.name = "y"}) {
  %w = llm.constant dense<0.125> : tensor<72x40xf32>
  %a = llm.matmul %x, %w : tensor<29x72xf32>, tensor<72x40xf32> -> tensor<29x40xf32>
  %y = llm.tanh %a : tensor<29x40xf32>
  return %y : tensor<29x40xf32>
}
"""
ATTENTION = """
func.func @main(%q: tensor<1x2x24x16xf32> {llm.name = "q"}, %k: tensor<1x2x40x16xf32> {llm.name = "k"}, %v: tensor<1x2x40x16xf32> {llm.name = "v"})
    -> (tensor<1x2x24x16xf32> {llm.name = "y"}) {
  %y = llm.attention %q, %k, %v {scale = 0.25 : f32} : tensor<1x2x24x16xf32>, tensor<1x2x40x16xf32>, tensor<1x2x40x16xf32> -> tensor<1x2x24x16xf32>
  return %y : tensor<1x2x24x16xf32>
}
"""
failures = 0


def check(name, condition, reason=""):
    global failures
    failures += not condition
    print(f"PASS {name}" if condition else f"FAIL {name} {reason}", flush=True)


def tool(name, *arguments):
    done = subprocess.run([os.path.join(BIN, name), *map(str, arguments)], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


with tempfile.TemporaryDirectory(prefix="llmopt-tuning-") as folder:
    path = lambda name: os.path.join(folder, name)

    def write(name, text):
        with open(path(name), "w") as file:
            file.write(text)
        return path(name)

    def database(name, entries, **more):
        """One written by hand: without a checksum."""
        return write(name, json.dumps({"format": "llmopt-tuning", "version": 1, "entries": entries, **more}))

    def compiled(model, *flags, output="m.llmopt"):
        return tool("llmopt-compile", model, "-q", "-o", path(output), *flags)

    random = numpy.random.default_rng(1)

    def run(model, shapes, *flags):
        code, _, errors = compiled(model, *flags)
        inputs = []
        for name, shape in shapes.items():
            if not os.path.exists(path(name + ".npy")):
                numpy.save(path(name + ".npy"), random.normal(size=shape).astype(numpy.float32))
            inputs.append(f"--input={name}=@{path(name + '.npy')}")
        code = code or tool("llmopt-run", path("m.llmopt"), *inputs, "--output-dir", folder)[0]
        return None if code else numpy.load(path("y.npy")), errors

    projection, attention = write("projection.mlir", PROJECTION), write("attention.mlir", ATTENTION)
    tuned = path("tuned.json")
    code, _, errors = tool("llmopt-compile", projection, f"--tune={tuned}", "-o", path("m.llmopt"))
    check("tune", code == 0 and "tuned 1 kernels and fusions (0 were known" in errors, errors)
    saved = json.load(open(tuned))
    entry = saved["entries"][0] if saved["entries"] else {}
    check("the entry", entry.get("kernel") == "linear" and entry["ops"] == "linear.transposed tanh" and entry["shape"] == "[29, 72] [72, 40]"
          and entry["dtype"] == "f32 f32" and len(entry["times"]) == 1 and entry["times"][0]["ns"] > 0 and entry["times"][0]["other_ns"] > 0, str(saved))
    first = open(path("m.llmopt"), "rb").read()
    compiled(projection, f"--tuning-db={tuned}")
    check("read again, the same artifact", open(path("m.llmopt"), "rb").read() == first)
    code, text, _ = tool("llmopt-inspect", path("m.llmopt"))
    check("llmopt-inspect shows both times", code == 0 and "us against" in text and "linear.transposed tanh" in text, text)
    record = json.loads(tool("llmopt-inspect", path("m.llmopt"), "--json")[1])["tuning"]
    check("the artifact records them", len(record) == 1 and record[0]["entries"] == saved["entries"], str(record))
    before = os.stat(tuned).st_mtime_ns, open(tuned).read()
    code, _, errors = tool("llmopt-compile", projection, f"--tune={tuned}", "-o", path("m.llmopt"))
    check("what is known is not measured again", code == 0 and "tuned 0 kernels and fusions (1 were known" in errors and open(tuned).read() == before[1], errors)

    # A database that wants another tile.
    target = entry["target"]
    bits = {"x86-64": 128, "x86-64-v3": 256}.get(target, 512)
    strategy = lambda rows, columns, k=72, m=12, width=bits: (f"#strategy.gemm<vector_bits = {width}, [<maxM = 0, rows = {rows}, columns = {columns}, "
                                                             f"kBlock = {k}, mBlock = {m}, packInput = true>]>")
    plain, errors = run(projection, {"x": (29, 72)})
    forced = database("forced.json", [{**entry, "choice": strategy(2, 16, k=24, m=6)}])
    other, _ = run(projection, {"x": (29, 72)}, f"--tuning-db={forced}")
    check("another tile, the same numbers", plain is not None and other is not None and numpy.abs(plain - other).max() <= 1e-6
          and numpy.abs(plain - numpy.tanh(numpy.load(path("x.npy")).sum(-1, keepdims=True) * 0.125)).max() < 1e-4, errors)
    compiled(projection, f"--tuning-db={forced}", "--compile-to=strategy", output="s.mlir")
    check("the tile is obeyed", "rows = 2, columns = 16, kBlock = 24, mBlock = 6" in open(path("s.mlir")).read())

    # Fused or apart.
    shapes = {"q": (1, 2, 24, 16), "k": (1, 2, 40, 16), "v": (1, 2, 40, 16)}
    key = {"target": target, "kernel": "fuse-attention", "ops": "attention", "shape": "[1, 2, 24, 16] [1, 2, 40, 16] [1, 2, 40, 16]", "dtype": "f32 f32 f32"}
    fused, _ = run(attention, shapes)
    apart = database("apart.json", [{**key, "choice": "apart"}])
    split, errors = run(attention, shapes, f"--tuning-db={apart}")
    check("fused or apart, equal numbers", fused is not None and split is not None and numpy.abs(fused - split).max() < 1e-5, errors)
    families = lambda *flags: (compiled(attention, "--compile-to=planned", *flags, output="p.mlir"), open(path("p.mlir")).read().count('exec.kernel "attention"'))[1]
    check("the database decides on the fusion", (families(), families(f"--tuning-db={apart}")) == (1, 0))
    code, text, errors = tool("llmopt-compile", attention, f"--tuning-db={apart}", "--explain=fuse-attention", "-q", "-o", path("m.llmopt"))
    check("and is named", "Choice = apart, By = tuning database" in text, text + errors)
    code, text, errors = tool("llmopt-compile", attention, "--explain=fuse-attention", "-q", "-o", path("m.llmopt"))
    check("the cost model decides without it", "Choice = fused, By = cost model, Times = fused" in text, text + errors)
    few = write("few.mlir", ATTENTION.replace("40x", "1x").replace("24x", "2048x"))
    code, text, errors = tool("llmopt-compile", few, "--explain=fuse-attention", "-q", "-o", path("m.llmopt"))
    check("attention to a single key is computed apart", "Choice = apart, By = cost model" in text, text + errors)
    both = path("both.json")
    code, _, errors = tool("llmopt-compile", attention, f"--tune={both}", "-o", path("m.llmopt"))
    rows = {row["kernel"]: row for row in json.load(open(both))["entries"]} if code == 0 else {}
    check("a fusion is measured both ways", rows.get("fuse-attention", {}).get("choice") in ("fused", "apart")
          and rows["fuse-attention"]["times"][0]["ns"] > 0 and rows["fuse-attention"]["times"][0]["other_ns"] > 0, errors + str(rows))

    # Not trusted.
    for name, choice in {"rows": strategy(4000, 16), "columns": strategy(2, 17), "registers": strategy(16, 64), "depth": strategy(2, 16, k=1 << 40),
                         "blocks": strategy(2, 16, m=7), "no blocks": strategy(2, 16, m=0), "vectors": strategy(2, 16, width=96), "no strategy": "rm -rf",
                         "another family": f"#strategy.loops<unitElements = 64, vectorBits = {bits}>", "nothing": ""}.items():
        code, _, errors = compiled(projection, "--tuning-db=" + database("forged.json", [{**entry, "choice": choice}]))
        check(f"refused: {name}", code == 2 and "E0318" in errors, f"exit {code} {errors}")
    code, _, errors = compiled(projection, "--tuning-db=" + database("forged.json", [{**key, "choice": "maybe"}]))
    check("refused: neither fused nor apart", code == 2 and "E0318" in errors, f"exit {code} {errors}")
    for name, text in {"damaged": open(tuned).read().replace('"ns": ', '"ns": 1'), "another version": database("v.json", [], version=2), "no JSON": "{",
                       "another file": "{}"}.items():
        file = text if os.path.exists(text) else write("bad.json", text)
        code, _, errors = compiled(projection, f"--tuning-db={file}")
        check(f"refused: {name}", code == 1 and errors.count("error[") == 1 and ("E0317" in errors or "E0111" in errors), f"exit {code} {errors}")
    code, _, errors = compiled(projection, "--tuning-db=" + path("absent.json"))
    check("refused: absent", code == 1 and "E0101" in errors, f"exit {code} {errors}")
    later = database("later.json", [{**entry, "kernel": "convolution"}, {**entry, "shape": "[1, 1]"}])
    code, text, errors = tool("llmopt-compile", projection, f"--tuning-db={later}", "--explain=tuning", "-q", "-o", path("m.llmopt"))
    check("unknown entries are passed over with a remark", code == 0 and "Entries = 2, Used = 0" in text and "1 entries for kernels" in text, text + errors)
    elsewhere = database("elsewhere.json", [], processor="another one", threads=64)
    code, _, errors = tool("llmopt-compile", projection, f"--tune={elsewhere}", "-o", path("m.llmopt"))
    check("a database of another machine", code == 2 and "E0319" in errors and "another one" in errors, f"exit {code} {errors}")
    code, _, errors = tool("llmopt-compile", projection, f"--tune={tuned}", "--target=sm_90", "-o", path("m.llmopt"))
    check("a target that is not here", code == 2 and "E0319" in errors, f"exit {code} {errors}")
sys.exit(1 if failures else 0)
