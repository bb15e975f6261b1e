#!/usr/bin/env python3
# llmopt-test: quick
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs every fuzzer of the build on seeds made of this repository's files:   smoke.py [--seconds S] [--keep FOLDER]

Without --seconds: a few thousand mutants each, the same every time. With it: libFuzzer for so long each (a sanitized build,
`tools/test.sh fuzz`), with its corpus kept in FOLDER."""
import argparse
import glob
import os
import re
import struct
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("LLMOPT_BUILD", os.path.join(ROOT, "build"))
DATA = os.environ.get("LLMOPT_TEST_DATA", os.path.join(ROOT, "..", "shared", "data"))
sys.path.insert(0, os.path.join(ROOT, "test", "integration", "bad_input"))
import harness

# How many mutants of each: about two seconds' worth without a sanitizer.
RUNS = {"artifact": 2000, "folder": 400, "images": 40000, "json": 20000, "onnx": 3000, "safetensors": 20000, "tensors": 5000, "tokenizer": 1500}
NPY = b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }" + b" " * 11 + b"\n" + bytes(16)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def toys(folder):
    program = os.path.join(BUILD, "test", "bin", "llmopt-write-toys")
    subprocess.run([program], env=dict(os.environ, LLMOPT_TOY_FOLDER=folder), stdout=subprocess.DEVNULL, check=True)
    return [read(path) for path in sorted(glob.glob(os.path.join(folder, "*.llmopt")))]


def cubin():
    """An ELF file as ptxas makes them, of one kernel with two parameters and no code."""
    info = b"".join(struct.pack("<BBHIHHI", 4, 0x17, 12, 0, i, 8 * i, size << 18) for i, size in enumerate((8, 4)))
    names = b"\0.text.k\0.nv.info.k\0.names\0"
    parts, offset, headers = (b"code", info, names), 64, [bytes(64)]
    for name, part in zip((1, 9, 20), parts):
        headers.append(struct.pack("<IIQQQQIIQQ", name, 1, 0, 0, offset, len(part), 0, 0, 0, 0))
        offset += len(part)
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01\x41\x08", 2, 190, 1, 0, 0, offset, 0x0A005A04, 64, 0, 0, 64, 4, 3)
    return header + b"".join(parts) + b"".join(headers)


LAUNCH = {"compiler": "c", "architecture": "sm_90a", "modules": [{"form": "cubin", "offset": 0, "length": 64}],
          "kernels": [{"name": "k", "num_warps": 4, "num_stages": 1, "shared": 0, "llmopt": {"module": 0, "units_per_block": 1, "blocks_per_sm": 0, "registers": 1, "spill": 0,
                       "static_shared": 0, "family": "f", "math": "f32", "parameters": [{"kind": "buffer", "index": 0}, {"kind": "constant", "value": 1, "bytes": 4}]}}]}


def seeds(name, folder):
    if name == "images":
        ptx = b".version 8.0\n.target sm_90a\n// c\n.visible .entry k(.param .u64 .ptr .global .align 1 a,\n .param .align 64 .b8 b[128]) { ret; }\n"
        return [cubin(), ptx, harness.json.dumps(LAUNCH).encode()]
    if name == "artifact":
        return toys(folder)
    if name == "json":
        # Plans and metadata out of artifacts, too.
        parts = [part for data in toys(folder) for part in re.findall(rb"\{[ -~]{200,}\}", data)]
        return [harness.json.dumps(harness.CONFIG).encode(), harness.tokenizer().encode(), b'[1, -2.5e3, "\\u00e9", null, true, {"a": []}]'] + parts[:12]
    if name == "folder":
        config = dict(harness.CONFIG)
        made = [harness.json.dumps(config).encode()]
        for path in sorted(glob.glob(os.path.join(ROOT, "frontends", "hf", "architectures", "llama.json"))) + \
                sorted(glob.glob(os.path.join(ROOT, "test", "frontends", "hf_architectures", "*.json"))):
            text = re.sub(rb'"model_type": "\w+"', b'"model_type": "fuzz"', read(path))
            made.append(harness.json.dumps(dict(config, model_type="fuzz")).encode() + b"\n----\n" + text)
        return made
    if name == "safetensors":
        good = harness.tensors()
        return [b"\0" + good, b"\1" + good[8:], b"\x81" + b'{"w":{"dtype":"U8","shape":[64],"data_offsets":[0,64]}}']
    if name == "tensors":
        return [NPY, b"\x08\x02\x08\x02\x10\x01\x4a\x10" + bytes(16), b"\x08\x03\x10\x07\x3a\x03\x01\x02\x03"]
    if name == "tokenizer":
        text = harness.tokenizer(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}, decoder={"type": "ByteLevel"})
        expressions = [rb"\3\p{L}+|\s+(?!\S)|'(?i:[sdmt]|ll)", b"\3[^\\r\\n\\p{L}]?+\\p{L}{1,3}"]
        return [b"\0" + text.encode(), b"\0" + harness.tokenizer().encode(), b"\1\x0a\x0b\x0a\x01a\x15\0\0\0\0\x18\1"] + expressions
    cases = glob.glob(os.path.join(DATA, "ort-malformed", "*.onnx"))  # small and odd; each of them is answered already
    return [read(path) for path in sorted(cases)] or [b"\x08\x09\x3a\x00\x42\x02\x10\x11"]


parser = argparse.ArgumentParser()
parser.add_argument("--seconds", type=int, default=0)
parser.add_argument("--keep", default="")
args = parser.parse_args()
failed = False
with tempfile.TemporaryDirectory(prefix="llmopt-smoke-") as work:
    for name, runs in RUNS.items():
        program = os.path.join(BUILD, "test", "bin", "fuzz-" + name)
        if not os.path.exists(program):
            print(f"FAIL fuzz_{name} is not built")
            failed = True
            continue
        folder, corpus = os.path.join(work, name), os.path.join(args.keep or work, "corpus-" + name)
        os.makedirs(folder)
        os.makedirs(corpus, exist_ok=True)
        for i, data in enumerate(seeds(name, os.path.join(work, "toys-" + name))):
            with open(os.path.join(folder, f"seed-{i}"), "wb") as file:
                file.write(data)
        if args.seconds:
            command = [program, f"-max_total_time={args.seconds}", "-max_len=65536", "-print_final_stats=1", corpus, folder]
        else:
            command = [program, f"-runs={runs // (10 if harness.SANITIZED else 1)}", "-seed=1", folder]
        done = subprocess.run(command, capture_output=True, cwd=args.keep or work, errors="replace", text=True, timeout=args.seconds + 900)
        counted = re.findall(r"\d+ seeds, \d+ mutants|stat::number_of_executed_units: \d+|Done \d+ runs", done.stdout + done.stderr)
        failed |= done.returncode != 0
        print(f"FAIL fuzz_{name} exit {done.returncode}: {done.stderr[-1500:]}" if done.returncode else f"PASS fuzz_{name}", " ".join(counted), flush=True)
        crashes = glob.glob(os.path.join(args.keep or work, "crash-*"))
        for crash in crashes if done.returncode else []:
            print(f"  {os.path.basename(crash)}: {read(crash)[:2000]!r}")
sys.exit(1 if failed else 0)
