# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the scripts that make ONNX cases share: writing them in the ONNX test layout, and running them.

A case is a folder: model.onnx, test_data_set_N/{input,output}_M.pb, tolerance.json. Programs that run cases print one line each:
`NAME PASS`, `NAME FAIL reason` or `NAME UNSUPPORTED reason`.
"""
import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile

from onnx import numpy_helper

BUILD = os.environ.get("LLMOPT_BUILD", "build")


def write_set(folder, index, inputs, outputs):
    data = os.path.join(folder, f"test_data_set_{index}")
    os.makedirs(data, exist_ok=True)
    for kind, values in (("input", inputs), ("output", outputs)):
        for i, value in enumerate(values):
            with open(os.path.join(data, f"{kind}_{i}.pb"), "wb") as f:
                f.write((value if hasattr(value, "SerializeToString") else numpy_helper.from_array(value)).SerializeToString())


def write_tolerance(folder, rtol, atol):
    with open(os.path.join(folder, "tolerance.json"), "w") as f:
        json.dump({"rtol": rtol, "atol": atol}, f)


def programs():
    """The reference interpreter, which tests the importer alone, and the compiler."""
    interpreter, compiled = os.path.join(BUILD, "test", "bin", "onnx_interpret"), os.path.join(BUILD, "bin", "llmopt-eval")
    commands = [("interpreted", interpreter, "")] + [(f"compiled {level}", compiled, f"onnx-suite --pairs -j {os.cpu_count()} {level}") for level in ("-O0", "-O3")]
    return {name: f"{path} {arguments}" for name, path, arguments in commands if os.path.exists(path)}


def run(command, folder):
    """{case: (outcome, reason)}"""
    text = subprocess.run([*shlex.split(command), folder], stdout=subprocess.PIPE, text=True, errors="replace").stdout
    rows = [line.split(" ", 2) for line in text.splitlines()]
    return {row[0]: (row[1], row[2] if len(row) > 2 else "") for row in rows if len(row) > 1 and row[1] in ("PASS", "FAIL", "UNSUPPORTED")}


def parse(doc):
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("--out", help="folder for the cases; a temporary one by default")
    parser.add_argument("--only", default="", help="regular expression on case names")
    parser.add_argument("--run", help="program that runs cases; by default the interpreter and the compiler of LLMOPT_BUILD")
    return parser.parse_args()


def run_all(args, out, check):
    """The number of failures that `check(how, results)` counts, which prints PASS, FAIL and SKIP lines."""
    commands = {"run": args.run} if args.run else programs()
    if not commands:
        print("SKIP no program to run cases with")
    return sum(check(how, run(command, out)) for how, command in commands.items())


def main(doc, make, check):
    """`make(out, only)` writes cases."""
    args = parse(doc)
    with tempfile.TemporaryDirectory() as temporary:
        out = args.out or temporary
        make(out, args.only)
        return 1 if run_all(args, out, check) else 0


def expect_all(how, results):
    """Every case passes."""
    for name, (outcome, reason) in sorted(results.items()):
        print(f"{'PASS' if outcome == 'PASS' else 'FAIL'} {name} {how} {'' if outcome == 'PASS' else outcome + ' ' + reason}")
    if not results:
        print(f"FAIL no case was run {how}")
    return sum(outcome != "PASS" for outcome, _ in results.values()) + (not results)
